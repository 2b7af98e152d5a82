//===- GradientAttention.cpp - Backward of rotation and attention -----------===//

#include "otodus/Reference/Gradients.h"

#include <algorithm>
#include <cmath>

namespace otodus::reference {

Tensor rotaryBackward(const Tensor &dy, const Tensor &frequencies,
                      const std::vector<int64_t> &position, int64_t chunk, int64_t heads) {
  Tensor negative = frequencies;
  for (double &frequency : negative.data)
    frequency = -frequency;
  return rotary(dy, negative, position, chunk, heads);
}

AttentionGradients chunkAttentionBackward(const Tensor &q, const Tensor &k, const Tensor &v,
                                          const std::vector<int64_t> &position,
                                          const ChunkCache &cache, const Tensor &dy,
                                          ChunkCache &dCache) {
  int64_t batch = q.dim(0), length = q.dim(1);
  int64_t chunk = cache.keys.dim(1), heads = cache.keys.dim(2);
  int64_t keyDim = cache.keys.dim(3), valueDim = cache.values.dim(3);
  AttentionGradients d{Tensor(q.shape), Tensor(k.shape), Tensor(v.shape)};
  std::vector<double> p(chunk), dp(chunk);
  for (int64_t b = 0; b < batch; ++b)
    for (int64_t head = 0; head < heads; ++head) {
      // Of step t: offsets into q and k, and into v and dy.
      auto key = [&](int64_t t) { return ((b * length + t) * heads + head) * keyDim; };
      auto value = [&](int64_t t) { return ((b * length + t) * heads + head) * valueDim; };
      // Of slot j of the cache.
      auto keySlot = [&](int64_t j) { return ((b * chunk + j) * heads + head) * keyDim; };
      auto valueSlot = [&](int64_t j) { return ((b * chunk + j) * heads + head) * valueDim; };

      for (int64_t j = (position[b] + length) % chunk; j < chunk; ++j) {
        std::fill_n(&dCache.keys[keySlot(j)], keyDim, 0);
        std::fill_n(&dCache.values[valueSlot(j)], valueDim, 0);
      }
      // dCache gathers the gradients of the keys and values of the chunk that step t is in.
      for (int64_t t = length; t-- > 0;) {
        int64_t own = (position[b] + t) % chunk;
        // Entry j of the chunk is of this call, or the cache had it before.
        auto keyOf = [&](int64_t j) {
          int64_t step = t - own + j;
          return step >= 0 ? &k.data[key(step)] : &cache.keys.data[keySlot(j)];
        };
        auto valueOf = [&](int64_t j) {
          int64_t step = t - own + j;
          return step >= 0 ? &v.data[value(step)] : &cache.values.data[valueSlot(j)];
        };
        double top = -INFINITY, sum = 0, mean = 0;
        for (int64_t j = 0; j <= own; ++j) {
          p[j] = dp[j] = 0;
          for (int64_t i = 0; i < keyDim; ++i)
            p[j] += q[key(t) + i] * keyOf(j)[i];
          for (int64_t i = 0; i < valueDim; ++i)
            dp[j] += dy[value(t) + i] * valueOf(j)[i];
          top = std::max(top, p[j]);
        }
        for (int64_t j = 0; j <= own; ++j)
          sum += p[j] = std::exp(p[j] - top);
        for (int64_t j = 0; j <= own; ++j) {
          p[j] /= sum;
          mean += p[j] * dp[j];
        }
        for (int64_t j = 0; j <= own; ++j) {
          double ds = p[j] * (dp[j] - mean);
          for (int64_t i = 0; i < keyDim; ++i) {
            d.q[key(t) + i] += ds * keyOf(j)[i];
            dCache.keys[keySlot(j) + i] += ds * q[key(t) + i];
          }
          for (int64_t i = 0; i < valueDim; ++i)
            dCache.values[valueSlot(j) + i] += p[j] * dy[value(t) + i];
        }
        // No earlier step sees this one's key and value: their gradients are complete.
        for (int64_t i = 0; i < keyDim; ++i)
          std::swap(d.k[key(t) + i], dCache.keys[keySlot(own) + i]);
        for (int64_t i = 0; i < valueDim; ++i)
          std::swap(d.v[value(t) + i], dCache.values[valueSlot(own) + i]);
      }
    }
  return d;
}

} // namespace otodus::reference

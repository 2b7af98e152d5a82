//===- Attention.cpp - Rotary positions and attention inside chunks ---------===//

#include "otodus/Reference/Reference.h"

#include <algorithm>
#include <cmath>

namespace otodus::reference {

Tensor ropeFrequencies(int64_t headDim, double base) {
  Tensor frequencies({headDim / 2});
  for (int64_t j = 0; j < headDim / 2; ++j) {
    float power = static_cast<float>(std::pow(base, 2.0 * j / headDim));
    frequencies[j] = 1.0f / power;
  }
  return frequencies;
}

Tensor rotary(const Tensor &x, const Tensor &frequencies, const std::vector<int64_t> &position,
              int64_t chunk, int64_t heads) {
  int64_t batch = x.dim(0), length = x.dim(1), width = x.dim(2), part = width / heads;
  Tensor y(x.shape);
  for (int64_t b = 0; b < batch; ++b)
    for (int64_t t = 0; t < length; ++t)
      for (int64_t i = 0; i < width; i += 2) {
        double angle = (position[b] + t) % chunk * frequencies[i % part / 2];
        int64_t at = (b * length + t) * width + i;
        y[at] = x[at] * std::cos(angle) - x[at + 1] * std::sin(angle);
        y[at + 1] = x[at] * std::sin(angle) + x[at + 1] * std::cos(angle);
      }
  return y;
}

ChunkCache emptyChunkCache(int64_t batch, int64_t chunk, int64_t heads, int64_t keyDim,
                           int64_t valueDim) {
  return {Tensor({batch, chunk, heads, keyDim}), Tensor({batch, chunk, heads, valueDim})};
}

Tensor chunkAttention(const Tensor &q, const Tensor &k, const Tensor &v,
                      const std::vector<int64_t> &position, ChunkCache &cache) {
  int64_t batch = q.dim(0), length = q.dim(1);
  int64_t chunk = cache.keys.dim(1), heads = cache.keys.dim(2);
  int64_t keyDim = cache.keys.dim(3), valueDim = cache.values.dim(3);
  int64_t keyWidth = heads * keyDim, valueWidth = heads * valueDim;
  Tensor o(v.shape);
  std::vector<double> scores(chunk);
  for (int64_t b = 0; b < batch; ++b)
    for (int64_t t = 0; t < length; ++t) {
      // One step at a time: append to the open chunk, attend to what is in it.
      int64_t row = b * length + t, own = (position[b] + t) % chunk;
      std::copy_n(&k.data[row * keyWidth], keyWidth,
                  &cache.keys.data[(b * chunk + own) * keyWidth]);
      std::copy_n(&v.data[row * valueWidth], valueWidth,
                  &cache.values.data[(b * chunk + own) * valueWidth]);
      for (int64_t head = 0; head < heads; ++head) {
        for (int64_t j = 0; j <= own; ++j) {
          scores[j] = 0;
          for (int64_t i = 0; i < keyDim; ++i)
            scores[j] += q[row * keyWidth + head * keyDim + i] *
                         cache.keys[((b * chunk + j) * heads + head) * keyDim + i];
        }
        double top = *std::max_element(scores.begin(), scores.begin() + own + 1), sum = 0;
        for (int64_t j = 0; j <= own; ++j)
          sum += scores[j] = std::exp(scores[j] - top);
        for (int64_t j = 0; j <= own; ++j)
          for (int64_t i = 0; i < valueDim; ++i)
            o[row * valueWidth + head * valueDim + i] +=
                scores[j] / sum * cache.values[((b * chunk + j) * heads + head) * valueDim + i];
      }
    }
  return o;
}

} // namespace otodus::reference

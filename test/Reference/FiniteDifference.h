//===- FiniteDifference.h - Random cases and numerical gradients ------------===//

#pragma once

#include "otodus/Reference/Gradients.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <random>
#include <string>

namespace otodus::reference {

/// The same numbers on every machine: the distributions of <random> differ by library.
class Random {
public:
  explicit Random(uint64_t seed) : engine_(seed) {}
  /// In [low, high].
  int64_t integer(int64_t low, int64_t high) {
    return low + static_cast<int64_t>(engine_() % static_cast<uint64_t>(high - low + 1));
  }
  bool coin() { return engine_() >> 63; }
  /// In [-1, 1).
  double real() { return static_cast<double>(engine_() >> 11) * 0x1p-52 - 1; }
  Tensor tensor(std::vector<int64_t> shape, double spread = 1) {
    Tensor x(std::move(shape));
    for (double &value : x.data)
      value = spread * real();
    return x;
  }
  Tokens tokens(int64_t batch, int64_t length, int64_t vocabulary) {
    Tokens result{batch, length, std::vector<int64_t>(batch * length)};
    for (int64_t &id : result.ids)
      id = integer(0, vocabulary - 1);
    return result;
  }
  /// Between `low` and `high`, each of B sequences its own.
  std::vector<int64_t> integers(int64_t batch, int64_t low, int64_t high) {
    std::vector<int64_t> result(batch);
    for (int64_t &value : result)
      value = integer(low, high);
    return result;
  }
  /// Some numbers of sum `length`, one of them possibly 0.
  std::vector<int64_t> pieces(int64_t length) {
    std::vector<int64_t> result;
    if (coin())
      result.push_back(0);
    for (int64_t left = length; left > 0; left -= result.back())
      result.push_back(integer(1, std::min<int64_t>(left, 4)));
    return result;
  }
  /// A state in the middle of a sequence; the counts of some are 0.
  NormState normState(int64_t batch, int64_t groups) {
    NormState state{integers(batch, 0, 4), tensor({batch, groups}), tensor({batch, groups})};
    for (double &variance : state.variance.data)
      variance += 1.1;
    return state;
  }
  NormStateGradients normGradients(int64_t batch, int64_t groups) {
    return {tensor({batch, groups}), tensor({batch, groups})};
  }

private:
  std::mt19937_64 engine_;
};

inline double dot(const Tensor &a, const Tensor &b) {
  double sum = 0;
  for (int64_t i = 0; i < a.size(); ++i)
    sum += a[i] * b[i];
  return sum;
}
inline double dot(const NormStateGradients &d, const NormState &state) {
  return dot(d.mean, state.mean) + dot(d.variance, state.variance);
}

/// d with zeros outside the open chunks that end at `end` [B]: there a cache means nothing.
inline ChunkCache openEntries(ChunkCache d, const std::vector<int64_t> &end) {
  int64_t chunk = d.keys.dim(1);
  for (Tensor *x : {&d.keys, &d.values}) {
    int64_t width = x->dim(2) * x->dim(3);
    for (int64_t i = 0; i < x->size(); ++i)
      if (i / width % chunk >= end[i / width / chunk] % chunk)
        (*x)[i] = 0;
  }
  return d;
}

/// Compares `gradient` with differences of `loss`, which must read `input`. The five-point
/// formula has error step^4 and so leaves some 1e-11 of rounding.
inline void expectGradient(const std::string &name, Tensor &input, const Tensor &gradient,
                           const std::function<double()> &loss) {
  ASSERT_EQ(gradient.shape, input.shape) << name;
  const double step = 2e-4;
  Tensor expected(input.shape);
  double largest = 0;
  for (int64_t i = 0; i < input.size(); ++i) {
    double value = input[i];
    auto at = [&](double offset) {
      input[i] = value + offset * step;
      return loss();
    };
    expected[i] = (8 * (at(1) - at(-1)) - (at(2) - at(-2))) / (12 * step);
    input[i] = value;
    largest = std::max(largest, std::abs(expected[i]));
  }
  for (int64_t i = 0; i < input.size(); ++i)
    ASSERT_NEAR(gradient[i], expected[i], 1e-8 * largest + 1e-10) << name << " at " << i;
}

/// Every parameter's gradient; a parameter without one must not matter.
inline void expectGradients(Parameters &parameters, const Parameters &gradients,
                            const std::function<double()> &loss) {
  for (auto &[name, parameter] : parameters) {
    auto it = gradients.find(name);
    expectGradient(name, parameter, it == gradients.end() ? Tensor(parameter.shape) : it->second,
                   loss);
  }
  for (const auto &[name, gradient] : gradients)
    EXPECT_TRUE(parameters.count(name)) << name;
}

/// Equal up to the order of additions.
inline void expectEqual(const std::string &name, const Tensor &found, const Tensor &expected) {
  ASSERT_EQ(found.shape, expected.shape) << name;
  double largest = 0;
  for (double value : expected.data)
    largest = std::max(largest, std::abs(value));
  for (int64_t i = 0; i < found.size(); ++i)
    ASSERT_NEAR(found[i], expected[i], 1e-12 * largest + 1e-14) << name << " at " << i;
}

//===----------------------------------------------------------------------===//
// Small models
//===----------------------------------------------------------------------===//

/// One layer, every width small and no two the same where they may differ.
inline formats::ModelConfig smallConfig(Random &random) {
  formats::ModelConfig config;
  config.num_layers = 1;
  config.num_heads = random.integer(1, 2);
  config.norm_num_groups = random.integer(1, 3);
  config.model_dim = config.norm_num_groups * 2;
  config.z_dim = config.num_heads * 2 * random.integer(1, 2);
  config.value_dim = config.num_heads * random.integer(1, 3);
  config.ffn_hidden_dim = random.integer(2, 5);
  config.cema_ndim = random.integer(1, 3);
  config.chunk_size = random.integer(2, 4);
  config.norm_affine = random.coin();
  config.swiglu = random.coin();
  config.rescale_nffn = random.coin();
  config.scale_emb = random.coin();
  config.share_emb = random.coin();
  config.vocab_size = 5;
  if (!config.share_emb)
    config.output_size = random.integer(4, 6);
  config.norm_eps = 0.05; // gentler curvature, so that differences are accurate
  return config;
}

/// Random ones for everything trained, and no buffers.
inline Parameters smallParameters(const formats::ModelConfig &config, Random &random) {
  Parameters parameters;
  for (const formats::ExpectedTensor &expected : formats::expectedTensors(config))
    if (!expected.optional)
      parameters[expected.name] = random.tensor(expected.shape);
  return parameters;
}

inline BlockState randomBlockState(const formats::ModelConfig &config, int64_t batch,
                                   Random &random) {
  return {random.normState(batch, config.norm_num_groups),
          random.tensor({batch, config.model_dim, config.cema_ndim, 2}),
          {random.tensor({batch, config.chunk_size, config.num_heads, config.dz()}),
           random.tensor({batch, config.chunk_size, config.num_heads, config.dv()})}};
}

inline BlockStateGradients randomBlockGradients(const formats::ModelConfig &config, int64_t batch,
                                                Random &random) {
  BlockState state = randomBlockState(config, batch, random);
  return {random.normGradients(batch, config.norm_num_groups), state.h, state.cache};
}

/// What a loss with gradients d of the final state adds; `end` [B] is its position.
inline double dot(const BlockStateGradients &d, const BlockState &state,
                  const std::vector<int64_t> &end) {
  ChunkCache cache = openEntries(d.cache, end);
  return dot(d.norm, state.norm) + dot(d.h, state.h) + dot(cache.keys, state.cache.keys) +
         dot(cache.values, state.cache.values);
}

} // namespace otodus::reference

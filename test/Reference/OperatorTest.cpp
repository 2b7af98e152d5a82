//===- OperatorTest.cpp - What the golden data does not hold ----------------===//

#include "otodus/Reference/Reference.h"

#include <gtest/gtest.h>

#include <cmath>

using namespace otodus;
using namespace otodus::reference;

namespace {

/// Values without pattern in [-1, 1].
Tensor values(std::vector<int64_t> shape, double seed) {
  Tensor x(std::move(shape));
  for (int64_t i = 0; i < x.size(); ++i)
    x[i] = std::sin(seed + 12.9898 * i) * std::cos(0.7 * i * seed);
  return x;
}

TEST(Scan, ConstantComplexDecayIsCema) {
  int64_t batch = 2, length = 9, width = 3, order = 4;
  Tensor alpha = values({width, order, 1}, 1), delta = values({width, order, 1}, 2);
  Tensor theta = values({width, 1, 1}, 3), gamma = values({width, order, 2}, 4);
  Tensor omega = values({width, 1}, 5), x = values({batch, length, width}, 6);
  Tensor h({batch, width, order, 2});
  Tensor y = cema(x, alpha, delta, theta, gamma, omega, h);

  CemaCoefficients c = cemaCoefficients(alpha, delta, theta, gamma);
  Tensor input({batch, length, width * order, 2}), decay = c.q;
  decay.shape = {width * order, 2};
  for (int64_t i = 0; i < x.size(); ++i)
    for (int64_t k = 0; k < order; ++k)
      input[(i * order + k) * 2] = c.p[i % width * order + k] * x[i];
  Tensor carried({batch, width * order, 2});
  Tensor all = scan(decay, input, carried, /*isComplex=*/true);
  for (int64_t i = 0; i < x.size(); ++i) {
    double sum = omega[i % width] * x[i];
    for (int64_t k = 0; k < order; ++k) {
      int64_t g = (i % width * order + k) * 2, at = (i * order + k) * 2;
      sum += c.g[g] * all[at] - c.g[g + 1] * all[at + 1];
    }
    EXPECT_NEAR(sum, y[i], 1e-14);
  }
  EXPECT_EQ(carried.data, h.data);
}

TEST(Scan, VaryingRealDecay) {
  Tensor h({1, 1}, std::vector{2.0});
  Tensor y = scan(Tensor({1, 3, 1}, {0.5, 0.0, -1.0}), Tensor({1, 3, 1}, {1.0, 3.0, 0.25}), h,
                  /*isComplex=*/false);
  EXPECT_EQ(y.data, (std::vector{2.0, 3.0, -2.75}));
  EXPECT_EQ(h[0], -2.75);
}

TEST(Cema, VanishingDecayIsFinite) {
  // sigma(alpha) sigma(delta) rounds to 1: |q| = 0 and q^0 = 1 all the same.
  Tensor big({1, 2, 1}, 100.0), h({1, 1, 2, 2}, 1.0);
  Tensor y = cema(Tensor({1, 2, 1}, {1.0, 2.0}), big, big, Tensor({1, 1, 1}),
                  Tensor({1, 2, 2}, {1.0, 0.0, 1.0, 0.0}), Tensor({1, 1}), h);
  EXPECT_NEAR(y[0], 2 / std::sqrt(2), 1e-12);
  EXPECT_NEAR(y[1], 4 / std::sqrt(2), 1e-12);
}

TEST(RmsNorm, PerHead) {
  Tensor y = rmsNorm(Tensor({1, 1, 4}, {3.0, 4.0, 0.0, 1.0}), nullptr, nullptr, 0, 1, 2);
  double rms = std::sqrt(12.5);
  EXPECT_NEAR(y[0], 3 / rms, 1e-15);
  EXPECT_NEAR(y[3], std::sqrt(2), 1e-15);
}

TEST(TimestepNorm, MaskedStepsAreSkipped) {
  Tensor x = values({1, 5, 4}, 1), w = values({4}, 2), b = values({4}, 3);
  std::vector<uint8_t> mask{0, 1, 0, 0, 1};
  NormState masked = freshNormState(1, 2), plain = freshNormState(1, 2);
  Tensor y = timestepNorm(x, w, b, masked, 2, 1e-5, &mask);
  Tensor kept = joinSteps({steps(x, 0, 1), steps(x, 2, 4)});
  Tensor expected = timestepNorm(kept, w, b, plain, 2, 1e-5);
  EXPECT_EQ(joinSteps({steps(y, 0, 1), steps(y, 2, 4)}).data, expected.data);
  EXPECT_EQ(steps(y, 1, 2).data, std::vector<double>(4));
  EXPECT_EQ(masked.mean.data, plain.mean.data);
  EXPECT_EQ(masked.count, plain.count);
}

TEST(Attention, SequencesHaveTheirOwnPositions) {
  // Sequence 1 starts 3 steps into its chunk of 4, so its second step is alone.
  Tensor q = values({2, 2, 4}, 1), k = values({2, 2, 4}, 2), v = values({2, 2, 6}, 3);
  ChunkCache cache = emptyChunkCache(2, 4, 2, 2, 3);
  Tensor o = chunkAttention(q, k, v, {0, 3}, cache);
  for (int64_t i = 0; i < 6; ++i) {
    EXPECT_DOUBLE_EQ(o[i], v[i]);           // sequence 0, step 0: only itself
    EXPECT_DOUBLE_EQ(o[18 + i], v[18 + i]); // sequence 1, step 1: a new chunk
  }
}

TEST(Sampling, MinP) {
  std::vector<double> logits{std::log(0.6), std::log(0.3), std::log(0.1)};
  SamplingFilter filter;
  filter.minP = 0.4;
  std::vector<double> p = samplingDistribution(logits, filter);
  EXPECT_NEAR(p[0], 2.0 / 3, 1e-15);
  EXPECT_NEAR(p[1], 1.0 / 3, 1e-15);
  EXPECT_EQ(p[2], 0);
}

TEST(Sampling, GreedyTakesTheFirstOfEquals) { EXPECT_EQ(argmax({0, 2, 2}), 1); }

TEST(Model, ReportsEveryBadParameter) {
  formats::ModelConfig config;
  config.num_layers = 1;
  config.model_dim = 4;
  config.z_dim = 2;
  config.value_dim = 4;
  config.ffn_hidden_dim = 4;
  config.chunk_size = 2;
  config.norm_num_groups = 2;
  config.vocab_size = 3;
  Parameters parameters;
  parameters["embed.weight"] = Tensor({3, 5});
  Result<Model> model = Model::create(config, parameters);
  ASSERT_FALSE(model.isOk());
  EXPECT_EQ(model.status().code(), Code::File);
  EXPECT_NE(model.status().message().find("embed.weight: expected shape [3, 4], found [3, 5]"),
            std::string::npos)
      << model.status().message();
  EXPECT_NE(model.status().message().find("missing output.output.weight"), std::string::npos);
}

} // namespace

//===- GradientModelTest.cpp - Gradients of blocks and models ---------------===//
//
// Against finite differences, with random configurations and states; what is
// refused.
//
//===----------------------------------------------------------------------===//

#include "FiniteDifference.h"

#include <numeric>

using namespace otodus;
using namespace otodus::reference;

namespace {

class ModelGradientsBySeed : public testing::TestWithParam<int> {
protected:
  Random random{static_cast<uint64_t>(1000 + GetParam())};
  formats::ModelConfig config = smallConfig(random);
  Parameters parameters = smallParameters(config, random);
  int64_t batch = random.integer(1, 2), length = random.integer(1, 6);

  /// Of `prefix` alone, so that every one of them matters.
  void keepOnly(const std::string &prefix) {
    std::erase_if(parameters, [&](const auto &entry) { return !entry.first.starts_with(prefix); });
  }
};
INSTANTIATE_TEST_SUITE_P(Seeds, ModelGradientsBySeed, testing::Range(0, 8));

TEST_P(ModelGradientsBySeed, Ffn) {
  keepOnly("layers.0.nffn.");
  Tensor y1 = random.tensor({batch, length, config.model_dim});
  Tensor residual = random.tensor(y1.shape), dy = random.tensor(y1.shape);
  Parameters gradients;
  Tensor dy1 = ffnBackward(y1, parameters, "layers.0.nffn.", config.norm_eps, dy, gradients);
  auto loss = [&] {
    return dot(dy, ffn(y1, residual, parameters, "layers.0.nffn.", config.norm_eps));
  };
  expectGradient("y1", y1, dy1, loss);
  expectGradient("residual", residual, dy, loss);
  expectGradients(parameters, gradients, loss);
}

TEST_P(ModelGradientsBySeed, BlockAndLayer) {
  for (bool whole : {false, true}) {
    keepOnly(whole ? "layers.0." : "layers.0.mega.");
    if (whole)
      parameters = smallParameters(config, random), keepOnly("layers.0.");
    Tensor x = random.tensor({batch, length, config.model_dim}), dy = random.tensor(x.shape);
    Tensor frequencies = ropeFrequencies(config.dz(), 100);
    std::vector<int64_t> position = random.integers(batch, 0, 5), end = position;
    for (int64_t &value : end)
      value += length;
    BlockState state = randomBlockState(config, batch, random);
    BlockStateGradients dLast = randomBlockGradients(config, batch, random), d0 = dLast;
    Parameters gradients;
    Tensor dx = whole ? layerBackward(x, parameters, "layers.0.", config, frequencies, position,
                                      state, dy, d0, gradients)
                      : blockBackward(x, parameters, "layers.0.", config, frequencies, position,
                                      state, dy, d0, gradients);
    auto loss = [&] {
      BlockState last = state;
      Tensor y =
          whole ? layer(x, parameters, "layers.0.", config, frequencies, position, last)
                : block(x, parameters, "layers.0.", config, frequencies, position, last, nullptr);
      return dot(dy, y) + dot(dLast, last, end);
    };
    expectGradient("x", x, dx, loss);
    expectGradients(parameters, gradients, loss);
    expectGradient("mean", state.norm.mean, d0.norm.mean, loss);
    expectGradient("variance", state.norm.variance, d0.norm.variance, loss);
    expectGradient("h", state.h, d0.h, loss);
    expectGradient("keys", state.cache.keys, d0.cache.keys, loss);
    expectGradient("values", state.cache.values, d0.cache.values, loss);
  }
}

TEST_P(ModelGradientsBySeed, Loss) {
  config.num_layers = 2;
  parameters = smallParameters(config, random);
  // Half of the cases have learnt priors (their count is no parameter).
  bool priors = random.coin();
  Parameters counts;
  for (const formats::ExpectedTensor &expected : formats::expectedTensors(config)) {
    if (!priors || expected.name.find("prior_") == std::string::npos)
      continue;
    if (expected.isCount)
      counts[expected.name] = Tensor({}, 3.0);
    else
      parameters[expected.name] = random.tensor(expected.shape);
  }
  Tokens tokens = random.tokens(batch, length, config.vocab_size);
  Tokens targets = random.tokens(batch, length, config.outputSize());
  targets.ids[random.integer(0, batch * length - 1)] = -100;

  auto model = [&] {
    Parameters all = parameters;
    all.insert(counts.begin(), counts.end());
    return *Model::create(config, all);
  };
  Result<LossGradients> found = lossGradients(model(), tokens, targets);
  ASSERT_TRUE(found.isOk()) << found.status().message();
  auto loss = [&] {
    Model changed = model();
    ModelState state = changed.freshState(batch);
    Tensor nll = negativeLogLikelihood(*changed.forward(tokens, state), targets);
    return std::accumulate(nll.data.begin(), nll.data.end(), 0.0) / nll.size();
  };
  EXPECT_EQ(found->loss, loss());
  EXPECT_EQ(found->gradients.size(), parameters.size());
  expectGradients(parameters, found->gradients, loss);
}

TEST(LossGradients, Refuses) {
  Random random(1);
  formats::ModelConfig config = smallConfig(random);
  Model model = *Model::create(config, smallParameters(config, random));
  auto message = [&](const Tokens &tokens, const Tokens &targets) {
    Result<LossGradients> result = lossGradients(model, tokens, targets);
    EXPECT_FALSE(result.isOk());
    EXPECT_EQ(result.status().code(), Code::Input);
    return result.status().message();
  };
  EXPECT_EQ(message({1, 2, {0, 1}}, {2, 1, {0, 1}}),
            "expected targets [1, 2] as the tokens, found [2, 1]");
  EXPECT_NE(message({1, 2, {0, 1}}, {1, 2, {0, -1}}).find("target -1 is neither in [0, "),
            std::string::npos);
  EXPECT_NE(message({1, 1, {99}}, {1, 1, {0}}).find("token 99 is outside"), std::string::npos);
  EXPECT_NE(message({1, 0, {}}, {1, 0, {}}).find("there are no tokens"), std::string::npos);
}

} // namespace

TEST(Dropout, KeepsItsShareAndScalesIt) {
  Dropout dropout{42, 3, 0, 0, {}, 1};
  int64_t rows = 500, width = 100;
  for (int64_t i = 0; i < rows; ++i)
    dropout.rowNumbers.push_back(i);
  Tensor ones({1, rows, width}, 1.0);
  for (double p : {0.0, 0.1, 0.5, 0.9}) {
    Tensor y = dropout(ones, p, 2);
    double kept = 0, sum = 0;
    for (double value : y.data) {
      EXPECT_TRUE(value == 0 || std::abs(value - 1 / (1 - p)) < 1e-12);
      kept += value != 0;
      sum += value;
    }
    // Five standard deviations of 50000 draws.
    EXPECT_NEAR(kept / 50000, 1 - p, 5 * std::sqrt(p * (1 - p) / 50000) + 1e-12) << p;
    EXPECT_NEAR(sum / 50000, 1, 0.1) << p;
  }
  // Places, layers and steps have masks of their own: they agree as often as chance has it.
  Dropout layer = dropout.of(7), later = dropout;
  ++later.step;
  Tensor first = dropout(ones, 0.5, 2);
  for (const Tensor &other : {dropout(ones, 0.5, 3), layer(ones, 0.5, 2), later(ones, 0.5, 2)}) {
    double equal = 0;
    for (int64_t i = 0; i < ones.size(); ++i)
      equal += first[i] == other[i];
    EXPECT_NEAR(equal / 50000, 0.5, 0.012);
  }
}

TEST(Dropout, GradientsOfALayerWithFixedMasks) {
  Random random(77);
  formats::ModelConfig config = smallConfig(random);
  Parameters parameters = smallParameters(config, random);
  std::erase_if(parameters, [](const auto &entry) { return !entry.first.starts_with("layers.0."); });
  int64_t batch = 2, length = 4;
  Dropout dropout{9, 5, 0.3, 0.4, {}, 1};
  for (int64_t i = 0; i < batch * length; ++i)
    dropout.rowNumbers.push_back(100 + i);
  Tensor x = random.tensor({batch, length, config.model_dim}), dy = random.tensor(x.shape);
  Tensor frequencies = ropeFrequencies(config.dz(), 100);
  std::vector<int64_t> position(batch, 0);
  BlockState state = freshBlockState(config, batch);
  BlockStateGradients dState = zeroBlockStateGradients(config, batch);
  Parameters gradients;
  Tensor dx = layerBackward(x, parameters, "layers.0.", config, frequencies, position, state, dy,
                            dState, gradients, &dropout);
  auto loss = [&] {
    BlockState after = state;
    return dot(dy, layer(x, parameters, "layers.0.", config, frequencies, position, after, &dropout));
  };
  expectGradient("x", x, dx, loss);
  expectGradients(parameters, gradients, loss);
}

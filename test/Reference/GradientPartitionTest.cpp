//===- GradientPartitionTest.cpp - Gradients of a sequence in pieces --------===//
//
// The partition law: cut a sequence anywhere, carry states forward and their
// gradients back, and every gradient is that of the whole.
//
//===----------------------------------------------------------------------===//

#include "FiniteDifference.h"

using namespace otodus;
using namespace otodus::reference;

namespace {

class GradientPartition : public testing::TestWithParam<int> {
protected:
  Random random{static_cast<uint64_t>(2000 + GetParam())};
  int64_t batch = random.integer(1, 3), length = random.integer(2, 14);
  std::vector<int64_t> pieces = random.pieces(length);

  /// Calls backward(begin, end, piece) for the pieces, last to first.
  template <typename Function> void backwards(Function backward) const {
    int64_t end = length;
    for (size_t i = pieces.size(); i-- > 0; end -= pieces[i])
      backward(end - pieces[i], end, i);
  }
  /// Pieces that were found last to first.
  static Tensor joinReversed(std::vector<Tensor> found) {
    std::reverse(found.begin(), found.end());
    return joinSteps(found);
  }
};
INSTANTIATE_TEST_SUITE_P(Seeds, GradientPartition, testing::Range(0, 20));

void expectEqual(const Parameters &found, const Parameters &expected) {
  ASSERT_EQ(found.size(), expected.size());
  for (const auto &[name, value] : expected) {
    ASSERT_TRUE(found.count(name)) << name;
    reference::expectEqual(name, found.at(name), value);
  }
}

TEST_P(GradientPartition, TimestepNorm) {
  int64_t groups = random.integer(1, 3), width = groups * random.integer(1, 4);
  Tensor x = random.tensor({batch, length, width}), dy = random.tensor(x.shape);
  Tensor weight = random.tensor({width}), bias = random.tensor({width});
  NormState state = random.normState(batch, groups);
  std::vector<uint8_t> mask(batch * length);
  for (uint8_t &flag : mask)
    flag = random.integer(0, 4) == 0;
  NormStateGradients carried = random.normGradients(batch, groups), whole = carried;
  AffineGradients expected = timestepNormBackward(x, weight, state, groups, 1e-5, dy, whole, &mask);

  auto maskOf = [&](int64_t begin, int64_t end) {
    std::vector<uint8_t> result;
    for (int64_t b = 0; b < batch; ++b)
      result.insert(result.end(), mask.begin() + b * length + begin,
                    mask.begin() + b * length + end);
    return result;
  };
  std::vector<NormState> states{state};
  int64_t begin = 0;
  for (int64_t piece : pieces) {
    states.push_back(states.back());
    std::vector<uint8_t> part = maskOf(begin, begin + piece);
    timestepNorm(steps(x, begin, begin + piece), weight, bias, states.back(), groups, 1e-5, &part);
    begin += piece;
  }
  std::vector<Tensor> dx;
  Parameters sums = {{"weight", Tensor({width})}, {"bias", Tensor({width})}};
  backwards([&](int64_t begin, int64_t end, size_t i) {
    std::vector<uint8_t> part = maskOf(begin, end);
    AffineGradients d = timestepNormBackward(steps(x, begin, end), weight, states[i], groups, 1e-5,
                                             steps(dy, begin, end), carried, &part);
    dx.push_back(d.x);
    sums["weight"] = add(sums["weight"], d.weight);
    sums["bias"] = add(sums["bias"], d.bias);
  });
  reference::expectEqual("x", joinReversed(dx), expected.x);
  expectEqual(sums, {{"weight", expected.weight}, {"bias", expected.bias}});
  reference::expectEqual("mean", carried.mean, whole.mean);
  reference::expectEqual("variance", carried.variance, whole.variance);
}

TEST_P(GradientPartition, Cema) {
  int64_t width = random.integer(1, 4), order = random.integer(1, 4);
  Tensor x = random.tensor({batch, length, width}), dy = random.tensor(x.shape);
  Tensor alpha = random.tensor({width, order, 1}), delta = random.tensor({width, order, 1});
  Tensor theta = random.tensor({width, 1, 1}), gamma = random.tensor({width, order, 2});
  Tensor omega = random.tensor({width, 1}), h = random.tensor({batch, width, order, 2});
  Tensor carried = random.tensor(h.shape), whole = carried;
  auto named = [](const CemaGradients &d) {
    return Parameters{{"alpha", d.alpha},
                      {"delta", d.delta},
                      {"theta", d.theta},
                      {"gamma", d.gamma},
                      {"omega", d.omega}};
  };
  CemaGradients expected = cemaBackward(x, alpha, delta, theta, gamma, omega, h, dy, whole);

  std::vector<Tensor> states{h}, dx;
  int64_t begin = 0;
  for (int64_t piece : pieces) {
    states.push_back(states.back());
    cema(steps(x, begin, begin + piece), alpha, delta, theta, gamma, omega, states.back());
    begin += piece;
  }
  Parameters sums;
  backwards([&](int64_t begin, int64_t end, size_t i) {
    CemaGradients d = cemaBackward(steps(x, begin, end), alpha, delta, theta, gamma, omega,
                                   states[i], steps(dy, begin, end), carried);
    dx.push_back(d.x);
    for (const auto &[name, value] : named(d))
      sums[name] = sums.count(name) ? add(sums[name], value) : value;
  });
  reference::expectEqual("x", joinReversed(dx), expected.x);
  expectEqual(sums, named(expected));
  reference::expectEqual("h", carried, whole);
}

TEST_P(GradientPartition, Scan) {
  int64_t width = random.integer(1, 3);
  Tensor decay = random.tensor({batch, length, width, 2}), input = random.tensor(decay.shape);
  Tensor h = random.tensor({batch, width, 2}), dy = random.tensor(input.shape);
  Tensor carried = random.tensor(h.shape), whole = carried;
  ScanGradients expected = scanBackward(decay, input, h, /*isComplex=*/true, dy, whole);
  std::vector<Tensor> states{h}, dDecay, dInput;
  int64_t begin = 0;
  for (int64_t piece : pieces) {
    states.push_back(states.back());
    scan(steps(decay, begin, begin + piece), steps(input, begin, begin + piece), states.back(),
         /*isComplex=*/true);
    begin += piece;
  }
  backwards([&](int64_t begin, int64_t end, size_t i) {
    ScanGradients d = scanBackward(steps(decay, begin, end), steps(input, begin, end), states[i],
                                   /*isComplex=*/true, steps(dy, begin, end), carried);
    dDecay.push_back(d.decay);
    dInput.push_back(d.input);
  });
  reference::expectEqual("decay", joinReversed(dDecay), expected.decay);
  reference::expectEqual("input", joinReversed(dInput), expected.input);
  reference::expectEqual("h", carried, whole);
}

void expectEqual(const BlockStateGradients &found, const BlockStateGradients &expected) {
  reference::expectEqual("mean", found.norm.mean, expected.norm.mean);
  reference::expectEqual("variance", found.norm.variance, expected.norm.variance);
  reference::expectEqual("h", found.h, expected.h);
  reference::expectEqual("keys", found.cache.keys, expected.cache.keys);
  reference::expectEqual("values", found.cache.values, expected.cache.values);
}

/// Pieces end anywhere in chunks and cross them.
TEST_P(GradientPartition, Layer) {
  formats::ModelConfig config = smallConfig(random);
  Parameters parameters = smallParameters(config, random);
  Tensor frequencies = ropeFrequencies(config.dz(), 100);
  Tensor x = random.tensor({batch, length, config.model_dim}), dy = random.tensor(x.shape);
  std::vector<int64_t> position = random.integers(batch, 0, 5);
  BlockState state = randomBlockState(config, batch, random);
  BlockStateGradients carried = randomBlockGradients(config, batch, random), whole = carried;
  Parameters expected, sums;
  Tensor expectedX = layerBackward(x, parameters, "layers.0.", config, frequencies, position, state,
                                   dy, whole, expected);

  auto positionAt = [&](int64_t begin) {
    std::vector<int64_t> result = position;
    for (int64_t &value : result)
      value += begin;
    return result;
  };
  std::vector<BlockState> states{state};
  int64_t begin = 0;
  for (int64_t piece : pieces) {
    states.push_back(states.back());
    layer(steps(x, begin, begin + piece), parameters, "layers.0.", config, frequencies,
          positionAt(begin), states.back());
    begin += piece;
  }
  std::vector<Tensor> dx;
  backwards([&](int64_t begin, int64_t end, size_t i) {
    dx.push_back(layerBackward(steps(x, begin, end), parameters, "layers.0.", config, frequencies,
                               positionAt(begin), states[i], steps(dy, begin, end), carried, sums));
  });
  reference::expectEqual("x", joinReversed(dx), expectedX);
  expectEqual(sums, expected);
  expectEqual(carried, whole);
}

TEST_P(GradientPartition, Model) {
  formats::ModelConfig config = smallConfig(random);
  config.num_layers = 2;
  Model model = *Model::create(config, smallParameters(config, random));
  Tokens tokens = random.tokens(batch, length, config.vocab_size);
  Tensor dLogits = random.tensor({batch, length, config.outputSize()});
  ModelState state = model.freshState(batch);
  ModelStateGradients carried = zeroModelStateGradients(config, batch), whole = carried;
  Parameters expected, sums;
  ASSERT_TRUE(modelBackward(model, tokens, state, dLogits, whole, expected).isOk());

  std::vector<ModelState> states{state};
  int64_t begin = 0;
  for (int64_t piece : pieces) {
    states.push_back(states.back());
    ASSERT_TRUE(model.forward(steps(tokens, begin, begin + piece), states.back()).isOk());
    begin += piece;
  }
  backwards([&](int64_t begin, int64_t end, size_t i) {
    ASSERT_TRUE(modelBackward(model, steps(tokens, begin, end), states[i],
                              steps(dLogits, begin, end), carried, sums)
                    .isOk());
  });
  expectEqual(sums, expected);
  for (int64_t i = 0; i < config.num_layers; ++i)
    expectEqual(carried.blocks[i], whole.blocks[i]);
}

} // namespace

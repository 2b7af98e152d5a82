//===- GradientOperatorTest.cpp - Gradients against finite differences ------===//
//
// Every operator with random shapes, values, incoming states and gradients of its
// final state.
//
//===----------------------------------------------------------------------===//

#include "FiniteDifference.h"

using namespace otodus;
using namespace otodus::reference;

namespace {

class OperatorGradients : public testing::TestWithParam<int> {
protected:
  Random random{static_cast<uint64_t>(GetParam())};
  int64_t batch = random.integer(1, 3), length = random.integer(1, 7);
};
INSTANTIATE_TEST_SUITE_P(Seeds, OperatorGradients, testing::Range(0, 12));

TEST_P(OperatorGradients, Embed) {
  int64_t vocabulary = random.integer(2, 6), width = random.integer(1, 4);
  Tokens tokens = random.tokens(batch, length, vocabulary);
  Tensor table = random.tensor({vocabulary, width}), dy = random.tensor({batch, length, width});
  expectGradient("table", table, embedBackward(tokens, dy, vocabulary, 1.5),
                 [&] { return dot(dy, embed(tokens, table, 1.5)); });
}

TEST_P(OperatorGradients, Linear) {
  int64_t inputs = random.integer(1, 5), outputs = random.integer(1, 5);
  Tensor x = random.tensor({batch, length, inputs}), weight = random.tensor({outputs, inputs});
  Tensor bias = random.tensor({outputs}), dy = random.tensor({batch, length, outputs});
  AffineGradients d = linearBackward(x, weight, dy);
  auto loss = [&] { return dot(dy, linear(x, weight, &bias)); };
  expectGradient("x", x, d.x, loss);
  expectGradient("weight", weight, d.weight, loss);
  expectGradient("bias", bias, d.bias, loss);
}

TEST_P(OperatorGradients, Silu) {
  Tensor x = random.tensor({batch, length, 3}, 4), dy = random.tensor(x.shape);
  expectGradient("x", x, siluBackward(x, dy), [&] { return dot(dy, silu(x)); });
}

TEST_P(OperatorGradients, Scale) {
  int64_t width = random.integer(1, 5);
  Tensor x = random.tensor({batch, length, width}), factor = random.tensor({width});
  Tensor dy = random.tensor(x.shape);
  ScaleGradients d = scaleBackward(x, factor, dy);
  auto loss = [&] { return dot(dy, scale(x, factor)); };
  expectGradient("x", x, d.x, loss);
  expectGradient("factor", factor, d.factor, loss);
}

TEST_P(OperatorGradients, RmsNorm) {
  int64_t heads = random.integer(1, 3), width = heads * random.integer(1, 4);
  double eps = 0.1, factor = 0.7;
  Tensor x = random.tensor({batch, length, width}), dy = random.tensor(x.shape);
  Tensor w = random.tensor({width}), bias = random.tensor({width});
  const Tensor *weight = random.coin() ? &w : nullptr;
  AffineGradients d = rmsNormBackward(x, weight, dy, eps, factor, heads);
  auto loss = [&] { return dot(dy, rmsNorm(x, weight, &bias, eps, factor, heads)); };
  expectGradient("x", x, d.x, loss);
  expectGradient("bias", bias, d.bias, loss);
  if (weight)
    expectGradient("weight", w, d.weight, loss);
}

TEST_P(OperatorGradients, LayerNorm) {
  int64_t width = random.integer(1, 6);
  double eps = 0.1;
  Tensor x = random.tensor({batch, length, width}), dy = random.tensor(x.shape);
  Tensor w = random.tensor({width}), bias = random.tensor({width});
  const Tensor *weight = random.coin() ? &w : nullptr;
  AffineGradients d = layerNormBackward(x, weight, dy, eps);
  auto loss = [&] { return dot(dy, layerNorm(x, weight, &bias, eps)); };
  expectGradient("x", x, d.x, loss);
  expectGradient("bias", bias, d.bias, loss);
  if (weight)
    expectGradient("weight", w, d.weight, loss);
}

TEST_P(OperatorGradients, NegativeLogLikelihood) {
  int64_t vocabulary = random.integer(2, 6);
  Tensor logits = random.tensor({batch, length, vocabulary}, 5);
  Tensor dy = random.tensor({batch, length});
  Tokens targets = random.tokens(batch, length, vocabulary);
  for (int64_t &id : targets.ids)
    id = random.integer(0, 3) ? id : -100;
  expectGradient("logits", logits, negativeLogLikelihoodBackward(logits, targets, dy),
                 [&] { return dot(dy, negativeLogLikelihood(logits, targets)); });
}

TEST_P(OperatorGradients, TimestepNorm) {
  int64_t groups = random.integer(1, 3), width = groups * random.integer(1, 4);
  double eps = 0.05;
  Tensor x = random.tensor({batch, length, width}), dy = random.tensor(x.shape);
  Tensor weight = random.tensor({width}), bias = random.tensor({width});
  NormState state = random.normState(batch, groups);
  NormStateGradients dLast = random.normGradients(batch, groups), d0 = dLast;
  std::vector<uint8_t> mask(batch * length);
  for (uint8_t &flag : mask)
    flag = random.integer(0, 3) == 0;
  const std::vector<uint8_t> *padding = random.coin() ? &mask : nullptr;

  AffineGradients d = timestepNormBackward(x, weight, state, groups, eps, dy, d0, padding);
  auto loss = [&] {
    NormState last = state;
    Tensor y = timestepNorm(x, weight, bias, last, groups, eps, padding);
    return dot(dy, y) + dot(dLast, last);
  };
  expectGradient("x", x, d.x, loss);
  expectGradient("weight", weight, d.weight, loss);
  expectGradient("bias", bias, d.bias, loss);
  expectGradient("mean", state.mean, d0.mean, loss);
  expectGradient("variance", state.variance, d0.variance, loss);
}

TEST_P(OperatorGradients, TimestepNormPriors) {
  int64_t groups = random.integer(1, 3), width = groups * 2, count = random.integer(0, 5);
  Tensor x = random.tensor({batch, length, width}), dy = random.tensor(x.shape);
  Tensor weight = random.tensor({width}), bias = random.tensor({width});
  Tensor mean = random.tensor({groups}), logVariance = random.tensor({groups});
  NormStateGradients dState = random.normGradients(batch, groups), dLast = dState;
  auto loss = [&] {
    NormState state = freshNormState(batch, groups, count, &mean, &logVariance);
    Tensor y = timestepNorm(x, weight, bias, state, groups, 0.05);
    return dot(dy, y) + dot(dLast, state);
  };
  timestepNormBackward(x, weight, freshNormState(batch, groups, count, &mean, &logVariance), groups,
                       0.05, dy, dState);
  PriorGradients d = freshNormStateBackward(dState, logVariance);
  expectGradient("mean", mean, d.mean, loss);
  expectGradient("log variance", logVariance, d.logVariance, loss);
}

TEST_P(OperatorGradients, Scan) {
  for (bool isComplex : {false, true})
    for (bool constant : {false, true}) {
      int64_t width = random.integer(1, 3);
      auto shaped = [&](std::vector<int64_t> shape) {
        if (isComplex)
          shape.push_back(2);
        return random.tensor(shape);
      };
      Tensor decay = constant ? shaped({width}) : shaped({batch, length, width});
      Tensor input = shaped({batch, length, width}), h = shaped({batch, width});
      Tensor dy = shaped({batch, length, width}), dLast = shaped({batch, width}), dh = dLast;
      ScanGradients d = scanBackward(decay, input, h, isComplex, dy, dh);
      auto loss = [&] {
        Tensor last = h, y = scan(decay, input, last, isComplex);
        return dot(dy, y) + dot(dLast, last);
      };
      expectGradient("decay", decay, d.decay, loss);
      expectGradient("input", input, d.input, loss);
      expectGradient("h", h, dh, loss);
    }
}

TEST_P(OperatorGradients, Cema) {
  int64_t width = random.integer(1, 3), order = random.integer(1, 4);
  Tensor x = random.tensor({batch, length, width}), dy = random.tensor(x.shape);
  Tensor alpha = random.tensor({width, order, 1}, 2), delta = random.tensor({width, order, 1}, 2);
  Tensor theta = random.tensor({width, 1, 1}, 2), gamma = random.tensor({width, order, 2});
  Tensor omega = random.tensor({width, 1}), h = random.tensor({batch, width, order, 2});
  Tensor dLast = random.tensor(h.shape), dh = dLast;
  CemaGradients d = cemaBackward(x, alpha, delta, theta, gamma, omega, h, dy, dh);
  auto loss = [&] {
    Tensor last = h, y = cema(x, alpha, delta, theta, gamma, omega, last);
    return dot(dy, y) + dot(dLast, last);
  };
  expectGradient("x", x, d.x, loss);
  expectGradient("alpha", alpha, d.alpha, loss);
  expectGradient("delta", delta, d.delta, loss);
  expectGradient("theta", theta, d.theta, loss);
  expectGradient("gamma", gamma, d.gamma, loss);
  expectGradient("omega", omega, d.omega, loss);
  expectGradient("h", h, dh, loss);
}

TEST_P(OperatorGradients, Rotary) {
  int64_t heads = random.integer(1, 3), headDim = 2 * random.integer(1, 3);
  int64_t chunk = random.integer(1, 5);
  Tensor x = random.tensor({batch, length, heads * headDim}), dy = random.tensor(x.shape);
  Tensor frequencies = ropeFrequencies(headDim, 100);
  std::vector<int64_t> position = random.integers(batch, 0, 9);
  expectGradient("x", x, rotaryBackward(dy, frequencies, position, chunk, heads),
                 [&] { return dot(dy, rotary(x, frequencies, position, chunk, heads)); });
}

TEST_P(OperatorGradients, ChunkAttention) {
  int64_t heads = random.integer(1, 2), keyDim = random.integer(1, 3);
  int64_t valueDim = random.integer(1, 3), chunk = random.integer(1, 4);
  Tensor q = random.tensor({batch, length, heads * keyDim}), k = random.tensor(q.shape);
  Tensor v = random.tensor({batch, length, heads * valueDim}), dy = random.tensor(v.shape);
  std::vector<int64_t> position = random.integers(batch, 0, 9), end = position;
  for (int64_t &value : end)
    value += length;
  ChunkCache cache{random.tensor({batch, chunk, heads, keyDim}),
                   random.tensor({batch, chunk, heads, valueDim})};
  ChunkCache dCache{random.tensor(cache.keys.shape), random.tensor(cache.values.shape)};
  ChunkCache dLast = openEntries(dCache, end);
  AttentionGradients d = chunkAttentionBackward(q, k, v, position, cache, dy, dCache);
  auto loss = [&] {
    ChunkCache last = cache;
    Tensor o = chunkAttention(q, k, v, position, last);
    return dot(dy, o) + dot(dLast.keys, last.keys) + dot(dLast.values, last.values);
  };
  expectGradient("q", q, d.q, loss);
  expectGradient("k", k, d.k, loss);
  expectGradient("v", v, d.v, loss);
  expectGradient("keys", cache.keys, dCache.keys, loss);
  expectGradient("values", cache.values, dCache.values, loss);
}

} // namespace

//===- TrainerTest.cpp - Pieces, documents, steps --------------------------===//
//
// A model of two parameters whose gradients one can write down:
//   h_t = a h_{t-1} + e[token_t],  nll_t = (h_t - target_t)^2 / 2
// with kernels that are part of this program.
//
//===----------------------------------------------------------------------===//

#include "otodus/Runtime/Trainer.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

using namespace otodus;
using namespace otodus::runtime;
using namespace otodus::formats;

namespace {

constexpr int64_t kVocabulary = 5, kChunk = 4, kPortions = 1;
constexpr int64_t kStateFloats = 16; // 64 bytes of one sequence

float *floats(const OtodusKernelArguments *a, int i) { return static_cast<float *>(a->buffers[i]); }
const int32_t *integers(const OtodusKernelArguments *a, int i) {
  return static_cast<const int32_t *>(a->buffers[i]);
}

/// tokens, targets, nll, e, a, h
void lossKernel(const OtodusKernelArguments *k, int64_t lo, int64_t hi) {
  for (int64_t b = lo; b < hi; ++b) {
    float &h = floats(k, 5)[b * kStateFloats];
    for (int64_t t = 0; t < k->length; ++t) {
      int64_t i = b * k->length + t;
      h = floats(k, 4)[0] * h + floats(k, 3)[integers(k, 0)[i]];
      int32_t target = integers(k, 1)[i];
      float d = h - float(target);
      floats(k, 2)[i] = target == -100 ? 0 : d * d / 2;
    }
  }
}

/// tokens, targets, nll, e, a, h, dh, de, da, scalars. One item: gradients are sums over rows.
void gradientKernel(const OtodusKernelArguments *k, int64_t, int64_t) {
  float a = floats(k, 4)[0], scale = floats(k, 9)[0];
  for (int64_t b = 0; b < k->batch; ++b) {
    float &h = floats(k, 5)[b * kStateFloats], &dh = floats(k, 6)[b * kStateFloats];
    std::vector<float> before, after;
    for (int64_t t = 0; t < k->length; ++t) {
      int64_t i = b * k->length + t;
      before.push_back(h);
      h = a * h + floats(k, 3)[integers(k, 0)[i]];
      after.push_back(h);
      float d = h - float(integers(k, 1)[i]);
      floats(k, 2)[i] = integers(k, 1)[i] == -100 ? 0 : d * d / 2;
    }
    for (int64_t t = k->length; t-- > 0;) {
      int64_t i = b * k->length + t;
      int32_t target = integers(k, 1)[i];
      float d = dh + (target == -100 ? 0 : scale * (after[t] - float(target)));
      floats(k, 7)[integers(k, 0)[i]] += d;
      floats(k, 8)[0] += d * before[t];
      dh = a * d;
    }
  }
}

/// gradients, squares
void normKernel(const OtodusKernelArguments *k, int64_t lo, int64_t hi) {
  for (int64_t p = lo; p < hi; ++p) {
    float sum = 0;
    for (int64_t i = p * kSquaresPortion; i < (p + 1) * kSquaresPortion; ++i)
      sum += floats(k, 0)[i] * floats(k, 0)[i];
    floats(k, 1)[p] = sum;
  }
}

/// weights, gradients, m, v, scalars
void stepKernel(const OtodusKernelArguments *k, int64_t lo, int64_t hi) {
  const float *s = floats(k, 4);
  for (int64_t i = lo * kSquaresPortion; i < hi * kSquaresPortion; ++i) {
    float g = floats(k, 1)[i] * s[1], &w = floats(k, 0)[i], &m = floats(k, 2)[i], &v = floats(k, 3)[i];
    w -= w * s[3];
    m = s[4] * m + (1 - s[4]) * g;
    v = s[5] * v + (1 - s[5]) * g * g;
    w -= s[2] * (m * s[7]) / (std::sqrt(v * s[8]) + s[6]);
  }
}

Artefact toy() {
  Program program;
  program.prepared = {{"e", PrepareKind::Vector, DType::F32, {"e"}, {}, {1, kVocabulary}, 0},
                      {"a", PrepareKind::Vector, DType::F32, {"a"}, {}, {1, 1}, 0}};
  State h;
  h.name = "h";
  h.shape = {1};
  h.initial = 0.25;
  program.states = {h};
  program.parameters = {{"e", {kVocabulary}, 0}, {"a", {1}, 16}};
  program.arenaElements = kPortions * kSquaresPortion;
  auto steps = [](const char *name, DType dtype, int64_t bound) {
    Argument argument;
    argument.name = name;
    argument.kind = ArgumentKind::Steps;
    argument.dtype = dtype;
    argument.bound = bound;
    return argument;
  };
  auto function = [&](const char *name, const char *entry, std::vector<Buffer> buffers,
                      std::vector<Extent> grid, bool model) {
    Function f;
    f.name = name;
    f.buffers = std::move(buffers);
    Launch launch;
    launch.name = name;
    launch.variants = {{0, entry, std::move(grid)}};
    for (size_t i = 0; i < f.buffers.size(); ++i)
      launch.buffers.push_back(int64_t(i));
    f.launches = {launch};
    if (model) {
      f.inputs = {steps("tokens", DType::I32, kVocabulary), steps("targets", DType::I32, kVocabulary)};
      f.outputs = {steps("nll", DType::F32, 0)};
      f.states = {0};
      f.chunk = kChunk;
    }
    return f;
  };
  std::vector<Buffer> forward = {{BufferKind::Input, 0},    {BufferKind::Input, 1},
                                 {BufferKind::Output, 0},   {BufferKind::Prepared, 0},
                                 {BufferKind::Prepared, 1}, {BufferKind::State, 0}};
  std::vector<Buffer> backward = forward;
  for (Buffer more : {Buffer{BufferKind::StateGradient, 0}, Buffer{BufferKind::Gradient, 0},
                      Buffer{BufferKind::Gradient, 1}, Buffer{BufferKind::Scalars, 0}})
    backward.push_back(more);
  program.functions = {
      function("loss", "loss", forward, {{Symbol::Batch, 1, 1}}, true),
      function("gradients", "gradients", backward, {{Symbol::One, 1, 1}}, true),
      function("norm", "norm", {{BufferKind::Arena, 1}, {BufferKind::Arena, 4}},
               {{Symbol::One, kPortions, 1}}, false),
      function("adamw", "adamw",
               {{BufferKind::Arena, 0}, {BufferKind::Arena, 1}, {BufferKind::Arena, 2},
                {BufferKind::Arena, 3}, {BufferKind::Scalars, 0}},
               {{Symbol::One, kPortions, 1}}, false)};
  Artefact artefact;
  artefact.dtype = "f32";
  artefact.programs = {program};
  return artefact;
}

std::unique_ptr<Trainer> trainer(int64_t maxPiece = 1000) {
  static const float e[] = {0.1f, -0.3f, 0.7f, 1.1f, 0.4f}, a[] = {0.8f};
  MemoryWeights weights;
  weights.add("e", {kVocabulary}, e);
  weights.add("a", {1}, a);
  TrainerOptions options;
  options.maxPiece = maxPiece;
  options.image = nativeImage({{"loss", lossKernel},
                               {"gradients", gradientKernel},
                               {"norm", normKernel},
                               {"adamw", stepKernel}});
  Result<std::unique_ptr<Trainer>> made = Trainer::create(toy(), weights, options);
  EXPECT_TRUE(made.isOk()) << made.status().message();
  return std::move(*made);
}

TokenBatch randomBatch(int64_t batch, int64_t length, double documents, uint32_t seed) {
  std::mt19937 random(seed);
  TokenBatch tokens;
  tokens.batch = batch;
  tokens.length = length;
  for (int64_t i = 0; i < batch * length; ++i) {
    tokens.tokens.push_back(int32_t(random() % kVocabulary));
    tokens.targets.push_back(random() % 7 == 0 ? -100 : int32_t(random() % kVocabulary));
    tokens.starts.push_back(i % length == 0 || random() % 1000 < documents * 1000);
  }
  return tokens;
}

struct Sums {
  double loss = 0;
  int64_t count = 0;
  std::vector<double> e = std::vector<double>(kVocabulary);
  double a = 0;
};

/// The definition, one document after the other.
Sums expected(Trainer &trainer, const TokenBatch &tokens) {
  std::vector<float> e(kVocabulary);
  float a;
  EXPECT_TRUE(trainer.read(TrainedValue::Weight, 0, e.data()).isOk());
  EXPECT_TRUE(trainer.read(TrainedValue::Weight, 1, &a).isOk());
  Sums sums;
  for (int64_t row = 0; row < tokens.batch; ++row)
    for (int64_t begin = 0, end; begin < tokens.length; begin = end) {
      for (end = begin + 1; end < tokens.length && !tokens.starts[row * tokens.length + end];)
        ++end;
      std::vector<double> h = {0.25};
      for (int64_t t = begin; t < end; ++t)
        h.push_back(double(a) * h.back() + double(e[tokens.tokens[row * tokens.length + t]]));
      double d = 0;
      for (int64_t t = end; t-- > begin;) {
        int64_t i = row * tokens.length + t;
        double now = h[t - begin + 1];
        if (tokens.targets[i] != -100) {
          sums.loss += (now - tokens.targets[i]) * (now - tokens.targets[i]) / 2;
          ++sums.count;
          d += now - tokens.targets[i];
        }
        sums.e[tokens.tokens[i]] += d;
        sums.a += d * h[t - begin];
        d *= double(a);
      }
    }
  return sums;
}

void expectGradients(Trainer &trainer, const Sums &sums, double scale) {
  std::vector<float> e(kVocabulary);
  float a;
  ASSERT_TRUE(trainer.read(TrainedValue::Gradient, 0, e.data()).isOk());
  ASSERT_TRUE(trainer.read(TrainedValue::Gradient, 1, &a).isOk());
  for (int64_t v = 0; v < kVocabulary; ++v)
    EXPECT_NEAR(e[v], scale * sums.e[v], 1e-4 * (1 + std::abs(scale * sums.e[v])));
  EXPECT_NEAR(a, scale * sums.a, 1e-4 * (1 + std::abs(scale * sums.a)));
}

} // namespace

TEST(Trainer, PiecesAndDocumentsAreEqualToSequencesOfTheirOwn) {
  for (uint32_t seed = 0; seed < 60; ++seed) {
    auto model = trainer(seed % 3 == 0 ? 3 : 1000);
    int64_t batch = 1 + seed % 4, length = 1 + seed % 17;
    TokenBatch tokens = randomBatch(batch, length, seed % 5 * 0.1, seed);
    Sums sums = expected(*model, tokens);
    Result<LossSum> loss = model->loss(tokens);
    ASSERT_TRUE(loss.isOk()) << loss.status().message();
    EXPECT_NEAR(loss->sum, sums.loss, 1e-4 * (1 + sums.loss));
    EXPECT_EQ(loss->count, sums.count);
    Result<LossSum> again = model->accumulate(tokens, 0.5);
    ASSERT_TRUE(again.isOk());
    EXPECT_EQ(again->sum, loss->sum);
    EXPECT_EQ(again->count, sums.count);
    expectGradients(*model, sums, 0.5);
    // Another batch size in between, then more of the same: gradients add up.
    ASSERT_TRUE(model->loss(randomBatch(5, 3, 0, 1)).isOk());
    ASSERT_TRUE(model->accumulate(tokens, 1).isOk());
    expectGradients(*model, sums, 1.5);
    double square = sums.a * sums.a;
    for (double e : sums.e)
      square += e * e;
    Result<GradientNorm> norm = model->gradientNorm();
    ASSERT_TRUE(norm.isOk());
    EXPECT_NEAR(norm->norm, 1.5 * std::sqrt(square), 1e-3 * (1 + std::sqrt(square)));
    EXPECT_EQ(norm->notFinite, "");
  }
}

TEST(Trainer, StepsChangeWhatKernelsRead) {
  auto model = trainer();
  TokenBatch tokens = randomBatch(3, 8, 0, 1);
  double first = model->loss(tokens)->sum, last = 0;
  for (int64_t t = 1; t <= 200; ++t) {
    ASSERT_TRUE(model->accumulate(tokens, 1.0 / 24).isOk());
    OptimizerStep step;
    step.t = t;
    step.learningRate = 0.01;
    step.weightDecay = 0;
    step.norm = model->gradientNorm()->norm;
    ASSERT_TRUE(model->step(step).isOk());
  }
  last = model->loss(tokens)->sum;
  EXPECT_LT(last, 0.7 * first);
  EXPECT_NEAR(last, expected(*model, tokens).loss, 1e-3); // prepared weights are the new ones
}

TEST(Trainer, ClipsAndDecays) {
  auto model = trainer();
  float gradients[kVocabulary] = {3, 0, 0, 0, 4}, weights[kVocabulary];
  ASSERT_TRUE(model->write(TrainedValue::Gradient, 0, gradients).isOk());
  OptimizerStep step;
  step.norm = model->gradientNorm()->norm;
  EXPECT_NEAR(step.norm, 5, 1e-6);
  step.learningRate = 0.1;
  step.weightDecay = 0.5;
  step.clip = 1;
  ASSERT_TRUE(model->step(step).isOk());
  float m[kVocabulary], v[kVocabulary];
  ASSERT_TRUE(model->read(TrainedValue::FirstMoment, 0, m).isOk());
  ASSERT_TRUE(model->read(TrainedValue::SecondMoment, 0, v).isOk());
  ASSERT_TRUE(model->read(TrainedValue::Weight, 0, weights).isOk());
  EXPECT_NEAR(m[0], 0.1 * 0.6, 1e-6);
  EXPECT_NEAR(m[4], 0.1 * 0.8, 1e-6);
  EXPECT_NEAR(v[4], 0.02 * 0.64, 1e-6);
  EXPECT_NEAR(weights[1], -0.3 * 0.95, 1e-6);      // decay only
  EXPECT_NEAR(weights[4], 0.4 * 0.95 - 0.1, 1e-5); // the first step of Adam has length lr
  ASSERT_TRUE(model->read(TrainedValue::Gradient, 0, gradients).isOk());
  EXPECT_EQ(gradients[0], 0);
}

TEST(Trainer, FrozenParametersStay) {
  auto model = trainer();
  ASSERT_TRUE(model->freeze({false, true}).isOk());
  TokenBatch tokens = randomBatch(2, 9, 0, 1);
  ASSERT_TRUE(model->accumulate(tokens, 1).isOk());
  Sums sums = expected(*model, tokens);
  double square = 0;
  for (double e : sums.e)
    square += e * e;
  OptimizerStep step;
  step.norm = model->gradientNorm()->norm;
  EXPECT_NEAR(step.norm, std::sqrt(square), 1e-3);
  step.learningRate = 0.1;
  ASSERT_TRUE(model->step(step).isOk());
  float a, m;
  ASSERT_TRUE(model->read(TrainedValue::Weight, 1, &a).isOk());
  ASSERT_TRUE(model->read(TrainedValue::FirstMoment, 1, &m).isOk());
  EXPECT_EQ(a, 0.8f); // not even decay
  EXPECT_EQ(m, 0);
}

TEST(Trainer, NotFinite) {
  auto model = trainer();
  float gradients[kVocabulary] = {}, a = std::nanf("");
  ASSERT_TRUE(model->write(TrainedValue::Gradient, 1, &a).isOk());
  EXPECT_EQ(model->gradientNorm()->notFinite, "a");
  gradients[3] = INFINITY;
  ASSERT_TRUE(model->write(TrainedValue::Gradient, 0, gradients).isOk());
  EXPECT_EQ(model->gradientNorm()->notFinite, "e"); // the first in order
  ASSERT_TRUE(model->dropGradients().isOk());
  // Large, but finite: squares overflow f32, the norm does not.
  gradients[3] = 1e30f;
  ASSERT_TRUE(model->write(TrainedValue::Gradient, 0, gradients).isOk());
  EXPECT_EQ(model->gradientNorm()->notFinite, "");
  EXPECT_NEAR(model->gradientNorm()->norm / 1e30, 1, 1e-6);
}

TEST(Trainer, WhatACallerCanGetWrong) {
  auto model = trainer();
  TokenBatch tokens = randomBatch(2, 3, 0, 1);
  tokens.tokens[4] = kVocabulary;
  Status status = model->loss(tokens).status();
  EXPECT_EQ(status.code(), otodus::Code::Input);
  EXPECT_NE(status.message().find("token 5 is outside the vocabulary of 5"), std::string::npos);
  tokens.tokens[4] = 0;
  tokens.targets[5] = -1;
  EXPECT_EQ(model->accumulate(tokens, 1).status().code(), otodus::Code::Input);
  tokens.targets.pop_back();
  EXPECT_EQ(model->accumulate(tokens, 1).status().code(), otodus::Code::Input);
  EXPECT_EQ(model->freeze({true}).code(), otodus::Code::Usage);
  // An inference model.
  Artefact artefact = toy();
  artefact.programs[0].parameters.clear();
  MemoryWeights weights;
  float e[kVocabulary] = {};
  weights.add("e", {kVocabulary}, e);
  weights.add("a", {1}, e);
  TrainerOptions options;
  options.image = nativeImage({{"loss", lossKernel},
                               {"gradients", gradientKernel},
                               {"norm", normKernel},
                               {"adamw", stepKernel}});
  Result<std::unique_ptr<Trainer>> none = Trainer::create(artefact, weights, options);
  EXPECT_EQ(none.status().code(), otodus::Code::Input);
  EXPECT_NE(none.status().message().find("compile it for training"), std::string::npos);
}

//===- TrainTest.cpp - Training in the simulator ---------------------------===//
//
// A model of a feed-forward block and a loss learns on a simulated GPU and on the processor: losses,
// gradients, and weights after steps agree. Shapes reach more tiles than the golden models do,
// padding and widths that blocks share out.
//
//===----------------------------------------------------------------------===//

#include "OpenTrainer.h"

#include "otodus/Formats/Random.h"

#include <gtest/gtest.h>

#include <cmath>

using namespace otodus;
using namespace otodus::driver;
using runtime::TrainedValue;
using runtime::Trainer;

namespace {

struct Shape {
  int64_t vocabulary, width, hidden, batch, length;
};

std::string tensor(std::initializer_list<int64_t> shape, const char *element = "f32") {
  std::string text = "tensor<";
  for (int64_t size : shape)
    text += (size < 0 ? "?" : std::to_string(size)) + "x";
  return text + element + ">";
}

std::string moduleText(const Shape &s) {
  struct Weight {
    std::string name, type;
    int64_t elements;
  };
  int64_t v = s.vocabulary, d = s.width, f = s.hidden;
  std::vector<Weight> weights = {{"embed", tensor({v, d}), v * d}, {"gain", tensor({d}), d},
                                 {"up", tensor({f, d}), f * d},    {"gate", tensor({f, d}), f * d},
                                 {"down", tensor({d, f}), d * f},  {"head", tensor({v, d}), v * d}};
  std::string declared, used;
  int64_t n = 0;
  for (const Weight &w : weights) {
    declared += "  mega.weight @" + w.name + " : " + w.type + "\n";
    used += "    %" + w.name + " = mega.use_weight @" + w.name + " : " + w.type + "\n";
    n += (w.elements + 15) / 16 * 16;
  }
  n = (n + 1023) / 1024 * 1024;
  std::string x = tensor({-1, -1, d}), h = tensor({-1, -1, f}), i = tensor({-1, -1}, "i32"),
              nll = tensor({-1, -1}), up = tensor({f, d}), down = tensor({d, f}),
              head = tensor({v, d}), a = tensor({n}), q = tensor({n / 1024}), c = tensor({16});
  auto arena = [](int number) { return " {mega.arena = " + std::to_string(number) + " : i64}"; };
  auto linear = [](const std::string &in, const std::string &w, const std::string &out) {
    return " : (" + in + ", " + w + ") -> " + out + "\n";
  };
  return "module {\n" + declared + "  func.func @loss(%tokens: " + i +
         " {mega.name = \"tokens\"}, %targets: " + i + " {mega.name = \"targets\"}) -> (" + nll +
         " {mega.name = \"nll\"}) attributes {mega.differentiate = \"gradients\"} {\n" + used +
         "    %0 = mega.embed %tokens, %embed scale(2.0) : " + i + ", " + head + " -> " + x + "\n" +
         "    %1 = mega.rms_norm %0 weight %gain eps(1.0e-5) : (" + x + ", " + tensor({d}) +
         ") -> " + x + "\n" +
         "    %2 = mega.linear %1, %up" + linear(x, up, h) +
         "    %3 = mega.linear %1, %gate" + linear(x, up, h) +
         "    %4 = mega.silu %3 : " + h + "\n" +
         "    %5 = arith.mulf %2, %4 : " + h + "\n" +
         "    %6 = mega.linear %5, %down" + linear(h, down, x) +
         "    %7 = arith.addf %0, %6 : " + x + "\n" +
         "    %nll, %sum = mega.linear_cross_entropy %7, %head, %targets : (" + x + ", " + head +
         ", " + i + ") -> (" + nll + ", " + nll + ")\n" +
         "    return %nll : " + nll + "\n  }\n" +
         "  func.func @norm(%g: " + a + arena(1) + ", %s: " + q + arena(4) + ") -> (" + q +
         arena(4) + ") {\n" +
         "    %0 = mega.squares %g, %s : (" + a + ", " + q + ") -> " + q + "\n" +
         "    return %0 : " + q + "\n  }\n" +
         "  func.func @adamw(%g: " + a + arena(1) + ", %c: " + c + " {mega.scalars}, %w: " + a +
         arena(0) + ", %m: " + a + arena(2) + ", %u: " + a + arena(3) + ") -> (" + a + arena(0) +
         ", " + a + arena(2) + ", " + a + arena(3) + ") {\n" +
         "    %0:3 = mega.adamw %g, %c, %w, %m, %u : (" + a + ", " + c + ", " + a + ", " + a +
         ", " + a + ") -> (" + a + ", " + a + ", " + a + ")\n" +
         "    return %0#0, %0#1, %0#2 : " + a + ", " + a + ", " + a + "\n  }\n}\n";
}

std::vector<float> random(int64_t elements, uint64_t stream, double scale) {
  std::vector<float> values;
  for (int64_t i = 0; i < elements; ++i)
    values.push_back(float(scale * (2 * formats::uniform(5, stream, uint64_t(i)) - 1)));
  return values;
}

Result<std::unique_ptr<Trainer>> open(const Shape &s, const std::string &target) {
  std::vector<std::vector<float>> values;
  runtime::MemoryWeights weights;
  int64_t v = s.vocabulary, d = s.width, f = s.hidden;
  using Weight = std::tuple<const char *, std::vector<int64_t>, double>;
  for (auto [name, shape, scale] :
       {Weight{"embed", {v, d}, 1}, Weight{"gain", {d}, 0.3},
        Weight{"up", {f, d}, 1 / std::sqrt(d)}, Weight{"gate", {f, d}, 1 / std::sqrt(d)},
        Weight{"down", {d, f}, 1 / std::sqrt(f)}, Weight{"head", {v, d}, 2 / std::sqrt(d)}}) {
    int64_t elements = shape.size() == 2 ? shape[0] * shape[1] : shape[0];
    values.push_back(random(elements, values.size(), scale));
    weights.add(name, shape, values.back().data());
  }
  ModelFlags flags;
  flags.dtype = "f32";
  flags.target = target;
  return openTrainerText(moduleText(s), "toy", weights, flags);
}

runtime::TokenBatch batchOf(const Shape &s) {
  runtime::TokenBatch batch;
  batch.batch = s.batch;
  batch.length = s.length;
  for (int64_t i = 0; i < s.batch * s.length; ++i) {
    auto draw = [&](uint64_t stream) {
      return int32_t(formats::uniform(9, stream, uint64_t(i)) * double(s.vocabulary));
    };
    batch.tokens.push_back(draw(0));
    batch.targets.push_back(i % 7 == 3 ? -100 : draw(1));
    batch.starts.push_back(i % s.length == 0);
  }
  return batch;
}

void near(const std::vector<float> &found, const std::vector<float> &expected, double tolerance,
          const std::string &what) {
  double largest = 0, error = 0;
  for (size_t i = 0; i < expected.size(); ++i) {
    largest = std::max(largest, std::fabs(double(expected[i])));
    error = std::max(error, std::fabs(double(found[i]) - double(expected[i])));
  }
  EXPECT_GT(largest, 0) << what;
  EXPECT_LE(error, tolerance * largest) << what << ": " << error << " of " << largest;
}

void compare(const Shape &s, const std::string &target) {
  Result<std::unique_ptr<Trainer>> gpu = open(s, target), cpu = open(s, "cpu");
  ASSERT_TRUE(gpu.isOk()) << gpu.status().message();
  ASSERT_TRUE(cpu.isOk()) << cpu.status().message();
  runtime::TokenBatch batch = batchOf(s);
  auto read = [&](Trainer &trainer, TrainedValue value, size_t index) {
    std::vector<float> values(size_t(trainer.parameters()[index].elements()));
    EXPECT_TRUE(trainer.read(value, index, values.data()).isOk());
    return values;
  };
  std::vector<bool> frozen((*gpu)->parameters().size(), false);
  frozen[2] = true;
  for (auto *trainer : {gpu->get(), cpu->get()})
    ASSERT_TRUE(trainer->freeze(frozen).isOk());
  for (int64_t t = 1; t <= 2; ++t) {
    double losses[2], norms[2];
    for (auto *trainer : {gpu->get(), cpu->get()}) {
      bool second = trainer == cpu->get();
      Result<runtime::LossSum> loss = trainer->accumulate(batch, 0.01);
      ASSERT_TRUE(loss.isOk()) << loss.status().message();
      losses[second] = loss->sum;
    }
    EXPECT_NEAR(losses[0], losses[1], 1e-6 * losses[1]);
    for (size_t i = 0; i < frozen.size(); ++i)
      near(read(**gpu, TrainedValue::Gradient, i), read(**cpu, TrainedValue::Gradient, i), 3e-6,
           "gradient of " + (*gpu)->parameters()[i].name);
    for (auto *trainer : {gpu->get(), cpu->get()}) {
      Result<runtime::GradientNorm> norm = trainer->gradientNorm();
      ASSERT_TRUE(norm.isOk()) << norm.status().message();
      norms[trainer == cpu->get()] = norm->norm;
      runtime::OptimizerStep step;
      step.t = t;
      // Small: with 2048 columns a step of 1e-2 leaves no loss, and the gradients of nothing say
      // nothing.
      step.learningRate = 1e-4;
      step.norm = norm->norm;
      step.clip = 0.5;
      // Gradients next to zero would be steps of any sign.
      step.epsilon = 1e-4;
      ASSERT_TRUE(trainer->step(step).isOk());
    }
    EXPECT_NEAR(norms[0], norms[1], 1e-6 * norms[1]);
    for (size_t i = 0; i < frozen.size(); ++i)
      near(read(**gpu, TrainedValue::Weight, i), read(**cpu, TrainedValue::Weight, i), 1e-5,
           "weight " + (*gpu)->parameters()[i].name);
  }
  Result<runtime::LossSum> a = (*gpu)->loss(batch), b = (*cpu)->loss(batch);
  ASSERT_TRUE(a.isOk() && b.isOk());
  EXPECT_NEAR(a->sum, b->sum, 1e-5 * b->sum);
}

} // namespace

TEST(Train, TilesAndPadding) { compare({150, 48, 70, 2, 37}, "sim:sm_80"); }

// Sums of 2048 columns do not fit a block's registers.
TEST(Train, SharedColumns) { compare({40, 2048, 32, 1, 9}, "sim:sm_90a"); }

//===- TrainTest.cpp - Compiled training against lib/Reference -------------===//
//
// Random models and batches of packed documents, longer than attention's chunk: losses,
// gradients and steps of compiled code are those of sequences of their own in float64.
//
//===----------------------------------------------------------------------===//

#include "../Training/ReferenceBackend.h"
#include "OpenTrainer.h"
#include "TestSupport.h"

#include "otodus/Formats/RandomInit.h"

#include <gtest/gtest.h>

#include <cstring>
#include <map>
#include <random>

using namespace otodus;
using namespace otodus::driver;
using runtime::TokenBatch;
using runtime::TrainedValue;

namespace {

struct Pair {
  std::unique_ptr<runtime::Trainer> compiled;
  std::unique_ptr<training::ReferenceBackend> reference;
};

formats::ModelConfig small() {
  formats::ModelConfig config;
  config.num_layers = 2;
  config.model_dim = 48;
  config.z_dim = 16;
  config.value_dim = 64;
  config.num_heads = 2;
  config.ffn_hidden_dim = 40;
  config.cema_ndim = 3;
  config.chunk_size = 8;
  config.norm_num_groups = 4;
  config.vocab_size = 37;
  return config;
}

Pair open(const formats::ModelConfig &config, int threads = 0, const MemoryRequest &memory = {},
          MemoryPlan *plan = nullptr, const std::string &dtype = "f32",
          const std::string &target = "") {
  test::TemporaryFolder folder;
  Pair pair;
  std::string model = folder / "model";
  EXPECT_TRUE(formats::writeRandomModel(model, config, 7).isOk());
  auto file = formats::SafetensorsFile::open(model + "/model.safetensors");
  auto parameters = reference::readParameters(*file, "");
  // Norms and biases start as zeros, where mistakes do not show.
  std::mt19937 random(5);
  std::normal_distribution<double> normal(0, 0.2);
  std::map<std::string, std::vector<float>> values;
  std::vector<std::string> names;
  runtime::MemoryWeights weights;
  for (const formats::ExpectedTensor &expected : formats::expectedTensors(config)) {
    if (expected.optional || expected.isCount)
      continue;
    reference::Tensor &tensor = parameters->at(expected.name);
    std::vector<float> &floats = values[expected.name];
    for (double &value : tensor.data) {
      value = static_cast<float>(value + normal(random));
      floats.push_back(static_cast<float>(value));
    }
    weights.add(expected.name, expected.shape, floats.data());
    names.push_back(expected.name);
  }
  ModelFlags flags;
  flags.threads = threads;
  flags.dtype = dtype;
  if (!target.empty())
    flags.target = target;
  auto trainer = openTrainer(config, "small", names, weights, flags, memory, plan);
  EXPECT_TRUE(trainer.isOk()) << trainer.status().message();
  if (trainer.isOk())
    pair.compiled = std::move(*trainer);
  pair.reference = std::make_unique<training::ReferenceBackend>(config, std::move(*parameters));
  return pair;
}

TokenBatch batch(const formats::ModelConfig &config, int64_t rows, int64_t length,
                 double documents, uint32_t seed) {
  std::mt19937 random(seed);
  TokenBatch tokens;
  tokens.batch = rows;
  tokens.length = length;
  for (int64_t i = 0; i < rows * length; ++i) {
    tokens.tokens.push_back(int32_t(random() % config.vocab_size));
    tokens.targets.push_back(random() % 9 == 0 ? -100 : int32_t(random() % config.vocab_size));
    tokens.starts.push_back(i % length == 0 || random() % 1000 < documents * 1000);
  }
  return tokens;
}

/// Largest difference over the tensor, relative to the largest number of the wanted one.
void expectNear(Pair &pair, TrainedValue value, double tolerance, const std::string &what) {
  const auto &list = pair.compiled->parameters();
  std::map<std::string, size_t> index;
  for (size_t i = 0; i < pair.reference->parameters().size(); ++i)
    index[pair.reference->parameters()[i].name] = i;
  ASSERT_EQ(list.size(), index.size());
  for (size_t i = 0; i < list.size(); ++i) {
    ASSERT_TRUE(index.count(list[i].name)) << list[i].name;
    size_t count = static_cast<size_t>(list[i].elements());
    std::vector<float> found(count), wanted(count);
    ASSERT_TRUE(pair.compiled->read(value, i, found.data()).isOk());
    ASSERT_TRUE(pair.reference->read(value, index[list[i].name], wanted.data()).isOk());
    double error = 0, size = 1e-3;
    for (size_t e = 0; e < count; ++e) {
      error = std::max(error, std::abs(double(found[e]) - double(wanted[e])));
      size = std::max(size, std::abs(double(wanted[e])));
    }
    EXPECT_LE(error / size, tolerance) << what << ": " << list[i].name;
  }
}

/// RMS of what gradients are off, relative to the RMS of the wanted ones: of all together, and of the
/// tensor for which it is largest.
struct RelativeRms {
  double all = 0, largest = 0;
  std::string name; ///< of that tensor
};

RelativeRms relativeRms(Pair &pair) {
  RelativeRms result;
  std::map<std::string, size_t> index;
  for (size_t i = 0; i < pair.reference->parameters().size(); ++i)
    index[pair.reference->parameters()[i].name] = i;
  double squares = 0, size = 0;
  for (size_t i = 0; i < pair.compiled->parameters().size(); ++i) {
    const runtime::TrainedTensor &tensor = pair.compiled->parameters()[i];
    auto count = static_cast<size_t>(tensor.elements());
    std::vector<float> found(count), wanted(count);
    EXPECT_TRUE(pair.compiled->read(TrainedValue::Gradient, i, found.data()).isOk());
    EXPECT_TRUE(
        pair.reference->read(TrainedValue::Gradient, index.at(tensor.name), wanted.data()).isOk());
    double ownSquares = 0, ownSize = 0;
    for (size_t e = 0; e < count; ++e) {
      ownSquares += (double(found[e]) - wanted[e]) * (double(found[e]) - wanted[e]);
      ownSize += double(wanted[e]) * wanted[e];
    }
    squares += ownSquares;
    size += ownSize;
    if (double own = std::sqrt(ownSquares / ownSize); !(own <= result.largest)) {
      result.largest = own;
      result.name = tensor.name;
    }
  }
  result.all = std::sqrt(squares / size);
  return result;
}

} // namespace

TEST(Train, GradientsOfPackedDocumentsEqualThoseOfSequencesOfTheirOwn) {
  std::vector<formats::ModelConfig> configs(3, small());
  configs[1].share_emb = configs[1].scale_emb = configs[1].swiglu = true;
  configs[2].rescale_nffn = true;
  configs[2].num_layers = 1;
  uint32_t seed = 0;
  for (const formats::ModelConfig &config : configs) {
    Pair pair = open(config);
    ASSERT_TRUE(pair.compiled);
    // One piece; pieces by chunks; pieces by documents too; single steps.
    for (auto [rows, length, documents] : std::vector<std::tuple<int64_t, int64_t, double>>{
             {3, 8, 0}, {1, 5, 0}, {2, 21, 0}, {2, 21, 0.1}, {3, 6, 0.5}, {1, 3, 1}}) {
      TokenBatch tokens = batch(config, rows, length, documents, ++seed);
      std::string what = "case " + std::to_string(seed);
      auto loss = pair.compiled->loss(tokens);
      auto found = pair.compiled->accumulate(tokens, 0.1);
      auto wanted = pair.reference->accumulate(tokens, 0.1);
      ASSERT_TRUE(loss.isOk() && found.isOk() && wanted.isOk()) << found.status().message();
      EXPECT_NEAR(found->sum, wanted->sum, 1e-4 * (1 + wanted->sum)) << what;
      EXPECT_NEAR(loss->sum, wanted->sum, 1e-4 * (1 + wanted->sum)) << what;
      EXPECT_EQ(found->count, wanted->count);
      expectNear(pair, TrainedValue::Gradient, 2e-4, what);
      EXPECT_NEAR(pair.compiled->gradientNorm()->norm / pair.reference->gradientNorm()->norm, 1, 1e-4);
      ASSERT_TRUE(pair.compiled->dropGradients().isOk());
      ASSERT_TRUE(pair.reference->dropGradients().isOk());
    }
  }
}

TEST(Train, StepsFollowTheReference) {
  formats::ModelConfig config = small();
  Pair pair = open(config);
  ASSERT_TRUE(pair.compiled);
  for (int64_t t = 1; t <= 5; ++t) {
    TokenBatch tokens = batch(config, 4, 8, 0, uint32_t(t));
    double losses[2] = {};
    for (runtime::TrainingBackend *backend :
         {static_cast<runtime::TrainingBackend *>(pair.compiled.get()),
          static_cast<runtime::TrainingBackend *>(pair.reference.get())}) {
      auto loss = backend->accumulate(tokens, 1.0 / 32);
      ASSERT_TRUE(loss.isOk());
      losses[backend == pair.reference.get()] = loss->sum;
      runtime::OptimizerStep step;
      step.t = t;
      step.learningRate = 1e-2;
      step.clip = 0.5;
      step.norm = backend->gradientNorm()->norm;
      ASSERT_TRUE(backend->step(step).isOk());
    }
    EXPECT_NEAR(losses[0], losses[1], 2e-3 * losses[1]) << t;
  }
  // Adam divides by small gradients: single numbers may go apart, the moments must not.
  expectNear(pair, TrainedValue::FirstMoment, 1e-2, "after five steps");
}

// bf16 against float64 of the f32 weights: whole chunks, pieces, documents (docs/Training.md, bf16).
TEST(Train, GradientsOfBf16AreThoseOfTheReferenceButForRounding) {
  formats::ModelConfig config = small();
  config.swiglu = true;
  Pair pair = open(config, 0, {}, nullptr, "bf16");
  ASSERT_TRUE(pair.compiled);
  for (auto [rows, length, documents] : std::vector<std::tuple<int64_t, int64_t, double>>{
           {3, 8, 0}, {1, 5, 0}, {2, 21, 0}, {2, 21, 0.1}}) {
    TokenBatch tokens = batch(config, rows, length, documents, uint32_t(10 * length + rows));
    std::string what = std::to_string(rows) + " x " + std::to_string(length);
    auto found = pair.compiled->accumulate(tokens, 0.1);
    auto wanted = pair.reference->accumulate(tokens, 0.1);
    ASSERT_TRUE(found.isOk() && wanted.isOk()) << found.status().message();
    EXPECT_NEAR(found->sum, wanted->sum, 1e-2 * (1 + wanted->sum)) << what;
    EXPECT_EQ(found->count, wanted->count);
    // As logits of a whole model (test/golden/README.md). A tensor whose gradients are differences of
    // larger numbers (those of z, gamma, beta) is off by up to 6e-2, another one from case to case and
    // with rounded weights; what is wrong would be off by about 1.
    RelativeRms off = relativeRms(pair);
    EXPECT_LE(off.all, 4e-2) << what;
    EXPECT_LE(off.largest, 1e-1) << what << ": " << off.name;
    ASSERT_TRUE(pair.compiled->dropGradients().isOk());
    ASSERT_TRUE(pair.reference->dropGradients().isOk());
  }
}

namespace {
void expectThreadsDoNotMatter(const std::string &dtype) {
  formats::ModelConfig config = small();
  std::vector<std::vector<float>> results;
  for (int threads : {1, 2, 5}) {
    Pair pair = open(config, threads, {}, nullptr, dtype);
    ASSERT_TRUE(pair.compiled);
    for (int64_t t = 1; t <= 3; ++t) {
      ASSERT_TRUE(pair.compiled->accumulate(batch(config, 5, 19, 0.05, uint32_t(t)), 0.01).isOk());
      runtime::OptimizerStep step;
      step.t = t;
      step.learningRate = 1e-2;
      step.norm = pair.compiled->gradientNorm()->norm;
      ASSERT_TRUE(pair.compiled->step(step).isOk());
    }
    std::vector<float> all;
    for (size_t i = 0; i < pair.compiled->parameters().size(); ++i) {
      std::vector<float> one(static_cast<size_t>(pair.compiled->parameters()[i].elements()));
      ASSERT_TRUE(pair.compiled->read(TrainedValue::Weight, i, one.data()).isOk());
      all.insert(all.end(), one.begin(), one.end());
    }
    results.push_back(std::move(all));
  }
  EXPECT_EQ(results[0], results[1]);
  EXPECT_EQ(results[0], results[2]);
}
} // namespace

TEST(Train, ThreadsDoNotMatter) {
  expectThreadsDoNotMatter("f32");
  expectThreadsDoNotMatter("bf16");
}

namespace {

/// Gradients, one tensor after the other.
std::vector<float> gradients(runtime::Trainer &trainer) {
  std::vector<float> all;
  for (size_t i = 0; i < trainer.parameters().size(); ++i) {
    std::vector<float> one(static_cast<size_t>(trainer.parameters()[i].elements()));
    EXPECT_TRUE(trainer.read(TrainedValue::Gradient, i, one.data()).isOk());
    all.insert(all.end(), one.begin(), one.end());
  }
  return all;
}

void expectSameWhenComputedAgain(const std::string &dtype) {
  formats::ModelConfig config = small();
  config.num_layers = 3;
  MemoryRequest request;
  request.shape = {2, 21, 0, 0};
  MemoryPlan everything, all;
  Pair kept = open(config, 2, request, &everything, dtype);
  EXPECT_TRUE(everything.again.empty());
  EXPECT_EQ(everything.memory.calls.size(), 3u);
  config.layerwise_ckpt = true;
  Pair layerwise = open(config, 2, request, &all, dtype);
  config.layerwise_ckpt = false;
  EXPECT_EQ(all.again, (std::vector<int64_t>{0, 1, 2}));
  EXPECT_LT(all.peak, everything.peak);
  EXPECT_EQ(all.everythingKept, everything.peak);
  // Between both: some layers, the first ones.
  MemoryPlan some;
  request.budget = everything.peak - 1;
  Pair budget = open(config, 2, request, &some, dtype);
  ASSERT_TRUE(kept.compiled && layerwise.compiled && budget.compiled);
  EXPECT_FALSE(some.again.empty());
  EXPECT_LT(some.again.size(), 3u);
  EXPECT_EQ(some.again.front(), 0);
  EXPECT_LE(some.peak, request.budget);

  // The plan says what is allocated.
  for (auto [pair, plan] : {std::pair(&kept, &everything), {&layerwise, &all}}) {
    ASSERT_TRUE(pair->compiled->accumulate(batch(config, 2, 21, 0, 1), 0.1).isOk());
    ASSERT_TRUE(pair->compiled->dropGradients().isOk());
    runtime::TrainerMemory found = pair->compiled->memory();
    const runtime::TrainingMemory &m = plan->memory;
    EXPECT_EQ(found.arenas, m.weights + m.gradients + m.moments);
    EXPECT_EQ(found.prepared, m.prepared);
    EXPECT_EQ(found.state, m.states + m.stateGradients + m.stateBefore + m.kept);
    EXPECT_EQ(found.scratch, m.saved + m.workspace);
  }

  // One piece; pieces by chunks; pieces by documents, whose chunks are open.
  for (auto [rows, length, documents] : std::vector<std::tuple<int64_t, int64_t, double>>{
           {3, 8, 0}, {2, 21, 0}, {2, 21, 0.1}, {3, 6, 0.5}}) {
    TokenBatch tokens = batch(config, rows, length, documents, uint32_t(rows * length));
    std::vector<float> expected;
    for (Pair *pair : {&kept, &layerwise, &budget}) {
      auto loss = pair->compiled->accumulate(tokens, 0.1);
      ASSERT_TRUE(loss.isOk()) << loss.status().message();
      std::vector<float> found = gradients(*pair->compiled);
      if (pair == &kept)
        expected = found;
      EXPECT_EQ(std::memcmp(expected.data(), found.data(), found.size() * 4), 0)
          << rows << " x " << length;
      ASSERT_TRUE(pair->compiled->dropGradients().isOk());
    }
  }
}

} // namespace

TEST(Train, WhatIsComputedAgainIsTheSameBitByBitAndThePlanIsWhatIsAllocated) {
  expectSameWhenComputedAgain("f32");
}
TEST(Train, OfBf16TooAndThePlanCountsItsBytes) { expectSameWhenComputedAgain("bf16"); }

//===----------------------------------------------------------------------===//
// Dropout
//===----------------------------------------------------------------------===//

namespace {

formats::ModelConfig withDropout() {
  formats::ModelConfig config = small();
  config.dropout = 0.2;
  config.hidden_dropout = 0.35;
  return config;
}

TokenBatch noisyBatch(const formats::ModelConfig &config, int64_t rows, int64_t length,
                      double documents, uint32_t seed) {
  TokenBatch tokens = batch(config, rows, length, documents, seed);
  tokens.seed = 0x123456789abcdef0 + seed;
  tokens.step = 1 + seed;
  tokens.firstSample = 3 * seed;
  return tokens;
}

/// Losses and gradients with dropout are those of the reference with the same masks, the loss of
/// an evaluation is that without.
void expectReference(Pair &pair, const TokenBatch &tokens, const std::string &what) {
  auto loss = pair.compiled->loss(tokens), plain = pair.reference->loss(tokens);
  auto found = pair.compiled->accumulate(tokens, 0.1), wanted = pair.reference->accumulate(tokens, 0.1);
  ASSERT_TRUE(loss.isOk() && found.isOk() && wanted.isOk())
      << loss.status().message() << found.status().message();
  EXPECT_NEAR(found->sum, wanted->sum, 1e-4 * (1 + wanted->sum)) << what;
  EXPECT_NEAR(loss->sum, plain->sum, 1e-4 * (1 + plain->sum)) << what;
  if (found->count > 0)
    EXPECT_GT(std::abs(found->sum - loss->sum), 1e-3) << what;
  expectNear(pair, TrainedValue::Gradient, 2e-4, what);
  ASSERT_TRUE(pair.compiled->dropGradients().isOk());
  ASSERT_TRUE(pair.reference->dropGradients().isOk());
}

} // namespace

TEST(Train, DropoutFollowsTheReference) {
  std::vector<formats::ModelConfig> configs(2, withDropout());
  // Heads whose width is no multiple of four.
  configs[1].value_dim = 60;
  configs[1].num_heads = 4;
  configs[1].swiglu = configs[1].rescale_nffn = configs[1].share_emb = true;
  uint32_t seed = 0;
  for (const formats::ModelConfig &config : configs) {
    Pair pair = open(config);
    ASSERT_TRUE(pair.compiled);
    // One piece; pieces by chunks; pieces by documents too.
    for (auto [rows, length, documents] : std::vector<std::tuple<int64_t, int64_t, double>>{
             {3, 8, 0}, {2, 21, 0}, {2, 21, 0.1}, {3, 6, 0.5}})
      expectReference(pair, noisyBatch(config, rows, length, documents, ++seed),
                      "case " + std::to_string(seed));
  }
}

TEST(Train, DropoutFollowsTheReferenceOnASimulatedGpu) {
  formats::ModelConfig config = withDropout();
  config.num_layers = 1;
  Pair pair = open(config, 2, {}, nullptr, "f32", "sim:sm_80");
  ASSERT_TRUE(pair.compiled);
  expectReference(pair, noisyBatch(config, 2, 11, 0, 1), "sim:sm_80");
}

TEST(Train, MasksDependOnNothingButTheirNumbers) {
  formats::ModelConfig config = withDropout();
  TokenBatch tokens = noisyBatch(config, 4, 19, 0.05, 7);
  // Threads, and activations computed again: bit by bit.
  Pair pair = open(config, 1);
  config.layerwise_ckpt = true;
  Pair again = open(config, 2);
  ASSERT_TRUE(pair.compiled && again.compiled);
  double whole = pair.compiled->accumulate(tokens, 0.1)->sum, halves = 0;
  EXPECT_EQ(again.compiled->accumulate(tokens, 0.1)->sum, whole);
  std::vector<float> expected = gradients(*pair.compiled), found = gradients(*again.compiled);
  EXPECT_EQ(std::memcmp(expected.data(), found.data(), found.size() * 4), 0);

  // A batch in two halves; another step, another seed.
  for (int64_t half = 0; half < 2; ++half) {
    TokenBatch part = tokens;
    part.batch = 2;
    part.firstSample += 2 * half;
    auto take = [&](auto &list) {
      auto begin = list.begin() + half * 2 * 19;
      list = {begin, begin + 2 * 19};
    };
    take(part.tokens);
    take(part.targets);
    take(part.starts);
    halves += pair.compiled->accumulate(part, 0.1)->sum;
  }
  EXPECT_NEAR(whole, halves, 1e-5 * whole);
  TokenBatch later = tokens, other = tokens;
  ++later.step;
  ++other.seed;
  EXPECT_GT(std::abs(pair.compiled->accumulate(later, 0.1)->sum - whole), 1e-3);
  EXPECT_GT(std::abs(pair.compiled->accumulate(other, 0.1)->sum - whole), 1e-3);

  // An evaluation is that of the model without dropout, bit by bit.
  Pair plain = open(small());
  ASSERT_TRUE(plain.compiled);
  EXPECT_EQ(plain.compiled->loss(tokens)->sum, pair.compiled->loss(tokens)->sum);
}

TEST(Train, BudgetsThatAreTooSmall) {
  MemoryRequest request;
  request.shape = {2, 21, 4, 21};
  request.budget = 1000;
  ModelFlags flags;
  flags.target = "cpu";
  Status status = planTrainingMemory(small(), "c.toml", flags, request).status();
  EXPECT_EQ(status.code(), Code::Input);
  size_t at = status.message().find("at least ");
  ASSERT_NE(at, std::string::npos) << status.message();
  request.budget = std::stoll(status.message().substr(at + 9)) * 1'000'000;
  Result<MemoryPlan> plan = planTrainingMemory(small(), "c.toml", flags, request);
  ASSERT_TRUE(plan.isOk()) << plan.status().message();
  EXPECT_LE(plan->peak, request.budget);
}

TEST(Train, WhatCannotBeTrained) {
  formats::ModelConfig config = small();
  config.attention_dropout = 0.1;
  runtime::MemoryWeights weights;
  ModelFlags flags;
  Status status = openTrainer(config, "c.toml", {}, weights, flags).status();
  EXPECT_EQ(status.code(), Code::Input);
  EXPECT_NE(status.message().find("attention_dropout"), std::string::npos);
}

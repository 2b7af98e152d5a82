//===- CheckTest.cpp - The machinery of `otodus check` ----------------------===//
//
// Golden and random cases run by the reference: reading, splitting, comparing and
// counting are right before any compiler takes part.
//
//===----------------------------------------------------------------------===//

#include "otodus/Driver/GoldenCase.h"

#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <limits>
#include <sstream>

using namespace otodus;
using namespace otodus::driver;
using reference::Tensor;

namespace {

const char *const kFiles[] = {"attn_base1e5",   "attn_cache",
                              "attn_chunks",    "attn_short",
                              "block_basic",    "block_stream",
                              "cema_basic",     "cema_extreme",
                              "cema_state",     "cema_stream",
                              "ffn_rescale",    "ffn_silu",
                              "ffn_swiglu",     "layer_basic",
                              "model_generate", "model_ragged",
                              "model_stream",   "model_longeval",
                              "model_train",    "tsn_basic",
                              "tsn_mask",       "tsn_offset",
                              "tsn_prior",      "tsn_state",
                              "tsn_stream",     "tiny-megalodon/expected"};

std::string pathOf(const std::string &name) {
  return OTODUS_GOLDEN_DIR "/" + name + ".safetensors";
}

GoldenCase load(const std::string &name, const std::string &dtype = "f32") {
  Result<GoldenCase> golden = readGoldenCase(pathOf(name), dtype);
  if (!golden.isOk()) {
    ADD_FAILURE() << golden.status().message();
    return {};
  }
  return std::move(*golden);
}

struct Outcome {
  Status status;
  CheckCounts counts;
  std::string text;
};

Outcome check(const GoldenCase &golden, CaseRunner &runner, const CheckOptions &options = {}) {
  Outcome outcome;
  std::ostringstream out;
  outcome.status = checkCase(golden, runner, options, out, outcome.counts);
  outcome.text = out.str();
  return outcome;
}

/// The reference with one thing wrong.
class WrongRunner : public CaseRunner {
public:
  enum Fault { Nan, SmallError, ForgetsState, RoundsState, SeesTheBatch, SeesThreads, WrongPrefill };
  explicit WrongRunner(Fault fault) : fault_(fault) {}

  Result<std::unique_ptr<CaseProgram>> compile(const GoldenCase &golden, const std::string &module,
                                               const std::string &dtype) override {
    auto program = right_->compile(golden, module, dtype);
    if (!program.isOk())
      return program;
    return std::unique_ptr<CaseProgram>(
        std::make_unique<Program>(fault_, golden, std::move(*program)));
  }

private:
  struct Session : CaseSession {
    Session(Fault fault, const GoldenCase &golden, CaseProgram &program, int64_t batch,
            int threads)
        : fault(fault), golden(golden), program(program), batch(batch), threads(threads),
          right(std::move(*program.start(batch, 0))) {}
    Status run(const std::vector<CaseInput> &inputs,
               std::map<std::string, Tensor> &outputs) override {
      OTODUS_RETURN_IF_ERROR(right->run(inputs, outputs));
      Tensor &first = outputs.begin()->second;
      if (fault == Nan)
        first[first.size() / 2] = std::nan("");
      if (fault == SmallError)
        for (int64_t i = 0; i < first.size(); ++i) // uneven, or a softmax would not see it
          first[i] += 1e-3 * static_cast<double>(i % 3);
      if ((fault == SeesTheBatch && batch > 1) || (fault == SeesThreads && threads == 2))
        first[0] += 1e-12;
      if (fault == ForgetsState)
        right = std::move(*program.start(batch, 0));
      for (const CaseState &carried : golden.states)
        if (fault == RoundsState && carried.type == CaseType::Float) {
          Tensor value = *right->state(carried.name);
          for (double &element : value.data)
            element = static_cast<float>(element);
          OTODUS_RETURN_IF_ERROR(right->setState(carried.name, carried.type, value));
        }
      return {};
    }
    Result<Tensor> state(const std::string &name) override { return right->state(name); }
    Result<Tensor> prefill(const CaseInput &tokens) override {
      Result<Tensor> logits = right->prefill(tokens);
      if (fault == WrongPrefill && tokens.value.dim(1) > 1)
        (*logits)[logits->size() - 1] += 0.01;
      return logits;
    }
    Status setState(const std::string &name, CaseType type, const Tensor &value) override {
      return right->setState(name, type, value);
    }
    Result<std::vector<int64_t>> positions() override { return right->positions(); }
    Fault fault;
    const GoldenCase &golden;
    CaseProgram &program;
    int64_t batch;
    int threads;
    std::unique_ptr<CaseSession> right;
  };
  struct Program : CaseProgram {
    Program(Fault fault, const GoldenCase &golden, std::unique_ptr<CaseProgram> right)
        : fault(fault), golden(golden), right(std::move(right)) {}
    Result<std::unique_ptr<CaseSession>> start(int64_t batch, int threads) override {
      return std::unique_ptr<CaseSession>(
          std::make_unique<Session>(fault, golden, *right, batch, threads));
    }
    Fault fault;
    const GoldenCase &golden;
    std::unique_ptr<CaseProgram> right;
  };

  Fault fault_;
  std::unique_ptr<CaseRunner> right_ = referenceRunner();
};

class GoldenFiles : public testing::TestWithParam<const char *> {};

TEST_P(GoldenFiles, ReferencePasses) {
  for (const char *dtype : {"f32", "bf16"}) {
    GoldenCase golden = load(GetParam(), dtype);
    Outcome outcome = check(golden, *referenceRunner(), {.dtype = dtype});
    EXPECT_TRUE(outcome.status.isOk()) << outcome.status.message();
    EXPECT_GT(outcome.counts.ok, 0);
    EXPECT_EQ(outcome.counts.failed, 0) << outcome.text;
  }
}

TEST_P(GoldenFiles, NanFails) {
  WrongRunner runner(WrongRunner::Nan);
  GoldenCase golden = load(GetParam());
  EXPECT_GT(check(golden, runner).counts.failed, 0);
}

TEST_P(GoldenFiles, SmallErrorFails) {
  WrongRunner runner(WrongRunner::SmallError);
  GoldenCase golden = load(GetParam());
  if (golden.name.find("_offset") == std::string::npos)
    EXPECT_GT(check(golden, runner).counts.failed, 0);
}

INSTANTIATE_TEST_SUITE_P(All, GoldenFiles, testing::ValuesIn(kFiles));

class StreamedFiles : public testing::TestWithParam<const char *> {};

TEST_P(StreamedFiles, ForgottenStateFails) {
  WrongRunner runner(WrongRunner::ForgetsState);
  GoldenCase golden = load(GetParam());
  EXPECT_FALSE(golden.pieces.empty());
  EXPECT_GT(check(golden, runner, {.forward = false}).counts.failed, 0);
}

INSTANTIATE_TEST_SUITE_P(All, StreamedFiles,
                         testing::Values("attn_cache", "block_stream", "cema_stream",
                                         "model_stream", "tsn_stream"));

TEST(GoldenCase, KnowsWhatItDoesNotCheck) {
  GoldenCase golden = load("cema_basic");
  EXPECT_TRUE(golden.notChecked.empty());
  ASSERT_TRUE(golden.gradients);
  EXPECT_EQ(golden.gradients->expected.size(), 6u);
  // The reference has no gradients behind this interface.
  Outcome outcome = check(golden, *referenceRunner());
  EXPECT_EQ(outcome.counts.notChecked, 6);
  EXPECT_EQ(outcome.counts.ok, 2 + 3); // y and h; threads and batch
  EXPECT_NE(outcome.text.find("grad_x not checked"), std::string::npos);
}

TEST(GoldenCase, ReadsStatesAfterEachPiece) {
  GoldenCase golden = load("tsn_stream");
  EXPECT_EQ(golden.pieces, (std::vector<int64_t>{1, 1, 5, 3, 1, 12}));
  Outcome outcome = check(golden, *referenceRunner());
  // Whole, pieces, states in between, whole vs pieces, threads and batch.
  EXPECT_EQ(outcome.counts.ok, 4 + 4 + 18 + 4 + 3) << outcome.text;
}

TEST(GoldenCase, NothingComparedFails) {
  GoldenCase golden = load("tsn_basic");
  golden.expectations.clear();
  EXPECT_EQ(check(golden, *referenceRunner()).counts.failed, 1);
}

/// The line that begins with `label` and space; "" if there is none.
std::string lineOf(const std::string &text, const std::string &label) {
  size_t begin = text.find("\n  " + label + " ");
  return begin == std::string::npos ? "" : text.substr(begin + 1, text.find('\n', begin + 1) - begin);
}

TEST(GoldenCase, ComparesTheWholeWithItsPieces) {
  GoldenCase golden = load("cema_stream");
  Outcome right = check(golden, *referenceRunner());
  EXPECT_NE(lineOf(right.text, "y (whole vs pieces)").find("ok"), std::string::npos) << right.text;
  EXPECT_NE(lineOf(right.text, "h (whole vs pieces)").find("ok"), std::string::npos) << right.text;
  WrongRunner runner(WrongRunner::ForgetsState);
  Outcome wrong = check(golden, runner);
  EXPECT_NE(lineOf(wrong.text, "y (whole vs pieces)").find("FAIL"), std::string::npos)
      << wrong.text;
}

TEST(GoldenCase, SeesABitThatThreadsOrTheBatchChange) {
  GoldenCase golden = load("cema_stream");
  ASSERT_GT(golden.batch, 1);
  WrongRunner batch(WrongRunner::SeesTheBatch), threads(WrongRunner::SeesThreads);
  Outcome outcome = check(golden, batch);
  EXPECT_NE(lineOf(outcome.text, "elements changed by the batch").find("FAIL"), std::string::npos)
      << outcome.text;
  EXPECT_EQ(outcome.counts.failed, 1) << outcome.text;
  outcome = check(golden, threads);
  EXPECT_NE(lineOf(outcome.text, "elements changed by 2 threads").find("FAIL"), std::string::npos)
      << outcome.text;
  EXPECT_EQ(outcome.counts.failed, 1) << outcome.text;
}

TEST(GoldenCase, ChecksPrefillAgainstForward) {
  for (const char *name : {"model_train", "model_stream", "tiny-megalodon/expected"}) {
    GoldenCase golden = load(name);
    EXPECT_NE(lineOf(check(golden, *referenceRunner()).text, "prefill logits").find("ok"),
              std::string::npos);
    WrongRunner runner(WrongRunner::WrongPrefill);
    Outcome outcome = check(golden, runner);
    EXPECT_NE(lineOf(outcome.text, "prefill logits").find("FAIL"), std::string::npos)
        << outcome.text;
  }
}

TEST(GoldenCase, UnknownOpIsAnInputError) {
  // A checkpoint is no case: it has no op.
  Result<GoldenCase> golden =
      readGoldenCase(OTODUS_GOLDEN_DIR "/tiny-megalodon/model.safetensors", "f32");
  ASSERT_FALSE(golden.isOk());
  Result<GoldenCase> missing = readGoldenCase(pathOf("no_such_file"), "f32");
  ASSERT_FALSE(missing.isOk());
  EXPECT_EQ(missing.status().code(), Code::File);
}

TEST(GoldenCase, ChecksTheSampler) {
  GoldenCase golden = load("sampling_schedule");
  CheckOptions options;
  // Inverts the reference's prefix sums, of a temperature that is `off` too high.
  double off = 0;
  options.draws = [&](const Tensor &logits, reference::SamplingFilter filter, int64_t count) {
    filter.temperature *= 1 + off;
    std::vector<CheckOptions::Draw> draws;
    for (int64_t row = 0; row < logits.dim(0); ++row) {
      auto begin = logits.data.begin() + row * logits.dim(1);
      std::vector<double> p = reference::samplingDistribution(
          std::vector<double>(begin, begin + logits.dim(1)), filter);
      for (int64_t i = 0; i < count; ++i) {
        CheckOptions::Draw draw{row, (double(i) + 0.5) / double(count), 0};
        for (double sum = p[0]; sum <= draw.point; sum += p[size_t(++draw.token)]) {
        }
        draws.push_back(draw);
      }
    }
    return Result<std::vector<CheckOptions::Draw>>(std::move(draws));
  };
  Outcome outcome = check(golden, *referenceRunner(), options);
  EXPECT_EQ(outcome.counts.ok, 10) << outcome.text;
  off = 0.001;
  EXPECT_GT(check(golden, *referenceRunner(), options).counts.failed, 0);
}

TEST(MeasureError, Definitions) {
  Tensor a({2}, {1.0, 4.5}), b({2}, {1.0, 4.0});
  EXPECT_DOUBLE_EQ(measureError(Measure::MaxRelative, a, b), 0.125);
  EXPECT_DOUBLE_EQ(measureError(Measure::Absolute, a, b), 0.5);
  EXPECT_DOUBLE_EQ(measureError(Measure::RelativeRms, a, b), 0.5 / std::sqrt(17));
  EXPECT_DOUBLE_EQ(measureError(Measure::Exact, a, b), 1);
  EXPECT_TRUE(std::isinf(measureError(Measure::MaxRelative, a, Tensor({1}))));
  a[0] = std::numeric_limits<double>::quiet_NaN();
  EXPECT_TRUE(std::isinf(measureError(Measure::RelativeRms, a, b)));
}

class RandomCases : public testing::TestWithParam<CaseKind> {};

TEST_P(RandomCases, WholeSequenceEqualsPieces) {
  for (uint64_t seed = 0; seed < 6; ++seed) {
    GoldenCase golden = randomCase(GetParam(), seed, seed % 2 ? "bf16" : "f32");
    Outcome outcome = check(golden, *referenceRunner());
    EXPECT_TRUE(outcome.status.isOk()) << outcome.status.message();
    EXPECT_GT(outcome.counts.ok, 0) << golden.name;
    EXPECT_EQ(outcome.counts.failed, 0) << golden.name << "\n" << outcome.text;
    if (golden.kind != CaseKind::Model)
      EXPECT_FALSE(moduleFor(golden, "f32").empty());
  }
}

TEST_P(RandomCases, StatesOfF32AreEnough) {
  WrongRunner runner(WrongRunner::RoundsState);
  for (uint64_t seed = 0; seed < 20; ++seed) {
    GoldenCase golden = randomCase(GetParam(), seed, "f32");
    EXPECT_EQ(check(golden, runner).counts.failed, 0) << golden.name;
  }
}

TEST_P(RandomCases, SameSeedSameCase) {
  GoldenCase a = randomCase(GetParam(), 3, "f32"), b = randomCase(GetParam(), 3, "f32");
  EXPECT_EQ(a.inputs[0].value.data, b.inputs[0].value.data);
  EXPECT_EQ(a.pieces, b.pieces);
  GoldenCase c = randomCase(GetParam(), 4, "f32");
  EXPECT_NE(a.inputs[0].value.data, c.inputs[0].value.data);
}

INSTANTIATE_TEST_SUITE_P(Kinds, RandomCases,
                         testing::Values(CaseKind::TimestepNorm, CaseKind::Cema,
                                         CaseKind::Attention, CaseKind::Ffn, CaseKind::Block,
                                         CaseKind::Layer, CaseKind::Model),
                         [](const auto &info) { return std::string(nameOf(info.param)); });

TEST(Module, TimestepNorm) {
  EXPECT_EQ(moduleFor(load("tsn_mask"), "f32"), R"(module {
  mega.weight @weight : tensor<32xf32>
  mega.weight @bias : tensor<32xf32>
  func.func @forward(
      %x: tensor<?x?x32xf32> {mega.name = "x"},
      %padding_mask: tensor<?x?xi1> {mega.name = "padding_mask"},
      %count: tensor<?xi64> {mega.name = "count", mega.state = "count"},
      %mean: tensor<?x4xf32> {mega.name = "mean", mega.state = "mean"},
      %variance: tensor<?x4xf32> {mega.name = "variance", mega.state = "variance"})
      -> (tensor<?x?x32xf32> {mega.name = "y"},
      tensor<?xi64> {mega.name = "count", mega.state = "count"},
      tensor<?x4xf32> {mega.name = "mean", mega.state = "mean"},
      tensor<?x4xf32> {mega.name = "variance", mega.state = "variance"}) {
    %1 = mega.use_weight @weight : tensor<32xf32>
    %2 = mega.use_weight @bias : tensor<32xf32>
    %0:4 = mega.timestep_norm %x, %1, %2, %count, %mean, %variance mask %padding_mask groups(4) eps(1.0e-05) : tensor<?x?x32xf32>, tensor<32xf32>, tensor<?xi64>, tensor<?x4xf32>, tensor<?x?xi1>
    return %0#0, %0#1, %0#2, %0#3 : tensor<?x?x32xf32>, tensor<?xi64>, tensor<?x4xf32>, tensor<?x4xf32>
  }
}
)");
}

TEST(Module, OnlyMatricesAndActivationsAreBf16) {
  std::string module = moduleFor(load("block_basic"), "bf16");
  EXPECT_NE(module.find("@\"param.mega.wv.weight\" : tensor<128x64xbf16>"), std::string::npos);
  EXPECT_NE(module.find("@\"param.mega.wv.bias\" : tensor<128xf32>"), std::string::npos);
  EXPECT_NE(module.find("@\"param.mega.cema.omega\" : tensor<64x1xf32>"), std::string::npos);
  EXPECT_NE(module.find("%position: tensor<?xi64> {mega.name = \"position\", mega.position}"),
            std::string::npos);
  // Data far from 0 stays f32.
  EXPECT_EQ(moduleFor(load("tsn_offset"), "bf16").find("bf16"), std::string::npos);
}

} // namespace

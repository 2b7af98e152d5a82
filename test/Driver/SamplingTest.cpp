//===- SamplingTest.cpp - What the kernel of mega.sample chooses -----------===//
//
// Each test runs the compiled kernel, on a processor and in the simulator of a GPU.
//
//===----------------------------------------------------------------------===//

#include "CompiledSampler.h"

#include "otodus/Formats/Random.h"
#include "otodus/Formats/Safetensors.h"
#include "otodus/Reference/Reference.h"

#include <algorithm>
#include <cmath>
#include <gtest/gtest.h>
#include <limits>
#include <numeric>

using namespace otodus;
using namespace otodus::driver;
using runtime::Sampling;

namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

/// Test parameter: the target.
class SampledToken : public testing::TestWithParam<const char *> {
protected:
  SampledToken() : sampler(flagsOf(GetParam())) {}

  static ModelFlags flagsOf(const char *target) {
    ModelFlags flags;
    flags.target = target;
    flags.noCache = true;
    return flags;
  }

  /// Tokens for rows of logits of one size.
  std::vector<int32_t> sample(const std::vector<std::vector<float>> &rows, const Sampling &options,
                              int64_t position = 1) {
    std::vector<float> flat;
    for (const std::vector<float> &row : rows)
      flat.insert(flat.end(), row.begin(), row.end());
    auto tokens = sampler.sample(flat, int64_t(rows.size()), options, position);
    EXPECT_TRUE(tokens.isOk()) << tokens.status().message();
    return tokens.isOk() ? *tokens : std::vector<int32_t>(rows.size(), -100);
  }

  /// Checks draws for `logits` against the reference's distribution: the share of [0, 1) of a
  /// drawn token holds the random number.
  void expectDistribution(const std::vector<float> &logits, const Sampling &options,
                          int64_t positions, const std::string &what) {
    const int64_t kRows = 16;
    reference::SamplingFilter filter{options.temperature, options.topP, options.topK,
                                     options.minP};
    std::vector<double> p = reference::samplingDistribution(
        std::vector<double>(logits.begin(), logits.end()), filter);
    std::vector<double> upTo(p.size() + 1);
    std::partial_sum(p.begin(), p.end(), upTo.begin() + 1);
    std::vector<std::vector<float>> rows(kRows, logits);
    for (int64_t position = 1; position <= positions; ++position) {
      std::vector<int32_t> tokens = sample(rows, options, position);
      for (int64_t row = 0; row < kRows; ++row) {
        int32_t token = tokens[size_t(row)];
        ASSERT_GE(token, 0) << what;
        ASSERT_LT(token, int64_t(p.size())) << what;
        double point = formats::uniform(options.seed, uint64_t(row), uint64_t(position));
        EXPECT_GE(point, upTo[size_t(token)] - 1e-9) << what << " token " << token;
        EXPECT_LE(point, upTo[size_t(token) + 1] + 1e-9) << what << " token " << token;
      }
    }
  }

  CompiledSampler sampler;
};

std::vector<float> spreadLogits(int64_t size, float scale, uint64_t seed = 3) {
  std::vector<float> logits(static_cast<size_t>(size + 3) / 4 * 4);
  formats::fillNormal(seed, 0, 0, int64_t(logits.size()), logits.data());
  logits.resize(size_t(size));
  for (float &logit : logits)
    logit *= scale;
  return logits;
}

// The distributions of the reference's own filters are in a golden file (otodus check); here are
// more vocabularies than its 40, shorter and longer than what warps and vectors share out.
TEST_P(SampledToken, FollowsTheReferencesDistribution) {
  const Sampling cases[] = {
      {.temperature = 1.0},
      {.temperature = 0.7, .topP = 0.9, .seed = 1},
      {.temperature = 1.3, .topP = 0.5, .topK = 3, .seed = 2},
      {.temperature = 1.0, .topK = 7, .seed = 3},
      {.temperature = 0.3, .topK = 100000, .seed = 4},
      {.temperature = 1.0, .minP = 0.05, .seed = uint64_t(5) << 33},
      {.temperature = 0.9, .topP = 0.8, .minP = 0.02, .seed = 6},
  };
  bool simulated = std::string(GetParam()).starts_with("sim:"); // which is slow
  for (int64_t size : {1, 5, 40, 300, 2051}) {
    std::vector<float> logits = spreadLogits(size, 3);
    for (const Sampling &options : cases)
      expectDistribution(logits, options, simulated ? 1 : 8,
                         std::to_string(size) + " tokens, temperature " +
                             std::to_string(options.temperature));
  }
}

// Ties at the limits of the filters: of equal tokens top-p keeps the first, top-k all.
TEST_P(SampledToken, KeepsTiesAsTheReferenceDoes) {
  std::vector<float> logits(600, -2.0f);
  for (size_t i = 100; i < 600; i += 50)
    logits[i] = 1.5f;
  logits[333] = 2.0f;
  for (double topP : {0.05, 0.1, 0.15, 0.3})
    expectDistribution(logits, {.temperature = 1.0, .topP = topP, .seed = 1}, 3, "top-p");
  for (int64_t topK : {1, 2, 5, 11, 12})
    expectDistribution(logits, {.temperature = 1.0, .topK = topK, .seed = 1}, 3, "top-k");
  // Half of the weight is before the second token, not more: it stays.
  std::vector<float> two = {0, 0, -kInfinity, 0, 0};
  expectDistribution(two, {.temperature = 1.0, .topP = 0.5}, 4, "half");
}

TEST_P(SampledToken, DropsTokensWithoutWeight) {
  std::vector<float> logits(70, -kInfinity);
  logits[66] = std::log(0.6f);
  logits[3] = std::log(0.3f);
  logits[31] = std::log(0.1f);
  expectDistribution(logits, {.temperature = 1.0, .seed = 5}, 8, "-inf");
  expectDistribution(logits, {.temperature = 1e-3, .seed = 5}, 1, "cold");
  expectDistribution(logits, {.temperature = 1e30, .seed = 5}, 1, "hot");
  for (float &logit : logits)
    logit = logit * 1e30f;
  expectDistribution(logits, {.temperature = 1.0, .seed = 5}, 1, "far apart");
}

TEST_P(SampledToken, GreedyTakesTheFirstOfEquals) {
  std::vector<float> plain(40, 0), zeros(40, -1), small(40, -8), last(40, -kInfinity);
  plain[7] = plain[8] = plain[35] = 3;
  zeros[9] = -0.0f;
  zeros[10] = 0.0f;
  small[39] = -7.5f;
  last[39] = -3e38f;
  EXPECT_EQ(sample({plain, zeros, small, last}, {.temperature = 0, .topK = 3}),
            (std::vector<int32_t>{7, 9, 39, 39}));
}

// The draw is a function of seed, sequence and position.
TEST_P(SampledToken, DependsOnSeedSequenceAndPosition) {
  std::vector<std::vector<float>> rows(64, std::vector<float>(128, 0.0f));
  auto draw = [&](uint64_t seed, int64_t position) {
    return sample(rows, {.temperature = 1, .seed = seed}, position);
  };
  std::vector<int32_t> first = draw(5, 10);
  EXPECT_EQ(first, draw(5, 10));
  auto equal = [&](const std::vector<int32_t> &other) {
    int64_t count = 0;
    for (size_t i = 0; i < first.size(); ++i)
      count += first[i] == other[i];
    return count;
  };
  EXPECT_LT(equal(draw(6, 10)), 8);
  EXPECT_LT(equal(draw(5, 11)), 8);
  EXPECT_LT(equal(draw(5, int64_t(10) + (int64_t(1) << 32))), 8);
  EXPECT_LT(equal(std::vector<int32_t>(64, first[0])), 8);
}

TEST_P(SampledToken, NumbersThatAreNoneAreErrors) {
  std::vector<float> nan(40, 0), negative(40, 0), infinite(40, 0), none(40, -kInfinity);
  nan[38] = std::nanf("");
  negative[2] = -std::nanf("");
  infinite[4] = kInfinity;
  for (double temperature : {0.0, 1.0}) {
    std::vector<int32_t> codes = sample({nan, negative, infinite, none},
                                        {.temperature = temperature, .topP = 0.5});
    EXPECT_EQ(codes, (std::vector<int32_t>{formats::kSampledNan, formats::kSampledNan,
                                           formats::kSampledInfinite, formats::kSampledInfinite}));
    for (int32_t code : codes)
      EXPECT_EQ(runtime::checkSampled(code).code(), Code::Input);
  }
  EXPECT_TRUE(runtime::checkSampled(0).isOk());
}

INSTANTIATE_TEST_SUITE_P(Targets, SampledToken, testing::Values("cpu", "cpu:x86-64-v3", "sim:sm_80"),
                         [](const auto &info) {
                           std::string name = info.param;
                           std::replace_if(name.begin(), name.end(),
                                           [](char c) { return !std::isalnum(c); }, '_');
                           return name;
                         });

TEST(Sampling, OptionsAreChecked) {
  EXPECT_TRUE((Sampling{.temperature = 1, .topP = 0.9, .topK = 3, .minP = 0.1}).validate().isOk());
  for (Sampling bad : {Sampling{.temperature = -1}, Sampling{.temperature = NAN},
                       Sampling{.topP = 1.5}, Sampling{.topK = -1}, Sampling{.minP = -0.1}})
    EXPECT_EQ(bad.validate().code(), Code::Usage);
}

} // namespace

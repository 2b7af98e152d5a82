//===- SamplingTest.cpp ----------------------------------------------------===//

#include "Sampling.h"

#include "otodus/Formats/Random.h"
#include "otodus/Formats/Safetensors.h"

#include <cmath>
#include <gtest/gtest.h>
#include <limits>

using namespace otodus;
using namespace otodus::driver;

namespace {

// The distributions of the reference's own filters.
TEST(Sampling, GoldenDistributions) {
  auto file = formats::SafetensorsFile::open(GOLDEN_DIR "/sampling_schedule.safetensors");
  ASSERT_TRUE(file.isOk()) << file.status().message();
  const formats::Tensor *logits = file->find("logits");
  ASSERT_NE(logits, nullptr);
  int64_t rows = logits->shape[0], size = logits->shape[1];
  std::vector<float> values(rows * size);
  ASSERT_TRUE(formats::readAsFloat(*logits, 0, rows * size, values.data()).isOk());

  struct {
    const char *name;
    SamplingOptions options;
  } cases[] = {
      {"probs_t1.0", {.temperature = 1.0}},
      {"probs_t0.7", {.temperature = 0.7}},
      {"top_p0.5_t1.0", {.temperature = 1.0, .topP = 0.5}},
      {"top_p0.9_t1.0", {.temperature = 1.0, .topP = 0.9}},
      {"top_p0.9_t0.7", {.temperature = 0.7, .topP = 0.9}},
      {"top_p0.5_t0.7", {.temperature = 0.7, .topP = 0.5}},
      {"top_k1_t1.0", {.temperature = 1.0, .topK = 1}},
      {"top_k5_t1.0", {.temperature = 1.0, .topK = 5}},
      {"top_k5_t0.7", {.temperature = 0.7, .topK = 5}},
      // Top-p goes before top-k.
      {"top_p0.9_t1.0", {.temperature = 1.0, .topP = 0.9, .topK = 1}},
  };
  for (auto &[name, options] : cases) {
    const formats::Tensor *expected = file->find(name);
    ASSERT_NE(expected, nullptr) << name;
    std::vector<double> wanted(rows * size);
    ASSERT_TRUE(formats::readAsDouble(*expected, 0, rows * size, wanted.data()).isOk());
    for (int64_t row = 0; row < rows; ++row) {
      auto found = Sampler(options).distribution(values.data() + row * size, size);
      ASSERT_TRUE(found.isOk()) << found.status().message();
      for (int64_t i = 0; i < size; ++i)
        EXPECT_NEAR((*found)[i], wanted[row * size + i], 1e-9) << name << " row " << row << " at " << i;
    }
  }
}

// 64 tokens are sorted at first; the set kept must not depend on that.
TEST(Sampling, TopPOfManyTokens) {
  std::vector<float> logits(5000);
  for (size_t i = 0; i < logits.size(); ++i)
    logits[i] = float((i * 2654435761u) % 1000) / 1000;
  SamplingOptions options{.temperature = 1.0, .topP = 0.5};
  auto found = Sampler(options).distribution(logits.data(), logits.size());
  auto all = Sampler({.temperature = 1.0}).distribution(logits.data(), logits.size());
  ASSERT_TRUE(found.isOk() && all.isOk());
  double kept = 0, leastKept = 1, mostDropped = 0;
  for (size_t i = 0; i < logits.size(); ++i) {
    if ((*found)[i] > 0) {
      kept += (*all)[i];
      leastKept = std::min(leastKept, (*all)[i]);
    } else {
      mostDropped = std::max(mostDropped, (*all)[i]);
    }
  }
  EXPECT_GT(kept, 0.5);
  EXPECT_LT(kept, 0.5 + 1e-3);
  EXPECT_GE(leastKept, mostDropped);
}

TEST(Sampling, MinPDropsRelativeToTheLikeliest) {
  std::vector<float> logits = {std::log(0.5f), std::log(0.3f), std::log(0.15f), std::log(0.05f)};
  auto found = Sampler({.temperature = 1.0, .minP = 0.35}).distribution(logits.data(), 4);
  ASSERT_TRUE(found.isOk());
  EXPECT_NEAR((*found)[0], 0.625, 1e-6);
  EXPECT_NEAR((*found)[1], 0.375, 1e-6);
  EXPECT_EQ((*found)[2], 0);
  EXPECT_EQ((*found)[3], 0);
}

TEST(Sampling, GreedyTakesTheFirstOfEquals) {
  std::vector<float> logits = {1, 3, 3, 2};
  auto token = Sampler({.temperature = 0, .topK = 3}).sample(logits.data(), 4, 0);
  ASSERT_TRUE(token.isOk());
  EXPECT_EQ(*token, 1);
}

// The draw is a function of seed, stream and position, and follows the distribution.
TEST(Sampling, Draws) {
  std::vector<float> logits = {std::log(0.6f), std::log(0.3f), -std::numeric_limits<float>::infinity(),
                               std::log(0.1f)};
  Sampler a({.temperature = 1, .seed = 5}), b({.temperature = 1, .seed = 5}), c({.temperature = 1, .seed = 6});
  std::vector<int> counts(4);
  int differ = 0, differStream = 0;
  const int draws = 20000;
  for (int i = 0; i < draws; ++i) {
    auto token = a.sample(logits.data(), 4, i);
    ASSERT_TRUE(token.isOk());
    ++counts[*token];
    EXPECT_EQ(*token, *b.sample(logits.data(), 4, i));
    differ += *token != *c.sample(logits.data(), 4, i);
    differStream += *token != *a.sample(logits.data(), 4, i, 1);
    double point = formats::uniform(5, 0, i);
    EXPECT_EQ(*token, point < 0.6 - 1e-6 ? 0 : point < 0.9 - 1e-6 && point > 0.6 + 1e-6 ? 1 : *token);
  }
  EXPECT_NEAR(counts[0] / double(draws), 0.6, 0.02);
  EXPECT_NEAR(counts[1] / double(draws), 0.3, 0.02);
  EXPECT_EQ(counts[2], 0);
  EXPECT_GT(differ, draws / 4);
  EXPECT_GT(differStream, draws / 4);
}

TEST(Sampling, NanIsAnError) {
  std::vector<float> logits = {0, NAN};
  for (double temperature : {0.0, 1.0}) {
    auto token = Sampler({.temperature = temperature}).sample(logits.data(), 2, 0);
    ASSERT_FALSE(token.isOk());
    EXPECT_EQ(token.status().code(), Code::Input);
  }
}

TEST(Sampling, OptionsAreChecked) {
  EXPECT_TRUE((SamplingOptions{.temperature = 1, .topP = 0.9, .topK = 3, .minP = 0.1}).validate().isOk());
  for (SamplingOptions bad : {SamplingOptions{.temperature = -1}, SamplingOptions{.temperature = NAN},
                              SamplingOptions{.topP = 1.5}, SamplingOptions{.topK = -1},
                              SamplingOptions{.minP = -0.1}})
    EXPECT_EQ(bad.validate().code(), Code::Usage);
}

} // namespace

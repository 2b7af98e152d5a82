//===- SamplerTest.cpp -----------------------------------------------------===//

#include "TestSupport.h"
#include "otodus/Training/Sampler.h"

#include <set>

using namespace otodus;
using namespace otodus::training;

namespace {
std::vector<int32_t> upTo(int32_t count) {
  std::vector<int32_t> tokens;
  for (int32_t i = 0; i < count; ++i)
    tokens.push_back(i);
  return tokens;
}
} // namespace

TEST(Sampler, PermutationHitsEverythingOnce) {
  for (int64_t size : {1, 2, 3, 5, 64, 1000, 4097}) {
    std::set<int64_t> seen;
    int64_t fixed = 0;
    for (int64_t i = 0; i < size; ++i) {
      int64_t value = permute(i, size, 7, 3);
      EXPECT_GE(value, 0);
      EXPECT_LT(value, size);
      seen.insert(value);
      fixed += value == i;
    }
    EXPECT_EQ(int64_t(seen.size()), size);
    if (size > 100)
      EXPECT_LT(fixed, 10);
  }
  EXPECT_NE(permute(5, 100000, 7, 3), permute(5, 100000, 7, 4));
  EXPECT_NE(permute(5, 100000, 7, 3), permute(5, 100000, 8, 3));
}

TEST(Sampler, ShuffledPassesOverTheData) {
  Result<Sampler> sampler =
      Sampler::create(TokenData::fromMemory(upTo(101)), DataOrder::Shuffled, 10, 1);
  ASSERT_TRUE(sampler.isOk());
  EXPECT_EQ(sampler->windows(), 10);
  std::vector<int64_t> first, second;
  for (int64_t i = 0; i < 20; ++i)
    (i < 10 ? first : second).push_back(sampler->begin(i));
  EXPECT_NE(first, second);
  std::sort(first.begin(), first.end());
  std::sort(second.begin(), second.end());
  EXPECT_EQ(first, second);
  EXPECT_EQ(first.front(), 0);
  EXPECT_EQ(first.back(), 90);
}

TEST(Sampler, RandomReachesBothEnds) {
  Result<Sampler> sampler =
      Sampler::create(TokenData::fromMemory(upTo(20)), DataOrder::Random, 16, 1);
  ASSERT_TRUE(sampler.isOk());
  std::set<int64_t> seen;
  for (int64_t i = 0; i < 100; ++i)
    seen.insert(sampler->begin(i));
  EXPECT_EQ(seen, (std::set<int64_t>{0, 1, 2, 3})); // the last target is the last token
  runtime::TokenBatch batch = sampler->batch(40, 3);
  for (int64_t row = 0; row < 3; ++row)
    for (int64_t i = 0; i < 16; ++i) {
      EXPECT_EQ(batch.tokens[row * 16 + i], sampler->begin(40 + row) + i);
      EXPECT_EQ(batch.targets[row * 16 + i], sampler->begin(40 + row) + i + 1);
      EXPECT_EQ(batch.starts[row * 16 + i], i == 0);
    }
}

TEST(Sampler, DocumentsInAWindow) {
  // Documents 0 1 2 | 3 | 4 … 9
  TokenData data = TokenData::fromMemory(upTo(10), {0, 3, 4});
  runtime::TokenBatch batch;
  batch.batch = 1;
  batch.length = 6;
  batch.tokens.resize(6);
  batch.targets.resize(6);
  batch.starts.resize(6);
  fillRow(data, 1, 0, batch);
  EXPECT_EQ(batch.tokens, (std::vector<int32_t>{1, 2, 3, 4, 5, 6}));
  EXPECT_EQ(batch.targets, (std::vector<int32_t>{2, -100, -100, 5, 6, 7}));
  EXPECT_EQ(batch.starts, (std::vector<uint8_t>{1, 0, 1, 1, 0, 0}));
  // The token after the window belongs to another document.
  batch.length = 2;
  batch.tokens.resize(2);
  batch.targets.resize(2);
  batch.starts.resize(2);
  fillRow(data, 2, 0, batch);
  EXPECT_EQ(batch.targets, (std::vector<int32_t>{-100, -100}));
  fillRow(data, 1, 0, batch);
  EXPECT_EQ(batch.targets, (std::vector<int32_t>{2, -100}));
  EXPECT_EQ(batch.starts, (std::vector<uint8_t>{1, 0}));
}

TEST(Sampler, SequenceLongerThanTheData) {
  test::expectError(
      Sampler::create(TokenData::fromMemory(upTo(16)), DataOrder::Random, 16, 1).status(),
      Code::Input, {"16 tokens", "train.length"});
  EXPECT_TRUE(Sampler::create(TokenData::fromMemory(upTo(17)), DataOrder::Random, 16, 1).isOk());
}

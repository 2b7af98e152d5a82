//===- RandomTest.cpp ------------------------------------------------------===//

#include "otodus/Formats/Random.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <vector>

using namespace otodus::formats;

// The known-answer vectors published with the generator.
TEST(Philox, Vectors) {
  using A4 = std::array<uint32_t, 4>;
  EXPECT_EQ(philox({0, 0, 0, 0}, {0, 0}), (A4{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  const uint32_t f = 0xffffffff;
  EXPECT_EQ(philox({f, f, f, f}, {f, f}), (A4{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(philox({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}),
            (A4{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(Random, UniformIsInRangeAndFlat) {
  int bins[10] = {};
  for (uint64_t i = 0; i < 100000; ++i) {
    double u = uniform(1, 0, i);
    ASSERT_GE(u, 0);
    ASSERT_LT(u, 1);
    ++bins[int(u * 10)];
  }
  for (int count : bins)
    EXPECT_NEAR(count, 10000, 400);
}

namespace {
struct Moments {
  double mean = 0, variance = 0, fourth = 0;
};
Moments momentsOf(const std::vector<float> &x) {
  Moments m;
  for (float v : x)
    m.mean += v / double(x.size());
  for (float v : x) {
    double d = v - m.mean;
    m.variance += d * d / double(x.size());
    m.fourth += d * d * d * d / double(x.size());
  }
  return m;
}
} // namespace

TEST(Random, NormalHasItsMomentsAndQuantiles) {
  std::vector<float> x(1 << 20);
  fillNormal(42, 7, 0, int64_t(x.size()), x.data());
  Moments m = momentsOf(x);
  EXPECT_NEAR(m.mean, 0, 5e-3);
  EXPECT_NEAR(m.variance, 1, 7e-3);
  EXPECT_NEAR(m.fourth, 3, 5e-2);
  double worst = 0;
  std::sort(x.begin(), x.end());
  for (size_t i = 0; i < x.size(); i += 1000) {
    double phi = 0.5 * std::erfc(-x[i] / std::sqrt(2.0));
    worst = std::max(worst, std::fabs(phi - double(i) / double(x.size())));
  }
  // Kolmogorov: 1.63 / sqrt(n) is the 1 % level.
  EXPECT_LT(worst, 1.63 / std::sqrt(double(x.size())));
  EXPECT_GT(x.back(), 4.3f);
  EXPECT_LT(x.front(), -4.3f);
}

TEST(Random, NormalAgreesWithBoxMullerInDouble) {
  std::vector<float> x(4000);
  fillNormal(9, 3, 0, int64_t(x.size()), x.data());
  for (uint32_t block = 0; block < 1000; ++block) {
    auto w = philox({block, 0, 3, 0}, {9, 0});
    for (int half = 0; half < 2; ++half) {
      uint32_t word = w[size_t(2 * half)];
      double u = word < 256 ? (word + 1) * 0x1p-32 : ((word >> 8) + 1) * 0x1p-24;
      double r = std::sqrt(-2 * std::log(u)), angle = 2 * M_PI * w[size_t(2 * half + 1)] * 0x1p-32;
      EXPECT_NEAR(x[4 * block + size_t(2 * half)], r * std::cos(angle), 2e-6);
      EXPECT_NEAR(x[4 * block + size_t(2 * half) + 1], r * std::sin(angle), 2e-6);
    }
  }
}

TEST(Random, PiecesDoNotMatter) {
  std::vector<float> whole(1003), pieces(1003);
  fillNormal(5, 2, 0, 1003, whole.data());
  fillNormal(5, 2, 0, 400, pieces.data());
  fillNormal(5, 2, 400, 603, pieces.data() + 400);
  EXPECT_EQ(whole, pieces);
  fillTruncatedNormal(5, 2, 0, 1003, 1.0f, whole.data());
  fillTruncatedNormal(5, 2, 0, 400, 1.0f, pieces.data());
  fillTruncatedNormal(5, 2, 400, 603, 1.0f, pieces.data() + 400);
  EXPECT_EQ(whole, pieces);
}

TEST(Random, TruncatedNormalStaysInsideAndKeepsItsShape) {
  std::vector<float> x(1 << 18);
  fillTruncatedNormal(1, 1, 0, int64_t(x.size()), 2.0f, x.data());
  for (float v : x)
    ASSERT_LE(std::fabs(v), 2.0f);
  // The variance of a normal truncated to two standard deviations.
  EXPECT_NEAR(momentsOf(x).variance, 0.7737, 6e-3);
}

TEST(Random, UniformSymmetric) {
  std::vector<float> x(1 << 18);
  fillUniform(1, 1, 0, int64_t(x.size()), x.data());
  EXPECT_LT(*std::max_element(x.begin(), x.end()), 1.0f);
  EXPECT_GT(*std::min_element(x.begin(), x.end()), -1.0f);
  EXPECT_NEAR(momentsOf(x).mean, 0, 5e-3);
  EXPECT_NEAR(momentsOf(x).variance, 1.0 / 3, 5e-3);
}

TEST(Random, SeedsAndStreamsDiffer) {
  float a[4], b[4], c[4];
  fillNormal(1, 0, 0, 4, a);
  fillNormal(2, 0, 0, 4, b);
  fillNormal(1, 1, 0, 4, c);
  EXPECT_NE(a[0], b[0]);
  EXPECT_NE(a[0], c[0]);
  EXPECT_NE(b[0], c[0]);
}

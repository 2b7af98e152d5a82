//===- WgmmaTest.cpp - wgmma against float64 products ----------------------===//
//
// Matrices are laid out here from the tables of the PTX ISA ("Strides", "Canonical layouts"),
// element by element, and not by the simulator's code; random values are multiples of 1/4, so that
// sums are exact and the comparison is too.
//
//===----------------------------------------------------------------------===//

#include "SimKernels.h"

#include <gtest/gtest.h>
#include <random>

using namespace otodus::sim::test;

namespace {

struct Layout {
  uint32_t span; ///< swizzle, bytes; 0: none
  bool transpose; ///< MN-major
};

const Kernels &kernels() {
  static const Kernels all("device/wgmma.mlir");
  return all;
}

/// Places a matrix of rows x 16 into `image` (bytes) from `start` on, and returns its descriptor.
/// Tiles of the canonical layout: K-major, 8 rows of S bytes (16 without swizzle); MN-major, 8 k of
/// S bytes. Strides are chosen larger than needed, so that a wrong one is seen.
uint64_t place(std::vector<uint8_t> &image, uint64_t start, Layout layout, uint32_t rows,
               const std::vector<float> &matrix, uint64_t &end) {
  uint64_t span = layout.span ? layout.span : 16;
  uint64_t repeat = layout.span ? 8 * span : 128;
  // `tile` strides: along the direction that the tile's rows run, and along the other one.
  uint64_t leading = 0, stride = 0;
  uint64_t groups = layout.transpose ? 2 : rows / 8; // groups of 8 tile rows
  auto offset = [&](uint32_t row, uint32_t k) {
    uint64_t slow = layout.transpose ? k : row, fast = layout.transpose ? row : k;
    uint64_t byte = 2 * fast;
    if (layout.span || !layout.transpose) {
      if (layout.span == 0) // K-major without swizzle: chunks of 8 k are `leading` apart
        return slow / 8 * stride + slow % 8 * 16 + byte / 16 * leading + byte % 16;
      return slow / 8 * stride + slow % 8 * span + byte / span * leading + byte % span;
    }
    // MN-major without swizzle: groups of 8 k are `leading` apart, chunks of 8 rows `stride`.
    return slow / 8 * leading + slow % 8 * 16 + byte / 16 * stride + byte % 16;
  };
  if (layout.span == 0 && !layout.transpose) {
    stride = 128;
    leading = groups * 128 + 256;
  } else if (layout.span == 0) {
    stride = 128;
    leading = rows / 8 * 128 + 384;
  } else if (!layout.transpose) {
    stride = repeat + repeat; // a gap between groups of 8 rows
  } else {
    stride = repeat;
    leading = 2 * repeat + repeat;
  }
  end = start;
  for (uint32_t row = 0; row < rows; ++row)
    for (uint32_t k = 0; k < 16; ++k) {
      uint64_t at = start + offset(row, k);
      if (layout.span) // 16-byte chunks are permuted inside rows of `span` bytes
        at ^= (at / 128 % (layout.span / 16)) * 16;
      uint16_t bits = bf16(matrix[row * 16 + k]);
      if (at + 2 > image.size())
        image.resize(at + 2);
      std::memcpy(&image[at], &bits, 2);
      end = std::max(end, at + 2);
    }
  uint64_t mode = layout.span == 128 ? 1 : layout.span == 64 ? 2 : layout.span == 32 ? 3 : 0;
  return start >> 4 | leading >> 4 << 16 | stride >> 4 << 32 | mode << 62;
}

std::vector<float> randomMatrix(size_t count, uint32_t seed) {
  std::mt19937 random(seed);
  std::vector<float> values(count);
  for (float &value : values)
    value = static_cast<float>(static_cast<int>(random() % 17) - 8) / 4;
  return values;
}

/// D of the PTX ISA's figure for wgmma m64nNk16: fragments of 128 threads to a matrix.
std::vector<double> gather(const std::vector<float> &fragments, uint32_t n) {
  std::vector<double> d(64 * n);
  for (uint32_t t = 0; t < 128; ++t)
    for (uint32_t i = 0; i < n / 2; ++i) {
      uint32_t row = t / 32 * 16 + t % 32 / 4 + (i & 2 ? 8 : 0);
      uint32_t column = i / 4 * 8 + t % 4 * 2 + (i & 1);
      d[row * n + column] = fragments[t * (n / 2) + i];
    }
  return d;
}

void check(const std::string &kernel, uint32_t n, Layout a, Layout b, bool keep,
           OtodusSimAsync async = OTODUS_SIM_LATE) {
  std::vector<float> ma = randomMatrix(64 * 16, 1), mb = randomMatrix(n * 16, 2);
  std::vector<uint8_t> image;
  uint64_t end = 0;
  uint64_t da = place(image, 1024, a, 64, ma, end);
  uint64_t db = place(image, (end + 1023) / 1024 * 1024 + 2048, b, n, mb, end);
  image.resize((image.size() + 15) / 16 * 16);
  std::vector<float> accumulator(128 * (n / 2)), out(accumulator.size(), -1);
  for (size_t i = 0; i < accumulator.size(); ++i)
    accumulator[i] = static_cast<float>(i % 29);
  Launch launch(kernels()[kernel], 128, 200 << 10);
  launch.async(async)
      .buffer(image, "image")
      .value(static_cast<int32_t>(image.size()))
      .value(da)
      .value(db)
      .value(static_cast<int32_t>(keep))
      .buffer(accumulator, "accumulator")
      .buffer(out, "out", false);
  ASSERT_EQ(launch.run(), OTODUS_SIM_OK) << launch.reports();
  std::vector<double> c = gather(accumulator, n), d = gather(out, n);
  uint32_t wrong = 0;
  for (uint32_t row = 0; row < 64; ++row)
    for (uint32_t column = 0; column < n; ++column) {
      double sum = keep ? c[row * n + column] : 0;
      for (uint32_t k = 0; k < 16; ++k)
        sum += double(ma[row * 16 + k]) * double(mb[column * 16 + k]);
      wrong += !(d[row * n + column] == sum);
    }
  EXPECT_EQ(wrong, 0u) << kernel << ", spans " << a.span << " and " << b.span;
}

TEST(Wgmma, EveryMajornessAndSwizzle) {
  const char *const names[2][2] = {{"wgmma_n64_kk", "wgmma_n64_kn"},
                                   {"wgmma_n64_mk", "wgmma_n64_mn"}};
  for (bool ta : {false, true})
    for (bool tb : {false, true})
      for (uint32_t sa : {0u, 32u, 64u, 128u})
        for (uint32_t sb : {0u, 32u, 64u, 128u})
          check(names[ta][tb], 64, {sa, ta}, {sb, tb}, (sa + sb) % 96 == 0);
}

TEST(Wgmma, NarrowestAndWidest) {
  for (uint32_t span : {0u, 32u, 64u, 128u}) {
    check("wgmma_n8_kk", 8, {span, false}, {span, false}, true);
    check("wgmma_n256_kk", 256, {span, false}, {span, false}, true);
    check("wgmma_n256_mn", 256, {span, true}, {span, true}, false);
  }
}

TEST(Wgmma, WhenItRunsDoesNotMatter) {
  for (OtodusSimAsync async : {OTODUS_SIM_LATE, OTODUS_SIM_EARLY, OTODUS_SIM_MIXED})
    check("wgmma_n64_kk", 64, {128, false}, {64, false}, true, async);
}

TEST(Wgmma, RegistersOfA) {
  for (bool transpose : {false, true})
    for (uint32_t span : {0u, 32u, 64u, 128u}) {
      std::vector<float> ma = randomMatrix(64 * 16, 3), mb = randomMatrix(64 * 16, 4);
      std::vector<uint8_t> image;
      uint64_t end = 0;
      uint64_t db = place(image, 1024, {span, transpose}, 64, mb, end);
      image.resize((image.size() + 15) / 16 * 16);
      // The PTX ISA's figure for A in registers.
      std::vector<uint32_t> registers(128 * 4);
      for (uint32_t t = 0; t < 128; ++t)
        for (uint32_t r = 0; r < 4; ++r) {
          uint32_t row = t / 32 * 16 + t % 32 / 4 + (r & 1 ? 8 : 0);
          uint32_t k = t % 4 * 2 + (r & 2 ? 8 : 0);
          uint32_t high = bf16(ma[row * 16 + k + 1]);
          registers[4 * t + r] = bf16(ma[row * 16 + k]) | high << 16;
        }
      std::vector<float> out(128 * 32, -1);
      Launch launch(kernels()[transpose ? "wgmma_ra_n64_n" : "wgmma_ra_n64_k"]);
      launch.buffer(image, "image")
          .value(static_cast<int32_t>(image.size()))
          .buffer(registers, "a")
          .value(db)
          .buffer(out, "out", false);
      ASSERT_EQ(launch.run(), OTODUS_SIM_OK) << launch.reports();
      std::vector<double> d = gather(out, 64);
      for (uint32_t row = 0; row < 64; ++row)
        for (uint32_t column = 0; column < 64; ++column) {
          double sum = 0;
          for (uint32_t k = 0; k < 16; ++k)
            sum += double(ma[row * 16 + k]) * double(mb[column * 16 + k]);
          ASSERT_EQ(d[row * 64 + column], sum) << row << " " << column << " span " << span;
        }
    }
}

//===----------------------------------------------------------------------===//
// Descriptors that are refused
//===----------------------------------------------------------------------===//

std::string refusal(uint64_t a, uint64_t b) {
  std::vector<uint8_t> image(32768);
  std::vector<float> accumulator(128 * 32), out(128 * 32);
  Launch launch(kernels()["wgmma_n64_kk"]);
  launch.buffer(image, "image")
      .value(32768)
      .value(a)
      .value(b)
      .value(0)
      .buffer(accumulator, "accumulator")
      .buffer(out, "out");
  EXPECT_EQ(launch.run(), OTODUS_SIM_FAULT);
  return launch.reports();
}

constexpr uint64_t kFine = 1ull << 62 | 64ull << 32; // 128 bytes, groups 1024 bytes apart

TEST(Wgmma, RefusedDescriptors) {
  EXPECT_NE(refusal(kFine | (128 >> 4), kFine)
                .find("in the middle of the pattern of a swizzle of 128 bytes"),
            std::string::npos);
  EXPECT_NE(refusal(kFine, kFine | 1ull << 49).find("has a base offset, which is not simulated"),
            std::string::npos);
  EXPECT_NE(refusal(kFine, kFine | (112 >> 4)).find("16 elements of K do not fit"),
            std::string::npos);
  // 64 rows reach beyond shared memory.
  EXPECT_NE(refusal(kFine | ((65536 - 4096) >> 4), kFine).find("but the block has"),
            std::string::npos);
}

} // namespace

//===- TensorCopyTest.cpp - Boxes of tensors, against element-wise copies --===//

#include "SimKernels.h"

#include <gtest/gtest.h>
#include <numeric>

using namespace otodus::sim::test;

namespace {

const Kernels &kernels() {
  static const Kernels all("device/tma.mlir");
  return all;
}

/// Where byte `at` of a box lies under a swizzle: the ISA's patterns exchange 16-byte chunks of a
/// row of `span` bytes by the row's number in the repeating pattern.
uint64_t swizzled(uint64_t at, uint32_t span) {
  return span ? at ^ (at / 128 % (span / 16) * 16) : at;
}

struct Case {
  std::vector<uint64_t> size;
  std::vector<uint32_t> box;
  uint32_t swizzle;
  std::vector<int32_t> at;
};

/// The box's elements as an element-wise copy leaves them in shared memory; `outside` where the
/// tensor ends.
std::vector<uint16_t> expected(const Case &c, const std::vector<uint16_t> &tensor,
                               uint16_t outside) {
  uint64_t count = 1;
  for (uint32_t extent : c.box)
    count *= extent;
  std::vector<uint16_t> result(count);
  for (uint64_t i = 0; i < count; ++i) {
    uint64_t rest = i, index = 0, pitch = 1;
    bool inside = true;
    for (size_t d = 0; d < c.box.size(); ++d) {
      int64_t at = c.at[d] + static_cast<int64_t>(rest % c.box[d]);
      rest /= c.box[d];
      inside &= at >= 0 && at < static_cast<int64_t>(c.size[d]);
      index += static_cast<uint64_t>(at) * pitch;
      pitch *= c.size[d];
    }
    result[swizzled(2 * i, c.swizzle) / 2] = inside ? tensor[index] : outside;
  }
  return result;
}

std::string name(const char *what, size_t rank) {
  return what + std::to_string(rank) + "d";
}

const Case kCases[] = {
    {{64}, {64}, 0, {0}},
    {{64}, {32}, 0, {48}},  // overhangs
    {{64}, {32}, 0, {-16}}, // begins before the tensor
    {{64, 16}, {64, 16}, 128, {0, 0}},
    {{96, 20}, {64, 8}, 128, {64, 16}}, // overhangs in both directions
    {{96, 20}, {64, 8}, 128, {-40, -3}},
    {{64, 16}, {32, 16}, 64, {16, 4}},
    {{64, 16}, {16, 16}, 32, {48, 8}},
    {{64, 16}, {40, 5}, 0, {8, 3}},
    {{64, 16}, {64, 4}, 128, {64, 0}}, // wholly outside
    {{24, 6, 5}, {16, 4, 3}, 32, {16, 3, 3}},
    {{64, 6, 5}, {64, 2, 2}, 128, {0, -1, 4}},
};

TEST(TensorCopy, Load) {
  for (const Case &c : kCases)
    for (bool nan : {false, true}) {
      std::vector<uint16_t> tensor(std::accumulate(c.size.begin(), c.size.end(), uint64_t(1),
                                                   std::multiplies<>()));
      for (size_t i = 0; i < tensor.size(); ++i)
        tensor[i] = static_cast<uint16_t>(i + 1);
      std::vector<uint16_t> want = expected(c, tensor, nan ? 0xffff : 0), out(want.size());
      Launch launch(kernels()[name("tma_load_", c.size.size())]);
      launch.hidden(tensor, "tensor")
          .map(encode(OTODUS_SIM_BF16, tensor.data(), c.size, c.box, c.swizzle, 0, nan))
          .buffer(out, "out", false)
          .value(static_cast<int32_t>(2 * want.size()));
      for (int32_t at : c.at)
        launch.value(at);
      ASSERT_EQ(launch.run(), OTODUS_SIM_OK) << launch.reports();
      EXPECT_EQ(out, want) << "case " << &c - kCases;
    }
}

TEST(TensorCopy, Store) {
  for (const Case &c : kCases) {
    std::vector<uint16_t> tensor(std::accumulate(c.size.begin(), c.size.end(), uint64_t(1),
                                                 std::multiplies<>()),
                                 0x1111);
    std::vector<uint16_t> source(tensor.size());
    for (size_t i = 0; i < tensor.size(); ++i)
      source[i] = static_cast<uint16_t>(i + 1);
    // A box that holds what a load of `source` would bring: it must come back where it was.
    std::vector<uint16_t> image = expected(c, source, 0xdead), want = tensor;
    for (uint16_t value : image)
      if (value != 0xdead)
        want[value - 1] = value;
    Launch launch(kernels()[name("tma_store_", c.size.size())]);
    launch.hidden(tensor, "tensor")
        .map(encode(OTODUS_SIM_BF16, tensor.data(), c.size, c.box, c.swizzle))
        .buffer(image, "image")
        .value(static_cast<int32_t>(2 * image.size()));
    for (int32_t at : c.at)
      launch.value(at);
    ASSERT_EQ(launch.run(), OTODUS_SIM_OK) << launch.reports();
    EXPECT_EQ(tensor, want) << "case " << &c - kCases;
  }
}

TEST(TensorCopy, AddOfF32) {
  // Two blocks add to one tensor: sums are reported as no collision.
  std::vector<float> tensor(32 * 8), image(32 * 8);
  for (size_t i = 0; i < tensor.size(); ++i) {
    tensor[i] = static_cast<float>(i);
    image[swizzled(4 * i, 128) / 4] = static_cast<float>(1000 + i);
  }
  Launch launch(kernels()["tma_add_2d"]);
  launch.hidden(tensor, "tensor")
      .map(encode(OTODUS_SIM_F32, tensor.data(), {32, 8}, {32, 8}, 128))
      .buffer(image, "image")
      .value(static_cast<int32_t>(4 * image.size()))
      .value(0)
      .value(0)
      .grid(2);
  ASSERT_EQ(launch.run(), OTODUS_SIM_OK) << launch.reports();
  for (size_t i = 0; i < tensor.size(); ++i)
    ASSERT_EQ(tensor[i], static_cast<float>(2000 + 3 * i));
}

TEST(TensorCopy, MulticastToACluster) {
  // Each of two blocks loads 8 of 16 rows into both.
  const Kernels clusters("clusters.mlir");
  std::vector<uint16_t> tensor(64 * 16), out(2 * tensor.size());
  std::iota(tensor.begin(), tensor.end(), uint16_t(1));
  Launch launch(clusters["multicast"], 64, 4096);
  launch.hidden(tensor, "tensor")
      .map(encode(OTODUS_SIM_BF16, tensor.data(), {64, 16}, {64, 8}, 128))
      .buffer(out, "out", false)
      .cluster(2);
  ASSERT_EQ(launch.run(), OTODUS_SIM_OK) << launch.reports();
  for (size_t block = 0; block < 2; ++block)
    for (size_t i = 0; i < tensor.size(); ++i)
      ASSERT_EQ(out[block * tensor.size() + swizzled(2 * i, 128) / 2], tensor[i]);
}

TEST(TensorCopy, AddOfBf16RoundsEachSum) {
  std::vector<uint16_t> tensor(64, bf16(256)), image(64, bf16(1));
  Launch launch(kernels()["tma_add_2d"]);
  launch.hidden(tensor, "tensor")
      .map(encode(OTODUS_SIM_BF16, tensor.data(), {8, 8}, {8, 8}, 0))
      .buffer(image, "image")
      .value(128)
      .value(0)
      .value(0)
      .grid(3);
  ASSERT_EQ(launch.run(), OTODUS_SIM_OK) << launch.reports();
  EXPECT_EQ(fromBf16(tensor[5]), 256); // 257 is no bf16; a tie goes to the even 256
}

//===----------------------------------------------------------------------===//
// What is refused
//===----------------------------------------------------------------------===//

std::string encodeError(OtodusSimType type, uint32_t rank, uint64_t base, uint64_t size,
                        uint64_t stride, uint32_t box, uint32_t step, uint32_t swizzle) {
  alignas(64) OtodusSimTensorMap map;
  uint64_t sizes[5] = {size, 8, 8, 8, 8}, strides[4] = {stride, 4096, 65536, 1 << 20};
  uint32_t boxes[5] = {box, 8, 1, 1, 1}, steps[5] = {step, step, 1, 1, 1};
  char error[256] = "";
  int result = otodusSimEncodeTensorMap(&map, type, rank, reinterpret_cast<void *>(base), sizes,
                                        strides, boxes, steps, swizzle, 0, error, sizeof error);
  EXPECT_EQ(result != 0, error[0] != 0);
  return error;
}

TEST(TensorMap, Refusals) {
  const uint64_t base = 1 << 20;
  auto bf = [&](uint32_t rank, uint64_t at, uint64_t size, uint64_t stride, uint32_t box,
                uint32_t step, uint32_t swizzle) {
    return encodeError(OTODUS_SIM_BF16, rank, at, size, stride, box, step, swizzle);
  };
  EXPECT_EQ(bf(2, base, 64, 128, 64, 1, 128), "");
  EXPECT_EQ(bf(0, base, 64, 128, 64, 1, 0), "tensor map: expected 1 to 5 dimensions, found 0");
  EXPECT_EQ(bf(6, base, 64, 128, 64, 1, 0), "tensor map: expected 1 to 5 dimensions, found 6");
  EXPECT_EQ(bf(2, base + 8, 64, 128, 64, 1, 0),
            "tensor map: expected a global address that is a multiple of 16, found one that is 8 "
            "bytes past it");
  EXPECT_EQ(bf(2, base, 0, 128, 64, 1, 0),
            "tensor map: expected a size of dimension 0 below 2^32, at least 1, found 0");
  EXPECT_EQ(bf(2, base, 64, 136, 64, 1, 0),
            "tensor map: expected a stride of dimension 1 that is a multiple of 16 bytes below "
            "2^40, found 136; pad the rows");
  EXPECT_EQ(bf(2, base, 512, 1024, 264, 1, 0),
            "tensor map: expected a box size of dimension 0 from 1 to 256, found 264; cut the box");
  EXPECT_EQ(bf(2, base, 64, 128, 4, 1, 0),
            "tensor map: expected an inner box size that is a multiple of 16 bytes, found 8");
  EXPECT_EQ(bf(2, base, 128, 256, 128, 1, 128),
            "tensor map: expected an inner box size of at most the swizzle's 128 bytes, found 256; "
            "cut the box");
  EXPECT_EQ(bf(2, base, 64, 128, 64, 1, 48),
            "tensor map: expected a swizzle of 0, 32, 64 or 128 bytes, found 48");
  EXPECT_EQ(bf(2, base, 64, 128, 64, 9, 128),
            "tensor map: expected an element step of dimension 0 from 1 to 8, found 9");
  EXPECT_EQ(encodeError(OTODUS_SIM_POINTER, 2, base, 64, 128, 64, 1, 0),
            "tensor map: expected an element type of 1, 2, 4 or 8 bytes");
  alignas(64) OtodusSimTensorMap map;
  uint64_t size = 64;
  uint32_t box = 64, step = 1;
  char error[256] = "";
  EXPECT_EQ(otodusSimEncodeTensorMap(&map, OTODUS_SIM_I32, 1, reinterpret_cast<void *>(base), &size,
                                     nullptr, &box, &step, 0, 1, error, sizeof error),
            1);
  EXPECT_STREQ(error, "tensor map: expected zero as the value outside of a tensor of integers, "
                      "found NaN");
}

TEST(TensorCopy, BoxShorterThanItsSwizzle) {
  std::vector<uint16_t> tensor(64 * 8), out(32 * 8);
  Launch launch(kernels()["tma_load_2d"]);
  launch.hidden(tensor, "tensor")
      .map(encode(OTODUS_SIM_BF16, tensor.data(), {64, 8}, {32, 8}, 128))
      .buffer(out, "out")
      .value(512)
      .value(0)
      .value(0);
  EXPECT_EQ(launch.run(), OTODUS_SIM_FAULT);
  EXPECT_NE(launch.reports().find("the box's rows have 64 bytes and the swizzle 128"),
            std::string::npos)
      << launch.reports();
}

TEST(TensorCopy, MapBeyondItsBuffer) {
  std::vector<uint16_t> tensor(64 * 8), out(64 * 8);
  Launch launch(kernels()["tma_load_2d"]);
  launch.hidden(tensor, "tensor")
      .map(encode(OTODUS_SIM_BF16, tensor.data(), {64, 9}, {64, 8}, 128)) // one row too many
      .buffer(out, "out")
      .value(1024)
      .value(0)
      .value(4);
  EXPECT_EQ(launch.run(), OTODUS_SIM_FAULT);
  EXPECT_NE(launch.reports().find("0 bytes after the end of 'tensor'"), std::string::npos)
      << launch.reports();
}

TEST(TensorCopy, NoTensorMap) {
  std::vector<uint16_t> out(64 * 8);
  Launch launch(kernels()["tma_load_2d"]);
  launch.map(OtodusSimTensorMap{}).buffer(out, "out").value(1024).value(0).value(0);
  EXPECT_EQ(launch.run(), OTODUS_SIM_FAULT);
  EXPECT_NE(launch.reports().find("expected a tensor map, found other bytes"), std::string::npos)
      << launch.reports();
}

} // namespace

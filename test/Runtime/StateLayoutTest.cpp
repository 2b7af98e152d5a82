//===- StateLayoutTest.cpp - Layouts in memory against Artefact.h ----------===//

#include "StateLayout.h"

#include <gtest/gtest.h>

#include <set>
#include <vector>

using namespace otodus;
using namespace otodus::runtime;
using formats::DType;
using formats::State;
using formats::StateLayout;

namespace {

int64_t pad(int64_t n) { return (n + 31) / 32 * 32; }

/// The element [i, j, k] of the logical shape in an array with the extents that
/// formats::StateLayout documents, written as nested indexing.
int64_t documented(const State &s, int64_t i, int64_t j, int64_t k) {
  int64_t a = s.shape[0], b = s.shape[1], c = s.shape.size() > 2 ? s.shape[2] : 1;
  bool pairs = s.dtype == DType::BF16;
  auto index = [](std::vector<std::pair<int64_t, int64_t>> positionsAndExtents) {
    int64_t result = 0;
    for (auto [position, extent] : positionsAndExtents) {
      EXPECT_LT(position, extent);
      result = result * extent + position;
    }
    return result;
  };
  switch (s.layout) {
  case StateLayout::Plain:
    return index({{i, a}, {j, b}, {k, c}});
  case StateLayout::Rows:
    return index({{i, a}, {j, b}, {k, pad(c)}});
  case StateLayout::Lanes: // [D padded / 32][N][2][32] or, of [D, N], [D padded / 32][N][32]
    return index({{i / 32, pad(a) / 32}, {j, b}, {k, c}, {i % 32, 32}});
  case StateLayout::Keys: // [H][C padded / 32][dz padded (/ 2)][32]([2])
    if (pairs)
      return index({{j, b}, {i / 32, pad(a) / 32}, {k / 2, pad(c) / 2}, {i % 32, 32}, {k % 2, 2}});
    return index({{j, b}, {i / 32, pad(a) / 32}, {k, pad(c)}, {i % 32, 32}});
  case StateLayout::Values: // [H][dv padded / 32][C padded (/ 2)][32]([2])
    if (pairs)
      return index({{j, b}, {k / 32, pad(c) / 32}, {i / 2, pad(a) / 2}, {k % 32, 32}, {i % 2, 2}});
    return index({{j, b}, {k / 32, pad(c) / 32}, {i, pad(a)}, {k % 32, 32}});
  }
  return -1;
}

template <typename Word> void check(StateLayout layout, DType dtype, std::vector<int64_t> shape) {
  State s;
  s.dtype = dtype;
  s.layout = layout;
  s.shape = shape;
  int64_t count = elementsOf(s);
  std::vector<Word> logical(static_cast<size_t>(count)), back(static_cast<size_t>(count));
  for (int64_t e = 0; e < count; ++e)
    logical[static_cast<size_t>(e)] = static_cast<Word>(e + 1);
  std::vector<Word> memory(static_cast<size_t>(s.bytes()) / sizeof(Word), 0);
  scatterState(s, logical.data(), count, reinterpret_cast<std::byte *>(memory.data()));
  std::set<int64_t> places;
  for (int64_t e = 0; e < count; ++e) {
    int64_t last = shape.size() > 2 ? shape[2] : 1;
    int64_t at = documented(s, e / (shape[1] * last), e / last % shape[1], e % last);
    ASSERT_LT(at, static_cast<int64_t>(memory.size()));
    ASSERT_TRUE(places.insert(at).second);
    ASSERT_EQ(memory[static_cast<size_t>(at)], static_cast<Word>(e + 1));
  }
  gatherState(s, reinterpret_cast<std::byte *>(memory.data()), count, back.data());
  ASSERT_EQ(back, logical);
  // A part: only the first entries are touched.
  int64_t part = count / 2;
  std::fill(memory.begin(), memory.end(), Word(0));
  scatterState(s, logical.data(), part, reinterpret_cast<std::byte *>(memory.data()));
  int64_t touched = 0;
  for (Word word : memory)
    touched += word != 0;
  ASSERT_EQ(touched, part);
}

TEST(StateLayout, MatchesWhatArtefactSays) {
  for (int64_t d : {1, 20, 32, 48, 80})
    for (int64_t n : {1, 5, 8}) {
      check<uint32_t>(StateLayout::Lanes, DType::F32, {d, n, 2});
      check<uint32_t>(StateLayout::Lanes, DType::F32, {d, n});
    }
  for (StateLayout layout :
       {StateLayout::Plain, StateLayout::Rows, StateLayout::Keys, StateLayout::Values})
    for (int64_t c : {1, 7, 24, 33, 100})
      for (int64_t heads : {1, 3})
        for (int64_t features : {2, 20, 32, 48}) {
          check<uint32_t>(layout, DType::F32, {c, heads, features});
          check<uint16_t>(layout, DType::BF16, {c, heads, features});
        }
  check<uint64_t>(StateLayout::Plain, DType::I64, {2, 3, 4});
  check<uint8_t>(StateLayout::Plain, DType::Bool, {2, 3, 4});
}

TEST(StateLayout, EveryCopyIsWrittenAndTheFirstRead) {
  State s;
  s.dtype = DType::I64;
  s.copies = 3;
  ASSERT_EQ(s.bytes(), 3 * 64);
  std::vector<int64_t> memory(24, -1);
  int64_t value = 77, back = 0;
  scatterState(s, &value, 1, reinterpret_cast<std::byte *>(memory.data()));
  for (size_t i = 0; i < memory.size(); ++i)
    EXPECT_EQ(memory[i], i % 8 == 0 ? 77 : -1) << i;
  memory[8] = memory[16] = 5;
  gatherState(s, reinterpret_cast<std::byte *>(memory.data()), 1, &back);
  EXPECT_EQ(back, 77);
}

} // namespace

//===- StateLayout.cpp - Where a state's elements lie ----------------------===//

#include "StateLayout.h"

#include <cstring>

namespace otodus::runtime {

using formats::DType;
using formats::kLaneBlock;
using formats::State;
using formats::StateLayout;

namespace {

int64_t padded(int64_t extent) { return (extent + kLaneBlock - 1) / kLaneBlock * kLaneBlock; }

/// Calls visit(logical index, memory index) for the first `count` elements.
template <typename Visit> void forElements(const State &state, int64_t count, Visit visit) {
  const std::vector<int64_t> &shape = state.shape;
  // bf16 keys and values lie in pairs along the dimension that products sum over.
  int64_t pair = state.dtype == DType::BF16 ? 2 : 1;
  switch (state.layout) {
  case StateLayout::Rows: {
    int64_t inner = shape.back(), stride = padded(inner);
    for (int64_t i = 0; i < count; ++i)
      visit(i, i / inner * stride + i % inner);
    return;
  }
  case StateLayout::Plain:
    for (int64_t i = 0; i < count; ++i)
      visit(i, i);
    return;
  case StateLayout::Lanes: { // [D, N] or [D, N, 2] as [D padded / 32][N (* 2)][32]
    int64_t perChannel = shape.size() == 3 ? shape[1] * 2 : shape[1];
    for (int64_t i = 0; i < count; ++i) {
      int64_t n = i % perChannel, d = i / perChannel;
      visit(i, (d / kLaneBlock * perChannel + n) * kLaneBlock + d % kLaneBlock);
    }
    return;
  }
  case StateLayout::Keys: { // [C, H, dz] as [H][C padded / 32][dz padded / pair][32][pair]
    int64_t heads = shape[1], features = shape[2];
    int64_t blocks = padded(shape[0]) / kLaneBlock, depth = padded(features) / pair;
    for (int64_t i = 0; i < count; ++i) {
      int64_t z = i % features, h = i / features % heads, c = i / features / heads;
      int64_t cell = ((h * blocks + c / kLaneBlock) * depth + z / pair) * kLaneBlock;
      visit(i, (cell + c % kLaneBlock) * pair + z % pair);
    }
    return;
  }
  case StateLayout::Values: { // [C, H, dv] as [H][dv padded / 32][C padded / pair][32][pair]
    int64_t heads = shape[1], features = shape[2];
    int64_t blocks = padded(features) / kLaneBlock, depth = padded(shape[0]) / pair;
    for (int64_t i = 0; i < count; ++i) {
      int64_t v = i % features, h = i / features % heads, c = i / features / heads;
      int64_t cell = ((h * blocks + v / kLaneBlock) * depth + c / pair) * kLaneBlock;
      visit(i, (cell + v % kLaneBlock) * pair + c % pair);
    }
    return;
  }
  }
}

template <typename Word>
void move(const State &state, const Word *from, int64_t count, Word *to, bool intoMemory) {
  if (state.layout == StateLayout::Plain) {
    size_t bytes = static_cast<size_t>(count) * sizeof(Word);
    int64_t stride = state.bytes() / state.copies;
    for (int64_t copy = 0; copy < (intoMemory ? state.copies : 1); ++copy)
      std::memcpy(reinterpret_cast<std::byte *>(to) + copy * stride, from, bytes);
  } else if (intoMemory) {
    forElements(state, count, [&](int64_t logical, int64_t memory) { to[memory] = from[logical]; });
  } else {
    forElements(state, count, [&](int64_t logical, int64_t memory) { to[logical] = from[memory]; });
  }
}

void moveBytes(const State &state, const void *from, int64_t count, void *to, bool intoMemory) {
  switch (formats::sizeOf(state.dtype)) {
  case 1:
    return move(state, static_cast<const uint8_t *>(from), count, static_cast<uint8_t *>(to),
                intoMemory);
  case 2:
    return move(state, static_cast<const uint16_t *>(from), count, static_cast<uint16_t *>(to),
                intoMemory);
  case 4:
    return move(state, static_cast<const uint32_t *>(from), count, static_cast<uint32_t *>(to),
                intoMemory);
  default:
    return move(state, static_cast<const uint64_t *>(from), count, static_cast<uint64_t *>(to),
                intoMemory);
  }
}

} // namespace

int64_t elementsOf(const State &state) {
  int64_t elements = 1;
  for (int64_t extent : state.shape)
    elements *= extent;
  return elements;
}

int64_t elementsPerEntry(const State &state) {
  int64_t elements = 1;
  for (size_t i = 1; i < state.shape.size(); ++i)
    elements *= state.shape[i];
  return elements;
}

std::vector<State> gradientsOf(const std::vector<State> &states) {
  std::vector<State> gradients = states;
  for (State &state : gradients)
    if (state.dtype == DType::BF16)
      state.dtype = DType::F32;
  return gradients;
}

void scatterState(const State &state, const void *logical, int64_t count, std::byte *memory) {
  moveBytes(state, logical, count, memory, true);
}

void gatherState(const State &state, const std::byte *memory, int64_t count, void *logical) {
  moveBytes(state, memory, count, logical, false);
}

} // namespace otodus::runtime

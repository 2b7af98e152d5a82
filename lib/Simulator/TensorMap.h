//===- TensorMap.h - Boxes of tensors and how they lie in shared memory ----===//
//
// The geometry of TMA copies, apart from threads and time.
//
//===----------------------------------------------------------------------===//

#pragma once

#include "otodus/ABI/Sim.h"

#include <cstdint>
#include <string>

namespace otodus::sim {

/// The address at which the byte of unswizzled address `address` lies; `span` is 0, 32, 64 or 128
/// bytes. 16-byte chunks are exchanged inside a row of `span` bytes: bits 4 and up of the address
/// are xored with as many bits from bit 7 on. Unconfirmed on a device.
inline uint64_t swizzle(uint64_t address, uint32_t span) {
  uint64_t mask = span < 32 ? 0 : span / 16 - 1;
  return address ^ ((address >> 7 & mask) << 4);
}

/// Bytes after which the pattern of a swizzle repeats; addresses of boxes and tiles must be
/// multiples. 128 without a swizzle: what every TMA copy asks for.
inline uint32_t swizzleRepeat(uint32_t span) { return span < 32 ? 128 : span * 8; }

/// Elements of dimension `i` in shared memory.
inline uint32_t boxElements(const OtodusSimTensorMap &map, uint32_t i) {
  return (map.box[i] + map.step[i] - 1) / map.step[i];
}

/// Bytes of a whole box in shared memory, filled elements included.
uint32_t boxBytes(const OtodusSimTensorMap &map);

/// A run of elements along dimension 0 that lies inside the tensor, or outside of it as a whole.
struct BoxRun {
  uint64_t global;  ///< address; 0: outside of the tensor
  uint64_t shared;  ///< offset in the unswizzled box, bytes
  uint32_t bytes;
};

/// Calls `use(BoxRun)` for the runs of the box at `coordinates` (elements; dimension 0 first; may
/// be negative), in the order of shared memory. Together they are the whole box.
template <typename F>
void forEachRun(const OtodusSimTensorMap &map, const int32_t *coordinates, F use) {
  uint32_t count[5] = {1, 1, 1, 1, 1}, index[5] = {0, 0, 0, 0, 0};
  for (uint32_t i = 0; i < map.rank; ++i)
    count[i] = boxElements(map, i);
  // Dimension 0 is dense: its step is 1 (an encoder's rule).
  int64_t first = coordinates[0], size = map.size[0];
  int64_t before = first >= 0 ? 0 : -first < count[0] ? -first : count[0];
  int64_t end = size - first < 0 ? 0 : size - first < count[0] ? size - first : count[0];
  if (end < before)
    end = before;
  uint64_t shared = 0;
  for (;;) {
    uint64_t row = map.base;
    bool inside = true;
    for (uint32_t i = 1; i < map.rank; ++i) {
      int64_t at = int64_t(coordinates[i]) + int64_t(index[i]) * map.step[i];
      inside &= at >= 0 && at < int64_t(map.size[i]);
      row += uint64_t(at) * map.stride[i - 1];
    }
    int64_t from = inside ? before : count[0], to = inside ? end : count[0];
    auto emit = [&](int64_t lo, int64_t hi, bool in) {
      if (lo < hi)
        use(BoxRun{in ? row + uint64_t(first + lo) * map.elementBytes : 0,
                   shared + uint64_t(lo) * map.elementBytes, uint32_t(hi - lo) * map.elementBytes});
    };
    emit(0, from, false);
    emit(from, to, true);
    emit(to, count[0], false);
    shared += uint64_t(count[0]) * map.elementBytes;
    uint32_t i = 1;
    while (i < map.rank && ++index[i] == count[i])
      index[i++] = 0;
    if (i >= map.rank)
      return;
  }
}

/// Why the box of `map` cannot be copied to or from shared memory at `address`, or an empty text.
std::string refuseBox(const OtodusSimTensorMap &map, uint64_t address);

} // namespace otodus::sim

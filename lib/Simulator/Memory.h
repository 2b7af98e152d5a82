//===- Memory.h - Global memory as the simulator knows it ------------------===//

#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace otodus::sim {

/// What is remembered of four bytes (or of one, after a split).
struct Cell {
  uint32_t writeClock = 0; ///< 0: never
  uint32_t readClock = 0;
  uint16_t writer = 0, reader = 0; ///< agents
  uint32_t writeSite = 0, readSite = 0; ///< numbers
  uint32_t valid : 4 = 0;   ///< bytes that hold a value (shared memory only)
  uint32_t bytes : 4 = 0;   ///< bytes that the accesses above touched
  uint32_t isSplit : 1 = 0; ///< the bytes have cells of their own, at 4 * index
  uint32_t isMany : 1 = 0;  ///< `index` is a set of readers
  uint32_t isAtomic : 1 = 0; ///< the last write
  uint32_t index : 21 = 0;
};

/// The clock of an access that has begun and not ended.
inline constexpr uint32_t kInFlight = ~0u;

/// A registered range of global memory.
struct Allocation {
  uint64_t base = 0, bytes = 0;
  std::string name;
  /// One bit per byte: it holds a value. Several host threads set bits at the same time.
  std::unique_ptr<std::atomic<uint64_t>[]> valid;
  /// Cells of 4 KiB of memory, per host thread, made when they are first needed.
  static constexpr uint64_t kPageBytes = 4096, kPageCells = kPageBytes / 4;
  std::vector<std::vector<std::unique_ptr<Cell[]>>> pages; ///< [worker][page]

  bool holds(uint64_t address, uint64_t size) const {
    return address - base < bytes && size <= bytes - (address - base);
  }
  bool isValid(uint64_t offset, uint32_t size) const {
    uint64_t bit = offset & 63;
    if (bit + size <= 64) [[likely]] {
      uint64_t mask = (size == 64 ? ~0ull : (1ull << size) - 1) << bit;
      return (valid[offset >> 6].load(std::memory_order_relaxed) & mask) == mask;
    }
    return isValidSlow(offset, size);
  }
  bool isValidSlow(uint64_t offset, uint64_t size) const;
  void setValid(uint64_t offset, uint64_t size, bool value = true);
};

class GlobalMemory {
public:
  /// False if the range overlaps another or is empty.
  bool add(void *base, size_t bytes, const char *name);
  void remove(void *base);
  /// The range that holds `address`, or null.
  Allocation *find(uint64_t address) const;
  /// The range that ends or begins nearest to `address`, or null if there is none.
  const Allocation *nearest(uint64_t address) const;
  void setValid(const void *at, size_t bytes, bool value);
  const std::vector<std::unique_ptr<Allocation>> &ranges() const { return ranges_; }

private:
  std::vector<std::unique_ptr<Allocation>> ranges_; ///< by base
};

} // namespace otodus::sim

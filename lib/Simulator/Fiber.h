//===- Fiber.h - Switching between stacks ----------------------------------===//
//
// A fiber is a saved stack pointer; everything else that must survive a switch lies on its stack.
// Fibers never move between host threads.
//
//===----------------------------------------------------------------------===//

#pragma once

#include <cstddef>
#include <cstdint>

namespace otodus::sim {

struct Fiber {
  void *stackPointer = nullptr;

  /// Makes the fiber start with `entry(argument)` on the stack that ends at `top` (16-byte
  /// aligned). `entry` must never return.
  void prepare(void *top, void (*entry)(void *), void *argument);
};

/// Saves the running fiber in `from` and continues `to`.
void switchFiber(Fiber &from, Fiber &to);

/// Stacks of one scheduler, each with an inaccessible page below it. Memory that no fiber has
/// touched is not resident.
class StackPool {
public:
  StackPool() = default;
  StackPool(const StackPool &) = delete;
  ~StackPool();
  /// Makes room for `count` stacks; existing ones become invalid. False if there is no memory.
  bool reserve(uint32_t count);
  /// End of stack `index`: tops of neighbours differ by some cache lines, since stacks at equal
  /// distances would compete for the same cache sets.
  void *top(uint32_t index) const;
  /// Whether `address` lies in stack `index`.
  bool holds(uint32_t index, uint64_t address) const {
    return address - (uint64_t(base_) + uint64_t(index) * kStride) < kStride;
  }
  static constexpr size_t kStride = 256 << 10;

private:
  uint8_t *base_ = nullptr;
  uint32_t count_ = 0;
};

} // namespace otodus::sim

//===- Memory.cpp - Global memory as the simulator knows it ----------------===//

#include "Memory.h"

#include <algorithm>

namespace otodus::sim {

bool Allocation::isValidSlow(uint64_t offset, uint64_t size) const {
  while (size) {
    uint64_t bit = offset & 63, here = std::min<uint64_t>(64 - bit, size);
    uint64_t mask = (here == 64 ? ~0ull : (1ull << here) - 1) << bit;
    if ((valid[offset >> 6].load(std::memory_order_relaxed) & mask) != mask)
      return false;
    offset += here;
    size -= here;
  }
  return true;
}

void Allocation::setValid(uint64_t offset, uint64_t size, bool value) {
  while (size) {
    uint64_t bit = offset & 63, here = std::min<uint64_t>(64 - bit, size);
    uint64_t mask = (here == 64 ? ~0ull : (1ull << here) - 1) << bit;
    std::atomic<uint64_t> &word = valid[offset >> 6];
    uint64_t old = word.load(std::memory_order_relaxed);
    if (value && (old & mask) != mask)
      word.fetch_or(mask, std::memory_order_relaxed);
    else if (!value && (old & mask))
      word.fetch_and(~mask, std::memory_order_relaxed);
    offset += here;
    size -= here;
  }
}

static auto firstAfter(const std::vector<std::unique_ptr<Allocation>> &ranges, uint64_t address) {
  return std::upper_bound(ranges.begin(), ranges.end(), address,
                          [](uint64_t at, const auto &range) { return at < range->base; });
}

bool GlobalMemory::add(void *base, size_t bytes, const char *name) {
  auto next = firstAfter(ranges_, uint64_t(base));
  if (!bytes || (next != ranges_.end() && (*next)->base - uint64_t(base) < bytes) ||
      (next != ranges_.begin() && (*(next - 1))->holds(uint64_t(base), 1)))
    return false;
  auto range = std::make_unique<Allocation>();
  range->base = uint64_t(base);
  range->bytes = bytes;
  range->name = name ? name : "";
  range->valid = std::make_unique<std::atomic<uint64_t>[]>((bytes + 63) / 64);
  ranges_.insert(next, std::move(range));
  return true;
}

void GlobalMemory::remove(void *base) {
  auto next = firstAfter(ranges_, uint64_t(base));
  if (next != ranges_.begin() && (*(next - 1))->base == uint64_t(base))
    ranges_.erase(next - 1);
}

Allocation *GlobalMemory::find(uint64_t address) const {
  auto next = firstAfter(ranges_, address);
  if (next == ranges_.begin() || !(*(next - 1))->holds(address, 1))
    return nullptr;
  return (next - 1)->get();
}

const Allocation *GlobalMemory::nearest(uint64_t address) const {
  auto next = firstAfter(ranges_, address);
  const Allocation *after = next == ranges_.end() ? nullptr : next->get();
  const Allocation *before = next == ranges_.begin() ? nullptr : (next - 1)->get();
  if (!before || !after)
    return before ? before : after;
  return after->base - address < address - (before->base + before->bytes) ? after : before;
}

void GlobalMemory::setValid(const void *at, size_t bytes, bool value) {
  uint64_t address = uint64_t(at);
  if (Allocation *range = find(address)) {
    uint64_t offset = address - range->base;
    range->setValid(offset, std::min<uint64_t>(bytes, range->bytes - offset), value);
  }
}

} // namespace otodus::sim

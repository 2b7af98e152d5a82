//===- MemoryOps.cpp - Atomics, copies and fills of a thread ---------------===//

#include "Handlers.h"

#include <cstring>
#include <type_traits>

namespace otodus::sim::handlers {

namespace {

template <typename T> T combine(int64_t kind, T old, T value) {
  using Signed = std::make_signed_t<T>;
  switch (kind) {
  case OTODUS_SIM_WORD_Add: return T(old + value);
  case OTODUS_SIM_WORD_Sub: return T(old - value);
  case OTODUS_SIM_WORD_And: return old & value;
  case OTODUS_SIM_WORD_Nand: return T(~(old & value));
  case OTODUS_SIM_WORD_Or: return old | value;
  case OTODUS_SIM_WORD_Xor: return old ^ value;
  case OTODUS_SIM_WORD_Max: return Signed(old) > Signed(value) ? old : value;
  case OTODUS_SIM_WORD_Min: return Signed(old) < Signed(value) ? old : value;
  case OTODUS_SIM_WORD_UMax: return old > value ? old : value;
  case OTODUS_SIM_WORD_UMin: return old < value ? old : value;
  default: return value; // xchg
  }
}

/// Atomic against the blocks that other host threads run.
template <typename T> T modify(int64_t kind, uint64_t address, T value) {
  auto *at = reinterpret_cast<T *>(address);
  T old = __atomic_load_n(at, __ATOMIC_RELAXED);
  while (!__atomic_compare_exchange_n(at, &old, combine<T>(kind, old, value), false,
                                      __ATOMIC_ACQ_REL, __ATOMIC_RELAXED)) {
  }
  return old;
}

void synchronise(Thread &thread, int64_t ordering, uint64_t address) {
  Shadow &shadow = thread.team->shadow;
  if (ordering < kRelease) {
    shadow.relaxedLoad(thread.agent, address);
    shadow.relaxedStore(thread.agent, address);
    return;
  }
  shadow.acquireObject(thread.agent, address);
  shadow.releaseObject(thread.agent, address);
}

} // namespace

/// Operands: address, value. Attributes: kind, ordering.
void atomicRMW(Thread &thread, const OtodusSimSite &site, uint64_t *slots, void *result) {
  int64_t kind = site.attributes[0];
  switch (kind) {
  case OTODUS_SIM_WORD_Add: case OTODUS_SIM_WORD_Sub: case OTODUS_SIM_WORD_And:
  case OTODUS_SIM_WORD_Nand: case OTODUS_SIM_WORD_Or: case OTODUS_SIM_WORD_Xor:
  case OTODUS_SIM_WORD_Max: case OTODUS_SIM_WORD_Min: case OTODUS_SIM_WORD_UMax:
  case OTODUS_SIM_WORD_UMin: case OTODUS_SIM_WORD_Xchg:
    break;
  default:
    thread.team->fault(thread, site, FindingKind::Unsupported,
                       "only integer kinds of atomics are executed: the result of others depends "
                       "on the order of threads");
  }
  thread.team->shadow.atomic(thread, site, slots[0], site.bytes);
  if (site.bytes == 8)
    *static_cast<uint64_t *>(result) = modify<uint64_t>(kind, slots[0], slots[1]);
  else if (site.bytes == 4)
    *static_cast<uint32_t *>(result) = modify<uint32_t>(kind, slots[0], uint32_t(slots[1]));
  else
    thread.team->fault(thread, site, FindingKind::Unsupported,
                       "atomics have 4 or 8 bytes, not " + std::to_string(site.bytes));
  synchronise(thread, site.attributes[1], slots[0]);
}

/// Operands: address, expected, new. Result: a struct of the old value and i1. Attribute: ordering.
void compareExchange(Thread &thread, const OtodusSimSite &site, uint64_t *slots, void *result) {
  thread.team->shadow.atomic(thread, site, slots[0], site.bytes);
  auto exchange = [&]<typename T>(T expected) {
    struct Pair {
      T old;
      uint8_t done;
    };
    bool done = __atomic_compare_exchange_n(reinterpret_cast<T *>(slots[0]), &expected,
                                            T(slots[2]), false, __ATOMIC_ACQ_REL,
                                            __ATOMIC_ACQUIRE);
    *static_cast<Pair *>(result) = {expected, uint8_t(done)};
  };
  if (site.bytes == 8)
    exchange(slots[1]);
  else if (site.bytes == 4)
    exchange(uint32_t(slots[1]));
  else
    thread.team->fault(thread, site, FindingKind::Unsupported,
                       "atomics have 4 or 8 bytes, not " + std::to_string(site.bytes));
  synchronise(thread, site.attributes[0], slots[0]);
}

/// Operands: destination, source, bytes; of the inline form the bytes are attribute 0.
void memoryCopy(Thread &thread, const OtodusSimSite &site, uint64_t *slots, void *) {
  uint64_t bytes = site.operands > 2 ? slots[2] : uint64_t(site.attributes[0]);
  for (uint64_t at = 0; at < bytes; at += 1 << 16) {
    uint32_t here = uint32_t(bytes - at < (1 << 16) ? bytes - at : 1 << 16);
    thread.team->shadow.load(thread, site, slots[1] + at, here, 1);
    thread.team->shadow.store(thread, site, slots[0] + at, here, 1);
  }
  memmove(reinterpret_cast<void *>(slots[0]), reinterpret_cast<void *>(slots[1]), bytes);
}

/// Operands: destination, byte, bytes.
void memorySet(Thread &thread, const OtodusSimSite &site, uint64_t *slots, void *) {
  for (uint64_t at = 0; at < slots[2]; at += 1 << 16)
    thread.team->shadow.store(thread, site, slots[0] + at,
                              uint32_t(slots[2] - at < (1 << 16) ? slots[2] - at : 1 << 16), 1);
  memset(reinterpret_cast<void *>(slots[0]), int(slots[1] & 0xff), slots[2]);
}

/// Bytes of an operand: in its slot, or where the slot points.
static uint8_t *operandBytes(uint64_t &slot, uint64_t bytes) {
  return bytes <= 8 ? reinterpret_cast<uint8_t *>(&slot) : reinterpret_cast<uint8_t *>(slot);
}

/// Operands: address, mask (one byte per element), the value where the mask is off if present.
void maskedLoad(Thread &thread, const OtodusSimSite &site, uint64_t *slots, void *result) {
  uint32_t bytes = site.bytes;
  const uint8_t *mask = operandBytes(slots[1], site.lanes);
  auto *to = static_cast<uint8_t *>(result);
  if (site.operands > 2)
    memcpy(to, operandBytes(slots[2], uint64_t(site.lanes) * bytes), uint64_t(site.lanes) * bytes);
  for (uint32_t lane = 0; lane < site.lanes; ++lane) {
    if (!mask[lane])
      continue;
    uint64_t address = slots[0] + uint64_t(lane) * bytes;
    thread.team->shadow.load(thread, site, address, bytes, bytes);
    memcpy(to + uint64_t(lane) * bytes, reinterpret_cast<const void *>(address), bytes);
  }
}

/// Operands: value, address, mask.
void maskedStore(Thread &thread, const OtodusSimSite &site, uint64_t *slots, void *) {
  uint32_t bytes = site.bytes;
  const uint8_t *from = operandBytes(slots[0], uint64_t(site.lanes) * bytes);
  const uint8_t *mask = operandBytes(slots[2], site.lanes);
  for (uint32_t lane = 0; lane < site.lanes; ++lane) {
    if (!mask[lane])
      continue;
    uint64_t address = slots[1] + uint64_t(lane) * bytes;
    thread.team->shadow.store(thread, site, address, bytes, bytes);
    memcpy(reinterpret_cast<void *>(address), from + uint64_t(lane) * bytes, bytes);
  }
}

} // namespace otodus::sim::handlers

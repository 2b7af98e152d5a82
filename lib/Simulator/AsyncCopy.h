//===- AsyncCopy.h - cp.async groups of a thread ---------------------------===//

#pragma once

#include "otodus/ABI/Sim.h"

#include <cstdint>
#include <vector>

namespace otodus::sim {

/// One cp.async: `bytes` bytes at `to`, of which the first `fromBytes` come from `from`, the others
/// are 0.
struct AsyncCopy {
  const OtodusSimSite *site;
  uint64_t to, from;
  uint32_t bytes, fromBytes;
  bool pending = false; ///< the bytes are still to be copied
};

/// Copies that a thread has issued and not waited for, oldest first.
struct CopyGroups {
  std::vector<AsyncCopy> copies;
  std::vector<uint32_t> ends; ///< index after the last copy of each committed group

  void clear() {
    copies.clear();
    ends.clear();
  }
};

} // namespace otodus::sim

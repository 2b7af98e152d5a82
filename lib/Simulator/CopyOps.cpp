//===- CopyOps.cpp - cp.async: copies of a thread to shared memory ---------===//
//
// PTX ISA 9.7.9.25: a copy is complete when a wait_group covers its group. Executed late it happens
// there, so that a kernel without the wait reads what was in shared memory before.
//
//===----------------------------------------------------------------------===//

#include "Handlers.h"

#include <cstring>

namespace otodus::sim::handlers {

static void perform(const AsyncCopy &copy) {
  auto *to = reinterpret_cast<uint8_t *>(copy.to);
  memcpy(to, reinterpret_cast<const void *>(copy.from), copy.fromBytes);
  memset(to + copy.fromBytes, 0, copy.bytes - copy.fromBytes);
}

/// Operands: destination, source, bytes to take from the source (the rest is 0) if present.
/// Attributes: bytes, cache modifier.
void copyAsync(Thread &thread, const OtodusSimSite &site, uint64_t *slots, void *) {
  Team &team = *thread.team;
  uint32_t bytes = uint32_t(site.attributes[0]);
  AsyncCopy copy{&site, slots[0], slots[1], bytes,
                 site.operands > 2 ? uint32_t(slots[2]) : bytes};
  if (copy.fromBytes > bytes) [[unlikely]]
    team.fault(thread, site, FindingKind::OutOfBounds,
               "takes " + std::to_string(copy.fromBytes) + " of " + std::to_string(bytes) +
                   " bytes from its source");
  if (!team.sharedOwner(copy.to)) [[unlikely]]
    team.fault(thread, site, FindingKind::OutOfBounds,
               "its destination is not in shared memory");
  if (copy.fromBytes)
    team.shadow.load(thread, site, copy.from, copy.fromBytes, 1);
  team.shadow.bounds(thread, site, copy.to, bytes, bytes, true);
  if (copy.from % bytes) [[unlikely]]
    team.fault(thread, site, FindingKind::Misaligned,
               "its source is not a multiple of " + std::to_string(bytes));
  team.shadow.beginAsyncWrite(thread, site, copy.to, bytes);
  bool early = team.launch->options.async == OTODUS_SIM_EARLY ||
               (team.launch->options.async == OTODUS_SIM_MIXED && team.toss());
  if (early)
    perform(copy);
  else
    copy.pending = true;
  thread.copies.copies.push_back(copy);
}

void copyAsyncCommit(Thread &thread, const OtodusSimSite &, uint64_t *, void *) {
  thread.copies.ends.push_back(uint32_t(thread.copies.copies.size()));
}

/// Completes the oldest groups until at most `keep` are left.
static void complete(Thread &thread, size_t keep) {
  CopyGroups &groups = thread.copies;
  if (groups.ends.size() <= keep)
    return;
  size_t done = groups.ends.size() - keep;
  uint32_t copies = groups.ends[done - 1];
  for (uint32_t i = 0; i < copies; ++i) {
    const AsyncCopy &copy = groups.copies[i];
    if (copy.pending)
      perform(copy);
    thread.team->shadow.endAsyncWrite(thread.agent, *copy.site, copy.to, copy.bytes);
  }
  groups.copies.erase(groups.copies.begin(), groups.copies.begin() + copies);
  groups.ends.erase(groups.ends.begin(), groups.ends.begin() + ptrdiff_t(done));
  for (uint32_t &end : groups.ends)
    end -= copies;
}

void copyAsyncWait(Thread &thread, const OtodusSimSite &site, uint64_t *, void *) {
  complete(thread, size_t(site.attributes[0]));
}

/// Uncommitted copies too.
void copyAsyncWaitAll(Thread &thread, const OtodusSimSite &, uint64_t *, void *) {
  finishCopies(thread);
}

void finishCopies(Thread &thread) {
  if (thread.copies.copies.empty()) {
    thread.copies.ends.clear();
    return;
  }
  thread.copies.ends.push_back(uint32_t(thread.copies.copies.size()));
  complete(thread, 0);
}

} // namespace otodus::sim::handlers

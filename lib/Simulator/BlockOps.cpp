//===- BlockOps.cpp - Barriers, fences, sleeping, clocks -------------------===//

#include "Handlers.h"

namespace otodus::sim::handlers {

/// nvvm.barrier0 without operands; nvvm.barrier with groups id, count, predicate, each optional.
void barrier(Thread &thread, const OtodusSimSite &site, uint64_t *slots, void *result) {
  uint32_t id = 0, count = 0, predicate = 0;
  if (site.segments[0])
    id = uint32_t(*slots++);
  if (site.segments[1]) {
    count = uint32_t(*slots++);
    if (!count)
      thread.team->fault(thread, site, FindingKind::BarrierCount, "counts 0 threads");
  }
  if (site.segments[2])
    predicate = uint32_t(*slots++);
  thread.team->barrier(thread, site, id, count, false, predicate);
  if (result) {
    const uint32_t *reduced = thread.block->barriers[id].lastReduced;
    switch (site.attributes[0]) {
    case OTODUS_SIM_WORD_And: *static_cast<uint32_t *>(result) = reduced[1]; break;
    case OTODUS_SIM_WORD_Or: *static_cast<uint32_t *>(result) = reduced[2]; break;
    default: *static_cast<uint32_t *>(result) = reduced[0]; break;
    }
  }
}

/// The id is optional, the count comes last.
void barrierArrive(Thread &thread, const OtodusSimSite &site, uint64_t *slots, void *) {
  uint32_t id = site.operands > 1 ? uint32_t(slots[0]) : 0;
  uint32_t count = uint32_t(slots[site.operands - 1]);
  if (!count)
    thread.team->fault(thread, site, FindingKind::BarrierCount, "counts 0 threads");
  thread.team->barrier(thread, site, id, count, true, 0);
}

/// Memory is sequentially consistent here; what a fence orders matters to the race detector alone.
void fence(Thread &thread, const OtodusSimSite &, uint64_t *, void *) {
  thread.team->shadow.fence(thread.agent);
}

void nanosleep(Thread &thread, const OtodusSimSite &, uint64_t *, void *) {
  thread.team->yield(thread);
}

void exitThread(Thread &thread, const OtodusSimSite &, uint64_t *, void *) {
  thread.team->exit(thread);
}

static uint64_t nanoseconds() { return uint64_t(steadySeconds() * 1e9); }

void clock32(Thread &, const OtodusSimSite &, uint64_t *, void *result) {
  *static_cast<uint32_t *>(result) = uint32_t(nanoseconds());
}

void clock64(Thread &, const OtodusSimSite &, uint64_t *, void *result) {
  *static_cast<uint64_t *>(result) = nanoseconds();
}

} // namespace otodus::sim::handlers

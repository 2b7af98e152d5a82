//===- HandlerTable.cpp - From rows of SimOps.def to functions -------------===//

#include "Handlers.h"

namespace otodus::sim {

namespace {

using ThreadHandler = void (*)(Thread &, const OtodusSimSite &, uint64_t *, void *);
using CollectiveHandler = void (*)(Collective &);

template <ThreadHandler handler>
void runThread(OtodusSimContext *context, const OtodusSimSite *site, uint64_t *slots,
               void *result) {
  handler(*static_cast<Thread *>(context), *site, slots, result);
}

template <CollectiveHandler handler>
void runWarp(OtodusSimContext *context, const OtodusSimSite *site, uint64_t *slots, void *result) {
  auto &thread = *static_cast<Thread *>(context);
  thread.team->collectWarp(thread, *site, slots, result, ~0u, handler);
}

template <CollectiveHandler handler, int mask>
void runWarpMask(OtodusSimContext *context, const OtodusSimSite *site, uint64_t *slots,
                 void *result) {
  auto &thread = *static_cast<Thread *>(context);
  uint32_t lanes = mask < int(site->operands) ? uint32_t(slots[mask]) : ~0u;
  thread.team->collectWarp(thread, *site, slots, result, lanes, handler);
}

template <CollectiveHandler handler>
void runWarpGroup(OtodusSimContext *context, const OtodusSimSite *site, uint64_t *slots,
                  void *result) {
  auto &thread = *static_cast<Thread *>(context);
  thread.team->collectGroup(thread, *site, slots, result, handler);
}

} // namespace

#define OTODUS_SIM_ENTRY_Thread(HANDLER, MASK) runThread<handlers::HANDLER>,
#define OTODUS_SIM_ENTRY_Warp(HANDLER, MASK) runWarp<handlers::HANDLER>,
#define OTODUS_SIM_ENTRY_WarpMask(HANDLER, MASK) runWarpMask<handlers::HANDLER, MASK>,
#define OTODUS_SIM_ENTRY_WarpGroup(HANDLER, MASK) runWarpGroup<handlers::HANDLER>,
#define OTODUS_SIM_ENTRY_Inline(HANDLER, MASK) nullptr,
#define OTODUS_SIM_ENTRY_Nothing(HANDLER, MASK) nullptr,

const OtodusSimHandler kHandlers[OTODUS_SIM_OP_COUNT] = {
#define OTODUS_SIM_OP(ID, NAME, WHO, MASK, HANDLER, ATTRIBUTES)                                    \
  OTODUS_SIM_ENTRY_##WHO(HANDLER, MASK)
#include "otodus/ABI/SimOps.def"
};

const char *opName(uint32_t op) {
  static const char *const names[] = {
#define OTODUS_SIM_OP(ID, NAME, WHO, MASK, HANDLER, ATTRIBUTES) NAME,
#include "otodus/ABI/SimOps.def"
  };
  return op < OTODUS_SIM_OP_COUNT ? names[op] : "unknown op";
}

} // namespace otodus::sim

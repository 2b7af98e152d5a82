//===- Handlers.h - Declares the handler of every row of SimOps.def --------===//
//
// A row's handler is a function of this namespace, with the signature its participants ask for.
// It is defined in whichever file of lib/Simulator suits the op.
//
//===----------------------------------------------------------------------===//

#pragma once

#include "Machine.h"

namespace otodus::sim {

#define OTODUS_SIM_HANDLER_Thread(HANDLER)                                                         \
  void HANDLER(Thread &thread, const OtodusSimSite &site, uint64_t *slots, void *result);
#define OTODUS_SIM_HANDLER_Warp(HANDLER) void HANDLER(Collective &collective);
#define OTODUS_SIM_HANDLER_WarpMask(HANDLER) void HANDLER(Collective &collective);
#define OTODUS_SIM_HANDLER_WarpGroup(HANDLER) void HANDLER(Collective &collective);
#define OTODUS_SIM_HANDLER_Inline(HANDLER)
#define OTODUS_SIM_HANDLER_Nothing(HANDLER)

namespace handlers {
#define OTODUS_SIM_OP(ID, NAME, WHO, MASK, HANDLER, ATTRIBUTES) OTODUS_SIM_HANDLER_##WHO(HANDLER)
#include "otodus/ABI/SimOps.def"

/// Completes the cp.async copies that a returning thread has not waited for.
void finishCopies(Thread &thread);
} // namespace handlers

/// The table that kernels call through, indexed by OtodusSimOp; null for rows without a handler.
extern const OtodusSimHandler kHandlers[OTODUS_SIM_OP_COUNT];

/// Name of the op in MLIR.
const char *opName(uint32_t op);

} // namespace otodus::sim

//===- WgmmaUse.h - Accumulators in flight ---------------------------------===//
//
// In SSA form a use of an accumulator before the wait looks like any other; on the device
// it reads registers that the tensor cores still write.
//
//===----------------------------------------------------------------------===//

#pragma once

#include "mlir/IR/Operation.h"
#include "mlir/Support/LLVM.h"

namespace otodus::gk {

/// Checks every function below `root` (its bodies in blocks, as at the NVVM stage): between a
/// product (gk.wgmma, gk.wgmma_ra, nvvm.wgmma.mma_async) and the gk.wgmma_wait that covers it
/// the accumulator is used by nothing but products, waits and branches that pass it on; and the
/// wait that covers a gk.wgmma_ra before it in the same block names its registers in `reading`.
/// Emits an error for each violation, with notes at the product; failure if there is any.
mlir::LogicalResult verifyWgmmaUse(mlir::Operation *root);

} // namespace otodus::gk

//===- NarrowFloats.h - bf16 and f16 arithmetic on the host ----------------===//

#pragma once

#include "mlir/IR/Operation.h"

namespace otodus {

/// Replaces arithmetic on bf16, and what of f16 would need a library, by arithmetic on f32 and a
/// rounding to nearest even that needs only integers. A product and sum in bf16 (llvm.intr.fma)
/// is rounded twice, where the GPU rounds once.
void expandNarrowFloats(mlir::Operation *function);

} // namespace otodus

//===- NarrowFloats.h - bf16 and f16 arithmetic on the host ----------------===//

#pragma once

#include "mlir/IR/Operation.h"

namespace otodus {

/// Replaces arithmetic on bf16, and what of f16 would need a library, by arithmetic on f32 and a
/// rounding to nearest even that needs only integers. A product and sum in bf16 (llvm.intr.fma)
/// is rounded twice, where the GPU rounds once.
void expandNarrowFloats(mlir::Operation *function);

/// Makes i16 of every bf16 that is left, which by then only moves: LLVM would widen and round again
/// where it builds vectors of them.
void storeBf16AsIntegers(mlir::Operation *module);

} // namespace otodus

//===- MegaInterfaces.h - What passes ask an op ----------------------------===//
//
// Time and state, gradient, fusion: see MegaInterfaces.td.
//
//===----------------------------------------------------------------------===//

#pragma once

#include "mlir/IR/Builders.h"
#include "mlir/IR/OpDefinition.h"

#include "mega/IR/MegaEnums.h.inc"

namespace otodus::mega {

/// The row role of any op: what its FusionOpInterface says; without one,
/// Elementwise for an elementwise op on tensors (arith.addf, arith.mulf, …); None
/// otherwise.
RowRole getRowRole(mlir::Operation *op);

namespace detail {
/// States enter and leave pairwise with one type.
llvm::LogicalResult verifySequenceOp(mlir::Operation *op);
} // namespace detail

} // namespace otodus::mega

#include "mega/IR/MegaInterfaces.h.inc"

//===- MegaOps.h - The ops of the mega dialect -----------------------------===//
//
// Each op is described in the .td file of its family and in the generated
// docs/Dialects/Mega.md.
//
//===----------------------------------------------------------------------===//

#pragma once

#include "mega/IR/MegaDialect.h"
#include "mega/IR/MegaInterfaces.h"

#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/OpImplementation.h"
#include "mlir/IR/PatternMatch.h"
#include "mlir/IR/SymbolTable.h"
#include "mlir/Interfaces/ControlFlowInterfaces.h"
#include "mlir/Interfaces/InferTypeOpInterface.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"

namespace otodus::mega {

/// Product of the dimensions of an activation after batch and time.
int64_t flattenedWidth(mlir::RankedTensorType activation);

} // namespace otodus::mega

#define GET_OP_CLASSES
#include "mega/IR/MegaOps.h.inc"

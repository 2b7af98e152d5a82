//===- GkOps.h - The ops of the gk dialect ---------------------------------===//
//
// Each op is described in the .td file of its theme and in the generated
// docs/Dialects/Gk.md.
//
//===----------------------------------------------------------------------===//

#pragma once

#include "gk/IR/GkDialect.h"

#include "mlir/Dialect/LLVMIR/BasicPtxBuilderInterface.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/OpImplementation.h"

namespace otodus::gk {

/// Type of a warpgroup's accumulator of 64 rows and `n` columns as one thread holds it: a
/// literal struct of n / 2 f32. Element 4 j + e of thread t = 32 w + lane is row
/// 16 w + lane / 4 + 8 (e / 2), column 8 j + 2 (lane mod 4) + e mod 2.
mlir::LLVM::LLVMStructType getAccumulatorType(mlir::MLIRContext *context, int64_t n);

/// The `n` of an accumulator's type; 0 if `type` is not one.
int64_t getAccumulatorColumns(mlir::Type type);

} // namespace otodus::gk

#define GET_OP_CLASSES
#include "gk/IR/GkOps.h.inc"

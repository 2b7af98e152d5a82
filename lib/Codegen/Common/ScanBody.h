//===- ScanBody.h - The body of mega.scan in a kernel -----------*- C++ -*-===//
//
// Private to lib/Codegen.
//
//===----------------------------------------------------------------------===//

#pragma once

#include "mega/IR/MegaOps.h"

namespace otodus {

/// Writes a step of a scan for `lanes` channels as vectors, or for one as scalars (lanes 0).
class ScanBody {
public:
  ScanBody(mega::ScanOp op, mlir::OpBuilder &builder, int64_t lanes)
      : op(op), b(builder), lanes(lanes) {}

  /// `inputs` and `states` are f32; `states` become those after the step. Returns what the step
  /// adds to the output, f32. Errors: an op of the body that is not elementwise, or a value of
  /// outside, at that op.
  mlir::FailureOr<mlir::Value> emit(mlir::ArrayRef<mlir::Value> inputs,
                                    mlir::SmallVectorImpl<mlir::Value> &states);

private:
  mlir::Type typeOf(mlir::Type element);
  mlir::Value lookup(mlir::Value value);
  mlir::LogicalResult copy(mlir::Operation *inner);

  mega::ScanOp op;
  mlir::OpBuilder &b;
  int64_t lanes;
  llvm::DenseMap<mlir::Value, mlir::Value> values; ///< of the body
  llvm::DenseMap<mlir::Value, mlir::Value> wide;   ///< the f32 form of narrower arguments
};

} // namespace otodus

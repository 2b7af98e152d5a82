//===- Epilogue.h - Elementwise ops behind an op that is not row-wise ------===//
//
// Private to lib/Codegen. A group of attention may go on with elementwise ops on its output:
//
//   %o, … = mega.chunk_attention …
//   %g = arith.mulf %o, %gate
//
// They are computed where the output is about to be stored.
//
//===----------------------------------------------------------------------===//

#pragma once

#include "mega/IR/MegaOps.h"

namespace otodus {

class Epilogue {
public:
  /// What follows result 0 of the first op of `group`; nothing may follow.
  /// Failure: a diagnostic on an op that cannot be computed element by element, or on the group if
  /// result 0 itself is wanted outside too.
  static mlir::FailureOr<Epilogue> of(mega::GroupOp group);

  /// Operands of the group that the ops read besides the first op's result, of its shape.
  mlir::ArrayRef<mlir::Value> inputs() const { return read; }
  /// The number of the group's result that is stored.
  int64_t result() const { return number; }
  /// The stored value in the model, whose type says shape and element.
  mlir::Value value() const { return stored; }

  /// The stored element, or vector of elements, in f32. `first` and one of `inputs` for each of
  /// inputs() are f32 of the same shape.
  mlir::Value emit(mlir::OpBuilder &b, mlir::Location loc, mlir::Value first,
                   mlir::ValueRange inputs) const;

private:
  mlir::Value origin, stored;
  mlir::SmallVector<mlir::Operation *> ops;
  mlir::SmallVector<mlir::Value> read;
  int64_t number = 0;
};

} // namespace otodus

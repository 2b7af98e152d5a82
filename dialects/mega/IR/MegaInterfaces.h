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

/// What a backward step reads and writes while it is built; given to
/// DifferentiableOpInterface::buildBackward. Values are those of the function that is built.
class GradientBuilder {
public:
  virtual ~GradientBuilder() = default;

  /// Where ops are made.
  virtual mlir::OpBuilder &builder() = 0;
  /// What a value of the forward function is in the backward one. A state that an op updates is
  /// known as it is afterwards: ask for the op's result.
  virtual mlir::Value read(mlir::Value forward) = 0;
  /// Gradient of a result; null if nobody needs it.
  virtual mlir::Value gradientOf(mlir::Value result) = 0;
  /// Adds to the gradient of an operand.
  virtual void add(mlir::Value operand, mlir::Value gradient) = 0;
  /// `update` makes, from the gradient of a weight so far, the one with this op's share; `row`
  /// is the row of the weight that `weight` is, or 0. Not called for weights that are not trained.
  virtual void accumulate(mlir::Value weight,
                          llvm::function_ref<mlir::Value(mlir::Value sum, int64_t row)> update) = 0;
  /// The tensor that a weight's gradient is added to, for ops that add to several; null if it is
  /// not trained. `setSum` gives back what it has become.
  virtual mlir::Value sumOf(mlir::Value weight) = 0;
  virtual void setSum(mlir::Value weight, mlir::Value sum) = 0;
  /// The gradient of what a state operand becomes; `setStateGradient` gives back that of what it
  /// was.
  virtual mlir::Value stateGradientOf(mlir::Value stateOperand) = 0;
  virtual void setStateGradient(mlir::Value stateOperand, mlir::Value gradient) = 0;
  /// Numbers that the host sets before a call (formats::BufferKind::Scalars).
  virtual mlir::Value scalars() = 0;
};

namespace detail {
/// States enter and leave pairwise with one type.
llvm::LogicalResult verifySequenceOp(mlir::Operation *op);
} // namespace detail

} // namespace otodus::mega

#include "mega/IR/MegaInterfaces.h.inc"

//===- Gradients.h - The backward steps of ops ------------------------------===//
//
// Private to lib/Transforms. The backward of an op is an external model of
// DifferentiableOpInterface in the file of the op's family. An op that is new joins by one more
// model; an op without one is an error where its gradient is needed.
//
//===----------------------------------------------------------------------===//

#pragma once

#include "mega/IR/MegaOps.h"

namespace otodus {

/// The base of models: `Model` has
///   LogicalResult backward(Op op, mega::GradientBuilder &g) const;
template <typename Model, typename Op>
struct GradientOf : mega::DifferentiableOpInterface::ExternalModel<Model, Op> {
  llvm::LogicalResult buildBackward(mlir::Operation *op, mega::GradientBuilder &g) const {
    return static_cast<const Model *>(this)->backward(mlir::cast<Op>(op), g);
  }
};

void registerElementwiseGradients(mlir::DialectRegistry &registry);
void registerLayerGradients(mlir::DialectRegistry &registry);
void registerSequenceGradients(mlir::DialectRegistry &registry);
void registerAttentionGradients(mlir::DialectRegistry &registry);

} // namespace otodus

//===- MegaGradientOps.cpp - What only training needs ----------------------===//

#include "mega/IR/OpHelpers.h"

using namespace mlir;
using namespace otodus;
using namespace otodus::mega;
using namespace otodus::mega::detail;

SmallVector<OpOperand *> mega::detail::lastOperands(Operation *op, unsigned count) {
  SmallVector<OpOperand *> operands;
  for (OpOperand &operand : op->getOpOperands().take_back(count))
    operands.push_back(&operand);
  return operands;
}

SmallVector<OpResult> mega::detail::lastResults(Operation *op, unsigned count) {
  return llvm::map_to_vector(op->getResults().take_back(count),
                             [](Value value) { return cast<OpResult>(value); });
}

//===----------------------------------------------------------------------===//
// Products
//===----------------------------------------------------------------------===//

LogicalResult LinearInputGradientOp::verify() {
  int64_t outputs = flattenedWidth(getDy().getType()), inputs = flattenedWidth(getDx().getType());
  return verifyShape(*this, "weight", getWeight().getType(), "[N, K]", {outputs, inputs});
}

LogicalResult LinearWeightGradientOp::verify() {
  int64_t outputs = flattenedWidth(getDy().getType()), inputs = flattenedWidth(getInput().getType());
  return verifyShape(*this, "dweight", getDweight().getType(), "[N, K]", {outputs, inputs});
}

//===----------------------------------------------------------------------===//
// Saving forms
//===----------------------------------------------------------------------===//

SmallVector<OpOperand *> TimestepNormSavingOp::getStateOperands() {
  return {&getCountMutable(), &getMeanMutable(), &getVarianceMutable()};
}

SmallVector<OpResult> TimestepNormSavingOp::getStateResults() {
  return {cast<OpResult>(getNewCount()), cast<OpResult>(getNewMean()),
          cast<OpResult>(getNewVariance())};
}

SmallVector<OpOperand *> CemaSavingOp::getStateOperands() { return {&getStateMutable()}; }

SmallVector<OpResult> CemaSavingOp::getStateResults() { return {cast<OpResult>(getNewState())}; }

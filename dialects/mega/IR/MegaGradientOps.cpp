//===- MegaGradientOps.cpp - What only training needs ----------------------===//

#include "mega/IR/OpHelpers.h"

#include "mlir/IR/TypeUtilities.h"

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
  Type element = getWeight().getType().getElementType();
  if (failed(verifyElement(*this, "dy", getDy().getType(), element)) ||
      failed(verifyElement(*this, "dx", getDx().getType(), element)))
    return failure();
  int64_t outputs = flattenedWidth(getDy().getType()), inputs = flattenedWidth(getDx().getType());
  return verifyShape(*this, "weight", getWeight().getType(), "[N, K]", {outputs, inputs});
}

LogicalResult LinearWeightGradientOp::verify() {
  if (failed(verifyElement(*this, "dy", getDy().getType(), getInput().getType().getElementType())))
    return failure();
  int64_t outputs = flattenedWidth(getDy().getType()), inputs = flattenedWidth(getInput().getType());
  return verifyShape(*this, "dweight", getDweight().getType(), "[N, K]", {outputs, inputs});
}

//===----------------------------------------------------------------------===//
// Row by row
//===----------------------------------------------------------------------===//

LogicalResult RotateGradientOp::verify() {
  RankedTensorType query = getDquery().getType();
  if (failed(verifyF32(*this, "angles", getAngles().getType())))
    return failure();
  return verifyShape(*this, "angles", getAngles().getType(), "[B, L, 2, d]",
                     {query.getDimSize(0), query.getDimSize(1), 2, query.getDimSize(3)});
}

/// One gain for every element of a row, if there are any.
static LogicalResult verifyGain(Operation *op, RankedTensorType input, Value weight) {
  if (!weight)
    return success();
  return verifyShape(op, "weight", weight.getType(), "[W]", {flattenedWidth(input)});
}

LogicalResult RmsNormGradientOp::verify() {
  if (failed(verifyGain(*this, getInput().getType(), getWeight())) ||
      failed(verifyEps(*this, getEps())))
    return failure();
  return verifyScale(*this, getScale());
}

LogicalResult LayerNormGradientOp::verify() {
  if (failed(verifyGain(*this, getInput().getType(), getWeight())))
    return failure();
  return verifyEps(*this, getEps());
}

//===----------------------------------------------------------------------===//
// Sums over rows
//===----------------------------------------------------------------------===//

LogicalResult ColumnSumOp::verify() {
  auto sum = cast<RankedTensorType>(getSum().getType());
  int64_t width = flattenedWidth(getInput().getType());
  if (getFactor() && flattenedWidth(getFactor().getType()) != width)
    return emitOpError("expects a factor of the width ")
           << width << " of its input, but got " << getFactor().getType();
  if (getFactor() && failed(verifyElement(*this, "factor", getFactor().getType(),
                                          getElementTypeOrSelf(getInput().getType()))))
    return failure();
  // All elements are one row, or those behind dimension 0 are.
  int64_t elements = sum.hasStaticShape() ? sum.getNumElements() : 0;
  int64_t rows = elements == width ? 1 : sum.getRank() > 1 ? sum.getDimSize(0) : 0;
  if (elements == 0 || elements != rows * width)
    return emitOpError("expects a sum of ")
           << width << " elements, or rows of as many, but got " << sum;
  if (int64_t row = getRow(); row < 0 || row >= rows)
    return emitOpError("expects a row of its sum, which has ") << rows << ", but got " << row;
  return success();
}

LogicalResult EmbedGradientOp::verify() {
  RankedTensorType tokens = getTokens().getType(), dy = getDy().getType();
  if (failed(verifyShape(*this, "dy", dy, "[B, L, D]",
                         {tokens.getDimSize(0), tokens.getDimSize(1),
                          getDtable().getType().getDimSize(1)})))
    return failure();
  return verifyScale(*this, getScale());
}

//===----------------------------------------------------------------------===//
// Loss and optimizer
//===----------------------------------------------------------------------===//

/// What the three ops of the loss share: a row of the weight has the input's width and type, and
/// there is a target for each row.
static LogicalResult verifyLoss(Operation *op, RankedTensorType input, RankedTensorType weight,
                                Type targets) {
  if (failed(verifyElement(op, "weight", weight, input.getElementType())) ||
      failed(verifyShape(op, "weight", weight, "[V, D]",
                         {weight.getDimSize(0), input.getDimSize(2)})))
    return failure();
  return verifyShape(op, "targets", targets, "[B, L]", {input.getDimSize(0), input.getDimSize(1)});
}

LogicalResult LinearCrossEntropyOp::verify() {
  return verifyLoss(*this, getInput().getType(), getWeight().getType(), getTargets().getType());
}

LogicalResult LossInputGradientOp::verify() {
  if (failed(verifyLoss(*this, getInput().getType(), getWeight().getType(),
                        getTargets().getType())))
    return failure();
  return verifyShape(*this, "scalars", getScalars().getType(), "[16]", {16});
}

LogicalResult LossWeightGradientOp::verify() {
  if (failed(verifyLoss(*this, getInput().getType(), getWeight().getType(),
                        getTargets().getType())) ||
      failed(verifyShape(*this, "dweight", getDweight().getType(), "[V, D]",
                         getWeight().getType().getShape())))
    return failure();
  return verifyShape(*this, "scalars", getScalars().getType(), "[16]", {16});
}

LogicalResult SquaresOp::verify() {
  int64_t size = getInput().getType().getDimSize(0);
  return verifyShape(*this, "sums", getSums().getType(), "[n / 1024]",
                     {ShapedType::isDynamic(size) ? size : size / 1024});
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

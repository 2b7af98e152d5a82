//===- MegaLayerOps.cpp - Layers without time ------------------------------===//

#include "mega/IR/OpHelpers.h"

using namespace mlir;
using namespace otodus;
using namespace otodus::mega;
using namespace otodus::mega::detail;

/// The weight and bias of a norm over `input`.
static LogicalResult verifyAffine(Operation *op, RankedTensorType input, Value weight, Value bias) {
  int64_t width = flattenedWidth(input);
  if (weight && failed(verifyShape(op, "weight", weight.getType(), "[W]", width))) // (C1)
    return failure();
  if (bias && failed(verifyShape(op, "bias", bias.getType(), "[W]", width))) // (C2)
    return failure();
  return success();
}

/// A scale of 1 is the same as none.
template <typename OpT> static LogicalResult dropUnitScale(OpT op, PatternRewriter &rewriter) {
  if (!op.getScale() || !op.getScale()->isExactlyValue(1.0))
    return rewriter.notifyMatchFailure(op, "no scale of 1");
  rewriter.modifyOpInPlace(op, [&] { op.removeScaleAttr(); });
  return success();
}

//===----------------------------------------------------------------------===//
// embed
//===----------------------------------------------------------------------===//

RowRole EmbedOp::getRowRole() { return RowRole::Gather; }

LogicalResult EmbedOp::verify() {
  RankedTensorType tokens = getTokens().getType(), table = getTable().getType();
  RankedTensorType result = getResult().getType();
  if (failed(
          verifyShape(*this, "the result", result, "[B, L, D]",
                      {tokens.getDimSize(0), tokens.getDimSize(1), table.getDimSize(1)}))) // (C1)
    return failure();
  if (result.getElementType() != table.getElementType()) // (C1)
    return emitOpError("expects a result of the table's element type ")
           << table.getElementType() << ", but got " << result.getElementType();
  return verifyScale(*this, getScale()); // (C2)
}

LogicalResult EmbedOp::canonicalize(EmbedOp op, PatternRewriter &rewriter) {
  return dropUnitScale(op, rewriter);
}

//===----------------------------------------------------------------------===//
// linear
//===----------------------------------------------------------------------===//

RowRole LinearOp::getRowRole() { return RowRole::Contraction; }

LogicalResult LinearOp::verify() {
  RankedTensorType input = getInput().getType(), weight = getWeight().getType();
  RankedTensorType result = getResult().getType();
  int64_t outputs = weight.getDimSize(0);
  if (failed(
          verifyShape(*this, "weight", weight, "[N, K]", {outputs, flattenedWidth(input)}))) // (C1)
    return failure();
  if (weight.getElementType() != input.getElementType()) // (C2)
    return emitOpError("expects a weight of the input's element type ")
           << input.getElementType() << ", but got " << weight.getElementType();
  if (!sizesAgree(input.getDimSize(0), result.getDimSize(0)) || // (C3)
      !sizesAgree(input.getDimSize(1), result.getDimSize(1)))
    return emitOpError("expects a result with the batch and time of the input, but got ")
           << result << " from " << input;
  if (!sizesAgree(outputs, flattenedWidth(result))) // (C3)
    return emitOpError("expects a result of flattened width ")
           << outputs << ", but got " << flattenedWidth(result);
  if (result.getElementType() != input.getElementType() && !result.getElementType().isF32()) // (C4)
    return emitOpError("expects a result of the input's element type ")
           << input.getElementType() << " or f32, but got " << result.getElementType();
  if (getBias()) // (C5)
    return verifyShape(*this, "bias", getBias().getType(), "[N]", outputs);
  return success();
}

//===----------------------------------------------------------------------===//
// silu
//===----------------------------------------------------------------------===//

RowRole SiluOp::getRowRole() { return RowRole::Elementwise; }

//===----------------------------------------------------------------------===//
// scale
//===----------------------------------------------------------------------===//

RowRole ScaleOp::getRowRole() { return RowRole::Elementwise; }

LogicalResult ScaleOp::verify() {
  return verifyShape(*this, "factor", getFactor().getType(), "[W]",
                     flattenedWidth(getInput().getType())); // (C1)
}

//===----------------------------------------------------------------------===//
// rms_norm
//===----------------------------------------------------------------------===//

RowRole RmsNormOp::getRowRole() { return RowRole::RowReduction; }

LogicalResult RmsNormOp::verify() {
  if (failed(verifyAffine(*this, getInput().getType(), getWeight(), getBias())) || // (C1) (C2)
      failed(verifyEps(*this, getEps())))                                          // (C3)
    return failure();
  return verifyScale(*this, getScale()); // (C4)
}

LogicalResult RmsNormOp::canonicalize(RmsNormOp op, PatternRewriter &rewriter) {
  return dropUnitScale(op, rewriter);
}

//===----------------------------------------------------------------------===//
// layer_norm
//===----------------------------------------------------------------------===//

RowRole LayerNormOp::getRowRole() { return RowRole::RowReduction; }

LogicalResult LayerNormOp::verify() {
  if (failed(verifyAffine(*this, getInput().getType(), getWeight(), getBias()))) // (C1) (C2)
    return failure();
  return verifyEps(*this, getEps()); // (C3)
}

//===----------------------------------------------------------------------===//
// last
//===----------------------------------------------------------------------===//

RowRole LastOp::getRowRole() { return RowRole::Gather; }

LogicalResult LastOp::verify() {
  RankedTensorType input = getInput().getType(), result = getResult().getType();
  if (result.getDimSize(1) != 1) // (C1), and a dynamic time is not 1 either
    return emitOpError("expects a result of one step, but got ") << result;
  if (failed(verifyShape(*this, "the result", result, "[B, 1, W]",
                         {input.getDimSize(0), 1, input.getDimSize(2)}))) // (C1)
    return failure();
  if (result.getElementType() != input.getElementType()) // (C1)
    return emitOpError("expects a result of the input's element type ")
           << input.getElementType() << ", but got " << result.getElementType();
  if (input.getDimSize(1) == 0) // (C2)
    return emitOpError("expects at least one step, but got ") << input;
  return success();
}

OpFoldResult LastOp::fold(FoldAdaptor) {
  // The only step is the last one.
  return getInput().getType() == getResult().getType() ? OpFoldResult(getInput()) : OpFoldResult();
}

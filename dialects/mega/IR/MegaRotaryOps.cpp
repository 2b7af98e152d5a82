//===- MegaRotaryOps.cpp - Rotation in two halves --------------------------===//

#include "mega/IR/MegaOps.h"

#include "mega/IR/OpHelpers.h"

using namespace mlir;
using namespace otodus::mega::detail;

namespace otodus::mega {

RowRole RotaryAnglesOp::getRowRole() { return RowRole::Gather; }

LogicalResult RotaryAnglesOp::verify() {
  RankedTensorType result = getResult().getType();
  int64_t pairs = getFreqs().getType().getDimSize(0);
  if (result.getDimSize(2) != 2 || result.getDimSize(3) != 2 * pairs ||
      !result.getElementType().isF32()) // (C1)
    return emitOpError("expects an f32 result [B, L, 2, ") << 2 * pairs << "], but got " << result;
  if (failed(verifyShape(*this, "position", getPosition().getType(), "[B]",
                         result.getDimSize(0)))) // (C2)
    return failure();
  auto like = cast<RankedTensorType>(getLike().getType());
  if (like.getRank() < 2 || !sizesAgree(like.getDimSize(0), result.getDimSize(0)) ||
      !sizesAgree(like.getDimSize(1), result.getDimSize(1))) // (C3)
    return emitOpError("expects a result with the batch and time of like, but got ")
           << result << " from " << like;
  return success();
}

RowRole RotateOp::getRowRole() { return RowRole::Elementwise; }

LogicalResult RotateOp::verify() {
  RankedTensorType query = getQuery().getType(), angles = getAngles().getType();
  if (getKey().getType() != query) // (C1)
    return emitOpError("expects query and key of one type, but got ")
           << query << " and " << getKey().getType();
  if (angles.getDimSize(2) != 2 || angles.getDimSize(3) != query.getDimSize(3) ||
      !angles.getElementType().isF32() || !sizesAgree(angles.getDimSize(0), query.getDimSize(0)) ||
      !sizesAgree(angles.getDimSize(1), query.getDimSize(1))) // (C2)
    return emitOpError("expects angles f32[B, L, 2, ")
           << query.getDimSize(3) << "] with the batch and time of " << query << ", but got "
           << angles;
  return success();
}

} // namespace otodus::mega

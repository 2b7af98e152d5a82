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
  return verifyShape(*this, "position", getPosition().getType(), "[B]",
                     result.getDimSize(0)); // (C2)
}

RowRole RotateOp::getRowRole() { return RowRole::Elementwise; }

LogicalResult RotateOp::verify() {
  RankedTensorType query = getQuery().getType(), angles = getAngles().getType();
  if (getKey().getType() != query) // (C1)
    return emitOpError("expects query and key of one type, but got ")
           << query << " and " << getKey().getType();
  if (angles.getDimSize(2) != 2 || angles.getDimSize(3) != query.getDimSize(3) ||
      !angles.getElementType().isF32()) // (C2)
    return emitOpError("expects angles f32[B, L, 2, ")
           << query.getDimSize(3) << "], but got " << angles;
  return success();
}

} // namespace otodus::mega

//===- MegaDropoutOps.cpp - Dropout ----------------------------------------===//

#include "mega/IR/OpHelpers.h"

using namespace mlir;
using namespace otodus;
using namespace otodus::mega;
using namespace otodus::mega::detail;

RowRole DropoutOp::getRowRole() { return RowRole::Elementwise; }

LogicalResult DropoutOp::verify() {
  RankedTensorType input = getInput().getType();
  if (failed(verifyShape(*this, "row_numbers", getRowNumbers().getType(), "[B, L]",
                         {input.getDimSize(0), input.getDimSize(1)})) || // (C1)
      failed(verifyShape(*this, "noise", getNoise().getType(), "[4]", {4}))) // (C2)
    return failure();
  double p = getP().convertToDouble();
  if (!(p >= 0 && p < 1)) // (C3)
    return emitOpError("expects p in [0, 1), but got ") << p;
  if (getPlace() < 0 || getPlace() >= 16) // (C4)
    return emitOpError("expects place in [0, 16), but got ") << getPlace();
  return success();
}

OpFoldResult DropoutOp::fold(FoldAdaptor) {
  return getP().isZero() ? OpFoldResult(getInput()) : OpFoldResult();
}

//===- MegaSamplingOps.cpp - From logits to the next token -----------------===//

#include "mega/IR/OpHelpers.h"

using namespace mlir;
using namespace otodus;
using namespace otodus::mega;
using namespace otodus::mega::detail;

/// A sum of so many weights of 2^40 has 64 bits (lib/Codegen/Common/SampleEmitter.h).
static constexpr int64_t kMostTokens = int64_t(1) << 24;

RowRole SampleOp::getRowRole() { return RowRole::Accumulation; }

LogicalResult SampleOp::verify() {
  RankedTensorType logits = getLogits().getType();
  if (logits.getDimSize(1) != 1) // (C1), and a dynamic time is not 1 either
    return emitOpError("expects logits of one step, [B, 1, V], but got ")
           << logits << "; mega.last gives the last step of several";
  if (logits.getDimSize(2) > kMostTokens) // (C1)
    return emitOpError("expects a vocabulary of at most 2^24, but got ") << logits.getDimSize(2);
  int64_t batch = logits.getDimSize(0);
  if (failed(verifyShape(*this, "options", getOptions().getType(), "[16]", {16})) || // (C2)
      failed(verifyShape(*this, "position", getPosition().getType(), "[B]", {batch}))) // (C3)
    return failure();
  return verifyShape(*this, "the result", getToken().getType(), "[B, 1, 1]", {batch, 1, 1}); // (C3)
}

//===- MegaAttentionOps.cpp - Attention over a chunk -----------------------===//

#include "mega/IR/OpHelpers.h"

using namespace mlir;
using namespace otodus;
using namespace otodus::mega;
using namespace otodus::mega::detail;

//===----------------------------------------------------------------------===//
// rotary
//===----------------------------------------------------------------------===//

RowRole RotaryOp::getRowRole() { return RowRole::Elementwise; }

LogicalResult RotaryOp::verify() {
  RankedTensorType query = getQuery().getType(), key = getKey().getType();
  for (unsigned dim : {0u, 1u, 3u})
    if (!sizesAgree(query.getDimSize(dim), key.getDimSize(dim))) // (C1)
      return emitOpError("expects query and key to have the same batch, time and features, but "
                         "got ")
             << query << " and " << key;
  int64_t features = query.getDimSize(3);
  if (features % 2 != 0) // (C2)
    return emitOpError("expects an even number of features per head, but got ") << features;
  if (failed(verifyShape(*this, "freqs", getFreqs().getType(), "[dz / 2]", features / 2)) || // (C3)
      failed(verifyShape(*this, "position", getPosition().getType(), "[B]",
                         query.getDimSize(0)))) // (C4)
    return failure();
  if (query.getElementType() != key.getElementType()) // (C5)
    return emitOpError("expects query and key to have the same element type, but got ")
           << query.getElementType() << " and " << key.getElementType();
  return success();
}

//===----------------------------------------------------------------------===//
// chunk_attention
//===----------------------------------------------------------------------===//

RowRole ChunkAttentionOp::getRowRole() { return RowRole::Attention; }

SmallVector<OpOperand *> ChunkAttentionOp::getStateOperands() {
  return {&getKeysMutable(), &getValuesMutable()};
}

SmallVector<OpResult> ChunkAttentionOp::getStateResults() {
  return {cast<OpResult>(getNewKeys()), cast<OpResult>(getNewValues())};
}

LogicalResult ChunkAttentionOp::verify() {
  RankedTensorType query = getQuery().getType(), value = getValue().getType();
  int64_t batch = query.getDimSize(0), heads = query.getDimSize(2);
  int64_t chunk = getChunk(), keyFeatures = query.getDimSize(3),
          valueFeatures = value.getDimSize(3);
  if (failed(verifyShape(*this, "value", value, "[B, L, H, dv]",
                         {batch, query.getDimSize(1), heads, valueFeatures})) || // (C1)
      failed(verifyShape(*this, "keys", getKeys().getType(), "[B, C, H, dz]",
                         {batch, chunk, heads, keyFeatures})) || // (C2)
      failed(verifyShape(*this, "values", getValues().getType(), "[B, C, H, dv]",
                         {batch, chunk, heads, valueFeatures})) ||                   // (C3)
      failed(verifyShape(*this, "position", getPosition().getType(), "[B]", batch))) // (C4)
    return failure();
  for (RankedTensorType type : {value, getKeys().getType(), getValues().getType()})
    if (type.getElementType() != query.getElementType()) // (C5)
      return emitOpError("expects one element type, but got ")
             << query.getElementType() << " and " << type.getElementType();
  return success();
}

//===- Attention.cpp - Backward of rotation and chunk attention -------------===//

#include "Gradients.h"

#include "mlir/Dialect/Arith/IR/Arith.h"

using namespace mlir;
using otodus::mega::GradientBuilder;

namespace otodus {
namespace {

/// spec 3.6: back by the same angles, which depend on positions alone.
struct Rotate : GradientOf<Rotate, mega::RotateOp> {
  LogicalResult backward(mega::RotateOp op, GradientBuilder &g) const {
    Value dq = g.gradientOf(op.getNewQuery()), dk = g.gradientOf(op.getNewKey());
    if (!dq || !dk)
      return op.emitOpError("expects both of its results to be used");
    auto made = mega::RotateGradientOp::create(g.builder(), op.getLoc(), dq.getType(), dk.getType(),
                                               dq, dk, g.read(op.getAngles()));
    g.add(op.getQuery(), made.getDinputQuery());
    g.add(op.getKey(), made.getDinputKey());
    return success();
  }
};

/// spec 3.7. The scores are computed again: once by rows for queries, once by keys.
struct ChunkAttention : GradientOf<ChunkAttention, mega::ChunkAttentionOp> {
  LogicalResult backward(mega::ChunkAttentionOp op, GradientBuilder &g) const {
    OpBuilder &b = g.builder();
    Location loc = op.getLoc();
    Value q = g.read(op.getQuery()), dO = g.gradientOf(op.getOutput());
    Value keys = g.read(op.getNewKeys()), values = g.read(op.getNewValues());
    Value position = g.read(op.getPosition());
    RankedTensorType query = op.getQuery().getType(), value = op.getValue().getType();
    auto padded = [](int64_t size) { return (size + 31) / 32 * 32; };
    int64_t heads = query.getDimSize(2), slots = heads * padded(op.getChunk());
    Type f32 = b.getF32Type();
    auto perSequence = [&](int64_t features) {
      return RankedTensorType::get({query.getDimSize(0), 1, slots * padded(features)},
                                   query.getElementType());
    };
    auto panels = mega::ChunkPanelsOp::create(b, loc, perSequence(query.getDimSize(3)),
                                              perSequence(value.getDimSize(3)), keys, values);
    auto perHead = RankedTensorType::get({query.getDimSize(0), query.getDimSize(1), heads}, f32);
    auto queries = mega::ChunkQueryGradientOp::create(
        b, loc, query, perHead, perHead, q, g.read(op.getOutput()), dO, keys, panels.getKeyRows(),
        panels.getValueColumns(), position, op.getChunkAttr());
    g.add(op.getQuery(), queries.getDquery());
    Value dkeys = g.stateGradientOf(op.getKeys()), dvalues = g.stateGradientOf(op.getValues());
    Type types[] = {op.getKey().getType(), op.getValue().getType(), dkeys.getType(),
                    dvalues.getType()};
    auto made = mega::ChunkKeyGradientOp::create(
        b, loc, types, q, dO, queries.getLogSum(), queries.getDot(), keys,
        panels.getValueColumns(), position, dkeys, dvalues, op.getChunkAttr());
    g.add(op.getKey(), made.getDkey());
    g.add(op.getValue(), made.getDvalue());
    g.setStateGradient(op.getKeys(), made.getNewDkeys());
    g.setStateGradient(op.getValues(), made.getNewDvalues());
    return success();
  }
};

} // namespace

void registerAttentionGradients(DialectRegistry &registry) {
  registry.addExtension(+[](MLIRContext *context, mega::MegaDialect *) {
    mega::RotateOp::attachInterface<Rotate>(*context);
    mega::ChunkAttentionOp::attachInterface<ChunkAttention>(*context);
  });
}

} // namespace otodus

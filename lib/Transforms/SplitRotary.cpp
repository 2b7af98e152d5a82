//===- SplitRotary.cpp - Angles and rotation apart -------------------------===//

#include "otodus/Transforms/Passes.h"

#include "mlir/Transforms/GreedyPatternRewriteDriver.h"

namespace otodus {
#define GEN_PASS_DEF_SPLITROTARY
#include "otodus/Transforms/Passes.h.inc"
} // namespace otodus

using namespace mlir;

namespace otodus {
namespace {

///   %q1, %k1 = rotary %q, %k, %freqs at %position chunk(C)
/// ==>
///   %angles = rotary_angles %freqs at %position like %q chunk(C)
///   %q1, %k1 = rotate %q, %k by %angles
struct SplitRotaryOp : OpRewritePattern<mega::RotaryOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(mega::RotaryOp op, PatternRewriter &rewriter) const override {
    RankedTensorType query = op.getQuery().getType();
    if (query != op.getKey().getType())
      return rewriter.notifyMatchFailure(op, "query and key have different shapes");
    auto type = RankedTensorType::get(
        {query.getDimSize(0), query.getDimSize(1), 2, query.getDimSize(3)}, rewriter.getF32Type());
    // Batch and time are taken from where the query comes from in the end: then the angles do
    // not depend on what is rotated, and the rotation may join its producers' kernel.
    Value like = op.getQuery();
    while (Operation *producer = like.getDefiningOp()) {
      if (producer->getNumOperands() == 0)
        break;
      auto source = dyn_cast<RankedTensorType>(producer->getOperand(0).getType());
      if (!source || source.getRank() < 2 ||
          source.getShape().take_front(2) != query.getShape().take_front(2))
        break;
      like = producer->getOperand(0);
    }
    Value angles = mega::RotaryAnglesOp::create(rewriter, op.getLoc(), type, op.getFreqs(),
                                                op.getPosition(), like, op.getChunkAttr());
    rewriter.replaceOpWithNewOp<mega::RotateOp>(op, op->getResultTypes(),
                                                ValueRange{op.getQuery(), op.getKey(), angles});
    return success();
  }
};

struct SplitRotary : impl::SplitRotaryBase<SplitRotary> {
  using SplitRotaryBase::SplitRotaryBase;

  void runOnOperation() override {
    RewritePatternSet patterns(&getContext());
    patterns.add<SplitRotaryOp>(&getContext());
    if (failed(applyPatternsGreedily(getOperation(), std::move(patterns))))
      signalPassFailure();
  }
};

} // namespace
} // namespace otodus

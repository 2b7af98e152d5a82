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
    Value angles = mega::RotaryAnglesOp::create(rewriter, op.getLoc(), type, op.getFreqs(),
                                                op.getPosition(), op.getQuery(),
                                                op.getChunkAttr());
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

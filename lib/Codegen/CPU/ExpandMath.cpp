//===- ExpandMath.cpp - Polynomials instead of library calls ---------------===//

#include "otodus/Codegen/CPU/Passes.h"

#include "mlir/Dialect/Math/Transforms/Approximation.h"
#include "mlir/Dialect/Math/Transforms/Passes.h"
#include "mlir/Transforms/GreedyPatternRewriteDriver.h"

namespace otodus {
#define GEN_PASS_DEF_EXPANDMATH
#include "otodus/Codegen/CPU/Passes.h.inc"
} // namespace otodus

using namespace mlir;

namespace otodus {
namespace {

///   %s = addf (mulf %a, %b), %c   ==>   %s = math.fma %a, %b, %c
///
/// More exact, never less. It is done here and not left to LLVM's `contract` flag, because LLVM
/// decides by uses and registers: then the same row could round differently in kernels for 1
/// and for 12 rows, and a result would depend on what else is in the batch.
struct FuseProductAndSum : OpRewritePattern<arith::AddFOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(arith::AddFOp add, PatternRewriter &rewriter) const override {
    for (auto [product, summand] :
         {std::pair(add.getLhs(), add.getRhs()), std::pair(add.getRhs(), add.getLhs())}) {
      auto mul = product.getDefiningOp<arith::MulFOp>();
      if (!mul)
        continue;
      rewriter.replaceOpWithNewOp<math::FmaOp>(add, mul.getLhs(), mul.getRhs(), summand);
      return success();
    }
    return rewriter.notifyMatchFailure(add, "no summand is a product");
  }
};

struct ExpandMath : impl::ExpandMathBase<ExpandMath> {
  using ExpandMathBase::ExpandMathBase;

  void runOnOperation() override {
    RewritePatternSet patterns(&getContext());
    patterns.add<FuseProductAndSum>(&getContext());
    populateMathPolynomialApproximationPatterns(patterns, [](StringRef name) {
      return llvm::is_contained({math::ExpOp::getOperationName(), math::LogOp::getOperationName(),
                                 math::TanhOp::getOperationName(), math::ErfOp::getOperationName()},
                                name);
    });
    if (failed(applyPatternsGreedily(getOperation(), std::move(patterns))))
      return signalPassFailure();

    // What is left has to be an instruction or a few: kernels are linked with no library.
    WalkResult found = getOperation()->walk([](Operation *op) {
      if ((!isa_and_nonnull<math::MathDialect>(op->getDialect()) && !isa<arith::RemFOp>(op)) ||
          isa<math::SqrtOp, math::RsqrtOp, math::FmaOp, math::AbsFOp, math::FloorOp, math::CeilOp,
              math::RoundEvenOp, math::TruncOp, math::CopySignOp>(op))
        return WalkResult::advance();
      op->emitOpError("has no form in a kernel, which cannot call a library; exp, log, tanh, erf "
                      "and sqrt have one");
      return WalkResult::interrupt();
    });
    if (found.wasInterrupted())
      signalPassFailure();
  }
};

} // namespace
} // namespace otodus

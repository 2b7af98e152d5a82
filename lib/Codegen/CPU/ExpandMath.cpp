//===- ExpandMath.cpp - Polynomials instead of library calls ---------------===//

#include "otodus/Codegen/CPU/Passes.h"
#include "otodus/Codegen/Common/KernelMath.h"

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
    populateMathPolynomialApproximationPatterns(patterns, isPolynomial);
    if (failed(applyPatternsGreedily(getOperation(), std::move(patterns))))
      return signalPassFailure();

    // Polynomials of a type that has none are left too.
    WalkResult found = getOperation()->walk([](Operation *op) {
      if (!needsLibrary(op) && !isPolynomial(op->getName().getStringRef()))
        return WalkResult::advance();
      emitNeedsLibrary(op);
      return WalkResult::interrupt();
    });
    if (found.wasInterrupted())
      signalPassFailure();
  }
};

} // namespace
} // namespace otodus

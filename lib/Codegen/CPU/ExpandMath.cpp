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

struct ExpandMath : impl::ExpandMathBase<ExpandMath> {
  using ExpandMathBase::ExpandMathBase;

  void runOnOperation() override {
    // Products and sums may fuse: the target's fma is more exact, never less.
    getOperation()->walk([](Operation *op) {
      if (!isa<arith::AddFOp, arith::SubFOp, arith::MulFOp>(op))
        return;
      auto fast = cast<arith::ArithFastMathInterface>(op);
      auto flags = fast.getFastMathFlagsAttr().getValue() | arith::FastMathFlags::contract;
      op->setAttr(fast.getFastMathAttrName(),
                  arith::FastMathFlagsAttr::get(op->getContext(), flags));
    });
    RewritePatternSet patterns(&getContext());
    populateMathPolynomialApproximationPatterns(patterns, [](StringRef name) {
      return llvm::is_contained({math::ExpOp::getOperationName(), math::LogOp::getOperationName(),
                                 math::TanhOp::getOperationName(), math::ErfOp::getOperationName()},
                                name);
    });
    if (failed(applyPatternsGreedily(getOperation(), std::move(patterns))))
      return signalPassFailure();

    // What is left has to be an instruction or a few: kernels are linked with no library.
    WalkResult found = getOperation()->walk([](Operation *op) {
      if (!isa_and_nonnull<math::MathDialect>(op->getDialect()) ||
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

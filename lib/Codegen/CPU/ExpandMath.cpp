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

//===- ExpandGpuMath.cpp - Mathematics in instructions of a GPU ------------===//

#include "otodus/Codegen/Common/KernelMath.h"
#include "otodus/Codegen/GPU/Passes.h"

#include "mlir/Dialect/Math/Transforms/Approximation.h"
#include "mlir/Dialect/Math/Transforms/Passes.h"
#include "mlir/IR/PatternMatch.h"
#include "mlir/Transforms/GreedyPatternRewriteDriver.h"

namespace otodus {
#define GEN_PASS_DEF_EXPANDGPUMATH
#include "otodus/Codegen/GPU/Passes.h.inc"
} // namespace otodus

using namespace mlir;

namespace otodus {
namespace {

/// exp(x) = 2^h (1 + l ln 2), where h + l is x log2 e in twice the precision. 2^h is one instruction
/// (ex2.approx, 2 ulp). With a rounded product alone the error would be |x| 2^-24.
struct ExpandExp : OpRewritePattern<math::ExpOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(math::ExpOp op, PatternRewriter &b) const override {
    Location loc = op.getLoc();
    Value x = op.getOperand();
    Type type = x.getType(), element = getElementTypeOrSelf(type);
    if (element.isBF16() || element.isF16()) {
      Type wide = b.getF32Type();
      if (auto vector = dyn_cast<VectorType>(type))
        wide = vector.cloneWith({}, wide);
      Value value = arith::ExtFOp::create(b, loc, wide, x);
      value = math::ExpOp::create(b, loc, value, op.getFastmath());
      b.replaceOpWithNewOp<arith::TruncFOp>(op, type, value);
      return success();
    }
    if (!element.isF32())
      return b.notifyMatchFailure(op, "of a type without ex2");
    auto constant = [&](double value) -> Value {
      TypedAttr attr = b.getF32FloatAttr(static_cast<float>(value));
      if (auto vector = dyn_cast<VectorType>(type))
        attr = DenseElementsAttr::get(vector, attr);
      return arith::ConstantOp::create(b, loc, attr);
    };
    constexpr double kLog2e = 1.4426950408889634074, kLn2 = 0.69314718055994530942;
    const double high = static_cast<float>(kLog2e), low = kLog2e - high;
    if (bitEnumContainsAll(op.getFastmath(), arith::FastMathFlags::afn)) {
      Value product = arith::MulFOp::create(b, loc, x, constant(high));
      b.replaceOpWithNewOp<math::Exp2Op>(op, product);
      return success();
    }
    // Below this the result is 0; -inf itself would give NaN in the second product.
    Value clamped = arith::MaximumFOp::create(b, loc, x, constant(-105.0));
    Value h = arith::MulFOp::create(b, loc, clamped, constant(high));
    Value minusH = arith::NegFOp::create(b, loc, h);
    Value l = math::FmaOp::create(b, loc, clamped, constant(high), minusH);
    l = math::FmaOp::create(b, loc, clamped, constant(low), l);
    Value power = math::Exp2Op::create(b, loc, h);
    Value factor = arith::MulFOp::create(b, loc, l, constant(kLn2));
    Value exact = math::FmaOp::create(b, loc, power, factor, power);
    // inf * 0 + inf is NaN.
    Value overflow =
        arith::CmpFOp::create(b, loc, arith::CmpFPredicate::OEQ, power,
                              constant(std::numeric_limits<float>::infinity()));
    b.replaceOpWithNewOp<arith::SelectOp>(op, overflow, power, exact);
    return success();
  }
};

struct ExpandGpuMath : impl::ExpandGpuMathBase<ExpandGpuMath> {
  using ExpandGpuMathBase::ExpandGpuMathBase;

  void runOnOperation() override {
    RewritePatternSet patterns(&getContext());
    patterns.add<ExpandExp, FuseProductAndSum>(&getContext());
    populateMathPolynomialApproximationPatterns(patterns, [](StringRef name) {
      return isPolynomial(name) && name != math::ExpOp::getOperationName();
    });
    if (failed(applyPatternsGreedily(getOperation(), std::move(patterns))))
      return signalPassFailure();

    WalkResult found = getOperation()->walk([](Operation *op) {
      // 2^x is an instruction, as long as it is of f32.
      auto power = dyn_cast<math::Exp2Op>(op);
      if (power ? getElementTypeOrSelf(power.getType()).isF32()
                : !needsLibrary(op) && !isPolynomial(op->getName().getStringRef()))
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

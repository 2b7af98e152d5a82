//===- KernelMath.h - What mathematics a kernel can have -------------------===//

#pragma once

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/IR/PatternMatch.h"

#include "llvm/ADT/STLExtras.h"

namespace otodus {

/// Ops, by name, that become polynomials.
inline bool isPolynomial(llvm::StringRef name) {
  return llvm::is_contained(
      {mlir::math::ExpOp::getOperationName(), mlir::math::LogOp::getOperationName(),
       mlir::math::TanhOp::getOperationName(), mlir::math::ErfOp::getOperationName()},
      name);
}

/// Whether `op` ends as a call of a library, with which no kernel is linked: all mathematics
/// but polynomials and what is an instruction or a few.
inline bool needsLibrary(mlir::Operation *op) {
  using namespace mlir;
  if (isa<arith::RemFOp>(op))
    return true;
  return isa_and_nonnull<math::MathDialect>(op->getDialect()) &&
         !isPolynomial(op->getName().getStringRef()) &&
         !isa<math::SqrtOp, math::RsqrtOp, math::FmaOp, math::AbsFOp, math::FloorOp, math::CeilOp,
              math::RoundEvenOp, math::TruncOp, math::CopySignOp>(op);
}

/// The error for such an op.
inline mlir::InFlightDiagnostic emitNeedsLibrary(mlir::Operation *op) {
  return op->emitOpError("has no form in a kernel, which cannot call a library; exp, log, tanh, "
                         "erf and sqrt have one");
}

///   %s = addf (mulf %a, %b), %c   ==>   %s = math.fma %a, %b, %c
///
/// More exact, never less. It is done here and not left to LLVM's `contract` flag (or to ptxas),
/// because they decide by uses and registers: then the same row could round differently in kernels
/// for 1 and for 12 rows, and a result would depend on what else is in the batch.
struct FuseProductAndSum : mlir::OpRewritePattern<mlir::arith::AddFOp> {
  using OpRewritePattern::OpRewritePattern;

  mlir::LogicalResult matchAndRewrite(mlir::arith::AddFOp add,
                                      mlir::PatternRewriter &rewriter) const override {
    for (auto [product, summand] :
         {std::pair(add.getLhs(), add.getRhs()), std::pair(add.getRhs(), add.getLhs())}) {
      auto mul = product.getDefiningOp<mlir::arith::MulFOp>();
      if (!mul)
        continue;
      rewriter.replaceOpWithNewOp<mlir::math::FmaOp>(add, mul.getLhs(), mul.getRhs(), summand);
      return mlir::success();
    }
    return rewriter.notifyMatchFailure(add, "no summand is a product");
  }
};

} // namespace otodus

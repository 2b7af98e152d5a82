//===- KernelMath.h - What mathematics a kernel can have -------------------===//

#pragma once

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"

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

} // namespace otodus

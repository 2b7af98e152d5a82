//===- OpHelpers.h - What the families of ops share ------------------------===//
//
// Private to dialects/mega/IR.
//
//===----------------------------------------------------------------------===//

#pragma once

#include "mega/IR/MegaOps.h"

namespace otodus::mega::detail {

/// True if two sizes can be the same at run time.
inline bool sizesAgree(int64_t a, int64_t b) {
  return mlir::ShapedType::isDynamic(a) || mlir::ShapedType::isDynamic(b) || a == b;
}

/// Error unless `type` can have the shape `expected`, a dynamic size agreeing with
/// any. `letters` names the sizes as the op's description does, e.g. "[D, N, 1]".
llvm::LogicalResult verifyShape(mlir::Operation *op, llvm::StringRef what, mlir::Type type,
                                llvm::StringRef letters, llvm::ArrayRef<int64_t> expected);

/// Error unless `type` has the element type `element`.
llvm::LogicalResult verifyElement(mlir::Operation *op, llvm::StringRef what, mlir::Type type,
                                  mlir::Type element);

/// Error unless `type` is of f32, as sums and statistics are whatever activations are.
llvm::LogicalResult verifyF32(mlir::Operation *op, llvm::StringRef what, mlir::Type type);

/// Error unless `value` is positive and finite.
llvm::LogicalResult verifyEps(mlir::Operation *op, const llvm::APFloat &value);

/// Error unless `value` is absent or finite.
llvm::LogicalResult verifyScale(mlir::Operation *op, const std::optional<llvm::APFloat> &value);

/// The sizes of every result: a state's are those of the state that entered, all others
/// have the batch and time of the op's activations and are static otherwise.
llvm::LogicalResult reifyResultShapes(mlir::Operation *op, mlir::OpBuilder &builder,
                                      mlir::ReifiedRankedShapedTypeDims &shapes);

/// The last `count` operands and results, which are tied to each other in order.
llvm::SmallVector<mlir::OpOperand *> lastOperands(mlir::Operation *op, unsigned count);
llvm::SmallVector<mlir::OpResult> lastResults(mlir::Operation *op, unsigned count);

/// Reads and writes the types of results that equal those of operands: nothing.
mlir::ParseResult parseSameTypes(mlir::OpAsmParser &parser, llvm::ArrayRef<mlir::Type> from,
                                 llvm::SmallVectorImpl<mlir::Type> &to);
void printSameTypes(mlir::OpAsmPrinter &printer, mlir::Operation *op, mlir::TypeRange from,
                    mlir::TypeRange to);

} // namespace otodus::mega::detail

// Generated parsers call custom directives without a namespace.
using otodus::mega::detail::parseSameTypes;
using otodus::mega::detail::printSameTypes;

//===- LowerTilesToVectors.h - Shared pieces of the vector lowering --------===//
//
// Private to lib/Codegen/CPU. A structured op on a tile becomes a nest of scf.for
// around vector reads, arithmetic on vectors, and vector writes, on tensors, so that
// bufferization afterwards sees plain reads and writes.
//
//===----------------------------------------------------------------------===//

#pragma once

#include "otodus/Codegen/CPU/Machine.h"

#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/IR/PatternMatch.h"

namespace otodus::cpu {

/// Replaces an elementwise or reducing generic by vector loops.
mlir::LogicalResult lowerGenericToVectors(mlir::RewriterBase &rewriter,
                                          mlir::linalg::GenericOp op);

/// Replaces linalg.fill by vector writes.
mlir::LogicalResult lowerFillToVectors(mlir::RewriterBase &rewriter, mlir::linalg::FillOp op);

/// True for sum over k of A[.., m, k] * B[.., k, n] in the blocked layouts of
/// docs/Architecture.md (the right-hand side packed, its lanes innermost).
bool isPackedContraction(mlir::linalg::GenericOp op);

/// Replaces a packed contraction by a loop over k that keeps a register tile of the
/// result in vectors; the tile's shape is the machine's.
mlir::LogicalResult lowerContractionToVectors(mlir::RewriterBase &rewriter,
                                              mlir::linalg::GenericOp op,
                                              const Machine &machine);

/// True for acc[i] + Σ_q b[i][q] pair[q], q < 2, of bf16 with an f32 sum.
bool isPairProduct(mlir::vector::ContractionOp op);

/// Replaces it by what the machine has for pairs of bf16.
void lowerPairProduct(mlir::RewriterBase &rewriter, mlir::vector::ContractionOp op,
                      const Machine &machine);

//===----------------------------------------------------------------------===//
// Small builders
//===----------------------------------------------------------------------===//

/// vector<lanes x element> read at `indices`, contiguous along the last dimension.
mlir::Value readVector(mlir::OpBuilder &b, mlir::Location loc, mlir::Value tensor,
                       mlir::ValueRange indices, int64_t lanes);

/// Writes `vector` at `indices`; returns the new tensor (null for a memref).
mlir::Value writeVector(mlir::OpBuilder &b, mlir::Location loc, mlir::Value vector,
                        mlir::Value tensor, mlir::ValueRange indices);

/// The scalar op `op` cloned onto vectors of `lanes` elements, operands taken from `map`.
mlir::Operation *cloneOnVectors(mlir::OpBuilder &b, mlir::Operation *op, mlir::IRMapping &map,
                                int64_t lanes);

/// `value` if it is a vector already, else broadcast to `lanes` elements.
mlir::Value asVector(mlir::OpBuilder &b, mlir::Location loc, mlir::Value value, int64_t lanes);

/// A loop nest over `bounds` (null: skipped, index 0) that carries `inits`; `body` gets the
/// indices and the carried values and returns the next ones. Returns the final ones.
mlir::SmallVector<mlir::Value>
buildLoops(mlir::OpBuilder &b, mlir::Location loc, mlir::ArrayRef<mlir::OpFoldResult> bounds,
           mlir::ValueRange inits,
           llvm::function_ref<mlir::SmallVector<mlir::Value>(mlir::OpBuilder &, mlir::ValueRange,
                                                             mlir::ValueRange)>
               body);

} // namespace otodus::cpu

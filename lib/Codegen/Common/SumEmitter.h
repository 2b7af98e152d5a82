//===- SumEmitter.h - Kernels that add up rows ------------------------------===//
//
// Private to lib/Codegen. Ops of the role Accumulation get a kernel each, written as loops
// around vectors of one lane block. A work item owns what it adds to, so every sum has one
// order: rows ascending, sequence after sequence.
//
//   EmitSums.cpp               gradients of matrices, vectors and tables; the optimizer
//   EmitStreamGradients.cpp    timestep_norm and cema against time
//   EmitAttentionGradients.cpp chunk attention
//   EmitLoss.cpp               the vocabulary's product with softmax and cross-entropy
//
//===----------------------------------------------------------------------===//

#pragma once

#include "StreamEmitter.h"

namespace otodus {

/// A kernel function with its grid, and small builders for its body.
class SumEmitter : public StreamBuilder {
public:
  explicit SumEmitter(KernelEmitter &kernel) : StreamBuilder(kernel.b, kernel.loc), kernel(kernel) {}

  /// Opens the grid over `extents`; `bounds` are their values in the function. Returns the
  /// indices of the work item.
  llvm::SmallVector<mlir::Value> openGrid(llvm::ArrayRef<mlir::OpFoldResult> bounds);
  void finish(llvm::ArrayRef<formats::Extent> extents);

  /// f32 scratch of the work item, 64-byte aligned, not initialised.
  mlir::Value scratch(int64_t elements, mlir::Type element = {});

  mlir::Value sub(mlir::Value x, mlir::Value y);
  mlir::Value div(mlir::Value x, int64_t y);
  mlir::Value rem(mlir::Value x, int64_t y);
  mlir::Value min(mlir::Value x, mlir::Value y);
  mlir::Value constant(double v); ///< f32
  mlir::Value zeros(int64_t lanes = kLanes);
  mlir::Value addf(mlir::Value x, mlir::Value y);
  mlir::Value subf(mlir::Value x, mlir::Value y);
  mlir::Value mulf(mlir::Value x, mlir::Value y);
  mlir::Value fma(mlir::Value x, mlir::Value y, mlir::Value z); ///< x y + z, on vectors
  /// One element as f32.
  mlir::Value load(mlir::Value buffer, mlir::Value at);
  void store(mlir::Value v, mlir::Value buffer, mlir::Value at);
  /// Σ of the lanes in an order that the target fixes.
  mlir::Value laneSum(mlir::Value v);

  /// for i in [from, to) by step: carried = body(i, carried)
  llvm::SmallVector<mlir::Value>
  reduce(mlir::Value from, mlir::Value to, int64_t step, mlir::ValueRange carried,
         llvm::function_ref<llvm::SmallVector<mlir::Value>(mlir::Value, mlir::ValueRange)> body);
  void ifThen(mlir::Value condition, llvm::function_ref<void()> body);

  /// Parameter for a result of the group's op, as words of type `element` if given; null if nobody
  /// reads it.
  mlir::Value result(mlir::Value opResult, mlir::Type element = {});
  /// Offset of row `row` of an activation.
  mlir::Value rowOffset(mlir::Value row, mlir::Type type);
  /// Adds the first `valid` lanes of v (all, if null) to buffer[at...].
  void addTo(mlir::Value v, mlir::Value buffer, mlir::Value at, mlir::Value valid = {});
  /// buffer[at + i] is set for i < valid (all, if null).
  void storeLanes(mlir::Value v, mlir::Value buffer, mlir::Value at, mlir::Value valid = {});

  /// acc[r] += Σ_k a[aAt[r] + k] w[wAt + stride k ..], k < count: rows against a lane block of a
  /// matrix; of a packed panel `stride` is 32. A matrix of bf16 is a panel of pairs along k
  /// (formats::PrepareKind::Panels), and so is `a`; an odd count is rounded up.
  llvm::SmallVector<mlir::Value> panelProduct(mlir::Value a, llvm::ArrayRef<mlir::Value> aAt,
                                              mlir::Value w, mlir::Value wAt, mlir::Value count,
                                              llvm::ArrayRef<mlir::Value> acc,
                                              int64_t stride = kLanes);

  /// tile[j][w] += Σ_r g[r][j] x[xAt(r) + w] for 32 j, `rows` r, and `width` (whole lane blocks) w.
  /// `tile` is scratch [32][width] of f32, `g` scratch [rows][32] of the type of x.
  void outerProduct(mlir::Value tile, mlir::Value g, mlir::Value x, int64_t rows, int64_t width,
                    llvm::function_ref<mlir::Value(mlir::Value)> xAt);

  /// Products of bf16 take two terms at a time, which lie beside each other: a *pair*.
  ///
  /// acc[i] + pair[0] columns[2 i] + pair[1] columns[2 i + 1] for 32 i; `pair` is 2 bf16,
  /// `columns` 64, the sum f32. Lowered to the machine's dot product, or by way of f32.
  mlir::Value pairProduct(mlir::Value pair, mlir::Value columns, mlir::Value acc);
  mlir::Value loadPair(mlir::Value buffer, mlir::Value at);    ///< 2 bf16
  mlir::Value loadColumns(mlir::Value buffer, mlir::Value at); ///< 64 bf16
  /// Scratch element 64 p + 2 i + q becomes x[at(2 p + q) + i], for 32 i and `rows` / 2 p. Rows
  /// that `count` (null: none) does not reach are zeros, and not read.
  void pairRows(mlir::Value x, int64_t rows, mlir::Value count, mlir::Value pairs,
                llvm::function_ref<mlir::Value(mlir::Value)> at);
  /// sums[i] + the products of rows `row`, `row` + 1 of column first + i of `left` with all of
  /// `right`; both of `pairRows`.
  llvm::SmallVector<mlir::Value> pairProducts(mlir::Value left, mlir::Value right, mlir::Value row,
                                              mlir::Value first, mlir::ValueRange sums);

  KernelEmitter &kernel;

private:
  mlir::OpBuilder allocas{static_cast<mlir::MLIRContext *>(nullptr)};
};

/// The lanes of lane block `block` of a width: which logical element the first is, and how many
/// there are (null: all of the block).
struct LaneRange {
  mlir::Value first, valid;
};
LaneRange laneRange(SumEmitter &s, formats::Width width, mlir::Value block);

mlir::LogicalResult emitSum(SumEmitter &s, mlir::Operation *op);
mlir::LogicalResult emitStreamGradient(SumEmitter &s, mlir::Operation *op);
mlir::LogicalResult emitAttentionGradient(SumEmitter &s, mlir::Operation *op);
mlir::LogicalResult emitLoss(SumEmitter &s, mlir::Operation *op);

} // namespace otodus

//===- TileEvaluator.h - Elements of a tile program's tensors --------------===//
//
// Private to lib/Codegen/GPU. A tile program of the kernel stage is a graph of structured ops on tensors. Most of
// them never need to exist as a whole: `evaluate` gives the code that computes some elements of a
// tensor, where and when a thread needs them, through all elementwise ops down to memory. Only
// results of sums (products, reductions) are materialised, in shared memory.
//
//===----------------------------------------------------------------------===//

#pragma once

#include "SimtBuilder.h"

#include "mlir/Dialect/Linalg/IR/Linalg.h"

namespace otodus::gpu {

/// The coordinate of a thread's element(s) in one dimension of a tensor:
/// (base / divisor) % modulus, or a constant.
struct Axis {
  mlir::Value base;
  int64_t constant = 0;
  int64_t divisor = 1, modulus = 0; ///< modulus 0: none
  bool along = false;               ///< successive elements of the vector lie along it

  static Axis at(mlir::Value v) { return {v, 0, 1, 0, false}; }
  static Axis fixed(int64_t c) { return {mlir::Value(), c, 1, 0, false}; }
};

/// `count` elements from flat index `base` on of dimensions of `sizes`, outermost first.
llvm::SmallVector<Axis> digits(mlir::Value base, llvm::ArrayRef<int64_t> sizes, int64_t count);

/// Where a tensor's elements lie.
struct Place {
  mlir::Value memref; ///< flat
  mlir::Value offset; ///< elements; null: 0
  llvm::SmallVector<mlir::OpFoldResult> strides;
};

class TileEvaluator {
public:
  explicit TileEvaluator(SimtBuilder &s) : s(s), b(s.b), loc(s.loc) {}

  /// `count` elements of `tensor` (a vector, or a scalar where count is 1 or the value is the same
  /// for all of them). Null, with a diagnostic, if an op on the way has no form.
  mlir::Value evaluate(mlir::Value tensor, llvm::ArrayRef<Axis> at, int64_t count);

  /// What the region of `op` computes of `wanted`, values of its body, at `loops`.
  mlir::LogicalResult evaluateBody(mlir::linalg::GenericOp op, llvm::ArrayRef<Axis> loops,
                                   int64_t count, mlir::ValueRange wanted,
                                   llvm::SmallVectorImpl<mlir::Value> &results);

  /// From here on `tensor` lies there.
  void materialise(mlir::Value tensor, Place place) { places[tensor] = std::move(place); }
  /// From here on all elements of `tensor` are `scalar`.
  void fix(mlir::Value tensor, mlir::Value scalar) { fixed[tensor] = scalar; }
  /// Nothing if the tensor is computed on demand.
  std::optional<Place> placeOf(mlir::Value tensor);
  /// Flat index of an element.
  mlir::Value address(const Place &place, llvm::ArrayRef<Axis> at);
  /// True if `count` elements along `at` are neighbours in memory.
  bool contiguous(const Place &place, llvm::ArrayRef<Axis> at);

  static llvm::SmallVector<Axis> apply(mlir::AffineMap map, llvm::ArrayRef<Axis> loops);
  mlir::Value widen(mlir::Value v, int64_t count);

private:
  mlir::Value coordinate(const Axis &axis);
  mlir::Value asIndex(const Axis &axis, int64_t count);

  SimtBuilder &s;
  mlir::OpBuilder &b;
  mlir::Location loc;
  llvm::DenseMap<mlir::Value, Place> places;
  llvm::DenseMap<mlir::Value, mlir::Value> fixed;
};

} // namespace otodus::gpu

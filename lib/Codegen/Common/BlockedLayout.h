//===- BlockedLayout.h - How activations and weights lie in memory ---------===//
//
// Private to lib/Codegen. The innermost width of an activation is cut into lane blocks of
// 32 elements, padded if need be; rows (batch x time) are seen in one of two ways:
//
//   row tiles   [⌈rows / R⌉, R, groups…, blocks, 32]      for ops that treat rows alike
//   steps       [batch, length, groups…, blocks, 32]      for ops that walk time
//
// Both are views of the same flat buffer; rows are rowStride elements apart.
//
//===----------------------------------------------------------------------===//

#pragma once

#include "otodus/Formats/Artefact.h"

#include "mlir/Dialect/Bufferization/IR/Bufferization.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/IR/Builders.h"

namespace otodus {

inline constexpr int64_t kLanes = formats::kLaneBlock;

/// Groups and inner width of an activation type [batch, time, (groups,) inner].
formats::Width widthOf(mlir::Type activation);

/// Element type as the artefact names it.
formats::DType dtypeOf(mlir::Type type);

/// Elements from one row to the next: the padded width, plus 64 bytes where the row would be
/// a multiple of 4096 bytes (twelve such rows would share one set of the L1 cache).
int64_t rowStrideOf(formats::Width width, formats::DType dtype);

/// The static dimensions of one row: (groups,) blocks, 32; groups only for rank-4 types.
llvm::SmallVector<int64_t> blockedRow(mlir::Type activation);

/// What every kernel function gets: one flat memref per buffer and the sizes of the call.
struct KernelFrame {
  mlir::OpBuilder &b;
  mlir::Location loc;
  int64_t rowTile; ///< R; 0 for kernels that see steps
  mlir::Value batch, length, rows; ///< index

  /// `buffer` (memref<?xT>) as [⌈rows/R⌉, R, …].
  mlir::Value rowsView(mlir::Value buffer, mlir::Type activation);
  /// `buffer`, one element per row, as [⌈rows/R⌉, R].
  mlir::Value rowNumbersView(mlir::Value buffer);
  /// `buffer` as [batch, length, …].
  mlir::Value stepsView(mlir::Value buffer, mlir::Type activation);
  /// `buffer` as a row-major memref of `shape` (dynamic sizes from `dynamic`).
  mlir::Value denseView(mlir::Value buffer, llvm::ArrayRef<int64_t> shape,
                        mlir::ValueRange dynamic = {});
  /// The view as a tensor that nothing else aliases.
  mlir::Value asTensor(mlir::Value view, bool writable = false);
};

} // namespace otodus

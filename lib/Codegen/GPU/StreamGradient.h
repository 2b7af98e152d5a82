//===- StreamGradient.h - Kernels that walk against time --------------------===//
//
// Private to lib/Codegen. What the kernels of mega.timestep_norm_gradient and mega.cema_gradient
// have in common: a grid of blocks that own the sums of their channels, shared memory, loops over
// what the threads of a block share out.
//
//===----------------------------------------------------------------------===//

#pragma once

#include "StreamKernel.h"

namespace otodus {

/// The kernel of one op, under construction.
class StreamGradient : public LaneBuilder {
public:
  StreamGradient(KernelEmitter &kernel, int64_t threads)
      : LaneBuilder(kernel.b, kernel.loc), kernel(kernel), threads(threads) {}

  /// Opens the grid of `blocks` blocks and returns the number of this one.
  mlir::Value open(int64_t blocks);
  /// Closes it. Failure: the block's shared memory is more than `sharedBytes`; `remedy` ends the
  /// message.
  mlir::LogicalResult close(int64_t sharedBytes, llvm::StringRef remedy);

  /// `elements` of shared memory, flat, 16-byte aligned, not initialised.
  mlir::Value shared(int64_t elements, mlir::Type element);
  /// Runs `body` for 0 <= i < count, shared out over the threads of the block.
  void forThreads(mlir::Value count, llvm::function_ref<void(mlir::Value)> body);
  /// for i in [from, to) by step: carried = body(i, carried)
  llvm::SmallVector<mlir::Value>
  reduce(mlir::Value from, mlir::Value to, int64_t step, mlir::ValueRange carried,
         llvm::function_ref<llvm::SmallVector<mlir::Value>(mlir::Value, mlir::ValueRange)> body);
  /// for i = count - 1, …, 0
  void backwards(mlir::Value count, llvm::function_ref<void(mlir::Value)> body);
  mlir::Value min(mlir::Value x, mlir::Value y);
  mlir::Value negate(mlir::Value x);
  /// Zero of `lanes` f32; one lane is a scalar.
  mlir::Value zeros(int64_t lanes);
  /// buffer[at] += v
  void addTo(mlir::Value v, mlir::Value buffer, mlir::Value at);
  /// Offset of row `row` of an activation.
  mlir::Value rowOffset(mlir::Value row, mlir::Type type);
  /// Parameter for a result of the group's op; null if nobody reads it.
  mlir::Value result(mlir::Value opResult);
  /// Parameter for a weight of `columns` elements, as f32.
  mlir::Value vectorWeight(mlir::Value value, formats::Width columns);

  KernelEmitter &kernel;
  int64_t threads;
  mlir::Value thread;

private:
  mlir::OpBuilder allocas{static_cast<mlir::MLIRContext *>(nullptr)};
  int64_t blocks = 0, sharedUsed = 0; ///< bytes
};

/// Elements of one sequence's state of `elements` f32: states start at multiples of 64 bytes.
inline int64_t stateStride(int64_t elements) { return (elements * 4 + 63) / 64 * 16; }

} // namespace otodus

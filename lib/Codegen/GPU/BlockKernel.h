//===- BlockKernel.h - A kernel written block by block ---------------------===//
//
// Private to lib/Codegen. The counterpart of Common/SumEmitter.h: ops of the role Accumulation get
// a kernel each. A thread block owns what it adds to, so every sum has one order: rows ascending,
// sequence after sequence, and where threads share a sum, their shares in order of the threads.
//
//   SumKernels.cpp            gradients of vectors and tables; the optimizer
//   WeightGradientKernel.cpp  gradients of matrices
//   LossKernels.cpp           the vocabulary's product with softmax and cross-entropy
//   AccumulationSchedules.cpp how the last two are cut
//   SampleKernel.cpp          the next token
//
//===----------------------------------------------------------------------===//

#pragma once

#include "ProductTile.h"

#include "Codegen/Common/KernelEmitter.h"

#include "otodus/Codegen/GPU/Chips.h"

#include "mlir/Dialect/SCF/IR/SCF.h"

namespace otodus::gpu {

/// A function of the GPU stage with its grid, and small builders for its body. Arithmetic is f32.
class BlockKernel {
public:
  explicit BlockKernel(KernelEmitter &kernel)
      : kernel(kernel), b(kernel.b), loc(kernel.loc), s(kernel.b, kernel.loc),
        f32(kernel.b.getF32Type()) {}

  /// Opens the grid over `bounds`, blocks of `threads`. Returns the indices of the block.
  llvm::SmallVector<mlir::Value> open(llvm::ArrayRef<mlir::OpFoldResult> bounds, int64_t threads);
  /// Closes it; `grid` are the bounds as the host computes them.
  void close(llvm::ArrayRef<formats::Extent> grid);

  mlir::Value rows() const { return kernel.frame.rows; }
  int64_t threads() const { return threads_; }
  /// Parameter of an operand of the group, and of a result; null if nobody reads the result.
  mlir::Value operand(mlir::Value value) { return kernel.operandParameter(value); }
  mlir::Value result(mlir::Value opResult);
  /// Offset of row `row` of an activation.
  mlir::Value rowAt(mlir::Value row, mlir::Type type);

  mlir::Value addf(mlir::Value x, mlir::Value y);
  mlir::Value subf(mlir::Value x, mlir::Value y);
  mlir::Value mulf(mlir::Value x, mlir::Value y);
  /// x y + z. A scalar among vectors counts for every element.
  mlir::Value fma(mlir::Value x, mlir::Value y, mlir::Value z);
  mlir::Value zeros(int64_t count); ///< a scalar for count 1
  mlir::Value splat(mlir::Value scalar, int64_t count);
  mlir::Value element(mlir::Value vector, int64_t i); ///< of a scalar: itself
  mlir::Value equal(mlir::Value x, mlir::Value y);    ///< integers
  mlir::Value select(mlir::Value condition, mlir::Value x, mlir::Value y);
  /// `count` consecutive elements from `at` on, a multiple of count; a scalar for count 1. bf16
  /// becomes f32.
  mlir::Value load(mlir::Value memref, mlir::Value at, int64_t count = 1);
  /// Stores v, rounded if `memref` is of bf16.
  void store(mlir::Value v, mlir::Value memref, mlir::Value at);

  /// for i in [from, to) by step: carried = body(i, carried)
  llvm::SmallVector<mlir::Value>
  reduce(mlir::Value from, mlir::Value to, int64_t step, mlir::ValueRange carried,
         llvm::function_ref<llvm::SmallVector<mlir::Value>(mlir::Value, mlir::ValueRange)> body);

  /// Adds the `count` elements of v, which are columns `column` … of a padded width, to
  /// buffer[base + their number in the logical width]; padding is dropped. Nobody else adds to them.
  void addColumns(mlir::Value v, mlir::Value buffer, mlir::Value base, formats::Width width,
                  mlir::Value column, int64_t count);

  /// Starts copying `lines` pieces of `inner` elements, a multiple of 16 bytes, from `from` to
  /// shared memory of the same type, rows `pitch` apart from `slot` on. `at`: where a line starts, and whether it is there
  /// (null: it is; zeros otherwise).
  void copyLines(mlir::Value shared, mlir::Value slot, int64_t pitch, int64_t lines, int64_t inner,
                 mlir::Value from,
                 llvm::function_ref<std::pair<mlir::Value, mlir::Value>(mlir::Value)> at);

  /// A ring of `stages` slots in shared memory (2 or more). `fill(step, slot)` starts the copies of
  /// a step, `use(step, slot, carried)` works on them. Starts and ends with all copies landed and
  /// all threads together; nothing else may be under way.
  llvm::SmallVector<mlir::Value>
  ring(mlir::Value steps, int64_t stages, mlir::ValueRange carried,
       llvm::function_ref<void(mlir::Value, mlir::Value)> fill,
       llvm::function_ref<llvm::SmallVector<mlir::Value>(mlir::Value, mlir::Value,
                                                         mlir::ValueRange)>
           use);

  KernelEmitter &kernel;
  mlir::OpBuilder &b;
  mlir::Location loc;
  SimtBuilder s;
  mlir::Type f32;

private:
  int64_t threads_ = 0;
};

/// Sums of outer products: C[rows, columns] += A[terms, rows]ᵀ B[terms, columns], in f32, in
/// registers. Both operands lie in shared memory along what is not summed: f32 is read 16 bytes at a
/// time for fused multiply-adds, bf16 by ldmatrix, transposed on the way, for mma.sync.
class OuterTile {
public:
  /// Shares the tile out; nothing if `threads` cannot. `aAlongTerms` (bf16 alone): A lies as
  /// [rows][terms].
  static std::optional<OuterTile> make(mlir::Type element, int64_t rows, int64_t columns,
                                       int64_t threads, bool aAlongTerms = false);

  llvm::SmallVector<mlir::Value> zero(BlockKernel &k) const;
  /// sums + the products of `terms` lines of A from `aAt` on, `aPitch` apart, and of B. bf16 takes
  /// multiples of 16 terms.
  llvm::SmallVector<mlir::Value> accumulate(BlockKernel &k, mlir::Value a, mlir::Value aAt,
                                            int64_t aPitch, mlir::Value bTile, mlir::Value bAt,
                                            int64_t bPitch, int64_t terms,
                                            mlir::ValueRange sums) const;
  /// Calls `body(row, column, count consecutive columns)` for all of this thread's sums.
  void each(BlockKernel &k, mlir::ValueRange sums,
            llvm::function_ref<void(mlir::Value, mlir::Value, mlir::Value)> body) const;
  /// Columns that `each` gives at once: 1, 2 or 4.
  int64_t count() const { return perColumn; }

private:
  std::unique_ptr<RegisterTile> fragments(BlockKernel &k, int64_t aPitch, int64_t bPitch,
                                          int64_t terms) const;

  bool mma = false, aAlongTerms = false;
  int64_t rows = 0, columns = 0;
  int64_t across = 0, down = 0; ///< threads along columns and rows
  int64_t perRow = 1, rowPieces = 1, perColumn = 1, columnPieces = 1;
};

/// How a block of a product of training does its part: the group's schedule
/// (AccumulationSchedules.cpp).
struct Cut {
  int64_t rows = 0, columns = 0;   ///< that it owns
  int64_t terms = 0, stages = 0;   ///< of its ring
  int64_t threads = 256;

  /// Failure: nobody has chosen one.
  static mlir::FailureOr<Cut> of(mega::GroupOp group);
};
/// Bytes of shared memory that a block takes.
int64_t weightGradientBytes(mlir::Type element, const Cut &cut);
int64_t lossBytes(mlir::Operation *op, const Cut &cut);
/// True if the threads can share the products of the loss.
bool lossFits(mlir::Operation *op, const Cut &cut);

// The ops; `k` is the kernel of a group with nothing else in it.
mlir::LogicalResult emitSumKernel(BlockKernel &k, mlir::Operation *op);
mlir::LogicalResult emitWeightGradientKernel(BlockKernel &k, mega::LinearWeightGradientOp op);
mlir::LogicalResult emitLossKernel(BlockKernel &k, mlir::Operation *op);
mlir::LogicalResult emitSampleKernel(BlockKernel &k, mega::SampleOp op);

} // namespace otodus::gpu

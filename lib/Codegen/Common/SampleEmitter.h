//===- SampleEmitter.h - The kernel of mega.sample -------------------------===//
//
// Private to lib/Codegen. A team chooses the token of one row: on a CPU a thread with vectors, on
// a GPU a block. What the team computes is the same program for both, written here; how it walks a
// row and adds up is theirs (EmitSample.cpp, GPU/SampleKernel.cpp).
//
// A logit becomes an unsigned key of the same order, and a weight: an integer of 41 bits,
// 2^40 exp((logit - largest) / temperature). Sums, counts and prefix sums of those are exact, so
// neither the order of a sum nor the number of threads matters. docs/Sampling.md has the
// arithmetic.
//
//===----------------------------------------------------------------------===//

#pragma once

#include "KernelEmitter.h"

namespace otodus {

class SampleEmitter {
public:
  /// `lanes`: elements that a thread looks at together; values "per lane" below are vectors of so
  /// many, scalars for 1.
  SampleEmitter(KernelEmitter &kernel, mega::SampleOp op, int64_t lanes);
  virtual ~SampleEmitter() = default;

protected:
  using Values = llvm::SmallVector<mlir::Value>;
  /// (logit bits i32, index of the token i32, carried) -> next; all per lane.
  using Visit = llvm::function_ref<Values(mlir::Value, mlir::Value, mlir::ValueRange)>;

  /// The body of the grid for row `row`; the token in all threads, i32.
  mlir::Value choose(mlir::Value row);

  // What a team does. `piece`: a number of the pieces the row is cut into, ascending.
  /// carried = visit(…) over this thread's share of the row, in any order.
  virtual Values each(mlir::ValueRange carried, Visit visit) = 0;
  /// Sums over the team of i64 values per lane; scalars that every thread has.
  virtual Values sum(mlir::ValueRange values) = 0;
  /// The largest key of the team and the smallest index that has it; both i32 per lane.
  virtual std::pair<mlir::Value, mlir::Value> largest(mlir::Value key, mlir::Value index) = 0;
  /// Sums of i64 values by pieces of the row: memories of `pieceCount` numbers, one per value.
  virtual Values sumPieces(mlir::ValueRange zeros, Visit visit) = 0;
  /// Pieces, and tokens in each.
  int64_t pieceCount = 0, pieceLength = 0;
  /// As `sumPieces`, over `partCount` parts of the piece that begins at `from` (index); null where
  /// pieces are short enough to be walked one by one. `at` visits a token alone.
  virtual Values sumParts(mlir::Value from,
                          llvm::function_ref<Values(mlir::Value at, mlir::ValueRange)> visit) {
    return {};
  }
  int64_t partCount = 0, partLength = 0;

  // For teams.
  mlir::Value index(int64_t v);
  mlir::Value i32(int64_t v);
  mlir::Value i64(int64_t v);
  /// `v` as many times as there are lanes.
  mlir::Value spread(mlir::Value v);
  mlir::Value add(mlir::Value x, mlir::Value y);
  mlir::Value less(mlir::Value x, mlir::Value y); ///< unsigned
  mlir::Value select(mlir::Value condition, mlir::Value x, mlir::Value y);
  /// Bits of the f32 that logit `at` (an index into the row) is: `count` of them.
  mlir::Value loadBits(mlir::Value at, int64_t count);
  Values loop(mlir::Value from, mlir::Value to, int64_t step, mlir::ValueRange carried,
              llvm::function_ref<Values(mlir::Value, mlir::ValueRange)> body);
  /// carried = body() where `condition` holds.
  Values when(mlir::Value condition, mlir::ValueRange carried, llvm::function_ref<Values()> body);

  KernelEmitter &kernel;
  mlir::OpBuilder &b;
  mlir::Location loc;
  int64_t lanes;
  int64_t vocabulary;
  int64_t rowStride; ///< elements between rows of logits
  mlir::Value logits, token; ///< parameters

private:
  mlir::Value word(formats::SamplingWord which, int64_t offset = 0);
  mlir::Value longWord(formats::SamplingWord which);
  mlir::Value constantLike(mlir::Value v, int64_t value);
  mlir::Value flag(int64_t which);
  mlir::Value keyOf(mlir::Value bits);
  mlir::Value weightOf(mlir::Value bits);
  mlir::Value highProduct(mlir::Value x, mlir::Value y);
  mlir::Value random(mlir::Value row);
  Values draw(mlir::Value row);
  /// Smallest key K with (sum of `count`, or of weights, over keys above K) <= `most`, and that
  /// sum.
  std::pair<mlir::Value, mlir::Value> search(mlir::Value most, mlir::Value counts);
  struct Place {
    mlir::Value number, sum, ties;
  };

  mlir::Value options, position, rowStart;
  mlir::Value top, scaleHigh, scaleLow, least; ///< f32, f32, f32, i64
};

/// The group of `op` alone. Emits the kernel function for a CPU.
mlir::LogicalResult emitSample(KernelEmitter &kernel, mega::SampleOp op);

} // namespace otodus

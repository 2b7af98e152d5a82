//===- Philox.h - Random numbers in kernels --------------------------------===//
//
// Private to lib/Codegen. Philox4x32-10 of include/otodus/Formats/Random.h as arith ops: the same
// function of counter and key, so that a kernel and the host draw the same numbers.
//
//===----------------------------------------------------------------------===//

#pragma once

#include "mlir/IR/Builders.h"

#include <array>

namespace otodus {

/// The four words of philox(counter, key). Each value is an i32 or a vector of i32; all vectors
/// have one type, and scalars among them are broadcast. The result has the type of the counter's
/// vectors (scalars if it has none; the key alone may not be a vector). About 100 integer
/// instructions; what the key needs is computed on scalars.
std::array<mlir::Value, 4> emitPhilox(mlir::OpBuilder &b, mlir::Location loc,
                                      std::array<mlir::Value, 4> counter,
                                      std::array<mlir::Value, 2> key);

/// `count` words as mega.random_word names them, one if `count` is 1: word index mod 4 of the block
/// of index / 4, for index, index + 1, …. `counter` and `key`: what follows the index in the
/// counter, and the key; i32 scalars. `index` is a multiple of min(count, 4); count is 1, 2 or a
/// multiple of 4. Result: i32, or vector<count x i32>.
mlir::Value emitRandomWords(mlir::OpBuilder &b, mlir::Location loc, mlir::Value index,
                            std::array<mlir::Value, 3> counter, std::array<mlir::Value, 2> key,
                            int64_t count);

/// The words of a mask's counter that are the same for a whole call (mega.dropout).
struct DropoutCounter {
  mlir::Value place, step; ///< i32
};
/// `noise`: the four words of a mega.noise argument, i32.
DropoutCounter dropoutCounter(mlir::OpBuilder &b, mlir::Location loc,
                              std::array<mlir::Value, 4> noise, int64_t place);

/// x / (1 - p) where `word` (i32) is at least round(p 2^32), else 0; scalars or vectors of one
/// length, x f32.
mlir::Value keepByWord(mlir::OpBuilder &b, mlir::Location loc, mlir::Value word, mlir::Value x,
                       double p);

} // namespace otodus

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

} // namespace otodus

//===- BenchPlan.h - What a call of a compiled function has to do ------------===//
//
// FLOPs and bytes come from the plan, not from the model's formulas: products are the
// prepared panels that a launch reads, attention the keys and values it reads. Only
// what is useful is counted: no padding of rows, columns or lanes.
//
//===----------------------------------------------------------------------===//

#pragma once

#include "otodus/Formats/Artefact.h"

#include <cstdint>
#include <string>
#include <vector>

namespace otodus::driver {

/// y [rows, n] = x [rows, k] W^T
struct BenchProduct {
  int64_t n = 0, k = 0;
};

/// Work of one launch, or of many.
struct LaunchWork {
  int64_t flops = 0;       ///< of products and attention, 2 for each multiply-add
  int64_t weightBytes = 0; ///< prepared weights read, each once for each call
  int64_t stateBytes = 0;  ///< open chunk read or written; other states read and written

  LaunchWork &operator+=(const LaunchWork &other);
};

/// A call of `length` steps for each of `batch` sequences, all at `position`; the
/// runtime cuts it along time as `cutCall` does.
struct BenchCall {
  int64_t batch = 1, position = 0, length = 1;
};

/// Pieces that cross no multiple of `chunk` (0: none) and are at most `maxPiece` steps long.
std::vector<BenchCall> cutCall(const BenchCall &call, int64_t chunk, int64_t maxPiece);

/// Work of `launch` in one piece.
LaunchWork workOf(const formats::Program &program, const formats::Function &function,
                  const formats::Launch &launch, const BenchCall &piece);

/// The matrix products that `launch` does for every row; empty for most others.
std::vector<BenchProduct> productsOf(const formats::Program &program,
                                     const formats::Function &function,
                                     const formats::Launch &launch);

/// "layer3.ffn_up" -> "ffn_up": launches of all layers are one kind.
std::string launchKind(const std::string &name);

} // namespace otodus::driver

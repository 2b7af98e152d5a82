//===- Launches.h - Which kernels a call runs -------------------*- C++ -*-===//

#pragma once

#include "otodus/Formats/Artefact.h"

#include <cstdint>
#include <vector>

namespace otodus::formats {

/// What `symbol` is in a call of `length` steps of `batch` sequences.
int64_t valueOf(Symbol symbol, int64_t batch, int64_t length);
/// factor * ceil(symbol / divisor)
int64_t valueOf(const Extent &extent, int64_t batch, int64_t length);
/// Work items of a launch of `variant`.
int64_t itemsOf(const Variant &variant, int64_t batch, int64_t length);

/// Stands for a launch that is left out.
inline constexpr int kLeftOut = -1;

/// For every launch of `function` the index of the variant that a call runs (the rule is
/// formats::Launch's), or kLeftOut: a joint launch with too many rows, or one that a joint
/// launch has covered.
std::vector<int> chooseVariants(const Function &function, int64_t batch, int64_t length);

} // namespace otodus::formats

//===- StateLayout.h - Where a state's elements lie ------------------------===//
//
// Between formats::StateLayout in memory and row-major arrays outside.
//
//===----------------------------------------------------------------------===//

#pragma once

#include "otodus/Formats/Artefact.h"
#include "otodus/Formats/Status.h"

#include <cstddef>
#include <cstdint>
#include <vector>

namespace otodus::runtime {

/// Product of the logical shape.
int64_t elementsOf(const formats::State &state);

/// Elements of one entry of the first dimension (of an open chunk: one position).
int64_t elementsPerEntry(const formats::State &state);

/// How the gradients of `states` are kept: laid out alike, in f32 where a state is bf16
/// (docs/Training.md, bf16).
std::vector<formats::State> gradientsOf(const std::vector<formats::State> &states);

/// Copies elements [0, count) of the row-major array `logical` into one sequence's
/// memory, or back. Elements have the state's dtype on both sides.
void scatterState(const formats::State &state, const void *logical, int64_t count,
                  std::byte *memory);
void gatherState(const formats::State &state, const std::byte *memory, int64_t count,
                 void *logical);

} // namespace otodus::runtime

//===- ArtefactPlan.h - The plan of an artefact as a FlatBuffer ------------===//

#pragma once

#include "otodus/Formats/Artefact.h"

#include <cstdint>
#include <optional>
#include <vector>

namespace otodus::formats {

/// Sections of the file, by their numbers.
struct ProgramSections {
  std::vector<uint32_t> code;    ///< one per Program::code
  std::vector<uint32_t> weights; ///< one per Program::prepared, or none
};

/// The FlatBuffer of schema Artefact.fbs. Code sections are numbered in the order of programs and
/// codes; `weights` are the sections of each program's prepared weights.
std::vector<uint8_t> packPlan(const Artefact &artefact,
                              const std::vector<std::vector<uint32_t>> &weights);

struct UnpackedPlan {
  Artefact artefact; ///< without blobs and embedded weights; not validated
  std::vector<ProgramSections> sections;
};
/// Nothing if the bytes are no such FlatBuffer. Section numbers may be anything.
std::optional<UnpackedPlan> unpackPlan(const uint8_t *data, uint64_t size);

} // namespace otodus::formats

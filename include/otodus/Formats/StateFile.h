//===- StateFile.h - What sequences carry, on disk -------------------------===//
//
// The payload of spec 5 for each sequence, behind a header of 4096 bytes that says
// which model it belongs to. Size: 4096 + sum over sequences of (8 + payload), the
// payload being spec 5's formula with the current c in place of C.
//
//===----------------------------------------------------------------------===//

#pragma once

#include "otodus/Formats/Artefact.h"
#include "otodus/Formats/Status.h"

#include <cstdint>
#include <string>
#include <vector>

namespace otodus::formats {

inline constexpr uint32_t kStateVersion = 1;

/// One state of all sequences.
struct StateTensor {
  std::string name;           ///< State::name
  DType dtype = DType::F32;
  std::vector<int64_t> shape; ///< logical, of one sequence; open chunks: [C, ...]
  bool openChunk = false;
  /// [batch]: row-major elements of each sequence. Open chunks: only the first
  /// c = position mod chunk entries of the first dimension.
  std::vector<std::vector<uint8_t>> sequences;

  /// Bytes of one sequence whose open chunk has `count` entries.
  int64_t bytesFor(int64_t count) const;
};

struct StateFile {
  std::string modelHash;          ///< Artefact::modelHash
  std::string dtype;              ///< compute type: "f32" or "bf16"
  int64_t chunk = 0;              ///< C, 0 if the model has no open chunks
  std::vector<int64_t> positions; ///< [batch] absolute position of each sequence's next step
  std::vector<StateTensor> states;
  /// Of one sequence: the token that its producer chose to come next, which the states have
  /// not seen; -1 if there is none. Lets a continuation start without a prompt.
  int64_t nextToken = -1;

  /// Entries of sequence b's open chunk.
  int64_t openCount(size_t b) const { return chunk ? positions[b] % chunk : 0; }
};

/// Writes to a temporary, then renames. Errors of OutputFile; Code::Internal if the
/// struct contradicts itself.
Status writeStateFile(const std::string &path, const StateFile &state);
/// The same into memory.
Result<std::vector<uint8_t>> serializeState(const StateFile &state);

/// Errors (Code::File): missing, not a state file, other version (names both),
/// truncated, corrupted.
Result<StateFile> readStateFile(const std::string &path);
Result<StateFile> parseState(const uint8_t *data, uint64_t size, const std::string &name);

/// Code::File if `state` was saved by another model (names both hashes), under another
/// dtype, or with other states than `artefact` has. `name` is used in the message.
Status checkState(const StateFile &state, const Artefact &artefact, const std::string &name);

bool looksLikeState(const uint8_t *data, uint64_t size);

} // namespace otodus::formats

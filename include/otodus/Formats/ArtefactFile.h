//===- ArtefactFile.h - Artefacts as files ---------------------------------===//
//
// The file: a fixed header, a table of sections, the plan (a FlatBuffer, see
// lib/Formats/Artefact.fbs), then the sections: code blobs and embedded weights,
// raw and aligned to 64 bytes. docs/Formats.md has it byte by byte.
//
// Header, plan and code carry checksums that are verified whenever an artefact is
// opened. Each embedded weight has its own, verified on demand (`verifyWeights`),
// since reading gigabytes on every start would cost more than it protects.
//
//===----------------------------------------------------------------------===//

#pragma once

#include "otodus/Formats/Artefact.h"
#include "otodus/Formats/Status.h"

#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace otodus::formats {

/// Grows with every change of the file, of Artefact.h and of ABI/Kernel.h.
inline constexpr uint32_t kArtefactVersion = 3;

/// Bytes of a prepared weight in memory, always a multiple of 64. The layouts are those
/// of PrepareKind; [K padded] of `Panels` is columns.padded(), and so on. -1 if the sizes
/// are negative or overflow.
int64_t preparedBytes(const Prepared &prepared);

/// Everything the runtime relies on: every index of every buffer, launch, input, state and
/// prepared weight is in range, sizes are not negative and do not overflow, shapes fit
/// their layouts, code entries exist in every target and lie inside the text, kernels' blocks
/// and tensor maps are possible, names are unique, programs carry the same states.
/// Code::File with the first fault found.
Status validate(const Artefact &artefact);

/// Gives the bytes of `artefact.programs[program].prepared[index]`: preparedBytes() of them.
using WeightSource =
    std::function<Status(size_t program, size_t index, std::vector<uint8_t> &bytes)>;

/// Writes `artefact` to `path` (temporary file, then rename). Without `weights` none are
/// embedded; with it all are, in order and only one in memory at a time; equal `Prepared` of
/// several programs are asked for and stored once. `Program::embedded` is ignored. Errors: those of `validate` as Code::Internal,
/// of OutputFile, of `weights`.
Status writeArtefact(const std::string &path, const Artefact &artefact,
                     const WeightSource &weights = nullptr);
/// The same into memory.
Result<std::vector<uint8_t>> writeArtefact(const Artefact &artefact,
                                           const WeightSource &weights = nullptr);

/// An open artefact, validated. Copies share the mapping.
class ArtefactFile {
public:
  /// Maps `path`. Errors (Code::File): missing, not an artefact, other version (names
  /// both), truncated, corrupted, a plan that `validate` refuses.
  static Result<ArtefactFile> open(const std::string &path);
  /// The same of bytes in memory, which are kept. `name` is used in messages.
  static Result<ArtefactFile> parse(std::vector<uint8_t> bytes, const std::string &name);

  const Artefact &artefact() const;
  const std::string &path() const;
  uint64_t size() const;

  /// Bytes of prepared[index] of a program, 64-byte aligned in mapped files, or null if it is
  /// not embedded. Owned by the mapping.
  const uint8_t *weight(size_t program, size_t index) const;
  /// Compares every embedded weight with its checksum; Code::File names the first that
  /// differs. Reads the whole file.
  Status verifyWeights() const;
  /// Gives back the memory of the weight's whole pages.
  void dropPages(size_t program, size_t index) const;

private:
  struct Impl;
  std::shared_ptr<const Impl> impl_;
};

/// `ArtefactFile::parse(...).artefact()` of bytes that are not kept.
Result<Artefact> readArtefact(const uint8_t *data, uint64_t size, const std::string &name);

/// True if the file starts as an artefact of any version does.
bool looksLikeArtefact(const uint8_t *data, uint64_t size);

} // namespace otodus::formats

//===- OutputFile.h - Files that appear whole or not at all ----------------===//
//
// Bytes go to a temporary file in the folder of the target; `finish` renames it.
// Whatever goes wrong before, the target is untouched and the temporary removed.
//
//===----------------------------------------------------------------------===//

#pragma once

#include "otodus/Formats/Status.h"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

namespace otodus::formats {

/// A file under construction. Errors: Code::Device when the disk is full, Code::File
/// for everything else (read-only, a directory, a missing folder). Not thread-safe.
class OutputFile {
public:
  /// Opens `path`'s temporary. An existing regular file at `path` is replaced by
  /// `finish`; a directory is refused here.
  static Result<OutputFile> create(const std::string &path);

  OutputFile(OutputFile &&) noexcept;
  OutputFile &operator=(OutputFile &&) noexcept;
  /// Removes the temporary unless `finish` succeeded.
  ~OutputFile();

  Status write(const void *data, size_t bytes);
  /// Zeros up to the next multiple of `alignment`.
  Status pad(uint64_t alignment);
  /// Overwrites bytes written before; what `write` appends next is not affected.
  Status writeAt(uint64_t offset, const void *data, size_t bytes);
  /// Bytes written so far.
  uint64_t offset() const;
  /// Flushes, closes and renames to the final path. Nothing may be written after.
  Status finish();

private:
  struct Impl;
  explicit OutputFile(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

/// The whole of `data` as the file `path`.
Status writeFile(const std::string &path, const void *data, size_t bytes);

/// The whole file as bytes, at most `limit` of them. Errors: Code::File.
Result<std::string> readFile(const std::string &path, uint64_t limit = uint64_t(1) << 31);

} // namespace otodus::formats

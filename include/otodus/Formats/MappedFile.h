//===- MappedFile.h - A file as read-only memory ---------------------------===//

#pragma once

#include "otodus/Formats/Status.h"

#include <cstddef>
#include <cstdint>
#include <string>

namespace otodus::formats {

/// A read-only private mapping of a whole file; pages are read when touched. The file
/// must not be truncated by others while it is mapped (the system then raises SIGBUS).
class MappedFile {
public:
  /// Errors (Code::File): missing, not a regular file, not readable.
  static Result<MappedFile> open(const std::string &path);

  MappedFile() = default;
  MappedFile(MappedFile &&other) noexcept;
  MappedFile &operator=(MappedFile &&other) noexcept;
  ~MappedFile();

  const uint8_t *data() const { return data_; }
  uint64_t size() const { return size_; }

  /// Gives back the memory of the whole pages inside [begin, begin + bytes); they are
  /// read again when touched. `begin` points into the mapping.
  void dropPages(const uint8_t *begin, uint64_t bytes) const;

private:
  uint8_t *data_ = nullptr;
  uint64_t size_ = 0;
};

} // namespace otodus::formats

//===- Safetensors.h - Reading and writing safetensors files ---------------===//
//
// The file: u64 header length (little endian), a JSON header of that length, then
// tensor data. Files are mapped, never copied. Reading is strict: whatever the
// format forbids is an error with one precise message (Code::File).
//
//===----------------------------------------------------------------------===//

#pragma once

#include "otodus/Formats/Status.h"

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace otodus::formats {

/// Element types of the format, all its names.
enum class TensorType : uint8_t {
  Bool, F4, F6E2M3, F6E3M2, U8, I8, F8E5M2, F8E4M3, F8E8M0, F8E4M3FNUZ, F8E5M2FNUZ,
  I16, U16, F16, BF16, I32, U32, F32, C64, F64, I64, U64,
};

/// Bits of one element: 4, 6, 8, 16, 32 or 64.
int64_t bitsOf(TensorType type);
/// The format's name: "F32", "BF16", "F8_E4M3" ...
const char *nameOf(TensorType type);

/// "[2, 3]"
std::string shapeToString(const std::vector<int64_t> &shape);

/// One tensor of an open file. Row-major, little endian.
struct Tensor {
  std::string name;
  TensorType type = TensorType::F32;
  std::vector<int64_t> shape; ///< extents >= 0; their product and bytes do not overflow
  const uint8_t *data = nullptr; ///< owned by the file; NOT necessarily aligned
  uint64_t bytes = 0;
  uint64_t offset = 0; ///< of `data` from the start of the file

  /// Product of the shape.
  int64_t elements() const;
};

/// Elements [begin, begin + count) of a floating-point tensor (F64, F32, BF16, F16) as
/// float; F64 is rounded. Error Code::File for other types; the range must be inside.
Status readAsFloat(const Tensor &tensor, int64_t begin, int64_t count, float *out);
/// The same as double, of floating-point and integer types.
Status readAsDouble(const Tensor &tensor, int64_t begin, int64_t count, double *out);

/// An open file. Copies share the mapping; the mapping lives as long as any copy.
class SafetensorsFile {
public:
  /// Maps `path`. Errors (Code::File) name the file: missing, truncated, header length
  /// beyond the file, invalid JSON (line and column), offsets that overlap, leave gaps
  /// or leave the file, unknown dtype, duplicate names, shapes whose product overflows
  /// or does not fit the bytes.
  static Result<SafetensorsFile> open(const std::string &path);
  /// As `open`, of `size` bytes at `data`, which must outlive the result. `name` is
  /// used in messages.
  static Result<SafetensorsFile> parse(const uint8_t *data, uint64_t size,
                                       const std::string &name);

  /// Path or name it was opened with.
  const std::string &path() const;
  /// In the order of the data.
  const std::vector<Tensor> &tensors() const;
  /// Null if there is none. Owned by the file.
  const Tensor *find(std::string_view name) const;
  const std::map<std::string, std::string> &metadata() const;
  /// SHA-256 of the JSON header, 64 hex digits: names, types, shapes and offsets.
  std::string headerHash() const;
  /// Bytes of the file.
  uint64_t size() const;

  /// Gives back the memory of the tensor's whole pages; touching them reads them
  /// again. Does nothing for `parse`d data and unknown names.
  void dropPages(std::string_view name) const;

private:
  struct Impl;
  std::shared_ptr<const Impl> impl_;
};

/// A tensor to be written.
struct TensorSpec {
  std::string name;
  TensorType type = TensorType::F32;
  std::vector<int64_t> shape;
  /// Row-major data; may be null where the bytes come from `SafetensorsWriter::write`.
  const void *data = nullptr;
};

/// Writes a file tensor by tensor, so that no more than a piece of it need be in memory.
/// The file appears under its name on `finish` only; before, and on any error, nothing
/// is left behind. Data starts at a multiple of 64 bytes of the file.
class SafetensorsWriter {
public:
  /// Writes the header for `tensors`, whose data follows in this order. Errors:
  /// Code::Device disk full; Code::File read-only, a directory, duplicate or bad specs.
  static Result<SafetensorsWriter> create(const std::string &path,
                                          const std::vector<TensorSpec> &tensors,
                                          const std::map<std::string, std::string> &metadata);
  SafetensorsWriter(SafetensorsWriter &&) noexcept;
  SafetensorsWriter &operator=(SafetensorsWriter &&) noexcept;
  ~SafetensorsWriter();

  /// The next bytes of the data, of any size, across tensors too.
  Status write(const void *data, size_t bytes);
  /// Checks that all announced bytes came and renames the file into place.
  Status finish();

private:
  struct Impl;
  explicit SafetensorsWriter(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

/// All of `tensors` (each with data) as a file. Errors as SafetensorsWriter.
Status writeSafetensors(const std::string &path, const std::vector<TensorSpec> &tensors,
                        const std::map<std::string, std::string> &metadata = {});

} // namespace otodus::formats

//===- Safetensors.cpp - Reading and writing safetensors files -------------===//

#include "otodus/Formats/Safetensors.h"

#include "Json.h"
#include "otodus/Formats/Hash.h"
#include "otodus/Formats/MappedFile.h"
#include "otodus/Formats/OutputFile.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <set>
#include <unordered_map>

using namespace otodus;
using namespace otodus::formats;
using nlohmann::json;

static_assert(std::endian::native == std::endian::little, "all our files are little endian");

//===----------------------------------------------------------------------===//
// Element types
//===----------------------------------------------------------------------===//

namespace {
struct TypeRow {
  TensorType type;
  const char *name;
  int bits;
};
constexpr TypeRow kTypes[] = {
    {TensorType::Bool, "BOOL", 8},
    {TensorType::F4, "F4", 4},
    {TensorType::F6E2M3, "F6_E2M3", 6},
    {TensorType::F6E3M2, "F6_E3M2", 6},
    {TensorType::U8, "U8", 8},
    {TensorType::I8, "I8", 8},
    {TensorType::F8E5M2, "F8_E5M2", 8},
    {TensorType::F8E4M3, "F8_E4M3", 8},
    {TensorType::F8E8M0, "F8_E8M0", 8},
    {TensorType::F8E4M3FNUZ, "F8_E4M3FNUZ", 8},
    {TensorType::F8E5M2FNUZ, "F8_E5M2FNUZ", 8},
    {TensorType::I16, "I16", 16},
    {TensorType::U16, "U16", 16},
    {TensorType::F16, "F16", 16},
    {TensorType::BF16, "BF16", 16},
    {TensorType::I32, "I32", 32},
    {TensorType::U32, "U32", 32},
    {TensorType::F32, "F32", 32},
    {TensorType::C64, "C64", 64},
    {TensorType::F64, "F64", 64},
    {TensorType::I64, "I64", 64},
    {TensorType::U64, "U64", 64},
};

/// The reference implementation of the format reads no longer header.
constexpr uint64_t kMaxHeaderBytes = 100'000'000;

/// Product of the shape, or -1 on overflow of 2^62 or a negative extent.
int64_t productOf(const std::vector<int64_t> &shape) {
  int64_t product = 1;
  bool zero = false;
  for (int64_t extent : shape) {
    if (extent < 0)
      return -1;
    zero |= extent == 0;
  }
  if (zero)
    return 0;
  for (int64_t extent : shape)
    if (__builtin_mul_overflow(product, extent, &product) || product > (int64_t(1) << 62))
      return -1;
  return product;
}

/// Bytes of a tensor; -1 on overflow, -2 if its bits do not fill whole bytes.
int64_t bytesOf(TensorType type, const std::vector<int64_t> &shape) {
  int64_t product = productOf(shape), bits;
  if (product < 0 || __builtin_mul_overflow(product, bitsOf(type), &bits))
    return -1;
  return bits % 8 ? -2 : bits / 8;
}

/// A short tail of the offending text is enough for a message.
Status fileError(const std::string &name, const std::string &what) {
  return Status(Code::File, name + ": " + what);
}
} // namespace

int64_t formats::bitsOf(TensorType type) {
  return kTypes[static_cast<size_t>(type)].bits;
}
const char *formats::nameOf(TensorType type) {
  return kTypes[static_cast<size_t>(type)].name;
}

std::string formats::shapeToString(const std::vector<int64_t> &shape) {
  std::string out = "[";
  for (size_t i = 0; i < shape.size(); ++i)
    out += (i ? ", " : "") + std::to_string(shape[i]);
  return out + "]";
}

int64_t Tensor::elements() const { return productOf(shape); }

//===----------------------------------------------------------------------===//
// Conversion
//===----------------------------------------------------------------------===//

namespace {
float halfToFloat(uint16_t half) {
  uint32_t sign = uint32_t(half & 0x8000) << 16;
  uint32_t exponent = (half >> 10) & 31, fraction = half & 0x3ff;
  if (exponent == 31)
    return std::bit_cast<float>(sign | 0x7f800000 | fraction << 13);
  if (exponent != 0)
    return std::bit_cast<float>(sign | (exponent + 112) << 23 | fraction << 13);
  float small = float(fraction) * 0x1p-24f;
  return sign ? -small : small;
}

template <typename From, typename To, typename Convert>
void convert(const Tensor &tensor, int64_t begin, int64_t count, To *out, Convert &&one) {
  const uint8_t *from = tensor.data + begin * int64_t(sizeof(From));
  for (int64_t i = 0; i < count; ++i) {
    From value;
    std::memcpy(&value, from + i * int64_t(sizeof(From)), sizeof(From));
    out[i] = static_cast<To>(one(value));
  }
}

constexpr auto same = [](auto value) { return value; };
constexpr auto fromBF16 = [](uint16_t v) { return std::bit_cast<float>(uint32_t(v) << 16); };

Status checkRange(const Tensor &tensor, int64_t begin, int64_t count) {
  if (begin < 0 || count < 0 || begin > tensor.elements() - count)
    return Status(Code::Internal, "elements [" + std::to_string(begin) + ", +" +
                                      std::to_string(count) + ") of tensor " +
                                      inQuotes(tensor.name) + " " + shapeToString(tensor.shape));
  return Status::ok();
}

template <typename To>
bool readFloating(const Tensor &tensor, int64_t begin, int64_t count, To *out) {
  switch (tensor.type) {
  case TensorType::F32:
    convert<float>(tensor, begin, count, out, same);
    return true;
  case TensorType::F64:
    convert<double>(tensor, begin, count, out, same);
    return true;
  case TensorType::BF16:
    convert<uint16_t>(tensor, begin, count, out, fromBF16);
    return true;
  case TensorType::F16:
    convert<uint16_t>(tensor, begin, count, out, halfToFloat);
    return true;
  default:
    return false;
  }
}
} // namespace

Status formats::readAsFloat(const Tensor &tensor, int64_t begin, int64_t count, float *out) {
  OTODUS_RETURN_IF_ERROR(checkRange(tensor, begin, count));
  if (count == 0)
    return Status::ok();
  if (tensor.type == TensorType::F32) {
    std::memcpy(out, tensor.data + begin * 4, size_t(count) * 4);
    return Status::ok();
  }
  if (!readFloating(tensor, begin, count, out))
    return Status(Code::File, "tensor " + inQuotes(tensor.name) +
                                  " must hold F32, BF16, F16 or F64, but holds " +
                                  nameOf(tensor.type));
  return Status::ok();
}

Status formats::readAsDouble(const Tensor &tensor, int64_t begin, int64_t count, double *out) {
  OTODUS_RETURN_IF_ERROR(checkRange(tensor, begin, count));
  if (count == 0 || readFloating(tensor, begin, count, out))
    return Status::ok();
  switch (tensor.type) {
  case TensorType::Bool:
  case TensorType::U8:
    convert<uint8_t>(tensor, begin, count, out, same);
    break;
  case TensorType::I8:
    convert<int8_t>(tensor, begin, count, out, same);
    break;
  case TensorType::I16:
    convert<int16_t>(tensor, begin, count, out, same);
    break;
  case TensorType::U16:
    convert<uint16_t>(tensor, begin, count, out, same);
    break;
  case TensorType::I32:
    convert<int32_t>(tensor, begin, count, out, same);
    break;
  case TensorType::U32:
    convert<uint32_t>(tensor, begin, count, out, same);
    break;
  case TensorType::I64:
    convert<int64_t>(tensor, begin, count, out, same);
    break;
  case TensorType::U64:
    convert<uint64_t>(tensor, begin, count, out, same);
    break;
  default:
    return Status(Code::File, "tensor " + inQuotes(tensor.name) + " holds " +
                                  nameOf(tensor.type) + ", which cannot be read as numbers");
  }
  return Status::ok();
}

//===----------------------------------------------------------------------===//
// Reading
//===----------------------------------------------------------------------===//

struct SafetensorsFile::Impl {
  std::string path;
  MappedFile mapping; ///< empty for parsed data
  const uint8_t *data = nullptr;
  uint64_t size = 0, headerBytes = 0;
  std::vector<Tensor> tensors;
  std::unordered_map<std::string_view, size_t> byName;
  std::map<std::string, std::string> metadata;

  Status read();
  Status readTensor(const std::string &name, const json &entry);
};

Status SafetensorsFile::Impl::readTensor(const std::string &name, const json &entry) {
  const std::string what = "tensor " + inQuotes(name);
  if (!entry.is_object())
    return fileError(path, what + ": expected an object with dtype, shape and data_offsets, "
                                  "found " + kindOf(entry));
  for (const char *key : {"dtype", "shape", "data_offsets"})
    if (!entry.contains(key))
      return fileError(path, what + ": '" + key + "' is missing");
  for (const auto &[key, value] : entry.items())
    if (key != "dtype" && key != "shape" && key != "data_offsets")
      return fileError(path, what + ": unknown key " + inQuotes(key));

  Tensor tensor;
  tensor.name = name;
  const json &dtype = entry["dtype"];
  if (!dtype.is_string())
    return fileError(path, what + ": dtype must be a string, found " + kindOf(dtype));
  const auto &typeName = dtype.get_ref<const std::string &>();
  auto row = std::find_if(std::begin(kTypes), std::end(kTypes),
                          [&](const TypeRow &r) { return typeName == r.name; });
  if (row == std::end(kTypes))
    return fileError(path, what + ": unknown dtype " + inQuotes(typeName) +
                               "; expected F32, BF16, F16, F64, I64 or another of the format's "
                               "names");
  tensor.type = row->type;

  const json &shape = entry["shape"];
  if (!shape.is_array())
    return fileError(path, what + ": shape must be an array, found " + kindOf(shape));
  for (const json &extent : shape) {
    if (!extent.is_number_unsigned())
      return fileError(path, what + ": an extent of the shape must be an integer >= 0, found " +
                                 (extent.is_number_integer() ? extent.dump() : kindOf(extent)));
    if (extent.get<uint64_t>() > uint64_t(1) << 62)
      return fileError(path, what + ": extent " + extent.dump() + " is too large");
    tensor.shape.push_back(extent.get<int64_t>());
  }

  const json &offsets = entry["data_offsets"];
  if (!offsets.is_array() || offsets.size() != 2 || !offsets[0].is_number_unsigned() ||
      !offsets[1].is_number_unsigned())
    return fileError(path, what + ": data_offsets must be two integers >= 0");
  uint64_t begin = offsets[0].get<uint64_t>(), end = offsets[1].get<uint64_t>();
  uint64_t available = size - 8 - headerBytes;
  std::string range = "[" + std::to_string(begin) + ", " + std::to_string(end) + ")";
  if (begin > end)
    return fileError(path, what + ": data_offsets " + range + " end before they begin");
  if (end > available)
    return fileError(path, what + ": data_offsets " + range +
                               " lie outside the file, which holds " + std::to_string(available) +
                               " bytes of data; the file may be truncated");

  int64_t bytes = bytesOf(tensor.type, tensor.shape);
  if (bytes == -1)
    return fileError(path, what + ": the product of shape " + shapeToString(tensor.shape) +
                               " overflows");
  if (bytes == -2)
    return fileError(path, what + ": shape " + shapeToString(tensor.shape) + " of " + typeName +
                               " does not fill whole bytes");
  if (uint64_t(bytes) != end - begin)
    return fileError(path, what + ": shape " + shapeToString(tensor.shape) + " of " + typeName +
                               " needs " + std::to_string(bytes) + " bytes, but data_offsets " +
                               range + " hold " + std::to_string(end - begin));
  tensor.bytes = uint64_t(bytes);
  tensor.offset = 8 + headerBytes + begin;
  tensor.data = data + tensor.offset;
  tensors.push_back(std::move(tensor));
  return Status::ok();
}

Status SafetensorsFile::Impl::read() {
  if (size < 8)
    return fileError(path, "not a safetensors file: expected at least 8 bytes, found " +
                               std::to_string(size) + "; the file may be truncated");
  std::memcpy(&headerBytes, data, 8);
  if (headerBytes > size - 8)
    return fileError(path, "the header's length is " + std::to_string(headerBytes) +
                               ", but only " + std::to_string(size - 8) +
                               " bytes follow it; the file is truncated or no safetensors file");
  if (headerBytes > kMaxHeaderBytes)
    return fileError(path, "the header's length is " + std::to_string(headerBytes) +
                               ", more than the format's limit of " +
                               std::to_string(kMaxHeaderBytes));
  std::string_view text(reinterpret_cast<const char *>(data) + 8, headerBytes);
  Result<json> header = parseJson(text, path + " (header)", Code::File);
  OTODUS_RETURN_IF_ERROR(header.status());
  if (!header->is_object())
    return fileError(path, std::string("the header must be a JSON object, found ") +
                               kindOf(*header));

  for (const auto &[name, entry] : header->items()) {
    if (name != "__metadata__") {
      OTODUS_RETURN_IF_ERROR(readTensor(name, entry));
      continue;
    }
    if (!entry.is_object())
      return fileError(path, std::string("'__metadata__' must be an object, found ") +
                                 kindOf(entry));
    for (const auto &[key, value] : entry.items()) {
      if (!value.is_string())
        return fileError(path, "'__metadata__' must map to strings, but " + inQuotes(key) + " is " +
                                   kindOf(value));
      metadata[key] = value.get<std::string>();
    }
  }

  std::sort(tensors.begin(), tensors.end(), [](const Tensor &a, const Tensor &b) {
    return std::tie(a.offset, a.bytes, a.name) < std::tie(b.offset, b.bytes, b.name);
  });
  const uint64_t base = 8 + headerBytes;
  uint64_t end = base;
  const Tensor *before = nullptr;
  for (const Tensor &tensor : tensors) {
    if (tensor.offset < end)
      return fileError(path, "tensors " + inQuotes(before->name) + " and " + inQuotes(tensor.name) +
                                 " overlap: one ends at data offset " +
                                 std::to_string(end - base) + ", the other begins at " +
                                 std::to_string(tensor.offset - base));
    if (tensor.offset > end)
      return fileError(path, "gap of " + std::to_string(tensor.offset - end) +
                                 " bytes in the data before tensor " + inQuotes(tensor.name));
    end = tensor.offset + tensor.bytes;
    before = &tensor;
  }
  if (end != size)
    return fileError(path, "gap: " + std::to_string(size - end) +
                               " bytes follow the last tensor's data");
  for (size_t i = 0; i < tensors.size(); ++i)
    byName.emplace(tensors[i].name, i);
  return Status::ok();
}

Result<SafetensorsFile> SafetensorsFile::open(const std::string &path) {
  Result<MappedFile> mapping = MappedFile::open(path);
  OTODUS_RETURN_IF_ERROR(mapping.status());
  auto impl = std::make_shared<Impl>();
  impl->path = path;
  impl->mapping = std::move(*mapping);
  impl->data = impl->mapping.data();
  impl->size = impl->mapping.size();
  OTODUS_RETURN_IF_ERROR(impl->read());
  SafetensorsFile file;
  file.impl_ = std::move(impl);
  return file;
}

Result<SafetensorsFile> SafetensorsFile::parse(const uint8_t *data, uint64_t size,
                                               const std::string &name) {
  auto impl = std::make_shared<Impl>();
  impl->path = name;
  impl->data = data;
  impl->size = size;
  OTODUS_RETURN_IF_ERROR(impl->read());
  SafetensorsFile file;
  file.impl_ = std::move(impl);
  return file;
}

const std::string &SafetensorsFile::path() const { return impl_->path; }
const std::vector<Tensor> &SafetensorsFile::tensors() const { return impl_->tensors; }
const std::map<std::string, std::string> &SafetensorsFile::metadata() const {
  return impl_->metadata;
}
uint64_t SafetensorsFile::size() const { return impl_->size; }

const Tensor *SafetensorsFile::find(std::string_view name) const {
  auto found = impl_->byName.find(name);
  return found == impl_->byName.end() ? nullptr : &impl_->tensors[found->second];
}

std::string SafetensorsFile::headerHash() const {
  return sha256Hex({reinterpret_cast<const char *>(impl_->data) + 8, impl_->headerBytes});
}

void SafetensorsFile::dropPages(std::string_view name) const {
  if (const Tensor *tensor = find(name))
    impl_->mapping.dropPages(tensor->data, tensor->bytes);
}

//===----------------------------------------------------------------------===//
// Writing
//===----------------------------------------------------------------------===//

struct SafetensorsWriter::Impl {
  explicit Impl(OutputFile file) : file(std::move(file)) {}
  OutputFile file;
  std::string path;
  uint64_t announced = 0, written = 0;
};

SafetensorsWriter::SafetensorsWriter(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
SafetensorsWriter::SafetensorsWriter(SafetensorsWriter &&) noexcept = default;
SafetensorsWriter &SafetensorsWriter::operator=(SafetensorsWriter &&) noexcept = default;
SafetensorsWriter::~SafetensorsWriter() = default;

Result<SafetensorsWriter>
SafetensorsWriter::create(const std::string &path, const std::vector<TensorSpec> &tensors,
                          const std::map<std::string, std::string> &metadata) {
  nlohmann::ordered_json header = nlohmann::ordered_json::object();
  // Written through the underlying vector: looking a key up is linear here.
  auto &entries = header.get_ref<nlohmann::ordered_json::object_t &>();
  if (!metadata.empty())
    entries.emplace_back("__metadata__", metadata);
  std::set<std::string_view> names = {"__metadata__"};
  uint64_t offset = 0;
  for (const TensorSpec &tensor : tensors) {
    if (!names.insert(tensor.name).second)
      return Status(Code::File, "cannot write '" + path + "': tensor name " +
                                    inQuotes(tensor.name) + " is taken");
    int64_t bytes = bytesOf(tensor.type, tensor.shape);
    if (bytes < 0 || offset > (uint64_t(1) << 62) - uint64_t(bytes))
      return Status(Code::File, "cannot write '" + path + "': tensor " + inQuotes(tensor.name) +
                                    " of shape " + shapeToString(tensor.shape) +
                                    " has no size in bytes that fits the format");
    nlohmann::ordered_json entry;
    entry["dtype"] = nameOf(tensor.type);
    entry["shape"] = tensor.shape;
    entry["data_offsets"] = {offset, offset + uint64_t(bytes)};
    entries.emplace_back(tensor.name, std::move(entry));
    offset += uint64_t(bytes);
  }
  std::string text = dumpJson(header);
  // The format allows spaces after the header; they align the data.
  text.append((64 - (text.size() + 8) % 64) % 64, ' ');
  if (text.size() > kMaxHeaderBytes)
    return Status(Code::File, "cannot write '" + path + "': the header would exceed the format's " +
                                  std::to_string(kMaxHeaderBytes) + " bytes");

  Result<OutputFile> file = OutputFile::create(path);
  OTODUS_RETURN_IF_ERROR(file.status());
  auto impl = std::make_unique<Impl>(std::move(*file));
  impl->path = path;
  impl->announced = offset;
  uint64_t length = text.size();
  OTODUS_RETURN_IF_ERROR(impl->file.write(&length, 8));
  OTODUS_RETURN_IF_ERROR(impl->file.write(text.data(), text.size()));
  return SafetensorsWriter(std::move(impl));
}

Status SafetensorsWriter::write(const void *data, size_t bytes) {
  impl_->written += bytes;
  return impl_->file.write(data, bytes);
}

Status SafetensorsWriter::finish() {
  if (impl_->written != impl_->announced)
    return Status(Code::Internal, "writing '" + impl_->path + "': " +
                                      std::to_string(impl_->announced) +
                                      " bytes of tensors were announced, " +
                                      std::to_string(impl_->written) + " came");
  return impl_->file.finish();
}

Status formats::writeSafetensors(const std::string &path, const std::vector<TensorSpec> &tensors,
                                 const std::map<std::string, std::string> &metadata) {
  Result<SafetensorsWriter> writer = SafetensorsWriter::create(path, tensors, metadata);
  OTODUS_RETURN_IF_ERROR(writer.status());
  for (const TensorSpec &tensor : tensors)
    if (int64_t bytes = bytesOf(tensor.type, tensor.shape); bytes > 0)
      OTODUS_RETURN_IF_ERROR(writer->write(tensor.data, size_t(bytes)));
  return writer->finish();
}

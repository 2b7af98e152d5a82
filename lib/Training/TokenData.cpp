//===- TokenData.cpp - Tokens of files larger than memory ------------------===//

#include "otodus/Training/TokenData.h"
#include "otodus/Formats/Hash.h"
#include "otodus/Formats/MappedFile.h"
#include "otodus/Formats/Safetensors.h"

#include <algorithm>
#include <cstring>

namespace otodus::training {

using formats::TensorType;

/// A file, or tokens in memory.
struct TokenData::Part {
  formats::MappedFile bytes;
  std::optional<formats::SafetensorsFile> file;
  std::vector<int32_t> memory;
  const uint8_t *data = nullptr;
  TensorType type = TensorType::U8;
  int64_t size = 0;
  std::vector<int64_t> owned; ///< documents, if not in the file
  const uint8_t *documents = nullptr;
  int64_t documentCount = 0;

  int64_t document(int64_t i) const {
    int64_t value;
    std::memcpy(&value, documents + i * 8, 8);
    return value;
  }
  /// The first index of a document that starts at or after `position`.
  int64_t firstFrom(int64_t position) const {
    int64_t low = 0, high = documentCount;
    while (low < high) {
      int64_t middle = low + (high - low) / 2;
      if (document(middle) < position)
        low = middle + 1;
      else
        high = middle;
    }
    return low;
  }
  void own(std::vector<int64_t> starts) {
    owned = std::move(starts);
    documents = reinterpret_cast<const uint8_t *>(owned.data());
    documentCount = static_cast<int64_t>(owned.size());
  }
  void read(int64_t begin, int64_t count, int32_t *out) const {
    auto copy = [&]<typename T>(T) {
      for (int64_t i = 0; i < count; ++i) {
        T value;
        std::memcpy(&value, data + (begin + i) * static_cast<int64_t>(sizeof(T)), sizeof(T));
        out[i] = static_cast<int32_t>(value);
      }
    };
    switch (type) {
    case TensorType::U8:
      return copy(uint8_t());
    case TensorType::U16:
      return copy(uint16_t());
    default:
      return copy(int32_t());
    }
  }
};

namespace {
Status emptyFile(const std::string &path) {
  return Status(Code::Input, path + ": expected text to learn from, but the file is empty");
}
} // namespace

Result<TokenData> TokenData::openBytes(const std::string &path) {
  Result<formats::MappedFile> file = formats::MappedFile::open(path);
  if (!file.isOk())
    return file.status();
  if (file->size() == 0)
    return emptyFile(path);
  auto part = std::make_shared<Part>();
  part->bytes = std::move(*file);
  part->data = part->bytes.data();
  part->size = static_cast<int64_t>(part->bytes.size());
  part->own({0});
  TokenData data;
  data.parts_ = {part};
  data.begin_ = data.offsets_ = {0};
  data.end_ = {part->size};
  data.size_ = part->size;
  return data;
}

Result<TokenData> TokenData::openTokens(const std::string &path) {
  Result<formats::SafetensorsFile> file = formats::SafetensorsFile::open(path);
  if (!file.isOk())
    return file.status();
  const formats::Tensor *tokens = file->find("tokens"), *documents = file->find("documents");
  auto bad = [&](const std::string &what) { return Status(Code::File, path + ": " + what); };
  if (!tokens)
    return bad("expected a tensor 'tokens', but there is none");
  if (tokens->shape.size() != 1)
    return bad("expected tokens of shape [N], found " + formats::shapeToString(tokens->shape));
  if (tokens->type != TensorType::U8 && tokens->type != TensorType::U16 &&
      tokens->type != TensorType::I32 && tokens->type != TensorType::U32)
    return bad(std::string("expected tokens of type U8, U16, I32 or U32, found ") +
               formats::nameOf(tokens->type));
  if (tokens->shape[0] == 0)
    return emptyFile(path);
  auto part = std::make_shared<Part>();
  part->file = *file;
  part->data = tokens->data;
  part->type = tokens->type;
  part->size = tokens->shape[0];
  if (!documents) {
    part->own({0});
  } else {
    if (documents->type != TensorType::I64 || documents->shape.size() != 1)
      return bad("expected documents of type I64 and shape [M]");
    part->documents = documents->data;
    part->documentCount = documents->shape[0];
    for (int64_t i = 0, before = -1; i < part->documentCount; ++i) {
      int64_t start = part->document(i);
      if (start <= before || start >= part->size)
        return bad("documents must rise from 0 to below " + std::to_string(part->size) +
                   ", but number " + std::to_string(i + 1) + " is " + std::to_string(start));
      before = start;
    }
    if (part->documentCount == 0 || part->document(0) != 0)
      return bad("the first document must start at 0");
  }
  TokenData data;
  data.parts_ = {part};
  data.begin_ = data.offsets_ = {0};
  data.end_ = {part->size};
  data.size_ = part->size;
  return data;
}

TokenData TokenData::fromMemory(std::vector<int32_t> tokens, std::vector<int64_t> documents) {
  auto part = std::make_shared<Part>();
  part->memory = std::move(tokens);
  part->data = reinterpret_cast<const uint8_t *>(part->memory.data());
  part->type = TensorType::I32;
  part->size = static_cast<int64_t>(part->memory.size());
  part->own(std::move(documents));
  TokenData data;
  data.parts_ = {part};
  data.begin_ = data.offsets_ = {0};
  data.end_ = {part->size};
  data.size_ = part->size;
  return data;
}

void TokenData::append(const TokenData &other) {
  for (size_t i = 0; i < other.parts_.size(); ++i) {
    parts_.push_back(other.parts_[i]);
    begin_.push_back(other.begin_[i]);
    end_.push_back(other.end_[i]);
    offsets_.push_back(size_);
    size_ += other.end_[i] - other.begin_[i];
  }
}

TokenData TokenData::slice(int64_t begin, int64_t end) const {
  TokenData result;
  for (size_t i = 0; i < parts_.size(); ++i) {
    int64_t length = end_[i] - begin_[i];
    int64_t from = std::clamp<int64_t>(begin - offsets_[i], 0, length);
    int64_t to = std::clamp<int64_t>(end - offsets_[i], 0, length);
    if (from >= to)
      continue;
    result.parts_.push_back(parts_[i]);
    result.begin_.push_back(begin_[i] + from);
    result.end_.push_back(begin_[i] + to);
    result.offsets_.push_back(result.size_);
    result.size_ += to - from;
  }
  return result;
}

int64_t TokenData::size() const { return size_; }

int64_t TokenData::documents() const {
  int64_t count = 0;
  for (size_t i = 0; i < parts_.size(); ++i) {
    count += parts_[i]->firstFrom(end_[i]) - parts_[i]->firstFrom(begin_[i]);
    // A part that begins inside a document starts one.
    int64_t first = parts_[i]->firstFrom(begin_[i]);
    count += first >= parts_[i]->documentCount || parts_[i]->document(first) != begin_[i];
  }
  return count;
}

void TokenData::read(int64_t begin, int64_t count, int32_t *out) const {
  size_t part = static_cast<size_t>(
      std::upper_bound(offsets_.begin(), offsets_.end(), begin) - offsets_.begin() - 1);
  for (; count > 0; ++part) {
    int64_t from = begin_[part] + (begin - offsets_[part]);
    int64_t piece = std::min(count, end_[part] - from);
    parts_[part]->read(from, piece, out);
    out += piece;
    begin += piece;
    count -= piece;
  }
}

int64_t TokenData::nextDocument(int64_t position) const {
  if (position >= size_)
    return size_;
  size_t part = static_cast<size_t>(
      std::upper_bound(offsets_.begin(), offsets_.end(), position) - offsets_.begin() - 1);
  if (position == offsets_[part])
    return position;
  const Part &inner = *parts_[part];
  int64_t index = inner.firstFrom(begin_[part] + (position - offsets_[part]));
  if (index < inner.documentCount && inner.document(index) < end_[part])
    return offsets_[part] + inner.document(index) - begin_[part];
  return part + 1 < parts_.size() ? offsets_[part + 1] : size_;
}

std::string TokenData::fingerprint() const {
  formats::Sha256 hash;
  auto add = [&](int64_t value) { hash.update(&value, 8); };
  add(size_);
  add(documents());
  // 64 stretches of 64 tokens.
  std::vector<int32_t> sample(64);
  for (int64_t i = 0; i < 64; ++i) {
    int64_t begin = size_ > 64 ? (size_ - 64) / 63 * i : 0;
    int64_t count = std::min<int64_t>(64, size_ - begin);
    read(begin, count, sample.data());
    hash.update(sample.data(), static_cast<size_t>(count) * 4);
    add(nextDocument(begin));
  }
  return hash.hex().substr(0, 32);
}

} // namespace otodus::training

//===- TokenFile.cpp - From texts to token files ---------------------------===//

#include "otodus/Formats/Hash.h"
#include "otodus/Formats/MappedFile.h"
#include "otodus/Formats/OutputFile.h"
#include "otodus/Training/TokenData.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cstring>
#include <filesystem>

#include <sys/stat.h>

namespace otodus::training {

using nlohmann::json;

namespace {
/// How many bytes of text are read before pages are given back and `stop` is asked.
constexpr uint64_t kStretch = uint64_t(4) << 20;
/// Text without a line break is cut after so many bytes.
constexpr uint64_t kLongestBlock = uint64_t(1) << 20;
/// Room for the header of a token file, which is known at the end only.
constexpr size_t kHeaderBytes = 512;
} // namespace

struct TokenFileWriter::Impl {
  formats::OutputFile file;
  int64_t width = 4; ///< bytes of a token
  int64_t vocabulary = 0, size = 0;
  std::vector<int64_t> documents;
  bool fresh = true;
  explicit Impl(formats::OutputFile out) : file(std::move(out)) {}
};

TokenFileWriter::TokenFileWriter(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
TokenFileWriter::TokenFileWriter(TokenFileWriter &&) noexcept = default;
TokenFileWriter::~TokenFileWriter() = default;

Result<TokenFileWriter> TokenFileWriter::create(const std::string &path, int64_t vocabulary) {
  Result<formats::OutputFile> file = formats::OutputFile::create(path);
  if (!file.isOk())
    return file.status();
  auto impl = std::make_unique<Impl>(std::move(*file));
  impl->vocabulary = vocabulary;
  impl->width = vocabulary <= 256 ? 1 : vocabulary <= 65536 ? 2 : 4;
  std::string header(kHeaderBytes, ' ');
  OTODUS_RETURN_IF_ERROR(impl->file.write(header.data(), header.size()));
  return TokenFileWriter(std::move(impl));
}

void TokenFileWriter::beginDocument() { impl_->fresh = true; }

int64_t TokenFileWriter::size() const { return impl_->size; }

Status TokenFileWriter::append(const std::vector<int32_t> &tokens) {
  Impl &impl = *impl_;
  if (tokens.empty())
    return Status::ok();
  if (std::exchange(impl.fresh, false))
    impl.documents.push_back(impl.size);
  std::vector<uint8_t> bytes(tokens.size() * static_cast<size_t>(impl.width));
  for (size_t i = 0; i < tokens.size(); ++i) {
    if (tokens[i] < 0 || tokens[i] >= impl.vocabulary)
      return Status(Code::Input, "token " + std::to_string(tokens[i]) +
                                     " is outside the vocabulary [0, " +
                                     std::to_string(impl.vocabulary) + ")");
    // Little endian, like the machines this runs on.
    std::memcpy(bytes.data() + i * static_cast<size_t>(impl.width), &tokens[i],
                static_cast<size_t>(impl.width));
  }
  impl.size += static_cast<int64_t>(tokens.size());
  return impl.file.write(bytes.data(), bytes.size());
}

Status TokenFileWriter::finish() {
  Impl &impl = *impl_;
  uint64_t tokenBytes = impl.file.offset() - kHeaderBytes;
  OTODUS_RETURN_IF_ERROR(impl.file.pad(8));
  uint64_t begin = impl.file.offset() - kHeaderBytes;
  // Offsets must not leave gaps: the padding belongs to a tensor of its own.
  json header;
  header["tokens"] = {{"dtype", impl.width == 1 ? "U8" : impl.width == 2 ? "U16" : "I32"},
                      {"shape", {impl.size}},
                      {"data_offsets", {0, tokenBytes}}};
  if (begin > tokenBytes)
    header["padding"] = {
        {"dtype", "U8"}, {"shape", {begin - tokenBytes}}, {"data_offsets", {tokenBytes, begin}}};
  uint64_t end = begin + impl.documents.size() * 8;
  header["documents"] = {{"dtype", "I64"},
                         {"shape", {impl.documents.size()}},
                         {"data_offsets", {begin, end}}};
  OTODUS_RETURN_IF_ERROR(impl.file.write(impl.documents.data(), impl.documents.size() * 8));
  std::string text = header.dump();
  text.resize(kHeaderBytes - 8, ' ');
  uint64_t length = text.size();
  OTODUS_RETURN_IF_ERROR(impl.file.writeAt(0, &length, 8));
  OTODUS_RETURN_IF_ERROR(impl.file.writeAt(8, text.data(), text.size()));
  return impl.file.finish();
}

//===----------------------------------------------------------------------===//
// Texts
//===----------------------------------------------------------------------===//

namespace {

/// BOS, the text's tokens, EOS (spec 6).
Status appendDocument(std::string_view text, const TextEncoder &encoder, TokenFileWriter &writer) {
  Result<std::vector<int32_t>> tokens = encoder.encode(text);
  if (!tokens.isOk())
    return tokens.status();
  if (encoder.bos >= 0)
    tokens->insert(tokens->begin(), encoder.bos);
  if (encoder.eos >= 0)
    tokens->push_back(encoder.eos);
  writer.beginDocument();
  return writer.append(*tokens);
}

/// A mapped file read from front to back: gives back pages it has passed.
class Walk {
public:
  Walk(const formats::MappedFile &file, const std::function<Status()> &stop)
      : file_(file), stop_(stop) {}
  Status passed(uint64_t at) {
    if (at - dropped_ < kStretch)
      return Status::ok();
    file_.dropPages(file_.data() + dropped_, at - dropped_);
    dropped_ = at;
    return stop_ ? stop_() : Status::ok();
  }

private:
  const formats::MappedFile &file_;
  const std::function<Status()> &stop_;
  uint64_t dropped_ = 0;
};

} // namespace

Status encodeJsonl(const std::string &path, const std::string &field, const TextEncoder &encoder,
                   TokenFileWriter &writer, const std::function<Status()> &stop) {
  Result<formats::MappedFile> file = formats::MappedFile::open(path);
  OTODUS_RETURN_IF_ERROR(file.status());
  const char *data = reinterpret_cast<const char *>(file->data());
  Walk walk(*file, stop);
  int64_t number = 0;
  for (uint64_t at = 0; at < file->size();) {
    ++number;
    const void *newline = std::memchr(data + at, '\n', file->size() - at);
    uint64_t end = newline ? static_cast<uint64_t>(static_cast<const char *>(newline) - data)
                           : file->size();
    std::string_view line(data + at, end - at);
    at = end + 1;
    if (line.find_first_not_of(" \t\r") == std::string_view::npos)
      continue;
    std::string where = path + ":" + std::to_string(number);
    json object;
    try {
      object = json::parse(line);
    } catch (const json::parse_error &error) {
      // "[json.exception.parse_error.101] parse error at line 1, column 9: why"
      std::string why = error.what();
      if (size_t colon = why.find(": "); colon != std::string::npos)
        why = why.substr(colon + 2);
      return Status(Code::Input, where + ":" + std::to_string(error.byte) +
                                     ": expected a JSON object, but " + why);
    }
    if (!object.is_object())
      return Status(Code::Input, where + ": expected a JSON object such as {\"" + field +
                                     "\": \"…\"}, found " + object.type_name());
    auto text = object.find(field);
    if (text == object.end())
      return Status(Code::Input, where + ": the object has no field '" + field +
                                     "'; name another one with data.field");
    if (!text->is_string())
      return Status(Code::Input, where + ": field '" + field + "' must be a string, found " +
                                     text->type_name());
    Status appended = appendDocument(text->get_ref<const std::string &>(), encoder, writer);
    if (!appended.isOk())
      return appended.code() == Code::Input ? appended.in(where) : appended;
    OTODUS_RETURN_IF_ERROR(walk.passed(std::min(at, file->size())));
  }
  return Status::ok();
}

Status encodeText(const std::string &path, const TextEncoder &encoder, TokenFileWriter &writer,
                  const std::function<Status()> &stop) {
  Result<formats::MappedFile> file = formats::MappedFile::open(path);
  OTODUS_RETURN_IF_ERROR(file.status());
  std::string_view text(reinterpret_cast<const char *>(file->data()), file->size());
  Walk walk(*file, stop);
  writer.beginDocument();
  if (encoder.bos >= 0)
    OTODUS_RETURN_IF_ERROR(writer.append({encoder.bos}));
  for (uint64_t at = 0; at < text.size();) {
    std::string_view block = text.substr(at, kLongestBlock);
    // A tokenizer looks at whole words: cut behind a line where there is one.
    if (block.size() == kLongestBlock)
      if (size_t line = block.rfind('\n'); line != std::string_view::npos)
        block = block.substr(0, line + 1);
    Result<std::vector<int32_t>> tokens = encoder.encode(block);
    if (!tokens.isOk())
      return tokens.status().in(path + ", block at byte " + std::to_string(at));
    OTODUS_RETURN_IF_ERROR(writer.append(*tokens));
    at += block.size();
    OTODUS_RETURN_IF_ERROR(walk.passed(at));
  }
  return encoder.eos >= 0 ? writer.append({encoder.eos}) : Status::ok();
}

std::string formatOf(const std::string &path) {
  auto ends = [&](std::string_view tail) {
    return path.size() >= tail.size() && path.compare(path.size() - tail.size(), tail.size(), tail) == 0;
  };
  return ends(".jsonl") || ends(".ndjson") ? "jsonl" : ends(".safetensors") ? "tokens" : "text";
}

Result<TokenData> openTokenData(const std::vector<std::string> &files, const std::string &format,
                                const std::string &field, const TextEncoder &encoder,
                                const std::string &encoderName, const std::string &cacheFolder,
                                const std::function<Status()> &stop) {
  if (files.empty())
    return Status(Code::Usage, "no data: give --data FILE or data.files in the configuration");
  TokenData all;
  for (const std::string &path : files) {
    std::string kind = format.empty() ? formatOf(path) : format;
    if (kind == "tokens" || (kind == "text" && encoder.bytes)) {
      Result<TokenData> data =
          kind == "tokens" ? TokenData::openTokens(path) : TokenData::openBytes(path);
      if (!data.isOk())
        return data.status();
      all.append(*data);
      continue;
    }
    struct stat info;
    if (stat(path.c_str(), &info) != 0)
      return Status(Code::File, "cannot open '" + path + "': " + std::strerror(errno));
    std::error_code error;
    std::string key = std::filesystem::absolute(path, error).string() + "\n" + kind + "\n" + field +
                      "\n" + encoderName + "\n" + std::to_string(info.st_size) + "\n" +
                      std::to_string(info.st_mtim.tv_sec) + "." +
                      std::to_string(info.st_mtim.tv_nsec);
    std::string cached =
        cacheFolder + "/" + formats::sha256Hex(key).substr(0, 24) + ".safetensors";
    if (!std::filesystem::exists(cached, error)) {
      std::filesystem::create_directories(cacheFolder, error);
      if (error)
        return Status(Code::File, "cannot make folder '" + cacheFolder + "': " + error.message());
      Result<TokenFileWriter> writer = TokenFileWriter::create(cached, encoder.vocabulary);
      if (!writer.isOk())
        return writer.status();
      OTODUS_RETURN_IF_ERROR(kind == "jsonl" ? encodeJsonl(path, field, encoder, *writer, stop)
                                             : encodeText(path, encoder, *writer, stop));
      if (writer->size() == 0)
        return Status(Code::Input, path + ": expected text to learn from, but there is none");
      OTODUS_RETURN_IF_ERROR(writer->finish());
    }
    Result<TokenData> data = TokenData::openTokens(cached);
    if (!data.isOk())
      return data.status();
    all.append(*data);
  }
  return all;
}

} // namespace otodus::training

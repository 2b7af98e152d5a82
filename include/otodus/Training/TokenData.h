//===- TokenData.h - Tokens of files larger than memory --------------------===//
//
// Training reads tokens from mapped files: a text whose bytes are the tokens, or a token
// file, which is a safetensors file with
//   tokens     U8, U16, I32 or U32 [N]
//   documents  I64 [M], positions where documents start, rising (absent: one document)
// Texts that need a tokenizer and jsonl files are written to such a file once, in constant
// memory (TokenFileWriter).
//
//===----------------------------------------------------------------------===//

#pragma once

#include "otodus/Formats/Status.h"

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace otodus::training {

/// A stream of tokens made of documents. Copies share the mappings.
class TokenData {
public:
  /// The bytes of a file as one document. Code::Input if it is empty; Code::File.
  static Result<TokenData> openBytes(const std::string &path);
  /// A token file. Code::File if it is none, Code::Input if it holds no token.
  static Result<TokenData> openTokens(const std::string &path);
  /// Tokens in memory, for tests; `documents`: where documents start.
  static TokenData fromMemory(std::vector<int32_t> tokens, std::vector<int64_t> documents = {0});

  /// Puts `other` behind this; it starts a document.
  void append(const TokenData &other);
  /// Tokens [begin, end) only; the first starts a document.
  TokenData slice(int64_t begin, int64_t end) const;

  int64_t size() const;
  int64_t documents() const;
  /// Tokens [begin, begin + count), which must be inside.
  void read(int64_t begin, int64_t count, int32_t *out) const;
  /// The first start of a document at or after `position`; size() if there is none.
  int64_t nextDocument(int64_t position) const;
  /// A digest of size, documents and a sample of the tokens: enough to tell whether a run is
  /// continued with the data it began with.
  std::string fingerprint() const;

private:
  struct Part;
  std::vector<std::shared_ptr<const Part>> parts_;
  std::vector<int64_t> begin_, end_; ///< of each part
  std::vector<int64_t> offsets_;     ///< where each part begins in this stream
  int64_t size_ = 0;
};

/// Writes a token file piece by piece; it appears on `finish` only.
class TokenFileWriter {
public:
  /// `vocabulary`: exclusive bound of the tokens; decides their type.
  static Result<TokenFileWriter> create(const std::string &path, int64_t vocabulary);
  TokenFileWriter(TokenFileWriter &&) noexcept;
  ~TokenFileWriter();

  /// What is appended next starts a document.
  void beginDocument();
  Status append(const std::vector<int32_t> &tokens);
  int64_t size() const;
  Status finish();

private:
  struct Impl;
  explicit TokenFileWriter(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

/// How text becomes tokens.
struct TextEncoder {
  /// Tokens of a text without BOS and EOS.
  std::function<Result<std::vector<int32_t>>(std::string_view)> encode;
  int32_t bos = -1, eos = -1; ///< around each document; -1: none
  int64_t vocabulary = 256;   ///< exclusive bound of tokens
  bool bytes = true;          ///< a token is a byte of the text
};

/// Reads a jsonl file, one object with the text `field` per line, each a document, and
/// appends them to `writer`. Memory: the longest line. Code::Input "file:line: …" for a
/// line that is no such object; empty lines are passed over. `stop` is asked after every
/// few megabytes; an error of it ends the work and is returned.
Status encodeJsonl(const std::string &path, const std::string &field, const TextEncoder &encoder,
                   TokenFileWriter &writer, const std::function<Status()> &stop = nullptr);
/// The same of a text file, one document, tokenised in blocks of whole lines.
Status encodeText(const std::string &path, const TextEncoder &encoder, TokenFileWriter &writer,
                  const std::function<Status()> &stop = nullptr);

/// "text", "jsonl" or "tokens" by the end of a file's name.
std::string formatOf(const std::string &path);

/// Opens `files` as one stream. Those that must be encoded are encoded to `cacheFolder` (made
/// if needed) under a name that stands for path, size, time and encoder, and found there the next
/// time. `format` "" goes by name. Code::Usage without files.
Result<TokenData> openTokenData(const std::vector<std::string> &files, const std::string &format,
                                const std::string &field, const TextEncoder &encoder,
                                const std::string &encoderName, const std::string &cacheFolder,
                                const std::function<Status()> &stop = nullptr);

} // namespace otodus::training

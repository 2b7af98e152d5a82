//===- Tokenizer.h - Text to tokens and back -------------------------------===//
//
// Without a tokenizer file a token is a byte. Otherwise the SentencePiece model that
// the checkpoint's configuration names; ids beyond its pieces (additional_vocab_size)
// serve as BOS and EOS if the model itself has none (spec 6).
//
//===----------------------------------------------------------------------===//

#pragma once

#include "otodus/Formats/ModelConfig.h"
#include "otodus/Formats/Status.h"

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace otodus::driver {

class Tokenizer {
public:
  /// `folder`: what a relative tokenizer.path is relative to. `vocabulary`: exclusive bound
  /// of the model's token ids. Errors: Code::File if the file is missing or no
  /// SentencePiece model; Code::Input if it has more ids than the model.
  static Result<std::unique_ptr<Tokenizer>> create(const formats::TokenizerConfig &config,
                                                   const std::string &folder, int64_t vocabulary);
  virtual ~Tokenizer() = default;

  /// Tokens of `text`, without BOS and EOS. Code::Input if a byte is outside a small
  /// vocabulary.
  virtual Result<std::vector<int32_t>> encode(std::string_view text) const = 0;
  /// The text of `tokens`. Ids without a text give U+FFFD.
  virtual std::string decode(const std::vector<int32_t> &tokens) const = 0;
  /// -1 if there is none.
  virtual int32_t bos() const { return -1; }
  virtual int32_t eos() const { return -1; }
  virtual bool isBytes() const { return false; }
};

/// Turns a stream of tokens into a stream of text: what a token adds depends on those
/// before it (spaces) and after it (characters of several tokens), so text is held back
/// until it is settled.
class TextStream {
public:
  /// `context`: tokens before the first one, whose text was already shown.
  TextStream(const Tokenizer &tokenizer, const std::vector<int32_t> &context);
  /// The text that `token` settles.
  std::string push(int32_t token);
  /// What was held back.
  std::string flush();

private:
  const Tokenizer &tokenizer_;
  std::vector<int32_t> window_; ///< tokens whose text decides the next one's
  size_t shown_ = 0;            ///< leading tokens of the window that are shown
};

/// Finds the first of several strings in a stream of text and holds back what may
/// become one.
class StopFilter {
public:
  explicit StopFilter(std::vector<std::string> stops) : stops_(std::move(stops)) {}
  /// Text that may be shown after `text` arrived. Sets stopped() when a stop string is
  /// complete; the string itself and what follows are never returned.
  std::string push(std::string_view text);
  /// What was held back, when the stream ends without a stop string.
  std::string flush();
  bool stopped() const { return stopped_; }

private:
  std::vector<std::string> stops_;
  std::string held_;
  bool stopped_ = false;
};

} // namespace otodus::driver

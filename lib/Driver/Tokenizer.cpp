//===- Tokenizer.cpp - Text to tokens and back -----------------------------===//

#include "Tokenizer.h"

#include <algorithm>
#include <filesystem>
#include <sentencepiece_processor.h>

namespace otodus::driver {

namespace {

constexpr const char *kReplacement = "\xEF\xBF\xBD";

class ByteTokenizer : public Tokenizer {
public:
  explicit ByteTokenizer(int64_t vocabulary) : vocabulary_(vocabulary) {}

  Result<std::vector<int32_t>> encode(std::string_view text) const override {
    std::vector<int32_t> tokens(text.size());
    for (size_t i = 0; i < text.size(); ++i) {
      tokens[i] = static_cast<unsigned char>(text[i]);
      if (tokens[i] >= vocabulary_)
        return Status(Code::Input,
                      "byte " + std::to_string(tokens[i]) + " at offset " + std::to_string(i) +
                          " of the text is no token of this model, whose vocabulary is " +
                          std::to_string(vocabulary_) +
                          "; without a tokenizer file tokens are bytes: use plain text below that "
                          "value, --tokenizer=FILE, or --tokens");
    }
    return tokens;
  }

  std::string decode(const std::vector<int32_t> &tokens) const override {
    std::string text;
    for (int32_t token : tokens) {
      if (token >= 0 && token < 256)
        text += static_cast<char>(token);
      else
        text += kReplacement;
    }
    return text;
  }

  bool isBytes() const override { return true; }

private:
  int64_t vocabulary_;
};

class SentencePieceTokenizer : public Tokenizer {
public:
  static Result<std::unique_ptr<Tokenizer>> open(const std::string &path, int64_t additional,
                                                 int64_t vocabulary) {
    auto tokenizer = std::make_unique<SentencePieceTokenizer>();
    std::error_code error;
    if (!std::filesystem::is_regular_file(path, error))
      return Status(Code::File, path + ": the tokenizer that the configuration names is missing; "
                                       "put it there or give --tokenizer=FILE");
    auto status = tokenizer->processor_.Load(path);
    if (!status.ok())
      return Status(Code::File, path + ": expected a SentencePiece model, but it cannot be read (" +
                                    status.ToString() + ")");
    auto &processor = tokenizer->processor_;
    int64_t pieces = processor.GetPieceSize();
    if (pieces + additional > vocabulary)
      return Status(Code::Input, path + ": the tokenizer has " + std::to_string(pieces) +
                                     " pieces and " + std::to_string(additional) +
                                     " additional ids, but the model's vocabulary is only " +
                                     std::to_string(vocabulary));
    // Extra ids go to BOS and EOS in this order, as far as the model lacks them.
    int64_t next = pieces;
    auto assign = [&](int32_t id) {
      return id >= 0 ? id : next < pieces + additional ? static_cast<int32_t>(next++) : -1;
    };
    tokenizer->bos_ = assign(processor.bos_id());
    tokenizer->eos_ = assign(processor.eos_id());
    return std::unique_ptr<Tokenizer>(std::move(tokenizer));
  }

  Result<std::vector<int32_t>> encode(std::string_view text) const override {
    std::vector<int> ids;
    auto status = processor_.Encode({text.data(), text.size()}, &ids);
    if (!status.ok())
      return Status(Code::Input, "the tokenizer refuses the text: " + status.ToString());
    return std::vector<int32_t>(ids.begin(), ids.end());
  }

  std::string decode(const std::vector<int32_t> &tokens) const override {
    std::vector<int> ids;
    std::string text, part;
    auto flush = [&] {
      if (ids.empty())
        return;
      if (!processor_.Decode(ids, &part).ok())
        part = kReplacement;
      text += part;
      ids.clear();
    };
    for (int32_t token : tokens) {
      if (token >= 0 && token < processor_.GetPieceSize()) {
        ids.push_back(token);
        continue;
      }
      flush();
      if (token != bos_ && token != eos_)
        text += kReplacement;
    }
    flush();
    return text;
  }

  int32_t bos() const override { return bos_; }
  int32_t eos() const override { return eos_; }

private:
  sentencepiece::SentencePieceProcessor processor_;
  int32_t bos_ = -1, eos_ = -1;
};

/// Length of the part of `text` before a character that is not complete yet.
size_t completePrefix(const std::string &text) {
  size_t end = text.size();
  if (end >= 3 && text.compare(end - 3, 3, kReplacement) == 0)
    return end - 3; // SentencePiece's form of a byte sequence that is not complete yet
  return end;
}

} // namespace

Result<std::unique_ptr<Tokenizer>> Tokenizer::create(const formats::TokenizerConfig &config,
                                                     const std::string &folder,
                                                     int64_t vocabulary) {
  if (!config.path)
    return std::unique_ptr<Tokenizer>(std::make_unique<ByteTokenizer>(vocabulary));
  std::filesystem::path path = *config.path;
  if (path.is_relative())
    path = std::filesystem::path(folder) / path;
  return SentencePieceTokenizer::open(path.string(), config.additional_vocab_size, vocabulary);
}

//===----------------------------------------------------------------------===//
// TextStream
//===----------------------------------------------------------------------===//

TextStream::TextStream(const Tokenizer &tokenizer, const std::vector<int32_t> &context)
    : tokenizer_(tokenizer) {
  // A few tokens are enough to decide about spaces.
  size_t keep = std::min<size_t>(context.size(), 8);
  window_.assign(context.end() - keep, context.end());
  shown_ = window_.size();
}

std::string TextStream::push(int32_t token) {
  window_.push_back(token);
  if (tokenizer_.isBytes()) {
    std::string text = tokenizer_.decode({token});
    window_.clear();
    shown_ = 0;
    return text;
  }
  std::vector<int32_t> before(window_.begin(), window_.begin() + shown_);
  std::string old = tokenizer_.decode(before), all = tokenizer_.decode(window_);
  if (all.size() <= old.size() || completePrefix(all) < all.size()) {
    // A character of up to four bytes; what is still broken then stays broken.
    if (window_.size() - shown_ < 5 || all.size() <= old.size())
      return "";
  }
  std::string fresh = all.substr(old.size());
  // Keep the tokens just shown: they are the context of the next ones.
  window_.erase(window_.begin(), window_.begin() + shown_);
  shown_ = window_.size();
  return fresh;
}

std::string TextStream::flush() {
  std::vector<int32_t> before(window_.begin(), window_.begin() + shown_);
  std::string old = tokenizer_.decode(before), all = tokenizer_.decode(window_);
  shown_ = window_.size();
  return all.size() > old.size() ? all.substr(old.size()) : "";
}

//===----------------------------------------------------------------------===//
// StopFilter
//===----------------------------------------------------------------------===//

std::string StopFilter::push(std::string_view text) {
  if (stopped_)
    return "";
  held_ += text;
  size_t first = std::string::npos;
  for (const std::string &stop : stops_)
    if (!stop.empty())
      first = std::min(first, held_.find(stop));
  if (first != std::string::npos) {
    stopped_ = true;
    held_.resize(first);
    std::string out;
    out.swap(held_);
    return out;
  }
  // Hold back the longest end that begins a stop string.
  size_t hold = 0;
  for (const std::string &stop : stops_)
    for (size_t n = std::min(stop.size(), held_.size() + 1); n-- > 1;)
      if (held_.compare(held_.size() - n, n, stop, 0, n) == 0) {
        hold = std::max(hold, n);
        break;
      }
  std::string out = held_.substr(0, held_.size() - hold);
  held_.erase(0, held_.size() - hold);
  return out;
}

std::string StopFilter::flush() {
  std::string out;
  out.swap(held_);
  return out;
}

} // namespace otodus::driver

//===- Eval.cpp - otodus eval ----------------------------------------------===//
//
// Loss over a text of any length in constant memory, or logits of tensors.
//
//===----------------------------------------------------------------------===//

#include "Commands.h"
#include "Feed.h"
#include "Flags.h"
#include "OpenModel.h"
#include "Output.h"
#include "Tokenizer.h"

#include "otodus/Formats/OutputFile.h"
#include "otodus/Formats/Safetensors.h"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cmath>
#include <cstring>
#include <fcntl.h>
#include <memory>
#include <optional>
#include <unistd.h>

namespace otodus::driver {

namespace {
struct Options {
  std::string model, data, input, output, pieces, stateIn, stateOut, curve;
  int64_t window = 0, normWindow = 0, curveEvery = 65536, maxTokens = 0, piece = 0;
  ModelFlags flags;
};

using Clock = std::chrono::steady_clock;
double since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

//===----------------------------------------------------------------------===//
// Where tokens come from
//===----------------------------------------------------------------------===//

/// A stream of tokens; at most a block of the text is in memory.
class TokenReader {
public:
  virtual ~TokenReader() = default;
  /// Up to `count` more tokens; fewer only at the end.
  virtual Result<std::vector<int32_t>> next(size_t count) = 0;
  /// Bytes of text behind the tokens given so far, 0 if unknown.
  virtual int64_t bytes() const = 0;
};

class TextReader : public TokenReader {
public:
  TextReader(int descriptor, std::string name, const Tokenizer &tokenizer, bool addBos)
      : descriptor_(descriptor), name_(std::move(name)), tokenizer_(tokenizer) {
    if (addBos && tokenizer.bos() >= 0)
      ready_.push_back(tokenizer.bos());
  }
  ~TextReader() override {
    if (descriptor_ > STDERR_FILENO)
      ::close(descriptor_);
  }

  Result<std::vector<int32_t>> next(size_t count) override {
    while (ready_.size() - used_ < count && !(atEnd_ && text_.empty()))
      OTODUS_RETURN_IF_ERROR(fill());
    count = std::min(count, ready_.size() - used_);
    std::vector<int32_t> tokens(ready_.begin() + used_, ready_.begin() + used_ + count);
    used_ += count;
    if (used_ >= 4096) { // memory stays as small as it is at the start
      ready_.erase(ready_.begin(), ready_.begin() + used_);
      used_ = 0;
    }
    return tokens;
  }
  int64_t bytes() const override { return bytes_; }

private:
  Status fill() {
    constexpr size_t block = 1 << 14, longest = 1 << 20;
    size_t before = text_.size();
    if (!atEnd_) {
      text_.resize(before + block);
      ssize_t count;
      do
        count = ::read(descriptor_, text_.data() + before, block);
      while (count < 0 && errno == EINTR && !interrupted());
      text_.resize(before + (count > 0 ? static_cast<size_t>(count) : 0));
      if (count < 0)
        return Status(Code::File, name_ + ": cannot be read: " + std::strerror(errno));
      atEnd_ = count == 0;
    }
    // Text is cut behind a line, since a tokenizer looks at whole words; bytes anywhere.
    size_t cut = text_.size();
    if (!tokenizer_.isBytes() && !atEnd_) {
      size_t line = text_.rfind('\n');
      cut = line != std::string::npos ? line + 1 : text_.size() < longest ? 0 : text_.size();
    }
    if (cut == 0)
      return Status::ok();
    Result<std::vector<int32_t>> tokens = tokenizer_.encode({text_.data(), cut});
    if (!tokens.isOk())
      return tokens.status().in(name_ + ", block at byte " + std::to_string(bytes_));
    bytes_ += static_cast<int64_t>(cut);
    text_.erase(0, cut);
    ready_.insert(ready_.end(), tokens->begin(), tokens->end());
    return Status::ok();
  }

  int descriptor_;
  std::string name_, text_;
  const Tokenizer &tokenizer_;
  std::vector<int32_t> ready_;
  size_t used_ = 0;
  int64_t bytes_ = 0;
  bool atEnd_ = false;
};

/// Integer tensor "tokens" of a safetensors file, [L] or [1, L].
class TensorReader : public TokenReader {
public:
  static Result<std::unique_ptr<TokenReader>> open(const std::string &path) {
    auto reader = std::make_unique<TensorReader>();
    Result<formats::SafetensorsFile> file = formats::SafetensorsFile::open(path);
    if (!file.isOk())
      return file.status();
    reader->file_ = *file;
    reader->tensor_ = reader->file_->find("tokens");
    if (!reader->tensor_)
      return Status(Code::Input, path + ": expected a tensor 'tokens', but there is none");
    const auto &shape = reader->tensor_->shape;
    if (shape.size() != 1 && !(shape.size() == 2 && shape[0] == 1))
      return Status(Code::Input, path + ": expected tokens of shape [L] or [1, L], but got " +
                                     formats::shapeToString(shape));
    return std::unique_ptr<TokenReader>(std::move(reader));
  }

  Result<std::vector<int32_t>> next(size_t count) override {
    count = std::min<size_t>(count, static_cast<size_t>(tensor_->elements() - used_));
    std::vector<double> values(count);
    OTODUS_RETURN_IF_ERROR(
        formats::readAsDouble(*tensor_, used_, static_cast<int64_t>(count), values.data()));
    used_ += static_cast<int64_t>(count);
    std::vector<int32_t> tokens(count);
    for (size_t i = 0; i < count; ++i)
      tokens[i] = std::abs(values[i]) < 2e9 ? static_cast<int32_t>(values[i]) : -1;
    return tokens;
  }
  int64_t bytes() const override { return 0; }

private:
  std::optional<formats::SafetensorsFile> file_;
  const formats::Tensor *tensor_ = nullptr;
  int64_t used_ = 0;
};

//===----------------------------------------------------------------------===//
// Loss
//===----------------------------------------------------------------------===//

/// logsumexp(logits) - logits[target] of `size` logits (spec 3.8).
double negativeLogLikelihood(const float *logits, int64_t size, int32_t target) {
  float top = logits[0];
  for (int64_t i = 1; i < size; ++i)
    top = std::max(top, logits[i]);
  double sum = 0;
  for (int64_t i = 0; i < size; ++i)
    sum += double(std::exp(logits[i] - top));
  return std::log(sum) + double(top) - double(logits[target]);
}

/// The reference's evaluation loop beyond a few chunks (spec 5): TimestepNorm statistics
/// are those of a window, computed by a second session from scratch.
class NormWindow {
public:
  /// `chunks`: length of the window.
  NormWindow(runtime::Session &main, std::unique_ptr<runtime::Session> scratch,
             const TokenFunctions &functions, int64_t chunks, int64_t chunk)
      : main_(main), scratch_(std::move(scratch)), functions_(functions), chunks_(chunks),
        chunk_(chunk) {}

  /// Steps per call: two chunks.
  int64_t stepsPerCall() const { return 2 * chunk_; }

  /// `tokens` were fed to the main session; `more`: there will be others.
  Status fed(const std::vector<int32_t> &tokens, bool more) {
    recent_.insert(recent_.end(), tokens.begin(), tokens.end());
    consumed_ += static_cast<int64_t>(tokens.size());
    int64_t length = chunks_ * chunk_;
    if (static_cast<int64_t>(recent_.size()) > length)
      recent_.erase(recent_.begin(), recent_.end() - length);
    if (!more || consumed_ < (chunks_ + 2) * chunk_)
      return Status::ok();
    scratch_->reset();
    OTODUS_RETURN_IF_ERROR(feed(*scratch_, functions_, recent_, nullptr));
    for (const formats::State &state : main_.model().program().states) {
      if (state.name.find("norm") == std::string::npos)
        continue;
      Result<runtime::Tensor> value = scratch_->state(state.name);
      if (!value.isOk())
        return value.status();
      OTODUS_RETURN_IF_ERROR(main_.setState(state.name, value->view()));
    }
    return Status::ok();
  }

private:
  runtime::Session &main_;
  std::unique_ptr<runtime::Session> scratch_;
  const TokenFunctions &functions_;
  int64_t chunks_, chunk_, consumed_ = 0;
  std::vector<int32_t> recent_;
};

/// A file that grows line by line while the run goes on.
class CurveFile {
public:
  ~CurveFile() {
    if (file_ && file_ != stdout)
      std::fclose(file_);
  }
  Status open(const std::string &path) {
    file_ = path == "-" ? stdout : std::fopen(path.c_str(), "w");
    path_ = path;
    return file_ ? Status::ok() : Status(Code::File, path + ": cannot be written: " + std::strerror(errno));
  }
  Status line(const std::string &text) {
    if (std::fputs(text.c_str(), file_) < 0 || std::fflush(file_) != 0)
      return Status(Code::Device, path_ + ": cannot be written: " + std::strerror(errno));
    return Status::ok();
  }

private:
  std::FILE *file_ = nullptr;
  std::string path_;
};

Status checkVocabulary(const std::vector<int32_t> &tokens, int64_t vocabulary, int64_t before,
                       const std::string &name) {
  for (size_t i = 0; vocabulary > 0 && i < tokens.size(); ++i)
    if (tokens[i] < 0 || tokens[i] >= vocabulary)
      return Status(Code::Input, name + ": token " + std::to_string(tokens[i]) + " (number " +
                                     std::to_string(before + int64_t(i) + 1) +
                                     ") is outside the vocabulary [0, " +
                                     std::to_string(vocabulary) + ")");
  return Status::ok();
}

Status evaluateText(const Options &options, LoadedModel &loaded, const TokenFunctions &functions) {
  formats::TokenizerConfig tokenizerConfig;
  if (loaded.config)
    tokenizerConfig = loaded.config->tokenizer;
  std::string folder = loaded.folder;
  if (!options.flags.tokenizer.empty()) {
    tokenizerConfig.path = options.flags.tokenizer;
    folder = "";
  }
  int64_t vocabulary = functions.vocabulary ? functions.vocabulary : functions.outputSize;
  std::unique_ptr<Tokenizer> tokenizer;
  std::unique_ptr<TokenReader> reader;
  if (options.data.ends_with(".safetensors")) {
    Result<std::unique_ptr<TokenReader>> opened = TensorReader::open(options.data);
    if (!opened.isOk())
      return opened.status();
    reader = std::move(*opened);
  } else {
    Result<std::unique_ptr<Tokenizer>> created = Tokenizer::create(tokenizerConfig, folder, vocabulary);
    if (!created.isOk())
      return created.status();
    tokenizer = std::move(*created);
    int descriptor = options.data == "-" ? STDIN_FILENO : ::open(options.data.c_str(), O_RDONLY | O_CLOEXEC);
    if (descriptor < 0)
      return Status(Code::File, options.data + ": cannot be opened: " + std::strerror(errno));
    reader = std::make_unique<TextReader>(descriptor, options.data, *tokenizer, options.stateIn.empty());
  }

  int64_t size = functions.outputSize;
  // Logits of a piece are the largest thing here; 32 MB of them are plenty.
  int64_t piece = options.piece > 0 ? options.piece
                                    : std::clamp<int64_t>((int64_t(8) << 20) / size, 16, 512);
  runtime::SessionOptions sessionOptions;
  sessionOptions.pool = loaded.pool;
  sessionOptions.maxPiece = piece;
  Result<std::unique_ptr<runtime::Session>> session =
      runtime::Session::create(loaded.model, sessionOptions);
  if (!session.isOk())
    return session.status();
  if (!options.stateIn.empty())
    OTODUS_RETURN_IF_ERROR((*session)->restore(options.stateIn));

  std::unique_ptr<NormWindow> window;
  if (options.normWindow > 0) {
    int64_t chunk = loaded.config ? loaded.config->chunk_size : 0;
    for (const formats::Function &function : loaded.model->program().functions)
      chunk = std::max(chunk, function.chunk);
    if (chunk == 0)
      return Status(Code::Usage, "--norm-window-chunks needs a model with chunks");
    Result<std::unique_ptr<runtime::Session>> scratch =
        runtime::Session::create(loaded.model, sessionOptions);
    if (!scratch.isOk())
      return scratch.status();
    window = std::make_unique<NormWindow>(**session, std::move(*scratch), functions,
                                          options.normWindow, chunk);
  }
  CurveFile curve;
  if (!options.curve.empty())
    OTODUS_RETURN_IF_ERROR(curve.open(options.curve));

  Interruptible interruptible;
  MemorySampler memory;
  Progress progress;
  auto start = Clock::now();
  double sum = 0, intervalSum = 0, intervalStart = 0;
  int64_t fed = 0, targets = 0, intervalTargets = 0, intervalFed = 0, inWindow = 0;
  std::vector<float> logits;
  std::vector<double> losses;
  // One token is held back: it is the target of the step before it.
  std::vector<int32_t> tokens;
  bool more = true;
  while (more) {
    OTODUS_RETURN_IF_ERROR(checkInterrupt());
    int64_t want = window ? window->stepsPerCall() : piece;
    if (options.window > 0)
      want = std::min(want, options.window - inWindow);
    if (options.maxTokens > 0)
      want = std::min(want, options.maxTokens - 1 - fed);
    if (want <= 0)
      break;
    Result<std::vector<int32_t>> fresh =
        reader->next(static_cast<size_t>(want + 1) - std::min(tokens.size(), size_t(want + 1)));
    if (!fresh.isOk())
      return fresh.status();
    OTODUS_RETURN_IF_ERROR(checkVocabulary(*fresh, std::min(vocabulary, size),
                                           fed + int64_t(tokens.size()), options.data));
    tokens.insert(tokens.end(), fresh->begin(), fresh->end());
    int64_t count = std::min<int64_t>(want, int64_t(tokens.size()) - 1);
    if (count <= 0)
      break;
    more = int64_t(tokens.size()) == want + 1;
    // The reference feeds a partial chunk at the end by a call of its own: it too comes after
    // a replacement of the statistics.
    if (int64_t chunk = window ? window->stepsPerCall() / 2 : 0; window && !more && count > chunk &&
                                                                 count % chunk != 0) {
      count -= count % chunk;
      more = true;
    }
    std::vector<int32_t> steps(tokens.begin(), tokens.begin() + count);
    // A window's call may be longer than what logits there is room for.
    losses.assign(static_cast<size_t>(count), 0);
    for (int64_t begin = 0; begin < count; begin += piece) {
      int64_t part = std::min(piece, count - begin);
      std::vector<int32_t> input(steps.begin() + begin, steps.begin() + begin + part);
      OTODUS_RETURN_IF_ERROR(feedAll(**session, functions, input, logits));
      auto work = [&](int64_t lo, int64_t hi) {
        for (int64_t i = lo; i < hi; ++i)
          losses[begin + i] = negativeLogLikelihood(logits.data() + i * size, size, tokens[begin + i + 1]);
      };
      loaded.pool->run(part, work);
    }
    for (int64_t i = 0; i < count; ++i) {
      if (!std::isfinite(losses[i]))
        return Status(Code::Input, options.data + ": the loss of token " + std::to_string(fed + i + 2) +
                                       " is " + (std::isnan(losses[i]) ? "NaN" : "infinite") +
                                       "; are the weights damaged?");
      sum += losses[i];
      intervalSum += losses[i];
    }
    fed += count;
    targets += count;
    intervalTargets += count;
    inWindow += count;
    tokens.erase(tokens.begin(), tokens.begin() + count);
    if (window)
      OTODUS_RETURN_IF_ERROR(window->fed(steps, more));
    if (options.window > 0 && inWindow == options.window) {
      (*session)->reset();
      inWindow = 0;
    }
    double seconds = since(start);
    progress.show(format("%lld tokens, %.0f tokens/s, loss %.4f", (long long)fed,
                         double(fed) / seconds, sum / double(targets)));
    if (!options.curve.empty() && (fed - intervalFed >= options.curveEvery || !more)) {
      OTODUS_RETURN_IF_ERROR(curve.line(format(
          "{\"tokens\": %lld, \"seconds\": %.6f, \"microseconds_per_token\": %.3f, \"loss\": %.6f, "
          "\"loss_so_far\": %.6f, \"resident_bytes\": %lld, \"peak_bytes\": %lld}\n",
          (long long)fed, seconds, (seconds - intervalStart) / double(fed - intervalFed) * 1e6,
          intervalSum / double(intervalTargets), sum / double(targets), (long long)residentBytes(),
          (long long)memory.peak())));
      intervalSum = 0;
      intervalTargets = 0;
      intervalFed = fed;
      intervalStart = seconds;
    }
  }
  if (targets == 0)
    return Status(Code::Input, options.data + ": expected at least two tokens, since the first "
                                              "one is only read and predicts the second");
  double seconds = since(start), loss = sum / double(targets);
  if (!options.stateOut.empty()) {
    // The token held back was a target only; the state is to hold all of the text.
    if (!tokens.empty())
      OTODUS_RETURN_IF_ERROR(feed(**session, functions, {tokens.front()}, nullptr));
    OTODUS_RETURN_IF_ERROR((*session)->save(options.stateOut));
  }
  std::string text = format("tokens %lld\nloss %.6f\nperplexity %.4f\n", (long long)targets, loss,
                            std::exp(loss));
  if (int64_t bytes = reader->bytes(); bytes > 1 && options.maxTokens == 0)
    text += format("bits per byte %.6f\n",
                   // With byte tokens the first byte is not predicted.
                   sum / std::log(2.0) / double(tokenizer->isBytes() && options.stateIn.empty() ? bytes - 1 : bytes));
  OTODUS_RETURN_IF_ERROR(writeStdout(text));
  note(format("%.1f s, %.0f tokens/s, peak memory %s", seconds, double(targets) / seconds,
              formatBytes(double(memory.peak())).c_str()));
  return Status::ok();
}

//===----------------------------------------------------------------------===//
// Logits of tensors
//===----------------------------------------------------------------------===//

Status evaluateTensors(const Options &options, LoadedModel &loaded, const TokenFunctions &functions) {
  Result<formats::SafetensorsFile> file = formats::SafetensorsFile::open(options.input);
  if (!file.isOk())
    return file.status();
  const formats::Tensor *tensor = file->find("tokens");
  if (!tensor)
    return Status(Code::Input, options.input + ": expected a tensor 'tokens' [B, L], but there is none");
  std::vector<int64_t> shape = tensor->shape;
  if (shape.size() != 2 || shape[0] < 1 || shape[1] < 1)
    return Status(Code::Input, options.input + ": expected tokens of shape [B, L], but got " +
                                   formats::shapeToString(shape));
  int64_t batch = shape[0], length = shape[1], size = functions.outputSize;
  if (batch > INT64_MAX / 8 / length / size)
    return Status(Code::Input, options.input + ": the logits of so many tokens do not fit in memory");
  std::vector<double> values(static_cast<size_t>(batch * length));
  OTODUS_RETURN_IF_ERROR(formats::readAsDouble(*tensor, 0, batch * length, values.data()));
  std::vector<int32_t> tokens(values.size());
  for (size_t i = 0; i < values.size(); ++i)
    tokens[i] = std::abs(values[i]) < 2e9 ? static_cast<int32_t>(values[i]) : -1;
  OTODUS_RETURN_IF_ERROR(checkTokens(tokens, functions.vocabulary).in(options.input));

  std::vector<int64_t> pieces;
  if (options.pieces.empty()) {
    pieces = {length};
  } else {
    Result<std::vector<int32_t>> parsed = parseTokens(options.pieces, 0, "--pieces");
    if (!parsed.isOk())
      return Status(Code::Usage, "--pieces expects lengths such as 3,1,8, but got '" + options.pieces + "'");
    int64_t sum = 0;
    for (int32_t piece : *parsed) {
      if (piece < 1)
        return Status(Code::Usage, "--pieces expects lengths of at least 1");
      pieces.push_back(piece);
      sum += piece;
    }
    if (sum != length)
      return Status(Code::Usage, "--pieces add up to " + std::to_string(sum) + ", but " +
                                     options.input + " has " + std::to_string(length) + " steps");
  }

  runtime::SessionOptions sessionOptions;
  sessionOptions.batch = batch;
  sessionOptions.pool = loaded.pool;
  Result<std::unique_ptr<runtime::Session>> session =
      runtime::Session::create(loaded.model, sessionOptions);
  if (!session.isOk())
    return session.status();
  if (!options.stateIn.empty())
    OTODUS_RETURN_IF_ERROR((*session)->restore(options.stateIn));

  Interruptible interruptible;
  std::vector<float> all(static_cast<size_t>(batch * length * size)), part;
  int64_t begin = 0;
  for (int64_t piece : pieces) {
    OTODUS_RETURN_IF_ERROR(checkInterrupt());
    std::vector<int32_t> input;
    for (int64_t b = 0; b < batch; ++b)
      input.insert(input.end(), tokens.begin() + b * length + begin,
                   tokens.begin() + b * length + begin + piece);
    OTODUS_RETURN_IF_ERROR(feedAll(**session, functions, input, part));
    for (int64_t b = 0; b < batch; ++b)
      std::copy_n(part.begin() + b * piece * size, piece * size,
                  all.begin() + (b * length + begin) * size);
    begin += piece;
  }
  OTODUS_RETURN_IF_ERROR(formats::writeSafetensors(
      options.output, {{"logits", formats::TensorType::F32, {batch, length, size}, all.data()}}));
  if (!options.stateOut.empty())
    OTODUS_RETURN_IF_ERROR((*session)->save(options.stateOut));
  return Status::ok();
}

Status evaluate(const Options &options) {
  if (options.data.empty() == options.input.empty())
    return Status(Code::Usage, "expected either --data FILE or --input F --output G");
  if (options.input.empty() != options.output.empty())
    return Status(Code::Usage, "--input and --output belong together");
  if (!options.pieces.empty() && options.input.empty())
    return Status(Code::Usage, "--pieces belongs to --input");
  if (options.window < 0 || options.normWindow < 0 || options.maxTokens < 0 || options.piece < 0 ||
      options.curveEvery < 1)
    return Status(Code::Usage, "--window, --norm-window-chunks, --max-tokens, --piece and "
                               "--curve-every expect positive numbers");
  if (options.window > 0 && options.normWindow > 0)
    return Status(Code::Usage, "--window and --norm-window-chunks exclude each other");
  Result<LoadedModel> loaded = openModel(options.model, options.flags);
  if (!loaded.isOk())
    return loaded.status();
  Result<TokenFunctions> functions = findTokenFunctions(*loaded->model, options.model);
  if (!functions.isOk())
    return functions.status();
  return options.data.empty() ? evaluateTensors(options, *loaded, *functions)
                              : evaluateText(options, *loaded, *functions);
}
} // namespace

void addEval(CLI::App &app, Action &action) {
  auto options = std::make_shared<Options>();
  CLI::App *sub = app.add_subcommand("eval", "loss over a text, or logits of given tokens");
  sub->add_option("--model", options->model, "model directory, .mlir file or artefact (.oto)")->required();
  sub->add_option("--data", options->data,
                  "text of any length (- is stdin), or .safetensors with 'tokens'");
  sub->add_option("--window", options->window, "start afresh every N tokens");
  sub->add_option("--norm-window-chunks", options->normWindow,
                  "norm statistics of the last N chunks only, as the reference evaluates (spec 5)");
  sub->add_option("--max-tokens", options->maxTokens, "read no more than so many tokens");
  sub->add_option("--piece", options->piece, "steps per call (default: up to 512)");
  sub->add_option("--curve", options->curve, "JSON lines of time, loss and memory over the run");
  sub->add_option("--curve-every", options->curveEvery, "tokens between two lines (default 65536)");
  sub->add_option("--input", options->input, "safetensors with 'tokens' [B, L]");
  sub->add_option("--output", options->output, "safetensors for 'logits' [B, L, V]");
  sub->add_option("--pieces", options->pieces, "feed --input in pieces of these lengths: 3,1,8");
  sub->add_option("--state-in", options->stateIn, "go on from this state file");
  sub->add_option("--state-out", options->stateOut, "save the state after the last token");
  addRunFlags(*sub, options->flags);
  sub->footer("Examples:\n"
              "  otodus eval --model DIR --data book.txt\n"
              "  cat *.txt | otodus eval --model DIR --data - --curve curve.jsonl\n"
              "  otodus eval --model DIR --input in.safetensors --output out.safetensors --pieces 3,1,8");
  sub->callback([options, &action] { action = [options] { return evaluate(*options); }; });
}

} // namespace otodus::driver

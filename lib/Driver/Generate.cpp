//===- Generate.cpp - otodus generate --------------------------------------===//

#include "Commands.h"
#include "Feed.h"
#include "Flags.h"
#include "OpenModel.h"
#include "Output.h"
#include "Tokenizer.h"

#include "otodus/Formats/OutputFile.h"
#include "otodus/Formats/StateFile.h"

#include <chrono>
#include <memory>
#include <optional>

namespace otodus::driver {

namespace {
struct Options {
  std::string model, prompt, promptFile, tokens, stateIn, stateOut, print = "text";
  bool hasPrompt = false, hasFile = false, hasTokens = false, ignoreEos = false, stats = false;
  int64_t maxTokens = 128, batch = 1;
  runtime::Sampling sampling;
  std::vector<std::string> stops;
  ModelFlags flags;
};

using Clock = std::chrono::steady_clock;
double since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

/// The prompt's tokens, without BOS. Empty only if the prompt is.
Result<std::vector<int32_t>> readPrompt(const Options &options, const Tokenizer &tokenizer,
                                        int64_t vocabulary) {
  if (options.hasTokens)
    return parseTokens(options.tokens, vocabulary, "--tokens");
  if (!options.hasPrompt && !options.hasFile)
    return std::vector<int32_t>();
  std::string text = options.prompt;
  if (options.hasFile) {
    Result<std::string> file = readInput(options.promptFile);
    if (!file.isOk())
      return file.status();
    text = *file;
  }
  Result<std::vector<int32_t>> tokens = tokenizer.encode(text);
  if (tokens.isOk())
    OTODUS_RETURN_IF_ERROR(checkTokens(*tokens, vocabulary));
  return tokens;
}

/// One sequence's way from tokens to stdout.
struct Printer {
  Printer(const Tokenizer &tokenizer, const std::vector<int32_t> &context, const Options &options)
      : text(tokenizer, context), stop(options.stops), ids(options.print == "ids") {}

  /// What `token` adds to stdout.
  std::string push(int32_t token) {
    std::string fresh = stop.push(text.push(token));
    if (!ids)
      return fresh;
    std::string id = std::to_string(token);
    return std::exchange(first, false) ? id : " " + id;
  }
  std::string flush() {
    std::string rest = stop.stopped() ? "" : stop.push(text.flush()) + stop.flush();
    return ids ? "" : rest;
  }

  TextStream text;
  StopFilter stop;
  bool ids, first = true, done = false;
};

Status generate(const Options &options) {
  OTODUS_RETURN_IF_ERROR(options.sampling.validate());
  OTODUS_RETURN_IF_ERROR(checkChoice("--print", options.print, {"text", "ids"}));
  if (options.batch < 1 || options.batch > 1024)
    return Status(Code::Usage, "--batch expects a number from 1 to 1024, but got " +
                                   std::to_string(options.batch));
  if (options.hasPrompt + options.hasFile + options.hasTokens > 1)
    return Status(Code::Usage, "--prompt, --prompt-file and --tokens exclude each other");
  bool empty = options.hasPrompt ? options.prompt.empty()
               : options.hasTokens ? options.tokens.find_first_not_of(", \t\r\n") == std::string::npos
                                   : !options.hasFile;
  // Nothing to continue: refused before a model is compiled for it.
  const char *emptyPrompt =
      "the prompt is empty, so there is nothing to continue; give --prompt, --prompt-file or "
      "--tokens, or continue a generated text with --state-in";
  if (empty && options.stateIn.empty())
    return Status(Code::Input, emptyPrompt);
  // A place that cannot be written is refused now, not after the whole text.
  if (!options.stateOut.empty())
    if (Result<formats::OutputFile> file = formats::OutputFile::create(options.stateOut);
        !file.isOk())
      return file.status().in("--state-out");

  auto start = Clock::now();
  std::optional<MemorySampler> memory;
  if (options.stats)
    memory.emplace();
  Result<LoadedModel> loaded = openModel(options.model, options.flags);
  if (!loaded.isOk())
    return loaded.status();
  Result<TokenFunctions> functions = findTokenFunctions(*loaded->model, options.model);
  if (!functions.isOk())
    return functions.status();

  formats::TokenizerConfig tokenizerConfig;
  if (loaded->config)
    tokenizerConfig = loaded->config->tokenizer;
  std::string folder = loaded->folder;
  if (!options.flags.tokenizer.empty()) {
    tokenizerConfig.path = options.flags.tokenizer;
    folder = "";
  }
  // Ids alone need no tokenizer, so a missing file does not matter then.
  bool needsText = options.print == "text" || options.hasPrompt || options.hasFile ||
                   !options.stops.empty();
  if (!needsText && options.flags.tokenizer.empty())
    tokenizerConfig.path.reset();
  int64_t vocabulary = functions->vocabulary ? functions->vocabulary : functions->outputSize;
  Result<std::unique_ptr<Tokenizer>> tokenizer =
      Tokenizer::create(tokenizerConfig, folder, vocabulary);
  if (!tokenizer.isOk())
    return tokenizer.status();

  Result<std::vector<int32_t>> prompt = readPrompt(options, **tokenizer, vocabulary);
  if (!prompt.isOk())
    return prompt.status();
  if (prompt->empty() && options.stateIn.empty())
    return Status(Code::Input, emptyPrompt);
  if (!options.hasTokens && options.stateIn.empty() && (*tokenizer)->bos() >= 0)
    prompt->insert(prompt->begin(), (*tokenizer)->bos());
  if (options.print == "text" && (*tokenizer)->isBytes() && functions->outputSize > 256)
    note("the vocabulary is larger than 256 and no tokenizer is named: tokens beyond bytes show as "
         "\xEF\xBF\xBD; see --print=ids");

  int64_t batch = options.batch;
  runtime::SessionOptions sessionOptions;
  sessionOptions.batch = batch;
  sessionOptions.pool = loaded->pool;
  Result<std::unique_ptr<runtime::Session>> created =
      runtime::Session::create(loaded->model, sessionOptions);
  if (!created.isOk())
    return created.status();
  runtime::Session &session = **created;
  std::optional<int32_t> chosen; // the first token, when a state brings it along
  if (!options.stateIn.empty()) {
    OTODUS_RETURN_IF_ERROR(session.restore(options.stateIn));
    if (prompt->empty()) {
      Result<formats::StateFile> state = formats::readStateFile(options.stateIn);
      if (!state.isOk())
        return state.status();
      if (state->nextToken < 0 || batch != 1 || state->nextToken >= vocabulary)
        return Status(Code::Input, options.stateIn +
                                       ": knows no next token (only generate --state-out of one "
                                       "sequence stores it); give --prompt or --tokens");
      chosen = static_cast<int32_t>(state->nextToken);
    }
  }

  Interruptible interruptible;
  double opened = since(start);
  auto prefillStart = Clock::now();
  OTODUS_RETURN_IF_ERROR(session.setSampling(options.sampling));
  std::vector<int32_t> fed, sampled;
  for (int64_t b = 0; b < batch; ++b)
    fed.insert(fed.end(), prompt->begin(), prompt->end());
  OTODUS_RETURN_IF_ERROR(feedAndSample(session, *functions, fed, sampled));
  double prefill = since(prefillStart);

  std::vector<Printer> printers;
  std::vector<std::string> texts(batch); // of a batch, which is printed at the end
  for (int64_t b = 0; b < batch; ++b)
    printers.emplace_back(**tokenizer, *prompt, options);

  // The token after everything that sequence b has been fed.
  auto choose = [&](int64_t b) -> Result<int32_t> {
    // An output may be wider than the input vocabulary; such a token cannot be fed.
    if (sampled[b] >= vocabulary)
      return Status(Code::Input, "the model chose token " + std::to_string(sampled[b]) +
                                     ", which is outside its input vocabulary [0, " +
                                     std::to_string(vocabulary) + ")");
    return sampled[b];
  };

  auto decodeStart = Clock::now();
  double firstToken = 0;
  int64_t produced = 0, running = batch;
  Status ended;
  std::vector<int32_t> next(batch);
  for (int64_t step = 0; step < options.maxTokens && running > 0; ++step) {
    if (step > 0)
      if (ended = feedAndSample(session, *functions, next, sampled); !ended.isOk())
        break;
    if (ended = checkInterrupt(); !ended.isOk())
      break;
    for (int64_t b = 0; b < batch; ++b) {
      Result<int32_t> token = chosen ? Result<int32_t>(*chosen) : choose(b);
      if (!token.isOk())
        return token.status();
      chosen.reset();
      next[b] = *token;
      Printer &printer = printers[b];
      if (printer.done)
        continue;
      ++produced;
      std::string fresh;
      if (next[b] == (*tokenizer)->eos() && !options.ignoreEos) {
        printer.done = true;
        if (printer.ids)
          fresh = printer.push(next[b]);
      } else {
        fresh = printer.push(next[b]);
        printer.done = printer.stop.stopped();
      }
      running -= printer.done;
      if (batch > 1)
        texts[b] += fresh;
      else if (ended = writeStdout(fresh); !ended.isOk())
        return ended;
    }
    if (step == 0)
      firstToken = since(start);
  }
  double decode = since(decodeStart);

  for (int64_t b = 0; b < batch; ++b) {
    std::string rest = printers[b].flush();
    if (batch > 1)
      rest = texts[b] + rest;
    Status written = writeStdout(rest + "\n");
    if (!written.isOk())
      return written;
  }
  if (!ended.isOk())
    return ended;
  if (!options.stateOut.empty()) {
    // The state is to hold everything printed, the last token too, and what comes next.
    if (produced > 0)
      OTODUS_RETURN_IF_ERROR(feedAndSample(session, *functions, next, sampled));
    OTODUS_RETURN_IF_ERROR(session.save(options.stateOut));
    if (batch == 1) {
      Result<formats::StateFile> state = formats::readStateFile(options.stateOut);
      Result<int32_t> token = chosen ? Result<int32_t>(*chosen) : choose(0);
      if (!state.isOk() || !token.isOk())
        return state.isOk() ? token.status() : state.status();
      state->nextToken = *token;
      OTODUS_RETURN_IF_ERROR(formats::writeStateFile(options.stateOut, *state));
    }
  }

  if (options.stats) {
    int64_t weightBytes = loaded->model->weightBytes();
    runtime::SessionMemory used = session.memory();
    auto line = [](const char *name, const std::string &value) {
      std::fprintf(stderr, "%-22s %s\n", name, value.c_str());
    };
    line("target", loaded->model->target() + ", " + loaded->model->artefact().dtype + ", " +
                       std::to_string(loaded->pool->threads()) + " threads");
    line("start to first token", format("%.3f s (model ready after %.3f s, %s)", firstToken, opened,
                                        loaded->compileSeconds > 0
                                            ? format("%.3f s of it compiling", loaded->compileSeconds).c_str()
                                            : "compiled before"));
    line("prefill", format("%zu tokens, %.1f tokens/s", fed.size(), double(fed.size()) / prefill));
    int64_t steps = produced - batch; // the first token of each comes from the prefill
    if (steps > 0)
      line("decode", format("%lld tokens, %.1f tokens/s, %.2f ms each", (long long)steps,
                            double(steps) / decode, decode / double(steps) * double(batch) * 1e3));
    line("weights", formatBytes(double(weightBytes)));
    line("state", formatBytes(double(used.state)));
    line("scratch", formatBytes(double(used.scratch)));
    line("peak memory", formatBytes(double(memory->peak())) + " (anonymous and shared pages)");
  }
  return Status::ok();
}
} // namespace

void addGenerate(CLI::App &app, Action &action) {
  auto options = std::make_shared<Options>();
  CLI::App *sub = app.add_subcommand("generate", "continues a prompt");
  sub->add_option("--model", options->model, "model directory, .mlir file or artefact (.oto)")->required();
  auto *prompt = sub->add_option("--prompt", options->prompt, "text to continue");
  auto *file = sub->add_option("--prompt-file", options->promptFile, "the same from a file; - is stdin");
  auto *tokens = sub->add_option("--tokens", options->tokens, "token ids to continue: 1,2,3");
  sub->add_option("-n,--max-tokens", options->maxTokens, "most tokens to generate (default 128)")
      ->check(CLI::Range(int64_t(0), int64_t(1) << 40));
  sub->add_option("--temperature", options->sampling.temperature, "0 (default) is greedy");
  sub->add_option("--top-k", options->sampling.topK, "keep the k likeliest tokens (ties stay)");
  sub->add_option("--top-p", options->sampling.topP,
                  "keep the likeliest tokens up to this probability; goes before --top-k");
  sub->add_option("--min-p", options->sampling.minP,
                  "drop tokens less likely than this fraction of the likeliest");
  sub->add_option("--seed", options->sampling.seed, "of the draws (default 0)");
  sub->add_option("--stop", options->stops, "end before this text; may be repeated")
      ->allow_extra_args(false);
  sub->add_flag("--ignore-eos", options->ignoreEos, "go on after the end-of-text token");
  sub->add_option("--print", options->print, "text (default) or ids");
  sub->add_option("--state-in", options->stateIn, "go on from this state file");
  sub->add_option("--state-out", options->stateOut,
                  "save the state after the last token");
  sub->add_option("--batch", options->batch, "continuations of the same prompt (default 1)");
  sub->add_flag("--stats", options->stats, "print speed and memory to stderr");
  addRunFlags(*sub, options->flags);
  sub->footer("With --state-in the prompt goes behind everything the state has seen: what was read and\n"
              "what was printed before --state-out. Without a prompt the text goes on as it would have\n"
              "without the break. A new text needs a prompt that is not empty.\n\n"
              "Examples:\n"
              "  otodus generate --model DIR --prompt 'Once upon' --max-tokens 64\n"
              "  otodus generate --model DIR --prompt-file - --temperature 0.8 --top-p 0.9 --seed 7\n"
              "  otodus generate --model model.oto --tokens 1,2,3 --print=ids --state-out s.state");
  sub->callback([=, &action] {
    options->hasPrompt = prompt->count() > 0;
    options->hasFile = file->count() > 0;
    options->hasTokens = tokens->count() > 0;
    action = [options] { return generate(*options); };
  });
}

} // namespace otodus::driver

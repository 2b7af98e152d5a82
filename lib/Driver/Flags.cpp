//===- Flags.cpp - Flags that several commands share -----------------------===//

#include "Flags.h"

#include "otodus/Formats/ModelConfig.h"

#include <charconv>
#include <utility>

namespace otodus::driver {

void addCompileFlags(CLI::App &app, ModelFlags &flags) {
  app.add_option("--dtype", flags.dtype, "compute type: f32 (default) or bf16");
  app.add_option("--checkpoint", flags.checkpoint,
                 "weights (safetensors) instead of the one the model names");
  app.add_option("-j,--jobs", flags.jobs, "kernels compiled at the same time (default: processors)")
      ->check(CLI::Range(0, 65536));
  app.add_option("--remarks", flags.remarks,
                 "print the compiler's decisions whose category matches this expression, e.g. fusion");
  app.add_option("--pass-pipeline", flags.passPipeline,
                 "passes to run before fusion, e.g. builtin.module(func.func(my-pass))");
  app.add_option("--load-pass-plugin", flags.plugins,
                 "shared library with passes for --pass-pipeline; may be given several times")
      ->allow_extra_args(false);
  app.add_option("--ptxas", flags.ptxas,
                 "NVIDIA's assembler for cubins (default: on PATH or in /usr/local/cuda); none: PTX only");
  app.add_option("--chip-file", flags.chipFile, "JSON file with more rows of the chip table");
  app.add_flag("--timing", flags.timing, "print the time of each pass to stderr");
}

void addRunFlags(CLI::App &app, ModelFlags &flags) {
  app.add_option("--target", flags.target,
                 "cpu (default), cpu:native, cpu:x86-64-v3, cpu:x86-64-v4, cuda[:sm_90a] or sim:sm_90a");
  addCompileFlags(app, flags);
  app.add_option("--threads", flags.threads, "threads that compute (default: processors)")
      ->check(CLI::Range(0, 65536));
  app.add_option("--device", flags.device, "which GPU, counted from 0 (default: 0)")
      ->check(CLI::Range(0, 1023));
  app.add_option("--device-timeout", flags.deviceTimeout,
                 "seconds that a kernel (simulator) or a piece (GPU) may take (default: no limit)")
      ->check(CLI::NonNegativeNumber);
  app.add_flag("--device-check", flags.deviceCheck,
               "wait for every kernel of a GPU, so that a fault names it; slow");
  app.add_option("--sim", flags.sim,
                 "how the simulator runs: check=none|fast|full, order=fifo|lifo|random[:SEED], "
                 "async=late|early|mixed[:SEED], banks=count (conflicts per kernel), with commas");
  app.add_option("--tokenizer", flags.tokenizer,
                 "SentencePiece model instead of the one the configuration names");
  app.add_option("--cache-dir", flags.cacheDir,
                 "where compiled models are kept (default: ~/.cache/otodus)");
  app.add_flag("--no-cache", flags.noCache, "compile even if it was done before; keep nothing");
}

Result<std::vector<int32_t>> parseTokens(const std::string &text, int64_t bound,
                                         const std::string &what) {
  std::vector<int32_t> tokens;
  const char *at = text.data(), *end = at + text.size();
  bool comma = true; // since the last word, or none yet
  auto separator = [](char c) { return c == ',' || c == ' ' || c == '\n' || c == '\t' || c == '\r'; };
  for (;;) {
    bool missing = false;
    for (; at != end && separator(*at); ++at)
      if (*at == ',')
        missing |= std::exchange(comma, true);
    missing |= at == end && comma && !tokens.empty();
    if (missing)
      return Status(Code::Input, what + " expects token ids such as 1,2,3, but number " +
                                     std::to_string(tokens.size() + 1) + " is empty");
    if (at == end)
      break;
    comma = false;
    const char *word = at;
    while (at != end && !separator(*at))
      ++at;
    int64_t value = 0;
    auto [rest, error] = std::from_chars(word, at, value);
    if (error == std::errc::result_out_of_range)
      value = INT64_MAX;
    else if (error != std::errc() || rest != at)
      return Status(Code::Input, what + " expects token ids such as 1,2,3, but got '" +
                                     std::string(word, at) + "'");
    if (value < 0 || value > INT32_MAX || (bound > 0 && value >= bound))
      return Status(Code::Input, what + ": token " + std::string(word, at) + " (number " +
                                     std::to_string(tokens.size() + 1) +
                                     ") is outside the vocabulary [0, " +
                                     std::to_string(bound > 0 ? bound : INT32_MAX) + ")");
    tokens.push_back(static_cast<int32_t>(value));
  }
  return tokens;
}

Status checkTokens(const std::vector<int32_t> &tokens, int64_t bound) {
  for (size_t i = 0; bound > 0 && i < tokens.size(); ++i)
    if (tokens[i] < 0 || tokens[i] >= bound)
      return Status(Code::Input, "token " + std::to_string(tokens[i]) + " (number " +
                                     std::to_string(i + 1) + ") is outside the vocabulary [0, " +
                                     std::to_string(bound) + ")");
  return Status::ok();
}

Status checkChoice(const std::string &flag, const std::string &value,
                   const std::vector<std::string> &choices) {
  std::string message = flag + " expects ";
  for (size_t i = 0; i < choices.size(); ++i) {
    if (choices[i] == value)
      return Status::ok();
    message += (i == 0 ? "" : i + 1 == choices.size() ? " or " : ", ") + choices[i];
  }
  message += ", but got '" + value + "'";
  if (std::string near = formats::nearestWord(value, choices); !near.empty())
    message += "; did you mean " + near + "?";
  return Status(Code::Usage, message);
}

} // namespace otodus::driver

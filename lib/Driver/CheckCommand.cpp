//===- CheckCommand.cpp - otodus check -------------------------------------===//

#include "Commands.h"
#include "CompiledRunner.h"
#include "Flags.h"
#include "Output.h"
#include "CompiledSampler.h"

#include "otodus/Codegen/GPU/Chips.h"
#include "otodus/Driver/GoldenCase.h"

#include <algorithm>
#include <optional>
#include <sstream>

namespace otodus::driver {

namespace {
struct Options {
  std::vector<std::string> files;
  std::vector<std::string> only;
  std::string params;
  bool reference = false;
  std::optional<uint64_t> random; ///< first seed
  int64_t count = 1;
  ModelFlags flags;
};

Status check(const Options &options) {
  if (options.files.empty() && !options.random)
    return Status(Code::Usage, "check expects files or --random=SEED, but got neither");
  for (const std::string &part : options.only)
    OTODUS_RETURN_IF_ERROR(checkChoice("--only", part, {"forward", "stream", "grad", "train"}));
  CheckOptions checks;
  checks.dtype = options.flags.dtype.empty() ? "f32" : options.flags.dtype;
  OTODUS_RETURN_IF_ERROR(checkChoice("--dtype", checks.dtype, {"f32", "bf16"}));
  auto asked = [&](const char *part) {
    return options.only.empty() ||
           std::find(options.only.begin(), options.only.end(), part) != options.only.end();
  };
  checks.forward = asked("forward");
  checks.stream = asked("stream");
  checks.gradients = asked("grad");
  checks.training = asked("train");
  checks.exactBatch = !isGpuTarget(options.flags.target);
  checks.simulated = options.flags.target.starts_with("sim:");
  CompiledSampler sampler(options.flags);
  if (!options.reference)
    checks.draws = [&](const reference::Tensor &logits, const reference::SamplingFilter &filter,
                       int64_t count) { return sampler.draws(logits, filter, count); };

  std::unique_ptr<CaseRunner> runner =
      options.reference ? referenceRunner() : compiledRunner(options.flags);
  CheckCounts counts;
  Status first; // the first case that could not be run
  // A reader that has gone does not end the check: its exit code still counts.
  auto print = [](const std::string &text) -> Status {
    Status status = writeStdout(text);
    return isStdoutClosed(status) ? Status::ok() : status;
  };
  auto run = [&](const std::string &name, const Result<GoldenCase> &golden) -> Status {
    OTODUS_RETURN_IF_ERROR(print(name + "\n"));
    Status status = golden.status();
    if (golden.isOk()) {
      std::ostringstream lines;
      status = checkCase(*golden, *runner, checks, lines, counts).in(name);
      OTODUS_RETURN_IF_ERROR(print(lines.str()));
    }
    if (status.isOk())
      return Status::ok();
    std::fprintf(stderr, "otodus: %s\n", status.message().c_str());
    if (first.isOk())
      first = status;
    return Status::ok();
  };
  for (const std::string &file : options.files)
    OTODUS_RETURN_IF_ERROR(run(file, readGoldenCase(file, checks.dtype, options.params)));
  if (options.random)
    for (int64_t i = 0; i < options.count; ++i)
      for (CaseKind kind :
           {CaseKind::TimestepNorm, CaseKind::Cema, CaseKind::Attention, CaseKind::Ffn,
            CaseKind::Block, CaseKind::Layer, CaseKind::Model}) {
        GoldenCase golden =
            randomCase(kind, *options.random + static_cast<uint64_t>(i), checks.dtype);
        std::string name = golden.name;
        OTODUS_RETURN_IF_ERROR(run(name, std::move(golden)));
      }
  OTODUS_RETURN_IF_ERROR(print(summary(counts) + "\n"));
  if (counts.failed > 0)
    return Status(Code::Check, std::to_string(counts.failed) + " comparisons failed");
  if (!first.isOk())
    return Status(first.code(), "not every case could be checked (see above)");
  return Status::ok();
}
} // namespace

void addCheck(CLI::App &app, Action &action) {
  auto options = std::make_shared<Options>();
  CLI::App *sub =
      app.add_subcommand("check", "compares what compiled code computes with stored results");
  sub->add_option("FILES", options->files, "golden cases (safetensors)");
  sub->add_option("--random", options->random,
                  "cases of odd shapes from this seed on, checked against lib/Reference");
  sub->add_option("--count", options->count, "random cases of each kind")
      ->check(CLI::PositiveNumber);
  sub->add_option("--only", options->only, "forward, stream, grad, train: one or, with commas, more")
      ->delimiter(',')
      ->allow_extra_args(false);
  sub->add_option("--params", options->params,
                  "parameters of a model case (default: the sibling *_train file)");
  sub->add_flag("--reference", options->reference,
                "run lib/Reference in float64 instead of compiled code");
  addRunFlags(*sub, options->flags);
  sub->footer(
      "Examples:\n"
      "  otodus check test/golden/*.safetensors\n"
      "  otodus check test/golden/cema_stream.safetensors --target=cpu:x86-64-v3 --dtype=bf16\n"
      "  otodus check --random=1 --count=10");
  sub->callback([options, &action] { action = [options] { return check(*options); }; });
}

} // namespace otodus::driver

//===- Import.cpp - otodus import ------------------------------------------===//

#include "Commands.h"
#include "Flags.h"
#include "OpenModel.h"
#include "Output.h"

#include "otodus/Formats/RandomInit.h"

namespace otodus::driver {

namespace {
struct Options {
  std::string model, preset, output, dtype;
  bool randomInit = false;
  uint64_t seed = 0;
};

Status run(const Options &options) {
  if (!options.randomInit) {
    if (options.preset.empty() == options.model.empty())
      return Status(Code::Usage, "expected a model directory or --preset NAME, whose IR is printed; "
                                 "--preset NAME --random-init -o DIR makes a model directory");
    Result<std::string> text = options.preset.empty()
                                   ? importToText(options.model, options.dtype)
                                   : importPresetToText(options.preset, options.dtype);
    return text.isOk() ? writeOutput(options.output, *text) : text.status();
  }

  if (options.preset.empty() == options.model.empty())
    return Status(Code::Usage, "--random-init expects either --preset NAME or a config.json");
  if (options.output.empty() || options.output == "-")
    return Status(Code::Usage, "--random-init makes a directory; name it with -o DIR");
  Result<formats::ModelConfig> config = options.preset.empty()
                                            ? formats::ModelConfig::load(options.model)
                                            : formats::findPreset(options.preset);
  if (!config.isOk())
    return config.status();
  Interruptible interruptible; // ^C leaves nothing behind
  OTODUS_RETURN_IF_ERROR(
      formats::writeRandomModel(options.output, *config, options.seed, checkInterrupt));
  note(options.output + ": " + std::to_string(config->parameterCount()) +
       " random, untrained parameters");
  return Status::ok();
}
} // namespace

void addImport(CLI::App &app, Action &action) {
  auto options = std::make_shared<Options>();
  CLI::App *sub = app.add_subcommand("import", "a checkpoint to mega IR; or a new random model");
  sub->add_option("MODEL", options->model,
                  "directory with config.json and model.safetensors (with --random-init: a config.json)");
  sub->add_option("--preset", options->preset,
                  "mega200M, mega1.3B, mega1.3B_pg19, mega7.1B, mega7.3B or paper-7B");
  sub->add_flag("--random-init", options->randomInit, "initialise weights instead of reading them");
  sub->add_option("--seed", options->seed, "of --random-init (default 0)");
  sub->add_option("--dtype", options->dtype, "compute type of the IR: f32 (default) or bf16");
  sub->add_option("-o,--output", options->output, "file, or directory with --random-init; - is stdout");
  sub->footer("Examples:\n"
              "  otodus import test/golden/tiny-megalodon\n"
              "  otodus import DIR --dtype=bf16 -o model.mlir\n"
              "  otodus import --preset mega7.3B --dtype=bf16 -o model.mlir      # no weights\n"
              "  otodus import --preset mega200M --random-init --seed 1 -o DIR");
  sub->callback([options, &action] { action = [options] { return run(*options); }; });
}

} // namespace otodus::driver

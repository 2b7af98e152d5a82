//===- CheckCommand.cpp - otodus check -------------------------------------===//

#include "Commands.h"
#include "Flags.h"
#include "OpenModel.h"
#include "Output.h"

namespace otodus::driver {

namespace {
struct Options {
  std::vector<std::string> files;
  std::string only, params;
  ModelFlags flags;
};

Status check(const Options &options) {
  if (!options.only.empty())
    OTODUS_RETURN_IF_ERROR(
        checkChoice("--only", options.only, {"forward", "stream", "grad", "train"}));
  return Status(Code::Internal, "check is not wired yet");
}
} // namespace

void addCheck(CLI::App &app, Action &action) {
  auto options = std::make_shared<Options>();
  CLI::App *sub =
      app.add_subcommand("check", "compares what compiled code computes with stored results");
  sub->add_option("FILES", options->files, "golden cases (safetensors)")->required();
  sub->add_option("--only", options->only, "forward, stream, grad or train");
  sub->add_option("--params", options->params,
                  "parameters of a model case (default: the sibling *_train file)");
  addRunFlags(*sub, options->flags);
  sub->footer(
      "Examples:\n"
      "  otodus check test/golden/*.safetensors\n"
      "  otodus check test/golden/cema_stream.safetensors --target=cpu:x86-64-v3 --dtype=bf16");
  sub->callback([options, &action] { action = [options] { return check(*options); }; });
}

} // namespace otodus::driver

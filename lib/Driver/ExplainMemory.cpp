//===- ExplainMemory.cpp - otodus explain memory ---------------------------===//
//
// The memory plan of training: what `otodus train` will take, before it takes it.
//
//===----------------------------------------------------------------------===//

#include "Commands.h"
#include "Flags.h"
#include "Output.h"
#include "TrainMemory.h"

#include "otodus/Training/TrainConfig.h"

#include <nlohmann/json.hpp>

#include <algorithm>

namespace otodus::driver {

namespace {

using Json = nlohmann::ordered_json;

struct Options {
  std::string preset, config, budget, format = "md", output;
  std::vector<std::string> settings;
  int64_t batch = 1, length = 0, evaluationBatch = 0;
  bool layerwise = false;
  ModelFlags flags;
};

Json describe(const std::string &name, const MemoryRequest &request, const MemoryPlan &plan) {
  const runtime::TrainingMemory &m = plan.memory;
  Json calls = Json::array();
  for (size_t i = 0; i < m.calls.size(); ++i)
    calls.push_back({{"call", m.calls[i].name},
                     {"saved", m.calls[i].saved},
                     {"computed_again", std::find(plan.again.begin(), plan.again.end(),
                                                  int64_t(i)) != plan.again.end()}});
  return {{"model", name},
          {"batch", request.shape.batch},
          {"length", request.shape.length},
          {"evaluation_batch", plan.evaluationBatch},
          {"budget", request.budget},
          {"weights", m.weights},
          {"gradients", m.gradients},
          {"moments", m.moments},
          {"prepared_weights", m.prepared},
          {"states", m.states},
          {"gradients_of_states", m.stateGradients},
          {"states_before", m.stateBefore},
          {"states_between_pieces", m.kept},
          {"saved_activations", m.saved},
          {"workspace", m.workspace},
          {"arguments", m.arguments},
          {"evaluation", m.evaluation},
          {"checkpoint", plan.checkpoint},
          {"program", plan.program},
          {"peak", plan.peak},
          {"peak_with_everything_kept", plan.everythingKept},
          {"extra_flops", plan.extraFlops},
          {"calls", calls}};
}

std::string table(const Json &plan) {
  auto bytes = [](const Json &value) { return formatBytes(double(value.get<int64_t>())); };
  std::string out = plan["model"].get<std::string>() +
                    format(", batches of %lld x %lld tokens", plan["batch"].get<long long>(),
                           plan["length"].get<long long>());
  if (int64_t budget = plan["budget"].get<int64_t>())
    out += ", at most " + formatBytes(double(budget));
  out += "\n\n| memory | |\n|---|--:|\n";
  const std::pair<const char *, const char *> rows[] = {
      {"weights", "weights, f32"},
      {"gradients", "gradients"},
      {"moments", "moments of AdamW"},
      {"prepared_weights", "weights as kernels read them"},
      {"states", "states"},
      {"gradients_of_states", "gradients of states"},
      {"states_before", "states before the piece"},
      {"states_between_pieces", "states between pieces"},
      {"saved_activations", "saved activations"},
      {"workspace", "workspace"},
      {"arguments", "tokens, targets, losses"},
      {"evaluation", "more while evaluating"},
      {"checkpoint", "writing a checkpoint"},
      {"program", "the program"},
      {"peak", "peak"},
      {"peak_with_everything_kept", "peak if nothing is computed again"}};
  for (auto [key, label] : rows)
    if (plan[key].get<int64_t>() > 0)
      out += std::string("| ") + label + " | " + bytes(plan[key]) + " |\n";
  out += "\n| layer | saved | |\n|--:|--:|---|\n";
  int64_t number = 0, again = 0;
  for (const Json &call : plan["calls"]) {
    bool repeated = call["computed_again"].get<bool>();
    again += repeated;
    out += format("| %lld | %s | %s |\n", static_cast<long long>(number++),
                  bytes(call["saved"]).c_str(), repeated ? "computed again" : "");
  }
  if (again > 0)
    out += format("\n%lld of %lld layers are computed again: %.1f GFLOP more per piece.\n",
                  static_cast<long long>(again), static_cast<long long>(number),
                  1e-9 * double(plan["extra_flops"].get<int64_t>()));
  return out;
}

Status run(Options options) {
  OTODUS_RETURN_IF_ERROR(checkChoice("--format", options.format, {"md", "json"}));
  if (options.preset.empty() == options.config.empty())
    return Status(Code::Usage, "expected --preset NAME or --config FILE of otodus train");
  MemoryRequest request;
  request.layerwise = options.layerwise;
  formats::ModelConfig model;
  if (!options.config.empty()) {
    Result<training::TrainConfig> config =
        training::TrainConfig::load(options.config, options.settings);
    OTODUS_RETURN_IF_ERROR(config.status());
    if (!config->from.empty())
      return Status(Code::Usage, options.config + ": the model of 'model.from' is in its folder; "
                                                  "give --preset, or the fields of the model");
    model = config->model;
    request.shape = {config->batch, config->length, config->evaluateBatch, config->window};
    request.budget = config->memoryBudget;
    if (options.flags.dtype.empty())
      options.flags.dtype = config->precision;
    if (options.flags.target.empty())
      options.flags.target = config->target;
  } else {
    if (!options.settings.empty())
      return Status(Code::Usage, "--set goes with --config");
    Result<formats::ModelConfig> found = formats::findPreset(options.preset);
    OTODUS_RETURN_IF_ERROR(found.status());
    model = *found;
    request.shape = {options.batch, options.length > 0 ? options.length : 2048,
                     options.evaluationBatch, options.length > 0 ? options.length : 2048};
  }
  if (options.flags.target.empty())
    options.flags.target = "cpu";
  if (!options.budget.empty()) {
    Result<int64_t> budget = training::parseBytes(options.budget);
    if (!budget.isOk())
      return budget.status().in("--mem-budget");
    request.budget = *budget;
  }
  std::string name = options.preset.empty() ? options.config : options.preset;
  Result<MemoryPlan> plan = planTrainingMemory(model, name, options.flags, request);
  OTODUS_RETURN_IF_ERROR(plan.status());
  Json json = describe(name, request, *plan);
  return writeOutput(options.output, options.format == "json" ? json.dump(1) + "\n" : table(json));
}

} // namespace

void addExplainMemory(CLI::App &explain, Action &action) {
  auto options = std::make_shared<Options>();
  options->flags.target.clear();
  CLI::App *sub = explain.add_subcommand(
      "memory",
      "what training takes: weights, gradients, activations; which layers are computed again");
  sub->add_option("--preset", options->preset, "a model: mega200M, mega7.3B ...");
  sub->add_option("--config", options->config, "configuration of otodus train, instead");
  sub->add_option("--set", options->settings, "SECTION.KEY=VALUE over the configuration")
      ->allow_extra_args(false);
  sub->add_option("--batch", options->batch, "sequences at once, with --preset (default 1)")
      ->check(CLI::Range(int64_t(1), int64_t(1) << 20));
  sub->add_option("--length", options->length, "tokens of each, with --preset (default 2048)")
      ->check(CLI::Range(int64_t(1), int64_t(1) << 31));
  sub->add_option("--evaluation-batch", options->evaluationBatch,
                  "windows of an evaluation at once, with --preset (default 0: no evaluation)")
      ->check(CLI::Range(int64_t(0), int64_t(1) << 20));
  sub->add_option("--mem-budget", options->budget, "most memory, e.g. 8GB");
  sub->add_flag("--layerwise", options->layerwise, "compute every layer again (layerwise_ckpt)");
  sub->add_option("--target", options->flags.target, "as for otodus train (default: cpu)");
  addCompileFlags(*sub, options->flags);
  sub->add_option("--format", options->format, "md (default) or json");
  sub->add_option("-o,--output", options->output, "file; - is stdout (default)");
  sub->footer("Examples:\n"
              "  otodus explain memory --preset mega200M --batch 1 --length 2048\n"
              "  otodus explain memory --preset mega200M --mem-budget 6GB\n"
              "  otodus explain memory --config configs/tinyshakespeare.toml");
  sub->callback([options, &action] { action = [options] { return run(*options); }; });
}

} // namespace otodus::driver

//===- Train.cpp - otodus train --------------------------------------------===//

#include "Commands.h"
#include "Flags.h"
#include "OpenTrainer.h"
#include "Output.h"
#include "Tokenizer.h"

#include "otodus/Formats/OutputFile.h"
#include "otodus/Formats/RandomInit.h"
#include "otodus/Training/Plot.h"
#include "otodus/Training/TrainLoop.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <filesystem>
#include <memory>
#include <optional>
#include <set>

namespace otodus::driver {

using training::EvaluationReport;
using training::StepReport;
using training::TokenData;
using training::TrainConfig;

namespace {

struct Options {
  std::string config, out, budget;
  std::vector<std::string> data, settings;
  bool resume = false, profile = false;
  ModelFlags flags;
};

/// "1:05:09" or "2:31"
std::string duration(double seconds) {
  auto total = static_cast<long long>(seconds + 0.5);
  if (total >= 3600)
    return format("%lld:%02lld:%02lld", total / 3600, total / 60 % 60, total % 60);
  return format("%lld:%02lld", total / 60, total % 60);
}

/// What is seen of a run: a bar on a terminal, a line per evaluation everywhere.
class Display {
public:
  explicit Display(const TrainConfig &config) : config_(config) {}

  void step(const StepReport &report) {
    loss_ = loss_ == 0 || !std::isfinite(report.loss) ? report.loss : 0.95 * loss_ + 0.05 * report.loss;
    seconds_ += report.seconds;
    ++steps_;
    double speed = static_cast<double>(steps_ * config_.positionsPerStep()) / seconds_;
    // Evaluations and checkpoints take time too.
    double elapsed = std::chrono::duration<double>(Clock::now() - start_).count();
    double left = elapsed / static_cast<double>(steps_) *
                  static_cast<double>(config_.steps - report.step);
    constexpr int64_t width = 24;
    std::string bar(width, '.');
    std::fill_n(bar.begin(), width * report.step / config_.steps, '#');
    progress_.show(format("[%s] %lld/%lld  loss %.4f%s  %.0f tokens/s  %s left", bar.c_str(),
                          static_cast<long long>(report.step),
                          static_cast<long long>(config_.steps), loss_, validation_.c_str(), speed,
                          duration(left).c_str()));
    if (!report.notFinite.empty())
      note("step " + std::to_string(report.step) + ": the " + report.notFinite +
           " is NaN or infinite" +
           (config_.notFinite == training::NotFinitePolicy::Skip ? "; the step was skipped" : ""));
  }

  void evaluation(const EvaluationReport &report) {
    validation_ = format("  validation %.4f", report.loss);
    double speed = seconds_ > 0 ? static_cast<double>(steps_ * config_.positionsPerStep()) / seconds_ : 0;
    progress_.clear();
    note(format("step %lld/%lld: loss %.4f, validation loss %.4f (%lld positions, windows of %lld), "
                "%.0f tokens/s",
                static_cast<long long>(report.step), static_cast<long long>(config_.steps), loss_,
                report.loss, static_cast<long long>(report.positions),
                static_cast<long long>(config_.window), speed));
  }

private:
  using Clock = std::chrono::steady_clock;
  const TrainConfig &config_;
  Progress progress_;
  Clock::time_point start_ = Clock::now();
  double loss_ = 0, seconds_ = 0;
  int64_t steps_ = 0;
  std::string validation_;
};

/// Tensors of a checkpoint that no step changes, in memory: rope.freqs and the like.
class Buffers {
public:
  /// Copies what `file` has beyond `parameters`.
  Buffers(const formats::SafetensorsFile &file,
          const std::vector<runtime::TrainedTensor> &parameters) {
    std::set<std::string> trained;
    for (const runtime::TrainedTensor &parameter : parameters)
      trained.insert(parameter.name);
    for (const formats::Tensor &tensor : file.tensors())
      // The second name of a shared table would be stale after the first step.
      if (!trained.count(tensor.name) && tensor.name != "output.output.weight")
        bytes_.emplace_back(tensor, std::vector<uint8_t>(tensor.data, tensor.data + tensor.bytes));
  }
  std::vector<formats::TensorSpec> specs() const {
    std::vector<formats::TensorSpec> result;
    for (const auto &[tensor, bytes] : bytes_)
      result.push_back({tensor.name, tensor.type, tensor.shape, bytes.data()});
    return result;
  }

private:
  std::vector<std::pair<formats::Tensor, std::vector<uint8_t>>> bytes_;
};

/// The model a run starts from: a checkpoint, or random weights in DIR/initial.
struct Start {
  formats::ModelConfig model;
  std::string folder;
};

Result<Start> findStart(const TrainConfig &config, const training::RunFolder &folder) {
  Start start{config.model, folder.path() + "/initial"};
  if (!config.from.empty()) {
    start.folder = config.from;
    Result<formats::ModelConfig> model = formats::ModelConfig::load(config.from + "/config.json");
    if (!model.isOk())
      return model.status();
    start.model = *model;
    return start;
  }
  std::error_code error;
  // The folder appears whole or not at all, so what is there is good. It was made from the
  // same seed and model, or the fingerprint below says so.
  std::filesystem::remove_all(start.folder, error);
  OTODUS_RETURN_IF_ERROR(
      formats::writeRandomModel(start.folder, start.model, config.seed, checkInterrupt));
  return start;
}

Status train(Options &options) {
  Interruptible interruptible;
  Result<TrainConfig> parsed = TrainConfig::load(options.config, options.settings);
  if (!parsed.isOk())
    return parsed.status();
  TrainConfig config = std::move(*parsed);
  std::string configFolder = std::filesystem::path(options.config).parent_path().string();
  if (!options.data.empty())
    config.files = options.data;
  else
    for (std::string &file : config.files) // relative to where they are written
      file = (std::filesystem::path(configFolder) / file).string();
  for (std::string &file : config.validationFiles)
    file = (std::filesystem::path(configFolder) / file).string();
  if (!config.from.empty())
    config.from = (std::filesystem::path(configFolder) / config.from).string();
  if (options.flags.dtype.empty())
    options.flags.dtype = config.precision;
  else
    config.precision = options.flags.dtype;
  if (options.flags.target.empty())
    options.flags.target = config.target;
  if (!options.budget.empty()) {
    Result<int64_t> budget = training::parseBytes(options.budget);
    if (!budget.isOk())
      return budget.status().in("--mem-budget");
    config.memoryBudget = *budget;
  }

  // The folder.
  Result<training::RunFolder> folder = training::RunFolder::open(options.out);
  if (!folder.isOk())
    return folder.status();
  std::vector<std::string> checkpoints = folder->checkpoints();
  if (!checkpoints.empty() && !options.resume)
    return Status(Code::File, "'" + options.out + "' holds a run already (" + checkpoints.back() +
                                  "); go on with it by --resume, or choose another --out");
  if (checkpoints.empty() && options.resume)
    note("no checkpoint in '" + options.out + "' yet; starting from the beginning");

  // The model.
  Start start;
  if (!checkpoints.empty()) {
    start.folder = checkpoints.back();
    Result<formats::ModelConfig> model = formats::ModelConfig::load(start.folder + "/config.json");
    if (!model.isOk())
      return model.status();
    start.model = *model;
    if (config.from.empty()) {
      // Compared below; what is compiled is what the configuration says.
      std::optional<std::string> tokenizer = model->tokenizer.path;
      start.model = config.model;
      start.model.tokenizer.path = tokenizer;
    }
  } else {
    Result<Start> found = findStart(config, *folder);
    if (!found.isOk())
      return found.status();
    start = *found;
  }
  config.model = start.model;
  if (config.model.tokenizer.path) {
    // Checkpoints lie elsewhere: the path must not depend on where.
    std::filesystem::path base = !config.from.empty() ? config.from : configFolder;
    std::error_code error;
    config.model.tokenizer.path =
        std::filesystem::absolute(base / *config.model.tokenizer.path, error).string();
  }

  // The data.
  formats::TokenizerConfig tokenizerConfig = config.model.tokenizer;
  if (!options.flags.tokenizer.empty())
    tokenizerConfig.path = options.flags.tokenizer;
  Result<std::unique_ptr<Tokenizer>> tokenizer =
      Tokenizer::create(tokenizerConfig, configFolder, config.model.vocab_size);
  if (!tokenizer.isOk())
    return tokenizer.status();
  training::TextEncoder encoder;
  encoder.encode = [&](std::string_view text) { return (*tokenizer)->encode(text); };
  encoder.bos = (*tokenizer)->bos();
  encoder.eos = (*tokenizer)->eos();
  encoder.vocabulary = config.model.vocab_size;
  encoder.bytes = (*tokenizer)->isBytes();
  std::string encoderName = tokenizerConfig.path.value_or("bytes") + " " +
                            std::to_string(tokenizerConfig.additional_vocab_size);
  std::string cache = options.out + "/tokens";
  Result<TokenData> data = training::openTokenData(config.files, config.format, config.field,
                                                   encoder, encoderName, cache, checkInterrupt);
  if (!data.isOk())
    return data.status();
  TokenData validation;
  std::string dataFingerprint = data->fingerprint();
  if (!config.validationFiles.empty()) {
    Result<TokenData> more =
        training::openTokenData(config.validationFiles, config.format, config.field, encoder,
                                encoderName, cache, checkInterrupt);
    if (!more.isOk())
      return more.status();
    validation = *more;
  } else {
    auto train = static_cast<int64_t>((1 - config.validationFraction) *
                                      static_cast<double>(data->size()));
    validation = data->slice(train, data->size());
    *data = data->slice(0, train);
    dataFingerprint += " " + std::to_string(train);
  }
  Result<training::Sampler> sampler =
      training::Sampler::create(*data, config.order, config.length, config.seed);
  if (!sampler.isOk())
    return sampler.status();

  // Where the run stood, before anything is compiled.
  std::string fingerprint = config.fingerprint();
  if (!checkpoints.empty()) {
    Result<training::TrainState> before = training::readState(checkpoints.back());
    if (!before.isOk())
      return before.status();
    if (std::string difference = TrainConfig::difference(before->config, fingerprint);
        !difference.empty())
      return Status(Code::File, "the run in '" + options.out + "' began with another configuration: " +
                                    difference + "; undo that, or start another run (model.from "
                                                 "takes its weights)");
    if (before->data != dataFingerprint)
      return Status(Code::File, "the run in '" + options.out + "' began with other data; give the "
                                "same, or start another run (model.from takes its weights)");
  }

  // The compiled model.
  std::string weightsPath = start.folder + "/model.safetensors";
  Result<formats::SafetensorsFile> file = formats::SafetensorsFile::open(weightsPath);
  if (!file.isOk())
    return file.status();
  if (Status same = formats::checkTensors(config.model, *file); !same.isOk())
    return checkpoints.empty()
               ? same
               : same.in("the checkpoint is of another model than '" + options.config + "'");
  Result<std::unique_ptr<runtime::WeightSource>> weights = runtime::openWeights(weightsPath);
  if (!weights.isOk())
    return weights.status();
  std::vector<std::string> names;
  for (const formats::Tensor &tensor : file->tensors())
    names.push_back(tensor.name);
  bool evaluates = validation.size() > 1;
  MemoryRequest request{
      {config.batch, config.length, evaluates ? config.evaluateBatch : 0, config.window},
      config.memoryBudget};
  MemoryPlan memory;
  Result<std::unique_ptr<runtime::Trainer>> trainer =
      openTrainer(config.model, options.config, names, **weights, options.flags, request, &memory);
  if (!trainer.isOk())
    return trainer.status();
  if (evaluates && memory.evaluationBatch < config.evaluateBatch) {
    note(format("the memory budget leaves room for an evaluation.batch of %lld",
                static_cast<long long>(memory.evaluationBatch)));
    config.evaluateBatch = memory.evaluationBatch;
  }
  OTODUS_RETURN_IF_ERROR(checkInterrupt());

  training::TrainState state;
  if (!checkpoints.empty()) {
    Result<training::TrainState> read = training::readCheckpoint(checkpoints.back(), **trainer);
    if (!read.isOk())
      return read.status();
    state = *read;
  }
  state.config = fingerprint;
  state.data = dataFingerprint;
  // After the weights are there: frozen ones are put back to what they are now.
  Result<std::vector<bool>> frozen =
      training::frozenParameters((*trainer)->parameters(), config.frozen);
  if (!frozen.isOk())
    return frozen.status();
  OTODUS_RETURN_IF_ERROR((*trainer)->freeze(*frozen));

  Buffers buffers(*file, (*trainer)->parameters());
  Display display(config);
  training::TrainRun run{config, **trainer, *sampler, validation, *folder, config.model,
                         buffers.specs(), {}};
  run.hooks.onStep = [&](const StepReport &report) { display.step(report); };
  run.hooks.onEvaluation = [&](const EvaluationReport &report) { display.evaluation(report); };
  run.hooks.onCheckpoint = [&](const std::string &path) {
    detail("wrote " + path);
    if (config.from.empty()) { // the random weights have served
      std::error_code error;
      std::filesystem::remove_all(options.out + "/initial", error);
    }
  };
  run.hooks.interrupted = [] { return interrupted(); };

  int64_t trained = 0, total = 0;
  for (size_t i = 0; i < frozen->size(); ++i) {
    total += (*trainer)->parameters()[i].elements();
    trained += (*frozen)[i] ? 0 : (*trainer)->parameters()[i].elements();
  }
  note(format("%lld parameters%s, %lld training and %lld validation tokens, %lld steps of %lld tokens",
              static_cast<long long>(total),
              trained < total ? format(" (%lld trained)", static_cast<long long>(trained)).c_str() : "",
              static_cast<long long>(data->size()), static_cast<long long>(validation.size()),
              static_cast<long long>(config.steps),
              static_cast<long long>(config.positionsPerStep())));
  note(format("memory: %s planned", formatBytes(double(memory.peak)).c_str()) +
       (memory.again.empty() ? ""
                             : format(", %zu of %zu layers computed again (%s without)",
                                      memory.again.size(), memory.memory.calls.size(),
                                      formatBytes(double(memory.everythingKept)).c_str())));
  if (state.step > 0)
    note("going on from " + checkpoints.back());
  (*trainer)->setProfiling(options.profile);
  Result<training::TrainSummary> summary = training::runTraining(run, state);

  if (options.profile) {
    std::vector<runtime::LaunchProfile> launches = (*trainer)->profile();
    std::sort(launches.begin(), launches.end(),
              [](const auto &a, const auto &b) { return a.nanoseconds > b.nanoseconds; });
    for (const runtime::LaunchProfile &launch : launches)
      std::fprintf(stderr, "%10.3f ms %8lld calls  %s %s (row tile %lld)\n",
                   static_cast<double>(launch.nanoseconds) / 1e6,
                   static_cast<long long>(launch.calls), launch.function.c_str(),
                   launch.launch.c_str(), static_cast<long long>(launch.rowTile));
  }
  // The curve so far, whatever ended the run.
  if (Result<training::LossCurve> curve = training::readLossCurve(options.out); curve.isOk()) {
    std::string svg = training::plotSvg({*curve});
    Status written = formats::writeFile(options.out + "/loss.svg", svg.data(), svg.size());
    if (summary.isOk() && !written.isOk())
      return written;
  }
  if (int64_t peak = peakBytes())
    detail(format("memory: %s at the peak, %s planned", formatBytes(double(peak)).c_str(),
                  formatBytes(double(memory.peak)).c_str()));
  if (!summary.isOk())
    return summary.status();
  if (summary->bestStep > 0)
    note(format("done: validation loss %.4f (best %.4f at step %lld); curve in %s/loss.svg",
                summary->validationLoss, summary->bestValidationLoss,
                static_cast<long long>(summary->bestStep), options.out.c_str()));
  return writeStdout(summary->checkpoint.empty() ? options.out + "/latest\n"
                                                 : summary->checkpoint + "\n");
}

Status plot(const std::vector<std::string> &logs, const std::string &output) {
  std::vector<training::LossCurve> curves;
  for (const std::string &path : logs) {
    Result<training::LossCurve> curve = training::readLossCurve(path);
    if (!curve.isOk())
      return curve.status();
    curves.push_back(std::move(*curve));
  }
  return writeOutput(output, training::plotSvg(curves));
}

} // namespace

void addTrain(CLI::App &app, Action &action) {
  auto options = std::make_shared<Options>();
  options->flags.target.clear();
  CLI::App *sub = app.add_subcommand("train", "learns from text; stops and goes on");
  sub->add_option("--config", options->config, "what to train: a TOML file")->required();
  sub->add_option("--data", options->data,
                  "text, .jsonl or token file to learn from, instead of data.files; may be repeated")
      ->allow_extra_args(false);
  sub->add_option("--out", options->out, "folder for checkpoints, log and curve")->required();
  sub->add_flag("--resume", options->resume, "go on from the newest checkpoint in --out");
  sub->add_option("--set", options->settings,
                  "SECTION.KEY=VALUE over the configuration; may be repeated")
      ->allow_extra_args(false);
  sub->add_option("--mem-budget", options->budget,
                  "most memory, e.g. 8GB; what does not fit is computed again (train.memory_budget)");
  sub->add_flag("--profile", options->profile, "print time per kernel to stderr at the end");
  addRunFlags(*sub, options->flags);
  sub->footer("^C writes a checkpoint and ends with 130; --resume goes on as if nothing had happened.\n"
              "Prints the folder of the last checkpoint: a model directory for generate and eval.\n\n"
              "Examples:\n"
              "  otodus train --config configs/tinyshakespeare.toml --data input.txt --out run\n"
              "  otodus train --config configs/tinyshakespeare.toml --data input.txt --out run --resume\n"
              "  otodus generate --model run/latest --prompt 'To be' --temperature 0.8");
  sub->callback([options, &action] { action = [options] { return train(*options); }; });
}

void addPlot(CLI::App &app, Action &action) {
  auto logs = std::make_shared<std::vector<std::string>>();
  auto output = std::make_shared<std::string>();
  CLI::App *sub = app.add_subcommand("plot", "loss curves of training runs as SVG");
  sub->add_option("LOG", *logs, "log.jsonl, or the folder of a run; several make one picture")
      ->required();
  sub->add_option("-o,--output", *output, "file; - (default) is stdout");
  sub->footer("Examples:\n"
              "  otodus plot run -o loss.svg\n"
              "  otodus plot first second -o both.svg");
  sub->callback([=, &action] { action = [=] { return plot(*logs, *output); }; });
}

} // namespace otodus::driver

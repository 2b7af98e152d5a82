//===- TrainLoop.cpp - From step to step -----------------------------------===//

#include "otodus/Training/TrainLoop.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cmath>
#include <cstring>

#include <fcntl.h>
#include <unistd.h>

namespace otodus::training {

using nlohmann::ordered_json;
using runtime::LossSum;
using runtime::TokenBatch;

namespace {

using Clock = std::chrono::steady_clock;
double since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

/// Lines of a log, each in the file as soon as it is written.
class Log {
public:
  static Result<Log> open(const std::string &path) {
    Log log;
    log.path_ = path;
    log.fd_ = ::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    if (log.fd_ < 0)
      return Status(Code::File, "cannot write '" + path + "': " + std::strerror(errno));
    return log;
  }
  Log(Log &&other) noexcept : path_(std::move(other.path_)), fd_(std::exchange(other.fd_, -1)) {}
  ~Log() {
    if (fd_ >= 0)
      ::close(fd_);
  }
  Status line(const ordered_json &object) {
    std::string text = object.dump() + "\n";
    for (size_t done = 0; done < text.size();) {
      ssize_t count = ::write(fd_, text.data() + done, text.size() - done);
      if (count < 0 && errno == EINTR)
        continue;
      if (count < 0)
        return Status(errno == ENOSPC || errno == EDQUOT ? Code::Device : Code::File,
                      "cannot write '" + path_ + "': " + std::strerror(errno));
      done += static_cast<size_t>(count);
    }
    return Status::ok();
  }

private:
  Log() = default;
  std::string path_;
  int fd_ = -1;
};

/// JSON has no NaN: numbers that are none become text.
ordered_json number(double value) {
  if (std::isfinite(value))
    return value;
  return std::isnan(value) ? "NaN" : value > 0 ? "Infinity" : "-Infinity";
}

TokenBatch emptyBatch(int64_t batch, int64_t length) {
  TokenBatch result;
  result.batch = batch;
  result.length = length;
  size_t size = static_cast<size_t>(batch * length);
  result.tokens.resize(size);
  result.targets.resize(size);
  result.starts.resize(size);
  return result;
}

} // namespace

Result<EvaluationReport> evaluate(runtime::TrainingBackend &backend, const TokenData &data,
                                  int64_t window, int64_t batch,
                                  const std::function<bool()> &interrupted) {
  if (data.size() < 2)
    return Status(Code::Input, "the validation data has " + std::to_string(data.size()) +
                                   " tokens; at least two are needed to judge a prediction");
  EvaluationReport report;
  Clock::time_point start = Clock::now();
  double sum = 0;
  int64_t positions = data.size() - 1, whole = positions / window;
  auto add = [&](const TokenBatch &tokens) -> Status {
    if (interrupted && interrupted())
      return Status(Code::Interrupted, "interrupted");
    Result<LossSum> loss = backend.loss(tokens);
    OTODUS_RETURN_IF_ERROR(loss.status());
    sum += loss->sum;
    report.positions += loss->count;
    return Status::ok();
  };
  for (int64_t first = 0; first < whole; first += batch) {
    TokenBatch tokens = emptyBatch(std::min(batch, whole - first), window);
    for (int64_t row = 0; row < tokens.batch; ++row)
      fillRow(data, (first + row) * window, row, tokens);
    OTODUS_RETURN_IF_ERROR(add(tokens));
  }
  if (int64_t rest = positions - whole * window; rest > 0) {
    TokenBatch tokens = emptyBatch(1, rest);
    fillRow(data, whole * window, 0, tokens);
    OTODUS_RETURN_IF_ERROR(add(tokens));
  }
  report.loss = sum / static_cast<double>(std::max<int64_t>(1, report.positions));
  report.seconds = since(start);
  return report;
}

Result<std::vector<bool>> frozenParameters(const std::vector<runtime::TrainedTensor> &parameters,
                                           const std::vector<std::string> &patterns) {
  std::vector<bool> frozen(parameters.size(), false);
  std::string useless;
  for (const std::string &pattern : patterns) {
    bool any = false;
    for (size_t i = 0; i < parameters.size(); ++i)
      if (matchesPattern(parameters[i].name, pattern))
        frozen[i] = any = true;
    if (!any)
      useless += (useless.empty() ? "'" : ", '") + pattern + "'";
  }
  if (!useless.empty())
    return Status(Code::Input, "model.frozen: no parameter matches " + useless +
                                   "; names are such as 'embed.weight', 'layers.0.mega.wv.weight'");
  if (std::find(frozen.begin(), frozen.end(), false) == frozen.end())
    return Status(Code::Input, "model.frozen matches every parameter: nothing is left to train");
  return frozen;
}

namespace {

class Loop {
public:
  Loop(TrainRun &run, TrainState state, Log log, const LogSummary &before)
      : run_(run), config_(run.config), log_(std::move(log)), evaluated_(before.evaluated) {
    summary_.state = std::move(state);
    summary_.validationLoss = before.lastValidation;
    summary_.bestValidationLoss = before.bestValidation;
    summary_.bestStep = before.bestStep;
  }

  Result<TrainSummary> operator()() {
    TrainState &state = summary_.state;
    auto due = [&](int64_t every) { return every > 0 && state.step % every == 0; };
    // An evaluation that an interrupt left out.
    if (state.step > 0 && !evaluated_ && (state.step == config_.steps || due(config_.evaluateEvery)))
      OTODUS_RETURN_IF_ERROR(evaluation());
    while (state.step < config_.steps) {
      OTODUS_RETURN_IF_ERROR(step());
      bool last = state.step == config_.steps, stop = interrupted();
      if (!stop && (last || due(config_.evaluateEvery)))
        stop = isInterrupt(evaluation());
      OTODUS_RETURN_IF_ERROR(error_);
      if (last || stop || due(config_.checkpointEvery))
        OTODUS_RETURN_IF_ERROR(checkpoint());
      if (stop)
        return Status(Code::Interrupted, "interrupted after step " + std::to_string(state.step) +
                                             "; --resume goes on from there");
    }
    return summary_;
  }

private:
  /// An interrupt inside an evaluation is not an error: the run still writes its checkpoint.
  bool isInterrupt(Status status) {
    if (status.code() == Code::Interrupted)
      return true;
    error_ = std::move(status);
    return false;
  }
  bool interrupted() const { return run_.hooks.interrupted && run_.hooks.interrupted(); }

  Status step() {
    TrainState &state = summary_.state;
    Clock::time_point start = Clock::now();
    StepReport report;
    report.step = state.step + 1;
    report.learningRate = config_.learningRate * config_.schedule.factor(state.step);
    double scale = 1.0 / static_cast<double>(config_.positionsPerStep());
    LossSum loss;
    for (int64_t i = 0; i < config_.accumulate; ++i) {
      int64_t first = (state.step * config_.accumulate + i) * config_.batch;
      TokenBatch batch = run_.sampler.batch(first, config_.batch);
      batch.seed = config_.seed;
      batch.step = report.step;
      batch.firstSample = i * config_.batch;
      Result<LossSum> part = run_.backend.accumulate(batch, scale);
      OTODUS_RETURN_IF_ERROR(part.status());
      loss.sum += part->sum;
      loss.count += part->count;
    }
    report.loss = loss.sum / static_cast<double>(std::max<int64_t>(1, loss.count));
    Result<runtime::GradientNorm> norm = run_.backend.gradientNorm();
    OTODUS_RETURN_IF_ERROR(norm.status());
    report.norm = norm->norm;
    if (!std::isfinite(report.loss))
      report.notFinite = "loss";
    else if (!norm->notFinite.empty())
      report.notFinite = "gradient of " + norm->notFinite;
    else if (!std::isfinite(report.norm))
      report.notFinite = "norm of the gradients";

    if (report.notFinite.empty()) {
      runtime::OptimizerStep step;
      step.t = ++state.updates;
      step.learningRate = report.learningRate;
      step.clip = config_.clip;
      step.norm = report.norm;
      step.beta1 = config_.beta1;
      step.beta2 = config_.beta2;
      step.epsilon = config_.epsilon;
      step.weightDecay = config_.weightDecay;
      OTODUS_RETURN_IF_ERROR(run_.backend.step(step));
    } else {
      OTODUS_RETURN_IF_ERROR(run_.backend.dropGradients());
    }
    ++state.step;
    state.tokens += config_.positionsPerStep();
    report.tokens = state.tokens;
    report.seconds = since(start);
    summary_.lastLoss = report.loss;

    ordered_json line = {{"step", report.step},
                         {"loss", number(report.loss)},
                         {"norm", number(report.norm)},
                         {"lr", report.learningRate},
                         {"tokens", report.tokens},
                         {"seconds", report.seconds},
                         {"tokens_per_second",
                          static_cast<double>(config_.positionsPerStep()) / report.seconds}};
    if (!report.notFinite.empty()) {
      line["not_finite"] = report.notFinite;
      if (loss.count > 0 && !norm->notFinite.empty())
        line["not_finite_gradient"] = norm->notFinite;
    }
    OTODUS_RETURN_IF_ERROR(log_.line(line));
    if (run_.hooks.onStep)
      run_.hooks.onStep(report);
    if (!report.notFinite.empty() && config_.notFinite == NotFinitePolicy::Stop)
      return Status(Code::Input,
                    "step " + std::to_string(report.step) + ": the " + report.notFinite +
                        " is NaN or infinite" +
                        (norm->notFinite.empty() || report.notFinite != "loss"
                             ? ""
                             : " (first gradient: " + norm->notFinite + ")") +
                        "; lower optimizer.lr, or set train.not_finite = \"skip\", then go on with "
                        "--resume from the last checkpoint");
    return Status::ok();
  }

  Status evaluation() {
    if (run_.validation.size() < 2)
      return Status::ok();
    Result<EvaluationReport> report =
        evaluate(run_.backend, run_.validation, config_.window, config_.evaluateBatch,
                 run_.hooks.interrupted);
    OTODUS_RETURN_IF_ERROR(report.status());
    report->step = summary_.state.step;
    summary_.validationLoss = report->loss;
    if (summary_.bestStep == 0 || report->loss < summary_.bestValidationLoss) {
      summary_.bestValidationLoss = report->loss;
      summary_.bestStep = report->step;
    }
    OTODUS_RETURN_IF_ERROR(log_.line({{"step", report->step},
                                      {"validation_loss", number(report->loss)},
                                      {"positions", report->positions},
                                      {"window", config_.window},
                                      {"seconds", report->seconds}}));
    if (run_.hooks.onEvaluation)
      run_.hooks.onEvaluation(*report);
    return Status::ok();
  }

  Status checkpoint() {
    Result<std::string> folder = run_.folder.write(summary_.state, run_.model, run_.backend,
                                                   run_.buffers, config_.keep);
    OTODUS_RETURN_IF_ERROR(folder.status());
    summary_.checkpoint = *folder;
    if (run_.hooks.onCheckpoint)
      run_.hooks.onCheckpoint(*folder);
    return Status::ok();
  }

  TrainRun &run_;
  const TrainConfig &config_;
  Log log_;
  bool evaluated_;
  TrainSummary summary_;
  Status error_;
};

} // namespace

Result<TrainSummary> runTraining(TrainRun &run, TrainState state) {
  Result<LogSummary> before = truncateLog(run.folder.logPath(), state.step);
  OTODUS_RETURN_IF_ERROR(before.status());
  Result<Log> log = Log::open(run.folder.logPath());
  OTODUS_RETURN_IF_ERROR(log.status());
  return Loop(run, std::move(state), std::move(*log), *before)();
}

} // namespace otodus::training

//===- TrainLoop.h - From step to step -------------------------------------===//

#pragma once

#include "otodus/Formats/Safetensors.h"
#include "otodus/Runtime/TrainingBackend.h"
#include "otodus/Training/RunFolder.h"
#include "otodus/Training/Sampler.h"
#include "otodus/Training/TrainConfig.h"

#include <functional>
#include <string>
#include <vector>

namespace otodus::training {

/// What one step of a run did.
struct StepReport {
  int64_t step = 0;      ///< 1, 2, …
  double loss = 0;       ///< mean over targets that count, before the step, nats
  double norm = 0;       ///< of the gradients before clipping
  double learningRate = 0;
  int64_t tokens = 0;    ///< positions learnt from so far
  double seconds = 0;    ///< that the step took
  std::string notFinite; ///< what was NaN or infinite first; the step was then skipped
};

struct EvaluationReport {
  int64_t step = 0, positions = 0;
  double loss = 0; ///< nats per position
  double seconds = 0;
};

/// What a program around the loop sees and decides. Any may be null.
struct TrainHooks {
  std::function<void(const StepReport &)> onStep;
  std::function<void(const EvaluationReport &)> onEvaluation;
  std::function<void(const std::string &folder)> onCheckpoint;
  /// Asked between batches: true ends the run after the step in progress.
  std::function<bool()> interrupted;
};

/// Everything a run is made of; owned by the caller.
struct TrainRun {
  const TrainConfig &config;
  runtime::TrainingBackend &backend;
  const Sampler &sampler;
  const TokenData &validation; ///< may be empty: then nothing is evaluated
  RunFolder &folder;
  formats::ModelConfig model;                ///< written to checkpoints
  std::vector<formats::TensorSpec> buffers;  ///< untrained tensors of checkpoints
  TrainHooks hooks;
};

struct TrainSummary {
  TrainState state;
  double lastLoss = 0, validationLoss = 0, bestValidationLoss = 0;
  int64_t bestStep = 0;
  std::string checkpoint; ///< the last one
};

/// Mean loss over all positions of `data` in windows of `window` tokens, each from a fresh
/// state, `batch` at once. Code::Input for less than two tokens. `interrupted` as in
/// TrainHooks: Code::Interrupted.
Result<EvaluationReport> evaluate(runtime::TrainingBackend &backend, const TokenData &data,
                                  int64_t window, int64_t batch,
                                  const std::function<bool()> &interrupted = nullptr);

/// Runs from `state` to the end of the configuration. Code::Interrupted after a checkpoint if
/// `interrupted` said so; Code::Input for a loss or gradient that is not finite, with
/// not_finite = "stop"; errors of the backend and of files.
Result<TrainSummary> runTraining(TrainRun &run, TrainState state);

/// Marks the parameters that a pattern of `patterns` matches. Code::Input naming patterns that
/// match nothing, and if nothing is left to train.
Result<std::vector<bool>> frozenParameters(const std::vector<runtime::TrainedTensor> &parameters,
                                           const std::vector<std::string> &patterns);

} // namespace otodus::training

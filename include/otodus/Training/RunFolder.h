//===- RunFolder.h - What a training run leaves on disk --------------------===//
//
//   DIR/lock                       held while a run writes here
//   DIR/log.jsonl                  one JSON object per line: steps, evaluations, events
//   DIR/checkpoints/step-00000250  config.json, consolidate_config.json, model.safetensors
//                                  (reference layout, spec 6) and training.safetensors
//   DIR/latest                     link to the newest checkpoint
//
// A checkpoint is written to a temporary folder, synced and renamed, so whatever is called
// step-… is complete, also after kill -9 or on a full disk.
//
//===----------------------------------------------------------------------===//

#pragma once

#include "otodus/Formats/ModelConfig.h"
#include "otodus/Formats/Safetensors.h"
#include "otodus/Formats/Status.h"
#include "otodus/Runtime/TrainingBackend.h"

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace otodus::training {

/// Where a run stands. With the configuration and the data it decides everything that comes.
struct TrainState {
  int64_t step = 0;    ///< steps done, skipped ones included; also the position in the data
  int64_t updates = 0; ///< AdamW's t: steps that changed the weights
  int64_t tokens = 0;  ///< positions learnt from
  std::string config;  ///< TrainConfig::fingerprint
  std::string data;    ///< TokenData::fingerprint
};

/// The folder of one run, locked for this process.
class RunFolder {
public:
  /// Makes the folder if needed and locks it. Code::File if another process writes there or it
  /// cannot be made. Temporaries of runs that were killed are removed.
  static Result<RunFolder> open(const std::string &path);
  RunFolder(RunFolder &&other) noexcept;
  RunFolder &operator=(RunFolder &&) = delete;
  ~RunFolder();

  const std::string &path() const { return path_; }
  std::string logPath() const { return path_ + "/log.jsonl"; }

  /// Folders of complete checkpoints, oldest first.
  std::vector<std::string> checkpoints() const;

  /// Writes a checkpoint of `state` and then removes all but the newest `keep`. `buffers`:
  /// tensors of the checkpoint that are not trained (rope.freqs, priors), written as they
  /// are. On an error (Code::Device: disk full; Code::File) older checkpoints are untouched
  /// and nothing of the new one is left. Returns the folder.
  Result<std::string> write(const TrainState &state, const formats::ModelConfig &config,
                            runtime::TrainingBackend &backend,
                            const std::vector<formats::TensorSpec> &buffers, int64_t keep);

private:
  RunFolder() = default;
  std::string path_;
  int lock_ = -1;
};

/// Where the run of the checkpoint `folder` stood. Code::File if it is damaged.
Result<TrainState> readState(const std::string &folder);

/// Puts weights and moments of the checkpoint `folder` into `backend` and returns where the run
/// stood. Code::File if it is damaged or of another model.
Result<TrainState> readCheckpoint(const std::string &folder, runtime::TrainingBackend &backend);

/// Weights only, from any checkpoint in the reference layout. `file`: its model.safetensors.
Status readWeights(const formats::SafetensorsFile &file, runtime::TrainingBackend &backend);

/// What the log of a run says about its evaluations.
struct LogSummary {
  bool evaluated = false; ///< at the step the log was cut at
  double lastValidation = 0, bestValidation = 0;
  int64_t bestStep = 0; ///< 0: there was no evaluation
};
/// Cuts off what was logged after `step`, and half lines, so that a run that goes on from a
/// checkpoint logs every step once. Code::File, Code::Device.
Result<LogSummary> truncateLog(const std::string &path, int64_t step);

} // namespace otodus::training

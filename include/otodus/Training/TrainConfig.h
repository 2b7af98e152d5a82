//===- TrainConfig.h - What a training run is told -------------------------===//
//
// The TOML file of `otodus train`. docs/Guides/Train.md lists every key.
//
//===----------------------------------------------------------------------===//

#pragma once

#include "otodus/Formats/ModelConfig.h"
#include "otodus/Formats/Status.h"
#include "otodus/Training/Schedule.h"

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace otodus::training {

/// How windows of the training tokens become samples. All are functions of the seed and the
/// sample's number, so a run can go on anywhere.
enum class DataOrder {
  Random,     ///< a window that starts anywhere
  Shuffled,   ///< windows side by side, each once per pass, in an order of its own per pass
  Sequential, ///< windows side by side, in order
};

/// What happens when a loss or a gradient is NaN or infinite.
enum class NotFinitePolicy { Stop, Skip };

struct TrainConfig {
  // [model]: a preset or fields of config.json, or (from) those of a checkpoint.
  formats::ModelConfig model;
  std::string from;                ///< checkpoint folder to start from, "": random weights
  std::vector<std::string> frozen; ///< patterns (* and ?) of parameters that are not trained

  // [data]
  std::vector<std::string> files;           ///< training data
  std::vector<std::string> validationFiles; ///< if empty, the last part of `files`
  std::string format;                       ///< "text", "jsonl", "tokens"; "": by file name
  std::string field = "text";               ///< of a jsonl object
  double validationFraction = 0.1;          ///< without validation files
  DataOrder order = DataOrder::Random;

  // [train]
  int64_t steps = 0, batch = 0, length = 0; ///< must be given
  int64_t accumulate = 1;                   ///< batches whose gradients make one step
  uint64_t seed = 1;
  std::string precision = "f32"; ///< of the computation; weights and moments are f32
  std::string target = "cpu";
  int64_t memoryBudget = 0; ///< bytes that training may take, 0: no limit
  NotFinitePolicy notFinite = NotFinitePolicy::Stop;

  // [optimizer], [schedule]: spec 6
  double learningRate = 1e-3, beta1 = 0.9, beta2 = 0.98, epsilon = 1e-8, weightDecay = 0.1,
         clip = 1;
  Schedule schedule;

  // [evaluation]
  int64_t evaluateEvery = 250; ///< steps; 0: only at the end
  int64_t window = 0;          ///< steps from a fresh state; 0: `length`
  int64_t evaluateBatch = 16;  ///< windows at once

  // [checkpoint]
  int64_t checkpointEvery = 250; ///< steps; 0: only at the end and when interrupted
  int64_t keep = 3;              ///< newest checkpoints that stay

  /// Reads the text of a configuration. One error (Code::Input) lists everything that is
  /// wrong with it, each as "file:line:column: …": syntax, unknown keys (with the nearest
  /// known one), wrong types, values out of range, contradictions. `overrides` are pairs
  /// (file name for messages, TOML text) that are read after it, key by key, e.g. from
  /// --set. Relative paths stay as they are.
  static Result<TrainConfig> parse(std::string_view text, const std::string &filename,
                                   const std::vector<std::string> &overrides = {});
  static Result<TrainConfig> load(const std::string &path,
                                  const std::vector<std::string> &overrides = {});

  /// What decides which numbers come out, one "key = value" per line in a fixed order: two
  /// runs continue each other if it is equal. Without folders, intervals, target.
  std::string fingerprint() const;
  /// Where two fingerprints differ: "key: old, now new; …".
  static std::string difference(const std::string &before, const std::string &now);

  /// Positions of one step: batch * length * accumulate.
  int64_t positionsPerStep() const { return batch * length * accumulate; }
};

/// "8GB", "8 GiB", "512MB", "1000000": bytes. B, kB, MB, GB, TB are powers of 1000, KiB, MiB, GiB, TiB
/// of 1024. Code::Usage for another form, and for less than a byte or more than 2^60.
Result<int64_t> parseBytes(std::string_view text);

/// Whether `name` matches `pattern`, in which * stands for any characters and ? for one.
bool matchesPattern(std::string_view name, std::string_view pattern);

} // namespace otodus::training

//===- TrainingBackend.h - What a training loop asks of a model ------------===//
//
// Losses, gradients and optimizer steps of one model, whatever computes them. The loop
// (lib/Training) knows no more than this; `Trainer` (Trainer.h) runs compiled code.
//
//===----------------------------------------------------------------------===//

#pragma once

#include "otodus/Formats/Status.h"

#include <cstdint>
#include <string>
#include <vector>

namespace otodus::runtime {

/// A trained tensor; `shape` as in the checkpoint (spec 2).
struct TrainedTensor {
  std::string name;
  std::vector<int64_t> shape;
  int64_t elements() const {
    int64_t product = 1;
    for (int64_t extent : shape)
      product *= extent;
    return product;
  }
};

/// Sequences to learn from or to be judged by. All vectors are [batch, length], row-major.
struct TokenBatch {
  int64_t batch = 0, length = 0;
  std::vector<int32_t> tokens;
  std::vector<int32_t> targets; ///< what follows each token; -100: not counted (spec 3.8)
  /// Non-zero where a document starts: everything carried is fresh from there on. The first
  /// step of a row always starts fresh.
  std::vector<uint8_t> starts;
  /// What dropout's masks are drawn from (docs/Training.md): the run's seed, the training step
  /// (below 2^31), and the number of the first sequence among those of the step.
  uint64_t seed = 0;
  int64_t step = 0, firstSample = 0;
};

/// Sum of the negative log-likelihoods (nats) of the targets that count, and how many they are.
struct LossSum {
  double sum = 0;
  int64_t count = 0;
};

/// The global L2 norm of all gradients of parameters that are not frozen (spec 6).
struct GradientNorm {
  double norm = 0;
  /// First parameter, in their order, whose gradient has a NaN or Inf; "" if all are finite.
  std::string notFinite;
};

/// AdamW and clipping (spec 6).
struct OptimizerStep {
  int64_t t = 1;             ///< 1, 2, …: steps taken, this one included
  double learningRate = 0;   ///< of this step
  double clip = 1;           ///< global norm above which gradients are scaled down; 0: never
  double norm = 0;           ///< of the gradients, from gradientNorm()
  double beta1 = 0.9, beta2 = 0.98, epsilon = 1e-8, weightDecay = 0.1;
};

enum class TrainedValue : uint8_t { Weight, Gradient, FirstMoment, SecondMoment };

/// A model under training. Not thread-safe. Results do not depend on the number of threads.
class TrainingBackend {
public:
  virtual ~TrainingBackend() = default;

  /// In a fixed order. Buffers (rope.freqs, priors of TimestepNorms) are not among them.
  virtual const std::vector<TrainedTensor> &parameters() const = 0;

  /// Parameters that steps leave alone; one entry per parameter.
  virtual Status freeze(const std::vector<bool> &frozen) = 0;

  /// Adds `scale` times the gradient of the batch's loss sum to the gradients.
  /// Code::Input for a token or target outside the vocabulary.
  virtual Result<LossSum> accumulate(const TokenBatch &batch, double scale) = 0;
  /// The loss only, without dropout.
  virtual Result<LossSum> loss(const TokenBatch &batch) = 0;

  virtual Result<GradientNorm> gradientNorm() = 0;
  /// Clips, takes one step of AdamW and sets the gradients to zero.
  virtual Status step(const OptimizerStep &options) = 0;
  /// Sets the gradients to zero without a step.
  virtual Status dropGradients() = 0;

  /// Values of parameter `index`, row-major, its number of elements.
  virtual Status read(TrainedValue value, size_t index, float *out) = 0;
  virtual Status write(TrainedValue value, size_t index, const float *values) = 0;
};

} // namespace otodus::runtime

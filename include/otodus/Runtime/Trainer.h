//===- Trainer.h - Training with compiled code -----------------------------===//
//
// Runs the functions `loss`, `gradients`, `norm` and `adamw` of a training artefact
// (docs/Training.md has the contract) and owns weights, gradients and moments.
//
//===----------------------------------------------------------------------===//

#pragma once

#include "otodus/Runtime/Model.h"
#include "otodus/Runtime/Session.h"
#include "otodus/Runtime/ThreadPool.h"
#include "otodus/Runtime/TrainingBackend.h"

#include <memory>

namespace otodus::runtime {

struct TrainerOptions {
  /// Null: a pool of its own with one thread per processor.
  std::shared_ptr<ThreadPool> pool;
  /// Longest piece that is run at once, in steps. A row of several pieces costs one more
  /// forward of all but its last piece and keeps the activations of one piece only.
  int64_t maxPiece = int64_t(1) << 31;
  /// Which device to open, by DeviceOptions::target; "": what the artefact has code for.
  DeviceOptions device;
  /// Functions in place of the artefact's code, for tests.
  std::shared_ptr<const Image> image;
};

/// Bytes a trainer has allocated.
struct TrainerMemory {
  int64_t arenas = 0;   ///< weights, gradients, moments, all f32
  int64_t prepared = 0; ///< weights as kernels read them
  int64_t state = 0;    ///< states, their gradients, and those kept between pieces
  int64_t scratch = 0;  ///< activations and what is saved of them
};

class Trainer final : public TrainingBackend {
public:
  /// Weights start as `weights` has them, moments as zero. Code::Input if the artefact has no
  /// training functions; errors of Model::open.
  static Result<std::unique_ptr<Trainer>> create(formats::Artefact artefact, WeightSource &weights,
                                                 const TrainerOptions &options = {});
  ~Trainer() override;

  const std::vector<TrainedTensor> &parameters() const override;
  Status freeze(const std::vector<bool> &frozen) override;
  Result<LossSum> accumulate(const TokenBatch &batch, double scale) override;
  Result<LossSum> loss(const TokenBatch &batch) override;
  Result<GradientNorm> gradientNorm() override;
  Status step(const OptimizerStep &options) override;
  Status dropGradients() override;
  Status read(TrainedValue value, size_t index, float *out) override;
  Status write(TrainedValue value, size_t index, const float *values) override;

  const Model &model() const;
  TrainerMemory memory() const;
  /// Time per launch since profiling was switched on, as Session::profile.
  void setProfiling(bool on);
  std::vector<LaunchProfile> profile() const;

private:
  struct Impl;
  explicit Trainer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

} // namespace otodus::runtime

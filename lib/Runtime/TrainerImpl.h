//===- TrainerImpl.h - What a trainer holds --------------------------------===//
//
// Shared by Trainer.cpp, which cuts batches into pieces and takes steps, and TrainerMemory.cpp,
// which binds functions to memory and runs them. All memory is the device's; where that is not the
// host's, what goes in and out is copied.
//
//===----------------------------------------------------------------------===//

#pragma once

#include "LaunchMaps.h"
#include "MemoryPlan.h"
#include "StateLayout.h"
#include "otodus/Runtime/Session.h"
#include "otodus/Runtime/Trainer.h"

#include <map>
#include <tuple>
#include <vector>

namespace otodus::runtime {

/// Steps [begin, begin + length) of all rows, run at once.
struct TrainedPiece {
  int64_t begin = 0, length = 0;
  std::vector<int64_t> fresh; ///< rows that start a document with it
};

struct Trainer::Impl {
  /// Arenas as formats::Buffer numbers them.
  enum { kWeights, kGradients, kFirstMoment, kSecondMoment, kSquares, kArenas };

  TrainerOptions options;
  std::shared_ptr<const Model> model;
  std::shared_ptr<Device> device;
  std::shared_ptr<ThreadPool> pool;
  std::unique_ptr<Stream> stream;
  std::vector<TrainedTensor> parameters;
  std::vector<bool> frozen;
  std::vector<std::vector<float>> frozenWeights; ///< of frozen parameters, else empty
  Memory arena[kArenas], scalars;
  /// The weight arena by names, where the host may read it: the arena itself, or `hostWeights`.
  MemoryWeights masters;
  std::vector<float> hostWeights;
  bool stale = false; ///< prepared weights are older than the arena
  /// `pieceFunction` is the loss as `gradients` sees it: with dropout, if the model has any.
  const formats::Function *lossFunction = nullptr, *pieceFunction = nullptr,
                          *gradientFunction = nullptr, *normFunction = nullptr,
                          *stepFunction = nullptr;
  int64_t noises = 0; ///< calls with noise of their own; it lies behind the scalars, 64 bytes each

  // State of `batch` sequences: states, then positions.
  int64_t batch = 0, stateBytes = 0, keptBytes = 0;
  Memory state, stateGradients, stateBefore, kept;
  std::vector<std::byte *> states, gradientsOfStates;
  std::vector<std::byte *> statesBefore; ///< empty if `gradients` computes nothing again
  std::vector<std::vector<std::byte>> freshState; ///< of one sequence, per state; empty: zeros
  std::vector<int64_t> positions;
  int64_t *devicePositions = nullptr; ///< in `state`

  /// A launch with everything chosen.
  struct Step {
    const formats::Launch *launch = nullptr;
    const Kernel *kernel = nullptr;
    int64_t items = 0;
    size_t firstPointer = 0;
    size_t profile = 0;
    std::vector<MapBytes> maps;
  };
  struct Bound {
    const formats::Function *function = nullptr;
    std::vector<Step> steps;
    std::vector<void *> pointers, buffers;
    std::vector<std::byte *> inputs, outputs; ///< on the device
    /// Where the host writes inputs and reads outputs: the same, or in `staging`.
    std::vector<std::byte *> hostInputs, hostOutputs;
    Memory arguments; ///< apart from scratch, where integers would be read as numbers
    Memory staging;
    Memory own;       ///< Traits::checksMemory: its scratch memory
  };
  std::map<std::tuple<const formats::Function *, int64_t, int64_t>, Bound> bounds;
  Memory scratch;
  bool profiling = false;
  std::vector<LaunchProfile> profiles;
  std::map<std::tuple<const formats::Launch *, size_t>, size_t> profileIndex;

  const formats::Program &program() const { return model->program(); }
  const Device::Traits &traits() const { return device->traits(); }
  float *arenaData(int which) const { return reinterpret_cast<float *>(arena[which].data()); }
  float *at(TrainedValue value, size_t index) const {
    int which = value == TrainedValue::Weight        ? kWeights
                : value == TrainedValue::Gradient    ? kGradients
                : value == TrainedValue::FirstMoment ? kFirstMoment
                                                     : kSecondMoment;
    return arenaData(which) + program().parameters[index].offset;
  }
  int64_t bytesOfState(size_t i) const { return program().states[i].bytes() * batch; }
  /// How gradients of states lie; empty until a step needs them.
  std::vector<formats::State> stateGradientTypes;

  // Copies to and from the device, done on return.
  Status put(void *to, const void *from, size_t bytes);
  Status get(void *to, const void *from, size_t bytes);
  Status clear(void *what, size_t bytes);
  /// Zero-filled device memory that is one buffer, `name`.
  Result<Memory> allocate(int64_t bytes, const std::string &name);

  Status start(WeightSource &weights);
  Status refresh(const std::vector<const std::byte *> &prepared);
  Status setBatch(int64_t newBatch, const std::vector<std::vector<double>> &initial);
  Status makeStates(const std::vector<formats::State> &types, int64_t sequences, Memory &memory,
                    const char *prefix, std::vector<std::byte *> &addresses);
  /// Memory of `batch` for going backward, which an evaluation does not need.
  Status addGradientsOfStates();
  Status place(const formats::Function &function, int64_t length, const FunctionMemory &memory,
               Bound &bound, const std::vector<const std::byte *> &prepared);
  Result<Bound *> bind(const formats::Function &function, int64_t length,
                       const std::vector<const std::byte *> &prepared);
  Status run(Bound &bound, int64_t sequences, int64_t length);
  /// All states to `kept`'s slot, or back.
  Status keep(int64_t slot);
  Status restore(int64_t slot);
  /// Fills what BufferKind::StateBefore binds.
  Status keepBefore();
  std::vector<TrainedPiece> cut(const TokenBatch &tokens) const;
  Status startDocument(int64_t row);
  /// Fills the noise of every call.
  Status setNoise(const TokenBatch &tokens);
  Result<LossSum> runPiece(const formats::Function &function, const TokenBatch &tokens,
                           const TrainedPiece &piece,
                           const std::vector<const std::byte *> &prepared);
  Status check(const TokenBatch &tokens) const;
};

} // namespace otodus::runtime

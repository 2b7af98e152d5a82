//===- SessionImpl.h - What a session holds --------------------------------===//
//
// Shared by Session.cpp, which runs functions, and SessionState.cpp, which moves the
// carried state in and out.
//
//===----------------------------------------------------------------------===//

#pragma once

#include "LaunchMaps.h"
#include "MemoryPlan.h"
#include "StateLayout.h"
#include "otodus/Runtime/Sampling.h"
#include "otodus/Runtime/Session.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

namespace otodus::runtime {

struct Session::Impl {
  /// A launch with what does not change from call to call.
  struct Step {
    const formats::Launch *launch = nullptr;
    std::vector<const Kernel *> kernels; ///< one per variant
    size_t firstPointer = 0;             ///< of its buffers in Plan::pointers
    // For Plan::length:
    bool runs = true; ///< false: a joint launch does its work, or it is one with too many rows
    size_t variant = 0;
    int64_t items = 0;
    std::vector<MapBytes> maps;
    // Profile, per variant:
    std::vector<int64_t> calls, nanoseconds;
  };

  /// What a recording was made of; another piece needs another.
  struct RecordingKey {
    int64_t length = 0;
    std::vector<bool> outputs; ///< which are read back
    bool operator==(const RecordingKey &) const = default;
  };

  /// A function bound to this session's memory.
  struct Plan {
    const formats::Function *function = nullptr;
    std::vector<Step> steps;
    std::vector<void *> pointers;
    std::vector<void *> buffers; ///< on the device, one per Function::buffers
    std::vector<std::byte *> inputs, outputs; ///< on the device
    /// Where the host writes inputs and reads outputs: the same, or in `staging`.
    std::vector<std::byte *> hostInputs, hostOutputs;
    FunctionMemory memory; ///< where inputs and outputs lie
    int64_t capacity = 0; ///< steps that the bound memory has room for, 0: not bound
    int64_t length = 0;   ///< steps for which kernels, items and maps are chosen, 0: none
    Memory own; ///< its scratch memory, where it is not shared: see bindAll and bind
    std::unique_ptr<Recording> recording;
    RecordingKey recorded, last; ///< of `recording`; of the last piece
  };

  std::shared_ptr<const Model> model;
  SessionOptions options;
  std::shared_ptr<ThreadPool> pool;
  std::unique_ptr<Stream> stream;
  int64_t batch = 1;
  Status failed; ///< of the device: what memory holds is unknown until `reset`

  Memory state; ///< all states and the positions as kernels see them
  std::vector<std::byte *> states;
  int64_t *devicePositions = nullptr;
  int64_t *hostPositions = nullptr; ///< the same, or in `staging`
  std::vector<int64_t> positions;
  Sampling sampling;
  Memory samplingMemory;
  int32_t *deviceSampling = nullptr; ///< its words; null if no function samples

  /// Gradients of weights and states, and the scalars; allocated when they are asked for.
  Memory training;
  float *gradients = nullptr, *scalars = nullptr;
  std::vector<std::byte *> stateGradients;
  std::vector<formats::State> stateGradientTypes;

  Memory scratch; ///< shared by all functions, which never run at the same time
  /// Positions, then inputs and outputs; as large as the functions that ran so far need. Nothing
  /// if the device shares host memory.
  Memory staging;
  std::vector<Plan> plans;
  int64_t peak = 0;
  bool profiling = false;

  const formats::Artefact &artefact() const { return model->artefact(); }
  const formats::Program &program() const { return model->program(); }
  const Device::Traits &traits() const { return model->device().traits(); }

  // Memory and launches of a function.
  Status bind(Plan &plan, int64_t length, const std::vector<const std::byte *> &prepared);
  Status bindAll(const std::vector<const std::byte *> &prepared);
  Status bindStaging(Plan &plan);
  Status place(Plan &plan, const FunctionMemory &memory, Memory &block, int64_t length,
               const std::vector<const std::byte *> &prepared);
  Status choose(Plan &plan, int64_t length);
  int64_t pieceLimit(const formats::Function &function) const;

  // Running.
  Status runPiece(Plan &plan, int64_t length, const std::vector<bool> &outputs);
  Status enqueue(Plan &plan, int64_t length, const std::vector<bool> &outputs);
  void note();

  Status allocateTraining();
  Status writeSampling();

  // Carried state.
  Status allocateState(const std::vector<std::vector<double>> &initial);
  Status resetState(const std::vector<std::vector<double>> &initial, bool alreadyZero);
  /// The first `count` elements of sequence b's state `s`, row-major, of which `memory` has those
  /// of all sequences. The session stays as it was.
  Status fetch(const formats::State &s, const std::byte *memory, int64_t b, int64_t count,
               void *logical) const;
  /// Replaces that state by `count` elements and zeros.
  Status store(const formats::State &s, std::byte *memory, int64_t b, const void *logical,
               int64_t count);
  /// State `s` of all sequences in `memory`, in or out; or its gradient.
  Result<Tensor> read(const formats::State &s, const std::byte *memory) const;
  Status write(const formats::State &s, std::byte *memory, const TensorView &value);
  /// The number of a state. Code::Usage if there is none.
  Result<size_t> findState(const std::string &name) const;

  /// Entries of an open chunk that mean something, of sequence b.
  int64_t openCount(const formats::State &state, int64_t b) const {
    return state.shape.empty() || state.shape[0] == 0 ? 0 : positions[b] % state.shape[0];
  }
  /// Elements of sequence b's state that mean something: the first so many.
  int64_t meaningful(const formats::State &state, int64_t b) const {
    return state.openChunk ? openCount(state, b) * elementsPerEntry(state) : elementsOf(state);
  }
  int64_t modelChunk() const {
    for (const formats::State &state : program().states)
      if (state.openChunk && !state.shape.empty())
        return state.shape[0];
    return 0;
  }
};

} // namespace otodus::runtime

//===- SessionImpl.h - What a session holds --------------------------------===//
//
// Shared by Session.cpp, which runs functions, and SessionState.cpp, which moves the
// carried state in and out.
//
//===----------------------------------------------------------------------===//

#pragma once

#include "StateLayout.h"
#include "otodus/Runtime/Session.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

namespace otodus::runtime {

/// The next multiple of `unit`.
inline int64_t roundUp(int64_t value, int64_t unit) { return (value + unit - 1) / unit * unit; }

inline const char *nameOf(formats::DType dtype) {
  switch (dtype) {
  case formats::DType::F32:
    return "f32";
  case formats::DType::BF16:
    return "bf16";
  case formats::DType::F64:
    return "f64";
  case formats::DType::I64:
    return "i64";
  case formats::DType::I32:
    return "i32";
  case formats::DType::Bool:
    return "bool";
  }
  return "?";
}

/// The element of an integer array, widened.
inline int64_t integerAt(formats::DType dtype, const void *data, int64_t index) {
  switch (dtype) {
  case formats::DType::I64:
    return static_cast<const int64_t *>(data)[index];
  case formats::DType::I32:
    return static_cast<const int32_t *>(data)[index];
  default:
    return static_cast<const uint8_t *>(data)[index];
  }
}

struct Session::Impl {
  /// A launch with what does not change from call to call.
  struct Step {
    const formats::Launch *launch = nullptr;
    std::vector<OtodusKernel> kernels; ///< one per variant
    size_t firstPointer = 0;           ///< of its buffers in Plan::pointers
    // For Plan::length:
    size_t variant = 0;
    int64_t items = 0;
    // Profile, per variant:
    std::vector<int64_t> calls, nanoseconds;
  };

  /// A function bound to this session's memory.
  struct Plan {
    const formats::Function *function = nullptr;
    std::vector<Step> steps;
    std::vector<void *> pointers;
    std::vector<std::byte *> inputs, outputs;
    int64_t capacity = 0; ///< steps that the bound memory has room for, 0: not bound
    int64_t length = 0;   ///< steps for which kernels and items are chosen
  };

  std::shared_ptr<const Model> model;
  SessionOptions options;
  std::shared_ptr<ThreadPool> pool;
  int64_t batch = 1;

  Memory state; ///< all states and the positions as kernels see them
  std::vector<std::byte *> states;
  int64_t *devicePositions = nullptr;
  std::vector<int64_t> positions;

  Memory scratch; ///< shared by all functions, which never run at the same time
  std::vector<Plan> plans;
  int64_t peak = 0;
  bool profiling = false;

  const formats::Artefact &artefact() const { return model->artefact(); }
  const formats::Program &program() const { return model->program(); }

  Status allocateState(const std::vector<std::vector<double>> &initial);
  void resetState(const std::vector<std::vector<double>> &initial, bool alreadyZero);
  Result<int64_t> layOut(Plan &plan, int64_t length, std::byte *base,
                         const std::vector<const std::byte *> &prepared);
  Status bind(Plan &plan, int64_t length, const std::vector<const std::byte *> &prepared);
  void choose(Plan &plan, int64_t length);
  int64_t pieceLimit(const formats::Function &function) const;
  void runPiece(Plan &plan, int64_t length);
  void note() { peak = std::max(peak, static_cast<int64_t>(state.size() + scratch.size())); }

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

//===- Session.h - Streams through a model ---------------------------------===//
//
// Owns what sequences carry from call to call (spec 5), and the scratch memory.
//
//===----------------------------------------------------------------------===//

#pragma once

#include "otodus/Formats/Artefact.h"
#include "otodus/Formats/Status.h"
#include "otodus/Runtime/Model.h"
#include "otodus/Runtime/Sampling.h"
#include "otodus/Runtime/Tensor.h"

#include <map>
#include <memory>
#include <string>
#include <vector>

namespace otodus::runtime {

struct SessionOptions {
  /// Sequences that advance together.
  int64_t batch = 1;
  /// Longest piece of a call that is run at once, in steps: what bounds scratch
  /// memory. Changes results by rounding only. 0: what suits the device.
  int64_t maxPiece = 0;
  /// Null: a pool of its own with one thread per processor.
  std::shared_ptr<ThreadPool> pool;
};

/// Time spent in one variant of a launch of the plan, all calls together.
struct LaunchProfile {
  std::string function, launch;
  int64_t rowTile = 0; ///< of the variant (formats::Variant::rowTile)
  int64_t calls = 0;
  int64_t nanoseconds = 0;
};

/// Bytes a session has allocated.
struct SessionMemory {
  int64_t state = 0;   ///< carried state, spec 5's figure plus padding
  int64_t scratch = 0; ///< scratch and argument buffers
  int64_t peak = 0;    ///< most of state + scratch at any time
};

/// `batch` streams through one model. Not thread-safe; sessions that share a model
/// or a pool may be used from different threads.
///
/// Life:  create -> (run | reset | save | restore | fork)* -> destroy
class Session {
public:
  /// Code::Usage for a batch below 1 or a negative piece, Code::Device for lack of memory: on a device with
  /// memory of its own everything the session will ever need is counted and allocated here.
  static Result<std::unique_ptr<Session>> create(std::shared_ptr<const Model> model,
                                                 const SessionOptions &options = {});
  ~Session();
  Session(const Session &) = delete;
  Session &operator=(const Session &) = delete;

  const Model &model() const;
  ThreadPool &pool() const;
  int64_t batch() const;
  /// SessionOptions::maxPiece as it is in use.
  int64_t maxPiece() const;

  /// Runs `function` over the next `length` steps of every sequence; length is the
  /// second extent of the inputs. Inputs and outputs are row-major:
  ///   Rows [batch, length, trailing...], LastRows [batch, 1, trailing...],
  ///   Steps [batch, length].
  /// f32 and bf16 are converted into each other (round to nearest even), i64 to i32.
  /// All inputs must be given; outputs that are not given are not stored. With
  /// length 0 nothing happens and LastRows outputs stay as they are.
  /// The call is cut along time: no piece crosses a chunk boundary of any sequence
  /// or is longer than maxPiece.
  /// Code::Input for what a caller can get wrong; nothing has then changed. Code::Device or
  /// Code::Check if the device failed: what the session holds is then unknown, and calls return
  /// the same error until `reset`.
  Status run(const std::string &function, const std::map<std::string, TensorView> &inputs,
             const std::map<std::string, MutableTensorView> &outputs);

  /// How functions with an output "token" (`mega.sample`, i32 [batch, 1, 1]) choose from now on;
  /// greedy at first. Their tokens are for `checkSampled`. Kept by `reset` and passed on by `fork`;
  /// no part of a saved state. Code::Usage for options out of range.
  Status setSampling(const Sampling &sampling);

  /// Steps each sequence has seen since its start; [batch].
  const std::vector<int64_t> &positions() const;
  /// Sets where the sequences stand (for tests and windows); values >= 0, [batch].
  Status setPositions(const std::vector<int64_t> &positions);

  /// Back to fresh sequences; keeps the memory. Also after an error of the device, unless the
  /// device is lost: the next `run` then says so again.
  void reset();
  /// Another session with the same state, on the same pool.
  Result<std::unique_ptr<Session>> fork() const;

  /// Writes the state to a file. Code::File / Code::Device if that fails.
  Status save(const std::string &path) const;
  /// Reads a state file of this model. Code::File if it is of another model, dtype,
  /// version or batch, or damaged; the session is then as it was.
  Status restore(const std::string &path);

  /// A state by its name, [batch, logical shape...]; floats as F32, integers as I64.
  /// Entries of an open chunk beyond (position mod chunk) are 0. Code::Usage if
  /// there is no such state.
  Result<Tensor> state(const std::string &name) const;
  /// Sets a state from such a tensor (F32, BF16, F64 for floats; I64, I32 for integers).
  Status setState(const std::string &name, const TensorView &value);

  //===--------------------------------------------------------------------===//
  // Gradients (docs/Training.md), for checks of single functions; training is Trainer's
  //===--------------------------------------------------------------------===//

  /// Runs `forward` and then, against time, `gradients` over the next steps: `forward` over all
  /// pieces but the last, then `gradients` over all, from the last to the first, each from the
  /// state before it. Inputs and outputs are those of `gradients`; inputs that `forward` knows
  /// are passed to it too. Gradients of weights are added to; those of states, which are as
  /// `setStateGradient` left them, zero otherwise, become those of the state before the call.
  /// States end as after one forward call. Code::Input for what a caller can get wrong.
  Status differentiate(const std::string &forward, const std::string &gradients,
                       const std::map<std::string, TensorView> &inputs,
                       const std::map<std::string, MutableTensorView> &outputs);
  /// The gradient of a weight so far, in its shape. Code::Usage if it is not trained.
  Result<Tensor> gradient(const std::string &weight) const;
  /// As `state` and `setState`, for the gradient of a state.
  Result<Tensor> stateGradient(const std::string &name) const;
  Status setStateGradient(const std::string &name, const TensorView &value);
  /// Every gradient back to zero.
  Status zeroGradients();
  /// One of the numbers that training functions read (formats::BufferKind::Scalars).
  Status setScalar(int64_t index, float value);

  SessionMemory memory() const;

  /// Accumulate time per launch from now on.
  void setProfiling(bool on);
  /// In the order of the plan; launches and variants that never ran are left out.
  std::vector<LaunchProfile> profile() const;

private:
  struct Impl;
  explicit Session(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

} // namespace otodus::runtime

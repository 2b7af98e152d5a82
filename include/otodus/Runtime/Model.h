//===- Model.h - A compiled model, ready to run ----------------------------===//
//
// What all sessions of a model share: the plan, code and prepared weights.
//
//===----------------------------------------------------------------------===//

#pragma once

#include "otodus/Formats/Artefact.h"
#include "otodus/Formats/ArtefactFile.h"
#include "otodus/Formats/Status.h"
#include "otodus/Runtime/Device.h"
#include "otodus/Runtime/Tensor.h"
#include "otodus/Runtime/ThreadPool.h"
#include "otodus/Runtime/Weights.h"

#include <map>
#include <memory>
#include <string>
#include <vector>

namespace otodus::runtime {

struct OpenOptions {
  /// Threads that prepare the weights; null: a pool of its own for that time.
  std::shared_ptr<ThreadPool> pool;
  /// Which device to open, by DeviceOptions::target; "": what the artefact has code for.
  DeviceOptions device;
  /// A device that is open already, instead of `device`.
  std::shared_ptr<Device> openDevice;
  /// The sessions that will be made: their memory is counted before weights are prepared, so that
  /// a model that does not fit is refused at once. 0: none.
  int64_t sessions = 0, batch = 1, maxPiece = 0;
  /// Functions to use in place of the artefact's code, for tests.
  std::shared_ptr<const Image> image;
  /// Prepared bytes that are used where they lie, per program of the artefact, one per
  /// Program::prepared or null; empty for none. `keepAlive` keeps them readable as long as the model lives.
  std::vector<std::vector<const std::byte *>> embedded;
  std::shared_ptr<const void> keepAlive;
};

/// Immutable once open; may be shared by any number of sessions on any threads.
class Model {
public:
  /// `weights` may be null if every prepared buffer is embedded or needs no tensor.
  /// It is read only during this call. Errors: Code::Target (features this machine
  /// lacks), Code::File (tensors missing or of other shapes; a plan that refers to
  /// things it does not have), Code::Device (memory: what is needed and what is free).
  static Result<std::shared_ptr<const Model>>
  open(formats::Artefact artefact, WeightSource *weights, const OpenOptions &options = {});

  /// The same of an open file; weights it embeds are used where they are mapped.
  static Result<std::shared_ptr<const Model>>
  open(const formats::ArtefactFile &file, WeightSource *weights, const OpenOptions &options = {});

  /// Opens an artefact file. Weights come from its own sections, else from
  /// `weightsPath`, else from the checkpoint the artefact names (beside the artefact
  /// or at the recorded path; its header must be the one the model was compiled from).
  static Result<std::shared_ptr<const Model>> openFile(const std::string &path,
                                                       const std::string &weightsPath = "",
                                                       const OpenOptions &options = {});
  ~Model();

  /// The plan. The code's bytes have moved to the device: Code::blob is empty.
  const formats::Artefact &artefact() const { return artefact_; }
  /// The program in use: plan, prepared weights and states.
  const formats::Program &program() const { return artefact_.programs[programIndex_]; }
  Device &device() const { return *device_; }
  /// Null if there is none.
  const formats::Function *function(const std::string &name) const;
  /// The target of the code in use, e.g. "cpu:x86-64-v4"; "native" for OpenOptions::image.
  const std::string &target() const { return target_; }

  /// Bytes of the weights in memory (embedded ones in the file's pages included).
  int64_t weightBytes() const { return weightBytes_; }
  int64_t codeBytes() const;

  /// Exclusive bound on the token ids of `function`'s input "tokens", 0 if none.
  int64_t vocabulary(const std::string &function = "prefill") const;

private:
  friend class Session;
  friend class Trainer; ///< prepares weights anew after each step
  Model() = default;
  Status prepareWeights(const formats::Program &program,
                        const std::vector<const std::byte *> &embedded, WeightSource *weights,
                        const OpenOptions &options);

  formats::Artefact artefact_;
  size_t programIndex_ = 0;
  std::shared_ptr<Device> device_;
  std::shared_ptr<const Image> image_;
  std::shared_ptr<const void> keepAlive_;
  std::string target_;
  Memory weights_;
  int64_t weightBytes_ = 0;
  std::vector<const std::byte *> prepared_;  ///< one per Program::prepared
  std::vector<std::vector<double>> initial_; ///< per state: fresh value, empty if a constant
  std::map<std::string, size_t> functionIndex_;
};

} // namespace otodus::runtime

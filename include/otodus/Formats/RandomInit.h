//===- RandomInit.h - A model directory without a checkpoint ---------------===//

#pragma once

#include "otodus/Formats/ModelConfig.h"

#include <functional>
#include <map>

namespace otodus::formats {

/// Writes config.json, consolidate_config.json and model.safetensors (F32, all tensors of
/// spec 2 with its initialisers) to the directory `path`, the same bytes for the same
/// configuration and seed on every machine (cema.theta and rope.freqs go through libm's double
/// functions, which may differ between C libraries in the last bit of a float). Tensors are streamed: memory does not grow with
/// the model. The directory appears complete or not at all. init_mode "none" writes zeros.
/// Errors: Code::Input invalid configuration; Code::File `path` exists and is not an empty
/// directory, or cannot be written; Code::Device disk full. `stop` is asked after every few megabytes; an
/// error of it ends the work and is returned.
Status writeRandomModel(const std::string &path, const ModelConfig &config, uint64_t seed,
                        const std::function<Status()> &stop = nullptr);

/// The floating-point tensors of such a model, made when they are asked for: the values that
/// writeRandomModel writes.
class RandomTensors {
public:
  RandomTensors(const ModelConfig &config, uint64_t seed);

  /// All tensors, those of type I64 (which are 0) included.
  const std::vector<ExpectedTensor> &tensors() const { return tensors_; }
  /// Null if there is none of that name.
  const ExpectedTensor *find(const std::string &name) const;
  /// Elements [begin, begin + count) of one of `tensors` that is no count; `begin` is a multiple
  /// of 4. May be called from several threads.
  void fill(const ExpectedTensor &tensor, int64_t begin, int64_t count, float *out) const;

private:
  ModelConfig config_;
  uint64_t seed_;
  std::vector<ExpectedTensor> tensors_;
  std::map<std::string, uint64_t> streams_; ///< by name
};

} // namespace otodus::formats

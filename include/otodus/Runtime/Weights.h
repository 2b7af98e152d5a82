//===- Weights.h - From a checkpoint's tensors to prepared buffers ---------===//
//
// Weights are packed once when a model is opened (or compiled with
// `--weights=embed`), so that kernels read them in the order they use them. The
// kinds and their layouts are formats::PrepareKind.
//
//===----------------------------------------------------------------------===//

#pragma once

#include "otodus/Formats/Artefact.h"
#include "otodus/Formats/ModelConfig.h"
#include "otodus/Formats/Safetensors.h"
#include "otodus/Formats/Status.h"

#include <cstddef>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace otodus::runtime {

class ThreadPool;

/// Where checkpoint tensors come from. Called from one thread at a time.
class WeightSource {
public:
  virtual ~WeightSource() = default;
  /// The tensor; its data stays readable as long as the source lives. Code::File,
  /// naming it, if it is missing.
  virtual Result<formats::Tensor> find(const std::string &name) = 0;
  /// The tensor will not be read for now: its pages may be dropped.
  virtual void release(const std::string &name) {}
  /// For messages: the file's name.
  virtual std::string describe() const { return "the weights"; }
};

/// Tensors in memory, for tests and for programs that make their own weights. Their
/// data must outlive the source.
class MemoryWeights : public WeightSource {
public:
  void add(formats::Tensor tensor) { tensors_[tensor.name] = std::move(tensor); }
  void add(const std::string &name, std::vector<int64_t> shape, const float *data);
  Result<formats::Tensor> find(const std::string &name) override;

private:
  std::map<std::string, formats::Tensor> tensors_;
};

/// The weights of a random model (formats::writeRandomModel), made when they are asked for, so that
/// a model of any size can be measured without a file. `pool` makes them and must outlive the source.
std::unique_ptr<WeightSource> randomWeights(const formats::ModelConfig &config, uint64_t seed,
                                            ThreadPool &pool);

/// A safetensors file, memory-mapped, or the `model.safetensors` of a folder.
/// Code::File if it cannot be read. With `headerHash` (formats::SafetensorsFile) other
/// than "" a file with another header is refused.
Result<std::unique_ptr<WeightSource>> openWeights(const std::string &path,
                                                  const std::string &headerHash = "");

/// Fills `out` (formats::preparedBytes, 64-byte aligned) from the sources. Code::File if a
/// source is missing, is not of floating-point type or has another number of elements
/// than the compiled model wants. bf16 elements are rounded to nearest even.
/// The result does not depend on the pool's size. Calls release() for each source.
Status prepare(const formats::Prepared &prepared, WeightSource &source, ThreadPool &pool,
               std::byte *out);

} // namespace otodus::runtime

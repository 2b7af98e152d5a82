//===- Weights.h - From a checkpoint's tensors to prepared buffers ---------===//
//
// Weights are packed once when a model is opened (or compiled with
// `--weights=embed`), so that kernels read them in the order they use them. The
// kinds and their layouts are formats::PrepareKind.
//
//===----------------------------------------------------------------------===//

#pragma once

#include "otodus/Formats/Artefact.h"
#include "otodus/Formats/Status.h"

#include <cstddef>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace otodus::runtime {

class ThreadPool;

/// Element types a checkpoint's tensors may have.
enum class SourceType : uint8_t { F32, BF16, F16, F64 };

/// A tensor of a checkpoint: row-major, any alignment of at least its element's
/// size, alive as long as the source.
struct SourceTensor {
  SourceType type = SourceType::F32;
  std::vector<int64_t> shape;
  const void *data = nullptr;
};

/// Where checkpoint tensors come from. Called from one thread at a time.
class WeightSource {
public:
  virtual ~WeightSource() = default;
  /// Code::File, naming the tensor, if it is missing or has another element type.
  virtual Result<SourceTensor> find(const std::string &name) = 0;
  /// The tensor will not be read for now: its pages may be dropped.
  virtual void release(const std::string &name) {}
  /// For messages: the file's name.
  virtual std::string describe() const { return "the weights"; }
};

/// Tensors in memory, for tests and for programs that make their own weights. The
/// views' data must outlive the source. Types other than F32, BF16, F64 are refused.
class MemoryWeights : public WeightSource {
public:
  void add(std::string name, SourceTensor tensor) { tensors_[std::move(name)] = std::move(tensor); }
  Result<SourceTensor> find(const std::string &name) override;

private:
  std::map<std::string, SourceTensor> tensors_;
};

/// A safetensors file, memory-mapped. Code::File if it cannot be read.
Result<std::unique_ptr<WeightSource>> openWeights(const std::string &path);

/// Bytes of the prepared buffer, a multiple of 64.
int64_t preparedBytes(const formats::Prepared &prepared);

/// Fills `out` (preparedBytes, 64-byte aligned) from the sources. Code::File if a
/// source is missing or has another number of elements than the compiled model wants.
/// The result does not depend on the pool's size. Calls release() for each source.
Status prepare(const formats::Prepared &prepared, WeightSource &source, ThreadPool &pool,
               std::byte *out);

} // namespace otodus::runtime

//===- RandomWeights.cpp - Weights that are made instead of read -----------===//

#include "otodus/Formats/RandomInit.h"
#include "otodus/Runtime/ThreadPool.h"
#include "otodus/Runtime/Weights.h"

#include <algorithm>

namespace otodus::runtime {

namespace {

class RandomWeights final : public WeightSource {
public:
  RandomWeights(const formats::ModelConfig &config, uint64_t seed, ThreadPool &pool)
      : random_(config, seed), pool_(pool) {}

  Result<formats::Tensor> find(const std::string &name) override {
    const formats::ExpectedTensor *wanted = random_.find(name);
    if (!wanted)
      return Status(Code::File, "a random model has no tensor '" + name + "'");
    formats::Tensor tensor;
    tensor.name = name;
    tensor.type = formats::TensorType::F32;
    tensor.shape = wanted->shape;
    int64_t elements = tensor.elements();
    if (wanted->isCount) { // 0, as are all of them
      static const std::vector<int64_t> zeros(1);
      tensor.type = formats::TensorType::I64;
      tensor.data = reinterpret_cast<const uint8_t *>(zeros.data());
      tensor.bytes = static_cast<uint64_t>(elements) * sizeof(int64_t);
      return elements == 1 ? Result(tensor)
                           : Status(Code::Internal, "tensor '" + name + "' has many counts");
    }
    std::vector<float> &values = alive_[name];
    if (values.empty()) {
      values.resize(static_cast<size_t>(elements));
      constexpr int64_t kPiece = 1 << 16;
      pool_.run((elements + kPiece - 1) / kPiece, [&](int64_t lo, int64_t hi) {
        for (int64_t piece = lo; piece < hi; ++piece)
          random_.fill(*wanted, piece * kPiece, std::min(kPiece, elements - piece * kPiece),
                       values.data() + piece * kPiece);
      });
    }
    tensor.data = reinterpret_cast<const uint8_t *>(values.data());
    tensor.bytes = values.size() * sizeof(float);
    return tensor;
  }
  void release(const std::string &name) override { alive_.erase(name); }
  std::string describe() const override { return "the random weights"; }

private:
  formats::RandomTensors random_;
  ThreadPool &pool_;
  std::map<std::string, std::vector<float>> alive_; ///< until they are released
};

} // namespace

std::unique_ptr<WeightSource> randomWeights(const formats::ModelConfig &config, uint64_t seed,
                                            ThreadPool &pool) {
  return std::make_unique<RandomWeights>(config, seed, pool);
}

} // namespace otodus::runtime

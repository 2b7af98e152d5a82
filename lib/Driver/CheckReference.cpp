//===- CheckReference.cpp - Cases run by the reference ----------------------===//
//
// Knows a case by its kind and configuration; the module text is not looked at.
//
//===----------------------------------------------------------------------===//

#include "CheckStates.h"
#include "otodus/Driver/GoldenCase.h"

namespace otodus::driver {

using reference::Tensor;

namespace {

/// Joins heads: [B, L, H, d] to [B, L, H*d].
Tensor flat(const Tensor &x) {
  Tensor y = x;
  if (y.rank() == 4) {
    y.shape[2] *= y.shape[3];
    y.shape.pop_back();
  }
  return y;
}

class ReferenceSession : public CaseSession {
public:
  ReferenceSession(const GoldenCase &golden, const reference::Model *model, int64_t batch)
      : golden_(golden), model_(model), position_(batch, 0) {
    if (model_)
      modelState_ = model_->freshState(batch);
    else
      // Ops leave what they do not carry unused.
      state_ = reference::freshBlockState(golden.config, batch);
  }

  Status run(const std::vector<CaseInput> &inputs, std::map<std::string, Tensor> &outputs) override;

  Result<Tensor> prefill(const CaseInput &tokens) override {
    std::map<std::string, Tensor> outputs;
    OTODUS_RETURN_IF_ERROR(run({tokens}, outputs));
    const Tensor &logits = outputs.begin()->second;
    return reference::steps(logits, logits.dim(1) - 1, logits.dim(1));
  }

  Result<std::vector<int64_t>> positions() override {
    return model_ ? modelState_.position : position_;
  }

  Result<Tensor> state(const std::string &name) override {
    std::vector<int64_t> *count = nullptr;
    Tensor *value = nullptr;
    OTODUS_RETURN_IF_ERROR(find(name, count, value));
    return count ? countTensor(*count) : *value;
  }

  Status setState(const std::string &name, CaseType, const Tensor &value) override {
    std::vector<int64_t> *count = nullptr;
    Tensor *tensor = nullptr;
    OTODUS_RETURN_IF_ERROR(find(name, count, tensor));
    if (count)
      count->assign(value.data.begin(), value.data.end());
    else
      *tensor = value;
    return {};
  }

private:
  /// Sets one of the two.
  Status find(const std::string &name, std::vector<int64_t> *&count, Tensor *&value) {
    reference::BlockState *block = &state_;
    reference::NormState *norm = &state_.norm;
    if (model_) {
      for (size_t i = 0; i < modelState_.blocks.size(); ++i)
        if (name.starts_with(layerStateName(static_cast<int64_t>(i), "")))
          block = &modelState_.blocks[i];
      norm = name.starts_with("output.") ? &modelState_.finalNorm : &block->norm;
    }
    std::string leaf = name.substr(name.rfind('.') + 1);
    if (leaf == "count")
      count = &norm->count;
    else if (leaf == "mean")
      value = &norm->mean;
    else if (leaf == "variance")
      value = &norm->variance;
    else if (leaf == "h")
      value = &block->h;
    else if (leaf == "keys")
      value = &block->cache.keys;
    else if (leaf == "values")
      value = &block->cache.values;
    else
      return Status(Code::Usage, "there is no state " + name);
    return {};
  }

  const GoldenCase &golden_;
  const reference::Model *model_;
  std::vector<int64_t> position_;
  reference::BlockState state_;
  reference::ModelState modelState_;
};

Status ReferenceSession::run(const std::vector<CaseInput> &inputs,
                             std::map<std::string, Tensor> &outputs) {
  const formats::ModelConfig &config = golden_.config;
  const reference::Parameters &weights = golden_.weights;
  Tensor y;
  Tensor x = flat(inputs[0].value);
  int64_t length = x.dim(1);
  switch (golden_.kind) {
  case CaseKind::TimestepNorm: {
    std::vector<uint8_t> mask;
    if (inputs.size() > 1)
      mask.assign(inputs[1].value.data.begin(), inputs[1].value.data.end());
    y = reference::timestepNorm(x, weights.at("weight"), weights.at("bias"), state_.norm,
                                config.norm_num_groups, config.norm_eps,
                                inputs.size() > 1 ? &mask : nullptr);
    break;
  }
  case CaseKind::Cema:
    y = reference::cema(x, weights.at("alpha"), weights.at("delta"), weights.at("theta"),
                        weights.at("gamma"), weights.at("omega"), state_.h);
    break;
  case CaseKind::Attention: {
    const Tensor &frequencies = weights.at("rope_freqs");
    Tensor k = flat(inputs[1].value), v = flat(inputs[2].value);
    y = reference::chunkAttention(
        reference::rotary(x, frequencies, position_, config.chunk_size, config.num_heads),
        reference::rotary(k, frequencies, position_, config.chunk_size, config.num_heads), v,
        position_, state_.cache);
    break;
  }
  case CaseKind::Ffn:
    y = reference::ffn(x, inputs[1].value, weights, "param.", config.norm_eps);
    break;
  case CaseKind::Block:
    y = reference::block(x, weights, "param.", config, weights.at("rope_freqs"), position_, state_);
    break;
  case CaseKind::Layer:
    y = reference::layer(x, weights, "param.", config, weights.at("rope_freqs"), position_, state_);
    break;
  case CaseKind::Model: {
    Result<Tensor> logits = model_->forward(reference::toTokens(x), modelState_);
    if (!logits.isOk())
      return logits.status();
    y = std::move(*logits);
    break;
  }
  case CaseKind::Sampling:
    return Status(Code::Internal, "sampling is no program");
  }
  for (int64_t &position : position_)
    position += length;
  outputs[outputNames(golden_)[0]] = std::move(y);
  return {};
}

class ReferenceProgram : public CaseProgram {
public:
  ReferenceProgram(const GoldenCase &golden, std::optional<reference::Model> model)
      : golden_(golden), model_(std::move(model)) {}
  Result<std::unique_ptr<CaseSession>> start(int64_t batch, int) override {
    return std::unique_ptr<CaseSession>(
        std::make_unique<ReferenceSession>(golden_, model_ ? &*model_ : nullptr, batch));
  }

private:
  const GoldenCase &golden_;
  std::optional<reference::Model> model_;
};

class ReferenceRunner : public CaseRunner {
public:
  Result<std::unique_ptr<CaseProgram>> compile(const GoldenCase &golden, const std::string &,
                                               const std::string &) override {
    std::optional<reference::Model> model;
    if (golden.kind == CaseKind::Model) {
      Result<reference::Model> made = reference::Model::create(golden.config, golden.weights);
      if (!made.isOk())
        return made.status();
      model = std::move(*made);
    }
    return std::unique_ptr<CaseProgram>(
        std::make_unique<ReferenceProgram>(golden, std::move(model)));
  }
};

} // namespace

std::unique_ptr<CaseRunner> referenceRunner() { return std::make_unique<ReferenceRunner>(); }

} // namespace otodus::driver

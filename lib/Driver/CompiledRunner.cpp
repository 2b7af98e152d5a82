//===- CompiledRunner.cpp - Golden cases through the compiler --------------===//

#include "CompiledRunner.h"
#include "OpenTrainer.h"

#include <algorithm>
#include <cstring>
#include <deque>

namespace otodus::driver {

namespace {

/// An array of doubles in the type the runtime wants.
class Array {
public:
  Array(CaseType type, const reference::Tensor &value) : shape_(value.shape) {
    switch (type) {
    case CaseType::Float: fill<float>(formats::DType::F32, value); break;
    case CaseType::Int64: fill<int64_t>(formats::DType::I64, value); break;
    case CaseType::Int32: fill<int32_t>(formats::DType::I32, value); break;
    case CaseType::Bool: fill<uint8_t>(formats::DType::Bool, value); break;
    }
  }
  runtime::TensorView view() const { return {type_, shape_, bytes_.data()}; }

private:
  template <typename T> void fill(formats::DType type, const reference::Tensor &value) {
    type_ = type;
    bytes_.resize(value.data.size() * sizeof(T));
    for (size_t i = 0; i < value.data.size(); ++i) {
      T element = static_cast<T>(value.data[i]);
      std::memcpy(bytes_.data() + i * sizeof(T), &element, sizeof(T));
    }
  }
  formats::DType type_ = formats::DType::F32;
  std::vector<int64_t> shape_;
  std::vector<std::byte> bytes_;
};

class Session : public CaseSession {
public:
  Session(std::unique_ptr<runtime::Session> session, std::string function, std::string prefill)
      : session_(std::move(session)), function_(std::move(function)),
        prefill_(std::move(prefill)) {}

  Status run(const std::vector<CaseInput> &inputs,
             std::map<std::string, reference::Tensor> &outputs) override {
    return call(function_, inputs, outputs);
  }

  Result<reference::Tensor> prefill(const CaseInput &tokens) override {
    std::map<std::string, reference::Tensor> outputs;
    OTODUS_RETURN_IF_ERROR(call(prefill_, {tokens}, outputs));
    return std::move(outputs["logits"]);
  }

  Result<reference::Tensor> state(const std::string &name) override {
    Result<runtime::Tensor> found = session_->state(name);
    if (!found.isOk())
      return found.status();
    reference::Tensor tensor(found->shape);
    for (int64_t i = 0; i < tensor.size(); ++i)
      tensor[i] = found->dtype == formats::DType::I64 ? double(found->as<int64_t>()[i])
                                                      : double(found->as<float>()[i]);
    return tensor;
  }

  Status setState(const std::string &name, CaseType type, const reference::Tensor &value) override {
    return session_->setState(name, Array(type, value).view());
  }

  Result<std::vector<int64_t>> positions() override { return session_->positions(); }

  Status differentiate(const std::vector<CaseInput> &inputs,
                       std::map<std::string, reference::Tensor> &outputs) override {
    std::deque<Array> arrays;
    std::map<std::string, runtime::TensorView> views;
    int64_t length = 0;
    for (const CaseInput &input : inputs) {
      length = std::max(length, input.value.shape[1]);
      arrays.emplace_back(input.type, input.value);
      views[input.name] = arrays.back().view();
    }
    std::map<std::string, runtime::MutableTensorView> targets;
    std::map<std::string, std::vector<float>> values;
    makeOutputs(*session_->model().function(prefill_), length, targets, values);
    OTODUS_RETURN_IF_ERROR(session_->setScalar(0, 1.0f / float(session_->batch() * length)));
    OTODUS_RETURN_IF_ERROR(session_->differentiate(function_, prefill_, views, targets));
    takeOutputs(targets, values, outputs);
    return Status::ok();
  }
  Result<reference::Tensor> gradient(const std::string &weight) override {
    return asDoubles(session_->gradient(weight));
  }
  Result<reference::Tensor> stateGradient(const std::string &name) override {
    return asDoubles(session_->stateGradient(name));
  }
  Status setStateGradient(const std::string &name, const reference::Tensor &value) override {
    return session_->setStateGradient(name, Array(CaseType::Float, value).view());
  }

private:
  static Result<reference::Tensor> asDoubles(const Result<runtime::Tensor> &found) {
    if (!found.isOk())
      return found.status();
    reference::Tensor tensor(found->shape);
    for (int64_t i = 0; i < tensor.size(); ++i)
      tensor[i] = double(found->as<float>()[i]);
    return tensor;
  }

  /// Room for all outputs of a call of `length` steps that are compared: a chosen token is not.
  void makeOutputs(const formats::Function &function, int64_t length,
                   std::map<std::string, runtime::MutableTensorView> &targets,
                   std::map<std::string, std::vector<float>> &values) {
    for (const formats::Argument &output : function.outputs) {
      if (output.dtype != formats::DType::F32 && output.dtype != formats::DType::BF16)
        continue;
      std::vector<int64_t> shape = {
          session_->batch(), output.kind == formats::ArgumentKind::LastRows ? 1 : length};
      if (output.kind != formats::ArgumentKind::Steps)
        shape.insert(shape.end(), output.trailing.begin(), output.trailing.end());
      int64_t elements = 1;
      for (int64_t extent : shape)
        elements *= extent;
      std::vector<float> &value = values[output.name];
      value.resize(static_cast<size_t>(elements));
      targets[output.name] = {formats::DType::F32, shape, value.data()};
    }
  }
  static void takeOutputs(const std::map<std::string, runtime::MutableTensorView> &targets,
                          std::map<std::string, std::vector<float>> &values,
                          std::map<std::string, reference::Tensor> &outputs) {
    for (const auto &[output, target] : targets) {
      const std::vector<float> &value = values[output];
      outputs[output] =
          reference::Tensor(target.shape, std::vector<double>(value.begin(), value.end()));
    }
  }

  Status call(const std::string &name, const std::vector<CaseInput> &inputs,
              std::map<std::string, reference::Tensor> &outputs) {
    std::deque<Array> arrays;
    std::map<std::string, runtime::TensorView> views;
    int64_t length = 0;
    for (const CaseInput &input : inputs) {
      if (input.value.rank() < 2)
        return Status(Code::Internal, "input '" + input.name + "' has no time");
      length = std::max(length, input.value.shape[1]);
      arrays.emplace_back(input.type, input.value);
      views[input.name] = arrays.back().view();
    }
    const formats::Function *function = session_->model().function(name);
    std::map<std::string, runtime::MutableTensorView> targets;
    std::map<std::string, std::vector<float>> values;
    makeOutputs(*function, length, targets, values);
    OTODUS_RETURN_IF_ERROR(session_->run(name, views, targets));
    takeOutputs(targets, values, outputs);
    return Status::ok();
  }

  std::unique_ptr<runtime::Session> session_;
  std::string function_, prefill_;
};

class Program : public CaseProgram {
public:
  Program(LoadedModel loaded, std::string function, std::string prefill)
      : loaded_(std::move(loaded)), function_(std::move(function)), prefill_(std::move(prefill)) {}

  Result<std::unique_ptr<CaseSession>> start(int64_t batch, int threads) override {
    return startPieces(batch, threads, 0);
  }

  Result<std::unique_ptr<CaseSession>> startPieces(int64_t batch, int threads,
                                                   int64_t maxPiece) override {
    runtime::SessionOptions options;
    if (maxPiece)
      options.maxPiece = maxPiece;
    options.batch = batch;
    options.pool = loaded_.pool;
    if (threads) {
      runtime::ThreadPoolOptions poolOptions;
      poolOptions.threads = threads;
      options.pool = std::make_shared<runtime::ThreadPool>(poolOptions);
    }
    Result<std::unique_ptr<runtime::Session>> session =
        runtime::Session::create(loaded_.model, options);
    if (!session.isOk())
      return session.status();
    return std::unique_ptr<CaseSession>(
        std::make_unique<Session>(std::move(*session), function_, prefill_));
  }

private:
  LoadedModel loaded_;
  std::string function_, prefill_;
};

class Runner : public CaseRunner {
public:
  explicit Runner(const ModelFlags &flags) : flags_(flags) {}

  Result<std::unique_ptr<CaseProgram>> compile(const GoldenCase &golden, const std::string &module,
                                               const std::string &dtype) override {
    runtime::MemoryWeights weights;
    std::vector<std::string> names;
    addWeights(golden, weights, names);
    ModelFlags flags = flags_;
    flags.dtype = dtype;
    Result<LoadedModel> loaded = golden.kind == CaseKind::Model
                                     ? openConfig(golden.config, golden.name, names, weights, flags)
                                     : openModuleText(module, golden.name, weights, flags);
    if (!loaded.isOk())
      return loaded.status();
    std::string function = "forward", prefill;
    if (golden.kind == CaseKind::Model) {
      Result<TokenFunctions> functions = findTokenFunctions(*loaded->model, golden.name);
      if (!functions.isOk())
        return functions.status();
      function = functions->all;
      prefill = functions->last;
    }
    if (!loaded->model->function(function))
      return Status(Code::Internal, golden.name + ": the compiled case has no function @forward");
    if (golden.kind == CaseKind::Model && prefill.empty())
      return Status(Code::Internal, golden.name + ": the compiled model has no function @prefill");
    return std::unique_ptr<CaseProgram>(
        std::make_unique<Program>(std::move(*loaded), std::move(function), std::move(prefill)));
  }

  Result<std::unique_ptr<CaseProgram>> compileGradients(const GoldenCase &golden,
                                                        const std::string &module,
                                                        const std::string &dtype) override {
    runtime::MemoryWeights weights;
    std::vector<std::string> names;
    addWeights(golden, weights, names);
    ModelFlags flags = flags_;
    flags.dtype = dtype;
    flags.training = true;
    bool model = golden.kind == CaseKind::Model;
    Result<LoadedModel> loaded = model
                                     ? openConfig(golden.config, golden.name, names, weights, flags)
                                     : openModuleText(module, golden.name, weights, flags);
    if (!loaded.isOk())
      return loaded.status();
    return std::unique_ptr<CaseProgram>(std::make_unique<Program>(
        std::move(*loaded), model ? "loss" : "forward", "gradients"));
  }

  Result<std::unique_ptr<runtime::TrainingBackend>>
  compileTraining(const GoldenCase &golden, const std::string &dtype) override {
    runtime::MemoryWeights weights;
    std::vector<std::string> names;
    addWeights(golden, weights, names);
    ModelFlags flags = flags_;
    flags.dtype = dtype;
    Result<std::unique_ptr<runtime::Trainer>> trainer =
        openTrainer(golden.config, golden.name, names, weights, flags);
    if (!trainer.isOk())
      return trainer.status();
    return std::unique_ptr<runtime::TrainingBackend>(std::move(*trainer));
  }

private:
  static void addWeights(const GoldenCase &golden, runtime::MemoryWeights &weights,
                         std::vector<std::string> &names) {
    for (const auto &[name, value] : golden.weights) {
      formats::Tensor tensor;
      tensor.name = name;
      tensor.type = formats::TensorType::F64;
      tensor.shape = value.shape;
      tensor.data = reinterpret_cast<const uint8_t *>(value.data.data());
      tensor.bytes = value.data.size() * sizeof(double);
      names.push_back(name);
      weights.add(std::move(tensor));
    }
  }

  ModelFlags flags_;
};

} // namespace

std::unique_ptr<CaseRunner> compiledRunner(const ModelFlags &flags) {
  return std::make_unique<Runner>(flags);
}

} // namespace otodus::driver

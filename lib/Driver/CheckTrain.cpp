//===- CheckTrain.cpp - Training steps of golden cases -----------------------===//

#include "CheckTrain.h"

#include <nlohmann/json.hpp>

#include <cmath>

namespace otodus::driver {

using reference::Tensor;

Status readTraining(const formats::SafetensorsFile &file, const std::string &dtype,
                    GoldenCase &golden, std::set<std::string> &used) {
  if (!file.find("adamw_losses"))
    return {};
  CaseTraining training;
  if (dtype == "bf16") {
    training.measure = Measure::RelativeRms;
    training.tolerance = 4e-2;
  }
  auto read = [&](const std::string &name, Tensor &tensor) -> Status {
    const formats::Tensor *found = file.find(name);
    if (!found)
      return Status(Code::File, "expected a tensor " + name + ", found none");
    Result<Tensor> value = reference::read(*found);
    if (!value.isOk())
      return value.status();
    tensor = std::move(*value);
    used.insert(name);
    return {};
  };
  OTODUS_RETURN_IF_ERROR(read("tokens", training.tokens));
  OTODUS_RETURN_IF_ERROR(read("targets", training.targets));
  OTODUS_RETURN_IF_ERROR(read("adamw_losses", training.losses));
  OTODUS_RETURN_IF_ERROR(read("adamw_grad_norms", training.norms));
  OTODUS_RETURN_IF_ERROR(read("adamw_lrs", training.rates));
  if (training.tokens.rank() != 3 || training.targets.shape != training.tokens.shape ||
      training.rates.size() != training.tokens.dim(0) ||
      training.norms.size() != training.rates.size() ||
      training.losses.size() != training.rates.size() + 1)
    return Status(Code::Input, "expected tokens and targets [steps, batch, length], a rate and a "
                               "norm of every step and one loss more");
  const std::string prefix = "after" + std::to_string(training.rates.size()) + ".";
  for (const formats::Tensor &tensor : file.tensors())
    if (tensor.name.starts_with(prefix))
      OTODUS_RETURN_IF_ERROR(read(tensor.name, training.after[tensor.name.substr(prefix.size())]));
  std::string norms = "after" + std::to_string(training.rates.size()) + "_l2norm";
  auto order = file.metadata().find(norms + "_order");
  if (file.find(norms) && order != file.metadata().end()) {
    Tensor values;
    OTODUS_RETURN_IF_ERROR(read(norms, values));
    nlohmann::json names = nlohmann::json::parse(order->second, nullptr, false);
    if (!names.is_array() || static_cast<int64_t>(names.size()) != values.size())
      return Status(Code::Input, "metadata '" + norms + "_order': expected a name per norm");
    for (size_t i = 0; i < names.size(); ++i)
      if (names[i].is_string())
        training.afterNorms[names[i].get<std::string>()] = values[static_cast<int64_t>(i)];
  }
  golden.training = std::move(training);
  return {};
}

Result<std::vector<TrainingResult>> runTraining(const CaseTraining &training,
                                                runtime::TrainingBackend &backend) {
  int64_t steps = training.tokens.dim(0), batch = training.tokens.dim(1),
          length = training.tokens.dim(2), positions = batch * length;
  auto batchOf = [&](int64_t step) {
    runtime::TokenBatch result;
    result.batch = batch;
    result.length = length;
    for (int64_t i = 0; i < positions; ++i) {
      result.tokens.push_back(static_cast<int32_t>(training.tokens[step * positions + i]));
      result.targets.push_back(static_cast<int32_t>(training.targets[step * positions + i]));
    }
    result.starts.assign(static_cast<size_t>(positions), 0);
    return result;
  };
  std::vector<TrainingResult> results;
  auto scalar = [&](const std::string &label, double found, double expected) {
    results.push_back({label, Tensor({}, {found}), Tensor({}, {expected})});
  };
  for (int64_t step = 0; step < steps; ++step) {
    Result<runtime::LossSum> loss =
        backend.accumulate(batchOf(step), 1.0 / static_cast<double>(positions));
    if (!loss.isOk())
      return loss.status();
    Result<runtime::GradientNorm> norm = backend.gradientNorm();
    if (!norm.isOk())
      return norm.status();
    std::string which = "[" + std::to_string(step) + "]";
    scalar("adamw_losses" + which, loss->sum / static_cast<double>(positions),
           training.losses[step]);
    scalar("adamw_grad_norms" + which, norm->norm, training.norms[step]);
    runtime::OptimizerStep options; // the reference's defaults
    options.t = step + 1;
    options.learningRate = training.rates[step];
    options.norm = norm->norm;
    OTODUS_RETURN_IF_ERROR(backend.step(options));
  }
  Result<runtime::LossSum> loss = backend.loss(batchOf(0));
  if (!loss.isOk())
    return loss.status();
  scalar("adamw_losses[" + std::to_string(steps) + "]", loss->sum / static_cast<double>(positions),
         training.losses[steps]);
  for (size_t i = 0; i < backend.parameters().size(); ++i) {
    const runtime::TrainedTensor &parameter = backend.parameters()[i];
    std::vector<float> values(static_cast<size_t>(parameter.elements()));
    OTODUS_RETURN_IF_ERROR(backend.read(runtime::TrainedValue::Weight, i, values.data()));
    std::string prefix = "after" + std::to_string(steps);
    if (auto after = training.after.find(parameter.name); after != training.after.end())
      results.push_back({prefix + "." + parameter.name,
                         Tensor(parameter.shape, std::vector<double>(values.begin(), values.end())),
                         after->second});
    if (auto norm = training.afterNorms.find(parameter.name); norm != training.afterNorms.end()) {
      double squares = 0;
      for (double value : values)
        squares += value * value;
      scalar(prefix + "_l2norm " + parameter.name, std::sqrt(squares), norm->second);
    }
  }
  return results;
}

} // namespace otodus::driver

//===- ReferenceBackend.h - Training by lib/Reference, for tests -----------===//
//
// Every document of every row is a sequence of its own: what packing must be equal to.
//
//===----------------------------------------------------------------------===//

#pragma once

#include "otodus/Reference/Gradients.h"
#include "otodus/Reference/Optimizer.h"
#include "otodus/Runtime/TrainingBackend.h"

#include <cmath>
#include <limits>

namespace otodus::training {

class ReferenceBackend : public runtime::TrainingBackend {
public:
  /// `parameters` as in a checkpoint of `config`.
  ReferenceBackend(const formats::ModelConfig &config, reference::Parameters parameters)
      : config_(config), values_(std::move(parameters)) {
    for (const formats::ExpectedTensor &expected : formats::expectedTensors(config)) {
      if (expected.optional || expected.isCount)
        continue;
      list_.push_back({expected.name, expected.shape});
      gradients_[expected.name] = m_[expected.name] = u_[expected.name] =
          reference::Tensor(expected.shape);
    }
    frozen_.resize(list_.size());
  }

  const std::vector<runtime::TrainedTensor> &parameters() const override { return list_; }
  Status freeze(const std::vector<bool> &frozen) override {
    frozen_ = frozen;
    return Status::ok();
  }

  Result<runtime::LossSum> accumulate(const runtime::TokenBatch &batch, double scale) override {
    return run(batch, scale, true);
  }
  Result<runtime::LossSum> loss(const runtime::TokenBatch &batch) override {
    return run(batch, 0, false);
  }

  Result<runtime::GradientNorm> gradientNorm() override {
    runtime::GradientNorm result;
    double sum = 0;
    for (size_t i = 0; i < list_.size(); ++i) {
      if (frozen_[i])
        continue;
      for (double g : gradients_[list_[i].name].data) {
        sum += g * g;
        if (!std::isfinite(g) && result.notFinite.empty())
          result.notFinite = list_[i].name;
      }
    }
    result.norm = std::sqrt(sum);
    return result;
  }

  Status step(const runtime::OptimizerStep &o) override {
    reference::AdamWState state;
    state.steps = o.t - 1;
    state.m = m_;
    state.u = u_;
    reference::Parameters gradients;
    double clip = o.clip > 0 ? std::min(1.0, o.clip / (o.norm + 1e-6)) : 1;
    for (size_t i = 0; i < list_.size(); ++i) {
      if (frozen_[i])
        continue;
      reference::Tensor g = gradients_[list_[i].name];
      for (double &value : g.data)
        value *= clip;
      gradients[list_[i].name] = std::move(g);
    }
    reference::adamwStep(values_, gradients, o.learningRate,
                         {o.beta1, o.beta2, o.epsilon, o.weightDecay}, state);
    m_ = state.m;
    u_ = state.u;
    // What a checkpoint keeps is f32; a run that goes on must have the same.
    for (auto *map : {&values_, &m_, &u_})
      for (auto &[name, tensor] : *map)
        for (double &value : tensor.data)
          value = static_cast<float>(value);
    return dropGradients();
  }
  Status dropGradients() override {
    for (auto &[name, tensor] : gradients_)
      std::fill(tensor.data.begin(), tensor.data.end(), 0.0);
    return Status::ok();
  }

  Status read(runtime::TrainedValue value, size_t index, float *out) override {
    const reference::Tensor &tensor = map(value)[list_[index].name];
    for (int64_t i = 0; i < tensor.size(); ++i)
      out[i] = static_cast<float>(tensor[i]);
    return Status::ok();
  }
  Status write(runtime::TrainedValue value, size_t index, const float *values) override {
    reference::Tensor &tensor = map(value)[list_[index].name];
    for (int64_t i = 0; i < tensor.size(); ++i)
      tensor[i] = values[i];
    return Status::ok();
  }

  /// Makes the gradient of parameter `name` NaN in call number `call` of accumulate (from 0).
  void poison(const std::string &name, int64_t call) {
    poisoned_ = name;
    poisonedCall_ = call;
  }

private:
  reference::Parameters &map(runtime::TrainedValue value) {
    return value == runtime::TrainedValue::Weight        ? values_
           : value == runtime::TrainedValue::Gradient    ? gradients_
           : value == runtime::TrainedValue::FirstMoment ? m_
                                                         : u_;
  }

  Result<runtime::LossSum> run(const runtime::TokenBatch &batch, double scale, bool gradients) {
    Result<reference::Model> model = reference::Model::create(config_, values_);
    if (!model.isOk())
      return model.status();
    runtime::LossSum sum;
    for (int64_t row = 0; row < batch.batch; ++row)
      for (int64_t begin = 0, end; begin < batch.length; begin = end) {
        for (end = begin + 1; end < batch.length && !batch.starts[row * batch.length + end];)
          ++end;
        reference::Tokens tokens{1, end - begin, {}}, targets{1, end - begin, {}};
        for (int64_t i = row * batch.length + begin; i < row * batch.length + end; ++i) {
          tokens.ids.push_back(batch.tokens[i]);
          targets.ids.push_back(batch.targets[i]);
          sum.count += batch.targets[i] >= 0;
        }
        if (gradients) {
          reference::Dropout dropout{batch.seed, batch.step, config_.dropout,
                                     config_.hidden_dropout, {}, 0};
          for (int64_t i = begin; i < end; ++i)
            dropout.rowNumbers.push_back((batch.firstSample + row) * batch.length + i);
          Result<reference::LossGradients> part =
              reference::lossGradients(*model, tokens, targets, &dropout);
          if (!part.isOk())
            return part.status();
          double positions = static_cast<double>(end - begin);
          sum.sum += part->loss * positions;
          for (auto &[name, tensor] : gradients_)
            if (auto found = part->gradients.find(name); found != part->gradients.end())
              for (int64_t i = 0; i < tensor.size(); ++i)
                tensor[i] += found->second[i] * positions * scale;
        } else {
          reference::ModelState state = model->freshState(1);
          Result<reference::Tensor> logits = model->forward(tokens, state);
          if (!logits.isOk())
            return logits.status();
          for (double value : reference::negativeLogLikelihood(*logits, targets).data)
            sum.sum += value;
        }
      }
    if (gradients && calls_++ == poisonedCall_)
      gradients_[poisoned_].data[0] = std::numeric_limits<double>::quiet_NaN();
    return sum;
  }

  formats::ModelConfig config_;
  reference::Parameters values_, gradients_, m_, u_;
  std::vector<runtime::TrainedTensor> list_;
  std::vector<bool> frozen_;
  std::string poisoned_;
  int64_t poisonedCall_ = -1, calls_ = 0;
};

} // namespace otodus::training

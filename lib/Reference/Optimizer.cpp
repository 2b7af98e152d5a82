//===- Optimizer.cpp - AdamW, clipping, learning rates ----------------------===//

#include "otodus/Reference/Optimizer.h"

#include <cmath>
#include <numbers>

namespace otodus::reference {

double globalNorm(const Parameters &gradients) {
  double squares = 0;
  for (const auto &[name, gradient] : gradients)
    for (double value : gradient.data)
      squares += value * value;
  return std::sqrt(squares);
}

double clipGlobalNorm(Parameters &gradients, double clip) {
  double norm = globalNorm(gradients), coefficient = clip / (norm + 1e-6);
  if (coefficient < 1)
    for (auto &[name, gradient] : gradients)
      for (double &value : gradient.data)
        value *= coefficient;
  return norm;
}

void adamwStep(Parameters &parameters, const Parameters &gradients, double learningRate,
               const AdamW &options, AdamWState &state) {
  double t = static_cast<double>(++state.steps);
  double correction1 = 1 - std::pow(options.beta1, t), correction2 = 1 - std::pow(options.beta2, t);
  for (const auto &[name, gradient] : gradients) {
    Tensor &parameter = parameters.at(name);
    Tensor &m = state.m.try_emplace(name, gradient.shape).first->second;
    Tensor &u = state.u.try_emplace(name, gradient.shape).first->second;
    for (int64_t i = 0; i < gradient.size(); ++i) {
      double g = gradient[i];
      parameter[i] *= 1 - learningRate * options.weightDecay;
      m[i] = options.beta1 * m[i] + (1 - options.beta1) * g;
      u[i] = options.beta2 * u[i] + (1 - options.beta2) * g * g;
      parameter[i] -=
          learningRate * (m[i] / correction1) / (std::sqrt(u[i] / correction2) + options.epsilon);
    }
  }
}

double learningRateFactor(const Schedule &schedule, int64_t step) {
  double r0 = schedule.initRatio, r1 = schedule.endRatio;
  if (step < schedule.warmup)
    return r0 + step * (1 - r0) / schedule.warmup;
  if (schedule.kind == ScheduleKind::Constant)
    return 1;
  if (step > schedule.total)
    return r1;
  // With no step after the warm-up, the only one that gets here is `total` itself.
  double tau = schedule.total == schedule.warmup ? 1
                                                 : static_cast<double>(step - schedule.warmup) /
                                                       (schedule.total - schedule.warmup);
  if (schedule.kind == ScheduleKind::Linear)
    return tau * r1 + (1 - tau);
  return r1 + (1 - r1) * (std::cos(std::numbers::pi * tau * schedule.cycles) + 1) / 2;
}

} // namespace otodus::reference

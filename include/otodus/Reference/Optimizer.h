//===- Optimizer.h - What training steps are checked against ----------------===//
//
// AdamW, clipping by the global norm and learning rates of docs/Megalodon.md 6
// ("spec"), in float64.
//
//===----------------------------------------------------------------------===//

#pragma once

#include "otodus/Reference/Reference.h"

#include <cstdint>

namespace otodus::reference {

/// The L2 norm of all numbers of all gradients together.
double globalNorm(const Parameters &gradients);

/// Multiplies every gradient by clip / (norm + 1e-6) if that is below 1 (spec 6).
/// Returns the norm before.
double clipGlobalNorm(Parameters &gradients, double clip);

struct AdamW {
  double beta1 = 0.9, beta2 = 0.98, epsilon = 1e-8, weightDecay = 0.1;
};

struct AdamWState {
  int64_t steps = 0; ///< taken so far
  Parameters m, u;   ///< first and second moments; an absent entry counts as zero
};

/// One step (spec 6): every parameter that has a gradient decays by learningRate *
/// weightDecay, then moves. Parameters without one (buffers, frozen ones) stay. Each
/// gradient needs a parameter of its name and shape.
void adamwStep(Parameters &parameters, const Parameters &gradients, double learningRate,
               const AdamW &options, AdamWState &state);

enum class ScheduleKind { Linear, Cosine, Constant };

struct Schedule {
  ScheduleKind kind = ScheduleKind::Linear;
  int64_t warmup = 2000, total = 0; ///< steps; `total` includes the warm-up
  double initRatio = 1e-4, endRatio = 0.01;
  double cycles = 1; ///< of the cosine
};

/// f(step) of spec 6, step >= 0: what the peak learning rate is multiplied by.
double learningRateFactor(const Schedule &schedule, int64_t step);

} // namespace otodus::reference

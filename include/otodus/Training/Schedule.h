//===- Schedule.h - Learning rates of a run --------------------------------===//

#pragma once

#include <cstdint>

namespace otodus::training {

enum class ScheduleKind { Linear, Cosine, Constant };

/// f(s) of spec 6.
struct Schedule {
  ScheduleKind kind = ScheduleKind::Linear;
  int64_t warmup = 2000, total = 0; ///< steps; `total` includes the warm-up
  double initRatio = 1e-4, endRatio = 0.01;
  double cycles = 1; ///< of the cosine

  /// What the peak learning rate is multiplied by at the 0-based step.
  double factor(int64_t step) const;
};

} // namespace otodus::training

//===- Schedule.cpp - Learning rates of a run ------------------------------===//

#include "otodus/Training/Schedule.h"

#include <cmath>
#include <numbers>

namespace otodus::training {

double Schedule::factor(int64_t step) const {
  if (step < warmup)
    return initRatio + static_cast<double>(step) * (1 - initRatio) / static_cast<double>(warmup);
  if (kind == ScheduleKind::Constant)
    return 1;
  if (step > total)
    return endRatio;
  // With no step after the warm-up, the only one that gets here is `total` itself.
  double progress = total == warmup ? 1
                                    : static_cast<double>(step - warmup) /
                                          static_cast<double>(total - warmup);
  if (kind == ScheduleKind::Linear)
    return progress * endRatio + (1 - progress);
  return endRatio + (1 - endRatio) * (std::cos(std::numbers::pi * progress * cycles) + 1) / 2;
}

} // namespace otodus::training

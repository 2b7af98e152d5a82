//===- OptimizerTest.cpp - What the golden steps do not hold ----------------===//

#include "otodus/Reference/Optimizer.h"

#include <gtest/gtest.h>

#include <cmath>

using namespace otodus::reference;

namespace {

TEST(Clip, OnlyAboveTheLimit) {
  Parameters gradients = {{"a", Tensor({1}, 3.0)}, {"b", Tensor({1}, 4.0)}};
  EXPECT_EQ(clipGlobalNorm(gradients, 10), 5);
  EXPECT_EQ(gradients["a"][0], 3);
  EXPECT_EQ(clipGlobalNorm(gradients, 1), 5);
  EXPECT_DOUBLE_EQ(gradients["a"][0], 3 / 5.000001);
  EXPECT_DOUBLE_EQ(gradients["b"][0], 4 / 5.000001);
}

TEST(AdamW, FirstStepMovesByTheRateAndDecays) {
  // m / (1 - b1) = g and u / (1 - b2) = g^2 at the first step.
  Parameters parameters = {{"w", Tensor({2}, {2.0, -1.0})}, {"buffer", Tensor({1}, 7.0)}};
  AdamWState state;
  adamwStep(parameters, {{"w", Tensor({2}, {0.5, -0.25})}}, 0.1, {.epsilon = 0, .weightDecay = 0.5},
            state);
  EXPECT_DOUBLE_EQ(parameters["w"][0], 2 * 0.95 - 0.1);
  EXPECT_DOUBLE_EQ(parameters["w"][1], -0.95 + 0.1);
  EXPECT_EQ(parameters["buffer"][0], 7);
  EXPECT_EQ(state.steps, 1);
}

TEST(AdamW, MomentsDecay) {
  Parameters parameters = {{"w", Tensor({1}, 0.0)}};
  AdamWState state;
  AdamW options{.beta1 = 0.5, .beta2 = 0.75, .epsilon = 1, .weightDecay = 0};
  adamwStep(parameters, {{"w", Tensor({1}, 1.0)}}, 0, options, state);
  adamwStep(parameters, {{"w", Tensor({1}, 2.0)}}, 1, options, state);
  EXPECT_EQ(state.m["w"][0], 0.25 + 1);
  EXPECT_EQ(state.u["w"][0], 0.1875 + 1);
  EXPECT_DOUBLE_EQ(parameters["w"][0], -(1.25 / 0.75) / (std::sqrt(1.1875 / 0.4375) + 1));
}

TEST(Schedule, Edges) {
  Schedule schedule{.warmup = 0, .total = 4, .endRatio = 0.2};
  EXPECT_EQ(learningRateFactor(schedule, 0), 1);
  EXPECT_DOUBLE_EQ(learningRateFactor(schedule, 4), 0.2);
  EXPECT_EQ(learningRateFactor(schedule, 5), 0.2);
  schedule.warmup = 4; // nothing after it
  for (ScheduleKind kind : {ScheduleKind::Linear, ScheduleKind::Cosine}) {
    schedule.kind = kind;
    EXPECT_DOUBLE_EQ(learningRateFactor(schedule, 4), 0.2);
  }
  schedule.kind = ScheduleKind::Constant;
  EXPECT_EQ(learningRateFactor(schedule, 1000), 1);
}

} // namespace

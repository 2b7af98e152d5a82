//===- CheckTolerance.h - How exact a result must be ------------------------===//
//
// The tolerances of test/golden/README.md as data.
//
//===----------------------------------------------------------------------===//

#pragma once

#include "otodus/Driver/GoldenCase.h"

#include <string>

namespace otodus::driver {

struct Tolerance {
  Measure measure = Measure::MaxRelative;
  double value = 0;
};

/// For outputs and states of the golden file `stem`, computed in `dtype`. Files that are
/// not in the table have their kind's tolerance.
Tolerance toleranceFor(const std::string &stem, CaseKind kind, const std::string &dtype);

/// For TimestepNorm over x [B, L, D] far from 0, which stays f32 in any dtype: 2e-2 under
/// bf16; under f32 2e-3, and 2e-2 where the mean is more than 1e4 deviations from 0 (a mean
/// of 1e3 rounded to f32, as states are, is off by 3e-3 deviations of 1e-2).
double offsetTolerance(const reference::Tensor &x, const std::string &dtype);

} // namespace otodus::driver

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
/// not in the table have their kind's tolerance, and those with "_offset" in their name
/// that of data far from 0.
Tolerance toleranceFor(const std::string &stem, CaseKind kind, const std::string &dtype);

} // namespace otodus::driver

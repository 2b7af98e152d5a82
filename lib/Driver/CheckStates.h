//===- CheckStates.h - The states of a case ---------------------------------===//

#pragma once

#include "otodus/Driver/GoldenCase.h"

namespace otodus::driver {

/// A configuration whose sizes are all the least possible: cases of one op set those that
/// matter to it.
formats::ModelConfig smallestConfig();

/// Fills `golden.states` with what its kind carries, in the order of the function's
/// arguments, from golden.config: fresh, without initial values.
void addStates(GoldenCase &golden);

/// The state whose name ends in ".`what`" or is `what`; there must be one.
CaseState &stateOf(GoldenCase &golden, const std::string &what);

/// The three states of a TimestepNorm start with these values.
void setInitial(GoldenCase &golden, const reference::NormState &state);

/// What follows the last dot of a state's name.
inline std::string leafOf(const std::string &name) { return name.substr(name.rfind('.') + 1); }

/// [B] of integers as a tensor.
reference::Tensor countTensor(const std::vector<int64_t> &count);

/// Moves the width of x [B, L, H*d] apart: [B, L, H, d].
reference::Tensor splitHeads(reference::Tensor x, int64_t heads);

} // namespace otodus::driver

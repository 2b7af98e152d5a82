//===- CompiledRunner.h - Golden cases through the compiler ----------------===//

#pragma once

#include "OpenModel.h"

#include "otodus/Driver/GoldenCase.h"

#include <memory>

namespace otodus::driver {

/// Compiles cases as users' models are compiled and runs them in runtime sessions.
/// `flags`: target, threads and so on; its dtype is that of each case.
std::unique_ptr<CaseRunner> compiledRunner(const ModelFlags &flags);

} // namespace otodus::driver

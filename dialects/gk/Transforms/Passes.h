//===- Passes.h - Passes of the gk dialect ---------------------------------===//

#pragma once

#include "mlir/Pass/Pass.h"

namespace otodus::gk {

#define GEN_PASS_DECL
#include "gk/Transforms/Passes.h.inc"

#define GEN_PASS_REGISTRATION
#include "gk/Transforms/Passes.h.inc"

} // namespace otodus::gk

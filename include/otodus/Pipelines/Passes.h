//===- Passes.h - The gates between stages ---------------------------------===//

#pragma once

#include "mlir/IR/BuiltinOps.h"
#include "mlir/Pass/Pass.h"

namespace otodus {

#define GEN_PASS_DECL
#define GEN_PASS_REGISTRATION
#include "otodus/Pipelines/Passes.h.inc"

} // namespace otodus

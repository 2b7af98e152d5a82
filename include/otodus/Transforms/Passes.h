//===- Passes.h - mega to mega ---------------------------------------------===//

#pragma once

#include "mega/IR/MegaOps.h"

#include "mlir/Interfaces/FunctionInterfaces.h"
#include "mlir/Pass/Pass.h"

namespace otodus {

#define GEN_PASS_DECL
#define GEN_PASS_REGISTRATION
#include "otodus/Transforms/Passes.h.inc"

} // namespace otodus

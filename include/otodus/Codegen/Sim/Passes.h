//===- Passes.h - NVVM kernels to host code for the simulator --------------===//

#pragma once

#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/Pass/Pass.h"

namespace otodus {

#define GEN_PASS_DECL
#define GEN_PASS_REGISTRATION
#include "otodus/Codegen/Sim/Passes.h.inc"

} // namespace otodus

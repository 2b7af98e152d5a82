//===- Passes.h - mega to mega ---------------------------------------------===//

#pragma once

#include "mega/IR/MegaOps.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Interfaces/FunctionInterfaces.h"
#include "mlir/Pass/Pass.h"

namespace otodus {

#define GEN_PASS_DECL
#define GEN_PASS_REGISTRATION
#include "otodus/Transforms/Passes.h.inc"

/// The backward steps of all ops that have one, for otodus-differentiate.
void registerGradients(mlir::DialectRegistry &registry);

/// Calls in `module` whose saved values otodus-recompute can compute again, in its numbering.
llvm::SmallVector<mlir::func::CallOp> savingCalls(mlir::ModuleOp module);

} // namespace otodus

//===- Pipelines.h - Every stage on one page -------------------------------===//

#pragma once

#include "mlir/Pass/PassManager.h"

#include <string>

namespace otodus {

/// In:  mega and upstream elementwise ops, as imported or written by hand.
/// Out: `mega.group` ops; outside of them only weights and calls.
void buildFusedStage(mlir::OpPassManager &pm);

/// In:  groups.
/// Out: beside them kernel functions: a grid (scf.forall), loops, structured ops on tensors of
///      static tile shape.
void buildKernelStage(mlir::OpPassManager &pm);

/// In:  kernel functions on tensors.
/// Out: the llvm dialect; functions of type OtodusKernel.
void buildLLVMStage(mlir::OpPassManager &pm, const std::string &target);

/// The stages as pass pipelines: otodus-fused-stage, otodus-kernel-stage, otodus-llvm-stage.
void registerPipelines();

} // namespace otodus

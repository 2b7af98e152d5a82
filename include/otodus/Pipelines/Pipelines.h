//===- Pipelines.h - Every stage on one page -------------------------------===//

#pragma once

#include "mlir/Pass/PassManager.h"

#include <string>

namespace otodus {

/// Writes the gradients that functions with `mega.differentiate` ask for, at the model stage. The
/// fused stage begins with it.
void buildGradients(mlir::OpPassManager &pm);

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

/// The kernel stage for a GPU: its kernels are cut for the chip that `target` names.
void buildGpuKernelStage(mlir::OpPassManager &pm, const std::string &target);

/// In:  the kernels of a module, on tensors or written for threads already.
/// Out: the GPU stage (docs/Gpu.md).
void buildGpuStage(mlir::OpPassManager &pm, const std::string &target);

/// In:  kernels at the GPU stage (docs/Gpu.md): what one thread of a block does.
/// Out: the llvm, nvvm and gk dialects: kernels as the runtime launches them. `target` names a chip.
void buildNVVMStage(mlir::OpPassManager &pm, const std::string &target);

/// The stages as pass pipelines: otodus-fused-stage, otodus-kernel-stage, otodus-llvm-stage.
void registerPipelines();

/// And those of GPU targets: otodus-nvvm-stage{chip=sm_80}.
void registerGpuPipelines();

} // namespace otodus

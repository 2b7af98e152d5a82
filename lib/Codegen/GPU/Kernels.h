//===- Kernels.h - Kernels that a GPU has its own way of writing -----------===//
//
// Private to lib/Codegen. Each makes a function of the GPU stage (docs/Gpu.md): one scf.forall
// over blocks, inside it what one thread does, the attribute `gpu.threads`. Failure: a diagnostic
// on the op that has no form, or whose schedule does not fit `chip`.
//
//===----------------------------------------------------------------------===//

#pragma once

#include "Codegen/Common/KernelEmitter.h"

#include "otodus/Codegen/GPU/Chips.h"

namespace otodus {

/// Ops that walk time: timestep_norm, cema and scan, in a chain.
mlir::FailureOr<mlir::func::FuncOp> emitGpuStreamKernel(mega::GroupOp group, mlir::ModuleOp module,
                                                        const std::string &name, const Chip &chip);
/// embed, rotary_angles, last: one of them.
mlir::FailureOr<mlir::func::FuncOp> emitGpuGatherKernel(mega::GroupOp group, mlir::ModuleOp module,
                                                        const std::string &name);

/// New keys and values join the open chunk, and every new step attends to it.
mlir::FailureOr<mlir::func::FuncOp> emitGpuAttentionKernel(mega::GroupOp group,
                                                           mlir::ModuleOp module,
                                                           const std::string &name,
                                                           int64_t rowTile);

/// One op of the role Accumulation: a sum over rows, part of the loss or of the optimizer
/// (AccumulationKernel.cpp says which file has which op).
mlir::FailureOr<mlir::func::FuncOp> emitGpuAccumulationKernel(mega::GroupOp group,
                                                              mlir::ModuleOp module,
                                                              const std::string &name,
                                                              const Chip &chip);
/// Backward steps of timestep_norm, cema and chunk attention: the work of `kernel`, whose group is
/// `op` alone.
mlir::LogicalResult emitGpuTimestepNormGradient(KernelEmitter &kernel,
                                                mega::TimestepNormGradientOp op, const Chip &chip);
mlir::LogicalResult emitGpuCemaGradient(KernelEmitter &kernel, mega::CemaGradientOp op,
                                        const Chip &chip);
mlir::LogicalResult emitGpuAttentionGradient(KernelEmitter &kernel, mlir::Operation *op);

/// Completes the schedule of a group of that role, whose op may have nothing to choose. Failure: what
/// is given suits neither the op nor the chip.
mlir::LogicalResult chooseGpuAccumulation(mega::GroupOp group, const Chip &chip);

/// The schedule of one variant of attention; null if no number of threads suits its tiles.
mega::ScheduleAttr gpuScheduleOf(mega::GroupOp group, int64_t rowTile);

/// The longest time tile, a power of two of at most 64 steps, with which the tiles of `group` fit
/// the shared memory of a block; at least 1.
int64_t gpuTimeTile(mega::GroupOp group, int64_t channelTile, const Chip &chip);

} // namespace otodus

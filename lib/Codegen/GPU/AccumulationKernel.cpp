//===- AccumulationKernel.cpp - Which kernel an op with its own has --------===//

#include "BlockKernel.h"
#include "Kernels.h"

using namespace mlir;

namespace otodus {

FailureOr<func::FuncOp> emitGpuAccumulationKernel(mega::GroupOp group, ModuleOp module,
                                                  const std::string &name, const Chip &chip) {
  KernelEmitter kernel(group, module, name, 0);
  auto emit = [&]() -> LogicalResult {
    Operation *op = &group.getBody(0)->front();
    if (group.getBody(0)->getOperations().size() != 2)
      return op->emitOpError("expects to be alone in its group");
    // Only the loss has results that somebody may not want.
    if (!isa<mega::LinearCrossEntropyOp>(op) && group.getNumResults() != op->getNumResults())
      return op->emitOpError("expects a reader of each of its results in front of its group");
    if (auto norm = dyn_cast<mega::TimestepNormGradientOp>(op))
      return emitGpuTimestepNormGradient(kernel, norm, chip);
    if (auto cema = dyn_cast<mega::CemaGradientOp>(op))
      return emitGpuCemaGradient(kernel, cema, chip);
    if (isa<mega::ChunkPanelsOp, mega::ChunkQueryGradientOp, mega::ChunkKeyGradientOp>(op))
      return emitGpuAttentionGradient(kernel, op);
    gpu::BlockKernel k(kernel);
    if (auto product = dyn_cast<mega::LinearWeightGradientOp>(op))
      return gpu::emitWeightGradientKernel(k, product);
    if (isa<mega::ColumnSumOp, mega::EmbedGradientOp, mega::SquaresOp, mega::AdamWOp>(op))
      return gpu::emitSumKernel(k, op);
    if (isa<mega::LinearCrossEntropyOp, mega::LossInputGradientOp, mega::LossWeightGradientOp>(op))
      return gpu::emitLossKernel(k, op);
    if (auto sample = dyn_cast<mega::SampleOp>(op))
      return gpu::emitSampleKernel(k, sample);
    return op->emitOpError("has no kernel for ") << chip.name << "; --target=cpu has one";
  };
  if (failed(emit()))
    return kernel.function.erase(), failure();
  return kernel.function;
}

} // namespace otodus

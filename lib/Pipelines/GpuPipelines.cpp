//===- GpuPipelines.cpp - The stages of a GPU target -----------------------===//

#include "Steps.h"

#include "otodus/Codegen/Common/Passes.h"
#include "otodus/Codegen/GPU/Passes.h"
#include "otodus/Pipelines/Passes.h"
#include "otodus/Pipelines/Pipelines.h"

#include "gk/Transforms/Passes.h"

#include "mlir/Conversion/Passes.h"
#include "mlir/Dialect/MemRef/Transforms/Passes.h"
#include "mlir/Pass/PassOptions.h"
#include "mlir/Pass/PassRegistry.h"
#include "mlir/Transforms/Passes.h"

using namespace mlir;

namespace otodus {

void buildGpuKernelStage(OpPassManager &pm, const std::string &target) {
  ChooseGpuScheduleOptions schedule;
  schedule.target = target;
  pm.nest<func::FuncOp>().addPass(createChooseGpuSchedule(schedule));
  BuildGpuKernelsOptions kernels;
  kernels.target = target;
  pm.addPass(createBuildGpuKernels(kernels));
  OpPassManager &functions = pm.nest<func::FuncOp>();
  // No canonicalizer yet: it would remove the op that writes the results where that only copies.
  functions.addPass(createCSEPass());
  functions.addPass(createTileGrid());
  addCleanup(functions);
  pm.addPass(createJoinLaunches());
  addGate(pm, "kernel");
}

void buildGpuStage(OpPassManager &pm, const std::string &target) {
  OpPassManager &functions = pm.nest<func::FuncOp>();
  DistributeTilesOptions distribute;
  distribute.target = target;
  functions.addPass(createDistributeTiles(distribute));
  addCleanup(functions);
  addGate(pm, "gpu");
}

void buildNVVMStage(OpPassManager &pm, const std::string &target) {
  addGate(pm, "gpu");
  OutlineBlockOptions outline;
  outline.target = target;
  pm.addPass(createOutlineBlock(outline));
  pm.addPass(createJoinKernels());
  {
    OpPassManager &functions = pm.nest<func::FuncOp>();
    addCleanup(functions);
    functions.addPass(createExpandGpuMath());
    addFlattening(functions);
    functions.addPass(createLoopInvariantCodeMotionPass());
  }
  pm.addPass(createSCFToControlFlowPass());
  addConversionToLLVM(pm);
  FinishNVVMOptions finish;
  finish.target = target;
  pm.addPass(createFinishNVVM(finish));
  addCleanup(pm);
  pm.addPass(gk::createVerifyWgmmaUsePass());
  addGate(pm, "nvvm");
}

namespace {
struct ChipOptions : PassPipelineOptions<ChipOptions> {
  Option<std::string> chip{*this, "chip", llvm::cl::desc("sm_80, sm_90a, ...: a row of the chip table"),
                           llvm::cl::init("")};
};
} // namespace

void registerGpuPipelines() {
  PassPipelineRegistration<ChipOptions>(
      "otodus-nvvm-stage", "Lower GPU kernels to the nvvm and llvm dialects for a chip",
      [](OpPassManager &pm, const ChipOptions &options) { buildNVVMStage(pm, options.chip); });
}

} // namespace otodus

//===- Pipelines.cpp - Every stage on one page -----------------------------===//

#include "otodus/Pipelines/Pipelines.h"

#include "Steps.h"

#include "otodus/Codegen/CPU/Passes.h"
#include "otodus/Codegen/Common/Passes.h"
#include "otodus/Pipelines/Passes.h"
#include "otodus/Transforms/Passes.h"

#include "mlir/Conversion/Passes.h"
#include "mlir/Dialect/Arith/Transforms/Passes.h"
#include "mlir/Dialect/Bufferization/Transforms/Passes.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/MemRef/Transforms/Passes.h"
#include "mlir/Pass/PassOptions.h"
#include "mlir/Pass/PassRegistry.h"
#include "mlir/Transforms/Passes.h"

using namespace mlir;

namespace otodus {

void buildGradients(OpPassManager &pm) {
  pm.nest<func::FuncOp>().addPass(createSplitRotary());
  pm.addPass(createDifferentiate());
}

void buildFusedStage(OpPassManager &pm) {
  buildGradients(pm);
  pm.addPass(createAddSampling());
  OpPassManager &functions = pm.nest<func::FuncOp>();
  // Before grouping: equal ops (the angles of two rotations) become one.
  functions.addPass(createCSEPass());
  functions.addPass(createFormGroups());
  addGate(pm, "fused");
}

void buildKernelStage(OpPassManager &pm) {
  pm.nest<func::FuncOp>().addPass(createChooseSchedule());
  pm.addPass(createBuildKernels());
  OpPassManager &functions = pm.nest<func::FuncOp>();
  // No canonicalizer yet: it would remove the op that writes the results where that only copies.
  functions.addPass(createCSEPass());
  functions.addPass(createTileGrid());
  // Fusion computes a producer once per reader; equal tiles become one here.
  addCleanup(functions);
  functions.addPass(createTileRegisters());
  addCleanup(functions);
  addGate(pm, "kernel");
}

void buildLLVMStage(OpPassManager &pm, const std::string &target) {
  {
    OpPassManager &functions = pm.nest<func::FuncOp>();
    LowerTilesToVectorsOptions vectors;
    vectors.target = target;
    functions.addPass(createLowerTilesToVectors(vectors));
    functions.addPass(createExpandMath());
    addCleanup(functions);
  }
  bufferization::OneShotBufferizePassOptions bufferize;
  bufferize.allowUnknownOps = false;
  pm.addPass(bufferization::createOneShotBufferizePass(bufferize));
  {
    OpPassManager &functions = pm.nest<func::FuncOp>();
    // CSE before the canonicalizer: only then are copies of a buffer onto itself seen as such.
    functions.addPass(createCSEPass());
    functions.addPass(createCanonicalizerPass());
    functions.addPass(createScratchOnStack());
  }
  pm.addPass(createOutlineGrid());
  {
    OpPassManager &functions = pm.nest<func::FuncOp>();
    addCleanup(functions);
    addFlattening(functions);
  }
  pm.addPass(createSCFToControlFlowPass());
  // Targets without bf16 conversions get them as integer arithmetic, not as library calls.
  arith::ArithExpandOpsPassOptions expand;
  expand.includeBf16 = target == "cpu:x86-64-v3" || target == "cpu:x86-64-v4";
  pm.addPass(arith::createArithExpandOpsPass(expand));
  ConvertVectorToLLVMPassOptions vector;
  vector.x86Vector = true;
  addConversionToLLVM(pm, vector);
  addGate(pm, "llvm");
}

namespace {
struct LLVMStageOptions : PassPipelineOptions<LLVMStageOptions> {
  Option<std::string> target{*this, "target",
                             llvm::cl::desc("cpu[:native|x86-64-v3|x86-64-v4]"),
                             llvm::cl::init("cpu")};
};
} // namespace

void registerPipelines() {
  PassPipelineRegistration<>("otodus-fused-stage", "Form groups of ops that become one kernel",
                             buildFusedStage);
  PassPipelineRegistration<>("otodus-kernel-stage", "Write a tile program for every group",
                             buildKernelStage);
  PassPipelineRegistration<LLVMStageOptions>(
      "otodus-llvm-stage", "Lower tile programs to the llvm dialect for a CPU",
      [](OpPassManager &pm, const LLVMStageOptions &options) {
        buildLLVMStage(pm, options.target);
      });
}

} // namespace otodus

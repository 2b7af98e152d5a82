//===- Passes.td - The gates between stages --------------------------------===//

#ifndef OTODUS_PIPELINES_PASSES
#define OTODUS_PIPELINES_PASSES

include "mlir/Pass/PassBase.td"

def VerifyStage : Pass<"otodus-verify-stage", "mlir::ModuleOp"> {
  let summary = "Fail with the first op that a stage should have left behind";
  let description = [{
    Closes a stage. It changes nothing; it fails where the module is not what the next stage
    and the plan of the host expect, so that errors appear where they are made:

    *  `fused`: functions hold only weights, rows of weights, calls and groups;
    *  `kernel`: every group names its kernels; a kernel has a grid and its buffers, and no op
       of the model's mathematics is left in it;
    *  `llvm`: only ops of the llvm dialect;
    *  `gpu`: kernels have `gpu.threads` and work on buffers and registers, not on tensors;
    *  `nvvm`: only ops of the llvm, nvvm and gk dialects.

    See `test/Pipelines/verify-stage.mlir` for what passes and what does not.
  }];
  let options = [
    Option<"stage", "stage", "std::string", "\"\"", "fused, kernel, llvm, gpu or nvvm">,
  ];
}

#endif

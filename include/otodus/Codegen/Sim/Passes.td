//===- Passes.td - NVVM kernels to host code for the simulator -------------===//

#ifndef OTODUS_CODEGEN_SIM_PASSES
#define OTODUS_CODEGEN_SIM_PASSES

include "mlir/Pass/PassBase.td"

def NvvmToSim : Pass<"otodus-nvvm-to-sim", "mlir::ModuleOp"> {
  let summary = "Rewrite NVVM kernels into host code that the GPU simulator runs";
  let description = [{
    Takes a module of the NVVM stage and makes an llvm dialect module for the host: one function
    `(context, params) -> record` per kernel, as `include/otodus/ABI/Sim.h` declares it. Every op
    with an effect beyond its lane becomes a call through the context's table, loads and stores
    are announced to the checker first, special registers are read from the context, shared memory
    becomes offsets from the block's address. The result refers to no symbol outside of it.

    What an op means stands in `include/otodus/ABI/SimOps.def`; an op without a row is an error.

    See `test/Codegen/Sim/nvvm-to-sim.mlir` for a before and after.
  }];
  let dependentDialects = ["::mlir::LLVM::LLVMDialect"];
}

#endif // OTODUS_CODEGEN_SIM_PASSES

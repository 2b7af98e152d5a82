//===- Passes.td - Tile programs to GPU code -------------------------------===//

#ifndef OTODUS_CODEGEN_GPU_PASSES
#define OTODUS_CODEGEN_GPU_PASSES

include "mlir/Pass/PassBase.td"

def OutlineBlock : Pass<"otodus-outline-block", "mlir::ModuleOp"> {
  let summary = "Give GPU kernels the signature that the runtime launches";
  let description = [{
    The first half of the way from the GPU stage to the NVVM stage (docs/Gpu.md). The `scf.forall` of a
    kernel goes: one block is one work item, and its index gives the induction variables. Buffers
    become pointers to global memory; shared memory becomes offsets in the one dynamic allocation of
    the block, whose size is checked against the chip; ids, barriers and shuffles become special
    registers and instructions.

    See `test/Codegen/GPU/outline-block.mlir` for a before and after.
  }];
  let options = [
    Option<"target", "target", "std::string", "\"\"", "the chip: cuda:sm_80, sim:sm_80 or sm_80">,
  ];
  let dependentDialects = ["::mlir::affine::AffineDialect", "::mlir::arith::ArithDialect",
                           "::mlir::LLVM::LLVMDialect", "::mlir::NVVM::NVVMDialect",
                           "::mlir::memref::MemRefDialect"];
}

def ExpandGpuMath : InterfacePass<"otodus-expand-gpu-math", "mlir::FunctionOpInterface"> {
  let summary = "Write exponentials with the GPU's power of two, other functions as polynomials";
  let description = [{
    `math.exp` becomes 2^x of the product with log2 e, which is carried out in two parts so that the result
    is within 3 ulp; with `fastmath<afn>` in one part, whose error grows with the argument (|x| * 2^-24).
    bf16 operands are computed in f32. `log`, `tanh` and `erf` become polynomials, and the sum of a product and
    something becomes `math.fma`, as on a CPU. What is left and has no instruction is an error.

    See `test/Codegen/GPU/expand-gpu-math.mlir` for a before and after.
  }];
  let dependentDialects = ["::mlir::arith::ArithDialect", "::mlir::math::MathDialect",
                           "::mlir::vector::VectorDialect"];
}

def FinishNVVM : Pass<"otodus-finish-nvvm", "mlir::ModuleOp"> {
  let summary = "Attributes of kernels, and a check that NVPTX can select every instruction";
  let description = [{
    The second half of the way to the NVVM stage. Kernels get `nvvm.kernel`, `nvvm.reqntid` and what is known of
    their pointers. An operation that the back end has no instruction for would end the process there, so
    it is an error here: calls, intrinsics outside of a list, inline assembly.

    See `test/Codegen/GPU/finish-nvvm.mlir` for a before and after, `finish-nvvm-invalid.mlir` for the errors.
  }];
  let options = [
    Option<"target", "target", "std::string", "\"\"", "the chip: cuda:sm_80, sim:sm_80 or sm_80">,
  ];
  let dependentDialects = ["::mlir::LLVM::LLVMDialect", "::mlir::NVVM::NVVMDialect"];
}

#endif

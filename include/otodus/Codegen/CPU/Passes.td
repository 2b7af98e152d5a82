//===- Passes.td - Tile programs to CPU code -------------------------------===//

#ifndef OTODUS_CODEGEN_CPU_PASSES
#define OTODUS_CODEGEN_CPU_PASSES

include "mlir/Pass/PassBase.td"

def LowerTilesToVectors : InterfacePass<"otodus-lower-tiles-to-vectors",
                                        "mlir::FunctionOpInterface"> {
  let summary = "Turn structured ops on tiles into loops over vectors";
  let description = [{
    Matrix products with a packed right-hand side become loops over k that keep a register
    tile of sums; every other `linalg` op becomes loops around vector reads, arithmetic and
    writes. The number of lanes and the shape of the register tile come from the target. An op
    that has no such form is an error: nothing is left for scalar loops.

    See `test/Codegen/CPU/lower-tiles-to-vectors.mlir` for a before and after.
  }];
  let options = [
    Option<"target", "target", "std::string", "\"cpu\"", "cpu[:native|x86-64-v3|x86-64-v4]">,
  ];
  let dependentDialects = ["::mlir::arith::ArithDialect", "::mlir::scf::SCFDialect",
                           "::mlir::tensor::TensorDialect", "::mlir::vector::VectorDialect",
                           "::mlir::x86vector::X86VectorDialect"];
}

def ScratchOnStack : InterfacePass<"otodus-scratch-on-stack", "mlir::FunctionOpInterface"> {
  let summary = "Put scratch tiles on the worker's stack, once per call";
  let description = [{
    Replaces every allocation of a kernel by one `memref.alloca` at its start. Sizes that are
    not constants are replaced by a constant bound; an allocation without one is an error.

    See `test/Codegen/CPU/scratch-on-stack.mlir` for a before and after.
  }];
  let dependentDialects = ["::mlir::memref::MemRefDialect"];
}

def OutlineGrid : Pass<"otodus-outline-grid", "mlir::ModuleOp"> {
  let summary = "Give kernels the signature that the runtime calls";
  let description = [{
    The `scf.forall` of a kernel becomes a loop over the work items `lo..hi` of its flattened
    grid, and the function `(arguments, lo, hi)` as `include/otodus/ABI/Kernel.h` declares it.

    See `test/Codegen/CPU/outline-grid.mlir` for a before and after.
  }];
  let dependentDialects = ["::mlir::affine::AffineDialect", "::mlir::arith::ArithDialect",
                           "::mlir::LLVM::LLVMDialect", "::mlir::scf::SCFDialect"];
}

def ExpandMath : InterfacePass<"otodus-expand-math", "mlir::FunctionOpInterface"> {
  let summary = "Replace exponentials by polynomials, and products and sums by fused ones";
  let description = [{
    `math.exp` (also `log`, `tanh`, `erf`) on vectors becomes a polynomial of about 1 ulp; the sum
    of a product and something becomes `math.fma`, in every variant of a kernel alike. Afterwards
    no op needs a library call; one that would is an error.

    See `test/Codegen/CPU/expand-math.mlir` for a before and after.
  }];
  let dependentDialects = ["::mlir::arith::ArithDialect", "::mlir::math::MathDialect",
                           "::mlir::vector::VectorDialect"];
}

#endif

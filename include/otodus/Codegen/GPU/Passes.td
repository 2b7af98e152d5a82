//===- Passes.td - Tile programs to GPU code -------------------------------===//

#ifndef OTODUS_CODEGEN_GPU_PASSES
#define OTODUS_CODEGEN_GPU_PASSES

include "mlir/Pass/PassBase.td"

def ChooseGpuSchedule : InterfacePass<"otodus-choose-gpu-schedule", "mlir::FunctionOpInterface"> {
  let summary = "Decide how every group is cut for a chip, and write it on the group";
  let description = [{
    What `otodus-choose-schedule` does for CPUs. Row tiles, columns, the terms and stages of products, keys of attention, time tiles
    and threads follow from the shapes and from the chip's shared memory; what is written on a group already is kept
    and checked. Where the operands of a row tile do not fit the chip, its kernel takes fewer stages, then fewer columns;
    row tiles that still do not fit are left out, and none fitting is an error with the numbers.

    On chips with tensor maps and products of warpgroups, bf16 products of large row tiles get `copies = "tma"`: 128 more threads,
    which bring the operands in. The option `copies=async` does without, and so does a schedule that says so.

    See `test/Codegen/GPU/choose-gpu-schedule.mlir` for a before and after.
  }];
  let options = [
    Option<"target", "target", "std::string", "\"\"", "the chip: cuda:sm_80, sim:sm_80 or sm_80">,
    Option<"copies", "copies", "std::string", "\"\"", "tma or async, for groups whose schedule does not say; default: tma where the chip has it">,
  ];
  let dependentDialects = ["::otodus::mega::MegaDialect"];
}

def BuildGpuKernels : Pass<"otodus-build-gpu-kernels", "mlir::ModuleOp"> {
  let summary = "Write one kernel function for every group and row tile, for a GPU";
  let description = [{
    What `otodus-build-kernels` does for CPUs. Row-wise groups become the same tile programs, over matrices that lie row by row;
    streams, gathers and attention are written at the GPU stage at once.

    See `test/Codegen/GPU/build-gpu-kernels.mlir` for a before and after.
  }];
  let options = [
    Option<"target", "target", "std::string", "\"\"", "the chip: cuda:sm_80, sim:sm_80 or sm_80">,
  ];
  let dependentDialects = [
    "::mlir::affine::AffineDialect", "::mlir::arith::ArithDialect",
    "::mlir::bufferization::BufferizationDialect", "::mlir::func::FuncDialect",
    "::mlir::gpu::GPUDialect", "::mlir::linalg::LinalgDialect", "::mlir::LLVM::LLVMDialect",
    "::mlir::math::MathDialect", "::mlir::memref::MemRefDialect", "::mlir::NVVM::NVVMDialect",
    "::mlir::scf::SCFDialect", "::mlir::tensor::TensorDialect", "::mlir::vector::VectorDialect"];
}

def JoinLaunches : Pass<"otodus-join-launches", "mlir::ModuleOp"> {
  let summary = "Let products that do not need each other share a launch when there are few rows";
  let description = [{
    Groups of products one after the other, none of which reads what another computes, and whose kernels of a few rows have as many
    threads, get a kernel for all of them (`mega.joint` on the last group, `mega.parts` on the kernel). It serves calls of at most
    `most_rows` rows; with more, each group has its own launch as before. Blocks of the parts stand side by
    side: a decoding step has one launch less per part, and the chip more blocks.

    See `test/Codegen/GPU/join-launches.mlir` for a before and after.
  }];
  let dependentDialects = ["::otodus::mega::MegaDialect", "::mlir::func::FuncDialect"];
  let statistics = [Statistic<"numJoined", "num-joined", "Number of joint launches">];
}

def DistributeTiles : InterfacePass<"otodus-distribute-tiles", "mlir::FunctionOpInterface"> {
  let summary = "Share the tile program of a row kernel among the threads of a block";
  let description = [{
    From the kernel stage to the GPU stage. Products become register tiles of dot products, fused multiply-adds or tensor-core
    instructions over a ring of operand tiles in shared memory; their sums and those of reductions stay in shared
    memory; everything elementwise is computed where it is needed, so that what stands in front of
    a product or behind it never reaches global memory.

    See `test/Codegen/GPU/distribute-tiles.mlir` for a before and after.
  }];
  let options = [
    Option<"target", "target", "std::string", "\"\"", "the chip: cuda:sm_80, sim:sm_80 or sm_80">,
  ];
  let dependentDialects = [
    "::mlir::arith::ArithDialect", "::otodus::gk::GkDialect", "::mlir::gpu::GPUDialect", "::mlir::LLVM::LLVMDialect",
    "::mlir::math::MathDialect", "::mlir::memref::MemRefDialect", "::mlir::NVVM::NVVMDialect",
    "::mlir::scf::SCFDialect", "::mlir::vector::VectorDialect"];
}

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

def JoinKernels : Pass<"otodus-join-kernels", "mlir::ModuleOp"> {
  let summary = "Write the bodies of kernels that share a launch";
  let description = [{
    A function with `mega.parts` gets a body: its blocks are shared out to its parts, which run as if launched alone, in the same
    shared memory. Parts that nobody launches alone (`mega.part`) go.

    See `test/Codegen/GPU/join-kernels.mlir` for a before and after.
  }];
  let dependentDialects = ["::mlir::arith::ArithDialect", "::mlir::NVVM::NVVMDialect",
                           "::mlir::scf::SCFDialect"];
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

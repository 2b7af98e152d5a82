//===- Passes.td - Groups to tile programs ---------------------------------===//

#ifndef OTODUS_CODEGEN_COMMON_PASSES
#define OTODUS_CODEGEN_COMMON_PASSES

include "mlir/Pass/PassBase.td"

def ChooseSchedule : InterfacePass<"otodus-choose-schedule", "mlir::FunctionOpInterface"> {
  let summary = "Decide how every group is cut, and write it on the group";
  let description = [{
    Fills the fields of `#mega.schedule` that a group does not have yet: row tiles, blocks of
    rows and columns, tiles of time and channels. The sizes come from the shapes of the group
    and the caches of current CPUs; what is written on a group already is kept and checked.

    See `test/Codegen/Common/choose-schedule.mlir` for a before and after.
  }];
  let dependentDialects = ["::otodus::mega::MegaDialect"];
}

def BuildKernels : Pass<"otodus-build-kernels", "mlir::ModuleOp"> {
  let summary = "Write one kernel function for every group and row tile";
  let description = [{
    Every `mega.group` gets functions that compute it on blocked buffers, one for each row
    tile of its schedule, and an attribute `kernels` that names them. A function's attributes `mega.buffers` and
    `mega.grid` say what the host must bind and how many work items there are.

    See `test/Codegen/Common/build-kernels.mlir` for a before and after.
  }];
  let dependentDialects = [
    "::mlir::affine::AffineDialect", "::mlir::arith::ArithDialect",
    "::mlir::bufferization::BufferizationDialect", "::mlir::func::FuncDialect",
    "::mlir::linalg::LinalgDialect", "::mlir::math::MathDialect",
    "::mlir::memref::MemRefDialect", "::mlir::scf::SCFDialect", "::mlir::tensor::TensorDialect",
    "::mlir::vector::VectorDialect"];
}

def TileGrid : InterfacePass<"otodus-tile-grid", "mlir::FunctionOpInterface"> {
  let summary = "Cut a kernel into the work items of its grid";
  let description = [{
    Fuses elementwise ops, cuts the op that writes the results into blocks of rows and columns,
    and pulls all producers into the blocks, so that one iteration of the resulting
    `scf.forall` computes its block from start to end. A norm in front of a product is thereby
    computed once per block of rows, in a scratch tile.

    See `test/Codegen/Common/tile-grid.mlir` for a before and after.
  }];
  let dependentDialects = ["::mlir::affine::AffineDialect", "::mlir::scf::SCFDialect",
                           "::mlir::tensor::TensorDialect"];
}

def TileRegisters : InterfacePass<"otodus-tile-registers", "mlir::FunctionOpInterface"> {
  let summary = "Cut a work item into the tiles whose sums stay in registers";
  let description = [{
    Cuts the op that writes a work item's results into single row tiles and column blocks and
    pulls the matrix products and what follows them into the loops. What comes before a product
    stays outside.

    See `test/Codegen/Common/tile-registers.mlir` for a before and after.
  }];
  let dependentDialects = ["::mlir::affine::AffineDialect", "::mlir::scf::SCFDialect",
                           "::mlir::tensor::TensorDialect"];
}

#endif

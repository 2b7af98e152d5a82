//===- Steps.h - What the stages of all targets have in common -*- C++ -*-===//
//
// Private to lib/Pipelines.
//
//===----------------------------------------------------------------------===//

#pragma once

#include "otodus/Pipelines/Passes.h"

#include "mlir/Conversion/Passes.h"
#include "mlir/Dialect/MemRef/Transforms/Passes.h"
#include "mlir/Pass/PassManager.h"
#include "mlir/Transforms/Passes.h"

namespace otodus {

inline void addCleanup(mlir::OpPassManager &pm) {
  pm.addPass(mlir::createCanonicalizerPass());
  pm.addPass(mlir::createCSEPass());
}

/// Closes a stage: what it should have left behind is an error here, not three passes later.
inline void addGate(mlir::OpPassManager &pm, const char *stage) {
  VerifyStageOptions options;
  options.stage = stage;
  pm.addPass(createVerifyStage(options));
}

/// Vectors of one dimension, and addresses without views.
inline void addFlattening(mlir::OpPassManager &functions) {
  functions.addPass(mlir::createConvertVectorToSCFPass(
      mlir::VectorTransferToSCFOptions().enableFullUnroll()));
  functions.addPass(mlir::createLowerAffinePass());
  functions.addPass(mlir::memref::createExpandStridedMetadataPass());
  functions.addPass(mlir::memref::createFoldMemRefAliasOpsPass());
  addCleanup(functions);
  functions.addPass(mlir::createLowerAffinePass());
}

/// From vector, arith, math, memref and cf to the llvm dialect.
inline void addConversionToLLVM(mlir::OpPassManager &pm,
                                const mlir::ConvertVectorToLLVMPassOptions &vector = {}) {
  pm.addPass(mlir::createConvertVectorToLLVMPass(vector));
  pm.addPass(mlir::createLowerAffinePass());
  pm.addPass(mlir::createArithToLLVMConversionPass());
  pm.addPass(mlir::createConvertIndexToLLVMPass());
  pm.addPass(mlir::createConvertMathToLLVMPass());
  pm.addPass(mlir::createFinalizeMemRefToLLVMConversionPass());
  pm.addPass(mlir::createUBToLLVMConversionPass());
  pm.addPass(mlir::createConvertFuncToLLVMPass());
  pm.addPass(mlir::createConvertControlFlowToLLVMPass());
  pm.addPass(mlir::createReconcileUnrealizedCastsPass());
  addCleanup(pm);
}

} // namespace otodus

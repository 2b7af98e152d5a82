//===- Steps.h - What the stages of all targets have in common -*- C++ -*-===//
//
// Private to lib/Pipelines.
//
//===----------------------------------------------------------------------===//

#pragma once

#include "otodus/Pipelines/Passes.h"

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

} // namespace otodus

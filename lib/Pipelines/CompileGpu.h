//===- CompileGpu.h - Kernels to code of a GPU or its simulator ------------===//

#pragma once

#include "otodus/Codegen/GPU/Chips.h"
#include "otodus/Pipelines/Compiler.h"

namespace otodus {

/// Runs one stage: builds its passes, prints errors, and says which stage failed.
Status runStage(mlir::ModuleOp module, const CompileOptions &options, llvm::StringRef name,
                llvm::function_ref<void(mlir::OpPassManager &)> build);

/// From kernels alone (`options.from` is Kernel, Gpu or NVVM as far as they are concerned) to code of
/// `chip`: PTX and, where ptxas is, a cubin; or code of the simulator. `from` is the stage they are at.
/// Stops after `options.stopAfter`; then `code` is empty.
Status compileGpuKernels(mlir::ModuleOp kernels, Stage from, const Chip &chip,
                         const CompileOptions &options, std::vector<formats::Code> &code);

} // namespace otodus

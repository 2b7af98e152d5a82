//===- Ptx.h - NVVM stage to PTX -------------------------------------------===//
//
// PTX is made in this process by LLVM's NVPTX back end.
//
//===----------------------------------------------------------------------===//

#pragma once

#include "otodus/Formats/Artefact.h"
#include "otodus/Formats/Status.h"
#include "otodus/Target/Ptxas.h"

#include "mlir/IR/BuiltinOps.h"

#include <string>
#include <vector>

namespace otodus {

/// Name, threads per block, bytes of shared memory, cluster and tensor maps of each kernel of a module at
/// the NVVM stage, in order: what a host must know to launch it. Code::Input where `gk.tensor_maps` is
/// no description of the tensor maps that a kernel takes (docs/Gpu.md).
Result<std::vector<formats::Code::Entry>> kernelEntries(mlir::ModuleOp module);

/// The kernels of a module at the NVVM stage (docs/Gpu.md) as one PTX text, with what the host
/// must know to launch them: `kind` PTX, `target` empty. Kernels are compiled on `threads` threads;
/// 0 = the machine's. Code::Internal if LLVM cannot translate the module.
Result<formats::Code> emitPtx(mlir::ModuleOp module, const PtxTarget &target, int threads = 0);

} // namespace otodus

//===- ObjectCode.h - From the llvm dialect to closed code -----------------===//

#pragma once

#include "otodus/Formats/Artefact.h"
#include "otodus/Formats/Status.h"

#include "mlir/IR/BuiltinOps.h"

#include <string>

namespace otodus {

/// What LLVM generates code for.
struct CodeTarget {
  std::string name;                   ///< "cpu:x86-64-v4", goes into the artefact
  std::string cpu, features;          ///< LLVM's -mcpu and -mattr
  std::vector<std::string> requires_; ///< CPU features the code needs, in cpuid names
};

/// Compiles a module in the llvm dialect to one position-independent blob whose entries are
/// its public functions. Code::Internal if the object refers to anything outside itself: the
/// runtime has nothing to resolve it with; the message names the symbol. Kernels are compiled
/// on `threads` threads; 0 = the machine's.
Result<formats::Code> emitCode(mlir::ModuleOp module, const CodeTarget &target, int threads = 0);

/// The same module as assembly text.
Result<std::string> emitAssembly(mlir::ModuleOp module, const CodeTarget &target);

} // namespace otodus

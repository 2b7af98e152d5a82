//===- Compiler.h - From a module to an artefact ---------------------------===//
//
// The whole compiler behind one function. JIT and AOT both call it: the one loads
// the artefact from memory, the other writes it to a file first.
//
//===----------------------------------------------------------------------===//

#pragma once

#include "otodus/Formats/Artefact.h"
#include "otodus/Formats/Status.h"
#include "otodus/Target/Ptxas.h"

#include "mlir/IR/BuiltinOps.h"

#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace mlir {
class DialectRegistry;
}

namespace otodus {

/// The rooms a module walks through, in order. Gpu, NVVM, Ptx and Cubin are those of a GPU; LLVM and
/// Assembly those of a CPU.
enum class Stage { Model, Fused, Kernel, Gpu, NVVM, LLVM, Assembly, Ptx, Cubin, Artefact };

/// "model", "fused", "kernel", "gpu", "nvvm", "llvm", "asm", "ptx", "cubin", "artefact"; nullopt for
/// other names.
std::optional<Stage> parseStage(const std::string &name);

/// The plan of a module, no code, if these calls (numbers as otodus-recompute has them) are
/// computed again.
using PlanWithRecompute =
    std::function<Result<formats::Program>(const std::vector<int64_t> &calls)>;

struct CompileOptions {
  /// cpu[:native|x86-64-v3|x86-64-v4], [cuda:]CHIP or sim:CHIP with a row of the chip table.
  std::string target = "cpu";
  /// The stage the module comes in.
  Stage from = Stage::Model;
  /// Passes to run at the model stage, before anything else: builtin.module(PASS,...), or "".
  std::string modelPipeline;
  /// Shared libraries of passes (MLIR pass plugins) that `modelPipeline` may name.
  std::vector<std::string> plugins;
  /// Called after each stage up to and including LLVM (a CPU's) or NVVM (a GPU's) with the module as it is then
  /// (the driver's --emit and --save-stages).
  std::function<void(Stage, mlir::ModuleOp)> afterStage;
  /// The last stage to run.
  Stage stopAfter = Stage::Artefact;
  /// Filled with the target's assembly if `stopAfter` is Assembly, with PTX or the bytes of a cubin if
  /// it is Ptx or Cubin.
  std::string *assembly = nullptr;
  /// Says which of the `count` calls that save for the backward half are computed again; called after
  /// the kernel stage. Empty: none.
  std::function<Result<std::vector<int64_t>>(int64_t count, const PlanWithRecompute &plan)>
      chooseRecompute;
  /// Print remarks (fusion decisions) whose category matches; "" for none.
  std::string remarks;
  /// Print time per pass to stderr.
  bool timing = false;
  /// Kernels compiled at the same time; 0 = the machine's cores.
  int threads = 0;
  /// The program that makes cubins; "": one that is found (`findPtxas`), "none": PTX only.
  std::string ptxas;
  /// Filled with what ptxas says about each kernel of a GPU target; needs ptxas.
  std::vector<KernelResources> *resources = nullptr;
};

/// Dialects, external models, passes and pipelines: the one list of what exists.
void registerAll(mlir::DialectRegistry &registry);

/// Compiles `module` (changed in place, stage by stage). Diagnostics go to the
/// context's handler; the Status then says only which stage failed.
/// Code::Target for a target this compiler or this machine does not have and for a plugin that
/// cannot be loaded, Code::Usage for a `modelPipeline` that is none.
Result<formats::Artefact> compile(mlir::ModuleOp module, const CompileOptions &options);

} // namespace otodus

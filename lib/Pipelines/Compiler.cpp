//===- Compiler.cpp - From a module to an artefact -------------------------===//

#include "otodus/Pipelines/Compiler.h"

#include "CompileGpu.h"
#include "ModelPipeline.h"

#include "otodus/Codegen/CPU/Machine.h"
#include "otodus/Codegen/Common/HostPlan.h"
#include "otodus/Formats/Hash.h"
#include "otodus/Pipelines/Passes.h"
#include "otodus/Pipelines/Pipelines.h"
#include "otodus/Target/ObjectCode.h"
#include "otodus/Transforms/Passes.h"

#include "mega/IR/MegaOps.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/IR/Diagnostics.h"
#include "mlir/IR/Remarks.h"
#include "mlir/Pass/PassManager.h"

#include "llvm/ADT/SmallString.h"
#include "llvm/ADT/StringSwitch.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/Regex.h"

#include <set>

using namespace mlir;

namespace otodus {
namespace {

/// Prints remarks as they are made: "op: fused: follows mega.linear (bytes-per-row-saved 16384)".
class RemarkPrinter : public remark::detail::MLIRRemarkStreamerBase {
public:
  void streamOptimizationRemark(const remark::detail::Remark &remark) override {
    std::string text;
    llvm::raw_string_ostream stream(text);
    if (auto name = dyn_cast<NameLoc>(remark.getLocation()))
      stream << name.getName().getValue();
    else if (auto file = dyn_cast<FileLineColLoc>(remark.getLocation()))
      stream << file.getFilename().getValue() << ":" << file.getLine() << ":" << file.getColumn();
    else
      stream << remark.getLocation();
    stream << ": " << remark.getRemarkName() << ": ";
    for (const remark::detail::Remark::Arg &part : remark.getArgs()) {
      if (part.key == "Remark")
        stream << part.val;
      else
        stream << " (" << part.key << " " << part.val << ")";
    }
    stream << "\n";
    llvm::errs() << text;
  }
};

/// Turns remarks on for the categories that match.
Status enableRemarks(MLIRContext *context, const std::string &categories) {
  if (categories.empty())
    return Status::ok();
  std::string error;
  if (!llvm::Regex(categories).isValid(error))
    return Status(Code::Usage,
                  "'" + categories + "' is no regular expression for remarks: " + error);
  remark::RemarkCategories all;
  all.passed = all.missed = all.analysis = all.failed =
      ".*(" + categories + ").*"; // anywhere in the name
  if (failed(remark::enableOptimizationRemarks(*context, std::make_unique<RemarkPrinter>(),
                                               std::make_unique<remark::RemarkEmittingPolicyAll>(),
                                               all)))
    return Status(Code::Internal, "remarks cannot be turned on");
  return Status::ok();
}

} // namespace

Status runStage(ModuleOp module, const CompileOptions &options, StringRef name,
                llvm::function_ref<void(OpPassManager &)> build) {
  PassManager pm(module->getContext(), ModuleOp::getOperationName());
  build(pm);
  if (options.timing)
    pm.enableTiming();
  bool reported = false;
  ScopedDiagnosticHandler handler(module->getContext(), [&](Diagnostic &diagnostic) {
    reported |= diagnostic.getSeverity() == DiagnosticSeverity::Error;
    return failure(); // the context's own handler prints it
  });
  if (succeeded(pm.run(module)))
    return Status::ok();
  return Status(Code::Input, "the " + name.str() + " stage failed" +
                                 (reported ? " (see the error above)" : ", and gave no reason"));
}

namespace {

/// The passes of stage `from` expect what the stages before left behind; a module by hand may
/// be at another one.
Status verifyGiven(ModuleOp module, const CompileOptions &options) {
  StringRef later;
  if (options.from < Stage::NVVM && !module.getOps<LLVM::LLVMFuncOp>().empty())
    later = isGpuTarget(options.target) ? "nvvm" : "llvm";
  if (options.from < Stage::Kernel &&
      (llvm::any_of(module.getOps<func::FuncOp>(),
                    [](func::FuncOp function) { return function->hasAttr("mega.grid"); }) ||
       module.walk([](mega::GroupOp group) {
                return group->hasAttr("mega.kernels") ? WalkResult::interrupt()
                                                      : WalkResult::advance();
              }).wasInterrupted()))
    later = "kernel";
  if (!later.empty())
    return Status(Code::Input, "this module is at the " + later.str() + " stage; add --from=" +
                                   later.str() + " to otodus compile");
  for (auto [stage, name] : {std::pair(Stage::Fused, "fused"), std::pair(Stage::Kernel, "kernel")}) {
    if (options.from < stage || options.from > Stage::Kernel)
      continue;
    Status gate = runStage(module, options, name, [name = name](OpPassManager &pm) {
      VerifyStageOptions verify;
      verify.stage = name;
      pm.addPass(createVerifyStage(verify));
    });
    if (!gate.isOk())
      return Status(gate.code(), std::string("this module is not at the ") +
                                     (options.from == Stage::Fused ? "fused" : "kernel") +
                                     " stage (see the error above)");
  }
  return Status::ok();
}

/// A failure behind the kernel stage is ours: keeps the module and says how to replay it.
Status internalError(const Status &status, ModuleOp module, const CompileOptions &options) {
  std::string text;
  llvm::raw_string_ostream stream(text);
  module.print(stream);
  llvm::SmallString<128> path;
  llvm::sys::path::system_temp_directory(/*erasedOnReboot=*/true, path);
  llvm::sys::path::append(path, "otodus-" + formats::sha256Hex(text).substr(0, 12) + ".mlir");
  std::error_code error;
  llvm::raw_fd_ostream file(path, error);
  if (error)
    return Status(Code::Internal, status.message());
  file << text;
  return Status(Code::Internal, status.message() + "; to replay: otodus compile " +
                                    path.str().str() + " --from=kernel --target=" + options.target);
}

/// The kernels of a module, alone: what the LLVM stage works on.
OwningOpRef<ModuleOp> kernelsOf(ModuleOp module) {
  OwningOpRef<ModuleOp> kernels = ModuleOp::create(module.getLoc());
  for (auto function : module.getOps<func::FuncOp>())
    if (function->hasAttr("mega.grid"))
      kernels->push_back(function.clone());
  return kernels;
}

/// The same for every target of a model: how its weights are prepared and in which order they are
/// used does not matter.
std::string hashOf(const formats::Artefact &artefact, const formats::Program &program) {
  std::string text = artefact.configJson + "\n" + artefact.dtype + "\n";
  std::set<std::string> sources;
  for (const formats::Prepared &prepared : program.prepared)
    sources.insert(prepared.sources.begin(), prepared.sources.end());
  for (const std::string &source : sources)
    text += source + "\n";
  for (const formats::State &state : program.states) {
    text += state.name;
    for (int64_t size : state.shape)
      text += " " + std::to_string(size);
    text += "\n";
  }
  return formats::sha256Hex(text);
}

/// An artefact with one program without code, from a module at the kernel stage.
Status describe(ModuleOp module, formats::Artefact &artefact) {
  artefact.producer = "otodus " OTODUS_VERSION;
  auto attribute = [&](StringRef name) {
    auto attr = module->getAttrOfType<StringAttr>(name);
    return attr ? attr.str() : std::string();
  };
  artefact.dtype = attribute("mega.dtype");
  if (artefact.dtype.empty())
    artefact.dtype = "f32";
  artefact.configJson = attribute("mega.config");
  artefact.weightsFile = attribute("mega.weights");
  formats::Program &program = artefact.programs.emplace_back();
  if (failed(buildHostPlan(module, program))) // the context's handler prints the reason
    return Status(Code::Input, "no plan can be made (see the error above)");
  artefact.modelHash = hashOf(artefact, program);
  program.embedded.resize(program.prepared.size());
  return Status::ok();
}

/// What a plan is made of: the module with kernels that have attributes and no bodies.
OwningOpRef<ModuleOp> withoutKernels(ModuleOp module) {
  OwningOpRef<ModuleOp> host = ModuleOp::create(module.getLoc());
  (*host)->setAttrs(module->getAttrDictionary());
  for (Operation &op : *module.getBody()) {
    auto function = dyn_cast<func::FuncOp>(op);
    host->push_back(function && function->hasAttr("mega.grid") ? op.cloneWithoutRegions()
                                                               : op.clone());
  }
  return host;
}

Status recompute(ModuleOp module, const CompileOptions &options,
                 const std::vector<int64_t> &calls) {
  return runStage(module, options, "kernel", [&](OpPassManager &pm) {
    RecomputeOptions chosen;
    chosen.calls.assign(calls.begin(), calls.end());
    pm.addPass(createRecompute(chosen));
  });
}

/// Asks the caller which calls are computed again, and rewrites them.
Status chooseRecompute(ModuleOp module, const CompileOptions &options) {
  auto count = static_cast<int64_t>(savingCalls(module).size());
  OwningOpRef<ModuleOp> host = withoutKernels(module);
  auto plan = [&](const std::vector<int64_t> &calls) -> Result<formats::Program> {
    OwningOpRef<ModuleOp> copy = host->clone();
    OTODUS_RETURN_IF_ERROR(recompute(*copy, options, calls));
    formats::Artefact artefact;
    OTODUS_RETURN_IF_ERROR(describe(*copy, artefact));
    return std::move(artefact.programs.front());
  };
  Result<std::vector<int64_t>> calls = options.chooseRecompute(count, plan);
  OTODUS_RETURN_IF_ERROR(calls.status());
  return calls->empty() ? Status::ok() : recompute(module, options, *calls);
}

} // namespace

std::optional<Stage> parseStage(const std::string &name) {
  return llvm::StringSwitch<std::optional<Stage>>(name)
      .Case("model", Stage::Model)
      .Case("fused", Stage::Fused)
      .Case("kernel", Stage::Kernel)
      .Case("gpu", Stage::Gpu)
      .Case("nvvm", Stage::NVVM)
      .Case("llvm", Stage::LLVM)
      .Case("asm", Stage::Assembly)
      .Case("ptx", Stage::Ptx)
      .Case("cubin", Stage::Cubin)
      .Case("artefact", Stage::Artefact)
      .Default(std::nullopt);
}

/// Whether the target has the stage that a flag names.
static Status checkStage(const char *flag, Stage stage, const CompileOptions &options) {
  bool gpu = isGpuTarget(options.target), sim = isSimulated(options.target), has = true;
  if (stage == Stage::Gpu || stage == Stage::NVVM)
    has = gpu;
  else if (stage == Stage::LLVM || stage == Stage::Assembly)
    has = !gpu || (sim && flag == StringRef("--emit"));
  else if (stage == Stage::Ptx || stage == Stage::Cubin)
    has = gpu && !sim;
  if (has)
    return Status::ok();
  return Status(Code::Usage, std::string(flag) + " names a stage that the target '" +
                                 options.target + "' does not have; a CPU has llvm and asm, a GPU "
                                                  "gpu, nvvm, ptx and cubin, the simulator gpu, "
                                                  "nvvm, llvm and asm");
}

Result<formats::Artefact> compile(ModuleOp module, const CompileOptions &options) {
  const bool gpu = isGpuTarget(options.target);
  Result<cpu::Machine> machine = cpu::Machine();
  Result<Chip> chip = Chip();
  if (gpu)
    chip = chipFor(options.target);
  else
    machine = cpu::machineFor(options.target);
  if (!machine.isOk())
    return machine.status();
  if (!chip.isOk())
    return chip.status();
  OTODUS_RETURN_IF_ERROR(checkStage("--emit", options.stopAfter, options));
  OTODUS_RETURN_IF_ERROR(checkStage("--from", options.from, options));

  OTODUS_RETURN_IF_ERROR(enableRemarks(module->getContext(), options.remarks));
  OTODUS_RETURN_IF_ERROR(loadPlugins(options.plugins));
  if (!options.modelPipeline.empty() && options.from != Stage::Model)
    return Status(Code::Usage, "--pass-pipeline changes a module at the model stage, but this one "
                               "is behind it; leave out --from or use otodus-opt");
  OTODUS_RETURN_IF_ERROR(verifyGiven(module, options));
  if (!options.modelPipeline.empty()) {
    OpPassManager passes(ModuleOp::getOperationName());
    OTODUS_RETURN_IF_ERROR(parseModelPipeline(options.modelPipeline, passes));
    // Gradients are of the model's ops: what the passes make of them may have none.
    bool gradients = llvm::any_of(module.getOps<func::FuncOp>(), [](func::FuncOp function) {
      return function->hasAttr("mega.differentiate");
    });
    if (gradients)
      OTODUS_RETURN_IF_ERROR(runStage(module, options, "model", buildGradients));
    OTODUS_RETURN_IF_ERROR(
        runStage(module, options, "model", [&](OpPassManager &pm) { pm = passes; }));
  }
  formats::Artefact artefact;
  auto done = [&](Stage stage) {
    if (options.afterStage)
      options.afterStage(stage, module);
    return stage == options.stopAfter;
  };
  if (options.from <= Stage::Model && done(Stage::Model))
    return artefact;
  if (options.from < Stage::Fused) {
    OTODUS_RETURN_IF_ERROR(runStage(module, options, "fused", buildFusedStage));
    if (done(Stage::Fused))
      return artefact;
  }
  if (options.from < Stage::Kernel) {
    OTODUS_RETURN_IF_ERROR(runStage(module, options, "kernel", [&](OpPassManager &pm) {
      gpu ? buildGpuKernelStage(pm, chip->name) : buildKernelStage(pm);
    }));
    if (options.chooseRecompute)
      OTODUS_RETURN_IF_ERROR(chooseRecompute(module, options));
    if (done(Stage::Kernel))
      return artefact;
  }

  OwningOpRef<ModuleOp> kernels;
  if (gpu) {
    if (options.from <= Stage::Kernel) {
      OTODUS_RETURN_IF_ERROR(describe(module, artefact));
      kernels = kernelsOf(module);
    } else if (options.stopAfter == Stage::Artefact) {
      return Status(Code::Usage, "an artefact cannot be made from the gpu or nvvm stage, which has "
                                 "no plan; start from the kernel stage, or stop at ptx or cubin");
    } else {
      kernels = module.clone();
    }
    std::vector<formats::Code> code;
    Status made = compileGpuKernels(*kernels, options.from, *chip, options, code);
    if (!made.isOk())
      return made.code() == Code::Target || options.from > Stage::Kernel
                 ? made
                 : internalError(made, module, options);
    if (!artefact.programs.empty())
      artefact.programs.front().code = std::move(code);
    return artefact;
  }
  if (options.from < Stage::LLVM) {
    OTODUS_RETURN_IF_ERROR(describe(module, artefact));
    kernels = kernelsOf(module);
    Status lowered = runStage(*kernels, options, "llvm",
                              [&](OpPassManager &pm) { buildLLVMStage(pm, machine->target); });
    if (!lowered.isOk())
      return internalError(lowered, module, options);
  } else {
    if (options.stopAfter > Stage::Assembly)
      return Status(Code::Usage,
                    "an artefact cannot be made from the llvm stage, which has no plan; "
                    "start from the kernel stage, or stop at asm");
    if (module.getOps<LLVM::LLVMFuncOp>().empty())
      return Status(Code::Input,
                    "expected llvm.func in a module at the llvm stage, but found none");
    kernels = module.clone();
  }
  if (options.afterStage)
    options.afterStage(Stage::LLVM, *kernels);
  if (options.stopAfter == Stage::LLVM)
    return artefact;

  CodeTarget target{machine->target, machine->llvmCpu, machine->features, machine->requires_};
  if (options.stopAfter == Stage::Assembly) {
    Result<std::string> assembly = emitAssembly(*kernels, target);
    if (!assembly.isOk())
      return assembly.status();
    if (options.assembly)
      *options.assembly = *assembly;
    return artefact;
  }
  Result<formats::Code> code = emitCode(*kernels, target, options.threads);
  if (!code.isOk())
    return internalError(code.status(), module, options);
  artefact.programs.front().code.push_back(std::move(*code));
  return artefact;
}

} // namespace otodus

//===- OpenTrainer.cpp - From a configuration to something that learns -----===//

#include "OpenTrainer.h"

#include "ModelCompiler.h"

#include "otodus/Codegen/GPU/Chips.h"

#include <malloc.h>

namespace otodus::driver {

namespace {
/// Imports the model of `config` for training and says how to compile it. Memory is planned on the
/// way; `memory` and `plan` outlive the options.
Result<mlir::OwningOpRef<mlir::ModuleOp>>
importForTraining(Compiler &compiler, const formats::ModelConfig &config, const std::string &name,
                  const std::vector<std::string> &tensors, const ModelFlags &flags,
                  const MemoryRequest &memory, MemoryPlan &plan, CompileOptions &options) {
  Result<std::string> dtype = checkDtype(flags.dtype);
  if (!dtype.isOk())
    return dtype.status();
  if (config.attention_dropout != 0)
    return Status(Code::Input, name + ": training has no dropout of attention's probabilities; set "
                                      "attention_dropout to 0 (dropout and hidden_dropout work)");
  OTODUS_RETURN_IF_ERROR(addChipFile(flags));
  options = compileOptions(flags, flags.target);
  runtime::Device::Traits traits = runtime::cpuDevice()->traits();
  if (isGpuTarget(flags.target))
    traits = {.alignment = 256};
  options.chooseRecompute = [&memory, &plan, traits](int64_t count,
                                                     const PlanWithRecompute &planOf) {
    return chooseRecompute(memory, traits, count, planOf, plan);
  };
  return compiler.importDirectory(config, *dtype, "", tensors, /*training=*/true);
}

Result<std::unique_ptr<runtime::Trainer>>
createTrainer(formats::Artefact artefact, runtime::WeightSource &weights, const ModelFlags &flags) {
  runtime::ThreadPoolOptions poolOptions;
  poolOptions.threads = flags.threads;
  runtime::TrainerOptions options;
  options.device = deviceOptions(flags, flags.target);
  options.pool = std::make_shared<runtime::ThreadPool>(poolOptions);
  return runtime::Trainer::create(std::move(artefact), weights, options);
}
} // namespace

Result<MemoryPlan> planTrainingMemory(const formats::ModelConfig &config, const std::string &name,
                                      const ModelFlags &flags, const MemoryRequest &given) {
  MemoryRequest memory = given;
  memory.layerwise |= config.layerwise_ckpt;
  MemoryPlan plan;
  Result<ModelFlags> resolved = resolveTarget(flags);
  if (!resolved.isOk())
    return resolved.status();
  CompileOptions options;
  Compiler compiler;
  Result<mlir::OwningOpRef<mlir::ModuleOp>> module =
      importForTraining(compiler, config, name, {}, *resolved, memory, plan, options);
  if (!module.isOk())
    return module.status();
  options.stopAfter = Stage::Kernel;
  Result<formats::Artefact> stage = compile(**module, options);
  if (!stage.isOk())
    return stage.status();
  return plan;
}

Result<std::unique_ptr<runtime::Trainer>>
openTrainer(const formats::ModelConfig &config, const std::string &name,
            const std::vector<std::string> &tensors, runtime::WeightSource &weights,
            const ModelFlags &flags, const MemoryRequest &given, MemoryPlan *plan) {
  MemoryRequest memory = given;
  memory.layerwise |= config.layerwise_ckpt;
  MemoryPlan planned;
  Result<ModelFlags> resolved = resolveTarget(flags);
  if (!resolved.isOk())
    return resolved.status();
  Result<formats::Artefact> artefact = Status(Code::Internal, "no artefact");
  {
    CompileOptions options;
    Compiler compiler;
    Result<mlir::OwningOpRef<mlir::ModuleOp>> module =
        importForTraining(compiler, config, name, tensors, *resolved, memory, planned, options);
    if (!module.isOk())
      return module.status();
    artefact = compile(**module, options);
  }
  if (!artefact.isOk())
    return artefact.status();
  // What the compiler used goes back to the system before the weights come.
  malloc_trim(0);
  if (plan)
    *plan = planned;
  return createTrainer(std::move(*artefact), weights, *resolved);
}

Result<std::unique_ptr<runtime::Trainer>> openTrainerText(const std::string &text,
                                                          const std::string &name,
                                                          runtime::WeightSource &weights,
                                                          const ModelFlags &given) {
  Result<ModelFlags> flags = resolveTarget(given);
  if (!flags.isOk())
    return flags.status();
  OTODUS_RETURN_IF_ERROR(addChipFile(*flags));
  Compiler compiler;
  Result<mlir::OwningOpRef<mlir::ModuleOp>> module = compiler.parseText(text, name);
  if (!module.isOk())
    return module.status();
  Result<formats::Artefact> artefact = compile(**module, compileOptions(*flags, flags->target));
  if (!artefact.isOk())
    return artefact.status();
  return createTrainer(std::move(*artefact), weights, *flags);
}

} // namespace otodus::driver

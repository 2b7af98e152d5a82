//===- CompileGpu.cpp - Kernels to code of a GPU or its simulator ----------===//

#include "CompileGpu.h"

#include "otodus/Codegen/CPU/Machine.h"
#include "otodus/Codegen/Sim/Passes.h"
#include "otodus/Pipelines/Pipelines.h"
#include "otodus/Target/ObjectCode.h"
#include "otodus/Target/Ptx.h"

using namespace mlir;

namespace otodus {
namespace {

std::string textOf(const formats::Code &code) {
  return std::string(code.blob.begin(), code.blob.end());
}

Status compilePtx(ModuleOp kernels, const Chip &chip, const CompileOptions &options,
                  std::vector<formats::Code> &code) {
  PtxTarget target{chip.name, chip.llvmCpu, chip.ptxVersion, {}};
  Result<formats::Code> ptx = emitPtx(kernels, target, options.threads);
  if (!ptx.isOk())
    return ptx.status();
  if (options.stopAfter == Stage::Ptx) {
    if (options.assembly)
      *options.assembly = textOf(*ptx);
    return Status::ok();
  }
  std::string ptxas;
  if (options.ptxas != "none") {
    Result<std::string> found = findPtxas(options.ptxas);
    if (!found.isOk())
      return found.status();
    ptxas = *found;
  }
  if (ptxas.empty() && (options.stopAfter == Stage::Cubin || options.resources))
    return Status(Code::Target, "a cubin needs NVIDIA's ptxas, which is not on PATH; --ptxas=FILE "
                                "names it, --emit=ptx does without");
  formats::Code cubin;
  if (!ptxas.empty()) {
    Result<Assembled> assembled = assemble(ptxas, textOf(*ptx), target);
    if (!assembled.isOk())
      return assembled.status();
    // ptxas unrolls loops until registers run out, and then spills. Those kernels stay rolled.
    for (const KernelResources &kernel : assembled->kernels)
      if (kernel.spillStores || kernel.spillLoads)
        target.rolled.push_back(kernel.name);
    if (!target.rolled.empty()) {
      ptx = emitPtx(kernels, target, options.threads);
      if (!ptx.isOk())
        return ptx.status();
      assembled = assemble(ptxas, textOf(*ptx), target);
      if (!assembled.isOk())
        return assembled.status();
    }
    cubin.kind = formats::CodeKind::Cubin;
    cubin.target = "cuda:" + chip.name;
    cubin.entries = ptx->entries;
    cubin.blob = std::move(assembled->cubin);
    if (options.resources)
      *options.resources = std::move(assembled->kernels);
  }
  if (options.stopAfter == Stage::Cubin) {
    if (options.assembly)
      options.assembly->assign(cubin.blob.begin(), cubin.blob.end());
    return Status::ok();
  }
  ptx->target = "cuda:" + chip.name;
  code.push_back(std::move(*ptx));
  if (!cubin.blob.empty())
    code.push_back(std::move(cubin));
  return Status::ok();
}

/// The same kernels as host code. Any x86-64-v3 machine runs it, as it does an artefact for that CPU.
Status compileSim(ModuleOp kernels, const CompileOptions &options,
                  std::vector<formats::Code> &code) {
  Result<std::vector<formats::Code::Entry>> launches = kernelEntries(kernels);
  if (!launches.isOk())
    return launches.status();
  OwningOpRef<ModuleOp> host = kernels.clone();
  OTODUS_RETURN_IF_ERROR(runStage(
      *host, options, "llvm", [](OpPassManager &pm) { pm.addPass(createNvvmToSim()); }));
  if (options.afterStage)
    options.afterStage(Stage::LLVM, *host);
  if (options.stopAfter == Stage::LLVM)
    return Status::ok();
  Result<cpu::Machine> machine = cpu::machineFor("cpu:x86-64-v3");
  if (!machine.isOk())
    return machine.status();
  CodeTarget target{options.target, machine->llvmCpu, machine->features, machine->requires_};
  if (options.stopAfter == Stage::Assembly) {
    Result<std::string> assembly = emitAssembly(*host, target);
    if (assembly.isOk() && options.assembly)
      *options.assembly = *assembly;
    return assembly.status();
  }
  Result<formats::Code> made = emitCode(*host, target, options.threads);
  if (!made.isOk())
    return made.status();
  made->kind = formats::CodeKind::Sim;
  for (formats::Code::Entry &entry : *launches)
    for (const formats::Code::Entry &placed : made->entries)
      if (placed.name == entry.name)
        entry.offset = placed.offset;
  made->entries = std::move(*launches);
  code.push_back(std::move(*made));
  return Status::ok();
}

} // namespace

Status compileGpuKernels(ModuleOp kernels, Stage from, const Chip &chip,
                         const CompileOptions &options, std::vector<formats::Code> &code) {
  auto done = [&](Stage stage) {
    if (options.afterStage)
      options.afterStage(stage, kernels);
    return options.stopAfter == stage;
  };
  if (from < Stage::Gpu) {
    OTODUS_RETURN_IF_ERROR(runStage(kernels, options, "gpu", [&](OpPassManager &pm) {
      buildGpuStage(pm, chip.name);
    }));
    if (done(Stage::Gpu))
      return Status::ok();
  }
  if (from < Stage::NVVM) {
    OTODUS_RETURN_IF_ERROR(runStage(kernels, options, "nvvm", [&](OpPassManager &pm) {
      buildNVVMStage(pm, chip.name);
    }));
    if (done(Stage::NVVM))
      return Status::ok();
  }
  if (isSimulated(options.target))
    return compileSim(kernels, options, code);
  return compilePtx(kernels, chip, options, code);
}

} // namespace otodus

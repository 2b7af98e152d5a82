//===- CompileGpu.cpp - Kernels to code of a GPU or its simulator ----------===//

#include "CompileGpu.h"

#include "otodus/Pipelines/Pipelines.h"
#include "otodus/Target/Ptx.h"

using namespace mlir;

namespace otodus {
namespace {

Status compilePtx(ModuleOp kernels, const Chip &chip, const CompileOptions &options,
                  std::vector<formats::Code> &code) {
  PtxTarget target{chip.name, chip.llvmCpu, chip.ptxVersion};
  Result<formats::Code> ptx = emitPtx(kernels, target, options.threads);
  if (!ptx.isOk())
    return ptx.status();
  ptx->target = "cuda:" + chip.name;
  std::string text(ptx->blob.begin(), ptx->blob.end());
  if (options.stopAfter == Stage::Ptx) {
    if (options.assembly)
      *options.assembly = text;
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
    Result<Assembled> assembled = assemble(ptxas, text, target);
    if (!assembled.isOk())
      return assembled.status();
    cubin.kind = formats::CodeKind::Cubin;
    cubin.target = ptx->target;
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
  code.push_back(std::move(*ptx));
  if (!cubin.blob.empty())
    code.push_back(std::move(cubin));
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
    return Status(Code::Target, "this compiler makes no code for " + options.target + " yet");
  return compilePtx(kernels, chip, options, code);
}

} // namespace otodus

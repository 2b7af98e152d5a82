//===- ModelCompiler.cpp - What opening a model or a trainer begins with ---===//

#include "ModelCompiler.h"

#include "Output.h"

#include "otodus/Codegen/GPU/Chips.h"
#include "otodus/Formats/OutputFile.h"
#include "otodus/Importer/Importer.h"

#include "mlir/Parser/Parser.h"
#include "llvm/Support/raw_ostream.h"

#include <set>

namespace otodus::driver {

static mlir::DialectRegistry makeRegistry() {
  mlir::DialectRegistry registry;
  registerAll(registry);
  return registry;
}

Compiler::Compiler() : context_(makeRegistry()), handler_(sources_, &context_, llvm::errs()) {
  context_.printOpOnDiagnostic(false);
  // Remarks are asked for by --remarks; the compiler prints those itself.
  handler_.setCallStackLimit(4);
}

Result<mlir::OwningOpRef<mlir::ModuleOp>> Compiler::parse(const std::string &path) {
  Result<std::string> text = readInput(path);
  return text.isOk() ? parseText(*text, path == "-" ? "<stdin>" : path) : text.status();
}

Result<mlir::OwningOpRef<mlir::ModuleOp>> Compiler::parseText(const std::string &text,
                                                              const std::string &name) {
  sources_.AddNewSourceBuffer(llvm::MemoryBuffer::getMemBufferCopy(text, name), llvm::SMLoc());
  mlir::OwningOpRef<mlir::ModuleOp> module =
      mlir::parseSourceFile<mlir::ModuleOp>(sources_, mlir::ParserConfig(&context_));
  if (!module)
    return Status(Code::Input, name + ": cannot be read as a module (see the errors above)");
  return module;
}

Result<mlir::OwningOpRef<mlir::ModuleOp>>
Compiler::importDirectory(const formats::ModelConfig &config, const std::string &dtype,
                          const std::string &weightsFile, std::vector<std::string> tensors,
                          bool training) {
  ImportOptions options;
  options.training = training;
  options.tensors = std::move(tensors);
  options.dtype = dtype;
  options.weightsFile = weightsFile;
  return importModel(context_, config, options);
}

CompileOptions compileOptions(const ModelFlags &flags, const std::string &target) {
  CompileOptions options;
  options.target = target;
  options.remarks = flags.remarks;
  options.timing = flags.timing;
  options.threads = flags.jobs;
  options.modelPipeline = flags.passPipeline;
  options.plugins = flags.plugins;
  options.ptxas = flags.ptxas;
  return options;
}

Status addChipFile(const ModelFlags &flags) {
  static std::set<std::string> known;
  if (flags.chipFile.empty() || known.count(flags.chipFile))
    return Status::ok();
  Result<std::string> text = formats::readFile(flags.chipFile);
  if (!text.isOk())
    return text.status();
  OTODUS_RETURN_IF_ERROR(addChips(*text, flags.chipFile));
  known.insert(flags.chipFile);
  return Status::ok();
}

Result<ModelFlags> resolveTarget(ModelFlags flags) {
  if (flags.target != "cuda")
    return flags;
  Result<std::string> target = runtime::nativeCudaTarget(flags.device);
  if (!target.isOk())
    return target.status();
  flags.target = *target;
  return flags;
}

runtime::DeviceOptions deviceOptions(const ModelFlags &flags, const std::string &target) {
  runtime::DeviceOptions options;
  options.target = target.starts_with("sm_") ? "cuda:" + target : target;
  options.index = flags.device;
  options.timeout = flags.deviceTimeout;
  options.checked = flags.deviceCheck;
  options.sim = flags.sim;
  options.report = [](const std::string &text) { note("simulator: " + text); };
  return options;
}

Result<std::string> checkDtype(const std::string &dtype) {
  if (dtype.empty())
    return std::string("f32");
  if (dtype != "f32" && dtype != "bf16")
    return Status(Code::Usage, "--dtype expects f32 or bf16, but got '" + dtype + "'");
  return dtype;
}

} // namespace otodus::driver

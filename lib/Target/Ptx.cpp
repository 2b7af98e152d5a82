//===- Ptx.cpp - NVVM stage to PTX -----------------------------------------===//

#include "otodus/Target/Ptx.h"

#include "Optimize.h"

#include "mlir/Conversion/NVVMToLLVM/NVVMToLLVM.h"
#include "mlir/Conversion/Passes.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "mlir/IR/OwningOpRef.h"
#include "mlir/Pass/PassManager.h"
#include "mlir/Target/LLVMIR/Dialect/Builtin/BuiltinToLLVMIRTranslation.h"
#include "mlir/Target/LLVMIR/Dialect/LLVMIR/LLVMToLLVMIRTranslation.h"
#include "mlir/Target/LLVMIR/Dialect/NVVM/NVVMToLLVMIRTranslation.h"
#include "mlir/Target/LLVMIR/Export.h"

#include "llvm/Analysis/LoopInfo.h"
#include "llvm/Bitcode/BitcodeReader.h"
#include "llvm/Bitcode/BitcodeWriter.h"
#include "llvm/IR/DiagnosticInfo.h"
#include "llvm/IR/DiagnosticPrinter.h"
#include "llvm/IR/Dominators.h"
#include "llvm/IR/LegacyPassManager.h"
#include "llvm/IR/Module.h"
#include "llvm/MC/TargetRegistry.h"
#include "llvm/Support/CommandLine.h"
#include "llvm/Support/TargetSelect.h"
#include "llvm/Target/TargetMachine.h"
#include "llvm/Transforms/Utils/Cloning.h"

#include <atomic>
#include <mutex>
#include <thread>

namespace otodus {
namespace {

using Bytes = llvm::SmallVector<char, 0>;

void initialize() {
  static std::once_flag once;
  std::call_once(once, [] {
    LLVMInitializeNVPTXTargetInfo();
    LLVMInitializeNVPTXTarget();
    LLVMInitializeNVPTXTargetMC();
    LLVMInitializeNVPTXAsmPrinter();
    // Shared memory's addresses fit 32 bits, and so does the arithmetic on them.
    auto &options = llvm::cl::getRegisteredOptions();
    if (auto found = options.find("nvptx-short-ptr"); found != options.end())
      static_cast<llvm::cl::opt<bool> *>(found->second)->setValue(true);
  });
}

std::unique_ptr<llvm::TargetMachine> machineOf(const PtxTarget &target, std::string &error) {
  llvm::Triple triple("nvptx64-nvidia-cuda");
  const llvm::Target *llvmTarget = llvm::TargetRegistry::lookupTarget(triple, error);
  if (!llvmTarget)
    return nullptr;
  return std::unique_ptr<llvm::TargetMachine>(llvmTarget->createTargetMachine(
      triple, target.llvmCpu, "+ptx" + std::to_string(target.ptxVersion), llvm::TargetOptions(),
      std::nullopt, std::nullopt, llvm::CodeGenOptLevel::Aggressive));
}

/// Errors of the back end as values; without a handler LLVM ends the process.
struct Collect : llvm::DiagnosticHandler {
  std::string &errors;
  explicit Collect(std::string &errors) : errors(errors) {}
  bool handleDiagnostics(const llvm::DiagnosticInfo &info) override {
    if (info.getSeverity() == llvm::DS_Error && errors.empty()) {
      llvm::raw_string_ostream stream(errors);
      llvm::DiagnosticPrinterRawOStream printer(stream);
      info.print(printer);
    }
    return true;
  }
};

/// Optimises `module`, which holds one kernel, and writes its PTX; with `rolled`, ptxas unrolls no
/// loop of it.
Result<std::string> generate(llvm::Module &module, const PtxTarget &target, bool rolled) {
  std::string error;
  std::unique_ptr<llvm::TargetMachine> machine = machineOf(target, error);
  if (!machine)
    return Status(Code::Target, "this LLVM cannot generate PTX: " + error);
  std::string errors;
  module.getContext().setDiagnosticHandler(std::make_unique<Collect>(errors));
  module.setTargetTriple(llvm::Triple("nvptx64-nvidia-cuda"));
  module.setDataLayout(machine->createDataLayout());
  for (llvm::Function &function : module)
    if (!function.isDeclaration())
      function.addFnAttr(llvm::Attribute::NoUnwind);

  optimize(module, *machine, llvm::OptimizationLevel::O3);
  for (llvm::Function &function : module) {
    if (!rolled || function.isDeclaration())
      continue;
    llvm::DominatorTree dominators(function);
    llvm::LoopInfo info(dominators);
    for (llvm::Loop *loop : info.getLoopsInPreorder())
      loop->setLoopAlreadyUnrolled(); // NVPTX writes .pragma "nounroll"
  }

  Bytes bytes;
  llvm::raw_svector_ostream stream(bytes);
  llvm::legacy::PassManager passes;
  if (machine->addPassesToEmitFile(passes, stream, nullptr, llvm::CodeGenFileType::AssemblyFile))
    return Status(Code::Internal, "LLVM cannot write PTX");
  passes.run(module);
  if (!errors.empty())
    return Status(Code::Internal, "LLVM's NVPTX back end: " + errors);
  return std::string(bytes.begin(), bytes.end());
}

/// One kernel of `module` and the variables it uses, as bitcode: a context serves one thread.
Bytes extract(const llvm::Module &module, const llvm::Function &kernel) {
  llvm::ValueToValueMapTy map;
  std::unique_ptr<llvm::Module> part =
      llvm::CloneModule(module, map, [&](const llvm::GlobalValue *value) {
        return value == &kernel || llvm::isa<llvm::GlobalVariable>(value);
      });
  for (llvm::Function &function : llvm::make_early_inc_range(*part))
    if (function.isDeclaration() && function.use_empty() && !function.isIntrinsic())
      function.eraseFromParent();
  for (llvm::GlobalVariable &variable : llvm::make_early_inc_range(part->globals())) {
    if (variable.use_empty())
      variable.eraseFromParent();
    else if (!variable.isDeclaration()) // names meet again in one text
      variable.setName(kernel.getName() + "_" + variable.getName());
  }
  Bytes bytes;
  llvm::raw_svector_ostream stream(bytes);
  llvm::WriteBitcodeToFile(*part, stream);
  return bytes;
}

/// Appends the kernel of `text` to `all`: one header and one declaration of shared memory.
void append(std::string &all, llvm::StringRef text) {
  static const char *const kHeader[] = {".version", ".target", ".address_size", ".extern .shared"};
  while (!text.empty()) {
    auto [line, rest] = text.split('\n');
    text = rest;
    llvm::StringRef trimmed = line.trim();
    if (trimmed.empty() || trimmed.starts_with("//"))
      continue;
    bool header = llvm::any_of(kHeader, [&](const char *start) { return trimmed.starts_with(start); });
    if (header && llvm::StringRef(all).contains(trimmed))
      continue;
    all.append(line.begin(), line.end());
    all += '\n';
  }
}

} // namespace

namespace {

/// `gk.tensor_maps` of a kernel (docs/Gpu.md). Hand-written modules hold anything.
Result<formats::TensorMap> tensorMapFrom(mlir::Attribute attr) {
  auto wrong = [&] {
    std::string text;
    llvm::raw_string_ostream(text) << attr;
    return Status(Code::Input,
                  "gk.tensor_maps expects {buffer, dtype, extents, strides, box, swizzle} with extents "
                  "and strides of array<i64: symbol, factor, divisor>, but got " + text);
  };
  auto map = mlir::dyn_cast<mlir::DictionaryAttr>(attr);
  if (!map)
    return wrong();
  auto buffer = map.getAs<mlir::IntegerAttr>("buffer"), swizzle = map.getAs<mlir::IntegerAttr>("swizzle");
  auto dtype = map.getAs<mlir::TypeAttr>("dtype");
  auto box = map.getAs<mlir::DenseI64ArrayAttr>("box");
  if (!buffer || !swizzle || !dtype || !box)
    return wrong();
  formats::TensorMap result;
  result.buffer = buffer.getInt();
  result.swizzle = swizzle.getInt();
  result.box.assign(box.asArrayRef().begin(), box.asArrayRef().end());
  mlir::Type type = dtype.getValue();
  if (!type.isBF16() && !type.isF32() && !type.isInteger(32))
    return wrong();
  result.dtype = type.isBF16()  ? formats::DType::BF16
                 : type.isF32() ? formats::DType::F32
                                : formats::DType::I32;
  auto extents = [&](llvm::StringRef name, std::vector<formats::Extent> &out) {
    auto list = map.getAs<mlir::ArrayAttr>(name);
    if (!list)
      return false;
    for (mlir::Attribute item : list) {
      auto extent = mlir::dyn_cast<mlir::DenseI64ArrayAttr>(item);
      if (!extent || extent.size() != 3 || extent[0] < 0 ||
          extent[0] > int64_t(formats::Symbol::Rows))
        return false;
      out.push_back({formats::Symbol(extent[0]), extent[1], extent[2]});
    }
    return true;
  };
  if (!extents("extents", result.extents) || !extents("strides", result.strides))
    return wrong();
  return result;
}

} // namespace

Result<std::vector<formats::Code::Entry>> kernelEntries(mlir::ModuleOp module) {
  std::vector<formats::Code::Entry> entries;
  for (auto function : module.getOps<mlir::LLVM::LLVMFuncOp>()) {
    if (!function->hasAttr(mlir::NVVM::NVVMDialect::getKernelFuncAttrName()))
      continue;
    formats::Code::Entry entry;
    entry.name = function.getName().str();
    if (auto block = function->getAttrOfType<mlir::DenseI32ArrayAttr>(
            mlir::NVVM::NVVMDialect::getReqntidAttrName()))
      entry.threads = block[0];
    if (auto shared = function->getAttrOfType<mlir::IntegerAttr>("gk.shared_bytes"))
      entry.sharedBytes = shared.getInt();
    if (auto cluster = function->getAttrOfType<mlir::DenseI32ArrayAttr>(
            mlir::NVVM::NVVMDialect::getClusterDimAttrName()))
      entry.cluster = cluster[0];
    if (auto maps = function->getAttrOfType<mlir::ArrayAttr>("gk.tensor_maps"))
      for (mlir::Attribute attr : maps) {
        Result<formats::TensorMap> map = tensorMapFrom(attr);
        if (!map.isOk())
          return map.status().in("kernel '" + entry.name + "'");
        entry.tensorMaps.push_back(std::move(*map));
      }
    size_t parameters = 0;
    for (unsigned i = 0; i < function.getNumArguments(); ++i)
      parameters += bool(function.getArgAttr(i, mlir::LLVM::LLVMDialect::getByValAttrName()));
    if (parameters != entry.tensorMaps.size())
      return Status(Code::Input, "kernel '" + entry.name + "' takes " + std::to_string(parameters) +
                                     " tensor maps, but its gk.tensor_maps describes " +
                                     std::to_string(entry.tensorMaps.size()));
    entries.push_back(std::move(entry));
  }
  return entries;
}

Result<formats::Code> emitPtx(mlir::ModuleOp module, const PtxTarget &target, int threads) {
  initialize();
  mlir::MLIRContext *mlirContext = module->getContext();
  mlir::registerBuiltinDialectTranslation(*mlirContext);
  mlir::registerLLVMDialectTranslation(*mlirContext);
  mlir::registerNVVMDialectTranslation(*mlirContext);

  formats::Code code;
  code.kind = formats::CodeKind::PTX;
  code.ptxVersion = target.ptxVersion;
  Result<std::vector<formats::Code::Entry>> entries = kernelEntries(module);
  if (!entries.isOk())
    return entries.status();
  code.entries = std::move(*entries);

  // Instructions that LLVM has no intrinsic for become assembly, in a copy: the simulator wants
  // them as they are.
  mlir::OwningOpRef<mlir::ModuleOp> copy = module.clone();
  mlir::PassManager passes(mlirContext, mlir::ModuleOp::getOperationName());
  passes.addPass(mlir::createConvertNVVMToLLVMPass());
  if (mlir::failed(passes.run(*copy)))
    return Status(Code::Internal, "nvvm ops cannot be written as assembly (see the error above)");
  llvm::LLVMContext context;
  std::unique_ptr<llvm::Module> translated =
      mlir::translateModuleToLLVMIR(*copy, context, "otodus");
  if (!translated)
    return Status(Code::Internal, "the nvvm dialect module cannot be translated to LLVM IR");
  {
    std::string error;
    std::unique_ptr<llvm::TargetMachine> machine = machineOf(target, error);
    if (!machine)
      return Status(Code::Target, "this LLVM cannot generate PTX: " + error);
    translated->setDataLayout(machine->createDataLayout());
  }

  std::vector<Bytes> parts;
  for (const formats::Code::Entry &entry : code.entries)
    parts.push_back(extract(*translated, *translated->getFunction(entry.name)));
  std::vector<std::string> texts(parts.size());
  std::vector<Status> status(parts.size());
  std::atomic<size_t> next = 0;
  auto work = [&] {
    for (size_t i = next++; i < parts.size(); i = next++) {
      llvm::LLVMContext own;
      auto part = llvm::parseBitcodeFile(
          llvm::MemoryBufferRef(llvm::StringRef(parts[i].data(), parts[i].size()), "kernel"), own);
      if (!part) {
        status[i] = Status(Code::Internal, llvm::toString(part.takeError()));
        continue;
      }
      Result<std::string> text =
          generate(**part, target, llvm::is_contained(target.rolled, code.entries[i].name));
      if (text.isOk())
        texts[i] = std::move(*text);
      else
        status[i] = text.status().in(code.entries[i].name);
    }
  };
  size_t count = threads > 0 ? size_t(threads) : std::max(1u, std::thread::hardware_concurrency());
  std::vector<std::thread> workers;
  for (size_t i = 1; i < std::min(count, parts.size()); ++i)
    workers.emplace_back(work);
  work();
  for (std::thread &worker : workers)
    worker.join();
  for (const Status &one : status)
    OTODUS_RETURN_IF_ERROR(one);
  std::string all;
  for (const std::string &text : texts)
    append(all, text);
  code.blob.assign(all.begin(), all.end());
  return code;
}

} // namespace otodus

//===- ObjectCode.cpp - LLVM IR to a closed blob ---------------------------===//
//
// The object LLVM makes is taken apart here: its sections are laid out at fixed distances, the
// few relative relocations between them are resolved, and what remains is bytes that run
// wherever they are mapped. So the runtime needs no linker and no ELF.
//
//===----------------------------------------------------------------------===//

#include "otodus/Target/ObjectCode.h"

#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Target/LLVMIR/Dialect/Builtin/BuiltinToLLVMIRTranslation.h"
#include "mlir/Target/LLVMIR/Dialect/LLVMIR/LLVMToLLVMIRTranslation.h"
#include "mlir/Target/LLVMIR/Export.h"

#include "llvm/IR/LegacyPassManager.h"
#include "llvm/IR/Module.h"
#include "llvm/MC/TargetRegistry.h"
#include "llvm/Object/ELFObjectFile.h"
#include "llvm/Passes/PassBuilder.h"
#include "llvm/Support/TargetSelect.h"
#include "llvm/Target/TargetMachine.h"

#include <mutex>

namespace otodus {
namespace {

constexpr uint64_t kPage = 4096;

std::string message(llvm::Error error) { return llvm::toString(std::move(error)); }

struct Compiled {
  std::unique_ptr<llvm::LLVMContext> context;
  std::unique_ptr<llvm::Module> module;
  std::unique_ptr<llvm::TargetMachine> machine;
};

Result<Compiled> optimize(mlir::ModuleOp module, const CodeTarget &target) {
  static std::once_flag once;
  std::call_once(once, [] {
    llvm::InitializeNativeTarget();
    llvm::InitializeNativeTargetAsmPrinter();
    llvm::InitializeNativeTargetAsmParser();
  });
  Compiled c;
  c.context = std::make_unique<llvm::LLVMContext>();
  mlir::registerBuiltinDialectTranslation(*module->getContext());
  mlir::registerLLVMDialectTranslation(*module->getContext());
  c.module = mlir::translateModuleToLLVMIR(module, *c.context, "otodus");
  if (!c.module)
    return Status(Code::Internal, "the llvm dialect module cannot be translated to LLVM IR");

  llvm::Triple triple("x86_64-unknown-linux-gnu");
  std::string error;
  const llvm::Target *llvmTarget = llvm::TargetRegistry::lookupTarget(triple, error);
  if (!llvmTarget)
    return Status(Code::Target, "this LLVM cannot generate x86-64 code: " + error);
  llvm::TargetOptions options;
  c.machine.reset(llvmTarget->createTargetMachine(triple, target.cpu, target.features, options,
                                                  llvm::Reloc::PIC_, llvm::CodeModel::Small,
                                                  llvm::CodeGenOptLevel::Default));
  c.module->setTargetTriple(triple);
  c.module->setDataLayout(c.machine->createDataLayout());
  for (llvm::Function &function : *c.module) {
    if (function.isDeclaration())
      continue;
    function.addFnAttr(llvm::Attribute::NoUnwind);
    function.addFnAttr("target-cpu", target.cpu);
    function.addFnAttr("target-features", target.features);
    function.addFnAttr("prefer-vector-width", "512");
    function.addFnAttr("frame-pointer", "none");
    // LLVM must not recognise a copy or fill and call the C library for it.
    function.addFnAttr("no-builtins");
  }

  llvm::PipelineTuningOptions tuning;
  tuning.LoopVectorization = false; // decisions about vectors are made before LLVM
  tuning.SLPVectorization = false;
  tuning.LoopUnrolling = false;
  llvm::PassBuilder builder(c.machine.get(), tuning);
  llvm::LoopAnalysisManager loops;
  llvm::FunctionAnalysisManager functions;
  llvm::CGSCCAnalysisManager cgscc;
  llvm::ModuleAnalysisManager modules;
  builder.registerModuleAnalyses(modules);
  builder.registerCGSCCAnalyses(cgscc);
  builder.registerFunctionAnalyses(functions);
  builder.registerLoopAnalyses(loops);
  builder.crossRegisterProxies(loops, functions, cgscc, modules);
  builder.buildPerModuleDefaultPipeline(llvm::OptimizationLevel::O2).run(*c.module, modules);
  return c;
}

Result<llvm::SmallVector<char, 0>> generate(Compiled &c, llvm::CodeGenFileType type) {
  llvm::SmallVector<char, 0> bytes;
  llvm::raw_svector_ostream stream(bytes);
  llvm::legacy::PassManager passes;
  if (c.machine->addPassesToEmitFile(passes, stream, nullptr, type))
    return Status(Code::Internal, "LLVM cannot emit this kind of file");
  passes.run(*c.module);
  return bytes;
}

/// Sections into one image, relocations applied.
Result<formats::Code> link(llvm::ArrayRef<char> object, const CodeTarget &target) {
  auto buffer = llvm::MemoryBufferRef(llvm::StringRef(object.data(), object.size()), "kernels");
  auto parsed = llvm::object::ObjectFile::createELFObjectFile(buffer);
  if (!parsed)
    return Status(Code::Internal, "LLVM's object cannot be read: " + message(parsed.takeError()));
  llvm::object::ObjectFile &file = **parsed;

  formats::Code code;
  code.target = target.name;
  code.features = target.requires_;
  std::map<uint64_t, uint64_t> base; // section index -> offset in the blob
  auto place = [&](bool text) -> Status {
    for (const llvm::object::SectionRef &section : file.sections()) {
      auto flags = llvm::object::ELFSectionRef(section).getFlags();
      if (!(flags & llvm::ELF::SHF_ALLOC) || section.isText() != text || section.getSize() == 0)
        continue;
      auto name = section.getName();
      if (name && (name->starts_with(".eh_frame") || name->starts_with(".note")))
        continue;
      if (flags & llvm::ELF::SHF_WRITE)
        return Status(Code::Internal, "kernel code has writable data: " + name->str());
      auto contents = section.getContents();
      if (!contents)
        return Status(Code::Internal, message(contents.takeError()));
      uint64_t align = std::max<uint64_t>(section.getAlignment().value(), 64);
      code.blob.resize((code.blob.size() + align - 1) / align * align, text ? 0xcc : 0);
      base[section.getIndex()] = code.blob.size();
      code.blob.insert(code.blob.end(), contents->begin(), contents->end());
    }
    code.blob.resize((code.blob.size() + kPage - 1) / kPage * kPage, text ? 0xcc : 0);
    return Status::ok();
  };
  OTODUS_RETURN_IF_ERROR(place(true));
  code.textBytes = code.blob.size();
  OTODUS_RETURN_IF_ERROR(place(false));

  for (const llvm::object::SectionRef &section : file.sections()) {
    auto relocated = section.getRelocatedSection();
    if (!relocated || *relocated == file.section_end() || !base.count((*relocated)->getIndex()))
      continue;
    for (const llvm::object::RelocationRef &relocation : section.relocations()) {
      auto symbol = relocation.getSymbol();
      llvm::StringRef name = "(none)";
      if (symbol != file.symbol_end())
        if (auto known = symbol->getName())
          name = *known;
      auto in = symbol->getSection();
      if (!in || *in == file.section_end() || !base.count((*in)->getIndex()))
        return Status(Code::Internal, "kernel code refers to '" + name.str() +
                                          "', which is not part of it");
      uint64_t type = relocation.getType();
      if (type != llvm::ELF::R_X86_64_PC32 && type != llvm::ELF::R_X86_64_PLT32)
        return Status(Code::Internal, "kernel code has a relocation of type " +
                                          std::to_string(type) + " against '" + name.str() + "'");
      auto value = symbol->getValue();
      auto addend = llvm::object::ELFRelocationRef(relocation).getAddend();
      if (!value || !addend)
        return Status(Code::Internal, "kernel code has an unreadable relocation");
      uint64_t at = base[(*relocated)->getIndex()] + relocation.getOffset();
      int64_t to = int64_t(base[(*in)->getIndex()] + *value) + *addend - int64_t(at);
      int32_t narrow = int32_t(to);
      memcpy(code.blob.data() + at, &narrow, 4);
    }
  }

  for (const llvm::object::SymbolRef &symbol : file.symbols()) {
    auto type = symbol.getType();
    auto flags = symbol.getFlags();
    auto section = symbol.getSection();
    if (!type || *type != llvm::object::SymbolRef::ST_Function || !flags ||
        !(*flags & llvm::object::SymbolRef::SF_Global) || !section)
      continue;
    auto name = symbol.getName();
    auto value = symbol.getValue();
    if (name && value && base.count((*section)->getIndex()))
      code.entries.push_back({name->str(), base[(*section)->getIndex()] + *value});
  }
  return code;
}

} // namespace

Result<formats::Code> emitCode(mlir::ModuleOp module, const CodeTarget &target) {
  Result<Compiled> compiled = optimize(module, target);
  if (!compiled.isOk())
    return compiled.status();
  auto object = generate(*compiled, llvm::CodeGenFileType::ObjectFile);
  if (!object.isOk())
    return object.status();
  return link(*object, target);
}

Result<std::string> emitAssembly(mlir::ModuleOp module, const CodeTarget &target) {
  Result<Compiled> compiled = optimize(module, target);
  if (!compiled.isOk())
    return compiled.status();
  auto text = generate(*compiled, llvm::CodeGenFileType::AssemblyFile);
  if (!text.isOk())
    return text.status();
  return std::string(text->begin(), text->end());
}

} // namespace otodus

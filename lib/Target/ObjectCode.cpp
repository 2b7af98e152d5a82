//===- ObjectCode.cpp - LLVM IR to a closed blob ---------------------------===//
//
// The object LLVM makes is taken apart here: its sections are laid out at fixed distances, the
// few relative relocations between them are resolved, and what remains is bytes that run
// wherever they are mapped. So the runtime needs no linker and no ELF.
//
//===----------------------------------------------------------------------===//

#include "otodus/Target/ObjectCode.h"

#include "Optimize.h"

#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Target/LLVMIR/Dialect/Builtin/BuiltinToLLVMIRTranslation.h"
#include "mlir/Target/LLVMIR/Dialect/LLVMIR/LLVMToLLVMIRTranslation.h"
#include "mlir/Target/LLVMIR/Export.h"

#include "llvm/Bitcode/BitcodeReader.h"
#include "llvm/Bitcode/BitcodeWriter.h"
#include "llvm/IR/LegacyPassManager.h"
#include "llvm/IR/Module.h"
#include "llvm/MC/TargetRegistry.h"
#include "llvm/Object/ELFObjectFile.h"
#include "llvm/Support/TargetSelect.h"
#include "llvm/Target/TargetMachine.h"
#include "llvm/Transforms/Utils/SplitModule.h"

#include <map>
#include <mutex>
#include <thread>

namespace otodus {
namespace {

constexpr uint64_t kPage = 4096;

std::string message(llvm::Error error) { return llvm::toString(std::move(error)); }

using Bytes = llvm::SmallVector<char, 0>;

/// The module as LLVM IR, in a context of its own.
Result<std::unique_ptr<llvm::Module>> translate(mlir::ModuleOp module, llvm::LLVMContext &context) {
  static std::once_flag once;
  std::call_once(once, [] {
    llvm::InitializeNativeTarget();
    llvm::InitializeNativeTargetAsmPrinter();
    llvm::InitializeNativeTargetAsmParser();
  });
  mlir::registerBuiltinDialectTranslation(*module->getContext());
  mlir::registerLLVMDialectTranslation(*module->getContext());
  std::unique_ptr<llvm::Module> result = mlir::translateModuleToLLVMIR(module, context, "otodus");
  if (!result)
    return Status(Code::Internal, "the llvm dialect module cannot be translated to LLVM IR");
  return result;
}

/// Optimises `module` and generates a file of the given kind.
Result<Bytes> generate(llvm::Module &module, const CodeTarget &target,
                       llvm::CodeGenFileType type) {
  llvm::Triple triple("x86_64-unknown-linux-gnu");
  std::string error;
  const llvm::Target *llvmTarget = llvm::TargetRegistry::lookupTarget(triple, error);
  if (!llvmTarget)
    return Status(Code::Target, "this LLVM cannot generate x86-64 code: " + error);
  llvm::TargetOptions options;
  std::unique_ptr<llvm::TargetMachine> machine(llvmTarget->createTargetMachine(
      triple, target.cpu, target.features, options, llvm::Reloc::PIC_, llvm::CodeModel::Small,
      llvm::CodeGenOptLevel::Default));
  module.setTargetTriple(triple);
  module.setDataLayout(machine->createDataLayout());
  for (llvm::Function &function : module) {
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

  optimize(module, *machine, llvm::OptimizationLevel::O2);

  Bytes bytes;
  llvm::raw_svector_ostream stream(bytes);
  llvm::legacy::PassManager passes;
  if (machine->addPassesToEmitFile(passes, stream, nullptr, type))
    return Status(Code::Internal, "LLVM cannot emit this kind of file");
  passes.run(module);
  return bytes;
}

/// Objects of the module's parts, made at the same time: a context serves one thread, so each
/// part travels as bitcode.
Result<std::vector<Bytes>> generateParts(std::unique_ptr<llvm::Module> module,
                                         const CodeTarget &target, unsigned parts) {
  std::vector<Bytes> bitcode;
  llvm::SplitModule(*module, parts, [&](std::unique_ptr<llvm::Module> part) {
    bitcode.emplace_back();
    llvm::raw_svector_ostream stream(bitcode.back());
    llvm::WriteBitcodeToFile(*part, stream);
  }, /*PreserveLocals=*/true);
  std::vector<Bytes> objects(bitcode.size());
  std::vector<Status> status(bitcode.size());
  std::vector<std::thread> threads;
  for (size_t i = 0; i < bitcode.size(); ++i)
    threads.emplace_back([&, i] {
      llvm::LLVMContext context;
      auto part = llvm::parseBitcodeFile(
          llvm::MemoryBufferRef(llvm::StringRef(bitcode[i].data(), bitcode[i].size()), "part"),
          context);
      if (!part) {
        status[i] = Status(Code::Internal, message(part.takeError()));
        return;
      }
      Result<Bytes> object = generate(**part, target, llvm::CodeGenFileType::ObjectFile);
      if (object.isOk())
        objects[i] = std::move(*object);
      else
        status[i] = object.status();
    });
  for (std::thread &thread : threads)
    thread.join();
  for (const Status &s : status)
    OTODUS_RETURN_IF_ERROR(s);
  return objects;
}

/// An object and where its sections lie in the blob.
struct Placed {
  std::unique_ptr<llvm::object::ObjectFile> file;
  std::map<uint64_t, uint64_t> base; ///< section index -> offset
};

/// Appends the sections of one kind, code or read-only data.
Status place(Placed &object, bool text, formats::Code &code) {
  for (const llvm::object::SectionRef &section : object.file->sections()) {
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
    object.base[section.getIndex()] = code.blob.size();
    code.blob.insert(code.blob.end(), contents->begin(), contents->end());
  }
  return Status::ok();
}

Status relocate(Placed &object, formats::Code &code) {
  llvm::object::ObjectFile &file = *object.file;
  for (const llvm::object::SectionRef &section : file.sections()) {
    auto relocated = section.getRelocatedSection();
    if (!relocated || *relocated == file.section_end() ||
        !object.base.count((*relocated)->getIndex()))
      continue;
    for (const llvm::object::RelocationRef &relocation : section.relocations()) {
      auto symbol = relocation.getSymbol();
      llvm::StringRef name = "(none)";
      if (symbol != file.symbol_end())
        if (auto known = symbol->getName())
          name = *known;
      auto in = symbol->getSection();
      if (!in || *in == file.section_end() || !object.base.count((*in)->getIndex()))
        return Status(Code::Internal,
                      "kernel code refers to '" + name.str() + "', which is not part of it");
      uint64_t type = relocation.getType();
      if (type != llvm::ELF::R_X86_64_PC32 && type != llvm::ELF::R_X86_64_PLT32)
        return Status(Code::Internal, "kernel code has a relocation of type " +
                                          std::to_string(type) + " against '" + name.str() + "'");
      auto value = symbol->getValue();
      auto addend = llvm::object::ELFRelocationRef(relocation).getAddend();
      if (!value || !addend)
        return Status(Code::Internal, "kernel code has an unreadable relocation");
      uint64_t at = object.base[(*relocated)->getIndex()] + relocation.getOffset();
      int64_t to = int64_t(object.base[(*in)->getIndex()] + *value) + *addend - int64_t(at);
      int32_t narrow = int32_t(to);
      memcpy(code.blob.data() + at, &narrow, 4);
    }
  }
  return Status::ok();
}

void listEntries(Placed &object, formats::Code &code) {
  for (const llvm::object::SymbolRef &symbol : object.file->symbols()) {
    auto type = symbol.getType();
    auto flags = symbol.getFlags();
    auto section = symbol.getSection();
    if (!type || *type != llvm::object::SymbolRef::ST_Function || !flags ||
        !(*flags & llvm::object::SymbolRef::SF_Global) || !section)
      continue;
    auto name = symbol.getName();
    auto value = symbol.getValue();
    if (name && value && object.base.count((*section)->getIndex()))
      code.entries.push_back({name->str(), object.base[(*section)->getIndex()] + *value});
  }
}

/// Objects into one image: all code, then all constants.
Result<formats::Code> link(const std::vector<Bytes> &objects, const CodeTarget &target) {
  formats::Code code;
  code.target = target.name;
  code.features = target.requires_;
  std::vector<Placed> placed;
  for (const Bytes &bytes : objects) {
    auto parsed = llvm::object::ObjectFile::createELFObjectFile(
        llvm::MemoryBufferRef(llvm::StringRef(bytes.data(), bytes.size()), "kernels"));
    if (!parsed)
      return Status(Code::Internal,
                    "LLVM's object cannot be read: " + message(parsed.takeError()));
    placed.push_back({std::move(*parsed), {}});
  }
  for (bool text : {true, false}) {
    for (Placed &object : placed)
      OTODUS_RETURN_IF_ERROR(place(object, text, code));
    code.blob.resize((code.blob.size() + kPage - 1) / kPage * kPage, text ? 0xcc : 0);
    if (text)
      code.textBytes = code.blob.size();
  }
  for (Placed &object : placed) {
    OTODUS_RETURN_IF_ERROR(relocate(object, code));
    listEntries(object, code);
  }
  return code;
}

} // namespace

Result<formats::Code> emitCode(mlir::ModuleOp module, const CodeTarget &target, int threads) {
  llvm::LLVMContext context;
  auto translated = translate(module, context);
  if (!translated.isOk())
    return translated.status();
  unsigned functions = 0;
  for (llvm::Function &function : **translated)
    functions += !function.isDeclaration();
  unsigned parts = threads > 0 ? threads : std::max(1u, std::thread::hardware_concurrency());
  auto objects =
      generateParts(std::move(*translated), target, std::max(1u, std::min(parts, functions)));
  if (!objects.isOk())
    return objects.status();
  return link(*objects, target);
}

Result<std::string> emitAssembly(mlir::ModuleOp module, const CodeTarget &target) {
  llvm::LLVMContext context;
  auto translated = translate(module, context);
  if (!translated.isOk())
    return translated.status();
  auto text = generate(**translated, target, llvm::CodeGenFileType::AssemblyFile);
  if (!text.isOk())
    return text.status();
  return std::string(text->begin(), text->end());
}

} // namespace otodus

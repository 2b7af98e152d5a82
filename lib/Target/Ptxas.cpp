//===- Ptxas.cpp - PTX to cubins -------------------------------------------===//

#include "otodus/Target/Ptxas.h"

#include "llvm/ADT/ScopeExit.h"
#include "llvm/ADT/SmallString.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/Program.h"
#include "llvm/Support/Regex.h"
#include "llvm/Support/raw_ostream.h"

#include <cstdlib>

namespace otodus {
namespace {

/// A file that is gone when this is.
struct TemporaryFile {
  llvm::SmallString<128> path;
  ~TemporaryFile() {
    if (!path.empty())
      llvm::sys::fs::remove(path);
  }
  Status create(const char *suffix) {
    if (std::error_code error = llvm::sys::fs::createTemporaryFile("otodus", suffix, path))
      return Status(Code::Device, "no temporary file can be made: " + error.message());
    return Status::ok();
  }
  std::string read() const {
    auto buffer = llvm::MemoryBuffer::getFile(path);
    return buffer ? (*buffer)->getBuffer().str() : std::string();
  }
};

/// Runs a program with its output in `log`.
Status execute(const std::string &program, llvm::ArrayRef<llvm::StringRef> arguments,
               std::string &log, int &exit) {
  TemporaryFile file;
  OTODUS_RETURN_IF_ERROR(file.create("log"));
  llvm::StringRef output = file.path;
  std::string error;
  bool failed = false;
  exit = llvm::sys::ExecuteAndWait(program, arguments, std::nullopt,
                                   {llvm::StringRef(""), output, output}, 0, 0, &error, &failed);
  if (failed || exit < 0)
    return Status(Code::Target, program + " cannot be run" + (error.empty() ? "" : ": " + error));
  log = file.read();
  return Status::ok();
}

/// Whether a line says that wgmma waits for itself or that registers cannot move between roles.
bool isSerialisation(llvm::StringRef line) {
  return llvm::Regex("\\(C75(04|1[0-9])\\)|C75(04|1[0-9])").match(line);
}

} // namespace

Result<std::string> findPtxas(const std::string &wanted) {
  if (!wanted.empty()) {
    auto found = llvm::sys::findProgramByName(wanted);
    if (found && llvm::sys::fs::can_execute(*found))
      return *found;
    return Status(Code::Target, "--ptxas=" + wanted + " is no program that can be run");
  }
  if (auto found = llvm::sys::findProgramByName("ptxas"))
    return *found;
  for (const char *variable : {"CUDA_HOME", "CUDA_PATH", ""}) {
    const char *root = *variable ? std::getenv(variable) : "/usr/local/cuda";
    if (!root)
      continue;
    llvm::SmallString<128> path(root);
    llvm::sys::path::append(path, "bin", "ptxas");
    if (llvm::sys::fs::can_execute(path))
      return path.str().str();
  }
  return std::string();
}

Result<std::string> ptxasVersion(const std::string &ptxas) {
  std::string log;
  int exit = 0;
  OTODUS_RETURN_IF_ERROR(execute(ptxas, {ptxas, "--version"}, log, exit));
  llvm::SmallVector<llvm::StringRef> match;
  if (exit != 0 || !llvm::Regex("V([0-9]+\\.[0-9]+\\.[0-9]+)").match(log, &match))
    return Status(Code::Target, ptxas + " does not say its version");
  return match[1].str();
}

Assembled parsePtxasLog(const std::string &log) {
  Assembled result;
  llvm::Regex entry("Compiling entry function '([^']+)'");
  llvm::Regex frame("([0-9]+) bytes stack frame, ([0-9]+) bytes spill stores, ([0-9]+) bytes spill");
  llvm::Regex used("Used ([0-9]+) registers");
  llvm::Regex shared("([0-9]+) bytes smem");
  llvm::Regex properties("Function properties for '?([^' ]+)");
  std::string current;
  auto kernel = [&](llvm::StringRef name) -> KernelResources & {
    for (KernelResources &one : result.kernels)
      if (one.name == name)
        return one;
    result.kernels.emplace_back().name = name.str();
    return result.kernels.back();
  };
  auto number = [](llvm::StringRef text) {
    int64_t value = 0;
    text.getAsInteger(10, value);
    return value;
  };
  llvm::StringRef rest = log;
  while (!rest.empty()) {
    auto [line, next] = rest.split('\n');
    rest = next;
    llvm::SmallVector<llvm::StringRef> match;
    if (line.contains("warning") || isSerialisation(line))
      result.warnings.push_back(line.trim().str());
    if (entry.match(line, &match)) {
      current = match[1].str();
      kernel(current);
    } else if (properties.match(line, &match)) {
      current = match[1].trim().str();
    } else if (current.empty()) {
      continue;
    } else if (frame.match(line, &match)) {
      KernelResources &k = kernel(current);
      k.stackBytes = number(match[1]);
      k.spillStores = number(match[2]);
      k.spillLoads = number(match[3]);
    } else if (used.match(line, &match)) {
      KernelResources &k = kernel(current);
      k.registers = number(match[1]);
      if (shared.match(line, &match))
        k.staticShared = number(match[1]);
    }
  }
  return result;
}

Result<Assembled> assemble(const std::string &ptxas, const std::string &ptx,
                           const PtxTarget &target) {
  TemporaryFile input, output;
  OTODUS_RETURN_IF_ERROR(input.create("ptx"));
  OTODUS_RETURN_IF_ERROR(output.create("cubin"));
  {
    std::error_code error;
    llvm::raw_fd_ostream stream(input.path, error);
    stream << ptx;
    stream.close();
    if (error || stream.has_error())
      return Status(Code::Device, "the temporary file " + input.path.str().str() +
                                      " cannot be written");
  }
  std::string arch = "-arch=" + target.llvmCpu, log;
  int exit = 0;
  OTODUS_RETURN_IF_ERROR(execute(
      ptxas, {ptxas, arch, "-O3", "-v", "-o", output.path.str(), input.path.str()}, log, exit));
  if (exit != 0) {
    llvm::StringRef text = log, first;
    while (!text.empty() && first.empty()) {
      auto [line, rest] = text.split('\n');
      if (line.contains("error") || line.contains("fatal"))
        first = line.trim();
      text = rest;
    }
    return Status(Code::Internal, "ptxas rejects the code for " + target.chip + ": " +
                                      (first.empty() ? "exit code " + std::to_string(exit)
                                                     : first.str()));
  }
  Assembled result = parsePtxasLog(log);
  for (const std::string &warning : result.warnings)
    if (isSerialisation(warning))
      return Status(Code::Internal, "ptxas makes slow code for " + target.chip + ": " + warning);
  std::string bytes = output.read();
  result.cubin.assign(bytes.begin(), bytes.end());
  return result;
}

} // namespace otodus

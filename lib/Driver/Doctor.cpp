//===- Doctor.cpp - otodus doctor ------------------------------------------===//
//
// What works on this machine and what is missing.
//
//===----------------------------------------------------------------------===//

#include "Commands.h"
#include "Flags.h"
#include "OpenModel.h"
#include "Output.h"

#include "otodus/Runtime/Device.h"
#include "otodus/Target/Ptxas.h"

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sched.h>
#include <set>
#include <sstream>
#include <unistd.h>

namespace otodus::driver {

namespace {

struct Cpu {
  std::string model = "unknown";
  std::set<std::string> flags;
  int processors = 1;
};

Cpu readCpu() {
  Cpu cpu;
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    size_t colon = line.find(": ");
    if (colon == std::string::npos)
      continue;
    if (line.starts_with("model name"))
      cpu.model = line.substr(colon + 2);
    if (line.starts_with("flags")) {
      std::istringstream words(line.substr(colon + 2));
      for (std::string word; words >> word;)
        cpu.flags.insert(word);
      break;
    }
  }
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0)
    cpu.processors = CPU_COUNT(&set);
  return cpu;
}

/// Names of `wanted` that the processor lacks, joined.
std::string missing(const Cpu &cpu, const std::vector<const char *> &wanted) {
  std::string names;
  for (const char *name : wanted)
    if (!cpu.flags.contains(name))
      names += std::string(names.empty() ? "" : " ") + name;
  return names;
}

std::string row(const char *name, bool good, const std::string &value) {
  return format("%-18s %-3s %s\n", name, good ? "ok" : "-", value.c_str());
}

Status doctor() {
  std::string out = versionString() + ", LLVM " + llvmVersion() + "\n\n";
  Cpu cpu = readCpu();
  out += row("processor", true, format("%s, %d usable threads", cpu.model.c_str(), cpu.processors));
  double memory = double(sysconf(_SC_PHYS_PAGES)) * double(sysconf(_SC_PAGESIZE));
  out += row("memory", true, formatBytes(memory));

  // What the psABI's levels ask for, as far as compiled kernels use it.
  std::string v3 = missing(cpu, {"avx2", "fma", "f16c", "bmi2"});
  std::string v4 = missing(cpu, {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"});
  out += row("cpu:x86-64-v3", v3.empty(), v3.empty() ? "AVX2 and FMA" : "this processor lacks " + v3);
  if (!v3.empty())
    v4 = v4.empty() ? v3 : v3 + " " + v4;
  out += row("cpu:x86-64-v4", v4.empty(), v4.empty() ? "AVX-512" : "this processor lacks " + v4);
  bool bf16 = cpu.flags.contains("avx512_bf16");
  out += row("bf16 products", bf16,
             bf16 ? "AVX512-BF16" : "no AVX512-BF16: --dtype=bf16 works by way of f32, which is slower");

  Result<runtime::CudaInfo> cuda = runtime::cudaInfo();
  std::ifstream version("/proc/driver/nvidia/version");
  std::string line;
  if (cuda.isOk()) {
    out += row("NVIDIA driver", true, format("CUDA %d.%d, PTX up to %s", cuda->driverVersion / 1000,
                                             cuda->driverVersion % 1000 / 10, cuda->newestPtx.c_str()));
    for (size_t i = 0; i < cuda->gpus.size(); ++i) {
      const runtime::GpuInfo &gpu = cuda->gpus[i];
      out += row(("GPU " + std::to_string(i)).c_str(), true,
                 format("%s, %s, %lld processors, %s: --target=cuda --device=%zu", gpu.name.c_str(),
                        gpu.chip.c_str(), (long long)gpu.processors,
                        formatBytes(double(gpu.totalBytes)).c_str(), i));
    }
  } else {
    out += row("NVIDIA driver", false,
               (std::getline(version, line) ? "the kernel has one, but: " : "") +
                   cuda.status().message());
  }
  Result<std::string> simulator = runtime::findSimulator();
  out += row("simulator", simulator.isOk(),
             simulator.isOk() ? *simulator + ": --target=sim:sm_90a" : simulator.status().message());
  Result<std::string> ptxas = findPtxas("");
  bool hasPtxas = ptxas.isOk() && !ptxas->empty();
  Result<std::string> ptxasIs =
      hasPtxas ? ptxasVersion(*ptxas)
               : Result<std::string>(Status(
                     Code::Target, "none: artefacts for GPUs hold PTX only, which the driver translates"));
  out += row("ptxas", ptxasIs.isOk(),
             ptxasIs.isOk() ? *ptxas + ", version " + *ptxasIs : ptxasIs.status().message());

  OTODUS_RETURN_IF_ERROR(writeStdout(out));
  if (!v3.empty())
    return Status(Code::Target, "this processor has no target: compiled models need AVX2 and FMA, "
                                "but it lacks " + v3);
  return Status::ok();
}
} // namespace

void addDoctor(CLI::App &app, Action &action) {
  CLI::App *sub = app.add_subcommand("doctor", "what works on this machine and what is missing");
  sub->footer("Examples:\n  otodus doctor");
  sub->callback([&action] { action = doctor; });
}

} // namespace otodus::driver

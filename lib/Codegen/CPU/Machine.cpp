//===- Machine.cpp - The CPU targets ---------------------------------------===//

#include "otodus/Codegen/CPU/Machine.h"

#include "llvm/ADT/StringMap.h"
#include "llvm/TargetParser/Host.h"

namespace otodus::cpu {
namespace {

Machine v3() {
  Machine m;
  m.target = "cpu:x86-64-v3";
  m.llvmCpu = "x86-64-v3";
  m.requires_ = {"avx2", "fma", "bmi2", "f16c"};
  m.lanes = 8;
  m.tileRows = 6;
  m.tileColumns = 16;
  return m;
}

Machine v4() {
  Machine m;
  m.target = "cpu:x86-64-v4";
  m.llvmCpu = "x86-64-v4";
  m.requires_ = {"avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512cd", "fma", "bmi2"};
  m.lanes = 16;
  m.tileRows = 12;
  m.tileColumns = 32;
  return m;
}

} // namespace

Result<Machine> machineFor(const std::string &target) {
  if (target == "cpu:x86-64-v3")
    return v3();
  if (target == "cpu:x86-64-v4")
    return v4();
  if (target != "cpu" && target != "cpu:native")
    return Status(Code::Target, "unknown target '" + target +
                                    "'; this compiler has cpu, cpu:native, cpu:x86-64-v3 and "
                                    "cpu:x86-64-v4");

  llvm::StringMap<bool> host = llvm::sys::getHostCPUFeatures();
  auto has = [&](const std::vector<std::string> &features) {
    for (const std::string &feature : features)
      if (!host.lookup(feature))
        return false;
    return true;
  };
  Machine m = v4();
  if (has(m.requires_)) {
    if (host.lookup("avx512bf16")) {
      m.features = "+avx512bf16";
      m.requires_.push_back("avx512bf16");
      m.bf16Dot = true;
    }
  } else {
    m = v3();
    if (!has(m.requires_))
      return Status(Code::Target, "this CPU lacks AVX2 or FMA; otodus needs x86-64-v3 or newer");
  }
  m.target = "cpu:native";
  return m;
}

} // namespace otodus::cpu

//===- Machine.h - What the code generator asks a CPU ----------------------===//
//
// A target is a row of facts; passes ask for facts, never for names.
//
//===----------------------------------------------------------------------===//

#pragma once

#include "otodus/Formats/Status.h"

#include <cstdint>
#include <string>
#include <vector>

namespace otodus::cpu {

struct Machine {
  std::string target;   ///< as the user writes it and the artefact records it: "cpu:x86-64-v4"
  std::string llvmCpu;  ///< LLVM's -mcpu
  std::string features; ///< LLVM's -mattr, "+avx512bf16,..."
  /// CPU features a machine must have to run the code, in cpuid names ("avx512f").
  std::vector<std::string> requires_;
  int64_t lanes = 16;   ///< f32 elements of one vector register
  int64_t tileRows = 12, tileColumns = 32; ///< accumulators of one register tile
  bool bf16Dot = false; ///< vdpbf16ps
};

/// "cpu", "cpu:native", "cpu:x86-64-v3", "cpu:x86-64-v4". Code::Target with the list of what
/// exists for other names, or if the host is older than x86-64-v3 and native is asked for.
Result<Machine> machineFor(const std::string &target);

} // namespace otodus::cpu

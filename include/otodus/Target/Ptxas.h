//===- Ptxas.h - PTX to cubins -----------------------------------------------===//
//
// A cubin is made by NVIDIA's ptxas in a process of its own. nvJitLink is no substitute: it
// compiles relocatable code, in which warps cannot hand registers to one another (setmaxnreg).
// No MLIR here.
//
//===----------------------------------------------------------------------===//

#pragma once

#include "otodus/Formats/Status.h"

#include <cstdint>
#include <string>
#include <vector>

namespace otodus {

/// What LLVM and ptxas are told about a chip.
struct PtxTarget {
  std::string chip;    ///< for messages: "sm_90a"
  std::string llvmCpu; ///< architecture of LLVM and ptxas
  int ptxVersion = 70; ///< to write, times 10
  /// Kernels whose loops ptxas is to leave rolled, by name.
  std::vector<std::string> rolled;
};

/// What ptxas says about a kernel.
struct KernelResources {
  std::string name;
  int64_t registers = 0;   ///< of 32 bits per thread
  int64_t stackBytes = 0;  ///< per thread
  int64_t spillStores = 0, spillLoads = 0; ///< bytes per thread
  int64_t staticShared = 0; ///< bytes per block, besides the dynamic ones
};

struct Assembled {
  std::vector<uint8_t> cubin;
  std::vector<KernelResources> kernels;
  std::vector<std::string> warnings; ///< whole lines
};

/// The ptxas to use: `wanted` if it is not empty, else the one on PATH, else that of CUDA_HOME, CUDA_PATH
/// or /usr/local/cuda. "" if there is none. Code::Target if `wanted` cannot be run.
Result<std::string> findPtxas(const std::string &wanted);

/// "13.0.88" of `ptxas --version`. Code::Target if it cannot be run.
Result<std::string> ptxasVersion(const std::string &ptxas);

/// Runs ptxas on `ptx` (-O3). Code::Target if it cannot be run, Code::Internal with its first error
/// if it rejects the text. Lines about wgmma that waits for itself (C7510 … C7519) or about an ignored
/// setmaxnreg (C7504) are errors too: such code is correct and slow.
Result<Assembled> assemble(const std::string &ptxas, const std::string &ptx,
                           const PtxTarget &target);

/// Takes apart what `ptxas -v` writes. Exposed for its test.
Assembled parsePtxasLog(const std::string &log);

} // namespace otodus

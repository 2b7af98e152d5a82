//===- Chips.h - What the code generator asks a GPU ------------------------===//
//
// A chip is a row of facts; passes ask for facts, never for names. Rows of the
// compiler's own stand in Chips.cpp; `addChips` reads more of them from a file
// (docs/Guides/AddAGpu.md).
//
//===----------------------------------------------------------------------===//

#pragma once

#include "otodus/Formats/Status.h"

#include <cstdint>
#include <string>
#include <vector>

namespace otodus {

/// How a chip multiplies tiles of matrices. Chips with WarpGroup or TensorMemory also have
/// Warp's instructions, which every chip of the table shares.
enum class MatrixUnit : uint8_t {
  Warp,         ///< mma.sync: a warp, operands in registers
  WarpGroup,    ///< wgmma: four warps, operands in shared memory, asynchronous
  TensorMemory, ///< tcgen05: one thread starts it, the sums lie in tensor memory
};

struct Chip {
  std::string name;    ///< as the user writes it and the artefact records it: "sm_90a"
  std::string llvmCpu; ///< LLVM's and ptxas' name of the architecture
  std::string product; ///< the product that the nominal figures below are of
  /// The lowest PTX version that has the chip and the instructions used for it, times 10: 80 is
  /// PTX 8.0. A driver accepts PTX up to its own version only.
  int ptxVersion = 70;

  // Limits of a block and of a multiprocessor (SM).
  int64_t sharedPerBlock = 0;     ///< bytes a block may ask for
  int64_t sharedPerSM = 0;        ///< bytes all blocks of an SM share
  int64_t sharedReserved = 1024;  ///< bytes the driver keeps of each block
  int64_t registersPerSM = 65536; ///< of 32 bits
  int64_t registersPerThread = 255;
  int64_t registerUnit = 256;     ///< a warp's registers are rounded up to this
  int64_t warpsPerSM = 64, blocksPerSM = 32;
  int64_t threadsPerBlock = 1024;

  // Capabilities.
  MatrixUnit matrixUnit = MatrixUnit::Warp;
  bool asyncCopy = true;      ///< cp.async, global to shared memory
  bool ldmatrix = true;       ///< fragments of a tile from shared memory
  bool stmatrix = false;      ///< and back
  bool tma = false;           ///< tensor maps: cp.async.bulk.tensor with mbarriers
  bool clusters = false;      ///< blocks that see each other's shared memory
  bool multicast = false;     ///< one TMA copy into several blocks of a cluster
  bool setMaxRegisters = false; ///< setmaxnreg: registers move between roles
  bool packedF32 = false;     ///< fma.rn.f32x2

  // Nominal figures, for predicted times and grids; never for correctness.
  int64_t multiprocessors = 0;
  int64_t l2Bytes = 0;
  double bytesPerSecond = 0;     ///< device memory
  double bf16FlopsPerSecond = 0; ///< tensor cores, dense, f32 sums
  double f32FlopsPerSecond = 0;  ///< fused multiply-adds count two
};

/// All rows, in the order of the table, those of `addChips` last.
std::vector<Chip> chips();

/// The chip of "cuda:sm_90a", "sim:sm_90a" or "sm_90a". Code::Target with the list of what exists
/// for other names; "cuda" and "sim" without a chip are errors too, since only the caller knows
/// which GPU is meant (`chipOfCapability` names it).
Result<Chip> chipFor(const std::string &target);

/// True for "cuda", "sim", "cuda:…", "sim:…" and names of chips: what this code generator serves,
/// as opposed to the CPU's. Says nothing about whether the chip exists.
bool isGpuTarget(const std::string &target);

/// True for "sim" and "sim:…".
bool isSimulated(const std::string &target);

/// The best row for a device of compute capability major.minor: of the same major and at most the
/// same minor. Code::Target if there is none.
Result<std::string> chipOfCapability(int major, int minor);

/// Adds rows from JSON text: an object, or an array of objects, of the fields
///   {"name": "acme_1", "like": "sm_80", "sharedPerBlock": 65536, …}
/// where `like` names the row that the other fields change. Fields are those of Chip (matrixUnit:
/// "warp", "warpgroup" or "tensormemory"). `origin` is named in errors. Code::Input for text that is no
/// such thing, an unknown field, a value out of range or a name that exists. Rows live as long as
/// the process; the call is thread-safe.
Status addChips(const std::string &json, const std::string &origin);

/// Blocks of `threads` threads with `registers` registers a thread and `sharedBytes` of dynamic
/// shared memory that one SM holds at a time; 0 if not even one fits.
int64_t blocksPerSM(const Chip &chip, int64_t threads, int64_t registers, int64_t sharedBytes);

} // namespace otodus

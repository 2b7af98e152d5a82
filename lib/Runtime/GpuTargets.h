//===- GpuTargets.h - Which code runs on which GPU -------------------------===//

#pragma once

#include "otodus/Formats/Artefact.h"
#include "otodus/Formats/Status.h"

#include <optional>
#include <string>

namespace otodus::runtime {

/// "sm_90a": compute capability 9.0 with the instructions of that chip only.
struct ChipName {
  int major = 0, minor = 0;
  /// 'a': this capability only; 'f': this and later ones of the family; 0: all later ones.
  char suffix = 0;
};
/// The chip of a target such as "cuda:sm_90a", or of its part after the colon.
std::optional<ChipName> parseChip(const std::string &target);
/// "sm_90"
std::string chipText(int major, int minor);

/// Whether a cubin for `chip` runs on a GPU of that capability: the same major number and no
/// higher minor one; with a suffix 'a' exactly that capability.
bool runsCubin(const ChipName &chip, int major, int minor);
/// Whether PTX for `chip` can be translated for that capability: any that is not lower; with a
/// suffix 'a' exactly that one, with 'f' the same major number.
bool runsPtx(const ChipName &chip, int major, int minor);

/// The newest PTX version (10 * major + minor) that a driver of CUDA `version` (12040 is 12.4)
/// takes.
int newestPtx(int version);
/// "12.4" of 12040
std::string cudaVersionText(int version);
/// "8.7" of 87
std::string ptxVersionText(int64_t version);

/// How well GPU code suits a chip and driver: exact chips before others, later ones before
/// earlier, cubins before PTX. Code::Target with the reason if it does not run.
Result<int64_t> rankGpuCode(const formats::Code &code, int major, int minor, int driverVersion);

} // namespace otodus::runtime

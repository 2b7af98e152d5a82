//===- GpuTargets.cpp - Which code runs on which GPU -----------------------===//

#include "GpuTargets.h"

namespace otodus::runtime {

std::optional<ChipName> parseChip(const std::string &target) {
  std::string name = target.substr(target.find(':') + 1);
  if (name.rfind("sm_", 0) != 0)
    return std::nullopt;
  ChipName chip;
  size_t at = 3;
  int number = 0;
  for (; at < name.size() && name[at] >= '0' && name[at] <= '9' && number < 1000; ++at)
    number = 10 * number + (name[at] - '0');
  if (at + 1 == name.size() && (name[at] == 'a' || name[at] == 'f'))
    chip.suffix = name[at++];
  if (number < 10 || at != name.size())
    return std::nullopt;
  chip.major = number / 10;
  chip.minor = number % 10;
  return chip;
}

std::string chipText(int major, int minor) {
  return "sm_" + std::to_string(major) + std::to_string(minor);
}

bool runsCubin(const ChipName &chip, int major, int minor) {
  if (chip.major != major)
    return false;
  return chip.suffix == 'a' ? chip.minor == minor : chip.minor <= minor;
}

bool runsPtx(const ChipName &chip, int major, int minor) {
  if (chip.suffix)
    return runsCubin(chip, major, minor);
  return chip.major < major || (chip.major == major && chip.minor <= minor);
}

int newestPtx(int version) {
  // The release notes of PTX: each version came with one of CUDA.
  struct Row {
    int cuda, ptx;
  };
  static constexpr Row kRows[] = {{13010, 91}, {13000, 90}, {12090, 88}, {12080, 87}, {12070, 86},
                                  {12050, 85}, {12040, 84}, {12030, 83}, {12020, 82}, {12010, 81},
                                  {12000, 80}, {11080, 78}, {11070, 77}, {11060, 76}, {11050, 75},
                                  {11040, 74}, {11030, 73}, {11020, 72}, {11010, 71}, {11000, 70}};
  for (const Row &row : kRows)
    if (version >= row.cuda)
      return row.ptx;
  return 65;
}

std::string cudaVersionText(int version) {
  return std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10);
}

std::string ptxVersionText(int64_t version) {
  return std::to_string(version / 10) + "." + std::to_string(version % 10);
}

Result<int64_t> rankGpuCode(const formats::Code &code, int major, int minor, int driverVersion) {
  std::optional<ChipName> chip = parseChip(code.target);
  bool cubin = code.kind == formats::CodeKind::Cubin;
  if (!chip || (!cubin && code.kind != formats::CodeKind::PTX))
    return Status(Code::Target, "names no chip");
  std::string what = cubin ? "(cubin) " : "(PTX) ";
  if (!(cubin ? runsCubin(*chip, major, minor) : runsPtx(*chip, major, minor)))
    return Status(Code::Target, what + "does not run on " + chipText(major, minor));
  if (!cubin && code.ptxVersion > newestPtx(driverVersion))
    return Status(Code::Target, what + "is PTX " + ptxVersionText(code.ptxVersion) +
                                    ", but the driver (CUDA " + cudaVersionText(driverVersion) +
                                    ") takes PTX " + ptxVersionText(newestPtx(driverVersion)) +
                                    " at most; update the driver, or compile where ptxas is");
  int64_t rank = 10 * chip->major + chip->minor;
  return (rank * 2 + (chip->suffix != 0)) * 2 + cubin;
}

} // namespace otodus::runtime

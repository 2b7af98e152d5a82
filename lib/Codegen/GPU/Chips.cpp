//===- Chips.cpp - The chip table ------------------------------------------===//
//
// Limits are those of the CUDA programming guide's table of compute capabilities, nominal figures
// those of the vendor's data sheets.
//
//===----------------------------------------------------------------------===//

#include "otodus/Codegen/GPU/Chips.h"

#include "llvm/ADT/StringRef.h"
#include "llvm/ADT/StringSwitch.h"
#include "llvm/Support/JSON.h"

#include <algorithm>
#include <mutex>

namespace otodus {
namespace {

constexpr int64_t kKiB = 1024, kMiB = 1024 * 1024;

std::vector<Chip> builtIn() {
  Chip a100;
  a100.name = a100.llvmCpu = "sm_80";
  a100.product = "A100 80GB SXM";
  a100.ptxVersion = 70;
  a100.sharedPerBlock = 163 * kKiB;
  a100.sharedPerSM = 164 * kKiB;
  a100.multiprocessors = 108;
  a100.l2Bytes = 40 * kMiB;
  a100.bytesPerSecond = 2.039e12;
  a100.bf16FlopsPerSecond = 312e12;
  a100.f32FlopsPerSecond = 19.5e12;

  Chip ga102 = a100;
  ga102.name = ga102.llvmCpu = "sm_86";
  ga102.product = "GeForce RTX 3090";
  ga102.ptxVersion = 71;
  ga102.sharedPerBlock = 99 * kKiB;
  ga102.sharedPerSM = 100 * kKiB;
  ga102.warpsPerSM = 48;
  ga102.blocksPerSM = 16;
  ga102.multiprocessors = 82;
  ga102.l2Bytes = 6 * kMiB;
  ga102.bytesPerSecond = 936e9;
  ga102.bf16FlopsPerSecond = 71e12;
  ga102.f32FlopsPerSecond = 35.6e12;

  Chip ad102 = ga102;
  ad102.name = ad102.llvmCpu = "sm_89";
  ad102.product = "GeForce RTX 4090";
  ad102.ptxVersion = 78;
  ad102.blocksPerSM = 24;
  ad102.multiprocessors = 128;
  ad102.l2Bytes = 72 * kMiB;
  ad102.bytesPerSecond = 1.008e12;
  ad102.bf16FlopsPerSecond = 165.2e12;
  ad102.f32FlopsPerSecond = 82.6e12;

  Chip h200 = a100;
  h200.name = h200.llvmCpu = "sm_90a";
  h200.product = "H200 SXM";
  h200.ptxVersion = 80;
  h200.sharedPerBlock = 227 * kKiB;
  h200.sharedPerSM = 228 * kKiB;
  h200.matrixUnit = MatrixUnit::WarpGroup;
  h200.stmatrix = h200.tma = h200.clusters = h200.multicast = h200.setMaxRegisters = true;
  h200.multiprocessors = 132;
  h200.l2Bytes = 50 * kMiB;
  h200.bytesPerSecond = 4.8e12;
  h200.bf16FlopsPerSecond = 989.4e12;
  h200.f32FlopsPerSecond = 66.9e12;

  Chip b200 = h200;
  b200.name = b200.llvmCpu = "sm_100a";
  b200.product = "B200 SXM";
  b200.ptxVersion = 86;
  b200.matrixUnit = MatrixUnit::TensorMemory;
  b200.packedF32 = true;
  b200.multiprocessors = 148;
  b200.l2Bytes = 126 * kMiB;
  b200.bytesPerSecond = 8e12;
  b200.bf16FlopsPerSecond = 2250e12;
  b200.f32FlopsPerSecond = 80e12;

  Chip gb202 = ad102;
  gb202.name = gb202.llvmCpu = "sm_120a";
  gb202.product = "GeForce RTX 5090";
  gb202.ptxVersion = 87;
  // TMA, but a cluster is one block: nothing to multicast to.
  gb202.stmatrix = gb202.tma = gb202.setMaxRegisters = true;
  gb202.packedF32 = false;
  gb202.multiprocessors = 170;
  gb202.l2Bytes = 96 * kMiB;
  gb202.bytesPerSecond = 1.792e12;
  gb202.bf16FlopsPerSecond = 209.5e12;
  gb202.f32FlopsPerSecond = 104.8e12;

  return {a100, ga102, ad102, h200, b200, gb202};
}

struct Table {
  std::mutex mutex;
  std::vector<Chip> rows = builtIn();
};

Table &table() {
  static Table one;
  return one;
}

std::string listOf(const std::vector<Chip> &rows) {
  std::string text;
  for (const Chip &chip : rows)
    text += (text.empty() ? "" : ", ") + chip.name;
  return text;
}

/// Sets one field of `chip` from JSON.
Status setField(Chip &chip, llvm::StringRef name, const llvm::json::Value &value) {
  int64_t *number = llvm::StringSwitch<int64_t *>(name)
                        .Case("sharedPerBlock", &chip.sharedPerBlock)
                        .Case("sharedPerSM", &chip.sharedPerSM)
                        .Case("sharedReserved", &chip.sharedReserved)
                        .Case("registersPerSM", &chip.registersPerSM)
                        .Case("registersPerThread", &chip.registersPerThread)
                        .Case("registerUnit", &chip.registerUnit)
                        .Case("warpsPerSM", &chip.warpsPerSM)
                        .Case("blocksPerSM", &chip.blocksPerSM)
                        .Case("threadsPerBlock", &chip.threadsPerBlock)
                        .Case("multiprocessors", &chip.multiprocessors)
                        .Case("l2Bytes", &chip.l2Bytes)
                        .Default(nullptr);
  bool *flag = llvm::StringSwitch<bool *>(name)
                   .Case("asyncCopy", &chip.asyncCopy)
                   .Case("ldmatrix", &chip.ldmatrix)
                   .Case("stmatrix", &chip.stmatrix)
                   .Case("tma", &chip.tma)
                   .Case("clusters", &chip.clusters)
                   .Case("multicast", &chip.multicast)
                   .Case("setMaxRegisters", &chip.setMaxRegisters)
                   .Case("packedF32", &chip.packedF32)
                   .Default(nullptr);
  double *figure = llvm::StringSwitch<double *>(name)
                       .Case("bytesPerSecond", &chip.bytesPerSecond)
                       .Case("bf16FlopsPerSecond", &chip.bf16FlopsPerSecond)
                       .Case("f32FlopsPerSecond", &chip.f32FlopsPerSecond)
                       .Default(nullptr);
  std::string *text = llvm::StringSwitch<std::string *>(name)
                          .Case("llvmCpu", &chip.llvmCpu)
                          .Case("product", &chip.product)
                          .Default(nullptr);
  auto wrong = [&](const char *expected) {
    std::string found;
    llvm::raw_string_ostream(found) << value;
    return Status(Code::Input,
                  "field '" + name.str() + "' expects " + expected + ", but got " + found);
  };
  if (number) {
    auto given = value.getAsInteger();
    if (!given || *given < 1 || *given > (int64_t(1) << 40))
      return wrong("a positive integer");
    *number = *given;
  } else if (flag) {
    auto given = value.getAsBoolean();
    if (!given)
      return wrong("true or false");
    *flag = *given;
  } else if (figure) {
    auto given = value.getAsNumber();
    if (!given || !(*given > 0))
      return wrong("a positive number");
    *figure = *given;
  } else if (text) {
    auto given = value.getAsString();
    if (!given || given->empty())
      return wrong("text");
    *text = given->str();
  } else if (name == "ptxVersion") {
    auto given = value.getAsInteger();
    // What LLVM 22 can write.
    if (!given || *given < 70 || *given > 90)
      return wrong("a version from 70 (PTX 7.0) to 90");
    chip.ptxVersion = static_cast<int>(*given);
  } else if (name == "matrixUnit") {
    auto given = value.getAsString();
    if (given == "warp")
      chip.matrixUnit = MatrixUnit::Warp;
    else if (given == "warpgroup")
      chip.matrixUnit = MatrixUnit::WarpGroup;
    else if (given == "tensormemory")
      chip.matrixUnit = MatrixUnit::TensorMemory;
    else
      return wrong("\"warp\", \"warpgroup\" or \"tensormemory\"");
  } else {
    return Status(Code::Input, "unknown field '" + name.str() +
                                   "'; the fields are those of Chip in Chips.h");
  }
  return Status::ok();
}

Result<Chip> parseRow(const llvm::json::Value &value, const std::vector<Chip> &rows) {
  const llvm::json::Object *object = value.getAsObject();
  if (!object)
    return Status(Code::Input, "expected an object for each chip");
  auto name = object->getString("name"), like = object->getString("like");
  if (!name || name->empty() ||
      name->find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") !=
          llvm::StringRef::npos)
    return Status(Code::Input, "expected a \"name\" of letters, digits and _ for each chip");
  auto named = [&](llvm::StringRef wanted) {
    return llvm::find_if(rows, [&](const Chip &chip) { return chip.name == wanted; });
  };
  if (*name == "cpu" || *name == "cuda" || *name == "sim" || named(*name) != rows.end())
    return Status(Code::Input, "the name '" + name->str() + "' is taken");
  if (!like || named(*like) == rows.end())
    return Status(Code::Input, "chip '" + name->str() + "' expects \"like\": one of " +
                                   listOf(rows) + ", the chip that its fields change");
  Chip chip = *named(*like);
  chip.name = name->str();
  for (const auto &[key, field] : *object)
    if (key != "name" && key != "like")
      if (Status status = setField(chip, key, field); !status.isOk())
        return status.in("chip '" + chip.name + "'");
  if (chip.sharedPerBlock + chip.sharedReserved > chip.sharedPerSM)
    return Status(Code::Input, "chip '" + chip.name + "': sharedPerBlock " +
                                   std::to_string(chip.sharedPerBlock) + " and sharedReserved " +
                                   std::to_string(chip.sharedReserved) +
                                   " are more than sharedPerSM " + std::to_string(chip.sharedPerSM));
  return chip;
}

} // namespace

std::vector<Chip> chips() {
  std::lock_guard<std::mutex> lock(table().mutex);
  return table().rows;
}

bool isSimulated(const std::string &target) {
  return target == "sim" || llvm::StringRef(target).starts_with("sim:");
}

bool isGpuTarget(const std::string &target) {
  llvm::StringRef name = target;
  if (name == "cuda" || isSimulated(target) || name.starts_with("cuda:") || name.starts_with("sm_"))
    return true;
  return llvm::any_of(chips(), [&](const Chip &chip) { return chip.name == target; });
}

Result<Chip> chipFor(const std::string &target) {
  std::vector<Chip> rows = chips();
  llvm::StringRef name = target;
  if (!name.consume_front("cuda:"))
    name.consume_front("sim:");
  for (const Chip &chip : rows)
    if (chip.name == name)
      return chip;
  if (name == "cuda" || name == "sim")
    return Status(Code::Target, "the target '" + target + "' names no chip; write " + target +
                                    ":CHIP with one of " + listOf(rows));
  return Status(Code::Target, "unknown chip '" + name.str() + "'; this compiler has " +
                                  listOf(rows) + " (docs/Guides/AddAGpu.md adds one)");
}

Result<std::string> chipOfCapability(int major, int minor) {
  std::string best;
  int bestMinor = -1;
  for (const Chip &chip : builtIn()) {
    llvm::StringRef number = llvm::StringRef(chip.name).drop_front(3);
    bool specific = number.consume_back("a"); // runs on this minor only
    int value = 0;
    if (number.getAsInteger(10, value) || value / 10 != major)
      continue;
    if (specific ? value % 10 == minor : value % 10 <= minor && value % 10 > bestMinor) {
      best = chip.name;
      bestMinor = value % 10;
    }
  }
  if (best.empty())
    return Status(Code::Target, "this GPU has compute capability " + std::to_string(major) + "." +
                                    std::to_string(minor) + ", which no chip of the table serves (" +
                                    listOf(chips()) + ")");
  return best;
}

Status addChips(const std::string &json, const std::string &origin) {
  llvm::Expected<llvm::json::Value> parsed = llvm::json::parse(json);
  if (!parsed)
    return Status(Code::Input, origin + ": is no JSON: " + llvm::toString(parsed.takeError()));
  std::lock_guard<std::mutex> lock(table().mutex);
  std::vector<Chip> rows = table().rows;
  auto add = [&](const llvm::json::Value &value) {
    Result<Chip> chip = parseRow(value, rows);
    if (!chip.isOk())
      return chip.status().in(origin);
    rows.push_back(*chip);
    return Status::ok();
  };
  if (const llvm::json::Array *list = parsed->getAsArray()) {
    for (const llvm::json::Value &value : *list)
      OTODUS_RETURN_IF_ERROR(add(value));
  } else {
    OTODUS_RETURN_IF_ERROR(add(*parsed));
  }
  table().rows = std::move(rows);
  return Status::ok();
}

int64_t blocksPerSM(const Chip &chip, int64_t threads, int64_t registers, int64_t sharedBytes) {
  int64_t warps = (threads + 31) / 32;
  // Registers are given to warps in units, and to the four quarters of an SM separately.
  int64_t ofWarp =
      (registers * 32 + chip.registerUnit - 1) / chip.registerUnit * chip.registerUnit;
  int64_t ofBlock = ofWarp * ((warps + 3) / 4 * 4);
  int64_t blocks = std::min(chip.blocksPerSM, chip.warpsPerSM / std::max<int64_t>(warps, 1));
  if (ofBlock > 0)
    blocks = std::min(blocks, chip.registersPerSM / ofBlock);
  blocks = std::min(blocks, chip.sharedPerSM / (sharedBytes + chip.sharedReserved));
  return sharedBytes > chip.sharedPerBlock ? 0 : blocks;
}

} // namespace otodus

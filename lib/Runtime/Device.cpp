//===- Device.cpp - Devices by name, code for them, memory of them ---------===//

#include "otodus/Runtime/Device.h"
#include "Devices.h"

#include <cstdio>
#include <optional>
#include <utility>

namespace otodus::runtime {

//===----------------------------------------------------------------------===//
// What only some devices have
//===----------------------------------------------------------------------===//

Status Stream::beginRecording() { return Status(Code::Internal, "this device cannot record"); }
Result<std::unique_ptr<Recording>> Stream::endRecording() {
  return Status(Code::Internal, "this device cannot record");
}
Status Stream::play(const Recording &) {
  return Status(Code::Internal, "this device cannot record");
}
Status Device::announce(void *, size_t, const std::string &) { return Status::ok(); }
Status Device::encode(const TensorMapShape &, std::byte *) {
  return Status(Code::Internal, name() + " has no tensor maps");
}

//===----------------------------------------------------------------------===//
// Choice
//===----------------------------------------------------------------------===//

std::string secondsText(double seconds) {
  char text[32];
  std::snprintf(text, sizeof(text), "%g s", seconds);
  return text;
}

namespace {
std::string kindOf(const std::string &target) { return target.substr(0, target.find(':')); }
} // namespace

Result<std::shared_ptr<Device>> openDevice(const DeviceOptions &options) {
  std::string kind = options.target.empty() ? "cpu" : kindOf(options.target);
  if (kind == "cpu")
    return cpuDevice();
  if (kind == "cuda")
    return openCudaDevice(options);
  if (kind == "sim")
    return openSimDevice(options);
  return Status(Code::Target, "no device '" + kind + "' in this runtime; it has: cpu, cuda, sim");
}

std::string defaultTarget(const formats::Artefact &artefact) {
  for (const char *kind : {"cpu", "cuda", "sim"})
    for (const formats::Program &program : artefact.programs)
      for (const formats::Code &code : program.code)
        if (kindOf(code.target) == kind)
          return kind;
  return "cpu";
}

Result<CodeChoice> chooseCode(const formats::Artefact &artefact, const Device &device,
                              const std::string &target) {
  std::optional<CodeChoice> best;
  int64_t most = 0;
  bool exact = false, any = false;
  std::string reasons;
  for (size_t p = 0; p < artefact.programs.size(); ++p)
    for (size_t i = 0; i < artefact.programs[p].code.size(); ++i) {
      const formats::Code &code = artefact.programs[p].code[i];
      any = true;
      std::string reason = "is for another device";
      if (kindOf(code.target) == device.kind()) {
        Result<int64_t> rank = device.rank(code);
        if (rank.isOk()) {
          bool named = code.target == target;
          if (!best || (named && !exact) || (named == exact && *rank > most)) {
            best = {p, i};
            most = *rank;
            exact = named;
          }
          continue;
        }
        reason = rank.status().message();
      }
      reasons += (reasons.empty() ? "" : "; ") + code.target + " " + reason;
    }
  if (best)
    return *best;
  if (!any)
    return Status(Code::File, "the artefact holds no code; compile it again");
  return Status(Code::Target, "no code in the artefact runs on " + device.name() + ": " + reasons +
                                  "; compile again with --target=" +
                                  (target.empty() ? device.kind() : target));
}

//===----------------------------------------------------------------------===//
// Memory
//===----------------------------------------------------------------------===//

Result<Memory> Memory::get(std::shared_ptr<Device> device, size_t bytes, bool staging) {
  Memory memory;
  memory.device_ = std::move(device);
  memory.size_ = bytes;
  memory.staging_ = staging;
  if (bytes == 0)
    return memory;
  memory.data_ = static_cast<std::byte *>(staging ? memory.device_->allocateStaging(bytes)
                                                  : memory.device_->allocate(bytes));
  if (memory.data_)
    return memory;
  std::string message = "not enough memory on " +
                        (staging ? std::string("the host") : memory.device_->name()) + ": " +
                        std::to_string(bytes) + " bytes refused";
  if (!staging)
    if (Result<int64_t> free = memory.device_->freeBytes(); free.isOk() && *free != INT64_MAX)
      message += ", " + std::to_string(*free) + " are free";
  return Status(Code::Device, message);
}

Result<Memory> Memory::allocate(std::shared_ptr<Device> device, size_t bytes) {
  return get(std::move(device), bytes, false);
}
Result<Memory> Memory::staging(std::shared_ptr<Device> device, size_t bytes) {
  return get(std::move(device), bytes, true);
}

void Memory::reset() {
  if (data_ && staging_)
    device_->releaseStaging(data_, size_);
  else if (data_)
    device_->release(data_, size_);
  data_ = nullptr;
  size_ = 0;
}

void Memory::swap(Memory &other) {
  std::swap(device_, other.device_);
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  std::swap(staging_, other.staging_);
}

} // namespace otodus::runtime

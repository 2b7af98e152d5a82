//===- Device.h - Where kernels run ----------------------------------------===//
//
// A device is a small table of functions. Only "cpu" exists so far.
//
//===----------------------------------------------------------------------===//

#pragma once

#include "otodus/ABI/Kernel.h"
#include "otodus/Formats/Artefact.h"
#include "otodus/Formats/Status.h"

#include <cstddef>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace otodus::runtime {

class ThreadPool;

/// Code in a form the device can call. Immutable; the entries live as long as it.
class Image {
public:
  virtual ~Image() = default;
  /// The kernel of that name, or null.
  virtual OtodusKernel find(const std::string &entry) const = 0;
  /// Bytes of memory the code takes.
  virtual int64_t bytes() const = 0;
};

struct Device {
  const char *name; ///< "cpu": what stands before the colon of Code::target

  /// Features of `code` that this machine lacks, in the order of Code::features.
  std::vector<std::string> (*missing)(const formats::Code &code);

  /// Makes `code` callable. Code::Target if a feature is missing, Code::File if the
  /// entries do not lie in the text, Code::Device if the system refuses the memory.
  Result<std::shared_ptr<const Image>> (*load)(const formats::Code &code);

  /// Zero-filled memory, 64-byte aligned (2 MiB from that size on), or null.
  void *(*allocate)(size_t bytes);
  void (*release)(void *memory, size_t bytes);

  /// Runs all work items 0 <= i < items and returns when they are done.
  void (*launch)(ThreadPool &pool, OtodusKernel kernel, const OtodusKernelArguments &arguments,
                 int64_t items);
};

/// The processor this program runs on.
const Device &cpuDevice();

/// The device that a target such as "cpu:x86-64-v4" names. Code::Target for others.
Result<const Device *> findDevice(const std::string &target);

/// Which code of an artefact is used: artefact.programs[program].code[code].
struct CodeChoice {
  size_t program = 0, code = 0;
};

/// The best code for this machine: the one that needs the most features among those whose
/// features are all there; of equals the first. If there is none, Code::Target with one line
/// that names what is missing.
Result<CodeChoice> chooseCode(const formats::Artefact &artefact);

/// An image of functions that are part of this program, for tests of the runtime.
std::shared_ptr<const Image> nativeImage(std::map<std::string, OtodusKernel> entries);

/// Memory of a device: owner of what `Device::allocate` gave.
class Memory {
public:
  Memory() = default;
  /// Zero-filled. Code::Device if there is not enough.
  static Result<Memory> allocate(const Device &device, size_t bytes);
  ~Memory() { reset(); }
  Memory(Memory &&other) noexcept { swap(other); }
  Memory &operator=(Memory &&other) noexcept {
    swap(other);
    return *this;
  }

  std::byte *data() const { return data_; }
  size_t size() const { return size_; }
  void reset();

private:
  void swap(Memory &other);
  const Device *device_ = nullptr;
  std::byte *data_ = nullptr;
  size_t size_ = 0;
};

} // namespace otodus::runtime

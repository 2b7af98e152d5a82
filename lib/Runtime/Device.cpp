//===- Device.cpp - The processor as a device ------------------------------===//

#include "otodus/Runtime/Device.h"
#include "otodus/Runtime/ThreadPool.h"

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <string_view>
#include <utility>

#include <sys/mman.h>
#include <unistd.h>

#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace otodus::runtime {

namespace {

//===----------------------------------------------------------------------===//
// Features
//===----------------------------------------------------------------------===//

/// Whether this processor, with this system's register state enabled, has a feature
/// in LLVM's spelling. Names unknown here count as missing: code must not run on a guess.
bool hostHas(std::string_view feature) {
  if (!feature.empty() && feature[0] == '+')
    feature.remove_prefix(1);
#if defined(__x86_64__)
  __builtin_cpu_init();
#define OTODUS_FEATURE(NAME)                                                                       \
  if (feature == NAME)                                                                             \
    return __builtin_cpu_supports(NAME);
  OTODUS_FEATURE("sse3")
  OTODUS_FEATURE("ssse3")
  OTODUS_FEATURE("sse4.1")
  OTODUS_FEATURE("sse4.2")
  OTODUS_FEATURE("popcnt")
  OTODUS_FEATURE("avx")
  OTODUS_FEATURE("avx2")
  OTODUS_FEATURE("fma")
  OTODUS_FEATURE("bmi")
  OTODUS_FEATURE("bmi2")
  OTODUS_FEATURE("avx512f")
  OTODUS_FEATURE("avx512bw")
  OTODUS_FEATURE("avx512cd")
  OTODUS_FEATURE("avx512dq")
  OTODUS_FEATURE("avx512vl")
  OTODUS_FEATURE("avx512vbmi")
  OTODUS_FEATURE("avx512vbmi2")
  OTODUS_FEATURE("avx512ifma")
  OTODUS_FEATURE("avx512vnni")
  OTODUS_FEATURE("avx512bitalg")
  OTODUS_FEATURE("avx512vpopcntdq")
  OTODUS_FEATURE("avx512bf16")
#undef OTODUS_FEATURE
  if (feature == "sse" || feature == "sse2" || feature == "64bit" || feature == "cmov" ||
      feature == "cx8" || feature == "fxsr" || feature == "mmx" || feature == "x87")
    return true; // every x86-64 processor
  unsigned a = 0, b = 0, c = 0, d = 0;
  if (feature == "lzcnt" && __get_cpuid(0x80000001, &a, &b, &c, &d))
    return c >> 5 & 1;
  if (!__get_cpuid(1, &a, &b, &c, &d))
    return false;
  if (feature == "movbe")
    return c >> 22 & 1;
  if (feature == "cx16")
    return c >> 13 & 1;
  if (feature == "xsave" || feature == "crc32")
    return c >> (feature == "xsave" ? 26 : 20) & 1;
  if (feature == "f16c")
    return (c >> 29 & 1) && __builtin_cpu_supports("avx");
  if (feature == "sahf" && __get_cpuid(0x80000001, &a, &b, &c, &d))
    return c & 1;
  if (feature == "evex512") // LLVM's name for 512-bit registers
    return __builtin_cpu_supports("avx512f");
  if (!__get_cpuid_count(7, 0, &a, &b, &c, &d))
    return false;
  if (feature == "avx512fp16")
    return (d >> 23 & 1) && __builtin_cpu_supports("avx512f");
#endif
  return false;
}

std::vector<std::string> cpuMissing(const formats::Code &code) {
  std::vector<std::string> missing;
  for (const std::string &feature : code.features)
    if (!hostHas(feature))
      missing.push_back(feature);
  return missing;
}

std::string join(const std::vector<std::string> &words) {
  std::string result;
  for (const std::string &word : words)
    result += (result.empty() ? "" : ", ") + word;
  return result;
}

//===----------------------------------------------------------------------===//
// Images
//===----------------------------------------------------------------------===//

class CpuImage final : public Image {
public:
  CpuImage(std::byte *base, size_t size) : base_(base), size_(size) {}
  ~CpuImage() override { munmap(base_, size_); }

  OtodusKernel find(const std::string &entry) const override {
    auto found = entries.find(entry);
    return found == entries.end()
               ? nullptr
               : reinterpret_cast<OtodusKernel>(reinterpret_cast<uintptr_t>(base_) + found->second);
  }
  int64_t bytes() const override { return static_cast<int64_t>(size_); }

  std::map<std::string, uint64_t> entries;

private:
  std::byte *base_;
  size_t size_;
};

class NativeImage final : public Image {
public:
  explicit NativeImage(std::map<std::string, OtodusKernel> entries)
      : entries_(std::move(entries)) {}
  OtodusKernel find(const std::string &entry) const override {
    auto found = entries_.find(entry);
    return found == entries_.end() ? nullptr : found->second;
  }
  int64_t bytes() const override { return 0; }

private:
  std::map<std::string, OtodusKernel> entries_;
};

Result<std::shared_ptr<const Image>> cpuLoad(const formats::Code &code) {
  std::vector<std::string> missing = cpuMissing(code);
  if (!missing.empty())
    return Status(Code::Target, "the code was compiled for " + code.target +
                                    ", but this processor lacks " + join(missing) +
                                    "; compile again with --target=cpu");
  // Text may be counted in whole pages, beyond the end of the blob.
  size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  size_t size = (code.blob.size() + page - 1) / page * page;
  if (code.blob.empty() || code.textBytes > size)
    return Status(Code::File, "the code for " + code.target + " has " +
                                  std::to_string(code.textBytes) + " bytes of text in a blob of " +
                                  std::to_string(code.blob.size()) + "; compile again");
  for (const formats::Code::Entry &entry : code.entries)
    if (entry.offset >= std::min<uint64_t>(code.textBytes, code.blob.size()))
      return Status(Code::File,
                    "kernel '" + entry.name + "' starts at byte " + std::to_string(entry.offset) +
                        " of " + std::to_string(code.textBytes) + " bytes of text; compile again");

  size_t text = std::min(size, (static_cast<size_t>(code.textBytes) + page - 1) / page * page);
  void *base = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (base == MAP_FAILED)
    return Status(Code::Device, "cannot get " + std::to_string(size) +
                                    " bytes for the code: " + std::strerror(errno));
  auto image = std::make_shared<CpuImage>(static_cast<std::byte *>(base), size);
  std::memcpy(base, code.blob.data(), code.blob.size());
  // Never writable and executable at the same time: hardened systems refuse that.
  if (mprotect(base, size, PROT_READ) != 0 || mprotect(base, text, PROT_READ | PROT_EXEC) != 0)
    return Status(Code::Device,
                  std::string("the system does not let this process run generated code: ") +
                      std::strerror(errno));
  __builtin___clear_cache(static_cast<char *>(base), static_cast<char *>(base) + text);
  for (const formats::Code::Entry &entry : code.entries)
    image->entries[entry.name] = entry.offset;
  return std::shared_ptr<const Image>(std::move(image));
}

//===----------------------------------------------------------------------===//
// Memory and launches
//===----------------------------------------------------------------------===//

constexpr size_t kHugePage = size_t(2) << 20;

size_t mappedSize(size_t bytes) {
  size_t unit = bytes >= kHugePage ? kHugePage : 4096;
  return (bytes + unit - 1) / unit * unit;
}

void *cpuAllocate(size_t bytes) {
  if (bytes == 0 || bytes > (size_t(1) << 60))
    return nullptr;
  size_t size = mappedSize(bytes);
  size_t slack = size >= kHugePage ? kHugePage : 0;
  void *base =
      mmap(nullptr, size + slack, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (base == MAP_FAILED)
    return nullptr;
  if (!slack)
    return base;
  // Cut the mapping to a huge page boundary, or the first and last 2 MiB stay small.
  auto start = reinterpret_cast<uintptr_t>(base);
  uintptr_t aligned = (start + kHugePage - 1) / kHugePage * kHugePage;
  if (aligned != start)
    munmap(base, aligned - start);
  if (size_t tail = start + slack - aligned)
    munmap(reinterpret_cast<void *>(aligned + size), tail);
  madvise(reinterpret_cast<void *>(aligned), size, MADV_HUGEPAGE);
  return reinterpret_cast<void *>(aligned);
}

void cpuRelease(void *memory, size_t bytes) {
  if (memory)
    munmap(memory, mappedSize(bytes));
}

void cpuLaunch(ThreadPool &pool, OtodusKernel kernel, const OtodusKernelArguments &arguments,
               int64_t items) {
  struct Job {
    OtodusKernel kernel;
    const OtodusKernelArguments *arguments;
  } job{kernel, &arguments};
  pool.run(
      items,
      [](void *context, int64_t lo, int64_t hi) {
        const Job &job = *static_cast<const Job *>(context);
        job.kernel(job.arguments, lo, hi);
      },
      &job);
}

} // namespace

const Device &cpuDevice() {
  static const Device device = {"cpu", cpuMissing, cpuLoad, cpuAllocate, cpuRelease, cpuLaunch};
  return device;
}

Result<const Device *> findDevice(const std::string &target) {
  std::string name = target.substr(0, target.find(':'));
  const Device &cpu = cpuDevice();
  if (name == cpu.name)
    return &cpu;
  return Status(Code::Target, "no device '" + name + "' in this runtime; it has: cpu");
}

Result<CodeChoice> chooseCode(const formats::Artefact &artefact) {
  std::optional<CodeChoice> best;
  size_t most = 0;
  std::string reasons;
  for (size_t p = 0; p < artefact.programs.size(); ++p)
    for (size_t i = 0; i < artefact.programs[p].code.size(); ++i) {
      const formats::Code &code = artefact.programs[p].code[i];
      Result<const Device *> device = findDevice(code.target);
      std::string reason;
      if (!device.isOk()) {
        reason = "a device this runtime does not have";
      } else {
        std::vector<std::string> missing = (*device)->missing(code);
        if (missing.empty()) {
          if (!best || code.features.size() > most) {
            best = {p, i};
            most = code.features.size();
          }
          continue;
        }
        reason = join(missing);
      }
      reasons += (reasons.empty() ? "" : "; ") + code.target + " needs " + reason;
    }
  if (best)
    return *best;
  if (reasons.empty())
    return Status(Code::File, "the artefact holds no code; compile it again");
  return Status(Code::Target, "no code in the artefact runs on this machine: " + reasons +
                                  "; compile again with --target=cpu");
}

std::shared_ptr<const Image> nativeImage(std::map<std::string, OtodusKernel> entries) {
  return std::make_shared<NativeImage>(std::move(entries));
}

Result<Memory> Memory::allocate(const Device &device, size_t bytes) {
  Memory memory;
  memory.device_ = &device;
  memory.size_ = bytes;
  if (bytes == 0)
    return memory;
  memory.data_ = static_cast<std::byte *>(device.allocate(bytes));
  if (!memory.data_)
    return Status(Code::Device, "not enough memory on " + std::string(device.name) + ": " +
                                    std::to_string(bytes) + " bytes refused");
  return memory;
}

void Memory::reset() {
  if (data_)
    device_->release(data_, size_);
  data_ = nullptr;
  size_ = 0;
}

void Memory::swap(Memory &other) {
  std::swap(device_, other.device_);
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
}

} // namespace otodus::runtime

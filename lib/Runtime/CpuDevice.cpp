//===- CpuDevice.cpp - The processor as a device ---------------------------===//

#include "CodeBlob.h"
#include "HostMarks.h"
#include "otodus/Runtime/Device.h"
#include "otodus/Runtime/ThreadPool.h"

#include <cstdint>
#include <cstring>
#include <string_view>

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

std::string missing(const formats::Code &code) {
  std::string result;
  for (const std::string &feature : code.features)
    if (!hostHas(feature))
      result += (result.empty() ? "" : ", ") + feature;
  return result;
}

//===----------------------------------------------------------------------===//
// Images
//===----------------------------------------------------------------------===//

class CpuImage final : public Image {
public:
  CpuImage() = default;
  explicit CpuImage(CodeBlob blob) : blob_(std::move(blob)) {}

  const Kernel *find(const std::string &entry) const override {
    auto found = kernels_.find(entry);
    return found == kernels_.end() ? nullptr : &found->second;
  }
  int64_t bytes() const override { return static_cast<int64_t>(blob_.size()); }

  void add(const std::string &name, OtodusKernel function) {
    Kernel &kernel = kernels_[name];
    kernel.name = name;
    kernel.host = function;
  }

private:
  CodeBlob blob_;
  std::map<std::string, Kernel> kernels_;
};

//===----------------------------------------------------------------------===//
// Launches
//===----------------------------------------------------------------------===//

/// Everything happens at once, so there is nothing to wait for.
class CpuStream final : public Stream {
public:
  explicit CpuStream(ThreadPool &pool) : pool_(pool) {}

  Status launch(const KernelCall &call) override {
    struct Job {
      OtodusKernel kernel;
      OtodusKernelArguments arguments;
    } job{call.kernel->host, {call.buffers, call.batch, call.length, call.rows}};
    pool_.run(
        call.items,
        [](void *context, int64_t lo, int64_t hi) {
          const Job &job = *static_cast<const Job *>(context);
          job.kernel(&job.arguments, lo, hi);
        },
        &job);
    return Status::ok();
  }
  Status write(void *device, const void *host, size_t bytes) override {
    return copy(device, host, bytes);
  }
  Status read(void *host, const void *device, size_t bytes) override {
    return copy(host, device, bytes);
  }
  Status copy(void *to, const void *from, size_t bytes) override {
    std::memcpy(to, from, bytes);
    return Status::ok();
  }
  Status zero(void *device, size_t bytes) override {
    std::memset(device, 0, bytes);
    return Status::ok();
  }
  Status synchronise() override { return Status::ok(); }

  Status mark() override {
    marks_.mark();
    return Status::ok();
  }
  Result<std::vector<int64_t>> times() override { return marks_.times(); }

private:
  ThreadPool &pool_;
  HostMarks marks_;
};

//===----------------------------------------------------------------------===//
// Memory
//===----------------------------------------------------------------------===//

constexpr size_t kHugePage = size_t(2) << 20;

size_t mappedSize(size_t bytes) {
  size_t unit = bytes >= kHugePage ? kHugePage : 4096;
  return (bytes + unit - 1) / unit * unit;
}

class CpuDevice final : public Device {
public:
  const char *kind() const override { return "cpu"; }
  std::string name() const override { return "cpu"; }
  const Traits &traits() const override {
    static const Traits traits = {.sharesHostMemory = true};
    return traits;
  }

  Result<int64_t> rank(const formats::Code &code) const override {
    if (std::string lacks = missing(code); !lacks.empty())
      return Status(Code::Target, "needs " + lacks);
    return static_cast<int64_t>(code.features.size());
  }

  Result<std::shared_ptr<const Image>> load(const formats::Code &code) override {
    if (std::string lacks = missing(code); !lacks.empty())
      return Status(Code::Target, "the code was compiled for " + code.target +
                                      ", but this processor lacks " + lacks +
                                      "; compile again with --target=cpu");
    Result<CodeBlob> blob = CodeBlob::map(code);
    if (!blob.isOk())
      return blob.status();
    auto address = [base = blob->data()](const formats::Code::Entry &entry) {
      return reinterpret_cast<OtodusKernel>(reinterpret_cast<uintptr_t>(base) + entry.offset);
    };
    auto image = std::make_shared<CpuImage>(std::move(*blob));
    for (const formats::Code::Entry &entry : code.entries)
      image->add(entry.name, address(entry));
    return std::shared_ptr<const Image>(std::move(image));
  }

  void *allocate(size_t bytes) override {
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


  void release(void *memory, size_t bytes) override {
    if (memory)
      munmap(memory, mappedSize(bytes));
  }
  void *allocateStaging(size_t bytes) override { return allocate(bytes); }
  void releaseStaging(void *memory, size_t bytes) override { release(memory, bytes); }
  // The system gives pages as they are touched.
  Result<int64_t> freeBytes() override { return INT64_MAX; }

  Result<std::unique_ptr<Stream>> stream(ThreadPool &pool) override {
    return std::unique_ptr<Stream>(std::make_unique<CpuStream>(pool));
  }
};

} // namespace

const std::shared_ptr<Device> &cpuDevice() {
  static const std::shared_ptr<Device> device = std::make_shared<CpuDevice>();
  return device;
}

std::shared_ptr<const Image> nativeImage(const std::map<std::string, OtodusKernel> &entries) {
  auto image = std::make_shared<CpuImage>();
  for (const auto &[name, function] : entries)
    image->add(name, function);
  return image;
}

} // namespace otodus::runtime

//===- SimDevice.cpp - A simulated GPU as a device -------------------------===//
//
// The simulator is a library of its own (include/otodus/ABI/SimLibrary.h), loaded when it
// is needed. Its global memory is host memory, but nobody here touches it except through
// a stream, so that the simulator knows which bytes were written.
//
//===----------------------------------------------------------------------===//

#include "CodeBlob.h"
#include "Devices.h"
#include "HostMarks.h"
#include "SharedLibrary.h"
#include "otodus/ABI/SimLibrary.h"

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <optional>

#include <sys/mman.h>

namespace otodus::runtime {

namespace {

//===----------------------------------------------------------------------===//
// The library
//===----------------------------------------------------------------------===//

struct SimLibrary {
  std::string path;
  decltype(&otodusSimVersion) version = nullptr;
  decltype(&otodusSimCreate) create = nullptr;
  decltype(&otodusSimDestroy) destroy = nullptr;
  decltype(&otodusSimRegister) add = nullptr;
  decltype(&otodusSimUnregister) remove = nullptr;
  decltype(&otodusSimInitialised) initialised = nullptr;
  decltype(&otodusSimLaunch) launch = nullptr;
  decltype(&otodusSimReportCount) reportCount = nullptr;
  decltype(&otodusSimReport) report = nullptr;
  decltype(&otodusSimBankCount) bankCount = nullptr;
  decltype(&otodusSimBank) bank = nullptr;
  decltype(&otodusSimGetCounters) counters = nullptr;
  decltype(&otodusSimEncodeTensorMap) encode = nullptr;
};

constexpr const char *kLibraryName = "libotodus-sim.so";

Result<SimLibrary> loadLibrary(const std::string &file) {
  std::vector<std::string> files;
  if (!file.empty()) {
    files = {file};
  } else {
    std::string folder = programFolder();
    files = {folder + "/" + kLibraryName, folder + "/../lib/" + kLibraryName, kLibraryName};
  }
  Result<SharedLibrary> opened = SharedLibrary::open(files);
  if (!opened.isOk())
    return Status(Code::Target, "no simulator: " + std::string(file.empty() ? kLibraryName : file) +
                                    " cannot be loaded (" + opened.status().message() +
                                    "); it belongs beside the program or in ../lib");
  SimLibrary library;
  library.path = opened->path();
  bool complete = opened->find("otodusSimVersion", library.version) &&
                  opened->find("otodusSimCreate", library.create) &&
                  opened->find("otodusSimDestroy", library.destroy) &&
                  opened->find("otodusSimRegister", library.add) &&
                  opened->find("otodusSimUnregister", library.remove) &&
                  opened->find("otodusSimInitialised", library.initialised) &&
                  opened->find("otodusSimLaunch", library.launch) &&
                  opened->find("otodusSimReportCount", library.reportCount) &&
                  opened->find("otodusSimReport", library.report) &&
                  opened->find("otodusSimBankCount", library.bankCount) &&
                  opened->find("otodusSimBank", library.bank) &&
                  opened->find("otodusSimGetCounters", library.counters) &&
                  opened->find("otodusSimEncodeTensorMap", library.encode);
  uint32_t version = library.version ? library.version() : 0;
  if (!complete || version != OTODUS_SIM_LIBRARY_VERSION)
    return Status(Code::Target, library.path + ": a simulator of version " +
                                    std::to_string(version) + ", expected version " +
                                    std::to_string(OTODUS_SIM_LIBRARY_VERSION) +
                                    "; install both parts of one otodus");
  return library;
}

//===----------------------------------------------------------------------===//
// Options
//===----------------------------------------------------------------------===//

/// "check=full,order=random:3" into `options`.
Status parseOptions(const std::string &text, OtodusSimOptions &options) {
  struct Choice {
    const char *key, *word;
    uint32_t OtodusSimOptions::*field;
    uint32_t value;
    bool seeded;
  };
  static const Choice kChoices[] = {
      {"check", "none", &OtodusSimOptions::checks, OTODUS_SIM_CHECK_NONE, false},
      {"check", "fast", &OtodusSimOptions::checks, OTODUS_SIM_CHECK_FAST, false},
      {"check", "full", &OtodusSimOptions::checks, OTODUS_SIM_CHECK_FULL, false},
      {"order", "fifo", &OtodusSimOptions::order, OTODUS_SIM_FIFO, false},
      {"order", "lifo", &OtodusSimOptions::order, OTODUS_SIM_LIFO, false},
      {"order", "random", &OtodusSimOptions::order, OTODUS_SIM_RANDOM, true},
      {"async", "late", &OtodusSimOptions::async, OTODUS_SIM_LATE, false},
      {"async", "early", &OtodusSimOptions::async, OTODUS_SIM_EARLY, false},
      {"async", "mixed", &OtodusSimOptions::async, OTODUS_SIM_MIXED, true},
      {"banks", "count", &OtodusSimOptions::banks, 1, false},
  };
  for (size_t at = 0; at < text.size();) {
    size_t end = std::min(text.find(',', at), text.size());
    std::string part = text.substr(at, end - at);
    at = end + 1;
    size_t equals = part.find('='), colon = part.find(':');
    std::string key = part.substr(0, equals), word;
    if (equals != std::string::npos)
      word = part.substr(equals + 1, colon == std::string::npos ? colon : colon - equals - 1);
    auto choice = std::find_if(std::begin(kChoices), std::end(kChoices), [&](const Choice &c) {
      return key == c.key && word == c.word;
    });
    bool good = choice != std::end(kChoices);
    if (good && colon != std::string::npos) {
      const char *begin = part.data() + colon + 1, *last = part.data() + part.size();
      auto [rest, error] = std::from_chars(begin, last, options.seed);
      good = choice->seeded && begin != last && rest == last && error == std::errc();
    }
    if (!good)
      return Status(Code::Usage, "--sim expects check=none|fast|full, "
                                 "order=fifo|lifo|random[:SEED], async=late|early|mixed[:SEED] and "
                                 "banks=count, but got '" + part + "'");
    options.*choice->field = choice->value;
  }
  if (options.banks && options.checks == OTODUS_SIM_CHECK_NONE)
    return Status(Code::Usage, "--sim=banks=count counts accesses that check=none does not look at; "
                               "leave out one of them");
  return Status::ok();
}

//===----------------------------------------------------------------------===//
// The device
//===----------------------------------------------------------------------===//

/// Accesses of warps to shared memory by all launches of a kernel.
struct BankUse {
  int64_t launches = 0;
  uint64_t accesses = 0, conflicts = 0; ///< conflicts: passes beyond what the bytes need
  std::string worst;                    ///< the ops with most of them, of the first launch
};

/// One simulator and the memory it knows; kept alive by device, images and streams.
struct Simulator {
  SimLibrary library;
  OtodusSimulator *handle = nullptr;
  DeviceOptions options;
  std::mutex mutex; ///< calls on one simulator must not overlap
  std::map<std::byte *, size_t> ranges;
  bool countsBanks = false;
  std::map<std::string, BankUse> banks; ///< by kernel
  OtodusSimCounters counted = {};

  ~Simulator() {
    for (const auto &[kernel, use] : banks)
      if (options.report)
        options.report("banks: " + kernel + ": " + std::to_string(use.launches) +
                       (use.launches == 1 ? " launch, " : " launches, ") +
                       std::to_string(use.accesses) + " accesses, " + std::to_string(use.conflicts) +
                       " extra passes" + (use.conflicts ? "; most: " + use.worst : ""));
    if (handle)
      library.destroy(handle);
  }

  /// Adds the last launch, which was one of `kernel`.
  void countBanks(const std::string &kernel) {
    OtodusSimCounters now = {};
    library.counters(handle, &now);
    BankUse &use = banks[kernel];
    if (use.launches++ == 0)
      for (size_t i = 0; i < std::min<size_t>(3, library.bankCount(handle)); ++i)
        use.worst += (i ? "; " : "") + std::string(library.bank(handle, i));
    use.accesses += now.sharedAccesses - counted.sharedAccesses;
    use.conflicts += now.bankConflicts - counted.bankConflicts;
    counted = now;
  }

  void setInitialised(const void *at, size_t bytes, bool on) {
    std::lock_guard<std::mutex> lock(mutex);
    if (bytes)
      library.initialised(handle, at, bytes, on);
  }
};

class SimImage final : public Image {
public:
  SimImage(std::shared_ptr<Simulator> simulator, CodeBlob blob, const formats::Code &code)
      : simulator_(std::move(simulator)), blob_(std::move(blob)) {
    for (const formats::Code::Entry &entry : code.entries)
      kernels_[entry.name] = {entry.name,    nullptr,           blob_.data() + entry.offset,
                              entry.threads, entry.sharedBytes, entry.cluster,
                              entry.tensorMaps};
  }
  const Kernel *find(const std::string &entry) const override {
    auto found = kernels_.find(entry);
    return found == kernels_.end() ? nullptr : &found->second;
  }
  int64_t bytes() const override { return static_cast<int64_t>(blob_.size()); }

private:
  std::shared_ptr<Simulator> simulator_;
  CodeBlob blob_;
  std::map<std::string, Kernel> kernels_;
};

/// Everything happens at once.
class SimStream final : public Stream {
public:
  explicit SimStream(std::shared_ptr<Simulator> simulator) : simulator_(std::move(simulator)) {}

  Status launch(const KernelCall &call) override;
  Status write(void *device, const void *host, size_t bytes) override {
    std::memcpy(device, host, bytes);
    simulator_->setInitialised(device, bytes, true);
    return Status::ok();
  }
  Status read(void *host, const void *device, size_t bytes) override {
    std::memcpy(host, device, bytes);
    return Status::ok();
  }
  Status copy(void *to, const void *from, size_t bytes) override { return write(to, from, bytes); }
  Status zero(void *device, size_t bytes) override {
    std::memset(device, 0, bytes);
    simulator_->setInitialised(device, bytes, true);
    return Status::ok();
  }
  void forget(void *device, size_t bytes) override {
    simulator_->setInitialised(device, bytes, false);
  }
  Status synchronise() override { return Status::ok(); }

  Status mark() override {
    marks_.mark();
    return Status::ok();
  }
  Result<std::vector<int64_t>> times() override { return marks_.times(); }

private:
  std::shared_ptr<Simulator> simulator_;
  HostMarks marks_;
};

Status SimStream::launch(const KernelCall &call) {
  const Kernel &kernel = *call.kernel;
  if (call.items == 0)
    return Status::ok();
  std::string where =
      "launch '" + std::string(call.name) + "', kernel '" + kernel.name + "' on the simulator";
  if (call.items > INT32_MAX || call.items % kernel.cluster != 0)
    return Status(Code::Internal, where + ": a grid of " + std::to_string(call.items) +
                                      " blocks in clusters of " + std::to_string(kernel.cluster));
  std::vector<void *> params;
  for (size_t i = 0; i < call.bufferCount; ++i)
    params.push_back(const_cast<void **>(call.buffers + i));
  for (const int64_t *size : {&call.batch, &call.length, &call.rows})
    params.push_back(const_cast<int64_t *>(size));
  for (size_t i = 0; i < kernel.tensorMaps.size(); ++i)
    params.push_back(const_cast<std::byte *>(call.tensorMaps + 128 * i));

  OtodusSimLaunch launch = {};
  launch.size = sizeof(launch);
  launch.kernel = reinterpret_cast<OtodusSimKernel>(reinterpret_cast<uintptr_t>(kernel.handle));
  launch.name = call.name;
  launch.grid[0] = static_cast<uint32_t>(call.items);
  launch.threads[0] = static_cast<uint32_t>(kernel.threads);
  launch.cluster[0] = static_cast<uint32_t>(kernel.cluster);
  for (int i : {1, 2})
    launch.grid[i] = launch.threads[i] = launch.cluster[i] = 1;
  launch.sharedBytes = static_cast<uint32_t>(kernel.sharedBytes);
  launch.params = params.data();

  std::lock_guard<std::mutex> lock(simulator_->mutex);
  const SimLibrary &library = simulator_->library;
  OtodusSimStatus status = library.launch(simulator_->handle, &launch);
  if (simulator_->countsBanks && status != OTODUS_SIM_INVALID)
    simulator_->countBanks(kernel.name);
  if (status == OTODUS_SIM_OK)
    return Status::ok();
  size_t count = library.reportCount(simulator_->handle);
  std::string first;
  for (size_t i = 0; i < count; ++i) {
    const char *text = library.report(simulator_->handle, i);
    if (i == 0) // the lines after the first say where each thread stood
      first = std::string(text).substr(0, std::string(text).find('\n'));
    if (simulator_->options.report)
      simulator_->options.report(text);
  }
  std::string seen = std::to_string(count) + (count == 1 ? " report: " : " reports, the first: ");
  switch (status) {
  case OTODUS_SIM_TIMEOUT:
    return Status(Code::Device, where + ": did not end within " +
                                    secondsText(simulator_->options.timeout) +
                                    " (--device-timeout)");
  case OTODUS_SIM_INVALID:
    return Status(Code::Internal, where + ": cannot start: " + first);
  case OTODUS_SIM_FAULT:
    return Status(Code::Check, where + ": stopped by a fault; " + seen + first);
  default:
    return Status(Code::Check, where + ": " + seen + first);
  }
}

class SimDevice final : public Device {
public:
  SimDevice(std::shared_ptr<Simulator> simulator, std::string target)
      : simulator_(std::move(simulator)), target_(std::move(target)) {}

  const char *kind() const override { return "sim"; }
  std::string name() const override { return target_; }
  const Traits &traits() const override {
    static const Traits traits = {.alignment = 256, .guard = 256, .checksMemory = true};
    return traits;
  }

  Result<int64_t> rank(const formats::Code &code) const override {
    if (code.kind != formats::CodeKind::Sim)
      return Status(Code::Target, "is not for the simulator");
    if (target_ != "sim" && code.target != target_)
      return Status(Code::Target, "is not for " + target_);
    return 0;
  }

  Result<std::shared_ptr<const Image>> load(const formats::Code &code) override {
    Result<CodeBlob> blob = CodeBlob::map(code);
    if (!blob.isOk())
      return blob.status();
    return std::shared_ptr<const Image>(
        std::make_shared<SimImage>(simulator_, std::move(*blob), code));
  }

  void *allocate(size_t bytes) override {
    if (bytes == 0 || bytes > (size_t(1) << 46))
      return nullptr;
    void *base =
        mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return base == MAP_FAILED ? nullptr : base;
  }
  void release(void *memory, size_t bytes) override {
    auto *begin = static_cast<std::byte *>(memory);
    {
      std::lock_guard<std::mutex> lock(simulator_->mutex);
      auto &ranges = simulator_->ranges;
      for (auto at = ranges.lower_bound(begin); at != ranges.end() && at->first < begin + bytes;
           at = ranges.erase(at))
        simulator_->library.remove(simulator_->handle, at->first);
    }
    munmap(memory, bytes);
  }
  void *allocateStaging(size_t bytes) override {
    return std::aligned_alloc(256, (bytes + 255) / 256 * 256);
  }
  void releaseStaging(void *memory, size_t) override { std::free(memory); }
  // The host gives pages as they are touched.
  Result<int64_t> freeBytes() override { return INT64_MAX; }

  Status announce(void *begin, size_t bytes, const std::string &name) override {
    if (bytes == 0)
      return Status::ok();
    std::lock_guard<std::mutex> lock(simulator_->mutex);
    if (simulator_->library.add(simulator_->handle, begin, bytes, name.c_str()) != 0)
      return Status(Code::Internal, "the simulator refuses the memory of " + name);
    simulator_->ranges[static_cast<std::byte *>(begin)] = bytes;
    return Status::ok();
  }

  Status encode(const TensorMapShape &shape, std::byte *out) override {
    OtodusSimType type = shape.dtype == formats::DType::BF16  ? OTODUS_SIM_BF16
                         : shape.dtype == formats::DType::F32 ? OTODUS_SIM_F32
                                                              : OTODUS_SIM_I32;
    uint32_t step[5] = {1, 1, 1, 1, 1};
    char error[256] = "";
    alignas(64) OtodusSimTensorMap map = {};
    if (simulator_->library.encode(&map, type, shape.rank, shape.base, shape.size, shape.stride,
                                   shape.box, step, shape.swizzle, /*fillNaN=*/0, error,
                                   sizeof(error)) != 0)
      return Status(Code::Internal, std::string("the simulator refuses it: ") + error);
    std::memcpy(out, &map, sizeof(map));
    return Status::ok();
  }

  Result<std::unique_ptr<Stream>> stream(ThreadPool &) override {
    return std::unique_ptr<Stream>(std::make_unique<SimStream>(simulator_));
  }

private:
  std::shared_ptr<Simulator> simulator_;
  std::string target_;
};

} // namespace

Result<std::shared_ptr<Device>> openSimDevice(const DeviceOptions &options) {
  Result<SimLibrary> library = loadLibrary(options.simLibrary);
  if (!library.isOk())
    return library.status();
  OtodusSimOptions sim = {};
  sim.size = sizeof(sim);
  sim.checks = OTODUS_SIM_CHECK_FAST;
  sim.timeout = options.timeout;
  OTODUS_RETURN_IF_ERROR(parseOptions(options.sim, sim));
  auto simulator = std::make_shared<Simulator>();
  simulator->library = *library;
  simulator->options = options;
  simulator->countsBanks = sim.banks != 0;
  char error[256] = "";
  simulator->handle = library->create(&sim, error, sizeof(error));
  if (!simulator->handle)
    return Status(Code::Device, std::string("the simulator does not start: ") + error);
  return std::shared_ptr<Device>(std::make_shared<SimDevice>(simulator, options.target));
}

Result<std::string> findSimulator(const std::string &file) {
  Result<SimLibrary> library = loadLibrary(file);
  if (!library.isOk())
    return library.status();
  return library->path;
}

} // namespace otodus::runtime

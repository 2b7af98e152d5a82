//===- Device.h - Where kernels run ----------------------------------------===//
//
// A device loads code, has memory and makes streams, on which kernels and copies run in
// order. There are three: the processor ("cpu"), NVIDIA GPUs ("cuda") and the simulator
// of a GPU ("sim"). docs/Runtime.md says what differs between them.
//
//===----------------------------------------------------------------------===//

#pragma once

#include "otodus/ABI/Kernel.h"
#include "otodus/Formats/Artefact.h"
#include "otodus/Formats/Status.h"

#include <cstddef>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace otodus::runtime {

class ThreadPool;

//===----------------------------------------------------------------------===//
// Code
//===----------------------------------------------------------------------===//

/// A kernel in a form its device can call.
struct Kernel {
  std::string name;
  OtodusKernel host = nullptr; ///< cpu
  void *handle = nullptr;      ///< cuda: CUfunction; sim: OtodusSimKernel
  int64_t threads = 0, sharedBytes = 0, cluster = 1; ///< formats::Code::Entry
  std::vector<formats::TensorMap> tensorMaps;
};

/// Loaded code. Immutable; its kernels live as long as it.
class Image {
public:
  virtual ~Image() = default;
  /// The kernel of that name, or null.
  virtual const Kernel *find(const std::string &entry) const = 0;
  /// Bytes of memory the code takes.
  virtual int64_t bytes() const = 0;
};

/// An image of functions that are part of this program, for tests of the runtime.
std::shared_ptr<const Image> nativeImage(const std::map<std::string, OtodusKernel> &entries);

//===----------------------------------------------------------------------===//
// Streams
//===----------------------------------------------------------------------===//

/// One launch. What it points to stays valid until `Stream::launch` returns.
struct KernelCall {
  const Kernel *kernel = nullptr;
  const char *name = "";           ///< of the launch in the plan, for messages
  void *const *buffers = nullptr;  ///< addresses on the device
  size_t bufferCount = 0;
  int64_t batch = 0, length = 0, rows = 0;
  int64_t items = 0;               ///< work items; on a GPU thread blocks
  /// 128 bytes for each of kernel->tensorMaps, made by Device::encode; 64-byte aligned.
  const std::byte *tensorMaps = nullptr;
};

/// Launches and copies that were captured once to be played again.
class Recording {
public:
  virtual ~Recording() = default;
};

/// A queue: what is put in runs in order, and on a GPU later. Not thread-safe. An error
/// may come from anything put in since the last `synchronise`; what the device's memory
/// holds is then unknown.
class Stream {
public:
  virtual ~Stream() = default;

  virtual Status launch(const KernelCall &call) = 0;
  /// Host memory to the device's and back. The host's side must not be changed or read
  /// before `synchronise`.
  virtual Status write(void *device, const void *host, size_t bytes) = 0;
  virtual Status read(void *host, const void *device, size_t bytes) = 0;
  /// Within the device.
  virtual Status copy(void *to, const void *from, size_t bytes) = 0;
  virtual Status zero(void *device, size_t bytes) = 0;
  /// The contents have no meaning any more: a device that checks reports reads of them.
  virtual void forget(void *device, size_t bytes) {}
  /// Waits until all is done. Code::Device names the kernel that failed, Code::Check if a
  /// simulated kernel did something a GPU would not forgive.
  virtual Status synchronise() = 0;

  /// Notes the time at this place of the queue; `times` waits and gives the nanoseconds between
  /// each mark and the one before, and forgets them.
  virtual Status mark() = 0;
  virtual Result<std::vector<int64_t>> times() = 0;

  /// Devices::Traits::records: what is put in between is kept instead of run.
  virtual Status beginRecording();
  virtual Result<std::unique_ptr<Recording>> endRecording();
  virtual Status play(const Recording &recording);
};

//===----------------------------------------------------------------------===//
// Devices
//===----------------------------------------------------------------------===//

/// A tensor map with its sizes known; see formats::TensorMap.
struct TensorMapShape {
  formats::DType dtype = formats::DType::BF16;
  uint32_t rank = 0;
  void *base = nullptr;    ///< on the device, a multiple of 16
  uint64_t size[5] = {};   ///< elements, innermost first
  uint64_t stride[4] = {}; ///< bytes
  uint32_t box[5] = {};
  uint32_t swizzle = 0;
};

class Device {
public:
  struct Traits {
    /// Its memory is the host's: no copies are needed.
    bool sharesHostMemory = false;
    /// Buffers start at multiples of `alignment` and lie `guard` bytes apart.
    int64_t alignment = 64, guard = 0;
    /// It knows which bytes were written: each buffer is announced (`announce`) and has memory
    /// of its own.
    bool checksMemory = false;
    /// Streams can record.
    bool records = false;
    /// Steps of a piece unless a session says otherwise: enough to keep the device busy.
    int64_t maxPiece = 512;
  };

  virtual ~Device() = default;

  /// What stands before the colon of a target: "cpu", "cuda", "sim".
  virtual const char *kind() const = 0;
  /// For messages: "cpu", "cuda:0 (NVIDIA H200)".
  virtual std::string name() const = 0;
  virtual const Traits &traits() const = 0;

  /// How well `code` suits this device, larger is better; Code::Target with the reason if it
  /// cannot run here.
  virtual Result<int64_t> rank(const formats::Code &code) const = 0;
  /// Makes `code` callable. Code::Target if `rank` refuses it, Code::File if it is damaged,
  /// Code::Device if the system refuses memory.
  virtual Result<std::shared_ptr<const Image>> load(const formats::Code &code) = 0;

  /// Zero-filled memory, aligned to 256 bytes (2 MiB from that size on on the host), or null.
  virtual void *allocate(size_t bytes) = 0;
  virtual void release(void *memory, size_t bytes) = 0;
  /// Memory of the host that copies are fast from, or null.
  virtual void *allocateStaging(size_t bytes) = 0;
  virtual void releaseStaging(void *memory, size_t bytes) = 0;
  /// Bytes that `allocate` can still give; INT64_MAX if that is not known beforehand.
  virtual Result<int64_t> freeBytes() = 0;
  /// Traits::checksMemory: the bytes are one buffer, `name`, not written yet.
  virtual Status announce(void *begin, size_t bytes, const std::string &name);

  /// Fills the 128 bytes of a tensor map. Code::Internal if the device refuses it.
  virtual Status encode(const TensorMapShape &shape, std::byte *out);

  /// `pool` is what the processor computes with; it must outlive the stream.
  virtual Result<std::unique_ptr<Stream>> stream(ThreadPool &pool) = 0;
};

struct DeviceOptions {
  /// "" or cpu[:...] | cuda[:sm_90a] | sim[:sm_90a]. "": the first of cpu, cuda and sim that the
  /// artefact has code for.
  std::string target;
  /// Which GPU, counted from 0 as the driver does.
  int index = 0;
  /// Seconds that the device may take before `synchronise` gives up; 0: no limit.
  double timeout = 0;
  /// cuda: wait after every launch, so that a fault names its kernel even in a recording.
  bool checked = false;
  /// sim: "check=none|fast|full,order=fifo|lifo|random[:SEED],async=late|early|mixed[:SEED]".
  std::string sim;
  /// sim: called with each report as it comes; null: the reports stand in the error.
  std::function<void(const std::string &)> report;
  /// Files to load instead of libcuda.so.1 and of libotodus-sim.so, for tests.
  std::string cudaLibrary, simLibrary;
};

/// The processor this program runs on.
const std::shared_ptr<Device> &cpuDevice();

/// The device that `options.target` names ("" is the processor). Code::Target if there is none:
/// no driver, no GPU, no simulator, an unknown name; Code::Usage for a malformed `sim`.
Result<std::shared_ptr<Device>> openDevice(const DeviceOptions &options);

/// Which code of an artefact is used: artefact.programs[program].code[code].
struct CodeChoice {
  size_t program = 0, code = 0;
};

/// The code for `device` of the highest rank; of equals the first. Code that is for exactly
/// `target` comes before all other. If there is none, Code::Target with one line that says what
/// the artefact has and why it does not run here.
Result<CodeChoice> chooseCode(const formats::Artefact &artefact, const Device &device,
                              const std::string &target = "");

/// The kind of device for an artefact if the user names none: the first of cpu, cuda and sim that
/// it has code for.
std::string defaultTarget(const formats::Artefact &artefact);

/// What a machine has of the devices besides the processor, for `otodus doctor`.
struct GpuInfo {
  std::string name, chip;       ///< "NVIDIA H200", "sm_90"
  int64_t totalBytes = 0, processors = 0;
};
struct CudaInfo {
  int driverVersion = 0;        ///< 12040 is CUDA 12.4
  std::string newestPtx;        ///< "8.4"
  std::vector<GpuInfo> gpus;
};
/// Code::Target with the reason if there is no usable driver.
Result<CudaInfo> cudaInfo(const std::string &library = "");
/// The target for GPU `index`, with all its instructions: "cuda:sm_90a". Errors of cudaInfo, and
/// Code::Target if there is no such GPU.
Result<std::string> nativeCudaTarget(int index, const std::string &library = "");
/// The file the simulator was found in; Code::Target if there is none.
Result<std::string> findSimulator(const std::string &library = "");

//===----------------------------------------------------------------------===//
// Memory
//===----------------------------------------------------------------------===//

/// Owner of what `Device::allocate` or `allocateStaging` gave.
class Memory {
public:
  Memory() = default;
  /// Zero-filled. Code::Device if there is not enough.
  static Result<Memory> allocate(std::shared_ptr<Device> device, size_t bytes);
  /// Of the host, not filled.
  static Result<Memory> staging(std::shared_ptr<Device> device, size_t bytes);
  ~Memory() { reset(); }
  Memory(Memory &&other) noexcept { swap(other); }
  Memory &operator=(Memory &&other) noexcept {
    swap(other);
    return *this;
  }

  /// An address of the device; the host may use it only if Traits::sharesHostMemory.
  std::byte *data() const { return data_; }
  size_t size() const { return size_; }
  void reset();

private:
  static Result<Memory> get(std::shared_ptr<Device> device, size_t bytes, bool staging);
  void swap(Memory &other);
  std::shared_ptr<Device> device_;
  std::byte *data_ = nullptr;
  size_t size_ = 0;
  bool staging_ = false;
};

} // namespace otodus::runtime

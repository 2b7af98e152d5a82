//===- CudaStream.cpp - Launches, copies and graphs on a GPU ---------------===//
//
// Errors of a GPU arrive late and name nobody. So that a fault can name its kernel, the
// stream writes the number of each launch into host memory once the launch is done; the
// first launch without its number is the one that failed. A graph writes no numbers, which
// would cost as much as a small kernel does; there `checked` finds the kernel.
//
//===----------------------------------------------------------------------===//

#include "CudaStream.h"
#include "Runtime/Devices.h"

#include <atomic>
#include <chrono>
#include <climits>
#include <thread>
#include <utility>

namespace otodus::runtime::cuda {

namespace {

class CudaRecording final : public Recording {
public:
  CudaRecording(std::shared_ptr<Gpu> gpu, CUgraphExec graph, std::string what)
      : gpu(std::move(gpu)), graph(graph), what(std::move(what)) {}
  ~CudaRecording() override {
    if (gpu->enter().isOk())
      gpu->api().graphExecDestroy(graph);
  }

  std::shared_ptr<Gpu> gpu;
  CUgraphExec graph;
  std::string what; ///< its launches, for messages
};

CUdeviceptr address(const void *at) { return reinterpret_cast<uintptr_t>(at); }

std::string nameOf(const KernelCall &call) {
  return "kernel '" + call.kernel->name + "' of launch '" + call.name + "'";
}

class CudaStream final : public Stream {
public:
  CudaStream(std::shared_ptr<Gpu> gpu, double timeout, bool checked)
      : gpu_(std::move(gpu)), api_(gpu_->api()), timeout_(timeout), checked_(checked) {}
  ~CudaStream() override;
  Status open();

  Status launch(const KernelCall &call) override;
  Status write(void *device, const void *host, size_t bytes) override {
    return put("copying to the GPU", [&] {
      return api_.memcpyHtoDAsync(address(device), host, bytes, stream_);
    });
  }
  Status read(void *host, const void *device, size_t bytes) override {
    return put("copying from the GPU", [&] {
      return api_.memcpyDtoHAsync(host, address(device), bytes, stream_);
    });
  }
  Status copy(void *to, const void *from, size_t bytes) override {
    return put("copying on the GPU", [&] {
      return api_.memcpyDtoDAsync(address(to), address(from), bytes, stream_);
    });
  }
  Status zero(void *device, size_t bytes) override {
    return put("clearing memory", [&] {
      return api_.memsetD8Async(address(device), 0, bytes, stream_);
    });
  }
  Status synchronise() override;

  Status mark() override;
  Result<std::vector<int64_t>> times() override;

  Status beginRecording() override;
  Result<std::unique_ptr<Recording>> endRecording() override;
  Status play(const Recording &recording) override;

private:
  template <typename Fn> Status put(const char *what, Fn &&fn) {
    OTODUS_RETURN_IF_ERROR(gpu_->enter());
    return fail(fn(), what);
  }
  /// An error that may come from an earlier launch: names it.
  Status fail(CUresult error, const std::string &what);
  /// The launch that did not come to its end, or "" if all did.
  std::string unfinished() const;
  Status note(const KernelCall &call);

  std::shared_ptr<Gpu> gpu_;
  const DriverApi &api_;
  double timeout_;
  bool checked_;
  CUstream stream_ = nullptr;
  bool recording_ = false;
  std::string recorded_, playing_; ///< names of launches
  size_t recordedCount_ = 0;

  // Launches since the last synchronise.
  std::vector<std::string> launched_;
  volatile uint32_t *finished_ = nullptr; ///< how many of them are done; pinned, null: unknown
  CUdeviceptr finishedOnDevice_ = 0;

  std::vector<CUevent> events_;
  size_t marks_ = 0;
  std::vector<void *> params_;
};

Status CudaStream::open() {
  OTODUS_RETURN_IF_ERROR(gpu_->enter());
  OTODUS_RETURN_IF_ERROR(
      gpu_->check(api_.streamCreate(&stream_, CU_STREAM_NON_BLOCKING), "making a stream"));
  void *host = nullptr;
  if (!api_.streamWriteValue32 ||
      api_.memHostAlloc(&host, sizeof(uint32_t),
                        CU_MEMHOSTALLOC_PORTABLE | CU_MEMHOSTALLOC_DEVICEMAP) != CUDA_SUCCESS)
    return Status::ok();
  finished_ = static_cast<volatile uint32_t *>(host);
  *finished_ = 0;
  return gpu_->check(api_.memHostGetDevicePointer(&finishedOnDevice_, host, 0),
                     "mapping host memory");
}

CudaStream::~CudaStream() {
  // A lost GPU would make these wait or fail; the memory goes with the process.
  if (!gpu_->enter().isOk())
    return;
  for (CUevent event : events_)
    api_.eventDestroy(event);
  if (stream_)
    api_.streamDestroy(stream_);
  if (finished_)
    api_.memFreeHost(const_cast<uint32_t *>(finished_));
}

std::string CudaStream::unfinished() const {
  if (!playing_.empty())
    return playing_;
  if (launched_.empty())
    return "";
  if (!finished_)
    return launched_.size() == 1 ? launched_.front()
                                 : launched_.front() + " or one of the " +
                                       std::to_string(launched_.size() - 1) + " after it";
  size_t done = *finished_;
  return done < launched_.size() ? launched_[done] : "";
}

Status CudaStream::fail(CUresult error, const std::string &what) {
  if (error == CUDA_SUCCESS)
    return Status::ok();
  std::string culprit = unfinished();
  return gpu_->check(error, culprit.empty() ? what : culprit + " failed");
}

Status CudaStream::note(const KernelCall &call) {
  if (recording_) {
    if (recordedCount_++ == 0)
      recorded_ = nameOf(call);
    return Status::ok();
  }
  launched_.push_back(nameOf(call));
  if (!finished_)
    return Status::ok();
  CUresult error = api_.streamWriteValue32(stream_, finishedOnDevice_,
                                           static_cast<uint32_t>(launched_.size()),
                                           CU_STREAM_WRITE_VALUE_DEFAULT);
  if (error == CUDA_ERROR_NOT_SUPPORTED) {
    finished_ = nullptr; // the few bytes stay with the context
    return Status::ok();
  }
  return fail(error, "noting a launch");
}

Status CudaStream::launch(const KernelCall &call) {
  const Kernel &kernel = *call.kernel;
  if (call.items == 0)
    return Status::ok();
  if (call.items > INT_MAX || call.items % kernel.cluster != 0)
    return Status(Code::Internal, nameOf(call) + " has a grid of " + std::to_string(call.items) +
                                      " blocks in clusters of " + std::to_string(kernel.cluster));
  OTODUS_RETURN_IF_ERROR(gpu_->enter());
  params_.clear();
  for (size_t i = 0; i < call.bufferCount; ++i)
    params_.push_back(const_cast<void **>(call.buffers + i));
  for (const int64_t *size : {&call.batch, &call.length, &call.rows})
    params_.push_back(const_cast<int64_t *>(size));
  for (size_t i = 0; i < kernel.tensorMaps.size(); ++i)
    params_.push_back(const_cast<std::byte *>(call.tensorMaps + 128 * i));

  CUlaunchAttribute cluster = {};
  cluster.id = CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION;
  cluster.value.clusterDim = {static_cast<unsigned>(kernel.cluster), 1, 1};
  CUlaunchConfig config = {};
  config.gridDimX = static_cast<unsigned>(call.items);
  config.blockDimX = static_cast<unsigned>(kernel.threads);
  config.gridDimY = config.gridDimZ = config.blockDimY = config.blockDimZ = 1;
  config.sharedMemBytes = static_cast<unsigned>(kernel.sharedBytes);
  config.hStream = stream_;
  config.attrs = kernel.cluster > 1 ? &cluster : nullptr;
  config.numAttrs = kernel.cluster > 1;
  auto function = static_cast<CUfunction>(kernel.handle);
  CUresult error = api_.launchKernelEx(&config, function, params_.data(), nullptr);
  // An error here may be that of an earlier launch, which the driver only now knows of.
  if (error != CUDA_SUCCESS) {
    std::string earlier = unfinished();
    return gpu_->check(error, earlier.empty() ? nameOf(call) + " cannot start"
                                              : earlier + " failed");
  }
  OTODUS_RETURN_IF_ERROR(note(call));
  return checked_ && !recording_ ? synchronise() : Status::ok();
}

Status CudaStream::synchronise() {
  OTODUS_RETURN_IF_ERROR(gpu_->enter());
  CUresult error = CUDA_SUCCESS;
  if (timeout_ <= 0) {
    error = api_.streamSynchronize(stream_);
  } else {
    using Clock = std::chrono::steady_clock;
    auto deadline = Clock::now() + std::chrono::duration_cast<Clock::duration>(
                                       std::chrono::duration<double>(timeout_));
    for (int64_t spins = 0; (error = api_.streamQuery(stream_)) == CUDA_ERROR_NOT_READY; ++spins) {
      if (Clock::now() > deadline) {
        std::string culprit = unfinished();
        return gpu_->lose((culprit.empty() ? "the GPU" : culprit) + " did not end within " +
                          secondsText(timeout_) + " (--device-timeout)");
      }
      // Short pieces end while we look; who waits long may as well sleep.
      if (spins > 20000)
        std::this_thread::sleep_for(std::chrono::microseconds(50));
    }
  }
  OTODUS_RETURN_IF_ERROR(fail(error, "waiting for the GPU"));
  launched_.clear();
  playing_.clear();
  if (finished_)
    *finished_ = 0;
  return Status::ok();
}

Status CudaStream::mark() {
  OTODUS_RETURN_IF_ERROR(gpu_->enter());
  if (marks_ == events_.size()) {
    CUevent event = nullptr;
    OTODUS_RETURN_IF_ERROR(fail(api_.eventCreate(&event, CU_EVENT_DEFAULT), "making an event"));
    events_.push_back(event);
  }
  return fail(api_.eventRecord(events_[marks_++], stream_), "recording an event");
}

Result<std::vector<int64_t>> CudaStream::times() {
  OTODUS_RETURN_IF_ERROR(synchronise());
  std::vector<int64_t> result;
  for (size_t i = 1; i < marks_; ++i) {
    float milliseconds = 0;
    OTODUS_RETURN_IF_ERROR(fail(api_.eventElapsedTime(&milliseconds, events_[i - 1], events_[i]),
                                "reading an event"));
    result.push_back(static_cast<int64_t>(static_cast<double>(milliseconds) * 1e6));
  }
  marks_ = 0;
  return result;
}

Status CudaStream::beginRecording() {
  OTODUS_RETURN_IF_ERROR(put("starting a graph", [&] {
    return api_.streamBeginCapture(stream_, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL);
  }));
  recording_ = true;
  recorded_.clear();
  recordedCount_ = 0;
  return Status::ok();
}

Result<std::unique_ptr<Recording>> CudaStream::endRecording() {
  recording_ = false;
  OTODUS_RETURN_IF_ERROR(gpu_->enter());
  CUgraph graph = nullptr;
  OTODUS_RETURN_IF_ERROR(fail(api_.streamEndCapture(stream_, &graph), "ending a graph"));
  CUgraphExec executable = nullptr;
  CUresult error = api_.graphInstantiate(&executable, graph, 0);
  api_.graphDestroy(graph);
  OTODUS_RETURN_IF_ERROR(fail(error, "making a graph"));
  std::string what = recorded_;
  if (recordedCount_ > 1)
    what += " or one of the " + std::to_string(recordedCount_ - 1) +
            " launches after it (--device-check finds which)";
  return std::unique_ptr<Recording>(std::make_unique<CudaRecording>(gpu_, executable, what));
}

Status CudaStream::play(const Recording &recording) {
  const auto &own = static_cast<const CudaRecording &>(recording);
  OTODUS_RETURN_IF_ERROR(put("starting a graph", [&] {
    return api_.graphLaunch(own.graph, stream_);
  }));
  playing_ = own.what;
  return Status::ok();
}

} // namespace

Result<std::unique_ptr<Stream>> makeStream(std::shared_ptr<Gpu> gpu, double timeout,
                                           bool checked) {
  auto stream = std::make_unique<CudaStream>(std::move(gpu), timeout, checked);
  OTODUS_RETURN_IF_ERROR(stream->open());
  return std::unique_ptr<Stream>(std::move(stream));
}

} // namespace otodus::runtime::cuda

//===- CudaDevice.cpp - NVIDIA GPUs as devices -----------------------------===//

#include "Runtime/Devices.h"
#include "Runtime/GpuTargets.h"
#include "CudaStream.h"
#include "Gpu.h"

#include <cstring>
#include <map>

namespace otodus::runtime {

using namespace cuda;

namespace {

class CudaImage final : public Image {
public:
  CudaImage(std::shared_ptr<Gpu> gpu, CUmodule module, int64_t bytes)
      : gpu_(std::move(gpu)), module_(module), bytes_(bytes) {}
  ~CudaImage() override {
    if (gpu_->enter().isOk())
      gpu_->api().moduleUnload(module_);
  }
  const Kernel *find(const std::string &entry) const override {
    auto found = kernels.find(entry);
    return found == kernels.end() ? nullptr : &found->second;
  }
  int64_t bytes() const override { return bytes_; }

  std::map<std::string, Kernel> kernels;

private:
  std::shared_ptr<Gpu> gpu_;
  CUmodule module_;
  int64_t bytes_;
};

/// The first line of the translator's log, "" if there is none.
std::string firstLine(const char *log) {
  std::string text = log;
  return text.substr(0, text.find('\n'));
}

class CudaDevice final : public Device {
public:
  CudaDevice(std::shared_ptr<Gpu> gpu, const DeviceOptions &options)
      : gpu_(std::move(gpu)), timeout_(options.timeout), checked_(options.checked) {
    traits_.alignment = 256;
    traits_.records = !checked_;
    traits_.maxPiece = 4096;
  }

  const char *kind() const override { return "cuda"; }
  std::string name() const override { return gpu_->name(); }
  const Traits &traits() const override { return traits_; }

  Result<int64_t> rank(const formats::Code &code) const override {
    return rankGpuCode(code, gpu_->major(), gpu_->minor(), gpu_->api().version);
  }

  Result<std::shared_ptr<const Image>> load(const formats::Code &code) override;

  void *allocate(size_t bytes) override {
    CUdeviceptr at = 0;
    if (bytes == 0 || !gpu_->enter().isOk() || gpu_->api().memAlloc(&at, bytes) != CUDA_SUCCESS)
      return nullptr;
    // Streams of ours do not wait for the default one, so this does.
    if (gpu_->api().memsetD8Async(at, 0, bytes, nullptr) != CUDA_SUCCESS ||
        gpu_->api().streamSynchronize(nullptr) != CUDA_SUCCESS) {
      gpu_->api().memFree(at);
      return nullptr;
    }
    return reinterpret_cast<void *>(at);
  }
  void release(void *memory, size_t) override {
    if (memory && gpu_->enter().isOk())
      gpu_->api().memFree(reinterpret_cast<uintptr_t>(memory));
  }
  void *allocateStaging(size_t bytes) override {
    void *at = nullptr;
    if (!gpu_->enter().isOk() ||
        gpu_->api().memHostAlloc(&at, bytes, CU_MEMHOSTALLOC_PORTABLE) != CUDA_SUCCESS)
      return nullptr;
    return at;
  }
  void releaseStaging(void *memory, size_t) override {
    if (memory && gpu_->enter().isOk())
      gpu_->api().memFreeHost(memory);
  }
  Result<int64_t> freeBytes() override {
    OTODUS_RETURN_IF_ERROR(gpu_->enter());
    size_t free = 0, total = 0;
    OTODUS_RETURN_IF_ERROR(
        gpu_->check(gpu_->api().memGetInfo(&free, &total), "asking for free memory"));
    return static_cast<int64_t>(free);
  }

  Status encode(const TensorMapShape &shape, std::byte *out) override;

  Result<std::unique_ptr<Stream>> stream(ThreadPool &) override {
    return makeStream(gpu_, timeout_, checked_);
  }

private:
  Status loadKernel(const formats::Code::Entry &entry, CUmodule module, CudaImage &image);

  std::shared_ptr<Gpu> gpu_;
  double timeout_;
  bool checked_;
  Traits traits_;
};

Result<std::shared_ptr<const Image>> CudaDevice::load(const formats::Code &code) {
  Result<int64_t> suits = rank(code);
  if (!suits.isOk())
    return Status(Code::Target, code.target + " " + suits.status().message());
  OTODUS_RETURN_IF_ERROR(gpu_->enter());
  // The driver wants a zero at the end of PTX.
  std::vector<uint8_t> image = code.blob;
  image.push_back(0);
  char errors[4096] = "", infos[4096] = "";
  int options[] = {CU_JIT_ERROR_LOG_BUFFER, CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES,
                   CU_JIT_INFO_LOG_BUFFER, CU_JIT_INFO_LOG_BUFFER_SIZE_BYTES};
  void *values[] = {errors, reinterpret_cast<void *>(sizeof(errors)), infos,
                    reinterpret_cast<void *>(sizeof(infos))};
  CUmodule module = nullptr;
  const DriverApi &api = gpu_->api();
  CUresult error = api.moduleLoadDataEx(&module, image.data(), 4, options, values);
  std::string what = "the code for " + code.target + " on " + gpu_->name();
  std::string log = firstLine(errors);
  switch (error) {
  case CUDA_SUCCESS:
    break;
  case CUDA_ERROR_UNSUPPORTED_PTX_VERSION:
    return Status(Code::Target, what + ": is PTX " + ptxVersionText(code.ptxVersion) +
                                    ", which the driver (CUDA " + cudaVersionText(api.version) +
                                    ") does not take; update the driver, or compile where ptxas "
                                    "is");
  case CUDA_ERROR_NO_BINARY_FOR_GPU:
  case CUDA_ERROR_INVALID_IMAGE:
    return Status(Code::Target, what + ": the driver (CUDA " + cudaVersionText(api.version) +
                                    ") refuses it: " + api.describe(error) +
                                    (log.empty() ? "" : ": " + log));
  case CUDA_ERROR_OUT_OF_MEMORY:
    return Status(Code::Device, what + ": not enough memory for " +
                                    std::to_string(code.blob.size()) + " bytes of code");
  default:
    return gpu_->check(error, what + ": cannot be loaded" + (log.empty() ? "" : ": " + log));
  }
  auto loaded =
      std::make_shared<CudaImage>(gpu_, module, static_cast<int64_t>(code.blob.size()));
  for (const formats::Code::Entry &entry : code.entries)
    OTODUS_RETURN_IF_ERROR(loadKernel(entry, module, *loaded).in(what));
  return std::shared_ptr<const Image>(std::move(loaded));
}

Status CudaDevice::loadKernel(const formats::Code::Entry &entry, CUmodule module,
                              CudaImage &image) {
  const DriverApi &api = gpu_->api();
  std::string what = "kernel '" + entry.name + "'";
  CUfunction function = nullptr;
  CUresult error = api.moduleGetFunction(&function, module, entry.name.c_str());
  if (error == CUDA_ERROR_NOT_FOUND)
    return Status(Code::File, what + " is not in the code; compile again");
  OTODUS_RETURN_IF_ERROR(gpu_->check(error, what));
  if (entry.sharedBytes > gpu_->sharedBytes())
    return Status(Code::Target, what + " needs " + std::to_string(entry.sharedBytes) +
                                    " bytes of shared memory, but a block has " +
                                    std::to_string(gpu_->sharedBytes()) +
                                    " at most; compile for this GPU");
  // More than 48 KiB must be asked for; so must clusters of more than 8.
  if (entry.sharedBytes > 48 * 1024)
    OTODUS_RETURN_IF_ERROR(gpu_->check(
        api.funcSetAttribute(function, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES,
                             static_cast<int>(entry.sharedBytes)),
        what + " with " + std::to_string(entry.sharedBytes) + " bytes of shared memory"));
  if (entry.cluster > 8)
    OTODUS_RETURN_IF_ERROR(gpu_->check(
        api.funcSetAttribute(function, CU_FUNC_ATTRIBUTE_NON_PORTABLE_CLUSTER_SIZE_ALLOWED, 1),
        what + " with clusters of " + std::to_string(entry.cluster)));
  image.kernels[entry.name] = {entry.name,        nullptr,       function, entry.threads,
                               entry.sharedBytes, entry.cluster, entry.tensorMaps};
  return Status::ok();
}

Status CudaDevice::encode(const TensorMapShape &shape, std::byte *out) {
  int type = shape.dtype == formats::DType::BF16  ? CU_TENSOR_MAP_DATA_TYPE_BFLOAT16
             : shape.dtype == formats::DType::F32 ? CU_TENSOR_MAP_DATA_TYPE_FLOAT32
                                                  : CU_TENSOR_MAP_DATA_TYPE_INT32;
  int swizzle = shape.swizzle == 128  ? CU_TENSOR_MAP_SWIZZLE_128B
                : shape.swizzle == 64 ? CU_TENSOR_MAP_SWIZZLE_64B
                : shape.swizzle == 32 ? CU_TENSOR_MAP_SWIZZLE_32B
                                      : CU_TENSOR_MAP_SWIZZLE_NONE;
  uint32_t steps[5] = {1, 1, 1, 1, 1};
  CUtensorMap map = {};
  CUresult error = gpu_->api().tensorMapEncodeTiled(
      &map, type, shape.rank, shape.base, shape.size, shape.stride, shape.box, steps,
      CU_TENSOR_MAP_INTERLEAVE_NONE, swizzle, CU_TENSOR_MAP_L2_PROMOTION_L2_128B,
      CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  if (error != CUDA_SUCCESS)
    return Status(Code::Internal, "the driver refuses it: " + gpu_->api().describe(error));
  std::memcpy(out, &map, sizeof(map));
  return Status::ok();
}

} // namespace

Result<std::shared_ptr<Device>> openCudaDevice(const DeviceOptions &options) {
  Result<std::shared_ptr<Gpu>> gpu = Gpu::open(options.cudaLibrary, options.index);
  if (!gpu.isOk())
    return gpu.status();
  OTODUS_RETURN_IF_ERROR((*gpu)->enter());
  return std::shared_ptr<Device>(std::make_shared<CudaDevice>(*gpu, options));
}

Result<std::string> nativeCudaTarget(int index, const std::string &library) {
  Result<std::shared_ptr<Gpu>> gpu = Gpu::open(library, index);
  if (!gpu.isOk())
    return gpu.status();
  // From 9.0 on chips have instructions that later ones need not have.
  return "cuda:" + chipText((*gpu)->major(), (*gpu)->minor()) + ((*gpu)->major() >= 9 ? "a" : "");
}

Result<CudaInfo> cudaInfo(const std::string &library) {
  Result<std::shared_ptr<const DriverApi>> api = loadDriver(library);
  if (!api.isOk())
    return api.status();
  CudaInfo info;
  info.driverVersion = (*api)->version;
  info.newestPtx = ptxVersionText(newestPtx((*api)->version));
  for (int i = 0; i < (*api)->gpus; ++i) {
    CUdevice device = 0;
    char name[256] = "";
    int major = 0, minor = 0, processors = 0;
    size_t bytes = 0;
    if ((*api)->deviceGet(&device, i) != CUDA_SUCCESS)
      continue;
    (*api)->deviceGetName(name, sizeof(name), device);
    (*api)->deviceGetAttribute(&major, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, device);
    (*api)->deviceGetAttribute(&minor, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR, device);
    (*api)->deviceGetAttribute(&processors, CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT, device);
    (*api)->deviceTotalMem(&bytes, device);
    info.gpus.push_back({name, chipText(major, minor), static_cast<int64_t>(bytes), processors});
  }
  return info;
}

} // namespace otodus::runtime

//===- Gpu.cpp - One GPU and whether it still works ------------------------===//

#include "Gpu.h"

#include <map>
#include <vector>

namespace otodus::runtime::cuda {

Result<std::shared_ptr<Gpu>> Gpu::open(const std::string &library, int index) {
  Result<std::shared_ptr<const DriverApi>> api = loadDriver(library);
  if (!api.isOk())
    return api.status();
  if (index < 0 || index >= (*api)->gpus)
    return Status(Code::Target, "no GPU " + std::to_string(index) + "; the NVIDIA driver finds " +
                                    std::to_string((*api)->gpus) + ", counted from 0");
  static std::mutex mutex;
  static std::map<std::pair<const DriverApi *, int>, std::weak_ptr<Gpu>> open;
  std::lock_guard<std::mutex> lock(mutex);
  std::weak_ptr<Gpu> &known = open[{api->get(), index}];
  if (std::shared_ptr<Gpu> gpu = known.lock())
    return gpu;

  std::shared_ptr<Gpu> gpu(new Gpu());
  gpu->api_ = *api;
  gpu->index_ = index;
  const DriverApi &driver = **api;
  char name[256] = "";
  int shared = 0;
  auto attribute = [&](int which, int &value) {
    return driver.deviceGetAttribute(&value, which, gpu->device_);
  };
  CUresult error = driver.deviceGet(&gpu->device_, index);
  if (error == CUDA_SUCCESS)
    error = driver.deviceGetName(name, sizeof(name), gpu->device_);
  if (error == CUDA_SUCCESS)
    error = attribute(CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, gpu->major_);
  if (error == CUDA_SUCCESS)
    error = attribute(CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR, gpu->minor_);
  if (error == CUDA_SUCCESS)
    error = attribute(CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN, shared);
  gpu->model_ = name;
  gpu->shared_ = shared;
  if (error == CUDA_SUCCESS)
    error = driver.primaryCtxRetain(&gpu->context_, gpu->device_);
  if (error != CUDA_SUCCESS)
    return Status(Code::Device, gpu->name() + " cannot be used: " + driver.describe(error));
  known = gpu;
  return gpu;
}

Gpu::~Gpu() {
  if (context_ && lost_.isOk())
    api_->primaryCtxRelease(device_);
}

std::string Gpu::name() const {
  return "cuda:" + std::to_string(index_) + (model_.empty() ? "" : " (" + model_ + ")");
}

Status Gpu::enter() {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    OTODUS_RETURN_IF_ERROR(lost_);
  }
  return check(api_->ctxSetCurrent(context_), "using the GPU");
}

Status Gpu::check(CUresult error, const std::string &what) {
  if (error == CUDA_SUCCESS)
    return Status::ok();
  std::string text = what + ": " + api_->describe(error);
  // The 700s are errors of kernels, after which the context only repeats them; all but those of
  // a launch that never started.
  bool spoilt = (error >= CUDA_ERROR_ILLEGAL_ADDRESS && error < 800 &&
                 error != CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES) ||
                error == 214 /* ECC */ || error == 999 /* unknown */;
  return spoilt ? lose(text) : Status(Code::Device, name() + ": " + text);
}

Status Gpu::lose(const std::string &why) {
  std::lock_guard<std::mutex> lock(mutex_);
  // It stays known, so that whoever opens it again is told.
  static std::mutex keeping;
  static std::vector<std::shared_ptr<Gpu>> kept;
  if (lost_.isOk()) {
    std::lock_guard<std::mutex> keep(keeping);
    kept.push_back(shared_from_this());
    lost_ = Status(Code::Device, name() + " is lost: " + why +
                                     "; start the program again to use it");
  }
  return lost_;
}

bool Gpu::isLost() {
  std::lock_guard<std::mutex> lock(mutex_);
  return !lost_.isOk();
}

} // namespace otodus::runtime::cuda

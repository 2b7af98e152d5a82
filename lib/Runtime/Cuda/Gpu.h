//===- Gpu.h - One GPU and whether it still works --------------------------===//

#pragma once

#include "DriverApi.h"

#include <cstdint>
#include <memory>
#include <mutex>
#include <string>

namespace otodus::runtime::cuda {

/// A GPU's primary context. One per GPU for the whole program: a kernel that faults spoils the
/// context, so the GPU is then lost for all who use it; other GPUs are not touched.
class Gpu : public std::enable_shared_from_this<Gpu> {
public:
  /// Code::Target if there is no GPU of that number.
  static Result<std::shared_ptr<Gpu>> open(const std::string &library, int index);
  ~Gpu();

  const DriverApi &api() const { return *api_; }
  std::string name() const; ///< "cuda:0 (NVIDIA H200)"
  int major() const { return major_; }
  int minor() const { return minor_; }
  int64_t sharedBytes() const { return shared_; } ///< the most a block may have

  /// Makes the context current in this thread, or says why the GPU is lost.
  Status enter();
  /// What a driver's error means: `what` was being done. Errors that spoil the context mark the
  /// GPU lost.
  Status check(CUresult error, const std::string &what);
  /// From now on `enter` gives this error. The context is left alone: destroying it would wait.
  Status lose(const std::string &why);
  bool isLost();

private:
  Gpu() = default;
  std::shared_ptr<const DriverApi> api_;
  int index_ = 0, major_ = 0, minor_ = 0;
  int64_t shared_ = 0;
  std::string model_;
  CUdevice device_ = 0;
  CUcontext context_ = nullptr;
  std::mutex mutex_;
  Status lost_;
};

} // namespace otodus::runtime::cuda

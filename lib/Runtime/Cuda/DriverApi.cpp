//===- DriverApi.cpp - Finding NVIDIA's driver -----------------------------===//

#include "DriverApi.h"
#include "Runtime/GpuTargets.h"
#include "Runtime/SharedLibrary.h"

#include <map>
#include <mutex>

namespace otodus::runtime::cuda {

std::string DriverApi::describe(CUresult error) const {
  const char *name = nullptr, *text = nullptr;
  if (getErrorName)
    getErrorName(error, &name);
  if (getErrorString)
    getErrorString(error, &text);
  std::string number = "CUDA error " + std::to_string(error);
  return text ? std::string(text) + " (" + (name ? name : number) + ")" : number;
}

namespace {

Result<std::shared_ptr<const DriverApi>> load(const std::string &file) {
  Result<SharedLibrary> library = SharedLibrary::open({file});
  if (!library.isOk())
    return Status(Code::Target, "no NVIDIA driver: " + file + " cannot be loaded (" +
                                    library.status().message() +
                                    "); install the driver, or use --target=cpu");
  auto api = std::make_shared<DriverApi>();
  std::string missing;
  if (!library->find("cuDriverGetVersion", api->driverGetVersion) ||
      api->driverGetVersion(&api->version) != CUDA_SUCCESS)
    return Status(Code::Target, file + " is no NVIDIA driver; install the driver, or use "
                                       "--target=cpu");
#define OTODUS_FIELD(MEMBER, SYMBOL, PARAMETERS)                                                   \
  if (!library->find(#SYMBOL, api->MEMBER) && missing.empty())                                     \
    missing = #SYMBOL;
  OTODUS_CUDA_FUNCTIONS(OTODUS_FIELD)
#undef OTODUS_FIELD
  (void)library->find("cuStreamWriteValue32_v2", api->streamWriteValue32);
  if (api->version < kOldestDriver || !missing.empty())
    return Status(Code::Target, "the NVIDIA driver is for CUDA " + cudaVersionText(api->version) +
                                    (missing.empty() ? "" : " and lacks " + missing) +
                                    "; expected CUDA " + cudaVersionText(kOldestDriver) +
                                    " or later; update the driver, or use --target=cpu");
  CUresult error = api->init(0);
  if (error == CUDA_SUCCESS)
    error = api->deviceGetCount(&api->gpus);
  if (error == CUDA_ERROR_NO_DEVICE || (error == CUDA_SUCCESS && api->gpus == 0))
    return Status(Code::Target, "the NVIDIA driver (CUDA " + cudaVersionText(api->version) +
                                    ") finds no GPU; use --target=cpu");
  if (error != CUDA_SUCCESS)
    return Status(Code::Target, "the NVIDIA driver (CUDA " + cudaVersionText(api->version) +
                                    ") does not start: " + api->describe(error));
  return std::shared_ptr<const DriverApi>(std::move(api));
}

} // namespace

Result<std::shared_ptr<const DriverApi>> loadDriver(const std::string &library) {
  static std::mutex mutex;
  static std::map<std::string, std::shared_ptr<const DriverApi>> loaded;
  std::string file = library.empty() ? "libcuda.so.1" : library;
  std::lock_guard<std::mutex> lock(mutex);
  std::shared_ptr<const DriverApi> &known = loaded[file];
  if (known)
    return known;
  Result<std::shared_ptr<const DriverApi>> driver = load(file);
  if (driver.isOk())
    known = *driver;
  return driver;
}

} // namespace otodus::runtime::cuda

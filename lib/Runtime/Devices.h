//===- Devices.h - The devices besides the processor -----------------------===//

#pragma once

#include "otodus/Runtime/Device.h"

namespace otodus::runtime {

/// GPU `options.index` by the NVIDIA driver. The same device for all callers, so that a fault marks
/// it for all. Code::Target if there is no driver, or no such GPU.
Result<std::shared_ptr<Device>> openCudaDevice(const DeviceOptions &options);

/// A simulated GPU of its own. Code::Target if the simulator's library is missing or of another
/// version, Code::Usage for a malformed `options.sim`.
Result<std::shared_ptr<Device>> openSimDevice(const DeviceOptions &options);

/// "1.5 s"
std::string secondsText(double seconds);

} // namespace otodus::runtime

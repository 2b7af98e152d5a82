//===- LaunchMaps.h - The tensor maps of a launch --------------------------===//
//
// Private to lib/Runtime. Shared by sessions and the trainer.
//
//===----------------------------------------------------------------------===//

#pragma once

#include "otodus/Formats/Status.h"
#include "otodus/Runtime/Device.h"

#include <string>
#include <vector>

namespace otodus::runtime {

/// The bytes of one tensor map, as TMA wants them to lie.
struct alignas(64) MapBytes {
  std::byte bytes[128];
};

/// Makes the tensor maps of `kernel` for calls of `batch` sequences of `length` steps. A map ends where the rows of the
/// call do: TMA reads zeros behind them. `pointers`: of the launch's buffers, on the device; `launch` is
/// named in errors, which are those of Device::encode.
Status encodeMaps(Device &device, const Kernel &kernel, const std::string &launch,
                  void *const *pointers, int64_t batch, int64_t length,
                  std::vector<MapBytes> &maps);

} // namespace otodus::runtime

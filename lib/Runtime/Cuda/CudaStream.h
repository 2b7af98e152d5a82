//===- CudaStream.h - Launches, copies and graphs on a GPU -----------------===//

#pragma once

#include "Gpu.h"
#include "otodus/Runtime/Device.h"

#include <memory>
#include <string>
#include <vector>

namespace otodus::runtime::cuda {

/// A stream of its own on `gpu`. `timeout` in seconds, 0 for none; with `checked` every launch is
/// waited for.
Result<std::unique_ptr<Stream>> makeStream(std::shared_ptr<Gpu> gpu, double timeout, bool checked);

} // namespace otodus::runtime::cuda

//===- CheckedMemory.h - What a device that checks memory is told ----------===//
//
// Device::Traits::checksMemory: buffers are announced by name, and what a piece has not written yet
// is forgotten, so that reads of it are reported. Shared by sessions and the trainer.
//
//===----------------------------------------------------------------------===//

#pragma once

#include "otodus/Formats/Artefact.h"
#include "otodus/Formats/Status.h"
#include "otodus/Runtime/Device.h"

#include <vector>

namespace otodus::runtime {

/// Where a function's buffers lie on the device.
struct FunctionBuffers {
  const formats::Function &function;
  const std::vector<std::byte *> &inputs, &outputs; ///< one per argument
  const std::vector<void *> &buffers; ///< one per Function::buffers; only scratch counts
};

/// Announces inputs, outputs and scratch memory for calls of up to `length` steps. Errors of
/// Device::announce. Nothing on a device that does not check.
Status announceBuffers(Device &device, const FunctionBuffers &where, int64_t batch, int64_t length);

/// Before a call of `length` steps: outputs and scratch memory mean nothing any more; rows behind
/// them that only fill up a tile may be anything, here 0.
Status forgetBuffers(Stream &stream, const FunctionBuffers &where, int64_t batch, int64_t length);

} // namespace otodus::runtime

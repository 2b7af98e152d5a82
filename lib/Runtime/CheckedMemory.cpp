//===- CheckedMemory.cpp - What a device that checks memory is told --------===//

#include "CheckedMemory.h"

#include "MemoryPlan.h"

namespace otodus::runtime {

using formats::Buffer;
using formats::BufferKind;
using formats::Function;

Status announceBuffers(Device &device, const FunctionBuffers &where, int64_t batch,
                       int64_t length) {
  if (!device.traits().checksMemory)
    return Status::ok();
  const Function &function = where.function;
  auto announce = [&](void *begin, int64_t bytes, const std::string &name) {
    return device.announce(begin, static_cast<size_t>(bytes), name + " of " + function.name);
  };
  auto bytesOf = [&](const formats::Argument &argument) {
    return rowBytes(argument) * paddedRows(rowsOf(argument, batch, length));
  };
  for (size_t i = 0; i < function.inputs.size(); ++i)
    OTODUS_RETURN_IF_ERROR(announce(where.inputs[i], bytesOf(function.inputs[i]),
                                    "input " + function.inputs[i].name));
  for (size_t i = 0; i < function.outputs.size(); ++i)
    OTODUS_RETURN_IF_ERROR(announce(where.outputs[i], bytesOf(function.outputs[i]),
                                    "output " + function.outputs[i].name));
  for (size_t i = 0; i < function.buffers.size(); ++i) {
    const Buffer &buffer = function.buffers[i];
    if (buffer.kind == BufferKind::Scratch)
      OTODUS_RETURN_IF_ERROR(announce(
          where.buffers[i], buffer.bytesPerRow * scratchRows(function, i, batch, length),
          "scratch " + std::to_string(i)));
  }
  return Status::ok();
}

Status forgetBuffers(Stream &stream, const FunctionBuffers &where, int64_t batch, int64_t length) {
  const Function &function = where.function;
  auto forget = [&](void *begin, int64_t bytesPerRow, int64_t rows, int64_t room) {
    int64_t used = bytesPerRow * rows;
    if (room > rows)
      OTODUS_RETURN_IF_ERROR(stream.zero(static_cast<std::byte *>(begin) + used,
                                         static_cast<size_t>(bytesPerRow * room - used)));
    stream.forget(begin, static_cast<size_t>(used));
    return Status::ok();
  };
  for (size_t i = 0; i < function.outputs.size(); ++i) {
    int64_t rows = rowsOf(function.outputs[i], batch, length);
    OTODUS_RETURN_IF_ERROR(
        forget(where.outputs[i], rowBytes(function.outputs[i]), rows, paddedRows(rows)));
  }
  for (size_t i = 0; i < function.buffers.size(); ++i) {
    const Buffer &buffer = function.buffers[i];
    if (buffer.kind == BufferKind::Scratch)
      OTODUS_RETURN_IF_ERROR(
          forget(where.buffers[i], buffer.bytesPerRow, valueOf(buffer.symbol, batch, length),
                 scratchRows(function, i, batch, length)));
  }
  return Status::ok();
}

} // namespace otodus::runtime

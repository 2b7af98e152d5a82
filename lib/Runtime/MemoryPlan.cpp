//===- MemoryPlan.cpp - Where everything lies, before anything is allocated ===//

#include "MemoryPlan.h"

#include <algorithm>
#include <map>

namespace otodus::runtime {

using formats::Argument;
using formats::ArgumentKind;
using formats::Buffer;
using formats::BufferKind;
using formats::Function;
using formats::kRowSlack;
using formats::Symbol;

int64_t paddedRows(int64_t rows) { return roundUp(rows, kRowSlack) + kRowSlack; }

int64_t scratchRows(const Function &function, size_t index, int64_t batch, int64_t length) {
  int64_t rows = valueOf(function.buffers[index].symbol, batch, length);
  bool tiled = function.buffers[index].symbol != Symbol::Batch;
  for (const formats::Launch &launch : function.launches) {
    if (tiled)
      break;
    for (int64_t buffer : launch.buffers)
      if (static_cast<size_t>(buffer) == index)
        for (const formats::Variant &variant : launch.variants)
          tiled |= variant.rowTile > 0;
  }
  return tiled ? paddedRows(rows) : rows;
}

int64_t rowsOf(const Argument &argument, int64_t batch, int64_t length) {
  return argument.kind == ArgumentKind::LastRows ? batch : batch * length;
}

int64_t rowBytes(const Argument &argument) {
  return formats::sizeOf(argument.dtype) *
         (argument.kind == ArgumentKind::Steps ? 1 : argument.rowStride);
}

namespace {
/// Hands out places one after the other.
class Placer {
public:
  explicit Placer(const Device::Traits &traits) : traits_(traits) {}

  /// The place of `count` times `bytes` bytes.
  int64_t place(int64_t bytes, int64_t count) {
    int64_t at = total_, size = 0;
    overflow_ |= __builtin_mul_overflow(bytes, count, &size) || size > kMost;
    if (!overflow_)
      overflow_ |= __builtin_add_overflow(
          total_, roundUp(size + traits_.guard, traits_.alignment), &total_);
    return overflow_ ? 0 : at;
  }
  int64_t total() const { return total_; }
  bool overflow() const { return overflow_; }

private:
  static constexpr int64_t kMost = int64_t(1) << 60;
  const Device::Traits &traits_;
  int64_t total_ = 0;
  bool overflow_ = false;
};
} // namespace

Result<FunctionMemory> planFunction(const Function &function, int64_t batch, int64_t length,
                                    const Device::Traits &traits) {
  FunctionMemory memory;
  Placer placer(traits);
  for (const Argument &input : function.inputs)
    memory.inputs.push_back(
        placer.place(rowBytes(input), paddedRows(rowsOf(input, batch, length))));
  for (const Argument &output : function.outputs)
    memory.outputs.push_back(
        placer.place(rowBytes(output), paddedRows(rowsOf(output, batch, length))));
  memory.argumentBytes = placer.total();

  // A slot is as large as its largest buffer. A device that checks memory could not tell what one
  // buffer of a slot left behind from what the next was given, so there each has a slot.
  auto slotOf = [&](size_t i) {
    return traits.checksMemory ? static_cast<int64_t>(i) : function.buffers[i].index;
  };
  std::map<int64_t, int64_t> slotBytes, slots;
  bool overflow = false;
  for (size_t i = 0; i < function.buffers.size(); ++i) {
    const Buffer &buffer = function.buffers[i];
    if (buffer.kind != BufferKind::Scratch)
      continue;
    int64_t bytes = 0;
    overflow |= __builtin_mul_overflow(
        buffer.bytesPerRow, scratchRows(function, i, batch, length), &bytes);
    int64_t &size = slotBytes[slotOf(i)];
    size = std::max(size, bytes);
  }
  for (auto [slot, bytes] : slotBytes)
    slots[slot] = placer.place(bytes, 1);
  if (overflow || placer.overflow())
    return Status(Code::Device, "function '" + function.name +
                                    "' needs more memory than there is addresses for " +
                                    std::to_string(length) + " steps; use shorter pieces");
  for (size_t i = 0; i < function.buffers.size(); ++i)
    memory.buffers.push_back(
        function.buffers[i].kind == BufferKind::Scratch ? slots[slotOf(i)] : -1);
  memory.bytes = placer.total();
  return memory;
}

Result<StateMemory> planStates(const std::vector<formats::State> &states, int64_t batch,
                               const Device::Traits &traits) {
  StateMemory memory;
  Placer placer(traits);
  memory.positions = placer.place(batch, 8);
  for (const formats::State &state : states)
    memory.states.push_back(placer.place(state.bytes(), batch));
  if (placer.overflow())
    return Status(Code::Device, "the state of " + std::to_string(batch) +
                                    " sequences does not fit into memory");
  memory.bytes = placer.total();
  return memory;
}

int64_t stateBeforeBytes(const formats::Program &program, const Function &function) {
  int64_t bytes = 0;
  bool any = false;
  for (const Buffer &buffer : function.buffers)
    any |= buffer.kind == BufferKind::StateBefore;
  for (const formats::State &state : program.states)
    bytes += any && !state.openChunk ? state.bytes() : 0;
  return bytes;
}

int64_t samplingBytes(const formats::Program &program) {
  for (const Function &function : program.functions)
    for (const Buffer &buffer : function.buffers)
      if (buffer.kind == BufferKind::Sampling)
        return formats::kSamplingWords * 4;
  return 0;
}

bool trains(const Function &function) {
  for (const Buffer &buffer : function.buffers)
    if (buffer.kind > BufferKind::Position && buffer.kind != BufferKind::Sampling)
      return true;
  return false;
}

int64_t longestPiece(const Function &function, int64_t maxPiece) {
  return function.chunk > 0 ? std::min(function.chunk, maxPiece) : maxPiece;
}

Result<int64_t> sessionBytes(const formats::Program &program, int64_t batch, int64_t maxPiece,
                             const Device::Traits &traits) {
  Result<StateMemory> states = planStates(program.states, batch, traits);
  if (!states.isOk())
    return states.status();
  int64_t scratch = 0;
  for (const Function &function : program.functions) {
    if (trains(function))
      continue;
    Result<FunctionMemory> memory =
        planFunction(function, batch, longestPiece(function, maxPiece), traits);
    if (!memory.isOk())
      return memory.status();
    scratch = std::max(scratch, memory->bytes);
  }
  int64_t total = 0;
  if (__builtin_add_overflow(states->bytes + samplingBytes(program), scratch, &total))
    return Status(Code::Device, "a session of " + std::to_string(batch) +
                                    " sequences does not fit into memory");
  return total;
}

Status checkFits(Device &device, int64_t bytes, const std::string &what) {
  Result<int64_t> free = device.freeBytes();
  if (!free.isOk())
    return free.status();
  if (bytes <= *free)
    return Status::ok();
  return Status(Code::Device, what + " needs " + std::to_string(bytes) + " bytes on " +
                                  device.name() + ", but " + std::to_string(*free) +
                                  " are free; use a smaller batch or shorter pieces, or free some");
}

} // namespace otodus::runtime

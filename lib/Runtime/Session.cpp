//===- Session.cpp - Streams through a model -------------------------------===//

#include "otodus/Runtime/Session.h"
#include "Numbers.h"
#include "SessionImpl.h"

#include <algorithm>
#include <chrono>
#include <cstring>

namespace otodus::runtime {

using formats::Argument;
using formats::ArgumentKind;
using formats::Buffer;
using formats::BufferKind;
using formats::DType;
using formats::Function;
using formats::kRowSlack;
using formats::Launch;
using formats::Symbol;
using formats::Variant;

namespace {

/// Rows a row-wise buffer has room for.
int64_t paddedRows(int64_t rows) { return roundUp(rows, kRowSlack) + kRowSlack; }

int64_t extentOf(Symbol symbol, int64_t batch, int64_t length) {
  switch (symbol) {
  case Symbol::One:
    return 1;
  case Symbol::Batch:
    return batch;
  case Symbol::Length:
    return length;
  case Symbol::Rows:
    return batch * length;
  }
  return 1;
}

int64_t rowsOf(const Argument &argument, int64_t batch, int64_t length) {
  return argument.kind == ArgumentKind::LastRows ? batch : batch * length;
}

/// Bytes between rows inside.
int64_t rowBytes(const Argument &argument) {
  return formats::sizeOf(argument.dtype) *
         (argument.kind == ArgumentKind::Steps ? 1 : argument.rowStride);
}

/// Elements of one row outside.
int64_t rowElements(const Argument &argument) {
  return argument.kind == ArgumentKind::Steps ? 1 : argument.width.logical();
}

bool convertible(DType from, DType to) {
  auto isNarrowFloat = [](DType t) { return t == DType::F32 || t == DType::BF16; };
  return from == to || (isNarrowFloat(from) && isNarrowFloat(to)) ||
         (from == DType::I64 && to == DType::I32);
}

/// Copies `count` elements; the pair of types is one that `convertible` allows.
void convert(DType from, const void *source, DType to, void *target, int64_t count) {
  if (from == to) {
    std::memcpy(target, source, static_cast<size_t>(count * formats::sizeOf(to)));
  } else if (from == DType::F32) {
    auto *in = static_cast<const float *>(source);
    auto *out = static_cast<uint16_t *>(target);
    for (int64_t i = 0; i < count; ++i)
      out[i] = toBf16(in[i]);
  } else if (from == DType::BF16) {
    auto *in = static_cast<const uint16_t *>(source);
    auto *out = static_cast<float *>(target);
    for (int64_t i = 0; i < count; ++i)
      out[i] = fromBf16(in[i]);
  } else {
    auto *in = static_cast<const int64_t *>(source);
    auto *out = static_cast<int32_t *>(target);
    for (int64_t i = 0; i < count; ++i)
      out[i] = static_cast<int32_t>(in[i]);
  }
}

std::string joinNames(const std::vector<Argument> &arguments) {
  std::string result;
  for (const Argument &argument : arguments)
    result += (result.empty() ? "" : ", ") + argument.name;
  return result.empty() ? "none" : result;
}

} // namespace

//===----------------------------------------------------------------------===//
// Memory of a function
//===----------------------------------------------------------------------===//

/// Gives every buffer its place for calls of up to `length` steps, from `base` on, and
/// returns the bytes that takes. With base null only the bytes are counted.
Result<int64_t> Session::Impl::layOut(Plan &plan, int64_t length, std::byte *base,
                                      const std::vector<const std::byte *> &prepared) {
  const Function &function = *plan.function;
  int64_t total = 0;
  bool overflow = false;
  auto place = [&](int64_t bytesPerRow, int64_t rows) {
    int64_t at = total, bytes = 0;
    overflow |= __builtin_mul_overflow(bytesPerRow, paddedRows(rows), &bytes) ||
                bytes > (int64_t(1) << 60) ||
                __builtin_add_overflow(total, roundUp(bytes, 64), &total);
    return overflow ? 0 : at;
  };

  std::vector<int64_t> inputs, outputs;
  for (const Argument &input : function.inputs)
    inputs.push_back(place(rowBytes(input), rowsOf(input, batch, length)));
  for (const Argument &output : function.outputs)
    outputs.push_back(place(rowBytes(output), rowsOf(output, batch, length)));
  // A slot is as large as its largest buffer.
  std::map<int64_t, int64_t> slotBytes, slots;
  for (const Buffer &buffer : function.buffers) {
    if (buffer.kind != BufferKind::Scratch)
      continue;
    int64_t bytes = 0;
    overflow |= __builtin_mul_overflow(buffer.bytesPerRow,
                                       paddedRows(extentOf(buffer.symbol, batch, length)), &bytes);
    int64_t &size = slotBytes[buffer.index];
    size = std::max(size, bytes);
  }
  for (auto [slot, bytes] : slotBytes) {
    slots[slot] = total;
    overflow |=
        bytes > (int64_t(1) << 60) || __builtin_add_overflow(total, roundUp(bytes, 64), &total);
  }
  if (overflow)
    return Status(Code::Device, "function '" + function.name +
                                    "' needs more memory than there is "
                                    "addresses for " +
                                    std::to_string(length) + " steps; use shorter pieces");
  if (!base)
    return total;

  plan.inputs.clear();
  plan.outputs.clear();
  for (int64_t offset : inputs)
    plan.inputs.push_back(base + offset);
  for (int64_t offset : outputs)
    plan.outputs.push_back(base + offset);
  std::vector<void *> buffers;
  for (const Buffer &buffer : function.buffers) {
    auto index = static_cast<size_t>(buffer.index);
    switch (buffer.kind) {
    case BufferKind::Prepared:
      buffers.push_back(const_cast<std::byte *>(prepared[index]));
      break;
    case BufferKind::State:
      buffers.push_back(states[index]);
      break;
    case BufferKind::Input:
      buffers.push_back(plan.inputs[index]);
      break;
    case BufferKind::Output:
      buffers.push_back(plan.outputs[index]);
      break;
    case BufferKind::Scratch:
      buffers.push_back(base + slots[buffer.index]);
      break;
    case BufferKind::Position:
      buffers.push_back(devicePositions);
      break;
    default:
      return Status(Code::Input, "function '" + function.name +
                                     "' is part of training; sessions run inference only");
    }
  }
  plan.pointers.clear();
  for (Step &step : plan.steps) {
    step.firstPointer = plan.pointers.size();
    for (int64_t index : step.launch->buffers)
      plan.pointers.push_back(buffers[static_cast<size_t>(index)]);
  }
  plan.capacity = length;
  return total;
}

Status Session::Impl::bind(Plan &plan, int64_t length,
                           const std::vector<const std::byte *> &prepared) {
  if (plan.capacity >= length)
    return Status::ok();
  // Round up, so that calls that grow step by step do not lay out anew each time; pages
  // that nobody touches cost nothing.
  int64_t capacity = 1;
  while (capacity < length)
    capacity *= 2;
  capacity = std::max(length, std::min(capacity, options.maxPiece));
  Result<int64_t> bytes = layOut(plan, capacity, nullptr, prepared);
  if (!bytes.isOk())
    return bytes.status();
  if (*bytes > static_cast<int64_t>(scratch.size())) {
    scratch.reset();
    for (Plan &other : plans)
      other.capacity = 0; // their pointers are gone
    Result<Memory> memory = Memory::allocate(model->device(), static_cast<size_t>(*bytes));
    if (!memory.isOk())
      return memory.status().in("scratch memory of function '" + plan.function->name + "'");
    scratch = std::move(*memory);
    note();
  }
  // A function without buffers still needs an address that is not null.
  static std::byte nothing[64];
  Result<int64_t> done =
      layOut(plan, capacity, scratch.data() ? scratch.data() : nothing, prepared);
  return done.isOk() ? Status::ok() : done.status();
}

/// Picks variants and counts work items for pieces of `length` steps.
void Session::Impl::choose(Plan &plan, int64_t length) {
  if (plan.length == length)
    return;
  for (Step &step : plan.steps) {
    const Launch &launch = *step.launch;
    int64_t rows = extentOf(launch.rowSymbol, batch, length);
    size_t best = 0;
    int64_t bestCost = 0, bestTile = 0;
    for (size_t i = 0; i < launch.variants.size(); ++i) {
      int64_t tile = std::max<int64_t>(1, launch.variants[i].rowTile);
      int64_t cost = (rows + tile - 1) / tile * (tile + formats::kRowTileCost);
      if (i == 0 || cost < bestCost || (cost == bestCost && tile > bestTile)) {
        best = i;
        bestCost = cost;
        bestTile = tile;
      }
    }
    step.variant = best;
    step.items = 1;
    for (const formats::Extent &extent : launch.variants[best].grid) {
      int64_t value = extentOf(extent.symbol, batch, length);
      step.items *= extent.factor * ((value + extent.divisor - 1) / extent.divisor);
    }
  }
  plan.length = length;
}

//===----------------------------------------------------------------------===//
// Running
//===----------------------------------------------------------------------===//

/// Steps until some sequence reaches the end of its chunk.
int64_t Session::Impl::pieceLimit(const Function &function) const {
  int64_t limit = options.maxPiece;
  if (function.chunk > 0)
    for (int64_t position : positions)
      limit = std::min(limit, function.chunk - position % function.chunk);
  return limit;
}

void Session::Impl::runPiece(Plan &plan, int64_t length) {
  choose(plan, length);
  std::copy(positions.begin(), positions.end(), devicePositions);
  const Device &device = model->device();
  OtodusKernelArguments arguments = {nullptr, batch, length, batch * length};
  using Clock = std::chrono::steady_clock;
  Clock::time_point before;
  if (profiling)
    before = Clock::now();
  for (Step &step : plan.steps) {
    arguments.buffers = plan.pointers.data() + step.firstPointer;
    device.launch(*pool, step.kernels[step.variant], arguments, step.items);
    if (profiling) {
      Clock::time_point after = Clock::now();
      step.nanoseconds[step.variant] +=
          std::chrono::duration_cast<std::chrono::nanoseconds>(after - before).count();
      ++step.calls[step.variant];
      before = after;
    }
  }
  for (int64_t &position : positions)
    position += length;
}

namespace {

/// Below this many bytes a copy is done before another thread has noticed.
constexpr int64_t kParallelCopy = 256 * 1024;

template <typename Fn> void forRows(ThreadPool &pool, int64_t rows, int64_t bytes, Fn &&fn) {
  if (bytes < kParallelCopy)
    fn(0, rows);
  else
    pool.run(rows, fn);
}

/// Steps [first, first + length) of an outside input into the padded rows inside.
void copyIn(ThreadPool &pool, const Argument &argument, const TensorView &view, int64_t batch,
            int64_t first, int64_t length, std::byte *inside) {
  int64_t total = argument.kind == ArgumentKind::LastRows ? 1 : view.shape[1];
  if (argument.kind == ArgumentKind::LastRows)
    first = 0, length = 1;
  int64_t elements = rowElements(argument), rows = batch * length;
  int64_t stride = rowBytes(argument), outsideSize = formats::sizeOf(view.dtype);
  int64_t size = formats::sizeOf(argument.dtype);
  const auto *outside = static_cast<const std::byte *>(view.data);
  // Rows that only fill up a tile: token ids there must be valid, numbers finite.
  std::memset(inside + rows * stride, 0, static_cast<size_t>((paddedRows(rows) - rows) * stride));
  forRows(pool, rows, rows * stride, [&](int64_t lo, int64_t hi) {
    for (int64_t row = lo; row < hi; ++row) {
      int64_t from = ((row / length) * total + first + row % length) * elements;
      std::byte *to = inside + row * stride;
      if (argument.kind == ArgumentKind::Steps) {
        convert(view.dtype, outside + from * outsideSize, argument.dtype, to, 1);
        continue;
      }
      const formats::Width &width = argument.width;
      std::memset(to, 0, static_cast<size_t>(stride));
      for (int64_t g = 0; g < width.groups; ++g)
        convert(view.dtype, outside + (from + g * width.inner) * outsideSize, argument.dtype,
                to + g * width.paddedInner() * size, width.inner);
    }
  });
}

/// The padded rows inside into steps [first, first + length) of an outside output.
void copyOut(ThreadPool &pool, const Argument &argument, const MutableTensorView &view,
             int64_t batch, int64_t first, int64_t length, const std::byte *inside) {
  int64_t total = argument.kind == ArgumentKind::LastRows ? 1 : view.shape[1];
  if (argument.kind == ArgumentKind::LastRows)
    first = 0, length = 1;
  int64_t elements = rowElements(argument), rows = batch * length;
  int64_t stride = rowBytes(argument), outsideSize = formats::sizeOf(view.dtype);
  int64_t size = formats::sizeOf(argument.dtype);
  auto *outside = static_cast<std::byte *>(view.data);
  forRows(pool, rows, rows * stride, [&](int64_t lo, int64_t hi) {
    for (int64_t row = lo; row < hi; ++row) {
      int64_t to = ((row / length) * total + first + row % length) * elements;
      const std::byte *from = inside + row * stride;
      if (argument.kind == ArgumentKind::Steps) {
        convert(argument.dtype, from, view.dtype, outside + to * outsideSize, 1);
        continue;
      }
      const formats::Width &width = argument.width;
      for (int64_t g = 0; g < width.groups; ++g)
        convert(argument.dtype, from + g * width.paddedInner() * size, view.dtype,
                outside + (to + g * width.inner) * outsideSize, width.inner);
    }
  });
}

/// The outside shape of an argument in a call of `length` steps.
std::vector<int64_t> outsideShape(const Argument &argument, int64_t batch, int64_t length) {
  std::vector<int64_t> shape = {batch, argument.kind == ArgumentKind::LastRows ? 1 : length};
  if (argument.kind != ArgumentKind::Steps)
    shape.insert(shape.end(), argument.trailing.begin(), argument.trailing.end());
  return shape;
}

/// "[2, length, 64]" with `length` in words where it is free.
std::string describeShape(const Argument &argument, int64_t batch, int64_t length) {
  std::vector<int64_t> shape = outsideShape(argument, batch, length);
  std::string text = "[";
  for (size_t i = 0; i < shape.size(); ++i)
    text += (i ? ", " : "") + (shape[i] < 0 ? std::string("length") : std::to_string(shape[i]));
  return text + "]";
}

template <typename View>
Status checkView(const char *what, const Argument &argument, const View &view, int64_t batch,
                 int64_t length, bool types) {
  std::string where = std::string(what) + " '" + argument.name + "'";
  if (view.shape != outsideShape(argument, batch, length))
    return Status(Code::Input, where + ": expected shape " +
                                   describeShape(argument, batch, length) + ", found " +
                                   formats::shapeToString(view.shape));
  if (!types)
    return Status(Code::Input,
                  where + ": expected " + nameOf(argument.dtype) + ", found " + nameOf(view.dtype));
  bool empty = std::find(view.shape.begin(), view.shape.end(), 0) != view.shape.end();
  if (!view.data && !empty)
    return Status(Code::Input, where + ": the data pointer is null");
  return Status::ok();
}

/// Integers outside [0, bound) would make kernels read outside their tables.
Status checkBound(const Argument &argument, const TensorView &view, int64_t batch, int64_t length,
                  const std::vector<int64_t> &positions) {
  int64_t bound = argument.bound;
  if (bound <= 0) // then only what i64 -> i32 would cut off
    bound = view.dtype == DType::I64 && argument.dtype == DType::I32 ? int64_t(1) << 31 : 0;
  if (bound == 0 || (view.dtype != DType::I32 && view.dtype != DType::I64))
    return Status::ok();
  int64_t perStep = rowElements(argument);
  for (int64_t i = 0; i < batch * length * perStep; ++i) {
    int64_t value = integerAt(view.dtype, view.data, i);
    if (value >= 0 && value < bound)
      continue;
    int64_t sequence = i / perStep / length, step = i / perStep % length;
    return Status(Code::Input, "input '" + argument.name + "': token id " + std::to_string(value) +
                                   " at position " +
                                   std::to_string(positions[static_cast<size_t>(sequence)] + step) +
                                   (batch > 1 ? " of sequence " + std::to_string(sequence) : "") +
                                   " is outside the vocabulary of " + std::to_string(bound) +
                                   " (0 to " + std::to_string(bound - 1) + ")");
  }
  return Status::ok();
}

} // namespace

Status Session::run(const std::string &name, const std::map<std::string, TensorView> &inputs,
                    const std::map<std::string, MutableTensorView> &outputs) {
  Impl &impl = *impl_;
  auto found = impl.model->functionIndex_.find(name);
  if (found == impl.model->functionIndex_.end()) {
    std::string names;
    for (const Function &function : impl.program().functions)
      names += (names.empty() ? "" : ", ") + function.name;
    return Status(Code::Input,
                  "no function '" + name + "'; the model has: " + (names.empty() ? "none" : names));
  }
  Impl::Plan &plan = impl.plans[found->second];
  const Function &function = *plan.function;

  // Everything a caller can get wrong, before anything changes.
  int64_t length = -1;
  std::vector<const TensorView *> in;
  for (const Argument &argument : function.inputs) {
    auto given = inputs.find(argument.name);
    if (given == inputs.end())
      return Status(Code::Input, "function '" + name + "' needs input '" + argument.name +
                                     "'; its inputs are: " + joinNames(function.inputs));
    const TensorView &view = given->second;
    if (length < 0 && argument.kind != ArgumentKind::LastRows && view.shape.size() >= 2 &&
        view.shape[1] >= 0)
      length = view.shape[1];
    OTODUS_RETURN_IF_ERROR(checkView("input", argument, view, impl.batch, length,
                                     convertible(view.dtype, argument.dtype)));
    in.push_back(&view);
  }
  std::vector<const MutableTensorView *> out;
  for (const Argument &argument : function.outputs) {
    auto given = outputs.find(argument.name);
    out.push_back(given == outputs.end() ? nullptr : &given->second);
    if (!out.back())
      continue;
    const MutableTensorView &view = given->second;
    if (length < 0 && argument.kind != ArgumentKind::LastRows && view.shape.size() >= 2 &&
        view.shape[1] >= 0)
      length = view.shape[1];
    OTODUS_RETURN_IF_ERROR(checkView("output", argument, view, impl.batch, length,
                                     convertible(argument.dtype, view.dtype)));
  }
  for (const auto &[given, view] : inputs)
    if (std::none_of(function.inputs.begin(), function.inputs.end(),
                     [&](const Argument &a) { return a.name == given; }))
      return Status(Code::Input, "function '" + name + "' has no input '" + given +
                                     "'; its inputs are: " + joinNames(function.inputs));
  for (const auto &[given, view] : outputs)
    if (std::none_of(function.outputs.begin(), function.outputs.end(),
                     [&](const Argument &a) { return a.name == given; }))
      return Status(Code::Input, "function '" + name + "' has no output '" + given +
                                     "'; its outputs are: " + joinNames(function.outputs));
  if (length < 0)
    length = 1; // nothing has a time axis
  for (size_t i = 0; i < in.size(); ++i)
    OTODUS_RETURN_IF_ERROR(
        checkBound(function.inputs[i], *in[i], impl.batch,
                   function.inputs[i].kind == ArgumentKind::LastRows ? 1 : length, impl.positions));
  if (length == 0)
    return Status::ok();

  // The longest piece of this call.
  int64_t longest = std::min(length, impl.options.maxPiece);
  if (function.chunk > 0)
    longest = std::min(longest, function.chunk);
  OTODUS_RETURN_IF_ERROR(impl.bind(plan, longest, impl.model->prepared_));

  FlushDenormals flush;
  for (int64_t done = 0; done < length;) {
    int64_t piece = std::min(length - done, impl.pieceLimit(function));
    for (size_t i = 0; i < in.size(); ++i)
      copyIn(*impl.pool, function.inputs[i], *in[i], impl.batch, done, piece, plan.inputs[i]);
    impl.runPiece(plan, piece);
    bool last = done + piece == length;
    for (size_t i = 0; i < out.size(); ++i)
      if (out[i] && (last || function.outputs[i].kind != ArgumentKind::LastRows))
        copyOut(*impl.pool, function.outputs[i], *out[i], impl.batch, done, piece, plan.outputs[i]);
    done += piece;
  }
  return Status::ok();
}

//===----------------------------------------------------------------------===//
// Life
//===----------------------------------------------------------------------===//

Session::Session(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Session::~Session() = default;

Result<std::unique_ptr<Session>> Session::create(std::shared_ptr<const Model> model,
                                                 const SessionOptions &options) {
  if (options.batch < 1 || options.batch > (int64_t(1) << 24))
    return Status(Code::Usage, "expected a batch between 1 and 16777216, found " +
                                   std::to_string(options.batch));
  if (options.maxPiece < 1 || options.maxPiece > (int64_t(1) << 32))
    return Status(Code::Usage, "expected pieces of 1 to 4294967296 steps, found " +
                                   std::to_string(options.maxPiece));
  auto impl = std::make_unique<Impl>();
  impl->model = std::move(model);
  impl->options = options;
  impl->batch = options.batch;
  impl->pool = options.pool ? options.pool : std::make_shared<ThreadPool>();
  for (const Function &function : impl->program().functions) {
    Impl::Plan plan;
    plan.function = &function;
    for (const Launch &launch : function.launches) {
      Impl::Step step;
      step.launch = &launch;
      for (const Variant &variant : launch.variants)
        step.kernels.push_back(impl->model->image_->find(variant.entry));
      step.calls.resize(step.kernels.size());
      step.nanoseconds.resize(step.kernels.size());
      plan.steps.push_back(std::move(step));
    }
    impl->plans.push_back(std::move(plan));
  }
  OTODUS_RETURN_IF_ERROR(impl->allocateState(impl->model->initial_));
  return std::unique_ptr<Session>(new Session(std::move(impl)));
}

const Model &Session::model() const { return *impl_->model; }
ThreadPool &Session::pool() const { return *impl_->pool; }
int64_t Session::batch() const { return impl_->batch; }

//===----------------------------------------------------------------------===//
// Figures
//===----------------------------------------------------------------------===//

SessionMemory Session::memory() const {
  return {static_cast<int64_t>(impl_->state.size()), static_cast<int64_t>(impl_->scratch.size()),
          impl_->peak};
}

void Session::setProfiling(bool on) { impl_->profiling = on; }

std::vector<LaunchProfile> Session::profile() const {
  std::vector<LaunchProfile> result;
  for (const Impl::Plan &plan : impl_->plans)
    for (const Impl::Step &step : plan.steps)
      for (size_t i = 0; i < step.kernels.size(); ++i)
        if (step.calls[i])
          result.push_back({plan.function->name, step.launch->name,
                            step.launch->variants[i].rowTile, step.calls[i], step.nanoseconds[i]});
  return result;
}

} // namespace otodus::runtime

//===- Session.cpp - Streams through a model -------------------------------===//

#include "otodus/Runtime/Session.h"
#include "Arguments.h"
#include "CheckedMemory.h"
#include "SessionImpl.h"

#include <algorithm>
#include <utility>

namespace otodus::runtime {

using formats::Argument;
using formats::ArgumentKind;
using formats::Buffer;
using formats::BufferKind;
using formats::Function;
using formats::Launch;
using formats::Variant;

namespace {

std::string joinNames(const std::vector<Argument> &arguments) {
  std::string result;
  for (const Argument &argument : arguments)
    result += (result.empty() ? "" : ", ") + argument.name;
  return result.empty() ? "none" : result;
}

std::vector<std::byte *> addresses(std::byte *base, const std::vector<int64_t> &offsets) {
  std::vector<std::byte *> result;
  for (int64_t offset : offsets)
    result.push_back(base + offset);
  return result;
}

} // namespace

//===----------------------------------------------------------------------===//
// Memory of a function
//===----------------------------------------------------------------------===//

void Session::Impl::note() {
  size_t bytes = state.size() + scratch.size();
  for (const Plan &plan : plans)
    bytes += plan.own.size();
  peak = std::max(peak, static_cast<int64_t>(bytes));
}

/// Binds the function to `block`, which has room for calls of up to `length` steps.
Status Session::Impl::place(Plan &plan, const FunctionMemory &memory, Memory &block, int64_t length,
                            const std::vector<const std::byte *> &prepared) {
  const Function &function = *plan.function;
  // A function without buffers still needs an address that is not null.
  static std::byte nothing[64];
  std::byte *base = block.data() ? block.data() : nothing;
  plan.memory = memory;
  plan.inputs = addresses(base, memory.inputs);
  plan.outputs = addresses(base, memory.outputs);
  plan.hostInputs.clear(); // `bindStaging` knows better
  plan.hostOutputs.clear();
  if (traits().sharesHostMemory) {
    plan.hostInputs = plan.inputs;
    plan.hostOutputs = plan.outputs;
  }
  std::vector<void *> buffers;
  for (size_t i = 0; i < function.buffers.size(); ++i) {
    auto index = static_cast<size_t>(function.buffers[i].index);
    switch (function.buffers[i].kind) {
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
      buffers.push_back(base + memory.buffers[i]);
      break;
    case BufferKind::Position:
      buffers.push_back(devicePositions);
      break;
    case BufferKind::Sampling:
      buffers.push_back(deviceSampling);
      break;
    // Of training; `run` refuses such functions until there is memory for them.
    case BufferKind::Gradient:
      buffers.push_back(gradients ? gradients + program().parameters[index].offset : nullptr);
      break;
    case BufferKind::StateGradient:
      buffers.push_back(gradients ? stateGradients[index] : nullptr);
      break;
    case BufferKind::Scalars:
      buffers.push_back(index == 0 ? scalars : nullptr);
      break;
    case BufferKind::Arena:
    case BufferKind::StateBefore:
      buffers.push_back(nullptr);
      break;
    }
  }
  plan.pointers.clear();
  for (Step &step : plan.steps) {
    step.firstPointer = plan.pointers.size();
    for (int64_t index : step.launch->buffers)
      plan.pointers.push_back(buffers[static_cast<size_t>(index)]);
  }
  plan.capacity = length;
  plan.length = 0;
  plan.recording.reset();
  plan.last = {};
  plan.buffers = std::move(buffers);
  return announceBuffers(*model->device_,
                         {function, plan.inputs, plan.outputs, plan.buffers}, batch, length);
}

Status Session::Impl::bind(Plan &plan, int64_t length,
                           const std::vector<const std::byte *> &prepared) {
  if (plan.capacity >= length)
    return traits().sharesHostMemory ? Status::ok() : bindStaging(plan);
  // Round up, so that calls that grow step by step do not lay out anew each time; pages
  // that nobody touches cost nothing.
  int64_t capacity = 1;
  while (capacity < length)
    capacity *= 2;
  capacity = std::max(length, std::min(capacity, options.maxPiece));
  Result<FunctionMemory> memory = planFunction(*plan.function, batch, capacity, traits());
  if (!memory.isOk())
    return memory.status();
  if (!traits().sharesHostMemory) {
    // Functions of training come to a device late, and get memory of their own: the addresses of
    // the others stay.
    plan.own.reset();
    Result<Memory> own = Memory::allocate(model->device_, static_cast<size_t>(memory->bytes));
    if (!own.isOk())
      return own.status().in("scratch memory of function '" + plan.function->name + "'");
    plan.own = std::move(*own);
    note();
    OTODUS_RETURN_IF_ERROR(place(plan, *memory, plan.own, capacity, prepared));
    return bindStaging(plan);
  }
  if (memory->bytes > static_cast<int64_t>(scratch.size())) {
    scratch.reset();
    for (Plan &other : plans)
      other.capacity = 0; // their pointers are gone
    Result<Memory> block = Memory::allocate(model->device_, static_cast<size_t>(memory->bytes));
    if (!block.isOk())
      return block.status().in("scratch memory of function '" + plan.function->name + "'");
    scratch = std::move(*block);
    note();
  }
  return place(plan, *memory, scratch, capacity, prepared);
}

/// On a device with memory of its own all functions are bound for their longest pieces from the
/// start: what does not fit is known before anything runs, and addresses in recordings stay.
Status Session::Impl::bindAll(const std::vector<const std::byte *> &prepared) {
  std::vector<FunctionMemory> memories;
  int64_t bytes = 0;
  for (Plan &plan : plans) {
    if (trains(*plan.function)) {
      memories.emplace_back();
      continue;
    }
    int64_t length = longestPiece(*plan.function, options.maxPiece);
    Result<FunctionMemory> memory = planFunction(*plan.function, batch, length, traits());
    if (!memory.isOk())
      return memory.status();
    bytes = std::max(bytes, memory->bytes);
    memories.push_back(std::move(*memory));
  }
  if (!traits().checksMemory) {
    Result<Memory> block = Memory::allocate(model->device_, static_cast<size_t>(bytes));
    if (!block.isOk())
      return block.status().in("scratch memory");
    scratch = std::move(*block);
  }
  for (size_t i = 0; i < plans.size(); ++i) {
    if (trains(*plans[i].function))
      continue;
    Memory *block = &scratch;
    if (traits().checksMemory) {
      Result<Memory> own =
          Memory::allocate(model->device_, static_cast<size_t>(memories[i].bytes));
      if (!own.isOk())
        return own.status().in("scratch memory of function '" + plans[i].function->name + "'");
      plans[i].own = std::move(*own);
      block = &plans[i].own;
    }
    OTODUS_RETURN_IF_ERROR(place(plans[i], memories[i], *block,
                                 longestPiece(*plans[i].function, options.maxPiece), prepared));
  }
  note();
  return Status::ok();
}

/// Gives positions, inputs and outputs their places on the host. They move if another function
/// needs more room; recordings that know the old places are dropped.
Status Session::Impl::bindStaging(Plan &plan) {
  int64_t arguments = roundUp(batch * 8, 256), bytes = arguments + plan.memory.argumentBytes;
  if (bytes > static_cast<int64_t>(staging.size())) {
    for (Plan &other : plans) {
      other.hostInputs.clear();
      other.hostOutputs.clear();
      other.recording.reset();
      other.last = {};
    }
    staging.reset();
    Result<Memory> host = Memory::staging(model->device_, static_cast<size_t>(bytes));
    if (!host.isOk())
      return host.status().in("staging memory of function '" + plan.function->name + "'");
    staging = std::move(*host);
    hostPositions = reinterpret_cast<int64_t *>(staging.data());
  }
  if (plan.hostInputs.size() != plan.inputs.size() ||
      plan.hostOutputs.size() != plan.outputs.size()) {
    plan.hostInputs = addresses(staging.data() + arguments, plan.memory.inputs);
    plan.hostOutputs = addresses(staging.data() + arguments, plan.memory.outputs);
  }
  return Status::ok();
}

//===----------------------------------------------------------------------===//
// Launches
//===----------------------------------------------------------------------===//

/// Picks variants and counts work items for pieces of `length` steps.
Status Session::Impl::choose(Plan &plan, int64_t length) {
  if (plan.length == length)
    return Status::ok();
  plan.length = 0;
  std::vector<int> chosen = formats::chooseVariants(*plan.function, batch, length);
  for (size_t i = 0; i < plan.steps.size(); ++i) {
    Step &step = plan.steps[i];
    step.runs = chosen[i] != formats::kLeftOut;
    if (!step.runs)
      continue;
    step.variant = static_cast<size_t>(chosen[i]);
    step.items = formats::itemsOf(step.launch->variants[step.variant], batch, length);
    OTODUS_RETURN_IF_ERROR(encodeMaps(*model->device_, *step.kernels[step.variant],
                                      step.launch->name, plan.pointers.data() + step.firstPointer,
                                      batch, length, step.maps));
  }
  plan.length = length;
  return Status::ok();
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

/// Puts copies and launches of a piece into the stream.
Status Session::Impl::enqueue(Plan &plan, int64_t length, const std::vector<bool> &outputs) {
  const Function &function = *plan.function;
  bool copies = !traits().sharesHostMemory;
  if (copies) {
    OTODUS_RETURN_IF_ERROR(
        stream->write(devicePositions, hostPositions, static_cast<size_t>(batch * 8)));
    for (size_t i = 0; i < function.inputs.size(); ++i) {
      const Argument &input = function.inputs[i];
      int64_t bytes = rowBytes(input) * paddedRows(rowsOf(input, batch, length));
      OTODUS_RETURN_IF_ERROR(
          stream->write(plan.inputs[i], plan.hostInputs[i], static_cast<size_t>(bytes)));
    }
  }
  if (profiling)
    OTODUS_RETURN_IF_ERROR(stream->mark());
  KernelCall call;
  call.batch = batch;
  call.length = length;
  call.rows = batch * length;
  for (Step &step : plan.steps) {
    if (!step.runs)
      continue;
    call.kernel = step.kernels[step.variant];
    call.name = step.launch->name.c_str();
    call.buffers = plan.pointers.data() + step.firstPointer;
    call.bufferCount = step.launch->buffers.size();
    call.items = step.items;
    call.tensorMaps = step.maps.empty() ? nullptr : step.maps.front().bytes;
    OTODUS_RETURN_IF_ERROR(stream->launch(call));
    if (profiling)
      OTODUS_RETURN_IF_ERROR(stream->mark());
  }
  if (copies)
    for (size_t i = 0; i < function.outputs.size(); ++i)
      if (outputs[i])
        OTODUS_RETURN_IF_ERROR(
            stream->read(plan.hostOutputs[i], plan.outputs[i],
                         static_cast<size_t>(rowBytes(function.outputs[i]) *
                                             rowsOf(function.outputs[i], batch, length))));
  return Status::ok();
}

/// Runs the next `length` steps; inputs are in `hostInputs`, `outputs` says which outputs are
/// wanted in `hostOutputs`. The second piece in a row of one length is recorded and later ones
/// played: that is what decoding is.
Status Session::Impl::runPiece(Plan &plan, int64_t length, const std::vector<bool> &outputs) {
  OTODUS_RETURN_IF_ERROR(choose(plan, length));
  std::copy(positions.begin(), positions.end(), hostPositions);
  if (traits().checksMemory)
    OTODUS_RETURN_IF_ERROR(forgetBuffers(
        *stream, {*plan.function, plan.inputs, plan.outputs, plan.buffers}, batch, length));
  RecordingKey key;
  bool record = traits().records && !profiling;
  if (record)
    key = {length, outputs};
  if (record && plan.recording && plan.recorded == key) {
    OTODUS_RETURN_IF_ERROR(stream->play(*plan.recording));
  } else if (record && plan.last == key) {
    OTODUS_RETURN_IF_ERROR(stream->beginRecording());
    Status status = enqueue(plan, length, outputs);
    Result<std::unique_ptr<Recording>> recording = stream->endRecording();
    OTODUS_RETURN_IF_ERROR(status);
    if (!recording.isOk())
      return recording.status();
    plan.recording = std::move(*recording);
    plan.recorded = key;
    OTODUS_RETURN_IF_ERROR(stream->play(*plan.recording));
  } else {
    OTODUS_RETURN_IF_ERROR(enqueue(plan, length, outputs));
  }
  if (record)
    plan.last = std::move(key);
  OTODUS_RETURN_IF_ERROR(stream->synchronise());
  if (profiling) {
    Result<std::vector<int64_t>> times = stream->times();
    if (!times.isOk())
      return times.status();
    size_t next = 0;
    for (Step &step : plan.steps) {
      if (!step.runs || next == times->size())
        continue;
      step.nanoseconds[step.variant] += (*times)[next++];
      ++step.calls[step.variant];
    }
  }
  for (int64_t &position : positions)
    position += length;
  return Status::ok();
}

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
  bool usesArenas = std::any_of(function.buffers.begin(), function.buffers.end(),
                                [](const Buffer &b) {
                                  return b.kind == BufferKind::Arena ||
                                         (b.kind == BufferKind::Scalars && b.index > 0);
                                });
  if (trains(function) && (usesArenas || !impl.gradients))
    return Status(Code::Input, "function '" + name + "' is part of training; use otodus train");

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
    OTODUS_RETURN_IF_ERROR(checkInput(argument, view, impl.batch, length));
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
    OTODUS_RETURN_IF_ERROR(checkOutput(argument, view, impl.batch, length));
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

  OTODUS_RETURN_IF_ERROR(impl.failed);
  OTODUS_RETURN_IF_ERROR(
      impl.bind(plan, longestPiece(function, std::min(length, impl.options.maxPiece)),
                impl.model->prepared_));

  FlushDenormals flush;
  std::vector<bool> read(out.size());
  for (int64_t done = 0; done < length;) {
    int64_t piece = std::min(length - done, impl.pieceLimit(function));
    for (size_t i = 0; i < in.size(); ++i)
      copyIn(*impl.pool, function.inputs[i], *in[i], impl.batch, done, piece, plan.hostInputs[i]);
    bool last = done + piece == length;
    for (size_t i = 0; i < out.size(); ++i)
      read[i] = out[i] && (last || function.outputs[i].kind != ArgumentKind::LastRows);
    if (Status status = impl.runPiece(plan, piece, read); !status.isOk())
      return impl.failed = status.in("function '" + name + "'");
    for (size_t i = 0; i < out.size(); ++i)
      if (read[i])
        copyOut(*impl.pool, function.outputs[i], *out[i], impl.batch, done, piece,
                plan.hostOutputs[i]);
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
  if (options.maxPiece < 0 || options.maxPiece > (int64_t(1) << 32))
    return Status(Code::Usage, "expected pieces of 1 to 4294967296 steps, found " +
                                   std::to_string(options.maxPiece));
  auto impl = std::make_unique<Impl>();
  impl->model = std::move(model);
  impl->options = options;
  if (options.maxPiece == 0)
    impl->options.maxPiece = impl->traits().maxPiece;
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
  Device &device = *impl->model->device_;
  Result<std::unique_ptr<Stream>> stream = device.stream(*impl->pool);
  if (!stream.isOk())
    return stream.status();
  impl->stream = std::move(*stream);
  if (!device.traits().sharesHostMemory) {
    Result<int64_t> bytes =
        sessionBytes(impl->program(), impl->batch, impl->options.maxPiece, device.traits());
    if (!bytes.isOk())
      return bytes.status();
    OTODUS_RETURN_IF_ERROR(
        checkFits(device, *bytes,
                  "a session of " + std::to_string(options.batch) +
                      (options.batch == 1 ? " sequence" : " sequences") + " in pieces of " +
                      std::to_string(impl->options.maxPiece)));
  }
  OTODUS_RETURN_IF_ERROR(impl->allocateState(impl->model->initial_));
  if (!device.traits().sharesHostMemory)
    OTODUS_RETURN_IF_ERROR(impl->bindAll(impl->model->prepared_));
  return std::unique_ptr<Session>(new Session(std::move(impl)));
}

const Model &Session::model() const { return *impl_->model; }
ThreadPool &Session::pool() const { return *impl_->pool; }
int64_t Session::batch() const { return impl_->batch; }
int64_t Session::maxPiece() const { return impl_->options.maxPiece; }

//===----------------------------------------------------------------------===//
// Figures
//===----------------------------------------------------------------------===//

SessionMemory Session::memory() const {
  int64_t scratch = static_cast<int64_t>(impl_->scratch.size());
  for (const Impl::Plan &plan : impl_->plans)
    scratch += static_cast<int64_t>(plan.own.size());
  return {static_cast<int64_t>(impl_->state.size()), scratch, impl_->peak};
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

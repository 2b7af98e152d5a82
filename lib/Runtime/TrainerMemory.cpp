//===- TrainerMemory.cpp - Functions of training bound to memory -----------===//

#include "CheckedMemory.h"
#include "TrainerImpl.h"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace otodus::runtime {

using formats::Buffer;
using formats::BufferKind;
using formats::DType;
using formats::Function;
using formats::Launch;
using formats::Variant;

//===----------------------------------------------------------------------===//
// Weights
//===----------------------------------------------------------------------===//

Status Trainer::Impl::start(WeightSource &weights) {
  const formats::Program &plan = program();
  auto find = [&](const char *name, const Function *&function) {
    function = model->function(name);
    return function != nullptr;
  };
  if (plan.parameters.empty() || !find("loss", lossFunction) ||
      !find("gradients", gradientFunction) || !find("norm", normFunction) ||
      !find("adamw", stepFunction))
    return Status(Code::Input, "the compiled model cannot be trained: it has no training "
                               "functions; compile it for training");
  if (!find("loss_with_dropout", pieceFunction))
    pieceFunction = lossFunction;
  for (const Function *function : {pieceFunction, gradientFunction})
    for (const Buffer &buffer : function->buffers)
      if (buffer.kind == BufferKind::Scalars)
        noises = std::max(noises, buffer.index);
  int64_t length = plan.arenaElements;
  for (int i = 0; i < kArenas; ++i) {
    int64_t elements = i == kSquares ? length / formats::kSquaresPortion : length;
    static const char *const kNames[kArenas] = {"weights", "gradients", "first moments",
                                                "second moments", "sums of squares"};
    Result<Memory> memory = allocate(std::max<int64_t>(elements, 16) * 4, kNames[i]);
    if (!memory.isOk())
      return memory.status().in("weights, gradients and moments");
    arena[i] = std::move(*memory);
  }
  Result<Memory> memory = allocate((1 + noises) * formats::kTrainingScalars * 4, "scalars");
  OTODUS_RETURN_IF_ERROR(memory.status());
  scalars = std::move(*memory);
  if (!traits().sharesHostMemory)
    hostWeights.assign(static_cast<size_t>(length), 0.0f);
  float *host = traits().sharesHostMemory ? arenaData(kWeights) : hostWeights.data();
  for (size_t i = 0; i < plan.parameters.size(); ++i) {
    const formats::Parameter &parameter = plan.parameters[i];
    TrainedTensor tensor{parameter.name, parameter.shape};
    int64_t elements = tensor.elements();
    if (parameter.offset < 0 || parameter.offset % 16 != 0 || elements < 0 ||
        parameter.offset + elements > length)
      return Status(Code::File, "parameter '" + parameter.name +
                                    "' lies outside the arena; compile again");
    Result<formats::Tensor> source = weights.find(parameter.name);
    if (!source.isOk())
      return source.status();
    if (source->elements() != elements)
      return Status(Code::File, weights.describe() + ": tensor '" + parameter.name +
                                    "' has shape " + formats::shapeToString(source->shape) +
                                    ", the model expects " +
                                    formats::shapeToString(parameter.shape));
    float *master = host + parameter.offset;
    OTODUS_RETURN_IF_ERROR(formats::readAsFloat(*source, 0, elements, master));
    masters.add(parameter.name, parameter.shape, master);
    weights.release(parameter.name);
    parameters.push_back(std::move(tensor));
  }
  if (!traits().sharesHostMemory)
    OTODUS_RETURN_IF_ERROR(put(arenaData(kWeights), host, static_cast<size_t>(length) * 4));
  frozen.assign(parameters.size(), false);
  frozenWeights.resize(parameters.size());
  return Status::ok();
}

namespace {
/// True if the prepared bytes are those of the one tensor it is made from.
bool isPlain(const formats::Prepared &prepared, const formats::Parameter &parameter) {
  auto full = [](const formats::Width &width) { return width.padded() == width.logical(); };
  if (prepared.sources.size() != 1 || prepared.sources.front() != parameter.name ||
      prepared.dtype != DType::F32 || !full(prepared.columns))
    return false;
  int64_t elements = 1;
  for (int64_t extent : parameter.shape)
    elements *= extent;
  if (prepared.kind == formats::PrepareKind::Vector)
    return elements == prepared.columns.logical();
  return prepared.kind == formats::PrepareKind::Table && full(prepared.rows) &&
         elements == prepared.rows.logical() * prepared.columns.logical();
}
} // namespace

/// Packs anew what comes from trained tensors. On a device with memory of its own most weights lie as
/// the arena has them and are copied there; the others go by way of the host.
Status Trainer::Impl::refresh(const std::vector<const std::byte *> &prepared) {
  if (!stale)
    return Status::ok();
  bool copies = !traits().sharesHostMemory;
  std::vector<size_t> packed;
  for (size_t i = 0; i < prepared.size(); ++i) {
    const formats::Prepared &one = program().prepared[i];
    bool trained = std::any_of(one.sources.begin(), one.sources.end(), [&](const std::string &name) {
      return masters.find(name).isOk();
    });
    if (!trained)
      continue;
    auto *to = const_cast<std::byte *>(prepared[i]);
    const formats::Parameter *plain = nullptr;
    for (const formats::Parameter &parameter : program().parameters)
      if (copies && isPlain(one, parameter))
        plain = &parameter;
    if (!plain) {
      packed.push_back(i);
      continue;
    }
    OTODUS_RETURN_IF_ERROR(stream->copy(to, arenaData(kWeights) + plain->offset,
                                        static_cast<size_t>(formats::preparedBytes(one))));
  }
  std::vector<bool> fetched(parameters.size(), !copies);
  Memory staging;
  for (size_t i : packed) {
    const formats::Prepared &one = program().prepared[i];
    auto *to = const_cast<std::byte *>(prepared[i]);
    auto bytes = static_cast<size_t>(formats::preparedBytes(one));
    for (size_t p = 0; p < parameters.size(); ++p) {
      bool needed = std::find(one.sources.begin(), one.sources.end(), parameters[p].name) !=
                    one.sources.end();
      if (!needed || fetched[p])
        continue;
      fetched[p] = true;
      OTODUS_RETURN_IF_ERROR(get(hostWeights.data() + program().parameters[p].offset,
                                 at(TrainedValue::Weight, p),
                                 static_cast<size_t>(parameters[p].elements()) * 4));
    }
    if (copies && staging.size() < bytes) {
      staging.reset();
      Result<Memory> host = Memory::staging(device, bytes);
      if (!host.isOk())
        return host.status().in("staging memory for weights");
      staging = std::move(*host);
    }
    OTODUS_RETURN_IF_ERROR(prepare(one, masters, *pool, copies ? staging.data() : to));
    if (copies)
      OTODUS_RETURN_IF_ERROR(put(to, staging.data(), bytes));
  }
  OTODUS_RETURN_IF_ERROR(stream->synchronise());
  stale = false;
  return Status::ok();
}

//===----------------------------------------------------------------------===//
// Memory
//===----------------------------------------------------------------------===//

Status Trainer::Impl::put(void *to, const void *from, size_t bytes) {
  OTODUS_RETURN_IF_ERROR(stream->write(to, from, bytes));
  return stream->synchronise();
}

Status Trainer::Impl::get(void *to, const void *from, size_t bytes) {
  OTODUS_RETURN_IF_ERROR(stream->read(to, from, bytes));
  return stream->synchronise();
}

Status Trainer::Impl::clear(void *what, size_t bytes) {
  OTODUS_RETURN_IF_ERROR(stream->zero(what, bytes));
  return stream->synchronise();
}

Result<Memory> Trainer::Impl::allocate(int64_t bytes, const std::string &name) {
  Result<Memory> memory =
      Memory::allocate(device, static_cast<size_t>(std::max<int64_t>(bytes, 64)));
  if (!memory.isOk() || !traits().checksMemory)
    return memory;
  OTODUS_RETURN_IF_ERROR(device->announce(memory->data(), memory->size(), name));
  OTODUS_RETURN_IF_ERROR(clear(memory->data(), memory->size()));
  return memory;
}

/// Memory for states of `types` and the positions, zero-filled, one buffer per state.
Status Trainer::Impl::makeStates(const std::vector<formats::State> &types, int64_t sequences,
                                 Memory &memory, const char *prefix,
                                 std::vector<std::byte *> &addresses) {
  Result<StateMemory> plan = planStates(types, sequences, traits());
  if (!plan.isOk())
    return plan.status();
  Result<Memory> fresh =
      Memory::allocate(device, static_cast<size_t>(std::max<int64_t>(plan->bytes, 64)));
  if (!fresh.isOk())
    return fresh.status().in("states of " + std::to_string(sequences) + " sequences");
  memory = std::move(*fresh);
  addresses.clear();
  for (size_t i = 0; i < types.size(); ++i) {
    addresses.push_back(memory.data() + plan->states[i]);
    const formats::State &s = types[i];
    auto bytes = static_cast<size_t>(s.bytes() * sequences);
    if (traits().checksMemory)
      OTODUS_RETURN_IF_ERROR(device->announce(addresses.back(), bytes, prefix + s.name));
    OTODUS_RETURN_IF_ERROR(clear(addresses.back(), bytes));
  }
  return Status::ok();
}

Status Trainer::Impl::addGradientsOfStates() {
  if (stateGradients.size() > 0)
    return Status::ok();
  stateGradientTypes = gradientsOf(program().states);
  OTODUS_RETURN_IF_ERROR(makeStates(stateGradientTypes, batch, stateGradients,
                                    "gradient of state ", gradientsOfStates));
  int64_t bytes = stateBeforeBytes(program(), *gradientFunction) * batch;
  if (bytes == 0)
    return Status::ok();
  Result<Memory> memory = Memory::allocate(device, static_cast<size_t>(bytes));
  if (!memory.isOk())
    return memory.status().in("states of " + std::to_string(batch) + " sequences");
  stateBefore = std::move(*memory);
  int64_t offset = 0;
  for (size_t i = 0; i < states.size(); ++i) {
    // A call appends to an open chunk what it appended the first time.
    bool same = program().states[i].openChunk;
    statesBefore.push_back(same ? states[i] : stateBefore.data() + offset);
    offset += same ? 0 : bytesOfState(i);
    if (traits().checksMemory && !same)
      OTODUS_RETURN_IF_ERROR(device->announce(statesBefore.back(),
                                              static_cast<size_t>(bytesOfState(i)),
                                              "state before of " + program().states[i].name));
  }
  return Status::ok();
}

Status Trainer::Impl::setBatch(int64_t newBatch, const std::vector<std::vector<double>> &initial) {
  if (freshState.empty()) {
    for (size_t i = 0; i < program().states.size(); ++i) {
      const formats::State &s = program().states[i];
      stateBytes += s.bytes();
      std::vector<std::byte> &fresh = freshState.emplace_back();
      if (initial[i].empty() && s.initial == 0)
        continue; // zeros, which keys and values of a long chunk have many of
      std::vector<std::byte> logical(
          static_cast<size_t>(elementsOf(s) * formats::sizeOf(s.dtype)));
      for (int64_t e = 0; e < elementsOf(s); ++e) {
        double value = initial[i].empty() ? s.initial : initial[i][static_cast<size_t>(e)];
        std::byte *to = logical.data() + e * formats::sizeOf(s.dtype);
        if (s.dtype == DType::F32) {
          float number = static_cast<float>(value);
          std::memcpy(to, &number, 4);
        } else if (s.dtype == DType::I64) {
          int64_t number = std::llround(value);
          std::memcpy(to, &number, 8);
        } else if (value != 0) {
          return Status(Code::File, "state '" + s.name + "' starts as a number other than zero in "
                                        "a type that training does not know");
        }
      }
      fresh.resize(static_cast<size_t>(s.bytes()));
      scatterState(s, logical.data(), elementsOf(s), fresh.data());
    }
  }
  if (batch == newBatch)
    return Status::ok();
  bounds.clear();
  kept.reset();
  keptBytes = 0;
  batch = 0;
  Result<StateMemory> plan = planStates(program().states, newBatch, traits());
  if (!plan.isOk())
    return plan.status();
  for (Memory *memory : {&state, &stateGradients, &stateBefore})
    memory->reset();
  statesBefore.clear();
  OTODUS_RETURN_IF_ERROR(makeStates(program().states, newBatch, state, "state ", states));
  devicePositions = reinterpret_cast<int64_t *>(state.data() + plan->positions);
  if (traits().checksMemory)
    OTODUS_RETURN_IF_ERROR(
        device->announce(devicePositions, static_cast<size_t>(newBatch * 8), "positions"));
  positions.assign(static_cast<size_t>(newBatch), 0);
  batch = newBatch;
  return Status::ok();
}

/// Binds `function` to memory for calls of `length` steps.
Status Trainer::Impl::place(const Function &function, int64_t length, const FunctionMemory &memory,
                            Bound &bound, const std::vector<const std::byte *> &prepared) {
  // Arguments and scratch memory lie apart, though the plan has them in one block: integers of
  // one function must not be found as numbers by another.
  Result<Memory> arguments =
      Memory::allocate(device, static_cast<size_t>(std::max<int64_t>(memory.argumentBytes, 64)));
  if (!arguments.isOk())
    return arguments.status();
  bound.function = &function;
  bound.arguments = std::move(*arguments);
  std::byte *host = bound.arguments.data();
  if (!traits().sharesHostMemory) {
    Result<Memory> staging =
        Memory::staging(device, static_cast<size_t>(std::max<int64_t>(memory.argumentBytes, 64)));
    if (!staging.isOk())
      return staging.status().in("staging memory of function '" + function.name + "'");
    bound.staging = std::move(*staging);
    host = bound.staging.data();
  }
  for (int64_t offset : memory.inputs) {
    bound.inputs.push_back(bound.arguments.data() + offset);
    bound.hostInputs.push_back(host + offset);
  }
  for (int64_t offset : memory.outputs) {
    bound.outputs.push_back(bound.arguments.data() + offset);
    bound.hostOutputs.push_back(host + offset);
  }
  std::byte *block = traits().checksMemory ? bound.own.data() : scratch.data();
  std::vector<void *> &buffers = bound.buffers;
  for (size_t i = 0; i < function.buffers.size(); ++i) {
    const Buffer &buffer = function.buffers[i];
    auto index = static_cast<size_t>(buffer.index);
    switch (buffer.kind) {
    case BufferKind::Prepared:
      buffers.push_back(const_cast<std::byte *>(prepared[index]));
      break;
    case BufferKind::State:
      buffers.push_back(states[index]);
      break;
    case BufferKind::Input:
      buffers.push_back(bound.inputs[index]);
      break;
    case BufferKind::Output:
      buffers.push_back(bound.outputs[index]);
      break;
    case BufferKind::Scratch:
      buffers.push_back(block + memory.buffers[i] - memory.argumentBytes);
      break;
    case BufferKind::Position:
      buffers.push_back(devicePositions);
      break;
    case BufferKind::Gradient:
      buffers.push_back(at(TrainedValue::Gradient, index));
      break;
    case BufferKind::StateGradient:
      buffers.push_back(gradientsOfStates[index]);
      break;
    case BufferKind::StateBefore:
      buffers.push_back(statesBefore[index]);
      break;
    case BufferKind::Sampling: // of inference
      buffers.push_back(nullptr);
      break;
    case BufferKind::Scalars:
      buffers.push_back(scalars.data() + index * formats::kTrainingScalars * 4);
      break;
    case BufferKind::Arena:
      buffers.push_back(arena[index].data());
      break;
    }
  }
  std::vector<int> chosen = formats::chooseVariants(function, batch, length);
  for (size_t i = 0; i < function.launches.size(); ++i) {
    if (chosen[i] == formats::kLeftOut)
      continue;
    const Launch &launch = function.launches[i];
    auto best = static_cast<size_t>(chosen[i]);
    const Variant &variant = launch.variants[best];
    Step step;
    step.launch = &launch;
    step.kernel = model->image_->find(variant.entry);
    step.items = formats::itemsOf(variant, batch, length);
    step.firstPointer = bound.pointers.size();
    for (int64_t index : launch.buffers)
      bound.pointers.push_back(buffers[static_cast<size_t>(index)]);
    auto [known, inserted] = profileIndex.try_emplace({&launch, best}, profiles.size());
    if (inserted)
      profiles.push_back({function.name, launch.name, variant.rowTile, 0, 0});
    step.profile = known->second;
    OTODUS_RETURN_IF_ERROR(encodeMaps(*device, *step.kernel, launch.name,
                                      bound.pointers.data() + step.firstPointer, batch, length,
                                      step.maps));
    bound.steps.push_back(std::move(step));
  }
  return announceBuffers(*device, {function, bound.inputs, bound.outputs, bound.buffers}, batch,
                         length);
}

Result<Trainer::Impl::Bound *>
Trainer::Impl::bind(const Function &function, int64_t length,
                    const std::vector<const std::byte *> &prepared) {
  auto key = std::make_tuple(&function, batch, length);
  if (auto found = bounds.find(key); found != bounds.end())
    return &found->second;
  Result<FunctionMemory> memory = planFunction(function, batch, length, device->traits());
  if (!memory.isOk())
    return memory.status();
  int64_t bytes = std::max<int64_t>(memory->bytes - memory->argumentBytes, 64);
  Bound bound;
  if (traits().checksMemory) {
    Result<Memory> own = Memory::allocate(device, static_cast<size_t>(bytes));
    if (!own.isOk())
      return own.status().in("scratch memory of function '" + function.name + "'");
    bound.own = std::move(*own);
  } else if (bytes > static_cast<int64_t>(scratch.size())) {
    bounds.clear(); // their pointers go
    scratch.reset();
    Result<Memory> block = Memory::allocate(device, static_cast<size_t>(bytes));
    if (!block.isOk())
      return block.status().in("activations of " + std::to_string(batch) + " sequences of " +
                               std::to_string(length) + " steps");
    scratch = std::move(*block);
  }
  OTODUS_RETURN_IF_ERROR(place(function, length, *memory, bound, prepared));
  // Many lengths (documents) must not pile up.
  if (bounds.size() > 256)
    bounds.clear();
  return &(bounds[key] = std::move(bound));
}

Status Trainer::Impl::run(Bound &bound, int64_t sequences, int64_t length) {
  FlushDenormals flush;
  if (traits().checksMemory)
    OTODUS_RETURN_IF_ERROR(forgetBuffers(
        *stream, {*bound.function, bound.inputs, bound.outputs, bound.buffers}, sequences, length));
  if (profiling)
    OTODUS_RETURN_IF_ERROR(stream->mark());
  KernelCall call;
  call.batch = sequences;
  call.length = length;
  call.rows = sequences * length;
  for (const Step &step : bound.steps) {
    call.kernel = step.kernel;
    call.name = step.launch->name.c_str();
    call.buffers = bound.pointers.data() + step.firstPointer;
    call.bufferCount = step.launch->buffers.size();
    call.items = step.items;
    call.tensorMaps = step.maps.empty() ? nullptr : step.maps.front().bytes;
    OTODUS_RETURN_IF_ERROR(stream->launch(call));
    if (profiling)
      OTODUS_RETURN_IF_ERROR(stream->mark());
  }
  OTODUS_RETURN_IF_ERROR(stream->synchronise());
  if (!profiling)
    return Status::ok();
  Result<std::vector<int64_t>> times = stream->times();
  if (!times.isOk())
    return times.status();
  for (size_t i = 0; i < bound.steps.size() && i < times->size(); ++i) {
    profiles[bound.steps[i].profile].nanoseconds += (*times)[i];
    ++profiles[bound.steps[i].profile].calls;
  }
  return Status::ok();
}

//===----------------------------------------------------------------------===//
// States between pieces
//===----------------------------------------------------------------------===//

Status Trainer::Impl::setNoise(const TokenBatch &tokens) {
  constexpr size_t kWords = formats::kTrainingScalars;
  std::vector<uint32_t> words(static_cast<size_t>(noises) * kWords, 0);
  for (size_t n = 0; n < static_cast<size_t>(noises); ++n) {
    uint32_t *to = words.data() + n * kWords;
    to[0] = static_cast<uint32_t>(tokens.seed);
    to[1] = static_cast<uint32_t>(tokens.seed >> 32);
    to[2] = static_cast<uint32_t>(tokens.step);
    to[3] = static_cast<uint32_t>(n);
  }
  return words.empty() ? Status::ok()
                       : put(scalars.data() + kWords * 4, words.data(), words.size() * 4);
}

Status Trainer::Impl::keep(int64_t slot) {
  std::byte *to = kept.data() + slot * stateBytes * batch;
  for (size_t i = 0; i < states.size(); to += bytesOfState(i), ++i)
    OTODUS_RETURN_IF_ERROR(stream->copy(to, states[i], static_cast<size_t>(bytesOfState(i))));
  return stream->synchronise();
}

Status Trainer::Impl::restore(int64_t slot) {
  const std::byte *from = kept.data() + slot * stateBytes * batch;
  for (size_t i = 0; i < states.size(); from += bytesOfState(i), ++i)
    OTODUS_RETURN_IF_ERROR(stream->copy(states[i], from, static_cast<size_t>(bytesOfState(i))));
  return stream->synchronise();
}

Status Trainer::Impl::keepBefore() {
  for (size_t i = 0; i < statesBefore.size(); ++i)
    if (statesBefore[i] != states[i])
      OTODUS_RETURN_IF_ERROR(
          stream->copy(statesBefore[i], states[i], static_cast<size_t>(bytesOfState(i))));
  return Status::ok();
}

Status Trainer::Impl::startDocument(int64_t row) {
  for (size_t i = 0; i < states.size(); ++i) {
    auto bytes = static_cast<size_t>(program().states[i].bytes());
    std::byte *to = states[i] + static_cast<size_t>(row) * bytes;
    OTODUS_RETURN_IF_ERROR(freshState[i].empty() ? clear(to, bytes)
                                                 : put(to, freshState[i].data(), bytes));
  }
  positions[static_cast<size_t>(row)] = 0;
  return Status::ok();
}

} // namespace otodus::runtime

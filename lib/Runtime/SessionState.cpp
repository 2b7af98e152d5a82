//===- SessionState.cpp - A session's state, in and out --------------------===//

#include "Numbers.h"
#include "SessionImpl.h"
#include "StateLayout.h"
#include "otodus/Formats/StateFile.h"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace otodus::runtime {

using formats::DType;

namespace {

bool isInteger(DType dtype) {
  return dtype == DType::I64 || dtype == DType::I32 || dtype == DType::Bool;
}

double numberAt(DType dtype, const void *data, int64_t index) {
  switch (dtype) {
  case DType::F32:
    return static_cast<const float *>(data)[index];
  case DType::BF16:
    return fromBf16(static_cast<const uint16_t *>(data)[index]);
  default:
    return static_cast<const double *>(data)[index];
  }
}

void putInteger(DType dtype, void *data, int64_t index, int64_t value) {
  switch (dtype) {
  case DType::I64:
    static_cast<int64_t *>(data)[index] = value;
    return;
  case DType::I32:
    static_cast<int32_t *>(data)[index] = static_cast<int32_t>(value);
    return;
  default:
    static_cast<uint8_t *>(data)[index] = value != 0;
  }
}

void putNumber(DType dtype, void *data, int64_t index, double value) {
  switch (dtype) {
  case DType::F32:
    static_cast<float *>(data)[index] = static_cast<float>(value);
    return;
  case DType::BF16:
    static_cast<uint16_t *>(data)[index] = toBf16(static_cast<float>(value));
    return;
  case DType::F64:
    static_cast<double *>(data)[index] = value;
    return;
  default:
    putInteger(dtype, data, index, std::llround(value));
  }
}

/// Bytes of `count` elements.
size_t bytesOf(const formats::State &state, int64_t count) {
  return static_cast<size_t>(count * formats::sizeOf(state.dtype));
}

} // namespace

//===----------------------------------------------------------------------===//
// One state of one sequence
//===----------------------------------------------------------------------===//

Status Session::Impl::fetch(const formats::State &s, const std::byte *memory, int64_t b,
                            int64_t count, void *logical) const {
  memory += b * s.bytes();
  std::vector<std::byte> copy;
  if (!traits().sharesHostMemory) {
    OTODUS_RETURN_IF_ERROR(failed);
    copy.resize(static_cast<size_t>(s.bytes()));
    OTODUS_RETURN_IF_ERROR(stream->read(copy.data(), memory, copy.size()));
    OTODUS_RETURN_IF_ERROR(stream->synchronise());
    memory = copy.data();
  }
  gatherState(s, memory, count, logical);
  return Status::ok();
}

Status Session::Impl::store(const formats::State &s, std::byte *memory, int64_t b,
                            const void *logical, int64_t count) {
  memory += b * s.bytes();
  auto bytes = static_cast<size_t>(s.bytes());
  if (traits().sharesHostMemory) {
    std::memset(memory, 0, bytes);
    scatterState(s, logical, count, memory);
    return Status::ok();
  }
  OTODUS_RETURN_IF_ERROR(failed);
  std::vector<std::byte> copy(bytes, std::byte(0));
  scatterState(s, logical, count, copy.data());
  OTODUS_RETURN_IF_ERROR(stream->write(memory, copy.data(), bytes));
  return stream->synchronise();
}

//===----------------------------------------------------------------------===//
// Fresh sequences
//===----------------------------------------------------------------------===//

Status Session::Impl::allocateState(const std::vector<std::vector<double>> &initial) {
  Result<StateMemory> plan = planStates(program().states, batch, traits());
  if (!plan.isOk())
    return plan.status();
  Result<Memory> memory = Memory::allocate(model->device_, static_cast<size_t>(plan->bytes));
  if (!memory.isOk())
    return memory.status().in("state of " + std::to_string(batch) + " sequences");
  state = std::move(*memory);
  devicePositions = reinterpret_cast<int64_t *>(state.data() + plan->positions);
  hostPositions = devicePositions; // unless there is staging memory
  if (traits().checksMemory)
    OTODUS_RETURN_IF_ERROR(model->device_->announce(
        devicePositions, static_cast<size_t>(batch * 8), "positions"));
  if (int64_t bytes = samplingBytes(program())) {
    Result<Memory> options = Memory::allocate(model->device_, static_cast<size_t>(bytes));
    if (!options.isOk())
      return options.status().in("options of sampling");
    samplingMemory = std::move(*options);
    deviceSampling = reinterpret_cast<int32_t *>(samplingMemory.data());
    if (traits().checksMemory)
      OTODUS_RETURN_IF_ERROR(model->device_->announce(
          deviceSampling, formats::kSamplingWords * 4, "options of sampling"));
    OTODUS_RETURN_IF_ERROR(writeSampling());
  }
  for (size_t i = 0; i < plan->states.size(); ++i) {
    const formats::State &s = program().states[i];
    states.push_back(state.data() + plan->states[i]);
    if (traits().checksMemory)
      OTODUS_RETURN_IF_ERROR(model->device_->announce(
          states.back(), static_cast<size_t>(batch * s.bytes()), "state " + s.name));
  }
  positions.assign(static_cast<size_t>(batch), 0);
  note();
  // Pages of an open chunk stay untouched.
  return resetState(initial, /*alreadyZero=*/!traits().checksMemory);
}

Status Session::Impl::resetState(const std::vector<std::vector<double>> &initial,
                                 bool alreadyZero) {
  std::fill(positions.begin(), positions.end(), 0);
  for (size_t i = 0; i < states.size(); ++i) {
    const formats::State &s = program().states[i];
    const std::vector<double> &values = initial[i];
    if (values.empty() && s.initial == 0) {
      if (!alreadyZero)
        OTODUS_RETURN_IF_ERROR(stream->zero(states[i], static_cast<size_t>(s.bytes() * batch)));
      continue;
    }
    int64_t count = elementsOf(s);
    std::vector<std::byte> logical(bytesOf(s, count));
    for (int64_t e = 0; e < count; ++e)
      putNumber(s.dtype, logical.data(), e,
                values.empty() ? s.initial : values[static_cast<size_t>(e)]);
    for (int64_t b = 0; b < batch; ++b)
      OTODUS_RETURN_IF_ERROR(store(s, states[i], b, logical.data(), count));
  }
  return stream->synchronise();
}

void Session::reset() {
  impl_->failed = Status::ok();
  impl_->failed = impl_->resetState(impl_->model->initial_, /*alreadyZero=*/false);
}

//===----------------------------------------------------------------------===//
// Sampling
//===----------------------------------------------------------------------===//

Status Session::Impl::writeSampling() {
  if (!deviceSampling)
    return Status::ok();
  auto words = samplingWords(sampling);
  OTODUS_RETURN_IF_ERROR(stream->write(deviceSampling, words.data(), sizeof(words)));
  return stream->synchronise();
}

Status Session::setSampling(const Sampling &sampling) {
  OTODUS_RETURN_IF_ERROR(sampling.validate());
  OTODUS_RETURN_IF_ERROR(impl_->failed);
  impl_->sampling = sampling;
  return impl_->writeSampling();
}

//===----------------------------------------------------------------------===//
// Copies and files
//===----------------------------------------------------------------------===//

Result<std::unique_ptr<Session>> Session::fork() const {
  SessionOptions options = impl_->options;
  options.pool = impl_->pool;
  Result<std::unique_ptr<Session>> copy = create(impl_->model, options);
  if (!copy.isOk())
    return copy;
  Impl &other = *(*copy)->impl_;
  OTODUS_RETURN_IF_ERROR(impl_->failed);
  for (size_t i = 0; i < other.states.size(); ++i)
    OTODUS_RETURN_IF_ERROR(
        other.stream->copy(other.states[i], impl_->states[i],
                           static_cast<size_t>(impl_->program().states[i].bytes() * impl_->batch)));
  OTODUS_RETURN_IF_ERROR(other.stream->synchronise());
  other.positions = impl_->positions;
  OTODUS_RETURN_IF_ERROR((*copy)->setSampling(impl_->sampling));
  return copy;
}

Status Session::save(const std::string &path) const {
  const Impl &impl = *impl_;
  formats::StateFile file;
  file.modelHash = impl.artefact().modelHash;
  file.dtype = impl.artefact().dtype;
  file.chunk = impl.modelChunk();
  file.positions = impl.positions;
  for (size_t i = 0; i < impl.states.size(); ++i) {
    const formats::State &state = impl.program().states[i];
    formats::StateTensor tensor{state.name, state.dtype, state.shape, state.openChunk, {}};
    for (int64_t b = 0; b < impl.batch; ++b) {
      int64_t count = impl.meaningful(state, b);
      std::vector<uint8_t> bytes(bytesOf(state, count));
      OTODUS_RETURN_IF_ERROR(impl.fetch(state, impl.states[i], b, count, bytes.data()));
      tensor.sequences.push_back(std::move(bytes));
    }
    file.states.push_back(std::move(tensor));
  }
  return formats::writeStateFile(path, file);
}

Status Session::restore(const std::string &path) {
  Impl &impl = *impl_;
  Result<formats::StateFile> file = formats::readStateFile(path);
  if (!file.isOk())
    return file.status();
  OTODUS_RETURN_IF_ERROR(formats::checkState(*file, impl.artefact(), path));
  if (file->positions.size() != impl.positions.size())
    return Status(Code::File, path + ": holds " + std::to_string(file->positions.size()) +
                                  " sequences, but the session has " + std::to_string(impl.batch));
  // All of it is checked before the session changes.
  std::vector<const formats::StateTensor *> tensors;
  for (const formats::State &state : impl.program().states) {
    const formats::StateTensor *found = nullptr;
    for (const formats::StateTensor &tensor : file->states)
      if (tensor.name == state.name)
        found = &tensor;
    if (!found || found->shape != state.shape || found->dtype != state.dtype ||
        found->openChunk != state.openChunk || found->sequences.size() != impl.positions.size())
      return Status(Code::File, path + ": has no state '" + state.name +
                                    "' as this model needs it; it was saved by another model");
    for (int64_t b = 0; b < impl.batch; ++b) {
      int64_t count = elementsOf(state);
      if (state.openChunk)
        count = file->positions[b] %
                std::max<int64_t>(1, state.shape.empty() ? 1 : state.shape[0]) *
                elementsPerEntry(state);
      if (file->positions[b] < 0 ||
          static_cast<int64_t>(found->sequences[b].size()) != count * formats::sizeOf(state.dtype))
        return Status(Code::File, path + ": state '" + state.name + "' of sequence " +
                                      std::to_string(b) + " has " +
                                      std::to_string(found->sequences[b].size()) +
                                      " bytes, expected " +
                                      std::to_string(count * formats::sizeOf(state.dtype)));
    }
    tensors.push_back(found);
  }
  impl.positions = file->positions;
  for (size_t i = 0; i < tensors.size(); ++i) {
    const formats::State &state = impl.program().states[i];
    for (int64_t b = 0; b < impl.batch; ++b)
      OTODUS_RETURN_IF_ERROR(
          impl.store(state, impl.states[i], b, tensors[i]->sequences[b].data(),
                     impl.meaningful(state, b)));
  }
  return Status::ok();
}

//===----------------------------------------------------------------------===//
// Positions, and states by name
//===----------------------------------------------------------------------===//

const std::vector<int64_t> &Session::positions() const { return impl_->positions; }

Status Session::setPositions(const std::vector<int64_t> &positions) {
  if (positions.size() != impl_->positions.size())
    return Status(Code::Usage, "expected " + std::to_string(impl_->batch) + " positions, found " +
                                   std::to_string(positions.size()));
  for (int64_t position : positions)
    if (position < 0)
      return Status(Code::Usage,
                    "expected positions of at least 0, found " + std::to_string(position));
  impl_->positions = positions;
  return Status::ok();
}

Result<size_t> Session::Impl::findState(const std::string &name) const {
  for (size_t i = 0; i < program().states.size(); ++i)
    if (program().states[i].name == name)
      return i;
  return Status(Code::Usage, "the model has no state '" + name + "'");
}

Result<Tensor> Session::Impl::read(const formats::State &s, const std::byte *memory) const {
  int64_t elements = elementsOf(s);
  Tensor result;
  result.dtype = isInteger(s.dtype) ? DType::I64 : DType::F32;
  result.shape = {batch};
  result.shape.insert(result.shape.end(), s.shape.begin(), s.shape.end());
  result.data.resize(static_cast<size_t>(batch * elements * formats::sizeOf(result.dtype)));
  std::vector<std::byte> logical(bytesOf(s, elements));
  for (int64_t b = 0; b < batch; ++b) {
    int64_t count = meaningful(s, b);
    OTODUS_RETURN_IF_ERROR(fetch(s, memory, b, count, logical.data()));
    for (int64_t e = 0; e < count; ++e) {
      if (result.dtype == DType::I64)
        reinterpret_cast<int64_t *>(result.data.data())[b * elements + e] =
            integerAt(s.dtype, logical.data(), e);
      else
        reinterpret_cast<float *>(result.data.data())[b * elements + e] =
            static_cast<float>(numberAt(s.dtype, logical.data(), e));
    }
  }
  return result;
}

Status Session::Impl::write(const formats::State &s, std::byte *memory, const TensorView &value) {
  std::vector<int64_t> shape = {batch};
  shape.insert(shape.end(), s.shape.begin(), s.shape.end());
  if (value.shape != shape || isInteger(value.dtype) != isInteger(s.dtype))
    return Status(Code::Usage, "state '" + s.name + "': expected " + nameOf(s.dtype) + " " +
                                   formats::shapeToString(shape) + ", found " +
                                   nameOf(value.dtype) + " " + formats::shapeToString(value.shape));
  int64_t elements = elementsOf(s);
  if (!value.data && elements > 0)
    return Status(Code::Usage, "state '" + s.name + "': the data pointer is null");
  std::vector<std::byte> logical(bytesOf(s, elements));
  for (int64_t b = 0; b < batch; ++b) {
    for (int64_t e = 0; e < elements; ++e) {
      int64_t from = b * elements + e;
      if (isInteger(s.dtype))
        putInteger(s.dtype, logical.data(), e, integerAt(value.dtype, value.data, from));
      else
        putNumber(s.dtype, logical.data(), e, numberAt(value.dtype, value.data, from));
    }
    OTODUS_RETURN_IF_ERROR(store(s, memory, b, logical.data(), elements));
  }
  return Status::ok();
}

Result<Tensor> Session::state(const std::string &name) const {
  Result<size_t> index = impl_->findState(name);
  if (!index.isOk())
    return index.status();
  return impl_->read(impl_->program().states[*index], impl_->states[*index]);
}

Status Session::setState(const std::string &name, const TensorView &value) {
  Result<size_t> index = impl_->findState(name);
  if (!index.isOk())
    return index.status();
  return impl_->write(impl_->program().states[*index], impl_->states[*index], value);
}

} // namespace otodus::runtime

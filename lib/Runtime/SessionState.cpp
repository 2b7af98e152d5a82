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

//===----------------------------------------------------------------------===//
// Fresh sequences
//===----------------------------------------------------------------------===//

Status Session::Impl::allocateState(const std::vector<std::vector<double>> &initial) {
  int64_t total = roundUp(batch * 8, 64);
  std::vector<int64_t> offsets;
  for (const formats::State &s : program().states) {
    int64_t bytes = 0;
    offsets.push_back(total);
    if (__builtin_mul_overflow(batch, s.bytes(), &bytes) ||
        __builtin_add_overflow(total, bytes, &total))
      return Status(Code::Device, "the state of " + std::to_string(batch) +
                                      " sequences does not fit into memory");
  }
  Result<Memory> memory = Memory::allocate(model->device(), static_cast<size_t>(total));
  if (!memory.isOk())
    return memory.status().in("state of " + std::to_string(batch) + " sequences");
  state = std::move(*memory);
  devicePositions = reinterpret_cast<int64_t *>(state.data());
  for (int64_t offset : offsets)
    states.push_back(state.data() + offset);
  positions.assign(static_cast<size_t>(batch), 0);
  note();
  resetState(initial, /*alreadyZero=*/true); // pages of an open chunk stay untouched
  return Status::ok();
}

void Session::Impl::resetState(const std::vector<std::vector<double>> &initial, bool alreadyZero) {
  std::fill(positions.begin(), positions.end(), 0);
  for (size_t i = 0; i < states.size(); ++i) {
    const formats::State &s = program().states[i];
    int64_t bytes = s.bytes(), count = elementsOf(s);
    if (!alreadyZero)
      std::memset(states[i], 0, static_cast<size_t>(bytes * batch));
    const std::vector<double> &values = initial[i];
    if (values.empty() && s.initial == 0)
      continue;
    std::vector<std::byte> logical(static_cast<size_t>(count * formats::sizeOf(s.dtype)));
    for (int64_t e = 0; e < count; ++e) {
      double value = values.empty() ? s.initial : values[e];
      void *at = logical.data() + e * formats::sizeOf(s.dtype);
      switch (s.dtype) {
      case DType::F32:
        *static_cast<float *>(at) = static_cast<float>(value);
        break;
      case DType::BF16:
        *static_cast<uint16_t *>(at) = toBf16(static_cast<float>(value));
        break;
      case DType::F64:
        *static_cast<double *>(at) = value;
        break;
      case DType::I64:
        *static_cast<int64_t *>(at) = std::llround(value);
        break;
      case DType::I32:
        *static_cast<int32_t *>(at) = static_cast<int32_t>(std::llround(value));
        break;
      case DType::Bool:
        *static_cast<uint8_t *>(at) = value != 0;
        break;
      }
    }
    for (int64_t b = 0; b < batch; ++b)
      scatterState(s, logical.data(), count, states[i] + b * bytes);
  }
}

void Session::reset() { impl_->resetState(impl_->model->initial_, /*alreadyZero=*/false); }

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
  std::memcpy(other.state.data(), impl_->state.data(), impl_->state.size());
  other.positions = impl_->positions;
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
      std::vector<uint8_t> bytes(static_cast<size_t>(count * formats::sizeOf(state.dtype)));
      gatherState(state, impl.states[i] + b * state.bytes(), count, bytes.data());
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
    std::memset(impl.states[i], 0, static_cast<size_t>(state.bytes() * impl.batch));
    for (int64_t b = 0; b < impl.batch; ++b)
      scatterState(state, tensors[i]->sequences[b].data(), impl.meaningful(state, b),
                   impl.states[i] + b * state.bytes());
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

namespace {

const formats::State *findState(const formats::Program &program, const std::string &name,
                                size_t &index) {
  for (index = 0; index < program.states.size(); ++index)
    if (program.states[index].name == name)
      return &program.states[index];
  return nullptr;
}

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

} // namespace

Result<Tensor> Session::state(const std::string &name) const {
  const Impl &impl = *impl_;
  size_t index = 0;
  const formats::State *state = findState(impl.program(), name, index);
  if (!state)
    return Status(Code::Usage, "the model has no state '" + name + "'");
  int64_t elements = elementsOf(*state), size = formats::sizeOf(state->dtype);
  Tensor result;
  result.dtype = isInteger(state->dtype) ? DType::I64 : DType::F32;
  result.shape = {impl.batch};
  result.shape.insert(result.shape.end(), state->shape.begin(), state->shape.end());
  result.data.resize(static_cast<size_t>(impl.batch * elements * formats::sizeOf(result.dtype)));
  std::vector<std::byte> logical(static_cast<size_t>(elements * size));
  for (int64_t b = 0; b < impl.batch; ++b) {
    int64_t count = impl.meaningful(*state, b);
    gatherState(*state, impl.states[index] + b * state->bytes(), count, logical.data());
    for (int64_t e = 0; e < count; ++e) {
      if (result.dtype == DType::I64)
        reinterpret_cast<int64_t *>(result.data.data())[b * elements + e] =
            integerAt(state->dtype, logical.data(), e);
      else
        reinterpret_cast<float *>(result.data.data())[b * elements + e] =
            static_cast<float>(numberAt(state->dtype, logical.data(), e));
    }
  }
  return result;
}

Status Session::setState(const std::string &name, const TensorView &value) {
  Impl &impl = *impl_;
  size_t index = 0;
  const formats::State *state = findState(impl.program(), name, index);
  if (!state)
    return Status(Code::Usage, "the model has no state '" + name + "'");
  std::vector<int64_t> shape = {impl.batch};
  shape.insert(shape.end(), state->shape.begin(), state->shape.end());
  if (value.shape != shape || isInteger(value.dtype) != isInteger(state->dtype))
    return Status(Code::Usage, "state '" + name + "': expected " + nameOf(state->dtype) + " " +
                                   formats::shapeToString(shape) + ", found " +
                                   nameOf(value.dtype) + " " + formats::shapeToString(value.shape));
  int64_t elements = elementsOf(*state), size = formats::sizeOf(state->dtype);
  if (!value.data && elements > 0)
    return Status(Code::Usage, "state '" + name + "': the data pointer is null");
  std::vector<std::byte> logical(static_cast<size_t>(elements * size));
  for (int64_t b = 0; b < impl.batch; ++b) {
    for (int64_t e = 0; e < elements; ++e) {
      int64_t from = b * elements + e;
      void *to = logical.data() + e * size;
      switch (state->dtype) {
      case DType::F32:
        *static_cast<float *>(to) = static_cast<float>(numberAt(value.dtype, value.data, from));
        break;
      case DType::BF16:
        *static_cast<uint16_t *>(to) =
            toBf16(static_cast<float>(numberAt(value.dtype, value.data, from)));
        break;
      case DType::F64:
        *static_cast<double *>(to) = numberAt(value.dtype, value.data, from);
        break;
      case DType::I64:
        *static_cast<int64_t *>(to) = integerAt(value.dtype, value.data, from);
        break;
      case DType::I32:
        *static_cast<int32_t *>(to) =
            static_cast<int32_t>(integerAt(value.dtype, value.data, from));
        break;
      case DType::Bool:
        *static_cast<uint8_t *>(to) = integerAt(value.dtype, value.data, from) != 0;
        break;
      }
    }
    scatterState(*state, logical.data(), elements, impl.states[index] + b * state->bytes());
  }
  return Status::ok();
}

} // namespace otodus::runtime

//===- SessionGradients.cpp - Gradients of single functions ----------------===//

#include "SessionImpl.h"

#include "MemoryPlan.h"

#include <cstring>

namespace otodus::runtime {

using formats::Function;

Status Session::Impl::allocateTraining() {
  if (gradients)
    return Status::ok();
  int64_t arena = std::max<int64_t>(16, program().arenaElements) * 4;
  int64_t unit = std::max<int64_t>(64, traits().alignment), total = 0;
  auto place = [&](int64_t bytes) {
    int64_t at = total;
    total += roundUp(bytes + traits().guard, unit);
    return at;
  };
  place(arena);
  int64_t ofScalars = place(formats::kTrainingScalars * 4);
  std::vector<int64_t> offsets;
  stateGradientTypes = gradientsOf(program().states);
  for (const formats::State &s : stateGradientTypes)
    offsets.push_back(place(s.bytes() * batch));
  Result<Memory> memory = Memory::allocate(model->device_, static_cast<size_t>(total));
  if (!memory.isOk())
    return memory.status().in("gradients");
  // On a device that checks memory each is a buffer with a name.
  auto start = [&](int64_t at, int64_t bytes, const std::string &name) {
    std::byte *begin = memory->data() + at;
    if (traits().checksMemory)
      OTODUS_RETURN_IF_ERROR(
          model->device_->announce(begin, static_cast<size_t>(bytes), name));
    return stream->zero(begin, static_cast<size_t>(bytes));
  };
  OTODUS_RETURN_IF_ERROR(start(0, arena, "gradients"));
  OTODUS_RETURN_IF_ERROR(start(ofScalars, formats::kTrainingScalars * 4, "scalars"));
  for (size_t i = 0; i < offsets.size(); ++i)
    OTODUS_RETURN_IF_ERROR(start(offsets[i], stateGradientTypes[i].bytes() * batch,
                                 "gradient of state " + stateGradientTypes[i].name));
  OTODUS_RETURN_IF_ERROR(stream->synchronise());
  training = std::move(*memory);
  gradients = reinterpret_cast<float *>(training.data());
  scalars = reinterpret_cast<float *>(training.data() + ofScalars);
  for (int64_t offset : offsets)
    stateGradients.push_back(training.data() + offset);
  for (Plan &plan : plans)
    if (trains(*plan.function))
      plan.capacity = 0; // bound without them
  return Status::ok();
}

namespace {

/// Steps [begin, end) of [batch, length, …], row-major.
struct Slice {
  Slice(const void *data, formats::DType dtype, const std::vector<int64_t> &shape, int64_t begin,
        int64_t end)
      : shape(shape) {
    this->shape[1] = end - begin;
    step = formats::sizeOf(dtype);
    for (size_t d = 2; d < shape.size(); ++d)
      step *= shape[d];
    bytes.resize(static_cast<size_t>(shape[0] * (end - begin) * step));
    if (data)
      move(const_cast<void *>(data), shape[1], begin, /*out=*/false);
  }
  void move(void *data, int64_t length, int64_t begin, bool out) {
    auto *whole = static_cast<std::byte *>(data);
    int64_t piece = shape[1] * step;
    for (int64_t b = 0; b < shape[0]; ++b) {
      std::byte *own = bytes.data() + b * piece, *at = whole + (b * length + begin) * step;
      std::memcpy(out ? at : own, out ? own : at, static_cast<size_t>(piece));
    }
  }
  std::vector<int64_t> shape;
  int64_t step = 0;
  std::vector<std::byte> bytes;
};

} // namespace

Status Session::differentiate(const std::string &forward, const std::string &gradients,
                              const std::map<std::string, TensorView> &inputs,
                              const std::map<std::string, MutableTensorView> &outputs) {
  Impl &impl = *impl_;
  const Function *first = impl.model->function(forward), *second = impl.model->function(gradients);
  if (!first || !second)
    return Status(Code::Input, "expected the functions '" + forward + "' and '" + gradients + "'");
  for (const formats::Buffer &buffer : second->buffers)
    if (buffer.kind == formats::BufferKind::StateBefore)
      return Status(Code::Input, "function '" + gradients + "' computes activations again, which "
                                 "only training does; compile it without a memory budget");
  OTODUS_RETURN_IF_ERROR(impl.allocateTraining());
  int64_t length = -1;
  for (const auto &[name, view] : inputs) {
    if (view.shape.size() < 2 || view.shape[0] != impl.batch ||
        (length >= 0 && view.shape[1] != length) || !view.data)
      return Status(Code::Input, "input '" + name + "': expected [" + std::to_string(impl.batch) +
                                     ", length, ...] of one length, found " +
                                     formats::shapeToString(view.shape));
    length = view.shape[1];
  }
  for (const auto &[name, view] : outputs)
    if (view.shape.size() < 2 || view.shape[0] != impl.batch || view.shape[1] != length)
      return Status(Code::Input, "output '" + name + "': expected [" + std::to_string(impl.batch) +
                                     ", " + std::to_string(length) + ", ...], found " +
                                     formats::shapeToString(view.shape));
  if (length <= 0)
    return Status::ok();

  auto call = [&](const Function &function, int64_t begin, int64_t end) -> Status {
    std::vector<std::pair<std::string, Slice>> in, out;
    for (const auto &[name, view] : inputs)
      for (const formats::Argument &argument : function.inputs)
        if (argument.name == name)
          in.emplace_back(name, Slice(view.data, view.dtype, view.shape, begin, end));
    for (const auto &[name, view] : outputs)
      for (const formats::Argument &argument : function.outputs)
        if (argument.name == name)
          out.emplace_back(name, Slice(nullptr, view.dtype, view.shape, begin, end));
    std::map<std::string, TensorView> views;
    std::map<std::string, MutableTensorView> targets;
    for (auto &[name, slice] : in)
      views[name] = {inputs.at(name).dtype, slice.shape, slice.bytes.data()};
    for (auto &[name, slice] : out)
      targets[name] = {outputs.at(name).dtype, slice.shape, slice.bytes.data()};
    OTODUS_RETURN_IF_ERROR(run(function.name, views, targets));
    for (auto &[name, slice] : out)
      slice.move(outputs.at(name).data, length, begin, /*out=*/true);
    return Status::ok();
  };

  struct Piece {
    int64_t begin, end;
    std::vector<std::byte> state;
    std::vector<int64_t> positions;
  };
  std::vector<Piece> pieces;
  // All states, one after the other.
  auto move = [&](Piece &piece, bool in) -> Status {
    size_t at = 0;
    for (size_t i = 0; i < impl.states.size(); ++i) {
      auto bytes = static_cast<size_t>(impl.program().states[i].bytes() * impl.batch);
      if (!in)
        piece.state.resize(at + bytes);
      std::byte *host = piece.state.data() + at;
      OTODUS_RETURN_IF_ERROR(in ? impl.stream->write(impl.states[i], host, bytes)
                                : impl.stream->read(host, impl.states[i], bytes));
      OTODUS_RETURN_IF_ERROR(impl.stream->synchronise());
      at += bytes;
    }
    (in ? impl.positions : piece.positions) = in ? piece.positions : impl.positions;
    return Status::ok();
  };
  auto keep = [&](Piece &piece) { return move(piece, /*in=*/false); };
  auto restore = [&](Piece &piece) { return move(piece, /*in=*/true); };
  for (int64_t begin = 0; begin < length;) {
    int64_t end = begin + std::min(length - begin, impl.pieceLimit(*second));
    pieces.push_back({begin, end, {}, {}});
    OTODUS_RETURN_IF_ERROR(keep(pieces.back()));
    if (end < length)
      OTODUS_RETURN_IF_ERROR(call(*first, begin, end));
    begin = end;
  }
  Piece after;
  for (size_t i = pieces.size(); i-- > 0;) {
    OTODUS_RETURN_IF_ERROR(restore(pieces[i]));
    OTODUS_RETURN_IF_ERROR(call(*second, pieces[i].begin, pieces[i].end));
    if (i + 1 == pieces.size())
      OTODUS_RETURN_IF_ERROR(keep(after));
  }
  return restore(after);
}

Result<Tensor> Session::gradient(const std::string &weight) const {
  for (const formats::Parameter &parameter : impl_->program().parameters) {
    if (parameter.name != weight)
      continue;
    OTODUS_RETURN_IF_ERROR(impl_->allocateTraining());
    Tensor result;
    result.dtype = formats::DType::F32;
    result.shape = parameter.shape;
    int64_t elements = 1;
    for (int64_t extent : parameter.shape)
      elements *= extent;
    result.data.resize(static_cast<size_t>(elements) * 4);
    OTODUS_RETURN_IF_ERROR(impl_->stream->read(result.data.data(),
                                               impl_->gradients + parameter.offset,
                                               result.data.size()));
    OTODUS_RETURN_IF_ERROR(impl_->stream->synchronise());
    return result;
  }
  return Status(Code::Usage, "the model does not train a weight '" + weight + "'");
}

Result<Tensor> Session::stateGradient(const std::string &name) const {
  OTODUS_RETURN_IF_ERROR(impl_->allocateTraining());
  Result<size_t> index = impl_->findState(name);
  if (!index.isOk())
    return index.status();
  return impl_->read(impl_->stateGradientTypes[*index], impl_->stateGradients[*index]);
}

Status Session::setStateGradient(const std::string &name, const TensorView &value) {
  OTODUS_RETURN_IF_ERROR(impl_->allocateTraining());
  Result<size_t> index = impl_->findState(name);
  if (!index.isOk())
    return index.status();
  return impl_->write(impl_->stateGradientTypes[*index], impl_->stateGradients[*index], value);
}

Status Session::zeroGradients() {
  OTODUS_RETURN_IF_ERROR(impl_->allocateTraining());
  int64_t arena = std::max<int64_t>(16, impl_->program().arenaElements) * 4;
  OTODUS_RETURN_IF_ERROR(impl_->stream->zero(impl_->gradients, static_cast<size_t>(arena)));
  for (size_t i = 0; i < impl_->stateGradients.size(); ++i)
    OTODUS_RETURN_IF_ERROR(impl_->stream->zero(
        impl_->stateGradients[i],
        static_cast<size_t>(impl_->stateGradientTypes[i].bytes() * impl_->batch)));
  return impl_->stream->synchronise();
}

Status Session::setScalar(int64_t index, float value) {
  if (index < 0 || index >= formats::kTrainingScalars)
    return Status(Code::Usage, "expected a number below " +
                                   std::to_string(formats::kTrainingScalars) + ", found " +
                                   std::to_string(index));
  OTODUS_RETURN_IF_ERROR(impl_->allocateTraining());
  OTODUS_RETURN_IF_ERROR(impl_->stream->write(impl_->scalars + index, &value, 4));
  return impl_->stream->synchronise();
}

} // namespace otodus::runtime

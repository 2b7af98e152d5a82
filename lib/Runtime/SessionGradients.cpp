//===- SessionGradients.cpp - Gradients of single functions ----------------===//

#include "SessionImpl.h"

#include "MemoryPlan.h"

#include <cstring>

namespace otodus::runtime {

using formats::Function;

Status Session::Impl::allocateTraining() {
  if (gradients)
    return Status::ok();
  if (!traits().sharesHostMemory)
    return Status(Code::Target, "gradients of single functions have kernels for CPUs alone");
  int64_t arena = std::max<int64_t>(16, program().arenaElements) * 4;
  int64_t total = arena + formats::kTrainingScalars * 4;
  std::vector<int64_t> offsets;
  for (const formats::State &s : program().states) {
    offsets.push_back(total);
    total += roundUp(s.bytes() * batch, 64);
  }
  Result<Memory> memory = Memory::allocate(model->device_, static_cast<size_t>(total));
  if (!memory.isOk())
    return memory.status().in("gradients");
  training = std::move(*memory);
  std::memset(training.data(), 0, static_cast<size_t>(total));
  gradients = reinterpret_cast<float *>(training.data());
  scalars = reinterpret_cast<float *>(training.data() + arena);
  for (int64_t offset : offsets)
    stateGradients.push_back(training.data() + offset);
  for (Plan &plan : plans)
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
  auto keep = [&](Piece &piece) {
    piece.state.assign(impl.state.data(), impl.state.data() + impl.state.size());
    piece.positions = impl.positions;
  };
  auto restore = [&](const Piece &piece) {
    std::memcpy(impl.state.data(), piece.state.data(), piece.state.size());
    impl.positions = piece.positions;
  };
  for (int64_t begin = 0; begin < length;) {
    int64_t end = begin + std::min(length - begin, impl.pieceLimit(*second));
    pieces.push_back({begin, end, {}, {}});
    keep(pieces.back());
    if (end < length)
      OTODUS_RETURN_IF_ERROR(call(*first, begin, end));
    begin = end;
  }
  Piece after;
  for (size_t i = pieces.size(); i-- > 0;) {
    restore(pieces[i]);
    OTODUS_RETURN_IF_ERROR(call(*second, pieces[i].begin, pieces[i].end));
    if (i + 1 == pieces.size())
      keep(after);
  }
  restore(after);
  return Status::ok();
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
    std::memcpy(result.data.data(), impl_->gradients + parameter.offset, result.data.size());
    return result;
  }
  return Status(Code::Usage, "the model does not train a weight '" + weight + "'");
}

Result<Tensor> Session::stateGradient(const std::string &name) const {
  OTODUS_RETURN_IF_ERROR(impl_->allocateTraining());
  std::swap(impl_->states, impl_->stateGradients); // they are laid out alike
  Result<Tensor> result = state(name);
  std::swap(impl_->states, impl_->stateGradients);
  return result;
}

Status Session::setStateGradient(const std::string &name, const TensorView &value) {
  OTODUS_RETURN_IF_ERROR(impl_->allocateTraining());
  std::swap(impl_->states, impl_->stateGradients);
  Status done = setState(name, value);
  std::swap(impl_->states, impl_->stateGradients);
  return done;
}

Status Session::zeroGradients() {
  OTODUS_RETURN_IF_ERROR(impl_->allocateTraining());
  int64_t arena = std::max<int64_t>(16, impl_->program().arenaElements) * 4;
  std::memset(impl_->gradients, 0, static_cast<size_t>(arena));
  for (size_t i = 0; i < impl_->stateGradients.size(); ++i)
    std::memset(impl_->stateGradients[i], 0,
                static_cast<size_t>(impl_->program().states[i].bytes() * impl_->batch));
  return Status::ok();
}

Status Session::setScalar(int64_t index, float value) {
  if (index < 0 || index >= formats::kTrainingScalars)
    return Status(Code::Usage, "expected a number below " +
                                   std::to_string(formats::kTrainingScalars) + ", found " +
                                   std::to_string(index));
  OTODUS_RETURN_IF_ERROR(impl_->allocateTraining());
  impl_->scalars[index] = value;
  return Status::ok();
}

} // namespace otodus::runtime

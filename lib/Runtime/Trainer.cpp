//===- Trainer.cpp - Training with compiled code ---------------------------===//

#include "otodus/Runtime/Trainer.h"
#include "TrainerImpl.h"

#include <algorithm>
#include <cmath>

namespace otodus::runtime {

using formats::Argument;
using formats::ArgumentKind;
using formats::DType;
using formats::Function;

namespace {
constexpr int32_t kIgnore = -100; ///< spec 3.8
} // namespace

//===----------------------------------------------------------------------===//
// Pieces
//===----------------------------------------------------------------------===//

/// Where a batch is cut: at documents of any row, at every row's chunks, at maxPiece.
std::vector<TrainedPiece> Trainer::Impl::cut(const TokenBatch &tokens) const {
  int64_t chunk = std::max(gradientFunction->chunk, lossFunction->chunk);
  std::vector<int64_t> position(static_cast<size_t>(tokens.batch), 0);
  std::vector<TrainedPiece> pieces;
  for (int64_t at = 0; at < tokens.length;) {
    TrainedPiece piece;
    piece.begin = at;
    int64_t length = std::min(tokens.length - at, options.maxPiece);
    for (int64_t row = 0; row < tokens.batch; ++row) {
      const uint8_t *starts = tokens.starts.data() + row * tokens.length;
      if (at == 0 || starts[at]) {
        piece.fresh.push_back(row);
        position[static_cast<size_t>(row)] = 0;
      }
      if (chunk > 0)
        length = std::min(length, chunk - position[static_cast<size_t>(row)] % chunk);
      for (int64_t i = 1; i < length; ++i)
        if (starts[at + i])
          length = i;
    }
    piece.length = length;
    for (int64_t &p : position)
      p += length;
    at += length;
    pieces.push_back(std::move(piece));
  }
  return pieces;
}

Status Trainer::Impl::check(const TokenBatch &tokens) const {
  size_t size = static_cast<size_t>(tokens.batch * tokens.length);
  if (tokens.batch < 1 || tokens.length < 1 || tokens.tokens.size() != size ||
      tokens.targets.size() != size || tokens.starts.size() != size)
    return Status(Code::Input, "a batch to learn from must hold [batch, length] tokens, targets "
                               "and starts, both extents at least 1");
  auto bound = [&](const char *name) {
    for (const Argument &input : gradientFunction->inputs)
      if (input.name == name)
        return input.bound;
    return int64_t(0);
  };
  int64_t tokenBound = bound("tokens"), targetBound = bound("targets");
  for (size_t i = 0; i < size; ++i) {
    int64_t token = tokens.tokens[i], target = tokens.targets[i];
    bool bad = token < 0 || (tokenBound > 0 && token >= tokenBound);
    if (!bad && (target == kIgnore || (target >= 0 && (targetBound <= 0 || target < targetBound))))
      continue;
    return Status(Code::Input,
                  std::string(bad ? "token " : "target ") + std::to_string(bad ? token : target) +
                      " is outside the vocabulary of " +
                      std::to_string(bad ? tokenBound : targetBound) +
                      "; is the data of another tokenizer?");
  }
  return Status::ok();
}

/// Runs `function` over a piece and adds up its losses in order.
Result<LossSum> Trainer::Impl::runPiece(const Function &function, const TokenBatch &tokens,
                                        const TrainedPiece &piece,
                                        const std::vector<const std::byte *> &prepared) {
  Result<Bound *> bound = bind(function, piece.length, prepared);
  if (!bound.isOk())
    return bound.status();
  OTODUS_RETURN_IF_ERROR(stream->write(devicePositions, positions.data(), positions.size() * 8));
  if (&function == gradientFunction)
    OTODUS_RETURN_IF_ERROR(keepBefore());
  bool copies = !traits().sharesHostMemory;
  int64_t rows = batch * piece.length;
  for (size_t i = 0; i < function.inputs.size(); ++i) {
    bool isTargets = function.inputs[i].name == "targets";
    const std::vector<int32_t> &from = isTargets ? tokens.targets : tokens.tokens;
    auto *to = reinterpret_cast<int32_t *>((*bound)->hostInputs[i]);
    for (int64_t row = 0; row < batch; ++row) {
      if (function.inputs[i].name == "row_numbers") {
        // Of the step's tokens, counted up whatever the batch and its pieces are.
        int64_t first = (tokens.firstSample + row) * tokens.length + piece.begin;
        for (int64_t t = 0; t < piece.length; ++t)
          to[row * piece.length + t] = static_cast<int32_t>(static_cast<uint32_t>(first + t));
        continue;
      }
      std::copy_n(from.data() + row * tokens.length + piece.begin, piece.length,
                  to + row * piece.length);
    }
    // Rows that only fill up a tile: a valid token, a target that does not count.
    std::fill(to + rows, to + paddedRows(rows), isTargets ? kIgnore : 0);
    if (copies)
      OTODUS_RETURN_IF_ERROR(
          stream->write((*bound)->inputs[i], to, static_cast<size_t>(paddedRows(rows)) * 4));
  }
  OTODUS_RETURN_IF_ERROR(run(**bound, batch, piece.length));
  for (int64_t &position : positions)
    position += piece.length;
  LossSum sum;
  if (copies)
    OTODUS_RETURN_IF_ERROR(get((*bound)->hostOutputs[0], (*bound)->outputs[0],
                               static_cast<size_t>(rows) * 4));
  const auto *nll = reinterpret_cast<const float *>((*bound)->hostOutputs[0]);
  for (int64_t row = 0; row < batch; ++row)
    for (int64_t i = 0; i < piece.length; ++i) {
      if (tokens.targets[static_cast<size_t>(row * tokens.length + piece.begin + i)] == kIgnore)
        continue;
      sum.sum += static_cast<double>(nll[row * piece.length + i]);
      ++sum.count;
    }
  return sum;
}

//===----------------------------------------------------------------------===//
// What the loop asks for
//===----------------------------------------------------------------------===//

Trainer::Trainer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Trainer::~Trainer() = default;

namespace {
/// `function` has `tokens` and `targets` as i32 steps, perhaps the numbers of rows, and gives `nll`
/// as f32 steps.
Status checkInterface(const Function &function) {
  auto is = [](const Argument &argument, const char *name, DType dtype) {
    return argument.name == name && argument.kind == ArgumentKind::Steps && argument.dtype == dtype;
  };
  size_t inputs = function.inputs.size();
  bool good = (inputs == 2 ||
               (inputs == 3 && is(function.inputs[2], "row_numbers", DType::I32))) &&
              function.outputs.size() == 1 &&
              is(function.inputs[0], "tokens", DType::I32) &&
              is(function.inputs[1], "targets", DType::I32) &&
              is(function.outputs[0], "nll", DType::F32);
  return good ? Status::ok()
              : Status(Code::File, "function '" + function.name +
                                       "' is not (tokens, targets) -> nll; compile again");
}
} // namespace

Result<std::unique_ptr<Trainer>> Trainer::create(formats::Artefact artefact, WeightSource &weights,
                                                 const TrainerOptions &options) {
  auto impl = std::make_unique<Impl>();
  impl->options = options;
  impl->pool = options.pool ? options.pool : std::make_shared<ThreadPool>();
  OpenOptions open;
  open.pool = impl->pool;
  open.image = options.image;
  open.device = options.device;
  Result<std::shared_ptr<const Model>> model = Model::open(std::move(artefact), &weights, open);
  if (!model.isOk())
    return model.status();
  impl->model = *model;
  impl->device = impl->model->device_;
  Result<std::unique_ptr<Stream>> stream = impl->device->stream(*impl->pool);
  if (!stream.isOk())
    return stream.status();
  impl->stream = std::move(*stream);
  OTODUS_RETURN_IF_ERROR(impl->start(weights));
  OTODUS_RETURN_IF_ERROR(checkInterface(*impl->lossFunction));
  OTODUS_RETURN_IF_ERROR(checkInterface(*impl->pieceFunction));
  OTODUS_RETURN_IF_ERROR(checkInterface(*impl->gradientFunction));
  return std::unique_ptr<Trainer>(new Trainer(std::move(impl)));
}

const std::vector<TrainedTensor> &Trainer::parameters() const { return impl_->parameters; }
const Model &Trainer::model() const { return *impl_->model; }

Status Trainer::freeze(const std::vector<bool> &frozen) {
  Impl &impl = *impl_;
  if (frozen.size() != impl.parameters.size())
    return Status(Code::Usage, "expected one flag per parameter");
  impl.frozen = frozen;
  for (size_t i = 0; i < frozen.size(); ++i) {
    impl.frozenWeights[i].clear();
    if (!frozen[i])
      continue;
    impl.frozenWeights[i].resize(static_cast<size_t>(impl.parameters[i].elements()));
    OTODUS_RETURN_IF_ERROR(read(TrainedValue::Weight, i, impl.frozenWeights[i].data()));
  }
  return Status::ok();
}

Result<LossSum> Trainer::accumulate(const TokenBatch &tokens, double scale) {
  Impl &impl = *impl_;
  OTODUS_RETURN_IF_ERROR(impl.check(tokens));
  OTODUS_RETURN_IF_ERROR(impl.setBatch(tokens.batch, impl.model->initial_));
  OTODUS_RETURN_IF_ERROR(impl.addGradientsOfStates());
  OTODUS_RETURN_IF_ERROR(impl.refresh(impl.model->prepared_));
  const std::vector<const std::byte *> &prepared = impl.model->prepared_;
  std::vector<TrainedPiece> pieces = impl.cut(tokens);
  auto factor = static_cast<float>(scale);
  OTODUS_RETURN_IF_ERROR(impl.put(impl.scalars.data(), &factor, 4));
  OTODUS_RETURN_IF_ERROR(impl.setNoise(tokens));

  // Forward over all pieces but the last; what each starts from is kept.
  int64_t bytes = impl.stateBytes * impl.batch, slots = static_cast<int64_t>(pieces.size()) - 1;
  if (bytes * slots > impl.keptBytes) {
    impl.kept.reset();
    Result<Memory> memory = impl.allocate(bytes * slots, "states between pieces");
    if (!memory.isOk())
      return memory.status().in("states between " + std::to_string(pieces.size()) + " pieces");
    impl.kept = std::move(*memory);
    impl.keptBytes = bytes * slots;
  }
  std::vector<std::vector<int64_t>> keptPositions;
  for (size_t i = 0; i < pieces.size(); ++i) {
    for (int64_t row : pieces[i].fresh)
      OTODUS_RETURN_IF_ERROR(impl.startDocument(row));
    keptPositions.push_back(impl.positions);
    if (i + 1 == pieces.size())
      break;
    OTODUS_RETURN_IF_ERROR(impl.keep(static_cast<int64_t>(i)));
    Result<LossSum> forward = impl.runPiece(*impl.pieceFunction, tokens, pieces[i], prepared);
    if (!forward.isOk())
      return forward.status();
  }

  // Backward, last piece first. The loss looks at no state.
  for (size_t s = 0; s < impl.gradientsOfStates.size(); ++s)
    OTODUS_RETURN_IF_ERROR(
        impl.clear(impl.gradientsOfStates[s],
                   static_cast<size_t>(impl.stateGradientTypes[s].bytes() * impl.batch)));
  std::vector<LossSum> sums(pieces.size());
  for (size_t i = pieces.size(); i-- > 0;) {
    if (i + 1 < pieces.size())
      OTODUS_RETURN_IF_ERROR(impl.restore(static_cast<int64_t>(i)));
    impl.positions = keptPositions[i];
    Result<LossSum> part = impl.runPiece(*impl.gradientFunction, tokens, pieces[i], prepared);
    if (!part.isOk())
      return part.status();
    sums[i] = *part;
    // What a document starts from does not depend on the one before.
    for (int64_t row : pieces[i].fresh)
      for (size_t s = 0; s < impl.gradientsOfStates.size(); ++s) {
        int64_t size = impl.stateGradientTypes[s].bytes();
        OTODUS_RETURN_IF_ERROR(
            impl.clear(impl.gradientsOfStates[s] + row * size, static_cast<size_t>(size)));
      }
  }
  LossSum total;
  for (const LossSum &sum : sums) {
    total.sum += sum.sum;
    total.count += sum.count;
  }
  return total;
}

Result<LossSum> Trainer::loss(const TokenBatch &tokens) {
  Impl &impl = *impl_;
  OTODUS_RETURN_IF_ERROR(impl.check(tokens));
  OTODUS_RETURN_IF_ERROR(impl.setBatch(tokens.batch, impl.model->initial_));
  OTODUS_RETURN_IF_ERROR(impl.refresh(impl.model->prepared_));
  LossSum total;
  for (const TrainedPiece &piece : impl.cut(tokens)) {
    for (int64_t row : piece.fresh)
      OTODUS_RETURN_IF_ERROR(impl.startDocument(row));
    Result<LossSum> part =
        impl.runPiece(*impl.lossFunction, tokens, piece, impl.model->prepared_);
    if (!part.isOk())
      return part.status();
    total.sum += part->sum;
    total.count += part->count;
  }
  return total;
}

Result<GradientNorm> Trainer::gradientNorm() {
  Impl &impl = *impl_;
  for (size_t i = 0; i < impl.parameters.size(); ++i)
    if (impl.frozen[i])
      OTODUS_RETURN_IF_ERROR(
          impl.clear(impl.at(TrainedValue::Gradient, i),
                     static_cast<size_t>(impl.parameters[i].elements()) * 4));
  if (impl.batch == 0)
    OTODUS_RETURN_IF_ERROR(impl.setBatch(1, impl.model->initial_));
  Result<Impl::Bound *> bound = impl.bind(*impl.normFunction, 1, impl.model->prepared_);
  if (!bound.isOk())
    return bound.status();
  OTODUS_RETURN_IF_ERROR(impl.run(**bound, 1, 1));
  GradientNorm result;
  double sum = 0;
  std::vector<float> squares(
      static_cast<size_t>(impl.program().arenaElements / formats::kSquaresPortion));
  OTODUS_RETURN_IF_ERROR(
      impl.get(squares.data(), impl.arenaData(Impl::kSquares), squares.size() * 4));
  for (float square : squares)
    sum += static_cast<double>(square);
  if (!std::isfinite(sum)) {
    // Either a gradient is not finite, or the squares are too large for f32.
    sum = 0;
    for (size_t i = 0; i < impl.parameters.size(); ++i) {
      std::vector<float> gradient(static_cast<size_t>(impl.parameters[i].elements()));
      OTODUS_RETURN_IF_ERROR(read(TrainedValue::Gradient, i, gradient.data()));
      for (float g : gradient) {
        if (!std::isfinite(g) && result.notFinite.empty())
          result.notFinite = impl.parameters[i].name;
        sum += static_cast<double>(g) * static_cast<double>(g);
      }
    }
  }
  result.norm = std::sqrt(sum);
  return result;
}

Status Trainer::step(const OptimizerStep &o) {
  Impl &impl = *impl_;
  if (impl.batch == 0)
    OTODUS_RETURN_IF_ERROR(impl.setBatch(1, impl.model->initial_));
  Result<Impl::Bound *> bound = impl.bind(*impl.stepFunction, 1, impl.model->prepared_);
  OTODUS_RETURN_IF_ERROR(bound.status());
  double clip = o.clip > 0 ? std::min(1.0, o.clip / (o.norm + 1e-6)) : 1.0;
  auto t = static_cast<double>(o.t);
  double values[] = {0,
                     clip,
                     o.learningRate,
                     o.learningRate * o.weightDecay,
                     o.beta1,
                     o.beta2,
                     o.epsilon,
                     1 / (1 - std::pow(o.beta1, t)),
                     1 / (1 - std::pow(o.beta2, t))};
  float scalars[std::size(values)];
  for (size_t i = 0; i < std::size(values); ++i)
    scalars[i] = static_cast<float>(values[i]);
  OTODUS_RETURN_IF_ERROR(impl.put(impl.scalars.data(), scalars, sizeof(scalars)));
  OTODUS_RETURN_IF_ERROR(impl.run(**bound, 1, 1));
  for (size_t i = 0; i < impl.parameters.size(); ++i)
    if (impl.frozen[i])
      OTODUS_RETURN_IF_ERROR(impl.put(impl.at(TrainedValue::Weight, i),
                                      impl.frozenWeights[i].data(),
                                      impl.frozenWeights[i].size() * 4));
  impl.stale = true;
  return dropGradients();
}

Status Trainer::dropGradients() {
  return impl_->clear(impl_->arena[Impl::kGradients].data(),
                      static_cast<size_t>(impl_->program().arenaElements) * 4);
}

Status Trainer::read(TrainedValue value, size_t index, float *out) {
  return impl_->get(out, impl_->at(value, index),
                    static_cast<size_t>(impl_->parameters[index].elements()) * 4);
}

Status Trainer::write(TrainedValue value, size_t index, const float *values) {
  OTODUS_RETURN_IF_ERROR(
      impl_->put(impl_->at(value, index), values,
                 static_cast<size_t>(impl_->parameters[index].elements()) * 4));
  if (value == TrainedValue::Weight) {
    impl_->stale = true;
    if (impl_->frozen[index])
      impl_->frozenWeights[index].assign(values, values + impl_->parameters[index].elements());
  }
  return Status::ok();
}

TrainerMemory Trainer::memory() const {
  TrainerMemory result;
  for (const Memory &memory : impl_->arena)
    result.arenas += static_cast<int64_t>(memory.size());
  result.prepared = impl_->model->weightBytes();
  result.state = static_cast<int64_t>(impl_->state.size() + impl_->stateGradients.size() +
                                      impl_->stateBefore.size() + impl_->kept.size());
  result.scratch = static_cast<int64_t>(impl_->scratch.size());
  return result;
}

void Trainer::setProfiling(bool on) { impl_->profiling = on; }
std::vector<LaunchProfile> Trainer::profile() const {
  std::vector<LaunchProfile> result;
  for (const LaunchProfile &one : impl_->profiles)
    if (one.calls > 0)
      result.push_back(one);
  return result;
}

} // namespace otodus::runtime

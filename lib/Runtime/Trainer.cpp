//===- Trainer.cpp - Training with compiled code ---------------------------===//

#include "otodus/Runtime/Trainer.h"
#include "MemoryPlan.h"
#include "StateLayout.h"
#include "otodus/Runtime/Session.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>
#include <set>
#include <tuple>

namespace otodus::runtime {

using formats::Argument;
using formats::ArgumentKind;
using formats::Buffer;
using formats::BufferKind;
using formats::DType;
using formats::Function;
using formats::Launch;
using formats::Variant;

namespace {

constexpr int32_t kIgnore = -100; ///< spec 3.8

/// Arenas as formats::Buffer numbers them.
enum { kWeights, kGradients, kFirstMoment, kSecondMoment, kSquares, kArenas };

/// Steps [begin, begin + length) of all rows, run at once.
struct Piece {
  int64_t begin = 0, length = 0;
  std::vector<int64_t> fresh; ///< rows that start a document with it
};

} // namespace

struct Trainer::Impl {
  TrainerOptions options;
  std::shared_ptr<const Model> model;
  std::shared_ptr<Device> device; ///< shares the host's memory
  std::shared_ptr<ThreadPool> pool;
  std::unique_ptr<Stream> stream;
  std::vector<TrainedTensor> parameters;
  std::vector<bool> frozen;
  std::vector<std::vector<float>> frozenWeights; ///< of frozen parameters, else empty
  Memory arena[kArenas], scalars;
  MemoryWeights masters; ///< the weight arena by names
  bool stale = false;    ///< prepared weights are older than the arena
  const Function *lossFunction = nullptr, *gradientFunction = nullptr, *normFunction = nullptr,
                 *stepFunction = nullptr;

  // State of `batch` sequences: states, then positions.
  int64_t batch = 0, stateBytes = 0, keptBytes = 0;
  Memory state, stateGradients, kept;
  std::vector<std::byte *> states, gradientsOfStates;
  std::vector<std::byte> freshState; ///< all states of one sequence
  std::vector<int64_t> positions;
  Memory devicePositions;

  /// A launch with everything chosen.
  struct Step {
    const Launch *launch = nullptr;
    const Kernel *kernel = nullptr;
    int64_t items = 0;
    size_t firstPointer = 0;
    size_t profile = 0;
  };
  struct Bound {
    std::vector<Step> steps;
    std::vector<void *> pointers;
    std::vector<std::byte *> inputs, outputs;
    Memory arguments; ///< apart from scratch, where integers would be read as numbers
  };
  std::map<std::tuple<const Function *, int64_t, int64_t>, Bound> bounds;
  Memory scratch;
  bool profiling = false;
  std::vector<LaunchProfile> profiles;
  std::map<std::tuple<const Launch *, size_t>, size_t> profileIndex;

  const formats::Program &program() const { return model->program(); }
  float *arenaData(int which) { return reinterpret_cast<float *>(arena[which].data()); }
  float *at(TrainedValue value, size_t index) {
    int which = value == TrainedValue::Weight        ? kWeights
                : value == TrainedValue::Gradient    ? kGradients
                : value == TrainedValue::FirstMoment ? kFirstMoment
                                                     : kSecondMoment;
    return arenaData(which) + program().parameters[index].offset;
  }

  Status start(WeightSource &weights);
  Status refresh(const std::vector<const std::byte *> &prepared);
  Status setBatch(int64_t newBatch, const std::vector<std::vector<double>> &initial);
  Status place(const Function &function, int64_t length, const FunctionMemory &memory,
               Bound &bound, const std::vector<const std::byte *> &prepared);
  Result<Bound *> bind(const Function &function, int64_t length,
                       const std::vector<const std::byte *> &prepared);
  Status run(Bound &bound, int64_t sequences, int64_t length);
  std::vector<Piece> cut(const TokenBatch &tokens) const;
  void startDocument(int64_t row);
  Result<LossSum> runPiece(const Function &function, const TokenBatch &tokens, const Piece &piece,
                           const std::vector<const std::byte *> &prepared);
  Status check(const TokenBatch &tokens) const;
};

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
  int64_t length = plan.arenaElements;
  for (int i = 0; i < kArenas; ++i) {
    int64_t elements = i == kSquares ? length / formats::kSquaresPortion : length;
    Result<Memory> memory =
        Memory::allocate(device, static_cast<size_t>(std::max<int64_t>(elements, 16) * 4));
    if (!memory.isOk())
      return memory.status().in("weights, gradients and moments");
    arena[i] = std::move(*memory);
  }
  Result<Memory> memory = Memory::allocate(device, formats::kTrainingScalars * 4);
  OTODUS_RETURN_IF_ERROR(memory.status());
  scalars = std::move(*memory);
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
    float *master = at(TrainedValue::Weight, i);
    OTODUS_RETURN_IF_ERROR(formats::readAsFloat(*source, 0, elements, master));
    masters.add(parameter.name, parameter.shape, master);
    weights.release(parameter.name);
    parameters.push_back(std::move(tensor));
  }
  frozen.assign(parameters.size(), false);
  frozenWeights.resize(parameters.size());
  return Status::ok();
}

/// Packs anew what comes from trained tensors.
Status Trainer::Impl::refresh(const std::vector<const std::byte *> &prepared) {
  if (!stale)
    return Status::ok();
  for (size_t i = 0; i < prepared.size(); ++i) {
    const formats::Prepared &one = program().prepared[i];
    bool trained = std::any_of(one.sources.begin(), one.sources.end(), [&](const std::string &name) {
      return masters.find(name).isOk();
    });
    if (trained)
      OTODUS_RETURN_IF_ERROR(
          prepare(one, masters, *pool, const_cast<std::byte *>(prepared[i])));
  }
  stale = false;
  return Status::ok();
}

//===----------------------------------------------------------------------===//
// Memory
//===----------------------------------------------------------------------===//

Status Trainer::Impl::setBatch(int64_t newBatch, const std::vector<std::vector<double>> &initial) {
  if (freshState.empty()) {
    for (size_t i = 0; i < program().states.size(); ++i) {
      const formats::State &s = program().states[i];
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
      size_t offset = freshState.size();
      freshState.resize(offset + static_cast<size_t>(s.bytes()));
      scatterState(s, logical.data(), elementsOf(s), freshState.data() + offset);
    }
    stateBytes = static_cast<int64_t>(freshState.size());
  }
  if (batch == newBatch)
    return Status::ok();
  bounds.clear();
  kept.reset();
  keptBytes = 0;
  batch = 0;
  auto allocate = [&](Memory &memory, int64_t bytes) -> Status {
    memory.reset();
    Result<Memory> fresh =
        Memory::allocate(device, static_cast<size_t>(std::max<int64_t>(bytes, 64)));
    if (!fresh.isOk())
      return fresh.status().in("states of " + std::to_string(newBatch) + " sequences");
    memory = std::move(*fresh);
    return Status::ok();
  };
  OTODUS_RETURN_IF_ERROR(allocate(state, stateBytes * newBatch));
  OTODUS_RETURN_IF_ERROR(allocate(stateGradients, stateBytes * newBatch));
  OTODUS_RETURN_IF_ERROR(allocate(devicePositions, newBatch * 8));
  states.clear();
  gradientsOfStates.clear();
  int64_t offset = 0;
  for (const formats::State &s : program().states) {
    states.push_back(state.data() + offset);
    gradientsOfStates.push_back(stateGradients.data() + offset);
    offset += s.bytes() * newBatch;
  }
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
  bound.arguments = std::move(*arguments);
  for (int64_t offset : memory.inputs)
    bound.inputs.push_back(bound.arguments.data() + offset);
  for (int64_t offset : memory.outputs)
    bound.outputs.push_back(bound.arguments.data() + offset);
  std::vector<void *> buffers;
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
      buffers.push_back(scratch.data() + memory.buffers[i] - memory.argumentBytes);
      break;
    case BufferKind::Position:
      buffers.push_back(devicePositions.data());
      break;
    case BufferKind::Gradient:
      buffers.push_back(at(TrainedValue::Gradient, index));
      break;
    case BufferKind::StateGradient:
      buffers.push_back(gradientsOfStates[index]);
      break;
    case BufferKind::Scalars:
      buffers.push_back(scalars.data());
      break;
    case BufferKind::Arena:
      buffers.push_back(arena[index].data());
      break;
    }
  }
  for (const Launch &launch : function.launches) {
    int64_t rows = valueOf(launch.rowSymbol, batch, length);
    size_t best = 0;
    int64_t bestCost = 0, bestTile = 0;
    for (size_t i = 0; i < launch.variants.size(); ++i) {
      const Variant &variant = launch.variants[i];
      int64_t tile = std::max<int64_t>(1, variant.rowTile);
      int64_t each = variant.tileCost ? variant.tileCost : tile + formats::kRowTileCost;
      int64_t cost = (rows + tile - 1) / tile * each;
      if (i == 0 || cost < bestCost || (cost == bestCost && tile > bestTile)) {
        best = i;
        bestCost = cost;
        bestTile = tile;
      }
    }
    const Variant &variant = launch.variants[best];
    Step step;
    step.launch = &launch;
    step.kernel = model->image_->find(variant.entry);
    step.items = 1;
    for (const formats::Extent &extent : variant.grid)
      step.items *= valueOf(extent, batch, length);
    step.firstPointer = bound.pointers.size();
    for (int64_t index : launch.buffers)
      bound.pointers.push_back(buffers[static_cast<size_t>(index)]);
    auto [known, inserted] = profileIndex.try_emplace({&launch, best}, profiles.size());
    if (inserted)
      profiles.push_back({function.name, launch.name, variant.rowTile, 0, 0});
    step.profile = known->second;
    bound.steps.push_back(step);
  }
  return Status::ok();
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
  if (bytes > static_cast<int64_t>(scratch.size())) {
    bounds.clear(); // their pointers go
    scratch.reset();
    Result<Memory> block = Memory::allocate(device, static_cast<size_t>(bytes));
    if (!block.isOk())
      return block.status().in("activations of " + std::to_string(batch) + " sequences of " +
                               std::to_string(length) + " steps");
    scratch = std::move(*block);
  }
  Bound bound;
  OTODUS_RETURN_IF_ERROR(place(function, length, *memory, bound, prepared));
  // Many lengths (documents) must not pile up.
  if (bounds.size() > 256)
    bounds.clear();
  return &(bounds[key] = std::move(bound));
}

Status Trainer::Impl::run(Bound &bound, int64_t sequences, int64_t length) {
  FlushDenormals flush;
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
// Pieces
//===----------------------------------------------------------------------===//

/// Where a batch is cut: at documents of any row, at every row's chunks, at maxPiece.
std::vector<Piece> Trainer::Impl::cut(const TokenBatch &tokens) const {
  int64_t chunk = std::max(gradientFunction->chunk, lossFunction->chunk);
  std::vector<int64_t> position(static_cast<size_t>(tokens.batch), 0);
  std::vector<Piece> pieces;
  for (int64_t at = 0; at < tokens.length;) {
    Piece piece;
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

void Trainer::Impl::startDocument(int64_t row) {
  const std::byte *from = freshState.data();
  for (size_t i = 0; i < states.size(); ++i) {
    int64_t bytes = program().states[i].bytes();
    std::memcpy(states[i] + row * bytes, from, static_cast<size_t>(bytes));
    from += bytes;
  }
  positions[static_cast<size_t>(row)] = 0;
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
                                        const Piece &piece,
                                        const std::vector<const std::byte *> &prepared) {
  Result<Bound *> bound = bind(function, piece.length, prepared);
  if (!bound.isOk())
    return bound.status();
  std::memcpy(devicePositions.data(), positions.data(), positions.size() * 8);
  int64_t rows = batch * piece.length;
  for (size_t i = 0; i < function.inputs.size(); ++i) {
    bool isTargets = function.inputs[i].name == "targets";
    const std::vector<int32_t> &from = isTargets ? tokens.targets : tokens.tokens;
    auto *to = reinterpret_cast<int32_t *>((*bound)->inputs[i]);
    for (int64_t row = 0; row < batch; ++row)
      std::copy_n(from.data() + row * tokens.length + piece.begin, piece.length,
                  to + row * piece.length);
    // Rows that only fill up a tile: a valid token, a target that does not count.
    std::fill(to + rows, to + paddedRows(rows), isTargets ? kIgnore : 0);
  }
  OTODUS_RETURN_IF_ERROR(run(**bound, batch, piece.length));
  for (int64_t &position : positions)
    position += piece.length;
  LossSum sum;
  const auto *nll = reinterpret_cast<const float *>((*bound)->outputs[0]);
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
/// `function` has `tokens` and `targets` as i32 steps and gives `nll` as f32 steps.
Status checkInterface(const Function &function) {
  auto is = [](const Argument &argument, const char *name, DType dtype) {
    return argument.name == name && argument.kind == ArgumentKind::Steps && argument.dtype == dtype;
  };
  bool good = function.inputs.size() == 2 && function.outputs.size() == 1 &&
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
  Result<std::shared_ptr<const Model>> model = Model::open(std::move(artefact), &weights, open);
  if (!model.isOk())
    return model.status();
  impl->model = *model;
  impl->device = impl->model->device_;
  if (!impl->device->traits().sharesHostMemory)
    return Status(Code::Target, "training runs on the cpu; code for '" + impl->model->target() +
                                    "' cannot be used yet");
  Result<std::unique_ptr<Stream>> stream = impl->device->stream(*impl->pool);
  if (!stream.isOk())
    return stream.status();
  impl->stream = std::move(*stream);
  OTODUS_RETURN_IF_ERROR(impl->start(weights));
  OTODUS_RETURN_IF_ERROR(checkInterface(*impl->lossFunction));
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
    const float *weights = impl.at(TrainedValue::Weight, i);
    impl.frozenWeights[i].clear();
    if (frozen[i])
      impl.frozenWeights[i].assign(weights, weights + impl.parameters[i].elements());
  }
  return Status::ok();
}

Result<LossSum> Trainer::accumulate(const TokenBatch &tokens, double scale) {
  Impl &impl = *impl_;
  OTODUS_RETURN_IF_ERROR(impl.check(tokens));
  OTODUS_RETURN_IF_ERROR(impl.setBatch(tokens.batch, impl.model->initial_));
  OTODUS_RETURN_IF_ERROR(impl.refresh(impl.model->prepared_));
  const std::vector<const std::byte *> &prepared = impl.model->prepared_;
  std::vector<Piece> pieces = impl.cut(tokens);
  *reinterpret_cast<float *>(impl.scalars.data()) = static_cast<float>(scale);

  // Forward over all pieces but the last; what each starts from is kept.
  int64_t bytes = impl.stateBytes * impl.batch, slots = static_cast<int64_t>(pieces.size()) - 1;
  if (bytes * slots > impl.keptBytes) {
    impl.kept.reset();
    Result<Memory> memory =
        Memory::allocate(impl.device, static_cast<size_t>(bytes * slots));
    if (!memory.isOk())
      return memory.status().in("states between " + std::to_string(pieces.size()) + " pieces");
    impl.kept = std::move(*memory);
    impl.keptBytes = bytes * slots;
  }
  std::vector<std::vector<int64_t>> keptPositions;
  for (size_t i = 0; i < pieces.size(); ++i) {
    for (int64_t row : pieces[i].fresh)
      impl.startDocument(row);
    keptPositions.push_back(impl.positions);
    if (i + 1 == pieces.size())
      break;
    std::memcpy(impl.kept.data() + bytes * static_cast<int64_t>(i), impl.state.data(),
                static_cast<size_t>(bytes));
    Result<LossSum> forward = impl.runPiece(*impl.lossFunction, tokens, pieces[i], prepared);
    if (!forward.isOk())
      return forward.status();
  }

  // Backward, last piece first. The loss looks at no state.
  std::memset(impl.stateGradients.data(), 0, static_cast<size_t>(bytes));
  std::vector<LossSum> sums(pieces.size());
  for (size_t i = pieces.size(); i-- > 0;) {
    if (i + 1 < pieces.size())
      std::memcpy(impl.state.data(), impl.kept.data() + bytes * static_cast<int64_t>(i),
                  static_cast<size_t>(bytes));
    impl.positions = keptPositions[i];
    Result<LossSum> part = impl.runPiece(*impl.gradientFunction, tokens, pieces[i], prepared);
    if (!part.isOk())
      return part.status();
    sums[i] = *part;
    // What a document starts from does not depend on the one before.
    for (int64_t row : pieces[i].fresh)
      for (size_t s = 0; s < impl.gradientsOfStates.size(); ++s) {
        int64_t size = impl.program().states[s].bytes();
        std::memset(impl.gradientsOfStates[s] + row * size, 0, static_cast<size_t>(size));
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
  for (const Piece &piece : impl.cut(tokens)) {
    for (int64_t row : piece.fresh)
      impl.startDocument(row);
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
      std::memset(impl.at(TrainedValue::Gradient, i), 0,
                  static_cast<size_t>(impl.parameters[i].elements()) * 4);
  if (impl.batch == 0)
    OTODUS_RETURN_IF_ERROR(impl.setBatch(1, impl.model->initial_));
  Result<Impl::Bound *> bound = impl.bind(*impl.normFunction, 1, impl.model->prepared_);
  if (!bound.isOk())
    return bound.status();
  OTODUS_RETURN_IF_ERROR(impl.run(**bound, 1, 1));
  GradientNorm result;
  double sum = 0;
  const float *squares = impl.arenaData(kSquares);
  for (int64_t i = 0; i < impl.program().arenaElements / formats::kSquaresPortion; ++i)
    sum += static_cast<double>(squares[i]);
  if (!std::isfinite(sum)) {
    // Either a gradient is not finite, or the squares are too large for f32.
    sum = 0;
    for (size_t i = 0; i < impl.parameters.size(); ++i) {
      const float *gradient = impl.at(TrainedValue::Gradient, i);
      for (int64_t e = 0; e < impl.parameters[i].elements(); ++e) {
        if (!std::isfinite(gradient[e]) && result.notFinite.empty())
          result.notFinite = impl.parameters[i].name;
        sum += static_cast<double>(gradient[e]) * static_cast<double>(gradient[e]);
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
  auto *scalars = reinterpret_cast<float *>(impl.scalars.data());
  for (size_t i = 0; i < std::size(values); ++i)
    scalars[i] = static_cast<float>(values[i]);
  OTODUS_RETURN_IF_ERROR(impl.run(**bound, 1, 1));
  for (size_t i = 0; i < impl.parameters.size(); ++i)
    if (impl.frozen[i])
      std::copy(impl.frozenWeights[i].begin(), impl.frozenWeights[i].end(),
                impl.at(TrainedValue::Weight, i));
  impl.stale = true;
  return dropGradients();
}

Status Trainer::dropGradients() {
  std::memset(impl_->arena[kGradients].data(), 0,
              static_cast<size_t>(impl_->program().arenaElements) * 4);
  return Status::ok();
}

Status Trainer::read(TrainedValue value, size_t index, float *out) {
  const float *from = impl_->at(value, index);
  std::copy_n(from, impl_->parameters[index].elements(), out);
  return Status::ok();
}

Status Trainer::write(TrainedValue value, size_t index, const float *values) {
  std::copy_n(values, impl_->parameters[index].elements(), impl_->at(value, index));
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
                                      impl_->kept.size());
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

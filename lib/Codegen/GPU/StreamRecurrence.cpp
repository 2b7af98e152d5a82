//===- StreamRecurrence.cpp - First-order recurrences, step by step --------===//
//
// One core for mega.scan and mega.cema. L lanes of a warp share a channel; each has M = modes / L
// of its modes, with coefficients and states in registers:
//
//   for every L steps
//     for each of them:  own sum = Σ over the own modes of what the body reads
//     exchange: lane l gets the sum over all modes of step l
//     lane l: y of step l = its initial value + the sum
//
// The states stay in registers from one time tile to the next unless a block has more channels or
// modes than registers; then they come and go by time tiles.
//
//===----------------------------------------------------------------------===//

#include "StreamKernel.h"

#include "Codegen/Common/ScanBody.h"

#include "mlir/Dialect/Arith/IR/Arith.h"

using namespace mlir;

namespace otodus {
namespace {

constexpr int64_t kRegisters = 64; ///< for coefficients and states of a thread

/// The recurrence of one op: subclasses say what its operands and its body are.
class Recurrence : public StreamKernelOp {
protected:
  /// Where an input's value for step t, channel d and mode n comes from.
  struct Input {
    enum Kind {
      Tile,    ///< tile in shared memory, [t][d]
      Channel, ///< vector, [d]
      Blocks,  ///< prepared, [d / 32][n][parts][32], element `part`
      Rows,    ///< prepared, [n][d]
      Mode,    ///< vector, [n]
      Steps,   ///< row buffer, element `channelStride` d + `modeStride` n of row t
    } kind;
    Value buffer; ///< of a tile: the activation
    int64_t parts = 1, part = 0;
    int64_t rowStride = 0, channelStride = 0, modeStride = 0;
  };
  /// A carried value for every channel and mode: [d / 32][n][parts][32] per sequence.
  struct State {
    Value buffer;
    int64_t parts = 1, part = 0;
  };

  using StreamKernelOp::StreamKernelOp;

  /// Inputs, states and modes of the recurrence, once.
  virtual LogicalResult describe() = 0;
  /// At the start of every time tile, for every state: `at` is its offset in the states of a
  /// sequence.
  virtual void atTile(Value v, Value at) {}
  virtual bool seesTiles() const { return false; }
  /// One step of one mode: from `inputs` and `states`, all f32, the new states; and `sum` with
  /// what is read added to it. `sum` is null in front of the first mode.
  virtual LogicalResult body(ArrayRef<Value> inputs, SmallVector<Value> &states, Value &sum) = 0;

  LogicalResult begin(SmallVectorImpl<Value> &carried) final;
  LogicalResult emit(MutableArrayRef<Value> carried) final;
  void end(ArrayRef<Value> carried) final;

  SmallVector<Input> operands;
  SmallVector<State> states;
  int64_t modes = 0;
  Value init;   ///< activation that y starts with
  Value gain;   ///< f32 [d], its factor; may be null
  Value output; ///< the op's result
  /// Coefficients of padding are 0. Where that alone makes padding finite, leave this off.
  bool maskPadding = false;

private:
  /// A channel of the tile and the modes [mode, mode + count) of it: what a thread works on.
  struct Share {
    Value channel; ///< in the tile
    Value mode;
    int64_t count = 0;
    SmallVector<Value> constants; ///< [count][operands], null for those of every step
  };

  bool isHoisted(const Input &input) {
    return input.kind != Input::Tile && input.kind != Input::Steps;
  }
  Value hoisted(const Input &input, const Share &share, int64_t k);
  Value perStep(const Input &input, Value t, const Share &share, int64_t k);
  Value blockOffset(Value channel, Value mode, int64_t parts, int64_t part);
  Value stateOffset(const State &state, const Share &share, int64_t k);
  int64_t stateWords(const State &state) const {
    return frame.width.padded() * modes * state.parts;
  }
  Share shareOf(Value channel, int64_t chunk);
  void eachState(const Share &share, function_ref<void(const State &, Value, size_t)> body);
  SmallVector<Value> loadStates(const Share &share);
  void storeStates(const Share &share, ArrayRef<Value> values);
  FailureOr<SmallVector<Value>> walk(const Share &share, ValueRange before, bool isFirst, Value y);
  LogicalResult steps(const Share &share, Value t, int64_t count, SmallVector<Value> &values,
                      bool isFirst, Value y);

  int64_t lanes = 1;    ///< that share a channel
  int64_t own = 1;      ///< modes of a lane
  int64_t chunk = 1;    ///< modes of a lane whose states are in registers together
  bool resident = true; ///< states stay in registers for the whole call
  Value lane, firstChannel;
  Share residentShare;
};

/// Offset of a channel in [d / 32][modes][parts][32].
Value Recurrence::blockOffset(Value channel, Value mode, int64_t parts, int64_t part) {
  Value at = add(frame.channel, channel);
  Value base = mul(add(mul(div(at, kLanes), index(modes)), mode), index(parts * kLanes));
  return add(add(base, index(part * kLanes)), rem(at, kLanes));
}

Value Recurrence::hoisted(const Input &input, const Share &share, int64_t k) {
  Value at = add(frame.channel, share.channel), mode = add(share.mode, index(k));
  switch (input.kind) {
  case Input::Channel:
    return load(input.buffer, at);
  case Input::Blocks:
    return load(input.buffer, blockOffset(share.channel, mode, input.parts, input.part));
  case Input::Rows:
    return load(input.buffer, add(mul(mode, index(frame.width.padded())), at));
  case Input::Mode:
    return load(input.buffer, mode);
  case Input::Tile:
  case Input::Steps:
    break;
  }
  llvm_unreachable("changes from step to step");
}

Value Recurrence::perStep(const Input &input, Value t, const Share &share, int64_t k) {
  if (input.kind == Input::Tile)
    return load(frame.tileOf(input.buffer), add(frame.rowOf(t), share.channel));
  Value row = mul(add(frame.firstRow, t), index(input.rowStride));
  Value mode = add(share.mode, index(k));
  Value from = add(row, mul(mode, index(input.modeStride)));
  if (input.channelStride) {
    Value d = add(frame.channel, share.channel);
    if (input.channelStride > 1) // there are no rows of padding channels
      d = arith::MinUIOp::create(b, loc, d, index(frame.width.inner - 1));
    from = add(from, mul(d, index(input.channelStride)));
  }
  return loadWide(input.buffer, from, 1);
}

Value Recurrence::stateOffset(const State &state, const Share &share, int64_t k) {
  int64_t words = (stateWords(state) * 4 + 63) / 64 * 16;
  return add(mul(frame.sequence, index(words)),
             blockOffset(share.channel, add(share.mode, index(k)), state.parts, state.part));
}

void Recurrence::eachState(const Share &share,
                           function_ref<void(const State &, Value, size_t)> body) {
  size_t number = 0;
  for (int64_t k = 0; k < share.count; ++k)
    for (const State &state : states)
      body(state, stateOffset(state, share, k), number++);
}

SmallVector<Value> Recurrence::loadStates(const Share &share) {
  SmallVector<Value> values;
  eachState(share, [&](const State &state, Value at, size_t) {
    values.push_back(loadWide(state.buffer, at, 1));
  });
  return values;
}

void Recurrence::storeStates(const Share &share, ArrayRef<Value> values) {
  eachState(share, [&](const State &state, Value at, size_t i) {
    storeWide(values[i], state.buffer, at);
  });
}

Recurrence::Share Recurrence::shareOf(Value channel, int64_t number) {
  Share share;
  share.channel = channel;
  share.mode = add(mul(lane, index(own)), index(number * chunk));
  share.count = std::min(chunk, own - number * chunk);
  for (int64_t k = 0; k < share.count; ++k)
    for (const Input &input : operands)
      share.constants.push_back(isHoisted(input) ? hoisted(input, share, k) : Value());
  return share;
}

LogicalResult Recurrence::begin(SmallVectorImpl<Value> &carried) {
  if (failed(describe()))
    return failure();
  // As many lanes for a channel as there are threads for, if they can share the modes evenly.
  while (modes % (2 * lanes) == 0 && 2 * lanes * frame.tile <= frame.threads && lanes < kLanes)
    lanes *= 2;
  own = modes / lanes;
  int64_t perMode = states.size() +
                    llvm::count_if(operands, [&](const Input &input) { return isHoisted(input); });
  chunk = std::clamp<int64_t>(kRegisters / perMode, 1, own);
  resident = chunk == own && frame.tile * lanes <= frame.threads;
  lane = rem(frame.thread, lanes);
  firstChannel = div(frame.thread, lanes);
  if (resident) {
    // Threads without a channel take one that exists, and leave no trace.
    residentShare = shareOf(arith::MinUIOp::create(b, loc, firstChannel, index(frame.tile - 1)), 0);
    llvm::append_range(carried, loadStates(residentShare));
  }
  return success();
}

LogicalResult Recurrence::emit(MutableArrayRef<Value> carried) {
  Value y = frame.activationTile();
  frame.setTile(output, y);
  LogicalResult result = success();
  auto run = [&](const Share &share, ValueRange before, bool isFirst) {
    if (seesTiles()) {
      size_t number = 0;
      for (int64_t k = 0; k < share.count; ++k)
        for (const State &state : states)
          atTile(before[number++], blockOffset(share.channel, add(share.mode, index(k)),
                                               state.parts, state.part));
    }
    FailureOr<SmallVector<Value>> after = walk(share, before, isFirst, y);
    if (succeeded(after))
      return *after;
    result = failure();
    return SmallVector<Value>(before);
  };
  if (resident && frame.tile * lanes == frame.threads) {
    SmallVector<Value> after = run(residentShare, carried, true);
    llvm::copy(after, carried.begin());
  } else if (resident) {
    SmallVector<Type> types(carried.size(), f32);
    auto branch = scf::IfOp::create(b, loc, types, less(firstChannel, index(frame.tile)), true);
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(&branch.getThenRegion().front());
    scf::YieldOp::create(b, loc, run(residentShare, carried, true));
    b.setInsertionPointToStart(&branch.getElseRegion().front());
    scf::YieldOp::create(b, loc, ValueRange(carried));
    llvm::copy(branch.getResults(), carried.begin());
  } else {
    forLoop(firstChannel, index(frame.tile), index(frame.threads / lanes), [&](Value channel) {
      for (int64_t number = 0; number * chunk < own; ++number) {
        Share share = shareOf(channel, number);
        storeStates(share, run(share, loadStates(share), number == 0));
      }
    });
  }
  barrier();
  return result;
}

void Recurrence::end(ArrayRef<Value> carried) {
  if (!resident)
    return;
  ifThen(less(firstChannel, index(frame.tile)), [&] { storeStates(residentShare, carried); });
}

/// All steps of the time tile for one share; the states after them.
FailureOr<SmallVector<Value>> Recurrence::walk(const Share &share, ValueRange before, bool isFirst,
                                               Value y) {
  int64_t block = std::max<int64_t>(lanes, 4);
  Value rest = rem(frame.steps, block), whole = sub(frame.steps, rest);
  SmallVector<Value> values(before);
  auto loop = [&](Value from, Value to, int64_t count) -> LogicalResult {
    auto times = scf::ForOp::create(b, loc, from, to, index(count), values);
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(times.getBody());
    SmallVector<Value> next(times.getRegionIterArgs());
    if (failed(steps(share, times.getInductionVar(), count, next, isFirst, y)))
      return failure();
    scf::YieldOp::create(b, loc, next);
    values.assign(times.getResults().begin(), times.getResults().end());
    return success();
  };
  if (block > 1 && failed(loop(index(0), whole, block)))
    return failure();
  if (failed(loop(block > 1 ? whole : index(0), frame.steps, 1)))
    return failure();
  return values;
}

/// `count` steps from `t` on: one, or at least as many as lanes share the channel.
LogicalResult Recurrence::steps(const Share &share, Value t, int64_t count,
                                SmallVector<Value> &values, bool isFirst, Value y) {
  SmallVector<Value> sums;
  for (int64_t u = 0; u < count; ++u) {
    Value now = add(t, index(u)), sum;
    SmallVector<Value> tiles, next;
    for (const Input &input : operands)
      tiles.push_back(input.kind == Input::Tile ? perStep(input, now, share, 0) : Value());
    for (int64_t k = 0; k < share.count; ++k) {
      SmallVector<Value> inputs;
      for (auto [i, input] : llvm::enumerate(operands))
        inputs.push_back(input.kind == Input::Tile ? tiles[i]
                         : isHoisted(input)        ? share.constants[k * operands.size() + i]
                                                   : perStep(input, now, share, k));
      SmallVector<Value> mode(ArrayRef<Value>(values).slice(k * states.size(), states.size()));
      if (failed(body(inputs, mode, sum)))
        return failure();
      llvm::append_range(next, mode);
    }
    values = next;
    sums.push_back(sum);
  }

  // Sum over the lanes of the channel. With as many steps as lanes each lane hands on half of the
  // steps and keeps the other half, until it has its own.
  Value own = t;
  if (count >= lanes) {
    for (int64_t distance = lanes / 2; distance >= 1; distance /= 2) {
      Value bit = arith::AndIOp::create(b, loc, lane, index(distance));
      Value upper = arith::CmpIOp::create(b, loc, arith::CmpIPredicate::ne, bit, index(0));
      int64_t half = sums.size() / 2;
      SmallVector<Value> kept;
      for (int64_t i = 0; i < half; ++i) {
        Value mine = select(upper, sums[i + half], sums[i]);
        Value others = select(upper, sums[i], sums[i + half]);
        kept.push_back(addf(mine, shuffleXor(others, distance)));
      }
      sums = kept;
    }
    own = add(t, mul(lane, index(count / lanes)));
  } else {
    for (int64_t distance = lanes / 2; distance >= 1; distance /= 2)
      sums[0] = addf(sums[0], shuffleXor(sums[0], distance));
  }

  auto write = [&](Value now, Value sum) {
    Value at = add(frame.rowOf(now), share.channel);
    Value start = load(isFirst ? frame.tileOf(init) : y, at);
    if (isFirst && gain)
      sum = fma(load(gain, add(frame.channel, share.channel)), start, sum);
    else
      sum = addf(start, sum);
    if (maskPadding && frame.width.inner != frame.width.padded()) {
      Value exists = less(add(frame.channel, share.channel), index(frame.width.inner));
      sum = select(exists, sum, f32Constant(0));
    }
    store(sum, y, at);
  };
  if (count < lanes) {
    ifThen(equal(lane, index(0)), [&] { write(own, sums[0]); });
    return success();
  }
  for (auto [i, sum] : llvm::enumerate(sums))
    write(add(own, index(i)), sum);
  return success();
}

//===----------------------------------------------------------------------===//
// mega.cema
//===----------------------------------------------------------------------===//

/// spec 3.2: y = omega x + Re Σ_k g h, h = q h + p x; its coefficients p, q and g are prepared.
/// `Op`: mega.cema, or mega.cema_saving.
template <class Op> class Cema final : public Recurrence {
public:
  Cema(Op op, StreamKernel &frame) : Recurrence(frame), op(op) {}

  SmallVector<Value> inputs() override { return {op.getInput()}; }

private:
  LogicalResult describe() override {
    modes = op.getAlpha().getType().getDimSize(1);
    KernelBuffer buffer;
    buffer.kind = "cema";
    for (Value source : {op.getAlpha(), op.getDelta(), op.getTheta(), op.getGamma()})
      buffer.sources.push_back(frame.kernel.operandNumber(source));
    buffer.rows = {1, modes};
    buffer.columns = frame.width;
    Value coefficients = frame.kernel.parameter(buffer, f32); // [blocks][N][5][32]
    operands = {{Input::Tile, op.getInput()}};
    for (int64_t part = 0; part < 5; ++part)
      operands.push_back({Input::Blocks, coefficients, 5, part});
    Value h = frame.kernel.operandParameter(op.getState()); // [blocks][N][2][32]
    states = {{h, 2, 0}, {h, 2, 1}};
    init = op.getInput();
    gain = frame.vectorWeight(op.getOmega(), frame.width);
    output = op.getOutput();
    if constexpr (std::is_same_v<Op, mega::CemaSavingOp>) {
      if (kMarkedSteps % frame.timeTile)
        return op.emitOpError("expects time_tile to divide ")
               << kMarkedSteps << ", but got " << frame.timeTile;
      start = frame.ownResult(op.getStart());
      marks = frame.ownResult(op.getMarks());
    }
    return success();
  }

  /// The state before the first step goes to `start`, that before step 32 j of sequence b is
  /// number b ⌊L / 32⌋ + j - 1 of `marks`.
  bool seesTiles() const override { return start || marks; }
  void atTile(Value v, Value at) override {
    if constexpr (std::is_same_v<Op, mega::CemaSavingOp>) {
      if (start)
        ifThen(equal(frame.time, index(0)), [&] {
          Type type = op.getStart().getType();
          int64_t stride = rowStrideOf(widthOf(type), dtypeOf(type));
          store(v, start, add(mul(frame.sequence, index(stride)), at));
        });
      Value counts = equal(rem(frame.time, kMarkedSteps), index(0));
      counts = arith::AndIOp::create(b, loc, counts, less(index(0), frame.time));
      if (marks)
        ifThen(counts, [&] {
          Value number = sub(div(frame.time, kMarkedSteps), index(1));
          Value perSequence = div(frame.kernel.frame.length, kMarkedSteps);
          number = add(mul(frame.sequence, perSequence), number);
          store(v, marks, add(mul(number, index(frame.width.padded() * modes * 2)), at));
        });
    }
  }

  LogicalResult body(ArrayRef<Value> inputs, SmallVector<Value> &states, Value &sum) override {
    Value x = inputs[0], p = inputs[1], qr = inputs[2], qi = inputs[3];
    Value gr = inputs[4], gi = inputs[5], hr = states[0], hi = states[1];
    Value minusQi = arith::NegFOp::create(b, loc, qi), minusGi = arith::NegFOp::create(b, loc, gi);
    states[0] = fma(minusQi, hi, fma(qr, hr, mulf(p, x)));
    states[1] = fma(qi, hr, mulf(qr, hi));
    sum = sum ? fma(gr, states[0], sum) : mulf(gr, states[0]);
    sum = fma(minusGi, states[1], sum);
    return success();
  }

  Op op;
  Value start, marks; ///< null: not asked for
};

//===----------------------------------------------------------------------===//
// mega.scan
//===----------------------------------------------------------------------===//

class Scan final : public Recurrence {
public:
  Scan(mega::ScanOp op, StreamKernel &frame) : Recurrence(frame), op(op), scan(op, b, 0) {
    maskPadding = true; // a body may make anything of zeros
  }

  SmallVector<Value> inputs() override {
    SmallVector<Value> values{op.getInit()};
    for (auto [value, map] : llvm::zip(op.getInputs(), op.getMaps()))
      if (dimsOf(map) ==
          SmallVector<unsigned>{mega::ScanOp::Batch, mega::ScanOp::Time, mega::ScanOp::Channel})
        values.push_back(value);
    return values;
  }

private:
  static SmallVector<unsigned> dimsOf(AffineMap map) {
    SmallVector<unsigned> dims;
    for (unsigned i = 0; i < map.getNumResults(); ++i)
      dims.push_back(map.getDimPosition(i));
    return dims;
  }

  LogicalResult describe() override {
    if (op.getReverse())
      return op.emitOpError("against time has no kernel: a call may be cut into pieces, which "
                            "come in the order of time; reverse its inputs instead");
    modes = cast<RankedTensorType>(op.getStates().front().getType()).getDimSize(2);
    for (auto [i, value, map] : llvm::enumerate(op.getInputs(), op.getMaps()))
      if (failed(addInput(i, value, map)))
        return failure();
    for (Value state : op.getStates())
      states.push_back({frame.kernel.operandParameter(state)});
    init = op.getInit();
    output = op.getOutput();
    return success();
  }

  LogicalResult addInput(int64_t number, Value value, AffineMap map) {
    using mega::ScanOp;
    SmallVector<unsigned> dims = dimsOf(map);
    auto is = [&](std::initializer_list<unsigned> expected) {
      return ArrayRef<unsigned>(dims) == ArrayRef<unsigned>(expected);
    };
    auto prepared = [&](StringRef kind) {
      KernelBuffer buffer;
      buffer.kind = kind.str();
      buffer.sources = {frame.kernel.operandNumber(value)};
      buffer.rows = {1, modes};
      buffer.columns = frame.width;
      return frame.kernel.parameter(buffer, f32);
    };
    auto steps = [&](int64_t channelStride, int64_t modeStride) -> LogicalResult {
      if (frame.kernel.operandNumber(value) < 0)
        return op.emitOpError("expects input ") << number << " to be computed before its group";
      Input input{Input::Steps, frame.kernel.operandParameter(value)};
      input.rowStride = rowStrideOf(widthOf(value.getType()), dtypeOf(value.getType()));
      input.channelStride = channelStride;
      input.modeStride = modeStride;
      operands.push_back(input);
      return success();
    };
    if (is({ScanOp::Batch, ScanOp::Time, ScanOp::Channel}))
      operands.push_back({Input::Tile, value});
    else if (is({ScanOp::Channel}))
      operands.push_back({Input::Channel, frame.vectorWeight(value, frame.width)});
    else if (is({ScanOp::Mode}))
      operands.push_back({Input::Mode, frame.vectorWeight(value, {1, modes})});
    else if (is({ScanOp::Channel, ScanOp::Mode}))
      operands.push_back({Input::Blocks, prepared("lanes")});
    else if (is({ScanOp::Mode, ScanOp::Channel}))
      operands.push_back({Input::Rows, prepared("table")});
    else if (is({ScanOp::Batch, ScanOp::Time, ScanOp::Mode}))
      return steps(0, 1);
    else if (is({ScanOp::Batch, ScanOp::Time, ScanOp::Mode, ScanOp::Channel}))
      return steps(1, widthOf(value.getType()).paddedInner());
    else if (is({ScanOp::Batch, ScanOp::Time, ScanOp::Channel, ScanOp::Mode}))
      return steps(widthOf(value.getType()).paddedInner(), 1);
    else
      return op.emitOpError("has no kernel for input ")
             << number << " with the map " << AffineMapAttr::get(map)
             << "; there are (b, t, d), (b, t, n), (b, t, d, n) and (b, t, n, d) for "
                "activations, (d), (n), (d, n) and (n, d) for weights";
    return success();
  }

  LogicalResult body(ArrayRef<Value> inputs, SmallVector<Value> &states, Value &sum) override {
    FailureOr<Value> read = scan.emit(inputs, states);
    if (failed(read))
      return failure();
    sum = sum ? arith::AddFOp::create(b, loc, sum, *read, arith::FastMathFlags::contract) : *read;
    return success();
  }

  mega::ScanOp op;
  ScanBody scan;
};

} // namespace

std::unique_ptr<StreamKernelOp> emitCema(Operation *op, StreamKernel &frame) {
  if (auto saving = dyn_cast<mega::CemaSavingOp>(op))
    return std::make_unique<Cema<mega::CemaSavingOp>>(saving, frame);
  return std::make_unique<Cema<mega::CemaOp>>(cast<mega::CemaOp>(op), frame);
}

std::unique_ptr<StreamKernelOp> emitScan(mega::ScanOp op, StreamKernel &frame) {
  return std::make_unique<Scan>(op, frame);
}

} // namespace otodus

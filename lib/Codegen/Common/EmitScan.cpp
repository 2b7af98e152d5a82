//===- EmitScan.cpp - First-order recurrences ------------------------------===//
//
// One core for mega.scan and mega.cema. A vector holds channels. Modes go in groups of four,
// whose states stay in registers while all steps of the time tile run:
//
//   for every vector of channels, for every four modes
//     load coefficients and states
//     for every step:  y += Σ over the four modes of what the body reads
//     store states
//
// so y is summed over the modes in ascending order, starting from its initial value.
//
//===----------------------------------------------------------------------===//

#include "ScanBody.h"
#include "StreamEmitter.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;

namespace otodus {
namespace {

constexpr int64_t kModes = 4; ///< modes whose state stays in registers together
/// Channels of one pass: a lane block, so that coefficients and state are read line by line.
constexpr int64_t kScanLanes = kLanes;

/// The recurrence of one op: subclasses say what its operands and its body are.
class Recurrence : public StreamOpEmitter {
protected:
  /// Where an input's value for step t, channel d and mode n comes from.
  struct Input {
    enum Kind {
      Tile,    ///< scratch tile, [t][d]
      Channel, ///< vector, [d]
      Blocks,  ///< prepared, [d / 32][n][parts][32], element `part`
      Rows,    ///< prepared, [n][d]
      Mode,    ///< vector, [n]
      Steps,   ///< row buffer, element `channelStride` d + `modeStride` n of row t
    } kind;
    Value buffer;
    int64_t parts = 1, part = 0;
    int64_t rowStride = 0, channelStride = 0, modeStride = 0;
  };
  /// A carried value for every channel and mode: [d / 32][n][parts][32] per sequence.
  struct State {
    Value buffer;
    int64_t parts = 1, part = 0;
  };

  using StreamOpEmitter::StreamOpEmitter;

  /// One step of one mode: from `inputs` and `states`, all vectors of f32, the new states; and
  /// `sum` with what is read added to it.
  virtual LogicalResult body(ArrayRef<Value> inputs, SmallVector<Value> &states, Value &sum) = 0;

  /// Emits the loops. y, a scratch tile, starts as `gain` (f32 [d], may be null) times `init`, a
  /// scratch tile.
  LogicalResult emitLoops(ArrayRef<Input> inputs, ArrayRef<State> states, int64_t modes, Value init,
                          Value gain, Value y);

  /// Coefficients of padding are 0. Where that alone makes padding finite, leave this off.
  bool maskPadding = false;

private:
  bool isHoisted(const Input &input) {
    return input.kind != Input::Tile && input.kind != Input::Steps;
  }
  Value hoisted(const Input &input, Value at, int64_t mode);
  Value perStep(const Input &input, Value t, Value at, Value lane, int64_t mode);
  Value blockOffset(Value at, int64_t mode, int64_t parts, int64_t part);

  int64_t modes = 0;
};

/// Offset of vector `at` in [d / 32][modes][parts][32].
Value Recurrence::blockOffset(Value at, int64_t mode, int64_t parts, int64_t part) {
  Value block = arith::DivUIOp::create(b, loc, at, index(kLanes));
  Value inBlock = arith::RemUIOp::create(b, loc, at, index(kLanes));
  Value base = mul(add(mul(block, index(modes)), index(mode)), index(parts * kLanes));
  return add(add(base, index(part * kLanes)), inBlock);
}

Value Recurrence::hoisted(const Input &input, Value at, int64_t mode) {
  switch (input.kind) {
  case Input::Channel:
    return loadF32(input.buffer, at, kScanLanes);
  case Input::Blocks:
    return loadF32(input.buffer, blockOffset(at, mode, input.parts, input.part), kScanLanes);
  case Input::Rows:
    return loadF32(input.buffer, add(index(mode * frame.width.padded()), at), kScanLanes);
  case Input::Mode:
    return splat(memref::LoadOp::create(b, loc, input.buffer, ValueRange{index(mode)}), kScanLanes);
  case Input::Tile:
  case Input::Steps:
    break;
  }
  llvm_unreachable("changes from step to step");
}

Value Recurrence::perStep(const Input &input, Value t, Value at, Value lane, int64_t mode) {
  if (input.kind == Input::Tile)
    return loadF32(input.buffer, add(mul(t, index(frame.tile)), lane), kScanLanes);
  Type element = getElementTypeOrSelf(input.buffer.getType());
  Value row = mul(add(frame.firstRow, t), index(input.rowStride));
  Value from = add(row, index(mode * input.modeStride));
  if (input.channelStride == 0) {
    Value scalar = memref::LoadOp::create(b, loc, input.buffer, ValueRange{from});
    if (!element.isF32())
      scalar = arith::ExtFOp::create(b, loc, f32, scalar);
    return splat(scalar, kScanLanes);
  }
  if (input.channelStride == 1)
    return loadF32(input.buffer, add(from, at), kScanLanes);
  // Channels lie apart. There are no rows of padding channels.
  if (element.isF32()) {
    SmallVector<int32_t> offsets;
    for (int64_t i = 0; i < kScanLanes; ++i)
      offsets.push_back(int32_t(i * input.channelStride));
    Value lanes = arith::ConstantOp::create(b, loc, b.getI32VectorAttr(offsets));
    Value left = arith::SubIOp::create(b, loc, index(frame.width.inner), at);
    Value mask =
        vector::CreateMaskOp::create(b, loc, VectorType::get({kScanLanes}, b.getI1Type()), left);
    auto type = VectorType::get({kScanLanes}, element);
    Value zero = arith::ConstantOp::create(b, loc, b.getZeroAttr(type));
    from = add(from, mul(at, index(input.channelStride)));
    return vector::GatherOp::create(b, loc, type, input.buffer, ValueRange{from}, lanes, mask,
                                    zero);
  }
  // No target gathers 16 bits.
  SmallVector<Value> elements;
  for (int64_t i = 0; i < kScanLanes; ++i) {
    Value d = arith::MinUIOp::create(b, loc, add(at, index(i)), index(frame.width.inner - 1));
    Value place = add(from, mul(d, index(input.channelStride)));
    elements.push_back(memref::LoadOp::create(b, loc, input.buffer, ValueRange{place}));
  }
  Value v = vector::FromElementsOp::create(b, loc, VectorType::get({kScanLanes}, element), elements);
  return arith::ExtFOp::create(b, loc, VectorType::get({kScanLanes}, f32), v);
}

LogicalResult Recurrence::emitLoops(ArrayRef<Input> inputs, ArrayRef<State> states, int64_t count,
                                    Value init, Value gain, Value y) {
  modes = count;
  int64_t paddedChannels = frame.width.padded();
  bool masked = maskPadding && frame.width.inner != paddedChannels;
  LogicalResult result = success();

  forLoop(index(0), index(frame.tile), index(kScanLanes), [&](Value lane) {
    Value at = add(frame.channel, lane);
    Value present;
    if (masked) {
      Value left = arith::SubIOp::create(b, loc, index(frame.width.inner), at);
      present =
          vector::CreateMaskOp::create(b, loc, VectorType::get({kScanLanes}, b.getI1Type()), left);
    }
    for (int64_t mode = 0; mode < modes; mode += kModes) {
      int64_t width = std::min(kModes, modes - mode);
      SmallVector<Value> constants, carried, stateAt;
      for (int64_t k = 0; k < width; ++k) {
        for (const Input &input : inputs)
          constants.push_back(isHoisted(input) ? hoisted(input, at, mode + k) : Value());
        for (const State &state : states) {
          int64_t words = (paddedChannels * modes * state.parts * 4 + 63) / 64 * 16;
          stateAt.push_back(add(mul(frame.sequence, index(words)),
                                blockOffset(at, mode + k, state.parts, state.part)));
          carried.push_back(loadF32(state.buffer, stateAt.back(), kScanLanes));
        }
      }
      Value factor = mode == 0 && gain ? loadF32(gain, at, kScanLanes) : Value();

      auto loop = scf::ForOp::create(b, loc, index(0), frame.steps, index(1), carried);
      {
        OpBuilder::InsertionGuard guard(b);
        b.setInsertionPointToStart(loop.getBody());
        Value t = loop.getInductionVar();
        Value to = add(mul(t, index(frame.tile)), lane);
        Value sum = loadF32(mode == 0 ? init : y, to, kScanLanes);
        if (factor)
          sum = arith::MulFOp::create(b, loc, factor, sum);
        SmallVector<Value> tiles, next;
        for (const Input &input : inputs)
          tiles.push_back(input.kind == Input::Tile ? perStep(input, t, at, lane, 0) : Value());
        for (int64_t k = 0; k < width; ++k) {
          SmallVector<Value> values;
          for (auto [i, input] : llvm::enumerate(inputs))
            values.push_back(input.kind == Input::Tile ? tiles[i]
                             : isHoisted(input)        ? constants[k * inputs.size() + i]
                                                       : perStep(input, t, at, lane, mode + k));
          SmallVector<Value> own(loop.getRegionIterArgs().slice(k * states.size(), states.size()));
          if (failed(body(values, own, sum)))
            result = failure();
          llvm::append_range(next, own);
        }
        if (masked) {
          Value zero = arith::ConstantOp::create(b, loc, b.getZeroAttr(sum.getType()));
          sum = arith::SelectOp::create(b, loc, present, sum, zero);
        }
        storeFromF32(sum, y, to);
        scf::YieldOp::create(b, loc, next);
      }
      for (auto [i, value] : llvm::enumerate(loop.getResults()))
        storeFromF32(value, states[i % states.size()].buffer, stateAt[i]);
    }
  });
  return result;
}

//===----------------------------------------------------------------------===//
// mega.cema
//===----------------------------------------------------------------------===//

/// spec 3.2: y = omega x + Re Σ_k g h, h = q h + p x; its coefficients p, q and g are prepared.
/// Of mega.cema, or of mega.cema_saving.
template <typename Op> class Cema final : public Recurrence {
public:
  Cema(Op op, StreamFrame &frame) : Recurrence(frame), op(op) {}

  LogicalResult emit() override {
    Value x = frame.tileOf(op.getInput());
    Value y = frame.activationTile();
    frame.setTile(op.getOutput(), y);
    int64_t modes = op.getAlpha().getType().getDimSize(1);
    KernelBuffer buffer;
    buffer.kind = "cema";
    for (Value source : {op.getAlpha(), op.getDelta(), op.getTheta(), op.getGamma()})
      buffer.sources.push_back(frame.kernel.operandNumber(source));
    buffer.rows = {1, modes};
    buffer.columns = frame.width;
    Value coefficients = frame.kernel.parameter(buffer, f32); // [blocks][N][5][32]
    SmallVector<Input> inputs{{Input::Tile, x}};
    for (int64_t part = 0; part < 5; ++part)
      inputs.push_back({Input::Blocks, coefficients, 5, part});
    Value omega = frame.vectorWeight(op.getOmega(), frame.width);
    Value h = frame.kernel.operandParameter(op.getState()); // [blocks][N][2][32]
    if constexpr (std::is_same_v<Op, mega::CemaSavingOp>)
      if (failed(save(h, modes)))
        return failure();
    return emitLoops(inputs, {{h, 2, 0}, {h, 2, 1}}, modes, x, omega, y);
  }

private:
  LogicalResult body(ArrayRef<Value> inputs, SmallVector<Value> &states, Value &sum) override {
    Value x = inputs[0], p = inputs[1], qr = inputs[2], qi = inputs[3];
    Value gr = inputs[4], gi = inputs[5], hr = states[0], hi = states[1];
    Value minus = arith::NegFOp::create(b, loc, qi);
    Value driven = arith::MulFOp::create(b, loc, p, x);
    Value decayed = vector::FMAOp::create(b, loc, qr, hr, driven);
    Value turned = arith::MulFOp::create(b, loc, qr, hi);
    states[0] = vector::FMAOp::create(b, loc, minus, hi, decayed);
    states[1] = vector::FMAOp::create(b, loc, qi, hr, turned);
    Value minusGi = arith::NegFOp::create(b, loc, gi);
    sum = vector::FMAOp::create(b, loc, gr, states[0], sum);
    sum = vector::FMAOp::create(b, loc, minusGi, states[1], sum);
    return success();
  }

  /// Copies the state before this time tile: of the first to `start`, of others to `marks`, where
  /// the one before step 32 j of sequence b is number b ⌊L / 32⌋ + j - 1.
  LogicalResult save(Value h, int64_t modes) {
    if constexpr (std::is_same_v<Op, mega::CemaSavingOp>) {
      if (frame.timeTile != kMarkedSteps)
        return op.emitOpError("expects time_tile to be ")
               << kMarkedSteps << ", but got " << frame.timeTile;
      Value start = frame.ownResult(op.getStart()), marks = frame.ownResult(op.getMarks());
      int64_t words = frame.width.padded() * modes * 2;
      Value own = mul(frame.channel, index(modes * 2));
      Value from = add(mul(frame.sequence, index((words + 15) / 16 * 16)), own);
      auto copy = [&](Value to, Value at) {
        if (to)
          forLoop(index(0), index(frame.tile * modes * 2), index(kLanes), [&](Value i) {
            storeFromF32(loadF32(h, add(from, i), kLanes), to, add(at, i));
          });
        scf::YieldOp::create(b, loc);
      };
      Value first = arith::CmpIOp::create(b, loc, arith::CmpIPredicate::eq, frame.time, index(0));
      auto choice = scf::IfOp::create(b, loc, TypeRange{}, first, true, true);
      OpBuilder::InsertionGuard guard(b);
      b.setInsertionPointToEnd(choice.thenBlock());
      Type type = op.getStart().getType();
      copy(start, add(mul(frame.sequence, index(rowStrideOf(widthOf(type), dtypeOf(type)))), own));
      b.setInsertionPointToEnd(choice.elseBlock());
      Value perSequence =
          arith::DivUIOp::create(b, loc, frame.kernel.frame.length, index(kMarkedSteps));
      Value number = arith::DivUIOp::create(b, loc, frame.time, index(kMarkedSteps));
      number = add(mul(frame.sequence, perSequence),
                   arith::SubIOp::create(b, loc, number, index(1)));
      copy(marks, add(mul(number, index(words)), own));
    }
    return success();
  }

  Op op;
};

//===----------------------------------------------------------------------===//
// mega.scan
//===----------------------------------------------------------------------===//

class Scan final : public Recurrence {
public:
  Scan(mega::ScanOp op, StreamFrame &frame) : Recurrence(frame), op(op), scan(op, b, kScanLanes) {
    maskPadding = true; // a body may make anything of zeros
  }

  LogicalResult begin() override {
    if (op.getReverse())
      return op.emitOpError("against time has no kernel: a call may be cut into pieces, which "
                            "come in the order of time; reverse its inputs instead");
    return success();
  }

  LogicalResult emit() override {
    SmallVector<Input> inputs;
    for (auto [i, value, map] : llvm::enumerate(op.getInputs(), op.getMaps()))
      if (failed(addInput(i, value, map, inputs)))
        return failure();
    SmallVector<State> states;
    for (Value state : op.getStates())
      states.push_back({frame.kernel.operandParameter(state)});
    Value init = frame.tileOf(op.getInit());
    Value y = frame.activationTile();
    frame.setTile(op.getOutput(), y);
    return emitLoops(inputs, states, modes(), init, Value(), y);
  }

private:
  int64_t modes() { return cast<RankedTensorType>(op.getStates().front().getType()).getDimSize(2); }

  LogicalResult addInput(int64_t number, Value value, AffineMap map, SmallVector<Input> &inputs) {
    using mega::ScanOp;
    SmallVector<unsigned> dims;
    for (unsigned i = 0; i < map.getNumResults(); ++i)
      dims.push_back(map.getDimPosition(i));
    auto is = [&](std::initializer_list<unsigned> expected) {
      return ArrayRef<unsigned>(dims) == ArrayRef<unsigned>(expected);
    };
    auto prepared = [&](StringRef kind) {
      KernelBuffer buffer;
      buffer.kind = kind.str();
      buffer.sources = {frame.kernel.operandNumber(value)};
      buffer.rows = {1, modes()};
      buffer.columns = frame.width;
      return frame.kernel.parameter(buffer, f32);
    };
    auto steps = [&](int64_t channelStride, int64_t modeStride) {
      Input input{Input::Steps, frame.kernel.operandParameter(value)};
      input.rowStride = rowStrideOf(widthOf(value.getType()), dtypeOf(value.getType()));
      input.channelStride = channelStride;
      input.modeStride = modeStride;
      return input;
    };
    if (is({ScanOp::Batch, ScanOp::Time, ScanOp::Channel})) {
      inputs.push_back({Input::Tile, frame.tileOf(value)});
    } else if (is({ScanOp::Channel})) {
      inputs.push_back({Input::Channel, frame.vectorWeight(value, frame.width)});
    } else if (is({ScanOp::Mode})) {
      inputs.push_back({Input::Mode, frame.vectorWeight(value, {1, modes()})});
    } else if (is({ScanOp::Channel, ScanOp::Mode})) {
      inputs.push_back({Input::Blocks, prepared("lanes")});
    } else if (is({ScanOp::Mode, ScanOp::Channel})) {
      inputs.push_back({Input::Rows, prepared("table")});
    } else if (is({ScanOp::Batch, ScanOp::Time, ScanOp::Mode})) {
      inputs.push_back(steps(0, 1));
    } else if (is({ScanOp::Batch, ScanOp::Time, ScanOp::Mode, ScanOp::Channel})) {
      inputs.push_back(steps(1, widthOf(value.getType()).paddedInner()));
    } else if (is({ScanOp::Batch, ScanOp::Time, ScanOp::Channel, ScanOp::Mode})) {
      inputs.push_back(steps(widthOf(value.getType()).paddedInner(), 1));
    } else {
      return op.emitOpError("has no kernel for input ")
             << number << " with the map " << AffineMapAttr::get(map)
             << "; there are (b, t, d), (b, t, n), (b, t, d, n) and (b, t, n, d) for "
                "activations, (d), (n), (d, n) and (n, d) for weights";
    }
    if (inputs.back().kind == Input::Steps && frame.kernel.operandNumber(value) < 0)
      return op.emitOpError("expects input ") << number << " to be computed before its group";
    return success();
  }

  LogicalResult body(ArrayRef<Value> inputs, SmallVector<Value> &states, Value &sum) override {
    FailureOr<Value> read = scan.emit(inputs, states);
    if (failed(read))
      return failure();
    sum = arith::AddFOp::create(b, loc, sum, *read, arith::FastMathFlags::contract);
    return success();
  }

  mega::ScanOp op;
  ScanBody scan;
};

} // namespace

std::unique_ptr<StreamOpEmitter> emitCema(Operation *op, StreamFrame &frame) {
  if (auto saving = dyn_cast<mega::CemaSavingOp>(op))
    return std::make_unique<Cema<mega::CemaSavingOp>>(saving, frame);
  return std::make_unique<Cema<mega::CemaOp>>(cast<mega::CemaOp>(op), frame);
}

std::unique_ptr<StreamOpEmitter> emitScan(mega::ScanOp op, StreamFrame &frame) {
  return std::make_unique<Scan>(op, frame);
}

} // namespace otodus

//===- EmitStream.cpp - Ops that walk time, fused along it -----------------===//
//
// A work item is one sequence and one tile of channels. It walks time in tiles; within a time
// tile each op of the group runs over scratch tiles [steps, channels] in f32, so that what one
// op hands to the next never leaves the L1 cache:
//
//   for every time tile
//     load x;  timestep_norm: moments of each step, running statistics, normalise
//              scan: for 4 modes at a time, all steps with the modes' state in registers
//     store what leaves the group
//
// Lanes are channels. State is carried through its buffer, the norm's moments in f64 scratch.
//
//===----------------------------------------------------------------------===//

#include "KernelEmitter.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

#include <numeric>

using namespace mlir;

namespace otodus {
namespace {

constexpr int64_t kTimeTile = 32;
constexpr int64_t kVector = 16;
constexpr int64_t kModes = 4; ///< modes whose state stays in registers together

class StreamEmitter {
public:
  StreamEmitter(KernelEmitter &kernel)
      : kernel(kernel), b(kernel.b), loc(kernel.loc), f32(b.getF32Type()), f64(b.getF64Type()) {}

  LogicalResult run() {
    Block *body = kernel.group.getBody(0);
    Type first = body->front().getOperand(0).getType();
    width = widthOf(first);
    int64_t padded = width.padded();
    tile = std::min<int64_t>(64, padded);
    for (Operation &op : body->without_terminator())
      if (auto norm = dyn_cast<mega::TimestepNormOp>(op)) {
        groupSize = width.inner / norm.getGroups();
        tile = std::lcm(std::lcm(groupSize, kLanes), tile);
      }
    if (tile > 512 || padded % tile != 0 || padded != width.inner)
      tile = padded; // odd widths: one tile covers all channels
    int64_t tiles = padded / tile;

    Value zero = index(0);
    auto grid = scf::ForallOp::create(
        b, loc,
        ArrayRef<OpFoldResult>{b.getIndexAttr(0), b.getIndexAttr(0)},
        ArrayRef<OpFoldResult>{kernel.frame.batch, b.getIndexAttr(tiles)},
        ArrayRef<OpFoldResult>{b.getIndexAttr(1), b.getIndexAttr(1)}, ValueRange{},
        std::nullopt);
    allocas = OpBuilder(grid);
    b.setInsertionPointToStart(grid.getBody());
    sequence = grid.getInductionVars()[0];
    channel = mul(grid.getInductionVars()[1], index(tile));

    for (Operation &op : body->without_terminator())
      if (failed(begin(&op)))
        return failure();
    auto times = scf::ForOp::create(b, loc, zero, kernel.frame.length, index(kTimeTile));
    {
      OpBuilder::InsertionGuard guard(b);
      b.setInsertionPointToStart(times.getBody());
      time = times.getInductionVar();
      Value left = arith::SubIOp::create(b, loc, kernel.frame.length, time);
      steps = arith::MinUIOp::create(b, loc, left, index(kTimeTile));
      Value row = add(mul(sequence, kernel.frame.length), time);
      firstRow = row;
      for (Operation &op : body->without_terminator())
        if (failed(emit(&op)))
          return failure();
      for (auto [i, yielded] : llvm::enumerate(kernel.group.getYield().getOperands()))
        if (isActivation(yielded))
          store(tiles_.lookup(yielded), i, yielded.getType());
    }
    for (Operation &op : body->without_terminator())
      end(&op);
    b.setInsertionPointToEnd(&kernel.function.getBody().front());
    kernel.finish({{formats::Symbol::Batch, 1, 1}, {formats::Symbol::One, tiles, 1}});
    return success();
  }

  static bool isActivation(Value value) {
    auto result = dyn_cast<OpResult>(value);
    auto sequence = result ? dyn_cast<mega::SequenceOpInterface>(result.getOwner())
                           : mega::SequenceOpInterface();
    return !sequence || !llvm::is_contained(sequence.getStateResults(), result);
  }

private:
  //===--------------------------------------------------------------------===//
  // Small builders
  //===--------------------------------------------------------------------===//

  Value index(int64_t v) { return arith::ConstantIndexOp::create(b, loc, v); }
  Value add(Value x, Value y) { return arith::AddIOp::create(b, loc, x, y); }
  Value mul(Value x, Value y) { return arith::MulIOp::create(b, loc, x, y); }
  Value f64Constant(double v) {
    return arith::ConstantOp::create(b, loc, b.getF64FloatAttr(v));
  }

  void forLoop(Value from, Value to, Value step, function_ref<void(Value)> body) {
    auto loop = scf::ForOp::create(b, loc, from, to, step);
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(loop.getBody());
    body(loop.getInductionVar());
  }

  /// `count` iterations, unrolled when few.
  void eachOf(int64_t count, function_ref<void(Value)> body) {
    if (count <= 4) {
      for (int64_t i = 0; i < count; ++i)
        body(index(i));
      return;
    }
    forLoop(index(0), index(count), index(1), body);
  }

  Value loadF32(Value buffer, Value at, int64_t lanes) {
    Type element = getElementTypeOrSelf(buffer.getType());
    Value v = vector::LoadOp::create(b, loc, VectorType::get({lanes}, element), buffer,
                                     ValueRange{at});
    return element.isF32() ? v
                           : Value(arith::ExtFOp::create(b, loc, VectorType::get({lanes}, f32), v));
  }

  void storeFromF32(Value v, Value buffer, Value at) {
    Type element = getElementTypeOrSelf(buffer.getType());
    int64_t lanes = cast<VectorType>(v.getType()).getDimSize(0);
    if (!element.isF32())
      v = arith::TruncFOp::create(b, loc, VectorType::get({lanes}, element), v);
    vector::StoreOp::create(b, loc, v, buffer, ValueRange{at});
  }

  Value splat(Value scalar, int64_t lanes) {
    return vector::BroadcastOp::create(b, loc, VectorType::get({lanes}, scalar.getType()), scalar);
  }

  /// A scratch tile [steps][channels] of f32, flat. Zeroed once where channels are padded, so
  /// that padding stays finite.
  Value scratch(int64_t elements, Type element, bool zeroed = false) {
    auto type = MemRefType::get({elements}, element);
    Value buffer = memref::AllocaOp::create(allocas, loc, type, allocas.getI64IntegerAttr(64));
    if (zeroed) {
      OpBuilder::InsertionGuard guard(b);
      b = OpBuilder(allocas);
      forLoop(index(0), index(elements), index(kVector), [&](Value i) {
        Value zero = arith::ConstantOp::create(
            b, loc, b.getZeroAttr(VectorType::get({kVector}, element)));
        vector::StoreOp::create(b, loc, zero, buffer, ValueRange{i});
      });
    }
    return buffer;
  }

  Value activationTile() {
    return scratch(kTimeTile * tile, f32, width.padded() != width.logical());
  }

  /// Offset of step `t` of the current time tile in a row buffer of `type`.
  Value rowOffset(Value t, Type type) {
    int64_t stride = rowStrideOf(widthOf(type), dtypeOf(type));
    return add(mul(add(firstRow, t), index(stride)), channel);
  }

  /// The scratch tile that holds `value`, loaded from its buffer on first use.
  Value tileOf(Value value) {
    if (Value known = tiles_.lookup(value))
      return known;
    Value buffer = kernel.operandParameter(value);
    Value result = activationTile();
    forLoop(index(0), steps, index(1), [&](Value t) {
      Value from = rowOffset(t, value.getType()), to = mul(t, index(tile));
      forLoop(index(0), index(tile), index(kLanes), [&](Value lane) {
        storeFromF32(loadF32(buffer, add(from, lane), kLanes), result, add(to, lane));
      });
    });
    tiles_[value] = result;
    return result;
  }

  void store(Value from, int64_t resultNumber, Type type) {
    Value buffer = kernel.resultParameter(resultNumber, getElementTypeOrSelf(type));
    forLoop(index(0), steps, index(1), [&](Value t) {
      Value to = rowOffset(t, type), at = mul(t, index(tile));
      forLoop(index(0), index(tile), index(kLanes), [&](Value lane) {
        storeFromF32(loadF32(from, add(at, lane), kLanes), buffer, add(to, lane));
      });
    });
  }

  Value vectorWeight(Value value, formats::Width columns) {
    KernelBuffer buffer;
    buffer.kind = "vector";
    buffer.sources = {kernel.operandNumber(value)};
    buffer.columns = columns;
    return kernel.parameter(buffer, f32);
  }

  //===--------------------------------------------------------------------===//
  // Ops
  //===--------------------------------------------------------------------===//

  LogicalResult begin(Operation *op) {
    if (auto norm = dyn_cast<mega::TimestepNormOp>(op))
      return beginNorm(norm), success();
    if (isa<mega::CemaOp>(op))
      return success();
    return op->emitOpError("has no streaming kernel");
  }

  LogicalResult emit(Operation *op) {
    if (auto norm = dyn_cast<mega::TimestepNormOp>(op))
      return emitNorm(norm), success();
    return emitCema(cast<mega::CemaOp>(op)), success();
  }

  void end(Operation *op) {
    if (auto norm = dyn_cast<mega::TimestepNormOp>(op))
      endNorm(norm);
  }

  /// Scratch f64 [groups of the tile][mean, variance] and the count, from the carried state.
  void beginNorm(mega::TimestepNormOp op) {
    groups = op.getGroups();
    groupsOfTile = std::min<int64_t>(groups, std::max<int64_t>(1, tile / groupSize));
    moments = scratch(2 * groupsOfTile, f64);
    countBefore = scratch(1, f64);
    Value mean = kernel.operandParameter(op.getMean());
    Value variance = kernel.operandParameter(op.getVariance());
    Value count = kernel.operandParameter(op.getCount());
    eachGroup([&](Value g, Value global) {
      Value at = stateIndex(global);
      Value m = memref::LoadOp::create(b, loc, mean, ValueRange{at});
      Value v = memref::LoadOp::create(b, loc, variance, ValueRange{at});
      Value slot = mul(g, index(2));
      memref::StoreOp::create(b, loc, Value(arith::ExtFOp::create(b, loc, f64, m)), moments,
                              ValueRange{slot});
      memref::StoreOp::create(b, loc, Value(arith::ExtFOp::create(b, loc, f64, v)), moments,
                              ValueRange{add(slot, index(1))});
    });
    Value n = memref::LoadOp::create(b, loc, count,
                                     ValueRange{mul(sequence, index(kStateWords64))});
    memref::StoreOp::create(b, loc, Value(arith::SIToFPOp::create(b, loc, f64, n)), countBefore,
                            ValueRange{index(0)});
  }

  void endNorm(mega::TimestepNormOp op) {
    Value mean = kernel.operandParameter(op.getMean());
    Value variance = kernel.operandParameter(op.getVariance());
    eachGroup([&](Value g, Value global) {
      Value at = stateIndex(global), slot = mul(g, index(2));
      Value m = memref::LoadOp::create(b, loc, moments, ValueRange{slot});
      Value v = memref::LoadOp::create(b, loc, moments, ValueRange{add(slot, index(1))});
      memref::StoreOp::create(b, loc, Value(arith::TruncFOp::create(b, loc, f32, m)), mean,
                              ValueRange{at});
      memref::StoreOp::create(b, loc, Value(arith::TruncFOp::create(b, loc, f32, v)), variance,
                              ValueRange{at});
    });
  }

  void eachGroup(function_ref<void(Value, Value)> body) {
    Value firstGroup = arith::DivUIOp::create(b, loc, channel, index(groupSize));
    eachOf(groupsOfTile, [&](Value g) { body(g, add(firstGroup, g)); });
  }

  /// Element of a [G] state of this sequence; states start at multiples of 64 bytes.
  Value stateIndex(Value group) {
    int64_t words = (groups * 4 + 63) / 64 * 16;
    return add(mul(sequence, index(words)), group);
  }

  /// spec 3.1, per step and group. Rows are taken relative to their group's first feature x0,
  /// which is exact where the mean is large against the deviation; means and variances are
  /// carried in f64.
  void emitNorm(mega::TimestepNormOp op) {
    Value x = tileOf(op.getInput());
    Value y = activationTile();
    tiles_[op.getOutput()] = y;
    Value weight = vectorWeight(op.getWeight(), width), bias = vectorWeight(op.getBias(), width);
    Value mask = op.getMask() ? kernel.operandParameter(op.getMask()) : Value();
    double eps = op.getEps().convertToDouble();
    int64_t whole = groupSize / kVector, rest = groupSize % kVector;

    forLoop(index(0), steps, index(1), [&](Value t) {
      Value before = memref::LoadOp::create(b, loc, countBefore, ValueRange{index(0)});
      Value counts = f64Constant(1), keep;
      if (mask) {
        Value byte = memref::LoadOp::create(b, loc, mask, ValueRange{add(firstRow, t)});
        Value zero = arith::ConstantOp::create(b, loc, b.getI8IntegerAttr(0));
        keep = arith::CmpIOp::create(b, loc, arith::CmpIPredicate::eq, byte, zero);
        counts = arith::SelectOp::create(b, loc, keep, counts, f64Constant(0));
      }
      Value after = arith::AddFOp::create(b, loc, before, counts);
      memref::StoreOp::create(b, loc, after, countBefore, ValueRange{index(0)});
      Value c2 = arith::DivFOp::create(b, loc, counts, after);
      if (mask) // a masked first step: 0 / 0
        c2 = arith::SelectOp::create(b, loc, keep, c2, f64Constant(0));
      Value c1 = arith::SubFOp::create(b, loc, f64Constant(1), c2);
      Value row = mul(t, index(tile));

      eachOf(groupsOfTile, [&](Value g) {
        Value inTile = mul(g, index(groupSize));
        Value at = add(row, inTile);
        Value x0 = memref::LoadOp::create(b, loc, x, ValueRange{at});

        // Σ f over the group's features, lanes last.
        auto sum = [&](function_ref<Value(Value, int64_t)> f) -> Value {
          Value total = arith::ConstantOp::create(b, loc, b.getF32FloatAttr(0));
          if (whole > 0) {
            auto type = VectorType::get({kVector}, f32);
            Value zero = arith::ConstantOp::create(b, loc, b.getZeroAttr(type));
            Value partial;
            if (whole <= 8) {
              partial = zero;
              for (int64_t i = 0; i < whole; ++i)
                partial = arith::AddFOp::create(b, loc, partial,
                                                f(add(at, index(i * kVector)), kVector));
            } else {
              auto loop = scf::ForOp::create(
                  b, loc, index(0), index(whole * kVector), index(kVector), ValueRange{zero},
                  [&](OpBuilder &nested, Location, Value i, ValueRange carried) {
                    OpBuilder saved = b;
                    b = nested;
                    Value next =
                        arith::AddFOp::create(b, loc, carried[0], f(add(at, i), kVector));
                    scf::YieldOp::create(b, loc, next);
                    b = saved;
                  });
              partial = loop.getResult(0);
            }
            total = vector::ReductionOp::create(b, loc, vector::CombiningKind::ADD, partial,
                                                arith::FastMathFlags::reassoc);
          }
          if (rest > 0) {
            Value tail = vector::ReductionOp::create(
                b, loc, vector::CombiningKind::ADD, f(add(at, index(whole * kVector)), rest),
                arith::FastMathFlags::reassoc);
            total = arith::AddFOp::create(b, loc, total, tail);
          }
          return total;
        };
        auto relative = [&](Value from, int64_t lanes) -> Value {
          return arith::SubFOp::create(b, loc, loadF32(x, from, lanes), splat(x0, lanes));
        };
        Value scale = arith::ConstantOp::create(b, loc, b.getF32FloatAttr(1.0f / groupSize));
        Value offset = arith::MulFOp::create(
            b, loc, sum([&](Value from, int64_t lanes) { return relative(from, lanes); }), scale);
        Value spread = arith::MulFOp::create(
            b, loc, sum([&](Value from, int64_t lanes) -> Value {
              Value d = arith::SubFOp::create(b, loc, relative(from, lanes),
                                              splat(offset, lanes));
              return arith::MulFOp::create(b, loc, d, d);
            }),
            scale);

        Value slot = mul(g, index(2)), slotV = add(slot, index(1));
        Value m = memref::LoadOp::create(b, loc, moments, ValueRange{slot});
        Value v = memref::LoadOp::create(b, loc, moments, ValueRange{slotV});
        Value x0Wide = arith::ExtFOp::create(b, loc, f64, x0);
        Value mean = arith::AddFOp::create(b, loc, x0Wide,
                                           Value(arith::ExtFOp::create(b, loc, f64, offset)));
        Value delta = arith::SubFOp::create(b, loc, mean, m);
        Value step = arith::MulFOp::create(b, loc, c2, delta);
        Value newM = arith::AddFOp::create(b, loc, m, step);
        Value kept = arith::MulFOp::create(b, loc, c1, v);
        Value own = arith::MulFOp::create(b, loc, c2,
                                          Value(arith::ExtFOp::create(b, loc, f64, spread)));
        Value between = arith::MulFOp::create(
            b, loc, c1, Value(arith::MulFOp::create(b, loc, step, delta)));
        Value newV = arith::AddFOp::create(
            b, loc, Value(arith::AddFOp::create(b, loc, kept, own)), between);
        memref::StoreOp::create(b, loc, newM, moments, ValueRange{slot});
        memref::StoreOp::create(b, loc, newV, moments, ValueRange{slotV});

        Value root = math::SqrtOp::create(
            b, loc, Value(arith::AddFOp::create(b, loc, newV, f64Constant(eps))));
        Value r = arith::TruncFOp::create(
            b, loc, f32, Value(arith::DivFOp::create(b, loc, f64Constant(1), root)));
        Value shift = arith::TruncFOp::create(
            b, loc, f32, Value(arith::SubFOp::create(b, loc, newM, x0Wide)));

        auto write = [&](Value lane, int64_t lanes) {
          Value parameterAt = add(add(channel, inTile), lane);
          Value d = relative(add(at, lane), lanes);
          d = arith::SubFOp::create(b, loc, d, splat(shift, lanes));
          Value one = arith::ConstantOp::create(
              b, loc, SplatElementsAttr::get(VectorType::get({lanes}, f32), b.getF32FloatAttr(1)));
          Value gain = arith::AddFOp::create(b, loc, loadF32(weight, parameterAt, lanes), one);
          Value scaled = arith::MulFOp::create(b, loc, d, splat(r, lanes));
          scaled = arith::MulFOp::create(b, loc, scaled, gain);
          scaled = arith::AddFOp::create(b, loc, scaled, loadF32(bias, parameterAt, lanes));
          if (mask) {
            Value zero =
                arith::ConstantOp::create(b, loc, b.getZeroAttr(VectorType::get({lanes}, f32)));
            scaled = arith::SelectOp::create(b, loc, keep, scaled, zero);
          }
          storeFromF32(scaled, y, add(at, lane));
        };
        if (whole <= 8) {
          for (int64_t i = 0; i < whole; ++i)
            write(index(i * kVector), kVector);
        } else {
          forLoop(index(0), index(whole * kVector), index(kVector),
                  [&](Value lane) { write(lane, kVector); });
        }
        if (rest)
          write(index(whole * kVector), rest);
      });
    });
  }

  /// spec 3.2: y = omega x + Re Σ_k g h, h = q h + p x, with lanes as channels.
  void emitCema(mega::CemaOp op) {
    Value x = tileOf(op.getInput());
    Value y = activationTile();
    tiles_[op.getOutput()] = y;
    int64_t modes = op.getAlpha().getType().getDimSize(1);
    KernelBuffer buffer;
    buffer.kind = "cema";
    for (Value source : {op.getAlpha(), op.getDelta(), op.getTheta(), op.getGamma()})
      buffer.sources.push_back(kernel.operandNumber(source));
    buffer.rows = {1, modes};
    buffer.columns = width;
    Value coefficients = kernel.parameter(buffer, f32); // [blocks][N][5][32]
    Value omega = vectorWeight(op.getOmega(), width);
    Value state = kernel.operandParameter(op.getState()); // [blocks][N][2][32] per sequence
    int64_t stateWords = (width.padded() * modes * 2 * 4 + 63) / 64 * 16;

    forLoop(index(0), index(tile), index(kVector), [&](Value lane) {
      Value at = add(channel, lane);
      Value block = arith::DivUIOp::create(b, loc, at, index(kLanes));
      Value inBlock = arith::RemUIOp::create(b, loc, at, index(kLanes));
      for (int64_t mode = 0; mode < modes; mode += kModes) {
        int64_t count = std::min(kModes, modes - mode);
        SmallVector<Value> constants, initial, stateAt;
        for (int64_t k = 0; k < count; ++k) {
          Value base = mul(add(mul(block, index(modes)), index(mode + k)), index(5 * kLanes));
          for (int64_t c = 0; c < 5; ++c)
            constants.push_back(loadF32(
                coefficients, add(add(base, index(c * kLanes)), inBlock), kVector));
          Value h = add(mul(sequence, index(stateWords)),
                        mul(add(mul(block, index(modes)), index(mode + k)), index(2 * kLanes)));
          for (int64_t c = 0; c < 2; ++c) {
            stateAt.push_back(add(add(h, index(c * kLanes)), inBlock));
            initial.push_back(loadF32(state, stateAt.back(), kVector));
          }
        }
        Value direct = mode == 0 ? loadF32(omega, at, kVector) : Value();
        auto loop = scf::ForOp::create(b, loc, index(0), steps, index(1), initial);
        {
          OpBuilder::InsertionGuard guard(b);
          b.setInsertionPointToStart(loop.getBody());
          Value from = add(mul(loop.getInductionVar(), index(tile)), lane);
          Value in = loadF32(x, from, kVector);
          Value sum = direct ? Value(arith::MulFOp::create(b, loc, direct, in))
                             : loadF32(y, from, kVector);
          SmallVector<Value> next;
          for (int64_t k = 0; k < count; ++k) {
            Value p = constants[5 * k], qr = constants[5 * k + 1], qi = constants[5 * k + 2];
            Value gr = constants[5 * k + 3], gi = constants[5 * k + 4];
            Value hr = loop.getRegionIterArg(2 * k), hi = loop.getRegionIterArg(2 * k + 1);
            Value minus = arith::NegFOp::create(b, loc, qi);
            Value driven = arith::MulFOp::create(b, loc, p, in);
            Value nr = vector::FMAOp::create(
                b, loc, minus, hi, Value(vector::FMAOp::create(b, loc, qr, hr, driven)));
            Value ni = vector::FMAOp::create(b, loc, qi, hr,
                                             Value(arith::MulFOp::create(b, loc, qr, hi)));
            sum = vector::FMAOp::create(b, loc, gr, nr, sum);
            sum = vector::FMAOp::create(b, loc, Value(arith::NegFOp::create(b, loc, gi)), ni, sum);
            next.push_back(nr);
            next.push_back(ni);
          }
          storeFromF32(sum, y, from);
          scf::YieldOp::create(b, loc, next);
        }
        for (auto [value, where] : llvm::zip(loop.getResults(), stateAt))
          storeFromF32(value, state, where);
      }
    });
  }

  static constexpr int64_t kStateWords64 = 8; ///< i64 per sequence of a scalar state: 64 bytes

  KernelEmitter &kernel;
  OpBuilder &b;
  OpBuilder allocas{static_cast<MLIRContext *>(nullptr)};
  Location loc;
  Type f32, f64;
  formats::Width width;
  int64_t tile = 0, groupSize = 1, groups = 1, groupsOfTile = 1;
  Value sequence, channel, time, steps, firstRow, moments, countBefore;
  llvm::DenseMap<Value, Value> tiles_;
};

} // namespace

FailureOr<func::FuncOp> emitStreamKernel(mega::GroupOp group, ModuleOp module,
                                         const std::string &name) {
  KernelEmitter kernel(group, module, name, 0);
  if (failed(StreamEmitter(kernel).run()))
    return kernel.function.erase(), failure();
  return kernel.function;
}

FailureOr<func::FuncOp> emitCountKernel(mega::GroupOp group, ModuleOp module,
                                        const std::string &name) {
  KernelEmitter kernel(group, module, name, 0);
  OpBuilder &b = kernel.b;
  Location loc = kernel.loc;
  auto index = [&](int64_t v) -> Value { return arith::ConstantIndexOp::create(b, loc, v); };
  auto grid = scf::ForallOp::create(b, loc, ArrayRef<OpFoldResult>{b.getIndexAttr(0)},
                                    ArrayRef<OpFoldResult>{b.getIndexAttr(1)},
                                    ArrayRef<OpFoldResult>{b.getIndexAttr(1)}, ValueRange{},
                                    std::nullopt);
  b.setInsertionPointToStart(grid.getBody());
  for (auto norm : group.getBody(0)->getOps<mega::TimestepNormOp>()) {
    Value count = kernel.operandParameter(norm.getCount());
    Value mask = norm.getMask() ? kernel.operandParameter(norm.getMask()) : Value();
    Value length =
        arith::IndexCastOp::create(b, loc, b.getI64Type(), kernel.frame.length);
    auto loop = scf::ForOp::create(b, loc, index(0), kernel.frame.batch, index(1));
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(loop.getBody());
    Value at = arith::MulIOp::create(b, loc, loop.getInductionVar(), index(8));
    Value n = memref::LoadOp::create(b, loc, count, ValueRange{at});
    if (mask) {
      Value from =
          arith::MulIOp::create(b, loc, loop.getInductionVar(), kernel.frame.length);
      auto steps = scf::ForOp::create(
          b, loc, index(0), kernel.frame.length, index(1), ValueRange{n},
          [&](OpBuilder &nb, Location, Value t, ValueRange carried) {
            Value byte = memref::LoadOp::create(
                nb, loc, mask, ValueRange{arith::AddIOp::create(nb, loc, from, t)});
            Value zero = arith::ConstantOp::create(nb, loc, nb.getI8IntegerAttr(0));
            Value valid =
                arith::CmpIOp::create(nb, loc, arith::CmpIPredicate::eq, byte, zero);
            Value one = arith::ExtUIOp::create(nb, loc, nb.getI64Type(), valid);
            scf::YieldOp::create(nb, loc, Value(arith::AddIOp::create(nb, loc, carried[0], one)));
          });
      n = steps.getResult(0);
    } else {
      n = arith::AddIOp::create(b, loc, n, length);
    }
    memref::StoreOp::create(b, loc, n, count, ValueRange{at});
  }
  b.setInsertionPointToEnd(&kernel.function.getBody().front());
  kernel.finish({{formats::Symbol::One, 1, 1}});
  return kernel.function;
}

} // namespace otodus

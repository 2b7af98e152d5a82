//===- EmitTimestepNorm.cpp - Normalisation by statistics of the past ------===//
//
// Moments of each step's groups, running statistics, normalise (spec 3.1). Means and variances
// are carried in f64 scratch from one time tile to the next.
//
//===----------------------------------------------------------------------===//

#include "StreamEmitter.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;

namespace otodus {
namespace {

constexpr int64_t kStateWords64 = 8; ///< i64 from one copy of a scalar state to the next: 64 bytes

/// Of mega.timestep_norm, or of mega.timestep_norm_saving.
template <typename Op> class TimestepNorm final : public StreamOpEmitter {
public:
  TimestepNorm(Op op, StreamFrame &frame) : StreamOpEmitter(frame), op(op) {}

  /// Scratch f64 [groups of the tile][mean, variance] and the count, from the carried state.
  LogicalResult begin() override {
    groups = op.getGroups();
    groupSize = frame.width.inner / groups;
    groupsOfTile = std::min<int64_t>(groups, std::max<int64_t>(1, frame.tile / groupSize));
    moments = frame.scratch(2 * groupsOfTile, f64);
    countBefore = frame.scratch(1, f64);
    Value mean = frame.kernel.operandParameter(op.getMean());
    Value variance = frame.kernel.operandParameter(op.getVariance());
    Value count = frame.kernel.operandParameter(op.getCount());
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
    Value n = memref::LoadOp::create(b, loc, count, ValueRange{countIndex()});
    memref::StoreOp::create(b, loc, Value(arith::SIToFPOp::create(b, loc, f64, n)), countBefore,
                            ValueRange{index(0)});
    return success();
  }

  void end() override {
    Value mean = frame.kernel.operandParameter(op.getMean());
    Value variance = frame.kernel.operandParameter(op.getVariance());
    eachGroup([&](Value g, Value global) {
      Value at = stateIndex(global), slot = mul(g, index(2));
      Value m = memref::LoadOp::create(b, loc, moments, ValueRange{slot});
      Value v = memref::LoadOp::create(b, loc, moments, ValueRange{add(slot, index(1))});
      memref::StoreOp::create(b, loc, Value(arith::TruncFOp::create(b, loc, f32, m)), mean,
                              ValueRange{at});
      memref::StoreOp::create(b, loc, Value(arith::TruncFOp::create(b, loc, f32, v)), variance,
                              ValueRange{at});
    });
    Value n = memref::LoadOp::create(b, loc, countBefore, ValueRange{index(0)});
    memref::StoreOp::create(b, loc, Value(arith::FPToSIOp::create(b, loc, b.getI64Type(), n)),
                            frame.kernel.operandParameter(op.getCount()),
                            ValueRange{countIndex()});
  }

  /// spec 3.1, per step and group. Rows are taken relative to their group's first feature x0,
  /// which is exact where the mean is large against the deviation; means and variances are
  /// carried in f64.
  LogicalResult emit() override {
    Value x = frame.tileOf(op.getInput());
    Value y = frame.activationTile();
    frame.setTile(op.getOutput(), y);
    Value weight = frame.vectorWeight(op.getWeight(), frame.width);
    Value bias = frame.vectorWeight(op.getBias(), frame.width);
    Value mask = op.getMask() ? frame.kernel.operandParameter(op.getMask()) : Value();
    double eps = op.getEps().convertToDouble();
    int64_t whole = groupSize / kVector, rest = groupSize % kVector;

    forLoop(index(0), frame.steps, index(1), [&](Value t) {
      Value before = memref::LoadOp::create(b, loc, countBefore, ValueRange{index(0)});
      Value counts = f64Constant(1), keep;
      if (mask) {
        Value byte = memref::LoadOp::create(b, loc, mask, ValueRange{add(frame.firstRow, t)});
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
      if constexpr (std::is_same_v<Op, mega::TimestepNormSavingOp>)
        saveWeight(t, c2);
      Value row = mul(t, index(frame.tile));

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
                partial =
                    arith::AddFOp::create(b, loc, partial, f(add(at, index(i * kVector)), kVector));
            } else {
              auto loop = scf::ForOp::create(
                  b, loc, index(0), index(whole * kVector), index(kVector), ValueRange{zero},
                  [&](OpBuilder &nested, Location, Value i, ValueRange carried) {
                    OpBuilder saved = b;
                    b = nested;
                    Value next = arith::AddFOp::create(b, loc, carried[0], f(add(at, i), kVector));
                    scf::YieldOp::create(b, loc, next);
                    b = saved;
                  });
              partial = loop.getResult(0);
            }
            total = vector::ReductionOp::create(b, loc, vector::CombiningKind::ADD, partial,
                                                arith::FastMathFlags::reassoc);
          }
          if (rest > 0) {
            Value tail = vector::ReductionOp::create(b, loc, vector::CombiningKind::ADD,
                                                     f(add(at, index(whole * kVector)), rest),
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
              Value d = arith::SubFOp::create(b, loc, relative(from, lanes), splat(offset, lanes));
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
        Value own =
            arith::MulFOp::create(b, loc, c2, Value(arith::ExtFOp::create(b, loc, f64, spread)));
        Value between =
            arith::MulFOp::create(b, loc, c1, Value(arith::MulFOp::create(b, loc, step, delta)));
        Value newV =
            arith::AddFOp::create(b, loc, Value(arith::AddFOp::create(b, loc, kept, own)), between);
        memref::StoreOp::create(b, loc, newM, moments, ValueRange{slot});
        memref::StoreOp::create(b, loc, newV, moments, ValueRange{slotV});

        Value root = math::SqrtOp::create(
            b, loc, Value(arith::AddFOp::create(b, loc, newV, f64Constant(eps))));
        Value r = arith::TruncFOp::create(
            b, loc, f32, Value(arith::DivFOp::create(b, loc, f64Constant(1), root)));
        Value shift = arith::TruncFOp::create(b, loc, f32,
                                              Value(arith::SubFOp::create(b, loc, newM, x0Wide)));

        if constexpr (std::is_same_v<Op, mega::TimestepNormSavingOp>) {
          Value group = add(arith::DivUIOp::create(b, loc, frame.channel, index(groupSize)), g);
          save(op.getShift(), t, group, shift);
          save(op.getInverseDeviation(), t, group, r);
        }

        auto write = [&](Value lane, int64_t lanes) {
          Value parameterAt = add(add(frame.channel, inTile), lane);
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
    return success();
  }

private:
  void eachGroup(function_ref<void(Value, Value)> body) {
    Value firstGroup = arith::DivUIOp::create(b, loc, frame.channel, index(groupSize));
    eachOf(groupsOfTile, [&](Value g) { body(g, add(firstGroup, g)); });
  }

  /// Element `at` of step t of a result that the saving form adds.
  void save(Value result, Value t, Value at, Value v) {
    Value buffer = frame.ownResult(result);
    if (!buffer)
      return;
    int64_t stride = rowStrideOf(widthOf(result.getType()), dtypeOf(result.getType()));
    Value to = add(mul(add(frame.firstRow, t), index(stride)), at);
    memref::StoreOp::create(b, loc, v, buffer, ValueRange{to});
  }
  /// The first tile of channels keeps, behind the groups, the weight of step t.
  void saveWeight(Value t, Value c2) {
    if constexpr (std::is_same_v<Op, mega::TimestepNormSavingOp>) {
      Value first = arith::CmpIOp::create(b, loc, arith::CmpIPredicate::eq, frame.channel, index(0));
      auto choice = scf::IfOp::create(b, loc, first, /*withElseRegion=*/false);
      OpBuilder::InsertionGuard guard(b);
      b.setInsertionPointToStart(choice.thenBlock());
      save(op.getShift(), t, index(groups), arith::TruncFOp::create(b, loc, f32, c2));
    }
  }

  /// Element of a [G] state of this sequence; states start at multiples of 64 bytes.
  Value stateIndex(Value group) {
    int64_t words = (groups * 4 + 63) / 64 * 16;
    return add(mul(frame.sequence, index(words)), group);
  }

  /// Every tile of channels has its own copy of the count, so that none waits for another.
  Value countIndex() {
    int64_t copies = frame.width.padded() / frame.tile;
    Value tile = arith::DivUIOp::create(b, loc, frame.channel, index(frame.tile));
    return mul(add(mul(frame.sequence, index(copies)), tile), index(kStateWords64));
  }

  Op op;
  int64_t groupSize = 1, groups = 1, groupsOfTile = 1;
  Value moments, countBefore;
};

} // namespace

std::unique_ptr<StreamOpEmitter> emitTimestepNorm(Operation *op, StreamFrame &frame) {
  if (auto saving = dyn_cast<mega::TimestepNormSavingOp>(op))
    return std::make_unique<TimestepNorm<mega::TimestepNormSavingOp>>(saving, frame);
  return std::make_unique<TimestepNorm<mega::TimestepNormOp>>(cast<mega::TimestepNormOp>(op),
                                                              frame);
}

} // namespace otodus

//===- EmitStreamGradients.cpp - timestep_norm and cema against time --------===//
//
// A work item is a tile of channels of all sequences, since it owns the sums of its
// parameters' gradients; within a sequence it walks from the last step to the first.
//
//===----------------------------------------------------------------------===//

#include "SumEmitter.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

#include <numeric>

using namespace mlir;

namespace otodus {
namespace {

int64_t stateWords(int64_t elements) { return (elements * 4 + 63) / 64 * 16; }

//===----------------------------------------------------------------------===//
// timestep_norm
//===----------------------------------------------------------------------===//

/// spec 3.1. With m the mean after the step, c1 (a - m before) is a - m, so the statistics before
/// the step are not needed.
class TimestepNormGradient {
public:
  TimestepNormGradient(SumEmitter &s, mega::TimestepNormGradientOp op)
      : s(s), op(op), width(widthOf(op.getInput().getType())), groups(op.getGroups()),
        groupSize(width.inner / groups) {
    tile = std::lcm(groupSize, kLanes);
    if (tile > 512 || width.padded() % tile != 0 || width.padded() != width.inner)
      tile = width.padded();
    groupsOfTile = std::min(groups, std::max<int64_t>(1, tile / groupSize));
  }

  LogicalResult emit() {
    x = s.kernel.operandParameter(op.getInput());
    dy = s.kernel.operandParameter(op.getDy());
    shifts = s.kernel.operandParameter(op.getShift());
    deviations = s.kernel.operandParameter(op.getInverseDeviation());
    KernelBuffer vector;
    vector.kind = "vector";
    vector.sources = {s.kernel.operandNumber(op.getWeight())};
    vector.columns = width;
    weight = s.kernel.parameter(vector, s.f32);
    Value dmean = s.kernel.operandParameter(op.getDmean());
    Value dvariance = s.kernel.operandParameter(op.getDvariance());
    Value dweight = s.kernel.operandParameter(op.getDweight());
    Value dbias = s.kernel.operandParameter(op.getDbias());
    dx = s.result(op.getDx());

    int64_t tiles = width.padded() / tile;
    SmallVector<Value> item = s.openGrid({s.b.getIndexAttr(tiles)});
    channel = s.mul(item[0], s.index(tile));
    firstGroup = s.div(channel, groupSize);
    carried = s.scratch(2 * groupsOfTile, s.f64);
    weightSum = s.scratch(tile);
    biasSum = s.scratch(tile);
    for (Value sum : {weightSum, biasSum})
      s.forLoop(s.index(0), s.index(tile), s.index(kLanes),
                [&](Value i) { s.storeFromF32(s.zeros(), sum, i); });

    s.forLoop(s.index(0), s.kernel.frame.batch, s.index(1), [&](Value sequence) {
      auto moveState = [&](bool in) {
        s.eachOf(groupsOfTile, [&](Value g) {
          Value at = s.add(s.mul(sequence, s.index(stateWords(groups))), s.add(firstGroup, g));
          for (int64_t part = 0; part < 2; ++part) {
            Value state = part ? dvariance : dmean;
            Value slot = s.add(s.mul(g, s.index(2)), s.index(part));
            if (in)
              s.store(wide(s.load(state, at)), carried, slot);
            else
              s.store(narrow(loadWide(carried, slot)), state, at);
          }
        });
      };
      moveState(true);
      Value length = s.kernel.frame.length;
      s.forLoop(s.index(0), length, s.index(1), [&](Value i) {
        Value t = s.sub(s.sub(length, s.index(1)), i);
        Value row = s.add(s.mul(sequence, length), t);
        Value to = s.add(s.rowOffset(row, op.getDx().getType()), channel);
        Value share = s.load(
            shifts, s.add(s.rowOffset(row, op.getShift().getType()), s.index(groups)));
        Value counts = arith::CmpFOp::create(s.b, s.loc, arith::CmpFPredicate::OGT, share,
                                             s.constant(0)); // or it is padding
        if (width.padded() != width.inner)
          clear(to);
        auto choice = scf::IfOp::create(s.b, s.loc, counts, /*withElseRegion=*/true);
        OpBuilder::InsertionGuard guard(s.b);
        s.b.setInsertionPointToStart(choice.thenBlock());
        step(row, wide(share));
        s.b.setInsertionPointToStart(choice.elseBlock());
        clear(to);
      });
      moveState(false);
    });

    s.forLoop(s.index(0), s.index(tile), s.index(kLanes), [&](Value lane) {
      LaneRange range = laneRange(s, width, s.div(s.add(channel, lane), kLanes));
      s.addTo(s.loadF32(weightSum, lane, kLanes), dweight, range.first, range.valid);
      s.addTo(s.loadF32(biasSum, lane, kLanes), dbias, range.first, range.valid);
    });
    s.finish({{formats::Symbol::One, tiles, 1}});
    return success();
  }

private:
  Value wide(Value v) { return arith::ExtFOp::create(s.b, s.loc, s.f64, v); }
  Value narrow(Value v) { return arith::TruncFOp::create(s.b, s.loc, s.f32, v); }
  Value loadWide(Value buffer, Value at) {
    return memref::LoadOp::create(s.b, s.loc, buffer, ValueRange{at});
  }
  Value times(Value v, double factor) { return s.mulf(v, s.f64Constant(factor)); }

  /// Calls `body` for every stretch of a group's features: first feature and lanes.
  void eachStretch(function_ref<void(Value, int64_t)> body) {
    int64_t whole = groupSize / kVector, rest = groupSize % kVector;
    if (whole)
      s.forLoop(s.index(0), s.index(whole * kVector), s.index(kVector),
                [&](Value at) { body(at, kVector); });
    if (rest)
      body(s.index(whole * kVector), rest);
  }

  /// Σ over a group's features of several terms.
  SmallVector<Value> sums(int64_t count,
                          function_ref<SmallVector<Value>(Value, int64_t)> terms) {
    int64_t whole = groupSize / kVector, rest = groupSize % kVector;
    SmallVector<Value> totals;
    if (whole) {
      SmallVector<Value> partial(count, s.zeros(kVector));
      partial = s.reduce(s.index(0), s.index(whole * kVector), kVector, partial,
                         [&](Value at, ValueRange carried) {
                           SmallVector<Value> next = terms(at, kVector);
                           for (auto [sum, term] : llvm::zip(carried, next))
                             term = s.addf(sum, term);
                           return next;
                         });
      for (Value sum : partial)
        totals.push_back(s.laneSum(sum));
    }
    if (rest)
      for (auto [i, term] : llvm::enumerate(terms(s.index(whole * kVector), rest))) {
        Value sum = s.laneSum(term);
        if (whole)
          totals[i] = s.addf(totals[i], sum);
        else
          totals.push_back(sum);
      }
    return totals;
  }

  void clear(Value dxRow) {
    s.forLoop(s.index(0), s.index(tile), s.index(kLanes),
              [&](Value lane) { s.storeFromF32(s.zeros(), dx, s.add(dxRow, lane)); });
  }

  void step(Value row, Value c2) {
    Value c1 = s.subf(s.f64Constant(1), c2);
    Value xRow = s.add(s.rowOffset(row, op.getInput().getType()), channel);
    Value dyRow = s.add(s.rowOffset(row, op.getDy().getType()), channel);
    Value dxRow = s.add(s.rowOffset(row, op.getDx().getType()), channel);
    Value savedRow = s.rowOffset(row, op.getShift().getType());
    s.eachOf(groupsOfTile, [&](Value g) {
      Value inTile = s.mul(g, s.index(groupSize));
      Value x0 = s.load(x, s.add(xRow, inTile));
      Value saved = s.add(savedRow, s.add(firstGroup, g));
      Value shift = s.load(shifts, saved), r = s.load(deviations, saved);
      auto fromFirst = [&](Value at, int64_t lanes) -> Value { // x - x0
        return s.subf(s.loadF32(x, s.add(s.add(xRow, inTile), at), lanes), s.splat(x0, lanes));
      };
      auto gradient = [&](Value at, int64_t lanes) {
        return s.loadF32(dy, s.add(s.add(dyRow, inTile), at), lanes);
      };
      auto scaled = [&](Value at, int64_t lanes) -> Value { // dy (w + 1)
        Value w = s.loadF32(weight, s.add(s.add(channel, inTile), at), lanes);
        Value gain = s.addf(w, s.splat(s.constant(1), lanes));
        return s.mulf(gradient(at, lanes), gain);
      };
      SmallVector<Value> total = sums(3, [&](Value at, int64_t lanes) {
        Value u = scaled(at, lanes), d = fromFirst(at, lanes);
        return SmallVector<Value>{u, s.mulf(u, s.subf(d, s.splat(shift, lanes))), d};
      });
      Value R = wide(total[0]), S = wide(total[1]);
      Value offset = s.mulf(total[2], s.constant(1.0 / double(groupSize))); // a - x0
      Value fromMean = wide(s.subf(offset, shift));                         // a - m
      Value r64 = wide(r), slot = s.mul(g, s.index(2)), slotV = s.add(slot, s.index(1));
      Value M = s.subf(loadWide(carried, slot), s.mulf(r64, R));
      Value cube = s.mulf(s.mulf(r64, r64), r64);
      Value Q = s.subf(loadWide(carried, slotV), times(s.mulf(cube, S), 0.5));
      Value pull = times(s.mulf(s.mulf(c2, Q), fromMean), 2); // 2 c1 c2 Q (a - m before)
      Value da = s.addf(s.mulf(c2, M), pull), db = s.mulf(c2, Q);
      s.store(s.subf(s.mulf(c1, M), pull), carried, slot);
      s.store(s.mulf(c1, Q), carried, slotV);

      Value flat = narrow(times(da, 1.0 / double(groupSize)));
      Value slope = narrow(times(db, 2.0 / double(groupSize)));
      eachStretch([&](Value at, int64_t lanes) {
        Value d = fromFirst(at, lanes), rate = s.splat(r, lanes);
        Value own = s.mulf(scaled(at, lanes), rate);
        Value spread = s.mulf(s.splat(slope, lanes), s.subf(d, s.splat(offset, lanes)));
        Value result = s.addf(own, s.addf(s.splat(flat, lanes), spread));
        s.storeFromF32(result, dx, s.add(s.add(dxRow, inTile), at));
        Value normal = s.mulf(s.subf(d, s.splat(shift, lanes)), rate);
        Value to = s.add(inTile, at), dyHere = gradient(at, lanes);
        s.storeFromF32(s.fma(dyHere, normal, s.loadF32(weightSum, to, lanes)), weightSum, to);
        s.storeFromF32(s.addf(dyHere, s.loadF32(biasSum, to, lanes)), biasSum, to);
      });
    });
  }

  SumEmitter &s;
  mega::TimestepNormGradientOp op;
  formats::Width width;
  int64_t groups, groupSize, tile = 0, groupsOfTile = 0;
  Value x, dy, shifts, deviations, weight, dx, channel, firstGroup;
  Value carried;  ///< f64 [groups of the tile][gradient of mean, of variance]
  Value weightSum, biasSum;
};

//===----------------------------------------------------------------------===//
// cema
//===----------------------------------------------------------------------===//

/// spec 3.2. A work item is a lane block of channels. It goes back over tiles of 32 steps: of each
/// and each mode the states are computed again from the one that was kept before it.
class CemaGradient {
public:
  CemaGradient(SumEmitter &s, mega::CemaGradientOp op)
      : s(s), op(op), width(widthOf(op.getInput().getType())),
        modes(op.getAlpha().getType().getDimSize(1)) {}

  LogicalResult emit() {
    KernelEmitter &kernel = s.kernel;
    x = kernel.operandParameter(op.getInput());
    dy = kernel.operandParameter(op.getDy());
    Value start = kernel.operandParameter(op.getStart());
    Value marks = kernel.operandParameter(op.getMarks());
    KernelBuffer buffer;
    buffer.kind = "cema";
    for (Value source : {op.getAlpha(), op.getDelta(), op.getTheta(), op.getGamma()})
      buffer.sources.push_back(kernel.operandNumber(source));
    buffer.rows = {1, modes};
    buffer.columns = width;
    coefficients = kernel.parameter(buffer, s.f32); // [blocks][N][5][32]
    buffer.kind = "cema_gradient";
    Value chain = kernel.parameter(buffer, s.f32); // [blocks][N][8][32]
    KernelBuffer vector;
    vector.kind = "vector";
    vector.sources = {kernel.operandNumber(op.getOmega())};
    vector.columns = width;
    Value omegas = kernel.parameter(vector, s.f32);
    Value dstate = kernel.operandParameter(op.getDstate());
    Value dx = s.result(op.getDx());
    Value dalpha = kernel.operandParameter(op.getDalpha());
    Value ddelta = kernel.operandParameter(op.getDdelta());
    Value dtheta = kernel.operandParameter(op.getDtheta());
    Value dgamma = kernel.operandParameter(op.getDgamma());
    Value domega = kernel.operandParameter(op.getDomega());

    int64_t blocks = width.padded() / kLanes, perBlock = modes * 2 * kLanes;
    int64_t perSequence = blocks * perBlock;
    SmallVector<Value> item = s.openGrid({s.b.getIndexAttr(blocks)});
    block = item[0];
    lane = s.mul(block, s.index(kLanes));
    states = s.scratch((kMarkedSteps + 1) * 2 * kLanes);
    before = s.scratch(perBlock);
    adjoint = s.scratch(perBlock);
    sums = s.scratch(modes * 5 * kLanes);
    tile = s.scratch(kMarkedSteps * kLanes);
    Value omegaSum = s.scratch(kLanes);
    s.forLoop(s.index(0), s.index(modes * 5 * kLanes), s.index(kLanes),
              [&](Value i) { s.storeFromF32(s.zeros(), sums, i); });
    s.storeFromF32(s.zeros(), omegaSum, s.index(0));
    Value omega = s.loadF32(omegas, lane, kLanes);
    auto copyBlock = [&](Value from, Value fromAt, Value to, Value toAt) {
      s.forLoop(s.index(0), s.index(perBlock), s.index(kLanes), [&](Value i) {
        s.storeFromF32(s.loadF32(from, s.add(fromAt, i), kLanes), to, s.add(toAt, i));
      });
    };

    s.forLoop(s.index(0), kernel.frame.batch, s.index(1), [&](Value sequence) {
      Value own = s.mul(block, s.index(perBlock));
      Value stateAt = s.add(s.mul(sequence, s.index(stateWords(perSequence))), own);
      copyBlock(dstate, stateAt, adjoint, s.index(0));
      Value length = kernel.frame.length;
      Value tiles = s.div(s.add(length, s.index(kMarkedSteps - 1)), kMarkedSteps);
      s.forLoop(s.index(0), tiles, s.index(1), [&](Value i) {
        Value j = s.sub(s.sub(tiles, s.index(1)), i), time = s.mul(j, s.index(kMarkedSteps));
        steps = s.min(s.index(kMarkedSteps), s.sub(length, time));
        firstRow = s.add(s.mul(sequence, length), time);
        Value isFirst =
            arith::CmpIOp::create(s.b, s.loc, arith::CmpIPredicate::eq, j, s.index(0));
        Value isLater =
            arith::CmpIOp::create(s.b, s.loc, arith::CmpIPredicate::ne, j, s.index(0));
        s.ifThen(isFirst, [&] {
          copyBlock(start, s.add(s.rowOffset(sequence, op.getStart().getType()), own), before,
                    s.index(0));
        });
        s.ifThen(isLater, [&] {
          Value number = s.add(s.mul(sequence, s.div(length, kMarkedSteps)),
                               s.sub(j, s.index(1)));
          copyBlock(marks, s.add(s.mul(number, s.index(perSequence)), own), before, s.index(0));
        });

        SmallVector<Value> product =
            s.reduce(s.index(0), steps, 1, {s.loadF32(omegaSum, s.index(0), kLanes)},
                     [&](Value t, ValueRange carried) {
                       Value gradient = dyAt(t);
                       s.storeFromF32(s.mulf(omega, gradient), tile, s.mul(t, s.index(kLanes)));
                       return SmallVector<Value>{s.fma(xAt(t), gradient, carried[0])};
                     });
        s.storeFromF32(product[0], omegaSum, s.index(0));
        s.forLoop(s.index(0), s.index(modes), s.index(1), [&](Value mode) { oneMode(mode); });
        s.forLoop(s.index(0), steps, s.index(1), [&](Value t) {
          Value to = s.add(s.rowOffset(s.add(firstRow, t), op.getDx().getType()), lane);
          s.storeFromF32(s.loadF32(tile, s.mul(t, s.index(kLanes)), kLanes), dx, to);
        });
      });
      copyBlock(adjoint, s.index(0), dstate, stateAt);
    });

    // The chain to the parameters, once.
    LaneRange range = laneRange(s, width, block);
    SmallVector<Value> angle = s.reduce(
        s.index(0), s.index(modes), 1, {s.zeros()}, [&](Value mode, ValueRange carried) {
          Value sumAt = s.mul(mode, s.index(5 * kLanes));
          auto sum = [&](int64_t part) {
            return s.loadF32(sums, s.add(sumAt, s.index(part * kLanes)), kLanes);
          };
          Value chainAt = s.mul(s.add(s.mul(block, s.index(modes)), mode), s.index(8 * kLanes));
          auto factor = [&](int64_t part) {
            return s.loadF32(chain, s.add(chainAt, s.index(part * kLanes)), kLanes);
          };
          Value dp = sum(0), dqr = sum(1), dqi = sum(2);
          // Re(dq e^{-iφ}) and Im(conj(q) dq) times what φ has to do with theta.
          Value magnitude = s.fma(dqr, factor(2), s.mulf(dqi, factor(3)));
          Value at = s.add(s.mul(range.first, s.index(modes)), mode);
          scatterAdd(s.subf(s.mulf(dp, factor(0)), s.mulf(magnitude, factor(1))), dalpha, at,
                     modes, range.valid);
          Value minus = arith::NegFOp::create(s.b, s.loc, s.mulf(magnitude, factor(4)));
          scatterAdd(minus, ddelta, at, modes, range.valid);
          Value gammaAt = s.mul(at, s.index(2));
          scatterAdd(s.mulf(sum(3), factor(7)), dgamma, gammaAt, 2 * modes, range.valid);
          scatterAdd(s.mulf(sum(4), factor(7)), dgamma, s.add(gammaAt, s.index(1)), 2 * modes,
                     range.valid);
          Value turn = s.subf(s.mulf(factor(5), dqi), s.mulf(factor(6), dqr));
          return SmallVector<Value>{s.addf(carried[0], turn)};
        });
    s.addTo(angle[0], dtheta, range.first, range.valid);
    s.addTo(s.loadF32(omegaSum, s.index(0), kLanes), domega, range.first, range.valid);
    s.finish({{formats::Symbol::One, blocks, 1}});
    return success();
  }

private:
  Value xAt(Value t) {
    return s.loadF32(
        x, s.add(s.rowOffset(s.add(firstRow, t), op.getInput().getType()), lane), kLanes);
  }
  Value dyAt(Value t) {
    return s.loadF32(dy, s.add(s.rowOffset(s.add(firstRow, t), op.getDy().getType()), lane),
                     kLanes);
  }
  Value stateAt(Value t, int64_t part) {
    return s.add(s.mul(t, s.index(2 * kLanes)), s.index(part * kLanes));
  }

  void oneMode(Value mode) {
    Value base = s.mul(s.add(s.mul(block, s.index(modes)), mode), s.index(5 * kLanes));
    auto coefficient = [&](int64_t part) {
      return s.loadF32(coefficients, s.add(base, s.index(part * kLanes)), kLanes);
    };
    Value p = coefficient(0), qr = coefficient(1), qi = coefficient(2), gr = coefficient(3),
          gi = coefficient(4);
    Value minusQi = arith::NegFOp::create(s.b, s.loc, qi);
    Value minusGi = arith::NegFOp::create(s.b, s.loc, gi);
    Value modeAt = s.mul(mode, s.index(2 * kLanes)), modeAtI = s.add(modeAt, s.index(kLanes));

    // The states of the tile again, in the order of time.
    Value hr = s.loadF32(before, modeAt, kLanes), hi = s.loadF32(before, modeAtI, kLanes);
    s.storeFromF32(hr, states, stateAt(s.index(0), 0));
    s.storeFromF32(hi, states, stateAt(s.index(0), 1));
    s.reduce(s.index(0), steps, 1, {hr, hi}, [&](Value t, ValueRange h) {
      Value driven = s.mulf(p, xAt(t));
      Value re = s.fma(minusQi, h[1], s.fma(qr, h[0], driven));
      Value im = s.fma(qi, h[0], s.mulf(qr, h[1]));
      Value next = s.add(t, s.index(1));
      s.storeFromF32(re, states, stateAt(next, 0));
      s.storeFromF32(im, states, stateAt(next, 1));
      return SmallVector<Value>{re, im};
    });

    // Against it: what follows of the adjoint, and the sums.
    SmallVector<Value> carried{s.loadF32(adjoint, modeAt, kLanes),
                               s.loadF32(adjoint, modeAtI, kLanes)};
    Value sumAt = s.mul(mode, s.index(5 * kLanes));
    for (int64_t part = 0; part < 5; ++part)
      carried.push_back(s.loadF32(sums, s.add(sumAt, s.index(part * kLanes)), kLanes));
    carried = s.reduce(s.index(0), steps, 1, carried, [&](Value i, ValueRange c) {
      Value t = s.sub(s.sub(steps, s.index(1)), i), after = s.add(t, s.index(1));
      Value gradient = dyAt(t), input = xAt(t);
      Value lr = s.fma(gr, gradient, c[0]), li = s.fma(minusGi, gradient, c[1]);
      Value at = s.mul(t, s.index(kLanes));
      s.storeFromF32(s.fma(p, lr, s.loadF32(tile, at, kLanes)), tile, at);
      Value hr = s.loadF32(states, stateAt(t, 0), kLanes);
      Value hi = s.loadF32(states, stateAt(t, 1), kLanes);
      Value minusHi = arith::NegFOp::create(s.b, s.loc, hi);
      Value minusGradient = arith::NegFOp::create(s.b, s.loc, gradient);
      return SmallVector<Value>{
          s.fma(qi, li, s.mulf(qr, lr)),
          s.fma(minusQi, lr, s.mulf(qr, li)),
          s.fma(input, lr, c[2]),
          s.fma(li, hi, s.fma(lr, hr, c[3])),
          s.fma(lr, minusHi, s.fma(li, hr, c[4])),
          s.fma(gradient, s.loadF32(states, stateAt(after, 0), kLanes), c[5]),
          s.fma(minusGradient, s.loadF32(states, stateAt(after, 1), kLanes), c[6])};
    });
    s.storeFromF32(carried[0], adjoint, modeAt);
    s.storeFromF32(carried[1], adjoint, modeAtI);
    for (int64_t part = 0; part < 5; ++part)
      s.storeFromF32(carried[2 + part], sums, s.add(sumAt, s.index(part * kLanes)));
  }

  /// buffer[at + stride i] += v[i] for the lanes that are.
  void scatterAdd(Value v, Value buffer, Value at, int64_t stride, Value valid) {
    SmallVector<int32_t> offsets;
    for (int64_t i = 0; i < kLanes; ++i)
      offsets.push_back(int32_t(i * stride));
    Value lanes = arith::ConstantOp::create(s.b, s.loc, s.b.getI32VectorAttr(offsets));
    Value count = valid ? valid : s.index(kLanes);
    Value mask = vector::CreateMaskOp::create(
        s.b, s.loc, VectorType::get({kLanes}, s.b.getI1Type()), count);
    Value old = vector::GatherOp::create(s.b, s.loc, cast<VectorType>(v.getType()), buffer,
                                         ValueRange{at}, lanes, mask, s.zeros());
    vector::ScatterOp::create(s.b, s.loc, /*resultType=*/Type(), buffer, ValueRange{at}, lanes,
                              mask, s.addf(old, v));
  }

  SumEmitter &s;
  mega::CemaGradientOp op;
  formats::Width width;
  int64_t modes;
  Value x, dy, coefficients, block, lane;
  Value states;  ///< [33][2][32] of one mode
  Value before;  ///< [N][2][32] before the tile
  Value adjoint; ///< [N][2][32], conj(q) λ of the step after, or the state's gradient
  Value sums;    ///< [N][5][32]: gradients of p, q and g
  Value tile;    ///< [32 steps][32] of dx
  Value steps, firstRow;
};

} // namespace

LogicalResult emitStreamGradient(SumEmitter &s, Operation *op) {
  if (auto norm = dyn_cast<mega::TimestepNormGradientOp>(op))
    return TimestepNormGradient(s, norm).emit();
  return CemaGradient(s, cast<mega::CemaGradientOp>(op)).emit();
}

} // namespace otodus

//===- StreamTimestepNorm.cpp - Timestep norm in a thread block ------------===//
//
// Four phases per time tile (spec 3.1):
//
//   moments     a few lanes per step and group: mean and variance of the group's features, taken
//               relative to its first feature, which is exact where the mean is large against
//               the deviation
//   sums        a warp per group and 32 steps: prefix sums, in f64, of the moments relative to
//               the running mean before the tile
//   statistics  every step and group for itself: the sums of the steps before, mean, deviation
//   normalise   every element for itself
//
// The prefix sums are spec 3.1's running mean and variance in closed form. With r the running
// mean before the tile, n0, m0 and v0 what was carried, and sums over the steps that count:
//
//   n(t) = n0 + Σ 1    m(t) = r + (n0 (m0 - r) + Σ (mean - r)) / n(t)
//   v(t) = (n0 (v0 + (m0 - r)²) + Σ (variance + (mean - r)²)) / n(t) - (m(t) - r)²
//
//===----------------------------------------------------------------------===//

#include "StreamKernel.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"

using namespace mlir;

namespace otodus {
namespace {

constexpr int64_t kWarp = 32;
constexpr int64_t kCountWords = 8; ///< i64 from one copy of a count to the next: 64 bytes

/// `Op`: mega.timestep_norm, or mega.timestep_norm_saving.
template <class Op> class TimestepNorm final : public StreamKernelOp {
public:
  TimestepNorm(Op op, StreamKernel &frame) : StreamKernelOp(frame), op(op) {}

  SmallVector<Value> inputs() override { return {op.getInput()}; }

  /// Carries the count before the tile (i64), and which half of `carry` holds mean and variance.
  LogicalResult begin(SmallVectorImpl<Value> &carried) override {
    groups = op.getGroups();
    groupSize = frame.width.inner / groups;
    groupsOfTile = std::min<int64_t>(groups, std::max<int64_t>(1, frame.tile / groupSize));
    int64_t slots = frame.timeTile * groupsOfTile;
    first = frame.shared(slots, f32);
    means = frame.shared(slots, f32);
    variances = frame.shared(slots, f32);
    shift = frame.shared(slots, f32);
    scale = frame.shared(slots, f32);
    sumsOfMeans = frame.shared(slots, f64);
    sumsOfSquares = frame.shared(slots, f64);
    carry = frame.shared(2 * 2 * groupsOfTile, f64);
    mean = frame.kernel.operandParameter(op.getMean());
    variance = frame.kernel.operandParameter(op.getVariance());
    count = frame.kernel.operandParameter(op.getCount());
    if (op.getMask()) {
      mask = frame.kernel.operandParameter(op.getMask());
      counted = frame.shared(slots, b.getI32Type());
      countedAll = frame.shared(1, b.getI32Type());
    }
    weight = frame.vectorWeight(op.getWeight(), frame.width);
    bias = frame.vectorWeight(op.getBias(), frame.width);

    frame.forThreads(index(groupsOfTile), [&](Value g) {
      Value at = stateIndex(g), slot = mul(g, index(2));
      store(toF64(load(mean, at)), carry, slot);
      store(toF64(load(variance, at)), carry, add(slot, index(1)));
    });
    if (frame.form == StreamForm::Blocks) // patches run over the steps behind the end
      frame.forThreads(index(slots), [&](Value slot) {
        for (Value buffer : {first, shift, scale})
          store(f32Constant(0), buffer, slot);
      });
    carried.push_back(load(count, countIndex()));
    carried.push_back(index(0));
    return success();
  }

  LogicalResult emit(MutableArrayRef<Value> carried) override {
    Value x = frame.tileOf(op.getInput());
    bool blocks = frame.form == StreamForm::Blocks;
    Value y = blocks                           ? frame.tileByChannels()
              : frame.isLastUse(op.getInput()) ? x
                                               : frame.activationTile();
    frame.setTile(op.getOutput(), y);
    emitMoments(x);
    barrier();
    Value half = sub(index(1), carried[1]);
    emitSums(carried[0], carried[1]);
    barrier();
    emitStatistics(carried[0], carried[1], half);
    barrier();
    if (blocks)
      emitNormaliseByChannels(x, y);
    else
      emitNormalise(x, y);
    Value counts = arith::IndexCastOp::create(b, loc, b.getI64Type(), frame.steps);
    if (mask)
      counts = arith::ExtUIOp::create(b, loc, b.getI64Type(), load(countedAll, index(0)));
    carried[0] = add(carried[0], counts);
    carried[1] = half;
    barrier();
    return success();
  }

  void end(ArrayRef<Value> carried) override {
    frame.forThreads(index(groupsOfTile), [&](Value g) {
      Value at = stateIndex(g), slot = carrySlot(carried[1], g);
      store(toF32(load(carry, slot)), mean, at);
      store(toF32(load(carry, add(slot, index(1)))), variance, at);
    });
    ifThen(equal(frame.thread, index(0)), [&] { store(carried[0], count, countIndex()); });
  }

private:
  /// first, means and variances of every step and group; a mean is relative to the first feature.
  void emitMoments(Value x) {
    int64_t lanes = 8; // of a pair of step and group
    while (lanes > groupSize)
      lanes /= 2;
    // Of 16 bytes.
    int64_t chunks = groupSize % (lanes * chunkOf(x)) ? 0 : groupSize / (lanes * chunkOf(x));
    Value pairs = mul(frame.steps, index(groupsOfTile));
    Value lane = rem(frame.thread, lanes), own = div(frame.thread, lanes);
    Value last = sub(pairs, index(1));

    // All lanes of a warp take part in its sums, with or without a pair of their own.
    forLoop(index(0), pairs, index(frame.threads / lanes), [&](Value from) {
      Value wanted = add(from, own);
      Value pair = arith::MinUIOp::create(b, loc, wanted, last);
      Value at =
          add(frame.rowOf(div(pair, groupsOfTile)), mul(rem(pair, groupsOfTile), index(groupSize)));
      Value x0 = loadWide(x, at, 1);
      auto [offset, squares] = chunks > 0 && chunks <= 8
                                   ? momentsByChunks(x, at, x0, lane, lanes, chunks)
                                   : momentsByFeatures(x, at, x0, lane, lanes);
      Value writes = arith::AndIOp::create(b, loc, equal(lane, index(0)), less(wanted, pairs));
      ifThen(writes, [&] {
        store(x0, first, pair);
        store(offset, means, pair);
        store(squares, variances, pair);
      });
    });
  }

  static int64_t chunkOf(Value x) {
    return 128 / getElementTypeOrSelf(x.getType()).getIntOrFloatBitWidth();
  }

  Value sumOverLanes(Value v, int64_t lanes) {
    for (int64_t distance = 1; distance < lanes; distance *= 2)
      v = addf(v, shuffleXor(v, distance));
    return v;
  }

  /// Mean relative to x0 and variance of the features from `at` on, of which every lane takes
  /// `chunks` times 16 bytes.
  std::pair<Value, Value> momentsByChunks(Value x, Value at, Value x0, Value lane, int64_t lanes,
                                          int64_t chunks) {
    int64_t width = chunkOf(x);
    Value factor = f32Constant(1.0 / double(groupSize));
    auto sum = [&](ArrayRef<Value> vectors) {
      Value total;
      for (Value v : vectors)
        total = total ? addf(total, v) : v;
      Value all = element(total, 0);
      for (int64_t i = 1; i < width; ++i)
        all = addf(all, element(total, i));
      return mulf(sumOverLanes(all, lanes), factor);
    };
    SmallVector<Value> relative, squares;
    for (int64_t i = 0; i < chunks; ++i) {
      Value from = add(at, mul(add(lane, index(i * lanes)), index(width)));
      relative.push_back(subf(loadWide(x, from, width), spread(x0, width)));
    }
    Value offset = sum(relative);
    for (Value d : relative) {
      d = subf(d, spread(offset, width));
      squares.push_back(mulf(d, d));
    }
    return {offset, sum(squares)};
  }

  /// Likewise, where lane l takes the features l, l + lanes, ...
  std::pair<Value, Value> momentsByFeatures(Value x, Value at, Value x0, Value lane,
                                            int64_t lanes) {
    int64_t rounds = (groupSize + lanes - 1) / lanes;
    Value zero = f32Constant(0), factor = f32Constant(1.0 / double(groupSize));
    SmallVector<Value> kept;
    // Feature lane + lanes * round, relative to x0; x0 itself behind the end of the group.
    auto relative = [&](Value round) -> Value {
      Value feature = add(lane, mul(round, index(lanes)));
      if (groupSize % lanes)
        feature = select(less(feature, index(groupSize)), feature, index(0));
      return subf(loadWide(x, add(at, feature), 1), x0);
    };
    auto exists = [&](Value round) {
      return less(add(lane, mul(round, index(lanes))), index(groupSize));
    };
    auto sum = [&](function_ref<Value(Value, int64_t)> f) -> Value {
      Value total;
      if (rounds <= 16) {
        for (int64_t i = 0; i < rounds; ++i) {
          Value term = f(index(i), i);
          total = total ? addf(total, term) : term;
        }
      } else {
        auto loop = scf::ForOp::create(b, loc, index(0), index(rounds), index(1), ValueRange{zero});
        OpBuilder::InsertionGuard guard(b);
        b.setInsertionPointToStart(loop.getBody());
        Value next = addf(loop.getRegionIterArgs()[0], f(loop.getInductionVar(), -1));
        scf::YieldOp::create(b, loc, next);
        total = loop.getResult(0);
      }
      return sumOverLanes(total, lanes);
    };
    Value offset = mulf(sum([&](Value round, int64_t number) {
                          Value d = relative(round);
                          if (number >= 0)
                            kept.push_back(d);
                          return d;
                        }),
                        factor);
    Value squares = mulf(sum([&](Value round, int64_t number) -> Value {
                           Value d = subf(number >= 0 ? kept[number] : relative(round), offset);
                           Value square = mulf(d, d);
                           bool mayEnd = groupSize % lanes && (number < 0 || number + 1 == rounds);
                           return mayEnd ? select(exists(round), square, zero) : square;
                         }),
                         factor);
    return {offset, squares};
  }

  /// Prefix sums within each 32 steps: a lane has a step, a warp 32 of a group.
  void emitSums(Value before, Value from) {
    Value lane = rem(frame.thread, kWarp), warp = div(frame.thread, kWarp);
    Value parts = div(add(frame.steps, index(kWarp - 1)), kWarp);
    Value none = f64Constant(0);
    forLoop(warp, mul(parts, index(groupsOfTile)), index(frame.threads / kWarp), [&](Value item) {
      Value g = rem(item, groupsOfTile);
      Value t = add(mul(div(item, groupsOfTile), index(kWarp)), lane);
      Value exists = less(t, frame.steps);
      Value safe = select(exists, t, index(0));
      Value at = slotOf(safe, g), counts = exists;
      if (mask) {
        Value byte = load(mask, add(frame.firstRow, safe));
        counts = arith::AndIOp::create(b, loc, counts, equal(byte, zeroOf(byte.getType())));
      }
      Value d = subf(meanOf(at), referenceOf(before, from, g));
      Value a = addf(toF64(load(variances, at)), mulf(d, d));
      d = select(counts, d, none);
      a = select(counts, a, none);
      Value n = mask ? Value(arith::ExtUIOp::create(b, loc, b.getI32Type(), counts)) : Value();
      for (int64_t distance = 1; distance < kWarp; distance *= 2) {
        Value takes =
            arith::CmpIOp::create(b, loc, arith::CmpIPredicate::uge, lane, index(distance));
        d = addf(d, select(takes, shuffleUp(d, distance), none));
        a = addf(a, select(takes, shuffleUp(a, distance), none));
        if (mask)
          n = add(n, select(takes, shuffleUp(n, distance), i32(0)));
      }
      ifThen(exists, [&] {
        store(d, sumsOfMeans, at);
        store(a, sumsOfSquares, at);
        if (mask)
          store(n, counted, at);
      });
    });
  }

  /// shift and scale of every step and group: running mean - first feature, 1 / deviation. With
  /// the last step, what is carried on.
  void emitStatistics(Value before, Value from, Value to) {
    Value n0 = arith::SIToFPOp::create(b, loc, f64, before);
    double eps = op.getEps().convertToDouble();
    frame.forThreads(mul(frame.steps, index(groupsOfTile)), [&](Value at) {
      Value t = div(at, groupsOfTile), g = rem(at, groupsOfTile);
      Value carried = carrySlot(from, g);
      Value m0 = load(carry, carried), v0 = load(carry, add(carried, index(1)));
      Value r = referenceOf(before, from, g), drift = subf(m0, r);
      Value sumD = mulf(n0, drift), sumA = mulf(n0, addf(v0, mulf(drift, drift)));
      // The 32 steps before these, and those before them, in order.
      SmallVector<Value> sums{sumD, sumA};
      if (mask)
        sums.push_back(i32(0));
      auto addSums = [&](ValueRange sums, Value slot) {
        SmallVector<Value> next{addf(sums[0], load(sumsOfMeans, slot)),
                                addf(sums[1], load(sumsOfSquares, slot))};
        if (mask)
          next.push_back(add(sums[2], load(counted, slot)));
        return next;
      };
      auto parts = scf::ForOp::create(b, loc, index(0), div(t, kWarp), index(1), sums);
      {
        OpBuilder::InsertionGuard guard(b);
        b.setInsertionPointToStart(parts.getBody());
        Value last = add(mul(parts.getInductionVar(), index(kWarp)), index(kWarp - 1));
        scf::YieldOp::create(b, loc, addSums(parts.getRegionIterArgs(), slotOf(last, g)));
      }
      sums = addSums(parts.getResults(), at);

      Value counts =
          mask ? Value(arith::ExtUIOp::create(b, loc, b.getI64Type(), sums[2]))
               : Value(arith::IndexCastOp::create(b, loc, b.getI64Type(), add(t, index(1))));
      Value n = add(before, counts);
      Value inverse = inverseOf(arith::SIToFPOp::create(b, loc, f64, n));
      Value d = mulf(sums[0], inverse), v = subf(mulf(sums[1], inverse), mulf(d, d));
      // Rounding may leave less than nothing. NaN stays.
      Value none = f64Constant(0);
      v = select(arith::CmpFOp::create(b, loc, arith::CmpFPredicate::OLT, v, none), none, v);
      Value m = addf(r, d);
      if (mask) { // only masked steps so far
        Value never = equal(n, zeroOf(n.getType()));
        m = select(never, m0, m);
        v = select(never, v0, v);
      }
      Value offset = toF32(subf(m, toF64(load(first, at))));
      store(offset, shift, at);
      Value shifted = toF32(addf(v, f64Constant(eps)));
      Value inverseDeviation =
          math::RsqrtOp::create(b, loc, shifted, arith::FastMathFlags::afn);
      store(inverseDeviation, scale, at);
      if constexpr (std::is_same_v<Op, mega::TimestepNormSavingOp>) {
        Value group = add(div(frame.channel, groupSize), g);
        save(op.getShift(), t, group, offset);
        save(op.getInverseDeviation(), t, group, inverseDeviation);
        // The weight of the step stands behind the last group's.
        Value isLast = equal(group, index(groups - 1));
        ifThen(isLast, [&] { save(op.getShift(), t, index(groups), stepWeight(t, inverse)); });
      }
      ifThen(equal(add(t, index(1)), frame.steps), [&] {
        Value slot = carrySlot(to, g);
        store(m, carry, slot);
        store(v, carry, add(slot, index(1)));
        if (mask)
          ifThen(equal(g, index(0)), [&] { store(sums[2], countedAll, index(0)); });
      });
    });
  }

  /// Element `at` of step t of a result that the saving form adds.
  void save(Value result, Value t, Value at, Value v) {
    Value buffer = frame.ownResult(result);
    if (!buffer)
      return;
    int64_t stride = rowStrideOf(widthOf(result.getType()), dtypeOf(result.getType()));
    store(v, buffer, add(mul(add(frame.firstRow, t), index(stride)), at));
  }
  /// What step t counts for in the statistics after it: 1 / n, or 0 for padding.
  Value stepWeight(Value t, Value inverse) {
    Value share = toF32(inverse);
    if (!mask)
      return share;
    Value byte = load(mask, add(frame.firstRow, t));
    return select(equal(byte, zeroOf(byte.getType())), share, f32Constant(0));
  }

  void emitNormalise(Value x, Value y) {
    int64_t lanes = groupSize % 4 == 0 ? 4 : 1, vectors = frame.tile / lanes;
    frame.forThreads(mul(frame.steps, index(vectors)), [&](Value i) {
      Value t = div(i, vectors), c = mul(rem(i, vectors), index(lanes));
      Value g = div(c, groupSize);
      if (frame.width.padded() != frame.width.inner) // padding takes part in the last group's
        g = arith::MinUIOp::create(b, loc, g, index(groupsOfTile - 1));
      Value slot = add(mul(t, index(groupsOfTile)), g), at = add(frame.rowOf(t), c);
      Value parameterAt = add(frame.channel, c);
      Value v = subf(loadWide(x, at, lanes), spread(load(first, slot), lanes));
      v = subf(v, spread(load(shift, slot), lanes));
      v = mulf(v, spread(load(scale, slot), lanes));
      Value gain = addf(loadWide(weight, parameterAt, lanes), spread(f32Constant(1), lanes));
      v = addf(mulf(v, gain), loadWide(bias, parameterAt, lanes));
      if (mask) {
        Value byte = load(mask, add(frame.firstRow, t));
        Value keep = equal(byte, zeroOf(byte.getType()));
        v = select(keep, v, spread(f32Constant(0), lanes));
      }
      storeWide(v, y, at);
    });
  }

  /// Likewise, from a tile by steps to one by channels, whose steps behind the end are 0.
  void emitNormaliseByChannels(Value x, Value y) {
    auto type = VectorType::get({2}, b.getBF16Type());
    Value none = zeroOf(type);
    frame.eachPatch([&](Value t, Value c) {
      Value g = div(c, groupSize), parameterAt = add(frame.channel, c);
      if (frame.width.padded() != frame.width.inner)
        g = arith::MinUIOp::create(b, loc, g, index(groupsOfTile - 1));
      Value gain = addf(loadWide(weight, parameterAt, 2), spread(f32Constant(1), 2));
      Value offset = loadWide(bias, parameterAt, 2);
      SmallVector<Value> patch;
      for (int64_t i = 0; i < 8; ++i) {
        Value now = add(t, index(i)), keep = less(now, frame.steps), slot = slotOf(now, g);
        Value v = subf(loadWide(x, add(frame.rowOf(now), c), 2), spread(load(first, slot), 2));
        v = subf(v, spread(load(shift, slot), 2));
        v = mulf(mulf(v, spread(load(scale, slot), 2)), gain);
        v = arith::TruncFOp::create(b, loc, type, addf(v, offset));
        if (mask) {
          Value row = add(frame.firstRow, select(keep, now, index(0)));
          Value byte = load(mask, row);
          keep = arith::AndIOp::create(b, loc, keep, equal(byte, zeroOf(byte.getType())));
        }
        patch.push_back(select(keep, v, none));
      }
      frame.storePatch(patch, y, t, c);
    });
  }

  Value zeroOf(Type type) { return arith::ConstantOp::create(b, loc, b.getZeroAttr(type)); }
  /// 1 / n for n >= 1, f64: an approximation, doubled in precision twice. A division would be a
  /// call, around which registers are saved.
  Value inverseOf(Value n) {
    Value one = f32Constant(1);
    Value r = toF64(arith::DivFOp::create(b, loc, one, toF32(n), arith::FastMathFlags::afn));
    for (int64_t i = 0; i < 2; ++i) {
      Value minus = arith::NegFOp::create(b, loc, n);
      r = fma(r, fma(minus, r, f64Constant(1)), r);
    }
    return r;
  }
  Value slotOf(Value t, Value g) { return add(mul(t, index(groupsOfTile)), g); }
  Value meanOf(Value slot) { return addf(toF64(load(first, slot)), toF64(load(means, slot))); }
  /// What means are taken relative to: the running mean before the tile; the mean of its first
  /// step where nothing has been counted yet.
  Value referenceOf(Value before, Value half, Value g) {
    return select(equal(before, zeroOf(before.getType())), meanOf(g),
                  load(carry, carrySlot(half, g)));
  }
  /// Mean and variance of group `g` of the tile.
  Value carrySlot(Value half, Value g) {
    return mul(add(mul(half, index(groupsOfTile)), g), index(2));
  }
  /// Element of a [G] state of this sequence; states start at multiples of 64 bytes.
  Value stateIndex(Value g) {
    int64_t words = (groups * 4 + 63) / 64 * 16;
    Value global = add(div(frame.channel, groupSize), g);
    return add(mul(frame.sequence, index(words)), global);
  }
  /// Every tile of channels has its own copy of the count, so that none waits for another.
  Value countIndex() {
    int64_t copies = frame.width.padded() / frame.tile;
    Value copy = add(mul(frame.sequence, index(copies)), frame.channelTile);
    return mul(copy, index(kCountWords));
  }

  Op op;
  int64_t groupSize = 1, groups = 1, groupsOfTile = 1;
  Value mean, variance, count, mask, weight, bias;
  Value first, means, variances; ///< of one step; shared, f32 [steps][groups of the tile]
  Value shift, scale;            ///< of the steps up to it; likewise
  Value carry;                   ///< shared, f64 [2][groups of the tile][mean, variance]
  /// Prefix sums within 32 steps, relative to the reference; shared, f64 and i32 likewise.
  Value sumsOfMeans, sumsOfSquares, counted;
  Value countedAll; ///< shared, i32: unmasked steps of the tile
};

} // namespace

std::unique_ptr<StreamKernelOp> emitTimestepNorm(Operation *op, StreamKernel &frame) {
  if (auto saving = dyn_cast<mega::TimestepNormSavingOp>(op))
    return std::make_unique<TimestepNorm<mega::TimestepNormSavingOp>>(saving, frame);
  return std::make_unique<TimestepNorm<mega::TimestepNormOp>>(cast<mega::TimestepNormOp>(op),
                                                              frame);
}

} // namespace otodus

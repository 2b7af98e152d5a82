//===- TimestepNormGradient.cpp - Timestep norm against time ----------------===//
//
// A block owns a tile of channels, whole groups of them, of all sequences, since it owns the sums
// of their weights' gradients. Within a sequence it walks from the last time tile to the first,
// in three phases (spec 3.1):
//
//   moments  a few lanes per step and group: Σ dy w, Σ dy w (x - m) and the step's mean
//   carry    a warp per group: the gradients of mean and variance go back over 32 steps at once,
//            each of them one affine map, composed by shuffles in f64
//   spread   every element for itself: dx, and its part of the weights' gradients
//
// With m the mean after the step, c1 (a - m before) is a - m, so the statistics before the step
// are not needed. With s = r³ S / 2 and p = 2 c2 Q (a - m):
//
//   Dv ← c1 (Dv - s)    Q = Dv - s        Dm ← c1 (Dm - r R) - p    M = Dm - r R
//
// A padding step maps everything to itself.
//
//===----------------------------------------------------------------------===//

#include "Kernels.h"
#include "StreamGradient.h"

#include "mlir/Dialect/Arith/IR/Arith.h"

#include <numeric>

using namespace mlir;

namespace otodus {
namespace {

constexpr int64_t kThreads = 256, kWarp = 32;
constexpr int64_t kStatisticsBytes = 40 << 10; ///< what a time tile may keep for its groups

class TimestepNormGradient : StreamGradient {
public:
  TimestepNormGradient(KernelEmitter &kernel, mega::TimestepNormGradientOp op)
      : StreamGradient(kernel, kThreads), op(op), width(widthOf(op.getInput().getType())),
        groups(op.getGroups()), groupSize(width.inner / groups) {
    // Whole groups and whole sectors of memory.
    tile = std::lcm(groupSize, int64_t(8));
    while (tile < kLanes && width.padded() % (2 * tile) == 0)
      tile *= 2;
    if (width.padded() % tile != 0 || width.padded() != width.inner)
      tile = width.padded();
    groupsOfTile = std::min(groups, std::max<int64_t>(1, tile / groupSize));
    while (timeTile > 1 && timeTile * groupsOfTile * 5 * 4 > kStatisticsBytes)
      timeTile /= 2;
  }

  LogicalResult emit(int64_t sharedBytes) {
    x = kernel.operandParameter(op.getInput());
    dy = kernel.operandParameter(op.getDy());
    shifts = kernel.operandParameter(op.getShift());
    deviations = kernel.operandParameter(op.getInverseDeviation());
    weight = vectorWeight(op.getWeight(), width);
    Value dmean = kernel.operandParameter(op.getDmean());
    Value dvariance = kernel.operandParameter(op.getDvariance());
    Value dweight = kernel.operandParameter(op.getDweight());
    Value dbias = kernel.operandParameter(op.getDbias());
    dx = result(op.getDx());

    channel = mul(open(width.padded() / tile), index(tile));
    firstGroup = div(channel, groupSize);
    lanes = groupSize % 4 == 0 ? 4 : 1;
    vectors = tile / lanes;
    rowsAtOnce = std::max<int64_t>(1, kThreads / vectors);
    carried = shared(2 * groupsOfTile, f64);
    for (Value *buffer : {&totals, &skewed, &offsets, &flat, &slope})
      *buffer = shared(timeTile * groupsOfTile, f32);
    weightSum = shared(rowsAtOnce * tile, f32);
    biasSum = shared(rowsAtOnce * tile, f32);
    forThreads(index(rowsAtOnce * tile), [&](Value i) {
      store(zeros(1), weightSum, i);
      store(zeros(1), biasSum, i);
    });

    Value length = kernel.frame.length;
    forLoop(index(0), kernel.frame.batch, index(1), [&](Value sequence) {
      auto eachState = [&](function_ref<void(Value, Value, Value)> body) {
        forThreads(index(groupsOfTile), [&](Value g) {
          Value at = add(mul(sequence, index(stateStride(groups))), add(firstGroup, g));
          body(dmean, at, mul(g, index(2)));
          body(dvariance, at, add(mul(g, index(2)), index(1)));
        });
      };
      eachState(
          [&](Value state, Value at, Value slot) { store(toF64(load(state, at)), carried, slot); });
      Value tiles = div(add(length, index(timeTile - 1)), timeTile);
      backwards(tiles, [&](Value number) {
        Value time = mul(number, index(timeTile));
        steps = min(sub(length, time), index(timeTile));
        firstRow = add(mul(sequence, length), time);
        moments();
        barrier();
        carry();
        barrier();
        spreadOut();
        barrier();
      });
      eachState(
          [&](Value state, Value at, Value slot) { store(toF32(load(carried, slot)), state, at); });
      barrier();
    });

    forThreads(index(tile), [&](Value c) {
      Value sums[] = {zeros(1), zeros(1)};
      SmallVector<Value> all =
          reduce(index(0), index(rowsAtOnce), 1, sums, [&](Value row, ValueRange sums) {
            Value at = add(mul(row, index(tile)), c);
            return SmallVector<Value>{addf(sums[0], load(weightSum, at)),
                                      addf(sums[1], load(biasSum, at))};
          });
      ifThen(less(add(channel, c), index(width.inner)), [&] {
        addTo(all[0], dweight, add(channel, c));
        addTo(all[1], dbias, add(channel, c));
      });
    });
    return close(sharedBytes, "use more groups, so that they have fewer channels");
  }

private:
  Value rowOf(Value t) { return add(firstRow, t); }
  Value at(Value t, Type type) { return add(rowOffset(rowOf(t), type), channel); }
  Value saved(Value buffer, Value t, Value g) {
    return load(buffer, add(rowOffset(rowOf(t), op.getShift().getType()), add(firstGroup, g)));
  }
  /// c2 of a step: 0 for padding.
  Value shareOf(Value t) {
    return load(shifts, add(rowOffset(rowOf(t), op.getShift().getType()), index(groups)));
  }
  Value slotOf(Value t, Value g) { return add(mul(t, index(groupsOfTile)), g); }
  Value times(Value v, double factor) { return mulf(v, f64Constant(factor)); }
  /// Number `number` of the features that `count` lanes of threads take in turns, `lane` this
  /// one's; and whether there is one.
  std::pair<Value, Value> feature(Value number, Value lane, int64_t count, int64_t wide) {
    Value f = mul(add(lane, mul(number, index(count))), index(wide));
    return {f, less(f, index(groupSize))};
  }

  /// totals R = Σ dy w, skewed S = Σ dy w (x - m) and offsets, the step's mean relative to the
  /// group's first feature.
  void moments() {
    int64_t count = 8; // lanes of a pair of step and group
    while (count > 1 && count > groupSize / lanes)
      count /= 2;
    int64_t rounds = (groupSize / lanes + count - 1) / count;
    bool whole = groupSize % (count * lanes) == 0;
    Value pairs = mul(steps, index(groupsOfTile)), last = sub(pairs, index(1));
    Value lane = rem(thread, count), own = div(thread, count);
    // All lanes of a warp take part in its sums, with or without a pair of their own.
    forLoop(index(0), pairs, index(threads / count), [&](Value from) {
      Value wanted = add(from, own), pair = min(wanted, last);
      Value t = div(pair, groupsOfTile), g = rem(pair, groupsOfTile);
      Value inTile = mul(g, index(groupSize));
      Value xAt = add(at(t, op.getInput().getType()), inTile);
      Value dyAt = add(at(t, op.getDy().getType()), inTile);
      Value x0 = loadWide(x, xAt, 1), shift = saved(shifts, t, g);
      Value none = zeros(lanes);
      SmallVector<Value> sums(3, none);
      sums = reduce(index(0), index(rounds), 1, sums, [&](Value number, ValueRange sums) {
        auto [f, exists] = feature(number, lane, count, lanes);
        if (!whole)
          f = select(exists, f, index(0));
        Value d = subf(loadWide(x, add(xAt, f), lanes), spread(x0, lanes));
        Value gain = addf(loadWide(weight, add(add(channel, inTile), f), lanes),
                          spread(f32Constant(1), lanes));
        Value u = mulf(loadWide(dy, add(dyAt, f), lanes), gain);
        Value skew = mulf(u, subf(d, spread(shift, lanes)));
        SmallVector<Value> next;
        for (auto [sum, term] : llvm::zip(sums, SmallVector<Value>{u, skew, d}))
          next.push_back(addf(sum, whole ? term : select(exists, term, none)));
        return next;
      });
      for (Value &sum : sums) {
        Value all = lanes == 1 ? sum : element(sum, 0);
        for (int64_t i = 1; i < lanes; ++i)
          all = addf(all, element(sum, i));
        for (int64_t distance = 1; distance < count; distance *= 2)
          all = addf(all, shuffleXor(all, distance));
        sum = all;
      }
      Value writes = arith::AndIOp::create(b, loc, equal(lane, index(0)), less(wanted, pairs));
      ifThen(writes, [&] {
        store(sums[0], totals, pair);
        store(sums[1], skewed, pair);
        store(mulf(sums[2], f32Constant(1.0 / double(groupSize))), offsets, pair);
      });
    });
  }

  /// The value after `lane` and those below of v ← factor v + term, from `start` on; and before.
  std::pair<Value, Value> chain(Value lane, Value factor, Value term, Value start) {
    Value one = f64Constant(1), none = f64Constant(0);
    for (int64_t distance = 1; distance < kWarp; distance *= 2) {
      Value takes = arith::CmpIOp::create(b, loc, arith::CmpIPredicate::uge, lane, index(distance));
      Value before = select(takes, shuffleUp(factor, distance), one);
      term = addf(mulf(factor, select(takes, shuffleUp(term, distance), none)), term);
      factor = mulf(factor, before);
    }
    Value after = addf(mulf(factor, start), term), before = shuffleUp(after, 1);
    return {after, select(equal(lane, index(0)), start, before)};
  }

  /// flat = da / groupSize and slope = 2 db / groupSize of every step and group. Lane l has the
  /// l-th step from the end of its 32.
  void carry() {
    Value lane = rem(thread, kWarp), warp = div(thread, kWarp);
    Value parts = div(add(steps, index(kWarp - 1)), kWarp), none = f64Constant(0);
    forLoop(warp, index(groupsOfTile), index(threads / kWarp), [&](Value g) {
      Value slotM = mul(g, index(2)), slotV = add(slotM, index(1));
      backwards(parts, [&](Value part) {
        Value t = add(mul(part, index(kWarp)), sub(index(kWarp - 1), lane));
        Value exists = less(t, steps), safe = select(exists, t, index(0));
        Value slot = slotOf(safe, g), share = shareOf(safe);
        Value counts = arith::AndIOp::create(
            b, loc, exists,
            Value(arith::CmpFOp::create(b, loc, arith::CmpFPredicate::OGT, share, zeros(1))));
        Value c2 = select(counts, toF64(share), none), c1 = subf(f64Constant(1), c2);
        Value r = toF64(saved(deviations, safe, g));
        Value R = toF64(load(totals, slot)), S = toF64(load(skewed, slot));
        Value fromMean = toF64(subf(load(offsets, slot), saved(shifts, safe, g))); // a - m
        Value startM = load(carried, slotM), startV = load(carried, slotV);
        warpBarrier(); // all lanes have read what the last one overwrites

        Value s = times(mulf(mulf(mulf(r, r), r), S), 0.5);
        Value termV = select(counts, negate(mulf(c1, s)), none);
        auto [afterV, beforeV] = chain(lane, c1, termV, startV);
        Value Q = subf(beforeV, s);
        Value pull = times(mulf(mulf(c2, Q), fromMean), 2);
        Value rR = mulf(r, R);
        Value termM = select(counts, negate(addf(mulf(c1, rR), pull)), none);
        auto [afterM, beforeM] = chain(lane, c1, termM, startM);
        Value da = addf(mulf(c2, subf(beforeM, rR)), pull), db = mulf(c2, Q);
        ifThen(exists, [&] {
          store(toF32(times(da, 1.0 / double(groupSize))), flat, slot);
          store(toF32(times(db, 2.0 / double(groupSize))), slope, slot);
        });
        ifThen(equal(lane, index(kWarp - 1)), [&, afterV = afterV, afterM = afterM] {
          store(afterM, carried, slotM);
          store(afterV, carried, slotV);
        });
        warpBarrier();
      });
    });
  }

  /// dx of the tile, and its part of the sums of this thread's channels.
  void spreadOut() {
    Value rowSlot = index(0), first = thread;
    if (vectors < threads) {
      rowSlot = div(thread, vectors);
      first = rem(thread, vectors);
    }
    // Threads that no row is left for.
    Value from = rowSlot;
    if (rowsAtOnce * vectors < threads)
      from = select(less(rowSlot, index(rowsAtOnce)), rowSlot, steps);
    forLoop(first, index(vectors), index(threads), [&](Value vector) {
      Value c = mul(vector, index(lanes)), g = div(c, groupSize);
      if (width.padded() != width.inner) // padding takes part in the last group's
        g = min(g, index(groupsOfTile - 1));
      Value parameterAt = add(channel, c);
      Value gain = addf(loadWide(weight, parameterAt, lanes), spread(f32Constant(1), lanes));
      Value none = zeros(lanes), exists;
      if (width.padded() != width.inner)
        exists = less(parameterAt, index(width.inner));
      SmallVector<Value> sums(2, none);
      sums = reduce(from, steps, rowsAtOnce, sums, [&](Value t, ValueRange sums) {
        Value slot = slotOf(t, g), counts = arith::CmpFOp::create(b, loc, arith::CmpFPredicate::OGT,
                                                                  shareOf(t), zeros(1));
        if (exists)
          counts = arith::AndIOp::create(b, loc, counts, exists);
        Value firstOfGroup = add(at(t, op.getInput().getType()), mul(g, index(groupSize)));
        Value x0 = loadWide(x, firstOfGroup, 1);
        Value d =
            subf(loadWide(x, add(at(t, op.getInput().getType()), c), lanes), spread(x0, lanes));
        Value gradient = loadWide(dy, add(at(t, op.getDy().getType()), c), lanes);
        Value rate = spread(saved(deviations, t, g), lanes);
        Value own = mulf(mulf(gradient, gain), rate);
        Value bent =
            mulf(spread(load(slope, slot), lanes), subf(d, spread(load(offsets, slot), lanes)));
        Value v = addf(own, addf(spread(load(flat, slot), lanes), bent));
        storeWide(select(counts, v, none), dx, add(at(t, op.getDx().getType()), c));
        Value normal = mulf(subf(d, spread(saved(shifts, t, g), lanes)), rate);
        return SmallVector<Value>{addf(sums[0], select(counts, mulf(gradient, normal), none)),
                                  addf(sums[1], select(counts, gradient, none))};
      });
      auto addSum = [&](Value sum, Value buffer) {
        Value to = add(mul(min(rowSlot, index(rowsAtOnce - 1)), index(tile)), c);
        storeWide(addf(loadWide(buffer, to, lanes), sum), buffer, to);
      };
      auto keep = [&] {
        addSum(sums[0], weightSum);
        addSum(sums[1], biasSum);
      };
      if (rowsAtOnce * vectors < threads)
        ifThen(less(rowSlot, index(rowsAtOnce)), keep);
      else
        keep();
    });
  }

  mega::TimestepNormGradientOp op;
  formats::Width width;
  int64_t groups, groupSize, tile = 0, groupsOfTile = 0;
  int64_t timeTile = 64;
  int64_t lanes = 1;      ///< channels that a thread takes at once
  int64_t vectors = 0;    ///< such pieces of a tile
  int64_t rowsAtOnce = 1; ///< of the last phase
  Value x, dy, shifts, deviations, weight, dx, channel, firstGroup, steps, firstRow;
  Value carried; ///< shared, f64 [groups of the tile][gradient of mean, of variance]
  Value totals, skewed, offsets, flat, slope; ///< shared, f32 [steps][groups of the tile]
  Value weightSum, biasSum;                   ///< shared, f32 [rows at once][tile]
};

} // namespace

LogicalResult emitGpuTimestepNormGradient(KernelEmitter &kernel, mega::TimestepNormGradientOp op,
                                          const Chip &chip) {
  return TimestepNormGradient(kernel, op).emit(chip.sharedPerBlock);
}

} // namespace otodus

//===- CemaGradient.cpp - CEMA against time ---------------------------------===//
//
// A block owns the sums of a few channels and walks all sequences, each from its last time tile to
// its first (spec 3.2). A tile is cut into segments of 32 steps, since forward has kept the state
// before each. A thread has a channel, a segment and a share of the modes, so the steps of a tile
// go back together:
//
//   local   what a segment adds to the adjoint by itself, and what it leaves of one that comes in
//   chain   from those, the adjoint that comes into every segment
//   walk    16 steps at a time, whose states are computed again into registers: the adjoint, the
//           part of dx, the sums of the gradients of p, q and g
//   gather  dx from the shares of the modes, in order
//
// A carried adjoint is conj(q) λ of the step after, or the gradient of the state.
//
//===----------------------------------------------------------------------===//

#include "Kernels.h"
#include "StreamGradient.h"

#include "mlir/Dialect/Arith/IR/Arith.h"

using namespace mlir;

namespace otodus {
namespace {

constexpr int64_t kThreads = 256, kWarp = 32;
constexpr int64_t kHalf = 16; ///< steps whose states are in registers; half a segment
constexpr int64_t kMostSegments = 16;

class CemaGradient : StreamGradient {
public:
  CemaGradient(KernelEmitter &kernel, mega::CemaGradientOp op, const Chip &chip)
      : StreamGradient(kernel, kThreads), op(op), width(widthOf(op.getInput().getType())),
        modes(op.getAlpha().getType().getDimSize(1)) {
    // Narrow tiles of channels where the width alone does not fill the chip; 8 channels are a
    // sector of memory. Warps share the modes, or else segments.
    channels = 8;
    while (channels < kLanes && width.padded() / (2 * channels) >= chip.multiprocessors * 3 / 4)
      channels *= 2;
    while (2 * shares <= modes && shares < kThreads / kWarp)
      shares *= 2;
    while (kThreads / shares / channels > kMostSegments && channels < kLanes)
      channels *= 2;
    segments = kThreads / shares / channels;
    // Lanes of neighbouring segments meet in no bank.
    pitch = kMarkedSteps * channels + (channels < kLanes ? channels : 0);
  }

  LogicalResult emit(int64_t sharedBytes);

private:
  // Places in shared memory.
  Value stepAt(Value segment, Value t) { // [segments][32 steps][channels]
    return add(add(mul(segment, index(pitch)), mul(t, index(channels))), lane);
  }
  /// Of [modes][parts][segments][channels].
  Value ownAt(Value mode, int64_t parts, int64_t part, Value segment) {
    Value row = add(mul(add(mul(mode, index(parts)), index(part)), index(segments)), segment);
    return add(mul(row, index(channels)), lane);
  }
  Value carriedAt(Value mode, int64_t part) {
    return add(mul(add(mul(mode, index(2)), index(part)), index(channels)), lane);
  }
  /// Of [d / 32][modes][parts][32] in memory.
  Value blockAt(Value mode, int64_t parts, int64_t part) {
    Value d = add(channel, lane);
    Value base = mul(add(mul(div(d, kLanes), index(modes)), mode), index(parts * kLanes));
    return add(add(base, index(part * kLanes)), rem(d, kLanes));
  }
  int64_t perSequence() const { return width.padded() * modes * 2; }

  /// p, Re q, Im q, Re g, Im g.
  SmallVector<Value> coefficientsOf(Value mode) {
    SmallVector<Value> all;
    for (int64_t part = 0; part < 5; ++part)
      all.push_back(load(coefficients, blockAt(mode, 5, part)));
    return all;
  }
  /// conj(g) dy + c
  std::pair<Value, Value> adjointOf(ArrayRef<Value> k, Value gradient, Value re, Value im) {
    return {fma(k[3], gradient, re), fma(negate(k[4]), gradient, im)};
  }
  /// conj(q) λ
  std::pair<Value, Value> back(Value qr, Value qi, Value re, Value im) {
    return {fma(qi, im, mulf(qr, re)), fma(negate(qi), re, mulf(qr, im))};
  }
  void forModes(function_ref<void(Value)> body) {
    forLoop(share, index(modes), index(shares), body);
  }

  void loadSteps();
  void local();
  void chain();
  void walk(Value number);
  void walkHalf(int64_t half, Value number);
  SmallVector<Value> gather(ValueRange sum);
  void toParameters();
  Value oneStep(ArrayRef<Value> k, Value input, Value &hr, Value &hi);

  mega::CemaGradientOp op;
  formats::Width width;
  int64_t modes, channels = 8;
  int64_t shares = 1;   ///< of the modes: warps of the same steps
  int64_t segments = 1; ///< of a time tile
  int64_t pitch = 0;
  Value x, dy, coefficients, start, marks, dx, omegas;
  Value channel;              ///< first of the block
  Value share, segment, lane; ///< of this thread
  Value xs, dys;              ///< shared, [segments][32][channels]
  Value parts;                ///< shared, [shares][segments][32][channels]: of dx
  Value locals;               ///< shared, [modes][4][segments][channels]: own part, what stays
  Value incoming;             ///< shared, [modes][2][segments][channels]
  Value carried;              ///< shared, [modes][2][channels]
  Value sums;                 ///< shared, [modes][5][segments][channels]: gradients of p, q, g
  Value omegaSums;            ///< shared, [threads][4]
  Value turns;                ///< shared, [modes][channels]: of theta
  Value sequence, steps, firstRow;
  Value count; ///< steps of this thread's segment
};

LogicalResult CemaGradient::emit(int64_t sharedBytes) {
  x = kernel.operandParameter(op.getInput());
  dy = kernel.operandParameter(op.getDy());
  start = kernel.operandParameter(op.getStart());
  marks = kernel.operandParameter(op.getMarks());
  KernelBuffer buffer;
  buffer.kind = "cema";
  for (Value source : {op.getAlpha(), op.getDelta(), op.getTheta(), op.getGamma()})
    buffer.sources.push_back(kernel.operandNumber(source));
  buffer.rows = {1, modes};
  buffer.columns = width;
  coefficients = kernel.parameter(buffer, f32); // [blocks][N][5][32]
  omegas = vectorWeight(op.getOmega(), width);
  Value dstate = kernel.operandParameter(op.getDstate());
  dx = result(op.getDx());

  channel = mul(open(width.padded() / channels), index(channels));
  lane = rem(thread, channels);
  Value warp = div(thread, kWarp);
  share = rem(warp, shares);
  segment = add(mul(div(warp, shares), index(kWarp / channels)), div(rem(thread, kWarp), channels));
  xs = shared(segments * pitch, f32);
  dys = shared(segments * pitch, f32);
  parts = shared(shares * segments * pitch, f32);
  int64_t each = modes * segments * channels;
  locals = shared(4 * each, f32);
  incoming = shared(2 * each, f32);
  carried = shared(2 * modes * channels, f32);
  sums = shared(5 * each, f32);
  omegaSums = shared(4 * threads, f32);
  turns = shared(modes * channels, f32);
  forModes([&](Value mode) {
    for (int64_t part = 0; part < 5; ++part)
      store(zeros(1), sums, ownAt(mode, 5, part, segment));
  });

  Value length = kernel.frame.length;
  SmallVector<Value> omegaSum =
      reduce(index(0), kernel.frame.batch, 1, zeros(4), [&](Value number, ValueRange omegaSum) {
        sequence = number;
        // The gradient of the state comes in at the end and leaves at the start.
        auto eachState = [&](function_ref<void(Value, Value)> body) {
          ifThen(equal(segment, index(0)), [&] {
            forModes([&](Value mode) {
              for (int64_t part = 0; part < 2; ++part)
                body(add(mul(sequence, index(stateStride(perSequence()))), blockAt(mode, 2, part)),
                     carriedAt(mode, part));
            });
          });
        };
        eachState([&](Value at, Value slot) { store(load(dstate, at), carried, slot); });
        int64_t perTile = segments * kMarkedSteps;
        Value tiles = div(add(length, index(perTile - 1)), perTile);
        SmallVector<Value> after =
            reduce(index(0), tiles, 1, omegaSum, [&](Value i, ValueRange omegaSum) {
              Value tile = sub(sub(tiles, index(1)), i), time = mul(tile, index(perTile));
              steps = min(sub(length, time), index(perTile));
              firstRow = add(mul(sequence, length), time);
              Value before = mul(segment, index(kMarkedSteps));
              Value left = sub(arith::MaxUIOp::create(b, loc, steps, before), before);
              count = min(left, index(kMarkedSteps));
              loadSteps();
              barrier();
              local();
              barrier();
              chain();
              barrier();
              walk(add(mul(tile, index(segments)), segment));
              barrier();
              SmallVector<Value> next = gather(omegaSum);
              barrier();
              return next;
            });
        eachState([&](Value at, Value slot) { store(load(carried, slot), dstate, at); });
        return after;
      });
  storeWide(omegaSum[0], omegaSums, mul(thread, index(4)));
  barrier();
  toParameters();
  return close(sharedBytes, "train with fewer modes (cema_ndim), or on a chip with more");
}

/// x and dy of the tile, 0 behind its end.
void CemaGradient::loadSteps() {
  int64_t vectors = channels / 4;
  forThreads(index(segments * kMarkedSteps * vectors), [&](Value i) {
    Value t = div(i, vectors), c = mul(rem(i, vectors), index(4)), exists = less(t, steps);
    Value row = add(firstRow, select(exists, t, index(0)));
    Value to = add(
        add(mul(div(t, kMarkedSteps), index(pitch)), mul(rem(t, kMarkedSteps), index(channels))),
        c);
    for (auto [from, type, into] : {std::tuple(x, Type(op.getInput().getType()), xs),
                                    std::tuple(dy, Type(op.getDy().getType()), dys)}) {
      Value v = loadWide(from, add(add(rowOffset(row, type), channel), c), 4);
      storeWide(select(exists, v, zeros(4)), into, to);
    }
  });
}

void CemaGradient::local() {
  forModes([&](Value mode) {
    SmallVector<Value> k = coefficientsOf(mode);
    SmallVector<Value> none(2, zeros(1));
    SmallVector<Value> own =
        reduce(index(0), index(kMarkedSteps), 1, none, [&](Value i, ValueRange c) {
          Value gradient = load(dys, stepAt(segment, sub(index(kMarkedSteps - 1), i)));
          auto [re, im] = adjointOf(k, gradient, c[0], c[1]);
          auto [nextRe, nextIm] = back(k[1], k[2], re, im);
          return SmallVector<Value>{nextRe, nextIm};
        });
    // q to the power of the segment's steps, 32 but for the last one.
    SmallVector<Value> one{f32Constant(1), zeros(1)};
    SmallVector<Value> power = reduce(index(0), count, 1, one, [&](Value, ValueRange c) {
      return SmallVector<Value>{fma(negate(k[2]), c[1], mulf(k[1], c[0])),
                                fma(k[2], c[0], mulf(k[1], c[1]))};
    });
    for (auto [part, v] : llvm::enumerate(SmallVector<Value>{own[0], own[1], power[0], power[1]}))
      store(v, locals, ownAt(mode, 4, part, segment));
  });
}

void CemaGradient::chain() {
  forModes([&](Value mode) {
    SmallVector<Value> c{load(carried, carriedAt(mode, 0)), load(carried, carriedAt(mode, 1))};
    c = reduce(index(0), sub(index(segments - 1), segment), 1, c, [&](Value i, ValueRange c) {
      Value later = sub(index(segments - 1), i);
      auto part = [&](int64_t number) { return load(locals, ownAt(mode, 4, number, later)); };
      auto [re, im] = back(part(2), part(3), c[0], c[1]);
      return SmallVector<Value>{addf(re, part(0)), addf(im, part(1))};
    });
    store(c[0], incoming, ownAt(mode, 2, 0, segment));
    store(c[1], incoming, ownAt(mode, 2, 1, segment));
  });
}

Value CemaGradient::oneStep(ArrayRef<Value> k, Value input, Value &hr, Value &hi) {
  Value driven = mulf(k[0], input);
  Value re = fma(negate(k[2]), hi, fma(k[1], hr, driven));
  hi = fma(k[2], hr, mulf(k[1], hi));
  hr = re;
  return hr;
}

void CemaGradient::walk(Value number) {
  walkHalf(1, number);
  walkHalf(0, number);
  ifThen(equal(segment, index(0)), [&] {
    forModes([&](Value mode) {
      for (int64_t part = 0; part < 2; ++part)
        store(load(incoming, ownAt(mode, 2, part, segment)), carried, carriedAt(mode, part));
    });
  });
}

/// `number`: of this thread's segment in its sequence.
void CemaGradient::walkHalf(int64_t half, Value number) {
  // The state before it, of the first segment of a sequence or of another. Segments behind the end
  // take the last one's.
  Value length = kernel.frame.length;
  Value safe = min(number, div(sub(length, index(1)), kMarkedSteps));
  Value isFirst = equal(safe, index(0));
  Value markRow =
      add(mul(sequence, div(length, kMarkedSteps)), sub(select(isFirst, index(1), safe), index(1)));
  Value startRow = rowOffset(sequence, op.getStart().getType());
  auto before = [&](Value mode, int64_t part) -> Value {
    Value at = blockAt(mode, 2, part);
    auto choice = scf::IfOp::create(b, loc, TypeRange{f32}, isFirst, /*withElseRegion=*/true);
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(choice.thenBlock());
    scf::YieldOp::create(b, loc, load(start, add(startRow, at)));
    b.setInsertionPointToStart(choice.elseBlock());
    scf::YieldOp::create(b, loc, load(marks, add(mul(markRow, index(perSequence())), at)));
    return choice.getResult(0);
  };
  auto timeOf = [&](int64_t t) { return stepAt(segment, index(half * kHalf + t)); };
  SmallVector<Value> input, gradient, ownDx(kHalf, zeros(1));
  for (int64_t t = 0; t < kHalf; ++t) {
    input.push_back(load(xs, timeOf(t)));
    gradient.push_back(load(dys, timeOf(t)));
  }

  ownDx = reduce(share, index(modes), shares, ownDx, [&](Value mode, ValueRange dxBefore) {
    SmallVector<Value> k = coefficientsOf(mode), ownDx(dxBefore);
    Value hr = before(mode, 0), hi = before(mode, 1);
    if (half) {
      SmallVector<Value> h =
          reduce(index(0), index(kHalf), 1, {hr, hi}, [&](Value t, ValueRange h) {
            Value re = h[0], im = h[1];
            oneStep(k, load(xs, stepAt(segment, t)), re, im);
            return SmallVector<Value>{re, im};
          });
      hr = h[0], hi = h[1];
    }
    SmallVector<Value> statesR{hr}, statesI{hi}; // [t]: before step t
    for (int64_t t = 0; t < kHalf; ++t) {
      oneStep(k, input[t], hr, hi);
      statesR.push_back(hr);
      statesI.push_back(hi);
    }

    // The adjoint comes in behind the last step of the segment; 0 is in front of that.
    Value inAtR = ownAt(mode, 2, 0, segment), inAtI = ownAt(mode, 2, 1, segment);
    Value inR = load(incoming, inAtR), inI = load(incoming, inAtI);
    Value cr = half ? zeros(1) : inR, ci = half ? zeros(1) : inI;
    if (!half) { // the later half has taken it in, if it has steps
      Value taken = less(index(kHalf), count);
      cr = select(taken, inR, zeros(1));
      ci = select(taken, inI, zeros(1));
    }
    SmallVector<Value> sum;
    for (int64_t part = 0; part < 5; ++part)
      sum.push_back(load(sums, ownAt(mode, 5, part, segment)));
    for (int64_t t = kHalf - 1; t >= 0; --t) {
      Value last = equal(count, index(half * kHalf + t + 1));
      cr = select(last, inR, cr);
      ci = select(last, inI, ci);
      auto [lr, li] = adjointOf(k, gradient[t], cr, ci);
      ownDx[t] = fma(k[0], lr, ownDx[t]);
      sum[0] = fma(input[t], lr, sum[0]);
      sum[1] = fma(li, statesI[t], fma(lr, statesR[t], sum[1]));
      sum[2] = fma(lr, negate(statesI[t]), fma(li, statesR[t], sum[2]));
      sum[3] = fma(gradient[t], statesR[t + 1], sum[3]);
      sum[4] = fma(negate(gradient[t]), statesI[t + 1], sum[4]);
      std::tie(cr, ci) = back(k[1], k[2], lr, li);
    }
    for (int64_t part = 0; part < 5; ++part)
      store(sum[part], sums, ownAt(mode, 5, part, segment));
    // Without a step in this half what comes in waits for the other one.
    Value passed = half ? less(index(kHalf), count) : less(index(0), count);
    store(select(passed, cr, inR), incoming, inAtR);
    store(select(passed, ci, inI), incoming, inAtI);
    return ownDx;
  });
  for (int64_t t = 0; t < kHalf; ++t)
    store(ownDx[t], parts, add(mul(share, index(segments * pitch)), timeOf(t)));
}

/// dx of the tile; Σ x dy of this thread's channels on top of `sum`.
SmallVector<Value> CemaGradient::gather(ValueRange sum) {
  int64_t vectors = channels / 4;
  Value c = mul(rem(thread, vectors), index(4)); // threads are a multiple of `vectors`
  Value omega = loadWide(omegas, add(channel, c), 4);
  return reduce(div(thread, vectors), steps, threads / vectors, sum, [&](Value t, ValueRange sum) {
    Value at = add(
        add(mul(div(t, kMarkedSteps), index(pitch)), mul(rem(t, kMarkedSteps), index(channels))),
        c);
    Value gradient = loadWide(dys, at, 4), v = mulf(omega, gradient);
    for (int64_t number = 0; number < shares; ++number)
      v = addf(v, loadWide(parts, add(at, index(number * segments * pitch)), 4));
    Value to = add(add(rowOffset(add(firstRow, t), op.getDx().getType()), channel), c);
    storeWide(v, dx, to);
    return SmallVector<Value>{fma(loadWide(xs, at, 4), gradient, sum[0])};
  });
}

/// The chain to the parameters, once.
void CemaGradient::toParameters() {
  KernelBuffer buffer;
  buffer.kind = "cema_gradient";
  for (Value source : {op.getAlpha(), op.getDelta(), op.getTheta(), op.getGamma()})
    buffer.sources.push_back(kernel.operandNumber(source));
  buffer.rows = {1, modes};
  buffer.columns = width;
  Value factors = kernel.parameter(buffer, f32); // [blocks][N][8][32]
  Value dalpha = kernel.operandParameter(op.getDalpha());
  Value ddelta = kernel.operandParameter(op.getDdelta());
  Value dtheta = kernel.operandParameter(op.getDtheta());
  Value dgamma = kernel.operandParameter(op.getDgamma());
  Value domega = kernel.operandParameter(op.getDomega());

  Value ownLane = lane, rowOfThread = div(thread, channels);
  int64_t rows = threads / channels;
  Value exists = less(add(channel, ownLane), index(width.inner));
  forLoop(rowOfThread, index(modes), index(rows), [&](Value mode) {
    SmallVector<Value> none(5, zeros(1));
    SmallVector<Value> sum =
        reduce(index(0), index(segments), 1, none, [&](Value number, ValueRange sum) {
          SmallVector<Value> next;
          for (int64_t part = 0; part < 5; ++part)
            next.push_back(addf(sum[part], load(sums, ownAt(mode, 5, part, number))));
          return next;
        });
    SmallVector<Value> factor;
    for (int64_t part = 0; part < 8; ++part)
      factor.push_back(load(factors, blockAt(mode, 8, part)));
    Value dp = sum[0], dqr = sum[1], dqi = sum[2];
    // Re(dq e^{-iφ}) and Im(conj(q) dq) times what φ has to do with theta.
    Value magnitude = fma(dqr, factor[2], mulf(dqi, factor[3]));
    Value turn = subf(mulf(factor[5], dqi), mulf(factor[6], dqr));
    store(turn, turns, add(mul(mode, index(channels)), ownLane));
    ifThen(exists, [&] {
      Value at = add(mul(add(channel, ownLane), index(modes)), mode);
      addTo(subf(mulf(dp, factor[0]), mulf(magnitude, factor[1])), dalpha, at);
      addTo(negate(mulf(magnitude, factor[4])), ddelta, at);
      Value gammaAt = mul(at, index(2));
      addTo(mulf(sum[3], factor[7]), dgamma, gammaAt);
      addTo(mulf(sum[4], factor[7]), dgamma, add(gammaAt, index(1)));
    });
  });
  barrier();
  Value first = arith::AndIOp::create(b, loc, less(thread, index(channels)), exists);
  ifThen(first, [&] {
    Value angle = reduce(index(0), index(modes), 1, zeros(1), [&](Value mode, ValueRange sum) {
      return SmallVector<Value>{
          addf(sum[0], load(turns, add(mul(mode, index(channels)), ownLane)))};
    })[0];
    addTo(angle, dtheta, add(channel, ownLane));
    // Channel c is element c mod 4 of the threads c / 4, c / 4 + channels / 4, …
    int64_t vectors = channels / 4;
    Value omega =
        reduce(index(0), index(threads / vectors), 1, zeros(1), [&](Value i, ValueRange sum) {
          Value owner = add(mul(i, index(vectors)), div(ownLane, 4));
          Value at = add(mul(owner, index(4)), rem(ownLane, 4));
          return SmallVector<Value>{addf(sum[0], load(omegaSums, at))};
        })[0];
    addTo(omega, domega, add(channel, ownLane));
  });
}

} // namespace

LogicalResult emitGpuCemaGradient(KernelEmitter &kernel, mega::CemaGradientOp op,
                                  const Chip &chip) {
  return CemaGradient(kernel, op, chip).emit(chip.sharedPerBlock);
}

} // namespace otodus

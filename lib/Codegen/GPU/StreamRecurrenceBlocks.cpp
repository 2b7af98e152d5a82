//===- StreamRecurrenceBlocks.cpp - CEMA, sixteen steps at a time ----------===//
//
// Over a block of 16 steps CEMA (spec 3.2) is linear in the steps and in the state h before it:
//
//   y = omega x + T x + V h     T[i, j] = Re Σ_n g_n p_n q_n^(i-j), j <= i
//                               V[i, n] = Re (g_n q_n^(i+1) ·)
//   h after = Q h + W x         Q = q^16,  W[n, j] = p_n q_n^(15-j)
//
// A warp takes a channel of a time tile, 16 blocks, at once: as rows of X [16 blocks, 16 steps],
//
//   S = X W'                    what every block adds to the state
//   H = scan of S by Q          the state before every block, f32, across the lanes
//   Y = omega X + X T' + H V'
//
// with mma.sync m16n8k16 on bf16, sums in f32. Row r < 8 of a matrix is block 2r, row 8 + r is
// block 2r + 1, so that a lane holds pairs of neighbouring blocks; complex numbers lie in
// neighbouring columns, so that a lane holds both parts; S, once scanned and rounded, is what
// the product with V' takes as its left operand, register by register. The order of steps in a
// block is such that a lane reads and writes four neighbouring steps:
//
//   column 8 r + 2 j + b  is  step 4 j + 2 r + b      r, b < 2, j < 4
//
// V' and W' of a warp's channels stay in registers for the whole call; T', whose elements are 16
// taps, is read from shared memory, and so are V' and W' of the last channel on chips with room for
// them: the sixteen registers are what a norm in front lacks of 128.
//
//===----------------------------------------------------------------------===//

#include "StreamKernel.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;

namespace otodus {
namespace {

constexpr int64_t kWarp = 32;
constexpr int64_t kBlock = 16;   ///< steps
constexpr int64_t kChannels = 4; ///< of a warp
constexpr int64_t kDecays = 4;   ///< of a mode: by one block, by 2, 4 and 8
constexpr int64_t kRoomy = 200 * 1024; ///< shared memory of a block that has room for a channel's matrices
constexpr int64_t kTaps = 32;    ///< of a channel: those of 16 steps ago are 0, as are the future's

struct Complex {
  Value re, im;
};

class CemaBlocks final : public StreamKernelOp {
public:
  CemaBlocks(mega::CemaOp op, StreamKernel &frame) : StreamKernelOp(frame), op(op) {}

  SmallVector<Value> inputs() override { return {op.getInput()}; }
  bool takesChannels() const override { return true; }

  LogicalResult begin(SmallVectorImpl<Value> &) override {
    modes = op.getAlpha().getType().getDimSize(1);
    KernelBuffer buffer;
    buffer.kind = "cema";
    for (Value source : {op.getAlpha(), op.getDelta(), op.getTheta(), op.getGamma()})
      buffer.sources.push_back(frame.kernel.operandNumber(source));
    buffer.rows = {1, modes};
    buffer.columns = frame.width;
    coefficients = frame.kernel.parameter(buffer, f32);   // [blocks][N][5][32]
    state = frame.kernel.operandParameter(op.getState()); // [blocks][N][2][32]
    Value omega = frame.vectorWeight(op.getOmega(), frame.width);
    int64_t warps = frame.threads / kWarp;
    pairs = modes + 1;
    decays = frame.shared(frame.tile * pairs * 2 * kDecays, f32);
    states = frame.shared(frame.tile * pairs * 2, f32);
    gains = frame.shared(frame.tile, f32);
    tail = frame.shared(frame.tile * kBlock, b.getBF16Type());
    powers = frame.shared(warps * modes * (kBlock + 1) * 2, f32, /*onlyBegin=*/true);
    taps = frame.shared(frame.tile * kTaps, b.getI32Type());
    if (frame.sharedLimit >= kRoomy) {
      inRegisters = kChannels - 1;
      last = frame.shared(warps * modes * kWarp, b.getI32Type());
    }

    lane = rem(frame.thread, kWarp);
    warp = div(frame.thread, kWarp);
    row = div(lane, 4);
    column = rem(lane, 4);
    ownPair = mul(add(mul(warp, index(kChannels * pairs)), column), index(2));
    ownDecays = mul(ownPair, index(kDecays));
    ownSteps = add(mul(warp, index(kChannels * frame.pitch)),
                   add(mul(row, index(2 * kBlock)), mul(column, index(4))));
    ownChannel = mul(warp, index(kChannels));
    ownLast = add(mul(warp, index(modes * kWarp)), lane);
    Value to = add(mul(div(row, 2), index(4)), rem(row, 2));
    ownTaps = sub(add(mul(warp, index(kChannels * kTaps)), to), mul(column, index(4)));
    frame.forThreads(index(frame.tile),
                     [&](Value c) { store(load(omega, add(frame.channel, c)), gains, c); });
    eachState([&](Value inTile, Value inState) { store(load(state, inState), states, inTile); });
    for (int64_t k = 0; k < kChannels; ++k)
      setUp(k);
    return success();
  }

  LogicalResult emit(MutableArrayRef<Value>) override {
    Value x = frame.tileOf(op.getInput());
    frame.setTile(op.getOutput(), x); // in place
    Value rest = rem(frame.steps, kBlock);
    Value ends = arith::CmpIOp::create(b, loc, arith::CmpIPredicate::ne, rest, index(0));
    ifThen(ends, [&] {
      Value from = sub(frame.steps, rest);
      frame.forThreads(
          index(frame.tile * kBlock),
          [&](Value i) {
            Value at = add(mul(div(i, kBlock), index(frame.pitch)), add(from, rem(i, kBlock)));
            store(load(x, at), tail, i);
          },
          /*rare=*/true);
      barrier();
    });
    for (int64_t k = 0; k < kChannels; ++k)
      walk(k, x);
    barrier();
    ifThen(ends, [&] {
      finishBlock();
      barrier();
    });
    return success();
  }

  void end(ArrayRef<Value>) override {
    eachState([&](Value inTile, Value inState) { store(load(states, inTile), state, inState); });
  }

private:
  //===--------------------------------------------------------------------===//
  // Places
  //===--------------------------------------------------------------------===//

  Value channelOf(int64_t k) { return add(mul(warp, index(kChannels)), index(k)); }

  /// Offset of a channel of the tile and a mode in [d / 32][modes][parts][32].
  Value blockOffset(Value c, Value mode, int64_t parts, Value part) {
    Value at = add(frame.channel, c);
    Value base = add(mul(div(at, kLanes), index(modes)), mode);
    return add(mul(add(mul(base, index(parts)), part), index(kLanes)), rem(at, kLanes));
  }

  Value coefficient(Value c, Value mode, int64_t part) {
    return load(coefficients, blockOffset(c, mode, 5, index(part)));
  }

  /// Elements of `states` in shared memory, and of the state in global memory.
  void eachState(function_ref<void(Value, Value)> body) {
    int64_t words = (frame.width.padded() * modes * 2 * 4 + 63) / 64 * 16;
    frame.forThreads(index(frame.tile * modes * 2), [&](Value i) {
      // Neighbouring threads have neighbouring channels.
      Value c = rem(i, frame.tile), rest = div(i, frame.tile);
      Value mode = div(rest, 2), part = rem(rest, 2);
      Value inTile = add(pairAt(c, mode), part);
      body(inTile, add(mul(frame.sequence, index(words)), blockOffset(c, mode, 2, part)));
    });
  }

  Complex loadComplex(Value buffer, Value at) {
    Value both = loadWide(buffer, at, 2);
    return {element(both, 0), element(both, 1)};
  }
  void storeComplex(Complex z, Value buffer, Value at) {
    storeWide(vectorOf({z.re, z.im}), buffer, at);
  }
  /// In [tile][pairs][2].
  Value pairAt(Value c, Value mode) { return mul(add(mul(c, index(pairs)), mode), index(2)); }
  /// That of channel `k` and the mode of this lane in tile `i` of S. What is the same for all
  /// of them is one value, so that their addresses are offsets of one register.
  Value pairOf(int64_t k, int64_t i) { return add(ownPair, index((k * pairs + 4 * i) * 2)); }

  /// The step of a block that stands in `slot`.
  Value stepOf(Value slot) {
    Value inEight = rem(slot, 8);
    return add(add(mul(div(inEight, 2), index(4)), mul(div(slot, 8), index(2))), rem(inEight, 2));
  }

  //===--------------------------------------------------------------------===//
  // Arithmetic
  //===--------------------------------------------------------------------===//

  /// x y + z
  Complex fma(Complex x, Complex y, Complex z) {
    Value minus = arith::NegFOp::create(b, loc, x.im);
    return {LaneBuilder::fma(minus, y.im, LaneBuilder::fma(x.re, y.re, z.re)),
            LaneBuilder::fma(x.im, y.re, LaneBuilder::fma(x.re, y.im, z.im))};
  }
  Complex mul(Complex x, Complex y) {
    Value minus = arith::NegFOp::create(b, loc, x.im);
    return {LaneBuilder::fma(minus, y.im, mulf(x.re, y.re)),
            LaneBuilder::fma(x.im, y.re, mulf(x.re, y.im))};
  }
  using LaneBuilder::mul;
  Complex select(Value condition, Complex x, Complex y) {
    return {LaneBuilder::select(condition, x.re, y.re), LaneBuilder::select(condition, x.im, y.im)};
  }
  using LaneBuilder::select;

  /// Two bf16 in a register, `low` in the lower half.
  Value pack(Value low, Value high) {
    auto type = VectorType::get({2}, b.getBF16Type());
    return asRegister(arith::TruncFOp::create(b, loc, type, vectorOf({low, high})));
  }
  Value asRegister(Value pair) {
    Value one = vector::BitCastOp::create(b, loc, VectorType::get({1}, b.getI32Type()), pair);
    return element(one, 0);
  }

  /// sums + a [16, 16] times b [16, 8].
  void multiply(ArrayRef<Value> a, ArrayRef<Value> right, MutableArrayRef<Value> sums) {
    auto type = LLVM::LLVMStructType::getLiteral(b.getContext(), SmallVector<Type>(4, f32));
    auto types = std::array<NVVM::MMATypes, 2>{NVVM::MMATypes::bf16, NVVM::MMATypes::bf16};
    auto layouts = std::array<NVVM::MMALayout, 2>{NVVM::MMALayout::row, NVVM::MMALayout::col};
    Value d =
        NVVM::MmaOp::create(b, loc, type, a, right, ValueRange(sums), ArrayRef<int64_t>{16, 8, 16},
                            std::nullopt, std::nullopt, types, layouts);
    for (int64_t i = 0; i < 4; ++i)
      sums[i] = LLVM::ExtractValueOp::create(b, loc, d, i);
  }

  //===--------------------------------------------------------------------===//
  // Matrices
  //===--------------------------------------------------------------------===//

  /// q^e of the warp's channel at hand.
  Value powerAt(Value mode, Value exponent) {
    Value own = add(mul(warp, index(modes)), mode);
    return mul(add(mul(own, index(kBlock + 1)), exponent), index(2));
  }
  Complex power(Value mode, Value exponent) {
    Value both = loadWide(powers, powerAt(mode, exponent), 2);
    return {element(both, 0), element(both, 1)};
  }

  /// Right operands of channel `k`; its decay to `decays`.
  void setUp(int64_t k) {
    // Places in the matrices are computed for every channel again, rather than kept.
    Value lane = pin(this->lane), row = div(lane, 4), column = rem(lane, 4), c = channelOf(k);
    // Powers of q: the lanes of a mode take equal parts of the exponents.
    int64_t parts = kWarp / modes, own = kBlock / parts;
    Value mode = rem(lane, modes), part = div(lane, modes);
    Complex q{coefficient(c, mode, 1), coefficient(c, mode, 2)};
    Complex stride = q;
    for (int64_t e = 1; e < own; e *= 2)
      stride = mul(stride, stride);
    Complex z{f32Constant(1), f32Constant(0)}, start = z;
    for (int64_t i = 1; i < parts; ++i) {
      start = i == 1 ? stride : mul(start, stride);
      z = select(equal(part, index(i)), start, z);
    }
    for (int64_t i = 0; i < own; ++i) {
      storeWide(vectorOf({z.re, z.im}), powers,
                powerAt(mode, add(mul(part, index(own)), index(i))));
      z = mul(z, q);
    }
    ifThen(equal(part, index(parts - 1)), [&] {
      storeWide(vectorOf({z.re, z.im}), powers, powerAt(mode, index(kBlock)));
      Value at = mul(pairAt(c, mode), index(kDecays));
      for (int64_t i = 0; i < kDecays; i += 2) {
        Complex square = mul(z, z);
        storeWide(vectorOf({z.re, z.im, square.re, square.im}), decays, add(at, index(2 * i)));
        z = mul(square, square);
      }
    });
    warpBarrier();

    // Re Σ g p q^t: lane t has the first half of the modes, lane 16 + t the second.
    Value tap = rem(lane, kBlock), half = div(lane, kBlock), sum;
    for (int64_t i = 0; i < modes / 2; ++i) {
      Value n = add(mul(half, index(modes / 2)), index(i));
      Complex z = power(n, tap);
      Value minus = arith::NegFOp::create(b, loc, coefficient(c, n, 4));
      Value read = LaneBuilder::fma(minus, z.im, mulf(coefficient(c, n, 3), z.re));
      Value p = coefficient(c, n, 0);
      sum = sum ? LaneBuilder::fma(p, read, sum) : mulf(p, read);
    }
    sum = addf(sum, shuffleXor(sum, kBlock));
    Value below = shuffleUp(sum, 1);
    below = select(equal(lane, index(0)), f32Constant(0), below);
    ifThen(less(lane, index(kBlock)), [&] {
      store(pack(sum, below), taps, add(mul(c, index(kTaps)), add(lane, index(kBlock))));
    });
    ifThen(less(lane, index(kBlock)),
           [&] { store(i32(0), taps, add(mul(c, index(kTaps)), lane)); });

    Matrices &m = matrices[k];
    // The barriers keep the loads of one tile behind the arithmetic of the one before.
    for (int64_t nt = 0; nt < modes / 4; ++nt) {
      warpBarrier();
      Value n = add(index(4 * nt), div(row, 2));
      Value isIm = equal(rem(row, 2), index(1)), p = coefficient(c, n, 0);
      for (int64_t r = 0; r < 2; ++r) {
        SmallVector<Value> pair;
        for (int64_t i = 0; i < 2; ++i) {
          Value from = stepOf(add(add(mul(column, index(2)), index(8 * r)), index(i)));
          Complex z = power(n, sub(index(kBlock - 1), from));
          pair.push_back(mulf(p, select(isIm, z.im, z.re)));
        }
        keep(k, m.w[nt], pack(pair[0], pair[1]), 2 * nt + r);
      }
    }
    for (int64_t s = 0; s < modes / 8; ++s)
      for (int64_t nt = 0; nt < 2; ++nt) {
        warpBarrier();
        Value to = add(stepOf(add(index(8 * nt), row)), index(1));
        for (int64_t r = 0; r < 2; ++r) {
          Value n = add(column, index(4 * (2 * s + r)));
          Complex z = mul(Complex{coefficient(c, n, 3), coefficient(c, n, 4)}, power(n, to));
          keep(k, m.v[s][nt], pack(z.re, arith::NegFOp::create(b, loc, z.im)),
               modes / 2 + 2 * (2 * s + nt) + r);
        }
      }
    warpBarrier();
  }

  /// Register r of tile nt of T', `shift` = nt - r: the taps of steps 4 column + 2 r + b, b < 2,
  /// for step 4 (row / 2) + 2 nt + row mod 2.
  Value tapsAt(int64_t k, int64_t shift) {
    Value pair = load(taps, add(ownTaps, index(k * kTaps + kBlock + 2 * shift)));
    return pair;
  }

  /// Keeps the next register of a tile, the `number`-th of channel `k`, from setting up on.
  void keep(int64_t k, SmallVector<Value> &tile, Value v, int64_t number) {
    if (k < inRegisters)
      tile.push_back(pin(v));
    else
      store(v, last, add(ownLast, index(number * kWarp)));
  }
  /// The two registers of a tile, the first of them the `number`-th of channel `k`.
  SmallVector<Value> kept(int64_t k, ArrayRef<Value> tile, int64_t number) {
    if (k < inRegisters)
      return SmallVector<Value>(tile);
    return {load(last, add(ownLast, index(number * kWarp))),
            load(last, add(ownLast, index((number + 1) * kWarp)))};
  }

  //===--------------------------------------------------------------------===//
  // A time tile
  //===--------------------------------------------------------------------===//

  void walk(int64_t k, Value x) {
    const Matrices &m = matrices[k];
    int64_t tiles = modes / 4;
    // Blocks 2 row and 2 row + 1, steps 4 column to 4 column + 3 of each.
    auto at = [&](int64_t i) { return add(ownSteps, index(k * frame.pitch + kBlock * i)); };
    auto four = VectorType::get({4}, b.getBF16Type());
    Value steps[2], left[4];
    for (int64_t i = 0; i < 2; ++i) {
      steps[i] =
          vector::LoadOp::create(b, loc, four, x, ValueRange{at(i)}, false, llvm::MaybeAlign(8));
      for (int64_t r = 0; r < 2; ++r)
        left[2 * r + i] = asRegister(
            vector::ExtractStridedSliceOp::create(b, loc, steps[i], ArrayRef<int64_t>{2 * r},
                                                  ArrayRef<int64_t>{2}, ArrayRef<int64_t>{1}));
    }

    // S, its scan, and the states before the blocks, rounded.
    Value isFull = equal(frame.steps, index(frame.timeTile));
    SmallVector<Value> h[2];
    for (int64_t i = 0; i < tiles; ++i) {
      SmallVector<Value> s(4, f32Constant(0));
      multiply(left, kept(k, m.w[i], 2 * i), s);
      Blocks blocks = scan(k, i, s);
      writeState(k, i, blocks, isFull);
      h[i / 2].push_back(pack(blocks.even.re, blocks.even.im));
      h[i / 2].push_back(pack(blocks.odd.re, blocks.odd.im));
    }

    // Y
    Value gain = load(gains, add(ownChannel, index(k)));
    Value y[2][4];
    for (int64_t nt = 0; nt < 2; ++nt) {
      for (int64_t i = 0; i < 4; ++i) {
        Value step = element(steps[i / 2], 2 * nt + i % 2);
        y[nt][i] = mulf(gain, arith::ExtFOp::create(b, loc, f32, step));
      }
      Value t[2] = {tapsAt(k, nt), tapsAt(k, nt - 1)};
      multiply(left, t, y[nt]);
    }
    for (int64_t s = 0; s < tiles / 2; ++s)
      for (int64_t nt = 0; nt < 2; ++nt)
        multiply(h[s], kept(k, m.v[s][nt], modes / 2 + 2 * (2 * s + nt)), y[nt]);
    // All lanes have read the steps.
    warpBarrier();
    for (int64_t i = 0; i < 2; ++i) {
      Value v = vectorOf({y[0][2 * i], y[0][2 * i + 1], y[1][2 * i], y[1][2 * i + 1]});
      v = arith::TruncFOp::create(b, loc, four, v);
      vector::StoreOp::create(b, loc, v, x, ValueRange{at(i)}, false, llvm::MaybeAlign(8));
    }
  }

  /// States of one mode, in the lane of its column: before blocks 2 row and 2 row + 1, and after
  /// the latter.
  struct Blocks {
    Complex even, odd, after;
  };

  /// `s`: what blocks 2 row and 2 row + 1 add to the state of tile `i`'s mode.
  Blocks scan(int64_t k, int64_t i, ArrayRef<Value> s) {
    Value isFirst = equal(row, index(0)), zero = f32Constant(0);
    Complex none{zero, zero};
    Complex h = loadComplex(states, pairOf(k, i)), decay[kDecays];
    for (int64_t e = 0; e < kDecays; e += 2) {
      int64_t at = (k * pairs + 4 * i) * 2 * kDecays + 2 * e;
      Value two = loadWide(decays, add(ownDecays, index(at)), 4);
      decay[e] = {element(two, 0), element(two, 1)};
      decay[e + 1] = {element(two, 2), element(two, 3)};
    }
    Complex q = decay[0];
    // Inclusive sums over the pairs of blocks, that of the first with the state before the tile.
    Complex middle = fma(q, select(isFirst, h, none), Complex{s[0], s[1]});
    Complex sum = fma(q, middle, Complex{s[2], s[3]});
    for (int64_t e = 1; e < kDecays; ++e) {
      int64_t distance = int64_t(1) << (e - 1);
      Value takes = arith::CmpIOp::create(b, loc, arith::CmpIPredicate::uge, row, index(distance));
      Complex below{shuffleUp(sum.re, 4 * distance), shuffleUp(sum.im, 4 * distance)};
      sum = fma(decay[e], select(takes, below, none), sum);
    }
    Complex before = select(isFirst, h, {shuffleUp(sum.re, 4), shuffleUp(sum.im, 4)});
    return {before, fma(q, before, Complex{s[0], s[1]}), sum};
  }

  /// The state after the last block of a full tile, else before the block that the end is in.
  void writeState(int64_t k, int64_t i, const Blocks &blocks, Value isFull) {
    Value last = div(frame.steps, kBlock);
    Value isOdd = equal(rem(last, 2), index(1));
    Complex h = select(isFull, blocks.after, select(isOdd, blocks.odd, blocks.even));
    Value writer = select(isFull, index(7), div(last, 2));
    warpBarrier(); // all lanes have read the state
    ifThen(equal(row, writer), [&] { storeComplex(h, states, pairOf(k, i)); });
  }

  /// The steps of the block that the end is in, one by one. What the tile held of them before the
  /// walk is in `tail`.
  void finishBlock() {
    Value rest = rem(frame.steps, kBlock);
    frame.forThreads(
        index(frame.tile * modes),
        [&](Value i) {
          Value c = div(i, modes), n = rem(i, modes), from = mul(c, index(kBlock));
          Complex q{coefficient(c, n, 1), coefficient(c, n, 2)};
          Value p = coefficient(c, n, 0);
          Complex h = loadComplex(states, pairAt(c, n));
          auto loop = scf::ForOp::create(b, loc, index(0), rest, index(1), ValueRange{h.re, h.im});
          {
            OpBuilder::InsertionGuard guard(b);
            b.setInsertionPointToStart(loop.getBody());
            Value now = loadWide(tail, add(from, loop.getInductionVar()), 1);
            Complex driven{mulf(p, now), f32Constant(0)};
            Complex z = fma(q, {loop.getRegionIterArgs()[0], loop.getRegionIterArgs()[1]}, driven);
            scf::YieldOp::create(b, loc, ValueRange{z.re, z.im});
          }
          storeComplex({loop.getResult(0), loop.getResult(1)}, states, pairAt(c, n));
        },
        /*rare=*/true);
  }

  struct Matrices {
    SmallVector<Value> w[4], v[2][2]; ///< two registers each, by tiles of 8 columns
  };

  mega::CemaOp op;
  int64_t modes = 0;
  /// Complex numbers of a channel in shared memory, one more than modes: with 16 modes every channel
  /// would begin in the same bank.
  int64_t pairs = 0;
  int64_t inRegisters = kChannels; ///< channels whose V' and W' stay in registers
  Value coefficients, state;
  Value decays; ///< shared, f32 [tile][pairs][4][2]: q^16, q^32, q^64, q^128
  Value states; ///< shared, f32 [tile][pairs][2]: h
  Value gains;  ///< shared, f32 [tile]: omega
  Value tail;   ///< shared, bf16 [tile][16]
  Value taps;   ///< shared, bf16 [tile][32][2]: at 16 + t taps t and t - 1 of T
  Value last;   ///< shared, i32 [warps][modes][lane]: registers of a warp's last channel, W' then V'
  Value powers; ///< shared, f32 [warps][modes][17][2], of the channels at hand
  Value lane, warp;
  Value row, column; ///< of a lane in the operands: lane / 4, lane mod 4
  Value ownPair, ownDecays, ownSteps, ownTaps, ownLast,
      ownChannel; ///< where things of the warp's first channel lie
  Matrices matrices[kChannels];
};

} // namespace

bool hasBlocks(mega::CemaOp op) {
  int64_t modes = op.getAlpha().getType().getDimSize(1);
  return modes == 8 || modes == 16;
}

std::unique_ptr<StreamKernelOp> emitCemaBlocks(mega::CemaOp op, StreamKernel &frame) {
  return std::make_unique<CemaBlocks>(op, frame);
}

} // namespace otodus

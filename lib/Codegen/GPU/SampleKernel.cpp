//===- SampleKernel.cpp - A block chooses a token --------------------------===//
//
// A block takes a row, a warp a piece of it, a lane four neighbouring logits at a time. Sums are
// of integers: over the lanes by shuffles, over the warps through shared memory.
//
//===----------------------------------------------------------------------===//

#include "BlockKernel.h"

#include "Codegen/Common/SampleEmitter.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;

namespace otodus::gpu {
namespace {

constexpr int64_t kMostWarps = 16;
constexpr int64_t kAtOnce = 4; ///< logits of a lane's load
constexpr int64_t kParts = 64; ///< of the piece that has the token

class BlockSampler : public SampleEmitter {
public:
  BlockSampler(BlockKernel &k, mega::SampleOp op)
      : SampleEmitter(k.kernel, op, /*lanes=*/1), k(k), s(k.s) {
    warps = std::min<int64_t>(kMostWarps, llvm::divideCeil(vocabulary, kWarp * kAtOnce));
    pieceLength = llvm::alignTo(llvm::divideCeil(vocabulary, warps), kWarp * kAtOnce);
    pieceCount = warps;
    partCount = kParts;
    partLength = pieceLength / kParts;
  }

  void run() {
    SmallVector<Value> block = k.open({OpFoldResult(kernel.frame.batch)}, warps * kWarp);
    Value chosen = choose(block[0]);
    s.when(s.less(s.thread(), index(formats::kLaneBlock)), [&] {
      s.store(chosen, token, s.add(s.mul(block[0], formats::kLaneBlock), s.thread()));
    });
    k.close({{formats::Symbol::Batch, 1, 1}});
  }

private:
  Values each(ValueRange carried, Visit visit) override {
    Value first = s.mul(s.warp(), pieceLength);
    Value to = s.min(s.add(first, pieceLength), index(vocabulary));
    Value from = s.add(first, s.mul(s.lane(), kAtOnce));
    return loop(from, to, kWarp * kAtOnce, carried, [&](Value at, ValueRange before) {
      Value bits = loadBits(at, kAtOnce);
      Values next = llvm::to_vector_of<Value>(before);
      for (int64_t i = 0; i < kAtOnce; ++i) {
        Value own = vector::ExtractOp::create(b, loc, bits, i);
        Value token = s.i32(s.add(at, i));
        if (vocabulary % kAtOnce) // what fills up the row counts as -inf
          own = select(less(token, i32(vocabulary)), own, i32(0xFF800000u));
        next = visit(own, token, next);
      }
      return next;
    });
  }

  Value shuffle(Value v, int64_t mask) {
    if (v.getType().isInteger(32))
      return s.shuffleXor(v, mask);
    Type word = b.getI32Type(), wide = b.getI64Type();
    Value low = s.shuffleXor(arith::TruncIOp::create(b, loc, word, v), mask);
    Value high = arith::ShRUIOp::create(b, loc, v, i64(32));
    high = s.shuffleXor(arith::TruncIOp::create(b, loc, word, high), mask);
    high = arith::ShLIOp::create(b, loc, arith::ExtUIOp::create(b, loc, wide, high), i64(32));
    return arith::OrIOp::create(b, loc, high, arith::ExtUIOp::create(b, loc, wide, low));
  }

  Value overLanes(Value v) {
    for (int64_t mask = kWarp / 2; mask > 0; mask /= 2)
      v = add(v, shuffle(v, mask));
    return v;
  }

  /// Memory of `count` numbers for each warp.
  Value byWarps(int64_t count, Type type) { return s.shared(warps * count, type); }
  Value isLane(int64_t lane) { return s.equal(s.lane(), index(lane)); }

  /// Lane 2 i, and the one behind it, of each warp gets the warp's sum of value i, of 16 values.
  /// In each step two lanes share out what both have and add up, instead of doing all of it twice.
  Value shareOut(Values values) {
    int64_t count = kWarp / 2;
    assert(int64_t(values.size()) == count);
    for (int64_t mask = count; count > 1; mask /= 2) {
      count /= 2;
      Value bit = arith::AndIOp::create(b, loc, s.i32(s.lane()), i32(mask));
      Value upper = arith::CmpIOp::create(b, loc, arith::CmpIPredicate::ne, bit, i32(0));
      Values next;
      for (int64_t i = 0; i < count; ++i) {
        Value given = select(upper, values[i], values[i + count]);
        Value kept = select(upper, values[i + count], values[i]);
        next.push_back(add(kept, shuffle(given, mask)));
      }
      values = next;
    }
    return add(values[0], shuffle(values[0], 1));
  }

  Values sum(ValueRange values) override {
    int64_t count = int64_t(values.size()), most = kWarp / 2;
    // A warp reads [warp][number], a thread for each number adds it up over the warps.
    Value parts = byWarps(count, b.getI64Type()), sums = s.shared(count, b.getI64Type());
    if (count == most) {
      Value own = shareOut(llvm::to_vector_of<Value>(values));
      Value even = s.equal(s.rem(s.lane(), 2), index(0));
      s.when(even, [&] {
        s.store(own, parts, s.add(s.mul(s.warp(), count), s.div(s.lane(), 2)));
      });
    } else {
      for (int64_t i = 0; i < count; ++i) {
        Value own = overLanes(values[i]);
        s.when(isLane(0), [&] { s.store(own, parts, s.add(s.mul(s.warp(), count), i)); });
      }
    }
    s.barrier();
    s.when(s.less(s.thread(), index(count)), [&] {
      Value total = loop(index(0), index(warps), 1, {i64(0)}, [&](Value warp, ValueRange carried) {
        return Values{add(carried[0], k.load(parts, s.add(s.mul(warp, count), s.thread())))};
      })[0];
      s.store(total, sums, s.thread());
    });
    s.barrier();
    Values totals;
    for (int64_t i = 0; i < count; ++i)
      totals.push_back(k.load(sums, index(i)));
    return totals;
  }

  std::pair<Value, Value> largest(Value key, Value at) override {
    auto better = [&](Value key, Value at, Value otherKey, Value otherAt) {
      Value more = less(key, otherKey);
      Value equal = arith::CmpIOp::create(b, loc, arith::CmpIPredicate::eq, key, otherKey);
      Value earlier = arith::AndIOp::create(b, loc, equal, less(otherAt, at));
      Value other = arith::OrIOp::create(b, loc, more, earlier);
      return Values{select(other, otherKey, key), select(other, otherAt, at)};
    };
    for (int64_t mask = kWarp / 2; mask > 0; mask /= 2) {
      Value otherKey = s.shuffleXor(key, mask), otherAt = s.shuffleXor(at, mask);
      Values next = better(key, at, otherKey, otherAt);
      key = next[0], at = next[1];
    }
    Value keys = byWarps(1, b.getI32Type()), places = byWarps(1, b.getI32Type());
    s.when(isLane(0), [&] {
      s.store(key, keys, s.warp());
      s.store(at, places, s.warp());
    });
    s.barrier();
    Values best = loop(index(0), index(warps), 1, {i32(0), i32(vocabulary)},
                       [&](Value warp, ValueRange carried) {
                         return better(carried[0], carried[1], k.load(keys, warp),
                                       k.load(places, warp));
                       });
    return {best[0], best[1]};
  }

  Values sumPieces(ValueRange zeros, Visit visit) override {
    Values own = each(zeros, visit), memories;
    for (Value &v : own) {
      v = overLanes(v);
      memories.push_back(byWarps(1, b.getI64Type()));
    }
    s.when(isLane(0), [&] {
      for (auto [v, memory] : llvm::zip(own, memories))
        s.store(v, memory, s.warp());
    });
    s.barrier();
    return memories;
  }

  Values sumParts(Value from, function_ref<Values(Value, ValueRange)> visit) override {
    Values memories{s.shared(kParts, b.getI64Type()), s.shared(kParts, b.getI64Type())};
    s.loop(s.thread(), index(kParts), index(warps * kWarp), [&](Value part) {
      Value first = s.add(from, s.mul(part, partLength));
      Value to = s.min(s.add(first, partLength), index(vocabulary));
      Values sums = loop(first, to, 1, {i64(0), i64(0)}, visit);
      for (auto [v, memory] : llvm::zip(sums, memories))
        s.store(v, memory, part);
    });
    s.barrier();
    return memories;
  }

  BlockKernel &k;
  SimtBuilder &s;
  int64_t warps = 0;
};

} // namespace

LogicalResult emitSampleKernel(BlockKernel &k, mega::SampleOp op) {
  BlockSampler(k, op).run();
  return success();
}

} // namespace otodus::gpu

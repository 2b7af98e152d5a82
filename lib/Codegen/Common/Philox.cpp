//===- Philox.cpp - Random numbers in kernels ------------------------------===//
//
// A product of two words is arith.mului_extended, which becomes one widening multiplication
// (vpmuludq, mul.wide.u32).
//
//===----------------------------------------------------------------------===//

#include "Philox.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

#include <cmath>

using namespace mlir;

namespace otodus {

std::array<Value, 4> emitPhilox(OpBuilder &b, Location loc, std::array<Value, 4> counter,
                                std::array<Value, 2> key) {
  VectorType vector;
  for (Value word : counter)
    if (auto type = dyn_cast<VectorType>(word.getType()))
      vector = type;
  auto like = [&](Value v) -> Value {
    if (!vector || v.getType() == vector)
      return v;
    return vector::BroadcastOp::create(b, loc, vector, v);
  };
  auto constant = [&](uint32_t value) -> Value {
    return arith::ConstantOp::create(b, loc, b.getI32IntegerAttr(int32_t(value)));
  };
  Value m0 = like(constant(0xD2511F53u)), m1 = like(constant(0xCD9E8D57u));
  Value w0 = constant(0x9E3779B9u), w1 = constant(0xBB67AE85u);
  for (Value &word : counter)
    word = like(word);
  // A loop, and not ten times the same: a kernel has many places that draw, and its code is what
  // LLVM takes its time for.
  auto index = [&](int64_t value) -> Value {
    return arith::ConstantIndexOp::create(b, loc, value);
  };
  SmallVector<Value> start(counter.begin(), counter.end());
  start.append(key.begin(), key.end());
  auto rounds = scf::ForOp::create(
      b, loc, index(0), index(10), index(1), start,
      [&](OpBuilder &b, Location loc, Value, ValueRange words) {
        auto exclusiveOr = [&](Value x, Value y) -> Value {
          return arith::XOrIOp::create(b, loc, x, y);
        };
        auto p0 = arith::MulUIExtendedOp::create(b, loc, m0, words[0]);
        auto p1 = arith::MulUIExtendedOp::create(b, loc, m1, words[2]);
        auto keyWord = [&](Value word) -> Value {
          return vector ? Value(vector::BroadcastOp::create(b, loc, vector, word)) : word;
        };
        SmallVector<Value> next{exclusiveOr(exclusiveOr(p1.getHigh(), words[1]), keyWord(words[4])),
                                p1.getLow(),
                                exclusiveOr(exclusiveOr(p0.getHigh(), words[3]), keyWord(words[5])),
                                p0.getLow(),
                                arith::AddIOp::create(b, loc, words[4], w0),
                                arith::AddIOp::create(b, loc, words[5], w1)};
        scf::YieldOp::create(b, loc, next);
      });
  for (int i = 0; i < 4; ++i)
    counter[i] = rounds.getResult(i);
  return counter;
}

Value emitRandomWords(OpBuilder &b, Location loc, Value index, std::array<Value, 3> counter,
                      std::array<Value, 2> key, int64_t count) {
  auto constant = [&](int64_t value) -> Value {
    return arith::ConstantOp::create(b, loc, b.getI32IntegerAttr(int32_t(value)));
  };
  Value block = arith::ShRUIOp::create(b, loc, index, constant(2));
  auto words = [&](Value at) {
    return emitPhilox(b, loc, {at, counter[0], counter[1], counter[2]}, key);
  };
  if (count < 4) {
    std::array<Value, 4> all = words(block);
    Value number = arith::AndIOp::create(b, loc, index, constant(3));
    auto choose = [&](Value which, int64_t word, Value yes, Value no) -> Value {
      Value is = arith::CmpIOp::create(b, loc, arith::CmpIPredicate::eq, which, constant(word));
      return arith::SelectOp::create(b, loc, is, yes, no);
    };
    auto type = VectorType::get({2}, b.getI32Type());
    if (count == 2)
      return vector::FromElementsOp::create(
          b, loc, type,
          ValueRange{choose(number, 0, all[0], all[2]), choose(number, 0, all[1], all[3])});
    Value odd = choose(number, 1, all[1], all[3]);
    return choose(number, 0, all[0], choose(number, 2, all[2], odd));
  }
  auto type = VectorType::get({count}, b.getI32Type());
  if (count < 16) { // where vectors are for memory alone
    SmallVector<Value> list;
    for (int64_t i = 0; i < count; i += 4)
      llvm::append_range(list, words(i ? Value(arith::AddIOp::create(b, loc, block,
                                                                     constant(i / 4)))
                                       : block));
    return vector::FromElementsOp::create(b, loc, type, list);
  }
  auto blocks = VectorType::get({count / 4}, b.getI32Type());
  SmallVector<int32_t> steps;
  for (int64_t i = 0; i < count / 4; ++i)
    steps.push_back(int32_t(i));
  Value first = vector::BroadcastOp::create(b, loc, blocks, block);
  Value rising = arith::ConstantOp::create(b, loc, DenseElementsAttr::get(blocks, ArrayRef(steps)));
  std::array<Value, 4> all = words(arith::AddIOp::create(b, loc, first, rising));
  Value even = vector::InterleaveOp::create(b, loc, all[0], all[2]);
  Value odd = vector::InterleaveOp::create(b, loc, all[1], all[3]);
  return vector::InterleaveOp::create(b, loc, even, odd);
}

DropoutCounter dropoutCounter(OpBuilder &b, Location loc, std::array<Value, 4> noise,
                              int64_t place) {
  auto constant = [&](uint32_t value) -> Value {
    return arith::ConstantOp::create(b, loc, b.getI32IntegerAttr(int32_t(value)));
  };
  DropoutCounter counter;
  Value first = arith::ShLIOp::create(b, loc, noise[3], constant(4));
  counter.place = arith::AddIOp::create(b, loc, first, constant(uint32_t(place)));
  // Apart from the other streams of the seed, whose last word is small.
  counter.step = arith::AddIOp::create(b, loc, noise[2], constant(0x80000000u));
  return counter;
}

Value keepByWord(OpBuilder &b, Location loc, Value word, Value x, double p) {
  auto splat = [&](TypedAttr value) -> Value {
    if (auto vector = dyn_cast<VectorType>(x.getType()))
      value = SplatElementsAttr::get(vector.clone(value.getType()), Attribute(value));
    return arith::ConstantOp::create(b, loc, value);
  };
  double least = std::min(std::nearbyint(p * 0x1p32), 0x1p32 - 1);
  Value kept = arith::CmpIOp::create(b, loc, arith::CmpIPredicate::uge, word,
                                     splat(b.getI32IntegerAttr(int32_t(uint32_t(least)))));
  Value scaled =
      arith::MulFOp::create(b, loc, x, splat(b.getF32FloatAttr(float(1 / (1 - p)))));
  return arith::SelectOp::create(b, loc, kept, scaled, splat(b.getF32FloatAttr(0)));
}

} // namespace otodus

//===- Philox.cpp - Random numbers in kernels ------------------------------===//
//
// A product of two words is arith.mului_extended, which becomes one widening multiplication
// (vpmuludq, mul.wide.u32).
//
//===----------------------------------------------------------------------===//

#include "Philox.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

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
  auto exclusiveOr = [&](Value x, Value y) -> Value {
    return arith::XOrIOp::create(b, loc, x, y);
  };
  Value m0 = like(constant(0xD2511F53u)), m1 = like(constant(0xCD9E8D57u));
  Value w0 = constant(0x9E3779B9u), w1 = constant(0xBB67AE85u);
  for (Value &word : counter)
    word = like(word);
  for (int round = 0; round < 10; ++round) {
    auto p0 = arith::MulUIExtendedOp::create(b, loc, m0, counter[0]);
    auto p1 = arith::MulUIExtendedOp::create(b, loc, m1, counter[2]);
    counter = {exclusiveOr(exclusiveOr(p1.getHigh(), counter[1]), like(key[0])), p1.getLow(),
               exclusiveOr(exclusiveOr(p0.getHigh(), counter[3]), like(key[1])), p0.getLow()};
    if (round == 9)
      break;
    key = {arith::AddIOp::create(b, loc, key[0], w0), arith::AddIOp::create(b, loc, key[1], w1)};
  }
  return counter;
}

} // namespace otodus

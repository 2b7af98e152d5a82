//===- PairProducts.cpp - Products of bf16, two terms at a time -------------===//
//
// What SumEmitter::pairProduct makes:
//
//   acc[i] += pair[0] b[i][0] + pair[1] b[i][1]    vector.contract, pair 2 bf16, acc f32
//
// becomes the machine's dot product of pairs for each vector of lanes, or two multiply-adds of
// halves that shift and mask widen.
//
//===----------------------------------------------------------------------===//

#include "LowerTilesToVectors.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/Dialect/X86Vector/X86VectorDialect.h"

using namespace mlir;

namespace otodus::cpu {

bool isPairProduct(vector::ContractionOp op) {
  auto pair = dyn_cast<VectorType>(op.getRhsType());
  auto sum = dyn_cast<VectorType>(op.getAccType());
  return pair && sum && pair.getElementType().isBF16() && op.getLhsType().getElementType().isBF16() &&
         sum.getElementType().isF32() && pair.getShape() == ArrayRef<int64_t>{2} &&
         op.getLhsType().getShape() == ArrayRef<int64_t>{sum.getDimSize(0), 2};
}

void lowerPairProduct(RewriterBase &b, vector::ContractionOp op, const Machine &machine) {
  Location loc = op.getLoc();
  b.setInsertionPoint(op);
  int64_t total = op.getLhsType().getDimSize(0), lanes = std::min(machine.lanes, total);
  auto i32Type = VectorType::get({lanes}, b.getI32Type());
  auto f32Type = VectorType::get({lanes}, b.getF32Type());
  auto pairsType = VectorType::get({2 * lanes}, b.getBF16Type());
  Value columns = b.createOrFold<vector::ShapeCastOp>(
      loc, VectorType::get({2 * total}, b.getBF16Type()), op.getLhs());
  auto slice = [&](Value v, int64_t from, int64_t count) -> Value {
    return vector::ExtractStridedSliceOp::create(b, loc, v, ArrayRef<int64_t>{from},
                                                 ArrayRef<int64_t>{count}, ArrayRef<int64_t>{1});
  };
  auto constant = [&](uint32_t word) -> Value {
    return arith::ConstantOp::create(
        b, loc, DenseElementsAttr::get(i32Type, b.getI32IntegerAttr(int32_t(word))));
  };
  auto broadcast = [&](Value scalar, VectorType type) -> Value {
    return vector::BroadcastOp::create(b, loc, type, scalar);
  };
  Value both, first, second; // of the pair
  if (machine.bf16Dot) {
    Value word =
        vector::BitCastOp::create(b, loc, VectorType::get({1}, b.getI32Type()), op.getRhs());
    Value scalar = vector::ExtractOp::create(b, loc, word, ArrayRef<int64_t>{0});
    both = vector::BitCastOp::create(b, loc, pairsType, broadcast(scalar, i32Type));
  } else {
    auto half = [&](int64_t i) {
      Value scalar = vector::ExtractOp::create(b, loc, op.getRhs(), ArrayRef<int64_t>{i});
      return broadcast(arith::ExtFOp::create(b, loc, b.getF32Type(), scalar), f32Type);
    };
    first = half(0);
    second = half(1);
  }
  Value result = arith::ConstantOp::create(b, loc, b.getZeroAttr(op.getAccType()));
  for (int64_t from = 0; from < total; from += lanes) {
    Value sum = slice(op.getAcc(), from, lanes);
    Value terms = slice(columns, 2 * from, 2 * lanes);
    if (machine.bf16Dot) {
      sum = x86vector::DotBF16Op::create(b, loc, f32Type, sum, both, terms);
    } else {
      Value words = vector::BitCastOp::create(b, loc, i32Type, terms);
      Value even = arith::ShLIOp::create(b, loc, words, constant(16));
      Value odd = arith::AndIOp::create(b, loc, words, constant(0xffff0000u));
      sum = vector::FMAOp::create(
          b, loc, first, Value(vector::BitCastOp::create(b, loc, f32Type, even)), sum);
      sum = vector::FMAOp::create(
          b, loc, second, Value(vector::BitCastOp::create(b, loc, f32Type, odd)), sum);
    }
    result = vector::InsertStridedSliceOp::create(b, loc, sum, result, ArrayRef<int64_t>{from},
                                                  ArrayRef<int64_t>{1});
  }
  b.replaceOp(op, result);
}

} // namespace otodus::cpu

//===- ProductFma.cpp - Register tiles of fused multiply-adds --------------===//
//
// f32 on CUDA cores. 16 threads share the columns, the others the rows; thread (y, x) owns rows y, y + Y, … and columns
// x, x + 16, …, so that the 16-byte reads along the terms of eight neighbours meet no bank twice.
//
//===----------------------------------------------------------------------===//

#include "ProductTile.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;

namespace otodus::gpu {
namespace {

constexpr int64_t kAcross = 16; ///< threads along the columns

class FmaTile final : public RegisterTile {
public:
  FmaTile(int64_t rows, int64_t columns, int64_t terms, const OperandTiles &layout,
          int64_t threads, SimtBuilder &s)
      : RegisterTile(s), terms(terms), layout(layout), down(threads / kAcross), myRows(rows / down),
        myColumns(columns / kAcross) {
    x = s.rem(s.thread(), kAcross);
    y = s.div(s.thread(), kAcross);
  }

  SmallVector<Value> zero() override {
    return SmallVector<Value>(myRows * myColumns, s.f32(0));
  }

  SmallVector<Value> accumulate(Value a, Value b, ValueRange sums) override {
    // Four terms at a time, in a loop: unrolled it would be thousands of instructions.
    Value aBase = s.offset(a, s.mul(y, layout.aPitch * 4));
    Value bBase = layout.bAlongColumns ? s.offset(b, s.mul(x, 4))
                                       : s.offset(b, s.mul(x, layout.bPitch * 4));
    auto loop = scf::ForOp::create(s.b, s.loc, s.index(0), s.index(terms), s.index(4),
                                   SmallVector<Value>(sums));
    OpBuilder::InsertionGuard guard(s.b);
    s.b.setInsertionPointToStart(loop.getBody());
    Value k = loop.getInductionVar();
    SmallVector<Value> c(loop.getRegionIterArgs());
    auto four = VectorType::get({4}, s.b.getF32Type());
    auto fetch = [&](Value pointer) -> Value {
      return LLVM::LoadOp::create(s.b, s.loc, four, pointer, 16);
    };
    auto element = [&](Value v, int64_t i) -> Value {
      return vector::ExtractOp::create(s.b, s.loc, v, i);
    };
    Value aAt = s.offset(aBase, s.mul(k, 4));
    SmallVector<Value> left;
    for (int64_t i = 0; i < myRows; ++i)
      left.push_back(fetch(s.offset(aAt, i * down * layout.aPitch * 4)));
    for (int64_t j = 0; j < myColumns; ++j) {
      SmallVector<Value> right;
      if (layout.bAlongColumns) {
        Value at = s.offset(bBase, s.mul(k, layout.bPitch * 4));
        for (int64_t t = 0; t < 4; ++t)
          right.push_back(LLVM::LoadOp::create(
              s.b, s.loc, s.b.getF32Type(),
              s.offset(at, (t * layout.bPitch + j * kAcross) * 4), 4));
      } else {
        Value at = s.offset(bBase, s.mul(k, 4));
        Value v = fetch(s.offset(at, j * kAcross * layout.bPitch * 4));
        for (int64_t t = 0; t < 4; ++t)
          right.push_back(element(v, t));
      }
      for (int64_t i = 0; i < myRows; ++i)
        for (int64_t t = 0; t < 4; ++t) {
          Value &sum = c[i * myColumns + j];
          sum = math::FmaOp::create(s.b, s.loc, element(left[i], t), right[t], sum);
        }
    }
    scf::YieldOp::create(s.b, s.loc, c);
    return SmallVector<Value>(loop.getResults());
  }

  void each(ValueRange sums, function_ref<void(Value, Value, Value)> body) override {
    for (int64_t i = 0; i < myRows; ++i)
      for (int64_t j = 0; j < myColumns; ++j)
        body(s.add(y, i * down), s.add(x, j * kAcross), sums[i * myColumns + j]);
  }

  SmallVector<Value> scaleRows(ValueRange sums, Value factors) override {
    SmallVector<Value> scaled(sums);
    for (int64_t i = 0; i < myRows; ++i) {
      Value factor = s.load(factors, s.add(y, i * down), 1, false);
      for (int64_t j = 0; j < myColumns; ++j) {
        Value &sum = scaled[i * myColumns + j];
        sum = arith::MulFOp::create(s.b, s.loc, sum, factor);
      }
    }
    return scaled;
  }

private:
  int64_t terms;
  OperandTiles layout;
  int64_t down, myRows, myColumns;
  Value x, y;
};

} // namespace

bool fitsFma(int64_t rows, int64_t columns, int64_t threads) {
  return threads % kAcross == 0 && rows % (threads / kAcross) == 0 && columns % kAcross == 0;
}

std::unique_ptr<RegisterTile> makeFmaTile(int64_t rows, int64_t columns, int64_t terms,
                                          const OperandTiles &layout, int64_t threads,
                                          SimtBuilder &s) {
  return std::make_unique<FmaTile>(rows, columns, terms, layout, threads, s);
}

} // namespace otodus::gpu

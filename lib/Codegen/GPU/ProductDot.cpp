//===- ProductDot.cpp - Products of few rows -------------------------------===//
//
// What bounds a step of decoding is reading B once. A warp takes columns, its lanes 16 bytes each along the
// terms; A lies in shared memory. Sums over lanes have a fixed order.
//
//===----------------------------------------------------------------------===//

#include "ProductTile.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;

namespace otodus::gpu {

/// Columns a warp reads together: that many loads of 16 bytes a lane are under way.
static int64_t columnsAtOnce(int64_t columns, int64_t warps) {
  for (int64_t n : {4, 2})
    if (columns % (n * warps) == 0)
      return n;
  return 1;
}

LogicalResult emitDotProduct(const ProductTile &tile, const ProductPlan &plan, Value limit,
                             Accumulator c, SimtBuilder &s, TileEvaluator &values) {
  OpBuilder &b = s.b;
  Location loc = s.loc;
  linalg::GenericOp op = tile.op;
  Value left = op.getDpsInputOperand(0)->get(), right = op.getDpsInputOperand(1)->get();
  Type f32 = b.getF32Type();
  const int64_t count = 16 / (tile.element.getIntOrFloatBitWidth() / 8);
  const int64_t warps = plan.threads / kWarp;
  LogicalResult result = success();

  // A.
  Value a = s.shared(tile.rows * tile.terms, tile.element, plan.overlay);
  Value lastRow = s.sub(limit, s.index(1));
  s.loop(s.mul(s.thread(), count), s.index(tile.rows * tile.terms), s.index(plan.threads * count),
         [&](Value at) {
           Value row = tile.rows == 1 ? s.index(0) : s.min(s.div(at, tile.terms), lastRow);
           Value v = values.evaluate(left, tile.leftAt(row, s.rem(at, tile.terms), count), count);
           if (!v)
             result = failure();
           else
             s.store(values.widen(v, count), a, at);
         });
  if (failed(result))
    return failure();
  s.barrier();

  const int64_t group = columnsAtOnce(tile.columns, warps);
  auto wide = VectorType::get({count}, f32);
  auto extend = [&](Value v) -> Value {
    v = values.widen(v, count);
    return tile.element.isF32() ? v : Value(arith::ExtFOp::create(b, loc, wide, v));
  };
  s.loop(s.mul(s.warp(), group), s.index(tile.columns), s.index(warps * group), [&](Value column) {
    Value zero = arith::ConstantOp::create(b, loc, b.getZeroAttr(wide));
    const int64_t perStep = kWarp * count;
    // One vector of sums for each row and column; summed over its elements at the end.
    auto step = [&](Value term, ValueRange sums) -> SmallVector<Value> {
      SmallVector<Value> next(sums), weights;
      for (int64_t n = 0; n < group; ++n) {
        Value w = values.evaluate(
            right, tile.rightAt(s.add(column, n), term, count, /*alongColumns=*/false), count);
        if (!w) {
          result = failure();
          return next;
        }
        weights.push_back(extend(w));
      }
      for (int64_t r = 0; r < tile.rows; ++r) {
        Value x = extend(s.load(a, s.add(term, r * tile.terms), count, true));
        for (int64_t n = 0; n < group; ++n)
          next[r * group + n] = math::FmaOp::create(b, loc, x, weights[n], next[r * group + n]);
      }
      return next;
    };
    SmallVector<Value> start(tile.rows * group, zero);
    int64_t whole = tile.terms / perStep * perStep;
    Value mine = s.mul(s.lane(), count);
    SmallVector<Value> sums = start;
    if (whole) {
      auto loop = scf::ForOp::create(b, loc, s.index(0), s.index(whole), s.index(perStep), start);
      OpBuilder::InsertionGuard guard(b);
      b.setInsertionPointToStart(loop.getBody());
      SmallVector<Value> next =
          step(s.add(loop.getInductionVar(), mine), loop.getRegionIterArgs());
      scf::YieldOp::create(b, loc, next);
      sums.assign(loop.getResults().begin(), loop.getResults().end());
    }
    if (whole != tile.terms) {
      // The rest has fewer terms than the lanes hold.
      Value term = s.add(mine, whole);
      auto rest = scf::IfOp::create(b, loc, ValueRange(sums).getTypes(),
                                    s.less(term, s.index(tile.terms)), true);
      OpBuilder::InsertionGuard guard(b);
      b.setInsertionPointToStart(rest.thenBlock());
      SmallVector<Value> next = step(term, sums);
      scf::YieldOp::create(b, loc, next);
      b.setInsertionPointToStart(rest.elseBlock());
      scf::YieldOp::create(b, loc, sums);
      sums.assign(rest.getResults().begin(), rest.getResults().end());
    }
    SmallVector<Value> totals;
    for (Value sum : sums) {
      Value total = vector::ExtractOp::create(b, loc, sum, 0);
      for (int64_t i = 1; i < count; ++i)
        total = arith::AddFOp::create(b, loc, total,
                                      Value(vector::ExtractOp::create(b, loc, sum, i)));
      totals.push_back(s.overLanes(total, [&](Value x, Value y) -> Value {
        return arith::AddFOp::create(b, loc, x, y);
      }));
    }
    Value first = arith::CmpIOp::create(b, loc, arith::CmpIPredicate::eq, s.lane(), s.index(0));
    s.when(first, [&] {
      for (int64_t r = 0; r < tile.rows; ++r)
        for (int64_t n = 0; n < group; ++n)
          s.store(totals[r * group + n], c.memref, s.add(s.add(column, n), r * c.pitch));
    });
  });
  return result;
}

} // namespace otodus::gpu

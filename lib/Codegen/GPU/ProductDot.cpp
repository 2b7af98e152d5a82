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
/// Their sums, a vector for each row and column, stay in registers.
static int64_t columnsAtOnce(int64_t rows, int64_t columns, int64_t warps) {
  for (int64_t n : {4, 2})
    if (columns % (n * warps) == 0 && rows * n <= 8)
      return n;
  return 1;
}

namespace {

/// One product: its A in shared memory, and the loop along its terms.
class DotProduct {
public:
  DotProduct(const ProductTile &tile, const ProductPlan &plan, SimtBuilder &s,
             TileEvaluator &values)
      : tile(tile), plan(plan), s(s), values(values),
        count(16 / (tile.element.getIntOrFloatBitWidth() / 8)),
        wide(VectorType::get({count}, s.b.getF32Type())) {
    linalg::GenericOp op = tile.op;
    left = op.getDpsInputOperand(0)->get();
    right = op.getDpsInputOperand(1)->get();
    a = s.shared(tile.rows * tile.terms, tile.element);
  }

  /// Vectors of sums that a lane begins with, for `group` columns.
  SmallVector<Value> zero(int64_t group) {
    Value zero = arith::ConstantOp::create(s.b, s.loc, s.b.getZeroAttr(wide));
    return SmallVector<Value>(tile.rows * group, zero);
  }

  LogicalResult bringLeft(Value limit) {
    Value lastRow = s.sub(limit, s.index(1));
    LogicalResult result = success();
    s.loop(s.mul(s.thread(), count), s.index(tile.rows * tile.terms),
           s.index(plan.threads * count), [&](Value at) {
             Value row =
                 tile.rows == 1 ? s.index(0) : s.min(s.div(at, tile.terms), lastRow);
             Value v = values.evaluate(left, tile.leftAt(row, s.rem(at, tile.terms), count), count);
             if (!v)
               result = failure();
             else
               s.store(values.widen(v, count), a, at);
           });
    return result;
  }

  /// `sums` plus this lane's share of columns `column` … + `group` - 1.
  LogicalResult accumulate(Value column, int64_t group, SmallVector<Value> &sums) {
    OpBuilder &b = s.b;
    const int64_t perStep = kWarp * count, whole = tile.terms / perStep * perStep;
    Value mine = s.mul(s.lane(), count);
    LogicalResult result = success();
    if (whole) {
      auto loop =
          scf::ForOp::create(b, s.loc, s.index(0), s.index(whole), s.index(perStep), sums);
      OpBuilder::InsertionGuard guard(b);
      b.setInsertionPointToStart(loop.getBody());
      SmallVector<Value> next(loop.getRegionIterArgs());
      result = step(s.add(loop.getInductionVar(), mine), column, group, next);
      scf::YieldOp::create(b, s.loc, next);
      sums.assign(loop.getResults().begin(), loop.getResults().end());
    }
    if (failed(result) || whole == tile.terms)
      return result;
    // The rest has fewer terms than the lanes hold.
    Value term = s.add(mine, whole);
    auto rest = scf::IfOp::create(b, s.loc, ValueRange(sums).getTypes(),
                                  s.less(term, s.index(tile.terms)), true);
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(rest.thenBlock());
    SmallVector<Value> next(sums);
    result = step(term, column, group, next);
    scf::YieldOp::create(b, s.loc, next);
    b.setInsertionPointToStart(rest.elseBlock());
    scf::YieldOp::create(b, s.loc, sums);
    sums.assign(rest.getResults().begin(), rest.getResults().end());
    return result;
  }

  int64_t lanesWidth() const { return count; }

private:
  LogicalResult step(Value term, Value column, int64_t group, SmallVector<Value> &sums) {
    SmallVector<Value> weights;
    for (int64_t n = 0; n < group; ++n) {
      Value w = values.evaluate(
          right, tile.rightAt(s.add(column, n), term, count, /*alongColumns=*/false), count);
      if (!w)
        return failure();
      weights.push_back(extend(w));
    }
    for (int64_t r = 0; r < tile.rows; ++r) {
      Value x = extend(s.load(a, s.add(term, r * tile.terms), count, true));
      for (int64_t n = 0; n < group; ++n) {
        Value &sum = sums[r * group + n];
        sum = math::FmaOp::create(s.b, s.loc, x, weights[n], sum);
      }
    }
    return success();
  }

  Value extend(Value v) {
    v = values.widen(v, count);
    return tile.element.isF32() ? v : Value(arith::ExtFOp::create(s.b, s.loc, wide, v));
  }

  const ProductTile &tile;
  const ProductPlan &plan;
  SimtBuilder &s;
  TileEvaluator &values;
  int64_t count;
  VectorType wide;
  Value left, right, a;
};

} // namespace

LogicalResult emitDotProducts(ArrayRef<ProductTile> tiles, const ProductPlan &plan, Value limit,
                              Accumulator c, SimtBuilder &s, TileEvaluator &values) {
  OpBuilder &b = s.b;
  const int64_t warps = plan.threads / kWarp, rows = tiles.front().rows,
                columns = tiles.front().columns, group = columnsAtOnce(rows, columns, warps);
  std::vector<DotProduct> products;
  for (const ProductTile &tile : tiles) {
    products.emplace_back(tile, plan, s, values);
    if (failed(products.back().bringLeft(limit)))
      return failure();
  }
  s.barrier();
  LogicalResult result = success();
  s.loop(s.mul(s.warp(), group), s.index(columns), s.index(warps * group), [&](Value column) {
    SmallVector<Value> sums = products.front().zero(group);
    for (DotProduct &product : products)
      if (failed(product.accumulate(column, group, sums)))
        result = failure();
    SmallVector<Value> totals;
    for (Value sum : sums) {
      Value total = vector::ExtractOp::create(b, s.loc, sum, 0);
      for (int64_t i = 1; i < products.front().lanesWidth(); ++i)
        total = arith::AddFOp::create(b, s.loc, total,
                                      Value(vector::ExtractOp::create(b, s.loc, sum, i)));
      totals.push_back(s.overLanes(total, [&](Value x, Value y) -> Value {
        return arith::AddFOp::create(b, s.loc, x, y);
      }));
    }
    Value first = arith::CmpIOp::create(b, s.loc, arith::CmpIPredicate::eq, s.lane(), s.index(0));
    s.when(first, [&] {
      for (int64_t r = 0; r < rows; ++r)
        for (int64_t n = 0; n < group; ++n)
          s.store(totals[r * group + n], c.memref, s.add(s.add(column, n), r * c.pitch));
    });
  });
  return result;
}

} // namespace otodus::gpu

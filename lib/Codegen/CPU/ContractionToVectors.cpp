//===- ContractionToVectors.cpp - Register tiles of matrix products --------===//
//
// The right-hand side is packed so that one step of k reads whole vectors of lanes and
// broadcasts one element per row:
//
//   f32   A[.., r, k]       B[.., k, 32]             acc[r] += broadcast(a) * b
//   bf16  A[.., r, k..k+1]  B[.., k/2, 64]           acc[r] += dot of pairs (vdpbf16ps)
//   bf16 without the instruction: the two halves of a pair widened by shift and mask
//
// How many rows and columns stay in registers is the machine's fact.
//
//===----------------------------------------------------------------------===//

#include "LowerTilesToVectors.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Arith/Utils/Utils.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/Dialect/X86Vector/X86VectorDialect.h"
#include "mlir/IR/AffineExpr.h"

using namespace mlir;

namespace otodus::cpu {
namespace {

struct Shape {
  int64_t row, lane, k;          // loop numbers; lane and k have 32 iterations
  int64_t rows, lanes, steps;    // their sizes
  SmallVector<int64_t> parallel; // other parallel loops, outermost first
  SmallVector<int64_t> sums;     // other reduction loops, outermost first
};

bool bodyIsMultiplyAdd(linalg::GenericOp op) {
  auto strip = [](Value v) {
    while (auto ext = v.getDefiningOp<arith::ExtFOp>())
      v = ext.getIn();
    return v;
  };
  Block *body = op.getBody();
  auto add = body->getTerminator()->getOperand(0).getDefiningOp<arith::AddFOp>();
  if (!add)
    return false;
  for (auto [sum, product] : {std::pair(add.getLhs(), add.getRhs()),
                              std::pair(add.getRhs(), add.getLhs())}) {
    auto mul = product.getDefiningOp<arith::MulFOp>();
    if (mul && sum == body->getArgument(2) && strip(mul.getLhs()) == body->getArgument(0) &&
        strip(mul.getRhs()) == body->getArgument(1))
      return true;
  }
  return false;
}

/// Finds the loops' roles; nullopt if the op has another form.
std::optional<Shape> analyze(linalg::GenericOp op) {
  if (op.getNumDpsInputs() != 2 || op.getNumDpsInits() != 1 || !bodyIsMultiplyAdd(op))
    return std::nullopt;
  SmallVector<AffineMap> maps = op.getIndexingMapsArray();
  AffineMap a = maps[0], w = maps[1], out = maps[2];
  if (!a.isProjectedPermutation() || !out.isProjectedPermutation() || a.getNumResults() < 2 ||
      out.getNumResults() < 2 || w.getNumResults() < 2)
    return std::nullopt;

  Shape shape;
  shape.lane = cast<AffineDimExpr>(out.getResults().back()).getPosition();
  shape.k = cast<AffineDimExpr>(a.getResults().back()).getPosition();
  auto iterators = op.getIteratorTypesArray();
  if (iterators[shape.k] != utils::IteratorType::reduction)
    return std::nullopt;

  MLIRContext *context = op.getContext();
  AffineExpr lane = getAffineDimExpr(shape.lane, context), k = getAffineDimExpr(shape.k, context);
  AffineExpr last = w.getResults()[w.getNumResults() - 1];
  AffineExpr before = w.getResults()[w.getNumResults() - 2];
  bool pairs = getElementTypeOrSelf(op.getInputs()[1].getType()).isBF16();
  if (pairs ? (last != lane * 2 + k % 2 || before != k.floorDiv(2))
            : (last != lane || before != k))
    return std::nullopt;

  shape.row = -1;
  SmallVector<int64_t> ranges = cast<linalg::LinalgOp>(op.getOperation()).getStaticLoopRanges();
  for (AffineExpr expr : out.getResults()) {
    int64_t d = cast<AffineDimExpr>(expr).getPosition();
    if (d != shape.lane && a.isFunctionOfDim(d) && !w.isFunctionOfDim(d) &&
        ShapedType::isStatic(ranges[d]))
      shape.row = d;
  }
  if (shape.row < 0)
    return std::nullopt;
  for (auto [d, iterator] : llvm::enumerate(iterators)) {
    if (int64_t(d) == shape.row || int64_t(d) == shape.lane || int64_t(d) == shape.k)
      continue;
    (iterator == utils::IteratorType::parallel ? shape.parallel : shape.sums).push_back(d);
  }
  shape.rows = ranges[shape.row];
  shape.lanes = ranges[shape.lane];
  shape.steps = ranges[shape.k];
  if (shape.lanes % 32 != 0 || shape.steps % 4 != 0)
    return std::nullopt;
  return shape;
}

/// Several reduction loops that run through both operands in memory order are one: a single
/// long loop over k keeps the register tile in registers from start to end.
///
///   A[.., ko, ki]  B[.., ko, ki, lane]   ==>   A[.., k]  B[.., k, lane]
linalg::GenericOp collapseSums(RewriterBase &rewriter, linalg::GenericOp op, const Shape &shape) {
  if (shape.sums.empty())
    return op;
  SmallVector<AffineMap> maps = op.getIndexingMapsArray();
  AffineMap a = maps[0], w = maps[1];
  bool pairs = getElementTypeOrSelf(op.getInputs()[1].getType()).isBF16();
  int64_t count = shape.sums.size() + 1;
  SmallVector<int64_t> sums(shape.sums);
  sums.push_back(shape.k);
  auto type = [&](int64_t i) { return cast<RankedTensorType>(op.getInputs()[i].getType()); };
  int64_t aFirst = a.getNumResults() - count, wFirst = w.getNumResults() - 1 - count;
  if (aFirst < 0 || wFirst < 0)
    return op;
  for (int64_t i = 0; i < count; ++i) {
    AffineExpr dim = getAffineDimExpr(sums[i], op.getContext());
    AffineExpr inW = i + 1 == count && pairs ? dim.floorDiv(2) : dim;
    if (a.getResult(aFirst + i) != dim || w.getResult(wFirst + i) != inW ||
        type(0).isDynamicDim(aFirst + i) || type(1).isDynamicDim(wFirst + i))
      return op;
  }

  rewriter.setInsertionPoint(op);
  auto collapse = [&](int64_t operand, int64_t first, int64_t rank) -> Value {
    SmallVector<ReassociationIndices> groups;
    for (int64_t i = 0; i < rank; ++i) {
      if (i > first && i < first + count)
        groups.back().push_back(i);
      else
        groups.push_back({i});
    }
    return tensor::CollapseShapeOp::create(rewriter, op.getLoc(), op.getInputs()[operand], groups);
  };
  Value newA = collapse(0, aFirst, a.getNumResults());
  Value newW = collapse(1, wFirst, w.getNumResults());

  // The loops without the outer sums; k keeps its place behind them.
  int64_t rank = op.getNumLoops();
  SmallVector<AffineExpr> renumber(rank);
  SmallVector<utils::IteratorType> iterators;
  int64_t next = 0;
  for (int64_t d = 0; d < rank; ++d) {
    if (llvm::is_contained(shape.sums, d)) {
      renumber[d] = rewriter.getAffineConstantExpr(0);
      continue;
    }
    renumber[d] = rewriter.getAffineDimExpr(next++);
    iterators.push_back(op.getIteratorTypesArray()[d]);
  }
  auto renumbered = [&](AffineMap map, int64_t first) {
    SmallVector<AffineExpr> exprs;
    for (auto [i, expr] : llvm::enumerate(map.getResults()))
      if (first < 0 || int64_t(i) < first || int64_t(i) >= first + count - 1)
        exprs.push_back(expr.replaceDims(renumber));
    return AffineMap::get(next, 0, exprs, op.getContext());
  };
  auto collapsed = linalg::GenericOp::create(
      rewriter, op.getLoc(), op->getResultTypes(), ValueRange{newA, newW}, op.getOutputs(),
      ArrayRef<AffineMap>{renumbered(a, aFirst), renumbered(w, wFirst), renumbered(maps[2], -1)},
      iterators);
  rewriter.inlineRegionBefore(op.getRegion(), collapsed.getRegion(), collapsed.getRegion().end());
  rewriter.replaceOp(op, collapsed->getResults());
  return collapsed;
}

class ContractionLowering {
public:
  ContractionLowering(RewriterBase &rewriter, linalg::GenericOp op, const Machine &machine,
                      Shape shape)
      : b(rewriter), op(op), loc(op.getLoc()), machine(machine), shape(std::move(shape)),
        maps(op.getIndexingMapsArray()),
        pairs(getElementTypeOrSelf(op.getInputs()[1].getType()).isBF16()) {}

  void run() {
    for (Range range : cast<linalg::LinalgOp>(op.getOperation()).createLoopRanges(b, loc))
      sizes.push_back(range.size);

    // A sum that starts from zeros needs no read of them.
    Value out = op.getOutputs()[0];
    bool fromZero = false;
    if (auto fill = out.getDefiningOp<linalg::FillOp>())
      if (matchPattern(fill.getInputs()[0], m_AnyZeroFloat())) {
        fromZero = true;
        out = fill.getOutputs()[0];
      }

    SmallVector<OpFoldResult> bounds;
    for (int64_t d : shape.parallel)
      bounds.push_back(sizes[d]);
    auto results =
        buildLoops(b, loc, bounds, out,
                   [&](OpBuilder &nested, ValueRange ivs, ValueRange outs) {
                     SmallVector<Value> at(sizes.size());
                     for (auto [d, iv] : llvm::zip(shape.parallel, ivs))
                       at[d] = iv;
                     Value result = outs[0];
                     for (int64_t r = 0; r < shape.rows; r += machine.tileRows)
                       for (int64_t c = 0; c < shape.lanes; c += machine.tileColumns)
                         result = emitTile(nested, at, result, fromZero, r,
                                           std::min(machine.tileRows, shape.rows - r), c);
                     return SmallVector<Value>{result};
                   });
    b.replaceOp(op, results);
  }

private:
  Value constant(OpBuilder &nested, int64_t value) {
    return arith::ConstantIndexOp::create(nested, loc, value);
  }

  SmallVector<Value> indicesOf(OpBuilder &nested, AffineMap map, ArrayRef<Value> at) {
    SmallVector<Value> indices;
    for (AffineExpr expr : map.getResults()) {
      auto dim = dyn_cast<AffineDimExpr>(expr);
      indices.push_back(dim ? at[dim.getPosition()] : Value());
    }
    return indices;
  }

  /// Rows [r, r + rows) times columns [c, c + tileColumns) of the result.
  Value emitTile(OpBuilder &nested, ArrayRef<Value> outer, Value out, bool fromZero, int64_t r,
                 int64_t rows, int64_t c) {
    int64_t vectors = machine.tileColumns / machine.lanes;
    Type f32 = nested.getF32Type();
    auto type = VectorType::get({machine.lanes}, f32);

    auto outAt = [&](OpBuilder &builder, int64_t row, int64_t v) {
      SmallVector<Value> at(outer);
      at[shape.row] = constant(builder, r + row);
      at[shape.lane] = constant(builder, c + v * machine.lanes);
      return indicesOf(builder, maps[2], at);
    };

    SmallVector<Value> accumulators;
    for (int64_t row = 0; row < rows; ++row)
      for (int64_t v = 0; v < vectors; ++v)
        accumulators.push_back(
            fromZero ? Value(arith::ConstantOp::create(nested, loc, nested.getZeroAttr(type)))
                     : readVector(nested, loc, out, outAt(nested, row, v), machine.lanes));

    SmallVector<OpFoldResult> bounds;
    for (int64_t d : shape.sums)
      bounds.push_back(sizes[d]);
    accumulators = buildLoops(
        nested, loc, bounds, accumulators, [&](OpBuilder &in, ValueRange ivs, ValueRange carried) {
          SmallVector<Value> at(outer);
          for (auto [d, iv] : llvm::zip(shape.sums, ivs))
            at[d] = iv;
          const int64_t unroll = 4;
          auto loop = scf::ForOp::create(
              in, loc, constant(in, 0), constant(in, shape.steps), constant(in, unroll), carried,
              [&](OpBuilder &builder, Location, Value k, ValueRange acc) {
                SmallVector<Value> values(acc);
                for (int64_t u = 0; u < unroll; u += pairs ? 2 : 1)
                  emitStep(builder, at, k, u, r, rows, c, values);
                scf::YieldOp::create(builder, loc, values);
              });
          return SmallVector<Value>(loop.getResults());
        });

    int64_t i = 0;
    for (int64_t row = 0; row < rows; ++row)
      for (int64_t v = 0; v < vectors; ++v)
        out = writeVector(nested, loc, accumulators[i++], out, outAt(nested, row, v));
    return out;
  }

  /// One step of k (two for pairs) for all rows and vectors of the tile.
  void emitStep(OpBuilder &builder, ArrayRef<Value> outer, Value k, int64_t u, int64_t r,
                int64_t rows, int64_t c, SmallVector<Value> &values) {
    int64_t lanes = machine.lanes, vectors = machine.tileColumns / lanes;
    Value a = op.getInputs()[0], w = op.getInputs()[1];
    SmallVector<Value> at(outer);
    Value step = u ? Value(arith::AddIOp::create(builder, loc, k, constant(builder, u))) : k;
    at[shape.k] = step;

    // The packed side: whole vectors.
    SmallVector<Value> indices = indicesOf(builder, maps[1], at);
    size_t n = indices.size();
    SmallVector<SmallVector<Value>> columns(vectors);
    auto i32Type = VectorType::get({lanes}, builder.getI32Type());
    auto f32Type = VectorType::get({lanes}, builder.getF32Type());
    for (int64_t v = 0; v < vectors; ++v) {
      if (!pairs) {
        indices[n - 1] = constant(builder, c + v * lanes);
        columns[v].push_back(readVector(builder, loc, w, indices, lanes));
        continue;
      }
      indices[n - 2] =
          arith::DivUIOp::create(builder, loc, step, constant(builder, 2));
      indices[n - 1] = constant(builder, 2 * (c + v * lanes));
      Value both = readVector(builder, loc, w, indices, 2 * lanes);
      if (machine.bf16Dot) {
        columns[v].push_back(both);
        continue;
      }
      Value words = vector::BitCastOp::create(builder, loc, i32Type, both);
      Value sixteen = arith::ConstantOp::create(
          builder, loc, DenseElementsAttr::get(i32Type, builder.getI32IntegerAttr(16)));
      Value mask = arith::ConstantOp::create(
          builder, loc,
          DenseElementsAttr::get(i32Type, builder.getI32IntegerAttr(int32_t(0xffff0000u))));
      Value even = arith::ShLIOp::create(builder, loc, words, sixteen);
      Value odd = arith::AndIOp::create(builder, loc, words, mask);
      columns[v].push_back(vector::BitCastOp::create(builder, loc, f32Type, even));
      columns[v].push_back(vector::BitCastOp::create(builder, loc, f32Type, odd));
    }

    for (int64_t row = 0; row < rows; ++row) {
      at[shape.row] = constant(builder, r + row);
      SmallVector<Value> aIndices = indicesOf(builder, maps[0], at);
      if (pairs && machine.bf16Dot) {
        Value pair = readVector(builder, loc, a, aIndices, 2);
        Value word = vector::BitCastOp::create(
            builder, loc, VectorType::get({1}, builder.getI32Type()), pair);
        Value scalar = vector::ExtractOp::create(builder, loc, word, ArrayRef<int64_t>{0});
        Value words = vector::BroadcastOp::create(builder, loc, i32Type, scalar);
        Value pairsOfRow = vector::BitCastOp::create(
            builder, loc, VectorType::get({2 * lanes}, builder.getBF16Type()), words);
        for (int64_t v = 0; v < vectors; ++v) {
          Value &acc = values[row * vectors + v];
          acc = x86vector::DotBF16Op::create(builder, loc, f32Type, acc, pairsOfRow,
                                             columns[v][0]);
        }
        continue;
      }
      for (int64_t part = 0; part < (pairs ? 2 : 1); ++part) {
        if (part) {
          at[shape.k] = arith::AddIOp::create(builder, loc, step, constant(builder, 1));
          aIndices = indicesOf(builder, maps[0], at);
          at[shape.k] = step;
        }
        Value scalar = tensor::ExtractOp::create(builder, loc, a, aIndices);
        if (scalar.getType().isBF16())
          scalar = arith::ExtFOp::create(builder, loc, builder.getF32Type(), scalar);
        Value broadcast = vector::BroadcastOp::create(builder, loc, f32Type, scalar);
        for (int64_t v = 0; v < vectors; ++v) {
          Value &acc = values[row * vectors + v];
          acc = vector::FMAOp::create(builder, loc, broadcast, columns[v][part], acc);
        }
      }
    }
  }

  RewriterBase &b;
  linalg::GenericOp op;
  Location loc;
  const Machine &machine;
  Shape shape;
  SmallVector<AffineMap> maps;
  bool pairs;
  SmallVector<OpFoldResult> sizes;
};

} // namespace

bool isPackedContraction(linalg::GenericOp op) { return analyze(op).has_value(); }

LogicalResult lowerContractionToVectors(RewriterBase &rewriter, linalg::GenericOp op,
                                        const Machine &machine) {
  std::optional<Shape> shape = analyze(op);
  if (!shape)
    return rewriter.notifyMatchFailure(op, "not a product with a packed right-hand side");
  op = collapseSums(rewriter, op, *shape);
  shape = analyze(op);
  assert(shape && "collapsing keeps a product a product");
  rewriter.setInsertionPoint(op);
  ContractionLowering(rewriter, op, machine, *shape).run();
  return success();
}

} // namespace otodus::cpu

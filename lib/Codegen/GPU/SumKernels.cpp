//===- SumKernels.cpp - Gradients of vectors and tables; the optimizer -----===//

#include "BlockKernel.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;

namespace otodus::gpu {
namespace {

constexpr int64_t kThreads = 256;

/// sum[w] += Σ_rows x[w] factor[w]. A block owns 32 columns; some threads read a row's, 16 bytes
/// each, and the others further rows: so many strands the sum has.
LogicalResult emitColumnSum(BlockKernel &k, mega::ColumnSumOp op) {
  SimtBuilder &s = k.s;
  const int64_t wide = elementsOf16Bytes(getElementTypeOrSelf(op.getInput().getType()));
  const int64_t across = kLanes / wide, strandCount = kThreads / across;
  formats::Width width = widthOf(op.getInput().getType());
  int64_t blocks = width.padded() / kLanes;
  Value x = k.operand(op.getInput());
  Value factor = op.getFactor() ? k.operand(op.getFactor()) : Value();
  Value sum = k.operand(op.getSum());
  SmallVector<Value> block = k.open({k.b.getIndexAttr(blocks)}, kThreads);
  Value first = s.mul(block[0], kLanes);
  Value strand = s.div(s.thread(), across), mine = s.mul(s.rem(s.thread(), across), wide);
  Value column = s.add(first, mine);
  SmallVector<Value> total =
      k.reduce(strand, k.rows(), strandCount, {k.zeros(wide)}, [&](Value row, ValueRange carried) {
        Value v = k.load(x, s.add(k.rowAt(row, op.getInput().getType()), column), wide);
        if (!factor)
          return SmallVector<Value>{k.addf(carried[0], v)};
        Value f = k.load(factor, s.add(k.rowAt(row, op.getFactor().getType()), column), wide);
        return SmallVector<Value>{k.fma(v, f, carried[0])};
      });
  Value strands = s.shared(strandCount * kLanes, k.f32);
  s.store(total[0], strands, s.add(s.mul(strand, kLanes), mine));
  s.barrier();
  s.when(s.less(s.thread(), s.index(kLanes)), [&] {
    Value all = k.load(strands, s.thread());
    for (int64_t i = 1; i < strandCount; ++i)
      all = k.addf(all, k.load(strands, s.add(s.thread(), i * kLanes)));
    k.addColumns(all, sum, s.index(int64_t(op.getRow()) * width.logical()), width,
                 s.add(first, s.thread()), 1);
  });
  k.close({{formats::Symbol::One, blocks, 1}});
  return success();
}

/// dtable[token] += scale dy. A warp owns 128 columns of every 64th row of the table, and adds what
/// the rows have for them in their order.
LogicalResult emitEmbedGradient(BlockKernel &k, mega::EmbedGradientOp op) {
  SimtBuilder &s = k.s;
  constexpr int64_t kWide = 4, kColumns = kWarp * kWide, kWarps = kThreads / kWarp,
                    kShares = 64;
  formats::Width width = widthOf(op.getDy().getType());
  int64_t blocks = (width.padded() + kColumns - 1) / kColumns;
  Value tokens = k.operand(op.getTokens()), dy = k.operand(op.getDy());
  Value sum = k.operand(op.getDtable());
  SmallVector<Value> block =
      k.open({k.b.getIndexAttr(blocks), k.b.getIndexAttr(kShares / kWarps)}, kThreads);
  Value column = s.add(s.mul(block[0], kColumns), s.mul(s.lane(), kWide));
  Value share = s.add(s.mul(block[1], kWarps), s.warp());
  double scale = op.getScale() ? op.getScale()->convertToDouble() : 1.0;
  auto walk = [&] {
    s.loop(s.index(0), k.rows(), s.index(1), [&](Value row) {
      Value token = arith::IndexCastUIOp::create(k.b, k.loc, k.b.getIndexType(),
                                                 k.load(tokens, row));
      s.when(k.equal(s.rem(token, kShares), share), [&] {
        Value v = k.load(dy, s.add(k.rowAt(row, op.getDy().getType()), column), kWide);
        if (scale != 1.0)
          v = k.mulf(v, s.f32(scale));
        k.addColumns(v, sum, s.mul(token, width.logical()), width, column, kWide);
      });
    });
  };
  if (width.padded() % kColumns)
    s.when(s.less(column, s.index(width.padded())), walk);
  else
    walk();
  k.close({{formats::Symbol::One, blocks, 1}, {formats::Symbol::One, kShares / kWarps, 1}});
  return success();
}

/// The portions of an arena, whose length its type says.
FailureOr<int64_t> portionsOf(Operation *op, Value arena) {
  int64_t size = cast<RankedTensorType>(arena.getType()).getDimSize(0);
  if (ShapedType::isDynamic(size) || size % formats::kSquaresPortion)
    return op->emitOpError("expects a static number of elements, a multiple of ")
           << formats::kSquaresPortion << ", but got " << arena.getType();
  return size / formats::kSquaresPortion;
}

constexpr int64_t kOfThread = formats::kSquaresPortion / kThreads;

/// sums[i] = Σ x² over a portion of 1024, which is a block's.
LogicalResult emitSquares(BlockKernel &k, mega::SquaresOp op) {
  SimtBuilder &s = k.s;
  FailureOr<int64_t> portions = portionsOf(op, op.getInput());
  if (failed(portions))
    return failure();
  Value x = k.operand(op.getInput()), sums = k.operand(op.getSums());
  SmallVector<Value> block = k.open({k.b.getIndexAttr(*portions)}, kThreads);
  Value at = s.add(s.mul(block[0], formats::kSquaresPortion), s.mul(s.thread(), kOfThread));
  Value v = k.load(x, at, kOfThread), squares = k.mulf(v, v), total = k.element(squares, 0);
  for (int64_t i = 1; i < kOfThread; ++i)
    total = k.addf(total, k.element(squares, i));
  total = s.overLanes(total, [&](Value a, Value b) { return k.addf(a, b); });
  Value ofWarps = s.shared(kThreads / kWarp, k.f32);
  s.when(k.equal(s.lane(), s.index(0)), [&] { s.store(total, ofWarps, s.warp()); });
  s.barrier();
  s.when(k.equal(s.thread(), s.index(0)), [&] {
    Value all = k.load(ofWarps, s.index(0));
    for (int64_t i = 1; i < kThreads / kWarp; ++i)
      all = k.addf(all, k.load(ofWarps, s.index(i)));
    s.store(all, sums, block[0]);
  });
  k.close({{formats::Symbol::One, *portions, 1}});
  return success();
}

/// spec 6, elementwise over the arenas.
LogicalResult emitAdamW(BlockKernel &k, mega::AdamWOp op) {
  SimtBuilder &s = k.s;
  FailureOr<int64_t> portions = portionsOf(op, op.getWeight());
  if (failed(portions))
    return failure();
  Value g = k.operand(op.getGradient()), scalars = k.operand(op.getScalars());
  Value p = k.operand(op.getWeight()), m = k.operand(op.getFirst()), u = k.operand(op.getSecond());
  SmallVector<Value> block = k.open({k.b.getIndexAttr(*portions)}, kThreads);
  Value at = s.add(s.mul(block[0], formats::kSquaresPortion), s.mul(s.thread(), kOfThread));
  auto scalar = [&](int64_t i) { return k.load(scalars, s.index(i)); };
  auto arena = [&](Value from) { return k.load(from, at, kOfThread); };
  Value one = s.f32(1), beta1 = scalar(4), beta2 = scalar(5);
  Value gradient = k.mulf(arena(g), scalar(1));
  Value first = k.fma(k.subf(one, beta1), gradient, k.mulf(beta1, arena(m)));
  Value square = k.mulf(gradient, gradient);
  Value second = k.fma(k.subf(one, beta2), square, k.mulf(beta2, arena(u)));
  s.store(first, m, at);
  s.store(second, u, at);
  Value root = math::SqrtOp::create(k.b, k.loc, k.mulf(second, scalar(8)));
  Value step = arith::DivFOp::create(k.b, k.loc, k.mulf(first, scalar(7)),
                                     k.addf(root, scalar(6)));
  Value weight = k.mulf(arena(p), k.subf(one, scalar(3)));
  s.store(k.subf(weight, k.mulf(scalar(2), step)), p, at);
  k.close({{formats::Symbol::One, *portions, 1}});
  return success();
}

} // namespace

LogicalResult emitSumKernel(BlockKernel &k, Operation *op) {
  if (auto sum = dyn_cast<mega::ColumnSumOp>(op))
    return emitColumnSum(k, sum);
  if (auto embed = dyn_cast<mega::EmbedGradientOp>(op))
    return emitEmbedGradient(k, embed);
  if (auto squares = dyn_cast<mega::SquaresOp>(op))
    return emitSquares(k, squares);
  return emitAdamW(k, cast<mega::AdamWOp>(op));
}

} // namespace otodus::gpu

//===- EmitSums.cpp - Gradients of matrices, vectors and tables -------------===//

#include "SumEmitter.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;

namespace otodus {
namespace {

constexpr int64_t kRowBlock = 128; ///< rows whose part of both operands stays in the L2 cache
constexpr int64_t kOutputs = 8;    ///< rows of the matrix whose sums stay in registers

/// dW[n, k] += Σ_rows dy[n] x[k]. A work item is a lane block of n and up to four of k.
LogicalResult emitWeightGradient(SumEmitter &s, mega::LinearWeightGradientOp op) {
  formats::Width outputs = widthOf(op.getDy().getType()), inputs = widthOf(op.getInput().getType());
  int64_t nBlocks = outputs.padded() / kLanes, kBlocks = inputs.padded() / kLanes;
  int64_t share = std::min<int64_t>(4, kBlocks);
  while (kBlocks % share)
    --share;
  Value dy = s.kernel.operandParameter(op.getDy()), x = s.kernel.operandParameter(op.getInput());
  Value sum = s.kernel.operandParameter(op.getDweight());
  Value rows = s.kernel.frame.rows;
  SmallVector<Value> item = s.openGrid({s.b.getIndexAttr(nBlocks), s.b.getIndexAttr(kBlocks / share)});
  Value nAt = s.mul(item[0], s.index(kLanes)), kBlock = s.mul(item[1], s.index(share));
  Value kAt = s.mul(kBlock, s.index(kLanes));
  Value tile = s.scratch(share * kLanes * kLanes); // [k block][n][32]
  // Of bf16 the terms are rows, two at a time.
  bool pairs = getElementTypeOrSelf(dy.getType()).isBF16();
  Value dyPairs, xPairs;
  if (pairs) {
    dyPairs = s.scratch(kRowBlock * kLanes, s.b.getBF16Type());
    xPairs = s.scratch(kRowBlock * kLanes, s.b.getBF16Type());
  }
  s.forLoop(s.index(0), s.index(share * kLanes), s.index(1), [&](Value i) {
    s.storeFromF32(s.zeros(), tile, s.mul(i, s.index(kLanes)));
  });

  s.forLoop(s.index(0), rows, s.index(kRowBlock), [&](Value from) {
    Value to = s.min(rows, s.add(from, s.index(kRowBlock)));
    auto pack = [&](Value x, Type type, Value lanes, Value into) {
      s.pairRows(x, kRowBlock, s.sub(to, from), into, [&](Value row) {
        return s.add(s.rowOffset(s.add(from, row), type), lanes);
      });
    };
    if (pairs)
      pack(dy, op.getDy().getType(), nAt, dyPairs);
    s.forLoop(s.index(0), s.index(share), s.index(1), [&](Value kb) {
      Value lanes = s.add(kAt, s.mul(kb, s.index(kLanes)));
      if (pairs)
        pack(x, op.getInput().getType(), lanes, xPairs);
      s.forLoop(s.index(0), s.index(kLanes), s.index(kOutputs), [&](Value n) {
        SmallVector<Value> at, sums;
        for (int64_t i = 0; i < kOutputs; ++i) {
          Value row = s.add(s.mul(kb, s.index(kLanes)), s.add(n, s.index(i)));
          at.push_back(s.mul(row, s.index(kLanes)));
          sums.push_back(s.loadF32(tile, at.back(), kLanes));
        }
        Value first = s.add(nAt, n);
        Value begin = pairs ? s.index(0) : from, end = pairs ? s.sub(to, from) : to;
        sums = s.reduce(begin, end, pairs ? 2 : 1, sums, [&](Value row, ValueRange carried) {
          if (pairs)
            return s.pairProducts(dyPairs, xPairs, row, n, carried);
          Value vector =
              s.loadF32(x, s.add(s.rowOffset(row, op.getInput().getType()), lanes), kLanes);
          Value base = s.add(s.rowOffset(row, op.getDy().getType()), first);
          SmallVector<Value> next;
          for (int64_t i = 0; i < kOutputs; ++i)
            next.push_back(s.fma(s.splat(s.load(dy, s.add(base, s.index(i))), kLanes), vector,
                                 carried[i]));
          return next;
        });
        for (int64_t i = 0; i < kOutputs; ++i)
          s.storeFromF32(sums[i], tile, at[i]);
      });
    });
  });

  LaneRange n = laneRange(s, outputs, item[0]);
  s.forLoop(s.index(0), s.index(share), s.index(1), [&](Value kb) {
    LaneRange k = laneRange(s, inputs, s.add(kBlock, kb));
    s.forLoop(s.index(0), n.valid ? n.valid : s.index(kLanes), s.index(1), [&](Value i) {
      Value row = s.add(s.mul(kb, s.index(kLanes)), i);
      Value to = s.add(s.mul(s.add(n.first, i), s.index(inputs.logical())), k.first);
      s.addTo(s.loadF32(tile, s.mul(row, s.index(kLanes)), kLanes), sum, to, k.valid);
    });
  });
  s.finish({{formats::Symbol::One, nBlocks, 1}, {formats::Symbol::One, kBlocks / share, 1}});
  return success();
}

/// sum[w] += Σ_rows x[w] factor[w]. A work item is a lane block.
LogicalResult emitColumnSum(SumEmitter &s, mega::ColumnSumOp op) {
  formats::Width width = widthOf(op.getInput().getType());
  int64_t blocks = width.padded() / kLanes;
  Value x = s.kernel.operandParameter(op.getInput());
  Value factor = op.getFactor() ? s.kernel.operandParameter(op.getFactor()) : Value();
  Value sum = s.kernel.operandParameter(op.getSum());
  SmallVector<Value> item = s.openGrid({s.b.getIndexAttr(blocks)});
  Value lane = s.mul(item[0], s.index(kLanes));
  SmallVector<Value> total = s.reduce(
      s.index(0), s.kernel.frame.rows, 1, {s.zeros()}, [&](Value row, ValueRange carried) {
        Value v = s.loadF32(x, s.add(s.rowOffset(row, op.getInput().getType()), lane), kLanes);
        if (!factor)
          return SmallVector<Value>{s.addf(carried[0], v)};
        Value f =
            s.loadF32(factor, s.add(s.rowOffset(row, op.getFactor().getType()), lane), kLanes);
        return SmallVector<Value>{s.fma(v, f, carried[0])};
      });
  LaneRange range = laneRange(s, width, item[0]);
  Value at = s.add(range.first, s.index(int64_t(op.getRow()) * width.logical()));
  s.addTo(total[0], sum, at, range.valid);
  s.finish({{formats::Symbol::One, blocks, 1}});
  return success();
}

/// dtable[token] += scale dy. A work item is a lane block of columns, for all rows.
LogicalResult emitEmbedGradient(SumEmitter &s, mega::EmbedGradientOp op) {
  formats::Width width = widthOf(op.getDy().getType());
  int64_t blocks = width.padded() / kLanes;
  Value tokens = s.kernel.operandParameter(op.getTokens());
  Value dy = s.kernel.operandParameter(op.getDy());
  Value sum = s.kernel.operandParameter(op.getDtable());
  SmallVector<Value> item = s.openGrid({s.b.getIndexAttr(blocks)});
  LaneRange range = laneRange(s, width, item[0]);
  Value lane = s.mul(item[0], s.index(kLanes));
  double scale = op.getScale() ? op.getScale()->convertToDouble() : 1.0;
  s.forLoop(s.index(0), s.kernel.frame.rows, s.index(1), [&](Value row) {
    Value token = memref::LoadOp::create(s.b, s.loc, tokens, ValueRange{row});
    token = arith::IndexCastOp::create(s.b, s.loc, s.b.getIndexType(), token);
    Value v = s.loadF32(dy, s.add(s.rowOffset(row, op.getDy().getType()), lane), kLanes);
    if (scale != 1.0)
      v = s.mulf(v, s.splat(s.constant(scale), kLanes));
    s.addTo(v, sum, s.add(s.mul(token, s.index(width.logical())), range.first), range.valid);
  });
  s.finish({{formats::Symbol::One, blocks, 1}});
  return success();
}

/// The number of elements of an arena, which its type says.
int64_t arenaSize(Value arena) { return cast<RankedTensorType>(arena.getType()).getDimSize(0); }

LogicalResult verifyArena(Operation *op, Value arena) {
  int64_t size = arenaSize(arena);
  if (!ShapedType::isDynamic(size) && size % formats::kSquaresPortion == 0)
    return success();
  return op->emitOpError("expects a static number of elements, a multiple of ")
         << formats::kSquaresPortion << ", but got " << arena.getType();
}

/// sums[i] = Σ x² over a portion of 1024, which is a work item.
LogicalResult emitSquares(SumEmitter &s, mega::SquaresOp op) {
  if (failed(verifyArena(op, op.getInput())))
    return failure();
  int64_t portions = arenaSize(op.getInput()) / formats::kSquaresPortion;
  Value x = s.kernel.operandParameter(op.getInput());
  Value sums = s.kernel.operandParameter(op.getSums());
  SmallVector<Value> item = s.openGrid({s.b.getIndexAttr(portions)});
  Value from = s.mul(item[0], s.index(formats::kSquaresPortion));
  SmallVector<Value> total =
      s.reduce(from, s.add(from, s.index(formats::kSquaresPortion)), kLanes, {s.zeros()},
               [&](Value at, ValueRange carried) {
                 Value v = s.loadF32(x, at, kLanes);
                 return SmallVector<Value>{s.fma(v, v, carried[0])};
               });
  s.store(s.laneSum(total[0]), sums, item[0]);
  s.finish({{formats::Symbol::One, portions, 1}});
  return success();
}

/// spec 6, elementwise over the arenas.
LogicalResult emitAdamW(SumEmitter &s, mega::AdamWOp op) {
  if (failed(verifyArena(op, op.getWeight())))
    return failure();
  constexpr int64_t kPortion = formats::kSquaresPortion;
  int64_t portions = arenaSize(op.getWeight()) / kPortion;
  Value g = s.kernel.operandParameter(op.getGradient());
  Value scalars = s.kernel.operandParameter(op.getScalars());
  Value p = s.kernel.operandParameter(op.getWeight());
  Value m = s.kernel.operandParameter(op.getFirst()), u = s.kernel.operandParameter(op.getSecond());
  SmallVector<Value> item = s.openGrid({s.b.getIndexAttr(portions)});
  auto scalar = [&](int64_t i) { return s.load(scalars, s.index(i)); };
  auto wide = [&](Value v) { return s.splat(v, kLanes); };
  Value clip = wide(scalar(1)), rate = wide(scalar(2));
  Value keep = wide(s.subf(s.constant(1), scalar(3)));
  Value beta1 = wide(scalar(4)), beta2 = wide(scalar(5)), eps = wide(scalar(6));
  Value new1 = wide(s.subf(s.constant(1), scalar(4))), new2 = wide(s.subf(s.constant(1), scalar(5)));
  Value unbias1 = wide(scalar(7)), unbias2 = wide(scalar(8));
  Value from = s.mul(item[0], s.index(kPortion));
  s.forLoop(from, s.add(from, s.index(kPortion)), s.index(kLanes), [&](Value at) {
    Value gradient = s.mulf(s.loadF32(g, at, kLanes), clip);
    Value first = s.fma(new1, gradient, s.mulf(beta1, s.loadF32(m, at, kLanes)));
    Value square = s.mulf(gradient, gradient);
    Value second = s.fma(new2, square, s.mulf(beta2, s.loadF32(u, at, kLanes)));
    s.storeFromF32(first, m, at);
    s.storeFromF32(second, u, at);
    Value root = math::SqrtOp::create(s.b, s.loc, s.mulf(second, unbias2));
    Value step = arith::DivFOp::create(s.b, s.loc, s.mulf(first, unbias1), s.addf(root, eps));
    Value weight = s.mulf(s.loadF32(p, at, kLanes), keep);
    s.storeFromF32(s.subf(weight, s.mulf(rate, step)), p, at);
  });
  s.finish({{formats::Symbol::One, portions, 1}});
  return success();
}

} // namespace

LogicalResult emitSum(SumEmitter &s, Operation *op) {
  if (auto product = dyn_cast<mega::LinearWeightGradientOp>(op))
    return emitWeightGradient(s, product);
  if (auto sum = dyn_cast<mega::ColumnSumOp>(op))
    return emitColumnSum(s, sum);
  if (auto embed = dyn_cast<mega::EmbedGradientOp>(op))
    return emitEmbedGradient(s, embed);
  if (auto squares = dyn_cast<mega::SquaresOp>(op))
    return emitSquares(s, squares);
  return emitAdamW(s, cast<mega::AdamWOp>(op));
}

} // namespace otodus

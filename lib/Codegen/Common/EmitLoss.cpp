//===- EmitLoss.cpp - Cross-entropy over the vocabulary ---------------------===//
//
// Logits are computed a lane block of the vocabulary at a time, forward and, again, in both halves
// of the backward step: memory holds them for a tile of rows at most (spec 3.8).
//
//===----------------------------------------------------------------------===//

#include "SumEmitter.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;

namespace otodus {
namespace {

constexpr int64_t kRows = 8;     ///< rows whose logits stay in registers
constexpr int64_t kRowBlock = 32;

/// A tile of rows against the vocabulary.
class Vocabulary {
public:
  Vocabulary(SumEmitter &s, Value input, Value weight, Value targets)
      : s(s), inputType(input.getType()), width(widthOf(input.getType())),
        size(cast<RankedTensorType>(weight.getType()).getDimSize(0)),
        blocks((size + kLanes - 1) / kLanes), x(s.kernel.operandParameter(input)),
        targets(s.kernel.operandParameter(targets)) {
    KernelBuffer buffer;
    buffer.kind = "panels";
    buffer.sources = {s.kernel.operandNumber(weight)};
    buffer.rows = {1, size};
    buffer.columns = width;
    element = cast<RankedTensorType>(weight.getType()).getElementType();
    buffer.dtype = dtypeOf(element);
    panels = s.kernel.parameter(buffer, element);
  }

  /// The weight as the product with gradients of logits reads it, whose terms are tokens.
  Value byTokens(Value weight) {
    KernelBuffer buffer;
    buffer.sources = {s.kernel.operandNumber(weight)};
    buffer.dtype = dtypeOf(element);
    buffer.kind = "table";
    buffer.rows = {1, size};
    buffer.columns = width;
    if (element.isBF16()) { // pairs of tokens
      buffer.kind = "transposed";
      std::swap(buffer.rows, buffer.columns);
    }
    return s.kernel.parameter(buffer, element);
  }

  /// Rows first … first + 8; beyond the last row it is the last again.
  void chooseRows(Value first) {
    rows.clear();
    xAt.clear();
    targetOf.clear();
    Value last = s.sub(s.kernel.frame.rows, s.index(1));
    for (int64_t r = 0; r < kRows; ++r) {
      rows.push_back(s.min(s.add(first, s.index(r)), last));
      xAt.push_back(s.rowOffset(rows[r], inputType));
      targetOf.push_back(memref::LoadOp::create(s.b, s.loc, targets, ValueRange{rows[r]}));
    }
  }

  /// Where term k of a column of a panel is.
  Value inPanel(Value k, Value column) {
    if (!element.isBF16())
      return s.add(s.mul(k, s.index(kLanes)), column);
    Value pair = s.add(s.mul(s.div(k, 2), s.index(kLanes)), column);
    return s.add(s.mul(pair, s.index(2)), s.rem(k, 2));
  }

  SmallVector<Value> logits(Value block) {
    SmallVector<Value> none(kRows, s.zeros());
    Value panel = s.mul(block, s.index(width.padded() * kLanes));
    return s.panelProduct(x, xAt, panels, panel, s.index(width.padded()), none);
  }

  /// Lanes of the block that are of the vocabulary; null if all of every block are.
  Value present(Value block) {
    if (size % kLanes == 0)
      return {};
    Value left = s.sub(s.index(size), s.mul(block, s.index(kLanes)));
    return vector::CreateMaskOp::create(s.b, s.loc, VectorType::get({kLanes}, s.b.getI1Type()),
                                        s.min(left, s.index(kLanes)));
  }

  /// Row r's target is one: 0 for ignored ones.
  Value counts(int64_t r) {
    Value zero = arith::ConstantOp::create(s.b, s.loc, s.b.getI32IntegerAttr(0));
    return arith::CmpIOp::create(s.b, s.loc, arith::CmpIPredicate::sge, targetOf[r], zero);
  }

  /// g[r] = factor[r] (exp(logit - logSum[r]) - [v = target]), 0 outside of the vocabulary.
  void gradient(Value block, ArrayRef<Value> logSums, ArrayRef<Value> factors, Value g,
                ArrayRef<Value> gAt) {
    SmallVector<Value> tile = logits(block);
    Value mask = present(block);
    SmallVector<int32_t> numbers;
    for (int64_t i = 0; i < kLanes; ++i)
      numbers.push_back(int32_t(i));
    Value lanes = arith::ConstantOp::create(s.b, s.loc, s.b.getI32VectorAttr(numbers));
    Value base = arith::IndexCastOp::create(s.b, s.loc, s.b.getI32Type(),
                                            s.mul(block, s.index(kLanes)));
    for (int64_t r = 0; r < kRows; ++r) {
      Value p = math::ExpOp::create(s.b, s.loc, s.subf(tile[r], s.splat(logSums[r], kLanes)));
      Value relative = arith::SubIOp::create(s.b, s.loc, targetOf[r], base);
      Value hit = arith::CmpIOp::create(s.b, s.loc, arith::CmpIPredicate::eq, lanes,
                                        s.splat(relative, kLanes));
      Value one = s.splat(s.constant(1), kLanes);
      p = s.subf(p, Value(arith::SelectOp::create(s.b, s.loc, hit, one, s.zeros())));
      p = s.mulf(p, s.splat(factors[r], kLanes));
      if (mask)
        p = arith::SelectOp::create(s.b, s.loc, mask, p, s.zeros());
      s.storeFromF32(p, g, gAt[r]);
    }
  }

  /// What the kernels of the backward step share: logarithms of sums, and the loss's scale where a
  /// row counts.
  void loadFactors(Value logSumBuffer, Value scale, Value first, SmallVector<Value> &logSums,
                   SmallVector<Value> &factors) {
    for (int64_t r = 0; r < kRows; ++r) {
      logSums.push_back(s.load(logSumBuffer, rows[r]));
      Value real = arith::CmpIOp::create(s.b, s.loc, arith::CmpIPredicate::ult,
                                         s.add(first, s.index(r)), s.kernel.frame.rows);
      Value both = arith::AndIOp::create(s.b, s.loc, real, counts(r));
      factors.push_back(arith::SelectOp::create(s.b, s.loc, both, scale, s.constant(0)));
    }
  }

  SumEmitter &s;
  Type inputType, element;
  formats::Width width;
  int64_t size, blocks;
  Value x, targets, panels;
  SmallVector<Value> rows, xAt, targetOf;
};

Value tilesOf(SumEmitter &s) {
  return s.div(s.add(s.kernel.frame.rows, s.index(kRows - 1)), kRows);
}

LogicalResult emitForward(SumEmitter &s, mega::LinearCrossEntropyOp op) {
  Vocabulary vocabulary(s, op.getInput(), op.getWeight(), op.getTargets());
  Value nll = s.result(op.getNll()), logSum = s.result(op.getLogSum());
  SmallVector<Value> item = s.openGrid({OpFoldResult(tilesOf(s))});
  vocabulary.chooseRows(s.mul(item[0], s.index(kRows)));
  // The largest logit so far and the sum of exponentials relative to it, by lane.
  Value largest = s.scratch(kRows * kLanes), sums = s.scratch(kRows * kLanes);
  Value lowest = s.splat(s.constant(-1e30), kLanes);
  for (int64_t r = 0; r < kRows; ++r) {
    s.storeFromF32(lowest, largest, s.index(r * kLanes));
    s.storeFromF32(s.zeros(), sums, s.index(r * kLanes));
  }
  s.forLoop(s.index(0), s.index(vocabulary.blocks), s.index(1), [&](Value block) {
    SmallVector<Value> tile = vocabulary.logits(block);
    Value mask = vocabulary.present(block);
    for (int64_t r = 0; r < kRows; ++r) {
      Value at = s.index(r * kLanes), logit = tile[r];
      if (mask)
        logit = arith::SelectOp::create(s.b, s.loc, mask, logit, lowest);
      Value old = s.loadF32(largest, at, kLanes);
      Value top = arith::MaxNumFOp::create(s.b, s.loc, old, logit);
      Value rescale = math::ExpOp::create(s.b, s.loc, s.subf(old, top));
      Value own = math::ExpOp::create(s.b, s.loc, s.subf(logit, top));
      s.storeFromF32(top, largest, at);
      s.storeFromF32(s.fma(s.loadF32(sums, at, kLanes), rescale, own), sums, at);
    }
  });
  for (int64_t r = 0; r < kRows; ++r) {
    Value tops = s.loadF32(largest, s.index(r * kLanes), kLanes);
    Value top = vector::ReductionOp::create(s.b, s.loc, vector::CombiningKind::MAXNUMF, tops,
                                            arith::FastMathFlags::nnan);
    Value weights = math::ExpOp::create(s.b, s.loc, s.subf(tops, s.splat(top, kLanes)));
    Value total = s.laneSum(s.mulf(weights, s.loadF32(sums, s.index(r * kLanes), kLanes)));
    Value logarithm = math::LogOp::create(s.b, s.loc, s.splat(total, kVector));
    Value sum = s.addf(vector::ExtractOp::create(s.b, s.loc, logarithm, ArrayRef<int64_t>{0}), top);
    if (logSum)
      s.store(sum, logSum, vocabulary.rows[r]);
    if (!nll)
      continue;
    // The target's logit: its column of its panel.
    Value target = arith::SelectOp::create(
        s.b, s.loc, vocabulary.counts(r), vocabulary.targetOf[r],
        Value(arith::ConstantOp::create(s.b, s.loc, s.b.getI32IntegerAttr(0))));
    target = arith::IndexCastOp::create(s.b, s.loc, s.b.getIndexType(), target);
    Value panel = s.mul(s.div(target, kLanes), s.index(vocabulary.width.padded() * kLanes));
    Value column = s.rem(target, kLanes);
    Value logit =
        s.reduce(s.index(0), s.index(vocabulary.width.padded()), 1, {s.constant(0)},
                 [&](Value k, ValueRange carried) {
                   Value a = s.load(vocabulary.x, s.add(vocabulary.xAt[r], k));
                   Value w = s.load(vocabulary.panels, s.add(panel, vocabulary.inPanel(k, column)));
                   return SmallVector<Value>{s.addf(carried[0], s.mulf(a, w))};
                 })[0];
    Value result = arith::SelectOp::create(s.b, s.loc, vocabulary.counts(r), s.subf(sum, logit),
                                           s.constant(0));
    s.store(result, nll, vocabulary.rows[r]);
  }
  s.finish({{formats::Symbol::Rows, 1, kRows}});
  return success();
}

LogicalResult emitInputGradient(SumEmitter &s, mega::LossInputGradientOp op) {
  Vocabulary vocabulary(s, op.getInput(), op.getWeight(), op.getTargets());
  Value table = vocabulary.byTokens(op.getWeight());
  bool pairs = vocabulary.element.isBF16();
  Value logSumBuffer = s.kernel.operandParameter(op.getLogSum());
  Value scalars = s.kernel.operandParameter(op.getScalars());
  Value dx = s.result(op.getDinput());
  int64_t padded = vocabulary.width.padded();
  SmallVector<Value> item = s.openGrid({OpFoldResult(tilesOf(s))});
  Value first = s.mul(item[0], s.index(kRows));
  vocabulary.chooseRows(first);
  Value g = s.scratch(kRows * kLanes, vocabulary.element), sum = s.scratch(kRows * padded);
  s.forLoop(s.index(0), s.index(kRows * padded), s.index(kLanes),
            [&](Value i) { s.storeFromF32(s.zeros(), sum, i); });
  SmallVector<Value> logSums, factors, gAt;
  vocabulary.loadFactors(logSumBuffer, s.load(scalars, s.index(0)), first, logSums, factors);
  for (int64_t r = 0; r < kRows; ++r)
    gAt.push_back(s.index(r * kLanes));
  s.forLoop(s.index(0), s.index(vocabulary.blocks), s.index(1), [&](Value block) {
    vocabulary.gradient(block, logSums, factors, g, gAt);
    Value from = s.mul(block, s.index(kLanes));
    // A table ends with the vocabulary; panels have zeros behind it.
    Value count = pairs ? s.index(kLanes)
                        : s.min(s.index(kLanes), s.sub(s.index(vocabulary.size), from));
    s.forLoop(s.index(0), s.index(padded), s.index(kLanes), [&](Value lane) {
      Value tableAt = pairs ? s.add(s.mul(lane, s.index(vocabulary.blocks * kLanes)),
                                    s.mul(from, s.index(kLanes)))
                            : s.add(s.mul(from, s.index(padded)), lane);
      SmallVector<Value> at, acc;
      for (int64_t r = 0; r < kRows; ++r) {
        at.push_back(s.add(lane, s.index(r * padded)));
        acc.push_back(s.loadF32(sum, at[r], kLanes));
      }
      acc = s.panelProduct(g, gAt, table, tableAt, count, acc, pairs ? kLanes : padded);
      for (int64_t r = 0; r < kRows; ++r)
        s.storeFromF32(acc[r], sum, at[r]);
    });
  });
  // Rows beyond the last have factor 0; writing them would undo the last one.
  for (int64_t r = 0; r < kRows; ++r) {
    Value row = s.add(first, s.index(r));
    s.ifThen(arith::CmpIOp::create(s.b, s.loc, arith::CmpIPredicate::ult, row,
                                   s.kernel.frame.rows),
             [&] {
               Value to = s.rowOffset(row, op.getDinput().getType());
               s.forLoop(s.index(0), s.index(padded), s.index(kLanes), [&](Value lane) {
                 s.storeFromF32(s.loadF32(sum, s.add(lane, s.index(r * padded)), kLanes), dx,
                                s.add(to, lane));
               });
             });
  }
  s.finish({{formats::Symbol::Rows, 1, kRows}});
  return success();
}

/// A work item is a lane block of the vocabulary, for all rows.
LogicalResult emitWeightGradient(SumEmitter &s, mega::LossWeightGradientOp op) {
  Vocabulary vocabulary(s, op.getInput(), op.getWeight(), op.getTargets());
  Value logSumBuffer = s.kernel.operandParameter(op.getLogSum());
  Value scalars = s.kernel.operandParameter(op.getScalars());
  Value sum = s.kernel.operandParameter(op.getDweight());
  int64_t padded = vocabulary.width.padded();
  SmallVector<Value> item = s.openGrid({s.b.getIndexAttr(vocabulary.blocks)});
  Value block = item[0];
  Value g = s.scratch(kRowBlock * kLanes, vocabulary.element), tile = s.scratch(kLanes * padded);
  s.forLoop(s.index(0), s.index(kLanes * padded), s.index(kLanes),
            [&](Value i) { s.storeFromF32(s.zeros(), tile, i); });
  Value scale = s.load(scalars, s.index(0));
  Value rows = s.kernel.frame.rows, last = s.sub(rows, s.index(1));
  s.forLoop(s.index(0), rows, s.index(kRowBlock), [&](Value from) {
    s.forLoop(s.index(0), s.index(kRowBlock), s.index(kRows), [&](Value part) {
      Value first = s.add(from, part);
      vocabulary.chooseRows(first);
      SmallVector<Value> logSums, factors, gAt;
      vocabulary.loadFactors(logSumBuffer, scale, first, logSums, factors);
      for (int64_t r = 0; r < kRows; ++r)
        gAt.push_back(s.mul(s.add(part, s.index(r)), s.index(kLanes)));
      vocabulary.gradient(block, logSums, factors, g, gAt);
    });
    s.outerProduct(tile, g, vocabulary.x, kRowBlock, padded, [&](Value r) {
      return s.rowOffset(s.min(s.add(from, r), last), op.getInput().getType());
    });
  });
  Value firstToken = s.mul(block, s.index(kLanes));
  Value count = s.min(s.index(kLanes), s.sub(s.index(vocabulary.size), firstToken));
  s.forLoop(s.index(0), s.index(padded / kLanes), s.index(1), [&](Value lanes) {
    LaneRange range = laneRange(s, vocabulary.width, lanes);
    s.forLoop(s.index(0), count, s.index(1), [&](Value j) {
      Value from = s.add(s.mul(j, s.index(padded)), s.mul(lanes, s.index(kLanes)));
      Value to = s.mul(s.add(firstToken, j), s.index(vocabulary.width.logical()));
      s.addTo(s.loadF32(tile, from, kLanes), sum, s.add(to, range.first), range.valid);
    });
  });
  s.finish({{formats::Symbol::One, vocabulary.blocks, 1}});
  return success();
}

} // namespace

LogicalResult emitLoss(SumEmitter &s, Operation *op) {
  if (auto forward = dyn_cast<mega::LinearCrossEntropyOp>(op))
    return emitForward(s, forward);
  if (auto input = dyn_cast<mega::LossInputGradientOp>(op))
    return emitInputGradient(s, input);
  return emitWeightGradient(s, cast<mega::LossWeightGradientOp>(op));
}

} // namespace otodus

//===- EmitAttentionGradients.cpp - Backward of chunk attention -------------===//
//
// Scores are computed again, twice: once by rows, for the queries, and once by lane blocks of
// keys, for keys and values; so that every sum has one owner (spec 3.7):
//
//   P = exp(S - log_sum)   dP = dO Vᵀ   dS = P ∘ (dP - dot)   dQ = dS K   dK = dSᵀ Q   dV = Pᵀ dO
//
// The open chunk has keys as columns and values as rows. mega.chunk_panels copies keys as rows and
// values as columns:
//
//           columns, S and dP: [H][C / 32][d][32 slots]      rows, dQ: [H][d / 32][C][32 features]
//   bf16    [H][C / 32][d / 2][32 slots][2 features]         [H][d / 32][C / 2][32 features][2 slots]
//
// Of bf16, products take two terms at a time (SumEmitter::pairProduct), so P and dS are rounded.
//
//===----------------------------------------------------------------------===//

#include "SumEmitter.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;

namespace otodus {
namespace {

constexpr int64_t kRows = 8; ///< rows whose scores stay in registers

int64_t blocksOf(int64_t n) { return (n + kLanes - 1) / kLanes; }

/// How keys and values of the open chunk lie (formats::StateLayout::Keys, Values).
struct Chunk {
  Chunk(SumEmitter &s, Value keys, int64_t valueFeatures) : s(s) {
    auto type = cast<RankedTensorType>(keys.getType());
    size = type.getDimSize(1);
    heads = type.getDimSize(2);
    dz = type.getDimSize(3);
    dv = valueFeatures;
    zBlocks = blocksOf(dz);
    vBlocks = blocksOf(dv);
    keyBlocks = blocksOf(size);
    element = type.getElementType();
    pairs = element.isBF16();
  }

  /// First element of the panel of key block `kb`: [features padded][32 keys].
  Value columns(Value sequence, Value head, Value kb, int64_t blocks) {
    int64_t panel = blocks * kLanes * kLanes;
    return s.add(s.mul(sequence, s.index(heads * keyBlocks * panel)),
                 s.mul(s.add(s.mul(head, s.index(keyBlocks)), kb), s.index(panel)));
  }
  /// Features [32 fb, 32 fb + 32) of slot `slot`, of `blocks` feature blocks.
  Value rows(Value sequence, Value head, Value fb, Value slot, int64_t blocks) {
    int64_t panel = keyBlocks * kLanes * kLanes;
    return s.add(s.add(s.mul(sequence, s.index(heads * blocks * panel)),
                       s.mul(s.add(s.mul(head, s.index(blocks)), fb), s.index(panel))),
                 s.mul(slot, s.index(kLanes)));
  }

  SumEmitter &s;
  int64_t size, heads, dz, dv, zBlocks, vBlocks, keyBlocks;
  Type element;
  bool pairs; ///< of bf16, along the dimension that a product sums over
};

/// Slots of the open chunk that are filled before the call.
Value openSlots(SumEmitter &s, Value positions, Value sequence, int64_t chunk) {
  Value position = memref::LoadOp::create(s.b, s.loc, positions, ValueRange{sequence});
  return s.rem(arith::IndexCastOp::create(s.b, s.loc, s.b.getIndexType(), position), chunk);
}

Value less(SumEmitter &s, Value x, Value y) {
  return arith::CmpIOp::create(s.b, s.loc, arith::CmpIPredicate::ult, x, y);
}

/// The first `count` lanes (any count, 0 if below).
Value laneMask(SumEmitter &s, Value from, Value limit) {
  // limit - from, or 0 where limit is smaller: a mask of more than 32 lanes is all of them.
  Value bigger = arith::MaxUIOp::create(s.b, s.loc, from, limit);
  return vector::CreateMaskOp::create(s.b, s.loc, VectorType::get({kLanes}, s.b.getI1Type()),
                                      s.min(s.index(kLanes), s.sub(bigger, from)));
}

Value select(SumEmitter &s, Value mask, Value yes, Value no) {
  return arith::SelectOp::create(s.b, s.loc, mask, yes, no);
}

Value laneOffsets(SumEmitter &s, int64_t stride, int64_t lanes) {
  SmallVector<int32_t> offsets;
  for (int64_t i = 0; i < lanes; ++i)
    offsets.push_back(int32_t(i * stride));
  return arith::ConstantOp::create(s.b, s.loc, s.b.getI32VectorAttr(offsets));
}

void scatter(SumEmitter &s, Value v, Value buffer, Value at, int64_t stride) {
  int64_t lanes = cast<VectorType>(v.getType()).getDimSize(0);
  auto type = VectorType::get({lanes}, s.b.getI1Type());
  Value all = arith::ConstantOp::create(s.b, s.loc, DenseElementsAttr::get(type, true));
  vector::ScatterOp::create(s.b, s.loc, /*resultType=*/Type(), buffer, ValueRange{at},
                            laneOffsets(s, stride, lanes), all, v);
}

Value gather(SumEmitter &s, Value buffer, Value at, int64_t stride) {
  auto type = VectorType::get({kLanes}, s.b.getI1Type());
  Value all = arith::ConstantOp::create(s.b, s.loc, DenseElementsAttr::get(type, true));
  return vector::GatherOp::create(s.b, s.loc, VectorType::get({kLanes}, s.f32), buffer,
                                  ValueRange{at}, laneOffsets(s, stride, kLanes), all, s.zeros());
}

/// `at` counts sequences by their elements; in a row of an activation they are a stride apart.
Value inRow(SumEmitter &s, Value activation, Value sequence, Value at, int64_t elements) {
  return s.add(s.rowOffset(sequence, activation.getType()),
               s.sub(at, s.mul(sequence, s.index(elements))));
}

//===----------------------------------------------------------------------===//
// The other layouts
//===----------------------------------------------------------------------===//

/// 32 slots of 32 features from element `fromAt` on, turned from columns to rows or back.
void turnBlock(SumEmitter &s, Value from, Value fromAt, Value to, Value toAt) {
  s.forLoop(s.index(0), s.index(kLanes), s.index(1), [&](Value i) {
    Value line = s.loadF32(from, s.add(fromAt, s.mul(i, s.index(kLanes))), kLanes);
    scatter(s, line, to, s.add(toAt, i), kLanes);
  });
}

/// The same of pairs of bf16; `to` is words of two elements, of which `toAt` counts single ones.
///
///   (a0 b0) (a1 b1) (a2 b2) …   ==>   (a0 a1) (a2 a3) … and, beside each, (b0 b1) (b2 b3) …
void turnPairs(SumEmitter &s, Value from, Value fromAt, Value to, Value toAt) {
  s.forLoop(s.index(0), s.index(kLanes), s.index(2), [&](Value i) {
    Value pairs = s.loadColumns(from, s.add(fromAt, s.mul(i, s.index(kLanes))));
    auto lines = vector::DeinterleaveOp::create(s.b, s.loc, pairs);
    Value at = s.add(s.div(toAt, 2), i);
    for (int64_t line = 0; line < 2; ++line) {
      auto type = VectorType::get({kLanes / 2}, s.b.getI32Type());
      Value words = vector::BitCastOp::create(s.b, s.loc, type, lines->getResult(line));
      scatter(s, words, to, s.add(at, s.index(line)), kLanes);
    }
  });
}

LogicalResult emitPanels(SumEmitter &s, mega::ChunkPanelsOp op) {
  Chunk chunk(s, op.getKeys(), op.getValues().getType().getDimSize(3));
  Value keys = s.kernel.operandParameter(op.getKeys());
  Value values = s.kernel.operandParameter(op.getValues());
  auto turn = chunk.pairs ? turnPairs : turnBlock;
  Type element = chunk.pairs ? Type(s.b.getI32Type()) : s.f32;
  Value keyRows = s.result(op.getKeyRows(), element);
  Value valueColumns = s.result(op.getValueColumns(), element);
  SmallVector<Value> item = s.openGrid({s.kernel.frame.batch, s.b.getIndexAttr(chunk.heads),
                                        s.b.getIndexAttr(chunk.keyBlocks)});
  Value sequence = item[0], head = item[1], kb = item[2], slot = s.mul(kb, s.index(kLanes));
  int64_t block = kLanes * kLanes;
  int64_t keyElements = chunk.heads * chunk.keyBlocks * chunk.zBlocks * block;
  int64_t valueElements = chunk.heads * chunk.keyBlocks * chunk.vBlocks * block;
  Value panel = chunk.columns(sequence, head, kb, chunk.zBlocks);
  s.forLoop(s.index(0), s.index(chunk.zBlocks), s.index(1), [&](Value zb) {
    Value to = inRow(s, op.getKeyRows(), sequence,
                     chunk.rows(sequence, head, zb, slot, chunk.zBlocks), keyElements);
    turn(s, keys, s.add(panel, s.mul(zb, s.index(block))), keyRows, to);
  });
  Value columns = inRow(s, op.getValueColumns(), sequence,
                        chunk.columns(sequence, head, kb, chunk.vBlocks), valueElements);
  s.forLoop(s.index(0), s.index(chunk.vBlocks), s.index(1), [&](Value vb) {
    Value from = chunk.rows(sequence, head, vb, slot, chunk.vBlocks);
    turn(s, values, from, valueColumns, s.add(columns, s.mul(vb, s.index(block))));
  });
  s.finish({{formats::Symbol::Batch, 1, 1},
            {formats::Symbol::One, chunk.heads, 1},
            {formats::Symbol::One, chunk.keyBlocks, 1}});
  return success();
}

//===----------------------------------------------------------------------===//
// Queries
//===----------------------------------------------------------------------===//

LogicalResult emitQueryGradient(SumEmitter &s, mega::ChunkQueryGradientOp op) {
  Chunk chunk(s, op.getKeys(), op.getOutput().getType().getDimSize(3));
  Value q = s.kernel.operandParameter(op.getQuery()), o = s.kernel.operandParameter(op.getOutput());
  Value dO = s.kernel.operandParameter(op.getDoutput());
  Value keys = s.kernel.operandParameter(op.getKeys());
  Value keyRows = s.kernel.operandParameter(op.getKeyRows());
  Value valueColumns = s.kernel.operandParameter(op.getValueColumns());
  Value positions = s.kernel.operandParameter(op.getPosition());
  Value dq = s.result(op.getDquery()), logSums = s.result(op.getLogSum()),
        dots = s.result(op.getDot());
  Value length = s.kernel.frame.length;
  Value tiles = s.div(s.add(length, s.index(kRows - 1)), kRows);
  SmallVector<Value> item =
      s.openGrid({s.kernel.frame.batch, s.b.getIndexAttr(chunk.heads), OpFoldResult(tiles)});
  Value sequence = item[0], head = item[1], first = s.mul(item[2], s.index(kRows));
  Value scores = s.scratch(chunk.keyBlocks * kRows * kLanes); // [panel][row][32]
  Value ds = s.scratch(kRows * kLanes, chunk.element);
  Value sum = s.scratch(kRows * chunk.zBlocks * kLanes);

  Value open = openSlots(s, positions, sequence, chunk.size);
  Value end = s.min(length, s.add(first, s.index(kRows)));
  Value panels = s.div(s.add(s.add(open, end), s.index(kLanes - 1)), kLanes);
  // Rows beyond the last step do the last one's work again.
  SmallVector<Value> rows, qAt, oAt, dOAt, limits;
  auto headOffset = [&](Value row, Type type) {
    int64_t padded = widthOf(type).paddedInner();
    return s.add(s.rowOffset(row, type), s.mul(head, s.index(padded)));
  };
  for (int64_t r = 0; r < kRows; ++r) {
    Value step = s.min(s.add(first, s.index(r)), s.sub(length, s.index(1)));
    rows.push_back(s.add(s.mul(sequence, length), step));
    qAt.push_back(headOffset(rows[r], op.getQuery().getType()));
    oAt.push_back(headOffset(rows[r], op.getOutput().getType()));
    dOAt.push_back(headOffset(rows[r], op.getDoutput().getType()));
    limits.push_back(s.add(s.add(open, step), s.index(1)));
  }

  Value lowest = s.splat(s.constant(-1e30), kLanes);
  SmallVector<Value> none(kRows, s.zeros());
  SmallVector<Value> maxima(kRows, lowest);
  maxima = s.reduce(s.index(0), panels, 1, maxima, [&](Value panel, ValueRange carried) {
    SmallVector<Value> tile = s.panelProduct(
        q, qAt, keys, chunk.columns(sequence, head, panel, chunk.zBlocks), s.index(chunk.dz), none);
    SmallVector<Value> next;
    for (int64_t r = 0; r < kRows; ++r) {
      Value mask = laneMask(s, s.mul(panel, s.index(kLanes)), limits[r]);
      Value score = select(s, mask, tile[r], lowest);
      Value at = s.add(s.mul(panel, s.index(kRows * kLanes)), s.index(r * kLanes));
      s.storeFromF32(score, scores, at);
      next.push_back(arith::MaxNumFOp::create(s.b, s.loc, carried[r], score));
    }
    return next;
  });
  SmallVector<Value> tops, sums(kRows, s.zeros());
  for (Value maximum : maxima)
    tops.push_back(vector::ReductionOp::create(s.b, s.loc, vector::CombiningKind::MAXNUMF, maximum,
                                               arith::FastMathFlags::nnan));
  sums = s.reduce(s.index(0), panels, 1, sums, [&](Value panel, ValueRange carried) {
    SmallVector<Value> next;
    for (int64_t r = 0; r < kRows; ++r) {
      Value at = s.add(s.mul(panel, s.index(kRows * kLanes)), s.index(r * kLanes));
      Value relative = s.subf(s.loadF32(scores, at, kLanes), s.splat(tops[r], kLanes));
      Value e = math::ExpOp::create(s.b, s.loc, relative);
      s.storeFromF32(e, scores, at);
      next.push_back(s.addf(carried[r], e));
    }
    return next;
  });

  SmallVector<Value> inverse, dot;
  for (int64_t r = 0; r < kRows; ++r) {
    Value total = s.laneSum(sums[r]);
    inverse.push_back(s.splat(
        Value(arith::DivFOp::create(s.b, s.loc, s.constant(1), total)), kLanes));
    // Logarithms have a form for vectors alone.
    Value logarithm = math::LogOp::create(s.b, s.loc, s.splat(total, kVector));
    Value logSum = s.addf(
        vector::ExtractOp::create(s.b, s.loc, logarithm, ArrayRef<int64_t>{0}), tops[r]);
    s.store(logSum, logSums, s.add(s.rowOffset(rows[r], op.getLogSum().getType()), head));
    Value product = s.reduce(s.index(0), s.index(chunk.vBlocks * kLanes), kLanes, {s.zeros()},
                             [&](Value lane, ValueRange carried) {
                               Value x = s.loadF32(o, s.add(oAt[r], lane), kLanes);
                               Value y = s.loadF32(dO, s.add(dOAt[r], lane), kLanes);
                               return SmallVector<Value>{s.fma(x, y, carried[0])};
                             })[0];
    Value scalar = s.laneSum(product);
    s.store(scalar, dots, s.add(s.rowOffset(rows[r], op.getDot().getType()), head));
    dot.push_back(s.splat(scalar, kLanes));
  }

  s.forLoop(s.index(0), s.index(kRows * chunk.zBlocks * kLanes), s.index(kLanes),
            [&](Value i) { s.storeFromF32(s.zeros(), sum, i); });
  int64_t keyElements = chunk.heads * chunk.keyBlocks * chunk.zBlocks * kLanes * kLanes;
  int64_t valueElements = chunk.heads * chunk.keyBlocks * chunk.vBlocks * kLanes * kLanes;
  s.forLoop(s.index(0), panels, s.index(1), [&](Value panel) {
    Value columns = inRow(s, op.getValueColumns(), sequence,
                          chunk.columns(sequence, head, panel, chunk.vBlocks), valueElements);
    SmallVector<Value> dp =
        s.panelProduct(dO, dOAt, valueColumns, columns, s.index(chunk.dv), none);
    SmallVector<Value> dsAt;
    for (int64_t r = 0; r < kRows; ++r) {
      Value at = s.add(s.mul(panel, s.index(kRows * kLanes)), s.index(r * kLanes));
      Value p = s.mulf(s.loadF32(scores, at, kLanes), inverse[r]);
      dsAt.push_back(s.index(r * kLanes));
      s.storeFromF32(s.mulf(p, s.subf(dp[r], dot[r])), ds, dsAt[r]);
    }
    s.forLoop(s.index(0), s.index(chunk.zBlocks), s.index(1), [&](Value zb) {
      Value slot = s.mul(panel, s.index(kLanes));
      Value block = inRow(s, op.getKeyRows(), sequence,
                          chunk.rows(sequence, head, zb, slot, chunk.zBlocks), keyElements);
      SmallVector<Value> at, acc;
      for (int64_t r = 0; r < kRows; ++r) {
        at.push_back(s.add(s.mul(zb, s.index(kLanes)), s.index(r * chunk.zBlocks * kLanes)));
        acc.push_back(s.loadF32(sum, at[r], kLanes));
      }
      acc = s.panelProduct(ds, dsAt, keyRows, block, s.index(kLanes), acc);
      for (int64_t r = 0; r < kRows; ++r)
        s.storeFromF32(acc[r], sum, at[r]);
    });
  });
  for (int64_t r = 0; r < kRows; ++r)
    s.forLoop(s.index(0), s.index(chunk.zBlocks * kLanes), s.index(kLanes), [&](Value lane) {
      Value v = s.loadF32(sum, s.add(lane, s.index(r * chunk.zBlocks * kLanes)), kLanes);
      s.storeFromF32(v, dq, s.add(headOffset(rows[r], op.getDquery().getType()), lane));
    });
  s.finish({{formats::Symbol::Batch, 1, 1},
            {formats::Symbol::One, chunk.heads, 1},
            {formats::Symbol::Length, 1, kRows}});
  return success();
}

//===----------------------------------------------------------------------===//
// Keys and values
//===----------------------------------------------------------------------===//

LogicalResult emitKeyGradient(SumEmitter &s, mega::ChunkKeyGradientOp op) {
  constexpr int64_t kRowBlock = 32;
  Chunk chunk(s, op.getKeys(), op.getDoutput().getType().getDimSize(3));
  Value q = s.kernel.operandParameter(op.getQuery());
  Value dO = s.kernel.operandParameter(op.getDoutput());
  Value logSums = s.kernel.operandParameter(op.getLogSum());
  Value dots = s.kernel.operandParameter(op.getDot());
  Value keys = s.kernel.operandParameter(op.getKeys());
  Value valueColumns = s.kernel.operandParameter(op.getValueColumns());
  Value positions = s.kernel.operandParameter(op.getPosition());
  Value dkeys = s.kernel.operandParameter(op.getDkeys());
  Value dvalues = s.kernel.operandParameter(op.getDvalues());
  Value dk = s.result(op.getDkey()), dv = s.result(op.getDvalue());
  Value length = s.kernel.frame.length;
  SmallVector<Value> item = s.openGrid({s.kernel.frame.batch, s.b.getIndexAttr(chunk.heads),
                                        s.b.getIndexAttr(chunk.keyBlocks)});
  Value sequence = item[0], head = item[1], kb = item[2], slot = s.mul(kb, s.index(kLanes));
  int64_t zWidth = chunk.zBlocks * kLanes, vWidth = chunk.vBlocks * kLanes;
  Value ps = s.scratch(kRowBlock * kLanes, chunk.element);
  Value ds = s.scratch(kRowBlock * kLanes, chunk.element);
  Value keySum = s.scratch(kLanes * zWidth), valueSum = s.scratch(kLanes * vWidth); // [key][width]

  Value open = openSlots(s, positions, sequence, chunk.size);
  Value filled = s.add(open, length);
  Value keyPanel = chunk.columns(sequence, head, kb, chunk.zBlocks);
  auto headOffset = [&](Value row, Type type) {
    int64_t padded = widthOf(type).paddedInner();
    return s.add(s.rowOffset(row, type), s.mul(head, s.index(padded)));
  };

  s.ifThen(less(s, slot, filled), [&] {
    // What later calls of this chunk saw of these keys and values.
    for (auto [sum, width] : {std::pair(keySum, zWidth), std::pair(valueSum, vWidth)})
      s.forLoop(s.index(0), s.index(kLanes * width), s.index(kLanes),
                [&](Value i) { s.storeFromF32(s.zeros(), sum, i); });
    Value still = s.rem(filled, chunk.size); // 0 if the chunk ends here
    s.ifThen(less(s, slot, still), [&] {
      Value mask = laneMask(s, slot, still);
      s.forLoop(s.index(0), s.index(chunk.dz), s.index(1), [&](Value z) {
        Value v = s.loadF32(dkeys, s.add(keyPanel, s.mul(z, s.index(kLanes))), kLanes);
        scatter(s, select(s, mask, v, s.zeros()), keySum, z, zWidth);
      });
      Value end = s.min(s.index(kLanes), s.sub(still, slot));
      s.forLoop(s.index(0), s.index(chunk.vBlocks), s.index(1), [&](Value vb) {
        s.forLoop(s.index(0), end, s.index(1), [&](Value j) {
          Value from = chunk.rows(sequence, head, vb, s.add(slot, j), chunk.vBlocks);
          Value to = s.add(s.mul(j, s.index(vWidth)), s.mul(vb, s.index(kLanes)));
          s.storeFromF32(s.loadF32(dvalues, from, kLanes), valueSum, to);
        });
      });
    });

    Value before = arith::MaxUIOp::create(s.b, s.loc, slot, open);
    Value from = s.mul(s.div(s.sub(before, open), kRowBlock), s.index(kRowBlock));
    int64_t valueElements = chunk.heads * chunk.keyBlocks * chunk.vBlocks * kLanes * kLanes;
    Value columns = inRow(s, op.getValueColumns(), sequence,
                          chunk.columns(sequence, head, kb, chunk.vBlocks), valueElements);
    Value last = s.sub(length, s.index(1)), firstRow = s.mul(sequence, length);
    s.forLoop(from, length, s.index(kRowBlock), [&](Value step) {
      s.forLoop(s.index(0), s.index(kRowBlock), s.index(kRows), [&](Value part) {
        SmallVector<Value> rows, qAt, dOAt, limits, none(kRows, s.zeros());
        for (int64_t r = 0; r < kRows; ++r) {
          Value t = s.add(s.add(step, part), s.index(r));
          rows.push_back(s.add(firstRow, s.min(t, last)));
          qAt.push_back(headOffset(rows[r], op.getQuery().getType()));
          dOAt.push_back(headOffset(rows[r], op.getDoutput().getType()));
          // Rows beyond the last step see nothing.
          Value seen = s.add(s.add(open, t), s.index(1));
          limits.push_back(select(s, less(s, t, length), seen, s.index(0)));
        }
        SmallVector<Value> scores =
            s.panelProduct(q, qAt, keys, keyPanel, s.index(chunk.dz), none);
        SmallVector<Value> dp =
            s.panelProduct(dO, dOAt, valueColumns, columns, s.index(chunk.dv), none);
        for (int64_t r = 0; r < kRows; ++r) {
          Value logSum = s.load(logSums, s.add(s.rowOffset(rows[r], op.getLogSum().getType()), head));
          Value dot = s.load(dots, s.add(s.rowOffset(rows[r], op.getDot().getType()), head));
          Value relative = s.subf(scores[r], s.splat(logSum, kLanes));
          Value e = math::ExpOp::create(s.b, s.loc, relative);
          Value p = select(s, laneMask(s, slot, limits[r]), e, s.zeros());
          Value at = s.mul(s.add(part, s.index(r)), s.index(kLanes));
          s.storeFromF32(p, ps, at);
          s.storeFromF32(s.mulf(p, s.subf(dp[r], s.splat(dot, kLanes))), ds, at);
        }
      });
      auto rowOf = [&](Type type) {
        return [&, type](Value r) {
          return headOffset(s.add(firstRow, s.min(s.add(step, r), last)), type);
        };
      };
      s.outerProduct(keySum, ds, q, kRowBlock, zWidth, rowOf(op.getQuery().getType()));
      s.outerProduct(valueSum, ps, dO, kRowBlock, vWidth, rowOf(op.getDoutput().getType()));
    });

    // Keys of this call, and those that were there before.
    Value own = s.min(s.index(kLanes), s.sub(filled, slot));
    Value old = s.min(own, s.sub(before, slot));
    s.forLoop(old, own, s.index(1), [&](Value j) {
      Value row = s.add(firstRow, s.sub(s.add(slot, j), open));
      for (auto [sum, width, result, type] :
           {std::tuple(keySum, zWidth, dk, Type(op.getDkey().getType())),
            std::tuple(valueSum, vWidth, dv, Type(op.getDvalue().getType()))}) {
        Value to = headOffset(row, type), at = s.mul(j, s.index(width));
        s.forLoop(s.index(0), s.index(width), s.index(kLanes), [&](Value lane) {
          s.storeFromF32(s.loadF32(sum, s.add(at, lane), kLanes), result, s.add(to, lane));
        });
      }
    });
    s.ifThen(less(s, slot, open), [&] {
      s.forLoop(s.index(0), s.index(chunk.dz), s.index(1), [&](Value z) {
        Value v = gather(s, keySum, z, zWidth);
        s.storeFromF32(v, dkeys, s.add(keyPanel, s.mul(z, s.index(kLanes))));
      });
      s.forLoop(s.index(0), s.index(chunk.vBlocks), s.index(1), [&](Value vb) {
        s.forLoop(s.index(0), old, s.index(1), [&](Value j) {
          Value to = chunk.rows(sequence, head, vb, s.add(slot, j), chunk.vBlocks);
          Value at = s.add(s.mul(j, s.index(vWidth)), s.mul(vb, s.index(kLanes)));
          s.storeFromF32(s.loadF32(valueSum, at, kLanes), dvalues, to);
        });
      });
    });
  });
  s.finish({{formats::Symbol::Batch, 1, 1},
            {formats::Symbol::One, chunk.heads, 1},
            {formats::Symbol::One, chunk.keyBlocks, 1}});
  return success();
}

} // namespace

LogicalResult emitAttentionGradient(SumEmitter &s, Operation *op) {
  if (auto panels = dyn_cast<mega::ChunkPanelsOp>(op))
    return emitPanels(s, panels);
  if (auto query = dyn_cast<mega::ChunkQueryGradientOp>(op))
    return emitQueryGradient(s, query);
  return emitKeyGradient(s, cast<mega::ChunkKeyGradientOp>(op));
}

} // namespace otodus

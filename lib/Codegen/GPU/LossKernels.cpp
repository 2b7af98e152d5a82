//===- LossKernels.cpp - Cross-entropy over the vocabulary -----------------===//
//
// Logits are computed a tile at a time, forward and, again, in both halves of the backward step:
// what is in memory of them is a tile in shared memory (spec 3.8). The two halves are one kernel
// with its operands exchanged: a block owns some lines of one of them (rows of x, or tokens of W)
// and walks the lines of the other,
//
//   S = owned walkedᵀ        G = scale (softmax - [v = target])        sums += G walked  
//
// with the sums of the owned lines in registers. What does not fit there is shared out by columns;
// every share computes the logits again. bf16 is multiplied by tensor cores, and so are the factors
// G, which are rounded to it; all else is f32.
//
//===----------------------------------------------------------------------===//

#include "BlockKernel.h"
#include "ProductTile.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"

using namespace mlir;

namespace otodus::gpu {
namespace {

constexpr int64_t kTerms = 32;      ///< of a stage of the logits' product

/// Lines of a matrix in global memory: rows of x or of W.
struct Lines {
  Value memref, count;
  int64_t stride = 0;
};

/// What a cut leaves open: lines that are walked at once, lines of a stage of the second product.
struct Walk {
  explicit Walk(Type element) {
    // Products are fast enough that every line brought in should meet many others.
    if (element.isBF16())
      lines = 128, part = 16, stages = 3;
  }
  int64_t lines = 64, part = 8, stages = 2;
};

/// Elements in 16 bytes: between lines, so that eight of them meet no bank twice.
int64_t padOf(Type element) { return elementsOf16Bytes(element); }

class Loss {
public:
  Loss(BlockKernel &k, const Cut &cut, Value input, Value weight, Value targets)
      : k(k), cut(cut), s(k.s), b(k.b), loc(k.loc), width(widthOf(input.getType())),
        size(cast<RankedTensorType>(weight.getType()).getDimSize(0)),
        targets(k.operand(targets)), element(getElementTypeOrSelf(input.getType())),
        pad(padOf(element)), pitch(kTerms + pad), stages(cut.stages) {
    KernelBuffer buffer;
    buffer.kind = "table";
    buffer.dtype = dtypeOf(weight.getType());
    buffer.sources = {k.kernel.operandNumber(weight)};
    buffer.rows = {1, size};
    buffer.columns = width;
    table = {k.kernel.parameter(buffer, element), Value(), width.padded()};
    x = {k.operand(input), k.rows(), rowStrideOf(width, dtypeOf(input.getType()))};
  }

  LogicalResult forward(mega::LinearCrossEntropyOp op);
  LogicalResult inputGradient(mega::LossInputGradientOp op);
  LogicalResult weightGradient(mega::LossWeightGradientOp op);

private:
  /// Where line `line` starts; lines beyond the last repeat it.
  Value lineAt(const Lines &of, Value line) {
    return s.mul(s.min(line, s.sub(of.count, s.index(1))), of.stride);
  }

  /// Leaves owned[firstOwned + i] · walked[firstWalked + j] in `scores`, and the block together.
  void product(const Lines &owned, Value firstOwned, int64_t ownedTile, const Lines &walked,
               Value firstWalked, int64_t walkedTile, Accumulator scores) {
    int64_t slotA = ownedTile * pitch, slotB = walkedTile * pitch;
    if (!ringA) {
      ringA = s.shared(stages * slotA, element, "operands0.a");
      ringB = s.shared(stages * slotB, element, "operands0.a");
      OperandTiles layout{ownedTile, pitch, walkedTile, pitch};
      auto make = element.isBF16() ? makeMmaTile : makeFmaTile;
      registers = make(ownedTile, walkedTile, kTerms, layout, k.threads(), s);
    }
    SmallVector<Value> sums = k.ring(
        s.index(width.padded() / kTerms), stages, registers->zero(),
        [&](Value step, Value slot) {
          auto bring = [&](Value ring, int64_t size, int64_t lines, const Lines &from,
                           Value first) {
            k.copyLines(ring, s.mul(slot, size), pitch, lines, kTerms, from.memref,
                        [&](Value line) {
                          return std::pair(
                              s.add(lineAt(from, s.add(first, line)), s.mul(step, kTerms)),
                              Value());
                        });
          };
          bring(ringA, slotA, ownedTile, owned, firstOwned);
          bring(ringB, slotB, walkedTile, walked, firstWalked);
        },
        [&](Value, Value slot, ValueRange carried) {
          return registers->accumulate(s.sharedPointer(ringA, s.mul(slot, slotA)),
                                       s.sharedPointer(ringB, s.mul(slot, slotB)), carried);
        });
    registers->store(sums, scores);
    s.barrier();
  }

  struct Backward {
    Lines owned, walked;
    bool ownsRows = false; ///< of x; the other half owns tokens
    Value logSum, scalars;
  };
  /// `write(line, column, sums)`: what a thread has of an owned line, which exists.
  LogicalResult backward(Operation *op, Backward plan, formats::Extent grid,
                         function_ref<void(Value, Value, Value, int64_t)> write);

  BlockKernel &k;
  const Cut cut;
  SimtBuilder &s;
  OpBuilder &b;
  Location loc;
  formats::Width width;
  int64_t size;
  Value targets;
  Type element;
  int64_t pad, pitch; ///< 16 bytes between lines, so that eight of them meet no bank twice
  int64_t stages;     ///< of the logits' product
  Lines table, x;
  Value ringA, ringB;
  std::unique_ptr<RegisterTile> registers;
};

LogicalResult Loss::forward(mega::LinearCrossEntropyOp op) {
  const int64_t ownedTile = cut.rows, tokens = cut.columns, threads = cut.threads;
  Value nll = k.result(op.getNll()), logSum = k.result(op.getLogSum());
  Value tiles = s.div(s.add(k.rows(), ownedTile - 1), ownedTile);
  SmallVector<Value> block = k.open({OpFoldResult(tiles)}, threads);
  table.count = s.index(size);
  Value first = s.mul(block[0], ownedTile);
  Accumulator scores{s.shared(ownedTile * accumulatorPitch(tokens), k.f32, "sums"),
                     accumulatorPitch(tokens)};
  // Of every row: the largest logit so far, the sum of exponentials relative to it, the target's.
  Value tops = s.shared(ownedTile, k.f32), sums = s.shared(ownedTile, k.f32);
  Value hits = s.shared(ownedTile, k.f32);
  double lowest = -std::numeric_limits<double>::infinity();
  s.loop(s.thread(), s.index(ownedTile), s.index(threads), [&](Value row) {
    s.store(s.f32(lowest), tops, row);
    s.store(s.f32(0), sums, row);
    s.store(s.f32(0), hits, row);
  });
  auto targetOf = [&](Value row) {
    Value at = s.min(s.add(first, row), s.sub(k.rows(), s.index(1)));
    return k.load(targets, at);
  };
  Value isFirst = k.equal(s.lane(), s.index(0));
  k.reduce(s.index(0), s.index(size), tokens, {}, [&](Value from, ValueRange) {
    product(x, first, ownedTile, table, from, tokens, scores);
    s.loop(s.warp(), s.index(ownedTile), s.index(threads / kWarp), [&](Value row) {
      Value top = k.load(tops, row), sum = k.load(sums, row), target = targetOf(row);
      SmallVector<Value> logits;
      Value tileTop;
      for (int64_t at = 0; at < tokens; at += kWarp) {
        Value column = s.add(s.lane(), at), token = s.add(from, column);
        Value v = k.load(scores.memref, s.add(s.mul(row, scores.pitch), column));
        s.when(k.equal(s.i32(token), target), [&] { s.store(v, hits, row); });
        if (size % tokens)
          v = k.select(s.less(token, s.index(size)), v, s.f32(lowest));
        logits.push_back(v);
        tileTop = tileTop ? Value(arith::MaxNumFOp::create(b, loc, tileTop, v)) : v;
      }
      tileTop = s.overLanes(tileTop, [&](Value p, Value q) -> Value {
        return arith::MaxNumFOp::create(b, loc, p, q);
      });
      // Every tile has a token, so newTop is finite; top is -inf before the first.
      Value newTop = arith::MaxNumFOp::create(b, loc, top, tileTop), part;
      for (Value v : logits) {
        Value e = math::ExpOp::create(b, loc, k.subf(v, newTop));
        part = part ? k.addf(part, e) : e;
      }
      part = s.overLanes(part, [&](Value p, Value q) { return k.addf(p, q); });
      Value rescale = math::ExpOp::create(b, loc, k.subf(top, newTop));
      s.warpBarrier(); // every lane has read what the first one now overwrites
      s.when(isFirst, [&] {
        s.store(newTop, tops, row);
        s.store(k.fma(sum, rescale, part), sums, row);
      });
    });
    s.barrier(); // the next product's sums lie where these were read
    return SmallVector<Value>();
  });
  s.when(s.less(s.thread(), s.min(s.sub(k.rows(), first), s.index(ownedTile))), [&] {
    Value row = s.add(first, s.thread());
    Value sum = k.addf(math::LogOp::create(b, loc, k.load(sums, s.thread())),
                       k.load(tops, s.thread()));
    if (logSum)
      s.store(sum, logSum, row);
    if (!nll)
      return;
    Value counts = arith::CmpIOp::create(b, loc, arith::CmpIPredicate::sge, k.load(targets, row),
                                         s.i32(int64_t(0)));
    s.store(k.select(counts, k.subf(sum, k.load(hits, s.thread())), s.f32(0)), nll, row);
  });
  k.close({{formats::Symbol::Rows, 1, ownedTile}});
  return success();
}

LogicalResult Loss::backward(Operation *op, Backward plan, formats::Extent grid,
                             function_ref<void(Value, Value, Value, int64_t)> write) {
  const Walk walk(element);
  const int64_t ownedTile = cut.rows, walkedTile = walk.lines, threads = cut.threads;
  int64_t shares = width.padded() / cut.columns, columns = cut.columns;
  // Tensor cores take either operand as it is written without conflicts.
  const bool alongWalked = element.isBF16();
  std::optional<OuterTile> tile =
      OuterTile::make(element, ownedTile, columns, threads, alongWalked);
  if (!tile)
    return op->emitOpError("cannot share a tile of ")
           << ownedTile << " x " << columns << " among " << threads << " threads";
  Value count = plan.ownsRows ? k.rows() : s.index(size);
  OpFoldResult tiles = b.getIndexAttr((size + ownedTile - 1) / ownedTile);
  if (plan.ownsRows)
    tiles = s.div(s.add(count, ownedTile - 1), ownedTile);
  SmallVector<Value> block = k.open({tiles, b.getIndexAttr(shares)}, threads);
  Lines owned = plan.owned, walked = plan.walked;
  owned.count = count;
  walked.count = plan.ownsRows ? s.index(size) : k.rows();
  Value first = s.mul(block[0], ownedTile), firstColumn = s.mul(block[1], columns);

  Accumulator scores{s.shared(ownedTile * accumulatorPitch(walkedTile), k.f32, "sums"),
                     accumulatorPitch(walkedTile)};
  // G: [walked][owned], or the other way round.
  const int64_t gradientPitch = (alongWalked ? walkedTile : ownedTile) + pad;
  Value gradients = s.shared((alongWalked ? ownedTile : walkedTile) * gradientPitch, element);
  auto gradientAt = [&](Value i, Value j) {
    return alongWalked ? s.add(s.mul(i, gradientPitch), j) : s.add(s.mul(j, gradientPitch), i);
  };
  // Lines of which a thread reads 16 bytes at a time need no padding.
  const int64_t linePitch = columns + (element.isBF16() ? pad : 0), slot = walk.part * linePitch;
  Value ring = s.shared(walk.stages * slot, element, "operands0.b");
  Value scale = k.load(plan.scalars, s.index(0));

  SmallVector<Value> sums = k.reduce(
      s.index(0), walked.count, walkedTile, tile->zero(k), [&](Value from, ValueRange carried) {
        product(owned, first, ownedTile, walked, from, walkedTile, scores);
        s.loop(s.thread(), s.index(ownedTile * walkedTile), s.index(threads), [&](Value at) {
          Value i = s.rem(at, ownedTile), j = s.div(at, ownedTile);
          if (alongWalked)
            i = s.div(at, walkedTile), j = s.rem(at, walkedTile);
          Value other = s.add(from, j);
          Value own = s.add(first, i);
          Value row = plan.ownsRows ? own : other, token = plan.ownsRows ? other : own;
          Value known = s.min(row, s.sub(k.rows(), s.index(1))), target = k.load(targets, known);
          Value logit = k.load(scores.memref, s.add(s.mul(i, scores.pitch), j));
          Value p = math::ExpOp::create(b, loc, k.subf(logit, k.load(plan.logSum, known)));
          p = k.subf(p, k.select(k.equal(s.i32(token), target), s.f32(1), s.f32(0)));
          // Neither targets that do not count nor lines beyond the last have a part.
          Value counts = arith::CmpIOp::create(b, loc, arith::CmpIPredicate::sge, target,
                                               s.i32(int64_t(0)));
          counts = arith::AndIOp::create(b, loc, counts, s.less(other, walked.count));
          k.store(k.select(counts, k.mulf(p, scale), s.f32(0)), gradients, gradientAt(i, j));
        });
        s.barrier();
        return k.ring(
            s.index(walkedTile / walk.part), walk.stages, carried,
            [&](Value step, Value at) {
              k.copyLines(ring, s.mul(at, slot), linePitch, walk.part, columns, walked.memref,
                          [&](Value line) {
                            Value number = s.add(from, s.add(s.mul(step, walk.part), line));
                            return std::pair(s.add(lineAt(walked, number), firstColumn), Value());
                          });
            },
            [&](Value step, Value at, ValueRange before) {
              Value first = s.mul(step, walk.part), none = s.index(0);
              return tile->accumulate(k, gradients, gradientAt(none, first), gradientPitch, ring,
                                      s.mul(at, slot), linePitch, walk.part, before);
            });
      });
  tile->each(k, sums, [&](Value line, Value column, Value v) {
    Value own = s.add(first, line);
    s.when(s.less(own, count),
           [&] { write(own, s.add(firstColumn, column), v, tile->count()); });
  });
  k.close({grid, {formats::Symbol::One, shares, 1}});
  return success();
}

LogicalResult Loss::inputGradient(mega::LossInputGradientOp op) {
  Backward plan{x, table, true, k.operand(op.getLogSum()), k.operand(op.getScalars())};
  Value dx = k.result(op.getDinput());
  return backward(op, plan, {formats::Symbol::Rows, 1, cut.rows},
                  [&](Value row, Value column, Value v, int64_t) {
                    k.store(v, dx, s.add(k.rowAt(row, op.getDinput().getType()), column));
                  });
}

LogicalResult Loss::weightGradient(mega::LossWeightGradientOp op) {
  Backward plan{table, x, false, k.operand(op.getLogSum()), k.operand(op.getScalars())};
  Value sum = k.operand(op.getDweight());
  int64_t owned = cut.rows;
  return backward(op, plan, {formats::Symbol::One, (size + owned - 1) / owned, 1},
                  [&](Value token, Value column, Value v, int64_t count) {
                    k.addColumns(v, sum, s.mul(token, width.logical()), width, column, count);
                  });
}

} // namespace

int64_t lossBytes(Operation *op, const Cut &cut) {
  Type element = getElementTypeOrSelf(op->getOperand(0).getType());
  bool forward = isa<mega::LinearCrossEntropyOp>(op);
  const Walk walk(element);
  int64_t pad = padOf(element), bytes = 16 / pad, columns = forward ? cut.columns : walk.lines;
  int64_t ring = cut.stages * (cut.rows + columns) * (kTerms + pad) * bytes;
  int64_t scores = 4 * cut.rows * accumulatorPitch(columns);
  if (forward)
    return std::max(ring, scores) + 12 * cut.rows;
  int64_t lines = walk.stages * walk.part * (cut.columns + pad) * bytes;
  int64_t factors = std::max(cut.rows * (walk.lines + pad), walk.lines * (cut.rows + pad));
  return std::max({ring, scores, lines}) + factors * bytes;
}

bool lossFits(Operation *op, const Cut &cut) {
  Type element = getElementTypeOrSelf(op->getOperand(0).getType());
  auto fits = element.isBF16() ? fitsMma : fitsFma;
  if (isa<mega::LinearCrossEntropyOp>(op)) // at the end, a thread for every row
    return cut.threads >= cut.rows && fits(cut.rows, cut.columns, cut.threads);
  return fits(cut.rows, Walk(element).lines, cut.threads) &&
         OuterTile::make(element, cut.rows, cut.columns, cut.threads);
}

LogicalResult emitLossKernel(BlockKernel &k, Operation *op) {
  FailureOr<Cut> cut = Cut::of(k.kernel.group);
  if (failed(cut))
    return failure();
  auto of = [&](auto loss) {
    return Loss(k, *cut, loss.getInput(), loss.getWeight(), loss.getTargets());
  };
  if (auto forward = dyn_cast<mega::LinearCrossEntropyOp>(op))
    return of(forward).forward(forward);
  if (auto input = dyn_cast<mega::LossInputGradientOp>(op))
    return of(input).inputGradient(input);
  auto weight = cast<mega::LossWeightGradientOp>(op);
  return of(weight).weightGradient(weight);
}

} // namespace otodus::gpu

//===- AttentionGradients.cpp - Backward of chunk attention on a GPU --------===//
//
// Scores are computed again, by rows for the queries and by keys for keys and values, so that
// every sum has one owner (spec 3.7):
//
//   P = exp(S - log_sum)    dP = dO Vᵀ    dS = P ∘ (dP - dot)
//   dQ = dS K    dK = dSᵀ Q    dV = Pᵀ dO
//
// A block has 64 rows or 64 keys of one head and walks the other ones 64 at a time. All products
// are register tiles: of fused multiply-adds in f32 (ProductFma.cpp), of mma.sync in bf16
// (ProductMma.cpp), for which P and dS are rounded; everything between the products is f32. Values
// have many more features than keys, so operands are never in shared memory as a whole: S and dP
// bring 128 or 64 bytes of features of both sides at a time, dQ, dK and dV 256 bytes of columns of
// the right one, through a ring of two stages. What a block sums up, at most 256 columns, stays in
// registers; further columns are other blocks', which compute S again.
//
//===----------------------------------------------------------------------===//

#include "Kernels.h"
#include "ProductTile.h"

#include "mlir/Dialect/Affine/IR/AffineOps.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

#include "Codegen/Common/Schedules.h"

#include <limits>
#include <map>

using namespace mlir;

namespace otodus::gpu {
namespace {

constexpr int64_t kThreads = 256;
constexpr int64_t kTile = 64;                    ///< rows or keys of a block, and of a step
constexpr int64_t kColumns = 256; ///< columns of a sum that a block's registers hold
constexpr int64_t kCopiedSlots = 16;

int64_t padded(int64_t n) { return (n + kLanes - 1) / kLanes * kLanes; }

/// The open chunk: states lie as rows [C][H][d padded], and mega.chunk_panels puts the rows of a
/// head side by side, [H][C padded][d padded].
struct Chunk {
  Chunk(Value keys, int64_t valueFeatures) {
    auto type = cast<RankedTensorType>(keys.getType());
    slots = type.getDimSize(1);
    heads = type.getDimSize(2);
    dz = padded(type.getDimSize(3));
    dv = padded(valueFeatures);
    element = type.getElementType();
  }
  /// From one sequence's state to the next, in elements of `type`: states start at multiples of 64
  /// bytes. Gradients of states are f32 whatever the states are.
  int64_t stateStride(int64_t features, Type type) const {
    int64_t unit = 4 * elementsOf16Bytes(type);
    return (slots * heads * features + unit - 1) / unit * unit;
  }

  int64_t slots, heads, dz, dv;
  Type element; ///< of keys, values and rows
};

/// A kernel for one op, and the products of its block.
class Frame {
public:
  using Pointer = llvm::function_ref<Value(Value)>;

  Frame(KernelEmitter &kernel, Chunk chunk)
      : kernel(kernel), chunk(chunk), b(kernel.b), loc(kernel.loc), s(b, loc),
        mma(chunk.element.isBF16()), wide(elementsOf16Bytes(chunk.element)) {
    // As many bytes of a line for either type, where the widths have them.
    terms = mma && chunk.dz % 64 == 0 && chunk.dv % 64 == 0 ? 64 : 32;
    slice = mma ? 128 : 64;
    // 16 bytes between lines: eight that are read together meet no bank twice.
    linePitch = terms + wide;
    slicePitch = slice + wide;
    stage = std::max(2 * kTile * linePitch, kTile * slicePitch);
  }

  SmallVector<Value> open(ArrayRef<OpFoldResult> extents) {
    SmallVector<OpFoldResult> zeros(extents.size(), b.getIndexAttr(0)),
        ones(extents.size(), b.getIndexAttr(1));
    auto grid = scf::ForallOp::create(b, loc, zeros, extents, ones, ValueRange{}, std::nullopt);
    b.setInsertionPointToStart(grid.getBody());
    s.begin();
    kernel.function->setAttr("gpu.threads", b.getI64IntegerAttr(kThreads));
    return SmallVector<Value>(grid.getInductionVars());
  }
  void close(ArrayRef<formats::Extent> extents) {
    b.setInsertionPointToEnd(&kernel.function.getBody().front());
    kernel.finish(extents);
  }
  /// The ring and the register tiles, at the start of the block's body.
  void prepareProducts() {
    Type f32 = b.getF32Type();
    ring = s.shared(2 * stage, chunk.element, "operands0");
    results = s.shared(kTile * accumulatorPitch(slice), f32, "sums");
    scores = s.shared(kTile * pitch(), f32);
    factors = mma ? s.shared(kTile * factorPitch(), chunk.element) : scores;
    auto make = mma ? makeMmaTile : makeFmaTile;
    square = make(kTile, kTile, terms, {kTile, linePitch, kTile, linePitch}, kThreads, s);
    OperandTiles slices{kTile, factorPitch(), kTile, slicePitch, true};
    for (int64_t width = kLanes; width <= slice; width *= 2)
      sliceTiles[width] = make(kTile, width, kTile, slices, kThreads, s);
  }
  static int64_t pitch() { return accumulatorPitch(kTile); }
  /// Between lines of the left side of a sum.
  int64_t factorPitch() const { return mma ? kTile + wide : pitch(); }

  /// Slots of the open chunk that are filled before the call.
  Value openSlots(Value position, Value sequence) {
    Value at = memref::LoadOp::create(b, loc, position, ValueRange{sequence});
    return s.rem(arith::IndexCastOp::create(b, loc, b.getIndexType(), at), chunk.slots);
  }
  /// Offset of a head of a row of an activation [B, L, H, d].
  Value headAt(Value row, Value head, Type type) {
    formats::Width width = otodus::widthOf(type);
    return s.add(s.mul(row, rowStrideOf(width, dtypeOf(type))), s.mul(head, width.paddedInner()));
  }
  /// Offset of a slot in what mega.chunk_panels makes.
  Value panelAt(Value sequence, Value head, Value slot, int64_t features, Type type) {
    int64_t stride = rowStrideOf(otodus::widthOf(type), dtypeOf(type));
    return s.add(s.mul(sequence, stride),
                 s.mul(s.add(s.mul(head, padded(chunk.slots)), slot), features));
  }
  Value stateAt(Value sequence, Value head, Value slot, int64_t features, Type type) {
    return s.add(s.mul(sequence, chunk.stateStride(features, type)),
                 s.mul(s.add(s.mul(slot, chunk.heads), head), features));
  }
  /// Parameter for a result of the op, all of which are read (AccumulationKernel.cpp).
  Value result(Value opResult) {
    auto yielded = kernel.group.getYield().getOperands();
    int64_t number = llvm::find(yielded, opResult) - yielded.begin();
    return kernel.resultParameter(number, getElementTypeOrSelf(opResult.getType()));
  }

  /// Starts to copy `lines` lines of `inner` elements to the ring, from element `slot` on.
  void copy(Value slot, int64_t pitch, int64_t lines, int64_t inner, Value column, Pointer line) {
    int64_t perLine = inner / wide;
    s.loop(s.thread(), s.index(lines * perLine), s.index(kThreads), [&](Value piece) {
      Value number = s.div(piece, perLine), at = s.mul(s.rem(piece, perLine), wide);
      Value to = s.add(slot, s.add(s.mul(number, pitch), at));
      Value from = s.offset(line(number), s.mul(s.add(column, at), 16 / wide));
      NVVM::CpAsyncOp::create(
          b, loc, s.sharedPointer(ring, to), from, b.getI32IntegerAttr(16),
          NVVM::LoadCacheModifierKindAttr::get(b.getContext(), NVVM::LoadCacheModifierKind::CG),
          Value());
    });
  }
  void commit() { NVVM::CpAsyncCommitGroupOp::create(b, loc); }
  /// What this thread has copied is there, then everybody's; and nobody reads the other stage.
  void landed() {
    NVVM::CpAsyncWaitGroupOp::create(b, loc, 0);
    s.barrier();
  }

  /// into[i][j] = Σ over `features` of left[i] right[j]. Pointers are to lines. Ends without
  /// a barrier for `into`; the ring is free.
  void multiply(int64_t features, Pointer left, Pointer right, Value into) {
    auto fill = [&](Value step, Value slot) {
      Value column = s.mul(step, terms);
      copy(slot, linePitch, kTile, terms, column, left);
      copy(s.add(slot, kTile * linePitch), linePitch, kTile, terms, column, right);
      commit();
    };
    fill(s.index(0), s.index(0));
    auto loop =
        scf::ForOp::create(b, loc, s.index(0), s.index(features / terms), s.index(1),
                           square->zero());
    {
      OpBuilder::InsertionGuard guard(b);
      b.setInsertionPointToStart(loop.getBody());
      Value step = loop.getInductionVar(), next = s.add(step, 1);
      landed();
      s.when(s.less(next, s.index(features / terms)),
             [&] { fill(next, s.mul(s.rem(next, 2), stage)); });
      Value slot = s.mul(s.rem(step, 2), stage);
      SmallVector<Value> sums = square->accumulate(
          s.sharedPointer(ring, slot), s.sharedPointer(ring, s.add(slot, kTile * linePitch)),
          loop.getRegionIterArgs());
      scf::YieldOp::create(b, loc, sums);
    }
    square->store(loop.getResults(), {into, pitch()});
    s.barrier();
  }

  /// Slices of `columns` columns: their widths.
  SmallVector<int64_t> slicesOf(int64_t columns) const {
    SmallVector<int64_t> widths;
    for (int64_t width = slice; width >= kLanes; width /= 2)
      for (; columns >= width; columns -= width)
        widths.push_back(width);
    return widths;
  }
  RegisterTile &sliceTile(int64_t width) { return *sliceTiles[width]; }
  SmallVector<Value> zeroSums(int64_t columns) {
    SmallVector<Value> sums;
    for (int64_t width : slicesOf(columns))
      llvm::append_range(sums, sliceTile(width).zero());
    return sums;
  }
  /// sums[i][n] += Σ over 64 j of factors[i][j] right[j][n]. The ring, `scores` and `factors` are
  /// free after it.
  SmallVector<Value> accumulate(int64_t columns, Value firstColumn, Pointer right,
                                ValueRange sums) {
    SmallVector<int64_t> widths = slicesOf(columns);
    SmallVector<Value> next;
    int64_t filled = 0; // columns
    auto fill = [&](int64_t i) {
      copy(s.index(i % 2 * stage), slicePitch, kTile, widths[i], s.add(firstColumn, filled), right);
      filled += widths[i];
      commit();
    };
    fill(0);
    for (auto [i, width] : llvm::enumerate(widths)) {
      landed();
      if (i + 1 < widths.size())
        fill(i + 1);
      size_t count = sliceTile(width).zero().size();
      llvm::append_range(next,
                         sliceTile(width).accumulate(s.sharedPointer(factors, s.index(0)),
                                                     s.sharedPointer(ring, s.index(i % 2 * stage)),
                                                     sums.slice(next.size(), count)));
    }
    s.barrier();
    return next;
  }
  /// Hands 4 columns of the first `lines` rows of `sums` at a time to `body`: row, column, values.
  void eachSum(int64_t columns, ValueRange sums, Value lines,
               function_ref<void(Value, Value, Value)> body) {
    size_t taken = 0;
    int64_t first = 0, resultPitch = accumulatorPitch(slice);
    for (int64_t width : slicesOf(columns)) {
      size_t count = sliceTile(width).zero().size();
      sliceTile(width).store(sums.slice(taken, count), {results, resultPitch});
      taken += count;
      s.barrier();
      int64_t perLine = width / 4;
      s.loop(s.thread(), s.mul(lines, perLine), s.index(kThreads), [&](Value piece) {
        Value line = s.div(piece, perLine), at = s.mul(s.rem(piece, perLine), 4);
        Value v = s.load(results, s.add(s.mul(line, resultPitch), at), 4, true);
        body(line, s.add(at, first), v);
      });
      s.barrier();
      first += width;
    }
  }
  /// factors[i][j] = body(i, j, offset in scores) for all 64 x 64 of them.
  void eachScore(function_ref<Value(Value, Value, Value)> body) {
    s.loop(s.thread(), s.index(kTile * kTile), s.index(kThreads), [&](Value number) {
      Value i = s.div(number, kTile), j = s.rem(number, kTile);
      Value v = body(i, j, s.add(s.mul(i, pitch()), j));
      store(v, factors, s.add(s.mul(i, factorPitch()), j));
    });
  }

  Value addf(Value x, Value y) { return arith::AddFOp::create(b, loc, x, y); }
  Value subf(Value x, Value y) { return arith::SubFOp::create(b, loc, x, y); }
  Value mulf(Value x, Value y) { return arith::MulFOp::create(b, loc, x, y); }
  Value exp(Value x) { return math::ExpOp::create(b, loc, x); }
  Value select(Value condition, Value x, Value y) {
    return arith::SelectOp::create(b, loc, condition, x, y);
  }
  Value atMost(Value x, Value y) {
    return arith::CmpIOp::create(b, loc, arith::CmpIPredicate::ule, x, y);
  }
  Value max(Value x, Value y) { return arith::MaxUIOp::create(b, loc, x, y); }
  /// One element, as f32.
  Value load(Value memref, Value at) {
    Value v = s.load(memref, at, 1, false);
    return v.getType().isBF16() ? Value(arith::ExtFOp::create(b, loc, b.getF32Type(), v)) : v;
  }
  void store(Value v, Value memref, Value at) {
    Type element = getElementTypeOrSelf(memref.getType());
    auto type = dyn_cast<VectorType>(v.getType());
    if (element.isBF16())
      v = arith::TruncFOp::create(b, loc, type ? Type(type.clone(element)) : element, v);
    s.store(v, memref, at);
  }
  Value equal(Value x, Value y) {
    return arith::CmpIOp::create(b, loc, arith::CmpIPredicate::eq, x, y);
  }

  KernelEmitter &kernel;
  Chunk chunk;
  OpBuilder &b;
  Location loc;
  SimtBuilder s;
  bool mma;
  int64_t wide;                     ///< elements in 16 bytes
  int64_t terms, linePitch;         ///< features of a stage; from line to line of it
  int64_t slice, slicePitch, stage; ///< the same of columns of a right side; elements of a stage
  Value ring, results;    ///< operands of products; columns of sums where these were
  Value scores, factors;  ///< f32; what becomes of them, in the type of the operands
  std::unique_ptr<RegisterTile> square;                        ///< 64 x 64, `terms` terms
  std::map<int64_t, std::unique_ptr<RegisterTile>> sliceTiles; ///< 64 x their width, 64 terms
};

//===----------------------------------------------------------------------===//
// The other layout
//===----------------------------------------------------------------------===//

LogicalResult emitPanels(KernelEmitter &kernel, mega::ChunkPanelsOp op) {
  Frame f(kernel, Chunk(op.getKeys(), op.getValues().getType().getDimSize(3)));
  SimtBuilder &s = f.s;
  Value keys = kernel.operandParameter(op.getKeys());
  Value values = kernel.operandParameter(op.getValues());
  Value keyRows = f.result(op.getKeyRows()), valueRows = f.result(op.getValueColumns());
  int64_t blocks = (f.chunk.slots + kCopiedSlots - 1) / kCopiedSlots;
  SmallVector<Value> item =
      f.open({kernel.frame.batch, f.b.getIndexAttr(f.chunk.heads), f.b.getIndexAttr(blocks)});
  Value sequence = item[0], head = item[1], first = s.mul(item[2], kCopiedSlots);
  Value count = s.min(s.index(kCopiedSlots), s.sub(s.index(f.chunk.slots), first));
  for (auto [from, to, features, type] :
       {std::tuple(keys, keyRows, f.chunk.dz, Type(op.getKeyRows().getType())),
        std::tuple(values, valueRows, f.chunk.dv, Type(op.getValueColumns().getType()))}) {
    int64_t wide = f.wide, perLine = features / wide;
    s.loop(s.thread(), s.mul(count, perLine), s.index(kThreads),
           [&, from = from, to = to, features = features, type = type](Value piece) {
             Value slot = s.add(first, s.div(piece, perLine));
             Value at = s.mul(s.rem(piece, perLine), wide);
             Value stateAt = f.stateAt(sequence, head, slot, features, f.chunk.element);
             Value v = s.load(from, s.add(stateAt, at), wide, true);
             s.store(v, to, s.add(f.panelAt(sequence, head, slot, features, type), at));
           });
  }
  f.close({{formats::Symbol::Batch, 1, 1},
           {formats::Symbol::One, f.chunk.heads, 1},
           {formats::Symbol::One, blocks, 1}});
  return success();
}

//===----------------------------------------------------------------------===//
// Queries
//===----------------------------------------------------------------------===//

LogicalResult emitQueryGradient(KernelEmitter &kernel, mega::ChunkQueryGradientOp op) {
  Frame f(kernel, Chunk(op.getKeys(), op.getOutput().getType().getDimSize(3)));
  SimtBuilder &s = f.s;
  OpBuilder &b = f.b;
  Location loc = f.loc;
  Value q = kernel.operandParameter(op.getQuery()), o = kernel.operandParameter(op.getOutput());
  Value dO = kernel.operandParameter(op.getDoutput());
  Value keyRows = kernel.operandParameter(op.getKeyRows());
  Value valueRows = kernel.operandParameter(op.getValueColumns());
  Value position = kernel.operandParameter(op.getPosition());
  Value dq = f.result(op.getDquery()), logSums = f.result(op.getLogSum());
  Value dots = f.result(op.getDot());
  const int64_t columns = shareOf(f.chunk.dz, kColumns), shares = f.chunk.dz / columns;
  Value length = kernel.frame.length;
  AffineExpr symbol = b.getAffineSymbolExpr(0);
  OpFoldResult tiles =
      affine::makeComposedFoldedAffineApply(b, loc, symbol.ceilDiv(kTile), {OpFoldResult(length)});
  SmallVector<Value> item =
      f.open({kernel.frame.batch, b.getIndexAttr(f.chunk.heads), tiles, b.getIndexAttr(shares)});
  Value sequence = item[0], head = item[1], step = s.mul(item[2], kTile);
  Value firstColumn = s.mul(item[3], columns);
  f.prepareProducts();
  Type f32 = b.getF32Type();
  Value grads = s.shared(kTile * Frame::pitch(), f32);
  Value maxima = s.shared(kTile, f32), sums = s.shared(kTile, f32), dot = s.shared(kTile, f32);

  Value limit = s.min(s.sub(length, step), s.index(kTile)), lastRow = s.sub(limit, s.index(1));
  Value firstRow = s.add(s.mul(sequence, length), step);
  Value firstKey = s.add(f.openSlots(position, sequence), step); // row r sees keys <= this + r
  Value visible = s.add(firstKey, limit), lastKey = s.sub(visible, s.index(1));
  // Rows behind the last one do its work again.
  auto rowOf = [&](Value row) { return s.add(firstRow, s.min(row, lastRow)); };
  auto pointer = [&](Value buffer, Type type) {
    return [&, buffer, type](Value row) {
      return s.globalPointer(buffer, f.headAt(rowOf(row), head, type));
    };
  };
  auto queries = pointer(q, op.getQuery().getType());
  auto gradients = pointer(dO, op.getDoutput().getType());
  Value tileFirst; // key of the tile
  auto panel = [&](Value buffer, int64_t features, Type type) {
    return [&, buffer, features, type](Value line) {
      Value key = s.min(s.add(tileFirst, line), lastKey);
      return s.globalPointer(buffer, f.panelAt(sequence, head, key, features, type));
    };
  };
  auto keysOf = panel(keyRows, f.chunk.dz, op.getKeyRows().getType());
  auto valuesOf = panel(valueRows, f.chunk.dv, op.getValueColumns().getType());
  auto isSeen = [&](Value row, Value key) {
    return f.atMost(s.add(tileFirst, key), s.add(firstKey, s.min(row, lastRow)));
  };
  const double lowest = -std::numeric_limits<double>::infinity();
  Value isFirst = f.equal(s.lane(), s.index(0));

  // The maximum of every row, and its sum of exponentials.
  s.loop(s.thread(), s.index(kTile), s.index(kThreads), [&](Value row) {
    s.store(s.f32(lowest), maxima, row);
    s.store(s.f32(0), sums, row);
  });
  s.loop(s.index(0), visible, s.index(kTile), [&](Value tile) {
    tileFirst = tile;
    f.multiply(f.chunk.dz, queries, keysOf, f.scores);
    s.loop(s.warp(), s.index(kTile), s.index(kThreads / kWarp), [&](Value row) {
      Value top = f.load(maxima, row), sum = f.load(sums, row), newTop = top, part = s.f32(0);
      SmallVector<Value> score;
      for (int64_t at = 0; at < kTile; at += kWarp) {
        Value key = s.add(s.lane(), at);
        Value v = f.load(f.scores, s.add(s.mul(row, Frame::pitch()), key));
        score.push_back(f.select(isSeen(row, key), v, s.f32(lowest)));
      }
      auto larger = [&](Value x, Value y) -> Value {
        return arith::MaxNumFOp::create(b, loc, x, y);
      };
      // Every row sees the first key, so this is finite; `top` is not before it.
      newTop = larger(top, s.overLanes(larger(score[0], score[1]), larger));
      for (Value v : score)
        part = f.addf(part, f.exp(f.subf(v, newTop)));
      part = s.overLanes(part, [&](Value x, Value y) { return f.addf(x, y); });
      Value total = f.addf(f.mulf(sum, f.exp(f.subf(top, newTop))), part);
      s.warpBarrier(); // every lane has read what the first one now overwrites
      s.when(isFirst, [&] {
        s.store(newTop, maxima, row);
        s.store(total, sums, row);
      });
    });
    s.barrier();
  });

  // Their logarithms take the place of the maxima.
  Value writes = f.equal(item[3], s.index(0));
  s.loop(s.warp(), s.index(kTile), s.index(kThreads / kWarp), [&](Value row) {
    Value oAt = f.headAt(rowOf(row), head, op.getOutput().getType());
    Value dOAt = f.headAt(rowOf(row), head, op.getDoutput().getType());
    auto loop = scf::ForOp::create(b, loc, s.lane(), s.index(f.chunk.dv), s.index(kWarp),
                                   ValueRange{s.f32(0)});
    {
      OpBuilder::InsertionGuard guard(b);
      b.setInsertionPointToStart(loop.getBody());
      Value at = loop.getInductionVar();
      Value sum = math::FmaOp::create(b, loc, f.load(o, s.add(oAt, at)),
                                      f.load(dO, s.add(dOAt, at)), loop.getRegionIterArgs()[0]);
      scf::YieldOp::create(b, loc, sum);
    }
    Value product = s.overLanes(loop.getResult(0), [&](Value x, Value y) { return f.addf(x, y); });
    Value top = f.load(maxima, row), sum = f.load(sums, row);
    Value logSum = f.addf(math::LogOp::create(b, loc, sum), top);
    s.warpBarrier();
    s.when(isFirst, [&] {
      s.store(product, dot, row);
      s.store(logSum, maxima, row);
      Value exists = arith::AndIOp::create(b, loc, writes, s.less(row, limit));
      s.when(exists, [&] {
        auto at = [&](Type type) {
          int64_t stride = rowStrideOf(otodus::widthOf(type), dtypeOf(type));
          return s.add(s.mul(rowOf(row), stride), head);
        };
        s.store(logSum, logSums, at(op.getLogSum().getType()));
        s.store(product, dots, at(op.getDot().getType()));
      });
    });
  });
  s.barrier();

  auto loop = scf::ForOp::create(b, loc, s.index(0), visible, s.index(kTile), f.zeroSums(columns));
  {
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(loop.getBody());
    tileFirst = loop.getInductionVar();
    f.multiply(f.chunk.dz, queries, keysOf, f.scores);
    f.multiply(f.chunk.dv, gradients, valuesOf, grads);
    f.eachScore([&](Value row, Value key, Value at) -> Value {
      Value e = f.exp(f.subf(f.load(f.scores, at), f.load(maxima, row)));
      Value p = f.select(isSeen(row, key), e, s.f32(0));
      return f.mulf(p, f.subf(f.load(grads, at), f.load(dot, row)));
    });
    scf::YieldOp::create(b, loc,
                         f.accumulate(columns, firstColumn, keysOf, loop.getRegionIterArgs()));
  }
  f.eachSum(columns, loop.getResults(), limit, [&](Value row, Value column, Value v) {
    Value to = f.headAt(s.add(firstRow, row), head, op.getDquery().getType());
    f.store(v, dq, s.add(to, s.add(firstColumn, column)));
  });
  f.close({{formats::Symbol::Batch, 1, 1},
           {formats::Symbol::One, f.chunk.heads, 1},
           {formats::Symbol::Length, 1, kTile},
           {formats::Symbol::One, shares, 1}});
  return success();
}

//===----------------------------------------------------------------------===//
// Keys and values
//===----------------------------------------------------------------------===//

class KeyGradient : Frame {
public:
  KeyGradient(KernelEmitter &kernel, mega::ChunkKeyGradientOp op)
      : Frame(kernel, Chunk(op.getKeys(), op.getDoutput().getType().getDimSize(3))), op(op) {}

  LogicalResult emit() {
    q = kernel.operandParameter(op.getQuery());
    dO = kernel.operandParameter(op.getDoutput());
    logSums = kernel.operandParameter(op.getLogSum());
    dots = kernel.operandParameter(op.getDot());
    keys = kernel.operandParameter(op.getKeys());
    valueRows = kernel.operandParameter(op.getValueColumns());
    Value position = kernel.operandParameter(op.getPosition());
    Value dkeys = kernel.operandParameter(op.getDkeys());
    Value dvalues = kernel.operandParameter(op.getDvalues());
    Value dk = result(op.getDkey()), dv = result(op.getDvalue());
    length = kernel.frame.length;
    // Shares of the keys' columns stand in front: they take longest, since only they need dP.
    int64_t keyColumns = shareOf(chunk.dz, kColumns), valueColumns = shareOf(chunk.dv, kColumns);
    int64_t keyShares = chunk.dz / keyColumns, shares = keyShares + chunk.dv / valueColumns;
    int64_t tiles = (chunk.slots + kTile - 1) / kTile;
    SmallVector<Value> item = open({b.getIndexAttr(shares), kernel.frame.batch,
                                    b.getIndexAttr(chunk.heads), b.getIndexAttr(tiles)});
    sequence = item[1], head = item[2], first = s.mul(item[3], kTile);
    prepareProducts();
    grads = s.shared(kTile * pitch(), b.getF32Type());
    rowLogs = s.shared(kTile, b.getF32Type());
    rowDots = s.shared(kTile, b.getF32Type());
    before = openSlots(position, sequence);
    filled = s.add(before, length);
    s.when(s.less(first, filled), [&] {
      auto choice = scf::IfOp::create(b, loc, s.less(item[0], s.index(keyShares)),
                                      /*withElseRegion=*/true);
      OpBuilder::InsertionGuard guard(b);
      b.setInsertionPointToStart(choice.thenBlock());
      walk(true, keyColumns, s.mul(item[0], keyColumns), chunk.dz, dkeys, dk,
           op.getDkey().getType());
      b.setInsertionPointToStart(choice.elseBlock());
      walk(false, valueColumns, s.mul(s.sub(item[0], s.index(keyShares)), valueColumns), chunk.dv,
           dvalues, dv, op.getDvalue().getType());
    });
    close({{formats::Symbol::One, shares, 1},
           {formats::Symbol::Batch, 1, 1},
           {formats::Symbol::One, chunk.heads, 1},
           {formats::Symbol::One, tiles, 1}});
    return success();
  }

private:
  /// dK or dV of this block's keys: `columns` columns from `firstColumn` on of `features`. What
  /// later calls of the chunk saw of them is in `state`; keys from before this call go back there,
  /// those of this call to `rows`.
  void walk(bool isKeys, int64_t columns, Value firstColumn, int64_t features, Value state,
            Value rows, Type type) {
    Value lastKey = s.sub(filled, s.index(1)), lastStep = s.sub(length, s.index(1));
    auto keyOf = [&](Value line) { return s.min(s.add(first, line), lastKey); };
    auto keyLine = [&](Value line) {
      return s.globalPointer(keys, stateAt(sequence, head, keyOf(line), chunk.dz, chunk.element));
    };
    auto valueLine = [&](Value line) {
      return s.globalPointer(valueRows, panelAt(sequence, head, keyOf(line), chunk.dv,
                                                op.getValueColumns().getType()));
    };
    Value tileFirst; // step of the tile
    auto rowOf = [&](Value row) {
      return s.add(s.mul(sequence, length), s.min(s.add(tileFirst, row), lastStep));
    };
    auto queryLine = [&](Value row) {
      return s.globalPointer(q, headAt(rowOf(row), head, op.getQuery().getType()));
    };
    auto gradientLine = [&](Value row) {
      return s.globalPointer(dO, headAt(rowOf(row), head, op.getDoutput().getType()));
    };
    Value from = s.sub(max(first, before), before); // the first step that sees a key of the block
    auto loop = scf::ForOp::create(b, loc, from, length, s.index(kTile), zeroSums(columns));
    {
      OpBuilder::InsertionGuard guard(b);
      b.setInsertionPointToStart(loop.getBody());
      tileFirst = loop.getInductionVar();
      s.loop(s.thread(), s.index(kTile), s.index(kThreads), [&](Value row) {
        auto at = [&](Type type) {
          int64_t stride = rowStrideOf(otodus::widthOf(type), dtypeOf(type));
          return s.add(s.mul(rowOf(row), stride), head);
        };
        s.store(load(logSums, at(op.getLogSum().getType())), rowLogs, row);
        if (isKeys)
          s.store(load(dots, at(op.getDot().getType())), rowDots, row);
      });
      multiply(chunk.dz, keyLine, queryLine, scores);
      if (isKeys)
        multiply(chunk.dv, valueLine, gradientLine, grads);
      eachScore([&](Value key, Value row, Value at) -> Value {
        Value step = s.add(tileFirst, row);
        Value seen = arith::AndIOp::create(b, loc, s.less(step, length),
                                           atMost(s.add(first, key), s.add(before, step)));
        Value v = exp(subf(load(scores, at), load(rowLogs, row)));
        v = select(seen, v, s.f32(0));
        if (isKeys)
          v = mulf(v, subf(load(grads, at), load(rowDots, row)));
        return v;
      });
      Pointer right = isKeys ? Pointer(queryLine) : Pointer(gradientLine);
      scf::YieldOp::create(b, loc,
                           accumulate(columns, firstColumn, right, loop.getRegionIterArgs()));
    }

    Value still = s.rem(filled, chunk.slots); // 0 if the chunk ends here
    Value count = s.min(s.index(kTile), s.sub(filled, first));
    eachSum(columns, loop.getResults(), count, [&](Value line, Value column, Value v) {
      Value slot = s.add(first, line), at = s.add(firstColumn, column);
      Value inState = s.add(stateAt(sequence, head, slot, features, b.getF32Type()), at);
      auto later = scf::IfOp::create(b, loc, TypeRange{v.getType()}, s.less(slot, still),
                                     /*withElseRegion=*/true);
      {
        OpBuilder::InsertionGuard guard(b);
        b.setInsertionPointToStart(later.thenBlock());
        scf::YieldOp::create(b, loc, addf(s.load(state, inState, 4, true), v));
        b.setInsertionPointToStart(later.elseBlock());
        scf::YieldOp::create(b, loc, v);
      }
      auto old = scf::IfOp::create(b, loc, s.less(slot, before), /*withElseRegion=*/true);
      OpBuilder::InsertionGuard guard(b);
      b.setInsertionPointToStart(old.thenBlock());
      s.store(later.getResult(0), state, inState);
      b.setInsertionPointToStart(old.elseBlock());
      Value row = s.add(s.mul(sequence, length), s.sub(slot, before));
      store(later.getResult(0), rows, s.add(headAt(row, head, type), at));
    });
  }

  mega::ChunkKeyGradientOp op;
  Value q, dO, logSums, dots, keys, valueRows;
  Value sequence, head, first; ///< first: slot of the block's first key
  Value before, filled;        ///< slots filled before and after the call
  Value length, grads, rowLogs, rowDots;
};

} // namespace
} // namespace otodus::gpu

namespace otodus {

LogicalResult emitGpuAttentionGradient(KernelEmitter &kernel, Operation *op) {
  if (auto panels = dyn_cast<mega::ChunkPanelsOp>(op))
    return gpu::emitPanels(kernel, panels);
  if (auto query = dyn_cast<mega::ChunkQueryGradientOp>(op))
    return gpu::emitQueryGradient(kernel, query);
  return gpu::KeyGradient(kernel, cast<mega::ChunkKeyGradientOp>(op)).emit();
}

} // namespace otodus

//===- AttentionKernel.cpp - Append to the open chunk and attend -----------===//
//
// Keys and values of the open chunk lie as rows [C][H][d padded]. What earlier calls left there is read there, what is new
// from the rows of this call; so every block can add its own new rows to the chunk, and waits for
// none. A block takes R new steps of one head and a share of the value columns, and walks the visible
// keys in tiles:
//
//   S = Q Kᵀ     m' = max(m, S)     P = exp(S - m')     l = l exp(m - m') + Σ P
//   O = O exp(m - m') + P V         at the end O / l
//
// With one row (decoding) scores of all keys fit in shared memory, and warps share the keys out; on chips
// with clusters those of several blocks, which in the end add up what each of them has (m, l, O) through
// distributed shared memory:
//
//   m' = max over the blocks of m     l' = Σ l exp(m - m')     O' = Σ O exp(m - m')
//
//===----------------------------------------------------------------------===//

#include "Codegen/Common/Epilogue.h"
#include "Kernels.h"
#include "ProductTile.h"

#include "mlir/Dialect/Affine/IR/AffineOps.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

#include <limits>

using namespace mlir;

namespace otodus::gpu {
namespace {

mega::ChunkAttentionOp attentionOf(mega::GroupOp group) {
  return cast<mega::ChunkAttentionOp>(group.getBody(0)->front());
}

int64_t padded(int64_t n) { return (n + kLanes - 1) / kLanes * kLanes; }

struct Sizes {
  explicit Sizes(mega::ChunkAttentionOp op)
      : heads(op.getQuery().getType().getDimSize(2)),
        dz(padded(op.getQuery().getType().getDimSize(3))),
        dv(padded(op.getValue().getType().getDimSize(3))), chunk(op.getChunk()),
        element(op.getKeys().getType().getElementType()),
        bytes(element.getIntOrFloatBitWidth() / 8) {}
  /// Elements of one sequence's keys or values, rounded to 64 bytes.
  int64_t keysOfSequence() const { return roundUp(chunk * heads * dz); }
  int64_t valuesOfSequence() const { return roundUp(chunk * heads * dv); }
  int64_t roundUp(int64_t n) const { return (n * bytes + 63) / 64 * 64 / bytes; }

  int64_t heads, dz, dv, chunk;
  Type element;
  int64_t bytes;
};

/// What a kernel begins with.
class Frame {
public:
  Frame(mega::GroupOp group, ModuleOp module, const std::string &name, int64_t rowTile)
      : op(attentionOf(group)), sizes(op), kernel(group, module, name, rowTile), b(kernel.b),
        loc(kernel.loc), s(b, loc) {}

  void openGrid(ArrayRef<OpFoldResult> extents, int64_t threads) {
    SmallVector<OpFoldResult> zeros(extents.size(), b.getIndexAttr(0)),
        ones(extents.size(), b.getIndexAttr(1));
    grid = scf::ForallOp::create(b, loc, zeros, extents, ones, ValueRange{}, std::nullopt);
    b.setInsertionPointToStart(grid.getBody());
    s.begin();
    kernel.function->setAttr("gpu.threads", b.getI64IntegerAttr(threads));
    sequence = grid.getInductionVars()[0];
    Value start = memref::LoadOp::create(b, loc, kernel.operandParameter(op.getPosition()),
                                         ValueRange{sequence});
    open = s.rem(arith::IndexCastOp::create(b, loc, b.getIndexType(), start), sizes.chunk);
  }

  func::FuncOp close(ArrayRef<formats::Extent> extents) {
    b.setInsertionPointToEnd(&kernel.function.getBody().front());
    kernel.finish(extents);
    return kernel.function;
  }

  int64_t strideOf(Value model) {
    return rowStrideOf(otodus::widthOf(model.getType()), dtypeOf(model.getType()));
  }

  mega::ChunkAttentionOp op;
  Sizes sizes;
  KernelEmitter kernel;
  OpBuilder &b;
  Location loc;
  SimtBuilder s;
  scf::ForallOp grid;
  Value sequence, open; ///< open: steps of the open chunk before this call
};

//===----------------------------------------------------------------------===//
// attend
//===----------------------------------------------------------------------===//

class Attend : public Frame {
public:
  Attend(mega::GroupOp group, ModuleOp module, const std::string &name, int64_t rowTile,
         const Epilogue &epilogue)
      : Frame(group, module, name, rowTile), epilogue(epilogue), rows(rowTile) {}

  FailureOr<func::FuncOp> run() {
    mega::ScheduleAttr schedule = gpuScheduleOf(kernel.group, rows);
    kernel.function->setAttr("mega.schedule", schedule);
    columns = *schedule.getColumnBlock();
    keyTile = *schedule.getKTile();
    threads = *schedule.getThreads();
    cluster = schedule.getCluster().value_or(1);
    if (cluster > 1)
      kernel.function->setAttr("gk.cluster", b.getI64IntegerAttr(cluster));
    q = kernel.operandParameter(op.getQuery());
    keys = kernel.operandParameter(op.getKeys());
    values = kernel.operandParameter(op.getValues());
    kernel.operandParameter(op.getPosition());
    newKeys = kernel.operandParameter(op.getKey());
    newValues = kernel.operandParameter(op.getValue());
    for (Value input : epilogue.inputs())
      others.push_back(kernel.operandParameter(input));
    out = kernel.resultParameter(epilogue.result(), getElementTypeOrSelf(op.getOutput().getType()));
    AffineExpr length = b.getAffineSymbolExpr(0);
    OpFoldResult rowTiles = affine::makeComposedFoldedAffineApply(
        b, loc, length.ceilDiv(rows), {OpFoldResult(kernel.frame.length)});
    int64_t shares = sizes.dv / columns;
    openGrid({kernel.frame.batch, b.getIndexAttr(sizes.heads), rowTiles, b.getIndexAttr(shares),
              b.getIndexAttr(cluster)},
             threads);
    rank = cluster > 1 ? Value(grid.getInductionVars()[4]) : s.index(0);
    head = grid.getInductionVars()[1];
    Value step = s.mul(grid.getInductionVars()[2], rows);
    firstColumn = s.mul(grid.getInductionVars()[3], columns);
    limit = s.min(s.sub(kernel.frame.length, step), s.index(rows));
    firstRow = s.add(s.mul(sequence, kernel.frame.length), step);
    firstKey = s.add(open, step); // row r sees keys <= firstKey + r
    visible = s.add(firstKey, limit);
    if (cluster > 1)
      s.when(s.equal(rank, s.index(0)), [&] { append(); });
    else
      append();
    LogicalResult done = rows == 1 ? emitOneRow() : emitTiles();
    if (failed(done))
      return kernel.function.erase(), failure();
    return close({{formats::Symbol::Batch, 1, 1},
                  {formats::Symbol::One, sizes.heads, 1},
                  {formats::Symbol::Length, 1, rows},
                  {formats::Symbol::One, shares, 1},
                  {formats::Symbol::One, cluster, 1}});
  }

private:
  // Flat indices of rows: of the query and output, and of a key or value of this head.
  Value queryAt(Value row) {
    return s.add(s.mul(s.add(firstRow, row), strideOf(op.getQuery())), s.mul(head, sizes.dz));
  }
  Value outAt(Value row) {
    return s.add(s.add(s.mul(s.add(firstRow, row), strideOf(op.getOutput())),
                       s.mul(head, sizes.dv)),
                 firstColumn);
  }
  Value keyAt(Value key) {
    return s.add(s.mul(sequence, sizes.keysOfSequence()),
                 s.add(s.mul(key, sizes.heads * sizes.dz), s.mul(head, sizes.dz)));
  }
  Value valueAt(Value key) {
    return s.add(s.add(s.mul(sequence, sizes.valuesOfSequence()),
                       s.add(s.mul(key, sizes.heads * sizes.dv), s.mul(head, sizes.dv))),
                 firstColumn);
  }

  // Where a key or value is to be read: in the chunk, or among the rows of this call.
  Value keyPointer(Value key) {
    return newer(key, s.globalPointer(keys, keyAt(key)),
                 s.globalPointer(newKeys, s.add(s.mul(newRow(key), strideOf(op.getKey())),
                                                s.mul(head, sizes.dz))));
  }
  Value valuePointer(Value key) {
    return newer(key, s.globalPointer(values, valueAt(key)),
                 s.globalPointer(newValues,
                                 s.add(s.add(s.mul(newRow(key), strideOf(op.getValue())),
                                             s.mul(head, sizes.dv)),
                                       firstColumn)));
  }
  Value newRow(Value key) {
    return s.add(s.mul(sequence, kernel.frame.length), s.sub(key, open));
  }
  Value newer(Value key, Value old, Value fresh) {
    return LLVM::SelectOp::create(b, loc, s.less(key, open), old, fresh);
  }

  /// This block's rows of new values, and where its columns are the first ones of new keys too, join
  /// the chunk.
  void append() {
    int64_t count = 16 / sizes.bytes;
    auto move = [&](int64_t width, function_ref<Value(Value)> from, Value to,
                    function_ref<Value(Value)> at) {
      int64_t perLine = width / count;
      s.loop(s.thread(), s.mul(limit, perLine), s.index(threads), [&](Value piece) {
        Value key = s.add(firstKey, s.div(piece, perLine));
        Value column = s.mul(s.rem(piece, perLine), count);
        auto type = VectorType::get({count}, sizes.element);
        Value v = LLVM::LoadOp::create(b, loc, type, s.offset(from(key), s.mul(column, sizes.bytes)),
                                       16);
        s.store(v, to, s.add(at(key), column));
      });
    };
    move(columns, [&](Value key) { return valuePointer(key); }, values,
         [&](Value key) { return valueAt(key); });
    Value first = arith::CmpIOp::create(b, loc, arith::CmpIPredicate::eq, firstColumn, s.index(0));
    s.when(first, [&] {
      move(sizes.dz, [&](Value key) { return keyPointer(key); }, keys,
           [&](Value key) { return keyAt(key); });
    });
  }

  /// Copies `lines` rows of `inner` elements to shared memory, rows `pitch` apart. `from`: pointer
  /// to a row.
  void copy(Value shared, int64_t pitch, int64_t lines, int64_t inner,
            function_ref<Value(Value)> from) {
    int64_t count = 16 / sizes.bytes, perLine = inner / count;
    s.loop(s.thread(), s.index(lines * perLine), s.index(threads), [&](Value piece) {
      Value line = s.div(piece, perLine), at = s.mul(s.rem(piece, perLine), count);
      NVVM::CpAsyncOp::create(
          b, loc, s.sharedPointer(shared, s.add(s.mul(line, pitch), at)),
          s.offset(from(line), s.mul(at, sizes.bytes)), b.getI32IntegerAttr(16),
          NVVM::LoadCacheModifierKindAttr::get(b.getContext(), NVVM::LoadCacheModifierKind::CG),
          Value());
    });
  }
  void landed() {
    NVVM::CpAsyncCommitGroupOp::create(b, loc);
    NVVM::CpAsyncWaitGroupOp::create(b, loc, 0);
    s.barrier();
  }

  Value exp(Value x) { return math::ExpOp::create(b, loc, x); }
  Value addf(Value x, Value y) { return arith::AddFOp::create(b, loc, x, y); }
  Value subf(Value x, Value y) { return arith::SubFOp::create(b, loc, x, y); }
  Value mulf(Value x, Value y) { return arith::MulFOp::create(b, loc, x, y); }
  Value maxf(Value x, Value y) { return arith::MaxNumFOp::create(b, loc, x, y); }
  Value sumOverLanes(Value v) {
    return s.overLanes(v, [&](Value x, Value y) { return addf(x, y); });
  }
  Value maxOverLanes(Value v) {
    return s.overLanes(v, [&](Value x, Value y) { return maxf(x, y); });
  }
  Value narrow(Value v) {
    if (sizes.element.isF32())
      return v;
    auto vector = dyn_cast<VectorType>(v.getType());
    return arith::TruncFOp::create(b, loc, vector ? Type(vector.clone(sizes.element)) : sizes.element,
                                   v);
  }
  Value wide(Value v) {
    Type type = v.getType();
    Type f32 = b.getF32Type();
    if (getElementTypeOrSelf(type).isF32())
      return v;
    auto vector = dyn_cast<VectorType>(type);
    return arith::ExtFOp::create(b, loc, vector ? Type(vector.clone(f32)) : f32, v);
  }
  /// Visible keys score, others -inf.
  Value masked(Value score, Value key, Value row) {
    Value last = s.add(firstKey, row);
    Value seen = arith::CmpIOp::create(b, loc, arith::CmpIPredicate::ule, key, last);
    return arith::SelectOp::create(b, loc, seen, score,
                                   s.f32(-std::numeric_limits<double>::infinity()));
  }

  /// Stores `count` columns of the output, `v` in f32, after what follows attention.
  void finish(Value v, Value at, int64_t count) {
    SmallVector<Value> wideOthers;
    for (Value other : others)
      wideOthers.push_back(wide(s.load(other, at, count, count > 1)));
    v = narrow(epilogue.emit(b, loc, v, wideOthers));
    s.store(v, out, at);
  }

  /// All blocks of the cluster have come this far, and see what the others have written before.
  void clusterBarrier() {
    NVVM::ClusterArriveOp::create(b, loc, b.getUnitAttr());
    NVVM::ClusterWaitOp::create(b, loc, b.getUnitAttr());
  }
  /// Element `at` of what block `of` of the cluster has in its `shared`, f32.
  Value loadFrom(int64_t of, Value shared, Value at) {
    Value own = s.sharedPointer(shared, at);
    Value other = NVVM::MapaOp::create(b, loc, LLVM::LLVMPointerType::get(b.getContext(), 7), own,
                                       s.i32(of));
    return LLVM::LoadOp::create(b, loc, b.getF32Type(), other, 4);
  }

  LogicalResult emitTiles();
  LogicalResult emitOneRow();
  void addUpWarps(Value top, Value partial, Value totals);

  const Epilogue &epilogue;
  SmallVector<Value> others; ///< what the epilogue reads
  int64_t rows, columns = 0, keyTile = 0, threads = 0, cluster = 1;
  Value rank; ///< of the block in its cluster
  Value q, keys, values, newKeys, newValues, out, head, firstColumn, limit, firstRow, firstKey, visible;
};

LogicalResult Attend::emitTiles() {
  bool mma = !sizes.element.isF32();
  auto fits = mma ? fitsMma : fitsFma;
  if (!fits(rows, keyTile, threads) || !fits(rows, columns, threads))
    return op.emitOpError("cannot share tiles of ")
           << rows << " rows, " << keyTile << " keys and " << columns << " value columns among "
           << threads << " threads; change row_tiles, k_tile, column_block or threads of the "
           << "group's schedule";
  int64_t pad = 16 / sizes.bytes, pitchZ = sizes.dz + pad, pitchP = keyTile + pad,
          pitchV = columns + pad, pitchS = accumulatorPitch(keyTile);
  Type f32 = b.getF32Type();
  const char *tiles = "operands0";
  Value qTile = s.shared(rows * pitchZ, sizes.element, tiles);
  Value kTile = s.shared(keyTile * pitchZ, sizes.element, tiles);
  Value vTile = s.shared(keyTile * pitchV, sizes.element, tiles);
  Value pTile = s.shared(rows * pitchP, sizes.element, tiles);
  Accumulator scores{s.shared(rows * pitchS, f32, tiles), pitchS};
  Accumulator result{s.shared(rows * accumulatorPitch(columns), f32, "sums"),
                     accumulatorPitch(columns)};
  Value maxima = s.shared(rows, f32), sums = s.shared(rows, f32), factors = s.shared(rows, f32);

  OperandTiles forScores{rows, pitchZ, keyTile, pitchZ, false};
  OperandTiles forValues{rows, pitchP, keyTile, pitchV, true};
  auto make = mma ? makeMmaTile : makeFmaTile;
  std::unique_ptr<RegisterTile> s1 = make(rows, keyTile, sizes.dz, forScores, threads, s);
  std::unique_ptr<RegisterTile> s2 = make(rows, columns, keyTile, forValues, threads, s);

  Value lastRow = s.sub(limit, s.index(1)), lastKey = s.sub(visible, s.index(1));
  copy(qTile, pitchZ, rows, sizes.dz,
       [&](Value row) { return s.globalPointer(q, queryAt(s.min(row, lastRow))); });
  s.loop(s.thread(), s.index(rows), s.index(threads), [&](Value row) {
    s.store(s.f32(-std::numeric_limits<double>::infinity()), maxima, row);
    s.store(s.f32(0), sums, row);
  });

  auto loop = scf::ForOp::create(b, loc, s.index(0), visible, s.index(keyTile), s2->zero());
  {
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(loop.getBody());
    Value first = loop.getInductionVar();
    auto key = [&](Value line) { return s.min(s.add(first, line), lastKey); };
    copy(kTile, pitchZ, keyTile, sizes.dz, [&](Value line) { return keyPointer(key(line)); });
    copy(vTile, pitchV, keyTile, columns, [&](Value line) { return valuePointer(key(line)); });
    landed();
    Value zero = s.index(0);
    s1->store(s1->accumulate(s.sharedPointer(qTile, zero), s.sharedPointer(kTile, zero),
                             s1->zero()),
              scores);
    s.barrier();
    s.loop(s.warp(), s.index(rows), s.index(threads / kWarp), [&](Value row) {
      Value top = s.load(maxima, row, 1, false), sum = s.load(sums, row, 1, false);
      SmallVector<Value> score;
      Value tileTop;
      for (int64_t at = 0; at < keyTile; at += kWarp) {
        Value column = s.add(s.lane(), at);
        Value v = s.load(scores.memref, s.add(s.mul(row, pitchS), column), 1, false);
        score.push_back(masked(v, s.add(first, column), s.min(row, lastRow)));
        tileTop = tileTop ? maxf(tileTop, score.back()) : score.back();
      }
      Value newTop = maxf(top, maxOverLanes(tileTop));
      Value part;
      for (auto [i, v] : llvm::enumerate(score)) {
        // The sum is over what the second product sees, rounded or not.
        Value p = narrow(exp(subf(v, newTop)));
        s.store(p, pTile, s.add(s.mul(row, pitchP), s.add(s.lane(), int64_t(i) * kWarp)));
        part = part ? addf(part, wide(p)) : wide(p);
      }
      Value total = sumOverLanes(part);
      // Every row sees the first key, so newTop is finite; top is -inf before it.
      Value factor = exp(subf(top, newTop));
      Value isFirst = arith::CmpIOp::create(b, loc, arith::CmpIPredicate::eq, s.lane(),
                                            s.index(0));
      s.warpBarrier(); // every lane has read what the first one now overwrites
      s.when(isFirst, [&] {
        s.store(newTop, maxima, row);
        s.store(factor, factors, row);
        s.store(addf(mulf(sum, factor), total), sums, row);
      });
    });
    s.barrier();
    SmallVector<Value> scaled = s2->scaleRows(loop.getRegionIterArgs(), factors);
    SmallVector<Value> next = s2->accumulate(s.sharedPointer(pTile, zero),
                                             s.sharedPointer(vTile, zero), scaled);
    s.barrier();
    scf::YieldOp::create(b, loc, next);
  }
  s2->store(loop.getResults(), result);
  s.barrier();
  int64_t count = columns >= 256 ? 8 : columns >= 128 ? 4 : 2;
  s.loop(s.warp(), limit, s.index(threads / kWarp), [&](Value row) {
    Value total = s.load(sums, row, 1, false);
    s.loop(s.mul(s.lane(), count), s.index(columns), s.index(kWarp * count), [&](Value column) {
      Value v = s.load(result.memref, s.add(s.mul(row, result.pitch), column), count, true);
      v = arith::DivFOp::create(
          b, loc, v, Value(vector::BroadcastOp::create(b, loc, v.getType(), total)));
      finish(v, s.add(outAt(row), column), count);
    });
  });
  return success();
}

LogicalResult Attend::emitOneRow() {
  Type f32 = b.getF32Type();
  const int64_t warps = threads / kWarp, count = 16 / sizes.bytes;
  auto vectorType = VectorType::get({count}, f32);
  // Key k belongs to warp k mod (warps of the cluster): its block has its score at a place of its own.
  const int64_t stride = warps * cluster;
  Value firstOwn = s.add(s.warp(), s.mul(rank, warps));
  auto place = [&](Value key) {
    return cluster == 1 ? key : s.add(s.div(s.sub(key, firstOwn), cluster), s.warp());
  };
  Value query = s.shared(sizes.dz, f32),
        scores = s.shared((sizes.chunk + stride - 1) / stride * warps, f32);
  Value partial = s.shared(warps * columns, f32), tops = s.shared(warps, f32),
        totals = s.shared(warps, f32);
  s.loop(s.thread(), s.index(sizes.dz), s.index(threads), [&](Value at) {
    s.store(wide(s.load(q, s.add(queryAt(s.index(0)), at), 1, false)), query, at);
  });
  s.barrier();
  Value isFirst = arith::CmpIOp::create(b, loc, arith::CmpIPredicate::eq, s.lane(), s.index(0));

  // Scores: a warp per key; each warp keeps the largest of its own.
  auto keysLoop = scf::ForOp::create(b, loc, firstOwn, visible, s.index(stride),
                                     ValueRange{s.f32(-std::numeric_limits<double>::infinity())});
  {
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(keysLoop.getBody());
    Value key = keysLoop.getInductionVar();
    Value zero = arith::ConstantOp::create(b, loc, b.getZeroAttr(vectorType));
    auto dot = scf::ForOp::create(b, loc, s.mul(s.lane(), count), s.index(sizes.dz),
                                  s.index(kWarp * count), ValueRange{zero});
    {
      OpBuilder::InsertionGuard inner(b);
      b.setInsertionPointToStart(dot.getBody());
      Value at = dot.getInductionVar();
      Value k = wide(LLVM::LoadOp::create(b, loc, VectorType::get({count}, sizes.element),
                                          s.offset(keyPointer(key), s.mul(at, sizes.bytes)), 16));
      Value x = s.load(query, at, count, true);
      Value sum = math::FmaOp::create(b, loc, x, k, dot.getRegionIterArgs()[0]);
      scf::YieldOp::create(b, loc, sum);
    }
    Value sum = vector::ExtractOp::create(b, loc, dot.getResult(0), 0);
    for (int64_t i = 1; i < count; ++i)
      sum = addf(sum, vector::ExtractOp::create(b, loc, dot.getResult(0), i));
    sum = sumOverLanes(sum);
    s.when(isFirst, [&] { s.store(sum, scores, place(key)); });
    scf::YieldOp::create(b, loc, maxf(keysLoop.getRegionIterArgs()[0], sum));
  }
  s.when(isFirst, [&] { s.store(keysLoop.getResult(0), tops, s.warp()); });
  s.barrier();
  Value top = s.load(tops, s.index(0), 1, false);
  for (int64_t w = 1; w < warps; ++w)
    top = maxf(top, s.load(tops, s.index(w), 1, false));

  // Each warp the values of its own keys; lanes along the columns.
  const int64_t perLane = columns >= kWarp * count ? count : columns / kWarp;
  auto partType = VectorType::get({perLane}, f32);
  SmallVector<Value> start{s.f32(0)};
  for (int64_t c = 0; c < columns; c += kWarp * perLane)
    start.push_back(arith::ConstantOp::create(b, loc, b.getZeroAttr(partType)));
  Value mine = s.mul(s.lane(), perLane);
  auto valuesLoop = scf::ForOp::create(b, loc, firstOwn, visible, s.index(stride), start);
  {
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(valuesLoop.getBody());
    Value key = valuesLoop.getInductionVar();
    Value p = wide(narrow(exp(subf(s.load(scores, place(key), 1, false), top))));
    SmallVector<Value> next{addf(valuesLoop.getRegionIterArgs()[0], p)};
    Value factor = vector::BroadcastOp::create(b, loc, partType, p);
    for (int64_t c = 0; c < columns; c += kWarp * perLane) {
      Value v = wide(LLVM::LoadOp::create(
          b, loc, VectorType::get({perLane}, sizes.element),
          s.offset(valuePointer(key), s.mul(s.add(mine, c), sizes.bytes)),
          std::min<int64_t>(16, perLane * sizes.bytes)));
      next.push_back(math::FmaOp::create(
          b, loc, factor, v, valuesLoop.getRegionIterArgs()[1 + c / (kWarp * perLane)]));
    }
    scf::YieldOp::create(b, loc, next);
  }
  s.when(isFirst, [&] { s.store(valuesLoop.getResult(0), totals, s.warp()); });
  for (int64_t c = 0; c < columns; c += kWarp * perLane)
    s.store(valuesLoop.getResult(1 + c / (kWarp * perLane)), partial,
            s.add(s.mul(s.warp(), columns), s.add(mine, c)));
  s.barrier();
  addUpWarps(top, partial, totals);
  return success();
}

/// From what the warps have, `partial` [warps][columns] and `totals` [warps], to the output; `top` is the
/// block's.
void Attend::addUpWarps(Value top, Value partial, Value totals) {
  const int64_t warps = threads / kWarp;
  auto overWarps = [&](Value shared, Value at, int64_t pitch) {
    Value sum = s.load(shared, at, 1, false);
    for (int64_t w = 1; w < warps; ++w)
      sum = addf(sum, s.load(shared, s.add(at, w * pitch), 1, false));
    return sum;
  };
  auto write = [&](Value sum, Value total, Value column) {
    finish(arith::DivFOp::create(b, loc, sum, total), s.add(outAt(s.index(0)), column), 1);
  };
  if (cluster == 1) {
    s.loop(s.thread(), s.index(columns), s.index(threads), [&](Value column) {
      write(overWarps(partial, column, columns), overWarps(totals, s.index(0), 1), column);
    });
    return;
  }
  Type f32 = b.getF32Type();
  Value sums = s.shared(columns, f32), factors = s.shared(2, f32);
  s.loop(s.thread(), s.index(columns), s.index(threads), [&](Value column) {
    s.store(overWarps(partial, column, columns), sums, column);
  });
  s.when(s.equal(s.thread(), s.index(0)), [&] {
    s.store(top, factors, s.index(0));
    s.store(overWarps(totals, s.index(0), 1), factors, s.index(1));
  });
  clusterBarrier();
  int64_t share = columns / cluster;
  s.loop(s.thread(), s.index(share), s.index(threads), [&](Value i) {
    Value column = s.add(s.mul(rank, share), i);
    // A block without a key has -inf and zeros; the first key belongs to block 0.
    SmallVector<Value> blockTops;
    Value largest;
    for (int64_t r = 0; r < cluster; ++r) {
      blockTops.push_back(loadFrom(r, factors, s.index(0)));
      largest = largest ? maxf(largest, blockTops.back()) : blockTops.back();
    }
    Value sum, total;
    for (int64_t r = 0; r < cluster; ++r) {
      Value factor = exp(subf(blockTops[r], largest));
      Value partSum = mulf(factor, loadFrom(r, sums, column));
      Value partTotal = mulf(factor, loadFrom(r, factors, s.index(1)));
      sum = sum ? addf(sum, partSum) : partSum;
      total = total ? addf(total, partTotal) : partTotal;
    }
    write(sum, total, column);
  });
  clusterBarrier(); // nobody leaves while others read
}

} // namespace
} // namespace otodus::gpu

namespace otodus {

FailureOr<func::FuncOp> emitGpuAttentionKernel(mega::GroupOp group, ModuleOp module,
                                               const std::string &name, int64_t rowTile) {
  FailureOr<Epilogue> epilogue = Epilogue::of(group);
  if (failed(epilogue))
    return failure();
  return gpu::Attend(group, module, name, rowTile, *epilogue).run();
}

} // namespace otodus

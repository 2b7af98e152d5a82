//===- BlockKernel.cpp - A kernel written block by block -------------------===//

#include "BlockKernel.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Utils/StaticValueUtils.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;

namespace otodus::gpu {

//===----------------------------------------------------------------------===//
// Frame
//===----------------------------------------------------------------------===//

SmallVector<Value> BlockKernel::open(ArrayRef<OpFoldResult> bounds, int64_t threads) {
  threads_ = threads;
  SmallVector<OpFoldResult> lower(bounds.size(), b.getIndexAttr(0)),
      steps(bounds.size(), b.getIndexAttr(1));
  auto grid = scf::ForallOp::create(b, loc, lower, bounds, steps, ValueRange{}, std::nullopt);
  b.setInsertionPointToStart(grid.getBody());
  s.begin();
  return llvm::to_vector(grid.getInductionVars());
}

void BlockKernel::close(ArrayRef<formats::Extent> grid) {
  b.setInsertionPointToEnd(&kernel.function.getBody().front());
  kernel.function->setAttr("gpu.threads", b.getI64IntegerAttr(threads_));
  kernel.finish(grid);
}

Value BlockKernel::result(Value opResult) {
  for (auto [i, yielded] : llvm::enumerate(kernel.group.getYield().getOperands()))
    if (yielded == opResult)
      return kernel.resultParameter(i, getElementTypeOrSelf(opResult.getType()));
  return {};
}

Value BlockKernel::rowAt(Value row, Type type) {
  return s.mul(row, rowStrideOf(widthOf(type), dtypeOf(type)));
}

FailureOr<Cut> Cut::of(mega::GroupOp group) {
  mega::ScheduleAttr schedule = group.getScheduleAttr();
  if (!schedule || !schedule.getRowBlock() || !schedule.getColumnBlock() || !schedule.getKTile() ||
      !schedule.getStages() || !schedule.getThreads())
    return group.emitOpError("expects a schedule of row_block, column_block, k_tile, stages and "
                             "threads, which otodus-choose-gpu-schedule gives it");
  return Cut{*schedule.getRowBlock(), *schedule.getColumnBlock(), *schedule.getKTile(),
             *schedule.getStages(), *schedule.getThreads()};
}

//===----------------------------------------------------------------------===//
// Small builders
//===----------------------------------------------------------------------===//

static int64_t countOf(Value v) {
  auto type = dyn_cast<VectorType>(v.getType());
  return type ? type.getDimSize(0) : 1;
}

Value BlockKernel::splat(Value scalar, int64_t count) {
  if (count == 1 || isa<VectorType>(scalar.getType()))
    return scalar;
  return vector::BroadcastOp::create(b, loc, VectorType::get({count}, scalar.getType()), scalar);
}

Value BlockKernel::zeros(int64_t count) {
  if (count == 1)
    return s.f32(0);
  return arith::ConstantOp::create(b, loc, b.getZeroAttr(VectorType::get({count}, f32)));
}

Value BlockKernel::element(Value vector, int64_t i) {
  return isa<VectorType>(vector.getType())
             ? Value(vector::ExtractOp::create(b, loc, vector, i))
             : vector;
}

template <typename Op> static Value binary(BlockKernel &k, Value x, Value y) {
  int64_t count = std::max(countOf(x), countOf(y));
  return Op::create(k.b, k.loc, k.splat(x, count), k.splat(y, count));
}
Value BlockKernel::addf(Value x, Value y) { return binary<arith::AddFOp>(*this, x, y); }
Value BlockKernel::subf(Value x, Value y) { return binary<arith::SubFOp>(*this, x, y); }
Value BlockKernel::mulf(Value x, Value y) { return binary<arith::MulFOp>(*this, x, y); }
Value BlockKernel::fma(Value x, Value y, Value z) {
  int64_t count = std::max({countOf(x), countOf(y), countOf(z)});
  return math::FmaOp::create(b, loc, splat(x, count), splat(y, count), splat(z, count));
}

Value BlockKernel::equal(Value x, Value y) {
  return arith::CmpIOp::create(b, loc, arith::CmpIPredicate::eq, x, y);
}
Value BlockKernel::select(Value condition, Value x, Value y) {
  return arith::SelectOp::create(b, loc, condition, x, y);
}

Value BlockKernel::load(Value memref, Value at, int64_t count) {
  Value v = s.load(memref, at, count, count > 1);
  if (!getElementTypeOrSelf(v.getType()).isBF16())
    return v;
  return arith::ExtFOp::create(b, loc, count > 1 ? Type(VectorType::get({count}, f32)) : f32, v);
}

void BlockKernel::store(Value v, Value memref, Value at) {
  Type element = getElementTypeOrSelf(memref.getType());
  if (element.isBF16()) {
    auto type = dyn_cast<VectorType>(v.getType());
    v = arith::TruncFOp::create(b, loc, type ? Type(type.clone(element)) : element, v);
  }
  s.store(v, memref, at);
}

SmallVector<Value>
BlockKernel::reduce(Value from, Value to, int64_t step, ValueRange carried,
                    function_ref<SmallVector<Value>(Value, ValueRange)> body) {
  auto loop = scf::ForOp::create(b, loc, from, to, s.index(step), carried);
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(loop.getBody());
  SmallVector<Value> next = body(loop.getInductionVar(), loop.getRegionIterArgs());
  if (!carried.empty()) // otherwise the loop has its terminator already
    scf::YieldOp::create(b, loc, next);
  return llvm::to_vector_of<Value>(loop.getResults());
}

//===----------------------------------------------------------------------===//
// Memory
//===----------------------------------------------------------------------===//

void BlockKernel::addColumns(Value v, Value buffer, Value base, formats::Width width, Value column,
                             int64_t count) {
  int64_t padded = width.paddedInner();
  Value group = s.div(column, padded), inner = s.rem(column, padded);
  if (width.groups == 1)
    group = s.index(0), inner = column;
  Value at = s.add(base, s.add(s.mul(group, width.inner), inner));
  auto add = [&](Value part, Value to, int64_t n) {
    s.store(addf(load(buffer, to, n), part), buffer, to);
  };
  bool whole = width.inner % kLanes == 0;
  if (width.inner % count == 0) {
    // All of the columns are padding or none is, and their place is aligned.
    if (whole)
      add(v, at, count);
    else
      s.when(s.less(inner, s.index(width.inner)), [&] { add(v, at, count); });
    return;
  }
  for (int64_t i = 0; i < count; ++i)
    s.when(s.less(s.add(inner, i), s.index(width.inner)),
           [&] { add(element(v, i), s.add(at, i), 1); });
}

void BlockKernel::copyLines(Value shared, Value slot, int64_t pitch, int64_t lines, int64_t inner,
                            Value from,
                            function_ref<std::pair<Value, Value>(Value)> at) {
  int64_t count = elementsOf16Bytes(getElementTypeOrSelf(from.getType()));
  int64_t perLine = inner / count, pieces = lines * perLine;
  for (int64_t i = 0; i < pieces; i += threads_) {
    Value piece = s.add(s.thread(), i);
    auto copy = [&] {
      Value line = s.div(piece, perLine), column = s.mul(s.rem(piece, perLine), count);
      auto [start, there] = at(line);
      Value bytes = there ? select(there, s.i32(16), s.i32(int64_t(0))) : Value();
      NVVM::CpAsyncOp::create(
          b, loc, s.sharedPointer(shared, s.add(slot, s.add(s.mul(line, pitch), column))),
          s.globalPointer(from, s.add(start, column)), b.getI32IntegerAttr(16),
          NVVM::LoadCacheModifierKindAttr::get(b.getContext(), NVVM::LoadCacheModifierKind::CG),
          bytes);
    };
    if (i + threads_ <= pieces)
      copy();
    else
      s.when(s.less(piece, s.index(pieces)), copy);
  }
}

SmallVector<Value>
BlockKernel::ring(Value steps, int64_t stages, ValueRange carried,
                  function_ref<void(Value, Value)> fill,
                  function_ref<SmallVector<Value>(Value, Value, ValueRange)> use) {
  auto fillStep = [&](Value step, Value slot) {
    auto known = getConstantIntValue(step), all = getConstantIntValue(steps);
    if (!known || !all)
      s.when(s.less(step, steps), [&] { fill(step, slot); });
    else if (*known < *all)
      fill(step, slot);
    NVVM::CpAsyncCommitGroupOp::create(b, loc);
  };
  for (int64_t i = 0; i < stages - 1; ++i)
    fillStep(s.index(i), s.index(i));
  SmallVector<Value> results =
      reduce(s.index(0), steps, 1, carried, [&](Value step, ValueRange before) {
        NVVM::CpAsyncWaitGroupOp::create(b, loc, stages - 2);
        // Everybody's copies of this step have landed, and nobody reads the slot that is next to
        // be written any more.
        s.barrier();
        Value next = s.add(step, stages - 1);
        fillStep(next, s.rem(next, stages));
        return use(step, s.rem(step, stages), before);
      });
  NVVM::CpAsyncWaitGroupOp::create(b, loc, 0);
  s.barrier();
  return results;
}

//===----------------------------------------------------------------------===//
// Outer products
//===----------------------------------------------------------------------===//

std::optional<OuterTile> OuterTile::make(Type element, int64_t rows, int64_t columns,
                                         int64_t threads, bool aAlongTerms) {
  std::optional<OuterTile> best;
  if (element.isBF16()) {
    if (!fitsMma(rows, columns, threads))
      return std::nullopt;
    best.emplace();
    best->mma = true;
    best->aAlongTerms = aAlongTerms;
    best->rows = rows;
    best->columns = columns;
    best->perColumn = 2; // of a fragment
    return best;
  }
  int64_t bestLoads = 0;
  for (int64_t across = 1; across <= threads; across *= 2) {
    if (threads % across)
      continue;
    OuterTile tile;
    tile.across = across;
    tile.down = threads / across;
    auto share = [](int64_t size, int64_t by, int64_t &vector, int64_t &pieces) {
      if (size % by)
        return false;
      vector = size / by % 4 == 0 ? 4 : size / by % 2 == 0 ? 2 : 1;
      pieces = size / by / vector;
      return true;
    };
    if (!share(rows, tile.down, tile.perRow, tile.rowPieces) ||
        !share(columns, across, tile.perColumn, tile.columnPieces))
      continue;
    // Reads of a term: those of A are the same for neighbouring threads.
    int64_t loads = tile.rowPieces + 4 * tile.columnPieces;
    if (!best || loads < bestLoads) {
      best = tile;
      bestLoads = loads;
    }
  }
  return best;
}

std::unique_ptr<RegisterTile> OuterTile::fragments(BlockKernel &k, int64_t aPitch, int64_t bPitch,
                                                   int64_t terms) const {
  OperandTiles layout{rows, aPitch, columns, bPitch, /*bAlongColumns=*/true};
  layout.aAlongRows = !aAlongTerms;
  return makeMmaTile(rows, columns, terms, layout, k.threads(), k.s);
}

SmallVector<Value> OuterTile::zero(BlockKernel &k) const {
  if (mma)
    return fragments(k, 0, 0, 0)->zero();
  return SmallVector<Value>(rowPieces * perRow * columnPieces, k.zeros(perColumn));
}

SmallVector<Value> OuterTile::accumulate(BlockKernel &k, Value a, Value aAt, int64_t aPitch,
                                         Value bTile, Value bAt, int64_t bPitch, int64_t terms,
                                         ValueRange sums) const {
  SimtBuilder &s = k.s;
  if (mma)
    return fragments(k, aPitch, bPitch, terms)
        ->accumulate(s.sharedPointer(a, aAt), s.sharedPointer(bTile, bAt), sums);
  Value x = s.rem(s.thread(), across), y = s.div(s.thread(), across);
  Value aBase = s.add(aAt, s.mul(y, perRow)), bBase = s.add(bAt, s.mul(x, perColumn));
  return k.reduce(s.index(0), s.index(terms), 1, sums, [&](Value term, ValueRange carried) {
    SmallVector<Value> left, right, next;
    Value aTerm = s.add(aBase, s.mul(term, aPitch)), bTerm = s.add(bBase, s.mul(term, bPitch));
    for (int64_t i = 0; i < rowPieces; ++i)
      left.push_back(k.load(a, s.add(aTerm, i * down * perRow), perRow));
    for (int64_t j = 0; j < columnPieces; ++j)
      right.push_back(k.load(bTile, s.add(bTerm, j * across * perColumn), perColumn));
    for (int64_t i = 0; i < rowPieces * perRow; ++i)
      for (int64_t j = 0; j < columnPieces; ++j)
        next.push_back(k.fma(k.element(left[i / perRow], i % perRow), right[j],
                             carried[i * columnPieces + j]));
    return next;
  });
}

void OuterTile::each(BlockKernel &k, ValueRange sums,
                     function_ref<void(Value, Value, Value)> body) const {
  SimtBuilder &s = k.s;
  if (mma)
    return fragments(k, 0, 0, 0)->each(sums, body);
  Value x = s.rem(s.thread(), across), y = s.div(s.thread(), across);
  for (int64_t i = 0; i < rowPieces * perRow; ++i) {
    Value row = s.add(s.mul(y, perRow), i / perRow * down * perRow + i % perRow);
    for (int64_t j = 0; j < columnPieces; ++j)
      body(row, s.add(s.mul(x, perColumn), j * across * perColumn), sums[i * columnPieces + j]);
  }
}

} // namespace otodus::gpu

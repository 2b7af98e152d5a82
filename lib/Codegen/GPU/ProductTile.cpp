//===- ProductTile.cpp - The ring of operand tiles in shared memory --------===//

#include "ProductRoles.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;

namespace otodus::gpu {

ProductForm formFor(const Chip &chip, Type element, int64_t rows, int64_t columns,
                    int64_t threads) {
  if (rows <= kDotRows)
    return ProductForm::Dot;
  if (element.isF32())
    return ProductForm::Fma;
  if (chip.matrixUnit == MatrixUnit::WarpGroup && fitsWgmma(rows, columns, threads))
    return ProductForm::Wgmma;
  return ProductForm::Mma;
}

//===----------------------------------------------------------------------===//
// Shapes
//===----------------------------------------------------------------------===//

std::optional<ProductTile> ProductTile::match(linalg::GenericOp op) {
  if (op.getNumReductionLoops() == 0 || op.getNumDpsInputs() != 2 || op.getNumDpsInits() != 1 ||
      op.getNumParallelLoops() < 4)
    return std::nullopt;
  auto *yield = op.getBody()->getTerminator();
  auto sum = yield->getOperand(0).getDefiningOp<arith::AddFOp>();
  if (!sum || !sum.getRhs().getDefiningOp<arith::MulFOp>())
    return std::nullopt;
  ProductTile tile;
  tile.op = op;
  SmallVector<int64_t> loops = op.getStaticLoopRanges();
  if (llvm::any_of(loops, ShapedType::isDynamic) || loops[0] != 1)
    return std::nullopt;
  tile.rows = loops[1];
  tile.columns = tile.terms = 1;
  SmallVector<utils::IteratorType> kinds = op.getIteratorTypesArray();
  for (size_t d = 2; d < loops.size(); ++d) {
    bool term = kinds[d] == utils::IteratorType::reduction;
    (term ? tile.termSizes : tile.columnSizes).push_back(loops[d]);
    (term ? tile.terms : tile.columns) *= loops[d];
  }
  tile.element = getElementTypeOrSelf(op.getDpsInputOperand(0)->get().getType());
  return tile;
}

static SmallVector<Axis> loopsAt(const ProductTile &tile, Axis row, ArrayRef<Axis> columns,
                                 ArrayRef<Axis> terms) {
  SmallVector<Axis> loops{Axis::fixed(0), row};
  llvm::append_range(loops, columns);
  llvm::append_range(loops, terms);
  return loops;
}

SmallVector<Axis> ProductTile::leftAt(Value row, Value term, int64_t count) const {
  SmallVector<Axis> none(columnSizes.size(), Axis::fixed(0));
  linalg::GenericOp generic = op;
  return TileEvaluator::apply(
      generic.getMatchingIndexingMap(generic.getDpsInputOperand(0)),
      loopsAt(*this, Axis::at(row), none, digits(term, termSizes, count)));
}

SmallVector<Axis> ProductTile::rightAt(Value column, Value term, int64_t count,
                                       bool alongColumns) const {
  linalg::GenericOp generic = op;
  return TileEvaluator::apply(
      generic.getMatchingIndexingMap(generic.getDpsInputOperand(1)),
      loopsAt(*this, Axis::fixed(0), digits(column, columnSizes, alongColumns ? count : 1),
              digits(term, termSizes, alongColumns ? 1 : count)));
}

//===----------------------------------------------------------------------===//
// Operand tiles
//===----------------------------------------------------------------------===//

static int64_t widthOf(Type element) { return element.getIntOrFloatBitWidth() / 8; }

bool liesAcross(const ProductTile &tile, SimtBuilder &s, TileEvaluator &values) {
  linalg::GenericOp op = tile.op;
  std::optional<Place> place = values.placeOf(op.getDpsInputOperand(1)->get());
  int64_t count = 16 / widthOf(tile.element);
  return place && !values.contiguous(*place, tile.rightAt(s.index(0), s.index(0), count, false));
}

OperandTiles operandTiles(const ProductTile &tile, ProductForm form, int64_t termTile,
                          bool bAlongColumns) {
  OperandTiles layout;
  layout.swizzled = form == ProductForm::Wgmma;
  int64_t pad = layout.swizzled ? 0 : 16 / widthOf(tile.element);
  layout.aRows = tile.rows;
  layout.aPitch = termTile + pad;
  layout.bAlongColumns = bAlongColumns;
  layout.bRows = bAlongColumns ? termTile : tile.columns;
  layout.bPitch = (bAlongColumns ? tile.columns : termTile) + pad;
  return layout;
}

/// Pieces of 16 bytes of a 128-byte line of banks are permuted by the line.
Value swizzled(Value line, Value position, int64_t pitch, int64_t width, SimtBuilder &s) {
  int64_t bytes = pitch * width, pieces = bytes / 16;
  Value by = s.rem(s.div(line, 128 / bytes), pieces);
  Value piece = arith::XOrIOp::create(s.b, s.loc, s.div(position, 16 / width), by);
  return s.mul(piece, 16 / width);
}

void RegisterTile::store(ValueRange sums, Accumulator c) {
  each(sums, [&](Value row, Value column, Value v) {
    s.store(v, c.memref, s.add(s.mul(row, c.pitch), column));
  });
}

FailureOr<Accumulator> emitProducts(ArrayRef<ProductTile> tiles, const ProductPlan &plan,
                                    Value limit, bool overlayC, SimtBuilder &s,
                                    TileEvaluator &values) {
  Accumulator c;
  c.pitch = accumulatorPitch(tiles.front().columns);
  c.memref = s.shared(tiles.front().rows * c.pitch, s.b.getF32Type(), overlayC ? "sums" : "");
  LogicalResult done = plan.form == ProductForm::Dot
                           ? emitDotProducts(tiles, plan, limit, c, s, values)
                       : plan.roles ? emitRoleProducts(tiles, plan, c, s)
                           : emitTiledProducts(tiles, plan, limit, c, s, values);
  if (failed(done))
    return failure();
  s.barrier();
  return c;
}

namespace {

/// Copies tiles of one operand to shared memory, all threads together.
class OperandCopy {
public:
  OperandCopy(SimtBuilder &s, TileEvaluator &values, Value tensor, int64_t lines, int64_t inner,
              int64_t pitch, bool swizzled, int64_t threads)
      : s(s), values(values), tensor(tensor), lines(lines), inner(inner), pitch(pitch),
        isSwizzled(swizzled), threads(threads), element(getElementTypeOrSelf(tensor.getType())),
        count(16 / widthOf(element)) {}

  /// `at`: coordinates of 16 bytes from (line, position) on.
  LogicalResult emit(Value shared, Value slot, function_ref<SmallVector<Axis>(Value, Value)> at) {
    int64_t perLine = inner / count, pieces = lines * perLine;
    LogicalResult result = success();
    for (int64_t i = 0; i < pieces; i += threads) {
      Value piece = s.add(s.thread(), i);
      Value line = s.div(piece, perLine), position = s.mul(s.rem(piece, perLine), count);
      auto copy = [&] {
        SmallVector<Axis> axes = at(line, position);
        Value placed = isSwizzled ? swizzled(line, position, pitch, widthOf(element), s) : position;
        Value to = s.add(slot, s.add(s.mul(line, pitch), placed));
        std::optional<Place> place = values.placeOf(tensor);
        bool global = place && !cast<MemRefType>(place->memref.getType()).getMemorySpace();
        if (global && values.contiguous(*place, axes)) {
          NVVM::CpAsyncOp::create(s.b, s.loc, s.sharedPointer(shared, to),
                                  s.globalPointer(place->memref, values.address(*place, axes)),
                                  s.b.getI32IntegerAttr(16),
                                  NVVM::LoadCacheModifierKindAttr::get(
                                      s.b.getContext(), NVVM::LoadCacheModifierKind::CG),
                                  Value());
          return;
        }
        Value v = values.evaluate(tensor, axes, count);
        if (!v) {
          result = failure();
          return;
        }
        s.store(values.widen(v, count), shared, to);
      };
      if (i + threads <= pieces)
        copy();
      else
        s.when(s.less(piece, s.index(pieces)), copy);
    }
    return result;
  }

private:
  SimtBuilder &s;
  TileEvaluator &values;
  Value tensor;
  int64_t lines, inner, pitch;
  bool isSwizzled;
  int64_t threads;
  Type element;
  int64_t count;
};

} // namespace

namespace {

/// One product through a ring of tiles of its operands, on top of `sums`.
class TiledProduct {
public:
  TiledProduct(const ProductTile &tile, const ProductPlan &plan, Value limit, SimtBuilder &s,
               TileEvaluator &values, const std::string &overlay)
      : tile(tile), plan(plan), s(s), values(values), lastRow(s.sub(limit, s.index(1))) {
    linalg::GenericOp op = tile.op;
    left = op.getDpsInputOperand(0)->get();
    right = op.getDpsInputOperand(1)->get();
    count = 16 / widthOf(tile.element);
    // B is brought in along whichever of its dimensions is contiguous.
    layout = operandTiles(tile, plan.form, plan.termTile, liesAcross(tile, s, values));
    aSlot = layout.aRows * layout.aPitch;
    bSlot = layout.bRows * layout.bPitch;
    int64_t alignment = layout.swizzled ? 1024 : 16;
    ringA = s.shared(plan.stages * aSlot, tile.element, overlay, alignment);
    ringB = s.shared(plan.stages * bSlot, tile.element, overlay, alignment);
    auto make = plan.form == ProductForm::Wgmma ? makeWgmmaTile
                : plan.form == ProductForm::Mma ? makeMmaTile
                                                : makeFmaTile;
    registers = make(tile.rows, tile.columns, plan.termTile, layout, plan.threads, s);
  }

  FailureOr<SmallVector<Value>> emit(ValueRange init) {
    OpBuilder &b = s.b;
    const int64_t steps = tile.terms / plan.termTile, stages = plan.stages;
    for (int64_t i = 0; i < stages - 1; ++i) {
      if (i < steps && failed(fill(s.index(i), s.index(i))))
        return failure();
      NVVM::CpAsyncCommitGroupOp::create(b, s.loc);
    }
    SmallVector<Value> start = init.empty() ? registers->zero() : SmallVector<Value>(init);
    LogicalResult filled = success();
    auto loop = scf::ForOp::create(b, s.loc, s.index(0), s.index(steps), s.index(1), start);
    {
      OpBuilder::InsertionGuard guard(b);
      b.setInsertionPointToStart(loop.getBody());
      Value step = loop.getInductionVar();
      NVVM::CpAsyncWaitGroupOp::create(b, s.loc, stages - 2);
      SmallVector<Value> sums = registers->settle(loop.getRegionIterArgs(), 0);
      if (registers->runsAside())
        s.fenceAsyncProxy();
      // Everybody's copies of this step have landed, and nobody reads the slot that is next to be
      // written any more.
      s.barrier();
      Value slot = s.rem(step, stages);
      auto multiply = [&] {
        sums = registers->accumulate(s.sharedPointer(ringA, s.mul(slot, aSlot)),
                                     s.sharedPointer(ringB, s.mul(slot, bSlot)), sums);
      };
      if (registers->runsAside())
        multiply();
      Value next = s.add(step, stages - 1);
      s.when(s.less(next, s.index(steps)),
             [&] { filled = fill(next, s.rem(next, stages)); });
      NVVM::CpAsyncCommitGroupOp::create(b, s.loc);
      if (!registers->runsAside())
        multiply();
      scf::YieldOp::create(b, s.loc, sums);
    }
    SmallVector<Value> sums = registers->settle(loop.getResults(), 0);
    NVVM::CpAsyncWaitGroupOp::create(b, s.loc, 0);
    s.barrier(); // what comes next may lie where the operands were
    if (failed(filled))
      return failure();
    return sums;
  }

  void store(ValueRange sums, Accumulator c) { registers->store(sums, c); }

private:
  LogicalResult fill(Value step, Value slot) {
    Value term = s.mul(step, plan.termTile);
    OperandCopy a(s, values, left, tile.rows, plan.termTile, layout.aPitch, layout.swizzled,
                  plan.threads);
    OperandCopy b(s, values, right, layout.bRows,
                  layout.bAlongColumns ? tile.columns : plan.termTile, layout.bPitch,
                  layout.swizzled, plan.threads);
    if (failed(a.emit(ringA, s.mul(slot, aSlot), [&](Value row, Value k) {
          return tile.leftAt(s.min(row, lastRow), s.add(term, k), count);
        })))
      return failure();
    return b.emit(ringB, s.mul(slot, bSlot), [&](Value line, Value position) {
      return layout.bAlongColumns ? tile.rightAt(position, s.add(term, line), count, true)
                                  : tile.rightAt(line, s.add(term, position), count, false);
    });
  }

  const ProductTile &tile;
  const ProductPlan &plan;
  SimtBuilder &s;
  TileEvaluator &values;
  Value lastRow, left, right, ringA, ringB;
  OperandTiles layout;
  int64_t count = 0, aSlot = 0, bSlot = 0;
  std::unique_ptr<RegisterTile> registers;
};

} // namespace

LogicalResult emitTiledProducts(ArrayRef<ProductTile> tiles, const ProductPlan &plan, Value limit,
                                Accumulator c, SimtBuilder &s, TileEvaluator &values) {
  SmallVector<Value> sums;
  for (auto [i, tile] : llvm::enumerate(tiles)) {
    // Each product has terms of its own; the tiles of the one before have been used up.
    ProductPlan own = plan;
    while (tile.terms % own.termTile)
      own.termTile /= 2;
    TiledProduct product(tile, own, limit, s, values, plan.overlay + std::to_string(i));
    FailureOr<SmallVector<Value>> updated = product.emit(sums);
    if (failed(updated))
      return failure();
    sums = *updated;
    if (i + 1 == tiles.size())
      product.store(sums, c);
  }
  return success();
}

LogicalResult emitRoleProducts(ArrayRef<ProductTile> tiles, const ProductPlan &plan, Accumulator c,
                               SimtBuilder &s) {
  SmallVector<Value> sums;
  for (auto [i, tile] : llvm::enumerate(tiles)) {
    std::unique_ptr<RegisterTile> registers =
        makeWgmmaTile(tile.rows, tile.columns, plan.roles->termTileOf(tile),
                      plan.roles->layoutOf(tile), plan.roles->consumers(), s);
    FailureOr<SmallVector<Value>> updated = plan.roles->multiply(tile, sums, *registers);
    if (failed(updated))
      return failure();
    sums = *updated;
    if (i + 1 == tiles.size())
      registers->store(sums, c);
  }
  return success();
}

} // namespace otodus::gpu

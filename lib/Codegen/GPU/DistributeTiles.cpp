//===- DistributeTiles.cpp - Row kernels on the threads of a block ---------===//
//
// Walks a tile program in order. Products and reductions are computed by all threads together and materialised in shared
// memory; what is elementwise is computed on demand, by whoever needs it (TileEvaluator.h). Rows belong to warps, columns
// to lanes.
//
//===----------------------------------------------------------------------===//

#include "ProductRoles.h"

#include "otodus/Codegen/GPU/Chips.h"
#include "otodus/Codegen/GPU/Passes.h"
#include "otodus/Formats/Artefact.h"

#include "mega/IR/MegaOps.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Bufferization/IR/Bufferization.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

namespace otodus {
#define GEN_PASS_DEF_DISTRIBUTETILES
#include "otodus/Codegen/GPU/Passes.h.inc"
} // namespace otodus

using namespace mlir;

namespace otodus::gpu {
namespace {

class RowKernel {
public:
  RowKernel(func::FuncOp function, const Chip &chip)
      : function(function), chip(chip), b(function.getContext()), s(b, function.getLoc()),
        values(s), maps(function) {}

  LogicalResult run();

private:
  /// Gives the block's warps roles, where the schedule says so.
  LogicalResult partRoles(ArrayRef<linalg::GenericOp> products);
  LogicalResult product(ArrayRef<ProductTile> tiles, bool last);
  /// A reduction or a value per row: what is materialised and is no product.
  LogicalResult materialise(linalg::GenericOp op);
  LogicalResult reduce(linalg::GenericOp op);
  LogicalResult rowValues(linalg::GenericOp op);
  LogicalResult storeResults(linalg::GenericOp op);
  void finish();

  /// Elements of a row that a lane handles together.
  static int64_t elementsOfLane(int64_t width) { return width >= 256 ? 8 : width >= 128 ? 4 : 2; }
  /// Calls `body` with the first column of this lane's elements, for all columns of a row, and
  /// whether they exist (null: they do).
  void columns(int64_t width, int64_t count, function_ref<void(Value, Value)> body);

  func::FuncOp function;
  const Chip &chip;
  OpBuilder b;
  SimtBuilder s;
  TileEvaluator values;
  TensorMaps maps;
  std::unique_ptr<ProductRoles> roles;
  scf::ForallOp grid;
  int64_t threads = 0, rowTile = 0, products = 0;
  Value limit, lastRow; ///< rows of the tile that exist
};

/// The argument of `user`'s body that stands for `product`'s result, if that is all it is read for.
BlockArgument onlyArgument(linalg::GenericOp product, linalg::GenericOp user) {
  if (!product->hasOneUse())
    return nullptr;
  OpOperand &use = *product->getUses().begin();
  if (use.getOwner() != user || !user.getMatchingIndexingMap(&use).isIdentity())
    return nullptr;
  BlockArgument argument = user.getMatchingBlockArgument(&use);
  return argument.hasOneUse() ? argument : nullptr;
}

/// Additions that `value` goes through before anything else is done with it.
SmallVector<Operation *> additions(Value value) {
  SmallVector<Operation *> chain;
  while (value.hasOneUse()) {
    auto add = dyn_cast<arith::AddFOp>(*value.getUsers().begin());
    if (!add)
      break;
    chain.push_back(add);
    value = add.getResult();
  }
  return chain;
}

/// True if only the sum of the two products is wanted: one accumulator then takes both.
bool areSummed(const ProductTile &x, const ProductTile &y) {
  linalg::GenericOp first = x.op, second = y.op;
  if (x.rows != y.rows || x.columns != y.columns || x.element != y.element ||
      !first->hasOneUse())
    return false;
  auto user = dyn_cast<linalg::GenericOp>(*first->getUsers().begin());
  if (!user || user.getNumReductionLoops())
    return false;
  BlockArgument a = onlyArgument(first, user), b = onlyArgument(second, user);
  if (!a || !b)
    return false;
  SmallVector<Operation *> ofA = additions(a);
  return llvm::any_of(additions(b), [&](Operation *op) { return llvm::is_contained(ofA, op); });
}

/// True if `op` needs results of a product.
bool followsProduct(linalg::GenericOp op, const llvm::SmallPtrSetImpl<Operation *> &products) {
  llvm::SmallPtrSet<Operation *, 16> seen;
  SmallVector<Operation *> work{op};
  while (!work.empty())
    for (Value operand : work.pop_back_val()->getOperands())
      if (Operation *source = operand.getDefiningOp(); source && seen.insert(source).second) {
        if (products.contains(source))
          return true;
        work.push_back(source);
      }
  return false;
}

bool isRowValue(Value tensor) { return cast<RankedTensorType>(tensor.getType()).getRank() <= 3; }

LogicalResult RowKernel::run() {
  SmallVector<scf::ForallOp> grids(function.getBody().front().getOps<scf::ForallOp>());
  auto schedule = function->getAttrOfType<mega::ScheduleAttr>("mega.schedule");
  if (grids.size() != 1 || !schedule || !schedule.getThreads())
    return function.emitOpError("expects one scf.forall and a schedule with threads");
  grid = grids.front();
  threads = *schedule.getThreads();
  rowTile = function->getAttrOfType<IntegerAttr>("mega.row_tile").getInt();
  function->setAttr("gpu.threads", b.getI64IntegerAttr(threads));

  SmallVector<Operation *> program;
  SmallVector<linalg::GenericOp> all;
  for (Operation &op : *grid.getBody())
    if (auto generic = dyn_cast<linalg::GenericOp>(op)) {
      program.push_back(generic);
      if (ProductTile::match(generic))
        all.push_back(generic);
    }

  b.setInsertionPointToStart(grid.getBody());
  s.begin();
  b.setInsertionPoint(grid.getTerminator());
  bool lastOnly = function->hasAttr("mega.row_symbol");
  unsigned arguments = function.getNumArguments();
  Value rows = function.getArgument(arguments - (lastOnly ? 3 : 1));
  Value left = s.sub(rows, s.mul(grid.getInductionVars()[0], rowTile));
  limit = s.min(left, s.index(rowTile));
  lastRow = s.sub(limit, s.index(1));

  // Before the roles part, all threads compute what does not wait for a product.
  llvm::SmallPtrSet<Operation *, 4> products(all.begin(), all.end());
  llvm::SmallPtrSet<Operation *, 4> emitted;
  bool parted = schedule.getCopies() && schedule.getCopies() == "tma" && !all.empty();
  if (parted) {
    for (Operation *op : program)
      if (auto generic = cast<linalg::GenericOp>(op);
          !products.contains(op) && !generic->hasAttr("mega.root") &&
          !followsProduct(generic, products)) {
        if (failed(materialise(generic)))
          return failure();
        emitted.insert(op);
      }
    if (failed(partRoles(all)))
      return failure();
  }

  size_t multiplied = 0;
  for (Operation *op : program) {
    auto generic = cast<linalg::GenericOp>(op);
    if (emitted.contains(generic))
      continue;
    if (std::optional<ProductTile> tile = ProductTile::match(generic)) {
      // Summed products are emitted together, where the last of them stands.
      SmallVector<ProductTile> tiles{*tile};
      for (linalg::GenericOp other : all)
        if (!emitted.contains(other) && other != generic)
          if (ProductTile next = *ProductTile::match(other); areSummed(*tile, next))
            tiles.push_back(next);
      bool later = llvm::any_of(tiles, [&](const ProductTile &t) {
        linalg::GenericOp op = t.op;
        return generic->isBeforeInBlock(op);
      });
      if (later)
        continue;
      for (const ProductTile &t : tiles) {
        linalg::GenericOp op = t.op;
        emitted.insert(op);
        ++multiplied;
      }
      if (failed(product(tiles, multiplied == all.size())))
        return failure();
    } else if (failed(materialise(generic))) {
      return failure();
    }
    if (generic->hasAttr("mega.root") && failed(storeResults(generic)))
      return failure();
  }
  finish();
  return success();
}

LogicalResult RowKernel::materialise(linalg::GenericOp op) {
  if (op.getNumReductionLoops())
    return reduce(op);
  if (!op->hasAttr("mega.root") && isRowValue(op.getResult(0)))
    return rowValues(op);
  return success();
}

LogicalResult RowKernel::partRoles(ArrayRef<linalg::GenericOp> products) {
  auto schedule = function->getAttrOfType<mega::ScheduleAttr>("mega.schedule");
  SmallVector<ProductTile> tiles;
  llvm::SmallPtrSet<Operation *, 4> all(products.begin(), products.end());
  bool fits = chip.tma && chip.matrixUnit == MatrixUnit::WarpGroup;
  int64_t terms = schedule.getKTile().value_or(64);
  for (linalg::GenericOp op : products) {
    tiles.push_back(*ProductTile::match(op));
    const ProductTile &tile = tiles.back();
    fits &= tile.element.isBF16() && fitsWgmma(tile.rows, tile.columns, threads - kProducers) &&
            !followsProduct(op, all);
  }
  if (fits && (terms == 32 || terms == 64))
    roles = ProductRoles::make(tiles, threads, terms, schedule.getStages().value_or(6), limit, s,
                               values, maps);
  if (!roles)
    return function.emitOpError("cannot bring its operands in by tensor maps on ")
           << chip.name << " (tiles of bf16 and whole warpgroups, k_tile 32 or 64, matrices in rows, no "
           << "product of a product); give its schedule copies = \"async\"";
  // A block of three warpgroups starts with 168 registers. One thread that copies needs few of them; those that
  // compute need theirs.
  RoleRegisters registers;
  if (chip.setMaxRegisters && threads == 3 * kProducers && !roles->computes())
    registers = {40, 232};
  roles->part(registers);
  threads -= kProducers;
  return success();
}

LogicalResult RowKernel::product(ArrayRef<ProductTile> tiles, bool last) {
  const ProductTile &tile = tiles.front();
  linalg::GenericOp op = tile.op;
  auto schedule = function->getAttrOfType<mega::ScheduleAttr>("mega.schedule");
  ProductPlan plan;
  plan.threads = threads;
  plan.termTile = schedule.getKTile().value_or(kWarp);
  plan.stages = schedule.getStages().value_or(2);
  plan.overlay = "operands" + std::to_string(products++) + ".";
  plan.form = formFor(chip, tile.element, tile.rows, tile.columns, threads);
  // Its descriptors want rows of 64 or 128 bytes, along the terms.
  bool suits = plan.termTile == 32 || plan.termTile == 64;
  for (const ProductTile &t : tiles)
    suits &= !liesAcross(t, s, values);
  if (plan.form == ProductForm::Wgmma && !suits)
    plan.form = ProductForm::Mma;
  plan.roles = roles.get();
  bool fits = plan.form == ProductForm::Dot || plan.form == ProductForm::Wgmma ||
              (plan.form == ProductForm::Mma ? fitsMma(tile.rows, tile.columns, threads)
                                             : fitsFma(tile.rows, tile.columns, threads));
  bool halves = llvm::isPowerOf2_64(plan.termTile) && plan.termTile >= 16;
  if (!fits || !halves || plan.stages < 2)
    return op.emitOpError("cannot share a tile of ")
           << tile.rows << " x " << tile.columns << " x " << plan.termTile << " among " << threads
           << " threads in " << plan.stages
           << " stages; change row_tiles, column_block, k_tile (a power of two from 16 on), stages "
              "(2 or more) or threads of the group's schedule";
  FailureOr<Accumulator> c =
      emitProducts(tiles, plan, limit, last && plan.form != ProductForm::Dot, s, values);
  if (failed(c))
    return failure();
  Place place;
  place.memref = c->memref;
  auto shape = cast<RankedTensorType>(op.getResult(0).getType()).getShape();
  int64_t stride = 1;
  for (int64_t d = int64_t(shape.size()) - 1; d >= 2; --d) {
    place.strides.insert(place.strides.begin(), b.getIndexAttr(stride));
    stride *= shape[d];
  }
  place.strides.insert(place.strides.begin(), {b.getIndexAttr(0), b.getIndexAttr(c->pitch)});
  values.materialise(op.getResult(0), place);
  // The others' share is in the first one's sums.
  for (const ProductTile &other : tiles.drop_front()) {
    linalg::GenericOp added = other.op;
    values.fix(added.getResult(0), s.f32(-0.0));
  }
  return success();
}

void RowKernel::columns(int64_t width, int64_t count, function_ref<void(Value, Value)> body) {
  int64_t perWarp = kWarp * count;
  Value mine = s.mul(s.lane(), count);
  s.loop(s.index(0), s.index(width), s.index(perWarp), [&](Value base) {
    Value column = s.add(base, mine);
    body(column, width % perWarp ? s.less(column, s.index(width)) : Value());
  });
}

/// Identity of the op that combines terms; null if it is none that is known.
TypedAttr identityOf(Operation *combiner, Builder &b) {
  if (isa<arith::AddFOp>(combiner))
    return b.getF32FloatAttr(0);
  if (isa<arith::MaxNumFOp, arith::MaximumFOp>(combiner))
    return b.getF32FloatAttr(-std::numeric_limits<float>::infinity());
  return nullptr;
}

LogicalResult RowKernel::reduce(linalg::GenericOp op) {
  Location loc = op.getLoc();
  SmallVector<int64_t> loops = op.getStaticLoopRanges();
  SmallVector<int64_t> groups, sums;
  int64_t width = 1, rows = loops[1];
  for (auto [d, kind] : llvm::enumerate(op.getIteratorTypesArray())) {
    if (kind == utils::IteratorType::reduction)
      sums.push_back(loops[d]), width *= loops[d];
    else if (d >= 2)
      groups.push_back(loops[d]), rows *= loops[d];
  }
  Operation *yield = op.getBody()->getTerminator();
  Operation *combiner = yield->getOperand(0).getDefiningOp();
  Value carried = op.getBody()->getArguments().back();
  bool known = combiner && combiner->getNumOperands() == 2 && identityOf(combiner, b) &&
               llvm::is_contained(combiner->getOperands(), carried) &&
               op.getNumDpsInits() == 1;
  if (!known)
    return op.emitOpError("is a reduction of another kind than a sum or a maximum");
  Value term = combiner->getOperand(combiner->getOperand(0) == carried ? 1 : 0);
  auto combine = [&](Value x, Value y) -> Value {
    OperationState state(loc, combiner->getName(), {x, y}, {x.getType()}, combiner->getAttrs());
    state.propertiesAttr = combiner->getPropertiesAsAttribute();
    return b.create(state)->getResult(0);
  };

  int64_t count = elementsOfLane(width), perGroup = rows / loops[1];
  Value totals = s.shared(rows, b.getF32Type());
  LogicalResult result = success();
  s.loop(s.warp(), s.index(rows), s.index(threads / kWarp), [&](Value at) {
    Value row = s.min(s.div(at, perGroup), lastRow);
    SmallVector<Axis> start{Axis::fixed(0), Axis::at(row)};
    llvm::append_range(start, digits(s.rem(at, perGroup), groups, 1));
    auto type = VectorType::get({count}, b.getF32Type());
    Value identity = values.widen(arith::ConstantOp::create(b, loc, identityOf(combiner, b)), count);
    int64_t perWarp = kWarp * count;
    Value mine = s.mul(s.lane(), count);
    auto step = [&](Value base, Value sum) -> Value {
      Value column = s.add(base, mine), inside;
      if (width % perWarp) {
        // Lanes behind the end read the last elements and drop them.
        inside = s.less(column, s.index(width));
        column = s.min(column, s.index(width - count));
      }
      SmallVector<Axis> at = start;
      llvm::append_range(at, digits(column, sums, count));
      SmallVector<Value> terms;
      if (failed(values.evaluateBody(op, at, count, term, terms))) {
        result = failure();
        return sum;
      }
      Value v = values.widen(terms.front(), count);
      if (inside)
        v = arith::SelectOp::create(b, loc, inside, v, identity);
      return combine(sum, v);
    };
    Value sum = identity;
    if (width <= perWarp) {
      sum = step(s.index(0), sum);
    } else {
      auto loop = scf::ForOp::create(b, loc, s.index(0), s.index(width), s.index(perWarp),
                                     ValueRange{identity});
      OpBuilder::InsertionGuard guard(b);
      b.setInsertionPointToStart(loop.getBody());
      Value next = step(loop.getInductionVar(), loop.getRegionIterArgs()[0]);
      scf::YieldOp::create(b, loc, next);
      sum = loop.getResult(0);
    }
    (void)type;
    Value total = vector::ExtractOp::create(b, loc, sum, 0);
    for (int64_t i = 1; i < count; ++i)
      total = combine(total, vector::ExtractOp::create(b, loc, sum, i));
    total = s.overLanes(total, combine);
    Value first = arith::CmpIOp::create(b, loc, arith::CmpIPredicate::eq, s.lane(), s.index(0));
    s.when(first, [&] { s.store(total, totals, at); });
  });
  s.barrier();
  Place place{totals, Value(), {}};
  place.strides.assign(2 + groups.size(), b.getIndexAttr(0));
  int64_t stride = 1;
  for (int64_t d = int64_t(groups.size()) - 1; d >= 0; --d) {
    place.strides[2 + d] = b.getIndexAttr(stride);
    stride *= groups[d];
  }
  place.strides[1] = b.getIndexAttr(stride);
  values.materialise(op.getResult(0), place);
  return result;
}

/// A value per row, such as a norm's factor: computed once, not by every thread that scales by it.
LogicalResult RowKernel::rowValues(linalg::GenericOp op) {
  auto type = cast<RankedTensorType>(op.getResult(0).getType());
  if (op.getNumResults() != 1 || !type.hasStaticShape())
    return op.emitOpError("expects one result of static shape");
  int64_t rows = type.getNumElements(), perRow = rows / type.getDimSize(1);
  Value all = s.shared(rows, type.getElementType());
  LogicalResult result = success();
  s.loop(s.thread(), s.index(rows), s.index(threads), [&](Value at) {
    SmallVector<Axis> axes{Axis::fixed(0), Axis::at(s.min(s.div(at, perRow), lastRow))};
    llvm::append_range(axes, digits(s.rem(at, perRow), type.getShape().drop_front(2), 1));
    Value v = values.evaluate(op.getResult(0), axes, 1);
    if (!v)
      result = failure();
    else
      s.store(v, all, at);
  });
  s.barrier();
  Place place{all, Value(), {b.getIndexAttr(0)}};
  int64_t stride = perRow;
  for (int64_t d = 1; d < type.getRank(); ++d) {
    place.strides.push_back(b.getIndexAttr(stride));
    if (d + 1 < type.getRank())
      stride /= type.getDimSize(d + 1);
  }
  values.materialise(op.getResult(0), place);
  return result;
}

LogicalResult RowKernel::storeResults(linalg::GenericOp op) {
  auto shape = cast<RankedTensorType>(op.getResult(0).getType()).getShape();
  int64_t width = 1;
  for (int64_t size : shape.drop_front(2))
    width *= size;
  SmallVector<Place> targets;
  for (OpOperand &init : op.getDpsInitsMutable()) {
    Value target = init.get();
    if (auto fill = target.getDefiningOp<linalg::FillOp>())
      target = fill.getOutputs()[0];
    std::optional<Place> place = values.placeOf(target);
    if (!place)
      return op.emitOpError("expects its results to be buffers of the kernel");
    targets.push_back(*place);
  }
  int64_t count = elementsOfLane(width);
  LogicalResult result = success();
  s.loop(s.warp(), s.index(rowTile), s.index(threads / kWarp), [&](Value row) {
    s.when(s.less(row, limit), [&] {
      columns(width, count, [&](Value column, Value inside) {
        auto body = [&] {
          SmallVector<Axis> at{Axis::fixed(0), Axis::at(row)};
          llvm::append_range(at, digits(column, shape.drop_front(2), count));
          SmallVector<Value> results;
          if (std::optional<Place> place = values.placeOf(op.getResult(0))) {
            results.push_back(values.evaluate(op.getResult(0), at, count)); // a product
          } else if (failed(values.evaluateBody(op, at, count,
                                                op.getBody()->getTerminator()->getOperands(),
                                                results))) {
            result = failure();
            return;
          }
          for (auto [v, target] : llvm::zip(results, targets))
            s.store(values.widen(v, count), target.memref, values.address(target, at));
        };
        if (inside)
          s.when(inside, body);
        else
          body();
      });
    });
  });
  return result;
}

/// The tensors have done their work: what is left is a grid without results.
void RowKernel::finish() {
  SmallVector<bufferization::MaterializeInDestinationOp> writes(
      function.getBody().front().getOps<bufferization::MaterializeInDestinationOp>());
  for (auto write : writes)
    write.erase();
  b.setInsertionPoint(grid);
  auto bare = scf::ForallOp::create(b, grid.getLoc(), grid.getMixedLowerBound(),
                                    grid.getMixedUpperBound(), grid.getMixedStep(), ValueRange{},
                                    std::nullopt);
  for (auto [from, to] : llvm::zip(grid.getInductionVars(), bare.getInductionVars()))
    from.replaceAllUsesWith(to);
  for (auto [argument, output] : llvm::zip(grid.getRegionIterArgs(), grid.getOutputs()))
    argument.replaceAllUsesWith(output);
  bare.getBody()->getOperations().splice(bare.getBody()->begin(), grid.getBody()->getOperations(),
                                         grid.getBody()->begin(),
                                         std::prev(grid.getBody()->end()));
  grid.erase();
  // Users first.
  for (Block *block : {bare.getBody(), &function.getBody().front()})
    for (Operation &op : llvm::make_early_inc_range(llvm::reverse(*block)))
      if (op.use_empty() && llvm::any_of(op.getResultTypes(), [](Type type) {
            return isa<TensorType>(type);
          }))
        op.erase();
}

} // namespace
} // namespace otodus::gpu

namespace otodus {
namespace {

struct DistributeTiles : impl::DistributeTilesBase<DistributeTiles> {
  using DistributeTilesBase::DistributeTilesBase;

  void runOnOperation() override {
    auto function = cast<func::FuncOp>(getOperation());
    Result<Chip> chip = chipFor(target);
    if (!chip.isOk()) {
      function.emitError(chip.status().message());
      return signalPassFailure();
    }
    if (function->hasAttr("mega.row_kernel") && failed(gpu::RowKernel(function, *chip).run()))
      signalPassFailure();
  }
};

} // namespace
} // namespace otodus

//===- TileRows.cpp - Grid and register tiles of row kernels ---------------===//

#include "BlockedLayout.h"

#include "otodus/Codegen/Common/Passes.h"

#include "mega/IR/MegaOps.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Linalg/Transforms/Transforms.h"
#include "mlir/Dialect/MemRef/Transforms/Transforms.h"
#include "mlir/Dialect/SCF/Transforms/TileUsingInterface.h"
#include "mlir/Dialect/Tensor/Transforms/Transforms.h"
#include "mlir/Transforms/GreedyPatternRewriteDriver.h"

namespace otodus {
#define GEN_PASS_DEF_TILEGRID
#define GEN_PASS_DEF_TILEREGISTERS
#include "otodus/Codegen/Common/Passes.h.inc"
} // namespace otodus

using namespace mlir;

namespace otodus {
namespace {

linalg::GenericOp findRoot(FunctionOpInterface function) {
  linalg::GenericOp root;
  function->walk([&](linalg::GenericOp op) {
    if (op->hasAttr("mega.root"))
      root = op;
  });
  return root;
}

/// The op whose results leave the kernel.
linalg::GenericOp findLast(FunctionOpInterface function) {
  linalg::GenericOp last;
  function->walk([&](bufferization::MaterializeInDestinationOp op) {
    if (auto generic = op.getSource().getDefiningOp<linalg::GenericOp>())
      last = generic;
  });
  return last;
}

/// Makes the buffers of the results the destinations of the last op, so that tiles are written
/// where they belong.
void writeInPlace(FunctionOpInterface function, linalg::GenericOp last) {
  // Behind the views it writes to.
  Operation *end = function.getFunctionBody().front().getTerminator();
  last->moveBefore(end);
  for (Operation *user : llvm::make_early_inc_range(last->getUsers()))
    user->moveBefore(end);
  function->walk([&](bufferization::MaterializeInDestinationOp op) {
    auto result = dyn_cast<OpResult>(op.getSource());
    if (!result || result.getOwner() != last)
      return;
    OpBuilder b(last);
    Value target = bufferization::ToTensorOp::create(b, op.getLoc(), result.getType(),
                                                     op.getDest(), /*restrict=*/true,
                                                     /*writable=*/true);
    // A sum starts from a fill, which then starts from the buffer.
    if (auto fill = last.getDpsInits()[result.getResultNumber()].getDefiningOp<linalg::FillOp>()) {
      auto start = linalg::FillOp::create(b, op.getLoc(), fill.getInputs()[0], target);
      start->setAttrs(fill->getAttrs());
      target = start.getResult(0);
    }
    last.setDpsInitOperand(result.getResultNumber(), target);
  });
}

/// Scratch gets the size of the tile that is used of it.
void shrinkScratch(FunctionOpInterface function) {
  RewritePatternSet patterns(function->getContext());
  tensor::populateFoldTensorEmptyPatterns(patterns);
  (void)applyPatternsGreedily(function, std::move(patterns));
}

bool isProduct(linalg::GenericOp op) {
  return op.getNumReductionLoops() > 0 && op.getNumDpsInputs() == 2 &&
         op.getMatchingIndexingMap(op.getDpsInputOperand(0)).getNumResults() >= 3 &&
         op.getMatchingIndexingMap(op.getDpsInputOperand(1)).getNumResults() >= 3 &&
         op.getNumParallelLoops() >= 4;
}

/// Elementwise producers with one reader join it, unless the reader would repeat them (a value
/// per row computed again for every lane).
void fuseElementwise(FunctionOpInterface function) {
  RewritePatternSet patterns(function->getContext());
  linalg::populateElementwiseOpsFusionPatterns(patterns, [](OpOperand *operand) {
    auto producer = operand->get().getDefiningOp<linalg::GenericOp>();
    auto consumer = dyn_cast<linalg::GenericOp>(operand->getOwner());
    return producer && consumer && producer->hasOneUse() &&
           producer.getNumReductionLoops() == 0 && consumer.getNumReductionLoops() == 0 &&
           producer.getNumLoops() == consumer.getNumLoops();
  });
  // A size that is asked of a producer would count as one more reader of it.
  memref::populateResolveRankedShapedTypeResultDimsPatterns(patterns);
  (void)applyPatternsGreedily(function, std::move(patterns));
}

/// Marks products and everything computed from them: what register tiles are made of.
void markProducts(FunctionOpInterface function) {
  SmallVector<Operation *> worklist;
  function->walk([&](linalg::GenericOp op) {
    if (isProduct(op)) {
      worklist.push_back(op);
      if (auto fill = op.getOutputs()[0].getDefiningOp<linalg::FillOp>())
        fill->setAttr("mega.tile", UnitAttr::get(op.getContext()));
    }
  });
  while (!worklist.empty()) {
    Operation *op = worklist.pop_back_val();
    if (op->hasAttr("mega.tile"))
      continue;
    op->setAttr("mega.tile", UnitAttr::get(op->getContext()));
    for (OpOperand &operand : op->getOpOperands())
      if (auto fill = operand.get().getDefiningOp<linalg::FillOp>())
        fill->setAttr("mega.tile", UnitAttr::get(op->getContext()));
    for (Operation *user : op->getUsers())
      if (isa<linalg::GenericOp>(user))
        worklist.push_back(user);
  }
}

struct TileGrid : impl::TileGridBase<TileGrid> {
  using TileGridBase::TileGridBase;

  void runOnOperation() override {
    FunctionOpInterface function = getOperation();
    if (!function->hasAttr("mega.row_kernel"))
      return;
    fuseElementwise(function);
    markProducts(function);
    linalg::GenericOp root = findLast(function);
    root->setAttr("mega.root", UnitAttr::get(&getContext()));
    writeInPlace(function, root);

    int64_t rowTile = function->getAttrOfType<IntegerAttr>("mega.row_tile").getInt();
    SmallVector<int64_t> loops = root.getStaticLoopRanges(); // tile row (head) block lane (k…)
    size_t rank = cast<RankedTensorType>(root.getResult(0).getType()).getRank();
    int64_t blocks = loops[rank - 2];
    auto schedule = function->getAttrOfType<mega::ScheduleAttr>("mega.schedule");
    int64_t rowBlock = std::max<int64_t>(1, *schedule.getRowBlock() / rowTile);
    int64_t columnBlock = *schedule.getColumnBlock() / kLanes;

    Builder b(function->getContext());
    SmallVector<OpFoldResult> sizes(loops.size(), b.getIndexAttr(0));
    auto symbol = function->getAttrOfType<IntegerAttr>("mega.row_symbol");
    SmallVector<formats::Extent> grid{
        {symbol ? formats::Symbol(symbol.getInt()) : formats::Symbol::Rows, 1,
         rowTile * rowBlock}};
    sizes[0] = b.getIndexAttr(rowBlock);
    for (size_t d = 2; d + 2 < rank; ++d) {
      sizes[d] = b.getIndexAttr(1);
      grid.push_back({formats::Symbol::One, loops[d], 1});
    }
    if (columnBlock < blocks) {
      sizes[rank - 2] = b.getIndexAttr(columnBlock);
      grid.push_back({formats::Symbol::One, (blocks + columnBlock - 1) / columnBlock, 1});
    }

    scf::SCFTileAndFuseOptions options;
    options.tilingOptions.setTileSizes(sizes);
    options.tilingOptions.setLoopType(scf::SCFTilingOptions::LoopType::ForallOp);
    IRRewriter rewriter(function->getContext());
    rewriter.setInsertionPoint(root);
    auto tiled = scf::tileConsumerAndFuseProducersUsingSCF(
        rewriter, cast<TilingInterface>(root.getOperation()), options);
    if (failed(tiled)) {
      root.emitOpError("cannot be cut into the blocks of its grid");
      return signalPassFailure();
    }
    for (auto [before, after] : tiled->replacements)
      rewriter.replaceAllUsesWith(before, after);
    shrinkScratch(function);

    SmallVector<Attribute> extents;
    for (const formats::Extent &extent : grid)
      extents.push_back(
          b.getDenseI64ArrayAttr({int64_t(extent.symbol), extent.factor, extent.divisor}));
    function->setAttr("mega.grid", b.getArrayAttr(extents));
  }
};

struct TileRegisters : impl::TileRegistersBase<TileRegisters> {
  using TileRegistersBase::TileRegistersBase;

  void runOnOperation() override {
    FunctionOpInterface function = getOperation();
    linalg::GenericOp root = findRoot(function);
    if (!root || !root->hasAttr("mega.tile"))
      return;
    bool wholeRows = function->hasAttr("mega.whole_rows");
    int64_t rank = cast<RankedTensorType>(root.getResult(0).getType()).getRank();
    int64_t loops = root.getNumLoops();
    Builder b(function->getContext());
    SmallVector<OpFoldResult> sizes(loops, b.getIndexAttr(0));
    sizes[0] = b.getIndexAttr(1);
    SmallVector<int64_t> order;
    if (!wholeRows) {
      sizes[rank - 2] = b.getIndexAttr(1);
      // Columns outside, rows inside: a weight panel is read from L2 once per row tile, and from
      // memory once.
      order.push_back(rank - 2);
    }
    for (int64_t d = 0; d < loops; ++d)
      if (wholeRows || d != rank - 2)
        order.push_back(d);

    scf::SCFTileAndFuseOptions options;
    options.tilingOptions.setTileSizes(sizes);
    options.tilingOptions.setInterchange(order);
    options.setFusionControlFn(
        [](tensor::ExtractSliceOp, OpResult producer,
           bool) -> std::optional<scf::SCFTileAndFuseOptions::ControlFnResult> {
          if (!producer.getOwner()->hasAttr("mega.tile"))
            return std::nullopt;
          return scf::SCFTileAndFuseOptions::ControlFnResult{};
        });
    IRRewriter rewriter(function->getContext());
    rewriter.setInsertionPoint(root);
    auto tiled = scf::tileConsumerAndFuseProducersUsingSCF(
        rewriter, cast<TilingInterface>(root.getOperation()), options);
    if (failed(tiled)) {
      root.emitOpError("cannot be cut into register tiles");
      return signalPassFailure();
    }
    for (auto [before, after] : tiled->replacements)
      rewriter.replaceAllUsesWith(before, after);
    shrinkScratch(function);
  }
};

} // namespace
} // namespace otodus

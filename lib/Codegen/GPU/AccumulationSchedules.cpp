//===- AccumulationSchedules.cpp - How sums of training are cut for a chip -===//
//
// Of the ops of the role Accumulation those of matrices have a choice: their gradients, and the
// loss. `row_block` and `column_block` are what a block owns: of a matrix'
// gradient its tile; of the backward loss the lines (rows, or tokens) and columns of its sums; of
// the forward one its rows and the tokens of a step.
//
//===----------------------------------------------------------------------===//

#include "BlockKernel.h"
#include "Kernels.h"

#include "Codegen/Common/Schedules.h"

using namespace mlir;

namespace otodus {

namespace {

using gpu::Cut;

/// The largest tile that still gives most multiprocessors a block: it meets the most lines for each
/// that it brings in.
Cut weightGradientCut(mega::LinearWeightGradientOp op, const Chip &chip) {
  Type element = getElementTypeOrSelf(op.getDy().getType());
  int64_t n = widthOf(op.getDy().getType()).padded(), m = widthOf(op.getInput().getType()).padded();
  Cut cut;
  for (auto [rows, columns] : {std::pair(128, 128), std::pair(128, 64), std::pair(64, 64)}) {
    // FMA tiles are quadratic: a thread reads as much of either side.
    if (rows != columns && !element.isBF16())
      continue;
    cut.rows = shareOf(n, rows);
    cut.columns = shareOf(m, columns);
    if (n / cut.rows * (m / cut.columns) >= chip.multiprocessors * 3 / 4)
      break;
  }
  cut.terms = element.isBF16() ? 32 : 16;
  cut.stages = element.isBF16() ? 4 : 3;
  return cut;
}

/// 64 sums a thread. Tensor cores are fast enough that every line brought in should meet many.
Cut lossGradientCut(formats::Width width, Type element) {
  Cut cut;
  cut.terms = 32;
  if (element.isBF16()) {
    cut.rows = 64;
    cut.columns = shareOf(width.padded(), 512);
    cut.stages = 4;
    cut.threads = cut.columns > 256 ? 512 : 256;
  } else {
    cut.rows = 32;
    cut.columns = shareOf(width.padded(), 1024);
    cut.stages = 3;
    cut.threads = cut.columns > 512 ? 512 : 256;
  }
  return cut;
}

/// True if the threads can share the tile.
bool fits(Operation *op, Type element, const Cut &cut) {
  if (cut.threads < gpu::kWarp || cut.threads % gpu::kWarp || cut.threads > 1024)
    return false;
  return isa<mega::LinearWeightGradientOp>(op)
             ? gpu::OuterTile::make(element, cut.rows, cut.columns, cut.threads).has_value()
             : gpu::lossFits(op, cut);
}

} // namespace

LogicalResult chooseGpuAccumulation(mega::GroupOp group, const Chip &chip) {
  Operation *op = &group.getBody(0)->front();
  mega::ScheduleAttr given = group.getScheduleAttr();
  Cut cut;
  Type element;
  int64_t rows = 0, columns = 0; // what row_block and column_block divide; 0: anything
  if (auto weight = dyn_cast<mega::LinearWeightGradientOp>(op)) {
    element = getElementTypeOrSelf(weight.getDy().getType());
    rows = widthOf(weight.getDy().getType()).padded();
    columns = widthOf(weight.getInput().getType()).padded();
    cut = weightGradientCut(weight, chip);
  } else if (isa<mega::LossInputGradientOp, mega::LossWeightGradientOp>(op)) {
    element = getElementTypeOrSelf(op->getOperand(0).getType());
    columns = widthOf(op->getOperand(0).getType()).padded();
    cut = lossGradientCut(widthOf(op->getOperand(0).getType()), element);
  } else if (auto loss = dyn_cast<mega::LinearCrossEntropyOp>(op)) {
    element = getElementTypeOrSelf(loss.getInput().getType());
    cut = {64, 128, 32, element.isBF16() ? 4 : 3, 256};
  } else {
    if (!given)
      return success(); // nothing to decide
    return group.emitOpError("expects no schedule for ")
           << op->getName() << " on a GPU, but got " << given;
  }
  if (given) {
    auto take = [](int64_t &into, std::optional<int64_t> value) {
      if (value)
        into = *value;
    };
    take(cut.rows, given.getRowBlock());
    take(cut.columns, given.getColumnBlock());
    take(cut.terms, given.getKTile());
    take(cut.stages, given.getStages());
    take(cut.threads, given.getThreads());
    if (given.getRowTiles() || given.getTimeTile() || given.getChannelTile() || given.getCopies())
      return group.emitOpError("expects a schedule of row_block, column_block, k_tile, stages and "
                               "threads for ")
             << op->getName() << ", but got " << given;
  }
  // Tiles are multiples of 32, which four warps always share.
  if (!given || !given.getThreads())
    while (cut.threads > 128 && !fits(op, element, cut))
      cut.threads /= 2;
  bool bf16 = element.isBF16();
  if (cut.rows % kLanes || cut.columns % kLanes || (rows && rows % cut.rows) ||
      (columns && columns % cut.columns))
    return group.emitOpError("expects row_block and column_block to be multiples of 32 that divide "
                             "what they cut (")
           << (rows ? std::to_string(rows) : std::string("anything")) << " and "
           << (columns ? std::to_string(columns) : std::string("anything")) << "), but got "
           << cut.rows << " and " << cut.columns;
  bool product = isa<mega::LinearWeightGradientOp>(op);
  if (cut.stages < 2 || (product ? cut.terms % (bf16 ? 16 : 1) : cut.terms != 32))
    return group.emitOpError("expects stages of 2 or more and a k_tile of ")
           << (product ? bf16 ? "a multiple of 16" : "1 or more" : "32") << ", but got "
           << cut.stages << " and " << cut.terms;
  if (!fits(op, element, cut))
    return group.emitOpError("cannot share a tile of ")
           << cut.rows << " x " << cut.columns << " among " << cut.threads
           << " threads; change row_block, column_block or threads of its schedule";
  int64_t bytes = product ? gpu::weightGradientBytes(element, cut) : gpu::lossBytes(op, cut);
  if (bytes > chip.sharedPerBlock)
    return group.emitOpError("needs ")
           << bytes << " bytes of shared memory, but a block of " << chip.name << " has "
           << chip.sharedPerBlock << "; give its schedule fewer stages or a smaller column_block";
  group.setScheduleAttr(mega::ScheduleAttr::get(group.getContext(), nullptr, cut.rows, cut.columns,
                                                std::nullopt, std::nullopt, cut.terms, cut.stages,
                                                cut.threads, nullptr, std::nullopt));
  return success();
}

} // namespace otodus

//===- ChooseSchedule.cpp - How every group is cut -------------------------===//
//
// The decisions of the code generator are made here and written on the groups; later passes
// obey them. What a user has written on a group stays.
//
//===----------------------------------------------------------------------===//

#include "Schedules.h"

#include "otodus/Codegen/Common/Passes.h"

#include "mega/IR/MegaOps.h"

#include <numeric>

namespace otodus {
#define GEN_PASS_DEF_CHOOSESCHEDULE
#include "otodus/Codegen/Common/Passes.h.inc"
} // namespace otodus

using namespace mlir;
using otodus::mega::RowRole;

namespace otodus {
namespace {

constexpr int64_t kLargestRowTile = formats::kRowSlack;

int64_t paddedWidth(Type activation) { return widthOf(activation).padded(); }

/// True if `value` is computed from a product of the same group.
bool followsProduct(Value value) {
  Operation *op = value.getDefiningOp();
  return op && (mega::getRowRole(op) == RowRole::Contraction ||
                llvm::any_of(op->getOperands(), followsProduct));
}

struct ChooseSchedule : impl::ChooseScheduleBase<ChooseSchedule> {
  using ChooseScheduleBase::ChooseScheduleBase;

  void runOnOperation() override {
    getOperation()->walk([&](mega::GroupOp group) {
      if (failed(choose(group)))
        signalPassFailure();
    });
  }

  LogicalResult choose(mega::GroupOp group) {
    if (failed(verifyComputes(group)))
      return failure();
    mega::ScheduleAttr given = group.getScheduleAttr();
    DenseI64ArrayAttr rowTiles = given ? given.getRowTiles() : nullptr;
    auto field = [&](auto get) { return given ? get(given) : std::optional<int64_t>(); };
    auto rowBlock = field([](mega::ScheduleAttr s) { return s.getRowBlock(); });
    auto columnBlock = field([](mega::ScheduleAttr s) { return s.getColumnBlock(); });
    auto timeTile = field([](mega::ScheduleAttr s) { return s.getTimeTile(); });
    auto channelTile = field([](mega::ScheduleAttr s) { return s.getChannelTile(); });

    RowRole role = roleOf(group);
    auto defaultTiles = [&] {
      // 12 rows fill the registers of AVX-512; 4 and 1 keep short pieces and single steps from
      // computing rows that nobody asked for.
      return DenseI64ArrayAttr::get(&getContext(), {1, 4, 12});
    };
    switch (role) {
    case RowRole::Gather:
    case RowRole::Accumulation:
      return success(); // nothing to decide
    case RowRole::Stream: {
      if (!timeTile)
        timeTile = 32; // two scratch tiles of 32 steps x 64 channels fill a third of L1
      int64_t legal = legalChannelTile(group);
      if (!channelTile)
        channelTile = legal;
      if (*channelTile % legal != 0 || channelWidth(group) % *channelTile != 0)
        return group.emitOpError("expects channel_tile to be a multiple of ")
               << legal << " that divides " << channelWidth(group) << ", but got "
               << *channelTile;
      break;
    }
    case RowRole::Attention: {
      if (!rowTiles)
        rowTiles = defaultTiles();
      int64_t width =
          widthOf(group.getBody(0)->front().getResult(0).getType()).paddedInner();
      // With few rows the value columns are shared out; every share computes the scores again,
      // which costs (features of a key) / (columns of a share) of the work.
      if (!columnBlock)
        columnBlock = shareOf(width, 512);
      if (width % *columnBlock != 0 || *columnBlock % kLanes != 0)
        return group.emitOpError("expects column_block to be a multiple of 32 that divides ")
               << width << ", but got " << *columnBlock;
      break;
    }
    default: {
      if (!rowTiles)
        rowTiles = defaultTiles();
      Type result = group.getResult(0).getType();
      int64_t width = widthOf(result).paddedInner();
      bool wholeRows = needsWholeRows(group);
      int64_t bytes = leftHandBytes(group);
      if (!columnBlock)
        columnBlock = wholeRows || !bytes ? width : std::min<int64_t>(width, 8 * kLanes);
      if (!rowBlock) {
        // The left-hand side of a block of rows should fill at most half of a 1 MB L2; a group
        // that needs whole rows has no columns to share out, so its blocks are smaller.
        rowBlock = wholeRows ? 24 : 96;
        if (bytes)
          rowBlock = std::clamp<int64_t>((512 << 10) / bytes, 1, *rowBlock);
      }
      if (*columnBlock % kLanes != 0)
        return group.emitOpError("expects column_block to be a multiple of 32, but got ")
               << *columnBlock;
      if (wholeRows && *columnBlock != width)
        return group.emitOpError("expects column_block to be the whole width of ")
               << width << ", since a norm or rotation follows a product, but got "
               << *columnBlock;
    }
    }
    if (rowTiles)
      for (int64_t rows : rowTiles.asArrayRef())
        if (rows > kLargestRowTile)
          return group.emitOpError("expects row_tiles of at most ")
                 << kLargestRowTile << " rows, but got " << rows;
    group.setScheduleAttr(mega::ScheduleAttr::get(&getContext(), rowTiles, rowBlock, columnBlock,
                                                  timeTile, channelTile, std::nullopt,
                                                  std::nullopt, std::nullopt, nullptr,
                                                  std::nullopt));
    return success();
  }

  /// Bytes of one row of everything that products of the group read.
  static int64_t leftHandBytes(mega::GroupOp group) {
    int64_t bytes = 0;
    llvm::SmallPtrSet<Value, 4> seen;
    for (Operation &op : group.getBody(0)->without_terminator())
      if (mega::getRowRole(&op) == RowRole::Contraction && seen.insert(op.getOperand(0)).second)
        bytes += paddedWidth(op.getOperand(0).getType()) *
                 formats::sizeOf(dtypeOf(op.getOperand(1).getType()));
    return bytes;
  }
};

} // namespace

RowRole roleOf(mega::GroupOp group) {
  RowRole role = RowRole::None;
  for (Operation &op : group.getBody(0)->without_terminator())
    if (RowRole own = mega::getRowRole(&op);
        own == RowRole::Stream || own == RowRole::Attention || own == RowRole::Gather ||
        own == RowRole::Accumulation)
      role = own;
  return role;
}

LogicalResult verifyComputes(mega::GroupOp group) {
  if (group.getNumResults() == 0)
    return group.emitOpError("expects a result: a kernel without one computes nothing");
  for (Value yielded : group.getYield().getOperands())
    if (auto argument = dyn_cast<BlockArgument>(yielded))
      return group.emitOpError("expects results that it computes, but it returns its operand ")
             << argument.getArgNumber();
  return success();
}

bool needsWholeRows(mega::GroupOp group) {
  for (Operation &op : group.getBody(0)->without_terminator())
    if ((mega::getRowRole(&op) == RowRole::RowReduction &&
         llvm::any_of(op.getOperands(), followsProduct)) ||
        isa<mega::RotateOp, mega::RotateGradientOp>(op))
      return true;
  return false;
}

int64_t channelWidth(mega::GroupOp group) {
  return paddedWidth(group.getBody(0)->front().getResult(0).getType());
}

int64_t legalChannelTile(mega::GroupOp group) {
  formats::Width width = widthOf(group.getBody(0)->front().getResult(0).getType());
  int64_t tile = std::min<int64_t>(2 * kLanes, width.padded());
  SmallVector<int64_t> groups;
  for (Operation &op : *group.getBody(0)) {
    if (auto norm = dyn_cast<mega::TimestepNormOp>(op))
      groups.push_back(norm.getGroups());
    else if (auto norm = dyn_cast<mega::TimestepNormSavingOp>(op))
      groups.push_back(norm.getGroups());
  }
  if (groups.empty())
    return width.padded() % tile == 0 ? tile : kLanes;
  for (int64_t count : groups)
    tile = std::lcm(std::lcm(width.inner / count, kLanes), tile);
  if (tile > 512 || width.padded() % tile != 0 || width.padded() != width.inner)
    tile = width.padded();
  return tile;
}

int64_t shareOf(int64_t width, int64_t limit) {
  int64_t share = std::min(width, limit);
  while (width % share)
    share -= kLanes;
  return share;
}

} // namespace otodus

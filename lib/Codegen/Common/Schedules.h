//===- Schedules.h - What shapes and ops allow a schedule to be ------------===//
//
// Private to lib/Codegen. Facts about groups that the schedules of all targets respect.
//
//===----------------------------------------------------------------------===//

#pragma once

#include "BlockedLayout.h"

#include "mega/IR/MegaOps.h"

namespace otodus {

/// The role that decides how the whole group is walked; None for row-wise groups.
mega::RowRole roleOf(mega::GroupOp group);

/// True if an op after a product needs complete rows of a head.
bool needsWholeRows(mega::GroupOp group);

/// Padded width of a stream's activations.
int64_t channelWidth(mega::GroupOp group);

/// The smallest tile that holds whole lane blocks and whole groups of the norms, of at least 64
/// channels where they divide the width; everything where padding makes groups and lane blocks
/// disagree.
int64_t legalChannelTile(mega::GroupOp group);

/// The largest divisor of `width` (both multiples of 32) that is at most `limit`.
int64_t shareOf(int64_t width, int64_t limit);

/// What no kernel can be made of: a group without results, or that returns its operands.
mlir::LogicalResult verifyComputes(mega::GroupOp group);

} // namespace otodus

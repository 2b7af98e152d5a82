//===- WeightGradientKernel.cpp - Gradients of matrices --------------------===//
//
// dW[n, k] += Σ_rows dy[n] x[k]: a product whose long dimension is the rows. Both operands lie
// along what is not summed, as OuterTile wants them; they come through a ring of rows in shared
// memory.
//
//===----------------------------------------------------------------------===//

#include "BlockKernel.h"

#include "Codegen/Common/Schedules.h"

using namespace mlir;

namespace otodus::gpu {

namespace {
constexpr int64_t kThreads = 256;
constexpr int64_t kRows = 16;   ///< of a stage
constexpr int64_t kStages = 3;
constexpr int64_t kBlocks = 128; ///< with fewer, tiles are smaller: about one for a multiprocessor
} // namespace

LogicalResult emitWeightGradientKernel(BlockKernel &k, mega::LinearWeightGradientOp op) {
  SimtBuilder &s = k.s;
  formats::Width outputs = widthOf(op.getDy().getType()), inputs = widthOf(op.getInput().getType());
  int64_t n = outputs.padded(), m = inputs.padded(), limit = 128;
  if (n / shareOf(n, limit) * (m / shareOf(m, limit)) < kBlocks)
    limit = 64;
  int64_t tileN = shareOf(n, limit), tileM = shareOf(m, limit);
  std::optional<OuterTile> tile = OuterTile::make(tileN, tileM, kThreads);
  if (!tile)
    return op.emitOpError("cannot share a tile of ")
           << tileN << " x " << tileM << " among " << kThreads << " threads";
  Value dy = k.operand(op.getDy()), x = k.operand(op.getInput()), sum = k.operand(op.getDweight());
  SmallVector<Value> block = k.open({k.b.getIndexAttr(n / tileN), k.b.getIndexAttr(m / tileM)},
                                    kThreads);
  Value firstN = s.mul(block[0], tileN), firstM = s.mul(block[1], tileM);
  int64_t slotN = kRows * tileN, slotM = kRows * tileM;
  Value ringN = s.shared(kStages * slotN, k.f32), ringM = s.shared(kStages * slotM, k.f32);
  Value rows = k.rows(), last = s.sub(rows, s.index(1));
  Value steps = s.div(s.add(rows, kRows - 1), kRows);
  SmallVector<Value> sums = k.ring(
      steps, kStages, tile->zero(k),
      [&](Value step, Value slot) {
        // What lies behind the last row is anything; zeros take its place.
        auto bring = [&](Value ring, int64_t size, int64_t width, Value from, Type type,
                         Value column) {
          k.copyLines(ring, s.mul(slot, size), width, kRows, width, from, [&](Value line) {
            Value row = s.add(s.mul(step, kRows), line);
            return std::pair(s.add(k.rowAt(s.min(row, last), type), column), s.less(row, rows));
          });
        };
        bring(ringN, slotN, tileN, dy, op.getDy().getType(), firstN);
        bring(ringM, slotM, tileM, x, op.getInput().getType(), firstM);
      },
      [&](Value, Value slot, ValueRange carried) {
        return tile->accumulate(k, ringN, s.mul(slot, slotN), tileN, ringM, s.mul(slot, slotM),
                                tileM, kRows, carried);
      });
  int64_t padded = outputs.paddedInner();
  tile->each(k, sums, [&](Value row, Value column, Value v) {
    Value output = s.add(firstN, row), inner = s.rem(output, padded);
    Value number = s.add(s.mul(s.div(output, padded), outputs.inner), inner);
    auto add = [&] {
      k.addColumns(v, sum, s.mul(number, inputs.logical()), inputs, s.add(firstM, column),
                   tile->count());
    };
    if (outputs.inner % kLanes)
      s.when(s.less(inner, s.index(outputs.inner)), add);
    else
      add();
  });
  k.close({{formats::Symbol::One, n / tileN, 1}, {formats::Symbol::One, m / tileM, 1}});
  return success();
}

} // namespace otodus::gpu

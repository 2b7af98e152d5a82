//===- WeightGradientKernel.cpp - Gradients of matrices --------------------===//
//
// dW[n, k] += Σ_rows dy[n] x[k]: a product whose long dimension is the rows. Both operands lie
// along what is not summed, as OuterTile wants them; they come through a ring of rows in shared
// memory. bf16 is multiplied by tensor cores and summed in f32, as the gradient is.
//
//===----------------------------------------------------------------------===//

#include "BlockKernel.h"

using namespace mlir;

namespace otodus::gpu {

/// Elements between lines of bf16, so that ldmatrix meets no bank twice; FMA reads along lines.
static int64_t padOf(Type element) { return element.isBF16() ? elementsOf16Bytes(element) : 0; }

int64_t weightGradientBytes(Type element, const Cut &cut) {
  return cut.stages * cut.terms * (cut.rows + cut.columns + 2 * padOf(element)) * 16 /
         elementsOf16Bytes(element);
}

LogicalResult emitWeightGradientKernel(BlockKernel &k, mega::LinearWeightGradientOp op) {
  SimtBuilder &s = k.s;
  formats::Width outputs = widthOf(op.getDy().getType()), inputs = widthOf(op.getInput().getType());
  int64_t n = outputs.padded(), m = inputs.padded();
  Type element = getElementTypeOrSelf(op.getDy().getType());
  FailureOr<Cut> chosen = Cut::of(k.kernel.group);
  if (failed(chosen))
    return failure();
  const Cut cut = *chosen;
  const int64_t tileN = cut.rows, tileM = cut.columns, stageRows = cut.terms, pad = padOf(element);
  std::optional<OuterTile> tile = OuterTile::make(element, tileN, tileM, cut.threads);
  if (!tile)
    return op.emitOpError("cannot share a tile of ")
           << tileN << " x " << tileM << " among " << cut.threads << " threads";
  Value dy = k.operand(op.getDy()), x = k.operand(op.getInput()), sum = k.operand(op.getDweight());
  SmallVector<Value> block = k.open({k.b.getIndexAttr(n / tileN), k.b.getIndexAttr(m / tileM)},
                                    cut.threads);
  Value firstN = s.mul(block[0], tileN), firstM = s.mul(block[1], tileM);
  const int64_t pitchN = tileN + pad, pitchM = tileM + pad;
  int64_t slotN = stageRows * pitchN, slotM = stageRows * pitchM;
  Value ringN = s.shared(cut.stages * slotN, element);
  Value ringM = s.shared(cut.stages * slotM, element);
  Value rows = k.rows(), last = s.sub(rows, s.index(1));
  Value steps = s.div(s.add(rows, stageRows - 1), stageRows);
  SmallVector<Value> sums = k.ring(
      steps, cut.stages, tile->zero(k),
      [&](Value step, Value slot) {
        // What lies behind the last row is anything; zeros take its place.
        auto bring = [&](Value ring, int64_t size, int64_t pitch, int64_t width, Value from,
                         Type type, Value column) {
          k.copyLines(ring, s.mul(slot, size), pitch, stageRows, width, from, [&](Value line) {
            Value row = s.add(s.mul(step, stageRows), line);
            return std::pair(s.add(k.rowAt(s.min(row, last), type), column), s.less(row, rows));
          });
        };
        bring(ringN, slotN, pitchN, tileN, dy, op.getDy().getType(), firstN);
        bring(ringM, slotM, pitchM, tileM, x, op.getInput().getType(), firstM);
      },
      [&](Value, Value slot, ValueRange carried) {
        return tile->accumulate(k, ringN, s.mul(slot, slotN), pitchN, ringM, s.mul(slot, slotM),
                                pitchM, stageRows, carried);
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

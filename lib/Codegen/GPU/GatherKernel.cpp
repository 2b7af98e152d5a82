//===- GatherKernel.cpp - GPU kernels that copy chosen rows ----------------===//
//
// embed: row of the table by token; rotary_angles: row of the table by position in the chunk;
// last: the last step's row of every sequence. A block copies a few rows, a thread 16 bytes at a
// time.
//
//===----------------------------------------------------------------------===//

#include "Kernels.h"
#include "StreamKernel.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;

namespace otodus {
namespace {

constexpr int64_t kThreads = 256;
constexpr int64_t kVectorsOfThread = 4; ///< that a thread copies, about

class GatherKernel : LaneBuilder {
public:
  explicit GatherKernel(KernelEmitter &kernel)
      : LaneBuilder(kernel.b, kernel.loc), kernel(kernel) {}

  LogicalResult run() {
    Block *body = kernel.group.getBody(0);
    Operation *op = &body->front();
    if (body->getOperations().size() != 2)
      return op->emitOpError("expects to be alone in its group");
    Type element = getElementTypeOrSelf(op->getResult(0).getType());
    width = widthOf(op->getResult(0).getType());
    outStride = rowStrideOf(width, dtypeOf(element));
    sourceStride = width.padded();
    Value out = kernel.resultParameter(0, element);
    rows = kernel.frame.rows;
    if (auto embed = dyn_cast<mega::EmbedOp>(op))
      fromTable(embed, element);
    else if (auto angles = dyn_cast<mega::RotaryAnglesOp>(op))
      fromAngles(angles, element);
    else if (auto last = dyn_cast<mega::LastOp>(op))
      fromLast(last);
    else
      return op->emitOpError("has no gathering kernel");

    int64_t lanes = element.isF32() ? 4 : 8, vectors = width.padded() / lanes;
    int64_t rowsOfBlock = std::max<int64_t>(1, kThreads * kVectorsOfThread / vectors);
    auto grid = scf::ForallOp::create(
        b, loc, ArrayRef<OpFoldResult>{b.getIndexAttr(0)}, ArrayRef<OpFoldResult>{rows},
        ArrayRef<OpFoldResult>{b.getIndexAttr(rowsOfBlock)}, ValueRange{}, std::nullopt);
    b.setInsertionPointToStart(grid.getBody());
    Value from = grid.getInductionVars()[0];
    Value count = arith::MinUIOp::create(b, loc, sub(rows, from), index(rowsOfBlock));
    Value thread = mlir::gpu::ThreadIdOp::create(b, loc, mlir::gpu::Dimension::x);
    forLoop(thread, mul(count, index(vectors)), index(kThreads), [&](Value i) {
      Value m = add(from, div(i, vectors)), c = mul(rem(i, vectors), index(lanes));
      Value at = add(mul(sourceRow(m), index(sourceStride)), c);
      Value to = add(mul(m, index(outStride)), c);
      Value v = loadWide(source, at, lanes);
      if (scale != 1)
        v = mulf(v, spread(f32Constant(scale), lanes));
      storeWide(v, out, to);
    });
    b.setInsertionPointToEnd(&kernel.function.getBody().front());
    kernel.function->setAttr("gpu.threads", b.getI64IntegerAttr(kThreads));
    kernel.finish({{symbol, 1, rowsOfBlock}});
    return success();
  }

private:
  void fromTable(mega::EmbedOp op, Type element) {
    KernelBuffer buffer;
    buffer.kind = "table";
    buffer.sources = {kernel.operandNumber(op.getTable())};
    buffer.rows = {1, op.getTable().getType().getDimSize(0)};
    buffer.columns = width;
    buffer.dtype = dtypeOf(element);
    source = kernel.parameter(buffer, element);
    if (op.getScale())
      scale = op.getScale()->convertToDouble();
    Value tokens = kernel.operandParameter(op.getTokens());
    sourceRow = [=, this](Value m) { return toIndex(load(tokens, m)); };
  }

  void fromAngles(mega::RotaryAnglesOp op, Type element) {
    KernelBuffer buffer;
    buffer.kind = "rope";
    buffer.sources = {kernel.operandNumber(op.getFreqs())};
    buffer.rows = {1, int64_t(op.getChunk())};
    buffer.columns = {1, width.inner};
    source = kernel.parameter(buffer, element);
    Value position = kernel.operandParameter(op.getPosition()), length = kernel.frame.length;
    int64_t chunk = op.getChunk();
    sourceRow = [=, this](Value m) {
      Value sequence = arith::DivUIOp::create(b, loc, m, length);
      Value step = arith::RemUIOp::create(b, loc, m, length);
      return rem(add(toIndex(load(position, sequence)), step), chunk);
    };
  }

  void fromLast(mega::LastOp op) {
    source = kernel.operandParameter(op.getInput());
    sourceStride = outStride;
    symbol = formats::Symbol::Batch;
    rows = kernel.frame.batch;
    sourceRow = [this](Value m) {
      return sub(mul(add(m, index(1)), kernel.frame.length), index(1));
    };
  }

  Value toIndex(Value v) { return arith::IndexCastOp::create(b, loc, b.getIndexType(), v); }

  KernelEmitter &kernel;
  formats::Width width;
  int64_t outStride = 0, sourceStride = 0;
  formats::Symbol symbol = formats::Symbol::Rows;
  Value rows, source;
  double scale = 1;
  std::function<Value(Value)> sourceRow; ///< of a destination row
};

} // namespace

FailureOr<func::FuncOp> emitGpuGatherKernel(mega::GroupOp group, ModuleOp module,
                                            const std::string &name) {
  KernelEmitter kernel(group, module, name, 0);
  if (failed(GatherKernel(kernel).run()))
    return kernel.function.erase(), failure();
  return kernel.function;
}

} // namespace otodus

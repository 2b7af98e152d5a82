//===- EmitGather.cpp - Kernels that copy chosen rows ----------------------===//
//
// embed: row of the table by token; rotary_angles: row of the table by position in the chunk;
// last: the last step's row of every sequence.
//
//===----------------------------------------------------------------------===//

#include "KernelEmitter.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;

namespace otodus {
namespace {

constexpr int64_t kRowsPerItem = 16;

Value index(OpBuilder &b, Location loc, int64_t value) {
  return arith::ConstantIndexOp::create(b, loc, value);
}

} // namespace

FailureOr<func::FuncOp> emitGatherKernel(mega::GroupOp group, ModuleOp module,
                                         const std::string &name) {
  KernelEmitter kernel(group, module, name, 0);
  OpBuilder &b = kernel.b;
  Location loc = kernel.loc;
  Operation *op = &group.getBody(0)->front();
  if (group.getBody(0)->getOperations().size() != 2)
    return kernel.function.erase(), op->emitOpError("expects to be alone in its group");

  Type resultType = op->getResult(0).getType();
  Type element = getElementTypeOrSelf(resultType);
  formats::Width width = widthOf(resultType);
  int64_t outStride = rowStrideOf(width, dtypeOf(element));
  int64_t lanes = width.padded(), sourceStride = lanes;
  Value out = kernel.resultParameter(0, element);
  Value source, scale;
  formats::Symbol symbol = formats::Symbol::Rows;
  Value rows = kernel.frame.rows;

  // Source row of destination row `m`.
  std::function<Value(OpBuilder &, Value)> sourceRow;
  if (auto embed = dyn_cast<mega::EmbedOp>(op)) {
    KernelBuffer buffer;
    buffer.kind = "table";
    buffer.sources = {kernel.operandNumber(embed.getTable())};
    buffer.rows = {1, embed.getTable().getType().getDimSize(0)};
    buffer.columns = width;
    buffer.dtype = dtypeOf(element);
    source = kernel.parameter(buffer, element);
    Value tokens = kernel.operandParameter(embed.getTokens());
    if (embed.getScale() && embed.getScale()->convertToDouble() != 1.0)
      scale = arith::ConstantOp::create(
          b, loc, b.getF32FloatAttr(float(embed.getScale()->convertToDouble())));
    sourceRow = [=](OpBuilder &nb, Value m) -> Value {
      Value token = memref::LoadOp::create(nb, loc, tokens, ValueRange{m});
      return arith::IndexCastOp::create(nb, loc, nb.getIndexType(), token);
    };
  } else if (auto angles = dyn_cast<mega::RotaryAnglesOp>(op)) {
    KernelBuffer buffer;
    buffer.kind = "rope";
    buffer.sources = {kernel.operandNumber(angles.getFreqs())};
    buffer.rows = {1, int64_t(angles.getChunk())};
    buffer.columns = {1, width.inner};
    source = kernel.parameter(buffer, element);
    Value position = kernel.operandParameter(angles.getPosition());
    Value length = kernel.frame.length;
    Value chunk = index(b, loc, angles.getChunk());
    sourceRow = [=](OpBuilder &nb, Value m) -> Value {
      Value sequence = arith::DivUIOp::create(nb, loc, m, length);
      Value step = arith::RemUIOp::create(nb, loc, m, length);
      Value start = memref::LoadOp::create(nb, loc, position, ValueRange{sequence});
      start = arith::IndexCastOp::create(nb, loc, nb.getIndexType(), start);
      Value at = arith::AddIOp::create(nb, loc, start, step);
      return arith::RemUIOp::create(nb, loc, at, chunk);
    };
  } else if (auto last = dyn_cast<mega::LastOp>(op)) {
    source = kernel.operandParameter(last.getInput());
    sourceStride = outStride;
    symbol = formats::Symbol::Batch;
    rows = kernel.frame.batch;
    Value length = kernel.frame.length;
    sourceRow = [=](OpBuilder &nb, Value m) -> Value {
      Value next = arith::AddIOp::create(nb, loc, m, index(nb, loc, 1));
      Value end = arith::MulIOp::create(nb, loc, next, length);
      return arith::SubIOp::create(nb, loc, end, index(nb, loc, 1));
    };
  } else {
    return kernel.function.erase(), op->emitOpError("has no gathering kernel");
  }

  Value block = index(b, loc, kRowsPerItem);
  auto grid = scf::ForallOp::create(
      b, loc, ArrayRef<OpFoldResult>{b.getIndexAttr(0)}, ArrayRef<OpFoldResult>{rows},
      ArrayRef<OpFoldResult>{b.getIndexAttr(kRowsPerItem)}, ValueRange{}, std::nullopt);
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(grid.getBody());
  Value from = grid.getInductionVars()[0];
  Value to = arith::MinUIOp::create(b, loc, rows, arith::AddIOp::create(b, loc, from, block));
  auto rowLoop = scf::ForOp::create(b, loc, from, to, index(b, loc, 1));
  b.setInsertionPointToStart(rowLoop.getBody());
  Value m = rowLoop.getInductionVar();
  Value sourceBase =
      arith::MulIOp::create(b, loc, sourceRow(b, m), index(b, loc, sourceStride));
  Value outBase = arith::MulIOp::create(b, loc, m, index(b, loc, outStride));
  auto laneLoop = scf::ForOp::create(b, loc, index(b, loc, 0), index(b, loc, lanes),
                                     index(b, loc, kLanes));
  b.setInsertionPointToStart(laneLoop.getBody());
  Value lane = laneLoop.getInductionVar();
  auto type = VectorType::get({kLanes}, element);
  Value value = vector::LoadOp::create(
      b, loc, type, source, ValueRange{arith::AddIOp::create(b, loc, sourceBase, lane)});
  if (scale) {
    auto wide = VectorType::get({kLanes}, b.getF32Type());
    if (element.isBF16())
      value = arith::ExtFOp::create(b, loc, wide, value);
    value = arith::MulFOp::create(b, loc, value,
                                  Value(vector::BroadcastOp::create(b, loc, wide, scale)));
    if (element.isBF16())
      value = arith::TruncFOp::create(b, loc, type, value);
  }
  vector::StoreOp::create(b, loc, value, out,
                          ValueRange{arith::AddIOp::create(b, loc, outBase, lane)});

  b.setInsertionPointToEnd(&kernel.function.getBody().front());
  kernel.finish({{symbol, 1, kRowsPerItem}});
  return kernel.function;
}

} // namespace otodus

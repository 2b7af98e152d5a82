//===- EmitStream.cpp - The frame of kernels that walk time ----------------===//

#include "StreamEmitter.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;

namespace otodus {

//===----------------------------------------------------------------------===//
// Small builders
//===----------------------------------------------------------------------===//

Value StreamBuilder::index(int64_t v) { return arith::ConstantIndexOp::create(b, loc, v); }
Value StreamBuilder::add(Value x, Value y) { return arith::AddIOp::create(b, loc, x, y); }
Value StreamBuilder::mul(Value x, Value y) { return arith::MulIOp::create(b, loc, x, y); }
Value StreamBuilder::f64Constant(double v) {
  return arith::ConstantOp::create(b, loc, b.getF64FloatAttr(v));
}

void StreamBuilder::forLoop(Value from, Value to, Value step, function_ref<void(Value)> body) {
  auto loop = scf::ForOp::create(b, loc, from, to, step);
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(loop.getBody());
  body(loop.getInductionVar());
}

void StreamBuilder::eachOf(int64_t count, function_ref<void(Value)> body) {
  if (count <= 4) {
    for (int64_t i = 0; i < count; ++i)
      body(index(i));
    return;
  }
  forLoop(index(0), index(count), index(1), body);
}

Value StreamBuilder::loadF32(Value buffer, Value at, int64_t lanes) {
  Type element = getElementTypeOrSelf(buffer.getType());
  Value v =
      vector::LoadOp::create(b, loc, VectorType::get({lanes}, element), buffer, ValueRange{at});
  return element.isF32() ? v
                         : Value(arith::ExtFOp::create(b, loc, VectorType::get({lanes}, f32), v));
}

void StreamBuilder::storeFromF32(Value v, Value buffer, Value at) {
  Type element = getElementTypeOrSelf(buffer.getType());
  int64_t lanes = cast<VectorType>(v.getType()).getDimSize(0);
  if (!element.isF32())
    v = arith::TruncFOp::create(b, loc, VectorType::get({lanes}, element), v);
  vector::StoreOp::create(b, loc, v, buffer, ValueRange{at});
}

Value StreamBuilder::splat(Value scalar, int64_t lanes) {
  return vector::BroadcastOp::create(b, loc, VectorType::get({lanes}, scalar.getType()), scalar);
}

//===----------------------------------------------------------------------===//
// Scratch tiles
//===----------------------------------------------------------------------===//

Value StreamFrame::scratch(int64_t elements, Type element, bool zeroed) {
  auto type = MemRefType::get({elements}, element);
  Value buffer = memref::AllocaOp::create(allocas, loc, type, allocas.getI64IntegerAttr(64));
  if (zeroed) {
    OpBuilder::InsertionGuard guard(b);
    b = OpBuilder(allocas);
    forLoop(index(0), index(elements), index(kVector), [&](Value i) {
      Value zero =
          arith::ConstantOp::create(b, loc, b.getZeroAttr(VectorType::get({kVector}, element)));
      vector::StoreOp::create(b, loc, zero, buffer, ValueRange{i});
    });
  }
  return buffer;
}

Value StreamFrame::activationTile() {
  return scratch(timeTile * tile, f32, width.padded() != width.logical());
}

/// Offset of step `t` of the current time tile in a row buffer of `type`.
Value StreamFrame::rowOffset(Value t, Type type) {
  int64_t stride = rowStrideOf(widthOf(type), dtypeOf(type));
  return add(mul(add(firstRow, t), index(stride)), channel);
}

Value StreamFrame::tileOf(Value value) {
  if (Value known = tiles.lookup(value))
    return known;
  Value buffer = kernel.operandParameter(value);
  Value result = activationTile();
  forLoop(index(0), steps, index(1), [&](Value t) {
    Value from = rowOffset(t, value.getType()), to = mul(t, index(tile));
    forLoop(index(0), index(tile), index(kLanes), [&](Value lane) {
      storeFromF32(loadF32(buffer, add(from, lane), kLanes), result, add(to, lane));
    });
  });
  tiles[value] = result;
  return result;
}

void StreamFrame::store(Value from, int64_t resultNumber, Type type) {
  Value buffer = kernel.resultParameter(resultNumber, getElementTypeOrSelf(type));
  forLoop(index(0), steps, index(1), [&](Value t) {
    Value to = rowOffset(t, type), at = mul(t, index(tile));
    forLoop(index(0), index(tile), index(kLanes), [&](Value lane) {
      storeFromF32(loadF32(from, add(at, lane), kLanes), buffer, add(to, lane));
    });
  });
}

Value StreamFrame::ownResult(Value value) {
  for (auto [i, yielded] : llvm::enumerate(kernel.group.getYield().getOperands()))
    if (yielded == value) {
      written.insert(value);
      return kernel.resultParameter(i, getElementTypeOrSelf(value.getType()));
    }
  return {};
}

Value StreamFrame::vectorWeight(Value value, formats::Width columns) {
  KernelBuffer buffer;
  buffer.kind = "vector";
  buffer.sources = {kernel.operandNumber(value)};
  buffer.columns = columns;
  return kernel.parameter(buffer, f32);
}

//===----------------------------------------------------------------------===//
// Frame
//===----------------------------------------------------------------------===//

static bool isActivation(Value value) {
  auto result = dyn_cast<OpResult>(value);
  auto sequence =
      result ? dyn_cast<mega::SequenceOpInterface>(result.getOwner()) : mega::SequenceOpInterface();
  return !sequence || !llvm::is_contained(sequence.getStateResults(), result);
}

LogicalResult StreamFrame::run() {
  Block *body = kernel.group.getBody(0);
  SmallVector<std::unique_ptr<StreamOpEmitter>> ops;
  for (Operation &op : body->without_terminator()) {
    if (isa<mega::TimestepNormOp, mega::TimestepNormSavingOp>(op))
      ops.push_back(emitTimestepNorm(&op, *this));
    else if (isa<mega::CemaOp, mega::CemaSavingOp>(op))
      ops.push_back(emitCema(&op, *this));
    else if (auto scan = dyn_cast<mega::ScanOp>(op))
      ops.push_back(emitScan(scan, *this));
    else
      return op.emitOpError("has no streaming kernel");
    width = widthOf(op.getResult(0).getType());
  }

  mega::ScheduleAttr schedule = kernel.group.getScheduleAttr();
  timeTile = *schedule.getTimeTile();
  tile = *schedule.getChannelTile();
  int64_t channelTiles = width.padded() / tile;

  auto grid = scf::ForallOp::create(
      b, loc, ArrayRef<OpFoldResult>{b.getIndexAttr(0), b.getIndexAttr(0)},
      ArrayRef<OpFoldResult>{kernel.frame.batch, b.getIndexAttr(channelTiles)},
      ArrayRef<OpFoldResult>{b.getIndexAttr(1), b.getIndexAttr(1)}, ValueRange{}, std::nullopt);
  allocas = OpBuilder(grid);
  b.setInsertionPointToStart(grid.getBody());
  sequence = grid.getInductionVars()[0];
  channel = mul(grid.getInductionVars()[1], index(tile));

  for (auto &op : ops)
    if (failed(op->begin()))
      return failure();
  auto times = scf::ForOp::create(b, loc, index(0), kernel.frame.length, index(timeTile));
  {
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(times.getBody());
    time = times.getInductionVar();
    Value left = arith::SubIOp::create(b, loc, kernel.frame.length, time);
    steps = arith::MinUIOp::create(b, loc, left, index(timeTile));
    firstRow = add(mul(sequence, kernel.frame.length), time);
    for (auto &op : ops)
      if (failed(op->emit()))
        return failure();
    for (auto [i, yielded] : llvm::enumerate(kernel.group.getYield().getOperands()))
      if (isActivation(yielded) && !written.contains(yielded))
        store(tiles.lookup(yielded), i, yielded.getType());
  }
  for (auto &op : ops)
    op->end();
  b.setInsertionPointToEnd(&kernel.function.getBody().front());
  kernel.finish({{formats::Symbol::Batch, 1, 1}, {formats::Symbol::One, channelTiles, 1}});
  return success();
}

FailureOr<func::FuncOp> emitStreamKernel(mega::GroupOp group, ModuleOp module,
                                         const std::string &name) {
  KernelEmitter kernel(group, module, name, 0);
  if (failed(StreamFrame(kernel).run()))
    return kernel.function.erase(), failure();
  return kernel.function;
}

} // namespace otodus

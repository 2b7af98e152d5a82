//===- StreamGradient.cpp - Kernels that walk against time ------------------===//

#include "StreamGradient.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/GPU/IR/GPUDialect.h"

using namespace mlir;

namespace otodus {

Value StreamGradient::open(int64_t blocks) {
  this->blocks = blocks;
  auto grid =
      scf::ForallOp::create(b, loc, ArrayRef<OpFoldResult>{b.getIndexAttr(0)},
                            ArrayRef<OpFoldResult>{b.getIndexAttr(blocks)},
                            ArrayRef<OpFoldResult>{b.getIndexAttr(1)}, ValueRange{}, std::nullopt);
  b.setInsertionPointToStart(grid.getBody());
  auto id = mlir::gpu::ThreadIdOp::create(b, loc, mlir::gpu::Dimension::x);
  thread = id;
  allocas = OpBuilder(id);
  return grid.getInductionVars()[0];
}

LogicalResult StreamGradient::close(int64_t sharedBytes, StringRef remedy) {
  if (sharedUsed > sharedBytes)
    return kernel.group.emitOpError("needs ")
           << sharedUsed << " bytes of shared memory, but a block of this chip has " << sharedBytes
           << "; " << remedy;
  b.setInsertionPointToEnd(&kernel.function.getBody().front());
  kernel.function->setAttr("gpu.threads", b.getI64IntegerAttr(threads));
  kernel.finish({{formats::Symbol::One, blocks, 1}});
  return success();
}

Value StreamGradient::shared(int64_t elements, Type element) {
  auto space = mlir::gpu::AddressSpaceAttr::get(b.getContext(), mlir::gpu::AddressSpace::Workgroup);
  auto type = MemRefType::get({elements}, element, MemRefLayoutAttrInterface(), space);
  sharedUsed += (elements * element.getIntOrFloatBitWidth() / 8 + 15) / 16 * 16;
  return memref::AllocaOp::create(allocas, loc, type, allocas.getI64IntegerAttr(16));
}

void StreamGradient::forThreads(Value count, function_ref<void(Value)> body) {
  forLoop(thread, count, index(threads), body);
}

SmallVector<Value>
StreamGradient::reduce(Value from, Value to, int64_t step, ValueRange carried,
                       function_ref<SmallVector<Value>(Value, ValueRange)> body) {
  auto loop = scf::ForOp::create(b, loc, from, to, index(step), carried);
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(loop.getBody());
  scf::YieldOp::create(b, loc, body(loop.getInductionVar(), loop.getRegionIterArgs()));
  return SmallVector<Value>(loop.getResults());
}

void StreamGradient::backwards(Value count, function_ref<void(Value)> body) {
  forLoop(index(0), count, index(1), [&](Value i) { body(sub(sub(count, index(1)), i)); });
}

Value StreamGradient::min(Value x, Value y) { return arith::MinUIOp::create(b, loc, x, y); }
Value StreamGradient::negate(Value x) { return arith::NegFOp::create(b, loc, x); }

Value StreamGradient::zeros(int64_t lanes) { return spread(f32Constant(0), lanes); }

void StreamGradient::addTo(Value v, Value buffer, Value at) {
  store(addf(load(buffer, at), v), buffer, at);
}

Value StreamGradient::rowOffset(Value row, Type type) {
  return mul(row, index(rowStrideOf(widthOf(type), dtypeOf(type))));
}

Value StreamGradient::result(Value opResult) {
  for (auto [i, yielded] : llvm::enumerate(kernel.group.getYield().getOperands()))
    if (yielded == opResult)
      return kernel.resultParameter(i, getElementTypeOrSelf(opResult.getType()));
  return {};
}

Value StreamGradient::vectorWeight(Value value, formats::Width columns) {
  KernelBuffer buffer;
  buffer.kind = "vector";
  buffer.sources = {kernel.operandNumber(value)};
  buffer.columns = columns;
  return kernel.parameter(buffer, f32);
}

} // namespace otodus

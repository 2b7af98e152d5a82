//===- ScratchOnStack.cpp - Scratch tiles become allocas -------------------===//
//
// A scratch tile is dead at the end of the iteration that made it, so one buffer at the start
// of the kernel serves all iterations.
//
//===----------------------------------------------------------------------===//

#include "otodus/Codegen/CPU/Passes.h"

#include "mlir/Interfaces/ValueBoundsOpInterface.h"

namespace otodus {
#define GEN_PASS_DEF_SCRATCHONSTACK
#include "otodus/Codegen/CPU/Passes.h.inc"
} // namespace otodus

using namespace mlir;

namespace otodus {
namespace {

struct ScratchOnStack : impl::ScratchOnStackBase<ScratchOnStack> {
  using ScratchOnStackBase::ScratchOnStackBase;

  void runOnOperation() override {
    FunctionOpInterface function = getOperation();
    if (function.isExternal())
      return;
    SmallVector<memref::AllocOp> allocs;
    function->walk([&](memref::AllocOp op) { allocs.push_back(op); });
    for (memref::AllocOp op : allocs)
      if (failed(move(op)))
        return signalPassFailure();
    function->walk([](memref::DeallocOp op) { op.erase(); });
  }

  LogicalResult move(memref::AllocOp op) {
    MemRefType type = op.getType();
    SmallVector<int64_t> shape(type.getShape());
    size_t next = 0;
    for (int64_t &size : shape) {
      if (!ShapedType::isDynamic(size))
        continue;
      FailureOr<int64_t> bound = ValueBoundsConstraintSet::computeConstantBound(
          presburger::BoundType::UB, {op.getDynamicSizes()[next++]}, nullptr, /*closedUB=*/true);
      if (failed(bound))
        return op.emitOpError("expects scratch of a size with a constant bound");
      size = *bound;
    }
    OpBuilder b(op);
    b.setInsertionPointToStart(&getOperation().getFunctionBody().front());
    auto bounded = MemRefType::get(shape, type.getElementType());
    Value buffer =
        memref::AllocaOp::create(b, op.getLoc(), bounded, b.getI64IntegerAttr(64));
    if (bounded != type) {
      // The tile is the leading part; only its first dimension may be shorter, so that it
      // stays contiguous and the view needs no strides of its own.
      for (auto [d, size] : llvm::enumerate(type.getShape().drop_front()))
        if (ShapedType::isDynamic(size))
          return op.emitOpError("expects only the first size of scratch to vary, but dimension ")
                 << d + 1 << " does too";
      b.setInsertionPoint(op);
      SmallVector<OpFoldResult> sizes = op.getMixedSizes(), strides;
      SmallVector<int64_t> steps(shape.size());
      int64_t step = 1;
      for (int64_t d = shape.size() - 1; d >= 0; --d) {
        steps[d] = step;
        step *= shape[d];
      }
      for (int64_t s : steps)
        strides.push_back(b.getIndexAttr(s));
      buffer = memref::ReinterpretCastOp::create(b, op.getLoc(), type, buffer, b.getIndexAttr(0),
                                                 sizes, strides);
    }
    op.replaceAllUsesWith(buffer);
    op.erase();
    return success();
  }
};

} // namespace
} // namespace otodus

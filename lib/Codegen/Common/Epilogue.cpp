//===- Epilogue.cpp - Elementwise ops behind an op that is not row-wise ----===//

#include "Epilogue.h"

#include "otodus/Codegen/Common/KernelMath.h"

#include "mlir/IR/IRMapping.h"

#include "llvm/ADT/STLExtras.h"

using namespace mlir;

namespace otodus {

FailureOr<Epilogue> Epilogue::of(mega::GroupOp group) {
  Epilogue epilogue;
  Block &body = *group.getBody(0);
  epilogue.origin = epilogue.stored = body.front().getResult(0);
  Type type = epilogue.origin.getType();
  for (Operation &op : llvm::drop_begin(body.without_terminator())) {
    if (!op.hasTrait<OpTrait::Elementwise>() || op.getNumResults() != 1 || op.getNumRegions() != 0 ||
        op.getResult(0).getType() != type || !isa<FloatType>(getElementTypeOrSelf(type)) ||
        !llvm::all_of(op.getOperandTypes(), [&](Type operand) { return operand == type; }))
      return op.emitOpError("cannot follow ")
             << body.front().getName() << " in a kernel: expects an elementwise op on values of "
             << type;
    if (needsLibrary(&op))
      return emitNeedsLibrary(&op);
    for (Value operand : op.getOperands())
      if (isa<BlockArgument>(operand) && !llvm::is_contained(epilogue.read, operand))
        epilogue.read.push_back(operand);
    epilogue.ops.push_back(&op);
    epilogue.stored = op.getResult(0);
  }
  epilogue.number = -1;
  for (auto [i, yielded] : llvm::enumerate(group.getYield().getOperands())) {
    if (yielded == epilogue.stored)
      epilogue.number = int64_t(i);
    else if (yielded == epilogue.origin ||
             llvm::is_contained(epilogue.ops, yielded.getDefiningOp()))
      return group.emitOpError("expects only the last of its elementwise ops to have a result "
                               "outside, but so has ")
             << yielded.getDefiningOp()->getName();
  }
  if (epilogue.number < 0)
    return group.emitOpError("expects the value of its last op to be a result");
  return epilogue;
}

Value Epilogue::emit(OpBuilder &b, Location loc, Value first, ValueRange inputs) const {
  IRMapping map;
  map.map(origin, first);
  for (auto [model, value] : llvm::zip(read, inputs))
    map.map(model, value);
  Value value = first;
  for (Operation *op : ops) {
    SmallVector<Value> operands;
    for (Value operand : op->getOperands())
      operands.push_back(map.lookup(operand));
    OperationState state(loc, op->getName(), operands, {first.getType()}, op->getAttrs());
    value = b.create(state)->getResult(0);
    map.map(op->getResult(0), value);
  }
  return value;
}

} // namespace otodus

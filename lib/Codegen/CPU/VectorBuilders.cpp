//===- VectorBuilders.cpp - Small builders of the vector lowering ----------===//

#include "LowerTilesToVectors.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Arith/Utils/Utils.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/IR/IRMapping.h"

using namespace mlir;

namespace otodus::cpu {

Value readVector(OpBuilder &b, Location loc, Value tensor, ValueRange indices, int64_t lanes) {
  Type element = getElementTypeOrSelf(tensor.getType());
  auto type = VectorType::get({lanes}, element);
  Value padding = arith::ConstantOp::create(b, loc, b.getZeroAttr(element));
  SmallVector<bool> inBounds(1, true);
  return vector::TransferReadOp::create(b, loc, type, tensor, indices, padding,
                                        ArrayRef<bool>(inBounds));
}

Value writeVector(OpBuilder &b, Location loc, Value vector, Value tensor, ValueRange indices) {
  SmallVector<bool> inBounds(1, true);
  auto write = vector::TransferWriteOp::create(b, loc, vector, tensor, indices,
                                               ArrayRef<bool>(inBounds));
  return write->getNumResults() ? write->getResult(0) : Value();
}

Value asVector(OpBuilder &b, Location loc, Value value, int64_t lanes) {
  if (isa<VectorType>(value.getType()))
    return value;
  return vector::BroadcastOp::create(b, loc, VectorType::get({lanes}, value.getType()), value);
}

Operation *cloneOnVectors(OpBuilder &b, Operation *op, IRMapping &map, int64_t lanes) {
  SmallVector<Value> operands;
  for (Value operand : op->getOperands())
    operands.push_back(asVector(b, op->getLoc(), map.lookupOrDefault(operand), lanes));
  SmallVector<Type> types;
  for (Type type : op->getResultTypes())
    types.push_back(VectorType::get({lanes}, type));
  OperationState state(op->getLoc(), op->getName(), operands, types, op->getAttrs());
  if (auto constant = dyn_cast<arith::ConstantOp>(op)) {
    auto attr = SplatElementsAttr::get(cast<VectorType>(types[0]), constant.getValue());
    state = OperationState(op->getLoc(), op->getName(), operands, types,
                           {b.getNamedAttr("value", attr)});
  }
  Operation *clone = b.create(state);
  map.map(op->getResults(), clone->getResults());
  return clone;
}

static SmallVector<Value>
buildLoopsFrom(OpBuilder &b, Location loc, ArrayRef<OpFoldResult> bounds, SmallVector<Value> ivs,
               ValueRange carried,
               function_ref<SmallVector<Value>(OpBuilder &, ValueRange, ValueRange)> body) {
  if (ivs.size() == bounds.size())
    return body(b, ivs, carried);
  OpFoldResult bound = bounds[ivs.size()];
  Value zero = arith::ConstantIndexOp::create(b, loc, 0);
  if (!bound || getConstantIntValue(bound) == 1) {
    ivs.push_back(zero);
    return buildLoopsFrom(b, loc, bounds, ivs, carried, body);
  }
  Value one = arith::ConstantIndexOp::create(b, loc, 1);
  Value upper = getValueOrCreateConstantIndexOp(b, loc, bound);
  auto loop = scf::ForOp::create(
      b, loc, zero, upper, one, carried,
      [&](OpBuilder &nested, Location nestedLoc, Value iv, ValueRange args) {
        SmallVector<Value> inner(ivs);
        inner.push_back(iv);
        auto next = buildLoopsFrom(nested, nestedLoc, bounds, inner, args, body);
        scf::YieldOp::create(nested, nestedLoc, next);
      });
  return SmallVector<Value>(loop.getResults());
}

SmallVector<Value>
buildLoops(OpBuilder &b, Location loc, ArrayRef<OpFoldResult> bounds, ValueRange inits,
           function_ref<SmallVector<Value>(OpBuilder &, ValueRange, ValueRange)> body) {
  return buildLoopsFrom(b, loc, bounds, {}, inits, body);
}

} // namespace otodus::cpu

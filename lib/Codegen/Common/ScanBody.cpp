//===- ScanBody.cpp - The body of mega.scan in a kernel --------------------===//

#include "ScanBody.h"

#include "mlir/Dialect/Arith/IR/Arith.h"

using namespace mlir;

namespace otodus {

Type ScanBody::typeOf(Type element) {
  return lanes ? Type(VectorType::get({lanes}, element)) : element;
}

FailureOr<Value> ScanBody::emit(ArrayRef<Value> inputs, SmallVectorImpl<Value> &states) {
  Block *block = op.getBody();
  values.clear();
  wide.clear();
  for (auto [i, argument] : llvm::enumerate(block->getArguments())) {
    Value value = i < inputs.size() ? inputs[i] : states[i - inputs.size()];
    if (!argument.getType().isF32()) {
      // Its f32 form is at hand; the rounded one goes away if nobody else asks.
      wide[argument] = value;
      value = arith::TruncFOp::create(b, op.getLoc(), typeOf(argument.getType()), value);
    }
    values[argument] = value;
  }
  for (Operation &inner : block->without_terminator())
    if (failed(copy(&inner)))
      return failure();
  Operation *yield = block->getTerminator();
  for (Value operand : yield->getOperands())
    if (!lookup(operand))
      return yield->emitOpError("yields a value of outside the body of mega.scan; make it one "
                                "of its inputs");
  for (auto [i, state] : llvm::enumerate(states))
    state = lookup(yield->getOperand(i));
  return lookup(yield->getOperands().back());
}

/// Null for a value of outside.
Value ScanBody::lookup(Value value) {
  Value &known = values[value];
  auto constant = known ? arith::ConstantOp() : value.getDefiningOp<arith::ConstantOp>();
  if (!constant)
    return known;
  TypedAttr number = constant.getValue();
  if (lanes)
    number = SplatElementsAttr::get(cast<ShapedType>(typeOf(value.getType())), Attribute(number));
  return known = arith::ConstantOp::create(b, op.getLoc(), number);
}

LogicalResult ScanBody::copy(Operation *inner) {
  if (isa<arith::ConstantOp>(inner))
    return success(); // when it is used
  if (auto extend = dyn_cast<arith::ExtFOp>(inner))
    if (Value value = wide.lookup(extend.getIn()); value && extend.getType().isF32()) {
      values[extend.getResult()] = value;
      return success();
    }
  if (!OpTrait::hasElementwiseMappableTraits(inner) || inner->getNumRegions() != 0)
    return inner->emitOpError("has no form in a kernel, which the body of mega.scan needs");
  OperationState state(inner->getLoc(), inner->getName());
  for (Value operand : inner->getOperands()) {
    Value value = lookup(operand);
    if (!value)
      return inner->emitOpError("reads a value of outside the body of mega.scan; make it one "
                                "of its inputs");
    state.operands.push_back(value);
  }
  for (Type type : inner->getResultTypes())
    state.types.push_back(typeOf(type));
  state.attributes = inner->getDiscardableAttrDictionary();
  state.propertiesAttr = inner->getPropertiesAsAttribute();
  Operation *made = b.create(state);
  // Products and sums may become one operation, rounded once.
  if (isa<arith::MulFOp, arith::AddFOp, arith::SubFOp>(made)) {
    auto flags = cast<arith::ArithFastMathInterface>(made).getFastMathFlagsAttr().getValue();
    made->setAttr("fastmath", arith::FastMathFlagsAttr::get(
                                  b.getContext(), flags | arith::FastMathFlags::contract));
  }
  for (auto [from, to] : llvm::zip(inner->getResults(), made->getResults()))
    values[from] = to;
  return success();
}

} // namespace otodus

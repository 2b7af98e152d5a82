//===- OpHelpers.cpp - What the families of ops share ----------------------===//

#include "mega/IR/OpHelpers.h"

#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/TypeUtilities.h"

using namespace mlir;
using namespace otodus;

int64_t mega::flattenedWidth(RankedTensorType activation) {
  return llvm::product_of(activation.getShape().drop_front(2));
}

static void printShape(llvm::raw_ostream &os, ArrayRef<int64_t> shape) {
  os << '[';
  llvm::interleaveComma(shape, os, [&](int64_t size) {
    if (ShapedType::isDynamic(size))
      os << '?';
    else
      os << size;
  });
  os << ']';
}

LogicalResult mega::detail::verifyShape(Operation *op, StringRef what, Type type, StringRef letters,
                                        ArrayRef<int64_t> expected) {
  ArrayRef<int64_t> shape = cast<RankedTensorType>(type).getShape();
  if (shape.size() == expected.size() && llvm::all_of_zip(shape, expected, sizesAgree))
    return success();
  std::string text;
  llvm::raw_string_ostream os(text);
  os << "expects " << what << " to be " << letters << " = ";
  printShape(os, expected);
  os << ", but got ";
  printShape(os, shape);
  return op->emitOpError(text);
}

LogicalResult mega::detail::verifyElement(Operation *op, StringRef what, Type type, Type element) {
  if (getElementTypeOrSelf(type) == element)
    return success();
  return op->emitOpError("expects ") << what << " of " << element << ", but got " << type;
}

LogicalResult mega::detail::verifyF32(Operation *op, StringRef what, Type type) {
  return verifyElement(op, what, type, Float32Type::get(op->getContext()));
}

LogicalResult mega::detail::verifyEps(Operation *op, const APFloat &value) {
  if (value.isFiniteNonZero() && !value.isNegative())
    return success();
  return op->emitOpError("expects a positive and finite eps, but got ") << value.convertToDouble();
}

LogicalResult mega::detail::verifyScale(Operation *op, const std::optional<APFloat> &value) {
  if (!value || value->isFinite())
    return success();
  return op->emitOpError("expects a finite scale, but got ") << value->convertToDouble();
}

ParseResult mega::detail::parseSameTypes(OpAsmParser &, ArrayRef<Type> from,
                                         SmallVectorImpl<Type> &to) {
  to.append(from.begin(), from.end());
  return success();
}

void mega::detail::printSameTypes(OpAsmPrinter &, Operation *, TypeRange, TypeRange) {}

LogicalResult mega::detail::reifyResultShapes(Operation *op, OpBuilder &builder,
                                              ReifiedRankedShapedTypeDims &shapes) {
  // The first operand has batch and time, with two exceptions.
  Value rows = op->getOperand(0);
  if (auto scan = dyn_cast<ScanOp>(op))
    rows = scan.getInit();
  else if (auto angles = dyn_cast<RotaryAnglesOp>(op))
    rows = angles.getLike();
  SmallVector<Value> sources(op->getNumResults(), rows);
  if (auto sequence = dyn_cast<SequenceOpInterface>(op))
    for (auto [operand, result] :
         llvm::zip_equal(sequence.getStateOperands(), sequence.getStateResults()))
      sources[result.getResultNumber()] = operand->get();

  for (auto [source, type] : llvm::zip_equal(sources, op->getResultTypes())) {
    SmallVector<OpFoldResult> &sizes = shapes.emplace_back();
    for (auto [dim, size] : llvm::enumerate(cast<RankedTensorType>(type).getShape()))
      sizes.push_back(ShapedType::isDynamic(size)
                          ? tensor::getMixedSize(builder, op->getLoc(), source, dim)
                          : OpFoldResult(builder.getIndexAttr(size)));
  }
  return success();
}

//===- BlockedLayout.cpp - How activations and weights lie in memory -------===//

#include "BlockedLayout.h"

#include "mlir/Dialect/Affine/IR/AffineOps.h"
#include "mlir/Dialect/Arith/IR/Arith.h"

using namespace mlir;

namespace otodus {

formats::Width widthOf(Type activation) {
  auto shape = cast<ShapedType>(activation).getShape();
  formats::Width width;
  width.groups = 1;
  for (int64_t d = 2; d + 1 < int64_t(shape.size()); ++d)
    width.groups *= shape[d];
  width.inner = shape.back();
  return width;
}

formats::DType dtypeOf(Type type) {
  type = getElementTypeOrSelf(type);
  if (type.isBF16())
    return formats::DType::BF16;
  if (type.isInteger(64))
    return formats::DType::I64;
  if (type.isInteger(32))
    return formats::DType::I32;
  if (type.isInteger(1) || type.isInteger(8))
    return formats::DType::Bool;
  if (type.isF64())
    return formats::DType::F64;
  return formats::DType::F32;
}

int64_t rowStrideOf(formats::Width width, formats::DType dtype) {
  int64_t stride = width.padded(), bytes = formats::sizeOf(dtype);
  return stride * bytes % 4096 == 0 ? stride + 64 / bytes : stride;
}

SmallVector<int64_t> blockedRow(Type activation) {
  auto shape = cast<ShapedType>(activation).getShape();
  SmallVector<int64_t> row(shape.drop_front(2).drop_back());
  row.push_back((shape.back() + kLanes - 1) / kLanes);
  row.push_back(kLanes);
  return row;
}

/// [outer0, outer1, row…] over `buffer`, rows `rowStride` apart.
static Value rowBufferView(KernelFrame &frame, Value buffer, Type activation, OpFoldResult outer0,
                           OpFoldResult outer1) {
  OpBuilder &b = frame.b;
  formats::Width width = widthOf(activation);
  Type element = getElementTypeOrSelf(activation);
  int64_t rowStride = rowStrideOf(width, dtypeOf(element));
  SmallVector<int64_t> row = blockedRow(activation);

  SmallVector<OpFoldResult> sizes{outer0, outer1}, strides;
  OpFoldResult tileStride;
  if (auto count = getConstantIntValue(outer1)) {
    tileStride = b.getIndexAttr(*count * rowStride);
  } else {
    Value stride = arith::ConstantIndexOp::create(b, frame.loc, rowStride);
    tileStride = arith::MulIOp::create(b, frame.loc, cast<Value>(outer1), stride).getResult();
  }
  strides = {tileStride, b.getIndexAttr(rowStride)};
  int64_t stride = 1;
  SmallVector<int64_t> rowStrides(row.size());
  for (int64_t d = row.size() - 1; d >= 0; --d) {
    rowStrides[d] = stride;
    stride *= row[d];
  }
  for (auto [size, step] : llvm::zip(row, rowStrides)) {
    sizes.push_back(b.getIndexAttr(size));
    strides.push_back(b.getIndexAttr(step));
  }
  SmallVector<int64_t> shape, layout;
  for (auto [size, step] : llvm::zip(sizes, strides)) {
    shape.push_back(getConstantIntValue(size).value_or(ShapedType::kDynamic));
    layout.push_back(getConstantIntValue(step).value_or(ShapedType::kDynamic));
  }
  auto type = MemRefType::get(shape, element, StridedLayoutAttr::get(b.getContext(), 0, layout));
  return memref::ReinterpretCastOp::create(b, frame.loc, type, buffer, b.getIndexAttr(0), sizes,
                                           strides);
}

Value KernelFrame::rowsView(Value buffer, Type activation) {
  AffineExpr s = b.getAffineSymbolExpr(0);
  Value tiles = affine::AffineApplyOp::create(
      b, loc, AffineMap::get(0, 1, s.ceilDiv(rowTile)), rows);
  return rowBufferView(*this, buffer, activation, tiles, b.getIndexAttr(rowTile));
}

Value KernelFrame::rowNumbersView(Value buffer) {
  AffineExpr s = b.getAffineSymbolExpr(0);
  Value tiles = affine::AffineApplyOp::create(
      b, loc, AffineMap::get(0, 1, s.ceilDiv(rowTile)), rows);
  return denseView(buffer, {ShapedType::kDynamic, rowTile}, tiles);
}

Value KernelFrame::stepsView(Value buffer, Type activation) {
  return rowBufferView(*this, buffer, activation, batch, length);
}

Value KernelFrame::denseView(Value buffer, ArrayRef<int64_t> shape, ValueRange dynamic) {
  SmallVector<OpFoldResult> sizes, strides(shape.size());
  size_t next = 0;
  for (int64_t size : shape)
    sizes.push_back(ShapedType::isDynamic(size) ? OpFoldResult(dynamic[next++])
                                                : OpFoldResult(b.getIndexAttr(size)));
  // Row-major: only the outermost size may be dynamic without making strides so.
  SmallVector<int64_t> layout(shape.size());
  OpFoldResult stride = b.getIndexAttr(1);
  for (int64_t d = shape.size() - 1; d >= 0; --d) {
    strides[d] = stride;
    layout[d] = getConstantIntValue(stride).value_or(ShapedType::kDynamic);
    auto a = getConstantIntValue(stride), c = getConstantIntValue(sizes[d]);
    if (a && c) {
      stride = b.getIndexAttr(*a * *c);
    } else {
      auto value = [&](OpFoldResult f) -> Value {
        if (auto constant = getConstantIntValue(f))
          return arith::ConstantIndexOp::create(b, loc, *constant);
        return cast<Value>(f);
      };
      stride = arith::MulIOp::create(b, loc, value(stride), value(sizes[d])).getResult();
    }
  }
  auto type = MemRefType::get(shape, getElementTypeOrSelf(buffer.getType()),
                              StridedLayoutAttr::get(b.getContext(), 0, layout));
  return memref::ReinterpretCastOp::create(b, loc, type, buffer, b.getIndexAttr(0), sizes,
                                           strides);
}

Value KernelFrame::asTensor(Value view, bool writable) {
  auto type = cast<MemRefType>(view.getType());
  return bufferization::ToTensorOp::create(
      b, loc, RankedTensorType::get(type.getShape(), type.getElementType()), view,
      /*restrict=*/true, writable);
}

} // namespace otodus

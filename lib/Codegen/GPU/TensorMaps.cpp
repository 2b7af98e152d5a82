//===- TensorMaps.cpp - Operand tiles as boxes of tensor maps --------------===//

#include "TensorMaps.h"

#include "otodus/Formats/Artefact.h"

#include "mlir/Dialect/Bufferization/IR/Bufferization.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Dialect/Utils/StaticValueUtils.h"

using namespace mlir;

namespace otodus::gpu {
namespace {

/// Elements between neighbours along a dimension of the product, 0 where the operand repeats itself, nothing where
/// that is not known.
std::optional<int64_t> strideOf(AffineMap map, const Place &place, unsigned loop) {
  for (auto [expr, stride] : llvm::zip(map.getResults(), place.strides))
    if (auto dim = dyn_cast<AffineDimExpr>(expr); dim && dim.getPosition() == loop)
      return getConstantIntValue(stride);
  return 0;
}

/// The distance of neighbours along `sizes`, dimensions `first`… of the product taken as one; nothing if they
/// do not continue one another.
std::optional<int64_t> strideOf(AffineMap map, const Place &place, unsigned first,
                                ArrayRef<int64_t> sizes) {
  std::optional<int64_t> unit;
  int64_t reach = 1;
  for (int64_t d = int64_t(sizes.size()) - 1; d >= 0; --d) {
    if (sizes[d] == 1)
      continue;
    std::optional<int64_t> stride = strideOf(map, place, first + unsigned(d));
    if (!stride || (unit && *stride != *unit * reach))
      return std::nullopt;
    unit = unit ? *unit : *stride;
    reach *= sizes[d];
  }
  return unit;
}

/// Rows of `pitch` elements of the whole buffer that `tensor` is cut from; 0 if it does not say.
int64_t rowsBehind(Value tensor, int64_t pitch) {
  for (;;) {
    if (auto slice = tensor.getDefiningOp<tensor::ExtractSliceOp>())
      tensor = slice.getSource();
    else if (auto cast = tensor.getDefiningOp<tensor::CastOp>())
      tensor = cast.getSource();
    else
      break;
  }
  auto view = tensor.getDefiningOp<bufferization::ToTensorOp>();
  auto shape = view ? view.getBuffer().getDefiningOp<memref::ReinterpretCastOp>() : nullptr;
  if (!shape)
    return 0;
  auto offset = getConstantIntValue(shape.getMixedOffsets().front());
  if (!offset)
    return 0;
  int64_t last = *offset;
  for (auto [size, stride] : llvm::zip(shape.getMixedSizes(), shape.getMixedStrides())) {
    auto n = getConstantIntValue(size), distance = getConstantIntValue(stride);
    if (!n || !distance)
      return 0;
    last += (*n - 1) * *distance;
  }
  return last / pitch + 1;
}

} // namespace

std::optional<MappedOperand> mapOperand(const ProductTile &tile, unsigned operand, bool emit,
                                        SimtBuilder &s, TileEvaluator &values) {
  linalg::GenericOp op = tile.op;
  Value tensor = op.getDpsInputOperand(operand)->get();
  std::optional<Place> place = values.placeOf(tensor);
  if (!place || !tile.element.isBF16())
    return std::nullopt;
  auto argument = dyn_cast<BlockArgument>(place->memref);
  if (!argument || !isa<func::FuncOp>(argument.getOwner()->getParentOp()))
    return std::nullopt;
  AffineMap map = op.getMatchingIndexingMap(op.getDpsInputOperand(operand));
  unsigned columns = 2, terms = columns + unsigned(tile.columnSizes.size());
  std::optional<int64_t> along = strideOf(map, *place, terms, tile.termSizes);
  std::optional<int64_t> pitch = operand ? strideOf(map, *place, columns, tile.columnSizes)
                                         : strideOf(map, *place, 1);
  if (along != 1 || !pitch || *pitch < tile.terms || *pitch % 8)
    return std::nullopt;
  MappedOperand result;
  result.buffer = argument.getArgNumber();
  result.pitch = *pitch;
  if (operand) {
    result.rows = rowsBehind(tensor, *pitch);
    if (!result.rows)
      return std::nullopt;
  }
  if (emit) {
    Value zero = s.index(0);
    Value first = values.address(*place, operand ? tile.rightAt(zero, zero, 1, false)
                                                 : tile.leftAt(zero, zero, 1));
    result.row = s.div(first, *pitch);
    result.column = s.rem(first, *pitch);
  }
  return result;
}

Value TensorMaps::get(const MappedOperand &operand, int64_t rows, int64_t terms) {
  Builder b(function.getContext());
  auto extent = [&](formats::Symbol symbol, int64_t factor) {
    return b.getDenseI64ArrayAttr({int64_t(symbol), factor, 1});
  };
  auto symbol = formats::Symbol::Rows;
  if (auto other = function->getAttrOfType<IntegerAttr>("mega.row_symbol"))
    symbol = formats::Symbol(other.getInt());
  Attribute outer = operand.rows ? extent(formats::Symbol::One, operand.rows) : extent(symbol, 1);
  Attribute description = b.getDictionaryAttr(
      {b.getNamedAttr("buffer", b.getI64IntegerAttr(operand.buffer)),
       b.getNamedAttr("dtype", TypeAttr::get(b.getBF16Type())),
       b.getNamedAttr("extents",
                      b.getArrayAttr({extent(formats::Symbol::One, operand.pitch), outer})),
       b.getNamedAttr("strides",
                      b.getArrayAttr({extent(formats::Symbol::One, operand.pitch * 2)})),
       b.getNamedAttr("box", b.getDenseI64ArrayAttr({terms, rows})),
       b.getNamedAttr("swizzle", b.getI64IntegerAttr(terms * 2))});
  auto known = llvm::find(maps, description);
  if (known != maps.end())
    return arguments[size_t(known - maps.begin())];
  unsigned at = function.getNumArguments();
  (void)function.insertArgument(at, LLVM::LLVMPointerType::get(function.getContext()), {},
                                function.getLoc());
  maps.push_back(description);
  arguments.push_back(function.getArgument(at));
  function->setAttr("gk.tensor_maps", b.getArrayAttr(maps));
  return arguments.back();
}

} // namespace otodus::gpu

//===- TileEvaluator.cpp - Elements of a tile program's tensors ------------===//

#include "TileEvaluator.h"

#include "Codegen/Common/Philox.h"

#include "mega/IR/MegaOps.h"

#include "mlir/Dialect/Affine/IR/AffineOps.h"
#include "mlir/Dialect/Affine/Utils.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Bufferization/IR/Bufferization.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Dialect/Utils/StaticValueUtils.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;

namespace otodus::gpu {

SmallVector<Axis> digits(Value base, ArrayRef<int64_t> sizes, int64_t count) {
  SmallVector<Axis> axes(sizes.size());
  int64_t divisor = 1;
  for (int64_t d = int64_t(sizes.size()) - 1; d >= 0; --d) {
    axes[d] = sizes[d] == 1 ? Axis::fixed(0) : Axis{base, 0, divisor, sizes[d], false};
    divisor *= sizes[d];
  }
  if (!axes.empty() && count > 1)
    axes.back().along = true;
  // The outermost digit takes what is left.
  for (Axis &axis : axes)
    if (axis.base) {
      axis.modulus = axis.divisor * axis.modulus == divisor ? 0 : axis.modulus;
      break;
    }
  return axes;
}

//===----------------------------------------------------------------------===//
// Memory
//===----------------------------------------------------------------------===//

std::optional<Place> TileEvaluator::placeOf(Value tensor) {
  auto known = places.find(tensor);
  if (known != places.end())
    return known->second;
  if (auto argument = dyn_cast<BlockArgument>(tensor)) {
    auto forall = dyn_cast<scf::ForallOp>(argument.getOwner()->getParentOp());
    if (!forall || argument.getArgNumber() < forall.getRank())
      return std::nullopt;
    return placeOf(forall.getOutputs()[argument.getArgNumber() - forall.getRank()]);
  }
  Operation *op = tensor.getDefiningOp();
  if (auto cast = dyn_cast<tensor::CastOp>(op))
    return placeOf(cast.getSource());
  if (auto view = dyn_cast<bufferization::ToTensorOp>(op)) {
    auto shape = view.getBuffer().getDefiningOp<memref::ReinterpretCastOp>();
    if (!shape)
      return std::nullopt;
    Place place;
    place.memref = shape.getSource();
    OpFoldResult offset = shape.getMixedOffsets().front();
    if (auto value = dyn_cast<Value>(offset))
      place.offset = value;
    else if (int64_t constant = *getConstantIntValue(offset))
      place.offset = s.index(constant);
    place.strides = shape.getMixedStrides();
    return place;
  }
  auto slice = dyn_cast<tensor::ExtractSliceOp>(op);
  if (!slice)
    return std::nullopt;
  std::optional<Place> place = placeOf(slice.getSource());
  if (!place)
    return std::nullopt;
  llvm::SmallBitVector dropped = slice.getDroppedDims();
  SmallVector<OpFoldResult> strides;
  for (auto [d, offset] : llvm::enumerate(slice.getMixedOffsets())) {
    OpFoldResult stride = place->strides[d];
    auto value = [&](OpFoldResult f) -> Value {
      if (auto constant = getConstantIntValue(f))
        return s.index(*constant);
      return cast<Value>(f);
    };
    if (getConstantIntValue(offset) != 0) {
      Value shift = s.mul(value(offset), value(stride));
      place->offset = place->offset ? s.add(place->offset, shift) : shift;
    }
    if (!dropped.test(d))
      strides.push_back(stride);
  }
  place->strides = std::move(strides);
  return place;
}

Value TileEvaluator::coordinate(const Axis &axis) {
  if (!axis.base)
    return s.index(axis.constant);
  Value v = s.div(axis.base, axis.divisor);
  return axis.modulus ? s.rem(v, axis.modulus) : v;
}

bool TileEvaluator::contiguous(const Place &place, ArrayRef<Axis> at) {
  for (auto [axis, stride] : llvm::zip(at, place.strides))
    if (axis.along)
      return getConstantIntValue(stride) == 1;
  return false;
}

Value TileEvaluator::address(const Place &place, ArrayRef<Axis> at) {
  Value result = place.offset ? place.offset : s.index(0);
  // Digits of one number whose strides continue one another are that number again.
  SmallVector<bool> done(at.size(), false);
  for (size_t d = 0; d < at.size(); ++d) {
    auto unit = getConstantIntValue(place.strides[d]);
    if (!at[d].base || at[d].divisor != 1 || !at[d].modulus || !unit)
      continue;
    int64_t reach = at[d].modulus;
    SmallVector<size_t> joined{d};
    for (bool grown = true; grown && reach;) {
      grown = false;
      for (size_t e = 0; e < at.size() && reach; ++e)
        if (at[e].base == at[d].base && at[e].divisor == reach && e != d &&
            getConstantIntValue(place.strides[e]) == *unit * reach) {
          joined.push_back(e);
          reach = at[e].modulus ? reach * at[e].modulus : 0;
          grown = true;
        }
    }
    Value whole = reach ? s.rem(at[d].base, reach) : at[d].base;
    result = s.add(result, s.mul(whole, *unit));
    for (size_t e : joined)
      done[e] = true;
  }
  for (size_t d = 0; d < at.size(); ++d) {
    if (done[d] || (!at[d].base && at[d].constant == 0))
      continue;
    OpFoldResult stride = place.strides[d];
    auto constant = getConstantIntValue(stride);
    Value v = coordinate(at[d]);
    result = s.add(result, constant ? s.mul(v, *constant) : s.mul(v, cast<Value>(stride)));
  }
  return result;
}

//===----------------------------------------------------------------------===//
// Computation
//===----------------------------------------------------------------------===//

SmallVector<Axis> TileEvaluator::apply(AffineMap map, ArrayRef<Axis> loops) {
  SmallVector<Axis> result;
  for (AffineExpr expr : map.getResults()) {
    if (auto dim = dyn_cast<AffineDimExpr>(expr))
      result.push_back(loops[dim.getPosition()]);
    else
      result.push_back(Axis::fixed(cast<AffineConstantExpr>(expr).getValue()));
  }
  return result;
}

Value TileEvaluator::widen(Value v, int64_t count) {
  if (count == 1 || isa<VectorType>(v.getType()))
    return v;
  return vector::BroadcastOp::create(b, loc, VectorType::get({count}, v.getType()), v);
}

Value TileEvaluator::asIndex(const Axis &axis, int64_t count) {
  Value first = coordinate(axis);
  if (!axis.along || count == 1)
    return first;
  auto type = VectorType::get({count}, b.getIndexType());
  Value steps = vector::StepOp::create(b, loc, type);
  return arith::AddIOp::create(b, loc, widen(first, count), steps);
}

Value TileEvaluator::evaluate(Value tensor, ArrayRef<Axis> at, int64_t count) {
  if (std::optional<Place> place = placeOf(tensor)) {
    bool along = llvm::any_of(at, [](const Axis &axis) { return axis.along; });
    if (along && count > 1 && !contiguous(*place, at)) {
      emitError(loc) << "a kernel reads elements that are not neighbours in memory";
      return Value();
    }
    bool vector = along && count > 1;
    return s.load(place->memref, address(*place, at), vector ? count : 1, vector);
  }
  if (Value scalar = fixed.lookup(tensor))
    return scalar;
  Operation *op = tensor.getDefiningOp();
  if (auto cast = dyn_cast_or_null<tensor::CastOp>(op))
    return evaluate(cast.getSource(), at, count);
  if (auto fill = dyn_cast_or_null<linalg::FillOp>(op))
    return fill.getInputs()[0];
  auto generic = dyn_cast_or_null<linalg::GenericOp>(op);
  if (!generic || generic.getNumReductionLoops() != 0) {
    if (op)
      op->emitOpError("has no form on a GPU here");
    else
      emitError(loc) << "a tensor of the tile program comes from nowhere";
    return Value();
  }
  unsigned number = cast<OpResult>(tensor).getResultNumber();
  AffineMap map = generic.getIndexingMapMatchingResult(cast<OpResult>(tensor));
  SmallVector<Axis> loops(generic.getNumLoops(), Axis::fixed(0));
  for (auto [expr, axis] : llvm::zip(map.getResults(), at))
    if (auto dim = dyn_cast<AffineDimExpr>(expr))
      loops[dim.getPosition()] = axis;
  SmallVector<Value> results;
  Value wanted = generic.getBody()->getTerminator()->getOperand(number);
  if (failed(evaluateBody(generic, loops, count, wanted, results)))
    return Value();
  return results.front();
}

LogicalResult TileEvaluator::evaluateBody(linalg::GenericOp op, ArrayRef<Axis> loops, int64_t count,
                                          ValueRange wanted, SmallVectorImpl<Value> &results) {
  Block *body = op.getBody();
  // Only what is needed.
  llvm::SmallPtrSet<Operation *, 16> needed;
  llvm::SmallDenseSet<Value> arguments;
  SmallVector<Value> work(wanted);
  while (!work.empty()) {
    Value v = work.pop_back_val();
    if (v.getParentBlock() != body)
      continue;
    if (isa<BlockArgument>(v))
      arguments.insert(v);
    else if (needed.insert(v.getDefiningOp()).second)
      llvm::append_range(work, v.getDefiningOp()->getOperands());
  }
  IRMapping map;
  for (OpOperand &operand : op->getOpOperands()) {
    BlockArgument argument = op.getMatchingBlockArgument(&operand);
    if (!arguments.contains(argument))
      continue;
    if (!isa<ShapedType>(operand.get().getType())) {
      map.map(argument, operand.get());
      continue;
    }
    Value v = evaluate(operand.get(), apply(op.getMatchingIndexingMap(&operand), loops), count);
    if (!v)
      return failure();
    map.map(argument, v);
  }
  for (Operation &inner : body->without_terminator()) {
    if (!needed.contains(&inner))
      continue;
    if (auto index = dyn_cast<linalg::IndexOp>(inner)) {
      map.map(index.getResult(), asIndex(loops[index.getDim()], count));
      continue;
    }
    if (auto swap = dyn_cast<mega::PairSwapOp>(inner)) {
      if (count % 2)
        return inner.emitOpError("needs both values of a pair in one thread");
      SmallVector<int64_t> order;
      for (int64_t i = 0; i < count; ++i)
        order.push_back(i ^ 1);
      Value v = widen(map.lookup(swap->getOperand(0)), count);
      map.map(swap->getResult(0), Value(vector::ShuffleOp::create(b, loc, v, v, order)));
      continue;
    }
    if (auto word = dyn_cast<mega::RandomWordOp>(inner)) {
      SmallVector<Value> first;
      for (Value operand : word->getOperands()) {
        Value v = map.lookupOrDefault(operand);
        first.push_back(isa<VectorType>(v.getType())
                            ? Value(vector::ExtractOp::create(b, loc, v, 0)) : v);
      }
      map.map(word.getResult(), emitRandomWords(b, loc, first[0], {first[1], first[2], first[3]},
                                                {first[4], first[5]}, count));
      continue;
    }
    if (auto apply = dyn_cast<affine::AffineApplyOp>(inner)) {
      // What tiling makes of the index of a loop.
      SmallVector<Value> at;
      for (Value operand : apply.getMapOperands())
        at.push_back(map.lookupOrDefault(operand));
      if (llvm::any_of(at, [](Value v) { return isa<VectorType>(v.getType()); }))
        return inner.emitOpError("has no form for several elements of a thread");
      map.map(apply.getResult(), affine::expandAffineMap(b, loc, apply.getAffineMap(), at)->front());
      continue;
    }
    SmallVector<Value> operands;
    bool vector = false;
    for (Value v : inner.getOperands()) {
      operands.push_back(map.lookupOrDefault(v));
      vector |= isa<VectorType>(operands.back().getType());
    }
    SmallVector<Type> types(inner.getResultTypes());
    if (vector) {
      for (Value &v : operands)
        v = widen(v, count);
      for (Type &type : types)
        type = VectorType::get({count}, type);
    }
    OperationState state(inner.getLoc(), inner.getName(), operands, types, inner.getAttrs());
    state.propertiesAttr = inner.getPropertiesAsAttribute();
    Operation *made = b.create(state);
    for (auto [from, to] : llvm::zip(inner.getResults(), made->getResults()))
      map.map(from, to);
  }
  for (Value v : wanted)
    results.push_back(map.lookupOrDefault(v));
  return success();
}

} // namespace otodus::gpu

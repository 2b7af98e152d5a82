//===- MegaSequenceOps.cpp - Ops that walk time ----------------------------===//

#include "mega/IR/OpHelpers.h"

using namespace mlir;
using namespace otodus;
using namespace otodus::mega;
using namespace otodus::mega::detail;

//===----------------------------------------------------------------------===//
// timestep_norm
//===----------------------------------------------------------------------===//

RowRole TimestepNormOp::getRowRole() { return RowRole::Stream; }

SmallVector<OpOperand *> TimestepNormOp::getStateOperands() {
  return {&getCountMutable(), &getMeanMutable(), &getVarianceMutable()};
}

SmallVector<OpResult> TimestepNormOp::getStateResults() {
  return {cast<OpResult>(getNewCount()), cast<OpResult>(getNewMean()),
          cast<OpResult>(getNewVariance())};
}

LogicalResult TimestepNormOp::verify() {
  RankedTensorType input = getInput().getType();
  int64_t batch = input.getDimSize(0), channels = input.getDimSize(2);
  int64_t groups = getGroups();
  if (channels % groups != 0) // (C1)
    return emitOpError("expects groups to divide the channel count, but ")
           << channels << " is not a multiple of " << groups;
  // Bias and variance have the types of weight and mean by trait.
  if (failed(verifyShape(*this, "weight", getWeight().getType(), "[D]", channels)) ||     // (C2)
      failed(verifyShape(*this, "count", getCount().getType(), "[B]", batch)) ||          // (C3)
      failed(verifyShape(*this, "mean", getMean().getType(), "[B, G]", {batch, groups}))) // (C4)
    return failure();
  if (getMask() && failed(verifyShape(*this, "mask", getMask().getType(), "[B, L]",
                                      {batch, input.getDimSize(1)}))) // (C5)
    return failure();
  return verifyEps(*this, getEps()); // (C6)
}

//===----------------------------------------------------------------------===//
// cema
//===----------------------------------------------------------------------===//

RowRole CemaOp::getRowRole() { return RowRole::Stream; }

SmallVector<OpOperand *> CemaOp::getStateOperands() { return {&getStateMutable()}; }

SmallVector<OpResult> CemaOp::getStateResults() { return {cast<OpResult>(getNewState())}; }

LogicalResult CemaOp::verify() {
  int64_t batch = getInput().getType().getDimSize(0);
  int64_t channels = getInput().getType().getDimSize(2);
  int64_t modes = getAlpha().getType().getDimSize(1);
  // Delta has the type of alpha by trait.
  return success(succeeded(verifyShape(*this, "alpha", getAlpha().getType(), "[D, N, 1]",
                                       {channels, modes, 1})) && // (C1)
                 succeeded(verifyShape(*this, "theta", getTheta().getType(), "[D, 1, 1]",
                                       {channels, 1, 1})) && // (C2)
                 succeeded(verifyShape(*this, "gamma", getGamma().getType(), "[D, N, 2]",
                                       {channels, modes, 2})) && // (C3)
                 succeeded(verifyShape(*this, "omega", getOmega().getType(), "[D, 1]",
                                       {channels, 1})) && // (C4)
                 succeeded(verifyShape(*this, "state", getState().getType(), "[B, D, N, 2]",
                                       {batch, channels, modes, 2}))); // (C5)
}

//===----------------------------------------------------------------------===//
// scan
//===----------------------------------------------------------------------===//

RowRole ScanOp::getRowRole() { return RowRole::Stream; }

SmallVector<OpOperand *> ScanOp::getStateOperands() {
  SmallVector<OpOperand *> operands;
  for (OpOperand &operand : getStatesMutable())
    operands.push_back(&operand);
  return operands;
}

SmallVector<OpResult> ScanOp::getStateResults() {
  return llvm::map_to_vector(getNewStates(), [](Value value) { return cast<OpResult>(value); });
}

SmallVector<AffineMap> ScanOp::getMaps() {
  return llvm::to_vector(getIndexingMaps().getAsValueRange<AffineMapAttr>());
}

void ScanOp::getAsmBlockArgumentNames(Region &region, OpAsmSetValueNameFn setName) {
  if (region.empty())
    return;
  for (auto [index, argument] : llvm::enumerate(region.getArguments()))
    setName(argument, index < getInputs().size() ? "x" : "h");
}

LogicalResult ScanOp::verify() {
  SmallVector<AffineMap> maps = getMaps();
  if (maps.size() != getInputs().size()) // (C1)
    return emitOpError("expects one map per input, but got ")
           << maps.size() << " maps for " << getInputs().size() << " inputs";
  if (getStates().empty()) // (C4)
    return emitOpError("expects at least one state, but got none");

  RankedTensorType init = getInit().getType();
  auto state = cast<RankedTensorType>(getStates().front().getType());
  int64_t sizes[] = {init.getDimSize(0), init.getDimSize(1), init.getDimSize(2),
                     state.getDimSize(2)};
  for (Type type : getStates().getTypes()) {
    if (type != state) // (C5)
      return emitOpError("expects all states to have one type, but got ")
             << state << " and " << type;
    if (failed(verifyShape(*this, "a state", type, "[B, D, N]",
                           {sizes[Batch], sizes[Channel], sizes[Mode]}))) // (C5)
      return failure();
  }
  if (ShapedType::isDynamic(sizes[Mode])) // (C5)
    return emitOpError("expects a static number of modes, but got states of type ") << state;
  // (C6) is what SequenceOpInterface verifies.

  for (auto [index, map, input] : llvm::enumerate(maps, getInputs().getTypes())) {
    if (map.getNumDims() != 4 || map.getNumSymbols() != 0 || !map.isProjectedPermutation()) // (C2)
      return emitOpError("expects map ")
             << index << " to be from (b, t, d, n) to some of them, each at most once, but got "
             << AffineMapAttr::get(map);
    auto type = cast<RankedTensorType>(input);
    if (type.getRank() != map.getNumResults()) // (C3)
      return emitOpError("expects input ") << index << " to have rank " << map.getNumResults()
                                           << " as its map says, but got " << type;
    for (unsigned dim = 0; dim < map.getNumResults(); ++dim) {
      int64_t expected = sizes[map.getDimPosition(dim)];
      if (!sizesAgree(type.getDimSize(dim), expected)) // (C3)
        return emitOpError("expects dimension ")
               << dim << " of input " << index << " to be " << expected << ", but got " << type;
    }
  }
  return success();
}

LogicalResult ScanOp::verifyRegions() {
  Type f32 = Float32Type::get(getContext());
  SmallVector<Type> expected;
  for (Type input : getInputs().getTypes())
    expected.push_back(cast<RankedTensorType>(input).getElementType());
  expected.append(getStates().size(), f32);
  if (TypeRange(getBody()->getArgumentTypes()) != TypeRange(expected)) // (C7)
    return emitOpError("expects a body of (")
           << expected << "), but got (" << getBody()->getArgumentTypes() << ")";

  auto yield = dyn_cast<ScanYieldOp>(getBody()->getTerminator());
  if (!yield) // (C8)
    return emitOpError("expects the body to end in mega.scan_yield, but got ")
           << getBody()->getTerminator()->getName();
  SmallVector<Type> yields(getStates().size() + 1, f32);
  if (yield.getOperandTypes() != TypeRange(yields)) // (C8)
    return yield.emitOpError("expects the new states and the read, (")
           << yields << "), but got (" << yield.getOperandTypes() << ")";
  return success();
}

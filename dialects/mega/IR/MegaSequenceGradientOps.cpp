//===- MegaSequenceGradientOps.cpp - Sizes of what goes back along time -----===//
//
// Verifiers of the saving forms and backward steps of timestep_norm and cema, and of attention's
// backward steps.
//
//===----------------------------------------------------------------------===//

#include "mega/IR/OpHelpers.h"

#include "mlir/IR/TypeUtilities.h"

using namespace mlir;
using namespace otodus;
using namespace otodus::mega;
using namespace otodus::mega::detail;

namespace {

/// A size as kernels lay it out: whole lane blocks of 32.
int64_t padded(int64_t size) { return (size + 31) / 32 * 32; }

/// A value and the sizes it must have.
struct Expected {
  StringRef what;
  Type type;
  StringRef letters;
  SmallVector<int64_t> sizes;
};

LogicalResult verifyShapes(Operation *op, ArrayRef<Expected> all) {
  for (const Expected &one : all)
    if (failed(verifyShape(op, one.what, one.type, one.letters, one.sizes)))
      return failure();
  return success();
}

/// A value and the name its op has for it.
struct Named {
  StringRef what;
  Type type;
};

/// `rounded` have the element type of `like`; `exact` are f32 whatever it is.
LogicalResult verifyElements(Operation *op, Type like, ArrayRef<Named> rounded,
                             ArrayRef<Named> exact) {
  for (const Named &one : rounded)
    if (failed(verifyElement(op, one.what, one.type, getElementTypeOrSelf(like))))
      return failure();
  for (const Named &one : exact)
    if (failed(verifyF32(op, one.what, one.type)))
      return failure();
  return success();
}

LogicalResult verifyGroups(Operation *op, int64_t channels, int64_t groups) {
  if (channels % groups == 0)
    return success();
  return op->emitOpError("expects groups to divide the channel count, but ")
         << channels << " is not a multiple of " << groups;
}

/// What mega.cema_saving keeps for a model of these sizes.
SmallVector<Expected> keptStates(Value start, Value marks, RankedTensorType input, int64_t modes) {
  int64_t words = 2 * modes * padded(input.getDimSize(2));
  return {{"start", start.getType(), "[B, 1, 2 N Dp]", {input.getDimSize(0), 1, words}},
          {"marks",
           marks.getType(),
           "[B, L, 2 N Dp / 32]",
           {input.getDimSize(0), input.getDimSize(1), words / 32}}};
}

/// Elements of a sequence's keys or values as mega.chunk_panels lays them out.
int64_t panelSize(RankedTensorType chunk) {
  return chunk.getDimSize(2) * padded(chunk.getDimSize(1)) * padded(chunk.getDimSize(3));
}

} // namespace

//===----------------------------------------------------------------------===//
// timestep_norm
//===----------------------------------------------------------------------===//

LogicalResult TimestepNormSavingOp::verify() {
  RankedTensorType input = getInput().getType();
  int64_t batch = input.getDimSize(0), length = input.getDimSize(1), groups = getGroups();
  if (failed(verifyGroups(*this, input.getDimSize(2), groups)) ||
      failed(verifyF32(*this, "shift", getShift().getType())) ||
      failed(verifyShapes(
          *this, {{"weight", getWeight().getType(), "[D]", {input.getDimSize(2)}},
                  {"count", getCount().getType(), "[B]", {batch}},
                  {"mean", getMean().getType(), "[B, G]", {batch, groups}},
                  {"shift", getShift().getType(), "[B, L, G + 1]", {batch, length, groups + 1}}})))
    return failure();
  if (getMask() &&
      failed(verifyShape(*this, "mask", getMask().getType(), "[B, L]", {batch, length})))
    return failure();
  return verifyEps(*this, getEps());
}

LogicalResult TimestepNormGradientOp::verify() {
  RankedTensorType input = getInput().getType();
  int64_t batch = input.getDimSize(0), length = input.getDimSize(1), groups = getGroups();
  if (failed(verifyGroups(*this, input.getDimSize(2), groups)) ||
      failed(verifyElements(*this, input, {},
                            {{"shift", getShift().getType()},
                             {"inverse_deviation", getInverseDeviation().getType()}})))
    return failure();
  return verifyShapes(
      *this, {{"shift", getShift().getType(), "[B, L, G + 1]", {batch, length, groups + 1}},
              {"inverse_deviation",
               getInverseDeviation().getType(),
               "[B, L, G + 1]",
               {batch, length, groups + 1}},
              {"weight", getWeight().getType(), "[D]", {input.getDimSize(2)}},
              {"dmean", getDmean().getType(), "[B, G]", {batch, groups}}});
}

//===----------------------------------------------------------------------===//
// cema
//===----------------------------------------------------------------------===//

LogicalResult CemaSavingOp::verify() {
  if (failed(verifyElements(*this, getInput().getType(), {},
                            {{"start", getStart().getType()}, {"marks", getMarks().getType()}})))
    return failure();
  RankedTensorType input = getInput().getType();
  int64_t channels = input.getDimSize(2), modes = getAlpha().getType().getDimSize(1);
  SmallVector<Expected> all{
      {"alpha", getAlpha().getType(), "[D, N, 1]", {channels, modes, 1}},
      {"theta", getTheta().getType(), "[D, 1, 1]", {channels, 1, 1}},
      {"gamma", getGamma().getType(), "[D, N, 2]", {channels, modes, 2}},
      {"omega", getOmega().getType(), "[D, 1]", {channels, 1}},
      {"state", getState().getType(), "[B, D, N, 2]", {input.getDimSize(0), channels, modes, 2}}};
  llvm::append_range(all, keptStates(getStart(), getMarks(), input, modes));
  return verifyShapes(*this, all);
}

LogicalResult CemaGradientOp::verify() {
  if (failed(verifyElements(*this, getInput().getType(), {},
                            {{"start", getStart().getType()}, {"marks", getMarks().getType()}})))
    return failure();
  RankedTensorType input = getInput().getType();
  int64_t channels = input.getDimSize(2), modes = getAlpha().getType().getDimSize(1);
  SmallVector<Expected> all = keptStates(getStart(), getMarks(), input, modes);
  auto parameter = [&](StringRef what, Value value, StringRef gradientName, Value gradient,
                       StringRef letters, ArrayRef<int64_t> sizes) {
    all.push_back({what, value.getType(), letters, SmallVector<int64_t>(sizes)});
    all.push_back({gradientName, gradient.getType(), letters, SmallVector<int64_t>(sizes)});
  };
  parameter("alpha", getAlpha(), "dalpha", getDalpha(), "[D, N, 1]", {channels, modes, 1});
  parameter("delta", getDelta(), "ddelta", getDdelta(), "[D, N, 1]", {channels, modes, 1});
  parameter("theta", getTheta(), "dtheta", getDtheta(), "[D, 1, 1]", {channels, 1, 1});
  parameter("gamma", getGamma(), "dgamma", getDgamma(), "[D, N, 2]", {channels, modes, 2});
  parameter("omega", getOmega(), "domega", getDomega(), "[D, 1]", {channels, 1});
  all.push_back(
      {"dstate", getDstate().getType(), "[B, D, N, 2]", {input.getDimSize(0), channels, modes, 2}});
  return verifyShapes(*this, all);
}

//===----------------------------------------------------------------------===//
// chunk_attention
//===----------------------------------------------------------------------===//

LogicalResult ChunkPanelsOp::verify() {
  RankedTensorType keys = getKeys().getType(), values = getValues().getType();
  int64_t batch = keys.getDimSize(0);
  if (failed(verifyElements(*this, keys,
                            {{"values", values},
                             {"key_rows", getKeyRows().getType()},
                             {"value_columns", getValueColumns().getType()}},
                            {})))
    return failure();
  return verifyShapes(
      *this,
      {{"values",
        values,
        "[B, C, H, dv]",
        {batch, keys.getDimSize(1), keys.getDimSize(2), values.getDimSize(3)}},
       {"key_rows", getKeyRows().getType(), "[B, 1, W]", {batch, 1, panelSize(keys)}},
       {"value_columns", getValueColumns().getType(), "[B, 1, W]", {batch, 1, panelSize(values)}}});
}

LogicalResult ChunkQueryGradientOp::verify() {
  RankedTensorType query = getQuery().getType(), output = getOutput().getType();
  int64_t batch = query.getDimSize(0), length = query.getDimSize(1), heads = query.getDimSize(2);
  int64_t chunk = getChunk();
  if (failed(verifyElements(*this, query,
                            {{"output", output},
                             {"keys", getKeys().getType()},
                             {"key_rows", getKeyRows().getType()},
                             {"value_columns", getValueColumns().getType()}},
                            {{"log_sum", getLogSum().getType()}, {"dot", getDot().getType()}})))
    return failure();
  auto panel = [&](RankedTensorType rows) {
    return heads * padded(chunk) * padded(rows.getDimSize(3));
  };
  return verifyShapes(
      *this,
      {{"output", output, "[B, L, H, dv]", {batch, length, heads, output.getDimSize(3)}},
       {"keys", getKeys().getType(), "[B, C, H, dz]", {batch, chunk, heads, query.getDimSize(3)}},
       {"key_rows", getKeyRows().getType(), "[B, 1, W]", {batch, 1, panel(query)}},
       {"value_columns", getValueColumns().getType(), "[B, 1, W]", {batch, 1, panel(output)}},
       {"position", getPosition().getType(), "[B]", {batch}},
       {"log_sum", getLogSum().getType(), "[B, L, H]", {batch, length, heads}},
       {"dot", getDot().getType(), "[B, L, H]", {batch, length, heads}}});
}

LogicalResult ChunkKeyGradientOp::verify() {
  RankedTensorType query = getQuery().getType(), doutput = getDoutput().getType();
  int64_t batch = query.getDimSize(0), length = query.getDimSize(1), heads = query.getDimSize(2);
  int64_t chunk = getChunk(), dz = query.getDimSize(3), dv = doutput.getDimSize(3);
  if (failed(verifyElements(*this, query,
                            {{"doutput", doutput},
                             {"keys", getKeys().getType()},
                             {"value_columns", getValueColumns().getType()},
                             {"dkey", getDkey().getType()},
                             {"dvalue", getDvalue().getType()}},
                            {{"log_sum", getLogSum().getType()}, {"dot", getDot().getType()}})))
    return failure();
  SmallVector<Expected> all{
      {"doutput", doutput, "[B, L, H, dv]", {batch, length, heads, dv}},
      {"log_sum", getLogSum().getType(), "[B, L, H]", {batch, length, heads}},
      {"dot", getDot().getType(), "[B, L, H]", {batch, length, heads}},
      {"keys", getKeys().getType(), "[B, C, H, dz]", {batch, chunk, heads, dz}},
      {"value_columns",
       getValueColumns().getType(),
       "[B, 1, W]",
       {batch, 1, heads * padded(chunk) * padded(dv)}},
      {"position", getPosition().getType(), "[B]", {batch}},
      {"dkey", getDkey().getType(), "[B, L, H, dz]", {batch, length, heads, dz}},
      {"dvalue", getDvalue().getType(), "[B, L, H, dv]", {batch, length, heads, dv}},
      {"dkeys", getDkeys().getType(), "[B, C, H, dz]", {batch, chunk, heads, dz}},
      {"dvalues", getDvalues().getType(), "[B, C, H, dv]", {batch, chunk, heads, dv}}};
  return verifyShapes(*this, all);
}

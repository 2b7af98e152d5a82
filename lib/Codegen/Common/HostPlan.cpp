//===- HostPlan.cpp - Buffers of a module ----------------------------------===//

#include "HostPlanBuilder.h"

#include "llvm/ADT/StringSet.h"

using namespace mlir;

namespace otodus {

/// Widths beyond this are mistakes; their bytes would overflow later.
constexpr int64_t kLargestWidth = int64_t(1) << 31;

static bool isTraining(func::FuncOp function, unsigned i) {
  return llvm::any_of(ArrayRef<StringRef>{"mega.gradient", "mega.state_gradient",
                                          "mega.state_before", "mega.scalars", "mega.arena",
                                          "mega.noise"},
                      [&](StringRef name) { return bool(function.getArgAttr(i, name)); });
}

static LogicalResult verifyNewName(func::FuncOp function, StringRef what,
                                   ArrayRef<formats::Argument> known, StringRef name) {
  if (llvm::none_of(known, [&](const formats::Argument &other) { return other.name == name; }))
    return success();
  return function.emitOpError("expects ")
         << what << " of different names, but two are '" << name << "'";
}

LogicalResult PlanBuilder::run() {
  listParameters();
  for (auto function : module.getOps<func::FuncOp>())
    if (function.isPublic() && !function->hasAttr("mega.grid") && failed(plan(function)))
      return failure();
  if (llvm::all_of(program.functions,
                   [](const formats::Function &f) { return f.launches.empty(); }))
    return module.emitError("expects a public function that computes something, but found none");
  return success();
}

LogicalResult PlanBuilder::plan(func::FuncOp function) {
  out = formats::Function();
  out.name = function.getName().str();
  firstUse.clear();
  lastUse.clear();
  updated.clear();
  calls = 0;

  SmallVector<Binding> arguments;
  for (BlockArgument argument : function.getArguments()) {
    unsigned i = argument.getArgNumber();
    Binding binding;
    auto type = dyn_cast<RankedTensorType>(argument.getType());
    if (!type)
      return function.emitOpError("expects tensors as arguments, but got ") << argument.getType();
    if (function.getArgAttr(i, "mega.position")) {
      if (type.getRank() != 1 || !type.getElementType().isInteger(64) || !type.isDynamicDim(0))
        return function.emitOpError("expects tensor<?xi64> for the position, but got ") << type;
      binding.buffer = addBuffer(formats::BufferKind::Position, 0);
    } else if (function.getArgAttr(i, "mega.sampling")) {
      if (type.getRank() != 1 || !type.getElementType().isInteger(32) ||
          type.getDimSize(0) != formats::kSamplingWords)
        return function.emitOpError("expects tensor<16xi32> for mega.sampling, but got ") << type;
      binding.buffer = addBuffer(formats::BufferKind::Sampling, 0);
    } else if (auto state = function.getArgAttrOfType<StringAttr>(i, "mega.state")) {
      FailureOr<int64_t> index = stateIndex(function, i, state, type);
      if (failed(index))
        return failure();
      binding.buffer = addBuffer(formats::BufferKind::State, *index);
      out.states.push_back(*index);
    } else if (isTraining(function, i)) {
      FailureOr<int64_t> buffer = trainingBuffer(function, i, type);
      if (failed(buffer))
        return failure();
      binding.buffer = *buffer;
    } else {
      formats::Argument input;
      auto name = function.getArgAttrOfType<StringAttr>(i, "mega.name");
      input.name = name ? name.str() : "arg" + std::to_string(i);
      if (failed(describe(function, type, input)) ||
          failed(verifyNewName(function, "inputs", out.inputs, input.name)))
        return failure();
      if (type.getRank() >= 2 &&
          (!type.isDynamicDim(0) || !(type.isDynamicDim(1) || type.getDimSize(1) == 1)))
        return function.emitOpError("expects input '")
               << input.name << "' to have any batch and time, [?, ?, ...], but got " << type;
      out.inputs.push_back(input);
      binding.buffer = addBuffer(formats::BufferKind::Input, out.inputs.size() - 1);
    }
    arguments.push_back(binding);
  }

  SmallVector<Binding> results;
  if (failed(expand(function, arguments, "", results)))
    return failure();

  if (failed(verifyStates(function, results)))
    return failure();
  for (auto [i, result] : llvm::enumerate(results)) {
    if (function.getResultAttr(i, "mega.state"))
      continue; // written in place
    if (function.getResultAttr(i, "mega.gradient") || function.getResultAttr(i, "mega.arena") ||
        function.getResultAttr(i, "mega.state_gradient")) {
      if (result.kind != Binding::Buffer || !isInPlace(out.buffers[result.buffer].kind))
        return function.emitOpError("expects result ")
               << i << " to be what its ops leave of an argument with the same attribute";
      continue;
    }
    formats::Argument output;
    auto name = function.getResultAttrOfType<StringAttr>(i, "mega.name");
    output.name = name ? name.str() : "result" + std::to_string(i);
    auto type = dyn_cast<RankedTensorType>(function.getResultTypes()[i]);
    if (!type)
      return function.emitOpError("expects tensors as results, but got ")
             << function.getResultTypes()[i];
    if (failed(describe(function, type, output)) ||
        failed(verifyNewName(function, "outputs", out.outputs, output.name)))
      return failure();
    if (result.kind != Binding::Buffer ||
        out.buffers[result.buffer].kind != formats::BufferKind::Scratch)
      return function.emitOpError("expects every output to be computed once, but result ")
             << i << " is an argument, a weight or another output";
    out.outputs.push_back(output);
    out.buffers[result.buffer] = {formats::BufferKind::Output, int64_t(out.outputs.size()) - 1, 0,
                                  formats::Symbol::Rows};
  }
  shareScratch();
  program.functions.push_back(out);
  return success();
}

LogicalResult PlanBuilder::describe(func::FuncOp function, RankedTensorType type,
                                    formats::Argument &argument) {
  Type element = type.getElementType();
  if (!element.isF32() && !element.isBF16() && !element.isInteger(64) && !element.isInteger(32) &&
      !element.isInteger(1))
    return function.emitOpError("expects inputs and outputs of f32, bf16, i64, i32 or i1, but got ")
           << type;
  argument.dtype = dtypeOf(type);
  argument.trailing.assign(type.getShape().begin() + std::min<int64_t>(2, type.getRank()),
                           type.getShape().end());
  if (type.getRank() == 2) {
    argument.kind = formats::ArgumentKind::Steps;
    return success();
  }
  if (type.getRank() < 3)
    return function.emitOpError("expects [batch, time, ...] for inputs and outputs, but got ")
           << type;
  int64_t width = 1;
  for (int64_t size : argument.trailing)
    if (size <= 0 || llvm::MulOverflow(width, size, width) || width > kLargestWidth)
      return function.emitOpError("expects static sizes of at least 1 after batch and time, at "
                                  "most 2^31 together, but got ")
             << type;
  argument.kind =
      type.getDimSize(1) == 1 ? formats::ArgumentKind::LastRows : formats::ArgumentKind::Rows;
  argument.width = widthOf(type);
  argument.rowStride = rowStrideOf(argument.width, argument.dtype);
  return success();
}

FailureOr<int64_t> PlanBuilder::trainingBuffer(func::FuncOp function, unsigned i,
                                               RankedTensorType type) {
  if (function.getArgAttr(i, "mega.scalars"))
    return addBuffer(formats::BufferKind::Scalars, 0);
  if (auto call = function.getArgAttrOfType<IntegerAttr>(i, "mega.noise")) {
    if (type.getRank() == 1 && type.getDimSize(0) == 4 && type.getElementType().isInteger(32) &&
        call.getInt() >= 0 && call.getInt() < formats::kMostNoise)
      return addBuffer(formats::BufferKind::Scalars, 1 + call.getInt());
    function.emitOpError("expects tensor<4xi32> and a number from 0 to ")
        << formats::kMostNoise - 1 << " for mega.noise, but got " << type << " and "
        << call.getInt();
    return failure();
  }
  if (auto arena = function.getArgAttrOfType<IntegerAttr>(i, "mega.arena"))
    return addBuffer(formats::BufferKind::Arena, arena.getInt());
  if (auto name = function.getArgAttrOfType<StringAttr>(i, "mega.gradient")) {
    for (auto [index, parameter] : llvm::enumerate(program.parameters))
      if (parameter.name == name.str() && ArrayRef<int64_t>(parameter.shape) == type.getShape())
        return addBuffer(formats::BufferKind::Gradient, index);
    function.emitOpError("expects a weight ") << name << " of the type " << type;
    return failure();
  }
  bool before = bool(function.getArgAttr(i, "mega.state_before"));
  StringRef attribute = before ? "mega.state_before" : "mega.state_gradient";
  auto name = function.getArgAttrOfType<StringAttr>(i, attribute);
  for (auto [index, state] : llvm::enumerate(program.states))
    if (name && state.name == name.str())
      return addBuffer(
          before ? formats::BufferKind::StateBefore : formats::BufferKind::StateGradient, index);
  function.emitOpError("expects a state ")
      << function.getArgAttr(i, attribute) << " among its arguments before";
  return failure();
}

void PlanBuilder::listParameters() {
  llvm::StringSet<> trained;
  for (auto function : module.getOps<func::FuncOp>())
    for (unsigned i = 0; i < function.getNumArguments(); ++i)
      if (auto name = function.getArgAttrOfType<StringAttr>(i, "mega.gradient"))
        trained.insert(name.getValue());
  int64_t offset = 0;
  for (auto weight : module.getOps<mega::WeightOp>()) {
    if (!trained.erase(weight.getCheckpointName()))
      continue;
    formats::Parameter parameter;
    parameter.name = weight.getCheckpointName().str();
    parameter.shape.assign(weight.getTensorType().getShape().begin(),
                           weight.getTensorType().getShape().end());
    parameter.offset = offset;
    offset += llvm::alignTo(weight.getTensorType().getNumElements(), 16);
    program.parameters.push_back(std::move(parameter));
  }
  program.arenaElements = llvm::alignTo(offset, formats::kSquaresPortion);
}

FailureOr<int64_t> PlanBuilder::stateIndex(func::FuncOp function, unsigned i, StringAttr name,
                                           RankedTensorType type) {
  Type element = type.getElementType();
  if (type.getRank() < 1 || !type.isDynamicDim(0) ||
      llvm::any_of(type.getShape().drop_front(), [](int64_t size) { return size < 1; }) ||
      (!element.isF32() && !element.isBF16() && !element.isInteger(64))) {
    function.emitOpError("expects state ")
        << name
        << " to be [?, ...] with static sizes after the batch, of f32, bf16 or i64, but got "
        << type;
    return failure();
  }
  formats::State state;
  state.name = name.str();
  state.dtype = dtypeOf(type);
  state.shape.assign(type.getShape().begin() + 1, type.getShape().end());
  if (auto initial = function.getArgAttrOfType<FloatAttr>(i, "mega.initial"))
    state.initial = initial.getValueAsDouble();
  if (auto from = function.getArgAttrOfType<StringAttr>(i, "mega.initial_from"))
    state.initialFrom = from.str();
  state.initialExp = bool(function.getArgAttr(i, "mega.initial_exp"));
  for (auto [index, known] : llvm::enumerate(program.states)) {
    if (known.name != state.name)
      continue;
    if (llvm::is_contained(out.states, int64_t(index))) {
      function.emitOpError("expects states of different names, but two are ") << name;
      return failure();
    }
    if (known.dtype != state.dtype || known.shape != state.shape ||
        known.initial != state.initial || known.initialFrom != state.initialFrom ||
        known.initialExp != state.initialExp) {
      function.emitOpError("expects state ")
          << name << " to have the type and the fresh value that another function gives it, but "
          << "got " << type;
      return failure();
    }
    return int64_t(index);
  }
  program.states.push_back(state);
  return int64_t(program.states.size()) - 1;
}

LogicalResult PlanBuilder::verifyStates(func::FuncOp function, ArrayRef<Binding> results) {
  llvm::SmallDenseSet<int64_t> returned;
  for (auto [i, result] : llvm::enumerate(results)) {
    if (!function.getResultAttr(i, "mega.state"))
      continue;
    auto name = function.getResultAttrOfType<StringAttr>(i, "mega.state");
    if (!name || result.kind != Binding::Buffer ||
        out.buffers[result.buffer].kind != formats::BufferKind::State ||
        program.states[out.buffers[result.buffer].index].name != name.str() ||
        result.updated != updated.contains(result.buffer))
      return function.emitOpError("expects result ")
             << i << " to be the new value of state " << function.getResultAttr(i, "mega.state");
    returned.insert(out.buffers[result.buffer].index);
  }
  for (int64_t index : out.states)
    if (!returned.contains(index))
      return function.emitOpError("expects a result with mega.state = \"")
             << program.states[index].name << "\": what is carried in is carried out";
  return success();
}

int64_t PlanBuilder::addBuffer(formats::BufferKind kind, int64_t index, int64_t bytesPerRow,
                               formats::Symbol symbol) {
  out.buffers.push_back({kind, index, bytesPerRow, symbol});
  firstUse.push_back(-1);
  lastUse.push_back(-1);
  return out.buffers.size() - 1;
}

void PlanBuilder::shareScratch() {
  struct Slot {
    int64_t busyUntil;
    formats::Symbol symbol;
  };
  std::vector<Slot> slots;
  std::vector<int64_t> order;
  for (size_t i = 0; i < out.buffers.size(); ++i)
    if (out.buffers[i].kind == formats::BufferKind::Scratch)
      order.push_back(i);
  llvm::stable_sort(order, [&](int64_t x, int64_t y) { return firstUse[x] < firstUse[y]; });
  std::vector<int64_t> bytes;
  for (int64_t i : order) {
    formats::Buffer &buffer = out.buffers[i];
    int64_t best = -1;
    for (size_t s = 0; s < slots.size(); ++s) {
      if (slots[s].busyUntil >= firstUse[i] || slots[s].symbol != buffer.symbol)
        continue;
      auto waste = [&](size_t slot) { return std::abs(bytes[slot] - buffer.bytesPerRow); };
      if (best < 0 || waste(s) < waste(best))
        best = s;
    }
    if (best < 0) {
      best = slots.size();
      slots.push_back({0, buffer.symbol});
      bytes.push_back(0);
    }
    slots[best].busyUntil = lastUse[i];
    bytes[best] = std::max(bytes[best], buffer.bytesPerRow);
    buffer.index = best;
  }
}

LogicalResult buildHostPlan(ModuleOp module, formats::Program &program) {
  return PlanBuilder(module, program).run();
}

} // namespace otodus

//===- HostLaunches.cpp - Launches of a module's groups --------------------===//

#include "HostPlanBuilder.h"

#include "mlir/Dialect/Tensor/IR/Tensor.h"

#include "llvm/ADT/StringSwitch.h"

using namespace mlir;

namespace otodus {

static formats::Variant variantOf(func::FuncOp function) {
  formats::Variant variant;
  variant.entry = function.getName().str();
  variant.rowTile = function->getAttrOfType<IntegerAttr>("mega.row_tile").getInt();
  if (auto cost = function->getAttrOfType<IntegerAttr>("mega.tile_cost"))
    variant.tileCost = cost.getInt();
  for (auto extent :
       function->getAttrOfType<ArrayAttr>("mega.grid").getAsRange<DenseI64ArrayAttr>())
    variant.grid.push_back({formats::Symbol(extent[0]), extent[1], extent[2]});
  return variant;
}

static OpOperand *tiedState(Value yielded) {
  auto result = dyn_cast<OpResult>(yielded);
  auto sequence =
      result ? dyn_cast<mega::SequenceOpInterface>(result.getOwner()) : mega::SequenceOpInterface();
  if (!sequence)
    return nullptr;
  for (auto [operand, state] : llvm::zip(sequence.getStateOperands(), sequence.getStateResults()))
    if (state == result)
      return operand;
  return nullptr;
}

/// What the kernel stage writes a module given by hand may lack.
static LogicalResult verifyKernel(mega::GroupOp group, FlatSymbolRefAttr symbol,
                                  func::FuncOp function) {
  if (!function)
    return group.emitOpError("names the kernel ") << symbol << ", but there is no such function";
  auto grid = function->getAttrOfType<ArrayAttr>("mega.grid");
  bool isGrid = grid && llvm::all_of(grid, [](Attribute attr) {
                  auto extent = dyn_cast<DenseI64ArrayAttr>(attr);
                  return extent && extent.size() == 3;
                });
  auto buffers = function->getAttrOfType<ArrayAttr>("mega.buffers");
  bool areBuffers = buffers && llvm::all_of(buffers, [](Attribute attr) {
                      auto buffer = dyn_cast<DictionaryAttr>(attr);
                      return buffer && KernelBuffer::fromAttr(buffer);
                    });
  if (isGrid && areBuffers && function->hasAttrOfType<IntegerAttr>("mega.row_tile"))
    return success();
  return function.emitOpError("expects mega.row_tile, mega.grid and mega.buffers as the kernel "
                              "stage writes them");
}

static formats::Symbol rowSymbol(mega::GroupOp group) {
  if (!group.getBody(0)->getOps<mega::ChunkAttentionOp>().empty())
    return formats::Symbol::Length;
  auto type = cast<RankedTensorType>(group.getResult(0).getType());
  return type.getDimSize(1) == 1 ? formats::Symbol::Batch : formats::Symbol::Rows;
}

LogicalResult PlanBuilder::expand(func::FuncOp function, ArrayRef<Binding> arguments,
                                  const std::string &prefix, SmallVector<Binding> &results) {
  if (!function.getBody().hasOneBlock())
    return function.emitOpError("expects a body of one block");
  llvm::DenseMap<Value, Binding> values;
  for (auto [argument, binding] : llvm::zip(function.getArguments(), arguments))
    values[argument] = binding;
  for (Operation &op : function.getBody().front()) {
    if (auto use = dyn_cast<mega::UseWeightOp>(op)) {
      auto weight = symbols.lookup<mega::WeightOp>(use.getWeight());
      Binding binding;
      binding.kind = Binding::Weight;
      binding.weight = weight.getSource() ? weight.getSource()->str() : weight.getSymName().str();
      values[use.getResult()] = binding;
    } else if (auto slice = dyn_cast<tensor::ExtractSliceOp>(op)) {
      Binding binding = values.lookup(slice.getSource());
      auto type = slice.getSourceType();
      ArrayRef<int64_t> offsets = slice.getStaticOffsets(), sizes = slice.getStaticSizes();
      if (binding.kind != Binding::Weight || type.getRank() != 2 || sizes[0] != 1 ||
          sizes[1] != type.getDimSize(1) || ShapedType::isDynamic(offsets[0]))
        return slice.emitOpError("expects one whole row of a weight");
      binding.row = offsets[0];
      binding.rows = type.getDimSize(0);
      values[slice.getResult()] = binding;
    } else if (auto call = dyn_cast<func::CallOp>(op)) {
      SmallVector<Binding> inner, returned;
      for (Value operand : call.getOperands())
        inner.push_back(values.lookup(operand));
      // Profiles and memory plans tell a repetition (otodus-recompute) by its name.
      std::string name = prefix + call.getCallee().str() +
                         (call->hasAttr("mega.recomputed") ? "_again" : "") +
                         std::to_string(calls++) + ".";
      auto callee = symbols.lookup<func::FuncOp>(call.getCallee());
      if (callee.isExternal())
        return call.emitOpError("expects a function with a body, but @")
               << call.getCallee() << " is only declared";
      if (callee == function || !active.insert(callee).second)
        return call.emitOpError("expects no recursion, but @")
               << call.getCallee() << " calls itself";
      if (failed(expand(callee, inner, name, returned)))
        return failure();
      active.erase(callee);
      for (auto [result, binding] : llvm::zip(call.getResults(), returned))
        values[result] = binding;
    } else if (auto group = dyn_cast<mega::GroupOp>(op)) {
      if (failed(launch(group, values, prefix)))
        return failure();
    } else if (auto ret = dyn_cast<func::ReturnOp>(op)) {
      for (Value operand : ret.getOperands())
        results.push_back(values.lookup(operand));
    } else {
      return op.emitOpError("is left outside of groups; a plan has only weights, calls and "
                            "groups");
    }
  }
  return success();
}

LogicalResult PlanBuilder::launch(mega::GroupOp group, llvm::DenseMap<Value, Binding> &values,
                                  const std::string &prefix) {
  SmallVector<Binding> operands;
  for (Value operand : group.getInputs())
    operands.push_back(values.lookup(operand));
  if (failed(useStates(group, operands)) || failed(learn(group, operands)))
    return failure();

  // Results: a state is its operand's buffer, anything else gets scratch.
  SmallVector<Binding> results;
  for (auto [i, yielded] : llvm::enumerate(group.getYield().getOperands())) {
    Binding binding;
    if (OpOperand *state = tiedState(yielded)) {
      auto argument = dyn_cast<BlockArgument>(state->get());
      if (!argument)
        return group.emitOpError("expects a state to be an operand of its group");
      binding = operands[argument.getArgNumber()];
      binding.updated = true;
    } else {
      auto type = cast<RankedTensorType>(yielded.getType());
      if (type.getRank() == 2 && type.getElementType().isF32()) { // a number per step
        binding.buffer = addBuffer(formats::BufferKind::Scratch, -1, formats::sizeOf(dtypeOf(type)),
                                   formats::Symbol::Rows);
        results.push_back(binding);
        values[group.getResult(i)] = binding;
        continue;
      }
      if (type.getRank() < 3 || ShapedType::isDynamicShape(type.getShape().drop_front(2)))
        return group.emitOpError("expects activations as results, but got ") << type;
      int64_t stride = rowStrideOf(widthOf(type), dtypeOf(type));
      binding.buffer =
          addBuffer(formats::BufferKind::Scratch, -1, stride * formats::sizeOf(dtypeOf(type)),
                    type.getDimSize(1) == 1 ? formats::Symbol::Batch : formats::Symbol::Rows);
    }
    results.push_back(binding);
    values[group.getResult(i)] = binding;
  }

  std::string name = prefix + group.getName().str();
  const std::pair<StringRef, StringRef> parts[] = {{"mega.before", "_append"},
                                                   {"mega.kernels", ""}};
  for (auto [part, suffix] : parts)
    if (auto kernels = group->getAttrOfType<ArrayAttr>(part))
      if (failed(launchKernels(group, kernels, operands, results, name + suffix.str())))
        return failure();
  if (auto joint = group->getAttrOfType<DictionaryAttr>("mega.joint"))
    return launchJoint(group, joint, prefix);
  return success();
}

LogicalResult PlanBuilder::launchJoint(mega::GroupOp group, DictionaryAttr joint,
                                       const std::string &prefix) {
  auto count = joint.getAs<IntegerAttr>("groups"), mostRows = joint.getAs<IntegerAttr>("most_rows");
  auto kernels = joint.getAs<ArrayAttr>("kernels");
  if (!count || !mostRows || !kernels || kernels.empty() || count.getInt() < 2 ||
      mostRows.getInt() < 1 || count.getInt() > int64_t(out.launches.size()))
    return group.emitOpError("expects groups, kernels and most_rows as otodus-join-launches "
                             "writes them in mega.joint");
  size_t first = out.launches.size() - size_t(count.getInt());
  formats::Launch launch;
  launch.covers = count.getInt();
  launch.mostRows = mostRows.getInt();
  launch.rowSymbol = out.launches.back().rowSymbol;
  for (size_t i = first; i < out.launches.size(); ++i) {
    const formats::Launch &part = out.launches[i];
    if (part.rowSymbol != launch.rowSymbol || part.covers)
      return group.emitOpError("expects launches of one number of rows in mega.joint");
    llvm::append_range(launch.buffers, part.buffers);
    launch.name += (i == first ? prefix : std::string("_")) + part.name.substr(prefix.size());
  }
  for (auto name : kernels.getAsRange<FlatSymbolRefAttr>()) {
    auto function = symbols.lookup<func::FuncOp>(name.getValue());
    if (!function || !function->hasAttrOfType<ArrayAttr>("mega.grid") ||
        !function->hasAttrOfType<IntegerAttr>("mega.row_tile"))
      return group.emitOpError("names ") << name << " in mega.joint, which is no kernel";
    launch.variants.push_back(variantOf(function));
  }
  // Its parts run at the same time: what one reads must not lie where another writes.
  for (int64_t index : launch.buffers) {
    firstUse[index] = std::min(firstUse[index], int64_t(first));
    lastUse[index] = int64_t(out.launches.size());
  }
  out.launches.insert(out.launches.begin() + int64_t(first), std::move(launch));
  return success();
}

LogicalResult PlanBuilder::launchKernels(mega::GroupOp group, ArrayAttr kernels,
                                         ArrayRef<Binding> operands, ArrayRef<Binding> results,
                                         const std::string &name) {
  formats::Launch launch;
  launch.name = name;
  int64_t now = out.launches.size();
  for (auto [i, attr] : llvm::enumerate(kernels)) {
    auto symbol = dyn_cast<FlatSymbolRefAttr>(attr);
    if (!symbol)
      return group.emitOpError("expects symbols of kernels, but got ") << attr;
    auto function = symbols.lookup<func::FuncOp>(symbol.getValue());
    if (failed(verifyKernel(group, symbol, function)))
      return failure();
    formats::Variant variant = variantOf(function);
    SmallVector<int64_t> buffers;
    for (auto attr :
         function->getAttrOfType<ArrayAttr>("mega.buffers").getAsRange<DictionaryAttr>()) {
      KernelBuffer buffer = *KernelBuffer::fromAttr(attr);
      int64_t index;
      bool isResult = buffer.kind == "result";
      SmallVector<int64_t> values = buffer.sources;
      if (isResult || buffer.kind == "operand")
        values.push_back(buffer.index);
      int64_t known = isResult ? results.size() : operands.size();
      if (llvm::any_of(values, [&](int64_t i) { return i < 0 || i >= known; }))
        return group.emitOpError("has no value for a parameter of ") << symbol << ": " << attr;
      if (buffer.kind == "operand")
        index = operands[buffer.index].buffer;
      else if (buffer.kind == "result")
        index = results[buffer.index].buffer;
      else
        index = preparedBuffer(buffer, operands);
      if (index < 0 && buffer.kind == "operand")
        return group.emitOpError("expects operand ")
               << buffer.index << " to be an activation, but got a weight";
      if (index < 0 && !buffer.sources.empty())
        return group.emitOpError("expects operand ")
               << buffer.sources.front()
               << " to be a weight: its kernel takes it in another layout";
      if (index < 0)
        return group.emitOpError("has a kernel parameter without a buffer: ") << attr;
      buffers.push_back(index);
      if (firstUse[index] < 0)
        firstUse[index] = now;
      lastUse[index] = now;
    }
    if (i == 0)
      launch.buffers.assign(buffers.begin(), buffers.end());
    else if (ArrayRef<int64_t>(launch.buffers) != ArrayRef<int64_t>(buffers))
      return group.emitOpError("expects all variants of a kernel to have the same parameters");
    if (variant.rowTile)
      launch.rowSymbol = rowSymbol(group);
    launch.variants.push_back(std::move(variant));
  }
  out.launches.push_back(std::move(launch));
  return success();
}

LogicalResult PlanBuilder::useStates(mega::GroupOp group, ArrayRef<Binding> operands) {
  for (BlockArgument argument : group.getBody(0)->getArguments()) {
    unsigned i = argument.getArgNumber();
    int64_t buffer = operands[i].kind == Binding::Buffer ? operands[i].buffer : -1;
    bool isState = buffer >= 0 && (out.buffers[buffer].kind == formats::BufferKind::State ||
                                   out.buffers[buffer].kind == formats::BufferKind::StateBefore ||
                                   isInPlace(out.buffers[buffer].kind));
    bool again = isState && isInPlace(out.buffers[buffer].kind);
    for (OpOperand &use : argument.getUses()) {
      auto sequence = dyn_cast<mega::SequenceOpInterface>(use.getOwner());
      bool asState = sequence && llvm::is_contained(sequence.getStateOperands(), &use);
      // What an op has left of a state may be read: nothing changes it any more.
      if (isState && !asState && (operands[i].updated || again))
        continue;
      if (asState != isState)
        return group.emitOpError(isState ? "expects a state to be read as a state, but operand "
                                         : "expects a mega.state argument as a state, but operand ")
               << i << " is " << (isState ? "read otherwise" : "none");
      if (asState && !updated.insert(buffer).second && !again)
        return group.emitOpError("expects one op to update a state, but operand ")
               << i << " is updated by another op too";
    }
  }
  return success();
}

bool PlanBuilder::runsOnBlocks(mega::GroupOp group) {
  for (StringRef attribute : {"mega.before", "mega.kernels"})
    if (auto names = group->getAttrOfType<ArrayAttr>(attribute))
      for (auto name : names.getAsRange<FlatSymbolRefAttr>())
        if (auto kernel = symbols.lookup<func::FuncOp>(name.getValue());
            kernel && kernel->hasAttr("gpu.threads"))
          return true;
  return false;
}

LogicalResult PlanBuilder::learn(mega::GroupOp group, ArrayRef<Binding> operands) {
  auto number = [&](Value value) -> int64_t {
    auto argument = dyn_cast<BlockArgument>(value);
    return argument ? int64_t(argument.getArgNumber()) : -1;
  };
  auto state = [&](Value value) -> formats::State * {
    int64_t i = number(value);
    if (i < 0 || operands[i].buffer < 0)
      return nullptr;
    const formats::Buffer &buffer = out.buffers[operands[i].buffer];
    return buffer.kind == formats::BufferKind::State ? &program.states[buffer.index] : nullptr;
  };
  auto verifyPosition = [&](Value value) -> LogicalResult {
    int64_t i = number(value);
    if (i >= 0 && operands[i].buffer >= 0 &&
        out.buffers[operands[i].buffer].kind == formats::BufferKind::Position)
      return success();
    return group.emitOpError("expects the argument with mega.position as the position");
  };
  auto learnChunk = [&](int64_t chunk) -> LogicalResult {
    if (out.chunk && out.chunk != chunk)
      return group.emitOpError("expects one chunk in a function, ")
             << out.chunk << ", but got " << chunk;
    out.chunk = chunk;
    return success();
  };
  for (Operation &op : *group.getBody(0)) {
    if (auto attention = dyn_cast<mega::ChunkAttentionOp>(op)) {
      if (failed(verifyPosition(attention.getPosition())) ||
          failed(learnChunk(attention.getChunk())))
        return failure();
      bool rows = runsOnBlocks(group);
      using Layout = formats::StateLayout;
      if (formats::State *keys = state(attention.getKeys()))
        keys->layout = rows ? Layout::Rows : Layout::Keys, keys->openChunk = true;
      if (formats::State *values = state(attention.getValues()))
        values->layout = rows ? Layout::Rows : Layout::Values, values->openChunk = true;
    } else if (isa<mega::TimestepNormOp, mega::TimestepNormSavingOp>(op)) {
      Value count = cast<mega::SequenceOpInterface>(op).getStateOperands()[0]->get();
      // Every tile of channels advances a copy of its own.
      mega::ScheduleAttr schedule = group.getScheduleAttr();
      int64_t width = widthOf(op.getResult(0).getType()).padded();
      int64_t tiles =
          schedule && schedule.getChannelTile() ? width / *schedule.getChannelTile() : 1;
      if (formats::State *steps = state(count)) {
        int64_t &known = copies[steps - program.states.data()];
        if (known && known != tiles)
          return group.emitOpError("expects the channel_tile of the other functions that share "
                                   "its state '")
                 << steps->name << "', which makes " << known << " tiles, but has " << tiles;
        steps->copies = known = tiles;
      }
    } else if (auto query = dyn_cast<mega::ChunkQueryGradientOp>(op)) {
      if (failed(verifyPosition(query.getPosition())) || failed(learnChunk(query.getChunk())))
        return failure();
    } else if (auto key = dyn_cast<mega::ChunkKeyGradientOp>(op)) {
      if (failed(verifyPosition(key.getPosition())) || failed(learnChunk(key.getChunk())))
        return failure();
    } else if (isa<mega::CemaOp, mega::CemaSavingOp>(op)) {
      for (OpOperand *operand : cast<mega::SequenceOpInterface>(op).getStateOperands())
        if (formats::State *h = state(operand->get()))
          h->layout = formats::StateLayout::Lanes;
    } else if (auto scan = dyn_cast<mega::ScanOp>(op)) {
      for (Value value : scan.getStates())
        if (formats::State *h = state(value))
          h->layout = formats::StateLayout::Lanes;
    } else if (auto embed = dyn_cast<mega::EmbedOp>(op)) {
      int64_t i = number(embed.getTokens());
      if (i < 0 || operands[i].buffer < 0 ||
          out.buffers[operands[i].buffer].kind != formats::BufferKind::Input)
        return group.emitOpError("expects tokens to be an input, whose bound is checked");
      int64_t &bound = out.inputs[out.buffers[operands[i].buffer].index].bound;
      int64_t rows = embed.getTable().getType().getDimSize(0);
      bound = bound ? std::min(bound, rows) : rows;
    } else if (auto angles = dyn_cast<mega::RotaryAnglesOp>(op)) {
      if (failed(verifyPosition(angles.getPosition())) || failed(learnChunk(angles.getChunk())))
        return failure();
    }
  }
  return success();
}

int64_t PlanBuilder::preparedBuffer(const KernelBuffer &buffer, ArrayRef<Binding> operands) {
  formats::Prepared prepared;
  prepared.kind = llvm::StringSwitch<formats::PrepareKind>(buffer.kind)
                      .Case("table", formats::PrepareKind::Table)
                      .Case("panels", formats::PrepareKind::Panels)
                      .Case("transposed", formats::PrepareKind::PanelsTransposed)
                      .Case("cema", formats::PrepareKind::CemaCoefficients)
                      .Case("cema_gradient", formats::PrepareKind::CemaGradient)
                      .Case("rope", formats::PrepareKind::RopeTable)
                      .Case("lanes", formats::PrepareKind::Lanes)
                      .Default(formats::PrepareKind::Vector);
  prepared.dtype = buffer.dtype;
  prepared.rows = buffer.rows;
  prepared.columns = buffer.columns;
  for (int64_t source : buffer.sources) {
    if (operands[source].kind != Binding::Weight)
      return -1;
    llvm::StringRef name = operands[source].weight;
    if (operands[source].row >= 0) {
      if (prepared.kind != formats::PrepareKind::Vector)
        return -1;
      prepared.parameter = double(operands[source].row);
      prepared.rows = {1, operands[source].rows};
    }
    // "rope(10000)": no tensor, but the base its frequencies follow from.
    if (name.consume_front("rope(") && name.consume_back(")"))
      (void)name.getAsDouble(prepared.parameter);
    else
      prepared.sources.push_back(operands[source].weight);
  }
  prepared.name = prepared.sources.empty() ? "rope" : prepared.sources.front();

  auto same = [](formats::Width a, formats::Width b) {
    return a.groups == b.groups && a.inner == b.inner;
  };
  int64_t index = -1;
  for (auto [i, known] : llvm::enumerate(program.prepared))
    if (known.kind == prepared.kind && known.dtype == prepared.dtype &&
        known.sources == prepared.sources && known.parameter == prepared.parameter &&
        same(known.rows, prepared.rows) && same(known.columns, prepared.columns))
      index = i;
  if (index < 0) {
    index = program.prepared.size();
    program.prepared.push_back(prepared);
  }
  for (auto [i, known] : llvm::enumerate(out.buffers))
    if (known.kind == formats::BufferKind::Prepared && known.index == index)
      return i;
  return addBuffer(formats::BufferKind::Prepared, index);
}

} // namespace otodus

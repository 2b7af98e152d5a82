//===- HostPlan.cpp - Buffers and launches of a module ---------------------===//

#include "otodus/Codegen/Common/HostPlan.h"

#include "KernelEmitter.h"

#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/SymbolTable.h"

#include "llvm/ADT/StringSwitch.h"

using namespace mlir;

namespace otodus {
namespace {

/// What a value of the host functions is.
struct Binding {
  enum Kind { Weight, Buffer } kind = Buffer;
  std::string weight; ///< checkpoint name
  int64_t row = -1, rows = 0; ///< one row of a weight [rows, W]; -1: all of it
  int64_t buffer = -1;
};

class PlanBuilder {
public:
  PlanBuilder(ModuleOp module, formats::Artefact &artefact)
      : module(module), symbols(module), artefact(artefact) {}

  LogicalResult run() {
    for (auto function : module.getOps<func::FuncOp>())
      if (function.isPublic() && !function->hasAttr("mega.grid") && failed(plan(function)))
        return failure();
    return success();
  }

private:
  LogicalResult plan(func::FuncOp function) {
    out = formats::Function();
    out.name = function.getName().str();
    firstUse.clear();
    lastUse.clear();
    calls = 0;

    SmallVector<Binding> arguments;
    for (BlockArgument argument : function.getArguments()) {
      unsigned i = argument.getArgNumber();
      Binding binding;
      auto type = dyn_cast<RankedTensorType>(argument.getType());
      if (!type)
        return function.emitOpError("expects tensors as arguments, but got ")
               << argument.getType();
      if (function.getArgAttr(i, "mega.position")) {
        binding.buffer = addBuffer(formats::BufferKind::Position, 0);
      } else if (auto state = function.getArgAttrOfType<StringAttr>(i, "mega.state")) {
        binding.buffer = addBuffer(formats::BufferKind::State, stateIndex(function, i, state));
        out.states.push_back(out.buffers[binding.buffer].index);
      } else {
        formats::Argument input;
        auto name = function.getArgAttrOfType<StringAttr>(i, "mega.name");
        input.name = name ? name.str() : "arg" + std::to_string(i);
        if (failed(describe(function, type, input)))
          return failure();
        out.inputs.push_back(input);
        binding.buffer = addBuffer(formats::BufferKind::Input, out.inputs.size() - 1);
      }
      arguments.push_back(binding);
    }

    SmallVector<Binding> results;
    if (failed(expand(function, arguments, "", results)))
      return failure();

    auto terminator = cast<func::ReturnOp>(function.getBody().front().getTerminator());
    for (auto [i, result] : llvm::enumerate(results)) {
      if (function.getResultAttr(i, "mega.state"))
        continue; // written in place
      formats::Argument output;
      auto name = function.getResultAttrOfType<StringAttr>(i, "mega.name");
      output.name = name ? name.str() : "result" + std::to_string(i);
      if (failed(describe(function, cast<RankedTensorType>(terminator.getOperand(i).getType()),
                          output)))
        return failure();
      formats::Buffer &buffer = out.buffers[result.buffer];
      if (result.kind != Binding::Buffer || buffer.kind != formats::BufferKind::Scratch)
        return function.emitOpError("expects every output to be computed once, but result ")
               << i << " is an argument or another output";
      out.outputs.push_back(output);
      buffer = {formats::BufferKind::Output, int64_t(out.outputs.size()) - 1, 0,
                formats::Symbol::Rows};
    }
    shareScratch();
    artefact.functions.push_back(out);
    return success();
  }

  //===--------------------------------------------------------------------===//
  // Arguments and states
  //===--------------------------------------------------------------------===//

  LogicalResult describe(func::FuncOp function, RankedTensorType type, formats::Argument &argument) {
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
    argument.kind =
        type.getDimSize(1) == 1 ? formats::ArgumentKind::LastRows : formats::ArgumentKind::Rows;
    argument.width = widthOf(type);
    argument.rowStride = rowStrideOf(argument.width, argument.dtype);
    return success();
  }

  int64_t stateIndex(func::FuncOp function, unsigned i, StringAttr name) {
    for (auto [index, state] : llvm::enumerate(artefact.states))
      if (state.name == name.str())
        return index;
    formats::State state;
    state.name = name.str();
    auto type = cast<RankedTensorType>(function.getArgument(i).getType());
    state.dtype = dtypeOf(type);
    state.shape.assign(type.getShape().begin() + 1, type.getShape().end());
    if (auto initial = function.getArgAttrOfType<FloatAttr>(i, "mega.initial"))
      state.initial = initial.getValueAsDouble();
    if (auto from = function.getArgAttrOfType<StringAttr>(i, "mega.initial_from"))
      state.initialFrom = from.str();
    state.initialExp = bool(function.getArgAttr(i, "mega.initial_exp"));
    artefact.states.push_back(state);
    return artefact.states.size() - 1;
  }

  int64_t addBuffer(formats::BufferKind kind, int64_t index, int64_t bytesPerRow = 0,
                    formats::Symbol symbol = formats::Symbol::Rows) {
    out.buffers.push_back({kind, index, bytesPerRow, symbol});
    firstUse.push_back(-1);
    lastUse.push_back(-1);
    return out.buffers.size() - 1;
  }

  //===--------------------------------------------------------------------===//
  // Bodies
  //===--------------------------------------------------------------------===//

  LogicalResult expand(func::FuncOp function, ArrayRef<Binding> arguments,
                       const std::string &prefix, SmallVector<Binding> &results) {
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
        std::string name = prefix + call.getCallee().str() + std::to_string(calls++) + ".";
        if (failed(expand(symbols.lookup<func::FuncOp>(call.getCallee()), inner, name, returned)))
          return failure();
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

  LogicalResult launch(mega::GroupOp group, llvm::DenseMap<Value, Binding> &values,
                       const std::string &prefix) {
    SmallVector<Binding> operands;
    for (Value operand : group.getInputs())
      operands.push_back(values.lookup(operand));
    learn(group, operands);

    // Results: a state is its operand's buffer, anything else gets scratch.
    SmallVector<Binding> results;
    for (auto [i, yielded] : llvm::enumerate(group.getYield().getOperands())) {
      Binding binding;
      if (OpOperand *state = tiedState(yielded)) {
        auto argument = dyn_cast<BlockArgument>(state->get());
        if (!argument)
          return group.emitOpError("expects a state to be an operand of its group");
        binding = operands[argument.getArgNumber()];
      } else {
        auto type = cast<RankedTensorType>(yielded.getType());
        if (type.getRank() < 3)
          return group.emitOpError("expects activations as results, but got ") << type;
        int64_t stride = rowStrideOf(widthOf(type), dtypeOf(type));
        binding.buffer = addBuffer(
            formats::BufferKind::Scratch, -1, stride * formats::sizeOf(dtypeOf(type)),
            type.getDimSize(1) == 1 ? formats::Symbol::Batch : formats::Symbol::Rows);
      }
      results.push_back(binding);
      values[group.getResult(i)] = binding;
    }

    std::string name = prefix + group.getName().str();
    const std::pair<StringRef, StringRef> parts[] = {
        {"mega.before", "_append"}, {"mega.kernels", ""}, {"mega.after", "_count"}};
    for (auto [part, suffix] : parts)
      if (auto kernels = group->getAttrOfType<ArrayAttr>(part))
        if (failed(launchKernels(group, kernels, operands, results, name + suffix.str())))
          return failure();
    return success();
  }

  static OpOperand *tiedState(Value yielded) {
    auto result = dyn_cast<OpResult>(yielded);
    auto sequence =
        result ? dyn_cast<mega::SequenceOpInterface>(result.getOwner()) : mega::SequenceOpInterface();
    if (!sequence)
      return nullptr;
    for (auto [operand, state] :
         llvm::zip(sequence.getStateOperands(), sequence.getStateResults()))
      if (state == result)
        return operand;
    return nullptr;
  }

  LogicalResult launchKernels(mega::GroupOp group, ArrayAttr kernels, ArrayRef<Binding> operands,
                              ArrayRef<Binding> results, const std::string &name) {
    formats::Launch launch;
    launch.name = name;
    int64_t now = out.launches.size();
    for (auto [i, symbol] : llvm::enumerate(kernels.getAsRange<FlatSymbolRefAttr>())) {
      auto function = symbols.lookup<func::FuncOp>(symbol.getValue());
      formats::Variant variant;
      variant.entry = symbol.getValue().str();
      variant.rowTile = function->getAttrOfType<IntegerAttr>("mega.row_tile").getInt();
      for (auto extent : function->getAttrOfType<ArrayAttr>("mega.grid")
                             .getAsRange<DenseI64ArrayAttr>())
        variant.grid.push_back({formats::Symbol(extent[0]), extent[1], extent[2]});
      SmallVector<int64_t> buffers;
      for (auto attr :
           function->getAttrOfType<ArrayAttr>("mega.buffers").getAsRange<DictionaryAttr>()) {
        KernelBuffer buffer = KernelBuffer::fromAttr(attr);
        int64_t index;
        if (buffer.kind == "operand")
          index = operands[buffer.index].buffer;
        else if (buffer.kind == "result")
          index = results[buffer.index].buffer;
        else
          index = preparedBuffer(buffer, operands);
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

  static formats::Symbol rowSymbol(mega::GroupOp group) {
    if (!group.getBody(0)->getOps<mega::ChunkAttentionOp>().empty())
      return formats::Symbol::Length;
    auto type = cast<RankedTensorType>(group.getResult(0).getType());
    return type.getDimSize(1) == 1 ? formats::Symbol::Batch : formats::Symbol::Rows;
  }

  /// Facts about buffers that the ops in a group tell: layouts of states, bounds of inputs.
  void learn(mega::GroupOp group, ArrayRef<Binding> operands) {
    auto number = [&](Value value) -> int64_t {
      auto argument = dyn_cast<BlockArgument>(value);
      return argument ? int64_t(argument.getArgNumber()) : -1;
    };
    auto state = [&](Value value) -> formats::State * {
      int64_t i = number(value);
      if (i < 0 || operands[i].buffer < 0)
        return nullptr;
      const formats::Buffer &buffer = out.buffers[operands[i].buffer];
      return buffer.kind == formats::BufferKind::State ? &artefact.states[buffer.index] : nullptr;
    };
    for (Operation &op : *group.getBody(0)) {
      if (auto attention = dyn_cast<mega::ChunkAttentionOp>(op)) {
        out.chunk = attention.getChunk();
        if (formats::State *keys = state(attention.getKeys()))
          keys->layout = formats::StateLayout::Keys, keys->openChunk = true;
        if (formats::State *values = state(attention.getValues()))
          values->layout = formats::StateLayout::Values, values->openChunk = true;
      } else if (auto cema = dyn_cast<mega::CemaOp>(op)) {
        if (formats::State *h = state(cema.getState()))
          h->layout = formats::StateLayout::Lanes;
      } else if (auto scan = dyn_cast<mega::ScanOp>(op)) {
        for (Value value : scan.getStates())
          if (formats::State *h = state(value))
            h->layout = formats::StateLayout::Lanes;
      } else if (auto embed = dyn_cast<mega::EmbedOp>(op)) {
        const formats::Buffer &tokens = out.buffers[operands[number(embed.getTokens())].buffer];
        if (tokens.kind == formats::BufferKind::Input)
          out.inputs[tokens.index].bound = embed.getTable().getType().getDimSize(0);
      } else if (auto angles = dyn_cast<mega::RotaryAnglesOp>(op)) {
        out.chunk = angles.getChunk();
      }
    }
  }

  int64_t preparedBuffer(const KernelBuffer &buffer, ArrayRef<Binding> operands) {
    formats::Prepared prepared;
    prepared.kind = llvm::StringSwitch<formats::PrepareKind>(buffer.kind)
                        .Case("table", formats::PrepareKind::Table)
                        .Case("panels", formats::PrepareKind::Panels)
                        .Case("cema", formats::PrepareKind::CemaCoefficients)
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
    for (auto [i, known] : llvm::enumerate(artefact.prepared))
      if (known.kind == prepared.kind && known.dtype == prepared.dtype &&
          known.sources == prepared.sources && known.parameter == prepared.parameter &&
          same(known.rows, prepared.rows) && same(known.columns, prepared.columns))
        index = i;
    if (index < 0) {
      index = artefact.prepared.size();
      artefact.prepared.push_back(prepared);
    }
    for (auto [i, known] : llvm::enumerate(out.buffers))
      if (known.kind == formats::BufferKind::Prepared && known.index == index)
        return i;
    return addBuffer(formats::BufferKind::Prepared, index);
  }

  //===--------------------------------------------------------------------===//
  // Scratch
  //===--------------------------------------------------------------------===//

  /// Slots by first fit in order of first use: a slot is free again after the last launch that
  /// uses its buffer.
  void shareScratch() {
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

  ModuleOp module;
  SymbolTable symbols;
  formats::Artefact &artefact;
  formats::Function out;
  std::vector<int64_t> firstUse, lastUse; ///< launches, per buffer
  int64_t calls = 0;
};

} // namespace

LogicalResult buildHostPlan(ModuleOp module, formats::Artefact &artefact) {
  return PlanBuilder(module, artefact).run();
}

} // namespace otodus

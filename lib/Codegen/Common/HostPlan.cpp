//===- HostPlan.cpp - Buffers and launches of a module ---------------------===//

#include "otodus/Codegen/Common/HostPlan.h"

#include "KernelEmitter.h"

#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/SymbolTable.h"

#include "llvm/ADT/StringSet.h"
#include "llvm/ADT/StringSwitch.h"

using namespace mlir;

namespace otodus {
namespace {

/// What a value of the host functions is.
struct Binding {
  enum Kind { Weight, Buffer } kind = Buffer;
  std::string weight;         ///< checkpoint name
  int64_t row = -1, rows = 0; ///< one row of a weight [rows, W]; -1: all of it
  int64_t buffer = -1;
  bool updated = false; ///< a state as it is after the call
};

/// Widths beyond this are mistakes; their bytes would overflow later.
constexpr int64_t kLargestWidth = int64_t(1) << 31;

class PlanBuilder {
public:
  PlanBuilder(ModuleOp module, formats::Program &program)
      : module(module), symbols(module), program(program) {}

  LogicalResult run() {
    listParameters();
    for (auto function : module.getOps<func::FuncOp>())
      if (function.isPublic() && !function->hasAttr("mega.grid") && failed(plan(function)))
        return failure();
    if (llvm::all_of(program.functions,
                     [](const formats::Function &f) { return f.launches.empty(); }))
      return module.emitError("expects a public function that computes something, but found none");
    return success();
  }

private:
  LogicalResult plan(func::FuncOp function) {
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

  //===--------------------------------------------------------------------===//
  // Arguments and states
  //===--------------------------------------------------------------------===//

  LogicalResult describe(func::FuncOp function, RankedTensorType type,
                         formats::Argument &argument) {
    Type element = type.getElementType();
    if (!element.isF32() && !element.isBF16() && !element.isInteger(64) && !element.isInteger(32) &&
        !element.isInteger(1))
      return function.emitOpError(
                 "expects inputs and outputs of f32, bf16, i64, i32 or i1, but got ")
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

  //===--------------------------------------------------------------------===//
  // Training
  //===--------------------------------------------------------------------===//

  static bool isTraining(func::FuncOp function, unsigned i) {
    return llvm::any_of(ArrayRef<StringRef>{"mega.gradient", "mega.state_gradient",
                                            "mega.state_before", "mega.scalars", "mega.arena"},
                        [&](StringRef name) { return bool(function.getArgAttr(i, name)); });
  }

  /// Kernels change it in place, one after the other.
  static bool isInPlace(formats::BufferKind kind) {
    return kind == formats::BufferKind::Gradient || kind == formats::BufferKind::StateGradient ||
           kind == formats::BufferKind::Arena;
  }

  FailureOr<int64_t> trainingBuffer(func::FuncOp function, unsigned i, RankedTensorType type) {
    if (function.getArgAttr(i, "mega.scalars"))
      return addBuffer(formats::BufferKind::Scalars, 0);
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
        return addBuffer(before ? formats::BufferKind::StateBefore
                                : formats::BufferKind::StateGradient,
                         index);
    function.emitOpError("expects a state ")
        << function.getArgAttr(i, attribute) << " among its arguments before";
    return failure();
  }

  /// The weights that some function has the gradient of, in the order of the module, and where
  /// they lie in an arena.
  void listParameters() {
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

  static LogicalResult verifyNewName(func::FuncOp function, StringRef what,
                                     ArrayRef<formats::Argument> known, StringRef name) {
    if (llvm::none_of(known, [&](const formats::Argument &other) { return other.name == name; }))
      return success();
    return function.emitOpError("expects ")
           << what << " of different names, but two are '" << name << "'";
  }

  /// The index of state `name` in the program. Functions share states by name.
  FailureOr<int64_t> stateIndex(func::FuncOp function, unsigned i, StringAttr name,
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

  /// Kernels write states in place, so a function has to return each as its ops leave it.
  LogicalResult verifyStates(func::FuncOp function, ArrayRef<Binding> results) {
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

  LogicalResult launch(mega::GroupOp group, llvm::DenseMap<Value, Binding> &values,
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
    const std::pair<StringRef, StringRef> parts[] = {
        {"mega.before", "_append"}, {"mega.kernels", ""}};
    for (auto [part, suffix] : parts)
      if (auto kernels = group->getAttrOfType<ArrayAttr>(part))
        if (failed(launchKernels(group, kernels, operands, results, name + suffix.str())))
          return failure();
    if (auto joint = group->getAttrOfType<DictionaryAttr>("mega.joint"))
      return launchJoint(group, joint, prefix);
    return success();
  }

  /// Kernels that do the work of the last `groups` launches, with all their buffers.
  LogicalResult launchJoint(mega::GroupOp group, DictionaryAttr joint, const std::string &prefix) {
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
    auto sequence = result ? dyn_cast<mega::SequenceOpInterface>(result.getOwner())
                           : mega::SequenceOpInterface();
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

  LogicalResult launchKernels(mega::GroupOp group, ArrayAttr kernels, ArrayRef<Binding> operands,
                              ArrayRef<Binding> results, const std::string &name) {
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

  /// A state belongs to the one op that updates it: kernels write it in place, and a second op
  /// would see it before or after that, depending on how a call is cut.
  LogicalResult useStates(mega::GroupOp group, ArrayRef<Binding> operands) {
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
          return group.emitOpError(isState
                                       ? "expects a state to be read as a state, but operand "
                                       : "expects a mega.state argument as a state, but operand ")
                 << i << " is " << (isState ? "read otherwise" : "none");
        if (asState && !updated.insert(buffer).second && !again)
          return group.emitOpError("expects one op to update a state, but operand ")
                 << i << " is updated by another op too";
      }
    }
    return success();
  }

  static formats::Symbol rowSymbol(mega::GroupOp group) {
    if (!group.getBody(0)->getOps<mega::ChunkAttentionOp>().empty())
      return formats::Symbol::Length;
    auto type = cast<RankedTensorType>(group.getResult(0).getType());
    return type.getDimSize(1) == 1 ? formats::Symbol::Batch : formats::Symbol::Rows;
  }

  /// True if the kernels of `group` are for a GPU, whose open chunks lie as rows.
  bool runsOnBlocks(mega::GroupOp group) {
    for (StringRef attribute : {"mega.before", "mega.kernels"})
      if (auto names = group->getAttrOfType<ArrayAttr>(attribute))
        for (auto name : names.getAsRange<FlatSymbolRefAttr>())
          if (auto kernel = symbols.lookup<func::FuncOp>(name.getValue());
              kernel && kernel->hasAttr("gpu.threads"))
            return true;
    return false;
  }

  /// Facts about buffers that the ops in a group tell: layouts of states, bounds of inputs.
  LogicalResult learn(mega::GroupOp group, ArrayRef<Binding> operands) {
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
        int64_t tiles = schedule && schedule.getChannelTile() ? width / *schedule.getChannelTile() : 1;
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

  int64_t preparedBuffer(const KernelBuffer &buffer, ArrayRef<Binding> operands) {
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
  formats::Program &program;
  formats::Function out;
  std::vector<int64_t> firstUse, lastUse;   ///< launches, per buffer
  llvm::DenseMap<int64_t, int64_t> copies;  ///< of a state, once an op has told
  llvm::SmallDenseSet<int64_t> updated;     ///< buffers of states that an op has written
  llvm::SmallPtrSet<Operation *, 4> active; ///< callees that are being expanded
  int64_t calls = 0;
};

} // namespace

LogicalResult buildHostPlan(ModuleOp module, formats::Program &program) {
  return PlanBuilder(module, program).run();
}

} // namespace otodus

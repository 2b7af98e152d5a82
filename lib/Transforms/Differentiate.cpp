//===- Differentiate.cpp - From a function to its gradients ----------------===//
//
//   func @layer(x, w, h) -> (y, h')        called from @loss
// ==>
//   func @layer_saving(x, w, h) -> (y, h', saved…)
//   func @layer_backward(x, w, h', saved…, dy, dh', dw) -> (dx, dh, dw')
//
// mega.saving on the first of them says which of its own results are states, and of which argument
// (-1: none); what it saves follows behind them. otodus-recompute reads it.
//
// A function that is called becomes two, once, however often it is called; so its kernels are
// made once. The function that was asked for becomes one, forward and backward. Which arguments
// and results a backward function has follows from what its ops' backward steps ask for.
//
//===----------------------------------------------------------------------===//

#include "otodus/Transforms/Passes.h"

#include "Gradients/Gradients.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/IRMapping.h"
#include "mlir/IR/SymbolTable.h"

#include "llvm/ADT/MapVector.h"
#include "llvm/ADT/StringMap.h"

namespace otodus {
#define GEN_PASS_DEF_DIFFERENTIATE
#include "otodus/Transforms/Passes.h.inc"
} // namespace otodus

using namespace mlir;

namespace otodus {
namespace {

bool isReal(Type type) {
  auto tensor = dyn_cast<RankedTensorType>(type);
  return tensor && isa<FloatType>(tensor.getElementType());
}

/// What an argument or result of a backward function stands for at a call of the forward one.
struct Slot {
  enum Kind {
    Argument,      ///< argument `index`; as a result, its gradient
    NewState,      ///< what the call has left of state argument `index`
    Saved,         ///< value `index` that the saving function returns behind its results
    Result,        ///< gradient of result `index`
    StateGradient, ///< gradient of state argument `index`: after the call, and before it
    Sum,           ///< gradient of weight argument `index` so far, and with this call's share
  } kind;
  unsigned index;
};

/// The two functions that a called function becomes.
struct Pair {
  func::FuncOp saving, backward;
  unsigned numResults = 0; ///< of the function itself
  SmallVector<Slot> arguments, results;
};

using Pairs = llvm::MapVector<Operation *, std::shared_ptr<Pair>>;

/// The number of the result that is state argument `argument` after `function`; -1 if the argument
/// is none.
int64_t stateResult(func::FuncOp function, unsigned argument) {
  auto *end = function.getBody().front().getTerminator();
  for (OpOperand &use : function.getArgument(argument).getUses()) {
    Value after;
    if (auto sequence = dyn_cast<mega::SequenceOpInterface>(use.getOwner())) {
      for (auto [operand, result] :
           llvm::zip(sequence.getStateOperands(), sequence.getStateResults()))
        if (operand == &use)
          after = result;
    } else if (auto call = dyn_cast<func::CallOp>(use.getOwner())) {
      auto callee = SymbolTable::lookupNearestSymbolFrom<func::FuncOp>(call, call.getCalleeAttr());
      int64_t result = callee ? stateResult(callee, use.getOperandNumber()) : -1;
      if (result >= 0)
        after = call.getResult(result);
    }
    if (!after)
      continue;
    for (OpOperand &returned : end->getOpOperands())
      if (returned.get() == after)
        return returned.getOperandNumber();
  }
  return -1;
}

/// The backward half of one function. `forward` has saving forms in place.
class Backward : public mega::GradientBuilder {
public:
  /// `joint`: the backward half is built at the end of `forward` itself.
  Backward(func::FuncOp forward, func::FuncOp target, bool joint, Pairs &pairs)
      : forward(forward), target(target), joint(joint), pairs(pairs),
        b(OpBuilder::atBlockEnd(&target.getBody().front())) {
    if (joint)
      b.setInsertionPoint(target.getBody().front().getTerminator());
  }

  OpBuilder &builder() override { return b; }

  Value read(Value value) override {
    if (joint)
      return value;
    if (Value known = readable.lookup(value))
      return known;
    Value made;
    if (auto argument = dyn_cast<BlockArgument>(value)) {
      made = addArgument({Slot::Argument, argument.getArgNumber()}, value.getType());
    } else if (Operation *op = value.getDefiningOp();
               isa<mega::UseWeightOp, tensor::ExtractSliceOp>(op)) {
      IRMapping map;
      Operation *behind = nullptr;
      for (Value operand : op->getOperands()) {
        map.map(operand, read(operand));
        behind = map.lookup(operand).getDefiningOp();
      }
      OpBuilder::InsertionGuard guard(b);
      if (behind)
        b.setInsertionPointAfter(behind);
      else
        b.setInsertionPointToStart(b.getBlock()); // a use further up may ask for it
      made = b.clone(*op, map)->getResult(0);
    } else {
      for (unsigned i = 0; i < forward.getNumArguments() && !made; ++i)
        if (int64_t result = stateResult(forward, i);
            result >= 0 && terminator()->getOperand(result) == value)
          made = addArgument({Slot::NewState, i}, value.getType());
      if (!made) {
        made = addArgument({Slot::Saved, unsigned(saved.size())}, value.getType());
        saved.push_back(value);
      }
    }
    return readable[value] = made;
  }

  Value gradientOf(Value result) override { return gradients.lookup(result); }

  void add(Value operand, Value gradient) override {
    // Weights have sums; anything else of a fixed batch is none of the model's activations.
    auto type = dyn_cast<RankedTensorType>(operand.getType());
    if (!gradient || !type || !isReal(type) || type.hasStaticShape())
      return;
    Value &known = gradients[operand];
    known = known ? Value(arith::AddFOp::create(b, gradient.getLoc(), known, gradient)) : gradient;
  }

  void accumulate(Value weight, function_ref<Value(Value, int64_t)> update) override {
    auto [base, row] = rowOf(weight);
    if (Value *sum = findSum(base))
      *sum = update(*sum, row);
  }

  Value sumOf(Value weight) override {
    Value *sum = findSum(weight);
    return sum ? *sum : Value();
  }
  void setSum(Value weight, Value sum) override { *findSum(weight) = sum; }

  Value stateGradientOf(Value state) override {
    Value &known = stateGradients[state];
    if (!known) {
      // Sums over all steps that read the state, in f32 even of keys and values of bf16.
      Type type = cast<RankedTensorType>(state.getType()).clone(b.getF32Type());
      known = addArgument({Slot::StateGradient, cast<BlockArgument>(state).getArgNumber()}, type);
    }
    return known;
  }
  void setStateGradient(Value state, Value gradient) override { stateGradients[state] = gradient; }

  Value scalars() override {
    if (!scalarArgument) {
      auto type = RankedTensorType::get({16}, b.getF32Type());
      scalarArgument = target.getBody().front().addArgument(type, forward.getLoc());
      scalarNumber = target.getBody().front().getNumArguments() - 1;
    }
    return scalarArgument;
  }

  LogicalResult run();

  Operation *terminator() { return forward.getBody().front().getTerminator(); }
  Value addArgument(Slot slot, Type type) {
    arguments.push_back(slot);
    return target.getBody().front().addArgument(type, forward.getLoc());
  }

  func::FuncOp forward, target;
  bool joint;
  Pairs &pairs;
  OpBuilder b;
  llvm::DenseMap<Value, Value> readable;
  llvm::DenseMap<Value, Value> gradients;
  llvm::MapVector<Value, Value> stateGradients;
  /// By argument of the function; by name for weights that the function uses itself.
  llvm::MapVector<Value, Value> sums;
  llvm::MapVector<StringRef, Value> sumsByName;
  llvm::StringMap<unsigned> sumNumbers; ///< arguments that those begin as
  SmallVector<Slot> arguments;
  SmallVector<Value> saved;
  Value scalarArgument;
  int64_t scalarNumber = -1;

private:
  static std::pair<Value, int64_t> rowOf(Value weight) {
    if (auto slice = weight.getDefiningOp<tensor::ExtractSliceOp>())
      return {slice.getSource(), slice.getStaticOffsets()[0]};
    return {weight, 0};
  }

  Value *findSum(Value weight) {
    if (!isReal(weight.getType()))
      return nullptr;
    auto f32 = RankedTensorType::get(cast<RankedTensorType>(weight.getType()).getShape(),
                                     b.getF32Type());
    if (auto use = weight.getDefiningOp<mega::UseWeightOp>()) {
      auto symbol = SymbolTable::lookupNearestSymbolFrom<mega::WeightOp>(use, use.getWeightAttr());
      Value &sum = sumsByName[symbol.getCheckpointName()];
      if (!sum) {
        sum = target.getBody().front().addArgument(f32, forward.getLoc());
        sumNumbers[symbol.getCheckpointName()] = cast<BlockArgument>(sum).getArgNumber();
      }
      return &sum;
    }
    auto argument = dyn_cast<BlockArgument>(weight);
    if (!argument)
      return nullptr;
    Value &sum = sums[weight];
    if (!sum)
      sum = addArgument({Slot::Sum, argument.getArgNumber()}, f32);
    return &sum;
  }

  LogicalResult backward(func::CallOp call);
};

LogicalResult Backward::backward(func::CallOp call) {
  // The saving function is known by its own name, which the call has by now.
  std::shared_ptr<Pair> pair;
  for (auto &[function, candidate] : pairs)
    if (candidate->saving.getName() == call.getCallee())
      pair = candidate;
  SmallVector<Value> operands;
  for (Slot slot : pair->arguments) {
    Value value;
    switch (slot.kind) {
    case Slot::Argument:
      value = read(call.getOperand(slot.index));
      break;
    case Slot::NewState:
      value = read(call.getResult(stateResult(pair->saving, slot.index)));
      break;
    case Slot::Saved:
      value = read(call.getResult(pair->numResults + slot.index));
      break;
    case Slot::Result:
      value = gradientOf(call.getResult(slot.index));
      break;
    case Slot::StateGradient:
      value = stateGradientOf(call.getOperand(slot.index));
      break;
    case Slot::Sum:
      value = sumOf(call.getOperand(slot.index));
      break;
    }
    if (!value)
      return call.emitOpError("has a gradient that needs those of all results, but nobody reads "
                              "result ")
             << slot.index;
    operands.push_back(value);
  }
  auto made = func::CallOp::create(b, call.getLoc(), pair->backward, operands);
  for (auto [slot, result] : llvm::zip(pair->results, made.getResults())) {
    Value operand = call.getOperand(slot.index);
    if (slot.kind == Slot::StateGradient)
      setStateGradient(operand, result);
    else if (slot.kind == Slot::Sum)
      setSum(operand, result);
    else
      add(operand, result);
  }
  return success();
}

LogicalResult Backward::run() {
  SmallVector<Operation *> ops;
  for (Operation &op : forward.getBody().front().without_terminator())
    ops.push_back(&op);
  for (Operation *op : llvm::reverse(ops)) {
    auto differentiable = dyn_cast<mega::DifferentiableOpInterface>(op);
    bool reached = llvm::any_of(op->getResults(), [&](Value v) { return bool(gradientOf(v)); });
    if (!reached && !(differentiable && differentiable.isLoss()))
      continue;
    if (auto call = dyn_cast<func::CallOp>(op)) {
      if (failed(backward(call)))
        return failure();
      continue;
    }
    if (!differentiable)
      return op->emitOpError("has no gradient; an op gets one in lib/Transforms/Gradients");
    if (failed(differentiable.buildBackward(*this)))
      return failure();
  }
  return success();
}

struct Differentiate : impl::DifferentiateBase<Differentiate> {
  using DifferentiateBase::DifferentiateBase;

  void runOnOperation() override {
    SmallVector<func::FuncOp> functions;
    for (auto function : getOperation().getOps<func::FuncOp>())
      if (function->hasAttr("mega.differentiate"))
        functions.push_back(function);
    for (func::FuncOp function : functions)
      if (failed(differentiate(function)))
        return signalPassFailure();
  }

  /// Ops that keep more for the backward step, and calls of functions that do.
  LogicalResult useSavingForms(func::FuncOp function) {
    SymbolTable symbols(getOperation());
    for (Operation &op : llvm::make_early_inc_range(function.getBody().front())) {
      if (auto call = dyn_cast<func::CallOp>(op)) {
        auto callee = symbols.lookup<func::FuncOp>(call.getCallee());
        if (!callee || callee.isExternal())
          return call.emitOpError("expects a function with a body");
        FailureOr<std::shared_ptr<Pair>> pair = pairOf(callee);
        if (failed(pair))
          return failure();
        OpBuilder b(call);
        auto made = func::CallOp::create(b, call.getLoc(), (*pair)->saving, call.getOperands());
        call.replaceAllUsesWith(made.getResults().take_front(call.getNumResults()));
        call.erase();
      } else if (auto differentiable = dyn_cast<mega::DifferentiableOpInterface>(op)) {
        OpBuilder b(&op);
        if (Operation *made = differentiable.buildSavingForm(b)) {
          op.replaceAllUsesWith(made->getResults().take_front(op.getNumResults()));
          op.erase();
        }
      }
    }
    return success();
  }

  FailureOr<std::shared_ptr<Pair>> pairOf(func::FuncOp function) {
    if (auto known = pairs.lookup(function))
      return known;
    if (!function.getBody().hasOneBlock() || !active.insert(function).second) {
      function.emitOpError("expects a body of one block and no recursion");
      return failure();
    }
    auto pair = std::make_shared<Pair>();
    pair->numResults = function.getNumResults();
    OpBuilder b(function);
    b.setInsertionPointAfter(function);
    pair->saving = cast<func::FuncOp>(b.clone(*function));
    pair->saving.setName((function.getName() + "_saving").str());
    pair->saving.setPrivate();
    if (failed(useSavingForms(pair->saving)))
      return failure();

    b.setInsertionPointAfter(pair->saving);
    pair->backward = func::FuncOp::create(b, function.getLoc(),
                                          (function.getName() + "_backward").str(),
                                          b.getFunctionType({}, {}));
    pair->backward.setPrivate();
    pair->backward.getBody().emplaceBlock();
    Backward half(pair->saving, pair->backward, /*joint=*/false, pairs);
    seed(half, pair->saving);
    if (failed(half.run()))
      return failure();

    SmallVector<Value> results;
    auto give = [&](Slot::Kind kind, Value argument, Value value) {
      pair->results.push_back({kind, cast<BlockArgument>(argument).getArgNumber()});
      results.push_back(value);
    };
    for (BlockArgument argument : pair->saving.getArguments())
      if (Value gradient = half.gradients.lookup(argument))
        give(Slot::Argument, argument, gradient);
    for (auto [state, gradient] : half.stateGradients)
      give(Slot::StateGradient, state, gradient);
    for (auto [weight, sum] : half.sums)
      give(Slot::Sum, weight, sum);
    if (!half.sumsByName.empty() || half.scalarArgument) {
      function.emitOpError("expects weights and the loss's scale as arguments, since it is called");
      return failure();
    }
    pair->arguments = half.arguments;
    finish(pair->backward, half.b, results);

    // The saving function returns what the other one has asked for.
    Operation *end = half.terminator();
    SmallVector<Value> returned(end->getOperands());
    llvm::append_range(returned, half.saved);
    end->setOperands(returned);
    pair->saving.setFunctionType(
        b.getFunctionType(pair->saving.getArgumentTypes(), ValueRange(returned).getTypes()));
    SmallVector<int64_t> stateOf(pair->numResults, -1);
    for (unsigned i = 0; i < pair->saving.getNumArguments(); ++i)
      if (int64_t result = stateResult(pair->saving, i); result >= 0)
        stateOf[result] = i;
    pair->saving->setAttr("mega.saving", b.getDenseI64ArrayAttr(stateOf));
    active.erase(function);
    pairs[function] = pair;
    return pair;
  }

  /// Arguments for the gradients of results.
  void seed(Backward &half, func::FuncOp function) {
    llvm::SmallDenseSet<int64_t> states;
    for (unsigned i = 0; i < function.getNumArguments(); ++i)
      states.insert(stateResult(function, i));
    for (OpOperand &returned : half.terminator()->getOpOperands()) {
      unsigned i = returned.getOperandNumber();
      Value value = returned.get();
      auto loss = value.getDefiningOp<mega::DifferentiableOpInterface>();
      if (!isReal(value.getType()) || states.contains(i) || (loss && loss.isLoss()))
        continue;
      half.add(value, half.addArgument({Slot::Result, i}, value.getType()));
    }
  }

  static void finish(func::FuncOp function, OpBuilder &b, ArrayRef<Value> results) {
    func::ReturnOp::create(b, function.getLoc(), results);
    function.setFunctionType(b.getFunctionType(
        function.getBody().front().getArgumentTypes(), ValueRange(results).getTypes()));
  }

  LogicalResult differentiate(func::FuncOp original) {
    auto name = original->getAttrOfType<StringAttr>("mega.differentiate");
    original->removeAttr("mega.differentiate");
    if (!name || original.isExternal() || !original.getBody().hasOneBlock())
      return original.emitOpError("expects a body of one block, and a name for the function with "
                                  "its gradients as mega.differentiate");
    OpBuilder b(original);
    b.setInsertionPointAfter(original);
    auto function = cast<func::FuncOp>(b.clone(*original));
    function.setName(name);
    if (failed(useSavingForms(function)))
      return failure();
    unsigned numArguments = function.getNumArguments();
    Backward half(function, function, /*joint=*/true, pairs);
    seed(half, function);
    if (failed(half.run()))
      return failure();

    // New arguments, in the order in which they were asked for.
    Block &body = function.getBody().front();
    SmallVector<DictionaryAttr> argumentAttrs, resultAttrs;
    for (unsigned i = 0; i < body.getNumArguments(); ++i)
      argumentAttrs.push_back(i < numArguments && function.getArgAttrDict(i)
                                  ? function.getArgAttrDict(i)
                                  : DictionaryAttr::get(&getContext()));
    SmallVector<Value> results(half.terminator()->getOperands());
    for (unsigned i = 0; i < results.size(); ++i)
      resultAttrs.push_back(function.getResultAttrDict(i) ? function.getResultAttrDict(i)
                                                          : DictionaryAttr::get(&getContext()));
    auto one = [&](StringRef key, Attribute value) {
      return DictionaryAttr::get(&getContext(), b.getNamedAttr(key, value));
    };
    auto nameOf = [&](DictionaryAttr attrs, StringRef key, const Twine &fallback) {
      auto known = attrs.getAs<StringAttr>(key);
      return known ? known.str() : fallback.str();
    };
    auto give = [&](Value argument, Value value, DictionaryAttr attr) {
      argumentAttrs[cast<BlockArgument>(argument).getArgNumber()] = attr;
      results.push_back(value);
      resultAttrs.push_back(attr);
    };
    for (auto [slot, argument] : llvm::zip(half.arguments, slotArguments(half, numArguments))) {
      if (slot.kind == Slot::Result) {
        std::string result = nameOf(resultAttrs[slot.index], "mega.name",
                                    "result" + Twine(slot.index));
        argumentAttrs[argument.getArgNumber()] =
            one("mega.name", b.getStringAttr("cot_" + result));
      } else if (slot.kind == Slot::StateGradient) {
        auto state = argumentAttrs[slot.index].getAs<StringAttr>("mega.state");
        if (!state)
          return function.emitOpError("expects argument ")
                 << slot.index << " to have mega.state";
        give(argument, half.stateGradients.lookup(function.getArgument(slot.index)),
             one("mega.state_gradient", state));
      } else if (slot.kind == Slot::Sum) {
        return function.emitOpError("expects weights from mega.use_weight, but argument ")
               << slot.index << " is used as one";
      }
    }
    for (auto [weight, sum] : half.sumsByName) {
      give(body.getArgument(half.sumNumbers.lookup(weight)), sum, one("mega.gradient", b.getStringAttr(weight)));
    }
    if (half.scalarNumber >= 0)
      argumentAttrs[half.scalarNumber] = one("mega.scalars", b.getUnitAttr());

    // Gradients of inputs are outputs.
    llvm::SmallDenseSet<Value> given(results.begin(), results.end());
    for (unsigned i = 0; i < numArguments; ++i) {
      Value gradient = half.gradients.lookup(function.getArgument(i));
      if (!gradient || argumentAttrs[i].get("mega.state"))
        continue;
      // An output is a buffer of its own: a copy, in a form that nothing folds.
      if (isa<BlockArgument>(gradient) || !given.insert(gradient).second) {
        Value zero = arith::SubFOp::create(half.b, function.getLoc(), gradient, gradient);
        gradient = arith::AddFOp::create(half.b, function.getLoc(), gradient, zero);
      }
      results.push_back(gradient);
      resultAttrs.push_back(one("mega.name", b.getStringAttr("grad_" + nameOf(argumentAttrs[i],
                                                             "mega.name", "arg" + Twine(i)))));
    }
    half.terminator()->erase();
    half.b.setInsertionPointToEnd(&body);
    finish(function, half.b, results);
    function.setAllArgAttrs(argumentAttrs);
    function.setAllResultAttrs(resultAttrs);
    return success();
  }

  /// The arguments that belong to `half.arguments`, which others may lie between.
  SmallVector<BlockArgument> slotArguments(Backward &half, unsigned numArguments) {
    SmallVector<BlockArgument> list;
    llvm::SmallDenseSet<unsigned> others;
    if (half.scalarNumber >= 0)
      others.insert(half.scalarNumber);
    for (auto &entry : half.sumNumbers)
      others.insert(entry.second);
    for (BlockArgument argument : half.target.getArguments().drop_front(numArguments))
      if (!others.contains(argument.getArgNumber()))
        list.push_back(argument);
    return list;
  }

  Pairs pairs;
  llvm::SmallPtrSet<Operation *, 4> active;
};

} // namespace

void registerGradients(DialectRegistry &registry) {
  registerElementwiseGradients(registry);
  registerLayerGradients(registry);
  registerSequenceGradients(registry);
  registerAttentionGradients(registry);
}

} // namespace otodus

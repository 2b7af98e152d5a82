//===- Recompute.cpp - Save less, compute it again -------------------------===//
//
//   %y, %h1, %s = call @layer_saving(%x, %w, %h0)            … forward
//   %dx = call @layer_backward(%dy, %s, %h1, %w)             … backward
// ==>
//   %y, %h1, %_ = call @layer_saving(%x, %w, %h0) {mega.recompute}
//   %_, %h2, %s = call @layer_saving(%x, %w, %before) {mega.recomputed}
//   %dx = call @layer_backward(%dy, %s, %h2, %w)
//
// The forward call stays the saving one though nothing reads what it saves: its kernels are those
// of the repetition, so both see the same numbers.
//
//===----------------------------------------------------------------------===//

#include "otodus/Transforms/Passes.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/SymbolTable.h"

#include "llvm/ADT/MapVector.h"

namespace otodus {
#define GEN_PASS_DEF_RECOMPUTE
#include "otodus/Transforms/Passes.h.inc"
} // namespace otodus

using namespace mlir;

namespace otodus {
namespace {

/// Of each result of the function itself, the argument that it is the new value of, or -1.
DenseI64ArrayAttr savingOf(func::CallOp call) {
  auto callee = SymbolTable::lookupNearestSymbolFrom<func::FuncOp>(call, call.getCalleeAttr());
  return callee ? callee->getAttrOfType<DenseI64ArrayAttr>("mega.saving") : DenseI64ArrayAttr();
}

struct Recompute : impl::RecomputeBase<Recompute> {
  using RecomputeBase::RecomputeBase;

  void runOnOperation() override {
    SmallVector<func::CallOp> known = savingCalls(getOperation());
    SmallVector<int64_t> chosen(calls.begin(), calls.end());
    if (all)
      chosen = llvm::to_vector(llvm::seq<int64_t>(0, known.size()));
    for (int64_t number : chosen) {
      if (number < 0 || number >= int64_t(known.size())) {
        getOperation().emitError("expects numbers of calls that save values, 0 to ")
            << int64_t(known.size()) - 1 << ", but got " << number;
        return signalPassFailure();
      }
      if (failed(repeat(known[number])))
        return signalPassFailure();
    }
  }

  LogicalResult repeat(func::CallOp call) {
    if (call->hasAttr("mega.recompute"))
      return success();
    ArrayRef<int64_t> stateOf = savingOf(call).asArrayRef();
    Operation *reader = nullptr;
    for (Value saved : call.getResults().drop_front(stateOf.size()))
      for (Operation *user : saved.getUsers()) {
        if (user->getBlock() != call->getBlock() || isa<func::ReturnOp>(user))
          return call.emitOpError("cannot be computed again: its saved values leave the function");
        if (!reader || user->isBeforeInBlock(reader))
          reader = user;
      }
    if (!reader)
      return success(); // nothing is kept

    SmallVector<Value> operands(call.getOperands());
    for (int64_t argument : stateOf)
      if (argument >= 0)
        if (failed(useStateBefore(call, operands[argument])))
          return failure();
    OpBuilder b(reader);
    auto again = cast<func::CallOp>(b.clone(*call));
    again->setOperands(operands);
    again->setAttr("mega.recomputed", b.getUnitAttr());
    call->setAttr("mega.recompute", b.getUnitAttr());
    for (auto [i, pair] : llvm::enumerate(llvm::zip(call.getResults(), again.getResults()))) {
      auto [before, after] = pair;
      if (i < stateOf.size() && stateOf[i] < 0)
        continue;
      before.replaceUsesWithIf(after, [&](OpOperand &use) {
        return !isa<func::ReturnOp>(use.getOwner()) && again->isBeforeInBlock(use.getOwner());
      });
    }
    return success();
  }

  /// Replaces a state of the function by what it was before.
  LogicalResult useStateBefore(func::CallOp call, Value &state) {
    auto argument = dyn_cast<BlockArgument>(state);
    auto function = call->getParentOfType<func::FuncOp>();
    auto name = argument && argument.getOwner()->isEntryBlock()
                    ? function.getArgAttrOfType<StringAttr>(argument.getArgNumber(), "mega.state")
                    : StringAttr();
    if (!name)
      return call.emitOpError("cannot be computed again: a state that it advances is no state of "
                              "the function");
    Value &known = before[argument];
    if (!known) {
      unsigned number = function.getNumArguments();
      NamedAttribute attribute(StringAttr::get(&getContext(), "mega.state_before"), name);
      if (failed(function.insertArgument(number, argument.getType(),
                                         DictionaryAttr::get(&getContext(), attribute),
                                         call.getLoc())))
        return failure();
      known = function.getArgument(number);
    }
    state = known;
    return success();
  }

  llvm::MapVector<Value, Value> before;
};

} // namespace

SmallVector<func::CallOp> savingCalls(ModuleOp module) {
  SmallVector<func::CallOp> calls;
  for (auto function : module.getOps<func::FuncOp>()) {
    if (function.isExternal() || function->hasAttr("mega.saving"))
      continue;
    for (auto call : function.getOps<func::CallOp>())
      if (savingOf(call) && !call->hasAttr("mega.recomputed"))
        calls.push_back(call);
  }
  return calls;
}

} // namespace otodus

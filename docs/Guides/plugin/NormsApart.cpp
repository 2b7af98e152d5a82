//===- NormsApart.cpp - A fusion policy of one's own -----------------------===//
//
// Otodus repeats a norm in front of every matrix product that reads it. This pass decides
// otherwise: such a norm is a kernel of its own, computed once and kept in memory.
//
//===----------------------------------------------------------------------===//

#include "mega/IR/MegaOps.h"

#include "mlir/Analysis/TopologicalSortUtils.h"
#include "mlir/IR/IRMapping.h"
#include "mlir/IR/Remarks.h"
#include "mlir/Interfaces/FunctionInterfaces.h"
#include "mlir/Pass/Pass.h"
#include "mlir/Pass/PassRegistry.h"
#include "mlir/Tools/Plugins/PassPlugin.h"

using namespace mlir;
namespace mega = otodus::mega;

namespace {

/// Makes `ops`, which stand in the order of their block, one kernel. No op outside of `ops` may
/// both read one of them and be read by one (the verifier would complain).
void formGroup(ArrayRef<Operation *> ops, StringRef name) {
  auto isMember = [&](Operation *op) { return llvm::is_contained(ops, op); };
  llvm::SetVector<Value> inputs;
  SmallVector<Value> outputs;
  for (Operation *op : ops) {
    for (Value operand : op->getOperands())
      if (!operand.getDefiningOp() || !isMember(operand.getDefiningOp()))
        inputs.insert(operand);
    for (Value result : op->getResults())
      if (!llvm::all_of(result.getUsers(), isMember))
        outputs.push_back(result);
  }
  OpBuilder builder(ops.back());
  auto group = mega::GroupOp::create(builder, ops.back()->getLoc(), ValueRange(outputs).getTypes(),
                                     inputs.getArrayRef(), name);
  IRMapping map;
  map.map(inputs.getArrayRef(), group.getBody()->getArguments());
  builder.setInsertionPointToEnd(group.getBody());
  for (Operation *op : ops)
    builder.clone(*op, map);
  auto yielded = llvm::map_to_vector(outputs, [&](Value value) { return map.lookup(value); });
  mega::YieldOp::create(builder, group.getLoc(), yielded);
  for (auto [output, result] : llvm::zip(outputs, group.getResults()))
    output.replaceAllUsesWith(result);
  for (Operation *op : llvm::reverse(ops))
    op->erase();
  sortTopologically(group->getBlock()); // readers of the first op may stand before the last
}

struct NormsApart : PassWrapper<NormsApart, InterfacePass<FunctionOpInterface>> {
  MLIR_DEFINE_EXPLICIT_INTERNAL_INLINE_TYPE_ID(NormsApart)
  StringRef getArgument() const override { return "example-norms-apart"; }
  StringRef getDescription() const override { return "Never repeat a norm in front of products"; }

  void runOnOperation() override {
    SmallVector<Operation *> norms;
    // The policy: roles, not names, so a new kind of norm or product is served too.
    for (Operation &op : getOperation().getFunctionBody().getOps())
      if (mega::getRowRole(&op) == mega::RowRole::RowReduction && !op.use_empty() &&
          llvm::all_of(op.getUsers(), [](Operation *user) {
            return mega::getRowRole(user) == mega::RowRole::Contraction;
          }))
        norms.push_back(&op);
    for (Operation *norm : norms) {
      remark::passed(norm->getLoc(), remark::RemarkOpts::name("apart").category("example-fusion"))
          << "kept out of the products that read it";
      formGroup(norm, "norm_apart");
    }
  }
};

} // namespace

extern "C" ::mlir::PassPluginLibraryInfo LLVM_ATTRIBUTE_WEAK mlirGetPassPluginInfo() {
  return {MLIR_PLUGIN_API_VERSION, "norms-apart", "1", [] { PassRegistration<NormsApart>(); }};
}

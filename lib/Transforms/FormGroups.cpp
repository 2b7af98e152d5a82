//===- FormGroups.cpp - Which ops become one kernel ------------------------===//

#include "otodus/Transforms/Passes.h"

#include "mlir/Analysis/TopologicalSortUtils.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/IRMapping.h"
#include "mlir/IR/Matchers.h"
#include "mlir/IR/Remarks.h"
#include "mlir/Transforms/RegionUtils.h"

namespace otodus {
#define GEN_PASS_DEF_FORMGROUPS
#include "otodus/Transforms/Passes.h.inc"
} // namespace otodus

using namespace mlir;
using otodus::mega::RowRole;

namespace otodus {
namespace {

/// Batch and time, then a width: what rows can be cut from. Arithmetic on other tensors, such as
/// weights, is no op on rows.
bool isActivation(Type type) {
  auto tensor = dyn_cast<RankedTensorType>(type);
  return tensor && (tensor.getRank() == 3 || tensor.getRank() == 4) &&
         (tensor.getElementType().isF32() || tensor.getElementType().isBF16()) &&
         ShapedType::isStaticShape(tensor.getShape().drop_front(2));
}

RowRole roleOf(Operation *op) {
  if (auto fusion = dyn_cast<mega::FusionOpInterface>(op))
    return fusion.getRowRole();
  // Upstream's elementwise ops on activations.
  if (op->hasTrait<OpTrait::Elementwise>() && op->getNumResults() == 1 &&
      isActivation(op->getResult(0).getType()) &&
      llvm::all_of(op->getOperandTypes(), isActivation))
    return RowRole::Elementwise;
  return RowRole::None;
}

/// Bytes of one row of `type` [batch, time, …].
int64_t rowBytes(Type type) {
  auto tensor = cast<RankedTensorType>(type);
  int64_t bytes = tensor.getElementTypeBitWidth() / 8;
  for (int64_t size : tensor.getShape().drop_front(2))
    bytes *= size;
  return bytes;
}

struct Group {
  SmallVector<Operation *> ops; ///< in order of the function
  bool rows = false;            ///< row-wise: others may join
  bool stream = false;
  bool attention = false;       ///< elementwise ops on its output may join
};

struct FormGroups : impl::FormGroupsBase<FormGroups> {
  using FormGroupsBase::FormGroupsBase;

  void runOnOperation() override {
    FunctionOpInterface function = getOperation();
    if (function.isExternal())
      return;
    Block &block = function.getFunctionBody().front();
    groups.clear();
    groupOf.clear();
    prologues.clear();
    captured.clear();
    for (Operation &op : block)
      place(&op);
    for (auto &group : groups)
      if (group && !group->ops.empty() && failed(build(*group, block)))
        return signalPassFailure();
    for (Operation *constant : captured)
      if (constant->use_empty())
        constant->erase();
    // Norms that every reader repeats are dead now.
    for (Operation *op : llvm::reverse(prologues))
      if (op->use_empty())
        op->erase();
    sortTopologically(&block);
  }

private:
  //===--------------------------------------------------------------------===//
  // Policy
  //===--------------------------------------------------------------------===//

  /// All readers are matrix products: each repeats the norm on the rows it reads.
  static bool isPrologue(Operation *op) {
    return roleOf(op) == RowRole::RowReduction && !op->use_empty() &&
           llvm::all_of(op->getUsers(), [](Operation *user) {
             return roleOf(user) == RowRole::Contraction;
           });
  }

  void place(Operation *op) {
    switch (roleOf(op)) {
    case RowRole::None:
      return;
    case RowRole::Attention:
      start(op)->attention = true;
      return;
    case RowRole::Gather:
    case RowRole::Accumulation:
      start(op);
      return;
    case RowRole::Contraction:
      start(op)->rows = true;
      return;
    case RowRole::Stream:
      return placeStream(op);
    case RowRole::RowReduction:
      if (isPrologue(op)) {
        prologues.push_back(op);
        for (Operation *user : op->getUsers())
          passed(op->getLoc(), "repeated in front of ", user, op->getResult(0));
        return;
      }
      [[fallthrough]];
    case RowRole::Elementwise:
      if (!joinAttention(op))
        placeRows(op);
      return;
    }
  }

  /// Arithmetic on what attention computes, alone read by it, is done before that is stored.
  bool joinAttention(Operation *op) {
    if (!op->hasTrait<OpTrait::Elementwise>())
      return false;
    for (Value operand : op->getOperands()) {
      Operation *producer = operand.getDefiningOp();
      Group *group = producer ? groupOf.lookup(producer) : nullptr;
      if (!group || !group->attention || producer != group->ops.back() ||
          operand != producer->getResult(0) || !mayJoin(op, group) ||
          !llvm::all_of(operand.getUsers(), [&](Operation *user) { return user == op; }) ||
          !llvm::all_of(op->getOperandTypes(),
                        [&](Type type) { return type == op->getResult(0).getType(); }))
        continue;
      join(op, group);
      passed(op->getLoc(), "follows ", producer, operand);
      return true;
    }
    return false;
  }

  /// Ops that walk time join the one that feeds them.
  void placeStream(Operation *op) {
    for (OpOperand &operand : op->getOpOperands()) {
      Operation *producer = operand.get().getDefiningOp();
      Group *group = producer ? groupOf.lookup(producer) : nullptr;
      if (!group || !group->stream || !walksWith(op, group) || !mayJoin(op, group))
        continue;
      join(op, group);
      passed(op->getLoc(), "walks time together with ", producer, operand.get());
      return;
    }
    start(op)->stream = true;
  }

  /// Step t and channel d of `op` read only step t and channel d of what `group` computes: a
  /// work item has no other channels at hand, and no state but its own ops'.
  bool walksWith(Operation *op, const Group *group) {
    auto sequence = cast<mega::SequenceOpInterface>(op);
    return llvm::all_of(op->getOpOperands(), [&](OpOperand &operand) {
      Operation *producer = operand.get().getDefiningOp();
      if (!producer || groupOf.lookup(producer) != group)
        return true;
      if (llvm::is_contained(sequence.getStateOperands(), &operand))
        return false;
      auto scan = dyn_cast<mega::ScanOp>(op);
      unsigned number = operand.getOperandNumber();
      if (!scan || number >= scan.getInputs().size())
        return true;
      AffineMap map = scan.getMaps()[number];
      return map == AffineMap::getMultiDimMapWithTargets(4, {0, 1, 2}, map.getContext());
    });
  }

  /// Elementwise ops and norms after a product join all row-wise groups that feed only them.
  void placeRows(Operation *op) {
    Group *target = nullptr;
    for (Value operand : op->getOperands()) {
      Operation *producer = operand.getDefiningOp();
      Group *group = producer ? groupOf.lookup(producer) : nullptr;
      if (!group)
        continue;
      if (!group->rows) {
        missed(op->getLoc(), "computes something other than rows", producer);
        continue;
      }
      if (!onlyFeedsRowOps(operand)) {
        missed(op->getLoc(), "has a reader that needs whole rows in memory", producer);
        continue;
      }
      if (!mayJoin(op, group)) {
        missed(op->getLoc(), "is also what another operand is computed from", producer);
        continue;
      }
      if (roleOf(op) == RowRole::RowReduction && followsProduct(producer, group) &&
          rowWidth(op) > kWidestNorm) {
        missed(op->getLoc(), "is a product whose rows are too wide to wait for each other", producer);
        continue;
      }
      if (!target) {
        target = group;
        passed(op->getLoc(), "follows ", producer, operand);
      } else if (target != group && onlyFeeds(*group, *target, op)) {
        merge(*group, *target);
        passed(op->getLoc(), "joins the kernels of ", producer, operand);
      }
    }
    if (target)
      join(op, target);
    else
      start(op)->rows = true;
  }

  /// Whole rows of a product have to fit a thread block's shared memory together with its operands.
  static constexpr int64_t kWidestNorm = 256;

  /// Elements that a norm adds up.
  static int64_t rowWidth(Operation *op) {
    return cast<RankedTensorType>(op->getOperand(0).getType()).getShape().back();
  }

  /// True if `op` or what it reads inside of `group` is a product.
  bool followsProduct(Operation *op, const Group *group) {
    return groupOf.lookup(op) == group &&
           (roleOf(op) == RowRole::Contraction ||
            llvm::any_of(op->getOperands(), [&](Value operand) {
              Operation *producer = operand.getDefiningOp();
              return producer && followsProduct(producer, group);
            }));
  }

  /// Sums over rows read it from memory, and wait for whole rows anyway.
  static bool onlyFeedsRowOps(Value value) {
    return llvm::all_of(value.getUsers(), [](Operation *user) {
      RowRole role = roleOf(user);
      return role == RowRole::Elementwise || role == RowRole::Accumulation || (role == RowRole::RowReduction && !isPrologue(user));
    });
  }

  /// A kernel runs as a whole: what `op` reads from other kernels must not be computed from what
  /// `group` computes. If two groups pass, neither needs the other, and they may run as one.
  bool mayJoin(Operation *op, const Group *group) {
    return llvm::none_of(op->getOperands(), [&](Value operand) {
      Operation *producer = operand.getDefiningOp();
      llvm::SmallPtrSet<Operation *, 16> seen;
      return producer && groupOf.lookup(producer) != group && needs(producer, group, seen);
    });
  }

  /// True if `op`, with everything that runs in its kernel, reads something of `group`.
  bool needs(Operation *op, const Group *group, llvm::SmallPtrSetImpl<Operation *> &seen) {
    Group *own = groupOf.lookup(op);
    if (own == group)
      return true;
    if (!seen.insert(own ? own->ops.front() : op).second)
      return false;
    for (Operation *member : own ? ArrayRef<Operation *>(own->ops) : ArrayRef<Operation *>(op))
      for (Value operand : member->getOperands())
        if (Operation *producer = operand.getDefiningOp())
          if (needs(producer, group, seen))
            return true;
    return false;
  }

  /// No value of `group` is read outside of it, `other` and `op`: nothing waits longer for it
  /// when it runs together with `other`.
  bool onlyFeeds(const Group &group, const Group &other, Operation *op) {
    for (Operation *member : group.ops)
      for (Operation *user : member->getUsers())
        if (user != op && groupOf.lookup(user) != &group && groupOf.lookup(user) != &other)
          return false;
    return true;
  }

  //===--------------------------------------------------------------------===//
  // Bookkeeping
  //===--------------------------------------------------------------------===//

  Group *start(Operation *op) {
    groups.push_back(std::make_shared<Group>());
    join(op, groups.back().get());
    return groups.back().get();
  }

  void join(Operation *op, Group *group) {
    numFused += group->ops.empty() ? 0 : 1;
    group->ops.push_back(op);
    groupOf[op] = group;
  }

  void merge(Group &from, Group &into) {
    for (Operation *op : from.ops)
      groupOf[op] = &into;
    llvm::append_range(into.ops, from.ops);
    llvm::sort(into.ops, [](Operation *a, Operation *b) { return a->isBeforeInBlock(b); });
    from.ops.clear();
  }

  void passed(Location loc, StringRef what, Operation *other, Value saved) {
    remark::passed(loc, remark::RemarkOpts::name("fused").category("otodus-fusion"))
        << what << other->getName().getStringRef()
        << remark::metric("bytes-per-row-saved", 2 * rowBytes(saved.getType()));
  }

  void missed(Location loc, StringRef why, Operation *other) {
    remark::missed(loc, remark::RemarkOpts::name("not-fused").category("otodus-fusion"))
        << other->getName().getStringRef() << " " << why;
  }

  //===--------------------------------------------------------------------===//
  // Rewriting
  //===--------------------------------------------------------------------===//

  static std::string nameOf(const Group &group) {
    // The importer names ops; a module without such names is named by its ops.
    Operation *op = group.attention ? group.ops.front() : group.ops.back();
    if (auto name = dyn_cast<NameLoc>(op->getLoc()))
      return name.getName().str();
    std::string name;
    for (Operation *op : group.ops) {
      StringRef part = op->getName().stripDialect();
      name += (name.empty() ? "" : "_") + part.str();
      if (name.size() > 40)
        break;
    }
    return name;
  }

  LogicalResult build(const Group &group, Block &block) {
    ++numGroups;
    SmallVector<Operation *> ops;
    llvm::SmallPtrSet<Operation *, 8> members;
    for (Operation *op : group.ops) {
      for (Value operand : op->getOperands())
        if (Operation *producer = operand.getDefiningOp();
            producer && llvm::is_contained(prologues, producer) && members.insert(producer).second)
          ops.push_back(producer);
      ops.push_back(op);
      members.insert(op);
    }

    llvm::SetVector<Value> inputs;
    SmallVector<Value> outputs;
    for (Operation *op : ops) {
      for (Value operand : op->getOperands())
        if (!operand.getDefiningOp() || !members.contains(operand.getDefiningOp()))
          inputs.insert(operand);
      if (llvm::is_contained(prologues, op))
        continue;
      for (Value result : op->getResults())
        if (llvm::any_of(result.getUsers(),
                         [&](Operation *user) { return !members.contains(user); }))
          outputs.push_back(result);
    }

    OpBuilder b(group.ops.back());
    auto fused = mega::GroupOp::create(b, group.ops.back()->getLoc(),
                                       ValueRange(outputs).getTypes(), inputs.getArrayRef(),
                                       nameOf(group));
    Block &body = *fused.getBody(0);
    IRMapping map;
    for (auto [input, argument] : llvm::zip(inputs, body.getArguments()))
      map.map(input, argument);
    b.setInsertionPointToEnd(&body);
    for (Operation *op : ops)
      if (failed(takeBackConstants(b.clone(*op, map))))
        return failure();
    SmallVector<Value> yielded;
    for (Value output : outputs)
      yielded.push_back(map.lookup(output));
    mega::YieldOp::create(b, fused.getLoc(), yielded);

    for (auto [output, result] : llvm::zip(outputs, fused.getResults()))
      output.replaceUsesWithIf(result, [&](OpOperand &use) {
        return !members.contains(use.getOwner());
      });
    for (Operation *op : llvm::reverse(group.ops)) {
      groupOf.erase(op);
      op->dropAllUses();
      op->erase();
    }
    return success();
  }

  /// Constants that were moved out of the body of a scan go back, so that it stands alone.
  LogicalResult takeBackConstants(Operation *op) {
    for (Region &region : op->getRegions()) {
      llvm::SetVector<Value> values;
      getUsedValuesDefinedAbove(region, values);
      for (Value value : values) {
        Operation *constant = value.getDefiningOp();
        if (!constant || !matchPattern(constant, m_Constant()))
          return op->emitOpError("reads a value of outside its body; make it one of its inputs");
        OpBuilder b = OpBuilder::atBlockBegin(&region.front());
        Operation *copy = b.clone(*constant);
        replaceAllUsesInRegionWith(value, copy->getResult(0), region);
        captured.insert(constant);
      }
    }
    return success();
  }

  std::vector<std::shared_ptr<Group>> groups;
  llvm::DenseMap<Operation *, Group *> groupOf;
  SmallVector<Operation *> prologues;
  llvm::SetVector<Operation *> captured; ///< constants that bodies read
};

} // namespace
} // namespace otodus

//===- WgmmaUse.cpp - Accumulators in flight -------------------------------===//

#include "gk/IR/WgmmaUse.h"

#include "gk/IR/GkOps.h"

#include "mlir/Interfaces/ControlFlowInterfaces.h"
#include "mlir/Interfaces/FunctionInterfaces.h"
#include "llvm/ADT/MapVector.h"
#include "llvm/ADT/SetVector.h"

using namespace mlir;

namespace otodus::gk {
namespace {

/// A wait leaves at most 7 groups in flight; more than that is all the same.
constexpr unsigned kOldest = 8;

struct Flight {
  unsigned age; ///< groups committed since the product was issued, its own among them
  Operation *product;
};

/// Accumulators in flight at a point of the program.
using State = llvm::MapVector<Value, Flight>;

bool isProduct(Operation *op) { return isa<WgmmaOp, WgmmaRaOp, NVVM::WgmmaMmaAsyncOp>(op); }

/// Adds what is in flight on another path; the younger one counts.
bool join(State &state, Value value, Flight flight) {
  auto [entry, isNew] = state.insert({value, flight});
  if (isNew)
    return true;
  if (entry->second.age <= flight.age)
    return false;
  entry->second = flight;
  return true;
}

class Checker {
public:
  explicit Checker(Region &body) : body(body) {}

  LogicalResult run() {
    llvm::SetVector<Block *> pending;
    pending.insert(&body.front());
    llvm::DenseSet<Block *> reached;
    while (!pending.empty()) {
      Block *block = pending.pop_back_val();
      reached.insert(block);
      State state = entries[block];
      for (Operation &op : *block)
        step(op, state, /*report=*/false);
      auto branch = dyn_cast<BranchOpInterface>(block->getTerminator());
      for (auto [index, successor] : llvm::enumerate(block->getSuccessors()))
        if (enter(state, branch, static_cast<unsigned>(index), *successor) ||
            !reached.contains(successor))
          pending.insert(successor);
    }
    for (Block &block : body) {
      State state = entries[&block];
      for (Operation &op : block)
        step(op, state, /*report=*/true);
    }
    return failure(failed);
  }

private:
  /// Joins `state` into a successor's; true if that changed.
  bool enter(const State &state, BranchOpInterface branch, unsigned index, Block &successor) {
    State &entry = entries[&successor];
    bool changed = false;
    for (auto &[value, flight] : state)
      changed |= join(entry, value, flight);
    if (!branch)
      return changed;
    SuccessorOperands operands = branch.getSuccessorOperands(index);
    for (unsigned i = operands.getProducedOperandCount(); i < operands.size(); ++i)
      if (auto it = state.find(operands[i]); it != state.end())
        changed |= join(entry, successor.getArgument(i), it->second);
    return changed;
  }

  void step(Operation &op, State &state, bool report) {
    if (isa<NVVM::WgmmaGroupSyncAlignedOp>(op)) {
      for (auto &[value, flight] : state)
        flight.age = std::min(flight.age + 1, kOldest);
      return;
    }
    if (isProduct(&op)) {
      if (report)
        for (OpOperand &operand : op.getOpOperands())
          if (!isa<LLVM::LLVMStructType>(operand.get().getType()))
            checkUse(operand, state);
      state[op.getResult(0)] = {0, &op};
      return;
    }
    if (auto wait = dyn_cast<WgmmaWaitOp>(op)) {
      auto it = state.find(wait.getAccumulator());
      if (it != state.end() && it->second.age <= wait.getGroups()) {
        Flight flight = it->second;
        state[wait.getResult()] = flight;
      } else {
        state.erase(wait.getResult());
      }
      if (report)
        checkReading(wait);
      return;
    }
    if (report && !isa<BranchOpInterface>(op))
      for (OpOperand &operand : op.getOpOperands())
        checkUse(operand, state);
  }

  void checkUse(OpOperand &operand, const State &state) {
    auto it = state.find(operand.get());
    if (it == state.end())
      return;
    failed = true;
    InFlightDiagnostic error =
        operand.getOwner()->emitOpError("uses an accumulator that wgmma still writes; wait for it "
                                        "with gk.wgmma_wait and use the wait's result");
    error.attachNote(it->second.product->getLoc())
        << "the product in flight; groups committed since: " << it->second.age;
  }

  /// Registers of A stay alive up to the wait in the same block.
  void checkReading(WgmmaWaitOp wait) {
    unsigned commits = 0, coveredBefore = ~0u;
    for (Operation *op = wait->getPrevNode(); op; op = op->getPrevNode()) {
      if (isa<NVVM::WgmmaGroupSyncAlignedOp>(op))
        ++commits;
      if (auto earlier = dyn_cast<WgmmaWaitOp>(op))
        coveredBefore = std::min(coveredBefore, commits + earlier.getGroups());
      if (commits > coveredBefore)
        return;
      auto product = dyn_cast<WgmmaRaOp>(op);
      if (!product || commits <= wait.getGroups())
        continue;
      for (Value value : product.getRegistersA()) {
        if (value.getDefiningOp<LLVM::ConstantOp>() || llvm::is_contained(wait.getReading(), value))
          continue;
        failed = true;
        wait.emitOpError("covers a product with A in registers that are not among its reading "
                         "operands; without that they may be overwritten while they are read")
                .attachNote(product.getLoc())
            << "the product";
        return;
      }
    }
  }

  Region &body;
  llvm::DenseMap<Block *, State> entries;
  bool failed = false;
};

} // namespace

LogicalResult verifyWgmmaUse(Operation *root) {
  bool failedAny = false;
  root->walk([&](FunctionOpInterface function) {
    if (!function.getFunctionBody().empty())
      failedAny |= failed(Checker(function.getFunctionBody()).run());
  });
  return failure(failedAny);
}

} // namespace otodus::gk

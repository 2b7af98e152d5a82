//===- MegaInterfaces.cpp - What passes ask an op --------------------------===//

#include "mega/IR/MegaInterfaces.h"

#include "mlir/IR/BuiltinTypes.h"

using namespace mlir;
using namespace otodus;
using namespace otodus::mega;

#include "mega/IR/MegaEnums.cpp.inc"
#include "mega/IR/MegaInterfaces.cpp.inc"

RowRole otodus::mega::getRowRole(Operation *op) {
  if (auto fusion = dyn_cast<FusionOpInterface>(op))
    return fusion.getRowRole();
  if (op->getNumResults() > 0 && OpTrait::hasElementwiseMappableTraits(op) &&
      llvm::all_of(op->getResultTypes(), llvm::IsaPred<RankedTensorType>))
    return RowRole::Elementwise;
  return RowRole::None;
}

LogicalResult mega::detail::verifySequenceOp(Operation *op) {
  auto sequence = cast<SequenceOpInterface>(op);
  auto operands = sequence.getStateOperands();
  auto results = sequence.getStateResults();
  if (operands.size() != results.size())
    return op->emitOpError("expects as many states out as in, but got ")
           << operands.size() << " in and " << results.size() << " out";
  for (auto [operand, result] : llvm::zip_equal(operands, results))
    if (operand->get().getType() != result.getType())
      return op->emitOpError("expects a state to leave with the type it has on entry, but got ")
             << operand->get().getType() << " in and " << result.getType() << " out";
  return success();
}

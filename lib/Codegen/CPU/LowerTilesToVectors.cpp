//===- LowerTilesToVectors.cpp - Structured ops to loops over vectors ------===//

#include "LowerTilesToVectors.h"

#include "otodus/Codegen/CPU/Passes.h"

namespace otodus {
#define GEN_PASS_DEF_LOWERTILESTOVECTORS
#include "otodus/Codegen/CPU/Passes.h.inc"
} // namespace otodus

using namespace mlir;

namespace otodus {
namespace {

struct LowerTilesToVectors : impl::LowerTilesToVectorsBase<LowerTilesToVectors> {
  using LowerTilesToVectorsBase::LowerTilesToVectorsBase;

  void runOnOperation() override {
    Result<cpu::Machine> machine = cpu::machineFor(target);
    if (!machine.isOk()) {
      getOperation()->emitError(machine.status().message());
      return signalPassFailure();
    }
    SmallVector<linalg::GenericOp> products, generics;
    SmallVector<linalg::FillOp> fills;
    SmallVector<vector::ContractionOp> pairs;
    getOperation()->walk([&](Operation *op) {
      if (auto generic = dyn_cast<linalg::GenericOp>(op))
        (cpu::isPackedContraction(generic) ? products : generics).push_back(generic);
      else if (auto fill = dyn_cast<linalg::FillOp>(op))
        fills.push_back(fill);
      else if (auto product = dyn_cast<vector::ContractionOp>(op); product && cpu::isPairProduct(product))
        pairs.push_back(product);
    });
    IRRewriter rewriter(&getContext());
    // Products first: they swallow the fill that their sum starts from.
    for (linalg::GenericOp op : products)
      if (failed(cpu::lowerContractionToVectors(rewriter, op, *machine)))
        return signalPassFailure();
    for (linalg::GenericOp op : generics)
      if (failed(cpu::lowerGenericToVectors(rewriter, op)))
        return signalPassFailure();
    for (vector::ContractionOp op : pairs)
      cpu::lowerPairProduct(rewriter, op, *machine);
    for (linalg::FillOp op : fills) {
      if (op->use_empty())
        rewriter.eraseOp(op);
      else if (failed(cpu::lowerFillToVectors(rewriter, op)))
        return signalPassFailure();
    }
  }
};

} // namespace
} // namespace otodus

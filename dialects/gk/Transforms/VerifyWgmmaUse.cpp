//===- VerifyWgmmaUse.cpp - No accumulator is used in flight ---------------===//

#include "gk/Transforms/Passes.h"

#include "gk/IR/WgmmaUse.h"

namespace otodus::gk {

#define GEN_PASS_DEF_VERIFYWGMMAUSEPASS
#include "gk/Transforms/Passes.h.inc"

namespace {

struct VerifyWgmmaUsePass : impl::VerifyWgmmaUsePassBase<VerifyWgmmaUsePass> {
  void runOnOperation() override {
    if (failed(verifyWgmmaUse(getOperation())))
      return signalPassFailure();
    markAllAnalysesPreserved();
  }
};

} // namespace
} // namespace otodus::gk

//===- Passes.td - Passes of the gk dialect --------------------*- tablegen -*-===//

#ifndef OTODUS_GK_TRANSFORMS_PASSES_TD
#define OTODUS_GK_TRANSFORMS_PASSES_TD

include "mlir/Pass/PassBase.td"

def VerifyWgmmaUsePass : Pass<"gk-verify-wgmma-use"> {
  let summary = "Reject uses of a wgmma accumulator before the wait that covers it";
  let description = [{
    Runs on modules at the NVVM stage, where functions are blocks. Accepts nothing but
    products, waits and branches as users of an accumulator in flight, and requires that
    registers of A are named by the wait that covers their product.
  }];
}

#endif // OTODUS_GK_TRANSFORMS_PASSES_TD

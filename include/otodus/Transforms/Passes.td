//===- Passes.td - mega to mega --------------------------------------------===//

#ifndef OTODUS_TRANSFORMS_PASSES
#define OTODUS_TRANSFORMS_PASSES

include "mlir/Pass/PassBase.td"

def SplitRotary : InterfacePass<"otodus-split-rotary", "mlir::FunctionOpInterface"> {
  let summary = "Cut rotary into angles, which layers can share, and rotation";
  let description = [{
    Rewrites `mega.rotary` to `mega.rotary_angles` and `mega.rotate`.

    See `test/Transforms/split-rotary.mlir` for a before and after.
  }];
  let dependentDialects = ["::otodus::mega::MegaDialect"];
}

def FormGroups : InterfacePass<"otodus-form-groups", "mlir::FunctionOpInterface"> {
  let summary = "Decide which ops become one kernel";
  let description = [{
    Puts every op of a function into a `mega.group`. Decisions are taken from
    `FusionOpInterface` and from uses, never from an op's name:

    *  a norm whose readers are all matrix products is repeated in front of each of them;
    *  elementwise ops, and norms of something a product computes, follow the product;
    *  products whose results meet in one elementwise op share a kernel;
    *  ops that walk time and feed each other share a kernel.

    Every decision is a remark of the category `otodus-fusion`, with the bytes per row that
    no longer go through memory, or with the reason why not.

    See `test/Transforms/form-groups.mlir` for a before and after.
  }];
  let dependentDialects = ["::otodus::mega::MegaDialect"];
  let statistics = [
    Statistic<"numGroups", "num-groups", "Number of groups formed">,
    Statistic<"numFused", "num-fused", "Number of ops that joined another one">,
  ];
}

#endif

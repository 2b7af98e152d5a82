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

def Differentiate : Pass<"otodus-differentiate", "mlir::ModuleOp"> {
  let summary = "Derive the gradients of functions that ask for them";
  let description = [{
    A function with `mega.differentiate = "NAME"` gets a function NAME beside it that computes the
    same and the gradients: with respect to inputs (results `grad_INPUT`, from arguments
    `cot_OUTPUT`), to states (`mega.state_gradient`) and to weights (`mega.gradient`, added to).
    A loss (`mega.linear_cross_entropy`) needs no `cot_`. Functions that it calls become two each,
    `F_saving` and `F_backward`.

    The backward step of an op is DifferentiableOpInterface; its implementations are in
    `lib/Transforms/Gradients`. An op without one on the way is an error.

    See `test/Transforms/differentiate.mlir` for a before and after.
  }];
  let dependentDialects = ["::otodus::mega::MegaDialect", "::mlir::arith::ArithDialect",
                           "::mlir::func::FuncDialect"];
}

def Recompute : Pass<"otodus-recompute", "mlir::ModuleOp"> {
  let summary = "Compute what calls save again in front of its reader, instead of keeping it";
  let description = [{
    Of a call of a function that `otodus-differentiate` made (`F_saving`), only the results that F
    has stay in memory; the call is repeated in front of the first reader of what it saved. The
    kernels are the same, so are all numbers, bit by bit. A state that the call advances is
    an argument more, `mega.state_before`: the host sets it to what the state was before.

    Calls are numbered in the order of the module. A chosen one has `mega.recompute`, its
    repetition `mega.recomputed`. May run at any stage that has calls, since it changes no callee.

    See `test/Transforms/recompute.mlir` for a before and after.
  }];
  let options = [
    ListOption<"calls", "calls", "int64_t", "Numbers of the calls to compute again">,
    Option<"all", "all", "bool", "false", "Compute all of them again">];
  let dependentDialects = ["::mlir::func::FuncDialect"];
}

def AddSampling : Pass<"otodus-add-sampling", "mlir::ModuleOp"> {
  let summary = "Let the function that gives the logits of the last step also choose the token";
  let description = [{
    Of the public functions with an input `tokens` and a result `logits`, the first whose logits are those of one step, `T[B, 1, V]`, gets `mega.sample` behind
    them, a result `token` and the argument `mega.sampling`; if there is none, the first with
    logits of every step, of which the last is taken. Does nothing if a function has a result
    `token` already.

    See `test/Transforms/add-sampling.mlir` for a before and after.
  }];
  let dependentDialects = ["::otodus::mega::MegaDialect", "::mlir::func::FuncDialect"];
}

def FormGroups : InterfacePass<"otodus-form-groups", "mlir::FunctionOpInterface"> {
  let summary = "Decide which ops become one kernel";
  let description = [{
    Puts every op of a function into a `mega.group`. Decisions are taken from
    `FusionOpInterface` and from uses, never from an op's name:

    *  a norm whose readers are all matrix products is repeated in front of each of them;
    *  elementwise ops, and norms of something a product computes, follow the product;
    *  products whose results meet in one elementwise op share a kernel;
    *  upstream's arithmetic on attention's output, read by nothing else, follows attention;
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

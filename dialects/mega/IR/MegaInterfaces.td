//===- MegaInterfaces.td - What passes ask an op ----------------*- tablegen -*-===//
//
// Passes that split, stream, fuse or differentiate ask these interfaces and know no op
// by name, so a new kind of layer joins them by implementing an interface.
//
//===----------------------------------------------------------------------===//

#ifndef OTODUS_MEGA_INTERFACES_TD
#define OTODUS_MEGA_INTERFACES_TD

include "mlir/IR/EnumAttr.td"
include "mlir/IR/OpBase.td"

//===----------------------------------------------------------------------===//
// Time and state
//===----------------------------------------------------------------------===//

def SequenceOpInterface : OpInterface<"SequenceOpInterface"> {
  let cppNamespace = "::otodus::mega";
  let description = [{
    An op that walks a sequence. Each state that enters as an operand leaves as
    the result at the same place of the other list, with the same type, so that
    running a sequence in pieces means: pass the results on as operands.
  }];
  let methods = [
    InterfaceMethod<"Returns the dimension of the op's activations that is time.",
      "int64_t", "getTimeDim", (ins), "", [{ return 1; }]>,
    InterfaceMethod<"Returns the operands that carry state into the call.",
      "::llvm::SmallVector<::mlir::OpOperand *>", "getStateOperands", (ins)>,
    InterfaceMethod<"Returns the results that carry state out of the call, in the order of "
                    "`getStateOperands`.",
      "::llvm::SmallVector<::mlir::OpResult>", "getStateResults", (ins)>,
    InterfaceMethod<"Returns true if a state is carried from one step to the next.",
      "bool", "carriesState", (ins), "", [{ return !$_op.getStateOperands().empty(); }]>,
  ];
  let verify = [{ return ::otodus::mega::detail::verifySequenceOp($_op); }];
}

//===----------------------------------------------------------------------===//
// Gradient
//===----------------------------------------------------------------------===//

def DifferentiableOpInterface : OpInterface<"DifferentiableOpInterface"> {
  let cppNamespace = "::otodus::mega";
  let description = [{
    An op that writes its own backward step. Ops get it as an external model from
    `lib/Transforms/Gradients`, one file per family, upstream's elementwise ops too; an op
    without it has no gradient, which is an error at the op where one is needed.
  }];
  let methods = [
    InterfaceMethod<"Builds an op that computes the same and also yields what the backward step "
                    "reads; its first results are those of the op. Null if the op will do as it is.",
      "::mlir::Operation *", "buildSavingForm", (ins "::mlir::OpBuilder &":$builder), "",
      [{ return nullptr; }]>,
    InterfaceMethod<"Returns true if gradients begin here: a backward step is built although "
                    "nobody has a gradient of a result.",
      "bool", "isLoss", (ins), "", [{ return false; }]>,
    InterfaceMethod<"Builds the backward step.",
      "::llvm::LogicalResult", "buildBackward", (ins "::otodus::mega::GradientBuilder &":$builder)>,
  ];
}

//===----------------------------------------------------------------------===//
// Fusion
//===----------------------------------------------------------------------===//

// A row is one step of one sequence: all features at one (batch, time).
def Mega_RowRole : I32EnumAttr<"RowRole", "What an op does with the rows of its operands", [
    I32EnumAttrCase<"None", 0, "none">,
    I32EnumAttrCase<"Elementwise", 1, "elementwise">,
    I32EnumAttrCase<"RowReduction", 2, "row_reduction">,
    I32EnumAttrCase<"Contraction", 3, "contraction">,
    I32EnumAttrCase<"Stream", 4, "stream">,
    I32EnumAttrCase<"Attention", 5, "attention">,
    I32EnumAttrCase<"Gather", 6, "gather">,
    I32EnumAttrCase<"Accumulation", 7, "accumulation">]> {
  let cppNamespace = "::otodus::mega";
  let genSpecializedAttr = 0;
}

def FusionOpInterface : OpInterface<"FusionOpInterface"> {
  let cppNamespace = "::otodus::mega";
  let description = [{
    What fusion needs to know of an op: how a row of its results depends on the
    rows of its operands.

    | role | a row of the result needs |
    |---|---|
    | `Elementwise` | the same elements of the same row (rotary: the same head) |
    | `RowReduction` | the whole same row, or one head of it, more than once |
    | `Contraction` | the whole same row, against a matrix |
    | `Stream` | the same channels of this row and of all earlier ones, through a state |
    | `Attention` | the same head of this and earlier rows |
    | `Gather` | a row found by an index |
    | `Accumulation` | no row: it adds up rows, walks them against time, or needs a kernel of its own |
    | `None` | nothing fusion knows about |
  }];
  let methods = [
    InterfaceMethod<"Returns how a row of the results depends on rows of the operands.",
      "::otodus::mega::RowRole", "getRowRole", (ins), "",
      [{ return ::otodus::mega::RowRole::None; }]>,
  ];
}

#endif // OTODUS_MEGA_INTERFACES_TD

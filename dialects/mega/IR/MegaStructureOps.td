//===- MegaStructureOps.td - Weights and groups -----------------*- tablegen -*-===//
//
// What a model is made of besides its mathematics: the checkpoint's tensors, and the
// groups of ops that become one kernel.
//
//===----------------------------------------------------------------------===//

#ifndef OTODUS_MEGA_STRUCTURE_OPS_TD
#define OTODUS_MEGA_STRUCTURE_OPS_TD

include "mega/IR/MegaDialect.td"
include "mlir/IR/OpAsmInterface.td"
include "mlir/Interfaces/ControlFlowInterfaces.td"
include "mlir/IR/SymbolInterfaces.td"

//===----------------------------------------------------------------------===//
// weight
//===----------------------------------------------------------------------===//

def Mega_WeightOp : Mega_Op<"weight", [Symbol, HasParent<"::mlir::ModuleOp">]> {
  let summary = "A tensor of the checkpoint";
  let description = [{
    Declares a tensor that the checkpoint holds under the symbol's name, or under
    `from` where that differs (two symbols may share one tensor).

    Constraints:

    *  (C1) the type is a ranked tensor with a static shape.

    Example:

    ```mlir
    mega.weight @embed.weight : tensor<256x64xf32>
    mega.weight @output.output.weight from "embed.weight" : tensor<256x64xf32>
    ```
  }];
  let arguments = (ins
    SymbolNameAttr:$sym_name,
    OptionalAttr<SymbolNameAttr>:$sym_visibility,
    TypeAttrOf<AnyRankedTensor>:$type,
    OptionalAttr<StrAttr>:$source);
  let builders = [OpBuilder<(ins "::llvm::StringRef":$name, "::mlir::RankedTensorType":$type,
      CArg<"::llvm::StringRef", "{}">:$source), [{
    build($_builder, $_state, $_builder.getStringAttr(name), /*sym_visibility=*/nullptr,
          ::mlir::TypeAttr::get(type),
          source.empty() ? ::mlir::StringAttr() : $_builder.getStringAttr(source));
  }]>];
  let extraClassDeclaration = [{
    ::mlir::RankedTensorType getTensorType() {
      return ::llvm::cast<::mlir::RankedTensorType>(getType());
    }
    /// The name the checkpoint knows the tensor by.
    ::llvm::StringRef getCheckpointName() { return getSource().value_or(getSymName()); }
  }];
  let assemblyFormat = "$sym_name (`from` $source^)? attr-dict `:` $type";
  let hasVerifier = 1;
}

//===----------------------------------------------------------------------===//
// use_weight
//===----------------------------------------------------------------------===//

def Mega_UseWeightOp : Mega_Op<"use_weight", [
    Pure, DeclareOpInterfaceMethods<SymbolUserOpInterface>,
    DeclareOpInterfaceMethods<FusionOpInterface>,
    DeclareOpInterfaceMethods<OpAsmOpInterface, ["getAsmResultNames"]>]> {
  let summary = "The value of a weight";
  let description = [{
    Constraints:

    *  (C1) `weight` names a `mega.weight`.
    *  (C2) the result has that weight's type.

    Example:

    ```mlir
    %table = mega.use_weight @embed.weight : tensor<256x64xf32>
    ```
  }];
  let arguments = (ins FlatSymbolRefAttr:$weight);
  let results = (outs AnyRankedTensor:$result);
  let builders = [OpBuilder<(ins "::otodus::mega::WeightOp":$weight), [{
    build($_builder, $_state, weight.getType(), weight.getSymName());
  }]>];
  let assemblyFormat = "$weight attr-dict `:` type($result)";
}

//===----------------------------------------------------------------------===//
// group
//===----------------------------------------------------------------------===//

def Mega_GroupOp : Mega_Op<"group", [
    IsolatedFromAbove, RecursiveMemoryEffects, RecursivelySpeculatable, SingleBlock,
    DeclareOpInterfaceMethods<FusionOpInterface>]> {
  let summary = "Ops that become one kernel";
  let description = [{
    Runs its body once on the operands. It computes what the body computes; what
    it adds is the promise that the values inside never reach memory as whole
    tensors. `name` is for people: remarks, profiles, symbols of kernels.
    `schedule` says how the kernel is cut; without one the code generator chooses.

    Constraints:

    *  (C1) the body takes one argument per operand, of its type.
    *  (C2) the body yields one value per result, of its type.
    *  (C3) `name` is not empty.

    Example:

    ```mlir
    %u = mega.group "gate" (%a = %x : tensor<?x?x8xf32>, %b = %g : tensor<?x?x8xf32>)
        -> (tensor<?x?x8xf32>) schedule(<row_tiles = [1, 4, 12], column_block = 64>) {
      %s = mega.silu %b : tensor<?x?x8xf32>
      %y = arith.mulf %a, %s : tensor<?x?x8xf32>
      mega.yield %y : tensor<?x?x8xf32>
    }
    ```
  }];
  let arguments = (ins
    Variadic<AnyRankedTensor>:$inputs,
    StrAttr:$name,
    OptionalAttr<Mega_ScheduleAttr>:$schedule);
  let results = (outs Variadic<AnyRankedTensor>:$outputs);
  let regions = (region SizedRegion<1>:$region);
  let builders = [OpBuilder<(ins "::mlir::TypeRange":$outputs, "::mlir::ValueRange":$inputs,
      "::llvm::StringRef":$name, CArg<"ScheduleAttr", "nullptr">:$schedule)>];
  let skipDefaultBuilders = 1;
  let extraClassDeclaration = [{
    YieldOp getYield();
  }];
  let hasCustomAssemblyFormat = 1;
  let hasRegionVerifier = 1;
  let hasVerifier = 1;
}

def Mega_YieldOp : Mega_Op<"yield", [Pure, ReturnLike, Terminator, HasParent<"GroupOp">]> {
  let summary = "The results of a group";
  let description = [{
    Example:

    ```mlir
    mega.yield %y : tensor<?x?x8xf32>
    ```
  }];
  let arguments = (ins Variadic<AnyRankedTensor>:$operands);
  let assemblyFormat = "($operands^ `:` type($operands))? attr-dict";
}

#endif // OTODUS_MEGA_STRUCTURE_OPS_TD

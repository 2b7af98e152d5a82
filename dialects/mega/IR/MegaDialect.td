//===- MegaDialect.td - The mega dialect -----------------------*- tablegen -*-===//
//
// The dialect itself, its attributes, and the types and base classes its ops share.
//
//===----------------------------------------------------------------------===//

#ifndef OTODUS_MEGA_DIALECT_TD
#define OTODUS_MEGA_DIALECT_TD

include "mlir/IR/AttrTypeBase.td"
include "mlir/IR/OpBase.td"
include "mlir/Interfaces/InferTypeOpInterface.td"
include "mlir/Interfaces/SideEffectInterfaces.td"
include "mega/IR/MegaInterfaces.td"

def Mega_Dialect : Dialect {
  let name = "mega";
  let cppNamespace = "::otodus::mega";
  let summary = "The language of Megalodon models";
  let description = [{
    One op per idea of the model definition: a moving average, a norm, an
    attention over a chunk, a projection. Ops work on tensors with value
    semantics and have no side effects.

    An *activation* is `T[B, L, W]` or `T[B, L, H, d]`: batch, time, and a width
    that is either plain or cut into `H` heads of `d` features. `T` is `f32` or
    `bf16`. Batch and time are usually dynamic, widths are always static. The
    *flattened width* of an activation is the product of all dimensions after
    time; heads are its slow part.

    Whatever a model carries from one step to the next is an operand and a
    result: for every op, a long sequence gives the same result in one go as in
    any split into pieces that pass the state on.

    Arguments and results of functions carry what the host has to know of them:

    | attribute | on | type | meaning |
    |---|---|---|---|
    | `mega.name` | arguments, results | string | name of an input or output |
    | `mega.state` | arguments, results | string | name of a state, carried in and out |
    | `mega.position` | arguments | unit | steps each sequence has behind it |
    | `mega.initial` | arguments | float | every element of a fresh state |
    | `mega.initial_from` | arguments | string | tensor of the checkpoint a fresh state repeats |
    | `mega.initial_exp` | arguments | unit | the exponential of that tensor instead |
    | `mega.gradient` | arguments, results | string | gradient of a weight, added to (training) |
    | `mega.state_gradient` | arguments, results | string | gradient of a state (training) |
    | `mega.state_before` | arguments | string | the state before the call once more (training) |
    | `mega.sampling` | arguments | unit | options of sampling, set by the host before a call |
    | `mega.scalars` | arguments | unit | numbers the host sets before a call (training) |
    | `mega.noise` | arguments | integer | what dropout draws from, for the call of this number (training) |
    | `mega.arena` | arguments, results | integer | all weights, gradients or moments (training) |

    Numbers that are attributes (`eps`, `scale`) are written with 64 bits and
    used with 32. Sums, statistics and carried state are `f32` whatever `T` is.
    "spec" in the descriptions is `docs/Megalodon.md`.
  }];
  let dependentDialects = ["::mlir::arith::ArithDialect", "::mlir::tensor::TensorDialect"];
  let useDefaultAttributePrinterParser = 1;
  let hasRegionArgAttrVerify = 1;
  let hasRegionResultAttrVerify = 1;
}

//===----------------------------------------------------------------------===//
// Types
//===----------------------------------------------------------------------===//

// An activation: batch and time, then one or two static dimensions.
class Mega_ActivationOfRank<string rankPredicate, string shapeText> : Type<
    And<[RankedTensorOf<[F32, BF16]>.predicate,
         CPred<"[](::mlir::RankedTensorType t) { return (" # rankPredicate # ") && "
               "::llvm::all_of(t.getShape().drop_front(2), [](int64_t d) { return d > 0; }); }"
               "(::llvm::cast<::mlir::RankedTensorType>($_self))">]>,
    shapeText # " of f32 or bf16, with static sizes of at least 1 after batch and time",
    "::mlir::RankedTensorType">;

def Mega_Activation : Mega_ActivationOfRank<"t.getRank() == 3 || t.getRank() == 4",
    "an activation [B, L, W] or [B, L, H, d]">;
def Mega_FlatActivation : Mega_ActivationOfRank<"t.getRank() == 3",
    "an activation [B, L, W]">;
def Mega_HeadActivation : Mega_ActivationOfRank<"t.getRank() == 4",
    "an activation [B, L, H, d]">;

class Mega_Tensor<list<Type> element, int rank, string shapeText> : Type<
    And<[RankedTensorOf<element>.predicate,
         CPred<"::llvm::cast<::mlir::RankedTensorType>($_self).getRank() == " # rank>]>,
    "a tensor " # shapeText # " of " # !interleave(!foreach(t, element, t.summary), " or "),
    "::mlir::RankedTensorType">;

//===----------------------------------------------------------------------===//
// Attributes
//===----------------------------------------------------------------------===//

class Mega_Attr<string name, string mnemonicText> : AttrDef<Mega_Dialect, name> {
  let mnemonic = mnemonicText;
}

def Mega_ScheduleAttr : Mega_Attr<"Schedule", "schedule"> {
  let summary = "How a group becomes a kernel";
  let description = [{
    The sizes a group's kernel is cut into. A field that is absent is chosen by
    the code generator; no field changes what is computed.

    | field | unit | meaning |
    |---|---|---|
    | `row_tiles` | rows | row counts for which a variant of the kernel is made, ascending |
    | `row_block` | rows | rows one task of the grid covers |
    | `column_block` | elements | output columns one task of the grid covers |
    | `time_tile` | steps | steps a stream handles before it moves to the next channels |
    | `channel_tile` | elements | channels one task of a stream covers |
    | `k_tile` | elements | terms of a sum, or keys of attention, that are brought in at once |
    | `stages` | tiles | such tiles that are under way together |
    | `threads` | threads | of a block that shares a task, on targets that have blocks |
    | `copies` | "tma" or "async" | what brings operands of products in: tensor maps, by 128 of the threads that do nothing else; or every thread its share |
    | `cluster` | blocks | that share one task and read each other's shared memory: keys of attention for one row |

    Constraints:

    *  (C1) every size is at least 1.
    *  (C2) `row_tiles` is strictly ascending.
    *  (C3) `row_tiles` has at least one element.
    *  (C4) `copies` is "tma" or "async".

    Example:

    ```mlir
    #mega.schedule<row_tiles = [1, 4, 12], row_block = 48, column_block = 256>
    ```
  }];
  let parameters = (ins
    OptionalParameter<"::mlir::DenseI64ArrayAttr">:$row_tiles,
    OptionalParameter<"::std::optional<int64_t>">:$row_block,
    OptionalParameter<"::std::optional<int64_t>">:$column_block,
    OptionalParameter<"::std::optional<int64_t>">:$time_tile,
    OptionalParameter<"::std::optional<int64_t>">:$channel_tile,
    OptionalParameter<"::std::optional<int64_t>">:$k_tile,
    OptionalParameter<"::std::optional<int64_t>">:$stages,
    OptionalParameter<"::std::optional<int64_t>">:$threads,
    OptionalParameter<"::mlir::StringAttr">:$copies,
    OptionalParameter<"::std::optional<int64_t>">:$cluster);
  let assemblyFormat = [{
    `<` struct(custom<RowTiles>($row_tiles), $row_block, $column_block, $time_tile,
               $channel_tile, $k_tile, $stages, $threads, $copies, $cluster) `>`
  }];
  let genVerifyDecl = 1;
}

//===----------------------------------------------------------------------===//
// Ops
//===----------------------------------------------------------------------===//

// Exactly one operand in a segment that holds a plain operand. Generic syntax can say
// otherwise, and nothing upstream verifies it.
class Mega_OneOperandIn<int segment, string name> : PredOpTrait<"there is one " # name,
    CPred<"getProperties().operandSegmentSizes[" # segment # "] == 1">>;

class Mega_Op<string mnemonic, list<Trait> traits = []> : Op<Mega_Dialect, mnemonic, traits>;

// An op that computes: it has a place in fusion, and results whose sizes are those of its operands.
class Mega_ComputeOp<string mnemonic, list<Trait> traits = []> : Mega_Op<mnemonic, !listconcat([
    DeclareOpInterfaceMethods<FusionOpInterface, ["getRowRole"]>,
    DeclareOpInterfaceMethods<ReifyRankedShapedTypeOpInterface, ["reifyResultShapes"]>], traits)> {
  let extraClassDefinition = [{
    ::llvm::LogicalResult $cppClass::reifyResultShapes(
        ::mlir::OpBuilder &builder, ::mlir::ReifiedRankedShapedTypeDims &shapes) {
      return ::otodus::mega::detail::reifyResultShapes(*this, builder, shapes);
    }
  }];
}

#endif // OTODUS_MEGA_DIALECT_TD

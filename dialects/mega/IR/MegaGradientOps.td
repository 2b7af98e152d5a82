//===- MegaGradientOps.td - What only training needs ------------*- tablegen -*-===//
//
// The backward steps of the other ops, sums into gradients of parameters, and the forms of
// forward ops that keep what the backward step reads. Formulas: spec 3.
//
// Conventions. An operand `d…` is the gradient of what follows the d. An operand that a
// result `new_…` answers is tied to it: the kernel changes it in place (SequenceOpInterface).
// With activations of bf16 their gradients are bf16 too; gradients of parameters and of states,
// and what is kept of statistics, are f32 (docs/Training.md, bf16).
//
//===----------------------------------------------------------------------===//

#ifndef OTODUS_MEGA_GRADIENT_OPS_TD
#define OTODUS_MEGA_GRADIENT_OPS_TD

include "mega/IR/MegaDialect.td"

// An op of training with the given role of its rows.
class Mega_GradientOp<string mnemonic, string role, list<Trait> traits = []> :
    Mega_Op<mnemonic, !listconcat(
        [Pure, DeclareOpInterfaceMethods<FusionOpInterface, ["getRowRole"]>], traits)> {
  string roleDefinition = "::otodus::mega::RowRole $cppClass::getRowRole() { "
                          "return ::otodus::mega::RowRole::" # role # "; }\n";
  let extraClassDefinition = roleDefinition;
}

// The last `tied` operands are those that the last `tied` results answer.
class Mega_TiedOp<string mnemonic, int tied, string role = "Accumulation",
                  list<Trait> traits = []> :
    Mega_GradientOp<mnemonic, role, !listconcat(
        [DeclareOpInterfaceMethods<SequenceOpInterface, ["getStateOperands", "getStateResults"]>],
        traits)> {
  let extraClassDefinition = roleDefinition # [{
    ::llvm::SmallVector<::mlir::OpOperand *> $cppClass::getStateOperands() {
      return ::otodus::mega::detail::lastOperands(*this, }] # tied # [{);
    }
    ::llvm::SmallVector<::mlir::OpResult> $cppClass::getStateResults() {
      return ::otodus::mega::detail::lastResults(*this, }] # tied # [{);
    }
  }];
}

//===----------------------------------------------------------------------===//
// Row by row
//===----------------------------------------------------------------------===//

def Mega_SiluGradientOp : Mega_GradientOp<"silu_gradient", "Elementwise",
    [SameOperandsAndResultType]> {
  let summary = "dx = dy s (1 + x (1 - s)), s = σ(x)";
  let arguments = (ins Mega_Activation:$input, Mega_Activation:$dy);
  let results = (outs Mega_Activation:$dx);
  let assemblyFormat = "$input `,` $dy attr-dict `:` type($dx)";
}

def Mega_RotateGradientOp : Mega_GradientOp<"rotate_gradient", "Elementwise",
    [AllTypesMatch<["dquery", "dinput_query"]>, AllTypesMatch<["dkey", "dinput_key"]>]> {
  let summary = "Gradients through mega.rotate: rotated back by the same angles";
  let arguments = (ins
    Mega_HeadActivation:$dquery, Mega_HeadActivation:$dkey, Mega_HeadActivation:$angles);
  let results = (outs Mega_HeadActivation:$dinput_query, Mega_HeadActivation:$dinput_key);
  let assemblyFormat = [{
    $dquery `,` $dkey `by` $angles attr-dict `:` type($dquery) `,` type($dkey) `,` type($angles)
  }];
  let hasVerifier = 1;
}

def Mega_LinearInputGradientOp : Mega_GradientOp<"linear_input_gradient", "Contraction"> {
  let summary = "dx[k] = Σ_n dy[n] weight[n, k]";
  let description = [{
    The gradient of `mega.linear` with respect to its input. Widths are taken
    flattened; `weight` is `T[N, K]`, and `dy`, `dx` are of `T`. Summed in f32, rounded once.
  }];
  let arguments = (ins Mega_Activation:$dy, Mega_Tensor<[F32, BF16], 2, "[N, K]">:$weight);
  let results = (outs Mega_Activation:$dx);
  let assemblyFormat = "$dy `,` $weight attr-dict `:` functional-type(operands, results)";
  let hasVerifier = 1;
}

def Mega_RmsNormGradientOp : Mega_GradientOp<"rms_norm_gradient", "RowReduction",
    [AllTypesMatch<["input", "dy", "dx", "normal"]>]> {
  let summary = "Backward of mega.rms_norm (spec 3.3)";
  let description = [{
    With u = dy (weight + 1) scale: `dx = ρ (u - x ρ² mean(u x))`. `normal` is
    `x ρ scale`, so that the gradient of the weight is `Σ dy normal`.
  }];
  let arguments = (ins
    Mega_Activation:$input, Mega_Activation:$dy,
    Optional<Mega_Tensor<[F32], 1, "[W]">>:$weight,
    F64Attr:$eps, OptionalAttr<F64Attr>:$scale);
  let results = (outs Mega_Activation:$dx, Mega_Activation:$normal);
  let assemblyFormat = [{
    $input `,` $dy (`weight` $weight^)? `eps` `(` $eps `)` (`scale` `(` $scale^ `)`)?
    attr-dict `:` functional-type(operands, results)
  }];
  let hasVerifier = 1;
}

def Mega_LayerNormGradientOp : Mega_GradientOp<"layer_norm_gradient", "RowReduction",
    [AllTypesMatch<["input", "dy", "dx", "normal"]>]> {
  let summary = "Backward of mega.layer_norm (spec 3.4)";
  let description = [{
    With xh the normalized x and u = dy (weight + 1):
    `dx = ρ (u - mean u - xh mean(u xh))`. `normal` is xh.
  }];
  let arguments = (ins
    Mega_Activation:$input, Mega_Activation:$dy,
    Optional<Mega_Tensor<[F32], 1, "[W]">>:$weight, F64Attr:$eps);
  let results = (outs Mega_Activation:$dx, Mega_Activation:$normal);
  let assemblyFormat = [{
    $input `,` $dy (`weight` $weight^)? `eps` `(` $eps `)`
    attr-dict `:` functional-type(operands, results)
  }];
  let hasVerifier = 1;
}

//===----------------------------------------------------------------------===//
// Sums over rows
//===----------------------------------------------------------------------===//

def Mega_LinearWeightGradientOp : Mega_TiedOp<"linear_weight_gradient", 1, "Accumulation",
    [AllTypesMatch<["dweight", "new_dweight"]>]> {
  let summary = "dweight[n, k] += Σ_rows dy[n] x[k]";
  let description = "`dy` and `input` have one element type; products are summed in f32.";
  let arguments = (ins
    Mega_Activation:$dy, Mega_Activation:$input, Mega_Tensor<[F32], 2, "[N, K]">:$dweight);
  let results = (outs Mega_Tensor<[F32], 2, "[N, K]">:$new_dweight);
  let assemblyFormat = [{
    $dy `,` $input `into` $dweight attr-dict `:` type($dy) `,` type($input) `,` type($dweight)
  }];
  let hasVerifier = 1;
}

def Mega_ColumnSumOp : Mega_TiedOp<"column_sum", 1> {
  let summary = "sum[w] += Σ_rows x[w] (times factor[w], if given)";
  let description = [{
    `w` counts the flattened width. `sum` has that many elements after dimension 0,
    where it is a matrix of which `row` is added to, or in all. `factor` has the element
    type of `input`.
  }];
  let arguments = (ins
    Mega_Activation:$input, Optional<Mega_Activation>:$factor,
    RankedTensorOf<[F32]>:$sum, DefaultValuedAttr<I64Attr, "0">:$row);
  let results = (outs RankedTensorOf<[F32]>:$new_sum);
  let assemblyFormat = [{
    $input (`by` $factor^)? `into` $sum (`row` `(` $row^ `)`)? attr-dict
    `:` functional-type(operands, results)
  }];
  let hasVerifier = 1;
}

def Mega_EmbedGradientOp : Mega_TiedOp<"embed_gradient", 1, "Accumulation",
    [AllTypesMatch<["dtable", "new_dtable"]>]> {
  let summary = "dtable[tokens[b, t], :] += scale dy[b, t, :]";
  let arguments = (ins
    Mega_Tensor<[I32], 2, "[B, L]">:$tokens, Mega_FlatActivation:$dy,
    Mega_Tensor<[F32], 2, "[V, D]">:$dtable, OptionalAttr<F64Attr>:$scale);
  let results = (outs Mega_Tensor<[F32], 2, "[V, D]">:$new_dtable);
  let assemblyFormat = [{
    $tokens `,` $dy `into` $dtable (`scale` `(` $scale^ `)`)? attr-dict
    `:` type($tokens) `,` type($dy) `,` type($dtable)
  }];
  let hasVerifier = 1;
}

//===----------------------------------------------------------------------===//
// Along time
//===----------------------------------------------------------------------===//

def Mega_TimestepNormSavingOp : Mega_GradientOp<"timestep_norm_saving", "Stream", [
    DeclareOpInterfaceMethods<SequenceOpInterface, ["getStateOperands", "getStateResults"]>,
    AllTypesMatch<["input", "output"]>, AllTypesMatch<["weight", "bias"]>,
    AllTypesMatch<["count", "new_count"]>, AllTypesMatch<["shift", "inverse_deviation"]>,
    AllTypesMatch<["mean", "variance", "new_mean", "new_variance"]>]> {
  let summary = "mega.timestep_norm that keeps the statistics of every step";
  let description = [{
    As `mega.timestep_norm`. Also, for every step and group, `shift` = m' minus the
    group's first feature, and `inverse_deviation` = (v' + eps)^(-1/2); behind the groups
    `shift` has the step's weight c2, 0 for padding. Both are `f32[B, L, G + 1]`.
  }];
  let arguments = (ins
    Mega_FlatActivation:$input,
    Mega_Tensor<[F32], 1, "[D]">:$weight, Mega_Tensor<[F32], 1, "[D]">:$bias,
    Mega_Tensor<[I64], 1, "[B]">:$count,
    Mega_Tensor<[F32], 2, "[B, G]">:$mean, Mega_Tensor<[F32], 2, "[B, G]">:$variance,
    Optional<Mega_Tensor<[I1], 2, "[B, L]">>:$mask,
    ConfinedAttr<I64Attr, [IntPositive]>:$groups, F64Attr:$eps);
  let results = (outs
    Mega_FlatActivation:$output,
    Mega_Tensor<[I64], 1, "[B]">:$new_count,
    Mega_Tensor<[F32], 2, "[B, G]">:$new_mean, Mega_Tensor<[F32], 2, "[B, G]">:$new_variance,
    Mega_FlatActivation:$shift, Mega_FlatActivation:$inverse_deviation);
  let assemblyFormat = [{
    $input `,` $weight `,` $bias `,` $count `,` $mean `,` $variance (`mask` $mask^)?
    `groups` `(` $groups `)` `eps` `(` $eps `)` attr-dict
    `:` functional-type(operands, results)
  }];
  let hasVerifier = 1;
}

def Mega_TimestepNormGradientOp : Mega_TiedOp<"timestep_norm_gradient", 4, "Accumulation", [
    AllTypesMatch<["input", "dy", "dx"]>, AllTypesMatch<["dmean", "dvariance", "new_dmean",
                                                         "new_dvariance"]>,
    AllTypesMatch<["weight", "dweight", "dbias", "new_dweight", "new_dbias"]>]> {
  let summary = "Backward of mega.timestep_norm, against time (spec 3.1)";
  let description = [{
    `shift` and `inverse_deviation` are those of `mega.timestep_norm_saving`. `dmean`, `dvariance` are the gradients of the state
    after the steps, and become those of the state before them; `dweight`, `dbias`
    are added to.
  }];
  let arguments = (ins
    Mega_FlatActivation:$input, Mega_FlatActivation:$dy,
    Mega_FlatActivation:$shift, Mega_FlatActivation:$inverse_deviation,
    Mega_Tensor<[F32], 1, "[D]">:$weight,
    Mega_Tensor<[F32], 2, "[B, G]">:$dmean, Mega_Tensor<[F32], 2, "[B, G]">:$dvariance,
    Mega_Tensor<[F32], 1, "[D]">:$dweight, Mega_Tensor<[F32], 1, "[D]">:$dbias,
    ConfinedAttr<I64Attr, [IntPositive]>:$groups);
  let results = (outs
    Mega_FlatActivation:$dx,
    Mega_Tensor<[F32], 2, "[B, G]">:$new_dmean, Mega_Tensor<[F32], 2, "[B, G]">:$new_dvariance,
    Mega_Tensor<[F32], 1, "[D]">:$new_dweight, Mega_Tensor<[F32], 1, "[D]">:$new_dbias);
  let assemblyFormat = [{
    $input `,` $dy `,` $shift `,` $inverse_deviation `,` $weight
    `into` $dmean `,` $dvariance `,` $dweight `,` $dbias
    `groups` `(` $groups `)` attr-dict `:` functional-type(operands, results)
  }];
  let hasVerifier = 1;
}

def Mega_CemaSavingOp : Mega_GradientOp<"cema_saving", "Stream", [
    DeclareOpInterfaceMethods<SequenceOpInterface, ["getStateOperands", "getStateResults"]>,
    AllTypesMatch<["input", "output"]>, AllTypesMatch<["alpha", "delta"]>,
    AllTypesMatch<["state", "new_state"]>]> {
  let summary = "mega.cema that keeps its state every few steps";
  let description = [{
    As `mega.cema`. Also, `start` is the state before the first step and `marks`
    the states before steps 32, 64, … in a layout of the kernels' own:
    `f32[B, 1, 2 N Dp]` and `f32[B, L, 2 N Dp / 32]` with Dp the padded width.
  }];
  let arguments = (ins
    Mega_FlatActivation:$input,
    Mega_Tensor<[F32], 3, "[D, N, 1]">:$alpha, Mega_Tensor<[F32], 3, "[D, N, 1]">:$delta,
    Mega_Tensor<[F32], 3, "[D, 1, 1]">:$theta, Mega_Tensor<[F32], 3, "[D, N, 2]">:$gamma,
    Mega_Tensor<[F32], 2, "[D, 1]">:$omega, Mega_Tensor<[F32], 4, "[B, D, N, 2]">:$state);
  let results = (outs
    Mega_FlatActivation:$output, Mega_Tensor<[F32], 4, "[B, D, N, 2]">:$new_state,
    Mega_FlatActivation:$start, Mega_FlatActivation:$marks);
  let assemblyFormat = "operands attr-dict `:` functional-type(operands, results)";
  let hasVerifier = 1;
}

def Mega_CemaGradientOp : Mega_TiedOp<"cema_gradient", 6, "Accumulation", [
    AllTypesMatch<["input", "dy", "dx"]>, AllTypesMatch<["dstate", "new_dstate"]>]> {
  let summary = "Backward of mega.cema, against time (spec 3.2)";
  let description = [{
    The adjoint recurrence λ_t = conj(g) dy_t + conj(q) λ_{t+1}, the sums over
    rows of the gradients of p, q, g and omega, and the chain to alpha, delta,
    theta and gamma. `dstate` is the gradient of the state after the steps and
    becomes that of the state before; the other five are added to.
  }];
  let arguments = (ins
    Mega_FlatActivation:$input, Mega_FlatActivation:$dy,
    Mega_FlatActivation:$start, Mega_FlatActivation:$marks,
    Mega_Tensor<[F32], 3, "[D, N, 1]">:$alpha, Mega_Tensor<[F32], 3, "[D, N, 1]">:$delta,
    Mega_Tensor<[F32], 3, "[D, 1, 1]">:$theta, Mega_Tensor<[F32], 3, "[D, N, 2]">:$gamma,
    Mega_Tensor<[F32], 2, "[D, 1]">:$omega,
    Mega_Tensor<[F32], 4, "[B, D, N, 2]">:$dstate,
    Mega_Tensor<[F32], 3, "[D, N, 1]">:$dalpha, Mega_Tensor<[F32], 3, "[D, N, 1]">:$ddelta,
    Mega_Tensor<[F32], 3, "[D, 1, 1]">:$dtheta, Mega_Tensor<[F32], 3, "[D, N, 2]">:$dgamma,
    Mega_Tensor<[F32], 2, "[D, 1]">:$domega);
  let results = (outs
    Mega_FlatActivation:$dx, Mega_Tensor<[F32], 4, "[B, D, N, 2]">:$new_dstate,
    Mega_Tensor<[F32], 3, "[D, N, 1]">:$new_dalpha, Mega_Tensor<[F32], 3, "[D, N, 1]">:$new_ddelta,
    Mega_Tensor<[F32], 3, "[D, 1, 1]">:$new_dtheta, Mega_Tensor<[F32], 3, "[D, N, 2]">:$new_dgamma,
    Mega_Tensor<[F32], 2, "[D, 1]">:$new_domega);
  let assemblyFormat = "operands attr-dict `:` functional-type(operands, results)";
  let hasVerifier = 1;
}

//===----------------------------------------------------------------------===//
// Attention
//===----------------------------------------------------------------------===//

def Mega_ChunkPanelsOp : Mega_GradientOp<"chunk_panels", "Accumulation"> {
  let summary = "Keys as the open chunk lays out values, and values as it lays out keys";
  let description = [{
    `T[B, 1, W]`, W the elements of a sequence and `T` the type of keys and values: what the
    backward products of attention read, whose sums run along the other axis than forward.
    The layout is the target's own.
  }];
  let arguments = (ins
    Mega_Tensor<[F32, BF16], 4, "[B, C, H, dz]">:$keys,
    Mega_Tensor<[F32, BF16], 4, "[B, C, H, dv]">:$values);
  let results = (outs Mega_FlatActivation:$key_rows, Mega_FlatActivation:$value_columns);
  let assemblyFormat = "operands attr-dict `:` functional-type(operands, results)";
  let hasVerifier = 1;
}

def Mega_ChunkQueryGradientOp : Mega_GradientOp<"chunk_query_gradient", "Accumulation",
    [AllTypesMatch<["query", "dquery"]>, AllTypesMatch<["output", "doutput"]>]> {
  let summary = "Backward of mega.chunk_attention for the queries (spec 3.7)";
  let description = [{
    Recomputes the scores of each step. `keys` are those after the steps. Also
    yields, per step and head, the logarithm of the sum of exponentials and
    Σ output · doutput, `f32[B, L, H]`. All others have one element type; of bf16, a
    kernel may round the gradients of scores to it in front of their product with the keys.
  }];
  let arguments = (ins
    Mega_HeadActivation:$query, Mega_HeadActivation:$output, Mega_HeadActivation:$doutput,
    Mega_Tensor<[F32, BF16], 4, "[B, C, H, dz]">:$keys,
    Mega_FlatActivation:$key_rows, Mega_FlatActivation:$value_columns,
    Mega_Tensor<[I64], 1, "[B]">:$position, ConfinedAttr<I64Attr, [IntPositive]>:$chunk);
  let results = (outs
    Mega_HeadActivation:$dquery, Mega_FlatActivation:$log_sum, Mega_FlatActivation:$dot);
  let assemblyFormat = [{
    $query `,` $output `,` $doutput `,` $keys `,` $key_rows `,` $value_columns `at` $position
    `chunk` `(` $chunk `)` attr-dict `:` functional-type(operands, results)
  }];
  let hasVerifier = 1;
}

def Mega_ChunkKeyGradientOp : Mega_TiedOp<"chunk_key_gradient", 2> {
  let summary = "Backward of mega.chunk_attention for keys and values (spec 3.7)";
  let description = [{
    `dkeys`, `dvalues` are the gradients of the open chunk after the steps, of which
    only the slots before (position + L) mod C mean anything, and become those of
    the open chunk before them. They are f32 and lie as a state of f32 does, whatever the
    element type of the chunk.
  }];
  let arguments = (ins
    Mega_HeadActivation:$query, Mega_HeadActivation:$doutput,
    Mega_FlatActivation:$log_sum, Mega_FlatActivation:$dot,
    Mega_Tensor<[F32, BF16], 4, "[B, C, H, dz]">:$keys, Mega_FlatActivation:$value_columns,
    Mega_Tensor<[I64], 1, "[B]">:$position,
    Mega_Tensor<[F32], 4, "[B, C, H, dz]">:$dkeys,
    Mega_Tensor<[F32], 4, "[B, C, H, dv]">:$dvalues,
    ConfinedAttr<I64Attr, [IntPositive]>:$chunk);
  let results = (outs
    Mega_HeadActivation:$dkey, Mega_HeadActivation:$dvalue,
    Mega_Tensor<[F32], 4, "[B, C, H, dz]">:$new_dkeys,
    Mega_Tensor<[F32], 4, "[B, C, H, dv]">:$new_dvalues);
  let assemblyFormat = [{
    $query `,` $doutput `,` $log_sum `,` $dot `,` $keys `,` $value_columns `at` $position
    `into` $dkeys `,` $dvalues `chunk` `(` $chunk `)` attr-dict
    `:` functional-type(operands, results)
  }];
  let hasVerifier = 1;
}

//===----------------------------------------------------------------------===//
// Loss
//===----------------------------------------------------------------------===//

def Mega_LinearCrossEntropyOp : Mega_GradientOp<"linear_cross_entropy", "Accumulation"> {
  let summary = "Negative log-likelihood of targets under softmax(x Wᵀ) (spec 3.8)";
  let description = [{
    `nll[b, t] = logsumexp_v(x · weight[v]) - x · weight[targets[b, t]]`, 0 where the
    target is -100. Logits of the whole vocabulary are never in memory at once;
    `log_sum`, `f32[B, L]`, is the first term. `input` and `weight` have one element type;
    logits are f32.
  }];
  let arguments = (ins
    Mega_FlatActivation:$input, Mega_Tensor<[F32, BF16], 2, "[V, D]">:$weight,
    Mega_Tensor<[I32], 2, "[B, L]">:$targets);
  let results = (outs Mega_Tensor<[F32], 2, "[B, L]">:$nll, Mega_Tensor<[F32], 2, "[B, L]">:$log_sum);
  let assemblyFormat = "operands attr-dict `:` functional-type(operands, results)";
  let hasVerifier = 1;
}

def Mega_LossInputGradientOp : Mega_GradientOp<"loss_input_gradient", "Accumulation",
    [AllTypesMatch<["input", "dinput"]>]> {
  let summary = "dx = s Σ_v (softmax_v - [v = target]) weight[v], s = scalars[0]";
  let arguments = (ins
    Mega_FlatActivation:$input, Mega_Tensor<[F32, BF16], 2, "[V, D]">:$weight,
    Mega_Tensor<[I32], 2, "[B, L]">:$targets, Mega_Tensor<[F32], 2, "[B, L]">:$log_sum,
    Mega_Tensor<[F32], 1, "[16]">:$scalars);
  let results = (outs Mega_FlatActivation:$dinput);
  let assemblyFormat = "operands attr-dict `:` functional-type(operands, results)";
  let hasVerifier = 1;
}

def Mega_LossWeightGradientOp : Mega_TiedOp<"loss_weight_gradient", 1, "Accumulation",
    [AllTypesMatch<["dweight", "new_dweight"]>]> {
  let summary = "dweight[v] += s Σ_rows (softmax_v - [v = target]) x, s = scalars[0]";
  let arguments = (ins
    Mega_FlatActivation:$input, Mega_Tensor<[F32, BF16], 2, "[V, D]">:$weight,
    Mega_Tensor<[I32], 2, "[B, L]">:$targets, Mega_Tensor<[F32], 2, "[B, L]">:$log_sum,
    Mega_Tensor<[F32], 1, "[16]">:$scalars, Mega_Tensor<[F32], 2, "[V, D]">:$dweight);
  let results = (outs Mega_Tensor<[F32], 2, "[V, D]">:$new_dweight);
  let assemblyFormat = "operands attr-dict `:` functional-type(operands, results)";
  let hasVerifier = 1;
}

//===----------------------------------------------------------------------===//
// Optimizer
//===----------------------------------------------------------------------===//

def Mega_SquaresOp : Mega_TiedOp<"squares", 1, "Accumulation", [AllTypesMatch<["sums", "new_sums"]>]> {
  let summary = "sums[i] = Σ x² over elements [1024 i, 1024 i + 1024)";
  let arguments = (ins Mega_Tensor<[F32], 1, "[n]">:$input, Mega_Tensor<[F32], 1, "[n / 1024]">:$sums);
  let results = (outs Mega_Tensor<[F32], 1, "[n / 1024]">:$new_sums);
  let assemblyFormat = "operands attr-dict `:` functional-type(operands, results)";
  let hasVerifier = 1;
}

def Mega_AdamWOp : Mega_TiedOp<"adamw", 3, "Accumulation",
    [AllTypesMatch<["gradient", "weight", "first", "second", "new_weight", "new_first",
                    "new_second"]>]> {
  let summary = "One AdamW step over all parameters (spec 6)";
  let description = [{
    With scalars c, lr, lr·wd, b1, b2, eps, 1/(1 - b1^t), 1/(1 - b2^t) from index 1 on, and
    g the gradient times c:

    ```
    p ← p (1 - lr wd)    m ← b1 m + (1 - b1) g    u ← b2 u + (1 - b2) g²
    p ← p - lr (m / (1 - b1^t)) / (sqrt(u / (1 - b2^t)) + eps)
    ```
  }];
  let arguments = (ins
    Mega_Tensor<[F32], 1, "[n]">:$gradient, Mega_Tensor<[F32], 1, "[16]">:$scalars,
    Mega_Tensor<[F32], 1, "[n]">:$weight, Mega_Tensor<[F32], 1, "[n]">:$first,
    Mega_Tensor<[F32], 1, "[n]">:$second);
  let results = (outs
    Mega_Tensor<[F32], 1, "[n]">:$new_weight, Mega_Tensor<[F32], 1, "[n]">:$new_first,
    Mega_Tensor<[F32], 1, "[n]">:$new_second);
  let assemblyFormat = "operands attr-dict `:` functional-type(operands, results)";
}

#endif // OTODUS_MEGA_GRADIENT_OPS_TD

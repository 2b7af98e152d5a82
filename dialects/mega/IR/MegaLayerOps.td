//===- MegaLayerOps.td - Layers without time --------------------*- tablegen -*-===//
//
// Ops that treat every step alike: embedding, projections, activations, row norms;
// and the choice of the last step.
//
//===----------------------------------------------------------------------===//

#ifndef OTODUS_MEGA_LAYER_OPS_TD
#define OTODUS_MEGA_LAYER_OPS_TD

include "mega/IR/MegaDialect.td"

//===----------------------------------------------------------------------===//
// embed
//===----------------------------------------------------------------------===//

def Mega_EmbedOp : Mega_ComputeOp<"embed", [Pure]> {
  let summary = "Rows of a table by token";
  let description = [{
    `y[b, t, :] = scale * table[tokens[b, t], :]`, `scale` 1 if absent.
    Tokens are in [0, V): whoever feeds them has checked that.

    Constraints:

    *  (C1) the result is `T[B, L, D]`, `T` and `D` those of `table`.
    *  (C2) `scale` is finite.

    Example:

    ```mlir
    %x = mega.embed %tokens, %table scale(8.0)
        : tensor<?x?xi32>, tensor<256x64xf32> -> tensor<?x?x64xf32>
    ```
  }];
  let arguments = (ins
    Mega_Tensor<[I32], 2, "[B, L]">:$tokens,
    Mega_Tensor<[F32, BF16], 2, "[V, D]">:$table,
    OptionalAttr<F64Attr>:$scale);
  let results = (outs Mega_FlatActivation:$result);
  let builders = [OpBuilder<(ins "::mlir::Type":$result, "::mlir::Value":$tokens,
      "::mlir::Value":$table, "double":$scale), [{
    build($_builder, $_state, result, tokens, table,
          scale == 1.0 ? ::mlir::FloatAttr() : $_builder.getF64FloatAttr(scale));
  }]>];
  let extraClassDeclaration = [{
    /// `scale`, 1 if absent.
    double getScaleOrOne() { return getScale() ? getScale()->convertToDouble() : 1.0; }
  }];
  let assemblyFormat = [{
    $tokens `,` $table (`scale` `(` $scale^ `)`)? attr-dict
    `:` type($tokens) `,` type($table) `->` type($result)
  }];
  let hasCanonicalizeMethod = 1;
  let hasVerifier = 1;
}

//===----------------------------------------------------------------------===//
// linear
//===----------------------------------------------------------------------===//

def Mega_LinearOp : Mega_ComputeOp<"linear", [Pure]> {
  let summary = "Projection: y = x Wᵀ + b";
  let description = [{
    Row by row, `y[n] = Σ_k x[k] weight[n, k] + bias[n]`, where `x` and `y` are
    taken with flattened width: `[B, L, H, d]` counts as `[B, L, H d]`. Summed in
    f32 and rounded once. The result may be f32 under bf16 operands (logits).

    Constraints:

    *  (C1) `weight` is `T[N, K]` with `K` the flattened width of `input`.
    *  (C2) `weight` has the element type of `input`.
    *  (C3) the result has the batch and time of `input` and flattened width `N`.
    *  (C4) the result's element type is that of `input`, or f32.
    *  (C5) `bias`, if given, is `f32[N]`.

    Example:

    ```mlir
    %v = mega.linear %x, %w bias %b
        : (tensor<?x?x64xf32>, tensor<128x64xf32>, tensor<128xf32>) -> tensor<?x?x2x64xf32>
    ```
  }];
  let arguments = (ins
    Mega_Activation:$input,
    Mega_Tensor<[F32, BF16], 2, "[N, K]">:$weight,
    Optional<Mega_Tensor<[F32], 1, "[N]">>:$bias);
  let results = (outs Mega_Activation:$result);
  let assemblyFormat = [{
    $input `,` $weight (`bias` $bias^)? attr-dict `:` functional-type(operands, results)
  }];
  let hasVerifier = 1;
}

//===----------------------------------------------------------------------===//
// silu
//===----------------------------------------------------------------------===//

def Mega_SiluOp : Mega_ComputeOp<"silu", [Pure, SameOperandsAndResultType]> {
  let summary = "x σ(x)";
  let description = [{
    `y = x / (1 + e^(-x))`, elementwise, computed in f32.

    Example:

    ```mlir
    %y = mega.silu %x : tensor<?x?x64xf32>
    ```
  }];
  let arguments = (ins Mega_Activation:$input);
  let results = (outs Mega_Activation:$result);
  let assemblyFormat = "$input attr-dict `:` type($result)";
}

//===----------------------------------------------------------------------===//
// scale
//===----------------------------------------------------------------------===//

def Mega_ScaleOp : Mega_ComputeOp<"scale", [Pure, AllTypesMatch<["input", "result"]>]> {
  let summary = "Every feature times its own factor";
  let description = [{
    `y[b, t, w] = x[b, t, w] factor[w]`, computed in f32; `w` counts all trailing
    dimensions flattened.

    Constraints:

    *  (C1) `factor` is `f32[W]`, W the flattened trailing size of `input`.

    Example:

    ```mlir
    %y = mega.scale %x, %factor : tensor<?x?x64xf32>, tensor<64xf32>
    ```
  }];
  let arguments = (ins
    Mega_Activation:$input,
    Mega_Tensor<[F32], 1, "[W]">:$factor);
  let results = (outs Mega_Activation:$result);
  let assemblyFormat = "$input `,` $factor attr-dict `:` type($input) `,` type($factor)";
  let hasVerifier = 1;
}

//===----------------------------------------------------------------------===//
// rms_norm
//===----------------------------------------------------------------------===//

def Mega_RmsNormOp : Mega_ComputeOp<"rms_norm", [
    Pure, AttrSizedOperandSegments, Mega_OneOperandIn<0, "input">,
    AllTypesMatch<["input", "result"]>]> {
  let summary = "Divide by the root mean square of the last axis";
  let description = [{
    Over the last axis, so per head for `[B, L, H, d]` (spec 3.3, 3.5):

    ```
    y = x (mean(x²) + eps)^(-1/2) (weight + 1) scale + bias
    ```

    `weight` and `bias` may differ per head: they have the size of the flattened
    width. Absent, they count as 0; an absent `scale` is 1.

    Constraints:

    *  (C1) `weight`, if given, is `f32[W]`, `W` the flattened width of `input`.
    *  (C2) `bias`, if given, is `f32[W]`.
    *  (C3) `eps` is positive and finite.
    *  (C4) `scale` is finite.

    Example:

    ```mlir
    %q = mega.rms_norm %z weight %w bias %b eps(1.0e-5) scale(0.5)
        : (tensor<?x?x2x4xf32>, tensor<8xf32>, tensor<8xf32>) -> tensor<?x?x2x4xf32>
    ```
  }];
  let arguments = (ins
    Mega_Activation:$input,
    Optional<Mega_Tensor<[F32], 1, "[W]">>:$weight,
    Optional<Mega_Tensor<[F32], 1, "[W]">>:$bias,
    F64Attr:$eps,
    OptionalAttr<F64Attr>:$scale);
  let results = (outs Mega_Activation:$result);
  let builders = [OpBuilder<(ins "::mlir::Value":$input, "::mlir::Value":$weight,
      "::mlir::Value":$bias, "double":$eps, CArg<"double", "1.0">:$scale), [{
    build($_builder, $_state, input.getType(), input, weight, bias,
          $_builder.getF64FloatAttr(eps),
          scale == 1.0 ? ::mlir::FloatAttr() : $_builder.getF64FloatAttr(scale));
  }]>];
  let extraClassDeclaration = [{
    /// `scale`, 1 if absent.
    double getScaleOrOne() { return getScale() ? getScale()->convertToDouble() : 1.0; }
  }];
  let assemblyFormat = [{
    $input (`weight` $weight^)? (`bias` $bias^)? `eps` `(` $eps `)` (`scale` `(` $scale^ `)`)?
    attr-dict `:` functional-type(operands, results)
  }];
  let hasCanonicalizeMethod = 1;
  let hasVerifier = 1;
}

//===----------------------------------------------------------------------===//
// layer_norm
//===----------------------------------------------------------------------===//

def Mega_LayerNormOp : Mega_ComputeOp<"layer_norm", [
    Pure, AttrSizedOperandSegments, Mega_OneOperandIn<0, "input">,
    AllTypesMatch<["input", "result"]>]> {
  let summary = "Normalize the last axis to mean 0 and variance 1";
  let description = [{
    Over the last axis, with its mean and population variance (spec 3.4):

    ```
    y = (x - mean) (variance + eps)^(-1/2) (weight + 1) + bias
    ```

    `weight` and `bias` have the size of the flattened width; absent, they count
    as 0.

    Constraints:

    *  (C1) `weight`, if given, is `f32[W]`, `W` the flattened width of `input`.
    *  (C2) `bias`, if given, is `f32[W]`.
    *  (C3) `eps` is positive and finite.

    Example:

    ```mlir
    %y = mega.layer_norm %x weight %w bias %b eps(1.0e-5)
        : (tensor<?x?x8xf32>, tensor<8xf32>, tensor<8xf32>) -> tensor<?x?x8xf32>
    ```
  }];
  let arguments = (ins
    Mega_Activation:$input,
    Optional<Mega_Tensor<[F32], 1, "[W]">>:$weight,
    Optional<Mega_Tensor<[F32], 1, "[W]">>:$bias,
    F64Attr:$eps);
  let results = (outs Mega_Activation:$result);
  let builders = [OpBuilder<(ins "::mlir::Value":$input, "::mlir::Value":$weight,
      "::mlir::Value":$bias, "double":$eps), [{
    build($_builder, $_state, input.getType(), input, weight, bias,
          $_builder.getF64FloatAttr(eps));
  }]>];
  let assemblyFormat = [{
    $input (`weight` $weight^)? (`bias` $bias^)? `eps` `(` $eps `)`
    attr-dict `:` functional-type(operands, results)
  }];
  let hasVerifier = 1;
}

//===----------------------------------------------------------------------===//
// last
//===----------------------------------------------------------------------===//

def Mega_LastOp : Mega_ComputeOp<"last", [Pure]> {
  let summary = "The last step of every sequence";
  let description = [{
    `y[b, 0, :] = x[b, L - 1, :]`. `L` is at least 1.

    Constraints:

    *  (C1) the result is `T[B, 1, W]`, `T` and `W` those of `input`.
    *  (C2) `L` is not a static 0.

    Example:

    ```mlir
    %y = mega.last %x : tensor<?x?x64xf32> -> tensor<?x1x64xf32>
    ```
  }];
  let arguments = (ins Mega_FlatActivation:$input);
  let results = (outs Mega_FlatActivation:$result);
  let builders = [OpBuilder<(ins "::mlir::Value":$input), [{
    auto type = ::llvm::cast<::mlir::RankedTensorType>(input.getType());
    ::llvm::SmallVector<int64_t> shape(type.getShape());
    shape[1] = 1;
    build($_builder, $_state, type.clone(shape), input);
  }]>];
  let assemblyFormat = "$input attr-dict `:` type($input) `->` type($result)";
  let hasFolder = 1;
  let hasVerifier = 1;
}

#endif // OTODUS_MEGA_LAYER_OPS_TD

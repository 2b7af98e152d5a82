//===- MegaSequenceOps.td - Ops that walk time ------------------*- tablegen -*-===//
//
// Norm statistics and moving averages that carry a state from step to step.
//
//===----------------------------------------------------------------------===//

#ifndef OTODUS_MEGA_SEQUENCE_OPS_TD
#define OTODUS_MEGA_SEQUENCE_OPS_TD

include "mega/IR/MegaDialect.td"
include "mlir/IR/OpAsmInterface.td"

class Mega_SequenceOp<string mnemonic, list<Trait> traits = []> :
    Mega_ComputeOp<mnemonic, !listconcat([
      DeclareOpInterfaceMethods<SequenceOpInterface, ["getStateOperands", "getStateResults"]>],
      traits)>;

//===----------------------------------------------------------------------===//
// timestep_norm
//===----------------------------------------------------------------------===//

def Mega_TimestepNormOp : Mega_SequenceOp<"timestep_norm", [
    Pure, AllTypesMatch<["input", "output"]>, AllTypesMatch<["weight", "bias"]>,
    AllTypesMatch<["count", "new_count"]>,
    AllTypesMatch<["mean", "variance", "new_mean", "new_variance"]>]> {
  let summary = "Normalize each step by the statistics of all steps so far";
  let description = [{
    Splits the `D` channels into `G` groups of `D / G`. With `a` and `b` the mean
    and the population variance of one step's group (spec 3.1):

    ```
    n' = n + 1        c2 = 1 / n'        c1 = n / n'
    m' = m + c2 (a - m)
    v' = c1 v + c2 b + c1 c2 (a - m)²
    y  = (x - m') (v' + eps)^(-1/2) (weight + 1) + bias
    ```

    `n`, `m`, `v` are the state: how many steps there were, and mean and variance
    of everything they held. At `n = 0` the values of `m` and `v` do not matter.
    A step whose `mask` is true is padding: `y = 0` and the state stays.

    Constraints:

    *  (C1) `groups` divides `D`.
    *  (C2) `weight` and `bias` are `f32[D]`.
    *  (C3) `count` is `i64[B]`.
    *  (C4) `mean` and `variance` are `f32[B, G]`.
    *  (C5) `mask`, if given, is `i1[B, L]`.
    *  (C6) `eps` is positive and finite.

    Example:

    ```mlir
    %y, %n1, %m1, %v1 = mega.timestep_norm %x, %w, %b, %n0, %m0, %v0 groups(4) eps(1.0e-5)
        : tensor<?x?x16xf32>, tensor<16xf32>, tensor<?xi64>, tensor<?x4xf32>
    ```
  }];
  let arguments = (ins
    Mega_FlatActivation:$input,
    Mega_Tensor<[F32], 1, "[D]">:$weight,
    Mega_Tensor<[F32], 1, "[D]">:$bias,
    Mega_Tensor<[I64], 1, "[B]">:$count,
    Mega_Tensor<[F32], 2, "[B, G]">:$mean,
    Mega_Tensor<[F32], 2, "[B, G]">:$variance,
    Optional<Mega_Tensor<[I1], 2, "[B, L]">>:$mask,
    ConfinedAttr<I64Attr, [IntPositive]>:$groups,
    F64Attr:$eps);
  let results = (outs
    Mega_FlatActivation:$output,
    Mega_Tensor<[I64], 1, "[B]">:$new_count,
    Mega_Tensor<[F32], 2, "[B, G]">:$new_mean,
    Mega_Tensor<[F32], 2, "[B, G]">:$new_variance);
  let builders = [OpBuilder<(ins "::mlir::Value":$input, "::mlir::Value":$weight,
      "::mlir::Value":$bias, "::mlir::Value":$count, "::mlir::Value":$mean,
      "::mlir::Value":$variance, "::mlir::Value":$mask, "int64_t":$groups, "double":$eps), [{
    build($_builder, $_state, input.getType(), count.getType(), mean.getType(),
          variance.getType(), input, weight, bias, count, mean, variance, mask,
          $_builder.getI64IntegerAttr(groups), $_builder.getF64FloatAttr(eps));
  }]>];
  let assemblyFormat = [{
    $input `,` $weight `,` $bias `,` $count `,` $mean `,` $variance (`mask` $mask^)?
    `groups` `(` $groups `)` `eps` `(` $eps `)` attr-dict
    `:` type($input) `,` type($weight) `,` type($count) `,` type($mean) (`,` type($mask)^)?
  }];
  let hasVerifier = 1;
}

//===----------------------------------------------------------------------===//
// cema
//===----------------------------------------------------------------------===//

def Mega_CemaOp : Mega_SequenceOp<"cema", [
    Pure, AllTypesMatch<["input", "output"]>, AllTypesMatch<["alpha", "delta"]>,
    AllTypesMatch<["state", "new_state"]>]> {
  let summary = "Complex exponential moving average of each channel";
  let description = [{
    Every channel `d` drives `N` damped oscillators `h[d, k]`, k = 1..N, whose
    weighted sum is its output (spec 3.2):

    ```
    p = σ(alpha)      s = σ(delta)      φ[d,k] = k σ(theta[d]) 2π / N
    q = (1 - p s) e^{iφ}                g = (gamma[..,0] + i gamma[..,1]) / sqrt(N)
    h_t = q h_{t-1} + p x_t
    y_t = Re Σ_k g h_t + omega x_t
    ```

    The state is `h`, its last dimension real and imaginary part. All in f32,
    rounded once to `T`.

    Constraints:

    *  (C1) `alpha` and `delta` are `f32[D, N, 1]`.
    *  (C2) `theta` is `f32[D, 1, 1]`.
    *  (C3) `gamma` is `f32[D, N, 2]`.
    *  (C4) `omega` is `f32[D, 1]`.
    *  (C5) `state` is `f32[B, D, N, 2]`.

    Example:

    ```mlir
    %y, %h1 = mega.cema %x, %alpha, %delta, %theta, %gamma, %omega, %h0
        : tensor<?x?x8xf32>, tensor<8x4x1xf32>, tensor<8x1x1xf32>, tensor<8x4x2xf32>,
          tensor<8x1xf32>, tensor<?x8x4x2xf32>
    ```
  }];
  let arguments = (ins
    Mega_FlatActivation:$input,
    Mega_Tensor<[F32], 3, "[D, N, 1]">:$alpha,
    Mega_Tensor<[F32], 3, "[D, N, 1]">:$delta,
    Mega_Tensor<[F32], 3, "[D, 1, 1]">:$theta,
    Mega_Tensor<[F32], 3, "[D, N, 2]">:$gamma,
    Mega_Tensor<[F32], 2, "[D, 1]">:$omega,
    Mega_Tensor<[F32], 4, "[B, D, N, 2]">:$state);
  let results = (outs
    Mega_FlatActivation:$output,
    Mega_Tensor<[F32], 4, "[B, D, N, 2]">:$new_state);
  let assemblyFormat = [{
    $input `,` $alpha `,` $delta `,` $theta `,` $gamma `,` $omega `,` $state attr-dict
    `:` type($input) `,` type($alpha) `,` type($theta) `,` type($gamma) `,` type($omega) `,`
    type($state)
  }];
  let hasVerifier = 1;
}

//===----------------------------------------------------------------------===//
// scan
//===----------------------------------------------------------------------===//

def Mega_ScanOp : Mega_SequenceOp<"scan", [
    AttrSizedOperandSegments, RecursiveMemoryEffects, RecursivelySpeculatable, SingleBlock,
    Mega_OneOperandIn<1, "init">, AllTypesMatch<["init", "output"]>,
    DeclareOpInterfaceMethods<OpAsmOpInterface, ["getAsmBlockArgumentNames"]>]> {
  let summary = "A recurrence along time, elementwise in channels and modes";
  let description = [{
    The core that moving averages and selective state spaces share. It walks the
    space (b, t, d, n) of batch, time, channel and mode, in order along `t`
    (backwards if `reverse`), in any order along the others. Each point runs the
    body once:

    ```
    state'[b,d,n], read = body(inputs[map(b,t,d,n)]..., state[b,d,n]...)
    output[b,t,d]       = init[b,t,d] + Σ_n read
    ```

    `inputs` are tensors of any of these dimensions; a map per input says which:
    `(b,t,d,n) -> (b,t,d)` for an activation, `-> (d,n)` for a coefficient.
    The body gets one scalar per input and per state, and ends in
    `mega.scan_yield` with the new states and the read. The sum over `n` is in
    ascending order in f32 and rounded once to the type of `init`.

    The sizes are those of `init`, `[B, L, D]`, and of the states, `[B, D, N]`.

    Constraints:

    *  (C1) there is one map per input.
    *  (C2) each map is from four dimensions to some of them, each at most once.
    *  (C3) the rank and sizes of an input are those of its map's results.
    *  (C4) there is at least one state.
    *  (C5) every state is `f32[B, D, N]`, all of one type, `N` static.
    *  (C6) the results are the output and one new state per state, with its type.
    *  (C7) the body takes one scalar per input, of its element type, then one `f32`
       per state.
    *  (C8) the body yields one `f32` per state, then one `f32`, the read.

    Example, a real moving average:

    ```mlir
    %y, %h1 = mega.scan
        ins(%x, %q, %p, %g : tensor<?x?x8xf32>, tensor<8x4xf32>, tensor<8x4xf32>, tensor<8x4xf32>)
        init(%zero : tensor<?x?x8xf32>) states(%h0 : tensor<?x8x4xf32>)
        maps [affine_map<(b, t, d, n) -> (b, t, d)>, affine_map<(b, t, d, n) -> (d, n)>,
              affine_map<(b, t, d, n) -> (d, n)>, affine_map<(b, t, d, n) -> (d, n)>] {
    ^bb0(%xt: f32, %qd: f32, %pd: f32, %gd: f32, %h: f32):
      %decayed = arith.mulf %qd, %h : f32
      %driven = arith.mulf %pd, %xt : f32
      %next = arith.addf %decayed, %driven : f32
      %read = arith.mulf %gd, %next : f32
      mega.scan_yield %next, %read : f32, f32
    }
    ```
  }];
  let arguments = (ins
    Variadic<RankedTensorOf<[F32, BF16]>>:$inputs,
    Mega_FlatActivation:$init,
    Variadic<Mega_Tensor<[F32], 3, "[B, D, N]">>:$states,
    AffineMapArrayAttr:$indexing_maps,
    UnitAttr:$reverse);
  let results = (outs
    Mega_FlatActivation:$output,
    Variadic<Mega_Tensor<[F32], 3, "[B, D, N]">>:$new_states);
  let regions = (region SizedRegion<1>:$region);
  let extraClassDeclaration = [{
    /// The dimensions of the iteration space, in the order of the maps.
    enum Dim : unsigned { Batch, Time, Channel, Mode };
    ::llvm::SmallVector<::mlir::AffineMap> getMaps();
  }];
  let assemblyFormat = [{
    (`ins` `(` $inputs^ `:` type($inputs) `)`)? `init` `(` $init `:` type($init) `)`
    `states` `(` $states `:` type($states) `)` `maps` $indexing_maps (`reverse` $reverse^)?
    custom<SameTypes>(ref(type($states)), type($new_states)) attr-dict-with-keyword $region
  }];
  let hasRegionVerifier = 1;
  let hasVerifier = 1;
}

def Mega_ScanYieldOp : Mega_Op<"scan_yield", [Pure, Terminator, HasParent<"ScanOp">]> {
  let summary = "New states and the read of one step of a scan";
  let description = [{
    Ends the body of a `mega.scan`: one `f32` per state, then the value that is
    summed over the modes.

    Example:

    ```mlir
    mega.scan_yield %next, %read : f32, f32
    ```
  }];
  let arguments = (ins Variadic<AnyType>:$operands);
  let assemblyFormat = "$operands attr-dict `:` type($operands)";
}

#endif // OTODUS_MEGA_SEQUENCE_OPS_TD

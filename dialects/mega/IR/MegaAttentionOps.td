//===- MegaAttentionOps.td - Attention over a chunk -------------*- tablegen -*-===//
//
// Rotary positions and causal attention, both restarting at every chunk.
//
//===----------------------------------------------------------------------===//

#ifndef OTODUS_MEGA_ATTENTION_OPS_TD
#define OTODUS_MEGA_ATTENTION_OPS_TD

include "mega/IR/MegaDialect.td"

//===----------------------------------------------------------------------===//
// rotary
//===----------------------------------------------------------------------===//

def Mega_RotaryOp : Mega_ComputeOp<"rotary", [
    Pure, AllTypesMatch<["query", "new_query"]>, AllTypesMatch<["key", "new_key"]>]> {
  let summary = "Rotate queries and keys by their position in the chunk";
  let description = [{
    Features `2j` and `2j + 1` of a head are one complex number; step `t` of
    sequence `b` multiplies it by `e^{i r freqs[j]}` with
    `r = (position[b] + t) mod chunk` (spec 3.6):

    ```
    (x0, x1) -> (x0 cos - x1 sin, x0 sin + x1 cos)
    ```

    Angles are f32, the result is rounded once to `T`.

    Constraints:

    *  (C1) `query` and `key` have the same batch, time and features per head.
    *  (C2) the number of features per head, `dz`, is even.
    *  (C3) `freqs` is `f32[dz / 2]`.
    *  (C4) `position` is `i64[B]`.
    *  (C5) `query` and `key` have the same element type.

    Example:

    ```mlir
    %q1, %k1 = mega.rotary %q, %k, %freqs at %position chunk(16)
        : tensor<?x?x2x8xf32>, tensor<?x?x2x8xf32>, tensor<4xf32>, tensor<?xi64>
    ```
  }];
  let arguments = (ins
    Mega_HeadActivation:$query,
    Mega_HeadActivation:$key,
    Mega_Tensor<[F32], 1, "[dz / 2]">:$freqs,
    Mega_Tensor<[I64], 1, "[B]">:$position,
    ConfinedAttr<I64Attr, [IntPositive]>:$chunk);
  let results = (outs Mega_HeadActivation:$new_query, Mega_HeadActivation:$new_key);
  let assemblyFormat = [{
    $query `,` $key `,` $freqs `at` $position `chunk` `(` $chunk `)` attr-dict
    `:` type($query) `,` type($key) `,` type($freqs) `,` type($position)
  }];
  let hasVerifier = 1;
}

//===----------------------------------------------------------------------===//
// chunk_attention
//===----------------------------------------------------------------------===//

def Mega_ChunkAttentionOp : Mega_ComputeOp<"chunk_attention", [
    Pure, AllTypesMatch<["query", "key"]>, AllTypesMatch<["value", "output"]>,
    AllTypesMatch<["keys", "new_keys"]>, AllTypesMatch<["values", "new_values"]>,
    DeclareOpInterfaceMethods<SequenceOpInterface, ["getStateOperands", "getStateResults"]>]> {
  let summary = "Causal attention inside the chunk of each step";
  let description = [{
    Step `t` of sequence `b` stands at `i = position[b] + t` and sees the steps
    `j <= i` of its own chunk, `floor(j / C) = floor(i / C)`, of this call or
    of earlier ones; per head (spec 3.7, 5):

    ```
    o_i = Σ_j softmax_j(q_i · k_j) v_j
    ```

    There is no further scale. Scores, softmax and sum are f32.

    The state is what a later call can still see: `keys` and `values` of the open
    chunk, the step at position `j` in slot `j mod C`. A slot of the open chunk
    that no step has filled yet, or one of an earlier chunk, is never read, and
    what it holds in `new_keys`, `new_values` is unspecified.

    Constraints:

    *  (C1) `value` has the batch, time and heads of `query`.
    *  (C2) `keys` is `T[B, C, H, dz]`.
    *  (C3) `values` is `T[B, C, H, dv]`.
    *  (C4) `position` is `i64[B]`.
    *  (C5) all have one element type.

    Example:

    ```mlir
    %o, %keys1, %values1 = mega.chunk_attention %q, %k, %v, %keys, %values at %position chunk(16)
        : tensor<?x?x2x8xf32>, tensor<?x?x2x4xf32>, tensor<?x16x2x8xf32>, tensor<?x16x2x4xf32>,
          tensor<?xi64>
    ```
  }];
  let arguments = (ins
    Mega_HeadActivation:$query,
    Mega_HeadActivation:$key,
    Mega_HeadActivation:$value,
    Mega_Tensor<[F32, BF16], 4, "[B, C, H, dz]">:$keys,
    Mega_Tensor<[F32, BF16], 4, "[B, C, H, dv]">:$values,
    Mega_Tensor<[I64], 1, "[B]">:$position,
    ConfinedAttr<I64Attr, [IntPositive]>:$chunk);
  let results = (outs
    Mega_HeadActivation:$output,
    Mega_Tensor<[F32, BF16], 4, "[B, C, H, dz]">:$new_keys,
    Mega_Tensor<[F32, BF16], 4, "[B, C, H, dv]">:$new_values);
  let assemblyFormat = [{
    $query `,` $key `,` $value `,` $keys `,` $values `at` $position `chunk` `(` $chunk `)` attr-dict
    `:` type($query) `,` type($value) `,` type($keys) `,` type($values) `,` type($position)
  }];
  let hasVerifier = 1;
}

#endif // OTODUS_MEGA_ATTENTION_OPS_TD

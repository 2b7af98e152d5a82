//===- MegaRotaryOps.td - Rotation in two halves ----------------*- tablegen -*-===//
//
// `mega.rotary` cut where layers can share: the angles depend on positions alone and are
// the same for all layers; the rotation treats every row by itself.
//
//===----------------------------------------------------------------------===//

#ifndef OTODUS_MEGA_ROTARY_OPS_TD
#define OTODUS_MEGA_ROTARY_OPS_TD

include "mega/IR/MegaDialect.td"

def Mega_RotaryAnglesOp : Mega_ComputeOp<"rotary_angles", [Pure]> {
  let summary = "Cosine and signed sine of every step's rotation";
  let description = [{
    For step `t` of sequence `b`, `r = (position[b] + t) mod chunk` and every pair `j`
    of features (spec 3.6):

    ```
    result[b, t, 0, 2j] = result[b, t, 0, 2j + 1] = cos(r freqs[j])
    result[b, t, 1, 2j] = -sin(r freqs[j])
    result[b, t, 1, 2j + 1] = sin(r freqs[j])
    ```

    `like` gives batch and time only.

    Constraints:

    *  (C1) `result` is `f32[B, L, 2, dz]` with `dz` twice the size of `freqs`.
    *  (C2) `position` is `i64[B]`.
    *  (C3) `like` has at least two dimensions; the first two are those of `result`.

    Example:

    ```mlir
    %angles = mega.rotary_angles %freqs at %position like %x chunk(16)
        : tensor<4xf32>, tensor<?xi64>, tensor<?x?x8xf32> -> tensor<?x?x2x8xf32>
    ```
  }];
  let arguments = (ins
    Mega_Tensor<[F32], 1, "[dz / 2]">:$freqs,
    Mega_Tensor<[I64], 1, "[B]">:$position,
    AnyRankedTensor:$like,
    ConfinedAttr<I64Attr, [IntPositive]>:$chunk);
  let results = (outs Mega_HeadActivation:$result);
  let assemblyFormat = [{
    $freqs `at` $position `like` $like `chunk` `(` $chunk `)` attr-dict
    `:` type($freqs) `,` type($position) `,` type($like) `->` type($result)
  }];
  let hasVerifier = 1;
}

def Mega_RotateOp : Mega_ComputeOp<"rotate", [
    Pure, AllTypesMatch<["query", "new_query"]>, AllTypesMatch<["key", "new_key"]>]> {
  let summary = "Rotate queries and keys by given angles";
  let description = [{
    With `x'` the other feature of a pair: `y = x angles[.., 0, ..] + x' angles[.., 1, ..]`,
    computed in f32 and rounded once.

    Constraints:

    *  (C1) `query` and `key` have the same shape and element type.
    *  (C2) `angles` is `f32[B, L, 2, dz]` with the features per head `dz` of `query`.

    Example:

    ```mlir
    %q1, %k1 = mega.rotate %q, %k by %angles
        : tensor<?x?x2x8xf32>, tensor<?x?x2x8xf32>, tensor<?x?x2x8xf32>
    ```
  }];
  let arguments = (ins
    Mega_HeadActivation:$query,
    Mega_HeadActivation:$key,
    Mega_HeadActivation:$angles);
  let results = (outs Mega_HeadActivation:$new_query, Mega_HeadActivation:$new_key);
  let assemblyFormat = [{
    $query `,` $key `by` $angles attr-dict
    `:` type($query) `,` type($key) `,` type($angles)
  }];
  let hasVerifier = 1;
}

def Mega_PairSwapOp : Mega_Op<"pair_swap", [Pure, SameOperandsAndResultType]> {
  let summary = "The value in the other lane of a pair";
  let description = [{
    Lives in the body of a `linalg.generic` at the kernel level, where the innermost loop is
    the lanes of a vector: lane `2j` gets the value of lane `2j + 1` and the other way round.
    A map cannot say this, since reading `i + 1 - 2 (i mod 2)` is no rectangle. Lowered to a
    shuffle; it has no meaning for a single scalar.

    Example:

    ```mlir
    %other = mega.pair_swap %x : f32
    ```
  }];
  let arguments = (ins F32:$input);
  let results = (outs F32:$result);
  let assemblyFormat = "$input attr-dict `:` type($result)";
}

#endif

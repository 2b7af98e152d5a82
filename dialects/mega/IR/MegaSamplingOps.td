//===- MegaSamplingOps.td - From logits to the next token -------*- tablegen -*-===//
//
// Spec 6.
//
//===----------------------------------------------------------------------===//

#ifndef OTODUS_MEGA_SAMPLING_OPS_TD
#define OTODUS_MEGA_SAMPLING_OPS_TD

include "mega/IR/MegaDialect.td"

def Mega_SampleOp : Mega_ComputeOp<"sample", [Pure]> {
  let summary = "The token that follows the last step of every sequence";
  let description = [{
    The likeliest token, the first of equals; or a draw from softmax(logits / temperature) after
    the filters min-p and then top-p or, if that is off, top-k. Which of them, and how, is in
    `options`, which the host sets before a call (formats::SamplingWord): no kernel depends on it.
    The draw of sequence b is a function of the seed, b and `position[b]` + L alone, L the steps of
    the call.

    A negative token is an error: -1 if a logit is NaN, -2 if the largest is infinite.

    Everything after one f32 product per logit is done in integers, so every target chooses the
    same token from the same logits (docs/Sampling.md).

    Constraints:

    *  (C1) `logits` is `T[B, 1, V]` with V at most 2^24.
    *  (C2) `options` has 16 words.
    *  (C3) `position` and the result have the batch of `logits`; the result is `i32[B, 1, 1]`.

    Example:

    ```mlir
    %token = mega.sample %logits with %options at %position
        : (tensor<?x1x256xf32>, tensor<16xi32>, tensor<?xi64>) -> tensor<?x1x1xi32>
    ```
  }];
  let arguments = (ins
    Mega_FlatActivation:$logits, Mega_Tensor<[I32], 1, "[16]">:$options,
    Mega_Tensor<[I64], 1, "[B]">:$position);
  let results = (outs Mega_Tensor<[I32], 3, "[B, 1, 1]">:$token);
  let assemblyFormat = [{
    $logits `with` $options `at` $position attr-dict `:` functional-type(operands, results)
  }];
  let hasVerifier = 1;
}

#endif // OTODUS_MEGA_SAMPLING_OPS_TD

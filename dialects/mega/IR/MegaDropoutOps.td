//===- MegaDropoutOps.td - Dropout ------------------------------*- tablegen -*-===//
//
// Masks are pure functions of numbers that name an element, drawn with Philox4x32-10
// (Formats/Random.h); docs/Training.md says which. Nothing of a mask is ever stored.
//
//===----------------------------------------------------------------------===//

#ifndef OTODUS_MEGA_DROPOUT_OPS_TD
#define OTODUS_MEGA_DROPOUT_OPS_TD

include "mega/IR/MegaDialect.td"

//===----------------------------------------------------------------------===//
// dropout
//===----------------------------------------------------------------------===//

def Mega_DropoutOp : Mega_ComputeOp<"dropout", [Pure, AllTypesMatch<["input", "result"]>]> {
  let summary = "Zero elements at random, scale the others up";
  let description = [{
    `y = x / (1 - p)` where the element is kept, 0 where it is dropped (inverted
    dropout, spec 4). It is also its own backward step. With
    `noise = (seed low, seed high, step, index)` the element at step `[b, t]` of head
    `h`, feature `i` (of `d`; one head if there are none), is kept if

    ```
    n = 4 h ⌈d / 4⌉ + i
    philox(counter = (⌊n / 4⌋, row_numbers[b, t], 16 index + place, step + 2^31),
           key = (seed low, seed high))[n mod 4] >= round(p 2^32)
    ```

    as unsigned numbers. `index` tells the calls of one function apart, `place` the
    ops in it.

    Constraints:

    *  (C1) `row_numbers` is `i32[B, L]`, batch and time of `input`.
    *  (C2) `noise` is `i32[4]`.
    *  (C3) `p` is at least 0 and less than 1.
    *  (C4) `place` is at least 0 and less than 16.

    Example:

    ```mlir
    %y = mega.dropout %x, %rows, %noise p(1.0e-1) place(2)
        : tensor<?x?x64xf32>, tensor<?x?xi32>, tensor<4xi32>
    ```
  }];
  let arguments = (ins
    Mega_Activation:$input,
    Mega_Tensor<[I32], 2, "[B, L]">:$row_numbers,
    Mega_Tensor<[I32], 1, "[4]">:$noise,
    F64Attr:$p,
    I64Attr:$place);
  let results = (outs Mega_Activation:$result);
  let assemblyFormat = [{
    $input `,` $row_numbers `,` $noise `p` `(` $p `)` `place` `(` $place `)` attr-dict
    `:` type($input) `,` type($row_numbers) `,` type($noise)
  }];
  let hasFolder = 1;
  let hasVerifier = 1;
}

//===----------------------------------------------------------------------===//
// random_word
//===----------------------------------------------------------------------===//

def Mega_RandomWordOp : Mega_Op<"random_word", [Pure]> {
  let summary = "A word of Philox4x32-10";
  let description = [{
    Lives in the body of a `linalg.generic` at the kernel level:
    `philox((⌊index / 4⌋, row, place, step), (key_low, key_high))[index mod 4]`.
    Along the lanes of a vector `index` counts up by one from a multiple of the
    number of lanes or of 4, whichever is less, so that four lanes share a call of the
    block function; the other operands are the same for all lanes.

    Example:

    ```mlir
    %bits = mega.random_word %index, %row, %place, %step, %low, %high
    ```
  }];
  let arguments = (ins I32:$index, I32:$row, I32:$place, I32:$step, I32:$key_low, I32:$key_high);
  let results = (outs I32:$result);
  let assemblyFormat = "operands attr-dict";
}

#endif // OTODUS_MEGA_DROPOUT_OPS_TD

//===- GkWgmmaOps.td - A warpgroup's matrix products ------------*- tablegen -*-===//
//
// wgmma runs beside the threads that issue it: its accumulators, its operands in registers
// and the shared memory it reads belong to it until a wait. The ops here carry all
// registers in flight through that wait, so that no compiler in between reuses one.
//
//===----------------------------------------------------------------------===//

#ifndef OTODUS_GK_WGMMA_OPS_TD
#define OTODUS_GK_WGMMA_OPS_TD

include "gk/IR/GkDialect.td"
include "mlir/Dialect/LLVMIR/NVVMRequiresSMTraits.td"

def Gk_Accumulator : Type<
    CPred<"::otodus::gk::getAccumulatorColumns($_self) != 0">,
    "an accumulator: a struct of n / 2 f32 with n a multiple of 8 from 8 to 256",
    "::mlir::LLVM::LLVMStructType">;

class Gk_WgmmaProduct<string mnemonic> : Gk_PtxOp<mnemonic, [
    NVVMRequiresSMa<[90]>, AllTypesMatch<["accumulator", "result"]>]> {
  let extraClassDeclaration = [{
    /// Columns of the accumulator.
    int64_t getColumns() { return getAccumulatorColumns(getAccumulator().getType()); }
  }];
}

def Gk_WgmmaOp : Gk_WgmmaProduct<"wgmma"> {
  let summary = "Warpgroup product of two matrices in shared memory";
  let description = [{
    `result = A B + (scale ? accumulator : 0)` for A bf16[64, 16], B bf16[16, n] and an f32
    accumulator [64, n] spread over the 128 threads of a warpgroup (`wgmma.mma_async`, shape
    m64nNk16). The n in the type's place of the assembly is that of the accumulator: `m64n128k16`.

    A and B are read through matrix descriptors, asynchronously: until a `gk.wgmma_wait` that
    covers the product, nothing may write the memory that they describe, and the result may only
    be the accumulator of another product or of a wait. `transpose_a` and `transpose_b` say that
    the matrix is MN-major: its 64 or n rows or columns are contiguous; otherwise its 16 elements
    along K are.

    All threads of the warpgroup execute the op, with the same descriptors and the same `scale`.
    Before the first product, and after every write of a register that a product uses, there is
    an `nvvm.wgmma.fence.aligned`.

    Constraints:

    *  (C1) `accumulator` and `result` are structs of n / 2 f32, n a multiple of 8 from 8 to 256.

    Example:

    ```mlir
    %d = gk.wgmma %a, %b into %c if %scale {transpose_b} : m64n128k16
    ```
  }];
  let arguments = (ins
    I64:$descriptor_a,
    I64:$descriptor_b,
    Gk_Accumulator:$accumulator,
    I1:$scale,
    UnitAttr:$transpose_a,
    UnitAttr:$transpose_b);
  let results = (outs Gk_Accumulator:$result);
  let assemblyFormat = [{
    $descriptor_a `,` $descriptor_b `into` $accumulator `if` $scale attr-dict
    `:` custom<WgmmaShape>(type($accumulator))
  }];
}

def Gk_WgmmaRaOp : Gk_WgmmaProduct<"wgmma_ra"> {
  let summary = "Warpgroup product of a matrix in registers and one in shared memory";
  let description = [{
    As `gk.wgmma`, with A in registers: four i32 of two bf16 each, the lower half first.
    Register r of thread t = 32 w + lane holds row 16 w + lane / 4 + 8 (r mod 2), columns
    8 (r / 2) + 2 (lane mod 4) + {0, 1}. They too are read asynchronously: the wait that covers
    the product takes them among its `reading` operands (C7513 of ptxas is what a reused one
    gives).

    Constraints:

    *  (C1) `accumulator` and `result` are structs of n / 2 f32, n a multiple of 8 from 8 to 256.
    *  (C2) There are four registers.

    Example:

    ```mlir
    %d = gk.wgmma_ra [%a0, %a1, %a2, %a3], %b into %c if %scale : m64n64k16
    ```
  }];
  let arguments = (ins
    Variadic<I32>:$registers_a,
    I64:$descriptor_b,
    Gk_Accumulator:$accumulator,
    I1:$scale,
    UnitAttr:$transpose_b);
  let results = (outs Gk_Accumulator:$result);
  let assemblyFormat = [{
    ` ` `[` $registers_a `]` `,` $descriptor_b `into` $accumulator `if` $scale attr-dict
    `:` custom<WgmmaShape>(type($accumulator))
  }];
  let hasVerifier = 1;
}

def Gk_WgmmaWaitOp : Gk_PtxOp<"wgmma_wait", [
    NVVMRequiresSMa<[90]>, AllTypesMatch<["accumulator", "result"]>]> {
  let summary = "Wait until at most so many groups of products are in flight";
  let description = [{
    Waits until all but the `groups` newest groups of the warpgroup that were committed
    (`nvvm.wgmma.commit.group.sync.aligned`) are done, and gives back `accumulator`. Where all groups that wrote it are
    covered, the result is an ordinary value; otherwise it is still in flight and may only be
    the accumulator of another product or wait. `reading` takes registers of A that products in
    flight were given; the op keeps them alive and reads nothing.

    One wait covers all groups, but only ties the accumulator it names: with several in flight
    there is one wait for each, of which the second finds nothing left to wait for.

    Constraints:

    *  (C1) `accumulator` is a struct of n / 2 f32, n a multiple of 8 from 8 to 256.
    *  (C2) `groups` is from 0 to 7.

    Example:

    ```mlir
    %c1 = gk.wgmma_wait 0 for %c reading %a0, %a1, %a2, %a3 : m64n64k16
    ```
  }];
  let arguments = (ins
    Gk_Accumulator:$accumulator,
    Variadic<I32>:$reading,
    ConfinedAttr<I32Attr, [IntNonNegative, IntMaxValue<7>]>:$groups);
  let results = (outs Gk_Accumulator:$result);
  let assemblyFormat = [{
    $groups `for` $accumulator (`reading` $reading^)? attr-dict
    `:` custom<WgmmaShape>(type($accumulator))
  }];
}

#endif // OTODUS_GK_WGMMA_OPS_TD

// RUN: otodus compile %s --emit=asm --target=cpu:x86-64-v4 -o - > %t.v4.s
// RUN: FileCheck %s --check-prefix=V4 < %t.v4.s
// RUN: FileCheck %s --check-prefix=SUMS < %t.v4.s
// RUN: otodus compile %s --emit=asm --target=cpu:x86-64-v3 -o - > %t.v3.s
// RUN: FileCheck %s --check-prefix=V3 --implicit-check-not=zmm < %t.v3.s

// The loop over k of a product keeps its sums in registers: one fused multiply-add with a
// broadcast element per row and vector, and nothing of the stack.

// V4-LABEL:   k0_linear_r12:
// V4:           vbroadcastss {{.*%zmm}}
// V4:           vfmadd231ps {{.*%zmm}}
// V4-NOT:       (%rsp)
// V4:           {{[[:space:]]j[a-z]+[[:space:]]+\.L}}

// 12 rows of 2 vectors.
// SUMS-LABEL: k0_linear_r12:
// SUMS-NOT:     call
// SUMS-COUNT-24: vfmadd231ps {{.*%zmm}}
// SUMS-NOT:     call
// SUMS:         retq

// The older target has 256-bit vectors only.
// V3-LABEL:   k0_linear_r12:
// V3:           vbroadcastss {{.*%ymm}}
// V3:           vfmadd231ps {{.*%ymm}}
// V3-NOT:       (%rsp)
// V3:           {{[[:space:]]j[a-z]+[[:space:]]+\.L}}

mega.weight @w : tensor<96x64xf32>
func.func @linear(%x: tensor<?x?x64xf32>) -> tensor<?x?x96xf32> {
  %w = mega.use_weight @w : tensor<96x64xf32>
  %y = mega.linear %x, %w : (tensor<?x?x64xf32>, tensor<96x64xf32>) -> tensor<?x?x96xf32>
  return %y : tensor<?x?x96xf32>
}

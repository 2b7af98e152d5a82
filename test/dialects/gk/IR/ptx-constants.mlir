// Constants become immediates of the inline assembly, which wgmma takes nowhere.
// RUN: otodus-opt %s -convert-nvvm-to-llvm | FileCheck %s

!acc = !llvm.struct<(f32, f32, f32, f32, f32, f32, f32, f32)>

llvm.func @constants(%c: !acc, %scale: i1, %r: i32) {
  %zero = llvm.mlir.constant(0 : i32) : i32
  %null = llvm.mlir.constant(0 : i64) : i64
  // CHECK: "{ .reg .b32 c16; mov.b32 c16, $16; .reg .b32 c17; mov.b32 c17, $17; .reg .b64 c20; mov.b64 c20, $20; wgmma
  // CHECK-SAME: {c16, c17, $18, $19}, c20, $21, 1, 1, 1; }"
  %d = gk.wgmma_ra [%zero, %zero, %r, %r], %null into %c if %scale {transpose_b} : m64n16k16
  // CHECK: "{ .reg .b64 c16; mov.b64 c16, $16; .reg .b64 c17; mov.b64 c17, $17; wgmma
  %e = gk.wgmma %null, %null into %c if %scale : m64n16k16
  llvm.return
}

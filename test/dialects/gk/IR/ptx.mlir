// The inline assembly of every instruction, and that an assembler takes it without complaint.
// RUN: otodus-opt %s -convert-nvvm-to-llvm | FileCheck %s
// RUN: %if ptxas %{ otodus-opt %s -convert-nvvm-to-llvm | mlir-translate --mlir-to-llvmir \
// RUN:   | llc -mtriple=nvptx64-nvidia-cuda -mcpu=sm_90a -mattr=+ptx80 -O3 -o %t.ptx %}
// RUN: %if ptxas %{ ptxas -arch=sm_90a -v %t.ptx -o %t.cubin 2>&1 | FileCheck %s --check-prefix=PTXAS %}

// PTXAS-NOT: C75
// PTXAS: 0 bytes spill stores, 0 bytes spill loads
// PTXAS-NOT: C75

!acc = !llvm.struct<(f32, f32, f32, f32, f32, f32, f32, f32)>

// CHECK-LABEL: @chain
llvm.func @chain(%a: i64, %b: i64, %scale: i1, %out: !llvm.ptr<1>)
    attributes {nvvm.kernel, nvvm.reqntid = array<i32: 128, 1, 1>} {
  %c = llvm.mlir.poison : !acc
  // Registers of A are there before the fence.
  %r0 = llvm.load volatile %out : !llvm.ptr<1> -> i32
  %r1 = llvm.load volatile %out : !llvm.ptr<1> -> i32
  %r2 = llvm.load volatile %out : !llvm.ptr<1> -> i32
  %r3 = llvm.load volatile %out : !llvm.ptr<1> -> i32
  nvvm.wgmma.fence.aligned
  %no = llvm.mlir.constant(false) : i1
  %yes = llvm.mlir.constant(true) : i1
  // The flag is constant: an immediate, which becomes a predicate.
  // CHECK: llvm.inline_asm has_side_effects asm_dialect = att
  // CHECK-SAME: "{ .reg .pred p; setp.ne.b32 p, $18, 0; wgmma.mma_async.sync.aligned.m64n16k16.f32.bf16.bf16 {$0, $1, $2, $3, $4, $5, $6, $7}, $16, $17, p, 1, 1, 0, 0; }"
  // CHECK-SAME: "=f,=f,=f,=f,=f,=f,=f,=f,0,1,2,3,4,5,6,7,l,l,n"
  %d0 = gk.wgmma %a, %b into %c if %no : m64n16k16
  // CHECK: "{ wgmma.mma_async.sync.aligned.m64n16k16.f32.bf16.bf16 {$0, $1, $2, $3, $4, $5, $6, $7}, $16, $17, $18, 1, 1, 1, 0; }"
  // CHECK-SAME: l,l,b"
  %d1 = gk.wgmma %a, %b into %d0 if %scale {transpose_a} : m64n16k16
  // CHECK: $16, $17, p, 1, 1, 0, 1; }"
  %d2 = gk.wgmma %a, %b into %d1 if %yes {transpose_b} : m64n16k16
  // CHECK: "{ .reg .pred p; setp.ne.b32 p, $21, 0; wgmma.mma_async.sync.aligned.m64n16k16.f32.bf16.bf16 {$0, $1, $2, $3, $4, $5, $6, $7}, {$16, $17, $18, $19}, $20, p, 1, 1, 0; }"
  // CHECK-SAME: 7,r,r,r,r,l,n"
  %d3 = gk.wgmma_ra [%r0, %r1, %r2, %r3], %b into %d2 if %yes : m64n16k16
  nvvm.wgmma.commit.group.sync.aligned
  // CHECK: "wgmma.wait_group.sync.aligned 0;", "=f,=f,=f,=f,=f,=f,=f,=f,0,1,2,3,4,5,6,7,r,r,r,r"
  %d5 = gk.wgmma_wait 0 for %d3 reading %r0, %r1, %r2, %r3 : m64n16k16
  %x = llvm.extractvalue %d5[0] : !acc
  %y = llvm.extractvalue %d5[7] : !acc
  %z = llvm.fadd %x, %y : f32
  llvm.store %z, %out : f32, !llvm.ptr<1>
  llvm.return
}

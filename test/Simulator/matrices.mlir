// Matrices of a warp: ldmatrix, mma.sync, stmatrix against products and copies.

// RUN: otodus-sim-run %s --kernel=bf16 --arg=a:bf16[256]:random --arg=b:bf16[128]:random --arg=out:f32[128]:undef --product=out:a,b:16x8x16:1e-6 | FileCheck %s
// RUN: otodus-sim-run %s --kernel=f16 --arg=a:f16[256]:random --arg=b:f16[128]:random --arg=out:f32[128]:undef --product=out:a,b:16x8x16:1e-6 | FileCheck %s
// Operands are f32 with more bits than tf32 takes: 2^-11 of each of 8 products is lost at most.
// RUN: otodus-sim-run %s --kernel=tf32 --arg=a:f32[128]:random --arg=b:f32[64]:random --arg=out:f32[128]:undef --product=out:a,b:16x8x8:1.6e-2 | FileCheck %s
// RUN: otodus-sim-run %s --kernel=tf32 --arg=a:f32[128]:iota --arg=b:f32[64]:iota --arg=out:f32[128]:undef --product=out:a,b:16x8x8:1e-6 | FileCheck %s
// CHECK: status: ok
// CHECK: product: 0 of 128 elements
// RUN: otodus-sim-run %s --kernel=transposed --arg=a:bf16[256]:identity:16 --arg=b:bf16[128]:iota --arg=out:f32[128]:undef --print=out | FileCheck %s --check-prefix=TRANS
// TRANS: status: ok
// TRANS-NEXT: out = 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 {{.*}} 125 126 127
// RUN: otodus-sim-run %s --kernel=copy --arg=a:bf16[256]:iota --arg=out:bf16[256]:undef --print=out --counters | FileCheck %s --check-prefix=COPY
// COPY: status: ok
// COPY-NEXT: out = 0 8 16 24 32 40 48 56 1 9 {{.*}} 55 63 64 72 80 {{.*}} 247 255
// Rows of a matrix lie side by side: no conflicts.
// COPY: shared 8 conflicts 0
// RUN: otodus-sim-run %s --kernel=conflicts --counters | FileCheck %s --check-prefix=BANKS
// Rows 128 bytes apart: all eight are in the same banks.
// BANKS: shared 1 conflicts 7
// RUN: otodus-sim-run %s --kernel=alone | FileCheck %s --check-prefix=ALONE
// ALONE: status: fault
// ALONE-NEXT: alone: deadlock: all threads that have not returned wait for each other
// ALONE-NEXT: threads 0-15 wait at nvvm.mma.sync at {{.*}}, for the other lanes of its warp
// ALONE-NEXT: threads 16-31 have returned
// RUN: otodus-sim-run %s --kernel=two_products | FileCheck %s --check-prefix=TWO
// TWO: two_products: divergent collective: nvvm.mma.sync at {{.*}}: thread 16 (lane 16) of warp 0 takes part with lanes 0-31, but lanes 0-15 of this warp are at nvvm.mma.sync
// RUN: otodus-sim-run %s --kernel=odd_rows | FileCheck %s --check-prefix=ODD
// ODD: odd_rows: misaligned access: nvvm.ldmatrix at {{.*}}: reads 16 bytes at shared byte 8, which is not a multiple of 16 (thread 0 of block (0,0,0))

llvm.mlir.global external @tiles() {addr_space = 3 : i32, alignment = 128 : i64} : !llvm.array<1024 x i8>

llvm.func @bf16(%a: !llvm.ptr<1>, %b: !llvm.ptr<1>, %out: !llvm.ptr<1>) attributes {nvvm.kernel} {
  %c1 = llvm.mlir.constant(1 : i32) : i32
  %c2 = llvm.mlir.constant(2 : i32) : i32
  %c3 = llvm.mlir.constant(3 : i32) : i32
  %c4 = llvm.mlir.constant(4 : i32) : i32
  %c7 = llvm.mlir.constant(7 : i32) : i32
  %c8 = llvm.mlir.constant(8 : i32) : i32
  %c15 = llvm.mlir.constant(15 : i32) : i32
  %c16 = llvm.mlir.constant(16 : i32) : i32
  %c32 = llvm.mlir.constant(32 : i32) : i32
  %zero = llvm.mlir.constant(0.0 : f32) : f32
  %lane = nvvm.read.ptx.sreg.laneid : i32
  %g = llvm.lshr %lane, %c2 : i32
  %q = llvm.and %lane, %c3 : i32
  %tile = llvm.mlir.addressof @tiles : !llvm.ptr<3>
  %tileB = llvm.getelementptr %tile[512] : (!llvm.ptr<3>) -> !llvm.ptr<3>, i8
  %at = llvm.mul %lane, %c16 : i32
  %toA = llvm.getelementptr %tile[%at] : (!llvm.ptr<3>, i32) -> !llvm.ptr<3>, i8
  %fromA = llvm.getelementptr %a[%at] : (!llvm.ptr<1>, i32) -> !llvm.ptr<1>, i8
  nvvm.cp.async.shared.global %toA, %fromA, 16, cache = cg : !llvm.ptr<3>, !llvm.ptr<1>
  %copiesB = llvm.icmp "slt" %lane, %c16 : i32
  llvm.cond_br %copiesB, ^copy, ^staged
^copy:
  %toB = llvm.getelementptr %tileB[%at] : (!llvm.ptr<3>, i32) -> !llvm.ptr<3>, i8
  %fromB = llvm.getelementptr %b[%at] : (!llvm.ptr<1>, i32) -> !llvm.ptr<1>, i8
  nvvm.cp.async.shared.global %toB, %fromB, 16, cache = cg : !llvm.ptr<3>, !llvm.ptr<1>
  llvm.br ^staged
^staged:
  nvvm.cp.async.commit.group
  nvvm.cp.async.wait.group 0
  nvvm.barrier0
  // A is [16][16]: row lane % 16, column 8 (lane / 16).
  %low = llvm.and %lane, %c15 : i32
  %high = llvm.lshr %lane, %c4 : i32
  %rowA = llvm.mul %low, %c32 : i32
  %columnA = llvm.mul %high, %c16 : i32
  %offsetA = llvm.add %rowA, %columnA : i32
  %pA = llvm.getelementptr %tile[%offsetA] : (!llvm.ptr<3>, i32) -> !llvm.ptr<3>, i8
  %mA = nvvm.ldmatrix %pA {num = 4 : i32, layout = #nvvm.mma_layout<row>, shape = #nvvm.ld_st_matrix_shape<m = 8, n = 8>, eltType = #nvvm.ld_st_matrix_elt_type<b16>} : (!llvm.ptr<3>) -> !llvm.struct<(i32, i32, i32, i32)>
  // B is [8][16]: row lane % 8, column 8 (lane / 8 % 2).
  %inB = llvm.and %lane, %c7 : i32
  %rowB = llvm.mul %inB, %c32 : i32
  %eighth = llvm.lshr %lane, %c3 : i32
  %second = llvm.and %eighth, %c1 : i32
  %columnB = llvm.mul %second, %c16 : i32
  %offsetB = llvm.add %rowB, %columnB : i32
  %pB = llvm.getelementptr %tileB[%offsetB] : (!llvm.ptr<3>, i32) -> !llvm.ptr<3>, i8
  %mB = nvvm.ldmatrix %pB {num = 2 : i32, layout = #nvvm.mma_layout<row>, shape = #nvvm.ld_st_matrix_shape<m = 8, n = 8>, eltType = #nvvm.ld_st_matrix_elt_type<b16>} : (!llvm.ptr<3>) -> !llvm.struct<(i32, i32)>
  %a0 = llvm.extractvalue %mA[0] : !llvm.struct<(i32, i32, i32, i32)>
  %a1 = llvm.extractvalue %mA[1] : !llvm.struct<(i32, i32, i32, i32)>
  %a2 = llvm.extractvalue %mA[2] : !llvm.struct<(i32, i32, i32, i32)>
  %a3 = llvm.extractvalue %mA[3] : !llvm.struct<(i32, i32, i32, i32)>
  %b0 = llvm.extractvalue %mB[0] : !llvm.struct<(i32, i32)>
  %b1 = llvm.extractvalue %mB[1] : !llvm.struct<(i32, i32)>
  %d = nvvm.mma.sync A[%a0, %a1, %a2, %a3] B[%b0, %b1] C[%zero, %zero, %zero, %zero]
      {layoutA = #nvvm.mma_layout<row>, layoutB = #nvvm.mma_layout<col>,
       multiplicandAPtxType = #nvvm.mma_type<bf16>, multiplicandBPtxType = #nvvm.mma_type<bf16>,
       shape = #nvvm.shape<m = 16, n = 8, k = 16>} : (i32, i32, f32) -> !llvm.struct<(f32, f32, f32, f32)>
  %row = llvm.mul %g, %c8 : i32
  %pair = llvm.mul %q, %c2 : i32
  %first = llvm.add %row, %pair : i32
  %p0 = llvm.getelementptr %out[%first] : (!llvm.ptr<1>, i32) -> !llvm.ptr<1>, f32
  %d0 = llvm.extractvalue %d[0] : !llvm.struct<(f32, f32, f32, f32)>
  llvm.store %d0, %p0 : f32, !llvm.ptr<1>
  %d1 = llvm.extractvalue %d[1] : !llvm.struct<(f32, f32, f32, f32)>
  %p1 = llvm.getelementptr %p0[1] : (!llvm.ptr<1>) -> !llvm.ptr<1>, f32
  llvm.store %d1, %p1 : f32, !llvm.ptr<1>
  %d2 = llvm.extractvalue %d[2] : !llvm.struct<(f32, f32, f32, f32)>
  %p64 = llvm.getelementptr %p0[64] : (!llvm.ptr<1>) -> !llvm.ptr<1>, f32
  llvm.store %d2, %p64 : f32, !llvm.ptr<1>
  %d3 = llvm.extractvalue %d[3] : !llvm.struct<(f32, f32, f32, f32)>
  %p65 = llvm.getelementptr %p0[65] : (!llvm.ptr<1>) -> !llvm.ptr<1>, f32
  llvm.store %d3, %p65 : f32, !llvm.ptr<1>
  llvm.return
}

llvm.func @f16(%a: !llvm.ptr<1>, %b: !llvm.ptr<1>, %out: !llvm.ptr<1>) attributes {nvvm.kernel} {
  %c1 = llvm.mlir.constant(1 : i32) : i32
  %c2 = llvm.mlir.constant(2 : i32) : i32
  %c3 = llvm.mlir.constant(3 : i32) : i32
  %c4 = llvm.mlir.constant(4 : i32) : i32
  %c7 = llvm.mlir.constant(7 : i32) : i32
  %c8 = llvm.mlir.constant(8 : i32) : i32
  %c15 = llvm.mlir.constant(15 : i32) : i32
  %c16 = llvm.mlir.constant(16 : i32) : i32
  %c32 = llvm.mlir.constant(32 : i32) : i32
  %zero = llvm.mlir.constant(0.0 : f32) : f32
  %lane = nvvm.read.ptx.sreg.laneid : i32
  %g = llvm.lshr %lane, %c2 : i32
  %q = llvm.and %lane, %c3 : i32
  %tile = llvm.mlir.addressof @tiles : !llvm.ptr<3>
  %tileB = llvm.getelementptr %tile[512] : (!llvm.ptr<3>) -> !llvm.ptr<3>, i8
  %at = llvm.mul %lane, %c16 : i32
  %toA = llvm.getelementptr %tile[%at] : (!llvm.ptr<3>, i32) -> !llvm.ptr<3>, i8
  %fromA = llvm.getelementptr %a[%at] : (!llvm.ptr<1>, i32) -> !llvm.ptr<1>, i8
  nvvm.cp.async.shared.global %toA, %fromA, 16, cache = cg : !llvm.ptr<3>, !llvm.ptr<1>
  %copiesB = llvm.icmp "slt" %lane, %c16 : i32
  llvm.cond_br %copiesB, ^copy, ^staged
^copy:
  %toB = llvm.getelementptr %tileB[%at] : (!llvm.ptr<3>, i32) -> !llvm.ptr<3>, i8
  %fromB = llvm.getelementptr %b[%at] : (!llvm.ptr<1>, i32) -> !llvm.ptr<1>, i8
  nvvm.cp.async.shared.global %toB, %fromB, 16, cache = cg : !llvm.ptr<3>, !llvm.ptr<1>
  llvm.br ^staged
^staged:
  nvvm.cp.async.commit.group
  nvvm.cp.async.wait.group 0
  nvvm.barrier0
  // A is [16][16]: row lane % 16, column 8 (lane / 16).
  %low = llvm.and %lane, %c15 : i32
  %high = llvm.lshr %lane, %c4 : i32
  %rowA = llvm.mul %low, %c32 : i32
  %columnA = llvm.mul %high, %c16 : i32
  %offsetA = llvm.add %rowA, %columnA : i32
  %pA = llvm.getelementptr %tile[%offsetA] : (!llvm.ptr<3>, i32) -> !llvm.ptr<3>, i8
  %mA = nvvm.ldmatrix %pA {num = 4 : i32, layout = #nvvm.mma_layout<row>, shape = #nvvm.ld_st_matrix_shape<m = 8, n = 8>, eltType = #nvvm.ld_st_matrix_elt_type<b16>} : (!llvm.ptr<3>) -> !llvm.struct<(i32, i32, i32, i32)>
  // B is [8][16]: row lane % 8, column 8 (lane / 8 % 2).
  %inB = llvm.and %lane, %c7 : i32
  %rowB = llvm.mul %inB, %c32 : i32
  %eighth = llvm.lshr %lane, %c3 : i32
  %second = llvm.and %eighth, %c1 : i32
  %columnB = llvm.mul %second, %c16 : i32
  %offsetB = llvm.add %rowB, %columnB : i32
  %pB = llvm.getelementptr %tileB[%offsetB] : (!llvm.ptr<3>, i32) -> !llvm.ptr<3>, i8
  %mB = nvvm.ldmatrix %pB {num = 2 : i32, layout = #nvvm.mma_layout<row>, shape = #nvvm.ld_st_matrix_shape<m = 8, n = 8>, eltType = #nvvm.ld_st_matrix_elt_type<b16>} : (!llvm.ptr<3>) -> !llvm.struct<(i32, i32)>
  %xa0 = llvm.extractvalue %mA[0] : !llvm.struct<(i32, i32, i32, i32)>
  %a0 = llvm.bitcast %xa0 : i32 to vector<2xf16>
  %xa1 = llvm.extractvalue %mA[1] : !llvm.struct<(i32, i32, i32, i32)>
  %a1 = llvm.bitcast %xa1 : i32 to vector<2xf16>
  %xa2 = llvm.extractvalue %mA[2] : !llvm.struct<(i32, i32, i32, i32)>
  %a2 = llvm.bitcast %xa2 : i32 to vector<2xf16>
  %xa3 = llvm.extractvalue %mA[3] : !llvm.struct<(i32, i32, i32, i32)>
  %a3 = llvm.bitcast %xa3 : i32 to vector<2xf16>
  %xb0 = llvm.extractvalue %mB[0] : !llvm.struct<(i32, i32)>
  %b0 = llvm.bitcast %xb0 : i32 to vector<2xf16>
  %xb1 = llvm.extractvalue %mB[1] : !llvm.struct<(i32, i32)>
  %b1 = llvm.bitcast %xb1 : i32 to vector<2xf16>
  %d = nvvm.mma.sync A[%a0, %a1, %a2, %a3] B[%b0, %b1] C[%zero, %zero, %zero, %zero]
      {layoutA = #nvvm.mma_layout<row>, layoutB = #nvvm.mma_layout<col>,
       multiplicandAPtxType = #nvvm.mma_type<f16>, multiplicandBPtxType = #nvvm.mma_type<f16>,
       shape = #nvvm.shape<m = 16, n = 8, k = 16>} : (vector<2xf16>, vector<2xf16>, f32) -> !llvm.struct<(f32, f32, f32, f32)>
  %row = llvm.mul %g, %c8 : i32
  %pair = llvm.mul %q, %c2 : i32
  %first = llvm.add %row, %pair : i32
  %p0 = llvm.getelementptr %out[%first] : (!llvm.ptr<1>, i32) -> !llvm.ptr<1>, f32
  %d0 = llvm.extractvalue %d[0] : !llvm.struct<(f32, f32, f32, f32)>
  llvm.store %d0, %p0 : f32, !llvm.ptr<1>
  %d1 = llvm.extractvalue %d[1] : !llvm.struct<(f32, f32, f32, f32)>
  %p1 = llvm.getelementptr %p0[1] : (!llvm.ptr<1>) -> !llvm.ptr<1>, f32
  llvm.store %d1, %p1 : f32, !llvm.ptr<1>
  %d2 = llvm.extractvalue %d[2] : !llvm.struct<(f32, f32, f32, f32)>
  %p64 = llvm.getelementptr %p0[64] : (!llvm.ptr<1>) -> !llvm.ptr<1>, f32
  llvm.store %d2, %p64 : f32, !llvm.ptr<1>
  %d3 = llvm.extractvalue %d[3] : !llvm.struct<(f32, f32, f32, f32)>
  %p65 = llvm.getelementptr %p0[65] : (!llvm.ptr<1>) -> !llvm.ptr<1>, f32
  llvm.store %d3, %p65 : f32, !llvm.ptr<1>
  llvm.return
}

llvm.func @tf32(%a: !llvm.ptr<1>, %b: !llvm.ptr<1>, %out: !llvm.ptr<1>) attributes {nvvm.kernel} {
  %zeroi = llvm.mlir.constant(0 : i32) : i32
  %c1 = llvm.mlir.constant(1 : i32) : i32
  %c2 = llvm.mlir.constant(2 : i32) : i32
  %c3 = llvm.mlir.constant(3 : i32) : i32
  %c4 = llvm.mlir.constant(4 : i32) : i32
  %c7 = llvm.mlir.constant(7 : i32) : i32
  %c8 = llvm.mlir.constant(8 : i32) : i32
  %c15 = llvm.mlir.constant(15 : i32) : i32
  %c16 = llvm.mlir.constant(16 : i32) : i32
  %c32 = llvm.mlir.constant(32 : i32) : i32
  %zero = llvm.mlir.constant(0.0 : f32) : f32
  %lane = nvvm.read.ptx.sreg.laneid : i32
  %g = llvm.lshr %lane, %c2 : i32
  %q = llvm.and %lane, %c3 : i32
  %ra0 = llvm.add %g, %zeroi : i32
  %ca0 = llvm.add %q, %zeroi : i32
  %ma0 = llvm.mul %ra0, %c8 : i32
  %ia0 = llvm.add %ma0, %ca0 : i32
  %pa0 = llvm.getelementptr %a[%ia0] : (!llvm.ptr<1>, i32) -> !llvm.ptr<1>, i32
  %a0 = llvm.load %pa0 : !llvm.ptr<1> -> i32
  %ra1 = llvm.add %g, %c8 : i32
  %ca1 = llvm.add %q, %zeroi : i32
  %ma1 = llvm.mul %ra1, %c8 : i32
  %ia1 = llvm.add %ma1, %ca1 : i32
  %pa1 = llvm.getelementptr %a[%ia1] : (!llvm.ptr<1>, i32) -> !llvm.ptr<1>, i32
  %a1 = llvm.load %pa1 : !llvm.ptr<1> -> i32
  %ra2 = llvm.add %g, %zeroi : i32
  %ca2 = llvm.add %q, %c4 : i32
  %ma2 = llvm.mul %ra2, %c8 : i32
  %ia2 = llvm.add %ma2, %ca2 : i32
  %pa2 = llvm.getelementptr %a[%ia2] : (!llvm.ptr<1>, i32) -> !llvm.ptr<1>, i32
  %a2 = llvm.load %pa2 : !llvm.ptr<1> -> i32
  %ra3 = llvm.add %g, %c8 : i32
  %ca3 = llvm.add %q, %c4 : i32
  %ma3 = llvm.mul %ra3, %c8 : i32
  %ia3 = llvm.add %ma3, %ca3 : i32
  %pa3 = llvm.getelementptr %a[%ia3] : (!llvm.ptr<1>, i32) -> !llvm.ptr<1>, i32
  %a3 = llvm.load %pa3 : !llvm.ptr<1> -> i32
  %cb0 = llvm.add %q, %zeroi : i32
  %mb0 = llvm.mul %g, %c8 : i32
  %ib0 = llvm.add %mb0, %cb0 : i32
  %pb0 = llvm.getelementptr %b[%ib0] : (!llvm.ptr<1>, i32) -> !llvm.ptr<1>, i32
  %b0 = llvm.load %pb0 : !llvm.ptr<1> -> i32
  %cb1 = llvm.add %q, %c4 : i32
  %mb1 = llvm.mul %g, %c8 : i32
  %ib1 = llvm.add %mb1, %cb1 : i32
  %pb1 = llvm.getelementptr %b[%ib1] : (!llvm.ptr<1>, i32) -> !llvm.ptr<1>, i32
  %b1 = llvm.load %pb1 : !llvm.ptr<1> -> i32
  %d = nvvm.mma.sync A[%a0, %a1, %a2, %a3] B[%b0, %b1] C[%zero, %zero, %zero, %zero]
      {layoutA = #nvvm.mma_layout<row>, layoutB = #nvvm.mma_layout<col>,
       multiplicandAPtxType = #nvvm.mma_type<tf32>, multiplicandBPtxType = #nvvm.mma_type<tf32>,
       shape = #nvvm.shape<m = 16, n = 8, k = 8>} : (i32, i32, f32) -> !llvm.struct<(f32, f32, f32, f32)>
  %row = llvm.mul %g, %c8 : i32
  %pair = llvm.mul %q, %c2 : i32
  %first = llvm.add %row, %pair : i32
  %p0 = llvm.getelementptr %out[%first] : (!llvm.ptr<1>, i32) -> !llvm.ptr<1>, f32
  %d0 = llvm.extractvalue %d[0] : !llvm.struct<(f32, f32, f32, f32)>
  llvm.store %d0, %p0 : f32, !llvm.ptr<1>
  %d1 = llvm.extractvalue %d[1] : !llvm.struct<(f32, f32, f32, f32)>
  %p1 = llvm.getelementptr %p0[1] : (!llvm.ptr<1>) -> !llvm.ptr<1>, f32
  llvm.store %d1, %p1 : f32, !llvm.ptr<1>
  %d2 = llvm.extractvalue %d[2] : !llvm.struct<(f32, f32, f32, f32)>
  %p64 = llvm.getelementptr %p0[64] : (!llvm.ptr<1>) -> !llvm.ptr<1>, f32
  llvm.store %d2, %p64 : f32, !llvm.ptr<1>
  %d3 = llvm.extractvalue %d[3] : !llvm.struct<(f32, f32, f32, f32)>
  %p65 = llvm.getelementptr %p0[65] : (!llvm.ptr<1>) -> !llvm.ptr<1>, f32
  llvm.store %d3, %p65 : f32, !llvm.ptr<1>
  llvm.return
}

llvm.func @transposed(%a: !llvm.ptr<1>, %b: !llvm.ptr<1>, %out: !llvm.ptr<1>) attributes {nvvm.kernel} {
  %c1 = llvm.mlir.constant(1 : i32) : i32
  %c2 = llvm.mlir.constant(2 : i32) : i32
  %c3 = llvm.mlir.constant(3 : i32) : i32
  %c4 = llvm.mlir.constant(4 : i32) : i32
  %c7 = llvm.mlir.constant(7 : i32) : i32
  %c8 = llvm.mlir.constant(8 : i32) : i32
  %c15 = llvm.mlir.constant(15 : i32) : i32
  %c16 = llvm.mlir.constant(16 : i32) : i32
  %c32 = llvm.mlir.constant(32 : i32) : i32
  %zero = llvm.mlir.constant(0.0 : f32) : f32
  %lane = nvvm.read.ptx.sreg.laneid : i32
  %g = llvm.lshr %lane, %c2 : i32
  %q = llvm.and %lane, %c3 : i32
  %tile = llvm.mlir.addressof @tiles : !llvm.ptr<3>
  %tileB = llvm.getelementptr %tile[512] : (!llvm.ptr<3>) -> !llvm.ptr<3>, i8
  %at = llvm.mul %lane, %c16 : i32
  %toA = llvm.getelementptr %tile[%at] : (!llvm.ptr<3>, i32) -> !llvm.ptr<3>, i8
  %fromA = llvm.getelementptr %a[%at] : (!llvm.ptr<1>, i32) -> !llvm.ptr<1>, i8
  nvvm.cp.async.shared.global %toA, %fromA, 16, cache = cg : !llvm.ptr<3>, !llvm.ptr<1>
  %copiesB = llvm.icmp "slt" %lane, %c16 : i32
  llvm.cond_br %copiesB, ^copy, ^staged
^copy:
  %toB = llvm.getelementptr %tileB[%at] : (!llvm.ptr<3>, i32) -> !llvm.ptr<3>, i8
  %fromB = llvm.getelementptr %b[%at] : (!llvm.ptr<1>, i32) -> !llvm.ptr<1>, i8
  nvvm.cp.async.shared.global %toB, %fromB, 16, cache = cg : !llvm.ptr<3>, !llvm.ptr<1>
  llvm.br ^staged
^staged:
  nvvm.cp.async.commit.group
  nvvm.cp.async.wait.group 0
  nvvm.barrier0
  // A is [16][16]: row lane % 16, column 8 (lane / 16).
  %low = llvm.and %lane, %c15 : i32
  %high = llvm.lshr %lane, %c4 : i32
  %rowA = llvm.mul %low, %c32 : i32
  %columnA = llvm.mul %high, %c16 : i32
  %offsetA = llvm.add %rowA, %columnA : i32
  %pA = llvm.getelementptr %tile[%offsetA] : (!llvm.ptr<3>, i32) -> !llvm.ptr<3>, i8
  %mA = nvvm.ldmatrix %pA {num = 4 : i32, layout = #nvvm.mma_layout<row>, shape = #nvvm.ld_st_matrix_shape<m = 8, n = 8>, eltType = #nvvm.ld_st_matrix_elt_type<b16>} : (!llvm.ptr<3>) -> !llvm.struct<(i32, i32, i32, i32)>
  // B is [16][8], the rows are k: transposed while it is loaded.
  %offsetB = llvm.mul %low, %c16 : i32
  %pB = llvm.getelementptr %tileB[%offsetB] : (!llvm.ptr<3>, i32) -> !llvm.ptr<3>, i8
  %mB = nvvm.ldmatrix %pB {num = 2 : i32, layout = #nvvm.mma_layout<col>, shape = #nvvm.ld_st_matrix_shape<m = 8, n = 8>, eltType = #nvvm.ld_st_matrix_elt_type<b16>} : (!llvm.ptr<3>) -> !llvm.struct<(i32, i32)>
  %a0 = llvm.extractvalue %mA[0] : !llvm.struct<(i32, i32, i32, i32)>
  %a1 = llvm.extractvalue %mA[1] : !llvm.struct<(i32, i32, i32, i32)>
  %a2 = llvm.extractvalue %mA[2] : !llvm.struct<(i32, i32, i32, i32)>
  %a3 = llvm.extractvalue %mA[3] : !llvm.struct<(i32, i32, i32, i32)>
  %b0 = llvm.extractvalue %mB[0] : !llvm.struct<(i32, i32)>
  %b1 = llvm.extractvalue %mB[1] : !llvm.struct<(i32, i32)>
  %d = nvvm.mma.sync A[%a0, %a1, %a2, %a3] B[%b0, %b1] C[%zero, %zero, %zero, %zero]
      {layoutA = #nvvm.mma_layout<row>, layoutB = #nvvm.mma_layout<col>,
       multiplicandAPtxType = #nvvm.mma_type<bf16>, multiplicandBPtxType = #nvvm.mma_type<bf16>,
       shape = #nvvm.shape<m = 16, n = 8, k = 16>} : (i32, i32, f32) -> !llvm.struct<(f32, f32, f32, f32)>
  %row = llvm.mul %g, %c8 : i32
  %pair = llvm.mul %q, %c2 : i32
  %first = llvm.add %row, %pair : i32
  %p0 = llvm.getelementptr %out[%first] : (!llvm.ptr<1>, i32) -> !llvm.ptr<1>, f32
  %d0 = llvm.extractvalue %d[0] : !llvm.struct<(f32, f32, f32, f32)>
  llvm.store %d0, %p0 : f32, !llvm.ptr<1>
  %d1 = llvm.extractvalue %d[1] : !llvm.struct<(f32, f32, f32, f32)>
  %p1 = llvm.getelementptr %p0[1] : (!llvm.ptr<1>) -> !llvm.ptr<1>, f32
  llvm.store %d1, %p1 : f32, !llvm.ptr<1>
  %d2 = llvm.extractvalue %d[2] : !llvm.struct<(f32, f32, f32, f32)>
  %p64 = llvm.getelementptr %p0[64] : (!llvm.ptr<1>) -> !llvm.ptr<1>, f32
  llvm.store %d2, %p64 : f32, !llvm.ptr<1>
  %d3 = llvm.extractvalue %d[3] : !llvm.struct<(f32, f32, f32, f32)>
  %p65 = llvm.getelementptr %p0[65] : (!llvm.ptr<1>) -> !llvm.ptr<1>, f32
  llvm.store %d3, %p65 : f32, !llvm.ptr<1>
  llvm.return
}

// Four matrices through registers, transposed on the way out: elements of each 8x8 block of 64
// consecutive elements change places.
llvm.func @copy(%a: !llvm.ptr<1>, %out: !llvm.ptr<1>) attributes {nvvm.kernel} {
  %c16 = llvm.mlir.constant(16 : i32) : i32
  %lane = nvvm.read.ptx.sreg.laneid : i32
  %tile = llvm.mlir.addressof @tiles : !llvm.ptr<3>
  %at = llvm.mul %lane, %c16 : i32
  %p = llvm.getelementptr %tile[%at] : (!llvm.ptr<3>, i32) -> !llvm.ptr<3>, i8
  %r = llvm.getelementptr %p[512] : (!llvm.ptr<3>) -> !llvm.ptr<3>, i8
  %from = llvm.getelementptr %a[%at] : (!llvm.ptr<1>, i32) -> !llvm.ptr<1>, i8
  %row = llvm.load %from {alignment = 16 : i64} : !llvm.ptr<1> -> vector<4xi32>
  llvm.store %row, %p {alignment = 16 : i64} : vector<4xi32>, !llvm.ptr<3>
  nvvm.barrier0
  %m = nvvm.ldmatrix %p {num = 4 : i32, layout = #nvvm.mma_layout<row>, shape = #nvvm.ld_st_matrix_shape<m = 8, n = 8>, eltType = #nvvm.ld_st_matrix_elt_type<b16>} : (!llvm.ptr<3>) -> !llvm.struct<(i32, i32, i32, i32)>
  %m0 = llvm.extractvalue %m[0] : !llvm.struct<(i32, i32, i32, i32)>
  %m1 = llvm.extractvalue %m[1] : !llvm.struct<(i32, i32, i32, i32)>
  %m2 = llvm.extractvalue %m[2] : !llvm.struct<(i32, i32, i32, i32)>
  %m3 = llvm.extractvalue %m[3] : !llvm.struct<(i32, i32, i32, i32)>
  nvvm.stmatrix %r, %m0, %m1, %m2, %m3 {layout = #nvvm.mma_layout<col>, shape = #nvvm.ld_st_matrix_shape<m = 8, n = 8>, eltType = #nvvm.ld_st_matrix_elt_type<b16>} : !llvm.ptr<3>, i32, i32, i32, i32
  nvvm.barrier0
  %x = llvm.load %r {alignment = 16 : i64} : !llvm.ptr<3> -> vector<4xi32>
  %to = llvm.getelementptr %out[%at] : (!llvm.ptr<1>, i32) -> !llvm.ptr<1>, i8
  llvm.store %x, %to {alignment = 16 : i64} : vector<4xi32>, !llvm.ptr<1>
  llvm.return
}

llvm.func @conflicts() attributes {nvvm.kernel} {
  %c7 = llvm.mlir.constant(7 : i32) : i32
  %c128 = llvm.mlir.constant(128 : i32) : i32
  %lane = nvvm.read.ptx.sreg.laneid : i32
  %tile = llvm.mlir.addressof @tiles : !llvm.ptr<3>
  %row = llvm.and %lane, %c7 : i32
  %at = llvm.mul %row, %c128 : i32
  %p = llvm.getelementptr %tile[%at] : (!llvm.ptr<3>, i32) -> !llvm.ptr<3>, i8
  %m = nvvm.ldmatrix %p {num = 1 : i32, layout = #nvvm.mma_layout<row>, shape = #nvvm.ld_st_matrix_shape<m = 8, n = 8>, eltType = #nvvm.ld_st_matrix_elt_type<b16>} : (!llvm.ptr<3>) -> i32
  llvm.return
}

llvm.func @odd_rows() attributes {nvvm.kernel} {
  %tile = llvm.mlir.addressof @tiles : !llvm.ptr<3>
  %p = llvm.getelementptr %tile[8] : (!llvm.ptr<3>) -> !llvm.ptr<3>, i8
  %m = nvvm.ldmatrix %p {num = 1 : i32, layout = #nvvm.mma_layout<row>, shape = #nvvm.ld_st_matrix_shape<m = 8, n = 8>, eltType = #nvvm.ld_st_matrix_elt_type<b16>} : (!llvm.ptr<3>) -> i32
  llvm.return
}

// Half of a warp multiplies.
llvm.func @alone() attributes {nvvm.kernel} {
  %c16 = llvm.mlir.constant(16 : i32) : i32
  %zero = llvm.mlir.constant(0.0 : f32) : f32
  %lane = nvvm.read.ptx.sreg.laneid : i32
  %low = llvm.icmp "slt" %lane, %c16 : i32
  llvm.cond_br %low, ^product, ^end
^product:
  %d = nvvm.mma.sync A[%c16, %c16, %c16, %c16] B[%c16, %c16] C[%zero, %zero, %zero, %zero]
      {layoutA = #nvvm.mma_layout<row>, layoutB = #nvvm.mma_layout<col>,
       multiplicandAPtxType = #nvvm.mma_type<bf16>, multiplicandBPtxType = #nvvm.mma_type<bf16>,
       shape = #nvvm.shape<m = 16, n = 8, k = 16>} : (i32, i32, f32) -> !llvm.struct<(f32, f32, f32, f32)>
  llvm.br ^end
^end:
  llvm.return
}

// Each half has a product of its own.
llvm.func @two_products() attributes {nvvm.kernel} {
  %c16 = llvm.mlir.constant(16 : i32) : i32
  %zero = llvm.mlir.constant(0.0 : f32) : f32
  %lane = nvvm.read.ptx.sreg.laneid : i32
  %low = llvm.icmp "slt" %lane, %c16 : i32
  llvm.cond_br %low, ^first, ^second
^first:
  %d = nvvm.mma.sync A[%c16, %c16, %c16, %c16] B[%c16, %c16] C[%zero, %zero, %zero, %zero]
      {layoutA = #nvvm.mma_layout<row>, layoutB = #nvvm.mma_layout<col>,
       multiplicandAPtxType = #nvvm.mma_type<bf16>, multiplicandBPtxType = #nvvm.mma_type<bf16>,
       shape = #nvvm.shape<m = 16, n = 8, k = 16>} : (i32, i32, f32) -> !llvm.struct<(f32, f32, f32, f32)>
  llvm.br ^end
^second:
  %e = nvvm.mma.sync A[%c16, %c16, %c16, %c16] B[%c16, %c16] C[%zero, %zero, %zero, %zero]
      {layoutA = #nvvm.mma_layout<row>, layoutB = #nvvm.mma_layout<col>,
       multiplicandAPtxType = #nvvm.mma_type<bf16>, multiplicandBPtxType = #nvvm.mma_type<bf16>,
       shape = #nvvm.shape<m = 16, n = 8, k = 16>} : (i32, i32, f32) -> !llvm.struct<(f32, f32, f32, f32)>
  llvm.br ^end
^end:
  llvm.return
}

// Matrices of a warp: ldmatrix, stmatrix, mma.sync.
//
// Each kernel shows which lane holds which element. 32 threads.
//
// It assembles as it is:
// RUN: otodus-opt %s -convert-nvvm-to-llvm -o %t.mlir
// RUN: %if ptxas %{ mlir-translate --mlir-to-llvmir %t.mlir | opt -O2 | llc -O3 -mtriple=nvptx64-nvidia-cuda -mcpu=sm_90a -mattr=+ptx81 -o %t.ptx %}
// RUN: %if ptxas %{ ptxas -arch=sm_90a -v %t.ptx -o %t.cubin 2>&1 | FileCheck %s %}
// CHECK-NOT: C75
// CHECK: 0 bytes spill stores
// CHECK-NOT: C75


llvm.mlir.global external @otodus_shared() {addr_space = 3 : i32, alignment = 1024 : i64} : !llvm.array<0 x i8>

// Copies 4096 bytes of %image to shared memory, by 32 threads.
llvm.func internal @fill(%image: !llvm.ptr<1>) {
  %to = llvm.mlir.addressof @otodus_shared : !llvm.ptr<3>
  %bytes = llvm.mlir.constant(4096 : i32) : i32
  %four = llvm.mlir.constant(4 : i32) : i32
  %step = llvm.mlir.constant(128 : i32) : i32
  %t = nvvm.read.ptx.sreg.tid.x : i32
  %first = llvm.mul %t, %four : i32
  llvm.br ^head(%first : i32)
^head(%i: i32):
  %more = llvm.icmp "ult" %i, %bytes : i32
  llvm.cond_br %more, ^body, ^end
^body:
  %from = llvm.getelementptr %image[%i] : (!llvm.ptr<1>, i32) -> !llvm.ptr<1>, i8
  %x = llvm.load %from : !llvm.ptr<1> -> i32
  %at = llvm.getelementptr %to[%i] : (!llvm.ptr<3>, i32) -> !llvm.ptr<3>, i8
  llvm.store %x, %at : i32, !llvm.ptr<3>
  %next = llvm.add %i, %step : i32
  llvm.br ^head(%next : i32)
^end:
  llvm.return
}

// %offsets: i32[32], each lane's row address in shared memory; %out: i32[32][1].
llvm.func @ldmatrix_x1_row(%image: !llvm.ptr<1>, %offsets: !llvm.ptr<1>, %out: !llvm.ptr<1>)
    attributes {nvvm.kernel, nvvm.reqntid = array<i32: 32, 1, 1>} {
  %base = llvm.mlir.addressof @otodus_shared : !llvm.ptr<3>
  %t = nvvm.read.ptx.sreg.tid.x : i32
  llvm.call @fill(%image) : (!llvm.ptr<1>) -> ()
  nvvm.barrier0
  %mine = llvm.getelementptr %offsets[%t] : (!llvm.ptr<1>, i32) -> !llvm.ptr<1>, i32
  %offset = llvm.load %mine : !llvm.ptr<1> -> i32
  %row = llvm.getelementptr %base[%offset] : (!llvm.ptr<3>, i32) -> !llvm.ptr<3>, i8
  %r = nvvm.ldmatrix %row {num = 1 : i32, layout = #nvvm.mma_layout<row>,
      shape = #nvvm.ld_st_matrix_shape<m = 8, n = 8>, eltType = #nvvm.ld_st_matrix_elt_type<b16>}
      : (!llvm.ptr<3>) -> i32
  %to = llvm.getelementptr %out[%t] : (!llvm.ptr<1>, i32) -> !llvm.ptr<1>, i32
  llvm.store %r, %to {alignment = 4 : i64} : i32, !llvm.ptr<1>
  llvm.return
}

// %offsets: i32[32], each lane's row address in shared memory; %out: i32[32][1].
llvm.func @ldmatrix_x1_col(%image: !llvm.ptr<1>, %offsets: !llvm.ptr<1>, %out: !llvm.ptr<1>)
    attributes {nvvm.kernel, nvvm.reqntid = array<i32: 32, 1, 1>} {
  %base = llvm.mlir.addressof @otodus_shared : !llvm.ptr<3>
  %t = nvvm.read.ptx.sreg.tid.x : i32
  llvm.call @fill(%image) : (!llvm.ptr<1>) -> ()
  nvvm.barrier0
  %mine = llvm.getelementptr %offsets[%t] : (!llvm.ptr<1>, i32) -> !llvm.ptr<1>, i32
  %offset = llvm.load %mine : !llvm.ptr<1> -> i32
  %row = llvm.getelementptr %base[%offset] : (!llvm.ptr<3>, i32) -> !llvm.ptr<3>, i8
  %r = nvvm.ldmatrix %row {num = 1 : i32, layout = #nvvm.mma_layout<col>,
      shape = #nvvm.ld_st_matrix_shape<m = 8, n = 8>, eltType = #nvvm.ld_st_matrix_elt_type<b16>}
      : (!llvm.ptr<3>) -> i32
  %to = llvm.getelementptr %out[%t] : (!llvm.ptr<1>, i32) -> !llvm.ptr<1>, i32
  llvm.store %r, %to {alignment = 4 : i64} : i32, !llvm.ptr<1>
  llvm.return
}

// %offsets: i32[32], each lane's row address in shared memory; %out: i32[32][2].
llvm.func @ldmatrix_x2_row(%image: !llvm.ptr<1>, %offsets: !llvm.ptr<1>, %out: !llvm.ptr<1>)
    attributes {nvvm.kernel, nvvm.reqntid = array<i32: 32, 1, 1>} {
  %base = llvm.mlir.addressof @otodus_shared : !llvm.ptr<3>
  %t = nvvm.read.ptx.sreg.tid.x : i32
  llvm.call @fill(%image) : (!llvm.ptr<1>) -> ()
  nvvm.barrier0
  %mine = llvm.getelementptr %offsets[%t] : (!llvm.ptr<1>, i32) -> !llvm.ptr<1>, i32
  %offset = llvm.load %mine : !llvm.ptr<1> -> i32
  %row = llvm.getelementptr %base[%offset] : (!llvm.ptr<3>, i32) -> !llvm.ptr<3>, i8
  %r = nvvm.ldmatrix %row {num = 2 : i32, layout = #nvvm.mma_layout<row>,
      shape = #nvvm.ld_st_matrix_shape<m = 8, n = 8>, eltType = #nvvm.ld_st_matrix_elt_type<b16>}
      : (!llvm.ptr<3>) -> !llvm.struct<(i32, i32)>
  %to = llvm.getelementptr %out[%t] : (!llvm.ptr<1>, i32) -> !llvm.ptr<1>, !llvm.struct<(i32, i32)>
  llvm.store %r, %to {alignment = 4 : i64} : !llvm.struct<(i32, i32)>, !llvm.ptr<1>
  llvm.return
}

// %offsets: i32[32], each lane's row address in shared memory; %out: i32[32][2].
llvm.func @ldmatrix_x2_col(%image: !llvm.ptr<1>, %offsets: !llvm.ptr<1>, %out: !llvm.ptr<1>)
    attributes {nvvm.kernel, nvvm.reqntid = array<i32: 32, 1, 1>} {
  %base = llvm.mlir.addressof @otodus_shared : !llvm.ptr<3>
  %t = nvvm.read.ptx.sreg.tid.x : i32
  llvm.call @fill(%image) : (!llvm.ptr<1>) -> ()
  nvvm.barrier0
  %mine = llvm.getelementptr %offsets[%t] : (!llvm.ptr<1>, i32) -> !llvm.ptr<1>, i32
  %offset = llvm.load %mine : !llvm.ptr<1> -> i32
  %row = llvm.getelementptr %base[%offset] : (!llvm.ptr<3>, i32) -> !llvm.ptr<3>, i8
  %r = nvvm.ldmatrix %row {num = 2 : i32, layout = #nvvm.mma_layout<col>,
      shape = #nvvm.ld_st_matrix_shape<m = 8, n = 8>, eltType = #nvvm.ld_st_matrix_elt_type<b16>}
      : (!llvm.ptr<3>) -> !llvm.struct<(i32, i32)>
  %to = llvm.getelementptr %out[%t] : (!llvm.ptr<1>, i32) -> !llvm.ptr<1>, !llvm.struct<(i32, i32)>
  llvm.store %r, %to {alignment = 4 : i64} : !llvm.struct<(i32, i32)>, !llvm.ptr<1>
  llvm.return
}

// %offsets: i32[32], each lane's row address in shared memory; %out: i32[32][4].
llvm.func @ldmatrix_x4_row(%image: !llvm.ptr<1>, %offsets: !llvm.ptr<1>, %out: !llvm.ptr<1>)
    attributes {nvvm.kernel, nvvm.reqntid = array<i32: 32, 1, 1>} {
  %base = llvm.mlir.addressof @otodus_shared : !llvm.ptr<3>
  %t = nvvm.read.ptx.sreg.tid.x : i32
  llvm.call @fill(%image) : (!llvm.ptr<1>) -> ()
  nvvm.barrier0
  %mine = llvm.getelementptr %offsets[%t] : (!llvm.ptr<1>, i32) -> !llvm.ptr<1>, i32
  %offset = llvm.load %mine : !llvm.ptr<1> -> i32
  %row = llvm.getelementptr %base[%offset] : (!llvm.ptr<3>, i32) -> !llvm.ptr<3>, i8
  %r = nvvm.ldmatrix %row {num = 4 : i32, layout = #nvvm.mma_layout<row>,
      shape = #nvvm.ld_st_matrix_shape<m = 8, n = 8>, eltType = #nvvm.ld_st_matrix_elt_type<b16>}
      : (!llvm.ptr<3>) -> !llvm.struct<(i32, i32, i32, i32)>
  %to = llvm.getelementptr %out[%t] : (!llvm.ptr<1>, i32) -> !llvm.ptr<1>, !llvm.struct<(i32, i32, i32, i32)>
  llvm.store %r, %to {alignment = 4 : i64} : !llvm.struct<(i32, i32, i32, i32)>, !llvm.ptr<1>
  llvm.return
}

// %offsets: i32[32], each lane's row address in shared memory; %out: i32[32][4].
llvm.func @ldmatrix_x4_col(%image: !llvm.ptr<1>, %offsets: !llvm.ptr<1>, %out: !llvm.ptr<1>)
    attributes {nvvm.kernel, nvvm.reqntid = array<i32: 32, 1, 1>} {
  %base = llvm.mlir.addressof @otodus_shared : !llvm.ptr<3>
  %t = nvvm.read.ptx.sreg.tid.x : i32
  llvm.call @fill(%image) : (!llvm.ptr<1>) -> ()
  nvvm.barrier0
  %mine = llvm.getelementptr %offsets[%t] : (!llvm.ptr<1>, i32) -> !llvm.ptr<1>, i32
  %offset = llvm.load %mine : !llvm.ptr<1> -> i32
  %row = llvm.getelementptr %base[%offset] : (!llvm.ptr<3>, i32) -> !llvm.ptr<3>, i8
  %r = nvvm.ldmatrix %row {num = 4 : i32, layout = #nvvm.mma_layout<col>,
      shape = #nvvm.ld_st_matrix_shape<m = 8, n = 8>, eltType = #nvvm.ld_st_matrix_elt_type<b16>}
      : (!llvm.ptr<3>) -> !llvm.struct<(i32, i32, i32, i32)>
  %to = llvm.getelementptr %out[%t] : (!llvm.ptr<1>, i32) -> !llvm.ptr<1>, !llvm.struct<(i32, i32, i32, i32)>
  llvm.store %r, %to {alignment = 4 : i64} : !llvm.struct<(i32, i32, i32, i32)>, !llvm.ptr<1>
  llvm.return
}

// %offsets: i32[32], row addresses; %registers: i32[32][1]; %image: first filled, then written back.
llvm.func @stmatrix_x1_row(%image: !llvm.ptr<1>, %offsets: !llvm.ptr<1>, %registers: !llvm.ptr<1>)
    attributes {nvvm.kernel, nvvm.reqntid = array<i32: 32, 1, 1>} {
  %base = llvm.mlir.addressof @otodus_shared : !llvm.ptr<3>
  %t = nvvm.read.ptx.sreg.tid.x : i32
  llvm.call @fill(%image) : (!llvm.ptr<1>) -> ()
  nvvm.barrier0
  %place = llvm.getelementptr %offsets[%t] : (!llvm.ptr<1>, i32) -> !llvm.ptr<1>, i32
  %offset = llvm.load %place : !llvm.ptr<1> -> i32
  %row = llvm.getelementptr %base[%offset] : (!llvm.ptr<3>, i32) -> !llvm.ptr<3>, i8
  %mine = llvm.getelementptr %registers[%t] : (!llvm.ptr<1>, i32) -> !llvm.ptr<1>, !llvm.array<1 x i32>
  %p0 = llvm.getelementptr %mine[0] : (!llvm.ptr<1>) -> !llvm.ptr<1>, i32
  %r0 = llvm.load %p0 : !llvm.ptr<1> -> i32
  nvvm.stmatrix %row, %r0 {layout = #nvvm.mma_layout<row>,
      shape = #nvvm.ld_st_matrix_shape<m = 8, n = 8>, eltType = #nvvm.ld_st_matrix_elt_type<b16>}
      : !llvm.ptr<3>, i32
  nvvm.barrier0
  %zero = llvm.mlir.constant(0 : i32) : i32
  %words = llvm.mlir.constant(1024 : i32) : i32
  %lanes = llvm.mlir.constant(32 : i32) : i32
  llvm.br ^head(%t : i32)
^head(%i: i32):
  %more = llvm.icmp "ult" %i, %words : i32
  llvm.cond_br %more, ^body, ^end
^body:
  %at = llvm.getelementptr %base[%i] : (!llvm.ptr<3>, i32) -> !llvm.ptr<3>, i32
  %x = llvm.load %at : !llvm.ptr<3> -> i32
  %to = llvm.getelementptr %image[%i] : (!llvm.ptr<1>, i32) -> !llvm.ptr<1>, i32
  llvm.store %x, %to : i32, !llvm.ptr<1>
  %next = llvm.add %i, %lanes : i32
  llvm.br ^head(%next : i32)
^end:
  llvm.return
}

// %offsets: i32[32], row addresses; %registers: i32[32][1]; %image: first filled, then written back.
llvm.func @stmatrix_x1_col(%image: !llvm.ptr<1>, %offsets: !llvm.ptr<1>, %registers: !llvm.ptr<1>)
    attributes {nvvm.kernel, nvvm.reqntid = array<i32: 32, 1, 1>} {
  %base = llvm.mlir.addressof @otodus_shared : !llvm.ptr<3>
  %t = nvvm.read.ptx.sreg.tid.x : i32
  llvm.call @fill(%image) : (!llvm.ptr<1>) -> ()
  nvvm.barrier0
  %place = llvm.getelementptr %offsets[%t] : (!llvm.ptr<1>, i32) -> !llvm.ptr<1>, i32
  %offset = llvm.load %place : !llvm.ptr<1> -> i32
  %row = llvm.getelementptr %base[%offset] : (!llvm.ptr<3>, i32) -> !llvm.ptr<3>, i8
  %mine = llvm.getelementptr %registers[%t] : (!llvm.ptr<1>, i32) -> !llvm.ptr<1>, !llvm.array<1 x i32>
  %p0 = llvm.getelementptr %mine[0] : (!llvm.ptr<1>) -> !llvm.ptr<1>, i32
  %r0 = llvm.load %p0 : !llvm.ptr<1> -> i32
  nvvm.stmatrix %row, %r0 {layout = #nvvm.mma_layout<col>,
      shape = #nvvm.ld_st_matrix_shape<m = 8, n = 8>, eltType = #nvvm.ld_st_matrix_elt_type<b16>}
      : !llvm.ptr<3>, i32
  nvvm.barrier0
  %zero = llvm.mlir.constant(0 : i32) : i32
  %words = llvm.mlir.constant(1024 : i32) : i32
  %lanes = llvm.mlir.constant(32 : i32) : i32
  llvm.br ^head(%t : i32)
^head(%i: i32):
  %more = llvm.icmp "ult" %i, %words : i32
  llvm.cond_br %more, ^body, ^end
^body:
  %at = llvm.getelementptr %base[%i] : (!llvm.ptr<3>, i32) -> !llvm.ptr<3>, i32
  %x = llvm.load %at : !llvm.ptr<3> -> i32
  %to = llvm.getelementptr %image[%i] : (!llvm.ptr<1>, i32) -> !llvm.ptr<1>, i32
  llvm.store %x, %to : i32, !llvm.ptr<1>
  %next = llvm.add %i, %lanes : i32
  llvm.br ^head(%next : i32)
^end:
  llvm.return
}

// %offsets: i32[32], row addresses; %registers: i32[32][2]; %image: first filled, then written back.
llvm.func @stmatrix_x2_row(%image: !llvm.ptr<1>, %offsets: !llvm.ptr<1>, %registers: !llvm.ptr<1>)
    attributes {nvvm.kernel, nvvm.reqntid = array<i32: 32, 1, 1>} {
  %base = llvm.mlir.addressof @otodus_shared : !llvm.ptr<3>
  %t = nvvm.read.ptx.sreg.tid.x : i32
  llvm.call @fill(%image) : (!llvm.ptr<1>) -> ()
  nvvm.barrier0
  %place = llvm.getelementptr %offsets[%t] : (!llvm.ptr<1>, i32) -> !llvm.ptr<1>, i32
  %offset = llvm.load %place : !llvm.ptr<1> -> i32
  %row = llvm.getelementptr %base[%offset] : (!llvm.ptr<3>, i32) -> !llvm.ptr<3>, i8
  %mine = llvm.getelementptr %registers[%t] : (!llvm.ptr<1>, i32) -> !llvm.ptr<1>, !llvm.array<2 x i32>
  %p0 = llvm.getelementptr %mine[0] : (!llvm.ptr<1>) -> !llvm.ptr<1>, i32
  %r0 = llvm.load %p0 : !llvm.ptr<1> -> i32
  %p1 = llvm.getelementptr %mine[1] : (!llvm.ptr<1>) -> !llvm.ptr<1>, i32
  %r1 = llvm.load %p1 : !llvm.ptr<1> -> i32
  nvvm.stmatrix %row, %r0, %r1 {layout = #nvvm.mma_layout<row>,
      shape = #nvvm.ld_st_matrix_shape<m = 8, n = 8>, eltType = #nvvm.ld_st_matrix_elt_type<b16>}
      : !llvm.ptr<3>, i32, i32
  nvvm.barrier0
  %zero = llvm.mlir.constant(0 : i32) : i32
  %words = llvm.mlir.constant(1024 : i32) : i32
  %lanes = llvm.mlir.constant(32 : i32) : i32
  llvm.br ^head(%t : i32)
^head(%i: i32):
  %more = llvm.icmp "ult" %i, %words : i32
  llvm.cond_br %more, ^body, ^end
^body:
  %at = llvm.getelementptr %base[%i] : (!llvm.ptr<3>, i32) -> !llvm.ptr<3>, i32
  %x = llvm.load %at : !llvm.ptr<3> -> i32
  %to = llvm.getelementptr %image[%i] : (!llvm.ptr<1>, i32) -> !llvm.ptr<1>, i32
  llvm.store %x, %to : i32, !llvm.ptr<1>
  %next = llvm.add %i, %lanes : i32
  llvm.br ^head(%next : i32)
^end:
  llvm.return
}

// %offsets: i32[32], row addresses; %registers: i32[32][2]; %image: first filled, then written back.
llvm.func @stmatrix_x2_col(%image: !llvm.ptr<1>, %offsets: !llvm.ptr<1>, %registers: !llvm.ptr<1>)
    attributes {nvvm.kernel, nvvm.reqntid = array<i32: 32, 1, 1>} {
  %base = llvm.mlir.addressof @otodus_shared : !llvm.ptr<3>
  %t = nvvm.read.ptx.sreg.tid.x : i32
  llvm.call @fill(%image) : (!llvm.ptr<1>) -> ()
  nvvm.barrier0
  %place = llvm.getelementptr %offsets[%t] : (!llvm.ptr<1>, i32) -> !llvm.ptr<1>, i32
  %offset = llvm.load %place : !llvm.ptr<1> -> i32
  %row = llvm.getelementptr %base[%offset] : (!llvm.ptr<3>, i32) -> !llvm.ptr<3>, i8
  %mine = llvm.getelementptr %registers[%t] : (!llvm.ptr<1>, i32) -> !llvm.ptr<1>, !llvm.array<2 x i32>
  %p0 = llvm.getelementptr %mine[0] : (!llvm.ptr<1>) -> !llvm.ptr<1>, i32
  %r0 = llvm.load %p0 : !llvm.ptr<1> -> i32
  %p1 = llvm.getelementptr %mine[1] : (!llvm.ptr<1>) -> !llvm.ptr<1>, i32
  %r1 = llvm.load %p1 : !llvm.ptr<1> -> i32
  nvvm.stmatrix %row, %r0, %r1 {layout = #nvvm.mma_layout<col>,
      shape = #nvvm.ld_st_matrix_shape<m = 8, n = 8>, eltType = #nvvm.ld_st_matrix_elt_type<b16>}
      : !llvm.ptr<3>, i32, i32
  nvvm.barrier0
  %zero = llvm.mlir.constant(0 : i32) : i32
  %words = llvm.mlir.constant(1024 : i32) : i32
  %lanes = llvm.mlir.constant(32 : i32) : i32
  llvm.br ^head(%t : i32)
^head(%i: i32):
  %more = llvm.icmp "ult" %i, %words : i32
  llvm.cond_br %more, ^body, ^end
^body:
  %at = llvm.getelementptr %base[%i] : (!llvm.ptr<3>, i32) -> !llvm.ptr<3>, i32
  %x = llvm.load %at : !llvm.ptr<3> -> i32
  %to = llvm.getelementptr %image[%i] : (!llvm.ptr<1>, i32) -> !llvm.ptr<1>, i32
  llvm.store %x, %to : i32, !llvm.ptr<1>
  %next = llvm.add %i, %lanes : i32
  llvm.br ^head(%next : i32)
^end:
  llvm.return
}

// %offsets: i32[32], row addresses; %registers: i32[32][4]; %image: first filled, then written back.
llvm.func @stmatrix_x4_row(%image: !llvm.ptr<1>, %offsets: !llvm.ptr<1>, %registers: !llvm.ptr<1>)
    attributes {nvvm.kernel, nvvm.reqntid = array<i32: 32, 1, 1>} {
  %base = llvm.mlir.addressof @otodus_shared : !llvm.ptr<3>
  %t = nvvm.read.ptx.sreg.tid.x : i32
  llvm.call @fill(%image) : (!llvm.ptr<1>) -> ()
  nvvm.barrier0
  %place = llvm.getelementptr %offsets[%t] : (!llvm.ptr<1>, i32) -> !llvm.ptr<1>, i32
  %offset = llvm.load %place : !llvm.ptr<1> -> i32
  %row = llvm.getelementptr %base[%offset] : (!llvm.ptr<3>, i32) -> !llvm.ptr<3>, i8
  %mine = llvm.getelementptr %registers[%t] : (!llvm.ptr<1>, i32) -> !llvm.ptr<1>, !llvm.array<4 x i32>
  %p0 = llvm.getelementptr %mine[0] : (!llvm.ptr<1>) -> !llvm.ptr<1>, i32
  %r0 = llvm.load %p0 : !llvm.ptr<1> -> i32
  %p1 = llvm.getelementptr %mine[1] : (!llvm.ptr<1>) -> !llvm.ptr<1>, i32
  %r1 = llvm.load %p1 : !llvm.ptr<1> -> i32
  %p2 = llvm.getelementptr %mine[2] : (!llvm.ptr<1>) -> !llvm.ptr<1>, i32
  %r2 = llvm.load %p2 : !llvm.ptr<1> -> i32
  %p3 = llvm.getelementptr %mine[3] : (!llvm.ptr<1>) -> !llvm.ptr<1>, i32
  %r3 = llvm.load %p3 : !llvm.ptr<1> -> i32
  nvvm.stmatrix %row, %r0, %r1, %r2, %r3 {layout = #nvvm.mma_layout<row>,
      shape = #nvvm.ld_st_matrix_shape<m = 8, n = 8>, eltType = #nvvm.ld_st_matrix_elt_type<b16>}
      : !llvm.ptr<3>, i32, i32, i32, i32
  nvvm.barrier0
  %zero = llvm.mlir.constant(0 : i32) : i32
  %words = llvm.mlir.constant(1024 : i32) : i32
  %lanes = llvm.mlir.constant(32 : i32) : i32
  llvm.br ^head(%t : i32)
^head(%i: i32):
  %more = llvm.icmp "ult" %i, %words : i32
  llvm.cond_br %more, ^body, ^end
^body:
  %at = llvm.getelementptr %base[%i] : (!llvm.ptr<3>, i32) -> !llvm.ptr<3>, i32
  %x = llvm.load %at : !llvm.ptr<3> -> i32
  %to = llvm.getelementptr %image[%i] : (!llvm.ptr<1>, i32) -> !llvm.ptr<1>, i32
  llvm.store %x, %to : i32, !llvm.ptr<1>
  %next = llvm.add %i, %lanes : i32
  llvm.br ^head(%next : i32)
^end:
  llvm.return
}

// %offsets: i32[32], row addresses; %registers: i32[32][4]; %image: first filled, then written back.
llvm.func @stmatrix_x4_col(%image: !llvm.ptr<1>, %offsets: !llvm.ptr<1>, %registers: !llvm.ptr<1>)
    attributes {nvvm.kernel, nvvm.reqntid = array<i32: 32, 1, 1>} {
  %base = llvm.mlir.addressof @otodus_shared : !llvm.ptr<3>
  %t = nvvm.read.ptx.sreg.tid.x : i32
  llvm.call @fill(%image) : (!llvm.ptr<1>) -> ()
  nvvm.barrier0
  %place = llvm.getelementptr %offsets[%t] : (!llvm.ptr<1>, i32) -> !llvm.ptr<1>, i32
  %offset = llvm.load %place : !llvm.ptr<1> -> i32
  %row = llvm.getelementptr %base[%offset] : (!llvm.ptr<3>, i32) -> !llvm.ptr<3>, i8
  %mine = llvm.getelementptr %registers[%t] : (!llvm.ptr<1>, i32) -> !llvm.ptr<1>, !llvm.array<4 x i32>
  %p0 = llvm.getelementptr %mine[0] : (!llvm.ptr<1>) -> !llvm.ptr<1>, i32
  %r0 = llvm.load %p0 : !llvm.ptr<1> -> i32
  %p1 = llvm.getelementptr %mine[1] : (!llvm.ptr<1>) -> !llvm.ptr<1>, i32
  %r1 = llvm.load %p1 : !llvm.ptr<1> -> i32
  %p2 = llvm.getelementptr %mine[2] : (!llvm.ptr<1>) -> !llvm.ptr<1>, i32
  %r2 = llvm.load %p2 : !llvm.ptr<1> -> i32
  %p3 = llvm.getelementptr %mine[3] : (!llvm.ptr<1>) -> !llvm.ptr<1>, i32
  %r3 = llvm.load %p3 : !llvm.ptr<1> -> i32
  nvvm.stmatrix %row, %r0, %r1, %r2, %r3 {layout = #nvvm.mma_layout<col>,
      shape = #nvvm.ld_st_matrix_shape<m = 8, n = 8>, eltType = #nvvm.ld_st_matrix_elt_type<b16>}
      : !llvm.ptr<3>, i32, i32, i32, i32
  nvvm.barrier0
  %zero = llvm.mlir.constant(0 : i32) : i32
  %words = llvm.mlir.constant(1024 : i32) : i32
  %lanes = llvm.mlir.constant(32 : i32) : i32
  llvm.br ^head(%t : i32)
^head(%i: i32):
  %more = llvm.icmp "ult" %i, %words : i32
  llvm.cond_br %more, ^body, ^end
^body:
  %at = llvm.getelementptr %base[%i] : (!llvm.ptr<3>, i32) -> !llvm.ptr<3>, i32
  %x = llvm.load %at : !llvm.ptr<3> -> i32
  %to = llvm.getelementptr %image[%i] : (!llvm.ptr<1>, i32) -> !llvm.ptr<1>, i32
  llvm.store %x, %to : i32, !llvm.ptr<1>
  %next = llvm.add %i, %lanes : i32
  llvm.br ^head(%next : i32)
^end:
  llvm.return
}

// %a: i32[32][4], %b: i32[32][2], %c: f32[32][4] in, result out.
llvm.func @mma_bf16(%a: !llvm.ptr<1>, %b: !llvm.ptr<1>, %c: !llvm.ptr<1>)
    attributes {nvvm.kernel, nvvm.reqntid = array<i32: 32, 1, 1>} {
  %t = nvvm.read.ptx.sreg.tid.x : i32
  %ma = llvm.getelementptr %a[%t] : (!llvm.ptr<1>, i32) -> !llvm.ptr<1>, !llvm.array<4 x i32>
  %mb = llvm.getelementptr %b[%t] : (!llvm.ptr<1>, i32) -> !llvm.ptr<1>, !llvm.array<2 x i32>
  %mc = llvm.getelementptr %c[%t] : (!llvm.ptr<1>, i32) -> !llvm.ptr<1>, !llvm.array<4 x i32>
  %pa0 = llvm.getelementptr %ma[0] : (!llvm.ptr<1>) -> !llvm.ptr<1>, i32
  %a0 = llvm.load %pa0 : !llvm.ptr<1> -> i32
  %pa1 = llvm.getelementptr %ma[1] : (!llvm.ptr<1>) -> !llvm.ptr<1>, i32
  %a1 = llvm.load %pa1 : !llvm.ptr<1> -> i32
  %pa2 = llvm.getelementptr %ma[2] : (!llvm.ptr<1>) -> !llvm.ptr<1>, i32
  %a2 = llvm.load %pa2 : !llvm.ptr<1> -> i32
  %pa3 = llvm.getelementptr %ma[3] : (!llvm.ptr<1>) -> !llvm.ptr<1>, i32
  %a3 = llvm.load %pa3 : !llvm.ptr<1> -> i32
  %pb0 = llvm.getelementptr %mb[0] : (!llvm.ptr<1>) -> !llvm.ptr<1>, i32
  %b0 = llvm.load %pb0 : !llvm.ptr<1> -> i32
  %pb1 = llvm.getelementptr %mb[1] : (!llvm.ptr<1>) -> !llvm.ptr<1>, i32
  %b1 = llvm.load %pb1 : !llvm.ptr<1> -> i32
  %pc0 = llvm.getelementptr %mc[0] : (!llvm.ptr<1>) -> !llvm.ptr<1>, i32
  %c0 = llvm.load %pc0 : !llvm.ptr<1> -> f32
  %pc1 = llvm.getelementptr %mc[1] : (!llvm.ptr<1>) -> !llvm.ptr<1>, i32
  %c1 = llvm.load %pc1 : !llvm.ptr<1> -> f32
  %pc2 = llvm.getelementptr %mc[2] : (!llvm.ptr<1>) -> !llvm.ptr<1>, i32
  %c2 = llvm.load %pc2 : !llvm.ptr<1> -> f32
  %pc3 = llvm.getelementptr %mc[3] : (!llvm.ptr<1>) -> !llvm.ptr<1>, i32
  %c3 = llvm.load %pc3 : !llvm.ptr<1> -> f32
  %d = nvvm.mma.sync A[%a0, %a1, %a2, %a3] B[%b0, %b1] C[%c0, %c1, %c2, %c3]
      {layoutA = #nvvm.mma_layout<row>, layoutB = #nvvm.mma_layout<col>, multiplicandAPtxType = #nvvm.mma_type<bf16>, multiplicandBPtxType = #nvvm.mma_type<bf16>,
       shape = #nvvm.shape<m = 16, n = 8, k = 16>}
      : (i32, i32, f32) -> !llvm.struct<(f32, f32, f32, f32)>
  llvm.store %d, %mc {alignment = 4 : i64} : !llvm.struct<(f32, f32, f32, f32)>, !llvm.ptr<1>
  llvm.return
}

// %a: i32[32][2], %b: i32[32][1], %c: f32[32][4] in, result out.
llvm.func @mma_bf16_k8(%a: !llvm.ptr<1>, %b: !llvm.ptr<1>, %c: !llvm.ptr<1>)
    attributes {nvvm.kernel, nvvm.reqntid = array<i32: 32, 1, 1>} {
  %t = nvvm.read.ptx.sreg.tid.x : i32
  %ma = llvm.getelementptr %a[%t] : (!llvm.ptr<1>, i32) -> !llvm.ptr<1>, !llvm.array<2 x i32>
  %mb = llvm.getelementptr %b[%t] : (!llvm.ptr<1>, i32) -> !llvm.ptr<1>, !llvm.array<1 x i32>
  %mc = llvm.getelementptr %c[%t] : (!llvm.ptr<1>, i32) -> !llvm.ptr<1>, !llvm.array<4 x i32>
  %pa0 = llvm.getelementptr %ma[0] : (!llvm.ptr<1>) -> !llvm.ptr<1>, i32
  %a0 = llvm.load %pa0 : !llvm.ptr<1> -> i32
  %pa1 = llvm.getelementptr %ma[1] : (!llvm.ptr<1>) -> !llvm.ptr<1>, i32
  %a1 = llvm.load %pa1 : !llvm.ptr<1> -> i32
  %pb0 = llvm.getelementptr %mb[0] : (!llvm.ptr<1>) -> !llvm.ptr<1>, i32
  %b0 = llvm.load %pb0 : !llvm.ptr<1> -> i32
  %pc0 = llvm.getelementptr %mc[0] : (!llvm.ptr<1>) -> !llvm.ptr<1>, i32
  %c0 = llvm.load %pc0 : !llvm.ptr<1> -> f32
  %pc1 = llvm.getelementptr %mc[1] : (!llvm.ptr<1>) -> !llvm.ptr<1>, i32
  %c1 = llvm.load %pc1 : !llvm.ptr<1> -> f32
  %pc2 = llvm.getelementptr %mc[2] : (!llvm.ptr<1>) -> !llvm.ptr<1>, i32
  %c2 = llvm.load %pc2 : !llvm.ptr<1> -> f32
  %pc3 = llvm.getelementptr %mc[3] : (!llvm.ptr<1>) -> !llvm.ptr<1>, i32
  %c3 = llvm.load %pc3 : !llvm.ptr<1> -> f32
  %d = nvvm.mma.sync A[%a0, %a1] B[%b0] C[%c0, %c1, %c2, %c3]
      {layoutA = #nvvm.mma_layout<row>, layoutB = #nvvm.mma_layout<col>, multiplicandAPtxType = #nvvm.mma_type<bf16>, multiplicandBPtxType = #nvvm.mma_type<bf16>,
       shape = #nvvm.shape<m = 16, n = 8, k = 8>}
      : (i32, i32, f32) -> !llvm.struct<(f32, f32, f32, f32)>
  llvm.store %d, %mc {alignment = 4 : i64} : !llvm.struct<(f32, f32, f32, f32)>, !llvm.ptr<1>
  llvm.return
}

// %a: i32[32][4], %b: i32[32][2], %c: f32[32][4] in, result out.
llvm.func @mma_f16(%a: !llvm.ptr<1>, %b: !llvm.ptr<1>, %c: !llvm.ptr<1>)
    attributes {nvvm.kernel, nvvm.reqntid = array<i32: 32, 1, 1>} {
  %t = nvvm.read.ptx.sreg.tid.x : i32
  %ma = llvm.getelementptr %a[%t] : (!llvm.ptr<1>, i32) -> !llvm.ptr<1>, !llvm.array<4 x i32>
  %mb = llvm.getelementptr %b[%t] : (!llvm.ptr<1>, i32) -> !llvm.ptr<1>, !llvm.array<2 x i32>
  %mc = llvm.getelementptr %c[%t] : (!llvm.ptr<1>, i32) -> !llvm.ptr<1>, !llvm.array<4 x i32>
  %pa0 = llvm.getelementptr %ma[0] : (!llvm.ptr<1>) -> !llvm.ptr<1>, i32
  %a0 = llvm.load %pa0 : !llvm.ptr<1> -> vector<2xf16>
  %pa1 = llvm.getelementptr %ma[1] : (!llvm.ptr<1>) -> !llvm.ptr<1>, i32
  %a1 = llvm.load %pa1 : !llvm.ptr<1> -> vector<2xf16>
  %pa2 = llvm.getelementptr %ma[2] : (!llvm.ptr<1>) -> !llvm.ptr<1>, i32
  %a2 = llvm.load %pa2 : !llvm.ptr<1> -> vector<2xf16>
  %pa3 = llvm.getelementptr %ma[3] : (!llvm.ptr<1>) -> !llvm.ptr<1>, i32
  %a3 = llvm.load %pa3 : !llvm.ptr<1> -> vector<2xf16>
  %pb0 = llvm.getelementptr %mb[0] : (!llvm.ptr<1>) -> !llvm.ptr<1>, i32
  %b0 = llvm.load %pb0 : !llvm.ptr<1> -> vector<2xf16>
  %pb1 = llvm.getelementptr %mb[1] : (!llvm.ptr<1>) -> !llvm.ptr<1>, i32
  %b1 = llvm.load %pb1 : !llvm.ptr<1> -> vector<2xf16>
  %pc0 = llvm.getelementptr %mc[0] : (!llvm.ptr<1>) -> !llvm.ptr<1>, i32
  %c0 = llvm.load %pc0 : !llvm.ptr<1> -> f32
  %pc1 = llvm.getelementptr %mc[1] : (!llvm.ptr<1>) -> !llvm.ptr<1>, i32
  %c1 = llvm.load %pc1 : !llvm.ptr<1> -> f32
  %pc2 = llvm.getelementptr %mc[2] : (!llvm.ptr<1>) -> !llvm.ptr<1>, i32
  %c2 = llvm.load %pc2 : !llvm.ptr<1> -> f32
  %pc3 = llvm.getelementptr %mc[3] : (!llvm.ptr<1>) -> !llvm.ptr<1>, i32
  %c3 = llvm.load %pc3 : !llvm.ptr<1> -> f32
  %d = nvvm.mma.sync A[%a0, %a1, %a2, %a3] B[%b0, %b1] C[%c0, %c1, %c2, %c3]
      {layoutA = #nvvm.mma_layout<row>, layoutB = #nvvm.mma_layout<col>,
       shape = #nvvm.shape<m = 16, n = 8, k = 16>}
      : (vector<2xf16>, vector<2xf16>, f32) -> !llvm.struct<(f32, f32, f32, f32)>
  llvm.store %d, %mc {alignment = 4 : i64} : !llvm.struct<(f32, f32, f32, f32)>, !llvm.ptr<1>
  llvm.return
}

// %a: i32[32][4], %b: i32[32][2], %c: f32[32][4] in, result out.
llvm.func @mma_tf32(%a: !llvm.ptr<1>, %b: !llvm.ptr<1>, %c: !llvm.ptr<1>)
    attributes {nvvm.kernel, nvvm.reqntid = array<i32: 32, 1, 1>} {
  %t = nvvm.read.ptx.sreg.tid.x : i32
  %ma = llvm.getelementptr %a[%t] : (!llvm.ptr<1>, i32) -> !llvm.ptr<1>, !llvm.array<4 x i32>
  %mb = llvm.getelementptr %b[%t] : (!llvm.ptr<1>, i32) -> !llvm.ptr<1>, !llvm.array<2 x i32>
  %mc = llvm.getelementptr %c[%t] : (!llvm.ptr<1>, i32) -> !llvm.ptr<1>, !llvm.array<4 x i32>
  %pa0 = llvm.getelementptr %ma[0] : (!llvm.ptr<1>) -> !llvm.ptr<1>, i32
  %a0 = llvm.load %pa0 : !llvm.ptr<1> -> i32
  %pa1 = llvm.getelementptr %ma[1] : (!llvm.ptr<1>) -> !llvm.ptr<1>, i32
  %a1 = llvm.load %pa1 : !llvm.ptr<1> -> i32
  %pa2 = llvm.getelementptr %ma[2] : (!llvm.ptr<1>) -> !llvm.ptr<1>, i32
  %a2 = llvm.load %pa2 : !llvm.ptr<1> -> i32
  %pa3 = llvm.getelementptr %ma[3] : (!llvm.ptr<1>) -> !llvm.ptr<1>, i32
  %a3 = llvm.load %pa3 : !llvm.ptr<1> -> i32
  %pb0 = llvm.getelementptr %mb[0] : (!llvm.ptr<1>) -> !llvm.ptr<1>, i32
  %b0 = llvm.load %pb0 : !llvm.ptr<1> -> i32
  %pb1 = llvm.getelementptr %mb[1] : (!llvm.ptr<1>) -> !llvm.ptr<1>, i32
  %b1 = llvm.load %pb1 : !llvm.ptr<1> -> i32
  %pc0 = llvm.getelementptr %mc[0] : (!llvm.ptr<1>) -> !llvm.ptr<1>, i32
  %c0 = llvm.load %pc0 : !llvm.ptr<1> -> f32
  %pc1 = llvm.getelementptr %mc[1] : (!llvm.ptr<1>) -> !llvm.ptr<1>, i32
  %c1 = llvm.load %pc1 : !llvm.ptr<1> -> f32
  %pc2 = llvm.getelementptr %mc[2] : (!llvm.ptr<1>) -> !llvm.ptr<1>, i32
  %c2 = llvm.load %pc2 : !llvm.ptr<1> -> f32
  %pc3 = llvm.getelementptr %mc[3] : (!llvm.ptr<1>) -> !llvm.ptr<1>, i32
  %c3 = llvm.load %pc3 : !llvm.ptr<1> -> f32
  %d = nvvm.mma.sync A[%a0, %a1, %a2, %a3] B[%b0, %b1] C[%c0, %c1, %c2, %c3]
      {layoutA = #nvvm.mma_layout<row>, layoutB = #nvvm.mma_layout<col>, multiplicandAPtxType = #nvvm.mma_type<tf32>, multiplicandBPtxType = #nvvm.mma_type<tf32>,
       shape = #nvvm.shape<m = 16, n = 8, k = 8>}
      : (i32, i32, f32) -> !llvm.struct<(f32, f32, f32, f32)>
  llvm.store %d, %mc {alignment = 4 : i64} : !llvm.struct<(f32, f32, f32, f32)>, !llvm.ptr<1>
  llvm.return
}

// RUN: otodus-opt %s --split-input-file --verify-diagnostics --otodus-outline-block=target=sm_80 | FileCheck %s

// Buffers become pointers to global memory; one block is one work item, the last induction variable
// running fastest; shared buffers are offsets in one dynamic allocation.

// CHECK:       llvm.mlir.global external @otodus_shared() {addr_space = 3 : i32, alignment = 1024 : i64} : !llvm.array<0 x i8>
// CHECK-LABEL: func.func @copy(
// CHECK-SAME:    %[[X:[^ ]*]]: !llvm.ptr<1>, %{{[^ ]*}}: !llvm.ptr<1>, %{{[^ ]*}}: i64, %{{[^ ]*}}: i64, %[[ROWS:[^ ]*]]: i64)
// CHECK-SAME:    gk.shared_bytes = 1552 : i64
// CHECK:         llvm.insertvalue %[[X]]
// CHECK:         builtin.unrealized_conversion_cast {{.*}} to memref<?xf32, 1>
// CHECK:         %[[ITEM:.*]] = nvvm.read.ptx.sreg.ctaid.x
// CHECK:         arith.remui %[[ITEM]]
// CHECK:         arith.divui %[[ITEM]]
// CHECK-NOT:     scf.forall
// CHECK:         nvvm.read.ptx.sreg.tid.x range <i32, 0, 128> : i32
// CHECK:         llvm.mlir.addressof @otodus_shared
// CHECK:         llvm.mlir.addressof @otodus_shared
// CHECK:         llvm.getelementptr inbounds %{{.*}}[512]
// CHECK:         llvm.mlir.addressof @otodus_shared
// CHECK:         llvm.getelementptr inbounds %{{.*}}[1536]
// CHECK:         nvvm.barrier0
// CHECK:         nvvm.shfl.sync bfly %{{.*}} : f32 -> f32
func.func private @copy(%x: memref<?xf32>, %y: memref<?xf32>, %batch: index, %length: index, %rows: index)
    attributes {mega.grid = [array<i64: 3, 1, 8>, array<i64: 0, 4, 1>], gpu.threads = 128 : i64} {
  %view = memref.reinterpret_cast %x to offset: [0], sizes: [%rows, 128], strides: [128, 1]
      : memref<?xf32> to memref<?x128xf32, strided<[128, 1]>>
  scf.forall (%i, %j) = (0, 0) to (%rows, 4) step (8, 1) {
    %t = gpu.thread_id x
    %a = memref.alloca() : memref<128xf32, #gpu.address_space<workgroup>>
    // Never alive together: 1024 bytes for both.
    %b = memref.alloca() {gk.overlay_group = "g", gk.overlay = "loads"} : memref<128xf32, #gpu.address_space<workgroup>>
    %c = memref.alloca() {gk.overlay_group = "g", gk.overlay = "stores"} : memref<256xf32, #gpu.address_space<workgroup>>
    %d = memref.alloca() : memref<4xf32, #gpu.address_space<workgroup>>
    %v = memref.load %view[%i, %t] : memref<?x128xf32, strided<[128, 1]>>
    memref.store %v, %a[%t] : memref<128xf32, #gpu.address_space<workgroup>>
    memref.store %v, %b[%t] : memref<128xf32, #gpu.address_space<workgroup>>
    gpu.barrier
    %w = memref.load %c[%t] : memref<256xf32, #gpu.address_space<workgroup>>
    memref.store %w, %d[%j] : memref<4xf32, #gpu.address_space<workgroup>>
    %one = arith.constant 1 : i32
    %width = arith.constant 32 : i32
    %s, %p = gpu.shuffle xor %w, %one, %width : f32
    memref.store %s, %y[%i] : memref<?xf32>
  }
  return
}

// -----

// expected-error @below {{needs 262144 bytes of shared memory, but a block of sm_80 has 166912; fewer stages or smaller tiles need less}}
func.func private @large(%x: memref<?xf32>, %batch: index, %length: index, %rows: index)
    attributes {mega.grid = [], gpu.threads = 128 : i64} {
  %t = gpu.thread_id x
  %a = memref.alloca() : memref<65536xf32, #gpu.address_space<workgroup>>
  %v = memref.load %a[%t] : memref<65536xf32, #gpu.address_space<workgroup>>
  memref.store %v, %x[%t] : memref<?xf32>
  return
}

// -----

// expected-error @below {{expects a multiple of 32 threads, at most 1024 on sm_80, but got 2048}}
func.func private @threads(%x: memref<?xf32>, %batch: index, %length: index, %rows: index)
    attributes {mega.grid = [], gpu.threads = 2048 : i64} {
  return
}

// -----

// expected-error @below {{expects the attribute gpu.threads, threads per block}}
func.func private @unknown(%x: memref<?xf32>, %batch: index, %length: index, %rows: index)
    attributes {mega.grid = []} {
  return
}

// -----

func.func private @reduce(%x: memref<?xf32>, %batch: index, %length: index, %rows: index)
    attributes {mega.grid = [], gpu.threads = 64 : i64} {
  %t = gpu.thread_id x
  %v = memref.load %x[%t] : memref<?xf32>
  // expected-error @below {{has no lowering in a GPU kernel}}
  %s = gpu.subgroup_reduce add %v : (f32) -> f32
  memref.store %s, %x[%t] : memref<?xf32>
  return
}

// -----

func.func private @dynamic(%x: memref<?xf32>, %batch: index, %length: index, %rows: index)
    attributes {mega.grid = [], gpu.threads = 64 : i64} {
  // expected-error @below {{expects a static shape of numbers of whole bytes in shared memory}}
  %a = memref.alloca(%rows) : memref<?xf32, #gpu.address_space<workgroup>>
  return
}

// RUN: otodus-opt %s --split-input-file --verify-diagnostics --otodus-outline-block=target=sm_80 --otodus-join-kernels | FileCheck %s

// Blocks are shared out to the parts; each runs as the block that it would be alone, in the same shared memory.

// CHECK-NOT:   func.func {{.*}}@a(
// CHECK-LABEL: func.func @b(
// CHECK-LABEL: func.func @ab(
// CHECK-SAME:    %[[X:[^ ]*]]: !llvm.ptr<1>, %[[Y:[^ ]*]]: !llvm.ptr<1>, %{{.*}}: i64, %{{.*}}: i64, %{{.*}}: i64)
// CHECK-SAME:    gk.shared_bytes = 512 : i64
// CHECK-NOT:     mega.parts
// CHECK:         %[[BLOCK:.*]] = nvvm.read.ptx.sreg.ctaid.x
// CHECK-DAG:     arith.constant 6 : i32
// CHECK-DAG:     %[[TILE:.*]] = arith.divui %[[BLOCK]], %{{.*}} : i32
// CHECK-DAG:     %[[PLACE:.*]] = arith.remui %[[BLOCK]], %{{.*}} : i32
// CHECK:         %[[HERE:.*]] = arith.cmpi ult, %[[PLACE]]
// CHECK:         scf.if %[[HERE]] {
// CHECK:           arith.muli %[[TILE]], %{{.*}} : i32
// CHECK:           llvm.insertvalue %[[X]]
// CHECK-NOT:       nvvm.read.ptx.sreg.ctaid.x
// CHECK:         } else {
// CHECK:           arith.subi %[[PLACE]]
// CHECK:           llvm.insertvalue %[[Y]]
// CHECK-NOT:       nvvm.read.ptx.sreg.ctaid.x
// CHECK:         return
func.func private @a(%x: memref<?xf32>, %batch: index, %length: index, %rows: index)
    attributes {mega.grid = [array<i64: 3, 1, 1>, array<i64: 0, 4, 1>], mega.row_tile = 1 : i64, gpu.threads = 128 : i64, mega.part} {
  scf.forall (%i, %j) in (%rows, 4) {
    %s = memref.alloca() : memref<128xf32, #gpu.address_space<workgroup>>
    %v = memref.load %s[%j] : memref<128xf32, #gpu.address_space<workgroup>>
    memref.store %v, %x[%i] : memref<?xf32>
  }
  return
}
func.func private @b(%x: memref<?xf32>, %batch: index, %length: index, %rows: index)
    attributes {mega.grid = [array<i64: 3, 1, 1>, array<i64: 0, 2, 1>], mega.row_tile = 1 : i64, gpu.threads = 128 : i64} {
  scf.forall (%i, %j) in (%rows, 2) {
    %v = memref.load %x[%j] : memref<?xf32>
    memref.store %v, %x[%i] : memref<?xf32>
  }
  return
}
func.func private @ab(memref<?xf32>, memref<?xf32>, index, index, index)
    attributes {mega.grid = [array<i64: 3, 1, 1>, array<i64: 0, 6, 1>], mega.row_tile = 1 : i64, gpu.threads = 128 : i64, mega.parts = [@a, @b]}

// -----

func.func private @other_threads(%x: memref<?xf32>, %batch: index, %length: index, %rows: index)
    attributes {mega.grid = [array<i64: 3, 1, 1>, array<i64: 0, 2, 1>], mega.row_tile = 1 : i64, gpu.threads = 64 : i64} {
  scf.forall (%i, %j) in (%rows, 2) {
  }
  return
}
// expected-error @+1 {{expects kernels of one block, of as many threads and rows, as its parts, but @other_threads is none}}
func.func private @joint(memref<?xf32>, index, index, index)
    attributes {mega.grid = [array<i64: 3, 1, 1>, array<i64: 0, 2, 1>], mega.row_tile = 1 : i64, gpu.threads = 128 : i64, mega.parts = [@other_threads]}

// -----

// expected-error @+1 {{but @nobody is none}}
func.func private @joint(memref<?xf32>, index, index, index)
    attributes {mega.grid = [array<i64: 3, 1, 1>, array<i64: 0, 2, 1>], mega.row_tile = 1 : i64, gpu.threads = 128 : i64, mega.parts = [@nobody]}

// -----

// expected-error @+1 {{expects a kernel in mega.parts}}
func.func private @joint(memref<?xf32>, index, index, index)
    attributes {mega.grid = [array<i64: 3, 1, 1>, array<i64: 0, 2, 1>], mega.row_tile = 1 : i64, gpu.threads = 128 : i64, mega.parts = []}

// -----

// expected-error @+1 {{expects no body beside mega.parts}}
func.func private @joint(%x: memref<?xf32>, %batch: index, %length: index, %rows: index)
    attributes {mega.grid = [array<i64: 3, 1, 1>, array<i64: 0, 2, 1>], mega.row_tile = 1 : i64, gpu.threads = 128 : i64, mega.parts = [@joint]} {
  return
}

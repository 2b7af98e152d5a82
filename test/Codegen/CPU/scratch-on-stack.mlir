// RUN: otodus-opt %s --split-input-file --verify-diagnostics --pass-pipeline='builtin.module(func.func(otodus-scratch-on-stack))' | FileCheck %s

// One buffer at the start of the kernel serves all iterations. A tile that is shorter at the end
// of the rows is the leading part of it.

// CHECK-LABEL: func.func @kernel(
// CHECK-DAG:     %[[FIXED:[^ ]*]] = memref.alloca() {alignment = 64 : i64} : memref<4x32xf32>
// CHECK-DAG:     %[[TILE:[^ ]*]] = memref.alloca() {alignment = 64 : i64} : memref<24x4x32xf32>
// CHECK:         scf.for
// CHECK:           %[[SIZE:[^ ]*]] = affine.min
// CHECK:           %[[VIEW:[^ ]*]] = memref.reinterpret_cast %[[TILE]] to offset: [0], sizes: [%[[SIZE]], 4, 32], strides: [128, 32, 1]
// CHECK:           memref.store %{{.*}}, %[[VIEW]]
// CHECK:           memref.store %{{.*}}, %[[FIXED]]
// CHECK-NOT:     memref.alloc{{[( ]}}
// CHECK-NOT:     memref.dealloc
// CHECK:         return
func.func @kernel(%n: index, %v: f32) {
  %c0 = arith.constant 0 : index
  %c24 = arith.constant 24 : index
  scf.for %i = %c0 to %n step %c24 {
    %size = affine.min affine_map<(d0)[s0] -> (-d0 + s0, 24)>(%i)[%n]
    %tile = memref.alloc(%size) : memref<?x4x32xf32>
    %fixed = memref.alloc() : memref<4x32xf32>
    memref.store %v, %tile[%c0, %c0, %c0] : memref<?x4x32xf32>
    memref.store %v, %fixed[%c0, %c0] : memref<4x32xf32>
    memref.dealloc %tile : memref<?x4x32xf32>
    memref.dealloc %fixed : memref<4x32xf32>
  }
  return
}

// -----

func.func @without_a_bound(%n: index) {
  // expected-error @below {{expects scratch of a size with a constant bound}}
  %tile = memref.alloc(%n) : memref<?x32xf32>
  memref.dealloc %tile : memref<?x32xf32>
  return
}

// -----

func.func @two_sizes_vary(%i: index, %n: index) {
  %size = affine.min affine_map<(d0)[s0] -> (-d0 + s0, 24)>(%i)[%n]
  // expected-error @below {{expects only the first size of scratch to vary, but dimension 1 does too}}
  %tile = memref.alloc(%size, %size) : memref<?x?xf32>
  memref.dealloc %tile : memref<?x?xf32>
  return
}

// RUN: otodus-opt %s --split-input-file --verify-diagnostics --otodus-outline-grid | FileCheck %s

// A kernel gets the signature of the ABI: (arguments, lo, hi). Buffers come from the table,
// batch, length and rows behind it; the grid becomes a loop over its work items lo..hi.

// CHECK-LABEL: func.func @rows(
// CHECK-SAME:    %[[ARGS:[^ ]*]]: !llvm.ptr, %[[LO:[^ ]*]]: i64, %[[HI:[^ ]*]]: i64)
// CHECK:         %[[TABLE:[^ ]*]] = llvm.load %{{.*}} : !llvm.ptr -> !llvm.ptr
// CHECK:         llvm.getelementptr %[[TABLE]][0]
// CHECK:         builtin.unrealized_conversion_cast {{.*}} to memref<?xf32>
// CHECK:         llvm.getelementptr %[[TABLE]][8]
// CHECK:         builtin.unrealized_conversion_cast {{.*}} to memref<?xf32>
// CHECK:         %[[FIRST:[^ ]*]] = arith.index_cast %[[LO]] : i64 to index
// CHECK:         %[[LAST:[^ ]*]] = arith.index_cast %[[HI]] : i64 to index
// CHECK:         scf.for %[[ITEM:[^ ]*]] = %[[FIRST]] to %[[LAST]]
// CHECK:           %[[AT:[^ ]*]]:2 = affine.delinearize_index %[[ITEM]]
// CHECK:           memref.load
// CHECK-NOT:     scf.forall
// CHECK:         return
func.func private @rows(%x: memref<?xf32>, %y: memref<?xf32>, %batch: index, %length: index,
                        %rows: index) attributes {mega.grid = [array<i64: 3, 1, 8>, array<i64: 0, 2, 1>]} {
  scf.forall (%i, %j) = (0, 0) to (%rows, 2) step (8, 1) {
    %v = memref.load %x[%i] : memref<?xf32>
    memref.store %v, %y[%j] : memref<?xf32>
  }
  return
}

// A grid that has been folded away is one item: no loop.

// CHECK-LABEL: func.func @one_item(
// CHECK-SAME:    !llvm.ptr, %{{[^ ]*}}: i64, %{{[^ ]*}}: i64)
// CHECK-NOT:     scf.for
// CHECK:         memref.store
func.func private @one_item(%x: memref<?xf32>, %batch: index, %length: index, %rows: index)
    attributes {mega.grid = []} {
  %c0 = arith.constant 0 : index
  %v = arith.constant 1.0 : f32
  memref.store %v, %x[%c0] : memref<?xf32>
  return
}

// Functions that are no kernels stay.

// CHECK-LABEL: func.func private @other(
// CHECK-SAME:    memref<?xf32>)
// CHECK:         scf.forall
func.func private @other(%x: memref<?xf32>) {
  %v = arith.constant 1.0 : f32
  scf.forall (%i) in (4) {
    memref.store %v, %x[%i] : memref<?xf32>
  }
  return
}

// -----

// expected-error @below {{expects one scf.forall in a kernel, but got 2}}
func.func private @two_grids(%x: memref<?xf32>, %batch: index, %length: index, %rows: index)
    attributes {mega.grid = []} {
  %v = arith.constant 1.0 : f32
  scf.forall (%i) in (4) {
    memref.store %v, %x[%i] : memref<?xf32>
  }
  scf.forall (%i) in (4) {
    memref.store %v, %x[%i] : memref<?xf32>
  }
  return
}

// -----

func.func private @on_tensors(%x: tensor<4xf32>, %batch: index, %length: index, %rows: index)
    attributes {mega.grid = []} {
  // expected-error @below {{expects a grid on buffers; bufferize first}}
  %y = scf.forall (%i) in (4) shared_outs(%o = %x) -> tensor<4xf32> {
    %e = tensor.extract_slice %o[%i] [1] [1] : tensor<4xf32> to tensor<1xf32>
    scf.forall.in_parallel {
      tensor.parallel_insert_slice %e into %o[%i] [1] [1] : tensor<1xf32> into tensor<4xf32>
    }
  }
  return
}

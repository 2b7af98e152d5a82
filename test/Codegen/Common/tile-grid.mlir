// RUN: otodus-opt %s --pass-pipeline='builtin.module(func.func(otodus-choose-schedule),otodus-build-kernels,func.func(cse,otodus-tile-grid,canonicalize,cse))' | FileCheck %s

// Functions that are no kernel of rows stay as they are.

// CHECK-LABEL: func.func @no_kernel
// CHECK-NEXT:    linalg.generic
// CHECK-NOT:     scf.forall
func.func @no_kernel(%x: tensor<4x32xf32>) -> tensor<4x32xf32> {
  %y = linalg.generic {indexing_maps = [affine_map<(d0, d1) -> (d0, d1)>],
                       iterator_types = ["parallel", "parallel"]} outs(%x : tensor<4x32xf32>) {
  ^bb0(%out: f32):
    %s = arith.addf %out, %out : f32
    linalg.yield %s : f32
  } -> tensor<4x32xf32>
  return %y : tensor<4x32xf32>
}

// One work item computes a block of rows from start to end: the norm of its rows, once, into
// scratch of the block's size, then the product, written where the result lies.

// CHECK-LABEL: func.func private @k0_norm_linear_r4(
// CHECK-SAME:    mega.grid = [array<i64: 3, 1, [[ROWS:[0-9]+]]>]
// CHECK:         %[[RESULT:[^ ,)]+]] = bufferization.to_tensor %{{.*}} restrict writable : memref<?x4x3x32xf32
// CHECK-NOT:     linalg.
// CHECK:         scf.forall (%[[I:[^ ,)]+]]) = (0) to (%{{.*}}) step ({{.*}}) shared_outs(%[[OUT:[^ ,)]+]] = %[[RESULT]])
// CHECK:           %[[SIZE:[^ ,)]+]] = affine.min
// CHECK:           math.sqrt
// CHECK:           %[[SCRATCH:[^ ,)]+]] = tensor.empty(%[[SIZE]]) : tensor<?x4x2x32xf32>
// CHECK:           %[[NORM:[^ ,)]+]] = linalg.generic {{.*}} outs(%[[SCRATCH]] :
// CHECK:           %[[PLACE:[^ ,)]+]] = tensor.extract_slice %[[OUT]][%[[I]],
// CHECK:           %[[ZERO:[^ ,)]+]] = linalg.fill {{.*}} outs(%[[PLACE]] :
// CHECK:           linalg.generic {{.*}} ins(%[[NORM]], {{.*}} outs(%[[ZERO]] :
// CHECK-NOT:       linalg.generic
// CHECK:         scf.forall.in_parallel
// CHECK:       return
func.func @norm_linear(%x: tensor<?x?x64xf32>, %w: tensor<96x64xf32>) -> tensor<?x?x96xf32> {
  %g = mega.group "norm_linear" (%a = %x : tensor<?x?x64xf32>, %b = %w : tensor<96x64xf32>)
      -> (tensor<?x?x96xf32>) schedule(<row_tiles = [4]>) {
    %n = mega.rms_norm %a eps(1.0e-5) : (tensor<?x?x64xf32>) -> tensor<?x?x64xf32>
    %y = mega.linear %n, %b : (tensor<?x?x64xf32>, tensor<96x64xf32>) -> tensor<?x?x96xf32>
    mega.yield %y : tensor<?x?x96xf32>
  }
  return %g : tensor<?x?x96xf32>
}

// The two products of SwiGLU read one norm: it is computed once.

// CHECK-LABEL: func.func private @k1_swiglu_r4(
// CHECK:         scf.forall
// CHECK-COUNT-1: math.sqrt
// CHECK-NOT:     math.sqrt
// CHECK:         %[[NORM:[^ ,)]+]] = linalg.generic {{.*}} outs(%{{.*}} : tensor<?x4x2x32xf32>)
// CHECK:         linalg.generic {{.*}} ins(%[[NORM]],
// CHECK:         linalg.generic {{.*}} ins(%[[NORM]],
// CHECK:       return
func.func @swiglu(%x: tensor<?x?x64xf32>, %u: tensor<96x64xf32>, %v: tensor<96x64xf32>)
    -> tensor<?x?x96xf32> {
  %g = mega.group "swiglu" (%a = %x : tensor<?x?x64xf32>, %b = %u : tensor<96x64xf32>,
                            %c = %v : tensor<96x64xf32>) -> (tensor<?x?x96xf32>) schedule(<row_tiles = [4]>) {
    %n = mega.rms_norm %a eps(1.0e-5) : (tensor<?x?x64xf32>) -> tensor<?x?x64xf32>
    %p = mega.linear %n, %b : (tensor<?x?x64xf32>, tensor<96x64xf32>) -> tensor<?x?x96xf32>
    %s = mega.silu %p : tensor<?x?x96xf32>
    %q = mega.linear %n, %c : (tensor<?x?x64xf32>, tensor<96x64xf32>) -> tensor<?x?x96xf32>
    %y = arith.mulf %s, %q : tensor<?x?x96xf32>
    mega.yield %y : tensor<?x?x96xf32>
  }
  return %g : tensor<?x?x96xf32>
}

// A wide result is cut into columns too: the grid has a second dimension.

// CHECK-LABEL: func.func private @k2_wide_r4(
// CHECK-SAME:    mega.grid = [array<i64: 3, 1, {{[0-9]+}}>, array<i64: 0, {{[0-9]+}}, 1>]
// CHECK:         scf.forall (%{{.*}}, %{{.*}}) = (0, 0) to (%{{.*}}, 32)
func.func @wide(%x: tensor<?x?x64xf32>, %w: tensor<1024x64xf32>) -> tensor<?x?x1024xf32> {
  %g = mega.group "wide" (%a = %x : tensor<?x?x64xf32>, %b = %w : tensor<1024x64xf32>)
      -> (tensor<?x?x1024xf32>) schedule(<row_tiles = [4]>) {
    %y = mega.linear %a, %b : (tensor<?x?x64xf32>, tensor<1024x64xf32>) -> tensor<?x?x1024xf32>
    mega.yield %y : tensor<?x?x1024xf32>
  }
  return %g : tensor<?x?x1024xf32>
}

// A norm of what a product computes needs whole rows: no columns in the grid.

// CHECK-LABEL: func.func private @k3_whole_r4(
// CHECK-SAME:    mega.grid = [array<i64: 3, 1, {{[0-9]+}}>]
// CHECK-SAME:    mega.whole_rows
// CHECK:         scf.forall (%{{[^,]*}}) = (0)
func.func @whole(%x: tensor<?x?x64xf32>, %w: tensor<1024x64xf32>) -> tensor<?x?x1024xf32> {
  %g = mega.group "whole" (%a = %x : tensor<?x?x64xf32>, %b = %w : tensor<1024x64xf32>)
      -> (tensor<?x?x1024xf32>) schedule(<row_tiles = [4]>) {
    %y = mega.linear %a, %b : (tensor<?x?x64xf32>, tensor<1024x64xf32>) -> tensor<?x?x1024xf32>
    %n = mega.rms_norm %y eps(1.0e-5) : (tensor<?x?x1024xf32>) -> tensor<?x?x1024xf32>
    mega.yield %n : tensor<?x?x1024xf32>
  }
  return %g : tensor<?x?x1024xf32>
}

// Heads are a dimension of the grid.

// CHECK-LABEL: func.func private @k4_heads_r4(
// CHECK-SAME:    mega.grid = [array<i64: 3, 1, {{[0-9]+}}>, array<i64: 0, 2, 1>]
// CHECK:         scf.forall (%{{.*}}, %{{.*}}) = (0, 0) to (%{{.*}}, 2)
func.func @heads(%x: tensor<?x?x64xf32>, %w: tensor<128x64xf32>) -> tensor<?x?x2x64xf32> {
  %g = mega.group "heads" (%a = %x : tensor<?x?x64xf32>, %b = %w : tensor<128x64xf32>)
      -> (tensor<?x?x2x64xf32>) schedule(<row_tiles = [4]>) {
    %y = mega.linear %a, %b : (tensor<?x?x64xf32>, tensor<128x64xf32>) -> tensor<?x?x2x64xf32>
    mega.yield %y : tensor<?x?x2x64xf32>
  }
  return %g : tensor<?x?x2x64xf32>
}

// Elementwise ops become one loop.

// CHECK-LABEL: func.func private @k5_elementwise_r4(
// CHECK:         linalg.generic
// CHECK:         arith.addf
// CHECK-NEXT:    arith.mulf
// CHECK-NEXT:    arith.mulf
// CHECK-NEXT:    linalg.yield
// CHECK-NOT:     linalg.generic
// CHECK:       return
func.func @elementwise(%x: tensor<?x?x64xf32>, %y: tensor<?x?x64xf32>) -> tensor<?x?x64xf32> {
  %g = mega.group "elementwise" (%a = %x : tensor<?x?x64xf32>, %b = %y : tensor<?x?x64xf32>)
      -> (tensor<?x?x64xf32>) schedule(<row_tiles = [4]>) {
    %s = arith.addf %a, %b : tensor<?x?x64xf32>
    %p = arith.mulf %s, %b : tensor<?x?x64xf32>
    %q = arith.mulf %p, %p : tensor<?x?x64xf32>
    mega.yield %q : tensor<?x?x64xf32>
  }
  return %g : tensor<?x?x64xf32>
}

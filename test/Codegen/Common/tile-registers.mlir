// RUN: otodus-opt %s --pass-pipeline='builtin.module(func.func(otodus-choose-schedule),otodus-build-kernels,func.func(cse,otodus-tile-grid,canonicalize,cse,otodus-tile-registers,canonicalize,cse))' | FileCheck %s

// Loops over column blocks and row tiles hold the product and what follows it; the norm in front
// of it stays outside.

// CHECK-LABEL: func.func private @k0_norm_linear_r4(
// CHECK:         scf.forall
// CHECK:           math.sqrt
// CHECK:           %[[NORM:[^ ,)]+]] = linalg.generic {{.*}} outs(%{{.*}} : tensor<?x4x2x32xf32>)
// CHECK:           scf.for %[[COLUMN:[^ ,)]+]] = %{{.*}} to %c3
// CHECK:             scf.for %[[ROW:[^ ,)]+]] = %{{.*}}
// CHECK-NOT:           math.sqrt
// CHECK:               %[[A:[^ ,)]+]] = tensor.extract_slice %[[NORM]][%[[ROW]], 0, 0, 0] [1, 4, 2, 32]
// CHECK:               %[[B:[^ ,)]+]] = tensor.extract_slice %{{.*}}[%[[COLUMN]], 0, 0, 0] [1, 2, 32, 32]
// CHECK:               linalg.generic {{.*}} ins(%[[A]], %[[B]] : {{.*}} outs(%{{.*}} : tensor<1x4x1x32xf32>)
// CHECK:               } -> tensor<1x4x1x32xf32>
// CHECK:               scf.yield
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

// SwiGLU: both products, and the gate with the multiplication in one loop, run on one register
// tile; the shared norm is computed once, outside.

// CHECK-LABEL: func.func private @k1_swiglu_r4(
// CHECK:         scf.forall
// CHECK:           math.sqrt
// CHECK:           %[[NORM:[^ ,)]+]] = linalg.generic {{.*}} outs(%{{.*}} : tensor<?x4x2x32xf32>)
// CHECK:           scf.for
// CHECK:             scf.for
// CHECK-NOT:           math.sqrt
// CHECK:               %[[A:[^ ,)]+]] = tensor.extract_slice %[[NORM]]
// CHECK:               linalg.generic {{.*}} ins(%[[A]],
// CHECK:               linalg.generic {{.*}} ins(%[[A]],
// CHECK:               linalg.generic
// CHECK:               math.exp
// CHECK-NOT:           linalg.generic
// CHECK:               arith.mulf
// CHECK:               scf.yield
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

// Without a product there is nothing to keep in registers.

// CHECK-LABEL: func.func private @k2_sum_r4(
// CHECK:         scf.forall
// CHECK-NOT:     scf.for{{ }}
// CHECK:       return
func.func @sum(%x: tensor<?x?x64xf32>) -> tensor<?x?x64xf32> {
  %g = mega.group "sum" (%a = %x : tensor<?x?x64xf32>) -> (tensor<?x?x64xf32>) schedule(<row_tiles = [4]>) {
    %y = arith.addf %a, %a : tensor<?x?x64xf32>
    mega.yield %y : tensor<?x?x64xf32>
  }
  return %g : tensor<?x?x64xf32>
}

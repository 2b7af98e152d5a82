// RUN: otodus-opt %s | otodus-opt | FileCheck %s
// RUN: otodus-opt %s --canonicalize | FileCheck %s --check-prefix=CANONICAL
// RUN: otodus-opt %s --otodus-fused-stage | FileCheck %s --check-prefix=FUSED

// CHECK-LABEL: func.func @forward(
// CHECK-SAME:    tensor<4xi32> {mega.noise = 3 : i64}
// CHECK:         mega.dropout %{{.*}}, %{{.*}}, %{{.*}} p(2.500000e-01) place(3) : tensor<?x?x2x48xf32>, tensor<?x?xi32>, tensor<4xi32>

// A probability of 0 is no dropout.
// CANONICAL-LABEL: func.func @none(
// CANONICAL-SAME:    %[[X:[^:]*]]: tensor<?x?x8xf32>
// CANONICAL-NEXT:    return %[[X]]

// It follows the product in one kernel, its backward step (the same mask) too.
// FUSED-LABEL: func.func @forward(
// FUSED:         mega.group
// FUSED:           mega.linear
// FUSED-NEXT:      mega.dropout
// FUSED-NEXT:      mega.yield
// FUSED-LABEL: func.func @gradients(
// FUSED:         mega.dropout {{.*}} p(2.500000e-01) place(3)
// FUSED:         mega.dropout {{.*}} p(2.500000e-01) place(3)
// FUSED:         mega.linear_input_gradient

mega.weight @w : tensor<96x64xf32>
func.func @forward(%x: tensor<?x?x64xf32> {mega.name = "x"},
                   %rows: tensor<?x?xi32> {mega.name = "row_numbers"},
                   %noise: tensor<4xi32> {mega.noise = 3})
    -> (tensor<?x?x2x48xf32> {mega.name = "y"}) attributes {mega.differentiate = "gradients"} {
  %w = mega.use_weight @w : tensor<96x64xf32>
  %y = mega.linear %x, %w : (tensor<?x?x64xf32>, tensor<96x64xf32>) -> tensor<?x?x2x48xf32>
  %d = mega.dropout %y, %rows, %noise p(0.25) place(3)
      : tensor<?x?x2x48xf32>, tensor<?x?xi32>, tensor<4xi32>
  return %d : tensor<?x?x2x48xf32>
}

func.func @none(%x: tensor<?x?x8xf32>, %rows: tensor<?x?xi32>, %noise: tensor<4xi32>)
    -> tensor<?x?x8xf32> {
  %d = mega.dropout %x, %rows, %noise p(0.0) place(0)
      : tensor<?x?x8xf32>, tensor<?x?xi32>, tensor<4xi32>
  return %d : tensor<?x?x8xf32>
}

// RUN: otodus-opt %s -resolve-ranked-shaped-type-result-dims -canonicalize | FileCheck %s

// Sizes of results are asked of operands, so that no op is computed for its size.

// CHECK-LABEL: func.func @activation
// CHECK-SAME: (%[[X:.*]]: tensor<?x?x8xf32>
func.func @activation(%x: tensor<?x?x8xf32>, %w: tensor<6x8xf32>) -> (index, index, index) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c2 = arith.constant 2 : index
  %y = mega.linear %x, %w : (tensor<?x?x8xf32>, tensor<6x8xf32>) -> tensor<?x?x6xf32>
  // CHECK-DAG: %[[C6:.*]] = arith.constant 6
  // CHECK-DAG: %[[C0:.*]] = arith.constant 0
  // CHECK-DAG: %[[C1:.*]] = arith.constant 1
  // CHECK-DAG: %[[B:.*]] = tensor.dim %[[X]], %[[C0]]
  // CHECK-DAG: %[[L:.*]] = tensor.dim %[[X]], %[[C1]]
  // CHECK: return %[[B]], %[[L]], %[[C6]]
  %b = tensor.dim %y, %c0 : tensor<?x?x6xf32>
  %l = tensor.dim %y, %c1 : tensor<?x?x6xf32>
  %n = tensor.dim %y, %c2 : tensor<?x?x6xf32>
  return %b, %l, %n : index, index, index
}

// CHECK-LABEL: func.func @state
// CHECK-SAME: %[[H:[^:]*]]: tensor<?x8x4xf32>
func.func @state(%x: tensor<8x?xf32>, %init: tensor<?x?x8xf32>, %h: tensor<?x8x4xf32>) -> (index, index) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %y, %h1 = mega.scan ins(%x : tensor<8x?xf32>) init(%init : tensor<?x?x8xf32>)
      states(%h : tensor<?x8x4xf32>) maps [affine_map<(b, t, d, n) -> (d, t)>] {
  ^bb0(%xt: f32, %ht: f32):
    mega.scan_yield %ht, %xt : f32, f32
  }
  // CHECK-DAG: %[[B:.*]] = tensor.dim %[[H]]
  // CHECK-DAG: %[[L:.*]] = tensor.dim %{{.*}} : tensor<?x?x8xf32>
  // CHECK: return %[[B]], %[[L]]
  %b = tensor.dim %h1, %c0 : tensor<?x8x4xf32>
  %l = tensor.dim %y, %c1 : tensor<?x?x8xf32>
  return %b, %l : index, index
}

// CHECK-LABEL: @angles
// CHECK-SAME: (%[[T:[^:]*]]: tensor<?x?xi32>
func.func @angles(%tokens: tensor<?x?xi32>, %freqs: tensor<4xf32>, %position: tensor<?xi64>) -> index {
  %c1 = arith.constant 1 : index
  // CHECK: %[[L:.*]] = tensor.dim %[[T]]
  // CHECK: return %[[L]]
  %a = mega.rotary_angles %freqs at %position like %tokens chunk(16)
      : tensor<4xf32>, tensor<?xi64>, tensor<?x?xi32> -> tensor<?x?x2x8xf32>
  %l = tensor.dim %a, %c1 : tensor<?x?x2x8xf32>
  return %l : index
}

// RUN: otodus-opt %s -canonicalize -cse | FileCheck %s

mega.weight @w : tensor<4x8xf32>

// CHECK-LABEL: func.func @unit_scale
func.func @unit_scale(%x: tensor<?x?x8xf32>, %t: tensor<?x?xi32>, %table: tensor<4x8xf32>)
    -> (tensor<?x?x8xf32>, tensor<?x?x8xf32>) {
  // CHECK: mega.rms_norm %{{.*}} eps(1.000000e-05) :
  %y = mega.rms_norm %x eps(1.0e-5) scale(1.0) : (tensor<?x?x8xf32>) -> tensor<?x?x8xf32>
  // CHECK: mega.embed %{{.*}}, %{{.*}} : tensor<?x?xi32>
  %z = mega.embed %t, %table scale(1.0) : tensor<?x?xi32>, tensor<4x8xf32> -> tensor<?x?x8xf32>
  return %y, %z : tensor<?x?x8xf32>, tensor<?x?x8xf32>
}

// CHECK-LABEL: func.func @other_scale
func.func @other_scale(%x: tensor<?x?x8xf32>) -> tensor<?x?x8xf32> {
  // CHECK: mega.rms_norm %{{.*}} eps(1.000000e-05) scale(5.000000e-01)
  %y = mega.rms_norm %x eps(1.0e-5) scale(0.5) : (tensor<?x?x8xf32>) -> tensor<?x?x8xf32>
  return %y : tensor<?x?x8xf32>
}

// CHECK-LABEL: func.func @last_of_one
// CHECK-SAME: (%[[X:.*]]: tensor<?x1x8xf32>
func.func @last_of_one(%x: tensor<?x1x8xf32>) -> tensor<?x1x8xf32> {
  // CHECK-NEXT: return %[[X]]
  %y = mega.last %x : tensor<?x1x8xf32> -> tensor<?x1x8xf32>
  return %y : tensor<?x1x8xf32>
}

// CHECK-LABEL: func.func @last_of_unknown
func.func @last_of_unknown(%x: tensor<?x?x8xf32>) -> tensor<?x1x8xf32> {
  // CHECK: mega.last
  %y = mega.last %x : tensor<?x?x8xf32> -> tensor<?x1x8xf32>
  return %y : tensor<?x1x8xf32>
}

// What nobody reads goes away, and a weight is read once.

// CHECK-LABEL: func.func @unused
func.func @unused(%x: tensor<?x?x8xf32>) {
  // CHECK-NEXT: return
  %w = mega.use_weight @w : tensor<4x8xf32>
  %y = mega.linear %x, %w : (tensor<?x?x8xf32>, tensor<4x8xf32>) -> tensor<?x?x4xf32>
  %u = mega.group "silu" (%a = %y : tensor<?x?x4xf32>) -> (tensor<?x?x4xf32>) {
    %s = mega.silu %a : tensor<?x?x4xf32>
    mega.yield %s : tensor<?x?x4xf32>
  }
  return
}

// CHECK-LABEL: func.func @one_use
func.func @one_use() -> (tensor<4x8xf32>, tensor<4x8xf32>) {
  // CHECK-NEXT: %[[W:.*]] = mega.use_weight @w
  // CHECK-NEXT: return %[[W]], %[[W]]
  %a = mega.use_weight @w : tensor<4x8xf32>
  %b = mega.use_weight @w : tensor<4x8xf32>
  return %a, %b : tensor<4x8xf32>, tensor<4x8xf32>
}

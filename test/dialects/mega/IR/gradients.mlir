// RUN: otodus-opt %s | otodus-opt | FileCheck %s
// RUN: otodus-opt %s -mlir-print-op-generic | otodus-opt | FileCheck %s
// RUN: otodus-opt %s --emit-bytecode | otodus-opt | FileCheck %s

// CHECK-LABEL: func.func @rows
func.func @rows(%x: tensor<?x?x8xf32>, %dy: tensor<?x?x8xf32>, %h: tensor<?x?x2x4xf32>, %g: tensor<8xf32>, %w: tensor<6x8xf32>,
                %u: tensor<?x?x6xf32>, %a: tensor<?x?x2x4xf32>) {
  // CHECK: mega.silu_gradient %{{.*}}, %{{.*}} : tensor<?x?x8xf32>
  %0 = mega.silu_gradient %x, %dy : tensor<?x?x8xf32>
  // CHECK: mega.rotate_gradient %{{.*}}, %{{.*}} by %{{.*}} : tensor<?x?x2x4xf32>, tensor<?x?x2x4xf32>, tensor<?x?x2x4xf32>
  %1:2 = mega.rotate_gradient %h, %h by %a : tensor<?x?x2x4xf32>, tensor<?x?x2x4xf32>, tensor<?x?x2x4xf32>
  // CHECK: mega.linear_input_gradient %{{.*}}, %{{.*}} : (tensor<?x?x6xf32>, tensor<6x8xf32>) -> tensor<?x?x8xf32>
  %2 = mega.linear_input_gradient %u, %w : (tensor<?x?x6xf32>, tensor<6x8xf32>) -> tensor<?x?x8xf32>
  // CHECK: mega.linear_input_gradient %{{.*}}, %{{.*}} : (tensor<?x?x6xf32>, tensor<6x8xf32>) -> tensor<?x?x2x4xf32>
  %3 = mega.linear_input_gradient %u, %w : (tensor<?x?x6xf32>, tensor<6x8xf32>) -> tensor<?x?x2x4xf32>
  // CHECK: mega.rms_norm_gradient %{{.*}}, %{{.*}} weight %{{.*}} eps(1.000000e-05) scale(5.000000e-01)
  %4:2 = mega.rms_norm_gradient %x, %dy weight %g eps(1.0e-5) scale(0.5) : (tensor<?x?x8xf32>, tensor<?x?x8xf32>, tensor<8xf32>) -> (tensor<?x?x8xf32>, tensor<?x?x8xf32>)
  // CHECK: mega.rms_norm_gradient %{{.*}}, %{{.*}} eps(1.000000e-05) :
  %5:2 = mega.rms_norm_gradient %h, %h eps(1.0e-5) : (tensor<?x?x2x4xf32>, tensor<?x?x2x4xf32>) -> (tensor<?x?x2x4xf32>, tensor<?x?x2x4xf32>)
  // CHECK: mega.layer_norm_gradient %{{.*}}, %{{.*}} weight %{{.*}} eps(1.000000e-05)
  %6:2 = mega.layer_norm_gradient %x, %dy weight %g eps(1.0e-5) : (tensor<?x?x8xf32>, tensor<?x?x8xf32>, tensor<8xf32>) -> (tensor<?x?x8xf32>, tensor<?x?x8xf32>)
  return
}

// CHECK-LABEL: func.func @sums
func.func @sums(%x: tensor<?x?x8xf32>, %dy: tensor<?x?x6xf32>, %t: tensor<?x?xi32>, %w: tensor<6x8xf32>, %s: tensor<8xf32>, %m: tensor<2x8xf32>,
                %table: tensor<50x8xf32>) {
  // CHECK: mega.linear_weight_gradient %{{.*}}, %{{.*}} into %{{.*}} : tensor<?x?x6xf32>, tensor<?x?x8xf32>, tensor<6x8xf32>
  %0 = mega.linear_weight_gradient %dy, %x into %w : tensor<?x?x6xf32>, tensor<?x?x8xf32>, tensor<6x8xf32>
  // CHECK: mega.column_sum %{{.*}} into %{{.*}} : (tensor<?x?x8xf32>, tensor<8xf32>) -> tensor<8xf32>
  %1 = mega.column_sum %x into %s : (tensor<?x?x8xf32>, tensor<8xf32>) -> tensor<8xf32>
  // CHECK: mega.column_sum %{{.*}} by %{{.*}} into %{{.*}} row(1)
  %2 = mega.column_sum %x by %x into %m row(1) : (tensor<?x?x8xf32>, tensor<?x?x8xf32>, tensor<2x8xf32>) -> tensor<2x8xf32>
  // CHECK: mega.embed_gradient %{{.*}}, %{{.*}} into %{{.*}} scale(2.000000e+00) : tensor<?x?xi32>, tensor<?x?x8xf32>, tensor<50x8xf32>
  %3 = mega.embed_gradient %t, %x into %table scale(2.0) : tensor<?x?xi32>, tensor<?x?x8xf32>, tensor<50x8xf32>
  return
}

// CHECK-LABEL: func.func @loss
func.func @loss(%x: tensor<?x?x8xf32>, %w: tensor<50x8xf32>, %t: tensor<?x?xi32>, %c: tensor<16xf32>) {
  // CHECK: mega.linear_cross_entropy %{{.*}}, %{{.*}}, %{{.*}} :
  %nll, %sum = mega.linear_cross_entropy %x, %w, %t : (tensor<?x?x8xf32>, tensor<50x8xf32>, tensor<?x?xi32>) -> (tensor<?x?xf32>, tensor<?x?xf32>)
  // CHECK: mega.loss_input_gradient
  %dx = mega.loss_input_gradient %x, %w, %t, %sum, %c : (tensor<?x?x8xf32>, tensor<50x8xf32>, tensor<?x?xi32>, tensor<?x?xf32>, tensor<16xf32>) -> tensor<?x?x8xf32>
  // CHECK: mega.loss_weight_gradient
  %dw = mega.loss_weight_gradient %x, %w, %t, %sum, %c, %w : (tensor<?x?x8xf32>, tensor<50x8xf32>, tensor<?x?xi32>, tensor<?x?xf32>, tensor<16xf32>, tensor<50x8xf32>) -> tensor<50x8xf32>
  return
}

// CHECK-LABEL: func.func @optimizer
func.func @optimizer(%a: tensor<2048xf32>, %s: tensor<2xf32>, %c: tensor<16xf32>) {
  // CHECK: mega.squares %{{.*}}, %{{.*}} : (tensor<2048xf32>, tensor<2xf32>) -> tensor<2xf32>
  %0 = mega.squares %a, %s : (tensor<2048xf32>, tensor<2xf32>) -> tensor<2xf32>
  // CHECK: mega.adamw
  %1:3 = mega.adamw %a, %c, %a, %a, %a : (tensor<2048xf32>, tensor<16xf32>, tensor<2048xf32>, tensor<2048xf32>, tensor<2048xf32>) -> (tensor<2048xf32>, tensor<2048xf32>, tensor<2048xf32>)
  return
}

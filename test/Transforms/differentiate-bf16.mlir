// RUN: otodus-opt %s --otodus-differentiate --split-input-file | FileCheck %s

// Gradients of activations are bf16 like the activations, gradients of parameters f32; the sums of
// a product's gradients are fed by bf16 alone.

mega.weight @w : tensor<8x8xbf16>
mega.weight @b : tensor<8xf32>
mega.weight @g : tensor<8xf32>
func.func @linear(%x: tensor<?x?x8xbf16> {mega.name = "x"}) -> (tensor<?x?x8xbf16> {mega.name = "y"})
    attributes {mega.differentiate = "gradients"} {
  %w = mega.use_weight @w : tensor<8x8xbf16>
  %b = mega.use_weight @b : tensor<8xf32>
  %g = mega.use_weight @g : tensor<8xf32>
  %0 = mega.linear %x, %w bias %b : (tensor<?x?x8xbf16>, tensor<8x8xbf16>, tensor<8xf32>) -> tensor<?x?x8xbf16>
  %1 = mega.rms_norm %0 weight %g eps(1.0e-5) : (tensor<?x?x8xbf16>, tensor<8xf32>) -> tensor<?x?x8xbf16>
  return %1 : tensor<?x?x8xbf16>
}

// CHECK-LABEL: func.func @gradients(
// CHECK-SAME:    %[[COT:[^ :]*]]: tensor<?x?x8xbf16> {mega.name = "cot_y"}
// CHECK-SAME:    tensor<8xf32> {mega.gradient = "g"}
// CHECK-SAME:    tensor<8x8xf32> {mega.gradient = "w"}
// CHECK-SAME:    tensor<8xf32> {mega.gradient = "b"}
// CHECK-SAME:    tensor<?x?x8xbf16> {mega.name = "grad_x"}
// CHECK:         mega.rms_norm_gradient {{.*}} -> (tensor<?x?x8xbf16>, tensor<?x?x8xbf16>)
// CHECK:         mega.column_sum %[[COT]] by {{.*}} : (tensor<?x?x8xbf16>, tensor<?x?x8xbf16>, tensor<8xf32>) -> tensor<8xf32>
// CHECK:         mega.linear_weight_gradient {{.*}} : tensor<?x?x8xbf16>, tensor<?x?x8xbf16>, tensor<8x8xf32>
// CHECK:         mega.column_sum {{.*}} : (tensor<?x?x8xbf16>, tensor<8xf32>) -> tensor<8xf32>
// CHECK:         mega.linear_input_gradient {{.*}} : (tensor<?x?x8xbf16>, tensor<8x8xbf16>) -> tensor<?x?x8xbf16>

// -----

// Of attention: copies of keys and values keep their type, gradients of the open chunk are f32
// though the chunk is bf16.

func.func @attention(%q: tensor<?x?x2x4xbf16> {mega.name = "q"}, %k: tensor<?x?x2x4xbf16> {mega.name = "k"},
                     %v: tensor<?x?x2x6xbf16> {mega.name = "v"}, %position: tensor<?xi64> {mega.position},
                     %keys: tensor<?x8x2x4xbf16> {mega.state = "keys"}, %values: tensor<?x8x2x6xbf16> {mega.state = "values"})
    -> (tensor<?x?x2x6xbf16> {mega.name = "y"}, tensor<?x8x2x4xbf16> {mega.state = "keys"},
        tensor<?x8x2x6xbf16> {mega.state = "values"}) attributes {mega.differentiate = "gradients"} {
  %o, %keys1, %values1 = mega.chunk_attention %q, %k, %v, %keys, %values at %position chunk(8)
      : tensor<?x?x2x4xbf16>, tensor<?x?x2x6xbf16>, tensor<?x8x2x4xbf16>, tensor<?x8x2x6xbf16>, tensor<?xi64>
  return %o, %keys1, %values1 : tensor<?x?x2x6xbf16>, tensor<?x8x2x4xbf16>, tensor<?x8x2x6xbf16>
}

// CHECK-LABEL: func.func @gradients(
// CHECK-SAME:    tensor<?x8x2x4xf32> {mega.state_gradient = "keys"}
// CHECK-SAME:    tensor<?x8x2x6xf32> {mega.state_gradient = "values"}
// CHECK:         mega.chunk_panels {{.*}} -> (tensor<?x1x2048xbf16>, tensor<?x1x2048xbf16>)
// CHECK:         mega.chunk_query_gradient {{.*}} -> (tensor<?x?x2x4xbf16>, tensor<?x?x2xf32>, tensor<?x?x2xf32>)
// CHECK:         mega.chunk_key_gradient {{.*}} -> (tensor<?x?x2x4xbf16>, tensor<?x?x2x6xbf16>, tensor<?x8x2x4xf32>, tensor<?x8x2x6xf32>)

// -----

// Of ops that walk time: statistics, marks and gradients of states are f32.

mega.weight @alpha : tensor<8x4x1xf32>
mega.weight @delta : tensor<8x4x1xf32>
mega.weight @theta : tensor<8x1x1xf32>
mega.weight @gamma : tensor<8x4x2xf32>
mega.weight @omega : tensor<8x1xf32>
func.func @cema(%x: tensor<?x?x8xbf16> {mega.name = "x"}, %h: tensor<?x8x4x2xf32> {mega.state = "h"})
    -> (tensor<?x?x8xbf16> {mega.name = "y"}, tensor<?x8x4x2xf32> {mega.state = "h"})
    attributes {mega.differentiate = "gradients"} {
  %a = mega.use_weight @alpha : tensor<8x4x1xf32>
  %d = mega.use_weight @delta : tensor<8x4x1xf32>
  %t = mega.use_weight @theta : tensor<8x1x1xf32>
  %g = mega.use_weight @gamma : tensor<8x4x2xf32>
  %o = mega.use_weight @omega : tensor<8x1xf32>
  %y, %n = mega.cema %x, %a, %d, %t, %g, %o, %h
      : tensor<?x?x8xbf16>, tensor<8x4x1xf32>, tensor<8x1x1xf32>, tensor<8x4x2xf32>, tensor<8x1xf32>, tensor<?x8x4x2xf32>
  return %y, %n : tensor<?x?x8xbf16>, tensor<?x8x4x2xf32>
}

// CHECK-LABEL: func.func @gradients(
// CHECK:         mega.cema_saving {{.*}} -> (tensor<?x?x8xbf16>, tensor<?x8x4x2xf32>, tensor<?x1x256xf32>, tensor<?x?x8xf32>)
// CHECK:         mega.cema_gradient {{.*}} : (tensor<?x?x8xbf16>, tensor<?x?x8xbf16>, tensor<?x1x256xf32>, tensor<?x?x8xf32>,
// CHECK-SAME:      -> (tensor<?x?x8xbf16>, tensor<?x8x4x2xf32>, tensor<8x4x1xf32>,

// RUN: otodus-opt %s --split-input-file --verify-diagnostics

func.func @silu(%x: tensor<?x?x8xf32>, %dy: tensor<?x?x6xf32>) {
  // expected-error @+1 {{requires the same type for all operands and results}}
  %0 = "mega.silu_gradient"(%x, %dy) : (tensor<?x?x8xf32>, tensor<?x?x6xf32>) -> tensor<?x?x8xf32>
  return
}

// -----

func.func @rotate_angles(%h: tensor<?x?x2x4xf32>, %a: tensor<?x?x2x6xf32>) {
  // expected-error @+1 {{'mega.rotate_gradient' op expects angles to be [B, L, 2, d] = [?, ?, 2, 4], but got [?, ?, 2, 6]}}
  %0:2 = mega.rotate_gradient %h, %h by %a : tensor<?x?x2x4xf32>, tensor<?x?x2x4xf32>, tensor<?x?x2x6xf32>
  return
}

// -----

func.func @linear_input(%u: tensor<?x?x6xf32>, %w: tensor<6x8xf32>) {
  // expected-error @+1 {{'mega.linear_input_gradient' op expects weight to be [N, K] = [6, 9], but got [6, 8]}}
  %0 = mega.linear_input_gradient %u, %w : (tensor<?x?x6xf32>, tensor<6x8xf32>) -> tensor<?x?x9xf32>
  return
}

// -----

func.func @linear_weight(%u: tensor<?x?x6xf32>, %x: tensor<?x?x8xf32>, %w: tensor<8x6xf32>) {
  // expected-error @+1 {{'mega.linear_weight_gradient' op expects dweight to be [N, K] = [6, 8], but got [8, 6]}}
  %0 = mega.linear_weight_gradient %u, %x into %w : tensor<?x?x6xf32>, tensor<?x?x8xf32>, tensor<8x6xf32>
  return
}

// -----

func.func @rms_gain(%x: tensor<?x?x8xf32>, %g: tensor<6xf32>) {
  // expected-error @+1 {{'mega.rms_norm_gradient' op expects weight to be [W] = [8], but got [6]}}
  %0:2 = mega.rms_norm_gradient %x, %x weight %g eps(1.0e-5) : (tensor<?x?x8xf32>, tensor<?x?x8xf32>, tensor<6xf32>) -> (tensor<?x?x8xf32>, tensor<?x?x8xf32>)
  return
}

// -----

func.func @rms_types(%x: tensor<?x?x8xf32>) {
  // expected-error @+1 {{failed to verify that all of {input, dy, dx, normal} have same type}}
  %0:2 = "mega.rms_norm_gradient"(%x, %x) {eps = 1.0e-5 : f64} : (tensor<?x?x8xf32>, tensor<?x?x8xf32>) -> (tensor<?x?x8xf32>, tensor<?x?x6xf32>)
  return
}

// -----

func.func @rms_eps(%x: tensor<?x?x8xf32>) {
  // expected-error @+1 {{'mega.rms_norm_gradient' op expects a positive and finite eps, but got 0.000000e+00}}
  %0:2 = mega.rms_norm_gradient %x, %x eps(0.0) : (tensor<?x?x8xf32>, tensor<?x?x8xf32>) -> (tensor<?x?x8xf32>, tensor<?x?x8xf32>)
  return
}

// -----

func.func @rms_scale(%x: tensor<?x?x8xf32>) {
  // expected-error @+1 {{'mega.rms_norm_gradient' op expects }}
  %0:2 = mega.rms_norm_gradient %x, %x eps(1.0e-5) scale(0x7FF0000000000000) : (tensor<?x?x8xf32>, tensor<?x?x8xf32>) -> (tensor<?x?x8xf32>, tensor<?x?x8xf32>)
  return
}

// -----

func.func @layer_gain(%x: tensor<?x?x8xf32>, %g: tensor<6xf32>) {
  // expected-error @+1 {{'mega.layer_norm_gradient' op expects weight to be [W] = [8], but got [6]}}
  %0:2 = mega.layer_norm_gradient %x, %x weight %g eps(1.0e-5) : (tensor<?x?x8xf32>, tensor<?x?x8xf32>, tensor<6xf32>) -> (tensor<?x?x8xf32>, tensor<?x?x8xf32>)
  return
}

// -----

func.func @layer_eps(%x: tensor<?x?x8xf32>) {
  // expected-error @+1 {{'mega.layer_norm_gradient' op expects a positive and finite eps, but got -1.000000e+00}}
  %0:2 = mega.layer_norm_gradient %x, %x eps(-1.0) : (tensor<?x?x8xf32>, tensor<?x?x8xf32>) -> (tensor<?x?x8xf32>, tensor<?x?x8xf32>)
  return
}

// -----

func.func @column_size(%x: tensor<?x?x8xf32>, %s: tensor<6xf32>) {
  // expected-error @+1 {{'mega.column_sum' op expects a sum of 8 elements, or rows of as many, but got 'tensor<6xf32>'}}
  %0 = mega.column_sum %x into %s : (tensor<?x?x8xf32>, tensor<6xf32>) -> tensor<6xf32>
  return
}

// -----

func.func @column_row(%x: tensor<?x?x8xf32>, %s: tensor<2x8xf32>) {
  // expected-error @+1 {{'mega.column_sum' op expects a row of its sum, which has 2, but got 2}}
  %0 = mega.column_sum %x into %s row(2) : (tensor<?x?x8xf32>, tensor<2x8xf32>) -> tensor<2x8xf32>
  return
}

// -----

func.func @column_factor(%x: tensor<?x?x8xf32>, %f: tensor<?x?x6xf32>, %s: tensor<8xf32>) {
  // expected-error @+1 {{'mega.column_sum' op expects a factor of the width 8 of its input, but got 'tensor<?x?x6xf32>'}}
  %0 = mega.column_sum %x by %f into %s : (tensor<?x?x8xf32>, tensor<?x?x6xf32>, tensor<8xf32>) -> tensor<8xf32>
  return
}

// -----

func.func @column_type(%x: tensor<?x?x8xf32>, %s: tensor<8xf32>) {
  // expected-error @+1 {{expects a state to leave with the type it has on entry, but got 'tensor<8xf32>' in and 'tensor<1x8xf32>'}}
  %0 = mega.column_sum %x into %s : (tensor<?x?x8xf32>, tensor<8xf32>) -> tensor<1x8xf32>
  return
}

// -----

func.func @embed_width(%t: tensor<?x?xi32>, %x: tensor<?x?x8xf32>, %table: tensor<50x6xf32>) {
  // expected-error @+1 {{'mega.embed_gradient' op expects dy to be [B, L, D] = [?, ?, 6], but got [?, ?, 8]}}
  %0 = mega.embed_gradient %t, %x into %table : tensor<?x?xi32>, tensor<?x?x8xf32>, tensor<50x6xf32>
  return
}

// -----

func.func @loss_width(%x: tensor<?x?x8xf32>, %w: tensor<50x6xf32>, %t: tensor<?x?xi32>) {
  // expected-error @+1 {{'mega.linear_cross_entropy' op expects weight to be [V, D] = [50, 8], but got [50, 6]}}
  %nll, %sum = mega.linear_cross_entropy %x, %w, %t : (tensor<?x?x8xf32>, tensor<50x6xf32>, tensor<?x?xi32>) -> (tensor<?x?xf32>, tensor<?x?xf32>)
  return
}

// -----

func.func @loss_targets(%x: tensor<2x?x8xf32>, %w: tensor<50x8xf32>, %t: tensor<3x?xi32>) {
  // expected-error @+1 {{'mega.linear_cross_entropy' op expects targets to be [B, L] = [2, ?], but got [3, ?]}}
  %nll, %sum = mega.linear_cross_entropy %x, %w, %t : (tensor<2x?x8xf32>, tensor<50x8xf32>, tensor<3x?xi32>) -> (tensor<2x?xf32>, tensor<2x?xf32>)
  return
}

// -----

func.func @loss_scalars(%x: tensor<?x?x8xf32>, %w: tensor<50x8xf32>, %t: tensor<?x?xi32>, %sum: tensor<?x?xf32>, %c: tensor<8xf32>) {
  // expected-error @+1 {{'mega.loss_input_gradient' op expects scalars to be [16] = [16], but got [8]}}
  %dx = mega.loss_input_gradient %x, %w, %t, %sum, %c : (tensor<?x?x8xf32>, tensor<50x8xf32>, tensor<?x?xi32>, tensor<?x?xf32>, tensor<8xf32>) -> tensor<?x?x8xf32>
  return
}

// -----

func.func @loss_weight(%x: tensor<?x?x8xf32>, %w: tensor<50x8xf32>, %t: tensor<?x?xi32>, %sum: tensor<?x?xf32>, %c: tensor<16xf32>, %d: tensor<48x8xf32>) {
  // expected-error @+1 {{'mega.loss_weight_gradient' op expects dweight to be [V, D] = [50, 8], but got [48, 8]}}
  %dw = mega.loss_weight_gradient %x, %w, %t, %sum, %c, %d : (tensor<?x?x8xf32>, tensor<50x8xf32>, tensor<?x?xi32>, tensor<?x?xf32>, tensor<16xf32>, tensor<48x8xf32>) -> tensor<48x8xf32>
  return
}

// -----

func.func @squares(%a: tensor<2048xf32>, %s: tensor<3xf32>) {
  // expected-error @+1 {{'mega.squares' op expects sums to be [n / 1024] = [2], but got [3]}}
  %0 = mega.squares %a, %s : (tensor<2048xf32>, tensor<3xf32>) -> tensor<3xf32>
  return
}

// -----

func.func @adamw(%a: tensor<2048xf32>, %b: tensor<1024xf32>, %c: tensor<16xf32>) {
  // expected-error @+1 {{failed to verify that all of {gradient, weight, first, second, new_weight, new_first, new_second} have same type}}
  %1:3 = mega.adamw %a, %c, %a, %b, %a : (tensor<2048xf32>, tensor<16xf32>, tensor<2048xf32>, tensor<1024xf32>, tensor<2048xf32>) -> (tensor<2048xf32>, tensor<1024xf32>, tensor<2048xf32>)
  return
}

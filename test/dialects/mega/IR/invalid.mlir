// RUN: otodus-opt %s -split-input-file -verify-diagnostics

// One case per constraint of the ops' descriptions; (Cn) is the constraint's number there.

//===----------------------------------------------------------------------===//
// Activations
//===----------------------------------------------------------------------===//

func.func @activation_rank(%x: tensor<?x8xf32>) {
  // expected-error @+1 {{operand #0 must be an activation [B, L, W] or [B, L, H, d] of f32 or bf16, with static sizes of at least 1 after batch and time, but got 'tensor<?x8xf32>'}}
  mega.silu %x : tensor<?x8xf32>
  return
}

// -----

func.func @activation_width(%x: tensor<?x?x?xf32>) {
  // expected-error @+1 {{operand #0 must be an activation}}
  mega.silu %x : tensor<?x?x?xf32>
  return
}

// -----

func.func @activation_empty_width(%x: tensor<?x?x0xf32>) {
  // expected-error @+1 {{operand #0 must be an activation}}
  mega.silu %x : tensor<?x?x0xf32>
  return
}

// -----

func.func @activation_element(%x: tensor<?x?x8xf64>) {
  // expected-error @+1 {{operand #0 must be an activation}}
  mega.silu %x : tensor<?x?x8xf64>
  return
}

// -----

//===----------------------------------------------------------------------===//
// weight, use_weight
//===----------------------------------------------------------------------===//

// (C1)
// expected-error @+1 {{'mega.weight' op expects a static shape, but got 'tensor<?x8xf32>'}}
mega.weight @w : tensor<?x8xf32>

// -----

func.func @weight_inside_function() {
  // expected-error @+1 {{'mega.weight' op expects parent op 'builtin.module'}}
  mega.weight @w : tensor<8xf32>
  return
}

// -----

// (C1)
func.func @use_weight_of_nothing() {
  // expected-error @+1 {{'mega.use_weight' op expects a mega.weight of this module, but got @w}}
  %w = mega.use_weight @w : tensor<8xf32>
  return
}

// -----

// (C1)
func.func @use_weight_of_function() {
  // expected-error @+1 {{'mega.use_weight' op expects a mega.weight of this module, but got @use_weight_of_function}}
  %w = mega.use_weight @use_weight_of_function : tensor<8xf32>
  return
}

// -----

// (C2)
mega.weight @w : tensor<8xf32>
func.func @use_weight_type() {
  // expected-error @+1 {{'mega.use_weight' op expects the type of the weight @w, 'tensor<8xf32>', but got 'tensor<9xf32>'}}
  %w = mega.use_weight @w : tensor<9xf32>
  return
}

// -----

//===----------------------------------------------------------------------===//
// embed
//===----------------------------------------------------------------------===//

// (C1)
func.func @embed_width(%t: tensor<?x?xi32>, %w: tensor<4x8xf32>) {
  // expected-error @+1 {{'mega.embed' op expects the result to be [B, L, D] = [?, ?, 8], but got [?, ?, 9]}}
  %x = mega.embed %t, %w : tensor<?x?xi32>, tensor<4x8xf32> -> tensor<?x?x9xf32>
  return
}

// -----

// (C1)
func.func @embed_element(%t: tensor<?x?xi32>, %w: tensor<4x8xbf16>) {
  // expected-error @+1 {{'mega.embed' op expects a result of the table's element type 'bf16', but got 'f32'}}
  %x = mega.embed %t, %w : tensor<?x?xi32>, tensor<4x8xbf16> -> tensor<?x?x8xf32>
  return
}

// -----

// (C2)
func.func @embed_scale(%t: tensor<?x?xi32>, %w: tensor<4x8xf32>) {
  // expected-error @+1 {{'mega.embed' op expects a finite scale, but got}}
  %x = mega.embed %t, %w scale(0x7FF0000000000000) : tensor<?x?xi32>, tensor<4x8xf32> -> tensor<?x?x8xf32>
  return
}

// -----

//===----------------------------------------------------------------------===//
// linear
//===----------------------------------------------------------------------===//

// (C1)
func.func @linear_weight(%x: tensor<?x?x2x4xf32>, %w: tensor<6x9xf32>) {
  // expected-error @+1 {{'mega.linear' op expects weight to be [N, K] = [6, 8], but got [6, 9]}}
  %y = mega.linear %x, %w : (tensor<?x?x2x4xf32>, tensor<6x9xf32>) -> tensor<?x?x6xf32>
  return
}

// -----

// (C2)
func.func @linear_weight_element(%x: tensor<?x?x8xf32>, %w: tensor<6x8xbf16>) {
  // expected-error @+1 {{'mega.linear' op expects a weight of the input's element type 'f32', but got 'bf16'}}
  %y = mega.linear %x, %w : (tensor<?x?x8xf32>, tensor<6x8xbf16>) -> tensor<?x?x6xf32>
  return
}

// -----

// (C3)
func.func @linear_batch(%x: tensor<2x?x8xf32>, %w: tensor<6x8xf32>) {
  // expected-error @+1 {{'mega.linear' op expects a result with the batch and time of the input, but got 'tensor<3x?x6xf32>' from 'tensor<2x?x8xf32>'}}
  %y = mega.linear %x, %w : (tensor<2x?x8xf32>, tensor<6x8xf32>) -> tensor<3x?x6xf32>
  return
}

// -----

// (C3)
func.func @linear_time(%x: tensor<?x5x8xf32>, %w: tensor<6x8xf32>) {
  // expected-error @+1 {{'mega.linear' op expects a result with the batch and time of the input}}
  %y = mega.linear %x, %w : (tensor<?x5x8xf32>, tensor<6x8xf32>) -> tensor<?x1x6xf32>
  return
}

// -----

// (C3)
func.func @linear_width(%x: tensor<?x?x8xf32>, %w: tensor<6x8xf32>) {
  // expected-error @+1 {{'mega.linear' op expects a result of flattened width 6, but got 8}}
  %y = mega.linear %x, %w : (tensor<?x?x8xf32>, tensor<6x8xf32>) -> tensor<?x?x2x4xf32>
  return
}

// -----

// (C4)
func.func @linear_element(%x: tensor<?x?x8xf32>, %w: tensor<6x8xf32>) {
  // expected-error @+1 {{'mega.linear' op expects a result of the input's element type 'f32' or f32, but got 'bf16'}}
  %y = mega.linear %x, %w : (tensor<?x?x8xf32>, tensor<6x8xf32>) -> tensor<?x?x6xbf16>
  return
}

// -----

// (C5)
func.func @linear_bias(%x: tensor<?x?x8xf32>, %w: tensor<6x8xf32>, %b: tensor<8xf32>) {
  // expected-error @+1 {{'mega.linear' op expects bias to be [N] = [6], but got [8]}}
  %y = mega.linear %x, %w bias %b : (tensor<?x?x8xf32>, tensor<6x8xf32>, tensor<8xf32>) -> tensor<?x?x6xf32>
  return
}

// -----

//===----------------------------------------------------------------------===//
// scale
//===----------------------------------------------------------------------===//

// (C1)
func.func @scale_factor(%x: tensor<?x?x2x4xf32>, %f: tensor<4xf32>) {
  // expected-error @+1 {{'mega.scale' op expects factor to be [W] = [8], but got [4]}}
  %y = mega.scale %x, %f : tensor<?x?x2x4xf32>, tensor<4xf32>
  return
}

// -----

//===----------------------------------------------------------------------===//
// rms_norm, layer_norm
//===----------------------------------------------------------------------===//

// (C1)
func.func @rms_norm_weight(%x: tensor<?x?x2x4xf32>, %w: tensor<4xf32>) {
  // expected-error @+1 {{'mega.rms_norm' op expects weight to be [W] = [8], but got [4]}}
  %y = mega.rms_norm %x weight %w eps(1.0e-5) : (tensor<?x?x2x4xf32>, tensor<4xf32>) -> tensor<?x?x2x4xf32>
  return
}

// -----

// (C2)
func.func @rms_norm_bias(%x: tensor<?x?x2x4xf32>, %b: tensor<4xf32>) {
  // expected-error @+1 {{'mega.rms_norm' op expects bias to be [W] = [8], but got [4]}}
  %y = mega.rms_norm %x bias %b eps(1.0e-5) : (tensor<?x?x2x4xf32>, tensor<4xf32>) -> tensor<?x?x2x4xf32>
  return
}

// -----

// (C3)
func.func @rms_norm_eps(%x: tensor<?x?x8xf32>) {
  // expected-error @+1 {{'mega.rms_norm' op expects a positive and finite eps, but got 0}}
  %y = mega.rms_norm %x eps(0.0) : (tensor<?x?x8xf32>) -> tensor<?x?x8xf32>
  return
}

// -----

// (C4)
func.func @rms_norm_scale(%x: tensor<?x?x8xf32>) {
  // expected-error @+1 {{'mega.rms_norm' op expects a finite scale, but got}}
  %y = mega.rms_norm %x eps(1.0e-5) scale(0x7FF8000000000000) : (tensor<?x?x8xf32>) -> tensor<?x?x8xf32>
  return
}

// -----

func.func @rms_norm_without_input(%w: tensor<8xf32>) {
  // expected-error @+1 {{'mega.rms_norm' op failed to verify that there is one input}}
  %y = "mega.rms_norm"(%w) <{eps = 1.0e-5 : f64, operandSegmentSizes = array<i32: 0, 1, 0>}>
      : (tensor<8xf32>) -> tensor<?x?x8xf32>
  return
}

// -----

func.func @layer_norm_two_inputs(%x: tensor<?x?x8xf32>) {
  // expected-error @+1 {{'mega.layer_norm' op failed to verify that there is one input}}
  %y = "mega.layer_norm"(%x, %x) <{eps = 1.0e-5 : f64, operandSegmentSizes = array<i32: 2, 0, 0>}>
      : (tensor<?x?x8xf32>, tensor<?x?x8xf32>) -> tensor<?x?x8xf32>
  return
}

// -----

// (C1)
func.func @layer_norm_weight(%x: tensor<?x?x8xf32>, %w: tensor<4xf32>) {
  // expected-error @+1 {{'mega.layer_norm' op expects weight to be [W] = [8], but got [4]}}
  %y = mega.layer_norm %x weight %w eps(1.0e-5) : (tensor<?x?x8xf32>, tensor<4xf32>) -> tensor<?x?x8xf32>
  return
}

// -----

// (C2)
func.func @layer_norm_bias(%x: tensor<?x?x8xf32>, %b: tensor<4xf32>) {
  // expected-error @+1 {{'mega.layer_norm' op expects bias to be [W] = [8], but got [4]}}
  %y = mega.layer_norm %x bias %b eps(1.0e-5) : (tensor<?x?x8xf32>, tensor<4xf32>) -> tensor<?x?x8xf32>
  return
}

// -----

// (C3)
func.func @layer_norm_eps(%x: tensor<?x?x8xf32>) {
  // expected-error @+1 {{'mega.layer_norm' op expects a positive and finite eps, but got -}}
  %y = mega.layer_norm %x eps(-1.0e-5) : (tensor<?x?x8xf32>) -> tensor<?x?x8xf32>
  return
}

// -----

//===----------------------------------------------------------------------===//
// timestep_norm
//===----------------------------------------------------------------------===//

// (C1)
func.func @timestep_norm_groups(%x: tensor<?x?x16xf32>, %w: tensor<16xf32>, %n: tensor<?xi64>,
                                %m: tensor<?x5xf32>) {
  // expected-error @+1 {{'mega.timestep_norm' op expects groups to divide the channel count, but 16 is not a multiple of 5}}
  %y:4 = mega.timestep_norm %x, %w, %w, %n, %m, %m groups(5) eps(1.0e-5)
      : tensor<?x?x16xf32>, tensor<16xf32>, tensor<?xi64>, tensor<?x5xf32>
  return
}

// -----

func.func @timestep_norm_no_groups(%x: tensor<?x?x16xf32>, %w: tensor<16xf32>, %n: tensor<?xi64>,
                                   %m: tensor<?x5xf32>) {
  // expected-error @+1 {{'mega.timestep_norm' op attribute 'groups' failed to satisfy constraint: 64-bit signless integer attribute whose value is positive}}
  %y:4 = mega.timestep_norm %x, %w, %w, %n, %m, %m groups(0) eps(1.0e-5)
      : tensor<?x?x16xf32>, tensor<16xf32>, tensor<?xi64>, tensor<?x5xf32>
  return
}

// -----

// (C2)
func.func @timestep_norm_weight(%x: tensor<?x?x16xf32>, %w: tensor<8xf32>, %n: tensor<?xi64>,
                                %m: tensor<?x4xf32>) {
  // expected-error @+1 {{'mega.timestep_norm' op expects weight to be [D] = [16], but got [8]}}
  %y:4 = mega.timestep_norm %x, %w, %w, %n, %m, %m groups(4) eps(1.0e-5)
      : tensor<?x?x16xf32>, tensor<8xf32>, tensor<?xi64>, tensor<?x4xf32>
  return
}

// -----

// (C2)
func.func @timestep_norm_bias(%x: tensor<?x?x16xf32>, %w: tensor<16xf32>, %b: tensor<8xf32>,
                              %n: tensor<?xi64>, %m: tensor<?x4xf32>) {
  // expected-error @+1 {{'mega.timestep_norm' op failed to verify that all of {weight, bias} have same type}}
  %y:4 = "mega.timestep_norm"(%x, %w, %b, %n, %m, %m) <{groups = 4, eps = 1.0e-5 : f64}>
      : (tensor<?x?x16xf32>, tensor<16xf32>, tensor<8xf32>, tensor<?xi64>, tensor<?x4xf32>, tensor<?x4xf32>)
      -> (tensor<?x?x16xf32>, tensor<?xi64>, tensor<?x4xf32>, tensor<?x4xf32>)
  return
}

// -----

// (C3)
func.func @timestep_norm_count(%x: tensor<2x?x16xf32>, %w: tensor<16xf32>, %n: tensor<3xi64>,
                               %m: tensor<2x4xf32>) {
  // expected-error @+1 {{'mega.timestep_norm' op expects count to be [B] = [2], but got [3]}}
  %y:4 = mega.timestep_norm %x, %w, %w, %n, %m, %m groups(4) eps(1.0e-5)
      : tensor<2x?x16xf32>, tensor<16xf32>, tensor<3xi64>, tensor<2x4xf32>
  return
}

// -----

// (C4)
func.func @timestep_norm_mean(%x: tensor<?x?x16xf32>, %w: tensor<16xf32>, %n: tensor<?xi64>,
                              %m: tensor<?x8xf32>) {
  // expected-error @+1 {{'mega.timestep_norm' op expects mean to be [B, G] = [?, 4], but got [?, 8]}}
  %y:4 = mega.timestep_norm %x, %w, %w, %n, %m, %m groups(4) eps(1.0e-5)
      : tensor<?x?x16xf32>, tensor<16xf32>, tensor<?xi64>, tensor<?x8xf32>
  return
}

// -----

// (C4)
func.func @timestep_norm_variance(%x: tensor<?x?x16xf32>, %w: tensor<16xf32>, %n: tensor<?xi64>,
                                  %m: tensor<?x4xf32>, %v: tensor<?x8xf32>) {
  // expected-error @+1 {{'mega.timestep_norm' op failed to verify that all of {mean, variance, new_mean, new_variance} have same type}}
  %y:4 = "mega.timestep_norm"(%x, %w, %w, %n, %m, %v) <{groups = 4, eps = 1.0e-5 : f64}>
      : (tensor<?x?x16xf32>, tensor<16xf32>, tensor<16xf32>, tensor<?xi64>, tensor<?x4xf32>, tensor<?x8xf32>)
      -> (tensor<?x?x16xf32>, tensor<?xi64>, tensor<?x4xf32>, tensor<?x4xf32>)
  return
}

// -----

// (C5)
func.func @timestep_norm_mask(%x: tensor<2x?x16xf32>, %w: tensor<16xf32>, %n: tensor<2xi64>,
                              %m: tensor<2x4xf32>, %mask: tensor<3x?xi1>) {
  // expected-error @+1 {{'mega.timestep_norm' op expects mask to be [B, L] = [2, ?], but got [3, ?]}}
  %y:4 = mega.timestep_norm %x, %w, %w, %n, %m, %m mask %mask groups(4) eps(1.0e-5)
      : tensor<2x?x16xf32>, tensor<16xf32>, tensor<2xi64>, tensor<2x4xf32>, tensor<3x?xi1>
  return
}

// -----

// (C6)
func.func @timestep_norm_eps(%x: tensor<?x?x16xf32>, %w: tensor<16xf32>, %n: tensor<?xi64>,
                             %m: tensor<?x4xf32>) {
  // expected-error @+1 {{'mega.timestep_norm' op expects a positive and finite eps, but got 0}}
  %y:4 = mega.timestep_norm %x, %w, %w, %n, %m, %m groups(4) eps(0.0)
      : tensor<?x?x16xf32>, tensor<16xf32>, tensor<?xi64>, tensor<?x4xf32>
  return
}

// -----

//===----------------------------------------------------------------------===//
// cema
//===----------------------------------------------------------------------===//

// (C1)
func.func @cema_alpha(%x: tensor<?x?x8xf32>, %a: tensor<9x4x1xf32>, %t: tensor<8x1x1xf32>,
                      %g: tensor<8x4x2xf32>, %o: tensor<8x1xf32>, %h: tensor<?x8x4x2xf32>) {
  // expected-error @+1 {{'mega.cema' op expects alpha to be [D, N, 1] = [8, 4, 1], but got [9, 4, 1]}}
  %y:2 = mega.cema %x, %a, %a, %t, %g, %o, %h
      : tensor<?x?x8xf32>, tensor<9x4x1xf32>, tensor<8x1x1xf32>, tensor<8x4x2xf32>, tensor<8x1xf32>, tensor<?x8x4x2xf32>
  return
}

// -----

// (C1)
func.func @cema_delta(%x: tensor<?x?x8xf32>, %a: tensor<8x4x1xf32>, %d: tensor<8x5x1xf32>,
                      %t: tensor<8x1x1xf32>, %g: tensor<8x4x2xf32>, %o: tensor<8x1xf32>,
                      %h: tensor<?x8x4x2xf32>) {
  // expected-error @+1 {{'mega.cema' op failed to verify that all of {alpha, delta} have same type}}
  %y:2 = "mega.cema"(%x, %a, %d, %t, %g, %o, %h)
      : (tensor<?x?x8xf32>, tensor<8x4x1xf32>, tensor<8x5x1xf32>, tensor<8x1x1xf32>, tensor<8x4x2xf32>,
         tensor<8x1xf32>, tensor<?x8x4x2xf32>) -> (tensor<?x?x8xf32>, tensor<?x8x4x2xf32>)
  return
}

// -----

// (C2)
func.func @cema_theta(%x: tensor<?x?x8xf32>, %a: tensor<8x4x1xf32>, %t: tensor<8x4x1xf32>,
                      %g: tensor<8x4x2xf32>, %o: tensor<8x1xf32>, %h: tensor<?x8x4x2xf32>) {
  // expected-error @+1 {{'mega.cema' op expects theta to be [D, 1, 1] = [8, 1, 1], but got [8, 4, 1]}}
  %y:2 = mega.cema %x, %a, %a, %t, %g, %o, %h
      : tensor<?x?x8xf32>, tensor<8x4x1xf32>, tensor<8x4x1xf32>, tensor<8x4x2xf32>, tensor<8x1xf32>, tensor<?x8x4x2xf32>
  return
}

// -----

// (C3)
func.func @cema_gamma(%x: tensor<?x?x8xf32>, %a: tensor<8x4x1xf32>, %t: tensor<8x1x1xf32>,
                      %g: tensor<8x4x1xf32>, %o: tensor<8x1xf32>, %h: tensor<?x8x4x2xf32>) {
  // expected-error @+1 {{'mega.cema' op expects gamma to be [D, N, 2] = [8, 4, 2], but got [8, 4, 1]}}
  %y:2 = mega.cema %x, %a, %a, %t, %g, %o, %h
      : tensor<?x?x8xf32>, tensor<8x4x1xf32>, tensor<8x1x1xf32>, tensor<8x4x1xf32>, tensor<8x1xf32>, tensor<?x8x4x2xf32>
  return
}

// -----

// (C4)
func.func @cema_omega(%x: tensor<?x?x8xf32>, %a: tensor<8x4x1xf32>, %t: tensor<8x1x1xf32>,
                      %g: tensor<8x4x2xf32>, %o: tensor<8x8xf32>, %h: tensor<?x8x4x2xf32>) {
  // expected-error @+1 {{'mega.cema' op expects omega to be [D, 1] = [8, 1], but got [8, 8]}}
  %y:2 = mega.cema %x, %a, %a, %t, %g, %o, %h
      : tensor<?x?x8xf32>, tensor<8x4x1xf32>, tensor<8x1x1xf32>, tensor<8x4x2xf32>, tensor<8x8xf32>, tensor<?x8x4x2xf32>
  return
}

// -----

// (C5)
func.func @cema_state(%x: tensor<3x?x8xf32>, %a: tensor<8x4x1xf32>, %t: tensor<8x1x1xf32>,
                      %g: tensor<8x4x2xf32>, %o: tensor<8x1xf32>, %h: tensor<2x8x4x2xf32>) {
  // expected-error @+1 {{'mega.cema' op expects state to be [B, D, N, 2] = [3, 8, 4, 2], but got [2, 8, 4, 2]}}
  %y:2 = mega.cema %x, %a, %a, %t, %g, %o, %h
      : tensor<3x?x8xf32>, tensor<8x4x1xf32>, tensor<8x1x1xf32>, tensor<8x4x2xf32>, tensor<8x1xf32>, tensor<2x8x4x2xf32>
  return
}

// -----

//===----------------------------------------------------------------------===//
// scan
//===----------------------------------------------------------------------===//

// (C1)
func.func @scan_map_count(%x: tensor<?x?x8xf32>, %h0: tensor<?x8x4xf32>) {
  // expected-error @+1 {{'mega.scan' op expects one map per input, but got 0 maps for 1 inputs}}
  %y:2 = mega.scan ins(%x : tensor<?x?x8xf32>) init(%x : tensor<?x?x8xf32>)
      states(%h0 : tensor<?x8x4xf32>) maps [] {
  ^bb0(%xt: f32, %h: f32):
    mega.scan_yield %h, %h : f32, f32
  }
  return
}

// -----

// (C2)
func.func @scan_map_space(%x: tensor<?x?x8xf32>, %h0: tensor<?x8x4xf32>) {
  // expected-error @+1 {{'mega.scan' op expects map 0 to be from (b, t, d, n) to some of them, each at most once, but got}}
  %y:2 = mega.scan ins(%x : tensor<?x?x8xf32>) init(%x : tensor<?x?x8xf32>)
      states(%h0 : tensor<?x8x4xf32>) maps [affine_map<(b, t, d) -> (b, t, d)>] {
  ^bb0(%xt: f32, %h: f32):
    mega.scan_yield %h, %h : f32, f32
  }
  return
}

// -----

// (C2)
func.func @scan_map_expression(%x: tensor<?x?x8xf32>, %h0: tensor<?x8x4xf32>) {
  // expected-error @+1 {{'mega.scan' op expects map 0 to be from (b, t, d, n) to some of them, each at most once, but got}}
  %y:2 = mega.scan ins(%x : tensor<?x?x8xf32>) init(%x : tensor<?x?x8xf32>)
      states(%h0 : tensor<?x8x4xf32>) maps [affine_map<(b, t, d, n) -> (b, t + 1, d)>] {
  ^bb0(%xt: f32, %h: f32):
    mega.scan_yield %h, %h : f32, f32
  }
  return
}

// -----

// (C3)
func.func @scan_input_rank(%x: tensor<?x?x8xf32>, %h0: tensor<?x8x4xf32>) {
  // expected-error @+1 {{'mega.scan' op expects input 0 to have rank 2 as its map says, but got 'tensor<?x?x8xf32>'}}
  %y:2 = mega.scan ins(%x : tensor<?x?x8xf32>) init(%x : tensor<?x?x8xf32>)
      states(%h0 : tensor<?x8x4xf32>) maps [affine_map<(b, t, d, n) -> (d, n)>] {
  ^bb0(%xt: f32, %h: f32):
    mega.scan_yield %h, %h : f32, f32
  }
  return
}

// -----

// (C3)
func.func @scan_input_size(%x: tensor<?x?x8xf32>, %q: tensor<8x5xf32>, %h0: tensor<?x8x4xf32>) {
  // expected-error @+1 {{'mega.scan' op expects dimension 1 of input 0 to be 4, but got 'tensor<8x5xf32>'}}
  %y:2 = mega.scan ins(%q : tensor<8x5xf32>) init(%x : tensor<?x?x8xf32>)
      states(%h0 : tensor<?x8x4xf32>) maps [affine_map<(b, t, d, n) -> (d, n)>] {
  ^bb0(%qd: f32, %h: f32):
    mega.scan_yield %h, %h : f32, f32
  }
  return
}

// -----

// (C4)
func.func @scan_no_state(%x: tensor<?x?x8xf32>) {
  // expected-error @+1 {{'mega.scan' op expects at least one state, but got none}}
  %y = "mega.scan"(%x) <{indexing_maps = [], operandSegmentSizes = array<i32: 0, 1, 0>}> ({
    %c = arith.constant 1.0 : f32
    mega.scan_yield %c : f32
  }) : (tensor<?x?x8xf32>) -> tensor<?x?x8xf32>
  return
}

// -----

// (C5)
func.func @scan_state_shape(%x: tensor<?x?x8xf32>, %h0: tensor<?x9x4xf32>) {
  // expected-error @+1 {{'mega.scan' op expects a state to be [B, D, N] = [?, 8, 4], but got [?, 9, 4]}}
  %y:2 = mega.scan init(%x : tensor<?x?x8xf32>) states(%h0 : tensor<?x9x4xf32>) maps [] {
  ^bb0(%h: f32):
    mega.scan_yield %h, %h : f32, f32
  }
  return
}

// -----

// (C5)
func.func @scan_states_differ(%x: tensor<?x?x8xf32>, %h0: tensor<?x8x4xf32>, %g0: tensor<?x8x5xf32>) {
  // expected-error @+1 {{'mega.scan' op expects all states to have one type, but got 'tensor<?x8x4xf32>' and 'tensor<?x8x5xf32>'}}
  %y:3 = mega.scan init(%x : tensor<?x?x8xf32>)
      states(%h0, %g0 : tensor<?x8x4xf32>, tensor<?x8x5xf32>) maps [] {
  ^bb0(%h: f32, %g: f32):
    mega.scan_yield %h, %g, %h : f32, f32, f32
  }
  return
}

// -----

// (C5)
func.func @scan_dynamic_modes(%x: tensor<?x?x8xf32>, %h0: tensor<?x8x?xf32>) {
  // expected-error @+1 {{'mega.scan' op expects a static number of modes, but got states of type 'tensor<?x8x?xf32>'}}
  %y:2 = mega.scan init(%x : tensor<?x?x8xf32>) states(%h0 : tensor<?x8x?xf32>) maps [] {
  ^bb0(%h: f32):
    mega.scan_yield %h, %h : f32, f32
  }
  return
}

// -----

// (C6)
func.func @scan_results(%x: tensor<?x?x8xf32>, %h0: tensor<?x8x4xf32>) {
  // expected-error @+1 {{'mega.scan' op expects as many states out as in, but got 1 in and 0 out}}
  %y = "mega.scan"(%x, %h0) <{indexing_maps = [], operandSegmentSizes = array<i32: 0, 1, 1>}> ({
  ^bb0(%h: f32):
    mega.scan_yield %h, %h : f32, f32
  }) : (tensor<?x?x8xf32>, tensor<?x8x4xf32>) -> tensor<?x?x8xf32>
  return
}

// -----

// (C6)
func.func @scan_result_type(%x: tensor<?x?x8xf32>, %h0: tensor<?x8x4xf32>) {
  // expected-error @+1 {{'mega.scan' op expects a state to leave with the type it has on entry, but got 'tensor<?x8x4xf32>' in and 'tensor<?x8x5xf32>' out}}
  %y:2 = "mega.scan"(%x, %h0) <{indexing_maps = [], operandSegmentSizes = array<i32: 0, 1, 1>}> ({
  ^bb0(%h: f32):
    mega.scan_yield %h, %h : f32, f32
  }) : (tensor<?x?x8xf32>, tensor<?x8x4xf32>) -> (tensor<?x?x8xf32>, tensor<?x8x5xf32>)
  return
}

// -----

func.func @scan_without_init(%x: tensor<?x?x8xf32>, %h0: tensor<?x8x4xf32>) {
  // expected-error @+1 {{'mega.scan' op failed to verify that there is one init}}
  %y:2 = "mega.scan"(%h0) <{indexing_maps = [], operandSegmentSizes = array<i32: 0, 0, 1>}> ({
  ^bb0(%h: f32):
    mega.scan_yield %h, %h : f32, f32
  }) : (tensor<?x8x4xf32>) -> (tensor<?x?x8xf32>, tensor<?x8x4xf32>)
  return
}

// -----

// (C7)
func.func @scan_arguments(%x: tensor<?x?x8xbf16>, %h0: tensor<?x8x4xf32>) {
  // expected-error @+1 {{'mega.scan' op expects a body of ('bf16', 'f32'), but got ('f32', 'f32')}}
  %y:2 = mega.scan ins(%x : tensor<?x?x8xbf16>) init(%x : tensor<?x?x8xbf16>)
      states(%h0 : tensor<?x8x4xf32>) maps [affine_map<(b, t, d, n) -> (b, t, d)>] {
  ^bb0(%xt: f32, %h: f32):
    mega.scan_yield %h, %h : f32, f32
  }
  return
}

// -----

// (C8)
func.func @scan_no_read(%x: tensor<?x?x8xf32>, %h0: tensor<?x8x4xf32>) {
  %y:2 = mega.scan init(%x : tensor<?x?x8xf32>) states(%h0 : tensor<?x8x4xf32>) maps [] {
  ^bb0(%h: f32):
    // expected-error @+1 {{'mega.scan_yield' op expects the new states and the read, ('f32', 'f32'), but got ('f32')}}
    mega.scan_yield %h : f32
  }
  return
}

// -----

// (C8)
func.func @scan_other_end(%x: tensor<?x?x8xf32>, %h0: tensor<?x8x4xf32>) {
  // expected-error @+1 {{'mega.scan' op expects the body to end in mega.scan_yield, but got ub.unreachable}}
  %y:2 = mega.scan init(%x : tensor<?x?x8xf32>) states(%h0 : tensor<?x8x4xf32>) maps [] {
  ^bb0(%h: f32):
    ub.unreachable
  }
  return
}

// -----

//===----------------------------------------------------------------------===//
// rotary
//===----------------------------------------------------------------------===//

// (C1)
func.func @rotary_time(%q: tensor<?x4x2x8xf32>, %k: tensor<?x5x2x8xf32>, %f: tensor<4xf32>, %p: tensor<?xi64>) {
  // expected-error @+1 {{'mega.rotary' op expects query and key to have the same batch, time and features, but got 'tensor<?x4x2x8xf32>' and 'tensor<?x5x2x8xf32>'}}
  %y:2 = mega.rotary %q, %k, %f at %p chunk(16)
      : tensor<?x4x2x8xf32>, tensor<?x5x2x8xf32>, tensor<4xf32>, tensor<?xi64>
  return
}

// -----

// (C1)
func.func @rotary_features(%q: tensor<?x?x2x8xf32>, %k: tensor<?x?x2x4xf32>, %f: tensor<4xf32>, %p: tensor<?xi64>) {
  // expected-error @+1 {{'mega.rotary' op expects query and key to have the same batch, time and features}}
  %y:2 = mega.rotary %q, %k, %f at %p chunk(16)
      : tensor<?x?x2x8xf32>, tensor<?x?x2x4xf32>, tensor<4xf32>, tensor<?xi64>
  return
}

// -----

// (C2)
func.func @rotary_odd(%q: tensor<?x?x2x7xf32>, %f: tensor<3xf32>, %p: tensor<?xi64>) {
  // expected-error @+1 {{'mega.rotary' op expects an even number of features per head, but got 7}}
  %y:2 = mega.rotary %q, %q, %f at %p chunk(16)
      : tensor<?x?x2x7xf32>, tensor<?x?x2x7xf32>, tensor<3xf32>, tensor<?xi64>
  return
}

// -----

// (C3)
func.func @rotary_freqs(%q: tensor<?x?x2x8xf32>, %f: tensor<8xf32>, %p: tensor<?xi64>) {
  // expected-error @+1 {{'mega.rotary' op expects freqs to be [dz / 2] = [4], but got [8]}}
  %y:2 = mega.rotary %q, %q, %f at %p chunk(16)
      : tensor<?x?x2x8xf32>, tensor<?x?x2x8xf32>, tensor<8xf32>, tensor<?xi64>
  return
}

// -----

// (C4)
func.func @rotary_position(%q: tensor<2x?x2x8xf32>, %f: tensor<4xf32>, %p: tensor<3xi64>) {
  // expected-error @+1 {{'mega.rotary' op expects position to be [B] = [2], but got [3]}}
  %y:2 = mega.rotary %q, %q, %f at %p chunk(16)
      : tensor<2x?x2x8xf32>, tensor<2x?x2x8xf32>, tensor<4xf32>, tensor<3xi64>
  return
}

// -----

// (C5)
func.func @rotary_element(%q: tensor<?x?x2x8xf32>, %k: tensor<?x?x2x8xbf16>, %f: tensor<4xf32>, %p: tensor<?xi64>) {
  // expected-error @+1 {{'mega.rotary' op expects query and key to have the same element type, but got 'f32' and 'bf16'}}
  %y:2 = mega.rotary %q, %k, %f at %p chunk(16)
      : tensor<?x?x2x8xf32>, tensor<?x?x2x8xbf16>, tensor<4xf32>, tensor<?xi64>
  return
}

// -----

//===----------------------------------------------------------------------===//
// rotary_angles, rotate
//===----------------------------------------------------------------------===//

// (C1)
func.func @angles_width(%x: tensor<?x?x8xf32>, %f: tensor<4xf32>, %p: tensor<?xi64>) {
  // expected-error @+1 {{'mega.rotary_angles' op expects an f32 result [B, L, 2, 8], but got 'tensor<?x?x2x4xf32>'}}
  %a = mega.rotary_angles %f at %p like %x chunk(16)
      : tensor<4xf32>, tensor<?xi64>, tensor<?x?x8xf32> -> tensor<?x?x2x4xf32>
  return
}

// -----

// (C2)
func.func @angles_position(%x: tensor<2x?x8xf32>, %f: tensor<4xf32>, %p: tensor<3xi64>) {
  // expected-error @+1 {{'mega.rotary_angles' op expects position to be [B] = [2], but got [3]}}
  %a = mega.rotary_angles %f at %p like %x chunk(16)
      : tensor<4xf32>, tensor<3xi64>, tensor<2x?x8xf32> -> tensor<2x?x2x8xf32>
  return
}

// -----

// (C3)
func.func @angles_like(%x: tensor<?xf32>, %f: tensor<4xf32>, %p: tensor<?xi64>) {
  // expected-error @+1 {{'mega.rotary_angles' op expects a result with the batch and time of like, but got 'tensor<?x?x2x8xf32>' from 'tensor<?xf32>'}}
  %a = mega.rotary_angles %f at %p like %x chunk(16)
      : tensor<4xf32>, tensor<?xi64>, tensor<?xf32> -> tensor<?x?x2x8xf32>
  return
}

// -----

// (C1)
func.func @rotate_types(%q: tensor<?x?x2x8xf32>, %k: tensor<?x?x1x8xf32>, %a: tensor<?x?x2x8xf32>) {
  // expected-error @+1 {{'mega.rotate' op expects query and key of one type, but got 'tensor<?x?x2x8xf32>' and 'tensor<?x?x1x8xf32>'}}
  %y:2 = mega.rotate %q, %k by %a : tensor<?x?x2x8xf32>, tensor<?x?x1x8xf32>, tensor<?x?x2x8xf32>
  return
}

// -----

// (C2)
func.func @rotate_angles(%q: tensor<?x?x2x8xf32>, %a: tensor<?x?x2x4xf32>) {
  // expected-error @+1 {{'mega.rotate' op expects angles f32[B, L, 2, 8] with the batch and time of 'tensor<?x?x2x8xf32>', but got 'tensor<?x?x2x4xf32>'}}
  %y:2 = mega.rotate %q, %q by %a : tensor<?x?x2x8xf32>, tensor<?x?x2x8xf32>, tensor<?x?x2x4xf32>
  return
}

// -----

// (C2)
func.func @rotate_time(%q: tensor<?x5x2x8xf32>, %a: tensor<?x4x2x8xf32>) {
  // expected-error @+1 {{'mega.rotate' op expects angles f32[B, L, 2, 8] with the batch and time of 'tensor<?x5x2x8xf32>', but got 'tensor<?x4x2x8xf32>'}}
  %y:2 = mega.rotate %q, %q by %a : tensor<?x5x2x8xf32>, tensor<?x5x2x8xf32>, tensor<?x4x2x8xf32>
  return
}

// -----

//===----------------------------------------------------------------------===//
// chunk_attention
//===----------------------------------------------------------------------===//

// (C1)
func.func @attention_value(%q: tensor<?x?x2x8xf32>, %v: tensor<?x?x3x4xf32>, %ks: tensor<?x16x2x8xf32>,
                           %vs: tensor<?x16x2x4xf32>, %p: tensor<?xi64>) {
  // expected-error @+1 {{'mega.chunk_attention' op expects value to be [B, L, H, dv] = [?, ?, 2, 4], but got [?, ?, 3, 4]}}
  %y:3 = mega.chunk_attention %q, %q, %v, %ks, %vs at %p chunk(16)
      : tensor<?x?x2x8xf32>, tensor<?x?x3x4xf32>, tensor<?x16x2x8xf32>, tensor<?x16x2x4xf32>, tensor<?xi64>
  return
}

// -----

// (C2)
func.func @attention_keys(%q: tensor<?x?x2x8xf32>, %v: tensor<?x?x2x4xf32>, %ks: tensor<?x8x2x8xf32>,
                          %vs: tensor<?x16x2x4xf32>, %p: tensor<?xi64>) {
  // expected-error @+1 {{'mega.chunk_attention' op expects keys to be [B, C, H, dz] = [?, 16, 2, 8], but got [?, 8, 2, 8]}}
  %y:3 = mega.chunk_attention %q, %q, %v, %ks, %vs at %p chunk(16)
      : tensor<?x?x2x8xf32>, tensor<?x?x2x4xf32>, tensor<?x8x2x8xf32>, tensor<?x16x2x4xf32>, tensor<?xi64>
  return
}

// -----

// (C3)
func.func @attention_values(%q: tensor<?x?x2x8xf32>, %v: tensor<?x?x2x4xf32>, %ks: tensor<?x16x2x8xf32>,
                            %vs: tensor<?x16x2x8xf32>, %p: tensor<?xi64>) {
  // expected-error @+1 {{'mega.chunk_attention' op expects values to be [B, C, H, dv] = [?, 16, 2, 4], but got [?, 16, 2, 8]}}
  %y:3 = mega.chunk_attention %q, %q, %v, %ks, %vs at %p chunk(16)
      : tensor<?x?x2x8xf32>, tensor<?x?x2x4xf32>, tensor<?x16x2x8xf32>, tensor<?x16x2x8xf32>, tensor<?xi64>
  return
}

// -----

// (C4)
func.func @attention_position(%q: tensor<2x?x2x8xf32>, %v: tensor<2x?x2x4xf32>, %ks: tensor<2x16x2x8xf32>,
                              %vs: tensor<2x16x2x4xf32>, %p: tensor<1xi64>) {
  // expected-error @+1 {{'mega.chunk_attention' op expects position to be [B] = [2], but got [1]}}
  %y:3 = mega.chunk_attention %q, %q, %v, %ks, %vs at %p chunk(16)
      : tensor<2x?x2x8xf32>, tensor<2x?x2x4xf32>, tensor<2x16x2x8xf32>, tensor<2x16x2x4xf32>, tensor<1xi64>
  return
}

// -----

// (C5)
func.func @attention_element(%q: tensor<?x?x2x8xbf16>, %v: tensor<?x?x2x4xbf16>, %ks: tensor<?x16x2x8xf32>,
                             %vs: tensor<?x16x2x4xbf16>, %p: tensor<?xi64>) {
  // expected-error @+1 {{'mega.chunk_attention' op expects one element type, but got 'bf16' and 'f32'}}
  %y:3 = mega.chunk_attention %q, %q, %v, %ks, %vs at %p chunk(16)
      : tensor<?x?x2x8xbf16>, tensor<?x?x2x4xbf16>, tensor<?x16x2x8xf32>, tensor<?x16x2x4xbf16>, tensor<?xi64>
  return
}

// -----

func.func @attention_chunk(%q: tensor<?x?x2x8xf32>, %v: tensor<?x?x2x4xf32>, %ks: tensor<?x16x2x8xf32>,
                           %vs: tensor<?x16x2x4xf32>, %p: tensor<?xi64>) {
  // expected-error @+1 {{'mega.chunk_attention' op attribute 'chunk' failed to satisfy constraint: 64-bit signless integer attribute whose value is positive}}
  %y:3 = mega.chunk_attention %q, %q, %v, %ks, %vs at %p chunk(0)
      : tensor<?x?x2x8xf32>, tensor<?x?x2x4xf32>, tensor<?x16x2x8xf32>, tensor<?x16x2x4xf32>, tensor<?xi64>
  return
}

// -----

//===----------------------------------------------------------------------===//
// last
//===----------------------------------------------------------------------===//

// (C1)
func.func @last_time(%x: tensor<?x?x8xf32>) {
  // expected-error @+1 {{'mega.last' op expects a result of one step, but got 'tensor<?x2x8xf32>'}}
  %y = mega.last %x : tensor<?x?x8xf32> -> tensor<?x2x8xf32>
  return
}

// -----

// (C1)
func.func @last_dynamic_time(%x: tensor<?x?x8xf32>) {
  // expected-error @+1 {{'mega.last' op expects a result of one step, but got 'tensor<?x?x8xf32>'}}
  %y = mega.last %x : tensor<?x?x8xf32> -> tensor<?x?x8xf32>
  return
}

// -----

// (C1)
func.func @last_width(%x: tensor<?x?x8xf32>) {
  // expected-error @+1 {{'mega.last' op expects the result to be [B, 1, W] = [?, 1, 8], but got [?, 1, 9]}}
  %y = mega.last %x : tensor<?x?x8xf32> -> tensor<?x1x9xf32>
  return
}

// -----

// (C1)
func.func @last_element(%x: tensor<?x?x8xf32>) {
  // expected-error @+1 {{'mega.last' op expects a result of the input's element type 'f32', but got 'bf16'}}
  %y = mega.last %x : tensor<?x?x8xf32> -> tensor<?x1x8xbf16>
  return
}

// -----

// (C2)
func.func @last_of_nothing(%x: tensor<?x0x8xf32>) {
  // expected-error @+1 {{'mega.last' op expects at least one step, but got 'tensor<?x0x8xf32>'}}
  %y = mega.last %x : tensor<?x0x8xf32> -> tensor<?x1x8xf32>
  return
}

// -----

//===----------------------------------------------------------------------===//
// group
//===----------------------------------------------------------------------===//

// (C1)
func.func @group_arguments(%x: tensor<?x?x8xf32>) {
  // expected-error @+1 {{'mega.group' op expects a body of ('tensor<?x?x8xf32>'), but got ()}}
  "mega.group"(%x) <{name = "g"}> ({
    mega.yield
  }) : (tensor<?x?x8xf32>) -> ()
  return
}

// -----

// (C2)
func.func @group_results(%x: tensor<?x?x8xf32>) {
  %y = mega.group "g" (%a = %x : tensor<?x?x8xf32>) -> (tensor<?x?x9xf32>) {
    // expected-error @+1 {{'mega.yield' op expects the results of the group, ('tensor<?x?x9xf32>'), but got ('tensor<?x?x8xf32>')}}
    mega.yield %a : tensor<?x?x8xf32>
  }
  return
}

// -----

// (C2)
func.func @group_other_end() {
  // expected-error @+1 {{'mega.group' op expects the body to end in mega.yield, but got ub.unreachable}}
  mega.group "g" () -> () {
    ub.unreachable
  }
  return
}

// -----

// (C3)
func.func @group_name() {
  // expected-error @+1 {{'mega.group' op expects a name, but got an empty one}}
  mega.group "" () -> () {
    mega.yield
  }
  return
}

// -----

func.func @group_is_isolated(%x: tensor<?x?x8xf32>) {
  // expected-note @+1 {{required by region isolation constraints}}
  %y = mega.group "g" () -> (tensor<?x?x8xf32>) {
    // expected-error @+1 {{using value defined outside the region}}
    mega.yield %x : tensor<?x?x8xf32>
  }
  return
}

// -----

//===----------------------------------------------------------------------===//
// #mega.schedule
//===----------------------------------------------------------------------===//

// (C1)
// expected-error @+1 {{expects row_block to be at least 1, but got 0}}
func.func private @schedule_size() attributes {a = #mega.schedule<row_block = 0>}

// -----

// (C1)
// expected-error @+1 {{expects row_tiles to be at least 1, but got -1}}
func.func private @schedule_tile() attributes {a = #mega.schedule<row_tiles = [-1]>}

// -----

// (C2)
// expected-error @+1 {{expects row_tiles to ascend, but got 4 after 4}}
func.func private @schedule_order() attributes {a = #mega.schedule<row_tiles = [1, 4, 4]>}

// -----

// (C3)
// expected-error @+1 {{expects row_tiles to have an element}}
func.func private @schedule_no_tiles() attributes {a = #mega.schedule<row_tiles = []>}

// -----

// (C4)
// expected-error @+1 {{expects copies to be "tma" or "async", but got "fast"}}
func.func private @schedule_copies() attributes {a = #mega.schedule<copies = "fast">}

// -----

//===----------------------------------------------------------------------===//
// Attributes of arguments and results
//===----------------------------------------------------------------------===//

// expected-error @+1 {{'func.func' op expects mega.name of argument 1 to be a string, but got 1 : i64}}
func.func private @name_type(tensor<?x?x8xf32>, tensor<?x?x8xf32> {mega.name = 1})

// -----

// expected-error @+1 {{'func.func' op expects mega.state of argument 0 to be a string, but got unit}}
func.func private @state_type(tensor<?x8xf32> {mega.state})

// -----

// expected-error @+1 {{'func.func' op expects mega.position of argument 0 to be without a value, but got true}}
func.func private @position_type(tensor<?xi64> {mega.position = true})

// -----

// expected-error @+1 {{'func.func' op expects mega.initial of argument 0 to be a floating-point number, but got 1 : i64}}
func.func private @initial_type(tensor<?x8xf32> {mega.state = "s", mega.initial = 1})

// -----

// expected-error @+1 {{'func.func' op expects mega.initial_from of argument 0 to be a string}}
func.func private @initial_from_type(tensor<?x8xf32> {mega.state = "s", mega.initial_from = 1.0})

// -----

// expected-error @+1 {{'func.func' op has no use for mega.sate on argument 0; expected mega.name, mega.state}}
func.func private @unknown(tensor<?x8xf32> {mega.sate = "s"})

// -----

// expected-error @+1 {{'func.func' op expects mega.state of result 0 to be a string, but got 2 : i64}}
func.func private @result_state() -> (tensor<?x8xf32> {mega.state = 2})

// -----

// expected-error @+1 {{'func.func' op has no use for mega.position on result 0; expected mega.name or mega.state}}
func.func private @result_position() -> (tensor<?xi64> {mega.position})

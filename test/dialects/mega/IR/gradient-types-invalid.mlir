// RUN: otodus-opt %s --split-input-file --verify-diagnostics

// What is bf16 and what is f32 when activations are bf16: docs/Training.md, bf16.

func.func @linear_input_dy(%dy: tensor<?x?x6xf32>, %w: tensor<6x8xbf16>) {
  // expected-error @+1 {{'mega.linear_input_gradient' op expects dy of 'bf16', but got 'tensor<?x?x6xf32>'}}
  %0 = mega.linear_input_gradient %dy, %w : (tensor<?x?x6xf32>, tensor<6x8xbf16>) -> tensor<?x?x8xbf16>
  return
}

// -----

func.func @linear_input_dx(%dy: tensor<?x?x6xbf16>, %w: tensor<6x8xbf16>) {
  // expected-error @+1 {{'mega.linear_input_gradient' op expects dx of 'bf16', but got 'tensor<?x?x8xf32>'}}
  %0 = mega.linear_input_gradient %dy, %w : (tensor<?x?x6xbf16>, tensor<6x8xbf16>) -> tensor<?x?x8xf32>
  return
}

// -----

func.func @linear_weight(%dy: tensor<?x?x6xf32>, %x: tensor<?x?x8xbf16>, %w: tensor<6x8xf32>) {
  // expected-error @+1 {{'mega.linear_weight_gradient' op expects dy of 'bf16', but got 'tensor<?x?x6xf32>'}}
  %0 = mega.linear_weight_gradient %dy, %x into %w : tensor<?x?x6xf32>, tensor<?x?x8xbf16>, tensor<6x8xf32>
  return
}

// -----

func.func @linear_weight_sum(%dy: tensor<?x?x6xbf16>, %x: tensor<?x?x8xbf16>, %w: tensor<6x8xbf16>) {
  // expected-error @+1 {{operand #2 must be a tensor [N, K] of 32-bit float}}
  %0 = mega.linear_weight_gradient %dy, %x into %w : tensor<?x?x6xbf16>, tensor<?x?x8xbf16>, tensor<6x8xbf16>
  return
}

// -----

func.func @column_sum(%x: tensor<?x?x6xbf16>, %f: tensor<?x?x6xf32>, %s: tensor<6xf32>) {
  // expected-error @+1 {{'mega.column_sum' op expects factor of 'bf16', but got 'tensor<?x?x6xf32>'}}
  %0 = mega.column_sum %x by %f into %s : (tensor<?x?x6xbf16>, tensor<?x?x6xf32>, tensor<6xf32>) -> tensor<6xf32>
  return
}

// -----

func.func @rotate(%h: tensor<?x?x2x4xbf16>, %a: tensor<?x?x2x4xbf16>) {
  // expected-error @+1 {{'mega.rotate_gradient' op expects angles of 'f32', but got 'tensor<?x?x2x4xbf16>'}}
  %0:2 = mega.rotate_gradient %h, %h by %a : tensor<?x?x2x4xbf16>, tensor<?x?x2x4xbf16>, tensor<?x?x2x4xbf16>
  return
}

// -----

func.func @norm_saving(%x: tensor<?x?x8xbf16>, %w: tensor<8xf32>, %n: tensor<?xi64>, %m: tensor<?x2xf32>) {
  // expected-error @+1 {{'mega.timestep_norm_saving' op expects shift of 'f32', but got 'tensor<?x?x3xbf16>'}}
  %0:6 = mega.timestep_norm_saving %x, %w, %w, %n, %m, %m groups(2) eps(1.0e-5)
      : (tensor<?x?x8xbf16>, tensor<8xf32>, tensor<8xf32>, tensor<?xi64>, tensor<?x2xf32>, tensor<?x2xf32>)
      -> (tensor<?x?x8xbf16>, tensor<?xi64>, tensor<?x2xf32>, tensor<?x2xf32>, tensor<?x?x3xbf16>, tensor<?x?x3xbf16>)
  return
}

// -----

func.func @norm(%x: tensor<?x?x8xbf16>, %s: tensor<?x?x3xbf16>, %r: tensor<?x?x3xf32>, %w: tensor<8xf32>, %m: tensor<?x2xf32>) {
  // expected-error @+1 {{'mega.timestep_norm_gradient' op expects shift of 'f32', but got 'tensor<?x?x3xbf16>'}}
  %0:5 = mega.timestep_norm_gradient %x, %x, %s, %r, %w into %m, %m, %w, %w groups(2)
      : (tensor<?x?x8xbf16>, tensor<?x?x8xbf16>, tensor<?x?x3xbf16>, tensor<?x?x3xf32>, tensor<8xf32>,
         tensor<?x2xf32>, tensor<?x2xf32>, tensor<8xf32>, tensor<8xf32>)
      -> (tensor<?x?x8xbf16>, tensor<?x2xf32>, tensor<?x2xf32>, tensor<8xf32>, tensor<8xf32>)
  return
}

// -----

func.func @cema(%x: tensor<?x?x8xbf16>, %a: tensor<8x4x1xf32>, %t: tensor<8x1x1xf32>,
                %g: tensor<8x4x2xf32>, %o: tensor<8x1xf32>, %h: tensor<?x8x4x2xf32>) {
  // expected-error @+1 {{'mega.cema_saving' op expects marks of 'f32', but got 'tensor<?x?x8xbf16>'}}
  %0:4 = mega.cema_saving %x, %a, %a, %t, %g, %o, %h
      : (tensor<?x?x8xbf16>, tensor<8x4x1xf32>, tensor<8x4x1xf32>, tensor<8x1x1xf32>, tensor<8x4x2xf32>, tensor<8x1xf32>, tensor<?x8x4x2xf32>)
      -> (tensor<?x?x8xbf16>, tensor<?x8x4x2xf32>, tensor<?x1x256xf32>, tensor<?x?x8xbf16>)
  return
}

// -----

func.func @panels(%k: tensor<?x16x2x4xbf16>, %v: tensor<?x16x2x6xbf16>) {
  // expected-error @+1 {{'mega.chunk_panels' op expects key_rows of 'bf16', but got 'tensor<?x1x2048xf32>'}}
  %r:2 = mega.chunk_panels %k, %v
      : (tensor<?x16x2x4xbf16>, tensor<?x16x2x6xbf16>) -> (tensor<?x1x2048xf32>, tensor<?x1x2048xbf16>)
  return
}

// -----

func.func @query(%q: tensor<?x?x2x4xbf16>, %o: tensor<?x?x2x6xbf16>, %k: tensor<?x16x2x4xf32>,
                 %p: tensor<?x1x2048xbf16>, %at: tensor<?xi64>) {
  // expected-error @+1 {{'mega.chunk_query_gradient' op expects keys of 'bf16', but got 'tensor<?x16x2x4xf32>'}}
  %r:3 = mega.chunk_query_gradient %q, %o, %o, %k, %p, %p at %at chunk(16)
      : (tensor<?x?x2x4xbf16>, tensor<?x?x2x6xbf16>, tensor<?x?x2x6xbf16>, tensor<?x16x2x4xf32>,
         tensor<?x1x2048xbf16>, tensor<?x1x2048xbf16>, tensor<?xi64>) ->
        (tensor<?x?x2x4xbf16>, tensor<?x?x2xf32>, tensor<?x?x2xf32>)
  return
}

// -----

func.func @query_sums(%q: tensor<?x?x2x4xbf16>, %o: tensor<?x?x2x6xbf16>, %k: tensor<?x16x2x4xbf16>,
                      %p: tensor<?x1x2048xbf16>, %at: tensor<?xi64>) {
  // expected-error @+1 {{'mega.chunk_query_gradient' op expects log_sum of 'f32', but got 'tensor<?x?x2xbf16>'}}
  %r:3 = mega.chunk_query_gradient %q, %o, %o, %k, %p, %p at %at chunk(16)
      : (tensor<?x?x2x4xbf16>, tensor<?x?x2x6xbf16>, tensor<?x?x2x6xbf16>, tensor<?x16x2x4xbf16>,
         tensor<?x1x2048xbf16>, tensor<?x1x2048xbf16>, tensor<?xi64>) ->
        (tensor<?x?x2x4xbf16>, tensor<?x?x2xbf16>, tensor<?x?x2xf32>)
  return
}

// -----

func.func @keys(%q: tensor<?x?x2x4xbf16>, %o: tensor<?x?x2x6xbf16>, %s: tensor<?x?x2xf32>,
                %k: tensor<?x16x2x4xbf16>, %p: tensor<?x1x2048xbf16>, %at: tensor<?xi64>, %v: tensor<?x16x2x6xf32>) {
  // expected-error @+1 {{operand #7 must be a tensor [B, C, H, dz] of 32-bit float}}
  %r:4 = mega.chunk_key_gradient %q, %o, %s, %s, %k, %p at %at into %k, %v chunk(16)
      : (tensor<?x?x2x4xbf16>, tensor<?x?x2x6xbf16>, tensor<?x?x2xf32>, tensor<?x?x2xf32>,
         tensor<?x16x2x4xbf16>, tensor<?x1x2048xbf16>, tensor<?xi64>, tensor<?x16x2x4xbf16>, tensor<?x16x2x6xf32>) ->
        (tensor<?x?x2x4xbf16>, tensor<?x?x2x6xbf16>, tensor<?x16x2x4xbf16>, tensor<?x16x2x6xf32>)
  return
}

// -----

func.func @loss(%x: tensor<?x?x8xbf16>, %w: tensor<16x8xf32>, %t: tensor<?x?xi32>) {
  // expected-error @+1 {{'mega.linear_cross_entropy' op expects weight of 'bf16', but got 'tensor<16x8xf32>'}}
  %0:2 = mega.linear_cross_entropy %x, %w, %t
      : (tensor<?x?x8xbf16>, tensor<16x8xf32>, tensor<?x?xi32>) -> (tensor<?x?xf32>, tensor<?x?xf32>)
  return
}

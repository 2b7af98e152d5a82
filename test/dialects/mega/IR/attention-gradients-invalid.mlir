// RUN: otodus-opt %s -split-input-file -verify-diagnostics

// One case per constraint of the backward steps of mega.chunk_attention.

func.func @chunk_panels(
    %arg0: tensor<?x16x8xf32>, %arg1: tensor<?x16x2x6xf32>) {
  // expected-error @+1 {{operand #0 must be a tensor [B, C, H, dz] of 32-bit float or bfloat16 type}}
  %r:2 = mega.chunk_panels %arg0, %arg1
      : (tensor<?x16x8xf32>, tensor<?x16x2x6xf32>) ->
        (tensor<?x1x2048xf32>, tensor<?x1x2048xf32>)
  return
}

// -----

func.func @chunk_panels(
    %arg0: tensor<?x16x2x4xf32>, %arg1: tensor<?x16x2x6xf32>) {
  // expected-error @+1 {{result #1 must be an activation [B, L, W]}}
  %r:2 = mega.chunk_panels %arg0, %arg1
      : (tensor<?x16x2x4xf32>, tensor<?x16x2x6xf32>) ->
        (tensor<?x1x2048xf32>, tensor<?x2048xf32>)
  return
}

// -----

func.func @chunk_query_gradient(
    %arg0: tensor<?x?x2x4xf32>, %arg1: tensor<?x?x2x6xf32>, %arg2: tensor<?x?x2x6xf32>,
    %arg3: tensor<?x16x2x4xf32>, %arg4: tensor<?x1x2048xf32>, %arg5: tensor<?x1x2048xf32>,
    %arg6: tensor<?xi64>) {
  // expected-error @+1 {{failed to verify that all of {query, dquery} have same type}}
  %r:3 = mega.chunk_query_gradient %arg0, %arg1, %arg2, %arg3, %arg4, %arg5 at %arg6 chunk(16)
      : (tensor<?x?x2x4xf32>, tensor<?x?x2x6xf32>, tensor<?x?x2x6xf32>, tensor<?x16x2x4xf32>,
         tensor<?x1x2048xf32>, tensor<?x1x2048xf32>, tensor<?xi64>) ->
        (tensor<?x?x2x6xf32>, tensor<?x?x2xf32>, tensor<?x?x2xf32>)
  return
}

// -----

func.func @chunk_query_gradient(
    %arg0: tensor<?x?x2x4xf32>, %arg1: tensor<?x?x2x6xf32>, %arg2: tensor<?x?x2x4xf32>,
    %arg3: tensor<?x16x2x4xf32>, %arg4: tensor<?x1x2048xf32>, %arg5: tensor<?x1x2048xf32>,
    %arg6: tensor<?xi64>) {
  // expected-error @+1 {{failed to verify that all of {output, doutput} have same type}}
  %r:3 = mega.chunk_query_gradient %arg0, %arg1, %arg2, %arg3, %arg4, %arg5 at %arg6 chunk(16)
      : (tensor<?x?x2x4xf32>, tensor<?x?x2x6xf32>, tensor<?x?x2x4xf32>, tensor<?x16x2x4xf32>,
         tensor<?x1x2048xf32>, tensor<?x1x2048xf32>, tensor<?xi64>) ->
        (tensor<?x?x2x4xf32>, tensor<?x?x2xf32>, tensor<?x?x2xf32>)
  return
}

// -----

func.func @chunk_query_gradient(
    %arg0: tensor<?x?x8xf32>, %arg1: tensor<?x?x2x6xf32>, %arg2: tensor<?x?x2x6xf32>,
    %arg3: tensor<?x16x2x4xf32>, %arg4: tensor<?x1x2048xf32>, %arg5: tensor<?x1x2048xf32>,
    %arg6: tensor<?xi64>) {
  // expected-error @+1 {{operand #0 must be an activation [B, L, H, d]}}
  %r:3 = mega.chunk_query_gradient %arg0, %arg1, %arg2, %arg3, %arg4, %arg5 at %arg6 chunk(16)
      : (tensor<?x?x8xf32>, tensor<?x?x2x6xf32>, tensor<?x?x2x6xf32>, tensor<?x16x2x4xf32>,
         tensor<?x1x2048xf32>, tensor<?x1x2048xf32>, tensor<?xi64>) ->
        (tensor<?x?x8xf32>, tensor<?x?x2xf32>, tensor<?x?x2xf32>)
  return
}

// -----

func.func @chunk_query_gradient(
    %arg0: tensor<?x?x2x4xf32>, %arg1: tensor<?x?x2x6xf32>, %arg2: tensor<?x?x2x6xf32>,
    %arg3: tensor<?x16x2x4xf32>, %arg4: tensor<?x1x2048xf32>, %arg5: tensor<?x1x2048xf32>,
    %arg6: tensor<?xi32>) {
  // expected-error @+1 {{operand #6 must be a tensor [B] of 64-bit signless integer}}
  %r:3 = mega.chunk_query_gradient %arg0, %arg1, %arg2, %arg3, %arg4, %arg5 at %arg6 chunk(16)
      : (tensor<?x?x2x4xf32>, tensor<?x?x2x6xf32>, tensor<?x?x2x6xf32>, tensor<?x16x2x4xf32>,
         tensor<?x1x2048xf32>, tensor<?x1x2048xf32>, tensor<?xi32>) ->
        (tensor<?x?x2x4xf32>, tensor<?x?x2xf32>, tensor<?x?x2xf32>)
  return
}

// -----

func.func @chunk_query_gradient(
    %arg0: tensor<?x?x2x4xf32>, %arg1: tensor<?x?x2x6xf32>, %arg2: tensor<?x?x2x6xf32>,
    %arg3: tensor<?x16x2x4xf32>, %arg4: tensor<?x1x2048xf32>, %arg5: tensor<?x1x2048xf32>,
    %arg6: tensor<?xi64>) {
  // expected-error @+1 {{attribute 'chunk' failed to satisfy constraint: 64-bit signless integer attribute whose value is positive}}
  %r:3 = mega.chunk_query_gradient %arg0, %arg1, %arg2, %arg3, %arg4, %arg5 at %arg6 chunk(0)
      : (tensor<?x?x2x4xf32>, tensor<?x?x2x6xf32>, tensor<?x?x2x6xf32>, tensor<?x16x2x4xf32>,
         tensor<?x1x2048xf32>, tensor<?x1x2048xf32>, tensor<?xi64>) ->
        (tensor<?x?x2x4xf32>, tensor<?x?x2xf32>, tensor<?x?x2xf32>)
  return
}

// -----

func.func @chunk_key_gradient(
    %arg0: tensor<?x?x2x4xf32>, %arg1: tensor<?x?x8xf32>, %arg2: tensor<?x?x2xf32>,
    %arg3: tensor<?x?x2xf32>, %arg4: tensor<?x16x2x4xf32>, %arg5: tensor<?x1x2048xf32>,
    %arg6: tensor<?xi64>, %arg7: tensor<?x16x2x4xf32>, %arg8: tensor<?x16x2x6xf32>) {
  // expected-error @+1 {{operand #1 must be an activation [B, L, H, d]}}
  %r:4 = mega.chunk_key_gradient %arg0, %arg1, %arg2, %arg3, %arg4, %arg5 at %arg6 into %arg7, %arg8 chunk(16)
      : (tensor<?x?x2x4xf32>, tensor<?x?x8xf32>, tensor<?x?x2xf32>, tensor<?x?x2xf32>,
         tensor<?x16x2x4xf32>, tensor<?x1x2048xf32>, tensor<?xi64>, tensor<?x16x2x4xf32>,
         tensor<?x16x2x6xf32>) ->
        (tensor<?x?x2x4xf32>, tensor<?x?x2x6xf32>, tensor<?x16x2x4xf32>, tensor<?x16x2x6xf32>)
  return
}

// -----

func.func @chunk_key_gradient(
    %arg0: tensor<?x?x2x4xf32>, %arg1: tensor<?x?x2x6xf32>, %arg2: tensor<?x?x2xf32>,
    %arg3: tensor<?x?x2xf32>, %arg4: tensor<?x16x2x4xf32>, %arg5: tensor<?x1x2048xf32>,
    %arg6: tensor<?xi64>, %arg7: tensor<?x16x8xf32>, %arg8: tensor<?x16x2x6xf32>) {
  // expected-error @+1 {{operand #7 must be a tensor [B, C, H, dz] of 32-bit float}}
  %r:4 = mega.chunk_key_gradient %arg0, %arg1, %arg2, %arg3, %arg4, %arg5 at %arg6 into %arg7, %arg8 chunk(16)
      : (tensor<?x?x2x4xf32>, tensor<?x?x2x6xf32>, tensor<?x?x2xf32>, tensor<?x?x2xf32>,
         tensor<?x16x2x4xf32>, tensor<?x1x2048xf32>, tensor<?xi64>, tensor<?x16x8xf32>,
         tensor<?x16x2x6xf32>) ->
        (tensor<?x?x2x4xf32>, tensor<?x?x2x6xf32>, tensor<?x16x2x4xf32>, tensor<?x16x2x6xf32>)
  return
}

// -----

func.func @chunk_key_gradient(
    %arg0: tensor<?x?x2x4xf32>, %arg1: tensor<?x?x2x6xf32>, %arg2: tensor<?x?x2xf32>,
    %arg3: tensor<?x?x2xf32>, %arg4: tensor<?x16x2x4xf32>, %arg5: tensor<?x1x2048xf32>,
    %arg6: tensor<?xi64>, %arg7: tensor<?x16x2x4xf32>, %arg8: tensor<?x16x2x6xf32>) {
  // expected-error @+1 {{result #0 must be an activation [B, L, H, d]}}
  %r:4 = mega.chunk_key_gradient %arg0, %arg1, %arg2, %arg3, %arg4, %arg5 at %arg6 into %arg7, %arg8 chunk(16)
      : (tensor<?x?x2x4xf32>, tensor<?x?x2x6xf32>, tensor<?x?x2xf32>, tensor<?x?x2xf32>,
         tensor<?x16x2x4xf32>, tensor<?x1x2048xf32>, tensor<?xi64>, tensor<?x16x2x4xf32>,
         tensor<?x16x2x6xf32>) ->
        (tensor<?x?x8xf32>, tensor<?x?x2x6xf32>, tensor<?x16x2x4xf32>, tensor<?x16x2x6xf32>)
  return
}

// -----

func.func @chunk_key_gradient(
    %arg0: tensor<?x?x2x4xf32>, %arg1: tensor<?x?x2x6xf32>, %arg2: tensor<?x?x2xf32>,
    %arg3: tensor<?x?x2xf32>, %arg4: tensor<?x16x2x4xf32>, %arg5: tensor<?x1x2048xf32>,
    %arg6: tensor<?xi64>, %arg7: tensor<?x16x2x4xf32>, %arg8: tensor<?x16x2x6xf32>) {
  // expected-error @+1 {{attribute 'chunk' failed to satisfy constraint: 64-bit signless integer attribute whose value is positive}}
  %r:4 = mega.chunk_key_gradient %arg0, %arg1, %arg2, %arg3, %arg4, %arg5 at %arg6 into %arg7, %arg8 chunk(0)
      : (tensor<?x?x2x4xf32>, tensor<?x?x2x6xf32>, tensor<?x?x2xf32>, tensor<?x?x2xf32>,
         tensor<?x16x2x4xf32>, tensor<?x1x2048xf32>, tensor<?xi64>, tensor<?x16x2x4xf32>,
         tensor<?x16x2x6xf32>) ->
        (tensor<?x?x2x4xf32>, tensor<?x?x2x6xf32>, tensor<?x16x2x4xf32>, tensor<?x16x2x6xf32>)
  return
}

// -----

func.func @chunk_panels(
    %arg0: tensor<?x16x2x4xf32>, %arg1: tensor<?x8x2x6xf32>) {
  // expected-error @+1 {{expects values to be [B, C, H, dv] = [?, 16, 2, 6], but got [?, 8, 2, 6]}}
  %r:2 = mega.chunk_panels %arg0, %arg1
      : (tensor<?x16x2x4xf32>, tensor<?x8x2x6xf32>) ->
        (tensor<?x1x2048xf32>, tensor<?x1x2048xf32>)
  return
}

// -----

func.func @chunk_panels(
    %arg0: tensor<?x16x2x4xf32>, %arg1: tensor<?x16x2x6xf32>) {
  // expected-error @+1 {{expects key_rows to be [B, 1, W] = [?, 1, 2048], but got [?, 1, 128]}}
  %r:2 = mega.chunk_panels %arg0, %arg1
      : (tensor<?x16x2x4xf32>, tensor<?x16x2x6xf32>) ->
        (tensor<?x1x128xf32>, tensor<?x1x2048xf32>)
  return
}

// -----

func.func @chunk_panels(
    %arg0: tensor<?x16x2x4xf32>, %arg1: tensor<?x16x2x6xf32>) {
  // expected-error @+1 {{expects value_columns to be [B, 1, W] = [?, 1, 2048], but got [?, 1, 192]}}
  %r:2 = mega.chunk_panels %arg0, %arg1
      : (tensor<?x16x2x4xf32>, tensor<?x16x2x6xf32>) ->
        (tensor<?x1x2048xf32>, tensor<?x1x192xf32>)
  return
}

// -----

func.func @chunk_query_gradient(
    %arg0: tensor<?x?x2x4xf32>, %arg1: tensor<?x?x3x6xf32>, %arg2: tensor<?x?x3x6xf32>,
    %arg3: tensor<?x16x2x4xf32>, %arg4: tensor<?x1x2048xf32>, %arg5: tensor<?x1x2048xf32>,
    %arg6: tensor<?xi64>) {
  // expected-error @+1 {{expects output to be [B, L, H, dv] = [?, ?, 2, 6], but got [?, ?, 3, 6]}}
  %r:3 = mega.chunk_query_gradient %arg0, %arg1, %arg2, %arg3, %arg4, %arg5 at %arg6 chunk(16)
      : (tensor<?x?x2x4xf32>, tensor<?x?x3x6xf32>, tensor<?x?x3x6xf32>, tensor<?x16x2x4xf32>,
         tensor<?x1x2048xf32>, tensor<?x1x2048xf32>, tensor<?xi64>) ->
        (tensor<?x?x2x4xf32>, tensor<?x?x2xf32>, tensor<?x?x2xf32>)
  return
}

// -----

func.func @chunk_query_gradient(
    %arg0: tensor<?x?x2x4xf32>, %arg1: tensor<?x?x2x6xf32>, %arg2: tensor<?x?x2x6xf32>,
    %arg3: tensor<?x8x2x4xf32>, %arg4: tensor<?x1x2048xf32>, %arg5: tensor<?x1x2048xf32>,
    %arg6: tensor<?xi64>) {
  // expected-error @+1 {{expects keys to be [B, C, H, dz] = [?, 16, 2, 4], but got [?, 8, 2, 4]}}
  %r:3 = mega.chunk_query_gradient %arg0, %arg1, %arg2, %arg3, %arg4, %arg5 at %arg6 chunk(16)
      : (tensor<?x?x2x4xf32>, tensor<?x?x2x6xf32>, tensor<?x?x2x6xf32>, tensor<?x8x2x4xf32>,
         tensor<?x1x2048xf32>, tensor<?x1x2048xf32>, tensor<?xi64>) ->
        (tensor<?x?x2x4xf32>, tensor<?x?x2xf32>, tensor<?x?x2xf32>)
  return
}

// -----

func.func @chunk_query_gradient(
    %arg0: tensor<?x?x2x4xf32>, %arg1: tensor<?x?x2x6xf32>, %arg2: tensor<?x?x2x6xf32>,
    %arg3: tensor<?x16x2x4xf32>, %arg4: tensor<?x1x128xf32>, %arg5: tensor<?x1x2048xf32>,
    %arg6: tensor<?xi64>) {
  // expected-error @+1 {{expects key_rows to be [B, 1, W] = [?, 1, 2048], but got [?, 1, 128]}}
  %r:3 = mega.chunk_query_gradient %arg0, %arg1, %arg2, %arg3, %arg4, %arg5 at %arg6 chunk(16)
      : (tensor<?x?x2x4xf32>, tensor<?x?x2x6xf32>, tensor<?x?x2x6xf32>, tensor<?x16x2x4xf32>,
         tensor<?x1x128xf32>, tensor<?x1x2048xf32>, tensor<?xi64>) ->
        (tensor<?x?x2x4xf32>, tensor<?x?x2xf32>, tensor<?x?x2xf32>)
  return
}

// -----

func.func @chunk_query_gradient(
    %arg0: tensor<?x?x2x4xf32>, %arg1: tensor<?x?x2x6xf32>, %arg2: tensor<?x?x2x6xf32>,
    %arg3: tensor<?x16x2x4xf32>, %arg4: tensor<?x1x2048xf32>, %arg5: tensor<?x1x192xf32>,
    %arg6: tensor<?xi64>) {
  // expected-error @+1 {{expects value_columns to be [B, 1, W] = [?, 1, 2048], but got [?, 1, 192]}}
  %r:3 = mega.chunk_query_gradient %arg0, %arg1, %arg2, %arg3, %arg4, %arg5 at %arg6 chunk(16)
      : (tensor<?x?x2x4xf32>, tensor<?x?x2x6xf32>, tensor<?x?x2x6xf32>, tensor<?x16x2x4xf32>,
         tensor<?x1x2048xf32>, tensor<?x1x192xf32>, tensor<?xi64>) ->
        (tensor<?x?x2x4xf32>, tensor<?x?x2xf32>, tensor<?x?x2xf32>)
  return
}

// -----

func.func @chunk_query_gradient(
    %arg0: tensor<5x?x2x4xf32>, %arg1: tensor<?x?x2x6xf32>, %arg2: tensor<?x?x2x6xf32>,
    %arg3: tensor<?x16x2x4xf32>, %arg4: tensor<?x1x2048xf32>, %arg5: tensor<?x1x2048xf32>,
    %arg6: tensor<4xi64>) {
  // expected-error @+1 {{expects position to be [B] = [5], but got [4]}}
  %r:3 = mega.chunk_query_gradient %arg0, %arg1, %arg2, %arg3, %arg4, %arg5 at %arg6 chunk(16)
      : (tensor<5x?x2x4xf32>, tensor<?x?x2x6xf32>, tensor<?x?x2x6xf32>, tensor<?x16x2x4xf32>,
         tensor<?x1x2048xf32>, tensor<?x1x2048xf32>, tensor<4xi64>) ->
        (tensor<5x?x2x4xf32>, tensor<?x?x2xf32>, tensor<?x?x2xf32>)
  return
}

// -----

func.func @chunk_query_gradient(
    %arg0: tensor<?x?x2x4xf32>, %arg1: tensor<?x?x2x6xf32>, %arg2: tensor<?x?x2x6xf32>,
    %arg3: tensor<?x16x2x4xf32>, %arg4: tensor<?x1x2048xf32>, %arg5: tensor<?x1x2048xf32>,
    %arg6: tensor<?xi64>) {
  // expected-error @+1 {{expects log_sum to be [B, L, H] = [?, ?, 2], but got [?, ?, 1]}}
  %r:3 = mega.chunk_query_gradient %arg0, %arg1, %arg2, %arg3, %arg4, %arg5 at %arg6 chunk(16)
      : (tensor<?x?x2x4xf32>, tensor<?x?x2x6xf32>, tensor<?x?x2x6xf32>, tensor<?x16x2x4xf32>,
         tensor<?x1x2048xf32>, tensor<?x1x2048xf32>, tensor<?xi64>) ->
        (tensor<?x?x2x4xf32>, tensor<?x?x1xf32>, tensor<?x?x2xf32>)
  return
}

// -----

func.func @chunk_query_gradient(
    %arg0: tensor<?x?x2x4xf32>, %arg1: tensor<?x?x2x6xf32>, %arg2: tensor<?x?x2x6xf32>,
    %arg3: tensor<?x16x2x4xf32>, %arg4: tensor<?x1x2048xf32>, %arg5: tensor<?x1x2048xf32>,
    %arg6: tensor<?xi64>) {
  // expected-error @+1 {{expects dot to be [B, L, H] = [?, ?, 2], but got [?, ?, 1]}}
  %r:3 = mega.chunk_query_gradient %arg0, %arg1, %arg2, %arg3, %arg4, %arg5 at %arg6 chunk(16)
      : (tensor<?x?x2x4xf32>, tensor<?x?x2x6xf32>, tensor<?x?x2x6xf32>, tensor<?x16x2x4xf32>,
         tensor<?x1x2048xf32>, tensor<?x1x2048xf32>, tensor<?xi64>) ->
        (tensor<?x?x2x4xf32>, tensor<?x?x2xf32>, tensor<?x?x1xf32>)
  return
}

// -----

func.func @chunk_key_gradient(
    %arg0: tensor<?x?x2x4xf32>, %arg1: tensor<?x?x3x6xf32>, %arg2: tensor<?x?x2xf32>,
    %arg3: tensor<?x?x2xf32>, %arg4: tensor<?x16x2x4xf32>, %arg5: tensor<?x1x2048xf32>,
    %arg6: tensor<?xi64>, %arg7: tensor<?x16x2x4xf32>, %arg8: tensor<?x16x2x6xf32>) {
  // expected-error @+1 {{expects doutput to be [B, L, H, dv] = [?, ?, 2, 6], but got [?, ?, 3, 6]}}
  %r:4 = mega.chunk_key_gradient %arg0, %arg1, %arg2, %arg3, %arg4, %arg5 at %arg6 into %arg7, %arg8 chunk(16)
      : (tensor<?x?x2x4xf32>, tensor<?x?x3x6xf32>, tensor<?x?x2xf32>, tensor<?x?x2xf32>,
         tensor<?x16x2x4xf32>, tensor<?x1x2048xf32>, tensor<?xi64>, tensor<?x16x2x4xf32>,
         tensor<?x16x2x6xf32>) ->
        (tensor<?x?x2x4xf32>, tensor<?x?x2x6xf32>, tensor<?x16x2x4xf32>, tensor<?x16x2x6xf32>)
  return
}

// -----

func.func @chunk_key_gradient(
    %arg0: tensor<?x?x2x4xf32>, %arg1: tensor<?x?x2x6xf32>, %arg2: tensor<?x?x1xf32>,
    %arg3: tensor<?x?x2xf32>, %arg4: tensor<?x16x2x4xf32>, %arg5: tensor<?x1x2048xf32>,
    %arg6: tensor<?xi64>, %arg7: tensor<?x16x2x4xf32>, %arg8: tensor<?x16x2x6xf32>) {
  // expected-error @+1 {{expects log_sum to be [B, L, H] = [?, ?, 2], but got [?, ?, 1]}}
  %r:4 = mega.chunk_key_gradient %arg0, %arg1, %arg2, %arg3, %arg4, %arg5 at %arg6 into %arg7, %arg8 chunk(16)
      : (tensor<?x?x2x4xf32>, tensor<?x?x2x6xf32>, tensor<?x?x1xf32>, tensor<?x?x2xf32>,
         tensor<?x16x2x4xf32>, tensor<?x1x2048xf32>, tensor<?xi64>, tensor<?x16x2x4xf32>,
         tensor<?x16x2x6xf32>) ->
        (tensor<?x?x2x4xf32>, tensor<?x?x2x6xf32>, tensor<?x16x2x4xf32>, tensor<?x16x2x6xf32>)
  return
}

// -----

func.func @chunk_key_gradient(
    %arg0: tensor<?x?x2x4xf32>, %arg1: tensor<?x?x2x6xf32>, %arg2: tensor<?x?x2xf32>,
    %arg3: tensor<?x?x1xf32>, %arg4: tensor<?x16x2x4xf32>, %arg5: tensor<?x1x2048xf32>,
    %arg6: tensor<?xi64>, %arg7: tensor<?x16x2x4xf32>, %arg8: tensor<?x16x2x6xf32>) {
  // expected-error @+1 {{expects dot to be [B, L, H] = [?, ?, 2], but got [?, ?, 1]}}
  %r:4 = mega.chunk_key_gradient %arg0, %arg1, %arg2, %arg3, %arg4, %arg5 at %arg6 into %arg7, %arg8 chunk(16)
      : (tensor<?x?x2x4xf32>, tensor<?x?x2x6xf32>, tensor<?x?x2xf32>, tensor<?x?x1xf32>,
         tensor<?x16x2x4xf32>, tensor<?x1x2048xf32>, tensor<?xi64>, tensor<?x16x2x4xf32>,
         tensor<?x16x2x6xf32>) ->
        (tensor<?x?x2x4xf32>, tensor<?x?x2x6xf32>, tensor<?x16x2x4xf32>, tensor<?x16x2x6xf32>)
  return
}

// -----

func.func @chunk_key_gradient(
    %arg0: tensor<?x?x2x4xf32>, %arg1: tensor<?x?x2x6xf32>, %arg2: tensor<?x?x2xf32>,
    %arg3: tensor<?x?x2xf32>, %arg4: tensor<?x8x2x4xf32>, %arg5: tensor<?x1x2048xf32>,
    %arg6: tensor<?xi64>, %arg7: tensor<?x16x2x4xf32>, %arg8: tensor<?x16x2x6xf32>) {
  // expected-error @+1 {{expects keys to be [B, C, H, dz] = [?, 16, 2, 4], but got [?, 8, 2, 4]}}
  %r:4 = mega.chunk_key_gradient %arg0, %arg1, %arg2, %arg3, %arg4, %arg5 at %arg6 into %arg7, %arg8 chunk(16)
      : (tensor<?x?x2x4xf32>, tensor<?x?x2x6xf32>, tensor<?x?x2xf32>, tensor<?x?x2xf32>,
         tensor<?x8x2x4xf32>, tensor<?x1x2048xf32>, tensor<?xi64>, tensor<?x16x2x4xf32>,
         tensor<?x16x2x6xf32>) ->
        (tensor<?x?x2x4xf32>, tensor<?x?x2x6xf32>, tensor<?x16x2x4xf32>, tensor<?x16x2x6xf32>)
  return
}

// -----

func.func @chunk_key_gradient(
    %arg0: tensor<?x?x2x4xf32>, %arg1: tensor<?x?x2x6xf32>, %arg2: tensor<?x?x2xf32>,
    %arg3: tensor<?x?x2xf32>, %arg4: tensor<?x16x2x4xf32>, %arg5: tensor<?x1x192xf32>,
    %arg6: tensor<?xi64>, %arg7: tensor<?x16x2x4xf32>, %arg8: tensor<?x16x2x6xf32>) {
  // expected-error @+1 {{expects value_columns to be [B, 1, W] = [?, 1, 2048], but got [?, 1, 192]}}
  %r:4 = mega.chunk_key_gradient %arg0, %arg1, %arg2, %arg3, %arg4, %arg5 at %arg6 into %arg7, %arg8 chunk(16)
      : (tensor<?x?x2x4xf32>, tensor<?x?x2x6xf32>, tensor<?x?x2xf32>, tensor<?x?x2xf32>,
         tensor<?x16x2x4xf32>, tensor<?x1x192xf32>, tensor<?xi64>, tensor<?x16x2x4xf32>,
         tensor<?x16x2x6xf32>) ->
        (tensor<?x?x2x4xf32>, tensor<?x?x2x6xf32>, tensor<?x16x2x4xf32>, tensor<?x16x2x6xf32>)
  return
}

// -----

func.func @chunk_key_gradient(
    %arg0: tensor<5x?x2x4xf32>, %arg1: tensor<?x?x2x6xf32>, %arg2: tensor<?x?x2xf32>,
    %arg3: tensor<?x?x2xf32>, %arg4: tensor<?x16x2x4xf32>, %arg5: tensor<?x1x2048xf32>,
    %arg6: tensor<4xi64>, %arg7: tensor<?x16x2x4xf32>, %arg8: tensor<?x16x2x6xf32>) {
  // expected-error @+1 {{expects position to be [B] = [5], but got [4]}}
  %r:4 = mega.chunk_key_gradient %arg0, %arg1, %arg2, %arg3, %arg4, %arg5 at %arg6 into %arg7, %arg8 chunk(16)
      : (tensor<5x?x2x4xf32>, tensor<?x?x2x6xf32>, tensor<?x?x2xf32>, tensor<?x?x2xf32>,
         tensor<?x16x2x4xf32>, tensor<?x1x2048xf32>, tensor<4xi64>, tensor<?x16x2x4xf32>,
         tensor<?x16x2x6xf32>) ->
        (tensor<?x?x2x4xf32>, tensor<?x?x2x6xf32>, tensor<?x16x2x4xf32>, tensor<?x16x2x6xf32>)
  return
}

// -----

func.func @chunk_key_gradient(
    %arg0: tensor<?x?x2x4xf32>, %arg1: tensor<?x?x2x6xf32>, %arg2: tensor<?x?x2xf32>,
    %arg3: tensor<?x?x2xf32>, %arg4: tensor<?x16x2x4xf32>, %arg5: tensor<?x1x2048xf32>,
    %arg6: tensor<?xi64>, %arg7: tensor<?x16x2x4xf32>, %arg8: tensor<?x16x2x6xf32>) {
  // expected-error @+1 {{expects dkey to be [B, L, H, dz] = [?, ?, 2, 4], but got [?, ?, 2, 6]}}
  %r:4 = mega.chunk_key_gradient %arg0, %arg1, %arg2, %arg3, %arg4, %arg5 at %arg6 into %arg7, %arg8 chunk(16)
      : (tensor<?x?x2x4xf32>, tensor<?x?x2x6xf32>, tensor<?x?x2xf32>, tensor<?x?x2xf32>,
         tensor<?x16x2x4xf32>, tensor<?x1x2048xf32>, tensor<?xi64>, tensor<?x16x2x4xf32>,
         tensor<?x16x2x6xf32>) ->
        (tensor<?x?x2x6xf32>, tensor<?x?x2x6xf32>, tensor<?x16x2x4xf32>, tensor<?x16x2x6xf32>)
  return
}

// -----

func.func @chunk_key_gradient(
    %arg0: tensor<?x?x2x4xf32>, %arg1: tensor<?x?x2x6xf32>, %arg2: tensor<?x?x2xf32>,
    %arg3: tensor<?x?x2xf32>, %arg4: tensor<?x16x2x4xf32>, %arg5: tensor<?x1x2048xf32>,
    %arg6: tensor<?xi64>, %arg7: tensor<?x16x2x4xf32>, %arg8: tensor<?x16x2x6xf32>) {
  // expected-error @+1 {{expects dvalue to be [B, L, H, dv] = [?, ?, 2, 6], but got [?, ?, 2, 4]}}
  %r:4 = mega.chunk_key_gradient %arg0, %arg1, %arg2, %arg3, %arg4, %arg5 at %arg6 into %arg7, %arg8 chunk(16)
      : (tensor<?x?x2x4xf32>, tensor<?x?x2x6xf32>, tensor<?x?x2xf32>, tensor<?x?x2xf32>,
         tensor<?x16x2x4xf32>, tensor<?x1x2048xf32>, tensor<?xi64>, tensor<?x16x2x4xf32>,
         tensor<?x16x2x6xf32>) ->
        (tensor<?x?x2x4xf32>, tensor<?x?x2x4xf32>, tensor<?x16x2x4xf32>, tensor<?x16x2x6xf32>)
  return
}

// -----

func.func @chunk_key_gradient(
    %arg0: tensor<?x?x2x4xf32>, %arg1: tensor<?x?x2x6xf32>, %arg2: tensor<?x?x2xf32>,
    %arg3: tensor<?x?x2xf32>, %arg4: tensor<?x16x2x4xf32>, %arg5: tensor<?x1x2048xf32>,
    %arg6: tensor<?xi64>, %arg7: tensor<?x8x2x4xf32>, %arg8: tensor<?x16x2x6xf32>) {
  // expected-error @+1 {{expects dkeys to be [B, C, H, dz] = [?, 16, 2, 4], but got [?, 8, 2, 4]}}
  %r:4 = mega.chunk_key_gradient %arg0, %arg1, %arg2, %arg3, %arg4, %arg5 at %arg6 into %arg7, %arg8 chunk(16)
      : (tensor<?x?x2x4xf32>, tensor<?x?x2x6xf32>, tensor<?x?x2xf32>, tensor<?x?x2xf32>,
         tensor<?x16x2x4xf32>, tensor<?x1x2048xf32>, tensor<?xi64>, tensor<?x8x2x4xf32>,
         tensor<?x16x2x6xf32>) ->
        (tensor<?x?x2x4xf32>, tensor<?x?x2x6xf32>, tensor<?x8x2x4xf32>, tensor<?x16x2x6xf32>)
  return
}

// -----

func.func @chunk_key_gradient(
    %arg0: tensor<?x?x2x4xf32>, %arg1: tensor<?x?x2x6xf32>, %arg2: tensor<?x?x2xf32>,
    %arg3: tensor<?x?x2xf32>, %arg4: tensor<?x16x2x4xf32>, %arg5: tensor<?x1x2048xf32>,
    %arg6: tensor<?xi64>, %arg7: tensor<?x16x2x4xf32>, %arg8: tensor<?x16x2x6xf32>) {
  // expected-error @+1 {{expects a state to leave with the type it has on entry}}
  %r:4 = mega.chunk_key_gradient %arg0, %arg1, %arg2, %arg3, %arg4, %arg5 at %arg6 into %arg7, %arg8 chunk(16)
      : (tensor<?x?x2x4xf32>, tensor<?x?x2x6xf32>, tensor<?x?x2xf32>, tensor<?x?x2xf32>,
         tensor<?x16x2x4xf32>, tensor<?x1x2048xf32>, tensor<?xi64>, tensor<?x16x2x4xf32>,
         tensor<?x16x2x6xf32>) ->
        (tensor<?x?x2x4xf32>, tensor<?x?x2x6xf32>, tensor<?x8x2x4xf32>, tensor<?x16x2x6xf32>)
  return
}

// -----

func.func @chunk_key_gradient(
    %arg0: tensor<?x?x2x4xf32>, %arg1: tensor<?x?x2x6xf32>, %arg2: tensor<?x?x2xf32>,
    %arg3: tensor<?x?x2xf32>, %arg4: tensor<?x16x2x4xf32>, %arg5: tensor<?x1x2048xf32>,
    %arg6: tensor<?xi64>, %arg7: tensor<?x16x2x4xf32>, %arg8: tensor<?x8x2x6xf32>) {
  // expected-error @+1 {{expects dvalues to be [B, C, H, dv] = [?, 16, 2, 6], but got [?, 8, 2, 6]}}
  %r:4 = mega.chunk_key_gradient %arg0, %arg1, %arg2, %arg3, %arg4, %arg5 at %arg6 into %arg7, %arg8 chunk(16)
      : (tensor<?x?x2x4xf32>, tensor<?x?x2x6xf32>, tensor<?x?x2xf32>, tensor<?x?x2xf32>,
         tensor<?x16x2x4xf32>, tensor<?x1x2048xf32>, tensor<?xi64>, tensor<?x16x2x4xf32>,
         tensor<?x8x2x6xf32>) ->
        (tensor<?x?x2x4xf32>, tensor<?x?x2x6xf32>, tensor<?x16x2x4xf32>, tensor<?x8x2x6xf32>)
  return
}

// -----

func.func @chunk_key_gradient(
    %arg0: tensor<?x?x2x4xf32>, %arg1: tensor<?x?x2x6xf32>, %arg2: tensor<?x?x2xf32>,
    %arg3: tensor<?x?x2xf32>, %arg4: tensor<?x16x2x4xf32>, %arg5: tensor<?x1x2048xf32>,
    %arg6: tensor<?xi64>, %arg7: tensor<?x16x2x4xf32>, %arg8: tensor<?x16x2x6xf32>) {
  // expected-error @+1 {{expects a state to leave with the type it has on entry}}
  %r:4 = mega.chunk_key_gradient %arg0, %arg1, %arg2, %arg3, %arg4, %arg5 at %arg6 into %arg7, %arg8 chunk(16)
      : (tensor<?x?x2x4xf32>, tensor<?x?x2x6xf32>, tensor<?x?x2xf32>, tensor<?x?x2xf32>,
         tensor<?x16x2x4xf32>, tensor<?x1x2048xf32>, tensor<?xi64>, tensor<?x16x2x4xf32>,
         tensor<?x16x2x6xf32>) ->
        (tensor<?x?x2x4xf32>, tensor<?x?x2x6xf32>, tensor<?x16x2x4xf32>, tensor<?x8x2x6xf32>)
  return
}

// RUN: otodus-opt %s -split-input-file -verify-diagnostics

// One case per constraint of the saving forms and backward steps of the ops that walk time, and of
// attention's.

func.func @timestep_norm_saving(
    %arg0: tensor<?x?x2x4xf32>, %arg1: tensor<8xf32>, %arg2: tensor<8xf32>, %arg3: tensor<?xi64>,
    %arg4: tensor<?x2xf32>, %arg5: tensor<?x2xf32>) {
  // expected-error @+1 {{operand #0 must be an activation [B, L, W]}}
  %r:6 = mega.timestep_norm_saving %arg0, %arg1, %arg2, %arg3, %arg4, %arg5 groups(2) eps(1.0e-5)
      : (tensor<?x?x2x4xf32>, tensor<8xf32>, tensor<8xf32>, tensor<?xi64>, tensor<?x2xf32>,
         tensor<?x2xf32>) ->
        (tensor<?x?x2x4xf32>, tensor<?xi64>, tensor<?x2xf32>, tensor<?x2xf32>, tensor<?x?x3xf32>,
         tensor<?x?x3xf32>)
  return
}

// -----

func.func @timestep_norm_saving(
    %arg0: tensor<?x?x8xf32>, %arg1: tensor<8xf32>, %arg2: tensor<8xf32>, %arg3: tensor<?xi64>,
    %arg4: tensor<?x2xf32>, %arg5: tensor<?x2xf32>) {
  // expected-error @+1 {{failed to verify that all of {input, output} have same type}}
  %r:6 = mega.timestep_norm_saving %arg0, %arg1, %arg2, %arg3, %arg4, %arg5 groups(2) eps(1.0e-5)
      : (tensor<?x?x8xf32>, tensor<8xf32>, tensor<8xf32>, tensor<?xi64>, tensor<?x2xf32>,
         tensor<?x2xf32>) ->
        (tensor<?x?x4xf32>, tensor<?xi64>, tensor<?x2xf32>, tensor<?x2xf32>, tensor<?x?x3xf32>,
         tensor<?x?x3xf32>)
  return
}

// -----

func.func @timestep_norm_saving(
    %arg0: tensor<?x?x8xf32>, %arg1: tensor<8xf32>, %arg2: tensor<4xf32>, %arg3: tensor<?xi64>,
    %arg4: tensor<?x2xf32>, %arg5: tensor<?x2xf32>) {
  // expected-error @+1 {{failed to verify that all of {weight, bias} have same type}}
  %r:6 = mega.timestep_norm_saving %arg0, %arg1, %arg2, %arg3, %arg4, %arg5 groups(2) eps(1.0e-5)
      : (tensor<?x?x8xf32>, tensor<8xf32>, tensor<4xf32>, tensor<?xi64>, tensor<?x2xf32>,
         tensor<?x2xf32>) ->
        (tensor<?x?x8xf32>, tensor<?xi64>, tensor<?x2xf32>, tensor<?x2xf32>, tensor<?x?x3xf32>,
         tensor<?x?x3xf32>)
  return
}

// -----

func.func @timestep_norm_saving(
    %arg0: tensor<?x?x8xf32>, %arg1: tensor<8xbf16>, %arg2: tensor<8xbf16>, %arg3: tensor<?xi64>,
    %arg4: tensor<?x2xf32>, %arg5: tensor<?x2xf32>) {
  // expected-error @+1 {{operand #1 must be a tensor [D] of 32-bit float}}
  %r:6 = mega.timestep_norm_saving %arg0, %arg1, %arg2, %arg3, %arg4, %arg5 groups(2) eps(1.0e-5)
      : (tensor<?x?x8xf32>, tensor<8xbf16>, tensor<8xbf16>, tensor<?xi64>, tensor<?x2xf32>,
         tensor<?x2xf32>) ->
        (tensor<?x?x8xf32>, tensor<?xi64>, tensor<?x2xf32>, tensor<?x2xf32>, tensor<?x?x3xf32>,
         tensor<?x?x3xf32>)
  return
}

// -----

func.func @timestep_norm_saving(
    %arg0: tensor<?x?x8xf32>, %arg1: tensor<8xf32>, %arg2: tensor<8xf32>, %arg3: tensor<?xi32>,
    %arg4: tensor<?x2xf32>, %arg5: tensor<?x2xf32>) {
  // expected-error @+1 {{operand #3 must be a tensor [B] of 64-bit signless integer}}
  %r:6 = mega.timestep_norm_saving %arg0, %arg1, %arg2, %arg3, %arg4, %arg5 groups(2) eps(1.0e-5)
      : (tensor<?x?x8xf32>, tensor<8xf32>, tensor<8xf32>, tensor<?xi32>, tensor<?x2xf32>,
         tensor<?x2xf32>) ->
        (tensor<?x?x8xf32>, tensor<?xi32>, tensor<?x2xf32>, tensor<?x2xf32>, tensor<?x?x3xf32>,
         tensor<?x?x3xf32>)
  return
}

// -----

func.func @timestep_norm_saving(
    %arg0: tensor<?x?x8xf32>, %arg1: tensor<8xf32>, %arg2: tensor<8xf32>, %arg3: tensor<?xi64>,
    %arg4: tensor<?x2xf32>, %arg5: tensor<?x2xf32>) {
  // expected-error @+1 {{failed to verify that all of {count, new_count} have same type}}
  %r:6 = mega.timestep_norm_saving %arg0, %arg1, %arg2, %arg3, %arg4, %arg5 groups(2) eps(1.0e-5)
      : (tensor<?x?x8xf32>, tensor<8xf32>, tensor<8xf32>, tensor<?xi64>, tensor<?x2xf32>,
         tensor<?x2xf32>) ->
        (tensor<?x?x8xf32>, tensor<4xi64>, tensor<?x2xf32>, tensor<?x2xf32>, tensor<?x?x3xf32>,
         tensor<?x?x3xf32>)
  return
}

// -----

func.func @timestep_norm_saving(
    %arg0: tensor<?x?x8xf32>, %arg1: tensor<8xf32>, %arg2: tensor<8xf32>, %arg3: tensor<?xi64>,
    %arg4: tensor<?x2xf32>, %arg5: tensor<?x4xf32>) {
  // expected-error @+1 {{failed to verify that all of {mean, variance, new_mean, new_variance} have same type}}
  %r:6 = mega.timestep_norm_saving %arg0, %arg1, %arg2, %arg3, %arg4, %arg5 groups(2) eps(1.0e-5)
      : (tensor<?x?x8xf32>, tensor<8xf32>, tensor<8xf32>, tensor<?xi64>, tensor<?x2xf32>,
         tensor<?x4xf32>) ->
        (tensor<?x?x8xf32>, tensor<?xi64>, tensor<?x2xf32>, tensor<?x2xf32>, tensor<?x?x3xf32>,
         tensor<?x?x3xf32>)
  return
}

// -----

func.func @timestep_norm_saving(
    %arg0: tensor<?x?x8xf32>, %arg1: tensor<8xf32>, %arg2: tensor<8xf32>, %arg3: tensor<?xi64>,
    %arg4: tensor<?x2xf64>, %arg5: tensor<?x2xf64>) {
  // expected-error @+1 {{operand #4 must be a tensor [B, G] of 32-bit float}}
  %r:6 = mega.timestep_norm_saving %arg0, %arg1, %arg2, %arg3, %arg4, %arg5 groups(2) eps(1.0e-5)
      : (tensor<?x?x8xf32>, tensor<8xf32>, tensor<8xf32>, tensor<?xi64>, tensor<?x2xf64>,
         tensor<?x2xf64>) ->
        (tensor<?x?x8xf32>, tensor<?xi64>, tensor<?x2xf64>, tensor<?x2xf64>, tensor<?x?x3xf32>,
         tensor<?x?x3xf32>)
  return
}

// -----

func.func @timestep_norm_saving(
    %arg0: tensor<?x?x8xf32>, %arg1: tensor<8xf32>, %arg2: tensor<8xf32>, %arg3: tensor<?xi64>,
    %arg4: tensor<?x2xf32>, %arg5: tensor<?x2xf32>) {
  // expected-error @+1 {{failed to verify that all of {shift, inverse_deviation} have same type}}
  %r:6 = mega.timestep_norm_saving %arg0, %arg1, %arg2, %arg3, %arg4, %arg5 groups(2) eps(1.0e-5)
      : (tensor<?x?x8xf32>, tensor<8xf32>, tensor<8xf32>, tensor<?xi64>, tensor<?x2xf32>,
         tensor<?x2xf32>) ->
        (tensor<?x?x8xf32>, tensor<?xi64>, tensor<?x2xf32>, tensor<?x2xf32>, tensor<?x?x3xf32>,
         tensor<?x?x4xf32>)
  return
}

// -----

func.func @timestep_norm_saving(
    %arg0: tensor<?x?x8xf32>, %arg1: tensor<8xf32>, %arg2: tensor<8xf32>, %arg3: tensor<?xi64>,
    %arg4: tensor<?x2xf32>, %arg5: tensor<?x2xf32>, %arg6: tensor<?x?xi8>) {
  // expected-error @+1 {{operand #6 must be a tensor [B, L] of 1-bit signless integer}}
  %r:6 = mega.timestep_norm_saving %arg0, %arg1, %arg2, %arg3, %arg4, %arg5 mask %arg6 groups(2) eps(1.0e-5)
      : (tensor<?x?x8xf32>, tensor<8xf32>, tensor<8xf32>, tensor<?xi64>, tensor<?x2xf32>,
         tensor<?x2xf32>, tensor<?x?xi8>) ->
        (tensor<?x?x8xf32>, tensor<?xi64>, tensor<?x2xf32>, tensor<?x2xf32>, tensor<?x?x3xf32>,
         tensor<?x?x3xf32>)
  return
}

// -----

func.func @timestep_norm_saving(
    %arg0: tensor<?x?x8xf32>, %arg1: tensor<8xf32>, %arg2: tensor<8xf32>, %arg3: tensor<?xi64>,
    %arg4: tensor<?x2xf32>, %arg5: tensor<?x2xf32>) {
  // expected-error @+1 {{attribute 'groups' failed to satisfy constraint: 64-bit signless integer attribute whose value is positive}}
  %r:6 = mega.timestep_norm_saving %arg0, %arg1, %arg2, %arg3, %arg4, %arg5 groups(0) eps(1.0e-5)
      : (tensor<?x?x8xf32>, tensor<8xf32>, tensor<8xf32>, tensor<?xi64>, tensor<?x2xf32>,
         tensor<?x2xf32>) ->
        (tensor<?x?x8xf32>, tensor<?xi64>, tensor<?x2xf32>, tensor<?x2xf32>, tensor<?x?x3xf32>,
         tensor<?x?x3xf32>)
  return
}

// -----

func.func @timestep_norm_gradient(
    %arg0: tensor<?x?x2x4xf32>, %arg1: tensor<?x?x2x4xf32>, %arg2: tensor<?x?x3xf32>,
    %arg3: tensor<?x?x3xf32>, %arg4: tensor<8xf32>, %arg5: tensor<?x2xf32>, %arg6: tensor<?x2xf32>,
    %arg7: tensor<8xf32>, %arg8: tensor<8xf32>) {
  // expected-error @+1 {{operand #0 must be an activation [B, L, W]}}
  %r:5 = mega.timestep_norm_gradient %arg0, %arg1, %arg2, %arg3, %arg4 into %arg5, %arg6, %arg7, %arg8 groups(2)
      : (tensor<?x?x2x4xf32>, tensor<?x?x2x4xf32>, tensor<?x?x3xf32>, tensor<?x?x3xf32>,
         tensor<8xf32>, tensor<?x2xf32>, tensor<?x2xf32>, tensor<8xf32>, tensor<8xf32>) ->
        (tensor<?x?x2x4xf32>, tensor<?x2xf32>, tensor<?x2xf32>, tensor<8xf32>, tensor<8xf32>)
  return
}

// -----

func.func @timestep_norm_gradient(
    %arg0: tensor<?x?x8xf32>, %arg1: tensor<?x?x4xf32>, %arg2: tensor<?x?x3xf32>,
    %arg3: tensor<?x?x3xf32>, %arg4: tensor<8xf32>, %arg5: tensor<?x2xf32>, %arg6: tensor<?x2xf32>,
    %arg7: tensor<8xf32>, %arg8: tensor<8xf32>) {
  // expected-error @+1 {{failed to verify that all of {input, dy, dx} have same type}}
  %r:5 = mega.timestep_norm_gradient %arg0, %arg1, %arg2, %arg3, %arg4 into %arg5, %arg6, %arg7, %arg8 groups(2)
      : (tensor<?x?x8xf32>, tensor<?x?x4xf32>, tensor<?x?x3xf32>, tensor<?x?x3xf32>, tensor<8xf32>,
         tensor<?x2xf32>, tensor<?x2xf32>, tensor<8xf32>, tensor<8xf32>) ->
        (tensor<?x?x8xf32>, tensor<?x2xf32>, tensor<?x2xf32>, tensor<8xf32>, tensor<8xf32>)
  return
}

// -----

func.func @timestep_norm_gradient(
    %arg0: tensor<?x?x8xf32>, %arg1: tensor<?x?x8xf32>, %arg2: tensor<?x3xf32>,
    %arg3: tensor<?x?x3xf32>, %arg4: tensor<8xf32>, %arg5: tensor<?x2xf32>, %arg6: tensor<?x2xf32>,
    %arg7: tensor<8xf32>, %arg8: tensor<8xf32>) {
  // expected-error @+1 {{operand #2 must be an activation [B, L, W]}}
  %r:5 = mega.timestep_norm_gradient %arg0, %arg1, %arg2, %arg3, %arg4 into %arg5, %arg6, %arg7, %arg8 groups(2)
      : (tensor<?x?x8xf32>, tensor<?x?x8xf32>, tensor<?x3xf32>, tensor<?x?x3xf32>, tensor<8xf32>,
         tensor<?x2xf32>, tensor<?x2xf32>, tensor<8xf32>, tensor<8xf32>) ->
        (tensor<?x?x8xf32>, tensor<?x2xf32>, tensor<?x2xf32>, tensor<8xf32>, tensor<8xf32>)
  return
}

// -----

func.func @timestep_norm_gradient(
    %arg0: tensor<?x?x8xf32>, %arg1: tensor<?x?x8xf32>, %arg2: tensor<?x?x3xf32>,
    %arg3: tensor<?x?x3xf32>, %arg4: tensor<8xf32>, %arg5: tensor<?x2xf32>, %arg6: tensor<?x4xf32>,
    %arg7: tensor<8xf32>, %arg8: tensor<8xf32>) {
  // expected-error @+1 {{failed to verify that all of {dmean, dvariance, new_dmean, new_dvariance} have same type}}
  %r:5 = mega.timestep_norm_gradient %arg0, %arg1, %arg2, %arg3, %arg4 into %arg5, %arg6, %arg7, %arg8 groups(2)
      : (tensor<?x?x8xf32>, tensor<?x?x8xf32>, tensor<?x?x3xf32>, tensor<?x?x3xf32>, tensor<8xf32>,
         tensor<?x2xf32>, tensor<?x4xf32>, tensor<8xf32>, tensor<8xf32>) ->
        (tensor<?x?x8xf32>, tensor<?x2xf32>, tensor<?x2xf32>, tensor<8xf32>, tensor<8xf32>)
  return
}

// -----

func.func @timestep_norm_gradient(
    %arg0: tensor<?x?x8xf32>, %arg1: tensor<?x?x8xf32>, %arg2: tensor<?x?x3xf32>,
    %arg3: tensor<?x?x3xf32>, %arg4: tensor<8xf32>, %arg5: tensor<?x2xf32>, %arg6: tensor<?x2xf32>,
    %arg7: tensor<8xf32>, %arg8: tensor<4xf32>) {
  // expected-error @+1 {{failed to verify that all of {weight, dweight, dbias, new_dweight, new_dbias} have same type}}
  %r:5 = mega.timestep_norm_gradient %arg0, %arg1, %arg2, %arg3, %arg4 into %arg5, %arg6, %arg7, %arg8 groups(2)
      : (tensor<?x?x8xf32>, tensor<?x?x8xf32>, tensor<?x?x3xf32>, tensor<?x?x3xf32>, tensor<8xf32>,
         tensor<?x2xf32>, tensor<?x2xf32>, tensor<8xf32>, tensor<4xf32>) ->
        (tensor<?x?x8xf32>, tensor<?x2xf32>, tensor<?x2xf32>, tensor<8xf32>, tensor<8xf32>)
  return
}

// -----

func.func @timestep_norm_gradient(
    %arg0: tensor<?x?x8xf32>, %arg1: tensor<?x?x8xf32>, %arg2: tensor<?x?x3xf32>,
    %arg3: tensor<?x?x3xf32>, %arg4: tensor<8xf32>, %arg5: tensor<?x2xf32>, %arg6: tensor<?x2xf32>,
    %arg7: tensor<8xf32>, %arg8: tensor<8xf32>) {
  // expected-error @+1 {{attribute 'groups' failed to satisfy constraint: 64-bit signless integer attribute whose value is positive}}
  %r:5 = mega.timestep_norm_gradient %arg0, %arg1, %arg2, %arg3, %arg4 into %arg5, %arg6, %arg7, %arg8 groups(0)
      : (tensor<?x?x8xf32>, tensor<?x?x8xf32>, tensor<?x?x3xf32>, tensor<?x?x3xf32>, tensor<8xf32>,
         tensor<?x2xf32>, tensor<?x2xf32>, tensor<8xf32>, tensor<8xf32>) ->
        (tensor<?x?x8xf32>, tensor<?x2xf32>, tensor<?x2xf32>, tensor<8xf32>, tensor<8xf32>)
  return
}

// -----

func.func @cema_saving(
    %arg0: tensor<?x?x2x4xf32>, %arg1: tensor<8x4x1xf32>, %arg2: tensor<8x4x1xf32>,
    %arg3: tensor<8x1x1xf32>, %arg4: tensor<8x4x2xf32>, %arg5: tensor<8x1xf32>,
    %arg6: tensor<?x8x4x2xf32>) {
  // expected-error @+1 {{operand #0 must be an activation [B, L, W]}}
  %r:4 = mega.cema_saving %arg0, %arg1, %arg2, %arg3, %arg4, %arg5, %arg6
      : (tensor<?x?x2x4xf32>, tensor<8x4x1xf32>, tensor<8x4x1xf32>, tensor<8x1x1xf32>,
         tensor<8x4x2xf32>, tensor<8x1xf32>, tensor<?x8x4x2xf32>) ->
        (tensor<?x?x2x4xf32>, tensor<?x8x4x2xf32>, tensor<?x1x256xf32>, tensor<?x?x8xf32>)
  return
}

// -----

func.func @cema_saving(
    %arg0: tensor<?x?x8xf32>, %arg1: tensor<8x4x1xf32>, %arg2: tensor<8x4x1xf32>,
    %arg3: tensor<8x1x1xf32>, %arg4: tensor<8x4x2xf32>, %arg5: tensor<8x1xf32>,
    %arg6: tensor<?x8x4x2xf32>) {
  // expected-error @+1 {{failed to verify that all of {input, output} have same type}}
  %r:4 = mega.cema_saving %arg0, %arg1, %arg2, %arg3, %arg4, %arg5, %arg6
      : (tensor<?x?x8xf32>, tensor<8x4x1xf32>, tensor<8x4x1xf32>, tensor<8x1x1xf32>,
         tensor<8x4x2xf32>, tensor<8x1xf32>, tensor<?x8x4x2xf32>) ->
        (tensor<?x?x4xf32>, tensor<?x8x4x2xf32>, tensor<?x1x256xf32>, tensor<?x?x8xf32>)
  return
}

// -----

func.func @cema_saving(
    %arg0: tensor<?x?x8xf32>, %arg1: tensor<8x4x1xf32>, %arg2: tensor<8x2x1xf32>,
    %arg3: tensor<8x1x1xf32>, %arg4: tensor<8x4x2xf32>, %arg5: tensor<8x1xf32>,
    %arg6: tensor<?x8x4x2xf32>) {
  // expected-error @+1 {{failed to verify that all of {alpha, delta} have same type}}
  %r:4 = mega.cema_saving %arg0, %arg1, %arg2, %arg3, %arg4, %arg5, %arg6
      : (tensor<?x?x8xf32>, tensor<8x4x1xf32>, tensor<8x2x1xf32>, tensor<8x1x1xf32>,
         tensor<8x4x2xf32>, tensor<8x1xf32>, tensor<?x8x4x2xf32>) ->
        (tensor<?x?x8xf32>, tensor<?x8x4x2xf32>, tensor<?x1x256xf32>, tensor<?x?x8xf32>)
  return
}

// -----

func.func @cema_saving(
    %arg0: tensor<?x?x8xf32>, %arg1: tensor<8x4x1xf32>, %arg2: tensor<8x4x1xf32>,
    %arg3: tensor<8x1x1xf32>, %arg4: tensor<8x4x2xf32>, %arg5: tensor<8x1xf32>,
    %arg6: tensor<?x8x4x2xf32>) {
  // expected-error @+1 {{failed to verify that all of {state, new_state} have same type}}
  %r:4 = mega.cema_saving %arg0, %arg1, %arg2, %arg3, %arg4, %arg5, %arg6
      : (tensor<?x?x8xf32>, tensor<8x4x1xf32>, tensor<8x4x1xf32>, tensor<8x1x1xf32>,
         tensor<8x4x2xf32>, tensor<8x1xf32>, tensor<?x8x4x2xf32>) ->
        (tensor<?x?x8xf32>, tensor<?x8x2x2xf32>, tensor<?x1x256xf32>, tensor<?x?x8xf32>)
  return
}

// -----

func.func @cema_saving(
    %arg0: tensor<?x?x8xf32>, %arg1: tensor<8x4x1xf32>, %arg2: tensor<8x4x1xf32>,
    %arg3: tensor<8x1x1xf32>, %arg4: tensor<8x4xf32>, %arg5: tensor<8x1xf32>,
    %arg6: tensor<?x8x4x2xf32>) {
  // expected-error @+1 {{operand #4 must be a tensor [D, N, 2] of 32-bit float}}
  %r:4 = mega.cema_saving %arg0, %arg1, %arg2, %arg3, %arg4, %arg5, %arg6
      : (tensor<?x?x8xf32>, tensor<8x4x1xf32>, tensor<8x4x1xf32>, tensor<8x1x1xf32>,
         tensor<8x4xf32>, tensor<8x1xf32>, tensor<?x8x4x2xf32>) ->
        (tensor<?x?x8xf32>, tensor<?x8x4x2xf32>, tensor<?x1x256xf32>, tensor<?x?x8xf32>)
  return
}

// -----

func.func @cema_saving(
    %arg0: tensor<?x?x8xf32>, %arg1: tensor<8x4x1xf32>, %arg2: tensor<8x4x1xf32>,
    %arg3: tensor<8x1x1xf32>, %arg4: tensor<8x4x2xf32>, %arg5: tensor<8x1xf32>,
    %arg6: tensor<?x8x4x2xf32>) {
  // expected-error @+1 {{result #2 must be an activation [B, L, W]}}
  %r:4 = mega.cema_saving %arg0, %arg1, %arg2, %arg3, %arg4, %arg5, %arg6
      : (tensor<?x?x8xf32>, tensor<8x4x1xf32>, tensor<8x4x1xf32>, tensor<8x1x1xf32>,
         tensor<8x4x2xf32>, tensor<8x1xf32>, tensor<?x8x4x2xf32>) ->
        (tensor<?x?x8xf32>, tensor<?x8x4x2xf32>, tensor<?x256xf32>, tensor<?x?x8xf32>)
  return
}

// -----

func.func @cema_gradient(
    %arg0: tensor<?x?x8xf32>, %arg1: tensor<?x?x4xf32>, %arg2: tensor<?x1x256xf32>,
    %arg3: tensor<?x?x8xf32>, %arg4: tensor<8x4x1xf32>, %arg5: tensor<8x4x1xf32>,
    %arg6: tensor<8x1x1xf32>, %arg7: tensor<8x4x2xf32>, %arg8: tensor<8x1xf32>,
    %arg9: tensor<?x8x4x2xf32>, %arg10: tensor<8x4x1xf32>, %arg11: tensor<8x4x1xf32>,
    %arg12: tensor<8x1x1xf32>, %arg13: tensor<8x4x2xf32>, %arg14: tensor<8x1xf32>) {
  // expected-error @+1 {{failed to verify that all of {input, dy, dx} have same type}}
  %r:7 = mega.cema_gradient %arg0, %arg1, %arg2, %arg3, %arg4, %arg5, %arg6, %arg7, %arg8, %arg9, %arg10, %arg11, %arg12, %arg13, %arg14
      : (tensor<?x?x8xf32>, tensor<?x?x4xf32>, tensor<?x1x256xf32>, tensor<?x?x8xf32>,
         tensor<8x4x1xf32>, tensor<8x4x1xf32>, tensor<8x1x1xf32>, tensor<8x4x2xf32>,
         tensor<8x1xf32>, tensor<?x8x4x2xf32>, tensor<8x4x1xf32>, tensor<8x4x1xf32>,
         tensor<8x1x1xf32>, tensor<8x4x2xf32>, tensor<8x1xf32>) ->
        (tensor<?x?x8xf32>, tensor<?x8x4x2xf32>, tensor<8x4x1xf32>, tensor<8x4x1xf32>,
         tensor<8x1x1xf32>, tensor<8x4x2xf32>, tensor<8x1xf32>)
  return
}

// -----

func.func @cema_gradient(
    %arg0: tensor<?x?x8xf32>, %arg1: tensor<?x?x8xf32>, %arg2: tensor<?x1x256xf32>,
    %arg3: tensor<?x?x8xf32>, %arg4: tensor<8x4x1xf32>, %arg5: tensor<8x4x1xf32>,
    %arg6: tensor<8x1x1xf32>, %arg7: tensor<8x4x2xf32>, %arg8: tensor<8x1xf32>,
    %arg9: tensor<?x8x4x2xf32>, %arg10: tensor<8x4x1xf32>, %arg11: tensor<8x4x1xf32>,
    %arg12: tensor<8x1x1xf32>, %arg13: tensor<8x4x2xf32>, %arg14: tensor<8x1xf32>) {
  // expected-error @+1 {{failed to verify that all of {dstate, new_dstate} have same type}}
  %r:7 = mega.cema_gradient %arg0, %arg1, %arg2, %arg3, %arg4, %arg5, %arg6, %arg7, %arg8, %arg9, %arg10, %arg11, %arg12, %arg13, %arg14
      : (tensor<?x?x8xf32>, tensor<?x?x8xf32>, tensor<?x1x256xf32>, tensor<?x?x8xf32>,
         tensor<8x4x1xf32>, tensor<8x4x1xf32>, tensor<8x1x1xf32>, tensor<8x4x2xf32>,
         tensor<8x1xf32>, tensor<?x8x4x2xf32>, tensor<8x4x1xf32>, tensor<8x4x1xf32>,
         tensor<8x1x1xf32>, tensor<8x4x2xf32>, tensor<8x1xf32>) ->
        (tensor<?x?x8xf32>, tensor<?x8x2x2xf32>, tensor<8x4x1xf32>, tensor<8x4x1xf32>,
         tensor<8x1x1xf32>, tensor<8x4x2xf32>, tensor<8x1xf32>)
  return
}

// -----

func.func @cema_gradient(
    %arg0: tensor<?x?x8xf32>, %arg1: tensor<?x?x8xf32>, %arg2: tensor<?x1x256xf32>,
    %arg3: tensor<?x8xf32>, %arg4: tensor<8x4x1xf32>, %arg5: tensor<8x4x1xf32>,
    %arg6: tensor<8x1x1xf32>, %arg7: tensor<8x4x2xf32>, %arg8: tensor<8x1xf32>,
    %arg9: tensor<?x8x4x2xf32>, %arg10: tensor<8x4x1xf32>, %arg11: tensor<8x4x1xf32>,
    %arg12: tensor<8x1x1xf32>, %arg13: tensor<8x4x2xf32>, %arg14: tensor<8x1xf32>) {
  // expected-error @+1 {{operand #3 must be an activation [B, L, W]}}
  %r:7 = mega.cema_gradient %arg0, %arg1, %arg2, %arg3, %arg4, %arg5, %arg6, %arg7, %arg8, %arg9, %arg10, %arg11, %arg12, %arg13, %arg14
      : (tensor<?x?x8xf32>, tensor<?x?x8xf32>, tensor<?x1x256xf32>, tensor<?x8xf32>,
         tensor<8x4x1xf32>, tensor<8x4x1xf32>, tensor<8x1x1xf32>, tensor<8x4x2xf32>,
         tensor<8x1xf32>, tensor<?x8x4x2xf32>, tensor<8x4x1xf32>, tensor<8x4x1xf32>,
         tensor<8x1x1xf32>, tensor<8x4x2xf32>, tensor<8x1xf32>) ->
        (tensor<?x?x8xf32>, tensor<?x8x4x2xf32>, tensor<8x4x1xf32>, tensor<8x4x1xf32>,
         tensor<8x1x1xf32>, tensor<8x4x2xf32>, tensor<8x1xf32>)
  return
}

// -----

func.func @cema_gradient(
    %arg0: tensor<?x?x8xf32>, %arg1: tensor<?x?x8xf32>, %arg2: tensor<?x1x256xf32>,
    %arg3: tensor<?x?x8xf32>, %arg4: tensor<8x4x1xf32>, %arg5: tensor<8x4x1xf32>,
    %arg6: tensor<8x1x1xf32>, %arg7: tensor<8x4x2xf32>, %arg8: tensor<8x1xf32>,
    %arg9: tensor<?x8x4x2xf32>, %arg10: tensor<8x4xf32>, %arg11: tensor<8x4x1xf32>,
    %arg12: tensor<8x1x1xf32>, %arg13: tensor<8x4x2xf32>, %arg14: tensor<8x1xf32>) {
  // expected-error @+1 {{operand #10 must be a tensor [D, N, 1] of 32-bit float}}
  %r:7 = mega.cema_gradient %arg0, %arg1, %arg2, %arg3, %arg4, %arg5, %arg6, %arg7, %arg8, %arg9, %arg10, %arg11, %arg12, %arg13, %arg14
      : (tensor<?x?x8xf32>, tensor<?x?x8xf32>, tensor<?x1x256xf32>, tensor<?x?x8xf32>,
         tensor<8x4x1xf32>, tensor<8x4x1xf32>, tensor<8x1x1xf32>, tensor<8x4x2xf32>,
         tensor<8x1xf32>, tensor<?x8x4x2xf32>, tensor<8x4xf32>, tensor<8x4x1xf32>,
         tensor<8x1x1xf32>, tensor<8x4x2xf32>, tensor<8x1xf32>) ->
        (tensor<?x?x8xf32>, tensor<?x8x4x2xf32>, tensor<8x4x1xf32>, tensor<8x4x1xf32>,
         tensor<8x1x1xf32>, tensor<8x4x2xf32>, tensor<8x1xf32>)
  return
}

// -----

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
  // expected-error @+1 {{operand #7 must be a tensor [B, C, H, dz] of 32-bit float or bfloat16 type}}
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

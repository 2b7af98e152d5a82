// RUN: otodus-opt %s -split-input-file -verify-diagnostics

// One case per constraint of mega.timestep_norm_saving and mega.timestep_norm_gradient.

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

func.func @timestep_norm_saving(
    %arg0: tensor<?x?x8xf32>, %arg1: tensor<8xf32>, %arg2: tensor<8xf32>, %arg3: tensor<?xi64>,
    %arg4: tensor<?x2xf32>, %arg5: tensor<?x2xf32>) {
  // expected-error @+1 {{expects groups to divide the channel count, but 8 is not a multiple of 3}}
  %r:6 = mega.timestep_norm_saving %arg0, %arg1, %arg2, %arg3, %arg4, %arg5 groups(3) eps(1.0e-5)
      : (tensor<?x?x8xf32>, tensor<8xf32>, tensor<8xf32>, tensor<?xi64>, tensor<?x2xf32>,
         tensor<?x2xf32>) ->
        (tensor<?x?x8xf32>, tensor<?xi64>, tensor<?x2xf32>, tensor<?x2xf32>, tensor<?x?x3xf32>,
         tensor<?x?x3xf32>)
  return
}

// -----

func.func @timestep_norm_saving(
    %arg0: tensor<?x?x8xf32>, %arg1: tensor<4xf32>, %arg2: tensor<4xf32>, %arg3: tensor<?xi64>,
    %arg4: tensor<?x2xf32>, %arg5: tensor<?x2xf32>) {
  // expected-error @+1 {{expects weight to be [D] = [8], but got [4]}}
  %r:6 = mega.timestep_norm_saving %arg0, %arg1, %arg2, %arg3, %arg4, %arg5 groups(2) eps(1.0e-5)
      : (tensor<?x?x8xf32>, tensor<4xf32>, tensor<4xf32>, tensor<?xi64>, tensor<?x2xf32>,
         tensor<?x2xf32>) ->
        (tensor<?x?x8xf32>, tensor<?xi64>, tensor<?x2xf32>, tensor<?x2xf32>, tensor<?x?x3xf32>,
         tensor<?x?x3xf32>)
  return
}

// -----

func.func @timestep_norm_saving(
    %arg0: tensor<5x?x8xf32>, %arg1: tensor<8xf32>, %arg2: tensor<8xf32>, %arg3: tensor<4xi64>,
    %arg4: tensor<?x2xf32>, %arg5: tensor<?x2xf32>) {
  // expected-error @+1 {{expects count to be [B] = [5], but got [4]}}
  %r:6 = mega.timestep_norm_saving %arg0, %arg1, %arg2, %arg3, %arg4, %arg5 groups(2) eps(1.0e-5)
      : (tensor<5x?x8xf32>, tensor<8xf32>, tensor<8xf32>, tensor<4xi64>, tensor<?x2xf32>,
         tensor<?x2xf32>) ->
        (tensor<5x?x8xf32>, tensor<4xi64>, tensor<?x2xf32>, tensor<?x2xf32>, tensor<?x?x3xf32>,
         tensor<?x?x3xf32>)
  return
}

// -----

func.func @timestep_norm_saving(
    %arg0: tensor<?x?x8xf32>, %arg1: tensor<8xf32>, %arg2: tensor<8xf32>, %arg3: tensor<?xi64>,
    %arg4: tensor<?x4xf32>, %arg5: tensor<?x4xf32>) {
  // expected-error @+1 {{expects mean to be [B, G] = [?, 2], but got [?, 4]}}
  %r:6 = mega.timestep_norm_saving %arg0, %arg1, %arg2, %arg3, %arg4, %arg5 groups(2) eps(1.0e-5)
      : (tensor<?x?x8xf32>, tensor<8xf32>, tensor<8xf32>, tensor<?xi64>, tensor<?x4xf32>,
         tensor<?x4xf32>) ->
        (tensor<?x?x8xf32>, tensor<?xi64>, tensor<?x4xf32>, tensor<?x4xf32>, tensor<?x?x3xf32>,
         tensor<?x?x3xf32>)
  return
}

// -----

func.func @timestep_norm_saving(
    %arg0: tensor<?x?x8xf32>, %arg1: tensor<8xf32>, %arg2: tensor<8xf32>, %arg3: tensor<?xi64>,
    %arg4: tensor<?x2xf32>, %arg5: tensor<?x2xf32>) {
  // expected-error @+1 {{expects shift to be [B, L, G + 1] = [?, ?, 3], but got [?, ?, 2]}}
  %r:6 = mega.timestep_norm_saving %arg0, %arg1, %arg2, %arg3, %arg4, %arg5 groups(2) eps(1.0e-5)
      : (tensor<?x?x8xf32>, tensor<8xf32>, tensor<8xf32>, tensor<?xi64>, tensor<?x2xf32>,
         tensor<?x2xf32>) ->
        (tensor<?x?x8xf32>, tensor<?xi64>, tensor<?x2xf32>, tensor<?x2xf32>, tensor<?x?x2xf32>,
         tensor<?x?x2xf32>)
  return
}

// -----

func.func @timestep_norm_saving(
    %arg0: tensor<?x7x8xf32>, %arg1: tensor<8xf32>, %arg2: tensor<8xf32>, %arg3: tensor<?xi64>,
    %arg4: tensor<?x2xf32>, %arg5: tensor<?x2xf32>, %arg6: tensor<?x6xi1>) {
  // expected-error @+1 {{expects mask to be [B, L] = [?, 7], but got [?, 6]}}
  %r:6 = mega.timestep_norm_saving %arg0, %arg1, %arg2, %arg3, %arg4, %arg5 mask %arg6 groups(2) eps(1.0e-5)
      : (tensor<?x7x8xf32>, tensor<8xf32>, tensor<8xf32>, tensor<?xi64>, tensor<?x2xf32>,
         tensor<?x2xf32>, tensor<?x6xi1>) ->
        (tensor<?x7x8xf32>, tensor<?xi64>, tensor<?x2xf32>, tensor<?x2xf32>, tensor<?x7x3xf32>,
         tensor<?x7x3xf32>)
  return
}

// -----

func.func @timestep_norm_saving(
    %arg0: tensor<?x?x8xf32>, %arg1: tensor<8xf32>, %arg2: tensor<8xf32>, %arg3: tensor<?xi64>,
    %arg4: tensor<?x2xf32>, %arg5: tensor<?x2xf32>) {
  // expected-error @+1 {{expects a positive and finite eps, but got}}
  %r:6 = mega.timestep_norm_saving %arg0, %arg1, %arg2, %arg3, %arg4, %arg5 groups(2) eps(0.0)
      : (tensor<?x?x8xf32>, tensor<8xf32>, tensor<8xf32>, tensor<?xi64>, tensor<?x2xf32>,
         tensor<?x2xf32>) ->
        (tensor<?x?x8xf32>, tensor<?xi64>, tensor<?x2xf32>, tensor<?x2xf32>, tensor<?x?x3xf32>,
         tensor<?x?x3xf32>)
  return
}

// -----

func.func @timestep_norm_gradient(
    %arg0: tensor<?x?x8xf32>, %arg1: tensor<?x?x8xf32>, %arg2: tensor<?x?x3xf32>,
    %arg3: tensor<?x?x3xf32>, %arg4: tensor<8xf32>, %arg5: tensor<?x2xf32>, %arg6: tensor<?x2xf32>,
    %arg7: tensor<8xf32>, %arg8: tensor<8xf32>) {
  // expected-error @+1 {{expects groups to divide the channel count, but 8 is not a multiple of 3}}
  %r:5 = mega.timestep_norm_gradient %arg0, %arg1, %arg2, %arg3, %arg4 into %arg5, %arg6, %arg7, %arg8 groups(3)
      : (tensor<?x?x8xf32>, tensor<?x?x8xf32>, tensor<?x?x3xf32>, tensor<?x?x3xf32>, tensor<8xf32>,
         tensor<?x2xf32>, tensor<?x2xf32>, tensor<8xf32>, tensor<8xf32>) ->
        (tensor<?x?x8xf32>, tensor<?x2xf32>, tensor<?x2xf32>, tensor<8xf32>, tensor<8xf32>)
  return
}

// -----

func.func @timestep_norm_gradient(
    %arg0: tensor<?x?x8xf32>, %arg1: tensor<?x?x8xf32>, %arg2: tensor<?x?x2xf32>,
    %arg3: tensor<?x?x3xf32>, %arg4: tensor<8xf32>, %arg5: tensor<?x2xf32>, %arg6: tensor<?x2xf32>,
    %arg7: tensor<8xf32>, %arg8: tensor<8xf32>) {
  // expected-error @+1 {{expects shift to be [B, L, G + 1] = [?, ?, 3], but got [?, ?, 2]}}
  %r:5 = mega.timestep_norm_gradient %arg0, %arg1, %arg2, %arg3, %arg4 into %arg5, %arg6, %arg7, %arg8 groups(2)
      : (tensor<?x?x8xf32>, tensor<?x?x8xf32>, tensor<?x?x2xf32>, tensor<?x?x3xf32>, tensor<8xf32>,
         tensor<?x2xf32>, tensor<?x2xf32>, tensor<8xf32>, tensor<8xf32>) ->
        (tensor<?x?x8xf32>, tensor<?x2xf32>, tensor<?x2xf32>, tensor<8xf32>, tensor<8xf32>)
  return
}

// -----

func.func @timestep_norm_gradient(
    %arg0: tensor<?x?x8xf32>, %arg1: tensor<?x?x8xf32>, %arg2: tensor<?x?x3xf32>,
    %arg3: tensor<?x?x2xf32>, %arg4: tensor<8xf32>, %arg5: tensor<?x2xf32>, %arg6: tensor<?x2xf32>,
    %arg7: tensor<8xf32>, %arg8: tensor<8xf32>) {
  // expected-error @+1 {{expects inverse_deviation to be [B, L, G + 1] = [?, ?, 3], but got [?, ?, 2]}}
  %r:5 = mega.timestep_norm_gradient %arg0, %arg1, %arg2, %arg3, %arg4 into %arg5, %arg6, %arg7, %arg8 groups(2)
      : (tensor<?x?x8xf32>, tensor<?x?x8xf32>, tensor<?x?x3xf32>, tensor<?x?x2xf32>, tensor<8xf32>,
         tensor<?x2xf32>, tensor<?x2xf32>, tensor<8xf32>, tensor<8xf32>) ->
        (tensor<?x?x8xf32>, tensor<?x2xf32>, tensor<?x2xf32>, tensor<8xf32>, tensor<8xf32>)
  return
}

// -----

func.func @timestep_norm_gradient(
    %arg0: tensor<?x?x8xf32>, %arg1: tensor<?x?x8xf32>, %arg2: tensor<?x?x3xf32>,
    %arg3: tensor<?x?x3xf32>, %arg4: tensor<4xf32>, %arg5: tensor<?x2xf32>, %arg6: tensor<?x2xf32>,
    %arg7: tensor<4xf32>, %arg8: tensor<4xf32>) {
  // expected-error @+1 {{expects weight to be [D] = [8], but got [4]}}
  %r:5 = mega.timestep_norm_gradient %arg0, %arg1, %arg2, %arg3, %arg4 into %arg5, %arg6, %arg7, %arg8 groups(2)
      : (tensor<?x?x8xf32>, tensor<?x?x8xf32>, tensor<?x?x3xf32>, tensor<?x?x3xf32>, tensor<4xf32>,
         tensor<?x2xf32>, tensor<?x2xf32>, tensor<4xf32>, tensor<4xf32>) ->
        (tensor<?x?x8xf32>, tensor<?x2xf32>, tensor<?x2xf32>, tensor<4xf32>, tensor<4xf32>)
  return
}

// -----

func.func @timestep_norm_gradient(
    %arg0: tensor<?x?x8xf32>, %arg1: tensor<?x?x8xf32>, %arg2: tensor<?x?x3xf32>,
    %arg3: tensor<?x?x3xf32>, %arg4: tensor<8xf32>, %arg5: tensor<?x4xf32>, %arg6: tensor<?x4xf32>,
    %arg7: tensor<8xf32>, %arg8: tensor<8xf32>) {
  // expected-error @+1 {{expects dmean to be [B, G] = [?, 2], but got [?, 4]}}
  %r:5 = mega.timestep_norm_gradient %arg0, %arg1, %arg2, %arg3, %arg4 into %arg5, %arg6, %arg7, %arg8 groups(2)
      : (tensor<?x?x8xf32>, tensor<?x?x8xf32>, tensor<?x?x3xf32>, tensor<?x?x3xf32>, tensor<8xf32>,
         tensor<?x4xf32>, tensor<?x4xf32>, tensor<8xf32>, tensor<8xf32>) ->
        (tensor<?x?x8xf32>, tensor<?x4xf32>, tensor<?x4xf32>, tensor<8xf32>, tensor<8xf32>)
  return
}

// RUN: otodus-opt %s -split-input-file -verify-diagnostics

// One case per constraint of mega.cema_saving and mega.cema_gradient.

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

func.func @cema_saving(
    %arg0: tensor<?x?x8xf32>, %arg1: tensor<6x4x1xf32>, %arg2: tensor<6x4x1xf32>,
    %arg3: tensor<8x1x1xf32>, %arg4: tensor<8x4x2xf32>, %arg5: tensor<8x1xf32>,
    %arg6: tensor<?x8x4x2xf32>) {
  // expected-error @+1 {{expects alpha to be [D, N, 1] = [8, 4, 1], but got [6, 4, 1]}}
  %r:4 = mega.cema_saving %arg0, %arg1, %arg2, %arg3, %arg4, %arg5, %arg6
      : (tensor<?x?x8xf32>, tensor<6x4x1xf32>, tensor<6x4x1xf32>, tensor<8x1x1xf32>,
         tensor<8x4x2xf32>, tensor<8x1xf32>, tensor<?x8x4x2xf32>) ->
        (tensor<?x?x8xf32>, tensor<?x8x4x2xf32>, tensor<?x1x256xf32>, tensor<?x?x8xf32>)
  return
}

// -----

func.func @cema_saving(
    %arg0: tensor<?x?x8xf32>, %arg1: tensor<8x4x1xf32>, %arg2: tensor<8x4x1xf32>,
    %arg3: tensor<6x1x1xf32>, %arg4: tensor<8x4x2xf32>, %arg5: tensor<8x1xf32>,
    %arg6: tensor<?x8x4x2xf32>) {
  // expected-error @+1 {{expects theta to be [D, 1, 1] = [8, 1, 1], but got [6, 1, 1]}}
  %r:4 = mega.cema_saving %arg0, %arg1, %arg2, %arg3, %arg4, %arg5, %arg6
      : (tensor<?x?x8xf32>, tensor<8x4x1xf32>, tensor<8x4x1xf32>, tensor<6x1x1xf32>,
         tensor<8x4x2xf32>, tensor<8x1xf32>, tensor<?x8x4x2xf32>) ->
        (tensor<?x?x8xf32>, tensor<?x8x4x2xf32>, tensor<?x1x256xf32>, tensor<?x?x8xf32>)
  return
}

// -----

func.func @cema_saving(
    %arg0: tensor<?x?x8xf32>, %arg1: tensor<8x4x1xf32>, %arg2: tensor<8x4x1xf32>,
    %arg3: tensor<8x1x1xf32>, %arg4: tensor<8x2x2xf32>, %arg5: tensor<8x1xf32>,
    %arg6: tensor<?x8x4x2xf32>) {
  // expected-error @+1 {{expects gamma to be [D, N, 2] = [8, 4, 2], but got [8, 2, 2]}}
  %r:4 = mega.cema_saving %arg0, %arg1, %arg2, %arg3, %arg4, %arg5, %arg6
      : (tensor<?x?x8xf32>, tensor<8x4x1xf32>, tensor<8x4x1xf32>, tensor<8x1x1xf32>,
         tensor<8x2x2xf32>, tensor<8x1xf32>, tensor<?x8x4x2xf32>) ->
        (tensor<?x?x8xf32>, tensor<?x8x4x2xf32>, tensor<?x1x256xf32>, tensor<?x?x8xf32>)
  return
}

// -----

func.func @cema_saving(
    %arg0: tensor<?x?x8xf32>, %arg1: tensor<8x4x1xf32>, %arg2: tensor<8x4x1xf32>,
    %arg3: tensor<8x1x1xf32>, %arg4: tensor<8x4x2xf32>, %arg5: tensor<6x1xf32>,
    %arg6: tensor<?x8x4x2xf32>) {
  // expected-error @+1 {{expects omega to be [D, 1] = [8, 1], but got [6, 1]}}
  %r:4 = mega.cema_saving %arg0, %arg1, %arg2, %arg3, %arg4, %arg5, %arg6
      : (tensor<?x?x8xf32>, tensor<8x4x1xf32>, tensor<8x4x1xf32>, tensor<8x1x1xf32>,
         tensor<8x4x2xf32>, tensor<6x1xf32>, tensor<?x8x4x2xf32>) ->
        (tensor<?x?x8xf32>, tensor<?x8x4x2xf32>, tensor<?x1x256xf32>, tensor<?x?x8xf32>)
  return
}

// -----

func.func @cema_saving(
    %arg0: tensor<?x?x8xf32>, %arg1: tensor<8x4x1xf32>, %arg2: tensor<8x4x1xf32>,
    %arg3: tensor<8x1x1xf32>, %arg4: tensor<8x4x2xf32>, %arg5: tensor<8x1xf32>,
    %arg6: tensor<?x8x2x2xf32>) {
  // expected-error @+1 {{expects state to be [B, D, N, 2] = [?, 8, 4, 2], but got [?, 8, 2, 2]}}
  %r:4 = mega.cema_saving %arg0, %arg1, %arg2, %arg3, %arg4, %arg5, %arg6
      : (tensor<?x?x8xf32>, tensor<8x4x1xf32>, tensor<8x4x1xf32>, tensor<8x1x1xf32>,
         tensor<8x4x2xf32>, tensor<8x1xf32>, tensor<?x8x2x2xf32>) ->
        (tensor<?x?x8xf32>, tensor<?x8x2x2xf32>, tensor<?x1x256xf32>, tensor<?x?x8xf32>)
  return
}

// -----

func.func @cema_saving(
    %arg0: tensor<?x?x8xf32>, %arg1: tensor<8x4x1xf32>, %arg2: tensor<8x4x1xf32>,
    %arg3: tensor<8x1x1xf32>, %arg4: tensor<8x4x2xf32>, %arg5: tensor<8x1xf32>,
    %arg6: tensor<?x8x4x2xf32>) {
  // expected-error @+1 {{expects start to be [B, 1, 2 N Dp] = [?, 1, 256], but got [?, 1, 64]}}
  %r:4 = mega.cema_saving %arg0, %arg1, %arg2, %arg3, %arg4, %arg5, %arg6
      : (tensor<?x?x8xf32>, tensor<8x4x1xf32>, tensor<8x4x1xf32>, tensor<8x1x1xf32>,
         tensor<8x4x2xf32>, tensor<8x1xf32>, tensor<?x8x4x2xf32>) ->
        (tensor<?x?x8xf32>, tensor<?x8x4x2xf32>, tensor<?x1x64xf32>, tensor<?x?x8xf32>)
  return
}

// -----

func.func @cema_saving(
    %arg0: tensor<?x?x8xf32>, %arg1: tensor<8x4x1xf32>, %arg2: tensor<8x4x1xf32>,
    %arg3: tensor<8x1x1xf32>, %arg4: tensor<8x4x2xf32>, %arg5: tensor<8x1xf32>,
    %arg6: tensor<?x8x4x2xf32>) {
  // expected-error @+1 {{expects marks to be [B, L, 2 N Dp / 32] = [?, ?, 8], but got [?, ?, 2]}}
  %r:4 = mega.cema_saving %arg0, %arg1, %arg2, %arg3, %arg4, %arg5, %arg6
      : (tensor<?x?x8xf32>, tensor<8x4x1xf32>, tensor<8x4x1xf32>, tensor<8x1x1xf32>,
         tensor<8x4x2xf32>, tensor<8x1xf32>, tensor<?x8x4x2xf32>) ->
        (tensor<?x?x8xf32>, tensor<?x8x4x2xf32>, tensor<?x1x256xf32>, tensor<?x?x2xf32>)
  return
}

// -----

func.func @cema_gradient(
    %arg0: tensor<?x?x8xf32>, %arg1: tensor<?x?x8xf32>, %arg2: tensor<?x1x64xf32>,
    %arg3: tensor<?x?x8xf32>, %arg4: tensor<8x4x1xf32>, %arg5: tensor<8x4x1xf32>,
    %arg6: tensor<8x1x1xf32>, %arg7: tensor<8x4x2xf32>, %arg8: tensor<8x1xf32>,
    %arg9: tensor<?x8x4x2xf32>, %arg10: tensor<8x4x1xf32>, %arg11: tensor<8x4x1xf32>,
    %arg12: tensor<8x1x1xf32>, %arg13: tensor<8x4x2xf32>, %arg14: tensor<8x1xf32>) {
  // expected-error @+1 {{expects start to be [B, 1, 2 N Dp] = [?, 1, 256], but got [?, 1, 64]}}
  %r:7 = mega.cema_gradient %arg0, %arg1, %arg2, %arg3, %arg4, %arg5, %arg6, %arg7, %arg8, %arg9, %arg10, %arg11, %arg12, %arg13, %arg14
      : (tensor<?x?x8xf32>, tensor<?x?x8xf32>, tensor<?x1x64xf32>, tensor<?x?x8xf32>,
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
    %arg3: tensor<?x?x2xf32>, %arg4: tensor<8x4x1xf32>, %arg5: tensor<8x4x1xf32>,
    %arg6: tensor<8x1x1xf32>, %arg7: tensor<8x4x2xf32>, %arg8: tensor<8x1xf32>,
    %arg9: tensor<?x8x4x2xf32>, %arg10: tensor<8x4x1xf32>, %arg11: tensor<8x4x1xf32>,
    %arg12: tensor<8x1x1xf32>, %arg13: tensor<8x4x2xf32>, %arg14: tensor<8x1xf32>) {
  // expected-error @+1 {{expects marks to be [B, L, 2 N Dp / 32] = [?, ?, 8], but got [?, ?, 2]}}
  %r:7 = mega.cema_gradient %arg0, %arg1, %arg2, %arg3, %arg4, %arg5, %arg6, %arg7, %arg8, %arg9, %arg10, %arg11, %arg12, %arg13, %arg14
      : (tensor<?x?x8xf32>, tensor<?x?x8xf32>, tensor<?x1x256xf32>, tensor<?x?x2xf32>,
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
    %arg3: tensor<?x?x8xf32>, %arg4: tensor<6x4x1xf32>, %arg5: tensor<8x4x1xf32>,
    %arg6: tensor<8x1x1xf32>, %arg7: tensor<8x4x2xf32>, %arg8: tensor<8x1xf32>,
    %arg9: tensor<?x8x4x2xf32>, %arg10: tensor<8x4x1xf32>, %arg11: tensor<8x4x1xf32>,
    %arg12: tensor<8x1x1xf32>, %arg13: tensor<8x4x2xf32>, %arg14: tensor<8x1xf32>) {
  // expected-error @+1 {{expects alpha to be [D, N, 1] = [8, 4, 1], but got [6, 4, 1]}}
  %r:7 = mega.cema_gradient %arg0, %arg1, %arg2, %arg3, %arg4, %arg5, %arg6, %arg7, %arg8, %arg9, %arg10, %arg11, %arg12, %arg13, %arg14
      : (tensor<?x?x8xf32>, tensor<?x?x8xf32>, tensor<?x1x256xf32>, tensor<?x?x8xf32>,
         tensor<6x4x1xf32>, tensor<8x4x1xf32>, tensor<8x1x1xf32>, tensor<8x4x2xf32>,
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
    %arg9: tensor<?x8x4x2xf32>, %arg10: tensor<6x4x1xf32>, %arg11: tensor<8x4x1xf32>,
    %arg12: tensor<8x1x1xf32>, %arg13: tensor<8x4x2xf32>, %arg14: tensor<8x1xf32>) {
  // expected-error @+1 {{expects dalpha to be [D, N, 1] = [8, 4, 1], but got [6, 4, 1]}}
  %r:7 = mega.cema_gradient %arg0, %arg1, %arg2, %arg3, %arg4, %arg5, %arg6, %arg7, %arg8, %arg9, %arg10, %arg11, %arg12, %arg13, %arg14
      : (tensor<?x?x8xf32>, tensor<?x?x8xf32>, tensor<?x1x256xf32>, tensor<?x?x8xf32>,
         tensor<8x4x1xf32>, tensor<8x4x1xf32>, tensor<8x1x1xf32>, tensor<8x4x2xf32>,
         tensor<8x1xf32>, tensor<?x8x4x2xf32>, tensor<6x4x1xf32>, tensor<8x4x1xf32>,
         tensor<8x1x1xf32>, tensor<8x4x2xf32>, tensor<8x1xf32>) ->
        (tensor<?x?x8xf32>, tensor<?x8x4x2xf32>, tensor<6x4x1xf32>, tensor<8x4x1xf32>,
         tensor<8x1x1xf32>, tensor<8x4x2xf32>, tensor<8x1xf32>)
  return
}

// -----

func.func @cema_gradient(
    %arg0: tensor<?x?x8xf32>, %arg1: tensor<?x?x8xf32>, %arg2: tensor<?x1x256xf32>,
    %arg3: tensor<?x?x8xf32>, %arg4: tensor<8x4x1xf32>, %arg5: tensor<8x2x1xf32>,
    %arg6: tensor<8x1x1xf32>, %arg7: tensor<8x4x2xf32>, %arg8: tensor<8x1xf32>,
    %arg9: tensor<?x8x4x2xf32>, %arg10: tensor<8x4x1xf32>, %arg11: tensor<8x4x1xf32>,
    %arg12: tensor<8x1x1xf32>, %arg13: tensor<8x4x2xf32>, %arg14: tensor<8x1xf32>) {
  // expected-error @+1 {{expects delta to be [D, N, 1] = [8, 4, 1], but got [8, 2, 1]}}
  %r:7 = mega.cema_gradient %arg0, %arg1, %arg2, %arg3, %arg4, %arg5, %arg6, %arg7, %arg8, %arg9, %arg10, %arg11, %arg12, %arg13, %arg14
      : (tensor<?x?x8xf32>, tensor<?x?x8xf32>, tensor<?x1x256xf32>, tensor<?x?x8xf32>,
         tensor<8x4x1xf32>, tensor<8x2x1xf32>, tensor<8x1x1xf32>, tensor<8x4x2xf32>,
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
    %arg9: tensor<?x8x4x2xf32>, %arg10: tensor<8x4x1xf32>, %arg11: tensor<8x2x1xf32>,
    %arg12: tensor<8x1x1xf32>, %arg13: tensor<8x4x2xf32>, %arg14: tensor<8x1xf32>) {
  // expected-error @+1 {{expects ddelta to be [D, N, 1] = [8, 4, 1], but got [8, 2, 1]}}
  %r:7 = mega.cema_gradient %arg0, %arg1, %arg2, %arg3, %arg4, %arg5, %arg6, %arg7, %arg8, %arg9, %arg10, %arg11, %arg12, %arg13, %arg14
      : (tensor<?x?x8xf32>, tensor<?x?x8xf32>, tensor<?x1x256xf32>, tensor<?x?x8xf32>,
         tensor<8x4x1xf32>, tensor<8x4x1xf32>, tensor<8x1x1xf32>, tensor<8x4x2xf32>,
         tensor<8x1xf32>, tensor<?x8x4x2xf32>, tensor<8x4x1xf32>, tensor<8x2x1xf32>,
         tensor<8x1x1xf32>, tensor<8x4x2xf32>, tensor<8x1xf32>) ->
        (tensor<?x?x8xf32>, tensor<?x8x4x2xf32>, tensor<8x4x1xf32>, tensor<8x2x1xf32>,
         tensor<8x1x1xf32>, tensor<8x4x2xf32>, tensor<8x1xf32>)
  return
}

// -----

func.func @cema_gradient(
    %arg0: tensor<?x?x8xf32>, %arg1: tensor<?x?x8xf32>, %arg2: tensor<?x1x256xf32>,
    %arg3: tensor<?x?x8xf32>, %arg4: tensor<8x4x1xf32>, %arg5: tensor<8x4x1xf32>,
    %arg6: tensor<6x1x1xf32>, %arg7: tensor<8x4x2xf32>, %arg8: tensor<8x1xf32>,
    %arg9: tensor<?x8x4x2xf32>, %arg10: tensor<8x4x1xf32>, %arg11: tensor<8x4x1xf32>,
    %arg12: tensor<8x1x1xf32>, %arg13: tensor<8x4x2xf32>, %arg14: tensor<8x1xf32>) {
  // expected-error @+1 {{expects theta to be [D, 1, 1] = [8, 1, 1], but got [6, 1, 1]}}
  %r:7 = mega.cema_gradient %arg0, %arg1, %arg2, %arg3, %arg4, %arg5, %arg6, %arg7, %arg8, %arg9, %arg10, %arg11, %arg12, %arg13, %arg14
      : (tensor<?x?x8xf32>, tensor<?x?x8xf32>, tensor<?x1x256xf32>, tensor<?x?x8xf32>,
         tensor<8x4x1xf32>, tensor<8x4x1xf32>, tensor<6x1x1xf32>, tensor<8x4x2xf32>,
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
    %arg12: tensor<6x1x1xf32>, %arg13: tensor<8x4x2xf32>, %arg14: tensor<8x1xf32>) {
  // expected-error @+1 {{expects dtheta to be [D, 1, 1] = [8, 1, 1], but got [6, 1, 1]}}
  %r:7 = mega.cema_gradient %arg0, %arg1, %arg2, %arg3, %arg4, %arg5, %arg6, %arg7, %arg8, %arg9, %arg10, %arg11, %arg12, %arg13, %arg14
      : (tensor<?x?x8xf32>, tensor<?x?x8xf32>, tensor<?x1x256xf32>, tensor<?x?x8xf32>,
         tensor<8x4x1xf32>, tensor<8x4x1xf32>, tensor<8x1x1xf32>, tensor<8x4x2xf32>,
         tensor<8x1xf32>, tensor<?x8x4x2xf32>, tensor<8x4x1xf32>, tensor<8x4x1xf32>,
         tensor<6x1x1xf32>, tensor<8x4x2xf32>, tensor<8x1xf32>) ->
        (tensor<?x?x8xf32>, tensor<?x8x4x2xf32>, tensor<8x4x1xf32>, tensor<8x4x1xf32>,
         tensor<6x1x1xf32>, tensor<8x4x2xf32>, tensor<8x1xf32>)
  return
}

// -----

func.func @cema_gradient(
    %arg0: tensor<?x?x8xf32>, %arg1: tensor<?x?x8xf32>, %arg2: tensor<?x1x256xf32>,
    %arg3: tensor<?x?x8xf32>, %arg4: tensor<8x4x1xf32>, %arg5: tensor<8x4x1xf32>,
    %arg6: tensor<8x1x1xf32>, %arg7: tensor<8x2x2xf32>, %arg8: tensor<8x1xf32>,
    %arg9: tensor<?x8x4x2xf32>, %arg10: tensor<8x4x1xf32>, %arg11: tensor<8x4x1xf32>,
    %arg12: tensor<8x1x1xf32>, %arg13: tensor<8x4x2xf32>, %arg14: tensor<8x1xf32>) {
  // expected-error @+1 {{expects gamma to be [D, N, 2] = [8, 4, 2], but got [8, 2, 2]}}
  %r:7 = mega.cema_gradient %arg0, %arg1, %arg2, %arg3, %arg4, %arg5, %arg6, %arg7, %arg8, %arg9, %arg10, %arg11, %arg12, %arg13, %arg14
      : (tensor<?x?x8xf32>, tensor<?x?x8xf32>, tensor<?x1x256xf32>, tensor<?x?x8xf32>,
         tensor<8x4x1xf32>, tensor<8x4x1xf32>, tensor<8x1x1xf32>, tensor<8x2x2xf32>,
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
    %arg12: tensor<8x1x1xf32>, %arg13: tensor<8x2x2xf32>, %arg14: tensor<8x1xf32>) {
  // expected-error @+1 {{expects dgamma to be [D, N, 2] = [8, 4, 2], but got [8, 2, 2]}}
  %r:7 = mega.cema_gradient %arg0, %arg1, %arg2, %arg3, %arg4, %arg5, %arg6, %arg7, %arg8, %arg9, %arg10, %arg11, %arg12, %arg13, %arg14
      : (tensor<?x?x8xf32>, tensor<?x?x8xf32>, tensor<?x1x256xf32>, tensor<?x?x8xf32>,
         tensor<8x4x1xf32>, tensor<8x4x1xf32>, tensor<8x1x1xf32>, tensor<8x4x2xf32>,
         tensor<8x1xf32>, tensor<?x8x4x2xf32>, tensor<8x4x1xf32>, tensor<8x4x1xf32>,
         tensor<8x1x1xf32>, tensor<8x2x2xf32>, tensor<8x1xf32>) ->
        (tensor<?x?x8xf32>, tensor<?x8x4x2xf32>, tensor<8x4x1xf32>, tensor<8x4x1xf32>,
         tensor<8x1x1xf32>, tensor<8x2x2xf32>, tensor<8x1xf32>)
  return
}

// -----

func.func @cema_gradient(
    %arg0: tensor<?x?x8xf32>, %arg1: tensor<?x?x8xf32>, %arg2: tensor<?x1x256xf32>,
    %arg3: tensor<?x?x8xf32>, %arg4: tensor<8x4x1xf32>, %arg5: tensor<8x4x1xf32>,
    %arg6: tensor<8x1x1xf32>, %arg7: tensor<8x4x2xf32>, %arg8: tensor<6x1xf32>,
    %arg9: tensor<?x8x4x2xf32>, %arg10: tensor<8x4x1xf32>, %arg11: tensor<8x4x1xf32>,
    %arg12: tensor<8x1x1xf32>, %arg13: tensor<8x4x2xf32>, %arg14: tensor<8x1xf32>) {
  // expected-error @+1 {{expects omega to be [D, 1] = [8, 1], but got [6, 1]}}
  %r:7 = mega.cema_gradient %arg0, %arg1, %arg2, %arg3, %arg4, %arg5, %arg6, %arg7, %arg8, %arg9, %arg10, %arg11, %arg12, %arg13, %arg14
      : (tensor<?x?x8xf32>, tensor<?x?x8xf32>, tensor<?x1x256xf32>, tensor<?x?x8xf32>,
         tensor<8x4x1xf32>, tensor<8x4x1xf32>, tensor<8x1x1xf32>, tensor<8x4x2xf32>,
         tensor<6x1xf32>, tensor<?x8x4x2xf32>, tensor<8x4x1xf32>, tensor<8x4x1xf32>,
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
    %arg12: tensor<8x1x1xf32>, %arg13: tensor<8x4x2xf32>, %arg14: tensor<6x1xf32>) {
  // expected-error @+1 {{expects domega to be [D, 1] = [8, 1], but got [6, 1]}}
  %r:7 = mega.cema_gradient %arg0, %arg1, %arg2, %arg3, %arg4, %arg5, %arg6, %arg7, %arg8, %arg9, %arg10, %arg11, %arg12, %arg13, %arg14
      : (tensor<?x?x8xf32>, tensor<?x?x8xf32>, tensor<?x1x256xf32>, tensor<?x?x8xf32>,
         tensor<8x4x1xf32>, tensor<8x4x1xf32>, tensor<8x1x1xf32>, tensor<8x4x2xf32>,
         tensor<8x1xf32>, tensor<?x8x4x2xf32>, tensor<8x4x1xf32>, tensor<8x4x1xf32>,
         tensor<8x1x1xf32>, tensor<8x4x2xf32>, tensor<6x1xf32>) ->
        (tensor<?x?x8xf32>, tensor<?x8x4x2xf32>, tensor<8x4x1xf32>, tensor<8x4x1xf32>,
         tensor<8x1x1xf32>, tensor<8x4x2xf32>, tensor<6x1xf32>)
  return
}

// -----

func.func @cema_gradient(
    %arg0: tensor<?x?x8xf32>, %arg1: tensor<?x?x8xf32>, %arg2: tensor<?x1x256xf32>,
    %arg3: tensor<?x?x8xf32>, %arg4: tensor<8x4x1xf32>, %arg5: tensor<8x4x1xf32>,
    %arg6: tensor<8x1x1xf32>, %arg7: tensor<8x4x2xf32>, %arg8: tensor<8x1xf32>,
    %arg9: tensor<?x8x2x2xf32>, %arg10: tensor<8x4x1xf32>, %arg11: tensor<8x4x1xf32>,
    %arg12: tensor<8x1x1xf32>, %arg13: tensor<8x4x2xf32>, %arg14: tensor<8x1xf32>) {
  // expected-error @+1 {{expects dstate to be [B, D, N, 2] = [?, 8, 4, 2], but got [?, 8, 2, 2]}}
  %r:7 = mega.cema_gradient %arg0, %arg1, %arg2, %arg3, %arg4, %arg5, %arg6, %arg7, %arg8, %arg9, %arg10, %arg11, %arg12, %arg13, %arg14
      : (tensor<?x?x8xf32>, tensor<?x?x8xf32>, tensor<?x1x256xf32>, tensor<?x?x8xf32>,
         tensor<8x4x1xf32>, tensor<8x4x1xf32>, tensor<8x1x1xf32>, tensor<8x4x2xf32>,
         tensor<8x1xf32>, tensor<?x8x2x2xf32>, tensor<8x4x1xf32>, tensor<8x4x1xf32>,
         tensor<8x1x1xf32>, tensor<8x4x2xf32>, tensor<8x1xf32>) ->
        (tensor<?x?x8xf32>, tensor<?x8x2x2xf32>, tensor<8x4x1xf32>, tensor<8x4x1xf32>,
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
  // expected-error @+1 {{expects a state to leave with the type it has on entry}}
  %r:7 = mega.cema_gradient %arg0, %arg1, %arg2, %arg3, %arg4, %arg5, %arg6, %arg7, %arg8, %arg9, %arg10, %arg11, %arg12, %arg13, %arg14
      : (tensor<?x?x8xf32>, tensor<?x?x8xf32>, tensor<?x1x256xf32>, tensor<?x?x8xf32>,
         tensor<8x4x1xf32>, tensor<8x4x1xf32>, tensor<8x1x1xf32>, tensor<8x4x2xf32>,
         tensor<8x1xf32>, tensor<?x8x4x2xf32>, tensor<8x4x1xf32>, tensor<8x4x1xf32>,
         tensor<8x1x1xf32>, tensor<8x4x2xf32>, tensor<8x1xf32>) ->
        (tensor<?x?x8xf32>, tensor<?x8x4x2xf32>, tensor<8x2x1xf32>, tensor<8x4x1xf32>,
         tensor<8x1x1xf32>, tensor<8x4x2xf32>, tensor<8x1xf32>)
  return
}

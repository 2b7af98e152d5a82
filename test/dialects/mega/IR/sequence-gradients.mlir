// RUN: otodus-opt %s | otodus-opt | FileCheck %s
// RUN: otodus-opt %s -mlir-print-op-generic | otodus-opt | FileCheck %s
// RUN: otodus-opt %s --emit-bytecode | otodus-opt | FileCheck %s

// Saving forms and backward steps of the ops that walk time, and of attention.

// CHECK-LABEL: func.func @timestep_norm_saving(
func.func @timestep_norm_saving(
    %arg0: tensor<?x?x8xf32>, %arg1: tensor<8xf32>, %arg2: tensor<8xf32>, %arg3: tensor<?xi64>,
    %arg4: tensor<?x2xf32>, %arg5: tensor<?x2xf32>) {
  // CHECK: = mega.timestep_norm_saving %arg0, %arg1, %arg2, %arg3, %arg4, %arg5 groups(2) eps(1.000000e-05)
  // CHECK-SAME: : (tensor<?x?x8xf32>, tensor<8xf32>, tensor<8xf32>, tensor<?xi64>, tensor<?x2xf32>,
  // CHECK-SAME: tensor<?x2xf32>)
  // CHECK-SAME: -> (tensor<?x?x8xf32>, tensor<?xi64>, tensor<?x2xf32>, tensor<?x2xf32>,
  // CHECK-SAME: tensor<?x?x3xf32>, tensor<?x?x3xf32>)
  %r:6 = mega.timestep_norm_saving %arg0, %arg1, %arg2, %arg3, %arg4, %arg5 groups(2) eps(1.0e-5)
      : (tensor<?x?x8xf32>, tensor<8xf32>, tensor<8xf32>, tensor<?xi64>, tensor<?x2xf32>,
         tensor<?x2xf32>) ->
        (tensor<?x?x8xf32>, tensor<?xi64>, tensor<?x2xf32>, tensor<?x2xf32>, tensor<?x?x3xf32>,
         tensor<?x?x3xf32>)
  return
}

// CHECK-LABEL: func.func @timestep_norm_gradient(
func.func @timestep_norm_gradient(
    %arg0: tensor<?x?x8xf32>, %arg1: tensor<?x?x8xf32>, %arg2: tensor<?x?x3xf32>,
    %arg3: tensor<?x?x3xf32>, %arg4: tensor<8xf32>, %arg5: tensor<?x2xf32>, %arg6: tensor<?x2xf32>,
    %arg7: tensor<8xf32>, %arg8: tensor<8xf32>) {
  // CHECK: = mega.timestep_norm_gradient %arg0, %arg1, %arg2, %arg3, %arg4 into %arg5, %arg6, %arg7, %arg8 groups(2)
  // CHECK-SAME: : (tensor<?x?x8xf32>, tensor<?x?x8xf32>, tensor<?x?x3xf32>, tensor<?x?x3xf32>,
  // CHECK-SAME: tensor<8xf32>, tensor<?x2xf32>, tensor<?x2xf32>, tensor<8xf32>, tensor<8xf32>)
  // CHECK-SAME: -> (tensor<?x?x8xf32>, tensor<?x2xf32>, tensor<?x2xf32>, tensor<8xf32>, tensor<8xf32>)
  %r:5 = mega.timestep_norm_gradient %arg0, %arg1, %arg2, %arg3, %arg4 into %arg5, %arg6, %arg7, %arg8 groups(2)
      : (tensor<?x?x8xf32>, tensor<?x?x8xf32>, tensor<?x?x3xf32>, tensor<?x?x3xf32>, tensor<8xf32>,
         tensor<?x2xf32>, tensor<?x2xf32>, tensor<8xf32>, tensor<8xf32>) ->
        (tensor<?x?x8xf32>, tensor<?x2xf32>, tensor<?x2xf32>, tensor<8xf32>, tensor<8xf32>)
  return
}

// CHECK-LABEL: func.func @cema_saving(
func.func @cema_saving(
    %arg0: tensor<?x?x8xf32>, %arg1: tensor<8x4x1xf32>, %arg2: tensor<8x4x1xf32>,
    %arg3: tensor<8x1x1xf32>, %arg4: tensor<8x4x2xf32>, %arg5: tensor<8x1xf32>,
    %arg6: tensor<?x8x4x2xf32>) {
  // CHECK: = mega.cema_saving %arg0, %arg1, %arg2, %arg3, %arg4, %arg5, %arg6
  // CHECK-SAME: : (tensor<?x?x8xf32>, tensor<8x4x1xf32>, tensor<8x4x1xf32>, tensor<8x1x1xf32>,
  // CHECK-SAME: tensor<8x4x2xf32>, tensor<8x1xf32>, tensor<?x8x4x2xf32>)
  // CHECK-SAME: -> (tensor<?x?x8xf32>, tensor<?x8x4x2xf32>, tensor<?x1x256xf32>, tensor<?x?x8xf32>)
  %r:4 = mega.cema_saving %arg0, %arg1, %arg2, %arg3, %arg4, %arg5, %arg6
      : (tensor<?x?x8xf32>, tensor<8x4x1xf32>, tensor<8x4x1xf32>, tensor<8x1x1xf32>,
         tensor<8x4x2xf32>, tensor<8x1xf32>, tensor<?x8x4x2xf32>) ->
        (tensor<?x?x8xf32>, tensor<?x8x4x2xf32>, tensor<?x1x256xf32>, tensor<?x?x8xf32>)
  return
}

// CHECK-LABEL: func.func @cema_gradient(
func.func @cema_gradient(
    %arg0: tensor<?x?x8xf32>, %arg1: tensor<?x?x8xf32>, %arg2: tensor<?x1x256xf32>,
    %arg3: tensor<?x?x8xf32>, %arg4: tensor<8x4x1xf32>, %arg5: tensor<8x4x1xf32>,
    %arg6: tensor<8x1x1xf32>, %arg7: tensor<8x4x2xf32>, %arg8: tensor<8x1xf32>,
    %arg9: tensor<?x8x4x2xf32>, %arg10: tensor<8x4x1xf32>, %arg11: tensor<8x4x1xf32>,
    %arg12: tensor<8x1x1xf32>, %arg13: tensor<8x4x2xf32>, %arg14: tensor<8x1xf32>) {
  // CHECK: = mega.cema_gradient %arg0, %arg1, %arg2, %arg3, %arg4, %arg5, %arg6, %arg7, %arg8, %arg9, %arg10, %arg11, %arg12, %arg13, %arg14
  // CHECK-SAME: : (tensor<?x?x8xf32>, tensor<?x?x8xf32>, tensor<?x1x256xf32>, tensor<?x?x8xf32>,
  // CHECK-SAME: tensor<8x4x1xf32>, tensor<8x4x1xf32>, tensor<8x1x1xf32>, tensor<8x4x2xf32>,
  // CHECK-SAME: tensor<8x1xf32>, tensor<?x8x4x2xf32>, tensor<8x4x1xf32>, tensor<8x4x1xf32>,
  // CHECK-SAME: tensor<8x1x1xf32>, tensor<8x4x2xf32>, tensor<8x1xf32>)
  // CHECK-SAME: -> (tensor<?x?x8xf32>, tensor<?x8x4x2xf32>, tensor<8x4x1xf32>, tensor<8x4x1xf32>,
  // CHECK-SAME: tensor<8x1x1xf32>, tensor<8x4x2xf32>, tensor<8x1xf32>)
  %r:7 = mega.cema_gradient %arg0, %arg1, %arg2, %arg3, %arg4, %arg5, %arg6, %arg7, %arg8, %arg9, %arg10, %arg11, %arg12, %arg13, %arg14
      : (tensor<?x?x8xf32>, tensor<?x?x8xf32>, tensor<?x1x256xf32>, tensor<?x?x8xf32>,
         tensor<8x4x1xf32>, tensor<8x4x1xf32>, tensor<8x1x1xf32>, tensor<8x4x2xf32>,
         tensor<8x1xf32>, tensor<?x8x4x2xf32>, tensor<8x4x1xf32>, tensor<8x4x1xf32>,
         tensor<8x1x1xf32>, tensor<8x4x2xf32>, tensor<8x1xf32>) ->
        (tensor<?x?x8xf32>, tensor<?x8x4x2xf32>, tensor<8x4x1xf32>, tensor<8x4x1xf32>,
         tensor<8x1x1xf32>, tensor<8x4x2xf32>, tensor<8x1xf32>)
  return
}

// CHECK-LABEL: func.func @chunk_panels(
func.func @chunk_panels(
    %arg0: tensor<?x16x2x4xf32>, %arg1: tensor<?x16x2x6xf32>) {
  // CHECK: = mega.chunk_panels %arg0, %arg1
  // CHECK-SAME: : (tensor<?x16x2x4xf32>, tensor<?x16x2x6xf32>)
  // CHECK-SAME: -> (tensor<?x1x2048xf32>, tensor<?x1x2048xf32>)
  %r:2 = mega.chunk_panels %arg0, %arg1
      : (tensor<?x16x2x4xf32>, tensor<?x16x2x6xf32>) ->
        (tensor<?x1x2048xf32>, tensor<?x1x2048xf32>)
  return
}

// CHECK-LABEL: func.func @chunk_query_gradient(
func.func @chunk_query_gradient(
    %arg0: tensor<?x?x2x4xf32>, %arg1: tensor<?x?x2x6xf32>, %arg2: tensor<?x?x2x6xf32>,
    %arg3: tensor<?x16x2x4xf32>, %arg4: tensor<?x1x2048xf32>, %arg5: tensor<?x1x2048xf32>,
    %arg6: tensor<?xi64>) {
  // CHECK: = mega.chunk_query_gradient %arg0, %arg1, %arg2, %arg3, %arg4, %arg5 at %arg6 chunk(16)
  // CHECK-SAME: : (tensor<?x?x2x4xf32>, tensor<?x?x2x6xf32>, tensor<?x?x2x6xf32>,
  // CHECK-SAME: tensor<?x16x2x4xf32>, tensor<?x1x2048xf32>, tensor<?x1x2048xf32>, tensor<?xi64>)
  // CHECK-SAME: -> (tensor<?x?x2x4xf32>, tensor<?x?x2xf32>, tensor<?x?x2xf32>)
  %r:3 = mega.chunk_query_gradient %arg0, %arg1, %arg2, %arg3, %arg4, %arg5 at %arg6 chunk(16)
      : (tensor<?x?x2x4xf32>, tensor<?x?x2x6xf32>, tensor<?x?x2x6xf32>, tensor<?x16x2x4xf32>,
         tensor<?x1x2048xf32>, tensor<?x1x2048xf32>, tensor<?xi64>) ->
        (tensor<?x?x2x4xf32>, tensor<?x?x2xf32>, tensor<?x?x2xf32>)
  return
}

// CHECK-LABEL: func.func @chunk_key_gradient(
func.func @chunk_key_gradient(
    %arg0: tensor<?x?x2x4xf32>, %arg1: tensor<?x?x2x6xf32>, %arg2: tensor<?x?x2xf32>,
    %arg3: tensor<?x?x2xf32>, %arg4: tensor<?x16x2x4xf32>, %arg5: tensor<?x1x2048xf32>,
    %arg6: tensor<?xi64>, %arg7: tensor<?x16x2x4xf32>, %arg8: tensor<?x16x2x6xf32>) {
  // CHECK: = mega.chunk_key_gradient %arg0, %arg1, %arg2, %arg3, %arg4, %arg5 at %arg6 into %arg7, %arg8 chunk(16)
  // CHECK-SAME: : (tensor<?x?x2x4xf32>, tensor<?x?x2x6xf32>, tensor<?x?x2xf32>, tensor<?x?x2xf32>,
  // CHECK-SAME: tensor<?x16x2x4xf32>, tensor<?x1x2048xf32>, tensor<?xi64>, tensor<?x16x2x4xf32>,
  // CHECK-SAME: tensor<?x16x2x6xf32>)
  // CHECK-SAME: -> (tensor<?x?x2x4xf32>, tensor<?x?x2x6xf32>, tensor<?x16x2x4xf32>,
  // CHECK-SAME: tensor<?x16x2x6xf32>)
  %r:4 = mega.chunk_key_gradient %arg0, %arg1, %arg2, %arg3, %arg4, %arg5 at %arg6 into %arg7, %arg8 chunk(16)
      : (tensor<?x?x2x4xf32>, tensor<?x?x2x6xf32>, tensor<?x?x2xf32>, tensor<?x?x2xf32>,
         tensor<?x16x2x4xf32>, tensor<?x1x2048xf32>, tensor<?xi64>, tensor<?x16x2x4xf32>,
         tensor<?x16x2x6xf32>) ->
        (tensor<?x?x2x4xf32>, tensor<?x?x2x6xf32>, tensor<?x16x2x4xf32>, tensor<?x16x2x6xf32>)
  return
}

// CHECK-LABEL: func.func @with_mask(
func.func @with_mask(
    %arg0: tensor<?x?x8xf32>, %arg1: tensor<8xf32>, %arg2: tensor<8xf32>, %arg3: tensor<?xi64>,
    %arg4: tensor<?x2xf32>, %arg5: tensor<?x2xf32>, %arg6: tensor<?x?xi1>) {
  // CHECK: = mega.timestep_norm_saving %arg0, %arg1, %arg2, %arg3, %arg4, %arg5 mask %arg6 groups(2) eps(1.000000e-05)
  // CHECK-SAME: : (tensor<?x?x8xf32>, tensor<8xf32>, tensor<8xf32>, tensor<?xi64>, tensor<?x2xf32>,
  // CHECK-SAME: tensor<?x2xf32>, tensor<?x?xi1>)
  // CHECK-SAME: -> (tensor<?x?x8xf32>, tensor<?xi64>, tensor<?x2xf32>, tensor<?x2xf32>,
  // CHECK-SAME: tensor<?x?x3xf32>, tensor<?x?x3xf32>)
  %r:6 = mega.timestep_norm_saving %arg0, %arg1, %arg2, %arg3, %arg4, %arg5 mask %arg6 groups(2) eps(1.0e-5)
      : (tensor<?x?x8xf32>, tensor<8xf32>, tensor<8xf32>, tensor<?xi64>, tensor<?x2xf32>,
         tensor<?x2xf32>, tensor<?x?xi1>) ->
        (tensor<?x?x8xf32>, tensor<?xi64>, tensor<?x2xf32>, tensor<?x2xf32>, tensor<?x?x3xf32>,
         tensor<?x?x3xf32>)
  return
}

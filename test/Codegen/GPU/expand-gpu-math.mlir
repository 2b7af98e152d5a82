// RUN: otodus-opt %s --split-input-file --verify-diagnostics --pass-pipeline="builtin.module(func.func(otodus-expand-gpu-math))" | FileCheck %s

// exp in two parts: 2^h (1 + l ln 2).

// CHECK-LABEL: func.func @exp(
// CHECK-DAG:     %[[LOG2E:.*]] = arith.constant 1.44269502 : f32
// CHECK-DAG:     %[[REST:.*]] = arith.constant 1.92596303E-8 : f32
// CHECK-DAG:     %[[LEAST:.*]] = arith.constant -1.050000e+02 : f32
// CHECK:         %[[X:.*]] = arith.maximumf %{{.*}}, %[[LEAST]]
// CHECK:         %[[H:.*]] = arith.mulf %[[X]], %[[LOG2E]]
// CHECK:         math.fma %[[X]], %[[LOG2E]]
// CHECK:         math.fma %[[X]], %[[REST]]
// CHECK:         %[[P:.*]] = math.exp2 %[[H]]
// CHECK:         math.fma %[[P]], %{{.*}}, %[[P]]
// CHECK:         arith.select
func.func @exp(%x: f32) -> f32 {
  %0 = math.exp %x : f32
  return %0 : f32
}

// CHECK-LABEL: func.func @fast(
// CHECK:         %[[P:.*]] = arith.mulf
// CHECK-NEXT:    %[[E:.*]] = math.exp2 %[[P]]
// CHECK-NEXT:    return %[[E]]
func.func @fast(%x: vector<4xf32>) -> vector<4xf32> {
  %0 = math.exp %x fastmath<afn> : vector<4xf32>
  return %0 : vector<4xf32>
}

// CHECK-LABEL: func.func @narrow(
// CHECK:         arith.extf %{{.*}} : bf16 to f32
// CHECK:         math.exp2 %{{.*}} : f32
// CHECK:         arith.truncf %{{.*}} : f32 to bf16
func.func @narrow(%x: bf16) -> bf16 {
  %0 = math.exp %x : bf16
  return %0 : bf16
}

// CHECK-LABEL: func.func @fused(
// CHECK-NEXT:    math.fma %arg0, %arg1, %arg2
func.func @fused(%a: f32, %b: f32, %c: f32) -> f32 {
  %0 = arith.mulf %a, %b : f32
  %1 = arith.addf %c, %0 : f32
  return %1 : f32
}

// A polynomial, as on a CPU.

// CHECK-LABEL: func.func @log(
// CHECK-NOT:     math.log
func.func @log(%x: f32) -> f32 {
  %0 = math.log %x : f32
  return %0 : f32
}

// -----

func.func @sin(%x: f32) -> f32 {
  // expected-error @below {{has no form in a kernel, which cannot call a library}}
  %0 = math.sin %x : f32
  return %0 : f32
}

// -----

func.func @power(%x: f64) -> f64 {
  // expected-error @below {{has no form in a kernel}}
  %0 = math.exp2 %x : f64
  return %0 : f64
}

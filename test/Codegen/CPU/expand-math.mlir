// RUN: otodus-opt %s --split-input-file --verify-diagnostics --pass-pipeline='builtin.module(func.func(otodus-expand-math))' | FileCheck %s

// An exponential becomes a polynomial: no library is called.

// CHECK-LABEL: func.func @exponential(
// CHECK-NOT:     math.exp
// CHECK:         math.fma
// CHECK-NOT:     math.exp
// CHECK:         return
func.func @exponential(%x: vector<16xf32>) -> vector<16xf32> {
  %y = math.exp %x : vector<16xf32>
  return %y : vector<16xf32>
}

// The sum of a product and something is one op; a difference and a quotient stay.

// CHECK-LABEL: func.func @fused(
// CHECK-SAME:    %[[X:[^:]*]]: vector<16xf32>, %[[Y:[^:]*]]: vector<16xf32>
// CHECK:         %[[S:.*]] = math.fma %[[X]], %[[Y]], %[[Y]]
// CHECK:         %[[D:.*]] = arith.subf %[[S]], %[[X]] : vector<16xf32>
// CHECK:         arith.divf %[[D]], %[[Y]] : vector<16xf32>
func.func @fused(%x: vector<16xf32>, %y: vector<16xf32>) -> vector<16xf32> {
  %p = arith.mulf %x, %y : vector<16xf32>
  %s = arith.addf %p, %y : vector<16xf32>
  %d = arith.subf %s, %x : vector<16xf32>
  %q = arith.divf %d, %y : vector<16xf32>
  return %q : vector<16xf32>
}

// No product, nothing to fuse.

// CHECK-LABEL: func.func @sum(
// CHECK:         arith.addf
// CHECK-NOT:     math.fma
func.func @sum(%x: vector<16xf32>, %y: vector<16xf32>) -> vector<16xf32> {
  %s = arith.addf %x, %y : vector<16xf32>
  return %s : vector<16xf32>
}

// A square root is an instruction and stays.

// CHECK-LABEL: func.func @root(
// CHECK:         math.sqrt
func.func @root(%x: f32) -> f32 {
  %y = math.sqrt %x : f32
  return %y : f32
}

// CHECK-LABEL: func.func @others(
// CHECK-NOT:     math.{{tanh|log|erf}}
// CHECK:         return
func.func @others(%x: vector<16xf32>) -> (vector<16xf32>, vector<16xf32>, vector<16xf32>) {
  %t = math.tanh %x : vector<16xf32>
  %l = math.log %x : vector<16xf32>
  %e = math.erf %x : vector<16xf32>
  return %t, %l, %e : vector<16xf32>, vector<16xf32>, vector<16xf32>
}

// -----

func.func @library(%x: vector<16xf32>) -> vector<16xf32> {
  // expected-error @below {{'math.powf' op has no form in a kernel, which cannot call a library}}
  %y = math.powf %x, %x : vector<16xf32>
  return %y : vector<16xf32>
}

// -----

func.func @remainder(%x: vector<16xf32>) -> vector<16xf32> {
  // expected-error @below {{'arith.remf' op has no form in a kernel, which cannot call a library}}
  %y = arith.remf %x, %x : vector<16xf32>
  return %y : vector<16xf32>
}

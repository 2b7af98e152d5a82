// REQUIRES: avx512_bf16
// RUN: otodus-opt %s --pass-pipeline='builtin.module(func.func(otodus-lower-tiles-to-vectors{target=cpu:native}))' | FileCheck %s

// With the dot instruction a pair of one row is broadcast as one word, and both products of a
// pair are added at once.

#a = affine_map<(t, r, n, l, kb, k) -> (t, r, kb, k)>
#w = affine_map<(t, r, n, l, kb, k) -> (n, kb, k floordiv 2, l * 2 + k mod 2)>
#y = affine_map<(t, r, n, l, kb, k) -> (t, r, n, l)>

// CHECK-LABEL: func.func @pairs(
// CHECK:         %[[W:[^ ]*]] = vector.transfer_read {{.*}} {in_bounds = [true]} : {{.*}}, vector<32xbf16>
// CHECK:         vector.broadcast %{{.*}} : i32 to vector<16xi32>
// CHECK:         %[[X:[^ ]*]] = vector.bitcast %{{.*}} : vector<16xi32> to vector<32xbf16>
// CHECK:         x86vector.avx512.dot {{.*}}%[[X]], %[[W]]
// CHECK-NOT:     vector.fma
func.func @pairs(%a: tensor<1x1x1x32xbf16>, %w: tensor<1x1x16x64xbf16>, %y: tensor<1x1x1x32xf32>)
    -> tensor<1x1x1x32xf32> {
  %sum = linalg.generic {indexing_maps = [#a, #w, #y],
      iterator_types = ["parallel", "parallel", "parallel", "parallel", "reduction", "reduction"]}
      ins(%a, %w : tensor<1x1x1x32xbf16>, tensor<1x1x16x64xbf16>)
      outs(%y : tensor<1x1x1x32xf32>) {
  ^bb0(%x: bf16, %v: bf16, %acc: f32):
    %x32 = arith.extf %x : bf16 to f32
    %v32 = arith.extf %v : bf16 to f32
    %p = arith.mulf %x32, %v32 : f32
    %s = arith.addf %acc, %p : f32
    linalg.yield %s : f32
  } -> tensor<1x1x1x32xf32>
  return %sum : tensor<1x1x1x32xf32>
}

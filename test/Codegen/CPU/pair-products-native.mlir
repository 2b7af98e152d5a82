// REQUIRES: avx512_bf16
// RUN: otodus-opt %s --pass-pipeline="builtin.module(func.func(otodus-lower-tiles-to-vectors{target=cpu:native},canonicalize))" | FileCheck %s

// With the dot instruction the pair is broadcast as one word, and both products are added at once.

func.func @product(%pair: vector<2xbf16>, %columns: vector<64xbf16>, %sum: vector<32xf32>) -> vector<32xf32> {
  %terms = vector.shape_cast %columns : vector<64xbf16> to vector<32x2xbf16>
  %0 = vector.contract {indexing_maps = [affine_map<(i, q) -> (i, q)>, affine_map<(i, q) -> (q)>, affine_map<(i, q) -> (i)>],
                        iterator_types = ["parallel", "reduction"], kind = #vector.kind<add>}
       %terms, %pair, %sum : vector<32x2xbf16>, vector<2xbf16> into vector<32xf32>
  return %0 : vector<32xf32>
}

// CHECK-LABEL: func.func @product(
// CHECK:         vector.broadcast %{{.*}} : i32 to vector<16xi32>
// CHECK:         %[[PAIR:[^ ]*]] = vector.bitcast %{{.*}} : vector<16xi32> to vector<32xbf16>
// CHECK-COUNT-2: x86vector.avx512.dot %{{.*}}, %[[PAIR]], %
// CHECK-NOT:     vector.fma

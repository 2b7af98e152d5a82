// RUN: otodus-opt %s --pass-pipeline="builtin.module(func.func(otodus-lower-tiles-to-vectors{target=cpu:x86-64-v4},canonicalize))" | FileCheck %s
// RUN: otodus-opt %s --pass-pipeline="builtin.module(func.func(otodus-lower-tiles-to-vectors{target=cpu:x86-64-v3},canonicalize))" | FileCheck %s --check-prefix=NARROW

// Pairs of bf16 against 32 columns, without an instruction for it: the halves of a word are widened
// by shift and mask, and multiplied by one element of the pair each.

func.func @product(%pair: vector<2xbf16>, %columns: vector<64xbf16>, %sum: vector<32xf32>) -> vector<32xf32> {
  %terms = vector.shape_cast %columns : vector<64xbf16> to vector<32x2xbf16>
  %0 = vector.contract {indexing_maps = [affine_map<(i, q) -> (i, q)>, affine_map<(i, q) -> (q)>, affine_map<(i, q) -> (i)>],
                        iterator_types = ["parallel", "reduction"], kind = #vector.kind<add>}
       %terms, %pair, %sum : vector<32x2xbf16>, vector<2xbf16> into vector<32xf32>
  return %0 : vector<32xf32>
}

// CHECK-LABEL: func.func @product(
// CHECK-SAME:    %[[PAIR:.*]]: vector<2xbf16>, %[[COLUMNS:.*]]: vector<64xbf16>, %[[SUM:.*]]: vector<32xf32>)
// CHECK-DAG:     %[[HIGH:.*]] = arith.constant dense<-65536> : vector<16xi32>
// CHECK-DAG:     %[[SHIFT:.*]] = arith.constant dense<16> : vector<16xi32>
// CHECK:         %[[A:.*]] = vector.extract %[[PAIR]][0]
// CHECK:         %[[A32:.*]] = arith.extf %[[A]]
// CHECK:         %[[AV:.*]] = vector.broadcast %[[A32]] : f32 to vector<16xf32>
// CHECK:         %[[B:.*]] = vector.extract %[[PAIR]][1]
// CHECK:         %[[S:.*]] = vector.extract_strided_slice %[[SUM]] {offsets = [0], sizes = [16]
// CHECK:         %[[C:.*]] = vector.extract_strided_slice %[[COLUMNS]] {offsets = [0], sizes = [32]
// CHECK:         %[[W:.*]] = vector.bitcast %[[C]] : vector<32xbf16> to vector<16xi32>
// CHECK-DAG:     arith.shli %[[W]], %[[SHIFT]]
// CHECK-DAG:     arith.andi %[[W]], %[[HIGH]]
// CHECK:         %[[F:.*]] = vector.fma %[[AV]], %{{.*}}, %[[S]] : vector<16xf32>
// CHECK:         vector.fma %{{.*}}, %{{.*}}, %[[F]] : vector<16xf32>
// CHECK-COUNT-2: vector.fma {{.*}} : vector<16xf32>
// CHECK-NOT:     vector.fma

// NARROW-COUNT-8: vector.fma {{.*}} : vector<8xf32>
// NARROW-NOT:     vector.fma

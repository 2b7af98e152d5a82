// RUN: otodus-opt %s --split-input-file --verify-diagnostics \
// RUN:     --pass-pipeline='builtin.module(func.func(otodus-lower-tiles-to-vectors{target=cpu:x86-64-v4}))' | FileCheck %s --check-prefixes=CHECK,V4 --implicit-check-not='in_bounds = [false]'
// RUN: otodus-opt %s --split-input-file --verify-diagnostics \
// RUN:     --pass-pipeline='builtin.module(func.func(otodus-lower-tiles-to-vectors{target=cpu:x86-64-v3}))' | FileCheck %s --check-prefixes=CHECK,V3 --implicit-check-not='in_bounds = [false]'

// A product with a packed right-hand side: the loop over k carries the sums of the register tile.
// Per step of k the weights are read as whole vectors and one element per row is broadcast. A sum
// that starts from a fill with zeros reads nothing.

#a = affine_map<(t, r, n, l, kb, k) -> (t, r, kb, k)>
#w = affine_map<(t, r, n, l, kb, k) -> (n, kb, k, l)>
#y = affine_map<(t, r, n, l, kb, k) -> (t, r, n, l)>

// CHECK-LABEL: func.func @product(
// CHECK-NOT:     vector.transfer_read
// V4:            scf.for {{.*}} -> (vector<16xf32>, vector<16xf32>, vector<16xf32>, vector<16xf32>)
// V3:            scf.for {{.*}} -> (vector<8xf32>, vector<8xf32>, vector<8xf32>, vector<8xf32>)
// V4:            %[[COLUMNS:[^ ]*]] = vector.transfer_read {{.*}} {in_bounds = [true]} : {{.*}}, vector<16xf32>
// CHECK:         %[[X:[^ ]*]] = tensor.extract %
// V4:            %[[ALL:[^ ]*]] = vector.broadcast %[[X]] : f32 to vector<16xf32>
// V4:            vector.fma %[[ALL]], %[[COLUMNS]], %{{.*}} : vector<16xf32>
// V3:            vector.broadcast %[[X]] : f32 to vector<8xf32>
// V3:            vector.fma %{{.*}} : vector<8xf32>
// CHECK:         scf.yield
// V4-COUNT-4:    vector.transfer_write {{.*}} {in_bounds = [true]} : vector<16xf32>, tensor<1x2x1x32xf32>
// V3-COUNT-4:    vector.transfer_write {{.*}} {in_bounds = [true]} : vector<8xf32>, tensor<1x2x1x32xf32>
// V3:            scf.for
// V3-COUNT-4:    vector.transfer_write {{.*}} {in_bounds = [true]} : vector<8xf32>, tensor<1x2x1x32xf32>
// CHECK-NOT:     linalg.
// CHECK:         return
func.func @product(%a: tensor<1x2x2x32xf32>, %w: tensor<1x2x32x32xf32>, %y: tensor<1x2x1x32xf32>)
    -> tensor<1x2x1x32xf32> {
  %zero = arith.constant 0.0 : f32
  %start = linalg.fill ins(%zero : f32) outs(%y : tensor<1x2x1x32xf32>) -> tensor<1x2x1x32xf32>
  %sum = linalg.generic {indexing_maps = [#a, #w, #y],
      iterator_types = ["parallel", "parallel", "parallel", "parallel", "reduction", "reduction"]}
      ins(%a, %w : tensor<1x2x2x32xf32>, tensor<1x2x32x32xf32>)
      outs(%start : tensor<1x2x1x32xf32>) {
  ^bb0(%x: f32, %v: f32, %acc: f32):
    %p = arith.mulf %x, %v : f32
    %s = arith.addf %acc, %p : f32
    linalg.yield %s : f32
  } -> tensor<1x2x1x32xf32>
  return %sum : tensor<1x2x1x32xf32>
}

// -----

#a = affine_map<(t, r, n, l, kb, k) -> (t, r, kb, k)>
#w = affine_map<(t, r, n, l, kb, k) -> (n, kb, k, l)>
#y = affine_map<(t, r, n, l, kb, k) -> (t, r, n, l)>

// A sum that does not start from zeros reads what it starts from, once, before the loop.

// CHECK-LABEL: func.func @adds_to(
// CHECK-SAME:    %[[Y:[^ ]*]]: tensor<1x1x1x32xf32>) ->
// CHECK:         vector.transfer_read %[[Y]]
// CHECK:         scf.for
// CHECK-NOT:     vector.transfer_read %[[Y]]
// CHECK:         scf.yield
// CHECK:         return
func.func @adds_to(%a: tensor<1x1x1x32xf32>, %w: tensor<1x1x32x32xf32>, %y: tensor<1x1x1x32xf32>)
    -> tensor<1x1x1x32xf32> {
  %sum = linalg.generic {indexing_maps = [#a, #w, #y],
      iterator_types = ["parallel", "parallel", "parallel", "parallel", "reduction", "reduction"]}
      ins(%a, %w : tensor<1x1x1x32xf32>, tensor<1x1x32x32xf32>)
      outs(%y : tensor<1x1x1x32xf32>) {
  ^bb0(%x: f32, %v: f32, %acc: f32):
    %p = arith.mulf %x, %v : f32
    %s = arith.addf %acc, %p : f32
    linalg.yield %s : f32
  } -> tensor<1x1x1x32xf32>
  return %sum : tensor<1x1x1x32xf32>
}

// -----

// bf16 where the table has no dot instruction: pairs along k are read as words; shift and mask
// make the two halves f32.

#a = affine_map<(t, r, n, l, kb, k) -> (t, r, kb, k)>
#w = affine_map<(t, r, n, l, kb, k) -> (n, kb, k floordiv 2, l * 2 + k mod 2)>
#y = affine_map<(t, r, n, l, kb, k) -> (t, r, n, l)>

// CHECK-LABEL: func.func @pairs(
// CHECK-NOT:     x86vector
// V4:            %[[PAIRS:[^ ]*]] = vector.transfer_read {{.*}} {in_bounds = [true]} : {{.*}}, vector<32xbf16>
// V4:            %[[WORDS:[^ ]*]] = vector.bitcast %[[PAIRS]] : vector<32xbf16> to vector<16xi32>
// V3:            %[[PAIRS:[^ ]*]] = vector.transfer_read {{.*}} {in_bounds = [true]} : {{.*}}, vector<16xbf16>
// V3:            %[[WORDS:[^ ]*]] = vector.bitcast %[[PAIRS]] : vector<16xbf16> to vector<8xi32>
// CHECK:         arith.shli %[[WORDS]]
// CHECK:         arith.andi %[[WORDS]]
// V4:            vector.fma {{.*}} : vector<16xf32>
// V3:            vector.fma {{.*}} : vector<8xf32>
// CHECK-NOT:     linalg.
// CHECK:         return
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

// -----

// Elementwise: loops around reads, arithmetic and writes of whole lane blocks. A value per row is
// one scalar for all lanes.

// CHECK-LABEL: func.func @elementwise(
// CHECK:         scf.for
// CHECK:         vector.transfer_read {{.*}} {in_bounds = [true]} : tensor<?x2x32xf32>, vector<32xf32>
// CHECK:         %[[F:[^ ]*]] = tensor.extract %{{.*}} : tensor<?xf32>
// CHECK:         vector.broadcast %[[F]] : f32 to vector<32xf32>
// CHECK:         arith.mulf {{.*}} : vector<32xf32>
// CHECK:         vector.transfer_write {{.*}} {in_bounds = [true]} : vector<32xf32>, tensor<?x2x32xf32>
// CHECK:         return
func.func @elementwise(%x: tensor<?x2x32xf32>, %f: tensor<?xf32>, %y: tensor<?x2x32xf32>)
    -> tensor<?x2x32xf32> {
  %r = linalg.generic {indexing_maps = [affine_map<(i, j, l) -> (i, j, l)>,
                                        affine_map<(i, j, l) -> (i)>,
                                        affine_map<(i, j, l) -> (i, j, l)>],
      iterator_types = ["parallel", "parallel", "parallel"]}
      ins(%x, %f : tensor<?x2x32xf32>, tensor<?xf32>) outs(%y : tensor<?x2x32xf32>) {
  ^bb0(%a: f32, %b: f32, %out: f32):
    %p = arith.mulf %a, %b : f32
    linalg.yield %p : f32
  } -> tensor<?x2x32xf32>
  return %r : tensor<?x2x32xf32>
}

// -----

// A sum over rows: blocks are summed lane by lane in registers, lanes last.

// CHECK-LABEL: func.func @row_sum(
// CHECK:         %[[LANES:[^ ]*]] = scf.for {{.*}} -> (vector<32xf32>)
// CHECK:         vector.transfer_read {{.*}} {in_bounds = [true]}
// CHECK:         arith.addf {{.*}} : vector<32xf32>
// CHECK:         %[[SUM:[^ ]*]] = vector.reduction <add>, %[[LANES]]
// CHECK:         tensor.insert
func.func @row_sum(%x: tensor<4x2x32xf32>, %y: tensor<4xf32>) -> tensor<4xf32> {
  %zero = arith.constant 0.0 : f32
  %start = linalg.fill ins(%zero : f32) outs(%y : tensor<4xf32>) -> tensor<4xf32>
  %r = linalg.generic {indexing_maps = [affine_map<(i, j, l) -> (i, j, l)>,
                                        affine_map<(i, j, l) -> (i)>],
      iterator_types = ["parallel", "reduction", "reduction"]}
      ins(%x : tensor<4x2x32xf32>) outs(%start : tensor<4xf32>) {
  ^bb0(%a: f32, %acc: f32):
    %s = arith.addf %acc, %a : f32
    linalg.yield %s : f32
  } -> tensor<4xf32>
  return %r : tensor<4xf32>
}

// -----

// A maximum starts from -inf and ignores no lane.

// CHECK-LABEL: func.func @row_max(
// CHECK:         dense<0xFF800000> : vector<32xf32>
// CHECK:         vector.reduction <maxnumf>
func.func @row_max(%x: tensor<4x32xf32>, %y: tensor<4xf32>) -> tensor<4xf32> {
  %r = linalg.generic {indexing_maps = [affine_map<(i, l) -> (i, l)>, affine_map<(i, l) -> (i)>],
      iterator_types = ["parallel", "reduction"]}
      ins(%x : tensor<4x32xf32>) outs(%y : tensor<4xf32>) {
  ^bb0(%a: f32, %acc: f32):
    %s = arith.maxnumf %acc, %a : f32
    linalg.yield %s : f32
  } -> tensor<4xf32>
  return %r : tensor<4xf32>
}

// -----

// The other lane of a pair is a shuffle.

// CHECK-LABEL: func.func @pair_swap(
// CHECK:         vector.shuffle %{{.*}}, %{{.*}} [1, 0, 3, 2]
func.func @pair_swap(%x: tensor<2x4xf32>, %y: tensor<2x4xf32>) -> tensor<2x4xf32> {
  %r = linalg.generic {indexing_maps = [affine_map<(i, l) -> (i, l)>, affine_map<(i, l) -> (i, l)>],
      iterator_types = ["parallel", "parallel"]} ins(%x : tensor<2x4xf32>) outs(%y : tensor<2x4xf32>) {
  ^bb0(%a: f32, %out: f32):
    %s = mega.pair_swap %a : f32
    linalg.yield %s : f32
  } -> tensor<2x4xf32>
  return %r : tensor<2x4xf32>
}

// -----

func.func @dynamic_lanes(%x: tensor<4x?xf32>, %y: tensor<4x?xf32>) -> tensor<4x?xf32> {
  // expected-error @below {{expects a static size along its vector dimension}}
  %r = linalg.generic {indexing_maps = [affine_map<(i, l) -> (i, l)>, affine_map<(i, l) -> (i, l)>],
      iterator_types = ["parallel", "parallel"]} ins(%x : tensor<4x?xf32>) outs(%y : tensor<4x?xf32>) {
  ^bb0(%a: f32, %out: f32):
    %s = arith.addf %a, %a : f32
    linalg.yield %s : f32
  } -> tensor<4x?xf32>
  return %r : tensor<4x?xf32>
}

// -----

func.func @dynamic_fill(%y: tensor<4x?xf32>) -> tensor<4x?xf32> {
  %zero = arith.constant 0.0 : f32
  // expected-error @below {{expects a static last dimension}}
  %r = linalg.fill ins(%zero : f32) outs(%y : tensor<4x?xf32>) -> tensor<4x?xf32>
  return %r : tensor<4x?xf32>
}

// -----

func.func @lanes_in_the_middle(%x: tensor<32x4xf32>, %y: tensor<4x32xf32>) -> tensor<4x32xf32> {
  // expected-error @below {{expects lanes in the last place of every operand}}
  %r = linalg.generic {indexing_maps = [affine_map<(i, l) -> (l, i)>, affine_map<(i, l) -> (i, l)>],
      iterator_types = ["parallel", "parallel"]} ins(%x : tensor<32x4xf32>) outs(%y : tensor<4x32xf32>) {
  ^bb0(%a: f32, %out: f32):
    linalg.yield %a : f32
  } -> tensor<4x32xf32>
  return %r : tensor<4x32xf32>
}

// -----

func.func @shifted(%x: tensor<5x32xf32>, %y: tensor<4x32xf32>) -> tensor<4x32xf32> {
  // expected-error @below {{expects every index to be a loop or a constant}}
  %r = linalg.generic {indexing_maps = [affine_map<(i, l) -> (i + 1, l)>, affine_map<(i, l) -> (i, l)>],
      iterator_types = ["parallel", "parallel"]} ins(%x : tensor<5x32xf32>) outs(%y : tensor<4x32xf32>) {
  ^bb0(%a: f32, %out: f32):
    linalg.yield %a : f32
  } -> tensor<4x32xf32>
  return %r : tensor<4x32xf32>
}

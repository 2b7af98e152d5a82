// DEFINE: %{kernels} = otodus-opt %s --pass-pipeline="builtin.module(otodus-fused-stage,func.func(otodus-choose-gpu-schedule{target=sm_80}),otodus-build-gpu-kernels{target=sm_80},func.func(cse,otodus-tile-grid,canonicalize,cse,otodus-distribute-tiles{target=sm_80},canonicalize,cse))"
// RUN: %{kernels} | FileCheck %s

// The backward product reads its matrix as the forward one does, along the columns of the result: no tile of few rows, whose lanes would
// share out the terms. What follows it is fused.
// CHECK-LABEL: func.func private @k0_{{.*}}_r16(
// CHECK-SAME: {columns = array<i64: 1, 64>, dtype = "f32", kind = "table", rows = array<i64: 1, 128>
// CHECK-NOT: linalg.
// CHECK: nvvm.cp.async.shared.global
// CHECK: math.fma {{.*}} : f32
// CHECK: math.exp
// CHECK-LABEL: func.func private @k0_{{.*}}_r64(
func.func @product(%dy: tensor<?x?x128xf32>, %w: tensor<128x64xf32>, %x: tensor<?x?x64xf32>) -> tensor<?x?x64xf32> {
  %0 = mega.linear_input_gradient %dy, %w : (tensor<?x?x128xf32>, tensor<128x64xf32>) -> tensor<?x?x64xf32>
  %1 = mega.silu_gradient %x, %0 : tensor<?x?x64xf32>
  return %1 : tensor<?x?x64xf32>
}

// Two sums a row, one of them over products; both results written.
// CHECK-LABEL: func.func private @k1_rms_norm_gradient_r4(
// CHECK-NOT: linalg.
// CHECK: gpu.shuffle xor
// CHECK: gpu.barrier
// CHECK: gpu.shuffle xor
// CHECK: gpu.barrier
// CHECK: vector.store {{.*}} memref<?xf32>
// CHECK: vector.store {{.*}} memref<?xf32>
func.func @norm(%x: tensor<?x?x64xf32>, %dy: tensor<?x?x64xf32>, %g: tensor<64xf32>) -> (tensor<?x?x64xf32>, tensor<?x?x64xf32>) {
  %0:2 = mega.rms_norm_gradient %x, %dy weight %g eps(1.0e-5) : (tensor<?x?x64xf32>, tensor<?x?x64xf32>, tensor<64xf32>) -> (tensor<?x?x64xf32>, tensor<?x?x64xf32>)
  return %0#0, %0#1 : tensor<?x?x64xf32>, tensor<?x?x64xf32>
}

// A block owns a tile of the gradient and walks all rows; rows behind the last come as zeros.
// CHECK-LABEL: func.func private @k2_linear_weight_gradient(
// CHECK-SAME: gpu.threads = 256
// CHECK-SAME: mega.grid = {{\[}}array<i64: 0, 2, 1>, array<i64: 0, 1, 1>]
// CHECK: scf.for
// CHECK: arith.select {{.*}} : i32
// CHECK: nvvm.cp.async.shared.global {{.*}}, 16, cache = cg, %{{.*}} :
// CHECK: math.fma {{.*}} : vector<4xf32>
// CHECK-NOT: atomic
// CHECK: arith.addf {{.*}} : vector<4xf32>
// CHECK: return
func.func @weight(%dy: tensor<?x?x128xf32>, %x: tensor<?x?x64xf32>, %w: tensor<128x64xf32> {mega.gradient = "w"}) -> (tensor<128x64xf32> {mega.gradient = "w"}) {
  %0 = mega.linear_weight_gradient %dy, %x into %w : tensor<?x?x128xf32>, tensor<?x?x64xf32>, tensor<128x64xf32>
  return %0 : tensor<128x64xf32>
}

// Strands of rows, joined in their order.
// CHECK-LABEL: func.func private @k3_column_sum(
// CHECK-SAME: mega.grid = {{\[}}array<i64: 0, 2, 1>]
// CHECK: scf.for {{.*}} step %c32
// CHECK: gpu.barrier
// CHECK-COUNT-32: arith.addf {{.*}} : f32
// CHECK: return
func.func @columns(%x: tensor<?x?x64xf32>, %s: tensor<64xf32> {mega.gradient = "s"}) -> (tensor<64xf32> {mega.gradient = "s"}) {
  %0 = mega.column_sum %x into %s : (tensor<?x?x64xf32>, tensor<64xf32>) -> tensor<64xf32>
  return %0 : tensor<64xf32>
}

// Every row of the table has one warp that adds to it.
// CHECK-LABEL: func.func private @k4_embed_gradient(
// CHECK-SAME: mega.grid = {{\[}}array<i64: 0, 1, 1>, array<i64: 0, 8, 1>]
// CHECK: %[[OF:.*]] = arith.remui %{{.*}}, %c64
// CHECK: arith.cmpi eq, %[[OF]], %{{.*}} : index
// CHECK-NOT: atomic
// CHECK: return
func.func @embed(%t: tensor<?x?xi32>, %x: tensor<?x?x64xf32>, %s: tensor<50x64xf32> {mega.gradient = "e"}) -> (tensor<50x64xf32> {mega.gradient = "e"}) {
  %0 = mega.embed_gradient %t, %x into %s : tensor<?x?xi32>, tensor<?x?x64xf32>, tensor<50x64xf32>
  return %0 : tensor<50x64xf32>
}

// Logits never leave shared memory: the only stores to memory are the two numbers of a row.
// CHECK-LABEL: func.func private @k5_linear_cross_entropy(
// CHECK-SAME: mega.grid = {{\[}}array<i64: 3, 1, 64>]
// CHECK-NOT: store {{.*}} memref<?xf32>
// CHECK: math.exp
// CHECK: math.log
// CHECK: memref.store {{.*}} memref<?xf32>
// CHECK: memref.store {{.*}} memref<?xf32>
// CHECK-NOT: store {{.*}} memref<?xf32>
// CHECK: return
// CHECK-LABEL: func.func private @k6_loss_input_gradient(
// CHECK-SAME: mega.grid = {{\[}}array<i64: 3, 1, 32>, array<i64: 0, 1, 1>]
// CHECK: math.exp
// CHECK: math.fma
// CHECK: return
// CHECK-LABEL: func.func private @k7_loss_weight_gradient(
// CHECK-SAME: mega.grid = {{\[}}array<i64: 0, 4, 1>, array<i64: 0, 1, 1>]
// CHECK: math.exp
// CHECK-NOT: atomic
// CHECK: return
func.func @loss(%x: tensor<?x?x64xf32>, %w: tensor<100x64xf32>, %t: tensor<?x?xi32>, %c: tensor<16xf32> {mega.scalars}, %d: tensor<100x64xf32> {mega.gradient = "w"})
    -> (tensor<?x?xf32>, tensor<?x?x64xf32>, tensor<100x64xf32> {mega.gradient = "w"}) {
  %nll, %sum = mega.linear_cross_entropy %x, %w, %t : (tensor<?x?x64xf32>, tensor<100x64xf32>, tensor<?x?xi32>) -> (tensor<?x?xf32>, tensor<?x?xf32>)
  %dx = mega.loss_input_gradient %x, %w, %t, %sum, %c : (tensor<?x?x64xf32>, tensor<100x64xf32>, tensor<?x?xi32>, tensor<?x?xf32>, tensor<16xf32>) -> tensor<?x?x64xf32>
  %dw = mega.loss_weight_gradient %x, %w, %t, %sum, %c, %d : (tensor<?x?x64xf32>, tensor<100x64xf32>, tensor<?x?xi32>, tensor<?x?xf32>, tensor<16xf32>, tensor<100x64xf32>) -> tensor<100x64xf32>
  return %nll, %dx, %dw : tensor<?x?xf32>, tensor<?x?x64xf32>, tensor<100x64xf32>
}

// CHECK-LABEL: func.func private @k8_squares(
// CHECK-SAME: mega.grid = {{\[}}array<i64: 0, 2, 1>]
// CHECK-COUNT-5: gpu.shuffle xor
// CHECK: gpu.barrier
func.func @squares(%a: tensor<2048xf32> {mega.arena = 1 : i64}, %s: tensor<2xf32> {mega.arena = 4 : i64}) -> (tensor<2xf32> {mega.arena = 4 : i64}) {
  %0 = mega.squares %a, %s : (tensor<2048xf32>, tensor<2xf32>) -> tensor<2xf32>
  return %0 : tensor<2xf32>
}

// CHECK-LABEL: func.func private @k9_adamw(
// CHECK-SAME: mega.grid = {{\[}}array<i64: 0, 2, 1>]
// CHECK: math.sqrt {{.*}} : vector<4xf32>
// CHECK: arith.divf {{.*}} : vector<4xf32>
func.func @adamw(%g: tensor<2048xf32> {mega.arena = 1 : i64}, %c: tensor<16xf32> {mega.scalars}, %w: tensor<2048xf32> {mega.arena = 0 : i64},
                 %m: tensor<2048xf32> {mega.arena = 2 : i64}, %u: tensor<2048xf32> {mega.arena = 3 : i64})
    -> (tensor<2048xf32> {mega.arena = 0 : i64}, tensor<2048xf32> {mega.arena = 2 : i64}, tensor<2048xf32> {mega.arena = 3 : i64}) {
  %0:3 = mega.adamw %g, %c, %w, %m, %u : (tensor<2048xf32>, tensor<16xf32>, tensor<2048xf32>, tensor<2048xf32>, tensor<2048xf32>) -> (tensor<2048xf32>, tensor<2048xf32>, tensor<2048xf32>)
  return %0#0, %0#1, %0#2 : tensor<2048xf32>, tensor<2048xf32>, tensor<2048xf32>
}

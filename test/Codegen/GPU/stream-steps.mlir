// RUN: otodus-opt %s --pass-pipeline='builtin.module(func.func(otodus-choose-gpu-schedule{target=sm_80}),otodus-build-gpu-kernels{target=sm_80})' | FileCheck %s

// A block is a sequence and 64 channels. Four threads share a channel of the cema; between the ops
// lie tiles of f32 in shared memory, every phase closed by a barrier.

// CHECK-LABEL: func.func private @k0_ts(
// CHECK-SAME:    gpu.threads = 256 : i64
// CHECK-SAME:    mega.grid = [array<i64: 1, 1, 1>, array<i64: 0, 2, 1>]
// CHECK:       scf.forall (%[[SEQUENCE:.*]], %[[TILE:.*]]) in (%{{.*}}, 2)
// CHECK-DAG:     memref.alloca() {{.*}} : memref<4608xf32, #gpu.address_space<workgroup>>
// CHECK-DAG:     %[[THREAD:.*]] = gpu.thread_id x
// The count is this tile's copy; the states of four modes are carried in registers.
// CHECK:         memref.load %{{.*}} : memref<?xi64>
// CHECK:         gpu.barrier
// CHECK:         scf.for {{.*}} -> (i64, index, f32, f32, f32, f32, f32, f32, f32, f32) {
// Load:
// CHECK:           vector.load {{.*}} {alignment = 16 : i64} : memref<?xf32>, vector<4xf32>
// CHECK:           gpu.barrier
// Moments of a step and group, by eight lanes:
// CHECK-COUNT-6:   gpu.shuffle xor {{.*}} : f32
// CHECK:           gpu.barrier
// Prefix sums over 32 steps, f64 in halves:
// CHECK-COUNT-20:  gpu.shuffle up {{.*}} : i32
// CHECK:           gpu.barrier
// CHECK:           math.rsqrt {{.*}} : f32
// CHECK:           gpu.barrier
// CHECK:           vector.store {{.*}} #gpu.address_space<workgroup>>, vector<4xf32>
// CHECK:           gpu.barrier
// Four steps of the recurrence; the lanes exchange sums until each has one step's.
// CHECK:           scf.for
// CHECK-COUNT-3:     gpu.shuffle xor {{.*}} : f32
// CHECK-NOT:         gpu.shuffle
// What is left of the steps, one by one.
// CHECK:           scf.for
// CHECK-COUNT-2:     gpu.shuffle xor {{.*}} : f32
// CHECK:             scf.if
// CHECK:           gpu.barrier
// CHECK-NOT:     nvvm.mma.sync
// CHECK:         memref.store %{{.*}} : memref<?xi64>
func.func @stream(%x: tensor<?x?x128xf32>, %w: tensor<128xf32>, %n0: tensor<?xi64>, %m0: tensor<?x2xf32>, %v0: tensor<?x2xf32>,
 %alpha: tensor<128x16x1xf32>, %delta: tensor<128x16x1xf32>, %theta: tensor<128x1x1xf32>, %gamma: tensor<128x16x2xf32>, %omega: tensor<128x1xf32>, %h0: tensor<?x128x16x2xf32>) -> (tensor<?x?x128xf32>, tensor<?x?x128xf32>, tensor<?xi64>, tensor<?x2xf32>, tensor<?x2xf32>, tensor<?x128x16x2xf32>) {
 %g:6 = mega.group "ts" (%a = %x : tensor<?x?x128xf32>, %b = %w : tensor<128xf32>, %c = %n0 : tensor<?xi64>, %d = %m0 : tensor<?x2xf32>, %e = %v0 : tensor<?x2xf32>,
   %al = %alpha : tensor<128x16x1xf32>, %de = %delta : tensor<128x16x1xf32>, %th = %theta : tensor<128x1x1xf32>, %ga = %gamma : tensor<128x16x2xf32>, %om = %omega : tensor<128x1xf32>, %hh = %h0 : tensor<?x128x16x2xf32>)
   -> (tensor<?x?x128xf32>, tensor<?x?x128xf32>, tensor<?xi64>, tensor<?x2xf32>, tensor<?x2xf32>, tensor<?x128x16x2xf32>)  {
  %t, %n1, %m1, %v1 = mega.timestep_norm %a, %b, %b, %c, %d, %e  groups(2) eps(1.0e-5)
      : tensor<?x?x128xf32>, tensor<128xf32>, tensor<?xi64>, tensor<?x2xf32>
  %y, %h1 = mega.cema %t, %al, %de, %th, %ga, %om, %hh : tensor<?x?x128xf32>, tensor<128x16x1xf32>, tensor<128x1x1xf32>, tensor<128x16x2xf32>, tensor<128x1xf32>, tensor<?x128x16x2xf32>
  mega.yield %t, %y, %n1, %m1, %v1, %h1 : tensor<?x?x128xf32>, tensor<?x?x128xf32>, tensor<?xi64>, tensor<?x2xf32>, tensor<?x2xf32>, tensor<?x128x16x2xf32>
 }
 return %g#0, %g#1, %g#2, %g#3, %g#4, %g#5 : tensor<?x?x128xf32>, tensor<?x?x128xf32>, tensor<?xi64>, tensor<?x2xf32>, tensor<?x2xf32>, tensor<?x128x16x2xf32>
}

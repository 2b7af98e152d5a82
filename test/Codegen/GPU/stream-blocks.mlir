// RUN: otodus-opt %s --pass-pipeline='builtin.module(func.func(otodus-choose-gpu-schedule{target=sm_80}),otodus-build-gpu-kernels{target=sm_80})' | FileCheck %s

// Calls of many steps of a bf16 model go by blocks of sixteen steps on tensor cores, 256 steps at a
// time; a warp has four channels. Others go step by step, in the same kernel and memory.

// CHECK-LABEL: func.func private @k0_ts(
// CHECK-SAME:    gpu.threads = 512 : i64
// CHECK:       scf.forall
// Powers of q are only needed until the first tile is loaded.
// CHECK-DAG:     memref.alloca() {{{.*}}gk.overlay = "tile", gk.overlay_group = "stream.tile"} : memref<18432xbf16,
// CHECK-DAG:     memref.alloca() {{{.*}}gk.overlay = "begin", gk.overlay_group = "stream.tile"} : memref<8704xf32,
// CHECK-DAG:     memref.alloca() {{{.*}}gk.overlay = "blocks", gk.overlay_group = "stream"} : memref<16896xbf16,
// CHECK-DAG:     memref.alloca() {{{.*}}gk.overlay = "steps", gk.overlay_group = "stream"} : memref<4608xf32,
// CHECK:         %[[MANY:.*]] = arith.cmpi uge, %{{.*}}, %{{.*}} : index
// CHECK:         scf.if %[[MANY]] {
// CHECK:           scf.for {{.*}} -> (i64, index) {
// What a norm writes lies by channels.
// CHECK:             vector.store {{.*}} {alignment = 16 : i64} : memref<16896xbf16, {{.*}}>, vector<8xbf16>
// S, its scan over 16 blocks in pairs, and the states before them, rounded:
// CHECK:             nvvm.mma.sync {{.*}}shape = #nvvm.shape<m = 16, n = 8, k = 16>
// CHECK-COUNT-8:     gpu.shuffle up {{.*}} : f32
// CHECK:             nvvm.bar.warp.sync
// CHECK-COUNT-9:     nvvm.mma.sync
// CHECK:             vector.store {{.*}} : memref<16896xbf16, {{.*}}>, vector<4xbf16>
// CHECK-COUNT-30:    nvvm.mma.sync
// CHECK-NOT:         nvvm.mma.sync
// CHECK:         } else {
// CHECK-NOT:       nvvm.mma.sync
func.func @stream(%x: tensor<?x?x128xbf16>, %w: tensor<128xf32>, %n0: tensor<?xi64>, %m0: tensor<?x2xf32>, %v0: tensor<?x2xf32>,
 %alpha: tensor<128x16x1xf32>, %delta: tensor<128x16x1xf32>, %theta: tensor<128x1x1xf32>, %gamma: tensor<128x16x2xf32>, %omega: tensor<128x1xf32>, %h0: tensor<?x128x16x2xf32>) -> (tensor<?x?x128xbf16>, tensor<?x?x128xbf16>, tensor<?xi64>, tensor<?x2xf32>, tensor<?x2xf32>, tensor<?x128x16x2xf32>) {
 %g:6 = mega.group "ts" (%a = %x : tensor<?x?x128xbf16>, %b = %w : tensor<128xf32>, %c = %n0 : tensor<?xi64>, %d = %m0 : tensor<?x2xf32>, %e = %v0 : tensor<?x2xf32>,
   %al = %alpha : tensor<128x16x1xf32>, %de = %delta : tensor<128x16x1xf32>, %th = %theta : tensor<128x1x1xf32>, %ga = %gamma : tensor<128x16x2xf32>, %om = %omega : tensor<128x1xf32>, %hh = %h0 : tensor<?x128x16x2xf32>)
   -> (tensor<?x?x128xbf16>, tensor<?x?x128xbf16>, tensor<?xi64>, tensor<?x2xf32>, tensor<?x2xf32>, tensor<?x128x16x2xf32>)  {
  %t, %n1, %m1, %v1 = mega.timestep_norm %a, %b, %b, %c, %d, %e  groups(2) eps(1.0e-5)
      : tensor<?x?x128xbf16>, tensor<128xf32>, tensor<?xi64>, tensor<?x2xf32>
  %y, %h1 = mega.cema %t, %al, %de, %th, %ga, %om, %hh : tensor<?x?x128xbf16>, tensor<128x16x1xf32>, tensor<128x1x1xf32>, tensor<128x16x2xf32>, tensor<128x1xf32>, tensor<?x128x16x2xf32>
  mega.yield %t, %y, %n1, %m1, %v1, %h1 : tensor<?x?x128xbf16>, tensor<?x?x128xbf16>, tensor<?xi64>, tensor<?x2xf32>, tensor<?x2xf32>, tensor<?x128x16x2xf32>
 }
 return %g#0, %g#1, %g#2, %g#3, %g#4, %g#5 : tensor<?x?x128xbf16>, tensor<?x?x128xbf16>, tensor<?xi64>, tensor<?x2xf32>, tensor<?x2xf32>, tensor<?x128x16x2xf32>
}

// A user decides otherwise.

// CHECK-LABEL: func.func private @k1_sequential(
// CHECK-NOT:     nvvm.mma.sync
func.func @sequential(%x: tensor<?x?x128xbf16>, %w: tensor<128xf32>, %n0: tensor<?xi64>, %m0: tensor<?x2xf32>, %v0: tensor<?x2xf32>,
 %alpha: tensor<128x16x1xf32>, %delta: tensor<128x16x1xf32>, %theta: tensor<128x1x1xf32>, %gamma: tensor<128x16x2xf32>, %omega: tensor<128x1xf32>, %h0: tensor<?x128x16x2xf32>) -> (tensor<?x?x128xbf16>, tensor<?x?x128xbf16>, tensor<?xi64>, tensor<?x2xf32>, tensor<?x2xf32>, tensor<?x128x16x2xf32>) {
 %g:6 = mega.group "sequential" (%a = %x : tensor<?x?x128xbf16>, %b = %w : tensor<128xf32>, %c = %n0 : tensor<?xi64>, %d = %m0 : tensor<?x2xf32>, %e = %v0 : tensor<?x2xf32>,
   %al = %alpha : tensor<128x16x1xf32>, %de = %delta : tensor<128x16x1xf32>, %th = %theta : tensor<128x1x1xf32>, %ga = %gamma : tensor<128x16x2xf32>, %om = %omega : tensor<128x1xf32>, %hh = %h0 : tensor<?x128x16x2xf32>)
   -> (tensor<?x?x128xbf16>, tensor<?x?x128xbf16>, tensor<?xi64>, tensor<?x2xf32>, tensor<?x2xf32>, tensor<?x128x16x2xf32>) attributes {gk.recurrence = "sequential"} {
  %t, %n1, %m1, %v1 = mega.timestep_norm %a, %b, %b, %c, %d, %e  groups(2) eps(1.0e-5)
      : tensor<?x?x128xbf16>, tensor<128xf32>, tensor<?xi64>, tensor<?x2xf32>
  %y, %h1 = mega.cema %t, %al, %de, %th, %ga, %om, %hh : tensor<?x?x128xbf16>, tensor<128x16x1xf32>, tensor<128x1x1xf32>, tensor<128x16x2xf32>, tensor<128x1xf32>, tensor<?x128x16x2xf32>
  mega.yield %t, %y, %n1, %m1, %v1, %h1 : tensor<?x?x128xbf16>, tensor<?x?x128xbf16>, tensor<?xi64>, tensor<?x2xf32>, tensor<?x2xf32>, tensor<?x128x16x2xf32>
 }
 return %g#0, %g#1, %g#2, %g#3, %g#4, %g#5 : tensor<?x?x128xbf16>, tensor<?x?x128xbf16>, tensor<?xi64>, tensor<?x2xf32>, tensor<?x2xf32>, tensor<?x128x16x2xf32>
}

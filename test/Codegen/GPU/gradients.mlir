// RUN: otodus compile %s --target=sm_80 --emit=kernel -o - | FileCheck %s
// RUN: not otodus compile %S/Inputs/many-modes.mlir --target=sm_86 --emit=kernel -o - 2>&1 \
// RUN:   | FileCheck %s --check-prefix=MODES

// Backward of mega200M's ops that walk time and of its attention: what blocks there are, and what
// they keep in shared memory and registers. test/Target/gradients.test assembles them.

// Time tiles of 32 steps: the statistics of each, and the state before the first.
// CHECK-LABEL: func.func private @k2_timestep_norm_saving_cema_saving(
// CHECK-SAME:    gpu.threads = 256 : i64
// CHECK-SAME:    mega.grid = [array<i64: 1, 1, 1>, array<i64: 0, 16, 1>]
// CHECK:         scf.for {{.*}} step %c32 iter_args
// CHECK:           math.rsqrt
// CHECK-COUNT-3:   memref.store {{.*}} : memref<?xf32>
// CHECK:           gpu.barrier
// Four modes a thread; real and imaginary part go to the start, or else to the marks.
// CHECK-COUNT-16:  memref.store {{.*}} : memref<?xf32>
// CHECK:           scf.for

// CHECK-LABEL: func.func private @k4_chunk_panels(
// CHECK-SAME:    mega.grid = [array<i64: 1, 1, 1>, array<i64: 0, 1, 1>, array<i64: 0, 128, 1>]
// CHECK-COUNT-2: vector.store {{.*}} : memref<?xf32>, vector<4xf32>

// 64 rows a block; the ring has two stages. Scores for the sums of exponentials, then scores and dP.
// CHECK-LABEL: func.func private @k5_chunk_query_gradient(
// CHECK-SAME:    mega.grid = [array<i64: 1, 1, 1>, array<i64: 0, 1, 1>, array<i64: 2, 1, 64>, array<i64: 0, 1, 1>]
// CHECK:         memref<9216xf32, #gpu.address_space<workgroup>>
// CHECK:         %{{.*}}:16 = scf.for {{.*}} to %c8 step
// CHECK:           nvvm.cp.async.wait.group 0
// CHECK-NEXT:      gpu.barrier
// CHECK-COUNT-3: math.exp
// CHECK:         math.log
// dQ in 64 registers.
// CHECK:         %{{.*}}:64 = scf.for {{.*}} step %c64
// CHECK:           %{{.*}}:16 = scf.for {{.*}} to %c8 step
// CHECK:           %{{.*}}:16 = scf.for {{.*}} to %c64 step
// CHECK:           math.exp
// CHECK-COUNT-4:   nvvm.cp.async.wait.group 0
// CHECK:           scf.yield

// 64 keys a block, one share of dK and eight of dV: only the first needs dP.
// CHECK-LABEL: func.func private @k6_chunk_key_gradient(
// CHECK-SAME:    mega.grid = [array<i64: 0, 9, 1>, array<i64: 1, 1, 1>, array<i64: 0, 1, 1>, array<i64: 0, 32, 1>]
// CHECK:         scf.if
// CHECK:           scf.if
// CHECK:             %{{.*}}:64 = scf.for {{.*}} step %c64
// CHECK:               %{{.*}}:16 = scf.for {{.*}} to %c8 step %c1
// CHECK:               %{{.*}}:16 = scf.for {{.*}} to %c64 step %c1
// CHECK:               math.exp
// CHECK:           } else {
// CHECK:             %{{.*}}:64 = scf.for {{.*}} step %c64
// CHECK:               %{{.*}}:16 = scf.for {{.*}} to %c8 step %c1
// CHECK-NOT:           to %c64 step %c1 {{.*}}-> (f32
// CHECK:               math.exp

// Eight channels a block, two modes and one of four segments of 32 steps a thread. States of 16 steps are in
// registers; the later half of a segment goes first.
// CHECK-LABEL: func.func private @k7_cema_gradient(
// CHECK-SAME:    mega.grid = [array<i64: 0, 128, 1>]
// CHECK:         scf.for {{.*}} -> (vector<4xf32>)
// CHECK:           scf.for {{.*}} -> (vector<4xf32>)
// CHECK-COUNT-3:     gpu.barrier
// CHECK:             scf.for {{.*}} %c16 step {{.*}} -> (f32, f32)
// CHECK-COUNT-16:    arith.cmpi eq
// CHECK:           gpu.barrier

// One group of 32 channels a block. Two affine maps over 32 steps, in f64, by shuffles of halves.
// CHECK-LABEL: func.func private @k8_timestep_norm_gradient(
// CHECK-SAME:    mega.grid = [array<i64: 0, 32, 1>]
// CHECK-COUNT-9: gpu.shuffle xor {{.*}} : f32
// CHECK:         gpu.barrier
// CHECK-COUNT-34: gpu.shuffle up {{.*}} : i32
// CHECK:         gpu.barrier
// CHECK:         scf.for {{.*}} -> (vector<4xf32>, vector<4xf32>)
// CHECK:         gpu.barrier

// MODES: error: 'mega.group' op needs {{[0-9]+}} bytes of shared memory, but a block of this chip has 101376; train with fewer modes (cema_ndim), or on a chip with more

mega.weight @w : tensor<1024xf32>
mega.weight @bi : tensor<1024xf32>
mega.weight @alpha : tensor<1024x16x1xf32>
mega.weight @delta : tensor<1024x16x1xf32>
mega.weight @theta : tensor<1024x1x1xf32>
mega.weight @gamma : tensor<1024x16x2xf32>
mega.weight @omega : tensor<1024x1xf32>
func.func @forward(%x: tensor<?x?x1024xf32> {mega.name = "x"},
    %n: tensor<?xi64> {mega.state = "n"}, %m: tensor<?x32xf32> {mega.state = "m"},
    %v: tensor<?x32xf32> {mega.state = "v"}, %h: tensor<?x1024x16x2xf32> {mega.state = "h"},
  %q: tensor<?x?x1x256xf32> {mega.name = "q"}, %k: tensor<?x?x1x256xf32> {mega.name = "k"},
      %va: tensor<?x?x1x2048xf32> {mega.name = "va"},
      %keys: tensor<?x2048x1x256xf32> {mega.state = "keys"},
      %values: tensor<?x2048x1x2048xf32> {mega.state = "values"}, %p: tensor<?xi64> {mega.position})
  -> (tensor<?x?x1024xf32> {mega.name = "y"}, tensor<?xi64> {mega.state = "n"},
      tensor<?x32xf32> {mega.state = "m"}, tensor<?x32xf32> {mega.state = "v"},
      tensor<?x1024x16x2xf32> {mega.state = "h"},
   tensor<?x?x1x2048xf32> {mega.name = "o"}, tensor<?x2048x1x256xf32> {mega.state = "keys"},
       tensor<?x2048x1x2048xf32> {mega.state = "values"})
    attributes {mega.differentiate = "gradients"} {
  %w = mega.use_weight @w : tensor<1024xf32>
  %b = mega.use_weight @bi : tensor<1024xf32>
  %a = mega.use_weight @alpha : tensor<1024x16x1xf32>
  %d = mega.use_weight @delta : tensor<1024x16x1xf32>
  %t = mega.use_weight @theta : tensor<1024x1x1xf32>
  %g = mega.use_weight @gamma : tensor<1024x16x2xf32>
  %o = mega.use_weight @omega : tensor<1024x1xf32>
  %tn, %n1, %m1, %v1 = mega.timestep_norm %x, %w, %b, %n, %m, %v  groups(32) eps(1.0e-5)
      : tensor<?x?x1024xf32>, tensor<1024xf32>, tensor<?xi64>, tensor<?x32xf32>
  %y, %h1 = mega.cema %tn, %a, %d, %t, %g, %o, %h : tensor<?x?x1024xf32>,
      tensor<1024x16x1xf32>, tensor<1024x1x1xf32>, tensor<1024x16x2xf32>, tensor<1024x1xf32>,
      tensor<?x1024x16x2xf32>
  %out, %k1, %va1 = mega.chunk_attention %q, %k, %va, %keys,
      %values at %p chunk(2048) : tensor<?x?x1x256xf32>, tensor<?x?x1x2048xf32>,
      tensor<?x2048x1x256xf32>, tensor<?x2048x1x2048xf32>, tensor<?xi64>
  return %y, %n1, %m1, %v1, %h1, %out, %k1, %va1 : tensor<?x?x1024xf32>, tensor<?xi64>,
      tensor<?x32xf32>, tensor<?x32xf32>, tensor<?x1024x16x2xf32>, tensor<?x?x1x2048xf32>,
      tensor<?x2048x1x256xf32>, tensor<?x2048x1x2048xf32>
}

// DEFINE: %{chip} = sm_80
// DEFINE: %{kernels} = otodus-opt %s --pass-pipeline="builtin.module(func.func(otodus-choose-gpu-schedule{target=%{chip}}),otodus-build-gpu-kernels{target=%{chip}},func.func(cse,otodus-tile-grid,canonicalize,cse,otodus-distribute-tiles{target=%{chip}},canonicalize,cse))"
// RUN: %{kernels} | FileCheck %s
// REDEFINE: %{chip} = sm_90a
// RUN: %{kernels} | FileCheck %s --check-prefix=HOPPER
// Without tensor maps all threads copy.
// RUN: otodus-opt %s --pass-pipeline="builtin.module(func.func(otodus-choose-gpu-schedule{target=sm_90a copies=async}),otodus-build-gpu-kernels{target=sm_90a},func.func(cse,otodus-tile-grid,canonicalize,cse,otodus-distribute-tiles{target=sm_90a},canonicalize,cse))" | FileCheck %s --check-prefix=ASYNC
// ASYNC-NOT: gk.tensor_maps
// ASYNC-LABEL: func.func private @k0_h_r128(
// ASYNC-SAME: gpu.threads = 256
// ASYNC-NOT: nvvm.mbarrier
// ASYNC: nvvm.fence.proxy
// ASYNC: gk.wgmma {{.*}} : m64n128k16

func.func @f(%x: tensor<?x?x64xbf16>, %o: tensor<?x?x64xbf16>, %w: tensor<128x64xbf16>, %v: tensor<128x64xbf16>,
             %g: tensor<64xf32>, %res: tensor<?x?x128xbf16>, %y: tensor<?x?x64xf32>, %u: tensor<64x64xf32>)
    -> (tensor<?x?x128xbf16>, tensor<?x?x64xf32>) {
  // A norm in front of one product, a second one added to it, and a residual.
  %0 = mega.group "h" (%a = %x : tensor<?x?x64xbf16>, %c = %o : tensor<?x?x64xbf16>, %n = %g : tensor<64xf32>, %b = %w : tensor<128x64xbf16>,
                       %d = %v : tensor<128x64xbf16>, %r = %res : tensor<?x?x128xbf16>) -> (tensor<?x?x128xbf16>)
      schedule(<row_tiles = [1, 16, 128]>) {
    %1 = mega.rms_norm %a weight %n eps(1.0e-5) : (tensor<?x?x64xbf16>, tensor<64xf32>) -> tensor<?x?x64xbf16>
    %2 = mega.linear %1, %b : (tensor<?x?x64xbf16>, tensor<128x64xbf16>) -> tensor<?x?x128xbf16>
    %3 = mega.linear %c, %d : (tensor<?x?x64xbf16>, tensor<128x64xbf16>) -> tensor<?x?x128xbf16>
    %4 = arith.addf %2, %3 : tensor<?x?x128xbf16>
    %5 = arith.addf %4, %r : tensor<?x?x128xbf16>
    mega.yield %5 : tensor<?x?x128xbf16>
  }
  // f32 has no tensor cores.
  %6 = mega.group "p" (%a = %y : tensor<?x?x64xf32>, %b = %u : tensor<64x64xf32>) -> (tensor<?x?x64xf32>)
      schedule(<row_tiles = [64]>) {
    %7 = mega.linear %a, %b : (tensor<?x?x64xf32>, tensor<64x64xf32>) -> tensor<?x?x64xf32>
    mega.yield %7 : tensor<?x?x64xf32>
  }
  return %0, %6 : tensor<?x?x128xbf16>, tensor<?x?x64xf32>
}

// One row: dot products, summed over lanes; no tensor core.
// CHECK-LABEL: func.func private @k0_h_r1(
// CHECK-SAME: gpu.threads = 256
// CHECK-NOT: linalg.
// CHECK-NOT: mma.sync
// CHECK: math.fma {{.*}} : vector<8xf32>
// CHECK: gpu.shuffle xor

// 16 rows. The norm's sum first; then what is normalised is stored to shared memory by the threads, while B is copied past the registers.
// CHECK-LABEL: func.func private @k0_h_r16(
// CHECK-NOT: linalg.
// CHECK: gpu.shuffle xor
// CHECK: math.sqrt
// CHECK: gpu.barrier
// CHECK: vector.store {{.*}}#gpu.address_space<workgroup>
// CHECK: nvvm.cp.async.shared.global
// CHECK: nvvm.ldmatrix
// CHECK: nvvm.mma.sync
// The second product goes on with the same sums: they reach shared memory once.
// CHECK: nvvm.mma.sync
// CHECK: vector.store {{.*}} memref<640xf32, #gpu.address_space<workgroup>>, vector<2xf32>
// CHECK-NOT: mma.sync
// The residual is added where the results are written.
// CHECK: scf.if
// CHECK: vector.load {{.*}} memref<?xbf16>
// CHECK: vector.store {{.*}} memref<?xbf16>

// CHECK-LABEL: func.func private @k1_p_r64(
// CHECK-NOT: mma.sync
// CHECK: math.fma {{.*}} : f32
// HOPPER-LABEL: func.func private @k0_h_r16(
// HOPPER: nvvm.mma.sync
// The norm's sum is computed by all threads; then the first warpgroup normalises and brings the matrices in by TMA, the others multiply.
// HOPPER-LABEL: func.func private @k0_h_r128(
// HOPPER-SAME: !llvm.ptr, %{{[^ ]*}}: !llvm.ptr, %{{[^ ]*}}: !llvm.ptr)
// HOPPER-SAME: gk.tensor_maps = [{box = array<i64: 64, 128>, buffer = 3 : i64, dtype = bf16, extents = [array<i64: 0, 64, 1>, array<i64: 3, 1, 1>], strides = [array<i64: 0, 128, 1>], swizzle = 128 : i64}
// HOPPER-SAME: {box = array<i64: 64, 128>, buffer = 4 : i64, dtype = bf16, extents = [array<i64: 0, 64, 1>, array<i64: 0, 128, 1>]
// HOPPER-SAME: {box = array<i64: 64, 128>, buffer = 2 : i64,
// HOPPER-SAME: gpu.threads = 384
// HOPPER-SAME: copies = "tma"
// HOPPER: gpu.shuffle xor
// HOPPER: gpu.barrier
// HOPPER: nvvm.mbarrier.init
// HOPPER: nvvm.fence.mbarrier.init
// HOPPER: gpu.barrier
// HOPPER-NOT: gpu.barrier
// HOPPER: nvvm.mbarrier.try_wait.parity
// HOPPER: nvvm.mbarrier.arrive.expect_tx %{{.*}}, %c32768_i32
// HOPPER: nvvm.cp.async.bulk.tensor.shared.cluster.global
// HOPPER: nvvm.cp.async.bulk.tensor.shared.cluster.global
// HOPPER: nvvm.fence.proxy
// HOPPER: nvvm.mbarrier.arrive
// What is normalised is loaded before there is room for it.
// HOPPER: vector.load {{.*}} memref<?xbf16>, vector<8xbf16>
// HOPPER: nvvm.mbarrier.try_wait.parity
// HOPPER: nvvm.mbarrier.arrive.expect_tx %{{.*}}, %c16384_i32
// HOPPER: nvvm.cp.async.bulk.tensor.shared.cluster.global
// HOPPER-NOT: nvvm.cp.async.bulk.tensor
// HOPPER: vector.store {{.*}}#gpu.address_space<workgroup>>, vector<8xbf16>
// HOPPER: nvvm.fence.proxy
// HOPPER: nvvm.mbarrier.arrive
// HOPPER: } else {
// HOPPER: nvvm.mbarrier.try_wait.parity
// HOPPER: nvvm.wgmma.fence.aligned
// HOPPER: gk.wgmma {{.*}} : m64n128k16
// HOPPER: nvvm.wgmma.commit.group.sync.aligned
// HOPPER: gk.wgmma_wait 1
// HOPPER: gk.wgmma_wait 0
// HOPPER: gk.wgmma {{.*}} : m64n128k16
// HOPPER: gk.wgmma_wait 0
// HOPPER: nvvm.barrier id
// HOPPER: vector.store {{.*}} memref<?xbf16>
// HOPPER-LABEL: func.func private @k1_p_r64(
// HOPPER-NOT: wgmma

// RUN: otodus-opt %s --pass-pipeline="builtin.module(func.func(otodus-choose-gpu-schedule{target=sm_80}),otodus-build-gpu-kernels{target=sm_80})" | FileCheck %s

// Matrices lie row by row, and few rows take fewer columns and threads. Attention adds new keys and values to the open chunk itself.
// CHECK-LABEL: func.func @f
// CHECK-NOT: mega.before
// CHECK-LABEL: func.func private @k0_p_r1(
// CHECK-SAME: kind = "table", rows = array<i64: 1, 128>
// CHECK-SAME: mega.schedule = #mega.schedule<row_tiles = [1], row_block = 1, column_block = 32, k_tile = 64, stages = 3, threads = 256>
// CHECK-LABEL: func.func private @k0_p_r128(
// CHECK-SAME: mega.schedule = #mega.schedule<row_tiles = [128], row_block = 128, column_block = 128, k_tile = 64, stages = 3, threads = 256>
// CHECK-LABEL: func.func private @k1_a_r1(
// CHECK-SAME: gpu.threads = 256
// CHECK-NOT: mma.sync
// CHECK-LABEL: func.func private @k1_a_r16(
// CHECK: llvm.select
// CHECK: nvvm.mma.sync
// CHECK: math.exp
// CHECK: nvvm.bar.warp.sync
// CHECK: nvvm.ldmatrix {{.*}}col
func.func @f(%x: tensor<?x?x64xbf16>, %w: tensor<128x64xbf16>, %q: tensor<?x?x1x32xbf16>, %k: tensor<?x?x1x32xbf16>, %v: tensor<?x?x1x64xbf16>,
             %keys: tensor<?x64x1x32xbf16>, %values: tensor<?x64x1x64xbf16>, %position: tensor<?xi64>)
    -> (tensor<?x?x128xbf16>, tensor<?x?x1x64xbf16>, tensor<?x64x1x32xbf16>, tensor<?x64x1x64xbf16>) {
  %0 = mega.group "p" (%a = %x : tensor<?x?x64xbf16>, %b = %w : tensor<128x64xbf16>) -> (tensor<?x?x128xbf16>) {
    %1 = mega.linear %a, %b : (tensor<?x?x64xbf16>, tensor<128x64xbf16>) -> tensor<?x?x128xbf16>
    mega.yield %1 : tensor<?x?x128xbf16>
  }
  %2:3 = mega.group "a" (%q0 = %q : tensor<?x?x1x32xbf16>, %k0 = %k : tensor<?x?x1x32xbf16>, %v0 = %v : tensor<?x?x1x64xbf16>,
                         %s0 = %keys : tensor<?x64x1x32xbf16>, %s1 = %values : tensor<?x64x1x64xbf16>, %p0 = %position : tensor<?xi64>)
      -> (tensor<?x?x1x64xbf16>, tensor<?x64x1x32xbf16>, tensor<?x64x1x64xbf16>) {
    %o, %nk, %nv = mega.chunk_attention %q0, %k0, %v0, %s0, %s1 at %p0 chunk(64)
        : tensor<?x?x1x32xbf16>, tensor<?x?x1x64xbf16>, tensor<?x64x1x32xbf16>, tensor<?x64x1x64xbf16>, tensor<?xi64>
    mega.yield %o, %nk, %nv : tensor<?x?x1x64xbf16>, tensor<?x64x1x32xbf16>, tensor<?x64x1x64xbf16>
  }
  return %0, %2#0, %2#1, %2#2 : tensor<?x?x128xbf16>, tensor<?x?x1x64xbf16>, tensor<?x64x1x32xbf16>, tensor<?x64x1x64xbf16>
}

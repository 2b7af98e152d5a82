// RUN: otodus-opt %s --pass-pipeline="builtin.module(func.func(otodus-choose-gpu-schedule{target=sm_86}),otodus-build-gpu-kernels{target=sm_86})" | FileCheck %s
// RUN: otodus-opt %s --pass-pipeline="builtin.module(func.func(otodus-choose-gpu-schedule{target=sm_80}),otodus-build-gpu-kernels{target=sm_80})" | FileCheck %s --check-prefix=LARGE

// Two products whose results are multiplied need two sets of sums. In 99 KiB a tile of 128 rows takes half the columns; where there is more it takes all of them.
// Small tiles read B in as many blocks as there are multiprocessors, if they can. What each tile costs is written beside.
// CHECK: mega.group "p"
// CHECK-SAME: row_tiles = [1, 4, 16, 128], row_block = 1, column_block = 128,
// CHECK: func.func private @k0_p_r1(
// CHECK-SAME: column_block = 32,
// CHECK-SAME: mega.tile_cost = {{[1-9]}}
// CHECK: func.func private @k0_p_r128(
// CHECK-SAME: row_tiles = [128], row_block = 128, column_block = 64, k_tile = 64, stages = {{[23]}}, threads = 256>
// CHECK-SAME: mega.tile_cost = {{[1-9]}}
// LARGE: func.func private @k0_p_r128(
// LARGE-SAME: row_tiles = [128], row_block = 128, column_block = 128, k_tile = 64, stages = {{[23]}}, threads = 256>
func.func @f(%x: tensor<?x?x1024xbf16>, %w: tensor<1024x1024xbf16>, %v: tensor<1024x1024xbf16>) -> tensor<?x?x1024xbf16> {
  %0 = mega.group "p" (%a = %x : tensor<?x?x1024xbf16>, %b = %w : tensor<1024x1024xbf16>, %c = %v : tensor<1024x1024xbf16>) -> (tensor<?x?x1024xbf16>) {
    %1 = mega.linear %a, %b : (tensor<?x?x1024xbf16>, tensor<1024x1024xbf16>) -> tensor<?x?x1024xbf16>
    %2 = mega.linear %a, %c : (tensor<?x?x1024xbf16>, tensor<1024x1024xbf16>) -> tensor<?x?x1024xbf16>
    %3 = arith.mulf %1, %2 : tensor<?x?x1024xbf16>
    mega.yield %3 : tensor<?x?x1024xbf16>
  }
  return %0 : tensor<?x?x1024xbf16>
}

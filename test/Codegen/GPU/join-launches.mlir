// RUN: otodus-opt %s --split-input-file --pass-pipeline="builtin.module(func.func(otodus-choose-gpu-schedule{target=sm_80}),otodus-build-gpu-kernels{target=sm_80},func.func(cse,otodus-tile-grid,canonicalize,cse),otodus-join-launches)" | FileCheck %s

// Products that do not need each other share a launch of few rows; larger tiles stay their own.

// CHECK-LABEL: func.func @beside
// CHECK:         mega.group "a"
// CHECK-SAME:      mega.kernels = [@k0_a_r16, @k0_a_r128]
// CHECK:         mega.group "b"
// CHECK-SAME:      mega.joint = {groups = 2 : i64, kernels = [@k0_a_b_r1, @k0_a_b_r4], most_rows = 8 : i64}
// CHECK-SAME:      mega.kernels = [@k1_b_r16, @k1_b_r128]
// CHECK:       func.func private @k0_a_r1({{.*}} mega.part
// CHECK:       func.func private @k0_a_r16(
// CHECK-NOT:     mega.part
// CHECK:       func.func private @k1_b_r1({{.*}} mega.part
// CHECK:       func.func private @k0_a_b_r1(memref<?xf32>, memref<?xf32>, memref<?xf32>, memref<?xf32>, memref<?xf32>, memref<?xf32>, index, index, index)
// CHECK-SAME:    gpu.threads = 256 : i64
// CHECK-SAME:    mega.grid = [array<i64: 3, 1, 1>, array<i64: 0, 6, 1>]
// CHECK-SAME:    mega.parts = [@k0_a_r1, @k1_b_r1]
// CHECK-SAME:    mega.row_tile = 1 : i64
// CHECK:       func.func private @k0_a_b_r4(
// CHECK-SAME:    mega.grid = [array<i64: 3, 1, 4>, array<i64: 0, 6, 1>]
func.func @beside(%x: tensor<?x?x64xf32>, %w: tensor<128x64xf32>, %u: tensor<64x64xf32>)
    -> (tensor<?x?x128xf32>, tensor<?x?x64xf32>) {
  %0 = mega.group "a" (%a = %x : tensor<?x?x64xf32>, %b = %w : tensor<128x64xf32>) -> (tensor<?x?x128xf32>)
      schedule(<row_tiles = [1, 4, 16, 128], column_block = 64>) {
    %1 = mega.linear %a, %b : (tensor<?x?x64xf32>, tensor<128x64xf32>) -> tensor<?x?x128xf32>
    mega.yield %1 : tensor<?x?x128xf32>
  }
  %2 = mega.group "b" (%a = %x : tensor<?x?x64xf32>, %b = %u : tensor<64x64xf32>) -> (tensor<?x?x64xf32>)
      schedule(<row_tiles = [1, 4, 16, 128], column_block = 64>) {
    %1 = mega.linear %a, %b : (tensor<?x?x64xf32>, tensor<64x64xf32>) -> tensor<?x?x64xf32>
    mega.yield %1 : tensor<?x?x64xf32>
  }
  return %0, %2 : tensor<?x?x128xf32>, tensor<?x?x64xf32>
}

// -----

// One that reads another's result waits for it.

// CHECK-LABEL: func.func @one_after_the_other
// CHECK-NOT: mega.joint
// CHECK-NOT: mega.part
func.func @one_after_the_other(%x: tensor<?x?x64xf32>, %w: tensor<64x64xf32>) -> tensor<?x?x64xf32> {
  %0 = mega.group "a" (%a = %x : tensor<?x?x64xf32>, %b = %w : tensor<64x64xf32>) -> (tensor<?x?x64xf32>) {
    %1 = mega.linear %a, %b : (tensor<?x?x64xf32>, tensor<64x64xf32>) -> tensor<?x?x64xf32>
    mega.yield %1 : tensor<?x?x64xf32>
  }
  %2 = mega.group "b" (%a = %0 : tensor<?x?x64xf32>, %b = %w : tensor<64x64xf32>) -> (tensor<?x?x64xf32>) {
    %1 = mega.linear %a, %b : (tensor<?x?x64xf32>, tensor<64x64xf32>) -> tensor<?x?x64xf32>
    mega.yield %1 : tensor<?x?x64xf32>
  }
  return %2 : tensor<?x?x64xf32>
}

// -----

// Nor can one wait for something between them that needs the first, or have no tile in common.

// CHECK-LABEL: func.func @something_between
// CHECK-NOT: mega.joint
func.func @something_between(%x: tensor<?x?x64xf32>, %w: tensor<64x64xf32>) -> (tensor<?x?x64xf32>, tensor<?x?x64xf32>) {
  %0 = mega.group "a" (%a = %x : tensor<?x?x64xf32>, %b = %w : tensor<64x64xf32>) -> (tensor<?x?x64xf32>) {
    %1 = mega.linear %a, %b : (tensor<?x?x64xf32>, tensor<64x64xf32>) -> tensor<?x?x64xf32>
    mega.yield %1 : tensor<?x?x64xf32>
  }
  %2 = mega.group "s" (%a = %0 : tensor<?x?x64xf32>) -> (tensor<?x?x64xf32>) {
    %1 = mega.silu %a : tensor<?x?x64xf32>
    mega.yield %1 : tensor<?x?x64xf32>
  }
  %3 = mega.group "b" (%a = %x : tensor<?x?x64xf32>, %b = %w : tensor<64x64xf32>) -> (tensor<?x?x64xf32>) {
    %1 = mega.linear %a, %b : (tensor<?x?x64xf32>, tensor<64x64xf32>) -> tensor<?x?x64xf32>
    mega.yield %1 : tensor<?x?x64xf32>
  }
  return %2, %3 : tensor<?x?x64xf32>, tensor<?x?x64xf32>
}

// -----

// CHECK-LABEL: func.func @no_tile_in_common
// CHECK-NOT: mega.joint
func.func @no_tile_in_common(%x: tensor<?x?x64xf32>, %w: tensor<64x64xf32>) -> (tensor<?x?x64xf32>, tensor<?x?x64xf32>) {
  %0 = mega.group "a" (%a = %x : tensor<?x?x64xf32>, %b = %w : tensor<64x64xf32>) -> (tensor<?x?x64xf32>)
      schedule(<row_tiles = [1, 16]>) {
    %1 = mega.linear %a, %b : (tensor<?x?x64xf32>, tensor<64x64xf32>) -> tensor<?x?x64xf32>
    mega.yield %1 : tensor<?x?x64xf32>
  }
  %3 = mega.group "b" (%a = %x : tensor<?x?x64xf32>, %b = %w : tensor<64x64xf32>) -> (tensor<?x?x64xf32>)
      schedule(<row_tiles = [4, 16]>) {
    %1 = mega.linear %a, %b : (tensor<?x?x64xf32>, tensor<64x64xf32>) -> tensor<?x?x64xf32>
    mega.yield %1 : tensor<?x?x64xf32>
  }
  return %0, %3 : tensor<?x?x64xf32>, tensor<?x?x64xf32>
}

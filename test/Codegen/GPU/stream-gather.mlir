// RUN: otodus-opt %s --pass-pipeline='builtin.module(func.func(otodus-choose-gpu-schedule{target=sm_80}),otodus-build-gpu-kernels{target=sm_80})' | FileCheck %s

// A thread copies 16 bytes at a time of the rows of its block.

// CHECK-LABEL: func.func private @k0_embed(
// CHECK-SAME:    gpu.threads = 256 : i64
// CHECK-SAME:    kind = "table"
// CHECK-SAME:    mega.grid = [array<i64: 3, 1, 32>]
// CHECK:       scf.forall (%{{.*}}) = (0) to (%{{.*}}) step (32)
// CHECK:         %[[TOKEN:.*]] = memref.load %{{.*}} : memref<?xi32>
// CHECK:         arith.index_cast %[[TOKEN]]
// CHECK:         vector.load {{.*}} {alignment = 16 : i64} : memref<?xbf16>, vector<8xbf16>
// CHECK:         arith.mulf {{.*}} : vector<8xf32>
// CHECK:         vector.store {{.*}} {alignment = 16 : i64} : memref<?xbf16>, vector<8xbf16>
func.func @embed(%tokens: tensor<?x?xi32>, %table: tensor<100x256xbf16>) -> tensor<?x?x256xbf16> {
  %g = mega.group "embed" (%a = %tokens : tensor<?x?xi32>, %b = %table : tensor<100x256xbf16>)
      -> (tensor<?x?x256xbf16>) {
    %y = mega.embed %a, %b scale(2.0) : tensor<?x?xi32>, tensor<100x256xbf16> -> tensor<?x?x256xbf16>
    mega.yield %y : tensor<?x?x256xbf16>
  }
  return %g : tensor<?x?x256xbf16>
}

// One row for each sequence.

// CHECK-LABEL: func.func private @k1_last(
// CHECK-SAME:    mega.grid = [array<i64: 1, 1, 64>]
// CHECK:         vector.load {{.*}} {alignment = 16 : i64} : memref<?xf32>, vector<4xf32>
func.func @last(%x: tensor<?x?x64xf32>) -> tensor<?x1x64xf32> {
  %g = mega.group "last" (%a = %x : tensor<?x?x64xf32>) -> (tensor<?x1x64xf32>) {
    %y = mega.last %a : tensor<?x?x64xf32> -> tensor<?x1x64xf32>
    mega.yield %y : tensor<?x1x64xf32>
  }
  return %g : tensor<?x1x64xf32>
}

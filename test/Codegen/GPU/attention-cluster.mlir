// One row against the open chunk: on chips with clusters their blocks share the keys out.
//
// RUN: otodus-opt %s --pass-pipeline="builtin.module(func.func(otodus-choose-gpu-schedule{target=sm_90a}),otodus-build-gpu-kernels{target=sm_90a},func.func(cse,otodus-tile-grid,canonicalize,cse,otodus-distribute-tiles{target=sm_90a},canonicalize,cse))" | FileCheck %s --check-prefixes=CHECK,CLUSTER
// RUN: otodus-opt %s --pass-pipeline="builtin.module(func.func(otodus-choose-gpu-schedule{target=sm_80}),otodus-build-gpu-kernels{target=sm_80},func.func(cse,otodus-tile-grid,canonicalize,cse,otodus-distribute-tiles{target=sm_80},canonicalize,cse))" | FileCheck %s --check-prefixes=CHECK,ALONE

// CHECK-LABEL: func.func @attention
// CLUSTER:       threads = 256, cluster = 4>
// ALONE-NOT:     cluster
// CHECK:       func.func private @k0_a_r1(
// CLUSTER-SAME:  gk.cluster = 4 : i64
// CLUSTER-SAME:  mega.grid = [array<i64: 1, 1, 1>, array<i64: 0, 1, 1>, array<i64: 2, 1, 1>, array<i64: 0, 2, 1>, array<i64: 0, 4, 1>]
// ALONE-SAME:    array<i64: 0, 4, 1>, array<i64: 0, 1, 1>]
// CHECK-NOT:   nvvm.mapa
// CLUSTER:       nvvm.cluster.arrive
// CLUSTER-NEXT:  nvvm.cluster.wait
// CLUSTER-COUNT-4: nvvm.mapa
// CLUSTER:       nvvm.cluster.arrive
// CLUSTER-NEXT:  nvvm.cluster.wait
// Other variants stay blocks of their own.
// CHECK:       func.func private @k0_a_r16(
// CHECK-NOT:     gk.cluster
// CHECK-NOT:     nvvm.mapa

func.func @attention(%q: tensor<?x?x1x32xbf16>, %k: tensor<?x?x1x32xbf16>, %v: tensor<?x?x1x256xbf16>,
                     %keys: tensor<?x512x1x32xbf16>, %values: tensor<?x512x1x256xbf16>, %position: tensor<?xi64>)
    -> (tensor<?x?x1x256xbf16>, tensor<?x512x1x32xbf16>, tensor<?x512x1x256xbf16>) {
  %0:3 = mega.group "a" (%q0 = %q : tensor<?x?x1x32xbf16>, %k0 = %k : tensor<?x?x1x32xbf16>, %v0 = %v : tensor<?x?x1x256xbf16>,
                         %s0 = %keys : tensor<?x512x1x32xbf16>, %s1 = %values : tensor<?x512x1x256xbf16>, %p0 = %position : tensor<?xi64>)
      -> (tensor<?x?x1x256xbf16>, tensor<?x512x1x32xbf16>, tensor<?x512x1x256xbf16>) {
    %o, %nk, %nv = mega.chunk_attention %q0, %k0, %v0, %s0, %s1 at %p0 chunk(512)
        : tensor<?x?x1x32xbf16>, tensor<?x?x1x256xbf16>, tensor<?x512x1x32xbf16>, tensor<?x512x1x256xbf16>, tensor<?xi64>
    mega.yield %o, %nk, %nv : tensor<?x?x1x256xbf16>, tensor<?x512x1x32xbf16>, tensor<?x512x1x256xbf16>
  }
  return %0#0, %0#1, %0#2 : tensor<?x?x1x256xbf16>, tensor<?x512x1x32xbf16>, tensor<?x512x1x256xbf16>
}

// DEFINE: %{kernels} = otodus-opt %s --pass-pipeline="builtin.module(otodus-fused-stage,func.func(otodus-choose-gpu-schedule{target=sm_80}),otodus-build-gpu-kernels{target=sm_80},func.func(cse,otodus-tile-grid,canonicalize,cse,otodus-distribute-tiles{target=sm_80},canonicalize,cse))"
// RUN: %{kernels} | FileCheck %s
// RUN: %{kernels} | FileCheck %s --check-prefix=SHARED
// The same kernels of f32 use no tensor core.
// RUN: sed 's/xbf16/xf32/g' %s > %t.f32.mlir
// RUN: otodus-opt %t.f32.mlir --pass-pipeline="builtin.module(otodus-fused-stage,func.func(otodus-choose-gpu-schedule{target=sm_80}),otodus-build-gpu-kernels{target=sm_80},func.func(cse,otodus-tile-grid,canonicalize,cse,otodus-distribute-tiles{target=sm_80},canonicalize,cse))" | FileCheck %s --check-prefix=F32

// Kernels of training in bf16: products on tensor cores, sums in f32, results rounded once.

// F32-NOT: nvvm.mma.sync
// F32-NOT: nvvm.ldmatrix

// How the sums are cut is the group's schedule.
// CHECK: schedule(<row_block = 64, column_block = 64, k_tile = 32, stages = 4, threads = 256>)
// CHECK: schedule(<row_block = 64, column_block = 128, k_tile = 32, stages = 4, threads = 256>)
// CHECK: schedule(<row_block = 64, column_block = 64, k_tile = 32, stages = 4, threads = 256>)

// The product of a backward step reads its matrix transposed on the way to the registers.
// CHECK-LABEL: func.func private @k0_linear_input_gradient_silu_gradient_r16(
// CHECK: nvvm.cp.async.shared.global
// CHECK: nvvm.ldmatrix {{.*}}layout = #nvvm.mma_layout<row>
// CHECK: nvvm.ldmatrix {{.*}}layout = #nvvm.mma_layout<col>
// CHECK: nvvm.mma.sync
// CHECK: arith.truncf
// CHECK-LABEL: func.func private @k0_linear_input_gradient_silu_gradient_r
func.func @product(%dy: tensor<?x?x128xbf16>, %w: tensor<128x64xbf16>, %x: tensor<?x?x64xbf16>) -> tensor<?x?x64xbf16> {
  %0 = mega.linear_input_gradient %dy, %w : (tensor<?x?x128xbf16>, tensor<128x64xbf16>) -> tensor<?x?x64xbf16>
  %1 = mega.silu_gradient %x, %0 : tensor<?x?x64xbf16>
  return %1 : tensor<?x?x64xbf16>
}

// Both sides lie along what is not summed, so both are transposed; 16 bytes between lines. Rows
// behind the last come as zeros. What is added to is f32.
// CHECK-LABEL: func.func private @k1_linear_weight_gradient(
// CHECK-SAME: mega.grid = {{\[}}array<i64: 0, 2, 1>, array<i64: 0, 1, 1>]
// CHECK: memref.alloca() {alignment = 16 : i64} : memref<9216xbf16, #gpu.address_space<workgroup>>
// CHECK: scf.for
// CHECK: arith.select {{.*}} : i32
// CHECK: nvvm.cp.async.shared.global {{.*}}, 16, cache = cg, %{{.*}} :
// CHECK-NOT: mma_layout<row>, num
// CHECK-COUNT-3: nvvm.ldmatrix {{.*}}layout = #nvvm.mma_layout<col>
// CHECK-COUNT-4: nvvm.mma.sync
// CHECK-NOT: atomic
// CHECK: arith.addf {{.*}} : vector<2xf32>
// CHECK: vector.store {{.*}} memref<?xf32>, vector<2xf32>
// CHECK: return
func.func @weight(%dy: tensor<?x?x128xbf16>, %x: tensor<?x?x64xbf16>, %w: tensor<128x64xf32> {mega.gradient = "w"}) -> (tensor<128x64xf32> {mega.gradient = "w"}) {
  %0 = mega.linear_weight_gradient %dy, %x into %w : tensor<?x?x128xbf16>, tensor<?x?x64xbf16>, tensor<128x64xf32>
  return %0 : tensor<128x64xf32>
}

// Eight elements are 16 bytes: 64 strands of rows.
// CHECK-LABEL: func.func private @k2_column_sum(
// CHECK: scf.for {{.*}} step %c64
// CHECK: vector.load {{.*}} memref<?xbf16>, vector<8xbf16>
// CHECK: arith.extf
// CHECK: gpu.barrier
// CHECK-COUNT-64: arith.addf {{.*}} : f32
// CHECK: return
func.func @columns(%x: tensor<?x?x64xbf16>, %s: tensor<64xf32> {mega.gradient = "s"}) -> (tensor<64xf32> {mega.gradient = "s"}) {
  %0 = mega.column_sum %x into %s : (tensor<?x?x64xbf16>, tensor<64xf32>) -> tensor<64xf32>
  return %0 : tensor<64xf32>
}

// CHECK-LABEL: func.func private @k3_embed_gradient(
// CHECK: arith.extf {{.*}} : vector<4xbf16> to vector<4xf32>
// CHECK: arith.addf {{.*}} : vector<4xf32>
func.func @embed(%t: tensor<?x?xi32>, %x: tensor<?x?x64xbf16>, %s: tensor<50x64xf32> {mega.gradient = "e"}) -> (tensor<50x64xf32> {mega.gradient = "e"}) {
  %0 = mega.embed_gradient %t, %x into %s : tensor<?x?xi32>, tensor<?x?x64xbf16>, tensor<50x64xf32>
  return %0 : tensor<50x64xf32>
}

// Logits, softmax and loss are f32.
// CHECK-LABEL: func.func private @k4_linear_cross_entropy(
// CHECK-SAME: dtype = "bf16", kind = "table", rows = array<i64: 1, 100>
// CHECK: nvvm.mma.sync
// CHECK: math.exp {{.*}} : f32
// CHECK: math.log {{.*}} : f32
// CHECK: memref.store {{.*}} memref<?xf32>
// The factors of the second product are rounded; they are written, and read, along its terms.
// CHECK-LABEL: func.func private @k5_loss_input_gradient(
// CHECK-SAME: mega.grid = {{\[}}array<i64: 3, 1, 64>, array<i64: 0, 1, 1>]
// CHECK: nvvm.mma.sync
// CHECK: math.exp {{.*}} : f32
// CHECK: arith.truncf {{.*}} : f32 to bf16
// CHECK: memref.store {{.*}} memref<8704xbf16, #gpu.address_space<workgroup>>
// CHECK: gpu.barrier
// CHECK: nvvm.ldmatrix {{.*}}layout = #nvvm.mma_layout<row>
// CHECK: nvvm.ldmatrix {{.*}}layout = #nvvm.mma_layout<col>
// CHECK: nvvm.mma.sync
// CHECK: arith.truncf {{.*}} : vector<2xf32> to vector<2xbf16>
// CHECK: return
// CHECK-LABEL: func.func private @k6_loss_weight_gradient(
// CHECK-SAME: mega.grid = {{\[}}array<i64: 0, 2, 1>, array<i64: 0, 1, 1>]
// CHECK: nvvm.mma.sync
// CHECK: math.exp {{.*}} : f32
// CHECK: nvvm.mma.sync
// CHECK-NOT: atomic
// CHECK: arith.addf {{.*}} : vector<2xf32>
// CHECK: return
// Rings and scores of the loss, of which only one is alive at a time, share their memory.
// SHARED-LABEL: func.func private @k5_loss_input_gradient(
// SHARED-DAG: gk.overlay = "sums", gk.overlay_group = "tile"{{.*}} memref<8704xf32,
// SHARED-DAG: gk.overlay = "operands0.a", gk.overlay_group = "tile"{{.*}} memref<10240xbf16,
// SHARED-DAG: gk.overlay = "operands0.a", gk.overlay_group = "tile"{{.*}} memref<20480xbf16,
// SHARED-DAG: gk.overlay = "operands0.b", gk.overlay_group = "tile"{{.*}} memref<3456xbf16,
func.func @loss(%x: tensor<?x?x64xbf16>, %w: tensor<100x64xbf16>, %t: tensor<?x?xi32>, %c: tensor<16xf32> {mega.scalars}, %d: tensor<100x64xf32> {mega.gradient = "w"})
    -> (tensor<?x?xf32>, tensor<?x?x64xbf16>, tensor<100x64xf32> {mega.gradient = "w"}) {
  %nll, %sum = mega.linear_cross_entropy %x, %w, %t : (tensor<?x?x64xbf16>, tensor<100x64xbf16>, tensor<?x?xi32>) -> (tensor<?x?xf32>, tensor<?x?xf32>)
  %dx = mega.loss_input_gradient %x, %w, %t, %sum, %c : (tensor<?x?x64xbf16>, tensor<100x64xbf16>, tensor<?x?xi32>, tensor<?x?xf32>, tensor<16xf32>) -> tensor<?x?x64xbf16>
  %dw = mega.loss_weight_gradient %x, %w, %t, %sum, %c, %d : (tensor<?x?x64xbf16>, tensor<100x64xbf16>, tensor<?x?xi32>, tensor<?x?xf32>, tensor<16xf32>, tensor<100x64xf32>) -> tensor<100x64xf32>
  return %nll, %dx, %dw : tensor<?x?xf32>, tensor<?x?x64xbf16>, tensor<100x64xf32>
}

// A chunk of 100 slots. dQ and dK are sums over 64 keys or rows of factors that are rounded; gradients
// of the open chunk are f32.
// CHECK-LABEL: func.func private @k7_chunk_panels(
// CHECK-COUNT-2: vector.store {{.*}} : memref<?xbf16>, vector<8xbf16>
// CHECK-LABEL: func.func private @k8_chunk_query_gradient(
// CHECK: nvvm.mma.sync
// CHECK: math.log
// CHECK: nvvm.mma.sync
// CHECK: memref.store {{.*}} memref<4608xbf16, #gpu.address_space<workgroup>>
// CHECK: nvvm.ldmatrix {{.*}}layout = #nvvm.mma_layout<col>
// CHECK: nvvm.mma.sync
// CHECK: vector.store {{.*}} : memref<?xbf16>, vector<4xbf16>
// CHECK-LABEL: func.func private @k9_chunk_key_gradient(
// CHECK: nvvm.mma.sync
// CHECK: vector.store {{.*}} : memref<?xf32>, vector<4xf32>
// CHECK: vector.store {{.*}} : memref<?xbf16>, vector<4xbf16>
func.func @attention(%q: tensor<?x?x2x32xbf16>, %o: tensor<?x?x2x96xbf16>, %do: tensor<?x?x2x96xbf16>, %keys: tensor<?x100x2x32xbf16> {mega.state = "keys"},
                     %values: tensor<?x100x2x96xbf16> {mega.state = "values"}, %p: tensor<?xi64> {mega.position},
                     %dkeys: tensor<?x100x2x32xf32> {mega.state_gradient = "keys"}, %dvalues: tensor<?x100x2x96xf32> {mega.state_gradient = "values"})
    -> (tensor<?x?x2x32xbf16>, tensor<?x?x2x32xbf16>, tensor<?x?x2x96xbf16>,
        tensor<?x100x2x32xf32> {mega.state_gradient = "keys"}, tensor<?x100x2x96xf32> {mega.state_gradient = "values"}) {
  %kr, %vc = mega.chunk_panels %keys, %values : (tensor<?x100x2x32xbf16>, tensor<?x100x2x96xbf16>) -> (tensor<?x1x8192xbf16>, tensor<?x1x24576xbf16>)
  %dq, %log, %dot = mega.chunk_query_gradient %q, %o, %do, %keys, %kr, %vc at %p chunk(100)
      : (tensor<?x?x2x32xbf16>, tensor<?x?x2x96xbf16>, tensor<?x?x2x96xbf16>, tensor<?x100x2x32xbf16>, tensor<?x1x8192xbf16>, tensor<?x1x24576xbf16>, tensor<?xi64>)
      -> (tensor<?x?x2x32xbf16>, tensor<?x?x2xf32>, tensor<?x?x2xf32>)
  %dk, %dv, %ndk, %ndv = mega.chunk_key_gradient %q, %do, %log, %dot, %keys, %vc at %p into %dkeys, %dvalues chunk(100)
      : (tensor<?x?x2x32xbf16>, tensor<?x?x2x96xbf16>, tensor<?x?x2xf32>, tensor<?x?x2xf32>, tensor<?x100x2x32xbf16>, tensor<?x1x24576xbf16>, tensor<?xi64>, tensor<?x100x2x32xf32>, tensor<?x100x2x96xf32>)
      -> (tensor<?x?x2x32xbf16>, tensor<?x?x2x96xbf16>, tensor<?x100x2x32xf32>, tensor<?x100x2x96xf32>)
  return %dq, %dk, %dv, %ndk, %ndv : tensor<?x?x2x32xbf16>, tensor<?x?x2x32xbf16>, tensor<?x?x2x96xbf16>, tensor<?x100x2x32xf32>, tensor<?x100x2x96xf32>
}

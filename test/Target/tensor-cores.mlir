// RUN: otodus compile %s --target=sm_80 --emit=ptx -o - | FileCheck %s --check-prefix=WARP
// RUN: otodus compile %s --target=sm_86 --emit=ptx -o - | FileCheck %s --check-prefix=WARP
// RUN: otodus compile %s --target=sm_89 --emit=ptx -o - | FileCheck %s --check-prefix=WARP
// RUN: otodus compile %s --target=sm_120a --emit=ptx -o - | FileCheck %s --check-prefix=WARP
// RUN: otodus compile %s --target=sm_100a --emit=ptx -o - | FileCheck %s --check-prefix=WARP
// RUN: otodus compile %s --target=sm_90a --emit=ptx -o %t.ptx
// RUN: FileCheck %s --check-prefix=GROUP --input-file=%t.ptx
// RUN: FileCheck %s --check-prefixes=PRODUCER --input-file=%t.ptx
// RUN: otodus compile %s --target=sim:sm_90a --emit=nvvm -o - | FileCheck %s --check-prefix=NVVM

// A bf16 product really uses tensor cores over a ring of tiles in shared memory.

// WARP:     cp.async.cg.shared.global
// WARP:     ldmatrix.sync.aligned.m8n8.x4
// WARP:     mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32
// WARP-NOT: wgmma
// WARP-NOT: cp.async.bulk

// Few rows the same way; from 64 rows on a producer that fills the ring by TMA, and two warpgroups that multiply, with the
// producer's registers.

// GROUP:     cp.async.cg.shared.global
// GROUP:     .param .align 64 .b8 {{.*}}[128]
// GROUP:     mbarrier.init.shared
// GROUP:     setmaxnreg.inc.sync.aligned.u32 232
// GROUP:     mbarrier.try_wait.parity
// GROUP:     wgmma.fence.sync.aligned
// GROUP:     wgmma.mma_async.sync.aligned.m64n{{[0-9]+}}k16.f32.bf16.bf16
// GROUP:     wgmma.wait_group.sync.aligned 1
// GROUP:     mbarrier.arrive
// GROUP:     wgmma.wait_group.sync.aligned 0
// GROUP:     bar.sync {{.*}}1, 256

// PRODUCER:      .param .align 64 .b8 {{.*}}[128]
// PRODUCER:      setmaxnreg.dec.sync.aligned.u32 40
// PRODUCER:      mbarrier.try_wait.parity
// PRODUCER:      mbarrier.arrive.expect_tx
// PRODUCER:      cp.async.bulk.tensor.2d.shared::cluster.global.{{.*}}mbarrier

// No assembly where the simulator reads it.

// NVVM-NOT: inline_asm
// NVVM:     gk.wgmma
// NVVM-NOT: inline_asm
mega.weight @fc.weight : tensor<512x512xbf16>
func.func @product(%x: tensor<?x?x512xbf16>) -> tensor<?x?x512xbf16> {
  %w = mega.use_weight @fc.weight : tensor<512x512xbf16>
  %y = mega.linear %x, %w : (tensor<?x?x512xbf16>, tensor<512x512xbf16>) -> tensor<?x?x512xbf16>
  return %y : tensor<?x?x512xbf16>
}

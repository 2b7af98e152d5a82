// RUN: otodus compile %s --target=sm_80 --emit=ptx -o - | FileCheck %s --check-prefix=WARP
// RUN: otodus compile %s --target=sm_86 --emit=ptx -o - | FileCheck %s --check-prefix=WARP
// RUN: otodus compile %s --target=sm_89 --emit=ptx -o - | FileCheck %s --check-prefix=WARP
// RUN: otodus compile %s --target=sm_120a --emit=ptx -o - | FileCheck %s --check-prefix=WARP
// RUN: otodus compile %s --target=sm_100a --emit=ptx -o - | FileCheck %s --check-prefix=WARP
// RUN: otodus compile %s --target=sm_90a --emit=ptx -o - | FileCheck %s --check-prefix=GROUP
// RUN: otodus compile %s --target=sim:sm_90a --emit=nvvm -o - | FileCheck %s --check-prefix=NVVM

// A bf16 product really uses tensor cores over a ring of tiles in shared memory.

// WARP:     cp.async.cg.shared.global
// WARP:     ldmatrix.sync.aligned.m8n8.x4
// WARP:     mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32
// WARP-NOT: wgmma

// GROUP:    cp.async.cg.shared.global
// GROUP:    wgmma.mma_async.sync.aligned.m64n{{[0-9]+}}k16.f32.bf16.bf16

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

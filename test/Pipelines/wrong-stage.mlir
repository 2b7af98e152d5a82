// A module that is not at the stage it is said to be at is an error of one line, and says where
// it is; at its own stage it goes on to the same code.
// RUN: otodus compile %s --target=cpu:x86-64-v3 --emit=asm -o %t.whole.s
// RUN: otodus compile %s --target=cpu:x86-64-v3 --emit=fused -o %t.fused.mlir
// RUN: otodus compile %s --target=cpu:x86-64-v3 --emit=kernel -o %t.kernel.mlir
// RUN: otodus compile %s --target=cpu:x86-64-v3 --emit=llvm -o %t.llvm.mlir
// RUN: otodus compile %t.fused.mlir --target=cpu:x86-64-v3 --from=fused --emit=asm -o %t.s
// RUN: cmp %t.whole.s %t.s
// RUN: otodus compile %t.kernel.mlir --target=cpu:x86-64-v3 --from=kernel --emit=asm -o %t.s
// RUN: cmp %t.whole.s %t.s
// RUN: not otodus compile %t.kernel.mlir -o %t.oto 2>&1 | FileCheck %s --check-prefix=KERNEL
// RUN: not otodus compile %t.kernel.mlir --from=fused -o %t.oto 2>&1 | FileCheck %s --check-prefix=KERNEL
// RUN: not otodus compile %t.llvm.mlir -o %t.oto 2>&1 | FileCheck %s --check-prefix=LLVM
// RUN: not otodus compile %s --from=fused -o %t.oto 2>&1 | FileCheck %s --check-prefix=FUSED
// RUN: not otodus compile %s --from=kernel -o %t.oto 2>&1 | FileCheck %s --check-prefix=MODEL
// RUN: not otodus compile %t.fused.mlir --from=kernel -o %t.oto 2>&1 | FileCheck %s --check-prefix=GROUP

// KERNEL-NOT: error:
// KERNEL: otodus: this module is at the kernel stage; add --from=kernel
// LLVM-NOT: error:
// LLVM: otodus: this module is at the llvm stage; add --from=llvm
// FUSED: error: 'mega.silu' op is left outside of groups after the fused stage
// FUSED: otodus: this module is not at the fused stage
// MODEL: otodus: this module is not at the kernel stage
// GROUP: error: 'mega.group' op has no kernel after the kernel stage
// GROUP: otodus: this module is not at the kernel stage
func.func @f(%x: tensor<?x?x64xf32>) -> tensor<?x?x64xf32> {
  %y = mega.silu %x : tensor<?x?x64xf32>
  return %y : tensor<?x?x64xf32>
}

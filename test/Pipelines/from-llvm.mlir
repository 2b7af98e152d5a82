// A printed llvm stage goes on to the same code; it has no plan, so it cannot become an artefact.
// RUN: otodus compile %s --target=cpu:x86-64-v3 --emit=asm -o %t.whole.s
// RUN: otodus compile %s --target=cpu:x86-64-v3 --emit=llvm -o %t.mlir
// RUN: otodus compile %t.mlir --target=cpu:x86-64-v3 --from=llvm --emit=asm -o %t.s
// RUN: cmp %t.whole.s %t.s
// RUN: FileCheck %s < %t.s
// RUN: not otodus compile %t.mlir --from=llvm -o %t.oto 2>&1 | FileCheck %s --check-prefix=PLAN
// RUN: not otodus compile %s --from=llvm --emit=asm -o %t.s 2>&1 | FileCheck %s --check-prefix=NONE

// CHECK: silu_r1
// PLAN: an artefact cannot be made from the llvm stage, which has no plan
// NONE: expected llvm.func in a module at the llvm stage, but found none
func.func @f(%x: tensor<?x?x64xf32>) -> tensor<?x?x64xf32> {
  %y = mega.silu %x : tensor<?x?x64xf32>
  return %y : tensor<?x?x64xf32>
}

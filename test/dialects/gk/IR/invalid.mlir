// RUN: otodus-opt %s -split-input-file -verify-diagnostics

// One case per constraint of the ops' descriptions; (Cn) is the constraint's number there.

llvm.func @columns(%a: i64, %c: !llvm.struct<(f32, f32, f32, f32)>, %s: i1) { // wgmma (C1)
  // expected-error @+1 {{expected m64nNk16 with N a multiple of 8 from 8 to 256, but got 'm64n12k16'}}
  %d = gk.wgmma %a, %a into %c if %s : m64n12k16
  llvm.return
}

// -----

llvm.func @too_many_columns(%a: i64, %c: !llvm.struct<(f32, f32, f32, f32)>, %s: i1) { // wgmma (C1)
  // expected-error @+1 {{expected m64nNk16 with N a multiple of 8 from 8 to 256, but got 'm64n264k16'}}
  %d = gk.wgmma %a, %a into %c if %s : m64n264k16
  llvm.return
}

// -----

llvm.func @element_type(%a: i64, %c: !llvm.struct<(f32, f32, f32, i32)>, %s: i1) { // wgmma (C1)
  // expected-error @+1 {{operand #2 must be an accumulator: a struct of n / 2 f32 with n a multiple of 8 from 8 to 256}}
  %d = "gk.wgmma"(%a, %a, %c, %s) : (i64, i64, !llvm.struct<(f32, f32, f32, i32)>, i1) -> !llvm.struct<(f32, f32, f32, i32)>
  llvm.return
}

// -----

llvm.func @registers(%a: i64, %r: i32, %c: !llvm.struct<(f32, f32, f32, f32)>, %s: i1) { // wgmma_ra (C2)
  // expected-error @+1 {{'gk.wgmma_ra' op expects four registers of A, but got 3}}
  %d = gk.wgmma_ra [%r, %r, %r], %a into %c if %s : m64n8k16
  llvm.return
}

// -----

llvm.func @wait_type(%c: !llvm.struct<(f32, f32)>) { // wgmma_wait (C1)
  // expected-error @+1 {{operand #0 must be an accumulator: a struct of n / 2 f32 with n a multiple of 8 from 8 to 256}}
  %d = "gk.wgmma_wait"(%c) {groups = 0 : i32} : (!llvm.struct<(f32, f32)>) -> !llvm.struct<(f32, f32)>
  llvm.return
}

// -----

llvm.func @groups(%c: !llvm.struct<(f32, f32, f32, f32)>) { // wgmma_wait (C2)
  // expected-error @+1 {{attribute 'groups' failed to satisfy constraint: 32-bit signless integer attribute whose value is non-negative whose maximum value is 7}}
  %d = gk.wgmma_wait 8 for %c : m64n8k16
  llvm.return
}

// -----

gpu.module @m [#nvvm.target<chip = "sm_80">] {
  llvm.func @chip(%a: i64, %c: !llvm.struct<(f32, f32, f32, f32)>, %s: i1) {
    // expected-error @+1 {{'gk.wgmma' op is not supported on sm_80}}
    %d = gk.wgmma %a, %a into %c if %s : m64n8k16
    llvm.return
  }
}

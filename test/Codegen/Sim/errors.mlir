// RUN: otodus-opt %s --otodus-nvvm-to-sim --split-input-file --verify-diagnostics

llvm.func @unknown_op(%p: !llvm.ptr) attributes {nvvm.kernel} {
  // expected-error @+1 {{'nvvm.pmevent' op is not known to the simulator: give it a row in include/otodus/ABI/SimOps.def}}
  nvvm.pmevent id = 1
  llvm.return
}

// -----

llvm.func @unknown_intrinsic(%x: f32) attributes {nvvm.kernel} {
  // expected-error @+1 {{the simulator does not know the intrinsic 'llvm.nvvm.saturate.f': give it a row in include/otodus/ABI/SimOps.def}}
  %y = llvm.call_intrinsic "llvm.nvvm.saturate.f"(%x) : (f32) -> f32
  llvm.return
}

// -----

llvm.func @assembly() attributes {nvvm.kernel} {
  // expected-error @+1 {{'llvm.inline_asm' op is not known to the simulator}}
  llvm.inline_asm has_side_effects "bar.sync 0;", "" : () -> ()
  llvm.return
}

// -----

llvm.func @libm(%x: f32) attributes {nvvm.kernel} {
  // expected-error @+1 {{'llvm.intr.log2' op is not known to the simulator}}
  %y = llvm.intr.log2(%x) : (f32) -> f32
  llvm.return
}

// -----

// expected-error @+1 {{'llvm.func' op is called, but it is not part of the module}}
llvm.func @__nv_expf(f32) -> f32
llvm.func @library(%x: f32) attributes {nvvm.kernel} {
  %y = llvm.call @__nv_expf(%x) : (f32) -> f32
  llvm.return
}

// -----

// expected-error @+1 {{'llvm.mlir.global' op is a variable in global memory, which the simulator does not have: pass a buffer}}
llvm.mlir.global internal @counter(0 : i32) {addr_space = 1 : i32} : i32
llvm.func @variable() attributes {nvvm.kernel} {
  llvm.return
}

// -----

llvm.func @float_atomic(%p: !llvm.ptr<1>, %x: f32) attributes {nvvm.kernel} {
  // expected-error @+1 {{'llvm.atomicrmw' op is not executed by the simulator with bin_op 'fadd'}}
  %old = llvm.atomicrmw fadd %p, %x monotonic : !llvm.ptr<1>, f32
  llvm.return
}

// -----

llvm.func @pointer(%f: !llvm.ptr) attributes {nvvm.kernel} {
  // expected-error @+1 {{'llvm.call' op calls a function pointer}}
  llvm.call %f() : !llvm.ptr, () -> ()
  llvm.return
}

// RUN: otodus-opt %s --split-input-file --verify-diagnostics --otodus-finish-nvvm=target=sm_80 | FileCheck %s

// CHECK-LABEL: llvm.func @kernel(
// CHECK-SAME:    %arg0: !llvm.ptr<1> {llvm.align = 64 : i64, llvm.noalias},
// CHECK-SAME:    %arg1: i64,
// CHECK-SAME:    %arg2: !llvm.ptr {llvm.align = 64 : i64, llvm.byval = !llvm.array<128 x i8>, nvvm.grid_constant})
// CHECK-SAME:    attributes {gk.shared_bytes = 0 : i64, nvvm.kernel, nvvm.minctasm = 1 : i32, nvvm.reqntid = array<i32: 64, 1, 1>}
llvm.mlir.global external @otodus_shared() {addr_space = 3 : i32, alignment = 1024 : i64} : !llvm.array<0 x i8>
llvm.func @kernel(%x: !llvm.ptr<1>, %rows: i64, %map: !llvm.ptr)
    attributes {gpu.threads = 64 : i64, mega.row_tile = 16 : i64, gk.shared_bytes = 0 : i64} {
  // The address of a buffer for an instruction.
  // CHECK: %[[S:.*]] = llvm.mlir.addressof
  // CHECK: nvvm.cp.async.shared.global %[[S]]
  %s = llvm.mlir.addressof @otodus_shared : !llvm.ptr<3>
  %i = llvm.ptrtoint %s : !llvm.ptr<3> to i64
  %p = llvm.inttoptr %i : i64 to !llvm.ptr<3>
  nvvm.cp.async.shared.global %p, %x, 16, cache = cg : !llvm.ptr<3>, !llvm.ptr<1>
  llvm.return
}

// -----

// Blocks of a cluster.
// CHECK-LABEL: llvm.func @cluster
// CHECK-SAME:    nvvm.cluster_dim = array<i32: 4, 1, 1>
llvm.func @cluster() attributes {gpu.threads = 64 : i64, mega.row_tile = 1 : i64, gk.cluster = 4 : i64, gk.shared_bytes = 0 : i64} {
  llvm.return
}

// -----

llvm.func @f(%x: f32) -> f32
llvm.func @call(%x: f32) {
  // expected-error @below {{calls a function; a GPU kernel is linked with no library}}
  %0 = llvm.call @f(%x) : (f32) -> f32
  llvm.return
}

// -----

llvm.func @intrinsic(%x: f32) {
  // expected-error @below {{has no instruction on a GPU}}
  %0 = llvm.intr.sin(%x) : (f32) -> f32
  llvm.return
}

// -----

llvm.func @remainder(%x: f32) {
  // expected-error @below {{has no instruction on a GPU}}
  %0 = llvm.frem %x, %x : f32
  llvm.return
}

// -----

llvm.func @assembly() {
  // expected-error @below {{is assembly, which the simulator cannot run; use an op of nvvm or gk}}
  llvm.inline_asm has_side_effects asm_dialect = att "bar.sync 0;", "" : () -> ()
  llvm.return
}

// -----

llvm.func @foreign(%x: f32) {
  // expected-error @below {{expects an intrinsic of NVPTX, but got llvm.sin}}
  %0 = llvm.call_intrinsic "llvm.sin"(%x) : (f32) -> f32
  llvm.return
}

// -----

llvm.func @chip() {
  // expected-error @below {{is not an instruction of sm_80}}
  nvvm.cluster.arrive
  llvm.return
}

// -----

llvm.func @wide(%x: i64) {
  // expected-error @below {{has the type 'i128', which no GPU computes with}}
  %0 = llvm.zext %x : i64 to i128
  llvm.return
}

// -----

func.func @left() {
  // expected-error @-1 {{is left after the nvvm stage}}
  return
}

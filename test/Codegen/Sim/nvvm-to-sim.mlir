// RUN: otodus-opt %s --otodus-nvvm-to-sim | FileCheck %s

// Shared memory has no names left; the records of a kernel and its ops are one constant.
// CHECK: llvm.mlir.global internal constant @kernel.records
// CHECK-NOT: addr_space = 3
llvm.mlir.global external @tile() {addr_space = 3 : i32, alignment = 128 : i64} : !llvm.array<32 x f32>
llvm.mlir.global external @otodus_shared() {addr_space = 3 : i32, alignment = 1024 : i64} : !llvm.array<0 x i8>

// A kernel's body takes the context first; promises about memory are gone.

// CHECK-LABEL: llvm.func internal @kernel.thread
// CHECK-SAME: (%[[CONTEXT:.*]]: !llvm.ptr, %[[IN:.*]]: !llvm.ptr<1>, %[[SIZE:.*]]: i64, %{{.*}}: !llvm.ptr)
llvm.func @kernel(%in: !llvm.ptr<1> {llvm.noalias}, %n: i64,
                  %map: !llvm.ptr {llvm.byval = !llvm.array<128 x i8>, llvm.align = 64 : i64, nvvm.grid_constant})
    attributes {nvvm.kernel, nvvm.reqntid = array<i32: 128, 1, 1>} {
  // The dynamic part follows the static one.
  // CHECK-DAG: llvm.mlir.constant(1024 : i64)
  %dynamic = llvm.mlir.addressof @otodus_shared : !llvm.ptr<3>
  %tile = llvm.mlir.addressof @tile : !llvm.ptr<3>
  // A special register is a field of the context.
  // CHECK: %[[FIELD:.*]] = llvm.getelementptr %[[CONTEXT]][40]
  // CHECK: llvm.load %[[FIELD]] invariant : !llvm.ptr -> i32
  %t = nvvm.read.ptx.sreg.tid.x : i32
  %p = llvm.getelementptr %in[%t] : (!llvm.ptr<1>, i32) -> !llvm.ptr<1>, f32
  // A load is announced: record, address, bytes, alignment.
  // CHECK: %[[P:.*]] = llvm.getelementptr %[[IN]]
  // CHECK: llvm.ptrtoint %[[P]] : !llvm.ptr<1> to i64
  // CHECK: llvm.call %{{.*}}(%[[CONTEXT]], %{{.*}}) : !llvm.ptr, (!llvm.ptr, !llvm.ptr, i64, i32, i32) -> ()
  // CHECK: llvm.load %[[P]] : !llvm.ptr<1> -> f32
  %x = llvm.load %p : !llvm.ptr<1> -> f32
  %q = llvm.getelementptr %tile[%t] : (!llvm.ptr<3>, i32) -> !llvm.ptr<3>, f32
  llvm.store %x, %q : f32, !llvm.ptr<3>
  // A collective is a call through the table of the context.
  // CHECK: llvm.load %{{.*}} invariant : !llvm.ptr -> !llvm.ptr
  // CHECK: llvm.call %{{.*}}(%[[CONTEXT]], %{{.*}}) : !llvm.ptr, (!llvm.ptr, !llvm.ptr, !llvm.ptr, !llvm.ptr) -> ()
  nvvm.barrier0
  // Nothing happens here.
  // CHECK-NOT: griddepcontrol
  nvvm.griddepcontrol wait
  // Device functions take the context too.
  // CHECK: llvm.call @helper(%[[CONTEXT]], %{{.*}}) : (!llvm.ptr, f32) -> f32
  %y = llvm.call @helper(%x) : (f32) -> f32
  llvm.br ^loop
^loop:
  // A backward branch tells the scheduler.
  // CHECK: llvm.call %{{.*}}(%[[CONTEXT]]) : !llvm.ptr, (!llvm.ptr) -> ()
  // CHECK-NEXT: llvm.cond_br
  %c0 = llvm.mlir.constant(0 : i32) : i32
  %again = llvm.icmp "eq" %t, %c0 : i32
  llvm.cond_br %again, ^loop, ^end
^end:
  llvm.return
}

// The entry unpacks parameters as cuLaunchKernel packs them; a byval parameter stays where it is.

// CHECK-LABEL: llvm.func @kernel(
// CHECK-SAME: %[[CONTEXT:.*]]: !llvm.ptr, %[[PARAMS:.*]]: !llvm.ptr) -> !llvm.ptr
// CHECK: %[[A:.*]] = llvm.load %{{.*}} : !llvm.ptr -> !llvm.ptr
// CHECK: %[[ARG0:.*]] = llvm.load %[[A]] : !llvm.ptr -> !llvm.ptr<1>
// CHECK: %[[B:.*]] = llvm.load %{{.*}} : !llvm.ptr -> !llvm.ptr
// CHECK: %[[ARG1:.*]] = llvm.load %[[B]] : !llvm.ptr -> i64
// CHECK: %[[ARG2:.*]] = llvm.load %{{.*}} : !llvm.ptr -> !llvm.ptr
// CHECK: llvm.call @kernel.thread(%[[CONTEXT]], %[[ARG0]], %[[ARG1]], %[[ARG2]])

// bf16 without a library: rounded with integers, and kept as i16.

// CHECK-LABEL: llvm.func internal @helper(
// CHECK-NOT: fptrunc
// CHECK: llvm.lshr
// CHECK: llvm.fcmp "uno"
// CHECK: llvm.select
llvm.func @helper(%x: f32) -> f32 {
  %narrow = llvm.fptrunc %x : f32 to bf16
  %wide = llvm.fpext %narrow : bf16 to f32
  llvm.return %wide : f32
}

// Boxes of tensors to and from shared memory.
//
// A load copies a box into shared memory and writes that memory's bytes, as they lie, to `out`; a store
// puts the bytes of `image` into shared memory and copies them as a box. Swizzle, element type and fill
// are a matter of the tensor map. (map, out or image, bytes: of the box in shared memory, a multiple of
// 4, then the box's coordinates, dimension 0 first.) 128 threads.
//
// It assembles as it is:
// RUN: otodus-opt %s -convert-nvvm-to-llvm -o %t.mlir
// RUN: %if ptxas %{ mlir-translate --mlir-to-llvmir %t.mlir | opt -O2 | llc -O3 -mtriple=nvptx64-nvidia-cuda -mcpu=sm_90a -mattr=+ptx81 -o %t.ptx %}
// RUN: %if ptxas %{ ptxas -arch=sm_90a -v %t.ptx -o %t.cubin 2>&1 | FileCheck %s %}
// CHECK-NOT: C75
// CHECK: 0 bytes spill stores
// CHECK-NOT: C75


llvm.mlir.global external @otodus_shared() {addr_space = 3 : i32, alignment = 1024 : i64} : !llvm.array<0 x i8>

// Copies %bytes bytes (a multiple of 4) of %image to shared memory at %to, by 128 threads.
llvm.func internal @fill(%image: !llvm.ptr<1>, %to: !llvm.ptr<3>, %bytes: i32) {
  %four = llvm.mlir.constant(4 : i32) : i32
  %step = llvm.mlir.constant(512 : i32) : i32
  %t = nvvm.read.ptx.sreg.tid.x : i32
  %first = llvm.mul %t, %four : i32
  llvm.br ^head(%first : i32)
^head(%i: i32):
  %more = llvm.icmp "ult" %i, %bytes : i32
  llvm.cond_br %more, ^body, ^end
^body:
  %from = llvm.getelementptr %image[%i] : (!llvm.ptr<1>, i32) -> !llvm.ptr<1>, i8
  %x = llvm.load %from : !llvm.ptr<1> -> i32
  %at = llvm.getelementptr %to[%i] : (!llvm.ptr<3>, i32) -> !llvm.ptr<3>, i8
  llvm.store %x, %at : i32, !llvm.ptr<3>
  %next = llvm.add %i, %step : i32
  llvm.br ^head(%next : i32)
^end:
  llvm.return
}

// Copies %bytes bytes (a multiple of 4) of shared memory at %from to %image, by 128 threads.
llvm.func internal @dump(%from: !llvm.ptr<3>, %image: !llvm.ptr<1>, %bytes: i32) {
  %four = llvm.mlir.constant(4 : i32) : i32
  %step = llvm.mlir.constant(512 : i32) : i32
  %t = nvvm.read.ptx.sreg.tid.x : i32
  %first = llvm.mul %t, %four : i32
  llvm.br ^head(%first : i32)
^head(%i: i32):
  %more = llvm.icmp "ult" %i, %bytes : i32
  llvm.cond_br %more, ^body, ^end
^body:
  %at = llvm.getelementptr %from[%i] : (!llvm.ptr<3>, i32) -> !llvm.ptr<3>, i8
  %x = llvm.load %at : !llvm.ptr<3> -> i32
  %to = llvm.getelementptr %image[%i] : (!llvm.ptr<1>, i32) -> !llvm.ptr<1>, i8
  llvm.store %x, %to : i32, !llvm.ptr<1>
  %next = llvm.add %i, %step : i32
  llvm.br ^head(%next : i32)
^end:
  llvm.return
}

llvm.func @tma_load_1d(%map: !llvm.ptr {llvm.byval = !llvm.array<128 x i8>, llvm.align = 64 : i64, nvvm.grid_constant},
    %out: !llvm.ptr<1>, %bytes: i32, %c0: i32)
    attributes {nvvm.kernel, nvvm.reqntid = array<i32: 128, 1, 1>} {
  %mbarrier = llvm.mlir.addressof @otodus_shared : !llvm.ptr<3>
  %box = llvm.getelementptr %mbarrier[1024] : (!llvm.ptr<3>) -> !llvm.ptr<3>, i8
  %zero = llvm.mlir.constant(0 : i32) : i32
  %one = llvm.mlir.constant(1 : i32) : i32
  %ticks = llvm.mlir.constant(1000000 : i32) : i32
  %t = nvvm.read.ptx.sreg.tid.x : i32
  %isFirst = llvm.icmp "eq" %t, %zero : i32
  llvm.cond_br %isFirst, ^init, ^meet
^init:
  nvvm.mbarrier.init %mbarrier, %one : !llvm.ptr<3>, i32
  nvvm.fence.mbarrier.init
  llvm.br ^meet
^meet:
  nvvm.barrier0
  llvm.cond_br %isFirst, ^issue, ^wait
^issue:
  nvvm.mbarrier.arrive.expect_tx %mbarrier, %bytes : !llvm.ptr<3>, i32
  %to = llvm.addrspacecast %box : !llvm.ptr<3> to !llvm.ptr<7>
  nvvm.cp.async.bulk.tensor.shared.cluster.global %to, %map, %mbarrier, box[%c0]
      : !llvm.ptr<7>, !llvm.ptr
  llvm.br ^wait
^wait:
  nvvm.mbarrier.try_wait.parity %mbarrier, %zero, %ticks : !llvm.ptr<3>, i32, i32
  llvm.call @dump(%box, %out, %bytes) : (!llvm.ptr<3>, !llvm.ptr<1>, i32) -> ()
  llvm.return
}

llvm.func @tma_load_2d(%map: !llvm.ptr {llvm.byval = !llvm.array<128 x i8>, llvm.align = 64 : i64, nvvm.grid_constant},
    %out: !llvm.ptr<1>, %bytes: i32, %c0: i32, %c1: i32)
    attributes {nvvm.kernel, nvvm.reqntid = array<i32: 128, 1, 1>} {
  %mbarrier = llvm.mlir.addressof @otodus_shared : !llvm.ptr<3>
  %box = llvm.getelementptr %mbarrier[1024] : (!llvm.ptr<3>) -> !llvm.ptr<3>, i8
  %zero = llvm.mlir.constant(0 : i32) : i32
  %one = llvm.mlir.constant(1 : i32) : i32
  %ticks = llvm.mlir.constant(1000000 : i32) : i32
  %t = nvvm.read.ptx.sreg.tid.x : i32
  %isFirst = llvm.icmp "eq" %t, %zero : i32
  llvm.cond_br %isFirst, ^init, ^meet
^init:
  nvvm.mbarrier.init %mbarrier, %one : !llvm.ptr<3>, i32
  nvvm.fence.mbarrier.init
  llvm.br ^meet
^meet:
  nvvm.barrier0
  llvm.cond_br %isFirst, ^issue, ^wait
^issue:
  nvvm.mbarrier.arrive.expect_tx %mbarrier, %bytes : !llvm.ptr<3>, i32
  %to = llvm.addrspacecast %box : !llvm.ptr<3> to !llvm.ptr<7>
  nvvm.cp.async.bulk.tensor.shared.cluster.global %to, %map, %mbarrier, box[%c0, %c1]
      : !llvm.ptr<7>, !llvm.ptr
  llvm.br ^wait
^wait:
  nvvm.mbarrier.try_wait.parity %mbarrier, %zero, %ticks : !llvm.ptr<3>, i32, i32
  llvm.call @dump(%box, %out, %bytes) : (!llvm.ptr<3>, !llvm.ptr<1>, i32) -> ()
  llvm.return
}

llvm.func @tma_load_3d(%map: !llvm.ptr {llvm.byval = !llvm.array<128 x i8>, llvm.align = 64 : i64, nvvm.grid_constant},
    %out: !llvm.ptr<1>, %bytes: i32, %c0: i32, %c1: i32, %c2: i32)
    attributes {nvvm.kernel, nvvm.reqntid = array<i32: 128, 1, 1>} {
  %mbarrier = llvm.mlir.addressof @otodus_shared : !llvm.ptr<3>
  %box = llvm.getelementptr %mbarrier[1024] : (!llvm.ptr<3>) -> !llvm.ptr<3>, i8
  %zero = llvm.mlir.constant(0 : i32) : i32
  %one = llvm.mlir.constant(1 : i32) : i32
  %ticks = llvm.mlir.constant(1000000 : i32) : i32
  %t = nvvm.read.ptx.sreg.tid.x : i32
  %isFirst = llvm.icmp "eq" %t, %zero : i32
  llvm.cond_br %isFirst, ^init, ^meet
^init:
  nvvm.mbarrier.init %mbarrier, %one : !llvm.ptr<3>, i32
  nvvm.fence.mbarrier.init
  llvm.br ^meet
^meet:
  nvvm.barrier0
  llvm.cond_br %isFirst, ^issue, ^wait
^issue:
  nvvm.mbarrier.arrive.expect_tx %mbarrier, %bytes : !llvm.ptr<3>, i32
  %to = llvm.addrspacecast %box : !llvm.ptr<3> to !llvm.ptr<7>
  nvvm.cp.async.bulk.tensor.shared.cluster.global %to, %map, %mbarrier, box[%c0, %c1, %c2]
      : !llvm.ptr<7>, !llvm.ptr
  llvm.br ^wait
^wait:
  nvvm.mbarrier.try_wait.parity %mbarrier, %zero, %ticks : !llvm.ptr<3>, i32, i32
  llvm.call @dump(%box, %out, %bytes) : (!llvm.ptr<3>, !llvm.ptr<1>, i32) -> ()
  llvm.return
}

llvm.func @tma_store_1d(%map: !llvm.ptr {llvm.byval = !llvm.array<128 x i8>, llvm.align = 64 : i64, nvvm.grid_constant},
    %image: !llvm.ptr<1>, %bytes: i32, %c0: i32)
    attributes {nvvm.kernel, nvvm.reqntid = array<i32: 128, 1, 1>} {
  %box = llvm.mlir.addressof @otodus_shared : !llvm.ptr<3>
  %zero = llvm.mlir.constant(0 : i32) : i32
  llvm.call @fill(%image, %box, %bytes) : (!llvm.ptr<1>, !llvm.ptr<3>, i32) -> ()
  nvvm.fence.proxy {kind = #nvvm.proxy_kind<async.shared>, space = #nvvm.shared_space<cta>}
  nvvm.barrier0
  %t = nvvm.read.ptx.sreg.tid.x : i32
  %isFirst = llvm.icmp "eq" %t, %zero : i32
  llvm.cond_br %isFirst, ^issue, ^end
^issue:
  nvvm.cp.async.bulk.tensor.global.shared.cta %map, %box, box[%c0] : !llvm.ptr, !llvm.ptr<3>
  nvvm.cp.async.bulk.commit.group
  nvvm.cp.async.bulk.wait_group 0
  llvm.br ^end
^end:
  llvm.return
}

llvm.func @tma_store_2d(%map: !llvm.ptr {llvm.byval = !llvm.array<128 x i8>, llvm.align = 64 : i64, nvvm.grid_constant},
    %image: !llvm.ptr<1>, %bytes: i32, %c0: i32, %c1: i32)
    attributes {nvvm.kernel, nvvm.reqntid = array<i32: 128, 1, 1>} {
  %box = llvm.mlir.addressof @otodus_shared : !llvm.ptr<3>
  %zero = llvm.mlir.constant(0 : i32) : i32
  llvm.call @fill(%image, %box, %bytes) : (!llvm.ptr<1>, !llvm.ptr<3>, i32) -> ()
  nvvm.fence.proxy {kind = #nvvm.proxy_kind<async.shared>, space = #nvvm.shared_space<cta>}
  nvvm.barrier0
  %t = nvvm.read.ptx.sreg.tid.x : i32
  %isFirst = llvm.icmp "eq" %t, %zero : i32
  llvm.cond_br %isFirst, ^issue, ^end
^issue:
  nvvm.cp.async.bulk.tensor.global.shared.cta %map, %box, box[%c0, %c1] : !llvm.ptr, !llvm.ptr<3>
  nvvm.cp.async.bulk.commit.group
  nvvm.cp.async.bulk.wait_group 0
  llvm.br ^end
^end:
  llvm.return
}

llvm.func @tma_store_3d(%map: !llvm.ptr {llvm.byval = !llvm.array<128 x i8>, llvm.align = 64 : i64, nvvm.grid_constant},
    %image: !llvm.ptr<1>, %bytes: i32, %c0: i32, %c1: i32, %c2: i32)
    attributes {nvvm.kernel, nvvm.reqntid = array<i32: 128, 1, 1>} {
  %box = llvm.mlir.addressof @otodus_shared : !llvm.ptr<3>
  %zero = llvm.mlir.constant(0 : i32) : i32
  llvm.call @fill(%image, %box, %bytes) : (!llvm.ptr<1>, !llvm.ptr<3>, i32) -> ()
  nvvm.fence.proxy {kind = #nvvm.proxy_kind<async.shared>, space = #nvvm.shared_space<cta>}
  nvvm.barrier0
  %t = nvvm.read.ptx.sreg.tid.x : i32
  %isFirst = llvm.icmp "eq" %t, %zero : i32
  llvm.cond_br %isFirst, ^issue, ^end
^issue:
  nvvm.cp.async.bulk.tensor.global.shared.cta %map, %box, box[%c0, %c1, %c2] : !llvm.ptr, !llvm.ptr<3>
  nvvm.cp.async.bulk.commit.group
  nvvm.cp.async.bulk.wait_group 0
  llvm.br ^end
^end:
  llvm.return
}

llvm.func @tma_add_2d(%map: !llvm.ptr {llvm.byval = !llvm.array<128 x i8>, llvm.align = 64 : i64, nvvm.grid_constant},
    %image: !llvm.ptr<1>, %bytes: i32, %c0: i32, %c1: i32)
    attributes {nvvm.kernel, nvvm.reqntid = array<i32: 128, 1, 1>} {
  %box = llvm.mlir.addressof @otodus_shared : !llvm.ptr<3>
  %zero = llvm.mlir.constant(0 : i32) : i32
  llvm.call @fill(%image, %box, %bytes) : (!llvm.ptr<1>, !llvm.ptr<3>, i32) -> ()
  nvvm.fence.proxy {kind = #nvvm.proxy_kind<async.shared>, space = #nvvm.shared_space<cta>}
  nvvm.barrier0
  %t = nvvm.read.ptx.sreg.tid.x : i32
  %isFirst = llvm.icmp "eq" %t, %zero : i32
  llvm.cond_br %isFirst, ^issue, ^end
^issue:
  nvvm.cp.async.bulk.tensor.reduce %map, %box, box[%c0, %c1] {redKind = #nvvm.tma_redux_kind<add>} : !llvm.ptr, !llvm.ptr<3>
  nvvm.cp.async.bulk.commit.group
  nvvm.cp.async.bulk.wait_group 0
  llvm.br ^end
^end:
  llvm.return
}

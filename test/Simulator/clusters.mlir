// Blocks of a cluster: shared memory of each other, multicast, barriers.
//
// DEFINE: %{exchange} = --kernel=exchange --threads=64 --grid=4 --cluster=2 --arg=out:i32[256]:undef --print=out
// RUN: otodus-sim-run %s %{exchange} | FileCheck %s --check-prefix=EXCHANGE
// RUN: otodus-sim-run %s %{exchange} --order=lifo --workers=2 | FileCheck %s --check-prefix=EXCHANGE
// RUN: otodus-sim-run %s %{exchange} --order=random:5 | FileCheck %s --check-prefix=EXCHANGE
// EXCHANGE: status: ok
// EXCHANGE-NEXT: out = 100 101 {{.*}} 163 0 1 2 {{.*}} 63 300 301 {{.*}} 363 200 201 {{.*}} 263{{$}}

// A block ends while the other may still read its shared memory.
// RUN: sed '/last meeting/d' %s > %t.last.mlir
// RUN: otodus-sim-run %t.last.mlir %{exchange} | FileCheck %s --check-prefix=LAST
// RUN: otodus-sim-run %t.last.mlir %{exchange} --order=random:2 | FileCheck %s --check-prefix=LAST
// LAST: status: {{reports|fault}}
// LAST: cluster: llvm.load at {{.*}} accesses shared memory of block ({{[0-3]}},0,0){{.*}} let the cluster meet after the last access (cluster.arrive and cluster.wait)

// A block reads the other's before that has written.
// RUN: sed '/first meeting/d' %s > %t.first.mlir
// RUN: otodus-sim-run %t.first.mlir %{exchange} | FileCheck %s --check-prefix=FIRST
// FIRST: status: reports
// FIRST-DAG: cluster: llvm.load at {{.*}}, which may not have started: let the cluster meet first
// FIRST-DAG: shared memory race: llvm.{{load|store}} at

// A relaxed arrival orders nothing.
// RUN: sed 's,cluster.arrive // first,cluster.arrive.relaxed // first,' %s > %t.relaxed.mlir
// RUN: otodus-sim-run %t.relaxed.mlir %{exchange} | FileCheck %s --check-prefix=RELAXED
// RELAXED: status: reports
// RELAXED: shared memory race: llvm.{{load|store}} at

// A rank that the cluster does not have.
// RUN: sed 's/%rank = llvm.xor %own, %one/%rank = llvm.add %own, %one/' %s > %t.rank.mlir
// RUN: otodus-sim-run %t.rank.mlir %{exchange} | FileCheck %s --check-prefix=RANK
// RANK: status: fault
// RANK: nvvm.mapa at {{.*}} expected a rank below the cluster's 2 blocks, found 2

// Arriving twice.
// RUN: sed 's,nvvm.cluster.wait // first meeting,nvvm.cluster.arrive,' %s > %t.twice.mlir
// RUN: otodus-sim-run %t.twice.mlir %{exchange} | FileCheck %s --check-prefix=TWICE
// TWICE: status: fault
// TWICE: arrives at the cluster's barrier again without a cluster.wait in between

// DEFINE: %{multicast} = --kernel=multicast --threads=64 --grid=2 --cluster=2 --shared=4096 --hidden=A:bf16[1024]:iota --arg=map:A:64x16:64x8:128 --arg=out:bf16[2048]:undef
// RUN: otodus-sim-run %s %{multicast} --print=out | FileCheck %s --check-prefix=MULTI
// RUN: otodus-sim-run %s %{multicast} --print=out --async=mixed --order=random:1 | FileCheck %s --check-prefix=MULTI
// Row 1 has its chunks of eight exchanged in pairs. TensorCopyTest.cpp compares all of it.
// MULTI: status: ok
// MULTI-NEXT: out = 0 1 2 3 {{.*}} 62 63 72 73 74 75 76 77 78 79 64 65

// Only one of the two halves is waited for.
// RUN: sed 's/constant(2048 : i32)/constant(1024 : i32)/' %s > %t.half.mlir
// RUN: otodus-sim-run %t.half.mlir %{multicast} | FileCheck %s --check-prefix=HALF
// HALF: status: {{reports|fault}}
// HALF: {{asynchronous operation in flight|early exit}}: {{.*}}nvvm.cp.async.bulk.tensor.shared.cluster.global

// The other block's barrier may not be there yet.
// RUN: sed '/barriers are there/d' %s > %t.there.mlir
// RUN: otodus-sim-run %t.there.mlir %{multicast} | FileCheck %s --check-prefix=THERE
// THERE: status: {{reports|fault}}
// THERE: {{there is no mbarrier at shared byte 0: initialise it first|which may not have started}}

// The usual start: relaxed arrivals after the fence of the barriers' initialisation.
// RUN: sed 's,cluster.arrive // barriers are there,cluster.arrive.relaxed,' %s > %t.start.mlir
// RUN: otodus-sim-run %t.start.mlir %{multicast} --print=out | FileCheck %s --check-prefix=MULTI

// DEFINE: %{ping} = --kernel=ping --threads=32 --grid=2 --cluster=2 --arg=out:i32[64]:undef --print=out
// RUN: otodus-sim-run %s %{ping} | FileCheck %s --check-prefix=PING
// PING: status: ok
// PING-NEXT: out = 1000 1001 {{.*}} 1031 0 1 2 {{.*}} 31{{$}}

llvm.mlir.global external @values() {addr_space = 3 : i32, alignment = 128 : i64} : !llvm.array<64 x i32>
llvm.mlir.global external @otodus_shared() {addr_space = 3 : i32, alignment = 1024 : i64} : !llvm.array<0 x i8>

// out[block][t] = 100 * partner + t.
llvm.func @exchange(%out: !llvm.ptr<1>)
    attributes {nvvm.kernel, nvvm.reqntid = array<i32: 64, 1, 1>, nvvm.cluster_dim = array<i32: 2, 1, 1>} {
  %one = llvm.mlir.constant(1 : i32) : i32
  %hundred = llvm.mlir.constant(100 : i32) : i32
  %base = llvm.mlir.addressof @values : !llvm.ptr<3>
  %t = nvvm.read.ptx.sreg.tid.x : i32
  %block = nvvm.read.ptx.sreg.ctaid.x : i32
  %own = nvvm.read.ptx.sreg.cluster.ctarank : i32
  %rank = llvm.xor %own, %one : i32
  %scaled = llvm.mul %block, %hundred : i32
  %value = llvm.add %scaled, %t : i32
  %mine = llvm.getelementptr %base[%t] : (!llvm.ptr<3>, i32) -> !llvm.ptr<3>, i32
  llvm.store %value, %mine : i32, !llvm.ptr<3>
  nvvm.cluster.arrive // first meeting
  nvvm.cluster.wait // first meeting
  %theirs = nvvm.mapa %mine, %rank : !llvm.ptr<3> -> !llvm.ptr<7>
  %read = llvm.load %theirs : !llvm.ptr<7> -> i32
  %size = nvvm.read.ptx.sreg.ntid.x : i32
  %first = llvm.mul %block, %size : i32
  %place = llvm.add %first, %t : i32
  %to = llvm.getelementptr %out[%place] : (!llvm.ptr<1>, i32) -> !llvm.ptr<1>, i32
  llvm.store %read, %to : i32, !llvm.ptr<1>
  nvvm.cluster.arrive // last meeting
  nvvm.cluster.wait // last meeting
  llvm.return
}

// Each block loads 8 of 16 rows for both; out[block] is its shared memory.
llvm.func @multicast(%map: !llvm.ptr {llvm.byval = !llvm.array<128 x i8>, llvm.align = 64 : i64, nvvm.grid_constant},
    %out: !llvm.ptr<1>)
    attributes {nvvm.kernel, nvvm.reqntid = array<i32: 64, 1, 1>, nvvm.cluster_dim = array<i32: 2, 1, 1>} {
  %zero = llvm.mlir.constant(0 : i32) : i32
  %one = llvm.mlir.constant(1 : i32) : i32
  %eight = llvm.mlir.constant(8 : i32) : i32
  %bytes = llvm.mlir.constant(2048 : i32) : i32
  %half = llvm.mlir.constant(256 : i32) : i32
  %words = llvm.mlir.constant(512 : i32) : i32
  %ticks = llvm.mlir.constant(1000000 : i32) : i32
  %both = llvm.mlir.constant(3 : i16) : i16
  %barrier = llvm.mlir.addressof @otodus_shared : !llvm.ptr<3>
  %box = llvm.getelementptr %barrier[1024] : (!llvm.ptr<3>) -> !llvm.ptr<3>, i8
  %t = nvvm.read.ptx.sreg.tid.x : i32
  %size = nvvm.read.ptx.sreg.ntid.x : i32
  %own = nvvm.read.ptx.sreg.cluster.ctarank : i32
  %isFirst = llvm.icmp "eq" %t, %zero : i32
  llvm.cond_br %isFirst, ^init, ^meet
^init:
  nvvm.mbarrier.init %barrier, %one : !llvm.ptr<3>, i32
  nvvm.fence.mbarrier.init
  llvm.br ^meet
^meet:
  nvvm.cluster.arrive // barriers are there
  nvvm.cluster.wait // barriers are there
  llvm.cond_br %isFirst, ^issue, ^wait
^issue:
  nvvm.mbarrier.arrive.expect_tx %barrier, %bytes : !llvm.ptr<3>, i32
  %row = llvm.mul %own, %eight : i32
  %offset = llvm.mul %own, %half : i32
  %part = llvm.getelementptr %box[%offset] : (!llvm.ptr<3>, i32) -> !llvm.ptr<3>, i32
  %to = llvm.addrspacecast %part : !llvm.ptr<3> to !llvm.ptr<7>
  nvvm.cp.async.bulk.tensor.shared.cluster.global %to, %map, %barrier, box[%zero, %row]
      multicast_mask = %both : !llvm.ptr<7>, !llvm.ptr
  llvm.br ^wait
^wait:
  nvvm.mbarrier.try_wait.parity %barrier, %zero, %ticks : !llvm.ptr<3>, i32, i32
  %start = llvm.mul %own, %words : i32
  llvm.br ^copy(%t : i32)
^copy(%i: i32):
  %from = llvm.getelementptr %box[%i] : (!llvm.ptr<3>, i32) -> !llvm.ptr<3>, i32
  %x = llvm.load %from : !llvm.ptr<3> -> i32
  %place = llvm.add %start, %i : i32
  %p = llvm.getelementptr %out[%place] : (!llvm.ptr<1>, i32) -> !llvm.ptr<1>, i32
  llvm.store %x, %p : i32, !llvm.ptr<1>
  %next = llvm.add %i, %size : i32
  %more = llvm.icmp "ult" %next, %words : i32
  llvm.cond_br %more, ^copy(%next : i32), ^end
^end:
  nvvm.cluster.arrive
  nvvm.cluster.wait
  llvm.return
}

// Each block stores into the other's shared memory and tells it by an arrival at its mbarrier.
llvm.func @ping(%out: !llvm.ptr<1>)
    attributes {nvvm.kernel, nvvm.reqntid = array<i32: 32, 1, 1>, nvvm.cluster_dim = array<i32: 2, 1, 1>} {
  %zero = llvm.mlir.constant(0 : i32) : i32
  %one = llvm.mlir.constant(1 : i32) : i32
  %lanes = llvm.mlir.constant(32 : i32) : i32
  %thousand = llvm.mlir.constant(1000 : i32) : i32
  %ticks = llvm.mlir.constant(1000000 : i32) : i32
  %base = llvm.mlir.addressof @values : !llvm.ptr<3>
  %barrier = llvm.getelementptr %base[32] : (!llvm.ptr<3>) -> !llvm.ptr<3>, i32
  %t = nvvm.read.ptx.sreg.tid.x : i32
  %own = nvvm.read.ptx.sreg.cluster.ctarank : i32
  %rank = llvm.xor %own, %one : i32
  %isFirst = llvm.icmp "eq" %t, %zero : i32
  llvm.cond_br %isFirst, ^init, ^meet
^init:
  nvvm.mbarrier.init %barrier, %lanes : !llvm.ptr<3>, i32
  nvvm.fence.mbarrier.init
  llvm.br ^meet
^meet:
  nvvm.cluster.arrive
  nvvm.cluster.wait
  %scaled = llvm.mul %own, %thousand : i32
  %value = llvm.add %scaled, %t : i32
  %mine = llvm.getelementptr %base[%t] : (!llvm.ptr<3>, i32) -> !llvm.ptr<3>, i32
  %theirs = nvvm.mapa %mine, %rank : !llvm.ptr<3> -> !llvm.ptr<7>
  llvm.store %value, %theirs : i32, !llvm.ptr<7>
  %theirBarrier = nvvm.mapa %barrier, %rank : !llvm.ptr<3> -> !llvm.ptr<7>
  nvvm.mbarrier.arrive %theirBarrier {scope = #nvvm.mem_scope<cluster>} : !llvm.ptr<7>
  nvvm.mbarrier.try_wait.parity %barrier, %zero, %ticks : !llvm.ptr<3>, i32, i32
  %read = llvm.load %mine : !llvm.ptr<3> -> i32
  %first = llvm.mul %own, %lanes : i32
  %place = llvm.add %first, %t : i32
  %to = llvm.getelementptr %out[%place] : (!llvm.ptr<1>, i32) -> !llvm.ptr<1>, i32
  llvm.store %read, %to : i32, !llvm.ptr<1>
  llvm.return
}

// Plain bulk copies, and ops of mbarriers beyond those of a ring.
//
// RUN: otodus-sim-run %s --kernel=copy --threads=32 --shared=2048 --arg=from:i32[256]:iota --arg=to:i32[256]:undef --print=to | FileCheck %s --check-prefix=COPY
// RUN: otodus-sim-run %s --kernel=copy --threads=32 --shared=2048 --arg=from:i32[256]:iota --arg=to:i32[256]:undef --print=to --async=early | FileCheck %s --check-prefix=COPY
// COPY: status: ok
// COPY-NEXT: to = 0 1 2 {{.*}} 254 255{{$}}

// RUN: sed 's/%bytes = llvm.mlir.constant(1024/%bytes = llvm.mlir.constant(1016/' %s > %t.size.mlir
// RUN: otodus-sim-run %t.size.mlir --kernel=copy --threads=32 --shared=2048 --arg=from:i32[256]:iota --arg=to:i32[256]:undef | FileCheck %s --check-prefix=SIZE
// SIZE: status: fault
// SIZE: tensor map: nvvm.cp.async.bulk.shared.cluster.global at {{.*}}: expected addresses and a size that are multiples of 16 bytes, found 0 and 0 bytes past one and a size of 1016

// RUN: otodus-sim-run %s --kernel=copy --threads=32 --shared=2048 --arg=from:i32[250]:iota --arg=to:i32[256]:undef | FileCheck %s --check-prefix=BEYOND
// BEYOND: status: fault
// BEYOND: access out of bounds: nvvm.cp.async.bulk.shared.cluster.global at {{.*}}: reads 1024 bytes at byte 0 of 'from', which has 1000 bytes

// RUN: otodus-sim-run %s --kernel=states --threads=64 --arg=out:i32[64]:undef --print=out | FileCheck %s --check-prefix=STATES
// RUN: otodus-sim-run %s --kernel=states --threads=64 --arg=out:i32[64]:undef --print=out --order=random:9 | FileCheck %s --check-prefix=STATES
// STATES: status: ok
// STATES-NEXT: out = 64 65 66 {{.*}} 127{{$}}

// RUN: sed 's/nvvm.mbarrier.init %barrier, %all/nvvm.mbarrier.init %barrier, %none/' %s > %t.none.mlir
// RUN: otodus-sim-run %t.none.mlir --kernel=states --threads=64 --arg=out:i32[64]:undef | FileCheck %s --check-prefix=NONE
// NONE: barrier object: nvvm.mbarrier.init at {{.*}}: expected a count from 1 to 2^20 - 1, found 0

// RUN: otodus-sim-run %s --kernel=registers --threads=256 --arg=i32:0 | FileCheck %s --check-prefix=REGISTERS
// REGISTERS: status: ok
// RUN: sed 's/increase 232/increase 240/; s/decrease 40/decrease 48/' %s > %t.many.mlir
// RUN: otodus-sim-run %t.many.mlir --kernel=registers --threads=384 --arg=i32:0 | FileCheck %s --check-prefix=MANY
// MANY: status: fault
// MANY: registers: nvvm.setmaxregister at {{.*}}: asks for 240 registers per thread, with which the block's warps hold 67584; a multiprocessor has 65536, so the op would wait forever

llvm.mlir.global external @otodus_shared() {addr_space = 3 : i32, alignment = 1024 : i64} : !llvm.array<0 x i8>
llvm.mlir.global external @values() {addr_space = 3 : i32, alignment = 128 : i64} : !llvm.array<66 x i32>

// 1024 bytes into shared memory and out of it, by one thread.
llvm.func @copy(%from: !llvm.ptr<1>, %to: !llvm.ptr<1>) attributes {nvvm.kernel} {
  %zero = llvm.mlir.constant(0 : i32) : i32
  %one = llvm.mlir.constant(1 : i32) : i32
  %bytes = llvm.mlir.constant(1024 : i32) : i32
  %ticks = llvm.mlir.constant(1000000 : i32) : i32
  %barrier = llvm.mlir.addressof @values : !llvm.ptr<3>
  %memory = llvm.mlir.addressof @otodus_shared : !llvm.ptr<3>
  %t = nvvm.read.ptx.sreg.tid.x : i32
  %isFirst = llvm.icmp "eq" %t, %zero : i32
  llvm.cond_br %isFirst, ^work, ^end
^work:
  nvvm.mbarrier.init %barrier, %one : !llvm.ptr<3>, i32
  nvvm.fence.proxy {kind = #nvvm.proxy_kind<async.shared>, space = #nvvm.shared_space<cta>}
  nvvm.mbarrier.arrive.expect_tx %barrier, %bytes : !llvm.ptr<3>, i32
  %cluster = llvm.addrspacecast %memory : !llvm.ptr<3> to !llvm.ptr<7>
  nvvm.cp.async.bulk.shared.cluster.global %cluster, %from, %barrier, %bytes : !llvm.ptr<7>, !llvm.ptr<1>
  nvvm.mbarrier.try_wait.parity %barrier, %zero, %ticks : !llvm.ptr<3>, i32, i32
  nvvm.cp.async.bulk.global.shared.cta %to, %memory, %bytes : !llvm.ptr<1>, !llvm.ptr<3>
  nvvm.cp.async.bulk.commit.group
  nvvm.cp.async.bulk.wait_group 0
  nvvm.mbarrier.inval %barrier : !llvm.ptr<3>
  llvm.br ^end
^end:
  llvm.return
}

// Threads exchange values through shared memory: phase 0 is told by a state, phase 1 by polling.
llvm.func @states(%out: !llvm.ptr<1>) attributes {nvvm.kernel} {
  %zero = llvm.mlir.constant(0 : i32) : i32
  %none = llvm.mlir.constant(0 : i32) : i32
  %one = llvm.mlir.constant(1 : i32) : i32
  %all = llvm.mlir.constant(64 : i32) : i32
  %last = llvm.mlir.constant(63 : i32) : i32
  %values = llvm.mlir.addressof @values : !llvm.ptr<3>
  %barrier = llvm.getelementptr %values[64] : (!llvm.ptr<3>) -> !llvm.ptr<3>, i32
  %t = nvvm.read.ptx.sreg.tid.x : i32
  %isFirst = llvm.icmp "eq" %t, %zero : i32
  llvm.cond_br %isFirst, ^init, ^meet
^init:
  nvvm.mbarrier.init %barrier, %all : !llvm.ptr<3>, i32
  llvm.br ^meet
^meet:
  nvvm.barrier0
  %reversed = llvm.sub %last, %t : i32
  %mine = llvm.getelementptr %values[%t] : (!llvm.ptr<3>, i32) -> !llvm.ptr<3>, i32
  %theirs = llvm.getelementptr %values[%reversed] : (!llvm.ptr<3>, i32) -> !llvm.ptr<3>, i32
  llvm.store %reversed, %mine : i32, !llvm.ptr<3>
  %state = nvvm.mbarrier.arrive %barrier : !llvm.ptr<3> -> i64
  llvm.br ^wait
^wait:
  %done = nvvm.mbarrier.try_wait %barrier, %state : !llvm.ptr<3>, i64 -> i1
  llvm.cond_br %done, ^read, ^wait
^read:
  %x = llvm.load %theirs : !llvm.ptr<3> -> i32
  %ignored = nvvm.mbarrier.arrive %barrier : !llvm.ptr<3> -> i64
  llvm.br ^poll
^poll:
  %over = nvvm.mbarrier.test.wait %barrier, %one : !llvm.ptr<3>, i32 -> i1
  llvm.cond_br %over, ^write, ^poll
^write:
  %more = llvm.add %x, %all : i32
  llvm.store %more, %mine : i32, !llvm.ptr<3>
  %again = llvm.load %mine : !llvm.ptr<3> -> i32
  %to = llvm.getelementptr %out[%t] : (!llvm.ptr<1>, i32) -> !llvm.ptr<1>, i32
  llvm.store %again, %to : i32, !llvm.ptr<1>
  llvm.return
}

// The first warp group gives registers to the others.
llvm.func @registers(%unused: i32) attributes {nvvm.kernel} {
  %four = llvm.mlir.constant(4 : i32) : i32
  %five = llvm.mlir.constant(5 : i32) : i32
  %t = nvvm.read.ptx.sreg.tid.x : i32
  %warp = llvm.lshr %t, %five : i32
  %isProducer = llvm.icmp "ult" %warp, %four : i32
  llvm.cond_br %isProducer, ^producer, ^consumer
^producer:
  nvvm.setmaxregister decrease 40
  llvm.br ^end
^consumer:
  nvvm.setmaxregister increase 232
  llvm.br ^end
^end:
  llvm.return
}

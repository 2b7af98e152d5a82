// Barriers of a block: what completes them, and what is wrong with the ways threads come to them.

// RUN: otodus-sim-run %s --kernel=divergent --threads=64 | FileCheck %s --check-prefix=DIVERGENT
// RUN: otodus-sim-run %s --kernel=half_a_warp --threads=64 | FileCheck %s --check-prefix=DEADLOCK
// RUN: otodus-sim-run %s --kernel=early_exit --threads=64 --arg=out:i32[1]:0 --print=out | FileCheck %s --check-prefix=EXIT
// RUN: otodus-sim-run %s --kernel=early_exit --threads=64 --arg=out:i32[1]:0 --order=lifo | FileCheck %s --check-prefix=EXIT
// RUN: otodus-sim-run %s --kernel=counts --threads=128 --arg=i32:64 --arg=i32:96 | FileCheck %s --check-prefix=COUNT
// RUN: otodus-sim-run %s --kernel=counts --threads=128 --arg=i32:40 --arg=i32:40 | FileCheck %s --check-prefix=WHOLE
// RUN: otodus-sim-run %s --kernel=counts --threads=128 --arg=i32:256 --arg=i32:256 | FileCheck %s --check-prefix=MANY
// RUN: otodus-sim-run %s --kernel=counts --threads=128 --arg=i32:64 --arg=i32:64 | FileCheck %s --check-prefix=OK
// RUN: otodus-sim-run %s --kernel=counts --threads=96 --arg=i32:64 --arg=i32:64 | FileCheck %s --check-prefix=MISSING
// RUN: otodus-sim-run %s --kernel=handover --threads=64 --arg=out:i32[32]:undef --arg=i32:1 --print=out | FileCheck %s --check-prefix=HANDOVER
// RUN: otodus-sim-run %s --kernel=handover --threads=64 --arg=out:i32[32]:undef --arg=i32:1 --print=out --order=lifo | FileCheck %s --check-prefix=HANDOVER
// RUN: otodus-sim-run %s --kernel=handover --threads=64 --arg=out:i32[32]:undef --arg=i32:2 | FileCheck %s --check-prefix=OTHERID
// RUN: otodus-sim-run %s --kernel=reduced --threads=64 --arg=out:i32[64]:undef --print=out | FileCheck %s --check-prefix=REDUCED

// Lanes of one warp come to two different barrier0.

// DIVERGENT: status: fault
// DIVERGENT-NEXT: divergent: divergent barrier: nvvm.barrier0 at {{.*}}barriers.mlir:[[#]]:3: thread 16 arrives at barrier 0, but other lanes of its warp 0 are at nvvm.barrier0 at {{.*}}barriers.mlir:[[#]]:3 (thread 16 of block (0,0,0))
llvm.func @divergent() attributes {nvvm.kernel} {
  %half = llvm.mlir.constant(16 : i32) : i32
  %t = nvvm.read.ptx.sreg.tid.x : i32
  %low = llvm.icmp "slt" %t, %half : i32
  llvm.cond_br %low, ^a, ^b
^a:
  nvvm.barrier0
  llvm.br ^end
^b:
  nvvm.barrier0
  llvm.br ^end
^end:
  llvm.return
}

// Half of a warp waits at a barrier, the others for their lanes.

// DEADLOCK: status: fault
// DEADLOCK-NEXT: half_a_warp: deadlock: all threads that have not returned wait for each other
// DEADLOCK-NEXT:   block (0,0,0): threads 16-31 wait at nvvm.bar.warp.sync at {{.*}}:[[#]]:3, for the other lanes of its warp
// DEADLOCK-NEXT:   block (0,0,0): threads 0-15, 32-63 wait at nvvm.barrier0 at {{.*}}:[[#]]:3, for the block's barrier
llvm.func @half_a_warp() attributes {nvvm.kernel} {
  %all = llvm.mlir.constant(-1 : i32) : i32
  %low = llvm.mlir.constant(16 : i32) : i32
  %high = llvm.mlir.constant(32 : i32) : i32
  %t = nvvm.read.ptx.sreg.tid.x : i32
  %a = llvm.icmp "sge" %t, %low : i32
  %b = llvm.icmp "slt" %t, %high : i32
  %middle = llvm.and %a, %b : i1
  llvm.cond_br %middle, ^sync, ^barrier
^sync:
  nvvm.bar.warp.sync %all : i32
  llvm.br ^barrier
^barrier:
  nvvm.barrier0
  llvm.return
}

// Threads 48 to 63 return before the barrier. The others go on, as they would on a GPU.

// EXIT: status: reports
// EXIT-NEXT: early_exit: early exit: nvvm.barrier0 at {{.*}}:[[#]]:3: a barrier of all 64 threads, but threads {{.*}}63{{.*}}have returned (block (0,0,0))
llvm.func @early_exit(%out: !llvm.ptr<1>) attributes {nvvm.kernel} {
  %zero = llvm.mlir.constant(0 : i32) : i32
  %seven = llvm.mlir.constant(7 : i32) : i32
  %some = llvm.mlir.constant(48 : i32) : i32
  %t = nvvm.read.ptx.sreg.tid.x : i32
  %stays = llvm.icmp "slt" %t, %some : i32
  llvm.cond_br %stays, ^barrier, ^end
^barrier:
  nvvm.barrier0
  %first = llvm.icmp "eq" %t, %zero : i32
  llvm.cond_br %first, ^write, ^end
^write:
  llvm.store %seven, %out : i32, !llvm.ptr<1>
  llvm.br ^end
^end:
  llvm.return
}

// Warps 0 and 1 count %a threads, the others %b, all at barrier 3.

// COUNT: status: fault
// COUNT-NEXT: counts: barrier count mismatch: nvvm.barrier at {{.*}}: barrier 3 is to count 96 threads here, but [[#]] threads are at it with a count of 64 (thread [[#]] of block (0,0,0))
// WHOLE: counts: barrier count mismatch: nvvm.barrier at {{.*}}: barrier 3 is to count 40 threads: it must be a multiple of 32 and at most the block's 128
// MANY: counts: barrier count mismatch: nvvm.barrier at {{.*}}: barrier 3 is to count 256 threads
// OK: status: ok
// MISSING: counts: deadlock
// MISSING: threads 32-63 wait at nvvm.barrier
llvm.func @counts(%a: i32, %b: i32) attributes {nvvm.kernel} {
  %three = llvm.mlir.constant(3 : i32) : i32
  %two = llvm.mlir.constant(2 : i32) : i32
  // Thread 63 is late, so that warps 0 and 2 come first: a barrier counts whole warps.
  %w = nvvm.read.ptx.sreg.warpid : i32
  %t = nvvm.read.ptx.sreg.tid.x : i32
  %even = llvm.and %w, %two : i32
  %zero = llvm.mlir.constant(0 : i32) : i32
  %lower = llvm.icmp "eq" %even, %zero : i32
  %some = llvm.mlir.constant(63 : i32) : i32
  %lastLower = llvm.icmp "eq" %t, %some : i32
  llvm.cond_br %lastLower, ^late, ^now
^late:
  nvvm.nanosleep %three
  llvm.br ^now
^now:
  %count = llvm.select %lower, %a, %b : i1, i32
  nvvm.barrier id = %three number_of_threads = %count
  llvm.return
}

// Warp 0 writes, warp 1 reads: it waits at barrier 1, where warp 0 only arrives. With another id
// the two never meet.

// HANDOVER: status: ok
// HANDOVER-NEXT: out = 0 1 2 3
// OTHERID: handover: deadlock: all threads that have not returned wait for each other
// OTHERID-NEXT: threads 32-63 wait at nvvm.barrier at
// OTHERID-NEXT: threads 0-31 have returned
llvm.mlir.global external @mail() {addr_space = 3 : i32, alignment = 16 : i64} : !llvm.array<32 x i32>
llvm.func @handover(%out: !llvm.ptr<1>, %id: i32) attributes {nvvm.kernel} {
  %base = llvm.mlir.addressof @mail : !llvm.ptr<3>
  %zero = llvm.mlir.constant(0 : i32) : i32
  %one = llvm.mlir.constant(1 : i32) : i32
  %both = llvm.mlir.constant(64 : i32) : i32
  %lane = nvvm.read.ptx.sreg.laneid : i32
  %w = nvvm.read.ptx.sreg.warpid : i32
  %at = llvm.getelementptr %base[%lane] : (!llvm.ptr<3>, i32) -> !llvm.ptr<3>, i32
  %writes = llvm.icmp "eq" %w, %zero : i32
  llvm.cond_br %writes, ^write, ^read
^write:
  llvm.store %lane, %at : i32, !llvm.ptr<3>
  nvvm.barrier.arrive id = %id number_of_threads = %both
  llvm.br ^end
^read:
  nvvm.barrier id = %one number_of_threads = %both
  %x = llvm.load %at : !llvm.ptr<3> -> i32
  %to = llvm.getelementptr %out[%lane] : (!llvm.ptr<1>, i32) -> !llvm.ptr<1>, i32
  llvm.store %x, %to : i32, !llvm.ptr<1>
  llvm.br ^end
^end:
  llvm.return
}

// How many threads have an odd number.

// REDUCED: status: ok
// REDUCED-NEXT: out = 32 32 32
llvm.func @reduced(%out: !llvm.ptr<1>) attributes {nvvm.kernel} {
  %one = llvm.mlir.constant(1 : i32) : i32
  %t = nvvm.read.ptx.sreg.tid.x : i32
  %odd = llvm.and %t, %one : i32
  %n = nvvm.barrier #nvvm.reduction<popc> %odd -> i32
  %to = llvm.getelementptr %out[%t] : (!llvm.ptr<1>, i32) -> !llvm.ptr<1>, i32
  llvm.store %n, %to : i32, !llvm.ptr<1>
  llvm.return
}

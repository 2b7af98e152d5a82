// Who may touch a byte when: what orders two threads, and what does not.

// RUN: otodus-sim-run %s --kernel=missing_barrier --threads=64 --arg=out:f32[64]:undef | FileCheck %s --check-prefix=MISSING
// RUN: otodus-sim-run %s --kernel=missing_barrier --threads=64 --arg=out:f32[64]:undef --order=lifo | FileCheck %s --check-prefix=MISSING
// RUN: otodus-sim-run %s --kernel=missing_barrier --threads=64 --arg=out:f32[64]:undef --order=random:3 | FileCheck %s --check-prefix=MISSING
// RUN: otodus-sim-run %s --kernel=with_barrier --threads=64 --arg=out:f32[64]:undef --print=out | FileCheck %s --check-prefix=BARRIER
// RUN: otodus-sim-run %s --kernel=with_warp_sync --threads=64 --arg=out:f32[64]:undef --print=out | FileCheck %s --check-prefix=WARP
// RUN: otodus-sim-run %s --kernel=with_shuffle --threads=32 --arg=out:f32[64]:undef | FileCheck %s --check-prefix=SHUFFLE
// RUN: otodus-sim-run %s --kernel=same_word --threads=32 --arg=out:i32[64]:undef --print=out | FileCheck %s --check-prefix=HALVES
// RUN: otodus-sim-run %s --kernel=write_after_read --threads=64 --arg=out:f32[64]:undef | FileCheck %s --check-prefix=WAR
// RUN: otodus-sim-run %s --kernel=blocks --grid=3 --threads=32 --arg=out:i32[1]:undef | FileCheck %s --check-prefix=BLOCKS
// RUN: otodus-sim-run %s --kernel=blocks --grid=3 --threads=32 --arg=out:i32[1]:undef --workers=3 | FileCheck %s --check-prefix=BLOCKS
// RUN: otodus-sim-run %s --kernel=blocks_atomic --grid=3 --threads=32 --arg=out:i32[1]:0 --print=out --workers=2 | FileCheck %s --check-prefix=ATOMIC
// RUN: otodus-sim-run %s --kernel=global_race --threads=64 --arg=out:i32[64]:0 --checks=fast | FileCheck %s --check-prefix=GLOBAL
// RUN: otodus-sim-run %s --kernel=read_then_write --grid=2 --threads=1 --arg=a:i32[2]:0 --checks=full | FileCheck %s --check-prefix=CROSS
// RUN: otodus-sim-run %s --kernel=read_then_write --grid=2 --threads=1 --arg=a:i32[2]:0 --checks=full --workers=2 | FileCheck %s --check-prefix=CROSS
// RUN: otodus-sim-run %s --kernel=missing_barrier --threads=64 --arg=out:f32[64]:undef --checks=none | FileCheck %s --check-prefix=NONE

llvm.mlir.global external @shared() {addr_space = 3 : i32, alignment = 128 : i64} : !llvm.array<64 x f32>

// Each thread writes its element and reads the next one's.

// MISSING: status: reports
// MISSING: missing_barrier: shared memory race: llvm.{{load|store}} at {{.*}}races.mlir:[[#]]:[[#]] {{reads|writes}} shared byte [[#]] (thread [[#]] of block (0,0,0)), which llvm.{{load|store}} at {{.*}}races.mlir:[[#]]:[[#]] {{wrote|read}} (thread [[#]]): no barrier orders the two
// NONE: status: ok
// NONE-NOT: race
llvm.func @missing_barrier(%out: !llvm.ptr<1>) attributes {nvvm.kernel} {
  %base = llvm.mlir.addressof @shared : !llvm.ptr<3>
  %one = llvm.mlir.constant(1 : i32) : i32
  %last = llvm.mlir.constant(63 : i32) : i32
  %t = nvvm.read.ptx.sreg.tid.x : i32
  %value = llvm.sitofp %t : i32 to f32
  %mine = llvm.getelementptr %base[%t] : (!llvm.ptr<3>, i32) -> !llvm.ptr<3>, f32
  llvm.store %value, %mine : f32, !llvm.ptr<3>
  %after = llvm.add %t, %one : i32
  %next = llvm.and %after, %last : i32
  %other = llvm.getelementptr %base[%next] : (!llvm.ptr<3>, i32) -> !llvm.ptr<3>, f32
  %read = llvm.load %other : !llvm.ptr<3> -> f32
  %to = llvm.getelementptr %out[%t] : (!llvm.ptr<1>, i32) -> !llvm.ptr<1>, f32
  llvm.store %read, %to : f32, !llvm.ptr<1>
  llvm.return
}

// BARRIER: status: ok
// BARRIER-NEXT: out = 1 2 3 {{.*}} 63 0
llvm.func @with_barrier(%out: !llvm.ptr<1> {llvm.noalias}) attributes {nvvm.kernel} {
  %base = llvm.mlir.addressof @shared : !llvm.ptr<3>
  %one = llvm.mlir.constant(1 : i32) : i32
  %last = llvm.mlir.constant(63 : i32) : i32
  %t = nvvm.read.ptx.sreg.tid.x : i32
  %value = llvm.sitofp %t : i32 to f32
  %mine = llvm.getelementptr %base[%t] : (!llvm.ptr<3>, i32) -> !llvm.ptr<3>, f32
  llvm.store %value, %mine : f32, !llvm.ptr<3>
  nvvm.barrier0
  %after = llvm.add %t, %one : i32
  %next = llvm.and %after, %last : i32
  %other = llvm.getelementptr %base[%next] : (!llvm.ptr<3>, i32) -> !llvm.ptr<3>, f32
  %read = llvm.load %other : !llvm.ptr<3> -> f32
  %to = llvm.getelementptr %out[%t] : (!llvm.ptr<1>, i32) -> !llvm.ptr<1>, f32
  llvm.store %read, %to : f32, !llvm.ptr<1>
  llvm.return
}

// bar.warp.sync orders the lanes of a warp: neighbours by xor stay inside of it.

// WARP: status: ok
// WARP-NEXT: out = 1 0 3 2
llvm.func @with_warp_sync(%out: !llvm.ptr<1>) attributes {nvvm.kernel} {
  %base = llvm.mlir.addressof @shared : !llvm.ptr<3>
  %one = llvm.mlir.constant(1 : i32) : i32
  %all = llvm.mlir.constant(-1 : i32) : i32
  %t = nvvm.read.ptx.sreg.tid.x : i32
  %value = llvm.sitofp %t : i32 to f32
  %mine = llvm.getelementptr %base[%t] : (!llvm.ptr<3>, i32) -> !llvm.ptr<3>, f32
  llvm.store %value, %mine : f32, !llvm.ptr<3>
  nvvm.bar.warp.sync %all : i32
  %next = llvm.xor %t, %one : i32
  %other = llvm.getelementptr %base[%next] : (!llvm.ptr<3>, i32) -> !llvm.ptr<3>, f32
  %read = llvm.load %other : !llvm.ptr<3> -> f32
  %to = llvm.getelementptr %out[%t] : (!llvm.ptr<1>, i32) -> !llvm.ptr<1>, f32
  llvm.store %read, %to : f32, !llvm.ptr<1>
  llvm.return
}

// A shuffle makes lanes meet, but promises nothing about memory.

// SHUFFLE: status: reports
// SHUFFLE-NEXT: with_shuffle: shared memory race: llvm.load
llvm.func @with_shuffle(%out: !llvm.ptr<1>) attributes {nvvm.kernel} {
  %base = llvm.mlir.addressof @shared : !llvm.ptr<3>
  %one = llvm.mlir.constant(1 : i32) : i32
  %all = llvm.mlir.constant(-1 : i32) : i32
  %clamp = llvm.mlir.constant(31 : i32) : i32
  %t = nvvm.read.ptx.sreg.tid.x : i32
  %value = llvm.sitofp %t : i32 to f32
  %mine = llvm.getelementptr %base[%t] : (!llvm.ptr<3>, i32) -> !llvm.ptr<3>, f32
  llvm.store %value, %mine : f32, !llvm.ptr<3>
  %next = nvvm.shfl.sync bfly %all, %t, %one, %clamp : i32 -> i32
  %other = llvm.getelementptr %base[%next] : (!llvm.ptr<3>, i32) -> !llvm.ptr<3>, f32
  %read = llvm.load %other : !llvm.ptr<3> -> f32
  %to = llvm.getelementptr %out[%t] : (!llvm.ptr<1>, i32) -> !llvm.ptr<1>, f32
  llvm.store %read, %to : f32, !llvm.ptr<1>
  llvm.return
}

// Two lanes write the halves of one word: no race. After the barrier a lane reads the word.

// HALVES: status: ok
// HALVES-NEXT: out = 65536 196610
llvm.func @same_word(%out: !llvm.ptr<1>) attributes {nvvm.kernel} {
  %base = llvm.mlir.addressof @shared : !llvm.ptr<3>
  %half = llvm.mlir.constant(15 : i32) : i32
  %t = nvvm.read.ptx.sreg.tid.x : i32
  %value = llvm.trunc %t : i32 to i16
  %mine = llvm.getelementptr %base[%t] : (!llvm.ptr<3>, i32) -> !llvm.ptr<3>, i16
  llvm.store %value, %mine : i16, !llvm.ptr<3>
  nvvm.barrier0
  %word = llvm.and %t, %half : i32
  %other = llvm.getelementptr %base[%word] : (!llvm.ptr<3>, i32) -> !llvm.ptr<3>, i32
  %read = llvm.load %other : !llvm.ptr<3> -> i32
  %to = llvm.getelementptr %out[%t] : (!llvm.ptr<1>, i32) -> !llvm.ptr<1>, i32
  llvm.store %read, %to : i32, !llvm.ptr<1>
  llvm.return
}

// All threads read a word; then thread 0 writes it without a second barrier.

// WAR: status: reports
// WAR: write_after_read: shared memory race:
llvm.func @write_after_read(%out: !llvm.ptr<1>) attributes {nvvm.kernel} {
  %base = llvm.mlir.addressof @shared : !llvm.ptr<3>
  %zero = llvm.mlir.constant(0 : i32) : i32
  %t = nvvm.read.ptx.sreg.tid.x : i32
  %value = llvm.sitofp %t : i32 to f32
  %mine = llvm.getelementptr %base[%t] : (!llvm.ptr<3>, i32) -> !llvm.ptr<3>, f32
  llvm.store %value, %mine : f32, !llvm.ptr<3>
  nvvm.barrier0
  %read = llvm.load %base : !llvm.ptr<3> -> f32
  %to = llvm.getelementptr %out[%t] : (!llvm.ptr<1>, i32) -> !llvm.ptr<1>, f32
  llvm.store %read, %to : f32, !llvm.ptr<1>
  %first = llvm.icmp "eq" %t, %zero : i32
  llvm.cond_br %first, ^write, ^end
^write:
  llvm.store %value, %base : f32, !llvm.ptr<3>
  llvm.br ^end
^end:
  llvm.return
}

// Lane 0 of every block writes the same element.

// BLOCKS: status: reports
// BLOCKS-NEXT: blocks: blocks collide in global memory: llvm.store at {{.*}}races.mlir:[[#]]:[[#]] writes byte {{[0-3]}} of 'out' ({{.*}}block ({{[12]}},0,0){{.*}}, which block ({{[01]}},0,0) wrote in the same launch by llvm.store
llvm.func @blocks(%out: !llvm.ptr<1>) attributes {nvvm.kernel} {
  %zero = llvm.mlir.constant(0 : i32) : i32
  %t = nvvm.read.ptx.sreg.tid.x : i32
  %first = llvm.icmp "eq" %t, %zero : i32
  llvm.cond_br %first, ^write, ^end
^write:
  llvm.store %t, %out : i32, !llvm.ptr<1>
  llvm.br ^end
^end:
  llvm.return
}

// ATOMIC: status: ok
// ATOMIC-NEXT: out = 96
llvm.func @blocks_atomic(%out: !llvm.ptr<1>) attributes {nvvm.kernel} {
  %one = llvm.mlir.constant(1 : i32) : i32
  %old = llvm.atomicrmw add %out, %one monotonic : !llvm.ptr<1>, i32
  llvm.return
}

// In global memory threads of a block race too.

// GLOBAL: status: reports
// GLOBAL-NEXT: global_race: global memory race: llvm.load at {{.*}} reads byte [[#]] of 'out' (thread [[#]] of block (0,0,0)), which llvm.store at {{.*}} wrote (thread [[#]]): no barrier orders the two
llvm.func @global_race(%out: !llvm.ptr<1>) attributes {nvvm.kernel} {
  %last = llvm.mlir.constant(63 : i32) : i32
  %t = nvvm.read.ptx.sreg.tid.x : i32
  %mine = llvm.getelementptr %out[%t] : (!llvm.ptr<1>, i32) -> !llvm.ptr<1>, i32
  llvm.store %t, %mine : i32, !llvm.ptr<1>
  %next = llvm.xor %t, %last : i32
  %other = llvm.getelementptr %out[%next] : (!llvm.ptr<1>, i32) -> !llvm.ptr<1>, i32
  %read = llvm.load %other : !llvm.ptr<1> -> i32
  %bad = llvm.icmp "slt" %read, %t : i32
  llvm.return
}

// Block b reads element b and writes element 1 - b.

// CROSS: status: reports
// CROSS-NEXT: read_then_write: blocks collide in global memory:
llvm.func @read_then_write(%a: !llvm.ptr<1>) attributes {nvvm.kernel} {
  %one = llvm.mlir.constant(1 : i32) : i32
  %b = nvvm.read.ptx.sreg.ctaid.x : i32
  %mine = llvm.getelementptr %a[%b] : (!llvm.ptr<1>, i32) -> !llvm.ptr<1>, i32
  %read = llvm.load %mine : !llvm.ptr<1> -> i32
  %next = llvm.xor %b, %one : i32
  %other = llvm.getelementptr %a[%next] : (!llvm.ptr<1>, i32) -> !llvm.ptr<1>, i32
  llvm.store %read, %other : i32, !llvm.ptr<1>
  llvm.return
}

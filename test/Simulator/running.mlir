// Launches: loops that wait for others, time, workers, kernels that never end, order of reports.

// A thread that spins lets the others run; whoever comes first.
// RUN: otodus-sim-run %s --kernel=flag --threads=64 --arg=out:i32[1]:0 --print=out | FileCheck %s --check-prefix=FLAG
// RUN: otodus-sim-run %s --kernel=flag --threads=64 --arg=out:i32[1]:0 --print=out --order=lifo | FileCheck %s --check-prefix=FLAG
// RUN: otodus-sim-run %s --kernel=flag --threads=64 --arg=out:i32[1]:0 --print=out --order=random:9 | FileCheck %s --check-prefix=FLAG
// FLAG: status: ok
// FLAG-NEXT: out = 5

// Relaxed atomics with fences around them order memory too; without fences they do not.
// RUN: sed 's/^  llvm.store %c1, %word atomic release/  nvvm.memory.barrier #nvvm.mem_scope<cta>\n  llvm.store %c1, %word atomic monotonic/; s/atomic acquire/atomic monotonic/; s/^  \/\/ Ordered/  nvvm.memory.barrier #nvvm.mem_scope<cta>\n  \/\/ Ordered/' %s > %t.fence.mlir
// RUN: otodus-sim-run %t.fence.mlir --kernel=flag --threads=64 --arg=out:i32[1]:0 --print=out | FileCheck %s --check-prefix=FLAG
// RUN: sed '/memory.barrier/d' %t.fence.mlir > %t.relaxed.mlir
// RUN: otodus-sim-run %t.relaxed.mlir --kernel=flag --threads=64 --arg=out:i32[1]:0 | FileCheck %s --check-prefix=RELAXED
// RELAXED: status: reports
// RELAXED-NEXT: flag: global memory race:

// RUN: otodus-sim-run %s --kernel=endless --threads=32 --timeout=0.2 | FileCheck %s --check-prefix=TIME
// TIME: status: timeout
// TIME-NEXT: endless: timeout: the kernel had not ended when its time was up

// Blocks that wait for each other need a cooperative launch.
// RUN: otodus-sim-run %s --kernel=grid_barrier --grid=4 --threads=32 --arg=count:i32[1]:0 --arg=out:i32[4]:undef --cooperative --print=out | FileCheck %s --check-prefix=GRID
// RUN: otodus-sim-run %s --kernel=grid_barrier --grid=4 --threads=32 --arg=count:i32[1]:0 --arg=out:i32[4]:undef --timeout=0.2 | FileCheck %s --check-prefix=ALONE
// GRID: status: ok
// GRID-NEXT: out = 4 4 4 4
// ALONE: status: timeout

// Coordinates of threads and blocks in three dimensions.
// RUN: otodus-sim-run %s --kernel=where --grid=2x3x2 --threads=4x2x2 --arg=out:i32[192]:undef --print=out --workers=3 | FileCheck %s --check-prefix=WHERE
// WHERE: status: ok
// WHERE-NEXT: out = 0 1 2 3 4 5 6 7 8 9 {{.*}} 95 96 97 {{.*}} 190 191
// RUN: otodus-sim-run %s --kernel=where --grid=0 --threads=32 --arg=out:i32[1]:undef | FileCheck %s --check-prefix=EMPTY
// EMPTY: where: launch: an empty grid 0x1x1
// RUN: otodus-sim-run %s --kernel=where --grid=1 --threads=2048 --arg=out:i32[1]:undef | FileCheck %s --check-prefix=MANY
// MANY: where: launch: a block of 2048x1x1 threads; 1 to 1024 are possible

// Reports are the same however many workers there are.
// RUN: otodus-sim-run %s --kernel=unwritten --grid=16 --threads=32 --arg=in:i32[512]:undef > %t.1
// RUN: otodus-sim-run %s --kernel=unwritten --grid=16 --threads=32 --arg=in:i32[512]:undef --workers=5 > %t.5
// RUN: diff %t.1 %t.5
// RUN: FileCheck %s --check-prefix=SAME < %t.1
// SAME: status: reports
// SAME-NEXT: unwritten: read of uninitialised memory: llvm.load at {{.*}} (a.name) reads byte 0 of 'in', which nobody has written (thread 0 of block (0,0,0)) [512 times]

llvm.mlir.global external @word() {addr_space = 3 : i32, alignment = 16 : i64} : !llvm.array<1 x i32>

llvm.func @flag(%out: !llvm.ptr<1>) attributes {nvvm.kernel} {
  %c0 = llvm.mlir.constant(0 : i32) : i32
  %c1 = llvm.mlir.constant(1 : i32) : i32
  %c5 = llvm.mlir.constant(5 : i32) : i32
  %c40 = llvm.mlir.constant(40 : i32) : i32
  %word = llvm.mlir.addressof @word : !llvm.ptr<3>
  %t = nvvm.read.ptx.sreg.tid.x : i32
  %writes = llvm.icmp "eq" %t, %c40 : i32
  %waits = llvm.icmp "eq" %t, %c0 : i32
  llvm.cond_br %waits, ^zero, ^start
^zero:
  llvm.store %c0, %word : i32, !llvm.ptr<3>
  llvm.br ^start
^start:
  nvvm.barrier0
  llvm.cond_br %writes, ^write, ^maybe
^write:
  llvm.store %c5, %out : i32, !llvm.ptr<1>
  llvm.store %c1, %word atomic release {alignment = 4 : i64} : i32, !llvm.ptr<3>
  llvm.return
^maybe:
  llvm.cond_br %waits, ^spin, ^end
^spin:
  %x = llvm.load %word atomic acquire {alignment = 4 : i64} : !llvm.ptr<3> -> i32
  %again = llvm.icmp "eq" %x, %c0 : i32
  llvm.cond_br %again, ^spin, ^read
^read:
  // Ordered after the write by the flag.
  %y = llvm.load %out : !llvm.ptr<1> -> i32
  llvm.store %y, %out : i32, !llvm.ptr<1>
  llvm.br ^end
^end:
  llvm.return
}

llvm.func @endless() attributes {nvvm.kernel} {
  llvm.br ^loop
^loop:
  llvm.br ^loop
}

llvm.func @grid_barrier(%count: !llvm.ptr<1>, %out: !llvm.ptr<1>) attributes {nvvm.kernel} {
  %c0 = llvm.mlir.constant(0 : i32) : i32
  %c1 = llvm.mlir.constant(1 : i32) : i32
  %t = nvvm.read.ptx.sreg.tid.x : i32
  %b = nvvm.read.ptx.sreg.ctaid.x : i32
  %n = nvvm.read.ptx.sreg.nctaid.x : i32
  %first = llvm.icmp "eq" %t, %c0 : i32
  llvm.cond_br %first, ^arrive, ^end
^arrive:
  %old = llvm.atomicrmw add %count, %c1 acq_rel : !llvm.ptr<1>, i32
  llvm.br ^spin
^spin:
  %x = llvm.load %count atomic acquire {alignment = 4 : i64} : !llvm.ptr<1> -> i32
  %again = llvm.icmp "slt" %x, %n : i32
  llvm.cond_br %again, ^spin, ^done
^done:
  %p = llvm.getelementptr %out[%b] : (!llvm.ptr<1>, i32) -> !llvm.ptr<1>, i32
  llvm.store %x, %p : i32, !llvm.ptr<1>
  llvm.br ^end
^end:
  llvm.return
}

llvm.func @where(%out: !llvm.ptr<1>) attributes {nvvm.kernel} {
  %x = nvvm.read.ptx.sreg.tid.x : i32
  %y = nvvm.read.ptx.sreg.tid.y : i32
  %z = nvvm.read.ptx.sreg.tid.z : i32
  %nx = nvvm.read.ptx.sreg.ntid.x : i32
  %ny = nvvm.read.ptx.sreg.ntid.y : i32
  %nz = nvvm.read.ptx.sreg.ntid.z : i32
  %bx = nvvm.read.ptx.sreg.ctaid.x : i32
  %by = nvvm.read.ptx.sreg.ctaid.y : i32
  %bz = nvvm.read.ptx.sreg.ctaid.z : i32
  %gx = nvvm.read.ptx.sreg.nctaid.x : i32
  %gy = nvvm.read.ptx.sreg.nctaid.y : i32
  %a0 = llvm.mul %z, %ny : i32
  %a1 = llvm.add %a0, %y : i32
  %a2 = llvm.mul %a1, %nx : i32
  %t = llvm.add %a2, %x : i32
  %b0 = llvm.mul %bz, %gy : i32
  %b1 = llvm.add %b0, %by : i32
  %b2 = llvm.mul %b1, %gx : i32
  %b = llvm.add %b2, %bx : i32
  %m0 = llvm.mul %nx, %ny : i32
  %m = llvm.mul %m0, %nz : i32
  %i0 = llvm.mul %b, %m : i32
  %i = llvm.add %i0, %t : i32
  %p = llvm.getelementptr %out[%i] : (!llvm.ptr<1>, i32) -> !llvm.ptr<1>, i32
  llvm.store %i, %p : i32, !llvm.ptr<1>
  llvm.return
}

llvm.func @unwritten(%in: !llvm.ptr<1>) attributes {nvvm.kernel} {
  %t = nvvm.read.ptx.sreg.tid.x : i32
  %n = nvvm.read.ptx.sreg.ntid.x : i32
  %b = nvvm.read.ptx.sreg.ctaid.x : i32
  %i0 = llvm.mul %b, %n : i32
  %i = llvm.add %i0, %t : i32
  %p = llvm.getelementptr %in[%i] : (!llvm.ptr<1>, i32) -> !llvm.ptr<1>, i32
  %x = llvm.load %p : !llvm.ptr<1> -> i32 loc("a.name"("place.mlir":7:9))
  llvm.return
}

// Accesses out of bounds, misaligned, and to memory that nobody has written.

// RUN: otodus-sim-run %s --kernel=shared_end --threads=64 | FileCheck %s --check-prefix=SHARED
// RUN: otodus-sim-run %s --kernel=dynamic --threads=64 --shared=256 | FileCheck %s --check-prefix=FITS
// RUN: otodus-sim-run %s --kernel=dynamic --threads=64 --shared=252 | FileCheck %s --check-prefix=DYNAMIC
// RUN: otodus-sim-run %s --kernel=dynamic --threads=64 --shared=300000 | FileCheck %s --check-prefix=LARGE
// RUN: otodus-sim-run %s --kernel=global_end --threads=64 --arg=data:f32[63]:0 | FileCheck %s --check-prefix=GLOBAL
// RUN: otodus-sim-run %s --kernel=global_end --threads=64 --grid=4 --workers=4 --arg=data:f32[63]:0 | FileCheck %s --check-prefix=GLOBAL
// RUN: otodus-sim-run %s --kernel=global_start --threads=1 --arg=data:f32[64]:0 | FileCheck %s --check-prefix=START
// RUN: otodus-sim-run %s --kernel=vector --threads=1 --arg=data:f32[64]:0 --arg=i64:4 | FileCheck %s --check-prefix=ALIGNED
// RUN: otodus-sim-run %s --kernel=vector --threads=1 --arg=data:f32[64]:0 --arg=i64:2 | FileCheck %s --check-prefix=MISALIGNED
// RUN: otodus-sim-run %s --kernel=unwritten_shared --threads=32 | FileCheck %s --check-prefix=UNSHARED
// RUN: otodus-sim-run %s --kernel=vector --threads=1 --arg=data:f32[64]:undef --arg=i64:4 | FileCheck %s --check-prefix=UNGLOBAL
// RUN: otodus-sim-run %s --kernel=global_end --threads=32 --arg=data:f32[64]:undef --print=data | FileCheck %s --check-prefix=WRITTEN
// RUN: otodus-sim-run %s --kernel=local --threads=32 --arg=data:f32[32]:undef --print=data | FileCheck %s --check-prefix=LOCAL
// RUN: otodus-sim-run %s --kernel=local --threads=64 --arg=data:f32[32]:undef | FileCheck %s --check-prefix=THREADS
// RUN: otodus-sim-run %s --kernel=masked --threads=1 --arg=data:f32[6]:iota --print=data | FileCheck %s --check-prefix=MASKED

llvm.mlir.global external @fixed() {addr_space = 3 : i32, alignment = 16 : i64} : !llvm.array<32 x f32>
llvm.mlir.global external @open() {addr_space = 3 : i32, alignment = 1024 : i64} : !llvm.array<0 x f32>

// Shared memory: 128 bytes of @fixed, then @open at the next multiple of 1024.

// SHARED: status: fault
// SHARED-NEXT: shared_end: access out of bounds: llvm.store at {{.*}}bounds.mlir:[[#]]:[[#]]: writes 4 bytes at shared byte 1024, but the block has 1024 bytes of shared memory (thread 0 of block (0,0,0))
llvm.func @shared_end() attributes {nvvm.kernel} {
  %base = llvm.mlir.addressof @fixed : !llvm.ptr<3>
  %zero = llvm.mlir.constant(0.0 : f32) : f32
  %first = llvm.mlir.constant(256 : i32) : i32
  %t = nvvm.read.ptx.sreg.tid.x : i32
  %i = llvm.add %t, %first : i32
  %at = llvm.getelementptr %base[%i] : (!llvm.ptr<3>, i32) -> !llvm.ptr<3>, f32
  llvm.store %zero, %at : f32, !llvm.ptr<3>
  llvm.return
}

// FITS: status: ok
// DYNAMIC: dynamic: access out of bounds: llvm.store at {{.*}}: writes 4 bytes at shared byte 1276, but the block has 1276 bytes of shared memory (thread 63 of block (0,0,0))
// LARGE: status: invalid
// LARGE-NEXT: dynamic: launch: 301024 bytes of shared memory, but a block may have 233472
llvm.func @dynamic() attributes {nvvm.kernel} {
  %base = llvm.mlir.addressof @open : !llvm.ptr<3>
  %zero = llvm.mlir.constant(0.0 : f32) : f32
  %t = nvvm.read.ptx.sreg.tid.x : i32
  %at = llvm.getelementptr %base[%t] : (!llvm.ptr<3>, i32) -> !llvm.ptr<3>, f32
  llvm.store %zero, %at : f32, !llvm.ptr<3>
  llvm.return
}

// The same fault whoever comes first.

// GLOBAL: status: fault
// GLOBAL-NEXT: global_end: access out of bounds: llvm.store at {{.*}}: writes 4 bytes at 0 bytes after the end of 'data', which has 252 bytes (thread 63 of block (0,0,0))
// GLOBAL-NOT: global_end
// WRITTEN: status: ok
// WRITTEN-NEXT: data = 1 1 1
llvm.func @global_end(%data: !llvm.ptr<1>) attributes {nvvm.kernel} {
  %one = llvm.mlir.constant(1.0 : f32) : f32
  %t = nvvm.read.ptx.sreg.tid.x : i32
  %at = llvm.getelementptr %data[%t] : (!llvm.ptr<1>, i32) -> !llvm.ptr<1>, f32
  llvm.store %one, %at : f32, !llvm.ptr<1>
  llvm.return
}

// START: global_start: access out of bounds: llvm.load at {{.*}}: reads 4 bytes at 8 bytes before the start of 'data', which has 256 bytes
llvm.func @global_start(%data: !llvm.ptr<1>) attributes {nvvm.kernel} {
  %at = llvm.getelementptr %data[-2] : (!llvm.ptr<1>) -> !llvm.ptr<1>, f32
  %x = llvm.load %at : !llvm.ptr<1> -> f32
  llvm.return
}

// ALIGNED: status: ok
// MISALIGNED: status: fault
// MISALIGNED-NEXT: vector: misaligned access: llvm.load at {{.*}}: reads 16 bytes at byte 8 of 'data', which is not a multiple of 16 (thread 0 of block (0,0,0))
// UNGLOBAL: status: reports
// UNGLOBAL-NEXT: vector: read of uninitialised memory: llvm.load at {{.*}} reads byte 16 of 'data', which nobody has written (thread 0 of block (0,0,0))
llvm.func @vector(%data: !llvm.ptr<1>, %i: i64) attributes {nvvm.kernel} {
  %at = llvm.getelementptr %data[%i] : (!llvm.ptr<1>, i64) -> !llvm.ptr<1>, f32
  %x = llvm.load %at {alignment = 16 : i64} : !llvm.ptr<1> -> vector<4xf32>
  llvm.return
}

// UNSHARED: status: reports
// UNSHARED-NEXT: unwritten_shared: read of uninitialised memory: llvm.load at {{.*}} reads shared byte 0, which nobody has written (thread 0 of block (0,0,0)) [32 times]
llvm.func @unwritten_shared() attributes {nvvm.kernel} {
  %base = llvm.mlir.addressof @fixed : !llvm.ptr<3>
  %t = nvvm.read.ptx.sreg.tid.x : i32
  %at = llvm.getelementptr %base[%t] : (!llvm.ptr<3>, i32) -> !llvm.ptr<3>, f32
  %x = llvm.load %at : !llvm.ptr<3> -> f32
  llvm.return
}

// The thread's own stack is memory of its own, whatever way its address goes.

// LOCAL: status: ok
// LOCAL-NEXT: data = 7 7 7
// THREADS: status: invalid
// THREADS-NEXT: local: launch: a block of 64x1x1 threads, but the kernel is made for 32x1x1
llvm.func @local(%data: !llvm.ptr<1>) attributes {nvvm.kernel, nvvm.reqntid = array<i32: 32, 1, 1>} {
  %one = llvm.mlir.constant(1 : i32) : i32
  %seven = llvm.mlir.constant(7.0 : f32) : f32
  %place = llvm.alloca %one x f32 : (i32) -> !llvm.ptr
  %t = nvvm.read.ptx.sreg.tid.x : i32
  llvm.call @keep(%place, %seven) : (!llvm.ptr, f32) -> ()
  %x = llvm.load %place : !llvm.ptr -> f32
  %at = llvm.getelementptr %data[%t] : (!llvm.ptr<1>, i32) -> !llvm.ptr<1>, f32
  llvm.store %x, %at : f32, !llvm.ptr<1>
  llvm.return
}
llvm.func internal @keep(%place: !llvm.ptr, %x: f32) attributes {no_inline} {
  llvm.store %x, %place : f32, !llvm.ptr
  llvm.return
}

// Elements whose mask is off are not touched.

// MASKED: status: ok
// MASKED-NEXT: data = 2 1 4 3 4 5
llvm.func @masked(%data: !llvm.ptr<1>) attributes {nvvm.kernel} {
  %mask = llvm.mlir.constant(dense<[true, false, true, false]> : vector<4xi1>) : vector<4xi1>
  %pass = llvm.mlir.constant(dense<9.0> : vector<4xf32>) : vector<4xf32>
  %at = llvm.getelementptr %data[2] : (!llvm.ptr<1>) -> !llvm.ptr<1>, f32
  %x = llvm.intr.masked.load %at, %mask, %pass {alignment = 4 : i32} : (!llvm.ptr<1>, vector<4xi1>, vector<4xf32>) -> vector<4xf32>
  llvm.intr.masked.store %x, %data, %mask {alignment = 4 : i32} : vector<4xf32>, vector<4xi1> into !llvm.ptr<1>
  llvm.return
}

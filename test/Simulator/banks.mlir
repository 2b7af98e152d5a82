// Conflicts of shared memory's banks, op by op, those with most first.

// RUN: otodus-sim-run %s --kernel=rows --threads=64 --banks --arg=i32:1 | FileCheck %s --check-prefix=DENSE
// RUN: otodus-sim-run %s --kernel=rows --threads=64 --banks --arg=i32:2 | FileCheck %s --check-prefix=TWO
// RUN: otodus-sim-run %s --kernel=rows --threads=64 --banks --arg=i32:32 --order=random:4 | FileCheck %s --check-prefix=SAME
// RUN: otodus-sim-run %s --kernel=rows --threads=64 --banks --arg=i32:33 | FileCheck %s --check-prefix=DENSE

// Three times per warp a store of 4 bytes, word %stride apart. Afterwards everybody reads one word:
// no conflict; and vectors of 16 bytes side by side: none either.
// DENSE: banks: rows: llvm.store at {{.*}}: 6 accesses of a warp, 0 extra passes
// DENSE: banks: rows: llvm.load at {{.*}}: 2 accesses of a warp, 0 extra passes
// DENSE: banks: rows: llvm.load at {{.*}}: 2 accesses of a warp, 0 extra passes
// TWO: banks: rows: llvm.store at {{.*}}: 6 accesses of a warp, 6 extra passes
// SAME: banks: rows: llvm.store at {{.*}}: 6 accesses of a warp, 186 extra passes

llvm.mlir.global external @tile() {addr_space = 3 : i32, alignment = 128 : i64} : !llvm.array<8192 x f32>

llvm.func @rows(%stride: i32) attributes {nvvm.kernel} {
  %c0 = llvm.mlir.constant(0 : i32) : i32
  %c1 = llvm.mlir.constant(1 : i32) : i32
  %c3 = llvm.mlir.constant(3 : i32) : i32
  %c4 = llvm.mlir.constant(4 : i32) : i32
  %x = llvm.mlir.constant(1.0 : f32) : f32
  %tile = llvm.mlir.addressof @tile : !llvm.ptr<3>
  %t = nvvm.read.ptx.sreg.tid.x : i32
  %i = llvm.mul %t, %stride : i32
  %p = llvm.getelementptr %tile[%i] : (!llvm.ptr<3>, i32) -> !llvm.ptr<3>, f32
  llvm.br ^loop(%c0 : i32)
^loop(%n: i32):
  llvm.store %x, %p : f32, !llvm.ptr<3>
  %next = llvm.add %n, %c1 : i32
  %more = llvm.icmp "slt" %next, %c3 : i32
  llvm.cond_br %more, ^loop(%next : i32), ^read
^read:
  nvvm.barrier0
  %y = llvm.load %tile : !llvm.ptr<3> -> f32
  %j = llvm.mul %t, %c4 : i32
  %q = llvm.getelementptr %tile[%j] : (!llvm.ptr<3>, i32) -> !llvm.ptr<3>, f32
  %z = llvm.load %q {alignment = 16 : i64} : !llvm.ptr<3> -> vector<4xf32>
  llvm.return
}

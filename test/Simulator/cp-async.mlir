// cp.async: groups, waits, zero fill; a kernel that does not wait reads old data and is told so.

// RUN: otodus-sim-run %s --kernel=copy --arg=in:f32[128]:iota --arg=out:f32[128]:undef --arg=i32:0 --print=out | FileCheck %s --check-prefix=WAITS
// RUN: otodus-sim-run %s --kernel=copy --arg=in:f32[128]:iota --arg=out:f32[128]:undef --arg=i32:0 --print=out --async=early | FileCheck %s --check-prefix=WAITS
// RUN: otodus-sim-run %s --kernel=copy --arg=in:f32[128]:iota --arg=out:f32[128]:undef --arg=i32:0 --print=out --async=mixed --order=random:5 | FileCheck %s --check-prefix=WAITS
// WAITS: status: ok
// WAITS-NEXT: out = 0 1 2 3 {{.*}} 126 127

// Without a wait: what was there before, with checks or without.
// RUN: otodus-sim-run %s --kernel=copy --arg=in:f32[128]:iota --arg=out:f32[128]:undef --arg=i32:1 --print=out | FileCheck %s --check-prefix=MISSING
// RUN: otodus-sim-run %s --kernel=copy --arg=in:f32[128]:iota --arg=out:f32[128]:undef --arg=i32:1 --print=out --checks=none | FileCheck %s --check-prefix=OLD
// RUN: otodus-sim-run %s --kernel=copy --arg=in:f32[128]:iota --arg=out:f32[128]:undef --arg=i32:1 --async=early | FileCheck %s --check-prefix=EARLY
// MISSING: status: reports
// MISSING-NEXT: copy: asynchronous operation in flight: llvm.load at {{.*}} reads shared byte [[#]] (thread [[#]] of block (0,0,0)), which nvvm.cp.async.shared.global at {{.*}} is still writing (issued by thread [[#]]): wait for the asynchronous operation first [128 times]
// MISSING-NEXT: out = -nan -nan
// OLD: status: ok
// OLD-NEXT: out = -nan -nan
// EARLY: status: reports
// EARLY-NEXT: copy: asynchronous operation in flight

// RUN: otodus-sim-run %s --kernel=groups --arg=in:f32[128]:iota --arg=out:f32[64]:undef --print=out --arg=i32:1 | FileCheck %s --check-prefix=FIRST
// FIRST: status: ok
// FIRST-NEXT: out = 0 1 {{.*}} 62 63
// RUN: otodus-sim-run %s --kernel=groups --arg=in:f32[128]:iota --arg=out:f32[64]:undef --print=out --arg=i32:2 | FileCheck %s --check-prefix=SECOND
// SECOND: status: reports
// SECOND-NEXT: groups: asynchronous operation in flight: llvm.load

// RUN: otodus-sim-run %s --kernel=filled --arg=in:f32[32]:1 --arg=out:f32[128]:undef --print=out | FileCheck %s --check-prefix=FILLED
// FILLED: status: ok
// FILLED-NEXT: out = 0 0 0 0 1 0 0 0 1 1 0 0 1 1 1 0 0 0 0 0
// RUN: otodus-sim-run %s --kernel=copy --arg=in:f32[127]:iota --arg=out:f32[128]:undef --arg=i32:0 | FileCheck %s --check-prefix=BEYOND
// BEYOND: copy: access out of bounds: nvvm.cp.async.shared.global at {{.*}}: reads 16 bytes at byte 496 of 'in', which has 508 bytes (thread 31 of block (0,0,0))
// RUN: otodus-sim-run %s --kernel=others --arg=in:f32[128]:iota | FileCheck %s --check-prefix=OTHERS
// OTHERS: status: reports
// OTHERS-NEXT: others: shared memory race: llvm.load at {{.*}} reads shared byte [[#]] (thread [[#]] of block (0,0,0)), which nvvm.cp.async.shared.global at {{.*}} wrote (thread [[#]]): no barrier orders the two

llvm.mlir.global external @tile() {addr_space = 3 : i32, alignment = 128 : i64} : !llvm.array<128 x f32>

// Each lane copies 16 bytes and reads them; waits for the group unless %skip.
llvm.func @copy(%in: !llvm.ptr<1>, %out: !llvm.ptr<1>, %skip: i32) attributes {nvvm.kernel} {
  %c0 = llvm.mlir.constant(0 : i32) : i32
  %c16 = llvm.mlir.constant(16 : i32) : i32
  %lane = nvvm.read.ptx.sreg.laneid : i32
  %tile = llvm.mlir.addressof @tile : !llvm.ptr<3>
  %at = llvm.mul %lane, %c16 : i32
  %p = llvm.getelementptr %tile[%at] : (!llvm.ptr<3>, i32) -> !llvm.ptr<3>, i8
  %from = llvm.getelementptr %in[%at] : (!llvm.ptr<1>, i32) -> !llvm.ptr<1>, i8
  nvvm.cp.async.shared.global %p, %from, 16, cache = ca : !llvm.ptr<3>, !llvm.ptr<1>
  nvvm.cp.async.commit.group
  %waits = llvm.icmp "eq" %skip, %c0 : i32
  llvm.cond_br %waits, ^wait, ^read
^wait:
  nvvm.cp.async.wait.group 0
  llvm.br ^read
^read:
  nvvm.barrier0
  %x = llvm.load %p {alignment = 16 : i64} : !llvm.ptr<3> -> vector<4xf32>
  %to = llvm.getelementptr %out[%at] : (!llvm.ptr<1>, i32) -> !llvm.ptr<1>, i8
  llvm.store %x, %to {alignment = 16 : i64} : vector<4xf32>, !llvm.ptr<1>
  llvm.return
}

// Two groups of 8 bytes a lane; after waiting for all but one, reads the half %half.
llvm.func @groups(%in: !llvm.ptr<1>, %out: !llvm.ptr<1>, %half: i32) attributes {nvvm.kernel} {
  %c1 = llvm.mlir.constant(1 : i32) : i32
  %c8 = llvm.mlir.constant(8 : i32) : i32
  %c256 = llvm.mlir.constant(256 : i32) : i32
  %lane = nvvm.read.ptx.sreg.laneid : i32
  %tile = llvm.mlir.addressof @tile : !llvm.ptr<3>
  %at = llvm.mul %lane, %c8 : i32
  %p = llvm.getelementptr %tile[%at] : (!llvm.ptr<3>, i32) -> !llvm.ptr<3>, i8
  %p2 = llvm.getelementptr %p[256] : (!llvm.ptr<3>) -> !llvm.ptr<3>, i8
  %from = llvm.getelementptr %in[%at] : (!llvm.ptr<1>, i32) -> !llvm.ptr<1>, i8
  %from2 = llvm.getelementptr %from[256] : (!llvm.ptr<1>) -> !llvm.ptr<1>, i8
  nvvm.cp.async.shared.global %p, %from, 8, cache = ca : !llvm.ptr<3>, !llvm.ptr<1>
  nvvm.cp.async.commit.group
  nvvm.cp.async.shared.global %p2, %from2, 8, cache = ca : !llvm.ptr<3>, !llvm.ptr<1>
  nvvm.cp.async.commit.group
  nvvm.cp.async.wait.group 1
  %less = llvm.sub %half, %c1 : i32
  %skip = llvm.mul %less, %c256 : i32
  %r = llvm.getelementptr %p[%skip] : (!llvm.ptr<3>, i32) -> !llvm.ptr<3>, i8
  %x = llvm.load %r {alignment = 8 : i64} : !llvm.ptr<3> -> vector<2xf32>
  %to = llvm.getelementptr %out[%at] : (!llvm.ptr<1>, i32) -> !llvm.ptr<1>, i8
  llvm.store %x, %to {alignment = 8 : i64} : vector<2xf32>, !llvm.ptr<1>
  llvm.return
}

// Takes 4 (lane % 4) bytes of 16 from the source.
llvm.func @filled(%in: !llvm.ptr<1>, %out: !llvm.ptr<1>) attributes {nvvm.kernel} {
  %c2 = llvm.mlir.constant(2 : i32) : i32
  %c3 = llvm.mlir.constant(3 : i32) : i32
  %c16 = llvm.mlir.constant(16 : i32) : i32
  %lane = nvvm.read.ptx.sreg.laneid : i32
  %tile = llvm.mlir.addressof @tile : !llvm.ptr<3>
  %at = llvm.mul %lane, %c16 : i32
  %p = llvm.getelementptr %tile[%at] : (!llvm.ptr<3>, i32) -> !llvm.ptr<3>, i8
  %words = llvm.and %lane, %c3 : i32
  %bytes = llvm.shl %words, %c2 : i32
  nvvm.cp.async.shared.global %p, %in, 16, cache = cg, %bytes : !llvm.ptr<3>, !llvm.ptr<1>, i32
  nvvm.cp.async.commit.group
  nvvm.cp.async.wait.group 0
  %x = llvm.load %p {alignment = 16 : i64} : !llvm.ptr<3> -> vector<4xf32>
  %to = llvm.getelementptr %out[%at] : (!llvm.ptr<1>, i32) -> !llvm.ptr<1>, i8
  llvm.store %x, %to {alignment = 16 : i64} : vector<4xf32>, !llvm.ptr<1>
  llvm.return
}

// A wait completes one's own copies; others see them after a barrier, which is missing here.
llvm.func @others(%in: !llvm.ptr<1>) attributes {nvvm.kernel} {
  %c16 = llvm.mlir.constant(16 : i32) : i32
  %all = llvm.mlir.constant(-1 : i32) : i32
  %clamp = llvm.mlir.constant(31 : i32) : i32
  %lane = nvvm.read.ptx.sreg.laneid : i32
  %tile = llvm.mlir.addressof @tile : !llvm.ptr<3>
  %at = llvm.mul %lane, %c16 : i32
  %p = llvm.getelementptr %tile[%at] : (!llvm.ptr<3>, i32) -> !llvm.ptr<3>, i8
  %from = llvm.getelementptr %in[%at] : (!llvm.ptr<1>, i32) -> !llvm.ptr<1>, i8
  nvvm.cp.async.shared.global %p, %from, 16, cache = cg : !llvm.ptr<3>, !llvm.ptr<1>
  nvvm.cp.async.commit.group
  nvvm.cp.async.wait.group 0
  %same = nvvm.shfl.sync bfly %all, %lane, %clamp, %clamp : i32 -> i32
  %other = llvm.mul %same, %c16 : i32
  %q = llvm.getelementptr %tile[%other] : (!llvm.ptr<3>, i32) -> !llvm.ptr<3>, i8
  %x = llvm.load %q : !llvm.ptr<3> -> f32
  llvm.return
}

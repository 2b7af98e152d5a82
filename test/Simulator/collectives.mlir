// What lanes of a warp do together: values, and lanes that are not where they should be.

// RUN: otodus-sim-run %s --kernel=values --threads=32 --arg=out:i32[352]:undef --print=out --checks=full | FileCheck %s --check-prefix=VALUES
// RUN: otodus-sim-run %s --kernel=values --threads=32 --arg=out:i32[352]:undef --print=out --checks=none --order=random:1 | FileCheck %s --check-prefix=VALUES
// RUN: otodus-sim-run %s --kernel=skipped --threads=64 | FileCheck %s --check-prefix=SKIPPED
// RUN: otodus-sim-run %s --kernel=mismatch --threads=32 | FileCheck %s --check-prefix=MISMATCH
// RUN: otodus-sim-run %s --kernel=disjoint --threads=32 --arg=out:i32[32]:undef --print=out | FileCheck %s --check-prefix=DISJOINT
// RUN: otodus-sim-run %s --kernel=wrong_mask --threads=32 | FileCheck %s --check-prefix=MASK
// RUN: otodus-sim-run %s --kernel=outside --threads=32 | FileCheck %s --check-prefix=OUTSIDE
// RUN: otodus-sim-run %s --kernel=returned --threads=32 --order=lifo | FileCheck %s --check-prefix=RETURNED
// RUN: otodus-sim-run %s --kernel=small --threads=16 | FileCheck %s --check-prefix=SMALL

// VALUES: status: ok
// VALUES-NEXT: out =
// bfly 1
// VALUES-SAME: {{ }}1 0 3 2 5 4 7 6 9 8 11 10 13 12 15 14
// VALUES-SAME: {{ }}17 16 19 18 21 20 23 22 25 24 27 26 29 28 31 30
// up 2: the first two keep their own
// VALUES-SAME: {{ }}0 1 0 1 2 3 4 5 6 7 8 9 10 11 12 13
// VALUES-SAME: {{ }}14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29
// down 3: the last three keep their own
// VALUES-SAME: {{ }}3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18
// VALUES-SAME: {{ }}19 20 21 22 23 24 25 26 27 28 29 30 31 29 30 31
// idx 5 in segments of 8
// VALUES-SAME: {{ }}5 5 5 5 5 5 5 5 13 13 13 13 13 13 13 13
// VALUES-SAME: {{ }}21 21 21 21 21 21 21 21 29 29 29 29 29 29 29 29
// bfly 16 in segments of 16 is as valid as it should be
// VALUES-SAME: {{ }}0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0
// VALUES-SAME: {{ }}0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0
// ballot of odd lanes
// VALUES-SAME: {{ }}-1.43166e+09 -1.43166e+09 -1.43166e+09 -1.43166e+09 -1.43166e+09 -1.43166e+09 -1.43166e+09 -1.43166e+09 -1.43166e+09 -1.43166e+09 -1.43166e+09 -1.43166e+09 -1.43166e+09 -1.43166e+09 -1.43166e+09 -1.43166e+09
// VALUES-SAME: {{ }}-1.43166e+09 -1.43166e+09 -1.43166e+09 -1.43166e+09 -1.43166e+09 -1.43166e+09 -1.43166e+09 -1.43166e+09 -1.43166e+09 -1.43166e+09 -1.43166e+09 -1.43166e+09 -1.43166e+09 -1.43166e+09 -1.43166e+09 -1.43166e+09
// any of lane > 30, all of lane >= 0
// VALUES-SAME: {{ }}3 3 3 3 3 3 3 3 3 3 3 3 3 3 3 3
// VALUES-SAME: {{ }}3 3 3 3 3 3 3 3 3 3 3 3 3 3 3 3
// sum of lanes
// VALUES-SAME: {{ }}496 496 496 496 496 496 496 496 496 496 496 496 496 496 496 496
// VALUES-SAME: {{ }}496 496 496 496 496 496 496 496 496 496 496 496 496 496 496 496
// the greatest lane, lane 3 counting as -1
// VALUES-SAME: {{ }}31 31 31 31 31 31 31 31 31 31 31 31 31 31 31 31
// VALUES-SAME: {{ }}31 31 31 31 31 31 31 31 31 31 31 31 31 31 31 31
// lanes with the same lane / 16
// VALUES-SAME: {{ }}65535 65535 65535 65535 65535 65535 65535 65535 65535 65535 65535 65535 65535 65535 65535 65535
// VALUES-SAME: {{ }}-65536 -65536 -65536 -65536 -65536 -65536 -65536 -65536 -65536 -65536 -65536 -65536 -65536 -65536 -65536 -65536
// the leader
// VALUES-SAME: {{ }}1 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0
// VALUES-SAME: {{ }}0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0
llvm.func @values(%out: !llvm.ptr<1>) attributes {nvvm.kernel} {
  %all = llvm.mlir.constant(-1 : i32) : i32
  %clamp = llvm.mlir.constant(31 : i32) : i32
  %zero = llvm.mlir.constant(0 : i32) : i32
  %one = llvm.mlir.constant(1 : i32) : i32
  %two = llvm.mlir.constant(2 : i32) : i32
  %three = llvm.mlir.constant(3 : i32) : i32
  %four = llvm.mlir.constant(4 : i32) : i32
  %five = llvm.mlir.constant(5 : i32) : i32
  %c16 = llvm.mlir.constant(16 : i32) : i32
  // Segments of 8: mask 24 in bits 8 to 12.
  %eights = llvm.mlir.constant(6175 : i32) : i32
  // Segments of 16: mask 16, clamp 15.
  %halves = llvm.mlir.constant(4111 : i32) : i32
  %lane = nvvm.read.ptx.sreg.laneid : i32
  %a = nvvm.shfl.sync bfly %all, %lane, %one, %clamp : i32 -> i32
  %p0 = llvm.getelementptr %out[%lane] : (!llvm.ptr<1>, i32) -> !llvm.ptr<1>, i32
  llvm.store %a, %p0 : i32, !llvm.ptr<1>
  %b = nvvm.shfl.sync up %all, %lane, %two, %zero : i32 -> i32
  %p1 = llvm.getelementptr %p0[32] : (!llvm.ptr<1>) -> !llvm.ptr<1>, i32
  llvm.store %b, %p1 : i32, !llvm.ptr<1>
  %c = nvvm.shfl.sync down %all, %lane, %three, %clamp : i32 -> i32
  %p2 = llvm.getelementptr %p0[64] : (!llvm.ptr<1>) -> !llvm.ptr<1>, i32
  llvm.store %c, %p2 : i32, !llvm.ptr<1>
  %d = nvvm.shfl.sync idx %all, %lane, %five, %eights : i32 -> i32
  %p3 = llvm.getelementptr %p0[96] : (!llvm.ptr<1>) -> !llvm.ptr<1>, i32
  llvm.store %d, %p3 : i32, !llvm.ptr<1>
  %e = nvvm.shfl.sync bfly %all, %lane, %c16, %halves {return_value_and_is_valid} : i32 -> !llvm.struct<(i32, i1)>
  %valid = llvm.extractvalue %e[1] : !llvm.struct<(i32, i1)>
  %valid32 = llvm.zext %valid : i1 to i32
  %low = llvm.icmp "slt" %lane, %c16 : i32
  %lowFlag = llvm.zext %low : i1 to i32
  // Upper lanes find lane - 16, lower lanes would leave their half.
  %both = llvm.add %valid32, %lowFlag : i32
  %wrong = llvm.sub %both, %one : i32
  %p4 = llvm.getelementptr %p0[128] : (!llvm.ptr<1>) -> !llvm.ptr<1>, i32
  llvm.store %wrong, %p4 : i32, !llvm.ptr<1>
  %oddBit = llvm.and %lane, %one : i32
  %odd = llvm.icmp "eq" %oddBit, %one : i32
  %f = nvvm.vote.sync ballot %all, %odd -> i32
  %p5 = llvm.getelementptr %p0[160] : (!llvm.ptr<1>) -> !llvm.ptr<1>, i32
  llvm.store %f, %p5 : i32, !llvm.ptr<1>
  %last = llvm.icmp "eq" %lane, %clamp : i32
  %true = llvm.icmp "sge" %lane, %zero : i32
  %g = nvvm.vote.sync any %all, %last -> i1
  %h = nvvm.vote.sync all %all, %true -> i1
  %g32 = llvm.zext %g : i1 to i32
  %h32 = llvm.zext %h : i1 to i32
  %h64 = llvm.mul %h32, %two : i32
  %gh = llvm.add %g32, %h64 : i32
  %p6 = llvm.getelementptr %p0[192] : (!llvm.ptr<1>) -> !llvm.ptr<1>, i32
  llvm.store %gh, %p6 : i32, !llvm.ptr<1>
  %i = nvvm.redux.sync add %lane, %all : i32 -> i32
  %p7 = llvm.getelementptr %p0[224] : (!llvm.ptr<1>) -> !llvm.ptr<1>, i32
  llvm.store %i, %p7 : i32, !llvm.ptr<1>
  %isThree = llvm.icmp "eq" %lane, %three : i32
  %signed = llvm.select %isThree, %all, %lane : i1, i32
  %j = nvvm.redux.sync max %signed, %all : i32 -> i32
  %p8 = llvm.getelementptr %p0[256] : (!llvm.ptr<1>) -> !llvm.ptr<1>, i32
  llvm.store %j, %p8 : i32, !llvm.ptr<1>
  %half = llvm.lshr %lane, %four : i32
  %k = nvvm.match.sync any %all, %half : i32 -> i32
  %p9 = llvm.getelementptr %p0[288] : (!llvm.ptr<1>) -> !llvm.ptr<1>, i32
  llvm.store %k, %p9 : i32, !llvm.ptr<1>
  %l = nvvm.elect.sync -> i1
  %l32 = llvm.zext %l : i1 to i32
  %p10 = llvm.getelementptr %p0[320] : (!llvm.ptr<1>) -> !llvm.ptr<1>, i32
  llvm.store %l32, %p10 : i32, !llvm.ptr<1>
  llvm.return
}

// Lane 7 of warp 0 goes to the block's barrier without the shuffle.

// SKIPPED: status: fault
// SKIPPED-NEXT: skipped: deadlock: all threads that have not returned wait for each other
// SKIPPED-NEXT: threads 0-6, 8-31 wait at nvvm.shfl.sync at {{.*}}, for the other lanes of its warp
// SKIPPED-NEXT: threads 7, 32-63 wait at nvvm.barrier0 at {{.*}}, for the block's barrier
llvm.func @skipped() attributes {nvvm.kernel} {
  %all = llvm.mlir.constant(-1 : i32) : i32
  %clamp = llvm.mlir.constant(31 : i32) : i32
  %one = llvm.mlir.constant(1 : i32) : i32
  %seven = llvm.mlir.constant(7 : i32) : i32
  %t = nvvm.read.ptx.sreg.tid.x : i32
  %skips = llvm.icmp "eq" %t, %seven : i32
  llvm.cond_br %skips, ^barrier, ^shuffle
^shuffle:
  %x = nvvm.shfl.sync bfly %all, %t, %one, %clamp : i32 -> i32
  llvm.br ^barrier
^barrier:
  nvvm.barrier0
  llvm.return
}

// Odd lanes vote while even lanes shuffle, all with the full mask.

// MISMATCH: status: fault
// MISMATCH-NEXT: mismatch: divergent collective: nvvm.vote.sync at {{.*}}: thread 1 (lane 1) of warp 0 takes part with lanes 0-31, but lanes 0 of this warp are at nvvm.shfl.sync at {{.*}} with lanes 0-31 (thread 1 of block (0,0,0))
llvm.func @mismatch() attributes {nvvm.kernel} {
  %all = llvm.mlir.constant(-1 : i32) : i32
  %clamp = llvm.mlir.constant(31 : i32) : i32
  %one = llvm.mlir.constant(1 : i32) : i32
  %t = nvvm.read.ptx.sreg.tid.x : i32
  %bit = llvm.and %t, %one : i32
  %odd = llvm.icmp "eq" %bit, %one : i32
  llvm.cond_br %odd, ^vote, ^shuffle
^shuffle:
  %x = nvvm.shfl.sync bfly %all, %t, %one, %clamp : i32 -> i32
  llvm.br ^end
^vote:
  %y = nvvm.vote.sync ballot %all, %odd -> i32
  llvm.br ^end
^end:
  llvm.return
}

// With masks that do not meet, both at the same time are right.

// DISJOINT: status: ok
// DISJOINT-NEXT: out = 2 -1.43166e+09 0 -1.43166e+09
llvm.func @disjoint(%out: !llvm.ptr<1>) attributes {nvvm.kernel} {
  %even = llvm.mlir.constant(0x55555555 : i32) : i32
  %odds = llvm.mlir.constant(0xaaaaaaaa : i32) : i32
  %clamp = llvm.mlir.constant(31 : i32) : i32
  %one = llvm.mlir.constant(1 : i32) : i32
  %two = llvm.mlir.constant(2 : i32) : i32
  %t = nvvm.read.ptx.sreg.tid.x : i32
  %to = llvm.getelementptr %out[%t] : (!llvm.ptr<1>, i32) -> !llvm.ptr<1>, i32
  %bit = llvm.and %t, %one : i32
  %odd = llvm.icmp "eq" %bit, %one : i32
  llvm.cond_br %odd, ^vote, ^shuffle
^shuffle:
  %x = nvvm.shfl.sync bfly %even, %t, %two, %clamp : i32 -> i32
  llvm.br ^end(%x : i32)
^vote:
  %y = nvvm.vote.sync ballot %odds, %odd -> i32
  llvm.br ^end(%y : i32)
^end(%value: i32):
  llvm.store %value, %to : i32, !llvm.ptr<1>
  llvm.return
}

// MASK: wrong_mask: divergent collective: nvvm.bar.warp.sync at {{.*}}: lane 16 takes part, but its mask names lanes 0-15 (thread 16 of block (0,0,0))
llvm.func @wrong_mask() attributes {nvvm.kernel} {
  %half = llvm.mlir.constant(0xffff : i32) : i32
  nvvm.bar.warp.sync %half : i32
  llvm.return
}

// Lane 15 of those with a mask of 16 reads lane 16.

// OUTSIDE: outside: divergent collective: nvvm.shfl.sync at {{.*}}: lane 15 reads lane 16, which its mask does not name
llvm.func @outside() attributes {nvvm.kernel} {
  %half = llvm.mlir.constant(0xffff : i32) : i32
  %clamp = llvm.mlir.constant(31 : i32) : i32
  %one = llvm.mlir.constant(1 : i32) : i32
  %c16 = llvm.mlir.constant(16 : i32) : i32
  %t = nvvm.read.ptx.sreg.tid.x : i32
  %low = llvm.icmp "slt" %t, %c16 : i32
  llvm.cond_br %low, ^shuffle, ^end
^shuffle:
  %x = nvvm.shfl.sync down %half, %t, %one, %clamp : i32 -> i32
  llvm.br ^end
^end:
  llvm.return
}

// RETURNED: returned: early exit: nvvm.shfl.sync at {{.*}}: needs lanes 0-31 of warp 0, of which 31 have returned
llvm.func @returned() attributes {nvvm.kernel} {
  %all = llvm.mlir.constant(-1 : i32) : i32
  %clamp = llvm.mlir.constant(31 : i32) : i32
  %one = llvm.mlir.constant(1 : i32) : i32
  %t = nvvm.read.ptx.sreg.tid.x : i32
  %last = llvm.icmp "eq" %t, %clamp : i32
  llvm.cond_br %last, ^end, ^shuffle
^shuffle:
  %x = nvvm.shfl.sync down %all, %t, %one, %clamp : i32 -> i32
  llvm.br ^end
^end:
  llvm.return
}

// SMALL: small: divergent collective: nvvm.bar.warp.sync at {{.*}}: needs lanes 0-31, but this warp has 16
llvm.func @small() attributes {nvvm.kernel} {
  %all = llvm.mlir.constant(-1 : i32) : i32
  nvvm.bar.warp.sync %all : i32
  llvm.return
}

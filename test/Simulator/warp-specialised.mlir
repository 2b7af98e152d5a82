// A warp-specialised product: one warp fills a ring of three stages by TMA, a warp group consumes it
// with wgmma. D[64, 128] = A[64, K] B[128, K]^T, bf16 to f32, 64 of K per stage, swizzle 128.
//
// DEFINE: %{gemm} = --kernel=gemm --threads=160 --shared=74752 --hidden=A:bf16[20480]:random --arg=map:A:320x64:64x64:128 --hidden=B:bf16[40960]:random --arg=map:B:320x128:64x128:128 --arg=D:f32[8192]:undef --arg=i32:5 --product=D:A,B:64x128x320:1e-4
// RUN: otodus-sim-run %s %{gemm} | FileCheck %s
// RUN: otodus-sim-run %s %{gemm} --async=early | FileCheck %s
// RUN: otodus-sim-run %s %{gemm} --async=mixed --order=random:7 | FileCheck %s
// RUN: otodus-sim-run %s %{gemm} --order=lifo | FileCheck %s
// CHECK: status: ok
// CHECK-NEXT: product: 0 of 8192 elements

// The same with one fault each. Every one must be found, whatever runs first.

// The consumer does not wait for the copies.
// RUN: sed '/wait for full/d' %s > %t.full.mlir
// RUN: not otodus-sim-run %t.full.mlir %{gemm} | FileCheck %s --check-prefix=NO-WAIT
// RUN: otodus-sim-run %t.full.mlir %{gemm} --async=early --order=random:3 | FileCheck %s --check-prefix=NO-WAIT
// NO-WAIT: status: {{reports|fault}}
// NO-WAIT: asynchronous operation in flight: gk.wgmma at {{.*}} reads shared byte [[#]] (thread 0 of block (0,0,0)), which nvvm.cp.async.bulk.tensor.shared.cluster.global at {{.*}} is still writing: wait for the asynchronous operation first

// The producer expects 16 bytes more than the copies bring.
// RUN: sed 's/24576 : i32/24592 : i32/' %s > %t.tx.mlir
// RUN: not otodus-sim-run %t.tx.mlir %{gemm} | FileCheck %s --check-prefix=TX
// TX: status: fault
// TX: gemm: deadlock
// TX: threads 0-127 wait at nvvm.mbarrier.try_wait.parity at {{.*}}, for an mbarrier at shared byte 0, phase 0, which lacks 0 of 1 arrivals and 16 bytes

// The consumer gives a stage back before wgmma has read it.
// RUN: sed -e '/release late/d' -e 's,// early: ,,' %s > %t.release.mlir
// RUN: otodus-sim-run %t.release.mlir %{gemm} | FileCheck %s --check-prefix=RELEASE
// RELEASE: status: reports
// RELEASE: nvvm.cp.async.bulk.tensor.shared.cluster.global at {{.*}} writes shared byte {{.*}}, which gk.wgmma at {{.*}} is still reading: wait for the asynchronous operation first

// A stage of the ring starts in the middle of the swizzle's pattern.
// RUN: sed 's/constant(1024 : i32)/constant(1280 : i32)/' %s > %t.align.mlir
// RUN: not otodus-sim-run %t.align.mlir %{gemm} | FileCheck %s --check-prefix=ALIGN
// ALIGN: status: fault
// ALIGN: the box starts 256 bytes past a multiple of 1024, but a swizzle of 128 bytes needs that alignment in shared memory

// A descriptor depends on the thread.
// RUN: sed 's/%uniform = llvm.mlir.constant(0 : i64) : i64/%uniform = llvm.zext %lane : i32 to i64/' %s > %t.descriptor.mlir
// RUN: not otodus-sim-run %t.descriptor.mlir %{gemm} | FileCheck %s --check-prefix=DESCRIPTOR
// DESCRIPTOR: status: fault
// DESCRIPTOR: gk.wgmma at {{.*}} the descriptor of A is 0x{{.*}} here, but 0x{{.*}} in thread 0: it must be equal in the warp group

// No wgmma.fence.
// RUN: sed '/wgmma.fence/d' %s > %t.fence.mlir
// RUN: otodus-sim-run %t.fence.mlir %{gemm} | FileCheck %s --check-prefix=FENCE
// FENCE: status: reports
// FENCE: gk.wgmma at {{.*}} has no wgmma.fence between it and the last wait or the kernel's start

// The barriers are initialised without a fence, or without a barrier before they are used.
// RUN: sed '/fence.mbarrier.init/d' %s > %t.init.mlir
// RUN: otodus-sim-run %t.init.mlir %{gemm} | FileCheck %s --check-prefix=INIT
// INIT: status: reports
// INIT: uses an mbarrier whose initialisation it may not see (thread 128 of block (0,0,0)): thread 0 needs a fence.mbarrier.init or fence.proxy.async after mbarrier.init
// RUN: sed '/nvvm.barrier0/d' %s > %t.barrier.mlir
// RUN: not otodus-sim-run %t.barrier.mlir %{gemm} | FileCheck %s --check-prefix=BARRIER
// BARRIER: status: fault
// BARRIER: nvvm.mbarrier.try_wait.parity at {{.*}}: there is no mbarrier at shared byte 0: initialise it first

// Four lanes of a warp give a stage back, so that the other warps are not waited for.
// RUN: sed 's/%isLeader = llvm.icmp "eq" %lane, %zero/%isLeader = llvm.icmp "ult" %lane, %four/' %s > %t.arrive.mlir
// RUN: otodus-sim-run %t.arrive.mlir %{gemm} | FileCheck %s --check-prefix=RELEASE

// Boxes beyond shared memory.
// RUN: not otodus-sim-run %s %{gemm} --shared=70000 | FileCheck %s --check-prefix=SMALL
// SMALL: status: fault
// SMALL: nvvm.cp.async.bulk.tensor.shared.cluster.global at {{.*}} writes 16384 bytes at shared byte 58368, but the block has 70000 bytes of shared memory

!acc = !llvm.struct<(f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32)>

llvm.mlir.global external @otodus_shared() {addr_space = 3 : i32, alignment = 1024 : i64} : !llvm.array<0 x i8>

// Barrier `slot` (full of stages 0 to 2, then empty of them): 8 bytes each from shared byte 0 on.
llvm.func internal @barrier(%slot: i32) -> !llvm.ptr<3> {
  %base = llvm.mlir.addressof @otodus_shared : !llvm.ptr<3>
  %p = llvm.getelementptr %base[%slot] : (!llvm.ptr<3>, i32) -> !llvm.ptr<3>, i64
  llvm.return %p : !llvm.ptr<3>
}

// A's tile of stage `s`; B's follows after 8192 bytes.
llvm.func internal @tile(%s: i32) -> !llvm.ptr<3> {
  %base = llvm.mlir.addressof @otodus_shared : !llvm.ptr<3>
  %first = llvm.mlir.constant(1024 : i32) : i32
  %bytes = llvm.mlir.constant(24576 : i64) : i64
  %wide = llvm.zext %s : i32 to i64
  %offset = llvm.mul %wide, %bytes : i64
  %a = llvm.getelementptr %base[%first] : (!llvm.ptr<3>, i32) -> !llvm.ptr<3>, i8
  %b = llvm.getelementptr %a[%offset] : (!llvm.ptr<3>, i64) -> !llvm.ptr<3>, i8
  llvm.return %b : !llvm.ptr<3>
}

// Descriptor of a K-major tile with swizzle 128: groups of 8 rows are 1024 bytes apart.
llvm.func internal @descriptor(%tile: !llvm.ptr<3>) -> i64 {
  %mode = llvm.mlir.constant(0x4000004000000000 : i64) : i64
  %mask = llvm.mlir.constant(0x3ffff : i64) : i64
  %four = llvm.mlir.constant(4 : i64) : i64
  %address = llvm.ptrtoint %tile : !llvm.ptr<3> to i64
  %low = llvm.and %address, %mask : i64
  %start = llvm.lshr %low, %four : i64
  %d = llvm.or %start, %mode : i64
  llvm.return %d : i64
}

llvm.func @gemm(%mapA: !llvm.ptr {llvm.byval = !llvm.array<128 x i8>, llvm.align = 64 : i64, nvvm.grid_constant},
    %mapB: !llvm.ptr {llvm.byval = !llvm.array<128 x i8>, llvm.align = 64 : i64, nvvm.grid_constant},
    %out: !llvm.ptr<1>, %tiles: i32)
    attributes {nvvm.kernel, nvvm.reqntid = array<i32: 160, 1, 1>} {
  %zero = llvm.mlir.constant(0 : i32) : i32
  %one = llvm.mlir.constant(1 : i32) : i32
  %two = llvm.mlir.constant(2 : i32) : i32
  %three = llvm.mlir.constant(3 : i32) : i32
  %four = llvm.mlir.constant(4 : i32) : i32
  %sixtyfour = llvm.mlir.constant(64 : i32) : i32
  %ticks = llvm.mlir.constant(1000000 : i32) : i32
  %bytes = llvm.mlir.constant(24576 : i32) : i32
  %warps = llvm.mlir.constant(4 : i32) : i32
  %width = llvm.mlir.constant(31 : i32) : i32
  %full = llvm.mlir.constant(-1 : i32) : i32
  %tid = nvvm.read.ptx.sreg.tid.x : i32
  %lane = llvm.and %tid, %width : i32
  %five = llvm.mlir.constant(5 : i32) : i32
  %varying = llvm.lshr %tid, %five : i32
  %warp = nvvm.shfl.sync idx %full, %varying, %zero, %width : i32 -> i32
  %isFirst = llvm.icmp "eq" %tid, %zero : i32
  llvm.cond_br %isFirst, ^init(%zero : i32), ^meet
^init(%i: i32):
  %fullOfI = llvm.call @barrier(%i) : (i32) -> !llvm.ptr<3>
  nvvm.mbarrier.init %fullOfI, %one : !llvm.ptr<3>, i32
  %slot = llvm.add %i, %three : i32
  %emptyOfI = llvm.call @barrier(%slot) : (i32) -> !llvm.ptr<3>
  nvvm.mbarrier.init %emptyOfI, %four : !llvm.ptr<3>, i32
  %nextI = llvm.add %i, %one : i32
  %moreI = llvm.icmp "ult" %nextI, %three : i32
  llvm.cond_br %moreI, ^init(%nextI : i32), ^visible
^visible:
  nvvm.fence.mbarrier.init
  llvm.br ^meet
^meet:
  nvvm.barrier0
  %isProducer = llvm.icmp "eq" %warp, %warps : i32
  llvm.cond_br %isProducer, ^producer, ^consumer

  // One lane of the last warp: for each tile, wait until its stage is free, then fill it.
^producer:
  %isIssuer = llvm.icmp "eq" %lane, %zero : i32
  llvm.cond_br %isIssuer, ^produce(%zero, %zero, %one : i32, i32, i32), ^end
^produce(%kp: i32, %sp: i32, %freeParity: i32):
  %slotEmpty = llvm.add %sp, %three : i32
  %empty = llvm.call @barrier(%slotEmpty) : (i32) -> !llvm.ptr<3>
  nvvm.mbarrier.try_wait.parity %empty, %freeParity, %ticks : !llvm.ptr<3>, i32, i32
  %filled = llvm.call @barrier(%sp) : (i32) -> !llvm.ptr<3>
  nvvm.mbarrier.arrive.expect_tx %filled, %bytes : !llvm.ptr<3>, i32
  %ta = llvm.call @tile(%sp) : (i32) -> !llvm.ptr<3>
  %tb = llvm.getelementptr %ta[8192] : (!llvm.ptr<3>) -> !llvm.ptr<3>, i8
  %toA = llvm.addrspacecast %ta : !llvm.ptr<3> to !llvm.ptr<7>
  %toB = llvm.addrspacecast %tb : !llvm.ptr<3> to !llvm.ptr<7>
  %column = llvm.mul %kp, %sixtyfour : i32
  nvvm.cp.async.bulk.tensor.shared.cluster.global %toA, %mapA, %filled, box[%column, %zero]
      : !llvm.ptr<7>, !llvm.ptr
  nvvm.cp.async.bulk.tensor.shared.cluster.global %toB, %mapB, %filled, box[%column, %zero]
      : !llvm.ptr<7>, !llvm.ptr
  %kpNext = llvm.add %kp, %one : i32
  %spUp = llvm.add %sp, %one : i32
  %spWraps = llvm.icmp "eq" %spUp, %three : i32
  %spNext = llvm.select %spWraps, %zero, %spUp : i1, i32
  %flipped = llvm.xor %freeParity, %one : i32
  %freeNext = llvm.select %spWraps, %flipped, %freeParity : i1, i32
  %moreP = llvm.icmp "ult" %kpNext, %tiles : i32
  llvm.cond_br %moreP, ^produce(%kpNext, %spNext, %freeNext : i32, i32, i32), ^end

^consumer:
  %start = llvm.mlir.poison : !acc
  %uniform = llvm.mlir.constant(0 : i64) : i64
  llvm.br ^consume(%zero, %zero, %zero, %start : i32, i32, i32, !acc)
^consume(%k: i32, %s: i32, %parity: i32, %c: !acc):
  %ready = llvm.call @barrier(%s) : (i32) -> !llvm.ptr<3>
  nvvm.mbarrier.try_wait.parity %ready, %parity, %ticks : !llvm.ptr<3>, i32, i32 // wait for full
  %at = llvm.call @tile(%s) : (i32) -> !llvm.ptr<3>
  %bt = llvm.getelementptr %at[8192] : (!llvm.ptr<3>) -> !llvm.ptr<3>, i8
  %da = llvm.call @descriptor(%at) : (!llvm.ptr<3>) -> i64
  %db0 = llvm.call @descriptor(%bt) : (!llvm.ptr<3>) -> i64
  %da0 = llvm.add %da, %uniform : i64
  %notFirst = llvm.icmp "ne" %k, %zero : i32
  %always = llvm.mlir.constant(true) : i1
  %step1 = llvm.mlir.constant(2 : i64) : i64
  %step2 = llvm.mlir.constant(4 : i64) : i64
  %step3 = llvm.mlir.constant(6 : i64) : i64
  %da1 = llvm.add %da0, %step1 : i64
  %db1 = llvm.add %db0, %step1 : i64
  %da2 = llvm.add %da0, %step2 : i64
  %db2 = llvm.add %db0, %step2 : i64
  %da3 = llvm.add %da0, %step3 : i64
  %db3 = llvm.add %db0, %step3 : i64
  nvvm.wgmma.fence.aligned
  %c0 = gk.wgmma %da0, %db0 into %c if %notFirst : m64n128k16
  %c1 = gk.wgmma %da1, %db1 into %c0 if %always : m64n128k16
  %c2 = gk.wgmma %da2, %db2 into %c1 if %always : m64n128k16
  %c3 = gk.wgmma %da3, %db3 into %c2 if %always : m64n128k16
  nvvm.wgmma.commit.group.sync.aligned
  %slotFree = llvm.add %s, %three : i32
  %free = llvm.call @barrier(%slotFree) : (i32) -> !llvm.ptr<3>
  %isLeader = llvm.icmp "eq" %lane, %zero : i32
  // early: llvm.cond_br %isLeader, ^releaseEarly, ^wait
// early: ^releaseEarly:
  // early: nvvm.mbarrier.arrive %free : !llvm.ptr<3>
  // early: llvm.br ^wait
// early: ^wait:
  %done = gk.wgmma_wait 0 for %c3 : m64n128k16
  llvm.cond_br %isLeader, ^release, ^next // release late
^release: // release late
  nvvm.mbarrier.arrive %free : !llvm.ptr<3> // release late
  llvm.br ^next // release late
^next: // release late
  %kNext = llvm.add %k, %one : i32
  %sUp = llvm.add %s, %one : i32
  %sWraps = llvm.icmp "eq" %sUp, %three : i32
  %sNext = llvm.select %sWraps, %zero, %sUp : i1, i32
  %parityFlipped = llvm.xor %parity, %one : i32
  %parityNext = llvm.select %sWraps, %parityFlipped, %parity : i1, i32
  %more = llvm.icmp "ult" %kNext, %tiles : i32
  llvm.cond_br %more, ^consume(%kNext, %sNext, %parityNext, %done : i32, i32, i32, !acc), ^store

  // Element 4 j + e of the accumulator: row 16 warp + lane / 4 + 8 (e / 2), column 8 j + 2 (lane mod 4) + e mod 2.
^store:
  %sixteen = llvm.mlir.constant(16 : i32) : i32
  %columns = llvm.mlir.constant(128 : i32) : i32
  %mine = llvm.lshr %lane, %two : i32
  %warpRow = llvm.mul %warp, %sixteen : i32
  %row = llvm.add %warpRow, %mine : i32
  %quad = llvm.and %lane, %three : i32
  %pair = llvm.mul %quad, %two : i32
  %rowStart = llvm.mul %row, %columns : i32
  %place = llvm.add %rowStart, %pair : i32
  %to = llvm.getelementptr %out[%place] : (!llvm.ptr<1>, i32) -> !llvm.ptr<1>, f32
  %x0 = llvm.extractvalue %done[0] : !acc
  %p0 = llvm.getelementptr %to[0] : (!llvm.ptr<1>) -> !llvm.ptr<1>, f32
  llvm.store %x0, %p0 : f32, !llvm.ptr<1>
  %x1 = llvm.extractvalue %done[1] : !acc
  %p1 = llvm.getelementptr %to[1] : (!llvm.ptr<1>) -> !llvm.ptr<1>, f32
  llvm.store %x1, %p1 : f32, !llvm.ptr<1>
  %x2 = llvm.extractvalue %done[2] : !acc
  %p2 = llvm.getelementptr %to[1024] : (!llvm.ptr<1>) -> !llvm.ptr<1>, f32
  llvm.store %x2, %p2 : f32, !llvm.ptr<1>
  %x3 = llvm.extractvalue %done[3] : !acc
  %p3 = llvm.getelementptr %to[1025] : (!llvm.ptr<1>) -> !llvm.ptr<1>, f32
  llvm.store %x3, %p3 : f32, !llvm.ptr<1>
  %x4 = llvm.extractvalue %done[4] : !acc
  %p4 = llvm.getelementptr %to[8] : (!llvm.ptr<1>) -> !llvm.ptr<1>, f32
  llvm.store %x4, %p4 : f32, !llvm.ptr<1>
  %x5 = llvm.extractvalue %done[5] : !acc
  %p5 = llvm.getelementptr %to[9] : (!llvm.ptr<1>) -> !llvm.ptr<1>, f32
  llvm.store %x5, %p5 : f32, !llvm.ptr<1>
  %x6 = llvm.extractvalue %done[6] : !acc
  %p6 = llvm.getelementptr %to[1032] : (!llvm.ptr<1>) -> !llvm.ptr<1>, f32
  llvm.store %x6, %p6 : f32, !llvm.ptr<1>
  %x7 = llvm.extractvalue %done[7] : !acc
  %p7 = llvm.getelementptr %to[1033] : (!llvm.ptr<1>) -> !llvm.ptr<1>, f32
  llvm.store %x7, %p7 : f32, !llvm.ptr<1>
  %x8 = llvm.extractvalue %done[8] : !acc
  %p8 = llvm.getelementptr %to[16] : (!llvm.ptr<1>) -> !llvm.ptr<1>, f32
  llvm.store %x8, %p8 : f32, !llvm.ptr<1>
  %x9 = llvm.extractvalue %done[9] : !acc
  %p9 = llvm.getelementptr %to[17] : (!llvm.ptr<1>) -> !llvm.ptr<1>, f32
  llvm.store %x9, %p9 : f32, !llvm.ptr<1>
  %x10 = llvm.extractvalue %done[10] : !acc
  %p10 = llvm.getelementptr %to[1040] : (!llvm.ptr<1>) -> !llvm.ptr<1>, f32
  llvm.store %x10, %p10 : f32, !llvm.ptr<1>
  %x11 = llvm.extractvalue %done[11] : !acc
  %p11 = llvm.getelementptr %to[1041] : (!llvm.ptr<1>) -> !llvm.ptr<1>, f32
  llvm.store %x11, %p11 : f32, !llvm.ptr<1>
  %x12 = llvm.extractvalue %done[12] : !acc
  %p12 = llvm.getelementptr %to[24] : (!llvm.ptr<1>) -> !llvm.ptr<1>, f32
  llvm.store %x12, %p12 : f32, !llvm.ptr<1>
  %x13 = llvm.extractvalue %done[13] : !acc
  %p13 = llvm.getelementptr %to[25] : (!llvm.ptr<1>) -> !llvm.ptr<1>, f32
  llvm.store %x13, %p13 : f32, !llvm.ptr<1>
  %x14 = llvm.extractvalue %done[14] : !acc
  %p14 = llvm.getelementptr %to[1048] : (!llvm.ptr<1>) -> !llvm.ptr<1>, f32
  llvm.store %x14, %p14 : f32, !llvm.ptr<1>
  %x15 = llvm.extractvalue %done[15] : !acc
  %p15 = llvm.getelementptr %to[1049] : (!llvm.ptr<1>) -> !llvm.ptr<1>, f32
  llvm.store %x15, %p15 : f32, !llvm.ptr<1>
  %x16 = llvm.extractvalue %done[16] : !acc
  %p16 = llvm.getelementptr %to[32] : (!llvm.ptr<1>) -> !llvm.ptr<1>, f32
  llvm.store %x16, %p16 : f32, !llvm.ptr<1>
  %x17 = llvm.extractvalue %done[17] : !acc
  %p17 = llvm.getelementptr %to[33] : (!llvm.ptr<1>) -> !llvm.ptr<1>, f32
  llvm.store %x17, %p17 : f32, !llvm.ptr<1>
  %x18 = llvm.extractvalue %done[18] : !acc
  %p18 = llvm.getelementptr %to[1056] : (!llvm.ptr<1>) -> !llvm.ptr<1>, f32
  llvm.store %x18, %p18 : f32, !llvm.ptr<1>
  %x19 = llvm.extractvalue %done[19] : !acc
  %p19 = llvm.getelementptr %to[1057] : (!llvm.ptr<1>) -> !llvm.ptr<1>, f32
  llvm.store %x19, %p19 : f32, !llvm.ptr<1>
  %x20 = llvm.extractvalue %done[20] : !acc
  %p20 = llvm.getelementptr %to[40] : (!llvm.ptr<1>) -> !llvm.ptr<1>, f32
  llvm.store %x20, %p20 : f32, !llvm.ptr<1>
  %x21 = llvm.extractvalue %done[21] : !acc
  %p21 = llvm.getelementptr %to[41] : (!llvm.ptr<1>) -> !llvm.ptr<1>, f32
  llvm.store %x21, %p21 : f32, !llvm.ptr<1>
  %x22 = llvm.extractvalue %done[22] : !acc
  %p22 = llvm.getelementptr %to[1064] : (!llvm.ptr<1>) -> !llvm.ptr<1>, f32
  llvm.store %x22, %p22 : f32, !llvm.ptr<1>
  %x23 = llvm.extractvalue %done[23] : !acc
  %p23 = llvm.getelementptr %to[1065] : (!llvm.ptr<1>) -> !llvm.ptr<1>, f32
  llvm.store %x23, %p23 : f32, !llvm.ptr<1>
  %x24 = llvm.extractvalue %done[24] : !acc
  %p24 = llvm.getelementptr %to[48] : (!llvm.ptr<1>) -> !llvm.ptr<1>, f32
  llvm.store %x24, %p24 : f32, !llvm.ptr<1>
  %x25 = llvm.extractvalue %done[25] : !acc
  %p25 = llvm.getelementptr %to[49] : (!llvm.ptr<1>) -> !llvm.ptr<1>, f32
  llvm.store %x25, %p25 : f32, !llvm.ptr<1>
  %x26 = llvm.extractvalue %done[26] : !acc
  %p26 = llvm.getelementptr %to[1072] : (!llvm.ptr<1>) -> !llvm.ptr<1>, f32
  llvm.store %x26, %p26 : f32, !llvm.ptr<1>
  %x27 = llvm.extractvalue %done[27] : !acc
  %p27 = llvm.getelementptr %to[1073] : (!llvm.ptr<1>) -> !llvm.ptr<1>, f32
  llvm.store %x27, %p27 : f32, !llvm.ptr<1>
  %x28 = llvm.extractvalue %done[28] : !acc
  %p28 = llvm.getelementptr %to[56] : (!llvm.ptr<1>) -> !llvm.ptr<1>, f32
  llvm.store %x28, %p28 : f32, !llvm.ptr<1>
  %x29 = llvm.extractvalue %done[29] : !acc
  %p29 = llvm.getelementptr %to[57] : (!llvm.ptr<1>) -> !llvm.ptr<1>, f32
  llvm.store %x29, %p29 : f32, !llvm.ptr<1>
  %x30 = llvm.extractvalue %done[30] : !acc
  %p30 = llvm.getelementptr %to[1080] : (!llvm.ptr<1>) -> !llvm.ptr<1>, f32
  llvm.store %x30, %p30 : f32, !llvm.ptr<1>
  %x31 = llvm.extractvalue %done[31] : !acc
  %p31 = llvm.getelementptr %to[1081] : (!llvm.ptr<1>) -> !llvm.ptr<1>, f32
  llvm.store %x31, %p31 : f32, !llvm.ptr<1>
  %x32 = llvm.extractvalue %done[32] : !acc
  %p32 = llvm.getelementptr %to[64] : (!llvm.ptr<1>) -> !llvm.ptr<1>, f32
  llvm.store %x32, %p32 : f32, !llvm.ptr<1>
  %x33 = llvm.extractvalue %done[33] : !acc
  %p33 = llvm.getelementptr %to[65] : (!llvm.ptr<1>) -> !llvm.ptr<1>, f32
  llvm.store %x33, %p33 : f32, !llvm.ptr<1>
  %x34 = llvm.extractvalue %done[34] : !acc
  %p34 = llvm.getelementptr %to[1088] : (!llvm.ptr<1>) -> !llvm.ptr<1>, f32
  llvm.store %x34, %p34 : f32, !llvm.ptr<1>
  %x35 = llvm.extractvalue %done[35] : !acc
  %p35 = llvm.getelementptr %to[1089] : (!llvm.ptr<1>) -> !llvm.ptr<1>, f32
  llvm.store %x35, %p35 : f32, !llvm.ptr<1>
  %x36 = llvm.extractvalue %done[36] : !acc
  %p36 = llvm.getelementptr %to[72] : (!llvm.ptr<1>) -> !llvm.ptr<1>, f32
  llvm.store %x36, %p36 : f32, !llvm.ptr<1>
  %x37 = llvm.extractvalue %done[37] : !acc
  %p37 = llvm.getelementptr %to[73] : (!llvm.ptr<1>) -> !llvm.ptr<1>, f32
  llvm.store %x37, %p37 : f32, !llvm.ptr<1>
  %x38 = llvm.extractvalue %done[38] : !acc
  %p38 = llvm.getelementptr %to[1096] : (!llvm.ptr<1>) -> !llvm.ptr<1>, f32
  llvm.store %x38, %p38 : f32, !llvm.ptr<1>
  %x39 = llvm.extractvalue %done[39] : !acc
  %p39 = llvm.getelementptr %to[1097] : (!llvm.ptr<1>) -> !llvm.ptr<1>, f32
  llvm.store %x39, %p39 : f32, !llvm.ptr<1>
  %x40 = llvm.extractvalue %done[40] : !acc
  %p40 = llvm.getelementptr %to[80] : (!llvm.ptr<1>) -> !llvm.ptr<1>, f32
  llvm.store %x40, %p40 : f32, !llvm.ptr<1>
  %x41 = llvm.extractvalue %done[41] : !acc
  %p41 = llvm.getelementptr %to[81] : (!llvm.ptr<1>) -> !llvm.ptr<1>, f32
  llvm.store %x41, %p41 : f32, !llvm.ptr<1>
  %x42 = llvm.extractvalue %done[42] : !acc
  %p42 = llvm.getelementptr %to[1104] : (!llvm.ptr<1>) -> !llvm.ptr<1>, f32
  llvm.store %x42, %p42 : f32, !llvm.ptr<1>
  %x43 = llvm.extractvalue %done[43] : !acc
  %p43 = llvm.getelementptr %to[1105] : (!llvm.ptr<1>) -> !llvm.ptr<1>, f32
  llvm.store %x43, %p43 : f32, !llvm.ptr<1>
  %x44 = llvm.extractvalue %done[44] : !acc
  %p44 = llvm.getelementptr %to[88] : (!llvm.ptr<1>) -> !llvm.ptr<1>, f32
  llvm.store %x44, %p44 : f32, !llvm.ptr<1>
  %x45 = llvm.extractvalue %done[45] : !acc
  %p45 = llvm.getelementptr %to[89] : (!llvm.ptr<1>) -> !llvm.ptr<1>, f32
  llvm.store %x45, %p45 : f32, !llvm.ptr<1>
  %x46 = llvm.extractvalue %done[46] : !acc
  %p46 = llvm.getelementptr %to[1112] : (!llvm.ptr<1>) -> !llvm.ptr<1>, f32
  llvm.store %x46, %p46 : f32, !llvm.ptr<1>
  %x47 = llvm.extractvalue %done[47] : !acc
  %p47 = llvm.getelementptr %to[1113] : (!llvm.ptr<1>) -> !llvm.ptr<1>, f32
  llvm.store %x47, %p47 : f32, !llvm.ptr<1>
  %x48 = llvm.extractvalue %done[48] : !acc
  %p48 = llvm.getelementptr %to[96] : (!llvm.ptr<1>) -> !llvm.ptr<1>, f32
  llvm.store %x48, %p48 : f32, !llvm.ptr<1>
  %x49 = llvm.extractvalue %done[49] : !acc
  %p49 = llvm.getelementptr %to[97] : (!llvm.ptr<1>) -> !llvm.ptr<1>, f32
  llvm.store %x49, %p49 : f32, !llvm.ptr<1>
  %x50 = llvm.extractvalue %done[50] : !acc
  %p50 = llvm.getelementptr %to[1120] : (!llvm.ptr<1>) -> !llvm.ptr<1>, f32
  llvm.store %x50, %p50 : f32, !llvm.ptr<1>
  %x51 = llvm.extractvalue %done[51] : !acc
  %p51 = llvm.getelementptr %to[1121] : (!llvm.ptr<1>) -> !llvm.ptr<1>, f32
  llvm.store %x51, %p51 : f32, !llvm.ptr<1>
  %x52 = llvm.extractvalue %done[52] : !acc
  %p52 = llvm.getelementptr %to[104] : (!llvm.ptr<1>) -> !llvm.ptr<1>, f32
  llvm.store %x52, %p52 : f32, !llvm.ptr<1>
  %x53 = llvm.extractvalue %done[53] : !acc
  %p53 = llvm.getelementptr %to[105] : (!llvm.ptr<1>) -> !llvm.ptr<1>, f32
  llvm.store %x53, %p53 : f32, !llvm.ptr<1>
  %x54 = llvm.extractvalue %done[54] : !acc
  %p54 = llvm.getelementptr %to[1128] : (!llvm.ptr<1>) -> !llvm.ptr<1>, f32
  llvm.store %x54, %p54 : f32, !llvm.ptr<1>
  %x55 = llvm.extractvalue %done[55] : !acc
  %p55 = llvm.getelementptr %to[1129] : (!llvm.ptr<1>) -> !llvm.ptr<1>, f32
  llvm.store %x55, %p55 : f32, !llvm.ptr<1>
  %x56 = llvm.extractvalue %done[56] : !acc
  %p56 = llvm.getelementptr %to[112] : (!llvm.ptr<1>) -> !llvm.ptr<1>, f32
  llvm.store %x56, %p56 : f32, !llvm.ptr<1>
  %x57 = llvm.extractvalue %done[57] : !acc
  %p57 = llvm.getelementptr %to[113] : (!llvm.ptr<1>) -> !llvm.ptr<1>, f32
  llvm.store %x57, %p57 : f32, !llvm.ptr<1>
  %x58 = llvm.extractvalue %done[58] : !acc
  %p58 = llvm.getelementptr %to[1136] : (!llvm.ptr<1>) -> !llvm.ptr<1>, f32
  llvm.store %x58, %p58 : f32, !llvm.ptr<1>
  %x59 = llvm.extractvalue %done[59] : !acc
  %p59 = llvm.getelementptr %to[1137] : (!llvm.ptr<1>) -> !llvm.ptr<1>, f32
  llvm.store %x59, %p59 : f32, !llvm.ptr<1>
  %x60 = llvm.extractvalue %done[60] : !acc
  %p60 = llvm.getelementptr %to[120] : (!llvm.ptr<1>) -> !llvm.ptr<1>, f32
  llvm.store %x60, %p60 : f32, !llvm.ptr<1>
  %x61 = llvm.extractvalue %done[61] : !acc
  %p61 = llvm.getelementptr %to[121] : (!llvm.ptr<1>) -> !llvm.ptr<1>, f32
  llvm.store %x61, %p61 : f32, !llvm.ptr<1>
  %x62 = llvm.extractvalue %done[62] : !acc
  %p62 = llvm.getelementptr %to[1144] : (!llvm.ptr<1>) -> !llvm.ptr<1>, f32
  llvm.store %x62, %p62 : f32, !llvm.ptr<1>
  %x63 = llvm.extractvalue %done[63] : !acc
  %p63 = llvm.getelementptr %to[1145] : (!llvm.ptr<1>) -> !llvm.ptr<1>, f32
  llvm.store %x63, %p63 : f32, !llvm.ptr<1>
  llvm.br ^end
^end:
  llvm.return
}

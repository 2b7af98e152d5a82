// The main loop of a product on Hopper, by hand: what the compiler's should come to.
//
// D[M, N] = A[M, K] B[N, K]^T in bf16, a tile of 128x128 per block. The first warp group is the producer:
// one lane fills a ring of four stages (64 of K, swizzle 128) by TMA. Two more warp groups consume,
// 64 rows each; one group of products stays in flight while the next stage is waited for, and a
// stage is given back, by each warp, when the products that read it are done. The epilogue rounds in
// registers, stores with stmatrix into a swizzled tile and from there by TMA. All extents may overhang.
//
// DEFINE: %{run} = --kernel=gemm --threads=384 --grid=4 --shared=164864 --hidden=A:bf16[65600]:random --arg=map:A:328x200:64x128:128 --hidden=B:bf16[62976]:random --arg=map:B:328x192:64x128:128 --hidden=D:bf16[38400]:undef --arg=map:D:192x200:64x64:128 --arg=i32:6 --arg=i32:2 --product=D:A,B:200x192x328:0.0626
// RUN: otodus-sim-run %s %{run} | FileCheck %s
// RUN: otodus-sim-run %s %{run} --async=mixed --order=random:11 | FileCheck %s
// RUN: otodus-sim-run %s %{run} --async=early --order=lifo --checks=fast | FileCheck %s
// CHECK: status: ok
// CHECK-NEXT: product: 0 of 38400 elements

// RUN: otodus-opt %s -gk-verify-wgmma-use -convert-nvvm-to-llvm -o %t.mlir
// RUN: %if ptxas %{ mlir-translate --mlir-to-llvmir %t.mlir | opt -O2 | llc -O3 -mtriple=nvptx64-nvidia-cuda -mcpu=sm_90a -mattr=+ptx81 -o %t.ptx %}
// RUN: %if ptxas %{ ptxas -arch=sm_90a -v %t.ptx -o %t.cubin 2>&1 | FileCheck %s --check-prefix=PTXAS %}
// PTXAS-NOT: C75
// PTXAS: 0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
// PTXAS: Used 168 registers
// PTXAS-NOT: C75

// Both kinds of mistake that the pipeline invites. The stage of the products in flight is given back:
// RUN: sed 's/%back = llvm.mlir.constant(3/%back = llvm.mlir.constant(0/; s/%gives = llvm.and %isLeader, %notFirst/%gives = llvm.and %isLeader, %always/' %s > %t.release.mlir
// RUN: otodus-sim-run %t.release.mlir %{run} | FileCheck %s --check-prefix=RELEASE
// RELEASE: status: {{reports|fault}}
// RELEASE: asynchronous operation in flight: nvvm.cp.async.bulk.tensor.shared.cluster.global at {{.*}} writes shared byte {{.*}}, which gk.wgmma at {{.*}} is still reading
// The fence before the store is forgotten:
// RUN: sed '/fence.proxy/d' %s > %t.proxy.mlir
// RUN: otodus-sim-run %t.proxy.mlir %{run} | FileCheck %s --check-prefix=PROXY
// PROXY: status: reports
// PROXY: missing proxy fence: nvvm.cp.async.bulk.tensor.global.shared.cta at {{.*}}, which nvvm.stmatrix at

!acc = !llvm.struct<(f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32)>

llvm.mlir.global external @otodus_shared() {addr_space = 3 : i32, alignment = 1024 : i64} : !llvm.array<0 x i8>

// Barriers: full of stages 0 to 3, then empty of them, 8 bytes each.
llvm.func internal @barrier(%slot: i32) -> !llvm.ptr<3> attributes {always_inline} {
  %base = llvm.mlir.addressof @otodus_shared : !llvm.ptr<3>
  %p = llvm.getelementptr %base[%slot] : (!llvm.ptr<3>, i32) -> !llvm.ptr<3>, i64
  llvm.return %p : !llvm.ptr<3>
}

// A's tile of a stage; B's follows after 16384 bytes.
llvm.func internal @tile(%s: i32) -> !llvm.ptr<3> attributes {always_inline} {
  %base = llvm.mlir.addressof @otodus_shared : !llvm.ptr<3>
  %a = llvm.getelementptr %base[1024] : (!llvm.ptr<3>) -> !llvm.ptr<3>, i8
  %b = llvm.getelementptr %a[%s] : (!llvm.ptr<3>, i32) -> !llvm.ptr<3>, !llvm.array<32768 x i8>
  llvm.return %b : !llvm.ptr<3>
}

// Descriptor of a K-major tile with swizzle 128: groups of 8 rows are 1024 bytes apart.
llvm.func internal @descriptor(%tile: !llvm.ptr<3>) -> i64 attributes {always_inline} {
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
    %mapD: !llvm.ptr {llvm.byval = !llvm.array<128 x i8>, llvm.align = 64 : i64, nvvm.grid_constant},
    %tiles: i32, %columnTiles: i32)
    attributes {nvvm.kernel, nvvm.reqntid = array<i32: 384, 1, 1>, nvvm.minctasm = 1 : i32} {
  %zero = llvm.mlir.constant(0 : i32) : i32
  %one = llvm.mlir.constant(1 : i32) : i32
  %two = llvm.mlir.constant(2 : i32) : i32
  %three = llvm.mlir.constant(3 : i32) : i32
  %four = llvm.mlir.constant(4 : i32) : i32
  %five = llvm.mlir.constant(5 : i32) : i32
  %seven = llvm.mlir.constant(7 : i32) : i32
  %eight = llvm.mlir.constant(8 : i32) : i32
  %sixteen = llvm.mlir.constant(16 : i32) : i32
  %sixtyfour = llvm.mlir.constant(64 : i32) : i32
  %tileSize = llvm.mlir.constant(128 : i32) : i32
  %ticks = llvm.mlir.constant(1000000 : i32) : i32
  %bytes = llvm.mlir.constant(32768 : i32) : i32
  %width = llvm.mlir.constant(31 : i32) : i32
  %everybody = llvm.mlir.constant(-1 : i32) : i32
  %tid = nvvm.read.ptx.sreg.tid.x : i32
  %lane = llvm.and %tid, %width : i32
  %varying = llvm.lshr %tid, %five : i32
  %warp = nvvm.shfl.sync idx %everybody, %varying, %zero, %width : i32 -> i32
  %group = llvm.lshr %warp, %two : i32
  %block = nvvm.read.ptx.sreg.ctaid.x : i32
  %rowTile = llvm.udiv %block, %columnTiles : i32
  %columnTile = llvm.urem %block, %columnTiles : i32
  %row0 = llvm.mul %rowTile, %tileSize : i32
  %column0 = llvm.mul %columnTile, %tileSize : i32
  %isFirst = llvm.icmp "eq" %tid, %zero : i32
  llvm.cond_br %isFirst, ^init(%zero : i32), ^meet
^init(%i: i32):
  %fullOfI = llvm.call @barrier(%i) : (i32) -> !llvm.ptr<3>
  nvvm.mbarrier.init %fullOfI, %one : !llvm.ptr<3>, i32
  %slotI = llvm.add %i, %four : i32
  %emptyOfI = llvm.call @barrier(%slotI) : (i32) -> !llvm.ptr<3>
  nvvm.mbarrier.init %emptyOfI, %eight : !llvm.ptr<3>, i32
  %nextI = llvm.add %i, %one : i32
  %moreI = llvm.icmp "ult" %nextI, %four : i32
  llvm.cond_br %moreI, ^init(%nextI : i32), ^visible
^visible:
  nvvm.fence.mbarrier.init
  llvm.br ^meet
^meet:
  nvvm.barrier0
  %isProducer = llvm.icmp "eq" %group, %zero : i32
  llvm.cond_br %isProducer, ^producer, ^consumer

^producer:
  nvvm.setmaxregister decrease 40
  %isIssuer = llvm.icmp "eq" %tid, %zero : i32
  llvm.cond_br %isIssuer, ^produce(%zero, %zero, %one : i32, i32, i32), ^end
^produce(%kp: i32, %sp: i32, %freeParity: i32):
  %slotEmpty = llvm.add %sp, %four : i32
  %empty = llvm.call @barrier(%slotEmpty) : (i32) -> !llvm.ptr<3>
  nvvm.mbarrier.try_wait.parity %empty, %freeParity, %ticks : !llvm.ptr<3>, i32, i32
  %filled = llvm.call @barrier(%sp) : (i32) -> !llvm.ptr<3>
  nvvm.mbarrier.arrive.expect_tx %filled, %bytes : !llvm.ptr<3>, i32
  %ta = llvm.call @tile(%sp) : (i32) -> !llvm.ptr<3>
  %tb = llvm.getelementptr %ta[16384] : (!llvm.ptr<3>) -> !llvm.ptr<3>, i8
  %toA = llvm.addrspacecast %ta : !llvm.ptr<3> to !llvm.ptr<7>
  %toB = llvm.addrspacecast %tb : !llvm.ptr<3> to !llvm.ptr<7>
  %depth = llvm.mul %kp, %sixtyfour : i32
  nvvm.cp.async.bulk.tensor.shared.cluster.global %toA, %mapA, %filled, box[%depth, %row0]
      : !llvm.ptr<7>, !llvm.ptr
  nvvm.cp.async.bulk.tensor.shared.cluster.global %toB, %mapB, %filled, box[%depth, %column0]
      : !llvm.ptr<7>, !llvm.ptr
  %kpNext = llvm.add %kp, %one : i32
  %spUp = llvm.add %sp, %one : i32
  %spNext = llvm.and %spUp, %three : i32
  %spWraps = llvm.icmp "eq" %spNext, %zero : i32
  %flipped = llvm.xor %freeParity, %one : i32
  %freeNext = llvm.select %spWraps, %flipped, %freeParity : i1, i32
  %moreP = llvm.icmp "ult" %kpNext, %tiles : i32
  llvm.cond_br %moreP, ^produce(%kpNext, %spNext, %freeNext : i32, i32, i32), ^end

^consumer:
  nvvm.setmaxregister increase 232
  %consumer = llvm.sub %group, %one : i32
  %start = llvm.mlir.zero : !acc
  %isLeader = llvm.icmp "eq" %lane, %zero : i32
  llvm.br ^consume(%zero, %zero, %zero, %start : i32, i32, i32, !acc)
^consume(%k: i32, %s: i32, %parity: i32, %c: !acc):
  %ready = llvm.call @barrier(%s) : (i32) -> !llvm.ptr<3>
  nvvm.mbarrier.try_wait.parity %ready, %parity, %ticks : !llvm.ptr<3>, i32, i32
  %at = llvm.call @tile(%s) : (i32) -> !llvm.ptr<3>
  %own = llvm.getelementptr %at[%consumer] : (!llvm.ptr<3>, i32) -> !llvm.ptr<3>, !llvm.array<8192 x i8>
  %bt = llvm.getelementptr %at[16384] : (!llvm.ptr<3>) -> !llvm.ptr<3>, i8
  %da0 = llvm.call @descriptor(%own) : (!llvm.ptr<3>) -> i64
  %db0 = llvm.call @descriptor(%bt) : (!llvm.ptr<3>) -> i64
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
  // The products of the stage before this one are done: it is free.
  %flying = gk.wgmma_wait 1 for %c3 : m64n128k16
  %gives = llvm.and %isLeader, %notFirst : i1
  %back = llvm.mlir.constant(3 : i32) : i32
  %lower = llvm.add %s, %back : i32
  %previous = llvm.and %lower, %three : i32
  %slotFree = llvm.add %previous, %four : i32
  llvm.cond_br %gives, ^release, ^next
^release:
  %free = llvm.call @barrier(%slotFree) : (i32) -> !llvm.ptr<3>
  nvvm.mbarrier.arrive %free : !llvm.ptr<3>
  llvm.br ^next
^next:
  %kNext = llvm.add %k, %one : i32
  %sUp = llvm.add %s, %one : i32
  %sNext = llvm.and %sUp, %three : i32
  %sWraps = llvm.icmp "eq" %sNext, %zero : i32
  %parityFlipped = llvm.xor %parity, %one : i32
  %parityNext = llvm.select %sWraps, %parityFlipped, %parity : i1, i32
  %more = llvm.icmp "ult" %kNext, %tiles : i32
  llvm.cond_br %more, ^consume(%kNext, %sNext, %parityNext, %flying : i32, i32, i32, !acc), ^store

  // Two slabs of 64 columns, 128 rows of 128 bytes, chunks of 16 bytes swizzled. A stmatrix of four
  // takes 16 rows and 16 columns; its lane l gives the address of row l mod 16, chunk l / 16.
^store:
  %done = gk.wgmma_wait 0 for %flying : m64n128k16
  %base = llvm.mlir.addressof @otodus_shared : !llvm.ptr<3>
  %out = llvm.getelementptr %base[132096] : (!llvm.ptr<3>) -> !llvm.ptr<3>, i8
  %fifteen = llvm.mlir.constant(15 : i32) : i32
  %rowOfLane = llvm.and %lane, %fifteen : i32
  %chunkOfLane = llvm.lshr %lane, %four : i32
  %warpOfGroup = llvm.and %warp, %three : i32
  %groupRow = llvm.mul %consumer, %sixtyfour : i32
  %warpRow = llvm.mul %warpOfGroup, %sixteen : i32
  %firstRow = llvm.add %groupRow, %warpRow : i32
  %row = llvm.add %firstRow, %rowOfLane : i32
  %rowPlace = llvm.getelementptr %out[%row] : (!llvm.ptr<3>, i32) -> !llvm.ptr<3>, !llvm.array<128 x i8>
  %phase = llvm.and %row, %seven : i32
  %x0_0 = llvm.extractvalue %done[0] : !acc
  %y0_0 = llvm.extractvalue %done[1] : !acc
  %u0_0 = llvm.mlir.poison : vector<2xf32>
  %v0_0 = llvm.insertelement %x0_0, %u0_0[%zero : i32] : vector<2xf32>
  %w0_0 = llvm.insertelement %y0_0, %v0_0[%one : i32] : vector<2xf32>
  %h0_0 = llvm.fptrunc %w0_0 : vector<2xf32> to vector<2xbf16>
  %r0_0 = llvm.bitcast %h0_0 : vector<2xbf16> to i32
  %x0_1 = llvm.extractvalue %done[2] : !acc
  %y0_1 = llvm.extractvalue %done[3] : !acc
  %u0_1 = llvm.mlir.poison : vector<2xf32>
  %v0_1 = llvm.insertelement %x0_1, %u0_1[%zero : i32] : vector<2xf32>
  %w0_1 = llvm.insertelement %y0_1, %v0_1[%one : i32] : vector<2xf32>
  %h0_1 = llvm.fptrunc %w0_1 : vector<2xf32> to vector<2xbf16>
  %r0_1 = llvm.bitcast %h0_1 : vector<2xbf16> to i32
  %x0_2 = llvm.extractvalue %done[4] : !acc
  %y0_2 = llvm.extractvalue %done[5] : !acc
  %u0_2 = llvm.mlir.poison : vector<2xf32>
  %v0_2 = llvm.insertelement %x0_2, %u0_2[%zero : i32] : vector<2xf32>
  %w0_2 = llvm.insertelement %y0_2, %v0_2[%one : i32] : vector<2xf32>
  %h0_2 = llvm.fptrunc %w0_2 : vector<2xf32> to vector<2xbf16>
  %r0_2 = llvm.bitcast %h0_2 : vector<2xbf16> to i32
  %x0_3 = llvm.extractvalue %done[6] : !acc
  %y0_3 = llvm.extractvalue %done[7] : !acc
  %u0_3 = llvm.mlir.poison : vector<2xf32>
  %v0_3 = llvm.insertelement %x0_3, %u0_3[%zero : i32] : vector<2xf32>
  %w0_3 = llvm.insertelement %y0_3, %v0_3[%one : i32] : vector<2xf32>
  %h0_3 = llvm.fptrunc %w0_3 : vector<2xf32> to vector<2xbf16>
  %r0_3 = llvm.bitcast %h0_3 : vector<2xbf16> to i32
  %chunk0 = llvm.mlir.constant(0 : i32) : i32
  %plain0 = llvm.add %chunkOfLane, %chunk0 : i32
  %mixed0 = llvm.xor %plain0, %phase : i32
  %slab0 = llvm.getelementptr %rowPlace[0] : (!llvm.ptr<3>) -> !llvm.ptr<3>, !llvm.array<16384 x i8>
  %place0 = llvm.getelementptr %slab0[%mixed0] : (!llvm.ptr<3>, i32) -> !llvm.ptr<3>, !llvm.array<16 x i8>
  nvvm.stmatrix %place0, %r0_0, %r0_1, %r0_2, %r0_3 {layout = #nvvm.mma_layout<row>,
      shape = #nvvm.ld_st_matrix_shape<m = 8, n = 8>, eltType = #nvvm.ld_st_matrix_elt_type<b16>}
      : !llvm.ptr<3>, i32, i32, i32, i32
  %x1_0 = llvm.extractvalue %done[8] : !acc
  %y1_0 = llvm.extractvalue %done[9] : !acc
  %u1_0 = llvm.mlir.poison : vector<2xf32>
  %v1_0 = llvm.insertelement %x1_0, %u1_0[%zero : i32] : vector<2xf32>
  %w1_0 = llvm.insertelement %y1_0, %v1_0[%one : i32] : vector<2xf32>
  %h1_0 = llvm.fptrunc %w1_0 : vector<2xf32> to vector<2xbf16>
  %r1_0 = llvm.bitcast %h1_0 : vector<2xbf16> to i32
  %x1_1 = llvm.extractvalue %done[10] : !acc
  %y1_1 = llvm.extractvalue %done[11] : !acc
  %u1_1 = llvm.mlir.poison : vector<2xf32>
  %v1_1 = llvm.insertelement %x1_1, %u1_1[%zero : i32] : vector<2xf32>
  %w1_1 = llvm.insertelement %y1_1, %v1_1[%one : i32] : vector<2xf32>
  %h1_1 = llvm.fptrunc %w1_1 : vector<2xf32> to vector<2xbf16>
  %r1_1 = llvm.bitcast %h1_1 : vector<2xbf16> to i32
  %x1_2 = llvm.extractvalue %done[12] : !acc
  %y1_2 = llvm.extractvalue %done[13] : !acc
  %u1_2 = llvm.mlir.poison : vector<2xf32>
  %v1_2 = llvm.insertelement %x1_2, %u1_2[%zero : i32] : vector<2xf32>
  %w1_2 = llvm.insertelement %y1_2, %v1_2[%one : i32] : vector<2xf32>
  %h1_2 = llvm.fptrunc %w1_2 : vector<2xf32> to vector<2xbf16>
  %r1_2 = llvm.bitcast %h1_2 : vector<2xbf16> to i32
  %x1_3 = llvm.extractvalue %done[14] : !acc
  %y1_3 = llvm.extractvalue %done[15] : !acc
  %u1_3 = llvm.mlir.poison : vector<2xf32>
  %v1_3 = llvm.insertelement %x1_3, %u1_3[%zero : i32] : vector<2xf32>
  %w1_3 = llvm.insertelement %y1_3, %v1_3[%one : i32] : vector<2xf32>
  %h1_3 = llvm.fptrunc %w1_3 : vector<2xf32> to vector<2xbf16>
  %r1_3 = llvm.bitcast %h1_3 : vector<2xbf16> to i32
  %chunk1 = llvm.mlir.constant(2 : i32) : i32
  %plain1 = llvm.add %chunkOfLane, %chunk1 : i32
  %mixed1 = llvm.xor %plain1, %phase : i32
  %slab1 = llvm.getelementptr %rowPlace[0] : (!llvm.ptr<3>) -> !llvm.ptr<3>, !llvm.array<16384 x i8>
  %place1 = llvm.getelementptr %slab1[%mixed1] : (!llvm.ptr<3>, i32) -> !llvm.ptr<3>, !llvm.array<16 x i8>
  nvvm.stmatrix %place1, %r1_0, %r1_1, %r1_2, %r1_3 {layout = #nvvm.mma_layout<row>,
      shape = #nvvm.ld_st_matrix_shape<m = 8, n = 8>, eltType = #nvvm.ld_st_matrix_elt_type<b16>}
      : !llvm.ptr<3>, i32, i32, i32, i32
  %x2_0 = llvm.extractvalue %done[16] : !acc
  %y2_0 = llvm.extractvalue %done[17] : !acc
  %u2_0 = llvm.mlir.poison : vector<2xf32>
  %v2_0 = llvm.insertelement %x2_0, %u2_0[%zero : i32] : vector<2xf32>
  %w2_0 = llvm.insertelement %y2_0, %v2_0[%one : i32] : vector<2xf32>
  %h2_0 = llvm.fptrunc %w2_0 : vector<2xf32> to vector<2xbf16>
  %r2_0 = llvm.bitcast %h2_0 : vector<2xbf16> to i32
  %x2_1 = llvm.extractvalue %done[18] : !acc
  %y2_1 = llvm.extractvalue %done[19] : !acc
  %u2_1 = llvm.mlir.poison : vector<2xf32>
  %v2_1 = llvm.insertelement %x2_1, %u2_1[%zero : i32] : vector<2xf32>
  %w2_1 = llvm.insertelement %y2_1, %v2_1[%one : i32] : vector<2xf32>
  %h2_1 = llvm.fptrunc %w2_1 : vector<2xf32> to vector<2xbf16>
  %r2_1 = llvm.bitcast %h2_1 : vector<2xbf16> to i32
  %x2_2 = llvm.extractvalue %done[20] : !acc
  %y2_2 = llvm.extractvalue %done[21] : !acc
  %u2_2 = llvm.mlir.poison : vector<2xf32>
  %v2_2 = llvm.insertelement %x2_2, %u2_2[%zero : i32] : vector<2xf32>
  %w2_2 = llvm.insertelement %y2_2, %v2_2[%one : i32] : vector<2xf32>
  %h2_2 = llvm.fptrunc %w2_2 : vector<2xf32> to vector<2xbf16>
  %r2_2 = llvm.bitcast %h2_2 : vector<2xbf16> to i32
  %x2_3 = llvm.extractvalue %done[22] : !acc
  %y2_3 = llvm.extractvalue %done[23] : !acc
  %u2_3 = llvm.mlir.poison : vector<2xf32>
  %v2_3 = llvm.insertelement %x2_3, %u2_3[%zero : i32] : vector<2xf32>
  %w2_3 = llvm.insertelement %y2_3, %v2_3[%one : i32] : vector<2xf32>
  %h2_3 = llvm.fptrunc %w2_3 : vector<2xf32> to vector<2xbf16>
  %r2_3 = llvm.bitcast %h2_3 : vector<2xbf16> to i32
  %chunk2 = llvm.mlir.constant(4 : i32) : i32
  %plain2 = llvm.add %chunkOfLane, %chunk2 : i32
  %mixed2 = llvm.xor %plain2, %phase : i32
  %slab2 = llvm.getelementptr %rowPlace[0] : (!llvm.ptr<3>) -> !llvm.ptr<3>, !llvm.array<16384 x i8>
  %place2 = llvm.getelementptr %slab2[%mixed2] : (!llvm.ptr<3>, i32) -> !llvm.ptr<3>, !llvm.array<16 x i8>
  nvvm.stmatrix %place2, %r2_0, %r2_1, %r2_2, %r2_3 {layout = #nvvm.mma_layout<row>,
      shape = #nvvm.ld_st_matrix_shape<m = 8, n = 8>, eltType = #nvvm.ld_st_matrix_elt_type<b16>}
      : !llvm.ptr<3>, i32, i32, i32, i32
  %x3_0 = llvm.extractvalue %done[24] : !acc
  %y3_0 = llvm.extractvalue %done[25] : !acc
  %u3_0 = llvm.mlir.poison : vector<2xf32>
  %v3_0 = llvm.insertelement %x3_0, %u3_0[%zero : i32] : vector<2xf32>
  %w3_0 = llvm.insertelement %y3_0, %v3_0[%one : i32] : vector<2xf32>
  %h3_0 = llvm.fptrunc %w3_0 : vector<2xf32> to vector<2xbf16>
  %r3_0 = llvm.bitcast %h3_0 : vector<2xbf16> to i32
  %x3_1 = llvm.extractvalue %done[26] : !acc
  %y3_1 = llvm.extractvalue %done[27] : !acc
  %u3_1 = llvm.mlir.poison : vector<2xf32>
  %v3_1 = llvm.insertelement %x3_1, %u3_1[%zero : i32] : vector<2xf32>
  %w3_1 = llvm.insertelement %y3_1, %v3_1[%one : i32] : vector<2xf32>
  %h3_1 = llvm.fptrunc %w3_1 : vector<2xf32> to vector<2xbf16>
  %r3_1 = llvm.bitcast %h3_1 : vector<2xbf16> to i32
  %x3_2 = llvm.extractvalue %done[28] : !acc
  %y3_2 = llvm.extractvalue %done[29] : !acc
  %u3_2 = llvm.mlir.poison : vector<2xf32>
  %v3_2 = llvm.insertelement %x3_2, %u3_2[%zero : i32] : vector<2xf32>
  %w3_2 = llvm.insertelement %y3_2, %v3_2[%one : i32] : vector<2xf32>
  %h3_2 = llvm.fptrunc %w3_2 : vector<2xf32> to vector<2xbf16>
  %r3_2 = llvm.bitcast %h3_2 : vector<2xbf16> to i32
  %x3_3 = llvm.extractvalue %done[30] : !acc
  %y3_3 = llvm.extractvalue %done[31] : !acc
  %u3_3 = llvm.mlir.poison : vector<2xf32>
  %v3_3 = llvm.insertelement %x3_3, %u3_3[%zero : i32] : vector<2xf32>
  %w3_3 = llvm.insertelement %y3_3, %v3_3[%one : i32] : vector<2xf32>
  %h3_3 = llvm.fptrunc %w3_3 : vector<2xf32> to vector<2xbf16>
  %r3_3 = llvm.bitcast %h3_3 : vector<2xbf16> to i32
  %chunk3 = llvm.mlir.constant(6 : i32) : i32
  %plain3 = llvm.add %chunkOfLane, %chunk3 : i32
  %mixed3 = llvm.xor %plain3, %phase : i32
  %slab3 = llvm.getelementptr %rowPlace[0] : (!llvm.ptr<3>) -> !llvm.ptr<3>, !llvm.array<16384 x i8>
  %place3 = llvm.getelementptr %slab3[%mixed3] : (!llvm.ptr<3>, i32) -> !llvm.ptr<3>, !llvm.array<16 x i8>
  nvvm.stmatrix %place3, %r3_0, %r3_1, %r3_2, %r3_3 {layout = #nvvm.mma_layout<row>,
      shape = #nvvm.ld_st_matrix_shape<m = 8, n = 8>, eltType = #nvvm.ld_st_matrix_elt_type<b16>}
      : !llvm.ptr<3>, i32, i32, i32, i32
  %x4_0 = llvm.extractvalue %done[32] : !acc
  %y4_0 = llvm.extractvalue %done[33] : !acc
  %u4_0 = llvm.mlir.poison : vector<2xf32>
  %v4_0 = llvm.insertelement %x4_0, %u4_0[%zero : i32] : vector<2xf32>
  %w4_0 = llvm.insertelement %y4_0, %v4_0[%one : i32] : vector<2xf32>
  %h4_0 = llvm.fptrunc %w4_0 : vector<2xf32> to vector<2xbf16>
  %r4_0 = llvm.bitcast %h4_0 : vector<2xbf16> to i32
  %x4_1 = llvm.extractvalue %done[34] : !acc
  %y4_1 = llvm.extractvalue %done[35] : !acc
  %u4_1 = llvm.mlir.poison : vector<2xf32>
  %v4_1 = llvm.insertelement %x4_1, %u4_1[%zero : i32] : vector<2xf32>
  %w4_1 = llvm.insertelement %y4_1, %v4_1[%one : i32] : vector<2xf32>
  %h4_1 = llvm.fptrunc %w4_1 : vector<2xf32> to vector<2xbf16>
  %r4_1 = llvm.bitcast %h4_1 : vector<2xbf16> to i32
  %x4_2 = llvm.extractvalue %done[36] : !acc
  %y4_2 = llvm.extractvalue %done[37] : !acc
  %u4_2 = llvm.mlir.poison : vector<2xf32>
  %v4_2 = llvm.insertelement %x4_2, %u4_2[%zero : i32] : vector<2xf32>
  %w4_2 = llvm.insertelement %y4_2, %v4_2[%one : i32] : vector<2xf32>
  %h4_2 = llvm.fptrunc %w4_2 : vector<2xf32> to vector<2xbf16>
  %r4_2 = llvm.bitcast %h4_2 : vector<2xbf16> to i32
  %x4_3 = llvm.extractvalue %done[38] : !acc
  %y4_3 = llvm.extractvalue %done[39] : !acc
  %u4_3 = llvm.mlir.poison : vector<2xf32>
  %v4_3 = llvm.insertelement %x4_3, %u4_3[%zero : i32] : vector<2xf32>
  %w4_3 = llvm.insertelement %y4_3, %v4_3[%one : i32] : vector<2xf32>
  %h4_3 = llvm.fptrunc %w4_3 : vector<2xf32> to vector<2xbf16>
  %r4_3 = llvm.bitcast %h4_3 : vector<2xbf16> to i32
  %chunk4 = llvm.mlir.constant(0 : i32) : i32
  %plain4 = llvm.add %chunkOfLane, %chunk4 : i32
  %mixed4 = llvm.xor %plain4, %phase : i32
  %slab4 = llvm.getelementptr %rowPlace[1] : (!llvm.ptr<3>) -> !llvm.ptr<3>, !llvm.array<16384 x i8>
  %place4 = llvm.getelementptr %slab4[%mixed4] : (!llvm.ptr<3>, i32) -> !llvm.ptr<3>, !llvm.array<16 x i8>
  nvvm.stmatrix %place4, %r4_0, %r4_1, %r4_2, %r4_3 {layout = #nvvm.mma_layout<row>,
      shape = #nvvm.ld_st_matrix_shape<m = 8, n = 8>, eltType = #nvvm.ld_st_matrix_elt_type<b16>}
      : !llvm.ptr<3>, i32, i32, i32, i32
  %x5_0 = llvm.extractvalue %done[40] : !acc
  %y5_0 = llvm.extractvalue %done[41] : !acc
  %u5_0 = llvm.mlir.poison : vector<2xf32>
  %v5_0 = llvm.insertelement %x5_0, %u5_0[%zero : i32] : vector<2xf32>
  %w5_0 = llvm.insertelement %y5_0, %v5_0[%one : i32] : vector<2xf32>
  %h5_0 = llvm.fptrunc %w5_0 : vector<2xf32> to vector<2xbf16>
  %r5_0 = llvm.bitcast %h5_0 : vector<2xbf16> to i32
  %x5_1 = llvm.extractvalue %done[42] : !acc
  %y5_1 = llvm.extractvalue %done[43] : !acc
  %u5_1 = llvm.mlir.poison : vector<2xf32>
  %v5_1 = llvm.insertelement %x5_1, %u5_1[%zero : i32] : vector<2xf32>
  %w5_1 = llvm.insertelement %y5_1, %v5_1[%one : i32] : vector<2xf32>
  %h5_1 = llvm.fptrunc %w5_1 : vector<2xf32> to vector<2xbf16>
  %r5_1 = llvm.bitcast %h5_1 : vector<2xbf16> to i32
  %x5_2 = llvm.extractvalue %done[44] : !acc
  %y5_2 = llvm.extractvalue %done[45] : !acc
  %u5_2 = llvm.mlir.poison : vector<2xf32>
  %v5_2 = llvm.insertelement %x5_2, %u5_2[%zero : i32] : vector<2xf32>
  %w5_2 = llvm.insertelement %y5_2, %v5_2[%one : i32] : vector<2xf32>
  %h5_2 = llvm.fptrunc %w5_2 : vector<2xf32> to vector<2xbf16>
  %r5_2 = llvm.bitcast %h5_2 : vector<2xbf16> to i32
  %x5_3 = llvm.extractvalue %done[46] : !acc
  %y5_3 = llvm.extractvalue %done[47] : !acc
  %u5_3 = llvm.mlir.poison : vector<2xf32>
  %v5_3 = llvm.insertelement %x5_3, %u5_3[%zero : i32] : vector<2xf32>
  %w5_3 = llvm.insertelement %y5_3, %v5_3[%one : i32] : vector<2xf32>
  %h5_3 = llvm.fptrunc %w5_3 : vector<2xf32> to vector<2xbf16>
  %r5_3 = llvm.bitcast %h5_3 : vector<2xbf16> to i32
  %chunk5 = llvm.mlir.constant(2 : i32) : i32
  %plain5 = llvm.add %chunkOfLane, %chunk5 : i32
  %mixed5 = llvm.xor %plain5, %phase : i32
  %slab5 = llvm.getelementptr %rowPlace[1] : (!llvm.ptr<3>) -> !llvm.ptr<3>, !llvm.array<16384 x i8>
  %place5 = llvm.getelementptr %slab5[%mixed5] : (!llvm.ptr<3>, i32) -> !llvm.ptr<3>, !llvm.array<16 x i8>
  nvvm.stmatrix %place5, %r5_0, %r5_1, %r5_2, %r5_3 {layout = #nvvm.mma_layout<row>,
      shape = #nvvm.ld_st_matrix_shape<m = 8, n = 8>, eltType = #nvvm.ld_st_matrix_elt_type<b16>}
      : !llvm.ptr<3>, i32, i32, i32, i32
  %x6_0 = llvm.extractvalue %done[48] : !acc
  %y6_0 = llvm.extractvalue %done[49] : !acc
  %u6_0 = llvm.mlir.poison : vector<2xf32>
  %v6_0 = llvm.insertelement %x6_0, %u6_0[%zero : i32] : vector<2xf32>
  %w6_0 = llvm.insertelement %y6_0, %v6_0[%one : i32] : vector<2xf32>
  %h6_0 = llvm.fptrunc %w6_0 : vector<2xf32> to vector<2xbf16>
  %r6_0 = llvm.bitcast %h6_0 : vector<2xbf16> to i32
  %x6_1 = llvm.extractvalue %done[50] : !acc
  %y6_1 = llvm.extractvalue %done[51] : !acc
  %u6_1 = llvm.mlir.poison : vector<2xf32>
  %v6_1 = llvm.insertelement %x6_1, %u6_1[%zero : i32] : vector<2xf32>
  %w6_1 = llvm.insertelement %y6_1, %v6_1[%one : i32] : vector<2xf32>
  %h6_1 = llvm.fptrunc %w6_1 : vector<2xf32> to vector<2xbf16>
  %r6_1 = llvm.bitcast %h6_1 : vector<2xbf16> to i32
  %x6_2 = llvm.extractvalue %done[52] : !acc
  %y6_2 = llvm.extractvalue %done[53] : !acc
  %u6_2 = llvm.mlir.poison : vector<2xf32>
  %v6_2 = llvm.insertelement %x6_2, %u6_2[%zero : i32] : vector<2xf32>
  %w6_2 = llvm.insertelement %y6_2, %v6_2[%one : i32] : vector<2xf32>
  %h6_2 = llvm.fptrunc %w6_2 : vector<2xf32> to vector<2xbf16>
  %r6_2 = llvm.bitcast %h6_2 : vector<2xbf16> to i32
  %x6_3 = llvm.extractvalue %done[54] : !acc
  %y6_3 = llvm.extractvalue %done[55] : !acc
  %u6_3 = llvm.mlir.poison : vector<2xf32>
  %v6_3 = llvm.insertelement %x6_3, %u6_3[%zero : i32] : vector<2xf32>
  %w6_3 = llvm.insertelement %y6_3, %v6_3[%one : i32] : vector<2xf32>
  %h6_3 = llvm.fptrunc %w6_3 : vector<2xf32> to vector<2xbf16>
  %r6_3 = llvm.bitcast %h6_3 : vector<2xbf16> to i32
  %chunk6 = llvm.mlir.constant(4 : i32) : i32
  %plain6 = llvm.add %chunkOfLane, %chunk6 : i32
  %mixed6 = llvm.xor %plain6, %phase : i32
  %slab6 = llvm.getelementptr %rowPlace[1] : (!llvm.ptr<3>) -> !llvm.ptr<3>, !llvm.array<16384 x i8>
  %place6 = llvm.getelementptr %slab6[%mixed6] : (!llvm.ptr<3>, i32) -> !llvm.ptr<3>, !llvm.array<16 x i8>
  nvvm.stmatrix %place6, %r6_0, %r6_1, %r6_2, %r6_3 {layout = #nvvm.mma_layout<row>,
      shape = #nvvm.ld_st_matrix_shape<m = 8, n = 8>, eltType = #nvvm.ld_st_matrix_elt_type<b16>}
      : !llvm.ptr<3>, i32, i32, i32, i32
  %x7_0 = llvm.extractvalue %done[56] : !acc
  %y7_0 = llvm.extractvalue %done[57] : !acc
  %u7_0 = llvm.mlir.poison : vector<2xf32>
  %v7_0 = llvm.insertelement %x7_0, %u7_0[%zero : i32] : vector<2xf32>
  %w7_0 = llvm.insertelement %y7_0, %v7_0[%one : i32] : vector<2xf32>
  %h7_0 = llvm.fptrunc %w7_0 : vector<2xf32> to vector<2xbf16>
  %r7_0 = llvm.bitcast %h7_0 : vector<2xbf16> to i32
  %x7_1 = llvm.extractvalue %done[58] : !acc
  %y7_1 = llvm.extractvalue %done[59] : !acc
  %u7_1 = llvm.mlir.poison : vector<2xf32>
  %v7_1 = llvm.insertelement %x7_1, %u7_1[%zero : i32] : vector<2xf32>
  %w7_1 = llvm.insertelement %y7_1, %v7_1[%one : i32] : vector<2xf32>
  %h7_1 = llvm.fptrunc %w7_1 : vector<2xf32> to vector<2xbf16>
  %r7_1 = llvm.bitcast %h7_1 : vector<2xbf16> to i32
  %x7_2 = llvm.extractvalue %done[60] : !acc
  %y7_2 = llvm.extractvalue %done[61] : !acc
  %u7_2 = llvm.mlir.poison : vector<2xf32>
  %v7_2 = llvm.insertelement %x7_2, %u7_2[%zero : i32] : vector<2xf32>
  %w7_2 = llvm.insertelement %y7_2, %v7_2[%one : i32] : vector<2xf32>
  %h7_2 = llvm.fptrunc %w7_2 : vector<2xf32> to vector<2xbf16>
  %r7_2 = llvm.bitcast %h7_2 : vector<2xbf16> to i32
  %x7_3 = llvm.extractvalue %done[62] : !acc
  %y7_3 = llvm.extractvalue %done[63] : !acc
  %u7_3 = llvm.mlir.poison : vector<2xf32>
  %v7_3 = llvm.insertelement %x7_3, %u7_3[%zero : i32] : vector<2xf32>
  %w7_3 = llvm.insertelement %y7_3, %v7_3[%one : i32] : vector<2xf32>
  %h7_3 = llvm.fptrunc %w7_3 : vector<2xf32> to vector<2xbf16>
  %r7_3 = llvm.bitcast %h7_3 : vector<2xbf16> to i32
  %chunk7 = llvm.mlir.constant(6 : i32) : i32
  %plain7 = llvm.add %chunkOfLane, %chunk7 : i32
  %mixed7 = llvm.xor %plain7, %phase : i32
  %slab7 = llvm.getelementptr %rowPlace[1] : (!llvm.ptr<3>) -> !llvm.ptr<3>, !llvm.array<16384 x i8>
  %place7 = llvm.getelementptr %slab7[%mixed7] : (!llvm.ptr<3>, i32) -> !llvm.ptr<3>, !llvm.array<16 x i8>
  nvvm.stmatrix %place7, %r7_0, %r7_1, %r7_2, %r7_3 {layout = #nvvm.mma_layout<row>,
      shape = #nvvm.ld_st_matrix_shape<m = 8, n = 8>, eltType = #nvvm.ld_st_matrix_elt_type<b16>}
      : !llvm.ptr<3>, i32, i32, i32, i32
  nvvm.fence.proxy {kind = #nvvm.proxy_kind<async.shared>, space = #nvvm.shared_space<cta>}
  // The named barrier of the warp group; a constant for each, since one that varies reserves all 16.
  %isSecond = llvm.icmp "ne" %consumer, %zero : i32
  llvm.cond_br %isSecond, ^second, ^first
^first:
  nvvm.barrier id = %one number_of_threads = %tileSize
  llvm.br ^written
^second:
  nvvm.barrier id = %two number_of_threads = %tileSize
  llvm.br ^written
^written:
  %inGroup = llvm.mlir.constant(127 : i32) : i32
  %threadOfGroup = llvm.and %tid, %inGroup : i32
  %isStorer = llvm.icmp "eq" %threadOfGroup, %zero : i32
  llvm.cond_br %isStorer, ^copy, ^end
^copy:
  %left = llvm.getelementptr %out[%consumer] : (!llvm.ptr<3>, i32) -> !llvm.ptr<3>, !llvm.array<8192 x i8>
  %right = llvm.getelementptr %left[16384] : (!llvm.ptr<3>) -> !llvm.ptr<3>, i8
  %rowD = llvm.add %row0, %groupRow : i32
  %column1 = llvm.add %column0, %sixtyfour : i32
  nvvm.cp.async.bulk.tensor.global.shared.cta %mapD, %left, box[%column0, %rowD] : !llvm.ptr, !llvm.ptr<3>
  nvvm.cp.async.bulk.tensor.global.shared.cta %mapD, %right, box[%column1, %rowD] : !llvm.ptr, !llvm.ptr<3>
  nvvm.cp.async.bulk.commit.group
  nvvm.cp.async.bulk.wait_group 0
  llvm.br ^end
^end:
  llvm.return
}

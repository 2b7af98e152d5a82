// One product of a warp group for every majorness of its operands.
//
// (image: shared memory's content, bytes: its size, a, b: matrix descriptors relative to the start of
// that memory, scale: keep the accumulator, accumulator: f32[128][n / 2], out: the same).
// Which layout and swizzle is used is a matter of the descriptors alone. 128 threads.
//
// It assembles as it is:
// RUN: otodus-opt %s -convert-nvvm-to-llvm -o %t.mlir
// RUN: %if ptxas %{ mlir-translate --mlir-to-llvmir %t.mlir | opt -O2 | llc -O3 -mtriple=nvptx64-nvidia-cuda -mcpu=sm_90a -mattr=+ptx81 -o %t.ptx %}
// RUN: %if ptxas %{ ptxas -arch=sm_90a -v %t.ptx -o %t.cubin 2>&1 | FileCheck %s %}
// CHECK-NOT: C75
// CHECK: 0 bytes spill stores
// CHECK-NOT: C75

!acc8 = !llvm.struct<(f32, f32, f32, f32)>
!acc64 = !llvm.struct<(f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32)>
!acc256 = !llvm.struct<(f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32, f32)>

llvm.mlir.global external @otodus_shared() {addr_space = 3 : i32, alignment = 1024 : i64} : !llvm.array<0 x i8>

// Copies %bytes bytes (a multiple of 4) of %image to shared memory at %to, by 128 threads.
llvm.func internal @fill(%image: !llvm.ptr<1>, %to: !llvm.ptr<3>, %bytes: i32) {
  %four = llvm.mlir.constant(4 : i32) : i32
  %step = llvm.mlir.constant(512 : i32) : i32
  %t = nvvm.read.ptx.sreg.tid.x : i32
  %first = llvm.mul %t, %four : i32
  llvm.br ^head(%first : i32)
^head(%i: i32):
  %more = llvm.icmp "ult" %i, %bytes : i32
  llvm.cond_br %more, ^body, ^end
^body:
  %from = llvm.getelementptr %image[%i] : (!llvm.ptr<1>, i32) -> !llvm.ptr<1>, i8
  %x = llvm.load %from : !llvm.ptr<1> -> i32
  %at = llvm.getelementptr %to[%i] : (!llvm.ptr<3>, i32) -> !llvm.ptr<3>, i8
  llvm.store %x, %at : i32, !llvm.ptr<3>
  %next = llvm.add %i, %step : i32
  llvm.br ^head(%next : i32)
^end:
  llvm.return
}

// Adds the start of shared memory to a descriptor.
llvm.func internal @descriptor(%relative: i64, %base: !llvm.ptr<3>) -> i64 {
  %address = llvm.ptrtoint %base : !llvm.ptr<3> to i64
  %mask = llvm.mlir.constant(0x3ffff : i64) : i64
  %four = llvm.mlir.constant(4 : i64) : i64
  %low = llvm.and %address, %mask : i64
  %start = llvm.lshr %low, %four : i64
  %d = llvm.add %relative, %start : i64
  llvm.return %d : i64
}

llvm.func @wgmma_n64_kk(%image: !llvm.ptr<1>, %bytes: i32, %a: i64, %b: i64, %scale: i32,
    %accumulator: !llvm.ptr<1>, %out: !llvm.ptr<1>)
    attributes {nvvm.kernel, nvvm.reqntid = array<i32: 128, 1, 1>} {
  %base = llvm.mlir.addressof @otodus_shared : !llvm.ptr<3>
  %t = nvvm.read.ptx.sreg.tid.x : i32
  %mine = llvm.getelementptr %accumulator[%t] : (!llvm.ptr<1>, i32) -> !llvm.ptr<1>, !acc64
  %c = llvm.load %mine {alignment = 4 : i64} : !llvm.ptr<1> -> !acc64
  llvm.call @fill(%image, %base, %bytes) : (!llvm.ptr<1>, !llvm.ptr<3>, i32) -> ()
  nvvm.fence.proxy {kind = #nvvm.proxy_kind<async.shared>, space = #nvvm.shared_space<cta>}
  nvvm.barrier0
  %da = llvm.call @descriptor(%a, %base) : (i64, !llvm.ptr<3>) -> i64
  %db = llvm.call @descriptor(%b, %base) : (i64, !llvm.ptr<3>) -> i64
  %zero = llvm.mlir.constant(0 : i32) : i32
  %keep = llvm.icmp "ne" %scale, %zero : i32
  nvvm.wgmma.fence.aligned
  %d = gk.wgmma %da, %db into %c if %keep : m64n64k16
  nvvm.wgmma.commit.group.sync.aligned
  %r = gk.wgmma_wait 0 for %d : m64n64k16
  %to = llvm.getelementptr %out[%t] : (!llvm.ptr<1>, i32) -> !llvm.ptr<1>, !acc64
  llvm.store %r, %to {alignment = 4 : i64} : !acc64, !llvm.ptr<1>
  llvm.return
}

llvm.func @wgmma_n64_mk(%image: !llvm.ptr<1>, %bytes: i32, %a: i64, %b: i64, %scale: i32,
    %accumulator: !llvm.ptr<1>, %out: !llvm.ptr<1>)
    attributes {nvvm.kernel, nvvm.reqntid = array<i32: 128, 1, 1>} {
  %base = llvm.mlir.addressof @otodus_shared : !llvm.ptr<3>
  %t = nvvm.read.ptx.sreg.tid.x : i32
  %mine = llvm.getelementptr %accumulator[%t] : (!llvm.ptr<1>, i32) -> !llvm.ptr<1>, !acc64
  %c = llvm.load %mine {alignment = 4 : i64} : !llvm.ptr<1> -> !acc64
  llvm.call @fill(%image, %base, %bytes) : (!llvm.ptr<1>, !llvm.ptr<3>, i32) -> ()
  nvvm.fence.proxy {kind = #nvvm.proxy_kind<async.shared>, space = #nvvm.shared_space<cta>}
  nvvm.barrier0
  %da = llvm.call @descriptor(%a, %base) : (i64, !llvm.ptr<3>) -> i64
  %db = llvm.call @descriptor(%b, %base) : (i64, !llvm.ptr<3>) -> i64
  %zero = llvm.mlir.constant(0 : i32) : i32
  %keep = llvm.icmp "ne" %scale, %zero : i32
  nvvm.wgmma.fence.aligned
  %d = gk.wgmma %da, %db into %c if %keep {transpose_a} : m64n64k16
  nvvm.wgmma.commit.group.sync.aligned
  %r = gk.wgmma_wait 0 for %d : m64n64k16
  %to = llvm.getelementptr %out[%t] : (!llvm.ptr<1>, i32) -> !llvm.ptr<1>, !acc64
  llvm.store %r, %to {alignment = 4 : i64} : !acc64, !llvm.ptr<1>
  llvm.return
}

llvm.func @wgmma_n64_kn(%image: !llvm.ptr<1>, %bytes: i32, %a: i64, %b: i64, %scale: i32,
    %accumulator: !llvm.ptr<1>, %out: !llvm.ptr<1>)
    attributes {nvvm.kernel, nvvm.reqntid = array<i32: 128, 1, 1>} {
  %base = llvm.mlir.addressof @otodus_shared : !llvm.ptr<3>
  %t = nvvm.read.ptx.sreg.tid.x : i32
  %mine = llvm.getelementptr %accumulator[%t] : (!llvm.ptr<1>, i32) -> !llvm.ptr<1>, !acc64
  %c = llvm.load %mine {alignment = 4 : i64} : !llvm.ptr<1> -> !acc64
  llvm.call @fill(%image, %base, %bytes) : (!llvm.ptr<1>, !llvm.ptr<3>, i32) -> ()
  nvvm.fence.proxy {kind = #nvvm.proxy_kind<async.shared>, space = #nvvm.shared_space<cta>}
  nvvm.barrier0
  %da = llvm.call @descriptor(%a, %base) : (i64, !llvm.ptr<3>) -> i64
  %db = llvm.call @descriptor(%b, %base) : (i64, !llvm.ptr<3>) -> i64
  %zero = llvm.mlir.constant(0 : i32) : i32
  %keep = llvm.icmp "ne" %scale, %zero : i32
  nvvm.wgmma.fence.aligned
  %d = gk.wgmma %da, %db into %c if %keep {transpose_b} : m64n64k16
  nvvm.wgmma.commit.group.sync.aligned
  %r = gk.wgmma_wait 0 for %d : m64n64k16
  %to = llvm.getelementptr %out[%t] : (!llvm.ptr<1>, i32) -> !llvm.ptr<1>, !acc64
  llvm.store %r, %to {alignment = 4 : i64} : !acc64, !llvm.ptr<1>
  llvm.return
}

llvm.func @wgmma_n64_mn(%image: !llvm.ptr<1>, %bytes: i32, %a: i64, %b: i64, %scale: i32,
    %accumulator: !llvm.ptr<1>, %out: !llvm.ptr<1>)
    attributes {nvvm.kernel, nvvm.reqntid = array<i32: 128, 1, 1>} {
  %base = llvm.mlir.addressof @otodus_shared : !llvm.ptr<3>
  %t = nvvm.read.ptx.sreg.tid.x : i32
  %mine = llvm.getelementptr %accumulator[%t] : (!llvm.ptr<1>, i32) -> !llvm.ptr<1>, !acc64
  %c = llvm.load %mine {alignment = 4 : i64} : !llvm.ptr<1> -> !acc64
  llvm.call @fill(%image, %base, %bytes) : (!llvm.ptr<1>, !llvm.ptr<3>, i32) -> ()
  nvvm.fence.proxy {kind = #nvvm.proxy_kind<async.shared>, space = #nvvm.shared_space<cta>}
  nvvm.barrier0
  %da = llvm.call @descriptor(%a, %base) : (i64, !llvm.ptr<3>) -> i64
  %db = llvm.call @descriptor(%b, %base) : (i64, !llvm.ptr<3>) -> i64
  %zero = llvm.mlir.constant(0 : i32) : i32
  %keep = llvm.icmp "ne" %scale, %zero : i32
  nvvm.wgmma.fence.aligned
  %d = gk.wgmma %da, %db into %c if %keep {transpose_a, transpose_b} : m64n64k16
  nvvm.wgmma.commit.group.sync.aligned
  %r = gk.wgmma_wait 0 for %d : m64n64k16
  %to = llvm.getelementptr %out[%t] : (!llvm.ptr<1>, i32) -> !llvm.ptr<1>, !acc64
  llvm.store %r, %to {alignment = 4 : i64} : !acc64, !llvm.ptr<1>
  llvm.return
}

llvm.func @wgmma_n8_kk(%image: !llvm.ptr<1>, %bytes: i32, %a: i64, %b: i64, %scale: i32,
    %accumulator: !llvm.ptr<1>, %out: !llvm.ptr<1>)
    attributes {nvvm.kernel, nvvm.reqntid = array<i32: 128, 1, 1>} {
  %base = llvm.mlir.addressof @otodus_shared : !llvm.ptr<3>
  %t = nvvm.read.ptx.sreg.tid.x : i32
  %mine = llvm.getelementptr %accumulator[%t] : (!llvm.ptr<1>, i32) -> !llvm.ptr<1>, !acc8
  %c = llvm.load %mine {alignment = 4 : i64} : !llvm.ptr<1> -> !acc8
  llvm.call @fill(%image, %base, %bytes) : (!llvm.ptr<1>, !llvm.ptr<3>, i32) -> ()
  nvvm.fence.proxy {kind = #nvvm.proxy_kind<async.shared>, space = #nvvm.shared_space<cta>}
  nvvm.barrier0
  %da = llvm.call @descriptor(%a, %base) : (i64, !llvm.ptr<3>) -> i64
  %db = llvm.call @descriptor(%b, %base) : (i64, !llvm.ptr<3>) -> i64
  %zero = llvm.mlir.constant(0 : i32) : i32
  %keep = llvm.icmp "ne" %scale, %zero : i32
  nvvm.wgmma.fence.aligned
  %d = gk.wgmma %da, %db into %c if %keep : m64n8k16
  nvvm.wgmma.commit.group.sync.aligned
  %r = gk.wgmma_wait 0 for %d : m64n8k16
  %to = llvm.getelementptr %out[%t] : (!llvm.ptr<1>, i32) -> !llvm.ptr<1>, !acc8
  llvm.store %r, %to {alignment = 4 : i64} : !acc8, !llvm.ptr<1>
  llvm.return
}

llvm.func @wgmma_n256_kk(%image: !llvm.ptr<1>, %bytes: i32, %a: i64, %b: i64, %scale: i32,
    %accumulator: !llvm.ptr<1>, %out: !llvm.ptr<1>)
    attributes {nvvm.kernel, nvvm.reqntid = array<i32: 128, 1, 1>} {
  %base = llvm.mlir.addressof @otodus_shared : !llvm.ptr<3>
  %t = nvvm.read.ptx.sreg.tid.x : i32
  %mine = llvm.getelementptr %accumulator[%t] : (!llvm.ptr<1>, i32) -> !llvm.ptr<1>, !acc256
  %c = llvm.load %mine {alignment = 4 : i64} : !llvm.ptr<1> -> !acc256
  llvm.call @fill(%image, %base, %bytes) : (!llvm.ptr<1>, !llvm.ptr<3>, i32) -> ()
  nvvm.fence.proxy {kind = #nvvm.proxy_kind<async.shared>, space = #nvvm.shared_space<cta>}
  nvvm.barrier0
  %da = llvm.call @descriptor(%a, %base) : (i64, !llvm.ptr<3>) -> i64
  %db = llvm.call @descriptor(%b, %base) : (i64, !llvm.ptr<3>) -> i64
  %zero = llvm.mlir.constant(0 : i32) : i32
  %keep = llvm.icmp "ne" %scale, %zero : i32
  nvvm.wgmma.fence.aligned
  %d = gk.wgmma %da, %db into %c if %keep : m64n256k16
  nvvm.wgmma.commit.group.sync.aligned
  %r = gk.wgmma_wait 0 for %d : m64n256k16
  %to = llvm.getelementptr %out[%t] : (!llvm.ptr<1>, i32) -> !llvm.ptr<1>, !acc256
  llvm.store %r, %to {alignment = 4 : i64} : !acc256, !llvm.ptr<1>
  llvm.return
}

llvm.func @wgmma_n256_mn(%image: !llvm.ptr<1>, %bytes: i32, %a: i64, %b: i64, %scale: i32,
    %accumulator: !llvm.ptr<1>, %out: !llvm.ptr<1>)
    attributes {nvvm.kernel, nvvm.reqntid = array<i32: 128, 1, 1>} {
  %base = llvm.mlir.addressof @otodus_shared : !llvm.ptr<3>
  %t = nvvm.read.ptx.sreg.tid.x : i32
  %mine = llvm.getelementptr %accumulator[%t] : (!llvm.ptr<1>, i32) -> !llvm.ptr<1>, !acc256
  %c = llvm.load %mine {alignment = 4 : i64} : !llvm.ptr<1> -> !acc256
  llvm.call @fill(%image, %base, %bytes) : (!llvm.ptr<1>, !llvm.ptr<3>, i32) -> ()
  nvvm.fence.proxy {kind = #nvvm.proxy_kind<async.shared>, space = #nvvm.shared_space<cta>}
  nvvm.barrier0
  %da = llvm.call @descriptor(%a, %base) : (i64, !llvm.ptr<3>) -> i64
  %db = llvm.call @descriptor(%b, %base) : (i64, !llvm.ptr<3>) -> i64
  %zero = llvm.mlir.constant(0 : i32) : i32
  %keep = llvm.icmp "ne" %scale, %zero : i32
  nvvm.wgmma.fence.aligned
  %d = gk.wgmma %da, %db into %c if %keep {transpose_a, transpose_b} : m64n256k16
  nvvm.wgmma.commit.group.sync.aligned
  %r = gk.wgmma_wait 0 for %d : m64n256k16
  %to = llvm.getelementptr %out[%t] : (!llvm.ptr<1>, i32) -> !llvm.ptr<1>, !acc256
  llvm.store %r, %to {alignment = 4 : i64} : !acc256, !llvm.ptr<1>
  llvm.return
}

// A from registers: %a is i32[128][4].
llvm.func @wgmma_ra_n64_k(%image: !llvm.ptr<1>, %bytes: i32, %a: !llvm.ptr<1>, %b: i64, %out: !llvm.ptr<1>)
    attributes {nvvm.kernel, nvvm.reqntid = array<i32: 128, 1, 1>} {
  %base = llvm.mlir.addressof @otodus_shared : !llvm.ptr<3>
  %t = nvvm.read.ptx.sreg.tid.x : i32
  %registers = llvm.getelementptr %a[%t] : (!llvm.ptr<1>, i32) -> !llvm.ptr<1>, vector<4xi32>
  %four = llvm.load %registers {alignment = 16 : i64} : !llvm.ptr<1> -> vector<4xi32>
  %i0 = llvm.mlir.constant(0 : i32) : i32
  %i1 = llvm.mlir.constant(1 : i32) : i32
  %i2 = llvm.mlir.constant(2 : i32) : i32
  %i3 = llvm.mlir.constant(3 : i32) : i32
  %a0 = llvm.extractelement %four[%i0 : i32] : vector<4xi32>
  %a1 = llvm.extractelement %four[%i1 : i32] : vector<4xi32>
  %a2 = llvm.extractelement %four[%i2 : i32] : vector<4xi32>
  %a3 = llvm.extractelement %four[%i3 : i32] : vector<4xi32>
  llvm.call @fill(%image, %base, %bytes) : (!llvm.ptr<1>, !llvm.ptr<3>, i32) -> ()
  nvvm.fence.proxy {kind = #nvvm.proxy_kind<async.shared>, space = #nvvm.shared_space<cta>}
  nvvm.barrier0
  %db = llvm.call @descriptor(%b, %base) : (i64, !llvm.ptr<3>) -> i64
  %c = llvm.mlir.poison : !acc64
  %no = llvm.mlir.constant(false) : i1
  nvvm.wgmma.fence.aligned
  %d = gk.wgmma_ra [%a0, %a1, %a2, %a3], %db into %c if %no : m64n64k16
  nvvm.wgmma.commit.group.sync.aligned
  %r = gk.wgmma_wait 0 for %d reading %a0, %a1, %a2, %a3 : m64n64k16
  %to = llvm.getelementptr %out[%t] : (!llvm.ptr<1>, i32) -> !llvm.ptr<1>, !acc64
  llvm.store %r, %to {alignment = 4 : i64} : !acc64, !llvm.ptr<1>
  llvm.return
}

// A from registers: %a is i32[128][4].
llvm.func @wgmma_ra_n64_n(%image: !llvm.ptr<1>, %bytes: i32, %a: !llvm.ptr<1>, %b: i64, %out: !llvm.ptr<1>)
    attributes {nvvm.kernel, nvvm.reqntid = array<i32: 128, 1, 1>} {
  %base = llvm.mlir.addressof @otodus_shared : !llvm.ptr<3>
  %t = nvvm.read.ptx.sreg.tid.x : i32
  %registers = llvm.getelementptr %a[%t] : (!llvm.ptr<1>, i32) -> !llvm.ptr<1>, vector<4xi32>
  %four = llvm.load %registers {alignment = 16 : i64} : !llvm.ptr<1> -> vector<4xi32>
  %i0 = llvm.mlir.constant(0 : i32) : i32
  %i1 = llvm.mlir.constant(1 : i32) : i32
  %i2 = llvm.mlir.constant(2 : i32) : i32
  %i3 = llvm.mlir.constant(3 : i32) : i32
  %a0 = llvm.extractelement %four[%i0 : i32] : vector<4xi32>
  %a1 = llvm.extractelement %four[%i1 : i32] : vector<4xi32>
  %a2 = llvm.extractelement %four[%i2 : i32] : vector<4xi32>
  %a3 = llvm.extractelement %four[%i3 : i32] : vector<4xi32>
  llvm.call @fill(%image, %base, %bytes) : (!llvm.ptr<1>, !llvm.ptr<3>, i32) -> ()
  nvvm.fence.proxy {kind = #nvvm.proxy_kind<async.shared>, space = #nvvm.shared_space<cta>}
  nvvm.barrier0
  %db = llvm.call @descriptor(%b, %base) : (i64, !llvm.ptr<3>) -> i64
  %c = llvm.mlir.poison : !acc64
  %no = llvm.mlir.constant(false) : i1
  nvvm.wgmma.fence.aligned
  %d = gk.wgmma_ra [%a0, %a1, %a2, %a3], %db into %c if %no {transpose_b} : m64n64k16
  nvvm.wgmma.commit.group.sync.aligned
  %r = gk.wgmma_wait 0 for %d reading %a0, %a1, %a2, %a3 : m64n64k16
  %to = llvm.getelementptr %out[%t] : (!llvm.ptr<1>, i32) -> !llvm.ptr<1>, !acc64
  llvm.store %r, %to {alignment = 4 : i64} : !acc64, !llvm.ptr<1>
  llvm.return
}

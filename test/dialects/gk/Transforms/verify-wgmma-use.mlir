// RUN: otodus-opt %s -split-input-file -gk-verify-wgmma-use -verify-diagnostics

!acc = !llvm.struct<(f32, f32, f32, f32)>

// A pipelined loop: one group stays in flight over the back edge, and is waited for at the end.
llvm.func @pipelined(%a: i64, %c: !acc, %s: i1, %n: i32) -> f32 {
  %zero = llvm.mlir.constant(0 : i32) : i32
  %one = llvm.mlir.constant(1 : i32) : i32
  llvm.br ^loop(%zero, %c : i32, !acc)
^loop(%i: i32, %x: !acc):
  nvvm.wgmma.fence.aligned
  %y = gk.wgmma %a, %a into %x if %s : m64n8k16
  nvvm.wgmma.commit.group.sync.aligned
  %z = gk.wgmma_wait 1 for %y : m64n8k16
  %next = llvm.add %i, %one : i32
  %more = llvm.icmp "slt" %next, %n : i32
  llvm.cond_br %more, ^loop(%next, %z : i32, !acc), ^end(%z : !acc)
^end(%last: !acc):
  %done = gk.wgmma_wait 0 for %last : m64n8k16
  %r = llvm.extractvalue %done[0] : !acc
  llvm.return %r : f32
}

// -----

!acc = !llvm.struct<(f32, f32, f32, f32)>

// Two groups in flight: the older one is done after a wait that leaves one.
llvm.func @two_groups(%a: i64, %c: !acc, %s: i1) -> f32 {
  %x = gk.wgmma %a, %a into %c if %s : m64n8k16
  nvvm.wgmma.commit.group.sync.aligned
  %y = gk.wgmma %a, %a into %c if %s : m64n8k16
  nvvm.wgmma.commit.group.sync.aligned
  %x1 = gk.wgmma_wait 1 for %x : m64n8k16
  %r = llvm.extractvalue %x1[0] : !acc
  %y1 = gk.wgmma_wait 0 for %y : m64n8k16
  llvm.return %r : f32
}

// -----

!acc = !llvm.struct<(f32, f32, f32, f32)>

llvm.func @no_wait(%a: i64, %c: !acc, %s: i1) -> f32 {
  // expected-note @+1 {{the product in flight; groups committed since: 1}}
  %x = gk.wgmma %a, %a into %c if %s : m64n8k16
  nvvm.wgmma.commit.group.sync.aligned
  // expected-error @+1 {{'llvm.extractvalue' op uses an accumulator that wgmma still writes; wait for it with gk.wgmma_wait and use the wait's result}}
  %r = llvm.extractvalue %x[0] : !acc
  llvm.return %r : f32
}

// -----

!acc = !llvm.struct<(f32, f32, f32, f32)>

// The wait leaves the very group in flight.
llvm.func @wait_of_too_little(%a: i64, %c: !acc, %s: i1) -> f32 {
  // expected-note @+1 {{groups committed since: 1}}
  %x = gk.wgmma %a, %a into %c if %s : m64n8k16
  nvvm.wgmma.commit.group.sync.aligned
  %y = gk.wgmma_wait 1 for %x : m64n8k16
  // expected-error @+1 {{uses an accumulator that wgmma still writes}}
  %r = llvm.extractvalue %y[0] : !acc
  llvm.return %r : f32
}

// -----

!acc = !llvm.struct<(f32, f32, f32, f32)>

llvm.func @not_committed(%a: i64, %c: !acc, %s: i1) -> f32 {
  // expected-note @+1 {{groups committed since: 0}}
  %x = gk.wgmma %a, %a into %c if %s : m64n8k16
  %y = gk.wgmma_wait 0 for %x : m64n8k16
  // expected-error @+1 {{uses an accumulator that wgmma still writes}}
  %r = llvm.extractvalue %y[0] : !acc
  llvm.return %r : f32
}

// -----

!acc = !llvm.struct<(f32, f32, f32, f32)>

// The value from before the wait is not the wait's result.
llvm.func @around_the_wait(%a: i64, %c: !acc, %s: i1) -> f32 {
  // expected-note @+1 {{groups committed since: 1}}
  %x = gk.wgmma %a, %a into %c if %s : m64n8k16
  nvvm.wgmma.commit.group.sync.aligned
  %y = gk.wgmma_wait 0 for %x : m64n8k16
  // expected-error @+1 {{uses an accumulator that wgmma still writes}}
  %r = llvm.extractvalue %x[0] : !acc
  llvm.return %r : f32
}

// -----

!acc = !llvm.struct<(f32, f32, f32, f32)>

// In flight on one of two paths, through a block argument.
llvm.func @one_path(%a: i64, %c: !acc, %s: i1) -> f32 {
  llvm.cond_br %s, ^product, ^join(%c : !acc)
^product:
  // expected-note @+1 {{groups committed since: 1}}
  %x = gk.wgmma %a, %a into %c if %s : m64n8k16
  nvvm.wgmma.commit.group.sync.aligned
  llvm.br ^join(%x : !acc)
^join(%y: !acc):
  // expected-error @+1 {{uses an accumulator that wgmma still writes}}
  %r = llvm.extractvalue %y[0] : !acc
  llvm.return %r : f32
}

// -----

!acc = !llvm.struct<(f32, f32, f32, f32)>

// Around a back edge.
llvm.func @loop(%a: i64, %c: !acc, %s: i1, %p: !llvm.ptr) {
  llvm.br ^loop(%c : !acc)
^loop(%x: !acc):
  // expected-error @+1 {{'llvm.store' op uses an accumulator that wgmma still writes}}
  llvm.store %x, %p : !acc, !llvm.ptr
  // expected-note @+1 {{groups committed since: 1}}
  %y = gk.wgmma %a, %a into %x if %s : m64n8k16
  nvvm.wgmma.commit.group.sync.aligned
  llvm.cond_br %s, ^loop(%y : !acc), ^end
^end:
  llvm.return
}

// -----

!acc = !llvm.struct<(f32, f32, f32, f32)>

// The wait of the nvvm dialect carries nothing.
llvm.func @untied_wait(%a: i64, %c: !acc) -> f32 {
  // expected-note @+1 {{groups committed since: 1}}
  %x = nvvm.wgmma.mma_async %a, %a, %c, <m = 64, n = 8, k = 16>, D [<f32>, #nvvm.wgmma_scale_out<one>],
    A [<bf16>, #nvvm.wgmma_scale_in<one>, #nvvm.mma_layout<row>],
    B [<bf16>, #nvvm.wgmma_scale_in<one>, #nvvm.mma_layout<col>] : !acc -> !acc
  nvvm.wgmma.commit.group.sync.aligned
  nvvm.wgmma.wait.group.sync.aligned 0
  // expected-error @+1 {{uses an accumulator that wgmma still writes; wait for it with gk.wgmma_wait}}
  %r = llvm.extractvalue %x[0] : !acc
  llvm.return %r : f32
}

// -----

!acc = !llvm.struct<(f32, f32, f32, f32)>

llvm.func @reading(%b: i64, %r: i32, %q: i32, %c: !acc, %s: i1) {
  %x = gk.wgmma_ra [%r, %r, %q, %q], %b into %c if %s : m64n8k16
  nvvm.wgmma.commit.group.sync.aligned
  %y = gk.wgmma_wait 1 for %x : m64n8k16
  %z = gk.wgmma_wait 0 for %y reading %r, %q : m64n8k16
  %w = gk.wgmma_wait 0 for %z : m64n8k16
  llvm.return
}

// -----

!acc = !llvm.struct<(f32, f32, f32, f32)>

llvm.func @not_reading(%b: i64, %r: i32, %q: i32, %c: !acc, %s: i1) {
  // expected-note @+1 {{the product}}
  %x = gk.wgmma_ra [%r, %r, %q, %q], %b into %c if %s : m64n8k16
  nvvm.wgmma.commit.group.sync.aligned
  // expected-error @+1 {{covers a product with A in registers that are not among its reading operands}}
  %y = gk.wgmma_wait 0 for %x reading %r : m64n8k16
  llvm.return
}

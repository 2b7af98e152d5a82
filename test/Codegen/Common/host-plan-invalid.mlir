// RUN: split-file %s %t
// RUN: not otodus compile %t/static.mlir -o %t/x.oto 2>&1 | FileCheck %s --check-prefix=STATIC
// RUN: not otodus compile %t/empty.mlir -o %t/x.oto 2>&1 | FileCheck %s --check-prefix=EMPTY
// RUN: not otodus compile %t/names.mlir -o %t/x.oto 2>&1 | FileCheck %s --check-prefix=NAMES
// RUN: not otodus compile %t/wide.mlir -o %t/x.oto 2>&1 | FileCheck %s --check-prefix=WIDE
// RUN: not otodus compile %t/declared.mlir -o %t/x.oto 2>&1 | FileCheck %s --check-prefix=DECLARED
// RUN: not otodus compile %t/recursion.mlir -o %t/x.oto 2>&1 | FileCheck %s --check-prefix=RECURSION
// RUN: not otodus compile %t/weight.mlir -o %t/x.oto 2>&1 | FileCheck %s --check-prefix=WEIGHT
// RUN: not otodus compile %t/swapped.mlir -o %t/x.oto 2>&1 | FileCheck %s --check-prefix=SWAPPED
// RUN: not otodus compile %t/dropped.mlir -o %t/x.oto 2>&1 | FileCheck %s --check-prefix=DROPPED
// RUN: not otodus compile %t/twice.mlir -o %t/x.oto 2>&1 | FileCheck %s --check-prefix=TWICE
// RUN: not otodus compile %t/as-input.mlir -o %t/x.oto 2>&1 | FileCheck %s --check-prefix=AS-INPUT
// RUN: not otodus compile %t/other-shape.mlir -o %t/x.oto 2>&1 | FileCheck %s --check-prefix=OTHER
// RUN: not otodus compile %t/position.mlir -o %t/x.oto 2>&1 | FileCheck %s --check-prefix=POSITION
// RUN: not otodus compile %t/chunks.mlir -o %t/x.oto 2>&1 | FileCheck %s --check-prefix=CHUNKS
// RUN: not otodus compile %t/no-kernel.mlir --from=kernel -o %t/x.oto 2>&1 | FileCheck %s --check-prefix=NO-KERNEL
// RUN: not otodus compile %t/kernel.mlir --from=kernel -o %t/x.oto 2>&1 | FileCheck %s --check-prefix=KERNEL
// RUN: not otodus compile %t/parameter.mlir --from=kernel -o %t/x.oto 2>&1 | FileCheck %s --check-prefix=PARAMETER
// RUN: not otodus compile %t/copies.mlir --from=fused -o %t/x.oto 2>&1 | FileCheck %s --check-prefix=COPIES
// RUN: not ls %t/x.oto

// Functions that verify but that no plan can do.

//--- static.mlir
// STATIC: expects input 'arg0' to have any batch and time, [?, ?, ...], but got 'tensor<2x16x64xf32>'
func.func @f(%x: tensor<2x16x64xf32>) -> tensor<2x16x64xf32> {
  %y = mega.silu %x : tensor<2x16x64xf32>
  return %y : tensor<2x16x64xf32>
}

//--- empty.mlir
// EMPTY: expects a public function that computes something, but found none
func.func @f(%x: tensor<?x?x64xf32>) {
  return
}

//--- names.mlir
// NAMES: expects inputs of different names, but two are 'x'
func.func @f(%x: tensor<?x?x64xf32> {mega.name = "x"}, %y: tensor<?x?x64xf32> {mega.name = "x"}) -> tensor<?x?x64xf32> {
  %z = arith.addf %x, %y : tensor<?x?x64xf32>
  return %z : tensor<?x?x64xf32>
}

//--- wide.mlir
// WIDE: expects static sizes of at least 1 after batch and time, at most 2^31 together
func.func @f(%x: tensor<?x?x4611686018427387904xf32>) -> tensor<?x?x4611686018427387904xf32> {
  %y = mega.silu %x : tensor<?x?x4611686018427387904xf32>
  return %y : tensor<?x?x4611686018427387904xf32>
}

//--- declared.mlir
// DECLARED: declared.mlir:4:8: error: 'func.call' op expects a function with a body, but @g is only declared
func.func private @g(tensor<?x?x64xf32>) -> tensor<?x?x64xf32>
func.func @f(%x: tensor<?x?x64xf32>) -> tensor<?x?x64xf32> {
  %y = call @g(%x) : (tensor<?x?x64xf32>) -> tensor<?x?x64xf32>
  return %y : tensor<?x?x64xf32>
}

//--- recursion.mlir
// RECURSION: expects no recursion, but @g calls itself
func.func private @g(%x: tensor<?x?x64xf32>) -> tensor<?x?x64xf32> {
  %y = call @g(%x) : (tensor<?x?x64xf32>) -> tensor<?x?x64xf32>
  return %y : tensor<?x?x64xf32>
}
func.func @f(%x: tensor<?x?x64xf32>) -> tensor<?x?x64xf32> {
  %y = call @g(%x) : (tensor<?x?x64xf32>) -> tensor<?x?x64xf32>
  return %y : tensor<?x?x64xf32>
}

//--- weight.mlir
// WEIGHT: expects operand 0 to be an activation, but got a weight
mega.weight @w : tensor<1x3x64xf32>
func.func @f() -> tensor<1x3x64xf32> {
  %w = mega.use_weight @w : tensor<1x3x64xf32>
  %y = mega.silu %w : tensor<1x3x64xf32>
  return %y : tensor<1x3x64xf32>
}

//--- swapped.mlir
// SWAPPED: expects result 2 to be the new value of state "mean"
mega.weight @w : tensor<64xf32>
func.func @f(%x: tensor<?x?x64xf32>, %n: tensor<?xi64> {mega.state = "count"},
             %m: tensor<?x4xf32> {mega.state = "mean"}, %v: tensor<?x4xf32> {mega.state = "variance"})
    -> (tensor<?x?x64xf32>, tensor<?xi64> {mega.state = "count"},
        tensor<?x4xf32> {mega.state = "mean"}, tensor<?x4xf32> {mega.state = "variance"}) {
  %w = mega.use_weight @w : tensor<64xf32>
  %y, %n1, %m1, %v1 = mega.timestep_norm %x, %w, %w, %n, %m, %v groups(4) eps(1.0e-05)
      : tensor<?x?x64xf32>, tensor<64xf32>, tensor<?xi64>, tensor<?x4xf32>
  return %y, %n1, %v1, %m1 : tensor<?x?x64xf32>, tensor<?xi64>, tensor<?x4xf32>, tensor<?x4xf32>
}

//--- dropped.mlir
// DROPPED: expects a result with mega.state = "h": what is carried in is carried out
func.func @f(%x: tensor<?x?x64xf32>, %h: tensor<?x64x2xf32> {mega.state = "h"}) -> tensor<?x?x64xf32> {
  %y, %h1 = mega.scan init(%x : tensor<?x?x64xf32>) states(%h : tensor<?x64x2xf32>) maps [] {
  ^bb0(%s: f32):
    mega.scan_yield %s, %s : f32, f32
  }
  return %y : tensor<?x?x64xf32>
}

//--- twice.mlir
// TWICE: expects one op to update a state
func.func @f(%x: tensor<?x?x64xf32>, %h: tensor<?x64x2xf32> {mega.state = "h"})
    -> (tensor<?x?x64xf32>, tensor<?x64x2xf32> {mega.state = "h"}) {
  %y, %h1 = mega.scan init(%x : tensor<?x?x64xf32>) states(%h : tensor<?x64x2xf32>) maps [] {
  ^bb0(%s: f32):
    mega.scan_yield %s, %s : f32, f32
  }
  %z, %h2 = mega.scan init(%y : tensor<?x?x64xf32>) states(%h1 : tensor<?x64x2xf32>) maps [] {
  ^bb0(%s: f32):
    mega.scan_yield %s, %s : f32, f32
  }
  return %z, %h2 : tensor<?x?x64xf32>, tensor<?x64x2xf32>
}

//--- as-input.mlir
// AS-INPUT: expects a state to be read as a state, but operand 0 is read otherwise
func.func @f(%x: tensor<?x3x64xf32> {mega.state = "s"})
    -> (tensor<?x3x64xf32>, tensor<?x3x64xf32> {mega.state = "s"}) {
  %y = mega.silu %x : tensor<?x3x64xf32>
  return %y, %x : tensor<?x3x64xf32>, tensor<?x3x64xf32>
}

//--- other-shape.mlir
// OTHER: expects state "h" to have the type and the fresh value that another function gives it, but got 'tensor<?x8xf32>'
func.func @f(%x: tensor<?x?x64xf32>, %h: tensor<?x4xf32> {mega.state = "h"})
    -> (tensor<?x?x64xf32>, tensor<?x4xf32> {mega.state = "h"}) {
  %y = mega.silu %x : tensor<?x?x64xf32>
  return %y, %h : tensor<?x?x64xf32>, tensor<?x4xf32>
}
func.func @g(%x: tensor<?x?x64xf32>, %h: tensor<?x8xf32> {mega.state = "h"})
    -> (tensor<?x?x64xf32>, tensor<?x8xf32> {mega.state = "h"}) {
  %y = mega.silu %x : tensor<?x?x64xf32>
  return %y, %h : tensor<?x?x64xf32>, tensor<?x8xf32>
}

//--- position.mlir
// POSITION: expects tensor<?xi64> for the position, but got 'tensor<?x?x64xf32>'
func.func @f(%x: tensor<?x?x64xf32> {mega.position}) -> tensor<?x?x64xf32> {
  %y = mega.silu %x : tensor<?x?x64xf32>
  return %y : tensor<?x?x64xf32>
}

//--- chunks.mlir
// CHUNKS: expects one chunk in a function, 8, but got 16
mega.weight @f : tensor<4xf32>
func.func @f1(%q: tensor<?x?x2x8xf32>, %p: tensor<?xi64> {mega.position})
    -> (tensor<?x?x2x8xf32>, tensor<?x?x2x8xf32>) {
  %f = mega.use_weight @f : tensor<4xf32>
  %a, %b = mega.rotary %q, %q, %f at %p chunk(8) : tensor<?x?x2x8xf32>, tensor<?x?x2x8xf32>, tensor<4xf32>, tensor<?xi64>
  %c, %d = mega.rotary %q, %q, %f at %p chunk(16) : tensor<?x?x2x8xf32>, tensor<?x?x2x8xf32>, tensor<4xf32>, tensor<?xi64>
  return %a, %c : tensor<?x?x2x8xf32>, tensor<?x?x2x8xf32>
}

//--- no-kernel.mlir
// NO-KERNEL: names the kernel @k after the kernel stage, but there is no such function
func.func @f(%x: tensor<?x?x64xf32>) -> tensor<?x?x64xf32> {
  %y = mega.group "silu" (%a = %x : tensor<?x?x64xf32>) -> (tensor<?x?x64xf32>) attributes {mega.kernels = [@k]} {
    %0 = mega.silu %a : tensor<?x?x64xf32>
    mega.yield %0 : tensor<?x?x64xf32>
  }
  return %y : tensor<?x?x64xf32>
}

//--- kernel.mlir
// KERNEL: expects mega.row_tile, mega.grid and mega.buffers as the kernel stage writes them
func.func @f(%x: tensor<?x?x64xf32>) -> tensor<?x?x64xf32> {
  %y = mega.group "silu" (%a = %x : tensor<?x?x64xf32>) -> (tensor<?x?x64xf32>) attributes {mega.kernels = [@k]} {
    %0 = mega.silu %a : tensor<?x?x64xf32>
    mega.yield %0 : tensor<?x?x64xf32>
  }
  return %y : tensor<?x?x64xf32>
}
func.func private @k(%b: memref<?xf32>, %batch: index, %length: index, %rows: index) attributes {mega.grid = [1], mega.buffers = [], mega.row_tile = 1 : i64} {
  return
}

//--- parameter.mlir
// PARAMETER: has no value for a parameter of @k: {index = 7 : i64, kind = "operand"}
func.func @f(%x: tensor<?x?x64xf32>) -> tensor<?x?x64xf32> {
  %y = mega.group "silu" (%a = %x : tensor<?x?x64xf32>) -> (tensor<?x?x64xf32>) attributes {mega.kernels = [@k]} {
    %0 = mega.silu %a : tensor<?x?x64xf32>
    mega.yield %0 : tensor<?x?x64xf32>
  }
  return %y : tensor<?x?x64xf32>
}
func.func private @k(%b: memref<?xf32>, %batch: index, %length: index, %rows: index) attributes {mega.grid = [array<i64: 0, 1, 1>], mega.buffers = [{index = 7 : i64, kind = "operand"}], mega.row_tile = 1 : i64} {
  return
}

//--- copies.mlir
// Every tile of channels has its own copy of the count, so functions that share it agree.
// COPIES: expects the channel_tile of the other functions that share its state 'count', which makes 2 tiles, but has 1
mega.weight @w : tensor<128xf32>
func.func @narrow(%x: tensor<?x?x128xf32>, %n: tensor<?xi64> {mega.state = "count"}, %m: tensor<?x2xf32> {mega.state = "mean"},
             %v: tensor<?x2xf32> {mega.state = "variance"})
    -> (tensor<?x?x128xf32>, tensor<?xi64> {mega.state = "count"}, tensor<?x2xf32> {mega.state = "mean"},
        tensor<?x2xf32> {mega.state = "variance"}) {
  %w = mega.use_weight @w : tensor<128xf32>
  %g:4 = mega.group "narrow" (%a = %x : tensor<?x?x128xf32>, %b = %w : tensor<128xf32>, %c = %n : tensor<?xi64>,
                           %d = %m : tensor<?x2xf32>, %e = %v : tensor<?x2xf32>)
      -> (tensor<?x?x128xf32>, tensor<?xi64>, tensor<?x2xf32>, tensor<?x2xf32>) schedule(<channel_tile = 64>) {
    %y, %n1, %m1, %v1 = mega.timestep_norm %a, %b, %b, %c, %d, %e groups(2) eps(1.0e-5)
        : tensor<?x?x128xf32>, tensor<128xf32>, tensor<?xi64>, tensor<?x2xf32>
    mega.yield %y, %n1, %m1, %v1 : tensor<?x?x128xf32>, tensor<?xi64>, tensor<?x2xf32>, tensor<?x2xf32>
  }
  return %g#0, %g#1, %g#2, %g#3 : tensor<?x?x128xf32>, tensor<?xi64>, tensor<?x2xf32>, tensor<?x2xf32>
}
func.func @wide(%x: tensor<?x?x128xf32>, %n: tensor<?xi64> {mega.state = "count"}, %m: tensor<?x2xf32> {mega.state = "mean"},
             %v: tensor<?x2xf32> {mega.state = "variance"})
    -> (tensor<?x?x128xf32>, tensor<?xi64> {mega.state = "count"}, tensor<?x2xf32> {mega.state = "mean"},
        tensor<?x2xf32> {mega.state = "variance"}) {
  %w = mega.use_weight @w : tensor<128xf32>
  %g:4 = mega.group "wide" (%a = %x : tensor<?x?x128xf32>, %b = %w : tensor<128xf32>, %c = %n : tensor<?xi64>,
                           %d = %m : tensor<?x2xf32>, %e = %v : tensor<?x2xf32>)
      -> (tensor<?x?x128xf32>, tensor<?xi64>, tensor<?x2xf32>, tensor<?x2xf32>) schedule(<channel_tile = 128>) {
    %y, %n1, %m1, %v1 = mega.timestep_norm %a, %b, %b, %c, %d, %e groups(2) eps(1.0e-5)
        : tensor<?x?x128xf32>, tensor<128xf32>, tensor<?xi64>, tensor<?x2xf32>
    mega.yield %y, %n1, %m1, %v1 : tensor<?x?x128xf32>, tensor<?xi64>, tensor<?x2xf32>, tensor<?x2xf32>
  }
  return %g#0, %g#1, %g#2, %g#3 : tensor<?x?x128xf32>, tensor<?xi64>, tensor<?x2xf32>, tensor<?x2xf32>
}

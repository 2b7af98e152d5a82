// RUN: otodus-opt %s | otodus-opt | FileCheck %s
// RUN: otodus-opt %s -mlir-print-op-generic | otodus-opt | FileCheck %s
// RUN: otodus-opt %s --emit-bytecode | otodus-opt | FileCheck %s

// The examples of the ops' descriptions. The scans are in scan.mlir.

// CHECK: mega.weight @embed.weight : tensor<256x64xf32>
mega.weight @embed.weight : tensor<256x64xf32>
// CHECK: mega.weight @output.output.weight from "embed.weight" : tensor<256x64xf32>
mega.weight @output.output.weight from "embed.weight" : tensor<256x64xf32>

// CHECK-LABEL: func.func @use_weight
func.func @use_weight() -> tensor<256x64xf32> {
  // CHECK: mega.use_weight @embed.weight : tensor<256x64xf32>
  %table = mega.use_weight @embed.weight : tensor<256x64xf32>
  return %table : tensor<256x64xf32>
}

// CHECK-LABEL: func.func @embed
func.func @embed(%tokens: tensor<?x?xi32>, %table: tensor<256x64xf32>, %half: tensor<256x64xbf16>) {
  // CHECK: mega.embed %{{.*}}, %{{.*}} scale(8.000000e+00) : tensor<?x?xi32>, tensor<256x64xf32> -> tensor<?x?x64xf32>
  %x = mega.embed %tokens, %table scale(8.0) : tensor<?x?xi32>, tensor<256x64xf32> -> tensor<?x?x64xf32>
  // CHECK: mega.embed %{{.*}}, %{{.*}} : tensor<?x?xi32>, tensor<256x64xbf16> -> tensor<?x?x64xbf16>
  %y = mega.embed %tokens, %half : tensor<?x?xi32>, tensor<256x64xbf16> -> tensor<?x?x64xbf16>
  return
}

// CHECK-LABEL: func.func @linear
func.func @linear(%x: tensor<?x?x64xf32>, %w: tensor<128x64xf32>, %b: tensor<128xf32>) {
  // CHECK: mega.linear %{{.*}}, %{{.*}} bias %{{.*}} : (tensor<?x?x64xf32>, tensor<128x64xf32>, tensor<128xf32>) -> tensor<?x?x2x64xf32>
  %v = mega.linear %x, %w bias %b
      : (tensor<?x?x64xf32>, tensor<128x64xf32>, tensor<128xf32>) -> tensor<?x?x2x64xf32>
  return
}

// CHECK-LABEL: func.func @linear_from_heads_to_f32
func.func @linear_from_heads_to_f32(%x: tensor<?x?x2x32xbf16>, %w: tensor<256x64xbf16>) {
  // CHECK: mega.linear %{{.*}}, %{{.*}} : (tensor<?x?x2x32xbf16>, tensor<256x64xbf16>) -> tensor<?x?x256xf32>
  %y = mega.linear %x, %w : (tensor<?x?x2x32xbf16>, tensor<256x64xbf16>) -> tensor<?x?x256xf32>
  return
}

// CHECK-LABEL: func.func @silu
func.func @silu(%x: tensor<?x?x64xf32>, %v: tensor<2x?x4x8xbf16>) {
  // CHECK: mega.silu %{{.*}} : tensor<?x?x64xf32>
  %y = mega.silu %x : tensor<?x?x64xf32>
  // CHECK: mega.silu %{{.*}} : tensor<2x?x4x8xbf16>
  %u = mega.silu %v : tensor<2x?x4x8xbf16>
  return
}

// CHECK-LABEL: func.func @scale
func.func @scale(%x: tensor<?x?x2x32xbf16>, %factor: tensor<64xf32>) {
  // CHECK: mega.scale %{{.*}}, %{{.*}} : tensor<?x?x2x32xbf16>, tensor<64xf32>
  %y = mega.scale %x, %factor : tensor<?x?x2x32xbf16>, tensor<64xf32>
  return
}

// CHECK-LABEL: func.func @rms_norm
func.func @rms_norm(%z: tensor<?x?x2x4xf32>, %w: tensor<8xf32>, %b: tensor<8xf32>) {
  // CHECK: mega.rms_norm %{{.*}} weight %{{.*}} bias %{{.*}} eps(1.000000e-05) scale(5.000000e-01) : (tensor<?x?x2x4xf32>, tensor<8xf32>, tensor<8xf32>) -> tensor<?x?x2x4xf32>
  %q = mega.rms_norm %z weight %w bias %b eps(1.0e-5) scale(0.5)
      : (tensor<?x?x2x4xf32>, tensor<8xf32>, tensor<8xf32>) -> tensor<?x?x2x4xf32>
  // CHECK: mega.rms_norm %{{.*}} weight %{{.*}} eps(1.000000e-05) : (tensor<?x?x2x4xf32>, tensor<8xf32>) -> tensor<?x?x2x4xf32>
  %k = mega.rms_norm %z weight %w eps(1.0e-5) : (tensor<?x?x2x4xf32>, tensor<8xf32>) -> tensor<?x?x2x4xf32>
  // CHECK: mega.rms_norm %{{.*}} bias %{{.*}} eps(1.000000e-05) : (tensor<?x?x2x4xf32>, tensor<8xf32>) -> tensor<?x?x2x4xf32>
  %l = mega.rms_norm %z bias %b eps(1.0e-5) : (tensor<?x?x2x4xf32>, tensor<8xf32>) -> tensor<?x?x2x4xf32>
  // CHECK: mega.rms_norm %{{.*}} eps(1.000000e-05) : (tensor<?x?x2x4xf32>) -> tensor<?x?x2x4xf32>
  %m = mega.rms_norm %z eps(1.0e-5) : (tensor<?x?x2x4xf32>) -> tensor<?x?x2x4xf32>
  return
}

// CHECK-LABEL: func.func @layer_norm
func.func @layer_norm(%x: tensor<?x?x8xf32>, %w: tensor<8xf32>, %b: tensor<8xf32>) {
  // CHECK: mega.layer_norm %{{.*}} weight %{{.*}} bias %{{.*}} eps(1.000000e-05) : (tensor<?x?x8xf32>, tensor<8xf32>, tensor<8xf32>) -> tensor<?x?x8xf32>
  %y = mega.layer_norm %x weight %w bias %b eps(1.0e-5)
      : (tensor<?x?x8xf32>, tensor<8xf32>, tensor<8xf32>) -> tensor<?x?x8xf32>
  // CHECK: mega.layer_norm %{{.*}} eps(1.000000e-05) : (tensor<?x?x8xf32>) -> tensor<?x?x8xf32>
  %z = mega.layer_norm %x eps(1.0e-5) : (tensor<?x?x8xf32>) -> tensor<?x?x8xf32>
  return
}

// CHECK-LABEL: func.func @timestep_norm
func.func @timestep_norm(%x: tensor<?x?x16xf32>, %w: tensor<16xf32>, %b: tensor<16xf32>,
                         %n0: tensor<?xi64>, %m0: tensor<?x4xf32>, %v0: tensor<?x4xf32>,
                         %mask: tensor<?x?xi1>) {
  // CHECK: mega.timestep_norm %{{.*}}, %{{.*}}, %{{.*}}, %{{.*}}, %{{.*}}, %{{.*}} groups(4) eps(1.000000e-05) : tensor<?x?x16xf32>, tensor<16xf32>, tensor<?xi64>, tensor<?x4xf32>
  %y, %n1, %m1, %v1 = mega.timestep_norm %x, %w, %b, %n0, %m0, %v0 groups(4) eps(1.0e-5)
      : tensor<?x?x16xf32>, tensor<16xf32>, tensor<?xi64>, tensor<?x4xf32>
  // CHECK: mega.timestep_norm %{{.*}}, %{{.*}}, %{{.*}}, %{{.*}}, %{{.*}}, %{{.*}} mask %{{.*}} groups(4) eps(1.000000e-05) : tensor<?x?x16xf32>, tensor<16xf32>, tensor<?xi64>, tensor<?x4xf32>, tensor<?x?xi1>
  %z, %n2, %m2, %v2 = mega.timestep_norm %y, %w, %b, %n1, %m1, %v1 mask %mask groups(4) eps(1.0e-5)
      : tensor<?x?x16xf32>, tensor<16xf32>, tensor<?xi64>, tensor<?x4xf32>, tensor<?x?xi1>
  return
}

// CHECK-LABEL: func.func @cema
func.func @cema(%x: tensor<?x?x8xf32>, %alpha: tensor<8x4x1xf32>, %delta: tensor<8x4x1xf32>,
                %theta: tensor<8x1x1xf32>, %gamma: tensor<8x4x2xf32>, %omega: tensor<8x1xf32>,
                %h0: tensor<?x8x4x2xf32>) {
  // CHECK: mega.cema %{{.*}}, %{{.*}}, %{{.*}}, %{{.*}}, %{{.*}}, %{{.*}}, %{{.*}} : tensor<?x?x8xf32>, tensor<8x4x1xf32>, tensor<8x1x1xf32>, tensor<8x4x2xf32>, tensor<8x1xf32>, tensor<?x8x4x2xf32>
  %y, %h1 = mega.cema %x, %alpha, %delta, %theta, %gamma, %omega, %h0
      : tensor<?x?x8xf32>, tensor<8x4x1xf32>, tensor<8x1x1xf32>, tensor<8x4x2xf32>,
        tensor<8x1xf32>, tensor<?x8x4x2xf32>
  return
}

// CHECK-LABEL: func.func @rotary
func.func @rotary(%q: tensor<?x?x2x8xf32>, %k: tensor<?x?x1x8xf32>, %freqs: tensor<4xf32>,
                  %position: tensor<?xi64>) {
  // CHECK: mega.rotary %{{.*}}, %{{.*}}, %{{.*}} at %{{.*}} chunk(16) : tensor<?x?x2x8xf32>, tensor<?x?x1x8xf32>, tensor<4xf32>, tensor<?xi64>
  %q1, %k1 = mega.rotary %q, %k, %freqs at %position chunk(16)
      : tensor<?x?x2x8xf32>, tensor<?x?x1x8xf32>, tensor<4xf32>, tensor<?xi64>
  return
}

// CHECK-LABEL: func.func @rotary_in_two_halves
func.func @rotary_in_two_halves(%x: tensor<?x?x8xf32>, %q: tensor<?x?x2x8xf32>, %k: tensor<?x?x2x8xf32>,
                                %freqs: tensor<4xf32>, %position: tensor<?xi64>) {
  // CHECK: mega.rotary_angles %{{.*}} at %{{.*}} like %{{.*}} chunk(16) : tensor<4xf32>, tensor<?xi64>, tensor<?x?x8xf32> -> tensor<?x?x2x8xf32>
  %angles = mega.rotary_angles %freqs at %position like %x chunk(16)
      : tensor<4xf32>, tensor<?xi64>, tensor<?x?x8xf32> -> tensor<?x?x2x8xf32>
  // CHECK: mega.rotate %{{.*}}, %{{.*}} by %{{.*}} : tensor<?x?x2x8xf32>, tensor<?x?x2x8xf32>, tensor<?x?x2x8xf32>
  %q1, %k1 = mega.rotate %q, %k by %angles
      : tensor<?x?x2x8xf32>, tensor<?x?x2x8xf32>, tensor<?x?x2x8xf32>
  return
}

// CHECK-LABEL: func.func @chunk_attention
func.func @chunk_attention(%q: tensor<?x?x2x8xf32>, %k: tensor<?x?x2x8xf32>, %v: tensor<?x?x2x4xf32>,
                           %keys: tensor<?x16x2x8xf32>, %values: tensor<?x16x2x4xf32>,
                           %position: tensor<?xi64>) {
  // CHECK: mega.chunk_attention %{{.*}}, %{{.*}}, %{{.*}}, %{{.*}}, %{{.*}} at %{{.*}} chunk(16) : tensor<?x?x2x8xf32>, tensor<?x?x2x4xf32>, tensor<?x16x2x8xf32>, tensor<?x16x2x4xf32>, tensor<?xi64>
  %o, %keys1, %values1 = mega.chunk_attention %q, %k, %v, %keys, %values at %position chunk(16)
      : tensor<?x?x2x8xf32>, tensor<?x?x2x4xf32>, tensor<?x16x2x8xf32>, tensor<?x16x2x4xf32>,
        tensor<?xi64>
  return
}

// CHECK-LABEL: func.func @last
func.func @last(%x: tensor<?x?x64xf32>) {
  // CHECK: mega.last %{{.*}} : tensor<?x?x64xf32> -> tensor<?x1x64xf32>
  %y = mega.last %x : tensor<?x?x64xf32> -> tensor<?x1x64xf32>
  return
}

// CHECK-LABEL: func.func @group
func.func @group(%x: tensor<?x?x8xf32>, %g: tensor<?x?x8xf32>) {
  // CHECK: mega.group "gate" (%[[A:.*]] = %{{.*}} : tensor<?x?x8xf32>, %[[B:.*]] = %{{.*}} : tensor<?x?x8xf32>) -> (tensor<?x?x8xf32>) schedule(<row_tiles = [1, 4, 12], column_block = 64>) {
  %u = mega.group "gate" (%a = %x : tensor<?x?x8xf32>, %b = %g : tensor<?x?x8xf32>)
      -> (tensor<?x?x8xf32>) schedule(<row_tiles = [1, 4, 12], column_block = 64>) {
    // CHECK-NEXT: %[[S:.*]] = mega.silu %[[B]]
    %s = mega.silu %b : tensor<?x?x8xf32>
    // CHECK-NEXT: %[[Y:.*]] = arith.mulf %[[A]], %[[S]]
    %y = arith.mulf %a, %s : tensor<?x?x8xf32>
    // CHECK-NEXT: mega.yield %[[Y]] : tensor<?x?x8xf32>
    mega.yield %y : tensor<?x?x8xf32>
  }
  // CHECK: %{{.*}}:2 = mega.group "two" (%{{.*}} = %{{.*}} : tensor<?x?x8xf32>) -> (tensor<?x?x8xf32>, tensor<?x?x8xf32>) attributes {note = "kept"} {
  %v:2 = mega.group "two" (%a = %x : tensor<?x?x8xf32>) -> (tensor<?x?x8xf32>, tensor<?x?x8xf32>)
      attributes {note = "kept"} {
    %s = mega.silu %a : tensor<?x?x8xf32>
    mega.yield %a, %s : tensor<?x?x8xf32>, tensor<?x?x8xf32>
  }
  // CHECK: mega.group "nothing" () -> () {
  // CHECK-NEXT: mega.yield
  // CHECK-NEXT: }
  mega.group "nothing" () -> () {
    mega.yield
  }
  return
}

// CHECK-LABEL: func.func private @schedules
func.func private @schedules() attributes {
  // CHECK-SAME: a = #mega.schedule<row_tiles = [1, 4, 12], row_block = 48, column_block = 256, time_tile = 16, channel_tile = 8, cluster = 4>
  a = #mega.schedule<row_tiles = [1, 4, 12], row_block = 48, column_block = 256, time_tile = 16, channel_tile = 8, cluster = 4>,
  // CHECK-SAME: b = #mega.schedule<time_tile = 16>
  b = #mega.schedule<time_tile = 16>,
  // CHECK-SAME: c = #mega.schedule<>
  c = #mega.schedule<>
}

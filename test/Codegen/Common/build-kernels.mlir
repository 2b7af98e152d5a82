// RUN: otodus-opt %s --split-input-file --verify-diagnostics \
// RUN:     --pass-pipeline='builtin.module(func.func(otodus-choose-schedule),otodus-build-kernels)' | FileCheck %s

// A group names its kernels, one per row tile. A kernel's attributes say what the host binds, in
// the order of the parameters; the packed weight is [column blocks, k blocks, 32, 32].

// CHECK-LABEL: func.func @norm_linear
// CHECK:         mega.group "norm_linear"
// CHECK-SAME:      mega.kernels = [@k0_norm_linear_r1, @k0_norm_linear_r4]
// CHECK:       func.func private @k0_norm_linear_r1(
// CHECK-SAME:    mega.row_tile = 1 : i64
// CHECK:       func.func private @k0_norm_linear_r4(%{{.*}}: memref<?xf32>, %[[GAIN:.*]]: memref<?xf32>, %[[PANELS:.*]]: memref<?xf32>, %{{.*}}: memref<?xf32>, %{{.*}}: index, %{{.*}}: index, %{{.*}}: index)
// CHECK-SAME:    mega.buffers = [{index = 0 : i64, kind = "operand"},
// CHECK-SAME:      {columns = array<i64: 1, 64>, dtype = "f32", kind = "vector", rows = array<i64: 1, 0>, sources = array<i64: 2>},
// CHECK-SAME:      {columns = array<i64: 1, 64>, dtype = "f32", kind = "panels", rows = array<i64: 1, 96>, sources = array<i64: 1>},
// CHECK-SAME:      {index = 0 : i64, kind = "result"}]
// CHECK-SAME:    mega.row_tile = 4 : i64
// CHECK:         math.sqrt
// CHECK:         memref.reinterpret_cast %[[GAIN]] {{.*}} sizes: [2, 32]
// CHECK:         memref.reinterpret_cast %[[PANELS]] {{.*}} sizes: [3, 2, 32, 32]
// CHECK:         linalg.generic {{.*}}"reduction", "reduction"]
// CHECK:         } -> tensor<?x4x3x32xf32>
// CHECK:         bufferization.materialize_in_destination

func.func @norm_linear(%x: tensor<?x?x64xf32>, %w: tensor<96x64xf32>, %gain: tensor<64xf32>)
    -> tensor<?x?x96xf32> {
  %g = mega.group "norm_linear" (%a = %x : tensor<?x?x64xf32>, %b = %w : tensor<96x64xf32>,
                                 %c = %gain : tensor<64xf32>) -> (tensor<?x?x96xf32>) schedule(<row_tiles = [1, 4]>) {
    %n = mega.rms_norm %a weight %c eps(1.0e-5)
        : (tensor<?x?x64xf32>, tensor<64xf32>) -> tensor<?x?x64xf32>
    %y = mega.linear %n, %b : (tensor<?x?x64xf32>, tensor<96x64xf32>) -> tensor<?x?x96xf32>
    mega.yield %y : tensor<?x?x96xf32>
  }
  return %g : tensor<?x?x96xf32>
}

// -----

// bf16: pairs along k lie side by side in a panel; sums are f32, the result is rounded once.

// CHECK-LABEL: func.func private @k0_bf16_r4(
// CHECK-SAME:    {columns = array<i64: 1, 64>, dtype = "bf16", kind = "panels", rows = array<i64: 1, 32>, sources = array<i64: 1>}
// CHECK:         memref.reinterpret_cast {{.*}} sizes: [1, 2, 16, 64]
// CHECK:         linalg.generic {{.*}}"reduction", "reduction"]
// CHECK:         } -> tensor<?x4x1x32xf32>
// CHECK:         arith.truncf
// CHECK-NOT:     arith.truncf
// CHECK:         bufferization.materialize_in_destination
func.func @bf16(%x: tensor<?x?x64xbf16>, %w: tensor<32x64xbf16>) -> tensor<?x?x32xbf16> {
  %g = mega.group "bf16" (%a = %x : tensor<?x?x64xbf16>, %b = %w : tensor<32x64xbf16>)
      -> (tensor<?x?x32xbf16>) schedule(<row_tiles = [4]>) {
    %y = mega.linear %a, %b : (tensor<?x?x64xbf16>, tensor<32x64xbf16>) -> tensor<?x?x32xbf16>
    mega.yield %y : tensor<?x?x32xbf16>
  }
  return %g : tensor<?x?x32xbf16>
}

// -----

// Lanes behind the end of a row do not count in its norm.

// CHECK-LABEL: func.func private @k0_padded_r4(
// CHECK:         %[[AT:.*]] = arith.addi
// CHECK:         %[[WIDTH:.*]] = arith.constant 40 : index
// CHECK:         arith.cmpi ult, %[[AT]], %[[WIDTH]]
// CHECK:         arith.select
func.func @padded(%x: tensor<?x?x40xf32>) -> tensor<?x?x40xf32> {
  %g = mega.group "padded" (%a = %x : tensor<?x?x40xf32>) -> (tensor<?x?x40xf32>) schedule(<row_tiles = [4]>) {
    %y = mega.rms_norm %a eps(1.0e-5) : (tensor<?x?x40xf32>) -> tensor<?x?x40xf32>
    mega.yield %y : tensor<?x?x40xf32>
  }
  return %g : tensor<?x?x40xf32>
}

// -----

// Attention is two launches: new keys and values join the open chunk, then every row attends.

// CHECK-LABEL: func.func @attention
// CHECK:         mega.group "attention"
// CHECK-SAME:      mega.before = [@k0_attention_append]
// CHECK-SAME:      mega.kernels = [@k0_attention_r4]
// CHECK:       func.func private @k0_attention_append(
// CHECK-SAME:    mega.grid =
// CHECK:       func.func private @k0_attention_r4(
// CHECK-SAME:    mega.grid =
func.func @attention(%q: tensor<?x?x1x32xf32>, %keys: tensor<?x16x1x32xf32>,
                     %values: tensor<?x16x1x32xf32>, %position: tensor<?xi64>)
    -> (tensor<?x?x1x32xf32>, tensor<?x16x1x32xf32>, tensor<?x16x1x32xf32>) {
  %g:3 = mega.group "attention" (%a = %q : tensor<?x?x1x32xf32>, %b = %keys : tensor<?x16x1x32xf32>,
                                 %c = %values : tensor<?x16x1x32xf32>, %d = %position : tensor<?xi64>)
      -> (tensor<?x?x1x32xf32>, tensor<?x16x1x32xf32>, tensor<?x16x1x32xf32>) schedule(<row_tiles = [4]>) {
    %o, %k1, %v1 = mega.chunk_attention %a, %a, %a, %b, %c at %d chunk(16)
        : tensor<?x?x1x32xf32>, tensor<?x?x1x32xf32>, tensor<?x16x1x32xf32>,
          tensor<?x16x1x32xf32>, tensor<?xi64>
    mega.yield %o, %k1, %v1 : tensor<?x?x1x32xf32>, tensor<?x16x1x32xf32>, tensor<?x16x1x32xf32>
  }
  return %g#0, %g#1, %g#2 : tensor<?x?x1x32xf32>, tensor<?x16x1x32xf32>, tensor<?x16x1x32xf32>
}

// -----

// Every tile of channels of a timestep norm counts its steps in a copy of its own.

// CHECK-LABEL: func.func @norm_over_time
// CHECK:         mega.group "tsn"
// CHECK-SAME:      mega.kernels = [@k0_tsn]
// CHECK:       func.func private @k0_tsn(
// CHECK:         scf.forall (%[[SEQUENCE:.*]], %[[TILE:.*]]) in
// CHECK:           arith.muli %[[SEQUENCE]], %{{.*}} : index
// CHECK:           memref.load %{{.*}} : memref<?xi64>
// CHECK:           scf.for
// CHECK:           memref.store %{{.*}} : memref<?xi64>
func.func @norm_over_time(%x: tensor<?x?x32xf32>, %w: tensor<32xf32>, %n: tensor<?xi64>,
                          %m: tensor<?x2xf32>)
    -> (tensor<?x?x32xf32>, tensor<?xi64>, tensor<?x2xf32>, tensor<?x2xf32>) {
  %g:4 = mega.group "tsn" (%a = %x : tensor<?x?x32xf32>, %b = %w : tensor<32xf32>,
                           %c = %n : tensor<?xi64>, %d = %m : tensor<?x2xf32>,
                           %e = %m : tensor<?x2xf32>)
      -> (tensor<?x?x32xf32>, tensor<?xi64>, tensor<?x2xf32>, tensor<?x2xf32>) {
    %y, %n1, %m1, %v1 = mega.timestep_norm %a, %b, %b, %c, %d, %e groups(2) eps(1.0e-5)
        : tensor<?x?x32xf32>, tensor<32xf32>, tensor<?xi64>, tensor<?x2xf32>
    mega.yield %y, %n1, %m1, %v1
        : tensor<?x?x32xf32>, tensor<?xi64>, tensor<?x2xf32>, tensor<?x2xf32>
  }
  return %g#0, %g#1, %g#2, %g#3
      : tensor<?x?x32xf32>, tensor<?xi64>, tensor<?x2xf32>, tensor<?x2xf32>
}

// -----

// The weight of a product has to come from outside, where it is packed.

mega.weight @w : tensor<32x32xf32>
func.func @weight_inside(%x: tensor<?x?x32xf32>) -> tensor<?x?x32xf32> {
  %g = mega.group "g" (%a = %x : tensor<?x?x32xf32>) -> (tensor<?x?x32xf32>) schedule(<row_tiles = [4]>) {
    // expected-error @below {{'mega.use_weight' op has no row-wise form for a kernel}}
    %w = mega.use_weight @w : tensor<32x32xf32>
    %y = mega.linear %a, %w : (tensor<?x?x32xf32>, tensor<32x32xf32>) -> tensor<?x?x32xf32>
    mega.yield %y : tensor<?x?x32xf32>
  }
  return %g : tensor<?x?x32xf32>
}

// -----

func.func @weight_computed_inside(%x: tensor<?x?x32xf32>, %w: tensor<32x32xf32>)
    -> tensor<?x?x32xf32> {
  %g = mega.group "g" (%a = %x : tensor<?x?x32xf32>, %b = %w : tensor<32x32xf32>)
      -> (tensor<?x?x32xf32>) schedule(<row_tiles = [4]>) {
    // expected-error @below {{'arith.addf' op has no row-wise form for a kernel}}
    %c = arith.addf %b, %b : tensor<32x32xf32>
    %y = mega.linear %a, %c : (tensor<?x?x32xf32>, tensor<32x32xf32>) -> tensor<?x?x32xf32>
    mega.yield %y : tensor<?x?x32xf32>
  }
  return %g : tensor<?x?x32xf32>
}

// -----

func.func @no_row_wise_form(%x: tensor<?x?x32xf32>) -> tensor<?x?x32xf32> {
  %g = mega.group "g" (%a = %x : tensor<?x?x32xf32>) -> (tensor<?x?x32xf32>) schedule(<row_tiles = [4]>) {
    // expected-error @below {{'tensor.cast' op has no row-wise form for a kernel}}
    %b = tensor.cast %a : tensor<?x?x32xf32> to tensor<?x4x32xf32>
    %c = tensor.cast %b : tensor<?x4x32xf32> to tensor<?x?x32xf32>
    mega.yield %c : tensor<?x?x32xf32>
  }
  return %g : tensor<?x?x32xf32>
}

// -----

func.func @results_of_two_shapes(%x: tensor<?x?x32xf32>, %w: tensor<32x32xf32>,
    %v: tensor<64x32xf32>) -> (tensor<?x?x32xf32>, tensor<?x?x64xf32>) {
  // expected-error @below {{'mega.group' op expects results of one shape in a row-wise group}}
  %g:2 = mega.group "g" (%a = %x : tensor<?x?x32xf32>, %b = %w : tensor<32x32xf32>,
                         %c = %v : tensor<64x32xf32>)
      -> (tensor<?x?x32xf32>, tensor<?x?x64xf32>) schedule(<row_tiles = [4]>) {
    %y = mega.linear %a, %b : (tensor<?x?x32xf32>, tensor<32x32xf32>) -> tensor<?x?x32xf32>
    %z = mega.linear %a, %c : (tensor<?x?x32xf32>, tensor<64x32xf32>) -> tensor<?x?x64xf32>
    mega.yield %y, %z : tensor<?x?x32xf32>, tensor<?x?x64xf32>
  }
  return %g#0, %g#1 : tensor<?x?x32xf32>, tensor<?x?x64xf32>
}

// -----

func.func @nothing() {
  // expected-error @below {{'mega.group' op expects a result: a kernel without one computes nothing}}
  mega.group "nothing" () -> () {
    mega.yield
  }
  return
}

// -----

func.func @other_types(%x: tensor<?x?x32xf32>) -> tensor<?x?x32xbf16> {
  %g = mega.group "g" (%a = %x : tensor<?x?x32xf32>) -> (tensor<?x?x32xbf16>) schedule(<row_tiles = [4]>) {
    // expected-error @below {{'arith.truncf' op has no form in a kernel, which expects operands and result of one floating-point type}}
    %b = arith.truncf %a : tensor<?x?x32xf32> to tensor<?x?x32xbf16>
    mega.yield %b : tensor<?x?x32xbf16>
  }
  return %g : tensor<?x?x32xbf16>
}

// -----

func.func @remainder(%x: tensor<?x?x32xf32>) -> tensor<?x?x32xf32> {
  %g = mega.group "g" (%a = %x : tensor<?x?x32xf32>) -> (tensor<?x?x32xf32>) schedule(<row_tiles = [4]>) {
    // expected-error @below {{'arith.remf' op has no form in a kernel, which cannot call a library}}
    %b = arith.remf %a, %a : tensor<?x?x32xf32>
    mega.yield %b : tensor<?x?x32xf32>
  }
  return %g : tensor<?x?x32xf32>
}

// -----

// What follows attention is computed before its output is stored.

// CHECK-LABEL: func.func @gated
// CHECK:       func.func private @k0_gated_r4(
// CHECK-SAME:    {index = 5 : i64, kind = "operand"}, {index = 2 : i64, kind = "result"}
// CHECK:         arith.divf
// CHECK-NEXT:    arith.mulf
// CHECK-NEXT:    linalg.yield
func.func @gated(%q: tensor<?x?x1x32xf32>, %keys: tensor<?x16x1x32xf32>, %values: tensor<?x16x1x32xf32>,
                 %position: tensor<?xi64>, %r: tensor<?x?x1x32xf32>)
    -> (tensor<?x16x1x32xf32>, tensor<?x16x1x32xf32>, tensor<?x?x1x32xf32>) {
  %g:3 = mega.group "gated" (%a = %q : tensor<?x?x1x32xf32>, %a1 = %q : tensor<?x?x1x32xf32>, %b = %keys : tensor<?x16x1x32xf32>,
                             %c = %values : tensor<?x16x1x32xf32>, %d = %position : tensor<?xi64>, %e = %r : tensor<?x?x1x32xf32>)
      -> (tensor<?x16x1x32xf32>, tensor<?x16x1x32xf32>, tensor<?x?x1x32xf32>) schedule(<row_tiles = [4], column_block = 32>) {
    %o, %k1, %v1 = mega.chunk_attention %a, %a, %a1, %b, %c at %d chunk(16)
        : tensor<?x?x1x32xf32>, tensor<?x?x1x32xf32>, tensor<?x16x1x32xf32>, tensor<?x16x1x32xf32>, tensor<?xi64>
    %y = arith.mulf %o, %e : tensor<?x?x1x32xf32>
    mega.yield %k1, %v1, %y : tensor<?x16x1x32xf32>, tensor<?x16x1x32xf32>, tensor<?x?x1x32xf32>
  }
  return %g#0, %g#1, %g#2 : tensor<?x16x1x32xf32>, tensor<?x16x1x32xf32>, tensor<?x?x1x32xf32>
}

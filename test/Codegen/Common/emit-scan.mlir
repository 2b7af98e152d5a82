// RUN: otodus-opt %s --split-input-file --verify-diagnostics \
// RUN:     --pass-pipeline='builtin.module(func.func(otodus-choose-schedule),otodus-build-kernels)' | FileCheck %s

// The body runs on vectors of channels, four modes at a time, with their states in registers
// while all steps of the time tile pass. [D, N] weights are taken by lanes; inputs of (b, t, n)
// are scalars; extf of an input is what the scratch tile holds already.

// CHECK-LABEL: func.func private @k0_scan(
// CHECK-SAME:    mega.buffers = [{{{.*}}kind = "operand"}, {{{.*}}kind = "lanes", rows = array<i64: 1, 5>, sources = array<i64: 1>}
// CHECK-SAME:    mega.row_tile = 0
// CHECK:       scf.forall
// Modes 0 to 3:
// CHECK:         scf.for {{.*}} iter_args({{.*}}) -> (vector<32xf32>, vector<32xf32>, vector<32xf32>, vector<32xf32>)
// CHECK:           memref.load {{.*}} : memref<?xbf16>
// CHECK:           vector.broadcast
// CHECK:           arith.mulf {{.*}} fastmath<contract> : vector<32xf32>
// CHECK:           math.exp {{.*}} : vector<32xf32>
// CHECK:           arith.addf {{.*}} fastmath<contract> : vector<32xf32>
// Padding is 0, whatever the body makes of it.
// CHECK:           arith.select
// Mode 4:
// CHECK:         scf.for {{.*}} iter_args({{.*}}) -> (vector<32xf32>) {
func.func @scan(%x: tensor<?x?x40xbf16>, %a: tensor<40x5xf32>, %c: tensor<?x?x5xbf16>,
                %h: tensor<?x40x5xf32>) -> (tensor<?x?x40xbf16>, tensor<?x40x5xf32>) {
  %y, %h1 = mega.group "scan" (%xi = %x : tensor<?x?x40xbf16>, %ai = %a : tensor<40x5xf32>,
      %ci = %c : tensor<?x?x5xbf16>, %hi = %h : tensor<?x40x5xf32>)
      -> (tensor<?x?x40xbf16>, tensor<?x40x5xf32>) {
    %o, %s = mega.scan ins(%xi, %ai, %ci : tensor<?x?x40xbf16>, tensor<40x5xf32>, tensor<?x?x5xbf16>)
        init(%xi : tensor<?x?x40xbf16>) states(%hi : tensor<?x40x5xf32>)
        maps [affine_map<(b, t, d, n) -> (b, t, d)>, affine_map<(b, t, d, n) -> (d, n)>,
              affine_map<(b, t, d, n) -> (b, t, n)>] {
    ^bb0(%xt: bf16, %ad: f32, %ct: bf16, %hd: f32):
      %xf = arith.extf %xt : bf16 to f32
      %cf = arith.extf %ct : bf16 to f32
      %e = arith.mulf %xf, %ad : f32
      %decay = math.exp %e : f32
      %kept = arith.mulf %decay, %hd : f32
      %next = arith.addf %kept, %xf : f32
      %read = arith.mulf %cf, %next : f32
      mega.scan_yield %next, %read : f32, f32
    }
    mega.yield %o, %s : tensor<?x?x40xbf16>, tensor<?x40x5xf32>
  }
  return %y, %h1 : tensor<?x?x40xbf16>, tensor<?x40x5xf32>
}

// -----

func.func @reverse(%x: tensor<?x?x32xf32>, %h: tensor<?x32x2xf32>) -> tensor<?x?x32xf32> {
  %y = mega.group "g" (%xi = %x : tensor<?x?x32xf32>, %hi = %h : tensor<?x32x2xf32>)
      -> (tensor<?x?x32xf32>) {
    // expected-error @below {{'mega.scan' op against time has no kernel: a call may be cut into pieces}}
    %o, %s = mega.scan init(%xi : tensor<?x?x32xf32>) states(%hi : tensor<?x32x2xf32>) maps [] reverse {
    ^bb0(%hd: f32):
      mega.scan_yield %hd, %hd : f32, f32
    }
    mega.yield %o : tensor<?x?x32xf32>
  }
  return %y : tensor<?x?x32xf32>
}

// -----

func.func @per_sequence(%x: tensor<?x?x32xf32>, %q: tensor<?x32xf32>, %h: tensor<?x32x2xf32>)
    -> tensor<?x?x32xf32> {
  %y = mega.group "g" (%xi = %x : tensor<?x?x32xf32>, %qi = %q : tensor<?x32xf32>,
      %hi = %h : tensor<?x32x2xf32>) -> (tensor<?x?x32xf32>) {
    // expected-error @below {{has no kernel for input 0 with the map affine_map<(d0, d1, d2, d3) -> (d0, d2)>}}
    %o, %s = mega.scan ins(%qi : tensor<?x32xf32>) init(%xi : tensor<?x?x32xf32>)
        states(%hi : tensor<?x32x2xf32>) maps [affine_map<(b, t, d, n) -> (b, d)>] {
    ^bb0(%qd: f32, %hd: f32):
      mega.scan_yield %hd, %qd : f32, f32
    }
    mega.yield %o : tensor<?x?x32xf32>
  }
  return %y : tensor<?x?x32xf32>
}

// -----

func.func @no_vector_form(%x: tensor<?x?x32xf32>, %h: tensor<?x32x2xf32>) -> tensor<?x?x32xf32> {
  %y = mega.group "g" (%xi = %x : tensor<?x?x32xf32>, %hi = %h : tensor<?x32x2xf32>)
      -> (tensor<?x?x32xf32>) {
    %o, %s = mega.scan init(%xi : tensor<?x?x32xf32>) states(%hi : tensor<?x32x2xf32>) maps [] {
    ^bb0(%hd: f32):
      // expected-error @below {{'vector.broadcast' op has no form in a kernel}}
      %v = vector.broadcast %hd : f32 to vector<4xf32>
      %e = vector.extract %v[0] : f32 from vector<4xf32>
      mega.scan_yield %hd, %e : f32, f32
    }
    mega.yield %o : tensor<?x?x32xf32>
  }
  return %y : tensor<?x?x32xf32>
}

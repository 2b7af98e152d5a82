// RUN: otodus-opt %s --split-input-file --verify-diagnostics --pass-pipeline='builtin.module(func.func(otodus-form-groups))' | FileCheck %s

// A scan joins what feeds it step by step and channel by channel. Constants that were moved out
// of its body go back.

// CHECK-LABEL: func.func @joins
// CHECK-NOT:     arith.constant
// CHECK:         mega.group "scan_scan"
// CHECK:           mega.scan
// CHECK:             arith.constant 5.000000e-01
// CHECK:           mega.scan
// CHECK:             arith.constant 5.000000e-01
// CHECK-NOT:     mega.group
func.func @joins(%x: tensor<?x?x8xf32>, %h: tensor<?x8x8xf32>, %k: tensor<?x8x8xf32>)
    -> (tensor<?x?x8xf32>, tensor<?x8x8xf32>, tensor<?x8x8xf32>) {
  %half = arith.constant 0.5 : f32
  %a, %h1 = mega.scan init(%x : tensor<?x?x8xf32>) states(%h : tensor<?x8x8xf32>) maps [] {
  ^bb0(%hd: f32):
    %next = arith.mulf %hd, %half : f32
    mega.scan_yield %next, %next : f32, f32
  }
  %b, %k1 = mega.scan ins(%a : tensor<?x?x8xf32>) init(%x : tensor<?x?x8xf32>)
      states(%k : tensor<?x8x8xf32>) maps [affine_map<(b, t, d, n) -> (b, t, d)>] {
  ^bb0(%ad: f32, %hd: f32):
    %next = arith.mulf %hd, %half : f32
    mega.scan_yield %next, %ad : f32, f32
  }
  return %b, %h1, %k1 : tensor<?x?x8xf32>, tensor<?x8x8xf32>, tensor<?x8x8xf32>
}

// -----

// Every channel reads all of %a: another kernel.

// CHECK-LABEL: func.func @reads_other_channels
// CHECK:         mega.group "scan"
// CHECK:         mega.group "scan"
func.func @reads_other_channels(%x: tensor<?x?x8xf32>, %h: tensor<?x8x8xf32>,
                                %k: tensor<?x8x8xf32>) -> tensor<?x?x8xf32> {
  %a, %h1 = mega.scan init(%x : tensor<?x?x8xf32>) states(%h : tensor<?x8x8xf32>) maps [] {
  ^bb0(%hd: f32):
    mega.scan_yield %hd, %hd : f32, f32
  }
  %b, %k1 = mega.scan ins(%a : tensor<?x?x8xf32>) init(%x : tensor<?x?x8xf32>)
      states(%k : tensor<?x8x8xf32>) maps [affine_map<(b, t, d, n) -> (b, t, n)>] {
  ^bb0(%an: f32, %hd: f32):
    mega.scan_yield %hd, %an : f32, f32
  }
  return %b : tensor<?x?x8xf32>
}

// -----

// The second scan goes on from the first one's state.

// CHECK-LABEL: func.func @reads_its_state
// CHECK:         mega.group "scan"
// CHECK:         mega.group "scan"
func.func @reads_its_state(%x: tensor<?x?x8xf32>, %h: tensor<?x8x8xf32>)
    -> (tensor<?x?x8xf32>, tensor<?x8x8xf32>) {
  %a, %h1 = mega.scan init(%x : tensor<?x?x8xf32>) states(%h : tensor<?x8x8xf32>) maps [] {
  ^bb0(%hd: f32):
    mega.scan_yield %hd, %hd : f32, f32
  }
  %b, %h2 = mega.scan init(%a : tensor<?x?x8xf32>) states(%h1 : tensor<?x8x8xf32>) maps [] {
  ^bb0(%hd: f32):
    mega.scan_yield %hd, %hd : f32, f32
  }
  return %b, %h2 : tensor<?x?x8xf32>, tensor<?x8x8xf32>
}

// -----

func.func @captured(%x: tensor<?x?x8xf32>, %h: tensor<?x8x8xf32>, %q: f32) -> tensor<?x?x8xf32> {
  // expected-error @below {{'mega.scan' op reads a value of outside its body; make it one of its inputs}}
  %a, %h1 = mega.scan init(%x : tensor<?x?x8xf32>) states(%h : tensor<?x8x8xf32>) maps [] {
  ^bb0(%hd: f32):
    mega.scan_yield %hd, %q : f32, f32
  }
  return %a : tensor<?x?x8xf32>
}

// RUN: otodus-opt %s | otodus-opt | FileCheck %s
// RUN: otodus-opt %s -mlir-print-op-generic | otodus-opt | FileCheck %s

// Three recurrences of the literature as one op.

#activation = affine_map<(b, t, d, n) -> (b, t, d)>
#coefficient = affine_map<(b, t, d, n) -> (d, n)>
#projection = affine_map<(b, t, d, n) -> (b, t, n)>

// CHECK-DAG: #[[ACTIVATION:.*]] = affine_map<(d0, d1, d2, d3) -> (d0, d1, d2)>
// CHECK-DAG: #[[COEFFICIENT:.*]] = affine_map<(d0, d1, d2, d3) -> (d2, d3)>
// CHECK-DAG: #[[PROJECTION:.*]] = affine_map<(d0, d1, d2, d3) -> (d0, d1, d3)>

// MEGA's moving average, h_t = q h_{t-1} + p x_t with q = 1 - σ(δ) σ(α), p = σ(δ) β,
// read by g = γ / sqrt(N). The skip ω x is the init.

// CHECK-LABEL: func.func @real_ema
func.func @real_ema(%x: tensor<?x?x8xf32>, %skip: tensor<?x?x8xf32>, %q: tensor<8x4xf32>,
                    %p: tensor<8x4xf32>, %g: tensor<8x4xf32>, %h0: tensor<?x8x4xf32>)
    -> (tensor<?x?x8xf32>, tensor<?x8x4xf32>) {
  // CHECK: %[[R:.*]]:2 = mega.scan ins(%{{.*}}, %{{.*}}, %{{.*}}, %{{.*}} : tensor<?x?x8xf32>, tensor<8x4xf32>, tensor<8x4xf32>, tensor<8x4xf32>)
  // CHECK-SAME: init(%{{.*}} : tensor<?x?x8xf32>) states(%{{.*}} : tensor<?x8x4xf32>)
  // CHECK-SAME: maps [#[[ACTIVATION]], #[[COEFFICIENT]], #[[COEFFICIENT]], #[[COEFFICIENT]]] {
  %y, %h1 = mega.scan
      ins(%x, %q, %p, %g : tensor<?x?x8xf32>, tensor<8x4xf32>, tensor<8x4xf32>, tensor<8x4xf32>)
      init(%skip : tensor<?x?x8xf32>) states(%h0 : tensor<?x8x4xf32>)
      maps [#activation, #coefficient, #coefficient, #coefficient] {
  // CHECK: ^bb0(%{{.*}}: f32, %{{.*}}: f32, %{{.*}}: f32, %{{.*}}: f32, %{{.*}}: f32):
  ^bb0(%xt: f32, %qd: f32, %pd: f32, %gd: f32, %h: f32):
    %decayed = arith.mulf %qd, %h : f32
    %driven = arith.mulf %pd, %xt : f32
    %next = arith.addf %decayed, %driven : f32
    %read = arith.mulf %gd, %next : f32
    // CHECK: mega.scan_yield %{{.*}}, %{{.*}} : f32, f32
    mega.scan_yield %next, %read : f32, f32
  }
  // CHECK: return %[[R]]#0, %[[R]]#1
  return %y, %h1 : tensor<?x?x8xf32>, tensor<?x8x4xf32>
}

// Megalodon's complex moving average: the state's real and imaginary part are two states.

// CHECK-LABEL: func.func @complex_ema
func.func @complex_ema(%x: tensor<?x?x8xbf16>, %skip: tensor<?x?x8xbf16>, %qre: tensor<8x4xf32>,
                       %qim: tensor<8x4xf32>, %p: tensor<8x4xf32>, %gre: tensor<8x4xf32>,
                       %gim: tensor<8x4xf32>, %re0: tensor<?x8x4xf32>, %im0: tensor<?x8x4xf32>)
    -> (tensor<?x?x8xbf16>, tensor<?x8x4xf32>, tensor<?x8x4xf32>) {
  // CHECK: %{{.*}}:3 = mega.scan
  // CHECK-SAME: states(%{{.*}}, %{{.*}} : tensor<?x8x4xf32>, tensor<?x8x4xf32>)
  %y, %re1, %im1 = mega.scan
      ins(%x, %qre, %qim, %p, %gre, %gim : tensor<?x?x8xbf16>, tensor<8x4xf32>, tensor<8x4xf32>,
          tensor<8x4xf32>, tensor<8x4xf32>, tensor<8x4xf32>)
      init(%skip : tensor<?x?x8xbf16>) states(%re0, %im0 : tensor<?x8x4xf32>, tensor<?x8x4xf32>)
      maps [#activation, #coefficient, #coefficient, #coefficient, #coefficient, #coefficient] {
  ^bb0(%xt: bf16, %qr: f32, %qi: f32, %pd: f32, %gr: f32, %gi: f32, %hr: f32, %hi: f32):
    %xf = arith.extf %xt : bf16 to f32
    %driven = arith.mulf %pd, %xf : f32
    %rr = arith.mulf %qr, %hr : f32
    %ii = arith.mulf %qi, %hi : f32
    %ri = arith.mulf %qr, %hi : f32
    %ir = arith.mulf %qi, %hr : f32
    %turned = arith.subf %rr, %ii : f32
    %re = arith.addf %turned, %driven : f32
    %im = arith.addf %ri, %ir : f32
    %a = arith.mulf %gr, %re : f32
    %b = arith.mulf %gi, %im : f32
    %read = arith.subf %a, %b : f32
    // CHECK: mega.scan_yield %{{.*}}, %{{.*}}, %{{.*}} : f32, f32, f32
    mega.scan_yield %re, %im, %read : f32, f32, f32
  }
  return %y, %re1, %im1 : tensor<?x?x8xbf16>, tensor<?x8x4xf32>, tensor<?x8x4xf32>
}

// Mamba's selective scan: decay exp(δ_t A) and drive δ_t B_t u_t depend on the input,
// read by C_t.

// CHECK-LABEL: func.func @selective_scan
func.func @selective_scan(%u: tensor<?x?x8xf32>, %skip: tensor<?x?x8xf32>, %delta: tensor<?x?x8xf32>,
                          %a: tensor<8x4xf32>, %b: tensor<?x?x4xf32>, %c: tensor<?x?x4xf32>,
                          %h0: tensor<?x8x4xf32>) -> (tensor<?x?x8xf32>, tensor<?x8x4xf32>) {
  // CHECK: maps [#[[ACTIVATION]], #[[ACTIVATION]], #[[COEFFICIENT]], #[[PROJECTION]], #[[PROJECTION]]]
  %y, %h1 = mega.scan
      ins(%u, %delta, %a, %b, %c : tensor<?x?x8xf32>, tensor<?x?x8xf32>, tensor<8x4xf32>,
          tensor<?x?x4xf32>, tensor<?x?x4xf32>)
      init(%skip : tensor<?x?x8xf32>) states(%h0 : tensor<?x8x4xf32>)
      maps [#activation, #activation, #coefficient, #projection, #projection] {
  ^bb0(%ut: f32, %dt: f32, %ad: f32, %bt: f32, %ct: f32, %h: f32):
    %exponent = arith.mulf %dt, %ad : f32
    %decay = math.exp %exponent : f32
    %decayed = arith.mulf %decay, %h : f32
    %db = arith.mulf %dt, %bt : f32
    %driven = arith.mulf %db, %ut : f32
    %next = arith.addf %decayed, %driven : f32
    %read = arith.mulf %ct, %next : f32
    mega.scan_yield %next, %read : f32, f32
  }
  return %y, %h1 : tensor<?x?x8xf32>, tensor<?x8x4xf32>
}

// A scan against time, without inputs.

// CHECK-LABEL: func.func @reverse
func.func @reverse(%init: tensor<2x5x8xf32>, %h0: tensor<2x8x4xf32>) -> tensor<2x5x8xf32> {
  // CHECK: mega.scan init(%{{.*}} : tensor<2x5x8xf32>) states(%{{.*}} : tensor<2x8x4xf32>) maps [] reverse attributes {note = "kept"} {
  %y, %h1 = mega.scan init(%init : tensor<2x5x8xf32>) states(%h0 : tensor<2x8x4xf32>) maps [] reverse
      attributes {note = "kept"} {
  ^bb0(%h: f32):
    mega.scan_yield %h, %h : f32, f32
  }
  return %y : tensor<2x5x8xf32>
}

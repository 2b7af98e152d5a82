// RUN: otodus-opt %s --pass-pipeline='builtin.module(func.func(otodus-form-groups))' | FileCheck %s
// RUN: otodus-opt %s --pass-pipeline='builtin.module(func.func(otodus-form-groups))' \
// RUN:     --remark-format=emitRemark --remarks-filter=otodus-fusion 2>&1 >/dev/null \
// RUN:   | FileCheck %s --check-prefix=REMARK

// A norm whose readers are all products is repeated in front of each.

// CHECK-LABEL: func.func @norm_of_products
// CHECK-NOT:     mega.rms_norm
// CHECK:         mega.group
// CHECK-NEXT:      %[[N:.*]] = mega.rms_norm
// CHECK-NEXT:      mega.linear %[[N]]
// CHECK-NEXT:      mega.yield
// CHECK:         mega.group
// CHECK-NEXT:      %[[N:.*]] = mega.rms_norm
// CHECK-NEXT:      mega.linear %[[N]]
// CHECK-NEXT:      mega.yield
// CHECK-NOT:     mega.group
// CHECK:         return
// REMARK: [[#@LINE+3]]:8: remark: [Passed] fused{{.*}}repeated in front of{{.*}}mega.linear, bytes-per-row-saved=256
func.func @norm_of_products(%x: tensor<?x?x32xf32>, %w: tensor<32x32xf32>)
    -> (tensor<?x?x32xf32>, tensor<?x?x32xf32>) {
  %n = mega.rms_norm %x eps(1.0e-5) : (tensor<?x?x32xf32>) -> tensor<?x?x32xf32>
  %a = mega.linear %n, %w : (tensor<?x?x32xf32>, tensor<32x32xf32>) -> tensor<?x?x32xf32>
  %b = mega.linear %n, %w : (tensor<?x?x32xf32>, tensor<32x32xf32>) -> tensor<?x?x32xf32>
  return %a, %b : tensor<?x?x32xf32>, tensor<?x?x32xf32>
}

// A norm that something else reads as well is computed once, in memory.

// CHECK-LABEL: func.func @norm_of_product_and_sum
// CHECK:         %[[N:.*]] = mega.group "rms_norm"
// CHECK-NEXT:      mega.rms_norm
// CHECK-NEXT:      mega.yield
// CHECK-NEXT:    }
// CHECK-NEXT:    mega.group "linear_addf"
// CHECK-SAME:      = %[[N]]
// CHECK-NOT:       mega.rms_norm
// CHECK:         return
func.func @norm_of_product_and_sum(%x: tensor<?x?x32xf32>, %w: tensor<32x32xf32>)
    -> tensor<?x?x32xf32> {
  %n = mega.rms_norm %x eps(1.0e-5) : (tensor<?x?x32xf32>) -> tensor<?x?x32xf32>
  %a = mega.linear %n, %w : (tensor<?x?x32xf32>, tensor<32x32xf32>) -> tensor<?x?x32xf32>
  %y = arith.addf %n, %a : tensor<?x?x32xf32>
  return %y : tensor<?x?x32xf32>
}

// Elementwise ops and a norm of what a product computes follow it.

// CHECK-LABEL: func.func @after_a_product
// CHECK:         mega.group "linear_silu_mulf_rms_norm"
// CHECK-NEXT:      mega.linear
// CHECK-NEXT:      mega.silu
// CHECK-NEXT:      arith.mulf
// CHECK-NEXT:      mega.rms_norm
// CHECK-NEXT:      mega.yield
// CHECK-NOT:     mega.group
// CHECK:         return
func.func @after_a_product(%x: tensor<?x?x32xf32>, %w: tensor<32x32xf32>) -> tensor<?x?x32xf32> {
  %a = mega.linear %x, %w : (tensor<?x?x32xf32>, tensor<32x32xf32>) -> tensor<?x?x32xf32>
  %s = mega.silu %a : tensor<?x?x32xf32>
  %m = arith.mulf %s, %x : tensor<?x?x32xf32>
  %y = mega.rms_norm %m eps(1.0e-5) : (tensor<?x?x32xf32>) -> tensor<?x?x32xf32>
  return %y : tensor<?x?x32xf32>
}

// Two products that meet in one sum share a kernel, and the norm in front of both is there once.

// CHECK-LABEL: func.func @products_that_meet
// CHECK:         mega.group
// CHECK-NEXT:      %[[N:.*]] = mega.rms_norm
// CHECK-NEXT:      mega.linear %[[N]]
// CHECK-NEXT:      mega.linear %[[N]]
// CHECK-NEXT:      arith.addf
// CHECK-NEXT:      mega.yield
// CHECK-NOT:     mega.group
// CHECK:         return
// REMARK: [[#@LINE+6]]:8: remark: [Passed] fused{{.*}}joins the kernels of
func.func @products_that_meet(%x: tensor<?x?x32xf32>, %u: tensor<32x32xf32>, %v: tensor<32x32xf32>)
    -> tensor<?x?x32xf32> {
  %n = mega.rms_norm %x eps(1.0e-5) : (tensor<?x?x32xf32>) -> tensor<?x?x32xf32>
  %a = mega.linear %n, %u : (tensor<?x?x32xf32>, tensor<32x32xf32>) -> tensor<?x?x32xf32>
  %b = mega.linear %n, %v : (tensor<?x?x32xf32>, tensor<32x32xf32>) -> tensor<?x?x32xf32>
  %y = arith.addf %a, %b : tensor<?x?x32xf32>
  return %y : tensor<?x?x32xf32>
}

// Products stay apart if somebody else waits for one of them.

// CHECK-LABEL: func.func @product_with_another_reader
// CHECK:         mega.group "linear"
// CHECK-NEXT:      mega.linear
// CHECK-NEXT:      mega.yield
// CHECK:         mega.group "linear_addf"
// CHECK-NEXT:      mega.linear
// CHECK-NEXT:      arith.addf
// CHECK-NEXT:      mega.yield
// CHECK:         return
// REMARK: [[#@LINE+5]]:8: remark: [Missed] not-fused{{.*}}has a reader that needs whole rows in memory
func.func @product_with_another_reader(%x: tensor<?x?x32xf32>, %u: tensor<32x32xf32>,
    %v: tensor<32x32xf32>) -> (tensor<?x?x32xf32>, tensor<?x?x32xf32>) {
  %a = mega.linear %x, %u : (tensor<?x?x32xf32>, tensor<32x32xf32>) -> tensor<?x?x32xf32>
  %b = mega.linear %x, %v : (tensor<?x?x32xf32>, tensor<32x32xf32>) -> tensor<?x?x32xf32>
  %y = arith.addf %a, %b : tensor<?x?x32xf32>
  return %a, %y : tensor<?x?x32xf32>, tensor<?x?x32xf32>
}

// A product of a product: the sum follows the second one. In the kernel of the first it would
// wait for the second, which waits for the first.

// CHECK-LABEL: func.func @product_of_a_product
// CHECK:         %[[A:.*]]:2 = mega.group "linear_silu"
// CHECK-NEXT:      mega.linear
// CHECK-NEXT:      mega.silu
// CHECK-NEXT:      mega.yield
// CHECK-NEXT:    }
// CHECK-NEXT:    mega.group "linear_addf"
// CHECK-NEXT:      mega.linear
// CHECK-NEXT:      arith.addf
// CHECK-NEXT:      mega.yield
// CHECK:         return
// REMARK: [[#@LINE+7]]:8: remark: [Missed] not-fused{{.*}}is also what another operand is computed from
// REMARK: [[#@LINE+6]]:8: remark: [Passed] fused
func.func @product_of_a_product(%x: tensor<?x?x32xf32>, %u: tensor<32x32xf32>,
                                %v: tensor<32x32xf32>) -> tensor<?x?x32xf32> {
  %a = mega.linear %x, %u : (tensor<?x?x32xf32>, tensor<32x32xf32>) -> tensor<?x?x32xf32>
  %s = mega.silu %a : tensor<?x?x32xf32>
  %b = mega.linear %s, %v : (tensor<?x?x32xf32>, tensor<32x32xf32>) -> tensor<?x?x32xf32>
  %y = arith.addf %a, %b : tensor<?x?x32xf32>
  return %y : tensor<?x?x32xf32>
}

// Arithmetic on what attention computes follows it; what else it reads comes from memory.

// CHECK-LABEL: func.func @around_attention
// CHECK:         mega.group "linear_silu"
// CHECK:         mega.group "chunk_attention_mulf"
// CHECK-NEXT:      mega.chunk_attention
// CHECK-NEXT:      arith.mulf
// CHECK-NEXT:      mega.yield
// CHECK-NOT:     mega.group
// CHECK:         return
func.func @around_attention(%x: tensor<?x?x32xf32>, %w: tensor<32x32xf32>,
                            %keys: tensor<?x16x1x32xf32>, %values: tensor<?x16x1x32xf32>,
                            %position: tensor<?xi64>) -> tensor<?x?x1x32xf32> {
  %a = mega.linear %x, %w : (tensor<?x?x32xf32>, tensor<32x32xf32>) -> tensor<?x?x1x32xf32>
  %s = mega.silu %a : tensor<?x?x1x32xf32>
  %o, %keys1, %values1 = mega.chunk_attention %s, %s, %s, %keys, %values at %position chunk(16)
      : tensor<?x?x1x32xf32>, tensor<?x?x1x32xf32>, tensor<?x16x1x32xf32>,
        tensor<?x16x1x32xf32>, tensor<?xi64>
  %y = arith.mulf %a, %o : tensor<?x?x1x32xf32>
  return %y : tensor<?x?x1x32xf32>
}

// Unless something else reads attention's output too, or what joins needs it.

// CHECK-LABEL: func.func @attention_read_twice
// CHECK:         mega.group "chunk_attention"
// CHECK-NEXT:      mega.chunk_attention
// CHECK-NEXT:      mega.yield
// CHECK:         mega.group
// CHECK:         return
func.func @attention_read_twice(%x: tensor<?x?x1x32xf32>, %keys: tensor<?x16x1x32xf32>,
                                %values: tensor<?x16x1x32xf32>, %position: tensor<?xi64>)
    -> (tensor<?x?x1x32xf32>, tensor<?x?x1x32xf32>) {
  %o, %keys1, %values1 = mega.chunk_attention %x, %x, %x, %keys, %values at %position chunk(16)
      : tensor<?x?x1x32xf32>, tensor<?x?x1x32xf32>, tensor<?x16x1x32xf32>,
        tensor<?x16x1x32xf32>, tensor<?xi64>
  %y = arith.mulf %x, %o : tensor<?x?x1x32xf32>
  return %y, %o : tensor<?x?x1x32xf32>, tensor<?x?x1x32xf32>
}

// CHECK-LABEL: func.func @attention_needed_by_the_other
// CHECK:         mega.group "chunk_attention"
// CHECK-NEXT:      mega.chunk_attention
// CHECK-NEXT:      mega.yield
// CHECK:         mega.group "linear_mulf"
// CHECK:         return
func.func @attention_needed_by_the_other(%x: tensor<?x?x1x32xf32>, %keys: tensor<?x16x1x32xf32>,
                                         %values: tensor<?x16x1x32xf32>, %position: tensor<?xi64>,
                                         %w: tensor<32x32xf32>) -> tensor<?x?x1x32xf32> {
  %o, %keys1, %values1 = mega.chunk_attention %x, %x, %x, %keys, %values at %position chunk(16)
      : tensor<?x?x1x32xf32>, tensor<?x?x1x32xf32>, tensor<?x16x1x32xf32>,
        tensor<?x16x1x32xf32>, tensor<?xi64>
  %p = mega.linear %o, %w : (tensor<?x?x1x32xf32>, tensor<32x32xf32>) -> tensor<?x?x1x32xf32>
  %y = arith.mulf %p, %o : tensor<?x?x1x32xf32>
  return %y : tensor<?x?x1x32xf32>
}

// What attention reads has to be in memory: nothing follows the product.

// CHECK-LABEL: func.func @product_of_attention
// CHECK:         mega.group "linear"
// CHECK-NEXT:      mega.linear
// CHECK-NEXT:      mega.yield
// CHECK:         mega.group "silu"
// CHECK:         mega.group "chunk_attention"
// CHECK:         return
func.func @product_of_attention(%x: tensor<?x?x32xf32>, %w: tensor<32x32xf32>,
                                %keys: tensor<?x16x1x32xf32>, %values: tensor<?x16x1x32xf32>,
                                %position: tensor<?xi64>)
    -> (tensor<?x?x1x32xf32>, tensor<?x?x1x32xf32>) {
  %a = mega.linear %x, %w : (tensor<?x?x32xf32>, tensor<32x32xf32>) -> tensor<?x?x1x32xf32>
  %s = mega.silu %a : tensor<?x?x1x32xf32>
  %o, %keys1, %values1 = mega.chunk_attention %a, %a, %a, %keys, %values at %position chunk(16)
      : tensor<?x?x1x32xf32>, tensor<?x?x1x32xf32>, tensor<?x16x1x32xf32>,
        tensor<?x16x1x32xf32>, tensor<?xi64>
  return %s, %o : tensor<?x?x1x32xf32>, tensor<?x?x1x32xf32>
}

// Ops that walk time join the one that feeds them, and elementwise ops do not join those.

// CHECK-LABEL: func.func @streams
// CHECK:         mega.group "timestep_norm_cema"
// CHECK-NEXT:      mega.timestep_norm
// CHECK-NEXT:      mega.cema
// CHECK-NEXT:      mega.yield
// CHECK:         mega.group "silu"
// CHECK:         return
// REMARK: remark: [Passed] fused{{.*}}walks time together with
// REMARK: remark: [Missed] not-fused{{.*}}mega.cema{{.*}}computes something other than rows
func.func @streams(%x: tensor<?x?x8xf32>, %w: tensor<8xf32>, %n0: tensor<?xi64>,
                   %m0: tensor<?x2xf32>, %v0: tensor<?x2xf32>, %alpha: tensor<8x4x1xf32>,
                   %delta: tensor<8x4x1xf32>, %theta: tensor<8x1x1xf32>,
                   %gamma: tensor<8x4x2xf32>, %omega: tensor<8x1xf32>, %h0: tensor<?x8x4x2xf32>)
    -> tensor<?x?x8xf32> {
  %t, %n1, %m1, %v1 = mega.timestep_norm %x, %w, %w, %n0, %m0, %v0 groups(2) eps(1.0e-5)
      : tensor<?x?x8xf32>, tensor<8xf32>, tensor<?xi64>, tensor<?x2xf32>
  %c, %h1 = mega.cema %t, %alpha, %delta, %theta, %gamma, %omega, %h0
      : tensor<?x?x8xf32>, tensor<8x4x1xf32>, tensor<8x1x1xf32>, tensor<8x4x2xf32>,
        tensor<8x1xf32>, tensor<?x8x4x2xf32>
  %y = mega.silu %c : tensor<?x?x8xf32>
  return %y : tensor<?x?x8xf32>
}

// Streams with a product between them are kernels of their own.

// CHECK-LABEL: func.func @streams_apart
// CHECK:         mega.group "timestep_norm"
// CHECK:         mega.group "linear"
// CHECK:         mega.group "timestep_norm"
// CHECK:         return
func.func @streams_apart(%x: tensor<?x?x8xf32>, %w: tensor<8xf32>, %u: tensor<8x8xf32>,
                         %n0: tensor<?xi64>, %m0: tensor<?x2xf32>, %v0: tensor<?x2xf32>)
    -> tensor<?x?x8xf32> {
  %t, %n1, %m1, %v1 = mega.timestep_norm %x, %w, %w, %n0, %m0, %v0 groups(2) eps(1.0e-5)
      : tensor<?x?x8xf32>, tensor<8xf32>, tensor<?xi64>, tensor<?x2xf32>
  %a = mega.linear %t, %u : (tensor<?x?x8xf32>, tensor<8x8xf32>) -> tensor<?x?x8xf32>
  %y, %n2, %m2, %v2 = mega.timestep_norm %a, %w, %w, %n0, %m0, %v0 groups(2) eps(1.0e-5)
      : tensor<?x?x8xf32>, tensor<8xf32>, tensor<?xi64>, tensor<?x2xf32>
  return %y : tensor<?x?x8xf32>
}

// The group takes the name that the importer gave its last op.

// CHECK-LABEL: func.func @named
// CHECK:         mega.group "layers.0.wv"
func.func @named(%x: tensor<?x?x32xf32>, %w: tensor<32x32xf32>) -> tensor<?x?x32xf32> {
  %a = mega.linear %x, %w : (tensor<?x?x32xf32>, tensor<32x32xf32>) -> tensor<?x?x32xf32>
      loc("layers.0.wv")
  return %a : tensor<?x?x32xf32>
}

// Arithmetic on weights is no op on rows: it stays where it is, for the stage's gate to find.

// CHECK-LABEL: func.func @weights
// CHECK:         %[[W:.*]] = arith.addf %{{.*}} : tensor<32xf32>
// CHECK:         mega.group "rms_norm"
// CHECK-SAME:      = %[[W]]
func.func @weights(%x: tensor<?x?x32xf32>, %w: tensor<32xf32>) -> tensor<?x?x32xf32> {
  %w2 = arith.addf %w, %w : tensor<32xf32>
  %y = mega.rms_norm %x weight %w2 eps(1.0e-5)
      : (tensor<?x?x32xf32>, tensor<32xf32>) -> tensor<?x?x32xf32>
  return %y : tensor<?x?x32xf32>
}

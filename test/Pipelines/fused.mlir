// RUN: otodus-opt %s --otodus-fused-stage | FileCheck %s

// In: a layer as the importer writes it. Out: only weights, calls and groups.

mega.weight @norm.weight : tensor<64xf32>
mega.weight @fc1.weight : tensor<96x64xf32>
mega.weight @fc2.weight : tensor<64x96xf32>

// CHECK-LABEL: func.func private @feedforward(
// CHECK-COUNT-3: mega.use_weight
// CHECK-NOT:     mega.use_weight
// CHECK:         %[[H:[^ ]*]] = mega.group "linear_silu"
// CHECK-NEXT:      mega.rms_norm
// CHECK-NEXT:      mega.linear
// CHECK-NEXT:      mega.silu
// CHECK-NEXT:      mega.yield
// CHECK-NEXT:    }
// CHECK-NEXT:    %[[Y:[^ ]*]] = mega.group "linear_addf"
// CHECK-SAME:      = %[[H]]
// CHECK-NEXT:      mega.linear
// CHECK-NEXT:      arith.addf
// CHECK-NEXT:      mega.yield
// CHECK-NEXT:    }
// CHECK-NEXT:    return %[[Y]]
func.func private @feedforward(%x: tensor<?x?x64xf32>) -> tensor<?x?x64xf32> {
  %gain = mega.use_weight @norm.weight : tensor<64xf32>
  %w1 = mega.use_weight @fc1.weight : tensor<96x64xf32>
  %w2 = mega.use_weight @fc2.weight : tensor<64x96xf32>
  %n = mega.rms_norm %x weight %gain eps(1.0e-5)
      : (tensor<?x?x64xf32>, tensor<64xf32>) -> tensor<?x?x64xf32>
  %h = mega.linear %n, %w1 : (tensor<?x?x64xf32>, tensor<96x64xf32>) -> tensor<?x?x96xf32>
  %s = mega.silu %h : tensor<?x?x96xf32>
  %f = mega.linear %s, %w2 : (tensor<?x?x96xf32>, tensor<64x96xf32>) -> tensor<?x?x64xf32>
  %y = arith.addf %x, %f : tensor<?x?x64xf32>
  return %y : tensor<?x?x64xf32>
}

// CHECK-LABEL: func.func @model(
// CHECK-NEXT:    call @feedforward
// CHECK-NEXT:    return
func.func @model(%x: tensor<?x?x64xf32>) -> tensor<?x?x64xf32> {
  %y = call @feedforward(%x) : (tensor<?x?x64xf32>) -> tensor<?x?x64xf32>
  return %y : tensor<?x?x64xf32>
}

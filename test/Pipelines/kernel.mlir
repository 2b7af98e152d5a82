// RUN: otodus-opt %s --otodus-fused-stage --otodus-kernel-stage | FileCheck %s

// In: groups. Out: every group names kernels that exist, with a grid, loops and structured ops;
// no op of the model's mathematics is inside them.

mega.weight @fc1.weight : tensor<96x64xf32>

// CHECK-LABEL: func.func @layer(
// CHECK:         mega.group "linear_silu"
// CHECK-SAME:      mega.kernels = [@[[R1:[^,]*]], @{{[^,]*}}, @{{[^,]*}}]
// CHECK:         return
// CHECK:       func.func private @[[R1]](
// CHECK-SAME:    mega.buffers = [
// CHECK-SAME:    mega.grid = [array<i64
// CHECK-NOT:     mega.rms_norm
// CHECK-NOT:     mega.linear
// CHECK-NOT:     mega.silu
// CHECK:         scf.forall
// CHECK:           linalg.generic
// CHECK:           scf.for
// CHECK:             linalg.generic
// CHECK-COUNT-2: func.func private @
// CHECK-NOT:   func.func
func.func @layer(%x: tensor<?x?x64xf32>) -> tensor<?x?x96xf32> {
  %w1 = mega.use_weight @fc1.weight : tensor<96x64xf32>
  %n = mega.rms_norm %x eps(1.0e-5) : (tensor<?x?x64xf32>) -> tensor<?x?x64xf32>
  %h = mega.linear %n, %w1 : (tensor<?x?x64xf32>, tensor<96x64xf32>) -> tensor<?x?x96xf32>
  %s = mega.silu %h : tensor<?x?x96xf32>
  return %s : tensor<?x?x96xf32>
}

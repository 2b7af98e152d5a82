// RUN: otodus-opt %s | otodus-opt | FileCheck %s
// RUN: otodus-opt %s -mlir-print-op-generic | otodus-opt | FileCheck %s

// CHECK-LABEL: func.func @sample(
// CHECK-SAME:    mega.sampling
// CHECK:         mega.sample %{{.*}} with %{{.*}} at %{{.*}} : (tensor<?x1x256xf32>, tensor<16xi32>, tensor<?xi64>) -> tensor<?x1x1xi32>
func.func @sample(%logits: tensor<?x1x256xf32>, %options: tensor<16xi32> {mega.sampling},
                  %position: tensor<?xi64> {mega.position}) -> tensor<?x1x1xi32> {
  %token = mega.sample %logits with %options at %position
      : (tensor<?x1x256xf32>, tensor<16xi32>, tensor<?xi64>) -> tensor<?x1x1xi32>
  return %token : tensor<?x1x1xi32>
}

// CHECK-LABEL: func.func @bf16(
// CHECK:         mega.sample
func.func @bf16(%logits: tensor<2x1x5xbf16>, %options: tensor<16xi32>, %position: tensor<2xi64>)
    -> tensor<2x1x1xi32> {
  %token = mega.sample %logits with %options at %position
      : (tensor<2x1x5xbf16>, tensor<16xi32>, tensor<2xi64>) -> tensor<2x1x1xi32>
  return %token : tensor<2x1x1xi32>
}

// RUN: otodus-opt %s --otodus-differentiate --split-input-file --verify-diagnostics

func.func @forward(%x: tensor<?x?x8xf32> {mega.name = "x"}) -> (tensor<?x1x8xf32> {mega.name = "y"})
    attributes {mega.differentiate = "gradients"} {
  // expected-error @+1 {{'mega.last' op has no gradient; an op gets one in lib/Transforms/Gradients}}
  %0 = mega.last %x : tensor<?x?x8xf32> -> tensor<?x1x8xf32>
  return %0 : tensor<?x1x8xf32>
}

// -----

// expected-error @+1 {{expects weights from mega.use_weight, but argument 1 is used as one}}
func.func @forward(%x: tensor<?x?x8xf32> {mega.name = "x"}, %w: tensor<8x8xf32>)
    -> (tensor<?x?x8xf32> {mega.name = "y"}) attributes {mega.differentiate = "gradients"} {
  %0 = mega.linear %x, %w : (tensor<?x?x8xf32>, tensor<8x8xf32>) -> tensor<?x?x8xf32>
  return %0 : tensor<?x?x8xf32>
}

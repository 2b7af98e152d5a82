mega.weight @fc.weight : tensor<32x64xf32>

func.func @layer(%x: tensor<?x?x64xf32>) -> tensor<?x?x32xf32> {
  %w = mega.use_weight @fc.weight : tensor<32x64xf32>
  %y = mega.linear %x, %w : (tensor<?x?x64xf32>, tensor<32x64xf32>) -> tensor<?x?x32xf32>
  %s = mega.silu %y : tensor<?x?x32xf32>
  return %s : tensor<?x?x32xf32>
}

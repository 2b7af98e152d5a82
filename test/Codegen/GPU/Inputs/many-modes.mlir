mega.weight @alpha : tensor<8x256x1xf32>
mega.weight @delta : tensor<8x256x1xf32>
mega.weight @theta : tensor<8x1x1xf32>
mega.weight @gamma : tensor<8x256x2xf32>
mega.weight @omega : tensor<8x1xf32>
func.func @forward(%x: tensor<?x?x8xf32> {mega.name = "x"},
    %h: tensor<?x8x256x2xf32> {mega.state = "h"})
    -> (tensor<?x?x8xf32> {mega.name = "y"}, tensor<?x8x256x2xf32> {mega.state = "h"})
    attributes {mega.differentiate = "gradients"} {
  %a = mega.use_weight @alpha : tensor<8x256x1xf32>
  %d = mega.use_weight @delta : tensor<8x256x1xf32>
  %t = mega.use_weight @theta : tensor<8x1x1xf32>
  %g = mega.use_weight @gamma : tensor<8x256x2xf32>
  %o = mega.use_weight @omega : tensor<8x1xf32>
  %y, %h1 = mega.cema %x, %a, %d, %t, %g, %o, %h : tensor<?x?x8xf32>, tensor<8x256x1xf32>,
      tensor<8x1x1xf32>, tensor<8x256x2xf32>, tensor<8x1xf32>, tensor<?x8x256x2xf32>
  return %y, %h1 : tensor<?x?x8xf32>, tensor<?x8x256x2xf32>
}

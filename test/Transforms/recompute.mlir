// RUN: otodus-opt %s --otodus-differentiate --otodus-recompute=calls=0 | FileCheck %s
// RUN: otodus-opt %s --otodus-differentiate --otodus-recompute=all | FileCheck %s --check-prefix=ALL
// RUN: not otodus-opt %s --otodus-differentiate --otodus-recompute=calls=2 2>&1 | FileCheck %s --check-prefix=ERROR

// The first call keeps its results only. It is repeated in front of its backward half, from the
// state as it was before, and the backward half reads what the repetition saved and left.

mega.weight @alpha : tensor<8x4x1xf32>
mega.weight @delta : tensor<8x4x1xf32>
mega.weight @theta : tensor<8x1x1xf32>
mega.weight @gamma : tensor<8x4x2xf32>
mega.weight @omega : tensor<8x1xf32>
func.func private @layer(%x: tensor<?x?x8xf32>, %a: tensor<8x4x1xf32>, %d: tensor<8x4x1xf32>, %t: tensor<8x1x1xf32>,
    %g: tensor<8x4x2xf32>, %o: tensor<8x1xf32>, %h: tensor<?x8x4x2xf32>) -> (tensor<?x?x8xf32>, tensor<?x8x4x2xf32>) {
  %s = mega.silu %x : tensor<?x?x8xf32>
  %y, %n = mega.cema %s, %a, %d, %t, %g, %o, %h
      : tensor<?x?x8xf32>, tensor<8x4x1xf32>, tensor<8x1x1xf32>, tensor<8x4x2xf32>, tensor<8x1xf32>, tensor<?x8x4x2xf32>
  return %y, %n : tensor<?x?x8xf32>, tensor<?x8x4x2xf32>
}
func.func @forward(%x: tensor<?x?x8xf32> {mega.name = "x"}, %h: tensor<?x8x4x2xf32> {mega.state = "h"},
    %k: tensor<?x8x4x2xf32> {mega.state = "k"})
    -> (tensor<?x?x8xf32> {mega.name = "y"}, tensor<?x8x4x2xf32> {mega.state = "h"}, tensor<?x8x4x2xf32> {mega.state = "k"})
    attributes {mega.differentiate = "gradients"} {
  %a = mega.use_weight @alpha : tensor<8x4x1xf32>
  %d = mega.use_weight @delta : tensor<8x4x1xf32>
  %t = mega.use_weight @theta : tensor<8x1x1xf32>
  %g = mega.use_weight @gamma : tensor<8x4x2xf32>
  %o = mega.use_weight @omega : tensor<8x1xf32>
  %y, %n = call @layer(%x, %a, %d, %t, %g, %o, %h)
      : (tensor<?x?x8xf32>, tensor<8x4x1xf32>, tensor<8x4x1xf32>, tensor<8x1x1xf32>, tensor<8x4x2xf32>, tensor<8x1xf32>, tensor<?x8x4x2xf32>) -> (tensor<?x?x8xf32>, tensor<?x8x4x2xf32>)
  %z, %m = call @layer(%y, %a, %d, %t, %g, %o, %k)
      : (tensor<?x?x8xf32>, tensor<8x4x1xf32>, tensor<8x4x1xf32>, tensor<8x1x1xf32>, tensor<8x4x2xf32>, tensor<8x1xf32>, tensor<?x8x4x2xf32>) -> (tensor<?x?x8xf32>, tensor<?x8x4x2xf32>)
  return %z, %n, %m : tensor<?x?x8xf32>, tensor<?x8x4x2xf32>, tensor<?x8x4x2xf32>
}

// CHECK:      func.func private @layer_saving({{.*}} attributes {mega.saving = array<i64: -1, 6>}
// CHECK:      func.func @gradients(%[[X:[^ :]*]]: {{[^ ]*}} {mega.name = "x"}, %[[H:[^ :]*]]: {{[^ ]*}} {mega.state = "h"}, %[[K:[^ :]*]]: {{[^ ]*}} {mega.state = "k"}
// CHECK-SAME:     %[[BEFORE:[^ :]*]]: tensor<?x8x4x2xf32> {mega.state_before = "h"})
// CHECK:        %[[F0:.*]]:[[N:[0-9]+]] = call @layer_saving(%[[X]], {{.*}}, %[[H]]) {mega.recompute}
// CHECK:        %[[F1:.*]]:[[N]] = call @layer_saving(%[[F0]]#0, {{.*}}, %[[K]]) :
// CHECK:        call @layer_backward({{.*}}%[[F1]]#2
// CHECK:        %[[AGAIN:.*]]:[[N]] = call @layer_saving(%[[X]], {{.*}}, %[[BEFORE]]) {mega.recomputed}
// CHECK-NEXT:   call @layer_backward({{.*}}%[[AGAIN]]#2
// CHECK:        return %[[F1]]#0, %[[F0]]#1, %[[F1]]#1

// ALL:        {mega.state_before = "h"}{{.*}}{mega.state_before = "k"}
// ALL-COUNT-2: {mega.recompute}
// ALL:        {mega.recomputed}
// ALL:        call @layer_backward
// ALL:        {mega.recomputed}
// ALL:        call @layer_backward

// ERROR: error: expects numbers of calls that save values, 0 to 1, but got 2

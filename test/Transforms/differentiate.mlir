// RUN: otodus-opt %s --otodus-differentiate --split-input-file | FileCheck %s

// A layer that is called twice is differentiated once. What its backward half reads is what the
// backward steps of its ops asked for: arguments, the norm's input, nothing of the sum.

mega.weight @w : tensor<8x8xf32>
mega.weight @b : tensor<8xf32>
func.func private @layer(%x: tensor<?x?x8xf32>, %w: tensor<8x8xf32>, %b: tensor<8xf32>)
    -> tensor<?x?x8xf32> {
  %0 = mega.linear %x, %w bias %b : (tensor<?x?x8xf32>, tensor<8x8xf32>, tensor<8xf32>) -> tensor<?x?x8xf32>
  %1 = mega.silu %0 : tensor<?x?x8xf32>
  %2 = arith.addf %x, %1 : tensor<?x?x8xf32>
  return %2 : tensor<?x?x8xf32>
}
func.func @forward(%x: tensor<?x?x8xf32> {mega.name = "x"}) -> (tensor<?x?x8xf32> {mega.name = "y"})
    attributes {mega.differentiate = "gradients"} {
  %w = mega.use_weight @w : tensor<8x8xf32>
  %b = mega.use_weight @b : tensor<8xf32>
  %0 = call @layer(%x, %w, %b) : (tensor<?x?x8xf32>, tensor<8x8xf32>, tensor<8xf32>) -> tensor<?x?x8xf32>
  %1 = call @layer(%0, %w, %b) : (tensor<?x?x8xf32>, tensor<8x8xf32>, tensor<8xf32>) -> tensor<?x?x8xf32>
  return %1 : tensor<?x?x8xf32>
}

// CHECK:      func.func private @layer_saving(
// CHECK:        %[[PRE:[^ :]*]] = mega.linear
// CHECK:        %[[Y:.*]] = arith.addf
// CHECK:        return %[[Y]], %[[PRE]]
// CHECK:      func.func private @layer_backward(%[[DY:[^ :]*]]: tensor<?x?x8xf32>, %[[PRE:[^ :]*]]: tensor<?x?x8xf32>,
// CHECK-SAME:     %[[X:[^ :]*]]: tensor<?x?x8xf32>, %[[DW:[^ :]*]]: tensor<8x8xf32>, %[[DB:[^ :]*]]: tensor<8xf32>, %[[W:[^ :]*]]: tensor<8x8xf32>)
// CHECK:        %[[D:.*]] = mega.silu_gradient %[[PRE]], %[[DY]]
// CHECK:        %[[NW:.*]] = mega.linear_weight_gradient %[[D]], %[[X]] into %[[DW]]
// CHECK:        %[[NB:.*]] = mega.column_sum %[[D]] into %[[DB]]
// CHECK:        %[[DX:.*]] = mega.linear_input_gradient %[[D]], %[[W]]
// CHECK:        %[[SUM:.*]] = arith.addf %[[DY]], %[[DX]]
// CHECK:        return %[[SUM]], %[[NW]], %[[NB]]

// CHECK:      func.func @gradients(%{{.*}}: tensor<?x?x8xf32> {mega.name = "x"}, %[[COT:[^ :]*]]: tensor<?x?x8xf32> {mega.name = "cot_y"},
// CHECK-SAME:     %[[GW:[^ :]*]]: tensor<8x8xf32> {mega.gradient = "w"}, %[[GB:[^ :]*]]: tensor<8xf32> {mega.gradient = "b"})
// CHECK-SAME:   -> (tensor<?x?x8xf32> {mega.name = "y"}, tensor<8x8xf32> {mega.gradient = "w"}, tensor<8xf32> {mega.gradient = "b"}, tensor<?x?x8xf32> {mega.name = "grad_x"})
// CHECK-NOT:  mega.differentiate
// CHECK:        %[[F0:.*]]:2 = call @layer_saving
// CHECK:        %[[F1:.*]]:2 = call @layer_saving(%[[F0]]#0
// CHECK:        %[[B1:.*]]:3 = call @layer_backward(%[[COT]], %[[F1]]#1, %[[F0]]#0, %[[GW]], %[[GB]]
// CHECK:        %[[B0:.*]]:3 = call @layer_backward(%[[B1]]#0, %[[F0]]#1, %{{.*}}, %[[B1]]#1, %[[B1]]#2
// CHECK:        return %[[F1]]#0, %[[B0]]#1, %[[B0]]#2, %[[B0]]#0

// -----

// A state's gradient goes the other way: after the steps on entry, before them on return.

mega.weight @alpha : tensor<8x4x1xf32>
mega.weight @delta : tensor<8x4x1xf32>
mega.weight @theta : tensor<8x1x1xf32>
mega.weight @gamma : tensor<8x4x2xf32>
mega.weight @omega : tensor<8x1xf32>
func.func @forward(%x: tensor<?x?x8xf32> {mega.name = "x"}, %h: tensor<?x8x4x2xf32> {mega.state = "h"})
    -> (tensor<?x?x8xf32> {mega.name = "y"}, tensor<?x8x4x2xf32> {mega.state = "h"})
    attributes {mega.differentiate = "gradients"} {
  %a = mega.use_weight @alpha : tensor<8x4x1xf32>
  %d = mega.use_weight @delta : tensor<8x4x1xf32>
  %t = mega.use_weight @theta : tensor<8x1x1xf32>
  %g = mega.use_weight @gamma : tensor<8x4x2xf32>
  %o = mega.use_weight @omega : tensor<8x1xf32>
  %y, %n = mega.cema %x, %a, %d, %t, %g, %o, %h
      : tensor<?x?x8xf32>, tensor<8x4x1xf32>, tensor<8x1x1xf32>, tensor<8x4x2xf32>, tensor<8x1xf32>, tensor<?x8x4x2xf32>
  return %y, %n : tensor<?x?x8xf32>, tensor<?x8x4x2xf32>
}

// CHECK:      func.func @gradients(
// CHECK-SAME:   %[[DH:[^ :]*]]: tensor<?x8x4x2xf32> {mega.state_gradient = "h"}
// CHECK:        %[[Y:[^ ,]*]], %[[NEW:[^ ,]*]], %[[START:[^ ,]*]], %[[MARKS:[^ ,]*]] = mega.cema_saving
// CHECK:        %[[DX:[^ ,]*]], %[[NEWDH:[^ ,]*]], {{.*}} = mega.cema_gradient %{{.*}}, %{{.*}}, %[[START]], %[[MARKS]],
// CHECK:        return %[[Y]], %[[NEW]], %[[NEWDH]]

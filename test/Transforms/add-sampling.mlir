// RUN: otodus-opt %s --split-input-file --otodus-add-sampling | FileCheck %s

// The logits of one step come before those of every step.

// CHECK-LABEL: func.func @forward(
// CHECK-NOT:     mega.sample
// CHECK-LABEL: func.func @prefill(
// CHECK-SAME:    %[[POSITION:[^: ]*]]: tensor<?xi64> {mega.position},
// CHECK-SAME:    %[[OPTIONS:[^: ]*]]: tensor<16xi32> {mega.sampling})
// CHECK-SAME:    -> (tensor<?x1x8xf32> {mega.name = "logits"}, tensor<?x1x1xi32> {mega.name = "token"})
// CHECK:         %[[LOGITS:[^ ]*]] = mega.last
// CHECK:         %[[TOKEN:[^ ]*]] = mega.sample %[[LOGITS]] with %[[OPTIONS]] at %[[POSITION]]
// CHECK:         return %[[LOGITS]], %[[TOKEN]]
func.func @forward(%tokens: tensor<?x?xi32> {mega.name = "tokens"}, %table: tensor<8x8xf32>)
    -> (tensor<?x?x8xf32> {mega.name = "logits"}) {
  %x = mega.embed %tokens, %table : tensor<?x?xi32>, tensor<8x8xf32> -> tensor<?x?x8xf32>
  return %x : tensor<?x?x8xf32>
}
func.func @prefill(%tokens: tensor<?x?xi32> {mega.name = "tokens"}, %table: tensor<8x8xf32>,
                   %position: tensor<?xi64> {mega.position})
    -> (tensor<?x1x8xf32> {mega.name = "logits"}) {
  %x = mega.embed %tokens, %table : tensor<?x?xi32>, tensor<8x8xf32> -> tensor<?x?x8xf32>
  %y = mega.last %x : tensor<?x?x8xf32> -> tensor<?x1x8xf32>
  return %y : tensor<?x1x8xf32>
}

// -----

// Only logits of every step, and no position: the last of them, and an argument more.

// CHECK-LABEL: func.func @all(
// CHECK-SAME:    %[[POSITION:[^: ]*]]: tensor<?xi64> {mega.position}, %[[OPTIONS:[^: ]*]]: tensor<16xi32> {mega.sampling})
// CHECK:         %[[ALL:[^ ]*]] = mega.embed
// CHECK:         %[[LAST:[^ ]*]] = mega.last %[[ALL]]
// CHECK:         %[[TOKEN:[^ ]*]] = mega.sample %[[LAST]] with %[[OPTIONS]] at %[[POSITION]]
// CHECK:         return %[[ALL]], %[[TOKEN]]
func.func @all(%tokens: tensor<?x?xi32> {mega.name = "tokens"}, %table: tensor<8x8xf32>)
    -> (tensor<?x?x8xf32> {mega.name = "logits"}) {
  %x = mega.embed %tokens, %table : tensor<?x?xi32>, tensor<8x8xf32> -> tensor<?x?x8xf32>
  return %x : tensor<?x?x8xf32>
}

// -----

// A module that chooses itself, and one without logits, stay as they are.

// CHECK-LABEL: func.func @own(
// CHECK-NOT:     mega.sample
// CHECK:         return
func.func @own(%tokens: tensor<?x?xi32> {mega.name = "tokens"}, %table: tensor<8x8xf32>,
               %token: tensor<?x1x1xi32>)
    -> (tensor<?x?x8xf32> {mega.name = "logits"}, tensor<?x1x1xi32> {mega.name = "token"}) {
  %x = mega.embed %tokens, %table : tensor<?x?xi32>, tensor<8x8xf32> -> tensor<?x?x8xf32>
  return %x, %token : tensor<?x?x8xf32>, tensor<?x1x1xi32>
}

// -----

// CHECK-LABEL: func.func @embed(
// CHECK-NOT:     mega.sample
// CHECK:         return
func.func @embed(%tokens: tensor<?x?xi32> {mega.name = "tokens"}, %table: tensor<8x8xf32>)
    -> (tensor<?x?x8xf32> {mega.name = "y"}) {
  %x = mega.embed %tokens, %table : tensor<?x?xi32>, tensor<8x8xf32> -> tensor<?x?x8xf32>
  return %x : tensor<?x?x8xf32>
}

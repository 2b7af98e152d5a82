// RUN: otodus-opt %s --split-input-file --verify-diagnostics

func.func @steps(%l: tensor<?x?x8xf32>, %o: tensor<16xi32>, %p: tensor<?xi64>) {
  // expected-error @+1 {{expects logits of one step, [B, 1, V], but got 'tensor<?x?x8xf32>'; mega.last gives the last step of several}}
  %t = mega.sample %l with %o at %p
      : (tensor<?x?x8xf32>, tensor<16xi32>, tensor<?xi64>) -> tensor<?x1x1xi32>
  return
}

// -----

func.func @vocabulary(%l: tensor<?x1x16777217xf32>, %o: tensor<16xi32>, %p: tensor<?xi64>) {
  // expected-error @+1 {{expects a vocabulary of at most 2^24, but got 16777217}}
  %t = mega.sample %l with %o at %p
      : (tensor<?x1x16777217xf32>, tensor<16xi32>, tensor<?xi64>) -> tensor<?x1x1xi32>
  return
}

// -----

func.func @options(%l: tensor<?x1x8xf32>, %o: tensor<8xi32>, %p: tensor<?xi64>) {
  // expected-error @+1 {{expects options to be [16]}}
  %t = mega.sample %l with %o at %p
      : (tensor<?x1x8xf32>, tensor<8xi32>, tensor<?xi64>) -> tensor<?x1x1xi32>
  return
}

// -----

func.func @position(%l: tensor<2x1x8xf32>, %o: tensor<16xi32>, %p: tensor<3xi64>) {
  // expected-error @+1 {{expects position to be [B]}}
  %t = mega.sample %l with %o at %p
      : (tensor<2x1x8xf32>, tensor<16xi32>, tensor<3xi64>) -> tensor<2x1x1xi32>
  return
}

// -----

func.func @result(%l: tensor<2x1x8xf32>, %o: tensor<16xi32>, %p: tensor<2xi64>) {
  // expected-error @+1 {{expects the result to be [B, 1, 1]}}
  %t = mega.sample %l with %o at %p
      : (tensor<2x1x8xf32>, tensor<16xi32>, tensor<2xi64>) -> tensor<2x1x2xi32>
  return
}

// -----

// expected-error @+1 {{expects mega.sampling of argument 0 to be without a value}}
func.func @attribute(%o: tensor<16xi32> {mega.sampling = 1 : i64}) {
  return
}

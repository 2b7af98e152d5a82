// RUN: otodus-opt %s --split-input-file --verify-diagnostics

func.func @c1(%x: tensor<2x?x8xf32>, %rows: tensor<3x?xi32>, %noise: tensor<4xi32>) {
  // expected-error @+1 {{'mega.dropout' op expects row_numbers}}
  %y = mega.dropout %x, %rows, %noise p(0.1) place(0) : tensor<2x?x8xf32>, tensor<3x?xi32>, tensor<4xi32>
  return
}

// -----

func.func @c2(%x: tensor<?x?x8xf32>, %rows: tensor<?x?xi32>, %noise: tensor<5xi32>) {
  // expected-error @+1 {{'mega.dropout' op expects noise}}
  %y = mega.dropout %x, %rows, %noise p(0.1) place(0) : tensor<?x?x8xf32>, tensor<?x?xi32>, tensor<5xi32>
  return
}

// -----

func.func @c3(%x: tensor<?x?x8xf32>, %rows: tensor<?x?xi32>, %noise: tensor<4xi32>) {
  // expected-error @+1 {{'mega.dropout' op expects p in [0, 1), but got 1}}
  %y = mega.dropout %x, %rows, %noise p(1.0) place(0) : tensor<?x?x8xf32>, tensor<?x?xi32>, tensor<4xi32>
  return
}

// -----

func.func @c4(%x: tensor<?x?x8xf32>, %rows: tensor<?x?xi32>, %noise: tensor<4xi32>) {
  // expected-error @+1 {{'mega.dropout' op expects place in [0, 16), but got 16}}
  %y = mega.dropout %x, %rows, %noise p(0.1) place(16) : tensor<?x?x8xf32>, tensor<?x?xi32>, tensor<4xi32>
  return
}

// -----

// expected-error @+1 {{'func.func' op expects mega.noise of argument 0 to be an integer}}
func.func private @attribute(tensor<4xi32> {mega.noise})

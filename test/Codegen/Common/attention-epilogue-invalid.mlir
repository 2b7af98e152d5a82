// RUN: otodus-opt %s --split-input-file --verify-diagnostics --otodus-build-kernels

// Only elementwise ops can follow attention, and only the last one has a reader outside.

func.func @norm(%q: tensor<?x?x1x32xf32>, %keys: tensor<?x16x1x32xf32>, %values: tensor<?x16x1x32xf32>, %position: tensor<?xi64>)
    -> tensor<?x?x1x32xf32> {
  %g = mega.group "a" (%a = %q : tensor<?x?x1x32xf32>, %b = %keys : tensor<?x16x1x32xf32>, %c = %values : tensor<?x16x1x32xf32>,
                       %d = %position : tensor<?xi64>) -> (tensor<?x?x1x32xf32>) schedule(<row_tiles = [4], column_block = 32>) {
    %o, %k1, %v1 = mega.chunk_attention %a, %a, %a, %b, %c at %d chunk(16)
        : tensor<?x?x1x32xf32>, tensor<?x?x1x32xf32>, tensor<?x16x1x32xf32>, tensor<?x16x1x32xf32>, tensor<?xi64>
    // expected-error @+1 {{cannot follow mega.chunk_attention in a kernel: expects an elementwise op on values of 'tensor<?x?x1x32xf32>'}}
    %y = mega.rms_norm %o eps(1.0e-5) : (tensor<?x?x1x32xf32>) -> tensor<?x?x1x32xf32>
    mega.yield %y : tensor<?x?x1x32xf32>
  }
  return %g : tensor<?x?x1x32xf32>
}

// -----

func.func @twice(%q: tensor<?x?x1x32xf32>, %keys: tensor<?x16x1x32xf32>, %values: tensor<?x16x1x32xf32>, %position: tensor<?xi64>)
    -> (tensor<?x?x1x32xf32>, tensor<?x?x1x32xf32>) {
  // expected-error @+1 {{expects only the last of its elementwise ops to have a result outside, but so has mega.chunk_attention}}
  %g:2 = mega.group "a" (%a = %q : tensor<?x?x1x32xf32>, %b = %keys : tensor<?x16x1x32xf32>, %c = %values : tensor<?x16x1x32xf32>,
                       %d = %position : tensor<?xi64>) -> (tensor<?x?x1x32xf32>, tensor<?x?x1x32xf32>) schedule(<row_tiles = [4], column_block = 32>) {
    %o, %k1, %v1 = mega.chunk_attention %a, %a, %a, %b, %c at %d chunk(16)
        : tensor<?x?x1x32xf32>, tensor<?x?x1x32xf32>, tensor<?x16x1x32xf32>, tensor<?x16x1x32xf32>, tensor<?xi64>
    %y = arith.mulf %o, %a : tensor<?x?x1x32xf32>
    mega.yield %o, %y : tensor<?x?x1x32xf32>, tensor<?x?x1x32xf32>
  }
  return %g#0, %g#1 : tensor<?x?x1x32xf32>, tensor<?x?x1x32xf32>
}

// -----

func.func @no_result(%q: tensor<?x?x1x32xf32>, %keys: tensor<?x16x1x32xf32>, %values: tensor<?x16x1x32xf32>, %position: tensor<?xi64>)
    -> tensor<?x16x1x32xf32> {
  // expected-error @+1 {{expects the value of its last op to be a result}}
  %g = mega.group "a" (%a = %q : tensor<?x?x1x32xf32>, %b = %keys : tensor<?x16x1x32xf32>, %c = %values : tensor<?x16x1x32xf32>,
                       %d = %position : tensor<?xi64>) -> (tensor<?x16x1x32xf32>) schedule(<row_tiles = [4], column_block = 32>) {
    %o, %k1, %v1 = mega.chunk_attention %a, %a, %a, %b, %c at %d chunk(16)
        : tensor<?x?x1x32xf32>, tensor<?x?x1x32xf32>, tensor<?x16x1x32xf32>, tensor<?x16x1x32xf32>, tensor<?xi64>
    mega.yield %k1 : tensor<?x16x1x32xf32>
  }
  return %g : tensor<?x16x1x32xf32>
}

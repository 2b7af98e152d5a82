// RUN: otodus-opt %s --split-input-file --verify-diagnostics --pass-pipeline="builtin.module(func.func(otodus-choose-gpu-schedule{target=sm_80}))"

func.func @columns(%x: tensor<?x?x64xbf16>, %w: tensor<128x64xbf16>) -> tensor<?x?x128xbf16> {
  // expected-error @+1 {{expects column_block to be a multiple of 32 that divides 128, but got 96}}
  %0 = mega.group "p" (%a = %x : tensor<?x?x64xbf16>, %b = %w : tensor<128x64xbf16>) -> (tensor<?x?x128xbf16>)
      schedule(<column_block = 96>) {
    %1 = mega.linear %a, %b : (tensor<?x?x64xbf16>, tensor<128x64xbf16>) -> tensor<?x?x128xbf16>
    mega.yield %1 : tensor<?x?x128xbf16>
  }
  return %0 : tensor<?x?x128xbf16>
}

// -----

func.func @shared(%x: tensor<?x?x1024xbf16>, %w: tensor<1024x1024xbf16>) -> tensor<?x?x1024xbf16> {
  // expected-error @+1 {{needs 536576 bytes of shared memory, but a block of sm_80 has 166912; give its schedule smaller row_tiles, column_block, k_tile or stages}}
  %0 = mega.group "p" (%a = %x : tensor<?x?x1024xbf16>, %b = %w : tensor<1024x1024xbf16>) -> (tensor<?x?x1024xbf16>)
      schedule(<row_tiles = [128], column_block = 1024>) {
    %1 = mega.linear %a, %b : (tensor<?x?x1024xbf16>, tensor<1024x1024xbf16>) -> tensor<?x?x1024xbf16>
    mega.yield %1 : tensor<?x?x1024xbf16>
  }
  return %0 : tensor<?x?x1024xbf16>
}

// -----

func.func @rows(%x: tensor<?x?x64xbf16>, %w: tensor<128x64xbf16>) -> tensor<?x?x128xbf16> {
  // expected-error @+1 {{cannot share tiles of 20 rows and 64 columns among warps; change row_tiles or column_block of its schedule}}
  %0 = mega.group "p" (%a = %x : tensor<?x?x64xbf16>, %b = %w : tensor<128x64xbf16>) -> (tensor<?x?x128xbf16>)
      schedule(<row_tiles = [20], column_block = 64>) {
    %1 = mega.linear %a, %b : (tensor<?x?x64xbf16>, tensor<128x64xbf16>) -> tensor<?x?x128xbf16>
    mega.yield %1 : tensor<?x?x128xbf16>
  }
  return %0 : tensor<?x?x128xbf16>
}

// -----

func.func @whole(%x: tensor<?x?x64xbf16>, %w: tensor<256x64xbf16>) -> tensor<?x?x256xbf16> {
  // expected-error @+1 {{expects column_block to be the whole width of 256, since a norm or rotation follows a product, but got 64}}
  %0 = mega.group "p" (%a = %x : tensor<?x?x64xbf16>, %b = %w : tensor<256x64xbf16>) -> (tensor<?x?x256xbf16>)
      schedule(<column_block = 64>) {
    %1 = mega.linear %a, %b : (tensor<?x?x64xbf16>, tensor<256x64xbf16>) -> tensor<?x?x256xbf16>
    %2 = mega.rms_norm %1 eps(1.0e-5) : (tensor<?x?x256xbf16>) -> tensor<?x?x256xbf16>
    mega.yield %2 : tensor<?x?x256xbf16>
  }
  return %0 : tensor<?x?x256xbf16>
}

// -----

func.func @maps(%x: tensor<?x?x64xbf16>, %w: tensor<128x64xbf16>) -> tensor<?x?x128xbf16> {
  // expected-error @+1 {{expects no copies = "tma" on sm_80: that takes a chip with tensor maps and products of warpgroups, bf16, row tiles of 64 rows and more, k_tile 32 or 64, and no product of a product or with a matrix read across}}
  %0 = mega.group "p" (%a = %x : tensor<?x?x64xbf16>, %b = %w : tensor<128x64xbf16>) -> (tensor<?x?x128xbf16>)
      schedule(<copies = "tma">) {
    %1 = mega.linear %a, %b : (tensor<?x?x64xbf16>, tensor<128x64xbf16>) -> tensor<?x?x128xbf16>
    mega.yield %1 : tensor<?x?x128xbf16>
  }
  return %0 : tensor<?x?x128xbf16>
}

// -----

func.func @across(%dy: tensor<?x?x128xf32>, %w: tensor<128x64xf32>) -> tensor<?x?x64xf32> {
  // expected-error @+1 {{expects row_tiles of more than 8 rows, since linear_input_gradient reads its matrix across the terms, but got 4}}
  %0 = mega.group "p" (%a = %dy : tensor<?x?x128xf32>, %b = %w : tensor<128x64xf32>) -> (tensor<?x?x64xf32>)
      schedule(<row_tiles = [4]>) {
    %1 = mega.linear_input_gradient %a, %b : (tensor<?x?x128xf32>, tensor<128x64xf32>) -> tensor<?x?x64xf32>
    mega.yield %1 : tensor<?x?x64xf32>
  }
  return %0 : tensor<?x?x64xf32>
}

// -----

func.func @cluster(%q: tensor<?x?x1x32xbf16>, %k: tensor<?x?x1x32xbf16>, %v: tensor<?x?x1x64xbf16>,
                   %keys: tensor<?x64x1x32xbf16>, %values: tensor<?x64x1x64xbf16>, %position: tensor<?xi64>)
    -> (tensor<?x?x1x64xbf16>, tensor<?x64x1x32xbf16>, tensor<?x64x1x64xbf16>) {
  // expected-error @+1 {{expects no cluster, or on chips that have clusters one of 1, 2, 4 or 8 blocks, but got 4 on sm_80}}
  %0:3 = mega.group "a" (%q0 = %q : tensor<?x?x1x32xbf16>, %k0 = %k : tensor<?x?x1x32xbf16>, %v0 = %v : tensor<?x?x1x64xbf16>,
                         %s0 = %keys : tensor<?x64x1x32xbf16>, %s1 = %values : tensor<?x64x1x64xbf16>, %p0 = %position : tensor<?xi64>)
      -> (tensor<?x?x1x64xbf16>, tensor<?x64x1x32xbf16>, tensor<?x64x1x64xbf16>) schedule(<cluster = 4>) {
    %o, %nk, %nv = mega.chunk_attention %q0, %k0, %v0, %s0, %s1 at %p0 chunk(64)
        : tensor<?x?x1x32xbf16>, tensor<?x?x1x64xbf16>, tensor<?x64x1x32xbf16>, tensor<?x64x1x64xbf16>, tensor<?xi64>
    mega.yield %o, %nk, %nv : tensor<?x?x1x64xbf16>, tensor<?x64x1x32xbf16>, tensor<?x64x1x64xbf16>
  }
  return %0#0, %0#1, %0#2 : tensor<?x?x1x64xbf16>, tensor<?x64x1x32xbf16>, tensor<?x64x1x64xbf16>
}

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

// RUN: otodus-opt %s --split-input-file --pass-pipeline="builtin.module(func.func(otodus-choose-gpu-schedule{target=sm_80}))" | FileCheck %s
// RUN: otodus-opt %s --split-input-file --pass-pipeline="builtin.module(func.func(otodus-choose-gpu-schedule{target=sm_86}))" | FileCheck %s --check-prefix=SMALL

// RUN: otodus-opt %s --split-input-file --pass-pipeline="builtin.module(func.func(otodus-choose-gpu-schedule{target=sm_90a}))" | FileCheck %s --check-prefix=MAPS
// RUN: not otodus-opt %s --split-input-file --pass-pipeline="builtin.module(func.func(otodus-choose-gpu-schedule{target=sm_90a copies=fast}))" 2>&1 | FileCheck %s --check-prefix=OPTION
// OPTION: expects the option copies to be tma or async, but got 'fast'

// Tensor maps where the chip has them, for bf16 products.
// MAPS-LABEL: func.func @product(
// MAPS: stages = 6, threads = 256, copies = "tma">)
// MAPS-LABEL: func.func @product_f32
// MAPS-NOT: copies
// MAPS-LABEL: func.func @given
// MAPS-NOT: copies
// MAPS-LABEL: func.func @whole
// MAPS: copies = "tma"

// A product in bf16: tensor cores want 16 rows; 128 x 128 tiles of 64 terms in three stages.
// CHECK-LABEL: func.func @product
// CHECK: mega.group "p"
// CHECK-SAME: schedule(<row_tiles = [1, 4, 16, 128], row_block = 1, column_block = 128, k_tile = 64, stages = 3, threads = 256>)
func.func @product(%x: tensor<?x?x1024xbf16>, %w: tensor<2048x1024xbf16>) -> tensor<?x?x2048xbf16> {
  %0 = mega.group "p" (%a = %x : tensor<?x?x1024xbf16>, %b = %w : tensor<2048x1024xbf16>) -> (tensor<?x?x2048xbf16>) {
    %1 = mega.linear %a, %b : (tensor<?x?x1024xbf16>, tensor<2048x1024xbf16>) -> tensor<?x?x2048xbf16>
    mega.yield %1 : tensor<?x?x2048xbf16>
  }
  return %0 : tensor<?x?x2048xbf16>
}

// -----

// f32 has no tensor cores: smaller tiles.
// CHECK-LABEL: func.func @product_f32
// CHECK: row_tiles = [1, 4, 16, 64]
// CHECK-SAME: column_block = 64, k_tile = 32
func.func @product_f32(%x: tensor<?x?x64xf32>, %w: tensor<128x64xf32>) -> tensor<?x?x128xf32> {
  %0 = mega.group "p" (%a = %x : tensor<?x?x64xf32>, %b = %w : tensor<128x64xf32>) -> (tensor<?x?x128xf32>) {
    %1 = mega.linear %a, %b : (tensor<?x?x64xf32>, tensor<128x64xf32>) -> tensor<?x?x128xf32>
    mega.yield %1 : tensor<?x?x128xf32>
  }
  return %0 : tensor<?x?x128xf32>
}

// -----

// What is written stays.
// CHECK-LABEL: func.func @given
// CHECK: schedule(<row_tiles = [32], row_block = 1, column_block = 64, k_tile = 32, stages = 4, threads = 64>)
func.func @given(%x: tensor<?x?x64xbf16>, %w: tensor<128x64xbf16>) -> tensor<?x?x128xbf16> {
  %0 = mega.group "p" (%a = %x : tensor<?x?x64xbf16>, %b = %w : tensor<128x64xbf16>) -> (tensor<?x?x128xbf16>)
      schedule(<row_tiles = [32], column_block = 64, k_tile = 32, stages = 4, threads = 64>) {
    %1 = mega.linear %a, %b : (tensor<?x?x64xbf16>, tensor<128x64xbf16>) -> tensor<?x?x128xbf16>
    mega.yield %1 : tensor<?x?x128xbf16>
  }
  return %0 : tensor<?x?x128xbf16>
}

// -----

// A norm behind a product needs whole rows.
// CHECK-LABEL: func.func @whole
// CHECK: column_block = 256
func.func @whole(%x: tensor<?x?x64xbf16>, %w: tensor<256x64xbf16>) -> tensor<?x?x256xbf16> {
  %0 = mega.group "p" (%a = %x : tensor<?x?x64xbf16>, %b = %w : tensor<256x64xbf16>) -> (tensor<?x?x256xbf16>) {
    %1 = mega.linear %a, %b : (tensor<?x?x64xbf16>, tensor<256x64xbf16>) -> tensor<?x?x256xbf16>
    %2 = mega.rms_norm %1 eps(1.0e-5) : (tensor<?x?x256xbf16>) -> tensor<?x?x256xbf16>
    mega.yield %2 : tensor<?x?x256xbf16>
  }
  return %0 : tensor<?x?x256xbf16>
}

// -----

// Row tiles that do not fit the chip are left out: three stages of 512 columns, and two sets of sums, since the products are multiplied, not added.
// CHECK-LABEL: func.func @two
// CHECK: row_tiles = [1, 4],
// SMALL-LABEL: func.func @two
// SMALL: row_tiles = [1, 4],
func.func @two(%x: tensor<?x?x64xbf16>, %w: tensor<512x64xbf16>, %v: tensor<512x64xbf16>) -> tensor<?x?x512xbf16> {
  %0 = mega.group "p" (%a = %x : tensor<?x?x64xbf16>, %b = %w : tensor<512x64xbf16>, %c = %v : tensor<512x64xbf16>) -> (tensor<?x?x512xbf16>) {
    %1 = mega.linear %a, %b : (tensor<?x?x64xbf16>, tensor<512x64xbf16>) -> tensor<?x?x512xbf16>
    %2 = mega.linear %a, %c : (tensor<?x?x64xbf16>, tensor<512x64xbf16>) -> tensor<?x?x512xbf16>
    %3 = arith.mulf %1, %2 : tensor<?x?x512xbf16>
    %4 = mega.rms_norm %3 eps(1.0e-5) : (tensor<?x?x512xbf16>) -> tensor<?x?x512xbf16>
    mega.yield %4 : tensor<?x?x512xbf16>
  }
  return %0 : tensor<?x?x512xbf16>
}

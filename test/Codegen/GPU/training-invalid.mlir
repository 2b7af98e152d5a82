// RUN: otodus-opt %s --split-input-file --verify-diagnostics --pass-pipeline="builtin.module(func.func(otodus-choose-gpu-schedule{target=sm_80}),otodus-build-gpu-kernels{target=sm_80})"

// The sums that multiply are cut by a schedule, which must suit the shapes, the threads and the chip.
func.func @pieces(%y: tensor<?x?x128xbf16>, %x: tensor<?x?x64xbf16>, %s: tensor<128x64xf32>) -> tensor<128x64xf32> {
  // expected-error @+1 {{'mega.group' op expects row_block and column_block to be multiples of 32 that divide what they cut (128 and 64), but got 96 and 64}}
  %0 = mega.group "w" (%a = %y : tensor<?x?x128xbf16>, %b = %x : tensor<?x?x64xbf16>, %c = %s : tensor<128x64xf32>) -> (tensor<128x64xf32>) schedule(<row_block = 96>) {
    %1 = mega.linear_weight_gradient %a, %b into %c : tensor<?x?x128xbf16>, tensor<?x?x64xbf16>, tensor<128x64xf32>
    mega.yield %1 : tensor<128x64xf32>
  }
  return %0 : tensor<128x64xf32>
}

// -----

func.func @terms(%y: tensor<?x?x128xbf16>, %x: tensor<?x?x64xbf16>, %s: tensor<128x64xf32>) -> tensor<128x64xf32> {
  // expected-error @+1 {{'mega.group' op expects stages of 2 or more and a k_tile of a multiple of 16, but got 4 and 24}}
  %0 = mega.group "w" (%a = %y : tensor<?x?x128xbf16>, %b = %x : tensor<?x?x64xbf16>, %c = %s : tensor<128x64xf32>) -> (tensor<128x64xf32>) schedule(<k_tile = 24>) {
    %1 = mega.linear_weight_gradient %a, %b into %c : tensor<?x?x128xbf16>, tensor<?x?x64xbf16>, tensor<128x64xf32>
    mega.yield %1 : tensor<128x64xf32>
  }
  return %0 : tensor<128x64xf32>
}

// -----

func.func @share(%y: tensor<?x?x128xbf16>, %x: tensor<?x?x64xbf16>, %s: tensor<128x64xf32>) -> tensor<128x64xf32> {
  // expected-error @+1 {{'mega.group' op cannot share a tile of 32 x 32 among 512 threads; change row_block, column_block or threads of its schedule}}
  %0 = mega.group "w" (%a = %y : tensor<?x?x128xbf16>, %b = %x : tensor<?x?x64xbf16>, %c = %s : tensor<128x64xf32>) -> (tensor<128x64xf32>) schedule(<row_block = 32, column_block = 32, threads = 512>) {
    %1 = mega.linear_weight_gradient %a, %b into %c : tensor<?x?x128xbf16>, tensor<?x?x64xbf16>, tensor<128x64xf32>
    mega.yield %1 : tensor<128x64xf32>
  }
  return %0 : tensor<128x64xf32>
}

// -----

func.func @memory(%y: tensor<?x?x128xbf16>, %x: tensor<?x?x128xbf16>, %s: tensor<128x128xf32>) -> tensor<128x128xf32> {
  // expected-error @+1 {{'mega.group' op needs 174080 bytes of shared memory, but a block of sm_80 has 166912; give its schedule fewer stages or a smaller column_block}}
  %0 = mega.group "w" (%a = %y : tensor<?x?x128xbf16>, %b = %x : tensor<?x?x128xbf16>, %c = %s : tensor<128x128xf32>) -> (tensor<128x128xf32>) schedule(<row_block = 128, column_block = 128, stages = 10>) {
    %1 = mega.linear_weight_gradient %a, %b into %c : tensor<?x?x128xbf16>, tensor<?x?x128xbf16>, tensor<128x128xf32>
    mega.yield %1 : tensor<128x128xf32>
  }
  return %0 : tensor<128x128xf32>
}

// -----

func.func @fields(%y: tensor<?x?x128xbf16>, %x: tensor<?x?x64xbf16>, %s: tensor<128x64xf32>) -> tensor<128x64xf32> {
  // expected-error @+1 {{'mega.group' op expects a schedule of row_block, column_block, k_tile, stages and threads for mega.linear_weight_gradient, but got}}
  %0 = mega.group "w" (%a = %y : tensor<?x?x128xbf16>, %b = %x : tensor<?x?x64xbf16>, %c = %s : tensor<128x64xf32>) -> (tensor<128x64xf32>) schedule(<time_tile = 4>) {
    %1 = mega.linear_weight_gradient %a, %b into %c : tensor<?x?x128xbf16>, tensor<?x?x64xbf16>, tensor<128x64xf32>
    mega.yield %1 : tensor<128x64xf32>
  }
  return %0 : tensor<128x64xf32>
}

// -----

func.func @none(%x: tensor<?x?x8xbf16>, %s: tensor<8xf32>) -> tensor<8xf32> {
  // expected-error @+1 {{'mega.group' op expects no schedule for mega.column_sum on a GPU, but got}}
  %0 = mega.group "s" (%a = %x : tensor<?x?x8xbf16>, %b = %s : tensor<8xf32>) -> (tensor<8xf32>) schedule(<stages = 4>) {
    %1 = mega.column_sum %a into %b : (tensor<?x?x8xbf16>, tensor<8xf32>) -> tensor<8xf32>
    mega.yield %1 : tensor<8xf32>
  }
  return %0 : tensor<8xf32>
}

// -----

func.func @portions(%x: tensor<1040xf32>, %s: tensor<1xf32>) -> tensor<1xf32> {
  %0 = mega.group "n" (%a = %x : tensor<1040xf32>, %b = %s : tensor<1xf32>) -> (tensor<1xf32>) {
    // expected-error @+1 {{'mega.squares' op expects a static number of elements, a multiple of 1024, but got 'tensor<1040xf32>'}}
    %1 = mega.squares %a, %b : (tensor<1040xf32>, tensor<1xf32>) -> tensor<1xf32>
    mega.yield %1 : tensor<1xf32>
  }
  return %0 : tensor<1xf32>
}

// -----

func.func @together(%x: tensor<?x?x8xf32>, %s: tensor<8xf32>) -> (tensor<8xf32>, tensor<?x?x8xf32>) {
  %0:2 = mega.group "s" (%a = %x : tensor<?x?x8xf32>, %b = %s : tensor<8xf32>) -> (tensor<8xf32>, tensor<?x?x8xf32>) {
    // expected-error @+1 {{'mega.column_sum' op expects to be alone in its group}}
    %1 = mega.column_sum %a into %b : (tensor<?x?x8xf32>, tensor<8xf32>) -> tensor<8xf32>
    %2 = mega.silu %a : tensor<?x?x8xf32>
    mega.yield %1, %2 : tensor<8xf32>, tensor<?x?x8xf32>
  }
  return %0#0, %0#1 : tensor<8xf32>, tensor<?x?x8xf32>
}

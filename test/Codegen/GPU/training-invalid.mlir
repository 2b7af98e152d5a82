// RUN: otodus-opt %s --split-input-file --verify-diagnostics --pass-pipeline="builtin.module(func.func(otodus-choose-gpu-schedule{target=sm_80}),otodus-build-gpu-kernels{target=sm_80})"

func.func @narrow(%x: tensor<?x?x8xbf16>, %s: tensor<8xf32>) -> tensor<8xf32> {
  %0 = mega.group "s" (%a = %x : tensor<?x?x8xbf16>, %b = %s : tensor<8xf32>) -> (tensor<8xf32>) {
    // expected-error @+1 {{'mega.column_sum' op has kernels for f32 alone, but got 'tensor<?x?x8xbf16>'}}
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

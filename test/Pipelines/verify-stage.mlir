// RUN: split-file %s %t
// RUN: otodus-opt %t/fused-ok.mlir --otodus-verify-stage=stage=fused | FileCheck %s --check-prefix=OK
// RUN: otodus-opt %t/fused-bad.mlir --otodus-verify-stage=stage=fused --verify-diagnostics --split-input-file
// RUN: otodus-opt %t/kernel-ok.mlir --otodus-verify-stage=stage=kernel | FileCheck %s --check-prefix=OK
// RUN: otodus-opt %t/kernel-bad.mlir --otodus-verify-stage=stage=kernel --verify-diagnostics --split-input-file
// RUN: otodus-opt %t/llvm-ok.mlir --otodus-verify-stage=stage=llvm | FileCheck %s --check-prefix=OK
// RUN: otodus-opt %t/llvm-bad.mlir --otodus-verify-stage=stage=llvm --verify-diagnostics --split-input-file
// RUN: otodus-opt %t/gpu-bad.mlir --otodus-verify-stage=stage=gpu --verify-diagnostics --split-input-file
// RUN: otodus-opt %t/nvvm-bad.mlir --otodus-verify-stage=stage=nvvm --verify-diagnostics
// RUN: not otodus-opt %t/llvm-ok.mlir --otodus-verify-stage=stage=object 2>&1 | FileCheck %s --check-prefix=NAME
// RUN: not otodus-opt %t/left.mlir --otodus-fused-stage 2>&1 | FileCheck %s --check-prefix=STAGE
// RUN: not otodus compile %t/left.mlir --emit=kernel 2>&1 | FileCheck %s --check-prefix=STAGE

// OK: @f
// NAME: error: expects the stage fused, kernel, llvm, gpu or nvvm, but got 'object'
// The gate closes the stage in both programs.
// STAGE: error: 'tensor.cast' op is left outside of groups after the fused stage

//--- fused-ok.mlir
mega.weight @w : tensor<2x32xf32>
func.func private @external(tensor<?x?x32xf32>) -> tensor<?x?x32xf32>
func.func @f(%x: tensor<?x?x32xf32>) -> tensor<?x?x32xf32> {
  %w = mega.use_weight @w : tensor<2x32xf32>
  %row = tensor.extract_slice %w[1, 0] [1, 32] [1, 1] : tensor<2x32xf32> to tensor<32xf32>
  %y = mega.group "norm" (%a = %x : tensor<?x?x32xf32>, %b = %row : tensor<32xf32>)
      -> (tensor<?x?x32xf32>) {
    %n = mega.rms_norm %a weight %b eps(1.0e-5)
        : (tensor<?x?x32xf32>, tensor<32xf32>) -> tensor<?x?x32xf32>
    mega.yield %n : tensor<?x?x32xf32>
  }
  %z = call @external(%y) : (tensor<?x?x32xf32>) -> tensor<?x?x32xf32>
  return %z : tensor<?x?x32xf32>
}

//--- fused-bad.mlir
func.func @cema(%x: tensor<?x?x8xf32>, %alpha: tensor<8x4x1xf32>, %delta: tensor<8x4x1xf32>,
                %theta: tensor<8x1x1xf32>, %gamma: tensor<8x4x2xf32>, %omega: tensor<8x1xf32>,
                %h0: tensor<?x8x4x2xf32>) {
  // expected-error @below {{'mega.cema' op is left outside of groups after the fused stage}}
  %y, %h1 = mega.cema %x, %alpha, %delta, %theta, %gamma, %omega, %h0
      : tensor<?x?x8xf32>, tensor<8x4x1xf32>, tensor<8x1x1xf32>, tensor<8x4x2xf32>,
        tensor<8x1xf32>, tensor<?x8x4x2xf32>
  return
}

// -----

func.func @sum(%x: tensor<?x?x8xf32>) -> tensor<?x?x8xf32> {
  // expected-error @below {{'arith.addf' op is left outside of groups after the fused stage}}
  %y = arith.addf %x, %x : tensor<?x?x8xf32>
  return %y : tensor<?x?x8xf32>
}

//--- kernel-ok.mlir
func.func @f(%x: tensor<?x?x32xf32>) -> tensor<?x?x32xf32> {
  %y = mega.group "silu" (%a = %x : tensor<?x?x32xf32>) -> (tensor<?x?x32xf32>)
      attributes {mega.kernels = [@k]} {
    %s = mega.silu %a : tensor<?x?x32xf32>
    mega.yield %s : tensor<?x?x32xf32>
  }
  return %y : tensor<?x?x32xf32>
}
func.func private @k(%x: memref<?xf32>) attributes {mega.buffers = [], mega.grid = []} {
  return
}

//--- kernel-bad.mlir
func.func @no_kernels(%x: tensor<?x?x32xf32>) -> tensor<?x?x32xf32> {
  // expected-error @below {{'mega.group' op has no kernel after the kernel stage}}
  %y = mega.group "silu" (%a = %x : tensor<?x?x32xf32>) -> (tensor<?x?x32xf32>) {
    %s = mega.silu %a : tensor<?x?x32xf32>
    mega.yield %s : tensor<?x?x32xf32>
  }
  return %y : tensor<?x?x32xf32>
}

// -----

func.func @lost(%x: tensor<?x?x32xf32>) -> tensor<?x?x32xf32> {
  // expected-error @below {{names the kernel @k after the kernel stage, but there is no such function}}
  %y = mega.group "silu" (%a = %x : tensor<?x?x32xf32>) -> (tensor<?x?x32xf32>)
      attributes {mega.kernels = [@k]} {
    %s = mega.silu %a : tensor<?x?x32xf32>
    mega.yield %s : tensor<?x?x32xf32>
  }
  return %y : tensor<?x?x32xf32>
}

// -----

func.func @no_grid(%x: tensor<?x?x32xf32>) -> tensor<?x?x32xf32> {
  %y = mega.group "silu" (%a = %x : tensor<?x?x32xf32>) -> (tensor<?x?x32xf32>)
      attributes {mega.kernels = [@k]} {
    %s = mega.silu %a : tensor<?x?x32xf32>
    mega.yield %s : tensor<?x?x32xf32>
  }
  return %y : tensor<?x?x32xf32>
}
// expected-error @below {{is a kernel without mega.grid after the kernel stage}}
func.func private @k(%x: memref<?xf32>) attributes {mega.buffers = []} {
  return
}

// -----

func.func @mathematics(%x: tensor<?x?x32xf32>) -> tensor<?x?x32xf32> {
  %y = mega.group "silu" (%a = %x : tensor<?x?x32xf32>) -> (tensor<?x?x32xf32>)
      attributes {mega.kernels = [@k]} {
    %s = mega.silu %a : tensor<?x?x32xf32>
    mega.yield %s : tensor<?x?x32xf32>
  }
  return %y : tensor<?x?x32xf32>
}
func.func private @k(%x: tensor<?x?x32xf32>) attributes {mega.buffers = [], mega.grid = []} {
  // expected-error @below {{'mega.silu' op is left in a kernel after the kernel stage}}
  %s = mega.silu %x : tensor<?x?x32xf32>
  return
}

//--- llvm-ok.mlir
llvm.func @f(%a: !llvm.ptr, %lo: i64, %hi: i64) {
  llvm.return
}

//--- llvm-bad.mlir
llvm.func @f(%x: i64) {
  // expected-error @below {{'builtin.unrealized_conversion_cast' op is left after the llvm stage}}
  %y = builtin.unrealized_conversion_cast %x : i64 to index
  llvm.return
}

// -----

// expected-error @below {{'func.func' op is left after the llvm stage}}
func.func @f() {
  return
}

//--- left.mlir
func.func @f(%x: tensor<?x?x32xf32>) -> tensor<?x4x32xf32> {
  %y = tensor.cast %x : tensor<?x?x32xf32> to tensor<?x4x32xf32>
  %z = mega.silu %y : tensor<?x4x32xf32>
  return %z : tensor<?x4x32xf32>
}

//--- gpu-bad.mlir
// expected-error @below {{'func.func' op is a kernel without gpu.threads after the gpu stage}}
func.func private @k(%x: memref<?xf32>, %batch: index, %length: index, %rows: index)
    attributes {mega.grid = []} {
  return
}

// -----

func.func private @k(%x: memref<?xf32>, %batch: index, %length: index, %rows: index)
    attributes {mega.grid = [], gpu.threads = 32 : i64} {
  // expected-error @below {{'tensor.empty' op works on a tensor after the gpu stage}}
  %0 = tensor.empty() : tensor<4xf32>
  return
}

//--- nvvm-bad.mlir
llvm.func @k() {
  // expected-error @below {{'gpu.barrier' op is left after the nvvm stage}}
  gpu.barrier
  llvm.return
}

// RUN: split-file %s %t
// RUN: not otodus compile %t/library.mlir --emit=llvm -o - 2>&1 | FileCheck %s --check-prefix=LIBRARY
// RUN: not otodus compile %t/weights.mlir --emit=llvm -o - 2>&1 | FileCheck %s --check-prefix=WEIGHTS
// RUN: not otodus compile %t/mask.mlir --emit=llvm -o - 2>&1 | FileCheck %s --check-prefix=MASK
// RUN: not otodus compile %t/constant.mlir --emit=llvm -o - 2>&1 | FileCheck %s --check-prefix=CONSTANT

// What a person may write and no kernel can do is an error at the op, with the stage's name.

//--- library.mlir
// LIBRARY: library.mlir:{{[0-9]+}}:8: error: 'math.powf' op has no form in a kernel
// LIBRARY: otodus: the kernel stage failed
func.func @f(%x: tensor<?x?x32xf32>) -> tensor<?x?x32xf32> {
  %y = math.powf %x, %x : tensor<?x?x32xf32>
  return %y : tensor<?x?x32xf32>
}

//--- weights.mlir
// WEIGHTS: error: 'arith.addf' op is left outside of groups after the fused stage
// WEIGHTS: otodus: the fused stage failed
mega.weight @w : tensor<32xf32>
func.func @f(%x: tensor<?x?x32xf32>) -> tensor<?x?x32xf32> {
  %w = mega.use_weight @w : tensor<32xf32>
  %w2 = arith.addf %w, %w : tensor<32xf32>
  %y = mega.rms_norm %x weight %w2 eps(1.0e-5)
      : (tensor<?x?x32xf32>, tensor<32xf32>) -> tensor<?x?x32xf32>
  return %y : tensor<?x?x32xf32>
}

//--- mask.mlir
// MASK: error: 'arith.cmpf' op is left outside of groups after the fused stage
func.func @f(%x: tensor<?x?x32xf32>, %y: tensor<?x?x32xf32>) -> tensor<?x?x32xf32> {
  %c = arith.cmpf olt, %x, %y : tensor<?x?x32xf32>
  %m = arith.select %c, %x, %y : tensor<?x?x32xi1>, tensor<?x?x32xf32>
  return %m : tensor<?x?x32xf32>
}

//--- constant.mlir
// CONSTANT: error: 'arith.constant' op is left outside of groups after the fused stage; make it a mega.weight
// CONSTANT: otodus: the fused stage failed (see the error above)
func.func @f(%x: tensor<?x?x32xf32>) -> tensor<?x?x32xf32> {
  %w = arith.constant dense<1.0> : tensor<32xf32>
  %y = mega.rms_norm %x weight %w eps(1.0e-5)
      : (tensor<?x?x32xf32>, tensor<32xf32>) -> tensor<?x?x32xf32>
  return %y : tensor<?x?x32xf32>
}

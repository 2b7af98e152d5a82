// REQUIRES: ptxas
// RUN: otodus compile %s --from=gpu --target=sm_80 --emit=cubin -o %t.cubin
// RUN: otodus compile %S/ptx.mlir --from=gpu --target=sm_120a --emit=cubin -o %t.120.cubin
// RUN: llvm-readelf -h %t.cubin | FileCheck %s

// CHECK: Class: ELF64
// CHECK: Machine: {{.*}}CUDA
func.func private @zero(%x: memref<?xf32>, %batch: index, %length: index, %rows: index)
    attributes {mega.grid = [], gpu.threads = 32 : i64} {
  %zero = arith.constant 0.0 : f32
  %t = gpu.thread_id x
  memref.store %zero, %x[%t] : memref<?xf32>
  return
}

// RUN: otodus-opt %s | otodus-opt | FileCheck %s
// RUN: otodus-opt %s -mlir-print-op-generic | otodus-opt | FileCheck %s

// CHECK-LABEL: llvm.func @products
// CHECK-SAME: %[[A:.*]]: i64, %[[B:.*]]: i64, %[[R:.*]]: i32, %[[P:.*]]: i1, %[[C:.*]]: !llvm.struct
llvm.func @products(%a: i64, %b: i64, %r: i32, %scale: i1, %c: !llvm.struct<(f32, f32, f32, f32)>) {
  // CHECK: %[[D0:.*]] = gk.wgmma %[[A]], %[[B]] into %[[C]] if %[[P]] : m64n8k16
  %d0 = gk.wgmma %a, %b into %c if %scale : m64n8k16
  // CHECK: %[[D1:.*]] = gk.wgmma %[[A]], %[[B]] into %[[D0]] if %[[P]] {transpose_a, transpose_b} : m64n8k16
  %d1 = gk.wgmma %a, %b into %d0 if %scale {transpose_a, transpose_b} : m64n8k16
  // CHECK: %[[D2:.*]] = gk.wgmma_ra [%[[R]], %[[R]], %[[R]], %[[R]]], %[[B]] into %[[D1]] if %[[P]] {transpose_b} : m64n8k16
  %d2 = gk.wgmma_ra [%r, %r, %r, %r], %b into %d1 if %scale {transpose_b} : m64n8k16
  // CHECK: %[[D3:.*]] = gk.wgmma_wait 1 for %[[D2]] : m64n8k16
  %d3 = gk.wgmma_wait 1 for %d2 : m64n8k16
  // CHECK: gk.wgmma_wait 0 for %[[D3]] reading %[[R]], %[[R]], %[[R]], %[[R]] : m64n8k16
  %d4 = gk.wgmma_wait 0 for %d3 reading %r, %r, %r, %r : m64n8k16
  llvm.return
}

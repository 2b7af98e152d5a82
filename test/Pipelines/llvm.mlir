// RUN: otodus compile %s --emit=llvm --target=cpu:x86-64-v4 -o - \
// RUN:   | FileCheck %s --implicit-check-not=' arith.' --implicit-check-not=' memref.' \
// RUN:       --implicit-check-not=' vector.' --implicit-check-not=' scf.' --implicit-check-not=' math.' \
// RUN:       --implicit-check-not=unrealized_conversion_cast
// RUN: otodus compile %s --emit=llvm --target=cpu:x86-64-v3 -o - | FileCheck %s --check-prefix=V3

// In: kernels on tensors. Out: the llvm dialect alone; functions of the ABI's type.

mega.weight @fc1.weight : tensor<96x64xf32>

// CHECK:       llvm.func @k0_{{.*}}_r1(%{{[^ ]*}}: !llvm.ptr, %{{[^ ]*}}: i64, %{{[^ ]*}}: i64)
// CHECK:         llvm.intr.fmuladd{{.*}}vector<16xf32>
// CHECK:         llvm.return
// CHECK:       llvm.func @k0_{{.*}}_r4(
// CHECK:       llvm.func @k0_{{.*}}_r12(

// V3:          llvm.func @k0_{{.*}}_r12(
// V3-NOT:        vector<16xf32>
// V3:            llvm.intr.fmuladd{{.*}}vector<8xf32>
func.func @layer(%x: tensor<?x?x64xf32>) -> tensor<?x?x96xf32> {
  %w1 = mega.use_weight @fc1.weight : tensor<96x64xf32>
  %h = mega.linear %x, %w1 : (tensor<?x?x64xf32>, tensor<96x64xf32>) -> tensor<?x?x96xf32>
  %s = mega.silu %h : tensor<?x?x96xf32>
  return %s : tensor<?x?x96xf32>
}

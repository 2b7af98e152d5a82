// The module after the passes is what --emit=model shows, and what compiling goes on with.
// RUN: otodus compile %s --emit=model -o - --pass-pipeline='builtin.module(func.func(cse))' | FileCheck %s
// RUN: otodus compile %s --emit=model -o - --pass-pipeline='builtin.module(func.func(otodus-form-groups))' \
// RUN:   | FileCheck %s --check-prefix=MODEL
// RUN: otodus compile %s --emit=fused -o - --pass-pipeline='builtin.module(func.func(otodus-form-groups))' \
// RUN:   | FileCheck %s --check-prefix=FUSED
// RUN: not otodus compile %s --emit=fused -o - --pass-pipeline='builtin.module(no-such-pass)' 2>&1 \
// RUN:   | FileCheck %s --check-prefix=UNKNOWN
// RUN: not otodus compile %s --emit=fused -o - --pass-pipeline='builtin.module(func.func(otodus-form-groups{a=1}))' 2>&1 \
// RUN:   | FileCheck %s --check-prefix=OPTION
// RUN: not otodus compile %s --emit=fused -o - --pass-pipeline=cse 2>&1 | FileCheck %s --check-prefix=BARE
// RUN: not otodus compile %s --emit=fused -o - --pass-pipeline='func.func(cse)' 2>&1 \
// RUN:   | FileCheck %s --check-prefix=FUNCTION
// RUN: not otodus compile %s --from=fused --emit=fused -o - --pass-pipeline='builtin.module(cse)' 2>&1 \
// RUN:   | FileCheck %s --check-prefix=STAGE
// RUN: not otodus compile %s --emit=fused -o - --load-pass-plugin=%t.so 2>&1 | FileCheck %s --check-prefix=MISSING
// RUN: not otodus compile %s --emit=fused -o - --load-pass-plugin=%s 2>&1 | FileCheck %s --check-prefix=NONE

// UNKNOWN: otodus: --pass-pipeline=builtin.module(no-such-pass): 'no-such-pass' does not refer to a registered pass or pass pipeline{{$}}
// UNKNOWN-NOT: {{.}}
// OPTION:  otodus: --pass-pipeline={{.*}}: {{.*}}no such option a
// BARE:    otodus: --pass-pipeline=cse: expected {{.*}}builtin.module(
// FUNCTION: otodus: --pass-pipeline expects builtin.module(PASS,...), but got 'func.func(cse)'
// STAGE:   otodus: --pass-pipeline changes a module at the model stage
// MISSING: otodus: --load-pass-plugin={{.*}}: no such file
// NONE:    otodus: --load-pass-plugin={{.*}}: {{.*}}invalid ELF header

// CHECK:      mega.silu
// CHECK-NOT:  mega.silu
// CHECK:      arith.addf
// MODEL:      mega.group
// MODEL-NEXT:   mega.silu
// MODEL-NEXT:   mega.silu
// FUSED:      mega.group "silu_silu_addf"
func.func @f(%x: tensor<?x?x32xf32>) -> tensor<?x?x32xf32> {
  %a = mega.silu %x : tensor<?x?x32xf32>
  %b = mega.silu %x : tensor<?x?x32xf32>
  %y = arith.addf %a, %b : tensor<?x?x32xf32>
  return %y : tensor<?x?x32xf32>
}

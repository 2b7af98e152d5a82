// RUN: not otodus-opt %s --pass-pipeline='builtin.module(func.func(otodus-lower-tiles-to-vectors{target=cpu:z80}))' 2>&1 | FileCheck %s

// CHECK: error: unknown target 'cpu:z80'; this compiler has cpu, cpu:native, cpu:x86-64-v3 and cpu:x86-64-v4
func.func @f() {
  return
}

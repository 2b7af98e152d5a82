// RUN: otodus-opt %s --pass-pipeline='builtin.module(func.func(otodus-split-rotary))' | FileCheck %s
// RUN: otodus-opt %s --pass-pipeline='builtin.module(func.func(otodus-split-rotary,cse))' | FileCheck %s --check-prefix=CSE

// Angles take batch and time from where the query comes from, past all that keeps them: they do
// not wait for what is rotated.

// CHECK-LABEL: func.func @after_a_norm(
// CHECK-SAME:    %[[X:[^:]*]]: tensor<?x?x16xf32>
// CHECK:         %[[Q:.*]] = mega.rms_norm
// CHECK:         %[[ANGLES:.*]] = mega.rotary_angles %{{.*}} at %{{.*}} like %[[X]] chunk(16)
// CHECK-SAME:      -> tensor<?x?x2x8xf32>
// CHECK:         %[[R:.*]], %{{.*}} = mega.rotate %[[Q]], %{{.*}} by %[[ANGLES]]
// CHECK-NOT:     mega.rotary{{ }}
// CHECK:         return %[[R]]
func.func @after_a_norm(%x: tensor<?x?x16xf32>, %w: tensor<16x16xf32>, %freqs: tensor<4xf32>,
                        %position: tensor<?xi64>) -> tensor<?x?x2x8xf32> {
  %z = mega.linear %x, %w : (tensor<?x?x16xf32>, tensor<16x16xf32>) -> tensor<?x?x2x8xf32>
  %q = mega.rms_norm %z eps(1.0e-5) : (tensor<?x?x2x8xf32>) -> tensor<?x?x2x8xf32>
  %q1, %k1 = mega.rotary %q, %z, %freqs at %position chunk(16)
      : tensor<?x?x2x8xf32>, tensor<?x?x2x8xf32>, tensor<4xf32>, tensor<?xi64>
  return %q1 : tensor<?x?x2x8xf32>
}

// Two layers with the same frequencies share one op of angles.

// CSE-LABEL: func.func @shared(
// CSE:         mega.rotary_angles
// CSE-NOT:     mega.rotary_angles
// CSE:         mega.rotate
// CSE:         mega.rotate
// CSE:         return
func.func @shared(%x: tensor<?x?x16xf32>, %w0: tensor<16x16xf32>, %w1: tensor<16x16xf32>,
                  %freqs: tensor<4xf32>, %position: tensor<?xi64>)
    -> (tensor<?x?x2x8xf32>, tensor<?x?x2x8xf32>) {
  %z0 = mega.linear %x, %w0 : (tensor<?x?x16xf32>, tensor<16x16xf32>) -> tensor<?x?x2x8xf32>
  %q0, %k0 = mega.rotary %z0, %z0, %freqs at %position chunk(16)
      : tensor<?x?x2x8xf32>, tensor<?x?x2x8xf32>, tensor<4xf32>, tensor<?xi64>
  %z1 = mega.linear %q0, %w1 : (tensor<?x?x2x8xf32>, tensor<16x16xf32>) -> tensor<?x?x2x8xf32>
  %q1, %k1 = mega.rotary %z1, %z1, %freqs at %position chunk(16)
      : tensor<?x?x2x8xf32>, tensor<?x?x2x8xf32>, tensor<4xf32>, tensor<?xi64>
  return %q1, %k1 : tensor<?x?x2x8xf32>, tensor<?x?x2x8xf32>
}

// A step has its own batch and time: `last` is where the search for them ends.

// CHECK-LABEL: func.func @after_last(
// CHECK:         %[[LAST:.*]] = mega.last
// CHECK:         mega.rotary_angles %{{.*}} at %{{.*}} like %[[LAST]] chunk(16)
// CHECK:         return
func.func @after_last(%x: tensor<?x?x16xf32>, %w: tensor<16x16xf32>, %freqs: tensor<4xf32>,
                      %position: tensor<?xi64>) -> tensor<?x1x2x8xf32> {
  %l = mega.last %x : tensor<?x?x16xf32> -> tensor<?x1x16xf32>
  %z = mega.linear %l, %w : (tensor<?x1x16xf32>, tensor<16x16xf32>) -> tensor<?x1x2x8xf32>
  %q1, %k1 = mega.rotary %z, %z, %freqs at %position chunk(16)
      : tensor<?x1x2x8xf32>, tensor<?x1x2x8xf32>, tensor<4xf32>, tensor<?xi64>
  return %q1 : tensor<?x1x2x8xf32>
}

// Queries and keys with different numbers of heads have no common rotation: not split.

// CHECK-LABEL: func.func @fewer_keys(
// CHECK-NOT:     mega.rotary_angles
// CHECK:         mega.rotary %
// CHECK:         return
func.func @fewer_keys(%q: tensor<?x?x2x8xf32>, %k: tensor<?x?x1x8xf32>, %freqs: tensor<4xf32>,
                      %position: tensor<?xi64>) -> tensor<?x?x2x8xf32> {
  %q1, %k1 = mega.rotary %q, %k, %freqs at %position chunk(16)
      : tensor<?x?x2x8xf32>, tensor<?x?x1x8xf32>, tensor<4xf32>, tensor<?xi64>
  return %q1 : tensor<?x?x2x8xf32>
}

// RUN: otodus-opt %s --pass-pipeline='builtin.module(func.func(otodus-form-groups))' | FileCheck %s
// RUN: otodus-opt %s --pass-pipeline='builtin.module(func.func(otodus-form-groups))' \
// RUN:     --remark-format=emitRemark --remarks-filter=otodus-fusion 2>&1 >/dev/null \
// RUN:   | FileCheck %s --check-prefix=REMARK --allow-empty

// Groups that another pass has formed stay as they are; only what is left is grouped.

// A norm in a group is not repeated in front of the products that read it, and what only the
// inside of a group could tell is not asked.

// CHECK-LABEL: func.func @norm_apart
// CHECK:         %[[N:.*]] = mega.group "mine"
// CHECK-SAME:        schedule(<row_tiles = [1, 4], column_block = 32>)
// CHECK-NEXT:      mega.rms_norm
// CHECK-NEXT:      mega.yield
// CHECK-NEXT:    }
// CHECK-NEXT:    %[[A:.*]] = mega.group "linear" ({{.*}} = %[[N]]
// CHECK-NEXT:      mega.linear
// CHECK-NEXT:      mega.yield
// CHECK-NEXT:    }
// CHECK-NEXT:    %[[B:.*]] = mega.group "linear" ({{.*}} = %[[N]]
// CHECK-NEXT:      mega.linear
// CHECK-NEXT:      mega.yield
// CHECK-NEXT:    }
// CHECK-NEXT:    return %[[A]], %[[B]]
func.func @norm_apart(%x: tensor<?x?x32xf32>, %w: tensor<32x32xf32>)
    -> (tensor<?x?x32xf32>, tensor<?x?x32xf32>) {
  %n = mega.group "mine" (%r = %x : tensor<?x?x32xf32>) -> (tensor<?x?x32xf32>)
      schedule(<row_tiles = [1, 4], column_block = 32>) {
    %m = mega.rms_norm %r eps(1.0e-5) : (tensor<?x?x32xf32>) -> tensor<?x?x32xf32>
    mega.yield %m : tensor<?x?x32xf32>
  }
  %a = mega.linear %n, %w : (tensor<?x?x32xf32>, tensor<32x32xf32>) -> tensor<?x?x32xf32>
  %b = mega.linear %n, %w : (tensor<?x?x32xf32>, tensor<32x32xf32>) -> tensor<?x?x32xf32>
  return %a, %b : tensor<?x?x32xf32>, tensor<?x?x32xf32>
}

// A group reads whole rows from memory: a norm that it reads beside a product is not repeated.

// CHECK-LABEL: func.func @group_reads_norm
// CHECK:         %[[N:.*]] = mega.group "rms_norm"
// CHECK-NEXT:      mega.rms_norm
// CHECK-NEXT:      mega.yield
// CHECK-NEXT:    }
// CHECK-DAG:     mega.group "mine" ({{.*}} = %[[N]]
// CHECK-DAG:     mega.group "linear" ({{.*}} = %[[N]]
// CHECK:         return
func.func @group_reads_norm(%x: tensor<?x?x32xf32>, %w: tensor<32x32xf32>)
    -> (tensor<?x?x32xf32>, tensor<?x?x32xf32>) {
  %n = mega.rms_norm %x eps(1.0e-5) : (tensor<?x?x32xf32>) -> tensor<?x?x32xf32>
  %a = mega.group "mine" (%r = %n : tensor<?x?x32xf32>) -> (tensor<?x?x32xf32>) {
    %s = mega.silu %r : tensor<?x?x32xf32>
    mega.yield %s : tensor<?x?x32xf32>
  }
  %b = mega.linear %n, %w : (tensor<?x?x32xf32>, tensor<32x32xf32>) -> tensor<?x?x32xf32>
  return %a, %b : tensor<?x?x32xf32>, tensor<?x?x32xf32>
}

// No circle through a group: the sum reads the product of %x both directly and by way of "mine",
// so it can be in the kernel of neither.

// CHECK-LABEL: func.func @around_a_group
// CHECK:         %[[A:.*]] = mega.group "linear"
// CHECK-NEXT:      mega.linear
// CHECK-NEXT:      mega.yield
// CHECK-NEXT:    }
// CHECK-NEXT:    %[[G:.*]] = mega.group "mine" ({{.*}} = %[[A]]
// CHECK:         mega.group "addf" ({{.*}} = %[[A]]{{.*}} = %[[G]]
// CHECK-NEXT:      arith.addf
// CHECK-NEXT:      mega.yield
// CHECK:         return
func.func @around_a_group(%x: tensor<?x?x32xf32>, %w: tensor<32x32xf32>) -> tensor<?x?x32xf32> {
  %a = mega.linear %x, %w : (tensor<?x?x32xf32>, tensor<32x32xf32>) -> tensor<?x?x32xf32>
  %g = mega.group "mine" (%r = %a : tensor<?x?x32xf32>) -> (tensor<?x?x32xf32>) {
    %s = mega.silu %r : tensor<?x?x32xf32>
    mega.yield %s : tensor<?x?x32xf32>
  }
  %y = arith.addf %a, %g : tensor<?x?x32xf32>
  return %y : tensor<?x?x32xf32>
}

// A function that is grouped already is left alone.

// CHECK-LABEL: func.func @all_grouped
// CHECK-COUNT-1: mega.group
// CHECK-NOT:     mega.group
// CHECK:         return
func.func @all_grouped(%x: tensor<?x?x32xf32>, %w: tensor<32x32xf32>) -> tensor<?x?x32xf32> {
  %y = mega.group "mine" (%r = %x : tensor<?x?x32xf32>, %v = %w : tensor<32x32xf32>)
      -> (tensor<?x?x32xf32>) {
    %a = mega.linear %r, %v : (tensor<?x?x32xf32>, tensor<32x32xf32>) -> tensor<?x?x32xf32>
    %s = mega.silu %a : tensor<?x?x32xf32>
    mega.yield %s : tensor<?x?x32xf32>
  }
  return %y : tensor<?x?x32xf32>
}

// REMARK-NOT: [Passed]

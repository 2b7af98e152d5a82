// RUN: otodus-opt %s --split-input-file --verify-diagnostics \
// RUN:     --pass-pipeline='builtin.module(func.func(otodus-choose-schedule))' | FileCheck %s

// Fields that a group has are kept, the others are filled in. A product is cut into columns too.

// CHECK-LABEL: func.func @product
// CHECK:         mega.group "free"
// CHECK-SAME:      schedule(<row_tiles = [1, 4, 12], row_block = {{[0-9]+}}, column_block = 256>)
// CHECK:         mega.group "given"
// CHECK-SAME:      schedule(<row_tiles = [4], row_block = 48, column_block = 64>)
func.func @product(%x: tensor<?x?x64xf32>, %w: tensor<1024x64xf32>)
    -> (tensor<?x?x1024xf32>, tensor<?x?x1024xf32>) {
  %a = mega.group "free" (%i = %x : tensor<?x?x64xf32>, %v = %w : tensor<1024x64xf32>)
      -> (tensor<?x?x1024xf32>) {
    %y = mega.linear %i, %v : (tensor<?x?x64xf32>, tensor<1024x64xf32>) -> tensor<?x?x1024xf32>
    mega.yield %y : tensor<?x?x1024xf32>
  }
  %b = mega.group "given" (%i = %x : tensor<?x?x64xf32>, %v = %w : tensor<1024x64xf32>)
      -> (tensor<?x?x1024xf32>)
      schedule(<row_tiles = [4], row_block = 48, column_block = 64>) {
    %y = mega.linear %i, %v : (tensor<?x?x64xf32>, tensor<1024x64xf32>) -> tensor<?x?x1024xf32>
    mega.yield %y : tensor<?x?x1024xf32>
  }
  return %a, %b : tensor<?x?x1024xf32>, tensor<?x?x1024xf32>
}

// -----

// A norm of what a product computes needs whole rows.

// CHECK-LABEL: func.func @whole_rows
// CHECK:         column_block = 1024
func.func @whole_rows(%x: tensor<?x?x64xf32>, %w: tensor<1024x64xf32>) -> tensor<?x?x1024xf32> {
  %a = mega.group "norm" (%i = %x : tensor<?x?x64xf32>, %v = %w : tensor<1024x64xf32>)
      -> (tensor<?x?x1024xf32>) {
    %y = mega.linear %i, %v : (tensor<?x?x64xf32>, tensor<1024x64xf32>) -> tensor<?x?x1024xf32>
    %n = mega.rms_norm %y eps(1.0e-5) : (tensor<?x?x1024xf32>) -> tensor<?x?x1024xf32>
    mega.yield %n : tensor<?x?x1024xf32>
  }
  return %a : tensor<?x?x1024xf32>
}

// -----

// Streams are cut along time and channels: whole groups of the norm.

// CHECK-LABEL: func.func @stream
// CHECK:         schedule(<time_tile = {{[0-9]+}}, channel_tile = 128>)
func.func @stream(%x: tensor<?x?x256xf32>, %w: tensor<256xf32>, %n: tensor<?xi64>,
                  %m: tensor<?x2xf32>) -> tensor<?x?x256xf32> {
  %a = mega.group "tsn" (%i = %x : tensor<?x?x256xf32>, %b = %w : tensor<256xf32>,
                         %c = %n : tensor<?xi64>, %d = %m : tensor<?x2xf32>)
      -> (tensor<?x?x256xf32>) {
    %y, %n1, %m1, %v1 = mega.timestep_norm %i, %b, %b, %c, %d, %d groups(2) eps(1.0e-5)
        : tensor<?x?x256xf32>, tensor<256xf32>, tensor<?xi64>, tensor<?x2xf32>
    mega.yield %y : tensor<?x?x256xf32>
  }
  return %a : tensor<?x?x256xf32>
}

// -----

func.func @no_lane_blocks(%x: tensor<?x?x64xf32>) -> tensor<?x?x64xf32> {
  // expected-error @below {{expects column_block to be a multiple of 32, but got 40}}
  %a = mega.group "g" (%i = %x : tensor<?x?x64xf32>) -> (tensor<?x?x64xf32>)
      schedule(<column_block = 40>) {
    %y = mega.silu %i : tensor<?x?x64xf32>
    mega.yield %y : tensor<?x?x64xf32>
  }
  return %a : tensor<?x?x64xf32>
}

// -----

func.func @part_of_a_row(%x: tensor<?x?x64xf32>, %w: tensor<64x64xf32>) -> tensor<?x?x64xf32> {
  // expected-error @below {{expects column_block to be the whole width of 64, since a norm or rotation follows a product, but got 32}}
  %a = mega.group "g" (%i = %x : tensor<?x?x64xf32>, %v = %w : tensor<64x64xf32>)
      -> (tensor<?x?x64xf32>) schedule(<column_block = 32>) {
    %y = mega.linear %i, %v : (tensor<?x?x64xf32>, tensor<64x64xf32>) -> tensor<?x?x64xf32>
    %n = mega.rms_norm %y eps(1.0e-5) : (tensor<?x?x64xf32>) -> tensor<?x?x64xf32>
    mega.yield %n : tensor<?x?x64xf32>
  }
  return %a : tensor<?x?x64xf32>
}

// -----

func.func @too_many_rows(%x: tensor<?x?x64xf32>) -> tensor<?x?x64xf32> {
  // expected-error @below {{expects row_tiles of at most}}
  %a = mega.group "g" (%i = %x : tensor<?x?x64xf32>) -> (tensor<?x?x64xf32>)
      schedule(<row_tiles = [1, 1024]>) {
    %y = mega.silu %i : tensor<?x?x64xf32>
    mega.yield %y : tensor<?x?x64xf32>
  }
  return %a : tensor<?x?x64xf32>
}

// -----

func.func @nothing() {
  // expected-error @below {{expects a result: a kernel without one computes nothing}}
  mega.group "nothing" () -> () {
    mega.yield
  }
  return
}

// -----

func.func @returns_its_operand(%x: tensor<?x?x64xf32>) -> tensor<?x?x64xf32> {
  // expected-error @below {{expects results that it computes, but it returns its operand 0}}
  %a = mega.group "g" (%i = %x : tensor<?x?x64xf32>) -> (tensor<?x?x64xf32>) {
    mega.yield %i : tensor<?x?x64xf32>
  }
  return %a : tensor<?x?x64xf32>
}

// RUN: otodus-opt %s --split-input-file --verify-diagnostics --otodus-build-kernels

// Kernels are written from a whole schedule; nothing is chosen on the way.

func.func @none(%x: tensor<?x?x64xf32>) -> tensor<?x?x64xf32> {
  // expected-error @below {{expects a whole schedule; run otodus-choose-schedule first}}
  %a = mega.group "g" (%i = %x : tensor<?x?x64xf32>) -> (tensor<?x?x64xf32>) {
    %y = mega.silu %i : tensor<?x?x64xf32>
    mega.yield %y : tensor<?x?x64xf32>
  }
  return %a : tensor<?x?x64xf32>
}

// -----

func.func @half(%x: tensor<?x?x64xf32>) -> tensor<?x?x64xf32> {
  // expected-error @below {{expects a whole schedule; run otodus-choose-schedule first}}
  %a = mega.group "g" (%i = %x : tensor<?x?x64xf32>) -> (tensor<?x?x64xf32>)
      schedule(<row_tiles = [4]>) {
    %y = mega.silu %i : tensor<?x?x64xf32>
    mega.yield %y : tensor<?x?x64xf32>
  }
  return %a : tensor<?x?x64xf32>
}

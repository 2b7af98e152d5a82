// RUN: otodus-opt %s --split-input-file --verify-diagnostics \
// RUN:     --pass-pipeline='builtin.module(func.func(otodus-choose-gpu-schedule{target=sm_80}),otodus-build-gpu-kernels{target=sm_80})'

func.func @not_bf16(%x: tensor<?x?x64xf32>, 
 %alpha: tensor<64x16x1xf32>, %delta: tensor<64x16x1xf32>, %theta: tensor<64x1x1xf32>, %gamma: tensor<64x16x2xf32>, %omega: tensor<64x1xf32>, %h0: tensor<?x64x16x2xf32>) -> (tensor<?x?x64xf32>, tensor<?x64x16x2xf32>) {
 // expected-error @below {{has no recurrence in blocks: that takes bf16}}
 %g:2 = mega.group "ts" (%a = %x : tensor<?x?x64xf32>, 
   %al = %alpha : tensor<64x16x1xf32>, %de = %delta : tensor<64x16x1xf32>, %th = %theta : tensor<64x1x1xf32>, %ga = %gamma : tensor<64x16x2xf32>, %om = %omega : tensor<64x1xf32>, %hh = %h0 : tensor<?x64x16x2xf32>)
   -> (tensor<?x?x64xf32>, tensor<?x64x16x2xf32>) schedule(<time_tile = 64, channel_tile = 64>) attributes {gk.recurrence = "blocks"} {
  %y, %h1 = mega.cema %a, %al, %de, %th, %ga, %om, %hh : tensor<?x?x64xf32>, tensor<64x16x1xf32>, tensor<64x1x1xf32>, tensor<64x16x2xf32>, tensor<64x1xf32>, tensor<?x64x16x2xf32>
  mega.yield %y, %h1 : tensor<?x?x64xf32>, tensor<?x64x16x2xf32>
 }
 return %g#0, %g#1 : tensor<?x?x64xf32>, tensor<?x64x16x2xf32>
}

// -----

func.func @unknown_form(%x: tensor<?x?x64xbf16>, 
 %alpha: tensor<64x16x1xf32>, %delta: tensor<64x16x1xf32>, %theta: tensor<64x1x1xf32>, %gamma: tensor<64x16x2xf32>, %omega: tensor<64x1xf32>, %h0: tensor<?x64x16x2xf32>) -> (tensor<?x?x64xbf16>, tensor<?x64x16x2xf32>) {
 // expected-error @below {{expects gk.recurrence to be "sequential" or "blocks", but got "fast"}}
 %g:2 = mega.group "ts" (%a = %x : tensor<?x?x64xbf16>, 
   %al = %alpha : tensor<64x16x1xf32>, %de = %delta : tensor<64x16x1xf32>, %th = %theta : tensor<64x1x1xf32>, %ga = %gamma : tensor<64x16x2xf32>, %om = %omega : tensor<64x1xf32>, %hh = %h0 : tensor<?x64x16x2xf32>)
   -> (tensor<?x?x64xbf16>, tensor<?x64x16x2xf32>) schedule(<time_tile = 64, channel_tile = 64>) attributes {gk.recurrence = "fast"} {
  %y, %h1 = mega.cema %a, %al, %de, %th, %ga, %om, %hh : tensor<?x?x64xbf16>, tensor<64x16x1xf32>, tensor<64x1x1xf32>, tensor<64x16x2xf32>, tensor<64x1xf32>, tensor<?x64x16x2xf32>
  mega.yield %y, %h1 : tensor<?x?x64xbf16>, tensor<?x64x16x2xf32>
 }
 return %g#0, %g#1 : tensor<?x?x64xbf16>, tensor<?x64x16x2xf32>
}

// -----

func.func @too_long(%x: tensor<?x?x64xf32>, 
 %alpha: tensor<64x16x1xf32>, %delta: tensor<64x16x1xf32>, %theta: tensor<64x1x1xf32>, %gamma: tensor<64x16x2xf32>, %omega: tensor<64x1xf32>, %h0: tensor<?x64x16x2xf32>) -> (tensor<?x?x64xf32>, tensor<?x64x16x2xf32>) {
 // expected-error @below {{expects a time_tile whose tiles fit the 166912 bytes of shared memory of a block, but 1024 steps of 64 channels take}}
 %g:2 = mega.group "ts" (%a = %x : tensor<?x?x64xf32>, 
   %al = %alpha : tensor<64x16x1xf32>, %de = %delta : tensor<64x16x1xf32>, %th = %theta : tensor<64x1x1xf32>, %ga = %gamma : tensor<64x16x2xf32>, %om = %omega : tensor<64x1xf32>, %hh = %h0 : tensor<?x64x16x2xf32>)
   -> (tensor<?x?x64xf32>, tensor<?x64x16x2xf32>) schedule(<time_tile = 1024, channel_tile = 64>)  {
  %y, %h1 = mega.cema %a, %al, %de, %th, %ga, %om, %hh : tensor<?x?x64xf32>, tensor<64x16x1xf32>, tensor<64x1x1xf32>, tensor<64x16x2xf32>, tensor<64x1xf32>, tensor<?x64x16x2xf32>
  mega.yield %y, %h1 : tensor<?x?x64xf32>, tensor<?x64x16x2xf32>
 }
 return %g#0, %g#1 : tensor<?x?x64xf32>, tensor<?x64x16x2xf32>
}

// -----

func.func @odd_threads(%x: tensor<?x?x64xf32>, 
 %alpha: tensor<64x16x1xf32>, %delta: tensor<64x16x1xf32>, %theta: tensor<64x1x1xf32>, %gamma: tensor<64x16x2xf32>, %omega: tensor<64x1xf32>, %h0: tensor<?x64x16x2xf32>) -> (tensor<?x?x64xf32>, tensor<?x64x16x2xf32>) {
 // expected-error @below {{expects threads to be a multiple of 32, at most 1024, but got 100}}
 %g:2 = mega.group "ts" (%a = %x : tensor<?x?x64xf32>, 
   %al = %alpha : tensor<64x16x1xf32>, %de = %delta : tensor<64x16x1xf32>, %th = %theta : tensor<64x1x1xf32>, %ga = %gamma : tensor<64x16x2xf32>, %om = %omega : tensor<64x1xf32>, %hh = %h0 : tensor<?x64x16x2xf32>)
   -> (tensor<?x?x64xf32>, tensor<?x64x16x2xf32>) schedule(<time_tile = 64, channel_tile = 64, threads = 100>)  {
  %y, %h1 = mega.cema %a, %al, %de, %th, %ga, %om, %hh : tensor<?x?x64xf32>, tensor<64x16x1xf32>, tensor<64x1x1xf32>, tensor<64x16x2xf32>, tensor<64x1xf32>, tensor<?x64x16x2xf32>
  mega.yield %y, %h1 : tensor<?x?x64xf32>, tensor<?x64x16x2xf32>
 }
 return %g#0, %g#1 : tensor<?x?x64xf32>, tensor<?x64x16x2xf32>
}

// -----

// A state is kept in front of every 32 steps.
func.func @long_tile_of_saving(%x: tensor<?x?x64xf32>, 
 %alpha: tensor<64x16x1xf32>, %delta: tensor<64x16x1xf32>, %theta: tensor<64x1x1xf32>, %gamma: tensor<64x16x2xf32>, %omega: tensor<64x1xf32>, %h0: tensor<?x64x16x2xf32>) -> (tensor<?x?x64xf32>, tensor<?x64x16x2xf32>, tensor<?x1x2048xf32>, tensor<?x?x64xf32>) {
 %g:4 = mega.group "ts" (%a = %x : tensor<?x?x64xf32>, 
   %al = %alpha : tensor<64x16x1xf32>, %de = %delta : tensor<64x16x1xf32>, %th = %theta : tensor<64x1x1xf32>, %ga = %gamma : tensor<64x16x2xf32>, %om = %omega : tensor<64x1xf32>, %hh = %h0 : tensor<?x64x16x2xf32>)
   -> (tensor<?x?x64xf32>, tensor<?x64x16x2xf32>, tensor<?x1x2048xf32>, tensor<?x?x64xf32>) schedule(<time_tile = 64, channel_tile = 64>)  {
  // expected-error @below {{expects time_tile to divide 32, but got 64}}
  %y, %h1, %start, %marks = mega.cema_saving %a, %al, %de, %th, %ga, %om, %hh : (tensor<?x?x64xf32>, tensor<64x16x1xf32>, tensor<64x16x1xf32>, tensor<64x1x1xf32>, tensor<64x16x2xf32>, tensor<64x1xf32>, tensor<?x64x16x2xf32>) -> (tensor<?x?x64xf32>, tensor<?x64x16x2xf32>, tensor<?x1x2048xf32>, tensor<?x?x64xf32>)
  mega.yield %y, %h1, %start, %marks : tensor<?x?x64xf32>, tensor<?x64x16x2xf32>, tensor<?x1x2048xf32>, tensor<?x?x64xf32>
 }
 return %g#0, %g#1, %g#2, %g#3 : tensor<?x?x64xf32>, tensor<?x64x16x2xf32>, tensor<?x1x2048xf32>, tensor<?x?x64xf32>
}

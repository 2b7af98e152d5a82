//===- MegaOps.td - The list of the mega dialect's parts --------*- tablegen -*-===//
//
// What mlir-tblgen is given; only a list. Parts include what they need, never this file.
//
//===----------------------------------------------------------------------===//

include "mega/IR/MegaDialect.td"
include "mega/IR/MegaSequenceOps.td"  // ops that walk time: timestep_norm, cema, scan
include "mega/IR/MegaAttentionOps.td" // rotary, chunk_attention
include "mega/IR/MegaRotaryOps.td"    // rotary_angles, rotate: rotary in two halves
include "mega/IR/MegaLayerOps.td"     // embed, linear, silu, norms without time, last
include "mega/IR/MegaDropoutOps.td"   // dropout, and its random words in kernels
include "mega/IR/MegaGradientOps.td"  // backward steps, sums into gradients, loss, optimizer
include "mega/IR/MegaSamplingOps.td" // sample
include "mega/IR/MegaStructureOps.td" // weight, use_weight, group

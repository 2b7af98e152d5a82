//===- GkOps.td - The list of the gk dialect's parts ------------*- tablegen -*-===//

#ifndef OTODUS_GK_OPS_TD
#define OTODUS_GK_OPS_TD

include "gk/IR/GkDialect.td"
include "gk/IR/GkWgmmaOps.td" // wgmma, wgmma_ra, wgmma_wait: a warpgroup's matrix products

#endif // OTODUS_GK_OPS_TD

//===- MegaOps.cpp - The generated half of the ops -------------------------===//

#include "mega/IR/MegaOps.h"

#include "mega/IR/OpHelpers.h"

using namespace mlir;
using namespace otodus;
using namespace otodus::mega;

#define GET_OP_CLASSES
#include "mega/IR/MegaOps.cpp.inc"

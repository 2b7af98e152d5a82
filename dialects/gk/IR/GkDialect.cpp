//===- GkDialect.cpp - The gk dialect --------------------------------------===//

#include "gk/IR/GkDialect.h"

#include "gk/IR/GkOps.h"

using namespace otodus::gk;

#include "gk/IR/GkDialect.cpp.inc"

void GkDialect::initialize() {
  addOperations<
#define GET_OP_LIST
#include "gk/IR/GkOps.cpp.inc"
      >();
}

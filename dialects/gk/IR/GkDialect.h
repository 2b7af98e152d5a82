//===- GkDialect.h - The gk dialect ----------------------------------------===//
//
// The dialect; the ops are in GkOps.h.
//
//===----------------------------------------------------------------------===//

#pragma once

#include "mlir/Bytecode/BytecodeOpInterface.h"
#include "mlir/IR/Dialect.h"

#include "gk/IR/GkDialect.h.inc"

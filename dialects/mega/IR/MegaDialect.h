//===- MegaDialect.h - The mega dialect ------------------------------------===//
//
// The dialect and its attributes; the ops are in MegaOps.h.
//
//===----------------------------------------------------------------------===//

#pragma once

#include "mlir/Bytecode/BytecodeOpInterface.h"
#include "mlir/IR/BuiltinAttributes.h"
#include "mlir/IR/Dialect.h"

#include <optional>

#include "mega/IR/MegaDialect.h.inc"

#define GET_ATTRDEF_CLASSES
#include "mega/IR/MegaAttributes.h.inc"

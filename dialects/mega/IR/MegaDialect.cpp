//===- MegaDialect.cpp - The mega dialect and its attributes ---------------===//

#include "mega/IR/MegaDialect.h"

#include "mega/IR/MegaOps.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/DialectImplementation.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace otodus;
using namespace otodus::mega;

//===----------------------------------------------------------------------===//
// #mega.schedule
//===----------------------------------------------------------------------===//

/// row_tiles is written `[1, 4, 12]`.
static ParseResult parseRowTiles(AsmParser &parser, DenseI64ArrayAttr &rowTiles) {
  SmallVector<int64_t> sizes;
  auto parseSize = [&] { return parser.parseInteger(sizes.emplace_back()); };
  if (parser.parseCommaSeparatedList(AsmParser::Delimiter::Square, parseSize))
    return failure();
  rowTiles = DenseI64ArrayAttr::get(parser.getContext(), sizes);
  return success();
}

static void printRowTiles(AsmPrinter &printer, DenseI64ArrayAttr rowTiles) {
  printer << '[';
  llvm::interleaveComma(rowTiles.asArrayRef(), printer);
  printer << ']';
}

#define GET_ATTRDEF_CLASSES
#include "mega/IR/MegaAttributes.cpp.inc"

#include "mega/IR/MegaDialect.cpp.inc"

LogicalResult ScheduleAttr::verify(function_ref<InFlightDiagnostic()> emitError,
                                   DenseI64ArrayAttr rowTiles, std::optional<int64_t> rowBlock,
                                   std::optional<int64_t> columnBlock,
                                   std::optional<int64_t> timeTile,
                                   std::optional<int64_t> channelTile,
                                   std::optional<int64_t> kTile, std::optional<int64_t> stages,
                                   std::optional<int64_t> threads, StringAttr copies,
                                   std::optional<int64_t> cluster) {
  auto verifySize = [&](StringRef name, std::optional<int64_t> size) -> LogicalResult {
    if (size && *size < 1) // (C1)
      return emitError() << "expects " << name << " to be at least 1, but got " << *size;
    return success();
  };
  if (rowTiles && rowTiles.empty()) // (C3)
    return emitError() << "expects row_tiles to have an element; leave the field out to let the "
                          "code generator choose";
  int64_t previous = 0;
  for (int64_t rows : rowTiles ? rowTiles.asArrayRef() : ArrayRef<int64_t>()) {
    if (failed(verifySize("row_tiles", rows)))
      return failure();
    if (rows <= previous) // (C2)
      return emitError() << "expects row_tiles to ascend, but got " << rows << " after "
                         << previous;
    previous = rows;
  }
  if (copies && copies != "tma" && copies != "async") // (C4)
    return emitError() << "expects copies to be \"tma\" or \"async\", but got " << copies;
  return success(succeeded(verifySize("row_block", rowBlock)) &&
                 succeeded(verifySize("column_block", columnBlock)) &&
                 succeeded(verifySize("time_tile", timeTile)) &&
                 succeeded(verifySize("channel_tile", channelTile)) &&
                 succeeded(verifySize("k_tile", kTile)) &&
                 succeeded(verifySize("stages", stages)) &&
                 succeeded(verifySize("threads", threads)) &&
                 succeeded(verifySize("cluster", cluster)));
}

//===----------------------------------------------------------------------===//
// Dialect
//===----------------------------------------------------------------------===//

void MegaDialect::initialize() {
  addAttributes<
#define GET_ATTRDEF_LIST
#include "mega/IR/MegaAttributes.cpp.inc"
      >();
  addOperations<
#define GET_OP_LIST
#include "mega/IR/MegaOps.cpp.inc"
      >();
}

/// Attributes on arguments and results of functions; the table is in the dialect's description.
static LogicalResult verifyArgumentAttribute(Operation *op, StringRef what, unsigned index,
                                             NamedAttribute attribute, bool isResult) {
  StringRef name = attribute.getName().strref();
  Attribute value = attribute.getValue();
  auto expect = [&](bool holds, StringRef type) -> LogicalResult {
    if (holds)
      return success();
    return op->emitOpError("expects ") << name << " of " << what << " " << index << " to be "
                                       << type << ", but got " << value;
  };
  if (name == "mega.name" || name == "mega.state" || name == "mega.gradient" ||
      name == "mega.state_gradient" || (name == "mega.initial_from" && !isResult))
    return expect(isa<StringAttr>(value), "a string");
  if (name == "mega.arena" || (name == "mega.noise" && !isResult))
    return expect(isa<IntegerAttr>(value), "an integer");
  if (!isResult &&
      (name == "mega.position" || name == "mega.sampling" || name == "mega.initial_exp" ||
       name == "mega.scalars"))
    return expect(isa<UnitAttr>(value), "without a value");
  if (!isResult && name == "mega.state_before")
    return expect(isa<StringAttr>(value), "a string");
  if (!isResult && name == "mega.initial")
    return expect(isa<FloatAttr>(value), "a floating-point number");
  return op->emitOpError("has no use for ")
         << name << " on " << what << " " << index << "; expected mega.name"
         << (isResult ? " or mega.state"
                      : ", mega.state, mega.position, mega.initial, mega.initial_from or "
                        "mega.initial_exp");
}

LogicalResult MegaDialect::verifyRegionArgAttribute(Operation *op, unsigned, unsigned index,
                                                    NamedAttribute attribute) {
  return verifyArgumentAttribute(op, "argument", index, attribute, /*isResult=*/false);
}

LogicalResult MegaDialect::verifyRegionResultAttribute(Operation *op, unsigned, unsigned index,
                                                       NamedAttribute attribute) {
  return verifyArgumentAttribute(op, "result", index, attribute, /*isResult=*/true);
}

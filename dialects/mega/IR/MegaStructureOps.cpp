//===- MegaStructureOps.cpp - Weights and groups ---------------------------===//

#include "mega/IR/OpHelpers.h"

using namespace mlir;
using namespace otodus;
using namespace otodus::mega;

//===----------------------------------------------------------------------===//
// weight
//===----------------------------------------------------------------------===//

LogicalResult WeightOp::verify() {
  if (!getTensorType().hasStaticShape()) // (C1)
    return emitOpError("expects a static shape, but got ") << getType();
  return success();
}

//===----------------------------------------------------------------------===//
// use_weight
//===----------------------------------------------------------------------===//

LogicalResult UseWeightOp::verifySymbolUses(SymbolTableCollection &symbols) {
  auto weight = symbols.lookupNearestSymbolFrom<WeightOp>(*this, getWeightAttr());
  if (!weight) // (C1)
    return emitOpError("expects a mega.weight of this module, but got ") << getWeightAttr();
  if (weight.getType() != getType()) // (C2)
    return emitOpError("expects the type of the weight ")
           << getWeightAttr() << ", " << weight.getType() << ", but got " << getType();
  return success();
}

void UseWeightOp::getAsmResultNames(OpAsmSetValueNameFn setName) { setName(getResult(), "w"); }

//===----------------------------------------------------------------------===//
// group
//===----------------------------------------------------------------------===//

void GroupOp::build(OpBuilder &builder, OperationState &state, TypeRange outputs, ValueRange inputs,
                    StringRef name, ScheduleAttr schedule) {
  state.addOperands(inputs);
  state.addTypes(outputs);
  state.getOrAddProperties<Properties>().name = builder.getStringAttr(name);
  if (schedule)
    state.getOrAddProperties<Properties>().schedule = schedule;
  Block &body = state.addRegion()->emplaceBlock();
  for (Value input : inputs)
    body.addArgument(input.getType(), input.getLoc());
}

YieldOp GroupOp::getYield() { return cast<YieldOp>(getBody()->getTerminator()); }

// "name" (%a = %x : type, ...) -> (types) schedule(<...>) attributes {...} { body }
ParseResult GroupOp::parse(OpAsmParser &parser, OperationState &result) {
  Properties &properties = result.getOrAddProperties<Properties>();
  if (parser.parseAttribute(properties.name, NoneType::get(parser.getContext())))
    return failure();

  SmallVector<OpAsmParser::Argument> arguments;
  SmallVector<OpAsmParser::UnresolvedOperand> operands;
  auto parseInput = [&]() -> ParseResult {
    OpAsmParser::Argument &argument = arguments.emplace_back();
    return failure(parser.parseArgument(argument) || parser.parseEqual() ||
                   parser.parseOperand(operands.emplace_back()) ||
                   parser.parseColonType(argument.type));
  };
  SMLoc operandsLocation = parser.getCurrentLocation();
  if (parser.parseCommaSeparatedList(AsmParser::Delimiter::Paren, parseInput) ||
      parser.parseArrow() || parser.parseLParen())
    return failure();
  if (failed(parser.parseOptionalRParen()) &&
      (parser.parseTypeList(result.types) || parser.parseRParen()))
    return failure();
  if (succeeded(parser.parseOptionalKeyword("schedule"))) {
    // Like any parameter of known kind, the schedule is written without its mnemonic.
    if (parser.parseLParen() || parser.parseCustomAttributeWithFallback(properties.schedule) ||
        parser.parseRParen())
      return failure();
  }
  if (parser.parseOptionalAttrDictWithKeyword(result.attributes) ||
      parser.parseRegion(*result.addRegion(), arguments))
    return failure();
  SmallVector<Type> types =
      llvm::map_to_vector(arguments, [](const OpAsmParser::Argument &a) { return a.type; });
  return parser.resolveOperands(operands, types, operandsLocation, result.operands);
}

void GroupOp::print(OpAsmPrinter &printer) {
  printer << ' ' << getNameAttr() << " (";
  llvm::interleaveComma(llvm::zip_equal(getBody()->getArguments(), getInputs()), printer,
                        [&](auto pair) {
                          auto [argument, input] = pair;
                          printer << argument << " = " << input << " : " << input.getType();
                        });
  printer << ") -> (" << getOutputs().getTypes() << ")";
  if (getScheduleAttr()) {
    printer << " schedule(";
    printer.printStrippedAttrOrType(getScheduleAttr());
    printer << ")";
  }
  printer.printOptionalAttrDictWithKeyword((*this)->getAttrs(),
                                           {getNameAttrName(), getScheduleAttrName()});
  printer << ' ';
  printer.printRegion(getRegion(), /*printEntryBlockArgs=*/false);
}

LogicalResult GroupOp::verify() {
  if (getName().empty()) // (C3)
    return emitOpError("expects a name, but got an empty one");
  return success();
}

LogicalResult GroupOp::verifyRegions() {
  if (TypeRange(getBody()->getArgumentTypes()) != getInputs().getTypes()) // (C1)
    return emitOpError("expects a body of (")
           << getInputs().getTypes() << "), but got (" << getBody()->getArgumentTypes() << ")";
  auto yield = dyn_cast<YieldOp>(getBody()->getTerminator());
  if (!yield) // (C2)
    return emitOpError("expects the body to end in mega.yield, but got ")
           << getBody()->getTerminator()->getName();
  if (yield.getOperandTypes() != getOutputs().getTypes()) // (C2)
    return yield.emitOpError("expects the results of the group, (")
           << getOutputs().getTypes() << "), but got (" << yield.getOperandTypes() << ")";
  return success();
}

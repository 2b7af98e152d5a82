//===- AddSampling.cpp - Logits of the last step choose a token ------------===//

#include "otodus/Transforms/Passes.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/SymbolTable.h"

namespace otodus {
#define GEN_PASS_DEF_ADDSAMPLING
#include "otodus/Transforms/Passes.h.inc"
} // namespace otodus

using namespace mlir;

namespace otodus {
namespace {

constexpr int64_t kOptionWords = 16;

/// The result that holds the logits of a function from tokens to logits, or -1.
int logitsOf(func::FuncOp function) {
  if (!function.isPublic() || function.isExternal() || !function.getBody().hasOneBlock())
    return -1;
  bool takesTokens = false;
  for (unsigned i = 0; i < function.getNumArguments(); ++i)
    if (auto name = function.getArgAttrOfType<StringAttr>(i, "mega.name"))
      takesTokens |= name == "tokens";
  for (unsigned i = 0; takesTokens && i < function.getNumResults(); ++i) {
    auto name = function.getResultAttrOfType<StringAttr>(i, "mega.name");
    auto type = dyn_cast<RankedTensorType>(function.getResultTypes()[i]);
    if (name && name == "logits" && type && type.getRank() == 3 && !type.isDynamicDim(2) &&
        (type.getElementType().isF32() || type.getElementType().isBF16()))
      return int(i);
  }
  return -1;
}

bool hasToken(func::FuncOp function) {
  for (unsigned i = 0; i < function.getNumResults(); ++i)
    if (auto name = function.getResultAttrOfType<StringAttr>(i, "mega.name"))
      if (name == "token")
        return true;
  return false;
}

void addTo(func::FuncOp function, unsigned result) {
  MLIRContext *context = function.getContext();
  Builder attributes(context);
  Location loc = function.getLoc();
  auto argument = [&](Type type, StringRef attribute) -> Value {
    unsigned at = function.getNumArguments();
    auto given = DictionaryAttr::get(
        context, attributes.getNamedAttr(attribute, attributes.getUnitAttr()));
    (void)function.insertArgument(at, type, given, loc);
    return function.getArgument(at);
  };
  Value position;
  for (unsigned i = 0; i < function.getNumArguments(); ++i)
    if (function.getArgAttr(i, "mega.position"))
      position = function.getArgument(i);
  int64_t any = ShapedType::kDynamic;
  if (!position)
    position = argument(RankedTensorType::get({any}, attributes.getI64Type()), "mega.position");
  Value options = argument(RankedTensorType::get({kOptionWords}, attributes.getI32Type()),
                           "mega.sampling");

  auto end = cast<func::ReturnOp>(function.getBody().front().getTerminator());
  OpBuilder b(end);
  Value logits = end.getOperand(result);
  auto type = cast<RankedTensorType>(logits.getType());
  if (type.getDimSize(1) != 1)
    logits = mega::LastOp::create(b, loc, logits);
  auto tokenType = RankedTensorType::get({type.getDimSize(0), 1, 1}, attributes.getI32Type());
  Value token = mega::SampleOp::create(b, NameLoc::get(b.getStringAttr("sample"), loc), tokenType,
                                       logits, options, position);
  end.getOperandsMutable().append(token);
  auto name = DictionaryAttr::get(
      context, attributes.getNamedAttr("mega.name", attributes.getStringAttr("token")));
  (void)function.insertResult(function.getNumResults(), tokenType, name);
}

struct AddSampling : impl::AddSamplingBase<AddSampling> {
  using AddSamplingBase::AddSamplingBase;

  void runOnOperation() override {
    func::FuncOp chosen;
    bool chosenIsLast = false;
    for (auto function : getOperation().getOps<func::FuncOp>()) {
      if (hasToken(function))
        return;
      int logits = logitsOf(function);
      // A call of it would lack the results and arguments it gets.
      if (logits < 0 || !SymbolTable::symbolKnownUseEmpty(function, getOperation()))
        continue;
      bool last = cast<RankedTensorType>(function.getResultTypes()[logits]).getDimSize(1) == 1;
      if (!chosen || (last && !chosenIsLast)) {
        chosen = function;
        chosenIsLast = last;
      }
    }
    if (chosen)
      addTo(chosen, unsigned(logitsOf(chosen)));
  }
};

} // namespace
} // namespace otodus

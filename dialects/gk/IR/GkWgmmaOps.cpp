//===- GkWgmmaOps.cpp - A warpgroup's matrix products ----------------------===//
//
// Assembly, verifiers and PTX of the wgmma ops.
//
//===----------------------------------------------------------------------===//

#include "gk/IR/GkOps.h"

#include "mlir/IR/Builders.h"
#include "llvm/ADT/StringExtras.h"

using namespace mlir;

namespace otodus::gk {

//===----------------------------------------------------------------------===//
// Accumulators
//===----------------------------------------------------------------------===//

LLVM::LLVMStructType getAccumulatorType(MLIRContext *context, int64_t n) {
  SmallVector<Type> elements(n / 2, Float32Type::get(context));
  return LLVM::LLVMStructType::getLiteral(context, elements);
}

int64_t getAccumulatorColumns(Type type) {
  auto structType = dyn_cast<LLVM::LLVMStructType>(type);
  if (!structType || structType.isIdentified() || structType.isPacked())
    return 0;
  ArrayRef<Type> elements = structType.getBody();
  int64_t n = 2 * static_cast<int64_t>(elements.size());
  bool fits = n >= 8 && n <= 256 && n % 8 == 0;
  return fits && llvm::all_of(elements, [](Type t) { return t.isF32(); }) ? n : 0;
}

/// An accumulator's type is written as the product's shape, `m64n128k16`.
static ParseResult parseWgmmaShape(OpAsmParser &parser, Type &type) {
  SMLoc location = parser.getCurrentLocation();
  StringRef shape;
  int64_t n = 0;
  if (parser.parseKeyword(&shape))
    return failure();
  StringRef digits = shape;
  if (!digits.consume_front("m64n") || !digits.consume_back("k16") || digits.getAsInteger(10, n) ||
      n < 8 || n > 256 || n % 8 != 0)
    return parser.emitError(location, "expected m64nNk16 with N a multiple of 8 from 8 to 256, "
                                      "but got '")
           << shape << "'";
  type = getAccumulatorType(parser.getContext(), n);
  return success();
}

static void printWgmmaShape(OpAsmPrinter &printer, Operation *, Type type) {
  printer << "m64n" << getAccumulatorColumns(type) << "k16";
}

//===----------------------------------------------------------------------===//
// PTX
//===----------------------------------------------------------------------===//

using AsmValues = SmallVectorImpl<std::pair<Value, NVVM::PTXRegisterMod>>;

/// Builds the text of one instruction whose first operands are an accumulator's n / 2 outputs
/// and the n / 2 inputs tied to them. What is constant arrives as an immediate, which wgmma
/// takes nowhere, hence a register of the block's own for it.
class WgmmaText {
public:
  explicit WgmmaText(int64_t n) : n(n), next(static_cast<unsigned>(n)) {}

  std::string accumulator() const {
    std::string text = "{";
    for (int64_t i = 0; i < n / 2; ++i)
      text += (i ? ", %" : "%") + std::to_string(i);
    return text + "}";
  }

  /// The next operand, `type` b32 or b64.
  std::string operand(Value value, StringRef type) {
    std::string number = "%" + std::to_string(next++);
    if (!value.getDefiningOp<LLVM::ConstantOp>())
      return number;
    std::string own = "c" + number.substr(1);
    prologue +=
        (".reg ." + type + " " + own + "; mov." + type + " " + own + ", " + number + "; ").str();
    return own;
  }

  /// The next operand, an i1.
  std::string predicate(Value value) {
    std::string number = "%" + std::to_string(next++);
    if (!value.getDefiningOp<LLVM::ConstantOp>())
      return number;
    prologue += ".reg .pred p; setp.ne.b32 p, " + number + ", 0; ";
    return "p";
  }

  std::string block(const std::string &instruction) const {
    return "{ " + prologue + instruction + " }";
  }

private:
  int64_t n;
  unsigned next;
  std::string prologue;
};

static std::string mnemonicOf(int64_t n) {
  return "wgmma.mma_async.sync.aligned.m64n" + std::to_string(n) + "k16.f32.bf16.bf16 ";
}

//===----------------------------------------------------------------------===//
// gk.wgmma
//===----------------------------------------------------------------------===//

std::string WgmmaOp::getPtx() {
  WgmmaText text(getColumns());
  std::string a = text.operand(getDescriptorA(), "b64");
  std::string b = text.operand(getDescriptorB(), "b64");
  std::string scale = text.predicate(getScale());
  return text.block(mnemonicOf(getColumns()) + text.accumulator() + ", " + a + ", " + b + ", " +
                    scale + ", 1, 1, " + (getTransposeA() ? "1" : "0") + ", " +
                    (getTransposeB() ? "1" : "0") + ";");
}

bool WgmmaOp::getAsmValues(RewriterBase &, AsmValues &values) {
  values.push_back({getResult(), NVVM::PTXRegisterMod::Write});
  values.push_back({getAccumulator(), NVVM::PTXRegisterMod::ReadWrite});
  for (Value operand : {getDescriptorA(), getDescriptorB(), getScale()})
    values.push_back({operand, NVVM::PTXRegisterMod::Read});
  return true; // the text names registers by number
}

//===----------------------------------------------------------------------===//
// gk.wgmma_ra
//===----------------------------------------------------------------------===//

LogicalResult WgmmaRaOp::verify() {
  if (getRegistersA().size() != 4) // (C2)
    return emitOpError("expects four registers of A, but got ") << getRegistersA().size();
  return success();
}

std::string WgmmaRaOp::getPtx() {
  WgmmaText text(getColumns());
  std::string a = "{";
  for (auto [index, value] : llvm::enumerate(getRegistersA()))
    a += (index ? ", " : "") + text.operand(value, "b32");
  std::string b = text.operand(getDescriptorB(), "b64");
  std::string scale = text.predicate(getScale());
  return text.block(mnemonicOf(getColumns()) + text.accumulator() + ", " + a + "}, " + b + ", " +
                    scale + ", 1, 1, " + (getTransposeB() ? "1" : "0") + ";");
}

bool WgmmaRaOp::getAsmValues(RewriterBase &, AsmValues &values) {
  values.push_back({getResult(), NVVM::PTXRegisterMod::Write});
  values.push_back({getAccumulator(), NVVM::PTXRegisterMod::ReadWrite});
  for (Value operand : getRegistersA())
    values.push_back({operand, NVVM::PTXRegisterMod::Read});
  for (Value operand : {getDescriptorB(), getScale()})
    values.push_back({operand, NVVM::PTXRegisterMod::Read});
  return true; // the text names registers by number
}

//===----------------------------------------------------------------------===//
// gk.wgmma_wait
//===----------------------------------------------------------------------===//

std::string WgmmaWaitOp::getPtx() {
  return "wgmma.wait_group.sync.aligned " + std::to_string(getGroups()) + ";";
}

bool WgmmaWaitOp::getAsmValues(RewriterBase &, AsmValues &values) {
  values.push_back({getResult(), NVVM::PTXRegisterMod::Write});
  values.push_back({getAccumulator(), NVVM::PTXRegisterMod::ReadWrite});
  for (Value operand : getReading())
    values.push_back({operand, NVVM::PTXRegisterMod::Read});
  return true; // the text names registers by number
}

} // namespace otodus::gk

using namespace otodus::gk;

#define GET_OP_CLASSES
#include "gk/IR/GkOps.cpp.inc"

//===- NarrowFloats.cpp - bf16 and f16 arithmetic on the host --------------===//
//
// x86-64-v3 converts between f16 and f32 but knows no bf16: LLVM would call __truncsfbf2, and
// simulated kernels may call nothing.
//
//===----------------------------------------------------------------------===//

#include "NarrowFloats.h"

#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/IR/AttrTypeSubElements.h"
#include "mlir/IR/Builders.h"

using namespace mlir;

namespace otodus {
namespace {

Type elementOf(Type type) {
  auto vector = dyn_cast<VectorType>(type);
  return vector ? vector.getElementType() : type;
}

Type withElement(Type shape, Type element) {
  auto vector = dyn_cast<VectorType>(shape);
  return vector ? Type(VectorType::get(vector.getShape(), element)) : element;
}

Value constant(OpBuilder &b, Location loc, Type type, int64_t value) {
  Attribute number = b.getIntegerAttr(elementOf(type), value);
  if (auto vector = dyn_cast<VectorType>(type))
    number = DenseElementsAttr::get(vector, number);
  return LLVM::ConstantOp::create(b, loc, type, cast<TypedAttr>(number));
}

/// f32 to bf16, nearest even; a NaN becomes 0x7fff as on the GPU.
Value roundToBf16(OpBuilder &b, Location loc, Value value) {
  Type wide = withElement(value.getType(), b.getI32Type());
  Type narrow = withElement(value.getType(), b.getI16Type());
  Type flags = withElement(value.getType(), b.getI1Type());
  Value bits = LLVM::BitcastOp::create(b, loc, wide, value);
  Value sixteen = constant(b, loc, wide, 16);
  Value odd = LLVM::AndOp::create(b, loc, LLVM::LShrOp::create(b, loc, bits, sixteen),
                                  constant(b, loc, wide, 1));
  Value rounded = LLVM::AddOp::create(
      b, loc, LLVM::AddOp::create(b, loc, bits, constant(b, loc, wide, 0x7fff)), odd);
  Value high =
      LLVM::TruncOp::create(b, loc, narrow, LLVM::LShrOp::create(b, loc, rounded, sixteen));
  Value isNaN = LLVM::FCmpOp::create(b, loc, flags, LLVM::FCmpPredicate::uno, value, value);
  Value result =
      LLVM::SelectOp::create(b, loc, isNaN, constant(b, loc, narrow, 0x7fff), high);
  return LLVM::BitcastOp::create(b, loc, withElement(value.getType(), b.getBF16Type()), result);
}

/// bf16 to f32: its bits are the upper half.
Value widenBf16(OpBuilder &b, Location loc, Value value) {
  Type wide = withElement(value.getType(), b.getI32Type());
  Value bits =
      LLVM::BitcastOp::create(b, loc, withElement(value.getType(), b.getI16Type()), value);
  Value high = LLVM::ShlOp::create(b, loc, LLVM::ZExtOp::create(b, loc, wide, bits),
                                   constant(b, loc, wide, 16));
  return LLVM::BitcastOp::create(b, loc, withElement(value.getType(), b.getF32Type()), high);
}

Value widen(OpBuilder &b, Location loc, Value value) {
  Type element = elementOf(value.getType());
  if (element.isBF16())
    return widenBf16(b, loc, value);
  if (element.isF16())
    return LLVM::FPExtOp::create(b, loc, withElement(value.getType(), b.getF32Type()), value);
  return value;
}

Value narrow(OpBuilder &b, Location loc, Value value, Type type) {
  if (elementOf(type).isBF16())
    return roundToBf16(b, loc, value);
  return LLVM::FPTruncOp::create(b, loc, type, value);
}

/// Only moves bits; nothing to expand.
bool movesBits(Operation *op) {
  return isa<LLVM::LoadOp, LLVM::StoreOp, LLVM::BitcastOp, LLVM::SelectOp, LLVM::InsertElementOp,
             LLVM::ExtractElementOp, LLVM::InsertValueOp, LLVM::ExtractValueOp,
             LLVM::ShuffleVectorOp, LLVM::ConstantOp, LLVM::UndefOp, LLVM::PoisonOp, LLVM::ZeroOp,
             LLVM::ReturnOp, LLVM::CallOp, LLVM::FreezeOp, LLVM::MaskedLoadOp, LLVM::MaskedStoreOp,
             LLVM::CallIntrinsicOp, LLVM::vector_extract, LLVM::vector_insert, LLVM::AllocaOp,
             LLVM::GEPOp>(op) ||
         op->hasTrait<OpTrait::IsTerminator>() ||
         op->getName().getDialectNamespace() != LLVM::LLVMDialect::getDialectNamespace();
}

} // namespace

void expandNarrowFloats(Operation *function) {
  SmallVector<Operation *> work;
  function->walk([&](Operation *op) {
    auto isNarrow = [](Type type) {
      Type element = elementOf(type);
      return element.isBF16() || element.isF16();
    };
    if (!movesBits(op) && (llvm::any_of(op->getOperandTypes(), isNarrow) ||
                           llvm::any_of(op->getResultTypes(), isNarrow)))
      work.push_back(op);
  });
  for (Operation *op : work) {
    OpBuilder b(op);
    Location loc = op->getLoc();
    if (auto extend = dyn_cast<LLVM::FPExtOp>(op)) {
      Value wide = widen(b, loc, extend.getArg());
      if (wide.getType() != extend.getType())
        wide = LLVM::FPExtOp::create(b, loc, extend.getType(), wide);
      extend.getResult().replaceAllUsesWith(wide);
      op->erase();
      continue;
    }
    if (auto truncate = dyn_cast<LLVM::FPTruncOp>(op)) {
      Type single = withElement(truncate.getType(), b.getF32Type());
      Value value = truncate.getArg();
      if (value.getType() == single && elementOf(truncate.getType()).isF16())
        continue; // an instruction
      if (value.getType() != single)
        value = LLVM::FPTruncOp::create(b, loc, single, value);
      truncate.getResult().replaceAllUsesWith(narrow(b, loc, value, truncate.getType()));
      op->erase();
      continue;
    }
    // The same op on f32.
    IRMapping mapping;
    for (Value operand : op->getOperands())
      mapping.map(operand, widen(b, loc, operand));
    Operation *wide = b.clone(*op, mapping);
    for (auto [result, old] : llvm::zip(wide->getResults(), op->getResults())) {
      Type type = old.getType();
      if (!elementOf(type).isBF16() && !elementOf(type).isF16()) {
        old.replaceAllUsesWith(result);
        continue;
      }
      result.setType(withElement(type, b.getF32Type()));
      old.replaceAllUsesWith(narrow(b, loc, result, type));
    }
    op->erase();
  }
}

void storeBf16AsIntegers(Operation *module) {
  MLIRContext *context = module->getContext();
  Type i16 = IntegerType::get(context, 16);
  AttrTypeReplacer replacer;
  replacer.addReplacement([&](BFloat16Type) -> std::optional<Type> { return i16; });
  replacer.addReplacement([&](FloatAttr number) -> std::optional<Attribute> {
    if (!number.getType().isBF16())
      return std::nullopt;
    return IntegerAttr::get(i16, number.getValue().bitcastToAPInt());
  });
  replacer.addReplacement(
      [&](DenseElementsAttr elements) -> std::optional<std::pair<Attribute, WalkResult>> {
        if (!elements.getElementType().isBF16())
          return std::nullopt;
        return std::make_pair(Attribute(elements.bitcast(i16)), WalkResult::skip());
      });
  replacer.recursivelyReplaceElementsIn(module, true, false, true);
  // A bitcast between what are now equal types.
  module->walk([](LLVM::BitcastOp op) {
    if (op.getArg().getType() == op.getType()) {
      op.getResult().replaceAllUsesWith(op.getArg());
      op->erase();
    }
  });
}

} // namespace otodus

//===- SimSites.cpp - Ops as constant records ------------------------------===//
//
// The simulator knows nothing of MLIR: attributes become integers, keywords get their numbers from
// SimOps.def.
//
//===----------------------------------------------------------------------===//

#include "SimSites.h"

#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "mlir/IR/BuiltinAttributes.h"
#include "mlir/Interfaces/DataLayoutInterfaces.h"

#include <cstring>

using namespace mlir;

namespace otodus {

//===----------------------------------------------------------------------===//
// Rows
//===----------------------------------------------------------------------===//

const SimRow *findSimRow(Operation *op) {
  static const llvm::StringMap<SimRow> rows = [] {
    llvm::StringMap<SimRow> result;
#define OTODUS_SIM_OP(ID, NAME, WHO, MASK, HANDLER, ATTRIBUTES)                                    \
  result[NAME] = {OTODUS_SIM_OP_##ID, SimWho::WHO, ATTRIBUTES};
#include "otodus/ABI/SimOps.def"
    return result;
  }();
  auto find = [&](StringRef name) -> const SimRow * {
    auto row = rows.find(name);
    return row == rows.end() ? nullptr : &row->second;
  };
  auto call = dyn_cast<LLVM::CallIntrinsicOp>(op);
  if (!call)
    return find(op->getName().getStringRef());
  StringRef name = call.getIntrin();
  while (true) {
    if (const SimRow *row = find(name))
      return row;
    // Names of overloaded intrinsics end with their types.
    auto [stem, type] = name.rsplit('.');
    if (type.empty() || !llvm::is_contained({"f32", "f64", "f16", "bf16", "v2f16", "v2bf16", "i32",
                                             "i64", "p0", "p1", "p3"},
                                            type))
      return nullptr;
    name = stem;
  }
}

int64_t simRegisterOffset(Operation *op) {
  static const llvm::StringMap<int64_t> offsets = [] {
    llvm::StringMap<int64_t> result;
#define OTODUS_SIM_REGISTER(NAME, FIELD) result[NAME] = offsetof(OtodusSimContext, FIELD);
#include "otodus/ABI/SimOps.def"
    return result;
  }();
  auto found = offsets.find(op->getName().getStringRef());
  return found == offsets.end() ? -1 : found->second;
}

//===----------------------------------------------------------------------===//
// Attributes
//===----------------------------------------------------------------------===//

static int64_t word(StringRef text) {
  static const llvm::StringMap<int64_t> words = [] {
    llvm::StringMap<int64_t> result;
#define OTODUS_SIM_WORD(ID, TEXT) result[TEXT] = OTODUS_SIM_WORD_##ID;
#include "otodus/ABI/SimOps.def"
    return result;
  }();
  auto found = words.find(text);
  return found == words.end() ? -1 : found->second;
}

/// `#nvvm.mma_layout<row>` and `#nvvm<shfl_kind bfly>` say "row" and "bfly".
static std::string keyword(Attribute attribute) {
  std::string printed;
  llvm::raw_string_ostream stream(printed);
  attribute.print(stream);
  StringRef text = StringRef(printed).rtrim("> ");
  size_t start = text.find_last_of("< ");
  return (start == StringRef::npos ? text : text.substr(start + 1)).str();
}

static int64_t ordering(LLVM::AtomicOrdering ordering) {
  switch (ordering) {
  case LLVM::AtomicOrdering::not_atomic: return 0;
  case LLVM::AtomicOrdering::unordered:
  case LLVM::AtomicOrdering::monotonic: return 1;
  default: return 2;
  }
}

/// Value of attribute `name` of the row's list, -1 if the op does not have it; nothing if it has a
/// value without a number.
static std::optional<int64_t> encode(Operation *op, StringRef name, std::string &found) {
  auto ofWord = [&](StringRef text) -> std::optional<int64_t> {
    found = text.str();
    int64_t number = word(text);
    return number < 0 ? std::nullopt : std::optional(number);
  };
  if (name == "ordering") {
    if (auto load = dyn_cast<LLVM::LoadOp>(op))
      return ordering(load.getOrdering());
    if (auto store = dyn_cast<LLVM::StoreOp>(op))
      return ordering(store.getOrdering());
    if (auto atomic = dyn_cast<LLVM::AtomicRMWOp>(op))
      return ordering(atomic.getOrdering());
    if (auto exchange = dyn_cast<LLVM::AtomicCmpXchgOp>(op))
      return ordering(exchange.getSuccessOrdering());
  }
  if (auto atomic = dyn_cast<LLVM::AtomicRMWOp>(op); atomic && name == "bin_op")
    return ofWord(LLVM::stringifyAtomicBinOp(atomic.getBinOp()).ltrim('_'));
  if (auto mma = dyn_cast<NVVM::MmaOp>(op); mma && name.starts_with("type")) {
    auto given = [&](std::optional<NVVM::MMATypes> type, Value operand) {
      return type ? type : NVVM::MmaOp::inferOperandMMAType(operand.getType(), false);
    };
    std::optional<NVVM::MMATypes> type;
    switch (name.back()) {
    case 'A': type = given(mma.getMultiplicandAPtxType(), mma.getOperandA().front()); break;
    case 'B': type = given(mma.getMultiplicandBPtxType(), mma.getOperandB().front()); break;
    case 'C': type = mma.accumPtxType(); break;
    default: type = mma.resultPtxType(); break;
    }
    return type ? ofWord(NVVM::stringifyMMATypes(*type)) : std::nullopt;
  }
  auto [attributeName, field] = name.split('.');
  Attribute attribute = op->getAttr(attributeName);
  if (!attribute)
    return -1;
  if (auto shape = dyn_cast<NVVM::MMAShapeAttr>(attribute))
    return field == "m" ? shape.getM() : field == "n" ? shape.getN() : shape.getK();
  if (auto shape = dyn_cast<NVVM::LdStMatrixShapeAttr>(attribute))
    return field == "m" ? shape.getM() : shape.getN();
  if (isa<UnitAttr>(attribute))
    return 1;
  // Enum attributes may be integers too; their keyword is what counts.
  if (auto integer = dyn_cast<IntegerAttr>(attribute))
    return integer.getValue().getBitWidth() == 1 ? int64_t(integer.getValue().getZExtValue())
                                                 : integer.getInt();
  return ofWord(keyword(attribute));
}

//===----------------------------------------------------------------------===//
// Records
//===----------------------------------------------------------------------===//

static OtodusSimType typeOf(Type type, uint32_t &lanes, uint8_t &bytes) {
  lanes = 1;
  if (auto vector = dyn_cast<VectorType>(type)) {
    lanes = uint32_t(vector.getNumElements());
    type = vector.getElementType();
  }
  // An accumulator of wgmma counts as its elements.
  if (auto literal = dyn_cast<LLVM::LLVMStructType>(type);
      literal && !literal.isIdentified() && !literal.getBody().empty() &&
      llvm::all_of(literal.getBody(), [](Type element) { return element.isF32(); })) {
    lanes = uint32_t(literal.getBody().size());
    type = literal.getBody().front();
  }
  auto is = [&](OtodusSimType result, uint8_t size) {
    bytes = size;
    return result;
  };
  if (isa<LLVM::LLVMPointerType>(type))
    return is(OTODUS_SIM_POINTER, 8);
  if (type.isBF16())
    return is(OTODUS_SIM_BF16, 2);
  if (type.isF16())
    return is(OTODUS_SIM_F16, 2);
  if (type.isF32())
    return is(OTODUS_SIM_F32, 4);
  if (type.isF64())
    return is(OTODUS_SIM_F64, 8);
  if (type.isInteger(1))
    return is(OTODUS_SIM_I1, 1);
  if (type.isInteger(8))
    return is(OTODUS_SIM_I8, 1);
  if (type.isInteger(16))
    return is(OTODUS_SIM_I16, 2);
  if (type.isInteger(32))
    return is(OTODUS_SIM_I32, 4);
  if (type.isInteger(64))
    return is(OTODUS_SIM_I64, 8);
  return is(OTODUS_SIM_NONE, 0);
}

/// The place in a file, and the innermost name around it.
static FileLineColLoc placeOf(Location location, StringRef &label) {
  FileLineColLoc place;
  location->walk([&](Location inner) {
    if (auto name = dyn_cast<NameLoc>(inner))
      label = name.getName().strref();
    else if (auto file = dyn_cast<FileLineColLoc>(inner); file && !place)
      place = file;
    return WalkResult::advance();
  });
  return place;
}

uint32_t SimRecords::text(StringRef text) {
  if (text.empty())
    return 0;
  auto [entry, fresh] = offsets_.try_emplace(text, uint32_t(strings_.size()));
  if (fresh) {
    strings_ += text;
    strings_ += '\0';
  }
  return entry->second;
}

std::optional<uint32_t> SimRecords::addSite(Operation *op, const SimRow &row) {
  OtodusSimSite site = {};
  site.op = uint16_t(row.op);
  Type type = op->getNumResults() ? op->getResult(0).getType() : Type();
  if (!type && op->getNumOperands())
    type = op->getOperand(0).getType();
  if (auto exchange = dyn_cast<LLVM::AtomicCmpXchgOp>(op))
    type = exchange.getVal().getType();
  if (type)
    site.type = typeOf(type, site.lanes, site.bytes);
  site.number = uint32_t(sites_.size());
  StringRef label;
  if (FileLineColLoc place = placeOf(op->getLoc(), label)) {
    site.file = int32_t(text(place.getFilename()));
    site.line = place.getLine();
    site.column = place.getColumn();
  }
  site.label = int32_t(text(label));
  site.operands = op->getNumOperands();
  auto segments = op->getAttrOfType<DenseI32ArrayAttr>("operandSegmentSizes");
  if (segments)
    for (auto [i, size] :
         llvm::enumerate(segments.asArrayRef().take_front(OTODUS_SIM_MAX_SEGMENTS)))
      site.segments[i] = uint8_t(size);
  SmallVector<StringRef> names;
  row.attributes.split(names, ',', -1, false);
  for (auto [i, name] : llvm::enumerate(names)) {
    std::string found;
    std::optional<int64_t> value = encode(op, name.trim(), found);
    if (!value) {
      op->emitOpError() << "is not executed by the simulator with " << name.trim() << " '" << found
                        << "'";
      return std::nullopt;
    }
    site.attributes[i] = *value;
  }
  sites_.push_back(site);
  return site.number;
}

uint32_t SimRecords::addKernel(const OtodusSimKernelInfo &info, StringRef name) {
  kernels_.push_back(info);
  kernels_.back().name = int32_t(text(name));
  return uint32_t(kernels_.size() - 1);
}

std::vector<uint8_t> SimRecords::bytes() const {
  size_t strings = size_t(siteOffset(uint32_t(sites_.size())));
  std::vector<uint8_t> result(strings + strings_.size());
  for (size_t i = 0; i < kernels_.size(); ++i) {
    OtodusSimKernelInfo info = kernels_[i];
    info.version = sim::kTableVersion;
    info.sites = uint32_t(sites_.size());
    info.firstSite = int32_t(siteOffset(0) - kernelOffset(uint32_t(i)));
    info.name += int32_t(strings) - int32_t(kernelOffset(uint32_t(i)));
    memcpy(&result[size_t(kernelOffset(uint32_t(i)))], &info, sizeof info);
  }
  for (uint32_t i = 0; i < sites_.size(); ++i) {
    OtodusSimSite site = sites_[i];
    int32_t distance = int32_t(strings) - int32_t(siteOffset(i));
    site.file = site.file ? site.file + distance : 0;
    site.label = site.label ? site.label + distance : 0;
    memcpy(&result[size_t(siteOffset(i))], &site, sizeof site);
  }
  memcpy(&result[strings], strings_.data(), strings_.size());
  return result;
}

} // namespace otodus

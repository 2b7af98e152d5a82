//===- KernelEmitter.cpp - From a group to kernel functions ----------------===//

#include "KernelEmitter.h"

using namespace mlir;

namespace otodus {

DictionaryAttr KernelBuffer::toAttr(MLIRContext *context) const {
  Builder b(context);
  SmallVector<NamedAttribute> fields{b.getNamedAttr("kind", b.getStringAttr(kind))};
  if (kind == "operand" || kind == "result") {
    fields.push_back(b.getNamedAttr("index", b.getI64IntegerAttr(index)));
  } else {
    fields.push_back(b.getNamedAttr("sources", b.getDenseI64ArrayAttr(sources)));
    fields.push_back(b.getNamedAttr("rows", b.getDenseI64ArrayAttr({rows.groups, rows.inner})));
    fields.push_back(
        b.getNamedAttr("columns", b.getDenseI64ArrayAttr({columns.groups, columns.inner})));
    fields.push_back(
        b.getNamedAttr("dtype", b.getStringAttr(dtype == formats::DType::BF16 ? "bf16" : "f32")));
  }
  return b.getDictionaryAttr(fields);
}

std::optional<KernelBuffer> KernelBuffer::fromAttr(DictionaryAttr attr) {
  KernelBuffer buffer;
  auto kind = attr.getAs<StringAttr>("kind");
  if (!kind)
    return std::nullopt;
  buffer.kind = kind.str();
  if (kind == "operand" || kind == "result") {
    auto index = attr.getAs<IntegerAttr>("index");
    if (!index || index.getInt() < 0)
      return std::nullopt;
    buffer.index = index.getInt();
    return buffer;
  }
  auto sources = attr.getAs<DenseI64ArrayAttr>("sources");
  auto rows = attr.getAs<DenseI64ArrayAttr>("rows");
  auto columns = attr.getAs<DenseI64ArrayAttr>("columns");
  auto dtype = attr.getAs<StringAttr>("dtype");
  if (!llvm::is_contained({"vector", "table", "panels", "transposed", "cema", "cema_gradient", "rope",
                           "lanes"},
                          buffer.kind) ||
      !sources || sources.empty() || !rows || rows.size() != 2 || !columns || columns.size() != 2 ||
      !dtype)
    return std::nullopt;
  buffer.sources.assign(sources.asArrayRef().begin(), sources.asArrayRef().end());
  buffer.rows = {rows[0], rows[1]};
  buffer.columns = {columns[0], columns[1]};
  buffer.dtype = dtype == "bf16" ? formats::DType::BF16 : formats::DType::F32;
  return buffer;
}

bool KernelBuffer::operator==(const KernelBuffer &o) const {
  return kind == o.kind && index == o.index && sources == o.sources && dtype == o.dtype &&
         rows.groups == o.rows.groups && rows.inner == o.rows.inner &&
         columns.groups == o.columns.groups && columns.inner == o.columns.inner;
}

KernelEmitter::KernelEmitter(mega::GroupOp group, ModuleOp module, const std::string &name,
                             int64_t rowTile)
    : group(group), b(group.getContext()), loc(group.getLoc()), frame{b, loc, rowTile, {}, {}, {}} {
  b.setInsertionPointToEnd(module.getBody());
  Type index = b.getIndexType();
  function = func::FuncOp::create(b, loc, name, b.getFunctionType({index, index, index}, {}));
  function.setPrivate();
  function->setAttr("mega.row_tile", b.getI64IntegerAttr(rowTile));
  if (mega::ScheduleAttr schedule = group.getScheduleAttr())
    function->setAttr("mega.schedule", schedule);
  Block *body = function.addEntryBlock();
  frame.batch = body->getArgument(0);
  frame.length = body->getArgument(1);
  frame.rows = body->getArgument(2);
  b.setInsertionPointToStart(body);
}

Value KernelEmitter::parameter(const KernelBuffer &buffer, Type element) {
  Block &body = function.getBody().front();
  for (auto [i, known] : llvm::enumerate(buffers))
    if (known == buffer)
      return body.getArgument(i);
  // i1 is stored as a byte.
  if (element.isInteger(1))
    element = b.getI8Type();
  auto type = MemRefType::get({ShapedType::kDynamic}, element);
  Value argument = body.insertArgument(unsigned(buffers.size()), type, loc);
  buffers.push_back(buffer);
  return argument;
}

int64_t KernelEmitter::operandNumber(Value value) const {
  auto argument = dyn_cast<BlockArgument>(value);
  return argument && argument.getOwner() == const_cast<mega::GroupOp &>(group).getBody(0)
             ? int64_t(argument.getArgNumber())
             : -1;
}

Value KernelEmitter::operandParameter(Value value) {
  KernelBuffer buffer;
  buffer.kind = "operand";
  buffer.index = operandNumber(value);
  return parameter(buffer, getElementTypeOrSelf(value.getType()));
}

Value KernelEmitter::resultParameter(int64_t index, Type element) {
  KernelBuffer buffer;
  buffer.kind = "result";
  buffer.index = index;
  return parameter(buffer, element);
}

void KernelEmitter::finish(ArrayRef<formats::Extent> grid) {
  SmallVector<Attribute> attrs, extents;
  for (const KernelBuffer &buffer : buffers)
    attrs.push_back(buffer.toAttr(b.getContext()));
  for (const formats::Extent &extent : grid)
    extents.push_back(
        b.getDenseI64ArrayAttr({int64_t(extent.symbol), extent.factor, extent.divisor}));
  function->setAttr("mega.buffers", b.getArrayAttr(attrs));
  function->setAttr("mega.grid", b.getArrayAttr(extents));
  func::ReturnOp::create(b, loc);
  function.setFunctionType(b.getFunctionType(function.getBody().front().getArgumentTypes(), {}));
}

} // namespace otodus

//===- SimtBuilder.cpp - What one thread of a block does -------------------===//

#include "SimtBuilder.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Utils/StaticValueUtils.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;

namespace otodus::gpu {

SimtBuilder::SimtBuilder(OpBuilder &b, Location loc) : b(b), loc(loc) {}

void SimtBuilder::begin() {
  Value thread = mlir::gpu::ThreadIdOp::create(b, loc, mlir::gpu::Dimension::x);
  start_ = thread.getDefiningOp();
  team_ = {thread, div(thread, kWarp), rem(thread, kWarp), Value(), Value()};
}

SimtBuilder::Team SimtBuilder::teamOf(int64_t first, int64_t count, int64_t barrierId) {
  Team team;
  team.thread = first ? sub(thread(), index(first)) : thread();
  team.warp = first ? sub(warp(), index(first / kWarp)) : warp();
  team.lane = lane();
  // A constant: ptxas reserves all 16 barriers for one that is not.
  team.barrierId = i32(barrierId);
  team.count = i32(count);
  return team;
}

Value SimtBuilder::index(int64_t v) { return arith::ConstantIndexOp::create(b, loc, v); }

Value SimtBuilder::add(Value x, Value y) {
  if (getConstantIntValue(x) == 0)
    return y;
  if (getConstantIntValue(y) == 0)
    return x;
  return arith::AddIOp::create(b, loc, x, y);
}
Value SimtBuilder::add(Value x, int64_t y) { return y == 0 ? x : add(x, index(y)); }
Value SimtBuilder::sub(Value x, Value y) { return arith::SubIOp::create(b, loc, x, y); }
Value SimtBuilder::mul(Value x, int64_t y) {
  if (y == 1)
    return x;
  if (auto c = getConstantIntValue(x))
    return index(*c * y);
  return y == 0 ? index(0) : Value(arith::MulIOp::create(b, loc, x, index(y)));
}
Value SimtBuilder::mul(Value x, Value y) {
  if (auto c = getConstantIntValue(y))
    return mul(x, *c);
  return arith::MulIOp::create(b, loc, x, y);
}
Value SimtBuilder::div(Value x, int64_t y) {
  if (y == 1)
    return x;
  if (auto c = getConstantIntValue(x))
    return index(*c / y);
  return arith::DivUIOp::create(b, loc, x, index(y));
}
Value SimtBuilder::rem(Value x, int64_t y) {
  if (y == 1)
    return index(0);
  if (auto c = getConstantIntValue(x))
    return index(*c % y);
  return arith::RemUIOp::create(b, loc, x, index(y));
}
Value SimtBuilder::min(Value x, Value y) { return arith::MinUIOp::create(b, loc, x, y); }
Value SimtBuilder::less(Value x, Value y) {
  return arith::CmpIOp::create(b, loc, arith::CmpIPredicate::ult, x, y);
}
Value SimtBuilder::equal(Value x, Value y) {
  return arith::CmpIOp::create(b, loc, arith::CmpIPredicate::eq, x, y);
}
Value SimtBuilder::select(Value condition, Value x, Value y) {
  return arith::SelectOp::create(b, loc, condition, x, y);
}
Value SimtBuilder::i32(Value v) {
  return arith::IndexCastOp::create(b, loc, b.getI32Type(), v);
}
Value SimtBuilder::i32(int64_t v) {
  return arith::ConstantOp::create(b, loc, b.getI32IntegerAttr(int32_t(v)));
}
Value SimtBuilder::f32(double v) {
  return arith::ConstantOp::create(b, loc, b.getF32FloatAttr(float(v)));
}

void SimtBuilder::barrier() {
  if (team_.barrierId)
    NVVM::BarrierOp::create(b, loc, Type(), team_.barrierId, team_.count,
                            NVVM::BarrierReductionAttr(), Value());
  else
    mlir::gpu::BarrierOp::create(b, loc);
}

void SimtBuilder::warpBarrier() { NVVM::SyncWarpOp::create(b, loc, i32(-1)); }

Value SimtBuilder::shuffleXor(Value v, int64_t mask) {
  return mlir::gpu::ShuffleOp::create(b, loc, v, int32_t(mask), int32_t(kWarp),
                                      mlir::gpu::ShuffleMode::XOR)
      .getShuffleResult();
}

Value SimtBuilder::uniform(Value v) {
  Value first = mlir::gpu::ShuffleOp::create(b, loc, i32(v), 0, int32_t(kWarp),
                                             mlir::gpu::ShuffleMode::IDX)
                    .getShuffleResult();
  return arith::IndexCastUIOp::create(b, loc, b.getIndexType(), first);
}

void SimtBuilder::fenceAsyncProxy() {
  NVVM::FenceProxyOp::create(b, loc,
                             NVVM::ProxyKindAttr::get(b.getContext(), NVVM::ProxyKind::async_shared),
                             NVVM::SharedSpaceAttr::get(b.getContext(),
                                                        NVVM::SharedSpace::shared_cta));
}

Value SimtBuilder::overLanes(Value v, function_ref<Value(Value, Value)> combine) {
  for (int64_t mask = kWarp / 2; mask > 0; mask /= 2)
    v = combine(v, shuffleXor(v, mask));
  return v;
}

Value SimtBuilder::shared(int64_t elements, Type element, StringRef overlay, int64_t alignment) {
  // Allocations stand at the start of the block's body, whatever loop asks for them.
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPoint(start_);
  auto space = mlir::gpu::AddressSpaceAttr::get(b.getContext(),
                                                mlir::gpu::AddressSpace::Workgroup);
  auto type = MemRefType::get({elements}, element, MemRefLayoutAttrInterface(), space);
  auto op = memref::AllocaOp::create(b, loc, type, b.getI64IntegerAttr(alignment));
  if (!overlay.empty()) {
    op->setAttr("gk.overlay_group", b.getStringAttr("tile"));
    op->setAttr("gk.overlay", b.getStringAttr(overlay));
  }
  return op;
}

void SimtBuilder::loop(Value from, Value to, Value step, function_ref<void(Value)> body) {
  auto a = getConstantIntValue(from), z = getConstantIntValue(to), s = getConstantIntValue(step);
  if (a && z && s && *a + *s >= *z) {
    if (*a < *z)
      body(from);
    return;
  }
  auto op = scf::ForOp::create(b, loc, from, to, step);
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(op.getBody());
  body(op.getInductionVar());
}

void SimtBuilder::when(Value condition, function_ref<void()> body) {
  auto op = scf::IfOp::create(b, loc, condition, /*withElseRegion=*/false);
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(op.thenBlock());
  body();
}

static llvm::MaybeAlign alignmentOf(Type element, int64_t count) {
  return llvm::MaybeAlign(std::min<int64_t>(16, count * element.getIntOrFloatBitWidth() / 8));
}

Value SimtBuilder::load(Value memref, Value at, int64_t count, bool asVector) {
  Type element = getElementTypeOrSelf(memref.getType());
  if (!asVector)
    return memref::LoadOp::create(b, loc, memref, ValueRange{at});
  return vector::LoadOp::create(b, loc, VectorType::get({count}, element), memref, ValueRange{at},
                                /*nontemporal=*/false, alignmentOf(element, count));
}

void SimtBuilder::store(Value v, Value memref, Value at) {
  if (auto type = dyn_cast<VectorType>(v.getType())) {
    vector::StoreOp::create(b, loc, v, memref, ValueRange{at}, /*nontemporal=*/false,
                            alignmentOf(type.getElementType(), type.getDimSize(0)));
    return;
  }
  memref::StoreOp::create(b, loc, v, memref, ValueRange{at});
}

Value SimtBuilder::pointer(Value memref, Value at, unsigned space) {
  int64_t bytes = getElementTypeOrSelf(memref.getType()).getIntOrFloatBitWidth() / 8;
  auto type = LLVM::LLVMPointerType::get(b.getContext(), space);
  Value base = memref::ExtractAlignedPointerAsIndexOp::create(b, loc, memref);
  base = arith::IndexCastOp::create(b, loc, b.getI64Type(), base);
  Value result = LLVM::IntToPtrOp::create(b, loc, type, base);
  return getConstantIntValue(at) == 0 ? result : offset(result, mul(at, bytes));
}

Value SimtBuilder::sharedPointer(Value memref, Value at) { return pointer(memref, at, 3); }
Value SimtBuilder::globalPointer(Value memref, Value at) { return pointer(memref, at, 1); }

Value SimtBuilder::offset(Value pointer, int64_t bytes) {
  if (bytes == 0)
    return pointer;
  return LLVM::GEPOp::create(b, loc, pointer.getType(), b.getI8Type(), pointer,
                             ArrayRef<LLVM::GEPArg>{int32_t(bytes)});
}

Value SimtBuilder::offset(Value pointer, Value bytes) {
  if (auto known = getConstantIntValue(bytes))
    return offset(pointer, *known);
  bool shared = cast<LLVM::LLVMPointerType>(pointer.getType()).getAddressSpace() == 3;
  Type width = shared ? Type(b.getI32Type()) : Type(b.getI64Type());
  Value amount = arith::IndexCastOp::create(b, loc, width, bytes);
  return LLVM::GEPOp::create(b, loc, pointer.getType(), b.getI8Type(), pointer,
                             ArrayRef<LLVM::GEPArg>{amount});
}

} // namespace otodus::gpu

//===- ProductRoles.cpp - Products by warps with roles ---------------------===//
//
// Each slot of the ring has two barriers. `full` counts the producers' arrivals and the bytes of TMA;
// `empty` the warps of the consumers, each of which gives a slot back once the products that read it are
// done: one step later, so that products are always in flight. Phases of a slot alternate; a wait names
// the parity of the phase that is to be over. The parts of several products follow one another on
// both sides, through the same ring.
//
//===----------------------------------------------------------------------===//

#include "ProductRoles.h"

#include "mlir/Dialect/Arith/IR/Arith.h"

using namespace mlir;

namespace otodus::gpu {

constexpr int64_t kWidth = 2;          // bytes of bf16
constexpr int64_t kPiece = 16 / kWidth; // elements that change places together
constexpr int64_t kMostBoxRows = 256;
constexpr int32_t kTicks = 1000000;     // of a try_wait before the hardware looks again

std::unique_ptr<ProductRoles> ProductRoles::make(ArrayRef<ProductTile> products, int64_t threads,
                                                 int64_t termTile, int64_t stages, Value limit,
                                                 SimtBuilder &s, TileEvaluator &values,
                                                 TensorMaps &maps) {
  std::unique_ptr<ProductRoles> roles(new ProductRoles(s, values, maps));
  roles->products.assign(products.begin(), products.end());
  roles->threads = threads;
  roles->termTile = termTile;
  roles->stages = stages;
  roles->lastRow = s.sub(limit, s.index(1));
  for (const ProductTile &tile : products) {
    if (!mapOperand(tile, 1, false, s, values))
      return nullptr;
    roles->anyComputed |= !mapOperand(tile, 0, false, s, values);
    int64_t terms = roles->termTileOf(tile);
    roles->aSlot = std::max(roles->aSlot, tile.rows * terms);
    roles->bSlot = std::max(roles->bSlot, tile.columns * terms);
  }
  return roles;
}

int64_t ProductRoles::termTileOf(const ProductTile &tile) const {
  int64_t terms = termTile;
  while (tile.terms % terms)
    terms /= 2;
  return terms;
}

OperandTiles ProductRoles::layoutOf(const ProductTile &tile) const {
  return operandTiles(tile, ProductForm::Wgmma, termTileOf(tile), /*bAlongColumns=*/false);
}

//===----------------------------------------------------------------------===//
// Barriers
//===----------------------------------------------------------------------===//

Value ProductRoles::barrierAt(Value slot, bool empty) {
  Value at = arith::IndexCastUIOp::create(s.b, s.loc, s.b.getIndexType(), slot);
  return s.sharedPointer(barriers, empty ? s.add(at, stages) : at);
}

void ProductRoles::wait(Value barrier, Value parity) {
  NVVM::MBarrierTryWaitParityOp::create(s.b, s.loc, barrier, parity, s.i32(kTicks));
}

void ProductRoles::advance(Value &slot, Value &parity) {
  Value next = s.add(slot, s.i32(1));
  Value wraps = s.equal(next, s.i32(stages));
  slot = s.select(wraps, s.i32(int64_t(0)), next);
  Value other = arith::XOrIOp::create(s.b, s.loc, parity, s.i32(1));
  parity = s.select(wraps, other, parity);
}

void ProductRoles::part(RoleRegisters registers) {
  OpBuilder &b = s.b;
  block = s.team();
  // What follows the last product lies where the tiles were (SimtBuilder::shared).
  ringA = s.shared(stages * aSlot, b.getBF16Type(), "operands", 1024);
  ringB = s.shared(stages * bSlot, b.getBF16Type(), "operands", 1024);
  barriers = s.shared(2 * stages, b.getI64Type());
  s.when(s.equal(s.thread(), s.index(0)), [&] {
    for (int64_t i = 0; i < stages; ++i) {
      // The thread that starts TMA's copies, and those that compute.
      int64_t filling = anyComputed ? 1 + kProducers : 1;
      Value slot = s.i32(i);
      NVVM::MBarrierInitOp::create(b, s.loc, barrierAt(slot, false), s.i32(filling), Value());
      NVVM::MBarrierInitOp::create(b, s.loc, barrierAt(slot, true), s.i32(consumers() / kWarp),
                                   Value());
    }
    NVVM::FenceMbarrierInitOp::create(b, s.loc);
  });
  s.barrier();

  Value group = s.uniform(s.div(s.warp(), kProducers / kWarp));
  auto roles = scf::IfOp::create(b, s.loc, s.equal(group, s.index(0)), /*withElseRegion=*/true);
  auto registersOf = [&](int64_t count, NVVM::SetMaxRegisterAction action) {
    if (count)
      NVVM::SetMaxRegisterOp::create(b, s.loc, uint32_t(count), action);
  };
  b.setInsertionPointToStart(roles.thenBlock());
  registersOf(registers.producers, NVVM::SetMaxRegisterAction::decrease);
  if (!anyComputed) {
    auto one = scf::IfOp::create(b, s.loc, s.equal(block.thread, s.index(0)), false);
    b.setInsertionPointToStart(one.thenBlock());
  }
  inSlot = s.i32(int64_t(0));
  inParity = s.i32(1); // nothing has been filled: the phase before the first is over
  producing = b.saveInsertionPoint();
  b.setInsertionPointToStart(roles.elseBlock());
  registersOf(registers.consumers, NVVM::SetMaxRegisterAction::increase);
  outSlot = outParity = s.i32(int64_t(0));
  s.work(s.teamOf(kProducers, consumers(), /*barrierId=*/1));
}

//===----------------------------------------------------------------------===//
// Producers
//===----------------------------------------------------------------------===//

void ProductRoles::bring(Value ring, Value slot, int64_t slotSize, Value full,
                         const MappedOperand &operand, int64_t rows, int64_t terms, Value term) {
  int64_t box = rows;
  while (box > kMostBoxRows)
    box /= 2;
  Value map = maps.get(operand, box, terms);
  auto cluster = LLVM::LLVMPointerType::get(s.b.getContext(), 7);
  for (int64_t row = 0; row < rows; row += box) {
    Value to = s.sharedPointer(ring, s.add(s.mul(slot, slotSize), row * terms));
    to = LLVM::AddrSpaceCastOp::create(s.b, s.loc, cluster, to);
    NVVM::CpAsyncBulkTensorGlobalToSharedClusterOp::create(
        s.b, s.loc, to, map,
        ValueRange{s.i32(s.add(operand.column, term)), s.i32(s.add(operand.row, row))}, full,
        ValueRange(), Value(), Value(), NVVM::TMALoadMode::TILE, /*isCTAOnly=*/false,
        NVVM::CTAGroupKindAttr(), Value());
  }
}

LogicalResult ProductRoles::compute(const ProductTile &tile, Value term,
                                    SmallVectorImpl<Value> &pieces) {
  linalg::GenericOp op = tile.op;
  int64_t perLine = termTileOf(tile) / kPiece;
  for (int64_t i = 0; i < tile.rows * perLine; i += kProducers) {
    Value piece = s.add(s.thread(), i);
    Value line = s.div(piece, perLine), position = s.mul(s.rem(piece, perLine), kPiece);
    Value v = values.evaluate(op.getDpsInputOperand(0)->get(),
                              tile.leftAt(s.min(line, lastRow), s.add(term, position), kPiece),
                              kPiece);
    if (!v)
      return failure();
    pieces.push_back(values.widen(v, kPiece));
  }
  return success();
}

void ProductRoles::store(const ProductTile &tile, Value slot, ValueRange pieces) {
  int64_t pitch = termTileOf(tile), perLine = pitch / kPiece;
  for (auto [i, v] : llvm::enumerate(pieces)) {
    Value piece = s.add(s.thread(), int64_t(i) * kProducers);
    Value line = s.div(piece, perLine), position = s.mul(s.rem(piece, perLine), kPiece);
    Value at = s.add(s.mul(line, pitch), swizzled(line, position, pitch, kWidth, s));
    s.store(v, ringA, s.add(s.mul(slot, aSlot), at));
  }
}

LogicalResult ProductRoles::produce(const ProductTile &tile) {
  OpBuilder &b = s.b;
  std::optional<MappedOperand> left = mapOperand(tile, 0, true, s, values);
  MappedOperand right = *mapOperand(tile, 1, true, s, values);
  int64_t terms = termTileOf(tile);
  int64_t bytes = (tile.columns + (left ? tile.rows : 0)) * terms * kWidth;
  auto loop = scf::ForOp::create(b, s.loc, s.index(0), s.index(tile.terms / terms), s.index(1),
                                 ValueRange{inSlot, inParity});
  {
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(loop.getBody());
    Value term = s.mul(loop.getInductionVar(), terms);
    Value slot = loop.getRegionIterArg(0), parity = loop.getRegionIterArg(1);
    Value place = arith::IndexCastUIOp::create(b, s.loc, b.getIndexType(), slot);
    SmallVector<Value> pieces;
    if (!left && failed(compute(tile, term, pieces)))
      return failure();
    wait(barrierAt(slot, true), parity);
    Value full = barrierAt(slot, false);
    auto copies = [&] {
      NVVM::MBarrierArriveExpectTxOp::create(b, s.loc, Type(), full, s.i32(bytes),
                                             NVVM::MemScopeKind::CTA, /*relaxed=*/false, Value());
      if (left)
        bring(ringA, place, aSlot, full, *left, tile.rows, terms, term);
      bring(ringB, place, bSlot, full, right, tile.columns, terms, term);
    };
    if (anyComputed)
      s.when(s.equal(s.thread(), s.index(0)), copies);
    else
      copies();
    if (anyComputed) {
      store(tile, place, pieces);
      s.fenceAsyncProxy();
      NVVM::MBarrierArriveOp::create(b, s.loc, Type(), full, Value());
    }
    advance(slot, parity);
    scf::YieldOp::create(b, s.loc, ValueRange{slot, parity});
  }
  inSlot = loop.getResult(0);
  inParity = loop.getResult(1);
  return success();
}

//===----------------------------------------------------------------------===//
// Consumers
//===----------------------------------------------------------------------===//

FailureOr<SmallVector<Value>> ProductRoles::multiply(const ProductTile &tile, ValueRange init,
                                                     RegisterTile &registers) {
  OpBuilder &b = s.b;
  {
    OpBuilder::InsertionGuard guard(b);
    SimtBuilder::Team consuming = s.team();
    b.restoreInsertionPoint(producing);
    s.work(block);
    LogicalResult produced = produce(tile);
    s.work(consuming);
    if (failed(produced))
      return failure();
    producing = b.saveInsertionPoint();
  }
  bool last = ++done == products.size();
  auto giveBack = [&](Value slot) {
    NVVM::MBarrierArriveOp::create(b, s.loc, Type(), barrierAt(slot, true), Value());
  };
  auto before = [&](Value slot) {
    Value first = s.equal(slot, s.i32(int64_t(0)));
    return s.select(first, s.i32(stages - 1), s.sub(slot, s.i32(1)));
  };
  Value leads = s.equal(s.lane(), s.index(0));

  SmallVector<Value> start{outSlot, outParity};
  llvm::append_range(start, init.empty() ? registers.zero() : SmallVector<Value>(init));
  auto loop = scf::ForOp::create(b, s.loc, s.index(0), s.index(tile.terms / termTileOf(tile)),
                                 s.index(1), start);
  {
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(loop.getBody());
    Value slot = loop.getRegionIterArg(0), parity = loop.getRegionIterArg(1);
    Value place = arith::IndexCastUIOp::create(b, s.loc, b.getIndexType(), slot);
    wait(barrierAt(slot, false), parity);
    SmallVector<Value> sums = registers.accumulate(s.sharedPointer(ringA, s.mul(place, aSlot)),
                                                   s.sharedPointer(ringB, s.mul(place, bSlot)),
                                                   loop.getRegionIterArgs().drop_front(2));
    // The products of the step before are done, and its slot is free.
    sums = registers.settle(sums, 1);
    Value later = arith::CmpIOp::create(b, s.loc, arith::CmpIPredicate::ne,
                                        loop.getInductionVar(), s.index(0));
    s.when(arith::AndIOp::create(b, s.loc, leads, later), [&] { giveBack(before(slot)); });
    advance(slot, parity);
    SmallVector<Value> next{slot, parity};
    llvm::append_range(next, sums);
    scf::YieldOp::create(b, s.loc, next);
  }
  outSlot = loop.getResult(0);
  outParity = loop.getResult(1);
  SmallVector<Value> sums = registers.settle(loop.getResults().drop_front(2), 0);
  if (last)
    s.barrier(); // what comes next may lie where the operands were
  else
    s.when(leads, [&] { giveBack(before(outSlot)); });
  return sums;
}

} // namespace otodus::gpu

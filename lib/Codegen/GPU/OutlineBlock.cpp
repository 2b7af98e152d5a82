//===- OutlineBlock.cpp - Kernels as the runtime launches them -------------===//
//
//   func @k(%a: memref<?xf32>, …, %batch, %length, %rows: index) {gpu.threads = 128} {
//     scf.forall (%i, %j) in (%m, 4) { … }
//   }
//   ==>
//   func @k(%a: !llvm.ptr<1>, …, %batch, %length, %rows: i64) {gk.shared_bytes = …} {
//     %item = nvvm.read.ptx.sreg.ctaid.x
//     %i, %j = …                    // of %item
//     …
//   }
//
//===----------------------------------------------------------------------===//

#include "otodus/Codegen/GPU/Chips.h"
#include "otodus/Codegen/GPU/Passes.h"

#include "mlir/Dialect/LLVMIR/LLVMTypes.h"
#include "mlir/Interfaces/ViewLikeInterface.h"

#include "llvm/ADT/MapVector.h"
#include "llvm/Support/MathExtras.h"

namespace otodus {
#define GEN_PASS_DEF_OUTLINEBLOCK
#include "otodus/Codegen/GPU/Passes.h.inc"
} // namespace otodus

using namespace mlir;

namespace otodus {
namespace {

/// NVPTX's numbers of address spaces.
enum Space : unsigned { kGlobal = 1, kShared = 3 };

constexpr StringLiteral kSharedSymbol = "otodus_shared";
constexpr int64_t kSharedAlignment = 1024; // what TMA's widest swizzle wants

bool isShared(MemRefType type) {
  auto space = dyn_cast_or_null<IntegerAttr>(type.getMemorySpace());
  return space && space.getInt() == kShared;
}

/// Gives `value` and all views of it the memory space.
LogicalResult retype(Value value, Attribute space) {
  auto type = dyn_cast<MemRefType>(value.getType());
  if (!type || type.getMemorySpace() == space)
    return success();
  value.setType(MemRefType::get(type.getShape(), type.getElementType(), type.getLayout(), space));
  for (OpOperand &use : value.getUses()) {
    Operation *user = use.getOwner();
    if (isa<ViewLikeOpInterface, arith::SelectOp, memref::ExtractStridedMetadataOp>(user)) {
      for (Value result : user->getResults())
        if (failed(retype(result, space)))
          return failure();
    } else if (auto loop = dyn_cast<scf::ForOp>(user)) {
      if (use.getOperandNumber() >= loop.getNumControlOperands()) {
        unsigned i = use.getOperandNumber() - loop.getNumControlOperands();
        if (failed(retype(loop.getRegionIterArg(i), space)) ||
            failed(retype(loop.getResult(i), space)))
          return failure();
      }
    } else if (isa<scf::YieldOp>(user)) {
      if (failed(retype(user->getParentOp()->getResult(use.getOperandNumber()), space)))
        return failure();
    } else if (isa<scf::WhileOp, func::CallOp>(user)) {
      return user->emitOpError("cannot carry a buffer in a GPU kernel");
    }
  }
  return success();
}

/// The memref of `type` at `pointer`. Extents that are not static are unknown; kernels never ask for
/// them.
Value memrefFrom(OpBuilder &b, Location loc, Value pointer, MemRefType type) {
  int64_t rank = type.getRank();
  Type i64 = b.getI64Type();
  SmallVector<Type> fields = {pointer.getType(), pointer.getType(), i64};
  if (rank)
    fields.append(2, LLVM::LLVMArrayType::get(i64, rank));
  auto descriptor = LLVM::LLVMStructType::getLiteral(b.getContext(), fields);
  auto constant = [&](int64_t value) -> Value {
    return LLVM::ConstantOp::create(b, loc, i64, b.getI64IntegerAttr(value));
  };
  Value value = LLVM::PoisonOp::create(b, loc, descriptor);
  auto insert = [&](Value field, ArrayRef<int64_t> at) {
    value = LLVM::InsertValueOp::create(b, loc, value, field, at);
  };
  insert(pointer, {0});
  insert(pointer, {1});
  insert(constant(0), {2});
  SmallVector<int64_t> strides;
  int64_t offset;
  (void)type.getStridesAndOffset(strides, offset);
  for (int64_t i = 0; i < rank; ++i) {
    insert(constant(type.isDynamicDim(i) ? 0 : type.getDimSize(i)), {3, i});
    insert(constant(strides[i]), {4, i});
  }
  return UnrealizedConversionCastOp::create(b, loc, type, value).getResult(0);
}

struct OutlineBlock : impl::OutlineBlockBase<OutlineBlock> {
  using OutlineBlockBase::OutlineBlockBase;

  void runOnOperation() override {
    ModuleOp module = getOperation();
    Result<Chip> found = chipFor(target);
    if (!found.isOk()) {
      module.emitError(found.status().message());
      return signalPassFailure();
    }
    chip = *found;
    bool any = false;
    for (auto function : module.getOps<func::FuncOp>()) {
      if (!function->hasAttr("mega.grid") || function.isExternal())
        continue;
      any = true;
      if (failed(outline(function)))
        return signalPassFailure();
    }
    if (any && !module.lookupSymbol(kSharedSymbol)) {
      OpBuilder b = OpBuilder::atBlockBegin(module.getBody());
      LLVM::GlobalOp::create(b, module.getLoc(), LLVM::LLVMArrayType::get(b.getI8Type(), 0),
                             /*isConstant=*/false, LLVM::Linkage::External, kSharedSymbol,
                             Attribute(), kSharedAlignment, kShared);
    }
  }

private:
  LogicalResult outline(func::FuncOp function) {
    Block &body = function.getBody().front();
    auto count = function->getAttrOfType<IntegerAttr>("gpu.threads");
    if (!count)
      return function.emitOpError("expects the attribute gpu.threads, threads per block");
    threads = count.getInt();
    if (threads < 32 || threads % 32 || threads > chip.threadsPerBlock)
      return function.emitOpError("expects a multiple of 32 threads, at most ")
             << chip.threadsPerBlock << " on " << chip.name << ", but got " << threads;
    SmallVector<scf::ForallOp> grids(body.getOps<scf::ForallOp>());
    if (grids.size() > 1)
      return function.emitOpError("expects one scf.forall in a kernel, but got ")
             << grids.size();
    if (!grids.empty() && grids.front().getNumResults() != 0)
      return grids.front().emitOpError("expects a grid on buffers, but it has results");

    replaceSpaces(function);
    if (failed(replaceArguments(function)) || failed(placeShared(function)))
      return failure();
    if (!grids.empty())
      replaceGrid(grids.front());
    return replaceIds(function);
  }

  /// #gpu.address_space as numbers, which upstream's conversions understand.
  void replaceSpaces(func::FuncOp function) {
    AttrTypeReplacer replacer;
    Builder b(function.getContext());
    replacer.addReplacement([&](gpu::AddressSpaceAttr space) -> std::optional<Attribute> {
      switch (space.getValue()) {
      case gpu::AddressSpace::Global:
        return b.getI64IntegerAttr(kGlobal);
      case gpu::AddressSpace::Workgroup:
        return b.getI64IntegerAttr(kShared);
      default:
        return b.getI64IntegerAttr(0);
      }
    });
    replacer.recursivelyReplaceElementsIn(function, /*replaceAttrs=*/true, /*replaceLocs=*/false,
                                          /*replaceTypes=*/true);
  }

  LogicalResult replaceArguments(func::FuncOp function) {
    Block &body = function.getBody().front();
    OpBuilder b = OpBuilder::atBlockBegin(&body);
    Location loc = function.getLoc();
    auto global = LLVM::LLVMPointerType::get(b.getContext(), kGlobal);
    Attribute space = b.getI64IntegerAttr(kGlobal);
    SmallVector<Type> types;
    for (BlockArgument argument : body.getArguments()) {
      if (auto type = dyn_cast<MemRefType>(argument.getType())) {
        if (type.getRank() != 1 || !type.getLayout().isIdentity())
          return function.emitOpError("expects memref<?xT> for a buffer, but got ") << type;
        if (failed(retype(argument, space)))
          return failure();
        auto placed = cast<MemRefType>(argument.getType());
        argument.setType(global);
        Value memref = memrefFrom(b, loc, argument, placed);
        argument.replaceUsesWithIf(
            memref, [&](OpOperand &use) { return !isa<LLVM::InsertValueOp>(use.getOwner()); });
        types.push_back(global);
      } else if (argument.getType().isIndex()) {
        argument.setType(b.getI64Type());
        auto index = arith::IndexCastOp::create(b, loc, b.getIndexType(), argument);
        argument.replaceAllUsesExcept(index, index);
        types.push_back(b.getI64Type());
      } else if (isa<LLVM::LLVMPointerType>(argument.getType())) {
        types.push_back(argument.getType()); // a tensor map
      } else {
        return function.emitOpError("expects buffers, sizes and tensor maps as arguments, but got ")
               << argument.getType();
      }
    }
    function.setFunctionType(b.getFunctionType(types, {}));
    function.setPublic();
    return success();
  }

  /// Offsets of all shared buffers in the block's dynamic allocation.
  LogicalResult placeShared(func::FuncOp function) {
    SmallVector<memref::AllocaOp> buffers;
    function.walk([&](memref::AllocaOp op) {
      if (isShared(op.getType()))
        buffers.push_back(op);
    });
    // A group of overlays takes the room of its largest member; every other buffer has its own.
    struct Group {
      llvm::MapVector<StringAttr, int64_t> used;
      SmallVector<std::pair<memref::AllocaOp, int64_t>> members;
      int64_t alignment = 16;
    };
    llvm::MapVector<Attribute, Group> groups;
    Builder b(function.getContext());
    for (auto [i, op] : llvm::enumerate(buffers)) {
      MemRefType type = op.getType();
      if (!type.hasStaticShape() || !type.getElementType().isIntOrFloat() ||
          type.getElementTypeBitWidth() % 8)
        return op.emitOpError("expects a static shape of numbers of whole bytes in shared memory, "
                              "but got ")
               << type;
      SmallVector<int64_t> strides;
      int64_t offset;
      if (failed(type.getStridesAndOffset(strides, offset)) || offset != 0 ||
          llvm::is_contained(strides, ShapedType::kDynamic))
        return op.emitOpError("expects static strides in shared memory, but got ") << type;
      int64_t last = 0;
      for (auto [extent, stride] : llvm::zip(type.getShape(), strides))
        last += (extent - 1) * stride;
      int64_t bytes =
          type.getNumElements() ? (last + 1) * (type.getElementTypeBitWidth() / 8) : 0;
      int64_t alignment = std::max<int64_t>(16, op.getAlignment().value_or(16));
      if (!llvm::isPowerOf2_64(alignment) || alignment > kSharedAlignment)
        return op.emitOpError("expects an alignment that is a power of two, at most ")
               << kSharedAlignment << ", but got " << alignment;
      Attribute group = op->getAttr("gk.overlay_group");
      if (!group)
        group = b.getI64IntegerAttr(static_cast<int64_t>(i));
      auto overlay = op->getAttrOfType<StringAttr>("gk.overlay");
      if (!overlay)
        overlay = b.getStringAttr("");
      Group &g = groups[group];
      int64_t &used = g.used[overlay];
      used = llvm::alignTo(used, alignment);
      g.members.push_back({op, used});
      used += bytes;
      g.alignment = std::max(g.alignment, alignment);
    }
    int64_t total = 0;
    for (auto &[name, group] : groups) {
      total = llvm::alignTo(total, group.alignment);
      int64_t most = 0;
      for (auto &[overlay, used] : group.used)
        most = std::max(most, used);
      for (auto [op, offset] : group.members)
        place(op, total + offset);
      total += most;
    }
    total = llvm::alignTo(total, 16);
    if (total > chip.sharedPerBlock)
      return function.emitOpError("needs ")
             << total << " bytes of shared memory, but a block of " << chip.name << " has "
             << chip.sharedPerBlock << "; fewer stages or smaller tiles need less";
    function->setAttr("gk.shared_bytes", b.getI64IntegerAttr(total));
    return success();
  }

  void place(memref::AllocaOp op, int64_t offset) {
    OpBuilder b(op);
    Location loc = op.getLoc();
    auto pointer = LLVM::LLVMPointerType::get(b.getContext(), kShared);
    Value base = LLVM::AddressOfOp::create(b, loc, pointer, kSharedSymbol);
    if (offset)
      base = LLVM::GEPOp::create(b, loc, pointer, b.getI8Type(), base,
                                 ArrayRef<LLVM::GEPArg>{int32_t(offset)},
                                 LLVM::GEPNoWrapFlags::inbounds);
    op.replaceAllUsesWith(memrefFrom(b, loc, base, op.getType()));
    op.erase();
  }

  /// A special register below `bound`.
  template <typename Op> Value readRegister(OpBuilder &b, Location loc, int64_t bound) {
    auto range = LLVM::ConstantRangeAttr::get(b.getContext(), llvm::APInt(32, 0),
                                              llvm::APInt(32, static_cast<uint64_t>(bound)));
    return Op::create(b, loc, b.getI32Type(), range);
  }

  Value toIndex(OpBuilder &b, Location loc, Value value) {
    return arith::IndexCastUIOp::create(b, loc, b.getIndexType(), value);
  }

  /// The block's index as induction variables; the last one runs fastest, as on a CPU.
  void replaceGrid(scf::ForallOp grid) {
    OpBuilder b(grid);
    Location loc = grid.getLoc();
    SmallVector<Value> lowers = grid.getLowerBound(b), uppers = grid.getUpperBound(b),
                       steps = grid.getStep(b);
    AffineExpr lower, upper, step;
    bindSymbols(b.getContext(), lower, upper, step);
    // A grid has fewer than 2^31 blocks, so 32 bits do: divisions of 64 bits are slow.
    Value item =
        readRegister<NVVM::BlockIdXOp>(b, loc, int64_t(std::numeric_limits<int32_t>::max()));
    SmallVector<Value> ivs(lowers.size());
    for (int64_t i = static_cast<int64_t>(lowers.size()) - 1; i >= 0; --i) {
      Value at = item;
      if (i > 0) {
        Value count = getValueOrCreateConstantIndexOp(
            b, loc,
            affine::makeComposedFoldedAffineApply(
                b, loc, (upper - lower).ceilDiv(step),
                {getAsOpFoldResult(lowers[i]), getAsOpFoldResult(uppers[i]),
                 getAsOpFoldResult(steps[i])}));
        count = arith::IndexCastUIOp::create(b, loc, b.getI32Type(), count);
        at = arith::RemUIOp::create(b, loc, item, count);
        item = arith::DivUIOp::create(b, loc, item, count);
      }
      Value scaled = arith::MulIOp::create(b, loc, toIndex(b, loc, at), steps[i]);
      ivs[i] = arith::AddIOp::create(b, loc, lowers[i], scaled);
    }
    for (auto [argument, iv] : llvm::zip(grid.getInductionVars(), ivs))
      argument.replaceAllUsesWith(iv);
    Block *block = grid->getBlock();
    block->getOperations().splice(grid->getIterator(), grid.getBody()->getOperations(),
                                  grid.getBody()->begin(), std::prev(grid.getBody()->end()));
    grid.erase();
  }

  LogicalResult replaceIds(func::FuncOp function) {
    WalkResult walked = function.walk([&](Operation *op) -> WalkResult {
      if (!isa_and_nonnull<gpu::GPUDialect>(op->getDialect()))
        return success();
      OpBuilder b(op);
      Location loc = op->getLoc();
      auto constant = [&](int64_t value) -> Value {
        return arith::ConstantIndexOp::create(b, loc, value);
      };
      auto replace = [&](Value value) -> LogicalResult {
        op->replaceAllUsesWith(ValueRange(value));
        op->erase();
        return success();
      };
      if (auto id = dyn_cast<gpu::ThreadIdOp>(op))
        return replace(id.getDimension() == gpu::Dimension::x
                           ? toIndex(b, loc, readRegister<NVVM::ThreadIdXOp>(b, loc, threads))
                           : constant(0));
      if (auto dim = dyn_cast<gpu::BlockDimOp>(op))
        return replace(constant(dim.getDimension() == gpu::Dimension::x ? threads : 1));
      if (isa<gpu::LaneIdOp>(op))
        return replace(toIndex(b, loc, readRegister<NVVM::LaneIdOp>(b, loc, 32)));
      if (isa<gpu::SubgroupIdOp>(op)) {
        Value thread = readRegister<NVVM::ThreadIdXOp>(b, loc, threads);
        Value five = arith::ConstantIntOp::create(b, loc, 5, 32);
        return replace(toIndex(b, loc, arith::ShRUIOp::create(b, loc, thread, five)));
      }
      if (isa<gpu::SubgroupSizeOp>(op))
        return replace(constant(32));
      if (isa<gpu::NumSubgroupsOp>(op))
        return replace(constant(threads / 32));
      if (isa<gpu::BarrierOp>(op)) {
        NVVM::Barrier0Op::create(b, loc);
        op->erase();
        return success();
      }
      if (auto shuffle = dyn_cast<gpu::ShuffleOp>(op))
        return replaceShuffle(b, shuffle);
      op->emitOpError("has no lowering in a GPU kernel: thread_id, block_dim, lane_id, "
                      "subgroup_id, num_subgroups, barrier and shuffle have one");
      return failure();
    });
    return failure(walked.wasInterrupted());
  }

  LogicalResult replaceShuffle(OpBuilder &b, gpu::ShuffleOp op) {
    Location loc = op.getLoc();
    APInt width;
    if (!matchPattern(op.getWidth(), m_ConstantInt(&width)) || !width.isPowerOf2() ||
        width.ugt(32))
      return op.emitOpError("expects a constant width that is a power of two, at most 32");
    auto i32 = b.getI32Type();
    auto constant = [&](int64_t value) -> Value {
      return arith::ConstantIntOp::create(b, loc, i32, value);
    };
    NVVM::ShflKind kind = op.getMode() == gpu::ShuffleMode::XOR    ? NVVM::ShflKind::bfly
                          : op.getMode() == gpu::ShuffleMode::DOWN ? NVVM::ShflKind::down
                          : op.getMode() == gpu::ShuffleMode::UP   ? NVVM::ShflKind::up
                                                                   : NVVM::ShflKind::idx;
    // PTX: segments of `width` lanes in bits 8.., the last (for `up`, first) lane in bits 0..
    int64_t segments = 32 - static_cast<int64_t>(width.getZExtValue());
    Value clamp = constant(segments << 8 | (kind == NVVM::ShflKind::up ? 0 : 31));
    Value all = constant(-1);
    bool wantsValid = !op.getValid().use_empty();
    Value valid;
    auto exchange = [&](Value part) -> Value {
      Type type = part.getType();
      if (!wantsValid)
        return NVVM::ShflOp::create(b, loc, type, all, part, op.getOffset(), clamp, kind, nullptr);
      auto pair = LLVM::LLVMStructType::getLiteral(b.getContext(), {type, b.getI1Type()});
      Value both = NVVM::ShflOp::create(b, loc, pair, all, part, op.getOffset(), clamp, kind,
                                        b.getUnitAttr());
      valid = LLVM::ExtractValueOp::create(b, loc, both, 1);
      return LLVM::ExtractValueOp::create(b, loc, both, 0);
    };

    Type type = op.getValue().getType();
    Value result;
    if (type.isF32() || type.isInteger(32)) {
      result = exchange(op.getValue());
    } else if (type.isF64() || type.isInteger(64)) {
      auto words = VectorType::get(2, i32);
      Value value = LLVM::BitcastOp::create(b, loc, words, op.getValue());
      Value moved = LLVM::PoisonOp::create(b, loc, words);
      for (int64_t i : {0, 1}) {
        Value at = constant(i);
        moved = LLVM::InsertElementOp::create(
            b, loc, moved, exchange(LLVM::ExtractElementOp::create(b, loc, value, at)), at);
      }
      result = LLVM::BitcastOp::create(b, loc, type, moved);
    } else {
      return op.emitOpError("expects f32, f64, i32 or i64, but got ") << type;
    }
    op.getShuffleResult().replaceAllUsesWith(result);
    if (wantsValid)
      op.getValid().replaceAllUsesWith(valid);
    op.erase();
    return success();
  }

  Chip chip;
  int64_t threads = 0;
};

} // namespace
} // namespace otodus

//===- StreamKernel.cpp - The frame of GPU kernels that walk time ----------===//

#include "StreamKernel.h"

#include "Kernels.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;

namespace otodus {

//===----------------------------------------------------------------------===//
// Small builders
//===----------------------------------------------------------------------===//

Value LaneBuilder::i32(int64_t v) {
  return arith::ConstantOp::create(b, loc, b.getI32IntegerAttr(int32_t(v)));
}
Value LaneBuilder::f32Constant(double v) {
  return arith::ConstantOp::create(b, loc, b.getF32FloatAttr(float(v)));
}
Value LaneBuilder::sub(Value x, Value y) { return arith::SubIOp::create(b, loc, x, y); }
Value LaneBuilder::div(Value x, int64_t y) { return arith::DivUIOp::create(b, loc, x, index(y)); }
Value LaneBuilder::rem(Value x, int64_t y) { return arith::RemUIOp::create(b, loc, x, index(y)); }
Value LaneBuilder::less(Value x, Value y) {
  return arith::CmpIOp::create(b, loc, arith::CmpIPredicate::ult, x, y);
}
Value LaneBuilder::equal(Value x, Value y) {
  return arith::CmpIOp::create(b, loc, arith::CmpIPredicate::eq, x, y);
}
Value LaneBuilder::select(Value condition, Value x, Value y) {
  return arith::SelectOp::create(b, loc, condition, x, y);
}
Value LaneBuilder::addf(Value x, Value y) { return arith::AddFOp::create(b, loc, x, y); }
Value LaneBuilder::subf(Value x, Value y) { return arith::SubFOp::create(b, loc, x, y); }
Value LaneBuilder::mulf(Value x, Value y) { return arith::MulFOp::create(b, loc, x, y); }
Value LaneBuilder::fma(Value x, Value y, Value z) { return math::FmaOp::create(b, loc, x, y, z); }
Value LaneBuilder::toF64(Value x) { return arith::ExtFOp::create(b, loc, f64, x); }
Value LaneBuilder::toF32(Value x) { return arith::TruncFOp::create(b, loc, f32, x); }

Value LaneBuilder::load(Value buffer, Value at) {
  return memref::LoadOp::create(b, loc, buffer, ValueRange{at});
}
void LaneBuilder::store(Value v, Value buffer, Value at) {
  memref::StoreOp::create(b, loc, v, buffer, ValueRange{at});
}

static llvm::MaybeAlign alignmentOf(Type element, int64_t lanes) {
  return llvm::MaybeAlign(std::min<int64_t>(16, lanes * element.getIntOrFloatBitWidth() / 8));
}

Value LaneBuilder::loadWide(Value buffer, Value at, int64_t lanes) {
  Type element = getElementTypeOrSelf(buffer.getType()), wide = f32;
  Value v;
  if (lanes == 1) {
    v = load(buffer, at);
  } else {
    wide = VectorType::get({lanes}, f32);
    v = vector::LoadOp::create(b, loc, VectorType::get({lanes}, element), buffer, ValueRange{at},
                               /*nontemporal=*/false, alignmentOf(element, lanes));
  }
  return element.isF32() ? v : Value(arith::ExtFOp::create(b, loc, wide, v));
}

void LaneBuilder::storeWide(Value v, Value buffer, Value at) {
  Type element = getElementTypeOrSelf(buffer.getType());
  auto type = dyn_cast<VectorType>(v.getType());
  if (!element.isF32())
    v = arith::TruncFOp::create(b, loc, type ? Type(type.clone(element)) : element, v);
  if (type)
    vector::StoreOp::create(b, loc, v, buffer, ValueRange{at}, /*nontemporal=*/false,
                            alignmentOf(element, type.getDimSize(0)));
  else
    store(v, buffer, at);
}

Value LaneBuilder::spread(Value v, int64_t lanes) { return lanes == 1 ? v : splat(v, lanes); }

void LaneBuilder::barrier() { mlir::gpu::BarrierOp::create(b, loc); }

void LaneBuilder::ifThen(Value condition, function_ref<void()> body) {
  auto branch = scf::IfOp::create(b, loc, condition, /*withElseRegion=*/false);
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(&branch.getThenRegion().front());
  body();
}

Value LaneBuilder::shuffle(Value v, int64_t offset, bool up) {
  if (v.getType().isF64()) { // lanes exchange 32 bits at a time
    Type i32Type = b.getI32Type(), i64Type = b.getI64Type();
    Value bits = arith::BitcastOp::create(b, loc, i64Type, v);
    Value half = arith::ConstantOp::create(b, loc, b.getI64IntegerAttr(32));
    Value low = arith::TruncIOp::create(b, loc, i32Type, bits);
    Value high =
        arith::TruncIOp::create(b, loc, i32Type, Value(arith::ShRUIOp::create(b, loc, bits, half)));
    low = arith::ExtUIOp::create(b, loc, i64Type, shuffle(low, offset, up));
    high = arith::ExtUIOp::create(b, loc, i64Type, shuffle(high, offset, up));
    bits = arith::OrIOp::create(b, loc, low, Value(arith::ShLIOp::create(b, loc, high, half)));
    return arith::BitcastOp::create(b, loc, f64, bits);
  }
  return mlir::gpu::ShuffleOp::create(b, loc, v, i32(offset), i32(32),
                                      up ? mlir::gpu::ShuffleMode::UP : mlir::gpu::ShuffleMode::XOR)
      .getShuffleResult();
}

Value LaneBuilder::shuffleXor(Value v, int64_t mask) { return shuffle(v, mask, false); }
Value LaneBuilder::shuffleUp(Value v, int64_t distance) { return shuffle(v, distance, true); }

Value LaneBuilder::pin(Value v) {
  if (!v.getType().isIndex())
    return shuffleXor(v, 0);
  v = shuffleXor(arith::IndexCastOp::create(b, loc, b.getI32Type(), v), 0);
  return arith::IndexCastOp::create(b, loc, b.getIndexType(), v);
}

void LaneBuilder::warpBarrier() { NVVM::SyncWarpOp::create(b, loc, i32(-1)); }

Value LaneBuilder::element(Value vector, int64_t i) {
  return vector::ExtractOp::create(b, loc, vector, i);
}

Value LaneBuilder::vectorOf(ValueRange elements) {
  auto type = VectorType::get({int64_t(elements.size())}, elements[0].getType());
  return vector::FromElementsOp::create(b, loc, type, elements);
}

//===----------------------------------------------------------------------===//
// Tiles
//===----------------------------------------------------------------------===//

static formats::Width channelsOf(mega::GroupOp group) {
  return widthOf(group.getBody(0)->front().getResult(0).getType());
}

/// Threads for every channel, of which those of a recurrence share its modes. A kernel with blocks
/// has one warp for four channels, whose matrices fill half of its registers.
static int64_t threadsOf(mega::GroupOp group) {
  mega::ScheduleAttr schedule = group.getScheduleAttr();
  Operation *last = group.getYield()->getPrevNode();
  bool bf16 = getElementTypeOrSelf(last->getResult(0).getType()).isBF16();
  return schedule.getThreads().value_or(std::min<int64_t>(
      512, *schedule.getChannelTile() * (isa<mega::CemaOp>(last) && bf16 ? 8 : 4)));
}

StreamKernel::StreamKernel(KernelEmitter &kernel, StreamForm form)
    : LaneBuilder(kernel.b, kernel.loc), kernel(kernel), form(form) {
  mega::ScheduleAttr schedule = kernel.group.getScheduleAttr();
  width = channelsOf(kernel.group);
  timeTile = form == StreamForm::Steps ? *schedule.getTimeTile() : kBlocksTile;
  tile = *schedule.getChannelTile();
  threads = threadsOf(kernel.group);
  // Four lanes of neighbouring steps and eight neighbouring channels meet in no bank.
  stride = tile + 8;
  pitch = timeTile + 8;
}

Value StreamKernel::shared(int64_t elements, Type element, bool onlyBegin) {
  auto space = mlir::gpu::AddressSpaceAttr::get(b.getContext(), mlir::gpu::AddressSpace::Workgroup);
  auto type = MemRefType::get({elements}, element, MemRefLayoutAttrInterface(), space);
  int64_t bytes = (elements * element.getIntOrFloatBitWidth() / 8 + 15) / 16 * 16;
  auto op = memref::AllocaOp::create(allocas, loc, type, allocas.getI64IntegerAttr(16));
  auto overlay = [&](StringRef group, StringRef name) {
    op->setAttr("gk.overlay_group", b.getStringAttr(group));
    op->setAttr("gk.overlay", b.getStringAttr(name));
  };
  if (onlyBegin) {
    overlay("stream.tile", "begin");
    sharedOfBegin += bytes;
  } else if (bytes > 0 && form == StreamForm::Blocks && loading) {
    overlay("stream.tile", "tile");
    sharedOfTile += bytes;
  } else {
    overlay("stream", form == StreamForm::Blocks ? "blocks" : "steps");
    sharedUsed += bytes;
  }
  return op;
}

Value StreamKernel::activationTile() {
  return shared(timeTile * stride, form == StreamForm::Blocks ? b.getBF16Type() : f32);
}

Value StreamKernel::tileByChannels() {
  Value memory = shared(tile * pitch, b.getBF16Type());
  byChannels.insert(memory);
  return memory;
}

void StreamKernel::eachPatch(function_ref<void(Value, Value)> body) {
  int64_t pairs = tile / 2;
  forThreads(
      index(pairs * timeTile / 8),
      [&](Value i) { body(mul(div(i, pairs), index(8)), mul(rem(i, pairs), index(2))); },
      /*rare=*/true);
}

void StreamKernel::storePatch(ArrayRef<Value> patch, Value tile, Value t, Value c) {
  for (int64_t channel = 0; channel < 2; ++channel) {
    SmallVector<Value> steps;
    for (Value both : patch)
      steps.push_back(element(both, channel));
    Value at = add(mul(add(c, index(channel)), index(pitch)), t);
    vector::StoreOp::create(b, loc, vectorOf(steps), tile, ValueRange{at}, false,
                            llvm::MaybeAlign(16));
  }
}

void StreamKernel::forThreads(Value count, function_ref<void(Value)> body, bool rare) {
  Value from = thread;
  if (rare)
    from = pin(from);
  forLoop(from, count, index(threads), body);
}

void StreamKernel::eachVector(Type type, int64_t lanes, Value row, Value count,
                              function_ref<void(Value, Value, Value)> body) {
  int64_t rowStride = rowStrideOf(widthOf(type), dtypeOf(type)), vectors = tile / lanes;
  forThreads(
      mul(count, index(vectors)),
      [&](Value i) {
        Value t = div(i, vectors), c = mul(rem(i, vectors), index(lanes));
        body(t, c, add(mul(add(row, t), index(rowStride)), add(channel, c)));
      },
      /*rare=*/true);
}

void StreamKernel::loadTile(Value value) {
  Type element = getElementTypeOrSelf(value.getType());
  Value buffer = kernel.operandParameter(value), into = tiles.lookup(value);
  if (liesByChannels(into)) {
    int64_t rowStride = rowStrideOf(widthOf(value.getType()), dtypeOf(element));
    auto type = VectorType::get({2}, element);
    Value zero = arith::ConstantOp::create(b, loc, b.getZeroAttr(type));
    eachPatch([&](Value t, Value c) {
      SmallVector<Value> patch;
      for (int64_t i = 0; i < 8; ++i) {
        Value now = add(t, index(i)), exists = less(now, steps);
        Value row = add(firstRow, select(exists, now, index(0)));
        Value at = add(mul(row, index(rowStride)), add(channel, c));
        Value v = vector::LoadOp::create(b, loc, type, buffer, ValueRange{at}, false,
                                         llvm::MaybeAlign(4));
        patch.push_back(select(exists, v, zero));
      }
      storePatch(patch, into, t, c);
    });
    return;
  }
  int64_t lanes = element.isF32() ? 4 : 8; // 16 bytes
  eachVector(value.getType(), lanes, firstRow, steps, [&](Value t, Value c, Value at) {
    storeWide(loadWide(buffer, at, lanes), into, add(rowOf(t), c));
  });
}

void StreamKernel::copyTile(Value value, Value row, Value count) {
  Type element = getElementTypeOrSelf(value.getType());
  int64_t bytes = element.getIntOrFloatBitWidth() / 8;
  auto pointer = [&](Value memref, Value at, unsigned space) -> Value {
    Value base = memref::ExtractAlignedPointerAsIndexOp::create(b, loc, memref);
    base = arith::IndexCastOp::create(b, loc, b.getI64Type(), base);
    auto type = LLVM::LLVMPointerType::get(b.getContext(), space);
    Value amount = arith::IndexCastOp::create(b, loc, b.getI64Type(), mul(at, index(bytes)));
    return LLVM::GEPOp::create(b, loc, type, b.getI8Type(),
                               Value(LLVM::IntToPtrOp::create(b, loc, type, base)),
                               ArrayRef<LLVM::GEPArg>{amount});
  };
  Value buffer = kernel.operandParameter(value), into = tiles.lookup(value);
  eachVector(value.getType(), 16 / bytes, row, count, [&](Value t, Value c, Value at) {
    NVVM::CpAsyncOp::create(b, loc, pointer(into, add(rowOf(t), c), 3), pointer(buffer, at, 1), 16,
                            NVVM::LoadCacheModifierKind::CG, Value());
  });
  NVVM::CpAsyncCommitGroupOp::create(b, loc);
}

void StreamKernel::storeTile(Value from, int64_t resultNumber, Type type) {
  Type element = getElementTypeOrSelf(type);
  Value buffer = kernel.resultParameter(resultNumber, element);
  if (liesByChannels(from)) {
    int64_t rowStride = rowStrideOf(widthOf(type), dtypeOf(element));
    auto eight = VectorType::get({8}, element);
    eachPatch([&](Value t, Value c) {
      SmallVector<Value> channels;
      for (int64_t i = 0; i < 2; ++i) {
        Value at = add(mul(add(c, index(i)), index(pitch)), t);
        channels.push_back(vector::LoadOp::create(b, loc, eight, from, ValueRange{at}, false,
                                                  llvm::MaybeAlign(16)));
      }
      for (int64_t i = 0; i < 8; ++i) {
        Value now = add(t, index(i));
        ifThen(less(now, steps), [&] {
          Value at = add(mul(add(firstRow, now), index(rowStride)), add(channel, c));
          Value both = vectorOf({this->element(channels[0], i), this->element(channels[1], i)});
          vector::StoreOp::create(b, loc, both, buffer, ValueRange{at}, false, llvm::MaybeAlign(4));
        });
      }
    });
    return;
  }
  int64_t lanes = element.isF32() ? 4 : 8;
  eachVector(type, lanes, firstRow, steps, [&](Value t, Value c, Value at) {
    storeWide(loadWide(from, add(rowOf(t), c), lanes), buffer, at);
  });
}

Value StreamKernel::vectorWeight(Value value, formats::Width columns) {
  KernelBuffer buffer;
  buffer.kind = "vector";
  buffer.sources = {kernel.operandNumber(value)};
  buffer.columns = columns;
  return kernel.parameter(buffer, f32);
}

Value StreamKernel::ownResult(Value value) {
  for (auto [i, yielded] : llvm::enumerate(kernel.group.getYield().getOperands()))
    if (yielded == value)
      return kernel.resultParameter(i, getElementTypeOrSelf(value.getType()));
  return {};
}

bool StreamKernel::isLastUse(Value value) const { return value.hasOneUse(); }

//===----------------------------------------------------------------------===//
// Frame
//===----------------------------------------------------------------------===//

static bool isActivation(Value value) {
  auto result = dyn_cast<OpResult>(value);
  auto sequence =
      result ? dyn_cast<mega::SequenceOpInterface>(result.getOwner()) : mega::SequenceOpInterface();
  return !sequence || !llvm::is_contained(sequence.getStateResults(), result);
}

LogicalResult StreamKernel::collectOps() {
  for (Operation &op : kernel.group.getBody(0)->without_terminator()) {
    if (isa<mega::TimestepNormOp, mega::TimestepNormSavingOp>(op))
      ops.push_back(emitTimestepNorm(&op, *this));
    else if (isa<mega::CemaOp, mega::CemaSavingOp>(op))
      ops.push_back(form == StreamForm::Blocks ? emitCemaBlocks(cast<mega::CemaOp>(op), *this)
                                               : emitCema(&op, *this));
    else if (auto scan = dyn_cast<mega::ScanOp>(op))
      ops.push_back(emitScan(scan, *this));
    else
      return op.emitOpError("has no streaming kernel");
  }
  return success();
}

bool StreamKernel::storeResults(size_t number) {
  Operation &op = *std::next(kernel.group.getBody(0)->begin(), number);
  bool inPlace = false;
  for (auto [i, yielded] : llvm::enumerate(kernel.group.getYield().getOperands()))
    if (yielded.getDefiningOp() == &op && isActivation(yielded)) {
      Value from = tiles.lookup(yielded);
      if (!from) // the op has written it
        continue;
      storeTile(from, i, yielded.getType());
      inPlace |= liesByChannels(from) ||
                 llvm::any_of(loaded, [&](Value value) { return tiles.lookup(value) == from; });
    }
  return inPlace;
}

LogicalResult StreamKernel::run(int64_t sharedBytes) {
  sharedLimit = sharedBytes;
  if (failed(collectOps()))
    return failure();
  auto grid = kernel.function.getBody().getOps<scf::ForallOp>();
  thread = (*(*grid.begin()).getBody()->getOps<mlir::gpu::ThreadIdOp>().begin()).getResult();
  allocas = OpBuilder(thread.getDefiningOp());
  sequence = (*grid.begin()).getInductionVars()[0];
  channelTile = (*grid.begin()).getInductionVars()[1];
  channel = mul(channelTile, index(tile));

  for (auto &op : ops)
    for (Value input : op->inputs())
      if (kernel.operandNumber(input) >= 0 && !tiles.count(input)) {
        loading = true;
        setTile(input, op->takesChannels() ? tileByChannels() : activationTile());
        loading = false;
        loaded.push_back(input);
      }

  SmallVector<Value> carried;
  SmallVector<std::pair<size_t, size_t>> own; // where an op's values stand in `carried`
  for (auto &op : ops) {
    size_t from = carried.size();
    if (failed(op->begin(carried)))
      return failure();
    own.push_back({from, carried.size() - from});
  }
  barrier();

  // In blocks, a norm leaves the tile that it is loaded to free for the next one.
  Value length = kernel.frame.length;
  bool ahead = form == StreamForm::Blocks && !ops.front()->takesChannels();
  if (ahead) {
    Value count = arith::MinUIOp::create(b, loc, length, index(timeTile));
    copyTile(loaded.front(), mul(sequence, length), count);
    // Patches run over the steps behind the end: let there be numbers, from now on.
    Value into = tileOf(loaded.front()), rest = sub(index(timeTile), count);
    auto eight = VectorType::get({8}, getElementTypeOrSelf(into.getType()));
    forThreads(
        mul(rest, index(tile / 8)),
        [&](Value i) {
          Value t = add(count, div(i, tile / 8)), c = mul(rem(i, tile / 8), index(8));
          Value zero = arith::ConstantOp::create(b, loc, b.getZeroAttr(eight));
          vector::StoreOp::create(b, loc, zero, into, ValueRange{add(rowOf(t), c)}, false,
                                  llvm::MaybeAlign(16));
        },
        /*rare=*/true);
  }

  auto times = scf::ForOp::create(b, loc, index(0), length, index(timeTile), carried);
  {
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(times.getBody());
    time = times.getInductionVar();
    steps = arith::MinUIOp::create(b, loc, sub(length, time), index(timeTile));
    firstRow = add(mul(sequence, length), time);
    if (ahead)
      NVVM::CpAsyncWaitGroupOp::create(b, loc, 0);
    else
      for (Value value : loaded)
        loadTile(value);
    barrier();
    SmallVector<Value> next(times.getRegionIterArgs());
    for (auto [i, op, range] : llvm::enumerate(ops, own)) {
      if (failed(op->emit(MutableArrayRef<Value>(next).slice(range.first, range.second))))
        return failure();
      if (ahead && i == 0) {
        Value left = sub(length, add(time, steps));
        copyTile(loaded.front(), add(firstRow, steps),
                 arith::MinUIOp::create(b, loc, left, index(timeTile)));
      }
      // What is being read here is written next: by an op in place, or by the next time tile.
      if (storeResults(i) && (form == StreamForm::Blocks || i + 1 == ops.size()))
        barrier();
    }
    if (!next.empty())
      scf::YieldOp::create(b, loc, next);
  }
  ValueRange last = times.getResults();
  for (auto [op, range] : llvm::zip(ops, own))
    op->end(SmallVector<Value>(last.slice(range.first, range.second)));

  int64_t used = sharedUsed + std::max(sharedOfBegin, sharedOfTile);
  if (used > sharedBytes)
    return kernel.group.emitOpError("expects a time_tile whose tiles fit the ")
           << sharedBytes << " bytes of shared memory of a block, but " << timeTile << " steps of "
           << tile << " channels take " << used << "; make time_tile smaller";
  return success();
}

int64_t gpuTimeTile(mega::GroupOp group, int64_t channelTile, const Chip &chip) {
  // Four bytes for a feature of every operand and result that may lie in a tile, and what the
  // norms keep for each step and group: five f32, two f64 and a count.
  int64_t perStep = 0, steps = 64;
  for (Operation &op : group.getBody(0)->without_terminator()) {
    perStep += 2 * 4 * (channelTile + 8);
    if (auto scan = dyn_cast<mega::ScanOp>(op))
      perStep += 4 * (channelTile + 8) * scan.getInputs().size();
    auto addNorm = [&](int64_t groups) {
      int64_t width = widthOf(op.getResult(0).getType()).inner;
      groups = std::min(groups, std::max<int64_t>(1, channelTile / (width / groups)));
      perStep += (5 * 4 + 2 * 8 + 4) * groups;
    };
    if (auto norm = dyn_cast<mega::TimestepNormOp>(op))
      addNorm(norm.getGroups());
    else if (auto norm = dyn_cast<mega::TimestepNormSavingOp>(op))
      addNorm(norm.getGroups());
    else if (isa<mega::CemaSavingOp>(op))
      steps = kMarkedSteps; // it saves at the start of a tile
  }
  while (steps > 1 && steps * perStep + 4096 > chip.sharedPerBlock)
    steps /= 2;
  return steps;
}

//===----------------------------------------------------------------------===//
// Which form
//===----------------------------------------------------------------------===//

/// Calls from so many steps on go by blocks: it takes as long to set their matrices up as to take
/// about a hundred steps one by one.
static constexpr int64_t kFromSteps = 128;

/// What a user asks of the group by `gk.recurrence`: "sequential", "blocks" or nothing.
static StringRef wantedForm(mega::GroupOp group) {
  auto wanted = group->getAttrOfType<StringAttr>("gk.recurrence");
  return wanted ? wanted.getValue() : StringRef();
}

/// True if the group of `kernel` has a form in blocks on `chip`.
static bool hasBlocks(mega::GroupOp group, const Chip &chip) {
  if (wantedForm(group) == "sequential")
    return false;
  SmallVector<Operation *> ops;
  for (Operation &op : group.getBody(0)->without_terminator())
    ops.push_back(&op);
  auto cema = dyn_cast<mega::CemaOp>(ops.back());
  int64_t tile = *group.getScheduleAttr().getChannelTile();
  if (!cema || !hasBlocks(cema) || threadsOf(group) != tile * 8 || !chip.asyncCopy)
    return false;
  for (Value value : {cema.getInput(), cema.getOutput()})
    if (!getElementTypeOrSelf(value.getType()).isBF16())
      return false;
  // Bytes for each step: two tiles, and what a norm keeps for each group. For each channel: taps,
  // a block of steps, and for each mode a state and powers of its decay.
  int64_t perStep = 2 * 2 * (tile + 8), rest = tile * (17 * 5 * 8 + 256) + 4096;
  if (ops.size() == 2) {
    auto norm = dyn_cast<mega::TimestepNormOp>(ops.front());
    if (!norm || cema.getInput() != norm.getOutput())
      return false;
    int64_t groupSize = channelsOf(group).inner / int64_t(norm.getGroups());
    if (groupSize % 2)
      return false; // a patch has two channels of one group
    perStep += std::max<int64_t>(1, tile / groupSize) * (5 * 4 + 2 * 8 + 4);
  }
  return ops.size() <= 2 && kBlocksTile * perStep + rest <= chip.sharedPerBlock;
}

FailureOr<func::FuncOp> emitGpuStreamKernel(mega::GroupOp group, ModuleOp module,
                                            const std::string &name, const Chip &chip) {
  if (int64_t threads = threadsOf(group); threads % 32 || threads > chip.threadsPerBlock)
    return group.emitOpError("expects threads to be a multiple of 32, at most ")
           << chip.threadsPerBlock << ", but got " << threads;
  if (StringRef form = wantedForm(group); !form.empty() && form != "sequential" && form != "blocks")
    return group.emitOpError("expects gk.recurrence to be \"sequential\" or \"blocks\", but got \"")
           << form << "\"";
  if (wantedForm(group) == "blocks" && !hasBlocks(group, chip))
    return group.emitOpError(
        "has no recurrence in blocks: that takes bf16, a cema of 8 or 16 modes "
        "alone or behind one timestep_norm, tiles of at most 64 channels and "
        "their shared memory; leave gk.recurrence away");
  KernelEmitter kernel(group, module, name, 0);
  OpBuilder &b = kernel.b;
  Location loc = kernel.loc;
  int64_t channelTiles = channelsOf(group).padded() / *group.getScheduleAttr().getChannelTile();
  auto grid = scf::ForallOp::create(
      b, loc, ArrayRef<OpFoldResult>{b.getIndexAttr(0), b.getIndexAttr(0)},
      ArrayRef<OpFoldResult>{kernel.frame.batch, b.getIndexAttr(channelTiles)},
      ArrayRef<OpFoldResult>{b.getIndexAttr(1), b.getIndexAttr(1)}, ValueRange{}, std::nullopt);
  b.setInsertionPointToStart(grid.getBody());
  mlir::gpu::ThreadIdOp::create(b, loc, mlir::gpu::Dimension::x);

  LogicalResult result = success();
  auto run = [&](StreamForm form) {
    if (failed(StreamKernel(kernel, form).run(chip.sharedPerBlock)))
      result = failure();
  };
  if (hasBlocks(group, chip)) {
    int64_t always = wantedForm(group) == "blocks" ? 0 : kFromSteps;
    Value from = arith::ConstantIndexOp::create(b, loc, always);
    Value many =
        arith::CmpIOp::create(b, loc, arith::CmpIPredicate::uge, kernel.frame.length, from);
    auto branch = scf::IfOp::create(b, loc, many, /*withElseRegion=*/true);
    b.setInsertionPointToStart(&branch.getThenRegion().front());
    run(StreamForm::Blocks);
    b.setInsertionPointToStart(&branch.getElseRegion().front());
    run(StreamForm::Steps);
  } else {
    run(StreamForm::Steps);
  }
  if (failed(result))
    return kernel.function.erase(), failure();
  b.setInsertionPointToEnd(&kernel.function.getBody().front());
  kernel.function->setAttr("gpu.threads", b.getI64IntegerAttr(threadsOf(group)));
  kernel.finish({{formats::Symbol::Batch, 1, 1}, {formats::Symbol::One, channelTiles, 1}});
  return kernel.function;
}

} // namespace otodus

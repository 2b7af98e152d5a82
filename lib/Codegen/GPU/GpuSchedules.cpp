//===- GpuSchedules.cpp - How every group is cut for a chip ----------------===//
//
// The decisions of the GPU code generator are made here and written on the groups; what follows obeys them.
//
//===----------------------------------------------------------------------===//

#include "Codegen/Common/Schedules.h"
#include "Kernels.h"
#include "ProductRoles.h"

#include "otodus/Codegen/GPU/Passes.h"

#include "mlir/Dialect/Arith/IR/Arith.h"

#include <cmath>

namespace otodus {
#define GEN_PASS_DEF_CHOOSEGPUSCHEDULE
#define GEN_PASS_DEF_BUILDGPUKERNELS
#include "otodus/Codegen/GPU/Passes.h.inc"
} // namespace otodus

using namespace mlir;
using otodus::mega::RowRole;

namespace otodus {
namespace {

/// Value columns of a block of attention: every share computes the scores again.
constexpr int64_t kAttentionColumns = 256;
/// The same for one row: one step has few blocks, and reading values takes longer than scores.
constexpr int64_t kOneRowColumns = 64;
/// The same where a cluster shares the keys out: scores are computed again by shares alone.
constexpr int64_t kClusterColumns = 128;
/// Blocks of a cluster that every chip with clusters runs.
constexpr int64_t kPortableCluster = 8;
constexpr int64_t kKeysOfWarp = 16;

/// Products of rows with a matrix: their operands are the rows and the matrix.
bool isProduct(Operation &op) { return isa<mega::LinearOp, mega::LinearInputGradientOp>(op); }
auto productsOf(mega::GroupOp group) {
  return llvm::make_filter_range(*group.getBody(0), isProduct);
}

bool isBF16(mega::GroupOp group) {
  for (Operation &product : productsOf(group))
    return getElementTypeOrSelf(product.getOperand(1).getType()).isBF16();
  return getElementTypeOrSelf(group.getResult(0).getType()).isBF16();
}

bool hasProduct(mega::GroupOp group) { return !productsOf(group).empty(); }

/// A product that reads its matrix across the terms: lanes that share out the terms, as products of
/// few rows have them, would read single elements.
bool readsAcross(mega::GroupOp group) {
  return !group.getBody(0)->getOps<mega::LinearInputGradientOp>().empty();
}

int64_t widthOfHead(mega::GroupOp group) {
  return widthOf(group.getResult(0).getType()).paddedInner();
}

/// The most threads, at most `limit`, that can share tiles of `rows` by each of `columns`; 0 if none can.
int64_t threadsFor(bool mma, int64_t rows, ArrayRef<int64_t> columns, int64_t limit) {
  for (int64_t threads = limit; threads >= gpu::kWarp; threads /= 2)
    if (llvm::all_of(columns, [&](int64_t n) {
          return mma ? gpu::fitsMma(rows, n, threads) : gpu::fitsFma(rows, n, threads);
        }))
      return threads;
  return 0;
}

/// True if all products of the group are terms of one sum, and so share an accumulator.
bool areSummed(mega::GroupOp group) {
  llvm::SmallPtrSet<Operation *, 8> common;
  bool first = true;
  for (Operation &product : productsOf(group)) {
    llvm::SmallPtrSet<Operation *, 8> chain;
    Value value = product.getResult(0);
    while (value.hasOneUse()) {
      auto add = dyn_cast<arith::AddFOp>(*value.getUsers().begin());
      if (!add)
        break;
      if (first || common.contains(add))
        chain.insert(add);
      value = add.getResult();
    }
    common = std::move(chain);
    first = false;
  }
  return !common.empty();
}

/// True if a product of the group takes another one's result.
bool multipliesProducts(mega::GroupOp group) {
  for (Operation &product : productsOf(group)) {
    llvm::SmallPtrSet<Operation *, 8> seen;
    SmallVector<Value> work(product.getOperands());
    while (!work.empty())
      if (Operation *source = work.pop_back_val().getDefiningOp();
          source && seen.insert(source).second) {
        if (isProduct(*source))
          return true;
        llvm::append_range(work, source->getOperands());
      }
  }
  return false;
}

/// Bytes of shared memory that the block of a variant takes: operands' tiles, or what lies there afterwards, and what has a
/// place of its own.
int64_t sharedBytesOf(mega::GroupOp group, mega::ScheduleAttr schedule, int64_t rows) {
  int64_t bytes = isBF16(group) ? 2 : 4;
  if (roleOf(group) == RowRole::Attention) {
    auto op = cast<mega::ChunkAttentionOp>(group.getBody(0)->front());
    int64_t dz = widthOf(op.getQuery().getType()).paddedInner(), columns = *schedule.getColumnBlock();
    int64_t keys = *schedule.getKTile(), warps = *schedule.getThreads() / gpu::kWarp;
    if (rows == 1)
      return 4 * (dz + int64_t(op.getChunk()) + warps * (columns + 2) + columns + 2);
    int64_t pad = 16 / bytes;
    int64_t tiles = bytes * ((rows + keys) * (dz + pad) + keys * (columns + pad) +
                             rows * (keys + pad)) +
                    4 * rows * gpu::accumulatorPitch(keys);
    return std::max(tiles, 4 * rows * gpu::accumulatorPitch(columns)) + 12 * rows;
  }
  int64_t ring = 0, sums = 0, own = 0;
  bool summed = areSummed(group);
  for (Operation &product : productsOf(group)) {
    int64_t terms = widthOf(product.getOperand(0).getType()).padded();
    int64_t columns = *schedule.getColumnBlock();
    int64_t c = 4 * rows * gpu::accumulatorPitch(columns);
    own += summed ? 0 : sums; // C of all products but the last
    if (rows <= gpu::kDotRows) {
      own += rows * terms * bytes;
      sums = c;
      continue;
    }
    // Swizzled tiles of TMA need no padding, but two barriers a stage and places of 1024 bytes.
    bool mapped = schedule.getCopies() && schedule.getCopies() == "tma";
    int64_t pitch = *schedule.getKTile() + (mapped ? 0 : 16 / bytes);
    ring = std::max(ring, *schedule.getStages() * (rows + columns) * pitch * bytes);
    sums = c;
  }
  // Values per row: sums and factors of norms in front and behind.
  return own + std::max(ring, sums) + 64 * rows;
}

/// The schedule of one row tile of a row-wise group: few rows take fewer columns and threads. With `shrink` it takes
/// fewer stages, then fewer columns, until the tiles fit the chip. Null if no number of threads suits.
mega::ScheduleAttr rowScheduleOf(mega::GroupOp group, int64_t rowTile, const Chip &chip,
                                 bool shrink = true);

/// What a row tile is predicted to take of the whole chip's time, for comparing the variants of a group (formats::Variant), in
/// units of 1 ps, below the format's 2^32: its blocks read their operands or compute, whichever takes longer.
int64_t tileCostOf(mega::GroupOp group, mega::ScheduleAttr schedule, int64_t rows, const Chip &chip) {
  // Every column block of a row tile reads its operands anew; what other blocks read as well comes
  // from the cache, so much faster than the memory is.
  constexpr double kCache = 3;
  bool bf16 = isBF16(group), mapped = schedule.getCopies() && schedule.getCopies() == "tma";
  // Parts of the nominal rate that the forms of a product reach: with few rows most instructions
  // load.
  double rate = rows <= gpu::kDotRows ? (bf16 ? 1.0 : 0.25) * chip.f32FlopsPerSecond
                : !bf16               ? (rows <= 16 ? 0.3 : 0.5) * chip.f32FlopsPerSecond
                                      : (mapped ? 0.8 : 0.5) * chip.bf16FlopsPerSecond;
  double columns = double(*schedule.getColumnBlock());
  double blocks = std::ceil(double(widthOf(group.getResult(0).getType()).padded()) / columns);
  double bytes = 0, flops = 0;
  for (Operation &product : productsOf(group)) {
    double terms = double(widthOf(product.getOperand(0).getType()).padded());
    bytes += (double(rows) + columns) * terms * (bf16 ? 2 : 4);
    flops += 2 * double(rows) * columns * terms;
  }
  // Row tiles run beside one another, so that it is the work of the whole chip that counts.
  double seconds = blocks * std::max(bytes / (kCache * chip.bytesPerSecond), flops / rate);
  // Of equals the runtime takes the larger tile; more rows never cost less.
  return int64_t(std::min(seconds * 1e12, 4e9)) + rows;
}

LogicalResult chooseAttention(mega::GroupOp group, const Chip &chip) {
  mega::ScheduleAttr given = group.getScheduleAttr();
  auto op = cast<mega::ChunkAttentionOp>(group.getBody(0)->front());
  int64_t width = widthOf(op.getOutput().getType()).paddedInner();
  bool bf16 = isBF16(group);
  DenseI64ArrayAttr tiles = given ? given.getRowTiles() : nullptr;
  auto or_ = [&](std::optional<int64_t> a, int64_t b) { return a ? *a : b; };
  int64_t columns = or_(given ? given.getColumnBlock() : std::nullopt,
                        shareOf(width, kAttentionColumns));
  int64_t threads = or_(given ? given.getThreads() : std::nullopt, 256);
  if (width % columns || columns % kLanes)
    return group.emitOpError("expects column_block to be a multiple of 32 that divides ")
           << width << ", but got " << columns;
  SmallVector<int64_t> wanted = tiles ? SmallVector<int64_t>(tiles.asArrayRef())
                                      : SmallVector<int64_t>{1, 16, bf16 ? 64 : 32};
  // One row: a cluster shares the keys out, as long as every warp has enough of them to make up for
  // two meetings of the cluster.
  std::optional<int64_t> cluster = given ? given.getCluster() : std::nullopt;
  if (cluster && (!chip.clusters || *cluster > kPortableCluster || kLanes % *cluster))
    return group.emitOpError("expects no cluster, or on chips that have clusters one of 1, 2, 4 or 8 "
                             "blocks, but got ")
           << *cluster << " on " << chip.name;
  if (!cluster && chip.clusters) {
    int64_t blocks = kPortableCluster;
    while (blocks > 1 && int64_t(op.getChunk()) < kKeysOfWarp * blocks * threads / gpu::kWarp)
      blocks /= 2;
    if (blocks > 1)
      cluster = blocks;
  }
  // Fewer keys at once where more do not fit.
  int64_t keys = or_(given ? given.getKTile() : std::nullopt, bf16 ? 64 : 32), most = 0;
  SmallVector<int64_t> kept;
  for (;; keys /= 2) {
    kept.clear();
    for (int64_t rows : wanted) {
      auto schedule = mega::ScheduleAttr::get(
          group.getContext(), DenseI64ArrayAttr::get(group.getContext(), wanted), std::nullopt,
          columns, std::nullopt, std::nullopt, keys, std::nullopt, threads, nullptr, cluster);
      int64_t bytes = sharedBytesOf(group, schedule, rows);
      most = std::max(most, bytes);
      if (bytes <= chip.sharedPerBlock)
        kept.push_back(rows);
    }
    if (kept.size() == wanted.size() || keys <= 32 || (given && given.getKTile()))
      break;
  }
  if (kept.empty() || (tiles && kept.size() != wanted.size()))
    return group.emitOpError("needs ")
           << most << " bytes of shared memory, but a block of " << chip.name << " has "
           << chip.sharedPerBlock << "; give its schedule a smaller column_block or k_tile";
  group.setScheduleAttr(mega::ScheduleAttr::get(
      group.getContext(), DenseI64ArrayAttr::get(group.getContext(), kept), std::nullopt, columns,
      std::nullopt, std::nullopt, keys, std::nullopt, threads, nullptr, cluster));
  return success();
}

LogicalResult chooseRows(mega::GroupOp group, const Chip &chip, StringAttr wantedCopies) {
  mega::ScheduleAttr given = group.getScheduleAttr();
  MLIRContext *context = group.getContext();
  bool bf16 = isBF16(group), products = hasProduct(group), whole = needsWholeRows(group);
  int64_t width = widthOfHead(group);
  auto field = [&](auto get, int64_t otherwise) {
    std::optional<int64_t> value = given ? get(given) : std::optional<int64_t>();
    return value ? *value : otherwise;
  };
  int64_t columns = field([](mega::ScheduleAttr s) { return s.getColumnBlock(); },
                          whole || !products ? width : shareOf(width, bf16 ? 128 : 64));
  int64_t terms = kLanes;
  if (bf16 && llvm::all_of(productsOf(group), [](Operation &op) {
        return widthOf(op.getOperand(0).getType()).padded() % 64 == 0;
      }))
    terms = 64;
  terms = field([](mega::ScheduleAttr s) { return s.getKTile(); }, terms);
  DenseI64ArrayAttr tiles = given ? given.getRowTiles() : nullptr;
  SmallVector<int64_t> wanted, kept;
  if (tiles)
    wanted.assign(tiles.asArrayRef().begin(), tiles.asArrayRef().end());
  else if (products && readsAcross(group))
    wanted = {16, 64};
  else if (products)
    wanted = {1, 4, 16, bf16 && !whole ? 128 : 64};
  else
    wanted = {4};
  StringAttr copies = given ? given.getCopies() : nullptr;
  bool canMap = bf16 && products && chip.tma && chip.matrixUnit == MatrixUnit::WarpGroup &&
                (terms == 32 || terms == 64) && !multipliesProducts(group) &&
                !readsAcross(group) &&
                llvm::any_of(wanted, [&](int64_t rows) {
                  return gpu::fitsWgmma(rows, columns, gpu::kProducers);
                });
  if (copies && copies == "tma" && !canMap)
    return group.emitOpError("expects no copies = \"tma\" on ")
           << chip.name << ": that takes a chip with tensor maps and products of warpgroups, bf16, "
           << "row tiles of 64 rows and more, k_tile 32 or 64, "
           << "and no product of a product or with a matrix read across";
  if (!copies && canMap)
    copies = wantedCopies;
  int64_t stages = field([](mega::ScheduleAttr s) { return s.getStages(); },
                         copies && copies == "tma" ? 6 : 3);
  int64_t threads =
      field([](mega::ScheduleAttr s) { return s.getThreads(); }, products ? 256 : 128);
  if (columns % kLanes || width % columns)
    return group.emitOpError("expects column_block to be a multiple of 32 that divides ")
           << width << ", but got " << columns;
  if (whole && columns != width)
    return group.emitOpError("expects column_block to be the whole width of ")
           << width << ", since a norm or rotation follows a product, but got " << columns;

  int64_t most = 0;
  auto schedule = [&](ArrayRef<int64_t> rows) {
    // A block takes one row tile, whatever its size.
    return mega::ScheduleAttr::get(context, DenseI64ArrayAttr::get(context, rows), 1, columns,
                                   std::nullopt, std::nullopt, terms, stages, threads, copies,
                                   std::nullopt);
  };
  group.setScheduleAttr(schedule(wanted));
  for (int64_t rows : wanted) {
    if (rows <= gpu::kDotRows && readsAcross(group))
      return group.emitOpError("expects row_tiles of more than ")
             << gpu::kDotRows << " rows, since linear_input_gradient reads its matrix across the "
             << "terms, but got " << rows;
    mega::ScheduleAttr own = rowScheduleOf(group, rows, chip);
    if (!own)
      return group.emitOpError("cannot share tiles of ")
             << rows << " rows and " << columns
             << " columns among warps; change row_tiles or column_block of its schedule";
    // What is written stays: fewer stages or columns are for us to take, not for whoever wrote them.
    int64_t bytes = sharedBytesOf(group, own, rows);
    if (rows > gpu::kDotRows && given &&
        ((given.getStages() && *own.getStages() != stages) ||
         (given.getColumnBlock() && rows > 16 && *own.getColumnBlock() != columns)))
      bytes = sharedBytesOf(group, rowScheduleOf(group, rows, chip, /*shrink=*/false), rows);
    most = std::max(most, bytes);
    if (bytes <= chip.sharedPerBlock)
      kept.push_back(rows);
  }
  if (kept.empty() || (tiles && kept.size() != wanted.size()))
    return group.emitOpError("needs ")
           << most << " bytes of shared memory, but a block of " << chip.name << " has "
           << chip.sharedPerBlock
           << "; give its schedule smaller row_tiles, column_block, k_tile or stages";
  group.setScheduleAttr(schedule(kept));
  return success();
}

LogicalResult chooseStream(mega::GroupOp group, const Chip &chip) {
  mega::ScheduleAttr given = group.getScheduleAttr();
  int64_t legal = legalChannelTile(group);
  int64_t channels = given && given.getChannelTile() ? *given.getChannelTile() : legal;
  if (channels % legal || channelWidth(group) % channels)
    return group.emitOpError("expects channel_tile to be a multiple of ")
           << legal << " that divides " << channelWidth(group) << ", but got " << channels;
  int64_t steps = given && given.getTimeTile() ? *given.getTimeTile()
                                               : gpuTimeTile(group, channels, chip);
  group.setScheduleAttr(mega::ScheduleAttr::get(
      group.getContext(), nullptr, std::nullopt, std::nullopt, steps, channels, std::nullopt,
      std::nullopt, given ? given.getThreads() : std::nullopt, nullptr,
      std::nullopt));
  return success();
}

struct ChooseGpuSchedule : impl::ChooseGpuScheduleBase<ChooseGpuSchedule> {
  using ChooseGpuScheduleBase::ChooseGpuScheduleBase;

  void runOnOperation() override {
    Result<Chip> chip = chipFor(target);
    if (!chip.isOk()) {
      getOperation()->emitError(chip.status().message());
      return signalPassFailure();
    }
    if (!copies.empty() && copies != "tma" && copies != "async") {
      getOperation()->emitError("expects the option copies to be tma or async, but got '")
          << copies << "'";
      return signalPassFailure();
    }
    getOperation()->walk([&](mega::GroupOp group) {
      if (failed(choose(group, *chip)))
        signalPassFailure();
    });
  }

  LogicalResult choose(mega::GroupOp group, const Chip &chip) {
    if (failed(verifyComputes(group)))
      return failure();
    switch (roleOf(group)) {
    case RowRole::Gather:
      return success(); // nothing to decide
    case RowRole::Accumulation:
      return chooseGpuAccumulation(group, chip);
    case RowRole::Stream:
      return chooseStream(group, chip);
    case RowRole::Attention:
      return chooseAttention(group, chip);
    default:
      return chooseRows(group, chip, StringAttr::get(&getContext(), copies.empty() ? "tma" : StringRef(copies)));
    }
  }
};

struct BuildGpuKernels : impl::BuildGpuKernelsBase<BuildGpuKernels> {
  using BuildGpuKernelsBase::BuildGpuKernelsBase;

  void runOnOperation() override {
    Result<Chip> chip = chipFor(target);
    if (!chip.isOk()) {
      getOperation()->emitError(chip.status().message());
      return signalPassFailure();
    }
    KernelEmitters emitters;
    emitters.matrices = MatrixLayout::Table;
    emitters.stream = [&](mega::GroupOp group, ModuleOp module, const std::string &name) {
      return emitGpuStreamKernel(group, module, name, *chip);
    };
    emitters.gather = emitGpuGatherKernel;
    emitters.attention = emitGpuAttentionKernel;
    emitters.accumulation = [&](mega::GroupOp group, ModuleOp module, const std::string &name) {
      return emitGpuAccumulationKernel(group, module, name, *chip);
    };
    if (failed(buildKernels(getOperation(), emitters)))
      return signalPassFailure();
    // Variants differ in more than their rows.
    SymbolTable symbols(getOperation());
    getOperation().walk([&](mega::GroupOp group) {
      if (auto kernels = group->getAttrOfType<ArrayAttr>("mega.kernels"))
        for (auto name : kernels.getAsRange<FlatSymbolRefAttr>())
          if (auto function = symbols.lookup<func::FuncOp>(name.getValue());
              function && function->hasAttr("mega.row_kernel")) {
            int64_t rows = function->getAttrOfType<IntegerAttr>("mega.row_tile").getInt();
            mega::ScheduleAttr own = rowScheduleOf(group, rows, *chip);
            function->setAttr("mega.schedule", own);
            if (hasProduct(group))
              function->setAttr("mega.tile_cost",
                                Builder(&getContext())
                                    .getI64IntegerAttr(tileCostOf(group, own, rows, *chip)));
          }
    });
  }
};

} // namespace

mega::ScheduleAttr gpuScheduleOf(mega::GroupOp group, int64_t rowTile) {
  mega::ScheduleAttr all = group.getScheduleAttr();
  int64_t columns = *all.getColumnBlock(), threads = *all.getThreads();
  if (rowTile > 1)
    threads = threadsFor(isBF16(group), rowTile, {columns, *all.getKTile()}, threads);
  else
    columns = shareOf(columns, all.getCluster() ? kClusterColumns : kOneRowColumns);
  if (!threads)
    return mega::ScheduleAttr();
  auto own = DenseI64ArrayAttr::get(group.getContext(), {rowTile});
  return mega::ScheduleAttr::get(group.getContext(), own, rowTile, columns, std::nullopt,
                                 std::nullopt, all.getKTile(), std::nullopt, threads, nullptr,
                                 rowTile == 1 ? all.getCluster() : std::nullopt);
}

namespace {

mega::ScheduleAttr rowScheduleOf(mega::GroupOp group, int64_t rowTile, const Chip &chip,
                                 bool shrink) {
  mega::ScheduleAttr all = group.getScheduleAttr();
  MLIRContext *context = group.getContext();
  auto own = DenseI64ArrayAttr::get(context, {rowTile});
  int64_t columns = *all.getColumnBlock(), stages = *all.getStages();
  bool bf16 = isBF16(group), whole = needsWholeRows(group);
  auto make = [&]() -> mega::ScheduleAttr {
    int64_t threads = *all.getThreads();
    StringAttr copies;
    if (hasProduct(group)) {
      if (rowTile > gpu::kDotRows && rowTile <= 16)
        threads = std::min<int64_t>(threads, 128);
      // Whole warpgroups that multiply, and one more that copies.
      if (all.getCopies() && all.getCopies() == "tma")
        for (int64_t consumers = threads; consumers >= gpu::kProducers; consumers /= 2)
          if (rowTile > 16 && gpu::fitsWgmma(rowTile, columns, consumers)) {
            threads = consumers + gpu::kProducers;
            copies = all.getCopies();
            break;
          }
      if (rowTile > gpu::kDotRows && !copies)
        threads = threadsFor(bf16, rowTile, columns, threads);
    }
    if (!threads)
      return mega::ScheduleAttr();
    return mega::ScheduleAttr::get(context, own, rowTile, columns, std::nullopt, std::nullopt,
                                   all.getKTile(), stages, threads, copies, std::nullopt);
  };
  if (hasProduct(group) && !whole && rowTile <= 16) {
    // With few rows there are few blocks: more, narrower ones read B together.
    int64_t width = widthOfHead(group);
    columns = shareOf(columns, 64);
    if (width / columns < chip.multiprocessors)
      columns = shareOf(columns, kLanes);
  }
  mega::ScheduleAttr schedule = make();
  auto fits = [&] {
    return !shrink || !schedule || !hasProduct(group) ||
           sharedBytesOf(group, schedule, rowTile) <= chip.sharedPerBlock;
  };
  // Two stages still overlap copies and products; half the columns read A twice.
  for (; !fits() && rowTile > gpu::kDotRows && stages > 2; schedule = make())
    --stages;
  for (; !fits() && rowTile > gpu::kDotRows && !whole && columns > 2 * kLanes; schedule = make()) {
    int64_t fewer = shareOf(columns, columns / 2);
    stages = *all.getStages();
    columns = fewer;
    for (schedule = make(); !fits() && stages > 2; schedule = make())
      --stages;
  }
  return schedule;
}

} // namespace

} // namespace otodus

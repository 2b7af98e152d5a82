//===- StreamKernel.h - Ops that walk time, fused in a thread block --------===//
//
// Private to lib/Codegen. The counterpart of Common/StreamEmitter.h: a work item is one sequence
// and one tile of channels, walked by the threads of a block in tiles of time. Between the ops of
// a group lie tiles [steps, channels] of f32 in shared memory:
//
//   begin of every op: what it carries comes from its state
//   for every time tile
//     load what comes from outside; barrier
//     emit of every op: tile to tile, each phase closed by a barrier
//     store what leaves the group
//   end of every op: what it carries goes back
//
// What an op carries from one time tile to the next are values of the loop over time: registers
// of the thread that will need them.
//
// There are two forms. In steps, the tiles between ops are f32 and recurrences go step by step. In
// blocks (bf16 models, calls of many steps), they are bf16, and tensor cores take 16 steps at a
// time; what a recurrence reads and writes lies by channels there, so that the steps of a channel
// are neighbours. A kernel may have both and choose by the length of the call.
//
//===----------------------------------------------------------------------===//

#pragma once

#include "Codegen/Common/StreamEmitter.h"

namespace otodus {

/// Ops of SIMT code in a few letters, on top of the ones that CPU code uses.
struct LaneBuilder : StreamBuilder {
  using StreamBuilder::StreamBuilder;

  mlir::Value i32(int64_t v);
  mlir::Value f32Constant(double v);
  mlir::Value sub(mlir::Value x, mlir::Value y);
  /// x / y and x mod y of unsigned numbers; powers of two become shifts in LLVM.
  mlir::Value div(mlir::Value x, int64_t y);
  mlir::Value rem(mlir::Value x, int64_t y);
  mlir::Value less(mlir::Value x, mlir::Value y);
  mlir::Value equal(mlir::Value x, mlir::Value y);
  mlir::Value select(mlir::Value condition, mlir::Value x, mlir::Value y);
  mlir::Value addf(mlir::Value x, mlir::Value y);
  mlir::Value subf(mlir::Value x, mlir::Value y);
  mlir::Value mulf(mlir::Value x, mlir::Value y);
  mlir::Value fma(mlir::Value x, mlir::Value y, mlir::Value z);
  mlir::Value toF64(mlir::Value x);
  mlir::Value toF32(mlir::Value x);

  /// One element, as it is.
  mlir::Value load(mlir::Value buffer, mlir::Value at);
  void store(mlir::Value v, mlir::Value buffer, mlir::Value at);
  /// `lanes` elements as f32 from `at` on, which is a multiple of `lanes` elements in a buffer
  /// aligned to as many; and back. One lane is a scalar.
  mlir::Value loadWide(mlir::Value buffer, mlir::Value at, int64_t lanes);
  void storeWide(mlir::Value v, mlir::Value buffer, mlir::Value at);
  /// `v` for as many lanes.
  mlir::Value spread(mlir::Value v, int64_t lanes);

  void barrier();
  void ifThen(mlir::Value condition, llvm::function_ref<void()> body);
  /// The value of the lane whose number differs by `mask`; f32, f64 and i32.
  mlir::Value shuffleXor(mlir::Value v, int64_t mask);
  /// The value of the lane `distance` below; anything in the first lanes.
  mlir::Value shuffleUp(mlir::Value v, int64_t distance);
  /// What the lanes of a warp wrote to shared memory is seen by them.
  void warpBarrier();
  mlir::Value element(mlir::Value vector, int64_t i);
  mlir::Value vectorOf(mlir::ValueRange elements);
  /// `v`, 32 bits or an index that fits, computed here. LLVM moves arithmetic out of loops and to
  /// where its results are used, which may keep too much alive at once; it does not move exchanges
  /// between lanes.
  mlir::Value pin(mlir::Value v);

private:
  mlir::Value shuffle(mlir::Value v, int64_t offset, bool up);
};

class StreamKernelOp;

enum class StreamForm { Steps, Blocks };

/// Steps of the two forms' time tiles; sixteen blocks of sixteen steps.
inline constexpr int64_t kBlocksTile = 256;

/// The loops around the ops of one group, and the tiles between them.
class StreamKernel : public LaneBuilder {
public:
  StreamKernel(KernelEmitter &kernel, StreamForm form);

  /// Writes the work of a block. `sharedBytes`: shared memory that a block may have.
  mlir::LogicalResult run(int64_t sharedBytes);
  int64_t sharedLimit = 0; ///< what `run` was given

  /// `elements` of shared memory, flat, 16-byte aligned; it lives as long as the block, or only
  /// through all ops' `begin`, while no tile is alive.
  mlir::Value shared(int64_t elements, mlir::Type element, bool onlyBegin = false);
  /// A tile [time tile][stride] in shared memory, f32 or, in blocks, bf16.
  mlir::Value activationTile();
  /// A tile [tile][pitch] of bf16 in shared memory, the steps of a channel side by side.
  mlir::Value tileByChannels();
  bool liesByChannels(mlir::Value tile) const { return byChannels.contains(tile); }
  /// Runs `body(t, c)` for all patches of steps t to t + 7 and channels c, c + 1 of the time tile,
  /// the steps behind its end included.
  void eachPatch(llvm::function_ref<void(mlir::Value, mlir::Value)> body);
  /// Stores a patch, eight times bf16 [2], in a tile by channels.
  void storePatch(mlir::ArrayRef<mlir::Value> patch, mlir::Value tile, mlir::Value t,
                  mlir::Value c);
  /// The tile that holds `value`, an activation of the group's width.
  mlir::Value tileOf(mlir::Value value) const { return tiles.lookup(value); }
  void setTile(mlir::Value value, mlir::Value tile) { tiles[value] = tile; }
  /// True if nobody but its only reader needs the tile of `value`, so that the reader may write
  /// its result there.
  bool isLastUse(mlir::Value value) const;
  /// Offset of step `t` in a tile.
  mlir::Value rowOf(mlir::Value t) { return mul(t, index(stride)); }
  /// Runs `body` for 0 <= i < count, shared out over the threads of the block. `rare`: what only
  /// the number of the thread decides is computed here, not kept in registers throughout the call.
  void forThreads(mlir::Value count, llvm::function_ref<void(mlir::Value)> body, bool rare = false);
  /// Parameter for a result that the op writes itself; null if nobody outside the group reads it.
  mlir::Value ownResult(mlir::Value value);
  /// Parameter for a weight of `columns` elements, as f32.
  mlir::Value vectorWeight(mlir::Value value, formats::Width columns);

  KernelEmitter &kernel;
  StreamForm form;
  formats::Width width;    ///< of the activations
  int64_t timeTile = 0;    ///< steps from one tile to the next
  int64_t tile = 0;        ///< channels of a work item, padding included
  int64_t stride = 0;      ///< elements from one step of a tile to the next
  int64_t pitch = 0;       ///< elements from one channel of a tile by channels to the next
  int64_t threads = 0;     ///< of a block
  mlir::Value thread;      ///< number of this one
  mlir::Value sequence;    ///< number of the sequence
  mlir::Value channelTile; ///< number of the tile of channels
  mlir::Value channel;     ///< first channel of the tile
  // Inside `emit`:
  mlir::Value steps;    ///< steps of this time tile, <= timeTile
  mlir::Value firstRow; ///< row of its first step in row buffers
  mlir::Value time;     ///< that step's number

private:
  mlir::LogicalResult collectOps();
  void loadTile(mlir::Value value);
  /// Starts to copy `count` rows from `row` on to the tile of `value`, 16 bytes at a time.
  void copyTile(mlir::Value value, mlir::Value row, mlir::Value count);
  void storeTile(mlir::Value from, int64_t resultNumber, mlir::Type type);
  /// Stores what leaves the group of op `number`'s results. True if one of them lies where inputs
  /// are loaded to.
  bool storeResults(size_t number);
  /// Runs `body(t, channel of the tile, its element in a row buffer of `type`)` for all vectors of
  /// `lanes` channels of `count` rows from `row` on.
  void eachVector(mlir::Type type, int64_t lanes, mlir::Value row, mlir::Value count,
                  llvm::function_ref<void(mlir::Value, mlir::Value, mlir::Value)> body);

  llvm::SmallVector<std::unique_ptr<StreamKernelOp>> ops;
  mlir::OpBuilder allocas{static_cast<mlir::MLIRContext *>(nullptr)};
  int64_t sharedUsed = 0, sharedOfBegin = 0, sharedOfTile = 0; ///< bytes
  bool loading = false;                  ///< tiles are made for what comes from outside
  llvm::SmallVector<mlir::Value> loaded; ///< from outside
  llvm::DenseMap<mlir::Value, mlir::Value> tiles;
  llvm::DenseSet<mlir::Value> byChannels; ///< tiles
};

/// One op of the group. Values that it carries from one time tile to the next are appended by
/// `begin`, come back to `emit`, which replaces them, and arrive in `end`.
class StreamKernelOp : protected LaneBuilder {
public:
  virtual ~StreamKernelOp() = default;
  /// Activations that are read as tiles.
  virtual llvm::SmallVector<mlir::Value> inputs() = 0;
  /// Whether those lie by channels.
  virtual bool takesChannels() const { return false; }
  virtual mlir::LogicalResult begin(llvm::SmallVectorImpl<mlir::Value> &carried) = 0;
  /// Ends with a barrier: the tiles that it wrote may be read.
  virtual mlir::LogicalResult emit(llvm::MutableArrayRef<mlir::Value> carried) = 0;
  virtual void end(llvm::ArrayRef<mlir::Value> carried) = 0;

protected:
  explicit StreamKernelOp(StreamKernel &frame) : LaneBuilder(frame.b, frame.loc), frame(frame) {}

  StreamKernel &frame;
};

/// Also for the forms that save what the backward step reads.
std::unique_ptr<StreamKernelOp> emitTimestepNorm(mlir::Operation *op, StreamKernel &frame);
std::unique_ptr<StreamKernelOp> emitCema(mlir::Operation *op, StreamKernel &frame);
std::unique_ptr<StreamKernelOp> emitCemaBlocks(mega::CemaOp op, StreamKernel &frame);
std::unique_ptr<StreamKernelOp> emitScan(mega::ScanOp op, StreamKernel &frame);

/// Modes that the block form has registers for.
bool hasBlocks(mega::CemaOp op);

} // namespace otodus

//===- StreamEmitter.h - Ops that walk time, fused along it ----------------===//
//
// Private to lib/Codegen. A work item of a stream kernel is one sequence and one tile of
// channels. It walks time in tiles; within a time tile each op of the group runs over scratch
// tiles [steps, channels] in f32, so that what one op hands to the next never leaves the L1
// cache:
//
//   begin of every op: what it carries comes from its state
//   for every time tile
//     emit of every op: scratch tiles to scratch tiles
//     store what leaves the group
//   end of every op: what it carries goes back
//
// Lanes are channels. EmitStream.cpp has the frame, EmitTimestepNorm.cpp and EmitScan.cpp the
// ops.
//
//===----------------------------------------------------------------------===//

#pragma once

#include "KernelEmitter.h"

#include "mlir/Dialect/SCF/IR/SCF.h"

#include <memory>

namespace otodus {

/// Lanes of a vector.
inline constexpr int64_t kVector = 16;

/// Ops of the upstream dialects in a few letters; all at `b`'s insertion point.
struct StreamBuilder {
  explicit StreamBuilder(mlir::OpBuilder &b, mlir::Location loc)
      : b(b), loc(loc), f32(b.getF32Type()), f64(b.getF64Type()) {}

  mlir::Value index(int64_t v);
  mlir::Value add(mlir::Value x, mlir::Value y);
  mlir::Value mul(mlir::Value x, mlir::Value y);
  mlir::Value f64Constant(double v);
  void forLoop(mlir::Value from, mlir::Value to, mlir::Value step,
               llvm::function_ref<void(mlir::Value)> body);
  /// `count` iterations, unrolled when few.
  void eachOf(int64_t count, llvm::function_ref<void(mlir::Value)> body);
  /// `lanes` elements of a memref<?xf32 or bf16> from `at` on, as f32; and back.
  mlir::Value loadF32(mlir::Value buffer, mlir::Value at, int64_t lanes);
  void storeFromF32(mlir::Value v, mlir::Value buffer, mlir::Value at);
  mlir::Value splat(mlir::Value scalar, int64_t lanes);

  mlir::OpBuilder &b;
  mlir::Location loc;
  mlir::Type f32, f64;
};

/// The loops around the ops of one group, and the scratch tiles between them.
class StreamFrame : public StreamBuilder {
public:
  explicit StreamFrame(KernelEmitter &kernel)
      : StreamBuilder(kernel.b, kernel.loc), kernel(kernel) {}

  mlir::LogicalResult run();

  /// Scratch of `elements`, flat, 64-byte aligned; it lives as long as the work item.
  mlir::Value scratch(int64_t elements, mlir::Type element, bool zeroed = false);
  /// A scratch tile [timeTile][tile] of f32. Zeroed once where channels are padded, so that
  /// padding stays finite.
  mlir::Value activationTile();
  /// The scratch tile that holds `value`, an activation of the group's width, loaded from its
  /// buffer on first use.
  mlir::Value tileOf(mlir::Value value);
  void setTile(mlir::Value value, mlir::Value tile) { tiles[value] = tile; }
  /// Parameter for a result that the op writes itself; null if nobody outside the group reads it.
  mlir::Value ownResult(mlir::Value value);
  /// Parameter for a weight of `columns` elements, as f32.
  mlir::Value vectorWeight(mlir::Value value, formats::Width columns);

  KernelEmitter &kernel;
  formats::Width width; ///< of the activations
  int64_t timeTile = 0; ///< steps from one tile to the next
  int64_t tile = 0;     ///< channels of a work item, padding included
  mlir::Value sequence; ///< number of the sequence
  mlir::Value channel;  ///< first channel of the tile
  // Inside `emit`:
  mlir::Value steps;    ///< steps of this time tile, <= timeTile
  mlir::Value firstRow; ///< row of its first step in row buffers
  mlir::Value time;     ///< that step's number

private:
  mlir::Value rowOffset(mlir::Value t, mlir::Type type);
  void store(mlir::Value from, int64_t resultNumber, mlir::Type type);

  mlir::OpBuilder allocas{static_cast<mlir::MLIRContext *>(nullptr)};
  llvm::DenseMap<mlir::Value, mlir::Value> tiles;
  llvm::DenseSet<mlir::Value> written; ///< results that ops write themselves
};

/// One op of the group. `begin` is called before the loop over time, `emit` inside it, `end`
/// after it.
class StreamOpEmitter : protected StreamBuilder {
public:
  virtual ~StreamOpEmitter() = default;
  virtual mlir::LogicalResult begin() { return mlir::success(); }
  virtual mlir::LogicalResult emit() = 0;
  virtual void end() {}

protected:
  explicit StreamOpEmitter(StreamFrame &frame) : StreamBuilder(frame.b, frame.loc), frame(frame) {}

  StreamFrame &frame;
};

/// Steps from one state that mega.cema_saving keeps to the next.
inline constexpr int64_t kMarkedSteps = 32;

/// Also for the forms that save what the backward step reads.
std::unique_ptr<StreamOpEmitter> emitTimestepNorm(mlir::Operation *op, StreamFrame &frame);
std::unique_ptr<StreamOpEmitter> emitCema(mlir::Operation *op, StreamFrame &frame);
std::unique_ptr<StreamOpEmitter> emitScan(mega::ScanOp op, StreamFrame &frame);

} // namespace otodus

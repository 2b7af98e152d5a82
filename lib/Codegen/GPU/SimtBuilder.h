//===- SimtBuilder.h - What one thread of a block does, in a few letters ---===//
//
// Private to lib/Codegen/GPU. Builds the SIMT form of the GPU stage (docs/Gpu.md) at the insertion point of
// an OpBuilder that is passed around by reference.
//
//===----------------------------------------------------------------------===//

#pragma once

#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/IR/Builders.h"

namespace otodus::gpu {

inline constexpr int64_t kWarp = 32;

/// Elements of f32 or bf16 in the 16 bytes that a thread moves at once.
inline int64_t elementsOf16Bytes(mlir::Type element) {
  return 128 / element.getIntOrFloatBitWidth();
}

class SimtBuilder {
public:
  SimtBuilder(mlir::OpBuilder &b, mlir::Location loc);

  // Arithmetic on index values; constants fold where both are known.
  mlir::Value index(int64_t v);
  mlir::Value add(mlir::Value x, mlir::Value y);
  mlir::Value add(mlir::Value x, int64_t y);
  mlir::Value sub(mlir::Value x, mlir::Value y);
  mlir::Value mul(mlir::Value x, int64_t y);
  mlir::Value mul(mlir::Value x, mlir::Value y);
  mlir::Value div(mlir::Value x, int64_t y);
  mlir::Value rem(mlir::Value x, int64_t y);
  mlir::Value min(mlir::Value x, mlir::Value y);
  mlir::Value less(mlir::Value x, mlir::Value y);
  mlir::Value equal(mlir::Value x, mlir::Value y);
  mlir::Value select(mlir::Value condition, mlir::Value x, mlir::Value y);
  mlir::Value i32(mlir::Value index);
  mlir::Value i32(int64_t v);
  mlir::Value f32(double v);

  /// Thread, warp and lane of the team; the block's are made once, in front of the first use's block.
  mlir::Value thread() { return team_.thread; }
  mlir::Value warp() { return team_.warp; }
  mlir::Value lane() { return team_.lane; }
  /// Makes them here: call once, at the start of the block's body.
  void begin();

  /// Threads that work together: those of the block, until `work` says otherwise.
  struct Team {
    mlir::Value thread, warp, lane; ///< of the team
    mlir::Value barrierId, count;   ///< of the named barrier; null: the block's
  };
  const Team &team() const { return team_; }
  /// From here on ids and barriers are those of `team`.
  void work(const Team &team) { team_ = team; }
  /// `count` threads of the block from `first` on, with a named barrier from 1 to 15 of their own. Whole warps.
  Team teamOf(int64_t first, int64_t count, int64_t barrierId);

  /// A barrier of the team.
  void barrier();
  /// Orders what the lanes of a warp do with memory.
  void warpBarrier();
  /// The value of lane `lane ^ mask`, f32 or i32; all lanes of the warp take part.
  mlir::Value shuffleXor(mlir::Value v, int64_t mask);
  /// `v`, an index that is the same in all lanes, as a value that the back end knows to be so.
  mlir::Value uniform(mlir::Value v);
  /// What this thread has written to shared memory becomes visible to wgmma and TMA, after the next barrier
  /// to those of other threads.
  void fenceAsyncProxy();
  /// Sum (or what `combine` does) over the lanes of a warp, in fixed order; every lane has it.
  mlir::Value overLanes(mlir::Value v,
                        llvm::function_ref<mlir::Value(mlir::Value, mlir::Value)> combine);

  /// Shared memory of `elements`. `overlay`: allocations with the same string never live together
  /// with those of other strings, and share their memory; empty for memory of one's own.
  mlir::Value shared(int64_t elements, mlir::Type element, llvm::StringRef overlay = "",
                     int64_t alignment = 16);

  /// `for i = from; i < to; i += step`; unrolled if that is at most `unroll` iterations of constants.
  void loop(mlir::Value from, mlir::Value to, mlir::Value step,
            llvm::function_ref<void(mlir::Value)> body);
  void when(mlir::Value condition, llvm::function_ref<void()> body);

  /// `count` consecutive elements from `at` on of a flat memref, as a vector, or a scalar for
  /// count 1; `at` is a multiple of `count`, and so is the memory aligned.
  mlir::Value load(mlir::Value memref, mlir::Value at, int64_t count, bool asVector);
  void store(mlir::Value v, mlir::Value memref, mlir::Value at);

  /// Address of element `at` of a flat memref in shared or global memory.
  mlir::Value sharedPointer(mlir::Value memref, mlir::Value at);
  mlir::Value globalPointer(mlir::Value memref, mlir::Value at);
  /// `pointer` + `bytes`.
  mlir::Value offset(mlir::Value pointer, int64_t bytes);
  mlir::Value offset(mlir::Value pointer, mlir::Value bytes);

  mlir::OpBuilder &b;
  mlir::Location loc;

private:
  mlir::Value pointer(mlir::Value memref, mlir::Value at, unsigned space);
  mlir::Operation *start_ = nullptr; ///< of the block's body
  Team team_;
};

} // namespace otodus::gpu

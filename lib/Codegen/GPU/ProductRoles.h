//===- ProductRoles.h - Products by warps with roles -----------------------===//
//
// Private to lib/Codegen/GPU. The first warpgroup of the block brings operands to a ring of tiles in
// shared memory, by TMA, or by computing them where something stands in front of the product; the
// others multiply (docs/Gpu.md).
//
//===----------------------------------------------------------------------===//

#pragma once

#include "TensorMaps.h"

namespace otodus::gpu {

/// Threads of the block that bring operands in.
inline constexpr int64_t kProducers = 4 * kWarp;

/// Registers of a thread after setmaxnreg; 0: as many as the kernel starts with.
struct RoleRegisters {
  int64_t producers = 0, consumers = 0;
};

class ProductRoles {
public:
  /// `threads` of the block, of which the first kProducers bring `products` in, in this order. `limit`: rows of A
  /// that exist, at least 1. Null where B of one of them is no matrix for a tensor map.
  static std::unique_ptr<ProductRoles> make(llvm::ArrayRef<ProductTile> products, int64_t threads,
                                            int64_t termTile, int64_t stages, mlir::Value limit,
                                            SimtBuilder &s, TileEvaluator &values,
                                            TensorMaps &maps);

  /// Writes the barriers, and parts the roles: from here on `s` writes for the consumers alone, whose ids
  /// and barriers are those of their team. Once, by all threads of the block.
  void part(RoleRegisters registers);

  /// Sums `init` (empty: zero) and one product, the next of those given to `make`. Ends with a barrier of the
  /// consumers after the last.
  mlir::FailureOr<llvm::SmallVector<mlir::Value>> multiply(const ProductTile &tile,
                                                           mlir::ValueRange init,
                                                           RegisterTile &registers);

  /// The tiles of a slot, for a RegisterTile.
  OperandTiles layoutOf(const ProductTile &tile) const;
  /// Terms of a product that a slot holds.
  int64_t termTileOf(const ProductTile &tile) const;
  int64_t consumers() const { return threads - kProducers; }
  /// True if some left operand is computed, which takes all producers and their registers.
  bool computes() const { return anyComputed; }

private:
  ProductRoles(SimtBuilder &s, TileEvaluator &values, TensorMaps &maps)
      : s(s), values(values), maps(maps) {}
  mlir::LogicalResult produce(const ProductTile &tile);
  void bring(mlir::Value ring, mlir::Value slot, int64_t slotSize, mlir::Value full,
             const MappedOperand &operand, int64_t rows, int64_t terms, mlir::Value term);
  /// Elements of A's next tile that this producer computes, before there is room for them.
  mlir::LogicalResult compute(const ProductTile &tile, mlir::Value term,
                              llvm::SmallVectorImpl<mlir::Value> &pieces);
  void store(const ProductTile &tile, mlir::Value slot, mlir::ValueRange pieces);
  mlir::Value barrierAt(mlir::Value slot, bool empty);
  void wait(mlir::Value barrier, mlir::Value parity);
  /// The slot after `slot`, and the parity there.
  void advance(mlir::Value &slot, mlir::Value &parity);

  SimtBuilder &s;
  TileEvaluator &values;
  TensorMaps &maps;
  llvm::SmallVector<ProductTile> products;
  int64_t threads = 0, termTile = 0, stages = 0, aSlot = 0, bSlot = 0;
  size_t done = 0;
  bool anyComputed = false;
  mlir::Value lastRow, ringA, ringB, barriers;
  SimtBuilder::Team block;
  mlir::OpBuilder::InsertPoint producing;
  /// Slot (i32) and parity (i32) of the next tile, for both roles.
  mlir::Value inSlot, inParity, outSlot, outParity;
};

} // namespace otodus::gpu

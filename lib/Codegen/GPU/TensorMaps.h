//===- TensorMaps.h - Operand tiles as boxes of tensor maps ----------------===//
//
// Private to lib/Codegen/GPU. A tensor map tells TMA how a matrix lies in global memory: rows of a fixed
// pitch. Kernels list theirs in the attribute `gk.tensor_maps` and take each as one more argument
// (docs/Gpu.md); the runtime makes them.
//
//===----------------------------------------------------------------------===//

#pragma once

#include "ProductTile.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"

namespace otodus::gpu {

/// An operand of a product, seen as a matrix in global memory: [rows][terms].
struct MappedOperand {
  unsigned buffer = 0;  ///< argument of the kernel, and index of the launch's buffers
  int64_t pitch = 0;    ///< elements between rows of memory
  /// Rows of memory if they are known; 0: as many as the kernel has rows.
  int64_t rows = 0;
  mlir::Value row, column; ///< in memory, of the tile's first element
};

/// Nothing where the operand (0: A, 1: B) is computed on the way, or does not lie in rows of one
/// pitch of whole 16 bytes with neighbouring terms. With `emit`, gives the code for the tile's place.
std::optional<MappedOperand> mapOperand(const ProductTile &tile, unsigned operand, bool emit,
                                        SimtBuilder &s, TileEvaluator &values);

/// The tensor maps of a kernel; the same description is one map.
class TensorMaps {
public:
  explicit TensorMaps(mlir::func::FuncOp function) : function(function) {}

  /// The argument (`!llvm.ptr`) that is the map of boxes of `rows` by `terms` elements, bf16. The swizzle spans a
  /// row of the box.
  mlir::Value get(const MappedOperand &operand, int64_t rows, int64_t terms);

private:
  mlir::func::FuncOp function;
  llvm::SmallVector<mlir::Attribute> maps;
  llvm::SmallVector<mlir::Value> arguments;
};

} // namespace otodus::gpu

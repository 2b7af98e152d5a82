//===- ProductTile.h - A tile of a matrix product on one block -------------===//
//
// Private to lib/Codegen/GPU. C[rows, columns] = A[rows, terms] B[columns, terms]ᵀ, all of it by one block. Three ways, chosen
// by shape and type (`ProductForm`); each leaves C in shared memory as f32, rows `pitch` elements
// apart, where the ops behind the product read it.
//
//===----------------------------------------------------------------------===//

#pragma once

#include "TileEvaluator.h"

#include "otodus/Codegen/GPU/Chips.h"

namespace otodus::gpu {

enum class ProductForm {
  Dot,  ///< few rows: a warp per column, lanes along the terms; read-bound
  Fma,  ///< f32: register tiles of fused multiply-adds, operands in shared memory
  Mma,  ///< bf16: mma.sync, operands through ldmatrix
  Wgmma, ///< bf16: wgmma, operands in shared memory
};

/// Rows up to which a product is read-bound: each row repeats the work, not the reading.
inline constexpr int64_t kDotRows = 8;

/// The form a chip computes such a tile in; Mma or Fma where nothing better fits, whether or not
/// they do.
ProductForm formFor(const Chip &chip, mlir::Type element, int64_t rows, int64_t columns,
                    int64_t threads);

/// One product of a tile program.
struct ProductTile {
  mlir::linalg::GenericOp op;
  int64_t rows = 0, columns = 0, terms = 0;
  llvm::SmallVector<int64_t> columnSizes, termSizes; ///< of their dimensions, outermost first
  mlir::Type element;                                ///< of A and B

  /// Reads the shapes of `op`; nothing if it is no product of two tiles.
  static std::optional<ProductTile> match(mlir::linalg::GenericOp op);

  /// Coordinates in A and B; `count` elements along the terms, or along the columns.
  llvm::SmallVector<Axis> leftAt(mlir::Value row, mlir::Value term, int64_t count) const;
  llvm::SmallVector<Axis> rightAt(mlir::Value column, mlir::Value term, int64_t count,
                                  bool alongColumns) const;
};

class ProductRoles;

/// True if B's neighbours in memory are columns, not terms.
bool liesAcross(const ProductTile &tile, SimtBuilder &s, TileEvaluator &values);

/// How a block computes a product.
struct ProductPlan {
  ProductForm form = ProductForm::Fma;
  int64_t threads = 128;
  int64_t termTile = 32; ///< terms that are in shared memory at once
  int64_t stages = 2;    ///< such tiles under way together
  std::string overlay;   ///< of the operands' tiles (SimtBuilder::shared), followed by a number
  ProductRoles *roles = nullptr; ///< of the block's warps (form Wgmma); null: all do the same
};

/// Where C lies when a product is done.
struct Accumulator {
  mlir::Value memref;
  int64_t pitch = 0;
};

/// Elements between rows of C: 8 more than a multiple of 32 banks, so that the 64-bit stores of
/// an mma fragment and rows read by lanes both meet no bank twice.
inline int64_t accumulatorPitch(int64_t columns) { return columns + 8; }

/// Bytes of shared memory while the product runs, and of C afterwards.
int64_t ringBytes(const ProductTile &tile, const ProductPlan &plan);
int64_t accumulatorBytes(const ProductTile &tile);

/// Emits the sum of products of the same rows and columns. `limit`: rows of A that exist, at least 1;
/// rows beyond repeat the last. Ends with a barrier. `overlayC`: C may share memory with the
/// operands' tiles (docs/Gpu.md).
mlir::FailureOr<Accumulator> emitProducts(llvm::ArrayRef<ProductTile> tiles,
                                          const ProductPlan &plan, mlir::Value limit,
                                          bool overlayC, SimtBuilder &s, TileEvaluator &values);

// The forms; `c` is where the sums go.
mlir::LogicalResult emitDotProducts(llvm::ArrayRef<ProductTile> tiles, const ProductPlan &plan,
                                    mlir::Value limit, Accumulator c, SimtBuilder &s,
                                    TileEvaluator &values);
mlir::LogicalResult emitTiledProducts(llvm::ArrayRef<ProductTile> tiles, const ProductPlan &plan,
                                      mlir::Value limit, Accumulator c, SimtBuilder &s,
                                      TileEvaluator &values);
mlir::LogicalResult emitRoleProducts(llvm::ArrayRef<ProductTile> tiles, const ProductPlan &plan,
                                     Accumulator c, SimtBuilder &s);

/// The register tile of a thread or warp: what a form does with operands in shared memory.
class RegisterTile {
public:
  explicit RegisterTile(SimtBuilder &s) : s(s) {}
  virtual ~RegisterTile() = default;
  /// Sums, all zero.
  virtual llvm::SmallVector<mlir::Value> zero() = 0;
  /// sums + the products of the tiles at `a` and `b` (pointers to shared memory).
  virtual llvm::SmallVector<mlir::Value> accumulate(mlir::Value a, mlir::Value b,
                                                    mlir::ValueRange sums) = 0;
  /// Calls `body(row, column, v)` for all of this thread's sums: v is a scalar, or a vector of
  /// consecutive columns.
  virtual void each(mlir::ValueRange sums,
                    llvm::function_ref<void(mlir::Value, mlir::Value, mlir::Value)> body) = 0;
  void store(mlir::ValueRange sums, Accumulator c);
  /// True if `accumulate` only starts the work: its sums, and the operands it reads, are in use
  /// until `settle`.
  virtual bool runsAside() const { return false; }
  /// Leaves the newest `groups` calls of `accumulate` running.
  virtual llvm::SmallVector<mlir::Value> settle(mlir::ValueRange sums, int64_t groups) {
    (void)groups;
    return llvm::SmallVector<mlir::Value>(sums);
  }
  /// Every row of the sums times its element of `factors`, a flat f32 memref.
  virtual llvm::SmallVector<mlir::Value> scaleRows(mlir::ValueRange sums, mlir::Value factors) = 0;

protected:
  SimtBuilder &s;
};

/// Operand tiles in shared memory. Without a swizzle there are 16 bytes between rows, so that eight rows read
/// together meet no bank twice.
struct OperandTiles {
  int64_t aRows = 0, aPitch = 0; ///< A: [rows][terms], or [terms][rows] if `aAlongRows`
  int64_t bRows = 0, bPitch = 0; ///< B: [columns][terms], or [terms][columns] if `bAlongColumns`
  bool bAlongColumns = false;
  /// Rows without padding; their 16-byte pieces change places as the hardware's 128- and 64-byte
  /// swizzles say.
  bool swizzled = false;
  bool aAlongRows = false; ///< only for mma.sync
};

/// Where in its row of `pitch` elements of `width` bytes a piece from `position` on lies in such a tile.
mlir::Value swizzled(mlir::Value line, mlir::Value position, int64_t pitch, int64_t width,
                     SimtBuilder &s);

OperandTiles operandTiles(const ProductTile &tile, ProductForm form, int64_t termTile,
                          bool bAlongColumns);

std::unique_ptr<RegisterTile> makeMmaTile(int64_t rows, int64_t columns, int64_t terms,
                                          const OperandTiles &layout, int64_t threads,
                                          SimtBuilder &s);
std::unique_ptr<RegisterTile> makeFmaTile(int64_t rows, int64_t columns, int64_t terms,
                                          const OperandTiles &layout, int64_t threads,
                                          SimtBuilder &s);

std::unique_ptr<RegisterTile> makeWgmmaTile(int64_t rows, int64_t columns, int64_t terms,
                                            const OperandTiles &layout, int64_t threads,
                                            SimtBuilder &s);

/// True if the shape fits the form with that many threads.
bool fitsWgmma(int64_t rows, int64_t columns, int64_t threads);
bool fitsMma(int64_t rows, int64_t columns, int64_t threads);
bool fitsFma(int64_t rows, int64_t columns, int64_t threads);

} // namespace otodus::gpu

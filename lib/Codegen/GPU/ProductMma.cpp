//===- ProductMma.cpp - Register tiles of mma.sync -------------------------===//
//
// Every warp owns a rectangle of C, as m16n8 fragments: lane l holds columns 2 (l % 4), + 1 of rows l / 4 and
// l / 4 + 8. Operands come from shared memory by ldmatrix, four 8x8 tiles at a time.
//
//===----------------------------------------------------------------------===//

#include "ProductTile.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;

namespace otodus::gpu {
namespace {

/// How the warps of a block share C: the split with the least operand traffic; {0, 0} if none fits.
std::pair<int64_t, int64_t> splitWarps(int64_t rows, int64_t columns, int64_t threads) {
  std::pair<int64_t, int64_t> best{0, 0};
  int64_t least = 0, warps = threads / kWarp;
  for (int64_t m = 1; m <= warps; ++m) {
    int64_t n = warps / m;
    if (warps % m || rows % (16 * m) || columns % (16 * n))
      continue;
    int64_t traffic = rows / m + columns / n;
    if (!least || traffic < least)
      least = traffic, best = {m, n};
  }
  return best;
}

class MmaTile final : public RegisterTile {
public:
  MmaTile(int64_t rows, int64_t columns, int64_t terms, const OperandTiles &layout,
          int64_t threads, SimtBuilder &s)
      : RegisterTile(s), terms(terms), layout(layout) {
    auto [m, n] = splitWarps(rows, columns, threads);
    rowsOfWarp = rows / m;
    columnsOfWarp = columns / n;
    firstRow = s.mul(s.div(s.warp(), n), rowsOfWarp);
    firstColumn = s.mul(s.rem(s.warp(), n), columnsOfWarp);
    // Which 16 bytes each lane fetches for ldmatrix.
    Value lane = s.lane(), low = s.rem(lane, 16), high = s.div(lane, 16);
    Value eighth = s.rem(lane, 8), half = s.rem(s.div(lane, 8), 2);
    if (layout.aAlongRows) // lines are terms; tiles are transposed on the way
      aLane = s.add(s.mul(s.add(eighth, s.mul(high, 8)), layout.aPitch * 2),
                    s.mul(s.add(firstRow, s.mul(half, 8)), 2));
    else
      aLane = s.add(s.mul(s.add(firstRow, low), layout.aPitch * 2), s.mul(high, 16));
    if (layout.bAlongColumns) // rows are terms; tiles are transposed on the way
      bLane = s.add(s.mul(s.add(eighth, s.mul(half, 8)), layout.bPitch * 2),
                    s.mul(s.add(firstColumn, s.mul(high, 8)), 2));
    else
      bLane = s.add(s.mul(s.add(firstColumn, s.add(eighth, s.mul(high, 8))), layout.bPitch * 2),
                    s.mul(half, 16));
  }

  SmallVector<Value> zero() override {
    return SmallVector<Value>(rowsOfWarp / 16 * (columnsOfWarp / 8) * 4, s.f32(0));
  }

  SmallVector<Value> accumulate(Value a, Value b, ValueRange sums) override {
    SmallVector<Value> c(sums);
    Value aBase = s.offset(a, aLane), bBase = s.offset(b, bLane);
    for (int64_t k = 0; k < terms; k += 16) {
      SmallVector<SmallVector<Value>> left, right;
      for (int64_t m = 0; m < rowsOfWarp; m += 16)
        left.push_back(layout.aAlongRows
                           ? load(s.offset(aBase, k * layout.aPitch * 2 + m * 2), true)
                           : load(s.offset(aBase, m * layout.aPitch * 2 + k * 2), false));
      for (int64_t n = 0; n < columnsOfWarp; n += 16)
        right.push_back(layout.bAlongColumns
                            ? load(s.offset(bBase, k * layout.bPitch * 2 + n * 2), true)
                            : load(s.offset(bBase, n * layout.bPitch * 2 + k * 2), false));
      for (size_t m = 0; m < left.size(); ++m)
        for (size_t n = 0; n < 2 * right.size(); ++n) {
          size_t at = (m * 2 * right.size() + n) * 4;
          ArrayRef<Value> half = ArrayRef<Value>(right[n / 2]).slice(n % 2 * 2, 2);
          multiply(left[m], half, MutableArrayRef<Value>(c).slice(at, 4));
        }
    }
    return c;
  }

  void each(ValueRange sums, function_ref<void(Value, Value, Value)> body) override {
    Value row = s.add(firstRow, s.div(s.lane(), 4));
    Value column = s.add(firstColumn, s.mul(s.rem(s.lane(), 4), 2));
    auto pair = VectorType::get({2}, s.b.getF32Type());
    size_t i = 0;
    for (int64_t m = 0; m < rowsOfWarp; m += 16)
      for (int64_t n = 0; n < columnsOfWarp; n += 8)
        for (int64_t half = 0; half < 2; ++half, i += 2)
          body(s.add(row, m + 8 * half), s.add(column, n),
               vector::FromElementsOp::create(s.b, s.loc, pair, ValueRange{sums[i], sums[i + 1]}));
  }

  SmallVector<Value> scaleRows(ValueRange sums, Value factors) override {
    Value row = s.add(firstRow, s.div(s.lane(), 4));
    SmallVector<Value> scaled(sums);
    int64_t perRows = columnsOfWarp / 8 * 4;
    for (int64_t m = 0; m < rowsOfWarp; m += 16)
      for (int64_t half = 0; half < 2; ++half) {
        Value factor = s.load(factors, s.add(row, m + 8 * half), 1, false);
        for (int64_t i = m / 16 * perRows; i < (m / 16 + 1) * perRows; ++i)
          if (i % 4 / 2 == half)
            scaled[i] = arith::MulFOp::create(s.b, s.loc, scaled[i], factor);
      }
    return scaled;
  }

private:
  SmallVector<Value> load(Value pointer, bool transposed) {
    MLIRContext *context = s.b.getContext();
    Type i32 = s.b.getI32Type();
    auto type = LLVM::LLVMStructType::getLiteral(context, SmallVector<Type>(4, i32));
    auto shape = NVVM::LdStMatrixShapeAttr::get(context, 8, 8);
    Value all = NVVM::LdMatrixOp::create(
        s.b, s.loc, type, pointer, 4,
        transposed ? NVVM::MMALayout::col : NVVM::MMALayout::row, shape,
        NVVM::LdStMatrixEltType::B16);
    SmallVector<Value> words;
    for (int64_t i = 0; i < 4; ++i)
      words.push_back(LLVM::ExtractValueOp::create(s.b, s.loc, all, i));
    return words;
  }

  void multiply(ArrayRef<Value> a, ArrayRef<Value> b, MutableArrayRef<Value> c) {
    Type f32 = s.b.getF32Type();
    auto type = LLVM::LLVMStructType::getLiteral(s.b.getContext(), SmallVector<Type>(4, f32));
    auto types = std::array<NVVM::MMATypes, 2>{NVVM::MMATypes::bf16, NVVM::MMATypes::bf16};
    auto layouts = std::array<NVVM::MMALayout, 2>{NVVM::MMALayout::row, NVVM::MMALayout::col};
    Value d = NVVM::MmaOp::create(s.b, s.loc, type, a, b, ValueRange(c),
                                  ArrayRef<int64_t>{16, 8, 16}, std::nullopt, std::nullopt, types,
                                  layouts);
    for (int64_t i = 0; i < 4; ++i)
      c[i] = LLVM::ExtractValueOp::create(s.b, s.loc, d, i);
  }

  int64_t terms, rowsOfWarp = 0, columnsOfWarp = 0;
  OperandTiles layout;
  Value firstRow, firstColumn, aLane, bLane;
};

} // namespace

bool fitsMma(int64_t rows, int64_t columns, int64_t threads) {
  return splitWarps(rows, columns, threads).first > 0;
}

std::unique_ptr<RegisterTile> makeMmaTile(int64_t rows, int64_t columns, int64_t terms,
                                          const OperandTiles &layout, int64_t threads,
                                          SimtBuilder &s) {
  return std::make_unique<MmaTile>(rows, columns, terms, layout, threads, s);
}

} // namespace otodus::gpu

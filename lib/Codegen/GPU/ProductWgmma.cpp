//===- ProductWgmma.cpp - Register tiles of wgmma --------------------------===//
//
// A warpgroup multiplies tiles of 64 rows straight from shared memory, asynchronously: the products of
// one step run while the copies of the next ones are issued. Operand tiles are K-major with rows of 128
// or 64 bytes, whose 16-byte pieces are swizzled as the matrix descriptors say.
//
//===----------------------------------------------------------------------===//

#include "ProductTile.h"

#include "gk/IR/GkOps.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;

namespace otodus::gpu {
namespace {

constexpr int64_t kWarpGroup = 4 * kWarp, kRows = 64, kMostColumns = 256;

/// Warpgroups along rows and columns; {0, 0} if the tile does not suit them.
std::pair<int64_t, int64_t> splitGroups(int64_t rows, int64_t columns, int64_t threads) {
  int64_t groups = threads / kWarpGroup;
  if (threads % kWarpGroup || rows % kRows)
    return {0, 0};
  int64_t down = std::min(groups, rows / kRows), across = groups / down;
  if (groups % down || rows / kRows % down || columns % (8 * across) ||
      columns / across > kMostColumns)
    return {0, 0};
  return {down, across};
}

class WgmmaTile final : public RegisterTile {
public:
  WgmmaTile(int64_t rows, int64_t columns, int64_t terms, const OperandTiles &layout,
            int64_t threads, SimtBuilder &s)
      : RegisterTile(s), terms(terms), pitch(layout.aPitch * 2) {
    auto [down, across] = splitGroups(rows, columns, threads);
    tiles = rows / kRows / down;
    columnsOfGroup = columns / across;
    // The same in all lanes, and known to be: descriptors are uniform values.
    Value group = s.uniform(s.div(s.warp(), 4));
    firstRow = s.mul(s.div(group, across), tiles * kRows);
    firstColumn = s.mul(s.rem(group, across), columnsOfGroup);
    type = LLVM::LLVMStructType::getLiteral(
        s.b.getContext(), SmallVector<Type>(columnsOfGroup / 2, s.b.getF32Type()));
  }

  SmallVector<Value> zero() override {
    Value zero = LLVM::ZeroOp::create(s.b, s.loc, type);
    return SmallVector<Value>(tiles, zero);
  }

  SmallVector<Value> accumulate(Value a, Value b, ValueRange sums) override {
    SmallVector<Value> next(sums);
    Value right = descriptor(s.offset(b, s.mul(firstColumn, pitch)));
    SmallVector<Value> left;
    for (int64_t m = 0; m < tiles; ++m)
      left.push_back(descriptor(s.offset(a, s.mul(s.add(firstRow, m * kRows), pitch))));
    Value yes = arith::ConstantOp::create(s.b, s.loc, s.b.getBoolAttr(true));
    NVVM::WgmmaFenceAlignedOp::create(s.b, s.loc);
    for (int64_t k = 0; k < terms; k += 16)
      for (int64_t m = 0; m < tiles; ++m)
        next[m] = gk::WgmmaOp::create(s.b, s.loc, type, stepped(left[m], k), stepped(right, k),
                                      next[m], yes, /*transpose_a=*/nullptr,
                                      /*transpose_b=*/nullptr);
    NVVM::WgmmaGroupSyncAlignedOp::create(s.b, s.loc);
    return next;
  }

  bool runsAside() const override { return true; }

  SmallVector<Value> settle(ValueRange sums, int64_t groups) override {
    SmallVector<Value> done;
    for (Value sum : sums)
      done.push_back(gk::WgmmaWaitOp::create(s.b, s.loc, type, sum, ValueRange(),
                                              int32_t(groups)));
    return done;
  }

  void each(ValueRange sums, function_ref<void(Value, Value, Value)> body) override {
    Value warp = s.rem(s.warp(), 4);
    Value row = s.add(s.add(firstRow, s.mul(warp, 16)), s.div(s.lane(), 4));
    Value column = s.add(firstColumn, s.mul(s.rem(s.lane(), 4), 2));
    auto pair = VectorType::get({2}, s.b.getF32Type());
    for (int64_t m = 0; m < tiles; ++m)
      for (int64_t n = 0; n < columnsOfGroup; n += 8)
        for (int64_t half = 0; half < 2; ++half) {
          int64_t i = n / 2 + 2 * half;
          Value x = LLVM::ExtractValueOp::create(s.b, s.loc, sums[m], i);
          Value y = LLVM::ExtractValueOp::create(s.b, s.loc, sums[m], i + 1);
          Value v = vector::FromElementsOp::create(s.b, s.loc, pair, ValueRange{x, y});
          body(s.add(row, m * kRows + 8 * half), s.add(column, n), v);
        }
  }

  SmallVector<Value> scaleRows(ValueRange sums, Value factors) override {
    Value row = s.add(s.add(firstRow, s.mul(s.rem(s.warp(), 4), 16)), s.div(s.lane(), 4));
    SmallVector<Value> scaled;
    for (int64_t m = 0; m < tiles; ++m) {
      Value sum = sums[m];
      for (int64_t half = 0; half < 2; ++half) {
        Value factor = s.load(factors, s.add(row, m * kRows + 8 * half), 1, false);
        for (int64_t i = 0; i < columnsOfGroup / 2; ++i) {
          if (i % 4 / 2 != half)
            continue;
          Value v = LLVM::ExtractValueOp::create(s.b, s.loc, sum, i);
          v = arith::MulFOp::create(s.b, s.loc, v, factor);
          sum = LLVM::InsertValueOp::create(s.b, s.loc, sum, v, i);
        }
      }
      scaled.push_back(sum);
    }
    return scaled;
  }

private:
  /// A matrix descriptor of a K-major tile at `pointer`: 14 bits of address / 16; eight rows are
  /// 8 * pitch bytes; the swizzle follows from the pitch.
  Value descriptor(Value pointer) {
    Type i32 = s.b.getI32Type(), i64 = s.b.getI64Type();
    Value address = LLVM::PtrToIntOp::create(s.b, s.loc, i32, pointer);
    auto constant = [&](Type type, uint64_t v) -> Value {
      return arith::ConstantOp::create(s.b, s.loc, s.b.getIntegerAttr(type, int64_t(v)));
    };
    address = arith::AndIOp::create(s.b, s.loc, address, constant(i32, 0x3FFFF));
    address = arith::ShRUIOp::create(s.b, s.loc, address, constant(i32, 4));
    Value low = arith::ExtUIOp::create(s.b, s.loc, i64, address);
    uint64_t mode = pitch == 128 ? 1 : 2;
    uint64_t rest = mode << 62 | uint64_t(8 * pitch / 16) << 32 | uint64_t(1) << 16;
    return arith::OrIOp::create(s.b, s.loc, low, constant(i64, rest));
  }
  Value stepped(Value descriptor, int64_t k) {
    if (k == 0)
      return descriptor;
    Value step = arith::ConstantOp::create(s.b, s.loc, s.b.getI64IntegerAttr(k * 2 / 16));
    return arith::AddIOp::create(s.b, s.loc, descriptor, step);
  }

  int64_t terms, pitch, tiles = 0, columnsOfGroup = 0;
  Value firstRow, firstColumn;
  Type type;
};

} // namespace

bool fitsWgmma(int64_t rows, int64_t columns, int64_t threads) {
  return splitGroups(rows, columns, threads).first > 0;
}

std::unique_ptr<RegisterTile> makeWgmmaTile(int64_t rows, int64_t columns, int64_t terms,
                                            const OperandTiles &layout, int64_t threads,
                                            SimtBuilder &s) {
  return std::make_unique<WgmmaTile>(rows, columns, terms, layout, threads, s);
}

} // namespace otodus::gpu

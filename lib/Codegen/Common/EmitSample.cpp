//===- EmitSample.cpp - A thread chooses a token ---------------------------===//
//
// A work item is a row, which one thread walks in vectors.
//
//===----------------------------------------------------------------------===//

#include "SampleEmitter.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;

namespace otodus {
namespace {

constexpr int64_t kLanesOfThread = 8; ///< weights have 64 bits: a register of AVX-512
constexpr int64_t kMostPieces = 256;  ///< bounds scratch memory
constexpr int64_t kShortPiece = 256;  ///< tokens that are walked one by one in the end

class ThreadSampler : public SampleEmitter {
public:
  ThreadSampler(KernelEmitter &kernel, mega::SampleOp op)
      : SampleEmitter(kernel, op, kLanesOfThread) {
    int64_t least = llvm::divideCeil(vocabulary, kMostPieces);
    pieceLength = std::max<int64_t>(kShortPiece, llvm::alignTo(least, kLanesOfThread));
    pieceCount = llvm::divideCeil(vocabulary, pieceLength);
  }

  void run() {
    auto grid = scf::ForallOp::create(b, loc, ArrayRef<OpFoldResult>{b.getIndexAttr(0)},
                                      ArrayRef<OpFoldResult>{kernel.frame.batch},
                                      ArrayRef<OpFoldResult>{b.getIndexAttr(1)}, ValueRange{},
                                      std::nullopt);
    auto sums = [&] {
      OpBuilder outside(grid);
      return memref::AllocaOp::create(outside, loc, MemRefType::get({pieceCount}, b.getI64Type()),
                                      outside.getI64IntegerAttr(64));
    };
    weights = sums();
    ties = sums();
    b.setInsertionPointToStart(grid.getBody());
    Value row = grid.getInductionVars()[0];
    Value chosen = choose(row);
    auto type = VectorType::get({formats::kLaneBlock}, b.getI32Type());
    Value at = arith::MulIOp::create(b, loc, row, index(formats::kLaneBlock));
    vector::StoreOp::create(b, loc, vector::BroadcastOp::create(b, loc, type, chosen), token,
                            ValueRange{at});
    b.setInsertionPointToEnd(&kernel.function.getBody().front());
    kernel.finish({{formats::Symbol::Batch, 1, 1}});
  }

private:
  Values each(ValueRange carried, Visit visit) override {
    return walk(index(0), index(vocabulary), carried, visit);
  }

  Values walk(Value from, Value to, ValueRange carried, Visit visit) {
    SmallVector<int32_t> numbers;
    for (int64_t i = 0; i < lanes; ++i)
      numbers.push_back(int32_t(i));
    Value lane = arith::ConstantOp::create(b, loc, b.getI32VectorAttr(numbers));
    return loop(from, to, lanes, carried, [&](Value at, ValueRange before) {
      Value token = arith::IndexCastOp::create(b, loc, b.getI32Type(), at);
      token = add(spread(token), lane);
      Value bits = loadBits(at, lanes);
      if (vocabulary % lanes) // what fills up the row counts as -inf
        bits = select(less(token, spread(i32(vocabulary))), bits, spread(i32(0xFF800000u)));
      return visit(bits, token, before);
    });
  }

  Value reduce(vector::CombiningKind kind, Value v) {
    return vector::ReductionOp::create(b, loc, kind, v);
  }

  Values sum(ValueRange values) override {
    Values sums;
    for (Value v : values)
      sums.push_back(reduce(vector::CombiningKind::ADD, v));
    return sums;
  }

  std::pair<Value, Value> largest(Value key, Value index) override {
    Value best = reduce(vector::CombiningKind::MAXUI, key);
    Value equal = arith::CmpIOp::create(b, loc, arith::CmpIPredicate::eq, key, spread(best));
    Value first = select(equal, index, spread(i32(vocabulary)));
    return {best, reduce(vector::CombiningKind::MINUI, first)};
  }

  Values sumPieces(ValueRange zeros, Visit visit) override {
    loop(index(0), index(pieceCount), 1, {}, [&](Value piece, ValueRange) -> Values {
      Value from = arith::MulIOp::create(b, loc, piece, index(pieceLength));
      Value to = arith::MinUIOp::create(b, loc, add(from, index(pieceLength)), index(vocabulary));
      Values sums = sum(walk(from, to, zeros, visit));
      memref::StoreOp::create(b, loc, sums[0], weights, ValueRange{piece});
      memref::StoreOp::create(b, loc, sums[1], ties, ValueRange{piece});
      return {};
    });
    return {weights, ties};
  }

  Value weights, ties; ///< by piece
};

} // namespace

LogicalResult emitSample(KernelEmitter &kernel, mega::SampleOp op) {
  ThreadSampler(kernel, op).run();
  return success();
}

} // namespace otodus

//===- OutlineGrid.cpp - Kernels as the runtime calls them -----------------===//
//
//   func @k(%a: memref<?xf32>, …, %batch, %length, %rows: index) {
//     scf.forall (%i, %j) in (%m, 4) { … }
//   }
//   ==>
//   func @k(%arguments: !llvm.ptr, %lo: i64, %hi: i64) {
//     %a = …                       // from the table of buffers
//     scf.for %item = %lo to %hi { %i, %j = delinearize %item; … }
//   }
//
//===----------------------------------------------------------------------===//

#include "otodus/ABI/Kernel.h"
#include "otodus/Codegen/CPU/Passes.h"

namespace otodus {
#define GEN_PASS_DEF_OUTLINEGRID
#include "otodus/Codegen/CPU/Passes.h.inc"
} // namespace otodus

using namespace mlir;

namespace otodus {
namespace {

Value loadField(OpBuilder &b, Location loc, Value base, int64_t offset, Type type) {
  auto ptr = LLVM::LLVMPointerType::get(b.getContext());
  Value field =
      LLVM::GEPOp::create(b, loc, ptr, b.getI8Type(), base, ArrayRef<LLVM::GEPArg>{int32_t(offset)});
  return LLVM::LoadOp::create(b, loc, type, field);
}

/// The memref<?xT> over `pointer`. Its size is unknown; kernels never ask for it.
Value memrefFrom(OpBuilder &b, Location loc, Value pointer, MemRefType type) {
  MLIRContext *context = b.getContext();
  Type i64 = b.getI64Type();
  auto array = LLVM::LLVMArrayType::get(i64, 1);
  auto descriptor = LLVM::LLVMStructType::getLiteral(
      context, {pointer.getType(), pointer.getType(), i64, array, array});
  Value zero = LLVM::ConstantOp::create(b, loc, i64, b.getI64IntegerAttr(0));
  Value one = LLVM::ConstantOp::create(b, loc, i64, b.getI64IntegerAttr(1));
  Value value = LLVM::PoisonOp::create(b, loc, descriptor);
  value = LLVM::InsertValueOp::create(b, loc, value, pointer, ArrayRef<int64_t>{0});
  value = LLVM::InsertValueOp::create(b, loc, value, pointer, ArrayRef<int64_t>{1});
  value = LLVM::InsertValueOp::create(b, loc, value, zero, ArrayRef<int64_t>{2});
  value = LLVM::InsertValueOp::create(b, loc, value, zero, ArrayRef<int64_t>{3, 0});
  value = LLVM::InsertValueOp::create(b, loc, value, one, ArrayRef<int64_t>{4, 0});
  return UnrealizedConversionCastOp::create(b, loc, type, value).getResult(0);
}

struct OutlineGrid : impl::OutlineGridBase<OutlineGrid> {
  using OutlineGridBase::OutlineGridBase;

  void runOnOperation() override {
    for (auto function : getOperation().getOps<func::FuncOp>())
      if (function->hasAttr("mega.grid") && failed(outline(function)))
        return signalPassFailure();
  }

  LogicalResult outline(func::FuncOp function) {
    Block &body = function.getBody().front();
    SmallVector<scf::ForallOp> grids(body.getOps<scf::ForallOp>());
    if (grids.size() > 1)
      return function.emitOpError("expects one scf.forall in a kernel, but got ")
             << grids.size();
    // A grid of one item has been folded away: the body is the item.
    scf::ForallOp grid = grids.empty() ? nullptr : grids.front();
    if (grid && grid.getNumResults() != 0)
      return grid.emitOpError("expects a grid on buffers; bufferize first");
    Location loc = function.getLoc();
    OpBuilder b(function.getContext());

    // The signature and what it gives.
    Type i64 = b.getI64Type();
    auto ptr = LLVM::LLVMPointerType::get(b.getContext());
    unsigned old = body.getNumArguments();
    Value arguments = body.addArgument(ptr, loc);
    Value lo = body.addArgument(i64, loc), hi = body.addArgument(i64, loc);
    b.setInsertionPointToStart(&body);
    Value table = loadField(b, loc, arguments, offsetof(OtodusKernelArguments, buffers), ptr);
    const int64_t sizes[] = {offsetof(OtodusKernelArguments, batch),
                             offsetof(OtodusKernelArguments, length),
                             offsetof(OtodusKernelArguments, rows)};
    for (unsigned i = 0; i < old; ++i) {
      BlockArgument argument = body.getArgument(i);
      Value value;
      if (auto type = dyn_cast<MemRefType>(argument.getType())) {
        value = memrefFrom(b, loc, loadField(b, loc, table, 8 * int64_t(i), ptr), type);
      } else {
        Value size = loadField(b, loc, arguments, sizes[i - (old - 3)], i64);
        value = arith::IndexCastOp::create(b, loc, b.getIndexType(), size);
      }
      argument.replaceAllUsesWith(value);
    }
    body.eraseArguments(0, old);
    function.setFunctionType(b.getFunctionType({ptr, i64, i64}, {}));
    function.setPublic();

    if (!grid)
      return success();

    // The grid.
    b.setInsertionPoint(grid);
    SmallVector<Value> lowers = grid.getLowerBound(b), uppers = grid.getUpperBound(b),
                       steps = grid.getStep(b);
    AffineExpr lower, upper, step;
    bindSymbols(b.getContext(), lower, upper, step);
    SmallVector<OpFoldResult> counts;
    for (auto [l, u, s] : llvm::zip(lowers, uppers, steps))
      counts.push_back(affine::makeComposedFoldedAffineApply(
          b, loc, (upper - lower).ceilDiv(step),
          {getAsOpFoldResult(l), getAsOpFoldResult(u), getAsOpFoldResult(s)}));
    Value first = arith::IndexCastOp::create(b, loc, b.getIndexType(), lo);
    Value last = arith::IndexCastOp::create(b, loc, b.getIndexType(), hi);
    Value one = arith::ConstantIndexOp::create(b, loc, 1);
    auto loop = scf::ForOp::create(b, loc, first, last, one);
    b.setInsertionPointToStart(loop.getBody());
    SmallVector<Value> ivs;
    if (counts.size() == 1) {
      ivs.push_back(loop.getInductionVar());
    } else {
      auto split = affine::AffineDelinearizeIndexOp::create(b, loc, loop.getInductionVar(),
                                                            ArrayRef<OpFoldResult>(counts));
      ivs.assign(split.getResults().begin(), split.getResults().end());
    }
    for (auto [iv, l, s] : llvm::zip(ivs, lowers, steps)) {
      Value scaled = arith::MulIOp::create(b, loc, iv, s);
      iv = arith::AddIOp::create(b, loc, l, scaled);
    }
    for (auto [argument, iv] : llvm::zip(grid.getInductionVars(), ivs))
      argument.replaceAllUsesWith(iv);
    loop.getBody()->getOperations().splice(std::prev(loop.getBody()->end()),
                                           grid.getBody()->getOperations(),
                                           grid.getBody()->begin(),
                                           std::prev(grid.getBody()->end()));
    grid.erase();
    return success();
  }
};

} // namespace
} // namespace otodus

//===- SumEmitter.cpp - Kernels that add up rows ----------------------------===//

#include "SumEmitter.h"

#include "SampleEmitter.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;

namespace otodus {

//===----------------------------------------------------------------------===//
// Frame
//===----------------------------------------------------------------------===//

SmallVector<Value> SumEmitter::openGrid(ArrayRef<OpFoldResult> bounds) {
  SmallVector<OpFoldResult> lower(bounds.size(), b.getIndexAttr(0)),
      steps(bounds.size(), b.getIndexAttr(1));
  auto grid = scf::ForallOp::create(b, loc, lower, bounds, steps, ValueRange{}, std::nullopt);
  allocas = OpBuilder(grid);
  b.setInsertionPointToStart(grid.getBody());
  return llvm::to_vector(grid.getInductionVars());
}

void SumEmitter::finish(ArrayRef<formats::Extent> extents) {
  b.setInsertionPointToEnd(&kernel.function.getBody().front());
  kernel.finish(extents);
}

Value SumEmitter::scratch(int64_t elements, Type element) {
  auto type = MemRefType::get({elements}, element ? element : f32);
  return memref::AllocaOp::create(allocas, loc, type, allocas.getI64IntegerAttr(64));
}

//===----------------------------------------------------------------------===//
// Small builders
//===----------------------------------------------------------------------===//

Value SumEmitter::sub(Value x, Value y) { return arith::SubIOp::create(b, loc, x, y); }
Value SumEmitter::div(Value x, int64_t y) { return arith::DivUIOp::create(b, loc, x, index(y)); }
Value SumEmitter::rem(Value x, int64_t y) { return arith::RemUIOp::create(b, loc, x, index(y)); }
Value SumEmitter::min(Value x, Value y) { return arith::MinUIOp::create(b, loc, x, y); }
Value SumEmitter::constant(double v) {
  return arith::ConstantOp::create(b, loc, b.getF32FloatAttr(float(v)));
}
Value SumEmitter::zeros(int64_t lanes) {
  return arith::ConstantOp::create(b, loc, b.getZeroAttr(VectorType::get({lanes}, f32)));
}
Value SumEmitter::addf(Value x, Value y) { return arith::AddFOp::create(b, loc, x, y); }
Value SumEmitter::subf(Value x, Value y) { return arith::SubFOp::create(b, loc, x, y); }
Value SumEmitter::mulf(Value x, Value y) { return arith::MulFOp::create(b, loc, x, y); }
Value SumEmitter::fma(Value x, Value y, Value z) {
  return vector::FMAOp::create(b, loc, x, y, z);
}

Value SumEmitter::load(Value buffer, Value at) {
  Value v = memref::LoadOp::create(b, loc, buffer, ValueRange{at});
  return v.getType().isBF16() ? Value(arith::ExtFOp::create(b, loc, f32, v)) : v;
}

void SumEmitter::store(Value v, Value buffer, Value at) {
  memref::StoreOp::create(b, loc, v, buffer, ValueRange{at});
}

Value SumEmitter::laneSum(Value v) {
  return vector::ReductionOp::create(b, loc, vector::CombiningKind::ADD, v,
                                     arith::FastMathFlags::reassoc);
}

SmallVector<Value>
SumEmitter::reduce(Value from, Value to, int64_t step, ValueRange carried,
                   function_ref<SmallVector<Value>(Value, ValueRange)> body) {
  auto loop = scf::ForOp::create(b, loc, from, to, index(step), carried);
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(loop.getBody());
  SmallVector<Value> next = body(loop.getInductionVar(), loop.getRegionIterArgs());
  if (!carried.empty()) // otherwise the loop has its terminator already
    scf::YieldOp::create(b, loc, next);
  return llvm::to_vector_of<Value>(loop.getResults());
}

void SumEmitter::ifThen(Value condition, function_ref<void()> body) {
  auto choice = scf::IfOp::create(b, loc, condition, /*withElseRegion=*/false);
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(choice.thenBlock());
  body();
}

Value SumEmitter::result(Value opResult, Type element) {
  for (auto [i, yielded] : llvm::enumerate(kernel.group.getYield().getOperands()))
    if (yielded == opResult)
      return kernel.resultParameter(i, element ? element
                                               : getElementTypeOrSelf(opResult.getType()));
  return {};
}

Value SumEmitter::rowOffset(Value row, Type type) {
  return mul(row, index(rowStrideOf(widthOf(type), dtypeOf(type))));
}

static Value maskOf(SumEmitter &s, Value valid, int64_t lanes) {
  return vector::CreateMaskOp::create(s.b, s.loc, VectorType::get({lanes}, s.b.getI1Type()), valid);
}

void SumEmitter::addTo(Value v, Value buffer, Value at, Value valid) {
  auto type = cast<VectorType>(v.getType());
  if (!valid) {
    Value old = vector::LoadOp::create(b, loc, type, buffer, ValueRange{at});
    vector::StoreOp::create(b, loc, addf(old, v), buffer, ValueRange{at});
    return;
  }
  Value mask = maskOf(*this, valid, type.getDimSize(0));
  Value zero = arith::ConstantOp::create(b, loc, b.getZeroAttr(type));
  Value old = vector::MaskedLoadOp::create(b, loc, type, buffer, ValueRange{at}, mask, zero);
  vector::MaskedStoreOp::create(b, loc, buffer, ValueRange{at}, mask, addf(old, v));
}

void SumEmitter::storeLanes(Value v, Value buffer, Value at, Value valid) {
  if (!valid)
    return storeFromF32(v, buffer, at);
  Value mask = maskOf(*this, valid, cast<VectorType>(v.getType()).getDimSize(0));
  vector::MaskedStoreOp::create(b, loc, buffer, ValueRange{at}, mask, v);
}

//===----------------------------------------------------------------------===//
// Pairs
//===----------------------------------------------------------------------===//

Value SumEmitter::pairProduct(Value pair, Value columns, Value acc) {
  auto matrix = VectorType::get({kLanes, 2}, b.getBF16Type());
  Value terms = vector::ShapeCastOp::create(b, loc, matrix, columns);
  AffineExpr lane = b.getAffineDimExpr(0), term = b.getAffineDimExpr(1);
  auto map = [&](ArrayRef<AffineExpr> exprs) {
    return AffineMapAttr::get(AffineMap::get(2, 0, exprs, b.getContext()));
  };
  auto iterator = [&](vector::IteratorType type) {
    return vector::IteratorTypeAttr::get(b.getContext(), type);
  };
  return vector::ContractionOp::create(
      b, loc, terms, pair, acc, b.getArrayAttr({map({lane, term}), map({term}), map({lane})}),
      b.getArrayAttr({iterator(vector::IteratorType::parallel),
                      iterator(vector::IteratorType::reduction)}));
}

Value SumEmitter::loadPair(Value buffer, Value at) {
  return vector::LoadOp::create(b, loc, VectorType::get({2}, b.getBF16Type()), buffer,
                                ValueRange{at});
}

Value SumEmitter::loadColumns(Value buffer, Value at) {
  return vector::LoadOp::create(b, loc, VectorType::get({2 * kLanes}, b.getBF16Type()), buffer,
                                ValueRange{at});
}

void SumEmitter::pairRows(Value x, int64_t rows, Value count, Value pairs,
                          function_ref<Value(Value)> at) {
  auto type = VectorType::get({kLanes}, b.getBF16Type());
  Value zero = arith::ConstantOp::create(b, loc, b.getZeroAttr(type));
  auto load = [&](Value row) -> Value {
    return vector::LoadOp::create(b, loc, type, x, ValueRange{at(row)});
  };
  auto write = [&](Value row, Value first, Value second) {
    Value both = vector::InterleaveOp::create(b, loc, first, second);
    vector::StoreOp::create(b, loc, both, pairs, ValueRange{mul(row, index(kLanes))});
  };
  if (!count) {
    forLoop(index(0), index(rows), index(2), [&](Value row) {
      write(row, load(row), load(add(row, index(1))));
    });
    return;
  }
  // Whole pairs, perhaps half of one, and zeros.
  Value whole = mul(div(count, 2), index(2)), even = mul(div(add(count, index(1)), 2), index(2));
  forLoop(index(0), whole, index(2),
          [&](Value row) { write(row, load(row), load(add(row, index(1)))); });
  forLoop(whole, even, index(2), [&](Value row) { write(row, load(row), zero); });
  forLoop(even, index(rows), index(2), [&](Value row) { write(row, zero, zero); });
}

SmallVector<Value> SumEmitter::pairProducts(Value left, Value right, Value row, Value first,
                                            ValueRange sums) {
  Value columns = loadColumns(right, mul(row, index(kLanes)));
  Value from = add(mul(row, index(kLanes)), mul(first, index(2)));
  SmallVector<Value> next;
  for (auto [i, sum] : llvm::enumerate(sums))
    next.push_back(pairProduct(loadPair(left, add(from, index(2 * int64_t(i)))), columns, sum));
  return next;
}

//===----------------------------------------------------------------------===//
// Products
//===----------------------------------------------------------------------===//

SmallVector<Value> SumEmitter::panelProduct(Value a, ArrayRef<Value> aAt, Value w, Value wAt,
                                            Value count, ArrayRef<Value> acc, int64_t stride) {
  if (getElementTypeOrSelf(w.getType()).isBF16()) {
    assert(stride == kLanes && "bf16 comes in panels");
    return reduce(index(0), count, 2, acc, [&](Value k, ValueRange carried) {
      Value columns = loadColumns(w, add(wAt, mul(k, index(kLanes))));
      SmallVector<Value> next;
      for (auto [at, sum] : llvm::zip(aAt, carried))
        next.push_back(pairProduct(loadPair(a, add(at, k)), columns, sum));
      return next;
    });
  }
  return reduce(index(0), count, 1, acc, [&](Value k, ValueRange carried) {
    Value panel = loadF32(w, add(wAt, mul(k, index(stride))), kLanes);
    SmallVector<Value> next;
    for (auto [at, sum] : llvm::zip(aAt, carried))
      next.push_back(fma(splat(load(a, add(at, k)), kLanes), panel, sum));
    return next;
  });
}

void SumEmitter::outerProduct(Value tile, Value g, Value x, int64_t rows, int64_t width,
                              function_ref<Value(Value)> xAt) {
  constexpr int64_t kSums = 8;
  // Of bf16 the terms are rows, two at a time.
  bool pairs = getElementTypeOrSelf(x.getType()).isBF16();
  Value gPairs, xPairs;
  if (pairs) {
    gPairs = scratch(rows * kLanes, b.getBF16Type());
    xPairs = scratch(rows * kLanes, b.getBF16Type());
    pairRows(g, rows, {}, gPairs, [&](Value row) { return mul(row, index(kLanes)); });
  }
  forLoop(index(0), index(width), index(kLanes), [&](Value lane) {
    if (pairs)
      pairRows(x, rows, {}, xPairs, [&](Value row) { return add(xAt(row), lane); });
    forLoop(index(0), index(kLanes), index(kSums), [&](Value j) {
      SmallVector<Value> at, sums;
      for (int64_t i = 0; i < kSums; ++i) {
        at.push_back(add(mul(add(j, index(i)), index(width)), lane));
        sums.push_back(loadF32(tile, at.back(), kLanes));
      }
      sums = reduce(index(0), index(rows), pairs ? 2 : 1, sums, [&](Value r, ValueRange carried) {
        if (pairs)
          return pairProducts(gPairs, xPairs, r, j, carried);
        Value v = loadF32(x, add(xAt(r), lane), kLanes);
        Value from = add(mul(r, index(kLanes)), j);
        SmallVector<Value> next;
        for (int64_t i = 0; i < kSums; ++i)
          next.push_back(fma(splat(load(g, add(from, index(i))), kLanes), v, carried[i]));
        return next;
      });
      for (int64_t i = 0; i < kSums; ++i)
        storeFromF32(sums[i], tile, at[i]);
    });
  });
}

LaneRange laneRange(SumEmitter &s, formats::Width width, Value block) {
  int64_t perGroup = width.paddedInner() / kLanes;
  Value group = s.div(block, perGroup), inGroup = s.mul(s.rem(block, perGroup), s.index(kLanes));
  LaneRange range;
  range.first = s.add(s.mul(group, s.index(width.inner)), inGroup);
  if (width.inner % kLanes)
    range.valid = s.min(s.index(kLanes), s.sub(s.index(width.inner), inGroup));
  return range;
}

FailureOr<func::FuncOp> emitAccumulationKernel(mega::GroupOp group, ModuleOp module,
                                               const std::string &name) {
  KernelEmitter kernel(group, module, name, 0);
  Operation *op = &group.getBody(0)->front();
  if (group.getBody(0)->getOperations().size() != 2)
    return kernel.function.erase(), op->emitOpError("expects to be alone in its group");
  // Only the loss has results that somebody may not want.
  if (!isa<mega::LinearCrossEntropyOp>(op) && group.getNumResults() != op->getNumResults())
    return kernel.function.erase(),
           op->emitOpError("expects a reader of each of its results in front of its group");
  SumEmitter s(kernel);
  LogicalResult done = failure();
  if (auto sample = dyn_cast<mega::SampleOp>(op))
    done = emitSample(kernel, sample);
  else if (isa<mega::LinearWeightGradientOp, mega::ColumnSumOp, mega::EmbedGradientOp, mega::SquaresOp,
          mega::AdamWOp>(op))
    done = emitSum(s, op);
  else if (isa<mega::TimestepNormGradientOp, mega::CemaGradientOp>(op))
    done = emitStreamGradient(s, op);
  else if (isa<mega::ChunkPanelsOp, mega::ChunkQueryGradientOp, mega::ChunkKeyGradientOp>(op))
    done = emitAttentionGradient(s, op);
  else if (isa<mega::LinearCrossEntropyOp, mega::LossInputGradientOp, mega::LossWeightGradientOp>(
               op))
    done = emitLoss(s, op);
  else
    op->emitOpError("has no kernel of its own");
  if (failed(done))
    return kernel.function.erase(), failure();
  return kernel.function;
}

} // namespace otodus

//===- GenericToVectors.cpp - Elementwise and reducing generics ------------===//
//
//   %y = linalg.generic (rows, blocks, lanes) …    ==>   scf.for row
//                                                          scf.for block
//                                                            vector read, compute, write
//
// One dimension becomes the vector: the last one of the result, or, if the op reduces
// to something without lanes, the last one of the first input. Lanes are reduced last, in
// a fixed order.
//
//===----------------------------------------------------------------------===//

#include "LowerTilesToVectors.h"

#include "Codegen/Common/Philox.h"

#include "mega/IR/MegaOps.h"

#include "mlir/Dialect/Affine/IR/AffineOps.h"
#include "mlir/Dialect/Affine/Utils.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/IR/AffineExpr.h"
#include "mlir/IR/IRMapping.h"

using namespace mlir;

namespace otodus::cpu {
namespace {

class GenericLowering {
public:
  GenericLowering(RewriterBase &rewriter, linalg::GenericOp op)
      : b(rewriter), op(op), loc(op.getLoc()), maps(op.getIndexingMapsArray()),
        iterators(op.getIteratorTypesArray()) {}

  LogicalResult run() {
    if (failed(chooseVectorDim()))
      return failure();
    for (Range range : cast<linalg::LinalgOp>(op.getOperation()).createLoopRanges(b, loc))
      sizes.push_back(range.size);
    auto lanesAttr = getConstantIntValue(sizes[vectorDim]);
    if (!lanesAttr)
      return op.emitOpError("expects a static size along its vector dimension");
    lanes = *lanesAttr;

    SmallVector<OpFoldResult> outer(sizes.size()), inner(sizes.size());
    bool reduces = false;
    for (auto [d, iterator] : llvm::enumerate(iterators)) {
      if (int64_t(d) == vectorDim)
        continue;
      if (iterator == utils::IteratorType::parallel)
        outer[d] = sizes[d];
      else
        inner[d] = sizes[d], reduces = true;
    }
    bool reducesLanes = iterators[vectorDim] == utils::IteratorType::reduction;
    if ((reduces || reducesLanes) && op.getNumResults() != 1)
      return op.emitOpError("expects one result of a reduction");

    // An accumulator that starts from a constant needs no read, and a fill that several
    // reductions share no copies.
    SmallVector<Value> destinations;
    for (Value out : op.getOutputs()) {
      auto fill = out.getDefiningOp<linalg::FillOp>();
      starts.push_back(fill ? fill.getInputs()[0] : Value());
      destinations.push_back(fill ? fill.getOutputs()[0] : out);
    }
    auto results = buildLoops(b, loc, outer, destinations,
                              [&](OpBuilder &nested, ValueRange ivs, ValueRange outs) {
                                return emitPoint(nested, ivs, outs, inner, reduces, reducesLanes);
                              });
    if (broken)
      return failure();
    b.replaceOp(op, results);
    return success();
  }

private:
  LogicalResult chooseVectorDim() {
    AffineMap out = maps[op.getNumDpsInputs()];
    auto last = [](AffineMap map) -> int64_t {
      if (map.getNumResults() == 0)
        return -1;
      if (auto dim = dyn_cast<AffineDimExpr>(map.getResults().back()))
        return dim.getPosition();
      return -1;
    };
    bool reduces = llvm::is_contained(iterators, utils::IteratorType::reduction);
    vectorDim = last(out);
    if (reduces)
      for (int64_t i = 0; i < op.getNumDpsInputs(); ++i)
        if (int64_t dim = last(maps[i]);
            dim >= 0 && iterators[dim] == utils::IteratorType::reduction) {
          vectorDim = dim;
          break;
        }
    if (vectorDim < 0)
      return op.emitOpError("expects a result whose last dimension is a loop");
    return success();
  }

  /// The operand at the current point: a vector along the vector dimension, or a scalar.
  Value read(OpBuilder &nested, Value operand, AffineMap map, ValueRange ivs) {
    if (!isa<RankedTensorType>(operand.getType()))
      return operand;
    AffineExpr lane = nested.getAffineDimExpr(vectorDim);
    SmallVector<Value> indices;
    bool vectorRead = false;
    for (auto [i, expr] : llvm::enumerate(map.getResults())) {
      if (expr.isFunctionOfDim(vectorDim)) {
        if (i + 1 != map.getNumResults() || expr != lane) {
          op.emitOpError("expects lanes in the last place of every operand");
          broken = true;
          return {};
        }
        vectorRead = true;
        indices.push_back(arith::ConstantIndexOp::create(nested, loc, 0));
        continue;
      }
      if (auto dim = dyn_cast<AffineDimExpr>(expr)) {
        indices.push_back(ivs[dim.getPosition()]);
      } else if (auto constant = dyn_cast<AffineConstantExpr>(expr)) {
        indices.push_back(arith::ConstantIndexOp::create(nested, loc, constant.getValue()));
      } else {
        op.emitOpError("expects every index to be a loop or a constant");
        broken = true;
        return {};
      }
    }
    if (!vectorRead)
      return tensor::ExtractOp::create(nested, loc, operand, indices);
    return readVector(nested, loc, operand, indices, lanes);
  }

  /// The body at one point. `accumulators` stand for the output arguments.
  SmallVector<Value> computeBody(OpBuilder &nested, ValueRange ivs, ValueRange accumulators) {
    IRMapping map;
    Block *body = op.getBody();
    for (int64_t i = 0; i < op.getNumDpsInputs(); ++i) {
      if (body->getArgument(i).use_empty())
        continue;
      Value value = read(nested, op.getDpsInputs()[i], maps[i], ivs);
      if (broken)
        return {};
      map.map(body->getArgument(i), asVector(nested, loc, value, lanes));
    }
    for (auto [i, value] : llvm::enumerate(accumulators))
      map.map(body->getArgument(op.getNumDpsInputs() + i), value);
    for (Operation &inner : body->without_terminator()) {
      if (auto index = dyn_cast<linalg::IndexOp>(inner)) {
        Value value = ivs[index.getDim()];
        if (int64_t(index.getDim()) == vectorDim)
          value = vector::StepOp::create(nested, loc,
                                         VectorType::get({lanes}, nested.getIndexType()));
        map.map(index.getResult(), asVector(nested, loc, value, lanes));
        continue;
      }
      if (auto swap = dyn_cast<mega::PairSwapOp>(inner)) {
        Value vector = asVector(nested, loc, map.lookupOrDefault(swap.getInput()), lanes);
        SmallVector<int64_t> pairs;
        for (int64_t i = 0; i < lanes; ++i)
          pairs.push_back(i ^ 1);
        map.map(swap.getResult(),
                Value(vector::ShuffleOp::create(nested, loc, vector, vector, pairs)));
        continue;
      }
      if (auto word = dyn_cast<mega::RandomWordOp>(inner)) {
        SmallVector<Value> first;
        for (Value operand : word->getOperands())
          first.push_back(ofFirstLane(nested, map.lookupOrDefault(operand)));
        map.map(word.getResult(),
                emitRandomWords(nested, loc, first[0], {first[1], first[2], first[3]},
                                {first[4], first[5]}, lanes));
        continue;
      }
      if (auto apply = dyn_cast<affine::AffineApplyOp>(inner)) {
        // What tiling makes of the index of a loop that is no vector.
        SmallVector<Value> first;
        for (Value operand : apply.getMapOperands())
          first.push_back(ofFirstLane(nested, map.lookupOrDefault(operand)));
        auto result = affine::expandAffineMap(nested, loc, apply.getAffineMap(), first);
        map.map(apply.getResult(), asVector(nested, loc, result->front(), lanes));
        continue;
      }
      cloneOnVectors(nested, &inner, map, lanes);
    }
    SmallVector<Value> results;
    for (Value yielded : body->getTerminator()->getOperands())
      results.push_back(asVector(nested, loc, map.lookupOrDefault(yielded), lanes));
    return results;
  }

  /// `value` in lane 0, which all lanes share if it was broadcast.
  Value ofFirstLane(OpBuilder &nested, Value value) {
    if (!isa<VectorType>(value.getType()))
      return value;
    if (auto broadcast = value.getDefiningOp<vector::BroadcastOp>())
      return broadcast.getSource();
    return vector::ExtractOp::create(nested, loc, value, 0);
  }

  SmallVector<Value> outIndices(OpBuilder &nested, AffineMap map, ValueRange ivs) {
    SmallVector<Value> indices;
    for (AffineExpr expr : map.getResults()) {
      auto dim = cast<AffineDimExpr>(expr);
      if (int64_t(dim.getPosition()) == vectorDim)
        indices.push_back(arith::ConstantIndexOp::create(nested, loc, 0));
      else
        indices.push_back(ivs[dim.getPosition()]);
    }
    return indices;
  }

  SmallVector<Value> emitPoint(OpBuilder &nested, ValueRange ivs, ValueRange outs,
                               ArrayRef<OpFoldResult> inner, bool reduces, bool reducesLanes) {
    SmallVector<Value> results(outs);
    SmallVector<SmallVector<Value>> indices;
    for (int64_t i = 0; i < op.getNumDpsInits(); ++i)
      indices.push_back(outIndices(nested, maps[op.getNumDpsInputs() + i], ivs));

    SmallVector<Value> initial;
    for (auto [i, out] : llvm::enumerate(outs)) {
      Type element = getElementTypeOrSelf(out.getType());
      if (reducesLanes) {
        // The combiner's neutral element: 0 for a sum, -inf for a maximum.
        Attribute neutral = nested.getZeroAttr(element);
        if (combiner() && isa<arith::MaximumFOp, arith::MaxNumFOp>(combiner()))
          neutral = nested.getFloatAttr(
              element, APFloat::getInf(cast<FloatType>(element).getFloatSemantics(), true));
        initial.push_back(arith::ConstantOp::create(
            nested, loc,
            SplatElementsAttr::get(VectorType::get({lanes}, element), neutral)));
      } else if (op.getBody()->getArgument(op.getNumDpsInputs() + i).use_empty()) {
        initial.push_back(Value());
      } else {
        initial.push_back(starts[i] ? asVector(nested, loc, starts[i], lanes)
                                    : readVector(nested, loc, out, indices[i], lanes));
      }
    }

    SmallVector<Value> values;
    if (reduces) {
      values = buildLoops(nested, loc, inner, initial,
                          [&](OpBuilder &in, ValueRange innerIvs, ValueRange carried) {
                            SmallVector<Value> all;
                            for (auto [d, iv] : llvm::enumerate(innerIvs))
                              all.push_back(inner[d] ? iv : ivs[d]);
                            return computeBody(in, all, carried);
                          });
    } else {
      SmallVector<Value> accumulators;
      for (auto [i, value] : llvm::enumerate(initial))
        accumulators.push_back(value ? value : outs[i]); // unused in the body
      values = computeBody(nested, ivs, accumulators);
    }
    if (broken)
      return results;

    for (auto [i, out] : llvm::enumerate(outs)) {
      if (!reducesLanes) {
        results[i] = writeVector(nested, loc, values[i], out, indices[i]);
        continue;
      }
      bool isMax = isa<arith::MaximumFOp, arith::MaxNumFOp>(combiner());
      // reassoc: a tree of vector adds in an order fixed by the target, not a chain of
      // scalar ones.
      Value scalar = vector::ReductionOp::create(
          nested, loc, isMax ? vector::CombiningKind::MAXNUMF : vector::CombiningKind::ADD,
          values[i], isMax ? arith::FastMathFlags::nnan : arith::FastMathFlags::reassoc);
      Value before = starts[i] ? starts[i]
                               : Value(tensor::ExtractOp::create(nested, loc, out, indices[i]));
      Value total = isMax
                        ? Value(arith::MaxNumFOp::create(nested, loc, before, scalar))
                        : Value(arith::AddFOp::create(nested, loc, before, scalar));
      results[i] = tensor::InsertOp::create(nested, loc, total, out, indices[i]);
    }
    return results;
  }

  /// The op that folds a point into the accumulator.
  Operation *combiner() {
    Value yielded = op.getBody()->getTerminator()->getOperand(0);
    return yielded.getDefiningOp();
  }

  RewriterBase &b;
  linalg::GenericOp op;
  Location loc;
  SmallVector<AffineMap> maps;
  SmallVector<utils::IteratorType> iterators;
  SmallVector<OpFoldResult> sizes;
  SmallVector<Value> starts; ///< what a result is filled with before, or null
  int64_t vectorDim = -1, lanes = 0;
  bool broken = false;
};

} // namespace

LogicalResult lowerGenericToVectors(RewriterBase &rewriter, linalg::GenericOp op) {
  rewriter.setInsertionPoint(op);
  return GenericLowering(rewriter, op).run();
}

LogicalResult lowerFillToVectors(RewriterBase &rewriter, linalg::FillOp op) {
  rewriter.setInsertionPoint(op);
  Location loc = op.getLoc();
  auto type = cast<RankedTensorType>(op.getOutputs()[0].getType());
  if (type.getRank() == 0 || type.isDynamicDim(type.getRank() - 1))
    return op.emitOpError("expects a static last dimension");
  SmallVector<OpFoldResult> bounds;
  for (int64_t d = 0; d + 1 < type.getRank(); ++d)
    bounds.push_back(tensor::getMixedSize(rewriter, loc, op.getOutputs()[0], d));
  int64_t lanes = type.getShape().back();
  auto results = buildLoops(
      rewriter, loc, bounds, op.getOutputs(),
      [&](OpBuilder &b, ValueRange ivs, ValueRange outs) -> SmallVector<Value> {
        SmallVector<Value> indices(ivs);
        indices.push_back(arith::ConstantIndexOp::create(b, loc, 0));
        Value vector = asVector(b, loc, op.getInputs()[0], lanes);
        return {writeVector(b, loc, vector, outs[0], indices)};
      });
  rewriter.replaceOp(op, results);
  return success();
}

} // namespace otodus::cpu

//===- EmitAttention.cpp - The open chunk: append, then attend -------------===//
//
// Keys and values of the open chunk are kept as packed right-hand sides (formats::StateLayout), so
// both products of attention are the same register tiles as every other product:
//
//   S[keys, r] = Q[r, dz] Kᵀ      P = exp(S - max) under the causal mask      O = P V / Σ P
//
// A work item is one sequence, one head, R new steps and a share of the value columns; scores
// never leave its scratch.
//
//===----------------------------------------------------------------------===//

#include "Epilogue.h"
#include "KernelEmitter.h"

#include "mlir/Dialect/Affine/IR/AffineOps.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;
using utils::IteratorType;

namespace otodus {
namespace {

mega::ChunkAttentionOp attentionOf(mega::GroupOp group) {
  return cast<mega::ChunkAttentionOp>(group.getBody(0)->front());
}

int64_t blocksOf(int64_t n) { return (n + kLanes - 1) / kLanes; }

/// Sizes that both kernels need.
struct Sizes {
  explicit Sizes(mega::ChunkAttentionOp op)
      : heads(op.getQuery().getType().getDimSize(2)), dz(op.getQuery().getType().getDimSize(3)),
        dv(op.getValue().getType().getDimSize(3)), chunk(op.getChunk()), zBlocks(blocksOf(dz)),
        vBlocks(blocksOf(dv)), keyBlocks(blocksOf(chunk)),
        element(op.getKeys().getType().getElementType()), pairs(element.isBF16()) {}

  int64_t heads, dz, dv, chunk, zBlocks, vBlocks, keyBlocks;
  Type element;
  bool pairs;

  /// 32-bit words of one sequence's keys and values, rounded to 64 bytes.
  int64_t keyWords() const { return words(keyBlocks * kLanes * zBlocks * kLanes); }
  int64_t valueWords() const { return words(keyBlocks * kLanes * vBlocks * kLanes); }

private:
  int64_t words(int64_t perHead) const {
    int64_t bytes = heads * perHead * (pairs ? 2 : 4);
    return (bytes + 63) / 64 * 16;
  }
};

} // namespace

//===----------------------------------------------------------------------===//
// append
//===----------------------------------------------------------------------===//

FailureOr<func::FuncOp> emitAppendKernel(mega::GroupOp group, ModuleOp module,
                                         const std::string &name) {
  mega::ChunkAttentionOp op = attentionOf(group);
  Sizes sizes(op);
  KernelEmitter kernel(group, module, name, 0);
  OpBuilder &b = kernel.b;
  Location loc = kernel.loc;
  auto index = [&](int64_t v) -> Value { return arith::ConstantIndexOp::create(b, loc, v); };
  auto add = [&](Value x, Value y) -> Value { return arith::AddIOp::create(b, loc, x, y); };
  auto mul = [&](Value x, Value y) -> Value { return arith::MulIOp::create(b, loc, x, y); };
  auto div = [&](Value x, int64_t y) -> Value {
    return arith::DivUIOp::create(b, loc, x, index(y));
  };
  auto rem = [&](Value x, int64_t y) -> Value {
    return arith::RemUIOp::create(b, loc, x, index(y));
  };
  Type i32 = b.getI32Type();

  // State and rows are moved as 32-bit words: one f32, or two bf16.
  auto words = [&](Value model) {
    KernelBuffer buffer;
    buffer.kind = "operand";
    buffer.index = kernel.operandNumber(model);
    return kernel.parameter(buffer, i32);
  };
  Value keys = words(op.getKeys()), values = words(op.getValues()), k = words(op.getKey()),
        v = words(op.getValue());
  Value position = kernel.operandParameter(op.getPosition());

  // One item per sequence and head; the last block index covers keys (0) and each block of values.
  int64_t parts = 1 + sizes.vBlocks;
  auto grid = scf::ForallOp::create(
      b, loc, SmallVector<OpFoldResult>(3, b.getIndexAttr(0)),
      ArrayRef<OpFoldResult>{kernel.frame.batch, b.getIndexAttr(sizes.heads),
                             b.getIndexAttr(parts)},
      SmallVector<OpFoldResult>(3, b.getIndexAttr(1)), ValueRange{}, std::nullopt);
  b.setInsertionPointToStart(grid.getBody());
  Value sequence = grid.getInductionVars()[0], head = grid.getInductionVars()[1],
        part = grid.getInductionVars()[2];
  Value start = memref::LoadOp::create(b, loc, position, ValueRange{sequence});
  Value open = rem(arith::IndexCastOp::create(b, loc, b.getIndexType(), start), sizes.chunk);
  Value firstRow = mul(sequence, kernel.frame.length);
  Value isKeys = arith::CmpIOp::create(b, loc, arith::CmpIPredicate::eq, part, index(0));
  auto choice = scf::IfOp::create(b, loc, isKeys, /*withElseRegion=*/true);

  int64_t perWord = sizes.pairs ? 2 : 1, rowWords = kLanes / perWord;
  auto rowStrideWords = [&](Value model) {
    return rowStrideOf(widthOf(model.getType()), dtypeOf(model.getType())) / perWord;
  };

  { // Keys: [H][key blocks][dz (pairs)][32 keys]: a row becomes a column.
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(choice.thenBlock());
    auto rows = scf::ForOp::create(b, loc, index(0), kernel.frame.length, index(1));
    b.setInsertionPointToStart(rows.getBody());
    Value at = add(open, rows.getInductionVar());
    Value from = add(mul(add(firstRow, rows.getInductionVar()), index(rowStrideWords(op.getKey()))),
                     mul(head, index(sizes.zBlocks * rowWords)));
    Value to = add(mul(sequence, index(sizes.keyWords())),
                   mul(add(mul(head, index(sizes.keyBlocks)), div(at, kLanes)),
                       index(sizes.zBlocks * rowWords * kLanes)));
    to = add(to, rem(at, kLanes));
    SmallVector<int32_t> strides;
    for (int64_t i = 0; i < 16; ++i)
      strides.push_back(int32_t(i * kLanes));
    auto type = VectorType::get({16}, i32);
    Value lanes = arith::ConstantOp::create(b, loc, DenseElementsAttr::get(type, ArrayRef(strides)));
    Value mask = arith::ConstantOp::create(
        b, loc,
        DenseElementsAttr::get(VectorType::get({16}, b.getI1Type()), b.getBoolAttr(true)));
    auto loop = scf::ForOp::create(b, loc, index(0), index(sizes.zBlocks * rowWords), index(16));
    b.setInsertionPointToStart(loop.getBody());
    Value word = loop.getInductionVar();
    Value row = vector::LoadOp::create(b, loc, type, k, ValueRange{add(from, word)});
    vector::ScatterOp::create(b, loc, /*resultType=*/Type(), keys,
                              ValueRange{add(to, mul(word, index(kLanes)))}, lanes, mask, row);
  }
  { // Values: [H][dv blocks][keys (pairs)][32]: a block of a row stays together.
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(choice.elseBlock());
    Value block = arith::SubIOp::create(b, loc, part, index(1));
    Value base = add(mul(sequence, index(sizes.valueWords())),
                     mul(add(mul(head, index(sizes.vBlocks)), block),
                         index(sizes.keyBlocks * kLanes * rowWords)));
    auto rows = scf::ForOp::create(b, loc, index(0), kernel.frame.length, index(1));
    b.setInsertionPointToStart(rows.getBody());
    Value at = add(open, rows.getInductionVar());
    Value from =
        add(mul(add(firstRow, rows.getInductionVar()), index(rowStrideWords(op.getValue()))),
            mul(add(mul(head, index(sizes.vBlocks)), block), index(rowWords)));
    if (!sizes.pairs) {
      auto type = VectorType::get({kLanes}, i32);
      Value row = vector::LoadOp::create(b, loc, type, v, ValueRange{from});
      vector::StoreOp::create(b, loc, row, values, ValueRange{add(base, mul(at, index(kLanes)))});
    } else {
      // Two keys share a word: the row's half is put beside what the other half holds.
      auto type = VectorType::get({kLanes}, i32);
      auto half = VectorType::get({kLanes}, b.getI16Type());
      Value packed =
          vector::LoadOp::create(b, loc, VectorType::get({rowWords}, i32), v, ValueRange{from});
      Value row = arith::ExtUIOp::create(
          b, loc, type, Value(vector::BitCastOp::create(b, loc, half, packed)));
      Value to = add(base, mul(div(at, 2), index(kLanes)));
      Value old = vector::LoadOp::create(b, loc, type, values, ValueRange{to});
      Value odd = arith::CmpIOp::create(b, loc, arith::CmpIPredicate::ne, rem(at, 2), index(0));
      auto constant = [&](uint32_t word) -> Value {
        return arith::ConstantOp::create(
            b, loc, DenseElementsAttr::get(type, b.getI32IntegerAttr(int32_t(word))));
      };
      Value low = arith::OrIOp::create(
          b, loc, Value(arith::AndIOp::create(b, loc, old, constant(0xffff0000u))), row);
      Value high = arith::OrIOp::create(
          b, loc, Value(arith::AndIOp::create(b, loc, old, constant(0x0000ffffu))),
          Value(arith::ShLIOp::create(b, loc, row, constant(16))));
      Value both = arith::SelectOp::create(b, loc, odd, high, low);
      vector::StoreOp::create(b, loc, both, values, ValueRange{to});
    }
  }
  b.setInsertionPointToEnd(&kernel.function.getBody().front());
  kernel.finish({{formats::Symbol::Batch, 1, 1},
                 {formats::Symbol::One, sizes.heads, 1},
                 {formats::Symbol::One, parts, 1}});
  return kernel.function;
}

//===----------------------------------------------------------------------===//
// attend
//===----------------------------------------------------------------------===//

FailureOr<func::FuncOp> emitAttentionKernel(mega::GroupOp group, ModuleOp module,
                                            const std::string &name, int64_t rowTile) {
  mega::ChunkAttentionOp op = attentionOf(group);
  FailureOr<Epilogue> epilogue = Epilogue::of(group);
  if (failed(epilogue))
    return failure();
  Sizes sizes(op);
  KernelEmitter kernel(group, module, name, rowTile);
  OpBuilder &b = kernel.b;
  Location loc = kernel.loc;
  MLIRContext *context = b.getContext();
  Type f32 = b.getF32Type();
  auto index = [&](int64_t v) -> Value { return arith::ConstantIndexOp::create(b, loc, v); };
  auto add = [&](Value x, Value y) -> Value { return arith::AddIOp::create(b, loc, x, y); };
  auto mul = [&](Value x, Value y) -> Value { return arith::MulIOp::create(b, loc, x, y); };
  auto constantF = [&](OpBuilder &nb, float v) -> Value {
    return arith::ConstantOp::create(nb, loc, nb.getF32FloatAttr(v));
  };
  const int64_t R = rowTile;

  Value q = kernel.operandParameter(op.getQuery());
  Value keys = kernel.operandParameter(op.getKeys());
  Value values = kernel.operandParameter(op.getValues());
  Value position = kernel.operandParameter(op.getPosition());
  SmallVector<Value> others;
  for (Value input : epilogue->inputs())
    others.push_back(kernel.operandParameter(input));
  Value out = kernel.resultParameter(epilogue->result(),
                                     getElementTypeOrSelf(op.getOutput().getType()));

  // With few rows the value columns are shared out too.
  int64_t columnBlocks =
      R <= 4 ? *group.getScheduleAttr().getColumnBlock() / kLanes : sizes.vBlocks;
  int64_t shares = sizes.vBlocks / columnBlocks;

  AffineExpr s0 = b.getAffineSymbolExpr(0), s1 = b.getAffineSymbolExpr(1);
  OpFoldResult rowTiles = affine::makeComposedFoldedAffineApply(
      b, loc, s0.ceilDiv(R), {OpFoldResult(kernel.frame.length)});
  auto grid = scf::ForallOp::create(
      b, loc, SmallVector<OpFoldResult>(4, b.getIndexAttr(0)),
      ArrayRef<OpFoldResult>{kernel.frame.batch, b.getIndexAttr(sizes.heads), rowTiles,
                             b.getIndexAttr(shares)},
      SmallVector<OpFoldResult>(4, b.getIndexAttr(1)), ValueRange{}, std::nullopt);
  b.setInsertionPointToStart(grid.getBody());
  Value sequence = grid.getInductionVars()[0], head = grid.getInductionVars()[1],
        step = mul(grid.getInductionVars()[2], index(R)), share = grid.getInductionVars()[3];

  Value start = memref::LoadOp::create(b, loc, position, ValueRange{sequence});
  Value open = arith::RemUIOp::create(
      b, loc, Value(arith::IndexCastOp::create(b, loc, b.getIndexType(), start)),
      index(sizes.chunk));
  Value rows = affine::AffineMinOp::create(
      b, loc,
      AffineMap::get(0, 2, {s0 - s1, b.getAffineConstantExpr(R)}, context),
      ValueRange{kernel.frame.length, step});
  Value firstKey = add(open, step); // row r sees keys <= firstKey + r
  AffineExpr s2 = b.getAffineSymbolExpr(1);
  Value panels = affine::AffineMinOp::create(
      b, loc,
      AffineMap::get(0, 2, {(s0 + s2).ceilDiv(kLanes), b.getAffineConstantExpr(sizes.keyBlocks)},
                     context),
      ValueRange{firstKey, rows});

  auto view = [&](Value buffer, Value offset, ArrayRef<int64_t> shape, ArrayRef<Value> dynamic,
                  ArrayRef<int64_t> strides) -> Value {
    SmallVector<OpFoldResult> extents, steps;
    size_t next = 0;
    for (int64_t size : shape)
      extents.push_back(ShapedType::isDynamic(size) ? OpFoldResult(dynamic[next++])
                                                    : OpFoldResult(b.getIndexAttr(size)));
    for (int64_t s : strides)
      steps.push_back(b.getIndexAttr(s));
    auto type = MemRefType::get(shape, getElementTypeOrSelf(buffer.getType()),
                                StridedLayoutAttr::get(context, ShapedType::kDynamic, strides));
    return memref::ReinterpretCastOp::create(b, loc, type, buffer, OpFoldResult(offset), extents,
                                             steps);
  };
  Value row = add(mul(sequence, kernel.frame.length), step);
  int64_t qStride = rowStrideOf(widthOf(op.getQuery().getType()), dtypeOf(sizes.element));
  int64_t oStride = rowStrideOf(widthOf(op.getOutput().getType()),
                                dtypeOf(op.getOutput().getType()));
  int64_t perWord = sizes.pairs ? 2 : 1;
  const int64_t dynamic = ShapedType::kDynamic;

  // Left and right sides of the two products.
  Value qTile = kernel.frame.asTensor(view(
      q, add(mul(row, index(qStride)), mul(head, index(sizes.zBlocks * kLanes))),
      {R, sizes.zBlocks, kLanes}, {}, {qStride, kLanes, 1}));
  int64_t inner = kLanes / perWord, outer = kLanes * perWord;
  int64_t keyPanel = sizes.zBlocks * kLanes * kLanes;
  Value keyTile = kernel.frame.asTensor(
      view(keys,
           add(mul(sequence, index(sizes.keyWords() * perWord)),
               mul(head, index(sizes.keyBlocks * keyPanel))),
           {dynamic, sizes.zBlocks, inner, outer}, {panels},
           {keyPanel, kLanes * kLanes, outer, 1}));
  int64_t valuePanel = sizes.keyBlocks * kLanes * kLanes;
  Value valueTile = kernel.frame.asTensor(
      view(values,
           add(mul(sequence, index(sizes.valueWords() * perWord)),
               mul(add(mul(head, index(sizes.vBlocks)), mul(share, index(columnBlocks))),
                   index(valuePanel))),
           {columnBlocks, dynamic, inner, outer}, {panels},
           {valuePanel, kLanes * kLanes, outer, 1}));

  auto dim = [&](int64_t i) { return b.getAffineDimExpr(i); };
  auto mapOf = [&](int64_t rank, ArrayRef<AffineExpr> exprs) {
    return AffineMap::get(rank, 0, exprs, context);
  };
  auto packed = [&](AffineExpr k, AffineExpr lane) -> std::pair<AffineExpr, AffineExpr> {
    if (sizes.pairs)
      return {k.floorDiv(2), lane * 2 + k % 2};
    return {k, lane};
  };
  auto empty = [&](ArrayRef<OpFoldResult> shape, Type element) -> Value {
    return tensor::EmptyOp::create(b, loc, shape, element);
  };
  auto filled = [&](ArrayRef<OpFoldResult> shape, float value) -> Value {
    return linalg::FillOp::create(b, loc, constantF(b, value), empty(shape, f32)).getResult(0);
  };
  auto product = [&](Value a, Value w, Value init, ArrayRef<AffineMap> maps,
                     ArrayRef<IteratorType> iterators) -> Value {
    return linalg::GenericOp::create(
               b, loc, TypeRange{init.getType()}, ValueRange{a, w}, ValueRange{init}, maps,
               iterators,
               [&](OpBuilder &nb, Location, ValueRange args) {
                 auto wide = [&](Value v) -> Value {
                   return v.getType().isF32() ? v
                                              : Value(arith::ExtFOp::create(nb, loc, f32, v));
                 };
                 Value p = arith::MulFOp::create(nb, loc, wide(args[0]), wide(args[1]));
                 linalg::YieldOp::create(nb, loc,
                                         Value(arith::AddFOp::create(nb, loc, args[2], p)));
               })
        .getResult(0);
  };
  const IteratorType par = IteratorType::parallel, red = IteratorType::reduction;

  // S[panel, r, key]
  SmallVector<OpFoldResult> scoreShape{panels, b.getIndexAttr(R), b.getIndexAttr(kLanes)};
  Value scores;
  {
    // loops: panel r key zo zi
    auto [k, lane] = packed(dim(4), dim(2));
    scores = product(qTile, keyTile, filled(scoreShape, 0),
                     {mapOf(5, {dim(1), dim(3), dim(4)}), mapOf(5, {dim(0), dim(3), k, lane}),
                      mapOf(5, {dim(0), dim(1), dim(2)})},
                     {par, par, par, red, red});
  }

  // Under the causal mask: exp(S - max), its row sums.
  auto visible = [&](OpBuilder &nb) -> Value {
    Value panel = linalg::IndexOp::create(nb, loc, 0), r = linalg::IndexOp::create(nb, loc, 1),
          lane = linalg::IndexOp::create(nb, loc, 2);
    Value lanes = arith::ConstantIndexOp::create(nb, loc, kLanes);
    Value key = arith::AddIOp::create(
        nb, loc, Value(arith::MulIOp::create(nb, loc, panel, lanes)), lane);
    Value last = arith::AddIOp::create(nb, loc, firstKey, r);
    return arith::CmpIOp::create(nb, loc, arith::CmpIPredicate::ule, key, last);
  };
  AffineMap full = mapOf(3, {dim(0), dim(1), dim(2)}), perRow = mapOf(3, {dim(1)});
  Value maxima =
      linalg::GenericOp::create(
          b, loc, TypeRange{RankedTensorType::get({R}, f32)}, ValueRange{scores},
          ValueRange{filled({b.getIndexAttr(R)}, -std::numeric_limits<float>::infinity())},
          ArrayRef<AffineMap>{full, perRow}, ArrayRef<IteratorType>{red, par, red},
          [&](OpBuilder &nb, Location, ValueRange args) {
            Value masked = arith::SelectOp::create(
                nb, loc, visible(nb), args[0],
                constantF(nb, -std::numeric_limits<float>::infinity()));
            linalg::YieldOp::create(
                nb, loc, Value(arith::MaxNumFOp::create(nb, loc, args[1], masked)));
          })
          .getResult(0);
  Type probability = sizes.pairs ? Type(b.getBF16Type()) : f32;
  Value weights =
      linalg::GenericOp::create(
          b, loc, TypeRange{RankedTensorType::get({dynamic, R, kLanes}, probability)},
          ValueRange{scores, maxima}, ValueRange{empty(scoreShape, probability)},
          ArrayRef<AffineMap>{full, perRow, full}, ArrayRef<IteratorType>{par, par, par},
          [&](OpBuilder &nb, Location, ValueRange args) {
            Value e = math::ExpOp::create(
                nb, loc, Value(arith::SubFOp::create(nb, loc, args[0], args[1])));
            e = arith::SelectOp::create(nb, loc, visible(nb), e, constantF(nb, 0));
            if (sizes.pairs)
              e = arith::TruncFOp::create(nb, loc, probability, e);
            linalg::YieldOp::create(nb, loc, e);
          })
          .getResult(0);
  // The sum is over what the second product sees, rounded or not.
  Value sums = linalg::GenericOp::create(
                   b, loc, TypeRange{RankedTensorType::get({R}, f32)}, ValueRange{weights},
                   ValueRange{filled({b.getIndexAttr(R)}, 0)}, ArrayRef<AffineMap>{full, perRow},
                   ArrayRef<IteratorType>{red, par, red},
                   [&](OpBuilder &nb, Location, ValueRange args) {
                     Value v = args[0];
                     if (!v.getType().isF32())
                       v = arith::ExtFOp::create(nb, loc, f32, v);
                     linalg::YieldOp::create(
                         nb, loc, Value(arith::AddFOp::create(nb, loc, args[1], v)));
                   })
                   .getResult(0);

  // O[r, block, 32]
  Value o;
  {
    // loops: r block lane panel key
    auto [k, lane] = packed(dim(4), dim(2));
    o = product(weights, valueTile,
                filled({b.getIndexAttr(R), b.getIndexAttr(columnBlocks), b.getIndexAttr(kLanes)},
                       0),
                {mapOf(5, {dim(3), dim(0), dim(4)}), mapOf(5, {dim(1), dim(3), k, lane}),
                 mapOf(5, {dim(0), dim(1), dim(2)})},
                {par, par, par, red, red});
  }

  // Only rows of this sequence are written: the next ones are another item's.
  auto rowsOf = [&](Value buffer) {
    return view(buffer,
                add(mul(row, index(oStride)),
                    mul(add(mul(head, index(sizes.vBlocks)), mul(share, index(columnBlocks))),
                        index(kLanes))),
                {dynamic, columnBlocks, kLanes}, {rows}, {oStride, kLanes, 1});
  };
  Value target = rowsOf(out);
  Value targetTensor = kernel.frame.asTensor(target, /*writable=*/true);
  SmallVector<OpFoldResult> offsets(3, b.getIndexAttr(0)), strides(3, b.getIndexAttr(1)),
      extents{rows, b.getIndexAttr(columnBlocks), b.getIndexAttr(kLanes)};
  Value valid = tensor::ExtractSliceOp::create(b, loc, o, offsets, extents, strides);
  Value validSums = tensor::ExtractSliceOp::create(
      b, loc, sums, ArrayRef<OpFoldResult>{b.getIndexAttr(0)}, ArrayRef<OpFoldResult>{rows},
      ArrayRef<OpFoldResult>{b.getIndexAttr(1)});
  SmallVector<Value> inputs{valid, validSums};
  SmallVector<AffineMap> maps{full, mapOf(3, {dim(0)})};
  for (Value other : others) {
    inputs.push_back(kernel.frame.asTensor(rowsOf(other)));
    maps.push_back(full);
  }
  maps.push_back(full);
  Type outType = getElementTypeOrSelf(out.getType());
  Value result =
      linalg::GenericOp::create(
          b, loc, TypeRange{targetTensor.getType()}, inputs, ValueRange{targetTensor}, maps,
          ArrayRef<IteratorType>{par, par, par},
          [&](OpBuilder &nb, Location, ValueRange args) {
            SmallVector<Value> wide;
            for (Value v : args.drop_front(2).drop_back())
              wide.push_back(v.getType().isF32() ? v : Value(arith::ExtFOp::create(nb, loc, f32, v)));
            Value y = epilogue->emit(
                nb, loc, Value(arith::DivFOp::create(nb, loc, args[0], args[1])), wide);
            if (!outType.isF32())
              y = arith::TruncFOp::create(nb, loc, outType, y);
            linalg::YieldOp::create(nb, loc, y);
          })
          .getResult(0);
  auto materialize = bufferization::MaterializeInDestinationOp::create(b, loc, TypeRange{}, result,
                                                                       target);
  materialize.setRestrict(true);
  materialize.setWritable(true);

  b.setInsertionPointToEnd(&kernel.function.getBody().front());
  kernel.finish({{formats::Symbol::Batch, 1, 1},
                 {formats::Symbol::One, sizes.heads, 1},
                 {formats::Symbol::Length, 1, R},
                 {formats::Symbol::One, shares, 1}});
  return kernel.function;
}

} // namespace otodus

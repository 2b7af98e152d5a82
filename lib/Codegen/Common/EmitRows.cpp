//===- EmitRows.cpp - Row-wise mega ops as linalg on blocked tensors -------===//
//
// Every value of the group is a tensor [tiles, R, (groups,) blocks, 32]. Inside a group values
// are f32 whatever the model's dtype is: only what a matrix product reads and what leaves the
// group is rounded.
//
//===----------------------------------------------------------------------===//

#include "KernelEmitter.h"
#include "Philox.h"

#include "otodus/Codegen/Common/KernelMath.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Dialect/Utils/StructuredOpsUtils.h"

using namespace mlir;
using utils::IteratorType;

namespace otodus {
namespace {

class RowsEmitter {
public:
  RowsEmitter(KernelEmitter &kernel, MatrixLayout matrices)
      : kernel(kernel), b(kernel.b), loc(kernel.loc), f32(kernel.b.getF32Type()),
        matrices(matrices) {}

  LogicalResult run() {
    for (Operation &op : kernel.group.getBody(0)->without_terminator())
      if (failed(emit(&op)))
        return failure();
    return success();
  }

  /// Blocked f32 value (or bf16 for a group operand of that type).
  Value value(Value model) {
    if (Value known = map.lookupOrNull(model))
      return known;
    Value view = kernel.frame.rowsView(kernel.operandParameter(model), model.getType());
    Value tensor = kernel.frame.asTensor(view);
    map.map(model, tensor);
    return tensor;
  }

  /// The op's result in the element type of `model`, written to the result's buffer.
  Value convertTo(Value tensor, Type element) {
    if (getElementTypeOrSelf(tensor.getType()) == element)
      return tensor;
    return elementwise({tensor}, element,
                       [&](OpBuilder &nb, ValueRange in) { return in[0]; });
  }

  bool wholeRows = false; ///< some op after a product needs complete rows of a head

private:
  //===--------------------------------------------------------------------===//
  // Building blocks
  //===--------------------------------------------------------------------===//

  Value emptyLike(ArrayRef<OpFoldResult> sizes, Type element) {
    return tensor::EmptyOp::create(b, loc, sizes, element);
  }

  SmallVector<OpFoldResult> sizesOf(Value tensor) { return tensor::getMixedSizes(b, loc, tensor); }

  static Value extend(OpBuilder &nb, Location loc, Value v) {
    return v.getType().isBF16() ? Value(arith::ExtFOp::create(nb, loc, nb.getF32Type(), v)) : v;
  }

  /// All operands of the first one's shape, unless `maps` says otherwise.
  Value elementwise(ValueRange inputs, Type element,
                    function_ref<Value(OpBuilder &, ValueRange)> body,
                    ArrayRef<AffineMap> inputMaps = {}) {
    auto type = cast<RankedTensorType>(inputs[0].getType());
    int64_t rank = type.getRank();
    SmallVector<AffineMap> maps(inputMaps);
    AffineMap identity = b.getMultiDimIdentityMap(rank);
    if (maps.empty())
      maps.assign(inputs.size(), identity);
    maps.push_back(identity);
    SmallVector<IteratorType> iterators(rank, IteratorType::parallel);
    Value out = emptyLike(sizesOf(inputs[0]), element);
    auto op = linalg::GenericOp::create(
        b, loc, TypeRange{out.getType()}, inputs, ValueRange{out}, maps, iterators,
        [&](OpBuilder &nb, Location, ValueRange args) {
          SmallVector<Value> in;
          for (Value arg : args.drop_back())
            in.push_back(arg.getType().isIndex() ? arg : extend(nb, loc, arg));
          Value result = body(nb, in);
          if (element.isBF16())
            result = arith::TruncFOp::create(nb, loc, element, result);
          linalg::YieldOp::create(nb, loc, result);
        });
    return op.getResult(0);
  }

  Value constantF(OpBuilder &nb, double value) {
    return arith::ConstantOp::create(nb, loc, nb.getF32FloatAttr(float(value)));
  }

  /// Sum over the last two dimensions (blocks, lanes) of f(x): [tiles, R, groups…].
  /// Padding lanes of a width that is no multiple of 32 do not count.
  Value rowSum(ValueRange inputs, ArrayRef<AffineMap> inputMaps, int64_t inner,
               function_ref<Value(OpBuilder &, ValueRange)> body) {
    auto type = cast<RankedTensorType>(inputs[0].getType());
    int64_t rank = type.getRank();
    SmallVector<AffineMap> maps(inputMaps);
    SmallVector<AffineExpr> kept;
    for (int64_t d = 0; d + 2 < rank; ++d)
      kept.push_back(b.getAffineDimExpr(d));
    maps.push_back(AffineMap::get(rank, 0, kept, b.getContext()));
    SmallVector<IteratorType> iterators(rank, IteratorType::parallel);
    iterators[rank - 2] = iterators[rank - 1] = IteratorType::reduction;
    SmallVector<OpFoldResult> sizes = sizesOf(inputs[0]);
    sizes.resize(rank - 2);
    Value empty = emptyLike(sizes, f32);
    Value zero = constantF(b, 0);
    Value init = linalg::FillOp::create(b, loc, zero, empty).getResult(0);
    bool padded = inner % kLanes != 0;
    auto op = linalg::GenericOp::create(
        b, loc, TypeRange{init.getType()}, inputs, ValueRange{init}, maps, iterators,
        [&](OpBuilder &nb, Location, ValueRange args) {
          SmallVector<Value> in;
          for (Value arg : args.drop_back())
            in.push_back(extend(nb, loc, arg));
          Value term = body(nb, in);
          if (padded) {
            Value block = linalg::IndexOp::create(nb, loc, rank - 2);
            Value lane = linalg::IndexOp::create(nb, loc, rank - 1);
            Value width = arith::ConstantIndexOp::create(nb, loc, kLanes);
            Value at = arith::AddIOp::create(
                nb, loc, arith::MulIOp::create(nb, loc, block, width), lane);
            Value limit = arith::ConstantIndexOp::create(nb, loc, inner);
            Value inside =
                arith::CmpIOp::create(nb, loc, arith::CmpIPredicate::ult, at, limit);
            term = arith::SelectOp::create(nb, loc, inside, term, constantF(nb, 0));
          }
          linalg::YieldOp::create(
              nb, loc, Value(arith::AddFOp::create(nb, loc, args.back(), term)));
        });
    return op.getResult(0);
  }

  AffineMap rowMap(int64_t rank) { // (tiles, R, groups…) of a rank-`rank` value
    SmallVector<AffineExpr> kept;
    for (int64_t d = 0; d + 2 < rank; ++d)
      kept.push_back(b.getAffineDimExpr(d));
    return AffineMap::get(rank, 0, kept, b.getContext());
  }

  /// A weight vector over the trailing dims: prepared f32 [groups…, blocks, 32], as an operand
  /// that is broadcast over rows.
  Value vectorWeight(Value model, Type activation, AffineMap &map) {
    KernelBuffer buffer;
    buffer.kind = "vector";
    buffer.sources = {kernel.operandNumber(model)};
    buffer.columns = widthOf(activation);
    Value view = kernel.frame.denseView(kernel.parameter(buffer, f32), blockedRow(activation));
    int64_t rank = cast<ShapedType>(activation).getRank() + 1;
    SmallVector<AffineExpr> trailing;
    for (int64_t d = 2; d < rank; ++d)
      trailing.push_back(b.getAffineDimExpr(d));
    map = AffineMap::get(rank, 0, trailing, b.getContext());
    return kernel.frame.asTensor(view);
  }

  //===--------------------------------------------------------------------===//
  // Ops
  //===--------------------------------------------------------------------===//

  LogicalResult emit(Operation *op) {
    if (auto linear = dyn_cast<mega::LinearOp>(op))
      return emitLinear(linear);
    if (auto silu = dyn_cast<mega::SiluOp>(op))
      return map.map(silu.getResult(),
                     elementwise({value(silu.getInput())}, f32,
                                 [&](OpBuilder &nb, ValueRange in) -> Value {
                                   Value minus = arith::NegFOp::create(nb, loc, in[0]);
                                   Value e = math::ExpOp::create(nb, loc, minus);
                                   Value d = arith::AddFOp::create(nb, loc, constantF(nb, 1), e);
                                   return arith::DivFOp::create(nb, loc, in[0], d);
                                 })),
             success();
    if (auto linear = dyn_cast<mega::LinearInputGradientOp>(op))
      return emitLinearInputGradient(linear);
    if (auto silu = dyn_cast<mega::SiluGradientOp>(op))
      return emitSiluGradient(silu), success();
    if (auto norm = dyn_cast<mega::RmsNormGradientOp>(op))
      return emitRmsNormGradient(norm), success();
    if (auto norm = dyn_cast<mega::LayerNormGradientOp>(op))
      return emitLayerNormGradient(norm), success();
    if (auto rotate = dyn_cast<mega::RotateGradientOp>(op))
      return emitRotation({{rotate.getDquery(), rotate.getDinputQuery()},
                           {rotate.getDkey(), rotate.getDinputKey()}},
                          rotate.getAngles(), /*back=*/true),
             success();
    if (auto norm = dyn_cast<mega::RmsNormOp>(op))
      return emitRmsNorm(norm), success();
    if (auto norm = dyn_cast<mega::LayerNormOp>(op))
      return emitLayerNorm(norm), success();
    if (auto scale = dyn_cast<mega::ScaleOp>(op))
      return emitScale(scale), success();
    if (auto dropout = dyn_cast<mega::DropoutOp>(op))
      return emitDropout(dropout), success();
    if (auto rotate = dyn_cast<mega::RotateOp>(op))
      return emitRotation({{rotate.getQuery(), rotate.getNewQuery()},
                           {rotate.getKey(), rotate.getNewKey()}},
                          rotate.getAngles(), /*back=*/false),
             success();
    // Arithmetic on weights has no rows.
    if (op->hasTrait<OpTrait::Elementwise>() && op->getNumResults() == 1 &&
        llvm::all_of(op->getOperandTypes(), [](Type type) {
          auto tensor = dyn_cast<RankedTensorType>(type);
          return tensor && (tensor.getRank() == 3 || tensor.getRank() == 4);
        })) {
      if (needsLibrary(op))
        return emitNeedsLibrary(op);
      // Kernels compute in f32, whatever is stored.
      Type element = getElementTypeOrSelf(op->getResult(0).getType());
      for (Type type : op->getOperandTypes())
        if (!isa<FloatType>(element) || getElementTypeOrSelf(type) != element)
          return op->emitOpError("has no form in a kernel, which expects operands and result of "
                                 "one floating-point type");
      return emitArith(op), success();
    }
    return op->emitOpError("has no row-wise form for a kernel");
  }

  /// Any elementwise op of upstream's on activations of one shape.
  void emitArith(Operation *op) {
    SmallVector<Value> inputs;
    for (Value operand : op->getOperands())
      inputs.push_back(value(operand));
    map.map(op->getResult(0), elementwise(inputs, f32, [&](OpBuilder &nb, ValueRange in) {
      OperationState state(loc, op->getName(), in, {f32}, op->getAttrs());
      return nb.create(state)->getResult(0);
    }));
  }

  void emitScale(mega::ScaleOp op) {
    Value x = value(op.getInput());
    AffineMap factors;
    Value factor = vectorWeight(op.getFactor(), op.getInput().getType(), factors);
    int64_t rank = cast<RankedTensorType>(x.getType()).getRank();
    map.map(op.getResult(), elementwise({x, factor}, f32,
                                        [&](OpBuilder &nb, ValueRange in) -> Value {
                                          return arith::MulFOp::create(nb, loc, in[0], in[1]);
                                        },
                                        {b.getMultiDimIdentityMap(rank), factors}));
  }

  void emitDropout(mega::DropoutOp op) {
    Value x = value(op.getInput());
    int64_t rank = cast<RankedTensorType>(x.getType()).getRank();
    Value numbers = kernel.frame.asTensor(
        kernel.frame.rowNumbersView(kernel.operandParameter(op.getRowNumbers())));
    Value noise = kernel.frame.asTensor(
        kernel.frame.denseView(kernel.operandParameter(op.getNoise()), {4}));
    SmallVector<Value> inputs{x, numbers};
    SmallVector<AffineMap> maps{b.getMultiDimIdentityMap(rank),
                                b.getMultiDimIdentityMap(rank).getMajorSubMap(2)};
    for (int64_t i = 0; i < 4; ++i) {
      inputs.push_back(noise);
      maps.push_back(AffineMap::get(rank, 0, b.getAffineConstantExpr(i), b.getContext()));
    }
    int64_t ofHead = (widthOf(op.getInput().getType()).inner + 3) / 4 * 4;
    map.map(op.getResult(),
            elementwise(inputs, f32,
                        [&](OpBuilder &nb, ValueRange in) -> Value {
                          Value feature = linalg::IndexOp::create(nb, loc, rank - 1);
                          auto further = [&](int64_t dim, int64_t size) {
                            Value by = arith::ConstantIndexOp::create(nb, loc, size);
                            Value at = linalg::IndexOp::create(nb, loc, dim);
                            Value shift = arith::MulIOp::create(nb, loc, at, by);
                            feature = arith::AddIOp::create(nb, loc, feature, shift);
                          };
                          further(rank - 2, kLanes);
                          if (rank > 4)
                            further(2, ofHead);
                          Value index = arith::IndexCastOp::create(nb, loc, nb.getI32Type(),
                                                                   feature);
                          DropoutCounter counter = dropoutCounter(
                              nb, loc, {in[2], in[3], in[4], in[5]}, op.getPlace());
                          Value word = mega::RandomWordOp::create(
                              nb, loc, index, in[1], counter.place, counter.step, in[2], in[3]);
                          return keepByWord(nb, loc, word, in[0], op.getP().convertToDouble());
                        },
                        maps));
  }

  /// The op's result, Σ_k input[k] W[n, k] of a weight packed as `kind`; for "transposed" it is
  /// Σ_k input[k] W[k, n].
  FailureOr<Value> emitProduct(Operation *op, Value input, Value weight, const char *kind) {
    auto inType = cast<RankedTensorType>(input.getType());
    auto outType = cast<RankedTensorType>(op->getResult(0).getType());
    auto weightType = cast<RankedTensorType>(weight.getType());
    if (kernel.operandNumber(weight) < 0)
      return op->emitOpError("expects its weight to be an operand of the group");
    bool panels = matrices == MatrixLayout::Panels, transposed = kind == StringRef("transposed");
    bool pairs = panels && weightType.getElementType().isBF16();
    Value a = convertTo(value(input), weightType.getElementType());

    SmallVector<int64_t> kShape = blockedRow(inType), nShape = blockedRow(outType);
    KernelBuffer buffer;
    buffer.kind = panels ? kind : "table";
    buffer.sources = {kernel.operandNumber(weight)};
    buffer.rows = widthOf(outType);
    buffer.columns = widthOf(inType);
    buffer.dtype = dtypeOf(weightType);
    // Panels: [n blocks…, k blocks…, 32, 32], pairs along k adjacent for bf16. Tables lie as W does:
    // [n…, k…], or [k…, n…] where the product takes its transpose.
    bool termsFirst = transposed && !panels;
    if (termsFirst)
      std::swap(buffer.rows, buffer.columns);
    SmallVector<int64_t> shape(ArrayRef(termsFirst ? kShape : nShape).drop_back(panels));
    llvm::append_range(shape, ArrayRef(termsFirst ? nShape : kShape).drop_back(panels));
    if (panels) {
      shape.push_back(pairs ? kLanes / 2 : kLanes);
      shape.push_back(pairs ? kLanes * 2 : kLanes);
    }
    Value packed = kernel.frame.asTensor(
        kernel.frame.denseView(kernel.parameter(buffer, weightType.getElementType()), shape));

    // Loops: tile, row, n…, k…
    int64_t n = nShape.size(), k = kShape.size(), rank = 2 + n + k;
    auto dims = [&](int64_t from, int64_t count) {
      SmallVector<AffineExpr> exprs;
      for (int64_t d = from; d < from + count; ++d)
        exprs.push_back(b.getAffineDimExpr(d));
      return exprs;
    };
    SmallVector<AffineExpr> aExprs = dims(0, 2), outExprs = dims(0, 2 + n), wExprs;
    llvm::append_range(aExprs, dims(2 + n, k));
    if (termsFirst)
      wExprs = dims(2 + n, k);
    llvm::append_range(wExprs, dims(2, n - panels));
    if (!termsFirst)
      llvm::append_range(wExprs, dims(2 + n, k - panels));
    if (panels) {
      AffineExpr lane = b.getAffineDimExpr(1 + n), ki = b.getAffineDimExpr(rank - 1);
      wExprs.push_back(pairs ? ki.floorDiv(2) : ki);
      wExprs.push_back(pairs ? lane * 2 + ki % 2 : lane);
    }
    SmallVector<AffineMap> maps{AffineMap::get(rank, 0, aExprs, b.getContext()),
                                AffineMap::get(rank, 0, wExprs, b.getContext()),
                                AffineMap::get(rank, 0, outExprs, b.getContext())};
    SmallVector<IteratorType> iterators(2 + n, IteratorType::parallel);
    iterators.append(k, IteratorType::reduction);

    SmallVector<OpFoldResult> sizes = sizesOf(a);
    sizes.resize(2);
    for (int64_t size : nShape)
      sizes.push_back(b.getIndexAttr(size));
    Value init =
        linalg::FillOp::create(b, loc, constantF(b, 0), emptyLike(sizes, f32)).getResult(0);
    return linalg::GenericOp::create(b, loc, TypeRange{init.getType()}, ValueRange{a, packed},
                                     ValueRange{init}, maps, iterators,
                                  [&](OpBuilder &nb, Location, ValueRange args) {
                                    Value product = arith::MulFOp::create(
                                        nb, loc, extend(nb, loc, args[0]),
                                        extend(nb, loc, args[1]));
                                    linalg::YieldOp::create(
                                        nb, loc,
                                        Value(arith::AddFOp::create(nb, loc, args[2], product)));
                                  })
            .getResult(0);
  }

  /// y = x Wᵀ (+ b): a sum over k of blocked x and packed W.
  LogicalResult emitLinear(mega::LinearOp op) {
    FailureOr<Value> product = emitProduct(op, op.getInput(), op.getWeight(), "panels");
    if (failed(product))
      return failure();
    Value result = *product;
    auto outType = cast<RankedTensorType>(op.getResult().getType());
    if (op.getBias()) {
      AffineMap biasMap;
      Value bias = vectorWeight(op.getBias(), outType, biasMap);
      result = elementwise({result, bias}, f32,
                           [&](OpBuilder &nb, ValueRange in) -> Value {
                             return arith::AddFOp::create(nb, loc, in[0], in[1]);
                           },
                           {b.getMultiDimIdentityMap(outType.getRank() + 1), biasMap});
    }
    map.map(op.getResult(), result);
    return success();
  }

  /// dx = dy W
  LogicalResult emitLinearInputGradient(mega::LinearInputGradientOp op) {
    FailureOr<Value> product = emitProduct(op, op.getDy(), op.getWeight(), "transposed");
    if (failed(product))
      return failure();
    map.map(op.getDx(), *product);
    return success();
  }

  /// dx = dy s (1 + x (1 - s))
  void emitSiluGradient(mega::SiluGradientOp op) {
    map.map(op.getDx(), elementwise({value(op.getInput()), value(op.getDy())}, f32,
                                    [&](OpBuilder &nb, ValueRange in) -> Value {
                                      Value one = constantF(nb, 1);
                                      Value minus = arith::NegFOp::create(nb, loc, in[0]);
                                      Value e = math::ExpOp::create(nb, loc, minus);
                                      Value d = arith::AddFOp::create(nb, loc, one, e);
                                      Value s = arith::DivFOp::create(nb, loc, one, d);
                                      Value rest = arith::SubFOp::create(nb, loc, one, s);
                                      Value inner = arith::MulFOp::create(nb, loc, in[0], rest);
                                      inner = arith::AddFOp::create(nb, loc, one, inner);
                                      Value slope = arith::MulFOp::create(nb, loc, s, inner);
                                      return arith::MulFOp::create(nb, loc, in[1], slope);
                                    }));
  }

  /// What a normalised value's gradient is made from: the inputs x, dy and perhaps a weight, and
  /// how they lie; `u` is dy (w + 1).
  struct NormGradientInputs {
    SmallVector<Value> values;
    SmallVector<AffineMap> maps;
    bool affine = false;
  };
  NormGradientInputs normGradientInputs(Value x, Value dy, Value weight) {
    wholeRows |= followsProduct(x) || followsProduct(dy);
    NormGradientInputs in;
    in.values = {value(x), value(dy)};
    AffineMap identity =
        b.getMultiDimIdentityMap(cast<RankedTensorType>(in.values[0].getType()).getRank());
    in.maps = {identity, identity};
    if (weight) {
      AffineMap vectorMap;
      in.values.push_back(vectorWeight(weight, x.getType(), vectorMap));
      in.maps.push_back(vectorMap);
      in.affine = true;
    }
    return in;
  }
  Value scaledGradient(OpBuilder &nb, const NormGradientInputs &inputs, ValueRange in) {
    if (!inputs.affine)
      return in[1];
    Value gain = arith::AddFOp::create(nb, loc, in[2], constantF(nb, 1));
    return arith::MulFOp::create(nb, loc, in[1], gain);
  }
  /// Results that map to the rows of `like`.
  Value rowwise(const NormGradientInputs &inputs, ValueRange perRow,
                function_ref<Value(OpBuilder &, ValueRange)> body) {
    SmallVector<Value> values(inputs.values);
    SmallVector<AffineMap> maps(inputs.maps);
    int64_t rank = cast<RankedTensorType>(values[0].getType()).getRank();
    for (Value value : perRow) {
      values.push_back(value);
      maps.push_back(rowMap(rank));
    }
    return elementwise(values, f32, body, maps);
  }

  /// spec 3.3: dx = rho (u - x rho² mean(u x)), u = dy (w + 1) scale
  void emitRmsNormGradient(mega::RmsNormGradientOp op) {
    NormGradientInputs inputs = normGradientInputs(op.getInput(), op.getDy(), op.getWeight());
    int64_t inner = widthOf(op.getInput().getType()).inner, n = inputs.values.size();
    double scale = op.getScale() ? op.getScale()->convertToDouble() : 1.0;
    Value squares = rowSum({inputs.values[0]}, {inputs.maps[0]}, inner,
                           [&](OpBuilder &nb, ValueRange in) -> Value {
                             return arith::MulFOp::create(nb, loc, in[0], in[0]);
                           });
    Value rho = inverseRoot(squares, inner, op.getEps().convertToDouble());
    Value products = rowSum(inputs.values, inputs.maps, inner,
                            [&](OpBuilder &nb, ValueRange in) -> Value {
                              return arith::MulFOp::create(
                                  nb, loc, scaledGradient(nb, inputs, in), in[0]);
                            });
    // scale rho, and scale rho³ mean(dy (w + 1) x)
    Value gain = elementwise({rho}, f32, [&](OpBuilder &nb, ValueRange in) -> Value {
      return arith::MulFOp::create(nb, loc, in[0], constantF(nb, scale));
    });
    Value pull = elementwise({rho, products}, f32, [&](OpBuilder &nb, ValueRange in) -> Value {
      Value square = arith::MulFOp::create(nb, loc, in[0], in[0]);
      Value cube = arith::MulFOp::create(nb, loc, square, in[0]);
      Value mean = arith::MulFOp::create(nb, loc, in[1], constantF(nb, scale / double(inner)));
      return arith::MulFOp::create(nb, loc, cube, mean);
    });
    map.map(op.getDx(), rowwise(inputs, {gain, pull}, [&](OpBuilder &nb, ValueRange in) -> Value {
      Value u = scaledGradient(nb, inputs, in);
      Value own = arith::MulFOp::create(nb, loc, u, in[n]);
      Value back = arith::MulFOp::create(nb, loc, in[0], in[n + 1]);
      return arith::SubFOp::create(nb, loc, own, back);
    }));
    NormGradientInputs only{{inputs.values[0]}, {inputs.maps[0]}};
    if (!op.getNormal().use_empty())
      map.map(op.getNormal(), rowwise(only, {gain}, [&](OpBuilder &nb, ValueRange in) -> Value {
        return arith::MulFOp::create(nb, loc, in[0], in[1]);
      }));
  }

  /// spec 3.4: dx = rho (u - mean u - xh mean(u xh))
  void emitLayerNormGradient(mega::LayerNormGradientOp op) {
    NormGradientInputs inputs = normGradientInputs(op.getInput(), op.getDy(), op.getWeight());
    int64_t inner = widthOf(op.getInput().getType()).inner, n = inputs.values.size();
    int64_t rank = cast<RankedTensorType>(inputs.values[0].getType()).getRank();
    auto scaled = [&](Value sum) {
      return elementwise({sum}, f32, [&](OpBuilder &nb, ValueRange in) -> Value {
        return arith::MulFOp::create(nb, loc, in[0], constantF(nb, 1.0 / double(inner)));
      });
    };
    Value mean = scaled(rowSum({inputs.values[0]}, {inputs.maps[0]}, inner,
                               [&](OpBuilder &nb, ValueRange in) -> Value { return in[0]; }));
    Value squares = rowSum({inputs.values[0], mean}, {inputs.maps[0], rowMap(rank)}, inner,
                           [&](OpBuilder &nb, ValueRange in) -> Value {
                             Value d = arith::SubFOp::create(nb, loc, in[0], in[1]);
                             return arith::MulFOp::create(nb, loc, d, d);
                           });
    Value rho = inverseRoot(squares, inner, op.getEps().convertToDouble());
    Value meanU = scaled(rowSum(inputs.values, inputs.maps, inner,
                                [&](OpBuilder &nb, ValueRange in) -> Value {
                                  return scaledGradient(nb, inputs, in);
                                }));
    SmallVector<Value> withMean(inputs.values);
    SmallVector<AffineMap> withMeanMaps(inputs.maps);
    withMean.push_back(mean);
    withMeanMaps.push_back(rowMap(rank));
    Value meanProduct =
        scaled(rowSum(withMean, withMeanMaps, inner, [&](OpBuilder &nb, ValueRange in) -> Value {
          Value d = arith::SubFOp::create(nb, loc, in[0], in[n]);
          return arith::MulFOp::create(nb, loc, scaledGradient(nb, inputs, in), d);
        }));
    auto normal = [&](OpBuilder &nb, Value x, Value m, Value r) -> Value {
      return arith::MulFOp::create(nb, loc, Value(arith::SubFOp::create(nb, loc, x, m)), r);
    };
    map.map(op.getDx(), rowwise(inputs, {mean, rho, meanU, meanProduct},
                                [&](OpBuilder &nb, ValueRange in) -> Value {
                                  Value u = scaledGradient(nb, inputs, in), r = in[n + 1];
                                  Value xh = normal(nb, in[0], in[n], r);
                                  Value d = arith::SubFOp::create(nb, loc, u, in[n + 2]);
                                  // mean(u xh) is rho mean(u (x - mean)).
                                  Value share = arith::MulFOp::create(nb, loc, r, in[n + 3]);
                                  Value back = arith::MulFOp::create(nb, loc, xh, share);
                                  d = arith::SubFOp::create(nb, loc, d, back);
                                  return arith::MulFOp::create(nb, loc, d, r);
                                }));
    NormGradientInputs only{{inputs.values[0]}, {inputs.maps[0]}};
    if (!op.getNormal().use_empty())
      map.map(op.getNormal(),
              rowwise(only, {mean, rho}, [&](OpBuilder &nb, ValueRange in) -> Value {
                return normal(nb, in[0], in[1], in[2]);
              }));
  }

  /// True if `model` is computed from a product inside this group.
  bool followsProduct(Value model) {
    Operation *op = model.getDefiningOp();
    if (!op)
      return false;
    if (isa<mega::LinearOp, mega::LinearInputGradientOp>(op))
      return true;
    return llvm::any_of(op->getOperands(), [&](Value v) { return followsProduct(v); });
  }

  /// spec 3.3: y = x (mean x² + eps)^(-1/2) (w + 1) scale + b
  void emitRmsNorm(mega::RmsNormOp op) {
    wholeRows |= followsProduct(op.getInput());
    Type type = op.getInput().getType();
    Value x = value(op.getInput());
    int64_t rank = cast<RankedTensorType>(x.getType()).getRank();
    int64_t inner = widthOf(type).inner;
    AffineMap identity = b.getMultiDimIdentityMap(rank);
    Value squares = rowSum({x}, {identity}, inner, [&](OpBuilder &nb, ValueRange in) -> Value {
      return arith::MulFOp::create(nb, loc, in[0], in[0]);
    });
    double eps = op.getEps().convertToDouble();
    Value rho = inverseRoot(squares, inner, eps);
    double scale = op.getScale() ? op.getScale()->convertToDouble() : 1.0;
    scaleAndShift(op.getResult(), x, rho, Value(), op.getWeight(), op.getBias(), type, scale);
  }

  /// spec 3.4
  void emitLayerNorm(mega::LayerNormOp op) {
    wholeRows |= followsProduct(op.getInput());
    Type type = op.getInput().getType();
    Value x = value(op.getInput());
    int64_t rank = cast<RankedTensorType>(x.getType()).getRank();
    int64_t inner = widthOf(type).inner;
    AffineMap identity = b.getMultiDimIdentityMap(rank);
    Value sum = rowSum({x}, {identity}, inner,
                       [&](OpBuilder &nb, ValueRange in) -> Value { return in[0]; });
    Value mean = elementwise({sum}, f32, [&](OpBuilder &nb, ValueRange in) -> Value {
      return arith::MulFOp::create(nb, loc, in[0], constantF(nb, 1.0 / double(inner)));
    });
    Value squares = rowSum({x, mean}, {identity, rowMap(rank)}, inner,
                           [&](OpBuilder &nb, ValueRange in) -> Value {
                             Value d = arith::SubFOp::create(nb, loc, in[0], in[1]);
                             return arith::MulFOp::create(nb, loc, d, d);
                           });
    Value rho = inverseRoot(squares, inner, op.getEps().convertToDouble());
    scaleAndShift(op.getResult(), x, rho, mean, op.getWeight(), op.getBias(), type, 1.0);
  }

  /// (sum / inner + eps)^(-1/2) per row
  Value inverseRoot(Value sum, int64_t inner, double eps) {
    return elementwise({sum}, f32, [&](OpBuilder &nb, ValueRange in) -> Value {
      Value moment =
          arith::MulFOp::create(nb, loc, in[0], constantF(nb, 1.0 / double(inner)));
      Value root = math::SqrtOp::create(
          nb, loc, Value(arith::AddFOp::create(nb, loc, moment, constantF(nb, eps))));
      return arith::DivFOp::create(nb, loc, constantF(nb, 1), root);
    });
  }

  /// (x - mean) rho (w + 1) scale + b
  void scaleAndShift(Value result, Value x, Value rho, Value mean, Value weight, Value bias,
                     Type type, double scale) {
    int64_t rank = cast<RankedTensorType>(x.getType()).getRank();
    SmallVector<Value> inputs{x, rho};
    SmallVector<AffineMap> maps{b.getMultiDimIdentityMap(rank), rowMap(rank)};
    int64_t meanAt = -1, weightAt = -1, biasAt = -1;
    AffineMap vectorMap;
    if (mean) {
      meanAt = inputs.size();
      inputs.push_back(mean);
      maps.push_back(rowMap(rank));
    }
    if (weight) {
      weightAt = inputs.size();
      inputs.push_back(vectorWeight(weight, type, vectorMap));
      maps.push_back(vectorMap);
    }
    if (bias) {
      biasAt = inputs.size();
      inputs.push_back(vectorWeight(bias, type, vectorMap));
      maps.push_back(vectorMap);
    }
    map.map(result, elementwise(
                        inputs, f32,
                        [&](OpBuilder &nb, ValueRange in) -> Value {
                          Value y = in[0];
                          if (meanAt >= 0)
                            y = arith::SubFOp::create(nb, loc, y, in[meanAt]);
                          y = arith::MulFOp::create(nb, loc, y, in[1]);
                          if (weightAt >= 0) {
                            Value gain = arith::AddFOp::create(nb, loc, in[weightAt],
                                                               constantF(nb, 1));
                            y = arith::MulFOp::create(nb, loc, y, gain);
                          }
                          if (scale != 1.0)
                            y = arith::MulFOp::create(nb, loc, y, constantF(nb, scale));
                          if (biasAt >= 0)
                            y = arith::AddFOp::create(nb, loc, y, in[biasAt]);
                          return y;
                        },
                        maps));
  }

  /// spec 3.6 on interleaved pairs: y = x cos + (other of the pair) sin, the sign of the sine
  /// being part of the angles.
  /// `back`: by minus the angles.
  void emitRotation(ArrayRef<std::pair<Value, Value>> pairs, Value by, bool back) {
    wholeRows = true;
    Value angles = value(by);
    for (auto [in, out] : pairs) {
      Value x = value(in);
      int64_t rank = cast<RankedTensorType>(x.getType()).getRank(); // tile row head block lane
      AffineMap identity = b.getMultiDimIdentityMap(rank);
      auto part = [&](int64_t which) {
        SmallVector<AffineExpr> exprs(identity.getResults());
        exprs[2] = b.getAffineConstantExpr(which);
        return AffineMap::get(rank, 0, exprs, b.getContext());
      };
      Value y = elementwise({x, angles, angles}, f32,
                            [&](OpBuilder &nb, ValueRange v) -> Value {
                              Value other = mega::PairSwapOp::create(nb, loc, v[0]);
                              Value c = arith::MulFOp::create(nb, loc, v[0], v[1]);
                              Value s = arith::MulFOp::create(nb, loc, other, v[2]);
                              return back ? Value(arith::SubFOp::create(nb, loc, c, s))
                                          : Value(arith::AddFOp::create(nb, loc, c, s));
                            },
                            {identity, part(0), part(1)});
      map.map(out, y);
    }
  }

  KernelEmitter &kernel;
  OpBuilder &b;
  Location loc;
  Type f32;
  MatrixLayout matrices;
  IRMapping map;
};

} // namespace

FailureOr<func::FuncOp> emitRowsKernel(mega::GroupOp group, ModuleOp module,
                                       const std::string &name, int64_t rowTile,
                                       MatrixLayout matrices) {
  KernelEmitter kernel(group, module, name, rowTile);
  // One row per sequence where only the last step of a call is computed.
  if (cast<RankedTensorType>(group.getResult(0).getType()).getDimSize(1) == 1) {
    kernel.frame.rows = kernel.frame.batch;
    kernel.function->setAttr("mega.row_symbol",
                             kernel.b.getI64IntegerAttr(int64_t(formats::Symbol::Batch)));
  }
  RowsEmitter emitter(kernel, matrices);
  if (failed(emitter.run()))
    return kernel.function.erase(), failure();

  // One last op writes all results, in the model's element types, to their buffers; tiling
  // starts from it.
  OpBuilder &b = kernel.b;
  SmallVector<Value> values, outs, views;
  for (auto [i, yielded] : llvm::enumerate(group.getYield().getOperands())) {
    Type element = getElementTypeOrSelf(yielded.getType());
    values.push_back(emitter.value(yielded));
    views.push_back(
        kernel.frame.rowsView(kernel.resultParameter(i, element), yielded.getType()));
    outs.push_back(kernel.frame.asTensor(views.back(), /*writable=*/true));
    if (cast<ShapedType>(outs.back().getType()).getShape() !=
        cast<ShapedType>(outs.front().getType()).getShape())
      return kernel.function.erase(),
             group.emitOpError("expects results of one shape in a row-wise group");
  }
  kernel.function->setAttr("mega.row_kernel", b.getUnitAttr());
  int64_t rank = cast<RankedTensorType>(outs.front().getType()).getRank();
  auto only = values.front().getDefiningOp<linalg::GenericOp>();
  if (values.size() == 1 && only && only->use_empty() &&
      values.front().getType() == outs.front().getType()) {
    // It is the last op itself.
    auto materialize = bufferization::MaterializeInDestinationOp::create(
        b, kernel.loc, TypeRange{}, values.front(), views.front());
    materialize.setRestrict(true);
    materialize.setWritable(true);
    kernel.finish({});
    if (emitter.wholeRows)
      kernel.function->setAttr("mega.whole_rows", b.getUnitAttr());
    return kernel.function;
  }
  auto root = linalg::GenericOp::create(
      b, kernel.loc, ValueRange(outs).getTypes(), values, outs,
      SmallVector<AffineMap>(2 * values.size(), b.getMultiDimIdentityMap(rank)),
      SmallVector<IteratorType>(rank, IteratorType::parallel),
      [&](OpBuilder &nb, Location loc, ValueRange args) {
        SmallVector<Value> results;
        for (size_t i = 0; i < values.size(); ++i) {
          Value v = args[i];
          Type to = args[values.size() + i].getType();
          if (v.getType() != to)
            v = to.isBF16() ? Value(arith::TruncFOp::create(nb, loc, to, v))
                            : Value(arith::ExtFOp::create(nb, loc, to, v));
          results.push_back(v);
        }
        linalg::YieldOp::create(nb, loc, results);
      });
  for (auto [result, view] : llvm::zip(root.getResults(), views)) {
    auto materialize = bufferization::MaterializeInDestinationOp::create(
        b, kernel.loc, TypeRange{}, result, view);
    materialize.setRestrict(true);
    materialize.setWritable(true);
  }
  kernel.finish({});
  if (emitter.wholeRows)
    kernel.function->setAttr("mega.whole_rows", b.getUnitAttr());
  return kernel.function;
}

} // namespace otodus

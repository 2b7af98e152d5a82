//===- Layers.cpp - Backward of layers without time, and of the loss --------===//

#include "Gradients.h"

using namespace mlir;
using otodus::mega::GradientBuilder;

namespace otodus {
namespace {

struct Embed : GradientOf<Embed, mega::EmbedOp> {
  LogicalResult backward(mega::EmbedOp op, GradientBuilder &g) const {
    Value dy = g.gradientOf(op.getResult());
    g.accumulate(op.getTable(), [&](Value sum, int64_t) -> Value {
      return mega::EmbedGradientOp::create(g.builder(), op.getLoc(), sum.getType(),
                                           g.read(op.getTokens()), dy, sum, op.getScaleAttr());
    });
    return success();
  }
};

/// y = x Wᵀ + b: dx = dy W, dW = dyᵀ x, db = Σ dy
struct Linear : GradientOf<Linear, mega::LinearOp> {
  LogicalResult backward(mega::LinearOp op, GradientBuilder &g) const {
    OpBuilder &b = g.builder();
    Location loc = op.getLoc();
    Value dy = g.gradientOf(op.getResult()), x = g.read(op.getInput());
    g.accumulate(op.getWeight(), [&](Value sum, int64_t) -> Value {
      return mega::LinearWeightGradientOp::create(b, loc, sum.getType(), dy, x, sum);
    });
    if (op.getBias())
      g.accumulate(op.getBias(), [&](Value sum, int64_t row) -> Value {
        return mega::ColumnSumOp::create(b, loc, sum.getType(), dy, Value(), sum, row);
      });
    g.add(op.getInput(), mega::LinearInputGradientOp::create(b, loc, op.getInput().getType(), dy,
                                                             g.read(op.getWeight())));
    return success();
  }
};

struct Silu : GradientOf<Silu, mega::SiluOp> {
  LogicalResult backward(mega::SiluOp op, GradientBuilder &g) const {
    Value dy = g.gradientOf(op.getResult()), x = g.read(op.getInput());
    g.add(op.getInput(),
          mega::SiluGradientOp::create(g.builder(), op.getLoc(), x.getType(), x, dy));
    return success();
  }
};

struct Scale : GradientOf<Scale, mega::ScaleOp> {
  LogicalResult backward(mega::ScaleOp op, GradientBuilder &g) const {
    Value dy = g.gradientOf(op.getResult());
    g.accumulate(op.getFactor(), [&](Value sum, int64_t row) -> Value {
      return mega::ColumnSumOp::create(g.builder(), op.getLoc(), sum.getType(), dy,
                                       g.read(op.getInput()), sum, row);
    });
    g.add(op.getInput(), mega::ScaleOp::create(g.builder(), op.getLoc(), dy.getType(), dy,
                                               g.read(op.getFactor())));
    return success();
  }
};

/// The same mask again, computed anew.
struct Dropout : GradientOf<Dropout, mega::DropoutOp> {
  LogicalResult backward(mega::DropoutOp op, GradientBuilder &g) const {
    Value dy = g.gradientOf(op.getResult());
    g.add(op.getInput(), mega::DropoutOp::create(g.builder(), op.getLoc(), dy.getType(), dy,
                                                 g.read(op.getRowNumbers()), g.read(op.getNoise()),
                                                 op.getPAttr(), op.getPlaceAttr()));
    return success();
  }
};

/// What both norms share: dx, and the sums for weight and bias.
template <typename Op>
void addNormGradients(Op op, GradientBuilder &g, Value dy, Value dx, Value normal) {
  g.add(op.getInput(), dx);
  for (auto [parameter, factor] : {std::pair(op.getWeight(), normal),
                                   std::pair(op.getBias(), Value())})
    if (parameter)
      g.accumulate(parameter, [&, factor = factor](Value sum, int64_t row) -> Value {
        return mega::ColumnSumOp::create(g.builder(), op.getLoc(), sum.getType(), dy, factor, sum,
                                         row);
      });
}

struct RmsNorm : GradientOf<RmsNorm, mega::RmsNormOp> {
  LogicalResult backward(mega::RmsNormOp op, GradientBuilder &g) const {
    Value dy = g.gradientOf(op.getResult()), x = g.read(op.getInput());
    Value weight = op.getWeight() ? g.read(op.getWeight()) : Value();
    auto made = mega::RmsNormGradientOp::create(g.builder(), op.getLoc(), x.getType(), x.getType(),
                                                x, dy, weight, op.getEpsAttr(), op.getScaleAttr());
    addNormGradients(op, g, dy, made.getDx(), made.getNormal());
    return success();
  }
};

struct LayerNorm : GradientOf<LayerNorm, mega::LayerNormOp> {
  LogicalResult backward(mega::LayerNormOp op, GradientBuilder &g) const {
    Value dy = g.gradientOf(op.getResult()), x = g.read(op.getInput());
    Value weight = op.getWeight() ? g.read(op.getWeight()) : Value();
    auto made = mega::LayerNormGradientOp::create(g.builder(), op.getLoc(), x.getType(),
                                                  x.getType(), x, dy, weight, op.getEpsAttr());
    addNormGradients(op, g, dy, made.getDx(), made.getNormal());
    return success();
  }
};

/// The loss: gradients begin here, scaled by the first of the scalars.
struct CrossEntropy : GradientOf<CrossEntropy, mega::LinearCrossEntropyOp> {
  bool isLoss(Operation *) const { return true; }
  LogicalResult backward(mega::LinearCrossEntropyOp op, GradientBuilder &g) const {
    OpBuilder &b = g.builder();
    Location loc = op.getLoc();
    Value x = g.read(op.getInput()), weight = g.read(op.getWeight()),
          targets = g.read(op.getTargets()), logSum = g.read(op.getLogSum()),
          scalars = g.scalars();
    g.add(op.getInput(), mega::LossInputGradientOp::create(b, loc, x.getType(), x, weight, targets,
                                                           logSum, scalars));
    g.accumulate(op.getWeight(), [&](Value sum, int64_t) -> Value {
      return mega::LossWeightGradientOp::create(b, loc, sum.getType(), x, weight, targets, logSum,
                                                scalars, sum);
    });
    return success();
  }
};

} // namespace

void registerLayerGradients(DialectRegistry &registry) {
  registry.addExtension(+[](MLIRContext *context, mega::MegaDialect *) {
    mega::EmbedOp::attachInterface<Embed>(*context);
    mega::LinearOp::attachInterface<Linear>(*context);
    mega::SiluOp::attachInterface<Silu>(*context);
    mega::ScaleOp::attachInterface<Scale>(*context);
    mega::DropoutOp::attachInterface<Dropout>(*context);
    mega::RmsNormOp::attachInterface<RmsNorm>(*context);
    mega::LayerNormOp::attachInterface<LayerNorm>(*context);
    mega::LinearCrossEntropyOp::attachInterface<CrossEntropy>(*context);
  });
}

} // namespace otodus

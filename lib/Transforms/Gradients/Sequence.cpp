//===- Sequence.cpp - Backward of ops that walk time ------------------------===//
//
// Their gradients walk against it, and read what the saving forms keep on the way forward.
//
//===----------------------------------------------------------------------===//

#include "Gradients.h"

using namespace mlir;
using otodus::mega::GradientBuilder;

namespace otodus {
namespace {

RankedTensorType activation(RankedTensorType like, int64_t time, int64_t width) {
  return RankedTensorType::get({like.getDimSize(0), time, width},
                               Float32Type::get(like.getContext()));
}

//===----------------------------------------------------------------------===//
// timestep_norm (spec 3.1)
//===----------------------------------------------------------------------===//

struct TimestepNorm : GradientOf<TimestepNorm, mega::TimestepNormOp> {
  Operation *buildSavingForm(Operation *op, OpBuilder &b) const {
    auto norm = cast<mega::TimestepNormOp>(op);
    RankedTensorType input = norm.getInput().getType();
    auto statistics = activation(input, input.getDimSize(1), norm.getGroups() + 1);
    SmallVector<Type> types(norm->getResultTypes());
    types.append({statistics, statistics});
    return mega::TimestepNormSavingOp::create(
        b, op->getLoc(), types, norm.getInput(), norm.getWeight(), norm.getBias(), norm.getCount(),
        norm.getMean(), norm.getVariance(), norm.getMask(), norm.getGroupsAttr(),
        norm.getEpsAttr());
  }
  LogicalResult backward(mega::TimestepNormOp op, GradientBuilder &) const {
    return op.emitOpError("expects its saving form to be differentiated");
  }
};

struct TimestepNormSaving : GradientOf<TimestepNormSaving, mega::TimestepNormSavingOp> {
  LogicalResult backward(mega::TimestepNormSavingOp op, GradientBuilder &g) const {
    Value dy = g.gradientOf(op.getOutput()), x = g.read(op.getInput());
    Value dmean = g.stateGradientOf(op.getMean()), dvariance = g.stateGradientOf(op.getVariance());
    Value dweight = g.sumOf(op.getWeight()), dbias = g.sumOf(op.getBias());
    Type types[] = {x.getType(), dmean.getType(), dvariance.getType(), dweight.getType(),
                    dbias.getType()};
    auto made = mega::TimestepNormGradientOp::create(
        g.builder(), op.getLoc(), types, x, dy, g.read(op.getShift()),
        g.read(op.getInverseDeviation()), g.read(op.getWeight()), dmean, dvariance, dweight, dbias,
        op.getGroupsAttr());
    g.add(op.getInput(), made.getDx());
    g.setStateGradient(op.getMean(), made.getNewDmean());
    g.setStateGradient(op.getVariance(), made.getNewDvariance());
    g.setSum(op.getWeight(), made.getNewDweight());
    g.setSum(op.getBias(), made.getNewDbias());
    return success();
  }
};

//===----------------------------------------------------------------------===//
// cema (spec 3.2)
//===----------------------------------------------------------------------===//

struct Cema : GradientOf<Cema, mega::CemaOp> {
  Operation *buildSavingForm(Operation *op, OpBuilder &b) const {
    auto cema = cast<mega::CemaOp>(op);
    RankedTensorType input = cema.getInput().getType();
    int64_t blocks = (input.getDimSize(2) + 31) / 32;
    int64_t words = 2 * cema.getAlpha().getType().getDimSize(1) * blocks; // for every 32 steps
    SmallVector<Type> types(cema->getResultTypes());
    types.append({activation(input, 1, 32 * words), activation(input, input.getDimSize(1), words)});
    return mega::CemaSavingOp::create(b, op->getLoc(), types, cema->getOperands());
  }
  LogicalResult backward(mega::CemaOp op, GradientBuilder &) const {
    return op.emitOpError("expects its saving form to be differentiated");
  }
};

struct CemaSaving : GradientOf<CemaSaving, mega::CemaSavingOp> {
  LogicalResult backward(mega::CemaSavingOp op, GradientBuilder &g) const {
    Value x = g.read(op.getInput()), dstate = g.stateGradientOf(op.getState());
    SmallVector<Value> operands{x, g.gradientOf(op.getOutput()), g.read(op.getStart()),
                                g.read(op.getMarks())};
    Value parameters[] = {op.getAlpha(), op.getDelta(), op.getTheta(), op.getGamma(),
                          op.getOmega()};
    for (Value parameter : parameters)
      operands.push_back(g.read(parameter));
    operands.push_back(dstate);
    SmallVector<Type> types{x.getType(), dstate.getType()};
    for (Value parameter : parameters) {
      operands.push_back(g.sumOf(parameter));
      types.push_back(operands.back().getType());
    }
    auto made = mega::CemaGradientOp::create(g.builder(), op.getLoc(), types, operands);
    g.add(op.getInput(), made.getDx());
    g.setStateGradient(op.getState(), made.getNewDstate());
    for (auto [parameter, sum] : llvm::zip(parameters, made->getResults().drop_front(2)))
      g.setSum(parameter, sum);
    return success();
  }
};

} // namespace

void registerSequenceGradients(DialectRegistry &registry) {
  registry.addExtension(+[](MLIRContext *context, mega::MegaDialect *) {
    mega::TimestepNormOp::attachInterface<TimestepNorm>(*context);
    mega::TimestepNormSavingOp::attachInterface<TimestepNormSaving>(*context);
    mega::CemaOp::attachInterface<Cema>(*context);
    mega::CemaSavingOp::attachInterface<CemaSaving>(*context);
  });
}

} // namespace otodus

//===- Elementwise.cpp - Backward of upstream's arithmetic -------------------===//

#include "Gradients.h"

#include "mlir/Dialect/Arith/IR/Arith.h"

using namespace mlir;
using otodus::mega::GradientBuilder;

namespace otodus {
namespace {

Value mul(GradientBuilder &g, Location loc, Value x, Value y) {
  return arith::MulFOp::create(g.builder(), loc, x, y);
}

struct Add : GradientOf<Add, arith::AddFOp> {
  LogicalResult backward(arith::AddFOp op, GradientBuilder &g) const {
    g.add(op.getLhs(), g.gradientOf(op.getResult()));
    g.add(op.getRhs(), g.gradientOf(op.getResult()));
    return success();
  }
};

struct Sub : GradientOf<Sub, arith::SubFOp> {
  LogicalResult backward(arith::SubFOp op, GradientBuilder &g) const {
    Value dy = g.gradientOf(op.getResult());
    g.add(op.getLhs(), dy);
    g.add(op.getRhs(), arith::NegFOp::create(g.builder(), op.getLoc(), dy));
    return success();
  }
};

struct Neg : GradientOf<Neg, arith::NegFOp> {
  LogicalResult backward(arith::NegFOp op, GradientBuilder &g) const {
    g.add(op.getOperand(),
          arith::NegFOp::create(g.builder(), op.getLoc(), g.gradientOf(op.getResult())));
    return success();
  }
};

struct Mul : GradientOf<Mul, arith::MulFOp> {
  LogicalResult backward(arith::MulFOp op, GradientBuilder &g) const {
    Value dy = g.gradientOf(op.getResult());
    g.add(op.getLhs(), mul(g, op.getLoc(), dy, g.read(op.getRhs())));
    g.add(op.getRhs(), mul(g, op.getLoc(), dy, g.read(op.getLhs())));
    return success();
  }
};

/// y = a / b: da = dy / b, db = -y da
struct Div : GradientOf<Div, arith::DivFOp> {
  LogicalResult backward(arith::DivFOp op, GradientBuilder &g) const {
    OpBuilder &b = g.builder();
    Value da = arith::DivFOp::create(b, op.getLoc(), g.gradientOf(op.getResult()),
                                     g.read(op.getRhs()));
    g.add(op.getLhs(), da);
    Value product = mul(g, op.getLoc(), g.read(op.getResult()), da);
    g.add(op.getRhs(), arith::NegFOp::create(b, op.getLoc(), product));
    return success();
  }
};

} // namespace

void registerElementwiseGradients(DialectRegistry &registry) {
  registry.addExtension(+[](MLIRContext *context, arith::ArithDialect *) {
    arith::AddFOp::attachInterface<Add>(*context);
    arith::SubFOp::attachInterface<Sub>(*context);
    arith::NegFOp::attachInterface<Neg>(*context);
    arith::MulFOp::attachInterface<Mul>(*context);
    arith::DivFOp::attachInterface<Div>(*context);
  });
}

} // namespace otodus

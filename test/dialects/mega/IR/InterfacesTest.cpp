//===- InterfacesTest.cpp - What ops answer to passes ----------------------===//

#include "mega/IR/MegaOps.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Dialect/Utils/StaticValueUtils.h"
#include "mlir/IR/Diagnostics.h"
#include "mlir/Parser/Parser.h"

#include <gtest/gtest.h>

#include <map>

using namespace mlir;
using namespace otodus::mega;

namespace {

const char *const kOps = R"mlir(
func.func @ops(%tokens: tensor<?x?xi32>, %table: tensor<9x8xf32>, %w: tensor<8xf32>,
               %count: tensor<?xi64>, %mean: tensor<?x4xf32>, %alpha: tensor<8x4x1xf32>,
               %theta: tensor<8x1x1xf32>, %gamma: tensor<8x4x2xf32>, %omega: tensor<8x1xf32>,
               %h: tensor<?x8x4x2xf32>, %s: tensor<?x8x8xf32>, %matrix: tensor<8x8xf32>,
               %freqs: tensor<2xf32>, %keys: tensor<?x16x2x4xf32>) {
  %x = mega.embed %tokens, %table : tensor<?x?xi32>, tensor<9x8xf32> -> tensor<?x?x8xf32>
  %t:4 = mega.timestep_norm %x, %w, %w, %count, %mean, %mean groups(4) eps(1.0e-5)
      : tensor<?x?x8xf32>, tensor<8xf32>, tensor<?xi64>, tensor<?x4xf32>
  %c:2 = mega.cema %t#0, %alpha, %alpha, %theta, %gamma, %omega, %h
      : tensor<?x?x8xf32>, tensor<8x4x1xf32>, tensor<8x1x1xf32>, tensor<8x4x2xf32>,
        tensor<8x1xf32>, tensor<?x8x4x2xf32>
  %a:2 = mega.scan ins(%matrix : tensor<8x8xf32>) init(%x : tensor<?x?x8xf32>)
      states(%s : tensor<?x8x8xf32>) maps [affine_map<(b, t, d, n) -> (d, n)>] {
  ^bb0(%i: f32, %m: f32):
    mega.scan_yield %m, %m : f32, f32
  }
  %n = mega.rms_norm %a#0 eps(1.0e-5) : (tensor<?x?x8xf32>) -> tensor<?x?x8xf32>
  %l = mega.layer_norm %n eps(1.0e-5) : (tensor<?x?x8xf32>) -> tensor<?x?x8xf32>
  %q = mega.linear %l, %matrix : (tensor<?x?x8xf32>, tensor<8x8xf32>) -> tensor<?x?x2x4xf32>
  %r:2 = mega.rotary %q, %q, %freqs at %count chunk(16)
      : tensor<?x?x2x4xf32>, tensor<?x?x2x4xf32>, tensor<2xf32>, tensor<?xi64>
  %o:3 = mega.chunk_attention %r#0, %r#1, %q, %keys, %keys at %count chunk(16)
      : tensor<?x?x2x4xf32>, tensor<?x?x2x4xf32>, tensor<?x16x2x4xf32>, tensor<?x16x2x4xf32>,
        tensor<?xi64>
  %angles = mega.rotary_angles %freqs at %count like %x chunk(16)
      : tensor<2xf32>, tensor<?xi64>, tensor<?x?x8xf32> -> tensor<?x?x2x4xf32>
  %r2:2 = mega.rotate %q, %q by %angles
      : tensor<?x?x2x4xf32>, tensor<?x?x2x4xf32>, tensor<?x?x2x4xf32>
  %f = mega.scale %x, %w : tensor<?x?x8xf32>, tensor<8xf32>
  %u = mega.silu %f : tensor<?x?x8xf32>
  %y = arith.addf %u, %x : tensor<?x?x8xf32>
  %z = mega.last %y : tensor<?x?x8xf32> -> tensor<?x1x8xf32>
  %e = tensor.empty() : tensor<4xf32>
  %one = arith.constant 1.0 : f32
  %two = arith.addf %one, %one : f32
  return
}
)mlir";

class Interfaces : public testing::Test {
protected:
  void SetUp() override {
    context
        .loadDialect<MegaDialect, arith::ArithDialect, func::FuncDialect, tensor::TensorDialect>();
    module = parseSourceString<ModuleOp>(kOps, &context);
    ASSERT_TRUE(module);
  }

  MLIRContext context;
  OwningOpRef<ModuleOp> module;
};

TEST_F(Interfaces, EveryOpHasItsRowRole) {
  std::map<std::string, std::string> roles;
  module->walk([&](Operation *op) {
    std::string name = op->getName().getStringRef().str();
    if (isa<arith::AddFOp>(op) && !isa<RankedTensorType>(op->getResult(0).getType()))
      name = "scalar " + name;
    roles[name] = stringifyRowRole(getRowRole(op)).str();
  });
  EXPECT_EQ(roles["mega.embed"], "gather");
  EXPECT_EQ(roles["mega.timestep_norm"], "stream");
  EXPECT_EQ(roles["mega.cema"], "stream");
  EXPECT_EQ(roles["mega.scan"], "stream");
  EXPECT_EQ(roles["mega.rms_norm"], "row_reduction");
  EXPECT_EQ(roles["mega.layer_norm"], "row_reduction");
  EXPECT_EQ(roles["mega.linear"], "contraction");
  EXPECT_EQ(roles["mega.rotary"], "elementwise");
  EXPECT_EQ(roles["mega.rotary_angles"], "gather");
  EXPECT_EQ(roles["mega.rotate"], "elementwise");
  EXPECT_EQ(roles["mega.scale"], "elementwise");
  EXPECT_EQ(roles["mega.chunk_attention"], "attention");
  EXPECT_EQ(roles["mega.silu"], "elementwise");
  EXPECT_EQ(roles["mega.last"], "gather");
  EXPECT_EQ(roles["arith.addf"], "elementwise");
  EXPECT_EQ(roles["scalar arith.addf"], "none");
  EXPECT_EQ(roles["tensor.empty"], "none");
  EXPECT_EQ(roles["arith.constant"], "none");
}

TEST_F(Interfaces, StatesAreTiedPairs) {
  std::map<std::string, std::vector<unsigned>> operands, results;
  module->walk([&](SequenceOpInterface op) {
    EXPECT_TRUE(op.carriesState());
    EXPECT_EQ(op.getTimeDim(), 1);
    std::string name = op->getName().getStringRef().str();
    for (OpOperand *operand : op.getStateOperands())
      operands[name].push_back(operand->getOperandNumber());
    for (OpResult result : op.getStateResults())
      results[name].push_back(result.getResultNumber());
  });
  using List = std::vector<unsigned>;
  EXPECT_EQ(operands.size(), 4u);
  EXPECT_EQ(operands["mega.timestep_norm"], (List{3, 4, 5}));
  EXPECT_EQ(results["mega.timestep_norm"], (List{1, 2, 3}));
  EXPECT_EQ(operands["mega.cema"], (List{6}));
  EXPECT_EQ(results["mega.cema"], (List{1}));
  EXPECT_EQ(operands["mega.scan"], (List{2}));
  EXPECT_EQ(results["mega.scan"], (List{1}));
  EXPECT_EQ(operands["mega.chunk_attention"], (List{3, 4}));
  EXPECT_EQ(results["mega.chunk_attention"], (List{1, 2}));
}

// Sizes of results are asked of operands, so that no op is computed for its size.
TEST_F(Interfaces, SizesOfResultsAreThoseOfOperands) {
  unsigned dynamic = 0;
  module->walk([&](ReifyRankedShapedTypeOpInterface op) {
    if (!isa<MegaDialect>(op->getDialect()))
      return;
    // Where the size of a result that is no state comes from.
    Value rows = op->getOperand(0);
    if (auto angles = dyn_cast<RotaryAnglesOp>(*op))
      rows = angles.getLike();
    else if (auto scan = dyn_cast<ScanOp>(*op))
      rows = scan.getInit();

    OpBuilder builder(op);
    ReifiedRankedShapedTypeDims sizes;
    ASSERT_TRUE(succeeded(op.reifyResultShapes(builder, sizes)));
    ASSERT_EQ(sizes.size(), op->getNumResults());
    for (OpResult result : op->getResults()) {
      Value source = rows;
      if (auto sequence = dyn_cast<SequenceOpInterface>(*op)) {
        auto results = sequence.getStateResults();
        auto found = llvm::find(results, result);
        if (found != results.end())
          source = sequence.getStateOperands()[found - results.begin()]->get();
      }
      auto type = cast<RankedTensorType>(result.getType());
      ASSERT_EQ(sizes[result.getResultNumber()].size(), size_t(type.getRank()));
      for (auto [index, size] : llvm::enumerate(sizes[result.getResultNumber()])) {
        if (!type.isDynamicDim(index)) {
          EXPECT_EQ(getConstantIntValue(size), type.getDimSize(index));
          continue;
        }
        auto dim = cast<Value>(size).getDefiningOp<tensor::DimOp>();
        ASSERT_TRUE(dim) << op->getName().getStringRef().str();
        EXPECT_EQ(dim.getSource(), source) << op->getName().getStringRef().str();
        EXPECT_EQ(dim.getConstantIndex(), int64_t(index));
        ++dynamic;
      }
    }
  });
  EXPECT_GT(dynamic, 20u);
  EXPECT_TRUE(succeeded(module->verify()));
}

// Backward steps are external models, which lib/Transforms registers; the dialect has none.
TEST_F(Interfaces, TheDialectAloneHasNoGradients) {
  module->walk([&](Operation *op) { EXPECT_FALSE(isa<DifferentiableOpInterface>(op)) << op; });
}

TEST_F(Interfaces, BuildersTakeNumbersAndInferTypes) {
  auto function = cast<func::FuncOp>(module->getBody()->front());
  Value x = (*function.getOps<EmbedOp>().begin()).getResult();
  Value weight = function.getArgument(2);
  OpBuilder builder(&context);
  builder.setInsertionPoint(function.getBody().front().getTerminator());
  Location loc = builder.getUnknownLoc();

  auto norm = RmsNormOp::create(builder, loc, x, weight, Value(), 1e-5, 0.5);
  EXPECT_EQ(norm.getType(), x.getType());
  EXPECT_EQ(norm.getEps().convertToDouble(), 1e-5);
  EXPECT_EQ(norm.getScaleOrOne(), 0.5);
  EXPECT_EQ(RmsNormOp::create(builder, loc, x, weight, weight, 1e-5).getScaleOrOne(), 1.0);
  EXPECT_EQ(LayerNormOp::create(builder, loc, x, weight, weight, 1e-5).getType(), x.getType());
  EXPECT_EQ(SiluOp::create(builder, loc, x).getType(), x.getType());
  EXPECT_EQ(LastOp::create(builder, loc, x).getType().getDimSize(1), 1);

  auto step = TimestepNormOp::create(builder, loc, x, weight, weight, function.getArgument(3),
                                     function.getArgument(4), function.getArgument(4),
                                     /*mask=*/Value(), /*groups=*/4, /*eps=*/1e-5);
  EXPECT_EQ(step.getNewMean().getType(), function.getArgument(4).getType());

  auto group = GroupOp::create(builder, loc, x.getType(), x, "copy");
  OpBuilder body = OpBuilder::atBlockEnd(group.getBody());
  YieldOp::create(body, loc, group.getBody()->getArguments());
  EXPECT_EQ(group.getYield()->getNumOperands(), 1u);

  OpBuilder top = OpBuilder::atBlockBegin(module->getBody());
  auto tensor = RankedTensorType::get({9, 8}, builder.getF32Type());
  auto declared = WeightOp::create(top, loc, "table", tensor);
  auto tied = WeightOp::create(top, loc, "head", tensor, "table");
  EXPECT_EQ(declared.getCheckpointName(), "table");
  EXPECT_EQ(tied.getCheckpointName(), "table");
  EXPECT_EQ(UseWeightOp::create(builder, loc, tied).getType(), tensor);
  EXPECT_TRUE(succeeded(module->verify()));
}

} // namespace

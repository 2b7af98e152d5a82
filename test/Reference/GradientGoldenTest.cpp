//===- GradientGoldenTest.cpp - Gradients and steps against golden data -----===//
//
// Every gradient stored in test/golden, the optimizer steps of model_train and the
// learning rates of sampling_schedule, at the README's tolerances for float64 code.
//
//===----------------------------------------------------------------------===//

#include "Golden.h"
#include "otodus/Reference/Gradients.h"
#include "otodus/Reference/Optimizer.h"

#include <numeric>

using namespace otodus;
using namespace otodus::reference;

namespace {

class TimestepNormGradients : public testing::TestWithParam<const char *> {};
class CemaGradientsGolden : public testing::TestWithParam<const char *> {};
class AttentionGradientsGolden : public testing::TestWithParam<const char *> {};
class FfnGradients : public testing::TestWithParam<const char *> {};

/// Every tensor `prefix`NAME of the file is among `gradients`, and equal.
void compareAll(const Golden &golden, const std::string &prefix, const Parameters &gradients) {
  int compared = 0;
  for (const std::string &name : golden.names()) {
    if (!name.starts_with(prefix))
      continue;
    auto it = gradients.find(name.substr(prefix.size()));
    ASSERT_TRUE(it != gradients.end()) << "no gradient for " << name;
    golden.compare(name, it->second);
    ++compared;
  }
  EXPECT_EQ(compared, static_cast<int>(gradients.size()));
}

TEST_P(TimestepNormGradients, Stored) {
  Golden golden(GetParam());
  Tensor x = golden["x"];
  int64_t groups = static_cast<int64_t>(golden.number("groups"));
  std::vector<uint8_t> mask;
  if (golden.has("padding_mask"))
    for (double flag : golden["padding_mask"].data)
      mask.push_back(flag != 0);
  bool prior = golden.has("prior_mean");
  NormState state = freshNormState(x.dim(0), groups);
  if (golden.has("prev_mean"))
    state = {golden.integers("prev_count"), golden["prev_mean"], golden["prev_var"]};
  if (prior) {
    Tensor mean = golden["prior_mean"], logv = golden["prior_logv"];
    state = freshNormState(x.dim(0), groups, static_cast<int64_t>(golden.number("prior_count")),
                           &mean, &logv);
  }

  NormStateGradients carried{golden["cot_mean"], golden["cot_var"]};
  AffineGradients d =
      timestepNormBackward(x, golden["weight"], state, groups, golden.number("eps"),
                           golden["cot_y"], carried, mask.empty() ? nullptr : &mask);
  Parameters gradients = {{"x", d.x}, {"weight", d.weight}, {"bias", d.bias}};
  if (golden.has("prev_mean")) {
    gradients["prev_mean"] = carried.mean;
    gradients["prev_var"] = carried.variance;
  }
  if (prior) {
    PriorGradients priors = freshNormStateBackward(carried, golden["prior_logv"]);
    gradients["prior_mean"] = priors.mean;
    gradients["prior_logv"] = priors.logVariance;
  }
  compareAll(golden, "grad_", gradients);
}
INSTANTIATE_TEST_SUITE_P(Files, TimestepNormGradients,
                         testing::Values("tsn_basic", "tsn_state", "tsn_stream", "tsn_prior",
                                         "tsn_mask", "tsn_offset"));

TEST_P(CemaGradientsGolden, Stored) {
  Golden golden(GetParam());
  Tensor x = golden["x"], dh = golden["cot_h"];
  bool carried = golden.has("h0");
  CemaGradients d =
      cemaBackward(x, golden["alpha"], golden["delta"], golden["theta"], golden["gamma"],
                   golden["omega"], carried ? golden["h0"] : Tensor(dh.shape), golden["cot_y"], dh);
  Parameters gradients = {{"x", d.x},         {"alpha", d.alpha}, {"delta", d.delta},
                          {"theta", d.theta}, {"gamma", d.gamma}, {"omega", d.omega}};
  if (carried)
    gradients["h0"] = dh;
  compareAll(golden, "grad_", gradients);
}
INSTANTIATE_TEST_SUITE_P(Files, CemaGradientsGolden,
                         testing::Values("cema_basic", "cema_state", "cema_stream",
                                         "cema_extreme"));

TEST_P(AttentionGradientsGolden, Stored) {
  Golden golden(GetParam());
  Tensor q = golden["q"], k = golden["k"], v = golden["v"], frequencies = golden["rope_freqs"];
  int64_t batch = q.dim(0), heads = static_cast<int64_t>(golden.number("heads"));
  int64_t chunk = static_cast<int64_t>(golden.number("chunk"));
  std::vector<int64_t> position(batch, 0);
  ChunkCache cache = emptyChunkCache(batch, chunk, heads, q.dim(2) / heads, v.dim(2) / heads);
  ChunkCache dCache = cache;
  AttentionGradients d = chunkAttentionBackward(rotary(q, frequencies, position, chunk, heads),
                                                rotary(k, frequencies, position, chunk, heads), v,
                                                position, cache, golden["cot_o"], dCache);
  compareAll(golden, "grad_",
             {{"q", rotaryBackward(d.q, frequencies, position, chunk, heads)},
              {"k", rotaryBackward(d.k, frequencies, position, chunk, heads)},
              {"v", d.v}});
}
INSTANTIATE_TEST_SUITE_P(Files, AttentionGradientsGolden,
                         testing::Values("attn_chunks", "attn_short", "attn_base1e5"));

TEST_P(FfnGradients, Stored) {
  Golden golden(GetParam());
  Parameters gradients;
  Tensor dy = golden["cot_out"];
  Tensor dy1 = ffnBackward(golden["y1"], golden.parameters(), "", 1e-5, dy, gradients);
  compareAll(golden, "grad.param.", gradients);
  golden.compare("grad.y1", dy1);
  golden.compare("grad.residual", dy);
}
INSTANTIATE_TEST_SUITE_P(Files, FfnGradients,
                         testing::Values("ffn_silu", "ffn_swiglu", "ffn_rescale"));

TEST(BlockGradients, Block) {
  Golden golden("block_basic");
  formats::ModelConfig config = golden.config();
  BlockStateGradients carried = zeroBlockStateGradients(config, 1);
  Parameters gradients;
  std::map<std::string, Tensor> middle;
  Tensor dx =
      blockBackward(golden["x"], golden.parameters(), "", config, golden["rope_freqs"], {0},
                    freshBlockState(config, 1), golden["cot_y"], carried, gradients, &middle);
  golden.compare("grad.x", dx);
  compareAll(golden, "grad.param.", gradients);
  compareAll(golden, "grad.mid.", middle);
}

TEST(BlockGradients, Layer) {
  Golden golden("layer_basic");
  formats::ModelConfig config = golden.config();
  BlockStateGradients carried = zeroBlockStateGradients(config, 1);
  Parameters gradients;
  Tensor dx = layerBackward(golden["x"], golden.parameters(), "", config, golden["rope_freqs"], {0},
                            freshBlockState(config, 1), golden["cot_y"], carried, gradients);
  golden.compare("grad.x", dx);
  compareAll(golden, "grad.param.", gradients);
}

//===----------------------------------------------------------------------===//
// Whole models
//===----------------------------------------------------------------------===//

Model modelOf(const Golden &golden, const Parameters &parameters) {
  Result<Model> model = Model::create(golden.config(), parameters);
  if (!model.isOk())
    throw std::runtime_error(model.status().message());
  return *model;
}

LossGradients lossOf(const Golden &golden, const Parameters &parameters, int64_t step) {
  Result<LossGradients> loss =
      lossGradients(modelOf(golden, parameters), toTokens(slice(golden["tokens"], step)),
                    toTokens(slice(golden["targets"], step)));
  if (!loss.isOk())
    throw std::runtime_error(loss.status().message());
  return *loss;
}

TEST(ModelGradients, Loss) {
  Golden golden("model_train");
  LossGradients found = lossOf(golden, golden.parameters(), 0);
  golden.compare("loss", Tensor({}, std::vector{found.loss}));
  compareAll(golden, "grad.", found.gradients);
}

/// The strings of a JSON list.
std::vector<std::string> words(const std::string &list) {
  std::vector<std::string> result;
  std::istringstream in(list);
  std::string skipped, word;
  while (std::getline(in, skipped, '"') && std::getline(in, word, '"'))
    result.push_back(word);
  return result;
}

TEST(ModelGradients, ThreeSteps) {
  Golden golden("model_train");
  // `optim` of the file, and the reference's defaults.
  ASSERT_EQ(golden.meta("optim"), R"({"lr": 0.01, "warmup": 2, "total_steps": 10})");
  Schedule schedule{.warmup = 2, .total = 10};
  Parameters parameters = golden.parameters();
  AdamWState state;
  Tensor losses({4}), norms({3}), rates({3});
  for (int64_t step = 0; step < 3; ++step) {
    LossGradients found = lossOf(golden, parameters, step);
    losses[step] = found.loss;
    norms[step] = clipGlobalNorm(found.gradients, 1);
    rates[step] = 0.01 * learningRateFactor(schedule, step);
    adamwStep(parameters, found.gradients, rates[step], {}, state);
  }
  losses[3] = lossOf(golden, parameters, 0).loss;
  golden.compare("adamw_losses", losses);
  golden.compare("adamw_grad_norms", norms);
  golden.compare("adamw_lrs", rates);

  for (const std::string &name : golden.names())
    if (name.starts_with("after3."))
      golden.compare(name, parameters.at(name.substr(7)));
  std::vector<std::string> order = words(golden.meta("after3_l2norm_order"));
  Tensor lengths({static_cast<int64_t>(order.size())});
  for (size_t i = 0; i < order.size(); ++i)
    lengths[i] = globalNorm({{order[i], parameters.at(order[i])}});
  golden.compare("after3_l2norm", lengths);
}

TEST(ScheduleGolden, Factors) {
  Golden golden("sampling_schedule");
  Schedule schedule{.warmup = 5, .total = 20, .initRatio = 1e-3, .endRatio = 0.05};
  auto factors = [&](ScheduleKind kind, double cycles = 1) {
    schedule.kind = kind;
    schedule.cycles = cycles;
    Tensor result({26});
    for (int64_t step = 0; step < 26; ++step)
      result[step] = learningRateFactor(schedule, step);
    return result;
  };
  golden.compare("lr_linear", factors(ScheduleKind::Linear));
  golden.compare("lr_cosine", factors(ScheduleKind::Cosine));
  golden.compare("lr_cosine2", factors(ScheduleKind::Cosine, 0.5));
  golden.compare("lr_constant", factors(ScheduleKind::Constant));
}

} // namespace

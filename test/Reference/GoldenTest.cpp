//===- GoldenTest.cpp - The reference against the golden data ---------------===//
//
// Every file of test/golden, forward, and streaming where the file has pieces, at
// the tolerances its README states for float64 code.
//
//===----------------------------------------------------------------------===//

#include "Golden.h"

#include <numeric>

using namespace otodus;
using namespace otodus::reference;

namespace {

/// Both as one piece and as stored.
std::vector<std::vector<int64_t>> splits(const Golden &golden, int64_t length) {
  std::vector<std::vector<int64_t>> result{{length}};
  if (std::vector<int64_t> pieces = golden.pieces(length); pieces.size() > 1)
    result.push_back(pieces);
  return result;
}

void expectNear(const Tensor &found, const Tensor &expected, double tolerance) {
  ASSERT_EQ(found.shape, expected.shape);
  for (int64_t i = 0; i < found.size(); ++i)
    ASSERT_NEAR(found[i], expected[i], tolerance * std::max(1.0, std::abs(expected[i]))) << i;
}

/// The first `count` entries of a chunk cache [B, C, H, d].
Tensor open(const Tensor &cache, int64_t count) { return steps(cache, 0, count); }

class TimestepNormGolden : public testing::TestWithParam<const char *> {};
class CemaGolden : public testing::TestWithParam<const char *> {};
class AttentionGolden : public testing::TestWithParam<const char *> {};
class BlockGolden : public testing::TestWithParam<const char *> {};
class FfnGolden : public testing::TestWithParam<const char *> {};

TEST_P(TimestepNormGolden, Forward) {
  Golden golden(GetParam());
  Tensor x = golden["x"], weight = golden["weight"], bias = golden["bias"];
  int64_t groups = static_cast<int64_t>(golden.number("groups"));
  std::vector<uint8_t> mask;
  if (golden.has("padding_mask"))
    for (double flag : golden["padding_mask"].data)
      mask.push_back(flag != 0);

  for (const std::vector<int64_t> &split : splits(golden, x.dim(1))) {
    NormState state;
    if (golden.has("prior_mean")) {
      Tensor mean = golden["prior_mean"], logv = golden["prior_logv"];
      state = freshNormState(x.dim(0), groups, static_cast<int64_t>(golden.number("prior_count")),
                             &mean, &logv);
    } else if (golden.has("prev_mean")) {
      state = {golden.integers("prev_count"), golden["prev_mean"], golden["prev_var"]};
    } else {
      state = freshNormState(x.dim(0), groups);
    }
    std::vector<Tensor> outputs;
    int64_t begin = 0;
    for (size_t i = 0; i < split.size(); ++i) {
      Tensor piece = steps(x, begin, begin + split[i]);
      begin += split[i];
      outputs.push_back(timestepNorm(piece, weight, bias, state, groups, golden.number("eps"),
                                     mask.empty() ? nullptr : &mask));
      if (split.size() > 1 && golden.has("states_mean")) {
        expectNear(state.mean, slice(golden["states_mean"], i), 1e-9);
        expectNear(state.variance, slice(golden["states_var"], i), 1e-9);
        for (int64_t b = 0; b < x.dim(0); ++b)
          EXPECT_EQ(state.count[b], slice(golden["states_count"], i)[b]);
      }
    }
    golden.compare("y", joinSteps(outputs));
    golden.compare("mean", state.mean);
    golden.compare("var", state.variance);
    golden.compare("count", state.count);
  }
}
INSTANTIATE_TEST_SUITE_P(Files, TimestepNormGolden,
                         testing::Values("tsn_basic", "tsn_state", "tsn_stream", "tsn_prior",
                                         "tsn_mask", "tsn_offset"));

TEST_P(CemaGolden, Forward) {
  Golden golden(GetParam());
  Tensor x = golden["x"];
  int64_t order = static_cast<int64_t>(golden.number("ndim"));
  for (const std::vector<int64_t> &split : splits(golden, x.dim(1))) {
    Tensor h = golden.has("h0") ? golden["h0"] : Tensor({x.dim(0), x.dim(2), order, 2});
    std::vector<Tensor> outputs;
    int64_t begin = 0;
    for (size_t i = 0; i < split.size(); ++i) {
      Tensor piece = steps(x, begin, begin + split[i]);
      begin += split[i];
      outputs.push_back(cema(piece, golden["alpha"], golden["delta"], golden["theta"],
                             golden["gamma"], golden["omega"], h));
      if (split.size() > 1 && golden.has("states_h"))
        expectNear(h, slice(golden["states_h"], i), 1e-9);
    }
    golden.compare("y", joinSteps(outputs));
    golden.compare("h", h);
  }
}
INSTANTIATE_TEST_SUITE_P(Files, CemaGolden,
                         testing::Values("cema_basic", "cema_state", "cema_stream",
                                         "cema_extreme"));

TEST_P(AttentionGolden, Forward) {
  Golden golden(GetParam());
  Tensor q = golden["q"], k = golden["k"], v = golden["v"];
  int64_t batch = q.dim(0), length = q.dim(1);
  int64_t heads = static_cast<int64_t>(golden.number("heads"));
  int64_t chunk = static_cast<int64_t>(golden.number("chunk"));
  Tensor frequencies = ropeFrequencies(q.dim(2) / heads, golden.number("rope_base"));
  EXPECT_EQ(frequencies.data, golden["rope_freqs"].data);

  for (const std::vector<int64_t> &split : splits(golden, length)) {
    ChunkCache cache = emptyChunkCache(batch, chunk, heads, q.dim(2) / heads, v.dim(2) / heads);
    std::vector<int64_t> position(batch, 0);
    std::vector<Tensor> outputs;
    for (size_t i = 0; i < split.size(); ++i) {
      int64_t begin = position[0], end = begin + split[i];
      outputs.push_back(
          chunkAttention(rotary(steps(q, begin, end), frequencies, position, chunk, heads),
                         rotary(steps(k, begin, end), frequencies, position, chunk, heads),
                         steps(v, begin, end), position, cache));
      position.assign(batch, end);
      if (split.size() > 1)
        EXPECT_EQ(end % chunk, golden["cache_counts_after_each_piece"][i]);
    }
    golden.compare("o", joinSteps(outputs));
    if (golden.has("cache_k")) {
      golden.compare("cache_k", open(cache.keys, length % chunk));
      golden.compare("cache_v", open(cache.values, length % chunk));
    }
  }
}
INSTANTIATE_TEST_SUITE_P(Files, AttentionGolden,
                         testing::Values("attn_chunks", "attn_short", "attn_cache",
                                         "attn_base1e5"));

TEST_P(FfnGolden, Forward) {
  Golden golden(GetParam());
  golden.compare("out", ffn(golden["y1"], golden["residual"], golden.parameters(), "", 1e-5));
}
INSTANTIATE_TEST_SUITE_P(Files, FfnGolden,
                         testing::Values("ffn_silu", "ffn_swiglu", "ffn_rescale"));

TEST_P(BlockGolden, Forward) {
  Golden golden(GetParam());
  formats::ModelConfig config = golden.config();
  Parameters parameters = golden.parameters();
  Tensor x = golden["x"], frequencies = golden["rope_freqs"];
  int64_t batch = x.dim(0), length = x.dim(1);
  for (const std::vector<int64_t> &split : splits(golden, length)) {
    BlockState state = freshBlockState(config, batch, parameters, "");
    std::vector<int64_t> position(batch, 0);
    std::map<std::string, Tensor> middle;
    std::vector<Tensor> outputs;
    for (int64_t piece : split) {
      int64_t begin = position[0];
      Tensor part = steps(x, begin, begin + piece);
      outputs.push_back(
          golden.meta("op") == "layer"
              ? layer(part, parameters, "", config, frequencies, position, state)
              : block(part, parameters, "", config, frequencies, position, state, &middle));
      position.assign(batch, begin + piece);
    }
    golden.compare("y", joinSteps(outputs));
    for (const auto &[name, value] : middle)
      if (golden.has("mid." + name))
        golden.compare("mid." + name, value);
    if (golden.has("cache_k")) {
      int64_t count = golden.integers("cache_count")[0];
      EXPECT_EQ(count, length % config.chunk_size);
      golden.compare("cache_k", open(state.cache.keys, count));
      golden.compare("cache_v", open(state.cache.values, count));
      golden.compare("cache_tsn_count", state.norm.count);
      golden.compare("cache_tsn_mean", state.norm.mean);
      golden.compare("cache_tsn_var", state.norm.variance);
      golden.compare("cache_h", state.h);
    }
  }
}
INSTANTIATE_TEST_SUITE_P(Files, BlockGolden,
                         testing::Values("block_basic", "block_stream", "layer_basic"));

//===----------------------------------------------------------------------===//
// Whole models
//===----------------------------------------------------------------------===//

Model trained() {
  Golden train("model_train");
  Result<Model> model = Model::create(train.config(), train.parameters());
  if (!model.isOk())
    throw std::runtime_error(model.status().message());
  return *model;
}

Tensor run(const Model &model, const Tokens &tokens, const std::vector<int64_t> &split,
           ModelState &state) {
  std::vector<Tensor> outputs;
  int64_t begin = 0;
  for (int64_t piece : split) {
    Result<Tensor> logits = model.forward(steps(tokens, begin, begin + piece), state);
    if (!logits.isOk())
      throw std::runtime_error(logits.status().message());
    outputs.push_back(*logits);
    begin += piece;
  }
  return joinSteps(outputs);
}

TEST(ModelGolden, Train) {
  Golden golden("model_train");
  Model model = trained();
  Tokens tokens = toTokens(slice(golden["tokens"], 0));
  Tokens targets = toTokens(slice(golden["targets"], 0));
  ModelState state = model.freshState(tokens.batch);
  std::vector<Tensor> blocks;
  Result<Tensor> logits = model.forward(tokens, state, &blocks);
  ASSERT_TRUE(logits.isOk());
  golden.compare("logits", *logits);
  golden.compare("block0_out", blocks[0]);
  golden.compare("block1_out", blocks[1]);
  Tensor nll = negativeLogLikelihood(*logits, targets);
  double sum = std::accumulate(nll.data.begin(), nll.data.end(), 0.0);
  golden.compare("loss", Tensor({}, std::vector{sum / nll.size()}));
}

TEST(ModelGolden, Stream) {
  Golden golden("model_stream");
  Model model = trained();
  Tokens tokens = toTokens(golden["tokens"]);
  for (const std::vector<int64_t> &split : splits(golden, tokens.length)) {
    ModelState state = model.freshState(tokens.batch);
    golden.compare("logits", run(model, tokens, split, state));
    int64_t count = tokens.length % model.config().chunk_size;
    for (int i = 0; i < 2; ++i) {
      std::string at = "final.layer" + std::to_string(i) + ".";
      golden.compare(at + "k", open(state.blocks[i].cache.keys, count));
      golden.compare(at + "v", open(state.blocks[i].cache.values, count));
      golden.compare(at + "count", state.blocks[i].norm.count);
      golden.compare(at + "mean", state.blocks[i].norm.mean);
      golden.compare(at + "var", state.blocks[i].norm.variance);
      golden.compare(at + "h", state.blocks[i].h);
    }
    golden.compare("final.norm.count", state.finalNorm.count);
    golden.compare("final.norm.mean", state.finalNorm.mean);
    golden.compare("final.norm.var", state.finalNorm.variance);
  }
}

TEST(ModelGolden, Ragged) {
  Golden golden("model_ragged");
  Model model = trained();
  Tokens tokens = toTokens(golden["tokens"]);
  ModelState state = model.freshState(tokens.batch);
  golden.compare("logits", run(model, tokens, {tokens.length}, state));
}

TEST(ModelGolden, LongEvaluation) {
  Golden golden("model_longeval");
  Model model = trained();
  Tokens tokens = toTokens(golden["tokens"]), targets = toTokens(golden["targets"]);
  NormWindow window{static_cast<int64_t>(golden.number("norm_window_chunks")),
                    static_cast<int64_t>(golden.number("trigger_chunks")),
                    static_cast<int64_t>(golden.number("chunks_per_call"))};
  golden.compare("nll", negativeLogLikelihood(*windowedForward(model, tokens, window), targets));
  window.windowChunks = 0;
  golden.compare("nll_plain",
                 negativeLogLikelihood(*windowedForward(model, tokens, window), targets));
}

/// Greedy continuation of the first `prompt` of `tokens` gives the rest.
void expectGreedy(const Model &model, const Tokens &tokens, int64_t prompt) {
  ModelState state = model.freshState(1);
  Tensor logits = run(model, steps(tokens, 0, prompt), {prompt}, state);
  for (int64_t t = prompt; t < tokens.length; ++t) {
    auto end = logits.data.end();
    std::vector<double> last(end - logits.dim(2), end);
    EXPECT_EQ(argmax(last), tokens.ids[t]) << t;
    logits = run(model, steps(tokens, t, t + 1), {1}, state);
  }
}

TEST(ModelGolden, Generate) {
  Golden golden("model_generate");
  Model model = trained();
  Tokens tokens = toTokens(golden["tokens"]);
  ModelState state = model.freshState(1);
  golden.compare("logits_parallel", run(model, tokens, {tokens.length}, state));
  expectGreedy(model, tokens, golden.integers("prompt_len")[0]);
}

TEST(ModelGolden, TinyCheckpoint) {
  auto file = formats::SafetensorsFile::open(OTODUS_GOLDEN_DIR "/tiny-megalodon/model.safetensors");
  ASSERT_TRUE(file.isOk()) << file.status().message();
  auto config = formats::ModelConfig::load(OTODUS_GOLDEN_DIR "/tiny-megalodon/config.json");
  ASSERT_TRUE(config.isOk()) << config.status().message();
  Result<Model> model = Model::create(*config, *readParameters(*file, ""));
  ASSERT_TRUE(model.isOk()) << model.status().message();

  Golden golden("tiny-megalodon/expected");
  Tokens tokens = toTokens(golden["tokens"]), ragged = toTokens(golden["ragged_tokens"]);
  ModelState state = model->freshState(tokens.batch);
  golden.compare("logits", run(*model, tokens, {tokens.length}, state));
  state = model->freshState(ragged.batch);
  golden.compare("ragged_logits", run(*model, ragged, {ragged.length}, state));
  expectGreedy(*model, toTokens(golden["greedy_tokens"]), golden.integers("greedy_prompt_len")[0]);
}

TEST(SamplingGolden, Filters) {
  Golden golden("sampling_schedule");
  Tensor logits = golden["logits"];
  auto distribution = [&](const SamplingFilter &filter) {
    Tensor result(logits.shape);
    int64_t width = logits.dim(1);
    for (int64_t row = 0; row < logits.dim(0); ++row) {
      auto begin = logits.data.begin() + row * width;
      std::vector<double> p = samplingDistribution({begin, begin + width}, filter);
      std::copy(p.begin(), p.end(), result.data.begin() + row * width);
    }
    return result;
  };
  for (const char *temperature : {"1.0", "0.7"}) {
    std::string at = std::string("_t") + temperature;
    SamplingFilter filter{.temperature = std::stod(temperature)};
    golden.compare("probs" + at, distribution(filter));
    for (const char *p : {"0.5", "0.9"}) {
      SamplingFilter nucleus = filter;
      nucleus.topP = std::stod(p);
      golden.compare(std::string("top_p") + p + at, distribution(nucleus));
    }
    for (int64_t k : {1, 5}) {
      SamplingFilter top = filter;
      top.topK = k;
      golden.compare("top_k" + std::to_string(k) + at, distribution(top));
    }
  }
}

} // namespace

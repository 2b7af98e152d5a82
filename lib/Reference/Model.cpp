//===- Model.cpp - Blocks, layers and whole models --------------------------===//

#include "ModelParts.h"

#include "otodus/Formats/Random.h"

#include <algorithm>
#include <cmath>

namespace otodus::reference {

namespace {

NormState freshNorm(const formats::ModelConfig &config, int64_t batch, const Parameters &parameters,
                    const std::string &prefix) {
  const Tensor *count = find(parameters, prefix + "prior_count");
  return freshNormState(
      batch, config.norm_num_groups, count ? static_cast<int64_t>((*count)[0]) : 0,
      find(parameters, prefix + "prior_mean"), find(parameters, prefix + "prior_logv"));
}

} // namespace

Tensor Dropout::operator()(const Tensor &x, double p, int64_t place, int64_t heads) const {
  int64_t width = x.dim(-1), d = width / heads;
  auto least = static_cast<uint64_t>(std::nearbyint(p * 0x1p32));
  Tensor y = x;
  for (int64_t i = 0; i < x.size(); ++i) {
    int64_t feature = i % width, n = feature / d * ((d + 3) / 4 * 4) + feature % d;
    std::array<uint32_t, 4> words = formats::philox(
        {static_cast<uint32_t>(n / 4), static_cast<uint32_t>(rowNumbers[i / width]),
         static_cast<uint32_t>(16 * index + place),
         static_cast<uint32_t>(step) + 0x80000000u},
        {static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32)});
    y[i] = words[n % 4] >= least ? x[i] / (1 - p) : 0;
  }
  return y;
}

Dropout Dropout::of(int64_t i) const {
  Dropout result = *this;
  result.index = 1 + i;
  return result;
}

BlockState freshBlockState(const formats::ModelConfig &config, int64_t batch,
                           const Parameters &parameters, const std::string &prefix) {
  return {freshNorm(config, batch, parameters, prefix + "mega.timenorm."),
          Tensor({batch, config.model_dim, config.cema_ndim, 2}),
          emptyChunkCache(batch, config.chunk_size, config.num_heads, config.dz(), config.dv())};
}

Tensor ffn(const Tensor &y1, const Tensor &residual, const Parameters &parameters,
           const std::string &prefix, double eps, const Dropout *dropout) {
  Tensor f = layerNorm(y1, find(parameters, prefix + "norm.weight"),
                       find(parameters, prefix + "norm.bias"), eps);
  Tensor u = silu(linear(f, parameters.at(prefix + "fc1.weight")));
  if (const Tensor *fc3 = find(parameters, prefix + "fc3.weight"))
    u = multiply(u, linear(f, *fc3));
  if (dropout)
    u = (*dropout)(u, dropout->hidden, 3);
  Tensor y = linear(u, parameters.at(prefix + "fc2.weight"));
  if (dropout)
    y = (*dropout)(y, dropout->residual, 4);
  if (const Tensor *alpha = find(parameters, prefix + "alpha"))
    y = scale(y, *alpha);
  return add(residual, y);
}

Tensor block(const Tensor &x, const Parameters &parameters, const std::string &prefix,
             const formats::ModelConfig &config, const Tensor &frequencies,
             const std::vector<int64_t> &position, BlockState &state,
             std::map<std::string, Tensor> *middle, const Dropout *dropout) {
  auto parameter = [&](const char *name) -> const Tensor & {
    return parameters.at(prefix + "mega." + name);
  };
  int64_t heads = config.num_heads, chunk = config.chunk_size;

  Tensor xn = timestepNorm(x, parameter("timenorm.weight"), parameter("timenorm.bias"), state.norm,
                           config.norm_num_groups, config.norm_eps);
  Tensor cx = cema(xn, parameter("cema.alpha"), parameter("cema.delta"), parameter("cema.theta"),
                   parameter("cema.gamma"), parameter("cema.omega"), state.h);
  Tensor mx =
      rmsNorm(cx, find(parameters, prefix + "mega.rmsnorm.weight"), nullptr, config.norm_eps);

  if (dropout)
    mx = (*dropout)(mx, dropout->hidden, 0);

  // Spec 3.5: one z, and two affine views of its per-head normalisation.
  Tensor z = linear(mx, parameter("wz.weight"), &parameter("wz.bias"));
  auto view = [&](int64_t i) {
    Tensor gamma = row(parameter("gamma"), i), beta = row(parameter("beta"), i);
    return rmsNorm(z, &gamma, &beta, config.norm_eps,
                   1 / std::sqrt(static_cast<double>(config.dz())), heads);
  };
  Tensor q = view(0), k = view(1);

  Tensor vBefore = linear(xn, parameter("wv.weight"), &parameter("wv.bias"));
  Tensor rBefore = linear(mx, parameter("wr.weight"), &parameter("wr.bias"));
  Tensor o = chunkAttention(rotary(q, frequencies, position, chunk, heads),
                            rotary(k, frequencies, position, chunk, heads), silu(vBefore), position,
                            state.cache);
  Tensor gated = multiply(o, silu(rBefore));
  if (dropout)
    gated = (*dropout)(gated, dropout->hidden, 1, heads);
  Tensor hh = add(linear(mx, parameter("wh1.weight"), &parameter("wh1.bias")),
                  linear(gated, parameter("wh2.weight")));
  if (dropout)
    hh = (*dropout)(hh, dropout->residual, 2);
  if (middle)
    *middle = {{"xn", xn}, {"cx", cx},         {"mx", mx},         {"z", z}, {"q", q},
               {"k", k},   {"v_pre", vBefore}, {"r_pre", rBefore}, {"o", o}};
  return add(x, hh);
}

Tensor layer(const Tensor &x, const Parameters &parameters, const std::string &prefix,
             const formats::ModelConfig &config, const Tensor &frequencies,
             const std::vector<int64_t> &position, BlockState &state, const Dropout *dropout) {
  Tensor y1 =
      block(x, parameters, prefix, config, frequencies, position, state, nullptr, dropout);
  return ffn(y1, x, parameters, prefix + "nffn.", config.norm_eps, dropout);
}

//===----------------------------------------------------------------------===//
// Model
//===----------------------------------------------------------------------===//

Result<Model> Model::create(const formats::ModelConfig &config, Parameters parameters) {
  OTODUS_RETURN_IF_ERROR(config.validate());
  Model model;
  model.config_ = config;
  std::string problems;
  for (const formats::ExpectedTensor &expected : formats::expectedTensors(config)) {
    auto it = parameters.find(expected.name);
    if (it == parameters.end()) {
      if (!expected.optional)
        problems += "; missing " + expected.name;
    } else if (it->second.shape != expected.shape) {
      problems += "; " + expected.name + ": expected shape " +
                  formats::shapeToString(expected.shape) + ", found " +
                  formats::shapeToString(it->second.shape);
    } else {
      model.parameters_[expected.name] = std::move(it->second);
    }
  }
  if (!problems.empty())
    return Status(Code::File, "parameters do not fit the configuration: " + problems.substr(2));
  const Tensor *stored = find(model.parameters_, "rope.freqs");
  model.frequencies_ = stored ? *stored : ropeFrequencies(config.dz(), config.ropeBase());
  return model;
}

ModelState Model::freshState(int64_t batch) const {
  ModelState state;
  state.position.assign(batch, 0);
  for (int64_t i = 0; i < config_.num_layers; ++i)
    state.blocks.push_back(freshBlockState(config_, batch, parameters_, layerPrefix(i)));
  state.finalNorm = freshNorm(config_, batch, parameters_, "output.final_norm.");
  return state;
}

Result<Tensor> Model::forward(const Tokens &tokens, ModelState &state,
                              std::vector<Tensor> *blockOutputs, const Dropout *dropout) const {
  if (tokens.batch != static_cast<int64_t>(state.position.size()))
    return Status(Code::Input, "expected " + std::to_string(state.position.size()) +
                                   " sequences as in the state, found " +
                                   std::to_string(tokens.batch));
  for (int64_t id : tokens.ids)
    if (id < 0 || id >= config_.vocab_size)
      return Status(Code::Input, "token " + std::to_string(id) + " is outside the vocabulary [0, " +
                                     std::to_string(config_.vocab_size) + ")");

  const Tensor &table = parameters_.at("embed.weight");
  Tensor x = embed(tokens, table,
                   config_.scale_emb ? std::sqrt(static_cast<double>(config_.model_dim)) : 1);
  if (dropout)
    x = (*dropout)(x, dropout->residual, 0);
  for (int64_t i = 0; i < config_.num_layers; ++i) {
    Dropout ofLayer = dropout ? dropout->of(i) : Dropout();
    x = layer(x, parameters_, layerPrefix(i), config_, frequencies_, state.position,
              state.blocks[i], dropout ? &ofLayer : nullptr);
    if (blockOutputs)
      blockOutputs->push_back(x);
  }
  x = timestepNorm(x, parameters_.at("output.final_norm.weight"),
                   parameters_.at("output.final_norm.bias"), state.finalNorm,
                   config_.norm_num_groups, config_.norm_eps);
  for (int64_t &position : state.position)
    position += tokens.length;
  return linear(x, config_.share_emb ? table : parameters_.at("output.output.weight"));
}

Result<Tensor> windowedForward(const Model &model, const Tokens &tokens, const NormWindow &window) {
  int64_t chunk = model.config().chunk_size;
  int64_t stride = std::max<int64_t>(1, window.chunksPerCall) * chunk;
  ModelState state = model.freshState(tokens.batch);
  std::vector<Tensor> pieces;
  for (int64_t begin = 0, end = 0; begin < tokens.length; begin = end) {
    end = std::min(begin + stride, tokens.length);
    // A partial chunk at the end is a call of its own: it too comes after a replacement.
    if (end - begin > chunk)
      end -= end % chunk;
    Result<Tensor> logits = model.forward(steps(tokens, begin, end), state);
    if (!logits.isOk())
      return logits;
    pieces.push_back(std::move(*logits));
    if (window.windowChunks <= 0 || end == tokens.length || end < window.triggerChunks * chunk)
      continue;
    ModelState recent = model.freshState(tokens.batch);
    int64_t first = std::max<int64_t>(0, end - window.windowChunks * chunk);
    Result<Tensor> unused = model.forward(steps(tokens, first, end), recent);
    if (!unused.isOk())
      return unused;
    for (size_t i = 0; i < state.blocks.size(); ++i)
      state.blocks[i].norm = recent.blocks[i].norm;
    state.finalNorm = recent.finalNorm;
  }
  if (pieces.empty())
    return Tensor({tokens.batch, 0, model.config().outputSize()});
  return joinSteps(pieces);
}

} // namespace otodus::reference

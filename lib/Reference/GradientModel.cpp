//===- GradientModel.cpp - Backward of blocks, layers and whole models ------===//

#include "ModelParts.h"
#include "otodus/Reference/Gradients.h"

#include <cmath>
#include <numeric>

namespace otodus::reference {

namespace {

void accumulate(Parameters &gradients, const std::string &name, const Tensor &gradient) {
  Tensor &sum = gradients.try_emplace(name, gradient.shape).first->second;
  sum = add(sum, gradient);
}

/// Backward of a linear layer with parameters `name`.weight and, if it has one, `name`.bias;
/// returns dx.
Tensor linearLayerBackward(const Tensor &x, const Parameters &parameters, const std::string &name,
                           const Tensor &dy, Parameters &gradients) {
  AffineGradients d = linearBackward(x, parameters.at(name + ".weight"), dy);
  accumulate(gradients, name + ".weight", d.weight);
  if (find(parameters, name + ".bias"))
    accumulate(gradients, name + ".bias", d.bias);
  return d.x;
}

} // namespace

BlockStateGradients zeroBlockStateGradients(const formats::ModelConfig &config, int64_t batch) {
  return {zeroNormStateGradients(batch, config.norm_num_groups),
          Tensor({batch, config.model_dim, config.cema_ndim, 2}),
          emptyChunkCache(batch, config.chunk_size, config.num_heads, config.dz(), config.dv())};
}

ModelStateGradients zeroModelStateGradients(const formats::ModelConfig &config, int64_t batch) {
  return {
      std::vector<BlockStateGradients>(config.num_layers, zeroBlockStateGradients(config, batch)),
      zeroNormStateGradients(batch, config.norm_num_groups)};
}

Tensor ffnBackward(const Tensor &y1, const Parameters &parameters, const std::string &prefix,
                   double eps, const Tensor &dy, Parameters &gradients, const Dropout *dropout) {
  const Tensor *normWeight = find(parameters, prefix + "norm.weight");
  const Tensor *fc3 = find(parameters, prefix + "fc3.weight");
  Tensor f = layerNorm(y1, normWeight, find(parameters, prefix + "norm.bias"), eps);
  Tensor gateBefore = linear(f, parameters.at(prefix + "fc1.weight")), gate = silu(gateBefore);
  Tensor other = fc3 ? linear(f, *fc3) : Tensor(gate.shape, 1);
  Tensor u = multiply(gate, other);
  if (dropout)
    u = (*dropout)(u, dropout->hidden, 3);

  Tensor dFc2 = dy;
  if (const Tensor *alpha = find(parameters, prefix + "alpha")) {
    Tensor y = linear(u, parameters.at(prefix + "fc2.weight"));
    if (dropout)
      y = (*dropout)(y, dropout->residual, 4);
    ScaleGradients d = scaleBackward(y, *alpha, dy);
    accumulate(gradients, prefix + "alpha", d.factor);
    dFc2 = d.x;
  }
  if (dropout)
    dFc2 = (*dropout)(dFc2, dropout->residual, 4);
  Tensor du = linearLayerBackward(u, parameters, prefix + "fc2", dFc2, gradients);
  if (dropout)
    du = (*dropout)(du, dropout->hidden, 3);
  Tensor df = linearLayerBackward(f, parameters, prefix + "fc1",
                                  siluBackward(gateBefore, multiply(du, other)), gradients);
  if (fc3)
    df = add(df, linearLayerBackward(f, parameters, prefix + "fc3", multiply(du, gate), gradients));
  AffineGradients norm = layerNormBackward(y1, normWeight, df, eps);
  if (normWeight) {
    accumulate(gradients, prefix + "norm.weight", norm.weight);
    accumulate(gradients, prefix + "norm.bias", norm.bias);
  }
  return norm.x;
}

Tensor blockBackward(const Tensor &x, const Parameters &parameters, const std::string &prefix,
                     const formats::ModelConfig &config, const Tensor &frequencies,
                     const std::vector<int64_t> &position, const BlockState &state,
                     const Tensor &dy, BlockStateGradients &dState, Parameters &gradients,
                     std::map<std::string, Tensor> *middle, const Dropout *dropout) {
  std::string mega = prefix + "mega.";
  auto parameter = [&](const char *name) -> const Tensor & { return parameters.at(mega + name); };
  int64_t heads = config.num_heads, chunk = config.chunk_size;
  double eps = config.norm_eps;

  BlockState after = state;
  std::map<std::string, Tensor> forward;
  block(x, parameters, prefix, config, frequencies, position, after, &forward, dropout);
  const Tensor &xn = forward["xn"], &cx = forward["cx"], &mx = forward["mx"], &z = forward["z"];
  const Tensor &vBefore = forward["v_pre"], &rBefore = forward["r_pre"], &o = forward["o"];
  Tensor r = silu(rBefore);

  // hh = wh1(mx) + wh2(o r)
  Tensor dhh = dropout ? (*dropout)(dy, dropout->residual, 2) : dy, gated = multiply(o, r);
  if (dropout)
    gated = (*dropout)(gated, dropout->hidden, 1, heads);
  Tensor dmx = linearLayerBackward(mx, parameters, mega + "wh1", dhh, gradients);
  Tensor dGated = linearLayerBackward(gated, parameters, mega + "wh2", dhh, gradients);
  if (dropout)
    dGated = (*dropout)(dGated, dropout->hidden, 1, heads);
  Tensor dO = multiply(dGated, r), drBefore = siluBackward(rBefore, multiply(dGated, o));

  AttentionGradients attention =
      chunkAttentionBackward(rotary(forward["q"], frequencies, position, chunk, heads),
                             rotary(forward["k"], frequencies, position, chunk, heads),
                             silu(vBefore), position, state.cache, dO, dState.cache);
  Tensor dq = rotaryBackward(attention.q, frequencies, position, chunk, heads);
  Tensor dk = rotaryBackward(attention.k, frequencies, position, chunk, heads);
  Tensor dvBefore = siluBackward(vBefore, attention.v);

  // Spec 3.5: q and k are two affine views of one normalised z.
  double scale = 1 / std::sqrt(static_cast<double>(config.dz()));
  Tensor gammaQ = row(parameter("gamma"), 0), gammaK = row(parameter("gamma"), 1);
  AffineGradients ofQ = rmsNormBackward(z, &gammaQ, dq, eps, scale, heads);
  AffineGradients ofK = rmsNormBackward(z, &gammaK, dk, eps, scale, heads);
  auto stack = [&](Tensor a, const Tensor &b) {
    a.data.insert(a.data.end(), b.data.begin(), b.data.end());
    a.shape = {2, config.z_dim};
    return a;
  };
  accumulate(gradients, mega + "gamma", stack(ofQ.weight, ofK.weight));
  accumulate(gradients, mega + "beta", stack(ofQ.bias, ofK.bias));
  Tensor dz = add(ofQ.x, ofK.x);

  dmx = add(dmx, linearLayerBackward(mx, parameters, mega + "wz", dz, gradients));
  dmx = add(dmx, linearLayerBackward(mx, parameters, mega + "wr", drBefore, gradients));
  if (dropout)
    dmx = (*dropout)(dmx, dropout->hidden, 0);
  const Tensor *rmsWeight = find(parameters, mega + "rmsnorm.weight");
  AffineGradients rms = rmsNormBackward(cx, rmsWeight, dmx, eps);
  if (rmsWeight)
    accumulate(gradients, mega + "rmsnorm.weight", rms.weight);

  CemaGradients ema =
      cemaBackward(xn, parameter("cema.alpha"), parameter("cema.delta"), parameter("cema.theta"),
                   parameter("cema.gamma"), parameter("cema.omega"), state.h, rms.x, dState.h);
  accumulate(gradients, mega + "cema.alpha", ema.alpha);
  accumulate(gradients, mega + "cema.delta", ema.delta);
  accumulate(gradients, mega + "cema.theta", ema.theta);
  accumulate(gradients, mega + "cema.gamma", ema.gamma);
  accumulate(gradients, mega + "cema.omega", ema.omega);

  Tensor dxn = add(ema.x, linearLayerBackward(xn, parameters, mega + "wv", dvBefore, gradients));
  AffineGradients norm = timestepNormBackward(x, parameter("timenorm.weight"), state.norm,
                                              config.norm_num_groups, eps, dxn, dState.norm);
  accumulate(gradients, mega + "timenorm.weight", norm.weight);
  accumulate(gradients, mega + "timenorm.bias", norm.bias);
  if (middle)
    *middle = {{"xn", dxn}, {"cx", rms.x},       {"mx", dmx},         {"z", dz}, {"q", dq},
               {"k", dk},   {"v_pre", dvBefore}, {"r_pre", drBefore}, {"o", dO}};
  return add(dy, norm.x);
}

Tensor layerBackward(const Tensor &x, const Parameters &parameters, const std::string &prefix,
                     const formats::ModelConfig &config, const Tensor &frequencies,
                     const std::vector<int64_t> &position, const BlockState &state,
                     const Tensor &dy, BlockStateGradients &dState, Parameters &gradients,
                     const Dropout *dropout) {
  BlockState after = state;
  Tensor y1 =
      block(x, parameters, prefix, config, frequencies, position, after, nullptr, dropout);
  Tensor dy1 =
      ffnBackward(y1, parameters, prefix + "nffn.", config.norm_eps, dy, gradients, dropout);
  return add(dy, blockBackward(x, parameters, prefix, config, frequencies, position, state, dy1,
                               dState, gradients, nullptr, dropout));
}

Status modelBackward(const Model &model, const Tokens &tokens, const ModelState &state,
                     const Tensor &dLogits, ModelStateGradients &dState, Parameters &gradients,
                     const Dropout *dropout) {
  const formats::ModelConfig &config = model.config();
  const Parameters &parameters = model.parameters();
  double embedScale = config.scale_emb ? std::sqrt(static_cast<double>(config.model_dim)) : 1;

  // What each layer was given: the embeddings, then the output of the layer before.
  ModelState after = state;
  std::vector<Tensor> inputs;
  Result<Tensor> logits = model.forward(tokens, after, &inputs, dropout);
  if (!logits.isOk())
    return logits.status();
  Tensor last = std::move(inputs.back());
  inputs.pop_back();
  Tensor embedded = embed(tokens, parameters.at("embed.weight"), embedScale);
  inputs.insert(inputs.begin(),
                dropout ? (*dropout)(embedded, dropout->residual, 0) : std::move(embedded));

  const std::string norm = "output.final_norm.";
  const Tensor &normWeight = parameters.at(norm + "weight");
  NormState normState = state.finalNorm;
  Tensor y = timestepNorm(last, normWeight, parameters.at(norm + "bias"), normState,
                          config.norm_num_groups, config.norm_eps);
  std::string head = config.share_emb ? "embed" : "output.output";
  Tensor dy = linearLayerBackward(y, parameters, head, dLogits, gradients);
  AffineGradients d =
      timestepNormBackward(last, normWeight, state.finalNorm, config.norm_num_groups,
                           config.norm_eps, dy, dState.finalNorm);
  accumulate(gradients, norm + "weight", d.weight);
  accumulate(gradients, norm + "bias", d.bias);

  Tensor dx = d.x;
  for (int64_t i = config.num_layers; i-- > 0;) {
    Dropout ofLayer = dropout ? dropout->of(i) : Dropout();
    dx = layerBackward(inputs[i], parameters, layerPrefix(i), config, model.frequencies(),
                       state.position, state.blocks[i], dx, dState.blocks[i], gradients,
                       dropout ? &ofLayer : nullptr);
  }
  if (dropout)
    dx = (*dropout)(dx, dropout->residual, 0);
  accumulate(gradients, "embed.weight", embedBackward(tokens, dx, config.vocab_size, embedScale));
  return {};
}

Result<LossGradients> lossGradients(const Model &model, const Tokens &tokens,
                                    const Tokens &targets, const Dropout *dropout) {
  const formats::ModelConfig &config = model.config();
  if (targets.batch != tokens.batch || targets.length != tokens.length)
    return Status(Code::Input, "expected targets [" + std::to_string(tokens.batch) + ", " +
                                   std::to_string(tokens.length) + "] as the tokens, found [" +
                                   std::to_string(targets.batch) + ", " +
                                   std::to_string(targets.length) + "]");
  if (tokens.ids.empty())
    return Status(Code::Input, "there are no tokens, so their loss has no mean; give at least one");
  for (int64_t id : targets.ids)
    if (id != -100 && (id < 0 || id >= config.outputSize()))
      return Status(Code::Input, "target " + std::to_string(id) + " is neither in [0, " +
                                     std::to_string(config.outputSize()) +
                                     ") nor -100, which stands for no target");

  ModelState state = model.freshState(tokens.batch), after = state;
  Result<Tensor> logits = model.forward(tokens, after, nullptr, dropout);
  if (!logits.isOk())
    return logits.status();
  Tensor nll = negativeLogLikelihood(*logits, targets);
  double count = static_cast<double>(nll.size());
  LossGradients result;
  result.loss = std::accumulate(nll.data.begin(), nll.data.end(), 0.0) / count;

  ModelStateGradients dState = zeroModelStateGradients(config, tokens.batch);
  OTODUS_RETURN_IF_ERROR(
      modelBackward(model, tokens, state,
                    negativeLogLikelihoodBackward(*logits, targets, Tensor(nll.shape, 1 / count)),
                    dState, result.gradients, dropout));

  auto priors = [&](const std::string &prefix, const NormStateGradients &dNorm) {
    const Tensor *priorCount = find(model.parameters(), prefix + "prior_count");
    const Tensor *logVariance = find(model.parameters(), prefix + "prior_logv");
    if (!priorCount || (*priorCount)[0] <= 0 || !logVariance)
      return;
    PriorGradients d = freshNormStateBackward(dNorm, *logVariance);
    accumulate(result.gradients, prefix + "prior_mean", d.mean);
    accumulate(result.gradients, prefix + "prior_logv", d.logVariance);
  };
  for (int64_t i = 0; i < config.num_layers; ++i)
    priors(layerPrefix(i) + "mega.timenorm.", dState.blocks[i].norm);
  priors("output.final_norm.", dState.finalNorm);
  return result;
}

} // namespace otodus::reference

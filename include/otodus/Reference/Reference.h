//===- Reference.h - What numbers are checked against -----------------------===//
//
// One slow, obvious float64 function per operator of docs/Megalodon.md (cited as
// "spec"), and from them a block, a layer and a whole model with carried state.
// Each loops over the formula as it is written; nothing here is blocked, fused or
// reordered, because these functions decide who is right.
//
// Unless said otherwise activations are [B, L, W] (batch, steps, width), row-major,
// heads being the slow part of a width. A function that carries state takes it by
// reference and leaves the state after the last step in it, so that any split of a
// sequence into calls gives the same results.
//
// Operators trust the shapes they are given (they are stated here; breaking them
// is undefined); `Model::create` checks every parameter and `Model::forward` every
// token, so whole models are safe on input from users.
//
//===----------------------------------------------------------------------===//

#pragma once

#include "otodus/Formats/ModelConfig.h"
#include "otodus/Formats/Safetensors.h"
#include "otodus/Formats/Status.h"

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace otodus::reference {

/// A dense row-major tensor that owns its elements. A scalar has an empty shape.
struct Tensor {
  std::vector<int64_t> shape;
  std::vector<double> data;

  Tensor() = default;
  /// Filled with `value`; extents must be >= 0.
  explicit Tensor(std::vector<int64_t> shape, double value = 0);
  Tensor(std::vector<int64_t> shape, std::vector<double> data)
      : shape(std::move(shape)), data(std::move(data)) {}

  int64_t rank() const { return static_cast<int64_t>(shape.size()); }
  int64_t size() const { return static_cast<int64_t>(data.size()); }
  /// Extent `i`; negative `i` counts from the last.
  int64_t dim(int64_t i) const { return shape[i < 0 ? i + rank() : i]; }
  double &operator[](int64_t i) { return data[i]; }
  double operator[](int64_t i) const { return data[i]; }
};

/// A tensor of a file, integers and booleans included. Code::File for other types.
Result<Tensor> read(const formats::Tensor &tensor);

/// Steps [begin, end) of x [B, L, ...].
Tensor steps(const Tensor &x, int64_t begin, int64_t end);
/// Tensors [B, Li, ...] joined along the steps; at least one.
Tensor joinSteps(const std::vector<Tensor> &pieces);

/// Elementwise; equal shapes.
Tensor add(const Tensor &a, const Tensor &b);
Tensor multiply(const Tensor &a, const Tensor &b);

/// Integer tokens [B, L], row-major.
struct Tokens {
  int64_t batch = 0, length = 0;
  std::vector<int64_t> ids;
};
/// Of a [B, L] tensor of integers.
Tokens toTokens(const Tensor &tensor);
Tokens steps(const Tokens &tokens, int64_t begin, int64_t end);

//===----------------------------------------------------------------------===//
// Operators without state
//===----------------------------------------------------------------------===//

/// Rows of table [V, D] times `scale` (sqrt(D) with scale_emb, spec 4): [B, L, D].
/// Every token must be in [0, V).
Tensor embed(const Tokens &tokens, const Tensor &table, double scale = 1);

/// y = x W^T + b (spec 1): x [..., K], weight [N, K], bias [N] or null -> [..., N].
Tensor linear(const Tensor &x, const Tensor &weight, const Tensor *bias = nullptr);

/// x sigma(x), elementwise (spec 1).
Tensor silu(const Tensor &x);

/// x [..., W] times factor [W], feature by feature (alpha of rescale_nffn, spec 4).
Tensor scale(const Tensor &x, const Tensor &factor);

/// y = x (mean x^2 + eps)^(-1/2) (weight + 1) scale + bias. The mean is over each of
/// the `heads` parts of the last axis W (1: spec 3.3; H: the q/k normalisation of
/// spec 3.5); weight and bias are [W] or null (no factor, no term).
Tensor rmsNorm(const Tensor &x, const Tensor *weight, const Tensor *bias, double eps,
               double scale = 1, int64_t heads = 1);

/// y = (x - mean)(variance + eps)^(-1/2) (weight + 1) + bias over the last axis W;
/// population variance; weight and bias [W] or both null (spec 3.4).
Tensor layerNorm(const Tensor &x, const Tensor *weight, const Tensor *bias, double eps);

//===----------------------------------------------------------------------===//
// TimestepNorm (spec 3.1)
//===----------------------------------------------------------------------===//

/// What TimestepNorm carries: timesteps seen, and per group their mean and
/// population variance.
struct NormState {
  std::vector<int64_t> count; ///< [B]
  Tensor mean, variance;      ///< [B, G]
};

/// The state before the first step: n = priorCount, m = priorMean [G] (null: 0),
/// v = exp(priorLogVariance [G]) (null: 1).
NormState freshNormState(int64_t batch, int64_t groups, int64_t priorCount = 0,
                         const Tensor *priorMean = nullptr,
                         const Tensor *priorLogVariance = nullptr);

/// x [B, L, D], weight and bias [D]; `groups` divides D. `padding` is null or has B*L
/// entries; a step with a non-zero entry gives y = 0 and leaves the state alone.
Tensor timestepNorm(const Tensor &x, const Tensor &weight, const Tensor &bias, NormState &state,
                    int64_t groups, double eps, const std::vector<uint8_t> *padding = nullptr);

//===----------------------------------------------------------------------===//
// Recurrences
//===----------------------------------------------------------------------===//

/// h_t = decay_t h_{t-1} + input_t, elementwise; returns every h_t and leaves the last
/// one in `h`. Real: input [B, L, W], h [B, W], decay [W] (constant) or [B, L, W].
/// Complex: the same with a last axis of 2 (re, im) on all three.
Tensor scan(const Tensor &decay, const Tensor &input, Tensor &h, bool isComplex);

/// CEMA's coefficients (spec 3.2), each [D, N] or, complex, [D, N, 2].
struct CemaCoefficients {
  Tensor p; ///< input, real
  Tensor q; ///< decay, complex
  Tensor g; ///< output, complex
};
/// alpha, delta [D, N, 1], theta [D, 1, 1], gamma [D, N, 2].
CemaCoefficients cemaCoefficients(const Tensor &alpha, const Tensor &delta, const Tensor &theta,
                                  const Tensor &gamma);

/// Complex exponential moving average (spec 3.2): x [B, L, D], parameters as above and
/// omega [D, 1], h [B, D, N, 2] carried -> y [B, L, D].
Tensor cema(const Tensor &x, const Tensor &alpha, const Tensor &delta, const Tensor &theta,
            const Tensor &gamma, const Tensor &omega, Tensor &h);

//===----------------------------------------------------------------------===//
// Attention
//===----------------------------------------------------------------------===//

/// f_j = 1 / base^(2j / headDim), j < headDim / 2, through float32 as spec 3.6 says.
Tensor ropeFrequencies(int64_t headDim, double base);

/// Rotates x [B, L, H*d] by interleaved pairs; step t of sequence b is at
/// (position[b] + t) mod chunk (spec 3.6). frequencies [d/2]; position has B entries.
Tensor rotary(const Tensor &x, const Tensor &frequencies, const std::vector<int64_t> &position,
              int64_t chunk, int64_t heads);

/// Keys (rotated) and values of the open chunk. Of each sequence only the first
/// position mod C entries mean anything.
struct ChunkCache {
  Tensor keys;   ///< [B, C, H, dz]
  Tensor values; ///< [B, C, H, dv]
};
ChunkCache emptyChunkCache(int64_t batch, int64_t chunk, int64_t heads, int64_t keyDim,
                           int64_t valueDim);

/// Causal attention inside chunks of C steps, scale 1 (spec 3.7): q and k [B, L, H*dz],
/// both already rotated, v [B, L, H*dv]; position [B] is the absolute position of each
/// sequence's first step -> o [B, L, H*dv]. C and H come from the cache's shape.
Tensor chunkAttention(const Tensor &q, const Tensor &k, const Tensor &v,
                      const std::vector<int64_t> &position, ChunkCache &cache);

//===----------------------------------------------------------------------===//
// Block, layer, model (spec 4)
//===----------------------------------------------------------------------===//

/// Masks of one training step (spec 4; which element draws what: docs/Training.md).
struct Dropout {
  uint64_t seed = 0;
  int64_t step = 0;
  double residual = 0, hidden = 0; ///< probabilities: `dropout` and `hidden_dropout`
  /// [B * L]: the number of each token among those of the step.
  std::vector<int64_t> rowNumbers;
  int64_t index = 0; ///< 0: of the model, 1 + i: of layer i

  /// x [B, L, W] with the elements that `place` drops with probability p as 0, the others divided
  /// by 1 - p. It is its own backward.
  Tensor operator()(const Tensor &x, double p, int64_t place, int64_t heads = 1) const;
  /// Of layer i.
  Dropout of(int64_t i) const;
};

/// Tensors by checkpoint name (spec 2).
using Parameters = std::map<std::string, Tensor>;

/// The tensors of `file` whose names start with `prefix`, under the rest of the name.
Result<Parameters> readParameters(const formats::SafetensorsFile &file, const std::string &prefix);

/// What one block carries (spec 5).
struct BlockState {
  NormState norm;
  Tensor h; ///< [B, D, N, 2]
  ChunkCache cache;
};
/// `parameters` supply the priors under `prefix` + "mega.timenorm.prior_*" if present.
BlockState freshBlockState(const formats::ModelConfig &config, int64_t batch,
                           const Parameters &parameters = {}, const std::string &prefix = "");

/// The feed-forward half: residual + alpha * fc2(u), u from LayerNorm(y1) (spec 4).
/// y1 and residual [B, L, D]; parameters `prefix` + "norm.weight", "fc1.weight", ….
/// SwiGLU, rescaling and affinity follow from which parameters exist.
Tensor ffn(const Tensor &y1, const Tensor &residual, const Parameters &parameters,
           const std::string &prefix, double eps, const Dropout *dropout = nullptr);

/// The gated-attention half: Y1 = X + wh1(mx) + wh2(o * r) (spec 4), x [B, L, D],
/// parameters `prefix` + "mega.…", frequencies [dz/2], position [B]. `middle`, if not
/// null, receives xn, cx, mx, z, v_pre, r_pre, q, k (before rotation) and o.
Tensor block(const Tensor &x, const Parameters &parameters, const std::string &prefix,
             const formats::ModelConfig &config, const Tensor &frequencies,
             const std::vector<int64_t> &position, BlockState &state,
             std::map<std::string, Tensor> *middle = nullptr, const Dropout *dropout = nullptr);

/// Both halves with the two-hop residual; parameters `prefix` + "mega.…", "nffn.…".
Tensor layer(const Tensor &x, const Parameters &parameters, const std::string &prefix,
             const formats::ModelConfig &config, const Tensor &frequencies,
             const std::vector<int64_t> &position, BlockState &state,
             const Dropout *dropout = nullptr);

/// What a whole model carries for B sequences.
struct ModelState {
  std::vector<int64_t> position; ///< [B], absolute
  std::vector<BlockState> blocks;
  NormState finalNorm;
};

class Model {
public:
  /// Takes the tensors named as in spec 2; others are ignored. Code::File with every
  /// missing or misshapen tensor in one message. `rope.freqs` and the priors are optional.
  static Result<Model> create(const formats::ModelConfig &config, Parameters parameters);

  const formats::ModelConfig &config() const { return config_; }
  /// By checkpoint name, buffers included.
  const Parameters &parameters() const { return parameters_; }
  /// Of the rotation, [dz/2].
  const Tensor &frequencies() const { return frequencies_; }
  ModelState freshState(int64_t batch) const;

  /// Logits [B, L, Vo] of the next L steps; advances the state. Code::Input for a token
  /// outside the vocabulary or a batch other than the state's. `blockOutputs`, if not
  /// null, receives the output of every block.
  Result<Tensor> forward(const Tokens &tokens, ModelState &state,
                         std::vector<Tensor> *blockOutputs = nullptr,
                         const Dropout *dropout = nullptr) const;

private:
  formats::ModelConfig config_;
  Parameters parameters_;
  Tensor frequencies_;
};

//===----------------------------------------------------------------------===//
// Loss, long evaluation, sampling
//===----------------------------------------------------------------------===//

/// logsumexp(logits) - logits[target] per step (spec 3.8): logits [B, L, V], targets
/// [B, L] in [0, V) or -100 (gives 0) -> [B, L].
Tensor negativeLogLikelihood(const Tensor &logits, const Tokens &targets);

/// The long-context evaluation of spec 5: the tokens are fed `chunksPerCall` chunks at
/// a time; once `triggerChunks` chunks have been consumed and tokens remain, the last
/// `windowChunks` chunks are also run from a fresh state and the TimestepNorm states of
/// that run replace the real ones. A partial chunk at the end is a call of its own.
/// windowChunks = 0: the option is off.
struct NormWindow {
  int64_t windowChunks = 6, triggerChunks = 8, chunksPerCall = 2;
};
/// Logits [B, L, Vo] of all steps from a fresh state. Errors as Model::forward.
Result<Tensor> windowedForward(const Model &model, const Tokens &tokens, const NormWindow &window);

/// How a token is drawn (spec 6). Top-p is used if > 0, else top-k if > 0. With minP > 0,
/// tokens less likely than minP times the likeliest are dropped before either.
struct SamplingFilter {
  double temperature = 1; ///< > 0
  double topP = 0;
  int64_t topK = 0;
  double minP = 0;
};
/// The distribution to draw from, in vocabulary order: logits [V] -> [V], sum 1.
std::vector<double> samplingDistribution(const std::vector<double> &logits,
                                         const SamplingFilter &filter);
/// Greedy choice: index of the largest, the lowest of equals. `logits` is not empty.
int64_t argmax(const std::vector<double> &logits);

} // namespace otodus::reference

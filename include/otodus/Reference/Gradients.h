//===- Gradients.h - What gradients are checked against ---------------------===//
//
// The backward of every function of Reference.h, in float64, written as
// docs/Megalodon.md ("spec") writes it: slow, obvious, nothing fused or reordered.
// Whatever a backward needs of the forward it computes again from the inputs.
//
// Conventions. `dy` is the gradient of a loss with respect to the result y and has
// its shape; results are gradients with respect to the inputs and have theirs.
// Complex tensors are pairs (dLoss/dRe, dLoss/dIm) (spec 1). A gradient of a parameter
// sums over all places of its use.
//
// A function that carries state takes the state *before* its first step and, by
// reference, the gradient of the state: on entry with respect to the state after the
// last step (zero if the loss does not look at it), on return with respect to the state
// before the first. Gradients of a sequence cut in pieces are thus those of the pieces,
// last to first, with that variable passed on.
//
// As in Reference.h operators trust the shapes they are given.
//
//===----------------------------------------------------------------------===//

#pragma once

#include "otodus/Reference/Reference.h"

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace otodus::reference {

//===----------------------------------------------------------------------===//
// Operators without state
//===----------------------------------------------------------------------===//

/// Of the table [vocabulary, D] of `embed`: the rows of dy [B, L, D], each times `scale`,
/// summed by token.
Tensor embedBackward(const Tokens &tokens, const Tensor &dy, int64_t vocabulary, double scale = 1);

/// Gradients of an op y = f(x; weight, bias); `bias` also where the forward had none.
struct AffineGradients {
  Tensor x, weight, bias;
};

/// x [..., K], weight [N, K], dy [..., N]: dx = dy W, dW = dy^T x, dbias = sum of dy.
AffineGradients linearBackward(const Tensor &x, const Tensor &weight, const Tensor &dy);

/// dy s (1 + x (1 - s)), s = sigma(x) (spec 1).
Tensor siluBackward(const Tensor &x, const Tensor &dy);

struct ScaleGradients {
  Tensor x, factor;
};
/// Of `scale`: x and dy [..., W], factor [W].
ScaleGradients scaleBackward(const Tensor &x, const Tensor &factor, const Tensor &dy);

/// Of `rmsNorm` with the same arguments (spec 3.3; per head spec 3.5); weight [W] or null.
/// All three gradients are given whether there is a weight or not.
AffineGradients rmsNormBackward(const Tensor &x, const Tensor *weight, const Tensor &dy, double eps,
                                double scale = 1, int64_t heads = 1);

/// Of `layerNorm` (spec 3.4); weight [W] or null.
AffineGradients layerNormBackward(const Tensor &x, const Tensor *weight, const Tensor &dy,
                                  double eps);

/// Of the logits [B, L, V] of `negativeLogLikelihood`: dy [B, L] times
/// (softmax - one-hot of the target); zero where the target is -100 (spec 3.8).
Tensor negativeLogLikelihoodBackward(const Tensor &logits, const Tokens &targets, const Tensor &dy);

//===----------------------------------------------------------------------===//
// TimestepNorm (spec 3.1)
//===----------------------------------------------------------------------===//

/// Counts have no gradient.
struct NormStateGradients {
  Tensor mean, variance; ///< [B, G]
};
NormStateGradients zeroNormStateGradients(int64_t batch, int64_t groups);

/// Of `timestepNorm` with the same arguments; padded steps have dx = 0 and give nothing
/// to weight and bias.
AffineGradients timestepNormBackward(const Tensor &x, const Tensor &weight, const NormState &state,
                                     int64_t groups, double eps, const Tensor &dy,
                                     NormStateGradients &dState,
                                     const std::vector<uint8_t> *padding = nullptr);

struct PriorGradients {
  Tensor mean, logVariance; ///< [G]
};
/// Of the priors of `freshNormState`, from the gradient of the state it returned.
PriorGradients freshNormStateBackward(const NormStateGradients &dState,
                                      const Tensor &priorLogVariance);

//===----------------------------------------------------------------------===//
// Recurrences
//===----------------------------------------------------------------------===//

struct ScanGradients {
  Tensor decay, input;
};
/// Of `scan`: h is the state before the first step, dy has the shape of `input` (the
/// gradient of every h_t); dh as the state.
/// lambda_t = dy_t + conj(decay_{t+1}) lambda_{t+1}, dinput = lambda,
/// ddecay_t = lambda_t conj(h_{t-1}), summed over batch and steps if decay is constant.
ScanGradients scanBackward(const Tensor &decay, const Tensor &input, const Tensor &h,
                           bool isComplex, const Tensor &dy, Tensor &dh);

/// Gradients of CEMA's raw parameters, in their shapes.
struct CemaParameterGradients {
  Tensor alpha, delta, theta, gamma;
};
/// Of `cemaCoefficients`, from the gradients of p, q and g.
CemaParameterGradients cemaCoefficientsBackward(const Tensor &alpha, const Tensor &delta,
                                                const Tensor &theta, const CemaCoefficients &d);

struct CemaGradients {
  Tensor x, alpha, delta, theta, gamma, omega;
};
/// Of `cema` (spec 3.2): h [B, D, N, 2] is the state before the first step, dh its gradient.
CemaGradients cemaBackward(const Tensor &x, const Tensor &alpha, const Tensor &delta,
                           const Tensor &theta, const Tensor &gamma, const Tensor &omega,
                           const Tensor &h, const Tensor &dy, Tensor &dh);

//===----------------------------------------------------------------------===//
// Attention
//===----------------------------------------------------------------------===//

/// Of `rotary`: rotates dy by the negative angle (spec 3.6).
Tensor rotaryBackward(const Tensor &dy, const Tensor &frequencies,
                      const std::vector<int64_t> &position, int64_t chunk, int64_t heads);

struct AttentionGradients {
  Tensor q, k, v;
};
/// Of `chunkAttention` with the same arguments (spec 3.7); `cache` is the one before the
/// first step. Entries of dCache outside the open chunk are ignored and come back zero.
AttentionGradients chunkAttentionBackward(const Tensor &q, const Tensor &k, const Tensor &v,
                                          const std::vector<int64_t> &position,
                                          const ChunkCache &cache, const Tensor &dy,
                                          ChunkCache &dCache);

//===----------------------------------------------------------------------===//
// Block, layer, model (spec 4). Gradients of parameters are added to `gradients` under
// the parameters' names (an absent entry counts as zero).
//===----------------------------------------------------------------------===//

/// Gradients of what a block carries.
struct BlockStateGradients {
  NormStateGradients norm;
  Tensor h; ///< [B, D, N, 2]
  ChunkCache cache;
};
BlockStateGradients zeroBlockStateGradients(const formats::ModelConfig &config, int64_t batch);

/// Of y1 in `ffn`; the gradient of its residual is dy itself.
Tensor ffnBackward(const Tensor &y1, const Parameters &parameters, const std::string &prefix,
                   double eps, const Tensor &dy, Parameters &gradients,
                   const Dropout *dropout = nullptr);

/// Of x in `block`. `middle`, if not null, receives the gradients of xn, cx, mx, z, v_pre,
/// r_pre, q, k and o.
Tensor blockBackward(const Tensor &x, const Parameters &parameters, const std::string &prefix,
                     const formats::ModelConfig &config, const Tensor &frequencies,
                     const std::vector<int64_t> &position, const BlockState &state,
                     const Tensor &dy, BlockStateGradients &dState, Parameters &gradients,
                     std::map<std::string, Tensor> *middle = nullptr,
                     const Dropout *dropout = nullptr);

/// Of x in `layer`: the two-hop residual gives x the gradient dy as well.
Tensor layerBackward(const Tensor &x, const Parameters &parameters, const std::string &prefix,
                     const formats::ModelConfig &config, const Tensor &frequencies,
                     const std::vector<int64_t> &position, const BlockState &state,
                     const Tensor &dy, BlockStateGradients &dState, Parameters &gradients,
                     const Dropout *dropout = nullptr);

struct ModelStateGradients {
  std::vector<BlockStateGradients> blocks;
  NormStateGradients finalNorm;
};
ModelStateGradients zeroModelStateGradients(const formats::ModelConfig &config, int64_t batch);

/// Of `Model::forward` from `state` (the one before the call), dLogits [B, L, Vo]. With
/// share_emb both uses of the table add to "embed.weight", and "output.output.weight" has
/// no gradient even if the checkpoint names it. Errors as Model::forward.
Status modelBackward(const Model &model, const Tokens &tokens, const ModelState &state,
                     const Tensor &dLogits, ModelStateGradients &dState, Parameters &gradients,
                     const Dropout *dropout = nullptr);

struct LossGradients {
  double loss; ///< mean over all B*L positions, ignored ones included (spec 3.8)
  /// Of every trained parameter. The priors of TimestepNorms are among them only if their
  /// prior_count is above 0: at 0 they are buffers (spec 2).
  Parameters gradients;
};
/// The loss of one training step from a fresh state. Code::Input for a token outside the
/// vocabulary, a target that is neither in [0, Vo) nor -100, targets of another shape than
/// the tokens, and for no tokens at all.
Result<LossGradients> lossGradients(const Model &model, const Tokens &tokens,
                                    const Tokens &targets, const Dropout *dropout = nullptr);

} // namespace otodus::reference

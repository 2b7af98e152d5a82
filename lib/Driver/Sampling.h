//===- Sampling.h - From logits to the next token --------------------------===//
//
// Spec 6: greedy argmax, or a draw from softmax(logits / temperature) after the
// reference's filters: top-p or, if that is off, top-k. Before both min-p may drop
// tokens that are less likely than a fraction of the likeliest. The draw at an
// absolute position is a function of seed, stream and position alone, so that a
// continued or forked run samples the same text.
//
//===----------------------------------------------------------------------===//

#pragma once

#include "otodus/Formats/Status.h"

#include <cstdint>
#include <vector>

namespace otodus::driver {

struct SamplingOptions {
  double temperature = 0; ///< 0: greedy, whatever the filters say
  double topP = 0;        ///< 0: off; else in (0, 1]
  int64_t topK = 0;       ///< 0: off; ties with the k-th stay
  double minP = 0;        ///< 0: off; else in (0, 1]
  uint64_t seed = 0;

  /// Code::Usage if a value is out of range.
  Status validate() const;
};

/// Chooses tokens; keeps scratch memory between calls. Not thread-safe.
class Sampler {
public:
  explicit Sampler(const SamplingOptions &options) : options_(options) {}

  /// The token that follows `position` steps, drawn for sequence `stream`. `logits`: `size`
  /// floats, size > 0. Code::Input if a logit is NaN or all are -inf.
  Result<int64_t> sample(const float *logits, int64_t size, uint64_t position,
                         uint64_t stream = 0);

  /// The distribution that `sample` draws from, in vocabulary order: [size], sum 1.
  /// Temperature must be positive. Same errors.
  Result<std::vector<double>> distribution(const float *logits, int64_t size);

private:
  Status filter(const float *logits, int64_t size);
  SamplingOptions options_;
  std::vector<double> p_;      ///< [size], 0 for dropped tokens, not normalised
  std::vector<int64_t> order_; ///< [size], scratch of the filters
};

} // namespace otodus::driver

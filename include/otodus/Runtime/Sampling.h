//===- Sampling.h - How the next token is chosen ---------------------------===//
//
// Spec 6: greedy argmax, or a draw from softmax(logits / temperature) after the
// reference's filters: top-p or, if that is off, top-k. Before both min-p may drop
// tokens that are less likely than a fraction of the likeliest. Kernels choose
// (docs/Sampling.md); here are the options they read.
//
//===----------------------------------------------------------------------===//

#pragma once

#include "otodus/Formats/Artefact.h"
#include "otodus/Formats/Status.h"

#include <array>
#include <cstdint>

namespace otodus::runtime {

struct Sampling {
  double temperature = 0; ///< 0: greedy, whatever the filters say
  double topP = 0;        ///< 0: off; else in (0, 1]
  int64_t topK = 0;       ///< 0: off; ties with the k-th stay
  double minP = 0;        ///< 0: off; else in (0, 1]
  /// The draw of sequence b of a session at an absolute position is a function of seed, b and the
  /// position alone, so that a continued or forked run samples the same text.
  uint64_t seed = 0;

  /// Code::Usage if a value is out of range; names the driver's flags.
  Status validate() const;
};

/// What kernels read (formats::SamplingWord). The options must be valid.
std::array<int32_t, formats::kSamplingWords> samplingWords(const Sampling &sampling);

/// Code::Input if a kernel gave no token: its logits were NaN, or the largest was infinite.
Status checkSampled(int32_t token);

} // namespace otodus::runtime

//===- CompiledSampler.h - mega.sample alone, for checks -------------------===//

#pragma once

#include "OpenModel.h"

#include "otodus/Driver/GoldenCase.h"
#include "otodus/Formats/Status.h"
#include "otodus/Runtime/Sampling.h"
#include "otodus/Runtime/Session.h"

#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace otodus::driver {

/// Chooses tokens for logits of a caller with the kernel that `generate` runs on the target of the
/// flags, compiled for a vocabulary when it is first asked for.
class CompiledSampler {
public:
  explicit CompiledSampler(ModelFlags flags) : flags_(std::move(flags)) {}

  /// `logits` [rows, V] -> tokens [rows]; row r is sequence r, and the token follows `position`
  /// steps. A row without a token has its negative code (formats::kSampledNan …).
  Result<std::vector<int32_t>> sample(const std::vector<float> &logits, int64_t rows,
                                      const runtime::Sampling &sampling, int64_t position);

  /// `count` draws for each row of `logits` [rows, V] (CheckOptions::draws).
  Result<std::vector<CheckOptions::Draw>> draws(const reference::Tensor &logits,
                                                const reference::SamplingFilter &filter,
                                                int64_t count);

private:
  ModelFlags flags_;
  std::map<int64_t, LoadedModel> models_; ///< by vocabulary
  std::map<std::pair<int64_t, int64_t>, std::unique_ptr<runtime::Session>> sessions_; ///< and rows
};

} // namespace otodus::driver

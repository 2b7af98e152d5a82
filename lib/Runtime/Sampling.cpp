//===- Sampling.cpp - How the next token is chosen -------------------------===//

#include "otodus/Runtime/Sampling.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <string>

namespace otodus::runtime {

using formats::SamplingWord;

Status Sampling::validate() const {
  auto bad = [](const char *flag, const char *range, auto value) {
    return Status(Code::Usage, std::string(flag) + " expects " + range + ", but got " +
                                   std::to_string(value));
  };
  if (!(temperature >= 0) || std::isinf(temperature))
    return bad("--temperature", "a number >= 0 (0 is greedy)", temperature);
  if (!(topP >= 0 && topP <= 1))
    return bad("--top-p", "a number in [0, 1] (0 is off)", topP);
  if (!(minP >= 0 && minP <= 1))
    return bad("--min-p", "a number in [0, 1] (0 is off)", minP);
  if (topK < 0)
    return bad("--top-k", "an integer >= 0 (0 is off)", topK);
  return Status::ok();
}

std::array<int32_t, formats::kSamplingWords> samplingWords(const Sampling &sampling) {
  std::array<int32_t, formats::kSamplingWords> words{};
  auto set = [&](SamplingWord which, int64_t offset, auto value) {
    static_assert(sizeof(value) == 4);
    std::memcpy(&words[static_cast<size_t>(which) + static_cast<size_t>(offset)], &value, 4);
  };
  auto setLong = [&](SamplingWord which, uint64_t value) {
    set(which, 0, static_cast<uint32_t>(value));
    set(which, 1, static_cast<uint32_t>(value >> 32));
  };
  if (sampling.temperature == 0)
    return words;
  int32_t flags = formats::kSamplingDraws;
  if (sampling.topP > 0 && sampling.topP < 1) {
    flags |= formats::kSamplingTopP;
    setLong(SamplingWord::Probability, static_cast<uint64_t>(std::ldexp(sampling.topP, 64)));
  } else if (sampling.topP == 0 && sampling.topK > 0) {
    flags |= formats::kSamplingTopK;
    set(SamplingWord::OthersKept, 0,
        static_cast<int32_t>(
            std::min<int64_t>(sampling.topK, std::numeric_limits<int32_t>::max()) - 1));
  }
  set(SamplingWord::Flags, 0, flags);
  setLong(SamplingWord::Seed, sampling.seed);
  setLong(SamplingWord::LeastWeight,
          static_cast<uint64_t>(std::ceil(std::ldexp(sampling.minP, 40))));
  // Finite, so that a logit equal to the largest has exponent 0 and not NaN.
  double scale = std::min(1.4426950408889634074 / sampling.temperature, 1e30);
  auto high = static_cast<float>(scale);
  set(SamplingWord::Scale, 0, high);
  set(SamplingWord::Scale, 1, static_cast<float>(scale - double(high)));
  return words;
}

Status checkSampled(int32_t token) {
  if (token >= 0)
    return Status::ok();
  return Status(Code::Input, std::string("the model's logits are ") +
                                 (token == formats::kSampledNan ? "NaN" : "infinite") +
                                 "; are the weights damaged?");
}

} // namespace otodus::runtime

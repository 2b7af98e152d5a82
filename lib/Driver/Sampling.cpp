//===- Sampling.cpp - From logits to the next token ------------------------===//

#include "Sampling.h"

#include "otodus/Formats/Random.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <string>

namespace otodus::driver {

Status SamplingOptions::validate() const {
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

namespace {
/// Index of the largest logit, the first of equals.
Result<int64_t> findTop(const float *logits, int64_t size) {
  int64_t top = 0;
  for (int64_t i = 0; i < size; ++i) {
    if (std::isnan(logits[i]))
      return Status(Code::Input, "the model's logits are NaN; are the weights damaged?");
    if (logits[i] > logits[top])
      top = i;
  }
  if (std::isinf(logits[top]))
    return Status(Code::Input, "the model's logits are infinite; are the weights damaged?");
  return top;
}
} // namespace

Status Sampler::filter(const float *logits, int64_t size) {
  Result<int64_t> top = findTop(logits, size);
  if (!top.isOk())
    return top.status();

  p_.resize(static_cast<size_t>(size));
  double sum = 0;
  for (int64_t i = 0; i < size; ++i)
    sum += p_[i] = std::exp((double(logits[i]) - double(logits[*top])) / options_.temperature);
  for (double &p : p_)
    p /= sum;

  if (options_.minP > 0) {
    double least = options_.minP * p_[*top];
    sum = 0;
    for (double &p : p_)
      sum += p = p < least ? 0 : p;
    for (double &p : p_)
      p /= sum;
  }

  auto better = [&](int64_t a, int64_t b) { return p_[a] > p_[b] || (p_[a] == p_[b] && a < b); };
  if (options_.topP > 0 && options_.topP < 1) {
    // A token goes if those before it hold more than top-p already. The few that stay are
    // at the front, so only as much as needed is sorted.
    order_.resize(p_.size());
    std::iota(order_.begin(), order_.end(), int64_t{0});
    double before = 0;
    int64_t sorted = 0;
    for (int64_t rank = 0; rank < size; ++rank) {
      if (rank == sorted) {
        int64_t more = std::min(size, sorted == 0 ? int64_t(64) : sorted * 8);
        std::partial_sort(order_.begin() + sorted, order_.begin() + more, order_.end(), better);
        sorted = more;
      }
      if (before > options_.topP) {
        for (int64_t rest = rank; rest < size; ++rest)
          p_[order_[rest]] = 0;
        break;
      }
      before += p_[order_[rank]];
    }
  } else if (options_.topP == 0 && options_.topK > 0 && options_.topK < size) {
    order_.resize(p_.size());
    std::iota(order_.begin(), order_.end(), int64_t{0});
    auto kth = order_.begin() + (options_.topK - 1);
    std::nth_element(order_.begin(), kth, order_.end(), better);
    double least = p_[*kth];
    for (double &p : p_)
      if (p < least)
        p = 0;
  }
  return Status::ok();
}

Result<std::vector<double>> Sampler::distribution(const float *logits, int64_t size) {
  OTODUS_RETURN_IF_ERROR(filter(logits, size));
  double sum = std::accumulate(p_.begin(), p_.end(), 0.0);
  std::vector<double> result = p_;
  for (double &p : result)
    p /= sum;
  return result;
}

Result<int64_t> Sampler::sample(const float *logits, int64_t size, uint64_t position,
                                uint64_t stream) {
  if (options_.temperature == 0)
    return findTop(logits, size);
  OTODUS_RETURN_IF_ERROR(filter(logits, size));
  double sum = std::accumulate(p_.begin(), p_.end(), 0.0);
  double point = formats::uniform(options_.seed, stream, position) * sum;
  int64_t last = 0;
  for (int64_t i = 0; i < size; ++i) {
    if (p_[i] == 0)
      continue;
    last = i;
    point -= p_[i];
    if (point < 0)
      break;
  }
  return last; // rounding may leave point at 0 after the last token that stayed
}

} // namespace otodus::driver

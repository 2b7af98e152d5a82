//===- Sampling.cpp - The distribution a token is drawn from ----------------===//

#include "otodus/Reference/Reference.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace otodus::reference {

int64_t argmax(const std::vector<double> &logits) {
  return std::max_element(logits.begin(), logits.end()) - logits.begin();
}

namespace {
void normalise(std::vector<double> &p) {
  double sum = std::accumulate(p.begin(), p.end(), 0.0);
  for (double &value : p)
    value /= sum;
}
} // namespace

std::vector<double> samplingDistribution(const std::vector<double> &logits,
                                         const SamplingFilter &filter) {
  std::vector<double> p(logits.size());
  double top = logits[argmax(logits)];
  for (size_t i = 0; i < p.size(); ++i)
    p[i] = std::exp((logits[i] - top) / filter.temperature);
  normalise(p);

  if (filter.minP > 0) {
    double least = filter.minP * p[argmax(p)];
    for (double &value : p)
      if (value < least)
        value = 0;
    normalise(p);
  }

  std::vector<size_t> order(p.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::sort(order.begin(), order.end(),
            [&](size_t a, size_t b) { return p[a] != p[b] ? p[a] > p[b] : a < b; });
  if (filter.topP > 0) {
    // A token goes if those before it already hold more than top-p; the first stays.
    double before = 0;
    for (size_t i : order) {
      double own = p[i];
      if (before > filter.topP)
        p[i] = 0;
      before += own;
    }
  } else if (filter.topK > 0) {
    double least = p[order[std::min<size_t>(filter.topK, p.size()) - 1]];
    for (double &value : p)
      if (value < least) // ties with the k-th stay
        value = 0;
  }
  normalise(p);
  return p;
}

} // namespace otodus::reference

//===- Recurrence.cpp - Operators that carry a state over time --------------===//

#include "otodus/Reference/Reference.h"

#include <cmath>
#include <complex>
#include <numbers>

namespace otodus::reference {

namespace {
double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }
} // namespace

NormState freshNormState(int64_t batch, int64_t groups, int64_t priorCount, const Tensor *priorMean,
                         const Tensor *priorLogVariance) {
  NormState state{std::vector<int64_t>(batch, priorCount), Tensor({batch, groups}, 0),
                  Tensor({batch, groups}, 1)};
  for (int64_t i = 0; i < batch * groups; ++i) {
    if (priorMean)
      state.mean[i] = (*priorMean)[i % groups];
    if (priorLogVariance)
      state.variance[i] = std::exp((*priorLogVariance)[i % groups]);
  }
  return state;
}

Tensor timestepNorm(const Tensor &x, const Tensor &weight, const Tensor &bias, NormState &state,
                    int64_t groups, double eps, const std::vector<uint8_t> *padding) {
  int64_t batch = x.dim(0), length = x.dim(1), width = x.dim(2), part = width / groups;
  Tensor y(x.shape);
  for (int64_t b = 0; b < batch; ++b)
    for (int64_t t = 0; t < length; ++t) {
      if (padding && (*padding)[b * length + t])
        continue;
      double n = static_cast<double>(++state.count[b]);
      double c2 = 1 / n, c1 = 1 - c2;
      for (int64_t g = 0; g < groups; ++g) {
        int64_t at = (b * length + t) * width + g * part;
        double a = 0, spread = 0;
        for (int64_t k = 0; k < part; ++k)
          a += x[at + k];
        a /= part;
        for (int64_t k = 0; k < part; ++k)
          spread += (x[at + k] - a) * (x[at + k] - a);
        spread /= part;
        double &m = state.mean[b * groups + g], &v = state.variance[b * groups + g];
        double difference = a - m;
        m += c2 * difference;
        v = c1 * v + c2 * spread + c1 * c2 * difference * difference;
        double r = 1 / std::sqrt(v + eps);
        for (int64_t k = 0; k < part; ++k)
          y[at + k] = (x[at + k] - m) * r * (weight[g * part + k] + 1) + bias[g * part + k];
      }
    }
  return y;
}

Tensor scan(const Tensor &decay, const Tensor &input, Tensor &h, bool isComplex) {
  int64_t batch = input.dim(0), length = input.dim(1), width = input.dim(2);
  int64_t parts = isComplex ? 2 : 1;
  bool constant = decay.rank() == parts;
  Tensor y(input.shape);
  for (int64_t b = 0; b < batch; ++b)
    for (int64_t t = 0; t < length; ++t)
      for (int64_t w = 0; w < width; ++w) {
        int64_t at = ((b * length + t) * width + w) * parts, carried = (b * width + w) * parts;
        int64_t d = constant ? w * parts : at;
        if (isComplex) {
          std::complex<double> next =
              std::complex(decay[d], decay[d + 1]) * std::complex(h[carried], h[carried + 1]) +
              std::complex(input[at], input[at + 1]);
          y[at] = h[carried] = next.real();
          y[at + 1] = h[carried + 1] = next.imag();
        } else {
          y[at] = h[carried] = decay[d] * h[carried] + input[at];
        }
      }
  return y;
}

CemaCoefficients cemaCoefficients(const Tensor &alpha, const Tensor &delta, const Tensor &theta,
                                  const Tensor &gamma) {
  int64_t width = alpha.dim(0), order = alpha.dim(1);
  CemaCoefficients c{Tensor({width, order}), Tensor({width, order, 2}), Tensor({width, order, 2})};
  for (int64_t d = 0; d < width; ++d)
    for (int64_t k = 0; k < order; ++k) {
      int64_t i = d * order + k;
      double p = sigmoid(alpha[i]), s = sigmoid(delta[i]);
      double phi = (k + 1) * sigmoid(theta[d]) * 2 * std::numbers::pi / order;
      c.p[i] = p;
      c.q[2 * i] = (1 - p * s) * std::cos(phi);
      c.q[2 * i + 1] = (1 - p * s) * std::sin(phi);
      c.g[2 * i] = gamma[2 * i] / std::sqrt(order);
      c.g[2 * i + 1] = gamma[2 * i + 1] / std::sqrt(order);
    }
  return c;
}

Tensor cema(const Tensor &x, const Tensor &alpha, const Tensor &delta, const Tensor &theta,
            const Tensor &gamma, const Tensor &omega, Tensor &h) {
  int64_t batch = x.dim(0), length = x.dim(1), width = x.dim(2), order = alpha.dim(1);
  CemaCoefficients c = cemaCoefficients(alpha, delta, theta, gamma);
  Tensor y(x.shape);
  for (int64_t b = 0; b < batch; ++b)
    for (int64_t t = 0; t < length; ++t)
      for (int64_t d = 0; d < width; ++d) {
        int64_t at = (b * length + t) * width + d;
        double sum = omega[d] * x[at];
        for (int64_t k = 0; k < order; ++k) {
          int64_t i = d * order + k, j = (b * width + d) * order + k;
          std::complex<double> q(c.q[2 * i], c.q[2 * i + 1]), g(c.g[2 * i], c.g[2 * i + 1]);
          std::complex<double> next = q * std::complex(h[2 * j], h[2 * j + 1]) + c.p[i] * x[at];
          h[2 * j] = next.real();
          h[2 * j + 1] = next.imag();
          sum += (g * next).real();
        }
        y[at] = sum;
      }
  return y;
}

} // namespace otodus::reference

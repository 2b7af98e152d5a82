//===- GradientRecurrence.cpp - Backward of what carries a state over time --===//

#include "otodus/Reference/Gradients.h"

#include <cmath>
#include <complex>
#include <numbers>

namespace otodus::reference {

namespace {
using Complex = std::complex<double>;

double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

/// Element i of a tensor of (re, im) pairs.
Complex get(const Tensor &x, int64_t i) { return {x[2 * i], x[2 * i + 1]}; }
void set(Tensor &x, int64_t i, Complex value) {
  x[2 * i] = value.real();
  x[2 * i + 1] = value.imag();
}
void increase(Tensor &x, int64_t i, Complex value) { set(x, i, get(x, i) + value); }
} // namespace

NormStateGradients zeroNormStateGradients(int64_t batch, int64_t groups) {
  return {Tensor({batch, groups}), Tensor({batch, groups})};
}

AffineGradients timestepNormBackward(const Tensor &x, const Tensor &weight, const NormState &state,
                                     int64_t groups, double eps, const Tensor &dy,
                                     NormStateGradients &dState,
                                     const std::vector<uint8_t> *padding) {
  int64_t batch = x.dim(0), length = x.dim(1), width = x.dim(2), part = width / groups;
  AffineGradients d{Tensor(x.shape), Tensor({width}), Tensor({width})};
  // The states before every step: the forward, a step at a time.
  std::vector<NormState> before{state};
  Tensor bias({width});
  for (int64_t t = 0; t < length; ++t) {
    NormState next = before.back();
    std::vector<uint8_t> mask(batch, 0);
    for (int64_t b = 0; b < batch && padding; ++b)
      mask[b] = (*padding)[b * length + t];
    timestepNorm(steps(x, t, t + 1), weight, bias, next, groups, eps, &mask);
    before.push_back(std::move(next));
  }
  for (int64_t t = length; t-- > 0;)
    for (int64_t b = 0; b < batch; ++b) {
      if (padding && (*padding)[b * length + t])
        continue;
      double c2 = 1 / static_cast<double>(before[t + 1].count[b]), c1 = 1 - c2;
      for (int64_t g = 0; g < groups; ++g) {
        int64_t at = (b * length + t) * width + g * part, w = g * part, carried = b * groups + g;
        double mean = before[t + 1].mean[carried], meanBefore = before[t].mean[carried];
        double r = 1 / std::sqrt(before[t + 1].variance[carried] + eps);
        double a = 0, R = 0, S = 0;
        for (int64_t k = 0; k < part; ++k) {
          a += x[at + k] / part;
          R += dy[at + k] * (weight[w + k] + 1);
          S += dy[at + k] * (weight[w + k] + 1) * (x[at + k] - mean);
        }
        double M = dState.mean[carried] - r * R;
        double Q = dState.variance[carried] - r * r * r * S / 2;
        double shift = 2 * c1 * c2 * Q * (a - meanBefore);
        double da = c2 * M + shift, db = c2 * Q;
        for (int64_t k = 0; k < part; ++k) {
          d.x[at + k] =
              dy[at + k] * (weight[w + k] + 1) * r + da / part + 2 * db * (x[at + k] - a) / part;
          d.weight[w + k] += dy[at + k] * (x[at + k] - mean) * r;
          d.bias[w + k] += dy[at + k];
        }
        dState.mean[carried] = c1 * M - shift;
        dState.variance[carried] = c1 * Q;
      }
    }
  return d;
}

PriorGradients freshNormStateBackward(const NormStateGradients &dState,
                                      const Tensor &priorLogVariance) {
  int64_t groups = dState.mean.dim(1);
  PriorGradients d{Tensor({groups}), Tensor({groups})};
  for (int64_t i = 0; i < dState.mean.size(); ++i) {
    d.mean[i % groups] += dState.mean[i];
    d.logVariance[i % groups] += dState.variance[i] * std::exp(priorLogVariance[i % groups]);
  }
  return d;
}

ScanGradients scanBackward(const Tensor &decay, const Tensor &input, const Tensor &h,
                           bool isComplex, const Tensor &dy, Tensor &dh) {
  int64_t batch = input.dim(0), length = input.dim(1), width = input.dim(2);
  bool constant = decay.rank() == (isComplex ? 2 : 1);
  ScanGradients d{Tensor(decay.shape), Tensor(input.shape)};
  Tensor last = h, all = scan(decay, input, last, isComplex);
  for (int64_t b = 0; b < batch; ++b)
    for (int64_t w = 0; w < width; ++w)
      for (int64_t t = length; t-- > 0;) {
        // dh is decay_{t+1}* lambda_{t+1} here, or the gradient of the last state.
        int64_t at = (b * length + t) * width + w, carried = b * width + w;
        int64_t q = constant ? w : at;
        if (isComplex) {
          Complex lambda = get(dy, at) + get(dh, carried);
          Complex previous = t ? get(all, at - width) : get(h, carried);
          set(d.input, at, lambda);
          increase(d.decay, q, lambda * std::conj(previous));
          set(dh, carried, std::conj(get(decay, q)) * lambda);
        } else {
          double lambda = dy[at] + dh[carried];
          d.input[at] = lambda;
          d.decay[q] += lambda * (t ? all[at - width] : h[carried]);
          dh[carried] = decay[q] * lambda;
        }
      }
  return d;
}

CemaParameterGradients cemaCoefficientsBackward(const Tensor &alpha, const Tensor &delta,
                                                const Tensor &theta, const CemaCoefficients &d) {
  int64_t width = alpha.dim(0), order = alpha.dim(1);
  CemaParameterGradients result{Tensor(alpha.shape), Tensor(delta.shape), Tensor(theta.shape),
                                Tensor({width, order, 2})};
  for (int64_t w = 0; w < width; ++w)
    for (int64_t k = 0; k < order; ++k) {
      int64_t i = w * order + k;
      double p = sigmoid(alpha[i]), s = sigmoid(delta[i]), angle = sigmoid(theta[w]);
      double step = (k + 1) * 2 * std::numbers::pi / order; // phi = step * angle
      Complex turn = std::polar(1.0, step * angle), q = (1 - p * s) * turn, dq = get(d.q, i);
      double dMagnitude = (dq * std::conj(turn)).real();
      double dPhi = (std::conj(q) * dq).imag();
      result.alpha[i] = (d.p[i] - s * dMagnitude) * p * (1 - p);
      result.delta[i] = -p * dMagnitude * s * (1 - s);
      result.theta[w] += dPhi * step * angle * (1 - angle);
      set(result.gamma, i, get(d.g, i) / std::sqrt(order));
    }
  return result;
}

CemaGradients cemaBackward(const Tensor &x, const Tensor &alpha, const Tensor &delta,
                           const Tensor &theta, const Tensor &gamma, const Tensor &omega,
                           const Tensor &h, const Tensor &dy, Tensor &dh) {
  int64_t batch = x.dim(0), length = x.dim(1), width = x.dim(2), order = alpha.dim(1);
  CemaCoefficients c = cemaCoefficients(alpha, delta, theta, gamma);
  CemaCoefficients dc{Tensor(c.p.shape), Tensor(c.q.shape), Tensor(c.g.shape)};
  Tensor dx(x.shape), dOmega(omega.shape);
  std::vector<Complex> states(length + 1); // states[t] is the one before step t
  for (int64_t b = 0; b < batch; ++b)
    for (int64_t d = 0; d < width; ++d) {
      for (int64_t k = 0; k < order; ++k) {
        int64_t i = d * order + k, carried = (b * width + d) * order + k;
        Complex q = get(c.q, i), g = get(c.g, i);
        states[0] = get(h, carried);
        for (int64_t t = 0; t < length; ++t)
          states[t + 1] = q * states[t] + c.p[i] * x[(b * length + t) * width + d];
        Complex next = get(dh, carried); // conj(q) lambda_{t+1}, or dh
        for (int64_t t = length; t-- > 0;) {
          int64_t at = (b * length + t) * width + d;
          Complex lambda = std::conj(g) * dy[at] + next;
          dx[at] += c.p[i] * lambda.real();
          dc.p[i] += x[at] * lambda.real();
          increase(dc.q, i, lambda * std::conj(states[t]));
          increase(dc.g, i, dy[at] * std::conj(states[t + 1]));
          next = std::conj(q) * lambda;
        }
        set(dh, carried, next);
      }
      for (int64_t t = 0; t < length; ++t) {
        int64_t at = (b * length + t) * width + d;
        dx[at] += omega[d] * dy[at];
        dOmega[d] += x[at] * dy[at];
      }
    }
  CemaParameterGradients raw = cemaCoefficientsBackward(alpha, delta, theta, dc);
  return {dx, raw.alpha, raw.delta, raw.theta, raw.gamma, dOmega};
}

} // namespace otodus::reference

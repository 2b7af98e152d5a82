//===- GradientElementwise.cpp - Backward of operators without state --------===//

#include "otodus/Reference/Gradients.h"

#include <algorithm>
#include <cmath>

namespace otodus::reference {

Tensor embedBackward(const Tokens &tokens, const Tensor &dy, int64_t vocabulary, double scale) {
  int64_t width = dy.dim(2);
  Tensor dTable({vocabulary, width});
  for (size_t i = 0; i < tokens.ids.size(); ++i)
    for (int64_t k = 0; k < width; ++k)
      dTable[tokens.ids[i] * width + k] += dy[i * width + k] * scale;
  return dTable;
}

AffineGradients linearBackward(const Tensor &x, const Tensor &weight, const Tensor &dy) {
  int64_t outputs = weight.dim(0), inputs = weight.dim(1);
  int64_t rows = inputs ? x.size() / inputs : 0;
  AffineGradients d{Tensor(x.shape), Tensor(weight.shape), Tensor({outputs})};
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t n = 0; n < outputs; ++n) {
      double g = dy[r * outputs + n];
      d.bias[n] += g;
      for (int64_t k = 0; k < inputs; ++k) {
        d.x[r * inputs + k] += g * weight[n * inputs + k];
        d.weight[n * inputs + k] += g * x[r * inputs + k];
      }
    }
  return d;
}

Tensor siluBackward(const Tensor &x, const Tensor &dy) {
  Tensor dx(x.shape);
  for (int64_t i = 0; i < x.size(); ++i) {
    double s = 1 / (1 + std::exp(-x[i]));
    dx[i] = dy[i] * s * (1 + x[i] * (1 - s));
  }
  return dx;
}

ScaleGradients scaleBackward(const Tensor &x, const Tensor &factor, const Tensor &dy) {
  ScaleGradients d{Tensor(x.shape), Tensor(factor.shape)};
  for (int64_t i = 0; i < x.size(); ++i) {
    d.x[i] = dy[i] * factor[i % factor.size()];
    d.factor[i % factor.size()] += dy[i] * x[i];
  }
  return d;
}

AffineGradients rmsNormBackward(const Tensor &x, const Tensor *weight, const Tensor &dy, double eps,
                                double scale, int64_t heads) {
  int64_t width = x.dim(-1), part = width / heads;
  AffineGradients d{Tensor(x.shape), Tensor({width}), Tensor({width})};
  for (int64_t row = 0; row < x.size(); row += part) {
    auto u = [&](int64_t k) {
      return dy[row + k] * (weight ? (*weight)[(row + k) % width] + 1 : 1) * scale;
    };
    double squares = 0, products = 0;
    for (int64_t k = 0; k < part; ++k) {
      squares += x[row + k] * x[row + k];
      products += u(k) * x[row + k];
    }
    double rho = 1 / std::sqrt(squares / part + eps);
    for (int64_t k = 0; k < part; ++k) {
      int64_t w = (row + k) % width;
      d.x[row + k] = rho * (u(k) - x[row + k] * rho * rho * products / part);
      d.weight[w] += dy[row + k] * x[row + k] * rho * scale;
      d.bias[w] += dy[row + k];
    }
  }
  return d;
}

AffineGradients layerNormBackward(const Tensor &x, const Tensor *weight, const Tensor &dy,
                                  double eps) {
  int64_t width = x.dim(-1);
  AffineGradients d{Tensor(x.shape), Tensor({width}), Tensor({width})};
  // The normalised x is what the forward gives without affine.
  Tensor normal = layerNorm(x, nullptr, nullptr, eps);
  for (int64_t row = 0; row < x.size(); row += width) {
    auto u = [&](int64_t k) { return dy[row + k] * (weight ? (*weight)[k] + 1 : 1); };
    double mean = 0, variance = 0, meanU = 0, meanProduct = 0;
    for (int64_t k = 0; k < width; ++k)
      mean += x[row + k] / width;
    for (int64_t k = 0; k < width; ++k) {
      variance += (x[row + k] - mean) * (x[row + k] - mean) / width;
      meanU += u(k) / width;
      meanProduct += u(k) * normal[row + k] / width;
    }
    double rho = 1 / std::sqrt(variance + eps);
    for (int64_t k = 0; k < width; ++k) {
      d.x[row + k] = rho * (u(k) - meanU - normal[row + k] * meanProduct);
      d.weight[k] += dy[row + k] * normal[row + k];
      d.bias[k] += dy[row + k];
    }
  }
  return d;
}

Tensor negativeLogLikelihoodBackward(const Tensor &logits, const Tokens &targets,
                                     const Tensor &dy) {
  int64_t vocabulary = logits.dim(-1);
  Tensor dLogits(logits.shape);
  for (int64_t i = 0; i < dy.size(); ++i) {
    if (targets.ids[i] == -100)
      continue;
    const double *row = logits.data.data() + i * vocabulary;
    double top = *std::max_element(row, row + vocabulary), sum = 0;
    for (int64_t k = 0; k < vocabulary; ++k)
      sum += std::exp(row[k] - top);
    for (int64_t k = 0; k < vocabulary; ++k)
      dLogits[i * vocabulary + k] =
          dy[i] * (std::exp(row[k] - top) / sum - (k == targets.ids[i] ? 1 : 0));
  }
  return dLogits;
}

} // namespace otodus::reference

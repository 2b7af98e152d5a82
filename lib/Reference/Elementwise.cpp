//===- Elementwise.cpp - Tensors and operators without state ----------------===//

#include "otodus/Reference/Reference.h"

#include <algorithm>
#include <cmath>

namespace otodus::reference {

namespace {
int64_t product(const std::vector<int64_t> &shape, size_t from = 0) {
  int64_t n = 1;
  for (size_t i = from; i < shape.size(); ++i)
    n *= shape[i];
  return n;
}
} // namespace

Tensor::Tensor(std::vector<int64_t> shape, double value)
    : shape(std::move(shape)), data(product(this->shape), value) {}

Tensor steps(const Tensor &x, int64_t begin, int64_t end) {
  Tensor y = x;
  y.shape[1] = end - begin;
  y.data.clear();
  int64_t width = product(x.shape, 2);
  for (int64_t b = 0; b < x.dim(0); ++b) {
    auto row = x.data.begin() + b * x.dim(1) * width;
    y.data.insert(y.data.end(), row + begin * width, row + end * width);
  }
  return y;
}

Tensor joinSteps(const std::vector<Tensor> &pieces) {
  Tensor y = pieces.front();
  y.shape[1] = 0;
  y.data.clear();
  for (const Tensor &piece : pieces)
    y.shape[1] += piece.dim(1);
  int64_t width = product(y.shape, 2);
  for (int64_t b = 0; b < y.dim(0); ++b)
    for (const Tensor &piece : pieces) {
      auto row = piece.data.begin() + b * piece.dim(1) * width;
      y.data.insert(y.data.end(), row, row + piece.dim(1) * width);
    }
  return y;
}

Tokens steps(const Tokens &tokens, int64_t begin, int64_t end) {
  Tokens result{tokens.batch, end - begin, {}};
  for (int64_t b = 0; b < tokens.batch; ++b) {
    auto row = tokens.ids.begin() + b * tokens.length;
    result.ids.insert(result.ids.end(), row + begin, row + end);
  }
  return result;
}

Tensor add(const Tensor &a, const Tensor &b) {
  Tensor y = a;
  for (int64_t i = 0; i < y.size(); ++i)
    y[i] += b[i];
  return y;
}

Tensor multiply(const Tensor &a, const Tensor &b) {
  Tensor y = a;
  for (int64_t i = 0; i < y.size(); ++i)
    y[i] *= b[i];
  return y;
}

Tensor embed(const Tokens &tokens, const Tensor &table, double scale) {
  int64_t width = table.dim(1);
  Tensor y({tokens.batch, tokens.length, width});
  for (size_t i = 0; i < tokens.ids.size(); ++i)
    for (int64_t k = 0; k < width; ++k)
      y[i * width + k] = table[tokens.ids[i] * width + k] * scale;
  return y;
}

Tensor linear(const Tensor &x, const Tensor &weight, const Tensor *bias) {
  int64_t outputs = weight.dim(0), inputs = weight.dim(1);
  int64_t rows = inputs ? x.size() / inputs : 0;
  std::vector<int64_t> shape = x.shape;
  shape.back() = outputs;
  Tensor y(shape);
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t n = 0; n < outputs; ++n) {
      double sum = bias ? (*bias)[n] : 0;
      for (int64_t k = 0; k < inputs; ++k)
        sum += x[r * inputs + k] * weight[n * inputs + k];
      y[r * outputs + n] = sum;
    }
  return y;
}

Tensor silu(const Tensor &x) {
  Tensor y = x;
  for (double &value : y.data)
    value = value / (1 + std::exp(-value));
  return y;
}

Tensor scale(const Tensor &x, const Tensor &factor) {
  Tensor y = x;
  for (int64_t i = 0; i < y.size(); ++i)
    y[i] *= factor[i % factor.size()];
  return y;
}

Tensor rmsNorm(const Tensor &x, const Tensor *weight, const Tensor *bias, double eps, double scale,
               int64_t heads) {
  int64_t width = x.dim(-1), part = width / heads;
  Tensor y = x;
  for (int64_t row = 0; row < x.size(); row += part) {
    double squares = 0;
    for (int64_t k = 0; k < part; ++k)
      squares += x[row + k] * x[row + k];
    double rho = 1 / std::sqrt(squares / part + eps);
    for (int64_t k = 0; k < part; ++k) {
      int64_t w = (row + k) % width;
      y[row + k] =
          x[row + k] * rho * (weight ? (*weight)[w] + 1 : 1) * scale + (bias ? (*bias)[w] : 0);
    }
  }
  return y;
}

Tensor layerNorm(const Tensor &x, const Tensor *weight, const Tensor *bias, double eps) {
  int64_t width = x.dim(-1);
  Tensor y = x;
  for (int64_t row = 0; row < x.size(); row += width) {
    double mean = 0, variance = 0;
    for (int64_t k = 0; k < width; ++k)
      mean += x[row + k] / width;
    for (int64_t k = 0; k < width; ++k)
      variance += (x[row + k] - mean) * (x[row + k] - mean) / width;
    double rho = 1 / std::sqrt(variance + eps);
    for (int64_t k = 0; k < width; ++k)
      y[row + k] =
          (x[row + k] - mean) * rho * (weight ? (*weight)[k] + 1 : 1) + (bias ? (*bias)[k] : 0);
  }
  return y;
}

Tensor negativeLogLikelihood(const Tensor &logits, const Tokens &targets) {
  int64_t vocabulary = logits.dim(-1);
  Tensor y({targets.batch, targets.length});
  for (int64_t i = 0; i < y.size(); ++i) {
    if (targets.ids[i] == -100)
      continue;
    const double *row = logits.data.data() + i * vocabulary;
    double top = *std::max_element(row, row + vocabulary), sum = 0;
    for (int64_t k = 0; k < vocabulary; ++k)
      sum += std::exp(row[k] - top);
    y[i] = top + std::log(sum) - row[targets.ids[i]];
  }
  return y;
}

} // namespace otodus::reference

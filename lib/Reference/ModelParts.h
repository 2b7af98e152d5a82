//===- ModelParts.h - Names shared by a model and its gradients -------------===//

#pragma once

#include "otodus/Reference/Reference.h"

#include <string>

namespace otodus::reference {

/// Null if there is none.
inline const Tensor *find(const Parameters &parameters, const std::string &name) {
  auto it = parameters.find(name);
  return it == parameters.end() ? nullptr : &it->second;
}

inline std::string layerPrefix(int64_t i) { return "layers." + std::to_string(i) + "."; }

/// Row i of a matrix, as a vector.
inline Tensor row(const Tensor &matrix, int64_t i) {
  auto begin = matrix.data.begin() + i * matrix.dim(1);
  return Tensor({matrix.dim(1)}, std::vector<double>(begin, begin + matrix.dim(1)));
}

} // namespace otodus::reference

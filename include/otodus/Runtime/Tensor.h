//===- Tensor.h - Arrays that callers hand to the runtime ------------------===//

#pragma once

#include "otodus/Formats/Artefact.h"

#include <cstddef>
#include <cstdint>
#include <vector>

namespace otodus::runtime {

/// A row-major array the caller owns; it must live as long as the call it is given to.
struct TensorView {
  formats::DType dtype = formats::DType::F32;
  std::vector<int64_t> shape;
  const void *data = nullptr;
};

/// The same, written to.
struct MutableTensorView {
  formats::DType dtype = formats::DType::F32;
  std::vector<int64_t> shape;
  void *data = nullptr;
};

/// A row-major array that owns its elements.
struct Tensor {
  formats::DType dtype = formats::DType::F32;
  std::vector<int64_t> shape;
  std::vector<std::byte> data;

  template <typename T> const T *as() const { return reinterpret_cast<const T *>(data.data()); }
  TensorView view() const { return {dtype, shape, data.data()}; }
};

} // namespace otodus::runtime

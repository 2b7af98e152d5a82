//===- Numbers.h - Conversions between element types -----------------------===//

#pragma once

#include "otodus/Formats/Artefact.h"

#include <cmath>
#include <cstdint>
#include <cstring>

namespace otodus::runtime {

/// Round to nearest even; NaN stays NaN. Without branches, so that loops vectorise.
inline uint16_t toBf16(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, 4);
  uint32_t rounded = (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
  uint32_t quiet = bits >> 16 | 0x40;
  return static_cast<uint16_t>((bits & 0x7fffffff) > 0x7f800000 ? quiet : rounded);
}

inline float fromBf16(uint16_t value) {
  uint32_t bits = uint32_t(value) << 16;
  float result;
  std::memcpy(&result, &bits, 4);
  return result;
}

inline const char *nameOf(formats::DType dtype) {
  switch (dtype) {
  case formats::DType::F32:
    return "f32";
  case formats::DType::BF16:
    return "bf16";
  case formats::DType::F64:
    return "f64";
  case formats::DType::I64:
    return "i64";
  case formats::DType::I32:
    return "i32";
  case formats::DType::Bool:
    return "bool";
  }
  return "?";
}

/// The element of an integer array, widened.
inline int64_t integerAt(formats::DType dtype, const void *data, int64_t index) {
  switch (dtype) {
  case formats::DType::I64:
    return static_cast<const int64_t *>(data)[index];
  case formats::DType::I32:
    return static_cast<const int32_t *>(data)[index];
  default:
    return static_cast<const uint8_t *>(data)[index];
  }
}

} // namespace otodus::runtime

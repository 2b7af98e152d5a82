//===- Numbers.h - Conversions between element types -----------------------===//

#pragma once

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

} // namespace otodus::runtime

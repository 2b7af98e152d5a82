//===- Numbers.h - Conversions between element types -----------------------===//

#pragma once

#include <bit>
#include <cmath>
#include <cstdint>

namespace otodus::sim {

inline float bf16ToFloat(uint16_t bits) { return std::bit_cast<float>(uint32_t(bits) << 16); }

/// Round to nearest, ties to even; a NaN becomes the NaN that the GPU makes.
inline uint16_t floatToBf16(float value) {
  uint32_t bits = std::bit_cast<uint32_t>(value);
  if ((bits & 0x7fffffff) > 0x7f800000)
    return 0x7fff;
  return uint16_t((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

inline float f16ToFloat(uint16_t bits) { return float(std::bit_cast<_Float16>(bits)); }
inline uint16_t floatToF16(float value) {
  return std::bit_cast<uint16_t>(static_cast<_Float16>(value));
}

/// Subnormal numbers become zero of the same sign.
inline float flush(float value) {
  return std::fpclassify(value) == FP_SUBNORMAL ? std::copysign(0.0f, value) : value;
}

} // namespace otodus::sim

//===- MathOps.cpp - Mathematical functions --------------------------------===//
//
// Approximate instructions compute the exact function in double precision and round once; how far
// a GPU is from that stands in the PTX ISA and belongs into tolerances, not here.
//
//===----------------------------------------------------------------------===//

#include "Handlers.h"
#include "Numbers.h"

#include <cmath>
#include <cstring>

namespace otodus::sim::handlers {

namespace {

/// Calls f(double, one double per further operand) for each element and writes the results.
template <unsigned operands, bool ftz, typename F>
void map(Thread &thread, const OtodusSimSite &site, uint64_t *slots, void *result, F f) {
  const bool wide = uint64_t(site.lanes) * site.bytes > 8;
  const uint8_t *in[operands];
  for (unsigned i = 0; i < operands; ++i)
    in[i] = wide ? reinterpret_cast<const uint8_t *>(slots[i])
                 : reinterpret_cast<const uint8_t *>(&slots[i]);
  auto *out = static_cast<uint8_t *>(result);
  for (uint32_t lane = 0; lane < site.lanes; ++lane) {
    double x[operands];
    for (unsigned i = 0; i < operands; ++i) {
      const uint8_t *at = in[i] + lane * site.bytes;
      switch (site.type) {
      case OTODUS_SIM_F32: {
        float value;
        memcpy(&value, at, 4);
        x[i] = ftz ? flush(value) : value;
        break;
      }
      case OTODUS_SIM_F64: memcpy(&x[i], at, 8); break;
      case OTODUS_SIM_F16:
      case OTODUS_SIM_BF16: {
        uint16_t bits;
        memcpy(&bits, at, 2);
        x[i] = site.type == OTODUS_SIM_F16 ? f16ToFloat(bits) : bf16ToFloat(bits);
        break;
      }
      default:
        thread.team->fault(thread, site, FindingKind::Unsupported,
                           "takes f16, bf16, f32 or f64");
      }
    }
    double y;
    if constexpr (operands == 1)
      y = f(x[0]);
    else
      y = f(x[0], x[1]);
    uint8_t *at = out + lane * site.bytes;
    switch (site.type) {
    case OTODUS_SIM_F32: {
      float value = ftz ? flush(float(y)) : float(y);
      memcpy(at, &value, 4);
      break;
    }
    case OTODUS_SIM_F64: memcpy(at, &y, 8); break;
    default: {
      uint16_t bits =
          site.type == OTODUS_SIM_F16 ? floatToF16(float(y)) : floatToBf16(float(y));
      memcpy(at, &bits, 2);
    }
    }
  }
}

} // namespace

#define OTODUS_SIM_UNARY(NAME, FTZ, EXPRESSION)                                                    \
  void NAME(Thread &thread, const OtodusSimSite &site, uint64_t *slots, void *result) {            \
    map<1, FTZ>(thread, site, slots, result, [](double x) { return EXPRESSION; });                 \
  }
OTODUS_SIM_UNARY(exp2, false, ::exp2(x))
OTODUS_SIM_UNARY(ex2Ftz, true, ::exp2(x))
OTODUS_SIM_UNARY(log2, false, ::log2(x))
OTODUS_SIM_UNARY(lg2Ftz, true, ::log2(x))
OTODUS_SIM_UNARY(rcp, false, 1 / x)
OTODUS_SIM_UNARY(rcpFtz, true, 1 / x)
OTODUS_SIM_UNARY(rsqrt, false, 1 / ::sqrt(x))
OTODUS_SIM_UNARY(rsqrtFtz, true, 1 / ::sqrt(x))
OTODUS_SIM_UNARY(sqrt, false, ::sqrt(x))
OTODUS_SIM_UNARY(sqrtFtz, true, ::sqrt(x))
OTODUS_SIM_UNARY(tanh, false, ::tanh(x))
OTODUS_SIM_UNARY(sin, false, ::sin(x))
OTODUS_SIM_UNARY(sinFtz, true, ::sin(x))
OTODUS_SIM_UNARY(cos, false, ::cos(x))
OTODUS_SIM_UNARY(cosFtz, true, ::cos(x))
OTODUS_SIM_UNARY(roundAway, false, ::round(x))

void remainder(Thread &thread, const OtodusSimSite &site, uint64_t *slots, void *result) {
  map<2, false>(thread, site, slots, result, [](double x, double y) { return ::fmod(x, y); });
}

/// To 10 bits of mantissa. Attributes: rounding, saturation, relu.
void convertTf32(Thread &thread, const OtodusSimSite &site, uint64_t *slots, void *result) {
  uint32_t bits = uint32_t(slots[0]);
  if (site.attributes[2] > 0 && int32_t(bits) < 0 && (bits & 0x7fffffff) <= 0x7f800000)
    bits = 0;
  if ((bits & 0x7fffffff) > 0x7f800000) {
    bits = 0x7fffffff;
  } else if ((bits & 0x7f800000) != 0x7f800000) {
    switch (site.attributes[0]) {
    case OTODUS_SIM_WORD_RZ: break;
    case OTODUS_SIM_WORD_RN: bits += 0xfff + (bits >> 13 & 1); break;
    default: bits += 0x1000; // rna: ties away from zero
    }
    bits &= 0xffffe000u;
    if (site.attributes[1] == OTODUS_SIM_WORD_SatFinite && (bits & 0x7fffffff) == 0x7f800000)
      bits = (bits & 0x80000000u) | 0x7f7fe000u;
  }
  *static_cast<uint32_t *>(result) = bits;
}

/// prmt, the default mode: byte i of the result is byte selector[4 i .. 4 i + 2] of hi:lo, or its
/// sign repeated. Operands: lo, hi if present, selector.
void permuteBytes(Thread &thread, const OtodusSimSite &site, uint64_t *slots, void *result) {
  if (site.attributes[0] != OTODUS_SIM_WORD_Default)
    thread.team->fault(thread, site, FindingKind::Unsupported,
                       "only the default mode of prmt is executed");
  uint64_t bytes = uint32_t(slots[0]) | (site.operands > 2 ? slots[1] << 32 : 0);
  uint32_t selector = uint32_t(slots[site.operands > 2 ? 2 : 1]), value = 0;
  for (int i = 0; i < 4; ++i) {
    uint32_t pick = selector >> (4 * i) & 15;
    uint32_t byte = uint32_t(bytes >> (8 * (pick & 7))) & 0xff;
    if (pick & 8)
      byte = byte & 0x80 ? 0xff : 0;
    value |= byte << (8 * i);
  }
  *static_cast<uint32_t *>(result) = value;
}

} // namespace otodus::sim::handlers

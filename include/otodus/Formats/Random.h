//===- Random.h - Counter-based random numbers -----------------------------===//
//
// Philox4x32-10 (Salmon et al., SC 2011): a pure function of a 64-bit key and a
// 128-bit counter, so that any number can be computed without those before it.
//
//===----------------------------------------------------------------------===//

#pragma once

#include <array>
#include <cstdint>

namespace otodus::formats {

/// The block function. Published test vectors are in the tests.
std::array<uint32_t, 4> philox(std::array<uint32_t, 4> counter, std::array<uint32_t, 2> key);

/// Uniform in [0, 1), 53 bits: words 0 and 1 of philox(counter = [index, stream], key = seed),
/// low halves first. Sampling uses seed, stream 0 and the token's absolute position.
double uniform(uint64_t seed, uint64_t stream, uint64_t index);

/// `count` standard normal floats, elements [begin, begin + count) of stream `stream`; the
/// same on every machine (no libm, no contraction). `begin` is a multiple of 4 and
/// `stream` below 2^32, here and in the functions below.
void fillNormal(uint64_t seed, uint64_t stream, uint64_t begin, int64_t count, float *out);
/// Standard normal truncated to [-bound, bound] by redrawing; bound >= 1.
void fillTruncatedNormal(uint64_t seed, uint64_t stream, uint64_t begin, int64_t count,
                         float bound, float *out);
/// Uniform in (-1, 1).
void fillUniform(uint64_t seed, uint64_t stream, uint64_t begin, int64_t count, float *out);

} // namespace otodus::formats

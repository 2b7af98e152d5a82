//===- Random.cpp - Counter-based random numbers ---------------------------===//
//
// Compiled with -ffp-contract=off and free of libm, so that its numbers are the same
// on every machine. The loops are plain so that the compiler vectorises them.
//
//===----------------------------------------------------------------------===//

#include "otodus/Formats/Random.h"

#include <bit>
#include <cmath>
#include <cstring>

using namespace otodus::formats;

namespace {
struct Words {
  uint32_t w0, w1, w2, w3;
};

inline Words philoxWords(Words c, uint32_t k0, uint32_t k1) {
  for (int round = 0; round < 10; ++round) {
    uint64_t p0 = uint64_t(0xD2511F53u) * c.w0, p1 = uint64_t(0xCD9E8D57u) * c.w2;
    c = {uint32_t(p1 >> 32) ^ c.w1 ^ k0, uint32_t(p1), uint32_t(p0 >> 32) ^ c.w3 ^ k1,
         uint32_t(p0)};
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  return c;
}

/// ln of x in (0, 1]: the mantissa is brought to [sqrt 1/2, sqrt 2), where
/// ln m = 2 atanh((m - 1) / (m + 1)). Absolute error below 1e-7 relative to the result.
inline float logOf(float x) {
  uint32_t bits = std::bit_cast<uint32_t>(x);
  int32_t exponent = int32_t(bits - 0x3f3504f3u) >> 23; // 0x3f3504f3: sqrt(1/2)
  float m = std::bit_cast<float>(bits - (uint32_t(exponent) << 23));
  float t = (m - 1.0f) / (m + 1.0f), s = t * t;
  float series = 0.222222222f;
  series = series * s + 0.285714286f;
  series = series * s + 0.4f;
  series = series * s + 0.666666667f;
  series = series * s + 2.0f;
  return float(exponent) * 0.693147181f + t * series;
}

struct SinCos {
  float sine, cosine;
};

/// sin and cos of 2 pi u, u = bits * 2^-32: the upper two bits are the quadrant, the rest
/// an angle in [-pi/4, pi/4] by Taylor's series (error below 4e-8).
inline SinCos turn(uint32_t bits) {
  uint32_t rounded = bits + 0x20000000u;
  uint32_t quadrant = rounded >> 30;
  int32_t rest = int32_t(rounded & 0x3fffffffu) - 0x20000000;
  float x = float(rest) * (6.28318531f * 0x1p-32f), s = x * x;
  float sine = -1.98412698e-4f;
  sine = sine * s + 8.33333333e-3f;
  sine = sine * s - 0.166666667f;
  sine = x + x * (sine * s);
  float cosine = 2.48015873e-5f;
  cosine = cosine * s - 1.38888889e-3f;
  cosine = cosine * s + 4.16666667e-2f;
  cosine = cosine * s - 0.5f;
  cosine = 1.0f + cosine * s;
  float a = quadrant & 1 ? cosine : sine, b = quadrant & 1 ? sine : cosine;
  // Signs by bits, so that the loop has no branch.
  uint32_t signA = (quadrant & 2) << 30, signB = ((quadrant + 1) & 2) << 30;
  return {std::bit_cast<float>(std::bit_cast<uint32_t>(a) ^ signA),
          std::bit_cast<float>(std::bit_cast<uint32_t>(b) ^ signB)};
}

/// (0, 1]: 24 bits, never 0.
inline float unit(uint32_t word) { return float(int32_t(word >> 8) + 1) * 0x1p-24f; }

/// Blocks computed side by side: arrays of one word each let the compiler use vectors.
constexpr int kBlocks = 32;

struct BlockWords {
  uint32_t w[4][kBlocks];
};

/// Words of blocks first, first + 1, ...; `attempt` gives other words for the same place.
inline void words(uint64_t seed, uint64_t stream, uint64_t first, uint32_t attempt,
                  BlockWords &out) {
  for (int i = 0; i < kBlocks; ++i) {
    uint64_t index = first + uint64_t(i);
    out.w[0][i] = uint32_t(index);
    out.w[1][i] = uint32_t(index >> 32);
    out.w[2][i] = uint32_t(stream);
    out.w[3][i] = attempt;
  }
  uint32_t k0 = uint32_t(seed), k1 = uint32_t(seed >> 32);
  for (int round = 0; round < 10; ++round) {
    for (int i = 0; i < kBlocks; ++i) {
      uint64_t p0 = uint64_t(0xD2511F53u) * out.w[0][i], p1 = uint64_t(0xCD9E8D57u) * out.w[2][i];
      out.w[0][i] = uint32_t(p1 >> 32) ^ out.w[1][i] ^ k0;
      out.w[1][i] = uint32_t(p1);
      out.w[2][i] = uint32_t(p0 >> 32) ^ out.w[3][i] ^ k1;
      out.w[3][i] = uint32_t(p0);
    }
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
}

/// 4 * kBlocks standard normal numbers (Box and Muller): words 0 and 2 of a block are
/// radii, 1 and 3 angles.
inline void normals(uint64_t seed, uint64_t stream, uint64_t first, uint32_t attempt, float *out) {
  BlockWords block;
  words(seed, stream, first, attempt, block);
  for (int half = 0; half < 4; half += 2) {
    float cosine[kBlocks], sine[kBlocks];
    for (int i = 0; i < kBlocks; ++i) {
      uint32_t w = block.w[half][i];
      // Small words keep their low bits, so that tails reach 6.6 deviations.
      float fine = float(int32_t(w & 255) + 1) * 0x1p-32f;
      float u = w < 256 ? fine : unit(w);
      float radius = std::sqrt(-2.0f * logOf(u));
      SinCos t = turn(block.w[half + 1][i]);
      cosine[i] = radius * t.cosine;
      sine[i] = radius * t.sine;
    }
    for (int i = 0; i < kBlocks; ++i) {
      out[4 * i + half] = cosine[i];
      out[4 * i + half + 1] = sine[i];
    }
  }
}

/// Calls blocks(first, out) for groups of kBlocks blocks that cover [begin, begin + count).
template <typename Blocks>
inline void forBlocks(uint64_t begin, int64_t count, float *out, Blocks &&blocks) {
  constexpr int64_t kStep = 4 * kBlocks;
  uint64_t first = begin / 4;
  for (; count >= kStep; count -= kStep, out += kStep, first += kBlocks)
    blocks(first, out);
  if (count > 0) {
    float last[kStep];
    blocks(first, last);
    std::memcpy(out, last, size_t(count) * sizeof(float));
  }
}
} // namespace

std::array<uint32_t, 4> otodus::formats::philox(std::array<uint32_t, 4> counter,
                                                std::array<uint32_t, 2> key) {
  Words w = philoxWords({counter[0], counter[1], counter[2], counter[3]}, key[0], key[1]);
  return {w.w0, w.w1, w.w2, w.w3};
}

double otodus::formats::uniform(uint64_t seed, uint64_t stream, uint64_t index) {
  auto low = [](uint64_t value) { return uint32_t(value); };
  auto high = [](uint64_t value) { return uint32_t(value >> 32); };
  auto w = philox({low(index), high(index), low(stream), high(stream)}, {low(seed), high(seed)});
  uint64_t bits = uint64_t(w[1]) << 32 | w[0];
  return double(bits >> 11) * 0x1p-53;
}

void otodus::formats::fillNormal(uint64_t seed, uint64_t stream, uint64_t begin, int64_t count,
                                 float *out) {
  forBlocks(begin, count, out,
            [=](uint64_t first, float *piece) { normals(seed, stream, first, 0, piece); });
}

void otodus::formats::fillTruncatedNormal(uint64_t seed, uint64_t stream, uint64_t begin,
                                          int64_t count, float bound, float *out) {
  fillNormal(seed, stream, begin, count, out);
  // Few numbers are outside; each is drawn again at its own place until it is inside.
  for (int64_t i = 0; i < count; ++i) {
    for (uint32_t attempt = 1; !(std::fabs(out[i]) <= bound); ++attempt) {
      float again[4 * kBlocks];
      uint64_t at = begin + uint64_t(i);
      normals(seed, stream, at / 4, attempt, again);
      out[i] = again[at % 4];
    }
  }
}

void otodus::formats::fillUniform(uint64_t seed, uint64_t stream, uint64_t begin, int64_t count,
                                  float *out) {
  forBlocks(begin, count, out, [=](uint64_t first, float *piece) {
    BlockWords block;
    words(seed, stream, first, 0, block);
    // 24 bits and an odd offset: symmetric, never -1 or 1.
    for (int i = 0; i < kBlocks; ++i)
      for (int j = 0; j < 4; ++j)
        piece[4 * i + j] = (float(int32_t(block.w[j][i]) >> 8) + 0.5f) * 0x1p-23f;
  });
}

//===- MatrixOps.cpp - ldmatrix, stmatrix, mma.sync ------------------------===//
//
// Fragment layouts as in PTX ISA 9.7.14.5 "Matrix multiply-accumulate operation using mma
// instruction". With g = lane / 4 and q = lane % 4:
//   C, D (f32):       register r: row g + 8 (r / 2), column 2q + r % 2
//   A, 2-byte types:  register r, half e: row g + 8 (r % 2), k = 2q + e + 8 (r / 2)
//   B, 2-byte types:  register r, half e: k = 2q + e + 8 r, column g
//   A, tf32:          register r: row g + 8 (r % 2), k = q + 4 (r / 2)
//   B, tf32:          register r: k = q + 4 r, column g
// Products are exact and summed in double precision; the sum is rounded once.
//
//===----------------------------------------------------------------------===//

#include "Handlers.h"
#include "Numbers.h"

#include <cstring>

namespace otodus::sim::handlers {

//===----------------------------------------------------------------------===//
// Loads and stores
//===----------------------------------------------------------------------===//

/// Extra passes of one 128-byte phase: eight rows of 16 bytes, 32 banks of 4 bytes.
static void countConflicts(Collective &c, uint32_t matrix) {
  uint32_t uses[8] = {};
  uint32_t worst = 1;
  for (uint32_t row = 0; row < 8; ++row) {
    uint64_t address = c.slots(matrix * 8 + row)[0];
    bool repeated = false; // the same row again is one read
    for (uint32_t before = 0; before < row; ++before)
      repeated |= c.slots(matrix * 8 + before)[0] == address;
    if (!repeated)
      worst = std::max(worst, ++uses[address / 16 % 8]);
  }
  c.team.banks.add(c.site.number, worst - 1);
}

[[noreturn, gnu::cold]] static void unsupported(Collective &c, const char *what) {
  c.team.fault(c.thread(0), c.site, FindingKind::Unsupported, what);
}

/// Operand: address of a row. Attributes: number of 8x8 matrices, layout (col transposes), shape,
/// element type.
void loadMatrix(Collective &c) {
  uint32_t count = uint32_t(c.attribute(0));
  bool transpose = c.attribute(1) == OTODUS_SIM_WORD_Col;
  if (c.attribute(2) != 8 || c.attribute(3) != 8 || c.attribute(4) != OTODUS_SIM_WORD_B16)
    unsupported(c, "only the form m8n8 of 2-byte elements is executed");
  uint16_t elements[4][8][8];
  for (uint32_t matrix = 0; matrix < count; ++matrix) {
    for (uint32_t row = 0; row < 8; ++row) {
      uint32_t lane = matrix * 8 + row;
      uint64_t address = c.slots(lane)[0];
      if (!c.team.sharedOwner(address)) [[unlikely]]
        c.team.fault(c.thread(lane), c.site, FindingKind::OutOfBounds,
                     "the address of its row is not in shared memory");
      c.team.shadow.load(c.thread(lane), c.site, address, 16, 16);
      memcpy(elements[matrix][row], reinterpret_cast<const void *>(address), 16);
    }
    countConflicts(c, matrix);
  }
  for (uint32_t lane = 0; lane < 32; ++lane) {
    uint32_t *result = &c.result<uint32_t>(lane);
    uint32_t g = lane / 4, q = lane % 4;
    for (uint32_t matrix = 0; matrix < count; ++matrix) {
      const auto &m = elements[matrix];
      uint32_t low = transpose ? m[2 * q][g] : m[g][2 * q];
      uint32_t high = transpose ? m[2 * q + 1][g] : m[g][2 * q + 1];
      result[matrix] = low | high << 16;
    }
  }
}

/// Operands: address of a row, registers. Attributes: layout, shape, element type.
void storeMatrix(Collective &c) {
  uint32_t count = c.site.operands - 1;
  bool transpose = c.attribute(0) == OTODUS_SIM_WORD_Col;
  if (c.attribute(1) != 8 || c.attribute(2) != 8 || c.attribute(3) != OTODUS_SIM_WORD_B16)
    unsupported(c, "only the form m8n8 of 2-byte elements is executed");
  for (uint32_t matrix = 0; matrix < count; ++matrix) {
    uint16_t m[8][8];
    for (uint32_t lane = 0; lane < 32; ++lane) {
      uint32_t value = uint32_t(c.slots(lane)[1 + matrix]), g = lane / 4, q = lane % 4;
      (transpose ? m[2 * q][g] : m[g][2 * q]) = uint16_t(value);
      (transpose ? m[2 * q + 1][g] : m[g][2 * q + 1]) = uint16_t(value >> 16);
    }
    for (uint32_t row = 0; row < 8; ++row) {
      uint32_t lane = matrix * 8 + row;
      uint64_t address = c.slots(lane)[0];
      if (!c.team.sharedOwner(address)) [[unlikely]]
        c.team.fault(c.thread(lane), c.site, FindingKind::OutOfBounds,
                     "the address of its row is not in shared memory");
      c.team.shadow.store(c.thread(lane), c.site, address, 16, 16);
      memcpy(reinterpret_cast<void *>(address), m[row], 16);
    }
    countConflicts(c, matrix);
  }
}

//===----------------------------------------------------------------------===//
// Products
//===----------------------------------------------------------------------===//

static float element(uint32_t bits, int64_t type, uint32_t half) {
  switch (type) {
  case OTODUS_SIM_WORD_BF16: return bf16ToFloat(uint16_t(bits >> (16 * half)));
  case OTODUS_SIM_WORD_F16: return f16ToFloat(uint16_t(bits >> (16 * half)));
  default: return std::bit_cast<float>(bits & 0xffffe000u); // tf32: the low bits are ignored
  }
}

/// Operands: registers of A, of B, of C. Attributes: m, n, k, layouts, element types of A, B, C, D.
void mma(Collective &c) {
  const int64_t k = c.attribute(2), type = c.attribute(5);
  const bool tf32 = type == OTODUS_SIM_WORD_TF32;
  const bool half = type == OTODUS_SIM_WORD_F16 || type == OTODUS_SIM_WORD_BF16;
  if (c.attribute(0) != 16 || c.attribute(1) != 8 || !(tf32 || half) || c.attribute(6) != type ||
      !(tf32 ? k == 8 || k == 4 : k == 16 || k == 8) ||
      c.attribute(3) != OTODUS_SIM_WORD_Row || c.attribute(4) != OTODUS_SIM_WORD_Col)
    unsupported(
        c, "only m16n8 row.col forms of f16, bf16 (k 8 or 16) and tf32 (k 4 or 8) are executed");
  const uint32_t aRegisters = c.site.segments[0], bRegisters = c.site.segments[1];
  const uint32_t halves = half ? 2 : 1;
  double a[16][16], b[16][8], d[16][8];

  const bool c16 = c.attribute(7) == OTODUS_SIM_WORD_F16;
  for (uint32_t lane = 0; lane < 32; ++lane) {
    const uint64_t *slots = c.slots(lane);
    const uint32_t g = lane / 4, q = lane % 4;
    for (uint32_t r = 0; r < aRegisters; ++r)
      for (uint32_t e = 0; e < halves; ++e)
        a[g + 8 * (r % 2)][halves * q + e + 4 * halves * (r / 2)] =
            double(element(uint32_t(slots[r]), type, e));
    slots += aRegisters;
    for (uint32_t r = 0; r < bRegisters; ++r)
      for (uint32_t e = 0; e < halves; ++e)
        b[halves * q + e + 4 * halves * r][g] = double(element(uint32_t(slots[r]), type, e));
    slots += bRegisters;
    for (uint32_t r = 0; r < 4; ++r)
      d[g + 8 * (r / 2)][2 * q + r % 2] =
          double(c16 ? f16ToFloat(uint16_t(slots[r / 2] >> (16 * (r % 2))))
                     : std::bit_cast<float>(uint32_t(slots[r])));
  }
  for (int i = 0; i < 16; ++i)
    for (int64_t j = 0; j < k; ++j)
      for (int n = 0; n < 8; ++n)
        d[i][n] += a[i][j] * b[j][n];

  const bool d16 = c.attribute(8) == OTODUS_SIM_WORD_F16;
  for (uint32_t lane = 0; lane < 32; ++lane) {
    const uint32_t g = lane / 4, q = lane % 4;
    for (uint32_t r = 0; r < 4; ++r) {
      float value = float(d[g + 8 * (r / 2)][2 * q + r % 2]);
      if (d16)
        (&c.result<uint16_t>(lane))[r] = floatToF16(value);
      else
        (&c.result<float>(lane))[r] = value;
    }
  }
}

} // namespace otodus::sim::handlers

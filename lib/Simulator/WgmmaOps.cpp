//===- WgmmaOps.cpp - Matrix products of a warp group ----------------------===//
//
// PTX ISA, "wgmma". A product reads shared memory and writes its accumulator at any time between
// its issue and a wait that covers it. Here that is at the wait (or at once, as the options say);
// until then threads hold a token of NaNs instead of the accumulator, so that a value taken too
// early is no number. Sums of 16 exact products are rounded once; the device's order is another.
//
// Matrix descriptor: start address (bits 0-13), leading offset (16-29), stride offset (32-45), all
// in 16 bytes; base offset (49-51); swizzle (62-63: 0 none, 1 128, 2 64, 3 32 bytes). Layouts, with
// S the swizzle's span in bytes and chunks of 16 bytes, before the swizzle of address bits:
//
//   K-major    row r, chunk c of 8 k:  start + (r / 8) stride + (r mod 8) S + 16 c
//     S = 0:   row r, chunk c:         start + (r / 8) stride + (r mod 8) 16 + c leading
//   MN-major   k, chunk c of 8 rows:   start + (k / 8) stride + (k mod 8) S
//                                            + (c / (S / 16)) leading + (c mod (S / 16)) 16
//     S = 0:   k, chunk c:             start + (k / 8) leading + (k mod 8) 16 + c stride
//
// None of this is confirmed on a device.
//
//===----------------------------------------------------------------------===//

#include "AsyncUnit.h"
#include "Handlers.h"
#include "Numbers.h"
#include "TensorMap.h"
#include "Text.h"

#include <algorithm>
#include <bit>
#include <cstring>

namespace otodus::sim {
namespace {

constexpr uint32_t kDepth = 16;

struct Descriptor {
  uint64_t start, leading, stride; ///< bytes
  uint32_t span;                   ///< of the swizzle, bytes
  uint32_t baseOffset;
};

Descriptor decode(uint64_t bits) {
  static constexpr uint32_t spans[4] = {0, 128, 64, 32};
  return {(bits & 0x3fff) << 4, (bits >> 16 & 0x3fff) << 4, (bits >> 32 & 0x3fff) << 4,
          spans[bits >> 62], uint32_t(bits >> 49 & 7)};
}

/// Address of a chunk of 16 bytes: K-major, `outer` is a row and `chunk` counts 8 k; MN-major,
/// `outer` is k and `chunk` counts 8 rows. `base` is the block's shared memory.
uint64_t chunkAddress(const Descriptor &d, uint64_t base, bool transpose, uint32_t outer,
                      uint32_t chunk) {
  uint64_t offset = d.start + outer % 8 * uint64_t(d.span ? d.span : 16);
  if (!transpose) {
    offset += outer / 8 * d.stride + chunk * (d.span ? 16 : d.leading);
  } else if (d.span) {
    uint32_t perRow = d.span / 16;
    offset += outer / 8 * d.stride + chunk / perRow * d.leading + chunk % perRow * 16;
  } else {
    offset += outer / 8 * d.leading + chunk * d.stride;
  }
  return base + (swizzle(offset, d.span) & (kSharedStride - 1));
}

/// Calls `use(address, outer, chunk)` for all chunks of a matrix of 16 by `rows`.
template <typename F>
void forEachChunk(const Descriptor &d, uint64_t base, bool transpose, uint32_t rows, F use) {
  uint32_t outers = transpose ? kDepth : rows, chunks = (transpose ? rows : kDepth) / 8;
  for (uint32_t outer = 0; outer < outers; ++outer)
    for (uint32_t chunk = 0; chunk < chunks; ++chunk)
      use(chunkAddress(d, base, transpose, outer, chunk), outer, chunk);
}

/// Reads a matrix into to[k][rows].
void readMatrix(const Descriptor &d, uint64_t base, bool transpose, uint32_t rows, float *to) {
  forEachChunk(d, base, transpose, rows, [&](uint64_t address, uint32_t outer, uint32_t chunk) {
    uint16_t values[8];
    std::memcpy(values, reinterpret_cast<const void *>(address), 16);
    for (uint32_t i = 0; i < 8; ++i) {
      uint32_t row = transpose ? chunk * 8 + i : outer, k = transpose ? outer : chunk * 8 + i;
      to[k * rows + row] = bf16ToFloat(values[i]);
    }
  });
}

//===----------------------------------------------------------------------===//
// Fragments
//===----------------------------------------------------------------------===//

/// Row and column of element `i` of an accumulator as `thread` of the warp group holds it.
struct Place {
  uint32_t row, column;
};
Place accumulatorPlace(uint32_t thread, uint32_t i) {
  uint32_t lane = thread % 32;
  return {16 * (thread / 32) + lane / 4 + 8 * (i % 4 / 2), 8 * (i / 4) + 2 * (lane % 4) + i % 2};
}

/// A token stands in elements 0 and 1; the others are NaN.
constexpr uint32_t kTokenMark = 0x7fc57a1d, kTokenBits = 0x7fe00000, kTokenMask = 0x001fffff;

void writeToken(float *elements, uint32_t count, uint32_t token) {
  elements[0] = std::bit_cast<float>(kTokenBits | token);
  elements[1] = std::bit_cast<float>(kTokenMark);
  std::fill(elements + 2, elements + count, std::bit_cast<float>(0x7fffffffu));
}

/// The token, or 0.
uint32_t readToken(const float *elements) {
  uint32_t bits[2];
  std::memcpy(bits, elements, sizeof bits);
  return bits[1] == kTokenMark && (bits[0] & ~kTokenMask) == kTokenBits ? bits[0] & kTokenMask : 0;
}

//===----------------------------------------------------------------------===//
// Execution
//===----------------------------------------------------------------------===//

void execute(Accumulator &accumulator, Product &product, uint64_t base) {
  uint32_t n = accumulator.columns;
  thread_local std::vector<float> a(kDepth * 64), b(kDepth * 256);
  if (product.registers.empty()) {
    readMatrix(decode(product.a), base, product.transposeA, 64, a.data());
  } else {
    for (uint32_t t = 0; t < 128; ++t)
      for (uint32_t r = 0; r < 4; ++r)
        for (uint32_t half = 0; half < 2; ++half) {
          uint32_t lane = t % 32, row = 16 * (t / 32) + lane / 4 + 8 * (r % 2);
          uint32_t k = 8 * (r / 2) + 2 * (lane % 4) + half;
          a[k * 64 + row] = bf16ToFloat(uint16_t(product.registers[4 * t + r] >> (16 * half)));
        }
  }
  readMatrix(decode(product.b), base, product.transposeB, n, b.data());
  double sum[256];
  for (uint32_t row = 0; row < 64; ++row) {
    float *out = accumulator.values.data() + size_t(row) * n;
    for (uint32_t j = 0; j < n; ++j)
      sum[j] = product.scale ? out[j] : 0.0;
    for (uint32_t k = 0; k < kDepth; ++k) {
      double x = a[k * 64 + row];
      const float *y = b.data() + size_t(k) * n;
      for (uint32_t j = 0; j < n; ++j)
        sum[j] += x * y[j];
    }
    for (uint32_t j = 0; j < n; ++j)
      out[j] = float(sum[j]);
  }
  product.done = true;
}

WarpGroupState &stateOf(Collective &collective) {
  AsyncUnit &unit = *collective.team.asyncUnit;
  WarpGroupState &state = unit.warpGroups[collective.block.rank *
                                              (collective.block.threadCount / 128) +
                                          collective.first->index / 128];
  if (!state.streams[0])
    for (uint32_t &stream : state.streams)
      stream = unit.newStream();
  return state;
}

/// The operand must be the same in all threads.
uint64_t uniform(Collective &collective, uint32_t operand, const char *what) {
  uint64_t value = collective.slots(0)[operand];
  for (uint32_t t = 1; t < 128; ++t)
    if (collective.slots(t)[operand] != value)
      collective.team.fault(collective.thread(t), collective.site, FindingKind::Descriptor,
                            std::string(what) + " is " + hex(collective.slots(t)[operand]) +
                                " here, but " + hex(value) + " in thread " +
                                std::to_string(collective.first->index) +
                                ": it must be equal in the warp group");
  return value;
}

/// The stand-ins of the four warps' reads, knowing what the warps' first threads know.
struct Readers {
  Thread *warps[4];
  Readers(Collective &collective, WarpGroupState &state) {
    for (uint32_t warp = 0; warp < 4; ++warp)
      warps[warp] = &collective.team.asyncUnit->fork(state.streams[warp],
                                                     collective.thread(32 * warp));
  }
};

/// Checks a descriptor, then the reads of its matrix: `rows` by 16.
void checkMatrix(Collective &collective, const Readers &readers, uint64_t bits, bool transpose,
                 uint32_t rows, bool isA) {
  Team &team = collective.team;
  Thread &lead = collective.thread(0);
  Descriptor d = decode(bits);
  const char *name = isA ? "A" : "B";
  auto refuse = [&](std::string text) {
    team.fault(lead, collective.site, FindingKind::Descriptor,
               "the descriptor " + hex(bits) + " of " + name + " " + std::move(text));
  };
  if (d.baseOffset)
    refuse("has a base offset, which is not simulated: start tiles at multiples of " +
           std::to_string(swizzleRepeat(d.span)) + " bytes");
  if (d.span && (d.start & (swizzleRepeat(d.span) - d.span)) != 0)
    refuse("starts at shared byte " + std::to_string(d.start) +
           ", in the middle of the pattern of a swizzle of " + std::to_string(d.span) + " bytes, which repeats after " +
           std::to_string(swizzleRepeat(d.span)));
  if (d.span && !transpose && d.start % d.span + 32 > d.span)
    refuse("starts " + std::to_string(d.start % d.span) + " bytes into a row of " +
           std::to_string(d.span) + ", so that 16 elements of K do not fit");
  if (d.span && transpose && d.start % d.span)
    refuse("starts " + std::to_string(d.start % d.span) + " bytes into a row of " +
           std::to_string(d.span));
  Shadow &shadow = team.shadow;
  if (!shadow.enabled())
    return;
  uint64_t base = uint64_t(collective.block.shared);
  forEachChunk(d, base, transpose, rows, [&](uint64_t address, uint32_t outer, uint32_t chunk) {
    // Each warp reads its own rows of A, and all of B: a quarter of that is checked for each.
    uint32_t warp = transpose ? chunk * 8 * 4 / rows : outer * 4 / rows;
    shadow.load(*readers.warps[warp], collective.site, address, 16, 1);
    shadow.checkProxy(collective.thread(32 * warp), collective.site, address, 16);
  });
}

/// Takes the accumulator of the collective's operand `operand` (128 structs) for a new product.
Accumulator &takeAccumulator(Collective &collective, WarpGroupState &state, uint32_t operand) {
  Team &team = collective.team;
  uint32_t count = collective.site.lanes, columns = 2 * count;
  auto elements = [&](uint32_t t) {
    return reinterpret_cast<const float *>(collective.slots(t)[operand]);
  };
  uint32_t token = readToken(elements(0));
  for (uint32_t t = 1; t < 128; ++t)
    if (readToken(elements(t)) != token)
      team.fault(collective.thread(t), collective.site, FindingKind::Registers,
                 "the accumulator is in flight in some threads of the warp group only");
  if (token) {
    for (Accumulator &accumulator : state.accumulators)
      if (accumulator.token == token && accumulator.columns == columns)
        return accumulator;
    team.fault(collective.thread(0), collective.site, FindingKind::Registers,
               "the accumulator was given to another product already");
  }
  Accumulator &accumulator = state.accumulators.emplace_back();
  accumulator.columns = columns;
  accumulator.values.resize(64 * size_t(columns));
  for (uint32_t t = 0; t < 128; ++t)
    for (uint32_t i = 0; i < count; ++i) {
      Place place = accumulatorPlace(t, i);
      accumulator.values[place.row * columns + place.column] = elements(t)[i];
    }
  return accumulator;
}

/// `product` has no registers of A yet: they are operands 0 to 3 if `inRegisters`.
void issue(Collective &collective, const Product &product, uint32_t accumulatorOperand,
           bool inRegisters) {
  Team &team = collective.team;
  AsyncUnit &unit = *team.asyncUnit;
  WarpGroupState &state = stateOf(collective);
  if (!state.fenced)
    if (!team.reports.repeated(FindingKind::Registers, &collective.site, nullptr))
      team.report({FindingKind::Registers, &collective.site, nullptr,
                   describe(collective.site) +
                       " has no wgmma.fence between it and the last wait or the kernel's start (" + who(collective.thread(0)) +
                       "): registers that it uses may not be written yet"});
  Accumulator &accumulator = takeAccumulator(collective, state, accumulatorOperand);
  accumulator.token = ++unit.nextToken & kTokenMask;
  Product &issued = accumulator.products.emplace_back(product);
  issued.group = state.committed;
  if (inRegisters) {
    issued.registers.resize(4 * 128);
    for (uint32_t t = 0; t < 128; ++t)
      for (uint32_t r = 0; r < 4; ++r)
        issued.registers[4 * t + r] = uint32_t(collective.slots(t)[r]);
  }
  ++state.uncommitted;
  ++team.shadow.open;
  uint32_t when = team.launch->options.async;
  if (when == OTODUS_SIM_EARLY || (when == OTODUS_SIM_MIXED && team.toss()))
    for (Product &earlier : accumulator.products)
      if (!earlier.done)
        execute(accumulator, earlier, uint64_t(collective.block.shared));
  for (uint32_t t = 0; t < 128; ++t)
    writeToken(&collective.result<float>(t), collective.site.lanes, accumulator.token);
}

/// Ends all groups but the newest `left`.
void finishGroups(Collective &collective, WarpGroupState &state, uint64_t left) {
  Team &team = collective.team;
  state.fenced = false;
  ClockRef clocks[4];
  while (state.groups.size() > left) {
    for (uint32_t warp = 0; warp < 4; ++warp)
      clocks[warp] = std::move(state.groups.front().clocks[warp]);
    team.shadow.open -= state.groups.front().products;
    state.groups.pop_front();
  }
  uint64_t first = state.committed - state.groups.size(); // of the groups still in flight
  for (Accumulator &accumulator : state.accumulators)
    for (Product &product : accumulator.products)
      if (product.group < first && !product.done)
        execute(accumulator, product, uint64_t(collective.block.shared));
  for (Accumulator &accumulator : state.accumulators)
    std::erase_if(accumulator.products, [&](const Product &p) { return p.group < first; });
  for (uint32_t t = 0; t < 128; ++t)
    team.shadow.acquire(collective.thread(t).agent, clocks[t / 32]);
}

} // namespace

namespace handlers {

void wgmmaFence(Collective &collective) { stateOf(collective).fenced = true; }

void wgmmaCommit(Collective &collective) {
  WarpGroupState &state = stateOf(collective);
  WarpGroupState::Group &group = state.groups.emplace_back();
  for (uint32_t warp = 0; warp < 4; ++warp)
    group.clocks[warp] = collective.team.asyncUnit->finish(state.streams[warp]);
  group.products = state.uncommitted;
  state.uncommitted = 0;
  ++state.committed;
}

// Operands: descriptors of A and B, accumulator, scale. Attributes: transpose_a, transpose_b.
void wgmma(Collective &collective) {
  WarpGroupState &state = stateOf(collective);
  Product product{};
  product.site = &collective.site;
  product.a = uniform(collective, 0, "the descriptor of A");
  product.b = uniform(collective, 1, "the descriptor of B");
  product.scale = uniform(collective, 3, "the flag that keeps the accumulator") & 1;
  product.transposeA = collective.attribute(0) > 0;
  product.transposeB = collective.attribute(1) > 0;
  Readers readers(collective, state);
  checkMatrix(collective, readers, product.a, product.transposeA, 64, true);
  checkMatrix(collective, readers, product.b, product.transposeB, 2 * collective.site.lanes, false);
  issue(collective, product, 2, /*inRegisters=*/false);
}

// Operands: four registers of A, descriptor of B, accumulator, scale. Attributes: transpose_b.
void wgmmaRegisters(Collective &collective) {
  WarpGroupState &state = stateOf(collective);
  Product product{};
  product.site = &collective.site;
  product.b = uniform(collective, 4, "the descriptor of B");
  product.scale = uniform(collective, 6, "the flag that keeps the accumulator") & 1;
  product.transposeB = collective.attribute(0) > 0;
  checkMatrix(collective, Readers(collective, state), product.b, product.transposeB,
              2 * collective.site.lanes, false);
  issue(collective, product, 5, /*inRegisters=*/true);
}

// Operands: accumulator, registers being read. Attributes: groups.
void wgmmaWait(Collective &collective) {
  WarpGroupState &state = stateOf(collective);
  finishGroups(collective, state, uint64_t(collective.attribute(0)));
  uint32_t count = collective.site.lanes;
  auto elements = [&](uint32_t t) {
    return reinterpret_cast<const float *>(collective.slots(t)[0]);
  };
  auto result = [&](uint32_t t) { return &collective.result<float>(t); };
  uint32_t token = readToken(elements(0));
  auto found = std::find_if(state.accumulators.begin(), state.accumulators.end(),
                            [&](const Accumulator &a) { return token && a.token == token; });
  if (token && found == state.accumulators.end())
    collective.team.fault(collective.thread(0), collective.site, FindingKind::Registers,
                          "the accumulator was given to another product or wait already");
  if (!token || !found->products.empty()) { // an ordinary value, or still in flight
    for (uint32_t t = 0; t < 128; ++t)
      std::copy_n(elements(t), count, result(t));
    return;
  }
  for (uint32_t t = 0; t < 128; ++t)
    for (uint32_t i = 0; i < count; ++i) {
      Place place = accumulatorPlace(t, i);
      result(t)[i] = found->values[place.row * found->columns + place.column];
    }
  state.accumulators.erase(found);
}

// Attributes: group.
void wgmmaWaitPlain(Collective &collective) {
  finishGroups(collective, stateOf(collective), uint64_t(collective.attribute(0)));
}

} // namespace handlers
} // namespace otodus::sim

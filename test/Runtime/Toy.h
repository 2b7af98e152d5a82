//===- Toy.h - A small model with kernels written by hand ------------------===//
//
// It has what real models have - an embedding, a recurrence, an open chunk of keys and
// values, a count - and a value that a few lines of C++ can predict:
//
//   x_t = table[token_t]                                      [W = 20]
//   h_t = h_{t-1} / 2 + x_t           for each of N x 2 modes  (+ mode index)
//   keys[t mod C] = x_t per head;  s_t = sum over the open chunk's keys
//   count += 1
//   y_t = h_t[., mode 0, part 0] + s_t + prior + count
//
//===----------------------------------------------------------------------===//

#pragma once

#include "otodus/Formats/ArtefactFile.h"
#include "otodus/Runtime/Session.h"

#include <cmath>
#include <cstring>
#include <random>

namespace toy {

using namespace otodus;
using namespace otodus::formats;
namespace rt = otodus::runtime;

inline constexpr int64_t V = 50, H = 2, F = 10, W = H * F, N = 3, C = 7;
/// The row stride of activations: the padded width and a little more.
inline constexpr int64_t kStride = 80;
inline constexpr Width kWidth = {H, F}; // padded: 2 x 32

inline int64_t inside(int64_t i) { return i / F * 32 + i % F; }

// Buffers: tokens, table, x
inline void embed(const OtodusKernelArguments *a, int64_t lo, int64_t hi) {
  auto *tokens = static_cast<const int32_t *>(a->buffers[0]);
  auto *table = static_cast<const float *>(a->buffers[1]);
  auto *x = static_cast<float *>(a->buffers[2]);
  for (int64_t row = lo; row < hi; ++row)
    std::memcpy(x + row * kStride, table + tokens[row] * 64, 64 * sizeof(float));
}

// Buffers: x, h (Lanes), keys (Keys f32), values (Values bf16), count, prior, position, y
inline void mix(const OtodusKernelArguments *a, int64_t lo, int64_t hi) {
  for (int64_t b = lo; b < hi; ++b) {
    auto *x = static_cast<const float *>(a->buffers[0]);
    auto *h = static_cast<float *>(a->buffers[1]) + b * (32 * N * 2);
    auto *keys = static_cast<float *>(a->buffers[2]) + b * (H * 32 * 32);
    auto *values = static_cast<uint16_t *>(a->buffers[3]) + b * (H * 32 * 32);
    auto *count = static_cast<int64_t *>(a->buffers[4]) + b * 8;
    auto *prior = static_cast<const float *>(a->buffers[5]) + b * 32;
    int64_t position = static_cast<const int64_t *>(a->buffers[6])[b];
    auto *y = static_cast<float *>(a->buffers[7]);
    if (position % C + a->length > C)
      std::abort(); // the runtime let a piece cross a chunk boundary
    for (int64_t t = 0; t < a->length; ++t, ++position) {
      int64_t row = b * a->length + t, c = position % C;
      ++*count;
      for (int64_t i = 0; i < W; ++i) {
        float value = x[row * kStride + inside(i)];
        for (int64_t n = 0; n < N; ++n)
          for (int64_t part = 0; part < 2; ++part) {
            float &mode = h[(n * 2 + part) * 32 + i];
            mode = mode / 2 + value + static_cast<float>(n * 2 + part);
          }
        int64_t head = i / F, z = i % F;
        keys[(head * 32 + z) * 32 + c] = value;
        values[((head * 16 + c / 2) * 32 + z) * 2 + c % 2] =
            static_cast<uint16_t>(0x3f80 + position % 64); // a bf16 pattern per position
        float sum = 0;
        for (int64_t j = 0; j <= c; ++j)
          sum += keys[(head * 32 + z) * 32 + j];
        y[row * kStride + inside(i)] = h[i] + sum + prior[i] + static_cast<float>(*count);
      }
    }
  }
}

// Buffers: y, last
inline void last(const OtodusKernelArguments *a, int64_t lo, int64_t hi) {
  auto *y = static_cast<const float *>(a->buffers[0]);
  auto *out = static_cast<float *>(a->buffers[1]);
  for (int64_t b = lo; b < hi; ++b)
    std::memcpy(out + b * kStride, y + ((b + 1) * a->length - 1) * kStride, 64 * sizeof(float));
}

inline Artefact artefact() {
  Artefact result;
  result.producer = "test";
  result.modelHash = std::string(64, 'a');
  result.dtype = "f32";
  Program &program = result.programs.emplace_back();
  Prepared table;
  table.name = "embed.weight";
  table.kind = PrepareKind::Table;
  table.sources = {"embed.weight"};
  table.rows = {1, V};
  table.columns = kWidth;
  program.prepared = {table};
  auto state = [&](std::string name, DType dtype, std::vector<int64_t> shape, StateLayout layout,
                   bool open) {
    State s;
    s.name = std::move(name);
    s.dtype = dtype;
    s.shape = std::move(shape);
    s.layout = layout;
    s.openChunk = open;
    program.states.push_back(s);
  };
  state("h", DType::F32, {W, N, 2}, StateLayout::Lanes, false);
  state("keys", DType::F32, {C, H, F}, StateLayout::Keys, true);
  state("values", DType::BF16, {C, H, F}, StateLayout::Values, true);
  state("count", DType::I64, {}, StateLayout::Plain, false);
  program.states.back().initial = 5;
  state("prior", DType::F32, {W}, StateLayout::Plain, false);
  program.states.back().initialFrom = "prior";
  program.states.back().initialExp = true;

  for (bool wholeSequence : {true, false}) {
    Function f;
    f.name = wholeSequence ? "forward" : "prefill";
    f.chunk = C;
    f.states = {0, 1, 2, 3, 4};
    Argument tokens;
    tokens.name = "tokens";
    tokens.kind = ArgumentKind::Steps;
    tokens.dtype = DType::I32;
    tokens.bound = V;
    f.inputs = {tokens};
    Argument logits;
    logits.name = "logits";
    logits.kind = wholeSequence ? ArgumentKind::Rows : ArgumentKind::LastRows;
    logits.width = kWidth;
    logits.trailing = {H, F};
    logits.rowStride = kStride;
    f.outputs = {logits};
    auto buffer = [&](BufferKind kind, int64_t index) {
      Buffer b;
      b.kind = kind;
      b.index = index;
      b.bytesPerRow = kind == BufferKind::Scratch ? kStride * 4 : 0;
      f.buffers.push_back(b);
    };
    buffer(BufferKind::Input, 0);    // 0
    buffer(BufferKind::Prepared, 0); // 1
    buffer(BufferKind::Scratch, 0);  // 2: x
    for (int64_t s = 0; s < 5; ++s)
      buffer(BufferKind::State, s);  // 3..7
    buffer(BufferKind::Position, 0); // 8
    buffer(BufferKind::Scratch, 1);  // 9: y
    buffer(BufferKind::Output, 0);   // 10
    auto launch = [&](std::string entry, Symbol symbol, std::vector<int64_t> buffers) {
      Launch l;
      l.name = entry;
      l.variants = {{0, entry, {{symbol, 1, 1}}}};
      l.buffers = std::move(buffers);
      f.launches.push_back(l);
    };
    launch("embed", Symbol::Rows, {0, 1, 2});
    launch("mix", Symbol::Batch, {2, 3, 4, 5, 6, 7, 8, wholeSequence ? 10 : 9});
    if (!wholeSequence)
      launch("last", Symbol::Batch, {9, 10});
    program.functions.push_back(f);
  }
  return result;
}

struct Weights {
  std::vector<float> table, prior;
  rt::MemoryWeights source;
  Weights() {
    std::mt19937 engine(1);
    std::uniform_int_distribution<int> numbers(-8, 8);
    for (int64_t i = 0; i < V * W; ++i)
      table.push_back(static_cast<float>(numbers(engine)));
    for (int64_t i = 0; i < W; ++i)
      prior.push_back(static_cast<float>(i) / 16);
    source.add("embed.weight", {V, W}, table.data());
    source.add("prior", {W}, prior.data());
  }
};

inline std::shared_ptr<const rt::Image> image() {
  return rt::nativeImage({{"embed", embed}, {"mix", mix}, {"last", last}});
}

/// What "forward" gives, straight from the formulas; [tokens][W].
inline std::vector<float> expected(const Weights &weights, const std::vector<int32_t> &tokens) {
  std::vector<float> y;
  std::vector<float> h(W, 0);
  for (size_t t = 0; t < tokens.size(); ++t)
    for (int64_t i = 0; i < W; ++i) {
      auto x = [&](size_t at) { return weights.table[static_cast<size_t>(tokens[at] * W + i)]; };
      h[i] = h[i] / 2 + x(t);
      float sum = 0;
      for (size_t j = t / C * C; j <= t; ++j)
        sum += x(j);
      y.push_back(h[i] + sum + std::exp(weights.prior[i]) + static_cast<float>(6 + t));
    }
  return y;
}

} // namespace toy

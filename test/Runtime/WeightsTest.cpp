//===- WeightsTest.cpp - Prepared buffers against the formulas -------------===//

#include "otodus/Runtime/Weights.h"
#include "otodus/Formats/ArtefactFile.h"
#include "otodus/Formats/RandomInit.h"
#include "otodus/Runtime/ThreadPool.h"

#include <gtest/gtest.h>

#include <filesystem>

#include <bit>
#include <chrono>
#include <cmath>
#include <complex>
#include <cstring>
#include <numbers>
#include <random>

using namespace otodus;
using namespace otodus::runtime;
using formats::DType;
using formats::Prepared;
using formats::PrepareKind;
using formats::TensorType;
using formats::Width;

namespace {

/// Round to nearest even, spelled out.
uint16_t slowBf16(float value) {
  uint32_t bits = std::bit_cast<uint32_t>(value);
  uint32_t low = bits & 0xffff, high = bits >> 16;
  if (std::isnan(value))
    return static_cast<uint16_t>(high | 0x40);
  if (low > 0x8000 || (low == 0x8000 && (high & 1)))
    ++high;
  return static_cast<uint16_t>(high);
}

float wide(uint16_t bits) { return std::bit_cast<float>(uint32_t(bits) << 16); }

struct Buffer {
  std::vector<std::byte> storage;
  std::byte *data;
  explicit Buffer(int64_t bytes) : storage(static_cast<size_t>(bytes) + 64, std::byte(0xcd)) {
    auto at = reinterpret_cast<uintptr_t>(storage.data());
    data = storage.data() + (64 - at % 64) % 64;
  }
  float f32(int64_t i) const { return reinterpret_cast<const float *>(data)[i]; }
  uint16_t bf16(int64_t i) const { return reinterpret_cast<const uint16_t *>(data)[i]; }
};

std::vector<float> randomFloats(int64_t count, unsigned seed) {
  std::mt19937 engine(seed);
  std::normal_distribution<float> normal;
  std::vector<float> values(static_cast<size_t>(count));
  for (float &value : values)
    value = normal(engine);
  return values;
}

ThreadPool &pool() {
  static ThreadPool pool([] {
    ThreadPoolOptions options;
    options.threads = 3;
    return options;
  }());
  return pool;
}

Prepared describe(PrepareKind kind, Width rows, Width columns, DType dtype = DType::F32,
                  std::vector<std::string> sources = {"w"}) {
  Prepared prepared;
  prepared.name = "w";
  prepared.kind = kind;
  prepared.dtype = dtype;
  prepared.rows = rows;
  prepared.columns = columns;
  prepared.sources = std::move(sources);
  return prepared;
}

Buffer mustPrepare(const Prepared &prepared, WeightSource &source) {
  Buffer buffer(formats::preparedBytes(prepared));
  Status status = prepare(prepared, source, pool(), buffer.data);
  EXPECT_TRUE(status.isOk()) << status.message();
  return buffer;
}

/// The logical index of padded index i, or -1 in the padding.
int64_t logical(const Width &width, int64_t i) {
  int64_t group = i / width.paddedInner(), inner = i % width.paddedInner();
  return inner < width.inner ? group * width.inner + inner : -1;
}

const Width kWidths[] = {{1, 1}, {1, 20}, {1, 32}, {1, 48}, {3, 20}, {3, 33}, {2, 64}, {1, 200}};

TEST(Prepare, Vector) {
  for (const Width &width : kWidths) {
    std::vector<float> w = randomFloats(width.logical(), 1);
    MemoryWeights source;
    source.add("w", {width.logical()}, w.data());
    Buffer out = mustPrepare(describe(PrepareKind::Vector, {}, width), source);
    for (int64_t i = 0; i < width.padded(); ++i) {
      int64_t from = logical(width, i);
      ASSERT_EQ(out.f32(i), from < 0 ? 0.0f : w[from]);
    }
  }
}

TEST(Prepare, Table) {
  for (DType dtype : {DType::F32, DType::BF16})
    for (const Width &rows : kWidths)
      for (const Width &width : kWidths) {
        std::vector<float> w = randomFloats(rows.logical() * width.logical(), 2);
        MemoryWeights source;
        source.add("w", {rows.logical(), width.logical()}, w.data());
        Buffer out = mustPrepare(describe(PrepareKind::Table, rows, width, dtype), source);
        for (int64_t r = 0; r < rows.padded(); ++r)
          for (int64_t i = 0; i < width.padded(); ++i) {
            int64_t row = logical(rows, r), c = logical(width, i);
            float expected = row < 0 || c < 0 ? 0.0f : w[row * width.logical() + c];
            int64_t at = r * width.padded() + i;
            if (dtype == DType::F32)
              ASSERT_EQ(out.f32(at), expected);
            else
              ASSERT_EQ(out.bf16(at), slowBf16(expected));
          }
      }
}

TEST(Prepare, Panels) {
  for (const Width &rows : kWidths)
    for (const Width &columns : kWidths) {
      std::vector<float> w = randomFloats(rows.logical() * columns.logical(), 3);
      MemoryWeights source;
      source.add("w", {rows.logical(), columns.logical()}, w.data());
      Buffer f32 = mustPrepare(describe(PrepareKind::Panels, rows, columns), source);
      Buffer bf16 = mustPrepare(describe(PrepareKind::Panels, rows, columns, DType::BF16), source);
      for (int64_t n = 0; n < rows.padded(); ++n)
        for (int64_t k = 0; k < columns.padded(); ++k) {
          int64_t row = logical(rows, n), column = logical(columns, k);
          float expected = row < 0 || column < 0 ? 0.0f : w[row * columns.logical() + column];
          int64_t K = columns.padded();
          ASSERT_EQ(f32.f32((n / 32 * K + k) * 32 + n % 32), expected);
          ASSERT_EQ(bf16.bf16(((n / 32 * (K / 2) + k / 2) * 32 + n % 32) * 2 + k % 2),
                    slowBf16(expected));
        }
    }
}

// What a checkpoint may hold instead of f32.
TEST(Prepare, SourceTypes) {
  Width rows{1, 33}, columns{1, 20};
  int64_t count = rows.logical() * columns.logical();
  std::vector<float> exact(static_cast<size_t>(count));
  std::vector<uint16_t> bf16, f16;
  std::vector<double> f64;
  for (int64_t i = 0; i < count; ++i) {
    exact[i] = static_cast<float>(i % 97 - 48) / 8; // exact in all types
    bf16.push_back(slowBf16(exact[i]));
    f64.push_back(exact[i]);
    int exponent = 0;
    float fraction = std::frexp(std::fabs(exact[i]), &exponent);
    f16.push_back(static_cast<uint16_t>(exact[i] == 0
                                            ? 0
                                            : (exact[i] < 0 ? 0x8000 : 0) | (exponent + 14) << 10 |
                                                  static_cast<int>((fraction * 2 - 1) * 1024)));
  }
  MemoryWeights plain;
  plain.add("w", {33, 20}, exact.data());
  for (DType dtype : {DType::F32, DType::BF16}) {
    Prepared prepared = describe(PrepareKind::Panels, rows, columns, dtype);
    Buffer expected = mustPrepare(prepared, plain);
    auto check = [&](TensorType type, const void *data, int64_t size) {
      // One byte off: safetensors promises no alignment.
      std::vector<uint8_t> bytes(static_cast<size_t>(count * size + 1));
      std::memcpy(bytes.data() + 1, data, static_cast<size_t>(count * size));
      formats::Tensor tensor;
      tensor.name = "w";
      tensor.type = type;
      tensor.shape = {33, 20};
      tensor.data = bytes.data() + 1;
      tensor.bytes = static_cast<uint64_t>(count * size);
      MemoryWeights source;
      source.add(tensor);
      Buffer out = mustPrepare(prepared, source);
      EXPECT_EQ(std::memcmp(out.data, expected.data,
                            static_cast<size_t>(formats::preparedBytes(prepared))),
                0)
          << formats::nameOf(type);
    };
    check(TensorType::F32, exact.data(), 4);
    check(TensorType::BF16, bf16.data(), 2);
    check(TensorType::F16, f16.data(), 2);
    check(TensorType::F64, f64.data(), 8);
  }
}

TEST(Prepare, Bf16RoundsToNearestEvenAndKeepsNaN) {
  std::vector<float> values = {1.0f,    1.00390625f, 1.01171875f, 1.00390637f, -1.00390625f,
                               3.4e38f, INFINITY,    -INFINITY,   NAN,         -0.0f};
  MemoryWeights source;
  int64_t count = static_cast<int64_t>(values.size());
  source.add("w", {1, count}, values.data());
  Buffer out = mustPrepare(describe(PrepareKind::Table, {1, 1}, {1, count}, DType::BF16), source);
  for (int64_t i = 0; i < count; ++i) {
    if (std::isnan(values[i]))
      EXPECT_TRUE(std::isnan(wide(out.bf16(i))));
    else
      EXPECT_EQ(out.bf16(i), slowBf16(values[i])) << values[i];
  }
  EXPECT_EQ(wide(out.bf16(1)), 1.0f);      // a tie goes to the even neighbour below
  EXPECT_EQ(wide(out.bf16(2)), 1.015625f); // and above
}

TEST(Prepare, CemaCoefficients) {
  for (int64_t D : {1, 20, 48, 64})
    for (int64_t N : {1, 5, 8, 16}) {
      std::vector<float> alpha = randomFloats(D * N, 4), delta = randomFloats(D * N, 5),
                         theta = randomFloats(D, 6), gamma = randomFloats(D * N * 2, 7);
      alpha[0] = 40, delta[0] = 40; // p s rounds to 1: q = 0
      MemoryWeights source;
      source.add("alpha", {D, N, 1}, alpha.data());
      source.add("delta", {D, N, 1}, delta.data());
      source.add("theta", {D, 1, 1}, theta.data());
      source.add("gamma", {D, N, 2}, gamma.data());
      Buffer out = mustPrepare(describe(PrepareKind::CemaCoefficients, {1, N}, {1, D}, DType::F32,
                                        {"alpha", "delta", "theta", "gamma"}),
                               source);
      auto sigma = [](double x) { return 1 / (1 + std::exp(-x)); };
      int64_t padded = (D + 31) / 32 * 32;
      for (int64_t d = 0; d < padded; ++d)
        for (int64_t n = 0; n < N; ++n) {
          double expected[5] = {};
          if (d < D) {
            double p = sigma(alpha[d * N + n]);
            std::complex<double> q =
                (1 - p * sigma(delta[d * N + n])) *
                std::exp(std::complex<double>(0, (n + 1) * sigma(theta[d]) * 2 * std::numbers::pi /
                                                     static_cast<double>(N)));
            double values[5] = {p, q.real(), q.imag(), gamma[(d * N + n) * 2] / std::sqrt(N),
                                gamma[(d * N + n) * 2 + 1] / std::sqrt(N)};
            std::copy(values, values + 5, expected);
          }
          for (int c = 0; c < 5; ++c) {
            float actual = out.f32(((d / 32 * N + n) * 5 + c) * 32 + d % 32);
            ASSERT_NEAR(actual, expected[c], 6e-8 * (1 + std::fabs(expected[c])));
          }
        }
      EXPECT_EQ(out.f32(32), 0.0f);
    }
}

TEST(Prepare, Lanes) {
  for (int64_t D : {1, 20, 32, 48, 80})
    for (int64_t N : {1, 5, 8}) {
      std::vector<float> w = randomFloats(D * N, 9);
      MemoryWeights source;
      source.add("w", {D, N}, w.data());
      Prepared prepared = describe(PrepareKind::Lanes, {1, N}, {1, D});
      Buffer out = mustPrepare(prepared, source);
      int64_t i = 0;
      for (int64_t block = 0; block < (D + 31) / 32; ++block)
        for (int64_t n = 0; n < N; ++n)
          for (int64_t lane = 0; lane < 32; ++lane, ++i) {
            int64_t d = block * 32 + lane;
            ASSERT_EQ(out.f32(i), d < D ? w[d * N + n] : 0.0f);
          }
      EXPECT_EQ(i * 4, formats::preparedBytes(prepared));
    }
}

TEST(Prepare, RopeTable) {
  for (int64_t dz : {2, 20, 48, 64})
    for (int64_t C : {1, 7, 100}) {
      Prepared prepared = describe(PrepareKind::RopeTable, {1, C}, {1, dz}, DType::F32, {});
      prepared.parameter = 10000;
      MemoryWeights source;
      Buffer out = mustPrepare(prepared, source);
      std::vector<float> freqs;
      for (int64_t j = 0; j < dz / 2; ++j)
        freqs.push_back(1.0f / static_cast<float>(std::pow(10000.0, 2.0 * j / dz)));
      int64_t padded = (dz + 31) / 32 * 32;
      for (int64_t pos = 0; pos < C; ++pos)
        for (int64_t i = 0; i < padded; ++i) {
          double angle = i < dz ? static_cast<double>(pos) * freqs[i / 2] : 0;
          float cosine = i < dz ? static_cast<float>(std::cos(angle)) : 0;
          float sine = static_cast<float>(i % 2 ? std::sin(angle) : -std::sin(angle));
          ASSERT_EQ(out.f32((pos * 2) * padded + i), cosine);
          ASSERT_EQ(out.f32((pos * 2 + 1) * padded + i), sine);
        }
      // Given frequencies win over the base.
      for (float &f : freqs)
        f *= 2;
      source.add("freqs", {dz / 2}, freqs.data());
      prepared.sources = {"freqs"};
      Buffer given = mustPrepare(prepared, source);
      if (C > 1)
        EXPECT_EQ(given.f32(2 * padded), static_cast<float>(std::cos(2.0)));
    }
}

TEST(Prepare, NamesWhatIsWrong) {
  MemoryWeights source;
  std::vector<float> w(12);
  source.add("w", {3, 4}, w.data());
  formats::Tensor integers;
  integers.name = "i";
  integers.type = TensorType::I32;
  integers.shape = {3, 4};
  integers.data = reinterpret_cast<const uint8_t *>(w.data());
  integers.bytes = 48;
  source.add(integers);
  Buffer out(1 << 16);
  auto failing = [&](Prepared prepared) {
    Status status = prepare(prepared, source, pool(), out.data);
    EXPECT_EQ(status.code(), Code::File);
    return status.message();
  };
  EXPECT_NE(
      failing(describe(PrepareKind::Panels, {1, 3}, {1, 4}, DType::F32, {"gone"})).find("'gone'"),
      std::string::npos);
  std::string shape = failing(describe(PrepareKind::Panels, {1, 3}, {1, 5}));
  EXPECT_NE(shape.find("[3, 4]"), std::string::npos) << shape;
  EXPECT_NE(shape.find("15"), std::string::npos) << shape;
  EXPECT_NE(failing(describe(PrepareKind::Panels, {1, 3}, {1, 4}, DType::F32, {"i"})).find("I32"),
            std::string::npos);
  failing(describe(PrepareKind::CemaCoefficients, {1, 3}, {1, 4}));
  EXPECT_NE(failing(describe(PrepareKind::Lanes, {1, 5}, {1, 3})).find("15"), std::string::npos);
}

TEST(Prepare, DoesNotDependOnThreads) {
  Width rows{1, 300}, columns{3, 50};
  std::vector<float> w = randomFloats(rows.logical() * columns.logical(), 8);
  for (size_t i = 0; i < w.size(); i += 3)
    w[i] *= 1e-41f; // denormals: flushed by all threads or by none
  MemoryWeights source;
  source.add("w", {300, 150}, w.data());
  Prepared prepared = describe(PrepareKind::Panels, rows, columns, DType::BF16);
  Buffer many = mustPrepare(prepared, source);
  ThreadPoolOptions options;
  options.threads = 1;
  ThreadPool one(options);
  Buffer alone(formats::preparedBytes(prepared));
  ASSERT_TRUE(prepare(prepared, source, one, alone.data).isOk());
  EXPECT_EQ(
      std::memcmp(many.data, alone.data, static_cast<size_t>(formats::preparedBytes(prepared))), 0);
}

// Printed, not asserted.
TEST(Prepare, ReportsItsSpeed) {
  Width rows{1, 2048}, columns{1, 2048};
  std::vector<float> w = randomFloats(rows.logical() * columns.logical(), 9);
  MemoryWeights source;
  source.add("w", {2048, 2048}, w.data());
  for (DType dtype : {DType::F32, DType::BF16}) {
    Prepared prepared = describe(PrepareKind::Panels, rows, columns, dtype);
    Buffer out = mustPrepare(prepared, source);
    auto before = std::chrono::steady_clock::now();
    for (int i = 0; i < 5; ++i)
      ASSERT_TRUE(prepare(prepared, source, pool(), out.data).isOk());
    std::chrono::duration<double> time = std::chrono::steady_clock::now() - before;
    std::printf("%s panels: %.2f GB/s of f32 source\n", dtype == DType::F32 ? "f32" : "bf16",
                5 * 2048.0 * 2048 * 4 / time.count() / 1e9);
  }
}

TEST(RandomWeights, AreThoseOfTheFile) {
  auto parsed = formats::ModelConfig::parse(
      R"({"model": {"num_layers": 2, "model_dim": 32, "num_heads": 2, "z_dim": 16, "value_dim": 64,
          "ffn_hidden_dim": 48, "cema_ndim": 8, "chunk_size": 8, "vocab_size": 128,
          "norm_num_groups": 4, "init_mode": "he", "swiglu": true}})",
      "test");
  ASSERT_TRUE(parsed.isOk()) << parsed.status().message();
  const formats::ModelConfig &config = *parsed;
  std::string folder = std::filesystem::temp_directory_path() / "otodus-random-weights";
  std::filesystem::remove_all(folder);
  ASSERT_TRUE(formats::writeRandomModel(folder, config, 7).isOk());
  auto file = openWeights(folder);
  ASSERT_TRUE(file.isOk());
  auto random = randomWeights(config, 7, pool());
  formats::RandomTensors tensors(config, 7);
  for (const formats::ExpectedTensor &tensor : tensors.tensors()) {
    auto a = (*file)->find(tensor.name), b = random->find(tensor.name);
    ASSERT_TRUE(a.isOk() && b.isOk()) << tensor.name;
    EXPECT_EQ(a->shape, b->shape);
    EXPECT_EQ(a->type, b->type);
    ASSERT_EQ(a->bytes, b->bytes);
    EXPECT_EQ(std::memcmp(a->data, b->data, a->bytes), 0) << tensor.name;
    random->release(tensor.name);
  }
  EXPECT_EQ(random->find("nothing").status().code(), Code::File);
  std::filesystem::remove_all(folder);
}

} // namespace

//===- BenchCeilings.cpp - What the machine could do at best -----------------===//

#include "BenchCeilings.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <fstream>

#include <sys/mman.h>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace otodus::driver {

namespace {

/// Bytes one call of a reading loop goes through.
constexpr size_t kBlock = size_t(4) << 20;
/// Results end here, so that no loop is thought useless.
std::atomic<uint64_t> sink{0};

double secondsSince(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

#if defined(__x86_64__)

//===----------------------------------------------------------------------===//
// Reading
//===----------------------------------------------------------------------===//

/// Reads `kBlock` bytes as `Streams` runs side by side. Which number is fastest differs
/// from machine to machine.
template <int Streams> __attribute__((target("avx512f"))) void read512(const std::byte *data) {
  constexpr size_t run = kBlock / Streams;
  __m512i sum[8];
  for (__m512i &s : sum)
    s = _mm512_setzero_si512();
  for (size_t i = 0; i < run; i += 512 / Streams)
#pragma clang loop unroll(full)
    for (int v = 0; v < 8; ++v) {
      const std::byte *at = data + size_t(v % Streams) * run + i + size_t(v / Streams) * 64;
      sum[v] = _mm512_xor_si512(sum[v], _mm512_load_si512(at));
    }
  for (int v = 1; v < 8; ++v)
    sum[0] = _mm512_xor_si512(sum[0], sum[v]);
  sink.fetch_add(uint64_t(_mm512_reduce_or_epi64(sum[0])), std::memory_order_relaxed);
}

template <int Streams> __attribute__((target("avx2"))) void read256(const std::byte *data) {
  constexpr size_t run = kBlock / Streams;
  __m256i sum[8];
  for (__m256i &s : sum)
    s = _mm256_setzero_si256();
  for (size_t i = 0; i < run; i += 256 / Streams)
#pragma clang loop unroll(full)
    for (int v = 0; v < 8; ++v) {
      const std::byte *at = data + size_t(v % Streams) * run + i + size_t(v / Streams) * 32;
      sum[v] = _mm256_xor_si256(sum[v], _mm256_load_si256(reinterpret_cast<const __m256i *>(at)));
    }
  for (int v = 1; v < 8; ++v)
    sum[0] = _mm256_xor_si256(sum[0], sum[v]);
  sink.fetch_add(uint64_t(_mm256_extract_epi64(sum[0], 0)), std::memory_order_relaxed);
}

//===----------------------------------------------------------------------===//
// Multiplying
//===----------------------------------------------------------------------===//

/// Rounds of one work item; about half a millisecond.
constexpr int64_t kRounds = 60000;

// More sums than latency times issue width, and few enough to stay in registers.
__attribute__((target("avx512f"))) double fma512() {
  constexpr int sums = 16;
  __m512 sum[sums], a = _mm512_set1_ps(0.99f), b = _mm512_set1_ps(0.5f);
  for (int v = 0; v < sums; ++v)
    sum[v] = _mm512_set1_ps(float(v));
  // The values are unknown to the optimiser, else it may shorten the loop.
  asm volatile("" : "+v"(a), "+v"(b));
  for (int64_t i = 0; i < kRounds; ++i) {
#pragma clang loop unroll(full)
    for (int v = 0; v < sums; ++v)
      sum[v] = _mm512_fmadd_ps(sum[v], a, b);
  }
  for (int v = 1; v < sums; ++v)
    sum[0] = _mm512_add_ps(sum[0], sum[v]);
  sink.fetch_add(uint64_t(_mm512_reduce_add_ps(sum[0])), std::memory_order_relaxed);
  return double(kRounds) * sums * 16 * 2;
}

__attribute__((target("avx2,fma"))) double fma256() {
  constexpr int sums = 12;
  __m256 sum[sums], a = _mm256_set1_ps(0.99f), b = _mm256_set1_ps(0.5f);
  for (int v = 0; v < sums; ++v)
    sum[v] = _mm256_set1_ps(float(v));
  asm volatile("" : "+x"(a), "+x"(b));
  for (int64_t i = 0; i < kRounds; ++i) {
#pragma clang loop unroll(full)
    for (int v = 0; v < sums; ++v)
      sum[v] = _mm256_fmadd_ps(sum[v], a, b);
  }
  for (int v = 1; v < sums; ++v)
    sum[0] = _mm256_add_ps(sum[0], sum[v]);
  sink.fetch_add(uint64_t(_mm256_cvtss_f32(sum[0])), std::memory_order_relaxed);
  return double(kRounds) * sums * 8 * 2;
}

__attribute__((target("avx512f,avx512bf16"))) double dot512() {
  constexpr int sums = 16;
  __m512i a = _mm512_set1_epi32(0x3c003c00), b = a; // pairs of 2^-7
  __m512 sum[sums];
  for (int v = 0; v < sums; ++v)
    sum[v] = _mm512_set1_ps(float(v));
  asm volatile("" : "+v"(a), "+v"(b));
  for (int64_t i = 0; i < kRounds; ++i) {
#pragma clang loop unroll(full)
    for (int v = 0; v < sums; ++v)
      sum[v] = _mm512_dpbf16_ps(sum[v], (__m512bh)a, (__m512bh)b);
  }
  for (int v = 1; v < sums; ++v)
    sum[0] = _mm512_add_ps(sum[0], sum[v]);
  sink.fetch_add(uint64_t(_mm512_reduce_add_ps(sum[0])), std::memory_order_relaxed);
  return double(kRounds) * sums * 16 * 4;
}

bool has(const char *what) {
  if (!std::strcmp(what, "avx512"))
    return __builtin_cpu_supports("avx512f");
  if (!std::strcmp(what, "bf16"))
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bf16");
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}

#else

template <int> void read512(const std::byte *) {}
template <int> void read256(const std::byte *) {}
double fma512() { return 0; }
double fma256() { return 0; }
double dot512() { return 0; }
bool has(const char *) { return false; }

#endif

} // namespace

size_t lastCacheBytes() {
  size_t largest = 0;
  for (int index = 0; index < 8; ++index) {
    std::ifstream file("/sys/devices/system/cpu/cpu0/cache/index" + std::to_string(index) +
                       "/size");
    size_t size = 0;
    char unit = 0;
    if (!(file >> size))
      break;
    file >> unit;
    largest = std::max(largest, size << (unit == 'K' ? 10 : unit == 'M' ? 20 : 0));
  }
  return largest;
}

Result<std::unique_ptr<CeilingMeter>>
CeilingMeter::create(std::shared_ptr<runtime::ThreadPool> pool, size_t bytes) {
  if (!has("avx2"))
    return Status(Code::Target, "the ceilings are measured with AVX2 and FMA, which this processor "
                                "lacks");
  std::unique_ptr<CeilingMeter> meter(new CeilingMeter);
  meter->pool_ = std::move(pool);
  meter->avx512_ = has("avx512");
  meter->bf16_ = has("bf16");
  if (bytes == 0)
    bytes = std::max(size_t(1) << 30, 4 * lastCacheBytes());
  bytes = (bytes + kBlock - 1) / kBlock * kBlock;
  void *data = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (data == MAP_FAILED)
    return Status(Code::Device, "cannot get " + std::to_string(bytes >> 20) +
                                    " MB to measure the read bandwidth with");
  // The runtime asks for huge pages for its weights too.
  madvise(data, bytes, MADV_HUGEPAGE);
  meter->data_ = static_cast<std::byte *>(data);
  meter->bytes_ = bytes;
  meter->pool_->run(int64_t(bytes / kBlock), [&](int64_t lo, int64_t hi) {
    uint64_t x = 0x9e3779b97f4a7c15u * uint64_t(lo + 1);
    for (std::byte *at = meter->data_ + size_t(lo) * kBlock;
         at != meter->data_ + size_t(hi) * kBlock; at += 8) {
      x ^= x << 13, x ^= x >> 7, x ^= x << 17;
      std::memcpy(at, &x, 8);
    }
  });
  return meter;
}

CeilingMeter::~CeilingMeter() {
  if (data_)
    munmap(data_, bytes_);
}

std::string CeilingMeter::vectors() const { return avx512_ ? "AVX-512" : "AVX2"; }

double CeilingMeter::readOnce(int streams) {
  void (*read)(const std::byte *) =
      avx512_ ? (streams == 1 ? read512<1> : read512<4>) : (streams == 1 ? read256<1> : read256<4>);
  auto start = std::chrono::steady_clock::now();
  pool_->run(int64_t(bytes_ / kBlock), [&](int64_t lo, int64_t hi) {
    for (int64_t block = lo; block < hi; ++block)
      read(data_ + size_t(block) * kBlock);
  });
  return double(bytes_) / secondsSince(start);
}

double CeilingMeter::flopsOnce(bool bf16) {
  double (*work)() = bf16 ? dot512 : avx512_ ? fma512 : fma256;
  int64_t items = int64_t(pool_->threads()) * 64;
  std::atomic<int64_t> flops{0};
  auto start = std::chrono::steady_clock::now();
  pool_->run(items, [&](int64_t lo, int64_t hi) {
    for (int64_t item = lo; item < hi; ++item)
      flops.fetch_add(int64_t(work()), std::memory_order_relaxed);
  });
  return double(flops.load()) / secondsSince(start);
}

Ceilings CeilingMeter::measure() {
  Ceilings ceilings;
  ceilings.readBytes = std::max(readOnce(1), readOnce(4));
  ceilings.fmaFlops = flopsOnce(false);
  if (bf16_)
    ceilings.bf16Flops = flopsOnce(true);
  return ceilings;
}

} // namespace otodus::driver

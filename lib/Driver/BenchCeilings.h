//===- BenchCeilings.h - What the machine could do at best -------------------===//
//
// Loops that do nothing but read, multiply or multiply bf16 pairs, vectorised by
// construction. A share of a ceiling means something only if both were measured in
// the same run with the same threads.
//
//===----------------------------------------------------------------------===//

#pragma once

#include "otodus/Formats/Status.h"
#include "otodus/Runtime/ThreadPool.h"

#include <cstddef>
#include <memory>
#include <string>

namespace otodus::driver {

/// One measurement of each, in units per second; 0 where the processor cannot do it.
struct Ceilings {
  double readBytes = 0; ///< plain read of memory well past the caches
  double fmaFlops = 0;  ///< f32 multiply-adds between registers, 2 FLOP each
  double bf16Flops = 0; ///< vdpbf16ps between registers, 4 FLOP for each f32 lane
};

class CeilingMeter {
public:
  /// `bytes`: of the memory to read; 0 means 1 GiB or four times the last cache, whichever
  /// is more. Code::Device if there is not enough memory, Code::Target on a processor
  /// without AVX2 and FMA.
  static Result<std::unique_ptr<CeilingMeter>> create(std::shared_ptr<runtime::ThreadPool> pool,
                                                      size_t bytes = 0);
  ~CeilingMeter();
  CeilingMeter(const CeilingMeter &) = delete;
  CeilingMeter &operator=(const CeilingMeter &) = delete;

  /// Takes some tenths of a second.
  Ceilings measure();

  size_t bytes() const { return bytes_; }
  /// "AVX-512" or "AVX2": the vectors of the loops.
  std::string vectors() const;

private:
  CeilingMeter() = default;
  double readOnce(int streams);
  double flopsOnce(bool bf16);

  std::shared_ptr<runtime::ThreadPool> pool_;
  std::byte *data_ = nullptr;
  size_t bytes_ = 0;
  bool avx512_ = false, bf16_ = false;
};

/// Bytes of the largest cache, 0 if the system does not say.
size_t lastCacheBytes();

} // namespace otodus::driver

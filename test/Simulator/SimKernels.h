//===- SimKernels.h - The kernels of a file, ready for the simulator -------===//
//
// For tests: compiles a module of the NVVM stage for the simulator and runs its kernels on buffers
// of the test.
//
//===----------------------------------------------------------------------===//

#pragma once

#include "otodus/ABI/SimLibrary.h"

#include <cstring>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace otodus::sim::test {

/// The compiled kernels of one file below the folder of this header. The test fails if it does not
/// compile.
class Kernels {
public:
  explicit Kernels(const std::string &file);
  ~Kernels();
  OtodusSimKernel operator[](const std::string &name) const;

private:
  std::map<std::string, OtodusSimKernel> kernels_;
  void *blob_ = nullptr;
  size_t bytes_ = 0;
};

/// A launch of one block (or one cluster) with full checks.
class Launch {
public:
  explicit Launch(OtodusSimKernel kernel, uint32_t threads = 128, uint32_t sharedBytes = 65536);
  ~Launch();
  Launch(const Launch &) = delete;

  /// Parameters in order. Buffers must stay where they are until run() returns.
  template <typename T>
  Launch &buffer(std::vector<T> &data, const char *name, bool written = true) {
    return memory(data.data(), data.size() * sizeof(T), name, written, true);
  }
  /// Memory that a tensor map refers to.
  template <typename T>
  Launch &hidden(std::vector<T> &data, const char *name, bool written = true) {
    return memory(data.data(), data.size() * sizeof(T), name, written, false);
  }
  template <typename T> Launch &value(T value) {
    values_.emplace_back(sizeof(T));
    std::memcpy(values_.back().data(), &value, sizeof(T));
    return *this;
  }
  Launch &map(const OtodusSimTensorMap &map);
  Launch &cluster(uint32_t blocks);
  Launch &grid(uint32_t blocks);
  Launch &async(OtodusSimAsync when);

  OtodusSimStatus run();
  /// All reports of the run, a line each.
  std::string reports() const { return reports_; }

private:
  Launch &memory(void *data, size_t bytes, const char *name, bool written, bool isParameter);

  OtodusSimLaunch launch_ = {};
  OtodusSimOptions options_ = {};
  struct Range {
    void *data;
    size_t bytes;
    std::string name;
    bool written;
  };
  std::vector<Range> ranges_;
  std::vector<std::vector<uint8_t>> values_; ///< bytes of each parameter
  struct alignas(64) Map {
    OtodusSimTensorMap map;
  };
  std::vector<std::unique_ptr<Map>> maps_;
  std::vector<int> mapOf_; ///< per parameter: its map, or -1
  std::string reports_;
};

/// A tensor map of a dense tensor, dimension 0 first; `pitch` is the distance of rows in bytes, 0:
/// dense. The test fails if the encoder refuses.
OtodusSimTensorMap encode(OtodusSimType type, void *base, std::vector<uint64_t> size,
                          std::vector<uint32_t> box, uint32_t swizzle, uint64_t pitch = 0,
                          bool fillNaN = false);

inline uint16_t bf16(float value) { // exact for the small integers and quarters of the tests
  uint32_t bits;
  std::memcpy(&bits, &value, 4);
  return static_cast<uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}
inline float fromBf16(uint16_t value) {
  uint32_t bits = static_cast<uint32_t>(value) << 16;
  float result;
  std::memcpy(&result, &bits, 4);
  return result;
}

} // namespace otodus::sim::test

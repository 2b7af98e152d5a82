//===- BenchChild.h - Measurements in processes of their own -----------------===//
//
// Peak memory and start-up are those of a fresh process. And the thread pools of two
// libraries in one process starve each other, so OpenBLAS runs in a second process that
// takes turns with this one.
//
//===----------------------------------------------------------------------===//

#pragma once

#include "otodus/Formats/Status.h"

#include <cstdint>
#include <cstdio>
#include <string>
#include <utility>
#include <vector>

#include <sys/types.h>

namespace otodus::driver {

/// A process whose stdin and stdout are ours; killed and waited for at the end.
class ChildProcess {
public:
  /// Runs this program with `arguments` (without its name); its environment is ours with
  /// `environment` on top, where "" removes. Code::Device if that fails.
  static Result<ChildProcess>
  start(const std::vector<std::string> &arguments,
        const std::vector<std::pair<std::string, std::string>> &environment = {});
  ChildProcess(ChildProcess &&other) noexcept;
  ChildProcess &operator=(ChildProcess &&other) noexcept;
  ~ChildProcess();

  Status write(const std::string &line);
  /// The next line without its end. If there is none the process has ended: its exit code
  /// without a message, since it has said why on stderr; Code::Device if it was killed.
  Result<std::string> readLine();

private:
  ChildProcess() = default;
  void swap(ChildProcess &other);
  pid_t pid_ = -1;
  std::FILE *in_ = nullptr, *out_ = nullptr;
};

/// One product that OpenBLAS is to do `calls` times a round: [m, k] x [n, k]^T, f32.
struct SgemmShape {
  int64_t m = 0, n = 0, k = 0, calls = 1;
};

/// OpenBLAS in a process of its own, at its best setting for this machine.
class SgemmProcess {
public:
  /// Code::Target if there is no OpenBLAS here.
  static Result<SgemmProcess> start(const std::vector<SgemmShape> &shapes, int threads);
  /// Seconds of each shape, all its calls together.
  Result<std::vector<double>> round();
  /// "SkylakeX": the kernels it chose.
  const std::string &core() const { return core_; }

private:
  explicit SgemmProcess(ChildProcess child) : child_(std::move(child)) {}
  ChildProcess child_;
  std::string core_;
};

/// What that process does: `bench --child=sgemm`.
Status serveSgemm(int threads);

} // namespace otodus::driver

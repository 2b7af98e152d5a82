//===- HostMarks.h - Times on the host's clock -----------------------------===//

#pragma once

#include <chrono>
#include <cstdint>
#include <vector>

namespace otodus::runtime {

/// Stream::mark and Stream::times of devices whose launches return when they are done.
class HostMarks {
public:
  void mark() { marks_.push_back(Clock::now()); }
  std::vector<int64_t> times() {
    std::vector<int64_t> result;
    for (size_t i = 1; i < marks_.size(); ++i)
      result.push_back(
          std::chrono::duration_cast<std::chrono::nanoseconds>(marks_[i] - marks_[i - 1]).count());
    marks_.clear();
    return result;
  }

private:
  using Clock = std::chrono::steady_clock;
  std::vector<Clock::time_point> marks_;
};

} // namespace otodus::runtime

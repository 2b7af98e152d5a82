//===- Text.cpp - Threads and blocks in messages ---------------------------===//

#include "Text.h"

#include <cstdio>

namespace otodus::sim {

std::string blockName(const LaunchState &launch, uint64_t linear) {
  const uint32_t *grid = launch.launch->grid;
  return "block (" + std::to_string(linear % grid[0]) + "," +
         std::to_string(linear / grid[0] % grid[1]) + "," +
         std::to_string(linear / grid[0] / grid[1]) + ")";
}

std::string who(const Thread &thread) {
  return "thread " + std::to_string(thread.index) + " of block (" +
         std::to_string(thread.ctaid[0]) + "," + std::to_string(thread.ctaid[1]) + "," +
         std::to_string(thread.ctaid[2]) + ")";
}

std::string agentName(const Team &team, uint32_t agent) {
  if (agent >= team.threads.size())
    return "an asynchronous operation";
  const Thread &thread = team.threads[agent];
  return team.blocks.size() > 1 ? who(thread) : "thread " + std::to_string(thread.index);
}

std::string hex(uint64_t value) {
  char text[32];
  snprintf(text, sizeof text, "0x%llx", static_cast<unsigned long long>(value));
  return text;
}

std::string ranges(const std::vector<uint32_t> &numbers) {
  std::string result;
  int parts = 0;
  for (size_t i = 0; i < numbers.size();) {
    size_t j = i;
    while (j + 1 < numbers.size() && numbers[j + 1] == numbers[j] + 1)
      ++j;
    if (++parts > 8)
      return result + " ...";
    result += (result.empty() ? "" : ", ") + std::to_string(numbers[i]);
    if (j > i)
      result += "-" + std::to_string(numbers[j]);
    i = j + 1;
  }
  return result;
}

} // namespace otodus::sim

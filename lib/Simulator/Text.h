//===- Text.h - Threads and blocks in messages -----------------------------===//

#pragma once

#include "Machine.h"

#include <string>

namespace otodus::sim {

/// "thread 37 of block (3,0,0)".
std::string who(const Thread &thread);
/// "thread 37", of another block with the block; "an asynchronous operation".
std::string agentName(const Team &team, uint32_t agent);
/// "block (3,0,0)" for a linear index.
std::string blockName(const LaunchState &launch, uint64_t linear);
/// "0x7f..".
std::string hex(uint64_t value);
/// "0-31, 64" of numbers in ascending order; long lists are cut.
std::string ranges(const std::vector<uint32_t> &numbers);

} // namespace otodus::sim

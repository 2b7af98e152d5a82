//===- ShadowStreams.cpp - Asynchronous operations and their proxy ---------===//
//
// The asynchronous proxy sees an ordinary write w of agent a if some agent x made a
// fence.proxy.async when it knew w (x may be a), and the issuing thread knows of that fence. So a
// history of fences per agent is enough; barriers need not carry a second clock.
//
//===----------------------------------------------------------------------===//

#include "Machine.h"
#include "Shadow.h"
#include "Text.h"

#include <algorithm>

namespace otodus::sim {

void Shadow::fork(uint32_t agent, uint32_t from) {
  if (enabled_)
    known_[agent] = release(from);
}

void Shadow::fenceProxy(uint32_t agent) {
  if (!enabled_)
    return;
  fences_.resize(agents_);
  fences_[agent].push_back({own_[agent], base_, known_[agent]});
  own_[agent] = ++now_;
}

bool Shadow::hasHeardOf(uint32_t agent, uint32_t other) const {
  return !enabled_ || base_ > teamStart_ || (known_[agent] && known_[agent].at(other));
}

bool Shadow::isProxyVisible(uint32_t agent, uint32_t writer, uint32_t clock) const {
  auto through = [&](uint32_t x) {
    const std::vector<ProxyFence> &history = fences_[x];
    for (auto fence = history.rbegin(); fence != history.rend(); ++fence) {
      if (x != agent && !knows(agent, x, fence->clock))
        continue;
      // The newest fence that the agent knows of saw the most.
      return x == writer ? clock <= fence->clock
                         : clock < fence->base ||
                               (fence->known && fence->known.at(writer) >= clock);
    }
    return false;
  };
  if (fences_.size() < agents_)
    return false;
  if (through(writer) || through(agent))
    return true;
  for (uint32_t x = 0; x < agents_; ++x)
    if (x != writer && x != agent && through(x))
      return true;
  return false;
}

void Shadow::checkProxy(Thread &thread, const OtodusSimSite &site, uint64_t address,
                        uint32_t bytes) {
  if (!enabled_)
    return;
  Block *block = team_->sharedOwner(address);
  if (!block || (address & (kSharedStride - 1)) + bytes > block->sharedBytes)
    return;
  const Cell *cells = shared_.data() + size_t(block->rank) * wordsPerBlock_;
  uint32_t lastWriter = ~0u, lastClock = 0;
  auto check = [&](const Cell &cell) {
    if (!cell.writeClock || cell.writeClock == kInFlight || cell.writer >= firstStream() ||
        (cell.writer == lastWriter && cell.writeClock == lastClock))
      return;
    lastWriter = cell.writer;
    lastClock = cell.writeClock;
    if (isProxyVisible(thread.agent, cell.writer, cell.writeClock))
      return;
    const OtodusSimSite &other = launch_->sites[cell.writeSite];
    if (team_->reports.repeated(FindingKind::ProxyFence, &site, &other))
      return;
    team_->report({FindingKind::ProxyFence, &site, &other,
                   describe(site) + " accesses shared memory through the asynchronous proxy (" +
                       who(thread) + "), which " + describe(other) + " wrote (" +
                       agentName(*team_, cell.writer) +
                       ") without a fence.proxy.async in between: the writer needs one before the "
                       "barrier"});
  };
  uint64_t offset = address & (kSharedStride - 1);
  for (uint64_t word = offset / 4; word * 4 < offset + bytes; ++word) {
    const Cell &cell = cells[word];
    if (!cell.isSplit) {
      check(cell);
      continue;
    }
    for (uint32_t byte = 0; byte < 4; ++byte)
      if (word * 4 + byte >= offset && word * 4 + byte < offset + bytes)
        check(splits_[0][4 * cell.index + byte]);
  }
}

} // namespace otodus::sim

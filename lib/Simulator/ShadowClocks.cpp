//===- ShadowClocks.cpp - Synchronisation between agents -------------------===//

#include "Machine.h"
#include "Shadow.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>

namespace otodus::sim {

ClockRef ClockRef::make(uint32_t agents) {
  ClockRef result;
  result.clock_ = static_cast<Clock *>(calloc(1, sizeof(Clock) + sizeof(uint32_t) * agents));
  if (result.clock_)
    result.clock_->references = 1;
  return result;
}

void ClockRef::drop() {
  if (clock_ && --clock_->references == 0)
    free(clock_);
  clock_ = nullptr;
}

ClockRef Shadow::join(const ClockRef &a, const ClockRef &b) {
  if (!a || a == b)
    return b;
  if (!b)
    return a;
  // Threads of a group that wait for the same mostly know the same.
  if (joined_[0] == a && joined_[1] == b)
    return joined_[2];
  ClockRef result = ClockRef::make(agents_);
  uint32_t *values = result.values();
  for (uint32_t i = 0; i < agents_; ++i)
    values[i] = std::max(a.at(i), b.at(i));
  joined_[0] = a;
  joined_[1] = b;
  return joined_[2] = result;
}

ClockRef Shadow::release(uint32_t agent) {
  if (!enabled_)
    return {};
  ClockRef result = ClockRef::make(agents_);
  uint32_t *values = result.values();
  if (known_[agent])
    memcpy(values, known_[agent].values(), agents_ * sizeof(uint32_t));
  values[agent] = own_[agent];
  // What it does from now on is not covered.
  own_[agent] = ++now_;
  return result;
}

void Shadow::acquire(uint32_t agent, const ClockRef &clock) {
  if (enabled_ && clock)
    known_[agent] = join(known_[agent], clock);
}

void Shadow::gather(ClockRef &sum, const ClockRef &clock) {
  if (!enabled_ || !clock)
    return;
  if (!sum)
    sum = ClockRef::make(agents_);
  uint32_t *values = sum.values();
  for (uint32_t i = 0; i < agents_; ++i)
    values[i] = std::max(values[i], clock.at(i));
}

ClockRef Shadow::gather(ClockRef &sum, ClockRef &last, uint32_t agent) {
  if (!enabled_)
    return {};
  if (!sum)
    sum = ClockRef::make(agents_);
  const ClockRef &known = known_[agent];
  if (known != last)
    gather(sum, known);
  last = known;
  uint32_t *values = sum.values();
  values[agent] = std::max(values[agent], own_[agent]);
  own_[agent] = ++now_;
  return known;
}

void Shadow::acquire(uint32_t agent, const ClockRef &clock, const ClockRef &part) {
  if (enabled_ && clock && known_[agent] == part)
    known_[agent] = clock;
  else
    acquire(agent, clock);
}

void Shadow::synchronise(Thread *const *threads, size_t count) {
  if (!enabled_ || !count)
    return;
  ClockRef all = ClockRef::make(agents_);
  uint32_t *values = all.values();
  const ClockRef *last = nullptr;
  for (size_t i = 0; i < count; ++i) {
    const ClockRef &known = known_[threads[i]->agent];
    if (!known || (last && known == *last))
      continue;
    for (uint32_t j = 0; j < agents_; ++j)
      values[j] = std::max(values[j], known.at(j));
    last = &known;
  }
  uint32_t next = ++now_;
  for (size_t i = 0; i < count; ++i) {
    uint32_t agent = threads[i]->agent;
    values[agent] = std::max(values[agent], own_[agent]);
  }
  for (size_t i = 0; i < count; ++i) {
    known_[threads[i]->agent] = all;
    own_[threads[i]->agent] = next;
  }
}

void Shadow::synchroniseTeam() {
  if (!enabled_)
    return;
  if (open) {
    std::vector<Thread *> all;
    for (Thread &thread : team_->threads)
      all.push_back(&thread);
    return synchronise(all.data(), all.size());
  }
  base_ = ++now_;
  for (uint32_t agent = 0; agent + 1 < agents_; ++agent) {
    own_[agent] = base_;
    known_[agent] = ClockRef();
  }
  // The asynchronous agent took part in nothing; its finished operations are older than base, its
  // unfinished ones are marked in the cells.
  own_[agents_ - 1] = base_;
  known_[agents_ - 1] = ClockRef();
  readers_.clear();
  freeSets_.clear();
}

void Shadow::acquireObject(uint32_t agent, uint64_t address) {
  if (!enabled_)
    return;
  auto found = objects_.find(address);
  if (found != objects_.end())
    acquire(agent, found->second);
}

void Shadow::fence(uint32_t agent) {
  if (!enabled_)
    return;
  acquire(agent, seen_[agent]);
  seen_[agent] = ClockRef();
  fenced_[agent] = release(agent);
}

void Shadow::relaxedLoad(uint32_t agent, uint64_t address) {
  if (!enabled_)
    return;
  auto found = objects_.find(address);
  if (found != objects_.end())
    seen_[agent] = join(seen_[agent], found->second);
}

void Shadow::relaxedStore(uint32_t agent, uint64_t address) {
  if (!enabled_ || !fenced_[agent])
    return;
  ClockRef &object = objects_[address];
  object = join(object, fenced_[agent]);
}

void Shadow::releaseObject(uint32_t agent, uint64_t address) {
  if (!enabled_)
    return;
  ClockRef mine = release(agent);
  ClockRef &object = objects_[address];
  object = join(object, mine);
}

} // namespace otodus::sim

//===- Rendezvous.cpp - Collectives of warps and barriers of blocks --------===//
//
// Whoever arrives last runs the collective for all and wakes the others. Their operands lie on
// their own stacks, so nothing is copied.
//
//===----------------------------------------------------------------------===//

#include "Handlers.h"
#include "Text.h"

namespace otodus::sim {

static std::string laneList(uint32_t mask) {
  std::vector<uint32_t> lanes;
  for (uint32_t lane = 0; lane < 32; ++lane)
    if (mask >> lane & 1)
      lanes.push_back(lane);
  return ranges(lanes);
}

//===----------------------------------------------------------------------===//
// Warps
//===----------------------------------------------------------------------===//

/// A lane came to `site` with `mask`, while `open` is under way with some of the same lanes.
[[noreturn, gnu::noinline, gnu::cold]] static void
divergent(Thread &thread, const OtodusSimSite &site, uint32_t mask, const WarpRendezvous &open) {
  {
    std::string text =
        describe(site) + ": thread " + std::to_string(thread.index) + " (lane " +
        std::to_string(thread.laneid) + ") of warp " + std::to_string(thread.warpid) +
        " takes part with lanes " + laneList(mask) + ", but lanes " + laneList(open.arrived) +
        " of this warp are at " + describe(*open.site) + " with lanes " + laneList(open.mask) +
        " (" + who(thread) + ")";
    thread.team->report({FindingKind::DivergentCollective, &site, open.site, std::move(text)});
  }
  thread.team->stopForFault();
}

void Team::collectWarp(Thread &thread, const OtodusSimSite &site, uint64_t *slots, void *result,
                       uint32_t mask, void (*run)(Collective &)) {
  Block &block = *thread.block;
  Warp &warp = block.warps[thread.warpid];
  thread.slots = slots;
  thread.result = result;
  uint32_t bit = 1u << thread.laneid;
  uint32_t lanes = block.threadCount - thread.warpid * 32;
  uint32_t present = lanes >= 32 ? ~0u : (1u << lanes) - 1;
  if (!(mask & bit)) [[unlikely]]
    fault(thread, site, FindingKind::DivergentCollective,
          "lane " + std::to_string(thread.laneid) + " takes part, but its mask names lanes " +
              laneList(mask));
  if (mask & ~present) [[unlikely]]
    fault(thread, site, FindingKind::DivergentCollective,
          "needs lanes " + laneList(mask) + ", but this warp has " + std::to_string(lanes));
  if (mask & warp.exited) [[unlikely]]
    fault(thread, site, FindingKind::EarlyExit,
          "needs lanes " + laneList(mask) + " of warp " + std::to_string(thread.warpid) +
              ", of which " + laneList(mask & warp.exited) + " have returned");

  WarpRendezvous *mine = nullptr, *free = nullptr;
  for (WarpRendezvous &open : warp.open) {
    if (!open.site) {
      free = free ? free : &open;
    } else if (open.mask & mask) {
      if (open.mask != mask || open.site != &site) [[unlikely]]
        divergent(thread, site, mask, open);
      mine = &open;
    }
  }
  if (!mine) {
    if (!free) [[unlikely]]
      fault(thread, site, FindingKind::Unsupported,
            "the simulator follows at most 4 collectives of a warp at the same time");
    mine = free;
    *mine = {&site, mask, 0};
  }
  mine->arrived |= bit;
  if (mine->arrived != mask)
    return wait(thread, site, "for the other lanes of its warp");

  mine->site = nullptr;
  Thread *first = thread.block->threads + thread.warpid * 32;
  Collective collective{*this, block, site, first, 32, mask};
  ++counters.collectives;
  run(collective);
  for (uint32_t rest = mask & ~bit; rest; rest &= rest - 1)
    wake(first[__builtin_ctz(rest)]);
}

void Team::collectGroup(Thread &thread, const OtodusSimSite &site, uint64_t *slots, void *result,
                        void (*run)(Collective &)) {
  Block &block = *thread.block;
  thread.slots = slots;
  thread.result = result;
  uint32_t group = thread.index / 128;
  if ((group + 1) * 128 > block.threadCount) [[unlikely]]
    fault(thread, site, FindingKind::DivergentCollective,
          "is executed by a warp group of 128 threads, but this one has " +
              std::to_string(block.threadCount - group * 128));
  GroupState &state = groups[block.rank * ((block.threadCount + 127) / 128) + group];
  if (state.arrived && state.site != &site) [[unlikely]] {
    {
      std::string text = describe(site) + ": thread " + std::to_string(thread.index) +
                         " arrives, but other threads of its warp group are at " +
                         describe(*state.site) + " (" + who(thread) + ")";
      report({FindingKind::DivergentCollective, &site, state.site, std::move(text)});
    }
    stop(TeamEnd::Fault);
  }
  for (uint32_t warp = group * 4; warp < group * 4 + 4; ++warp)
    if (block.warps[warp].exited) [[unlikely]]
      fault(thread, site, FindingKind::EarlyExit,
            "needs all threads of its warp group, but lanes " +
                laneList(block.warps[warp].exited) + " of warp " + std::to_string(warp) +
                " have returned");
  state.site = &site;
  if (++state.arrived < 128)
    return wait(thread, site, "for the other threads of its warp group");
  state.arrived = 0;
  Thread *first = block.threads + group * 128;
  Collective collective{*this, block, site, first, 128, ~0u};
  ++counters.collectives;
  run(collective);
  for (uint32_t i = 0; i < 128; ++i)
    if (&first[i] != &thread)
      wake(first[i]);
}

//===----------------------------------------------------------------------===//
// Blocks
//===----------------------------------------------------------------------===//

/// Lanes that warp `warp` of the block has.
static uint32_t presentLanes(const Block &block, uint32_t warp) {
  uint32_t lanes = block.threadCount - warp * 32;
  return lanes >= 32 ? ~0u : (1u << lanes) - 1;
}

/// Lets those go on who stand at the barrier in warps that have arrived as a whole, except `runs`,
/// which runs already. Others stay for the next time.
void Team::completeBarrier(Block &block, BarrierState &barrier, Thread *runs) {
  ++counters.barriers;
  std::vector<Thread *> &free = barrierThreads;
  free.clear();
  bool left = false;
  for (uint32_t warp = 0; warp < block.warps.size(); ++warp) {
    BarrierState::Arrivals &arrivals = barrier.warps[warp];
    if (!arrivals.lanes)
      continue;
    if (!barrier.full &&
        (arrivals.lanes | block.warps[warp].exited) != presentLanes(block, warp)) {
      left = true;
      continue;
    }
    if (!arrivals.announces)
      for (uint32_t lanes = arrivals.lanes; lanes; lanes &= lanes - 1)
        free.push_back(&block.threads[warp * 32 + uint32_t(__builtin_ctz(lanes))]);
    arrivals = {};
  }
  if (barrier.full && blocks.size() == 1 && !barrier.clock) {
    shadow.synchroniseTeam();
  } else {
    if (barrier.clock)
      for (Thread *thread : free)
        shadow.acquire(thread->agent, barrier.clock);
    shadow.synchronise(free.data(), free.size());
  }
  for (Thread *thread : free)
    if (thread != runs)
      wake(*thread);
  for (int i = 0; i < 3; ++i)
    barrier.lastReduced[i] = barrier.reduced[i];
  barrier.reduced[0] = barrier.reduced[2] = 0;
  barrier.reduced[1] = 1;
  barrier.clock = ClockRef();
  barrier.arrived = 0;
  if (!left)
    barrier.needed = 0;
}

/// Whether all who are needed have come. Hardware counts whole warps: a warp is here when all its
/// lanes are that have not returned.
bool Team::barrierIsComplete(const Block &block, const BarrierState &barrier) const {
  if (barrier.full)
    return barrier.arrived && barrier.arrived + block.exited == block.threadCount;
  uint32_t threads = 0;
  for (uint32_t warp = 0; warp < block.warps.size(); ++warp) {
    uint32_t lanes = barrier.warps[warp].lanes;
    if (lanes && (lanes | block.warps[warp].exited) == presentLanes(block, warp))
      threads += 32;
  }
  return threads == barrier.needed;
}

void Team::barrier(Thread &thread, const OtodusSimSite &site, uint32_t id, uint32_t count,
                   bool arriveOnly, uint32_t predicate) {
  Block &block = *thread.block;
  if (id >= 16) [[unlikely]]
    fault(thread, site, FindingKind::BarrierCount,
          "barrier " + std::to_string(id) + " does not exist: a block has barriers 0 to 15");
  if (count % 32 || count > block.threadCount) [[unlikely]]
    fault(thread, site, FindingKind::BarrierCount,
          "barrier " + std::to_string(id) + " is to count " + std::to_string(count) +
              " threads: it must be a multiple of 32 and at most the block's " +
              std::to_string(block.threadCount));
  BarrierState &barrier = block.barriers[id];
  uint32_t needed = count ? count : block.threadCount;
  if (barrier.needed == 0) {
    barrier.needed = needed;
    barrier.full = count == 0;
    barrier.warps.assign(block.warps.size(), {});
  } else if (barrier.needed != needed) [[unlikely]] {
    fault(thread, site, FindingKind::BarrierCount,
          "barrier " + std::to_string(id) + " is to count " + std::to_string(needed) +
              " threads here, but " + std::to_string(barrier.arrived) +
              " threads are at it with a count of " + std::to_string(barrier.needed));
  }
  BarrierState::Arrivals &mine = barrier.warps[thread.warpid];
  if (!mine.lanes) {
    mine.site = &site;
    mine.announces = arriveOnly;
  } else if (mine.site != &site) [[unlikely]] {
    {
      std::string text = describe(site) + ": thread " + std::to_string(thread.index) +
                         " arrives at barrier " + std::to_string(id) +
                         ", but other lanes of its warp " + std::to_string(thread.warpid) +
                         " are at " + describe(*mine.site) + " (" + who(thread) + ")";
      report({FindingKind::DivergentBarrier, &site, mine.site, std::move(text)});
    }
    stop(TeamEnd::Fault);
  } else if (mine.lanes >> thread.laneid & 1) [[unlikely]] {
    fault(thread, site, FindingKind::BarrierCount,
          "arrives at barrier " + std::to_string(id) +
              " a second time before those it counts have come");
  }
  mine.lanes |= 1u << thread.laneid;
  ++barrier.arrived;
  barrier.reduced[0] += predicate != 0;
  barrier.reduced[1] &= predicate != 0;
  barrier.reduced[2] |= predicate != 0;
  if (arriveOnly)
    barrier.clock = shadow.join(barrier.clock, shadow.release(thread.agent));
  if (barrierIsComplete(block, barrier)) {
    if (barrier.full && block.exited) [[unlikely]]
      reportExited(block, barrier);
    return completeBarrier(block, barrier, &thread);
  }
  if (!arriveOnly)
    wait(thread, site, "for the block's barrier");
}

void Team::reportExited(Block &block, BarrierState &barrier) {
  const OtodusSimSite *site = nullptr;
  for (const BarrierState::Arrivals &arrivals : barrier.warps)
    site = site ? site : arrivals.lanes ? arrivals.site : nullptr;
  if (!site || reports.repeated(FindingKind::EarlyExit, site, nullptr))
    return;
  std::vector<uint32_t> gone;
  for (uint32_t i = 0; i < block.threadCount; ++i)
    if (block.threads[i].state == ThreadState::Done)
      gone.push_back(i);
  report({FindingKind::EarlyExit, site, nullptr,
          describe(*site) + ": a barrier of all " + std::to_string(block.threadCount) +
              " threads, but threads " + ranges(gone) + " have returned (" +
              blockName(*launch, block.linear) + ")"});
}

/// Threads that have returned never arrive: a barrier of the whole block goes on without them, as
/// hardware does, but is reported.
void Team::checkExited(Block &block) {
  for (BarrierState &barrier : block.barriers) {
    if (!barrier.needed || !barrierIsComplete(block, barrier))
      continue;
    if (barrier.full)
      reportExited(block, barrier);
    completeBarrier(block, barrier, nullptr);
  }
}

} // namespace otodus::sim

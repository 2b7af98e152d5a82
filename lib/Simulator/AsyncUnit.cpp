//===- AsyncUnit.cpp - What works beside the threads of a team -------------===//

#include "AsyncUnit.h"
#include "Text.h"

namespace otodus::sim {

//===----------------------------------------------------------------------===//
// Life
//===----------------------------------------------------------------------===//

void Team::beginExtensions() {
  if (!asyncUnit)
    asyncUnit = std::make_shared<AsyncUnit>(*this);
  asyncUnit->begin();
}

void AsyncUnit::begin() {
  mbarriers.clear();
  bulk.clear();
  uint32_t threadCount = team.blocks.empty() ? 0 : team.blocks[0].threadCount;
  warpGroups.clear();
  warpGroups.resize(team.blocks.size() * (threadCount / 128));
  registers.assign(team.blocks.size() * ((threadCount + 31) / 32), 0);
  clusters.clear();
  fenced.assign(team.threads.size(), ClockRef());
  arrivals.assign(team.threads.size(), {});
  remote.clear();
  remote.resize(team.blocks.size());
  nextToken = 0;
  agents_.clear();
  streams_ = 0;
}

void AsyncUnit::threadEnded(Thread &thread) {
  if (thread.cluster_nctarank > 1 || !clusters.empty()) {
    ClusterBarrier &barrier = clusterOf(thread);
    ++barrier.exited;
    advanceCluster(thread, barrier);
  }
  Block &block = *thread.block;
  if (block.exited < block.threadCount)
    return;
  // Whoever accessed this block's memory must have told it that it is done.
  for (const auto &[agent, access] : remote[block.rank]) {
    bool known = false;
    for (uint32_t i = 0; i < block.threadCount && !known; ++i)
      known = team.shadow.isKnown(block.threads[i].agent, agent, access.clock);
    if (known || team.reports.repeated(FindingKind::Cluster, access.site, nullptr))
      continue;
    team.report({FindingKind::Cluster, access.site, nullptr,
                 describe(*access.site) + " accesses shared memory of " +
                     blockName(*team.launch, block.linear) + " (" + agentName(team, agent) +
                     "), which may have ended by then: let the cluster meet after the last access "
                     "(cluster.arrive and cluster.wait)"});
  }
}

void AsyncUnit::teamEnded() {
  auto finish = [&](BulkGroups::Group &group, uint32_t agent) {
    for (auto &copy : group.copies)
      copy->run(team);
    if (!group.count || group.wasRead ||
        team.reports.repeated(FindingKind::EarlyExit, group.site, nullptr))
      return;
    team.report({FindingKind::EarlyExit, group.site, nullptr,
                 describe(*group.site) + ": the block ended while the copy may still read its "
                                         "shared memory; wait with cp.async.bulk.wait_group (" +
                     agentName(team, agent) + ")"});
  };
  // In the order of threads, so that a run is reproducible.
  for (Thread &thread : team.threads) {
    auto found = bulk.find(thread.agent);
    if (found == bulk.end())
      continue;
    for (BulkGroups::Group &group : found->second.committed)
      finish(group, thread.agent);
    finish(found->second.current, thread.agent);
  }
}

//===----------------------------------------------------------------------===//
// Streams
//===----------------------------------------------------------------------===//

uint32_t AsyncUnit::newStream() {
  if (streams_ + 1 < team.shadow.streams())
    ++streams_;
  return streams_ ? streams_ : 0;
}

Thread &AsyncUnit::fork(uint32_t stream, Thread &thread) {
  while (agents_.size() <= stream)
    agents_.emplace_back();
  Thread &agent = agents_[stream];
  agent.block = thread.block;
  agent.team = thread.team;
  agent.index = thread.index;
  agent.agent = team.shadow.streamAgent(stream);
  for (int i = 0; i < 3; ++i)
    agent.ctaid[i] = thread.ctaid[i];
  team.shadow.fork(agent.agent, thread.agent);
  return agent;
}

ClockRef AsyncUnit::finish(uint32_t stream) {
  return team.shadow.release(team.shadow.streamAgent(stream));
}

//===----------------------------------------------------------------------===//
// Mbarriers
//===----------------------------------------------------------------------===//

static std::string sharedByte(uint64_t address) {
  return "shared byte " + std::to_string(address & (kSharedStride - 1));
}

Block &AsyncUnit::owner(Thread &thread, const OtodusSimSite &site, uint64_t address, bool own,
                        const char *what) {
  Block *block = team.sharedOwner(address);
  if (!block)
    team.fault(thread, site, FindingKind::OutOfBounds,
               std::string(what) + " at " + hex(address) + " is not in shared memory");
  if (block != thread.block) {
    if (own)
      team.fault(thread, site, FindingKind::Cluster,
                 std::string(what) +
                     " must be in the block's own shared memory, but is in that of " +
                     blockName(*team.launch, block->linear));
    remoteAccess(thread, site, *block);
  }
  return *block;
}

Mbarrier &AsyncUnit::mbarrier(Thread &thread, const OtodusSimSite &site, uint64_t address) {
  auto found = mbarriers.find(address);
  if (found == mbarriers.end())
    team.fault(thread, site, FindingKind::BarrierObject,
               "there is no mbarrier at " + sharedByte(address) + ": initialise it first");
  // A protocol of its own; against ordinary accesses, the initialisation among them, it is one.
  team.shadow.atomic(thread, site, address, 8);
  return found->second;
}

void AsyncUnit::requireFence(Thread &thread, const OtodusSimSite &site, const Mbarrier &barrier) {
  if (barrier.fenced || team.reports.repeated(FindingKind::ProxyFence, &site, nullptr))
    return;
  team.report({FindingKind::ProxyFence, &site, nullptr,
               describe(site) + " uses an mbarrier whose initialisation it may not see (" +
                   who(thread) + "): " + agentName(team, barrier.initialiser) +
                   " needs a fence.mbarrier.init or fence.proxy.async after mbarrier.init"});
}

void AsyncUnit::advance(Mbarrier &barrier) {
  if (barrier.pending || barrier.transactions)
    return;
  ++barrier.phase;
  barrier.pending = barrier.expected;
  barrier.completed = team.shadow.join(barrier.completed, barrier.arriving);
  barrier.arriving = ClockRef();
  std::vector<Mbarrier::Waiter> rest;
  for (const Mbarrier::Waiter &waiter : barrier.waiting)
    if (barrier.phase > waiter.phase) {
      // Now, and not when it runs: arrivals of later phases are not what it has waited for.
      team.shadow.acquire(waiter.thread->agent, barrier.completed);
      team.wake(*waiter.thread);
    } else {
      rest.push_back(waiter);
    }
  barrier.waiting = std::move(rest);
}

void AsyncUnit::arrive(Thread &thread, const OtodusSimSite &site, Mbarrier &barrier,
                       uint32_t count) {
  if (count == 0 || count > barrier.pending)
    team.fault(thread, site, FindingKind::BarrierObject,
               "arrives " + std::to_string(count) + " times at an mbarrier that waits for " +
                   std::to_string(barrier.pending) + " of " + std::to_string(barrier.expected) +
                   " arrivals in phase " + std::to_string(barrier.phase));
  barrier.pending -= count;
  advance(barrier);
}

void AsyncUnit::expect(Thread &thread, const OtodusSimSite &site, Mbarrier &barrier,
                       int64_t bytes) {
  barrier.transactions += bytes;
  if (barrier.transactions >= 1 << 20 || barrier.transactions <= -(1 << 20))
    team.fault(thread, site, FindingKind::BarrierObject,
               "brings the bytes an mbarrier waits for to " +
                   std::to_string(barrier.transactions) + "; it counts to 2^20 - 1");
}

void AsyncUnit::complete(const OtodusSimSite &site, uint64_t address, uint32_t bytes) {
  auto found = mbarriers.find(address);
  Block *block = team.sharedOwner(address);
  if (found == mbarriers.end() || block->exited == block->threadCount) {
    if (!team.reports.repeated(FindingKind::EarlyExit, &site, nullptr))
      team.report({FindingKind::EarlyExit, &site, nullptr,
                   describe(site) + ": " + blockName(*team.launch, block->linear) +
                       (found == mbarriers.end() ? " gave up the mbarrier"
                                                 : " ended") +
                       " before the copy arrived; wait for it first"});
    return;
  }
  Mbarrier &barrier = found->second;
  barrier.transactions -= bytes;
  --team.shadow.open;
  barrier.arriving = team.shadow.join(barrier.arriving, finish(barrier.stream));
  advance(barrier);
}

std::string AsyncUnit::missing(const Thread &thread) const {
  for (const auto &[address, barrier] : mbarriers)
    for (const Mbarrier::Waiter &waiter : barrier.waiting)
      if (waiter.thread == &thread)
        return " at " + sharedByte(address) + ", phase " + std::to_string(barrier.phase) +
               ", which lacks " + std::to_string(barrier.pending) + " of " +
               std::to_string(barrier.expected) + " arrivals and " +
               std::to_string(barrier.transactions) + " bytes";
  return {};
}

//===----------------------------------------------------------------------===//
// Clusters
//===----------------------------------------------------------------------===//

ClusterBarrier &AsyncUnit::clusterOf(const Thread &thread) {
  return clusters[thread.clusterid[0] +
                  uint64_t(thread.nclusterid[0]) *
                      (thread.clusterid[1] + uint64_t(thread.nclusterid[1]) * thread.clusterid[2])];
}

void AsyncUnit::advanceCluster(const Thread &thread, ClusterBarrier &barrier) {
  uint32_t all = thread.block->threadCount * thread.cluster_nctarank;
  if (barrier.arrived == 0 || barrier.arrived + barrier.exited < all)
    return;
  ++barrier.phase;
  barrier.arrived = 0;
  barrier.completed = team.shadow.join(barrier.completed, barrier.arriving);
  barrier.arriving = barrier.last = ClockRef();
  for (Thread *waiter : barrier.waiting)
    team.wake(*waiter);
  barrier.waiting.clear();
}

void AsyncUnit::arriveAtCluster(Thread &thread, const OtodusSimSite &site, bool relaxed) {
  ClusterBarrier &barrier = clusterOf(thread);
  ClusterArrival &arrival = arrivals[thread.agent];
  if (arrival.phase)
    team.fault(thread, site, FindingKind::Cluster,
               "arrives at the cluster's barrier again without a cluster.wait in between");
  arrival = {barrier.phase + 1, relaxed, ClockRef()};
  // A relaxed arrival after a fence still makes known what was done before the fence.
  if (relaxed)
    team.shadow.gather(barrier.arriving, fenced[thread.agent]);
  else
    arrival.known = team.shadow.gather(barrier.arriving, barrier.last, thread.agent);
  ++barrier.arrived;
  advanceCluster(thread, barrier);
}

void AsyncUnit::waitForCluster(Thread &thread, const OtodusSimSite &site) {
  ClusterBarrier &barrier = clusterOf(thread);
  ClusterArrival arrival = std::exchange(arrivals[thread.agent], {});
  if (!arrival.phase)
    team.fault(thread, site, FindingKind::Cluster,
               "waits at the cluster's barrier without a cluster.arrive before");
  if (barrier.phase < arrival.phase) {
    barrier.waiting.push_back(&thread);
    team.wait(thread, site, "for the cluster's other threads");
  }
  if (arrival.relaxed)
    team.shadow.acquire(thread.agent, barrier.completed);
  else
    team.shadow.acquire(thread.agent, barrier.completed, arrival.known);
}

void AsyncUnit::remoteAccess(Thread &thread, const OtodusSimSite &site, Block &block) {
  if (block.exited == block.threadCount)
    team.fault(thread, site, FindingKind::Cluster,
               "accesses shared memory of " + blockName(*team.launch, block.linear) +
                   ", which has ended: let the cluster meet after the last access (cluster.arrive "
                   "and cluster.wait)");
  if (!team.shadow.enabled() || thread.agent >= team.threads.size())
    return;
  auto [access, isFirst] = remote[block.rank].insert({thread.agent, {}});
  access->second = {team.shadow.clockOf(thread.agent), &site};
  if (!isFirst || clusterOf(thread).phase > 0) // all have arrived once, so all have started
    return;
  for (uint32_t i = 0; i < block.threadCount; ++i)
    if (team.shadow.hasHeardOf(thread.agent, block.threads[i].agent))
      return;
  if (!team.reports.repeated(FindingKind::Cluster, &site, nullptr))
    team.report({FindingKind::Cluster, &site, nullptr,
                 describe(site) + " accesses shared memory of " +
                     blockName(*team.launch, block.linear) +
                     ", which may not have started: let the cluster meet first (cluster.arrive and "
                     "cluster.wait; " + who(thread) + ")"});
}

} // namespace otodus::sim

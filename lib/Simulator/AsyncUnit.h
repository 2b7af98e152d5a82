//===- AsyncUnit.h - What works beside the threads of a team ---------------===//
//
// Objects of Hopper's asynchronous ops: mbarriers, groups of bulk copies, matrix products of warp
// groups, the barrier of a cluster. To the race detector each stream of asynchronous operations
// that one wait covers is an agent of its own: it starts knowing what the issuing thread knows, its
// accesses are unordered with everybody's, and the wait acquires what it has done. So memory counts
// as in use from the issue of an operation until somebody waits for it.
//
// The asynchronous proxy: what threads write with ordinary stores, an asynchronous operation sees
// only after a fence.proxy.async between the write and its issue (Shadow::checkProxy).
//
//===----------------------------------------------------------------------===//

#pragma once

#include "Machine.h"

#include <deque>
#include <string>
#include <unordered_map>

namespace otodus::sim {

/// An mbarrier in shared memory.
struct Mbarrier {
  uint32_t expected = 0;  ///< arrivals per phase
  uint32_t pending = 0;   ///< arrivals missing in this phase
  int64_t transactions = 0; ///< bytes announced and not arrived
  uint64_t phase = 0;     ///< completed phases
  uint32_t initialiser = 0; ///< agent
  bool fenced = false;    ///< asynchronous operations and the cluster see its initialisation
  ClockRef arriving;      ///< what those who arrived in this phase knew
  ClockRef completed;     ///< the same for all completed phases
  uint32_t stream = 0;    ///< number of the agent for copies that it counts
  struct Waiter {
    Thread *thread;
    uint64_t phase; ///< wake when `phase` of the barrier is more than this
  };
  std::vector<Waiter> waiting;
};

/// Bulk copies out of shared memory that one thread has issued.
struct BulkGroups {
  struct Group {
    std::vector<std::unique_ptr<AsyncOperation>> copies; ///< that have not run
    uint32_t count = 0;
    const OtodusSimSite *site = nullptr; ///< of the last copy
    ClockRef reads, writes;              ///< what the group has done, since its commit
    bool wasRead = false;                ///< a wait has covered its reading
  };
  uint32_t readStream = 0, writeStream = 0;
  Group current;
  std::deque<Group> committed; ///< oldest first
};

/// One matrix product that a warp group has issued.
struct Product {
  const OtodusSimSite *site;
  uint64_t a, b;              ///< descriptors; a is 0 with A in registers
  std::vector<uint32_t> registers; ///< [128][4], or empty
  bool scale, transposeA, transposeB, done;
  uint64_t group;             ///< number of the group that it was or will be committed with
};

/// An accumulator that products write. Threads hold a token in its place until a wait.
struct Accumulator {
  uint32_t token = 0;
  uint32_t columns = 0;
  std::vector<float> values; ///< [64][columns]
  std::vector<Product> products;
};

/// A warp group's products. Each warp commits, waits and reads by itself (PTX ISA: "a wgmma-group
/// per warp"), so that what one warp has waited for says nothing of the others.
struct WarpGroupState {
  uint32_t streams[4] = {0, 0, 0, 0}; ///< per warp; 0: none yet
  bool fenced = false;      ///< a wgmma.fence since registers could last change
  uint64_t committed = 0;   ///< groups
  uint32_t uncommitted = 0; ///< products
  struct Group {
    ClockRef clocks[4];
    uint32_t products;
  };
  std::deque<Group> groups; ///< committed and not covered, oldest first
  std::vector<Accumulator> accumulators;
};

/// The barrier of a cluster.
struct ClusterBarrier {
  uint64_t phase = 0;
  uint32_t arrived = 0, exited = 0;
  ClockRef arriving, completed;
  ClockRef last; ///< what the thread knew that arrived last
  std::vector<Thread *> waiting;
};

/// A thread's arrival at the barrier of its cluster.
struct ClusterArrival {
  uint64_t phase = 0;    ///< + 1; 0: none, or waited for
  bool relaxed = false;
  ClockRef known;        ///< what the thread knew, unless it is relaxed
};

/// The last access of another block's thread to a block's shared memory.
struct RemoteAccess {
  uint32_t clock;
  const OtodusSimSite *site;
};

class AsyncUnit {
public:
  explicit AsyncUnit(Team &team) : team(team) {}
  void begin();
  /// A thread has returned.
  void threadEnded(Thread &thread);
  /// All threads have returned.
  void teamEnded();

  /// A new stream; 0 stands for all that found no agent left (it is less precise).
  uint32_t newStream();
  /// The agent of a stream, now that `thread` issues an operation: it knows what the thread knows.
  Thread &fork(uint32_t stream, Thread &thread);
  /// Another block's shared memory is about to be accessed.
  void remoteAccess(Thread &thread, const OtodusSimSite &site, Block &owner);
  /// For the report of a deadlock: what the thread's mbarrier lacks, or nothing.
  std::string missing(const Thread &thread) const;

  /// What the stream's operations up to now amount to; those after it are not covered.
  ClockRef finish(uint32_t stream);

  /// The block whose shared memory holds `address`; a fault unless it is one, of the own block
  /// (`own`) or of one of the cluster that has not ended.
  Block &owner(Thread &thread, const OtodusSimSite &site, uint64_t address, bool own,
               const char *what);

  // Mbarriers.
  Mbarrier &mbarrier(Thread &thread, const OtodusSimSite &site, uint64_t address);
  /// A bulk copy may signal the barrier: visible to asynchronous operations.
  void requireFence(Thread &thread, const OtodusSimSite &site, const Mbarrier &barrier);
  void arrive(Thread &thread, const OtodusSimSite &site, Mbarrier &barrier, uint32_t count);
  void expect(Thread &thread, const OtodusSimSite &site, Mbarrier &barrier, int64_t bytes);
  /// Bytes of a copy have arrived at the barrier at `address`.
  void complete(const OtodusSimSite &site, uint64_t address, uint32_t bytes);
  void advance(Mbarrier &barrier);
  void arriveAtCluster(Thread &thread, const OtodusSimSite &site, bool relaxed);
  void waitForCluster(Thread &thread, const OtodusSimSite &site);

  Team &team;
  std::unordered_map<uint64_t, Mbarrier> mbarriers; ///< by address
  std::unordered_map<uint32_t, BulkGroups> bulk;    ///< by agent
  std::vector<WarpGroupState> warpGroups;           ///< of all blocks
  std::vector<uint32_t> registers; ///< per warp of the team: as setmaxnreg says, 0: as launched
  std::unordered_map<uint64_t, ClusterBarrier> clusters; ///< by linear number
  std::vector<ClockRef> fenced; ///< per thread: what it knew at its last fence.mbarrier.init
  std::vector<ClusterArrival> arrivals; ///< per thread
  std::vector<std::unordered_map<uint32_t, RemoteAccess>> remote; ///< per block, by agent
  uint32_t nextToken = 0;

private:
  ClusterBarrier &clusterOf(const Thread &thread);
  void advanceCluster(const Thread &thread, ClusterBarrier &barrier);

  std::deque<Thread> agents_; ///< stand-ins for the streams' agents
  uint32_t streams_ = 0;
};

} // namespace otodus::sim

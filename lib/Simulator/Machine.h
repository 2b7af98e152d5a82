//===- Machine.h - Threads, blocks and teams of the GPU simulator ----------===//
//
// A team is the set of blocks that run at the same time in one scheduler: one block, or the blocks
// of a cluster, or all blocks of a cooperative launch. Each of its threads is a fiber; a fiber runs
// until it must wait. One host thread runs one team at a time, so nothing here needs locks; what
// teams share (global memory, the list of reports) is in Memory.h and Reports.h.
//
// Handlers of ops (Handlers.h) see Thread and Collective. While they run on a fiber they may be
// left forever by Team::fault, so they must not hold resources across calls that can fault or
// suspend.
//
//===----------------------------------------------------------------------===//

#pragma once

#include "otodus/ABI/SimLibrary.h"

#include "AsyncCopy.h"
#include "Banks.h"
#include "Fiber.h"
#include "Reports.h"
#include "Shadow.h"

#include <memory>
#include <vector>

namespace otodus::sim {

struct Block;
class AsyncUnit;
class Team;
class GlobalMemory;

enum class ThreadState : uint8_t { Ready, Waiting, Done };

/// One simulated thread. The kernel reads the base part.
struct Thread : OtodusSimContext {
  Block *block = nullptr;
  Team *team = nullptr;
  uint32_t index = 0; ///< in its block
  uint32_t agent = 0; ///< in its team: who it is to the race detector
  ThreadState state = ThreadState::Ready;
  /// While waiting: the op, and what for ("barrier 1 (96 of 128 threads)" is made from it).
  const OtodusSimSite *waitSite = nullptr;
  const char *waitFor = "";
  uint64_t *slots = nullptr; ///< operands and result of the collective it is in
  void *result = nullptr;
  Fiber fiber;
  CopyGroups copies;
  uint32_t polls = 0;
};

/// A collective of a warp in the making.
struct WarpRendezvous {
  const OtodusSimSite *site = nullptr; ///< null: free
  uint32_t mask = 0, arrived = 0;
};

/// A warp: collectives with disjoint masks can be under way at the same time.
struct Warp {
  WarpRendezvous open[4];
  uint32_t exited = 0; ///< lanes that returned
};

/// A named barrier of a block.
struct BarrierState {
  /// What has come of one warp.
  struct Arrivals {
    const OtodusSimSite *site = nullptr;
    uint32_t lanes = 0;
    bool announces = false; ///< barrier.arrive: nobody waits
  };
  uint32_t needed = 0;  ///< threads, 0: nobody is here
  uint32_t arrived = 0; ///< threads since it last completed
  bool full = false;    ///< all threads of the block (no count given)
  uint32_t reduced[3] = {0, 1, 0};     ///< popc, and, or of those who arrived
  uint32_t lastReduced[3] = {0, 1, 0}; ///< of the last time it completed
  std::vector<Arrivals> warps;
  ClockRef clock; ///< what those who only arrived knew
};

struct Block {
  Team *team = nullptr;
  uint32_t rank = 0;  ///< in its team
  uint64_t linear = 0; ///< in the grid
  uint32_t ctaid[3] = {0, 0, 0};
  Thread *threads = nullptr; ///< [threadCount]
  uint32_t threadCount = 0, exited = 0;
  uint8_t *shared = nullptr; ///< below 4 GiB, at a multiple of kSharedStride
  uint32_t sharedBytes = 0;
  std::vector<Warp> warps;
  BarrierState barriers[16];
};

/// Distance between the shared memories of a team's blocks.
inline constexpr uint64_t kSharedStride = 1 << 18;

/// All lanes of a warp, or all threads of a warp group, at one op.
struct Collective {
  Team &team;
  Block &block;
  const OtodusSimSite &site;
  Thread *first;  ///< thread of lane 0
  uint32_t size;  ///< 32, or 128 for a warp group
  uint32_t mask;  ///< lanes that take part; all ones for a warp group

  bool has(uint32_t lane) const { return size > 32 || (mask >> lane & 1); }
  Thread &thread(uint32_t lane) const { return first[lane]; }
  uint64_t *slots(uint32_t lane) const { return first[lane].slots; }
  template <typename T> T &result(uint32_t lane) const {
    return *static_cast<T *>(first[lane].result);
  }
  /// Attribute `i` of the row's list.
  int64_t attribute(unsigned i) const { return site.attributes[i]; }
};

/// Something that happens without a thread: a bulk copy, a tensor-core operation. It runs once,
/// on some fiber's or the scheduler's stack, as early or late as the options say.
class AsyncOperation {
public:
  virtual ~AsyncOperation() = default;
  virtual void run(Team &team) = 0;
};

/// What launches have in common; does not change while one runs.
struct LaunchState {
  OtodusSimOptions options;
  const OtodusSimLaunch *launch = nullptr;
  const OtodusSimKernelInfo *info = nullptr;
  const OtodusSimSite *sites = nullptr;
  GlobalMemory *memory = nullptr;
  uint32_t teamBlocks = 1;   ///< blocks per team
  uint32_t threads = 0;      ///< per block
  uint32_t sharedBytes = 0;  ///< static + dynamic
  uint64_t teams = 0;
  double deadline = 0;       ///< steadySeconds() at which to stop, 0: never
};

/// Why a team ended.
enum class TeamEnd : uint8_t { Finished, Fault, Timeout };

class Team {
public:
  Team();
  ~Team();
  Team(const Team &) = delete;

  /// Makes room for the launch's teams; false if there is no memory (shared memory must lie below
  /// 4 GiB).
  bool reserve(const LaunchState &launch);

  /// Runs team number `number` of the launch to its end on the calling thread. `worker` is this
  /// host thread's number.
  TeamEnd run(const LaunchState &launch, uint64_t number, uint32_t worker);

  // For handlers.

  /// Suspends the running thread until somebody wakes it.
  void wait(Thread &thread, const OtodusSimSite &site, const char *what);
  void wake(Thread &thread);
  /// Lets others run; the thread stays ready.
  void yield(Thread &thread);
  /// Ends the running thread (nvvm.exit).
  [[noreturn]] void exit(Thread &thread);
  /// Reports and goes on.
  void report(const Finding &finding);
  /// Reports, stops the launch and does not return.
  [[noreturn]] void fault(const Finding &finding);
  /// "fault" with a text; names op, place, block and thread of `thread`.
  [[noreturn]] void fault(const Thread &thread, const OtodusSimSite &site, FindingKind kind,
                          std::string text);
  /// Stops the launch after a report that says why.
  [[noreturn]] void stopForFault() { stop(TeamEnd::Fault); }
  /// Runs the operation early, late, or in between, as the options say.
  void defer(std::unique_ptr<AsyncOperation> operation);
  /// A decision of a mixed or random run; always false when those are off.
  bool toss();

  /// Common code of collectives: returns when all lanes of `mask` have been at `site` and `run` has
  /// been called for them, once.
  void collectWarp(Thread &thread, const OtodusSimSite &site, uint64_t *slots, void *result,
                   uint32_t mask, void (*run)(Collective &));
  void collectGroup(Thread &thread, const OtodusSimSite &site, uint64_t *slots, void *result,
                    void (*run)(Collective &));

  /// Block barrier `id` with `count` threads, 0 for all. `predicate` takes part in reductions.
  void barrier(Thread &thread, const OtodusSimSite &site, uint32_t id, uint32_t count,
               bool arriveOnly, uint32_t predicate);

  /// The block whose shared memory holds `address`, or null.
  Block *sharedOwner(uint64_t address) {
    uint64_t offset = address - uint64_t(arena);
    return offset < blocks.size() * kSharedStride ? &blocks[offset / kSharedStride] : nullptr;
  }

  /// Whether `address` lies in the thread's own stack: its local memory.
  bool onStack(const Thread &thread, uint64_t address) const {
    return stacks.holds(thread.agent, address);
  }

  const LaunchState *launch = nullptr;
  std::vector<Block> blocks;
  std::vector<Thread> threads;  ///< of all blocks, block by block
  Shadow shadow;                ///< races, bounds and initialisation of all memory
  std::shared_ptr<AsyncUnit> asyncUnit; ///< mbarriers, bulk copies, wgmma, clusters; never null
  TeamReports reports;
  Banks banks;
  OtodusSimCounters counters = {};
  uint64_t random = 1;

private:
  friend struct TeamFiber;
  void enqueue(Thread &thread);
  [[noreturn]] void timedOut();
  std::string waiters() const;
  void beginExtensions(); ///< state of Hopper's ops, at the start of a team
  void start(const LaunchState &launch, uint64_t number, uint32_t worker);
  Thread *next();
  void suspend(Thread &thread);
  void threadDone(Thread &thread);
  void checkExited(Block &block);
  void reportExited(Block &block, BarrierState &barrier);
  void completeBarrier(Block &block, BarrierState &barrier, Thread *runs);
  bool barrierIsComplete(const Block &block, const BarrierState &barrier) const;
  bool progress();
  void reportDeadlock();
  [[noreturn]] void stop(TeamEnd end);
  void tick();

  uint8_t *arena = nullptr; ///< shared memory of all blocks
  uint64_t arenaBytes = 0;
  StackPool stacks;
  Fiber scheduler;
  Thread *current = nullptr;
  std::vector<uint32_t> ready; ///< ring (fifo) or stack of agents
  uint32_t readyHead = 0, readyCount = 0;
  std::vector<std::unique_ptr<AsyncOperation>> deferred;
  std::unique_ptr<AsyncOperation> running; ///< held here, since it may end in a fault
  uint32_t live = 0;
  std::vector<Thread *> barrierThreads; ///< of the barrier that completes; kept for its memory
  uint32_t ticks = 0;
  TeamEnd end = TeamEnd::Finished;

  struct GroupState {
    const OtodusSimSite *site = nullptr;
    uint32_t arrived = 0;
  };
  std::vector<GroupState> groups; ///< per warp group of the team
};

/// Seconds of a clock that never goes back.
double steadySeconds();

} // namespace otodus::sim

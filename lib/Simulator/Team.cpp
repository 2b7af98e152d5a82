//===- Team.cpp - The scheduler of a team ----------------------------------===//
//
// The running thread that must wait picks the next one and switches straight to it; the scheduler's
// own stack is used only to begin and to end. Ready threads stand in a ring (fifo) or on a stack
// (lifo); with random order any of them is next.
//
//===----------------------------------------------------------------------===//

#include "Machine.h"
#include "AsyncUnit.h"
#include "Handlers.h"
#include "Text.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <map>
#include <sys/mman.h>

namespace otodus::sim {

double steadySeconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

Team::Team() = default;

Team::~Team() {
  if (arena)
    munmap(arena, arenaBytes);
}

/// Memory below 2 GiB at a multiple of kSharedStride: its addresses fit shared memory's 32 bits, and
/// their low 18 bits are offsets in the block, as address arithmetic of kernels expects.
static uint8_t *mapLow(uint64_t bytes) {
#ifdef MAP_32BIT
  void *memory = mmap(nullptr, bytes + kSharedStride, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_32BIT, -1, 0);
  if (memory == MAP_FAILED)
    return nullptr;
  auto begin = uint64_t(memory);
  uint64_t aligned = (begin + kSharedStride - 1) / kSharedStride * kSharedStride;
  if (aligned > begin)
    munmap(memory, aligned - begin);
  uint64_t rest = begin + kSharedStride - aligned;
  if (rest)
    munmap(reinterpret_cast<void *>(aligned + bytes), rest);
  return reinterpret_cast<uint8_t *>(aligned);
#else
  for (uint64_t hint = 1ull << 30; hint < (1ull << 32) - bytes; hint += 1ull << 26) {
    void *memory = mmap(reinterpret_cast<void *>(hint), bytes, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (uint64_t(memory) == hint)
      return static_cast<uint8_t *>(memory);
    if (memory != MAP_FAILED)
      munmap(memory, bytes);
  }
  return nullptr;
#endif
}

bool Team::reserve(const LaunchState &state) {
  uint64_t bytes = state.teamBlocks * kSharedStride;
  if (arenaBytes < bytes) {
    if (arena)
      munmap(arena, arenaBytes);
    arena = mapLow(bytes);
    arenaBytes = arena ? bytes : 0;
  }
  return arena && stacks.reserve(state.teamBlocks * state.threads);
}

/// What a fiber runs: the kernel, once.
struct TeamFiber {
  // A kernel has no type information before its first instruction.
  [[clang::no_sanitize("function")]] static void enter(void *argument) {
    auto &thread = *static_cast<Thread *>(argument);
    thread.team->launch->launch->kernel(&thread, thread.team->launch->launch->params);
    thread.team->threadDone(thread);
    __builtin_unreachable();
  }
};

static void poll(OtodusSimContext *context) {
  auto &thread = *static_cast<Thread *>(context);
  // A loop that waits for another thread's store would otherwise never let it run.
  if (++thread.polls % 1024 == 0) [[unlikely]]
    thread.team->yield(thread);
}

static void uncheckedAccess(OtodusSimContext *, const OtodusSimSite *, uint64_t, uint32_t,
                            uint32_t) {}

void Team::start(const LaunchState &state, uint64_t number, uint32_t worker) {
  launch = &state;
  const OtodusSimLaunch &request = *state.launch;
  uint32_t count = state.threads, warps = (count + 31) / 32;
  blocks.resize(state.teamBlocks);
  threads.resize(size_t(state.teamBlocks) * count);
  random = state.options.seed * 0x9e3779b97f4a7c15ull + number * 0xbf58476d1ce4e5b9ull + 1;
  bool checks = state.options.checks != OTODUS_SIM_CHECK_NONE;
  bool clusters = request.cluster[0] * request.cluster[1] * request.cluster[2] > 1;
  uint32_t cluster[3] = {1, 1, 1};
  if (clusters)
    std::copy_n(request.cluster, 3, cluster);

  for (uint32_t rank = 0; rank < state.teamBlocks; ++rank) {
    Block &block = blocks[rank];
    block.team = this;
    block.rank = rank;
    block.threads = &threads[size_t(rank) * count];
    block.threadCount = count;
    block.exited = 0;
    block.shared = arena + rank * kSharedStride;
    block.sharedBytes = state.sharedBytes;
    memset(block.shared, 0xff, block.sharedBytes); // NaN, and no pointer
    block.warps.assign(warps, Warp());
    for (BarrierState &barrier : block.barriers) {
      barrier.needed = barrier.arrived = 0;
      barrier.warps.clear();
      barrier.reduced[0] = barrier.reduced[2] = 0;
      barrier.reduced[1] = 1;
      barrier.clock = ClockRef();
    }
    uint32_t clusterId[3] = {0, 0, 0}, inCluster[3] = {0, 0, 0}, clusterCount[3];
    for (int i = 0; i < 3; ++i)
      clusterCount[i] = request.grid[i] / cluster[i];
    if (clusters && !request.cooperative) {
      uint64_t rest = number;
      uint32_t within = rank;
      for (int i = 0; i < 3; ++i) {
        clusterId[i] = uint32_t(rest % clusterCount[i]);
        rest /= clusterCount[i];
        inCluster[i] = within % cluster[i];
        within /= cluster[i];
        block.ctaid[i] = clusterId[i] * cluster[i] + inCluster[i];
      }
      block.linear = block.ctaid[0] +
                     uint64_t(request.grid[0]) *
                         (block.ctaid[1] + uint64_t(request.grid[1]) * block.ctaid[2]);
    } else {
      block.linear = number * state.teamBlocks + rank;
      block.ctaid[0] = uint32_t(block.linear % request.grid[0]);
      block.ctaid[1] = uint32_t(block.linear / request.grid[0] % request.grid[1]);
      block.ctaid[2] = uint32_t(block.linear / request.grid[0] / request.grid[1]);
      for (int i = 0; i < 3; ++i) {
        clusterId[i] = block.ctaid[i] / cluster[i];
        inCluster[i] = block.ctaid[i] % cluster[i];
      }
    }
    uint32_t clusterRank =
        inCluster[0] + cluster[0] * (inCluster[1] + cluster[1] * inCluster[2]);
    for (uint32_t i = 0; i < count; ++i) {
      Thread &t = block.threads[i];
      t.handlers = kHandlers;
      t.load = checks ? checkedLoad : uncheckedAccess;
      t.store = checks ? checkedStore : uncheckedAccess;
      t.poll = poll;
      t.shared = uint64_t(block.shared);
      t.tid[0] = i % request.threads[0];
      t.tid[1] = i / request.threads[0] % request.threads[1];
      t.tid[2] = i / request.threads[0] / request.threads[1];
      for (int k = 0; k < 3; ++k) {
        t.ntid[k] = request.threads[k];
        t.ctaid[k] = block.ctaid[k];
        t.nctaid[k] = request.grid[k];
        t.clusterid[k] = clusterId[k];
        t.nclusterid[k] = clusterCount[k];
        t.cluster_ctaid[k] = inCluster[k];
        t.cluster_nctaid[k] = cluster[k];
      }
      t.laneid = i % 32;
      t.warpid = i / 32;
      t.nwarpid = warps;
      t.smid = worker;
      t.nsmid = std::max(1u, state.options.workers);
      t.gridid = 0;
      uint32_t bit = 1u << t.laneid;
      t.lanemask[0] = bit;
      t.lanemask[1] = bit - 1;
      t.lanemask[2] = bit | (bit - 1);
      t.lanemask[3] = ~(bit | (bit - 1));
      t.lanemask[4] = ~(bit - 1);
      t.cluster_ctarank = clusterRank;
      t.cluster_nctarank = cluster[0] * cluster[1] * cluster[2];
      t.dynamic_smem_size = request.sharedBytes;
      t.total_smem_size = state.sharedBytes;
      t.warpsize = 32;
      t.block = &block;
      t.team = this;
      t.index = i;
      t.agent = rank * count + i;
      t.state = ThreadState::Ready;
      t.waitSite = nullptr;
      t.copies.clear();
      t.polls = 0;
      t.fiber.prepare(stacks.top(t.agent), TeamFiber::enter, &t);
    }
  }
  groups.assign(state.teamBlocks * ((count + 127) / 128), GroupState());
  deferred.clear();
  live = uint32_t(threads.size());
  ready.resize(threads.size());
  for (uint32_t i = 0; i < live; ++i) // lifo takes from the end: the last thread comes first
    ready[i] = i;
  readyHead = 0;
  readyCount = live;
  end = TeamEnd::Finished;
  reports.clear();
  shadow.begin(*this, state, worker);
  banks.beginTeam(uint32_t(blocks.size()) * ((count + 31) / 32));
  beginExtensions();
}


TeamEnd Team::run(const LaunchState &state, uint64_t number, uint32_t worker) {
  start(state, number, worker);
  current = next();
  switchFiber(scheduler, current->fiber);
  banks.endTeam();
  counters.blocks += blocks.size();
  counters.threads += threads.size();
  return end;
}

bool Team::toss() {
  random ^= random << 13;
  random ^= random >> 7;
  random ^= random << 17;
  return random >> 20 & 1;
}

/// Takes a ready thread off the queue, or null.
Thread *Team::next() {
  if (!readyCount)
    return nullptr;
  --readyCount;
  uint32_t agent;
  switch (launch->options.order) {
  case OTODUS_SIM_LIFO:
    agent = ready[readyCount];
    break;
  case OTODUS_SIM_RANDOM: {
    toss();
    uint32_t at = uint32_t((random >> 16) % (readyCount + 1));
    agent = ready[at];
    ready[at] = ready[readyCount];
    break;
  }
  default:
    agent = ready[readyHead];
    readyHead = readyHead + 1 == ready.size() ? 0 : readyHead + 1;
  }
  return &threads[agent];
}

void Team::enqueue(Thread &thread) {
  thread.state = ThreadState::Ready;
  uint32_t at = readyCount++;
  if (launch->options.order == OTODUS_SIM_FIFO) {
    at += readyHead;
    if (at >= ready.size())
      at -= uint32_t(ready.size());
  }
  ready[at] = thread.agent;
}

void Team::wake(Thread &thread) {
  thread.waitSite = nullptr;
  enqueue(thread);
}

void Team::stop(TeamEnd why) {
  end = why;
  Fiber abandoned;
  switchFiber(abandoned, scheduler);
  __builtin_unreachable();
}

void Team::tick() {
  if (++ticks % 256 == 0 && launch->deadline > 0 && steadySeconds() > launch->deadline)
    timedOut();
}

void Team::timedOut() {
  report({FindingKind::Timeout, nullptr, nullptr,
          "the kernel had not ended when its time was up\n" + waiters()});
  stop(TeamEnd::Timeout);
}

/// Continues whoever is next; returns when `thread` is.
void Team::suspend(Thread &thread) {
  tick();
  Thread *to = next();
  while (!to) {
    if (!progress())
      reportDeadlock();
    to = next();
  }
  if (to == &thread)
    return;
  current = to;
  switchFiber(thread.fiber, to->fiber);
}

void Team::wait(Thread &thread, const OtodusSimSite &site, const char *what) {
  thread.state = ThreadState::Waiting;
  thread.waitSite = &site;
  thread.waitFor = what;
  suspend(thread);
}

void Team::yield(Thread &thread) {
  if (!readyCount) {
    // Nobody else can run: what it waits for may be an operation that is put off.
    tick();
    progress();
    if (!readyCount)
      return;
  }
  tick();
  Thread *to = next(); // before it stands in the queue again: lifo would choose it at once
  enqueue(thread);
  current = to;
  switchFiber(thread.fiber, to->fiber);
}

void Team::exit(Thread &thread) {
  threadDone(thread);
  __builtin_unreachable();
}

void Team::threadDone(Thread &thread) {
  thread.state = ThreadState::Done;
  handlers::finishCopies(thread);
  Block &block = *thread.block;
  ++block.exited;
  block.warps[thread.warpid].exited |= 1u << thread.laneid;
  checkExited(block);
  asyncUnit->threadEnded(thread);
  if (--live == 0) {
    while (progress()) {
    }
    asyncUnit->teamEnded();
    stop(TeamEnd::Finished);
  }
  suspend(thread);
}

//===----------------------------------------------------------------------===//
// Asynchronous operations
//===----------------------------------------------------------------------===//

void Team::defer(std::unique_ptr<AsyncOperation> operation) {
  switch (launch->options.async) {
  case OTODUS_SIM_EARLY:
    return operation->run(*this);
  case OTODUS_SIM_MIXED:
    if (toss())
      return operation->run(*this);
    break;
  default:
    break;
  }
  deferred.push_back(std::move(operation));
}

/// Runs something that was put off. False if there is nothing.
bool Team::progress() {
  if (deferred.empty())
    return false;
  size_t at = launch->options.async == OTODUS_SIM_MIXED && toss() ? deferred.size() - 1 : 0;
  running = std::move(deferred[at]);
  deferred.erase(deferred.begin() + ptrdiff_t(at));
  running->run(*this);
  running.reset();
  return true;
}

//===----------------------------------------------------------------------===//
// Reports
//===----------------------------------------------------------------------===//

void Team::report(const Finding &finding) { reports.add(finding); }

void Team::fault(const Finding &finding) {
  report(finding);
  stop(TeamEnd::Fault);
}

void Team::fault(const Thread &thread, const OtodusSimSite &site, FindingKind kind,
                 std::string text) {
  {
    Finding finding{kind, &site, nullptr, describe(site) + ": " + std::move(text) + " (" +
                                              who(thread) + ")"};
    report(finding);
  }
  stop(TeamEnd::Fault);
}

/// One line per op at which threads wait.
std::string Team::waiters() const {
  std::string result;
  for (const Block &block : blocks) {
    std::map<std::pair<uint32_t, std::string>, std::vector<uint32_t>> places;
    std::vector<uint32_t> done, running;
    for (uint32_t i = 0; i < block.threadCount; ++i) {
      const Thread &thread = block.threads[i];
      if (thread.state == ThreadState::Done)
        done.push_back(i);
      else if (thread.waitSite)
        places[{thread.waitSite->number, describe(*thread.waitSite) + ", " + thread.waitFor +
                                               asyncUnit->missing(thread)}]
            .push_back(i);
      else
        running.push_back(i);
    }
    if (done.size() == block.threadCount)
      continue;
    std::string where = blockName(*launch, block.linear);
    for (const auto &[place, numbers] : places)
      result += "  " + where + ": threads " + ranges(numbers) + " wait at " + place.second + "\n";
    if (!running.empty())
      result += "  " + where + ": threads " + ranges(running) + " run\n";
    if (!done.empty())
      result += "  " + where + ": threads " + ranges(done) + " have returned\n";
  }
  if (!result.empty())
    result.pop_back();
  return result;
}

void Team::reportDeadlock() {
  {
    const OtodusSimSite *site = nullptr;
    for (const Thread &thread : threads)
      if (thread.state == ThreadState::Waiting && !site)
        site = thread.waitSite;
    report({FindingKind::Deadlock, site, nullptr,
            "all threads that have not returned wait for each other\n" + waiters()});
  }
  stop(TeamEnd::Fault);
}

} // namespace otodus::sim

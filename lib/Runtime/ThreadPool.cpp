//===- ThreadPool.cpp - Threads that share out a kernel's work items -------===//
//
// One word says everything about the run in progress: bit 0 whether it still takes
// workers, bits 1..15 how many are inside, the rest its number. A worker enters by
// compare-and-swap; the caller closes the run when the items are gone and waits only
// for those inside. So a sleeping or preempted worker never delays a launch.
//
//===----------------------------------------------------------------------===//

#include "otodus/Runtime/ThreadPool.h"

#include <algorithm>
#include <chrono>
#include <climits>
#include <mutex>

#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace otodus::runtime {

namespace {

constexpr uint64_t kOpen = 1;
constexpr uint64_t kInside = 2;
constexpr uint64_t kInsideMask = 0xfffe;
constexpr uint64_t kNumber = 0x10000;
constexpr int kMaxThreads = 1024;

inline void pause() {
#if defined(__x86_64__)
  _mm_pause();
#endif
}

std::vector<int> allowedProcessors() {
  std::vector<int> result;
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof(set), &set) == 0)
    for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu)
      if (CPU_ISSET(cpu, &set))
        result.push_back(cpu);
  if (result.empty())
    result.push_back(0);
  return result;
}

} // namespace

FlushDenormals::FlushDenormals() : saved_(0) {
#if defined(__x86_64__)
  saved_ = _mm_getcsr();
  _mm_setcsr(saved_ | 0x8040); // FTZ | DAZ
#endif
}

FlushDenormals::~FlushDenormals() {
#if defined(__x86_64__)
  _mm_setcsr(saved_);
#endif
}

struct ThreadPool::Shared {
  alignas(64) std::atomic<uint64_t> state{0};
  alignas(64) std::atomic<int64_t> next{0};
  // Written before the run opens, read by those who entered it.
  alignas(64) Body body = nullptr;
  void *context = nullptr;
  int64_t items = 0;
  int64_t grain = 1;
  // Sleeping workers wait for `wake` to change.
  alignas(64) std::atomic<uint32_t> wake{0};
  std::atomic<int> sleepers{0};
  std::atomic<bool> stop{false};
  std::chrono::microseconds spin{50};
  std::mutex callers;

  void takeItems() {
    for (;;) {
      int64_t lo = next.fetch_add(grain, std::memory_order_relaxed);
      if (lo >= items)
        return;
      body(context, lo, std::min(items, lo + grain));
    }
  }
};

ThreadPool::ThreadPool(const ThreadPoolOptions &options) : shared_(std::make_unique<Shared>()) {
  std::vector<int> processors = allowedProcessors();
  int threads = options.threads > 0 ? options.threads : static_cast<int>(processors.size());
  threads = std::min(threads, kMaxThreads);
  shared_->spin = std::chrono::microseconds(std::max(0, options.spinMicroseconds));
  for (int i = 1; i < threads; ++i) {
    // A machine that refuses another thread gets a smaller pool: results are the same.
    try {
      workers_.emplace_back([this, i] { work(i); });
    } catch (...) {
      break;
    }
    if (options.pin) {
      cpu_set_t set;
      CPU_ZERO(&set);
      CPU_SET(processors[static_cast<size_t>(i) % processors.size()], &set);
      pthread_setaffinity_np(workers_.back().native_handle(), sizeof(set), &set);
    }
  }
}

ThreadPool::~ThreadPool() {
  shared_->stop.store(true);
  shared_->wake.fetch_add(1);
  syscall(SYS_futex, &shared_->wake, FUTEX_WAKE_PRIVATE, INT_MAX, nullptr, nullptr, 0);
  for (std::thread &worker : workers_)
    worker.join();
}

void ThreadPool::work(int index) {
  FlushDenormals flush;
  Shared &shared = *shared_;
  uint64_t seen = 0; // number of the last run this worker was in
  using Clock = std::chrono::steady_clock;
  Clock::time_point idleSince = Clock::now();
  int turns = 0;
  while (!shared.stop.load(std::memory_order_relaxed)) {
    uint64_t state = shared.state.load(std::memory_order_acquire);
    if ((state & kOpen) && state / kNumber != seen) {
      if (!shared.state.compare_exchange_weak(state, state + kInside, std::memory_order_acq_rel))
        continue;
      seen = state / kNumber;
      shared.takeItems();
      shared.state.fetch_sub(kInside, std::memory_order_acq_rel);
      idleSince = Clock::now();
      turns = 0;
      continue;
    }
    pause();
    if (++turns % 64 != 0 || Clock::now() - idleSince < shared.spin)
      continue;
    // Sleep. The caller opens a run first and looks for sleepers afterwards; we do it
    // the other way round, so one of the two sees the other.
    uint32_t ticket = shared.wake.load();
    shared.sleepers.fetch_add(1);
    state = shared.state.load();
    if (!((state & kOpen) && state / kNumber != seen) && !shared.stop.load())
      syscall(SYS_futex, &shared.wake, FUTEX_WAIT_PRIVATE, ticket, nullptr, nullptr, 0);
    shared.sleepers.fetch_sub(1);
    idleSince = Clock::now();
    turns = 0;
  }
}

void ThreadPool::run(int64_t items, Body body, void *context) {
  if (items <= 0)
    return;
  if (workers_.empty() || items == 1)
    return body(context, 0, items);

  Shared &shared = *shared_;
  std::lock_guard<std::mutex> lock(shared.callers);
  // Several portions per thread even out a thread that is slow or late; more of them
  // would only cost trips to the shared counter.
  shared.grain = std::max<int64_t>(1, items / (int64_t(threads()) * 8));
  shared.body = body;
  shared.context = context;
  shared.items = items;
  shared.next.store(0, std::memory_order_relaxed);
  uint64_t number = shared.state.load(std::memory_order_relaxed) / kNumber + 1;
  shared.state.store(number * kNumber | kOpen); // seq_cst: before looking for sleepers
  if (shared.sleepers.load() > 0) {
    shared.wake.fetch_add(1);
    syscall(SYS_futex, &shared.wake, FUTEX_WAKE_PRIVATE, INT_MAX, nullptr, nullptr, 0);
  }
  shared.takeItems();
  uint64_t state = shared.state.fetch_and(~kOpen, std::memory_order_acq_rel);
  for (int turn = 0; state & kInsideMask; ++turn) {
    if (turn < 4096)
      pause();
    else
      sched_yield(); // more threads than processors: let the worker finish
    state = shared.state.load(std::memory_order_acquire);
  }
}

} // namespace otodus::runtime

//===- ThreadPool.h - Threads that share out a kernel's work items ---------===//
//
// Decoding one token is about a hundred launches of a few microseconds each, so
// the way from the caller to the workers and back must cost less than one of them:
// workers spin for a while before they sleep, and a caller that finds nobody awake
// does the work alone instead of waiting.
//
//===----------------------------------------------------------------------===//

#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <thread>
#include <type_traits>
#include <vector>

namespace otodus::runtime {

/// Flushes denormals to zero (x86 MXCSR FTZ and DAZ) while it lives and puts the
/// thread's former setting back. CEMA's decaying state would otherwise run into
/// denormals, which cost a hundred cycles each.
class FlushDenormals {
public:
  FlushDenormals();
  ~FlushDenormals();
  FlushDenormals(const FlushDenormals &) = delete;
  FlushDenormals &operator=(const FlushDenormals &) = delete;

private:
  uint32_t saved_;
};

struct ThreadPoolOptions {
  /// Threads that work, the caller's included; 0 = the processors this process may use.
  int threads = 0;
  /// Keep worker i on the i-th allowed processor.
  bool pin = false;
  /// How long an idle worker looks for work before it sleeps.
  int spinMicroseconds = 50;
};

/// `threads - 1` workers and the calling thread. One run at a time: callers on
/// several threads are served one after the other. Work must not call `run` of the
/// same pool and must not throw.
class ThreadPool {
public:
  explicit ThreadPool(const ThreadPoolOptions &options = {});
  ~ThreadPool();
  ThreadPool(const ThreadPool &) = delete;
  ThreadPool &operator=(const ThreadPool &) = delete;

  int threads() const { return static_cast<int>(workers_.size()) + 1; }

  using Body = void (*)(void *context, int64_t lo, int64_t hi);

  /// Calls body(context, lo, hi) for disjoint ranges that cover [0, items), on any
  /// threads and in any order, and returns when all are done. Workers run with
  /// denormals flushed; the calling thread as its caller set it (FlushDenormals).
  void run(int64_t items, Body body, void *context);

  /// The same for a callable `fn(int64_t lo, int64_t hi)`.
  template <typename Fn> void run(int64_t items, Fn &&fn) {
    using Callable = std::remove_reference_t<Fn>;
    run(
        items,
        [](void *context, int64_t lo, int64_t hi) { (*static_cast<Callable *>(context))(lo, hi); },
        const_cast<void *>(static_cast<const void *>(&fn)));
  }

private:
  struct Shared;
  void work(int index);
  std::unique_ptr<Shared> shared_;
  std::vector<std::thread> workers_;
};

} // namespace otodus::runtime

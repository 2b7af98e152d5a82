//===- ThreadPoolTest.cpp --------------------------------------------------===//

#include "otodus/Runtime/ThreadPool.h"

#include <gtest/gtest.h>

#include <chrono>
#include <cstdlib>
#include <thread>
#include <vector>

using namespace otodus::runtime;

namespace {

ThreadPoolOptions withThreads(int threads) {
  ThreadPoolOptions options;
  options.threads = threads;
  return options;
}

TEST(ThreadPool, CoversEveryItemOnce) {
  for (int threads : {1, 2, 3, 8}) {
    ThreadPool pool(withThreads(threads));
    EXPECT_EQ(pool.threads(), threads);
    for (int64_t items : {0, 1, 2, 7, 64, 1000, 4097}) {
      std::vector<std::atomic<int>> seen(static_cast<size_t>(items));
      pool.run(items, [&](int64_t lo, int64_t hi) {
        ASSERT_LT(lo, hi);
        for (int64_t i = lo; i < hi; ++i)
          seen[static_cast<size_t>(i)].fetch_add(1);
      });
      for (int64_t i = 0; i < items; ++i)
        ASSERT_EQ(seen[static_cast<size_t>(i)].load(), 1) << threads << " threads, item " << i;
    }
  }
}

// Many short runs back to back, with pauses in which workers fall asleep: a lost wake-up
// or a worker that enters the next run with the last one's body would show.
TEST(ThreadPool, ManyShortRuns) {
  ThreadPoolOptions options = withThreads(4);
  options.spinMicroseconds = 5;
  ThreadPool pool(options);
  std::vector<int64_t> values(64, 0);
  for (int64_t turn = 1; turn <= 20000; ++turn) {
    pool.run(64, [&](int64_t lo, int64_t hi) {
      for (int64_t i = lo; i < hi; ++i)
        values[static_cast<size_t>(i)] += turn + i;
    });
    if (turn % 500 == 0)
      std::this_thread::sleep_for(std::chrono::microseconds(200));
  }
  for (int64_t i = 0; i < 64; ++i)
    ASSERT_EQ(values[static_cast<size_t>(i)], 20000 * 20001 / 2 + 20000 * i);
}

TEST(ThreadPool, SeveralCallersTakeTurns) {
  ThreadPool pool(withThreads(3));
  std::atomic<int64_t> total{0};
  std::vector<std::thread> callers;
  for (int c = 0; c < 4; ++c)
    callers.emplace_back([&] {
      for (int turn = 0; turn < 500; ++turn)
        pool.run(10, [&](int64_t lo, int64_t hi) { total += hi - lo; });
    });
  for (std::thread &caller : callers)
    caller.join();
  EXPECT_EQ(total.load(), 4 * 500 * 10);
}

TEST(ThreadPool, WorkersFlushDenormalsAndTheCallerGetsItsModeBack) {
  volatile float tiny = 1e-38f, small = 1e-3f;
  EXPECT_NE(tiny * small, 0.0f);
  {
    FlushDenormals flush;
    EXPECT_EQ(tiny * small, 0.0f);
    ThreadPool pool(withThreads(4));
    std::atomic<int> denormals{0};
    for (int turn = 0; turn < 200; ++turn)
      pool.run(8, [&](int64_t, int64_t) {
        if (tiny * small != 0.0f)
          ++denormals;
      });
    EXPECT_EQ(denormals.load(), 0);
  }
  EXPECT_NE(tiny * small, 0.0f);
}

// Printed, not asserted: time depends on what else the machine does.
TEST(ThreadPool, ReportsItsLatency) {
  for (int threads : {1, 2}) {
    ThreadPool pool(withThreads(threads));
    std::vector<double> samples;
    for (int sample = 0; sample < 31; ++sample) {
      auto before = std::chrono::steady_clock::now();
      for (int turn = 0; turn < 1000; ++turn)
        pool.run(2, [](int64_t, int64_t) {});
      std::chrono::duration<double, std::nano> time = std::chrono::steady_clock::now() - before;
      samples.push_back(time.count() / 1000);
    }
    std::sort(samples.begin(), samples.end());
    std::printf("%d threads: %.0f ns per launch (median)\n", threads, samples[15]);
    RecordProperty("nanoseconds_" + std::to_string(threads), std::to_string(samples[15]));
  }
}

} // namespace

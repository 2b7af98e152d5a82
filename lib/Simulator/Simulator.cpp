//===- Simulator.cpp - The C API: one simulated GPU ------------------------===//

#include "Handlers.h"
#include "Memory.h"
#include "Text.h"

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstring>
#include <thread>

using namespace otodus::sim;

struct OtodusSimulator {
  OtodusSimOptions options;
  GlobalMemory memory;
  std::vector<std::unique_ptr<Team>> workers;
  std::vector<std::string> reports, banks;
  OtodusSimCounters counters = {};
};

namespace {

constexpr uint32_t kMostThreads = 1024, kMostBlocksOfTeam = 2048;

OtodusSimStatus invalid(OtodusSimulator &simulator, const std::string &kernel, std::string text) {
  simulator.reports.push_back(kernel + ": launch: " + std::move(text));
  ++simulator.counters.reports;
  return OTODUS_SIM_INVALID;
}

/// "" or what is wrong with the launch.
std::string wrong(const OtodusSimulator &simulator, const OtodusSimLaunch &launch,
                  const OtodusSimKernelInfo &info) {
  uint64_t threads = uint64_t(launch.threads[0]) * launch.threads[1] * launch.threads[2];
  uint64_t blocks = uint64_t(launch.grid[0]) * launch.grid[1] * launch.grid[2];
  uint64_t cluster = uint64_t(std::max(1u, launch.cluster[0])) * std::max(1u, launch.cluster[1]) *
                     std::max(1u, launch.cluster[2]);
  auto triple = [](const uint32_t *t) {
    return std::to_string(t[0]) + "x" + std::to_string(t[1]) + "x" + std::to_string(t[2]);
  };
  if (!blocks)
    return "an empty grid " + triple(launch.grid);
  if (!threads || threads > kMostThreads)
    return "a block of " + triple(launch.threads) + " threads; 1 to " +
           std::to_string(kMostThreads) + " are possible";
  if (info.threads[0] && !std::equal(info.threads, info.threads + 3, launch.threads))
    return "a block of " + triple(launch.threads) + " threads, but the kernel is made for " +
           triple(info.threads);
  if (info.clusters[0] && cluster != uint64_t(info.clusters[0]) * info.clusters[1] * info.clusters[2])
    return "clusters of " + std::to_string(cluster) + " blocks, but the kernel is made for " +
           triple(info.clusters);
  if (cluster > 16)
    return "clusters of " + std::to_string(cluster) + " blocks; at most 16 are possible";
  for (int i = 0; i < 3; ++i)
    if (launch.grid[i] % std::max(1u, launch.cluster[i]))
      return "a grid of " + triple(launch.grid) + " blocks is no whole number of clusters of " +
             triple(launch.cluster);
  if (launch.cooperative && blocks > kMostBlocksOfTeam)
    return "a cooperative grid of " + std::to_string(blocks) + " blocks; at most " +
           std::to_string(kMostBlocksOfTeam) + " are resident at the same time";
  uint64_t shared = uint64_t(info.staticShared) + launch.sharedBytes;
  if (shared > simulator.options.sharedBytes)
    return std::to_string(shared) + " bytes of shared memory, but a block may have " +
           std::to_string(simulator.options.sharedBytes);
  return "";
}

} // namespace

extern "C" {

uint32_t otodusSimVersion(void) { return OTODUS_SIM_LIBRARY_VERSION; }

OtodusSimulator *otodusSimCreate(const OtodusSimOptions *options, char *error, size_t errorBytes) {
  auto fail = [&](const char *text) -> OtodusSimulator * {
    if (error && errorBytes)
      snprintf(error, errorBytes, "%s", text);
    return nullptr;
  };
  if (!options || options->size != sizeof(OtodusSimOptions))
    return fail("the simulator's options have another size than this library expects: it is of "
                "another version");
  if (options->checks > OTODUS_SIM_CHECK_FULL || options->order > OTODUS_SIM_RANDOM ||
      options->async > OTODUS_SIM_MIXED || options->timeout < 0 ||
      options->sharedBytes > kSharedStride)
    return fail("an option of the simulator is out of its range");
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma"))
    return fail("simulated kernels need a CPU with AVX2, FMA and F16C (x86-64-v3)");
#endif
  auto *simulator = new OtodusSimulator{*options, {}, {}, {}, {}, {}};
  OtodusSimOptions &own = simulator->options;
  if (!own.workers)
    own.workers = std::max(1u, std::thread::hardware_concurrency());
  own.workers = std::min(own.workers, 256u);
  if (!own.maxReports)
    own.maxReports = 32;
  if (!own.sharedBytes)
    own.sharedBytes = 233472;
  return simulator;
}

void otodusSimDestroy(OtodusSimulator *simulator) { delete simulator; }

int otodusSimRegister(OtodusSimulator *simulator, void *base, size_t bytes, const char *name) {
  return simulator->memory.add(base, bytes, name) ? 0 : 1;
}

void otodusSimUnregister(OtodusSimulator *simulator, void *base) {
  simulator->memory.remove(base);
}

void otodusSimInitialised(OtodusSimulator *simulator, const void *at, size_t bytes,
                          int initialised) {
  simulator->memory.setValid(at, bytes, initialised != 0);
}

[[clang::no_sanitize("function")]] OtodusSimStatus otodusSimLaunch(OtodusSimulator *simulator,
                                                                const OtodusSimLaunch *launch) {
  simulator->reports.clear();
  simulator->banks.clear();
  if (!launch || launch->size != sizeof(OtodusSimLaunch) || !launch->kernel)
    return invalid(*simulator, "kernel", "the record of the launch is not of this version");
  const OtodusSimKernelInfo *info = launch->kernel(nullptr, nullptr);
  std::string kernel = launch->name ? launch->name
                                    : reinterpret_cast<const char *>(info) + info->name;
  if (info->version != kTableVersion)
    return invalid(*simulator, kernel,
                   "the kernel was compiled for another version of the simulator: compile it again");
  if (std::string text = wrong(*simulator, *launch, *info); !text.empty())
    return invalid(*simulator, kernel, text);

  LaunchState state;
  state.options = simulator->options;
  state.launch = launch;
  state.info = info;
  state.sites = reinterpret_cast<const OtodusSimSite *>(
      reinterpret_cast<const uint8_t *>(info) + info->firstSite);
  state.memory = &simulator->memory;
  uint64_t blocks = uint64_t(launch->grid[0]) * launch->grid[1] * launch->grid[2];
  state.teamBlocks = launch->cooperative
                         ? uint32_t(blocks)
                         : std::max(1u, launch->cluster[0]) * std::max(1u, launch->cluster[1]) *
                               std::max(1u, launch->cluster[2]);
  state.threads = launch->threads[0] * launch->threads[1] * launch->threads[2];
  state.sharedBytes = info->staticShared + launch->sharedBytes;
  state.teams = blocks / state.teamBlocks;
  if (state.options.timeout > 0)
    state.deadline = steadySeconds() + state.options.timeout;
  uint32_t workers = uint32_t(std::min<uint64_t>(state.options.workers, state.teams));
  while (simulator->workers.size() < workers)
    simulator->workers.push_back(std::make_unique<Team>());
  for (const auto &range : simulator->memory.ranges()) {
    range->pages.clear();
    range->pages.resize(workers);
  }
  for (uint32_t worker = 0; worker < workers; ++worker) {
    Team &team = *simulator->workers[worker];
    if (!team.reserve(state))
      return invalid(*simulator, kernel,
                     "no memory for " + std::to_string(state.teamBlocks) + " blocks of " +
                         std::to_string(state.threads) +
                         " threads at a time (their shared memory must lie below 4 GiB)");
    team.shadow.beginLaunch(state, worker);
    team.counters = {};
    team.banks.beginLaunch(info->sites, state.options.banks != 0);
  }

  // Worker w runs teams w, w + workers, ...: which blocks one host thread sees does not depend on
  // timing. After a stop in team n, teams before n still run, so that the first fault is always the
  // same.
  std::atomic<uint64_t> stopAt{~0ull};
  std::atomic<bool> timedOut{false};
  struct Found {
    uint64_t team, order;
    Finding finding;
  };
  std::vector<std::vector<Found>> found(workers);
  auto work = [&](uint32_t worker) {
    Team &team = *simulator->workers[worker];
    for (uint64_t number = worker; number < state.teams; number += workers) {
      if (number > stopAt.load() || timedOut.load())
        break;
      TeamEnd end = team.run(state, number, worker);
      for (Finding &finding : team.reports.take())
        found[worker].push_back({number, found[worker].size(), std::move(finding)});
      if (end == TeamEnd::Timeout)
        timedOut = true;
      if (end == TeamEnd::Fault) {
        uint64_t before = stopAt.load();
        while (number < before && !stopAt.compare_exchange_weak(before, number)) {
        }
      }
    }
  };
  std::vector<std::thread> threads;
  for (uint32_t worker = 1; worker < workers; ++worker)
    threads.emplace_back(work, worker);
  work(0);
  for (std::thread &thread : threads)
    thread.join();

  std::vector<Found> ordered;
  for (auto &list : found)
    for (Found &one : list)
      if (one.team <= stopAt)
        ordered.push_back(std::move(one));
  std::sort(ordered.begin(), ordered.end(), [](const Found &a, const Found &b) {
    return std::pair(a.team, a.order) < std::pair(b.team, b.order);
  });
  TeamReports all;
  for (Found &one : ordered)
    all.add(std::move(one.finding));
  if (workers > 1 && state.options.checks != OTODUS_SIM_CHECK_NONE) {
    std::vector<Shadow *> shadows;
    for (uint32_t worker = 0; worker < workers; ++worker)
      shadows.push_back(&simulator->workers[worker]->shadow);
    Shadow::merge(simulator->memory, shadows, state, stopAt, all);
  }
  for (const auto &range : simulator->memory.ranges())
    range->pages.clear();

  OtodusSimCounters &counters = simulator->counters;
  ++counters.launches;
  for (uint32_t worker = 0; worker < workers; ++worker) {
    const Team &team = *simulator->workers[worker];
    counters.blocks += team.counters.blocks;
    counters.threads += team.counters.threads;
    counters.collectives += team.counters.collectives;
    counters.barriers += team.counters.barriers;
    counters.loads += team.shadow.loads;
    counters.stores += team.shadow.stores;
  }
  std::vector<std::pair<uint32_t, Banks::Total>> used;
  for (uint32_t site = 0; site < info->sites; ++site) {
    Banks::Total total;
    for (uint32_t worker = 0; worker < workers; ++worker) {
      total.accesses += simulator->workers[worker]->banks.totals[site].accesses;
      total.extra += simulator->workers[worker]->banks.totals[site].extra;
    }
    if (total.accesses)
      used.push_back({site, total});
    counters.sharedAccesses += total.accesses;
    counters.bankConflicts += total.extra;
  }
  std::sort(used.begin(), used.end(), [](const auto &a, const auto &b) {
    return std::pair(b.second.extra, a.first) < std::pair(a.second.extra, b.first);
  });
  for (const auto &[site, total] : used)
    simulator->banks.push_back(kernel + ": " + describe(state.sites[site]) + ": " +
                               std::to_string(total.accesses) + " accesses of a warp, " +
                               std::to_string(total.extra) + " extra passes");

  std::vector<Finding> findings = all.take();
  counters.reports += findings.size();
  size_t shown = std::min<size_t>(findings.size(), simulator->options.maxReports);
  for (size_t i = 0; i < shown; ++i) {
    std::string text = kernel + ": " + kindName(findings[i].kind) + ": " + findings[i].text;
    if (findings[i].count > 1)
      text += " [" + std::to_string(findings[i].count) + " times]";
    simulator->reports.push_back(std::move(text));
  }
  if (shown < findings.size())
    simulator->reports.push_back(kernel + ": " + std::to_string(findings.size() - shown) +
                                 " more kinds of reports");
  if (timedOut)
    return OTODUS_SIM_TIMEOUT;
  if (stopAt != ~0ull)
    return OTODUS_SIM_FAULT;
  return findings.empty() ? OTODUS_SIM_OK : OTODUS_SIM_REPORTS;
}

size_t otodusSimReportCount(const OtodusSimulator *simulator) {
  return simulator->reports.size();
}

const char *otodusSimReport(const OtodusSimulator *simulator, size_t index) {
  return index < simulator->reports.size() ? simulator->reports[index].c_str() : "";
}

size_t otodusSimBankCount(const OtodusSimulator *simulator) { return simulator->banks.size(); }

const char *otodusSimBank(const OtodusSimulator *simulator, size_t index) {
  return index < simulator->banks.size() ? simulator->banks[index].c_str() : "";
}

void otodusSimGetCounters(const OtodusSimulator *simulator, OtodusSimCounters *counters) {
  *counters = simulator->counters;
}

void otodusSimResetCounters(OtodusSimulator *simulator) { simulator->counters = {}; }

} // extern "C"

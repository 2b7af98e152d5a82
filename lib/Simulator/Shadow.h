//===- Shadow.h - Who touched which byte, and was it allowed ---------------===//
//
// Happens-before race detection in the manner of FastTrack. Every agent (thread of the team, and
// one that stands for asynchronous operations) has a clock value, unique and growing over the whole
// launch. A cell stands for four bytes and remembers the last write and the last read, or a set of
// readers. An access is ordered after a remembered one if its clock value lies before the last
// barrier of the whole team (`base`), or the accessing thread knows it: what a thread knows beyond
// `base` is an array of clock values that threads share until one of them learns something new.
//
// Synchronisation: release() gives what a thread knows, itself included; acquire() adds that to
// what another knows. Shuffles, votes and matrix products are no synchronisation of memory.
//
// A word whose bytes are used separately (two bf16 of two lanes) is split into cells of one byte.
//
//===----------------------------------------------------------------------===//

#pragma once

#include "Memory.h"
#include "Reports.h"

#include <cstdint>
#include <unordered_map>
#include <utility>
#include <vector>

namespace otodus::sim {

class Team;
struct Thread;
struct Block;
struct LaunchState;

/// Clock values of all agents, shared and never changed after it is made. Null: nothing beyond the
/// last barrier of the team. Counted without atomics: a team stays on one host thread.
class ClockRef {
public:
  ClockRef() = default;
  ClockRef(const ClockRef &other) : clock_(other.clock_) { retain(); }
  ClockRef(ClockRef &&other) noexcept : clock_(std::exchange(other.clock_, nullptr)) {}
  ClockRef &operator=(ClockRef other) noexcept {
    std::swap(clock_, other.clock_);
    return *this;
  }
  ~ClockRef() { drop(); }
  explicit operator bool() const { return clock_ != nullptr; }
  bool operator==(const ClockRef &other) const { return clock_ == other.clock_; }
  uint32_t at(uint32_t agent) const { return clock_->values[agent]; }
  static ClockRef make(uint32_t agents); ///< all 0
  uint32_t *values() const { return clock_->values; } ///< change it only before the first copy

private:
  struct Clock {
    uint32_t references;
    uint32_t values[1];
  };
  void retain() {
    if (clock_)
      ++clock_->references;
  }
  void drop();
  Clock *clock_ = nullptr;
};

/// Ordering of an atomic access as a site's attribute 0 says it: 0 is a plain access, 1 relaxed,
/// from kRelease on it synchronises.
inline constexpr int64_t kRelease = 2;

/// Agents for asynchronous operations of a team whose kernel has some.
inline constexpr uint32_t kMostStreams = 64;

class Shadow {
public:
  /// A new team on this host thread. Clears what is known of shared memory, not of global memory.
  void begin(Team &team, const LaunchState &launch, uint32_t worker);
  /// A new launch: forgets global memory's cells and starts the clocks again.
  void beginLaunch(const LaunchState &launch, uint32_t worker);

  bool enabled() const { return enabled_; }

  // Accesses. Each checks bounds and alignment (a violation is a fault, which does not return),
  // then initialisation and races. `bytes` is 1 ... 2^20.
  void load(Thread &thread, const OtodusSimSite &site, uint64_t address, uint32_t bytes,
            uint32_t alignment);
  void store(Thread &thread, const OtodusSimSite &site, uint64_t address, uint32_t bytes,
             uint32_t alignment);
  /// A read and write that is no race with other atomics.
  void atomic(Thread &thread, const OtodusSimSite &site, uint64_t address, uint32_t bytes);
  /// A load that is part of the protocol of an atomic object.
  void atomicLoad(Thread &thread, const OtodusSimSite &site, uint64_t address, uint32_t bytes);
  /// Only bounds and alignment.
  void bounds(Thread &thread, const OtodusSimSite &site, uint64_t address, uint32_t bytes,
              uint32_t alignment, bool write);

  // Asynchronous operations: between begin and end any access to the bytes (any writing access to
  // bytes being read) is reported. begin counts as an access of the thread that issues it; end as
  // an access of `agent` at its present clock.
  void beginAsyncWrite(Thread &thread, const OtodusSimSite &site, uint64_t address, uint32_t bytes);
  void endAsyncWrite(uint32_t agent, const OtodusSimSite &site, uint64_t address, uint32_t bytes);
  void beginAsyncRead(Thread &thread, const OtodusSimSite &site, uint64_t address, uint32_t bytes);
  void endAsyncRead(uint32_t agent, const OtodusSimSite &site, uint64_t address, uint32_t bytes);

  // Synchronisation.
  ClockRef release(uint32_t agent);
  void acquire(uint32_t agent, const ClockRef &clock);
  /// As releases of all agents of a barrier, one after the other, joined: into `sum`, of which there is
  /// no copy yet. `last`: what the agent before knew; most know the same. Returns what this one knew.
  ClockRef gather(ClockRef &sum, ClockRef &last, uint32_t agent);
  /// The same for what a fence has released before; null for none.
  void gather(ClockRef &sum, const ClockRef &clock);
  /// The same as acquire; `part` is known to be in `clock`, so that there is nothing to join for an
  /// agent that has learnt nothing since.
  void acquire(uint32_t agent, const ClockRef &clock, const ClockRef &part);
  /// The least clock that knows what both know.
  ClockRef join(const ClockRef &a, const ClockRef &b);
  /// All of these threads know what each of them knows.
  void synchronise(Thread *const *threads, size_t count);
  /// All threads of the team have met.
  void synchroniseTeam();
  /// The agent that stands for asynchronous operations of the team.
  uint32_t asyncAgent() const { return agents_ - 1; }
  /// Acquire or release through an object in memory (an atomic, an mbarrier), by its address.
  void acquireObject(uint32_t agent, uint64_t address);
  void releaseObject(uint32_t agent, uint64_t address);
  /// A fence makes what relaxed atomics before it have read an acquire, and relaxed atomics after it a
  /// release of what is known here.
  void fence(uint32_t agent);
  void relaxedLoad(uint32_t agent, uint64_t address);
  void relaxedStore(uint32_t agent, uint64_t address);

  // Streams of asynchronous operations are agents too (AsyncUnit.h). Stream 0 always exists.
  uint32_t streams() const { return streams_; }
  uint32_t streamAgent(uint32_t stream) const { return agents_ - 1 - stream; }
  /// `agent` knows what `from` knows, and no more.
  void fork(uint32_t agent, uint32_t from);
  /// What the agent knows of ordinary writes, the asynchronous proxy may see from now on.
  void fenceProxy(uint32_t agent);
  /// Reports ordinary writes to shared memory that an operation of `thread` may not see.
  void checkProxy(Thread &thread, const OtodusSimSite &site, uint64_t address, uint32_t bytes);
  /// The clock of the agent's next access, and whether another knows it.
  uint32_t clockOf(uint32_t agent) const { return enabled_ ? own_[agent] : 0; }
  bool isKnown(uint32_t agent, uint32_t other, uint32_t clock) const {
    return !enabled_ || knows(agent, other, clock);
  }
  /// Whether the agent has synchronised with the other since the team started.
  bool hasHeardOf(uint32_t agent, uint32_t other) const;
  /// Operations under way. While there are any, a barrier of the whole team is no point in time
  /// before which all accesses are ordered.
  uint32_t open = 0;

  uint64_t loads = 0, stores = 0;

  /// Compares what several host threads saw of global memory in one launch, up to team `last`.
  static void merge(GlobalMemory &memory, const std::vector<Shadow *> &shadows,
                    const LaunchState &launch, uint64_t last, TeamReports &reports);
  /// Team that was running when `clock` was given out.
  uint64_t teamAt(uint32_t clock) const;

private:
  struct ProxyFence {
    uint32_t clock, base; ///< of the agent; accesses before `base` were ordered before all
    ClockRef known;
  };
  uint32_t firstStream() const { return agents_ - streams_; }
  bool isProxyVisible(uint32_t agent, uint32_t writer, uint32_t clock) const;
  enum class Kind : uint8_t { Read, Write, Atomic };
  template <Kind kind>
  void access(Thread &thread, const OtodusSimSite &site, uint64_t address, uint32_t bytes,
              uint32_t alignment);
  template <Kind kind, bool global>
  void touchRange(Thread &thread, const OtodusSimSite &site, Cell *cells, uint64_t address,
                  uint64_t offset, uint32_t bytes);
  template <Kind kind, bool global>
  void touchWord(Thread &thread, const OtodusSimSite &site, Cell &cell, uint32_t mask,
                 uint64_t address);
  template <Kind kind, bool global>
  void touch(Thread &thread, const OtodusSimSite &site, Cell &cell, uint32_t mask,
             uint64_t address);
  void checkWrites(Thread &thread, const OtodusSimSite &site, Cell *cells, uint64_t address,
                   uint64_t offset, uint32_t bytes);
  template <bool global> bool split(Cell &cell);
  template <typename F> void eachSharedCell(uint64_t address, uint32_t bytes, F f);
  void addReader(Cell &cell, uint32_t agent, uint32_t clock);
  static constexpr size_t kNoSet = ~size_t(0);
  size_t newSet();
  void makeMany(Cell &cell);
  Allocation *rangeOf(const OtodusSimSite &site, uint64_t address, uint32_t bytes);
  Cell *page(Allocation &range, uint64_t offset, bool create);
  bool knows(uint32_t agent, uint32_t other, uint32_t clock) const {
    return clock < base_ || (known_[agent] && known_[agent].at(other) >= clock);
  }
  [[gnu::noinline, gnu::cold]] void race(Thread &thread, const OtodusSimSite &site,
                                         const Cell &cell, bool write, bool otherWrote,
                                         uint32_t otherAgent, uint32_t otherClock,
                                         uint64_t address, bool global);
  [[gnu::noinline, gnu::cold]] void uninitialised(Thread &thread, const OtodusSimSite &site,
                                                  uint64_t address, uint32_t bytes, bool global);
  [[noreturn, gnu::noinline, gnu::cold]] void outOfBounds(Thread &thread, const OtodusSimSite &site,
                                                          uint64_t address, uint32_t bytes,
                                                          bool write);
  [[noreturn, gnu::noinline, gnu::cold]] void misaligned(Thread &thread, const OtodusSimSite &site,
                                                         uint64_t address, uint32_t bytes,
                                                         uint32_t alignment, bool write);

  Team *team_ = nullptr;
  const LaunchState *launch_ = nullptr;
  GlobalMemory *memory_ = nullptr;
  uint32_t worker_ = 0;
  bool enabled_ = false, recordGlobalReads_ = false;
  uint32_t agents_ = 0;
  uint32_t streams_ = 1; ///< the last agents
  uint32_t base_ = 1;      ///< accesses before it are ordered before everything now
  uint32_t teamStart_ = 1; ///< accesses before it are other teams'
  uint32_t now_ = 1;
  std::vector<uint32_t> own_; ///< per agent
  std::vector<ClockRef> known_;
  std::vector<Cell> shared_; ///< of all blocks of the team
  uint32_t wordsPerBlock_ = 0;
  std::vector<Cell> splits_[2];   ///< four per split word: of shared, of global memory
  std::vector<uint32_t> readers_; ///< sets of readers: per warp a clock and a mask of lanes, then
                                  ///< per stream a clock, the last stream first
  std::vector<uint32_t> freeSets_;
  uint32_t readerWords_ = 0;
  std::vector<Allocation *> bySite_; ///< which range a site touched last
  std::vector<std::pair<uint32_t, uint64_t>> starts_; ///< first clock of each team
  std::unordered_map<uint64_t, ClockRef> objects_;
  std::vector<ClockRef> fenced_, seen_; ///< per agent: at its last fence; read since
  std::vector<std::vector<ProxyFence>> fences_; ///< per agent
  ClockRef joined_[3]; ///< the last join: both operands, the result
};

/// What OtodusSimContext::load and store are with checks.
void checkedLoad(OtodusSimContext *context, const OtodusSimSite *site, uint64_t address,
                 uint32_t bytes, uint32_t alignment);
void checkedStore(OtodusSimContext *context, const OtodusSimSite *site, uint64_t address,
                  uint32_t bytes, uint32_t alignment);

} // namespace otodus::sim

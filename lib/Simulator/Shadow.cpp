//===- Shadow.cpp - Accesses: bounds, initialisation, races ----------------===//

#include "Shadow.h"
#include "AsyncUnit.h"
#include "Machine.h"

#include <algorithm>
#include <cstring>

namespace otodus::sim {

//===----------------------------------------------------------------------===//
// Life
//===----------------------------------------------------------------------===//

void Shadow::beginLaunch(const LaunchState &launch, uint32_t worker) {
  launch_ = &launch;
  memory_ = launch.memory;
  worker_ = worker;
  enabled_ = launch.options.checks != OTODUS_SIM_CHECK_NONE;
  recordGlobalReads_ = launch.options.checks == OTODUS_SIM_CHECK_FULL;
  now_ = base_ = teamStart_ = 1;
  starts_.clear();
  splits_[1].clear();
  bySite_.assign(launch.info->sites, nullptr);
  streams_ = 1;
  for (uint32_t i = 0; i < launch.info->sites; ++i)
    if (launch.sites[i].op >= OTODUS_SIM_OP_MbarrierInit)
      streams_ = kMostStreams;
  loads = stores = 0;
}

void Shadow::begin(Team &team, const LaunchState &launch, uint32_t worker) {
  team_ = &team;
  if (!enabled_)
    return;
  agents_ = uint32_t(team.threads.size()) + streams_;
  base_ = teamStart_ = ++now_;
  uint64_t number = team.blocks.empty() ? 0 : team.blocks[0].linear / launch.teamBlocks;
  starts_.push_back({teamStart_, number});
  own_.assign(agents_, base_);
  known_.assign(agents_, ClockRef());
  fenced_.assign(agents_, ClockRef());
  seen_.assign(agents_, ClockRef());
  objects_.clear();
  fences_.clear();
  for (ClockRef &clock : joined_)
    clock = ClockRef();
  open = 0;
  wordsPerBlock_ = (launch.sharedBytes + 3) / 4;
  size_t words = size_t(wordsPerBlock_) * team.blocks.size();
  if (shared_.size() < words)
    shared_.resize(words);
  memset(static_cast<void *>(shared_.data()), 0, words * sizeof(Cell));
  splits_[0].clear();
  readers_.clear();
  freeSets_.clear();
  readerWords_ = 2 * ((firstStream() + 31) / 32) + streams_;
}

uint64_t Shadow::teamAt(uint32_t clock) const {
  auto next = std::upper_bound(starts_.begin(), starts_.end(), clock,
                               [](uint32_t at, const auto &start) { return at < start.first; });
  return next == starts_.begin() ? 0 : (next - 1)->second;
}

//===----------------------------------------------------------------------===//
// Cells
//===----------------------------------------------------------------------===//

/// Gives each byte of the word a cell. False if there are too many.
template <bool global> bool Shadow::split(Cell &cell) {
  std::vector<Cell> &pool = splits_[global];
  size_t index = pool.size() / 4;
  if (index >= (1u << 21))
    return false;
  pool.resize(pool.size() + 4);
  for (uint32_t byte = 0; byte < 4; ++byte) {
    Cell &part = pool[4 * index + byte];
    if (cell.bytes >> byte & 1)
      part = cell;
    if (part.isMany) { // each byte adds readers of its own from now on
      size_t set = part.readClock >= base_ ? newSet() : kNoSet;
      part.isMany = set != kNoSet;
      if (part.isMany) {
        std::copy_n(readers_.begin() + size_t(cell.index) * readerWords_, readerWords_,
                    readers_.begin() + set * readerWords_);
        part.index = set;
      }
    }
    part.bytes = 1;
    part.valid = cell.valid >> byte & 1;
  }
  cell.isSplit = 1;
  cell.isMany = 0;
  cell.index = index;
  return true;
}

/// Room for a set of readers, kNoSet if there are too many.
size_t Shadow::newSet() {
  size_t index = readers_.size() / readerWords_;
  if (!freeSets_.empty()) {
    index = freeSets_.back();
    freeSets_.pop_back();
    std::fill_n(readers_.begin() + index * readerWords_, readerWords_, 0);
  } else if (index < (1u << 21)) {
    readers_.resize(readers_.size() + readerWords_, 0);
  } else {
    return kNoSet;
  }
  return index;
}

/// Records in a set of readers: per warp a clock and the lanes that read at that clock; per stream
/// of asynchronous operations a clock.
void Shadow::addReader(Cell &cell, uint32_t agent, uint32_t clock) {
  if (agent >= firstStream()) {
    readers_[(size_t(cell.index) + 1) * readerWords_ - 1 - (agent - firstStream())] = clock;
    return;
  }
  uint32_t *set = &readers_[size_t(cell.index) * readerWords_ + 2 * (agent / 32)];
  uint32_t lane = 1u << (agent % 32);
  if (set[0] != clock) {
    // Lanes that read at an older clock are forgotten rather than dated too late.
    set[0] = clock;
    set[1] = 0;
  }
  set[1] |= lane;
}

void Shadow::makeMany(Cell &cell) {
  size_t index = newSet();
  if (index == kNoSet)
    return; // the last reader alone is remembered
  cell.isMany = 1;
  cell.index = index;
  addReader(cell, cell.reader, cell.readClock);
}

template <Shadow::Kind kind, bool global>
inline void Shadow::touch(Thread &thread, const OtodusSimSite &site, Cell &cell, uint32_t mask,
                          uint64_t address) {
  const uint32_t me = thread.agent, own = own_[me];
  // Against the last write.
  if (cell.writeClock >= base_) {
    if (cell.writeClock == kInFlight ||
        (cell.writer != me && !(kind == Kind::Atomic && cell.isAtomic) &&
         !knows(me, cell.writer, cell.writeClock))) [[unlikely]]
      race(thread, site, cell, kind != Kind::Read, true, cell.writer, cell.writeClock, address,
           global);
  } else if (global && cell.writeClock && cell.writeClock < teamStart_ &&
             !(kind == Kind::Atomic && cell.isAtomic)) [[unlikely]] {
    race(thread, site, cell, kind != Kind::Read, true, cell.writer, cell.writeClock, address,
         global);
  }
  if (!global && kind != Kind::Write && (cell.valid & mask) != mask) [[unlikely]]
    uninitialised(thread, site, address, 4, false);

  if (kind == Kind::Read) {
    if (cell.readClock < base_) {
      cell.isMany = 0;
      cell.reader = me;
      cell.readClock = own;
      cell.readSite = site.number;
    } else if (cell.readClock == kInFlight) {
    } else if (cell.isMany) {
      addReader(cell, me, own);
      cell.readClock = std::max(cell.readClock, own);
      cell.readSite = site.number;
    } else if (cell.reader == me || knows(me, cell.reader, cell.readClock)) {
      cell.reader = me;
      cell.readClock = own;
      cell.readSite = site.number;
    } else {
      makeMany(cell);
      if (cell.isMany)
        addReader(cell, me, own);
      cell.readClock = std::max(cell.readClock, own);
      cell.readSite = site.number;
    }
    return;
  }

  // Against reads since that write.
  if (cell.readClock >= base_) {
    if (cell.readClock == kInFlight) {
      race(thread, site, cell, true, false, cell.reader, cell.readClock, address, global);
    } else if (cell.isMany) {
      const uint32_t *set = &readers_[size_t(cell.index) * readerWords_];
      for (uint32_t stream = 0; stream < streams_; ++stream) {
        uint32_t other = firstStream() + stream, clock = set[readerWords_ - 1 - stream];
        if (clock >= base_ && other != me && !knows(me, other, clock)) [[unlikely]] {
          race(thread, site, cell, true, false, other, clock, address, global);
          break;
        }
      }
      for (uint32_t warp = 0; 2 * warp + streams_ < readerWords_; ++warp) {
        if (set[2 * warp] < base_)
          continue;
        for (uint32_t lanes = set[2 * warp + 1]; lanes; lanes &= lanes - 1) {
          uint32_t other = warp * 32 + uint32_t(__builtin_ctz(lanes));
          if (other != me && !knows(me, other, set[2 * warp])) [[unlikely]] {
            race(thread, site, cell, true, false, other, set[2 * warp], address, global);
            break;
          }
        }
      }
      freeSets_.push_back(cell.index);
    } else if (cell.reader != me && !knows(me, cell.reader, cell.readClock)) [[unlikely]] {
      race(thread, site, cell, true, false, cell.reader, cell.readClock, address, global);
    }
  } else if (global && cell.readClock && cell.readClock < teamStart_) [[unlikely]] {
    race(thread, site, cell, true, false, cell.reader, cell.readClock, address, global);
  }
  cell.writeClock = own;
  cell.writer = me;
  cell.writeSite = site.number;
  cell.isAtomic = kind == Kind::Atomic;
  cell.readClock = 0;
  cell.isMany = 0;
  cell.valid |= mask;
}

template <Shadow::Kind kind, bool global>
inline void Shadow::touchWord(Thread &thread, const OtodusSimSite &site, Cell &cell, uint32_t mask,
                              uint64_t address) {
  if (cell.isSplit) [[unlikely]] {
    for (uint32_t byte = 0; byte < 4; ++byte)
      if (mask >> byte & 1)
        touch<kind, global>(thread, site, splits_[global][4 * cell.index + byte], 1,
                            address + byte);
    return;
  }
  if (cell.bytes != mask) [[unlikely]] {
    bool forgettable = global ? !cell.writeClock && !cell.readClock
                              : cell.writeClock < base_ && cell.readClock < base_;
    if (forgettable) {
      cell.writeClock = cell.readClock = 0;
      cell.bytes = mask;
    } else if (split<global>(cell)) {
      return touchWord<kind, global>(thread, site, cell, mask, address);
    }
  }
  touch<kind, global>(thread, site, cell, mask, address);
}

template <Shadow::Kind kind, bool global>
inline void Shadow::touchRange(Thread &thread, const OtodusSimSite &site, Cell *cells,
                               uint64_t address, uint64_t offset, uint32_t bytes) {
  uint64_t word = offset / 4, end = offset + bytes;
  if ((offset | bytes) % 4 == 0) [[likely]] {
    for (; word * 4 < end; ++word, address += 4)
      touchWord<kind, global>(thread, site, cells[word], 0xf, address);
    return;
  }
  for (; word * 4 < end; ++word) {
    uint32_t first = word * 4 < offset ? uint32_t(offset - word * 4) : 0;
    uint32_t last = end < word * 4 + 4 ? uint32_t(end - word * 4) : 4;
    touchWord<kind, global>(thread, site, cells[word], (1u << last) - (1u << first),
                            address - (offset - word * 4));
  }
}

//===----------------------------------------------------------------------===//
// Accesses
//===----------------------------------------------------------------------===//

inline Allocation *Shadow::rangeOf(const OtodusSimSite &site, uint64_t address, uint32_t bytes) {
  Allocation *&range = bySite_[site.number];
  if (range && range->holds(address, bytes)) [[likely]]
    return range;
  Allocation *found = memory_->find(address);
  if (!found || !found->holds(address, bytes))
    return nullptr;
  return range = found;
}

/// Cells of the page that holds `offset`; null if there are none and `create` is false.
inline Cell *Shadow::page(Allocation &range, uint64_t offset, bool create) {
  auto &pages = range.pages[worker_];
  if (pages.empty()) {
    if (!create)
      return nullptr;
    pages.resize((range.bytes + Allocation::kPageBytes - 1) / Allocation::kPageBytes);
  }
  auto &page = pages[offset / Allocation::kPageBytes];
  if (!page && create)
    page = std::make_unique<Cell[]>(Allocation::kPageCells);
  return page.get();
}

template <Shadow::Kind kind>
inline void Shadow::access(Thread &thread, const OtodusSimSite &site, uint64_t address,
                           uint32_t bytes, uint32_t alignment) {
  constexpr bool write = kind != Kind::Read;
  ++(write ? stores : loads);
  if (address & (alignment - 1)) [[unlikely]]
    misaligned(thread, site, address, bytes, alignment, write);
  if (Block *block = team_->sharedOwner(address)) {
    uint64_t offset = address & (kSharedStride - 1);
    if (offset + bytes > block->sharedBytes) [[unlikely]]
      outOfBounds(thread, site, address, bytes, write);
    if (team_->banks.enabled() && bytes <= 16 && site.op != OTODUS_SIM_OP_LdMatrix &&
        site.op != OTODUS_SIM_OP_StMatrix)
      team_->banks.access(site.number, thread.agent / 32, thread.laneid, address, bytes);
    if (block != thread.block) [[unlikely]]
      team_->asyncUnit->remoteAccess(thread, site, *block);
    touchRange<kind, false>(thread, site,
                            shared_.data() + size_t(block->rank) * wordsPerBlock_, address,
                            offset, bytes);
    return;
  }
  Allocation *range = rangeOf(site, address, bytes);
  if (!range) [[unlikely]] {
    if (team_->onStack(thread, address))
      return;
    outOfBounds(thread, site, address, bytes, write);
  }
  uint64_t offset = address - range->base;
  if (kind != Kind::Write && !(bytes <= 64 ? range->isValid(offset, bytes)
                                           : range->isValidSlow(offset, bytes))) [[unlikely]]
    uninitialised(thread, site, address, bytes, true);
  while (bytes) {
    uint64_t inPage = offset % Allocation::kPageBytes;
    uint32_t here = uint32_t(std::min<uint64_t>(bytes, Allocation::kPageBytes - inPage));
    if (Cell *cells = page(*range, offset, write || recordGlobalReads_)) {
      if (kind != Kind::Read || recordGlobalReads_)
        touchRange<kind, true>(thread, site, cells, address, inPage, here);
      else
        checkWrites(thread, site, cells, address, inPage, here);
    }
    if (write)
      range->setValid(offset, here);
    offset += here;
    address += here;
    bytes -= here;
  }
}

/// A read of global memory that is not recorded: only compared with writes.
void Shadow::checkWrites(Thread &thread, const OtodusSimSite &site, Cell *cells, uint64_t address,
                         uint64_t offset, uint32_t bytes) {
  const uint32_t me = thread.agent;
  auto check = [&](Cell &cell, uint64_t at) {
    if (cell.writeClock == 0)
      return;
    bool bad = cell.writeClock >= base_
                   ? cell.writeClock == kInFlight ||
                         (cell.writer != me && !knows(me, cell.writer, cell.writeClock))
                   : cell.writeClock < teamStart_;
    if (bad)
      race(thread, site, cell, false, true, cell.writer, cell.writeClock, at, true);
  };
  for (uint64_t word = offset / 4; word * 4 < offset + bytes; ++word) {
    Cell &cell = cells[word];
    uint32_t first = word * 4 < offset ? uint32_t(offset - word * 4) : 0;
    uint32_t last = uint32_t(std::min<uint64_t>(4, offset + bytes - word * 4));
    for (uint32_t byte = first; byte < last; ++byte) {
      if (cell.isSplit) {
        check(splits_[1][4 * cell.index + byte], address + (word * 4 + byte - offset));
      } else if (cell.bytes >> byte & 1) {
        check(cell, address + (word * 4 + byte - offset));
        break;
      }
    }
  }
}

void Shadow::load(Thread &thread, const OtodusSimSite &site, uint64_t address, uint32_t bytes,
                  uint32_t alignment) {
  if (enabled_)
    access<Kind::Read>(thread, site, address, bytes, alignment);
}
void Shadow::store(Thread &thread, const OtodusSimSite &site, uint64_t address, uint32_t bytes,
                   uint32_t alignment) {
  if (enabled_)
    access<Kind::Write>(thread, site, address, bytes, alignment);
}
void Shadow::atomic(Thread &thread, const OtodusSimSite &site, uint64_t address, uint32_t bytes) {
  if (enabled_)
    access<Kind::Atomic>(thread, site, address, bytes, bytes);
}

void Shadow::bounds(Thread &thread, const OtodusSimSite &site, uint64_t address, uint32_t bytes,
                    uint32_t alignment, bool write) {
  if (!enabled_)
    return;
  if (address & (alignment - 1))
    misaligned(thread, site, address, bytes, alignment, write);
  if (Block *block = team_->sharedOwner(address)) {
    if ((address & (kSharedStride - 1)) + bytes > block->sharedBytes)
      outOfBounds(thread, site, address, bytes, write);
  } else if (!rangeOf(site, address, bytes) && !team_->onStack(thread, address)) {
    outOfBounds(thread, site, address, bytes, write);
  }
}

//===----------------------------------------------------------------------===//
// Asynchronous operations on shared memory
//===----------------------------------------------------------------------===//

/// Calls f(cell, mask of bytes) for whole words and for the bytes of split ones.
template <typename F> void Shadow::eachSharedCell(uint64_t address, uint32_t bytes, F f) {
  Block *block = team_->sharedOwner(address);
  if (!block)
    return;
  Cell *cells = shared_.data() + size_t(block->rank) * wordsPerBlock_;
  uint64_t offset = address & (kSharedStride - 1), end = offset + bytes;
  for (uint64_t word = offset / 4; word * 4 < end; ++word) {
    Cell &cell = cells[word];
    uint32_t first = word * 4 < offset ? uint32_t(offset - word * 4) : 0;
    uint32_t last = uint32_t(std::min<uint64_t>(4, end - word * 4));
    uint32_t mask = (1u << last) - (1u << first);
    if (!cell.isSplit && cell.bytes != mask && !split<false>(cell))
      continue;
    if (cell.isSplit)
      for (uint32_t byte = first; byte < last; ++byte)
        f(splits_[0][4 * cell.index + byte], 1u);
    else
      f(cell, mask);
  }
}

void Shadow::beginAsyncWrite(Thread &thread, const OtodusSimSite &site, uint64_t address,
                             uint32_t bytes) {
  store(thread, site, address, bytes, 1);
  if (enabled_)
    eachSharedCell(address, bytes, [](Cell &cell, uint32_t mask) {
      cell.writeClock = kInFlight;
      cell.valid |= mask;
    });
}

void Shadow::endAsyncWrite(uint32_t agent, const OtodusSimSite &site, uint64_t address,
                           uint32_t bytes) {
  if (enabled_)
    eachSharedCell(address, bytes, [&](Cell &cell, uint32_t mask) {
      cell.writeClock = own_[agent];
      cell.writer = agent;
      cell.writeSite = site.number;
      cell.valid |= mask;
    });
}

void Shadow::beginAsyncRead(Thread &thread, const OtodusSimSite &site, uint64_t address,
                            uint32_t bytes) {
  load(thread, site, address, bytes, 1);
  if (enabled_)
    eachSharedCell(address, bytes, [&](Cell &cell, uint32_t) {
      cell.isMany = 0;
      cell.reader = thread.agent;
      cell.readSite = site.number;
      cell.readClock = kInFlight;
    });
}

void Shadow::endAsyncRead(uint32_t agent, const OtodusSimSite &site, uint64_t address,
                          uint32_t bytes) {
  if (enabled_)
    eachSharedCell(address, bytes, [&](Cell &cell, uint32_t) {
      if (cell.readClock != kInFlight)
        return;
      cell.reader = agent;
      cell.readClock = own_[agent];
    });
}

//===----------------------------------------------------------------------===//
// What the context calls
//===----------------------------------------------------------------------===//

/// Attribute 0 of the row: ordering of an atomic access, 0 for a plain one.
static bool isAtomic(const OtodusSimSite &site) { return site.attributes[0] > 0; }

void checkedLoad(OtodusSimContext *context, const OtodusSimSite *site, uint64_t address,
                 uint32_t bytes, uint32_t alignment) {
  auto &thread = *static_cast<Thread *>(context);
  Shadow &shadow = thread.team->shadow;
  if (isAtomic(*site)) [[unlikely]]
    return shadow.atomicLoad(thread, *site, address, bytes);
  shadow.load(thread, *site, address, bytes, alignment);
}

void checkedStore(OtodusSimContext *context, const OtodusSimSite *site, uint64_t address,
                  uint32_t bytes, uint32_t alignment) {
  auto &thread = *static_cast<Thread *>(context);
  Shadow &shadow = thread.team->shadow;
  if (isAtomic(*site)) [[unlikely]] {
    shadow.atomic(thread, *site, address, bytes);
    if (site->attributes[0] >= kRelease)
      shadow.releaseObject(thread.agent, address);
    else
      shadow.relaxedStore(thread.agent, address);
    return;
  }
  shadow.store(thread, *site, address, bytes, alignment);
}

void Shadow::atomicLoad(Thread &thread, const OtodusSimSite &site, uint64_t address,
                        uint32_t bytes) {
  // Alike to a read-modify-write, but the value stays another's: only bounds and the object.
  bounds(thread, site, address, bytes, bytes, false);
  if (site.attributes[0] >= kRelease)
    acquireObject(thread.agent, address);
  else
    relaxedLoad(thread.agent, address);
}

} // namespace otodus::sim

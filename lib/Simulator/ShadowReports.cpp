//===- ShadowReports.cpp - What is said about a bad access -----------------===//

#include "Machine.h"
#include "Text.h"

namespace otodus::sim {

/// Where an address of global memory lies, for a reader who knows buffers by name.
static std::string placeOf(const GlobalMemory &memory, uint64_t address) {
  const Allocation *range = memory.find(address);
  if (!range)
    return "global memory";
  return "byte " + std::to_string(address - range->base) + " of '" + range->name + "'";
}

void Shadow::race(Thread &thread, const OtodusSimSite &site, const Cell &cell, bool write,
                  bool otherWrote, uint32_t otherAgent, uint32_t otherClock, uint64_t address,
                  bool global) {
  const OtodusSimSite &other = launch_->sites[otherWrote ? cell.writeSite : cell.readSite];
  // Of a stream's operations nobody has waited for this one, whether it is done or not.
  bool isStream = otherAgent >= firstStream();
  bool inFlight = otherClock == kInFlight || (isStream && otherClock >= teamStart_);
  bool otherTeam = !inFlight && otherClock < teamStart_;
  FindingKind kind = inFlight    ? FindingKind::AsyncInFlight
                     : otherTeam ? FindingKind::BlocksCollide
                     : global    ? FindingKind::GlobalRace
                                 : FindingKind::SharedRace;
  if (team_->reports.repeated(kind, &site, &other))
    return;
  std::string place =
      global ? placeOf(*memory_, address)
             : "shared byte " + std::to_string(address & (kSharedStride - 1));
  std::string text = describe(site) + (write ? " writes " : " reads ") + place + " (" +
                     who(thread) + "), ";
  if (inFlight) {
    text += "which " + describe(other) + (otherWrote ? " is still writing" : " is still reading") +
            (isStream ? std::string() : " (issued by " + agentName(*team_, otherAgent) + ")") +
            ": wait for the asynchronous operation first";
  } else if (otherTeam) {
    uint64_t number = teamAt(otherClock);
    std::string block = launch_->teamBlocks == 1
                            ? blockName(*launch_, number)
                            : "cluster " + std::to_string(number);
    text += std::string("which ") + block + (otherWrote ? " wrote" : " read") +
            " in the same launch by " + describe(other) + ": blocks of a launch are not ordered";
  } else {
    text += "which " + describe(other) + (otherWrote ? " wrote" : " read") + " (" +
            agentName(*team_, otherAgent) + "): no barrier orders the two";
  }
  team_->report({kind, &site, &other, std::move(text)});
}

void Shadow::uninitialised(Thread &thread, const OtodusSimSite &site, uint64_t address,
                           uint32_t bytes, bool global) {
  if (team_->reports.repeated(FindingKind::Uninitialised, &site, nullptr))
    return;
  std::string place = global ? placeOf(*memory_, address)
                             : "shared byte " + std::to_string(address & (kSharedStride - 1));
  team_->report({FindingKind::Uninitialised, &site, nullptr,
                 describe(site) + " reads " + place + ", which nobody has written (" +
                     who(thread) + ")"});
}

void Shadow::outOfBounds(Thread &thread, const OtodusSimSite &site, uint64_t address,
                         uint32_t bytes, bool write) {
  std::string text = std::string(write ? "writes " : "reads ") + std::to_string(bytes) +
                     " bytes at ";
  if (Block *block = team_->sharedOwner(address)) {
    text += "shared byte " + std::to_string(address & (kSharedStride - 1)) +
            ", but the block has " + std::to_string(block->sharedBytes) + " bytes of shared memory";
  } else if (const Allocation *range = memory_->find(address) ? memory_->find(address)
                                                              : memory_->nearest(address)) {
    uint64_t end = range->base + range->bytes;
    text += address < range->base
                ? std::to_string(range->base - address) + " bytes before the start of '" +
                      range->name + "'"
            : address >= end
                ? std::to_string(address - end) + " bytes after the end of '" + range->name + "'"
                : "byte " + std::to_string(address - range->base) + " of '" + range->name + "'";
    text += ", which has " + std::to_string(range->bytes) + " bytes";
  } else {
    text += hex(address) + ", which is no memory of the device";
  }
  team_->fault(thread, site, FindingKind::OutOfBounds, std::move(text));
}

void Shadow::misaligned(Thread &thread, const OtodusSimSite &site, uint64_t address,
                        uint32_t bytes, uint32_t alignment, bool write) {
  std::string place = team_->sharedOwner(address)
                          ? "shared byte " + std::to_string(address & (kSharedStride - 1))
                          : memory_->find(address) ? placeOf(*memory_, address) : hex(address);
  team_->fault(thread, site, FindingKind::Misaligned,
               std::string(write ? "writes " : "reads ") + std::to_string(bytes) + " bytes at " +
                   place + ", which is not a multiple of " + std::to_string(alignment));
}

void Shadow::merge(GlobalMemory &memory, const std::vector<Shadow *> &shadows,
                   const LaunchState &launch, uint64_t last, TeamReports &reports) {
  // A byte that one host thread's teams wrote must not have been touched by another's.
  struct Seen {
    const Shadow *shadow = nullptr;
    uint32_t writeClock = 0, readClock = 0, writeSite = 0, readSite = 0;
    bool atomic = false;
  };
  auto cellAt = [](const Shadow &shadow, const Cell &word, uint32_t byte) {
    Seen seen{&shadow};
    const Cell *cell = &word;
    if (word.isSplit)
      cell = &shadow.splits_[1][4 * word.index + byte];
    else if (!(word.bytes >> byte & 1))
      return seen;
    return Seen{&shadow, cell->writeClock, cell->readClock, cell->writeSite, cell->readSite,
                bool(cell->isAtomic)};
  };
  auto collide = [&](const Allocation &range, uint64_t offset, const Seen &a, bool aWrote,
                     const Seen &b, bool bWrote) {
    const OtodusSimSite &siteA = launch.sites[aWrote ? a.writeSite : a.readSite];
    const OtodusSimSite &siteB = launch.sites[bWrote ? b.writeSite : b.readSite];
    uint64_t teamA = a.shadow->teamAt(aWrote ? a.writeClock : a.readClock);
    uint64_t teamB = b.shadow->teamAt(bWrote ? b.writeClock : b.readClock);
    if (teamA > last || teamB > last ||
        reports.repeated(FindingKind::BlocksCollide, &siteA, &siteB))
      return;
    auto name = [&](uint64_t team) {
      return launch.teamBlocks == 1 ? blockName(launch, team) : "cluster " + std::to_string(team);
    };
    reports.add({FindingKind::BlocksCollide, &siteA, &siteB,
                 describe(siteA) + (aWrote ? " writes" : " reads") + " byte " +
                     std::to_string(offset) + " of '" + range.name + "' (" + name(teamA) +
                     "), which " + name(teamB) + (bWrote ? " wrote" : " read") +
                     " in the same launch by " + describe(siteB) +
                     ": blocks of a launch are not ordered"});
  };
  for (const auto &range : memory.ranges()) {
    size_t pages = 0;
    for (Shadow *shadow : shadows)
      pages = std::max(pages, range->pages[shadow->worker_].size());
    for (size_t page = 0; page < pages; ++page) {
      std::vector<std::pair<const Shadow *, const Cell *>> here;
      for (Shadow *shadow : shadows) {
        const auto &own = range->pages[shadow->worker_];
        if (page < own.size() && own[page])
          here.push_back({shadow, own[page].get()});
      }
      for (size_t i = 0; i < here.size(); ++i)
        for (size_t j = 0; j < i; ++j)
          for (uint64_t word = 0; word < Allocation::kPageCells; ++word) {
            const Cell &x = here[i].second[word], &y = here[j].second[word];
            if ((!x.isSplit && !x.writeClock && !x.readClock) ||
                (!y.isSplit && !y.writeClock && !y.readClock))
              continue;
            for (uint32_t byte = 0; byte < 4; ++byte) {
              Seen a = cellAt(*here[i].first, x, byte), b = cellAt(*here[j].first, y, byte);
              uint64_t offset = page * Allocation::kPageBytes + word * 4 + byte;
              if (a.writeClock && b.writeClock && !(a.atomic && b.atomic))
                collide(*range, offset, a, true, b, true);
              else if (a.writeClock && b.readClock)
                collide(*range, offset, a, true, b, false);
              else if (a.readClock && b.writeClock)
                collide(*range, offset, b, true, a, false);
            }
          }
    }
  }
}

} // namespace otodus::sim

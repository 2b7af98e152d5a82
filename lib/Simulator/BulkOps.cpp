//===- BulkOps.cpp - Bulk copies and tensor maps ---------------------------===//
//
// PTX ISA, "cp.async.bulk" and "cp.async.bulk.tensor". Copies into shared memory are counted in
// bytes by an mbarrier of the destination block; copies out of it are waited for in groups of the
// issuing thread. All are checked when they are issued and executed later, as the launch's options
// say.
//
//===----------------------------------------------------------------------===//

#include "AsyncUnit.h"
#include "Handlers.h"
#include "Numbers.h"
#include "TensorMap.h"

#include <algorithm>
#include <cstring>

namespace otodus::sim {

Block &blockOfRank(Thread &thread, uint32_t rank);

namespace {

//===----------------------------------------------------------------------===//
// Operations
//===----------------------------------------------------------------------===//

/// Where a copy into shared memory goes: one place, or one per block of a multicast.
struct Destination {
  uint64_t shared, mbarrier;
};

struct Destinations {
  uint32_t count = 0;
  Destination at[16];
  const Destination *begin() const { return at; }
  const Destination *end() const { return at + count; }
};

struct TensorLoad final : AsyncOperation {
  const OtodusSimSite *site;
  OtodusSimTensorMap map;
  int32_t coordinates[5];
  Destinations destinations;

  void run(Team &team) override {
    for (const Destination &to : destinations) {
      forEachRun(map, coordinates, [&](const BoxRun &run) {
        for (uint32_t done = 0; done < run.bytes;) {
          // A swizzle moves chunks of 16 bytes.
          uint64_t at = to.shared + run.shared + done;
          uint32_t here = std::min<uint32_t>(run.bytes - done, 16 - at % 16);
          auto *target = reinterpret_cast<uint8_t *>(swizzle(at, map.swizzle));
          if (run.global)
            std::memcpy(target, reinterpret_cast<const uint8_t *>(run.global) + done, here);
          else
            std::memset(target, map.fillNaN ? 0xff : 0, here);
          done += here;
        }
      });
      team.asyncUnit->complete(*site, to.mbarrier, boxBytes(map));
    }
  }
};

struct TensorStore final : AsyncOperation {
  OtodusSimTensorMap map;
  int32_t coordinates[5];
  uint64_t shared;
  int64_t reduction; ///< OtodusSimWord, or -1

  void run(Team &) override {
    forEachRun(map, coordinates, [&](const BoxRun &run) {
      if (!run.global)
        return;
      for (uint32_t done = 0; done < run.bytes;) {
        uint64_t at = shared + run.shared + done;
        uint32_t here = std::min<uint32_t>(run.bytes - done, 16 - at % 16);
        auto *from = reinterpret_cast<const uint8_t *>(swizzle(at, map.swizzle));
        auto *to = reinterpret_cast<uint8_t *>(run.global) + done;
        if (reduction < 0)
          std::memcpy(to, from, here);
        else
          for (uint32_t i = 0; i < here; i += map.elementBytes)
            reduce(to + i, from + i);
        done += here;
      }
    });
  }

private:
  template <typename T, typename F> static void apply(uint8_t *to, const uint8_t *from, F f) {
    T a, b;
    std::memcpy(&a, to, sizeof(T));
    std::memcpy(&b, from, sizeof(T));
    a = static_cast<T>(f(a, b));
    std::memcpy(to, &a, sizeof(T));
  }
  void reduce(uint8_t *to, const uint8_t *from) const;
};

/// Whether TensorStore::reduce knows the reduction of that type.
bool canReduce(uint8_t type, int64_t reduction) {
  bool isFloat = type == OTODUS_SIM_F32 || type == OTODUS_SIM_F16 || type == OTODUS_SIM_BF16;
  bool isInteger = type == OTODUS_SIM_I32 || type == OTODUS_SIM_I64;
  switch (reduction) {
  case OTODUS_SIM_WORD_Add:
    return isFloat || isInteger;
  case OTODUS_SIM_WORD_Min:
  case OTODUS_SIM_WORD_Max:
    return type == OTODUS_SIM_F16 || type == OTODUS_SIM_BF16;
  case OTODUS_SIM_WORD_And:
  case OTODUS_SIM_WORD_Or:
  case OTODUS_SIM_WORD_Xor:
    return isInteger;
  default:
    return false;
  }
}

void TensorStore::reduce(uint8_t *to, const uint8_t *from) const {
  auto inFloat = [&](float a, float b) {
    return reduction == OTODUS_SIM_WORD_Add   ? a + b
           : reduction == OTODUS_SIM_WORD_Min ? std::min(a, b)
                                              : std::max(a, b);
  };
  auto inInteger = [&](auto a, auto b) {
    return reduction == OTODUS_SIM_WORD_Add   ? a + b
           : reduction == OTODUS_SIM_WORD_And ? a & b
           : reduction == OTODUS_SIM_WORD_Or  ? a | b
                                              : a ^ b;
  };
  switch (map.elementType) {
  case OTODUS_SIM_F32:
    return apply<float>(to, from, inFloat);
  case OTODUS_SIM_BF16:
    return apply<uint16_t>(to, from, [&](uint16_t a, uint16_t b) {
      return floatToBf16(inFloat(bf16ToFloat(a), bf16ToFloat(b)));
    });
  case OTODUS_SIM_F16:
    return apply<uint16_t>(to, from, [&](uint16_t a, uint16_t b) {
      return floatToF16(inFloat(f16ToFloat(a), f16ToFloat(b)));
    });
  case OTODUS_SIM_I64:
    return apply<uint64_t>(to, from, inInteger);
  default:
    return apply<uint32_t>(to, from, inInteger);
  }
}

struct PlainLoad final : AsyncOperation {
  const OtodusSimSite *site;
  uint64_t from;
  uint32_t bytes;
  Destinations destinations;

  void run(Team &team) override {
    for (const Destination &to : destinations) {
      std::memcpy(reinterpret_cast<void *>(to.shared), reinterpret_cast<const void *>(from), bytes);
      team.asyncUnit->complete(*site, to.mbarrier, bytes);
    }
  }
};

struct PlainStore final : AsyncOperation {
  uint64_t from, to;
  uint32_t bytes, mask; ///< bit i: byte i of each 16 is copied

  void run(Team &) override {
    auto *source = reinterpret_cast<const uint8_t *>(from);
    auto *target = reinterpret_cast<uint8_t *>(to);
    for (uint32_t i = 0; i < bytes; ++i)
      if (mask >> (i % 16) & 1)
        target[i] = source[i];
  }
};

//===----------------------------------------------------------------------===//
// Issue
//===----------------------------------------------------------------------===//

/// The operands of one group of the op's definition.
struct Operands {
  const uint64_t *first;
  uint32_t count;
  uint64_t operator[](uint32_t i) const { return first[i]; }
};

Operands operands(const OtodusSimSite &site, const uint64_t *slots, uint32_t group) {
  uint32_t first = 0;
  for (uint32_t i = 0; i < group; ++i)
    first += site.segments[i];
  return {slots + first, site.segments[group]};
}

OtodusSimTensorMap readMap(Thread &thread, const OtodusSimSite &site, uint64_t address,
                           uint32_t rank) {
  Team &team = *thread.team;
  if (address % 64)
    team.fault(thread, site, FindingKind::TensorMap,
               "expected the tensor map at a multiple of 64 bytes");
  OtodusSimTensorMap map;
  std::memcpy(&map, reinterpret_cast<const void *>(address), sizeof map);
  if (map.magic != OTODUS_SIM_TENSOR_MAP)
    team.fault(thread, site, FindingKind::TensorMap,
               "expected a tensor map, found other bytes (the launch's parameter is not one that "
               "otodusSimEncodeTensorMap made)");
  if (map.rank != rank)
    team.fault(thread, site, FindingKind::TensorMap,
               "expected as many coordinates as the tensor map has dimensions, " +
                   std::to_string(map.rank) + ", found " + std::to_string(rank));
  return map;
}

void checkBox(Thread &thread, const OtodusSimSite &site, const OtodusSimTensorMap &map,
              uint64_t shared) {
  std::string reason = refuseBox(map, shared);
  if (!reason.empty())
    thread.team->fault(thread, site, FindingKind::TensorMap, std::move(reason));
}

void checkPlain(Thread &thread, const OtodusSimSite &site, uint64_t from, uint64_t to,
                uint64_t bytes) {
  if ((from | to | bytes) % 16 || bytes == 0 || bytes >= 1 << 20)
    thread.team->fault(thread, site, FindingKind::TensorMap,
                       "expected addresses and a size that are multiples of 16 bytes, found " +
                           std::to_string(from % 16) + " and " + std::to_string(to % 16) +
                           " bytes past one and a size of " + std::to_string(bytes));
}

/// Destinations of a copy to `shared` that signals `mbarrier`: the block of these addresses, or
/// with a mask the blocks of the cluster at the same offsets.
Destinations destinationsOf(Thread &thread, const OtodusSimSite &site, uint64_t shared,
                            uint64_t mbarrier, Operands mask) {
  Team &team = *thread.team;
  AsyncUnit &unit = *team.asyncUnit;
  if (!mask.count) {
    Block &to = unit.owner(thread, site, shared, /*own=*/false, "the destination");
    if (team.sharedOwner(mbarrier) != &to)
      team.fault(thread, site, FindingKind::Cluster,
                 "expected the mbarrier in the shared memory of the destination's block");
    return {1, {{shared, mbarrier}}};
  }
  uint32_t blocks = uint32_t(mask[0]) & 0xffff;
  if (blocks == 0 || blocks >> thread.cluster_nctarank)
    team.fault(thread, site, FindingKind::Cluster,
               "expected a multicast mask of the cluster's " +
                   std::to_string(thread.cluster_nctarank) + " blocks, found " +
                   std::to_string(blocks));
  Destinations result;
  for (uint32_t rank = 0; rank < thread.cluster_nctarank; ++rank) {
    if (!(blocks >> rank & 1))
      continue;
    uint64_t base = uint64_t(blockOfRank(thread, rank).shared);
    Destination to{base + (shared & (kSharedStride - 1)), base + (mbarrier & (kSharedStride - 1))};
    unit.owner(thread, site, to.shared, /*own=*/false, "the destination");
    result.at[result.count++] = to;
  }
  return result;
}

/// Marks `bytes` of each destination as written by the operation from now on, and returns the
/// stand-in for it that reads global memory.
Thread &beginLoad(Thread &thread, const OtodusSimSite &site,
                  const Destinations &destinations, uint32_t bytes) {
  Team &team = *thread.team;
  AsyncUnit &unit = *team.asyncUnit;
  Thread *agent = nullptr;
  for (const Destination &to : destinations) {
    Mbarrier &barrier = unit.mbarrier(thread, site, to.mbarrier);
    unit.requireFence(thread, site, barrier);
    team.shadow.bounds(thread, site, to.shared, bytes, 1, true);
    team.shadow.checkProxy(thread, site, to.shared, bytes);
    agent = &unit.fork(barrier.stream, thread);
    team.shadow.store(*agent, site, to.shared, bytes, 1);
    ++team.shadow.open;
  }
  return *agent;
}

/// The thread's groups, and the stand-in that reads shared memory [from, from + bytes) for a copy
/// out of it.
BulkGroups &beginStore(Thread &thread, const OtodusSimSite &site, uint64_t from, uint32_t bytes) {
  Team &team = *thread.team;
  AsyncUnit &unit = *team.asyncUnit;
  unit.owner(thread, site, from, /*own=*/true, "the source");
  auto [found, isNew] = unit.bulk.try_emplace(thread.agent);
  BulkGroups &groups = found->second;
  if (isNew) {
    groups.readStream = unit.newStream();
    groups.writeStream = unit.newStream();
  }
  team.shadow.bounds(thread, site, from, bytes, 1, false);
  team.shadow.checkProxy(thread, site, from, bytes);
  team.shadow.load(unit.fork(groups.readStream, thread), site, from, bytes, 1);
  unit.fork(groups.writeStream, thread);
  return groups;
}

/// Runs the copy now or leaves it to the wait, as the options say.
void addToGroup(Team &team, const OtodusSimSite &site, BulkGroups &groups,
                std::unique_ptr<AsyncOperation> copy) {
  ++groups.current.count;
  ++team.shadow.open;
  groups.current.site = &site;
  uint32_t when = team.launch->options.async;
  if (when == OTODUS_SIM_EARLY || (when == OTODUS_SIM_MIXED && team.toss()))
    copy->run(team);
  else
    groups.current.copies.push_back(std::move(copy));
}

void tensorStore(Thread &thread, const OtodusSimSite &site, uint64_t mapAddress, uint64_t shared,
                 Operands coordinates, int64_t reduction) {
  Team &team = *thread.team;
  TensorStore store; // a fault leaves this stack for good: nothing on the heap
  store.map = readMap(thread, site, mapAddress, coordinates.count);
  checkBox(thread, site, store.map, shared);
  if (reduction >= 0 && !canReduce(store.map.elementType, reduction))
    team.fault(thread, site, FindingKind::Unsupported,
               "this reduction of elements of this type is not simulated");
  for (uint32_t i = 0; i < coordinates.count; ++i)
    store.coordinates[i] = int32_t(uint32_t(coordinates[i]));
  store.shared = shared;
  store.reduction = reduction;
  BulkGroups &groups = beginStore(thread, site, shared, boxBytes(store.map));
  Thread &agent = team.asyncUnit->fork(groups.writeStream, thread);
  forEachRun(store.map, store.coordinates, [&](const BoxRun &run) {
    if (!run.global)
      return;
    if (reduction < 0)
      team.shadow.store(agent, site, run.global, run.bytes, 1);
    else
      for (uint32_t i = 0; i < run.bytes; i += store.map.elementBytes)
        team.shadow.atomic(agent, site, run.global + i, store.map.elementBytes);
  });
  addToGroup(team, site, groups, std::make_unique<decltype(store)>(store));
}

} // namespace

namespace handlers {

// Operands: destination, map, coordinates, mbarrier, im2col offsets, multicast mask, cache hint,
// predicate. Attributes: mode.
void tensorLoad(Thread &thread, const OtodusSimSite &site, uint64_t *slots, void *) {
  Operands predicate = operands(site, slots, 7);
  if (predicate.count && !(predicate[0] & 1))
    return;
  Team &team = *thread.team;
  Operands coordinates = operands(site, slots, 2);
  uint64_t shared = slots[0];
  TensorLoad load; // a fault leaves this stack for good: nothing on the heap
  load.site = &site;
  load.map = readMap(thread, site, slots[1], coordinates.count);
  for (uint32_t i = 0; i < coordinates.count; ++i)
    load.coordinates[i] = int32_t(uint32_t(coordinates[i]));
  checkBox(thread, site, load.map, shared);
  load.destinations = destinationsOf(thread, site, shared, operands(site, slots, 3)[0],
                                      operands(site, slots, 5));
  Thread &agent = beginLoad(thread, site, load.destinations, boxBytes(load.map));
  forEachRun(load.map, load.coordinates, [&](const BoxRun &run) {
    if (run.global)
      team.shadow.load(agent, site, run.global, run.bytes, 1);
  });
  team.defer(std::make_unique<decltype(load)>(load));
}

// Operands: map, source, coordinates, cache hint, predicate.
void tensorStore(Thread &thread, const OtodusSimSite &site, uint64_t *slots, void *) {
  Operands predicate = operands(site, slots, 4);
  if (!predicate.count || (predicate[0] & 1))
    sim::tensorStore(thread, site, slots[0], slots[1], operands(site, slots, 2), -1);
}

// Operands: map, source, coordinates, cache hint. Attributes: redKind, mode.
void tensorReduce(Thread &thread, const OtodusSimSite &site, uint64_t *slots, void *) {
  sim::tensorStore(thread, site, slots[0], slots[1], operands(site, slots, 2), site.attributes[0]);
}

// Operands: destination, source, mbarrier, size, multicast mask, cache hint.
void bulkLoad(Thread &thread, const OtodusSimSite &site, uint64_t *slots, void *) {
  Team &team = *thread.team;
  PlainLoad load;
  load.site = &site;
  load.from = slots[1];
  load.bytes = uint32_t(slots[3]);
  checkPlain(thread, site, slots[1], slots[0], load.bytes);
  load.destinations = destinationsOf(thread, site, slots[0], slots[2], operands(site, slots, 4));
  Thread &agent = beginLoad(thread, site, load.destinations, load.bytes);
  team.shadow.load(agent, site, load.from, load.bytes, 16);
  team.defer(std::make_unique<decltype(load)>(load));
}

// Operands: destination in the cluster, source, mbarrier, size.
void bulkToCluster(Thread &thread, const OtodusSimSite &site, uint64_t *slots, void *) {
  Team &team = *thread.team;
  PlainLoad load;
  load.site = &site;
  load.from = slots[1];
  load.bytes = uint32_t(slots[3]);
  checkPlain(thread, site, slots[1], slots[0], load.bytes);
  team.asyncUnit->owner(thread, site, slots[1], /*own=*/true, "the source");
  load.destinations = destinationsOf(thread, site, slots[0], slots[2], {nullptr, 0});
  team.shadow.bounds(thread, site, load.from, load.bytes, 16, false);
  team.shadow.checkProxy(thread, site, load.from, load.bytes);
  Thread &agent = beginLoad(thread, site, load.destinations, load.bytes);
  team.shadow.load(agent, site, load.from, load.bytes, 16);
  team.defer(std::make_unique<decltype(load)>(load));
}

// Operands: destination, source, size, cache hint, byte mask.
void bulkStore(Thread &thread, const OtodusSimSite &site, uint64_t *slots, void *) {
  Team &team = *thread.team;
  PlainStore store;
  store.to = slots[0];
  store.from = slots[1];
  store.bytes = uint32_t(slots[2]);
  Operands mask = operands(site, slots, 4);
  store.mask = mask.count ? uint32_t(mask[0]) & 0xffff : 0xffff;
  checkPlain(thread, site, store.from, store.to, store.bytes);
  BulkGroups &groups = beginStore(thread, site, store.from, store.bytes);
  Thread &agent = team.asyncUnit->fork(groups.writeStream, thread);
  if (store.mask == 0xffff)
    team.shadow.store(agent, site, store.to, store.bytes, 16);
  else
    for (uint32_t i = 0; i < store.bytes; ++i)
      if (store.mask >> (i % 16) & 1)
        team.shadow.store(agent, site, store.to + i, 1, 1);
  addToGroup(team, site, groups, std::make_unique<decltype(store)>(store));
}

void bulkCommit(Thread &thread, const OtodusSimSite &, uint64_t *, void *) {
  AsyncUnit &unit = *thread.team->asyncUnit;
  auto found = unit.bulk.find(thread.agent);
  if (found == unit.bulk.end())
    return; // an empty group, over at once
  BulkGroups &groups = found->second;
  groups.current.reads = unit.finish(groups.readStream);
  groups.current.writes = unit.finish(groups.writeStream);
  groups.committed.push_back(std::move(groups.current));
  groups.current = BulkGroups::Group();
}

// Attributes: group, read.
void bulkWait(Thread &thread, const OtodusSimSite &site, uint64_t *, void *) {
  Team &team = *thread.team;
  auto found = team.asyncUnit->bulk.find(thread.agent);
  if (found == team.asyncUnit->bulk.end())
    return;
  std::deque<BulkGroups::Group> &committed = found->second.committed;
  size_t left = size_t(site.attributes[0]);
  size_t covered = committed.size() > left ? committed.size() - left : 0;
  for (size_t i = 0; i < covered; ++i) {
    BulkGroups::Group &group = committed[i];
    for (auto &copy : group.copies)
      copy->run(team);
    group.copies.clear();
    if (!group.wasRead)
      team.shadow.open -= group.count;
    group.wasRead = true;
  }
  if (!covered)
    return;
  team.shadow.acquire(thread.agent, committed[covered - 1].reads);
  if (site.attributes[1] > 0)
    return;
  team.shadow.acquire(thread.agent, committed[covered - 1].writes);
  committed.erase(committed.begin(), committed.begin() + ptrdiff_t(covered));
}

} // namespace handlers
} // namespace otodus::sim

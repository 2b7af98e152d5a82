//===- MbarrierOps.cpp - Barriers that are objects in shared memory --------===//
//
// PTX ISA, "mbarrier": a phase ends when no arrival and no announced byte is missing. A thread that
// waits acquires what those who arrived have released, and the copies whose bytes it counted.
//
//===----------------------------------------------------------------------===//

#include "AsyncUnit.h"
#include "Handlers.h"

namespace otodus::sim {

/// The opaque value that an arrival returns: the phase it took part in, told from a parity.
constexpr uint64_t kStateBit = uint64_t(1) << 63;

static bool isPredicatedOff(const OtodusSimSite &site, const uint64_t *slots, uint32_t operand) {
  return site.operands > operand && !(slots[operand] & 1);
}

/// True if `stateOrParity` names a phase that is over.
static bool isOver(const Mbarrier &barrier, uint64_t stateOrParity) {
  if (stateOrParity & kStateBit)
    return barrier.phase > (stateOrParity & ~kStateBit);
  return (barrier.phase & 1) != (stateOrParity & 1);
}

static void block(Thread &thread, const OtodusSimSite &site, Mbarrier &barrier,
                  uint64_t stateOrParity) {
  Team &team = *thread.team;
  if (!isOver(barrier, stateOrParity)) {
    barrier.waiting.push_back({&thread, barrier.phase});
    return team.wait(thread, site, "for an mbarrier");
  }
  team.shadow.acquire(thread.agent, barrier.completed);
}

static Mbarrier &own(Thread &thread, const OtodusSimSite &site, uint64_t address) {
  AsyncUnit &unit = *thread.team->asyncUnit;
  unit.owner(thread, site, address, /*own=*/true, "the mbarrier");
  return unit.mbarrier(thread, site, address);
}

static void arriveAt(Thread &thread, const OtodusSimSite &site, uint64_t address, uint32_t count,
                     int64_t bytes, bool relaxed, bool drop, void *result) {
  Team &team = *thread.team;
  AsyncUnit &unit = *team.asyncUnit;
  Block &owner = unit.owner(thread, site, address, /*own=*/false, "the mbarrier");
  Mbarrier &barrier = unit.mbarrier(thread, site, address);
  if (&owner != thread.block)
    unit.requireFence(thread, site, barrier);
  if (result)
    *static_cast<uint64_t *>(result) = kStateBit | barrier.phase;
  if (!relaxed)
    barrier.arriving = team.shadow.join(barrier.arriving, team.shadow.release(thread.agent));
  if (drop)
    barrier.expected -= count < barrier.expected ? count : barrier.expected;
  if (bytes)
    unit.expect(thread, site, barrier, bytes);
  unit.arrive(thread, site, barrier, count);
}

namespace handlers {

void mbarrierInit(Thread &thread, const OtodusSimSite &site, uint64_t *slots, void *) {
  if (isPredicatedOff(site, slots, 2))
    return;
  Team &team = *thread.team;
  AsyncUnit &unit = *team.asyncUnit;
  uint64_t address = slots[0];
  uint32_t count = uint32_t(slots[1]);
  unit.owner(thread, site, address, /*own=*/true, "the mbarrier");
  if (count < 1 || count >= 1u << 20)
    team.fault(thread, site, FindingKind::BarrierObject,
               "expected a count from 1 to 2^20 - 1, found " + std::to_string(count));
  team.shadow.store(thread, site, address, 8, 8);
  auto [found, isNew] = unit.mbarriers.try_emplace(address);
  Mbarrier &barrier = found->second;
  if (!isNew && !team.reports.repeated(FindingKind::BarrierObject, &site, nullptr))
    team.report({FindingKind::BarrierObject, &site, nullptr,
                 describe(site) + " initialises an mbarrier that is in use: end it with "
                                  "mbarrier.inval first"});
  uint32_t stream = isNew ? unit.newStream() : barrier.stream;
  barrier = Mbarrier();
  barrier.stream = stream;
  barrier.expected = barrier.pending = count;
  barrier.initialiser = thread.agent;
}

void mbarrierInval(Thread &thread, const OtodusSimSite &site, uint64_t *slots, void *) {
  Mbarrier &barrier = own(thread, site, slots[0]);
  Team &team = *thread.team;
  if (!barrier.waiting.empty() || barrier.transactions > 0)
    team.fault(thread, site, FindingKind::BarrierObject,
               "ends an mbarrier on which " + std::to_string(barrier.waiting.size()) +
                   " threads and " + std::to_string(barrier.transactions) + " bytes are under way");
  team.shadow.store(thread, site, slots[0], 8, 8);
  team.asyncUnit->mbarriers.erase(slots[0]);
}

void mbarrierExpectTx(Thread &thread, const OtodusSimSite &site, uint64_t *slots, void *) {
  AsyncUnit &unit = *thread.team->asyncUnit;
  unit.owner(thread, site, slots[0], /*own=*/false, "the mbarrier");
  unit.expect(thread, site, unit.mbarrier(thread, site, slots[0]), uint32_t(slots[1]));
}

void mbarrierCompleteTx(Thread &thread, const OtodusSimSite &site, uint64_t *slots, void *) {
  AsyncUnit &unit = *thread.team->asyncUnit;
  unit.owner(thread, site, slots[0], /*own=*/false, "the mbarrier");
  Mbarrier &barrier = unit.mbarrier(thread, site, slots[0]);
  unit.expect(thread, site, barrier, -int64_t(uint32_t(slots[1])));
  unit.advance(barrier);
}

// Attributes: relaxed.
void mbarrierArrive(Thread &thread, const OtodusSimSite &site, uint64_t *slots, void *result) {
  uint32_t count = site.operands > 1 ? uint32_t(slots[1]) : 1;
  arriveAt(thread, site, slots[0], count, 0, site.attributes[0] > 0, false, result);
}

void mbarrierArriveNoComplete(Thread &thread, const OtodusSimSite &site, uint64_t *slots,
                              void *result) {
  Mbarrier &barrier = own(thread, site, slots[0]);
  if (uint32_t(slots[1]) >= barrier.pending)
    thread.team->fault(thread, site, FindingKind::BarrierObject,
                       "promises not to complete the phase, but arrives for the last " +
                           std::to_string(barrier.pending) + " missing arrivals");
  arriveAt(thread, site, slots[0], uint32_t(slots[1]), 0, false, false, result);
}

void mbarrierArriveDrop(Thread &thread, const OtodusSimSite &site, uint64_t *slots, void *result) {
  uint32_t count = site.operands > 1 ? uint32_t(slots[1]) : 1;
  arriveAt(thread, site, slots[0], count, 0, site.attributes[0] > 0, true, result);
}

void mbarrierArriveExpectTx(Thread &thread, const OtodusSimSite &site, uint64_t *slots,
                            void *result) {
  if (isPredicatedOff(site, slots, 2))
    return;
  arriveAt(thread, site, slots[0], 1, uint32_t(slots[1]), site.attributes[0] > 0, false, result);
}

void mbarrierArriveDropExpectTx(Thread &thread, const OtodusSimSite &site, uint64_t *slots,
                                void *result) {
  arriveAt(thread, site, slots[0], 1, uint32_t(slots[1]), site.attributes[0] > 0, true, result);
}

/// The op loops until the phase is over.
void mbarrierWaitParity(Thread &thread, const OtodusSimSite &site, uint64_t *slots, void *) {
  block(thread, site, own(thread, site, slots[0]), uint32_t(slots[1]));
}

/// May suspend the thread for as long as it likes: until the phase is over, that is.
void mbarrierTryWait(Thread &thread, const OtodusSimSite &site, uint64_t *slots, void *result) {
  block(thread, site, own(thread, site, slots[0]), slots[1]);
  *static_cast<uint8_t *>(result) = 1;
}

void mbarrierTestWait(Thread &thread, const OtodusSimSite &site, uint64_t *slots, void *result) {
  Mbarrier &barrier = own(thread, site, slots[0]);
  bool over = isOver(barrier, slots[1]);
  *static_cast<uint8_t *>(result) = over;
  if (over)
    thread.team->shadow.acquire(thread.agent, barrier.completed);
  else
    thread.team->yield(thread);
}

static void fenceInitialisations(Thread &thread) {
  for (auto &[address, barrier] : thread.team->asyncUnit->mbarriers)
    if (barrier.initialiser == thread.agent)
      barrier.fenced = true;
}

void fenceMbarrierInit(Thread &thread, const OtodusSimSite &, uint64_t *, void *) {
  fenceInitialisations(thread);
  Team &team = *thread.team;
  team.asyncUnit->fenced[thread.agent] = team.shadow.release(thread.agent);
}

// Attributes: kind.
void fenceProxy(Thread &thread, const OtodusSimSite &site, uint64_t *, void *) {
  switch (site.attributes[0]) {
  case OTODUS_SIM_WORD_Async:
  case OTODUS_SIM_WORD_AsyncShared:
    thread.team->shadow.fenceProxy(thread.agent);
    fenceInitialisations(thread);
    break;
  default: // of other proxies and memories: nothing here goes through them
    break;
  }
}

// Attributes: regCount, action.
void setMaxRegisters(Collective &collective) {
  Team &team = collective.team;
  int64_t count = collective.attribute(0);
  Thread &thread = collective.thread(0);
  if (count < 24 || count > 256 || count % 8)
    team.fault(thread, collective.site, FindingKind::Registers,
               "expected a multiple of 8 from 24 to 256 registers, found " + std::to_string(count));
  AsyncUnit &unit = *team.asyncUnit;
  Block &block = collective.block;
  uint32_t warps = uint32_t(block.warps.size());
  uint32_t *registers = unit.registers.data() + block.rank * warps;
  registers[thread.warpid] = uint32_t(count);
  // Once all have said what they need, it must fit; until then an increase may have to wait.
  uint64_t sum = 0;
  for (uint32_t warp = 0; warp < warps; ++warp) {
    if (!registers[warp])
      return;
    sum += registers[warp] * 32;
  }
  if (sum > 65536)
    team.fault(thread, collective.site, FindingKind::Registers,
               "asks for " + std::to_string(count) + " registers per thread, with which the "
               "block's warps hold " + std::to_string(sum) + "; a multiprocessor has 65536, so "
               "the op would wait forever");
}

} // namespace handlers
} // namespace otodus::sim

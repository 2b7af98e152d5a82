//===- WarpOps.cpp - Shuffles, votes, reductions of a warp -----------------===//
//
// PTX ISA 9.7.9 "Data Movement": shfl.sync; 9.7.13 "Parallel Synchronization": vote.sync,
// match.sync, redux.sync, elect.sync, bar.warp.sync.
//
//===----------------------------------------------------------------------===//

#include "Handlers.h"

#include <bit>
#include <cmath>
#include <cstring>

namespace otodus::sim::handlers {

/// The only one of these that orders memory.
void warpSync(Collective &c) {
  Thread *lanes[32];
  size_t count = 0;
  for (uint32_t lane = 0; lane < 32; ++lane)
    if (c.has(lane))
      lanes[count++] = &c.thread(lane);
  c.team.shadow.synchronise(lanes, count);
}

/// Operands: mask, value, offset, clamp and segment mask. Result: the value, with
/// return_value_and_is_valid a struct of value and i1.
void shuffle(Collective &c) {
  struct WithFlag {
    uint32_t value;
    uint8_t valid;
  };
  bool flagged = c.attribute(1) > 0;
  for (uint32_t lane = 0; lane < 32; ++lane) {
    if (!c.has(lane))
      continue;
    const uint64_t *slots = c.slots(lane);
    uint32_t offset = uint32_t(slots[2]) & 31, control = uint32_t(slots[3]);
    uint32_t clamp = control & 31, segment = control >> 8 & 31;
    uint32_t highest = (lane & segment) | (clamp & ~segment), lowest = lane & segment;
    int64_t source;
    bool valid;
    switch (c.attribute(0)) {
    case OTODUS_SIM_WORD_Up:
      source = int64_t(lane) - offset;
      valid = source >= int64_t(highest);
      break;
    case OTODUS_SIM_WORD_Down:
      source = lane + offset;
      valid = source <= int64_t(highest);
      break;
    case OTODUS_SIM_WORD_Bfly:
      source = lane ^ offset;
      valid = source <= int64_t(highest);
      break;
    default:
      source = lowest | (offset & ~segment);
      valid = source <= int64_t(highest);
    }
    if (!valid)
      source = lane;
    if (!c.has(uint32_t(source))) [[unlikely]]
      c.team.fault(c.thread(lane), c.site, FindingKind::DivergentCollective,
                   "lane " + std::to_string(lane) + " reads lane " + std::to_string(source) +
                       ", which its mask does not name");
    uint32_t value = uint32_t(c.slots(uint32_t(source))[1]);
    if (flagged)
      c.result<WithFlag>(lane) = {value, uint8_t(valid)};
    else
      c.result<uint32_t>(lane) = value;
  }
}

/// Operands: mask, predicate.
void vote(Collective &c) {
  uint32_t ballot = 0;
  for (uint32_t lane = 0; lane < 32; ++lane)
    if (c.has(lane) && (c.slots(lane)[1] & 1))
      ballot |= 1u << lane;
  for (uint32_t lane = 0; lane < 32; ++lane) {
    if (!c.has(lane))
      continue;
    switch (c.attribute(0)) {
    case OTODUS_SIM_WORD_Ballot: c.result<uint32_t>(lane) = ballot; break;
    case OTODUS_SIM_WORD_Any: c.result<uint8_t>(lane) = ballot != 0; break;
    case OTODUS_SIM_WORD_All: c.result<uint8_t>(lane) = ballot == c.mask; break;
    default: c.result<uint8_t>(lane) = ballot == 0 || ballot == c.mask; break;
    }
  }
}

/// Operands: value, mask. f32 forms: fmin, fmax, with `abs` of absolute values, with `nan` a NaN
/// wins; otherwise it is ignored.
void redux(Collective &c) {
  bool first = true, absolute = c.attribute(1) > 0, keepNaN = c.attribute(2) > 0;
  uint32_t sum = 0;
  float best = NAN;
  bool sawNaN = false;
  for (uint32_t lane = 0; lane < 32; ++lane) {
    if (!c.has(lane))
      continue;
    uint32_t value = uint32_t(c.slots(lane)[0]);
    switch (c.attribute(0)) {
    case OTODUS_SIM_WORD_Add: sum = first ? value : sum + value; break;
    case OTODUS_SIM_WORD_And: sum = first ? value : sum & value; break;
    case OTODUS_SIM_WORD_Or: sum = first ? value : sum | value; break;
    case OTODUS_SIM_WORD_Xor: sum = first ? value : sum ^ value; break;
    case OTODUS_SIM_WORD_Max:
      sum = first ? value : uint32_t(std::max(int32_t(sum), int32_t(value)));
      break;
    case OTODUS_SIM_WORD_Min:
      sum = first ? value : uint32_t(std::min(int32_t(sum), int32_t(value)));
      break;
    case OTODUS_SIM_WORD_UMax: sum = first ? value : std::max(sum, value); break;
    case OTODUS_SIM_WORD_UMin: sum = first ? value : std::min(sum, value); break;
    case OTODUS_SIM_WORD_FMax:
    case OTODUS_SIM_WORD_FMin: {
      float x = std::bit_cast<float>(value);
      x = absolute ? std::fabs(x) : x;
      sawNaN |= std::isnan(x);
      best = c.attribute(0) == OTODUS_SIM_WORD_FMax ? std::fmax(best, x) : std::fmin(best, x);
      sum = std::bit_cast<uint32_t>(keepNaN && sawNaN ? NAN : best);
      break;
    }
    default:
      c.team.fault(c.thread(lane), c.site, FindingKind::Unsupported, "has an unknown kind");
    }
    first = false;
  }
  for (uint32_t lane = 0; lane < 32; ++lane)
    if (c.has(lane))
      c.result<uint32_t>(lane) = sum;
}

/// Operands: mask, value (i32 or i64). any: lanes with the same value. all: a struct of the mask
/// or 0, and whether all are equal.
void match(Collective &c) {
  struct WithFlag {
    uint32_t mask;
    uint8_t equal;
  };
  for (uint32_t lane = 0; lane < 32; ++lane) {
    if (!c.has(lane))
      continue;
    uint32_t same = 0;
    for (uint32_t other = 0; other < 32; ++other)
      if (c.has(other) && c.slots(other)[1] == c.slots(lane)[1])
        same |= 1u << other;
    if (c.attribute(0) == OTODUS_SIM_WORD_Any)
      c.result<uint32_t>(lane) = same;
    else
      c.result<WithFlag>(lane) = {same == c.mask ? same : 0, uint8_t(same == c.mask)};
  }
}

/// The least lane is the leader.
void elect(Collective &c) {
  uint32_t leader = uint32_t(std::countr_zero(c.mask));
  for (uint32_t lane = 0; lane < 32; ++lane)
    if (c.has(lane))
      c.result<uint8_t>(lane) = lane == leader;
}

} // namespace otodus::sim::handlers

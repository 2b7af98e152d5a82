//===- Reports.h - What the simulator found, without repeating itself ------===//
//
// A finding names up to two ops. Findings of one kind at the same pair of ops are one report that
// counts them. Teams collect their own; a launch prints them in the order of teams, so that the
// text does not depend on how host threads were scheduled.
//
//===----------------------------------------------------------------------===//

#pragma once

#include "otodus/ABI/Sim.h"

#include <cstdint>
#include <string>
#include <vector>

namespace otodus::sim {

enum class FindingKind : uint8_t {
  SharedRace,
  GlobalRace,
  BlocksCollide,     ///< two blocks, one byte
  OutOfBounds,
  Misaligned,
  Uninitialised,
  AsyncInFlight,     ///< access to memory that an asynchronous operation still writes or reads
  DivergentBarrier,
  BarrierCount,
  DivergentCollective,
  EarlyExit,
  Deadlock,
  Timeout,
  BarrierObject,     ///< misuse of an mbarrier
  TensorMap,         ///< misuse of a tensor map or bulk copy
  Descriptor,        ///< wrong matrix descriptor of wgmma
  ProxyFence,        ///< generic access and asynchronous proxy without a fence
  Registers,         ///< registers of an unfinished wgmma, setmaxnreg
  Cluster,
  Unsupported,       ///< a form of an op that the simulator does not know
  Usage,             ///< the launch itself
};

/// "shared memory race", "access out of bounds" ...
const char *kindName(FindingKind kind);

struct Finding {
  FindingKind kind;
  const OtodusSimSite *site = nullptr, *other = nullptr;
  /// The whole report: one line or several, without newline at the end.
  std::string text;
  uint64_t count = 1;
};

class TeamReports {
public:
  /// True if this pair of ops has such a finding already; then it is only counted. Call it before
  /// making a text.
  bool repeated(FindingKind kind, const OtodusSimSite *site, const OtodusSimSite *other);
  void add(Finding finding);
  std::vector<Finding> take() { return std::move(findings_); }
  void clear() { findings_.clear(); }
  bool empty() const { return findings_.empty(); }

private:
  std::vector<Finding> findings_;
};

/// "nvvm.barrier0 at kernel.mlir:12:5", with the label if there is one.
std::string describe(const OtodusSimSite &site);

} // namespace otodus::sim

//===- Reports.cpp - What the simulator found ------------------------------===//

#include "Reports.h"
#include "Handlers.h"

namespace otodus::sim {

const char *kindName(FindingKind kind) {
  switch (kind) {
  case FindingKind::SharedRace: return "shared memory race";
  case FindingKind::GlobalRace: return "global memory race";
  case FindingKind::BlocksCollide: return "blocks collide in global memory";
  case FindingKind::OutOfBounds: return "access out of bounds";
  case FindingKind::Misaligned: return "misaligned access";
  case FindingKind::Uninitialised: return "read of uninitialised memory";
  case FindingKind::AsyncInFlight: return "asynchronous operation in flight";
  case FindingKind::DivergentBarrier: return "divergent barrier";
  case FindingKind::BarrierCount: return "barrier count mismatch";
  case FindingKind::DivergentCollective: return "divergent collective";
  case FindingKind::EarlyExit: return "early exit";
  case FindingKind::Deadlock: return "deadlock";
  case FindingKind::Timeout: return "timeout";
  case FindingKind::BarrierObject: return "barrier object";
  case FindingKind::TensorMap: return "tensor map";
  case FindingKind::Descriptor: return "matrix descriptor";
  case FindingKind::ProxyFence: return "missing proxy fence";
  case FindingKind::Registers: return "registers";
  case FindingKind::Cluster: return "cluster";
  case FindingKind::Unsupported: return "unsupported";
  case FindingKind::Usage: return "launch";
  }
  return "finding";
}

/// Whoever of two racing ops comes second reports it, which depends on the order of threads.
static bool sameOps(const Finding &finding, FindingKind kind, const OtodusSimSite *site,
                    const OtodusSimSite *other) {
  return finding.kind == kind && ((finding.site == site && finding.other == other) ||
                                  (other && finding.site == other && finding.other == site));
}

bool TeamReports::repeated(FindingKind kind, const OtodusSimSite *site,
                           const OtodusSimSite *other) {
  for (Finding &finding : findings_)
    if (sameOps(finding, kind, site, other)) {
      ++finding.count;
      return true;
    }
  return false;
}

void TeamReports::add(Finding finding) {
  for (Finding &known : findings_)
    if (sameOps(known, finding.kind, finding.site, finding.other)) {
      known.count += finding.count;
      return;
    }
  findings_.push_back(std::move(finding));
}

std::string describe(const OtodusSimSite &site) {
  auto text = [&site](int32_t distance) {
    return distance ? reinterpret_cast<const char *>(&site) + distance : "";
  };
  std::string result = opName(site.op);
  std::string file = text(site.file);
  if (!file.empty())
    result += " at " + file + ":" + std::to_string(site.line) + ":" + std::to_string(site.column);
  else
    result += " #" + std::to_string(site.number);
  std::string label = text(site.label);
  if (!label.empty())
    result += " (" + label + ")";
  return result;
}

} // namespace otodus::sim

//===- ClusterOps.cpp - Blocks of a cluster --------------------------------===//
//
// All blocks of a cluster run in one team, and their shared memories lie at equal distances in one
// arena, so that an address of another block's shared memory is a sum.
//
//===----------------------------------------------------------------------===//

#include "AsyncUnit.h"
#include "Handlers.h"

namespace otodus::sim {

Block &blockOfRank(Thread &thread, uint32_t rank) {
  // In a team of one cluster a block's rank in the team is that in the cluster; a cooperative
  // launch holds several.
  for (Block &block : thread.team->blocks) {
    const Thread &first = block.threads[0];
    bool same = first.cluster_ctarank == rank;
    for (int i = 0; i < 3; ++i)
      same &= first.clusterid[i] == thread.clusterid[i];
    if (same)
      return block;
  }
  return *thread.block;
}

namespace handlers {

void mapShared(Thread &thread, const OtodusSimSite &site, uint64_t *slots, void *result) {
  Team &team = *thread.team;
  uint32_t rank = uint32_t(slots[1]);
  if (rank >= thread.cluster_nctarank)
    team.fault(thread, site, FindingKind::Cluster,
               "expected a rank below the cluster's " + std::to_string(thread.cluster_nctarank) +
                   " blocks, found " + std::to_string(rank));
  Block *from = team.sharedOwner(slots[0]);
  if (!from)
    team.fault(thread, site, FindingKind::OutOfBounds,
               "expected an address in shared memory");
  uint64_t address = uint64_t(blockOfRank(thread, rank).shared) + (slots[0] & (kSharedStride - 1));
  *static_cast<uint64_t *>(result) = address;
}

void clusterArrive(Thread &thread, const OtodusSimSite &site, uint64_t *, void *) {
  thread.team->asyncUnit->arriveAtCluster(thread, site, /*relaxed=*/false);
}

void clusterArriveRelaxed(Thread &thread, const OtodusSimSite &site, uint64_t *, void *) {
  thread.team->asyncUnit->arriveAtCluster(thread, site, /*relaxed=*/true);
}

void clusterWait(Thread &thread, const OtodusSimSite &site, uint64_t *, void *) {
  thread.team->asyncUnit->waitForCluster(thread, site);
}

} // namespace handlers
} // namespace otodus::sim

//===- Banks.h - Conflicts of shared memory's banks ------------------------===//
//
// Shared memory has 32 banks of 4 bytes; words of one bank that lanes of a warp access together
// take one pass each. Lanes run one after the other here, so the accesses that a GPU would issue
// together are put together afterwards: the n-th time each lane of a warp executes an op. Where
// lanes go different ways this is a guess.
//
//===----------------------------------------------------------------------===//

#pragma once

#include <cstdint>
#include <vector>

namespace otodus::sim {

class Banks {
public:
  struct Total {
    uint64_t accesses = 0; ///< of a warp
    uint64_t extra = 0;    ///< passes beyond those that its bytes need
  };

  /// Forgets totals. `rows`: count ordinary accesses too.
  void beginLaunch(uint32_t sites, bool rows);
  void beginTeam(uint32_t warps);
  bool enabled() const { return rows_; }
  /// A lane's access of 1 to 16 bytes.
  void access(uint32_t site, uint32_t warp, uint32_t lane, uint64_t address, uint32_t bytes);
  /// An access that is known as a whole.
  void add(uint32_t site, uint64_t extra) {
    ++totals[site].accesses;
    totals[site].extra += extra;
  }
  /// Counts what has not all its lanes.
  void endTeam();

  std::vector<Total> totals; ///< by number of the op

private:
  struct Row {
    uint32_t mask = 0, bytes = 0;
    uint32_t address[32];
  };
  struct Stream {
    uint32_t first = 0;        ///< number of rows[0]
    uint32_t next[32] = {};    ///< per lane: the row it comes to next
    std::vector<Row> rows;
  };
  void count(uint32_t site, const Row &row);
  bool rows_ = false;
  uint32_t warps_ = 0;
  std::vector<Stream> streams_; ///< [site][warp]
};

} // namespace otodus::sim

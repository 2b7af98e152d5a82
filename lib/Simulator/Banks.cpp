//===- Banks.cpp - Conflicts of shared memory's banks ----------------------===//

#include "Banks.h"

#include <algorithm>
#include <cstddef>

namespace otodus::sim {

void Banks::beginLaunch(uint32_t sites, bool rows) {
  totals.assign(sites, Total());
  rows_ = rows;
}

void Banks::beginTeam(uint32_t warps) {
  if (!rows_)
    return;
  warps_ = warps;
  streams_.assign(totals.size() * warps, Stream());
}

void Banks::access(uint32_t site, uint32_t warp, uint32_t lane, uint64_t address, uint32_t bytes) {
  Stream &stream = streams_[size_t(site) * warps_ + warp];
  uint32_t at = stream.next[lane]++ - stream.first;
  if (at >= stream.rows.size())
    stream.rows.resize(at + 1);
  Row &row = stream.rows[at];
  row.mask |= 1u << lane;
  row.bytes = bytes;
  row.address[lane] = uint32_t(address);
  // Rows in front that have all their lanes are done.
  if (at == 0 && row.mask == ~0u) {
    size_t done = 0;
    while (done < stream.rows.size() && stream.rows[done].mask == ~0u)
      count(site, stream.rows[done++]);
    stream.rows.erase(stream.rows.begin(), stream.rows.begin() + std::ptrdiff_t(done));
    stream.first += uint32_t(done);
  }
}

void Banks::count(uint32_t site, const Row &row) {
  // 128 bytes go in one pass: 32 lanes of up to 4 bytes, 16 of 8, 8 of 16.
  uint32_t words = row.bytes <= 4 ? 1 : row.bytes / 4, lanes = 32 / words;
  uint64_t extra = 0;
  for (uint32_t first = 0; first < 32; first += lanes) {
    uint32_t seen[32][32], uses[32] = {}, worst = 0;
    for (uint32_t lane = first; lane < first + lanes; ++lane) {
      if (!(row.mask >> lane & 1))
        continue;
      for (uint32_t word = 0; word < words; ++word) {
        uint32_t address = row.address[lane] / 4 + word, bank = address % 32;
        if (std::find(seen[bank], seen[bank] + uses[bank], address) != seen[bank] + uses[bank])
          continue; // the same word is read once for all
        seen[bank][uses[bank]++] = address;
        worst = std::max(worst, uses[bank]);
      }
    }
    extra += worst > 1 ? worst - 1 : 0;
  }
  add(site, extra);
}

void Banks::endTeam() {
  if (!rows_)
    return;
  for (size_t i = 0; i < streams_.size(); ++i)
    for (const Row &row : streams_[i].rows)
      if (row.mask)
        count(uint32_t(i / warps_), row);
}

} // namespace otodus::sim

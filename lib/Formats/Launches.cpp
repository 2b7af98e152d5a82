//===- Launches.cpp - Which kernels a call runs ----------------------------===//

#include "otodus/Formats/Launches.h"

#include <algorithm>

namespace otodus::formats {

int64_t valueOf(Symbol symbol, int64_t batch, int64_t length) {
  switch (symbol) {
  case Symbol::One:
    return 1;
  case Symbol::Batch:
    return batch;
  case Symbol::Length:
    return length;
  case Symbol::Rows:
    return batch * length;
  }
  return 1;
}

int64_t valueOf(const Extent &extent, int64_t batch, int64_t length) {
  int64_t value = valueOf(extent.symbol, batch, length);
  return extent.factor * ((value + extent.divisor - 1) / extent.divisor);
}

int64_t itemsOf(const Variant &variant, int64_t batch, int64_t length) {
  int64_t items = 1;
  for (const Extent &extent : variant.grid)
    items *= valueOf(extent, batch, length);
  return items;
}

namespace {

int choose(const Launch &launch, int64_t rows) {
  size_t best = 0;
  int64_t bestCost = 0, bestTile = 0;
  for (size_t i = 0; i < launch.variants.size(); ++i) {
    const Variant &variant = launch.variants[i];
    int64_t tile = std::max<int64_t>(1, variant.rowTile);
    int64_t tileCost = variant.tileCost ? variant.tileCost : tile + kRowTileCost;
    int64_t cost = (rows + tile - 1) / tile * tileCost;
    if (i == 0 || cost < bestCost || (cost == bestCost && tile > bestTile)) {
      best = i;
      bestCost = cost;
      bestTile = tile;
    }
  }
  return static_cast<int>(best);
}

} // namespace

std::vector<int> chooseVariants(const Function &function, int64_t batch, int64_t length) {
  std::vector<int> chosen(function.launches.size(), kLeftOut);
  for (size_t i = 0; i < function.launches.size(); ++i) {
    const Launch &launch = function.launches[i];
    int64_t rows = valueOf(launch.rowSymbol, batch, length);
    if (launch.covers > 0 && rows > launch.mostRows)
      continue;
    chosen[i] = choose(launch, rows);
    i += static_cast<size_t>(launch.covers);
  }
  return chosen;
}

} // namespace otodus::formats

//===- LaunchesTest.cpp - Which variants a call runs -----------------------===//

#include "otodus/Formats/Launches.h"

#include <gtest/gtest.h>

using namespace otodus::formats;

namespace {

Launch launchOf(std::vector<int64_t> tiles) {
  Launch launch;
  for (int64_t tile : tiles)
    launch.variants.push_back({tile, "k", {{Symbol::Rows, 1, tile}, {Symbol::One, 3, 1}}});
  return launch;
}

TEST(Launches, TheVariantOfLeastCost) {
  Function f;
  f.launches = {launchOf({1, 4, 12})};
  auto chosen = [&](int64_t batch, int64_t length) { return chooseVariants(f, batch, length)[0]; };
  EXPECT_EQ(chosen(1, 1), 0);
  EXPECT_EQ(chosen(1, 2), 1); // 4 + 2 against 2 * (1 + 2): of equals the larger tile
  EXPECT_EQ(chosen(4, 1), 1);
  EXPECT_EQ(chosen(3, 4), 2);
  f.launches[0].variants[2].tileCost = 100;
  EXPECT_EQ(chosen(3, 4), 1);
  f.launches[0].rowSymbol = Symbol::Batch;
  EXPECT_EQ(chosen(1, 100), 0);
}

TEST(Launches, AJointLaunchCoversTheNextOnes) {
  Function f;
  f.launches = {launchOf({1}), launchOf({1, 4}), launchOf({16}), launchOf({16}), launchOf({1, 16})};
  f.launches[1].covers = 2;
  f.launches[1].mostRows = 8;
  EXPECT_EQ(chooseVariants(f, 1, 1), (std::vector<int>{0, 0, kLeftOut, kLeftOut, 0}));
  EXPECT_EQ(chooseVariants(f, 2, 4), (std::vector<int>{0, 1, kLeftOut, kLeftOut, 1}));
  EXPECT_EQ(chooseVariants(f, 3, 3), (std::vector<int>{0, kLeftOut, 0, 0, 1}));
}

TEST(Launches, Items) {
  Variant variant{4, "k", {{Symbol::Rows, 1, 4}, {Symbol::Batch, 2, 1}, {Symbol::Length, 1, 2}}};
  EXPECT_EQ(itemsOf(variant, 3, 5), 4 * 6 * 3);
  EXPECT_EQ(valueOf(Extent{Symbol::One, 7, 1}, 3, 5), 7);
}

} // namespace

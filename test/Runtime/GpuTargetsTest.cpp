//===- GpuTargetsTest.cpp --------------------------------------------------===//

#include "GpuTargets.h"

#include <gtest/gtest.h>

using namespace otodus;
using namespace otodus::runtime;

namespace {

TEST(GpuTargets, NamesOfChips) {
  auto chip = parseChip("cuda:sm_90a");
  ASSERT_TRUE(chip);
  EXPECT_EQ(chip->major, 9);
  EXPECT_EQ(chip->minor, 0);
  EXPECT_EQ(chip->suffix, 'a');
  chip = parseChip("sm_120");
  ASSERT_TRUE(chip);
  EXPECT_EQ(chip->major, 12);
  EXPECT_EQ(chip->minor, 0);
  EXPECT_EQ(chip->suffix, 0);
  for (const char *bad : {"", "cuda", "cpu:native", "sm_", "sm_9", "sm_90x", "sm_90ab", "sm_a",
                          "sm_99999999999999999999"})
    EXPECT_FALSE(parseChip(bad)) << bad;
}

TEST(GpuTargets, WhatRunsWhere) {
  struct Case {
    const char *chip;
    int major, minor;
    bool cubin, ptx;
  };
  for (const Case &one : {Case{"sm_80", 8, 0, true, true}, Case{"sm_80", 8, 6, true, true},
                          Case{"sm_86", 8, 0, false, false}, Case{"sm_80", 9, 0, false, true},
                          Case{"sm_90", 8, 9, false, false}, Case{"sm_90a", 9, 0, true, true},
                          Case{"sm_90a", 10, 0, false, false}, Case{"sm_90", 12, 0, false, true},
                          Case{"sm_100a", 10, 3, false, false}, Case{"sm_100f", 10, 3, true, true},
                          Case{"sm_100f", 12, 0, false, false}}) {
    EXPECT_EQ(runsCubin(*parseChip(one.chip), one.major, one.minor), one.cubin)
        << one.chip << " " << one.major << one.minor;
    EXPECT_EQ(runsPtx(*parseChip(one.chip), one.major, one.minor), one.ptx)
        << one.chip << " " << one.major << one.minor;
  }
}

TEST(GpuTargets, VersionsOfDrivers) {
  EXPECT_EQ(newestPtx(12040), 84);
  EXPECT_EQ(newestPtx(12060), 85); // 12.6 brought no new one
  EXPECT_EQ(newestPtx(12080), 87);
  EXPECT_EQ(newestPtx(13000), 90);
  EXPECT_EQ(newestPtx(14000), 91); // at least
  EXPECT_EQ(newestPtx(11080), 78);
  EXPECT_EQ(cudaVersionText(12040), "12.4");
  EXPECT_EQ(cudaVersionText(11000), "11.0");
  EXPECT_EQ(ptxVersionText(87), "8.7");
}

} // namespace

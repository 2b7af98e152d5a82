//===- ChipsTest.cpp - The chip table --------------------------------------===//

#include "otodus/Codegen/GPU/Chips.h"

#include <gtest/gtest.h>

using namespace otodus;

namespace {

TEST(Chips, NamesWithAndWithoutDevice) {
  for (const char *target : {"sm_90a", "cuda:sm_90a", "sim:sm_90a"}) {
    Result<Chip> chip = chipFor(target);
    ASSERT_TRUE(chip.isOk()) << chip.status().message();
    EXPECT_EQ(chip->name, "sm_90a");
    EXPECT_EQ(chip->matrixUnit, MatrixUnit::WarpGroup);
    EXPECT_TRUE(isGpuTarget(target));
  }
  EXPECT_TRUE(isSimulated("sim:sm_80"));
  EXPECT_FALSE(isSimulated("cuda:sm_80"));
  EXPECT_FALSE(isGpuTarget("cpu:x86-64-v4"));
}

TEST(Chips, UnknownNamesListWhatExists) {
  for (const char *target : {"sm_81", "cuda:gfx90a", "sim:", "cuda", "sim"}) {
    Result<Chip> chip = chipFor(target);
    ASSERT_FALSE(chip.isOk()) << target;
    EXPECT_EQ(chip.status().code(), Code::Target);
    EXPECT_NE(chip.status().message().find("sm_80"), std::string::npos) << chip.status().message();
  }
}

TEST(Chips, RowsAreConsistent) {
  for (const Chip &chip : chips()) {
    EXPECT_LE(chip.sharedPerBlock + chip.sharedReserved, chip.sharedPerSM) << chip.name;
    EXPECT_GT(chip.multiprocessors, 0) << chip.name;
    EXPECT_GT(chip.bytesPerSecond, 0) << chip.name;
    EXPECT_GE(chip.ptxVersion, 70) << chip.name;
    EXPECT_LE(chip.ptxVersion, 90) << chip.name; // what LLVM 22 writes
    EXPECT_EQ(chip.multicast && !chip.clusters, false) << chip.name;
  }
}

TEST(Chips, OfCapability) {
  const std::pair<std::pair<int, int>, const char *> known[] = {
      {{8, 0}, "sm_80"}, {{8, 6}, "sm_86"}, {{8, 7}, "sm_86"}, {{8, 9}, "sm_89"},
      {{9, 0}, "sm_90a"}, {{10, 0}, "sm_100a"}, {{12, 0}, "sm_120a"}};
  for (auto [capability, name] : known) {
    Result<std::string> chip = chipOfCapability(capability.first, capability.second);
    ASSERT_TRUE(chip.isOk()) << chip.status().message();
    EXPECT_EQ(*chip, name);
  }
  EXPECT_FALSE(chipOfCapability(7, 5).isOk());
  EXPECT_FALSE(chipOfCapability(10, 3).isOk()); // an "a" chip serves its own minor only
}

TEST(Chips, Occupancy) {
  Chip chip = *chipFor("sm_80");
  EXPECT_EQ(blocksPerSM(chip, 128, 32, 0), 16);         // 64 warps
  EXPECT_EQ(blocksPerSM(chip, 128, 255, 0), 2);         // 65536 / (256 * 128)
  EXPECT_EQ(blocksPerSM(chip, 32, 16, 0), 32);          // blocks
  EXPECT_EQ(blocksPerSM(chip, 128, 32, 80 * 1024), 2);  // shared memory
  EXPECT_EQ(blocksPerSM(chip, 128, 32, 200 * 1024), 0); // does not fit
}

TEST(Chips, AddedRows) {
  ASSERT_TRUE(addChips(R"({"name": "acme_1", "like": "sm_80", "sharedPerBlock": 65536})", "test").isOk());
  Result<Chip> chip = chipFor("sim:acme_1");
  ASSERT_TRUE(chip.isOk());
  EXPECT_EQ(chip->sharedPerBlock, 65536);
  EXPECT_EQ(chip->llvmCpu, "sm_80");
  EXPECT_TRUE(isGpuTarget("acme_1"));

  const std::pair<const char *, const char *> wrong[] = {
      {"nonsense", "is no JSON"},
      {R"([1])", "expected an object"},
      {R"({"like": "sm_80"})", "expected a \"name\""},
      {R"({"name": "a b", "like": "sm_80"})", "letters, digits and _"},
      {R"({"name": "acme_1", "like": "sm_80"})", "is taken"},
      {R"({"name": "acme_2", "like": "sm_81"})", "expects \"like\""},
      {R"({"name": "acme_2", "like": "sm_80", "shared": 1})", "unknown field 'shared'"},
      {R"({"name": "acme_2", "like": "sm_80", "tma": 1})", "expects true or false"},
      {R"({"name": "acme_2", "like": "sm_80", "warpsPerSM": -1})", "expects a positive integer"},
      {R"({"name": "acme_2", "like": "sm_80", "ptxVersion": 99})", "expects a version"},
      {R"({"name": "acme_2", "like": "sm_80", "matrixUnit": "x"})", "\"warpgroup\""},
      {R"({"name": "acme_2", "like": "sm_80", "sharedPerBlock": 1000000})", "more than sharedPerSM"}};
  for (auto [text, message] : wrong) {
    Status status = addChips(text, "file.json");
    EXPECT_EQ(status.code(), Code::Input) << text;
    EXPECT_NE(status.message().find(message), std::string::npos) << status.message();
    EXPECT_EQ(status.message().rfind("file.json: ", 0), 0u) << status.message();
  }
  EXPECT_FALSE(chipFor("acme_2").isOk());
}

} // namespace

//===- PtxasTest.cpp - What ptxas says, taken apart ------------------------===//

#include "otodus/Target/Ptxas.h"

#include <gtest/gtest.h>

using namespace otodus;

namespace {

TEST(Ptxas, LogOfTwoKernels) {
  Assembled log = parsePtxasLog(
      "ptxas info    : 0 bytes gmem\n"
      "ptxas info    : Compiling entry function 'product' for 'sm_80'\n"
      "ptxas info    : Function properties for product\n"
      "    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads\n"
      "ptxas info    : Used 19 registers, used 1 barriers, 400 bytes cmem[0]\n"
      "ptxas info    : Compile time = 16.213 ms\n"
      "ptxas info    : Compiling entry function 'stream' for 'sm_80'\n"
      "ptxas info    : Function properties for stream\n"
      "    64 bytes stack frame, 24 bytes spill stores, 32 bytes spill loads\n"
      "ptxas info    : Used 255 registers, used 2 barriers, 1024 bytes smem, 392 bytes cmem[0]\n");
  ASSERT_EQ(log.kernels.size(), 2u);
  EXPECT_EQ(log.kernels[0].name, "product");
  EXPECT_EQ(log.kernels[0].registers, 19);
  EXPECT_EQ(log.kernels[0].spillStores, 0);
  EXPECT_EQ(log.kernels[1].name, "stream");
  EXPECT_EQ(log.kernels[1].registers, 255);
  EXPECT_EQ(log.kernels[1].stackBytes, 64);
  EXPECT_EQ(log.kernels[1].spillStores, 24);
  EXPECT_EQ(log.kernels[1].spillLoads, 32);
  EXPECT_EQ(log.kernels[1].staticShared, 1024);
  EXPECT_TRUE(log.warnings.empty());
}

TEST(Ptxas, SerialisedWgmmaIsAWarning) {
  Assembled log = parsePtxasLog(
      "ptxas info    : (C7514) Potential Performance Loss: wgmma.mma_async instructions are serialized "
      "due to ... in function 'k'\n");
  ASSERT_EQ(log.warnings.size(), 1u);
  EXPECT_NE(log.warnings[0].find("C7514"), std::string::npos);
}

TEST(Ptxas, ProgramThatIsNone) {
  Result<std::string> found = findPtxas("/no/such/ptxas");
  ASSERT_FALSE(found.isOk());
  EXPECT_EQ(found.status().code(), Code::Target);
  EXPECT_FALSE(ptxasVersion("/bin/false").isOk());
}

TEST(Ptxas, RejectsNonsense) {
  Result<std::string> ptxas = findPtxas("");
  ASSERT_TRUE(ptxas.isOk());
  if (ptxas->empty())
    GTEST_SKIP() << "no ptxas here";
  Result<Assembled> result = assemble(*ptxas, "nonsense\n", {"sm_80", "sm_80", 70, {}});
  ASSERT_FALSE(result.isOk());
  EXPECT_EQ(result.status().code(), Code::Internal);
  EXPECT_NE(result.status().message().find("ptxas rejects the code for sm_80"), std::string::npos);
  EXPECT_TRUE(ptxasVersion(*ptxas).isOk());
}

} // namespace

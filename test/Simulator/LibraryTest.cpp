//===- LibraryTest.cpp - The C API of the simulator ------------------------===//
//
// Kernels written by hand against include/otodus/ABI/Sim.h, so that nothing of the compiler is
// needed: what the API refuses, what it keeps between launches, what it counts.
//
//===----------------------------------------------------------------------===//

#include "otodus/ABI/SimLibrary.h"

#include <gtest/gtest.h>

#include <cstring>
#include <string>
#include <vector>

namespace {

/// The records of a module with two ops.
struct Records {
  OtodusSimKernelInfo info;
  OtodusSimSite sites[3];
  char name[8];
};

Records makeRecords() {
  Records records = {};
  records.info.version = otodus::sim::kTableVersion;
  records.info.parameters = 1;
  records.info.sites = 3;
  records.info.firstSite = int32_t(offsetof(Records, sites));
  records.info.name = int32_t(offsetof(Records, name));
  const uint16_t ops[] = {OTODUS_SIM_OP_Store, OTODUS_SIM_OP_Load, OTODUS_SIM_OP_Barrier0};
  for (uint32_t i = 0; i < 3; ++i) {
    records.sites[i].op = ops[i];
    records.sites[i].number = i;
  }
  strcpy(records.name, "kernel");
  return records;
}

Records records = makeRecords();

/// Writes its number to element `tid` of the buffer, meets the others, reads element 0.
const OtodusSimKernelInfo *kernel(OtodusSimContext *context, void *const *params) {
  if (context) {
    auto *buffer = *static_cast<int32_t *const *>(params[0]);
    uint64_t mine = uint64_t(buffer + context->ctaid[0] * context->ntid[0] + context->tid[0]);
    context->store(context, &records.sites[0], mine, 4, 4);
    *reinterpret_cast<int32_t *>(mine) = int32_t(context->tid[0]);
    context->handlers[OTODUS_SIM_OP_Barrier0](context, &records.sites[2], nullptr, nullptr);
    uint64_t first = uint64_t(buffer + context->ctaid[0] * context->ntid[0]);
    context->load(context, &records.sites[1], first, 4, 4);
  }
  return &records.info;
}

/// Reads element `tid` of the buffer.
const OtodusSimKernelInfo *reader(OtodusSimContext *context, void *const *params) {
  if (context) {
    auto *buffer = *static_cast<int32_t *const *>(params[0]);
    context->load(context, &records.sites[1], uint64_t(buffer + context->tid[0]), 4, 4);
  }
  return &records.info;
}

OtodusSimOptions defaults() {
  OtodusSimOptions options = {};
  options.size = sizeof options;
  options.checks = OTODUS_SIM_CHECK_FULL;
  options.workers = 2;
  return options;
}

class SimLibrary : public ::testing::Test {
protected:
  void SetUp() override {
    OtodusSimOptions options = defaults();
    simulator = otodusSimCreate(&options, nullptr, 0);
    ASSERT_NE(simulator, nullptr);
    params[0] = &pointer;
    pointer = buffer.data();
    launch.size = sizeof launch;
    launch.kernel = kernel;
    launch.params = params;
    for (int i = 0; i < 3; ++i)
      launch.grid[i] = launch.threads[i] = 1;
    launch.threads[0] = 64;
  }
  void TearDown() override { otodusSimDestroy(simulator); }
  std::string firstReport() const {
    return otodusSimReportCount(simulator) ? otodusSimReport(simulator, 0) : "";
  }

  OtodusSimulator *simulator = nullptr;
  std::vector<int32_t> buffer = std::vector<int32_t>(256);
  int32_t *pointer = nullptr;
  void *params[1];
  OtodusSimLaunch launch = {};
};

TEST(SimLibraryOptions, Refused) {
  char error[200] = "";
  OtodusSimOptions options = defaults();
  options.size = 12;
  EXPECT_EQ(otodusSimCreate(&options, error, sizeof error), nullptr);
  EXPECT_NE(std::string(error).find("another version"), std::string::npos) << error;
  options = defaults();
  options.checks = 7;
  EXPECT_EQ(otodusSimCreate(&options, error, sizeof error), nullptr);
  EXPECT_NE(std::string(error).find("out of its range"), std::string::npos) << error;
  EXPECT_EQ(otodusSimCreate(nullptr, error, sizeof error), nullptr);
  // A message that does not fit is cut.
  char tiny[5];
  EXPECT_EQ(otodusSimCreate(nullptr, tiny, sizeof tiny), nullptr);
  EXPECT_EQ(strlen(tiny), 4u);
}

TEST_F(SimLibrary, RunsAndCounts) {
  ASSERT_EQ(otodusSimRegister(simulator, buffer.data(), 1024, "buffer"), 0);
  launch.grid[0] = 4;
  EXPECT_EQ(otodusSimLaunch(simulator, &launch), OTODUS_SIM_OK) << firstReport();
  for (int i = 0; i < 256; ++i)
    EXPECT_EQ(buffer[size_t(i)], i % 64);
  OtodusSimCounters counters;
  otodusSimGetCounters(simulator, &counters);
  EXPECT_EQ(counters.launches, 1u);
  EXPECT_EQ(counters.blocks, 4u);
  EXPECT_EQ(counters.threads, 256u);
  EXPECT_EQ(counters.barriers, 4u);
  EXPECT_EQ(counters.loads, 256u);
  EXPECT_EQ(counters.stores, 256u);
  otodusSimResetCounters(simulator);
  otodusSimGetCounters(simulator, &counters);
  EXPECT_EQ(counters.launches, 0u);
}

TEST_F(SimLibrary, MemoryMustBeRegistered) {
  EXPECT_EQ(otodusSimLaunch(simulator, &launch), OTODUS_SIM_FAULT);
  EXPECT_NE(firstReport().find("kernel: access out of bounds: llvm.store #0: writes 4 bytes at 0x"),
            std::string::npos)
      << firstReport();
  ASSERT_EQ(otodusSimRegister(simulator, buffer.data(), 1024, "buffer"), 0);
  EXPECT_EQ(otodusSimLaunch(simulator, &launch), OTODUS_SIM_OK);
  EXPECT_EQ(otodusSimReportCount(simulator), 0u);
  otodusSimUnregister(simulator, buffer.data());
  EXPECT_EQ(otodusSimLaunch(simulator, &launch), OTODUS_SIM_FAULT);
}

TEST_F(SimLibrary, RangesMustNotOverlap) {
  auto *bytes = reinterpret_cast<uint8_t *>(buffer.data());
  EXPECT_EQ(otodusSimRegister(simulator, bytes + 256, 256, "middle"), 0);
  EXPECT_EQ(otodusSimRegister(simulator, bytes, 257, "before"), 1);
  EXPECT_EQ(otodusSimRegister(simulator, bytes + 511, 1, "inside"), 1);
  EXPECT_EQ(otodusSimRegister(simulator, bytes + 256, 256, "same"), 1);
  EXPECT_EQ(otodusSimRegister(simulator, bytes, 0, "empty"), 1);
  EXPECT_EQ(otodusSimRegister(simulator, bytes, 256, "before"), 0);
  EXPECT_EQ(otodusSimRegister(simulator, bytes + 512, 512, "after"), 0);
}

TEST_F(SimLibrary, InitialisationLastsFromLaunchToLaunch) {
  ASSERT_EQ(otodusSimRegister(simulator, buffer.data(), 1024, "buffer"), 0);
  launch.kernel = reader;
  EXPECT_EQ(otodusSimLaunch(simulator, &launch), OTODUS_SIM_REPORTS);
  EXPECT_NE(
      firstReport().find("read of uninitialised memory: llvm.load #1 reads byte 0 of 'buffer'"),
      std::string::npos)
      << firstReport();
  EXPECT_NE(firstReport().find("[64 times]"), std::string::npos) << firstReport();
  // The host writes all but one element, a kernel all of them.
  otodusSimInitialised(simulator, buffer.data(), 63 * 4, 1);
  EXPECT_EQ(otodusSimLaunch(simulator, &launch), OTODUS_SIM_REPORTS);
  EXPECT_NE(firstReport().find("byte 252 of 'buffer'"), std::string::npos) << firstReport();
  launch.kernel = kernel;
  EXPECT_EQ(otodusSimLaunch(simulator, &launch), OTODUS_SIM_OK);
  launch.kernel = reader;
  EXPECT_EQ(otodusSimLaunch(simulator, &launch), OTODUS_SIM_OK);
  // Given up: a slot of scratch memory that serves another buffer now.
  otodusSimInitialised(simulator, buffer.data(), 1024, 0);
  EXPECT_EQ(otodusSimLaunch(simulator, &launch), OTODUS_SIM_REPORTS);
}

TEST_F(SimLibrary, KernelOfAnotherTable) {
  ++records.info.version;
  EXPECT_EQ(otodusSimLaunch(simulator, &launch), OTODUS_SIM_INVALID);
  EXPECT_EQ(firstReport(), "kernel: launch: the kernel was compiled for another version of the "
                           "simulator: compile it again");
  --records.info.version;
  launch.size = 8;
  EXPECT_EQ(otodusSimLaunch(simulator, &launch), OTODUS_SIM_INVALID);
}

TEST_F(SimLibrary, ALaunchAfterAFaultIsLikeAnyOther) {
  ASSERT_EQ(otodusSimRegister(simulator, buffer.data(), 128, "half"), 0);
  EXPECT_EQ(otodusSimLaunch(simulator, &launch), OTODUS_SIM_FAULT);
  EXPECT_EQ(otodusSimReportCount(simulator), 1u);
  launch.threads[0] = 32;
  EXPECT_EQ(otodusSimLaunch(simulator, &launch), OTODUS_SIM_OK) << firstReport();
}

TEST_F(SimLibrary, ReportsOfTheKernelsNameOrTheLaunchs) {
  launch.name = "layers.3.ffn_up";
  launch.sharedBytes = 1 << 20;
  EXPECT_EQ(otodusSimLaunch(simulator, &launch), OTODUS_SIM_INVALID);
  EXPECT_EQ(firstReport(),
            "layers.3.ffn_up: launch: 1048576 bytes of shared memory, but a block may "
            "have 233472");
}

} // namespace

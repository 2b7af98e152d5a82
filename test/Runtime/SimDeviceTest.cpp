//===- SimDeviceTest.cpp - The sim device over a simulator of the test -----===//

#include "Fakes/FakeSim.h"
#include "Fakes/Library.h"
#include "Toy.h"
#include "otodus/Runtime/Device.h"

using namespace otodus;
using namespace otodus::runtime;

namespace {

class SimTest : public ::testing::Test {
protected:
  SimTest() {
    OTODUS_FAKE(library, fakeSimKernel)(0, toy::embed, 3);
    OTODUS_FAKE(library, fakeSimKernel)(1, toy::mix, 8);
    OTODUS_FAKE(library, fakeSimKernel)(2, toy::last, 2);
  }

  static formats::Artefact artefact() {
    formats::Artefact result = toy::artefact();
    formats::Code code;
    code.kind = formats::CodeKind::Sim;
    code.target = "sim:sm_90a";
    code.blob.resize(64);
    code.textBytes = 64;
    const char *names[] = {"embed", "mix", "last"};
    for (uint64_t i = 0; i < 3; ++i) {
      std::memcpy(code.blob.data() + 8 * i, &i, 8);
      formats::Code::Entry entry;
      entry.name = names[i];
      entry.offset = 8 * i;
      entry.threads = 64;
      code.entries.push_back(entry);
    }
    result.programs[0].code = {code};
    return result;
  }

  OpenOptions options() {
    OpenOptions result;
    result.device.target = "sim:sm_90a";
    result.device.simLibrary = library.path;
    result.device.report = [this](const std::string &text) { reports.push_back(text); };
    result.pool = pool;
    return result;
  }
  std::unique_ptr<Session> start(const OpenOptions &with) {
    auto model = Model::open(artefact(), &weights.source, with);
    EXPECT_TRUE(model.isOk()) << model.status().message();
    if (!model.isOk())
      return nullptr;
    SessionOptions sessionOptions;
    sessionOptions.pool = pool;
    auto session = Session::create(*model, sessionOptions);
    EXPECT_TRUE(session.isOk()) << session.status().message();
    return session.isOk() ? std::move(*session) : nullptr;
  }
  static Status forward(Session &session, const std::vector<int32_t> &tokens,
                        std::vector<float> &logits) {
    auto length = static_cast<int64_t>(tokens.size());
    logits.resize(tokens.size() * toy::W);
    return session.run("forward", {{"tokens", {formats::DType::I32, {1, length}, tokens.data()}}},
                       {{"logits",
                         {formats::DType::F32, {1, length, toy::H, toy::F}, logits.data()}}});
  }
  static void expectStatus(const Status &status, Code code, const std::vector<std::string> &parts) {
    EXPECT_EQ(int(status.code()), int(code)) << status.message();
    for (const std::string &part : parts)
      EXPECT_NE(status.message().find(part), std::string::npos) << part << "\n" << status.message();
    EXPECT_EQ(status.message().find('\n'), std::string::npos) << status.message();
  }

  test::LibraryCopy library{OTODUS_FAKE_SIM};
  std::vector<std::string> reports;
  toy::Weights weights;
  std::shared_ptr<ThreadPool> pool = std::make_shared<ThreadPool>(ThreadPoolOptions{2});
};

TEST_F(SimTest, ComputesAndAnnouncesEveryBuffer) {
  {
    auto session = start(options());
    ASSERT_TRUE(session);
    std::vector<int32_t> tokens = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10};
    std::vector<float> logits;
    Status status = forward(*session, tokens, logits);
    ASSERT_TRUE(status.isOk()) << status.message();
    EXPECT_EQ(logits, toy::expected(weights, tokens));
    std::string ranges = OTODUS_FAKE(library, fakeSimRanges)();
    for (const char *part :
         {"weight embed.weight 16384 written", "state h 768 written", "state keys 8192 written",
          "positions 8 written", "input tokens of forward 384 written", "scratch 2 of forward",
          "output logits of forward", "scratch 9 of prefill"})
      EXPECT_NE(ranges.find(part), std::string::npos) << part << "\n" << ranges;
    auto copy = session->fork();
    ASSERT_TRUE(copy.isOk()) << copy.status().message();
    EXPECT_EQ(copy.isOk() && (*copy)->state("h")->data == session->state("h")->data, true);
  }
  EXPECT_STREQ(OTODUS_FAKE(library, fakeSimFaults)(), "");
  EXPECT_EQ(OTODUS_FAKE(library, fakeSimLive)(), 0);
}

TEST_F(SimTest, ReportsFailTheRun) {
  auto session = start(options());
  ASSERT_TRUE(session);
  OTODUS_FAKE(library, fakeSimFail)(1, OTODUS_SIM_REPORTS, "race at x\nrace at y\n");
  std::vector<float> logits;
  Status status = forward(*session, {1}, logits);
  expectStatus(status, Code::Check,
               {"function 'forward'", "launch 'mix', kernel 'mix'",
                "2 reports, the first: race at x"});
  EXPECT_EQ(reports, (std::vector<std::string>{"race at x", "race at y"}));
  EXPECT_EQ(forward(*session, {1}, logits).message(), status.message());
  OTODUS_FAKE(library, fakeSimFail)(1, OTODUS_SIM_OK, "");
  session->reset();
  EXPECT_TRUE(forward(*session, {1}, logits).isOk());
  OTODUS_FAKE(library, fakeSimFail)(0, OTODUS_SIM_FAULT, "out of bounds\n");
  expectStatus(forward(*session, {1}, logits), Code::Check,
               {"'embed'", "stopped by a fault; 1 report: out of bounds"});
}

TEST_F(SimTest, BankConflictsOfEveryKernel) {
  OpenOptions with = options();
  with.device.sim = "banks=count";
  {
    auto session = start(with);
    ASSERT_TRUE(session);
    std::vector<float> logits;
    for (int i = 0; i < 2; ++i)
      ASSERT_TRUE(forward(*session, {1}, logits).isOk());
    EXPECT_TRUE(reports.empty());
  }
  ASSERT_FALSE(reports.empty());
  for (const std::string &report : reports)
    EXPECT_NE(report.find(": 2 launches, 16 accesses, 2 extra passes; most: load at x"),
              std::string::npos)
        << report;
  with.device.sim = "check=none,banks=count";
  expectStatus(Model::open(artefact(), &weights.source, with).status(), Code::Usage,
               {"check=none", "leave out one"});
}

TEST_F(SimTest, AKernelThatNeverEnds) {
  OpenOptions with = options();
  with.device.timeout = 1.5;
  auto session = start(with);
  ASSERT_TRUE(session);
  EXPECT_EQ(OTODUS_FAKE(library, fakeSimOptions)().timeout, 1.5);
  OTODUS_FAKE(library, fakeSimFail)(1, OTODUS_SIM_TIMEOUT, "");
  std::vector<float> logits;
  expectStatus(forward(*session, {1}, logits), Code::Device,
               {"kernel 'mix'", "did not end within 1.5 s (--device-timeout)"});
  session->reset();
  OTODUS_FAKE(library, fakeSimFail)(1, OTODUS_SIM_INVALID, "another table of ops\n");
  expectStatus(forward(*session, {1}, logits), Code::Internal, {"cannot start: another table"});
}

TEST_F(SimTest, Options) {
  OpenOptions with = options();
  with.device.sim = "check=full,order=random:37,async=mixed";
  ASSERT_TRUE(start(with));
  OtodusSimOptions found = OTODUS_FAKE(library, fakeSimOptions)();
  EXPECT_EQ(found.checks, uint32_t(OTODUS_SIM_CHECK_FULL));
  EXPECT_EQ(found.order, uint32_t(OTODUS_SIM_RANDOM));
  EXPECT_EQ(found.async, uint32_t(OTODUS_SIM_MIXED));
  EXPECT_EQ(found.seed, 37u);
  with.device.sim = "";
  ASSERT_TRUE(start(with));
  found = OTODUS_FAKE(library, fakeSimOptions)();
  EXPECT_EQ(found.checks, uint32_t(OTODUS_SIM_CHECK_FAST));
  EXPECT_EQ(found.order, uint32_t(OTODUS_SIM_FIFO));
  EXPECT_EQ(found.async, uint32_t(OTODUS_SIM_LATE));
  for (const char *bad : {"check", "check=", "check=some", "order=fifo:3", "order=random:", "x=y",
                          "order=random:3x", "check=full,,"}) {
    with.device.sim = bad;
    expectStatus(Model::open(artefact(), &weights.source, with).status(), Code::Usage,
                 {"--sim expects check=none|fast|full"});
  }
}

TEST_F(SimTest, NoSimulator) {
  OpenOptions with = options();
  with.device.simLibrary = "/nowhere/libotodus-sim.so";
  expectStatus(Model::open(artefact(), &weights.source, with).status(), Code::Target,
               {"no simulator", "/nowhere/libotodus-sim.so", "beside the program"});
  with.device.simLibrary = OTODUS_FAKE_CUDA;
  expectStatus(Model::open(artefact(), &weights.source, with).status(), Code::Target,
               {"a simulator of version 0, expected version 1"});
}

TEST_F(SimTest, CodeForAnotherChip) {
  OpenOptions with = options();
  with.device.target = "sim:sm_80";
  expectStatus(Model::open(artefact(), &weights.source, with).status(), Code::Target,
               {"no code in the artefact runs on sim:sm_80", "sim:sm_90a is not for sim:sm_80"});
  with.device.target = "";
  auto model = Model::open(artefact(), &weights.source, with);
  ASSERT_TRUE(model.isOk()) << model.status().message(); // the only device it has code for
  EXPECT_EQ((*model)->target(), "sim:sm_90a");
}

TEST_F(SimTest, TensorMaps) {
  DeviceOptions with = options().device;
  auto device = openDevice(with);
  ASSERT_TRUE(device.isOk());
  TensorMapShape shape;
  alignas(64) std::byte bytes[128];
  expectStatus((*device)->encode(shape, bytes), Code::Internal, {"no dimension"});
  shape.rank = 1;
  shape.dtype = formats::DType::F32;
  shape.base = reinterpret_cast<void *>(4096);
  shape.size[0] = 77;
  shape.box[0] = 32;
  shape.swizzle = 64;
  ASSERT_TRUE((*device)->encode(shape, bytes).isOk());
  OtodusSimTensorMap map;
  std::memcpy(&map, bytes, sizeof(map));
  EXPECT_EQ(map.base, 4096u);
  EXPECT_EQ(map.size[0], 77u);
  EXPECT_EQ(map.box[0], 32u);
  EXPECT_EQ(map.elementType, OTODUS_SIM_F32);
  EXPECT_EQ(map.swizzle, 64);
}

} // namespace

//===- CudaDeviceTest.cpp - The cuda device over a driver without a GPU ----===//

#include "Fakes/FakeCuda.h"
#include "Fakes/Library.h"
#include "Toy.h"
#include "otodus/Runtime/Device.h"

using namespace otodus;
using namespace otodus::runtime;
namespace fs = std::filesystem;

namespace {

class CudaTest : public ::testing::Test {
protected:
  CudaTest() {
    kernel("embed", toy::embed, 3);
    kernel("mix", toy::mix, 8);
    kernel("last", toy::last, 2);
  }

  void set(const char *key, long long value) { OTODUS_FAKE(driver, fakeCudaSet)(key, value); }
  void fail(const char *function, int error, int skip = 0) {
    OTODUS_FAKE(driver, fakeCudaFail)(function, error, skip);
  }
  void fault(const char *kernel, bool hang = false) {
    OTODUS_FAKE(driver, fakeCudaFault)(kernel, hang);
  }
  void kernel(const char *name, OtodusKernel function, int buffers) {
    OTODUS_FAKE(driver, fakeCudaKernel)(name, function, buffers);
  }
  std::string log() { return OTODUS_FAKE(driver, fakeCudaLog)(); }
  int live() { return OTODUS_FAKE(driver, fakeCudaLive)(); }
  int calls(const std::string &function) {
    std::string text = log();
    int count = 0;
    for (size_t at = 0; (at = text.find(function, at)) != std::string::npos; ++at)
      ++count;
    return count;
  }

  static formats::Artefact artefact(const std::string &target = "cuda:sm_90a",
                                    formats::CodeKind kind = formats::CodeKind::PTX) {
    formats::Artefact result = toy::artefact();
    formats::Code code;
    code.kind = kind;
    code.target = target;
    code.ptxVersion = kind == formats::CodeKind::PTX ? 87 : 0;
    for (char c : std::string(".version 8.7"))
      code.blob.push_back(static_cast<uint8_t>(c));
    for (const char *name : {"embed", "mix", "last"}) {
      formats::Code::Entry entry;
      entry.name = name;
      entry.threads = 64;
      code.entries.push_back(entry);
    }
    result.programs[0].code = {code};
    return result;
  }

  OpenOptions options() {
    OpenOptions result;
    result.device.target = "cuda";
    result.device.cudaLibrary = driver.path;
    result.pool = pool;
    return result;
  }
  Result<std::shared_ptr<const Model>> open(const formats::Artefact &of, const OpenOptions &with) {
    return Model::open(of, &weights.source, with);
  }
  std::unique_ptr<Session> start(std::shared_ptr<const Model> model, int64_t batch = 1,
                                 int64_t maxPiece = 16) {
    SessionOptions sessionOptions;
    sessionOptions.batch = batch;
    sessionOptions.maxPiece = maxPiece;
    sessionOptions.pool = pool;
    auto session = Session::create(model, sessionOptions);
    EXPECT_TRUE(session.isOk()) << session.status().message();
    return session.isOk() ? std::move(*session) : nullptr;
  }
  std::unique_ptr<Session> start(const OpenOptions &with, int64_t batch = 1) {
    auto model = open(artefact(), with);
    EXPECT_TRUE(model.isOk()) << model.status().message();
    return model.isOk() ? start(*model, batch) : nullptr;
  }
  static Status forward(Session &session, const std::vector<int32_t> &tokens,
                        std::vector<float> &logits) {
    int64_t batch = session.batch(), length = static_cast<int64_t>(tokens.size()) / batch;
    logits.resize(tokens.size() * toy::W);
    return session.run(
        "forward", {{"tokens", {formats::DType::I32, {batch, length}, tokens.data()}}},
        {{"logits", {formats::DType::F32, {batch, length, toy::H, toy::F}, logits.data()}}});
  }
  static Status step(Session &session, int32_t token, std::vector<float> &logits) {
    return forward(session, std::vector<int32_t>(static_cast<size_t>(session.batch()), token),
                   logits);
  }
  static void expectStatus(const Status &status, Code code, const std::vector<std::string> &parts) {
    EXPECT_EQ(int(status.code()), int(code)) << status.message();
    for (const std::string &part : parts)
      EXPECT_NE(status.message().find(part), std::string::npos) << part << "\n" << status.message();
    EXPECT_EQ(status.message().find('\n'), std::string::npos) << status.message();
  }

  test::LibraryCopy driver{OTODUS_FAKE_CUDA};
  toy::Weights weights;
  std::shared_ptr<ThreadPool> pool = std::make_shared<ThreadPool>(ThreadPoolOptions{2});
};

std::vector<int32_t> someTokens(size_t count, unsigned seed) {
  std::mt19937 engine(seed);
  std::vector<int32_t> tokens;
  for (size_t i = 0; i < count; ++i)
    tokens.push_back(static_cast<int32_t>(engine() % toy::V));
  return tokens;
}

//===----------------------------------------------------------------------===//
// What works
//===----------------------------------------------------------------------===//

TEST_F(CudaTest, ComputesWhatTheProcessorDoes) {
  {
    auto session = start(options());
    ASSERT_TRUE(session);
    EXPECT_EQ(session->model().device().name(), "cuda:0 (Fake 0)");
    EXPECT_EQ(session->model().target(), "cuda:sm_90a");
    std::vector<int32_t> tokens = someTokens(40, 1);
    std::vector<float> expected = toy::expected(weights, tokens), all, piece;
    // Whole, then piece by piece with steps of one, which are recorded and played.
    ASSERT_TRUE(forward(*session, tokens, all).isOk());
    EXPECT_EQ(all, expected);
    session->reset();
    all.clear();
    for (size_t at = 0; at < tokens.size();) {
      size_t length = at < 5 ? 5 - at : at < 30 ? 1 : tokens.size() - at;
      std::vector<int32_t> part(tokens.begin() + at, tokens.begin() + at + length);
      Status status = forward(*session, part, piece);
      ASSERT_TRUE(status.isOk()) << status.message();
      all.insert(all.end(), piece.begin(), piece.end());
      at += length;
    }
    EXPECT_EQ(all, expected);
  }
  EXPECT_EQ(live(), 0) << log();
}

TEST_F(CudaTest, StateGoesInAndOutAsOnTheProcessor) {
  OpenOptions native;
  native.image = toy::image();
  native.pool = pool;
  auto host = open(toy::artefact(), native);
  ASSERT_TRUE(host.isOk());
  auto there = start(options(), 2), here = start(*host, 2);
  ASSERT_TRUE(there && here);
  std::vector<float> a, b;
  std::vector<int32_t> tokens = someTokens(2 * 10, 2);
  ASSERT_TRUE(forward(*there, tokens, a).isOk());
  ASSERT_TRUE(forward(*here, tokens, b).isOk());
  EXPECT_EQ(a, b);
  for (const formats::State &state : here->model().program().states) {
    auto x = there->state(state.name), y = here->state(state.name);
    ASSERT_TRUE(x.isOk() && y.isOk());
    EXPECT_EQ(x->data, y->data) << state.name;
    EXPECT_EQ(x->shape, y->shape);
  }
  // A file of one device is a file of the other.
  std::string path =
      (fs::temp_directory_path() / ("cuda-state-" + std::to_string(getpid()))).string();
  ASSERT_TRUE(there->save(path).isOk());
  here->reset();
  ASSERT_TRUE(here->restore(path).isOk());
  ASSERT_TRUE(here->save(path).isOk());
  there->reset();
  ASSERT_TRUE(there->restore(path).isOk());
  fs::remove(path);
  auto copy = there->fork();
  ASSERT_TRUE(copy.isOk()) << copy.status().message();
  tokens = someTokens(2 * 9, 3);
  ASSERT_TRUE(forward(*here, tokens, b).isOk());
  ASSERT_TRUE(forward(*there, tokens, a).isOk());
  EXPECT_EQ(a, b);
  ASSERT_TRUE(forward(**copy, tokens, a).isOk());
  EXPECT_EQ(a, b);
  int64_t counts[2] = {100, 200};
  ASSERT_TRUE(there->setState("count", {formats::DType::I64, {2}, counts}).isOk());
  auto count = there->state("count");
  ASSERT_TRUE(count.isOk());
  EXPECT_EQ(count->as<int64_t>()[1], 200);
}

TEST_F(CudaTest, AStepIsRecordedOnceAndThenPlayed) {
  auto session = start(options());
  ASSERT_TRUE(session);
  std::vector<float> logits;
  log();
  ASSERT_TRUE(step(*session, 1, logits).isOk());
  std::string first = log();
  EXPECT_EQ(first.find("Graph"), std::string::npos) << first;
  EXPECT_NE(first.find("cuLaunchKernelEx embed grid 1 block 64 shared 0\n"), std::string::npos);
  ASSERT_TRUE(step(*session, 2, logits).isOk());
  EXPECT_NE(log().find("cuGraphInstantiate"), std::string::npos);
  ASSERT_TRUE(step(*session, 3, logits).isOk());
  EXPECT_EQ(log(), "cuGraphLaunch\ncuStreamSynchronize\n");
  // Another length in between is run as it is, and the recording kept.
  ASSERT_TRUE(forward(*session, {4, 5}, logits).isOk());
  EXPECT_EQ(calls("cuGraph"), 0);
  ASSERT_TRUE(step(*session, 3, logits).isOk());
  EXPECT_EQ(log(), "cuGraphLaunch\ncuStreamSynchronize\n");
  std::vector<float> expected = toy::expected(weights, {1, 2, 3, 4, 5, 3});
  EXPECT_EQ(logits, std::vector<float>(expected.end() - toy::W, expected.end()));
}

TEST_F(CudaTest, FunctionsTakeTurns) {
  auto session = start(options(), 2);
  ASSERT_TRUE(session);
  std::vector<int32_t> tokens = someTokens(2 * 12, 5);
  std::vector<float> logits(2 * toy::W), all;
  auto prefill = [&](size_t at) { // the smaller function first, so that staging memory moves
    std::vector<int32_t> part = {tokens[at], tokens[12 + at]};
    return session->run("prefill", {{"tokens", {formats::DType::I32, {2, 1}, part.data()}}},
                        {{"logits", {formats::DType::F32, {2, 1, toy::H, toy::F}, logits.data()}}});
  };
  for (size_t at = 0; at < 12; ++at) {
    if (at % 5 == 4)
      ASSERT_TRUE(forward(*session, {tokens[at], tokens[12 + at]}, all).isOk());
    else
      ASSERT_TRUE(prefill(at).isOk());
  }
  for (size_t b : {0, 1}) {
    std::vector<float> expected = toy::expected(
        weights, std::vector<int32_t>(tokens.begin() + 12 * b, tokens.begin() + 12 * (b + 1)));
    EXPECT_EQ(std::vector<float>(logits.begin() + b * toy::W, logits.begin() + (b + 1) * toy::W),
              std::vector<float>(expected.end() - toy::W, expected.end()));
  }
}

TEST_F(CudaTest, TimesOfLaunchesComeFromEvents) {
  auto session = start(options());
  ASSERT_TRUE(session);
  session->setProfiling(true);
  std::vector<float> logits;
  for (int i = 0; i < 3; ++i)
    ASSERT_TRUE(step(*session, 1, logits).isOk());
  std::vector<LaunchProfile> profile = session->profile();
  ASSERT_EQ(profile.size(), 2u);
  EXPECT_EQ(profile[0].launch, "embed");
  EXPECT_EQ(profile[0].calls, 3);
  EXPECT_EQ(profile[0].nanoseconds, 3 * 250000);
}

TEST_F(CudaTest, LaunchesAsTheEntrySays) {
  formats::Artefact wanted = artefact();
  formats::Code::Entry &entry = wanted.programs[0].code[0].entries[1]; // mix
  entry.threads = 384;
  entry.sharedBytes = 100 * 1024;
  entry.cluster = 2;
  formats::TensorMap map;
  map.buffer = 0; // x
  map.dtype = formats::DType::F32;
  map.extents = {{formats::Symbol::One, 64, 1}, {formats::Symbol::Rows, 1, 1}};
  map.strides = {{formats::Symbol::One, toy::kStride * 4, 1}};
  map.box = {32, 16};
  map.swizzle = 128;
  entry.tensorMaps = {map};
  auto model = open(wanted, options());
  ASSERT_TRUE(model.isOk()) << model.status().message();
  EXPECT_NE(log().find("cuFuncSetAttribute mix 8 102400\n"), std::string::npos);
  auto session = start(*model, 2);
  std::vector<float> logits;
  ASSERT_TRUE(forward(*session, someTokens(6, 1), logits).isOk());
  std::string text = log();
  EXPECT_NE(text.find("cuTensorMapEncodeTiled 7 sizes 64 6 strides 320 box 32 16 swizzle 3\n"),
            std::string::npos)
      << text;
  EXPECT_NE(text.find("mix grid 2 block 384 shared 102400 cluster 2\n"), std::string::npos) << text;
  // The same length again needs no new map.
  ASSERT_TRUE(forward(*session, someTokens(6, 1), logits).isOk());
  EXPECT_EQ(calls("cuTensorMapEncodeTiled"), 0);
  // Clusters divide the grid.
  auto alone = start(*model, 1);
  expectStatus(forward(*alone, {1}, logits), Code::Internal,
               {"'mix'", "1 blocks", "clusters of 2"});
}

//===----------------------------------------------------------------------===//
// Choice of code
//===----------------------------------------------------------------------===//

TEST_F(CudaTest, PrefersTheCubinOfTheChip) {
  formats::Artefact wanted = artefact("cuda:sm_80");
  std::vector<formats::Code> &code = wanted.programs[0].code;
  for (auto [target, kind] : {std::pair("cuda:sm_90a", formats::CodeKind::PTX),
                              std::pair("cuda:sm_90a", formats::CodeKind::Cubin),
                              std::pair("cuda:sm_100a", formats::CodeKind::Cubin),
                              std::pair("cuda:sm_80", formats::CodeKind::Cubin)})
    code.push_back(artefact(target, kind).programs[0].code[0]);
  DeviceOptions with = options().device;
  auto device = openDevice(with);
  ASSERT_TRUE(device.isOk());
  auto choice = chooseCode(wanted, **device);
  ASSERT_TRUE(choice.isOk());
  EXPECT_EQ(choice->code, 2u);
  // What the user names comes first, if it can run.
  choice = chooseCode(wanted, **device, "cuda:sm_80");
  ASSERT_TRUE(choice.isOk());
  EXPECT_EQ(choice->code, 0u);
}

TEST_F(CudaTest, PtxOfAnOlderChipIsTranslated) {
  auto model = open(artefact("cuda:sm_80"), options());
  ASSERT_TRUE(model.isOk()) << model.status().message();
  EXPECT_NE(log().find("cuModuleLoadDataEx .version 8.7"), std::string::npos);
}

TEST_F(CudaTest, AChipThatIsNotInTheArtefact) {
  formats::Artefact wanted = artefact("cuda:sm_80", formats::CodeKind::Cubin);
  wanted.programs[0].code.push_back(artefact("cuda:sm_100a").programs[0].code[0]);
  expectStatus(open(wanted, options()).status(), Code::Target,
               {"cuda:0 (Fake 0)", "cuda:sm_80 (cubin) does not run on sm_90",
                "cuda:sm_100a (PTX) does not run on sm_90", "--target=cuda"});
  expectStatus(open(toy::artefact(), options()).status(), Code::File, {"no code"});
}

TEST_F(CudaTest, ADriverTooOldForThePtxNamesBoth) {
  set("version", 12040);
  expectStatus(open(artefact(), options()).status(), Code::Target,
               {"PTX 8.7", "CUDA 12.4", "PTX 8.4", "update the driver"});
}

TEST_F(CudaTest, WhatTheTranslatorRefuses) {
  OTODUS_FAKE(driver, fakeCudaJitLog)("ptxas error: register\nmore");
  fail("cuModuleLoadDataEx", 218);
  expectStatus(open(artefact(), options()).status(), Code::Device,
               {"cannot be loaded", "ptxas error: register"});
  fail("cuModuleLoadDataEx", 222);
  expectStatus(open(artefact(), options()).status(), Code::Target, {"PTX 8.7", "CUDA 12.8"});
  fail("cuModuleLoadDataEx", 209);
  expectStatus(open(artefact(), options()).status(), Code::Target, {"refuses it", "ptxas error"});
  fail("cuModuleLoadDataEx", 2);
  expectStatus(open(artefact(), options()).status(), Code::Device, {"not enough memory"});
  formats::Artefact wanted = artefact();
  wanted.programs[0].code[0].entries[0].name = "other";
  for (formats::Function &function : wanted.programs[0].functions)
    function.launches[0].variants[0].entry = "other";
  expectStatus(open(wanted, options()).status(), Code::File, {"kernel 'other' is not in the code"});
  wanted = artefact();
  wanted.programs[0].code[0].entries[0].sharedBytes = 250000;
  expectStatus(open(wanted, options()).status(), Code::Target,
               {"'embed'", "250000", "shared memory", "232448"});
}

//===----------------------------------------------------------------------===//
// Drivers and GPUs that are not there
//===----------------------------------------------------------------------===//

TEST_F(CudaTest, NoDriver) {
  OpenOptions with = options();
  with.device.cudaLibrary = "/nowhere/libcuda.so.1";
  expectStatus(open(artefact(), with).status(), Code::Target,
               {"no NVIDIA driver", "/nowhere/libcuda.so.1", "--target=cpu"});
  with.device.cudaLibrary = OTODUS_FAKE_SIM; // a library, but no driver
  expectStatus(open(artefact(), with).status(), Code::Target, {"is no NVIDIA driver"});
}

TEST_F(CudaTest, ADriverThatIsTooOldForUs) {
  set("version", 11040);
  expectStatus(open(artefact(), options()).status(), Code::Target,
               {"CUDA 11.4", "expected CUDA 12.0", "update the driver"});
}

TEST_F(CudaTest, NoGpu) {
  set("gpus", 0);
  expectStatus(open(artefact(), options()).status(), Code::Target, {"finds no GPU"});
}

TEST_F(CudaTest, NoGpuAtStart) {
  fail("cuInit", 100);
  expectStatus(open(artefact(), options()).status(), Code::Target, {"finds no GPU"});
  fail("cuInit", 803);
  expectStatus(open(artefact(), options()).status(), Code::Target, {"does not start"});
}

TEST_F(CudaTest, NoSuchGpu) {
  OpenOptions with = options();
  with.device.index = 2;
  expectStatus(open(artefact(), with).status(), Code::Target, {"no GPU 2", "finds 2"});
}

TEST_F(CudaTest, WhatDoctorTells) {
  auto info = cudaInfo(driver.path);
  ASSERT_TRUE(info.isOk());
  EXPECT_EQ(info->driverVersion, 12080);
  EXPECT_EQ(info->newestPtx, "8.7");
  ASSERT_EQ(info->gpus.size(), 2u);
  EXPECT_EQ(info->gpus[1].name, "Fake 1");
  EXPECT_EQ(info->gpus[1].chip, "sm_90");
  EXPECT_EQ(*nativeCudaTarget(0, driver.path), "cuda:sm_90a");
  set("major", 8);
  EXPECT_EQ(*nativeCudaTarget(1, driver.path), "cuda:sm_80");
}

//===----------------------------------------------------------------------===//
// Memory
//===----------------------------------------------------------------------===//

TEST_F(CudaTest, WhatDoesNotFitIsRefusedBeforeAnythingStarts) {
  set("free", 5000);
  OpenOptions with = options();
  expectStatus(open(artefact(), with).status(), Code::Device,
               {"the model", "needs 16384 bytes on cuda:0", "5000 are free"});
  EXPECT_EQ(calls("cuMemAlloc"), 0);
  // The weights fit, but not the session that comes after them.
  set("free", 40000);
  with.sessions = 1;
  expectStatus(open(artefact(), with).status(), Code::Device,
               {"and its session", "40000 are free"});
  EXPECT_EQ(calls("cuMemAlloc"), 0);
  with.sessions = 0;
  auto model = open(artefact(), with);
  ASSERT_TRUE(model.isOk()) << model.status().message();
  log();
  SessionOptions sessionOptions;
  sessionOptions.batch = 3;
  sessionOptions.pool = pool;
  Status status = Session::create(*model, sessionOptions).status();
  expectStatus(status, Code::Device,
               {"a session of 3 sequences", "in pieces of 4096", "23616 are free"});
  EXPECT_EQ(calls("cuMemAlloc"), 0);
}

TEST_F(CudaTest, MemoryThatSomebodyElseTook) {
  fail("cuMemAlloc_v2", 2);
  expectStatus(open(artefact(), options()).status(), Code::Device,
               {"weights: not enough memory on cuda:0 (Fake 0)", "bytes refused", "are free"});
}

TEST_F(CudaTest, NothingGrowsAfterTheStart) {
  auto session = start(options());
  ASSERT_TRUE(session);
  std::vector<float> logits;
  ASSERT_TRUE(step(*session, 1, logits).isOk()); // gets the function's staging memory
  log();
  for (size_t length : {1, 3, 40, 2})
    ASSERT_TRUE(forward(*session, someTokens(length, 1), logits).isOk());
  std::string text = log();
  EXPECT_EQ(text.find("cuMemAlloc"), std::string::npos);
  EXPECT_EQ(text.find("cuMemHostAlloc"), std::string::npos);
}

//===----------------------------------------------------------------------===//
// Faults
//===----------------------------------------------------------------------===//

TEST_F(CudaTest, AFaultNamesItsKernelAndTheOtherGpuGoesOn) {
  OpenOptions second = options();
  second.device.index = 1;
  auto session = start(options()), other = start(second);
  ASSERT_TRUE(session && other);
  std::vector<float> logits;
  ASSERT_TRUE(forward(*session, {1, 2}, logits).isOk());
  fault("mix");
  Status first = forward(*session, {1, 2, 3}, logits);
  expectStatus(first, Code::Device,
               {"function 'forward'", "cuda:0 (Fake 0) is lost",
                "kernel 'mix' of launch 'mix' failed", "illegal memory access"});
  EXPECT_EQ(step(*session, 1, logits).message(), first.message());
  EXPECT_EQ(session->state("h").status().code(), Code::Device);
  session->reset();
  expectStatus(step(*session, 1, logits), Code::Device, {"is lost"});
  expectStatus(open(artefact(), options()).status(), Code::Device, {"is lost", "'mix'"});
  EXPECT_TRUE(OTODUS_FAKE(driver, fakeCudaFault) != nullptr);
  EXPECT_EQ(other->model().device().name(), "cuda:1 (Fake 1)");
  std::vector<float> last(toy::W);
  // The other GPU has a context of its own; only its kernel must not fault.
  EXPECT_TRUE(other->state("h").isOk());
  other->reset();
  EXPECT_TRUE(other->state("h").isOk());
}

TEST_F(CudaTest, AFaultInARecordingSaysHowToFindIt) {
  auto session = start(options());
  ASSERT_TRUE(session);
  std::vector<float> logits;
  ASSERT_TRUE(step(*session, 1, logits).isOk());
  fault("mix");
  expectStatus(step(*session, 1, logits), Code::Device,
               {"kernel 'embed' of launch 'embed'", "one of the 1 launches after it",
                "--device-check"});
}

TEST_F(CudaTest, CheckedFindsIt) {
  OpenOptions with = options();
  with.device.checked = true;
  auto session = start(with);
  ASSERT_TRUE(session);
  std::vector<float> logits;
  for (int i = 0; i < 3; ++i)
    ASSERT_TRUE(step(*session, 1, logits).isOk());
  EXPECT_EQ(calls("cuGraph"), 0);
  fault("embed");
  expectStatus(step(*session, 1, logits), Code::Device,
               {"kernel 'embed' of launch 'embed' failed"});
}

TEST_F(CudaTest, AKernelThatNeverEnds) {
  OpenOptions with = options();
  with.device.timeout = 0.05;
  auto session = start(with);
  ASSERT_TRUE(session);
  fault("mix", /*hang=*/true);
  std::vector<float> logits;
  expectStatus(forward(*session, {1, 2}, logits), Code::Device,
               {"kernel 'mix' of launch 'mix' did not end within 0.05 s", "--device-timeout"});
}

TEST_F(CudaTest, ALaunchThatCannotStart) {
  auto session = start(options());
  ASSERT_TRUE(session);
  fail("cuLaunchKernelEx", 701, 1);
  std::vector<float> logits;
  expectStatus(forward(*session, {1, 2}, logits), Code::Device, {"kernel 'mix'", "cannot start"});
  // The GPU is not lost: a fresh stream of tokens works.
  session->reset();
  Status status = forward(*session, {1, 2}, logits);
  EXPECT_TRUE(status.isOk()) << status.message();
  EXPECT_EQ(logits, toy::expected(weights, {1, 2}));
}

TEST_F(CudaTest, WithoutNumbersOfLaunches) {
  fail("cuStreamWriteValue32_v2", 801);
  auto session = start(options());
  ASSERT_TRUE(session);
  std::vector<float> logits;
  ASSERT_TRUE(forward(*session, {1, 2}, logits).isOk());
  fault("mix");
  expectStatus(forward(*session, {1, 2, 3}, logits), Code::Device,
               {"kernel 'embed' of launch 'embed' or one of the 1 after it failed"});
}

} // namespace

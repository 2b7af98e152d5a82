//===- SessionTest.cpp -----------------------------------------------------===//

#include "Toy.h"

#include "otodus/Formats/StateFile.h"
#include "otodus/Runtime/ThreadPool.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>

using namespace otodus;
using namespace otodus::runtime;
using formats::DType;
using toy::C;
using toy::W;

namespace {

std::shared_ptr<ThreadPool> sharedPool() {
  static auto pool = [] {
    ThreadPoolOptions options;
    options.threads = 3;
    return std::make_shared<ThreadPool>(options);
  }();
  return pool;
}

class SessionTest : public ::testing::Test {
protected:
  toy::Weights weights;

  std::shared_ptr<const Model> open(formats::Artefact artefact = toy::artefact()) {
    OpenOptions options;
    options.image = toy::image();
    options.pool = sharedPool();
    auto model = Model::open(std::move(artefact), &weights.source, options);
    EXPECT_TRUE(model.isOk()) << model.status().message();
    return *model;
  }
  std::unique_ptr<Session> start(std::shared_ptr<const Model> model, int64_t batch = 1,
                                 int64_t maxPiece = 512) {
    SessionOptions options;
    options.batch = batch;
    options.maxPiece = maxPiece;
    options.pool = sharedPool();
    auto session = Session::create(std::move(model), options);
    EXPECT_TRUE(session.isOk()) << session.status().message();
    return std::move(*session);
  }
  static std::vector<int32_t> someTokens(int64_t count, unsigned seed) {
    std::mt19937 engine(seed);
    std::vector<int32_t> tokens;
    for (int64_t i = 0; i < count; ++i)
      tokens.push_back(static_cast<int32_t>(engine() % toy::V));
    return tokens;
  }
  /// "forward" over tokens[batch][length].
  static std::vector<float> forward(Session &session, const std::vector<int32_t> &tokens) {
    int64_t batch = session.batch(), length = static_cast<int64_t>(tokens.size()) / batch;
    std::vector<float> logits(tokens.size() * W, -1);
    Status status =
        session.run("forward", {{"tokens", {DType::I32, {batch, length}, tokens.data()}}},
                    {{"logits", {DType::F32, {batch, length, toy::H, toy::F}, logits.data()}}});
    EXPECT_TRUE(status.isOk()) << status.message();
    return logits;
  }
  static std::string temporary(const std::string &name) {
    return (std::filesystem::temp_directory_path() / (name + std::to_string(::getpid()))).string();
  }
};

TEST_F(SessionTest, RunsWhole) {
  auto model = open();
  for (int64_t length : {1, 6, 7, 8, 37, 100}) {
    std::vector<int32_t> tokens = someTokens(length, 1);
    auto session = start(model);
    EXPECT_EQ(forward(*session, tokens), toy::expected(weights, tokens)) << length;
    EXPECT_EQ(session->positions()[0], length);
  }
}

TEST_F(SessionTest, CutsPiecesAndCallsWithoutATrace) {
  auto model = open();
  std::vector<int32_t> tokens = someTokens(211, 2);
  std::vector<float> expected = toy::expected(weights, tokens);
  for (int64_t maxPiece : {1, 2, 5, 7, 64})
    for (unsigned seed = 0; seed < 4; ++seed) {
      std::mt19937 engine(seed);
      auto session = start(model, 1, maxPiece);
      std::vector<float> all;
      for (size_t done = 0; done < tokens.size();) {
        size_t count = std::min(tokens.size() - done, static_cast<size_t>(engine() % 40));
        std::vector<float> part =
            forward(*session, {tokens.begin() + done, tokens.begin() + done + count});
        all.insert(all.end(), part.begin(), part.end());
        done += count;
      }
      ASSERT_EQ(all, expected);
    }
}

// Sequences that stand at different places of their chunks.
TEST_F(SessionTest, CutsForEverySequenceOfTheBatch) {
  auto model = open();
  constexpr int64_t batch = 3, extra = 30;
  auto together = start(model, batch);
  std::vector<std::vector<int32_t>> tokens;
  std::vector<formats::State> states = model->program().states;
  std::vector<int64_t> positions;
  std::map<std::string, std::vector<Tensor>> parts;
  for (int64_t b = 0; b < batch; ++b) {
    tokens.push_back(someTokens(3 + 4 * b + extra, static_cast<unsigned>(b)));
    auto alone = start(model);
    forward(*alone, {tokens[b].begin(), tokens[b].end() - extra});
    positions.push_back(alone->positions()[0]);
    for (const formats::State &state : states)
      parts[state.name].push_back(*alone->state(state.name));
  }
  ASSERT_TRUE(together->setPositions(positions).isOk());
  for (const formats::State &state : states) {
    Tensor whole = parts[state.name][0];
    whole.shape[0] = batch;
    for (int64_t b = 1; b < batch; ++b)
      whole.data.insert(whole.data.end(), parts[state.name][b].data.begin(),
                        parts[state.name][b].data.end());
    ASSERT_TRUE(together->setState(state.name, whole.view()).isOk()) << state.name;
  }
  std::vector<int32_t> rest;
  for (int64_t b = 0; b < batch; ++b)
    rest.insert(rest.end(), tokens[b].end() - extra, tokens[b].end());
  std::vector<float> logits = forward(*together, rest);
  for (int64_t b = 0; b < batch; ++b) {
    std::vector<float> expected = toy::expected(weights, tokens[b]);
    EXPECT_TRUE(
        std::equal(expected.end() - extra * W, expected.end(), logits.begin() + b * extra * W))
        << "sequence " << b;
  }
}

TEST_F(SessionTest, LastRowsGiveTheLastStepOfTheCall) {
  auto model = open();
  std::vector<int32_t> tokens = someTokens(60, 3);
  std::vector<float> expected = toy::expected(weights, tokens);
  auto session = start(model, 1, 4);
  std::vector<float> last(W);
  std::map<std::string, MutableTensorView> outputs = {
      {"logits", {DType::F32, {1, 1, toy::H, toy::F}, last.data()}}};
  ASSERT_TRUE(
      session->run("prefill", {{"tokens", {DType::I32, {1, 60}, tokens.data()}}}, outputs).isOk());
  EXPECT_TRUE(std::equal(last.begin(), last.end(), expected.end() - W));

  // Length 0: nothing changes, not even the output.
  std::vector<float> before = last;
  ASSERT_TRUE(session->run("prefill", {{"tokens", {DType::I32, {1, 0}, nullptr}}}, outputs).isOk());
  EXPECT_EQ(last, before);
  EXPECT_EQ(session->positions()[0], 60);

  // i64 tokens in, bf16 out.
  session->reset();
  std::vector<int64_t> wideTokens(tokens.begin(), tokens.end());
  std::vector<uint16_t> narrow(W);
  ASSERT_TRUE(session
                  ->run("prefill", {{"tokens", {DType::I64, {1, 60}, wideTokens.data()}}},
                        {{"logits", {DType::BF16, {1, 1, toy::H, toy::F}, narrow.data()}}})
                  .isOk());
  for (int64_t i = 0; i < W; ++i) {
    uint32_t bits = uint32_t(narrow[i]) << 16;
    float value;
    std::memcpy(&value, &bits, 4);
    EXPECT_NEAR(value, last[i], std::fabs(last[i]) / 250);
  }
}

TEST_F(SessionTest, RefusesWhatACallerCanGetWrong) {
  auto model = open();
  auto session = start(model, 2);
  forward(*session, someTokens(10, 4));
  std::vector<float> stateBefore;
  Tensor before = *session->state("h");
  std::vector<int32_t> tokens = someTokens(40, 5);
  std::vector<float> out(40 * W);
  TensorView good = {DType::I32, {2, 20}, tokens.data()};
  MutableTensorView goodOut = {DType::F32, {2, 20, toy::H, toy::F}, out.data()};
  auto expectError = [&](const std::string &function, std::map<std::string, TensorView> inputs,
                         std::map<std::string, MutableTensorView> outputs,
                         std::vector<std::string> words) {
    Status status = session->run(function, inputs, outputs);
    EXPECT_EQ(status.code(), Code::Input);
    for (const std::string &word : words)
      EXPECT_NE(status.message().find(word), std::string::npos) << status.message();
  };
  expectError("backward", {{"tokens", good}}, {}, {"'backward'", "forward, prefill"});
  expectError("forward", {}, {}, {"'tokens'"});
  expectError("forward", {{"tokens", good}, {"mask", good}}, {}, {"'mask'"});
  expectError("forward", {{"tokens", good}}, {{"scores", goodOut}}, {"'scores'", "logits"});
  expectError("forward", {{"tokens", {DType::I32, {3, 20}, tokens.data()}}}, {},
              {"[2, 20]", "[3, 20]"});
  expectError("forward", {{"tokens", {DType::I32, {20}, tokens.data()}}}, {}, {"[20]", "length"});
  expectError("forward", {{"tokens", {DType::F32, {2, 20}, tokens.data()}}}, {}, {"i32", "f32"});
  expectError("forward", {{"tokens", {DType::I32, {2, 20}, nullptr}}}, {}, {"null"});
  expectError("forward", {{"tokens", good}}, {{"logits", {DType::F32, {2, 20, W}, out.data()}}},
              {"[2, 20, 2, 10]", "[2, 20, 20]"});
  tokens[33] = toy::V;
  expectError("forward", {{"tokens", good}}, {{"logits", goodOut}},
              {"token id 50", "position 18", "sequence 1", "vocabulary of 50"});
  tokens[33] = -1;
  expectError("forward", {{"tokens", good}}, {}, {"token id -1"});
  EXPECT_EQ(session->positions(), (std::vector<int64_t>{5, 5}));
  EXPECT_EQ(session->state("h")->data, before.data);
}

TEST_F(SessionTest, StatesComeBackThroughEveryLayout) {
  auto model = open();
  auto session = start(model, 2);
  ASSERT_TRUE(session->setPositions({5, 13}).isOk()); // 5 and 6 open entries
  for (const formats::State &state : model->program().states) {
    Tensor tensor = *session->state(state.name);
    int64_t count = 1;
    for (int64_t extent : tensor.shape)
      count *= extent;
    for (int64_t i = 0; i < count; ++i) {
      float number = static_cast<float>(i % 128);
      if (tensor.dtype == DType::I64)
        reinterpret_cast<int64_t *>(tensor.data.data())[i] = (int64_t(1) << 40) + i;
      else
        std::memcpy(tensor.data.data() + i * 4, &number, 4);
    }
    ASSERT_TRUE(session->setState(state.name, tensor.view()).isOk()) << state.name;
    Tensor back = *session->state(state.name);
    if (!state.openChunk) {
      EXPECT_EQ(back.data, tensor.data) << state.name;
      continue;
    }
    for (int64_t b = 0; b < 2; ++b)
      for (int64_t i = 0; i < C * W; ++i) {
        bool open = i / W < (b == 0 ? 5 : 6);
        EXPECT_EQ(back.as<float>()[b * C * W + i], open ? tensor.as<float>()[b * C * W + i] : 0.0f);
      }
  }
  EXPECT_EQ(session->state("nothing").status().code(), Code::Usage);
  Tensor wrong = *session->state("h");
  wrong.shape[0] = 1;
  EXPECT_EQ(session->setState("h", wrong.view()).code(), Code::Usage);
  EXPECT_EQ(session->setPositions({1}).code(), Code::Usage);
}

TEST_F(SessionTest, ResetForkSaveRestore) {
  auto model = open();
  std::vector<int32_t> tokens = someTokens(50, 6);
  std::vector<float> expected = toy::expected(weights, tokens);
  auto session = start(model);
  std::vector<int32_t> head(tokens.begin(), tokens.begin() + 24),
      tail(tokens.begin() + 24, tokens.end());
  std::vector<float> expectedTail(expected.begin() + 24 * W, expected.end());
  forward(*session, head);

  auto fork = session->fork();
  ASSERT_TRUE(fork.isOk());
  std::string path = temporary("otodus-state-");
  Status saved = session->save(path);
  ASSERT_TRUE(saved.isOk()) << saved.message();
  // Spec 5: the open chunk holds 24 mod 7 = 3 entries (keys f32, values bf16) and its count.
  int64_t payload = W * 3 * 2 * 4 + 3 * W * 4 + 3 * W * 2 + 8 + 8 + W * 4;
  EXPECT_EQ(static_cast<int64_t>(std::filesystem::file_size(path)), 4096 + 8 + payload);

  EXPECT_EQ(forward(*session, tail), expectedTail);
  EXPECT_EQ(forward(**fork, tail), expectedTail); // it went its own way
  session->reset();
  EXPECT_EQ(forward(*session, tokens), expected);

  auto other = start(model);
  forward(*other, someTokens(9, 7)); // what was there must not shine through
  Status restored = other->restore(path);
  ASSERT_TRUE(restored.isOk()) << restored.message();
  EXPECT_EQ(other->positions()[0], 24);
  EXPECT_EQ(forward(*other, tail), expectedTail);

  // Refused, and the session stays as it was.
  auto pair = start(model, 2);
  EXPECT_EQ(pair->restore(path).code(), Code::File);
  formats::Artefact foreign = toy::artefact();
  foreign.modelHash = std::string(64, 'b');
  auto stranger = start(open(foreign));
  EXPECT_EQ(stranger->restore(path).code(), Code::File);
  std::filesystem::resize_file(path, 4096 + 8 + static_cast<uint64_t>(payload) - 1);
  auto fresh = start(model);
  EXPECT_EQ(fresh->restore(path).code(), Code::File);
  EXPECT_EQ(forward(*fresh, tokens), expected);
  std::filesystem::remove(path);
  EXPECT_EQ(fresh->restore(path).code(), Code::File);
}

TEST_F(SessionTest, MemoryDoesNotGrowWithTheStream) {
  auto model = open();
  auto session = start(model, 1, 16);
  for (int i = 0; i < 5; ++i)
    forward(*session, someTokens(40, 8));
  SessionMemory first = session->memory();
  EXPECT_GT(first.state, 0);
  EXPECT_GT(first.scratch, 0);
  EXPECT_EQ(first.peak, first.state + first.scratch);
  for (int i = 0; i < 50; ++i)
    forward(*session, someTokens(400, 9));
  EXPECT_EQ(session->memory().peak, first.peak);
}

TEST_F(SessionTest, ProfilesPerLaunch) {
  auto session = start(open());
  forward(*session, someTokens(3, 1));
  EXPECT_TRUE(session->profile().empty());
  session->setProfiling(true);
  forward(*session, someTokens(3, 1));
  std::vector<LaunchProfile> profile = session->profile();
  ASSERT_EQ(profile.size(), 2u);
  EXPECT_EQ(profile[0].launch, "embed");
  EXPECT_EQ(profile[1].launch, "mix");
  EXPECT_EQ(profile[1].calls, 1);
  EXPECT_GT(profile[1].nanoseconds, 0);
}

TEST_F(SessionTest, ModelNeedsItsTensorsAndKernels) {
  OpenOptions options;
  options.image = toy::image();
  EXPECT_EQ(Model::open(toy::artefact(), nullptr, options).status().code(), Code::File);
  MemoryWeights none;
  Status missing = Model::open(toy::artefact(), &none, options).status();
  EXPECT_EQ(missing.code(), Code::File);
  EXPECT_NE(missing.message().find("'embed.weight'"), std::string::npos) << missing.message();
  options.image = nativeImage({{"embed", toy::embed}});
  Status kernels = Model::open(toy::artefact(), &weights.source, options).status();
  EXPECT_EQ(kernels.code(), Code::File);
  EXPECT_NE(kernels.message().find("'mix'"), std::string::npos) << kernels.message();
  SessionOptions bad;
  bad.batch = 0;
  EXPECT_EQ(Session::create(open(), bad).status().code(), Code::Usage);
}

// The rule of Launch's comment.
std::vector<int64_t> chosenTiles;
template <int64_t tile> void tileKernel(const OtodusKernelArguments *a, int64_t lo, int64_t hi) {
  if (lo == 0)
    chosenTiles.push_back(tile);
}

TEST_F(SessionTest, ChoosesTheVariantOfLeastCost) {
  formats::Artefact artefact;
  artefact.dtype = "f32";
  formats::Function f;
  f.name = "f";
  formats::Argument tokens;
  tokens.name = "tokens";
  tokens.kind = formats::ArgumentKind::Steps;
  tokens.dtype = DType::I32;
  f.inputs = {tokens};
  formats::Launch launch;
  launch.name = "tiles";
  using formats::Symbol;
  launch.variants = {{1, "t1", {{Symbol::Rows, 1, 1}}},
                     {12, "t12", {{Symbol::Rows, 1, 12}}},
                     {4, "t4", {{Symbol::Rows, 1, 4}}}};
  f.launches = {launch};
  artefact.programs.emplace_back().functions = {f};
  OpenOptions options;
  options.image =
      nativeImage({{"t1", tileKernel<1>}, {"t4", tileKernel<4>}, {"t12", tileKernel<12>}});
  auto model = Model::open(artefact, nullptr, options);
  ASSERT_TRUE(model.isOk()) << model.status().message();
  SessionOptions sessionOptions;
  ThreadPoolOptions single;
  single.threads = 1;
  sessionOptions.pool = std::make_shared<ThreadPool>(single);
  auto session = Session::create(*model, sessionOptions);
  std::vector<int32_t> data(100);
  std::map<int64_t, int64_t> expected = {{1, 1},  {3, 4},  {4, 4},   {8, 4},   {12, 12}, {13, 4},
                                         {16, 4}, {24, 12}, {36, 12}, {40, 12}, {97, 12}};
  for (auto [rows, tile] : expected) {
    chosenTiles.clear();
    ASSERT_TRUE(
        (*session)->run("f", {{"tokens", {DType::I32, {1, rows}, data.data()}}}, {}).isOk());
    EXPECT_EQ(chosenTiles, std::vector<int64_t>{tile}) << rows << " rows";
  }
}

} // namespace

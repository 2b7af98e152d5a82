//===- StateFileTest.cpp ---------------------------------------------------===//

#include "otodus/Formats/StateFile.h"

#include "SmallArtefact.h"
#include "TestSupport.h"

using namespace otodus;
using namespace otodus::formats;
using namespace otodus::test;
using ErrorCode = otodus::Code;

namespace {
/// State of `artefact` after `positions` steps of each sequence, filled with bytes that differ.
StateFile stateOf(const Artefact &artefact, std::vector<int64_t> positions, int64_t chunk) {
  StateFile state;
  state.modelHash = artefact.modelHash;
  state.dtype = artefact.dtype;
  state.chunk = chunk;
  state.positions = std::move(positions);
  uint8_t next = 1;
  for (const State &s : artefact.programs[0].states) {
    StateTensor tensor{s.name, s.dtype, s.shape, s.openChunk, {}};
    for (size_t b = 0; b < state.positions.size(); ++b) {
      tensor.sequences.emplace_back(size_t(tensor.bytesFor(state.openCount(b))));
      for (uint8_t &byte : tensor.sequences.back())
        byte = next++;
    }
    state.states.push_back(tensor);
  }
  return state;
}

/// The states of a Megalodon as spec 5 lists them.
Artefact megalodon(int64_t layers, int64_t D, int64_t Z, int64_t E, int64_t H, int64_t N, int64_t C,
                   int64_t G, DType compute) {
  Artefact a;
  a.programs.resize(1);
  a.modelHash = std::string(64, 'c');
  a.dtype = compute == DType::F32 ? "f32" : "bf16";
  auto add = [&](std::string name, DType dtype, std::vector<int64_t> shape, bool open) {
    State s;
    s.name = std::move(name);
    s.dtype = dtype;
    s.shape = std::move(shape);
    s.openChunk = open;
    a.programs[0].states.push_back(s);
  };
  auto norm = [&](const std::string &at) {
    add(at + ".count", DType::I64, {}, false);
    add(at + ".mean", DType::F32, {G}, false);
    add(at + ".variance", DType::F32, {G}, false);
  };
  for (int64_t i = 0; i < layers; ++i) {
    std::string at = "layers." + std::to_string(i) + ".mega.";
    norm(at + "timenorm");
    add(at + "cema.h", DType::F32, {D, N, 2}, false);
    add(at + "keys", compute, {C, H, Z / H}, true);
    add(at + "values", compute, {C, H, E / H}, true);
  }
  norm("output.final_norm");
  return a;
}
} // namespace

TEST(StateFile, RoundTrip) {
  TemporaryFolder folder;
  Artefact artefact = smallArtefact();
  StateFile state = stateOf(artefact, {10, 21, 3}, 7);
  state.nextToken = 65;
  Status status = writeStateFile(folder / "s", state);
  ASSERT_TRUE(status.isOk()) << status.message();
  Result<StateFile> read = readStateFile(folder / "s");
  ASSERT_TRUE(read.isOk()) << read.status().message();
  EXPECT_EQ(read->modelHash, state.modelHash);
  EXPECT_EQ(read->dtype, "f32");
  EXPECT_EQ(read->chunk, 7);
  EXPECT_EQ(read->nextToken, 65);
  EXPECT_EQ(read->positions, state.positions);
  ASSERT_EQ(read->states.size(), state.states.size());
  for (size_t i = 0; i < state.states.size(); ++i) {
    EXPECT_EQ(read->states[i].name, state.states[i].name);
    EXPECT_EQ(read->states[i].dtype, state.states[i].dtype);
    EXPECT_EQ(read->states[i].shape, state.states[i].shape);
    EXPECT_EQ(read->states[i].openChunk, state.states[i].openChunk);
    EXPECT_EQ(read->states[i].sequences, state.states[i].sequences);
  }
  EXPECT_TRUE(checkState(*read, artefact, "s").isOk());
  // c = 3, 0, 3 entries of 2 heads x 6 features.
  EXPECT_EQ(read->states[3].sequences[0].size(), 3u * 2 * 6 * 2);
  EXPECT_EQ(read->states[3].sequences[1].size(), 0u);
}

TEST(StateFile, SizeIsTheFormulaOfSpec5) {
  const int64_t nl = 32, D = 96, Z = 24, E = 48, H = 2, N = 4, C = 100, G = 8;
  for (DType compute : {DType::F32, DType::BF16}) {
    const int64_t s = sizeOf(compute);
    Artefact artefact = megalodon(nl, D, Z, E, H, N, C, G, compute);
    const std::vector<int64_t> positions = {0, 37, 250};
    uint64_t expected = 4096;
    for (int64_t position : positions) {
      int64_t c = position % C;
      expected += uint64_t(8 + nl * (c * (Z + E) * s + 8 * D * N + 8 * G + 16) + 8 * G + 8);
    }
    Result<std::vector<uint8_t>> bytes = serializeState(stateOf(artefact, positions, C));
    ASSERT_TRUE(bytes.isOk()) << bytes.status().message();
    EXPECT_EQ(bytes->size(), expected);
    Result<StateFile> read = parseState(bytes->data(), bytes->size(), "s");
    ASSERT_TRUE(read.isOk()) << read.status().message();
    EXPECT_TRUE(checkState(*read, artefact, "s").isOk());
    EXPECT_EQ(*serializeState(*read), *bytes);
  }
}

TEST(StateFile, NamesOfAnyForm) {
  Artefact a;
  a.programs.resize(1);
  a.modelHash = std::string(64, '0');
  a.dtype = "f32";
  for (const char *name : {"x", "layers.0.a", "layers.0.b", "layers.1.a", "layers.1.b",
                           "layers.2.a", "layers.02.a", "9", "10", "layers.7.a.8", "layers.8.a.8",
                           "h123456789012", "12.layers"}) {
    State s;
    s.name = name;
    s.shape = {2};
    a.programs[0].states.push_back(s);
  }
  a.programs[0].states[4].shape = {3};
  Result<std::vector<uint8_t>> bytes = serializeState(stateOf(a, {5}, 0));
  ASSERT_TRUE(bytes.isOk()) << bytes.status().message();
  Result<StateFile> read = parseState(bytes->data(), bytes->size(), "s");
  ASSERT_TRUE(read.isOk()) << read.status().message();
  EXPECT_TRUE(checkState(*read, a, "s").isOk()) << checkState(*read, a, "s").message();
}

TEST(StateFile, OtherModelAndType) {
  Artefact artefact = smallArtefact();
  StateFile state = stateOf(artefact, {10}, 7);
  Artefact other = artefact;
  other.modelHash = std::string(64, 'f');
  expectError(checkState(state, other, "s.state"), ErrorCode::File,
              {"s.state", "another model", std::string(64, 'a'), std::string(64, 'f')});
  other = artefact;
  other.dtype = "bf16";
  expectError(checkState(state, other, "s"), ErrorCode::File, {"--dtype=f32", "bf16"});
  other = artefact;
  other.programs[0].states[2].shape[0] = 41;
  expectError(checkState(state, other, "s"), ErrorCode::File, {"'layers.0.h'"});
  other.programs[0].states.pop_back();
  expectError(checkState(state, other, "s"), ErrorCode::File, {"expected 4 states, found 5"});
}

TEST(StateFile, ForeignFilesAndVersions) {
  TemporaryFolder folder;
  expectError(readStateFile(folder / "none").status(), ErrorCode::File, {"cannot open"});
  writeText(folder / "x", "something else");
  expectError(readStateFile(folder / "x").status(), ErrorCode::File, {"not a state file"});
  std::vector<uint8_t> bytes = *serializeState(stateOf(smallArtefact(), {1}, 7));
  bytes[8] = 9;
  expectError(parseState(bytes.data(), bytes.size(), "s").status(), ErrorCode::File,
              {"version 9", "reads version " + std::to_string(kStateVersion)});
}

TEST(StateFile, TruncatedAndFlipped) {
  const std::vector<uint8_t> whole = *serializeState(stateOf(smallArtefact(), {10, 4}, 7));
  for (size_t size = 0; size < whole.size(); size += 5)
    expectError(parseState(whole.data(), size, "s").status(), ErrorCode::File,
                {size < 8 ? "not a state file" : "truncated"});
  for (size_t at = 0; at < whole.size(); ++at) {
    std::vector<uint8_t> bytes = whole;
    bytes[at] ^= uint8_t(1 << at % 8);
    EXPECT_FALSE(parseState(bytes.data(), bytes.size(), "s").isOk()) << at;
  }
}

TEST(StateFile, ContradictionsAreNotWritten) {
  TemporaryFolder folder;
  auto refused = [&](const char *message, auto &&change) {
    StateFile state = stateOf(smallArtefact(), {10, 4}, 7);
    change(state);
    expectError(writeStateFile(folder / "s", state), ErrorCode::Internal, {message});
  };
  refused("expected 72", [](StateFile &s) { s.states[3].sequences[0].pop_back(); });
  refused("has 1 sequences", [](StateFile &s) { s.states[0].sequences.pop_back(); });
  refused("negative position", [](StateFile &s) { s.positions[0] = -1; });
  refused("appears twice", [](StateFile &s) { s.states[1].name = s.states[0].name; });
  refused("chunks of 8", [](StateFile &s) { s.chunk = 8; });
  refused("f32 or bf16", [](StateFile &s) { s.dtype = "f64"; });
  EXPECT_EQ(folder.entries(), 0u);
}

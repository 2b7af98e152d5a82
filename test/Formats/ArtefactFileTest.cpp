//===- ArtefactFileTest.cpp ------------------------------------------------===//

#include "otodus/Formats/ArtefactFile.h"

#include "SmallArtefact.h"
#include "TestSupport.h"

#include <functional>
#include <limits>

using namespace otodus;
using namespace otodus::formats;
using namespace otodus::test;
using ErrorCode = otodus::Code;

namespace {
WeightSource weightsOf(const Artefact &a) {
  return [&a](size_t index, std::vector<uint8_t> &bytes) {
    return countingWeights(a, index, bytes);
  };
}
std::vector<uint8_t> smallBytes() {
  static const Artefact artefact = smallArtefact();
  return *writeArtefact(artefact, weightsOf(artefact));
}
} // namespace

TEST(ArtefactSizes, OfTypesStatesAndWeights) {
  EXPECT_EQ(sizeOf(DType::F32), 4);
  EXPECT_EQ(sizeOf(DType::BF16), 2);
  EXPECT_EQ(sizeOf(DType::I64), 8);
  EXPECT_EQ(sizeOf(DType::Bool), 1);
  Artefact a = smallArtefact();
  EXPECT_EQ(a.states[0].bytes(), 64);              // 8, rounded up
  EXPECT_EQ(a.states[1].bytes(), 64);              // 16, rounded up
  EXPECT_EQ(a.states[2].bytes(), 64 * 5 * 2 * 4);  // D 40 -> 64
  EXPECT_EQ(a.states[3].bytes(), 2 * 32 * 32 * 2); // H, C 7 -> 32, dz 6 -> 32
  EXPECT_EQ(a.states[4].bytes(), 2 * 32 * 32 * 2);
  State lanes = a.states[2];
  lanes.shape = {40, 5};
  EXPECT_EQ(lanes.bytes(), 64 * 5 * 4);
  lanes.shape = {40, 5, 3};
  EXPECT_EQ(lanes.bytes(), -1);
  State huge = a.states[3];
  huge.shape = {int64_t(1) << 40, int64_t(1) << 40, 1};
  EXPECT_EQ(huge.bytes(), -1);
  huge.shape = {2, 3};
  EXPECT_EQ(huge.bytes(), -1);
  EXPECT_EQ(preparedBytes(a.prepared[0]), 7 * 32 * 2);
  EXPECT_EQ(preparedBytes(a.prepared[1]), 3 * 32 * 64 * 2);
  EXPECT_EQ(preparedBytes(a.prepared[2]), 3 * 32 * 4);
  EXPECT_EQ(preparedBytes(a.prepared[3]), 64 * 5 * 5 * 4);
  EXPECT_EQ(preparedBytes(a.prepared[4]), 7 * 2 * 32 * 4);
  EXPECT_EQ(preparedBytes(a.prepared[5]), 64 * 5 * 4);
}

TEST(ArtefactFile, RoundTripThroughAFile) {
  TemporaryFolder folder;
  Artefact a = smallArtefact();
  ASSERT_TRUE(writeArtefact(folder / "m.oto", a, weightsOf(a)).isOk());
  Result<ArtefactFile> file = ArtefactFile::open(folder / "m.oto");
  ASSERT_TRUE(file.isOk()) << file.status().message();
  const Artefact &b = file->artefact();
  EXPECT_EQ(b.producer, a.producer);
  EXPECT_EQ(b.modelHash, a.modelHash);
  EXPECT_EQ(b.dtype, a.dtype);
  EXPECT_EQ(b.configJson, a.configJson);
  EXPECT_EQ(b.weightsFile, a.weightsFile);
  EXPECT_EQ(b.weightsHash, a.weightsHash);
  ASSERT_EQ(b.prepared.size(), a.prepared.size());
  EXPECT_EQ(b.prepared[3].sources, a.prepared[3].sources);
  EXPECT_EQ(b.prepared[1].rows.groups, 3);
  EXPECT_EQ(b.prepared[1].rows.inner, 20);
  EXPECT_EQ(b.prepared[4].kind, PrepareKind::RopeTable);
  EXPECT_EQ(b.prepared[4].parameter, 10000);
  ASSERT_EQ(b.states.size(), a.states.size());
  EXPECT_EQ(b.states[3].shape, a.states[3].shape);
  EXPECT_EQ(b.states[3].layout, StateLayout::Keys);
  EXPECT_TRUE(b.states[3].openChunk);
  EXPECT_EQ(b.states[1].initial, 1);
  EXPECT_EQ(b.states[1].initialFrom, "prior_logv");
  EXPECT_TRUE(b.states[1].initialExp);
  ASSERT_EQ(b.functions.size(), 1u);
  const Function &f = b.functions[0], &g = a.functions[0];
  EXPECT_EQ(f.name, g.name);
  EXPECT_EQ(f.inputs[0].kind, ArgumentKind::Steps);
  EXPECT_EQ(f.inputs[0].bound, 7);
  EXPECT_EQ(f.outputs[0].rowStride, 48);
  EXPECT_EQ(f.outputs[0].trailing, g.outputs[0].trailing);
  ASSERT_EQ(f.buffers.size(), g.buffers.size());
  EXPECT_EQ(f.buffers[4].kind, BufferKind::Scratch);
  EXPECT_EQ(f.buffers[4].index, 1);
  EXPECT_EQ(f.buffers[4].bytesPerRow, 192);
  EXPECT_EQ(f.launches[0].buffers, g.launches[0].buffers);
  EXPECT_EQ(f.launches[0].variants[1].entry, "embed_12");
  EXPECT_EQ(f.launches[0].variants[1].grid[0].divisor, 12);
  EXPECT_EQ(f.launches[0].variants[1].grid[1].symbol, Symbol::One);
  EXPECT_EQ(f.chunk, 7);
  EXPECT_EQ(f.states, g.states);
  ASSERT_EQ(b.code.size(), 1u);
  EXPECT_EQ(b.code[0].blob, a.code[0].blob);
  EXPECT_EQ(b.code[0].features, a.code[0].features);
  EXPECT_EQ(b.code[0].entries[1].offset, 64u);
  ASSERT_EQ(b.embedded.size(), a.prepared.size());
  EXPECT_TRUE(file->verifyWeights().isOk());
  for (size_t i = 0; i < a.prepared.size(); ++i) {
    std::vector<uint8_t> expected;
    ASSERT_TRUE(countingWeights(a, i, expected).isOk());
    EXPECT_EQ(reinterpret_cast<uintptr_t>(file->weight(i)) % 64, 0u);
    EXPECT_EQ(std::memcmp(file->weight(i), expected.data(), expected.size()), 0) << i;
    file->dropPages(i);
    EXPECT_EQ(std::memcmp(file->weight(i), expected.data(), expected.size()), 0) << i;
  }
  // Writing what was read gives the same file.
  Result<std::vector<uint8_t>> again = writeArtefact(b, weightsOf(b));
  ASSERT_TRUE(again.isOk());
  EXPECT_EQ(*again, smallBytes());
}

TEST(ArtefactFile, WithoutWeights) {
  Result<std::vector<uint8_t>> bytes = writeArtefact(smallArtefact());
  ASSERT_TRUE(bytes.isOk());
  Result<ArtefactFile> file = ArtefactFile::parse(*bytes, "memory");
  ASSERT_TRUE(file.isOk()) << file.status().message();
  EXPECT_TRUE(file->artefact().embedded.empty());
  EXPECT_EQ(file->weight(0), nullptr);
}

TEST(ArtefactFile, ForeignAndMissingFiles) {
  TemporaryFolder folder;
  expectError(ArtefactFile::open(folder / "none").status(), ErrorCode::File, {"cannot open"});
  expectError(ArtefactFile::parse({}, "m.oto").status(), ErrorCode::File,
              {"m.oto", "not an artefact"});
  expectError(ArtefactFile::parse(std::vector<uint8_t>(100, 'x'), "m.oto").status(),
              ErrorCode::File, {"not an artefact"});
}

TEST(ArtefactFile, OtherVersion) {
  std::vector<uint8_t> bytes = smallBytes();
  bytes[8] = 77;
  expectError(ArtefactFile::parse(bytes, "m.oto").status(), ErrorCode::File,
              {"version 77", "reads version " + std::to_string(kArtefactVersion)});
}

TEST(ArtefactFile, EveryTruncationIsRefused) {
  const std::vector<uint8_t> whole = smallBytes();
  for (size_t size = 0; size < whole.size(); size += size < 2000 ? 1 : 97) {
    Status status = readArtefact(whole.data(), size, "m.oto").status();
    EXPECT_EQ(int(status.code()), int(ErrorCode::File)) << size;
    EXPECT_NE(status.message().find(size < 8 ? "not an artefact" : "truncated"),
              std::string::npos)
        << size << status.message();
  }
  std::vector<uint8_t> longer = whole;
  longer.push_back(0);
  expectError(readArtefact(longer.data(), longer.size(), "m").status(), ErrorCode::File,
              {"corrupted"});
}

TEST(ArtefactFile, EveryFlippedBitIsNoticed) {
  const std::vector<uint8_t> whole = smallBytes();
  Artefact reference = *readArtefact(whole.data(), whole.size(), "m");
  int padding = 0;
  for (size_t at = 0; at < whole.size(); at += 3) {
    std::vector<uint8_t> bytes = whole;
    bytes[at] ^= uint8_t(1 << at % 8);
    Result<ArtefactFile> file = ArtefactFile::parse(bytes, "m");
    if (!file.isOk())
      continue;
    // What opens differs in embedded weights only, which `verifyWeights` notices, or in
    // bytes between sections.
    bool inWeight = false;
    for (const Artefact::Embedded &e : reference.embedded)
      inWeight |= at >= e.offset && at < e.offset + e.bytes;
    if (inWeight)
      expectError(file->verifyWeights(), ErrorCode::File, {"corrupted", "embedded weight"});
    else
      ++padding;
  }
  EXPECT_LT(padding, 100);
}

TEST(ArtefactFile, WeightsOfTheWrongSize) {
  TemporaryFolder folder;
  Status status = writeArtefact(folder / "m.oto", smallArtefact(),
                                [](size_t, std::vector<uint8_t> &bytes) {
                                  bytes.resize(5);
                                  return Status::ok();
                                });
  expectError(status, ErrorCode::Internal, {"'embed.weight'", "448", "5 came"});
  EXPECT_EQ(folder.entries(), 0u);
}

TEST(ArtefactFile, FullDisk) {
  TemporaryFolder folder;
  Artefact a = smallArtefact();
  a.code[0].blob.resize(1 << 20);
  std::string found = onSmallDisk(folder.path(), "size=64k",
                                  [&] { return writeArtefact(folder / "m.oto", a); });
  if (found.empty())
    GTEST_SKIP() << "mounting a small file system is not allowed here";
  EXPECT_EQ(found.substr(0, 15), "5 cannot write ");
  EXPECT_NE(found.find("[0 files left]"), found.npos) << found;
}

TEST(Validate, EveryIndexAndSize) {
  ASSERT_TRUE(validate(smallArtefact()).isOk()) << validate(smallArtefact()).message();
  struct Case {
    const char *message;
    std::function<void(Artefact &)> breakIt;
  };
  const int64_t huge = std::numeric_limits<int64_t>::max();
  auto f = [](Artefact &a) -> Function & { return a.functions[0]; };
  const Case cases[] = {
      {"must be f32 or bf16", [&](Artefact &a) { a.dtype = "f16"; }},
      {"64 lower-case hex digits", [&](Artefact &a) { a.modelHash = "abc"; }},
      {"sizes are not positive", [&](Artefact &a) { a.prepared[0].rows.inner = 0; }},
      {"sizes are not positive", [&](Artefact &a) { a.prepared[0].rows.inner = -1; }},
      {"sizes are not positive", [&](Artefact &a) { a.prepared[1].columns.inner = huge; }},
      {"sizes are not positive", [&](Artefact &a) { a.prepared[1].rows.groups = huge / 32; }},
      {"sizes are not positive", [&](Artefact &a) { a.prepared[3].rows.inner = huge; }},
      {"unknown kind", [&](Artefact &a) { a.prepared[0].kind = PrepareKind(17); }},
      {"must be f32 or bf16", [&](Artefact &a) { a.prepared[0].dtype = DType::I32; }},
      {"must be f32", [&](Artefact &a) { a.prepared[2].dtype = DType::BF16; }},
      {"must be f32", [&](Artefact &a) { a.prepared[5].dtype = DType::BF16; }},
      {"sizes are not positive", [&](Artefact &a) { a.prepared[5].rows.inner = huge; }},
      {"sizes are not positive", [&](Artefact &a) { a.prepared[5].columns.inner = 0; }},
      {"no source", [&](Artefact &a) { a.prepared[5].sources.clear(); }},
      {"not one of 0", [&](Artefact &a) { a.prepared[2].parameter = 1; }},
      {"not one of 0", [&](Artefact &a) { a.prepared[2].parameter = std::nan(""); }},
      {"no source", [&](Artefact &a) { a.prepared[0].sources.clear(); }},
      {"alpha, delta, theta and gamma", [&](Artefact &a) { a.prepared[3].sources.pop_back(); }},
      {"even width", [&](Artefact &a) { a.prepared[4].columns.inner = 5; }},
      {"unknown element type", [&](Artefact &a) { a.states[0].dtype = DType(99); }},
      {"unknown layout", [&](Artefact &a) { a.states[0].layout = StateLayout(9); }},
      {"at least 1, found -4", [&](Artefact &a) { a.states[1].shape = {-4}; }},
      {"does not fit the layout", [&](Artefact &a) { a.states[2].shape = {4, 4, 4}; }},
      {"does not fit the layout", [&](Artefact &a) { a.states[2].shape = {4}; }},
      {"does not fit the layout", [&](Artefact &a) { a.states[2].shape = {4, huge}; }},
      {"does not fit the layout", [&](Artefact &a) { a.states[1].shape = {huge, huge}; }},
      {"Keys and Values must hold", [&](Artefact &a) { a.states[3].dtype = DType::I64; }},
      {"appears twice", [&](Artefact &a) { a.states[1].name = a.states[0].name; }},
      {"needs a first dimension", [&](Artefact &a) { a.states[0].openChunk = true; }},
      {"trailing extents", [&](Artefact &a) { f(a).inputs[0].trailing = {2}; }},
      {"trailing extents hold 8", [&](Artefact &a) { f(a).outputs[0].trailing = {8}; }},
      {"trailing extents are negative", [&](Artefact &a) { f(a).outputs[0].trailing = {-7}; }},
      {"row stride 16", [&](Artefact &a) { f(a).outputs[0].rowStride = 16; }},
      {"row stride", [&](Artefact &a) { f(a).outputs[0].rowStride = huge; }},
      {"width is not positive", [&](Artefact &a) { f(a).outputs[0].width.inner = -7; }},
      {"negative bound", [&](Artefact &a) { f(a).inputs[0].bound = -1; }},
      {"prepared weight index 6", [&](Artefact &a) { f(a).buffers[0].index = 6; }},
      {"state index -1", [&](Artefact &a) { f(a).buffers[1].index = -1; }},
      {"not among the function's states", [&](Artefact &a) { f(a).states = {0}; }},
      {"input index 1", [&](Artefact &a) { f(a).buffers[2].index = 1; }},
      {"output index 1", [&](Artefact &a) { f(a).buffers[3].index = 1; }},
      {"scratch slot index 6", [&](Artefact &a) { f(a).buffers[4].index = 6; }},
      {"bytes per row", [&](Artefact &a) { f(a).buffers[4].bytesPerRow = 0; }},
      {"bytes per row", [&](Artefact &a) { f(a).buffers[4].bytesPerRow = huge; }},
      {"rows or batch", [&](Artefact &a) { f(a).buffers[4].symbol = Symbol::One; }},
      {"unknown symbol", [&](Artefact &a) { f(a).buffers[4].symbol = Symbol(8); }},
      {"unknown kind", [&](Artefact &a) { f(a).buffers[0].kind = BufferKind(8); }},
      {"buffer index 6", [&](Artefact &a) { f(a).launches[0].buffers[0] = 6; }},
      {"buffer index -1", [&](Artefact &a) { f(a).launches[0].buffers[0] = -1; }},
      {"no variant", [&](Artefact &a) { f(a).launches[0].variants.clear(); }},
      {"row tile 49", [&](Artefact &a) { f(a).launches[0].variants[0].rowTile = 49; }},
      {"two variants", [&](Artefact &a) { f(a).launches[0].variants[0].rowTile = 12; }},
      {"beside others", [&](Artefact &a) { f(a).launches[0].variants[0].rowTile = 0; }},
      {"grid extent", [&](Artefact &a) { f(a).launches[0].variants[0].grid[0].divisor = 0; }},
      {"grid extent", [&](Artefact &a) { f(a).launches[0].variants[0].grid[0].factor = huge; }},
      {"no entry 'x'", [&](Artefact &a) { f(a).launches[0].variants[0].entry = "x"; }},
      {"negative chunk", [&](Artefact &a) { f(a).chunk = -1; }},
      {"holds chunks of 7", [&](Artefact &a) { f(a).chunk = 8; }},
      {"state index 5", [&](Artefact &a) { f(a).states.push_back(5); }},
      {"listed twice", [&](Artefact &a) { f(a).states.push_back(0); }},
      {"appears twice", [&](Artefact &a) { a.functions.push_back(a.functions[0]); }},
      {"appears twice", [&](Artefact &a) { a.code.push_back(a.code[0]); }},
      {"there is no code", [&](Artefact &a) { a.code.clear(); }},
      {"outside the text", [&](Artefact &a) { a.code[0].entries[0].offset = 4096; }},
      {"in a blob of", [&](Artefact &a) { a.code[0].textBytes = 9000; }},
      {"appears twice", [&](Artefact &a) { a.code[0].entries[1].name = "embed_1"; }},
  };
  for (const Case &one : cases) {
    Artefact a = smallArtefact();
    one.breakIt(a);
    expectError(validate(a), ErrorCode::File, {one.message, "plan: "});
    expectError(writeArtefact(a).status(), ErrorCode::Internal, {one.message});
  }
}

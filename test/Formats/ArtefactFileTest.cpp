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
  return [&a](size_t program, size_t index, std::vector<uint8_t> &bytes) {
    return countingWeights(a, program, index, bytes);
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
  EXPECT_EQ(a.programs[0].states[0].bytes(), 64);              // 8, rounded up
  EXPECT_EQ(a.programs[0].states[1].bytes(), 64);              // 16, rounded up
  EXPECT_EQ(a.programs[0].states[2].bytes(), 64 * 5 * 2 * 4);  // D 40 -> 64
  EXPECT_EQ(a.programs[0].states[3].bytes(), 2 * 32 * 32 * 2); // H, C 7 -> 32, dz 6 -> 32
  EXPECT_EQ(a.programs[0].states[4].bytes(), 2 * 32 * 32 * 2);
  State lanes = a.programs[0].states[2];
  lanes.shape = {40, 5};
  EXPECT_EQ(lanes.bytes(), 64 * 5 * 4);
  lanes.shape = {40, 5, 3};
  EXPECT_EQ(lanes.bytes(), -1);
  State huge = a.programs[0].states[3];
  huge.shape = {int64_t(1) << 40, int64_t(1) << 40, 1};
  EXPECT_EQ(huge.bytes(), -1);
  huge.shape = {2, 3};
  EXPECT_EQ(huge.bytes(), -1);
  EXPECT_EQ(preparedBytes(a.programs[0].prepared[0]), 32 * 32 * 2);
  EXPECT_EQ(preparedBytes(a.programs[0].prepared[1]), 3 * 32 * 64 * 2);
  EXPECT_EQ(preparedBytes(a.programs[0].prepared[2]), 3 * 32 * 4);
  EXPECT_EQ(preparedBytes(a.programs[0].prepared[3]), 64 * 5 * 5 * 4);
  EXPECT_EQ(preparedBytes(a.programs[0].prepared[4]), 7 * 2 * 32 * 4);
  EXPECT_EQ(preparedBytes(a.programs[0].prepared[5]), 64 * 5 * 4);
  EXPECT_EQ(preparedBytes(a.programs[1].prepared[1]), 3 * 32 * 64 * 2); // rows padded by group
  EXPECT_EQ(a.programs[1].states[0].bytes(), 3 * 64);
  EXPECT_EQ(a.programs[1].states[4].bytes(), 7 * 2 * 32 * 2); // C and H as they are
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
  ASSERT_EQ(b.programs[0].prepared.size(), a.programs[0].prepared.size());
  EXPECT_EQ(b.programs[0].prepared[3].sources, a.programs[0].prepared[3].sources);
  EXPECT_EQ(b.programs[0].prepared[1].rows.groups, 3);
  EXPECT_EQ(b.programs[0].prepared[1].rows.inner, 20);
  EXPECT_EQ(b.programs[0].prepared[4].kind, PrepareKind::RopeTable);
  EXPECT_EQ(b.programs[0].prepared[4].parameter, 10000);
  ASSERT_EQ(b.programs[0].states.size(), a.programs[0].states.size());
  EXPECT_EQ(b.programs[0].states[3].shape, a.programs[0].states[3].shape);
  EXPECT_EQ(b.programs[0].states[3].layout, StateLayout::Keys);
  EXPECT_TRUE(b.programs[0].states[3].openChunk);
  EXPECT_EQ(b.programs[0].states[1].initial, 1);
  EXPECT_EQ(b.programs[0].states[1].initialFrom, "prior_logv");
  EXPECT_TRUE(b.programs[0].states[1].initialExp);
  ASSERT_EQ(b.programs[0].functions.size(), 1u);
  const Function &f = b.programs[0].functions[0], &g = a.programs[0].functions[0];
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
  EXPECT_EQ(f.launches[0].covers, g.launches[0].covers);
  EXPECT_EQ(f.launches[0].variants[1].entry, "embed_12");
  EXPECT_EQ(f.launches[0].variants[1].grid[0].divisor, 12);
  EXPECT_EQ(f.launches[0].variants[1].grid[1].symbol, Symbol::One);
  EXPECT_EQ(f.chunk, 7);
  EXPECT_EQ(f.states, g.states);
  EXPECT_EQ(b.programs[0].parameters, a.programs[0].parameters);
  EXPECT_EQ(b.programs[0].arenaElements, 1024);
  ASSERT_EQ(b.programs[0].code.size(), 1u);
  EXPECT_EQ(b.programs[0].code[0].blob, a.programs[0].code[0].blob);
  EXPECT_EQ(b.programs[0].code[0].features, a.programs[0].code[0].features);
  EXPECT_EQ(b.programs[0].code[0].entries[1].offset, 64u);
  ASSERT_EQ(b.programs[0].embedded.size(), a.programs[0].prepared.size());
  EXPECT_TRUE(file->verifyWeights().isOk());
  for (size_t i = 0; i < a.programs[0].prepared.size(); ++i) {
    std::vector<uint8_t> expected;
    ASSERT_TRUE(countingWeights(a, 0, i, expected).isOk());
    EXPECT_EQ(reinterpret_cast<uintptr_t>(file->weight(0, i)) % 64, 0u);
    EXPECT_EQ(std::memcmp(file->weight(0, i), expected.data(), expected.size()), 0) << i;
    file->dropPages(0, i);
    EXPECT_EQ(std::memcmp(file->weight(0, i), expected.data(), expected.size()), 0) << i;
  }
  // The GPU's program: its own plan, and what is equal is stored once.
  const Program &gpu = b.programs[1], &wanted = a.programs[1];
  EXPECT_EQ(gpu.prepared, wanted.prepared);
  EXPECT_EQ(gpu.states, wanted.states);
  EXPECT_EQ(gpu.functions, wanted.functions);
  ASSERT_EQ(gpu.code.size(), 2u);
  for (size_t i = 0; i < 2; ++i) {
    EXPECT_EQ(gpu.code[i].kind, wanted.code[i].kind);
    EXPECT_EQ(gpu.code[i].target, wanted.code[i].target);
    EXPECT_EQ(gpu.code[i].ptxVersion, wanted.code[i].ptxVersion);
    EXPECT_EQ(gpu.code[i].blob, wanted.code[i].blob);
    EXPECT_EQ(gpu.code[i].entries, wanted.code[i].entries);
  }
  for (size_t i = 0; i < gpu.prepared.size(); ++i)
    EXPECT_EQ(file->weight(1, i) == file->weight(0, i), i != 1) << i;
  EXPECT_NE(file->weight(1, 1), nullptr);
  EXPECT_EQ(file->weight(2, 0), nullptr);
  // Writing what was read gives the same file.
  Result<std::vector<uint8_t>> again = writeArtefact(b, weightsOf(b));
  ASSERT_TRUE(again.isOk());
  EXPECT_EQ(*again, smallBytes());
}

TEST(Artefact, CodeJoinsTheProgramWithItsPlan) {
  Artefact a = smallArtefact();
  Program other = a.programs[0];
  other.code[0].target = "cpu:x86-64-v3";
  a.add(other);
  ASSERT_EQ(a.programs.size(), 2u);
  EXPECT_EQ(a.programs[0].code.size(), 2u);
  other.code[0].target = "cpu:x86-64-v2";
  other.functions[0].launches[0].variants[0].tileCost = 1;
  a.add(other);
  EXPECT_EQ(a.programs.size(), 3u);
  EXPECT_TRUE(validate(a).isOk()) << validate(a).message();
}

TEST(ArtefactFile, WithoutWeights) {
  Result<std::vector<uint8_t>> bytes = writeArtefact(smallArtefact());
  ASSERT_TRUE(bytes.isOk());
  Result<ArtefactFile> file = ArtefactFile::parse(*bytes, "memory");
  ASSERT_TRUE(file.isOk()) << file.status().message();
  EXPECT_TRUE(file->artefact().programs[0].embedded.empty());
  EXPECT_EQ(file->weight(0, 0), nullptr);
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
    for (const Program &program : reference.programs)
      for (const Program::Embedded &e : program.embedded)
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
                                [](size_t, size_t, std::vector<uint8_t> &bytes) {
                                  bytes.resize(5);
                                  return Status::ok();
                                });
  expectError(status, ErrorCode::Internal, {"'embed.weight'", "2048", "5 came"});
  EXPECT_EQ(folder.entries(), 0u);
}

TEST(ArtefactFile, FullDisk) {
  TemporaryFolder folder;
  Artefact a = smallArtefact();
  a.programs[0].code[0].blob.resize(1 << 20);
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
  auto p = [](Artefact &a) -> Program & { return a.programs[0]; };
  auto f = [](Artefact &a) -> Function & { return a.programs[0].functions[0]; };
  auto g = [](Artefact &a) -> Program & { return a.programs[1]; };
  auto v = [](Artefact &a) -> Variant & {
    return a.programs[1].functions[0].launches[0].variants[1];
  };
  auto e = [](Artefact &a) -> formats::Code::Entry & { return a.programs[1].code[0].entries[1]; };
  auto m = [](Artefact &a) -> TensorMap & {
    return a.programs[1].code[0].entries[1].tensorMaps[0];
  };
  const Case cases[] = {
      {"must be f32 or bf16", [&](Artefact &a) { a.dtype = "f16"; }},
      {"64 lower-case hex digits", [&](Artefact &a) { a.modelHash = "abc"; }},
      {"sizes are not positive", [&](Artefact &a) { p(a).prepared[0].rows.inner = 0; }},
      {"sizes are not positive", [&](Artefact &a) { p(a).prepared[0].rows.inner = -1; }},
      {"sizes are not positive", [&](Artefact &a) { p(a).prepared[1].columns.inner = huge; }},
      {"sizes are not positive", [&](Artefact &a) { p(a).prepared[1].rows.groups = huge / 32; }},
      {"sizes are not positive", [&](Artefact &a) { p(a).prepared[3].rows.inner = huge; }},
      {"unknown kind", [&](Artefact &a) { p(a).prepared[0].kind = PrepareKind(17); }},
      {"must be f32 or bf16", [&](Artefact &a) { p(a).prepared[0].dtype = DType::I32; }},
      {"must be f32", [&](Artefact &a) { p(a).prepared[2].dtype = DType::BF16; }},
      {"must be f32", [&](Artefact &a) { p(a).prepared[5].dtype = DType::BF16; }},
      {"sizes are not positive", [&](Artefact &a) { p(a).prepared[5].rows.inner = huge; }},
      {"sizes are not positive", [&](Artefact &a) { p(a).prepared[5].columns.inner = 0; }},
      {"no source", [&](Artefact &a) { p(a).prepared[5].sources.clear(); }},
      {"not one of 0", [&](Artefact &a) { p(a).prepared[2].parameter = 1; }},
      {"not one of 0", [&](Artefact &a) { p(a).prepared[2].parameter = std::nan(""); }},
      {"no source", [&](Artefact &a) { p(a).prepared[0].sources.clear(); }},
      {"alpha, delta, theta and gamma", [&](Artefact &a) { p(a).prepared[3].sources.pop_back(); }},
      {"even width", [&](Artefact &a) { p(a).prepared[4].columns.inner = 5; }},
      {"unknown element type", [&](Artefact &a) { p(a).states[0].dtype = DType(99); }},
      {"unknown layout", [&](Artefact &a) { p(a).states[0].layout = StateLayout(9); }},
      {"at least 1, found -4", [&](Artefact &a) { p(a).states[1].shape = {-4}; }},
      {"does not fit the layout", [&](Artefact &a) { p(a).states[2].shape = {4, 4, 4}; }},
      {"does not fit the layout", [&](Artefact &a) { p(a).states[2].shape = {4}; }},
      {"does not fit the layout", [&](Artefact &a) { p(a).states[2].shape = {4, huge}; }},
      {"does not fit the layout", [&](Artefact &a) { p(a).states[1].shape = {huge, huge}; }},
      {"Keys and Values must hold", [&](Artefact &a) { p(a).states[3].dtype = DType::I64; }},
      {"appears twice", [&](Artefact &a) { p(a).states[1].name = p(a).states[0].name; }},
      {"needs a first dimension", [&](Artefact &a) { p(a).states[0].openChunk = true; }},
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
      {"unknown kind", [&](Artefact &a) { f(a).buffers[0].kind = BufferKind(17); }},
      {"no multiple of 1024", [&](Artefact &a) { p(a).arenaElements = 1023; }},
      {"no multiple of 1024", [&](Artefact &a) { p(a).arenaElements = -1024; }},
      {"overlaps or leaves", [&](Artefact &a) { p(a).arenaElements = 0; }},
      {"overlaps or leaves", [&](Artefact &a) { p(a).parameters[1].offset = 32; }},
      {"overlaps or leaves", [&](Artefact &a) { p(a).parameters[1].offset = 1008; }},
      {"overlaps or leaves", [&](Artefact &a) { p(a).parameters[1].offset = 49; }},
      {"negative or overflows", [&](Artefact &a) { p(a).parameters[0].shape = {huge, huge}; }},
      {"negative or overflows", [&](Artefact &a) { p(a).parameters[0].shape = {-1}; }},
      {"twice", [&](Artefact &a) { p(a).parameters[1].name = "embed.weight"; }},
      {"parameter index 2",
       [&](Artefact &a) { f(a).buffers[0] = {BufferKind::Gradient, 2}; }},
      {"arena index 5", [&](Artefact &a) { f(a).buffers[0] = {BufferKind::Arena, 5}; }},
      {"buffer index 6", [&](Artefact &a) { f(a).launches[0].buffers[0] = 6; }},
      {"buffer index -1", [&](Artefact &a) { f(a).launches[0].buffers[0] = -1; }},
      {"it covers 1 launches up to 0 rows", [&](Artefact &a) { f(a).launches[0].covers = 1; }},
      {"it covers -1 launches", [&](Artefact &a) { f(a).launches[0].covers = f(a).launches[0].mostRows = -1; }},
      {"it covers 1 launches, but 0 follow", [&](Artefact &a) { f(a).launches[0].covers = f(a).launches[0].mostRows = 1; }},
      {"it covers another joint launch",
       [&](Artefact &a) {
         Launch joint = f(a).launches[0];
         joint.covers = joint.mostRows = 1;
         f(a).launches.insert(f(a).launches.begin(), 2, joint);
       }},
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
      {"appears twice", [&](Artefact &a) { p(a).functions.push_back(p(a).functions[0]); }},
      {"appears twice", [&](Artefact &a) { p(a).code.push_back(p(a).code[0]); }},
      {"there is no code", [&](Artefact &a) { p(a).code.clear(); }},
      {"outside the text", [&](Artefact &a) { p(a).code[0].entries[0].offset = 4096; }},
      {"in a blob of", [&](Artefact &a) { p(a).code[0].textBytes = 9000; }},
      {"appears twice", [&](Artefact &a) { p(a).code[0].entries[1].name = "embed_1"; }},
      {"there is none", [&](Artefact &a) { a.programs.clear(); }},
      {"are not those of program 0",
       [&](Artefact &a) { g(a).functions.clear(), g(a).states.pop_back(); }},
      {"are not those of program 0", [&](Artefact &a) { g(a).states[0].dtype = DType::F32; }},
      {"'cuda:sm_90a' appears twice", [&](Artefact &a) { g(a).code.push_back(g(a).code[0]); }},
      {"cannot share a program", [&](Artefact &a) { g(a).code.push_back(p(a).code[0]); }},
      {"1 to 4096 copies", [&](Artefact &a) { g(a).states[0].copies = 0; }},
      {"1 to 4096 copies", [&](Artefact &a) { g(a).states[2].copies = 2; }},
      {"is out of range", [&](Artefact &a) { v(a).rowTile = huge; }},
      {"is out of range", [&](Artefact &a) { v(a).tileCost = -1; }},
      {"unknown kind", [&](Artefact &a) { g(a).code[0].kind = CodeKind(9); }},
      {"is for 'cuda'", [&](Artefact &a) { g(a).code[0].target = "cpu"; }},
      {"is for 'sim'", [&](Artefact &a) { g(a).code[1].target = "cuda:sm_90a"; }},
      {"unknown PTX version", [&](Artefact &a) { g(a).code[0].ptxVersion = 0; }},
      {"no text size", [&](Artefact &a) { g(a).code[0].textBytes = 8; }},
      {"no text size", [&](Artefact &a) { g(a).code[0].blob.clear(); }},
      {"outside the text", [&](Artefact &a) { e(a).offset = 1; }},
      {"outside the text", [&](Artefact &a) { g(a).code[1].entries[1].offset = 8; }},
      {"found 33", [&](Artefact &a) { e(a).threads = 33; }},
      {"found 2048", [&](Artefact &a) { e(a).threads = 2048; }},
      {"shared memory", [&](Artefact &a) { e(a).sharedBytes = -1; }},
      {"clusters of 1 to 16", [&](Artefact &a) { e(a).cluster = 17; }},
      {"buffer index 5", [&](Artefact &a) { m(a).buffer = 5; }},
      {"1 to 5 extents", [&](Artefact &a) { m(a).extents.clear(); }},
      {"one stride less", [&](Artefact &a) { m(a).strides.clear(); }},
      {"as many box sizes", [&](Artefact &a) { m(a).box.push_back(1); }},
      {"f32, bf16 or i32", [&](Artefact &a) { m(a).dtype = DType::Bool; }},
      {"an extent of a tensor map", [&](Artefact &a) { m(a).extents[1].divisor = 0; }},
      {"multiples of 16", [&](Artefact &a) { m(a).strides[0].factor = 8; }},
      {"found 257", [&](Artefact &a) { m(a).box[1] = 257; }},
      {"found 48", [&](Artefact &a) { m(a).swizzle = 48; }},
      {"256 bytes wide", [&](Artefact &a) { m(a).box[0] = 128; }},
      {"34 bytes wide", [&](Artefact &a) { m(a).box[0] = 17; }},
  };
  for (const Case &one : cases) {
    Artefact a = smallArtefact();
    one.breakIt(a);
    expectError(validate(a), ErrorCode::File, {one.message, "plan: "});
    expectError(writeArtefact(a).status(), ErrorCode::Internal, {one.message});
  }
}

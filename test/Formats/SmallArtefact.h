//===- SmallArtefact.h - An artefact that uses every kind of entry ---------===//

#pragma once

#include "otodus/Formats/ArtefactFile.h"

namespace otodus::test {

inline formats::Artefact smallArtefact() {
  using namespace formats;
  Artefact a;
  a.producer = "otodus test";
  a.modelHash = std::string(64, 'a');
  a.dtype = "f32";
  a.configJson = "{\"model\": {}}";
  a.weightsFile = "model.safetensors";
  a.weightsHash = std::string(64, 'b');
  Program &p = a.programs.emplace_back();
  auto prepared = [](const char *name, PrepareKind kind, DType dtype,
                     std::vector<std::string> sources, Width rows, Width columns) {
    Prepared one;
    one.name = name;
    one.kind = kind;
    one.dtype = dtype;
    one.sources = std::move(sources);
    one.rows = rows;
    one.columns = columns;
    return one;
  };
  p.prepared = {
      prepared("embed.weight", PrepareKind::Table, DType::BF16, {"embed.weight"}, {1, 7}, {1, 20}),
      prepared("wv", PrepareKind::Panels, DType::BF16, {"wv.weight"}, {3, 20}, {1, 40}),
      prepared("wv.bias", PrepareKind::Vector, DType::F32, {"wv.bias"}, {1, 0}, {3, 20}),
      prepared("cema", PrepareKind::CemaCoefficients, DType::F32,
               {"alpha", "delta", "theta", "gamma"}, {1, 5}, {1, 40}),
      prepared("rope", PrepareKind::RopeTable, DType::F32, {}, {1, 7}, {1, 6}),
      prepared("decay", PrepareKind::Lanes, DType::F32, {"decay"}, {1, 5}, {1, 40}),
  };
  p.prepared[4].parameter = 10000;
  auto state = [](const char *name, DType dtype, std::vector<int64_t> shape, StateLayout layout,
                  bool open, double initial) {
    State s;
    s.name = name;
    s.dtype = dtype;
    s.shape = std::move(shape);
    s.layout = layout;
    s.openChunk = open;
    s.initial = initial;
    return s;
  };
  p.states = {
      state("layers.0.count", DType::I64, {}, StateLayout::Plain, false, 0),
      state("layers.0.variance", DType::F32, {4}, StateLayout::Plain, false, 1),
      state("layers.0.h", DType::F32, {40, 5, 2}, StateLayout::Lanes, false, 0),
      state("layers.0.keys", DType::BF16, {7, 2, 6}, StateLayout::Keys, true, 0),
      state("layers.0.values", DType::BF16, {7, 2, 20}, StateLayout::Values, true, 0),
  };
  p.states[1].initialFrom = "prior_logv";
  p.states[1].initialExp = true;
  Function f;
  f.name = "forward";
  Argument tokens;
  tokens.name = "tokens";
  tokens.kind = ArgumentKind::Steps;
  tokens.dtype = DType::I32;
  tokens.bound = 7;
  f.inputs = {tokens};
  Argument logits;
  logits.name = "logits";
  logits.kind = ArgumentKind::LastRows;
  logits.width = {1, 7};
  logits.trailing = {7};
  logits.rowStride = 48;
  f.outputs = {logits};
  auto buffer = [](BufferKind kind, int64_t index, int64_t bytes = 0) {
    Buffer b;
    b.kind = kind;
    b.index = index;
    b.bytesPerRow = bytes;
    return b;
  };
  f.buffers = {buffer(BufferKind::Prepared, 0), buffer(BufferKind::State, 2),
               buffer(BufferKind::Input, 0),    buffer(BufferKind::Output, 0),
               buffer(BufferKind::Scratch, 1, 192), buffer(BufferKind::Position, 0)};
  Launch launch;
  launch.name = "layers.0.embed";
  launch.variants = {{1, "embed_1", {{Symbol::Rows, 1, 1}}},
                     {12, "embed_12", {{Symbol::Rows, 1, 12}, {Symbol::One, 3, 1}}}};
  launch.buffers = {0, 2, 4, 5, 1};
  f.launches = {launch};
  f.chunk = 7;
  f.states = {0, 1, 2, 3, 4};
  p.functions = {f};
  p.parameters = {{"embed.weight", {7, 5}, 0}, {"norm.weight", {33}, 48}};
  p.arenaElements = 1024;
  formats::Code code;
  code.target = "cpu:x86-64-v4";
  code.features = {"avx512f", "avx512bf16"};
  code.textBytes = 4096;
  code.blob.resize(5000);
  for (size_t i = 0; i < code.blob.size(); ++i)
    code.blob[i] = uint8_t(i * 7);
  auto entry = [](const char *name, uint64_t offset) {
    formats::Code::Entry e;
    e.name = name;
    e.offset = offset;
    return e;
  };
  code.entries = {entry("embed_1", 0), entry("embed_12", 64)};
  p.code = {code};

  // A GPU's program: another layout of the matrix and the open chunk, two codes.
  Program g = p;
  g.prepared[1].kind = PrepareKind::Table;
  g.states[0].copies = 3;
  g.states[3].layout = g.states[4].layout = StateLayout::Rows;
  Launch &tiled = g.functions[0].launches[0];
  tiled.variants = {{1, "embed_1", {{Symbol::Rows, 1, 1}}},
                    {128, "embed_128", {{Symbol::Rows, 1, 128}}, 200}};
  TensorMap map;
  map.buffer = 3;
  map.extents = {{Symbol::One, 64, 1}, {Symbol::Rows, 1, 1}};
  map.strides = {{Symbol::One, 192, 1}};
  map.box = {64, 128};
  map.swizzle = 128;
  formats::Code ptx;
  ptx.kind = CodeKind::PTX;
  ptx.target = "cuda:sm_90a";
  ptx.ptxVersion = 87;
  ptx.blob = {'.', 'v', 'e', 'r', 's', 'i', 'o', 'n'};
  ptx.entries = {entry("embed_1", 0), entry("embed_128", 0)};
  ptx.entries[0].threads = 32;
  ptx.entries[1].threads = 384;
  ptx.entries[1].sharedBytes = 200 * 1024;
  ptx.entries[1].cluster = 2;
  ptx.entries[1].tensorMaps = {map};
  formats::Code sim = ptx;
  sim.kind = CodeKind::Sim;
  sim.target = "sim:sm_90a";
  sim.ptxVersion = 0;
  sim.textBytes = sim.blob.size();
  sim.entries[1].offset = 4;
  g.code = {ptx, sim};
  a.programs.push_back(g);
  return a;
}

/// The weight that programs[program].prepared[index] is: bytes that follow from its name and kind.
inline Status countingWeights(const formats::Artefact &a, size_t program, size_t index,
                              std::vector<uint8_t> &bytes) {
  const formats::Prepared &prepared = a.programs[program].prepared[index];
  bytes.resize(size_t(formats::preparedBytes(prepared)));
  for (size_t i = 0; i < bytes.size(); ++i)
    bytes[i] = uint8_t(3 * prepared.name.size() + 7 * size_t(prepared.kind) + i);
  return Status::ok();
}

} // namespace otodus::test

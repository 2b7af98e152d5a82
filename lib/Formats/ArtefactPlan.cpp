//===- ArtefactPlan.cpp - The plan of an artefact as a FlatBuffer ----------===//

#include "ArtefactPlan.h"

#include "Artefact_generated.h"

#include <cstring>

using namespace otodus;
using namespace otodus::formats;

namespace {
//===----------------------------------------------------------------------===//
// Structs to FlatBuffer
//===----------------------------------------------------------------------===//

using flatbuffers::FlatBufferBuilder;
using flatbuffers::Offset;

class Packer {
public:
  explicit Packer(FlatBufferBuilder &builder) : b(builder) {}

  /// The list as a vector of tables; nothing is shared between tables, see Unpacker.
  template <typename T> auto packAll(const std::vector<T> &list) {
    std::vector<decltype(pack(list[0]))> offsets;
    for (const T &one : list)
      offsets.push_back(pack(one));
    return b.CreateVector(offsets);
  }

  /// Code sections are numbered in the order of programs and codes; `weights` are the section
  /// numbers of each program's prepared weights.
  Offset<plan::Artefact> pack(const Artefact &a,
                              const std::vector<std::vector<uint32_t>> &weights) {
    std::vector<Offset<plan::Program>> programs;
    uint32_t section = 0;
    for (size_t i = 0; i < a.programs.size(); ++i) {
      const Program &p = a.programs[i];
      auto prepared = packAll(p.prepared);
      auto states = packAll(p.states);
      auto functions = packAll(p.functions);
      std::vector<Offset<plan::Code>> code;
      for (const formats::Code &one : p.code)
        code.push_back(pack(one, section++));
      auto packedCode = b.CreateVector(code);
      auto packedWeights = b.CreateVector(weights[i]);
      auto parameters = packAll(p.parameters);
      programs.push_back(plan::CreateProgram(b, prepared, states, functions, packedCode,
                                             packedWeights, parameters, p.arenaElements));
    }
    auto producer = b.CreateString(a.producer), hash = b.CreateString(a.modelHash),
         dtype = b.CreateString(a.dtype), config = b.CreateString(a.configJson),
         file = b.CreateString(a.weightsFile), fileHash = b.CreateString(a.weightsHash);
    return plan::CreateArtefact(b, producer, hash, dtype, config, file, fileHash,
                                b.CreateVector(programs));
  }

private:
  static plan::Width width(const Width &w) { return {w.groups, w.inner}; }

  Offset<plan::Prepared> pack(const Prepared &p) {
    plan::Width rows = width(p.rows), columns = width(p.columns);
    auto name = b.CreateString(p.name);
    auto sources = b.CreateVectorOfStrings(p.sources);
    return plan::CreatePrepared(b, name, uint8_t(p.kind), uint8_t(p.dtype), sources, &rows,
                                &columns, p.parameter);
  }
  Offset<plan::Parameter> pack(const Parameter &p) {
    auto name = b.CreateString(p.name);
    auto shape = b.CreateVector(p.shape);
    return plan::CreateParameter(b, name, shape, p.offset);
  }
  Offset<plan::State> pack(const State &s) {
    auto name = b.CreateString(s.name), from = b.CreateString(s.initialFrom);
    auto shape = b.CreateVector(s.shape);
    return plan::CreateState(b, name, uint8_t(s.dtype), shape, uint8_t(s.layout), s.openChunk,
                             s.initial, from, s.initialExp, s.copies);
  }
  Offset<plan::Argument> pack(const Argument &a) {
    plan::Width w = width(a.width);
    auto name = b.CreateString(a.name);
    auto trailing = b.CreateVector(a.trailing);
    return plan::CreateArgument(b, name, uint8_t(a.kind), uint8_t(a.dtype), &w, trailing,
                                a.rowStride, a.bound);
  }
  Offset<flatbuffers::Vector<const plan::Extent *>> extents(const std::vector<Extent> &list) {
    std::vector<plan::Extent> out;
    for (const Extent &e : list)
      out.emplace_back(uint8_t(e.symbol), e.factor, e.divisor);
    return b.CreateVectorOfStructs(out);
  }
  Offset<plan::Variant> pack(const Variant &v) {
    auto entry = b.CreateString(v.entry);
    return plan::CreateVariant(b, v.rowTile, entry, extents(v.grid), v.tileCost);
  }
  Offset<plan::Launch> pack(const Launch &l) {
    auto name = b.CreateString(l.name);
    auto variants = packAll(l.variants);
    return plan::CreateLaunch(b, name, variants, b.CreateVector(l.buffers), uint8_t(l.rowSymbol),
                              l.covers, l.mostRows);
  }
  Offset<plan::Function> pack(const Function &f) {
    auto name = b.CreateString(f.name);
    auto inputs = packAll(f.inputs);
    auto outputs = packAll(f.outputs);
    std::vector<plan::Buffer> buffers;
    for (const Buffer &one : f.buffers)
      buffers.emplace_back(uint8_t(one.kind), uint8_t(one.symbol), one.index, one.bytesPerRow);
    auto packedBuffers = b.CreateVectorOfStructs(buffers);
    auto launches = packAll(f.launches);
    return plan::CreateFunction(b, name, inputs, outputs, packedBuffers, launches, f.chunk,
                                b.CreateVector(f.states));
  }
  Offset<plan::TensorMap> pack(const TensorMap &m) {
    auto sizes = extents(m.extents), strides = extents(m.strides);
    return plan::CreateTensorMap(b, m.buffer, uint8_t(m.dtype), sizes, strides,
                                 b.CreateVector(m.box), m.swizzle);
  }
  Offset<plan::Entry> pack(const formats::Code::Entry &e) {
    auto name = b.CreateString(e.name);
    auto maps = packAll(e.tensorMaps);
    return plan::CreateEntry(b, name, e.offset, e.threads, e.sharedBytes, e.cluster, maps);
  }
  Offset<plan::Code> pack(const formats::Code &c, uint32_t section) {
    auto target = b.CreateString(c.target);
    auto features = b.CreateVectorOfStrings(c.features);
    auto entries = packAll(c.entries);
    return plan::CreateCode(b, uint8_t(c.kind), target, features, c.ptxVersion, c.textBytes,
                            section, entries);
  }

  FlatBufferBuilder &b;
};

//===----------------------------------------------------------------------===//
// FlatBuffer to structs
//===----------------------------------------------------------------------===//

/// A FlatBuffer may refer to one table or string many times, so that a small hostile plan
/// could unpack to any amount of memory. Ours share nothing: what is unpacked is never
/// more than the plan itself, which is the budget.
class Unpacker {
public:
  explicit Unpacker(uint64_t budget) : budget_(budget) {}
  bool exceeded() const { return exceeded_; }

  std::string text(const flatbuffers::String *s) {
    return s && spend(s->size()) ? s->str() : std::string();
  }

  std::vector<int64_t> numbers(const flatbuffers::Vector<int64_t> *list) {
    std::vector<int64_t> out;
    if (list && list->size() > 0 && spend(uint64_t(list->size()) * 8)) {
      out.resize(list->size());
      std::memcpy(out.data(), list->Data(), out.size() * sizeof(int64_t));
    }
    return out;
  }

  std::vector<std::string> texts(const flatbuffers::Vector<Offset<flatbuffers::String>> *list) {
    std::vector<std::string> out;
    unpackAll(out, list, [this](const flatbuffers::String &s) { return text(&s); });
    return out;
  }

  static Width width(const plan::Width *w) { return {w->groups(), w->inner()}; }

  /// `list` as a vector of T by `one`; a missing list is empty.
  template <typename T, typename List, typename One>
  void unpackAll(std::vector<T> &out, const List *list, One &&one) {
    if (!list || !spend(uint64_t(list->size()) * 4))
      return;
    out.reserve(list->size());
    for (uint32_t i = 0; i < list->size(); ++i)
      out.push_back(one(*list->Get(i)));
  }

  /// The same of structs. The Verifier does not check that the elements of a vector are
  /// aligned, so they are copied out.
  template <typename Struct, typename T, typename One>
  void unpackStructs(std::vector<T> &out, const flatbuffers::Vector<const Struct *> *list,
                     One &&one) {
    if (!list || !spend(uint64_t(list->size()) * sizeof(Struct)))
      return;
    out.reserve(list->size());
    for (uint32_t i = 0; i < list->size(); ++i) {
      alignas(Struct) uint8_t bytes[sizeof(Struct)];
      std::memcpy(bytes, list->Data() + i * sizeof(Struct), sizeof(Struct));
      out.push_back(one(*reinterpret_cast<const Struct *>(bytes)));
    }
  }

  // Enumerations are cast unchecked here; `validate` refuses those out of range.

  Prepared unpack(const plan::Prepared &p) {
    return {text(p.name()),         PrepareKind(p.kind()), DType(p.dtype()),
            texts(p.sources()),     width(p.rows()),       width(p.columns()),
            p.parameter()};
  }

  Parameter unpack(const plan::Parameter &p) {
    Parameter out;
    out.name = text(p.name());
    out.shape = numbers(p.shape());
    out.offset = p.offset();
    return out;
  }
  State unpack(const plan::State &s) {
    State out;
    out.name = text(s.name());
    out.dtype = DType(s.dtype());
    out.shape = numbers(s.shape());
    out.layout = StateLayout(s.layout());
    out.openChunk = s.open_chunk();
    out.initial = s.initial();
    out.initialFrom = text(s.initial_from());
    out.initialExp = s.initial_exp();
    out.copies = s.copies();
    return out;
  }

  Argument unpack(const plan::Argument &a) {
    Argument out;
    out.name = text(a.name());
    out.kind = ArgumentKind(a.kind());
    out.dtype = DType(a.dtype());
    out.width = width(a.width());
    out.trailing = numbers(a.trailing());
    out.rowStride = a.row_stride();
    out.bound = a.bound();
    return out;
  }

  void extents(std::vector<Extent> &out, const flatbuffers::Vector<const plan::Extent *> *list) {
    unpackStructs<plan::Extent>(out, list, [](const plan::Extent &e) {
      return Extent{Symbol(e.symbol()), e.factor(), e.divisor()};
    });
  }

  Variant unpack(const plan::Variant &v) {
    Variant out;
    out.rowTile = v.row_tile();
    out.entry = text(v.entry());
    extents(out.grid, v.grid());
    out.tileCost = v.tile_cost();
    return out;
  }

  Launch unpack(const plan::Launch &l) {
    Launch out;
    out.name = text(l.name());
    unpackAll(out.variants, l.variants(), [this](const plan::Variant &v) { return unpack(v); });
    out.buffers = numbers(l.buffers());
    out.rowSymbol = Symbol(l.row_symbol());
    out.covers = l.covers();
    out.mostRows = l.most_rows();
    return out;
  }

  Function unpack(const plan::Function &f) {
    Function out;
    out.name = text(f.name());
    auto argument = [this](const plan::Argument &a) { return unpack(a); };
    unpackAll(out.inputs, f.inputs(), argument);
    unpackAll(out.outputs, f.outputs(), argument);
    unpackStructs<plan::Buffer>(out.buffers, f.buffers(), [](const plan::Buffer &b) {
      Buffer buffer;
      buffer.kind = BufferKind(b.kind());
      buffer.symbol = Symbol(b.symbol());
      buffer.index = b.index();
      buffer.bytesPerRow = b.bytes_per_row();
      return buffer;
    });
    unpackAll(out.launches, f.launches(), [this](const plan::Launch &l) { return unpack(l); });
    out.chunk = f.chunk();
    out.states = numbers(f.states());
    return out;
  }

  TensorMap unpack(const plan::TensorMap &m) {
    TensorMap out;
    out.buffer = m.buffer();
    out.dtype = DType(m.dtype());
    extents(out.extents, m.extents());
    extents(out.strides, m.strides());
    out.box = numbers(m.box());
    out.swizzle = m.swizzle();
    return out;
  }

  formats::Code::Entry unpack(const plan::Entry &e) {
    formats::Code::Entry out;
    out.name = text(e.name());
    out.offset = e.offset();
    out.threads = e.threads();
    out.sharedBytes = e.shared_bytes();
    out.cluster = e.cluster();
    unpackAll(out.tensorMaps, e.tensor_maps(),
              [this](const plan::TensorMap &m) { return unpack(m); });
    return out;
  }

  /// Everything but the blob.
  formats::Code unpack(const plan::Code &c) {
    formats::Code out;
    out.kind = CodeKind(c.kind());
    out.target = text(c.target());
    out.features = texts(c.features());
    out.ptxVersion = c.ptx_version();
    out.textBytes = c.text_bytes();
    unpackAll(out.entries, c.entries(), [this](const plan::Entry &e) { return unpack(e); });
    return out;
  }

  /// Everything but blobs and embedded weights.
  Program unpack(const plan::Program &p) {
    Program out;
    unpackAll(out.prepared, p.prepared(), [this](const plan::Prepared &x) { return unpack(x); });
    unpackAll(out.states, p.states(), [this](const plan::State &x) { return unpack(x); });
    unpackAll(out.functions, p.functions(), [this](const plan::Function &x) { return unpack(x); });
    unpackAll(out.code, p.code(), [this](const plan::Code &x) { return unpack(x); });
    unpackAll(out.parameters, p.parameters(), [this](const plan::Parameter &x) { return unpack(x); });
    out.arenaElements = p.arena_elements();
    return out;
  }

private:
  bool spend(uint64_t bytes) {
    exceeded_ |= bytes > budget_;
    budget_ -= exceeded_ ? 0 : bytes;
    return !exceeded_;
  }
  uint64_t budget_;
  bool exceeded_ = false;
};
} // namespace

std::vector<uint8_t> formats::packPlan(const Artefact &artefact,
                                       const std::vector<std::vector<uint32_t>> &weights) {
  FlatBufferBuilder builder(1 << 16);
  builder.Finish(Packer(builder).pack(artefact, weights), plan::ArtefactIdentifier());
  return {builder.GetBufferPointer(), builder.GetBufferPointer() + builder.GetSize()};
}

std::optional<UnpackedPlan> formats::unpackPlan(const uint8_t *data, uint64_t size) {
  // A copy, since FlatBuffers must be aligned and `data` need not be.
  std::vector<uint8_t> bytes(data, data + size);
  flatbuffers::Verifier verifier(bytes.data(), bytes.size(), /*max_depth=*/16,
                                 /*max_tables=*/uint32_t(bytes.size() / 8 + 16));
  if (bytes.size() < 8 || !plan::ArtefactBufferHasIdentifier(bytes.data()) ||
      !plan::VerifyArtefactBuffer(verifier))
    return std::nullopt;
  const plan::Artefact &root = *plan::GetArtefact(bytes.data());
  Unpacker unpacker(bytes.size());
  UnpackedPlan out;
  Artefact &a = out.artefact;
  a.producer = unpacker.text(root.producer());
  a.modelHash = unpacker.text(root.model_hash());
  a.dtype = unpacker.text(root.dtype());
  a.configJson = unpacker.text(root.config_json());
  a.weightsFile = unpacker.text(root.weights_file());
  a.weightsHash = unpacker.text(root.weights_hash());
  unpacker.unpackAll(a.programs, root.programs(),
                     [&](const plan::Program &p) { return unpacker.unpack(p); });
  if (unpacker.exceeded())
    return std::nullopt;
  for (uint32_t i = 0; i < a.programs.size(); ++i) {
    const plan::Program &packed = *root.programs()->Get(i);
    ProgramSections &sections = out.sections.emplace_back();
    for (uint32_t j = 0; j < a.programs[i].code.size(); ++j)
      sections.code.push_back(packed.code()->Get(j)->section());
    for (uint32_t j = 0; packed.weights() && j < packed.weights()->size(); ++j)
      sections.weights.push_back(packed.weights()->Get(j));
  }
  return out;
}

//===- ArtefactFile.cpp - Artefacts as files -------------------------------===//

#include "otodus/Formats/ArtefactFile.h"

#include "Artefact_generated.h"
#include "Json.h"
#include "otodus/Formats/Hash.h"
#include "otodus/Formats/MappedFile.h"
#include "otodus/Formats/OutputFile.h"

#include <algorithm>
#include <cstddef>
#include <cstring>

using namespace otodus;
using namespace otodus::formats;

//===----------------------------------------------------------------------===//
// The fixed part of the file
//===----------------------------------------------------------------------===//

namespace {
constexpr char kMagic[8] = {'O', 'T', 'O', 'D', 'U', 'S', 0, 0};
constexpr uint64_t kAlignment = 64;
constexpr uint32_t kMaxSections = 1 << 20;

struct FileHeader {
  char magic[8];
  uint32_t version;
  uint32_t headerBytes;
  uint64_t fileBytes;
  uint32_t sections;
  uint32_t checksum; ///< CRC-32 of header (with 0 here), section table and plan
  uint64_t planOffset;
  uint64_t planBytes;
  uint64_t reserved[2];
};
static_assert(sizeof(FileHeader) == 64);

enum class SectionKind : uint32_t { Code = 0, Weight = 1 };

struct Section {
  uint64_t offset;
  uint64_t bytes;
  uint32_t kind;
  uint32_t index; ///< among the sections of its kind
  uint32_t checksum;
  uint32_t reserved;
};
static_assert(sizeof(Section) == 32);

uint64_t aligned(uint64_t value) { return (value + kAlignment - 1) / kAlignment * kAlignment; }

uint32_t headChecksum(FileHeader header, const void *table, const void *plan) {
  header.checksum = 0;
  uint32_t crc = crc32(&header, sizeof(header));
  crc = crc32(table, uint64_t(header.sections) * sizeof(Section), crc);
  return crc32(plan, header.planBytes, crc);
}

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
  Offset<plan::Artefact> pack(const Artefact &a, const std::vector<std::vector<uint32_t>> &weights) {
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
    return plan::CreateLaunch(b, name, variants, b.CreateVector(l.buffers), uint8_t(l.rowSymbol));
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

  /// Everything but code and embedded weights.
  Program unpack(const plan::Program &p) {
    Program out;
    unpackAll(out.prepared, p.prepared(), [this](const plan::Prepared &x) { return unpack(x); });
    unpackAll(out.states, p.states(), [this](const plan::State &x) { return unpack(x); });
    unpackAll(out.functions, p.functions(), [this](const plan::Function &x) { return unpack(x); });
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

//===----------------------------------------------------------------------===//
// Reading
//===----------------------------------------------------------------------===//

struct Contents {
  Artefact artefact;
  std::vector<Section> sections;
};

/// The version is looked at before anything whose place may change between versions.
Result<Contents> readContents(const uint8_t *data, uint64_t size, const std::string &name) {
  auto fail = [&](const std::string &what) {
    return Status(otodus::Code::File, name + ": " + what);
  };
  if (!looksLikeArtefact(data, size))
    return fail("not an artefact of otodus; expected a file made by 'otodus compile'");
  if (size < sizeof(FileHeader))
    return fail("truncated: an artefact has at least " + std::to_string(sizeof(FileHeader)) +
                " bytes, found " + std::to_string(size));
  FileHeader header;
  std::memcpy(&header, data, sizeof(header));
  if (header.version != kArtefactVersion)
    return fail("artefact of format version " + std::to_string(header.version) +
                ", but this otodus reads version " + std::to_string(kArtefactVersion) +
                "; compile the model again");
  if (size < header.fileBytes)
    return fail("truncated: expected " + std::to_string(header.fileBytes) + " bytes, found " +
                std::to_string(size));
  const std::string corrupted = "corrupted: ";
  if (size > header.fileBytes)
    return fail(corrupted + "expected " + std::to_string(header.fileBytes) + " bytes, found " +
                std::to_string(size));
  if (header.headerBytes != sizeof(FileHeader) || header.sections > kMaxSections)
    return fail(corrupted + "the header is inconsistent");
  const uint64_t tableEnd = sizeof(FileHeader) + uint64_t(header.sections) * sizeof(Section);
  if (tableEnd > size || header.planOffset != aligned(tableEnd) || header.planOffset > size ||
      header.planBytes > size - header.planOffset)
    return fail(corrupted + "the header is inconsistent");
  if (headChecksum(header, data + sizeof(FileHeader), data + header.planOffset) !=
      header.checksum)
    return fail(corrupted + "the checksum of header and plan does not match; copy or compile it "
                            "again");

  Contents contents;
  contents.sections.resize(header.sections);
  if (header.sections > 0)
    std::memcpy(contents.sections.data(), data + sizeof(FileHeader),
                header.sections * sizeof(Section));
  for (const Section &section : contents.sections)
    if (section.offset % kAlignment != 0 || section.offset < header.planOffset + header.planBytes ||
        section.offset > size || section.bytes > size - section.offset)
      return fail(corrupted + "a section lies outside the file");

  // A copy, since FlatBuffers must be aligned and `data` need not be.
  std::vector<uint8_t> bytes(data + header.planOffset, data + header.planOffset + header.planBytes);
  flatbuffers::Verifier verifier(bytes.data(), bytes.size(), /*max_depth=*/16,
                                 /*max_tables=*/uint32_t(bytes.size() / 8 + 16));
  if (bytes.size() < 8 || !plan::ArtefactBufferHasIdentifier(bytes.data()) ||
      !plan::VerifyArtefactBuffer(verifier))
    return fail(corrupted + "the plan is malformed");
  const plan::Artefact &root = *plan::GetArtefact(bytes.data());
  Unpacker unpacker(bytes.size());
  Artefact &a = contents.artefact;
  a.producer = unpacker.text(root.producer());
  a.modelHash = unpacker.text(root.model_hash());
  a.dtype = unpacker.text(root.dtype());
  a.configJson = unpacker.text(root.config_json());
  a.weightsFile = unpacker.text(root.weights_file());
  a.weightsHash = unpacker.text(root.weights_hash());
  unpacker.unpackAll(a.programs, root.programs(),
                     [&](const plan::Program &p) { return unpacker.unpack(p); });
  if (unpacker.exceeded())
    return fail(corrupted + "the plan is malformed");

  // Sections belong to one code each, or to one or more equal weights.
  size_t codes = 0, weights = 0;
  for (size_t i = 0; i < a.programs.size(); ++i) {
    Program &program = a.programs[i];
    const plan::Program &packed = *root.programs()->Get(uint32_t(i));
    for (uint32_t j = 0; packed.code() && j < packed.code()->size(); ++j) {
      const plan::Code &code = *packed.code()->Get(j);
      program.code.push_back(unpacker.unpack(code));
      if (unpacker.exceeded())
        return fail(corrupted + "the plan is malformed");
      const formats::Code &unpacked = program.code.back();
      if (code.section() >= contents.sections.size())
        return fail(corrupted + "code " + inQuotes(unpacked.target) + " has no section");
      const Section &section = contents.sections[code.section()];
      if (section.kind != uint32_t(SectionKind::Code) || section.index != codes++)
        return fail(corrupted + "code " + inQuotes(unpacked.target) + " has no section");
      const uint8_t *blob = data + section.offset;
      if (crc32(blob, section.bytes) != section.checksum)
        return fail(corrupted + "the checksum of the code for " + inQuotes(unpacked.target) +
                    " does not match; copy or compile it again");
      program.code.back().blob.assign(blob, blob + section.bytes);
    }
    if (!packed.weights() || packed.weights()->size() == 0)
      continue;
    if (packed.weights()->size() != program.prepared.size())
      return fail(corrupted + "an embedded weight does not fit the plan");
    for (uint32_t j = 0; j < packed.weights()->size(); ++j) {
      uint32_t index = packed.weights()->Get(j);
      if (index >= contents.sections.size() ||
          contents.sections[index].kind != uint32_t(SectionKind::Weight) ||
          contents.sections[index].bytes != uint64_t(preparedBytes(program.prepared[j])))
        return fail(corrupted + "an embedded weight does not fit the plan");
      const Section &section = contents.sections[index];
      program.embedded.push_back({section.offset, section.bytes});
      // New ones come in order.
      if (section.index > weights)
        return fail(corrupted + "an embedded weight does not fit the plan");
      weights += section.index == weights;
    }
  }
  if (codes + weights != contents.sections.size())
    return fail(corrupted + "a section belongs to nothing");
  OTODUS_RETURN_IF_ERROR(validate(a).in(name));
  return contents;
}

//===----------------------------------------------------------------------===//
// Writing
//===----------------------------------------------------------------------===//

/// The same bytes to a file and to memory.
class Sink {
public:
  explicit Sink(OutputFile &file) : file_(&file) {}
  explicit Sink(std::vector<uint8_t> &memory) : memory_(&memory) {}

  uint64_t offset() const { return file_ ? file_->offset() : memory_->size(); }
  Status write(const void *data, size_t bytes) {
    if (file_)
      return file_->write(data, bytes);
    auto *from = static_cast<const uint8_t *>(data);
    memory_->insert(memory_->end(), from, from + bytes);
    return Status::ok();
  }
  Status pad() {
    if (file_)
      return file_->pad(kAlignment);
    memory_->resize(aligned(memory_->size()));
    return Status::ok();
  }
  Status overwrite(uint64_t offset, const void *data, size_t bytes) {
    if (file_)
      return file_->writeAt(offset, data, bytes);
    std::memcpy(memory_->data() + offset, data, bytes);
    return Status::ok();
  }

private:
  OutputFile *file_ = nullptr;
  std::vector<uint8_t> *memory_ = nullptr;
};

/// Which prepared weights are embedded, each once though several programs may use it.
struct EmbeddedWeight {
  size_t program, index;
};

Status writeTo(Sink &sink, const Artefact &artefact, const WeightSource &weights) {
  Artefact checked = artefact;
  for (Program &program : checked.programs)
    program.embedded.clear();
  if (Status status = validate(checked); !status.isOk())
    return Status(otodus::Code::Internal, "the compiler made an artefact that breaks its rules: " +
                                              status.message());

  std::vector<Section> sections;
  std::vector<const formats::Code *> codes;
  for (const Program &program : artefact.programs)
    for (const formats::Code &code : program.code) {
      sections.push_back(
          {0, code.blob.size(), uint32_t(SectionKind::Code), uint32_t(codes.size()), 0, 0});
      codes.push_back(&code);
    }
  std::vector<EmbeddedWeight> embedded;
  std::vector<std::vector<uint32_t>> weightSections(artefact.programs.size());
  if (weights)
    for (size_t p = 0; p < artefact.programs.size(); ++p)
      for (size_t i = 0; i < artefact.programs[p].prepared.size(); ++i) {
        const Prepared &prepared = artefact.programs[p].prepared[i];
        auto known = std::find_if(embedded.begin(), embedded.end(), [&](const EmbeddedWeight &e) {
          return artefact.programs[e.program].prepared[e.index] == prepared;
        });
        weightSections[p].push_back(uint32_t(codes.size() + (known - embedded.begin())));
        if (known != embedded.end())
          continue;
        sections.push_back({0, uint64_t(preparedBytes(prepared)), uint32_t(SectionKind::Weight),
                            uint32_t(embedded.size()), 0, 0});
        embedded.push_back({p, i});
      }
  FlatBufferBuilder builder(1 << 16);
  builder.Finish(Packer(builder).pack(artefact, weightSections), plan::ArtefactIdentifier());

  FileHeader header = {};
  std::memcpy(header.magic, kMagic, sizeof(kMagic));
  header.version = kArtefactVersion;
  header.headerBytes = sizeof(FileHeader);
  header.sections = uint32_t(sections.size());
  header.planOffset = aligned(sizeof(header) + sections.size() * sizeof(Section));
  header.planBytes = builder.GetSize();

  // Header and table are written again once checksums are known.
  OTODUS_RETURN_IF_ERROR(sink.write(&header, sizeof(header)));
  OTODUS_RETURN_IF_ERROR(sink.write(sections.data(), sections.size() * sizeof(Section)));
  OTODUS_RETURN_IF_ERROR(sink.pad());
  OTODUS_RETURN_IF_ERROR(sink.write(builder.GetBufferPointer(), builder.GetSize()));
  std::vector<uint8_t> bytes;
  for (Section &section : sections) {
    OTODUS_RETURN_IF_ERROR(sink.pad());
    const uint8_t *data = nullptr;
    if (section.kind == uint32_t(SectionKind::Code)) {
      data = codes[section.index]->blob.data();
    } else {
      bytes.clear();
      EmbeddedWeight from = embedded[section.index];
      OTODUS_RETURN_IF_ERROR(weights(from.program, from.index, bytes));
      if (bytes.size() != section.bytes)
        return Status(otodus::Code::Internal,
                      "weight " +
                          inQuotes(artefact.programs[from.program].prepared[from.index].name) +
                          ": " +
                          std::to_string(section.bytes) + " prepared bytes expected, " +
                          std::to_string(bytes.size()) + " came");
      data = bytes.data();
    }
    section.offset = sink.offset();
    section.checksum = crc32(data, section.bytes);
    OTODUS_RETURN_IF_ERROR(sink.write(data, section.bytes));
  }
  header.fileBytes = sink.offset();
  header.checksum = headChecksum(header, sections.data(), builder.GetBufferPointer());
  OTODUS_RETURN_IF_ERROR(sink.overwrite(0, &header, sizeof(header)));
  return sink.overwrite(sizeof(header), sections.data(), sections.size() * sizeof(Section));
}
} // namespace

bool formats::looksLikeArtefact(const uint8_t *data, uint64_t size) {
  return size >= sizeof(kMagic) && std::memcmp(data, kMagic, sizeof(kMagic)) == 0;
}

Status formats::writeArtefact(const std::string &path, const Artefact &artefact,
                              const WeightSource &weights) {
  Result<OutputFile> file = OutputFile::create(path);
  OTODUS_RETURN_IF_ERROR(file.status());
  Sink sink(*file);
  OTODUS_RETURN_IF_ERROR(writeTo(sink, artefact, weights));
  return file->finish();
}

Result<std::vector<uint8_t>> formats::writeArtefact(const Artefact &artefact,
                                                    const WeightSource &weights) {
  std::vector<uint8_t> memory;
  Sink sink(memory);
  OTODUS_RETURN_IF_ERROR(writeTo(sink, artefact, weights));
  return memory;
}

Result<Artefact> formats::readArtefact(const uint8_t *data, uint64_t size,
                                       const std::string &name) {
  Result<Contents> contents = readContents(data, size, name);
  OTODUS_RETURN_IF_ERROR(contents.status());
  return std::move(contents->artefact);
}

//===----------------------------------------------------------------------===//
// ArtefactFile
//===----------------------------------------------------------------------===//

struct ArtefactFile::Impl {
  std::string path;
  MappedFile mapping;         ///< one of these two holds the bytes
  std::vector<uint8_t> bytes;
  const uint8_t *data = nullptr;
  uint64_t size = 0;
  Contents contents;

  Status read() {
    Result<Contents> result = readContents(data, size, path);
    OTODUS_RETURN_IF_ERROR(result.status());
    contents = std::move(*result);
    return Status::ok();
  }
};

Result<ArtefactFile> ArtefactFile::open(const std::string &path) {
  Result<MappedFile> mapping = MappedFile::open(path);
  OTODUS_RETURN_IF_ERROR(mapping.status());
  auto impl = std::make_shared<Impl>();
  impl->path = path;
  impl->mapping = std::move(*mapping);
  impl->data = impl->mapping.data();
  impl->size = impl->mapping.size();
  OTODUS_RETURN_IF_ERROR(impl->read());
  ArtefactFile file;
  file.impl_ = std::move(impl);
  return file;
}

Result<ArtefactFile> ArtefactFile::parse(std::vector<uint8_t> bytes, const std::string &name) {
  auto impl = std::make_shared<Impl>();
  impl->path = name;
  impl->bytes = std::move(bytes);
  impl->data = impl->bytes.data();
  impl->size = impl->bytes.size();
  OTODUS_RETURN_IF_ERROR(impl->read());
  ArtefactFile file;
  file.impl_ = std::move(impl);
  return file;
}

const Artefact &ArtefactFile::artefact() const { return impl_->contents.artefact; }
const std::string &ArtefactFile::path() const { return impl_->path; }
uint64_t ArtefactFile::size() const { return impl_->size; }

const uint8_t *ArtefactFile::weight(size_t program, size_t index) const {
  if (program >= artefact().programs.size())
    return nullptr;
  const auto &embedded = artefact().programs[program].embedded;
  if (index >= embedded.size() || embedded[index].bytes == 0)
    return nullptr;
  return impl_->data + embedded[index].offset;
}

Status ArtefactFile::verifyWeights() const {
  const std::vector<Section> &sections = impl_->contents.sections;
  for (const Section &section : sections) {
    if (section.kind != uint32_t(SectionKind::Weight))
      continue;
    uint32_t found = crc32(impl_->data + section.offset, section.bytes);
    impl_->mapping.dropPages(impl_->data + section.offset, section.bytes);
    if (found == section.checksum)
      continue;
    std::string name;
    for (const Program &program : artefact().programs)
      for (size_t i = 0; i < program.embedded.size() && name.empty(); ++i)
        if (program.embedded[i].offset == section.offset)
          name = program.prepared[i].name;
    return Status(otodus::Code::File, path() + ": corrupted: the checksum of embedded weight " +
                                          inQuotes(name) +
                                          " does not match; copy or compile it again");
  }
  return Status::ok();
}

void ArtefactFile::dropPages(size_t program, size_t index) const {
  if (const uint8_t *data = weight(program, index))
    impl_->mapping.dropPages(data, artefact().programs[program].embedded[index].bytes);
}

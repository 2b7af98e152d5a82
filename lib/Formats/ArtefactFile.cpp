//===- ArtefactFile.cpp - Artefacts as files -------------------------------===//

#include "otodus/Formats/ArtefactFile.h"

#include "ArtefactPlan.h"
#include "Json.h"
#include "otodus/Formats/Hash.h"
#include "otodus/Formats/MappedFile.h"
#include "otodus/Formats/OutputFile.h"

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <optional>

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

  std::optional<UnpackedPlan> plan = unpackPlan(data + header.planOffset, header.planBytes);
  if (!plan)
    return fail(corrupted + "the plan is malformed");
  Artefact &a = contents.artefact = std::move(plan->artefact);

  // Sections belong to one code each, or to one or more equal weights.
  size_t codes = 0, weights = 0;
  for (size_t i = 0; i < a.programs.size(); ++i) {
    Program &program = a.programs[i];
    const ProgramSections &numbers = plan->sections[i];
    for (size_t j = 0; j < program.code.size(); ++j) {
      formats::Code &code = program.code[j];
      if (numbers.code[j] >= contents.sections.size())
        return fail(corrupted + "code " + inQuotes(code.target) + " has no section");
      const Section &section = contents.sections[numbers.code[j]];
      if (section.kind != uint32_t(SectionKind::Code) || section.index != codes++)
        return fail(corrupted + "code " + inQuotes(code.target) + " has no section");
      const uint8_t *blob = data + section.offset;
      if (crc32(blob, section.bytes) != section.checksum)
        return fail(corrupted + "the checksum of the code for " + inQuotes(code.target) +
                    " does not match; copy or compile it again");
      code.blob.assign(blob, blob + section.bytes);
    }
    if (numbers.weights.empty())
      continue;
    if (numbers.weights.size() != program.prepared.size())
      return fail(corrupted + "an embedded weight does not fit the plan");
    for (size_t j = 0; j < numbers.weights.size(); ++j) {
      uint32_t index = numbers.weights[j];
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
  const std::vector<uint8_t> plan = packPlan(artefact, weightSections);

  FileHeader header = {};
  std::memcpy(header.magic, kMagic, sizeof(kMagic));
  header.version = kArtefactVersion;
  header.headerBytes = sizeof(FileHeader);
  header.sections = uint32_t(sections.size());
  header.planOffset = aligned(sizeof(header) + sections.size() * sizeof(Section));
  header.planBytes = plan.size();

  // Header and table are written again once checksums are known.
  OTODUS_RETURN_IF_ERROR(sink.write(&header, sizeof(header)));
  OTODUS_RETURN_IF_ERROR(sink.write(sections.data(), sections.size() * sizeof(Section)));
  OTODUS_RETURN_IF_ERROR(sink.pad());
  OTODUS_RETURN_IF_ERROR(sink.write(plan.data(), plan.size()));
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
  header.checksum = headChecksum(header, sections.data(), plan.data());
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

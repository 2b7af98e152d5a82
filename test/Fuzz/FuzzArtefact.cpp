//===- FuzzArtefact.cpp - Any bytes as an artefact -------------------------===//
//
// A random change almost never keeps a checksum, so each input is tried as it is and once
// more with sizes and checksums made right (docs/Formats.md has the offsets).
//
//===----------------------------------------------------------------------===//

#include "otodus/Formats/ArtefactFile.h"
#include "otodus/Formats/Hash.h"

#include <cstdlib>
#include <cstring>

using namespace otodus;
using namespace otodus::formats;

namespace {
template <typename T> T load(const std::vector<uint8_t> &bytes, size_t at) {
  T value;
  std::memcpy(&value, bytes.data() + at, sizeof(T));
  return value;
}
template <typename T> void store(std::vector<uint8_t> &bytes, size_t at, T value) {
  std::memcpy(bytes.data() + at, &value, sizeof(T));
}

void repair(std::vector<uint8_t> &bytes) {
  if (bytes.size() < 64)
    return;
  std::memcpy(bytes.data(), "OTODUS\0\0", 8);
  store<uint32_t>(bytes, 8, kArtefactVersion);
  store<uint64_t>(bytes, 16, bytes.size());
  const uint64_t sections = load<uint32_t>(bytes, 24), size = bytes.size();
  const uint64_t plan = load<uint64_t>(bytes, 32), planBytes = load<uint64_t>(bytes, 40);
  if (sections > (size - 64) / 32 || plan > size || planBytes > size - plan)
    return;
  for (uint64_t i = 0; i < sections; ++i) {
    const size_t at = 64 + 32 * i;
    const uint64_t offset = load<uint64_t>(bytes, at), length = load<uint64_t>(bytes, at + 8);
    if (offset <= size && length <= size - offset)
      store<uint32_t>(bytes, at + 24, crc32(bytes.data() + offset, length));
  }
  store<uint32_t>(bytes, 28, 0);
  uint32_t crc = crc32(bytes.data(), 64);
  crc = crc32(bytes.data() + 64, sections * 32, crc);
  store<uint32_t>(bytes, 28, crc32(bytes.data() + plan, planBytes, crc));
}

void tryOne(const std::vector<uint8_t> &bytes) {
  Result<ArtefactFile> file = ArtefactFile::parse(bytes, "fuzz");
  if (!file.isOk()) {
    if (file.status().message().find('\n') != std::string::npos)
      std::abort();
    return;
  }
  const Artefact &artefact = file->artefact();
  if (!validate(artefact).isOk())
    std::abort();
  (void)file->verifyWeights();
  for (const Program &program : artefact.programs) {
    for (const Function &f : program.functions)
      for (const Launch &launch : f.launches)
        for (int64_t index : launch.buffers)
          if (f.buffers.at(size_t(index)).bytesPerRow < 0 &&
              f.buffers[size_t(index)].kind == BufferKind::Scratch)
            std::abort();
    for (const formats::Code &code : program.code)
      for (const formats::Code::Entry &entry : code.entries)
        for (const TensorMap &map : entry.tensorMaps)
          if (map.box.size() != map.extents.size())
            std::abort();
  }
  // What was read can be written and read again.
  Result<std::vector<uint8_t>> again = writeArtefact(artefact);
  if (!again.isOk() || !readArtefact(again->data(), again->size(), "again").isOk())
    std::abort();
}
} // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  std::vector<uint8_t> bytes(data, data + size);
  tryOne(bytes);
  repair(bytes);
  tryOne(bytes);
  return 0;
}

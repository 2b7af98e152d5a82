//===- FuzzState.cpp - Any bytes as a state file ---------------------------===//
//
// Tried as they are, and with sizes and checksums made right (docs/Formats.md).
//
//===----------------------------------------------------------------------===//

#include "otodus/Formats/Hash.h"
#include "otodus/Formats/StateFile.h"

#include <cstdlib>
#include <cstring>

using namespace otodus;
using namespace otodus::formats;

namespace {
template <typename T> void store(std::vector<uint8_t> &bytes, size_t at, T value) {
  std::memcpy(bytes.data() + at, &value, sizeof(T));
}

void repair(std::vector<uint8_t> &bytes) {
  if (bytes.size() < 128)
    return;
  // A header in the input costs the fuzzer 4096 bytes; its unused end is added here.
  if (bytes.size() < 4096)
    bytes.resize(4096);
  std::memcpy(bytes.data(), "OTODUSST", 8);
  store<uint32_t>(bytes, 8, kStateVersion);
  uint32_t header;
  std::memcpy(&header, bytes.data() + 12, 4);
  if (header % 4096 != 0 || header == 0 || header > bytes.size())
    store<uint32_t>(bytes, 12, header = 4096);
  store<uint64_t>(bytes, 16, bytes.size());
  store<uint32_t>(bytes, 48, crc32(bytes.data() + header, bytes.size() - header));
  store<uint32_t>(bytes, 52, 0);
  store<uint32_t>(bytes, 52, crc32(bytes.data(), header));
}

void tryOne(const std::vector<uint8_t> &bytes) {
  Result<StateFile> state = parseState(bytes.data(), bytes.size(), "fuzz");
  if (!state.isOk()) {
    if (state.status().message().find('\n') != std::string::npos)
      std::abort();
    return;
  }
  Result<std::vector<uint8_t>> again = serializeState(*state);
  if (!again.isOk())
    std::abort();
  Result<StateFile> read = parseState(again->data(), again->size(), "again");
  if (!read.isOk() || read->positions != state->positions ||
      read->states.size() != state->states.size())
    std::abort();
  for (size_t i = 0; i < read->states.size(); ++i)
    if (read->states[i].name != state->states[i].name ||
        read->states[i].sequences != state->states[i].sequences)
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

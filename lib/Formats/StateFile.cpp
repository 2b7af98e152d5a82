//===- StateFile.cpp - What sequences carry, on disk -----------------------===//
//
// docs/Formats.md has the file byte by byte. The list of states is stored with runs of
// numbered names ("layers.0...", "layers.1...") folded, so that the header of a model of
// any depth fits its 4096 bytes.
//
//===----------------------------------------------------------------------===//

#include "otodus/Formats/StateFile.h"

#include "Json.h"
#include "otodus/Formats/Hash.h"
#include "otodus/Formats/MappedFile.h"
#include "otodus/Formats/OutputFile.h"

#include <algorithm>
#include <cstring>
#include <optional>
#include <set>

using namespace otodus;
using namespace otodus::formats;

namespace {
constexpr char kMagic[8] = {'O', 'T', 'O', 'D', 'U', 'S', 'S', 'T'};
constexpr uint32_t kHeaderUnit = 4096;
constexpr uint32_t kMaxHeader = 1 << 20;
constexpr size_t kMaxStates = 1 << 14;
constexpr uint64_t kMaxBatchStates = 1 << 22;
constexpr size_t kMaxName = 1024, kMaxRank = 8;
constexpr int64_t kMaxBytes = int64_t(1) << 56;
constexpr char kNumber = 1; ///< stands for the number in a folded name

struct Header {
  char magic[8];
  uint32_t version;
  uint32_t headerBytes;
  uint64_t fileBytes;
  uint64_t batch;
  int64_t chunk;
  uint32_t dtype; ///< 0: f32, 1: bf16
  uint32_t listBytes;
  uint32_t payloadChecksum;
  uint32_t headerChecksum; ///< of all header bytes with 0 here
  uint64_t nextToken; ///< 1 + StateFile::nextToken, 0 if there is none
  char modelHash[64]; ///< zeros if there is none
};
static_assert(sizeof(Header) == 128);

//===----------------------------------------------------------------------===//
// The list of states
//===----------------------------------------------------------------------===//

/// `name` as text around its first number, if that is written without leading zeros.
struct Numbered {
  std::string folded;
  int64_t number = 0;
};

std::optional<Numbered> numbered(const std::string &name) {
  size_t begin = name.find_first_of("0123456789");
  if (begin == name.npos)
    return std::nullopt;
  size_t end = name.find_first_not_of("0123456789", begin);
  end = end == name.npos ? name.size() : end;
  std::string digits = name.substr(begin, end - begin);
  if (digits.size() > 9)
    return std::nullopt;
  int64_t number = std::stoll(digits);
  if (std::to_string(number) != digits)
    return std::nullopt;
  return Numbered{name.substr(0, begin) + kNumber + name.substr(end), number};
}

class ListWriter {
public:
  std::string bytes;

  void write(const std::vector<StateTensor> &states) {
    std::vector<std::optional<Numbered>> names;
    for (const StateTensor &state : states)
      names.push_back(numbered(state.name));
    auto same = [&](size_t a, size_t b) {
      return names[b] && names[a]->folded == names[b]->folded &&
             states[a].dtype == states[b].dtype && states[a].shape == states[b].shape &&
             states[a].openChunk == states[b].openChunk;
    };
    for (size_t at = 0; at < states.size();) {
      if (!names[at]) {
        group(0, 1, {{states[at].name, &states[at]}});
        ++at;
        continue;
      }
      const int64_t first = names[at]->number;
      size_t period = 1;
      while (at + period < states.size() && names[at + period] &&
             names[at + period]->number == first)
        ++period;
      uint32_t count = 1;
      auto repeats = [&] {
        size_t from = at + count * period;
        if (from + period > states.size())
          return false;
        for (size_t i = 0; i < period; ++i)
          if (!same(at + i, from + i) || names[from + i]->number != first + count)
            return false;
        return true;
      };
      while (repeats())
        ++count;
      std::vector<std::pair<std::string, const StateTensor *>> entries;
      for (size_t i = 0; i < period; ++i)
        entries.emplace_back(names[at + i]->folded, &states[at + i]);
      group(first, count, entries);
      at += count * period;
    }
  }

private:
  template <typename T> void put(T value) {
    bytes.append(reinterpret_cast<const char *>(&value), sizeof(value));
  }
  void group(int64_t first, uint32_t count,
             const std::vector<std::pair<std::string, const StateTensor *>> &entries) {
    put<uint32_t>(uint32_t(first));
    put<uint32_t>(count);
    put<uint32_t>(uint32_t(entries.size()));
    for (const auto &[name, state] : entries) {
      put<uint16_t>(uint16_t(name.size()));
      bytes += name;
      put<uint8_t>(uint8_t(state->dtype));
      put<uint8_t>(state->openChunk);
      put<uint8_t>(uint8_t(state->shape.size()));
      for (int64_t extent : state->shape)
        put<int64_t>(extent);
    }
  }
};

class ListReader {
public:
  ListReader(const uint8_t *data, size_t size) : data_(data), size_(size) {}

  /// False if the list is malformed.
  bool read(std::vector<StateTensor> &states) {
    while (at_ < size_) {
      uint32_t first, count, entries;
      if (!get(first) || !get(count) || !get(entries) || count == 0 || entries == 0 ||
          entries > kMaxStates || count > kMaxStates ||
          uint64_t(entries) * count > kMaxStates - states.size() ||
          uint64_t(first) + count > 1'000'000'000)
        return false;
      std::vector<StateTensor> group(entries);
      for (StateTensor &state : group)
        if (!entry(state))
          return false;
      for (uint32_t i = 0; i < count; ++i)
        for (const StateTensor &folded : group) {
          StateTensor state = folded;
          if (size_t place = state.name.find(kNumber); place != state.name.npos)
            state.name.replace(place, 1, std::to_string(first + i));
          states.push_back(std::move(state));
        }
    }
    return true;
  }

private:
  template <typename T> bool get(T &value) {
    if (size_ - at_ < sizeof(T))
      return false;
    std::memcpy(&value, data_ + at_, sizeof(T));
    at_ += sizeof(T);
    return true;
  }
  bool entry(StateTensor &state) {
    uint16_t length;
    uint8_t dtype, open, rank;
    if (!get(length) || length > kMaxName || size_ - at_ < length)
      return false;
    state.name.assign(reinterpret_cast<const char *>(data_) + at_, length);
    at_ += length;
    if (!get(dtype) || !get(open) || !get(rank) || dtype > uint8_t(DType::Bool) || open > 1 ||
        rank > kMaxRank)
      return false;
    state.dtype = DType(dtype);
    state.openChunk = open;
    state.shape.resize(rank);
    for (int64_t &extent : state.shape)
      if (!get(extent))
        return false;
    return true;
  }
  const uint8_t *data_;
  size_t size_, at_ = 0;
};

//===----------------------------------------------------------------------===//
// The payload
//===----------------------------------------------------------------------===//

/// What is wrong with everything but `sequences`, "" if nothing.
std::string problemOf(const StateFile &state) {
  if (state.dtype != "f32" && state.dtype != "bf16")
    return "dtype must be f32 or bf16, found " + inQuotes(state.dtype);
  if (!state.modelHash.empty() && state.modelHash.size() != 64)
    return "the model's hash must have 64 digits";
  if (state.chunk < 0)
    return "negative chunk";
  if (state.states.size() > kMaxStates ||
      uint64_t(state.states.size()) * state.positions.size() > kMaxBatchStates)
    return "too many states";
  for (int64_t position : state.positions)
    if (position < 0)
      return "negative position " + std::to_string(position);
  std::set<std::string_view> names;
  for (const StateTensor &s : state.states) {
    if (s.name.empty() || s.name.size() > kMaxName || s.shape.size() > kMaxRank)
      return "state with an empty or too long name, or too many dimensions";
    for (unsigned char c : s.name)
      if (c < 0x20)
        return "control character in the name of state " + inQuotes(s.name);
    if (!names.insert(s.name).second)
      return "state " + inQuotes(s.name) + " appears twice";
    for (int64_t extent : s.shape)
      if (extent < 1)
        return "state " + inQuotes(s.name) + " has extent " + std::to_string(extent);
    if (s.openChunk && (s.shape.empty() || s.shape[0] != state.chunk))
      return "open chunk " + inQuotes(s.name) + " does not hold chunks of " +
             std::to_string(state.chunk);
    if (s.bytesFor(s.openChunk ? state.chunk : 0) < 0)
      return "the size of state " + inQuotes(s.name) + " overflows";
  }
  return "";
}

/// True where a run of open chunks begins: its count c is stored before it.
bool beginsRun(const StateFile &state, size_t i) {
  return state.states[i].openChunk && (i == 0 || !state.states[i - 1].openChunk);
}

/// Calls piece(data, bytes) for the payload in the order of the file.
template <typename Piece> Status forPayload(const StateFile &state, Piece &&piece) {
  OTODUS_RETURN_IF_ERROR(piece(state.positions.data(), state.positions.size() * sizeof(int64_t)));
  for (size_t b = 0; b < state.positions.size(); ++b) {
    const int64_t count = state.openCount(b);
    for (size_t i = 0; i < state.states.size(); ++i) {
      if (beginsRun(state, i))
        OTODUS_RETURN_IF_ERROR(piece(&count, sizeof(count)));
      const auto &bytes = state.states[i].sequences[b];
      OTODUS_RETURN_IF_ERROR(piece(bytes.data(), bytes.size()));
    }
  }
  return Status::ok();
}

Result<std::vector<uint8_t>> makeHeader(const StateFile &state) {
  auto fail = [](const std::string &what) {
    return Status(otodus::Code::Internal, "cannot save state: " + what);
  };
  if (std::string problem = problemOf(state); !problem.empty())
    return fail(problem);
  for (const StateTensor &s : state.states) {
    if (s.sequences.size() != state.positions.size())
      return fail("state " + inQuotes(s.name) + " has " + std::to_string(s.sequences.size()) +
                  " sequences, expected " + std::to_string(state.positions.size()));
    for (size_t b = 0; b < s.sequences.size(); ++b)
      if (int64_t bytes = s.bytesFor(state.openCount(b));
          uint64_t(bytes) != s.sequences[b].size())
        return fail("state " + inQuotes(s.name) + " of sequence " + std::to_string(b) + " has " +
                    std::to_string(s.sequences[b].size()) + " bytes, expected " +
                    std::to_string(bytes));
  }
  ListWriter list;
  list.write(state.states);
  uint64_t headerBytes =
      (sizeof(Header) + list.bytes.size() + kHeaderUnit - 1) / kHeaderUnit * kHeaderUnit;
  if (headerBytes > kMaxHeader)
    return fail("the list of states is too long");

  Header header = {};
  std::memcpy(header.magic, kMagic, sizeof(kMagic));
  header.version = kStateVersion;
  header.headerBytes = uint32_t(headerBytes);
  header.batch = state.positions.size();
  header.chunk = state.chunk;
  header.dtype = state.dtype == "bf16";
  header.nextToken = state.nextToken < 0 ? 0 : uint64_t(state.nextToken) + 1;
  header.listBytes = uint32_t(list.bytes.size());
  state.modelHash.copy(header.modelHash, sizeof(header.modelHash));
  uint64_t bytes = 0;
  OTODUS_RETURN_IF_ERROR(forPayload(state, [&](const void *data, uint64_t size) {
    if (size > 0)
      header.payloadChecksum = crc32(data, size, header.payloadChecksum);
    bytes += size;
    return Status::ok();
  }));
  header.fileBytes = headerBytes + bytes;
  std::vector<uint8_t> out(headerBytes);
  std::memcpy(out.data(), &header, sizeof(header));
  std::memcpy(out.data() + sizeof(header), list.bytes.data(), list.bytes.size());
  header.headerChecksum = crc32(out.data(), out.size());
  std::memcpy(out.data(), &header, sizeof(header));
  return out;
}
} // namespace

int64_t StateTensor::bytesFor(int64_t count) const {
  int64_t bytes = sizeOf(dtype);
  for (size_t i = 0; i < shape.size(); ++i) {
    int64_t extent = i == 0 && openChunk ? count : shape[i];
    if (extent < 0 || __builtin_mul_overflow(bytes, extent, &bytes) || bytes > kMaxBytes)
      return -1;
  }
  return bytes;
}

//===----------------------------------------------------------------------===//
// Writing
//===----------------------------------------------------------------------===//

Status formats::writeStateFile(const std::string &path, const StateFile &state) {
  Result<std::vector<uint8_t>> header = makeHeader(state);
  OTODUS_RETURN_IF_ERROR(header.status());
  Result<OutputFile> file = OutputFile::create(path);
  OTODUS_RETURN_IF_ERROR(file.status());
  OTODUS_RETURN_IF_ERROR(file->write(header->data(), header->size()));
  OTODUS_RETURN_IF_ERROR(forPayload(
      state, [&](const void *data, uint64_t size) { return file->write(data, size); }));
  return file->finish();
}

Result<std::vector<uint8_t>> formats::serializeState(const StateFile &state) {
  Result<std::vector<uint8_t>> out = makeHeader(state);
  OTODUS_RETURN_IF_ERROR(out.status());
  OTODUS_RETURN_IF_ERROR(forPayload(state, [&](const void *data, uint64_t size) {
    auto *from = static_cast<const uint8_t *>(data);
    out->insert(out->end(), from, from + size);
    return Status::ok();
  }));
  return out;
}

//===----------------------------------------------------------------------===//
// Reading
//===----------------------------------------------------------------------===//

bool formats::looksLikeState(const uint8_t *data, uint64_t size) {
  return size >= sizeof(kMagic) && std::memcmp(data, kMagic, sizeof(kMagic)) == 0;
}

Result<StateFile> formats::readStateFile(const std::string &path) {
  Result<MappedFile> mapping = MappedFile::open(path);
  OTODUS_RETURN_IF_ERROR(mapping.status());
  return parseState(mapping->data(), mapping->size(), path);
}

Result<StateFile> formats::parseState(const uint8_t *data, uint64_t size,
                                      const std::string &name) {
  auto fail = [&](const std::string &what) {
    return Status(otodus::Code::File, name + ": " + what);
  };
  if (!looksLikeState(data, size))
    return fail("not a state file of otodus; expected a file made by '--state-out'");
  if (size < sizeof(Header))
    return fail("truncated: a state file has at least " + std::to_string(kHeaderUnit) +
                " bytes, found " + std::to_string(size));
  Header header;
  std::memcpy(&header, data, sizeof(header));
  if (header.version != kStateVersion)
    return fail("state of format version " + std::to_string(header.version) +
                ", but this otodus reads version " + std::to_string(kStateVersion) +
                "; it cannot be converted, feed the text again");
  if (size < header.fileBytes)
    return fail("truncated: expected " + std::to_string(header.fileBytes) + " bytes, found " +
                std::to_string(size));
  if (size > header.fileBytes)
    return fail("corrupted: expected " + std::to_string(header.fileBytes) + " bytes, found " +
                std::to_string(size));
  const Status inconsistent = fail("corrupted: the header is inconsistent");
  if (header.headerBytes % kHeaderUnit != 0 || header.headerBytes == 0 ||
      header.headerBytes > kMaxHeader || header.headerBytes > size ||
      header.listBytes > header.headerBytes - sizeof(Header))
    return inconsistent;
  std::vector<uint8_t> head(data, data + header.headerBytes);
  std::memset(head.data() + offsetof(Header, headerChecksum), 0, sizeof(uint32_t));
  if (crc32(head.data(), head.size()) != header.headerChecksum)
    return fail("corrupted: the header's checksum does not match");
  const uint8_t *at = data + header.headerBytes;
  uint64_t left = size - header.headerBytes;
  if (header.dtype > 1 || header.batch > left / sizeof(int64_t))
    return inconsistent;
  if (crc32(at, left) != header.payloadChecksum)
    return fail("corrupted: the checksum of the states does not match");

  StateFile state;
  state.chunk = header.chunk;
  state.dtype = header.dtype ? "bf16" : "f32";
  state.nextToken = header.nextToken > INT32_MAX ? -1 : int64_t(header.nextToken) - 1;
  if (header.modelHash[0])
    state.modelHash.assign(header.modelHash, sizeof(header.modelHash));
  if (!ListReader(data + sizeof(Header), header.listBytes).read(state.states))
    return fail("corrupted: the list of states is malformed");
  state.positions.resize(header.batch);
  if (header.batch > 0)
    std::memcpy(state.positions.data(), at, header.batch * sizeof(int64_t));
  at += header.batch * sizeof(int64_t);
  left -= header.batch * sizeof(int64_t);
  if (std::string problem = problemOf(state); !problem.empty())
    return fail("corrupted: " + problem);

  for (size_t b = 0; b < state.positions.size(); ++b) {
    const int64_t count = state.openCount(b);
    for (size_t i = 0; i < state.states.size(); ++i) {
      if (beginsRun(state, i)) {
        int64_t stored;
        if (left < sizeof(stored))
          return inconsistent;
        std::memcpy(&stored, at, sizeof(stored));
        at += sizeof(stored);
        left -= sizeof(stored);
        if (stored != count)
          return fail("corrupted: an open chunk of " + std::to_string(stored) +
                      " steps at position " + std::to_string(state.positions[b]));
      }
      auto bytes = static_cast<uint64_t>(state.states[i].bytesFor(count));
      if (bytes > left)
        return inconsistent;
      state.states[i].sequences.emplace_back(at, at + bytes);
      at += bytes;
      left -= bytes;
    }
  }
  if (left != 0)
    return inconsistent;
  return state;
}

Status formats::checkState(const StateFile &state, const Artefact &artefact,
                           const std::string &name) {
  auto fail = [&](const std::string &what) {
    return Status(otodus::Code::File, name + ": " + what);
  };
  if (state.modelHash != artefact.modelHash)
    return fail("state of another model: it belongs to " + state.modelHash +
                ", but this model is " + artefact.modelHash);
  if (state.dtype != artefact.dtype)
    return fail("state saved under --dtype=" + state.dtype + ", but this model computes in " +
                artefact.dtype + "; use the same dtype");
  // All programs of an artefact carry the same states.
  static const std::vector<State> none;
  const std::vector<State> &states =
      artefact.programs.empty() ? none : artefact.programs.front().states;
  if (state.states.size() != states.size())
    return fail("expected " + std::to_string(states.size()) + " states, found " +
                std::to_string(state.states.size()));
  for (size_t i = 0; i < state.states.size(); ++i) {
    const StateTensor &have = state.states[i];
    const State &want = states[i];
    if (have.name != want.name || have.dtype != want.dtype || have.shape != want.shape ||
        have.openChunk != want.openChunk)
      return fail("state " + std::to_string(i) + " is " + inQuotes(have.name) +
                  " but this model expects " + inQuotes(want.name) +
                  ", or their types or shapes differ");
  }
  return Status::ok();
}

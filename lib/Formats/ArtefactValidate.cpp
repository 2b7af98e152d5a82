//===- ArtefactValidate.cpp - Sizes and indices of artefacts ---------------===//

#include "otodus/Formats/ArtefactFile.h"

#include "Json.h"

#include <algorithm>
#include <cmath>
#include <set>
#include <string_view>
#include <unordered_map>
#include <unordered_set>

using namespace otodus;
using namespace otodus::formats;

//===----------------------------------------------------------------------===//
// Sizes
//===----------------------------------------------------------------------===//

namespace {
/// More than any machine has; sums of a few stay inside 64 bits.
constexpr int64_t kMaxBytes = int64_t(1) << 56;

/// Product of sizes >= 0, or -1 beyond kMaxBytes.
int64_t product(std::initializer_list<int64_t> factors) {
  int64_t result = 1;
  bool zero = false;
  for (int64_t factor : factors) {
    if (factor < 0)
      return -1;
    zero |= factor == 0;
  }
  if (zero)
    return 0;
  for (int64_t factor : factors)
    if (__builtin_mul_overflow(result, factor, &result) || result > kMaxBytes)
      return -1;
  return result;
}

int64_t padTo(int64_t value, int64_t unit) {
  return value < 0 || value > kMaxBytes ? -1 : (value + unit - 1) / unit * unit;
}

bool isWidth(const Width &width) {
  return width.groups >= 1 && width.inner >= 1 && width.inner <= kMaxBytes &&
         product({width.groups, padTo(width.inner, kLaneBlock), 8}) >= 0;
}
} // namespace

int64_t formats::sizeOf(DType dtype) {
  switch (dtype) {
  case DType::F32:
  case DType::I32:
    return 4;
  case DType::BF16:
    return 2;
  case DType::F64:
  case DType::I64:
    return 8;
  case DType::Bool:
    return 1;
  }
  return 0;
}

int64_t State::bytes() const {
  const int64_t size = sizeOf(dtype);
  auto pad = [](int64_t extent) { return padTo(extent, kLaneBlock); };
  int64_t bytes = size;
  switch (layout) {
  case StateLayout::Plain:
    for (int64_t extent : shape)
      if (bytes = product({bytes, extent}); bytes < 0)
        return -1;
    bytes = product({padTo(bytes, 64), copies});
    break;
  case StateLayout::Lanes:
    if (shape.size() != 2 && (shape.size() != 3 || shape[2] != 2))
      return -1;
    bytes = product({pad(shape[0]), shape[1], shape.size() == 3 ? 2 : 1, size});
    break;
  case StateLayout::Keys:
  case StateLayout::Values:
    if (shape.size() != 3)
      return -1;
    bytes = product({shape[1], pad(shape[0]), pad(shape[2]), size});
    break;
  case StateLayout::Rows:
    if (shape.empty())
      return -1;
    for (size_t i = 0; i < shape.size(); ++i)
      if (bytes = product({bytes, i + 1 == shape.size() ? pad(shape[i]) : shape[i]}); bytes < 0)
        return -1;
    break;
  }
  return bytes < 0 ? -1 : padTo(bytes, 64);
}

int64_t formats::preparedBytes(const Prepared &p) {
  const int64_t size = sizeOf(p.dtype);
  auto pad = [](int64_t extent) { return padTo(extent, kLaneBlock); };
  // CemaCoefficients, RopeTable and Lanes use `inner` only.
  switch (p.kind) {
  case PrepareKind::Vector:
    return isWidth(p.columns) ? product({p.columns.padded(), size}) : -1;
  case PrepareKind::Table:
    if (!isWidth(p.columns) || !isWidth(p.rows))
      return -1;
    return product({p.rows.padded(), p.columns.padded(), size});
  case PrepareKind::Panels:
  case PrepareKind::PanelsTransposed:
    if (!isWidth(p.columns) || !isWidth(p.rows))
      return -1;
    return product({p.rows.padded(), p.columns.padded(), size});
  case PrepareKind::CemaCoefficients:
    return product({pad(p.columns.inner), p.rows.inner, 5, size});
  case PrepareKind::CemaGradient:
    return product({pad(p.columns.inner), p.rows.inner, 8, size});
  case PrepareKind::RopeTable:
    return product({p.rows.inner, 2, pad(p.columns.inner), size});
  case PrepareKind::Lanes:
    return product({pad(p.columns.inner), p.rows.inner, size});
  }
  return -1;
}

//===----------------------------------------------------------------------===//
// Validation
//===----------------------------------------------------------------------===//

namespace {
template <typename Enum> bool isOneOf(Enum value, Enum last) {
  return static_cast<unsigned>(value) <= static_cast<unsigned>(last);
}
bool isType(DType dtype) { return isOneOf(dtype, DType::Bool); }
bool isSymbol(Symbol symbol) { return isOneOf(symbol, Symbol::Rows); }

std::string at(const char *what, size_t index, const std::string &name) {
  return std::string(what) + " " + std::to_string(index) +
         (name.empty() ? "" : " " + inQuotes(name));
}

Status fault(const std::string &where, const std::string &what) {
  return Status(otodus::Code::File, "plan: " + where + ": " + what);
}

Status outOfRange(const std::string &where, const char *what, int64_t index, size_t size) {
  return fault(where, std::string(what) + " index " + std::to_string(index) +
                          " is out of range; there are " + std::to_string(size));
}

Status checkPrepared(const Prepared &p, const std::string &where) {
  if (!isOneOf(p.kind, PrepareKind::CemaGradient))
    return fault(where, "unknown kind " + std::to_string(int(p.kind)));
  if (p.dtype != DType::F32 && p.dtype != DType::BF16)
    return fault(where, "elements must be f32 or bf16");
  bool onlyF32 = p.kind == PrepareKind::Vector || p.kind == PrepareKind::CemaCoefficients ||
                 p.kind == PrepareKind::RopeTable || p.kind == PrepareKind::Lanes ||
                 p.kind == PrepareKind::CemaGradient;
  if (onlyF32 && p.dtype != DType::F32)
    return fault(where, "elements of this kind must be f32");
  if (preparedBytes(p) <= 0)
    return fault(where, "sizes are not positive or overflow");
  if (p.kind == PrepareKind::Vector) {
    // A row of a matrix; written so that a NaN is refused.
    const double row = p.parameter, rows = double(p.rows.inner);
    if (row != 0 && !(row > 0 && row < rows && row == std::floor(row)))
      return fault(where, "its row is not one of " + std::to_string(p.rows.inner));
  }
  if (p.kind == PrepareKind::CemaCoefficients || p.kind == PrepareKind::CemaGradient) {
    if (p.sources.size() != 4)
      return fault(where, "expected alpha, delta, theta and gamma, found " +
                              std::to_string(p.sources.size()) + " sources");
  } else if (p.kind == PrepareKind::RopeTable) {
    if (p.sources.size() > 1 || p.columns.inner % 2 != 0)
      return fault(where, "expected at most one source and an even width");
  } else if (p.sources.empty()) {
    return fault(where, "it has no source tensor");
  }
  return Status::ok();
}

Status checkState(const State &s, const std::string &where) {
  if (!isType(s.dtype))
    return fault(where, "unknown element type " + std::to_string(int(s.dtype)));
  if (!isOneOf(s.layout, StateLayout::Rows))
    return fault(where, "unknown layout " + std::to_string(int(s.layout)));
  for (int64_t extent : s.shape)
    if (extent < 1)
      return fault(where, "extents must be at least 1, found " + std::to_string(extent));
  if (s.layout == StateLayout::Lanes && s.dtype != DType::F32)
    return fault(where, "layout Lanes must hold f32");
  if ((s.layout == StateLayout::Keys || s.layout == StateLayout::Values) &&
      s.dtype != DType::F32 && s.dtype != DType::BF16)
    return fault(where, "layouts Keys and Values must hold f32 or bf16");
  if (s.copies < 1 || s.copies > 4096 || (s.copies > 1 && s.layout != StateLayout::Plain))
    return fault(where, "expected 1 to 4096 copies, and one unless the layout is Plain, found " +
                            std::to_string(s.copies));
  if (s.bytes() < 0)
    return fault(where, "the shape does not fit the layout, or its size overflows");
  if (s.openChunk && s.shape.empty())
    return fault(where, "an open chunk needs a first dimension");
  return Status::ok();
}

Status checkArgument(const Argument &a, const std::string &where) {
  if (!isOneOf(a.kind, ArgumentKind::Steps))
    return fault(where, "unknown kind " + std::to_string(int(a.kind)));
  if (!isType(a.dtype))
    return fault(where, "unknown element type " + std::to_string(int(a.dtype)));
  if (a.bound < 0)
    return fault(where, "negative bound");
  if (a.kind == ArgumentKind::Steps) {
    if (!a.trailing.empty())
      return fault(where, "an argument of shape [batch, length] has trailing extents");
    return Status::ok();
  }
  if (!isWidth(a.width))
    return fault(where, "the width is not positive or overflows");
  int64_t elements = 1;
  for (int64_t extent : a.trailing)
    if (elements = product({elements, extent}); elements < 0)
      return fault(where, "trailing extents are negative or overflow");
  if (elements != a.width.logical())
    return fault(where, "trailing extents hold " + std::to_string(elements) +
                            " elements, the width " + std::to_string(a.width.logical()));
  if (a.rowStride < a.width.padded() || product({a.rowStride, 8}) < 0)
    return fault(where, "row stride " + std::to_string(a.rowStride) +
                            " is smaller than the padded width " +
                            std::to_string(a.width.padded()) + " or overflows");
  return Status::ok();
}

Status checkBuffer(const Program &program, const Function &f, const Buffer &b,
                   const std::string &where) {
  auto range = [&](const char *what, size_t size) {
    if (b.index < 0 || uint64_t(b.index) >= size)
      return outOfRange(where, what, b.index, size);
    return Status::ok();
  };
  if (!isSymbol(b.symbol))
    return fault(where, "unknown symbol " + std::to_string(int(b.symbol)));
  switch (b.kind) {
  case BufferKind::Prepared:
    return range("prepared weight", program.prepared.size());
  case BufferKind::State:
    OTODUS_RETURN_IF_ERROR(range("state", program.states.size()));
    if (std::find(f.states.begin(), f.states.end(), b.index) == f.states.end())
      return fault(where, "state " + std::to_string(b.index) +
                              " is not among the function's states");
    return Status::ok();
  case BufferKind::Input:
    return range("input", f.inputs.size());
  case BufferKind::Output:
    return range("output", f.outputs.size());
  case BufferKind::Scratch:
    // Slots are numbered densely, so there are never more than buffers.
    OTODUS_RETURN_IF_ERROR(range("scratch slot", f.buffers.size()));
    if (b.symbol != Symbol::Rows && b.symbol != Symbol::Batch)
      return fault(where, "scratch grows with rows or batch");
    if (b.bytesPerRow < 1 || b.bytesPerRow > int64_t(1) << 40)
      return fault(where, "bytes per row must be between 1 and 2^40, found " +
                              std::to_string(b.bytesPerRow));
    return Status::ok();
  case BufferKind::Position:
  case BufferKind::Sampling:
    return Status::ok();
  case BufferKind::Scalars:
    return range("noise", kMostNoise + 1);
  case BufferKind::Gradient:
    return range("parameter", program.parameters.size());
  case BufferKind::StateGradient:
  case BufferKind::StateBefore:
    return range("state", program.states.size());
  case BufferKind::Arena:
    return range("arena", 5);
  }
  return fault(where, "unknown kind " + std::to_string(int(b.kind)));
}

using Entries = std::unordered_map<std::string_view, const formats::Code::Entry *>;
using Names = std::unordered_set<std::string_view>;

bool isExtent(const Extent &e) {
  constexpr int64_t kMost = int64_t(1) << 40;
  return isSymbol(e.symbol) && e.factor >= 1 && e.factor <= kMost && e.divisor >= 1 &&
         e.divisor <= kMost;
}

constexpr int64_t kMaxRowTile = int64_t(1) << 16, kMaxTileCost = int64_t(1) << 32;

Status checkLaunch(const Program &program, const Function &f, const Launch &l,
                   const std::vector<Entries> &entries, const std::string &where) {
  if (!isSymbol(l.rowSymbol))
    return fault(where, "unknown row symbol " + std::to_string(int(l.rowSymbol)));
  for (int64_t index : l.buffers)
    if (index < 0 || uint64_t(index) >= f.buffers.size())
      return outOfRange(where, "buffer", index, f.buffers.size());
  if (l.variants.empty())
    return fault(where, "it has no variant");
  std::set<int64_t> tiles;
  for (const Variant &v : l.variants) {
    if (v.rowTile < 0 || (v.rowTile > kRowSlack && !program.isGpu()))
      return fault(where, "row tile " + std::to_string(v.rowTile) + " is not between 0 and " +
                              std::to_string(kRowSlack) + ", the rows that buffers have to spare");
    if (v.rowTile > kMaxRowTile || v.tileCost < 0 || v.tileCost > kMaxTileCost)
      return fault(where, "row tile " + std::to_string(v.rowTile) + " of cost " +
                              std::to_string(v.tileCost) + " is out of range");
    if (!tiles.insert(v.rowTile).second)
      return fault(where, "two variants for row tile " + std::to_string(v.rowTile));
    if (v.rowTile == 0 && l.variants.size() > 1)
      return fault(where, "a variant for all row tiles beside others");
    for (const Extent &e : v.grid)
      if (!isExtent(e))
        return fault(where, "a grid extent is not factor * ceil(symbol / divisor) with both "
                            "between 1 and 2^40");
    for (size_t c = 0; c < entries.size(); ++c) {
      auto entry = entries[c].find(v.entry);
      if (entry == entries[c].end())
        return fault(where, "code for " + inQuotes(program.code[c].target) + " has no entry " +
                                inQuotes(v.entry));
      for (const TensorMap &map : entry->second->tensorMaps)
        if (map.buffer < 0 || uint64_t(map.buffer) >= l.buffers.size())
          return outOfRange(where + ", tensor map of " + inQuotes(v.entry), "buffer", map.buffer,
                            l.buffers.size());
    }
  }
  return Status::ok();
}

/// A joint launch and the launches that it stands for.
Status checkJoint(const Function &f, size_t i, const std::string &where) {
  const Launch &l = f.launches[i];
  if ((l.covers == 0) != (l.mostRows == 0) || l.covers < 0 || l.mostRows < 0)
    return fault(where, "it covers " + std::to_string(l.covers) + " launches up to " +
                            std::to_string(l.mostRows) + " rows");
  if (uint64_t(l.covers) > f.launches.size() - i - 1)
    return fault(where, "it covers " + std::to_string(l.covers) + " launches, but " +
                            std::to_string(f.launches.size() - i - 1) + " follow");
  for (size_t k = 1; k <= size_t(l.covers); ++k)
    if (f.launches[i + k].covers)
      return fault(where, "it covers another joint launch");
  return Status::ok();
}

Status checkFunction(const Program &program, const Function &f,
                     const std::vector<Entries> &entries, const std::string &where) {
  for (bool output : {false, true}) {
    const auto &list = output ? f.outputs : f.inputs;
    std::set<std::string_view> names;
    for (size_t i = 0; i < list.size(); ++i) {
      std::string there = where + ", " + at(output ? "output" : "input", i, list[i].name);
      OTODUS_RETURN_IF_ERROR(checkArgument(list[i], there));
      if (!names.insert(list[i].name).second)
        return fault(there, "the name appears twice");
    }
  }
  if (f.chunk < 0)
    return fault(where, "negative chunk " + std::to_string(f.chunk));
  std::set<int64_t> seen;
  for (int64_t index : f.states) {
    if (index < 0 || uint64_t(index) >= program.states.size())
      return outOfRange(where, "state", index, program.states.size());
    if (!seen.insert(index).second)
      return fault(where, "state " + std::to_string(index) + " is listed twice");
    const State &state = program.states[size_t(index)];
    if (state.openChunk && state.shape[0] != f.chunk)
      return fault(where, "state " + inQuotes(state.name) + " holds chunks of " +
                              std::to_string(state.shape[0]) + ", the function's chunk is " +
                              std::to_string(f.chunk));
  }
  for (size_t i = 0; i < f.buffers.size(); ++i)
    OTODUS_RETURN_IF_ERROR(
        checkBuffer(program, f, f.buffers[i], where + ", " + at("buffer", i, "")));
  for (size_t i = 0; i < f.launches.size(); ++i) {
    std::string launch = where + ", " + at("launch", i, f.launches[i].name);
    OTODUS_RETURN_IF_ERROR(checkLaunch(program, f, f.launches[i], entries, launch));
    OTODUS_RETURN_IF_ERROR(checkJoint(f, i, launch));
  }
  if (!f.launches.empty() && program.code.empty())
    return fault(where, "it launches kernels, but there is no code");
  return Status::ok();
}

Status checkTensorMap(const TensorMap &map, const std::string &where) {
  size_t rank = map.extents.size();
  if (rank < 1 || rank > 5 || map.strides.size() != rank - 1 || map.box.size() != rank)
    return fault(where, "a tensor map has 1 to 5 extents, as many box sizes and one stride less");
  if (map.dtype != DType::F32 && map.dtype != DType::BF16 && map.dtype != DType::I32)
    return fault(where, "a tensor map has elements of f32, bf16 or i32");
  for (const Extent &extent : map.extents)
    if (!isExtent(extent))
      return fault(where, "an extent of a tensor map is out of range");
  for (const Extent &stride : map.strides)
    if (!isExtent(stride) || stride.factor % 16 != 0)
      return fault(where, "strides of a tensor map are multiples of 16 bytes");
  for (int64_t size : map.box)
    if (size < 1 || size > 256)
      return fault(where, "a tensor map's box has 1 to 256 elements along each extent, found " +
                              std::to_string(size));
  if (map.swizzle != 0 && map.swizzle != 32 && map.swizzle != 64 && map.swizzle != 128)
    return fault(where, "expected a swizzle of 0, 32, 64 or 128 bytes, found " +
                            std::to_string(map.swizzle));
  int64_t inner = map.box[0] * sizeOf(map.dtype);
  if (inner % 16 != 0 || (map.swizzle && inner > map.swizzle))
    return fault(where, "a tensor map's box is " + std::to_string(inner) +
                            " bytes wide, expected a multiple of 16 and at most the swizzle's " +
                            std::to_string(map.swizzle));
  return Status::ok();
}

/// What every GPU and the simulator can launch.
Status checkKernel(const formats::Code::Entry &entry, const std::string &where) {
  if (entry.threads < 32 || entry.threads > 1024 || entry.threads % 32 != 0)
    return fault(where, "expected 32 to 1024 threads in whole warps, found " +
                            std::to_string(entry.threads));
  if (entry.sharedBytes < 0 || entry.sharedBytes > 256 * 1024)
    return fault(where, std::to_string(entry.sharedBytes) + " bytes of shared memory");
  if (entry.cluster < 1 || entry.cluster > 16)
    return fault(where,
                 "expected clusters of 1 to 16 blocks, found " + std::to_string(entry.cluster));
  for (const TensorMap &map : entry.tensorMaps)
    OTODUS_RETURN_IF_ERROR(checkTensorMap(map, where));
  return Status::ok();
}

Status checkCode(const formats::Code &c, const std::string &where) {
  if (!isOneOf(c.kind, CodeKind::Cubin))
    return fault(where, "unknown kind " + std::to_string(int(c.kind)));
  bool blob = c.kind == CodeKind::Host || c.kind == CodeKind::Sim;
  const char *device = c.kind == CodeKind::Host  ? "cpu"
                       : c.kind == CodeKind::Sim ? "sim"
                                                 : "cuda";
  if (c.target.substr(0, c.target.find(':')) != device)
    return fault(where, "code of this kind is for " + inQuotes(device));
  if (c.kind == CodeKind::PTX && (c.ptxVersion < 60 || c.ptxVersion > 255))
    return fault(where, "unknown PTX version " + std::to_string(c.ptxVersion));
  if (blob && c.textBytes > (uint64_t(c.blob.size()) + 4095) / 4096 * 4096)
    return fault(where, "text of " + std::to_string(c.textBytes) + " bytes in a blob of " +
                            std::to_string(c.blob.size()));
  if (!blob && (c.blob.empty() || c.textBytes != 0))
    return fault(where, "PTX and cubins have bytes and no text size");
  Names names;
  for (const formats::Code::Entry &entry : c.entries) {
    std::string there = where + ", entry " + inQuotes(entry.name);
    if (blob ? entry.offset >= std::min<uint64_t>(c.textBytes, c.blob.size()) : entry.offset != 0)
      return fault(there, "its offset " + std::to_string(entry.offset) + " lies outside the text");
    if (!names.insert(entry.name).second)
      return fault(there, "appears twice");
    if (c.kind != CodeKind::Host)
      OTODUS_RETURN_IF_ERROR(checkKernel(entry, there));
  }
  return Status::ok();
}

/// Parameters lie in the arena one behind the other.
Status checkParameters(const Program &program, const std::string &where) {
  std::string arena = (where.empty() ? "" : where + ", ") + "arena";
  if (program.arenaElements < 0 || program.arenaElements % kSquaresPortion != 0 ||
      program.arenaElements > int64_t(1) << 58)
    return fault(arena, std::to_string(program.arenaElements) + " elements are no multiple of " +
                            std::to_string(kSquaresPortion));
  int64_t end = 0;
  Names names;
  for (size_t i = 0; i < program.parameters.size(); ++i) {
    const Parameter &p = program.parameters[i];
    std::string place = (where.empty() ? "" : where + ", ") + at("parameter", i, p.name);
    int64_t elements = 1;
    for (int64_t extent : p.shape)
      if (elements = extent < 0 ? -1 : product({elements, extent}); elements < 0)
        return fault(place, "its shape is negative or overflows");
    if (p.offset % 16 != 0 || p.offset < end || p.offset > program.arenaElements - elements)
      return fault(place, "offset " + std::to_string(p.offset) +
                              " is no multiple of 16, overlaps or leaves the arena");
    end = p.offset + elements;
    if (!names.insert(p.name).second)
      return fault(place, "the name appears twice");
  }
  return Status::ok();
}

Status checkProgram(const Program &program, const std::string &where) {
  auto there = [&](const char *what, size_t index, const std::string &name) {
    return (where.empty() ? "" : where + ", ") + at(what, index, name);
  };
  for (size_t i = 0; i < program.prepared.size(); ++i)
    OTODUS_RETURN_IF_ERROR(checkPrepared(
        program.prepared[i], there("prepared weight", i, program.prepared[i].name)));

  Names names;
  for (size_t i = 0; i < program.states.size(); ++i) {
    std::string state = there("state", i, program.states[i].name);
    OTODUS_RETURN_IF_ERROR(checkState(program.states[i], state));
    if (!names.insert(program.states[i].name).second)
      return fault(state, "the name appears twice");
  }

  std::vector<Entries> entries;
  for (size_t i = 0; i < program.code.size(); ++i) {
    const formats::Code &code = program.code[i];
    std::string place = there("code", i, code.target);
    OTODUS_RETURN_IF_ERROR(checkCode(code, place));
    if ((code.kind == CodeKind::Host) == program.isGpu())
      return fault(place, "code for a processor and for a GPU cannot share a program");
    Entries &known = entries.emplace_back();
    for (const formats::Code::Entry &entry : code.entries)
      known.emplace(entry.name, &entry);
  }

  names.clear();
  for (size_t i = 0; i < program.functions.size(); ++i) {
    const Function &f = program.functions[i];
    std::string function = there("function", i, f.name);
    OTODUS_RETURN_IF_ERROR(checkFunction(program, f, entries, function));
    if (!names.insert(f.name).second)
      return fault(function, "the name appears twice");
  }
  OTODUS_RETURN_IF_ERROR(checkParameters(program, where));
  if (!program.embedded.empty() && program.embedded.size() != program.prepared.size())
    return fault(there("embedded weights", program.embedded.size(), ""),
                 "expected one for each of " + std::to_string(program.prepared.size()) +
                     " prepared weights");
  return Status::ok();
}

/// States are carried from program to program through files, so what is outside must agree.
bool sameOutside(const State &a, const State &b) {
  return a.name == b.name && a.dtype == b.dtype && a.shape == b.shape && a.openChunk == b.openChunk;
}
} // namespace

Status formats::validate(const Artefact &artefact) {
  if (artefact.dtype != "f32" && artefact.dtype != "bf16")
    return fault("dtype", "must be f32 or bf16, found " + inQuotes(artefact.dtype));
  bool hex = std::all_of(artefact.modelHash.begin(), artefact.modelHash.end(), [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
  });
  if (!artefact.modelHash.empty() && (artefact.modelHash.size() != 64 || !hex))
    return fault("model hash", "expected 64 lower-case hex digits or none, found " +
                                   inQuotes(artefact.modelHash));
  if (artefact.programs.empty())
    return fault("programs", "there is none");
  std::set<std::pair<CodeKind, std::string_view>> targets;
  for (size_t i = 0; i < artefact.programs.size(); ++i) {
    const Program &program = artefact.programs[i], &first = artefact.programs.front();
    std::string where = artefact.programs.size() > 1 ? at("program", i, "") : std::string();
    OTODUS_RETURN_IF_ERROR(checkProgram(program, where));
    if (!std::equal(program.states.begin(), program.states.end(), first.states.begin(),
                    first.states.end(), sameOutside))
      return fault(where, "its states are not those of program 0");
    for (const formats::Code &code : program.code)
      if (!targets.insert({code.kind, code.target}).second)
        return fault(where.empty() ? "code" : where,
                     "target " + inQuotes(code.target) + " appears twice");
  }
  return Status::ok();
}

void Artefact::add(Program program) {
  for (Program &known : programs)
    if (known.isGpu() == program.isGpu() && known.prepared == program.prepared &&
        known.states == program.states && known.functions == program.functions &&
        known.parameters == program.parameters && known.arenaElements == program.arenaElements) {
      for (formats::Code &code : program.code)
        known.code.push_back(std::move(code));
      return;
    }
  programs.push_back(std::move(program));
}

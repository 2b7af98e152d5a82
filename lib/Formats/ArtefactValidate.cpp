//===- ArtefactValidate.cpp - Sizes and indices of artefacts ---------------===//

#include "otodus/Formats/ArtefactFile.h"

#include "Json.h"

#include <algorithm>
#include <cmath>
#include <set>
#include <string_view>
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
    return padTo(product({p.rows.logical(), p.columns.padded(), size}), 64);
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
  if (!isOneOf(s.layout, StateLayout::Values))
    return fault(where, "unknown layout " + std::to_string(int(s.layout)));
  for (int64_t extent : s.shape)
    if (extent < 1)
      return fault(where, "extents must be at least 1, found " + std::to_string(extent));
  if (s.layout == StateLayout::Lanes && s.dtype != DType::F32)
    return fault(where, "layout Lanes must hold f32");
  if ((s.layout == StateLayout::Keys || s.layout == StateLayout::Values) &&
      s.dtype != DType::F32 && s.dtype != DType::BF16)
    return fault(where, "layouts Keys and Values must hold f32 or bf16");
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

Status checkBuffer(const Artefact &artefact, const Function &f, const Buffer &b,
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
    return range("prepared weight", artefact.prepared.size());
  case BufferKind::State:
    OTODUS_RETURN_IF_ERROR(range("state", artefact.states.size()));
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
  case BufferKind::Scalars:
    return Status::ok();
  case BufferKind::Gradient:
    return range("parameter", artefact.parameters.size());
  case BufferKind::StateGradient:
    return range("state", artefact.states.size());
  case BufferKind::Arena:
    return range("arena", 5);
  }
  return fault(where, "unknown kind " + std::to_string(int(b.kind)));
}

using Names = std::unordered_set<std::string_view>;

Status checkLaunch(const Artefact &artefact, const Function &f, const Launch &l,
                   const std::vector<Names> &entries, const std::string &where) {
  if (!isSymbol(l.rowSymbol))
    return fault(where, "unknown row symbol " + std::to_string(int(l.rowSymbol)));
  for (int64_t index : l.buffers)
    if (index < 0 || uint64_t(index) >= f.buffers.size())
      return outOfRange(where, "buffer", index, f.buffers.size());
  if (l.variants.empty())
    return fault(where, "it has no variant");
  std::set<int64_t> tiles;
  for (const Variant &v : l.variants) {
    if (v.rowTile < 0 || v.rowTile > kRowSlack)
      return fault(where, "row tile " + std::to_string(v.rowTile) + " is not between 0 and " +
                              std::to_string(kRowSlack) + ", the rows that buffers have to spare");
    if (!tiles.insert(v.rowTile).second)
      return fault(where, "two variants for row tile " + std::to_string(v.rowTile));
    if (v.rowTile == 0 && l.variants.size() > 1)
      return fault(where, "a variant for all row tiles beside others");
    for (const Extent &e : v.grid)
      if (!isSymbol(e.symbol) || e.factor < 1 || e.factor > int64_t(1) << 40 || e.divisor < 1 ||
          e.divisor > int64_t(1) << 40)
        return fault(where, "a grid extent is not factor * ceil(symbol / divisor) with both "
                            "between 1 and 2^40");
    for (size_t c = 0; c < entries.size(); ++c)
      if (!entries[c].count(v.entry))
        return fault(where, "code for " + inQuotes(artefact.code[c].target) + " has no entry " +
                                inQuotes(v.entry));
  }
  return Status::ok();
}

Status checkFunction(const Artefact &artefact, const Function &f,
                     const std::vector<Names> &entries, const std::string &where) {
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
    if (index < 0 || uint64_t(index) >= artefact.states.size())
      return outOfRange(where, "state", index, artefact.states.size());
    if (!seen.insert(index).second)
      return fault(where, "state " + std::to_string(index) + " is listed twice");
    const State &state = artefact.states[size_t(index)];
    if (state.openChunk && state.shape[0] != f.chunk)
      return fault(where, "state " + inQuotes(state.name) + " holds chunks of " +
                              std::to_string(state.shape[0]) + ", the function's chunk is " +
                              std::to_string(f.chunk));
  }
  for (size_t i = 0; i < f.buffers.size(); ++i)
    OTODUS_RETURN_IF_ERROR(
        checkBuffer(artefact, f, f.buffers[i], where + ", " + at("buffer", i, "")));
  for (size_t i = 0; i < f.launches.size(); ++i)
    OTODUS_RETURN_IF_ERROR(checkLaunch(artefact, f, f.launches[i], entries,
                                       where + ", " + at("launch", i, f.launches[i].name)));
  if (!f.launches.empty() && artefact.code.empty())
    return fault(where, "it launches kernels, but there is no code");
  return Status::ok();
}

Status checkCode(const formats::Code &c, const std::string &where) {
  if (c.textBytes > (uint64_t(c.blob.size()) + 4095) / 4096 * 4096)
    return fault(where, "text of " + std::to_string(c.textBytes) + " bytes in a blob of " +
                            std::to_string(c.blob.size()));
  Names names;
  for (const formats::Code::Entry &entry : c.entries) {
    if (entry.offset >= std::min<uint64_t>(c.textBytes, c.blob.size()))
      return fault(where, "entry " + inQuotes(entry.name) + " at " +
                              std::to_string(entry.offset) + " lies outside the text");
    if (!names.insert(entry.name).second)
      return fault(where, "entry " + inQuotes(entry.name) + " appears twice");
  }
  return Status::ok();
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
  for (size_t i = 0; i < artefact.prepared.size(); ++i)
    OTODUS_RETURN_IF_ERROR(
        checkPrepared(artefact.prepared[i], at("prepared weight", i, artefact.prepared[i].name)));

  Names names;
  for (size_t i = 0; i < artefact.states.size(); ++i) {
    std::string where = at("state", i, artefact.states[i].name);
    OTODUS_RETURN_IF_ERROR(checkState(artefact.states[i], where));
    if (!names.insert(artefact.states[i].name).second)
      return fault(where, "the name appears twice");
  }

  std::vector<Names> entries;
  Names targets;
  for (size_t i = 0; i < artefact.code.size(); ++i) {
    const formats::Code &code = artefact.code[i];
    std::string where = at("code", i, code.target);
    OTODUS_RETURN_IF_ERROR(checkCode(code, where));
    if (!targets.insert(code.target).second)
      return fault(where, "the target appears twice");
    Names &known = entries.emplace_back();
    for (const formats::Code::Entry &entry : code.entries)
      known.insert(entry.name);
  }

  names.clear();
  for (size_t i = 0; i < artefact.functions.size(); ++i) {
    const Function &f = artefact.functions[i];
    std::string where = at("function", i, f.name);
    OTODUS_RETURN_IF_ERROR(checkFunction(artefact, f, entries, where));
    if (!names.insert(f.name).second)
      return fault(where, "the name appears twice");
  }
  if (!artefact.embedded.empty() && artefact.embedded.size() != artefact.prepared.size())
    return fault("embedded weights", std::to_string(artefact.embedded.size()) + " for " +
                                         std::to_string(artefact.prepared.size()) +
                                         " prepared weights");
  return Status::ok();
}

//===- BenchPlan.cpp - What a call of a compiled function has to do ----------===//

#include "BenchPlan.h"

#include <algorithm>
#include <cctype>
#include <set>

namespace otodus::driver {

using formats::BufferKind;
using formats::PrepareKind;
using formats::StateLayout;

LaunchWork &LaunchWork::operator+=(const LaunchWork &other) {
  flops += other.flops;
  weightBytes += other.weightBytes;
  stateBytes += other.stateBytes;
  return *this;
}

std::vector<BenchCall> cutCall(const BenchCall &call, int64_t chunk, int64_t maxPiece) {
  std::vector<BenchCall> pieces;
  int64_t end = call.position + call.length;
  for (int64_t at = call.position; at < end;) {
    int64_t length = std::min(end - at, std::max<int64_t>(maxPiece, 1));
    if (chunk > 0)
      length = std::min(length, chunk - at % chunk);
    pieces.push_back({call.batch, at, length});
    at += length;
  }
  return pieces;
}

std::string launchKind(const std::string &name) {
  size_t begin = 0;
  for (size_t dot = name.find('.'); dot != std::string::npos; dot = name.find('.', begin)) {
    if (dot == begin || !std::isdigit(static_cast<unsigned char>(name[dot - 1])))
      break;
    begin = dot + 1;
  }
  return name.substr(begin);
}

namespace {

/// Calls `visit` for each buffer of the launch, once.
template <typename Visit>
void forEachBuffer(const formats::Function &function, const formats::Launch &launch, Visit visit) {
  std::set<std::pair<BufferKind, int64_t>> seen;
  for (int64_t index : launch.buffers) {
    const formats::Buffer &buffer = function.buffers[size_t(index)];
    if (seen.insert({buffer.kind, buffer.index}).second)
      visit(buffer);
  }
}

int64_t rowsOf(const formats::Launch &launch, const BenchCall &piece) {
  return launch.rowSymbol == formats::Symbol::Batch ? piece.batch : piece.batch * piece.length;
}

int64_t preparedBytes(const formats::Prepared &prepared, int64_t rows) {
  int64_t element = formats::sizeOf(prepared.dtype);
  switch (prepared.kind) {
  case PrepareKind::Vector:
    return prepared.columns.logical() * element;
  case PrepareKind::Table:
    return std::min(rows, prepared.rows.logical()) * prepared.columns.logical() * element;
  case PrepareKind::CemaCoefficients:
    return prepared.rows.logical() * prepared.columns.logical() * 5 * element;
  case PrepareKind::RopeTable:
    return std::min(rows, prepared.rows.logical()) * 2 * prepared.columns.logical() * element;
  case PrepareKind::PanelsTransposed:
  case PrepareKind::CemaGradient:
  case PrepareKind::Lanes:
    return prepared.rows.logical() * prepared.columns.logical() * element;
  default: // matrices
    return prepared.rows.logical() * prepared.columns.logical() * element;
  }
}

} // namespace

std::vector<BenchProduct> productsOf(const formats::Program &program,
                                     const formats::Function &function,
                                     const formats::Launch &launch) {
  std::vector<BenchProduct> products;
  // Matrices of a GPU are tables, as that of the embedding is; kernels of products have row tiles.
  bool tiled = std::any_of(launch.variants.begin(), launch.variants.end(),
                           [](const formats::Variant &variant) { return variant.rowTile > 0; });
  forEachBuffer(function, launch, [&](const formats::Buffer &buffer) {
    if (buffer.kind != BufferKind::Prepared)
      return;
    const formats::Prepared &prepared = program.prepared[size_t(buffer.index)];
    if (prepared.kind == PrepareKind::Panels || (prepared.kind == PrepareKind::Table && tiled))
      products.push_back({prepared.rows.logical(), prepared.columns.logical()});
  });
  return products;
}

LaunchWork workOf(const formats::Program &program, const formats::Function &function,
                  const formats::Launch &launch, const BenchCall &piece) {
  LaunchWork work;
  int64_t rows = rowsOf(launch, piece);
  for (const BenchProduct &product : productsOf(program, function, launch))
    work.flops += 2 * rows * product.n * product.k;

  // Of the two launches that see keys and values, the one with row tiles computes and
  // the other one puts the new steps into the open chunk.
  bool tiled = std::any_of(launch.variants.begin(), launch.variants.end(),
                           [](const formats::Variant &variant) { return variant.rowTile > 0; });
  int64_t before = function.chunk > 0 ? piece.position % function.chunk : piece.position;
  forEachBuffer(function, launch, [&](const formats::Buffer &buffer) {
    if (buffer.kind == BufferKind::Prepared) {
      const formats::Prepared &prepared = program.prepared[size_t(buffer.index)];
      bool matrix = prepared.kind == PrepareKind::Table && tiled;
      work.weightBytes += preparedBytes(prepared, matrix ? prepared.rows.logical() : rows);
    }
    if (buffer.kind != BufferKind::State)
      return;
    const formats::State &state = program.states[size_t(buffer.index)];
    int64_t step = formats::sizeOf(state.dtype);
    if (!state.openChunk) {
      for (int64_t extent : state.shape)
        step *= extent;
      work.stateBytes += 2 * piece.batch * step;
      return;
    }
    int64_t features = 1;
    for (size_t i = 1; i < state.shape.size(); ++i)
      features *= state.shape[i];
    step *= features;
    if (!tiled) {
      work.stateBytes += piece.batch * piece.length * step;
      return;
    }
    work.stateBytes += piece.batch * (before + piece.length) * step;
    // Step t sees before + t + 1 steps; keys and values each multiply all their features.
    int64_t pairs = piece.length * before + piece.length * (piece.length + 1) / 2;
    work.flops += 2 * piece.batch * pairs * features;
  });
  return work;
}

} // namespace otodus::driver

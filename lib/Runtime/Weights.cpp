//===- Weights.cpp - From a checkpoint's tensors to prepared buffers -------===//

#include "otodus/Runtime/Weights.h"
#include "Numbers.h"
#include "otodus/Formats/ArtefactFile.h"
#include "otodus/Runtime/ThreadPool.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numbers>

#include <sys/mman.h>
#include <sys/stat.h>

namespace otodus::runtime {

using formats::DType;
using formats::kLaneBlock;
using formats::Prepared;
using formats::PrepareKind;
using formats::Tensor;
using formats::TensorType;
using formats::Width;

namespace {

//===----------------------------------------------------------------------===//
// Sources
//===----------------------------------------------------------------------===//

class FileWeights final : public WeightSource {
public:
  explicit FileWeights(formats::SafetensorsFile file) : file_(std::move(file)) {}

  Result<Tensor> find(const std::string &name) override {
    const Tensor *tensor = file_.find(name);
    if (!tensor)
      return Status(Code::File,
                    file_.path() + ": no tensor '" + name + "', which the compiled model needs");
    // One request for the whole tensor instead of a fault every few pages.
    if (tensor->bytes >= (uint64_t(1) << 20)) {
      auto begin = reinterpret_cast<uintptr_t>(tensor->data) & ~uintptr_t(4095);
      auto end = reinterpret_cast<uintptr_t>(tensor->data) + tensor->bytes;
      madvise(reinterpret_cast<void *>(begin), end - begin, MADV_WILLNEED);
    }
    return *tensor;
  }
  void release(const std::string &name) override { file_.dropPages(name); }
  std::string describe() const override { return file_.path(); }

private:
  formats::SafetensorsFile file_;
};

bool isFloat(TensorType type) {
  return type == TensorType::F32 || type == TensorType::BF16 || type == TensorType::F16 ||
         type == TensorType::F64;
}

/// Elements [begin, begin + count) as float. The two common types stay in line, since
/// packing asks for short stretches.
inline void load(const Tensor &tensor, int64_t begin, int64_t count, float *out) {
  if (tensor.type == TensorType::F32) {
    std::memcpy(out, tensor.data + begin * 4, static_cast<size_t>(count) * 4);
  } else if (tensor.type == TensorType::BF16) {
    for (int64_t i = 0; i < count; ++i) {
      uint16_t bits;
      std::memcpy(&bits, tensor.data + (begin + i) * 2, 2);
      out[i] = fromBf16(bits);
    }
  } else {
    // The type and the range were checked before; this cannot fail.
    (void)formats::readAsFloat(tensor, begin, count, out).isOk();
  }
}

std::vector<double> loadDoubles(const Tensor &tensor) {
  std::vector<double> values(static_cast<size_t>(tensor.elements()));
  (void)formats::readAsDouble(tensor, 0, tensor.elements(), values.data()).isOk();
  return values;
}

//===----------------------------------------------------------------------===//
// Matrices
//===----------------------------------------------------------------------===//

/// Columns of a tile: 256 bytes of each of 32 rows are read before the next row of the
/// panel is touched, so lines are used whole even if the rows' stride is a multiple of
/// 4096 and they all compete for the same sets of the cache.
constexpr int64_t kTile = 64;

struct Tile {
  alignas(64) uint32_t words[kLaneBlock][kTile];
};

/// out[k][lane] = tile[lane][k] for 32 lanes and `words` columns.
void transpose(const Tile &tile, int64_t words, uint32_t *out) {
  typedef uint32_t Four __attribute__((vector_size(16), aligned(4)));
  int64_t k = 0;
  for (; k + 4 <= words; k += 4) {
    for (int64_t lane = 0; lane < kLaneBlock; lane += 4) {
      Four a = *reinterpret_cast<const Four *>(&tile.words[lane][k]);
      Four b = *reinterpret_cast<const Four *>(&tile.words[lane + 1][k]);
      Four c = *reinterpret_cast<const Four *>(&tile.words[lane + 2][k]);
      Four d = *reinterpret_cast<const Four *>(&tile.words[lane + 3][k]);
      Four ab0 = __builtin_shufflevector(a, b, 0, 4, 1, 5);
      Four ab1 = __builtin_shufflevector(a, b, 2, 6, 3, 7);
      Four cd0 = __builtin_shufflevector(c, d, 0, 4, 1, 5);
      Four cd1 = __builtin_shufflevector(c, d, 2, 6, 3, 7);
      uint32_t *to = out + k * kLaneBlock + lane;
      *reinterpret_cast<Four *>(to) = __builtin_shufflevector(ab0, cd0, 0, 1, 4, 5);
      *reinterpret_cast<Four *>(to + kLaneBlock) = __builtin_shufflevector(ab0, cd0, 2, 3, 6, 7);
      *reinterpret_cast<Four *>(to + 2 * kLaneBlock) =
          __builtin_shufflevector(ab1, cd1, 0, 1, 4, 5);
      *reinterpret_cast<Four *>(to + 3 * kLaneBlock) =
          __builtin_shufflevector(ab1, cd1, 2, 3, 6, 7);
    }
  }
  for (; k < words; ++k)
    for (int64_t lane = 0; lane < kLaneBlock; ++lane)
      out[k * kLaneBlock + lane] = tile.words[lane][k];
}

/// One panel: 32 rows of the padded matrix, all columns.
void packPanel(const Prepared &prepared, const Tensor &source, int64_t panel, std::byte *out) {
  const Width &rows = prepared.rows, &columns = prepared.columns;
  bool pairs = prepared.dtype == DType::BF16;
  int64_t paddedRow = panel * kLaneBlock;
  int64_t inGroup = paddedRow % rows.paddedInner();
  int64_t firstRow = paddedRow / rows.paddedInner() * rows.inner + inGroup;
  int64_t valid = std::clamp<int64_t>(rows.inner - inGroup, 0, kLaneBlock);
  // 4-byte words of a row: an f32 element or a pair of bf16 ones.
  int64_t perWord = pairs ? 2 : 1;
  auto *words =
      reinterpret_cast<uint32_t *>(out) + panel * (columns.padded() / perWord) * kLaneBlock;

  Tile tile;
  for (int64_t group = 0; group < columns.groups; ++group) {
    for (int64_t k = 0; k < columns.paddedInner(); k += kTile) {
      int64_t width = std::min(kTile, columns.paddedInner() - k);
      int64_t present = std::clamp<int64_t>(columns.inner - k, 0, width);
      for (int64_t lane = 0; lane < kLaneBlock; ++lane) {
        alignas(64) float values[kTile];
        int64_t count = lane < valid ? present : 0;
        if (count)
          load(source, (firstRow + lane) * columns.logical() + group * columns.inner + k, count,
               values);
        std::fill(values + count, values + width, 0.0f);
        if (pairs) {
          for (int64_t i = 0; i < width / 2; ++i)
            tile.words[lane][i] = toBf16(values[2 * i]) | uint32_t(toBf16(values[2 * i + 1])) << 16;
        } else {
          std::memcpy(tile.words[lane], values, static_cast<size_t>(width) * 4);
        }
      }
      int64_t word = (group * columns.paddedInner() + k) / perWord;
      transpose(tile, width / perWord, words + word * kLaneBlock);
    }
  }
}

/// One panel of the transpose: 32 columns of the source, all its rows.
void packTransposedPanel(const Prepared &prepared, const Tensor &source, int64_t panel,
                         std::byte *out) {
  const Width &rows = prepared.rows, &columns = prepared.columns;
  bool pairs = prepared.dtype == DType::BF16;
  int64_t paddedRow = panel * kLaneBlock, inGroup = paddedRow % rows.paddedInner();
  int64_t first = paddedRow / rows.paddedInner() * rows.inner + inGroup;
  int64_t valid = std::clamp<int64_t>(rows.inner - inGroup, 0, kLaneBlock);
  float values[kLaneBlock];
  for (int64_t k = 0; k < columns.padded(); ++k) {
    int64_t inColumns = k % columns.paddedInner();
    int64_t sourceRow = k / columns.paddedInner() * columns.inner + inColumns;
    int64_t count = inColumns < columns.inner ? valid : 0;
    if (count)
      load(source, sourceRow * rows.logical() + first, count, values);
    std::fill(values + count, values + kLaneBlock, 0.0f);
    int64_t at = (panel * columns.padded() + k) * kLaneBlock;
    if (pairs) {
      auto *elements = reinterpret_cast<uint16_t *>(out) + (at - k % 2 * kLaneBlock) + k % 2;
      for (int64_t lane = 0; lane < kLaneBlock; ++lane)
        elements[2 * lane] = toBf16(values[lane]);
    } else {
      std::memcpy(reinterpret_cast<float *>(out) + at, values, sizeof(values));
    }
  }
}

/// Padded rows [lo, hi) of a table, or the one row of a vector.
void packRows(const Prepared &prepared, const Tensor &source, int64_t lo, int64_t hi,
              std::byte *out) {
  const Width &columns = prepared.columns;
  DType dtype = prepared.kind == PrepareKind::Vector ? DType::F32 : prepared.dtype;
  constexpr int64_t kStretch = 1024;
  float values[kStretch];
  int64_t rowBytes = columns.padded() * formats::sizeOf(dtype);
  for (int64_t row = lo; row < hi; ++row) {
    int64_t sourceRow = static_cast<int64_t>(prepared.parameter);
    if (prepared.kind == PrepareKind::Table) {
      const Width &rows = prepared.rows;
      int64_t inGroup = row % rows.paddedInner();
      if (inGroup >= rows.inner) {
        std::memset(out + row * rowBytes, 0, static_cast<size_t>(rowBytes));
        continue;
      }
      sourceRow = row / rows.paddedInner() * rows.inner + inGroup;
    }
    for (int64_t group = 0; group < columns.groups; ++group) {
      int64_t from = sourceRow * columns.logical() + group * columns.inner;
      int64_t to = row * columns.padded() + group * columns.paddedInner();
      for (int64_t i = 0; i < columns.paddedInner(); i += kStretch) {
        int64_t width = std::min(kStretch, columns.paddedInner() - i);
        int64_t count = std::clamp<int64_t>(columns.inner - i, 0, width);
        if (count)
          load(source, from + i, count, values);
        std::fill(values + count, values + width, 0.0f);
        if (dtype == DType::BF16) {
          auto *elements = reinterpret_cast<uint16_t *>(out) + to + i;
          for (int64_t j = 0; j < width; ++j)
            elements[j] = toBf16(values[j]);
        } else {
          std::memcpy(reinterpret_cast<float *>(out) + to + i, values,
                      static_cast<size_t>(width) * 4);
        }
      }
    }
  }
}

//===----------------------------------------------------------------------===//
// Coefficients
//===----------------------------------------------------------------------===//

double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

/// Spec 3.2. Sources alpha, delta [D,N,1], theta [D,1,1], gamma [D,N,2].
void packCema(const Prepared &prepared, const std::vector<Tensor> &sources, ThreadPool &pool,
              std::byte *out) {
  int64_t channels = prepared.columns.inner, modes = prepared.rows.inner;
  std::vector<double> alpha = loadDoubles(sources[0]), delta = loadDoubles(sources[1]),
                      theta = loadDoubles(sources[2]), gamma = loadDoubles(sources[3]);
  auto *result = reinterpret_cast<float *>(out); // [D padded / 32][N][5][32]
  double scale = 1 / std::sqrt(static_cast<double>(modes));
  pool.run(prepared.columns.paddedInner() / kLaneBlock, [&](int64_t lo, int64_t hi) {
    std::fill(result + lo * modes * 5 * kLaneBlock, result + hi * modes * 5 * kLaneBlock, 0.0f);
    int64_t end = std::min(channels, hi * kLaneBlock);
    for (int64_t d = lo * kLaneBlock; d < end; ++d) {
      double base = sigmoid(theta[d]) * 2 * std::numbers::pi / static_cast<double>(modes);
      for (int64_t n = 0; n < modes; ++n) {
        double p = sigmoid(alpha[d * modes + n]), s = sigmoid(delta[d * modes + n]);
        double angle = static_cast<double>(n + 1) * base, size = 1 - p * s;
        float *at = result + ((d / kLaneBlock) * modes + n) * 5 * kLaneBlock + d % kLaneBlock;
        at[0 * kLaneBlock] = static_cast<float>(p);
        at[1 * kLaneBlock] = static_cast<float>(size * std::cos(angle));
        at[2 * kLaneBlock] = static_cast<float>(size * std::sin(angle));
        at[3 * kLaneBlock] = static_cast<float>(gamma[(d * modes + n) * 2] * scale);
        at[4 * kLaneBlock] = static_cast<float>(gamma[(d * modes + n) * 2 + 1] * scale);
      }
    }
  });
}

/// The chain from p, q, g to the sources of packCema (spec 3.2); parts as PrepareKind says.
void packCemaGradient(const Prepared &prepared, const std::vector<Tensor> &sources,
                      ThreadPool &pool, std::byte *out) {
  constexpr int64_t kParts = 8;
  int64_t channels = prepared.columns.inner, modes = prepared.rows.inner;
  std::vector<double> alpha = loadDoubles(sources[0]), delta = loadDoubles(sources[1]),
                      theta = loadDoubles(sources[2]);
  auto *result = reinterpret_cast<float *>(out); // [D padded / 32][N][8][32]
  pool.run(prepared.columns.paddedInner() / kLaneBlock, [&](int64_t lo, int64_t hi) {
    std::fill(result + lo * modes * kParts * kLaneBlock, result + hi * modes * kParts * kLaneBlock,
              0.0f);
    int64_t end = std::min(channels, hi * kLaneBlock);
    for (int64_t d = lo * kLaneBlock; d < end; ++d) {
      double turn = sigmoid(theta[d]);
      for (int64_t n = 0; n < modes; ++n) {
        double p = sigmoid(alpha[d * modes + n]), s = sigmoid(delta[d * modes + n]);
        double step = static_cast<double>(n + 1) * 2 * std::numbers::pi / static_cast<double>(modes);
        double angle = step * turn, size = 1 - p * s, slope = step * turn * (1 - turn);
        double parts[kParts] = {p * (1 - p),
                                s * p * (1 - p),
                                std::cos(angle),
                                std::sin(angle),
                                p * s * (1 - s),
                                slope * size * std::cos(angle),
                                slope * size * std::sin(angle),
                                1 / std::sqrt(static_cast<double>(modes))};
        float *at = result + ((d / kLaneBlock) * modes + n) * kParts * kLaneBlock + d % kLaneBlock;
        for (int64_t i = 0; i < kParts; ++i)
          at[i * kLaneBlock] = static_cast<float>(parts[i]);
      }
    }
  });
}

/// A source [D, N] as [D padded / 32][N][32].
void packLanes(const Prepared &prepared, const Tensor &source, std::byte *out) {
  int64_t channels = prepared.columns.inner, modes = prepared.rows.inner;
  auto *result = reinterpret_cast<float *>(out);
  std::fill(result, result + prepared.columns.paddedInner() * modes, 0.0f);
  std::vector<float> row(static_cast<size_t>(modes));
  for (int64_t d = 0; d < channels; ++d) {
    load(source, d * modes, modes, row.data());
    float *at = result + d / kLaneBlock * modes * kLaneBlock + d % kLaneBlock;
    for (int64_t n = 0; n < modes; ++n)
      at[n * kLaneBlock] = row[static_cast<size_t>(n)];
  }
}

/// Spec 3.6. The frequencies are f32 numbers; angles are taken in double, since
/// position * frequency in f32 is off by 1e-4 at position 2048.
void packRope(const Prepared &prepared, const Tensor *source, ThreadPool &pool, std::byte *out) {
  int64_t width = prepared.columns.inner, padded = prepared.columns.paddedInner();
  std::vector<float> frequencies(static_cast<size_t>(width / 2));
  if (source) {
    load(*source, 0, width / 2, frequencies.data());
  } else {
    for (int64_t j = 0; j < width / 2; ++j)
      frequencies[j] =
          1.0f / static_cast<float>(std::pow(prepared.parameter, static_cast<double>(2 * j) /
                                                                     static_cast<double>(width)));
  }
  auto *result = reinterpret_cast<float *>(out); // [C][2][dz padded]
  pool.run(prepared.rows.inner, [&](int64_t lo, int64_t hi) {
    std::fill(result + lo * 2 * padded, result + hi * 2 * padded, 0.0f);
    for (int64_t position = lo; position < hi; ++position) {
      float *cosines = result + position * 2 * padded, *sines = cosines + padded;
      for (int64_t j = 0; j < width / 2; ++j) {
        double angle = static_cast<double>(position) * static_cast<double>(frequencies[j]);
        cosines[2 * j] = cosines[2 * j + 1] = static_cast<float>(std::cos(angle));
        sines[2 * j + 1] = static_cast<float>(std::sin(angle));
        sines[2 * j] = -sines[2 * j + 1];
      }
    }
  });
}

/// Elements each source must have, in order.
std::vector<int64_t> expectedElements(const Prepared &prepared) {
  int64_t rows = prepared.rows.logical(), columns = prepared.columns.logical();
  switch (prepared.kind) {
  case PrepareKind::Vector:
    return {std::max<int64_t>(1, prepared.rows.inner) * columns};
  case PrepareKind::Table:
  case PrepareKind::Panels:
  case PrepareKind::PanelsTransposed:
    return {rows * columns};
  case PrepareKind::CemaGradient:
  case PrepareKind::CemaCoefficients: {
    int64_t channels = prepared.columns.inner, modes = prepared.rows.inner;
    return {channels * modes, channels * modes, channels, channels * modes * 2};
  }
  case PrepareKind::RopeTable:
    return prepared.sources.empty() ? std::vector<int64_t>{}
                                    : std::vector<int64_t>{prepared.columns.inner / 2};
  case PrepareKind::Lanes:
    return {prepared.columns.inner * prepared.rows.inner};
  }
  return {};
}

} // namespace

void MemoryWeights::add(const std::string &name, std::vector<int64_t> shape, const float *data) {
  Tensor tensor;
  tensor.name = name;
  tensor.type = TensorType::F32;
  tensor.shape = std::move(shape);
  tensor.data = reinterpret_cast<const uint8_t *>(data);
  tensor.bytes = static_cast<uint64_t>(tensor.elements()) * 4;
  add(std::move(tensor));
}

Result<Tensor> MemoryWeights::find(const std::string &name) {
  auto found = tensors_.find(name);
  if (found == tensors_.end())
    return Status(Code::File, "no tensor '" + name + "', which the compiled model needs");
  return found->second;
}

Result<std::unique_ptr<WeightSource>> openWeights(const std::string &path,
                                                  const std::string &headerHash) {
  struct stat info;
  std::string name = path;
  if (stat(path.c_str(), &info) == 0 && S_ISDIR(info.st_mode))
    name += "/model.safetensors";
  Result<formats::SafetensorsFile> file = formats::SafetensorsFile::open(name);
  if (!file.isOk())
    return file.status();
  if (!headerHash.empty() && file->headerHash() != headerHash)
    return Status(Code::File, name +
                                  ": not the checkpoint the model was compiled from (its header "
                                  "is " +
                                  file->headerHash().substr(0, 12) + "…, expected " +
                                  headerHash.substr(0, 12) + "…); compile again");
  return std::unique_ptr<WeightSource>(std::make_unique<FileWeights>(std::move(*file)));
}

Status prepare(const Prepared &prepared, WeightSource &source, ThreadPool &pool, std::byte *out) {
  std::vector<int64_t> expected = expectedElements(prepared);
  if (prepared.sources.size() != expected.size())
    return Status(Code::File, "prepared weight '" + prepared.name + "' names " +
                                  std::to_string(prepared.sources.size()) + " tensors, expected " +
                                  std::to_string(expected.size()));
  if (prepared.dtype != DType::F32 && prepared.dtype != DType::BF16)
    return Status(Code::File, "prepared weight '" + prepared.name + "' is neither f32 nor bf16");
  std::vector<Tensor> sources;
  for (size_t i = 0; i < expected.size(); ++i) {
    Result<Tensor> tensor = source.find(prepared.sources[i]);
    if (!tensor.isOk())
      return tensor.status();
    if (!isFloat(tensor->type))
      return Status(Code::File, source.describe() + ": tensor '" + prepared.sources[i] + "' is " +
                                    formats::nameOf(tensor->type) +
                                    ", expected F32, BF16, F16 or F64");
    if (tensor->elements() != expected[i])
      return Status(Code::File, source.describe() + ": tensor '" + prepared.sources[i] +
                                    "' of shape " + formats::shapeToString(tensor->shape) +
                                    " has " + std::to_string(tensor->elements()) +
                                    " elements, but the compiled model expects " +
                                    std::to_string(expected[i]));
    sources.push_back(*tensor);
  }

  // The workers flush denormals; the result must not depend on who computes it.
  FlushDenormals flush;
  switch (prepared.kind) {
  case PrepareKind::Vector:
    packRows(prepared, sources[0], 0, 1, out);
    break;
  case PrepareKind::Table: {
    int64_t rows = prepared.rows.padded();
    pool.run(rows, [&](int64_t lo, int64_t hi) { packRows(prepared, sources[0], lo, hi, out); });
    break;
  }
  case PrepareKind::Panels:
    pool.run(prepared.rows.padded() / kLaneBlock, [&](int64_t lo, int64_t hi) {
      for (int64_t panel = lo; panel < hi; ++panel)
        packPanel(prepared, sources[0], panel, out);
    });
    break;
  case PrepareKind::PanelsTransposed:
    pool.run(prepared.rows.padded() / kLaneBlock, [&](int64_t lo, int64_t hi) {
      for (int64_t panel = lo; panel < hi; ++panel)
        packTransposedPanel(prepared, sources[0], panel, out);
    });
    break;
  case PrepareKind::CemaGradient:
    packCemaGradient(prepared, sources, pool, out);
    break;
  case PrepareKind::CemaCoefficients:
    packCema(prepared, sources, pool, out);
    break;
  case PrepareKind::RopeTable:
    packRope(prepared, sources.empty() ? nullptr : &sources[0], pool, out);
    break;
  case PrepareKind::Lanes:
    packLanes(prepared, sources[0], out);
    break;
  }
  for (const std::string &name : prepared.sources)
    source.release(name);
  return Status::ok();
}

} // namespace otodus::runtime

//===- Artefact.h - What the compiler hands to the runtime -----------------===//
//
// A compiled model: one program per kind of target. A program is machine code and
// the host plan that says which buffers exist, which kernels run over them in which
// order, how the checkpoint's tensors are prepared, and what a stream carries from
// call to call. The compiler fills these structs, `writeArtefact` makes the file,
// `readArtefact` gives them back; neither side sees how the file is encoded.
//
//===----------------------------------------------------------------------===//

#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

namespace otodus::formats {

enum class DType : uint8_t { F32, BF16, F64, I64, I32, Bool };

/// Bytes of one element.
int64_t sizeOf(DType dtype);

/// What an extent grows with. Every function runs on `batch` sequences of
/// `length` new steps; rows = batch * length.
enum class Symbol : uint8_t { One, Batch, Length, Rows };

/// factor * ceil(symbol / divisor)
struct Extent {
  Symbol symbol = Symbol::One;
  int64_t factor = 1;
  int64_t divisor = 1;
  bool operator==(const Extent &) const = default;
};

/// Elements per vector lane block: the innermost width of every activation and
/// every packed weight is padded to a multiple of this.
inline constexpr int64_t kLaneBlock = 32;

/// A width as the model sees it, [groups, inner], and as it lies in memory:
/// `inner` padded to a multiple of kLaneBlock, groups side by side. A plain width
/// W has groups = 1. Elements of the padding are finite and otherwise arbitrary
/// in activations, and 0 in prepared weights.
struct Width {
  int64_t groups = 1;
  int64_t inner = 0;
  int64_t paddedInner() const { return (inner + kLaneBlock - 1) / kLaneBlock * kLaneBlock; }
  int64_t padded() const { return groups * paddedInner(); }
  int64_t logical() const { return groups * inner; }
  bool operator==(const Width &) const = default;
};

//===----------------------------------------------------------------------===//
// Weights: prepared once when the model is opened
//===----------------------------------------------------------------------===//

/// How a checkpoint's tensors become a buffer of the compiled model.
enum class PrepareKind : uint8_t {
  /// sources: [W], or [rows.inner, W] and then its row `parameter`. f32 [columns.padded()],
  /// padding 0.
  Vector,
  /// sources: [rows.logical(), columns.logical()]. Row-major [rows.padded()][columns.padded()],
  /// dtype as given, padding 0. The embedding table, and every matrix of a GPU program.
  Table,
  /// sources: [rows.logical() = N, columns.logical() = K], a matrix of y = x W^T.
  /// f32:  [N padded / 32][K padded][32].
  /// bf16: [N padded / 32][K padded / 2][32][2]: pairs along K are adjacent.
  Panels,
  /// sources: alpha [D,N,1], delta [D,N,1], theta [D,1,1], gamma [D,N,2].
  /// f32 [D padded / 32][N][5][32] with the five coefficients of spec 3.2 in the
  /// order p, Re q, Im q, Re g, Im g; computed in double. columns.inner = D,
  /// rows.inner = N. Padding channels are 0.
  CemaCoefficients,
  /// sources: frequencies [dz/2], or none: then base (`parameter`) and
  /// columns.inner = dz give them as spec 3.6 says. f32 [rows.inner = C][2][dz padded]:
  /// at [pos][0][2j] and [2j+1] cos(pos f_j); at [pos][1][2j] -sin, at [2j+1] +sin.
  RopeTable,
  /// sources: [D, N], coefficients of a recurrence. f32 [D padded / 32][N][32], padding
  /// channels 0. columns.inner = D, rows.inner = N.
  Lanes,
  /// sources: [columns.logical() = N, rows.logical() = K], a matrix whose gradient goes back as
  /// dx = dy W. Packed as Panels of its transpose.
  PanelsTransposed,
  /// Sources and sizes of CemaCoefficients. f32 [D padded / 32][N][8][32]: what the gradients of
  /// p, q and g are multiplied with to give those of the sources (spec 3.2), computed in double:
  /// p(1-p), s p(1-p), cos φ, sin φ, p s(1-s), T Re q, T Im q, 1/sqrt(N), with T = dφ/dtheta.
  CemaGradient,
};

struct Prepared {
  std::string name;                 ///< for messages: the first source's name, mostly
  PrepareKind kind = PrepareKind::Vector;
  DType dtype = DType::F32;         ///< of the prepared elements
  std::vector<std::string> sources; ///< checkpoint tensors by name
  Width rows, columns;
  double parameter = 0;
  bool operator==(const Prepared &) const = default;
};

//===----------------------------------------------------------------------===//
// State: what one sequence carries from call to call (spec 5)
//===----------------------------------------------------------------------===//

/// How a state's elements lie in memory while it is in use. On disk and through the
/// C API every state is row-major in its logical shape.
enum class StateLayout : uint8_t {
  Plain,     ///< row-major, logical shape; State::copies times, each at a multiple of 64 bytes
  Lanes,     ///< [D,N] as [D padded / 32][N][32], [D,N,2] as [D padded / 32][N][2][32]; f32
  Keys,      ///< [C,H,dz] as H panels sets: [H][C padded / 32][dz padded][32]; bf16: [H][C padded/32][dz padded/2][32][2]
  Values,    ///< [C,H,dv] as [H][dv padded / 32][C padded][32]; bf16: [H][dv padded/32][C padded/2][32][2]
  Rows,      ///< row-major, the last dimension padded to a multiple of 32 elements
};

struct State {
  std::string name;           ///< "layers.0.mega.cema.h"
  DType dtype = DType::F32;
  std::vector<int64_t> shape; ///< logical, of one sequence: [D,N,2], [G], [] ...
  StateLayout layout = StateLayout::Plain;
  /// True for keys and values: only the first (position mod chunk) entries along
  /// the first dimension mean anything, and only they are stored on disk.
  bool openChunk = false;
  /// Value of every element in a fresh sequence.
  double initial = 0;
  /// Checkpoint tensor that holds the fresh value instead, "" if none; with
  /// `initialExp` its exponential is taken (TimestepNorm's prior_logv).
  std::string initialFrom;
  bool initialExp = false;
  /// Plain only: how many times the elements lie in memory, roundUp(their bytes, 64) apart. Work
  /// items that all advance the same scalar keep a copy each instead of waiting for one another;
  /// the copies are equal between launches. The first is saved, all are restored.
  int64_t copies = 1;
  /// Bytes of one sequence in memory, a multiple of 64; sequence b is at b * bytes. -1 if the
  /// shape does not fit the layout or overflows.
  int64_t bytes() const;
  bool operator==(const State &) const = default;
};

//===----------------------------------------------------------------------===//
// Functions: buffers and launches
//===----------------------------------------------------------------------===//

enum class ArgumentKind : uint8_t {
  Rows,     ///< [batch, length, groups, inner] outside; inside padded rows, `rowStride` elements apart
  LastRows, ///< as Rows with length 1 (the last step of the call)
  Steps,    ///< [batch, length], row-major both sides (tokens i32, masks Bool)
};

struct Argument {
  std::string name;
  ArgumentKind kind = ArgumentKind::Rows;
  DType dtype = DType::F32;
  Width width;            ///< Rows and LastRows
  std::vector<int64_t> trailing; ///< the logical shape after [batch, length]
  int64_t rowStride = 0;  ///< elements between rows inside, >= width.padded()
  /// Exclusive upper bound on integer elements (token ids), 0 if none.
  int64_t bound = 0;
  bool operator==(const Argument &) const = default;
};

/// Bytes of scratch and argument buffers: every row-wise buffer holds its rows
/// rounded up to a multiple of kRowSlack plus kRowSlack more, so that kernels may
/// run over whole row tiles.
inline constexpr int64_t kRowSlack = 48;

enum class BufferKind : uint8_t {
  Prepared, State, Input, Output, Scratch, Position,
  // Training only (docs/Training.md):
  Gradient,      ///< f32 gradient of a parameter, row-major, kernels add to it
  StateGradient, ///< gradient of a state, same layout: after the piece on entry, before it on return
  Scalars,       ///< what the runtime sets before a call: f32[kTrainingScalars], or noise
  Arena,         ///< one of the arenas, whole
  StateBefore,   ///< a state as it is before the call once more, which the call advances again
  // Of inference again:
  Sampling,      ///< i32[kSamplingWords] that the runtime sets before a call (docs/Sampling.md)
};

/// Words of a Sampling buffer. All zero is greedy. Numbers of 64 bits: low word first.
enum class SamplingWord : int64_t {
  Flags = 0,     ///< SamplingFlags
  OthersKept,    ///< top-k: k - 1
  Seed,          ///< 64 bits
  Probability = 4, ///< top-p, 64 bits: times 2^64
  LeastWeight = 6, ///< min-p, 64 bits: times 2^40, rounded up
  Scale = 8,     ///< log2(e) / temperature as the sum of two f32
};
enum SamplingFlags : int32_t { kSamplingDraws = 1, kSamplingTopP = 2, kSamplingTopK = 4 };
inline constexpr int64_t kSamplingWords = 16;
/// What a kernel gives instead of a token: a logit is NaN, the largest is infinite.
inline constexpr int32_t kSampledNan = -1, kSampledInfinite = -2;

/// Elements of a Scalars buffer. In use: 0 scale of the loss, 1 clip coefficient, 2 learning rate,
/// 3 learning rate * weight decay, 4 beta1, 5 beta2, 6 epsilon, 7 1/(1-beta1^t), 8 1/(1-beta2^t).
inline constexpr int64_t kTrainingScalars = 16;
/// Calls of a function with noise of their own (layers of a model), at most.
inline constexpr int64_t kMostNoise = 1 << 20;
inline constexpr int64_t kSquaresPortion = 1024;

struct Buffer {
  BufferKind kind = BufferKind::Scratch;
  /// Prepared / State: index into Program::prepared / states.
  /// Input / Output: index into Function::inputs / outputs. Scratch: the slot;
  /// buffers of one slot are never alive together and share memory.
  /// Position: i64[batch], absolute position of each sequence's first new step. Sampling: 0.
  /// Scalars: 0 the numbers; 1 + n the noise of call n, u32 {seed low, seed high, step, n}, from
  /// which dropout draws (docs/Training.md).
  /// Gradient: index into Program::parameters. StateGradient, StateBefore: into Program::states;
  /// StateBefore of an open chunk is the state itself, since a call appends the same again.
  /// Arena: 0 master weights, 1 gradients, 2 first moments, 3 second moments, f32[arenaElements]
  /// each; 4 sums of squares of each kSquaresPortion gradients, f32[arenaElements / kSquaresPortion].
  int64_t index = 0;
  /// Scratch: bytes for each row of `symbol` (Rows or Batch).
  int64_t bytesPerRow = 0;
  Symbol symbol = Symbol::Rows;
  bool operator==(const Buffer &) const = default;
};

/// What a row tile costs besides its rows, in rows: the weights are read once per tile.
/// An odd number of rows is thus padded rather than computed row by row.
inline constexpr int64_t kRowTileCost = 2;

/// One specialisation of a kernel: code for row tiles of `rowTile` rows. On a CPU at most
/// kRowSlack, since kernels run over whole tiles; on a GPU larger tiles mask by row.
struct Variant {
  int64_t rowTile = 0;   ///< 0: does not depend on it; the only variant
  std::string entry;     ///< symbol in Code::entries
  /// Work items: the product of the extents. Items may run in any order and on any
  /// thread. On a GPU an item is a thread block.
  std::vector<Extent> grid;
  /// What one row tile costs, in any unit that the launch's variants share; 0 stands for
  /// rowTile + kRowTileCost.
  int64_t tileCost = 0;
  bool operator==(const Variant &) const = default;
};

/// Calls `entry(arguments, lo, hi)` for all items 0 <= lo < hi <= grid.
/// Of several variants the runtime takes the one of least cost
/// ceil(rows / rowTile) * tileCost; of equals the largest rowTile.
struct Launch {
  std::string name;                ///< "layers.3.ffn_up": for profiles and faults
  std::vector<Variant> variants;
  std::vector<int64_t> buffers;    ///< indices into Function::buffers
  Symbol rowSymbol = Symbol::Rows; ///< what rowTile is compared with
  /// A joint launch does the work of the next `covers` launches in calls of at most `mostRows` rows,
  /// and is left out in others (Formats/Launches.h). Both 0: an ordinary launch.
  int64_t covers = 0, mostRows = 0;
  bool operator==(const Launch &) const = default;
};

struct Function {
  std::string name;
  std::vector<Argument> inputs, outputs;
  std::vector<Buffer> buffers;
  std::vector<Launch> launches;
  /// Attention's chunk: one launch sequence must not cross a multiple of it; 0 if
  /// there is none. The runtime cuts calls accordingly.
  int64_t chunk = 0;
  /// States this function reads and writes; others stay untouched.
  std::vector<int64_t> states;
  bool operator==(const Function &) const = default;
};

//===----------------------------------------------------------------------===//
// Code
//===----------------------------------------------------------------------===//

enum class CodeKind : uint8_t {
  Host,  ///< functions of type OtodusKernel: position-independent, no undefined symbol
  Sim,   ///< kernels of the NVVM stage for the simulator: position-independent, no undefined symbol
  PTX,   ///< PTX text, which the driver translates
  Cubin, ///< code of one chip, as ptxas makes it
};

/// How the 128 bytes of a tensor map (TMA) are made. Dimensions go from the innermost out, as in
/// the driver's cuTensorMapEncodeTiled; elements outside read as 0.
struct TensorMap {
  int64_t buffer = 0;            ///< index into Launch::buffers
  DType dtype = DType::BF16;     ///< F32, BF16 or I32
  std::vector<Extent> extents;   ///< elements; 1 to 5 of them
  std::vector<Extent> strides;   ///< bytes, multiples of 16, of extents[1], extents[2] ...
  std::vector<int64_t> box;      ///< elements, 1 to 256, one per extent
  int64_t swizzle = 0;           ///< bytes of a swizzle's span: 0, 32, 64 or 128
  bool operator==(const TensorMap &) const = default;
};

/// Code for one target. Layout of the blob of `Host` and `Sim`: executable and read-only bytes at
/// [0, blob.size()), the first `textBytes` of them code (rounded to pages). `PTX` and `Cubin`: what
/// cuModuleLoadData takes, without a zero at the end; entries' offsets and `textBytes` are 0.
struct Code {
  CodeKind kind = CodeKind::Host;
  std::string target;                ///< "cpu:x86-64-v4", "cuda:sm_90a", "sim:sm_90a"
  std::vector<std::string> features; ///< CPU features it needs: "avx512f", "avx512bf16" ...
  int64_t ptxVersion = 0;            ///< PTX: 10 * major + minor of its .version, e.g. 87
  uint64_t textBytes = 0;
  std::vector<uint8_t> blob;
  struct Entry {
    std::string name;
    uint64_t offset = 0;
    // Of a GPU kernel:
    int64_t threads = 0;          ///< per block, a multiple of 32
    int64_t sharedBytes = 0;      ///< dynamic shared memory
    int64_t cluster = 1;          ///< blocks per cluster; divides every grid
    std::vector<TensorMap> tensorMaps = {}; ///< in the order of the kernel's parameters
    bool operator==(const Entry &) const = default;
  };
  std::vector<Entry> entries;
};

/// A tensor that is trained, and where it lies in each of the four arenas (master weights,
/// gradients, first and second moments): f32, row-major in the checkpoint's shape.
struct Parameter {
  std::string name;           ///< checkpoint tensor
  std::vector<int64_t> shape;
  int64_t offset = 0;         ///< elements, a multiple of 16
  bool operator==(const Parameter &) const = default;
};

/// A plan and the code that fits it. Several codes share a program if their plans are equal: code
/// for several CPUs, or PTX, cubins and simulator code for one GPU.
struct Program {
  std::vector<Prepared> prepared;
  std::vector<State> states;
  std::vector<Function> functions;
  std::vector<Parameter> parameters; ///< in the order of the arena; empty unless the model trains
  int64_t arenaElements = 0;  ///< of each arena, a multiple of kSquaresPortion; beyond the parameters 0
  std::vector<Code> code;     ///< one per target and kind; functions' entries exist in each
  /// Prepared weights (`compile --weights=embed`): bytes of `prepared[i]` at
  /// `offset` of the file, or empty when they are prepared from the checkpoint on opening.
  struct Embedded {
    uint64_t offset = 0, bytes = 0;
  };
  std::vector<Embedded> embedded;

  /// True for code of a GPU or its simulator.
  bool isGpu() const { return !code.empty() && code.front().kind != CodeKind::Host; }
};

struct Artefact {
  std::string producer;       ///< "otodus 0.1.0"
  std::string modelHash;      ///< 64 hex digits: configuration, dtype, weight and state names; states carry it
  std::string dtype;          ///< compute type: "f32" or "bf16"
  std::string configJson;     ///< the model's config.json, "" for a bare module
  std::string weightsFile;    ///< checkpoint the module was imported from, "" if none
  std::string weightsHash;    ///< of that file's header
  /// At least one. All compute the same functions and carry the same states, in the same order.
  std::vector<Program> programs;

  /// Adds a program for other targets of the same model. Its code joins a program with the same
  /// plan if there is one.
  void add(Program program);
};

} // namespace otodus::formats

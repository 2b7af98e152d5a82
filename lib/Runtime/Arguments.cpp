//===- Arguments.cpp - Inputs and outputs of a call ------------------------===//

#include "Arguments.h"
#include "MemoryPlan.h"
#include "Numbers.h"
#include "otodus/Formats/Safetensors.h"
#include "otodus/Runtime/ThreadPool.h"

#include <algorithm>
#include <cstring>

namespace otodus::runtime {

using formats::Argument;
using formats::ArgumentKind;
using formats::DType;

bool convertible(DType from, DType to) {
  auto isNarrowFloat = [](DType t) { return t == DType::F32 || t == DType::BF16; };
  return from == to || (isNarrowFloat(from) && isNarrowFloat(to)) ||
         (from == DType::I64 && to == DType::I32);
}

namespace {

/// Elements of one row outside.
int64_t rowElements(const Argument &argument) {
  return argument.kind == ArgumentKind::Steps ? 1 : argument.width.logical();
}

/// Copies `count` elements; the pair of types is one that `convertible` allows.
void convert(DType from, const void *source, DType to, void *target, int64_t count) {
  if (from == to) {
    std::memcpy(target, source, static_cast<size_t>(count * formats::sizeOf(to)));
  } else if (from == DType::F32) {
    auto *in = static_cast<const float *>(source);
    auto *out = static_cast<uint16_t *>(target);
    for (int64_t i = 0; i < count; ++i)
      out[i] = toBf16(in[i]);
  } else if (from == DType::BF16) {
    auto *in = static_cast<const uint16_t *>(source);
    auto *out = static_cast<float *>(target);
    for (int64_t i = 0; i < count; ++i)
      out[i] = fromBf16(in[i]);
  } else {
    auto *in = static_cast<const int64_t *>(source);
    auto *out = static_cast<int32_t *>(target);
    for (int64_t i = 0; i < count; ++i)
      out[i] = static_cast<int32_t>(in[i]);
  }
}

/// Below this many bytes a copy is done before another thread has noticed.
constexpr int64_t kParallelCopy = 256 * 1024;

template <typename Fn> void forRows(ThreadPool &pool, int64_t rows, int64_t bytes, Fn &&fn) {
  if (bytes < kParallelCopy)
    fn(0, rows);
  else
    pool.run(rows, fn);
}

/// The outside shape of an argument in a call of `length` steps.
std::vector<int64_t> outsideShape(const Argument &argument, int64_t batch, int64_t length) {
  std::vector<int64_t> shape = {batch, argument.kind == ArgumentKind::LastRows ? 1 : length};
  if (argument.kind != ArgumentKind::Steps)
    shape.insert(shape.end(), argument.trailing.begin(), argument.trailing.end());
  return shape;
}

/// "[2, length, 64]" with `length` in words where it is free.
std::string describeShape(const Argument &argument, int64_t batch, int64_t length) {
  std::vector<int64_t> shape = outsideShape(argument, batch, length);
  std::string text = "[";
  for (size_t i = 0; i < shape.size(); ++i)
    text += (i ? ", " : "") + (shape[i] < 0 ? std::string("length") : std::to_string(shape[i]));
  return text + "]";
}

template <typename View>
Status checkView(const char *what, const Argument &argument, const View &view, int64_t batch,
                 int64_t length, bool types) {
  std::string where = std::string(what) + " '" + argument.name + "'";
  if (view.shape != outsideShape(argument, batch, length))
    return Status(Code::Input, where + ": expected shape " +
                                   describeShape(argument, batch, length) + ", found " +
                                   formats::shapeToString(view.shape));
  if (!types)
    return Status(Code::Input,
                  where + ": expected " + nameOf(argument.dtype) + ", found " + nameOf(view.dtype));
  bool empty = std::find(view.shape.begin(), view.shape.end(), 0) != view.shape.end();
  if (!view.data && !empty)
    return Status(Code::Input, where + ": the data pointer is null");
  return Status::ok();
}

} // namespace

Status checkInput(const Argument &argument, const TensorView &view, int64_t batch,
                  int64_t length) {
  return checkView("input", argument, view, batch, length, convertible(view.dtype, argument.dtype));
}

Status checkOutput(const Argument &argument, const MutableTensorView &view, int64_t batch,
                   int64_t length) {
  return checkView("output", argument, view, batch, length,
                   convertible(argument.dtype, view.dtype));
}

Status checkBound(const Argument &argument, const TensorView &view, int64_t batch, int64_t length,
                  const std::vector<int64_t> &positions) {
  int64_t bound = argument.bound;
  if (bound <= 0) // then only what i64 -> i32 would cut off
    bound = view.dtype == DType::I64 && argument.dtype == DType::I32 ? int64_t(1) << 31 : 0;
  if (bound == 0 || (view.dtype != DType::I32 && view.dtype != DType::I64))
    return Status::ok();
  int64_t perStep = rowElements(argument);
  for (int64_t i = 0; i < batch * length * perStep; ++i) {
    int64_t value = integerAt(view.dtype, view.data, i);
    if (value >= 0 && value < bound)
      continue;
    int64_t sequence = i / perStep / length, step = i / perStep % length;
    return Status(Code::Input, "input '" + argument.name + "': token id " + std::to_string(value) +
                                   " at position " +
                                   std::to_string(positions[static_cast<size_t>(sequence)] + step) +
                                   (batch > 1 ? " of sequence " + std::to_string(sequence) : "") +
                                   " is outside the vocabulary of " + std::to_string(bound) +
                                   " (0 to " + std::to_string(bound - 1) + ")");
  }
  return Status::ok();
}

void copyIn(ThreadPool &pool, const Argument &argument, const TensorView &view, int64_t batch,
            int64_t first, int64_t length, std::byte *inside) {
  int64_t total = argument.kind == ArgumentKind::LastRows ? 1 : view.shape[1];
  if (argument.kind == ArgumentKind::LastRows)
    first = 0, length = 1;
  int64_t elements = rowElements(argument), rows = batch * length;
  int64_t stride = rowBytes(argument), outsideSize = formats::sizeOf(view.dtype);
  int64_t size = formats::sizeOf(argument.dtype);
  const auto *outside = static_cast<const std::byte *>(view.data);
  // Rows that only fill up a tile: token ids there must be valid, numbers finite.
  std::memset(inside + rows * stride, 0, static_cast<size_t>((paddedRows(rows) - rows) * stride));
  forRows(pool, rows, rows * stride, [&](int64_t lo, int64_t hi) {
    for (int64_t row = lo; row < hi; ++row) {
      int64_t from = ((row / length) * total + first + row % length) * elements;
      std::byte *to = inside + row * stride;
      if (argument.kind == ArgumentKind::Steps) {
        convert(view.dtype, outside + from * outsideSize, argument.dtype, to, 1);
        continue;
      }
      const formats::Width &width = argument.width;
      std::memset(to, 0, static_cast<size_t>(stride));
      for (int64_t g = 0; g < width.groups; ++g)
        convert(view.dtype, outside + (from + g * width.inner) * outsideSize, argument.dtype,
                to + g * width.paddedInner() * size, width.inner);
    }
  });
}

void copyOut(ThreadPool &pool, const Argument &argument, const MutableTensorView &view,
             int64_t batch, int64_t first, int64_t length, const std::byte *inside) {
  int64_t total = argument.kind == ArgumentKind::LastRows ? 1 : view.shape[1];
  if (argument.kind == ArgumentKind::LastRows)
    first = 0, length = 1;
  int64_t elements = rowElements(argument), rows = batch * length;
  int64_t stride = rowBytes(argument), outsideSize = formats::sizeOf(view.dtype);
  int64_t size = formats::sizeOf(argument.dtype);
  auto *outside = static_cast<std::byte *>(view.data);
  forRows(pool, rows, rows * stride, [&](int64_t lo, int64_t hi) {
    for (int64_t row = lo; row < hi; ++row) {
      int64_t to = ((row / length) * total + first + row % length) * elements;
      const std::byte *from = inside + row * stride;
      if (argument.kind == ArgumentKind::Steps) {
        convert(argument.dtype, from, view.dtype, outside + to * outsideSize, 1);
        continue;
      }
      const formats::Width &width = argument.width;
      for (int64_t g = 0; g < width.groups; ++g)
        convert(argument.dtype, from + g * width.paddedInner() * size, view.dtype,
                outside + (to + g * width.inner) * outsideSize, width.inner);
    }
  });
}

} // namespace otodus::runtime

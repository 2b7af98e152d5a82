//===- Arguments.h - Inputs and outputs of a call --------------------------===//
//
// Between row-major arrays of a caller and the padded rows that kernels see.
//
//===----------------------------------------------------------------------===//

#pragma once

#include "otodus/Formats/Artefact.h"
#include "otodus/Formats/Status.h"
#include "otodus/Runtime/Tensor.h"

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace otodus::runtime {

class ThreadPool;

/// Whether an element of type `from` may be given where `to` is wanted.
bool convertible(formats::DType from, formats::DType to);

/// Code::Input if shape, type or data pointer are not what `argument` needs in a call of `length`
/// steps (-1: not known yet).
Status checkInput(const formats::Argument &argument, const TensorView &view, int64_t batch,
                  int64_t length);
Status checkOutput(const formats::Argument &argument, const MutableTensorView &view,
                   int64_t batch, int64_t length);
/// Code::Input for integers outside [0, bound), which would make kernels read outside their tables.
Status checkBound(const formats::Argument &argument, const TensorView &view, int64_t batch,
                  int64_t length, const std::vector<int64_t> &positions);

/// Steps [first, first + length) of an outside input into the padded rows inside.
void copyIn(ThreadPool &pool, const formats::Argument &argument, const TensorView &view,
            int64_t batch, int64_t first, int64_t length, std::byte *inside);
/// The padded rows inside into steps [first, first + length) of an outside output.
void copyOut(ThreadPool &pool, const formats::Argument &argument, const MutableTensorView &view,
             int64_t batch, int64_t first, int64_t length, const std::byte *inside);

} // namespace otodus::runtime

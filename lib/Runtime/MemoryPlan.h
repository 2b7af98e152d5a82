//===- MemoryPlan.h - Where everything lies, before anything is allocated --===//
//
// Sizes follow from the plan, the batch and the longest piece, so that a model that does
// not fit is refused before it starts.
//
//===----------------------------------------------------------------------===//

#pragma once

#include "otodus/Formats/Launches.h"
#include "otodus/Formats/Status.h"
#include "otodus/Runtime/Device.h"

#include <cstdint>
#include <vector>

namespace otodus::runtime {

/// The next multiple of `unit`.
inline int64_t roundUp(int64_t value, int64_t unit) { return (value + unit - 1) / unit * unit; }

using formats::valueOf;

/// Rows a row-wise buffer has room for.
int64_t paddedRows(int64_t rows);
/// Rows that scratch buffer `index` of `function` has room for: `paddedRows`, or exactly a row per
/// sequence if no kernel with row tiles sees it (states and panels of sequences can be large).
int64_t scratchRows(const formats::Function &function, size_t index, int64_t batch, int64_t length);
/// Rows of an argument in a call of `length` steps.
int64_t rowsOf(const formats::Argument &argument, int64_t batch, int64_t length);
/// Bytes between rows inside.
int64_t rowBytes(const formats::Argument &argument);

/// A function's memory for calls of up to some length: offsets into one block. Inputs and outputs
/// come first, so that the block's first `argumentBytes` bytes can have a twin in host memory.
struct FunctionMemory {
  std::vector<int64_t> inputs, outputs;
  std::vector<int64_t> buffers; ///< one per Function::buffers; of scratch only
  int64_t argumentBytes = 0;
  int64_t bytes = 0;
};
/// Code::Device if the sizes overflow.
Result<FunctionMemory> planFunction(const formats::Function &function, int64_t batch,
                                    int64_t length, const Device::Traits &traits);

/// `states` of `batch` sequences, Program::states or their gradients, and the positions.
struct StateMemory {
  int64_t positions = 0;
  std::vector<int64_t> states; ///< one per state
  int64_t bytes = 0;
};
/// Code::Device if the sizes overflow.
Result<StateMemory> planStates(const std::vector<formats::State> &states, int64_t batch,
                               const Device::Traits &traits);

/// Bytes of one sequence that a function's BufferKind::StateBefore buffers need: all states but
/// open chunks, or 0 if it has no such buffer.
int64_t stateBeforeBytes(const formats::Program &program, const formats::Function &function);

/// Bytes of the options of sampling; 0 if no function samples.
int64_t samplingBytes(const formats::Program &program);

/// Whether the function is part of training: it uses buffers that only a trainer has.
bool trains(const formats::Function &function);

/// The longest piece of a call that is ever run at once.
int64_t longestPiece(const formats::Function &function, int64_t maxPiece);

/// Device memory that a session takes at most: states and the scratch memory of its functions.
Result<int64_t> sessionBytes(const formats::Program &program, int64_t batch, int64_t maxPiece,
                             const Device::Traits &traits);

/// Code::Device naming both numbers if `device` has fewer than `bytes` left; `what` needs them.
Status checkFits(Device &device, int64_t bytes, const std::string &what);

} // namespace otodus::runtime

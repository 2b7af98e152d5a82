//===- TrainingPlan.cpp - What training needs, before it starts ------------===//

#include "otodus/Runtime/TrainingPlan.h"

#include "MemoryPlan.h"
#include "StateLayout.h"
#include "otodus/Formats/ArtefactFile.h"

#include <algorithm>
#include <cctype>

namespace otodus::runtime {

using formats::Buffer;
using formats::BufferKind;
using formats::Function;
using formats::Launch;
using formats::Program;

std::string callOf(const Launch &launch) {
  size_t dot = launch.name.find('.');
  bool numbered = dot != std::string::npos && dot > 0 &&
                  std::isdigit(static_cast<unsigned char>(launch.name[dot - 1]));
  return numbered ? launch.name.substr(0, dot) : "";
}

namespace {

const Function *find(const Program &program, const char *name) {
  for (const Function &function : program.functions)
    if (function.name == name)
      return &function;
  return nullptr;
}

/// Fills `calls` and `saved` of `memory`.
void followActivations(const Function &function, int64_t batch, int64_t length,
                       TrainingMemory &memory) {
  std::vector<int64_t> first(function.buffers.size(), -1), last(function.buffers.size(), -1);
  int64_t forwardEnd = -1;
  for (size_t i = 0; i < function.launches.size(); ++i) {
    for (int64_t index : function.launches[i].buffers) {
      auto at = static_cast<size_t>(index);
      if (first[at] < 0)
        first[at] = static_cast<int64_t>(i);
      last[at] = static_cast<int64_t>(i);
    }
    std::string call = callOf(function.launches[i]);
    if (!isSavingCall(call))
      continue;
    forwardEnd = static_cast<int64_t>(i);
    if (memory.calls.empty() || memory.calls.back().name != call)
      memory.calls.push_back({call, 0});
  }
  for (size_t i = 0; i < function.buffers.size(); ++i) {
    const Buffer &buffer = function.buffers[i];
    if (buffer.kind != BufferKind::Scratch || first[i] < 0 || first[i] > forwardEnd ||
        last[i] <= forwardEnd)
      continue;
    int64_t bytes = buffer.bytesPerRow * scratchRows(function, i, batch, length);
    memory.saved += bytes;
    std::string call = callOf(function.launches[static_cast<size_t>(first[i])]);
    for (TrainingMemory::Call &known : memory.calls)
      if (known.name == call)
        known.saved += bytes;
  }
}

} // namespace

bool isSavingCall(const std::string &name) {
  size_t digits = name.find_last_not_of("0123456789");
  return digits != std::string::npos && name.substr(0, digits + 1).ends_with("_saving");
}

Result<TrainingMemory> planTraining(const Program &program, const TrainingShape &shape,
                                    const Device::Traits &traits) {
  const Function *loss = find(program, "loss"), *gradients = find(program, "gradients");
  if (!loss || !gradients || program.parameters.empty())
    return Status(Code::Input, "the model cannot be trained: it has no functions 'loss' and "
                               "'gradients'");
  // The loss of the pieces before the last is that with dropout, if there is any.
  const Function *ofPieces = find(program, "loss_with_dropout");
  if (!ofPieces)
    ofPieces = loss;
  TrainingMemory memory;
  int64_t arena = program.arenaElements * 4;
  memory.weights = arena;
  memory.gradients = arena + arena / formats::kSquaresPortion;
  memory.moments = 2 * arena;
  for (const formats::Prepared &prepared : program.prepared) {
    int64_t bytes = formats::preparedBytes(prepared);
    if (bytes < 0)
      return Status(Code::Device, "prepared weight '" + prepared.name + "' is too large");
    memory.prepared += roundUp(bytes, 64);
  }
  int64_t stateBytes = 0;
  for (const formats::State &state : program.states)
    stateBytes += state.bytes();
  Result<StateMemory> states = planStates(program.states, shape.batch, traits),
                      gradientsOfStates =
                          planStates(gradientsOf(program.states), shape.batch, traits);
  OTODUS_RETURN_IF_ERROR(states.status());
  OTODUS_RETURN_IF_ERROR(gradientsOfStates.status());

  auto piece = [&](const Function &function, int64_t length) {
    return std::min(longestPiece(function, shape.maxPiece), length);
  };
  int64_t length = piece(*gradients, shape.length);
  Result<FunctionMemory> backward = planFunction(*gradients, shape.batch, length, traits),
                         forward = planFunction(*ofPieces, shape.batch, length, traits);
  OTODUS_RETURN_IF_ERROR(backward.status());
  OTODUS_RETURN_IF_ERROR(forward.status());
  int64_t pieces = (shape.length + length - 1) / length;
  memory.states = states->bytes;
  memory.stateGradients = gradientsOfStates->bytes;
  memory.stateBefore = stateBeforeBytes(program, *gradients) * shape.batch;
  memory.kept = stateBytes * shape.batch * (pieces - 1);
  memory.arguments = backward->argumentBytes + (pieces > 1 ? forward->argumentBytes : 0);
  int64_t scratch = backward->bytes - backward->argumentBytes;
  if (pieces > 1)
    scratch = std::max(scratch, forward->bytes - forward->argumentBytes);
  followActivations(*gradients, shape.batch, length, memory);
  memory.saved = std::min(memory.saved, scratch); // slots that the sums round up
  memory.workspace = scratch - memory.saved;

  int64_t base = memory.weights + memory.gradients + memory.moments + memory.prepared;
  int64_t step = memory.states + memory.stateGradients + memory.stateBefore + memory.kept;
  memory.peak = base + step + memory.arguments + scratch;
  if (shape.evaluationBatch > 0 && shape.window > 0) {
    Result<FunctionMemory> evaluation =
        planFunction(*loss, shape.evaluationBatch, piece(*loss, shape.window), traits);
    OTODUS_RETURN_IF_ERROR(evaluation.status());
    // Its states take the place of the steps' and need no gradients; scratch is one block for all.
    int64_t larger = std::max(scratch, evaluation->bytes - evaluation->argumentBytes);
    int64_t peak = base + larger +
                   std::max(step + memory.arguments,
                            stateBytes * shape.evaluationBatch + evaluation->argumentBytes);
    memory.evaluation = std::max<int64_t>(0, peak - memory.peak);
    memory.peak = std::max(memory.peak, peak);
  }
  return memory;
}

} // namespace otodus::runtime

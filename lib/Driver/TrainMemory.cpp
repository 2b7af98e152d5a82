//===- TrainMemory.cpp - What of training is kept, what computed again ------===//

#include "TrainMemory.h"

#include "BenchPlan.h"
#include "Output.h"

#include <algorithm>
#include <numeric>

namespace otodus::driver {

namespace {

/// The process beside the trainer's memory: its libraries, code, and what the compiler takes with
/// two jobs, as measured (docs/Performance/training.md). A small model needs little else.
constexpr int64_t kProgram = 185'000'000;
/// FLOP in the time of one byte from memory: what a core computes while it waits.
constexpr int64_t kFlopsPerByte = 8;

struct Cost {
  int64_t flops = 0, bytes = 0;
  int64_t time() const { return flops + kFlopsPerByte * bytes; }
};

/// What each call of `gradients` that saves computes in one piece, in order.
std::vector<Cost> costs(const formats::Program &program, const runtime::TrainingShape &shape) {
  std::vector<Cost> result;
  for (const formats::Function &function : program.functions) {
    if (function.name != "gradients")
      continue;
    BenchCall piece{shape.batch, 0, shape.length};
    if (function.chunk > 0)
      piece.length = std::min(piece.length, function.chunk);
    piece.length = std::min(piece.length, shape.maxPiece);
    std::string last;
    for (const formats::Launch &launch : function.launches) {
      std::string call = runtime::callOf(launch);
      if (!runtime::isSavingCall(call))
        continue;
      if (call != last)
        result.emplace_back();
      last = call;
      LaunchWork work = workOf(program, function, launch, piece);
      result.back().flops += work.flops;
      result.back().bytes += work.weightBytes + work.stateBytes;
      for (int64_t index : launch.buffers) {
        const formats::Buffer &buffer = function.buffers[size_t(index)];
        if (buffer.kind == formats::BufferKind::Scratch)
          result.back().bytes += buffer.bytesPerRow * piece.batch *
                                 (buffer.symbol == formats::Symbol::Batch ? 1 : piece.length);
      }
    }
  }
  return result;
}

} // namespace

Result<std::vector<int64_t>> chooseRecompute(const MemoryRequest &request,
                                             const runtime::Device::Traits &traits, int64_t count,
                                             const PlanOfCalls &planOf, MemoryPlan &plan) {
  runtime::TrainingShape steps = request.shape;
  steps.evaluationBatch = 0;
  auto memoryOf = [&](const std::vector<int64_t> &calls,
                      const runtime::TrainingShape &shape) -> Result<runtime::TrainingMemory> {
    Result<formats::Program> program = planOf(calls);
    OTODUS_RETURN_IF_ERROR(program.status());
    return runtime::planTraining(*program, shape, traits);
  };
  Result<formats::Program> program = planOf({});
  OTODUS_RETURN_IF_ERROR(program.status());
  Result<runtime::TrainingMemory> kept = runtime::planTraining(*program, steps, traits);
  OTODUS_RETURN_IF_ERROR(kept.status());
  // What else lies in the host's memory; a GPU's has the trainer's alone.
  if (traits.sharesHostMemory) {
    plan.program = kProgram;
    for (const formats::Parameter &parameter : program->parameters) {
      int64_t elements = 1;
      for (int64_t extent : parameter.shape)
        elements *= extent;
      plan.checkpoint = std::max(plan.checkpoint, 4 * elements);
    }
  }
  int64_t more = plan.program + plan.checkpoint;
  std::vector<Cost> cost = costs(*program, request.shape);
  cost.resize(static_cast<size_t>(count));

  // Cheapest first. Of equals the early ones: what they free is free all the way, and their
  // repetition comes when the activations of later ones are gone.
  std::vector<int64_t> order(static_cast<size_t>(count));
  std::iota(order.begin(), order.end(), 0);
  auto savedOf = [&](int64_t call) {
    auto at = static_cast<size_t>(call);
    return std::max<int64_t>(1, at < kept->calls.size() ? kept->calls[at].saved : 1);
  };
  std::stable_sort(order.begin(), order.end(), [&](int64_t x, int64_t y) {
    return static_cast<double>(cost[size_t(x)].time()) / static_cast<double>(savedOf(x)) <
           static_cast<double>(cost[size_t(y)].time()) / static_cast<double>(savedOf(y));
  });

  // Evaluation is not part of the choice: smaller batches give the same loss.
  auto withEvaluation = [&](int64_t batch) {
    runtime::TrainingShape shape = request.shape;
    shape.evaluationBatch = batch;
    return shape;
  };
  int64_t least = std::min<int64_t>(1, request.shape.evaluationBatch);
  int64_t smallest = INT64_MAX, chosen = -1;
  for (int64_t n = request.layerwise ? count : 0; n <= count && chosen < 0; ++n) {
    std::vector<int64_t> calls(order.begin(), order.begin() + n);
    Result<runtime::TrainingMemory> memory = memoryOf(calls, withEvaluation(least));
    OTODUS_RETURN_IF_ERROR(memory.status());
    smallest = std::min(smallest, memory->peak + more);
    if (request.budget <= 0 || memory->peak + more <= request.budget)
      chosen = n;
  }
  if (chosen < 0)
    return Status(Code::Input,
                  "a memory budget of " + formatBytes(double(request.budget)) +
                      " is too small: batches of " + std::to_string(request.shape.batch) + " x " +
                      std::to_string(request.shape.length) + " tokens need at least " +
                      std::to_string((smallest + 999'999) / 1'000'000) +
                      " MB, however much is computed again; raise it, or use a smaller "
                      "batch, shorter sequences or a smaller model");
  plan.again.assign(order.begin(), order.begin() + chosen);
  std::sort(plan.again.begin(), plan.again.end());
  plan.evaluationBatch = request.shape.evaluationBatch;
  for (;; plan.evaluationBatch /= 2) {
    Result<runtime::TrainingMemory> memory =
        memoryOf(plan.again, withEvaluation(plan.evaluationBatch));
    OTODUS_RETURN_IF_ERROR(memory.status());
    plan.memory = *memory;
    if (request.budget <= 0 || memory->peak + more <= request.budget ||
        plan.evaluationBatch <= 1)
      break;
  }
  plan.peak = plan.memory.peak + more;
  plan.everythingKept = kept->peak + more;
  for (int64_t call : plan.again)
    plan.extraFlops += cost[size_t(call)].flops;
  return plan.again;
}

} // namespace otodus::driver

//===- TrainMemory.h - What of training is kept, what computed again --------===//
//
// Without a budget everything is kept. With one, calls (a model's layers) are computed again in
// the backward half, those first that cost the least time for the bytes they free, as few as the
// budget allows; `layerwise` (layerwise_ckpt of the reference) takes all. Whatever is chosen,
// numbers stay.
//
//===----------------------------------------------------------------------===//

#pragma once

#include "OpenModel.h"

#include "otodus/Runtime/TrainingPlan.h"

#include <functional>
#include <string>
#include <vector>

namespace otodus::driver {

struct MemoryRequest {
  runtime::TrainingShape shape;
  int64_t budget = 0;     ///< bytes of the whole process (on a GPU: of its memory), 0: no limit
  bool layerwise = false; ///< compute every call again
};

struct MemoryPlan {
  runtime::TrainingMemory memory;
  int64_t program = 0;           ///< bytes of the process beside what the trainer allocates
  int64_t checkpoint = 0;        ///< the largest tensor, while it is written
  int64_t peak = 0;              ///< all of these
  std::vector<int64_t> again;    ///< calls computed again, ascending; TrainingMemory::calls
  int64_t everythingKept = 0;    ///< peak if nothing is computed again, without evaluation
  int64_t evaluationBatch = 0;   ///< of the request, or fewer where the budget asks for it
  int64_t extraFlops = 0;        ///< of a piece, for what is computed again
};

using PlanOfCalls = std::function<Result<formats::Program>(const std::vector<int64_t> &)>;

/// The choice for a program of `count` calls that save; CompileOptions::chooseRecompute. Fills
/// `plan`. Code::Input if the budget is too small, saying the smallest that is enough.
Result<std::vector<int64_t>> chooseRecompute(const MemoryRequest &request,
                                             const runtime::Device::Traits &traits, int64_t count,
                                             const PlanOfCalls &planOf, MemoryPlan &plan);

/// The plan for a model of `config`, which nothing is opened or compiled to machine code for.
/// `name` stands in messages. Errors of openTrainer.
Result<MemoryPlan> planTrainingMemory(const formats::ModelConfig &config, const std::string &name,
                                      const ModelFlags &flags, const MemoryRequest &request);

} // namespace otodus::driver

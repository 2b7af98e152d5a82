//===- TrainingPlan.h - What training needs, before it starts --------------===//
//
// The numbers follow from a plan (formats::Program, code or not), as the trainer allocates.
//
//===----------------------------------------------------------------------===//

#pragma once

#include "otodus/Formats/Artefact.h"
#include "otodus/Formats/Status.h"
#include "otodus/Runtime/Device.h"

#include <cstdint>
#include <string>
#include <vector>

namespace otodus::runtime {

/// What a trainer is asked for.
struct TrainingShape {
  int64_t batch = 1, length = 1;               ///< of TrainingBackend::accumulate
  int64_t evaluationBatch = 0, window = 0;     ///< of TrainingBackend::loss; 0: never
  int64_t maxPiece = int64_t(1) << 31;         ///< TrainerOptions::maxPiece
};

/// Bytes. What `saved` and `workspace` share is allocated once.
struct TrainingMemory {
  int64_t weights = 0;   ///< f32 master copy
  int64_t gradients = 0; ///< f32, with the sums of squares
  int64_t moments = 0;   ///< both, f32
  int64_t prepared = 0;  ///< weights as kernels read them
  int64_t states = 0;    ///< carried states of a batch
  int64_t stateGradients = 0;
  int64_t stateBefore = 0; ///< states once more, if something is computed again
  int64_t kept = 0;        ///< states between pieces, of rows without documents inside
  int64_t saved = 0;       ///< activations alive where the forward half of `gradients` ends
  int64_t workspace = 0;   ///< the rest of scratch memory
  int64_t arguments = 0;   ///< tokens, targets, losses
  int64_t evaluation = 0;  ///< what evaluating takes beyond the peak of the steps; 0: nothing
  int64_t peak = 0;        ///< most that is allocated at once

  /// The calls of `gradients` that save ("layer_saving0", in order): what each keeps, its results
  /// included, where the forward half ends.
  struct Call {
    std::string name;
    int64_t saved = 0;
  };
  std::vector<Call> calls;
};

/// Code::Input if the program has no training functions, Code::Device if sizes overflow.
Result<TrainingMemory> planTraining(const formats::Program &program, const TrainingShape &shape,
                                    const Device::Traits &traits);

/// The call that a launch belongs to, "layer_saving3" of "layer_saving3.up"; "" if it belongs to
/// the function itself.
std::string callOf(const formats::Launch &launch);

/// Whether a call of that name saves for the backward half, and is no repetition.
bool isSavingCall(const std::string &name);

} // namespace otodus::runtime

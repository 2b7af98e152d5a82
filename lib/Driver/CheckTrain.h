//===- CheckTrain.h - Training steps of golden cases -------------------------===//

#pragma once

#include "otodus/Driver/GoldenCase.h"
#include "otodus/Formats/Safetensors.h"

#include <set>

namespace otodus::driver {

/// Fills golden.training from the file's `adamw_…` and `after3…` tensors, and `used` with their
/// names. Nothing happens for a file without them. `dtype` is that of the computation and decides
/// the tolerance.
Status readTraining(const formats::SafetensorsFile &file, const std::string &dtype,
                    GoldenCase &golden, std::set<std::string> &used);

/// A label with what was found and what is expected.
struct TrainingResult {
  std::string label;
  reference::Tensor found, expected;
};

/// Takes the case's steps (spec 6): loss, gradients, clip, AdamW.
Result<std::vector<TrainingResult>> runTraining(const CaseTraining &training,
                                                runtime::TrainingBackend &backend);

} // namespace otodus::driver

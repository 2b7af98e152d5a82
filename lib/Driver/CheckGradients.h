//===- CheckGradients.h - Gradients of golden cases --------------------------===//

#pragma once

#include "otodus/Driver/GoldenCase.h"
#include "otodus/Formats/Safetensors.h"

#include <set>

namespace otodus::driver {

/// Fills golden.gradients from the file's `cot_…` and `grad…` tensors, and `used` with their names.
/// `dtype` is that of the computation and decides the tolerance.
Status readGradients(const formats::SafetensorsFile &file, const std::string &dtype,
                     GoldenCase &golden, std::set<std::string> &used);

/// What a session has computed for it; `outputs` are those of the gradients' function.
Result<reference::Tensor> foundGradient(const CaseGradients::Expected &expected,
                                        const GoldenCase &golden,
                                        const std::map<std::string, reference::Tensor> &outputs,
                                        CaseSession &session);

} // namespace otodus::driver

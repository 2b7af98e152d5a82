//===- RandomInit.h - A model directory without a checkpoint ---------------===//

#pragma once

#include "otodus/Formats/ModelConfig.h"

#include <functional>

namespace otodus::formats {

/// Writes config.json, consolidate_config.json and model.safetensors (F32, all tensors of
/// spec 2 with its initialisers) to the directory `path`, the same bytes for the same
/// configuration and seed on every machine (cema.theta and rope.freqs go through libm's double
/// functions, which may differ between C libraries in the last bit of a float). Tensors are streamed: memory does not grow with
/// the model. The directory appears complete or not at all. init_mode "none" writes zeros.
/// Errors: Code::Input invalid configuration; Code::File `path` exists and is not an empty
/// directory, or cannot be written; Code::Device disk full. `stop` is asked after every few megabytes; an
/// error of it ends the work and is returned.
Status writeRandomModel(const std::string &path, const ModelConfig &config, uint64_t seed,
                        const std::function<Status()> &stop = nullptr);

} // namespace otodus::formats

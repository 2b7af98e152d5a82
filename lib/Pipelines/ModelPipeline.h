//===- ModelPipeline.h - Passes of others, before the fused stage ----------===//

#pragma once

#include "otodus/Formats/Status.h"

#include "mlir/Pass/PassManager.h"

#include <string>
#include <vector>

namespace otodus {

/// Loads shared libraries of passes and registers what they hold; a file that was loaded before
/// is not loaded again. They stay loaded until the program ends.
/// Code::File if there is no such file, Code::Target if it cannot be loaded or is no pass plugin
/// of MLIR's API version.
Status loadPlugins(const std::vector<std::string> &files);

/// Makes `pm`, a pass manager of modules, run the passes of `text`: builtin.module(PASS, …).
/// Code::Usage for text that is no such pipeline.
Status parseModelPipeline(const std::string &text, mlir::OpPassManager &pm);

} // namespace otodus

//===- OpenTrainer.h - From a configuration to something that learns -------===//
//
// No MLIR in this header, as in OpenModel.h.
//
//===----------------------------------------------------------------------===//

#pragma once

#include "OpenModel.h"
#include "TrainMemory.h"

#include "otodus/Runtime/Trainer.h"

#include <memory>
#include <string>
#include <vector>

namespace otodus::driver {

/// Differentiates, compiles and opens the model of `config` for training. `tensors`: names that
/// `weights` has; it is read during the call only. `name` stands in messages. Code::Target for a
/// target that cannot train, Code::Input for a configuration that cannot (dropout) and for a memory
/// budget that is too small. `plan` is filled if there is one; `memory`, if not, as for one token.
Result<std::unique_ptr<runtime::Trainer>>
openTrainer(const formats::ModelConfig &config, const std::string &name,
            const std::vector<std::string> &tensors, runtime::WeightSource &weights,
            const ModelFlags &flags, const MemoryRequest &memory = {}, MemoryPlan *plan = nullptr);

/// The same of a module with the functions `loss` (to be differentiated), `norm` and `adamw`.
Result<std::unique_ptr<runtime::Trainer>> openTrainerText(const std::string &text,
                                                          const std::string &name,
                                                          runtime::WeightSource &weights,
                                                          const ModelFlags &flags);

} // namespace otodus::driver

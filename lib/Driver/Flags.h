//===- Flags.h - Flags that several commands share -------------------------===//

#pragma once

#include "OpenModel.h"

#include <CLI/CLI.hpp>

#include <string>
#include <vector>

namespace otodus::driver {

/// --dtype, --checkpoint, -j, --remarks, --pass-pipeline, --load-pass-plugin, --timing.
void addCompileFlags(CLI::App &app, ModelFlags &flags);
/// Those, and --target, --threads, --device*, --sim, --tokenizer, --cache-dir, --no-cache.
void addRunFlags(CLI::App &app, ModelFlags &flags);

/// "1,2,3" (also with spaces or newlines) as integers. `what` stands in messages.
/// Code::Input if a word is no integer or missing between commas, or outside [0, bound) where bound > 0.
Result<std::vector<int32_t>> parseTokens(const std::string &text, int64_t bound,
                                         const std::string &what);

/// Code::Input naming the first token outside [0, bound).
Status checkTokens(const std::vector<int32_t> &tokens, int64_t bound);

/// What --print and other choices expect: Code::Usage if `value` is not in `choices`.
Status checkChoice(const std::string &flag, const std::string &value,
                   const std::vector<std::string> &choices);

} // namespace otodus::driver

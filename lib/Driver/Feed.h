//===- Feed.h - Tokens into a session --------------------------------------===//

#pragma once

#include "OpenModel.h"

#include "otodus/Formats/Status.h"
#include "otodus/Runtime/Session.h"

#include <cstdint>
#include <string>
#include <vector>

namespace otodus::driver {

/// Feeds tokens [batch, length] (row-major) after everything fed so far. `logits` gets the
/// scores of the token after the last step, [batch, Vo]; it may be null. Long inputs go in
/// pieces, between which an interrupt is noticed (Code::Interrupted).
Status feed(runtime::Session &session, const TokenFunctions &functions,
            const std::vector<int32_t> &tokens, std::vector<float> *logits);

/// The same, with the tokens that follow, [batch], as Session::setSampling says how they are
/// chosen. Code::Input if the model has no function that chooses, or its logits are not numbers.
Status feedAndSample(runtime::Session &session, const TokenFunctions &functions,
                     const std::vector<int32_t> &tokens, std::vector<int32_t> &next);

/// The same, with the logits of every step, [batch, length, Vo], in memory at once.
/// Code::Input if the model has no such function.
Status feedAll(runtime::Session &session, const TokenFunctions &functions,
               const std::vector<int32_t> &tokens, std::vector<float> &logits);

} // namespace otodus::driver

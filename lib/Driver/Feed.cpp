//===- Feed.cpp - Tokens into a session ------------------------------------===//

#include "Feed.h"

#include "Output.h"

#include <algorithm>

namespace otodus::driver {

namespace {
/// Steps between two looks at the interrupt flag.
constexpr int64_t kPiece = 4096;

/// Steps [begin, begin + count) of tokens [batch, length].
std::vector<int32_t> slice(const std::vector<int32_t> &tokens, int64_t batch, int64_t begin,
                           int64_t count) {
  int64_t length = static_cast<int64_t>(tokens.size()) / batch;
  std::vector<int32_t> piece;
  piece.reserve(static_cast<size_t>(batch * count));
  for (int64_t b = 0; b < batch; ++b) {
    auto row = tokens.begin() + b * length + begin;
    piece.insert(piece.end(), row, row + count);
  }
  return piece;
}
} // namespace

Status feedAll(runtime::Session &session, const TokenFunctions &functions,
               const std::vector<int32_t> &tokens, std::vector<float> &logits) {
  if (functions.all.empty())
    return Status(Code::Input, "the model has no function that gives the logits of every step");
  int64_t batch = session.batch(), length = static_cast<int64_t>(tokens.size()) / batch;
  logits.resize(static_cast<size_t>(batch * length * functions.outputSize));
  return session.run(functions.all,
                     {{"tokens", {formats::DType::I32, {batch, length}, tokens.data()}}},
                     {{functions.allOutput,
                       {formats::DType::F32, {batch, length, functions.outputSize}, logits.data()}}});
}

/// Calls `run(piece, count, last)` for pieces [batch, count] of tokens [batch, length].
template <typename Run>
static Status feedPieces(runtime::Session &session, const std::vector<int32_t> &tokens, Run run) {
  int64_t batch = session.batch(), length = static_cast<int64_t>(tokens.size()) / batch;
  for (int64_t begin = 0; begin < length; begin += kPiece) {
    OTODUS_RETURN_IF_ERROR(checkInterrupt());
    int64_t count = std::min(kPiece, length - begin);
    bool last = begin + count == length;
    OTODUS_RETURN_IF_ERROR(count == length ? run(tokens, count, last)
                                           : run(slice(tokens, batch, begin, count), count, last));
  }
  return Status::ok();
}

Status feed(runtime::Session &session, const TokenFunctions &functions,
            const std::vector<int32_t> &tokens, std::vector<float> *logits) {
  int64_t batch = session.batch(), size = functions.outputSize;
  if (logits)
    logits->resize(static_cast<size_t>(batch * size));
  return feedPieces(session, tokens, [&](const std::vector<int32_t> &piece, int64_t count,
                                         bool last) -> Status {
    if (functions.last.empty()) {
      std::vector<float> all;
      OTODUS_RETURN_IF_ERROR(feedAll(session, functions, piece, all));
      if (logits)
        for (int64_t b = 0; b < batch; ++b)
          std::copy_n(all.begin() + ((b + 1) * count - 1) * size, size, logits->begin() + b * size);
      return Status::ok();
    }
    std::map<std::string, runtime::MutableTensorView> outputs;
    if (logits && last)
      outputs[functions.lastOutput] = {formats::DType::F32, {batch, 1, size}, logits->data()};
    return session.run(functions.last,
                       {{"tokens", {formats::DType::I32, {batch, count}, piece.data()}}}, outputs);
  });
}

Status feedAndSample(runtime::Session &session, const TokenFunctions &functions,
                     const std::vector<int32_t> &tokens, std::vector<int32_t> &next) {
  if (functions.sampling.empty())
    return Status(Code::Input,
                  "the model has no function that chooses tokens; compile it with this otodus, "
                  "with a function from 'tokens' to 'logits'");
  int64_t batch = session.batch();
  next.resize(static_cast<size_t>(batch));
  bool chosen = false;
  OTODUS_RETURN_IF_ERROR(feedPieces(
      session, tokens, [&](const std::vector<int32_t> &piece, int64_t count, bool last) {
        std::map<std::string, runtime::MutableTensorView> outputs;
        chosen |= last;
        if (last)
          outputs["token"] = {formats::DType::I32, {batch, 1, 1}, next.data()};
        return session.run(functions.sampling,
                           {{"tokens", {formats::DType::I32, {batch, count}, piece.data()}}},
                           outputs);
      }));
  for (int32_t token : next)
    if (chosen)
      OTODUS_RETURN_IF_ERROR(runtime::checkSampled(token));
  return Status::ok();
}

} // namespace otodus::driver

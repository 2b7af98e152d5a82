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

Status feed(runtime::Session &session, const TokenFunctions &functions,
            const std::vector<int32_t> &tokens, std::vector<float> *logits) {
  int64_t batch = session.batch(), length = static_cast<int64_t>(tokens.size()) / batch;
  int64_t size = functions.outputSize;
  if (logits)
    logits->resize(static_cast<size_t>(batch * size));
  for (int64_t begin = 0; begin < length; begin += kPiece) {
    OTODUS_RETURN_IF_ERROR(checkInterrupt());
    int64_t count = std::min(kPiece, length - begin);
    std::vector<int32_t> piece;
    const std::vector<int32_t> *source = &tokens;
    if (count != length) {
      piece = slice(tokens, batch, begin, count);
      source = &piece;
    }
    if (functions.last.empty()) {
      std::vector<float> all;
      OTODUS_RETURN_IF_ERROR(feedAll(session, functions, *source, all));
      if (logits)
        for (int64_t b = 0; b < batch; ++b)
          std::copy_n(all.begin() + ((b + 1) * count - 1) * size, size, logits->begin() + b * size);
      continue;
    }
    std::map<std::string, runtime::MutableTensorView> outputs;
    if (logits && begin + count == length)
      outputs[functions.lastOutput] = {formats::DType::F32, {batch, 1, size}, logits->data()};
    OTODUS_RETURN_IF_ERROR(
        session.run(functions.last,
                    {{"tokens", {formats::DType::I32, {batch, count}, source->data()}}}, outputs));
  }
  return Status::ok();
}

} // namespace otodus::driver

//===- CompiledSampler.cpp - mega.sample alone, for checks -----------------===//

#include "CompiledSampler.h"

#include "otodus/Formats/Random.h"

namespace otodus::driver {

Result<std::vector<int32_t>> CompiledSampler::sample(const std::vector<float> &logits,
                                                     int64_t rows,
                                                     const runtime::Sampling &sampling,
                                                     int64_t position) {
  int64_t size = static_cast<int64_t>(logits.size()) / rows;
  auto model = models_.find(size);
  if (model == models_.end()) {
    std::string type = "tensor<?x1x" + std::to_string(size) + "xf32>";
    std::string text =
        "func.func @sample(%logits: " + type + " {mega.name = \"logits\"},\n"
        "    %options: tensor<16xi32> {mega.sampling}, %position: tensor<?xi64> {mega.position})\n"
        "    -> (tensor<?x1x1xi32> {mega.name = \"token\"}) {\n"
        "  %token = mega.sample %logits with %options at %position\n"
        "      : (" + type + ", tensor<16xi32>, tensor<?xi64>) -> tensor<?x1x1xi32>\n"
        "  return %token : tensor<?x1x1xi32>\n"
        "}\n";
    runtime::MemoryWeights none;
    Result<LoadedModel> loaded = openModuleText(text, "sampling", none, flags_);
    if (!loaded.isOk())
      return loaded.status();
    model = models_.emplace(size, std::move(*loaded)).first;
  }
  std::unique_ptr<runtime::Session> &session = sessions_[{size, rows}];
  if (!session) {
    runtime::SessionOptions options;
    options.batch = rows;
    options.pool = model->second.pool;
    Result<std::unique_ptr<runtime::Session>> created =
        runtime::Session::create(model->second.model, options);
    if (!created.isOk())
      return created.status();
    session = std::move(*created);
  }
  OTODUS_RETURN_IF_ERROR(session->setSampling(sampling));
  OTODUS_RETURN_IF_ERROR(
      session->setPositions(std::vector<int64_t>(static_cast<size_t>(rows), position - 1)));
  std::vector<int32_t> tokens(static_cast<size_t>(rows));
  OTODUS_RETURN_IF_ERROR(
      session->run("sample", {{"logits", {formats::DType::F32, {rows, 1, size}, logits.data()}}},
                   {{"token", {formats::DType::I32, {rows, 1, 1}, tokens.data()}}}));
  return tokens;
}

Result<std::vector<CheckOptions::Draw>>
CompiledSampler::draws(const reference::Tensor &logits, const reference::SamplingFilter &filter,
                       int64_t count) {
  constexpr int64_t kSequences = 32; // of each row in a call
  int64_t rows = logits.dim(0), size = logits.dim(1);
  std::vector<float> values;
  for (int64_t row = 0; row < rows; ++row)
    for (int64_t i = 0; i < kSequences; ++i)
      values.insert(values.end(), logits.data.begin() + row * size,
                    logits.data.begin() + (row + 1) * size);
  runtime::Sampling sampling;
  sampling.temperature = filter.temperature;
  sampling.topP = filter.topP;
  sampling.topK = filter.topK;
  sampling.minP = filter.minP;
  sampling.seed = 1;
  std::vector<CheckOptions::Draw> result;
  for (int64_t position = 1; position <= (count + kSequences - 1) / kSequences; ++position) {
    Result<std::vector<int32_t>> tokens =
        sample(values, rows * kSequences, sampling, position);
    if (!tokens.isOk())
      return tokens.status();
    for (int64_t i = 0; i < rows * kSequences; ++i)
      result.push_back({i / kSequences,
                        formats::uniform(sampling.seed, static_cast<uint64_t>(i),
                                         static_cast<uint64_t>(position)),
                        (*tokens)[static_cast<size_t>(i)]});
  }
  return result;
}

} // namespace otodus::driver

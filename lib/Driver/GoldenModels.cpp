//===- GoldenModels.cpp - The cases of whole models ------------------------===//

#include "GoldenLoader.h"

#include "CheckStates.h"

#include <filesystem>

namespace otodus::driver {

using formats::ModelConfig;
using formats::SafetensorsFile;
using reference::Parameters;
using reference::Tensor;

void GoldenLoader::modelInput(GoldenCase &golden, const Tensor &tokens) {
  golden.batch = tokens.dim(0);
  golden.length = tokens.dim(1);
  for (double token : tokens.data)
    require(token >= 0 && token < golden.config.vocab_size,
            "expected tokens in [0, " + std::to_string(golden.config.vocab_size) + "), found " +
                std::to_string(static_cast<int64_t>(token)));
  golden.inputs.push_back({"tokens", CaseType::Int32, tokens});
}

/// The parameters from `path`: names with "param." or, in a checkpoint, without.
void GoldenLoader::readParameters(const std::string &path) {
  Result<SafetensorsFile> file = SafetensorsFile::open(path);
  if (!file.isOk()) {
    status_ =
        Status(file.status().code(), "the parameters of " + file_.path() + ": " +
                                         file.status().message() + "; name them with --params=");
    return;
  }
  bool inside = false;
  for (const formats::Tensor &tensor : file->tensors())
    inside |= tensor.name.starts_with("param.");
  Result<Parameters> parameters = reference::readParameters(*file, inside ? "param." : "");
  if (!parameters.isOk()) {
    status_ = parameters.status();
    return;
  }
  Result<reference::Model> model = reference::Model::create(golden_.config, *parameters);
  if (!model.isOk()) {
    status_ = model.status().in(path);
    return;
  }
  std::set<std::string> names;
  for (const formats::ExpectedTensor &expected : formats::expectedTensors(golden_.config))
    names.insert(expected.name);
  for (auto &[name, value] : *parameters)
    if (names.contains(name))
      golden_.weights[name] = std::move(value);
}

void GoldenLoader::model(const std::string &op, const std::string &parametersPath) {
  readConfig();
  if (!ok())
    return;
  bool training = op == "model";
  if (training) {
    readParameters(file_.path());
    for (const auto &[name, value] : golden_.weights)
      used_.insert("param." + name);
  } else {
    // <prefix>_stream and its like belong to <prefix>_train.
    std::filesystem::path sibling = file_.path();
    sibling.replace_filename(golden_.name.substr(0, golden_.name.rfind('_')) +
                             "_train.safetensors");
    readParameters(parametersPath.empty() ? sibling.string() : parametersPath);
  }
  if (!ok())
    return;

  // Of the training steps only the first has stored logits.
  Tensor tokens = training ? get("tokens", {-1, -1, -1}) : get("tokens", {-1, -1});
  if (!ok())
    return;
  if (training)
    tokens = slice(tokens, 0);
  modelInput(golden_, tokens);
  readPieces();
  const ModelConfig &config = golden_.config;
  int64_t batch = golden_.batch, length = golden_.length;

  if (has("targets")) {
    Tensor targets = training ? get("targets", {-1, batch, length}) : get("targets", tokens.shape);
    if (!ok())
      return;
    golden_.targets = reference::toTokens(training ? slice(targets, 0) : targets);
    for (int64_t id : golden_.targets->ids)
      require(id == -100 || (id >= 0 && id < config.outputSize()),
              "expected targets in [0, " + std::to_string(config.outputSize()) +
                  ") or -100, found " + std::to_string(id));
  }
  std::vector<int64_t> logits{batch, length, config.outputSize()};
  for (const char *name : {"logits", "logits_parallel"})
    if (has(name))
      expect(name, Expectation::Source::Output, "logits", get(name, logits));
  if (has("loss"))
    expect("loss", Expectation::Source::Output, "loss", get("loss", {}));
  if (has("nll_plain"))
    expect("nll_plain", Expectation::Source::Output, "nll", get("nll_plain", {batch, length}));
  if (has("nll")) {
    golden_.normWindow = {size("norm_window_chunks"), size("trigger_chunks"),
                          size("chunks_per_call")};
    golden_.windowNll = get("nll", {batch, length});
    golden_.windowTolerance = tolerance_.value;
    golden_.windowMeasure = tolerance_.measure;
  }
  if (has("prompt_len")) {
    Tensor prompt = get("prompt_len", {});
    if (!ok())
      return;
    golden_.promptLength = static_cast<int64_t>(prompt[0]);
    require(golden_.promptLength >= 1 && golden_.promptLength <= length,
            "prompt_len: expected 1 to " + std::to_string(length));
    require(batch == 1, "expected one sequence to generate, found " + std::to_string(batch));
    golden_.greedy = reference::toTokens(tokens);
  }

  int64_t open = length % config.chunk_size;
  auto final = [&](const std::string &label, const std::string &state,
                   const std::vector<int64_t> &shape) {
    if (has(label))
      expect(label, Expectation::Source::State, state, get(label, shape));
  };
  for (int64_t i = 0; i < config.num_layers; ++i) {
    std::string at = "final.layer" + std::to_string(i) + ".";
    if (open) {
      final(at + "k", layerStateName(i, "mega.attention.keys"),
            {batch, open, config.num_heads, config.dz()});
      final(at + "v", layerStateName(i, "mega.attention.values"),
            {batch, open, config.num_heads, config.dv()});
    }
    final(at + "count", layerStateName(i, "mega.timenorm.count"), {batch});
    final(at + "mean", layerStateName(i, "mega.timenorm.mean"), {batch, config.norm_num_groups});
    final(at + "var", layerStateName(i, "mega.timenorm.variance"), {batch, config.norm_num_groups});
    final(at + "h", layerStateName(i, "mega.cema.h"),
          {batch, config.model_dim, config.cema_ndim, 2});
  }
  final("final.norm.count", "output.final_norm.count", {batch});
  final("final.norm.mean", "output.final_norm.mean", {batch, config.norm_num_groups});
  final("final.norm.var", "output.final_norm.variance", {batch, config.norm_num_groups});
  const std::string counts = "attn_cache_count_after_each_piece";
  if (has(counts) && !golden_.pieces.empty()) {
    Tensor each = get(counts, {static_cast<int64_t>(golden_.pieces.size())});
    for (int64_t i = 0; ok() && i < each.size(); ++i)
      expect(counts + "[" + std::to_string(i) + "]", Expectation::Source::Position, "",
             slice(each, i), i);
  }
}

/// The expected results of a checkpoint in the same folder.
void GoldenLoader::checkpoint(const std::string &parametersPath) {
  std::filesystem::path folder = std::filesystem::path(file_.path()).parent_path();
  Result<ModelConfig> config = ModelConfig::load((folder / "config.json").string());
  if (!config.isOk()) {
    status_ = config.status();
    return;
  }
  golden_.config = *config;
  readParameters(parametersPath.empty() ? (folder / "model.safetensors").string() : parametersPath);
  if (!ok())
    return;
  Tensor tokens = get("tokens", {-1, -1});
  if (!ok())
    return;
  modelInput(golden_, tokens);
  expect("logits", Expectation::Source::Output, "logits",
         get("logits", {golden_.batch, golden_.length, golden_.config.outputSize()}));
  if (has("ragged_tokens")) {
    GoldenCase ragged;
    ragged.name = golden_.name;
    ragged.kind = CaseKind::Model;
    ragged.config = golden_.config;
    Tensor raggedTokens = get("ragged_tokens", {-1, -1});
    if (!ok())
      return;
    modelInput(ragged, raggedTokens);
    Tensor logits =
        get("ragged_logits", {ragged.batch, ragged.length, golden_.config.outputSize()});
    ragged.expectations.push_back({"ragged_logits", Expectation::Source::Output, "logits", -1,
                                   logits, tolerance_.measure, tolerance_.value});
    golden_.more.push_back(std::move(ragged));
  }
  if (has("greedy_tokens")) {
    Tensor greedy = get("greedy_tokens", {1, -1}), prompt = get("greedy_prompt_len", {});
    if (!ok())
      return;
    golden_.greedy = reference::toTokens(greedy);
    golden_.promptLength = static_cast<int64_t>(prompt[0]);
    require(golden_.promptLength >= 1 && golden_.promptLength <= golden_.greedy->length,
            "greedy_prompt_len: expected 1 to " + std::to_string(golden_.greedy->length));
    for (double token : greedy.data)
      require(token >= 0 && token < golden_.config.vocab_size,
              "greedy_tokens: expected tokens in [0, " + std::to_string(golden_.config.vocab_size) +
                  ")");
  }
}

} // namespace otodus::driver

//===- GoldenLoader.cpp - What golden files share; the cases of ops --------===//

#include "GoldenLoader.h"

#include "CheckGradients.h"
#include "CheckStates.h"
#include "CheckTrain.h"

#include <nlohmann/json.hpp>

#include <filesystem>
#include <numeric>

namespace otodus::driver {

using formats::ModelConfig;
using formats::SafetensorsFile;
using reference::Parameters;
using reference::Tensor;

static std::string stemOf(const std::string &path) {
  return std::filesystem::path(path).stem().string();
}

Tensor slice(const Tensor &x, int64_t i) {
  std::vector<int64_t> shape(x.shape.begin() + 1, x.shape.end());
  int64_t n = x.size() / x.dim(0);
  auto begin = x.data.begin() + i * n;
  return Tensor(shape, std::vector<double>(begin, begin + n));
}

void GoldenLoader::readPieces() {
  std::string text = meta("pieces");
  if (text.empty())
    return;
  nlohmann::json json = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  bool good = json.is_array();
  for (size_t i = 0; good && i < json.size(); ++i) {
    good = json[i].is_number_integer() && json[i].get<int64_t>() >= 1 &&
           json[i].get<int64_t>() <= golden_.length;
    if (good)
      golden_.pieces.push_back(json[i].get<int64_t>());
  }
  good = good && std::accumulate(golden_.pieces.begin(), golden_.pieces.end(), int64_t{0}) ==
                     golden_.length;
  require(good, "metadata 'pieces': expected lengths that sum to " +
                    std::to_string(golden_.length) + ", found " + text);
}

void GoldenLoader::readConfig() {
  nlohmann::json json = nlohmann::json::parse(meta("config"), nullptr, /*allow_exceptions=*/false);
  if (!json.is_object())
    return fail(Code::Input,
                "metadata 'config': expected a JSON object, found '" + meta("config") + "'");
  // What only a whole model has is left out for blocks and layers.
  if (golden_.kind != CaseKind::Model) {
    json.emplace("num_layers", 1);
    json.emplace("vocab_size", 1);
  }
  Result<ModelConfig> config = ModelConfig::parse(json.dump(), file_.path());
  if (!config.isOk())
    return fail(Code::Input, "metadata 'config': " + config.status().message());
  golden_.config = *config;
}

void GoldenLoader::expect(const std::string &label, Expectation::Source source,
                          const std::string &name, Tensor value, int64_t piece) {
  golden_.expectations.push_back(
      {label, source, name, piece, std::move(value), tolerance_.measure, tolerance_.value});
  if (source == Expectation::Source::Position || leafOf(name) == "count") {
    golden_.expectations.back().measure = Measure::Exact;
    golden_.expectations.back().tolerance = 0;
  }
}

/// The final value `label` and, if stored, "states_" + label after each piece.
void GoldenLoader::expectState(const std::string &label, const std::string &what,
                               const std::vector<int64_t> &shape) {
  std::string name = stateOf(golden_, what).name;
  if (has(label))
    expect(label, Expectation::Source::State, name, get(label, shape));
  if (!has("states_" + label) || golden_.pieces.empty())
    return;
  std::vector<int64_t> all = shape;
  all.insert(all.begin(), static_cast<int64_t>(golden_.pieces.size()));
  Tensor states = get("states_" + label, all);
  for (size_t i = 0; ok() && i < golden_.pieces.size(); ++i)
    expect("states_" + label + "[" + std::to_string(i) + "]", Expectation::Source::State, name,
           slice(states, static_cast<int64_t>(i)), static_cast<int64_t>(i));
}

void GoldenLoader::readWeights(std::initializer_list<const char *> names,
                               std::initializer_list<std::vector<int64_t>> shapes) {
  auto shape = shapes.begin();
  for (const char *name : names)
    golden_.weights[name] = get(name, *shape++);
}

void GoldenLoader::timestepNorm() {
  Tensor x = get("x", {-1, -1, -1});
  int64_t groups = size("groups");
  if (!ok())
    return;
  int64_t batch = x.dim(0), width = x.dim(2);
  golden_.batch = batch;
  golden_.length = x.dim(1);
  golden_.config.model_dim = width;
  golden_.config.norm_num_groups = groups;
  golden_.config.norm_eps = number("eps", 1e-5);
  require(width % groups == 0, "expected groups that divide the width " + std::to_string(width) +
                                   ", found " + std::to_string(groups));
  readPieces();
  readWeights({"weight", "bias"}, {{width}, {width}});
  golden_.keepInputsF32 = golden_.name.find("_offset") != std::string::npos;
  if (golden_.keepInputsF32)
    tolerance_ = {Measure::MaxRelative, offsetTolerance(x, dtype_)};
  input("x", x);
  if (has("padding_mask"))
    input("padding_mask", get("padding_mask", {batch, golden_.length}), CaseType::Bool);
  addStates(golden_);
  reference::NormState state = reference::freshNormState(batch, groups);
  if (has("prior_mean")) {
    Tensor mean = get("prior_mean", {groups}), logv = get("prior_logv", {groups});
    if (ok())
      state = reference::freshNormState(
          batch, groups, static_cast<int64_t>(number("prior_count", 0)), &mean, &logv);
  } else if (has("prev_mean")) {
    Tensor count = get("prev_count", {batch});
    state = {{count.data.begin(), count.data.end()},
             get("prev_mean", {batch, groups}),
             get("prev_var", {batch, groups})};
  }
  if (!ok())
    return;
  setInitial(golden_, state);
  expect("y", Expectation::Source::Output, "y", get("y", x.shape));
  expectState("count", "count", {batch});
  expectState("mean", "mean", {batch, groups});
  expectState("var", "variance", {batch, groups});
}

void GoldenLoader::cema() {
  Tensor x = get("x", {-1, -1, -1}), alpha = get("alpha", {-1, -1, 1});
  if (!ok())
    return;
  int64_t width = x.dim(2), order = alpha.dim(1);
  golden_.batch = x.dim(0);
  golden_.length = x.dim(1);
  golden_.config.model_dim = width;
  golden_.config.cema_ndim = order;
  readPieces();
  readWeights({"alpha", "delta", "theta", "gamma", "omega"},
              {{width, order, 1}, {width, order, 1}, {width, 1, 1}, {width, order, 2}, {width, 1}});
  input("x", x);
  addStates(golden_);
  std::vector<int64_t> shape{golden_.batch, width, order, 2};
  golden_.states[0].initial = has("h0") ? get("h0", shape) : Tensor(shape);
  expect("y", Expectation::Source::Output, "y", get("y", x.shape));
  expectState("h", "h", shape);
}

void GoldenLoader::attention() {
  Tensor q = get("q", {-1, -1, -1});
  int64_t heads = size("heads"), chunk = size("chunk");
  if (!ok())
    return;
  int64_t batch = q.dim(0), length = q.dim(1), width = q.dim(2);
  Tensor k = get("k", q.shape), v = get("v", {batch, length, -1});
  if (!ok())
    return;
  require(width % heads == 0 && v.dim(2) % heads == 0 && width / heads % 2 == 0,
          "expected heads that divide the widths into even parts, found " + std::to_string(heads));
  if (!ok())
    return;
  golden_.batch = batch;
  golden_.length = length;
  golden_.config.num_heads = heads;
  golden_.config.z_dim = width;
  golden_.config.value_dim = v.dim(2);
  golden_.config.chunk_size = chunk;
  golden_.config.rope_base = number("rope_base", 10000);
  readPieces();
  int64_t dz = width / heads, dv = v.dim(2) / heads;
  golden_.weights["rope_freqs"] = has("rope_freqs")
                                      ? get("rope_freqs", {dz / 2})
                                      : reference::ropeFrequencies(dz, golden_.config.ropeBase());
  input("q", splitHeads(q, heads));
  input("k", splitHeads(k, heads));
  input("v", splitHeads(v, heads));
  addStates(golden_);
  expect("o", Expectation::Source::Output, "o", get("o", v.shape));
  if (has("cache_k") && length % chunk) {
    expectState("cache_k", "keys", {batch, length % chunk, heads, dz});
    expectState("cache_v", "values", {batch, length % chunk, heads, dv});
  }
  const std::string counts = "cache_counts_after_each_piece";
  if (has(counts) && !golden_.pieces.empty()) {
    Tensor each = get(counts, {static_cast<int64_t>(golden_.pieces.size())});
    for (int64_t i = 0; ok() && i < each.size(); ++i)
      expect(counts + "[" + std::to_string(i) + "]", Expectation::Source::Position, "",
             slice(each, i), i);
  }
}

void GoldenLoader::ffn() {
  Tensor y1 = get("y1", {-1, -1, -1});
  Tensor fc1 = get("param.fc1.weight", {-1, -1});
  if (!ok())
    return;
  int64_t width = y1.dim(2), hidden = fc1.dim(0);
  golden_.batch = y1.dim(0);
  golden_.length = y1.dim(1);
  golden_.config.model_dim = width;
  golden_.config.ffn_hidden_dim = hidden;
  golden_.config.swiglu = has("param.fc3.weight");
  golden_.config.rescale_nffn = has("param.alpha");
  golden_.config.norm_affine = has("param.norm.weight");
  golden_.config.norm_eps = number("eps", 1e-5);
  readPieces();
  readWeights({"param.fc1.weight", "param.fc2.weight"}, {{hidden, width}, {width, hidden}});
  if (golden_.config.norm_affine)
    readWeights({"param.norm.weight", "param.norm.bias"}, {{width}, {width}});
  if (golden_.config.swiglu)
    readWeights({"param.fc3.weight"}, {{hidden, width}});
  if (golden_.config.rescale_nffn)
    readWeights({"param.alpha"}, {{width}});
  input("y1", y1);
  input("residual", get("residual", y1.shape));
  expect("out", Expectation::Source::Output, "out", get("out", y1.shape));
}

void GoldenLoader::block() {
  readConfig();
  if (!ok())
    return;
  const ModelConfig &config = golden_.config;
  Tensor x = get("x", {-1, -1, config.model_dim});
  if (!ok())
    return;
  golden_.batch = x.dim(0);
  golden_.length = x.dim(1);
  readPieces();

  const std::string layer = "layers.0.";
  for (const formats::ExpectedTensor &expected : formats::expectedTensors(config)) {
    if (!expected.name.starts_with(layer))
      continue;
    std::string name = expected.name.substr(layer.size());
    if (golden_.kind == CaseKind::Block && !name.starts_with("mega."))
      continue;
    if (!expected.optional || has("param." + name))
      golden_.weights["param." + name] = get("param." + name, expected.shape);
  }
  golden_.weights["rope_freqs"] = has("rope_freqs")
                                      ? get("rope_freqs", {config.dz() / 2})
                                      : reference::ropeFrequencies(config.dz(), config.ropeBase());
  if (!ok())
    return;
  input("x", x);
  addStates(golden_);
  setInitial(golden_,
             reference::freshBlockState(config, golden_.batch, golden_.weights, "param.").norm);

  expect("y", Expectation::Source::Output, "y", get("y", x.shape));
  int64_t open = golden_.length % config.chunk_size, batch = golden_.batch;
  if (has("cache_count"))
    expect("cache_count", Expectation::Source::Position, "", get("cache_count", {}));
  if (has("cache_k") && open) {
    expectState("cache_k", "keys", {batch, open, config.num_heads, config.dz()});
    expectState("cache_v", "values", {batch, open, config.num_heads, config.dv()});
  }
  expectState("cache_tsn_count", "count", {batch});
  expectState("cache_tsn_mean", "mean", {batch, config.norm_num_groups});
  expectState("cache_tsn_var", "variance", {batch, config.norm_num_groups});
  expectState("cache_h", "h", {batch, config.model_dim, config.cema_ndim, 2});
}

void GoldenLoader::sampling() {
  golden_.logits = get("logits", {-1, -1});
  if (!ok())
    return;
  for (const formats::Tensor &tensor : file_.tensors()) {
    GoldenCase::Distribution d{tensor.name, {}, {}};
    size_t at = tensor.name.rfind("_t");
    if (at == std::string::npos)
      continue;
    std::string kind = tensor.name.substr(0, at);
    d.filter.temperature = std::strtod(tensor.name.c_str() + at + 2, nullptr);
    if (kind.starts_with("top_p"))
      d.filter.topP = std::strtod(kind.c_str() + 5, nullptr);
    else if (kind.starts_with("top_k"))
      d.filter.topK = std::strtol(kind.c_str() + 5, nullptr, 10);
    else if (kind.starts_with("min_p"))
      d.filter.minP = std::strtod(kind.c_str() + 5, nullptr);
    else if (kind != "probs")
      continue;
    require(d.filter.temperature > 0, tensor.name + ": expected a temperature above 0");
    d.value = get(tensor.name, golden_.logits.shape);
    golden_.distributions.push_back(std::move(d));
  }
}

void GoldenLoader::collectNotChecked() {
  for (const formats::Tensor &tensor : file_.tensors()) {
    const std::string &name = tensor.name;
    bool result = name.starts_with("grad") || name.starts_with("after3") ||
                  name.starts_with("adamw_") || name.starts_with("lr_") ||
                  name.starts_with("mid.") || name.starts_with("final.") ||
                  name.starts_with("states_") || name.starts_with("cache_") ||
                  (name.starts_with("block") && name.ends_with("_out"));
    if (result && !used_.contains(name))
      golden_.notChecked.push_back(name);
  }
}

Result<GoldenCase> GoldenLoader::load(const std::string &parametersPath) {
  golden_.name = stemOf(file_.path());
  std::string op = meta("op");
  std::optional<CaseKind> kind;
  for (CaseKind candidate :
       {CaseKind::TimestepNorm, CaseKind::Cema, CaseKind::Attention, CaseKind::Ffn, CaseKind::Block,
        CaseKind::Layer, CaseKind::Model, CaseKind::Sampling})
    if (op == nameOf(candidate))
      kind = candidate;
  bool beside =
      op.empty() &&
      std::filesystem::exists(std::filesystem::path(file_.path()).parent_path() / "config.json");
  if (beside || op == "model_stream" || op == "model_ragged" || op == "model_longeval" ||
      op == "model_generate")
    kind = CaseKind::Model;
  if (!kind)
    return Status(Code::Input, file_.path() +
                                   ": expected a golden case (metadata 'op': timestep_norm, cema, "
                                   "attention, ffn, block, layer, model, model_stream, "
                                   "model_ragged, model_longeval, model_generate or "
                                   "sampling_schedule), found " +
                                   (op.empty() ? "no 'op'" : "op '" + op + "'"));
  golden_.kind = *kind;
  golden_.config = smallestConfig();
  tolerance_ = toleranceFor(golden_.name, *kind, dtype_);
  switch (*kind) {
  case CaseKind::TimestepNorm:
    timestepNorm();
    break;
  case CaseKind::Cema:
    cema();
    break;
  case CaseKind::Attention:
    attention();
    break;
  case CaseKind::Ffn:
    ffn();
    break;
  case CaseKind::Block:
  case CaseKind::Layer:
    block();
    break;
  case CaseKind::Model:
    if (beside)
      checkpoint(parametersPath);
    else
      model(op, parametersPath);
    break;
  case CaseKind::Sampling:
    sampling();
    break;
  }
  if (!ok())
    return status_;
  OTODUS_RETURN_IF_ERROR(readGradients(file_, dtype_, golden_, used_).in(file_.path()));
  OTODUS_RETURN_IF_ERROR(readTraining(file_, dtype_, golden_, used_).in(file_.path()));
  collectNotChecked();
  return std::move(golden_);
}

Result<GoldenCase> readGoldenCase(const std::string &path, const std::string &dtype,
                                  const std::string &parametersPath) {
  Result<SafetensorsFile> file = SafetensorsFile::open(path);
  if (!file.isOk())
    return file.status();
  return GoldenLoader(std::move(*file), dtype).load(parametersPath);
}

} // namespace otodus::driver

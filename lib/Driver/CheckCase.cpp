//===- CheckCase.cpp - From a golden file to a case -------------------------===//

#include "CheckGradients.h"
#include "CheckStates.h"
#include "CheckTolerance.h"
#include "CheckTrain.h"
#include "otodus/Driver/GoldenCase.h"

#include <nlohmann/json.hpp>

#include <cstdlib>
#include <filesystem>
#include <numeric>
#include <set>

namespace otodus::driver {

using formats::ModelConfig;
using formats::SafetensorsFile;
using reference::Parameters;
using reference::Tensor;

const char *nameOf(CaseKind kind) {
  switch (kind) {
  case CaseKind::TimestepNorm:
    return "timestep_norm";
  case CaseKind::Cema:
    return "cema";
  case CaseKind::Attention:
    return "attention";
  case CaseKind::Ffn:
    return "ffn";
  case CaseKind::Block:
    return "block";
  case CaseKind::Layer:
    return "layer";
  case CaseKind::Model:
    return "model";
  case CaseKind::Sampling:
    return "sampling_schedule";
  }
  return "";
}

std::string layerStateName(int64_t layer, const std::string &what) {
  return "layers." + std::to_string(layer) + "." + what;
}

//===----------------------------------------------------------------------===//
// States
//===----------------------------------------------------------------------===//

namespace {

/// What follows the last dot.
std::string leafOf(const std::string &name) { return name.substr(name.rfind('.') + 1); }

} // namespace

ModelConfig smallestConfig() {
  ModelConfig config;
  config.num_layers = config.model_dim = config.value_dim = config.num_heads = 1;
  config.ffn_hidden_dim = config.cema_ndim = config.chunk_size = 1;
  config.vocab_size = config.norm_num_groups = 1;
  config.z_dim = 2;
  return config;
}

void addStates(GoldenCase &golden) {
  const ModelConfig &config = golden.config;
  bool whole = golden.kind == CaseKind::Block || golden.kind == CaseKind::Layer;
  auto named = [&](const char *prefix, const char *name) {
    return whole ? std::string(prefix) + name : std::string(name);
  };
  if (whole || golden.kind == CaseKind::TimestepNorm) {
    golden.states.push_back({named("mega.timenorm.", "count"), CaseType::Int64, {}, false, {}});
    for (const char *name : {"mean", "variance"})
      golden.states.push_back(
          {named("mega.timenorm.", name), CaseType::Float, {config.norm_num_groups}, false, {}});
  }
  if (whole || golden.kind == CaseKind::Cema)
    golden.states.push_back({named("mega.cema.", "h"),
                             CaseType::Float,
                             {config.model_dim, config.cema_ndim, 2},
                             false,
                             {}});
  if (whole || golden.kind == CaseKind::Attention) {
    golden.states.push_back({named("mega.attention.", "keys"),
                             CaseType::Float,
                             {config.chunk_size, config.num_heads, config.dz()},
                             true,
                             {}});
    golden.states.push_back({named("mega.attention.", "values"),
                             CaseType::Float,
                             {config.chunk_size, config.num_heads, config.dv()},
                             true,
                             {}});
  }
}

CaseState &stateOf(GoldenCase &golden, const std::string &what) {
  for (CaseState &state : golden.states)
    if (leafOf(state.name) == what)
      return state;
  std::abort(); // callers name states that addStates has made
}

Tensor countTensor(const std::vector<int64_t> &count) {
  return Tensor({static_cast<int64_t>(count.size())},
                std::vector<double>(count.begin(), count.end()));
}

void setInitial(GoldenCase &golden, const reference::NormState &state) {
  stateOf(golden, "count").initial = countTensor(state.count);
  stateOf(golden, "mean").initial = state.mean;
  stateOf(golden, "variance").initial = state.variance;
}

Tensor splitHeads(Tensor x, int64_t heads) {
  int64_t width = x.shape.back();
  x.shape.back() = heads;
  x.shape.push_back(width / heads);
  return x;
}

//===----------------------------------------------------------------------===//
// Reading
//===----------------------------------------------------------------------===//

namespace {

std::string stemOf(const std::string &path) { return std::filesystem::path(path).stem().string(); }

/// Slice i of x [n, ...].
Tensor slice(const Tensor &x, int64_t i) {
  std::vector<int64_t> shape(x.shape.begin() + 1, x.shape.end());
  int64_t n = x.size() / x.dim(0);
  auto begin = x.data.begin() + i * n;
  return Tensor(shape, std::vector<double>(begin, begin + n));
}

/// One file on its way to a case. The first error is kept; afterwards everything yields
/// empty values, and no tensor is used before `ok` was asked.
class Loader {
public:
  Loader(SafetensorsFile file, const std::string &dtype) : file_(std::move(file)), dtype_(dtype) {}

  Result<GoldenCase> load(const std::string &parametersPath);

private:
  bool ok() const { return status_.isOk(); }
  void fail(Code code, const std::string &message) {
    if (ok())
      status_ = Status(code, file_.path() + ": " + message);
  }

  bool has(const std::string &name) const { return file_.find(name); }
  Tensor get(const std::string &name) {
    const formats::Tensor *tensor = file_.find(name);
    if (!tensor) {
      fail(Code::File, "expected a tensor " + name + ", found none");
      return {};
    }
    used_.insert(name);
    Result<Tensor> value = reference::read(*tensor);
    if (value.isOk())
      return std::move(*value);
    fail(value.status().code(), value.status().message());
    return {};
  }
  /// With this shape; -1 matches any extent.
  Tensor get(const std::string &name, const std::vector<int64_t> &shape) {
    Tensor tensor = get(name);
    bool fits = tensor.shape.size() == shape.size();
    for (size_t i = 0; fits && i < shape.size(); ++i)
      fits = shape[i] == -1 ? tensor.shape[i] >= 1 : shape[i] == tensor.shape[i];
    if (!ok() || fits)
      return tensor;
    fail(Code::Input, name + ": expected shape " + formats::shapeToString(shape) +
                          " (-1: any), found " + formats::shapeToString(tensor.shape));
    return {};
  }

  std::string meta(const std::string &key) const {
    auto it = file_.metadata().find(key);
    return it == file_.metadata().end() ? "" : it->second;
  }
  double number(const std::string &key, std::optional<double> fallback = {}) {
    std::string text = meta(key);
    char *end = nullptr;
    double value = std::strtod(text.c_str(), &end);
    if (!text.empty() && !*end)
      return value;
    if (text.empty() && fallback)
      return *fallback;
    fail(Code::Input, "metadata '" + key + "': expected a number, found '" + text + "'");
    return 1;
  }
  int64_t size(const std::string &key) {
    double value = number(key);
    if (ok() && !(value >= 1 && value < 1e15))
      fail(Code::Input, "metadata '" + key + "': expected a size of 1 or more");
    return ok() ? static_cast<int64_t>(value) : 1;
  }
  void require(bool condition, const std::string &message) {
    if (!condition)
      fail(Code::Input, message);
  }

  void readPieces();
  void readConfig();
  void expect(const std::string &label, Expectation::Source source, const std::string &name,
              Tensor value, int64_t piece = -1);
  void expectState(const std::string &label, const std::string &what,
                   const std::vector<int64_t> &shape);
  void readWeights(std::initializer_list<const char *> names,
                   std::initializer_list<std::vector<int64_t>> shapes);
  void input(const std::string &name, Tensor value, CaseType type = CaseType::Float) {
    golden_.inputs.push_back({name, type, std::move(value)});
  }

  void timestepNorm();
  void cema();
  void attention();
  void ffn();
  void block();
  void model(const std::string &op, const std::string &parametersPath);
  void checkpoint(const std::string &parametersPath);
  void modelInput(GoldenCase &golden, const Tensor &tokens);
  void readParameters(const std::string &path);
  void sampling();
  void collectNotChecked();

  SafetensorsFile file_;
  std::string dtype_;
  GoldenCase golden_;
  Tolerance tolerance_;
  Status status_;
  std::set<std::string> used_;
};

void Loader::readPieces() {
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

void Loader::readConfig() {
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

void Loader::expect(const std::string &label, Expectation::Source source, const std::string &name,
                    Tensor value, int64_t piece) {
  golden_.expectations.push_back(
      {label, source, name, piece, std::move(value), tolerance_.measure, tolerance_.value});
  if (source == Expectation::Source::Position || leafOf(name) == "count") {
    golden_.expectations.back().measure = Measure::Exact;
    golden_.expectations.back().tolerance = 0;
  }
}

/// The final value `label` and, if stored, "states_" + label after each piece.
void Loader::expectState(const std::string &label, const std::string &what,
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

void Loader::readWeights(std::initializer_list<const char *> names,
                         std::initializer_list<std::vector<int64_t>> shapes) {
  auto shape = shapes.begin();
  for (const char *name : names)
    golden_.weights[name] = get(name, *shape++);
}

void Loader::timestepNorm() {
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

void Loader::cema() {
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

void Loader::attention() {
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

void Loader::ffn() {
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

void Loader::block() {
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

void Loader::modelInput(GoldenCase &golden, const Tensor &tokens) {
  golden.batch = tokens.dim(0);
  golden.length = tokens.dim(1);
  for (double token : tokens.data)
    require(token >= 0 && token < golden.config.vocab_size,
            "expected tokens in [0, " + std::to_string(golden.config.vocab_size) + "), found " +
                std::to_string(static_cast<int64_t>(token)));
  golden.inputs.push_back({"tokens", CaseType::Int32, tokens});
}

/// The parameters from `path`: names with "param." or, in a checkpoint, without.
void Loader::readParameters(const std::string &path) {
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

void Loader::model(const std::string &op, const std::string &parametersPath) {
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
void Loader::checkpoint(const std::string &parametersPath) {
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

void Loader::sampling() {
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

void Loader::collectNotChecked() {
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

Result<GoldenCase> Loader::load(const std::string &parametersPath) {
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
  OTODUS_RETURN_IF_ERROR(readGradients(file_, golden_, used_).in(file_.path()));
  OTODUS_RETURN_IF_ERROR(readTraining(file_, golden_, used_).in(file_.path()));
  collectNotChecked();
  return std::move(golden_);
}

} // namespace

Result<GoldenCase> readGoldenCase(const std::string &path, const std::string &dtype,
                                  const std::string &parametersPath) {
  Result<SafetensorsFile> file = SafetensorsFile::open(path);
  if (!file.isOk())
    return file.status();
  return Loader(std::move(*file), dtype).load(parametersPath);
}

} // namespace otodus::driver

//===- CheckRandom.cpp - Cases nobody has written down ----------------------===//

#include "CheckStates.h"
#include "CheckTolerance.h"
#include "otodus/Driver/GoldenCase.h"
#include "otodus/Formats/Random.h"

#include <algorithm>
#include <bit>
#include <cmath>

namespace otodus::driver {

using reference::Tensor;

namespace {

double roundTo(const std::string &dtype, double value) {
  float f32 = static_cast<float>(value);
  if (dtype != "bf16")
    return f32;
  uint32_t bits = std::bit_cast<uint32_t>(f32);
  bits += 0x7fff + (bits >> 16 & 1); // nearest even; no NaN comes here
  return std::bit_cast<float>(bits & 0xffff0000u);
}

/// Everything random about a case. Draws are numbered, so their order is the case.
class Generator {
public:
  Generator(CaseKind kind, uint64_t seed, const std::string &dtype)
      : seed_(seed * 16 + static_cast<uint64_t>(kind)), dtype_(dtype) {
    golden_.kind = kind;
    golden_.config = smallestConfig();
    golden_.name = std::string("random_") + nameOf(kind) + "_" + std::to_string(seed);
  }

  GoldenCase make();

private:
  double uniform() { return formats::uniform(seed_, 0, next_++); }
  /// In [low, high].
  int64_t integer(int64_t low, int64_t high) {
    return low + std::min(high - low,
                          static_cast<int64_t>(uniform() * static_cast<double>(high - low + 1)));
  }
  bool chance(double p) { return uniform() < p; }
  template <typename T> T pick(std::initializer_list<T> choices) {
    return choices.begin()[integer(0, static_cast<int64_t>(choices.size()) - 1)];
  }
  /// mean + deviation * normal, exact in f32 or, for what is bf16 there, in bf16.
  Tensor normal(std::vector<int64_t> shape, double deviation, double mean = 0,
                bool compute = false) {
    Tensor tensor(std::move(shape));
    std::vector<float> draws(tensor.size());
    formats::fillNormal(seed_, ++stream_, 0, tensor.size(), draws.data());
    for (int64_t i = 0; i < tensor.size(); ++i)
      tensor[i] = roundTo(compute ? dtype_ : "f32", mean + deviation * draws[i]);
    return tensor;
  }
  Tensor activation(int64_t width, double deviation = 1) {
    return normal({golden_.batch, golden_.length, width}, deviation, 0, /*compute=*/true);
  }
  Tensor matrix(int64_t rows, int64_t columns) {
    return normal({rows, columns}, 1 / std::sqrt(static_cast<double>(columns)), 0,
                  /*compute=*/true);
  }

  void width();
  void heads();
  void cemaWeights(const std::string &prefix, bool extreme);
  void layerWeight(const std::string &name, const std::vector<int64_t> &shape,
                   const std::string &stored);
  void timestepNorm();
  void cema();
  void attention();
  void ffn();
  void layerConfig();
  void block();
  void model();
  void split();
  std::vector<Expectation> results(const std::vector<CaseInput> &all);
  void expect();

  uint64_t seed_, next_ = 0, stream_ = 0;
  std::string dtype_;
  GoldenCase golden_;
};

/// D and a number of groups that divides it.
void Generator::width() {
  int64_t width = pick<int64_t>({20, 48, 80}), groups = 0;
  do
    groups = pick<int64_t>({1, 2, 4, 5, 8, 10, 16, 20});
  while (width % groups || width == groups);
  golden_.config.model_dim = width;
  golden_.config.norm_num_groups = groups;
}

void Generator::heads() {
  golden_.config.num_heads = pick<int64_t>({1, 2, 3});
  // Two features of a query can be near 0 together; their norm then magnifies what bf16 rounded
  // off before it, without limit.
  golden_.config.z_dim =
      golden_.config.num_heads * pick<int64_t>({dtype_ == "bf16" ? 6 : 2, 8, 10, 20});
  golden_.config.value_dim = golden_.config.num_heads * pick<int64_t>({5, 16, 27, 48});
  golden_.config.chunk_size = pick<int64_t>({1, 7, 24, 100, 300});
  golden_.config.rope_base = pick<double>({10000, 100000});
}

void Generator::timestepNorm() {
  width();
  int64_t batch = golden_.batch;
  bool offset = chance(0.25);
  if (chance(0.15) && !offset) // one feature per group: only with a prior
    golden_.config.norm_num_groups = golden_.config.model_dim;
  int64_t groups = golden_.config.norm_num_groups, width = golden_.config.model_dim;
  bool single = groups == width;
  golden_.weights["weight"] = normal({width}, 0.3);
  golden_.weights["bias"] = normal({width}, 0.3);
  double mean = 0, deviation = 1;
  if (offset) {
    golden_.name += "_offset";
    golden_.keepInputsF32 = true;
    bool far = chance(0.5);
    mean = far ? 1e3 : 100;
    deviation = far ? 1e-2 : 0.05;
    golden_.inputs.push_back(
        {"x", CaseType::Float, normal({batch, golden_.length, width}, deviation, mean)});
  } else {
    golden_.inputs.push_back({"x", CaseType::Float, activation(width)});
  }
  if (chance(0.3)) {
    Tensor mask({batch, golden_.length});
    double share = pick<double>({0.2, 0.9, 1.0});
    for (double &flag : mask.data)
      flag = chance(share);
    golden_.inputs.push_back({"padding_mask", CaseType::Bool, mask});
  }
  addStates(golden_);
  reference::NormState state = reference::freshNormState(batch, groups);
  if (single || chance(0.5)) {
    // A carried state; its count sometimes where a count of f32 would stick.
    for (int64_t &count : state.count)
      count = pick<int64_t>({3, 50, (int64_t{1} << 24) - 2});
    state.mean = normal({batch, groups}, 0.3 * deviation, mean);
    for (double &variance : state.variance.data)
      variance = roundTo("f32", deviation * deviation * (0.5 + uniform()));
  }
  setInitial(golden_, state);
}

void Generator::cemaWeights(const std::string &prefix, bool extreme) {
  int64_t width = golden_.config.model_dim, order = golden_.config.cema_ndim;
  for (const char *name : {"alpha", "delta"})
    golden_.weights[prefix + name] = normal({width, order, 1}, extreme ? 8 : 0.5);
  golden_.weights[prefix + "theta"] = normal({width, 1, 1}, extreme ? 6 : 2);
  golden_.weights[prefix + "gamma"] = normal({width, order, 2}, 1);
  golden_.weights[prefix + "omega"] = normal({width, 1}, 0.5);
}

void Generator::cema() {
  width();
  golden_.config.cema_ndim = pick<int64_t>({1, 5, 8, 16});
  cemaWeights("", chance(0.4));
  golden_.inputs.push_back({"x", CaseType::Float, activation(golden_.config.model_dim)});
  addStates(golden_);
  std::vector<int64_t> shape{golden_.batch, golden_.config.model_dim, golden_.config.cema_ndim, 2};
  golden_.states[0].initial = chance(0.5) ? normal(shape, 1) : Tensor(shape);
}

void Generator::attention() {
  heads();
  const formats::ModelConfig &config = golden_.config;
  golden_.weights["rope_freqs"] = reference::ropeFrequencies(config.dz(), config.ropeBase());
  // Scores of moderate and of large size: their deviation is the square of this. Under bf16, 3
  // would ask for too much: rounding q and k alone then costs up to 3e-2, more than the op may.
  double size = pick<double>({0.5, dtype_ == "bf16" ? 1.5 : 3}) / std::sqrt(std::sqrt(static_cast<double>(config.dz())));
  for (const char *name : {"q", "k"})
    golden_.inputs.push_back(
        {name, CaseType::Float, splitHeads(activation(config.z_dim, size), config.num_heads)});
  golden_.inputs.push_back(
      {"v", CaseType::Float, splitHeads(activation(config.value_dim), config.num_heads)});
  addStates(golden_);
}

/// `name` is the checkpoint's, `stored` the symbol's.
void Generator::layerWeight(const std::string &name, const std::vector<int64_t> &shape,
                            const std::string &stored) {
  if (golden_.weights.contains(stored))
    return;
  if (name.find(".cema.") != std::string::npos) {
    cemaWeights(stored.substr(0, stored.rfind('.') + 1), false);
  } else if (name.ends_with("nffn.alpha")) {
    golden_.weights[stored] = normal(shape, 0.3, 0.5);
  } else if (name == "embed.weight" || name.ends_with("output.weight")) {
    golden_.weights[stored] = normal(shape, name == "embed.weight" ? 1 : 0.3, 0, true);
  } else if (shape.size() == 2 && name.ends_with(".weight")) {
    golden_.weights[stored] = matrix(shape[0], shape[1]);
  } else {
    golden_.weights[stored] = normal(shape, 0.3);
  }
}

void Generator::ffn() {
  width();
  formats::ModelConfig &config = golden_.config;
  int64_t width = config.model_dim, hidden = pick<int64_t>({20, 48, 136});
  config.ffn_hidden_dim = hidden;
  golden_.weights["param.fc1.weight"] = matrix(hidden, width);
  golden_.weights["param.fc2.weight"] = matrix(width, hidden);
  if ((config.swiglu = chance(0.5)))
    golden_.weights["param.fc3.weight"] = matrix(hidden, width);
  if ((config.rescale_nffn = chance(0.3)))
    golden_.weights["param.alpha"] = normal({width}, 0.3, 0.5);
  if ((config.norm_affine = chance(0.8))) {
    golden_.weights["param.norm.weight"] = normal({width}, 0.3);
    golden_.weights["param.norm.bias"] = normal({width}, 0.3);
  }
  golden_.inputs.push_back({"y1", CaseType::Float, activation(width)});
  golden_.inputs.push_back({"residual", CaseType::Float, activation(width)});
}

void Generator::layerConfig() {
  width();
  heads();
  golden_.config.cema_ndim = pick<int64_t>({1, 5, 8});
  golden_.config.ffn_hidden_dim = pick<int64_t>({20, 48, 136});
  golden_.config.swiglu = chance(0.5);
  golden_.config.rescale_nffn = chance(0.3);
  golden_.config.norm_affine = chance(0.8);
}

void Generator::block() {
  layerConfig();
  const formats::ModelConfig &config = golden_.config;
  const std::string layer = "layers.0.";
  for (const formats::ExpectedTensor &expected : formats::expectedTensors(config)) {
    if (!expected.name.starts_with(layer) || expected.optional)
      continue;
    std::string name = expected.name.substr(layer.size());
    if (golden_.kind == CaseKind::Layer || name.starts_with("mega."))
      layerWeight(expected.name, expected.shape, "param." + name);
  }
  golden_.weights["rope_freqs"] = reference::ropeFrequencies(config.dz(), config.ropeBase());
  golden_.inputs.push_back({"x", CaseType::Float, activation(config.model_dim)});
  addStates(golden_);
  setInitial(golden_, reference::freshNormState(golden_.batch, config.norm_num_groups));
}

void Generator::model() {
  layerConfig();
  formats::ModelConfig &config = golden_.config;
  config.num_layers = pick<int64_t>({1, 2, 3});
  config.vocab_size = pick<int64_t>({61, 128});
  config.scale_emb = chance(0.3);
  config.share_emb = chance(0.3);
  if (!config.share_emb && chance(0.3))
    config.output_size = 45;
  for (const formats::ExpectedTensor &expected : formats::expectedTensors(config))
    if (!expected.optional)
      layerWeight(expected.name, expected.shape, expected.name);
  Tensor tokens({golden_.batch, golden_.length});
  for (double &token : tokens.data)
    token = static_cast<double>(integer(0, config.vocab_size - 1));
  golden_.inputs.push_back({"tokens", CaseType::Int32, tokens});
}

/// Up to eight cuts anywhere, single steps among them.
void Generator::split() {
  std::vector<int64_t> cuts{0, golden_.length};
  for (int64_t i = integer(1, 6); i > 0; --i) {
    int64_t cut = integer(0, golden_.length);
    cuts.push_back(cut);
    if (chance(0.4))
      cuts.push_back(std::min(cut + 1, golden_.length));
  }
  std::sort(cuts.begin(), cuts.end());
  for (size_t i = 1; i < cuts.size(); ++i)
    if (cuts[i] > cuts[i - 1])
      golden_.pieces.push_back(cuts[i] - cuts[i - 1]);
}

/// What the reference computes from these inputs.
std::vector<Expectation> Generator::results(const std::vector<CaseInput> &all) {
  Tolerance tolerance = toleranceFor(golden_.name, golden_.kind, dtype_);
  if (golden_.keepInputsF32)
    tolerance = {Measure::MaxRelative, offsetTolerance(golden_.inputs[0].value, dtype_)};
  // Runs by the reference cannot fail: the case was made to be valid.
  auto program = referenceRunner()->compile(golden_, "", dtype_);
  auto session = (*program)->start(golden_.batch, 0);
  for (const CaseState &state : golden_.states)
    if (state.initial)
      (void)(*session)->setState(state.name, state.type, *state.initial);
  std::vector<Expectation> states;
  std::map<std::string, std::vector<Tensor>> outputs;
  int64_t begin = 0;
  for (size_t i = 0; i < golden_.pieces.size(); ++i) {
    std::vector<CaseInput> inputs;
    int64_t end = begin + golden_.pieces[i];
    for (const CaseInput &input : all)
      inputs.push_back({input.name, input.type, reference::steps(input.value, begin, end)});
    std::map<std::string, Tensor> results;
    (void)(*session)->run(inputs, results);
    for (auto &[name, value] : results)
      outputs[name].push_back(std::move(value));
    begin = end;
    for (const CaseState &state : golden_.states) {
      Tensor value = *(*session)->state(state.name);
      int64_t open = end % golden_.config.chunk_size;
      if (state.openChunk)
        value = reference::steps(value, 0, open);
      if (!value.size())
        continue;
      bool last = i + 1 == golden_.pieces.size(), count = state.type == CaseType::Int64;
      states.push_back({last ? state.name : state.name + "[" + std::to_string(i) + "]",
                        Expectation::Source::State, state.name, last ? -1 : static_cast<int64_t>(i),
                        value, count ? Measure::Exact : tolerance.measure,
                        count ? 0 : tolerance.value});
    }
  }
  std::vector<Expectation> found;
  for (const auto &[name, values] : outputs)
    found.push_back({name, Expectation::Source::Output, name, -1, reference::joinSteps(values),
                     tolerance.measure, tolerance.value});
  found.insert(found.end(), states.begin(), states.end());
  return found;
}

void Generator::expect() {
  golden_.expectations = results(golden_.inputs);
}

GoldenCase Generator::make() {
  golden_.batch = pick<int64_t>({1, 2, 3});
  golden_.length = pick<int64_t>({1, 2, 37, 211, 290, 513});
  switch (golden_.kind) {
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
  case CaseKind::Sampling:
    model();
    break;
  }
  split();
  expect();
  return std::move(golden_);
}

} // namespace

GoldenCase randomCase(CaseKind kind, uint64_t seed, const std::string &dtype) {
  return Generator(kind == CaseKind::Sampling ? CaseKind::Model : kind, seed, dtype).make();
}

} // namespace otodus::driver

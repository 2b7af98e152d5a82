//===- VariantsTest.cpp - Every kernel that a schedule can choose ----------===//
//
// Small models of every shape that changes a kernel, at batch sizes and lengths that together
// run every variant of every launch. The profile of the sessions shows which variants ran; one
// that never did fails the test. Results are lib/Reference's.
//
//===----------------------------------------------------------------------===//

#include "OpenModel.h"
#include "otodus/Driver/GoldenCase.h"
#include "otodus/Formats/Random.h"
#include "otodus/Reference/Reference.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <filesystem>
#include <iostream>
#include <map>
#include <set>
#include <string>

#include <unistd.h>

using namespace otodus;
using namespace otodus::driver;
using formats::ModelConfig;
using reference::Tensor;
using reference::Tokens;

namespace {

//===----------------------------------------------------------------------===//
// Models
//===----------------------------------------------------------------------===//

struct Shape {
  const char *name;
  ModelConfig config;
};

ModelConfig base() {
  ModelConfig config;
  config.num_layers = 1;
  config.model_dim = 64;
  config.z_dim = 32;
  config.value_dim = 64;
  config.num_heads = 1;
  config.ffn_hidden_dim = 96;
  config.cema_ndim = 4;
  config.chunk_size = 320;
  config.vocab_size = 50;
  config.norm_num_groups = 4;
  return config;
}

/// One head, swiglu and rescaling, a shared and scaled embedding, several column blocks.
Shape oneHead() {
  ModelConfig config = base();
  config.ffn_hidden_dim = 544; // three column blocks, the last smaller
  config.swiglu = config.rescale_nffn = config.share_emb = config.scale_emb = true;
  return {"one_head", config};
}

/// Two heads whose values are cut into shares of columns; no affine norms, two layers.
Shape twoHeads() {
  ModelConfig config = base();
  config.num_layers = 2;
  config.num_heads = 2;
  config.z_dim = 48;
  config.value_dim = 2 * 1024;
  config.norm_affine = false;
  return {"two_heads", config};
}

/// Three heads of widths that are no multiple of a lane block, a short chunk, wide logits.
Shape threeHeads() {
  ModelConfig config = base();
  config.model_dim = 80;
  config.norm_num_groups = 5;
  config.num_heads = 3;
  config.z_dim = 30;
  config.value_dim = 81;
  config.ffn_hidden_dim = 272;
  config.chunk_size = 100;
  config.output_size = 300;
  config.rescale_nffn = true;
  config.cema_ndim = 5;
  config.rope_base = 100000;
  return {"three_heads", config};
}

/// What the compiled model gets to see of a weight.
double rounded(double value, const std::string &dtype) {
  float f32 = static_cast<float>(value);
  if (dtype == "f32")
    return f32;
  uint32_t bits = std::bit_cast<uint32_t>(f32);
  bits += 0x7fff + (bits >> 16 & 1);
  return std::bit_cast<float>(bits & 0xffff0000u);
}

reference::Parameters weightsOf(const ModelConfig &config, const std::string &dtype) {
  reference::Parameters weights;
  uint64_t stream = 0;
  for (const formats::ExpectedTensor &expected : formats::expectedTensors(config)) {
    if (expected.optional)
      continue;
    Tensor tensor(expected.shape);
    std::vector<float> draws(static_cast<size_t>(tensor.size()));
    formats::fillNormal(11, ++stream, 0, tensor.size(), draws.data());
    bool cema = expected.name.find(".cema.") != std::string::npos;
    bool matrix = !cema && expected.shape.size() == 2;
    double deviation = 0.3, mean = 0;
    if (cema)
      deviation = 0.7;
    else if (expected.name.starts_with("embed"))
      deviation = 1;
    else if (matrix)
      deviation = 1 / std::sqrt(static_cast<double>(expected.shape.back()));
    else if (expected.name.ends_with("nffn.alpha"))
      mean = 0.5;
    for (int64_t i = 0; i < tensor.size(); ++i)
      tensor[i] = rounded(mean + deviation * draws[static_cast<size_t>(i)], matrix ? dtype : "f32");
    weights[expected.name] = std::move(tensor);
  }
  return weights;
}

std::unique_ptr<runtime::MemoryWeights> sourceOf(const reference::Parameters &weights,
                                                 std::vector<std::string> &names) {
  auto source = std::make_unique<runtime::MemoryWeights>();
  for (const auto &[name, value] : weights) {
    formats::Tensor tensor;
    tensor.name = name;
    tensor.type = formats::TensorType::F64;
    tensor.shape = value.shape;
    tensor.data = reinterpret_cast<const uint8_t *>(value.data.data());
    tensor.bytes = value.data.size() * sizeof(double);
    names.push_back(name);
    source->add(std::move(tensor));
  }
  return source;
}

Tokens someTokens(int64_t batch, int64_t length, int64_t vocabulary) {
  Tokens tokens{batch, length, {}};
  for (int64_t i = 0; i < batch * length; ++i)
    tokens.ids.push_back(static_cast<int64_t>(
        formats::uniform(5, static_cast<uint64_t>(length), static_cast<uint64_t>(i)) *
        static_cast<double>(vocabulary)));
  return tokens;
}

std::unique_ptr<runtime::Session> start(const LoadedModel &loaded, int64_t batch) {
  runtime::SessionOptions options;
  options.batch = batch;
  options.pool = loaded.pool;
  auto session = runtime::Session::create(loaded.model, options);
  if (!session.isOk()) {
    ADD_FAILURE() << session.status().message();
    return nullptr;
  }
  (*session)->setProfiling(true);
  return std::move(*session);
}

/// Logits of `function` over the next steps; empty after an error.
Tensor call(runtime::Session &session, const std::string &function, const std::string &output,
            const Tokens &tokens, int64_t rows, int64_t width) {
  Tensor result({tokens.batch, rows, width});
  std::vector<float> values(static_cast<size_t>(result.size()), std::nanf(""));
  Status status = session.run(
      function,
      {{"tokens", {formats::DType::I64, {tokens.batch, tokens.length}, tokens.ids.data()}}},
      {{output, {formats::DType::F32, result.shape, values.data()}}});
  if (!status.isOk()) {
    ADD_FAILURE() << status.message();
    return {};
  }
  std::copy(values.begin(), values.end(), result.data.begin());
  return result;
}

/// (function, launch) -> row tiles that ran.
using Executed = std::map<std::pair<std::string, std::string>, std::set<int64_t>>;

void collect(const runtime::Session &session, Executed &executed) {
  for (const runtime::LaunchProfile &entry : session.profile())
    executed[{entry.function, entry.launch}].insert(entry.rowTile);
}

//===----------------------------------------------------------------------===//
// Every variant
//===----------------------------------------------------------------------===//

struct Parameter {
  Shape shape;
  std::string target, dtype;
};

/// What GoogleTest says of a parameter; without it, its bytes.
void PrintTo(const Parameter &parameter, std::ostream *out) {
  *out << parameter.shape.name << " on " << parameter.target << ", " << parameter.dtype;
}

class Variants : public testing::TestWithParam<Parameter> {};

TEST_P(Variants, AllRunAndAgreeWithTheReference) {
  const Parameter &parameter = GetParam();
  const ModelConfig &config = parameter.shape.config;
  reference::Parameters weights = weightsOf(config, parameter.dtype);
  Result<reference::Model> model = reference::Model::create(config, weights);
  ASSERT_TRUE(model.isOk()) << model.status().message();

  ModelFlags flags;
  flags.target = parameter.target;
  flags.dtype = parameter.dtype;
  // Warps with roles in another order than usual, and copies that land early or late.
  if (parameter.target == "sim:sm_90a")
    flags.sim = "order=random:3,async=mixed:5";
  std::vector<std::string> names;
  auto source = sourceOf(weights, names);
  Result<LoadedModel> loaded = openConfig(config, parameter.shape.name, names, *source, flags);
  if (!loaded.isOk() && loaded.status().code() == Code::Target)
    GTEST_SKIP() << loaded.status().message();
  ASSERT_TRUE(loaded.isOk()) << loaded.status().message();
  Result<TokenFunctions> functions = findTokenFunctions(*loaded->model, parameter.shape.name);
  ASSERT_TRUE(functions.isOk()) << functions.status().message();

  Measure measure = parameter.dtype == "f32" ? Measure::MaxRelative : Measure::RelativeRms;
  double tolerance = parameter.dtype == "f32" ? 1e-5 : 4e-2;
  std::vector<std::pair<int64_t, int64_t>> sizes = {
      {1, 1},  {1, 2}, {1, 3},  {1, 4},  {1, 11},  {1, 12},  {1, 13}, {1, 49},
      {1, 97}, {3, 1}, {3, 33}, {4, 1},  {5, 7},   {12, 1},  {13, 3}, {1, 290},
      {3, 290}, {1, 330},
  };
  // Each size takes a simulator seconds, and a GPU has other row tiles: the last step of as many
  // sequences as a large one has rows.
  if (parameter.target.starts_with("sim:"))
    sizes = {{1, 1}, {4, 1}, {1, 13}, {1, 64}, {13, 3}, {384, 1}, {1, 290}};
  Executed executed;
  for (auto [batch, length] : sizes) {
    SCOPED_TRACE(std::to_string(batch) + " sequences of " + std::to_string(length));
    Tokens tokens = someTokens(batch, length, config.vocab_size);
    reference::ModelState state = model->freshState(batch);
    Result<Tensor> expected = model->forward(tokens, state);
    ASSERT_TRUE(expected.isOk()) << expected.status().message();
    int64_t width = config.outputSize();

    auto session = start(*loaded, batch);
    ASSERT_TRUE(session);
    Tensor all = call(*session, functions->all, functions->allOutput, tokens, length, width);
    EXPECT_LE(measureError(measure, all, *expected), tolerance);
    collect(*session, executed);

    auto fresh = start(*loaded, batch);
    Tensor last = call(*fresh, functions->last, functions->lastOutput, tokens, 1, width);
    EXPECT_LE(measureError(measure, last, reference::steps(*expected, length - 1, length)),
              tolerance);
    // Both left the same behind: the next step agrees.
    Tokens next = someTokens(batch, 1, config.vocab_size);
    Result<Tensor> after = model->forward(next, state);
    ASSERT_TRUE(after.isOk());
    EXPECT_LE(measureError(measure,
                           call(*fresh, functions->last, functions->lastOutput, next, 1, width),
                           *after),
              tolerance);
    collect(*fresh, executed);
  }

  std::string missing;
  for (const formats::Function &function : loaded->model->program().functions)
    for (const formats::Launch &launch : function.launches) {
      const std::set<int64_t> &tiles = executed[{function.name, launch.name}];
      std::string line;
      for (const formats::Variant &variant : launch.variants) {
        line += " " + std::to_string(variant.rowTile);
        if (!tiles.contains(variant.rowTile)) {
          line += "(never)";
          missing += function.name + "/" + launch.name + " with row tile " +
                     std::to_string(variant.rowTile) + "\n";
        }
      }
      std::cout << "  " << function.name << "/" << launch.name << ":" << line << "\n";
    }
  EXPECT_EQ(missing, "") << "variants that no size has run";
}

std::vector<Parameter> parameters() {
  std::vector<Parameter> result;
  for (const Shape &shape : {oneHead(), twoHeads(), threeHeads()})
    for (const char *target : {"cpu", "cpu:x86-64-v3", "sim:sm_80", "sim:sm_90a"})
      for (const char *dtype : {"f32", "bf16"})
        // f32 kernels of the two chips are the same.
        if (std::string(target) != "sim:sm_90a" || std::string(dtype) == "bf16")
          result.push_back({shape, target, dtype});
  return result;
}

INSTANTIATE_TEST_SUITE_P(Shapes, Variants, testing::ValuesIn(parameters()), [](const auto &info) {
  const std::string &target = info.param.target; // its last part: cpu, v3, 80, 90a
  return std::string(info.param.shape.name) + "_" +
         target.substr(target.find_last_of("-_") + 1) + "_" + info.param.dtype;
});

//===----------------------------------------------------------------------===//
// Counts beyond the integers of f32
//===----------------------------------------------------------------------===//

constexpr int64_t kFar = (int64_t{1} << 24) - 2; ///< f32 counts no further than 2^24

std::string temporaryFile(const std::string &name) {
  return (std::filesystem::temp_directory_path() / ("otodus-" + name + std::to_string(getpid())))
      .string();
}

/// The same streams in a new session, by way of a state file.
std::unique_ptr<runtime::Session> reopened(const LoadedModel &loaded,
                                           const runtime::Session &session) {
  std::string path = temporaryFile("counts");
  Status saved = session.save(path);
  EXPECT_TRUE(saved.isOk()) << saved.message();
  auto other = start(loaded, session.batch());
  Status restored = other->restore(path);
  EXPECT_TRUE(restored.isOk()) << restored.message();
  std::filesystem::remove(path);
  return other;
}

TEST(Counts, PassTwoToThe24InTheNorm) {
  // A case with its states; their values are replaced.
  GoldenCase golden;
  for (uint64_t seed = 1;; ++seed) {
    golden = randomCase(CaseKind::TimestepNorm, seed, "f32");
    if (golden.inputs.size() == 1 && golden.length >= 37 && !golden.keepInputsF32)
      break;
  }
  int64_t batch = golden.batch, groups = golden.config.norm_num_groups;
  std::vector<std::string> names;
  auto source = sourceOf(golden.weights, names);
  Result<LoadedModel> loaded = openModuleText(moduleFor(golden, "f32"), "norm", *source, {});
  ASSERT_TRUE(loaded.isOk()) << loaded.status().message();

  reference::NormState state = reference::freshNormState(batch, groups);
  std::vector<int64_t> counts(static_cast<size_t>(batch), kFar);
  state.count = counts;
  std::vector<float> means(state.mean.data.size(), 0.25f), variances(means.size(), 2.0f);
  std::fill(state.mean.data.begin(), state.mean.data.end(), 0.25);
  std::fill(state.variance.data.begin(), state.variance.data.end(), 2.0);
  auto session = start(*loaded, batch);
  ASSERT_TRUE(session);
  using formats::DType;
  for (auto [name, view] : std::initializer_list<std::pair<const char *, runtime::TensorView>>{
           {"count", {DType::I64, {batch}, counts.data()}},
           {"mean", {DType::F32, {batch, groups}, means.data()}},
           {"variance", {DType::F32, {batch, groups}, variances.data()}}}) {
    Status status = session->setState(name, view);
    ASSERT_TRUE(status.isOk()) << status.message();
  }
  int64_t seen = 0;
  for (int64_t piece : {1, 1, 1, 5, 20}) { // the third step is the one that sticks in f32
    Tensor x = reference::steps(golden.inputs[0].value, seen, seen + piece);
    Tensor expected = reference::timestepNorm(x, golden.weights.at("weight"),
                                              golden.weights.at("bias"), state, groups,
                                              golden.config.norm_eps);
    std::vector<float> in(x.data.begin(), x.data.end()), out(in.size());
    Status status = session->run("forward", {{"x", {DType::F32, x.shape, in.data()}}},
                                 {{"y", {DType::F32, x.shape, out.data()}}});
    ASSERT_TRUE(status.isOk()) << status.message();
    seen += piece;
    Tensor found(x.shape, std::vector<double>(out.begin(), out.end()));
    EXPECT_LE(measureError(Measure::MaxRelative, found, expected), 5e-6);
    session = reopened(*loaded, *session);
    Result<runtime::Tensor> count = session->state("count");
    ASSERT_TRUE(count.isOk()) << count.status().message();
    for (int64_t b = 0; b < batch; ++b)
      EXPECT_EQ(count->as<int64_t>()[b], kFar + seen);
  }
}

TEST(Counts, PassTwoToThe24InAModel) {
  ModelConfig config = base();
  config.num_layers = 2;
  config.chunk_size = 47; // divides 2^24 - 2: the stream stands at the start of a chunk
  ASSERT_EQ(kFar % config.chunk_size, 0);
  reference::Parameters weights = weightsOf(config, "f32");
  Result<reference::Model> model = reference::Model::create(config, weights);
  ASSERT_TRUE(model.isOk()) << model.status().message();
  std::vector<std::string> names;
  auto source = sourceOf(weights, names);
  Result<LoadedModel> loaded = openConfig(config, "model", names, *source, {});
  ASSERT_TRUE(loaded.isOk()) << loaded.status().message();
  Result<TokenFunctions> functions = findTokenFunctions(*loaded->model, "model");
  ASSERT_TRUE(functions.isOk());

  const int64_t batch = 2;
  reference::ModelState state = model->freshState(batch);
  auto session = start(*loaded, batch);
  ASSERT_TRUE(session);
  std::vector<int64_t> counts(batch, kFar);
  state.position = counts;
  ASSERT_TRUE(session->setPositions(counts).isOk());
  std::vector<std::string> countNames = {"output.final_norm.count"};
  state.finalNorm.count = counts;
  for (int64_t i = 0; i < config.num_layers; ++i) {
    state.blocks[static_cast<size_t>(i)].norm.count = counts;
    countNames.push_back(layerStateName(i, "mega.timenorm.count"));
  }
  for (const std::string &name : countNames) {
    Status status = session->setState(name, {formats::DType::I64, {batch}, counts.data()});
    ASSERT_TRUE(status.isOk()) << status.message();
  }
  int64_t seen = 0, width = config.outputSize();
  for (int64_t piece : {1, 1, 1, 30, 60}) { // the last crosses a chunk
    Tokens tokens = someTokens(batch, piece, config.vocab_size);
    Result<Tensor> expected = model->forward(tokens, state);
    ASSERT_TRUE(expected.isOk()) << expected.status().message();
    Tensor found = call(*session, functions->all, functions->allOutput, tokens, piece, width);
    EXPECT_LE(measureError(Measure::MaxRelative, found, *expected), 1e-5);
    seen += piece;
    session = reopened(*loaded, *session);
    EXPECT_EQ(session->positions(), std::vector<int64_t>(batch, kFar + seen));
    for (const std::string &name : countNames) {
      Result<runtime::Tensor> count = session->state(name);
      ASSERT_TRUE(count.isOk()) << count.status().message();
      for (int64_t b = 0; b < batch; ++b)
        EXPECT_EQ(count->as<int64_t>()[b], kFar + seen) << name;
    }
  }
}

} // namespace

//===- ModelConfigTest.cpp -------------------------------------------------===//

#include "otodus/Formats/ModelConfig.h"

#include "TestSupport.h"

#include <set>

using namespace otodus;
using namespace otodus::formats;
using namespace otodus::test;

namespace {
const char *const kTiny = R"({
 "model": {
  "num_layers": 2, "model_dim": 32, "z_dim": 16, "value_dim": 64, "num_heads": 2,
  "ffn_hidden_dim": 48, "cema_ndim": 8, "chunk_size": 8, "efficient_attn": null,
  "init_mode": "he", "vocab_size": 128, "output_size": -1, "norm_num_groups": 4,
  "norm_affine": true, "norm_eps": 1e-05, "rope_base": null, "dropout": 0.0,
  "hidden_dropout": 0.0, "attention_dropout": 0.0, "swiglu": true, "rescale_nffn": false,
  "scale_emb": false, "share_emb": false, "layerwise_ckpt": false
 },
 "tokenizer": {"path": "tok.model", "additional_vocab_size": 0, "data_tokenized": true},
 "model_parallel_size": 1, "slurm": {"world_size": 1}
})";

ModelConfig tiny() { return *ModelConfig::parse(kTiny, "config.json"); }

void refused(const std::string &text, const std::vector<std::string> &parts) {
  expectError(ModelConfig::parse(text, "config.json").status(), Code::Input, parts);
}
} // namespace

TEST(ModelConfig, ReadsTheReferenceLayout) {
  Result<ModelConfig> config = ModelConfig::parse(kTiny, "config.json");
  ASSERT_TRUE(config.isOk()) << config.status().message();
  EXPECT_EQ(config->num_layers, 2);
  EXPECT_EQ(config->dz(), 8);
  EXPECT_EQ(config->dv(), 32);
  EXPECT_EQ(config->groupSize(), 8);
  EXPECT_EQ(config->outputSize(), 128);
  EXPECT_EQ(config->ropeBase(), 10000);
  EXPECT_TRUE(config->swiglu);
  EXPECT_EQ(config->tokenizer.path, "tok.model");
  EXPECT_TRUE(config->tokenizer.data_tokenized);
}

TEST(ModelConfig, ReadsABareModelWithDefaults) {
  Result<ModelConfig> config = ModelConfig::parse(R"({"vocab_size": 300})", "c");
  ASSERT_TRUE(config.isOk()) << config.status().message();
  EXPECT_EQ(config->num_layers, 8);
  EXPECT_EQ(config->model_dim, 1024);
  EXPECT_EQ(config->chunk_size, 2048);
  EXPECT_EQ(config->norm_num_groups, 32);
  EXPECT_TRUE(config->norm_affine);
  EXPECT_FALSE(config->tokenizer.path);
}

TEST(ModelConfig, JsonRoundTrip) {
  ModelConfig config = tiny();
  config.rope_base = 1e5;
  config.efficient_attn = "fused";
  config.dropout = 0.25;
  std::string text = config.toJson();
  Result<ModelConfig> again = ModelConfig::parse(text, "c");
  ASSERT_TRUE(again.isOk()) << again.status().message();
  EXPECT_EQ(again->toJson(), text);
  EXPECT_EQ(again->rope_base, 1e5);
  EXPECT_EQ(again->efficient_attn, "fused");
  EXPECT_EQ(again->tokenizer.path, "tok.model");
}

TEST(ModelConfig, PresetsHaveTheirParameterCounts) {
  const std::pair<const char *, int64_t> totals[] = {
      {"mega200M", 220627968},       {"mega1.3B", 1342832640},  {"mega1.3B_pg19", 1327628288},
      {"mega7.1B", 7117381632},      {"mega7.3B", 7385817088},  {"paper-7B", 7385817088}};
  ASSERT_EQ(presets().size(), 6u);
  for (auto [name, total] : totals) {
    Result<ModelConfig> config = findPreset(name);
    ASSERT_TRUE(config.isOk()) << name;
    EXPECT_TRUE(config->validate().isOk()) << config->validate().message();
    EXPECT_EQ(config->parameterCount(), total) << name;
    // The same number from the list of tensors.
    int64_t sum = 0;
    for (const ExpectedTensor &tensor : expectedTensors(*config))
      if (!tensor.optional) {
        int64_t elements = 1;
        for (int64_t extent : tensor.shape)
          elements *= extent;
        sum += elements;
      }
    EXPECT_EQ(sum, total) << name;
  }
  EXPECT_EQ(findPreset("paper-7B")->ropeBase(), 1e5);
  EXPECT_EQ(findPreset("paper-7B")->chunk_size, 4096);
  expectError(findPreset("mega200").status(), Code::Usage,
              {"'mega200'", "did you mean 'mega200M'?", "paper-7B"});
}

TEST(ModelConfig, CountsMatchTensorsWithoutAffineNorms) {
  ModelConfig config = tiny();
  config.norm_affine = false;
  config.rescale_nffn = true;
  int64_t sum = 0;
  for (const ExpectedTensor &tensor : expectedTensors(config))
    if (!tensor.optional) {
      int64_t elements = 1;
      for (int64_t extent : tensor.shape)
        elements *= extent;
      sum += elements;
    }
  EXPECT_EQ(sum, config.parameterCount());
}

TEST(ModelConfig, InvalidJson) {
  refused("{\n  \"model\": {,}\n}", {"config.json:2:13", "invalid JSON"});
  refused("", {"config.json:1:1", "invalid JSON"});
  refused("{\"model\": {\"norm_eps\": 1e999}}", {"config.json:1:", "number overflow"});
  refused("[1]", {"'model' object", "an array"});
  refused("{}", {"no 'model' object"});
  refused(R"({"model": 3})", {"'model' must be an object"});
  refused(R"({"model": {"vocab_size": 1, "vocab_size": 2}})", {"'vocab_size' appears twice"});
}

TEST(ModelConfig, AllBrokenConstraintsTogether) {
  refused(R"({"model": {"num_heads": 3, "z_dim": 10, "value_dim": 10, "model_dim": 20,
              "norm_num_groups": 6, "vocab_size": 0, "dropout": 1.0, "hidden_dropout": -0.1}})",
          {"6 problems", "num_heads = 3 must divide z_dim = 10",
           "num_heads = 3 must divide value_dim = 10", "norm_num_groups = 6 must divide model_dim",
           "vocab_size must be at least 1, found 0", "dropout must be in [0, 1), found 1.0",
           "hidden_dropout must be in [0, 1), found -0.1", "config.json: "});
  refused(R"({"model": {"vocab_size": 5, "num_heads": 2, "z_dim": 6}})",
          {"z_dim / num_heads = 3 must be even"});
  refused(R"({"model": {"num_layers": 3}})", {"vocab_size is missing"});
  refused(R"({"model": {"vocab_size": 5, "share_emb": true, "output_size": 6}})",
          {"share_emb needs output_size = vocab_size = 5, found 6"});
  refused(R"({"model": {"vocab_size": 5, "init_mode": "hee", "efficient_attn": "x",
              "norm_eps": 0, "rope_base": -1}})",
          {"init_mode must be", "efficient_attn must be", "norm_eps must be", "rope_base must be"});
}

TEST(ModelConfig, NegativeAndHugeSizes) {
  refused(R"({"model": {"vocab_size": 5, "num_layers": -3}})", {"num_layers must be at least 1"});
  refused(R"({"model": {"vocab_size": 1099511627776, "model_dim": 1099511627776}})",
          {"vocab_size x model_dim overflows", "model_dim x model_dim overflows"});
  refused(R"({"model": {"vocab_size": 5, "num_layers": 1099511627776}})",
          {"the model overflows"});
  refused(R"({"model": {"vocab_size": 18446744073709551615}})", {"is too large"});
  refused(R"({"model": {"vocab_size": 9223372036854775807}})", {"is too large"});
}

TEST(ModelConfig, WrongTypesAndUnknownKeys) {
  refused(R"({"model": {"vocab_size": "5", "swiglu": 1, "dropout": null, "num_layers": 2.5,
              "init_mode": 3, "rope_base": "a", "efficient_attn": 1}})",
          {"model.vocab_size must be an integer, found a string",
           "model.swiglu must be true or false, found an integer",
           "model.dropout must be a number, found null",
           "model.num_layers must be an integer, found a fraction",
           "model.init_mode must be a string", "model.rope_base must be a number or null",
           "model.efficient_attn must be a string or null"});
  refused(R"({"model": {"vocab_size": 5, "num_layer": 3, "zzzzzzz": 1}})",
          {"unknown key 'model.num_layer'; did you mean 'num_layers'?",
           "unknown key 'model.zzzzzzz'"});
  refused(R"({"vocab_size": 5, "chunksize": 3})", {"did you mean 'chunk_size'?"});
  refused(R"({"model": {"vocab_size": 5}, "tokenizer": {"path": 1}})",
          {"tokenizer.path must be a string or null"});
}

TEST(ModelConfig, MissingFile) {
  expectError(ModelConfig::load("/no/such/config.json").status(), Code::File, {"cannot open"});
}

TEST(ExpectedTensors, FollowTheSpecification) {
  ModelConfig config = tiny();
  config.rescale_nffn = true;
  std::map<std::string, std::vector<int64_t>> shapes;
  std::set<std::string> optional;
  for (const ExpectedTensor &tensor : expectedTensors(config)) {
    EXPECT_TRUE(shapes.emplace(tensor.name, tensor.shape).second) << tensor.name;
    if (tensor.optional)
      optional.insert(tensor.name);
  }
  EXPECT_EQ(shapes.size(), 2u + 2 * 28 + 6);
  EXPECT_EQ(shapes.at("embed.weight"), (std::vector<int64_t>{128, 32}));
  EXPECT_EQ(shapes.at("rope.freqs"), (std::vector<int64_t>{4}));
  EXPECT_EQ(shapes.at("layers.1.mega.cema.gamma"), (std::vector<int64_t>{32, 8, 2}));
  EXPECT_EQ(shapes.at("layers.1.mega.cema.theta"), (std::vector<int64_t>{32, 1, 1}));
  EXPECT_EQ(shapes.at("layers.0.mega.wh2.weight"), (std::vector<int64_t>{32, 64}));
  EXPECT_EQ(shapes.at("layers.0.mega.beta"), (std::vector<int64_t>{2, 16}));
  EXPECT_EQ(shapes.at("layers.0.nffn.fc3.weight"), (std::vector<int64_t>{48, 32}));
  EXPECT_EQ(shapes.at("layers.0.nffn.fc2.weight"), (std::vector<int64_t>{32, 48}));
  EXPECT_EQ(shapes.at("layers.0.nffn.alpha"), (std::vector<int64_t>{32}));
  EXPECT_EQ(shapes.at("output.final_norm.prior_count"), (std::vector<int64_t>{}));
  EXPECT_TRUE(optional.count("rope.freqs"));
  EXPECT_TRUE(optional.count("layers.0.mega.timenorm.prior_mean"));
  EXPECT_FALSE(optional.count("output.output.weight"));
  EXPECT_EQ(optional.size(), 1u + 3 * 3);
}

TEST(CheckTensors, ListsEverythingAtOnce) {
  TemporaryFolder folder;
  ModelConfig config = tiny();
  std::vector<TensorSpec> specs;
  std::vector<char> zeros(1 << 16);
  for (const ExpectedTensor &tensor : expectedTensors(config))
    specs.push_back({tensor.name, tensor.isCount ? TensorType::I64 : TensorType::BF16,
                     tensor.shape, zeros.data()});
  ASSERT_TRUE(writeSafetensors(folder / "m", specs).isOk());
  EXPECT_TRUE(checkTensors(config, *SafetensorsFile::open(folder / "m")).isOk());

  std::erase_if(specs, [](const TensorSpec &s) {
    return s.name == "embed.weight" || s.name == "rope.freqs" ||
           s.name == "layers.1.mega.wv.bias";
  });
  for (TensorSpec &spec : specs) {
    if (spec.name == "layers.0.mega.cema.omega")
      spec.shape = {32};
    if (spec.name == "layers.0.nffn.norm.bias")
      spec.type = TensorType::I32;
    if (spec.name == "output.final_norm.prior_count")
      spec.type = TensorType::F32;
  }
  specs.push_back({"surplus", TensorType::F32, {1}, zeros.data()});
  ASSERT_TRUE(writeSafetensors(folder / "m", specs).isOk());
  expectError(checkTensors(config, *SafetensorsFile::open(folder / "m")), Code::File,
              {folder / "m", "2 missing: embed.weight [128, 32]; layers.1.mega.wv.bias [64]",
               "1 of the wrong shape: layers.0.mega.cema.omega expected [32, 1], found [32]",
               "2 of the wrong type: layers.0.nffn.norm.bias expected F32, BF16, F16 or F64, "
               "found I32; output.final_norm.prior_count expected I64, found F32",
               "1 extra: 'surplus' [1]"});
}

TEST(NearestWord, SuggestsOnlyWhatIsNear) {
  EXPECT_EQ(nearestWord("swigluu", {"swiglu", "dropout"}), "swiglu");
  EXPECT_EQ(nearestWord("completely_other", {"swiglu", "dropout"}), "");
}

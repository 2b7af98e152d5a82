//===- RandomInitTest.cpp --------------------------------------------------===//

#include "otodus/Formats/RandomInit.h"

#include "TestSupport.h"

#include <algorithm>

using namespace otodus;
using namespace otodus::formats;
using namespace otodus::test;

namespace {
ModelConfig small() {
  ModelConfig config;
  config.num_layers = 2;
  config.model_dim = 128;
  config.z_dim = 32;
  config.value_dim = 256;
  config.num_heads = 2;
  config.ffn_hidden_dim = 192;
  config.cema_ndim = 16;
  config.chunk_size = 16;
  config.vocab_size = 500;
  config.norm_num_groups = 8;
  return config;
}

std::vector<double> values(const SafetensorsFile &file, const std::string &name) {
  const Tensor *tensor = file.find(name);
  EXPECT_NE(tensor, nullptr) << name;
  std::vector<double> out(size_t(tensor ? tensor->elements() : 0));
  if (tensor) {
    EXPECT_TRUE(readAsDouble(*tensor, 0, int64_t(out.size()), out.data()).isOk());
  }
  return out;
}

double deviation(const std::vector<double> &x) {
  double mean = 0, square = 0;
  for (double v : x)
    mean += v / double(x.size());
  for (double v : x)
    square += (v - mean) * (v - mean) / double(x.size());
  return std::sqrt(square);
}
} // namespace

TEST(RandomInit, WritesAModelThatFitsItsConfiguration) {
  TemporaryFolder folder;
  ModelConfig config = small();
  config.swiglu = config.rescale_nffn = true;
  Status status = writeRandomModel(folder / "m", config, 1);
  ASSERT_TRUE(status.isOk()) << status.message();
  EXPECT_EQ(folder.entries(), 1u);
  Result<ModelConfig> read = ModelConfig::load(folder / "m/config.json");
  ASSERT_TRUE(read.isOk()) << read.status().message();
  EXPECT_EQ(read->toJson(), config.toJson());
  EXPECT_TRUE(std::filesystem::exists(folder / "m/consolidate_config.json"));
  Result<SafetensorsFile> file = SafetensorsFile::open(folder / "m/model.safetensors");
  ASSERT_TRUE(file.isOk()) << file.status().message();
  EXPECT_TRUE(checkTensors(config, *file).isOk()) << checkTensors(config, *file).message();
  EXPECT_EQ(file->tensors().size(), expectedTensors(config).size());
  for (const Tensor &tensor : file->tensors())
    EXPECT_EQ(tensor.offset * 8 % uint64_t(bitsOf(tensor.type)), 0u) << tensor.name;
}

// The column "init" of spec 2.
TEST(RandomInit, Distributions) {
  TemporaryFolder folder;
  ModelConfig config = small();
  config.rescale_nffn = true;
  ASSERT_TRUE(writeRandomModel(folder / "m", config, 3).isOk());
  SafetensorsFile file = *SafetensorsFile::open(folder / "m/model.safetensors");

  // A normal truncated to 3 deviations has 0.9866 of its deviation.
  const double embed = 1 / std::sqrt(128.0);
  EXPECT_NEAR(deviation(values(file, "embed.weight")) / embed, 0.9866, 0.01);
  for (double v : values(file, "output.output.weight"))
    EXPECT_LE(std::fabs(v), 3.0001 * embed);
  EXPECT_NEAR(deviation(values(file, "layers.1.mega.wv.weight")), 1 / std::sqrt(3 * 128.0), 1e-3);
  EXPECT_NEAR(deviation(values(file, "layers.1.mega.wh2.weight")), 1 / std::sqrt(3 * 256.0), 1e-3);
  EXPECT_NEAR(deviation(values(file, "layers.0.nffn.fc2.weight")), 1 / std::sqrt(3 * 192.0), 1e-3);
  EXPECT_NEAR(deviation(values(file, "layers.0.mega.cema.alpha")), 0.2, 0.015);
  EXPECT_NEAR(deviation(values(file, "layers.0.mega.cema.delta")), 0.2, 0.015);
  EXPECT_NE(values(file, "layers.0.mega.cema.alpha"), values(file, "layers.0.mega.cema.delta"));
  std::vector<double> gamma = values(file, "layers.0.mega.cema.gamma"), real;
  for (size_t i = 0; i < gamma.size(); i += 2) {
    real.push_back(gamma[i]);
    EXPECT_EQ(gamma[i + 1], 0);
  }
  EXPECT_NEAR(deviation(real), 1, 0.06);
  for (double v : values(file, "layers.0.mega.cema.omega"))
    EXPECT_LE(std::fabs(v), 1);
  EXPECT_NEAR(deviation(values(file, "layers.0.mega.cema.omega")), 0.25, 0.05);
  for (const char *zero : {"layers.0.mega.wv.bias", "layers.0.mega.gamma", "layers.0.mega.beta",
                           "layers.0.mega.rmsnorm.weight", "layers.0.nffn.norm.bias",
                           "layers.1.mega.timenorm.weight", "output.final_norm.prior_logv"})
    for (double v : values(file, zero))
      EXPECT_EQ(v, 0) << zero;
  EXPECT_EQ(values(file, "layers.0.nffn.alpha")[5], double(0.1f));
  EXPECT_EQ(values(file, "layers.1.nffn.alpha")[5], double(0.05f));

  // sigma(theta) takes the values D^(-j/D), j = 1..D, in random order.
  std::vector<double> theta = values(file, "layers.0.mega.cema.theta"), sorted = theta;
  EXPECT_FALSE(std::is_sorted(theta.begin(), theta.end()));
  std::sort(sorted.begin(), sorted.end(), std::greater<>());
  for (size_t j = 0; j < sorted.size(); ++j)
    EXPECT_NEAR(1 / (1 + std::exp(-sorted[j])), std::pow(128.0, -double(j + 1) / 128), 1e-6);
  EXPECT_NE(theta, values(file, "layers.1.mega.cema.theta"));

  std::vector<double> freqs = values(file, "rope.freqs");
  ASSERT_EQ(freqs.size(), 8u);
  for (size_t j = 0; j < freqs.size(); ++j)
    EXPECT_EQ(float(freqs[j]), 1.0f / float(std::pow(10000.0, 2.0 * double(j) / 16)));
}

TEST(RandomInit, InitModes) {
  TemporaryFolder folder;
  ModelConfig config = small();
  auto wv = [&](const char *mode) {
    config.init_mode = mode;
    EXPECT_TRUE(writeRandomModel(folder / mode, config, 3).isOk());
    return values(*SafetensorsFile::open(folder / (mode + std::string("/model.safetensors"))),
                  "layers.0.mega.wv.weight");
  };
  EXPECT_NEAR(deviation(wv("bert")), 0.02, 4e-4);
  const double bound = std::sqrt(6.0 / (128 + 256));
  EXPECT_NEAR(deviation(wv("xavier")), bound / std::sqrt(3.0), 1e-3);
  EXPECT_NEAR(deviation(wv("gaussian")), 0.9866, 0.01);
  EXPECT_EQ(deviation(wv("none")), 0);
}

TEST(RandomInit, SameSeedSameBytes) {
  TemporaryFolder folder;
  ASSERT_TRUE(writeRandomModel(folder / "a", small(), 7).isOk());
  ASSERT_TRUE(writeRandomModel(folder / "b", small(), 7).isOk());
  ASSERT_TRUE(writeRandomModel(folder / "c", small(), 8).isOk());
  std::string a = readText(folder / "a/model.safetensors");
  EXPECT_EQ(a, readText(folder / "b/model.safetensors"));
  EXPECT_NE(a, readText(folder / "c/model.safetensors"));
}

TEST(RandomInit, TiedEmbeddingsAreStoredOnce) {
  TemporaryFolder folder;
  ModelConfig config = small();
  config.share_emb = true;
  ASSERT_TRUE(writeRandomModel(folder / "m", config, 1).isOk());
  SafetensorsFile file = *SafetensorsFile::open(folder / "m/model.safetensors");
  EXPECT_EQ(file.find("output.output.weight"), nullptr);
  EXPECT_TRUE(checkTensors(config, file).isOk());
}

TEST(RandomInit, Refusals) {
  TemporaryFolder folder;
  writeText(folder / "file", "x");
  expectError(writeRandomModel(folder / "file", small(), 1), Code::File, {"not a folder"});
  std::filesystem::create_directory(folder / "full");
  writeText(folder / "full/x", "x");
  expectError(writeRandomModel(folder / "full", small(), 1), Code::File, {"not empty"});
  expectError(writeRandomModel(folder / "no/such", small(), 1), Code::File, {"No such file"});
  ModelConfig broken = small();
  broken.num_heads = 3;
  expectError(writeRandomModel(folder / "m", broken, 1), Code::Input, {"num_heads"});
  EXPECT_EQ(folder.entries(), 2u);
  std::filesystem::create_directory(folder / "empty");
  EXPECT_TRUE(writeRandomModel(folder / "empty/", small(), 1).isOk());
  EXPECT_EQ(folder.entries(), 3u);
}

TEST(RandomInit, FullDiskLeavesNothing) {
  TemporaryFolder folder;
  std::string found = onSmallDisk(folder.path(), "size=256k",
                                  [&] { return writeRandomModel(folder / "m", small(), 1); });
  if (found.empty())
    GTEST_SKIP() << "mounting a small file system is not allowed here";
  EXPECT_EQ(found.substr(0, 15), "5 cannot write ");
  EXPECT_NE(found.find("[0 files left]"), found.npos) << found;
}

//===- TrainConfigTest.cpp -------------------------------------------------===//

#include "TestSupport.h"
#include "otodus/Reference/Optimizer.h"
#include "otodus/Training/TrainConfig.h"

using namespace otodus;
using namespace otodus::training;
using test::expectError;

namespace {
const char *kSmall = R"([model]
num_layers = 1
model_dim = 32
z_dim = 16
value_dim = 32
ffn_hidden_dim = 32
cema_ndim = 4
chunk_size = 8
norm_num_groups = 4

[train]
steps = 10
batch = 2
length = 8
)";
} // namespace

TEST(TrainConfig, Defaults) {
  Result<TrainConfig> config = TrainConfig::parse(kSmall, "c.toml");
  ASSERT_TRUE(config.isOk()) << config.status().message();
  EXPECT_EQ(config->model.vocab_size, 256); // without a tokenizer tokens are bytes
  EXPECT_EQ(config->window, 8);
  EXPECT_EQ(config->schedule.total, 10);
  EXPECT_EQ(config->schedule.warmup, 1);
  EXPECT_EQ(config->learningRate, 1e-3);
  EXPECT_EQ(config->positionsPerStep(), 16);
}

TEST(TrainConfig, MemoryBudget) {
  auto budget = [](const std::string &value) {
    Result<TrainConfig> config =
        TrainConfig::parse(std::string(kSmall) + "memory_budget = " + value + "\n", "c.toml");
    return config.isOk() ? config->memoryBudget : -1;
  };
  EXPECT_EQ(budget("123456"), 123456);
  EXPECT_EQ(budget("'8GB'"), 8'000'000'000);
  EXPECT_EQ(budget("'1.5 GiB'"), 1'610'612'736);
  EXPECT_EQ(budget("'500MB'"), 500'000'000);
  for (const char *wrong : {"'8 gigs'", "''", "'GB'", "-1", "0", "'1.2.3GB'", "true", "'1e30'"})
    EXPECT_EQ(budget(wrong), -1) << wrong;
  EXPECT_EQ(TrainConfig::parse(kSmall, "c.toml")->memoryBudget, 0);
  // It changes no number, so a run may go on with another.
  EXPECT_EQ(TrainConfig::parse(std::string(kSmall) + "memory_budget = 5\n", "c.toml")->fingerprint(),
            TrainConfig::parse(kSmall, "c.toml")->fingerprint());
  expectError(TrainConfig::parse(std::string(kSmall) + "memory_budget = '8 gigs'\n", "c.toml")
                  .status(),
              Code::Input, {"train.memory_budget expects bytes such as 8GB", "'8 gigs'"});
}

TEST(TrainConfig, PresetWithFields) {
  Result<TrainConfig> config = TrainConfig::parse("[model]\npreset = 'mega200M'\nnum_layers = 2\n"
                                                  "[train]\nsteps=1\nbatch=1\nlength=4\n",
                                                  "c.toml");
  ASSERT_TRUE(config.isOk()) << config.status().message();
  EXPECT_EQ(config->model.model_dim, 1024);
  EXPECT_EQ(config->model.num_layers, 2);
  EXPECT_EQ(config->model.vocab_size, 256);
}

TEST(TrainConfig, EverythingWrongIsListedAtOnce) {
  std::string text = std::string(kSmall) + R"(acumulate = 2
seed = "x"
[optimizer]
lr = -1
[schedule]
kind = "constant"
end_ratio = 0.1
[optimiser]
[data]
files = ["a"]
validation_files = ["b"]
validation_fraction = 0.2
)";
  Result<TrainConfig> config = TrainConfig::parse(text, "c.toml");
  expectError(config.status(), Code::Input,
              {"c.toml: 6 problems", "15:13: unknown key train.acumulate; did you mean train.accumulate?",
               "train.seed must be an integer, found a string", "optimizer.lr must be above 0",
               "schedule.end_ratio contradicts schedule.kind",
               "unknown section [optimiser]; did you mean [optimizer]?",
               "data.validation_fraction and data.validation_files contradict"});
}

TEST(TrainConfig, MissingKeysAndMisplacedOnes) {
  expectError(TrainConfig::parse("steps = 3\n[model]\nmodel_dim = 30\n", "c.toml").status(),
              Code::Input,
              {"train.steps is missing", "train.batch is missing", "train.length is missing",
               "unknown key steps; it belongs into [train]", "norm_num_groups = 32 must divide"});
}

TEST(TrainConfig, CheckpointAndFieldsContradict) {
  expectError(TrainConfig::parse("[model]\nfrom = 'x'\nmodel_dim = 32\npreset = 'mega200M'\n"
                                 "[train]\nsteps=1\nbatch=1\nlength=4\n",
                                 "c.toml")
                  .status(),
              Code::Input,
              {"model.preset and model.from contradict", "model.model_dim and model.from contradict"});
}

TEST(TrainConfig, SyntaxErrorHasItsPlace) {
  expectError(TrainConfig::parse("[train]\nsteps = = 3\n", "c.toml").status(), Code::Input,
              {"c.toml:2:9: "});
}

TEST(TrainConfig, Overrides) {
  Result<TrainConfig> config =
      TrainConfig::parse(kSmall, "c.toml", {"train.steps = 99", "optimizer.lr=1e-2"});
  ASSERT_TRUE(config.isOk()) << config.status().message();
  EXPECT_EQ(config->steps, 99);
  EXPECT_EQ(config->learningRate, 1e-2);
  EXPECT_EQ(config->batch, 2);
  expectError(TrainConfig::parse(kSmall, "c.toml", {"train.setps = 99"}).status(), Code::Input,
              {"--set train.setps = 99: unknown key train.setps; did you mean train.steps?"});
  expectError(TrainConfig::parse(kSmall, "c.toml", {"nonsense"}).status(), Code::Usage, {"--set"});
}

TEST(TrainConfig, FingerprintNamesWhatDiffers) {
  Result<TrainConfig> a = TrainConfig::parse(kSmall, "c.toml");
  Result<TrainConfig> b =
      TrainConfig::parse(kSmall, "c.toml", {"train.seed = 5", "checkpoint.every = 3"});
  ASSERT_TRUE(a.isOk() && b.isOk());
  EXPECT_EQ(TrainConfig::difference(a->fingerprint(), a->fingerprint()), "");
  EXPECT_EQ(TrainConfig::difference(a->fingerprint(), b->fingerprint()),
            "train.seed was 1, is now 5");
}

TEST(TrainConfig, Patterns) {
  EXPECT_TRUE(matchesPattern("layers.0.mega.wv.weight", "layers.*.weight"));
  EXPECT_TRUE(matchesPattern("layers.0.mega.wv.weight", "*"));
  EXPECT_TRUE(matchesPattern("layers.1", "layers.?"));
  EXPECT_TRUE(matchesPattern("aab", "*ab"));
  EXPECT_FALSE(matchesPattern("layers.10", "layers.?"));
  EXPECT_FALSE(matchesPattern("embed.weight", "embed"));
  EXPECT_FALSE(matchesPattern("a", "a?"));
}

TEST(Schedule, EqualsReference) {
  for (ScheduleKind kind : {ScheduleKind::Linear, ScheduleKind::Cosine, ScheduleKind::Constant}) {
    Schedule ours{kind, 7, 40, 1e-3, 0.05, 1.5};
    reference::Schedule theirs{static_cast<reference::ScheduleKind>(kind), 7, 40, 1e-3, 0.05, 1.5};
    for (int64_t step = 0; step < 50; ++step)
      EXPECT_DOUBLE_EQ(ours.factor(step), reference::learningRateFactor(theirs, step)) << step;
  }
}

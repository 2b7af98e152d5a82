//===- SmallRun.h - A run of a few steps by lib/Reference ------------------===//

#pragma once

#include "ReferenceBackend.h"
#include "TestSupport.h"
#include "otodus/Formats/RandomInit.h"
#include "otodus/Training/TrainLoop.h"

namespace otodus::training {

inline const char *kSmallConfig = R"([model]
num_layers = 1
model_dim = 8
z_dim = 4
value_dim = 8
ffn_hidden_dim = 8
cema_ndim = 2
chunk_size = 4
norm_num_groups = 2
vocab_size = 16
[train]
steps = 8
batch = 2
length = 6
[optimizer]
lr = 0.01
[schedule]
warmup = 2
[evaluation]
every = 4
[checkpoint]
every = 3
keep = 2
)";

inline TokenData smallData() {
  std::vector<int32_t> tokens;
  for (int i = 0; i < 300; ++i)
    tokens.push_back((i * i + i / 7) % 16);
  return TokenData::fromMemory(tokens, {0, 40, 43, 120});
}

/// A run in `folder`: configuration, model with random weights, data.
struct SmallRun {
  TrainConfig config;
  std::unique_ptr<ReferenceBackend> backend;
  TokenData data = smallData(), validation = data.slice(270, 300);
  std::optional<Sampler> sampler;
  TrainHooks hooks;

  explicit SmallRun(const std::string &folder, const std::vector<std::string> &settings = {}) {
    Result<TrainConfig> parsed = TrainConfig::parse(kSmallConfig, "small.toml", settings);
    EXPECT_TRUE(parsed.isOk()) << parsed.status().message();
    config = *parsed;
    std::string model = folder + "/initial";
    if (!std::filesystem::exists(model))
      EXPECT_TRUE(formats::writeRandomModel(model, config.model, config.seed).isOk());
    Result<formats::SafetensorsFile> file =
        formats::SafetensorsFile::open(model + "/model.safetensors");
    Result<reference::Parameters> parameters = reference::readParameters(*file, "");
    EXPECT_TRUE(parameters.isOk());
    backend = std::make_unique<ReferenceBackend>(config.model, *parameters);
    Result<Sampler> made =
        Sampler::create(data.slice(0, 270), config.order, config.length, config.seed);
    EXPECT_TRUE(made.isOk());
    sampler = *made;
  }

  /// Trains in folder + "/out", from its newest checkpoint if there is one.
  Result<TrainSummary> operator()(const std::string &out) {
    Result<RunFolder> folder = RunFolder::open(out);
    if (!folder.isOk())
      return folder.status();
    TrainState state;
    if (std::vector<std::string> found = folder->checkpoints(); !found.empty()) {
      Result<TrainState> read = readCheckpoint(found.back(), *backend);
      if (!read.isOk())
        return read.status();
      state = *read;
    }
    state.config = config.fingerprint();
    state.data = data.fingerprint();
    TrainRun run{config, *backend, *sampler, validation, *folder, config.model, {}, hooks};
    return runTraining(run, state);
  }
};

/// The losses of a log, without times.
inline std::vector<std::string> losses(const std::string &log) {
  std::vector<std::string> result;
  std::ifstream file(log);
  for (std::string line; std::getline(file, line);)
    result.push_back(line.substr(0, line.find(",\"seconds\"")));
  return result;
}

} // namespace otodus::training

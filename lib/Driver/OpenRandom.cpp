//===- OpenRandom.cpp - A model nobody trained, without a file -------------===//

#include "OpenModel.h"

#include "otodus/Formats/RandomInit.h"
#include "otodus/Runtime/Weights.h"

#include <charconv>

namespace otodus::driver {

Result<LoadedModel> openRandom(const std::string &path, const ModelFlags &flags) {
  std::string preset = path.substr(path.find(':') + 1), seed = "1";
  if (size_t colon = preset.find(':'); colon != std::string::npos) {
    seed = preset.substr(colon + 1);
    preset.resize(colon);
  }
  uint64_t number = 0;
  auto [rest, error] = std::from_chars(seed.data(), seed.data() + seed.size(), number);
  if (seed.empty() || error != std::errc() || rest != seed.data() + seed.size())
    return Status(Code::Usage, path + ": expected random:PRESET or random:PRESET:SEED with a whole "
                                      "number as seed, but got '" + seed + "'");
  Result<formats::ModelConfig> config = formats::findPreset(preset);
  if (!config.isOk())
    return config.status();
  runtime::ThreadPoolOptions poolOptions;
  poolOptions.threads = flags.threads;
  runtime::ThreadPool pool(poolOptions);
  std::vector<std::string> names;
  formats::RandomTensors tensors(*config, number);
  for (const formats::ExpectedTensor &tensor : tensors.tensors())
    names.push_back(tensor.name);
  std::unique_ptr<runtime::WeightSource> weights = runtime::randomWeights(*config, number, pool);
  Result<LoadedModel> loaded = openConfig(*config, path, names, *weights, flags);
  if (loaded.isOk())
    loaded->folder = ".";
  return loaded;
}

} // namespace otodus::driver

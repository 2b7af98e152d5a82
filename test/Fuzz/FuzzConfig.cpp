//===- FuzzConfig.cpp - Any text as a configuration ------------------------===//

#include "otodus/Formats/ModelConfig.h"

#include <cstdlib>

using namespace otodus;
using namespace otodus::formats;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  Result<ModelConfig> config =
      ModelConfig::parse({reinterpret_cast<const char *>(data), size}, "fuzz");
  if (!config.isOk()) {
    if (config.status().message().find('\n') != std::string::npos)
      std::abort();
    return 0;
  }
  // A configuration that is accepted has computable sizes and survives its own JSON.
  if (config->parameterCount() < 1)
    std::abort();
  if (config->num_layers <= 64 && expectedTensors(*config).empty())
    std::abort();
  std::string text = config->toJson();
  Result<ModelConfig> again = ModelConfig::parse(text, "again");
  if (!again.isOk() || again->toJson() != text)
    std::abort();
  return 0;
}

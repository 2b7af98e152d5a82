//===- FuzzSafetensors.cpp - Any bytes as a safetensors file ---------------===//

#include "otodus/Formats/Safetensors.h"

#include <cstdio>
#include <cstdlib>
#include <vector>

using namespace otodus;
using namespace otodus::formats;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  Result<SafetensorsFile> file = SafetensorsFile::parse(data, size, "fuzz");
  if (!file.isOk()) {
    // Every refusal is one line.
    if (file.status().message().find('\n') != std::string::npos)
      std::abort();
    return 0;
  }
  uint64_t total = 0;
  for (const Tensor &tensor : file->tensors()) {
    if (file->find(tensor.name) != &tensor)
      std::abort();
    for (uint64_t i = 0; i < tensor.bytes; ++i)
      total += tensor.data[i];
    int64_t count = tensor.elements();
    if (count > 0 && tensor.bytes > 0) {
      std::vector<double> values(static_cast<size_t>(count));
      if (readAsDouble(tensor, 0, count, values.data()).isOk())
        total += values[0] == values[0];
      std::vector<float> last(1);
      if (readAsFloat(tensor, count - 1, 1, last.data()).isOk())
        total += last[0] == last[0];
    }
  }
  volatile uint64_t sink = total;
  (void)sink;
  return 0;
}

//===- Read.cpp - Tensors from files ----------------------------------------===//

#include "otodus/Reference/Reference.h"

namespace otodus::reference {

Result<Tensor> read(const formats::Tensor &tensor) {
  Tensor result(tensor.shape);
  if (tensor.type == formats::TensorType::Bool) {
    for (int64_t i = 0; i < result.size(); ++i)
      result[i] = tensor.data[i] != 0;
    return result;
  }
  OTODUS_RETURN_IF_ERROR(
      formats::readAsDouble(tensor, 0, result.size(), result.data.data()).in(tensor.name));
  return result;
}

Result<Parameters> readParameters(const formats::SafetensorsFile &file, const std::string &prefix) {
  Parameters parameters;
  for (const formats::Tensor &tensor : file.tensors()) {
    if (!tensor.name.starts_with(prefix))
      continue;
    Result<Tensor> value = read(tensor);
    if (!value.isOk())
      return value.status().in(file.path());
    parameters[tensor.name.substr(prefix.size())] = std::move(*value);
  }
  return parameters;
}

Tokens toTokens(const Tensor &tensor) {
  return {tensor.dim(0), tensor.dim(1),
          std::vector<int64_t>(tensor.data.begin(), tensor.data.end())};
}

} // namespace otodus::reference

//===- GoldenCase.cpp - Names and states of a case --------------------------===//

#include "otodus/Driver/GoldenCase.h"

#include "CheckStates.h"

namespace otodus::driver {

using formats::ModelConfig;
using reference::Tensor;

const char *nameOf(CaseKind kind) {
  switch (kind) {
  case CaseKind::TimestepNorm:
    return "timestep_norm";
  case CaseKind::Cema:
    return "cema";
  case CaseKind::Attention:
    return "attention";
  case CaseKind::Ffn:
    return "ffn";
  case CaseKind::Block:
    return "block";
  case CaseKind::Layer:
    return "layer";
  case CaseKind::Model:
    return "model";
  case CaseKind::Sampling:
    return "sampling_schedule";
  }
  return "";
}

std::string layerStateName(int64_t layer, const std::string &what) {
  return "layers." + std::to_string(layer) + "." + what;
}

ModelConfig smallestConfig() {
  ModelConfig config;
  config.num_layers = config.model_dim = config.value_dim = config.num_heads = 1;
  config.ffn_hidden_dim = config.cema_ndim = config.chunk_size = 1;
  config.vocab_size = config.norm_num_groups = 1;
  config.z_dim = 2;
  return config;
}

void addStates(GoldenCase &golden) {
  const ModelConfig &config = golden.config;
  bool whole = golden.kind == CaseKind::Block || golden.kind == CaseKind::Layer;
  auto named = [&](const char *prefix, const char *name) {
    return whole ? std::string(prefix) + name : std::string(name);
  };
  if (whole || golden.kind == CaseKind::TimestepNorm) {
    golden.states.push_back({named("mega.timenorm.", "count"), CaseType::Int64, {}, false, {}});
    for (const char *name : {"mean", "variance"})
      golden.states.push_back(
          {named("mega.timenorm.", name), CaseType::Float, {config.norm_num_groups}, false, {}});
  }
  if (whole || golden.kind == CaseKind::Cema)
    golden.states.push_back({named("mega.cema.", "h"),
                             CaseType::Float,
                             {config.model_dim, config.cema_ndim, 2},
                             false,
                             {}});
  if (whole || golden.kind == CaseKind::Attention) {
    golden.states.push_back({named("mega.attention.", "keys"),
                             CaseType::Float,
                             {config.chunk_size, config.num_heads, config.dz()},
                             true,
                             {}});
    golden.states.push_back({named("mega.attention.", "values"),
                             CaseType::Float,
                             {config.chunk_size, config.num_heads, config.dv()},
                             true,
                             {}});
  }
}

CaseState &stateOf(GoldenCase &golden, const std::string &what) {
  for (CaseState &state : golden.states)
    if (leafOf(state.name) == what)
      return state;
  std::abort(); // callers name states that addStates has made
}

Tensor countTensor(const std::vector<int64_t> &count) {
  return Tensor({static_cast<int64_t>(count.size())},
                std::vector<double>(count.begin(), count.end()));
}

void setInitial(GoldenCase &golden, const reference::NormState &state) {
  stateOf(golden, "count").initial = countTensor(state.count);
  stateOf(golden, "mean").initial = state.mean;
  stateOf(golden, "variance").initial = state.variance;
}

Tensor splitHeads(Tensor x, int64_t heads) {
  int64_t width = x.shape.back();
  x.shape.back() = heads;
  x.shape.push_back(width / heads);
  return x;
}

} // namespace otodus::driver

//===- CheckGradients.cpp - Gradients of golden cases ------------------------===//

#include "CheckGradients.h"

#include "CheckStates.h"

#include <cmath>

namespace otodus::driver {

using reference::Tensor;

namespace {

// Column "fp32 tolerance (grad)" of the README.
struct FileRow {
  const char *stem;
  double f32;
};
const FileRow kFiles[] = {
    {"tsn_basic", 2e-6},    {"tsn_state", 2e-6},   {"tsn_stream", 3e-6},  {"tsn_prior", 2e-6},
    {"tsn_mask", 5e-6},     {"tsn_offset", 2e-3},  {"cema_basic", 3e-5},  {"cema_state", 2e-5},
    {"cema_stream", 2e-5},  {"cema_extreme", 3e-5}, {"attn_chunks", 6e-6}, {"attn_short", 5e-6},
    {"attn_base1e5", 3e-6}, {"block_basic", 9e-6}, {"ffn_silu", 4e-6},    {"ffn_swiglu", 4e-6},
    {"ffn_rescale", 4e-6},  {"layer_basic", 1e-5}, {"model_train", 7e-6},
};

double toleranceOf(const std::string &stem) {
  for (const FileRow &row : kFiles)
    if (stem == row.stem)
      return row.f32;
  return 3e-5;
}

bool endsIn(const std::string &name, const std::string &what) {
  return name == what || name.ends_with("." + what);
}

} // namespace

Status readGradients(const formats::SafetensorsFile &file, const std::string &dtype,
                     GoldenCase &golden, std::set<std::string> &used) {
  CaseGradients gradients;
  gradients.tolerance = toleranceOf(golden.name);
  if (dtype == "bf16" && !golden.keepInputsF32) {
    // Gradients of a mean loss are small numbers: what is off is taken relative to them.
    gradients.measure = Measure::RelativeRms;
    gradients.tolerance = golden.kind == CaseKind::Model ? 4e-2 : 2e-2;
  }
  auto read = [&](const std::string &name, Tensor &tensor) -> Status {
    Result<Tensor> value = reference::read(*file.find(name));
    if (!value.isOk())
      return value.status();
    tensor = std::move(*value);
    used.insert(name);
    return {};
  };
  auto stateNamed = [&](const std::string &what) -> const CaseState * {
    for (const CaseState &state : golden.states)
      if (endsIn(state.name, what))
        return &state;
    return nullptr;
  };
  std::vector<std::string> outputs = outputNames(golden);
  for (const formats::Tensor &tensor : file.tensors()) {
    const std::string &label = tensor.name;
    if (label.starts_with("cot_")) {
      std::string name = label.substr(4);
      Tensor value;
      OTODUS_RETURN_IF_ERROR(read(label, value));
      if (std::find(outputs.begin(), outputs.end(), name) != outputs.end()) {
        if (golden.kind == CaseKind::Attention)
          value = splitHeads(std::move(value), golden.config.num_heads);
        gradients.cotangents.push_back({label, CaseType::Float, std::move(value)});
      } else if (const CaseState *state = stateNamed(name == "var" ? "variance" : name)) {
        gradients.stateCotangents[state->name] = std::move(value);
      }
      continue;
    }
    if (!label.starts_with("grad_") && !label.starts_with("grad."))
      continue;
    std::string name = label.substr(5);
    using Source = CaseGradients::Source;
    std::optional<Source> source;
    for (const CaseInput &input : golden.inputs)
      if (input.name == name)
        source = Source::Input;
    if (golden.weights.contains(name))
      source = Source::Weight;
    if (name == "prev_mean" || name == "prev_var" || name == "h0") {
      const CaseState *state = stateNamed(name == "h0" ? "h" : name == "prev_var" ? "variance" : "mean");
      if (state) {
        source = Source::State;
        name = state->name;
      }
    } else if (name == "prior_mean") {
      source = Source::PriorMean;
    } else if (name == "prior_logv") {
      source = Source::PriorLogVariance;
    }
    if (!source)
      continue;
    CaseGradients::Expected expected{label, *source, name, {}};
    OTODUS_RETURN_IF_ERROR(read(label, expected.value));
    gradients.expected.push_back(std::move(expected));
  }
  if (!gradients.expected.empty())
    golden.gradients = std::move(gradients);
  return {};
}

Result<Tensor> foundGradient(const CaseGradients::Expected &expected, const GoldenCase &golden,
                             const std::map<std::string, Tensor> &outputs, CaseSession &session) {
  using Source = CaseGradients::Source;
  switch (expected.source) {
  case Source::Input: {
    auto found = outputs.find("grad_" + expected.name);
    if (found == outputs.end())
      return Status(Code::Internal, golden.name + ": the program has no output grad_" + expected.name);
    return found->second;
  }
  case Source::Weight:
    return session.gradient(expected.name);
  case Source::State:
    return session.stateGradient(expected.name);
  case Source::PriorMean:
  case Source::PriorLogVariance: {
    // Every sequence starts from the prior: v = exp(logv) (spec 3.1).
    bool mean = expected.source == Source::PriorMean;
    Result<Tensor> all = session.stateGradient(mean ? "mean" : "variance");
    if (!all.isOk())
      return all;
    Tensor sum({all->dim(1)});
    for (const CaseState &state : golden.states)
      if (state.name == "variance" && state.initial)
        for (int64_t i = 0; i < all->size(); ++i)
          sum[i % sum.size()] += (*all)[i] * (mean ? 1 : (*state.initial)[i]);
    return sum;
  }
  }
  return Status(Code::Internal, "unknown source of a gradient");
}

} // namespace otodus::driver

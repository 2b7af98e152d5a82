//===- CheckTolerance.cpp - How exact a result must be ----------------------===//

#include "CheckTolerance.h"

namespace otodus::driver {

namespace {

struct FileRow {
  const char *stem;
  double f32;
  Measure measure = Measure::MaxRelative;
};

// Column "fp32 tolerance (out)" of the README, with its exceptions: logits and loss of
// model_train, and the tiny checkpoint's absolute one.
const FileRow kFiles[] = {
    {"tsn_basic", 2e-6},      {"tsn_state", 5e-6},
    {"tsn_stream", 2e-6},     {"tsn_prior", 2e-6},
    {"tsn_mask", 2e-6},       {"tsn_offset", 2e-3},
    {"cema_basic", 2e-5},     {"cema_state", 2e-5},
    {"cema_stream", 8e-6},    {"cema_extreme", 2e-5},
    {"attn_chunks", 3e-6},    {"attn_short", 2e-6},
    {"attn_cache", 2e-6},     {"attn_base1e5", 2e-6},
    {"block_basic", 2e-6},    {"block_stream", 2e-6},
    {"ffn_silu", 2e-6},       {"ffn_swiglu", 2e-6},
    {"ffn_rescale", 2e-6},    {"layer_basic", 2e-6},
    {"model_train", 1e-5},    {"model_stream", 8e-6},
    {"model_ragged", 5e-6},   {"model_longeval", 5e-6},
    {"model_generate", 5e-6}, {"expected", 1e-4, Measure::Absolute},
};

// The largest of the kind's files: other shapes of the same formula.
double kindTolerance(CaseKind kind) {
  switch (kind) {
  case CaseKind::TimestepNorm:
    return 5e-6;
  case CaseKind::Cema:
    return 2e-5;
  case CaseKind::Attention:
    return 3e-6;
  case CaseKind::Ffn:
  case CaseKind::Block:
  case CaseKind::Layer:
    return 5e-6;
  case CaseKind::Model:
    return 1e-4;
  case CaseKind::Sampling:
    return 1e-9;
  }
  return 0;
}

} // namespace

Tolerance toleranceFor(const std::string &stem, CaseKind kind, const std::string &dtype) {
  if (kind == CaseKind::Sampling)
    return {Measure::MaxRelative, kindTolerance(kind)};
  if (dtype == "bf16") {
    if (kind == CaseKind::Model)
      return {Measure::RelativeRms, 4e-2};
    return {Measure::MaxRelative, 2e-2};
  }
  for (const FileRow &row : kFiles)
    if (stem == row.stem)
      return {row.measure, row.f32};
  return {Measure::MaxRelative, kindTolerance(kind)};
}

double offsetTolerance(const reference::Tensor &x, const std::string &dtype) {
  if (dtype == "bf16")
    return 2e-2;
  double mean = 0, squares = 0;
  for (double value : x.data)
    mean += value / static_cast<double>(x.size());
  for (double value : x.data)
    squares += (value - mean) * (value - mean) / static_cast<double>(x.size());
  return mean * mean > 1e8 * squares ? 2e-2 : 2e-3;
}

} // namespace otodus::driver

//===- ModelConfig.cpp - Hyperparameters and parameters of a Megalodon -----===//

#include "otodus/Formats/ModelConfig.h"

#include "Json.h"
#include "otodus/Formats/OutputFile.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <set>

using namespace otodus;
using namespace otodus::formats;
using nlohmann::json;

//===----------------------------------------------------------------------===//
// Fields
//===----------------------------------------------------------------------===//

namespace {
/// Calls visit(key, field) for every field of the "model" object, in the reference's order.
template <typename Config, typename Visit> void forEachField(Config &c, Visit &&visit) {
  visit("num_layers", c.num_layers);
  visit("model_dim", c.model_dim);
  visit("z_dim", c.z_dim);
  visit("value_dim", c.value_dim);
  visit("num_heads", c.num_heads);
  visit("ffn_hidden_dim", c.ffn_hidden_dim);
  visit("cema_ndim", c.cema_ndim);
  visit("chunk_size", c.chunk_size);
  visit("efficient_attn", c.efficient_attn);
  visit("init_mode", c.init_mode);
  visit("vocab_size", c.vocab_size);
  visit("output_size", c.output_size);
  visit("norm_num_groups", c.norm_num_groups);
  visit("norm_affine", c.norm_affine);
  visit("norm_eps", c.norm_eps);
  visit("rope_base", c.rope_base);
  visit("dropout", c.dropout);
  visit("hidden_dropout", c.hidden_dropout);
  visit("attention_dropout", c.attention_dropout);
  visit("swiglu", c.swiglu);
  visit("rescale_nffn", c.rescale_nffn);
  visit("scale_emb", c.scale_emb);
  visit("share_emb", c.share_emb);
  visit("layerwise_ckpt", c.layerwise_ckpt);
}

/// All broken things, for one message.
class Problems {
public:
  void add(const std::string &text) { list_.push_back(text); }
  bool none() const { return list_.empty(); }
  Status status(Code code, const std::string &where, const std::string &what) const {
    if (list_.empty())
      return Status::ok();
    if (list_.size() == 1)
      return Status(code, where + list_[0]);
    std::string text = where + std::to_string(list_.size()) + " " + what + ": ";
    for (size_t i = 0; i < list_.size(); ++i)
      text += (i ? "; " : "") + list_[i];
    return Status(code, text);
  }

private:
  std::vector<std::string> list_;
};

/// Assigns JSON values to fields, collecting what does not fit.
struct FieldReader {
  const json &object;
  std::string prefix; ///< "model." or ""
  Problems &problems;

  const json *get(const char *key) {
    auto found = object.find(key);
    return found == object.end() ? nullptr : &*found;
  }
  void wrong(const char *key, const char *expected, const json &found) {
    problems.add(prefix + key + " must be " + expected + ", found " + kindOf(found));
  }

  void operator()(const char *key, int64_t &field) {
    const json *value = get(key);
    if (!value)
      return;
    if (value->is_number_unsigned() && value->get<uint64_t>() > uint64_t(INT64_MAX))
      problems.add(prefix + key + " = " + value->dump() + " is too large");
    else if (value->is_number_integer())
      field = value->get<int64_t>();
    else
      wrong(key, "an integer", *value);
  }
  void operator()(const char *key, double &field) {
    if (const json *value = get(key)) {
      if (value->is_number())
        field = value->get<double>();
      else
        wrong(key, "a number", *value);
    }
  }
  void operator()(const char *key, bool &field) {
    if (const json *value = get(key)) {
      if (value->is_boolean())
        field = value->get<bool>();
      else
        wrong(key, "true or false", *value);
    }
  }
  void operator()(const char *key, std::string &field) {
    if (const json *value = get(key)) {
      if (value->is_string())
        field = value->get<std::string>();
      else
        wrong(key, "a string", *value);
    }
  }
  void operator()(const char *key, std::optional<std::string> &field) {
    if (const json *value = get(key)) {
      if (value->is_string())
        field = value->get<std::string>();
      else if (value->is_null())
        field.reset();
      else
        wrong(key, "a string or null", *value);
    }
  }
  void operator()(const char *key, std::optional<double> &field) {
    if (const json *value = get(key)) {
      if (value->is_number())
        field = value->get<double>();
      else if (value->is_null())
        field.reset();
      else
        wrong(key, "a number or null", *value);
    }
  }
};

std::vector<std::string> fieldNames() {
  std::vector<std::string> names;
  ModelConfig config;
  forEachField(config, [&](const char *key, auto &) { names.push_back(key); });
  return names;
}

size_t editDistance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j)
    row[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      size_t next = std::min({row[j] + 1, row[j - 1] + 1, diagonal + (a[i - 1] != b[j - 1])});
      diagonal = row[j];
      row[j] = next;
    }
  }
  return row[b.size()];
}

std::string numberText(double value) { return json(value).dump(); }
} // namespace

std::string formats::nearestWord(std::string_view word,
                                 const std::vector<std::string> &candidates) {
  if (word.size() > 256)
    return "";
  std::string best;
  // Beyond a third of the word a suggestion is more confusing than none.
  size_t least = std::max<size_t>(word.size() / 3, 1) + 1;
  for (const std::string &candidate : candidates)
    if (size_t distance = editDistance(word, candidate); distance < least) {
      least = distance;
      best = candidate;
    }
  return best;
}

//===----------------------------------------------------------------------===//
// Constraints
//===----------------------------------------------------------------------===//

namespace {
void collectProblems(const ModelConfig &c, Problems &problems) {
  const size_t kLimit = size_t(1) << 40;
  bool sizesFit = true;
  auto size = [&](const char *key, int64_t value) {
    if (value < 1) {
      problems.add(std::string(key) + " must be at least 1, found " + std::to_string(value));
      sizesFit = false;
    } else if (uint64_t(value) > kLimit) {
      problems.add(std::string(key) + " = " + std::to_string(value) + " is too large");
      sizesFit = false;
    }
  };
  size("num_layers", c.num_layers);
  size("model_dim", c.model_dim);
  size("z_dim", c.z_dim);
  size("value_dim", c.value_dim);
  size("num_heads", c.num_heads);
  size("ffn_hidden_dim", c.ffn_hidden_dim);
  size("cema_ndim", c.cema_ndim);
  size("chunk_size", c.chunk_size);
  size("norm_num_groups", c.norm_num_groups);
  if (c.vocab_size == -1)
    problems.add("vocab_size is missing; give the number of tokens the embedding knows");
  else
    size("vocab_size", c.vocab_size);
  if (c.output_size != -1)
    size("output_size", c.output_size);

  auto divides = [&](const char *part, int64_t p, const char *whole, int64_t w) {
    if (p >= 1 && w >= 1 && w % p != 0)
      problems.add(std::string(part) + " = " + std::to_string(p) + " must divide " + whole +
                   " = " + std::to_string(w));
  };
  divides("num_heads", c.num_heads, "z_dim", c.z_dim);
  divides("num_heads", c.num_heads, "value_dim", c.value_dim);
  divides("norm_num_groups", c.norm_num_groups, "model_dim", c.model_dim);
  if (c.num_heads >= 1 && c.z_dim >= 1 && c.z_dim % c.num_heads == 0 && c.dz() % 2 != 0)
    problems.add("z_dim / num_heads = " + std::to_string(c.dz()) +
                 " must be even, since rotary positions turn pairs");

  auto dropout = [&](const char *key, double value) {
    if (!(value >= 0 && value < 1))
      problems.add(std::string(key) + " must be in [0, 1), found " + numberText(value));
  };
  dropout("dropout", c.dropout);
  dropout("hidden_dropout", c.hidden_dropout);
  dropout("attention_dropout", c.attention_dropout);
  if (!(c.norm_eps > 0) || !(c.norm_eps < 1))
    problems.add("norm_eps must be in (0, 1), found " + numberText(c.norm_eps));
  if (c.rope_base && (!(*c.rope_base > 0) || std::isinf(*c.rope_base)))
    problems.add("rope_base must be positive, found " + numberText(*c.rope_base));
  if (c.efficient_attn && *c.efficient_attn != "swift" && *c.efficient_attn != "fused")
    problems.add("efficient_attn must be null, \"swift\" or \"fused\", found " +
                 inQuotes(*c.efficient_attn));
  const std::vector<std::string> modes = {"he", "bert", "xavier", "gaussian", "none"};
  if (std::find(modes.begin(), modes.end(), c.init_mode) == modes.end())
    problems.add("init_mode must be he, bert, xavier, gaussian or none, found " +
                 inQuotes(c.init_mode));
  if (c.share_emb && c.output_size != -1 && c.output_size != c.vocab_size)
    problems.add("share_emb needs output_size = vocab_size = " + std::to_string(c.vocab_size) +
                 ", found " + std::to_string(c.output_size));

  // Sizes are below 2^40 here, so a product of three fits 128 bits.
  using Wide = unsigned __int128;
  if (!sizesFit)
    return;
  auto product = [&](const char *what, Wide elements) {
    if (elements * 8 > Wide(1) << 62) {
      problems.add(std::string(what) + " overflows: no file or memory can hold it");
      return false;
    }
    return true;
  };
  const Wide D = c.model_dim, E = c.value_dim, Z = c.z_dim, F = c.ffn_hidden_dim,
             V = std::max(c.vocab_size, c.outputSize()), N = c.cema_ndim, C = c.chunk_size;
  bool fits = product("vocab_size x model_dim", V * D);
  fits &= product("model_dim x value_dim", D * E);
  fits &= product("model_dim x z_dim", D * Z);
  fits &= product("model_dim x ffn_hidden_dim", D * F);
  fits &= product("model_dim x model_dim", D * D);
  fits &= product("model_dim x cema_ndim", D * N * 2);
  fits &= product("chunk_size x (z_dim + value_dim)", C * (Z + E));
  if (fits) {
    // Each term is below 2^60, so the block is below 2^64; layers are below 2^40.
    Wide block = D * D + 3 * D * E + D * Z + 3 * D * F + 4 * D * N + C * (Z + E) + 16 * (D + E + Z);
    product("the model", block * Wide(c.num_layers) + 2 * V * D);
  }
}
} // namespace

Status ModelConfig::validate() const {
  Problems problems;
  collectProblems(*this, problems);
  return problems.status(Code::Input, "", "problems in the configuration");
}

//===----------------------------------------------------------------------===//
// JSON
//===----------------------------------------------------------------------===//

Result<ModelConfig> ModelConfig::parse(std::string_view text, const std::string &filename) {
  Result<json> parsed = parseJson(text, filename, Code::Input);
  OTODUS_RETURN_IF_ERROR(parsed.status());
  const json &root = *parsed;
  auto fail = [&](const std::string &what) { return Status(Code::Input, filename + ": " + what); };
  if (!root.is_object())
    return fail(std::string("expected a JSON object with a 'model' object, found ") +
                kindOf(root));

  const std::vector<std::string> known = fieldNames();
  const json *model = &root;
  std::string prefix;
  if (auto found = root.find("model"); found != root.end()) {
    model = &*found;
    prefix = "model.";
    if (!model->is_object())
      return fail(std::string("'model' must be an object, found ") + kindOf(*model));
  } else {
    bool bare = std::any_of(known.begin(), known.end(),
                            [&](const std::string &key) { return root.contains(key); });
    if (!bare)
      return fail("no 'model' object; expected {\"model\": {\"num_layers\": ..., ...}, ...}");
  }

  ModelConfig config;
  Problems problems;
  FieldReader reader{*model, prefix, problems};
  forEachField(config, reader);
  int unknown = 0;
  for (const auto &[key, value] : model->items()) {
    if (std::find(known.begin(), known.end(), key) != known.end() ||
        (prefix.empty() && key == "tokenizer"))
      continue;
    if (++unknown > 20)
      continue;
    std::string near = nearestWord(key, known);
    problems.add("unknown key " + inQuotes(prefix + key) +
                 (near.empty() ? "" : "; did you mean '" + near + "'?"));
  }
  if (unknown > 20)
    problems.add(std::to_string(unknown - 20) + " more unknown keys");

  if (auto found = root.find("tokenizer"); found != root.end() && !found->is_null()) {
    if (!found->is_object()) {
      problems.add(std::string("tokenizer must be an object, found ") + kindOf(*found));
    } else {
      FieldReader tokenizer{*found, "tokenizer.", problems};
      tokenizer("path", config.tokenizer.path);
      tokenizer("additional_vocab_size", config.tokenizer.additional_vocab_size);
      tokenizer("data_tokenized", config.tokenizer.data_tokenized);
    }
  }
  collectProblems(config, problems);
  OTODUS_RETURN_IF_ERROR(problems.status(Code::Input, filename + ": ", "problems"));
  return config;
}

Result<ModelConfig> ModelConfig::load(const std::string &path) {
  Result<std::string> text = readFile(path, 1 << 20);
  OTODUS_RETURN_IF_ERROR(text.status());
  return parse(*text, path);
}

std::string ModelConfig::toJson() const {
  nlohmann::ordered_json model;
  auto put = [&]<typename T>(const char *key, const T &field) {
    if constexpr (std::is_same_v<T, std::optional<std::string>> ||
                  std::is_same_v<T, std::optional<double>>) {
      if (field)
        model[key] = *field;
      else
        model[key] = nullptr;
    } else {
      model[key] = field;
    }
  };
  forEachField(*this, put);
  nlohmann::ordered_json root;
  root["model"] = std::move(model);
  root["tokenizer"]["path"] = nullptr;
  if (tokenizer.path)
    root["tokenizer"]["path"] = *tokenizer.path;
  root["tokenizer"]["additional_vocab_size"] = tokenizer.additional_vocab_size;
  root["tokenizer"]["data_tokenized"] = tokenizer.data_tokenized;
  root["model_parallel_size"] = 1;
  root["chunk_parallel_size"] = 1;
  return dumpJson(root, 1) + "\n";
}

//===----------------------------------------------------------------------===//
// Presets
//===----------------------------------------------------------------------===//

const std::vector<Preset> &formats::presets() {
  static const std::vector<Preset> all = [] {
    struct Row {
      const char *name;
      int64_t layers, D, H, Z, E, F, C, G;
      bool swiglu, tied;
      double base;
    };
    const Row rows[] = {
        {"mega200M", 12, 1024, 1, 256, 2048, 2560, 2048, 32, false, false, 1e4},
        {"mega1.3B", 24, 2048, 2, 512, 4096, 4864, 2048, 64, false, false, 1e4},
        {"mega1.3B_pg19", 24, 2048, 2, 512, 4096, 3584, 2048, 64, true, true, 1e4},
        {"mega7.1B", 32, 4096, 4, 1024, 8192, 11264, 2048, 64, false, false, 1e4},
        {"mega7.3B", 32, 4096, 4, 1024, 8192, 8192, 2048, 64, true, false, 1e4},
        {"paper-7B", 32, 4096, 4, 1024, 8192, 8192, 4096, 64, true, false, 1e5},
    };
    std::vector<Preset> result;
    for (const Row &row : rows) {
      ModelConfig c;
      c.num_layers = row.layers;
      c.model_dim = row.D;
      c.num_heads = row.H;
      c.z_dim = row.Z;
      c.value_dim = row.E;
      c.ffn_hidden_dim = row.F;
      c.chunk_size = row.C;
      c.norm_num_groups = row.G;
      c.swiglu = row.swiglu;
      c.scale_emb = c.share_emb = row.tied;
      c.vocab_size = 32000;
      if (row.base != 1e4)
        c.rope_base = row.base;
      result.push_back({row.name, c});
    }
    return result;
  }();
  return all;
}

Result<ModelConfig> formats::findPreset(std::string_view name) {
  std::vector<std::string> names;
  for (const Preset &preset : presets()) {
    if (preset.name == name)
      return preset.config;
    names.push_back(preset.name);
  }
  std::string near = nearestWord(name, names), text;
  for (const std::string &one : names)
    text += (text.empty() ? "" : ", ") + one;
  return Status(Code::Usage, "unknown preset " + inQuotes(name) +
                                 (near.empty() ? "" : "; did you mean '" + near + "'?") +
                                 "; the presets are " + text);
}

//===----------------------------------------------------------------------===//
// Tensors
//===----------------------------------------------------------------------===//

int64_t ModelConfig::parameterCount() const {
  const int64_t D = model_dim, E = value_dim, Z = z_dim, F = ffn_hidden_dim, N = cema_ndim;
  const int64_t nf = swiglu ? 3 : 2;
  int64_t matrices = D * D + 3 * D * E + D * Z + nf * D * F;
  int64_t small = 4 * D * N + 8 * D + 2 * E + 5 * Z + (rescale_nffn ? D : 0);
  // Spec 2's formula is of affine norms: RMSNorm D, LayerNorm 2 D.
  if (!norm_affine)
    small -= 3 * D;
  return num_layers * (matrices + small) + vocab_size * D + (share_emb ? 0 : outputSize() * D) +
         2 * D;
}

std::vector<ExpectedTensor> formats::expectedTensors(const ModelConfig &c) {
  const int64_t D = c.model_dim, E = c.value_dim, Z = c.z_dim, F = c.ffn_hidden_dim,
                N = c.cema_ndim, G = c.norm_num_groups;
  std::vector<ExpectedTensor> list;
  auto add = [&](std::string name, std::vector<int64_t> shape, bool optional = false,
                 bool isCount = false) {
    list.push_back({std::move(name), std::move(shape), optional, isCount});
  };
  auto timestepNorm = [&](const std::string &at) {
    add(at + ".weight", {D});
    add(at + ".bias", {D});
    add(at + ".prior_count", {}, true, true);
    add(at + ".prior_mean", {G}, true);
    add(at + ".prior_logv", {G}, true);
  };
  add("embed.weight", {c.vocab_size, D});
  add("rope.freqs", {c.dz() / 2}, true);
  for (int64_t i = 0; i < c.num_layers; ++i) {
    const std::string layer = "layers." + std::to_string(i) + ".";
    const std::string mega = layer + "mega.", ffn = layer + "nffn.";
    timestepNorm(mega + "timenorm");
    add(mega + "cema.alpha", {D, N, 1});
    add(mega + "cema.delta", {D, N, 1});
    add(mega + "cema.theta", {D, 1, 1});
    add(mega + "cema.gamma", {D, N, 2});
    add(mega + "cema.omega", {D, 1});
    if (c.norm_affine)
      add(mega + "rmsnorm.weight", {D});
    auto linear = [&](const char *name, int64_t out) {
      add(mega + name + ".weight", {out, D});
      add(mega + name + ".bias", {out});
    };
    linear("wv", E);
    linear("wz", Z);
    linear("wr", E);
    linear("wh1", D);
    add(mega + "wh2.weight", {D, E});
    add(mega + "gamma", {2, Z});
    add(mega + "beta", {2, Z});
    if (c.norm_affine) {
      add(ffn + "norm.weight", {D});
      add(ffn + "norm.bias", {D});
    }
    add(ffn + "fc1.weight", {F, D});
    if (c.swiglu)
      add(ffn + "fc3.weight", {F, D});
    add(ffn + "fc2.weight", {D, F});
    if (c.rescale_nffn)
      add(ffn + "alpha", {D});
  }
  timestepNorm("output.final_norm");
  add("output.output.weight", {c.outputSize(), D}, c.share_emb);
  return list;
}

Status formats::checkTensors(const ModelConfig &config, const SafetensorsFile &file) {
  auto floating = [](TensorType type) {
    return type == TensorType::F32 || type == TensorType::BF16 || type == TensorType::F16 ||
           type == TensorType::F64;
  };
  std::vector<std::string> missing, shapes, types, extra;
  std::set<std::string> known;
  for (const ExpectedTensor &want : expectedTensors(config)) {
    known.insert(want.name);
    const Tensor *have = file.find(want.name);
    if (!have) {
      if (!want.optional)
        missing.push_back(want.name + " " + shapeToString(want.shape));
      continue;
    }
    if (have->shape != want.shape)
      shapes.push_back(want.name + " expected " + shapeToString(want.shape) + ", found " +
                       shapeToString(have->shape));
    if (want.isCount ? have->type != TensorType::I64 : !floating(have->type))
      types.push_back(want.name + " expected " +
                      (want.isCount ? "I64" : "F32, BF16, F16 or F64") + ", found " +
                      nameOf(have->type));
  }
  for (const Tensor &tensor : file.tensors())
    if (!known.count(tensor.name))
      extra.push_back(inQuotes(tensor.name) + " " + shapeToString(tensor.shape));

  std::string text;
  auto list = [&](const char *what, const std::vector<std::string> &names) {
    if (names.empty())
      return;
    text += (text.empty() ? "" : ". ") + std::to_string(names.size()) + " " + what + ": ";
    for (size_t i = 0; i < names.size(); ++i)
      text += (i ? "; " : "") + names[i];
  };
  list("missing", missing);
  list("of the wrong shape", shapes);
  list("of the wrong type", types);
  list("extra", extra);
  if (text.empty())
    return Status::ok();
  return Status(Code::File, file.path() + ": tensors do not fit the configuration: " + text);
}

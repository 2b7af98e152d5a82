//===- CheckModule.cpp - From a case to MLIR text ---------------------------===//

#include "otodus/Driver/GoldenCase.h"

#include <charconv>
#include <cmath>

namespace otodus::driver {

namespace {

/// A literal MLIR reads as a float: it needs a point.
std::string literal(double value) {
  char buffer[64];
  std::string text(buffer, std::to_chars(buffer, buffer + sizeof(buffer), value).ptr);
  if (text.find('.') == std::string::npos) {
    size_t exponent = text.find('e');
    text.insert(exponent == std::string::npos ? text.size() : exponent, ".0");
  }
  return text;
}

/// Writes a module line by line; values are named by who makes them.
class Writer {
public:
  Writer(const GoldenCase &golden, const std::string &dtype, bool gradients)
      : golden_(golden), gradients_(gradients), element_(golden.keepInputsF32 ? "f32" : dtype) {}

  std::string write();

private:
  using Dims = std::vector<int64_t>;

  std::string tensor(const Dims &dims, const std::string &element) const {
    std::string text = "tensor<";
    for (int64_t dim : dims)
      text += (dim < 0 ? "?" : std::to_string(dim)) + "x";
    return text + element + ">";
  }
  /// [batch, time, dims...] of the compute type.
  std::string activation(Dims dims) const {
    dims.insert(dims.begin(), {-1, -1});
    return tensor(dims, element_);
  }
  std::string heads(int64_t features) const {
    return activation({golden_.config.num_heads, features});
  }
  std::string vector(int64_t size) const { return tensor({size}, "f32"); }

  bool has(const std::string &name) const { return golden_.weights.contains(name); }

  /// Matrices of products have the compute type, everything else is f32.
  std::string weightType(const std::string &name) const {
    const reference::Tensor &weight = golden_.weights.at(name);
    bool matrix = weight.rank() == 2 && name.ends_with(".weight");
    return tensor(weight.shape, matrix ? element_ : "f32");
  }
  static std::string symbol(const std::string &name) {
    return name.find('.') == std::string::npos ? "@" + name : "@\"" + name + "\"";
  }
  /// Declares the weight and gives its value.
  std::string weight(const std::string &name) {
    std::string type = weightType(name);
    weights_ += "  mega.weight " + symbol(name) + " : " + type + "\n";
    return op("mega.use_weight " + symbol(name) + " : " + type);
  }

  /// Appends an op with one result and gives its name.
  std::string op(const std::string &text) {
    std::string value = "%" + std::to_string(next_++);
    body_ += "    " + value + " = " + text + "\n";
    return value;
  }

  std::string linear(const std::string &x, const std::string &xType, const std::string &name,
                     const std::string &resultType, bool withBias) {
    std::string w = weight(name + ".weight"), text = "mega.linear " + x + ", " + w;
    std::string types = xType + ", " + weightType(name + ".weight");
    if (withBias) {
      text += " bias " + weight(name + ".bias");
      types += ", " + weightType(name + ".bias");
    }
    return op(text + " : (" + types + ") -> " + resultType);
  }
  /// `kind` x with optional weight and bias values (of f32[size]) and attributes behind.
  std::string norm(const std::string &kind, const std::string &x, const std::string &type,
                   const std::string &w, const std::string &b, int64_t size,
                   const std::string &attributes) {
    std::string text = kind + " " + x, types = type;
    if (!w.empty()) {
      text += " weight " + w;
      types += ", " + vector(size);
    }
    if (!b.empty()) {
      text += " bias " + b;
      types += ", " + vector(size);
    }
    return op(text + " " + attributes + " : (" + types + ") -> " + type);
  }
  std::string silu(const std::string &x, const std::string &type) {
    return op("mega.silu " + x + " : " + type);
  }
  std::string binary(const char *name, const std::string &a, const std::string &b,
                     const std::string &type) {
    return op(std::string("arith.") + name + " " + a + ", " + b + " : " + type);
  }
  std::string eps() const { return "eps(" + literal(golden_.config.norm_eps) + ")"; }

  std::string argument(const std::string &name) const { return "%" + name; }
  /// Value of state argument `i`: what follows the last dot of its name.
  std::string state(size_t i) const {
    const std::string &name = golden_.states[i].name;
    return "%" + name.substr(name.rfind('.') + 1);
  }
  std::string stateType(size_t i) const {
    Dims dims = golden_.states[i].shape;
    dims.insert(dims.begin(), -1);
    const CaseState &state = golden_.states[i];
    return tensor(dims, state.type == CaseType::Int64 ? "i64" : state.openChunk ? element_ : "f32");
  }

  // Each appends its ops and gives the output; new states go to newStates_.
  std::string timestepNorm(const std::string &x, const std::string &prefix, size_t state);
  std::string cema(const std::string &x, const std::string &prefix, size_t state);
  std::string attention(const std::string &q, const std::string &k, const std::string &v,
                        size_t state);
  std::string ffn(const std::string &y1, const std::string &residual, const std::string &prefix);
  std::string block(const std::string &x);

  const GoldenCase &golden_;
  bool gradients_;
  std::string element_;
  std::string weights_, body_;
  std::vector<std::string> newStates_;
  int64_t next_ = 0;
};

std::string Writer::timestepNorm(const std::string &x, const std::string &prefix, size_t at) {
  std::string y = "%" + std::to_string(next_++);
  std::string w = weight(prefix + "weight"), b = weight(prefix + "bias");
  body_ += "    " + y + ":4 = mega.timestep_norm " + x + ", " + w + ", " + b + ", " + state(at) +
           ", " + state(at + 1) + ", " + state(at + 2);
  bool masked = golden_.inputs.back().type == CaseType::Bool;
  if (masked)
    body_ += " mask " + argument(golden_.inputs.back().name);
  body_ += " groups(" + std::to_string(golden_.config.norm_num_groups) + ") " + eps() + " : " +
           activation({golden_.config.model_dim}) + ", " + vector(golden_.config.model_dim) + ", " +
           stateType(at) + ", " + stateType(at + 1);
  body_ += masked ? ", tensor<?x?xi1>\n" : "\n";
  for (int i = 1; i <= 3; ++i)
    newStates_.push_back(y + "#" + std::to_string(i));
  return y + "#0";
}

std::string Writer::cema(const std::string &x, const std::string &prefix, size_t at) {
  std::string text, types;
  for (const char *name : {"alpha", "delta", "theta", "gamma", "omega"}) {
    text += ", " + weight(prefix + name);
    if (std::string(name) != "delta") // shares alpha's type
      types += ", " + weightType(prefix + name);
  }
  std::string y = "%" + std::to_string(next_++);
  body_ += "    " + y + ":2 = mega.cema " + x + text + ", " + state(at) + " : " +
           activation({golden_.config.model_dim}) + types + ", " + stateType(at) + "\n";
  newStates_.push_back(y + "#1");
  return y + "#0";
}

std::string Writer::attention(const std::string &q, const std::string &k, const std::string &v,
                              size_t at) {
  const formats::ModelConfig &config = golden_.config;
  std::string keyType = heads(config.dz()), valueType = heads(config.dv());
  std::string chunk = " at %position chunk(" + std::to_string(config.chunk_size) + ") : ";
  std::string frequencies = weight("rope_freqs");
  std::string rotated = "%" + std::to_string(next_++);
  body_ += "    " + rotated + ":2 = mega.rotary " + q + ", " + k + ", " + frequencies + chunk +
           keyType + ", " + keyType + ", " + weightType("rope_freqs") + ", tensor<?xi64>\n";
  std::string o = "%" + std::to_string(next_++);
  body_ += "    " + o + ":3 = mega.chunk_attention " + rotated + "#0, " + rotated + "#1, " + v +
           ", " + state(at) + ", " + state(at + 1) + chunk + keyType + ", " + valueType + ", " +
           stateType(at) + ", " + stateType(at + 1) + ", tensor<?xi64>\n";
  newStates_.push_back(o + "#1");
  newStates_.push_back(o + "#2");
  return o + "#0";
}

std::string Writer::ffn(const std::string &y1, const std::string &residual,
                        const std::string &prefix) {
  int64_t width = golden_.config.model_dim;
  std::string type = activation({width}), hidden = activation({golden_.config.ffn_hidden_dim});
  std::string w, b;
  if (has(prefix + "norm.weight")) {
    w = weight(prefix + "norm.weight");
    b = weight(prefix + "norm.bias");
  }
  std::string f = norm("mega.layer_norm", y1, type, w, b, width, eps());
  std::string u = silu(linear(f, type, prefix + "fc1", hidden, false), hidden);
  if (has(prefix + "fc3.weight"))
    u = binary("mulf", u, linear(f, type, prefix + "fc3", hidden, false), hidden);
  std::string y = linear(u, hidden, prefix + "fc2", type, false);
  if (has(prefix + "alpha"))
    y = op("mega.scale " + y + ", " + weight(prefix + "alpha") + " : " + type + ", " +
           vector(width));
  return binary("addf", residual, y, type);
}

std::string Writer::block(const std::string &x) {
  const formats::ModelConfig &config = golden_.config;
  const std::string prefix = "param.mega.";
  std::string type = activation({config.model_dim});
  std::string keyType = heads(config.dz()), valueType = heads(config.dv());

  std::string xn = timestepNorm(x, prefix + "timenorm.", 0);
  std::string cx = cema(xn, prefix + "cema.", 3);
  std::string affine = has(prefix + "rmsnorm.weight") ? weight(prefix + "rmsnorm.weight") : "";
  std::string mx = norm("mega.rms_norm", cx, type, affine, "", config.model_dim, eps());

  std::string z = linear(mx, type, prefix + "wz", keyType, true);
  std::string gamma = weight(prefix + "gamma"), beta = weight(prefix + "beta");
  std::string both = weightType(prefix + "gamma"), row = vector(config.z_dim);
  auto view = [&](int64_t i) {
    auto slice = [&](const std::string &value) {
      return op("tensor.extract_slice " + value + "[" + std::to_string(i) + ", 0] [1, " +
                std::to_string(config.z_dim) + "] [1, 1] : " + both + " to " + row);
    };
    std::string g = slice(gamma), b = slice(beta);
    return norm("mega.rms_norm", z, keyType, g, b, config.z_dim,
                eps() + " scale(" + literal(1 / std::sqrt(static_cast<double>(config.dz()))) + ")");
  };
  std::string q = view(0), k = view(1);
  std::string v = silu(linear(xn, type, prefix + "wv", valueType, true), valueType);
  std::string r = silu(linear(mx, type, prefix + "wr", valueType, true), valueType);
  std::string o = attention(q, k, v, 4);
  std::string gated = binary("mulf", o, r, valueType);
  std::string candidate = linear(mx, type, prefix + "wh1", type, true);
  std::string update = linear(gated, valueType, prefix + "wh2", type, false);
  return binary("addf", x, binary("addf", candidate, update, type), type);
}

std::string Writer::write() {
  const formats::ModelConfig &config = golden_.config;
  std::string output, outputType = activation({config.model_dim});
  switch (golden_.kind) {
  case CaseKind::TimestepNorm:
    output = timestepNorm("%x", "", 0);
    break;
  case CaseKind::Cema:
    output = cema("%x", "", 0);
    break;
  case CaseKind::Attention:
    output = attention("%q", "%k", "%v", 0);
    outputType = heads(config.dv());
    break;
  case CaseKind::Ffn:
    output = ffn("%y1", "%residual", "param.");
    break;
  case CaseKind::Block:
    output = block("%x");
    break;
  case CaseKind::Layer:
    output = ffn(block("%x"), "%x", "param.nffn.");
    break;
  case CaseKind::Model:
  case CaseKind::Sampling:
    return "";
  }

  auto name = [](const std::string &text) { return "mega.name = \"" + text + "\""; };
  std::vector<std::string> arguments, results;
  for (const CaseInput &input : golden_.inputs) {
    std::vector<int64_t> dims = input.value.shape;
    dims[0] = dims[1] = -1;
    arguments.push_back(argument(input.name) + ": " +
                        tensor(dims, input.type == CaseType::Bool ? "i1" : element_) + " {" +
                        name(input.name) + "}");
  }
  if (golden_.kind == CaseKind::Attention || golden_.kind == CaseKind::Block ||
      golden_.kind == CaseKind::Layer)
    arguments.push_back("%position: tensor<?xi64> {" + name("position") + ", mega.position}");
  results.push_back(outputType + " {" + name(outputNames(golden_)[0]) + "}");
  std::string values = output, types = outputType;
  for (size_t i = 0; i < golden_.states.size(); ++i) {
    std::string attributes =
        " {" + name(golden_.states[i].name) + ", mega.state = \"" + golden_.states[i].name + "\"}";
    arguments.push_back(state(i) + ": " + stateType(i) + attributes);
    results.push_back(stateType(i) + attributes);
    values += ", " + newStates_[i];
    types += ", " + stateType(i);
  }
  auto join = [](const std::vector<std::string> &parts) {
    std::string text;
    for (const std::string &part : parts)
      text += (text.empty() ? "" : ",\n      ") + part;
    return text;
  };
  return "module {\n" + weights_ + "  func.func @forward(\n      " + join(arguments) +
         ")\n      -> (" + join(results) + ")" +
         (gradients_ ? " attributes {mega.differentiate = \"gradients\"}" : "") + " {\n" + body_ + "    return " + values + " : " +
         types + "\n  }\n}\n";
}

} // namespace

std::vector<std::string> outputNames(const GoldenCase &golden) {
  switch (golden.kind) {
  case CaseKind::Attention:
    return {"o"};
  case CaseKind::Ffn:
    return {"out"};
  case CaseKind::Model:
    return {"logits"};
  case CaseKind::Sampling:
    return {};
  default:
    return {"y"};
  }
}

std::string moduleFor(const GoldenCase &golden, const std::string &dtype, bool gradients) {
  return Writer(golden, dtype, gradients).write();
}

} // namespace otodus::driver

//===- GoldenLoader.h - From a golden file to a case ------------*- C++ -*-===//
//
// Private to lib/Driver: GoldenLoader.cpp has what all files share and the cases of ops,
// GoldenModels.cpp those of whole models.
//
//===----------------------------------------------------------------------===//

#pragma once

#include "CheckTolerance.h"

#include "otodus/Driver/GoldenCase.h"

#include <cstdlib>
#include <set>

namespace otodus::driver {

/// Slice i of x [n, ...].
reference::Tensor slice(const reference::Tensor &x, int64_t i);
/// One file on its way to a case. The first error is kept; afterwards everything yields
/// empty values, and no tensor is used before `ok` was asked.
class GoldenLoader {
public:
  GoldenLoader(formats::SafetensorsFile file, const std::string &dtype)
      : file_(std::move(file)), dtype_(dtype) {}

  Result<GoldenCase> load(const std::string &parametersPath);

private:
  bool ok() const { return status_.isOk(); }
  void fail(Code code, const std::string &message) {
    if (ok())
      status_ = Status(code, file_.path() + ": " + message);
  }

  bool has(const std::string &name) const { return file_.find(name); }
  reference::Tensor get(const std::string &name) {
    const formats::Tensor *tensor = file_.find(name);
    if (!tensor) {
      fail(Code::File, "expected a tensor " + name + ", found none");
      return {};
    }
    used_.insert(name);
    Result<reference::Tensor> value = reference::read(*tensor);
    if (value.isOk())
      return std::move(*value);
    fail(value.status().code(), value.status().message());
    return {};
  }
  /// With this shape; -1 matches any extent.
  reference::Tensor get(const std::string &name, const std::vector<int64_t> &shape) {
    reference::Tensor tensor = get(name);
    bool fits = tensor.shape.size() == shape.size();
    for (size_t i = 0; fits && i < shape.size(); ++i)
      fits = shape[i] == -1 ? tensor.shape[i] >= 1 : shape[i] == tensor.shape[i];
    if (!ok() || fits)
      return tensor;
    fail(Code::Input, name + ": expected shape " + formats::shapeToString(shape) +
                          " (-1: any), found " + formats::shapeToString(tensor.shape));
    return {};
  }

  std::string meta(const std::string &key) const {
    auto it = file_.metadata().find(key);
    return it == file_.metadata().end() ? "" : it->second;
  }
  double number(const std::string &key, std::optional<double> fallback = {}) {
    std::string text = meta(key);
    char *end = nullptr;
    double value = std::strtod(text.c_str(), &end);
    if (!text.empty() && !*end)
      return value;
    if (text.empty() && fallback)
      return *fallback;
    fail(Code::Input, "metadata '" + key + "': expected a number, found '" + text + "'");
    return 1;
  }
  int64_t size(const std::string &key) {
    double value = number(key);
    if (ok() && !(value >= 1 && value < 1e15))
      fail(Code::Input, "metadata '" + key + "': expected a size of 1 or more");
    return ok() ? static_cast<int64_t>(value) : 1;
  }
  void require(bool condition, const std::string &message) {
    if (!condition)
      fail(Code::Input, message);
  }

  void readPieces();
  void readConfig();
  void expect(const std::string &label, Expectation::Source source, const std::string &name,
              reference::Tensor value, int64_t piece = -1);
  void expectState(const std::string &label, const std::string &what,
                   const std::vector<int64_t> &shape);
  void readWeights(std::initializer_list<const char *> names,
                   std::initializer_list<std::vector<int64_t>> shapes);
  void input(const std::string &name, reference::Tensor value, CaseType type = CaseType::Float) {
    golden_.inputs.push_back({name, type, std::move(value)});
  }

  void timestepNorm();
  void cema();
  void attention();
  void ffn();
  void block();
  void model(const std::string &op, const std::string &parametersPath);
  void checkpoint(const std::string &parametersPath);
  void modelInput(GoldenCase &golden, const reference::Tensor &tokens);
  void readParameters(const std::string &path);
  void sampling();
  void collectNotChecked();

  formats::SafetensorsFile file_;
  std::string dtype_;
  GoldenCase golden_;
  Tolerance tolerance_;
  Status status_;
  std::set<std::string> used_;
};

} // namespace otodus::driver

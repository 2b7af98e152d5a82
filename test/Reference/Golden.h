//===- Golden.h - A file of golden data and its tolerances ------------------===//

#pragma once

#include "otodus/Reference/Reference.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <sstream>
#include <stdexcept>

namespace otodus::reference {

/// A file of test/golden. Throws on what a test cannot go on without.
class Golden {
public:
  explicit Golden(const std::string &name)
      : offset_(name.find("_offset") != std::string::npos),
        file_(formats::SafetensorsFile::open(OTODUS_GOLDEN_DIR "/" + name + ".safetensors")) {
    if (!file_.isOk())
      throw std::runtime_error(file_.status().message());
  }

  bool has(const std::string &name) const { return file_->find(name); }
  Tensor operator[](const std::string &name) const {
    const formats::Tensor *tensor = file_->find(name);
    if (!tensor)
      throw std::runtime_error("no tensor " + name);
    return *read(*tensor);
  }
  std::vector<std::string> names() const {
    std::vector<std::string> result;
    for (const formats::Tensor &tensor : file_->tensors())
      result.push_back(tensor.name);
    return result;
  }
  std::vector<int64_t> integers(const std::string &name) const {
    Tensor tensor = (*this)[name];
    return {tensor.data.begin(), tensor.data.end()};
  }
  std::string meta(const std::string &key) const {
    auto it = file_->metadata().find(key);
    return it == file_->metadata().end() ? "" : it->second;
  }
  double number(const std::string &key) const { return std::stod(meta(key)); }
  Parameters parameters() const { return *readParameters(*file_, "param."); }
  formats::ModelConfig config() const {
    // Block and layer files leave out what only a whole model has.
    std::string json = meta("config");
    if (json.find("vocab_size") == std::string::npos)
      json = R"({"num_layers": 1, "vocab_size": 1, )" + json.substr(1);
    Result<formats::ModelConfig> config = formats::ModelConfig::parse(json, "config");
    if (!config.isOk())
      throw std::runtime_error(config.status().message());
    return *config;
  }
  /// The stored split, or the whole length in one piece.
  std::vector<int64_t> pieces(int64_t length) const {
    std::string text = meta("pieces");
    std::replace_if(
        text.begin(), text.end(), [](char c) { return c == '[' || c == ']' || c == ','; }, ' ');
    std::istringstream in(text);
    std::vector<int64_t> result;
    for (int64_t n; in >> n;)
      result.push_back(n);
    return result.empty() ? std::vector{length} : result;
  }

  void compare(const std::string &name, const Tensor &found) const {
    const formats::Tensor *stored = file_->find(name);
    ASSERT_TRUE(stored) << name;
    Tensor expected = *read(*stored);
    ASSERT_EQ(found.shape, expected.shape) << name;
    double largest = 1, error = 0;
    for (int64_t i = 0; i < expected.size(); ++i) {
      largest = std::max(largest, std::abs(expected[i]));
      double difference = std::abs(found[i] - expected[i]);
      error = difference <= error ? error : difference; // keeps NaN
      ASSERT_FALSE(std::isnan(difference)) << name << " at " << i;
    }
    bool rounded = stored->type == formats::TensorType::F32;
    EXPECT_LE(error / largest, rounded ? 1e-6 : offset_ ? 1e-7 : 1e-9) << name;
  }
  void compare(const std::string &name, const std::vector<int64_t> &found) const {
    EXPECT_EQ(found, integers(name)) << name;
  }

private:
  bool offset_;
  Result<formats::SafetensorsFile> file_;
};

/// Slice i of x [pieces, ...].
inline Tensor slice(const Tensor &x, int64_t i) {
  std::vector<int64_t> shape(x.shape.begin() + 1, x.shape.end());
  int64_t n = x.size() / x.dim(0);
  auto begin = x.data.begin() + i * n;
  return Tensor(shape, std::vector<double>(begin, begin + n));
}

} // namespace otodus::reference

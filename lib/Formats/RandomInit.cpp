//===- RandomInit.cpp - A model directory without a checkpoint -------------===//

#include "otodus/Formats/RandomInit.h"

#include "otodus/Formats/OutputFile.h"
#include "otodus/Formats/Random.h"

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <dirent.h>
#include <numeric>
#include <sys/stat.h>
#include <unistd.h>

using namespace otodus;
using namespace otodus::formats;

namespace {
constexpr int64_t kPiece = 1 << 16; ///< elements generated at a time, a multiple of 4

/// How the elements of a tensor are made (spec 2, column "init").
struct Recipe {
  enum Kind { Constant, Normal, Truncated, Uniform, Theta, Gamma, Frequencies } kind = Constant;
  float scale = 0; ///< Constant: the value; else factor on a standard variate
  float bound = 0; ///< Truncated: in standard deviations
};

Recipe matrixRecipe(const ModelConfig &config, const std::vector<int64_t> &shape) {
  const double out = double(shape[0]), in = double(shape[1]);
  if (config.init_mode == "he")
    return {Recipe::Normal, float(1 / std::sqrt(3 * in))};
  if (config.init_mode == "bert")
    return {Recipe::Normal, 0.02f};
  if (config.init_mode == "xavier")
    return {Recipe::Uniform, float(std::sqrt(6 / (in + out)))};
  if (config.init_mode == "gaussian")
    return {Recipe::Truncated, 1.0f, 3.0f};
  return {};
}

bool endsWith(std::string_view name, std::string_view tail) { return name.ends_with(tail); }

Recipe recipeOf(const ModelConfig &config, const ExpectedTensor &tensor) {
  const std::string &name = tensor.name;
  if (name == "embed.weight" || name == "output.output.weight")
    return {Recipe::Truncated, float(1 / std::sqrt(double(config.model_dim))), 3.0f};
  if (name == "rope.freqs")
    return {Recipe::Frequencies};
  if (endsWith(name, "cema.alpha") || endsWith(name, "cema.delta"))
    return {Recipe::Normal, 0.2f};
  if (endsWith(name, "cema.theta"))
    return {Recipe::Theta};
  if (endsWith(name, "cema.gamma"))
    return {Recipe::Gamma, 1.0f};
  if (endsWith(name, "cema.omega"))
    return {Recipe::Truncated, 0.25f, 4.0f};
  if (endsWith(name, "nffn.alpha")) {
    int layer = std::atoi(name.c_str() + std::strlen("layers."));
    return {Recipe::Constant, float(0.1 * std::ldexp(1.0, -layer))};
  }
  if (tensor.shape.size() == 2 && endsWith(name, ".weight"))
    return matrixRecipe(config, tensor.shape);
  return {};
}

/// logit(D^(-pi(d) / D)), pi a random permutation of 1..D.
std::vector<float> thetaOf(int64_t D, uint64_t seed, uint64_t stream) {
  std::vector<int64_t> order(static_cast<size_t>(D));
  std::iota(order.begin(), order.end(), 1);
  for (int64_t i = D - 1; i > 0; --i) {
    auto j = static_cast<int64_t>(uniform(seed, stream, uint64_t(i)) * double(i + 1));
    std::swap(order[size_t(i)], order[size_t(j)]);
  }
  std::vector<float> theta(order.size());
  for (size_t d = 0; d < theta.size(); ++d) {
    double power = -double(order[d]) / double(D) * std::log(double(D));
    // logit(e^x) = x - ln(1 - e^x); D = 1 gives e^x = 1, whose logit is taken as 10.
    theta[d] = D == 1 ? 10.0f : float(power - std::log(-std::expm1(power)));
  }
  return theta;
}

/// Spec 3.6: each power in double, rounded to float, then its float reciprocal.
std::vector<float> frequenciesOf(const ModelConfig &config) {
  std::vector<float> freqs(static_cast<size_t>(config.dz() / 2));
  for (size_t j = 0; j < freqs.size(); ++j)
    freqs[j] = 1.0f / float(std::pow(config.ropeBase(), 2.0 * double(j) / double(config.dz())));
  return freqs;
}

} // namespace

RandomTensors::RandomTensors(const ModelConfig &config, uint64_t seed)
    : config_(config), seed_(seed), tensors_(expectedTensors(config)) {
  for (size_t i = 0; i < tensors_.size(); ++i)
    streams_[tensors_[i].name] = i;
  // Tied: the output matrix is the embedding and is not stored twice.
  if (config.share_emb)
    std::erase_if(tensors_,
                  [](const ExpectedTensor &t) { return t.name == "output.output.weight"; });
}

const ExpectedTensor *RandomTensors::find(const std::string &name) const {
  for (const ExpectedTensor &tensor : tensors_)
    if (tensor.name == name)
      return &tensor;
  return nullptr;
}

void RandomTensors::fill(const ExpectedTensor &tensor, int64_t begin, int64_t count,
                         float *out) const {
  const uint64_t stream = streams_.at(tensor.name);
  const Recipe recipe = recipeOf(config_, tensor);
  switch (recipe.kind) {
  case Recipe::Theta:
  case Recipe::Frequencies: {
    std::vector<float> all = recipe.kind == Recipe::Theta
                                 ? thetaOf(config_.model_dim, seed_, stream)
                                 : frequenciesOf(config_);
    std::copy_n(all.begin() + begin, count, out);
    return;
  }
  case Recipe::Normal:
  case Recipe::Gamma:
    fillNormal(seed_, stream, uint64_t(begin), count, out);
    break;
  case Recipe::Truncated:
    fillTruncatedNormal(seed_, stream, uint64_t(begin), count, recipe.bound, out);
    break;
  case Recipe::Uniform:
    fillUniform(seed_, stream, uint64_t(begin), count, out);
    break;
  case Recipe::Constant:
    std::fill_n(out, count, 1.0f);
  }
  if (recipe.kind == Recipe::Gamma)
    for (int64_t i = 1; i < count; i += 2)
      out[i] = 0;
  for (int64_t i = 0; i < count; ++i)
    out[i] *= recipe.scale;
}

namespace {
Status writeTensor(SafetensorsWriter &writer, const RandomTensors &random,
                   const ExpectedTensor &tensor, std::vector<float> &piece,
                   const std::function<Status()> &stop) {
  if (tensor.isCount) {
    const int64_t zero = 0;
    return writer.write(&zero, sizeof(zero));
  }
  int64_t elements = 1;
  for (int64_t extent : tensor.shape)
    elements *= extent;
  for (int64_t begin = 0; begin < elements; begin += kPiece) {
    const int64_t count = std::min(kPiece, elements - begin);
    random.fill(tensor, begin, count, piece.data());
    OTODUS_RETURN_IF_ERROR(writer.write(piece.data(), size_t(count) * sizeof(float)));
    if (stop)
      OTODUS_RETURN_IF_ERROR(stop());
  }
  return Status::ok();
}

Status writeTensors(const std::string &path, const ModelConfig &config, uint64_t seed,
                    const std::function<Status()> &stop) {
  const RandomTensors random(config, seed);
  // 8-byte elements first, so that all data is aligned to its elements.
  std::vector<TensorSpec> specs;
  std::vector<const ExpectedTensor *> order;
  for (bool counts : {true, false})
    for (const ExpectedTensor &tensor : random.tensors())
      if (tensor.isCount == counts) {
        specs.push_back(
            {tensor.name, counts ? TensorType::I64 : TensorType::F32, tensor.shape});
        order.push_back(&tensor);
      }
  Result<SafetensorsWriter> writer = SafetensorsWriter::create(path, specs, {{"format", "pt"}});
  OTODUS_RETURN_IF_ERROR(writer.status());
  std::vector<float> piece(static_cast<size_t>(kPiece));
  for (const ExpectedTensor *tensor : order)
    OTODUS_RETURN_IF_ERROR(writeTensor(*writer, random, *tensor, piece, stop));
  return writer->finish();
}

bool isEmptyDirectory(const std::string &path) {
  DIR *dir = opendir(path.c_str());
  if (!dir)
    return false;
  bool empty = true;
  while (dirent *entry = readdir(dir))
    empty &= !std::strcmp(entry->d_name, ".") || !std::strcmp(entry->d_name, "..");
  closedir(dir);
  return empty;
}

/// Removes the files this module writes, and the directory, on the way out of an error.
struct TemporaryDirectory {
  std::string path;
  ~TemporaryDirectory() {
    if (path.empty())
      return;
    for (const char *name : {"/config.json", "/consolidate_config.json", "/model.safetensors"})
      unlink((path + name).c_str());
    rmdir(path.c_str());
  }
};
} // namespace

Status formats::writeRandomModel(const std::string &path, const ModelConfig &config,
                                 uint64_t seed, const std::function<Status()> &stop) {
  OTODUS_RETURN_IF_ERROR(config.validate());
  std::string target = path;
  while (target.size() > 1 && target.back() == '/')
    target.pop_back();
  if (target.empty())
    return Status(Code::File, "cannot write a model to a folder without a name");
  struct stat info;
  if (lstat(target.c_str(), &info) == 0) {
    if (!S_ISDIR(info.st_mode))
      return Status(Code::File, "cannot write a model to '" + path +
                                    "': it exists and is not a folder; choose another name");
    if (!isEmptyDirectory(target))
      return Status(Code::File, "cannot write a model to '" + path +
                                    "': the folder exists and is not empty; choose another name "
                                    "or remove it");
  }
  auto failure = [&](int error) {
    return Status(error == ENOSPC || error == EDQUOT ? Code::Device : Code::File,
                  "cannot write a model to '" + path + "': " + std::strerror(error));
  };
  std::string name = target + ".tmp-XXXXXX";
  if (!mkdtemp(name.data()))
    return failure(errno);
  TemporaryDirectory temporary{name};
  mode_t mask = umask(0);
  umask(mask);
  chmod(name.c_str(), 0777 & ~mask);

  std::string json = config.toJson();
  OTODUS_RETURN_IF_ERROR(writeFile(name + "/config.json", json.data(), json.size()));
  const std::string consolidated = "{\"model_parallel_size\": 1, \"dtype\": \"fp32\"}\n";
  OTODUS_RETURN_IF_ERROR(
      writeFile(name + "/consolidate_config.json", consolidated.data(), consolidated.size()));
  OTODUS_RETURN_IF_ERROR(writeTensors(name + "/model.safetensors", config, seed, stop));
  // Replaces an empty directory, refuses one that was filled meanwhile.
  if (rename(name.c_str(), target.c_str()) != 0)
    return failure(errno);
  temporary.path.clear();
  return Status::ok();
}

//===- RunFolder.cpp - What a training run leaves on disk ------------------===//

#include "otodus/Training/RunFolder.h"
#include "otodus/Formats/OutputFile.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <set>

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

namespace otodus::training {

namespace fs = std::filesystem;
using formats::SafetensorsFile;
using runtime::TrainedTensor;
using runtime::TrainedValue;
using runtime::TrainingBackend;

namespace {

constexpr const char *kVersion = "1";
constexpr const char *kTemporary = ".writing-";

Status failure(const std::string &what, const std::string &path, int error) {
  bool full = error == ENOSPC || error == EDQUOT;
  return Status(full ? Code::Device : Code::File,
                "cannot " + what + " '" + path + "': " + std::strerror(error) +
                    (full ? "; free some space, then go on with --resume" : ""));
}

/// Waits until a file's or folder's contents are on the disk.
Status sync(const std::string &path) {
  int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0)
    return failure("open", path, errno);
  int result = ::fsync(fd), error = errno;
  ::close(fd);
  // Some file systems have no sync of folders.
  return result != 0 && error != EINVAL ? failure("write", path, error) : Status::ok();
}

std::string stepName(int64_t step) {
  std::string digits = std::to_string(step);
  return "step-" + std::string(digits.size() < 8 ? 8 - digits.size() : 0, '0') + digits;
}

/// Writes one tensor after the other without holding more than one.
Status writeTensors(const std::string &path, TrainingBackend &backend,
                    const std::vector<std::pair<std::string, TrainedValue>> &kinds,
                    const std::vector<formats::TensorSpec> &more,
                    const std::map<std::string, std::string> &metadata) {
  const std::vector<TrainedTensor> &parameters = backend.parameters();
  std::vector<formats::TensorSpec> specs;
  for (const auto &[prefix, kind] : kinds)
    for (const TrainedTensor &parameter : parameters)
      specs.push_back({prefix + parameter.name, formats::TensorType::F32, parameter.shape, nullptr});
  specs.insert(specs.end(), more.begin(), more.end());
  Result<formats::SafetensorsWriter> writer =
      formats::SafetensorsWriter::create(path, specs, metadata);
  OTODUS_RETURN_IF_ERROR(writer.status());
  std::vector<float> values;
  for (const auto &[prefix, kind] : kinds)
    for (size_t i = 0; i < parameters.size(); ++i) {
      values.resize(static_cast<size_t>(parameters[i].elements()));
      OTODUS_RETURN_IF_ERROR(backend.read(kind, i, values.data()));
      OTODUS_RETURN_IF_ERROR(writer->write(values.data(), values.size() * sizeof(float)));
    }
  for (const formats::TensorSpec &spec : more) {
    int64_t elements = 1;
    for (int64_t extent : spec.shape)
      elements *= extent;
    OTODUS_RETURN_IF_ERROR(writer->write(
        spec.data, static_cast<size_t>(elements * formats::bitsOf(spec.type) / 8)));
  }
  OTODUS_RETURN_IF_ERROR(writer->finish());
  return sync(path);
}

Status readTensors(const SafetensorsFile &file, TrainingBackend &backend,
                   const std::string &prefix, TrainedValue kind) {
  const std::vector<TrainedTensor> &parameters = backend.parameters();
  std::vector<float> values;
  for (size_t i = 0; i < parameters.size(); ++i) {
    const formats::Tensor *tensor = file.find(prefix + parameters[i].name);
    if (!tensor)
      return Status(Code::File, file.path() + ": no tensor '" + prefix + parameters[i].name +
                                    "', which the model trains");
    if (tensor->shape != parameters[i].shape)
      return Status(Code::File, file.path() + ": tensor '" + tensor->name + "' has shape " +
                                    formats::shapeToString(tensor->shape) + ", the model has " +
                                    formats::shapeToString(parameters[i].shape));
    values.resize(static_cast<size_t>(parameters[i].elements()));
    OTODUS_RETURN_IF_ERROR(
        formats::readAsFloat(*tensor, 0, static_cast<int64_t>(values.size()), values.data()));
    OTODUS_RETURN_IF_ERROR(backend.write(kind, i, values.data()));
    file.dropPages(tensor->name);
  }
  return Status::ok();
}

} // namespace

Result<RunFolder> RunFolder::open(const std::string &path) {
  std::error_code error;
  fs::create_directories(path + "/checkpoints", error);
  if (error)
    return Status(Code::File, "cannot make folder '" + path + "': " + error.message());
  RunFolder folder;
  folder.path_ = path;
  std::string name = path + "/lock";
  folder.lock_ = ::open(name.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
  if (folder.lock_ < 0)
    return failure("open", name, errno);
  // The system lets go of the lock when the process ends, however it ends.
  if (::flock(folder.lock_, LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK)
      return failure("lock", name, errno);
    return Status(Code::File, "another run is writing to '" + path +
                                  "'; wait for it or choose another folder with --out");
  }
  for (const fs::directory_entry &entry : fs::directory_iterator(path + "/checkpoints", error))
    if (entry.path().filename().string().starts_with(kTemporary))
      fs::remove_all(entry.path(), error);
  return folder;
}

RunFolder::RunFolder(RunFolder &&other) noexcept
    : path_(std::move(other.path_)), lock_(std::exchange(other.lock_, -1)) {}

RunFolder::~RunFolder() {
  if (lock_ >= 0)
    ::close(lock_);
}

std::vector<std::string> RunFolder::checkpoints() const {
  std::vector<std::string> found;
  std::error_code error;
  for (const fs::directory_entry &entry : fs::directory_iterator(path_ + "/checkpoints", error))
    if (entry.path().filename().string().starts_with("step-"))
      found.push_back(entry.path().string());
  // Names have eight digits or, beyond, more of them.
  std::sort(found.begin(), found.end(), [](const std::string &a, const std::string &b) {
    return a.size() != b.size() ? a.size() < b.size() : a < b;
  });
  return found;
}

Result<std::string> RunFolder::write(const TrainState &state, const formats::ModelConfig &config,
                                     TrainingBackend &backend,
                                     const std::vector<formats::TensorSpec> &buffers,
                                     int64_t keep) {
  std::string parent = path_ + "/checkpoints", name = parent + "/" + stepName(state.step);
  std::string temporary = parent + "/" + kTemporary + stepName(state.step);
  std::error_code error;
  // A run that goes on from a checkpoint comes to the same numbers at the same step.
  if (fs::exists(name, error))
    return name;
  auto writeAll = [&]() -> Status {
    fs::remove_all(temporary, error);
    fs::create_directory(temporary, error);
    if (error)
      return failure("make folder", temporary, error.value());
    auto text = [&](const char *file, const std::string &content) -> Status {
      std::string path = temporary + "/" + file;
      OTODUS_RETURN_IF_ERROR(formats::writeFile(path, content.data(), content.size()));
      return sync(path);
    };
    OTODUS_RETURN_IF_ERROR(text("config.json", config.toJson()));
    OTODUS_RETURN_IF_ERROR(
        text("consolidate_config.json", "{\"model_parallel_size\": 1, \"dtype\": \"fp32\"}\n"));
    OTODUS_RETURN_IF_ERROR(writeTensors(temporary + "/model.safetensors", backend,
                                        {{"", TrainedValue::Weight}}, buffers, {{"format", "pt"}}));
    OTODUS_RETURN_IF_ERROR(writeTensors(
        temporary + "/training.safetensors", backend,
        {{"m.", TrainedValue::FirstMoment}, {"v.", TrainedValue::SecondMoment}}, {},
        {{"version", kVersion},
         {"step", std::to_string(state.step)},
         {"updates", std::to_string(state.updates)},
         {"tokens", std::to_string(state.tokens)},
         {"config", state.config},
         {"data", state.data}}));
    OTODUS_RETURN_IF_ERROR(sync(temporary));
    if (::rename(temporary.c_str(), name.c_str()) != 0)
      return failure("rename a folder to", name, errno);
    return sync(parent);
  };
  Status written = writeAll();
  if (!written.isOk()) {
    fs::remove_all(temporary, error);
    return written;
  }
  // The link is a convenience: nothing is read through it, so a file system without links is
  // no error.
  std::string link = path_ + "/latest", fresh = path_ + "/.latest-new";
  fs::remove(fresh, error);
  fs::create_directory_symlink("checkpoints/" + stepName(state.step), fresh, error);
  if (!error)
    ::rename(fresh.c_str(), link.c_str());

  std::vector<std::string> all = checkpoints();
  for (size_t i = 0; i + static_cast<size_t>(keep) < all.size(); ++i) {
    // Renamed first: half a folder must not look like a checkpoint.
    std::string doomed = parent + "/" + kTemporary + "old";
    fs::remove_all(doomed, error);
    if (::rename(all[i].c_str(), doomed.c_str()) == 0)
      fs::remove_all(doomed, error);
  }
  return name;
}

Status readWeights(const SafetensorsFile &file, TrainingBackend &backend) {
  return readTensors(file, backend, "", TrainedValue::Weight);
}

namespace {
Result<TrainState> stateOf(const SafetensorsFile &file) {
  const std::map<std::string, std::string> &metadata = file.metadata();
  auto text = [&](const char *key) {
    auto found = metadata.find(key);
    return found == metadata.end() ? std::string() : found->second;
  };
  auto number = [&](const char *key) {
    std::string value = text(key);
    char *end = nullptr;
    long long result = std::strtoll(value.c_str(), &end, 10);
    return value.empty() || *end || result < 0 ? int64_t(-1) : static_cast<int64_t>(result);
  };
  if (text("version") != kVersion)
    return Status(Code::File, file.path() + ": expected a training state of version " +
                                  kVersion + ", found '" + text("version") + "'");
  TrainState state{number("step"), number("updates"), number("tokens"), text("config"),
                   text("data")};
  if (state.step < 0 || state.updates < 0 || state.tokens < 0)
    return Status(Code::File, file.path() + ": step, updates or tokens is missing or damaged");
  return state;
}
} // namespace

Result<TrainState> readState(const std::string &folder) {
  Result<SafetensorsFile> file = SafetensorsFile::open(folder + "/training.safetensors");
  return file.isOk() ? stateOf(*file) : file.status();
}

Result<TrainState> readCheckpoint(const std::string &folder, TrainingBackend &backend) {
  Result<SafetensorsFile> file = SafetensorsFile::open(folder + "/training.safetensors");
  if (!file.isOk())
    return file.status();
  Result<TrainState> state = stateOf(*file);
  if (!state.isOk())
    return state;
  Result<SafetensorsFile> weights = SafetensorsFile::open(folder + "/model.safetensors");
  if (!weights.isOk())
    return weights.status();
  OTODUS_RETURN_IF_ERROR(readWeights(*weights, backend));
  OTODUS_RETURN_IF_ERROR(readTensors(*file, backend, "m.", TrainedValue::FirstMoment));
  OTODUS_RETURN_IF_ERROR(readTensors(*file, backend, "v.", TrainedValue::SecondMoment));
  return state;
}

Result<LogSummary> truncateLog(const std::string &path, int64_t step) {
  std::error_code error;
  LogSummary summary;
  if (!fs::exists(path, error))
    return summary;
  Result<std::string> text = formats::readFile(path, uint64_t(1) << 40);
  OTODUS_RETURN_IF_ERROR(text.status());
  std::string kept;
  for (size_t at = 0; at < text->size();) {
    size_t end = text->find('\n', at);
    if (end == std::string::npos)
      break; // half a line: the process was killed while it wrote
    std::string line = text->substr(at, end + 1 - at);
    at = end + 1;
    nlohmann::json object = nlohmann::json::parse(line, nullptr, false);
    if (!object.is_object() || !object.contains("step") || !object["step"].is_number_integer() ||
        object["step"].get<int64_t>() > step)
      continue;
    kept += line;
    auto loss = object.find("validation_loss");
    if (loss == object.end())
      continue;
    int64_t when = object["step"].get<int64_t>();
    summary.evaluated |= when == step;
    if (!loss->is_number())
      continue;
    summary.lastValidation = loss->get<double>();
    if (summary.bestStep == 0 || summary.lastValidation < summary.bestValidation) {
      summary.bestValidation = summary.lastValidation;
      summary.bestStep = when;
    }
  }
  OTODUS_RETURN_IF_ERROR(formats::writeFile(path, kept.data(), kept.size()));
  return summary;
}

} // namespace otodus::training
